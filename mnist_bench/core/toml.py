"""Reading of users' TOML files, with one-line error messages."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from mnist_bench.core import files
from mnist_bench.core.errors import BenchError

_MAX_SHOWN = 80
_MAX_BYTES = 2**16
"""Users' files have 1 KiB."""
_MAX_DOTS = 200
"""Of a line: the parser's time and memory rise with the square of a key's parts."""
_REASONS = {
    "tuple_type": "it should be a list in brackets",
    "model_type": "it should be a table",
    "dict_type": "it should be a table",
}
"""Plain messages for Pydantic errors whose own messages are about Python."""
_SYNTAX = {
    r"Illegal character '\\n'|Unterminated string|Expected .'.": "a text is not closed by a quote",
    r"Cannot overwrite a value|Duplicate inline table key.*": "{key} is given twice",
    r"Cannot declare .* twice": "the table {key} is given twice",
    r"Invalid value": "the value of {key} is missing, or is a text without quotes",
    r"Expected '=' after a key.*|Invalid statement": "it is not of the form key = value",
    r"Expected newline or end of document.*": "there is more than one value",
    r"Unclosed array": "a list is not closed by ]",
}
"""Plain messages for errors of tomllib."""
_TYPES = ("bool", "int", "float", "str")
"""For a value of a union type, Pydantic appends the name of the type that failed to the path."""


