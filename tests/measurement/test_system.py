"""Sensors, with fake files and return values of many machines."""

from __future__ import annotations

import functools
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from mnist_bench.measurement import system
from mnist_bench.measurement.conditions import Surroundings, between
from mnist_bench.measurement.system import Sensors, usable_threads

GROUPS = "sys/fs/cgroup"
GOVERNOR = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
PRESSURE = """\
some avg10=0.00 avg60=0.12 avg300=0.05 total=2500000
full avg10=0.00 avg60=0.00 avg300=0.00 total=1000000
"""

Make = Callable[[dict[str, str]], Sensors]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Sensors on a machine with only these files."""

    def maker(files: dict[str, str]) -> Sensors:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return Sensors(root=tmp_path)

    return maker


def returning(answer: Any) -> Callable[..., Any]:
    """A function that always returns, or raises, the same."""

    def function(*_: object, **__: object) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return function


# Limits of control groups


def group_v2(group: str, files: dict[str, str]) -> dict[str, str]:
    """Files of a process in a group, by their names below the mount point."""
    below = {f"{GROUPS}/{name}": text for name, text in files.items()}
    return {"proc/self/cgroup": f"0::{group}\n"} | below


def nested(outer: str, middle: str, inner: str) -> dict[str, str]:
    limits = {"cpu.max": outer, "a/cpu.max": middle, "a/b/cpu.max": inner}
    return group_v2("/a/b", limits)


def group_v1(
    mount: str,
    quota: str,
    period: str = "100000",
    group: str = "docker/abc",
    throttled: str = "",
) -> dict[str, str]:
    top = f"{GROUPS}/{mount}/{group}"
    groups = "9:name=systemd:/\n4:memory:/x\n3:cpuset:/x\n2:cpu,cpuacct:/docker/abc\n"
    return {
        "proc/self/cgroup": groups,
        f"{top}/cpu.cfs_quota_us": quota,
        f"{top}/cpu.cfs_period_us": period,
        f"{top}/cpu.stat": throttled,
    }


LIMITS_V2 = {
    "max 100000": None,
    "150000 100000\n": 1.5,
    "25000 100000": 0.25,
    "400000 50000": 8.0,
    "0 100000": None,
    "100000 0": None,
    "150000": None,
    "many few": None,
    "-1 100000": None,
    "": None,
    "\N{SUPERSCRIPT TWO} 100000": None,
}
NO_GROUPS = ("", "\n", "garbled", "0", "0:", "1:cpu", "0::/gone", "4:memory:/x", "::::")
HYBRID = {"proc/self/cgroup": "1:cpu:/\n0::/ours\n"}


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        *((group_v2("/a", {"a/cpu.max": text}), cores) for text, cores in LIMITS_V2.items()),
        # The tightest of a group and those above it counts, none beside it.
        (nested("max 100000", "200000 100000", "max 100000"), 2.0),
        (nested("150000 100000", "max 100000", "max 100000"), 1.5),
        (nested("300000 100000", "200000 100000", "100000 100000"), 1.0),
        (nested("100000 100000", "200000 100000", "300000 100000"), 1.0),
        (nested("max 100000", "max 100000", "max 100000"), None),
        (group_v2("/a", {"a/cpu.max": "max 100000", "b/cpu.max": "10000 100000"}), None),
        (group_v2("", {"unified/ours/cpu.max": "50000 100000"}) | HYBRID, 0.5),
        (group_v1("cpu", "150000\n"), 1.5),
        (group_v1("cpu,cpuacct", "150000"), 1.5),
        (group_v1("cpuacct,cpu", "150000"), 1.5),
        (group_v1("cpu", "-1"), None),
        (group_v1("cpu", "150000", period="0"), None),
        (group_v1("cpu", ""), None),
        (group_v1("cpu", "x", period="y"), None),
        (group_v1("cpu", "-1") | group_v1("cpu", "50000", group="docker"), 0.5),
        # In a container the group is mounted at the top, while /proc has its path outside.
        (group_v1("cpu", "200000", group=""), 2.0),
        *(({"proc/self/cgroup": text}, None) for text in NO_GROUPS),
        ({}, None),
    ],
)
def test_quota(make: Make, files: dict[str, str], cores: float | None) -> None:
    sensors = make(files)
    assert sensors.quota_cores() == sensors.surroundings().quota_cores == cores


V2 = {
    "proc/self/cgroup": "0::/a/b\n", f"{GROUPS}/memory.max": "max",
    f"{GROUPS}/a/memory.high": "max",
    f"{GROUPS}/a/b/memory.current": "150000000\n",
    f"{GROUPS}/a/b/memory.stat": "anon 100\ninactive_file 50000000\n",
}  # fmt: skip
V1 = {
    "proc/self/cgroup": "4:memory:/docker/x\n1:cpu:/\n",
    f"{GROUPS}/memory/memory.limit_in_bytes": "9223372036854771712",
    f"{GROUPS}/memory/memory.usage_in_bytes": "150000000",
    f"{GROUPS}/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 50000000\n",
}


@pytest.mark.parametrize(
    ("files", "total", "available"),
    [
        (V2 | {f"{GROUPS}/a/b/memory.max": "600000000"}, 600_000_000, 500_000_000),
        (V2 | {f"{GROUPS}/a/b/memory.high": "400000000"}, 400_000_000, 300_000_000),
        (V2 | {f"{GROUPS}/a/memory.max": "300000000"}, 300_000_000, 300_000_000),
        (V2 | {f"{GROUPS}/a/b/memory.max": "100"}, 100, 0),
        (V2, 16_000_000_000, 8_000_000_000),
        (V2 | {f"{GROUPS}/a/b/memory.max": "64000000000"}, 16_000_000_000, 8_000_000_000),
        (V2 | {f"{GROUPS}/a/b/memory.max": "many"}, 16_000_000_000, 8_000_000_000),
        # In a container the group is mounted at the top, while /proc has its path outside.
        (V1 | {f"{GROUPS}/memory/memory.limit_in_bytes": "600000000"}, 600_000_000, 500_000_000),
        (V1, 16_000_000_000, 8_000_000_000),
        ({}, 16_000_000_000, 8_000_000_000),
    ],
)
def test_memory_of_a_container(
    make: Make, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], total: int, available: int
) -> None:
    memory = SimpleNamespace(total=16_000_000_000, available=8_000_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", returning(memory))
    sensors = make(files)
    found = sensors.surroundings()
    assert (found.memory_total_bytes, found.memory_available_bytes) == (total, available)
    assert sensors.memory_limit_bytes() == (total if total < 16_000_000_000 else None)


def cores(*busy: float) -> Callable[..., Any]:
    """Processor times of a machine whose cores were busy for these seconds."""

    def cpu_times(*, percpu: bool = False) -> Any:
        each = [
            SimpleNamespace(_asdict=lambda one=one: {"user": one, "idle": 9.0, "steal": one / 10})
            for one in busy
        ]
        total = SimpleNamespace(
            _asdict=lambda: {"user": sum(busy), "idle": 9.0, "steal": sum(busy) / 10}
        )
        return each if percpu else total

    return cpu_times


@pytest.mark.parametrize(
    ("affinity", "online", "busy"),
    [
        ([1], "0-3", 10.0),
        ([1, 3], "0-3", 1_010.0),
        ([0, 1, 2, 3], "0-3", 1_111.0),
        ([], "0-3", 1_111.0),  # a system without affinity
        ([2, 4], "0,2,4-5", 110.0),  # some are switched off
        ([1], "", 10.0),
        ([40, 41], "0-63", 1_111.0),  # a container with a list of its own
    ],
)
def test_load_is_that_of_the_cores_that_may_be_used(
    make: Make, monkeypatch: pytest.MonkeyPatch, affinity: list[int], online: str, busy: float
) -> None:
    monkeypatch.setattr("psutil.Process.cpu_affinity", lambda _: affinity, raising=False)
    monkeypatch.setattr(psutil, "cpu_count", returning(4))
    monkeypatch.setattr(psutil, "cpu_times", cores(1.0, 10.0, 100.0, 1_000.0))
    counters = make({"sys/devices/system/cpu/online": online}).counters()
    assert counters.busy_cpu_seconds == busy
    assert counters.steal_seconds == pytest.approx(busy / 10)


def test_unreadable_control_groups(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make(group_v2("/", {"cpu.max": "50000 100000"}))
    monkeypatch.setattr(Path, "exists", returning(PermissionError("no")))
    assert make({}).quota_cores() is None


# Counters in files

THROTTLED_V1 = "nr_periods 9\nnr_throttled 4\nthrottled_time 2500000000\n"


@pytest.mark.parametrize(
    ("files", "field", "seconds"),
    [
        (group_v1("cpu", "150000", throttled=THROTTLED_V1), "throttled_seconds", 2.5),
        (nested("max 100000", "150000 100000", "150000 100000")  # the sum over all of them
         | {f"{GROUPS}/a/cpu.stat": "usage_usec 7\nthrottled_usec 1500000\n",
            f"{GROUPS}/a/b/cpu.stat": "throttled_usec 250000\n"},
         "throttled_seconds", 1.75),
        *((group_v2("/", {"cpu.max": "max 100000", "cpu.stat": text}), "throttled_seconds", None)
          for text in ("", "usage_usec 7\n", "throttled_usec\n", "throttled_usec soon\n",
                       "\N{SNOWMAN}")),
        ({}, "throttled_seconds", None),
        ({"proc/pressure/memory": PRESSURE}, "memory_stall_seconds", 2.5),
        *(({"proc/pressure/memory": text}, "memory_stall_seconds", seconds)
          for text, seconds in {
              "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n": 0.0,
              "full avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n": None,
              "some avg10=0.00 total=soon\n": None,
              "some\n": None,
              "\N{SNOWMAN}": None,
              "": None,
          }.items()),
        ({}, "memory_stall_seconds", None),
    ],
)  # fmt: skip
def test_counters_in_files(
    make: Make, files: dict[str, str], field: str, seconds: float | None
) -> None:
    assert getattr(make(files).counters(), field) == seconds


def test_counters_are_read_each_time(make: Make) -> None:
    sensors = make(group_v2("/", {"cpu.max": "50000 100000", "cpu.stat": "throttled_usec 0\n"}))
    before = sensors.counters()
    make(group_v2("/", {"cpu.stat": "throttled_usec 500000\n"}))
    assert between(before, sensors.counters()).throttled_seconds == 0.5


@pytest.mark.skipif(os.name != "posix", reason="makes a link")
def test_a_linked_folder_is_counted_once(make: Make, tmp_path: Path) -> None:
    make(group_v1("cpu,cpuacct", "150000", throttled=THROTTLED_V1))
    (tmp_path / GROUPS / "cpu").symlink_to("cpu,cpuacct")
    assert make({}).counters().throttled_seconds == 2.5


@pytest.mark.parametrize(
    ("text", "governor"), [("powersave\n", "powersave"), ("\n", None), (None, None)]
)
def test_governor(make: Make, text: str | None, governor: str | None) -> None:
    sensors = make({} if text is None else {GOVERNOR: text})
    assert sensors.surroundings().governor == governor


# What psutil returns

MISSING = object()


def battery(*, plugged: bool | None) -> SimpleNamespace:
    return SimpleNamespace(percent=42, secsleft=-1, power_plugged=plugged)


def clock(current: float) -> SimpleNamespace:
    return SimpleNamespace(current=current, min=0.0, max=0.0)


def degrees(*values: float | None) -> list[SimpleNamespace]:
    return [SimpleNamespace(label="", current=value, high=None, critical=None) for value in values]


def swap(total: int, used: int) -> SimpleNamespace:
    return SimpleNamespace(total=total, used=used, sin=40, sout=2)


NO_BATTERY = {"on_battery": None, "battery_percent": None}
FORBIDDEN = psutil.AccessDenied(1)


@pytest.mark.parametrize(
    ("name", "answer", "expected"),
    [
        ("sensors_battery", battery(plugged=True), {"on_battery": False, "battery_percent": 42.0}),
        ("sensors_battery", battery(plugged=False), {"on_battery": True, "battery_percent": 42.0}),
        ("sensors_battery", battery(plugged=None), {"on_battery": None, "battery_percent": 42.0}),
        ("sensors_battery", None, NO_BATTERY),
        ("sensors_battery", FORBIDDEN, NO_BATTERY),
        ("sensors_battery", MISSING, NO_BATTERY),
        ("cpu_freq", clock(2_400), {"clock_mhz": 2_400.0}),
        ("cpu_freq", clock(0.0), {"clock_mhz": None}),
        ("cpu_freq", None, {"clock_mhz": None}),
        ("cpu_freq", FORBIDDEN, {"clock_mhz": None}),
        *(
            ("sensors_temperatures", answer, {"temperature_celsius": celsius})
            for answer, celsius in (
                ({"coretemp": degrees(51.0, 63.5, 60.0)}, 63.5),
                ({"k10temp": degrees(40), "nvme": degrees(90.0)}, 40.0),
                ({"cpu_thermal": degrees(48.0), "acpitz": degrees(27.8)}, 48.0),
                ({"coretemp": degrees(None, 44.0)}, 44.0),
                ({"coretemp": degrees(0.0, None)}, None),
                ({"nvme": degrees(90.0)}, None),
                ({"coretemp": []}, None),
                ({}, None),
                (FORBIDDEN, None),
                (MISSING, None),
            )
        ),
        ("virtual_memory", SimpleNamespace(available=3 * 2**30, total=16 * 2**30),
         {"memory_available_bytes": 3 * 2**30, "memory_total_bytes": 16 * 2**30}),
        ("swap_memory", swap(2**32, 0), {"swap_used_bytes": 0}),
        ("swap_memory", swap(2**32, 7), {"swap_used_bytes": 7}),
        ("swap_memory", swap(0, 0), {"swap_used_bytes": None}),  # no swap is not 0 bytes of it
        ("Process.cpu_affinity", [0, 2, 5], {"affinity_cores": 3}),
        ("Process.cpu_affinity", [], {"affinity_cores": None}),
        ("Process.cpu_affinity", MISSING, {"affinity_cores": None, "logical_cores": 8,
                                           "usable_cores": 8}),
    ],
)  # fmt: skip
def test_surroundings(
    make: Make, monkeypatch: pytest.MonkeyPatch, name: str, answer: Any, expected: dict[str, Any]
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", returning(8))
    if answer is MISSING:
        monkeypatch.delattr(f"psutil.{name}", raising=False)
    else:
        monkeypatch.setattr(f"psutil.{name}", returning(answer), raising=False)
    found = make({}).surroundings()
    assert {field: getattr(found, field) for field in expected} == expected


@pytest.mark.parametrize(
    ("usable", "threads"), [(1.5, 2), (0.25, 1), (8.0, 8), (None, os.cpu_count())]
)
def test_usable_threads(
    monkeypatch: pytest.MonkeyPatch, usable: float | None, threads: int
) -> None:
    fake = SimpleNamespace(surroundings=lambda: Surroundings(quota_cores=usable))
    monkeypatch.setattr(system, "Sensors", lambda: fake)
    assert usable_threads() == threads


LINUX_TIMES = {
    "user": 100.0, "nice": 10.0, "system": 20.0, "idle": 900.0, "iowait": 50.0, "irq": 1.0,
    "softirq": 2.0, "steal": 7.5, "guest": 30.0, "guest_nice": 3.0,
}  # fmt: skip
MACOS_TIMES = {"user": 100.0, "nice": 10.0, "system": 20.0, "idle": 900.0}
WINDOWS_TIMES = {"user": 100.0, "system": 20.0, "idle": 900.0, "interrupt": 4.0, "dpc": 5.0}


def parent(answer: Any) -> SimpleNamespace:
    return SimpleNamespace(cpu_times=returning(answer))


def zeroed_swap(*_: object) -> Any:
    """As psutil does where it can't read the counters."""
    warnings.warn("'sin' and 'sout' were set to 0", RuntimeWarning, stacklevel=2)
    return SimpleNamespace(total=1, used=1, sin=0, sout=0)


