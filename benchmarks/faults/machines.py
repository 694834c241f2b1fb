"""Machines that share a plan and a study on real servers, while faults are injected.

The workers are fakes that wait; PostgreSQL, MLflow's server, Optuna's storage and all processes are
real. Each machine has its own home.
"""

from __future__ import annotations

import contextlib
import random
import re
import secrets
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import fakes
import psutil
from invariants import Findings
from machine_invariants import check_store, check_work
from program import Bench, Running, free_port, patched_program
from servers import PostgreSql, postgresql, tracking_server
from table import Line

STUDY = "ours"
_HEARTBEAT_SECONDS = 2
"""Of the machines here. A machine that is silent for twice as long counts as dead."""
_LONG_SECONDS = 1_800.0
_START_SECONDS = 180.0
_SPACE = """
title = "Shared while things fail"
model = "paper-cnn"
dataset = "mnist-5k"
steps = 100
eval_every = 5

[parameters]
learning_rate = { low = 0.0001, high = 0.1, log = true }
batch_size = { low = 10, high = 100 }
"""
# Shifts the clock of this package, of MLflow and of trials in Optuna.
_CLOCK_AN_HOUR_AHEAD = """
import datetime, time
from optuna.storages._rdb import storage
_time, _datetime = time.time, datetime.datetime
time.time = lambda: _time() + 3600
class _Later(_datetime):
    @classmethod
    def now(cls, tz=None):
        return _datetime.now(tz) + datetime.timedelta(hours=1)
storage.datetime = _Later
"""


@dataclass(frozen=True)
class Drill:
    """Parameters of a drill.

    Attributes:
        faults: Number of faults to inject.
        trials: Half of them are shares of a plan, half are trials of a study.
        machines: Concurrent machines; the clock of the last is an hour ahead.
        seconds: Duration of a fake training.
        folder: Created here.
    """

    faults: int
    trials: int
    machines: int
    seconds: float
    seed: int
    folder: Path

    @property
    def half(self) -> int:
        """Number of shares, and of trials."""
        return self.trials // 2


class SharedServers:
    """PostgreSQL with both databases, and MLflow's server; each can be stopped."""

    def __init__(self, folder: Path, server: PostgreSql) -> None:
        self.server = server
        self.port = free_port()
        folder.mkdir(parents=True)
        self._bench = Bench(folder)
        self._serving = contextlib.ExitStack()

    def start(self) -> None:
        """Start MLflow's server and wait until it answers."""
        uri = self.server.url("mlflow")
        self._serving.enter_context(tracking_server(self._bench, self.port, uri))

    def stop(self) -> None:
        """Stop MLflow's server at once."""
        self._serving.close()

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of every machine."""
        return {
            "MNIST_BENCH_STORAGE": self.server.url("optuna"),
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{self.port}",
        }


@dataclass
class Machine:
    """A machine that works on the plan and the study.

    Attributes:
        running: Its command; None if it runs none.
        alive: Context of the command's process.
        output: Output of each of its commands, both streams.
        is_done: Whether its last command found no work left.
    """

    bench: Bench
    program: tuple[str, ...]
    running: Running | None = None
    alive: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    output: list[str] = field(default_factory=list)
    is_done: bool = False

    def start(self, environment: dict[str, str], *arguments: str) -> None:
        """Start a command on this machine."""
        self.alive = contextlib.ExitStack()
        started = self.bench.started(*arguments, program=self.program, **environment)
        self.running = self.alive.enter_context(started)

    @property
    def status(self) -> int | None:
        """Exit status of its command; None while it runs."""
        return self.running.process.poll() if self.running else 0

    def kill(self) -> None:
        """Kill all its processes at once, as a power failure would."""
        if self.running is None:
            return
        trial_runs = self.running.descendants()
        with contextlib.suppress(ProcessLookupError):
            self.running.process.kill()
        for each in trial_runs:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.close()

    def close(self) -> None:
        """Wait for its end and keep its output."""
        if self.running is not None:
            self.is_done = self.running.process.wait(_LONG_SECONDS) == 0
            self.output.append(self.running.stdout() + self.running.stderr())
            self.alive.close()
            self.running = None


def _program(seconds: float, *, clock: str) -> tuple[str, ...]:
    wait = f"time.sleep({seconds})"
    return patched_program(f"""{clock}
