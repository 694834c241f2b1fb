"""A job's runs before their first step."""

from __future__ import annotations

import factories
from factories import TWO_STEP_COUNTS, planned_step_count

from mnist_bench.runner.plan import TrainingJob, TrainingPlan, planned_runs
from mnist_bench.scenarios.execution import Execution


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
    execution = Execution(threads=1)
    job = TrainingJob(3, 17, (250, 501), execution)
    plan = TrainingPlan("own", scenario, factories.SOURCE, (execution,), (job,))
    runs = planned_runs(plan, job, factories.machine(), ("import",))
    assert [(run.steps, run.training_seed, run.trajectory) for run in runs] == [
        (250, 17, job.id),
        (501, 17, job.id),
    ]
    assert {run.target_accuracies for run in runs} == {(0.9,)}  # not the paper's
    assert {run.shared_phases for run in runs} == {("import",)}
