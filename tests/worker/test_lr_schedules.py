"""Learning rate schedules by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters, Schedule
from mnist_bench.worker.lr_schedules import learning_rates

SCHEDULES: tuple[Schedule, ...] = ("constant", "one-cycle", "cosine")


def rates(schedule: Schedule, total: int, peak: float = 0.5) -> list[float]:
    hyperparameters = PaperCnnHyperparameters(learning_rate=peak, schedule=schedule)
    return learning_rates(hyperparameters, 0, total, total).tolist()


def test_constant_schedule() -> None:
    hyperparameters = PaperCnnHyperparameters(learning_rate=0.001)
    found = learning_rates(hyperparameters, 7, 3, 10)
    assert found.dtype == np.float32
    assert found.tolist() == [np.float32(0.001)] * 3


def test_cosine_schedule_by_hand() -> None:
    third = 0.5 * (1 + np.cos(np.pi / 3)) / 2
    assert rates("cosine", 6)[::2] == pytest.approx([0.5, third, 0.5 - third])


def test_one_cycle_schedule_by_hand() -> None:
    found = rates("one-cycle", 100)
    assert found[0] == pytest.approx(0.02)
    assert found[15] == pytest.approx((0.02 + 0.5) / 2)
    assert found[30] == pytest.approx(0.5)
    assert found[65] == pytest.approx(0.25)
    assert 0 < found[99] < 0.001
    assert found[:31] == sorted(found[:31])
    assert found[30:] == sorted(found[30:], reverse=True)


@given(st.sampled_from(SCHEDULES), st.integers(1, 300), st.data())
def test_slices_agree_with_the_whole_schedule(
    schedule: Schedule, total: int, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, total - 1))
    count = data.draw(st.integers(0, total - first))
    hyperparameters = PaperCnnHyperparameters(learning_rate=0.5, schedule=schedule)
    part = learning_rates(hyperparameters, first, count, total).tolist()
    assert part == rates(schedule, total)[first : first + count]
    assert all(0 < rate <= 0.5 for rate in part)
