"""`mnist-bench machine`: describes this machine and checks whether it is quiet enough."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

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
from mnist_bench.measurement.system import Sensors, read_or_none

Number = TypeVar("Number", int, float)

WATCH_SECONDS = 3.0
_UNKNOWN = "not reported by this system"
_BUSY_CORES = 0.02
"""Programs that used less of a core are not named."""
_BUSIEST = 3
_STEADY_GOVERNOR = "performance"

_FREE_MEMORY = "free memory: close programs that use much of it"
_ADVICE = {
    "other load": "close other programs, or wait until they are done",
    "steal": "the host of this virtual machine gives its processors to others: measure at a "
    "quieter time, or on dedicated processors",
    "throttled": "raise the CPU limit of the container",
    "memory pressure": _FREE_MEMORY,
    "memory full": _FREE_MEMORY,
    "swapping": _FREE_MEMORY,
    "suspended": "keep the machine from going to sleep",
    "on battery": "plug in the charger",
    "limited cores": "raise the CPU limit of the container, or allow the process every core "
    "(CPU affinity)",
    "hot": "let the machine cool down",
}
"""What to change, by the name of the reason."""
_MEANING = {
    "clean": "a good time to measure",
    "suspect": "measurements would be doubtful now",
    "invalid": "measurements would be useless now",
}


@dataclass(frozen=True)
class Program:
    """CPU use of another program.

    Attributes:
        name: Name of its processes.
        cores: CPU time of all its processes, in cores.
    """

    name: str
    cores: float


@dataclass(frozen=True)
class MachineCheck:
    """State of the machine, observed for some seconds.

    Attributes:
        surroundings: State at the end.
        sample: Counters over these seconds.
        busiest: Other programs with the most CPU time, busiest first.
        benchmarks: Other running benchmarks of this user.
        memory_limit_bytes: Of a container; None without one.
    """

    machine: Machine
    surroundings: Surroundings
    sample: Stretch
    busiest: tuple[Program, ...]
    benchmarks: tuple[locks.Holder, ...] = ()
    score: str | None = None
    memory_limit_bytes: int | None = None

    @property
    def assessment(self) -> Assessment:
        """Whether now is a good time to measure."""
        return quality.assess_now(self.sample, self.surroundings)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to change, most important first, without duplicates."""
        lines = [f"another benchmark is running here ({each})" for each in self.benchmarks]
        lines += [self._advice_on(reason.words) for reason in self.assessment.reasons]
        governor = self.surroundings.governor
        if governor not in (None, _STEADY_GOVERNOR):
            lines.append(
                f"the frequency governor is {governor}; {_STEADY_GOVERNOR} keeps the clock steadier"
            )
        return tuple(dict.fromkeys(lines))

    def _advice_on(self, words: str) -> str:
        line = _ADVICE.get(words, f"wait until this ends: {words}")
        if words == "other load" and self.busiest:
            names = (f"{program.name} ({program.cores:.0%} of a core)" for program in self.busiest)
            line += f"; busiest now: {', '.join(names)}"
        return line


