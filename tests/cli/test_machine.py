"""`mnist-bench machine`: what it shows of a machine made by hand, and of this one."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest
from factories import machine
from program import Bench
from rich.console import Console

from mnist_bench.cli import machine as moment
from mnist_bench.cli.machine import MachineCheck, Program
from mnist_bench.core import locks, process_identity
from mnist_bench.core.locks import Holder
from mnist_bench.measurement import quality
from mnist_bench.measurement.conditions import Counters, Stretch, Surroundings
from mnist_bench.measurement.system import Sensors

GIB = 2**30
QUIET = Stretch(wall_seconds=3.0, own_cpu_seconds=0.1, other_cpu_seconds=0.0)
ORDERLY = Surroundings(
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
UNTOLD = "not told by this system"
UNTOLD_LINES = (
    *("governor", "clock", "power", "temperature", "free memory", "swap in use"),
    *("steal", "throttled", "waits for memory", "swapped", "suspended"),
)


def a_moment(
    seen: dict[str, Any] | None = None, busiest: tuple[Program, ...] = (), **surroundings: Any
) -> MachineCheck:
    return MachineCheck(
        machine=machine(),
        surroundings=ORDERLY.model_copy(update=surroundings),
        seen=QUIET.model_copy(update=seen or {}),
        busiest=busiest,
    )


def lines_of(shown: MachineCheck, width: int = 100) -> list[str]:
    console = Console(width=width, file=StringIO(), force_terminal=False, color_system=None)
    moment.show(shown, console)
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def line(shown: MachineCheck, name: str) -> str:
    (found,) = (each for each in lines_of(shown, 200) if each.startswith(f"{name} "))
    return found.removeprefix(name).strip()


# What is shown


def test_a_quiet_machine_is_clean_and_needs_no_advice() -> None:
    assert a_moment().advice == ()
    assert line(a_moment(), "verdict") == "clean: a good moment to measure"
    assert not any(each.startswith("to change") for each in lines_of(a_moment()))


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
def test_figures(name: str, value: str) -> None:
    assert line(a_moment(), name) == value


@pytest.mark.parametrize(
    "name",
    UNTOLD_LINES,
)
def test_a_figure_that_the_system_does_not_tell_is_said_to_be_absent(name: str) -> None:
    bare = MachineCheck(machine=machine(), surroundings=BARE, seen=QUIET, busiest=())
    assert line(bare, name) == UNTOLD


def test_what_others_took_is_a_share_of_all_usable_cores() -> None:
    busy = a_moment({"other_cpu_seconds": 3.0}, quota_cores=2.0)
    assert line(busy, "other programs") == "50.0%"
    assert line(busy, "container limit") == "2 cores"


def test_ticks_counted_coarsely_show_no_less_than_nothing() -> None:
    assert line(a_moment({"other_cpu_seconds": -0.02}), "other programs") == "0.0%"


def test_no_name_of_a_program_steers_the_terminal() -> None:
    shown = a_moment({"other_cpu_seconds": 12.0}, (Program("[red]\x1b[31mx\n", 1.0),))
    text = "\n".join(lines_of(shown, 200))
    assert "[red][31mx (100% of a core)" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [40, 80])
def test_it_fits_a_narrow_terminal(width: int) -> None:
    shown = a_moment({"other_cpu_seconds": 12.0}, (Program("a-program-of-long-name", 4.0),))
    assert max(map(len, lines_of(shown, width))) <= width


# Advice

BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "other load": ({"other_cpu_seconds": 12.0}, {}, "close other programs"),
    "steal": ({"steal_seconds": 12.0}, {}, "quieter time"),
    "throttled": ({"throttled_seconds": 3.0}, {}, "raise the container's limit"),
    "memory pressure": ({"memory_stall_seconds": 3.0}, {}, "free memory"),
    "suspended": ({"suspended_seconds": 60.0}, {}, "going to sleep"),
    "swapping": ({"swapped_bytes": GIB}, {}, "free memory"),
    "on battery": ({}, {"on_battery": True}, "plug in the charger"),
    "limited cores": ({}, {"quota_cores": 1.5}, "raise the container's limit"),
    "hot": ({}, {"temperature_celsius": 120.0}, "cool down"),
    "memory full": ({}, {"memory_available_bytes": 0}, "free memory"),
}


@pytest.mark.parametrize("words", BAD)
def test_every_reason_has_its_advice(words: str) -> None:
    seen, surroundings, advice = BAD[words]
    bad = a_moment(seen, **surroundings)
    assert [reason.words for reason in bad.judgement.reasons] == [words]
    assert bad.judgement.verdict != "clean"
    (told,) = bad.advice
    assert advice in told


def test_no_reason_of_a_moment_goes_without_advice() -> None:
    seen = Stretch(**{name: 1e9 for name in Stretch.model_fields if name != "swapped_bytes"})
    seen = seen.model_copy(update={"swapped_bytes": 10**12, "wall_seconds": 1.0})
    worst = ORDERLY.model_copy(
        update={"on_battery": True, "quota_cores": 1.0, "temperature_celsius": 200.0}
        | {"memory_available_bytes": 0}
    )
    words = {reason.words for reason in quality.assess_now(seen, worst).reasons}
    assert words == set(BAD) == set(moment._ADVICE)


def test_the_busiest_programs_are_named() -> None:
    busiest = Program("backup", 1.25), Program("browser", 0.3)
    (told,) = a_moment({"other_cpu_seconds": 6.0}, busiest).advice
    assert told.endswith("the busiest now: backup (125% of a core), browser (30% of a core)")


def test_a_governor_that_saves_power_is_a_hint_and_no_reason() -> None:
    saving = a_moment(governor="powersave")
    assert saving.judgement.verdict == "clean"
    (told,) = saving.advice
    assert told == "the frequency governor is powersave; performance keeps the clock steadier"


def test_another_benchmark_is_told() -> None:
    holder = Holder(owner=process_identity.current_process("m"), began_at=1_700_000_000.0)
    beside = MachineCheck(
        machine=machine(), surroundings=ORDERLY, seen=QUIET, busiest=(), benchmarks=(holder,)
    )
    (told,) = beside.advice
    assert told == f"another benchmark runs here ({holder})"


def test_the_same_advice_is_given_once() -> None:
    twice = a_moment({"swapped_bytes": GIB, "memory_stall_seconds": 3.0})
    assert len(twice.judgement.reasons) == 2
    assert len(twice.advice) == 1


# JSON


def test_json() -> None:
    told = json.loads(moment.as_json(a_moment({"other_cpu_seconds": 12.0}, on_battery=True)))
    keys = "schema machine surroundings seen verdict reasons advice"
    assert list(told) == keys.split()
    assert told["schema"] == 1
    assert told["machine"]["cpu"] == "Imaginary CPU"
    assert told["surroundings"]["clock_mhz"] == 2_600.0
    assert told["surroundings"]["quota_cores"] is None
    assert told["seen"]["other_cpu_seconds"] == 12.0
    assert told["seen"]["steal_seconds"] is None
    assert told["verdict"] == "invalid"
    assert told["reasons"] == ["other load", "on battery"]
    assert len(told["advice"]) == 2


# The look


class Stand(Sensors):
    """Sensors of a machine that a clock of ours drives."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0

    def counters(self) -> Counters:
        return Counters(clock_seconds=self.now, own_cpu_seconds=0.0, busy_cpu_seconds=self.now / 2)

    def surroundings(self) -> Surroundings:
        return ORDERLY

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def nobody(home: Path) -> None:
    """Nobody measures in this home."""