def read(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        BenchError: The file can't be read or parsed; names the line.
    """
    try:
        # -sig: editors on Windows write a byte order mark, which TOML does not allow.
        text = files.read_bounded(path, _MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchError(f"{path} is not a text file in UTF-8", "save it as UTF-8") from error
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
    too_deep = BenchError(f"{source} is nested too deeply", "flatten it")
    if any(line.count(".") > _MAX_DOTS for line in text.splitlines()):
        raise too_deep
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise too_deep from error
    except ValueError as error:  # a TOML error, or a number with thousands of digits
        problem = _plain_syntax_error(str(error), text)
        raise BenchError(f"{source} is not TOML: {problem}", "fix that line") from error


def _plain_syntax_error(message: str, text: str) -> str:
    """An error of tomllib without its jargon, with the position as it gives it."""
    what, opened, where = message.partition(" (at ")
    number = re.match(r"line (\d+)", where)
    # Without a number, the error is at the end of the text.
    line = [*text.splitlines(), ""][int(number[1]) - 1] if number else text.splitlines()[-1]
    key = line.partition("=")[0].strip(" []\t")
    for pattern, plain in _SYNTAX.items():
        if re.fullmatch(pattern, what):
            return f"{plain.format(key=key[:_MAX_SHOWN])}{opened}{where}"
    return message


def to_bench_error(
    error: ValidationError,
    source: str,
    *,
    table: Callable[[list[str]], type[BaseModel]],
    remedy: str,
    missing: Sequence[str] = (),
) -> BenchError:
    """The first validation error as one line: source, key and hint.

    Args:
        error: The errors of Pydantic.
        source: The file or the flag.
        table: Returns the record that contains the key at a path.
        remedy: The hint if no single key is wrong.
        missing: Missing keys that were filled in before the validation.
    """
    faults = error.errors(include_url=False)
    # A misspelled key also causes a missing one: the misspelling is more useful.
    fault = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    is_union = any(item in _TYPES for item in fault["loc"][-1:])
    loc = fault["loc"][:-1] if is_union else fault["loc"]
    names = _keys(loc)
    key = ".".join(names)
    if fault["type"] == "extra_forbidden":
        known = table(names).model_fields
        hint = suggestion(names[-1], known) or f"known are {', '.join(known)}"
        return BenchError(f"{source}: unknown key {key}", hint)
    absent = [".".join(_keys(each["loc"])) for each in faults if each["type"] == "missing"]
    missing = [*missing, *absent]
    if missing:
        return missing_keys(source, missing)
    reason = _REASONS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
    if is_union:
        reason = "it can't be a value of that kind"
    if not key:
        return BenchError(f"{source}: {reason}", remedy)
    field = table(names).model_fields.get(names[-1])
    wanted = expected(field) if field and fault["type"] != "value_error" else None
    if wanted:
        is_list = fault["type"] == "tuple_type" and type(fault["input"]) in (int, float)
        like = f", like [{fault['input']}]" if is_list else ""
        return BenchError(
            f"{source}: {key} = {_shown(fault['input'])} is not valid", f"give {wanted}{like}"
        )
    reason = reason[:1].lower() + reason[1:]
    if isinstance(fault["input"], dict):  # a table is too long to show
        return BenchError(f"{source}: {key}: {reason}", f"choose another {key}")
    return BenchError(
        f"{source}: {key} = {_shown(fault['input'])}: {reason}", f"choose another {key}"
    )


def missing_keys(source: str, keys: Sequence[str]) -> BenchError:
    """The error for keys that a file must have."""
    if len(keys) == 1:
        return BenchError(f"{source}: key {keys[0]} is missing", "add it")
    return BenchError(f"{source}: keys {', '.join(keys)} are missing", "add them")


def _keys(loc: Iterable[int | str]) -> list[str]:
    """The keys that lead to a place in a file, without the indices of lists."""
    return [item for item in loc if isinstance(item, str)]


def expected(field: FieldInfo) -> str | None:
    """What a field can be, such as `a number above 0, up to 10, like 0.001`; None if unknown."""
    found = _expected(field.annotation, field.metadata)
    is_number = isinstance(field.default, int | float) and field.default
    has_example = found and is_number and not isinstance(field.default, bool)
    return f"{found}, like {field.default:g}" if has_example else found


def _expected(annotation: Any, constraints: Sequence[Any]) -> str | None:
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    match get_origin(annotation):
        case origin if origin is Annotated:
            return _expected(kinds[0], kinds[1:])
        case origin if origin in (Union, UnionType):
            return _expected(kinds[0], constraints) if len(kinds) == 1 else None
        case origin if origin is tuple:
            items = _expected(kinds[0], ())
            return items and f"a list of {items[2:].replace('number', 'numbers', 1)}"
        case origin if origin is Literal:
            return f"one of {', '.join(map(str, kinds))}"
    limits = _limits(constraints)
    length = f"{limits.get('min_length', 0)} to {limits.get('max_length', 'any number of')}"
    plain = {
        bool: "true or false",
        str: f"a text of {length} characters",
        int: f"a whole number{_range(limits)}",
        float: f"a number{_range(limits)}",
    }
    return plain.get(annotation)


def _limits(constraints: Sequence[Any]) -> dict[str, Any]:
    """The limits in Pydantic's constraints of a field, by name."""
    single = [
        one
        for each in constraints
        for one in (each.metadata if isinstance(each, FieldInfo) else [each])
    ]
    names = ("gt", "ge", "lt", "le", "min_length", "max_length")
    return {name: getattr(one, name) for one in single for name in names if hasattr(one, name)}


def _range(limits: Mapping[str, float]) -> str:
    """Limits in words: ` from 1 to 10`, ` above 0, up to 10`, ` from 0 to below 1`."""
    from_ = f" from {limits['ge']:,}" if "ge" in limits else ""
    if "lt" in limits:
        return f"{from_} to below {limits['lt']:,}"
    above = f" above {limits['gt']:,}," if "gt" in limits else ""
    up_to = f" {'up ' if above else ''}to {limits['le']:,}" if "le" in limits else ""
    return f"{from_}{above}{up_to}".removesuffix(",")


def names(folder: Path) -> list[str]:
    """Names of a folder's TOML files."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def find(name: str, packaged: Path, kind: str) -> Path:
    """The file of a name: a plain name is a packaged file, a path is that file.

    Args:
        kind: What the file holds, for messages.

    Raises:
        BenchError: There is no such file.
    """
    if "/" in name or "\\" in name or name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise BenchError(f"there is no {kind} file {name}", "give the path of a TOML file")
        return path
    known = names(packaged)
    if name not in known:
        available = suggestion(name, known) or f"there are {', '.join(known)}"
        is_file = Path(name).is_file()
        hint = f"write ./{name} for the file of that name" if is_file else available
        raise BenchError(f"there is no {kind} {name!r}", hint)
    return packaged / f"{name}.toml"


def suggestion(name: str, known: Iterable[str]) -> str:
    """A question such as `did you mean steps?`; empty if no known name is close."""
    # Initials too: `lr` is written for learning_rate.
    initials = [each for each in known if name == "".join(re.findall(r"(?:^|[_-])(.)", each))]
    close = difflib.get_close_matches(name, known, n=1) or initials
    return f"did you mean {close[0]}?" if close else ""


def _shown(value: object) -> str:
    """A value, shortened to fit into one line."""
    try:
        text = repr(list(value) if isinstance(value, tuple) else value)
    except (ValueError, RecursionError):  # Python refuses to print thousands of digits
        return f"an unprintable {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
