"""Hand-made conditions: a quiet machine of four cores, all of whose figures are known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mnist_bench.measurement.conditions import Conditions, Stretch, Surroundings, TrainingStretch

CORES = 4
STRETCH_SECONDS = 8.0
"""Of wall clock. This and the cores are powers of two, so that shares of them are exact."""


def surroundings(**changes: Any) -> Surroundings:
    """A quiet machine at one moment."""
    values: dict[str, Any] = {
        "logical_cores": CORES,
        "affinity_cores": CORES,
        "quota_cores": None,
        "governor": "performance",
        "clock_mhz": 3_000.0,
        "on_battery": False,
        "battery_percent": 80.0,
        "temperature_celsius": 50.0,
        "memory_available_bytes": 8 * 2**30,
        "memory_total_bytes": 16 * 2**30,
        "swap_used_bytes": 2**20,
    }
    return Surroundings(**(values | changes))


def stretch(**changes: Any) -> Stretch:
    """Eight seconds of three busy cores, and nobody else."""
    values: dict[str, Any] = {
        "wall_seconds": STRETCH_SECONDS,
        "own_cpu_seconds": 24.0,
        "family_cpu_seconds": 0.0,
        "other_cpu_seconds": 0.0,
        "steal_seconds": 0.0,
        "throttled_seconds": 0.0,
        "memory_stall_seconds": 0.0,
        "swapped_bytes": 0,
        "suspended_seconds": 0.0,
    }
    return Stretch(**(values | changes))


def training(paces: Iterable[float], **changes: Any) -> tuple[TrainingStretch, ...]:
    """One stretch of 50 steps for each of the paces.

    Args:
        paces: Training seconds a step.
        changes: Fields of every `Stretch`.
    """
    return tuple(
        TrainingStretch(
            step=50 * number,
            steps=50,
            train_seconds=50 * pace,
            rss_bytes=500 * 2**20,
            seen=stretch(**changes),
        )
        for number, pace in enumerate(paces, start=1)
    )


def conditions(**changes: Any) -> Conditions:
    """What was seen of a quiet run of 600 steps."""
    values: dict[str, Any] = {
        "surroundings": (surroundings(), surroundings()),
        "calibration_seconds": (0.02, 0.02),
        "stretches": training([0.16] * 12),
        "exclusive": True,
    }
    return Conditions(**(values | changes))