@pytest.mark.usefixtures("nobody")
def test_the_look_is_the_difference_over_its_seconds() -> None:
    sensors = Stand()
    seen = moment.check_machine(3.0, sensors, sensors.wait)
    assert seen.seen.wall_seconds == 3.0
    assert seen.seen.other_cpu_seconds == 1.5
    assert seen.seen.steal_seconds is None
    assert seen.surroundings == ORDERLY
    assert seen.benchmarks == locks.running() == ()


@pytest.mark.usefixtures("nobody")
def test_a_busy_program_is_found() -> None:
    """It takes a whole core; the look lasts until it has had some time, however busy we are."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        process = psutil.Process(busy.pid)

        def until_it_has_worked(_: float) -> None:
            before = process.cpu_times().user
            while process.cpu_times().user < before + 0.5:
                pass

        try:
            seen = moment.check_machine(3.0, Sensors(), until_it_has_worked)
            name = process.name()
        finally:
            busy.kill()
    assert name in {program.name for program in seen.busiest}


def test_programs_are_added_up_by_name_and_idle_ones_left_out() -> None:
    first, second, idle = (
        moment._Process(1, 5.0, "backup"),
        moment._Process(2, 5.0, "backup"),
        moment._Process(3, 5.0, "idle"),
    )
    before = {first: 10.0, idle: 5.0}
    after = {first: 11.0, second: 0.5, idle: 5.01}
    assert moment._busiest(before, after, 3.0) == (Program("backup", 0.5),)


def test_three_programs_are_named_at_most_the_busiest_first() -> None:
    after = {moment._Process(pid, 5.0, f"p{pid}"): float(pid) for pid in range(1, 6)}
    assert [each.name for each in moment._busiest({}, after, 1.0)] == ["p5", "p4", "p3"]
    assert moment._busiest({}, after, 0.0) == ()


# The command


def test_the_command_here(bench: Bench) -> None:
    ended = bench.call("machine", "--json")
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.document["verdict"] in quality.VERDICTS
    assert ended.document["seen"]["wall_seconds"] >= moment.WATCH_SECONDS
    assert list(bench.folder.iterdir()) == []


def test_the_command_for_people(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment, "check_machine", a_moment)
    ended = bench.call("machine", COLUMNS="60")
    assert (ended.status, ended.stderr) == (0, "")
    assert "clean: a good moment to measure" in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 60


def test_the_command_loads_nothing_of_weight(bench: Bench) -> None:
    program = """
import sys
from mnist_bench.cli import main as cli
from mnist_bench.cli import machine as moment
moment.look = lambda: sys.exit(print(*sorted(sys.modules)))
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
