"""Types of options: functions that parse the text of an option and check its value."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import click

from mnist_bench.core.limits import MAX_SEED, MAX_SEEDS, MAX_STEPS, REPORT_FORMATS
from mnist_bench.tracking import uri

if TYPE_CHECKING:
    from mnist_bench.runner.seeds import StoppingRule

AUTO: Final = "auto"
Seeds: TypeAlias = int | Literal["auto"]

_FOLDERS = ("--data", "--out")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600}


def seeds(text: str) -> Seeds:
    """A number of seeds, or `auto`."""
    if text == AUTO:
        return AUTO
    try:
        number = int(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a number of seeds nor {AUTO}") from None
    if not 1 <= number <= MAX_SEEDS:
        raise click.BadParameter(f"{number} is not in the range 1<=x<={MAX_SEEDS}")
    return number


def step_counts(text: str) -> tuple[int, ...]:
    """Comma-separated step counts, sorted and without duplicates."""
    try:
        steps = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of step counts like 1000,2500") from None
    if steps[0] < 1 or steps[-1] > MAX_STEPS:
        raise click.BadParameter(f"{text} is outside 1 to {MAX_STEPS:,}")
    return steps


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
    if not equals:
        raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE")
    return name.strip(), value.strip()


def precision_target(text: str) -> float:
    """An accuracy difference between 0 and 1."""
    value = _number(text)
    if not 0 < value < 1:  # true for nan
        raise click.BadParameter(f"{value:g} is not between 0 and 1, like 0.0005")
    return value


def duration_seconds(text: str) -> float:
    """A duration like 90s, 30m or 2h."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([smh])", text.strip(), flags=re.ASCII)
    seconds = float(match[1]) * _UNIT_SECONDS[match[2]] if match else 0.0
    if seconds <= 0:
        raise click.BadParameter(f"{text!r} is not a duration like 90s, 30m or 2h")
    return seconds


def formats(text: str) -> tuple[str, ...]:
    """Comma-separated report formats, without duplicates."""
    requested = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",")))
    unknown = [name for name in requested if name not in REPORT_FORMATS]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is not one of {', '.join(REPORT_FORMATS)}")
    return requested


def file(text: str) -> Path:
    """An existing file."""
    path = Path(text)
    if not path.is_file():
        raise click.BadParameter(f"there is no file {text}")
    return path


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
        raise click.BadParameter(f"{seconds:g} is not a number of seconds above 0")
    return seconds


def confirmations(_context: click.Context, _parameter: click.Parameter, number: int) -> int:
    """Callback: a number of seeds: 0, or at least 2."""
    if number == 1:
        raise click.BadParameter("one seed has no spread: give 0 or at least 2")
    return number


def storage(url: str) -> str | None:
    """Optuna's URL; refuses a password on the command line, where other users can read it."""
    if url:
        uri.refuse_password(
            url, "--storage", "keep it in your database's own file, such as ~/.pgpass"
        )
    return url or None


def tracking_uri(context: click.Context, parameter: click.Parameter, text: str) -> str:
    """Callback: MLflow's tracking URI; refuses a password on the command line."""
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
        raise click.BadParameter(f"{value:g} is not a price of a kilowatt-hour")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a valid float.") from None


def repeats(
    number: Seeds, precision_target: float | None, budget_seconds: float | None
) -> StoppingRule | None:
    """The stopping rule of `--seeds auto`; None for a number of seeds.

    Raises:
        click.UsageError: Options of the rule were given with a number of seeds.
    """
    if number != AUTO:
        if (precision_target, budget_seconds) != (None, None):
            raise click.UsageError("--precision-target and --budget need --seeds auto")
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
