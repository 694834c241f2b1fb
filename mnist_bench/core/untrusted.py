"""JSON that others may have written: limits that hold before and after it is parsed."""

from __future__ import annotations

import json
import unicodedata
from typing import Any, NoReturn

MAX_NUMBER = 1e15
"""No time in milliseconds, number of bytes or of steps is larger."""
_MAX_DEPTH = 12
_MAX_ITEMS, _MAX_KEYS = 20_000, 1_000
"""Limits of a list and of an object: each wrong one of them is a record in memory."""
_VALUES_PER_CONTAINER = 4
"""Empty lists and objects need the most memory per character: fewer of them are allowed."""
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Control characters, invisible ones, lone surrogates, unassigned ones, Unicode line breaks."""


def parse_json(content: bytes, *, max_values: int, max_text: int, printable: bool = False) -> Any:
    """Parse JSON and check it.

    Args:
        max_values: Limit of its values, counted by commas before it is parsed.
        max_text: Limit of the characters of each text.
        printable: Whether texts must be printable.

    Raises:
        ValueError: It is not JSON or goes beyond a limit; the message is a sentence about `it`.
    """
    containers = content.count(b"[") + content.count(b"{")
    if content.count(b",") > max_values or containers > max_values // _VALUES_PER_CONTAINER:
        raise ValueError("it contains too many values")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except _ConstantError as error:
        raise ValueError(f"it contains {error}") from None
    except (ValueError, RecursionError):  # ValueError: also a number of thousands of digits
        raise ValueError("it is not JSON") from None
    _check(document, max_text, printable=printable, depth=0)
    return document


class _ConstantError(Exception):
    """NaN or an infinity, which JSON does not have."""


def _refuse_constant(name: str) -> NoReturn:
    raise _ConstantError(name)


def _check(value: Any, max_text: int, *, printable: bool, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict | list) and len(value) > (
        _MAX_KEYS if isinstance(value, dict) else _MAX_ITEMS
    ):
        raise ValueError("it contains too many values")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check(key, max_text, printable=printable, depth=depth + 1)
            _check(inner, max_text, printable=printable, depth=depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, max_text, printable=printable, depth=depth + 1)
    elif isinstance(value, str):
        hidden = _HIDDEN if printable else ("Cs",)
        if len(value) > max_text or any(unicodedata.category(c) in hidden for c in value):
            raise ValueError(
                f"it contains a text that is too long or not printable: {value[:30]!r}"
            )
    elif isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:  # true for NaN too
        raise ValueError("it contains a number that is too large")
