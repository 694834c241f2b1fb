"""Training time estimates from earlier runs, cached in the user's cache folder."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field, TypeAdapter, ValidationError

from mnist_bench.core import files
from mnist_bench.core.records import Record
from mnist_bench.data import mnist
from mnist_bench.runner import environment
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import Hyperparameters
from mnist_bench.scenarios.scenario import Scenario

if TYPE_CHECKING:  # at run time the import would slow `mnist-bench scenarios` down
    from mnist_bench.results.run import RunResult
    from mnist_bench.runner.plan import TrainingJob, TrainingPlan

_FILE = "costs.json"
_MAX_BYTES = 2**20


class Cost(Record):
    """Speed of one configuration on this machine.

    Attributes:
        steps: Steps of the training that it was measured on.
        is_disturbed: Whether that training was invalid.
        train_images_per_second: While training.
        score_images_per_second: While evaluating.
        start_seconds: Time of a worker process apart from training and evaluating.
    """

    steps: int = Field(gt=0)
    train_images_per_second: float = Field(gt=0)
    score_images_per_second: float = Field(gt=0)
    start_seconds: float = Field(ge=0)
    is_disturbed: bool = False


_COSTS: TypeAdapter[dict[str, Cost]] = TypeAdapter(dict[str, Cost])


@dataclass(frozen=True)
class Work:
    """Images of a training over all steps and over all evaluations."""

    train_images: int
    score_images: int

    def seconds(self, cost: Cost) -> float:
        """Expected wall-clock seconds at a given speed."""
        train_seconds = self.train_images / cost.train_images_per_second
        score_seconds = self.score_images / cost.score_images_per_second
        return train_seconds + score_seconds + cost.start_seconds


def work_of(scenario: Scenario, step_counts: tuple[int, ...], scored_at_once: int) -> Work:
    """The work of one training.

    Args:
        step_counts: Rising.
        scored_at_once: Images of one evaluation, test and validation together.
    """
    evaluations = len({*scenario.grid.points(step_counts[-1]), *step_counts})
    images_per_step = scenario.hyperparameters.images_per_step
    return Work(step_counts[-1] * images_per_step, evaluations * scored_at_once)


def load_cost(model: str, hyperparameters: Hyperparameters, execution: Execution) -> Cost | None:
    """The last recorded cost of such a training here; None if there is none."""
    return _read().get(_key_of(model, hyperparameters, execution))


def costs_of(plan: TrainingPlan) -> dict[Execution, Cost | None]:
    """The last recorded cost of such trainings here, by execution settings."""
    scenario = plan.scenario
    return {
        execution: load_cost(scenario.model, scenario.hyperparameters, execution)
        for execution in {job.execution for job in plan.jobs}
    }


def expected_seconds(
    plan: TrainingPlan,
    jobs: Sequence[TrainingJob],
    costs: Mapping[Execution, Cost | None] | None = None,
) -> float | None:
    """Expected wall-clock seconds of some jobs of a plan; None if one is not known.

    Args:
        costs: As of `costs_of`; None reads them.
    """
    costs = costs_of(plan) if costs is None else costs
    scored = plan.source.scored_images
    each = [
        work_of(plan.scenario, job.step_counts, scored).seconds(cost)
        for job in jobs
        if (cost := costs[job.execution])
    ]
    return sum(each, 0.0) if len(each) == len(jobs) else None


def save_costs(runs: Sequence[RunResult], scored_at_once: int) -> None:
    """Save the cost of the longest finished run of each configuration.

    A shorter training is less warmed up, so it does not replace the known cost; nor does an invalid
    run that of another one. A cache that can't be written is ignored.
    """
    known = _read()
    costs = dict(known)
    for run in runs:
        cost = _cost_of(run, runs, scored_at_once) if run.status == "finished" else None
        settings = (run.precision, run.device, run.threads)
        key = _key(run.model, run.hyperparameters, *settings, variables=run.environment)
        if cost and (key not in costs or _rank(cost) >= _rank(costs[key])):
            costs[key] = cost
    if costs != known:
        _write(costs)


def save_cost(
    model: str, hyperparameters: Hyperparameters, execution: Execution, cost: Cost
) -> None:
    """Save the cost of a configuration; a cache that can't be written is ignored."""
    _write(_read() | {_key_of(model, hyperparameters, execution): cost})


def _rank(cost: Cost) -> tuple[bool, int]:
    """Which of two costs is better known, as a key for comparison."""
    return not cost.is_disturbed, cost.steps


def _cost_of(run: RunResult, runs: Sequence[RunResult], scored_at_once: int) -> Cost | None:
    """The cost of a run; None if its training or evaluation was not timed."""
    if not run.images_per_second or not run.seconds.get("evaluate"):
        return None
    scored = {e.step for r in runs if r.trajectory == run.trajectory for e in r.evaluations}
    work_seconds = run.seconds.get("train", 0.0) + run.seconds["evaluate"]
    return Cost(
        steps=run.steps,
        train_images_per_second=run.images_per_second,
        score_images_per_second=len(scored) * scored_at_once / run.seconds["evaluate"],
        start_seconds=sum(run.seconds.values()) - work_seconds,
        is_disturbed=run.verdict == "invalid",
    )


def _read() -> dict[str, Cost]:
    path = mnist.cache_folder() / _FILE
    try:
        return _COSTS.validate_json(files.read_bounded(path, _MAX_BYTES))
    except (OSError, ValidationError):
        return {}


def _write(costs: dict[str, Cost]) -> None:
    with contextlib.suppress(OSError):
        files.write_atomically(mnist.cache_folder() / _FILE, _COSTS.dump_json(costs, indent=2))


def _key_of(model: str, hyperparameters: Hyperparameters, execution: Execution) -> str:
    settings = (execution.precision, execution.device, execution.threads)
    variables = environment.as_text(execution.environment)
    return _key(model, hyperparameters, *settings, variables=variables)


def _key(
    model: str,
    hyperparameters: Hyperparameters,
    precision: str,
    device: str,
    threads: int,
    *,
    variables: str | None,
) -> str:
    values = " ".join(f"{name}={value}" for name, value in hyperparameters)
    key = f"{model} {values} {precision} {device} threads={threads}"
    return f"{key} {variables}" if variables else key
