"""Time to accuracy and its two factors, on hand-made trainings."""

from __future__ import annotations

import pytest
from factories import differing, run, training_with_scores

from mnist_bench.analysis.time_to_accuracy import times_to_accuracy
from mnist_bench.reporting import columns


def test_by_hand() -> None:
    fast = training_with_scores(0, (1, 0.5, 0.01), (101, 0.985, 2.02), (201, 0.99, 4.02))
    slow = training_with_scores(1, (1, 0.5, 0.03), (101, 0.97, 4.04), (201, 0.985, 8.04))
    low, high = times_to_accuracy("table-1", [fast, slow], [0.99, 0.984])
    of_both = {
        "accuracy": 0.984, "n": 2, "reached": 2, "steps_mean": (101 + 201) / 2,
        "seconds_mean": (2.02 + 8.04) / 2, "seconds_a_step_mean": (2.02 + 8.04) / (101 + 201),
        "steps_sd": 100 / 2**0.5, "timed_n": 2, "seconds_sd": (8.04 - 2.02) / 2**0.5,
    }  # fmt: skip
    # Trainings that never reach it are in neither factor.
    of_one = {
        "accuracy": 0.99, "n": 2, "reached": 1, "steps_mean": 201, "seconds_mean": 4.02,
        "seconds_a_step_mean": 4.02 / 201, "steps_sd": None, "timed_n": 1, "seconds_sd": None,
    }  # fmt: skip
    assert not differing(low, of_both)
    assert not differing(high, of_one)
    assert low.steps_mean * low.seconds_a_step_mean == pytest.approx(low.seconds_mean)


def test_invalid_training_counts_for_steps_but_not_for_time() -> None:
    valid = training_with_scores(0, (1, 0.5, 0.01), (101, 0.985, 2.02))
    invalid = training_with_scores(1, (1, 0.99, 9.0), (101, 0.99, 90.0), verdict="invalid")
    (line,) = times_to_accuracy("table-1", [valid, invalid], [0.984])
    expected = {
        "steps_mean": (101 + 1) / 2, "steps_sd": 100 / 2**0.5, "seconds_mean": 2.02,
        "seconds_a_step_mean": 0.02, "timed_n": 1, "seconds_sd": None,
    }  # fmt: skip
    assert not differing(line, expected)
    assert [column.text(line) for column in columns.TIME_TO_ACCURACY] == [
        "0.9840", "2 of 2", "51 ± 71", "20.0", "2.0 s, n = 1"
    ]  # fmt: skip


def test_unreached_accuracy_is_unknown() -> None:
    training = training_with_scores(0, (1, 0.5, 0.01), (101, 0.9, 2.02))
    (line,) = times_to_accuracy("table-1", [training], [0.984])
    expected = {"n": 1, "reached": 0, "steps_mean": None, "seconds_mean": None,
                "seconds_a_step_mean": None}  # fmt: skip
    assert not differing(line, expected)
    for trainings in ([], [run(evaluations=())]):
        assert times_to_accuracy("table-1", trainings, [0.984]) == ()
