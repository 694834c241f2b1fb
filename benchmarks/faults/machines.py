"""Machines that share a plan and a study on real servers, while one thing after another fails.

Trainings are stand-ins that wait; PostgreSQL, MLflow's server, Optuna's storage and every process
are real. Each machine has a home of its own.
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
from machine_invariants import check_board, check_work
from program import Bench, Running, altered, free_port
from servers import PostgreSql, postgresql, tracking_server
from table import Line

STUDY = "ours"
_HEARTBEAT_SECONDS = 2
"""Of the machines here: who is silent for twice as long is missed."""
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
# Where it is asked for: for MLflow, the suite's own times, and the beginnings and ends of trials.
_AN_HOUR_AHEAD = """
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
    """What is to be done.

    Attributes:
        faults: How many.
        trials: Parts of a plan and trials of a study, half of them each.
        machines: How many work at once; the clock of the last is an hour ahead.
        seconds: That a training waits.
        chance: Seeds the draws.
        folder: Where; made here.
    """

    faults: int
    trials: int
    machines: int
    seconds: float
    chance: int
    folder: Path

    @property
    def half(self) -> int:
        """Parts, and as many trials."""
        return self.trials // 2


class Board:
    """PostgreSQL with both databases, and MLflow's server on it; each may be taken away.

    Args:
        folder: Empty.
        server: PostgreSQL's.
    """

    def __init__(self, folder: Path, server: PostgreSql) -> None:
        self.server = server
        self.port = free_port()
        folder.mkdir(parents=True)
        self._bench = Bench(folder)
        self._serving = contextlib.ExitStack()

    def serve(self) -> None:
        """Start MLflow's server, and wait until it answers."""
        uri = self.server.url("mlflow")
        self._serving.enter_context(tracking_server(self._bench, self.port, uri))

    def leave(self) -> None:
        """End MLflow's server at once."""
        self._serving.close()

    @property
    def told(self) -> dict[str, str]:
        """What every machine is told."""
        return {
            "MNIST_BENCH_STORAGE": self.server.url("optuna"),
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{self.port}",
        }


@dataclass
class Machine:
    """One that works.

    Attributes:
        bench: Its folder and home.
        program: What it runs.
        running: Its command; None before it was started.
        alive: Keeps the command's process.
        said: What each of its commands said, on both streams.
        is_at_its_end: Whether its last command found that nothing is left.
    """

    bench: Bench
    program: tuple[str, ...]
    running: Running | None = None
    alive: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    said: list[str] = field(default_factory=list)
    is_at_its_end: bool = False

    def start(self, told: dict[str, str], *arguments: str) -> None:
        """Start a command there."""
        self.alive = contextlib.ExitStack()
        started = self.bench.started(*arguments, program=self.program, **told)
        self.running = self.alive.enter_context(started)

    @property
    def status(self) -> int | None:
        """How its command ended; None while it goes on."""
        return self.running.process.poll() if self.running else 0

    def kill(self) -> None:
        """As where the power goes."""
        if self.running is None:
            return
        family = self.running.family()
        with contextlib.suppress(ProcessLookupError):
            self.running.process.kill()
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.close()

    def close(self) -> None:
        """Wait for its end, and keep what it said."""
        if self.running is not None:
            self.is_at_its_end = self.running.process.wait(_LONG_SECONDS) == 0
            self.said.append(self.running.stdout() + self.running.stderr())
            self.alive.close()
            self.running = None


def _program(seconds: float, *, clock: str) -> tuple[str, ...]:
    wait = f"time.sleep({seconds})"
    return altered(f"""{clock}
from mnist_bench.tuning import heartbeat as beating
from mnist_bench.core import retry as patience
from mnist_bench.runner import process
process.COMMAND = {fakes.trial_worker(wait)!r}
beating.HEARTBEAT_SECONDS = {_HEARTBEAT_SECONDS}
patience.AGAIN_SECONDS = 0.5
""")


