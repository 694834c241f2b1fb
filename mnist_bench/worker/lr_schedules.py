"""Learning rate schedules."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mnist_bench.scenarios.hyperparameters import NetworkHyperparameters

_RISING_SHARE = 0.3
"""Share of a one-cycle training in which the rate rises; as in PyTorch's OneCycleLR."""
_START_DIVISOR = 25
"""A one-cycle training starts at its peak rate divided by this; as in PyTorch's OneCycleLR."""


def learning_rates(
    hyperparameters: NetworkHyperparameters, first: int, count: int, total: int
) -> npt.NDArray[np.float32]:
    """The learning rates of consecutive steps, (count,).

    Args:
        hyperparameters: Schedule and peak rate.
        first: Updates done before the first of these steps.
        count: Number of steps.
        total: Updates of the whole training; the step after the last would have the rate 0.
    """
    done = np.arange(first, first + count) / total  # in [0, 1)
    peak = hyperparameters.learning_rate
    match hyperparameters.schedule:
        case "one-cycle":
            start = peak / _START_DIVISOR
            rising = start + (peak - start) * _half_wave(done / _RISING_SHARE)
            falling = peak * (1 - _half_wave((done - _RISING_SHARE) / (1 - _RISING_SHARE)))
            rates = np.where(done < _RISING_SHARE, rising, falling)
        case "cosine":
            rates = peak * (1 - _half_wave(done))
        case _:
            rates = np.full(count, peak)
    return rates.astype(np.float32)


def _half_wave(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Half a cosine wave from 0 to 1."""
    return (1 - np.cos(np.pi * share)) / 2
