"""Training plans: the jobs of a scenario, and their runs before the first step."""

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
from mnist_bench.runner.environment import as_text
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.scenario import Scenario


@dataclass(frozen=True)
class TrainingJob:
    """One training from step 0.

    Attributes:
        seed: The user's seed.
        training_seed: The seed that the training draws from; differs from `seed` if each step
            count is trained from step 0.
        step_counts: Rising; one run is recorded for each.
        id: Random; recorded as `trajectory` with each of its runs.
    """

    seed: int
    training_seed: int
    step_counts: tuple[int, ...]
    execution: Execution
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class TrainingPlan:
    """Everything to be trained for one scenario.

    Attributes:
        executions: Every training is done once with each.
        jobs: In training order.
        trial: The trial of a study; the test split is then not evaluated. None otherwise.
        train_seconds_limit: Train seconds after which a training ends at the next grid step; None
            for no limit.
        tags: The user's own, recorded with every run.
        changes: What options of the command changed in the scenario, for the names of its reports.
    """

    name: str
    scenario: Scenario
    source: Source
    executions: tuple[Execution, ...]
    jobs: tuple[TrainingJob, ...]
    trial: Trial | None = None
    train_seconds_limit: float | None = None
    tags: tuple[tuple[str, str], ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def report_name(self) -> str:
        """Stem of the report files: another one for each change of the scenario."""
        return ".".join((self.name, *self.changes))


def make_plan(
    name: str,
    scenario: Scenario,
    source: Source,
    *,
    seeds: range,
    executions: Sequence[Execution],
    independent: bool = False,
) -> TrainingPlan:
    """Make the training jobs of a scenario.

    With a constant learning rate a shorter training is an exact prefix of a longer one, so a seed's
    step counts share one job, unless `independent` asks for a training from step 0 for each. A
    learning rate schedule ends with its step count, so each step count is a job. Each of several
    executions is a job of its own, from the same seed.

    Raises:
        BenchError: A step takes more images than the training split has, or a seed is too large.
    """
    hyperparameters = scenario.hyperparameters
    if hyperparameters.images_per_step > source.train_images:
        images_name = hyperparameters.images_name
        raise BenchError(
            f"{images_name} is {hyperparameters.images_per_step}, {source.name} has "
            f"{source.train_images} training images",
            f"choose a smaller {images_name}",
        )
    if seeds[-1] > MAX_SEED:
        raise BenchError(f"seed {seeds[-1]} is above {MAX_SEED}", "choose a smaller --first-seed")
    is_shared = hyperparameters.step_counts_share_training and not independent
    trainings = [scenario.steps] if is_shared else [(steps,) for steps in scenario.steps]
    jobs = tuple(
        TrainingJob(
            seed, _independent_seed(seed, steps[0]) if independent else seed, steps, execution
        )
        for seed in seeds
        for steps in trainings
        for execution in executions
    )
    return TrainingPlan(name, scenario, source, tuple(executions), jobs)


def planned_runs(
    plan: TrainingPlan,
    job: TrainingJob,
    machine: Machine,
    shared: tuple[PhaseName, ...] = (),
) -> tuple[RunResult, ...]:
    """A job's runs, by rising step count, before their first step.

    Args:
        shared: Phases of the worker during which this process opens its store.
    """
    scenario = plan.scenario
    return tuple(
        RunResult(
            **dict(job.execution) | {"environment": as_text(job.execution.environment)},
            scenario=plan.name,
            model=scenario.model,
            steps=steps,
            seed=job.seed,
            training_seed=job.training_seed,
            trajectory=job.id,
            dataset=plan.source.name,
            dataset_digest=plan.source.digest,
            machine_id=machine.machine_id,
            eval_first=scenario.grid.first,
            eval_every=scenario.grid.every,
            target_accuracies=scenario.target_accuracies or paper.TARGET_ACCURACIES,
            hyperparameters=scenario.hyperparameters,
            shared_phases=shared,
            trial=plan.trial,
            train_seconds_limit=plan.train_seconds_limit,
        )
        for steps in job.step_counts
    )


def _independent_seed(seed: int, steps: int) -> int:
    """The training seed of a step count trained from step 0; differs by seed and step count."""
    digest = hashlib.sha256(f"{seed},{steps}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & MAX_SEED