class Course:
    """A drill as it goes on.

    Args:
        drill: What is to be done.
        board: Its servers.
    """

    def __init__(self, drill: Drill, board: Board) -> None:
        self.drill, self.board = drill, board
        self.chance = random.Random(drill.chance)  # noqa: S311  # no secret hangs on it
        self.tried: Counter[str] = Counter()
        self.clocks_ahead = 0
        self._first = [fault for _, fault in self._faults]  # one of each kind, then as drawn
        self.refusals: list[str] = []
        self.machines = [self._machine(number) for number in range(drill.machines)]

    def _machine(self, number: int) -> Machine:
        folder = self.drill.folder / f"machine-{number}"
        folder.mkdir(parents=True)
        bench = Bench(folder)
        (bench.folder / "ours.toml").write_text(_SPACE, encoding="utf-8", newline="\n")
        is_last = number == self.drill.machines - 1
        return Machine(bench, _program(self.drill.seconds, clock=_AN_HOUR_AHEAD if is_last else ""))

    @property
    def plan(self) -> tuple[str, ...]:
        """The command that shares a plan."""
        return ("run", "smoke", "--dataset", "mnist-5k", "--steps", "100",
                "--seeds", str(self.drill.half), "--no-report")  # fmt: skip

    @property
    def search(self) -> tuple[str, ...]:
        """The command that shares a study."""
        return ("tune", "--space", "ours.toml", "--study", STUDY, "--confirm", "0",
                "--trials", str(self.drill.half))  # fmt: skip

    def begin(self) -> None:
        """Share both, and let every machine work."""
        first, second, *others = self.machines
        first.start(self.board.told, *self.plan)
        second.start(self.board.told, *self.search)
        for machine in (first, second):
            running = machine.running
            if running is not None:
                running.until(lambda: self._has_begun(machine), _START_SECONDS)  # noqa: B023  # asked at once
        for machine in others:
            self._join(machine)

    def _has_begun(self, machine: Machine) -> bool:
        return bool(list(machine.bench.folder.glob("asked.jsonl")))

    def _join(self, machine: Machine) -> None:
        self.clocks_ahead += machine is self.machines[-1]
        machine.start(self.board.told, "join")

    def fail(self) -> None:
        """Let one thing fail, and mend it."""
        weights, faults = zip(*self._faults, strict=True)
        chosen = self._first.pop() if self._first else self.chance.choices(faults, weights)[0]
        time.sleep(self.chance.uniform(0, 3))  # a moment drawn over what machines do
        if (kind := chosen()) is not None:
            self.tried[kind] += 1
        self.go_on()

    @property
    def _faults(self) -> list[tuple[int, Callable[[], str | None]]]:
        """What may fail, and how often beside the others."""
        return [
            (10, self._killed), (8, self._stopped), (4, self._terminated),
            (4, self._database_restarted), (2, self._server_away), (1, self._refused),
        ]  # fmt: skip

    def go_on(self) -> None:
        """Let machines that have ended join again, as long as something is left to do."""
        for machine in self.machines:
            if machine.running is not None and machine.status is None:
                continue
            machine.close()
            if not machine.is_at_its_end:
                self._join(machine)

    @property
    def is_done(self) -> bool:
        """Whether every machine has found that nothing is left."""
        return all(m.is_at_its_end for m in self.machines)

    def finish(self) -> None:
        """Let the machines come to their end, and the study's leader settle it."""
        until = time.monotonic() + _LONG_SECONDS
        while any(machine.status is None for machine in self.machines):
            if time.monotonic() > until:
                raise RuntimeError("the machines come to no end")
            time.sleep(0.5)
        leader = self.machines[0]
        for machine in self.machines:
            if machine.running is not None and machine.status:
                self.refusals.append(f"{machine.status}: {machine.running.stderr()[-500:]}")
            machine.close()
            self._whole(machine, *self.plan)  # settles what kills left there
        self._whole(leader, *self.search, "--resume")

    def _whole(self, machine: Machine, *command: str) -> None:
        """A command that must come to a good end."""
        ended = machine.bench.run(
            *command, program=machine.program, seconds=_LONG_SECONDS, **self.board.told
        )
        machine.said.append(ended.stdout + ended.stderr)
        if ended.status:
            self.refusals.append(f"{command[0]} ended with {ended.status}: {ended.stderr[-500:]}")

    def _working(self) -> Machine | None:
        working = [m for m in self.machines if m.running is not None and m.status is None]
        return self.chance.choice(working) if working else None

    def _killed(self) -> str | None:
        """Any machine that works, if one does."""
        if (machine := self._working()) is None:
            return None
        machine.kill()
        return "a machine is killed"

    def _terminated(self) -> str | None:
        if (machine := self._working()) is None or machine.running is None:
            return None
        number = self.chance.choice((signal.SIGINT, signal.SIGTERM))
        machine.running.process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            machine.running.process.wait(60)
        machine.kill()
        return "a machine is interrupted"

    def _stopped(self) -> str | None:
        """Longer than its heart may be silent, and with it what it trains."""
        if (machine := self._working()) is None or machine.running is None:
            return None
        family = [psutil.Process(machine.running.process.pid), *machine.running.family()]
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in family:
                each.suspend()
        time.sleep(_HEARTBEAT_SECONDS * self.chance.uniform(2.5, 5))
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.resume()
        return "a machine sleeps longer than its heartbeat"

    def _database_restarted(self) -> str:
        self.board.server.stop()
        time.sleep(self.chance.uniform(0, 8))
        self.board.server.start()
        return "the database is restarted, up to 8 s apart"

    def _server_away(self) -> str:
        self.board.leave()
        time.sleep(self.chance.uniform(0, 60))
        self.board.serve()
        return "MLflow's server is away, up to a minute and its start"

    def _refused(self) -> str:
        """Who has a wrong password is told so in one line, and changes nothing."""
        stranger = self.machines[0].bench
        wrong = {"MNIST_BENCH_STORAGE": self.board.server.url("optuna", secrets.token_hex(8))}
        ended = stranger.run("join", **(self.board.told | wrong))
        lines = [line for line in ended.stderr.splitlines() if line.startswith("mnist-bench: ")]
        if ended.status != 1 or len(lines) != 1 or "password" not in lines[0]:
            self.refusals.append(f"a wrong password: {ended.status}, {ended.stderr[-500:]}")
        return "a password is wrong"


