"""Reading of users' TOML files, with one-line error messages."""

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
"""Plain messages for Pydantic errors whose own messages are about Python."""
_TYPES = ("bool", "int", "float", "str")
"""For a value of a union type, Pydantic appends the name of the type that failed to the path."""


def read(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        BenchError: The file can't be read or parsed; names the line.
    """
    try:
        # -sig: editors on Windows write a byte order mark, which TOML does not allow.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchError(f"{path} is not TOML: {error}", "save it as UTF-8") from error
    except OSError as error:
        raise BenchError(f"can't read {path}: {error.strerror}") from error
    return parse(text, str(path))


def parse(text: str, source: str) -> dict[str, Any]:
    """Parse TOML text.

    Args:
        text: Content of a file.
        source: Name of the source, for error messages.

    Raises:
        BenchError: The text can't be parsed; names the line.
    """
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise BenchError(f"{source} is nested too deeply", "flatten it") from error
    except ValueError as error:  # a TOML error, or a number with thousands of digits
        raise BenchError(f"{source} is not TOML: {error}", "fix that line") from error


def to_bench_error(
    error: ValidationError,
    source: str,
    *,
    known: Callable[[list[str]], Sequence[str]],
    remedy: str,
) -> BenchError:
    """The first validation error as one line: source, key and hint.

    Args:
        error: The errors of Pydantic.
        source: The file or the flag.
        known: Returns the known keys of the table that contains the key at a path.
        remedy: The hint if no single key is wrong.
    """
    faults = error.errors(include_url=False)
    # A misspelled key also causes a missing one: the misspelling is more useful.
    fault = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    is_union = any(item in _TYPES for item in fault["loc"][-1:])
    loc = fault["loc"][:-1] if is_union else fault["loc"]
    names = [item for item in loc if isinstance(item, str)]
    key = ".".join(names)
    if fault["type"] == "extra_forbidden":
        keys = known(names)
        return BenchError(
            f"{source}: unknown key {key}",
            f"{suggestion(names[-1], keys)}known are {', '.join(keys)}",
        )
    if fault["type"] == "missing":
        return BenchError(f"{source}: key {key} is missing", "add it")
    reason = _REASONS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
    if is_union:
        reason = "it can't be a value of that kind"
    if not key:
        return BenchError(f"{source}: {reason}", remedy)
    reason = reason[:1].lower() + reason[1:]
    if isinstance(fault["input"], dict):  # a table is too long to show
        return BenchError(f"{source}: {key}: {reason}", f"choose another {key}")
    return BenchError(
        f"{source}: {key} = {_shown(fault['input'])}: {reason}", f"choose another {key}"
    )


def suggestion(name: str, known: Sequence[str]) -> str:
    """A question such as `did you mean steps? `; empty if no known name is close."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}? " if close else ""


def _shown(value: object) -> str:
    """A value, shortened to fit into one line."""
    try:
        text = repr(list(value) if isinstance(value, tuple) else value)
    except (ValueError, RecursionError):  # Python refuses to print thousands of digits
        return f"an unprintable {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
