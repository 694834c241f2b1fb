"""Sensors, with fake files and return values of many machines."""

from __future__ import annotations

import functools
import os
import sys
import time
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
QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"

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


ERRORS = [
    FileNotFoundError("/proc/stat"),
    PermissionError("/proc/stat"),
    psutil.AccessDenied(1),
    psutil.NoSuchProcess(1),
    NotImplementedError("can't find any"),
    RuntimeError("line 'btime' not found"),
    ValueError("not enough values to unpack"),
    KeyError("MemTotal:"),
    IndexError("list index out of range"),
]
"""What psutil raises if a system lacks what it reads."""


@pytest.fixture(params=ERRORS, ids=lambda error: type(error).__name__)
def error(request: pytest.FixtureRequest) -> Exception:
    return request.param


# Limits of control groups, v2


def test_quota_of_cgroup_v2(make: Make) -> None:
    sensors = make({"proc/self/cgroup": "0::/\n", f"{GROUPS}/cpu.max": "150000 100000\n"})
    assert sensors.quota_cores() == 1.5
    assert sensors.surroundings().quota_cores == 1.5


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000", None),
        ("100000 100000", 1.0),
        ("25000 100000", 0.25),
        ("400000 50000", 8.0),
        ("0 100000", None),
        ("100000 0", None),
        ("150000", None),
        ("many few", None),
        ("-1 100000", None),
        ("", None),
        ("\N{SUPERSCRIPT TWO} 100000", None),
    ],
)
def test_quota_values(make: Make, text: str, cores: float | None) -> None:
    sensors = make({"proc/self/cgroup": "0::/a.slice\n", f"{GROUPS}/a.slice/cpu.max": text})
    assert sensors.quota_cores() == cores


@pytest.mark.parametrize(
    ("outer", "middle", "inner", "cores"),
    [
        ("max 100000", "200000 100000", "max 100000", 2.0),
        ("150000 100000", "max 100000", "max 100000", 1.5),
        ("300000 100000", "200000 100000", "100000 100000", 1.0),
        ("100000 100000", "200000 100000", "300000 100000", 1.0),
        ("max 100000", "max 100000", "max 100000", None),
    ],
)
def test_the_tightest_nested_quota_counts(
    make: Make, outer: str, middle: str, inner: str, cores: float | None
) -> None:
    sensors = make(
        {
            "proc/self/cgroup": "0::/user.slice/session.scope\n",
            f"{GROUPS}/cpu.max": outer,
            f"{GROUPS}/user.slice/cpu.max": middle,
            f"{GROUPS}/user.slice/session.scope/cpu.max": inner,
        }
    )
    assert sensors.quota_cores() == cores


def test_a_sibling_groups_quota_is_ignored(make: Make) -> None:
    sensors = make(
        {
            "proc/self/cgroup": "0::/ours\n",
            f"{GROUPS}/ours/cpu.max": "max 100000",
            f"{GROUPS}/theirs/cpu.max": "10000 100000",
        }
    )
    assert sensors.quota_cores() is None


def test_quota_in_a_hybrid_layout(make: Make) -> None:
    sensors = make(
        {
            "proc/self/cgroup": "1:cpu:/\n0::/ours\n",
            f"{GROUPS}/unified/ours/cpu.max": "50000 100000",
        }
    )
    assert sensors.quota_cores() == 0.5


# Limits of control groups, v1

CGROUP_V1 = "9:name=systemd:/\n4:memory:/x\n3:cpuset:/x\n2:cpu,cpuacct:/docker/abc\n"


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
def test_quota_of_cgroup_v1(make: Make, mount: str) -> None:
    folder = f"{GROUPS}/{mount}/docker/abc"
    sensors = make(
        {
            "proc/self/cgroup": CGROUP_V1,
            f"{folder}/{QUOTA}": "150000\n",
            f"{folder}/{PERIOD}": "100000\n",
            f"{folder}/cpu.stat": "nr_periods 9\nnr_throttled 4\nthrottled_time 2500000000\n",
        }
    )
    assert sensors.quota_cores() == 1.5
    assert sensors.counters().throttled_seconds == 2.5


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [("-1", "100000", None), ("150000", "0", None), ("", "100000", None), ("x", "y", None)],
)
def test_no_quota_of_cgroup_v1(make: Make, quota: str, period: str, cores: float | None) -> None:
    top = f"{GROUPS}/cpu"
    sensors = make(
        {"proc/self/cgroup": "1:cpu:/\n", f"{top}/{QUOTA}": quota, f"{top}/{PERIOD}": period}
    )
    assert sensors.quota_cores() == cores


def test_quota_at_the_mount_point_inside_a_container(make: Make) -> None:
    """The path in /proc is that outside of the container."""
    sensors = make(
        {
            "proc/self/cgroup": CGROUP_V1,
            f"{GROUPS}/cpu/{QUOTA}": "200000",
            f"{GROUPS}/cpu/{PERIOD}": "100000",
        }
    )
    assert sensors.quota_cores() == 2.0


