"""What is recorded already, and what is left to train."""

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
    """A store with finished runs in it, the newest first."""

    def __init__(self, *runs: RunResult) -> None:
        super().__init__()
        self.runs = list(runs)

    def load_finished(self, scenario: str, dataset_digest: str) -> list[RunResult]:
        assert (scenario, dataset_digest) == ("table-1", "d" * 64)
        return self.runs


def plan(**changes: Any) -> TrainingPlan:
    values = {"seeds": range(2), "executions": [Execution(threads=2)]} | changes
    return make_plan("table-1", SCENARIO, factories.SOURCE, **values)


def rest_of(store: Store, **changes: Any) -> resume.Remaining:
    return resume.remaining_of(plan(**changes), factories.machine(), store)


def left(rest: resume.Remaining) -> list[tuple[int, tuple[int, ...]]]:
    return [(trajectory.seed, trajectory.rows) for trajectory in rest.plan.trajectories]


def test_nothing_is_recorded_yet() -> None:
    rest = rest_of(Store())
    assert left(rest) == [(0, (250, 501)), (1, (250, 501))]
    assert rest.earlier == ()


def test_only_what_is_missing_is_left() -> None:
    there = [factories.run(501, seed=1), factories.run(250, seed=0), factories.run(250, seed=1)]
    rest = rest_of(Store(*there))
    assert left(rest) == [(0, (501,))]
    assert [(run.seed, run.steps) for run in rest.earlier] == [(0, 250), (1, 250), (1, 501)]
    new = factories.run(501, seed=0)
    assert rest.joined([new]) == (there[1], new, there[2], there[0])


def test_nothing_is_missing() -> None:
    there = [factories.run(steps, seed=seed) for steps in (250, 501) for seed in range(2)]
    rest = rest_of(Store(*there))
    assert left(rest) == []
    assert len(rest.joined([])) == 4


def test_a_shorter_row_is_trained_where_a_longer_one_is_there() -> None:
    assert left(rest_of(Store(factories.run(501)), seeds=range(1))) == [(0, (250,))]


def test_of_two_runs_of_a_row_the_newest_stands() -> None:
    newest, oldest = factories.run(250, run_id="newest"), factories.run(250, run_id="oldest")
    rest = rest_of(Store(newest, oldest), seeds=range(1))
    assert [run.run_id for run in rest.earlier] == ["newest"]


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
        {"machine_id": "another"},
        {"machine_id": None},
        {"training_seed": 7},
        {"seed": 9},
    ],
    ids=str,
)
def test_a_run_that_answers_another_question_is_none(change: dict[str, Any]) -> None:
    same = factories.run(250)
    assert left(rest_of(Store(same), seeds=range(1))) == [(0, (501,))]
    other = same.model_copy(update=change)
    assert left(rest_of(Store(other), seeds=range(1))) == [(0, (250, 501))]


def test_rows_from_zero_are_not_those_of_a_shared_training() -> None:
    shared = [factories.run(steps) for steps in (250, 501)]
    rest = rest_of(Store(*shared), seeds=range(1), independent=True)
    assert left(rest) == [(0, (250,)), (0, (501,))]
