"""`mnist-bench machine`: its table, advice and JSON for a constructed machine and this one."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import factories
import psutil
import pytest
from program import Bench
from rich.console import Console

from mnist_bench.cli import machine
from mnist_bench.cli.machine import MachineCheck, Program
from mnist_bench.core import locks
from mnist_bench.core.locks import Holder
from mnist_bench.measurement import quality
from mnist_bench.measurement.conditions import Counters, Stretch, Surroundings
from mnist_bench.measurement.system import Sensors

GIB = 2**30
QUIET = Stretch(wall_seconds=3.0, own_cpu_seconds=0.1, other_cpu_seconds=0.0)
UNDISTURBED = Surroundings(
    logical_cores=4,
    affinity_cores=4,
    governor="performance",
    clock_mhz=2_600.0,
    on_battery=False,
    battery_percent=80.0,
    temperature_celsius=61.5,
    memory_available_bytes=12 * GIB,
    memory_total_bytes=16 * GIB,
    swap_used_bytes=0,
)


def a_check(sample: dict[str, Any] | None = None, *, busiest: tuple[Program, ...] = (),
            benchmarks: tuple[Holder, ...] = (), **surroundings: Any) -> MachineCheck:  # fmt: skip
    return MachineCheck(
        machine=factories.machine(),
        surroundings=UNDISTURBED.model_copy(update=surroundings),
        sample=QUIET.model_copy(update=sample or {}),
        busiest=busiest,
        benchmarks=benchmarks,
    )


def lines_of(check: MachineCheck, width: int = 200) -> list[str]:
    console = Console(width=width, file=StringIO(), force_terminal=False, color_system=None)
    machine.show(check, console)
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def line(check: MachineCheck, name: str) -> str:
    (found,) = (each for each in lines_of(check) if each.startswith(f"{name} "))
    return found.removeprefix(name).strip()


def test_last_result_of_table_1() -> None:
    assert "Table I " not in "\n".join(lines_of(a_check()))
    scored = replace(a_check(), score="2026-01-31: This machine: 0.87 of the reference's speed")
    assert line(scored, "Table I") == "2026-01-31: This machine: 0.87 of the reference's speed"


# The table

BUSY = {"other_cpu_seconds": 3.0}
CLOSE = "close other programs, or wait until they are done"


@pytest.mark.parametrize(
    ("check", "name", "value"),
    [
        (a_check(), "processor", "Imaginary CPU"),
        (a_check(), "cores", "physical: 2, logical: 4"),
        (a_check(), "memory", "16.0 GiB"),
        (a_check(), "system", "Linux 6.1 x86_64"),
        (a_check(), "usable cores", "4"),
        (a_check(), "container limit", "none found"),
        (a_check(), "governor", "performance"),
        (a_check(), "clock", "2,600 MHz"),
        (a_check(), "power", "mains, battery at 80%"),
        (a_check(), "temperature", "62 °C"),
        (a_check(), "free memory", "12,288 MiB"),
        (a_check(), "swap in use", "0 MiB"),
        (a_check(), "other programs", "0.0%"),
        (a_check(), "verdict", "clean: a good time to measure"),
        # Other load is a share of the cores of the affinity; coarse ticks may make it negative.
        (a_check(BUSY, affinity_cores=2), "other programs", "50.0%"),
        (a_check(BUSY, quota_cores=2.0), "other programs", "25.0%"),
        (a_check(BUSY, affinity_cores=1, logical_cores=1), "other programs", "100.0%"),
        (
            dataclasses.replace(a_check(), memory_limit_bytes=600 * 2**20),
            "container limit",
            "600 MiB of memory",
        ),
        (a_check(BUSY, quota_cores=2.0), "container limit", "2 cores"),
        (a_check({"other_cpu_seconds": -0.02}), "other programs", "0.0%"),
        (a_check(BUSY, busiest=(Program("[red]\x1b[31mx\n", 1.0),)), "to change",
         f"{CLOSE}; busiest now: [red][31mx (100% of a core)"),
    ],
)  # fmt: skip
def test_table(check: MachineCheck, name: str, value: str) -> None:
    assert line(check, name) == value


@pytest.mark.parametrize(
    "name",
    [
        *("governor", "clock", "power", "temperature", "free memory", "swap in use"),
        *("steal", "throttled", "waits for memory", "swapped", "suspended"),
    ],
)
def test_values_that_the_system_does_not_report(name: str) -> None:
    bare = Surroundings(logical_cores=4).model_dump()
    assert line(a_check(**bare), name) == "not reported by this system"


@pytest.mark.parametrize("width", [40, 80])
def test_table_fits_a_narrow_terminal(width: int) -> None:
    check = a_check({"other_cpu_seconds": 12.0}, busiest=(Program("a-program-of-long-name", 4.0),))
    assert max(map(len, lines_of(check, width))) <= width


# Advice

BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "other load": ({"other_cpu_seconds": 12.0}, {}, "close other programs"),
    "steal": ({"steal_seconds": 12.0}, {}, "quieter time"),
    "throttled": ({"throttled_seconds": 3.0}, {}, "raise the CPU limit"),
    "memory pressure": ({"memory_stall_seconds": 3.0}, {}, "free memory"),
    "suspended": ({"suspended_seconds": 60.0}, {}, "going to sleep"),
    "swapping": ({"swapped_bytes": GIB}, {}, "free memory"),
    "on battery": ({}, {"on_battery": True}, "plug in the charger"),
    "limited cores": ({}, {"quota_cores": 1.5}, "raise the CPU limit"),
    "hot": ({}, {"temperature_celsius": 120.0}, "cool down"),
    "memory full": ({}, {"memory_available_bytes": 0}, "free memory"),
}


@pytest.mark.parametrize("words", BAD)
def test_every_reason_has_its_advice(words: str) -> None:
    sample, surroundings, advice = BAD[words]
    bad = a_check(sample, **surroundings)
    assert [reason.words for reason in bad.assessment.reasons] == [words]
    assert bad.assessment.verdict != "clean"
    (line,) = bad.advice
    assert advice in line


def test_the_table_of_advice_is_complete() -> None:
    sample = Stretch(**{name: 1e9 for name in Stretch.model_fields if name != "swapped_bytes"})
    sample = sample.model_copy(update={"swapped_bytes": 10**12, "wall_seconds": 1.0})
    worst = UNDISTURBED.model_copy(
        update={"on_battery": True, "quota_cores": 1.0, "temperature_celsius": 200.0}
        | {"memory_available_bytes": 0}
    )
    words = {reason.words for reason in quality.assess_now(sample, worst).reasons}
    assert words == set(BAD) == set(machine._ADVICE)


HOLDER = Holder(pid=4711, began_at=1_700_000_000)


@pytest.mark.parametrize(
    ("check", "reasons", "advice"),
    [
        (a_check(), 0, ()),
        (a_check(benchmarks=(HOLDER,)), 0, (f"another benchmark is running here ({HOLDER})",)),
        (a_check(governor="powersave"), 0,
         ("the frequency governor is powersave; performance keeps the clock steadier",)),
        (a_check({"swapped_bytes": GIB, "memory_stall_seconds": 3.0}), 2,
         ("free memory: close programs that use much of it",)),
        (a_check({"other_cpu_seconds": 6.0},
                 busiest=(Program("backup", 1.25), Program("browser", 0.3))), 1,
         (f"{CLOSE}; busiest now: backup (125% of a core), browser (30% of a core)",)),
    ],
)  # fmt: skip
def test_advice(check: MachineCheck, reasons: int, advice: tuple[str, ...]) -> None:
    assert len(check.assessment.reasons) == reasons
    assert check.advice == advice
    shown = [each for each in lines_of(check) if each.startswith("to change ")]
    assert len(shown) == len(advice)


# JSON


def test_json() -> None:
    document = json.loads(machine.to_json(a_check({"other_cpu_seconds": 12.0}, on_battery=True)))
    keys = "schema machine surroundings seen verdict reasons advice"
    assert list(document) == keys.split()
    assert document["schema"] == 1
    assert document["machine"]["cpu"] == "Imaginary CPU"
    assert document["surroundings"]["clock_mhz"] == 2_600.0
    assert document["surroundings"]["quota_cores"] is None
    assert document["seen"]["other_cpu_seconds"] == 12.0
    assert document["seen"]["steal_seconds"] is None
    assert document["verdict"] == "invalid"
    assert document["reasons"] == ["other load", "on battery"]
    assert len(document["advice"]) == 2


# Observing


class FakeSensors(Sensors):
    """Sensors with a clock that the test advances."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0

    def counters(self) -> Counters:
        return Counters(clock_seconds=self.now, own_cpu_seconds=0.0, busy_cpu_seconds=self.now / 2)

    def surroundings(self) -> Surroundings:
        return UNDISTURBED

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.usefixtures("home")
def test_check_takes_differences_of_counters() -> None:
    sensors = FakeSensors()
    check = machine.check_machine(3.0, sensors, sensors.wait)
    assert check.sample.wall_seconds == 3.0
    assert check.sample.other_cpu_seconds == 1.5
    assert check.sample.steal_seconds is None
    assert check.surroundings == UNDISTURBED
    assert check.benchmarks == locks.running() == ()


