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
_IDLE_TIMES = frozenset({"idle", "iowait", "steal", "guest", "guest_nice", "interrupt", "dpc"})
"""Idle times, or included in another of psutil's times (guests; interrupts on Windows)."""


class Sensors:
    """The machine's sensors; a value that can't be read is None.

    Args:
        root: Root of the system's files; another folder in tests.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._parent: Any = _read_or_none(lambda: psutil.Process().parent())
        self._limits = _read_or_none(lambda: _cpu_limit_folders(root)) or ()

    @functools.cached_property
    def _energy(self) -> Energy:
        """Opened at first use: the counters start there, and most callers need none."""
        return Energy(self._root)

    def counters(self) -> Counters:
        """Read the counters of the machine and of this process."""
        busy, steal = _read_or_none(_busy_and_steal) or (None, None)
        return Counters(
            clock_seconds=time.perf_counter(),
            suspended_seconds=_read_or_none(_suspended_seconds),
            own_cpu_seconds=time.process_time(),
            family_cpu_seconds=_read_or_none(lambda: sum(self._parent.cpu_times()[:2])),
            busy_cpu_seconds=busy,
            steal_seconds=steal,
            throttled_seconds=self._throttled_seconds(),
            memory_stall_seconds=self._memory_stall_seconds(),
            swapped_bytes=_read_or_none(_swapped_bytes),
            processor_joules=_read_or_none(self._energy.processor_joules),
            battery_joules=_read_or_none(self._energy.battery_joules),
        )

    def surroundings(self) -> Surroundings:
        """Read the slowly changing state."""
        memory = _read_or_none(psutil.virtual_memory)
        battery = _read_or_none(lambda: psutil.sensors_battery())  # noqa: PLW0108 -- may be missing
        swap = _read_or_none(_swap)
        plugged = battery.power_plugged if battery else None
        return Surroundings(
            logical_cores=_read_or_none(psutil.cpu_count),
            affinity_cores=_read_or_none(lambda: len(psutil.Process().cpu_affinity() or ()))
            or None,
            quota_cores=self.quota_cores(),
            governor=_read_text(self._root / _GOVERNOR),
            clock_mhz=_read_or_none(lambda: float(psutil.cpu_freq().current)) or None,
            on_battery=None if plugged is None else not plugged,
            battery_percent=float(battery.percent) if battery else None,
            temperature_celsius=_read_or_none(_temperature_celsius),
            memory_available_bytes=memory.available if memory else None,
            memory_total_bytes=memory.total if memory else None,
            swap_used_bytes=swap.used if swap and swap.total else None,
        )

    def quota_cores(self) -> float | None:
        """Processor time that this process's control groups allow, in cores; None without limit."""
        return min(filter(None, map(_group_quota_cores, self._limits)), default=None)

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


def _read_or_none(read: Callable[[], Value]) -> Value | None:
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


def _busy_and_steal() -> tuple[float, float | None]:
    times = psutil.cpu_times()._asdict()
    busy = sum(seconds for name, seconds in times.items() if name not in _IDLE_TIMES)
    return busy, times.get("steal")


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


def _cpu_limit_folders(root: Path) -> tuple[Path, ...]:
    """Folders of the process's control groups and of all groups above them, without duplicates."""
    # On most systems with cgroup v1, `cpu` is a link to `cpu,cpuacct`.
    return tuple(dict.fromkeys(folder.resolve() for folder in _mounted_limit_folders(root)))


def _mounted_limit_folders(root: Path) -> Iterator[Path]:
    for line in (_read_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        names = controllers.split(",")
        if controllers and "cpu" not in names:
            continue
        mounts = ("cpu", "cpu,cpuacct", "cpuacct,cpu") if controllers else ("", "unified")
        for mount in mounts:
            top = root / "sys/fs/cgroup" / mount
            folder = top / group.strip("/")
            for parent in (folder, *folder.parents):
                if any((parent / name).exists() for name in ("cpu.max", "cpu.cfs_quota_us")):
                    yield parent
                if parent == top:
                    break


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
