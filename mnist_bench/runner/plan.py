"""What is to be trained: a plan, its trajectories, and their runs before the first step."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from mnist_bench.core.errors import BenchError
from mnist_bench.core.limits import MAX_SEED
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.run import PhaseName, RunResult, Trial
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.scenario import Scenario
from mnist_bench.tracking.run_builder import planned_run


@dataclass(frozen=True)
class TrainingJob:
    """One training from step 0.

    Attributes:
        seed: As the user counts seeds.
        training_seed: What the training is started with.
        rows: Step counts cut from it, rising.
        execution: How it is carried out.
        part: Of a plan that machines share, which part of it this is; None of any other.
        id: Random; recorded with every run that is cut from it.
    """

    seed: int
    training_seed: int
    rows: tuple[int, ...]
    execution: Execution
    part: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that is going to be trained for one scenario.

    Attributes:
        name: Name of the scenario.
        scenario: What is asked.
        source: The images.
        executions: The ways in which each training is carried out, once in each.
        trajectories: In the order in which they are trained.
        trial: Of which study it is one; it then sees nothing of the test split.
        train_seconds_limit: Training seconds after which each ends at the next grid step; None
            where only its steps end it.
    """

    name: str
    scenario: Scenario
    source: Source
    executions: tuple[Execution, ...]
    trajectories: tuple[TrainingJob, ...]
    trial: Trial | None = None
    train_seconds_limit: float | None = None


def make_plan(
    name: str,
    scenario: Scenario,
    source: Source,
    *,
    seeds: range,
    executions: Sequence[Execution],
    independent: bool = False,
) -> TrainingPlan:
    """Lay out the trainings of a scenario.

    With a constant learning rate a row is an exact prefix of a longer one, so a seed's rows share
    one trajectory, unless `independent` asks for a training from zero for each. A schedule ends
    with its row, and so each row is a trajectory. Where it is to be carried out in several ways,
    each is a trajectory of its own, from the same seed.

    Raises:
        BenchError: A step takes more images than there are to train on, or a seed is too large.
    """
    asked = scenario.hyperparameters
    if asked.images_per_step > source.train_images:
        name = asked.images_name
        raise BenchError(
            f"{name} is {asked.images_per_step}, {source.name} has {source.train_images} training "
            "images",
            f"choose a smaller {name}",
        )
    if seeds[-1] > MAX_SEED:
        raise BenchError(f"seed {seeds[-1]} is above {MAX_SEED}", "choose a smaller --first-seed")
    trainings: list[tuple[int, int, tuple[int, ...]]]
    if independent:
        pairs = [(seed, steps) for seed in seeds for steps in scenario.steps]
        trainings = [(seed, _seed_of_row(seed, steps), (steps,)) for seed, steps in pairs]
    elif not asked.rows_share_steps:
        trainings = [(seed, seed, (steps,)) for seed in seeds for steps in scenario.steps]
    else:
        trainings = [(seed, seed, scenario.steps) for seed in seeds]
    trajectories = tuple(
        TrainingJob(*training, execution) for training in trainings for execution in executions
    )
    return TrainingPlan(name, scenario, source, tuple(executions), trajectories)


def planned_runs(
    plan: TrainingPlan,
    trajectory: TrainingJob,
    machine: Machine,
    shared: tuple[PhaseName, ...] = (),
) -> tuple[RunResult, ...]:
    """A trajectory's runs, by rising step count, as they are before their first step.

    Args:
        plan: What is trained.
        trajectory: One of its trainings.
        machine: The described machine.
        shared: Phases in which this process opens its store.
    """
    return tuple(
        planned_run(
            name=plan.name,
            scenario=plan.scenario,
            source=plan.source,
            machine=machine,
            execution=trajectory.execution,
            steps=steps,
            seed=trajectory.seed,
            training_seed=trajectory.training_seed,
            trajectory=trajectory.id,
            shared_phases=shared,
            trial=plan.trial,
            part=trajectory.part,
            train_seconds_limit=plan.train_seconds_limit,
        )
        for steps in trajectory.rows
    )


def _seed_of_row(seed: int, steps: int) -> int:
    """A seed for a row that is trained from zero: another one for each seed and step count."""
    digest = hashlib.sha256(f"{seed},{steps}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & MAX_SEED
