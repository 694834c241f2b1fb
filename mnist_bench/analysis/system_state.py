"""System state during runs: power source, clock, usable cores and temperature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mnist_bench.measurement.conditions import Surroundings, known
from mnist_bench.results.run import RunResult


@dataclass(frozen=True)
class SystemState:
    """The system's state over all observations of some runs; None is unknown.

    Attributes:
        on_battery: Whether it was ever on battery.
        governors: CPU frequency governors; empty if unknown.
        logical_cores: Logical cores of the machine.
        usable_cores: Smallest number the training could use, by affinity and CPU quota.
        quota_cores: Lowest CPU quota, in cores; None without a quota.
        clock_mhz_min: Lowest frequency, each averaged over the cores.
        clock_mhz_max: Highest frequency, each averaged over the cores.
        temperature_celsius_max: Highest CPU temperature.
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
    return _combined(observations) if observations else None


def _combined(observations: list[Surroundings]) -> SystemState:
    on_battery = [
        observation.on_battery for observation in observations if observation.on_battery is not None
    ]
    governors = {observation.governor for observation in observations if observation.governor}
    clocks = known(observation.clock_mhz for observation in observations)
    return SystemState(
        on_battery=any(on_battery) if on_battery else None,
        governors=tuple(sorted(governors)),
        logical_cores=max(
            known(observation.logical_cores for observation in observations), default=None
        ),
        usable_cores=min(
            known(observation.usable_cores for observation in observations), default=None
        ),
        quota_cores=min(
            known(observation.quota_cores for observation in observations), default=None
        ),
        clock_mhz_min=min(clocks, default=None),
        clock_mhz_max=max(clocks, default=None),
        temperature_celsius_max=max(
            known(observation.temperature_celsius for observation in observations), default=None
        ),
    )
