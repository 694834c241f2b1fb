"""What the machine was like while a run was trained: records of what was seen, no judgement.

A figure that the system does not tell is None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from mnist_bench.core.records import Record

Number = TypeVar("Number", int, float)


class Surroundings(Record):
    """The machine at one moment: what changes slowly, or is slow to read.

    Attributes:
        logical_cores: Of the machine.
        affinity_cores: Of those, how many this process may use; None where there is no affinity.
        quota_cores: Processor time that a container's limit allows, in cores; None without one.
        governor: The first core's frequency governor.
        clock_mhz: Mean frequency of the cores.
        on_battery: Whether the machine lives on its battery; None where it has none.
        battery_percent: What is left in it.
        temperature_celsius: Of the hottest processor sensor.
        memory_available_bytes: What may be had without swapping.
        memory_total_bytes: What is installed.
        swap_used_bytes: What lies in swap.
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
        """Cores that this process may use, by affinity and by quota."""
        limits = (self.logical_cores, self.affinity_cores, self.quota_cores)
        return min((float(limit) for limit in limits if limit is not None), default=None)


class Counters(Record):
    """Counters of the machine and of a process at one moment; differences tell what happened.

    Attributes:
        clock_seconds: Monotonic; stands still while the machine is suspended, where the system
            has such a clock.
        suspended_seconds: How long the machine was suspended since it was started.
        own_cpu_seconds: Processor time of this process.
        family_cpu_seconds: The same of its parent, which is the suite's too.
        busy_cpu_seconds: The same of all processes together.
        steal_seconds: Processor time that a virtual machine's host kept for others.
        throttled_seconds: Time in which a container's quota kept its processes from running.
        memory_stall_seconds: Time in which some process waited for memory.
        swapped_bytes: Read from and written to swap.
        processor_joules: What the processors' own counters have counted; nothing else of the
            machine is in it.
        battery_joules: What is left in the batteries; None while the machine does not live on
            them.
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
    """What happened between two moments; by difference of their counters.

    Attributes:
        wall_seconds: By the monotonic clock.
        own_cpu_seconds: Processor time of the process that is measured.
        family_cpu_seconds: Of its parent.
        other_cpu_seconds: Of everything else on the machine.
        steal_seconds: See `Counters`; likewise those after it.
        battery_joules: Taken out of the batteries.
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
    """Some steps trained without a word, and what the machine did meanwhile.

    Attributes:
        step: Updates done at its end.
        steps: Updates done in it.
        train_seconds: Wall-clock seconds inside training, of this stretch alone.
        rss_bytes: Resident memory of the training process at its end.
        seen: What the counters tell.
    """

    step: int
    steps: int
    train_seconds: float
    rss_bytes: int | None
    seen: Stretch


class Conditions(Record):
    """All that was seen of the machine up to a run's last step.

    Attributes:
        surroundings: Before training, every few seconds during it, and after it.
        calibration_seconds: A fixed small piece of work, timed before training and after it.
        stretches: All of the training, in order.
        exclusive: Whether the suite kept other benchmarks of this user away.
    """

    surroundings: tuple[Surroundings, ...] = ()
    calibration_seconds: tuple[float, ...] = ()
    stretches: tuple[TrainingStretch, ...] = ()
    exclusive: bool = True


def between(start: Counters, end: Counters) -> Stretch:
    """What happened between two readings of one process."""
    own = end.own_cpu_seconds - start.own_cpu_seconds
    family = _difference(start.family_cpu_seconds, end.family_cpu_seconds)
    busy = _difference(start.busy_cpu_seconds, end.busy_cpu_seconds)
    return Stretch(
        wall_seconds=end.clock_seconds - start.clock_seconds,
        own_cpu_seconds=own,
        family_cpu_seconds=family,
        # Not cut off at 0: ticks are counted coarsely, and over many stretches that evens out.
        other_cpu_seconds=None if busy is None else busy - own - (family or 0.0),
        steal_seconds=_difference(start.steal_seconds, end.steal_seconds),
        throttled_seconds=_difference(start.throttled_seconds, end.throttled_seconds),
        memory_stall_seconds=_difference(start.memory_stall_seconds, end.memory_stall_seconds),
        swapped_bytes=_difference(start.swapped_bytes, end.swapped_bytes),
        suspended_seconds=_difference(start.suspended_seconds, end.suspended_seconds),
        processor_joules=_difference(start.processor_joules, end.processor_joules),
        battery_joules=_difference(end.battery_joules, start.battery_joules),
    )


def total(
    stretches: Sequence[Stretch], figure: Callable[[Stretch], Number | None]
) -> Number | None:
    """Sum of a figure over stretches; None where one of them does not tell it."""
    told = known(map(figure, stretches))
    return sum(told[1:], start=told[0]) if told and len(told) == len(stretches) else None


def known(values: Iterable[Number | None]) -> list[Number]:
    """Those that are known."""
    return [value for value in values if value is not None]


def _difference(start: Number | None, end: Number | None) -> Number | None:
    return None if start is None or end is None else end - start
