"""Scenarios: read from TOML and validated."""

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
    default_hyperparameters,
)

DOUBLING: Final = "doubling"
"""Thread counts 1, 2, 4, … and all cores."""

_OPTIONS = ("steps", "threads", "dataset", "seeds", "precision", "device")
"""Names that users may give to `--set` although each is an option of its own."""

_MAX_TITLE = 200
_MAX_TEXT = 80

Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]
ThreadCounts = tuple[int, ...] | Literal["doubling"]


def _checked_threads(value: object) -> object:
    """Validate thread counts; Pydantic would report an error for each type of the union."""
    if value is None or value == DOUBLING:
        return value
    counts = tuple(value) if isinstance(value, list | tuple) else ()
    valid = all(type(value) is int and 1 <= value <= MAX_THREADS for value in counts)
    if not counts or not valid or list(counts) != sorted(set(counts)):
        raise ValueError(
            f'must be a rising list of counts from 1 to {MAX_THREADS:,}, or "{DOUBLING}"'
        )
    return counts


class Grid(Record):
    """Evaluation grid: the steps, in updates done, after which images are scored."""

    first: int
    every: int

    def __contains__(self, step: int) -> bool:
        return step >= self.first and (step - self.first) % self.every == 0

    def points(self, steps: int) -> range:
        """All grid steps up to and including `steps`."""
        return range(self.first, steps + 1, self.every)


class Scenario(Record):
    """A model, its hyperparameters, step counts, dataset and evaluation grid.

    Attributes:
        title: One line for reports.
        model: Name of the network, or of another method.
        steps: Step counts, rising; each gives a run. Methods that are fitted at once have 1.
        dataset: The dataset; `auto` is MNIST, or the embedded sample if it can't be downloaded.
        eval_first: First step of the evaluation grid.
        eval_every: Distance between grid steps, in steps; or instead:
        eval_every_images: The same distance in training images.
        target_accuracies: Accuracies for time to accuracy, on test and validation; None: Table I's.
        save_weights: Whether the trained weights are saved as an artifact.
        threads: Thread counts, rising; every seed is trained at each. `doubling` is 1, 2, 4, … and
            all cores; None trains at one count.
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
    hyperparameters: Hyperparameters = Field(default_factory=default_hyperparameters)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hyperparameters.is_fitted_at_once:
            self._check_one_fit()
        if list(self.steps) != sorted(set(self.steps)):
            rising = sorted(set(self.steps))
            raise ValueError(
                f"steps = {list(self.steps)} should rise without duplicates, like {rising}"
            )
        if (self.eval_every is None) == (self.eval_every_images is None):
            raise ValueError("give one of eval_every and eval_every_images")
        if self.eval_first > self.steps[0]:
            raise ValueError(
                f"eval_first is {self.eval_first}, after the last of {self.steps[0]} steps: "
                "nothing would be evaluated"
            )
        return self

    def _check_one_fit(self) -> None:
        """Reject keys that apply only to networks."""
        if self.steps != (1,):
            raise ValueError(f"{self.model} is fitted in one step: steps must be [1]")
        if self.save_weights:
            raise ValueError(f"{self.model} has no weights: remove save_weights")
        if self.threads is not None:
            raise ValueError(
                f"only networks compare thread counts: {self.model} can't have threads"
            )

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
        """A copy with other step counts, and hyperparameters given as TOML text, validated."""
        values = self.model_dump(exclude_none=True)
        if steps is not None or settings:
            values["title"] = f"Changed from: {self.title}"[:_MAX_TITLE]
        if steps is not None:
            values["steps"] = tuple(sorted(set(steps)))
        for name, text in settings:
            values["hyperparameters"][name] = self._setting(name, text)
        source = "--set" if steps is None else f"--steps {','.join(map(str, steps))}"
        return _validated(values, source=source, remedy="correct the option, or the scenario")

    def _setting(self, name: str, text: str) -> Any:
        """Value of a hyperparameter from TOML text.

        Raises:
            BenchError: The model has no such hyperparameter, or it can't have this value.
        """
        model_type: type[Record] = HYPERPARAMETERS[self.model]
        if name in _OPTIONS:
            raise BenchError(f"--set {name}: that is not a hyperparameter", f"use --{name} {text}")
        if name in Scenario.model_fields:
            raise BenchError(
                f"--set {name}: that is not a hyperparameter", "set it in a scenario file"
            )
        if name not in model_type.model_fields:
            raise BenchError(
                f"--set {name}: {self.model} has no such hyperparameter",
                toml.suggestion(name, model_type.model_fields)
                or f"it has {', '.join(model_type.model_fields)}",
            )
        value = _toml_value(text)
        try:
            model_type.model_validate({name: value})
        except ValidationError as error:
            # Two values that don't go together are found when all are set.
            if any(fault["loc"] == (name,) for fault in error.errors()):
                shown = text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
                wanted = toml.expected(model_type.model_fields[name])
                raise BenchError(f"--set {name}={shown} is not valid", f"give {wanted}") from None
        return value

    def to_toml(self) -> str:
        """This scenario as TOML, which `read` accepts."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def json_schema() -> dict[str, Any]:
    """JSON Schema of scenarios, with the type of the hyperparameters by the model."""
    rules = [
        {
            "if": {"properties": {"model": {"const": model}}},
            "then": {"properties": {"hyperparameters": {"$ref": f"#/$defs/{kind.__name__}"}}},
        }
        for model, kind in HYPERPARAMETERS.items()
    ]
    return Scenario.model_json_schema() | {"allOf": rules}


