"""What is recorded of a plan already, and what remains to be trained."""

from __future__ import annotations

from typing import Any

import factories
import fakes
import pytest

from mnist_bench.results.run import RunResult
from mnist_bench.runner import resume
from mnist_bench.runner.plan import TrainingPlan, make_plan
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters

SCENARIO = paper.PROTOCOL.model_copy(update={"steps": (250, 501)})


class Store(fakes.Store):
    """A store with finished runs, newest first."""

    def __init__(self, *runs: RunResult) -> None:
        super().__init__()
        self.runs = list(runs)

    def load_finished(self, scenario: str, dataset_digest: str) -> list[RunResult]:
        assert (scenario, dataset_digest) == ("table-1", "d" * 64)
        return self.runs


def plan(**changes: Any) -> TrainingPlan:
    values = {"seeds": range(2), "executions": [Execution(threads=2)]} | changes
    return make_plan("table-1", SCENARIO, factories.SOURCE, **values)


def remaining_of(store: Store, *, any_machine: bool = False, **changes: Any) -> resume.Remaining:
    return resume.remaining_of(plan(**changes), factories.machine(), store, any_machine=any_machine)


def remaining_steps(remaining: resume.Remaining) -> list[tuple[int, tuple[int, ...]]]:
    return [(job.seed, job.step_counts) for job in remaining.plan.jobs]


def test_runs_that_wait_for_their_upload_count() -> None:
    store, waiting = Store(factories.run(250, seed=1)), [factories.run(501, seed=1)]
    remaining = resume.remaining_of(plan(), factories.machine(), store, waiting=waiting)
    assert remaining_steps(remaining) == [(0, (250, 501))]
    assert [(run.seed, run.steps) for run in remaining.earlier] == [(1, 250), (1, 501)]


def test_only_missing_step_counts_remain() -> None:
    recorded = [factories.run(501, seed=1), factories.run(250, seed=0), factories.run(250, seed=1)]
    remaining = remaining_of(Store(*recorded))
    assert remaining_steps(remaining) == [(0, (501,))]
    assert [(run.seed, run.steps) for run in remaining.earlier] == [(0, 250), (1, 250), (1, 501)]
    new = factories.run(501, seed=0)
    assert remaining.joined([new]) == (recorded[1], new, recorded[2], recorded[0])


@pytest.mark.parametrize(
    ("recorded", "remaining"),
    [
        ([], [(0, (250, 501)), (1, (250, 501))]),
        # A shorter step count is trained even if a longer one is recorded.
        ([(0, 501)], [(0, (250,)), (1, (250, 501))]),
        ([(0, 250), (0, 501), (1, 250), (1, 501)], []),
    ],
)
def test_what_remains(
    recorded: list[tuple[int, int]], remaining: list[tuple[int, tuple[int, ...]]]
) -> None:
    found = remaining_of(Store(*(factories.run(steps, seed=seed) for seed, steps in recorded)))
    assert remaining_steps(found) == remaining
    assert len(found.joined([])) == len(recorded)


def test_the_newest_of_two_runs_counts() -> None:
    newest, oldest = factories.run(250, run_id="newest"), factories.run(250, run_id="oldest")
    remaining = remaining_of(Store(newest, oldest), seeds=range(1))
    assert [run.run_id for run in remaining.earlier] == ["newest"]


@pytest.mark.parametrize(
    ("repeated", "steps"), [((), (501,)), (("suspect",), (501,)), (("invalid",), (250, 501))]
)
def test_an_invalid_run_counts_unless_it_is_to_be_repeated(
    repeated: tuple[str, ...], steps: tuple[int, ...]
) -> None:
    store = Store(factories.run(250, verdict="invalid"))
    remaining = resume.remaining_of(
        plan(seeds=range(1)), factories.machine(), store, repeated_verdicts=repeated
    )
    assert remaining_steps(remaining) == [(0, steps)]


@pytest.mark.parametrize(
    "change",
    [
        {"model": "another"},
        {"hyperparameters": PaperCnnHyperparameters(learning_rate=0.002)},
        {"dataset_digest": "e" * 64},
        {"eval_first": 2},
        {"eval_every": 50},
        {"threads": 1},
        {"precision": "bfloat16"},
        {"device": "gpu"},
        {"device_name": "another"},
        {"environment": "TF_ENABLE_ONEDNN_OPTS=0"},
        {"machine_id": "another"},
        {"machine_id": None},
        {"training_seed": 7},
        {"seed": 9},
    ],
    ids=str,
)
def test_a_run_that_differs_does_not_count(change: dict[str, Any]) -> None:
    same = factories.run(250)
    assert remaining_steps(remaining_of(Store(same), seeds=range(1))) == [(0, (501,))]
    other = same.model_copy(update=change)
    assert remaining_steps(remaining_of(Store(other), seeds=range(1))) == [(0, (250, 501))]


def test_runs_of_a_shared_training_are_not_independent_ones() -> None:
    shared = [factories.run(steps) for steps in (250, 501)]
    remaining = remaining_of(Store(*shared), seeds=range(1), independent=True)
    assert remaining_steps(remaining) == [(0, (250,)), (0, (501,))]


def test_runs_of_other_machines_count_for_a_cluster() -> None:
    elsewhere = {"machine_id": "f" * 32, "threads": 7}
    store = Store(factories.run(501, seed=0, **elsewhere), factories.run(250, seed=1))
    assert remaining_steps(remaining_of(store)) == [(0, (250, 501)), (1, (501,))]
    remaining = remaining_of(store, any_machine=True)
    assert remaining_steps(remaining) == [(0, (250,)), (1, (501,))]
    assert [(run.seed, run.steps) for run in remaining.earlier] == [(0, 501), (1, 250)]


def test_thread_counts_that_are_compared_count_on_any_machine() -> None:
    counts = [Execution(threads=1), Execution(threads=2)]
    store = Store(factories.run(250, seed=0, machine_id="f" * 32, threads=2))
    remaining = remaining_of(store, any_machine=True, executions=counts, seeds=range(1))
    assert [(job.execution.threads, job.step_counts) for job in remaining.plan.jobs] == [
        (1, (250, 501)),
        (2, (501,)),
    ]