from mnist_bench.tuning import heartbeat
from mnist_bench.core import retry
from mnist_bench.runner import process
process.COMMAND = {fakes.trial_worker(wait)!r}
heartbeat.HEARTBEAT_SECONDS = {_HEARTBEAT_SECONDS}
retry.POLL_SECONDS = 0.5
""")


class DrillRun:
    """A drill in progress."""

    def __init__(self, drill: Drill, servers: SharedServers) -> None:
        self.drill, self.servers = drill, servers
        self.rng = random.Random(drill.seed)  # noqa: S311  # not used for security
        self.injected: Counter[str] = Counter()
        self.clocks_ahead = 0
        self._first = [fault for _, fault in self._faults]  # one of each kind, then random ones
        self.refusals: list[str] = []
        self.machines = [self._machine(number) for number in range(drill.machines)]

    def _machine(self, number: int) -> Machine:
        folder = self.drill.folder / f"machine-{number}"
        folder.mkdir(parents=True)
        bench = Bench(folder)
        (bench.folder / "ours.toml").write_text(_SPACE, encoding="utf-8", newline="\n")
        is_last = number == self.drill.machines - 1
        return Machine(
            bench, _program(self.drill.seconds, clock=_CLOCK_AN_HOUR_AHEAD if is_last else "")
        )

    @property
    def plan(self) -> tuple[str, ...]:
        """Command that shares a plan."""
        return ("run", "smoke", "--dataset", "mnist-5k", "--steps", "100",
                "--seeds", str(self.drill.half), "--no-report")  # fmt: skip

    @property
    def search(self) -> tuple[str, ...]:
        """Command that shares a study."""
        return ("tune", "--space", "ours.toml", "--study", STUDY, "--confirm", "0",
                "--trials", str(self.drill.half))  # fmt: skip

    def start(self) -> None:
        """Share plan and study, and start all machines."""
        first, second, *others = self.machines
        first.start(self.servers.environment, *self.plan)
        second.start(self.servers.environment, *self.search)
        for machine in (first, second):
            running = machine.running
            if running is not None:
                running.until(lambda: self._is_training(machine), _START_SECONDS)  # noqa: B023  # called at once
        for machine in others:
            self._join(machine)

    def _is_training(self, machine: Machine) -> bool:
        return bool(list(machine.bench.folder.glob("requests.jsonl")))

    def _join(self, machine: Machine) -> None:
        self.clocks_ahead += machine is self.machines[-1]
        machine.start(self.servers.environment, "join")

    def inject_fault(self) -> None:
        """Inject one fault, and recover from it."""
        weights, faults = zip(*self._faults, strict=True)
        chosen = self._first.pop() if self._first else self.rng.choices(faults, weights)[0]
        time.sleep(self.rng.uniform(0, 3))  # a random moment
        if (kind := chosen()) is not None:
            self.injected[kind] += 1
        self.rejoin()

    @property
    def _faults(self) -> list[tuple[int, Callable[[], str | None]]]:
        """Faults with their relative frequencies."""
        return [
            (10, self._killed), (8, self._stopped), (4, self._terminated),
            (4, self._database_restarted), (2, self._server_stopped), (1, self._refused),
        ]  # fmt: skip

    def rejoin(self) -> None:
        """Restart machines that have ended while work is left."""
        for machine in self.machines:
            if machine.running is not None and machine.status is None:
                continue
            machine.close()
            if not machine.is_done:
                self._join(machine)

    @property
    def is_done(self) -> bool:
        """Whether every machine has found no work left."""
        return all(m.is_done for m in self.machines)

    def finish(self) -> None:
        """Wait for all machines, and let the study's leader finish it."""
        deadline = time.monotonic() + _LONG_SECONDS
        while any(machine.status is None for machine in self.machines):
            if time.monotonic() > deadline:
                raise RuntimeError("the machines do not finish")
            time.sleep(0.5)
        leader = self.machines[0]
        for machine in self.machines:
            if machine.running is not None and machine.status:
                self.refusals.append(f"{machine.status}: {machine.running.stderr()[-500:]}")
            machine.close()
            self._run_to_end(machine, *self.plan)  # recovers what kills left behind
        self._run_to_end(leader, *self.search, "--resume")

    def _run_to_end(self, machine: Machine, *command: str) -> None:
        """Run a command that must succeed."""
        ended = machine.bench.run(
            *command, program=machine.program, seconds=_LONG_SECONDS, **self.servers.environment
        )
        machine.output.append(ended.stdout + ended.stderr)
        if ended.status:
            self.refusals.append(f"{command[0]} ended with {ended.status}: {ended.stderr[-500:]}")

    def _working(self) -> Machine | None:
        working = [m for m in self.machines if m.running is not None and m.status is None]
        return self.rng.choice(working) if working else None

    def _killed(self) -> str | None:
        """Kill a random working machine, if there is one."""
        if (machine := self._working()) is None:
            return None
        machine.kill()
        return "a machine is killed"

    def _terminated(self) -> str | None:
        if (machine := self._working()) is None or machine.running is None:
            return None
        number = self.rng.choice((signal.SIGINT, signal.SIGTERM))
        machine.running.process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            machine.running.process.wait(60)
        machine.kill()
        return "a machine is interrupted"

    def _stopped(self) -> str | None:
        """Suspend a machine with its workers for longer than its heartbeat allows."""
        if (machine := self._working()) is None or machine.running is None:
            return None
        processes = [psutil.Process(machine.running.process.pid), *machine.running.descendants()]
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in processes:
                each.suspend()
        time.sleep(_HEARTBEAT_SECONDS * self.rng.uniform(2.5, 5))
        for each in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.resume()
        return "a machine sleeps longer than its heartbeat"

    def _database_restarted(self) -> str:
        self.servers.server.stop()
        time.sleep(self.rng.uniform(0, 8))
        self.servers.server.start()
        return "the database is restarted, up to 8 s apart"

    def _server_stopped(self) -> str:
        self.servers.stop()
        time.sleep(self.rng.uniform(0, 60))
        self.servers.start()
        return "MLflow's server is away, up to a minute and its start"

    def _refused(self) -> str:
        """A wrong password must give a one-line error and change nothing."""
        bench = self.machines[0].bench
        wrong = {"MNIST_BENCH_STORAGE": self.servers.server.url("optuna", secrets.token_hex(8))}
        ended = bench.run("join", **(self.servers.environment | wrong))
        lines = [line for line in ended.stderr.splitlines() if line.startswith("mnist-bench: ")]
        if ended.status != 1 or len(lines) != 1 or "password" not in lines[0]:
            self.refusals.append(f"a wrong password: {ended.status}, {ended.stderr[-500:]}")
        return "a password is wrong"


