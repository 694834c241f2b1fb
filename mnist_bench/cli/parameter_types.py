"""Types of options: functions that parse the text of an option and check its value."""

from __future__ import annotations

import datetime as dt
import math
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import click

from mnist_bench.core.limits import MAX_SEED, MAX_SEEDS, MAX_STEPS, REPORT_FORMATS
from mnist_bench.tracking import uri
from mnist_bench.tracking.database import is_sqlite, sqlite_file

if TYPE_CHECKING:
    from mnist_bench.runner.seeds import StoppingRule

AUTO: Final = "auto"
Seeds: TypeAlias = int | Literal["auto"]

_FOLDERS = ("--data", "--out")
_MAX_TAG = 200
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600}


class WholeNumber(click.IntRange):
    """A whole number; errors and `--help` give its range in words."""

    name = "whole number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; one message whatever is wrong with the text."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not a whole number {self._describe_range()}", param, ctx)

    def _describe_range(self) -> str:  # click's own is like 1<=x<=1024
        return f"from {self.min}" if self.max is None else f"from {self.min} to {self.max}"


def seeds(text: str) -> Seeds:
    """A number of seeds, or `auto`."""
    if text == AUTO:
        return AUTO
    number = int(text) if re.fullmatch(r"\d{1,9}", text, flags=re.ASCII) else 0
    if not 1 <= number <= MAX_SEEDS:
        raise click.BadParameter(
            f"{text!r} is neither a number of seeds from 1 to {MAX_SEEDS} nor {AUTO}"
        )
    return number


def step_counts(text: str) -> tuple[int, ...]:
    """Comma-separated step counts, sorted and without duplicates."""
    parts = [part.strip() for part in text.split(",")]
    has_thousands = any(re.fullmatch(r"0\d\d", part) for part in parts[1:])  # 1,000
    if has_thousands and all(map(str.isdecimal, parts)):
        numbers = ",".join(_joined_thousands(parts))
        raise click.BadParameter(
            f"step counts are separated by commas: write {numbers}, not {text}"
        )
    if re.fullmatch(r"[1-9],[1-9]\d\d", text):  # the paper's 2,500
        raise click.BadParameter(
            f"{text} is {parts[0]} and {parts[1]} steps: write {''.join(parts)} if you mean one "
            f"step count, {parts[1]},{parts[0]} if you mean two"
        )
    try:
        steps = tuple(sorted({int(part) for part in parts}))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of step counts like 1000,2500") from None
    if steps[0] < 1 or steps[-1] > MAX_STEPS:
        wrong = steps[0] if steps[0] < 1 else steps[-1]
        raise click.BadParameter(f"{wrong} is not a step count from 1 to {MAX_STEPS}")
    return steps


def _joined_thousands(parts: Sequence[str]) -> list[str]:
    """The numbers of 1,000,2,500, whose commas separate thousands as well."""
    numbers: list[str] = []
    for part in parts:
        if numbers and len(part) == 3 and 0 < int(numbers[-1] + part) <= MAX_STEPS:
            numbers[-1] += part
        else:
            numbers.append(part)
    return numbers


def folder(text: str) -> Path:
    """A folder; an empty text is an error."""
    if not text.strip():
        raise click.BadParameter("it is empty")  # Path("") is the working directory
    return Path(text)


def names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Packaged scenarios and claims that start with `incomplete`, for shell completion."""
    from mnist_bench.claims.declared import known_names
    from mnist_bench.scenarios.scenario import packaged_names

    return [name for name in (*packaged_names(), *known_names()) if name.startswith(incomplete)]


def setting(text: str) -> tuple[str, str]:
    """Name and value of a hyperparameter from NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE")
    return name.strip(), value.strip()


def tag(text: str) -> tuple[str, str]:
    """Key and value of a user's tag from KEY=VALUE."""
    from mnist_bench.tracking.schema import RESERVED_TAGS  # slow to load

    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not value:
        raise click.BadParameter(f"{text!r} is not of the form KEY=VALUE")
    if not re.fullmatch(r"\w[\w./-]{0,99}", key):
        raise click.BadParameter(
            f"{key!r:.120} can't be a key: use letters, digits, dots, hyphens, slashes, underscores"
        )
    if key.startswith(RESERVED_TAGS):
        raise click.BadParameter(f"{key!r} is reserved: choose a key without {key.split('.')[0]}.")
    return key, _tag_value(value)


def run_name(text: str) -> str:
    """A name of runs."""
    if not text.strip():
        raise click.BadParameter("it is empty")
    return _tag_value(text.strip())


def _tag_value(text: str) -> str:
    if len(text) > _MAX_TAG or not text.isprintable():
        raise click.BadParameter(f"use at most {_MAX_TAG} printable characters")
    return text