def check_machine(
    seconds: float = WATCH_SECONDS,
    sensors: Sensors | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> MachineCheck:
    """Observe the machine for some seconds, without privileges; tests replace the sensors."""
    sensors = sensors or Sensors()
    before, start = read_or_none(_cpu_seconds) or {}, sensors.counters()
    pause(seconds)
    end, after = sensors.counters(), read_or_none(_cpu_seconds) or {}
    sample = conditions.between(start, end)
    return MachineCheck(
        machine=machine.describe(),
        surroundings=sensors.surroundings(),
        sample=sample,
        busiest=_busiest(before, after, sample.wall_seconds),
        benchmarks=locks.running(),
        memory_limit_bytes=sensors.memory_limit_bytes(),
    )


def to_json(check: MachineCheck) -> str:
    """The check as one JSON document; unknown values are null."""
    assessment = check.assessment
    document = {
        "schema": 1,
        "machine": check.machine.model_dump(mode="json"),
        "surroundings": check.surroundings.model_dump(mode="json"),
        "seen": check.sample.model_dump(mode="json"),
        "verdict": assessment.verdict,
        "reasons": [reason.words for reason in assessment.reasons],
        "advice": list(check.advice),
    }
    return json.dumps(document, indent=2)


def show(check: MachineCheck, console: Console) -> None:
    """Print the check as a table, the verdict last."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    verdict = check.assessment.verdict
    lines = (
        *_machine_lines(check.machine),
        *_surroundings_lines(check.surroundings, check.memory_limit_bytes),
        *_sample_lines(check.sample, check.surroundings),
        *(("Table I", line) for line in [check.score] if line),
        ("verdict", f"{verdict}: {_MEANING[verdict]}"),
        *(("because of", f"{each.words}: {each.detail}") for each in check.assessment.reasons),
        *(("to change", line) for line in check.advice),
    )
    for name, value in lines:
        table.add_row(name, Text(one_line(value)), style="bold" if name == "verdict" else None)
    console.print(table)


def _machine_lines(described: Machine) -> list[tuple[str, str]]:
    physical, logical = _shown(described.cores_physical), _shown(described.cores_logical)
    libraries = (
        f"TensorFlow {described.tensorflow}, Keras {described.keras}, MLflow {described.mlflow}, "
        f"Optuna {described.optuna}, NumPy {described.numpy}, mnist-bench {described.mnist_bench}"
    )
    return [
        ("processor", described.cpu),
        ("cores", f"physical: {physical}, logical: {logical}"),
        ("memory", formatting.gibibytes(described.memory_bytes)),
        ("system", f"{described.system} {described.architecture}"),
        ("software", f"Python {described.python}, {libraries}"),
    ]


def _surroundings_lines(now: Surroundings, memory_limit_bytes: int | None) -> list[tuple[str, str]]:
    limits = [f"{now.quota_cores:g} cores"] if now.quota_cores is not None else []
    if memory_limit_bytes:
        limits.append(f"{formatting.mebibytes(memory_limit_bytes)} of memory")
    return [
        ("usable cores", _shown(now.usable_cores, "{:g}".format)),
        ("container limit", ", ".join(limits) or "none found"),
        ("governor", now.governor or _UNKNOWN),
        ("clock", _shown(now.clock_mhz, "{:,.0f} MHz".format)),
        ("power", _power(now)),
        ("temperature", _shown(now.temperature_celsius, "{:.0f} °C".format)),
        ("free memory", _shown(now.memory_available_bytes, formatting.mebibytes)),
        ("swap in use", _shown(now.swap_used_bytes, formatting.mebibytes)),
    ]


def _power(now: Surroundings) -> str:
    if now.on_battery is None:
        return _UNKNOWN
    source = "battery" if now.on_battery else "mains"
    left = "" if now.battery_percent is None else f", battery at {now.battery_percent:.0f}%"
    return source + left


def _sample_lines(sample: Stretch, now: Surroundings) -> list[tuple[str, str]]:
    """What happened while observing, as shares of the wall-clock or available CPU time."""
    wall = sample.wall_seconds
    of_all_cores = wall * (now.observed_cores or 1)

    def share(seconds: float | None, of: float) -> str:
        # Coarse clock ticks can make a difference slightly negative.
        return _shown(
            seconds if of > 0 else None, lambda s: formatting.percent(min(1.0, max(0.0, s / of)))
        )

    return [
        ("other programs", share(sample.other_cpu_seconds, of_all_cores)),
        ("steal", share(sample.steal_seconds, of_all_cores)),
        ("throttled", share(sample.throttled_seconds, wall)),
        ("waits for memory", share(sample.memory_stall_seconds, wall)),
        ("swapped", _shown(sample.swapped_bytes, formatting.mebibytes)),
        (
            "suspended",
            _shown(sample.suspended_seconds, lambda s: formatting.duration(max(0.0, s))),
        ),
    ]


def _shown(value: Number | None, form: Callable[[Number], str] = str) -> str:
    return _UNKNOWN if value is None else form(value)


@dataclass(frozen=True)
class _Process:
    """A process, identified by its start time too: ids are used again."""

    pid: int
    started_at: float
    name: str = field(compare=False)


def _cpu_seconds() -> dict[_Process, float]:
    """CPU seconds of every accessible process except this one."""
    excluded = (0, psutil.Process().pid)  # Windows counts idle time as that of process 0
    found = {}
    for process in psutil.process_iter(["cpu_times", "create_time", "name"]):
        info = process.info
        if info["cpu_times"] is not None and process.pid not in excluded:
            name = one_line(info["name"] or "") or "unnamed program"
            key = _Process(process.pid, info["create_time"] or 0.0, name)
            found[key] = float(info["cpu_times"].user + info["cpu_times"].system)
    return found


def _busiest(
    before: dict[_Process, float], after: dict[_Process, float], seconds: float
) -> tuple[Program, ...]:
    """Programs by the CPU time of their processes; a new process counts with all of its time."""
    used: dict[str, float] = {}
    for process, cpu_seconds in after.items():
        used_seconds = cpu_seconds - before.get(process, 0.0)
        used[process.name] = used.get(process.name, 0.0) + used_seconds
    programs = (Program(name, each / seconds) for name, each in used.items() if seconds > 0)
    busy = [program for program in programs if program.cores >= _BUSY_CORES]
    return tuple(sorted(busy, key=lambda program: -program.cores)[:_BUSIEST])
