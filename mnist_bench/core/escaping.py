"""Escaping of untrusted text for terminals, Markdown and CSV."""

from __future__ import annotations

import re
import unicodedata

_MARKDOWN = str.maketrans(
    {character: f"\\{character}" for character in r"\`*_[]|~$"}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
)
_ADDRESS = re.compile(r":(?=//)|(?<=\bwww)\.", re.IGNORECASE)
"""What GitHub and GitLab turn into a link without brackets; @ is escaped by `_MARKDOWN`."""
_FORMULA_STARTS = frozenset("=+-@" + "＝＋－＠")  # noqa: RUF001 - spreadsheets run the full-width forms too
_BREAKS = frozenset("\t\r\n")
_HIDDEN = ("Cc", "Cf", "Cs")
"""Control characters, invisible formatting (it can reverse text) and lone surrogates."""


class EscapedText(str):
    """Text that is Markdown already and must not be escaped again."""

    __slots__ = ()


def one_line(text: str) -> str:
    """Text as one line without control characters, safe for a terminal or a table."""
    visible = (c for c in text if c.isspace() or unicodedata.category(c) not in _HIDDEN)
    return " ".join("".join(visible).split())


def markdown(text: object) -> EscapedText:
    """Text escaped for Markdown, including table cells."""
    if isinstance(text, EscapedText):
        return text
    escaped = one_line(str(text)).translate(_MARKDOWN)
    return EscapedText(_ADDRESS.sub(lambda match: f"&#{ord(match[0])};", escaped))


def code(*texts: str) -> EscapedText:
    """Texts, one per line, as a Markdown code block; backticks in them are safe."""
    lines = "\n".join(map(one_line, texts))
    fence = "```"
    while fence in lines:
        fence += "`"
    return EscapedText(f"{fence}console\n{lines}\n{fence}")


def csv_cell(text: str) -> str:
    """Text as one line for a CSV cell; an apostrophe keeps spreadsheets from running a formula."""
    line = one_line(text)
    is_formula = text[:1] in _BREAKS or line[:1] in _FORMULA_STARTS
    return f"'{line}" if is_formula else line