def own_tags(name: str | None, tags: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The tags of --tag, and that of --name.

    Raises:
        click.UsageError: Two have the same key.
    """
    from mnist_bench.tracking.schema import NAME_TAG  # slow to load

    every = (*(((NAME_TAG, name),) if name else ()), *tags)
    keys = [key for key, _ in every]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice:
        raise click.UsageError(f"the tag {twice} is given twice")
    return every


def precision_target(text: str) -> float:
    """An accuracy difference between 0 and 1."""
    value = _number(text)
    if not 0 < value < 1:  # true for nan
        raise click.BadParameter(f"{text!r} is not a number between 0 and 1, like 0.0005")
    return value


def duration_seconds(text: str) -> float:
    """A duration like 90s, 30m or 2h."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([smh])", text.strip(), flags=re.ASCII)
    seconds = float(match[1]) * _UNIT_SECONDS[match[2]] if match else 0.0
    if seconds <= 0:
        raise click.BadParameter(f"{text!r} is not a duration like 90s, 30m or 2h")
    return seconds


def day(text: str) -> dt.date:
    """A day like 2026-01-31."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a day like 2026-01-31") from None


def formats(text: str) -> tuple[str, ...]:
    """Comma-separated report formats, without duplicates."""
    requested = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",")))
    unknown = [name for name in requested if name not in REPORT_FORMATS]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is not one of {', '.join(REPORT_FORMATS)}")
    return requested


def space(text: str) -> Path:
    """The file of a search space."""
    from mnist_bench.core import toml
    from mnist_bench.tuning.space import spaces_folder

    return toml.find(text, spaces_folder(), "search space")


def space_names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Packaged search spaces that start with `incomplete`, for shell completion."""
    from mnist_bench.core import toml
    from mnist_bench.tuning.space import spaces_folder

    return [name for name in toml.names(spaces_folder()) if name.startswith(incomplete)]


def size_bytes(text: str) -> int:
    """A size like 900M or 1.5G; 1K is 1,024 bytes."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)([KMGT])i?B?", text.strip(), flags=re.ASCII)
    size = int(float(match[1]) * 1_024 ** (1 + "KMGT".index(match[2]))) if match else 0
    if size <= 0:
        raise click.BadParameter(f"{text!r} is not a size like 900M or 1.5G")
    return size


def max_seconds(text: str) -> float:
    """A positive, finite number of seconds."""
    seconds = _number(text)
    if not 0 < seconds < math.inf:  # true for nan
        raise click.BadParameter(f"{text!r} is not a number of seconds above 0, like 60")
    return seconds


def confirmations(_context: click.Context, _parameter: click.Parameter, number: int) -> int:
    """Callback: a number of seeds: 0, or at least 2."""
    if number == 1:
        raise click.BadParameter("one seed has no spread: give 0 or at least 2")
    return number


def storage(url: str) -> str | None:
    """Optuna's URL; refuses a password, which other users can read, and a database in memory."""
    url = uri.cleaned(url)
    if url:
        uri.refuse_password(
            url, "--storage", "keep it in your database's own file, such as ~/.pgpass"
        )
    if is_sqlite(url) and sqlite_file(url) is None:
        raise click.BadParameter(f"{url!r} names no file: write it like sqlite:///optuna.db")
    return url or None


def tracking_uri(context: click.Context, parameter: click.Parameter, text: str) -> str:
    """Callback: MLflow's tracking URI; refuses a password on the command line."""
    text = uri.cleaned(text)
    source = context.get_parameter_source(parameter.name or "")
    if source is click.core.ParameterSource.COMMANDLINE:
        uri.refuse_password(
            text,
            "--tracking-uri",
            "set MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    return text


def seed_range(number: Seeds, first: int) -> range:
    """The seeds to train, at most."""
    if number == AUTO:
        return range(first, min(first + MAX_SEEDS, MAX_SEED + 1))
    return range(first, first + number)


def price(text: str) -> float:
    """The price of a kilowatt-hour."""
    value = _number(text)
    if not 0 <= value < 1_000:  # true for nan
        raise click.BadParameter(f"{text!r} is not a price of a kilowatt-hour, like 0.3")
    return value


def _number(text: str) -> float:
    """A number; nan, which lies in no range, for other texts."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def repeats(
    number: Seeds, precision_target: float | None, budget_seconds: float | None
) -> StoppingRule | None:
    """The stopping rule of `--seeds auto`; None for a number of seeds.

    Raises:
        click.UsageError: Options of the rule were given with a number of seeds.
    """
    if number != AUTO:
        if precision_target is not None:
            raise click.UsageError("--precision-target works only with --seeds auto")
        if budget_seconds is not None:
            raise click.UsageError("--budget works only with --seeds auto or `run claims`")
        return None
    from mnist_bench.runner.seeds import BUDGET_SECONDS, PRECISION_TARGET, StoppingRule

    return StoppingRule(precision_target or PRECISION_TARGET, budget_seconds or BUDGET_SECONDS)


def shown_command(arguments: Sequence[str]) -> str:
    """The command line for reports, without private folders and URIs."""
    shown: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if shown and shown[-1] in _FOLDERS:
            shown.append("DIR")
        elif name in _FOLDERS and equals:
            shown.append(f"{name}=DIR")
        elif "://" in argument:
            shown.append(f"{name}=URI" if equals and "://" in value else "URI")
        else:
            # pathlib raises for a query that is longer than a file name can be.
            is_file = os.path.isfile(argument)  # noqa: PTH113
            shown.append(Path(argument).name if is_file else argument)
    return shlex.join(("mnist-bench", *shown))
