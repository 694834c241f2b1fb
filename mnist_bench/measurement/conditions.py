"""Records of the machine's state during a run.

A value that the system does not report is None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from mnist_bench.core.records import Items, Record

Number = TypeVar("Number", int, float)


class Surroundings(Record):
    """State of the machine that changes slowly or is slow to read.

    Attributes:
        affinity_cores: Cores that the process may use; None on systems without affinity.
        quota_cores: Processor time that a container's limit allows, in cores; None without limit.
        governor: The first core's frequency governor.
        clock_mhz: Mean frequency of the cores.
        on_battery: Whether the machine runs on battery; None without a battery.
        temperature_celsius: Of the hottest processor sensor.
        memory_available_bytes: Memory available without swapping, by a container's limit too.
        memory_total_bytes: Of the machine, or a container's limit.
    """

    logical_cores: int | None = None
    affinity_cores: int | None = None
    quota_cores: float | None = None
    governor: str | None = None
    clock_mhz: float | None = None
    on_battery: bool | None = None
    battery_percent: float | None = None
    temperature_celsius: float | None = None
    memory_available_bytes: int | None = None
    memory_total_bytes: int | None = None
    swap_used_bytes: int | None = None

    @property
    def usable_cores(self) -> float | None:
        """Cores that this process may use, by affinity and quota."""
        limits = (self.logical_cores, self.affinity_cores, self.quota_cores)
        return min((float(limit) for limit in limits if limit is not None), default=None)

    @property
    def observed_cores(self) -> int | None:
        """Cores that others' processor time is counted on: those of the affinity.

        A quota is of time on any of them; what it costs shows as throttled.
        """
        return self.affinity_cores or self.logical_cores


class Counters(Record):
    """Counters of the machine and of a process, to be subtracted from later ones.

    Attributes:
        clock_seconds: Monotonic; stops while the machine is suspended, if the system has such a
            clock.
        suspended_seconds: Time suspended since the machine was started.
        family_cpu_seconds: Of the process's parent, which belongs to the benchmark too.
        busy_cpu_seconds: Of all processes, on the cores that the process may use by affinity.
        steal_seconds: Time of these cores that a virtual machine's host gave to others.
        throttled_seconds: Time in which a container's quota stopped its processes.
        memory_stall_seconds: Time in which some process waited for memory.
        swapped_bytes: Read from and written to swap.
        processor_joules: By the processors' counters, without the rest of the machine.
        battery_joules: Left in the batteries; None unless the machine runs on them.
    """

    clock_seconds: float
    suspended_seconds: float | None = None
    own_cpu_seconds: float
    family_cpu_seconds: float | None = None
    busy_cpu_seconds: float | None = None
    steal_seconds: float | None = None
    throttled_seconds: float | None = None
    memory_stall_seconds: float | None = None
    swapped_bytes: int | None = None
    processor_joules: float | None = None
    battery_joules: float | None = None


class Stretch(Record):
    """Differences of `Counters` over a stretch of time.

    Attributes:
        other_cpu_seconds: Processor time of all but this process and its parent.
        battery_joules: Drawn from the batteries.
    """

    wall_seconds: float
    own_cpu_seconds: float
    family_cpu_seconds: float | None = None
    other_cpu_seconds: float | None = None
    steal_seconds: float | None = None
    throttled_seconds: float | None = None
    memory_stall_seconds: float | None = None
    swapped_bytes: int | None = None
    suspended_seconds: float | None = None
    processor_joules: float | None = None
    battery_joules: float | None = None


class TrainingStretch(Record):
    """Training steps between two messages, with the machine's counters.

    Attributes:
        step: Updates done at its end.
        steps: Updates done in it.
        train_seconds: Wall-clock seconds inside training, of this stretch only.
        rss_bytes: Resident memory of the training process at its end.
        seen: Differences of the counters.
    """

    step: int
    steps: int
    train_seconds: float
    rss_bytes: int | None
    seen: Stretch


class Conditions(Record):
    """Observations of the machine up to a run's last step.

    Attributes:
        surroundings: Before training, every few seconds during it, and after it.
        calibration_seconds: Times of a fixed computation, before training and after it.
        stretches: The whole training, in order.
        exclusive: Whether other benchmarks of this user were locked out.
    """

    surroundings: Items[Surroundings] = ()
    calibration_seconds: tuple[float, ...] = ()
    stretches: Items[TrainingStretch] = ()
    exclusive: bool = True


def between(start: Counters, end: Counters) -> Stretch:
    """Differences of two readings of the same process."""
    own = end.own_cpu_seconds - start.own_cpu_seconds
    family = _difference(start.family_cpu_seconds, end.family_cpu_seconds)
    busy = _difference(start.busy_cpu_seconds, end.busy_cpu_seconds)
    return Stretch(
        wall_seconds=end.clock_seconds - start.clock_seconds,
        own_cpu_seconds=own,
        family_cpu_seconds=family,
        # May be negative: ticks are coarse, which averages out over many stretches.
        other_cpu_seconds=None if busy is None else busy - own - (family or 0.0),
        steal_seconds=_difference(start.steal_seconds, end.steal_seconds),
        throttled_seconds=_difference(start.throttled_seconds, end.throttled_seconds),
        memory_stall_seconds=_difference(start.memory_stall_seconds, end.memory_stall_seconds),
        swapped_bytes=_difference(start.swapped_bytes, end.swapped_bytes),
        suspended_seconds=_difference(start.suspended_seconds, end.suspended_seconds),
        processor_joules=_difference(start.processor_joules, end.processor_joules),
        battery_joules=_difference(end.battery_joules, start.battery_joules),
    )


def total(stretches: Sequence[Stretch], value: Callable[[Stretch], Number | None]) -> Number | None:
    """Sum of a value over stretches; None if it is unknown for one of them."""
    values = known(map(value, stretches))
    return sum(values[1:], start=values[0]) if values and len(values) == len(stretches) else None


def known(values: Iterable[Number | None]) -> list[Number]:
    """The values that are not None."""
    return [value for value in values if value is not None]


def _difference(start: Number | None, end: Number | None) -> Number | None:
    return None if start is None or end is None else end - start
