"""Learning curves over seeds, on hand-made trainings."""

from __future__ import annotations

import pytest
from factories import evaluations, run, training_with_scores

from mnist_bench.analysis.curves import curves_of
from mnist_bench.results.run import Evaluation


def test_by_hand() -> None:
    curves = curves_of([
        training_with_scores(0, (1, 0.5, 1.0), (101, 0.9, 3.0), (201, 0.98, 5.0)),
        training_with_scores(1, (1, 0.7, 2.0), (101, 0.8, 7.0), (201, 0.96, 12.0)),
    ])  # fmt: skip
    assert curves is not None
    band = curves.error_by_step
    assert (band.x, band.n) == ((1.0, 101.0, 201.0), 2)
    assert band.mean == pytest.approx((0.4, 0.15, 0.03))
    assert band.low == pytest.approx((0.3, 0.1, 0.02))
    assert band.high == pytest.approx((0.5, 0.2, 0.04))
    by_seconds = curves.error_by_seconds
    assert by_seconds is not None
    assert by_seconds.x == pytest.approx((1.5, 5.0, 8.5))
    assert by_seconds.mean == pytest.approx((0.4, 0.15, 0.03))
    speed = curves.speed_by_step
    assert speed is not None
    # 100 steps of 50 images in 2 s and in 5 s; the first grid step has nothing before it.
    assert (speed.x, speed.low, speed.high) == ((101.0, 201.0), (1000.0, 1000.0), (2500.0, 2500.0))


def test_only_common_steps_are_used() -> None:
    curves = curves_of([
        training_with_scores(0, (1, 0.5, 1.0), (101, 0.9, 3.0)),
        training_with_scores(1, (1, 0.7, 2.0), (101, 0.8, 7.0), (201, 0.96, 12.0)),
    ])  # fmt: skip
    assert curves is not None
    assert curves.error_by_step.x == (1.0, 101.0)


def test_invalid_training_counts_for_error_but_not_for_time() -> None:
    curves = curves_of([
        training_with_scores(0, (1, 0.5, 1.0), (101, 0.9, 3.0), verdict="clean"),
        training_with_scores(1, (1, 0.7, 200.0), (101, 0.8, 700.0), verdict="invalid"),
    ])  # fmt: skip
    assert curves is not None
    assert curves.error_by_step.n == 2
    assert curves.error_by_seconds is not None
    assert (curves.error_by_seconds.x, curves.error_by_seconds.n) == ((1.0, 3.0), 1)
    assert curves.speed_by_step is not None
    assert curves.speed_by_step.n == 1


def test_invalid_trainings_alone_have_no_times() -> None:
    points = ((1, 0.5, 1.0), (101, 0.9, 3.0))
    curves = curves_of([training_with_scores(0, *points, verdict="invalid")])
    assert curves is not None
    assert curves.error_by_step.n == 1
    assert (curves.error_by_seconds, curves.speed_by_step) == (None, None)


def test_last_evaluation_off_the_grid_is_not_a_point() -> None:
    curves = curves_of([run(250, evaluations=evaluations(250, 0.9))])
    assert curves is not None
    assert curves.error_by_step.x == (1.0, 101.0, 201.0)


def test_no_curves_without_test_accuracy() -> None:
    assert curves_of([]) is None
    assert curves_of([run(evaluations=())]) is None
    without_test = Evaluation(step=1, test_accuracy=None, validation_accuracy=0.9, train_loss=None,
                        train_seconds=1.0)  # fmt: skip
    assert curves_of([run(evaluations=(without_test,))]) is None
