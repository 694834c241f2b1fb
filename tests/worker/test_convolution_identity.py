"""Equation 5: the direct sum by hand, and TensorFlow's operators against it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.worker.experiments import convolution_identity
from mnist_bench.worker.experiments.convolution_identity import (
    by_library,
    check,
    direct_sum,
    direct_sum_2d,
    drawn,
)

integers = st.integers(-99, 99)
signals = st.lists(integers, min_size=1, max_size=9)


def test_a_sum_by_hand() -> None:
    # S(1) = x(0) w(1) + x(1) w(0) = 1·10 + 2·1
    assert direct_sum([1, 2, 3], [1, 10]) == [1, 12, 23, 30]


def test_a_sum_over_two_places_by_hand() -> None:
    summed = direct_sum_2d([[1, 2], [3, 4]], [[1, 10], [100, 1_000]])
    assert summed == [[1, 12, 20], [103, 1_234, 2_040], [300, 3_400, 4_000]]


def test_a_single_number_shows_the_kernel_as_it_is() -> None:
    assert direct_sum([0, 1, 0], [5, 6, 7]) == [0, 5, 6, 7, 0]


@given(signals, signals)
def test_numbers_and_kernel_may_change_places(x: list[int], w: list[int]) -> None:
    assert direct_sum(x, w) == direct_sum(w, x)


@given(signals, signals)
def test_the_sum_multiplies_polynomials(x: list[int], w: list[int]) -> None:
    base = 10**9  # so far apart that no coefficient reaches the next one's place

    def value(numbers: list[int]) -> int:
        return sum(number * base**place for place, number in enumerate(numbers))

    assert value(direct_sum(x, w)) == value(x) * value(w)


def test_the_library_does_not_flip() -> None:
    signal, kernel = np.array([0, 1, 0], np.int32), np.array([5, 6, 7], np.int32)
    assert by_library(signal, kernel).tolist() == [0, 7, 6, 5, 0]
    assert by_library(signal, kernel[::-1]).tolist() == [0, 5, 6, 7, 0]


def test_the_library_does_not_flip_in_two_dimensions() -> None:
    signal, kernel = np.array([[1]], np.int32), np.array([[1, 2], [3, 4]], np.int32)
    assert by_library(signal, kernel).tolist() == [[4, 3], [2, 1]]


@pytest.mark.parametrize("seed", range(3))
def test_equal_once_flipped_and_only_then(seed: int) -> None:
    for checked in check(seed, cases=20).checks:
        assert checked.cases == 20
        assert checked.equal_after_flipping == 20
        assert checked.largest_difference_after_flipping == 0
        assert checked.equal_before_flipping == checked.symmetric_kernels < 20
        assert checked.largest_difference_before_flipping > 0


def test_one_and_two_dimensions() -> None:
    assert [each.dimensions for each in check(0, cases=1).checks] == [1, 2]


def test_a_symmetric_kernel_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    case = convolution_identity.Case(np.array([1, 2], np.int32), np.array([3, 3], np.int32))
    monkeypatch.setattr(convolution_identity, "drawn", lambda *_: [case])
    checked = check(0).checks[0]
    assert (checked.symmetric_kernels, checked.equal_before_flipping) == (1, 1)


def test_a_library_that_flips_by_itself_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = convolution_identity.by_library
    monkeypatch.setattr(convolution_identity, "by_library", lambda x, w: honest(x, np.flip(w)))
    for checked in check(0, cases=10).checks:
        assert checked.equal_before_flipping == 10
        assert checked.equal_after_flipping == checked.symmetric_kernels < 10


@pytest.mark.parametrize("dimensions", [1, 2])
def test_cases_depend_on_the_seed_alone(dimensions: int) -> None:
    def told(seed: int) -> list[object]:
        cases = drawn(dimensions, seed, 5)
        return [(case.signal.tolist(), case.kernel.tolist()) for case in cases]

    assert told(1) == told(1) != told(2)


def test_cases_are_of_many_sizes_and_signs() -> None:
    cases = drawn(2, 0, 50)
    assert {side for case in cases for side in case.kernel.shape} == {2, 3, 4, 5}
    assert any(len(set(case.kernel.shape)) == 2 for case in cases)
    assert all(case.signal.ndim == case.kernel.ndim == 2 for case in cases)
    assert any((case.kernel < 0).any() and (case.kernel > 0).any() for case in cases)