def run_drill(drill: Drill) -> list[Line]:
    """Run a drill; return lines of the table. All findings are in the first line."""
    with _servers(drill.folder / "servers") as servers:
        drill_run = DrillRun(drill, servers)
        try:
            drill_run.start()
            while drill_run.injected.total() < drill.faults and not drill_run.is_done:
                drill_run.inject_fault()
                print(f"{drill_run.injected.total()}/{drill.faults}", end=" ", flush=True)
            drill_run.finish()
        finally:
            for machine in drill_run.machines:
                machine.kill()
        found = check_work(servers.server.url("optuna"), STUDY, drill.half)
        urls = servers.server.url("mlflow"), servers.server.url("optuna")
        found += check_store(*urls, STUDY, drill.half)
        found += _check_output(drill_run, servers.server.password)
    counts = drill_run.injected.most_common()
    counts.append(("a command begins whose clock is an hour ahead", drill_run.clocks_ahead))
    return [
        Line(kind=kind, tried=count, findings=found if index == 0 else Findings())
        for index, (kind, count) in enumerate(counts)
    ]


def _check_output(drill_run: DrillRun, password: str) -> Findings:
    """Tracebacks and passwords in the machines' output."""
    outputs = [text for machine in drill_run.machines for text in machine.output]
    traces = [text[-500:] for text in outputs if "Traceback" in text or _error_lines(text) > 1]
    shown = ["a password was shown" for text in outputs if password in text]
    errors = (without_folders(text) for text in (*drill_run.refusals, *traces))
    return Findings(wrongly_ended=tuple(errors), damaged=tuple(shown))


def without_folders(words: str) -> str:
    """A traceback without local folders."""
    return re.sub(r'File "[^"]*/', 'File "…/', words)


def _error_lines(words: str) -> int:
    """Number of error lines of one command."""
    return sum(line.startswith("mnist-bench: ") for line in words.splitlines())


@contextlib.contextmanager
def _servers(folder: Path) -> Iterator[SharedServers]:
    with postgresql("optuna", "mlflow") as server:
        servers = SharedServers(folder, server)
        try:
            servers.start()
            yield servers
        finally:
            servers.stop()
