"""Kills commands and workers at random moments of their lives."""

from __future__ import annotations

import contextlib
import functools
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import fakes
import psutil
import witness
from invariants import Findings, Row
from place import Training, WorkFolder, still_runs_when, worker_of
from program import Ended, Running
from table import Line
from witness import Recording

Victim = Literal["parent", "worker"]
Stage = Literal["start", "training", "closing"]

_LONG_SECONDS = 240.0
"""Longer than any stage of a short training, even on a busy machine."""
_SEEDS = 200
"""More than a fake worker finishes before its parent is killed."""
_LINES = 36
"""At most the lines that a fake worker prints in one training of two step counts."""


class KillPoint(NamedTuple):
    """When and how to kill: after a delay in a stage, by a signal."""

    stage: Stage
    seconds: float
    signal_name: str


class Spans(NamedTuple):
    """Largest delay after the start of each stage, in seconds.

    Attributes:
        start: After the process started; it imports and opens the store.
        training: After the first evaluation was shown.
        closing: After the end of a step count was received; for a parent, of the last one.
    """

    start: float
    training: float
    closing: float

    def draw(self, rng: random.Random, signals: tuple[str, ...]) -> KillPoint:
        """Draw when to kill, mostly within the training."""
        stages: tuple[Stage, ...] = ("start", "training", "closing")
        (stage,) = rng.choices(stages, (20, 55, 25))
        return KillPoint(stage, rng.uniform(0, getattr(self, stage)), rng.choice(signals))


SPANS: dict[tuple[Victim, str], Spans] = {
    ("parent", "real"): Spans(start=8.0, training=5.0, closing=1.5),
    ("parent", "stand-in"): Spans(start=5.0, training=1.5, closing=0.3),
    ("worker", "real"): Spans(start=5.0, training=5.0, closing=0.5),
}
# Under nohup it is ignored, by the commands too.
_HAS_SIGHUP = hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
_CLOSED_TERMINAL = ("SIGHUP",) if _HAS_SIGHUP else ()
SIGNALS: dict[Victim, tuple[str, ...]] = {
    "parent": ("SIGKILL", "SIGKILL", "SIGKILL", "SIGTERM", "SIGINT", *_CLOSED_TERMINAL),
    "worker": ("SIGKILL", "SIGKILL", "SIGKILL", "SIGTERM"),  # workers ignore SIGINT
}
"""Signals to choose from."""


@dataclass(frozen=True)
class Batch:
    """Kills in one folder.

    Attributes:
        kills: Number of kills that must hit a live process.
        folder: Created here.
        signals: Signals to choose from.
        next_command: The command that opens the store afterwards.
    """

    victim: Victim
    training: Training
    kills: int
    seed: int
    folder: Path
    signals: tuple[str, ...] = ("SIGKILL",)
    next_command: str = "run"


def count(result: Line, kill_point: KillPoint, *, hit: bool) -> None:
    """Count a kill."""
    result.tried += hit
    result.late += not hit
    result.hits.update([f"{kill_point.stage}, {kill_point.signal_name}"] * hit)


def run_batch(batch: Batch) -> Line:
    """Run a batch of kills, then let the next command recover, and check the store."""
    work_folder = WorkFolder(batch.folder, batch.training)
    work_folder.first_command()
    result = Line()
    if batch.victim == "parent":
        _kill_parents(batch, work_folder, result)
    elif batch.training.workers == "real":
        _kill_workers(batch, work_folder, result)
    else:
        _kill_fake_workers(batch, work_folder, result)
    result.findings += work_folder.settle_and_check(next_command=batch.next_command)
    return result


def _kill_parents(batch: Batch, work_folder: WorkFolder, result: Line) -> None:
    rng = random.Random(batch.seed)  # noqa: S311  # not used for security
    spans = SPANS["parent", batch.training.workers]
    seeds = 1 if batch.training.workers == "real" else _SEEDS
    number = 0
    while result.hits.total() < batch.kills:
        number += 1
        kill_point = spans.draw(rng, batch.signals)
        arguments = ("--seeds", str(seeds), "--first-seed", str(number * _SEEDS))
        with work_folder.started(*arguments) as (running, recording):
            alive = wait_for(running, recording, kill_point, 0, len(batch.training.steps))
            work_folder.orphans += running.descendants()
            hit = alive and send_signal(psutil.Process(running.process.pid), kill_point.signal_name)
            await_end(running, kill_point, result)
        count(result, kill_point, hit=hit)
        recording.add_to(work_folder.expected, "KILLED")
        work_folder.expected.add_spools(work_folder.folder)
        check_late_kills(result, running)


