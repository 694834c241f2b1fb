"""Training plans, a job's runs before their first step, and what its worker is asked."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import factories
import pytest
from factories import SOURCE, TWO_STEP_COUNTS, planned_step_count

from mnist_bench.core.errors import EXIT_USAGE, BenchError
from mnist_bench.core.limits import MAX_SEED
from mnist_bench.runner import executor, options
from mnist_bench.runner.plan import TrainingJob, TrainingPlan, make_plan, planned_runs
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.scenario import Scenario

TWO_THREADS = Execution(threads=2)
ALL_STEPS = (1_000, 2_500, 5_000, 10_000)


def plan_of(scenario: Scenario = paper.PROTOCOL, **changes: object) -> TrainingPlan:
    values = {"source": SOURCE, "seeds": range(2), "executions": [TWO_THREADS]} | changes
    return make_plan("table-1", scenario, **values)


def test_step_counts_of_a_seed_share_a_job() -> None:
    plan = plan_of(seeds=range(3, 5))
    assert [(job.seed, job.training_seed, job.step_counts) for job in plan.jobs] == [
        (3, 3, ALL_STEPS),
        (4, 4, ALL_STEPS),
    ]
    assert (plan.name, plan.scenario) == ("table-1", paper.PROTOCOL)
    assert plan.executions == (TWO_THREADS,)
    assert [job.execution for job in plan.jobs] == [TWO_THREADS] * 2


def test_schedules_end_with_their_step_count() -> None:
    scenario = paper.PROTOCOL.with_changes(settings=(("schedule", "cosine"),))
    plan = plan_of(scenario, seeds=range(1))
    assert [(job.training_seed, job.step_counts) for job in plan.jobs] == [
        (0, (steps,)) for steps in ALL_STEPS
    ]


def test_independent_step_counts_have_their_own_training_seeds() -> None:
    plan = plan_of(independent=True, seeds=range(100))
    assert [(job.seed, job.step_counts) for job in plan.jobs] == [
        (seed, (steps,)) for seed in range(100) for steps in ALL_STEPS
    ]
    # The first four bytes, without the sign bit, of SHA-256 of "0,1000", "0,2500" and "1,1000":
    # a repeated training must get the same seed.
    seeds = [job.training_seed for job in plan.jobs]
    assert (seeds[0], seeds[1], seeds[4]) == (0x6922B2D5, 0x4B8C921A, 0x6B37A749)
    assert len(set(seeds)) == 400
    assert 0 <= min(seeds) <= max(seeds) <= MAX_SEED
    assert len({job.id for job in plan.jobs}) == 400


@pytest.mark.parametrize("independent", [False, True])
def test_each_training_is_done_with_every_execution(*, independent: bool) -> None:
    executions = [Execution(threads=count) for count in (1, 2, 4)]
    single = plan_of(independent=independent)
    plan = plan_of(independent=independent, executions=executions)
    assert plan.executions == tuple(executions)
    assert [(job.seed, job.training_seed, job.step_counts, job.execution) for job in plan.jobs] == [
        (job.seed, job.training_seed, job.step_counts, execution)
        for job in single.jobs
        for execution in executions
    ]


@pytest.mark.parametrize(
    ("accepted", "refused", "message"),
    [
        (
            {"source": SOURCE.model_copy(update={"train_images": 50})},
            {"source": SOURCE.model_copy(update={"train_images": 49})},
            "batch_size is 50, mnist has 49 training images",
        ),
        (
            {"seeds": range(MAX_SEED, MAX_SEED + 1)},
            {"seeds": range(MAX_SEED, MAX_SEED + 2)},
            "--first-seed",
        ),
    ],
)
def test_impossible_plan_is_refused(
    accepted: dict[str, object], refused: dict[str, object], message: str
) -> None:
    assert plan_of(**accepted).jobs
    with pytest.raises(BenchError, match=message) as raised:
        plan_of(**refused)
    assert raised.value.exit_status == EXIT_USAGE


def test_request_to_a_worker() -> None:
    scenario = TWO_STEP_COUNTS.model_copy(update={"save_weights": True})
    plan = plan_of(scenario, independent=True)
    request = executor.request_of(plan, plan.jobs[3], Path("a-folder"))
    assert (request.model, request.hyperparameters) == ("paper-cnn", scenario.hyperparameters)
    assert (request.step_counts, request.training_seed) == ((501,), plan.jobs[3].training_seed)
    assert (request.grid.first, request.grid.every) == (1, 100)
    assert (request.source, request.execution) == (SOURCE, TWO_THREADS)
    assert (request.folder, request.save_weights, request.with_test) == ("a-folder", True, True)


def test_planned_run() -> None:
    run = planned_step_count(250)
    assert (run.scenario, run.model, run.steps) == ("table-1", "paper-cnn", 250)
    assert (run.seed, run.training_seed, run.trajectory) == (3, 3, "a-trajectory")
    assert (run.dataset, run.dataset_digest) == ("mnist", "d" * 64)
    assert (run.precision, run.threads, run.device) == ("float32", 2, "cpu")
    assert (run.eval_first, run.eval_every) == (1, 100)
    assert run.machine_id == factories.machine().machine_id
    assert run.target_accuracies == (0.984, 0.9888, 0.9918, 0.9928)
    assert run.hyperparameters == TWO_STEP_COUNTS.hyperparameters
    assert run.status is run.failure is run.run_id is run.peak_rss_bytes is None
    assert run.evaluations == run.shared_phases == ()


def test_runs_of_a_job() -> None:
    scenario = TWO_STEP_COUNTS.model_copy(update={"target_accuracies": (0.9,)})
    job = TrainingJob(3, 17, (250, 501), Execution(threads=1))
    plan = TrainingPlan("own", scenario, SOURCE, (job.execution,), (job,))
    runs = planned_runs(plan, job, factories.machine(), ("import",))
    assert [(run.steps, run.training_seed, run.trajectory) for run in runs] == [
        (250, 17, job.id),
        (501, 17, job.id),
    ]
    assert {run.target_accuracies for run in runs} == {(0.9,)}  # not the paper's
    assert {run.shared_phases for run in runs} == {("import",)}


@pytest.mark.parametrize(
    ("settings", "precision", "threads", "name"),
    [
        ((), "float32", None, "table-1"),
        ((("learning_rate", "0.001"),), "float32", None, "table-1"),  # the file's own value
        ((("learning_rate", "0.003"),), "float32", None, "table-1.learning_rate-0.003"),
        ((), "bfloat16", 1, "table-1.bfloat16.threads-1"),
    ],
)
def test_a_changed_scenario_has_report_files_of_its_own(
    settings: tuple[tuple[str, str], ...], precision: Any, threads: int | None, name: str
) -> None:
    execution = Execution(threads=threads or 2, precision=precision)
    plan = plan_of(paper.PROTOCOL.with_changes(settings=settings), executions=[execution])
    requested: Any = SimpleNamespace(dataset=None, threads=threads)
    changes = options._changes(plan, paper.PROTOCOL, requested)
    assert dataclasses.replace(plan, changes=changes).report_name == name
