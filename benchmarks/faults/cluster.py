"""Machines of a Dask cluster that train one plan, while faults are injected.

The trainings are fakes that wait; the scheduler, MLflow's server and all commands are real
processes. Each machine has its own home.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import fakes
import psutil
from invariants import Findings
from place import fake_program, outlived
from program import Bench, Running, free_port, wait_until
from servers import tracking_server
from table import Line

from mnist_bench.tracking import spool

_TTL_SECONDS = 5
"""The scheduler gives up a machine that is silent for so long."""
_LONG_SECONDS = 1_800.0
_STEPS = 100


@dataclass(frozen=True)
class Drill:
    """One cluster and its faults.

    Attributes:
        faults: Number of faults to inject.
        jobs: Trainings of the plan.
        machines: Joined machines.
        seconds: Duration of a fake training.
        folder: Created here.
    """

    faults: int
    jobs: int
    machines: int
    seconds: float
    seed: int
    folder: Path


@dataclass
class Command:
    """A command that is started again when it has ended.

    Attributes:
        arguments: Of the next start.
        output: Of each ended process, both streams.
    """

    bench: Bench
    program: tuple[str, ...]
    arguments: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)
    output: list[str] = field(default_factory=list)
    running: Running | None = None
    _started: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.running is None or self.status is not None:
            self.close()
            started = self.bench.started(*self.arguments, program=self.program, **self.variables)
            self.running = self._started.enter_context(started)

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs or was never started."""
        return self.running.process.poll() if self.running else None

    def processes(self) -> list[psutil.Process]:
        """The command and its training."""
        if self.running and self.status is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                return [psutil.Process(self.running.process.pid), *self.running.descendants()]
        return []

    def kill(self) -> None:
        """Kill all its processes at once, as a power failure would."""
        _each(self.processes(), psutil.Process.kill)
        self.close()

    def close(self) -> None:
        """Wait for its end and keep its output."""
        if self.running is not None:
            self.running.process.wait(_LONG_SECONDS)
            self.output.append(self.running.stdout() + self.running.stderr())
            self._started.close()
            self.running = None