def test_a_parent_groups_quota_of_cgroup_v1(make: Make) -> None:
    docker = f"{GROUPS}/cpu/docker"
    sensors = make(
        {
            "proc/self/cgroup": CGROUP_V1,
            f"{docker}/{QUOTA}": "50000",
            f"{docker}/{PERIOD}": "100000",
            f"{docker}/abc/{QUOTA}": "-1",
            f"{docker}/abc/{PERIOD}": "100000",
        }
    )
    assert sensors.quota_cores() == 0.5


@pytest.mark.skipif(os.name != "posix", reason="makes a link")
def test_a_linked_folder_is_counted_once(make: Make, tmp_path: Path) -> None:
    folder = f"{GROUPS}/cpu,cpuacct/docker/abc"
    make(
        {
            "proc/self/cgroup": CGROUP_V1,
            f"{folder}/{QUOTA}": "150000",
            f"{folder}/{PERIOD}": "100000",
            f"{folder}/cpu.stat": "throttled_time 2500000000\n",
        }
    )
    (tmp_path / GROUPS / "cpu").symlink_to("cpu,cpuacct")
    assert make({}).counters().throttled_seconds == 2.5


# Throttling


def test_throttled_time_is_summed_over_all_parent_groups(make: Make) -> None:
    limit = "150000 100000"
    sensors = make(
        {
            "proc/self/cgroup": "0::/a/b\n",
            f"{GROUPS}/a/cpu.max": limit,
            f"{GROUPS}/a/cpu.stat": "usage_usec 7\nthrottled_usec 1500000\n",
            f"{GROUPS}/a/b/cpu.max": limit,
            f"{GROUPS}/a/b/cpu.stat": "usage_usec 7\nthrottled_usec 250000\n",
        }
    )
    assert sensors.counters().throttled_seconds == 1.75


@pytest.mark.parametrize(
    "text", ["", "usage_usec 7\n", "throttled_usec\n", "throttled_usec soon\n", "\N{SNOWMAN}"]
)
def test_a_group_without_throttled_time(make: Make, text: str) -> None:
    sensors = make(
        {
            "proc/self/cgroup": "0::/\n",
            f"{GROUPS}/cpu.max": "max 100000",
            f"{GROUPS}/cpu.stat": text,
        }
    )
    assert sensors.counters().throttled_seconds is None


def test_throttled_time_is_read_each_time(make: Make, tmp_path: Path) -> None:
    sensors = make(
        {
            "proc/self/cgroup": "0::/\n",
            f"{GROUPS}/cpu.max": "50000 100000",
            f"{GROUPS}/cpu.stat": "throttled_usec 0\n",
        }
    )
    before = sensors.counters()
    (tmp_path / GROUPS / "cpu.stat").write_text("throttled_usec 500000\n", encoding="ascii")
    assert between(before, sensors.counters()).throttled_seconds == 0.5


# No control group


@pytest.mark.parametrize(
    "text", [None, "", "\n", "garbled", "0", "0:", "1:cpu", "0::/gone", "4:memory:/x", "::::"]
)
def test_no_control_group(make: Make, text: str | None) -> None:
    sensors = make({} if text is None else {"proc/self/cgroup": text})
    assert sensors.quota_cores() is None
    assert sensors.counters().throttled_seconds is None


def test_unreadable_control_groups(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make({"proc/self/cgroup": "0::/\n", f"{GROUPS}/cpu.max": "50000 100000"})
    monkeypatch.setattr(Path, "exists", returning(PermissionError("no")))
    assert Sensors(root=tmp_path).quota_cores() is None


# Memory pressure and the governor


PRESSURE = """\
some avg10=0.00 avg60=0.12 avg300=0.05 total=2500000
full avg10=0.00 avg60=0.00 avg300=0.00 total=1000000
"""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (PRESSURE, 2.5),
        ("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", 0.0),
        ("full avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n", None),
        ("some avg10=0.00 total=soon\n", None),
        ("some\n", None),
        ("\N{SNOWMAN}", None),
        ("", None),
        (None, None),
    ],
)
def test_memory_pressure(make: Make, text: str | None, seconds: float | None) -> None:
    sensors = make({} if text is None else {"proc/pressure/memory": text})
    assert sensors.counters().memory_stall_seconds == seconds


@pytest.mark.parametrize(
    ("text", "governor"), [("powersave\n", "powersave"), ("\n", None), (None, None)]
)
def test_governor(make: Make, text: str | None, governor: str | None) -> None:
    path = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    sensors = make({} if text is None else {path: text})
    assert sensors.surroundings().governor == governor


# Power


