"""System state during runs: power source, clock, usable cores and temperature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mnist_bench.measurement.conditions import known
from mnist_bench.results.run import RunResult


@dataclass(frozen=True)
class SystemState:
    """The system's state over all observations of some runs; None is unknown.

    Attributes:
        governors: CPU frequency governors; empty if unknown.
        usable_cores: Smallest number the training could use, by affinity and CPU quota.
        quota_cores: Lowest CPU quota, in cores; None without a quota.
        clock_mhz_min: Lowest frequency, each averaged over the cores.
        clock_mhz_max: Highest frequency, each averaged over the cores.
    """

    on_battery: bool | None
    governors: tuple[str, ...]
    logical_cores: int | None
    usable_cores: float | None
    quota_cores: float | None
    clock_mhz_min: float | None
    clock_mhz_max: float | None
    temperature_celsius_max: float | None


def system_state_of(results: Iterable[RunResult]) -> SystemState | None:
    """Combined system state of some runs; None without observations."""
    observations = [
        observation
        for result in results
        if result.conditions
        for observation in result.conditions.surroundings
    ]
    if not observations:
        return None

    def values(name: str) -> list[Any]:
        return known(getattr(observation, name) for observation in observations)

    on_battery, clocks = values("on_battery"), values("clock_mhz")
    return SystemState(
        on_battery=any(on_battery) if on_battery else None,
        governors=tuple(sorted(filter(None, set(values("governor"))))),
        logical_cores=max(values("logical_cores"), default=None),
        usable_cores=min(values("usable_cores"), default=None),
        quota_cores=min(values("quota_cores"), default=None),
        clock_mhz_min=min(clocks, default=None),
        clock_mhz_max=max(clocks, default=None),
        temperature_celsius_max=max(values("temperature_celsius"), default=None),
    )
