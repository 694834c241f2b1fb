"""What is asked: a scenario, read from TOML and checked before any work starts."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import tomli_w
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from mnist_bench.errors import BenchError
from mnist_bench.limits import MAX_BATCH_SIZE, MAX_STEPS, MAX_THREADS, DatasetChoice

DOUBLING: Final = "doubling"
"""Thread counts 1, 2, 4, ... and every core."""

_MAX_TITLE = 200
_MAX_SHOWN = 80
_REASONS = {
    "tuple_type": "it should be a list in brackets",
    "too_short": "it should not be empty",
    "model_type": "it should be a table",
}
"""Pydantic's faults whose own words speak of Python."""

Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]
ThreadCounts = tuple[int, ...] | Literal["doubling"]


class Record(BaseModel):
    """Base of what passes between rooms: frozen, strictly typed, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PaperCnnHyperparameters(Record):
    """What may be chosen of the paper's network; the defaults are the paper's.

    Attributes:
        learning_rate: Adam's step size.
        batch_size: Images in one step.
        dropout_rate: Share of the dense layer's outputs dropped in training.
    """

    learning_rate: float = Field(default=0.001, gt=0, le=10)
    batch_size: int = Field(default=50, ge=1, le=MAX_BATCH_SIZE)
    dropout_rate: float = Field(default=0.5, ge=0, lt=1)


Hyperparameters = PaperCnnHyperparameters
"""Union of every model's hyperparameters; which one a scenario holds, its `model` says."""
HYPERPARAMETERS: dict[str, type[Hyperparameters]] = {"paper-cnn": PaperCnnHyperparameters}
"""Model name to the type of its hyperparameters."""


def _checked_threads(value: object) -> object:
    """Thread counts checked here, since Pydantic would tell a fault once for each kind of them."""
    if value is None or value == DOUBLING:
        return value
    counts = tuple(value) if isinstance(value, list | tuple) else ()
    known = all(type(each) is int and 1 <= each <= MAX_THREADS for each in counts)
    if not counts or not known or list(counts) != sorted(set(counts)):
        raise ValueError(
            f'it should be a rising list of counts from 1 to {MAX_THREADS:,}, or "{DOUBLING}"'
        )
    return counts


class Grid(Record):
    """The steps after which test and validation are scored.

    Attributes:
        first: First of them, in updates done.
        every: Distance between two of them, in updates.
    """

    first: int
    every: int

    def __contains__(self, step: int) -> bool:
        return step >= self.first and (step - self.first) % self.every == 0

    def points(self, steps: int) -> range:
        """All grid steps up to and with `steps`."""
        return range(self.first, steps + 1, self.every)


