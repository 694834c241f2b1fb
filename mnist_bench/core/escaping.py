"""Text from outside, made harmless for the place where it is shown."""

from __future__ import annotations

import re
import unicodedata

_MARKDOWN = str.maketrans(
    {character: f"\\{character}" for character in r"\`*_[]|~$"}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
)
_ADDRESS = re.compile(r":(?=//)|(?<=\bwww)\.", re.IGNORECASE)
"""What a forge would make a link of, without any bracket; an @ beside."""
_FORMULA_STARTS = frozenset("=+-@" + "＝＋－＠")  # noqa: RUF001 - the wide forms run too
_BREAKS = frozenset("\t\r\n")
_HIDDEN = ("Cc", "Cf", "Cs")
"""Control, invisible formatting (it can turn text around) and lone surrogates."""


class EscapedText(str):
    """Text that is Markdown already."""

    __slots__ = ()


def one_line(text: str) -> str:
    """Text as one line without control characters: a terminal or a table can't be steered."""
    shown = (c for c in text if c.isspace() or unicodedata.category(c) not in _HIDDEN)
    return " ".join("".join(shown).split())


def markdown(text: object) -> EscapedText:
    """Text as Markdown that shows just that text, also inside a table's cell."""
    if isinstance(text, EscapedText):
        return text
    escaped = one_line(str(text)).translate(_MARKDOWN)
    return EscapedText(_ADDRESS.sub(lambda found: f"&#{ord(found[0])};", escaped))


def code(*texts: str) -> EscapedText:
    """Texts, a line each, as a Markdown code block, whatever backticks are in them."""
    lines = "\n".join(map(one_line, texts))
    fence = "```"
    while fence in lines:
        fence += "`"
    return EscapedText(f"{fence}console\n{lines}\n{fence}")


def csv_cell(text: str) -> str:
    """Text as one line that a spreadsheet shows and does not run: a formula gets an apostrophe."""
    line = one_line(text)
    runs = text[:1] in _BREAKS or line[:1] in _FORMULA_STARTS
    return f"'{line}" if runs else line
