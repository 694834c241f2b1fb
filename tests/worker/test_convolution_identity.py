"""Equation 5: direct sums by hand, compared with TensorFlow's operators."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.worker.experiments import convolution_identity
from mnist_bench.worker.experiments.convolution_identity import (
    check,
    direct_sum,
    direct_sum_2d,
    library_convolution,
    random_cases,
)

integers = st.integers(-99, 99)
signals = st.lists(integers, min_size=1, max_size=9)


def test_direct_sum_by_hand() -> None:
    # S(1) = x(0) w(1) + x(1) w(0) = 1·10 + 2·1
    assert direct_sum([1, 2, 3], [1, 10]) == [1, 12, 23, 30]


def test_direct_sum_2d_by_hand() -> None:
    summed = direct_sum_2d([[1, 2], [3, 4]], [[1, 10], [100, 1_000]])
    assert summed == [[1, 12, 20], [103, 1_234, 2_040], [300, 3_400, 4_000]]


def test_an_impulse_gives_the_kernel_unflipped() -> None:
    assert direct_sum([0, 1, 0], [5, 6, 7]) == [0, 5, 6, 7, 0]


@given(signals, signals)
def test_direct_sum_is_commutative(x: list[int], w: list[int]) -> None:
    assert direct_sum(x, w) == direct_sum(w, x)


@given(signals, signals)
def test_direct_sum_multiplies_polynomials(x: list[int], w: list[int]) -> None:
    base = 10**9  # larger than any coefficient

    def value(numbers: list[int]) -> int:
        return sum(number * base**power for power, number in enumerate(numbers))

    assert value(direct_sum(x, w)) == value(x) * value(w)


def test_the_library_does_not_flip() -> None:
    signal, kernel = np.array([0, 1, 0], np.int32), np.array([5, 6, 7], np.int32)
    assert library_convolution(signal, kernel).tolist() == [0, 7, 6, 5, 0]
    assert library_convolution(signal, kernel[::-1]).tolist() == [0, 5, 6, 7, 0]


def test_the_library_does_not_flip_in_two_dimensions() -> None:
    signal, kernel = np.array([[1]], np.int32), np.array([[1, 2], [3, 4]], np.int32)
    assert library_convolution(signal, kernel).tolist() == [[4, 3], [2, 1]]


@pytest.mark.parametrize("seed", range(3))
def test_results_are_equal_only_with_a_flipped_kernel(seed: int) -> None:
    for result in check(seed, cases=20).checks:
        assert result.cases == 20
        assert result.equal_after_flipping == 20
        assert result.largest_difference_after_flipping == 0
        assert result.equal_before_flipping == result.symmetric_kernels < 20
        assert result.largest_difference_before_flipping > 0


def test_check_covers_one_and_two_dimensions() -> None:
    assert [result.dimensions for result in check(0, cases=1).checks] == [1, 2]


def test_symmetric_kernels_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    case = convolution_identity.Case(np.array([1, 2], np.int32), np.array([3, 3], np.int32))
    monkeypatch.setattr(convolution_identity, "random_cases", lambda *_: [case])
    result = check(0).checks[0]
    assert (result.symmetric_kernels, result.equal_before_flipping) == (1, 1)


def test_a_library_that_flips_the_kernel_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    original = convolution_identity.library_convolution
    monkeypatch.setattr(
        convolution_identity, "library_convolution", lambda x, w: original(x, np.flip(w))
    )
    for result in check(0, cases=10).checks:
        assert result.equal_before_flipping == 10
        assert result.equal_after_flipping == result.symmetric_kernels < 10


@pytest.mark.parametrize("dimensions", [1, 2])
def test_cases_depend_only_on_the_seed(dimensions: int) -> None:
    def cases_as_lists(seed: int) -> list[object]:
        cases = random_cases(dimensions, seed, 5)
        return [(case.signal.tolist(), case.kernel.tolist()) for case in cases]

    assert cases_as_lists(1) == cases_as_lists(1) != cases_as_lists(2)


def test_cases_have_many_sizes_and_signs() -> None:
    cases = random_cases(2, 0, 50)
    assert {side for case in cases for side in case.kernel.shape} == {2, 3, 4, 5}
    assert any(len(set(case.kernel.shape)) == 2 for case in cases)
    assert all(case.signal.ndim == case.kernel.ndim == 2 for case in cases)
    assert any((case.kernel < 0).any() and (case.kernel > 0).any() for case in cases)
