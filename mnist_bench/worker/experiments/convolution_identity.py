"""Claim 10: equation 5 as a direct sum of integers, against TensorFlow's operators.

Source of the equation: III.A, S(t) = sum over a of x(a) w(t - a), the numbers being zero wherever
they are not given. What the library calls a convolution does not flip the kernel.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from mnist_bench.results.experiments import ConvolutionCases, ConvolutionCheck

Integers: TypeAlias = npt.NDArray[np.int32]

CASES = 50
"""In each number of dimensions."""
_LARGEST = 99
"""Of the numbers by size: no sum comes near the end of what int32 holds."""
_LONGEST_SIGNAL = 12
_LONGEST_KERNEL = 5


@dataclass(frozen=True)
class Case:
    """Numbers and a kernel, either int32 (n,) and (k,) or (h, w) and (k, l)."""

    signal: Integers
    kernel: Integers


def check(seed: int, cases: int = CASES) -> ConvolutionCheck:
    """Equation 5 against TensorFlow in one and in two dimensions.

    Args:
        seed: Of the random integers and their sizes.
        cases: In each number of dimensions.
    """
    dimensions: tuple[Literal[1, 2], ...] = (1, 2)
    return ConvolutionCheck(checks=tuple(_checked(d, drawn(d, seed, cases)) for d in dimensions))


def drawn(dimensions: int, seed: int, cases: int) -> list[Case]:
    """Random cases; kernels have at least two numbers along each side, so that a flip may tell."""
    random = np.random.default_rng((seed, dimensions))

    def integers(most: int) -> Integers:
        shape = random.integers(2, most, dimensions, endpoint=True)
        return random.integers(-_LARGEST, _LARGEST, shape, np.int32, endpoint=True)

    return [Case(integers(_LONGEST_SIGNAL), integers(_LONGEST_KERNEL)) for _ in range(cases)]


def direct_sum(signal: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """Equation 5 in plain integers, at every t at which the sum is not empty.

    Args:
        signal: x(0), x(1), …
        kernel: w(0), w(1), …
    """
    return [
        sum(x * kernel[t - a] for a, x in enumerate(signal) if 0 <= t - a < len(kernel))
        for t in range(len(signal) + len(kernel) - 1)
    ]


def direct_sum_2d(
    image: Sequence[Sequence[int]], kernel: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Equation 5 over two places instead of one, in plain integers."""
    height, width = len(kernel), len(kernel[0])

    def at(s: int, t: int) -> int:
        return sum(
            x * kernel[s - a][t - b]
            for a, row in enumerate(image)
            for b, x in enumerate(row)
            if 0 <= s - a < height and 0 <= t - b < width
        )

    columns = range(len(image[0]) + width - 1)
    return [[at(s, t) for t in columns] for s in range(len(image) + height - 1)]


def by_library(signal: Integers, kernel: Integers) -> Integers:
    """TensorFlow's conv1d or conv2d at every place at which the kernel meets a number.

    Args:
        signal: int32 (n,) or (h, w).
        kernel: int32 of as many dimensions.

    Returns:
        int32, longer than the signal along each side by the kernel's length less 1.
    """
    import tensorflow as tf

    operator = tf.nn.conv1d if signal.ndim == 1 else tf.nn.conv2d
    around = np.pad(signal, [(length - 1, length - 1) for length in kernel.shape])
    batch, filters = around[np.newaxis, ..., np.newaxis], kernel[..., np.newaxis, np.newaxis]
    result: Integers = operator(batch, filters, 1, "VALID").numpy()[0, ..., 0]
    return result


def _checked(dimensions: Literal[1, 2], cases: Sequence[Case]) -> ConvolutionCases:
    flipped = [np.flip(case.kernel) for case in cases]
    before = [_difference(case, case.kernel) for case in cases]
    after = [_difference(case, kernel) for case, kernel in zip(cases, flipped, strict=True)]
    pairs = zip(cases, flipped, strict=True)
    return ConvolutionCases(
        dimensions=dimensions,
        cases=len(cases),
        symmetric_kernels=sum(np.array_equal(case.kernel, kernel) for case, kernel in pairs),
        equal_before_flipping=before.count(0),
        equal_after_flipping=after.count(0),
        largest_difference_before_flipping=max(before),
        largest_difference_after_flipping=max(after),
    )


def _difference(case: Case, kernel: Integers) -> int:
    """The largest by size between equation 5 and the library, given that kernel instead."""
    signal: Any = case.signal.tolist()
    own: Any = case.kernel.tolist()
    expected: Any = direct_sum(signal, own) if case.signal.ndim == 1 else direct_sum_2d(signal, own)
    got = by_library(case.signal, kernel).tolist()
    pairs = zip(_flat(expected), _flat(got), strict=True)
    return max(abs(a - b) for a, b in pairs)


def _flat(values: list[Any]) -> list[int]:
    nested = values and isinstance(values[0], list)
    return list(itertools.chain.from_iterable(values)) if nested else values
