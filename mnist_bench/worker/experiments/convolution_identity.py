"""Claim 10: equation 5 compared with TensorFlow's operators.

Source of the equation: III.A, S(t) = sum over a of x(a) w(t - a), with zeros outside of x and w.
What the library calls a convolution does not flip the kernel.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import signal

from mnist_bench.results.experiments import ConvolutionCases, ConvolutionCheck

Integers: TypeAlias = npt.NDArray[np.int32]

CASES = 50
"""Cases per number of dimensions."""
_MAX_VALUE = 99
"""Largest absolute value: no sum comes near the limits of int32."""
_MAX_SIGNAL_LENGTH = 12
_MAX_KERNEL_LENGTH = 5


def check(seed: int, cases: int = CASES) -> ConvolutionCheck:
    """Compare equation 5 with TensorFlow in one and in two dimensions, on random integers."""
    return ConvolutionCheck(
        checks=(compare(1, random_cases(1, seed, cases)), compare(2, random_cases(2, seed, cases)))
    )


def random_cases(dimensions: int, seed: int, cases: int) -> list[tuple[Integers, Integers]]:
    """Random signals and kernels, which have two values or more per axis, so a flip can matter."""
    random = np.random.default_rng((seed, dimensions))

    def integers(max_length: int) -> Integers:
        shape = random.integers(2, max_length, dimensions, endpoint=True)
        return random.integers(-_MAX_VALUE, _MAX_VALUE, shape, np.int32, endpoint=True)

    return [(integers(_MAX_SIGNAL_LENGTH), integers(_MAX_KERNEL_LENGTH)) for _ in range(cases)]


def equation_5(x: Integers, kernel: Integers) -> Integers:
    """The sum of equation 5 in exact integers, at every t where it is not empty."""
    return signal.convolve(x, kernel, mode="full", method="direct")


def library_convolution(x: Integers, kernel: Integers) -> Integers:
    """TensorFlow's conv1d or conv2d at every position where kernel and signal overlap."""
    import tensorflow as tf

    operator = tf.nn.conv1d if x.ndim == 1 else tf.nn.conv2d
    padded = np.pad(x, [(length - 1, length - 1) for length in kernel.shape])
    batch, filters = padded[np.newaxis, ..., np.newaxis], kernel[..., np.newaxis, np.newaxis]
    result: Integers = operator(batch, filters, 1, "VALID").numpy()[0, ..., 0]
    return result


def compare(dimensions: Literal[1, 2], cases: list[tuple[Integers, Integers]]) -> ConvolutionCases:
    """Compare signals and kernels, of shapes (n,) and (k,) or (h, w) and (k, l)."""
    before, after = (
        [
            int(abs(equation_5(x, kernel) - library_convolution(x, flip(kernel))).max())
            for x, kernel in cases
        ]
        for flip in (np.asarray, np.flip)
    )
    return ConvolutionCases(
        dimensions=dimensions,
        cases=len(cases),
        symmetric_kernels=sum(np.array_equal(kernel, np.flip(kernel)) for _, kernel in cases),
        equal_before_flipping=before.count(0),
        equal_after_flipping=after.count(0),
        largest_difference_before_flipping=max(before),
        largest_difference_after_flipping=max(after),
    )
