"""Equation 5 by hand, compared with TensorFlow's operators."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.worker.experiments import convolution_identity
from mnist_bench.worker.experiments.convolution_identity import (
    check,
    compare,
    equation_5,
    library_convolution,
    random_cases,
)

integers = st.lists(st.integers(-99, 99), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("x", "kernel", "expected"),
    [
        # S(1) = x(0) w(1) + x(1) w(0) = 1·10 + 2·1
        ([1, 2, 3], [1, 10], [1, 12, 23, 30]),
        ([0, 1, 0], [5, 6, 7], [0, 5, 6, 7, 0]),  # an impulse gives the kernel unflipped
        ([[1, 2], [3, 4]], [[1, 10], [100, 1_000]],
         [[1, 12, 20], [103, 1_234, 2_040], [300, 3_400, 4_000]]),
    ],
)  # fmt: skip
def test_equation_5_by_hand(x: list[int], kernel: list[int], expected: list[int]) -> None:
    signal, weights = np.array(x, np.int32), np.array(kernel, np.int32)
    assert equation_5(signal, weights).tolist() == expected
    assert library_convolution(signal, np.flip(weights)).tolist() == expected
    assert library_convolution(signal, weights).tolist() != expected


@given(integers, integers)
def test_equation_5_is_its_sum(x: list[int], w: list[int]) -> None:
    summed = [
        sum(x[a] * w[t - a] for a in range(len(x)) if 0 <= t - a < len(w))
        for t in range(len(x) + len(w) - 1)
    ]
    assert equation_5(np.array(x, np.int32), np.array(w, np.int32)).tolist() == summed


def test_results_are_equal_only_with_a_flipped_kernel() -> None:
    one, two = check(2, cases=20).checks
    assert (one.dimensions, two.dimensions) == (1, 2)
    for result in (one, two):
        assert (result.cases, result.equal_after_flipping) == (20, 20)
        assert result.equal_before_flipping == result.symmetric_kernels < 20
        assert result.largest_difference_after_flipping == 0
        assert result.largest_difference_before_flipping > 0


def test_symmetric_kernels_are_counted() -> None:
    result = compare(1, [(np.array([1, 2], np.int32), np.array([3, 3], np.int32))])
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
def test_cases_depend_only_on_the_seed_and_have_many_sizes_and_signs(dimensions: int) -> None:
    one, again, other = (
        [(x.tolist(), kernel.tolist()) for x, kernel in random_cases(dimensions, seed, 50)]
        for seed in (1, 1, 2)
    )
    assert one == again != other
    kernels = [kernel for _, kernel in random_cases(dimensions, 0, 50)]
    assert {side for kernel in kernels for side in kernel.shape} == {2, 3, 4, 5}
    assert all(kernel.ndim == dimensions for kernel in kernels)
    assert any((kernel < 0).any() and (kernel > 0).any() for kernel in kernels)
