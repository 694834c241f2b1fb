"""Learning curves over seeds, on hand-made trainings."""

from __future__ import annotations

import pytest
from factories import evaluations, run, training_with_scores

from mnist_bench.analysis.curves import Curves, accuracy_by_step, curves_of
from mnist_bench.analysis.frames import evaluations_frame
from mnist_bench.results.run import Evaluation, RunResult

SHORT = (1, 0.5, 1.0), (101, 0.9, 3.0)
LONG = (1, 0.7, 2.0), (101, 0.8, 7.0), (201, 0.96, 12.0)


def curves(*trainings: RunResult) -> Curves:
    found = curves_of(trainings)
    assert found is not None
    return found


def test_by_hand() -> None:
    both = (
        training_with_scores(0, *SHORT, (201, 0.98, 5.0), run_id="a"),
        training_with_scores(1, *LONG, run_id="b"),
    )
    found = curves(*both)
    band = found.error_by_step
    assert (band.x, band.n) == ((1.0, 101.0, 201.0), 2)
    assert band.mean == pytest.approx((0.4, 0.15, 0.03))
    assert band.low == pytest.approx((0.3, 0.1, 0.02))
    assert band.high == pytest.approx((0.5, 0.2, 0.04))
    by_seconds = found.error_by_seconds
    assert by_seconds is not None
    assert by_seconds.x == pytest.approx((1.5, 5.0, 8.5))
    assert by_seconds.mean == pytest.approx((0.4, 0.15, 0.03))
    speed = found.speed_by_step
    assert speed is not None
    # 100 steps of 50 images in 2 s and in 5 s; the first grid step has nothing before it.
    assert (speed.x, speed.low, speed.high) == ((101.0, 201.0), (1000.0, 1000.0), (2500.0, 2500.0))
    by_step = accuracy_by_step(evaluations_frame(both))
    assert by_step.columns.tolist() == [
        "step", "n", "test_accuracy_mean", "test_accuracy_min", "test_accuracy_max",
        "validation_accuracy_mean",
    ]  # fmt: skip
    assert by_step.loc[1].tolist() == pytest.approx([101, 2, 0.85, 0.8, 0.9, 0.9])


def test_only_common_grid_steps_are_used() -> None:
    short, long = training_with_scores(0, *SHORT, run_id="a"), training_with_scores(1, *LONG)
    assert curves(short, long).error_by_step.x == (1.0, 101.0)
    assert accuracy_by_step(evaluations_frame([short, long])).step.tolist() == [1, 101]
    off_grid = run(250, evaluations=evaluations(250, 0.9))
    assert curves(off_grid).error_by_step.x == (1.0, 101.0, 201.0)


def test_invalid_trainings_count_for_error_but_not_for_time() -> None:
    invalid = training_with_scores(1, (1, 0.7, 200.0), (101, 0.8, 700.0), verdict="invalid",
                                   run_id="b")  # fmt: skip
    found = curves(training_with_scores(0, *SHORT, verdict="clean"), invalid)
    assert found.error_by_step.n == 2
    assert found.error_by_seconds is not None
    assert (found.error_by_seconds.x, found.error_by_seconds.n) == ((1.0, 3.0), 1)
    assert found.speed_by_step is not None
    assert found.speed_by_step.n == 1
    alone = curves(invalid)
    assert (alone.error_by_step.n, alone.error_by_seconds, alone.speed_by_step) == (1, None, None)


def test_no_curves_without_test_accuracy() -> None:
    without_test = Evaluation(step=1, test_accuracy=None, validation_accuracy=0.9, train_loss=None,
                              train_seconds=1.0)  # fmt: skip
    for trainings in ([], [run(evaluations=())], [run(evaluations=(without_test,))]):
        assert curves_of(trainings) is None
