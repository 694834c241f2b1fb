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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import fakes
import psutil
from invariants import SPOOLS, Findings
from program import Bench, Running, free_port, is_alive, patched_program, wait_until
from servers import tracking_server
from table import Line

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
        output: Output of each ended process, both streams.
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
        if self.status is None and self.running is not None:
            return
        self.close()
        self._started = contextlib.ExitStack()
        self.running = self._started.enter_context(
            self.bench.started(*self.arguments, program=self.program, **self.variables)
        )

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs or was never started."""
        return self.running.process.poll() if self.running else None

    def processes(self) -> list[psutil.Process]:
        """The command and its training."""
        if self.running is None or self.status is not None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return [psutil.Process(self.running.process.pid), *self.running.descendants()]
        return []

    def kill(self) -> None:
        """Kill all its processes at once, as a power failure would."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.close()

    def close(self) -> None:
        """Wait for its end and keep its output."""
        if self.running is not None:
            self.running.process.wait(_LONG_SECONDS)
            self.output.append(self.running.stdout() + self.running.stderr())
            self._started.close()
            self.running = None


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
        self._serving = contextlib.ExitStack()
        self.scheduler = Command(
            self._bench("scheduler"),
            (sys.executable, "-P", "-m", "dask"),
            ("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"),
            {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{_TTL_SECONDS} seconds"},
        )
        worker = fakes.trial_worker(f"time.sleep({drill.seconds})")
        program = patched_program(
            f"from mnist_bench.runner import process\nprocess.COMMAND = {worker!r}"
        )
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
        self._first = [fault for _, fault in self._faults]  # one of each kind, then random ones

    def _bench(self, name: str) -> Bench:
        folder = self.drill.folder / name
        folder.mkdir(parents=True)
        return Bench(folder)

    @property
    def database(self) -> Path:
        """MLflow's."""
        return self._server_bench.folder / "server.db"

    @property
    def commands(self) -> list[Command]:
        """All commands."""
        return [self.scheduler, self.leader, *self.machines]

    def start_server(self) -> None:
        """Start MLflow's server and wait until it answers."""
        uri = f"sqlite:///{self.database.as_posix()}"
        self._serving = contextlib.ExitStack()
        self._serving.enter_context(tracking_server(self._server_bench, self._server_port, uri))

    def stop_server(self) -> None:
        """Stop MLflow's server at once."""
        self._serving.close()

    def restart(self) -> None:
        """Start again what has ended, unless the leader is done."""
        if self.leader.status == 0:
            return
        for command in self.commands:
            if command.status is not None or command.running is None:
                command.start()

    def inject_fault(self) -> None:
        """Inject one fault, and recover from it."""
        weights, faults = zip(*self._faults, strict=True)
        chosen = self._first.pop() if self._first else self.rng.choices(faults, weights)[0]
        time.sleep(self.rng.uniform(0, 3))  # a random moment
        if self.leader.status == 0:
            return
        self.injected[chosen()] += 1
        time.sleep(self.rng.uniform(0, 2))
        self.restart()

    @property
    def _faults(self) -> list[tuple[int, Callable[[], str]]]:
        """Faults with their relative frequencies."""
        return [
            (10, self._machine_killed), (8, self._machine_stopped), (4, self._machine_interrupted),
            (4, self._training_killed), (3, self._leader_killed), (2, self._leader_interrupted),
            (2, self._scheduler_killed), (2, self._server_away),
        ]  # fmt: skip

    def _some_machine(self) -> Command:
        working = [each for each in self.machines if each.status is None and each.running]
        return self.rng.choice(working or self.machines)

    def _machine_killed(self) -> str:
        self._some_machine().kill()
        return "a machine is killed"

    def _machine_stopped(self) -> str:
        processes = self._some_machine().processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        time.sleep(_TTL_SECONDS * self.rng.uniform(1.5, 3))
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        return "a machine is stopped for longer than its time to live"

    def _machine_interrupted(self) -> str:
        self._signal(self._some_machine(), self.rng.choice((signal.SIGINT, signal.SIGTERM)))
        return "a machine is interrupted"

    def _training_killed(self) -> str:
        for process in self._some_machine().processes()[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return "a training process is killed"

    def _leader_killed(self) -> str:
        self.leader.kill()
        return "the leader is killed, and resumed"

    def _leader_interrupted(self) -> str:
        self._signal(self.leader, self.rng.choice((signal.SIGINT, signal.SIGTERM)))
        return "the leader is interrupted, and resumed"

    def _scheduler_killed(self) -> str:
        self.scheduler.kill()
        return "the scheduler is killed, and started again"

    def _server_away(self) -> str:
        self.stop_server()
        time.sleep(self.rng.uniform(0, 20))
        self.start_server()
        return "MLflow's server is away for up to 20 s and its start"

    def _signal(self, command: Command, number: signal.Signals) -> None:
        if command.running is None:
            return
        self.orphans += command.running.descendants()
        with contextlib.suppress(ProcessLookupError):
            command.running.process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
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
            self._signal(command, signal.SIGINT)

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
        spools = sorted((self.leader.bench.folder / SPOOLS).glob("*.jsonl"))
        _, alive = psutil.wait_procs(self.orphans, timeout=60)
        return Findings(
            running=tuple(f"{name} is RUNNING" for name, status in every if status == "RUNNING"),
            lost=tuple(f"seed {n}" for n in range(self.drill.jobs) if n not in finished),
            doubled=tuple(
                f"seed {n}: {', '.join(each)}" for n, each in finished.items() if len(each) > 1
            ),
            wrongly_ended=tuple(text[-500:] for text in texts if "Traceback" in text),
            left_over=(
                *(f"{path.name} was not delivered" for path in spools),
                *(f"process {p.pid} outlived its parent" for p in alive if is_alive(p)),
            ),
            figures=self.drill.jobs,
            runs=len(every),
        )


def run_drill(drill: Drill) -> list[Line]:
    """Run a drill; return lines of the table. All findings are in the first line."""
    with _started(drill) as drill_run:
        while drill_run.injected.total() < drill.faults and drill_run.leader.status != 0:
            drill_run.inject_fault()
            print(f"{drill_run.injected.total()}/{drill.faults}", end=" ", flush=True)
        drill_run.finish()
        found = drill_run.findings()
    return [
        Line(kind=kind, tried=count, findings=found if index == 0 else Findings())
        for index, (kind, count) in enumerate(drill_run.injected.most_common())
    ]


@contextlib.contextmanager
def _started(drill: Drill) -> Iterator[DrillRun]:
    drill_run = DrillRun(drill)
    try:
        drill_run.start_server()
        drill_run.scheduler.start()
        for machine in drill_run.machines:
            machine.start()
        drill_run.leader.start()
        first = drill_run.machines[0].bench.folder / "requests.jsonl"
        wait_until(first.exists, 180)
        yield drill_run
    finally:
        for command in drill_run.commands:
            command.kill()
        drill_run.stop_server()
