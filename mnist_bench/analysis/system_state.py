"""What the runs saw of the machine around them, all of them together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mnist_bench.measurement.conditions import Surroundings, known
from mnist_bench.results.run import RunResult


@dataclass(frozen=True)
class SystemState:
    """The machine around the runs, from their first look at it to their last.

    Attributes:
        on_battery: Whether it ever lived on its battery; None where none was told.
        governors: The processor's frequency governors; empty where none was told.
        logical_cores: Of the machine.
        usable_cores: The fewest that the training could use, by affinity and by quota.
        quota_cores: The lowest limit of processor time, in cores; None without one.
        clock_mhz_min: The lowest mean frequency of the cores.
        clock_mhz_max: The highest.
        temperature_celsius_max: Of the processor.
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
    """What runs saw together; None where none of them looked."""
    looks = [look for r in results if r.conditions for look in r.conditions.surroundings]
    return _together(looks) if looks else None


def _together(looks: list[Surroundings]) -> SystemState:
    powers = [look.on_battery for look in looks if look.on_battery is not None]
    governors = {look.governor for look in looks if look.governor}
    clocks = known(look.clock_mhz for look in looks)
    return SystemState(
        on_battery=any(powers) if powers else None,
        governors=tuple(sorted(governors)),
        logical_cores=max(known(look.logical_cores for look in looks), default=None),
        usable_cores=min(known(look.usable_cores for look in looks), default=None),
        quota_cores=min(known(look.quota_cores for look in looks), default=None),
        clock_mhz_min=min(clocks, default=None),
        clock_mhz_max=max(clocks, default=None),
        temperature_celsius_max=max(known(s.temperature_celsius for s in looks), default=None),
    )
