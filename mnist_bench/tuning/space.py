"""Search spaces: which hyperparameters a study may choose, read from TOML and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from mnist_bench.core import toml
from mnist_bench.core.errors import BenchError
from mnist_bench.core.limits import MAX_BATCH_SIZE, MAX_STEPS, DatasetChoice
from mnist_bench.core.records import Record
from mnist_bench.scenarios.hyperparameters import HYPERPARAMETERS, PaperCnnHyperparameters
from mnist_bench.scenarios.paper import TABLE_1
from mnist_bench.scenarios.scenario import Scenario, packaged_folder

Value = bool | int | float | str
"""Value of a hyperparameter."""
Values = Annotated[
    tuple[Value, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)
]

STEPS = "steps"
"""The only parameter that is not a hyperparameter."""
LEAST_GRID_POINTS = 20
"""Minimum number of evaluations of a trial, unless it has fewer steps."""


class Parameter(Record):
    """Range or choices of one parameter.

    Attributes:
        log: Whether to sample uniformly in the logarithm.
        when: Condition: values of preceding parameters under which this one is sampled; otherwise
            it keeps the paper's value.
    """

    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    choices: Values | None = None
    when: dict[str, Values] = Field(default={})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("give either choices, or low and high")
            counts = [sum(_same(one, other) for other in self.choices) for one in self.choices]
            if not self.choices or max(counts) > 1:
                raise ValueError("choices must be one or more different values")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or choices")
        if self.low >= self.high:
            raise ValueError(f"low is {self.low}, not below high, {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}: log needs more than 0")
        return self

    def __str__(self) -> str:
        """The range or the choices, as in a file."""
        if self.choices is not None:
            text = f"[{', '.join(map(value_text, self.choices))}]"
        else:
            text = f"{self.low} to {self.high}{', log' if self.log else ''}"
        conditions = [f"{name} in {[*values]}" for name, values in self.when.items()]
        return f"{text} when {' and '.join(conditions)}" if conditions else text

    @property
    def extremes(self) -> tuple[Value, ...]:
        """Choices, or both ends of the range: if these are valid, all values are."""
        if self.choices is not None:
            return self.choices
        return tuple(end for end in (self.low, self.high) if end is not None)

    def contains(self, value: Value) -> bool:
        """Whether the value is allowed."""
        if self.choices is not None:
            return any(_same(value, one) for one in self.choices)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        low, high = map(float, self.extremes)
        return is_number and low <= float(value) <= high

    def is_active(self, chosen: Mapping[str, Value]) -> bool:
        """Whether its condition is met by the values of preceding parameters."""
        return all(name in chosen and chosen[name] in values for name, values in self.when.items())


class Space(Record):
    """Search space of a study, and what its trials have in common.

    Attributes:
        steps: Of each trial; None if they are a parameter.
        train_seconds: Budget of each trial; None if only its steps end it.
        eval_every: Distance of two points of the evaluation grid, in steps; or, instead:
        eval_every_images: the same in training images.
        target_accuracy: Of the objective `time-to-accuracy`, on validation.
        parameters: By name, in sampling order.
    """

    title: str = Field(min_length=1, max_length=200)
    model: Literal["paper-cnn"]
    dataset: DatasetChoice = "auto"
    steps: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    train_seconds: float | None = Field(default=None, gt=0)
    eval_every: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    eval_every_images: int | None = Field(default=None, ge=1, le=MAX_STEPS * MAX_BATCH_SIZE)
    target_accuracy: float | None = Field(default=None, gt=0, le=1)
    parameters: dict[str, Parameter]

    @field_validator("model", mode="before")
    @classmethod
    def _searched(cls, name: object) -> object:
        if name in HYPERPARAMETERS and name != "paper-cnn":
            raise ValueError(
                "a study searches paper-cnn alone, the paper's network and its variants"
            )
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not set(self.parameters) - {STEPS}:
            raise ValueError("the space is empty: give at least one hyperparameter")
        if (self.steps is None) == (STEPS not in self.parameters):
            raise ValueError("give steps, either as one number or as a parameter")
        if (self.eval_every is None) == (self.eval_every_images is None):
            raise ValueError("give one of eval_every and eval_every_images")
        preceding: dict[str, Parameter] = {}
        for name, parameter in self.parameters.items():
            self._check(name, parameter, preceding)
            preceding[name] = parameter
        for name, paper_value in self.paper_values().items():
            if not self.parameters[name].contains(paper_value):
                raise ValueError(
                    f"{name} excludes {paper_value!r}, but the paper's configuration is the first "
                    "trial"
                )
        return self

    @property
    def is_conditional(self) -> bool:
        """Whether any parameter has a condition."""
        return any(parameter.when for parameter in self.parameters.values())

    def scenario(self, chosen: Mapping[str, Value]) -> Scenario:
        """Scenario of a trial; parameters without a value keep the paper's."""
        steps = self.steps if self.steps is not None else int(chosen[STEPS])
        scenario = Scenario(
            title=self.title,
            model=self.model,
            steps=(steps,),
            dataset=self.dataset,
            eval_every=self.eval_every,
            eval_every_images=self.eval_every_images,
            target_accuracies=(self.target_accuracy,) if self.target_accuracy else None,
            hyperparameters=self.hyperparameters(chosen),
        )
        every = max(1, min(scenario.grid.every, steps // LEAST_GRID_POINTS))
        grid = {"eval_first": every, "eval_every": every, "eval_every_images": None}
        return scenario.model_copy(update=grid)

    def hyperparameters(self, chosen: Mapping[str, Value]) -> PaperCnnHyperparameters:
        """Hyperparameters of a trial."""
        values = {name: value for name, value in chosen.items() if name != STEPS}
        return PaperCnnHyperparameters.model_validate(values)

    def check_batches(self, train_images: int) -> None:
        """Check that no batch is larger than the training split.

        Raises:
            BenchError: The space allows a larger one.
        """
        parameter = self.parameters.get("batch_size")
        largest = max(map(int, parameter.extremes)) if parameter else 0
        if largest > train_images:
            raise BenchError(
                f"the search space allows a batch_size of {largest}, but there are only "
                f"{train_images} training images",
                "lower it in the space file",
            )

    def paper_values(self) -> dict[str, Value]:
        """Values of the paper's configuration, the first trial of every study."""
        paper_value = PaperCnnHyperparameters().model_dump()
        chosen: dict[str, Value] = {}
        for name, parameter in self.parameters.items():
            if parameter.is_active(chosen):
                chosen[name] = _paper_steps(parameter) if name == STEPS else paper_value[name]
        return chosen

    def _check(self, name: str, parameter: Parameter, preceding: Mapping[str, Parameter]) -> None:
        known = [*PaperCnnHyperparameters.model_fields, STEPS]
        if name not in known:
            raise ValueError(f"{self.model} has no {name}; it has {', '.join(known)}")
        for condition, values in parameter.when.items():
            if condition not in self.parameters:
                raise ValueError(f"{name} depends on {condition}, which is not in the space")
            if condition not in preceding:
                raise ValueError(f"{name} depends on {condition}, which must come before it")
            missing = [v for v in values if not _may_be(condition, preceding[condition], v)]
            if missing or not values:
                raise ValueError(f"{name}: {condition} is never {missing or 'nothing'}")
        if name == STEPS and parameter.when:
            raise ValueError("steps can't have a condition: every trial needs them")
        for end in parameter.extremes:
            if problem := _problem(name, end):
                raise ValueError(f"{name} can't be {end!r}: {problem}")


def _same(one: Value, other: Value) -> bool:
    """Whether two values are equal: 0 and 0.0 are, 0 and false are not."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _may_be(name: str, parameter: Parameter, value: Value) -> bool:
    is_whole = not isinstance(value, float) or value.is_integer()
    return parameter.contains(value) and (is_whole or not is_integer(name))


def _problem(name: str, value: Value) -> str:
    """Why a parameter can't have this value; empty if it can."""
    if name == STEPS:
        is_possible = type(value) is int and 1 <= value <= MAX_STEPS
        return "" if is_possible else f"it should be a whole number from 1 to {MAX_STEPS:,}"
    try:
        PaperCnnHyperparameters.model_validate({name: value})
    except ValidationError:
        field = PaperCnnHyperparameters.model_fields[name]
        return f"it should be {toml.expected(field)}"
    return ""


def _paper_steps(parameter: Parameter) -> int:
    """Allowed steps nearest to the paper's longest training."""
    longest = TABLE_1[-1].steps
    steps = [int(end) for end in parameter.extremes]
    if parameter.choices is None and steps[0] <= longest <= steps[1]:
        return longest
    return min(steps, key=lambda n: abs(n - longest))


def value_text(value: Value) -> str:
    """A value of a parameter, rounded for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def in_words(chosen: Mapping[str, Value]) -> str:
    """The chosen values with their names."""
    return ", ".join(f"{name} {value_text(value)}" for name, value in chosen.items())


def spaces_folder() -> Path:
    """Folder of the packaged search spaces."""
    return packaged_folder() / "spaces"


def default_path() -> Path:
    """Path of the search space that is taken where none is named."""
    return spaces_folder() / "default.toml"


def read(path: Path) -> Space:
    """Read a search space from a TOML file.

    Raises:
        BenchError: The file does not parse, or a key or value is wrong.
    """
    values = toml.read(path)
    try:
        return Space.model_validate(values)
    except ValidationError as error:
        raise toml.to_bench_error(
            error,
            str(path),
            table=lambda names: Parameter if len(names) > 1 else Space,
            remedy="fix the search space",
        ) from None


def is_integer(name: str) -> bool:
    """Whether a parameter is an integer."""
    return name == STEPS or PaperCnnHyperparameters.model_fields[name].annotation is int
