"""What is asked: a scenario, read from TOML and checked before any work starts."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import tomli_w
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from mnist_bench.core import toml
from mnist_bench.core.errors import BenchError
from mnist_bench.core.limits import MAX_BATCH_SIZE, MAX_STEPS, MAX_THREADS, DatasetChoice
from mnist_bench.core.records import Record
from mnist_bench.scenarios.hyperparameters import (
    HYPERPARAMETERS,
    Hyperparameters,
    Model,
    defaults_of,
)

DOUBLING: Final = "doubling"
"""Thread counts 1, 2, 4, ... and every core."""

_MAX_TITLE = 200

Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]
ThreadCounts = tuple[int, ...] | Literal["doubling"]


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
        model: Name of the network, or of another method.
        steps: Step counts, rising; each is a row of its own. Of a method that is fitted at once 1.
        dataset: Which images; `auto` takes what can be had.
        eval_first: First step of the evaluation grid.
        eval_every: Distance of two grid steps; or, instead:
        eval_every_images: the same distance in training images.
        target_accuracies: Looked for on test and on validation; None stands for Table I's four.
        save_weights: Whether a network's trained weights are kept as an artifact.
        threads: Thread counts, rising, at each of which every seed is trained anew; `doubling`
            is 1, 2, 4, ... and every core; None trains at one count.
        hyperparameters: Of the type that belongs to `model`.
    """

    title: str = Field(min_length=1, max_length=_MAX_TITLE)
    model: Model
    steps: tuple[Steps, ...] = Field(min_length=1, max_length=100)
    dataset: DatasetChoice = "auto"
    eval_first: int = Field(default=1, ge=1, le=MAX_STEPS)
    eval_every: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    eval_every_images: int | None = Field(default=None, ge=1, le=MAX_STEPS * MAX_BATCH_SIZE)
    target_accuracies: tuple[Annotated[float, Field(gt=0, le=1)], ...] | None = None
    save_weights: bool = False
    threads: Annotated[ThreadCounts | None, BeforeValidator(_checked_threads)] = None
    hyperparameters: Hyperparameters = Field(default_factory=defaults_of)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hyperparameters.is_fitted_at_once:
            self._check_one_fit()
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

    def _check_one_fit(self) -> None:
        """What only a training in steps can be asked for."""
        if self.steps != (1,):
            raise ValueError(f"{self.model} is fitted in one step: its steps can only be [1]")
        if self.save_weights:
            raise ValueError(f"{self.model} has no weights that could be kept: no save_weights")
        if self.threads is not None:
            raise ValueError(f"threads are compared for networks, {self.model} is none")

    @property
    def grid(self) -> Grid:
        """The evaluation grid in steps."""
        if self.eval_every is not None:
            return Grid(first=self.eval_first, every=self.eval_every)
        images = self.eval_every_images or 1
        every = max(1, round(images / self.hyperparameters.images_per_step))
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
                raise BenchError(
                    f"--set {name}: {self.model} has no such hyperparameter",
                    f"{toml.nearest(name, known)}it has {', '.join(known)}",
                )
            values["hyperparameters"][name] = _toml_value(text)
        return _checked(values, where="command line")

    def to_toml(self) -> str:
        """This scenario as a file that `read` takes back."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def packaged_folder() -> Path:
    """The folder of scenarios and reference results that come with the package.

    In a wheel it lies inside the package, in a checkout beside it.
    """
    package = Path(__file__).parent.parent
    inside = package / "benchmarks"
    return inside if inside.is_dir() else package.parent / "benchmarks"


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
        known = f"{toml.nearest(name, names)}there are {', '.join(names)}"
        own = f"write ./{name} for the file of that name" if Path(name).is_file() else known
        raise BenchError(f"no scenario is called {name!r}", own)
    return packaged_folder() / f"{name}.toml"


def read(path: Path) -> Scenario:
    """Read one scenario file.

    Raises:
        BenchError: The file does not parse (with its line), or a key or value is wrong.
    """
    return _checked(toml.read(path), where=str(path))


def from_text(text: str, where: str) -> Scenario:
    """A scenario out of a file's text.

    Args:
        text: As `to_toml` writes it.
        where: Named in what is said of it.

    Raises:
        BenchError: It does not parse, or a key or value is wrong.
    """
    return _checked(toml.parse(text, where), where=where)


def _checked(values: dict[str, Any], *, where: str) -> Scenario:
    """Build a scenario, turning the first fault into one line for people."""
    if isinstance(values.get("steps"), list):
        values["steps"] = tuple(values["steps"])
    if isinstance(values.get("target_accuracies"), list):
        values["target_accuracies"] = tuple(values["target_accuracies"])
    try:
        return Scenario.model_validate(values)
    except ValidationError as error:
        raise toml.explained(
            error,
            where,
            known=lambda names: _known_keys(names, values.get("model")),
            remedy="mend the scenario or the flag",
        ) from None


def _known_keys(names: list[str], model: object) -> list[str]:
    """Keys of the table that a key with this path lies in."""
    of = HYPERPARAMETERS.get(str(model), HYPERPARAMETERS["paper-cnn"])
    return list((of if len(names) > 1 else Scenario).model_fields)


def _toml_value(text: str) -> Any:
    """A value as TOML writes it; text that is no TOML value stands for itself."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if len(table) == 1 else text