@pytest.mark.usefixtures("home")
def test_a_busy_program_is_found() -> None:
    """It uses a whole core; the check waits until it has used some CPU time."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        process = psutil.Process(busy.pid)

        def wait_for_cpu_time(_: float) -> None:
            before = process.cpu_times().user
            while process.cpu_times().user < before + 0.5:
                pass

        try:
            check = machine.check_machine(3.0, Sensors(), wait_for_cpu_time)
            name = process.name()
        finally:
            busy.kill()
    assert name in {program.name for program in check.busiest}


def test_busiest_programs() -> None:
    first, second, idle = (
        machine._Process(pid, 5.0, name)
        for pid, name in ((1, "backup"), (2, "backup"), (3, "idle"))
    )
    before = {first: 10.0, idle: 5.0}
    after = {first: 11.0, second: 0.5, idle: 5.01}
    assert machine._busiest(before, after, 3.0) == (Program("backup", 0.5),)
    # At most three are named, busiest first.
    after = {machine._Process(pid, 5.0, f"p{pid}"): float(pid) for pid in range(1, 6)}
    assert [each.name for each in machine._busiest({}, after, 1.0)] == ["p5", "p4", "p3"]
    assert machine._busiest({}, after, 0.0) == ()


def test_the_command_prints_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "check_machine", a_check)
    ended = Bench(tmp_path).call("machine", COLUMNS="60")
    assert (ended.status, ended.stderr) == (0, "")
    assert "clean: a good time to measure" in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 60