def carry_out(drill: Drill) -> list[Line]:
    """The whole drill, as lines of the table: what was wrong stands with the first."""
    with _servers(drill.folder / "board") as board:
        course = Course(drill, board)
        try:
            course.begin()
            while course.tried.total() < drill.faults and not course.is_done:
                course.fail()
                print(f"{course.tried.total()}/{drill.faults}", end=" ", flush=True)
            course.finish()
        finally:
            for machine in course.machines:
                machine.kill()
        found = check_work(board.server.url("optuna"), STUDY, drill.half)
        urls = board.server.url("mlflow"), board.server.url("optuna")
        found += check_board(*urls, STUDY, drill.half)
        found += _said(course, board.server.password)
    tried = course.tried.most_common()
    tried.append(("a command begins whose clock is an hour ahead", course.clocks_ahead))
    return [
        Line(kind=kind, tried=count, findings=found if index == 0 else Findings())
        for index, (kind, count) in enumerate(tried)
    ]


def _said(course: Course, password: str) -> Findings:
    """What machines said that nobody should have to read."""
    said = [words for machine in course.machines for words in machine.said]
    traces = [words[-500:] for words in said if "Traceback" in words or _complaints(words) > 1]
    seen = ["a password was shown" for words in said if password in words]
    told = (without_folders(words) for words in (*course.refusals, *traces))
    return Findings(wrongly_ended=tuple(told), damaged=tuple(seen))


def without_folders(words: str) -> str:
    """A traceback without anybody's folders."""
    return re.sub(r'File "[^"]*/', 'File "…/', words)


def _complaints(words: str) -> int:
    """Lines of one command that say what is wrong."""
    return sum(line.startswith("mnist-bench: ") for line in words.splitlines())


@contextlib.contextmanager
def _servers(folder: Path) -> Iterator[Board]:
    with postgresql("optuna", "mlflow") as server:
        board = Board(folder, server)
        try:
            board.serve()
            yield board
        finally:
            board.leave()