def _each(processes: Iterable[psutil.Process], act: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            act(process)


class DrillRun:
    """A drill in progress."""

    def __init__(self, drill: Drill) -> None:
        self.drill = drill
        self.rng = random.Random(drill.seed)  # noqa: S311  # not used for security
        self.injected: Counter[str] = Counter()
        self.orphans: list[psutil.Process] = []
        port, self._server_port = free_port(), free_port()
        address = f"tcp://127.0.0.1:{port}"
        self._server_bench = self._bench("server")
        self.database = self._server_bench.folder / "server.db"
        self.serving = contextlib.ExitStack()
        self.scheduler = Command(
            self._bench("scheduler"),
            (sys.executable, "-P", "-m", "dask"),
            ("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"),
            {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{_TTL_SECONDS} seconds"},
        )
        program = fake_program(fakes.trial_worker(f"time.sleep({drill.seconds})"))
        self.machines = [
            Command(self._bench(f"machine-{n}"), program, ("join", address, "--no-exclusive"))
            for n in range(drill.machines)
        ]
        self.leader = Command(
            self._bench("leader"),
            program,
            ("run", "smoke", "--dataset", "mnist-5k", "--steps", str(_STEPS), "--no-report",
             "--seeds", str(drill.jobs), "--cluster", address, "--resume"),
            {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{self._server_port}"},
        )  # fmt: skip
        self.commands = [self.scheduler, self.leader, *self.machines]
        self._faults: dict[str, tuple[int, Callable[[], None]]] = {
            "a machine is killed": (10, lambda: self._some_machine().kill()),
            "a machine is stopped for longer than its time to live": (8, self._machine_stopped),
            "a machine is interrupted": (4, lambda: self._interrupt(self._some_machine())),
            "a training process is killed": (4, self._training_killed),
            "the leader is killed, and resumed": (3, self.leader.kill),
            "the leader is interrupted, and resumed": (2, lambda: self._interrupt(self.leader)),
            "the scheduler is killed, and started again": (2, self.scheduler.kill),
            "MLflow's server is away for up to 20 s and its start": (2, self._server_away),
        }
        """Each with its relative frequency."""
        self._first = list(self._faults)  # one of each kind, then random ones

    def _bench(self, name: str) -> Bench:
        folder = self.drill.folder / name
        folder.mkdir(parents=True)
        return Bench(folder)

    def start_server(self) -> None:
        """Start MLflow's server and wait until it answers."""
        uri = f"sqlite:///{self.database.as_posix()}"
        self.serving.enter_context(tracking_server(self._server_bench, self._server_port, uri))

    def restart(self) -> None:
        """Start again what has ended, unless the leader is done."""
        for command in self.commands if self.leader.status != 0 else ():
            command.start()

    def inject_fault(self) -> None:
        """Inject one fault, and recover from it."""
        weights = [weight for weight, _ in self._faults.values()]
        chosen = self._first.pop() if self._first else self.rng.choices([*self._faults], weights)[0]
        time.sleep(self.rng.uniform(0, 3))  # a random moment
        if self.leader.status == 0:
            return
        self._faults[chosen][1]()
        self.injected[chosen] += 1
        time.sleep(self.rng.uniform(0, 2))
        self.restart()

    def _some_machine(self) -> Command:
        working = [each for each in self.machines if each.status is None and each.running]
        return self.rng.choice(working or self.machines)

    def _machine_stopped(self) -> None:
        processes = self._some_machine().processes()
        _each(processes, psutil.Process.suspend)
        time.sleep(_TTL_SECONDS * self.rng.uniform(1.5, 3))
        _each(processes, psutil.Process.resume)

    def _training_killed(self) -> None:
        _each(self._some_machine().processes()[1:], psutil.Process.kill)

    def _server_away(self) -> None:
        self.serving.close()
        time.sleep(self.rng.uniform(0, 20))
        self.start_server()

    def _interrupt(self, command: Command, *signals: signal.Signals) -> None:
        if command.running is None:
            return
        self.orphans += command.running.descendants()
        number = self.rng.choice(signals or (signal.SIGINT, signal.SIGTERM))
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            command.running.process.send_signal(number)
            command.running.process.wait(60)
        command.kill()

    def finish(self) -> None:
        """Let the plan come to its end, and end everything else.

        Raises:
            RuntimeError: It does not come to its end.
        """
        deadline = time.monotonic() + _LONG_SECONDS
        while self.leader.status != 0:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the plan does not end: {self.leader.output[-1:]}")
            self.restart()
            time.sleep(0.5)
        self.leader.close()
        for command in (*self.machines, self.scheduler):
            self._interrupt(command, signal.SIGINT)

    def findings(self) -> Findings:
        """What is wrong in MLflow's database, in the leader's folder and in the output."""
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            runs = connection.execute(
                "SELECT params.value, runs.status, runs.start_time, tags.value FROM runs "
                "JOIN params ON params.key = 'seed' AND params.run_uuid = runs.run_uuid "
                "JOIN tags ON tags.key = 'bench.trajectory' AND tags.run_uuid = runs.run_uuid"
            ).fetchall()
            every = connection.execute("SELECT name, status FROM runs").fetchall()
        finished: dict[int, list[str]] = defaultdict(list)
        for seed, status, begun_at_ms, training in runs:
            if status == "FINISHED":
                finished[int(seed)].append(f"{training} of {begun_at_ms}")
        # The scheduler is Dask's own program, whose log has tracebacks.
        texts = [text for command in (self.leader, *self.machines) for text in command.output]
        spools = sorted((self.leader.bench.folder / spool.FOLDER).glob("*.jsonl"))
        return Findings(
            running=tuple(f"{name} is RUNNING" for name, status in every if status == "RUNNING"),
            lost=tuple(f"seed {n}" for n in range(self.drill.jobs) if n not in finished),
            doubled=tuple(
                f"seed {n}: {', '.join(each)}" for n, each in finished.items() if len(each) > 1
            ),
            wrongly_ended=tuple(text[-500:] for text in texts if "Traceback" in text),
            left_over=(
                *(f"{path.name} was not delivered" for path in spools),
                *outlived(self.orphans),
            ),
            figures=self.drill.jobs,
            runs=len(every),
        )


def run_drill(drill: Drill) -> list[Line]:
    """Run a drill; return lines of the table. All findings are in the first line."""
    drill_run = DrillRun(drill)
    try:
        drill_run.start_server()
        drill_run.restart()
        wait_until((drill_run.machines[0].bench.folder / "requests.jsonl").exists, 180)
        while drill_run.injected.total() < drill.faults and drill_run.leader.status != 0:
            drill_run.inject_fault()
            print(f"{drill_run.injected.total()}/{drill.faults}", end=" ", flush=True)
        drill_run.finish()
        found = drill_run.findings()
    finally:
        for command in drill_run.commands:
            command.kill()
        drill_run.serving.close()
    lines = [Line(kind, tried=count) for kind, count in drill_run.injected.most_common()]
    lines[0].findings = found
    return lines