@pytest.mark.parametrize(("plugged", "on_battery"), [(True, False), (False, True), (None, None)])
def test_battery(
    make: Make, monkeypatch: pytest.MonkeyPatch, *, plugged: bool | None, on_battery: bool | None
) -> None:
    battery = SimpleNamespace(percent=42, secsleft=-1, power_plugged=plugged)
    monkeypatch.setattr(psutil, "sensors_battery", returning(battery), raising=False)
    surroundings = make({}).surroundings()
    assert (surroundings.on_battery, surroundings.battery_percent) == (on_battery, 42.0)


def test_no_battery(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", returning(None), raising=False)
    surroundings = make({}).surroundings()
    assert surroundings.on_battery is surroundings.battery_percent is None


def test_psutil_without_battery_support(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil, "sensors_battery", raising=False)
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    surroundings = make({}).surroundings()
    assert (
        surroundings.on_battery
        is surroundings.battery_percent
        is surroundings.temperature_celsius
        is None
    )


def test_a_failing_battery_sensor(
    make: Make, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", returning(error), raising=False)
    surroundings = make({}).surroundings()
    assert surroundings.on_battery is surroundings.battery_percent is None


# Frequency


@pytest.mark.parametrize(
    ("answer", "clock_mhz"),
    [
        (SimpleNamespace(current=2_400, min=0.0, max=0.0), 2_400.0),
        (SimpleNamespace(current=0.0, min=0.0, max=0.0), None),
        (None, None),
    ],
)
def test_frequency(
    make: Make, monkeypatch: pytest.MonkeyPatch, answer: Any, clock_mhz: float | None
) -> None:
    monkeypatch.setattr(psutil, "cpu_freq", returning(answer), raising=False)
    assert make({}).surroundings().clock_mhz == clock_mhz


def test_no_frequency(make: Make, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(psutil, "cpu_freq", returning(error), raising=False)
    assert make({}).surroundings().clock_mhz is None


# Temperature


def degrees(*values: float | None) -> list[SimpleNamespace]:
    return [SimpleNamespace(label="", current=value, high=None, critical=None) for value in values]


@pytest.mark.parametrize(
    ("answer", "celsius"),
    [
        ({"coretemp": degrees(51.0, 63.5, 60.0)}, 63.5),
        ({"k10temp": degrees(40), "nvme": degrees(90.0)}, 40.0),
        ({"cpu_thermal": degrees(48.0), "acpitz": degrees(27.8)}, 48.0),
        ({"coretemp": degrees(None, 44.0)}, 44.0),
        ({"coretemp": degrees(0.0, None)}, None),
        ({"nvme": degrees(90.0)}, None),
        ({"coretemp": []}, None),
        ({}, None),
    ],
)
def test_temperature(
    make: Make, monkeypatch: pytest.MonkeyPatch, answer: Any, celsius: float | None
) -> None:
    monkeypatch.setattr(psutil, "sensors_temperatures", returning(answer), raising=False)
    assert make({}).surroundings().temperature_celsius == celsius


def test_no_temperature(make: Make, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(psutil, "sensors_temperatures", returning(error), raising=False)
    assert make({}).surroundings().temperature_celsius is None


# Memory and cores


def test_memory(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(available=3 * 2**30, total=16 * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", returning(memory))
    surroundings = make({}).surroundings()
    assert surroundings.memory_available_bytes == 3 * 2**30
    assert surroundings.memory_total_bytes == 16 * 2**30


@pytest.mark.parametrize(
    ("total", "used", "expected"), [(2**32, 0, 0), (2**32, 7, 7), (0, 0, None)]
)
def test_swap(
    make: Make, monkeypatch: pytest.MonkeyPatch, total: int, used: int, expected: int | None
) -> None:
    """Without swap, the swap in use is unknown and not 0."""
    swap = SimpleNamespace(total=total, used=used, sin=40, sout=2)
    monkeypatch.setattr(psutil, "swap_memory", returning(swap))
    sensors = make({})
    assert sensors.surroundings().swap_used_bytes == expected
    assert sensors.counters().swapped_bytes == (None if sys.platform == "win32" else 42)


def test_swap_counters_that_psutil_can_not_read(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warns() -> Any:
        import warnings

        warnings.warn("'sin' and 'sout' were set to 0", RuntimeWarning, stacklevel=2)
        return SimpleNamespace(total=1, used=1, sin=0, sout=0)

    monkeypatch.setattr(psutil, "swap_memory", warns)
    assert make({}).counters().swapped_bytes is None


@pytest.mark.parametrize(("answer", "cores"), [([0, 2, 5], 3), ([], None)])
def test_affinity(
    make: Make, monkeypatch: pytest.MonkeyPatch, answer: list[int], cores: int | None
) -> None:
    monkeypatch.setattr(psutil.Process, "cpu_affinity", returning(answer), raising=False)
    assert make({}).surroundings().affinity_cores == cores


def test_a_system_without_affinity(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil.Process, "cpu_affinity", raising=False)
    monkeypatch.setattr(psutil, "cpu_count", returning(8))
    surroundings = make({}).surroundings()
    assert (surroundings.logical_cores, surroundings.affinity_cores, surroundings.usable_cores) == (
        8,
        None,
        8,
    )


@pytest.mark.parametrize(
    ("usable", "threads"), [(1.5, 2), (0.25, 1), (8.0, 8), (None, os.cpu_count())]
)
def test_usable_threads(
    monkeypatch: pytest.MonkeyPatch, usable: float | None, threads: int
) -> None:
    monkeypatch.setattr(system, "Sensors", lambda: SimpleNamespace(
        surroundings=lambda: Surroundings(quota_cores=usable)
    ))  # fmt: skip
    assert usable_threads() == threads


# Processor time

LINUX_TIMES = {
    "user": 100.0, "nice": 10.0, "system": 20.0, "idle": 900.0, "iowait": 50.0, "irq": 1.0,
    "softirq": 2.0, "steal": 7.5, "guest": 30.0, "guest_nice": 3.0,
}  # fmt: skip
MACOS_TIMES = {"user": 100.0, "nice": 10.0, "system": 20.0, "idle": 900.0}
WINDOWS_TIMES = {"user": 100.0, "system": 20.0, "idle": 900.0, "interrupt": 4.0, "dpc": 5.0}


@pytest.mark.parametrize(
    ("times", "busy", "steal"),
    [
        (LINUX_TIMES, 133.0, 7.5),  # guests are included in user and nice
        (MACOS_TIMES, 130.0, None),
        (WINDOWS_TIMES, 120.0, None),  # interrupts are included in system
    ],
)
def test_busy_and_steal_time(
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    times: dict[str, float],
    busy: float,
    steal: float | None,
) -> None:
    answer = SimpleNamespace(_asdict=lambda: times)
    monkeypatch.setattr(psutil, "cpu_times", returning(answer))
    counters = make({}).counters()
    assert (counters.busy_cpu_seconds, counters.steal_seconds) == (busy, steal)


def test_family_time_is_that_of_the_parent(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = SimpleNamespace(cpu_times=returning((1.5, 0.25, 99.0, 99.0)))
    monkeypatch.setattr(psutil.Process, "parent", returning(parent))
    assert make({}).counters().family_cpu_seconds == 1.75


def test_a_parent_that_has_ended(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = SimpleNamespace(cpu_times=returning(psutil.NoSuchProcess(1)))
    monkeypatch.setattr(psutil.Process, "parent", returning(parent))
    assert make({}).counters().family_cpu_seconds is None


@pytest.mark.parametrize("answer", [None, psutil.AccessDenied(1)])
def test_no_parent(make: Make, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr(psutil.Process, "parent", returning(answer))
    assert make({}).counters().family_cpu_seconds is None


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


# Machines without sensors


def test_an_unknown_system(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system.sys, "platform", "haiku")
    assert make({}).counters().suspended_seconds is None


def test_every_sensor_fails(make: Make, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    broken = returning(error)
    names = ("cpu_times", "cpu_count", "cpu_freq", "virtual_memory", "swap_memory", "Process")
    for name in (*names, "sensors_battery", "sensors_temperatures"):
        monkeypatch.setattr(psutil, name, broken, raising=False)
    monkeypatch.setattr(system.time, "clock_gettime", broken, raising=False)
    sensors = make({})
    assert sensors.surroundings() == Surroundings()
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
    assert (
        surroundings.memory_available_bytes
        is surroundings.memory_total_bytes
        is surroundings.swap_used_bytes
        is None
    )
    assert surroundings.affinity_cores is surroundings.quota_cores is None
    assert surroundings.logical_cores == os.cpu_count()
    assert counters.busy_cpu_seconds is counters.steal_seconds is counters.swapped_bytes is None
    assert counters.family_cpu_seconds is counters.memory_stall_seconds is None
    assert counters.own_cpu_seconds > 0


# This machine


def test_sensors_of_this_machine() -> None:
    sensors = Sensors()
    surroundings, counters = sensors.surroundings(), sensors.counters()
    assert surroundings.logical_cores == os.cpu_count()
    assert surroundings.memory_total_bytes == psutil.virtual_memory().total
    assert surroundings.usable_cores is not None
    assert 0 < surroundings.usable_cores <= os.cpu_count()
    assert counters.busy_cpu_seconds is not None
    # Time of all processes includes that of one, except for what happened between the readings.
    assert counters.busy_cpu_seconds > 0.5 * counters.own_cpu_seconds
    assert counters.family_cpu_seconds is None or counters.family_cpu_seconds >= 0
    assert 1 <= usable_threads() <= os.cpu_count()
