"""`mnist-bench machine`: its table, advice and JSON for a constructed machine and this one."""

from __future__ import annotations

import json
import subprocess
import sys
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
BARE = Surroundings(logical_cores=4)
UNKNOWN = "not reported by this system"
UNKNOWN_LINES = (
    *("governor", "clock", "power", "temperature", "free memory", "swap in use"),
    *("steal", "throttled", "waits for memory", "swapped", "suspended"),
)


def a_check(
    sample: dict[str, Any] | None = None, busiest: tuple[Program, ...] = (), **surroundings: Any
) -> MachineCheck:
    return MachineCheck(
        machine=factories.machine(),
        surroundings=UNDISTURBED.model_copy(update=surroundings),
        sample=QUIET.model_copy(update=sample or {}),
        busiest=busiest,
    )


def lines_of(check: MachineCheck, width: int = 100) -> list[str]:
    console = Console(width=width, file=StringIO(), force_terminal=False, color_system=None)
    machine.show(check, console)
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def line(check: MachineCheck, name: str) -> str:
    (found,) = (each for each in lines_of(check, 200) if each.startswith(f"{name} "))
    return found.removeprefix(name).strip()


# The table


def test_a_quiet_machine_is_clean_without_advice() -> None:
    assert a_check().advice == ()
    assert line(a_check(), "verdict") == "clean: a good time to measure"
    assert not any(each.startswith("to change") for each in lines_of(a_check()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("processor", "Imaginary CPU"),
        ("cores", "physical: 2, logical: 4"),
        ("memory", "16.0 GiB"),
        ("system", "Linux 6.1 x86_64"),
        ("usable cores", "4"),
        ("container limit", "none found"),
        ("governor", "performance"),
        ("clock", "2,600 MHz"),
        ("power", "mains, battery at 80%"),
        ("temperature", "62 °C"),
        ("free memory", "12,288 MiB"),
        ("swap in use", "0 MiB"),
        ("other programs", "0.0%"),
    ],
)
def test_table_values(name: str, value: str) -> None:
    assert line(a_check(), name) == value


@pytest.mark.parametrize(
    "name",
    UNKNOWN_LINES,
)
def test_values_that_the_system_does_not_report(name: str) -> None:
    bare = MachineCheck(machine=factories.machine(), surroundings=BARE, sample=QUIET, busiest=())
    assert line(bare, name) == UNKNOWN


def test_other_load_is_a_share_of_the_usable_cores() -> None:
    busy = a_check({"other_cpu_seconds": 3.0}, quota_cores=2.0)
    assert line(busy, "other programs") == "50.0%"
    assert line(busy, "container limit") == "2 cores"


def test_negative_cpu_time_is_shown_as_0() -> None:
    assert line(a_check({"other_cpu_seconds": -0.02}), "other programs") == "0.0%"


def test_program_names_are_escaped() -> None:
    check = a_check({"other_cpu_seconds": 12.0}, (Program("[red]\x1b[31mx\n", 1.0),))
    text = "\n".join(lines_of(check, 200))
    assert "[red][31mx (100% of a core)" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [40, 80])
def test_table_fits_a_narrow_terminal(width: int) -> None:
    check = a_check({"other_cpu_seconds": 12.0}, (Program("a-program-of-long-name", 4.0),))
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


def test_the_busiest_programs_are_named() -> None:
    busiest = Program("backup", 1.25), Program("browser", 0.3)
    (line,) = a_check({"other_cpu_seconds": 6.0}, busiest).advice
    assert line.endswith("busiest now: backup (125% of a core), browser (30% of a core)")


def test_a_power_saving_governor_gives_advice_but_no_reason() -> None:
    saving = a_check(governor="powersave")
    assert saving.assessment.verdict == "clean"
    (line,) = saving.advice
    assert line == "the frequency governor is powersave; performance keeps the clock steadier"


def test_another_benchmark_gives_advice() -> None:
    holder = Holder(pid=4711, began_at=1_700_000_000)
    check = MachineCheck(
        machine=factories.machine(),
        surroundings=UNDISTURBED,
        sample=QUIET,
        busiest=(),
        benchmarks=(holder,),
    )
    (line,) = check.advice
    assert line == f"another benchmark is running here ({holder})"


def test_advice_has_no_duplicates() -> None:
    twice = a_check({"swapped_bytes": GIB, "memory_stall_seconds": 3.0})
    assert len(twice.assessment.reasons) == 2
    assert len(twice.advice) == 1


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


@pytest.fixture
def no_benchmark(home: Path) -> None:
    """A home folder without running benchmarks."""


@pytest.mark.usefixtures("no_benchmark")
def test_check_takes_differences_of_counters() -> None:
    sensors = FakeSensors()
    check = machine.check_machine(3.0, sensors, sensors.wait)
    assert check.sample.wall_seconds == 3.0
    assert check.sample.other_cpu_seconds == 1.5
    assert check.sample.steal_seconds is None
    assert check.surroundings == UNDISTURBED
    assert check.benchmarks == locks.running() == ()


@pytest.mark.usefixtures("no_benchmark")
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


def test_cpu_time_is_summed_by_program_name_without_idle_programs() -> None:
    first, second, idle = (
        machine._Process(1, 5.0, "backup"),
        machine._Process(2, 5.0, "backup"),
        machine._Process(3, 5.0, "idle"),
    )
    before = {first: 10.0, idle: 5.0}
    after = {first: 11.0, second: 0.5, idle: 5.01}
    assert machine._busiest(before, after, 3.0) == (Program("backup", 0.5),)


def test_at_most_three_programs_are_named_busiest_first() -> None:
    after = {machine._Process(pid, 5.0, f"p{pid}"): float(pid) for pid in range(1, 6)}
    assert [each.name for each in machine._busiest({}, after, 1.0)] == ["p5", "p4", "p3"]
    assert machine._busiest({}, after, 0.0) == ()


# The command


def test_the_command_here(bench: Bench) -> None:
    ended = bench.call("machine", "--json")
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.document["verdict"] in quality.VERDICTS
    assert ended.document["seen"]["wall_seconds"] >= machine.WATCH_SECONDS
    assert list(bench.folder.iterdir()) == []


def test_the_command_prints_a_table(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "check_machine", a_check)
    ended = bench.call("machine", COLUMNS="60")
    assert (ended.status, ended.stderr) == (0, "")
    assert "clean: a good time to measure" in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 60


def test_the_command_loads_no_heavy_library(bench: Bench) -> None:
    program = """
import sys
from mnist_bench.cli import main as cli
from mnist_bench.cli import machine
machine.check_machine = lambda: sys.exit(print(*sorted(sys.modules)))
cli.main()
"""
    ended = bench.run("machine", program=(sys.executable, "-c", program))
    loaded = {name.partition(".")[0] for name in ended.stdout.split()}
    assert "mnist_bench" in loaded
    assert not loaded & {"tensorflow", "keras", "mlflow", "optuna", "pandas", "scipy", "mlxtend"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    parent = tmp_path / "user"
    parent.mkdir()
    return Bench(parent)
