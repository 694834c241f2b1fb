"""Time to accuracy as its two factors, on hand-made trainings."""

from __future__ import annotations

import pytest
from factories import run, scored_training

from mnist_bench.analysis.time_to_accuracy import times_to_accuracy
from mnist_bench.reporting import columns


def test_by_hand() -> None:
    fast = scored_training(0, (1, 0.5, 0.01), (101, 0.985, 2.02), (201, 0.99, 4.02))
    slow = scored_training(1, (1, 0.5, 0.03), (101, 0.97, 4.04), (201, 0.985, 8.04))
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
    # Who never got there is in no factor either.
    assert high.seconds_a_step_mean == pytest.approx(4.02 / 201)
    assert (high.steps_mean, high.seconds_mean) == (201.0, 4.02)


def test_what_was_spoilt_tells_steps_and_no_time() -> None:
    good = scored_training(0, (1, 0.5, 0.01), (101, 0.985, 2.02))
    spoilt = scored_training(1, (1, 0.99, 9.0), (101, 0.99, 90.0), verdict="invalid")
    (found,) = times_to_accuracy("table-1", [good, spoilt], [0.984])
    assert found.steps_mean == pytest.approx((101 + 1) / 2)
    assert found.seconds_mean == pytest.approx(2.02)
    assert found.seconds_a_step_mean == pytest.approx(0.02)
    assert found.steps_sd == pytest.approx(100 / 2**0.5)
    assert (found.timed_n, found.seconds_sd) == (1, None)
    assert (columns.updates(found), columns.reach_time(found)) == ("51 ± 71", "2.0 s, n = 1")


def test_never_reached_is_not_known() -> None:
    (found,) = times_to_accuracy(
        "table-1", [scored_training(0, (1, 0.5, 0.01), (101, 0.9, 2.02))], [0.984]
    )
    assert (found.n, found.reached, found.steps_mean, found.seconds_mean) == (1, 0, None, None)
    assert found.seconds_a_step_mean is None


def test_nothing_was_scored() -> None:
    assert times_to_accuracy("table-1", [], [0.984]) == ()
    assert times_to_accuracy("table-1", [run(evaluations=())], [0.984]) == ()
