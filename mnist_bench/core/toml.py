"""TOML files of users: read, and their faults told in one line."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mnist_bench.core.errors import BenchError

_MAX_SHOWN = 80
_REASONS = {
    "tuple_type": "it should be a list in brackets",
    "too_short": "it should not be empty",
    "model_type": "it should be a table",
    "dict_type": "it should be a table",
}
"""Pydantic's faults whose own words speak of Python."""
_TYPES = ("bool", "int", "float", "str")
"""Where a value may be of several types, Pydantic ends the path with one that it is not of."""


def read(path: Path) -> dict[str, Any]:
    """Read a file.

    Raises:
        BenchError: It does not parse (with its line), or can't be read.
    """
    try:
        # -sig: editors on Windows begin files with a mark that TOML does not know.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchError(f"{path} is not TOML: {error}", "save it as UTF-8") from error
    except OSError as error:
        raise BenchError(f"can't read {path}: {error.strerror}") from error
    return parse(text, str(path))


def parse(text: str, where: str) -> dict[str, Any]:
    """The same of a text.

    Args:
        text: Of a file.
        where: Named in what is said of it.

    Raises:
        BenchError: It does not parse (with its line).
    """
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise BenchError(f"{where} is nested too deeply", "mend it") from error
    except ValueError as error:  # TOML's, and that of a number of thousands of digits
        raise BenchError(f"{where} is not TOML: {error}", "mend that line") from error


def explained(
    error: ValidationError,
    where: str,
    *,
    known: Callable[[list[str]], Sequence[str]],
    remedy: str,
) -> BenchError:
    """One fault of what was read, as what, where and remedy.

    Args:
        error: All faults.
        where: The file, or the flag.
        known: The keys of the table that a key with this path lies in.
        remedy: For a fault that no key can be blamed for.
    """
    faults = error.errors(include_url=False)
    # A misspelt key is also a missing one: the misspelling says more.
    fault = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    of_several_types = any(part in _TYPES for part in fault["loc"][-1:])
    loc = fault["loc"][:-1] if of_several_types else fault["loc"]
    names = [part for part in loc if isinstance(part, str)]
    key = ".".join(names)
    if fault["type"] == "extra_forbidden":
        keys = known(names)
        return BenchError(
            f"{where}: unknown key {key}",
            f"{nearest(names[-1], keys)}known are {', '.join(keys)}",
        )
    if fault["type"] == "missing":
        return BenchError(f"{where}: key {key} is missing", "add it")
    reason = _REASONS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
    if of_several_types:
        reason = "it can't be a value of that kind"
    if not key:
        return BenchError(f"{where}: {reason}", remedy)
    reason = reason[:1].lower() + reason[1:]
    if isinstance(fault["input"], dict):  # a table is too long to show, and the reason says where
        return BenchError(f"{where}: {key}: {reason}", f"choose another {key}")
    return BenchError(
        f"{where}: {key} = {_shown(fault['input'])}: {reason}", f"choose another {key}"
    )


def nearest(name: str, known: Sequence[str]) -> str:
    """A question after the name that was meant, perhaps; empty where none is near."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}? " if close else ""


def _shown(value: object) -> str:
    """A value as it may stand in one line."""
    try:
        text = repr(list(value) if isinstance(value, tuple) else value)
    except (ValueError, RecursionError):  # Python prints no number of thousands of digits
        return f"an unprintable {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
