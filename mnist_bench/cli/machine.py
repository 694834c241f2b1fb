"""The work of `mnist-bench machine`: what this machine is, and whether now is a time to measure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mnist_bench.core import formatting, locks
from mnist_bench.core.escaping import one_line
from mnist_bench.measurement import conditions, machine, quality
from mnist_bench.measurement.conditions import Stretch, Surroundings
from mnist_bench.measurement.machine import Machine
from mnist_bench.measurement.quality import Assessment
from mnist_bench.measurement.system import Sensors

WATCH_SECONDS = 3.0
_UNTOLD = "not told by this system"
_BUSY_CORES = 0.02
"""A program that took less of a core is not worth a word."""
_BUSIEST = 3
_STEADY_GOVERNOR = "performance"

_FREE_MEMORY = "free memory: close programs that hold much of it"
_ADVICE = {
    "other load": "close other programs, or wait until they are done",
    "steal": "the host of this virtual machine gives its processors to others: measure at a "
    "quieter time, or on processors of your own",
    "throttled": "raise the container's limit of processor time",
    "memory pressure": _FREE_MEMORY,
    "memory full": _FREE_MEMORY,
    "swapping": _FREE_MEMORY,
    "suspended": "keep the machine from going to sleep",
    "on battery": "plug in the charger",
    "limited cores": "raise the container's limit of processor time, or let the process use every "
    "core (its affinity)",
    "hot": "let the machine cool down",
}
"""What to change, by the words of the reason."""


@dataclass(frozen=True)
class Program:
    """A program at work beside us.

    Attributes:
        name: Of its processes.
        cores: Processor time that they took together, in cores.
    """

    name: str
    cores: float


@dataclass(frozen=True)
class MachineCheck:
    """The machine, watched for some seconds.

    Attributes:
        machine: What it is.
        surroundings: What it is like.
        seen: What its counters tell of these seconds.
        busiest: Programs that took most of its processors meanwhile, the busiest first.
        benchmarks: Others of this user's that measure now.
    """

    machine: Machine
    surroundings: Surroundings
    seen: Stretch
    busiest: tuple[Program, ...]
    benchmarks: tuple[locks.Holder, ...] = ()

    @property
    def judgement(self) -> Assessment:
        """Whether it is a good moment to measure."""
        return quality.assess_now(self.seen, self.surroundings)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to change, the most pressing first; each line once."""
        lines = [f"another benchmark runs here ({each})" for each in self.benchmarks]
        lines += [self._advice_on(reason.words) for reason in self.judgement.reasons]
        governor = self.surroundings.governor
        if governor not in (None, _STEADY_GOVERNOR):
            lines.append(
                f"the frequency governor is {governor}; {_STEADY_GOVERNOR} keeps the clock steadier"
            )
        return tuple(dict.fromkeys(lines))

    def _advice_on(self, words: str) -> str:
        line = _ADVICE.get(words, f"wait until this is over: {words}")
        if words == "other load" and self.busiest:
            names = (f"{program.name} ({_cores(program.cores)})" for program in self.busiest)
            line += f"; the busiest now: {', '.join(names)}"
        return line


