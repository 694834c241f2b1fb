"""Sensors of the machine, read without privileges from psutil and the system's files."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil

from mnist_bench.measurement.conditions import Counters, Surroundings
from mnist_bench.measurement.energy import Energy

Value = TypeVar("Value")

_PROCESSOR_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "acpitz")
"""Linux drivers that report a processor's temperature."""
_GOVERNOR = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
_CPU_FILES = ("cpu.max", "cpu.cfs_quota_us")
_MEMORY_FILES = ("memory.max", "memory.high", "memory.limit_in_bytes")
"""Files with limits of control groups, of version 2 and of version 1."""
_MOUNTS = {"cpu": ("cpu", "cpu,cpuacct", "cpuacct,cpu"), "memory": ("memory",)}
"""Where the controllers of version 1 are mounted."""
_IDLE_TIMES = frozenset({"idle", "iowait", "steal", "guest", "guest_nice", "interrupt", "dpc"})
"""Idle times, or included in another of psutil's times (guests; interrupts on Windows)."""


class Sensors:
    """The machine's sensors; a value that can't be read is None.

    Args:
        root: Root of the system's files; another folder in tests.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._parent: Any = read_or_none(lambda: psutil.Process().parent())
        self._limits = read_or_none(lambda: _limit_folders(root, "cpu", _CPU_FILES)) or ()
        self._memory_limits = (
            read_or_none(lambda: _limit_folders(root, "memory", _MEMORY_FILES)) or ()
        )
        self._cores: frozenset[int] = (
            read_or_none(lambda: frozenset(psutil.Process().cpu_affinity() or ())) or frozenset()
        )

    @functools.cached_property
    def _energy(self) -> Energy:
        """Opened at first use: the counters start there, and most callers need none."""
        return Energy(self._root)

    def counters(self) -> Counters:
        """Read the counters of the machine and of this process."""
        busy, steal = read_or_none(self._busy_and_steal) or (None, None)
        return Counters(
            clock_seconds=time.perf_counter(),
            suspended_seconds=read_or_none(_suspended_seconds),
            own_cpu_seconds=time.process_time(),
            family_cpu_seconds=read_or_none(lambda: sum(self._parent.cpu_times()[:2])),
            busy_cpu_seconds=busy,
            steal_seconds=steal,
            throttled_seconds=self._throttled_seconds(),
            memory_stall_seconds=self._memory_stall_seconds(),
            swapped_bytes=read_or_none(_swapped_bytes),
            processor_joules=read_or_none(self._energy.processor_joules),
            battery_joules=read_or_none(self._energy.battery_joules),
        )

    def surroundings(self) -> Surroundings:
        """Read the slowly changing state."""
        battery = read_or_none(lambda: psutil.sensors_battery())  # noqa: PLW0108 -- may be missing
        swap = read_or_none(_swap)
        plugged = battery.power_plugged if battery else None
        return Surroundings(
            logical_cores=read_or_none(psutil.cpu_count),
            affinity_cores=read_or_none(lambda: len(psutil.Process().cpu_affinity() or ())) or None,
            quota_cores=self.quota_cores(),
            governor=_read_text(self._root / _GOVERNOR),
            clock_mhz=read_or_none(lambda: float(psutil.cpu_freq().current)) or None,
            on_battery=None if plugged is None else not plugged,
            battery_percent=float(battery.percent) if battery else None,
            temperature_celsius=read_or_none(_temperature_celsius),
            memory_available_bytes=self._memory_available_bytes(),
            memory_total_bytes=self.memory_bytes(),
            swap_used_bytes=swap.used if swap and swap.total else None,
        )

    def quota_cores(self) -> float | None:
        """Processor time that this process's control groups allow, in cores; None without limit."""
        return min(filter(None, map(_group_quota_cores, self._limits)), default=None)

    def memory_bytes(self) -> int | None:
        """Memory that this process may use: the machine's, or less by its control groups."""
        installed = read_or_none(lambda: int(psutil.virtual_memory().total)) or read_or_none(
            lambda: os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        )
        return min(filter(None, (installed, self.memory_limit_bytes())), default=None)

    def memory_limit_bytes(self) -> int | None:
        """Memory that this process's control groups allow; None without limit."""
        limits = list(filter(None, map(_group_memory_limit, self._memory_limits)))
        installed = read_or_none(lambda: int(psutil.virtual_memory().total))
        least = min(limits, default=None)
        # Without a limit, cgroup v1 has a number that is larger than any memory.
        return None if least is None or (installed and least >= installed) else least

    def _memory_available_bytes(self) -> int | None:
        """What is left of the machine's memory, and of each control group's."""
        left = [
            limit - _group_memory_used(folder)
            for folder in self._memory_limits
            if (limit := _group_memory_limit(folder)) is not None
        ]
        free = read_or_none(lambda: int(psutil.virtual_memory().available))
        left += [] if free is None else [free]
        return max(0, min(left)) if left else None

    def _busy_and_steal(self) -> tuple[float, float | None]:
        """Processor times of the cores that this process may use, since it was started there."""
        times = [psutil.cpu_times()]
        if 0 < len(self._cores) < (psutil.cpu_count() or 0):
            every = psutil.cpu_times(percpu=True)
            numbers = _online_cores(self._root)
            if len(numbers) != len(every):
                numbers = list(range(len(every)))
            own = [each for n, each in zip(numbers, every, strict=True) if n in self._cores]
            # A container may have its own list, with other numbers.
            times = own if len(own) == len(self._cores) else times
        fields = [each._asdict() for each in times]
        busy = sum(
            seconds for each in fields for name, seconds in each.items() if name not in _IDLE_TIMES
        )
        return busy, sum(each["steal"] for each in fields) if "steal" in fields[0] else None

    def _throttled_seconds(self) -> float | None:
        times = [_group_throttled_seconds(folder) for folder in self._limits]
        known = [seconds for seconds in times if seconds is not None]
        return sum(known) if known else None

    def _memory_stall_seconds(self) -> float | None:
        text = _read_text(self._root / "proc/pressure/memory") or ""
        totals = [line.rpartition("total=")[2] for line in text.splitlines() if "some" in line]
        return int(totals[0]) / 1e6 if totals and totals[0].isdigit() else None


