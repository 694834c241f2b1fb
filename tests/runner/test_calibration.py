"""Short trainings that tell what a plan will take."""

from __future__ import annotations

from pathlib import Path

import fakes
import pytest
from factories import SOURCE

from mnist_bench.data import mnist
from mnist_bench.runner import calibration, process, time_estimates
from mnist_bench.runner.plan import TrainingPlan, make_plan
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.paper import PROTOCOL
from mnist_bench.scenarios.scenario import find, read

EXECUTION = Execution(threads=2)
unknown_executions = calibration.unknown_executions  # conftest.py replaces it


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingPlan:
    monkeypatch.setattr(mnist, "cache_folder", lambda: tmp_path / "cache")
    return make_plan("table-1", PROTOCOL, SOURCE, seeds=range(2), executions=[EXECUTION])


def test_a_short_training_tells_the_cost(
    plan: TrainingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    *command, program = fakes.worker()
    program = program.replace('{"import": 3.0,', '{"import": 3.0, "evaluate": 6.0,')
    monkeypatch.setattr(process, "COMMAND", (*command, program))
    assert unknown_executions(plan) == [EXECUTION]
    calibration.calibrate(plan, EXECUTION)
    assert unknown_executions(plan) == []
    cost = time_estimates.costs_of(plan)[EXECUTION]
    # Half a second a step of 50 images; three evaluations of the validation images in 6 s.
    assert cost == time_estimates.Cost(
        steps=120,
        train_images_per_second=100.0,
        score_images_per_second=plan.source.validation_images / 2,
        start_seconds=3.0,
    )


def test_a_training_that_fails_tells_nothing(
    plan: TrainingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "COMMAND", fakes.worker("sys.exit('no memory')"))
    calibration.calibrate(plan, EXECUTION)
    assert unknown_executions(plan) == [EXECUTION]


def test_what_is_fitted_at_once_is_not_tried(plan: TrainingPlan) -> None:
    scenario = read(find("claim-6-neighbours"))
    fitted = make_plan("n", scenario, plan.source, seeds=range(1), executions=[EXECUTION])
    assert unknown_executions(fitted) == []