class Scenario(Record):
    """One question to the machine: which network, for how many steps, scored when.

    Attributes:
        title: One line for people.
        model: Name of the network.
        steps: Step counts, rising; each is a row of its own.
        dataset: Which images; `auto` takes what can be had.
        eval_first: First step of the evaluation grid.
        eval_every: Distance of two grid steps; or, instead:
        eval_every_images: the same distance in training images.
        target_accuracies: Looked for on test and on validation; None stands for Table I's four.
        save_weights: Whether the trained weights are kept as an artifact.
        threads: Thread counts, rising, at each of which every seed is trained anew; `doubling`
            is 1, 2, 4, ... and every core; None trains at one count.
        hyperparameters: Of the type that belongs to `model`.
    """

    title: str = Field(min_length=1, max_length=_MAX_TITLE)
    model: Literal["paper-cnn"]
    steps: tuple[Steps, ...] = Field(min_length=1, max_length=100)
    dataset: DatasetChoice = "auto"
    eval_first: int = Field(default=1, ge=1, le=MAX_STEPS)
    eval_every: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    eval_every_images: int | None = Field(default=None, ge=1, le=MAX_STEPS * MAX_BATCH_SIZE)
    target_accuracies: tuple[Annotated[float, Field(gt=0, le=1)], ...] | None = None
    save_weights: bool = False
    threads: Annotated[ThreadCounts | None, BeforeValidator(_checked_threads)] = None
    hyperparameters: Hyperparameters = PaperCnnHyperparameters()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if list(self.steps) != sorted(set(self.steps)):
            raise ValueError("steps must rise, each named once")
        if (self.eval_every is None) == (self.eval_every_images is None):
            raise ValueError("give one of eval_every and eval_every_images")
        if self.eval_first > self.steps[0]:
            raise ValueError(
                f"eval_first is {self.eval_first}, after the end of {self.steps[0]} steps: "
                "nothing would be scored"
            )
        return self

    @property
    def grid(self) -> Grid:
        """The evaluation grid in steps."""
        if self.eval_every is not None:
            return Grid(first=self.eval_first, every=self.eval_every)
        images = self.eval_every_images or 1
        every = max(1, round(images / self.hyperparameters.batch_size))
        return Grid(first=self.eval_first, every=every)

    def with_changes(
        self, *, steps: tuple[int, ...] | None = None, settings: tuple[tuple[str, str], ...] = ()
    ) -> Scenario:
        """This scenario with other step counts or hyperparameters, checked anew.

        Args:
            steps: Step counts that replace the scenario's own.
            settings: Hyperparameter names with their values as TOML text.

        Raises:
            BenchError: A name that the model does not have, or a value out of its range.
        """
        values = self.model_dump(exclude_none=True)
        if steps is not None or settings:
            values["title"] = f"Changed from: {self.title}"[:_MAX_TITLE]
        if steps is not None:
            values["steps"] = tuple(sorted(set(steps)))
        known = list(HYPERPARAMETERS[self.model].model_fields)
        for name, text in settings:
            if name not in known:
                raise BenchError(f"--set {name}: {self.model} has no such hyperparameter",
                                 f"{_nearest(name, known)}it has {', '.join(known)}")  # fmt: skip
            values["hyperparameters"][name] = _toml_value(text)
        return _checked(values, where="command line")

    def to_toml(self) -> str:
        """This scenario as a file that `read` takes back."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def packaged_folder() -> Path:
    """The folder of scenarios and reference results that come with the package.

    In a wheel it lies inside the package, in a checkout beside it.
    """
    inside = Path(__file__).parent / "benchmarks"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "benchmarks"


def packaged_names() -> list[str]:
    """Names of the scenarios that come with the package."""
    return sorted(path.stem for path in packaged_folder().glob("*.toml"))


def find(name: str) -> Path:
    """The file of a scenario: a bare name is a packaged one, a path the user's own.

    Raises:
        BenchError: No such scenario; names the nearest.
    """
    if "/" in name or "\\" in name or name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise BenchError(f"no scenario file {name}", "give the path of a TOML file")
        return path
    names = packaged_names()
    if name not in names:
        known = f"{_nearest(name, names)}there are {', '.join(names)}"
        own = f"write ./{name} for the file of that name" if Path(name).is_file() else known
        raise BenchError(f"no scenario is called {name!r}", own)
    return packaged_folder() / f"{name}.toml"


def read(path: Path) -> Scenario:
    """Read one scenario file.

    Raises:
        BenchError: The file does not parse (with its line), or a key or value is wrong.
    """
    try:
        # -sig: editors on Windows begin files with a mark that TOML does not know.
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise BenchError(f"{path} is nested too deeply", "mend it") from error
    except ValueError as error:  # TOML's, UTF-8's, and that of a number of thousands of digits
        raise BenchError(f"{path} is not TOML: {error}", "mend that line") from error
    except OSError as error:
        raise BenchError(f"can't read {path}: {error.strerror}") from error
    return _checked(values, where=str(path))


def _checked(values: dict[str, Any], *, where: str) -> Scenario:
    """Build a scenario, turning the first fault into one line for people."""
    if isinstance(values.get("steps"), list):
        values["steps"] = tuple(values["steps"])
    if isinstance(values.get("target_accuracies"), list):
        values["target_accuracies"] = tuple(values["target_accuracies"])
    try:
        return Scenario.model_validate(values)
    except ValidationError as error:
        raise _explained(error, where) from None


def _explained(error: ValidationError, where: str) -> BenchError:
    """One fault as what, where and remedy."""
    faults = error.errors(include_url=False)
    # A misspelt key is also a missing one: the misspelling says more.
    fault = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    names = [part for part in fault["loc"] if isinstance(part, str)]
    key = ".".join(names)
    if fault["type"] == "extra_forbidden":
        table = HYPERPARAMETERS["paper-cnn"] if len(names) > 1 else Scenario
        known = list(table.model_fields)
        return BenchError(
            f"{where}: unknown key {key}",
            f"{_nearest(names[-1], known)}known are {', '.join(known)}",
        )
    if fault["type"] == "missing":
        return BenchError(f"{where}: key {key} is missing", "add it")
    reason = _REASONS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
    if not key:
        return BenchError(f"{where}: {reason}", "mend the scenario or the flag")
    reason = reason[:1].lower() + reason[1:]
    return BenchError(
        f"{where}: {key} = {_shown(fault['input'])}: {reason}", f"choose another {key}"
    )


def _shown(value: object) -> str:
    """A value as it may stand in one line."""
    try:
        text = repr(list(value) if isinstance(value, tuple) else value)
    except (ValueError, RecursionError):  # Python prints no number of thousands of digits
        return f"an unprintable {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}? " if close else ""


def _toml_value(text: str) -> Any:
    """A value as TOML writes it; text that is no TOML value stands for itself."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if len(table) == 1 else text