def usable_threads() -> int:
    """Cores that this process may use, by affinity and by a container's quota; at least one."""
    cores = Sensors().surroundings().usable_cores
    return max(1, math.ceil(cores)) if cores else os.cpu_count() or 1


def read_or_none(read: Callable[[], Value]) -> Value | None:
    """Value of a sensor; None if it is missing (AttributeError), forbidden or broken."""
    try:
        return read()
    except (OSError, psutil.Error, AttributeError, LookupError, ValueError, RuntimeError):
        return None


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip() or None
    except OSError:
        return None


def _online_cores(root: Path) -> list[int]:
    """Numbers of Linux's cores, without those that are switched off: from `0,2-3`."""
    numbers: list[int] = []
    for part in (_read_text(root / "sys/devices/system/cpu/online") or "").split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            numbers += range(int(first), int(last or first) + 1)
    return numbers


def _suspended_seconds() -> float | None:
    """Time suspended since the machine was started."""
    if sys.platform == "linux":
        boot, awake = time.CLOCK_BOOTTIME, time.CLOCK_MONOTONIC
        return time.clock_gettime(boot) - time.clock_gettime(awake)
    if sys.platform == "darwin":  # whose monotonic clock continues in sleep
        both, awake = time.CLOCK_MONOTONIC, time.CLOCK_UPTIME_RAW
        return time.clock_gettime(both) - time.clock_gettime(awake)
    if sys.platform == "win32":
        kernel: Any = ctypes.windll.kernel32
        kernel.GetTickCount64.restype = ctypes.c_uint64
        awake_ticks = ctypes.c_ulonglong()
        if not kernel.QueryUnbiasedInterruptTime(ctypes.byref(awake_ticks)):
            return None
        return float(kernel.GetTickCount64() / 1e3 - awake_ticks.value / 1e7)
    return None


def _swap() -> Any:
    with warnings.catch_warnings():  # psutil warns where /proc/vmstat is missing
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return psutil.swap_memory()
        except RuntimeWarning:
            return None


def _swapped_bytes() -> int | None:
    if sys.platform == "win32":  # psutil reports 0 there
        return None
    swap = _swap()
    return int(swap.sin + swap.sout) if swap else None


def _temperature_celsius() -> float | None:
    sensors = psutil.sensors_temperatures()
    found = [entry.current for name in _PROCESSOR_SENSORS for entry in sensors.get(name, ())]
    return max((float(degrees) for degrees in found if degrees), default=None)


def _limit_folders(root: Path, controller: str, names: tuple[str, ...]) -> tuple[Path, ...]:
    """Folders of the process's control groups and of all groups above them, without duplicates."""
    # On most systems with cgroup v1, `cpu` is a link to `cpu,cpuacct`.
    found = _mounted_limit_folders(root, controller, names)
    return tuple(dict.fromkeys(folder.resolve() for folder in found))


def _mounted_limit_folders(root: Path, controller: str, names: tuple[str, ...]) -> Iterator[Path]:
    for line in (_read_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        if controllers and controller not in controllers.split(","):
            continue
        mounts = _MOUNTS[controller] if controllers else ("", "unified")
        for mount in mounts:
            top = root / "sys/fs/cgroup" / mount
            folder = top / group.strip("/")
            for parent in (folder, *folder.parents):
                if any((parent / name).exists() for name in names):
                    yield parent
                if parent == top:
                    break


def _group_memory_limit(folder: Path) -> int | None:
    """The smallest limit in a group's folder, in bytes; None if it has none."""
    texts = [_read_text(folder / name) or "" for name in _MEMORY_FILES]
    return min((int(text) for text in texts if text.isdecimal() and int(text)), default=None)


def _group_memory_used(folder: Path) -> int:
    """Memory of a group, without file contents that the system can drop."""
    for name, cache in (
        ("memory.current", "inactive_file"),
        ("memory.usage_in_bytes", "total_inactive_file"),
    ):
        used = _read_text(folder / name) or ""
        if used.isdecimal():
            lines = (_read_text(folder / "memory.stat") or "").splitlines()
            dropped = [line.rpartition(" ")[2] for line in lines if line.startswith(f"{cache} ")]
            return int(used) - (int(dropped[0]) if dropped and dropped[0].isdecimal() else 0)
    return 0


def _group_quota_cores(folder: Path) -> float | None:
    words = (_read_text(folder / "cpu.max") or "").split()  # cgroup v2: quota or "max", and period
    if len(words) < 2:
        v1_files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = [_read_text(folder / name) or "" for name in v1_files]
    quota, period = words[:2]
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return None  # "max" or -1: no limit
    return int(quota) / int(period)


def _group_throttled_seconds(folder: Path) -> float | None:
    for line in (_read_text(folder / "cpu.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if not value.isdigit():
            continue
        if name == "throttled_usec":
            return int(value) / 1e6
        if name == "throttled_time":
            return int(value) / 1e9
    return None