@pytest.mark.parametrize(
    ("name", "function", "expected"),
    [
        *(
            ("cpu_times", returning(SimpleNamespace(_asdict=lambda times=times: times)),
             {"busy_cpu_seconds": busy, "steal_seconds": steal})
            for times, busy, steal in (
                (LINUX_TIMES, 133.0, 7.5),  # guests are included in user and nice
                (MACOS_TIMES, 130.0, None),
                (WINDOWS_TIMES, 120.0, None),  # interrupts are included in system
            )
        ),
        *(
            ("Process.parent", returning(answer), {"family_cpu_seconds": seconds})
            for answer, seconds in (
                (parent((1.5, 0.25, 99.0, 99.0)), 1.75),
                (parent(psutil.NoSuchProcess(1)), None),
                (None, None),
                (FORBIDDEN, None),
            )
        ),
        ("swap_memory", returning(swap(0, 0)),
         {"swapped_bytes": None if sys.platform == "win32" else 42}),
        ("swap_memory", zeroed_swap, {"swapped_bytes": None}),
    ],
)  # fmt: skip
def test_counters(
    make: Make, monkeypatch: pytest.MonkeyPatch, name: str, function: Any, expected: dict[str, Any]
) -> None:
    monkeypatch.setattr(f"psutil.{name}", function)
    found = make({}).counters()
    assert {field: getattr(found, field) for field in expected} == expected


