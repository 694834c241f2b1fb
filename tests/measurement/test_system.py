"""What the machine tells of itself, with files and answers that stand in for many machines."""

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
    """Sensors on a machine that has these files and no others."""

    def maker(files: dict[str, str]) -> Sensors:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return Sensors(root=tmp_path)

    return maker


def answering(answer: Any) -> Callable[..., Any]:
    """A function that gives, or raises, always the same."""

    def answered(*_: object, **__: object) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return answered


FAULTS = [
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
"""What psutil raises where a system has not what it looks for."""


@pytest.fixture(params=FAULTS, ids=lambda fault: type(fault).__name__)
def fault(request: pytest.FixtureRequest) -> Exception:
    return request.param


# Limits of control groups, second kind


def test_a_quota(make: Make) -> None:
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
def test_what_a_quota_says(make: Make, text: str, cores: float | None) -> None:
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
def test_the_tightest_of_nested_groups_counts(
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


def test_a_neighbours_limit_is_none_of_ours(make: Make) -> None:
    sensors = make(
        {
            "proc/self/cgroup": "0::/ours\n",
            f"{GROUPS}/ours/cpu.max": "max 100000",
            f"{GROUPS}/theirs/cpu.max": "10000 100000",
        }
    )
    assert sensors.quota_cores() is None


def test_a_mixed_layout(make: Make) -> None:
    sensors = make(
        {
            "proc/self/cgroup": "1:cpu:/\n0::/ours\n",
            f"{GROUPS}/unified/ours/cpu.max": "50000 100000",
        }
    )
    assert sensors.quota_cores() == 0.5


# First kind

FIRST_KIND = "9:name=systemd:/\n4:memory:/x\n3:cpuset:/x\n2:cpu,cpuacct:/docker/abc\n"


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
def test_a_quota_of_the_first_kind(make: Make, mount: str) -> None:
    folder = f"{GROUPS}/{mount}/docker/abc"
    sensors = make(
        {
            "proc/self/cgroup": FIRST_KIND,
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
def test_no_quota_of_the_first_kind(
    make: Make, quota: str, period: str, cores: float | None
) -> None:
    top = f"{GROUPS}/cpu"
    sensors = make(
        {"proc/self/cgroup": "1:cpu:/\n", f"{top}/{QUOTA}": quota, f"{top}/{PERIOD}": period}
    )
    assert sensors.quota_cores() == cores


def test_inside_a_container_the_groups_own_folder_is_the_top(make: Make) -> None:
    """The path is told as seen from outside."""
    sensors = make(
        {
            "proc/self/cgroup": FIRST_KIND,
            f"{GROUPS}/cpu/{QUOTA}": "200000",
            f"{GROUPS}/cpu/{PERIOD}": "100000",
        }
    )
    assert sensors.quota_cores() == 2.0


def test_a_parents_limit_of_the_first_kind(make: Make) -> None:
    docker = f"{GROUPS}/cpu/docker"
    sensors = make(
        {
            "proc/self/cgroup": FIRST_KIND,
            f"{docker}/{QUOTA}": "50000",
            f"{docker}/{PERIOD}": "100000",
            f"{docker}/abc/{QUOTA}": "-1",
            f"{docker}/abc/{PERIOD}": "100000",
        }
    )
    assert sensors.quota_cores() == 0.5


@pytest.mark.skipif(os.name != "posix", reason="makes a link")
def test_a_folder_under_two_names_is_counted_once(make: Make, tmp_path: Path) -> None:
    folder = f"{GROUPS}/cpu,cpuacct/docker/abc"
    make(
        {
            "proc/self/cgroup": FIRST_KIND,
            f"{folder}/{QUOTA}": "150000",
            f"{folder}/{PERIOD}": "100000",
            f"{folder}/cpu.stat": "throttled_time 2500000000\n",
        }
    )
    (tmp_path / GROUPS / "cpu").symlink_to("cpu,cpuacct")
    assert make({}).counters().throttled_seconds == 2.5


# Throttling


def test_throttled_time_is_that_of_every_group_above(make: Make) -> None:
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
def test_a_group_that_does_not_tell_its_throttling(make: Make, text: str) -> None:
    sensors = make(
        {
            "proc/self/cgroup": "0::/\n",
            f"{GROUPS}/cpu.max": "max 100000",
            f"{GROUPS}/cpu.stat": text,
        }
    )
    assert sensors.counters().throttled_seconds is None


def test_throttling_is_read_anew(make: Make, tmp_path: Path) -> None:
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


def test_groups_that_may_not_be_looked_into(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make({"proc/self/cgroup": "0::/\n", f"{GROUPS}/cpu.max": "50000 100000"})
    monkeypatch.setattr(Path, "exists", answering(PermissionError("no")))
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
    monkeypatch.setattr(psutil, "sensors_battery", answering(battery), raising=False)
    told = make({}).surroundings()
    assert (told.on_battery, told.battery_percent) == (on_battery, 42.0)


def test_no_battery(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", answering(None), raising=False)
    told = make({}).surroundings()
    assert told.on_battery is told.battery_percent is None


def test_a_psutil_that_knows_no_batteries(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil, "sensors_battery", raising=False)
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    told = make({}).surroundings()
    assert told.on_battery is told.battery_percent is told.temperature_celsius is None


def test_a_battery_that_breaks(
    make: Make, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", answering(fault), raising=False)
    told = make({}).surroundings()
    assert told.on_battery is told.battery_percent is None


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
    monkeypatch.setattr(psutil, "cpu_freq", answering(answer), raising=False)
    assert make({}).surroundings().clock_mhz == clock_mhz


def test_no_frequency(make: Make, monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    monkeypatch.setattr(psutil, "cpu_freq", answering(fault), raising=False)
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
    monkeypatch.setattr(psutil, "sensors_temperatures", answering(answer), raising=False)
    assert make({}).surroundings().temperature_celsius == celsius


def test_no_temperature(make: Make, monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    monkeypatch.setattr(psutil, "sensors_temperatures", answering(fault), raising=False)
    assert make({}).surroundings().temperature_celsius is None


# Memory and cores


def test_memory(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(available=3 * 2**30, total=16 * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", answering(memory))
    told = make({}).surroundings()
    assert told.memory_available_bytes == 3 * 2**30
    assert told.memory_total_bytes == 16 * 2**30


@pytest.mark.parametrize(
    ("total", "used", "expected"), [(2**32, 0, 0), (2**32, 7, 7), (0, 0, None)]
)
def test_swap(
    make: Make, monkeypatch: pytest.MonkeyPatch, total: int, used: int, expected: int | None
) -> None:
    """A machine without swap has none in use, which is something else than none of it."""
    swap = SimpleNamespace(total=total, used=used, sin=40, sout=2)
    monkeypatch.setattr(psutil, "swap_memory", answering(swap))
    sensors = make({})
    assert sensors.surroundings().swap_used_bytes == expected
    assert sensors.counters().swapped_bytes == (None if sys.platform == "win32" else 42)


def test_swap_of_which_psutil_only_guesses(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
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
    monkeypatch.setattr(psutil.Process, "cpu_affinity", answering(answer), raising=False)
    assert make({}).surroundings().affinity_cores == cores


def test_a_system_without_affinity(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil.Process, "cpu_affinity", raising=False)
    monkeypatch.setattr(psutil, "cpu_count", answering(8))
    told = make({}).surroundings()
    assert (told.logical_cores, told.affinity_cores, told.usable_cores) == (8, None, 8)


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
        (LINUX_TIMES, 133.0, 7.5),  # guests are in user and nice already
        (MACOS_TIMES, 130.0, None),
        (WINDOWS_TIMES, 120.0, None),  # interrupts are in system already
    ],
)
def test_busy_and_stolen_time(
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    times: dict[str, float],
    busy: float,
    steal: float | None,
) -> None:
    answer = SimpleNamespace(_asdict=lambda: times)
    monkeypatch.setattr(psutil, "cpu_times", answering(answer))
    told = make({}).counters()
    assert (told.busy_cpu_seconds, told.steal_seconds) == (busy, steal)


def test_time_of_the_family_is_the_parents(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = SimpleNamespace(cpu_times=answering((1.5, 0.25, 99.0, 99.0)))
    monkeypatch.setattr(psutil.Process, "parent", answering(parent))
    assert make({}).counters().family_cpu_seconds == 1.75


def test_a_parent_that_is_gone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = SimpleNamespace(cpu_times=answering(psutil.NoSuchProcess(1)))
    monkeypatch.setattr(psutil.Process, "parent", answering(parent))
    assert make({}).counters().family_cpu_seconds is None


@pytest.mark.parametrize("answer", [None, psutil.AccessDenied(1)])
def test_no_parent(make: Make, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr(psutil.Process, "parent", answering(answer))
    assert make({}).counters().family_cpu_seconds is None


def test_own_work_is_counted_as_own(make: Make) -> None:
    sensors = make({})
    before = sensors.counters()
    while time.process_time() < before.own_cpu_seconds + 0.1:
        pass
    happened = between(before, sensors.counters())
    assert happened.own_cpu_seconds >= 0.1
    assert happened.wall_seconds > 0


@pytest.mark.skipif(sys.platform not in {"linux", "darwin", "win32"}, reason="no such clock")
def test_a_machine_that_is_awake_is_not_suspended(make: Make) -> None:
    sensors = make({})
    happened = between(sensors.counters(), sensors.counters())
    assert happened.suspended_seconds == pytest.approx(0, abs=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="these clocks are Linux's")
def test_sleep_is_the_boot_clocks_lead(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = {time.CLOCK_BOOTTIME: 5_000.0, time.CLOCK_MONOTONIC: 1_400.0}
    monkeypatch.setattr(system.time, "clock_gettime", clocks.__getitem__)
    assert make({}).counters().suspended_seconds == 3_600.0


# Machines that tell nothing


def test_a_system_that_is_none_of_the_three(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system.sys, "platform", "haiku")
    assert make({}).counters().suspended_seconds is None


def test_everything_forbidden(
    make: Make, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    broken = answering(fault)
    names = ("cpu_times", "cpu_count", "cpu_freq", "virtual_memory", "swap_memory", "Process")
    for name in (*names, "sensors_battery", "sensors_temperatures"):
        monkeypatch.setattr(psutil, name, broken, raising=False)
    monkeypatch.setattr(system.time, "clock_gettime", broken, raising=False)
    sensors = make({})
    assert sensors.surroundings() == Surroundings()
    told = sensors.counters().model_dump()
    known = {name for name, value in told.items() if value is not None}
    tick_count = {"suspended_seconds"} if sys.platform == "win32" else set()
    assert known - tick_count == {"clock_seconds", "own_cpu_seconds"}


@pytest.mark.skipif(sys.platform != "linux", reason="no other system has one")
def test_a_linux_without_proc(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """psutil itself is led to an empty folder."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(psutil, "sensors_battery", answering(None))
    monkeypatch.setattr(psutil, "sensors_temperatures", answering({}))
    monkeypatch.setattr(psutil, "cpu_freq", functools.partial(psutil.cpu_freq, percpu=False))
    sensors = make({})
    told, counted = sensors.surroundings(), sensors.counters()
    assert told.memory_available_bytes is told.memory_total_bytes is told.swap_used_bytes is None
    assert told.affinity_cores is told.quota_cores is None
    assert told.logical_cores == os.cpu_count()
    assert counted.busy_cpu_seconds is counted.steal_seconds is counted.swapped_bytes is None
    assert counted.family_cpu_seconds is counted.memory_stall_seconds is None
    assert counted.own_cpu_seconds > 0


# This machine


def test_the_real_thing() -> None:
    sensors = Sensors()
    told, counted = sensors.surroundings(), sensors.counters()
    assert told.logical_cores == os.cpu_count()
    assert told.memory_total_bytes == psutil.virtual_memory().total
    assert told.usable_cores is not None
    assert 0 < told.usable_cores <= os.cpu_count()
    assert counted.busy_cpu_seconds is not None
    # The processor time of all holds that of one, but for what is counted between two readings.
    assert counted.busy_cpu_seconds > 0.5 * counted.own_cpu_seconds
    assert counted.family_cpu_seconds is None or counted.family_cpu_seconds >= 0
    assert 1 <= usable_threads() <= os.cpu_count()
