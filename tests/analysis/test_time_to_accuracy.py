"""Time to accuracy and its two factors, on hand-made trainings."""

from __future__ import annotations

import pytest
from factories import run, training_with_scores

from mnist_bench.analysis.time_to_accuracy import times_to_accuracy
from mnist_bench.reporting import columns


def test_by_hand() -> None:
    fast = training_with_scores(0, (1, 0.5, 0.01), (101, 0.985, 2.02), (201, 0.99, 4.02))
    slow = training_with_scores(1, (1, 0.5, 0.03), (101, 0.97, 4.04), (201, 0.985, 8.04))
    low, high = times_to_accuracy("table-1", [fast, slow], [0.99, 0.984])
    assert (low.accuracy, high.accuracy) == (0.984, 0.99)
    assert (low.n, low.reached, high.reached) == (2, 2, 1)
    assert low.steps_mean == pytest.approx((101 + 201) / 2)
    assert low.seconds_mean == pytest.approx((2.02 + 8.04) / 2)
    assert low.seconds_a_step_mean == pytest.approx((2.02 + 8.04) / (101 + 201))
    assert low.steps_mean is not None
    assert low.seconds_a_step_mean is not None
    assert low.steps_mean * low.seconds_a_step_mean == pytest.approx(low.seconds_mean)
    assert low.steps_sd == pytest.approx(100 / 2**0.5)
    assert (low.timed_n, low.seconds_sd) == (2, pytest.approx((8.04 - 2.02) / 2**0.5))
    assert (high.steps_sd, high.timed_n, high.seconds_sd) == (None, 1, None)
    # Trainings that never reach it are in neither factor.
    assert high.seconds_a_step_mean == pytest.approx(4.02 / 201)
    assert (high.steps_mean, high.seconds_mean) == (201.0, 4.02)


def test_invalid_training_counts_for_steps_but_not_for_time() -> None:
    valid = training_with_scores(0, (1, 0.5, 0.01), (101, 0.985, 2.02))
    invalid = training_with_scores(1, (1, 0.99, 9.0), (101, 0.99, 90.0), verdict="invalid")
    (line,) = times_to_accuracy("table-1", [valid, invalid], [0.984])
    assert line.steps_mean == pytest.approx((101 + 1) / 2)
    assert line.seconds_mean == pytest.approx(2.02)
    assert line.seconds_a_step_mean == pytest.approx(0.02)
    assert line.steps_sd == pytest.approx(100 / 2**0.5)
    assert (line.timed_n, line.seconds_sd) == (1, None)
    assert (columns.updates(line), columns.time_to_accuracy(line)) == ("51 ± 71", "2.0 s, n = 1")


def test_unreached_accuracy_is_unknown() -> None:
    (line,) = times_to_accuracy(
        "table-1", [training_with_scores(0, (1, 0.5, 0.01), (101, 0.9, 2.02))], [0.984]
    )
    assert (line.n, line.reached, line.steps_mean, line.seconds_mean) == (1, 0, None, None)
    assert line.seconds_a_step_mean is None


def test_without_evaluations() -> None:
    assert times_to_accuracy("table-1", [], [0.984]) == ()
    assert times_to_accuracy("table-1", [run(evaluations=())], [0.984]) == ()