# Clocks


def test_own_processor_time(make: Make) -> None:
    sensors = make({})
    before = sensors.counters()
    while time.process_time() < before.own_cpu_seconds + 0.1:
        pass
    stretch = between(before, sensors.counters())
    assert stretch.own_cpu_seconds >= 0.1
    assert stretch.wall_seconds > 0


@pytest.mark.skipif(sys.platform not in {"linux", "darwin", "win32"}, reason="no such clock")
def test_suspended_time_of_an_awake_machine(make: Make) -> None:
    sensors = make({})
    stretch = between(sensors.counters(), sensors.counters())
    assert stretch.suspended_seconds == pytest.approx(0, abs=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="these clocks are Linux's")
def test_suspended_time_is_boot_time_minus_monotonic_time(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = {time.CLOCK_BOOTTIME: 5_000.0, time.CLOCK_MONOTONIC: 1_400.0}
    monkeypatch.setattr(system.time, "clock_gettime", clocks.__getitem__)
    assert make({}).counters().suspended_seconds == 3_600.0
    monkeypatch.setattr(system.sys, "platform", "haiku")
    assert make({}).counters().suspended_seconds is None


# Machines without sensors


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("/proc/stat"),
        PermissionError("/proc/stat"),
        psutil.AccessDenied(1),
        psutil.NoSuchProcess(1),
        NotImplementedError("can't find any"),
        RuntimeError("line 'btime' not found"),
        ValueError("not enough values to unpack"),
        KeyError("MemTotal:"),
        IndexError("list index out of range"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_sensor_fails(make: Make, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """As psutil does if a system lacks what it reads."""
    broken = returning(error)
    names = ("cpu_times", "cpu_count", "cpu_freq", "virtual_memory", "swap_memory", "Process")
    for name in (*names, "sensors_battery", "sensors_temperatures"):
        monkeypatch.setattr(psutil, name, broken, raising=False)
    monkeypatch.setattr(system.time, "clock_gettime", broken, raising=False)
    sensors = make({})
    memory = sensors.surroundings().memory_total_bytes  # by another way, where there is one
    assert sensors.surroundings() == Surroundings(memory_total_bytes=memory)
    values = sensors.counters().model_dump()
    known = {name for name, value in values.items() if value is not None}
    tick_count = {"suspended_seconds"} if sys.platform == "win32" else set()
    assert known - tick_count == {"clock_seconds", "own_cpu_seconds"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has one")
def test_linux_without_proc(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """psutil reads an empty folder instead of /proc."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(psutil, "sensors_battery", returning(None))
    monkeypatch.setattr(psutil, "sensors_temperatures", returning({}))
    monkeypatch.setattr(psutil, "cpu_freq", functools.partial(psutil.cpu_freq, percpu=False))
    sensors = make({})
    surroundings, counters = sensors.surroundings(), sensors.counters()
    clock_mhz = surroundings.clock_mhz  # of the real machine, if it has any
    # By another way than /proc.
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert surroundings == Surroundings(
        logical_cores=os.cpu_count(), clock_mhz=clock_mhz, memory_total_bytes=memory
    )
    assert counters.busy_cpu_seconds is counters.steal_seconds is counters.swapped_bytes is None
    assert counters.family_cpu_seconds is counters.memory_stall_seconds is None
    assert counters.own_cpu_seconds > 0


def test_sensors_of_this_machine() -> None:
    sensors = Sensors()
    surroundings, counters = sensors.surroundings(), sensors.counters()
    assert surroundings.logical_cores == os.cpu_count()
    assert 0 < (surroundings.memory_total_bytes or 0) <= psutil.virtual_memory().total
    assert surroundings.usable_cores is not None
    assert 0 < surroundings.usable_cores <= os.cpu_count()
    assert counters.busy_cpu_seconds is not None
    # Time of all processes includes that of one, except for what happened between the readings.
    assert counters.busy_cpu_seconds > 0.5 * counters.own_cpu_seconds
    assert counters.family_cpu_seconds is None or counters.family_cpu_seconds >= 0
    assert 1 <= usable_threads() <= os.cpu_count()