def await_end(running: Running, kill_point: KillPoint, result: Line) -> None:
    """Wait for the end of a command after a signal."""
    try:
        running.process.wait(_LONG_SECONDS)
    except subprocess.TimeoutExpired:
        words = f"a command that got {kill_point.signal_name} ({kill_point.stage}) goes on"
        result.findings += Findings(left_over=(words,))


def _kill_workers(batch: Batch, work_folder: WorkFolder, result: Line) -> None:
    rng = random.Random(batch.seed)  # noqa: S311  # not used for security
    spans = SPANS["worker", "real"]
    arguments = ("--seeds", str(batch.kills), "--first-seed", str(batch.seed))
    with work_folder.started(*arguments) as (running, recording):
        for number in range(batch.kills):
            started = functools.partial(_has, recording, number, "begun", 1)
            if not still_runs_when(running, started, _LONG_SECONDS):
                break
            worker = worker_of(running)
            kill_point = spans.draw(rng, batch.signals)
            alive = wait_for(running, recording, kill_point, number, 1)
            hit = bool(alive and worker and send_signal(worker, kill_point.signal_name))
            count(result, kill_point, hit=hit)
        ended = running.ended(_LONG_SECONDS)
    _check_workers(work_folder, recording, ended, result)


def _kill_fake_workers(batch: Batch, work_folder: WorkFolder, result: Line) -> None:
    """Run one command whose fake workers kill themselves at a random line of output."""
    deaths = batch.folder / "deaths"
    worker = witness.self_killing_worker(fakes.worker(), _LINES, deaths)
    arguments = ("--seeds", str(batch.kills), "--first-seed", str(batch.seed))
    with work_folder.started(*arguments, worker=worker) as (running, recording):
        ended = running.ended(_LONG_SECONDS)
    result.tried = result.hits["drawn line, SIGKILL"] = len(deaths.read_bytes())
    result.late = batch.kills - result.tried
    _check_workers(work_folder, recording, ended, result)


def _check_workers(
    work_folder: WorkFolder, recording: Recording, ended: Ended, result: Line
) -> None:
    """Compare the runs in a command's document with what was recorded."""
    recording.add_to(work_folder.expected, "FAILED")
    wrong = ["the command ended in a traceback"] * ("Traceback" in ended.stderr)
    for run in ended.document["runs"]:
        row, status = Row(run["trajectory"], run["steps"]), str(run["status"]).upper()
        if status not in work_folder.expected.statuses.get(row, {status}):
            wrong.append(f"the document says that {row} is {status}")
    result.findings += Findings(wrongly_ended=tuple(wrong))


def wait_for(
    running: Running, recording: Recording, kill_point: KillPoint, before: int, runs: int
) -> bool:
    """Wait for a point of the training with index `before`; False if the command ends first."""
    conditions: dict[Stage, Callable[[], bool]] = {
        "start": lambda: True,
        "training": lambda: _has(recording, before, "scored", 1),
        "closing": lambda: _has(recording, before, "received", runs),
    }
    alive = still_runs_when(running, conditions[kill_point.stage], _LONG_SECONDS)
    if alive:
        time.sleep(kill_point.seconds)
    return running.process.poll() is None


def _has(recording: Recording, before: int, kind: str, times: int) -> bool:
    """Whether the training with index `before` has this many events of a kind, or has ended."""
    started = found = 0
    for line in recording.lines():
        started += line[0] == "begun"
        found += started == before + 1 and line[0] == kind
    return started > before + 1 or found >= times


def send_signal(process: psutil.Process, signal_name: str) -> bool:
    """Send a signal; return whether the process was alive."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if signal_name == "SIGKILL":
            process.kill()  # Windows has no SIGKILL
        else:
            process.send_signal(getattr(signal, signal_name))
        return True
    return False


def check_late_kills(result: Line, running: Running) -> None:
    """Give up if most kills come too late.

    Raises:
        RuntimeError: They do.
    """
    if result.late > 10 + result.hits.total():
        raise RuntimeError(f"the commands end before they are killed: {running.stderr()}")