def packaged_folder() -> Path:
    """The folder of packaged scenarios and reference results.

    It is inside the package in a wheel, and next to it in a checkout.
    """
    package = Path(__file__).parent.parent
    inside = package / "benchmarks"
    return inside if inside.is_dir() else package.parent / "benchmarks"


def packaged_names() -> list[str]:
    """Names of the packaged scenarios."""
    return toml.names(packaged_folder())


def find(name: str) -> Path:
    """The file of a scenario: a plain name is a packaged scenario, a path is a file."""
    return toml.find(name, packaged_folder(), "scenario")


def read(path: Path) -> Scenario:
    """Read a scenario file."""
    return _validated(toml.read(path), source=str(path))


def from_text(text: str, where: str) -> Scenario:
    """Parse a scenario from TOML; `where` names the source in error messages."""
    return _validated(toml.parse(text, where), source=where)


def _validated(
    values: dict[str, Any], *, source: str, remedy: str = "fix the scenario"
) -> Scenario:
    """Build a scenario; the first error becomes a one-line message."""
    # Without a model, a misspelled hyperparameter should be reported all the same.
    missing = () if "model" in values else ("model",)
    if missing:
        values = {"model": _likely_model(values.get("hyperparameters"))} | values
    if isinstance(values.get("steps"), list):
        values["steps"] = tuple(values["steps"])
    if isinstance(values.get("target_accuracies"), list):
        values["target_accuracies"] = tuple(values["target_accuracies"])
    model_type = HYPERPARAMETERS.get(str(values["model"]), HYPERPARAMETERS["paper-cnn"])
    try:
        scenario = Scenario.model_validate(values)
    except ValidationError as error:
        raise toml.to_bench_error(
            error,
            source,
            table=lambda names: model_type if len(names) > 1 else Scenario,
            remedy=remedy,
            missing=missing,
        ) from None
    if missing:
        raise toml.missing_keys(source, missing)
    return scenario


def _likely_model(hyperparameters: object) -> str:
    """The model that has most of these hyperparameters."""
    names = set(hyperparameters) if isinstance(hyperparameters, dict) else set()
    return max(
        HYPERPARAMETERS, key=lambda model: len(names & {*HYPERPARAMETERS[model].model_fields})
    )


def _toml_value(text: str) -> Any:
    """Parse a TOML value; text that is not one is taken as a string."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if len(table) == 1 else text
