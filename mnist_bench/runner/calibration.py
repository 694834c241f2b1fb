"""The cost of a plan's trainings where nothing similar was trained here: a short training tells."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from mnist_bench.results.protocol import Message, Request, SampleMessage, StepCountDone
from mnist_bench.runner import time_estimates
from mnist_bench.runner.plan import TrainingPlan
from mnist_bench.runner.process import WorkerProcess
from mnist_bench.runner.time_estimates import Cost
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.scenario import Grid

_STRETCHES = 3
_IMAGES_PER_STRETCH = 2_000


def unknown_executions(plan: TrainingPlan) -> list[Execution]:
    """The execution settings of a network's jobs whose cost is not known here."""
    if plan.scenario.hyperparameters.is_fitted_at_once:
        return []
    return [one for one, cost in time_estimates.costs_of(plan).items() if cost is None]


def calibrate(plan: TrainingPlan, execution: Execution) -> None:
    """Train some 6,000 images, evaluate on validation, and save the cost; nothing is recorded.

    A training that fails leaves the cost unknown.
    """
    images_per_step = plan.scenario.hyperparameters.images_per_step
    every = max(1, _IMAGES_PER_STRETCH // images_per_step)
    with tempfile.TemporaryDirectory() as folder:
        request = Request(
            model=plan.scenario.model,
            hyperparameters=plan.scenario.hyperparameters,
            training_seed=0,
            step_counts=(_STRETCHES * every,),
            grid=Grid(first=every, every=every),
            source=plan.source,
            execution=execution,
            folder=folder,
            started_at=time.time(),
            with_test=False,
        )
        with WorkerProcess(request, Path(folder) / "worker.log") as worker:
            worker.go()
            messages = list(worker.messages())
            if worker.end() is None:
                cost = _cost_of(messages, images_per_step, plan.source.validation_images)
                time_estimates.save_cost(
                    plan.scenario.model, plan.scenario.hyperparameters, execution, cost
                )


def _cost_of(messages: list[Message], images_per_step: int, scored_at_once: int) -> Cost:
    seconds_by_step = {
        each.step: each.train_seconds for each in messages if isinstance(each, SampleMessage)
    }
    first, last = min(seconds_by_step), max(seconds_by_step)  # the first stretch warms up
    (done,) = (each for each in messages if isinstance(each, StepCountDone))
    evaluate_seconds = done.seconds["evaluate"]
    images = (last - first) * images_per_step
    return Cost(
        steps=last,
        train_images_per_second=images / (seconds_by_step[last] - seconds_by_step[first]),
        score_images_per_second=_STRETCHES * scored_at_once / evaluate_seconds,
        start_seconds=sum(done.seconds.values()) - done.seconds["train"] - evaluate_seconds,
    )
