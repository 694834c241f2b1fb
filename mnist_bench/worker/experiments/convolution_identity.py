"""Claim 10: equation 5 as a direct sum of integers, compared with TensorFlow's operators.

Source of the equation: III.A, S(t) = sum over a of x(a) w(t - a), with zeros outside of x and w.
What the library calls a convolution does not flip the kernel.
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
"""Cases per number of dimensions."""
_MAX_VALUE = 99
"""Largest absolute value: no sum comes near the limits of int32."""
_MAX_SIGNAL_LENGTH = 12
_MAX_KERNEL_LENGTH = 5


@dataclass(frozen=True)
class Case:
    """A signal and a kernel, int32, of shapes (n,) and (k,) or (h, w) and (k, l)."""

    signal: Integers
    kernel: Integers


def check(seed: int, cases: int = CASES) -> ConvolutionCheck:
    """Compare equation 5 with TensorFlow in one and in two dimensions.

    Args:
        seed: Seed of the random integers and shapes.
        cases: Cases per number of dimensions.
    """
    dimensions: tuple[Literal[1, 2], ...] = (1, 2)
    return ConvolutionCheck(
        checks=tuple(_compare(d, random_cases(d, seed, cases)) for d in dimensions)
    )


def random_cases(dimensions: int, seed: int, cases: int) -> list[Case]:
    """Random cases; kernels have at least two values per axis, so that a flip can matter."""
    random = np.random.default_rng((seed, dimensions))

    def integers(max_length: int) -> Integers:
        shape = random.integers(2, max_length, dimensions, endpoint=True)
        return random.integers(-_MAX_VALUE, _MAX_VALUE, shape, np.int32, endpoint=True)

    return [Case(integers(_MAX_SIGNAL_LENGTH), integers(_MAX_KERNEL_LENGTH)) for _ in range(cases)]


def direct_sum(signal: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """Equation 5 in plain integers, at every t where the sum is not empty.

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
    """Equation 5 in two dimensions, in plain integers."""
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


def library_convolution(signal: Integers, kernel: Integers) -> Integers:
    """TensorFlow's conv1d or conv2d at every position where kernel and signal overlap.

    Args:
        signal: int32 (n,) or (h, w).
        kernel: int32 of the same number of dimensions.

    Returns:
        int32; each axis is longer than the signal's by the kernel's length minus 1.
    """
    import tensorflow as tf

    operator = tf.nn.conv1d if signal.ndim == 1 else tf.nn.conv2d
    padded = np.pad(signal, [(length - 1, length - 1) for length in kernel.shape])
    batch, filters = padded[np.newaxis, ..., np.newaxis], kernel[..., np.newaxis, np.newaxis]
    result: Integers = operator(batch, filters, 1, "VALID").numpy()[0, ..., 0]
    return result


def _compare(dimensions: Literal[1, 2], cases: Sequence[Case]) -> ConvolutionCases:
    flipped = [np.flip(case.kernel) for case in cases]
    differences = [_difference(case, case.kernel) for case in cases]
    flipped_differences = [
        _difference(case, kernel) for case, kernel in zip(cases, flipped, strict=True)
    ]
    pairs = zip(cases, flipped, strict=True)
    return ConvolutionCases(
        dimensions=dimensions,
        cases=len(cases),
        symmetric_kernels=sum(np.array_equal(case.kernel, kernel) for case, kernel in pairs),
        equal_before_flipping=differences.count(0),
        equal_after_flipping=flipped_differences.count(0),
        largest_difference_before_flipping=max(differences),
        largest_difference_after_flipping=max(flipped_differences),
    )


def _difference(case: Case, kernel: Integers) -> int:
    """Largest absolute difference of equation 5 for the case and the library given `kernel`."""
    signal: Any = case.signal.tolist()
    own_kernel: Any = case.kernel.tolist()
    expected: Any = (
        direct_sum(signal, own_kernel)
        if case.signal.ndim == 1
        else direct_sum_2d(signal, own_kernel)
    )
    actual = library_convolution(case.signal, kernel).tolist()
    pairs = zip(_flatten(expected), _flatten(actual), strict=True)
    return max(abs(a - b) for a, b in pairs)


def _flatten(values: list[Any]) -> list[int]:
    nested = values and isinstance(values[0], list)
    return list(itertools.chain.from_iterable(values)) if nested else values