def check_machine(
    seconds: float = WATCH_SECONDS,
    sensors: Sensors | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> MachineCheck:
    """Watch the machine for some seconds, without privileges.

    Args:
        seconds: How long.
        sensors: The machine's; tests stand in for them.
        pause: Lets these seconds pass.
    """
    sensors = sensors or Sensors()
    described = machine.describe()
    before, start = _cpu_seconds(), sensors.counters()
    pause(seconds)
    end, after = sensors.counters(), _cpu_seconds()
    seen = conditions.between(start, end)
    return MachineCheck(
        machine=described,
        surroundings=sensors.surroundings(),
        seen=seen,
        busiest=_busiest(before, after, seen.wall_seconds),
        benchmarks=locks.running(),
    )


def as_json(moment: MachineCheck) -> str:
    """All of it as one JSON document; what is not known is null."""
    judgement = moment.judgement
    told = {
        "schema": 1,
        "machine": moment.machine.model_dump(mode="json"),
        "surroundings": moment.surroundings.model_dump(mode="json"),
        "seen": moment.seen.model_dump(mode="json"),
        "verdict": judgement.verdict,
        "reasons": [reason.words for reason in judgement.reasons],
        "advice": list(moment.advice),
    }
    return json.dumps(told, indent=2)


def show(moment: MachineCheck, console: Console) -> None:
    """Print it for people, the verdict last: there the eye rests."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    lines = (
        *_machine_lines(moment.machine),
        *_lines_of_now(moment.surroundings),
        *_seen_lines(moment.seen, moment.surroundings),
        *_verdict_lines(moment),
    )
    for name, value in lines:
        table.add_row(name, Text(one_line(value)), style="bold" if name == "verdict" else None)
    console.print(table)


def _machine_lines(described: Machine) -> list[tuple[str, str]]:
    physical, logical = described.cores_physical, described.cores_logical
    libraries = (
        f"TensorFlow {described.tensorflow}, Keras {described.keras}, MLflow {described.mlflow}, "
        f"Optuna {described.optuna}, NumPy {described.numpy}, mnist-bench {described.mnist_bench}"
    )
    return [
        ("processor", described.cpu),
        ("cores", f"physical: {_or_untold(physical)}, logical: {_or_untold(logical)}"),
        ("memory", formatting.gibibytes(described.memory_bytes)),
        ("system", f"{described.system} {described.architecture}"),
        ("software", f"Python {described.python}, {libraries}"),
    ]


def _lines_of_now(now: Surroundings) -> list[tuple[str, str]]:
    quota = f"{now.quota_cores:g} cores" if now.quota_cores is not None else "none found"
    usable = f"{now.usable_cores:g}" if now.usable_cores is not None else _UNTOLD
    clock = f"{now.clock_mhz:,.0f} MHz" if now.clock_mhz is not None else _UNTOLD
    degrees = now.temperature_celsius
    return [
        ("usable cores", usable),
        ("container limit", quota),
        ("governor", now.governor or _UNTOLD),
        ("clock", clock),
        ("power", _power(now)),
        ("temperature", f"{degrees:.0f} °C" if degrees is not None else _UNTOLD),
        ("free memory", _size(now.memory_available_bytes)),
        ("swap in use", _size(now.swap_used_bytes)),
    ]


def _power(now: Surroundings) -> str:
    if now.on_battery is None:
        return _UNTOLD
    source = "battery" if now.on_battery else "mains"
    left = "" if now.battery_percent is None else f", battery at {now.battery_percent:.0f}%"
    return source + left


def _seen_lines(seen: Stretch, now: Surroundings) -> list[tuple[str, str]]:
    """What happened meanwhile; shares are of what was to be had."""
    cores = now.usable_cores or 1.0

    def share(seconds: float | None, of: float = 1.0) -> str:
        if seconds is None or seen.wall_seconds <= 0:
            return _UNTOLD
        # Ticks are counted coarsely: nothing may come out a little below 0.
        return formatting.percent(max(0.0, seconds / (seen.wall_seconds * of)))

    asleep = seen.suspended_seconds
    return [
        ("other programs", share(seen.other_cpu_seconds, cores)),
        ("steal", share(seen.steal_seconds, cores)),
        ("throttled", share(seen.throttled_seconds)),
        ("waits for memory", share(seen.memory_stall_seconds)),
        ("swapped", _size(seen.swapped_bytes)),
        ("suspended", formatting.duration(max(0.0, asleep)) if asleep is not None else _UNTOLD),
    ]


def _verdict_lines(moment: MachineCheck) -> list[tuple[str, str]]:
    judgement = moment.judgement
    meaning = {
        "clean": "a good moment to measure",
        "suspect": "figures of now would be doubted",
        "invalid": "figures of now would say little about this machine",
    }
    lines = [("verdict", f"{judgement.verdict}: {meaning[judgement.verdict]}")]
    lines += [("because of", f"{reason.words}: {reason.detail}") for reason in judgement.reasons]
    return lines + [("to change", line) for line in moment.advice]


def _size(size_bytes: int | None) -> str:
    return _UNTOLD if size_bytes is None else formatting.mebibytes(size_bytes)


def _or_untold(number: int | None) -> str:
    return _UNTOLD if number is None else str(number)


def _cores(cores: float) -> str:
    return f"{cores:.0%} of a core"


@dataclass(frozen=True)
class _Process:
    """One process, told apart from a later one with its number; a name may change."""

    pid: int
    started_at: float
    name: str = field(compare=False)


def _cpu_seconds() -> dict[_Process, float]:
    """Processor time of every process that may be looked at, but of this one."""
    ours = (0, psutil.Process().pid)  # Windows counts idle time as that of process 0
    found = {}
    for process in psutil.process_iter(["cpu_times", "create_time", "name"]):
        told = process.info
        if told["cpu_times"] is not None and process.pid not in ours:
            name = one_line(told["name"] or "") or "a program without a name"
            key = _Process(process.pid, told["create_time"] or 0.0, name)
            found[key] = float(told["cpu_times"].user + told["cpu_times"].system)
    return found


def _busiest(
    before: dict[_Process, float], after: dict[_Process, float], seconds: float
) -> tuple[Program, ...]:
    """Programs by the processor time of all their processes; one begun meanwhile counts whole."""
    taken: dict[str, float] = {}
    for process, cpu_seconds in after.items():
        spent = cpu_seconds - before.get(process, 0.0)
        taken[process.name] = taken.get(process.name, 0.0) + spent
    programs = (Program(name, spent / seconds) for name, spent in taken.items() if seconds > 0)
    busy = [program for program in programs if program.cores >= _BUSY_CORES]
    return tuple(sorted(busy, key=lambda program: -program.cores)[:_BUSIEST])
