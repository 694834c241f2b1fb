"""Kills the commands of studies, resumes them, and counts lost and doubled trials."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import fakes
import psutil
from invariants import Findings, check
from kills import KillPoint, Spans, await_end, check_late_kills, count, send_signal, wait_for
from place import RecordedCommands, Workers, still_runs_when
from program import Running
from study_invariants import COUNTED, check_study, stored_trials, trial_runs
from table import Line
from witness import Recording

from mnist_bench.scenarios.scenario import Grid

StudyVictim = Literal["command", "parallel", "worker"]

NAME = "drill"
_EVERY = 5
_SPACE = """
title = "Tried to be ended by force"
model = "paper-cnn"
dataset = {dataset!r}
steps = 100
eval_every = 5

[parameters]
learning_rate = {{ low = 0.0001, high = 0.1, log = true }}
batch_size = {{ low = 10, high = 100 }}
"""
_MANY = 100_000
"""Number of trials; more than can finish before the kill."""
_OPEN = ("RUNNING", "WAITING")
_MORE = 2
"""Additional trials of the last command."""
_LONG_SECONDS = 600.0
_WORKERS = 2
_PARALLEL_SECONDS = 15.0
"""The trainings of several trials have ended by then."""

# Appended to the recording code: records the results that the study has stored.
_RESULTS = """
import optuna

_optimize, _tell = optuna.Study.optimize, optuna.Study.tell

def _record_result(study, trial):
    if trial.state.name in ("COMPLETE", "PRUNED"):
        value = trial.value if trial.state.name == "COMPLETE" else None
        _note("result", trial.number, trial.state.name, value)

def _recorded_optimize(self, function, *, callbacks=(), **others):
    return _optimize(self, function, callbacks=[_record_result, *callbacks], **others)

def _recorded_tell(self, *positional, **others):
    trial = _tell(self, *positional, **others)
    _record_result(self, trial)
    return trial

optuna.Study.optimize, optuna.Study.tell = _recorded_optimize, _recorded_tell
"""

SPANS: dict[Workers, Spans] = {
    "real": Spans(start=15.0, training=6.0, closing=1.5),
    "stand-in": Spans(start=8.0, training=3.0, closing=0.5),
}


@dataclass(frozen=True)
class StudyBatch:
    """Kills of one study.

    Attributes:
        victim: A command that trains one trial at a time, one that trains two, or one of its
            training processes.
        workers: Real or fake training processes.
        kills: Number of kills that must hit a live process.
        folder: Created here.
        images: Folder with MNIST's files; None for the packaged sample.
        signals: Signals to choose from.
    """

    victim: StudyVictim
    workers: Workers
    kills: int
    seed: int
    folder: Path
    images: Path | None = None
    signals: tuple[str, ...] = ("SIGKILL",)


class StudyFolder(RecordedCommands):
    """A working folder with a study, and the results that were reported to it, by trial."""

    def __init__(self, batch: StudyBatch) -> None:
        super().__init__(batch.folder, Grid(first=_EVERY, every=_EVERY))
        self.results: dict[int, tuple[str, float | None]] = {}
        self._images = ("--data", str(batch.images)) if batch.images else ()
        self._worker = fakes.trial_worker("pass") if batch.workers == "stand-in" else None
        space = _SPACE.format(dataset="auto" if batch.images else "mnist-5k")
        (self.bench.folder / "drill.toml").write_text(space, encoding="utf-8", newline="\n")

    def started(
        self, *arguments: str
    ) -> contextlib.AbstractContextManager[tuple[Running, Recording]]:
        """Start a command that works on the study, with more arguments than the usual ones."""
        words = ("tune", "--space", "drill.toml", "--study", NAME, "--confirm", "0", "--json")
        return self.recorded(*words, *self._images, *arguments, worker=self._worker, code=_RESULTS)

    def take(self, recording: Recording, *unfinished: str) -> None:
        """Add what a command showed, and the results that it gave to the study."""
        recording.add_to(self.expected, "KILLED", *unfinished)
        for kind, *words in recording.lines():
            if kind == "result":
                number, state, value = words
                self.results[number] = (state, value)

    def run_to_end(self, *arguments: str) -> None:
        """Run a command to its end.

        Raises:
            RuntimeError: It failed, so the store can't be checked.
        """
        with self.started(*arguments) as (running, recording):
            ended = running.ended(_LONG_SECONDS)
        self.take(recording)
        if ended.status != 0:
            raise RuntimeError(f"the next command ended with {ended.status}: {ended.stderr}")

    def settle_and_check(self) -> Findings:
        """Let another command resume the study, then check all invariants."""
        folder = self.bench.folder
        self.expected.add_spools(folder)
        states = [trial.state for trial in stored_trials(folder, NAME)]
        # Running trials count at once or are repeated; waiting ones are trained.
        requested = sum(state in (*COUNTED, *_OPEN) for state in states) + _MORE
        self.run_to_end("--resume", "--trials", str(requested))
        database = folder / "mlflow.db"
        found = check(self.expected, folder, database)
        stored, runs = stored_trials(folder, NAME), trial_runs(database)
        return found + check_study(self.results, stored, runs, requested) + self.outlived()


def run_batch(batch: StudyBatch) -> Line:
    """Kill commands that resume a study, then check it."""
    work_folder, result = StudyFolder(batch), Line()
    work_folder.run_to_end("--trials", "1")
    rng = random.Random(batch.seed)  # noqa: S311  # not used for security
    while result.hits.total() < batch.kills:
        _kill_once(batch, work_folder, result, rng)
    result.findings += work_folder.settle_and_check()
    return result


def _kill_once(
    batch: StudyBatch, work_folder: StudyFolder, result: Line, rng: random.Random
) -> None:
    kill_point, is_parallel = _kill_point(batch, rng), batch.victim != "command"
    workers = ("--workers", str(_WORKERS)) if is_parallel else ()
    with work_folder.started("--resume", "--trials", str(_MANY), *workers) as (running, recording):
        command = psutil.Process(running.process.pid)  # while it is surely alive
        if is_parallel:
            still_runs_when(running, lambda: len(_trainings(command)) == _WORKERS, _LONG_SECONDS)
        alive = wait_for(running, recording, kill_point, 0, 1)
        work_folder.orphans += running.descendants()
        victims = _trainings(command)[:1] if batch.victim == "worker" else [command]
        hit = alive and any(send_signal(each, kill_point.signal_name) for each in victims)
        if batch.victim == "worker":  # the search would go on
            send_signal(command, "SIGTERM")
        await_end(running, kill_point, result)
    count(result, kill_point, hit=hit)
    # The command may hear of its training's end before or after SIGTERM.
    work_folder.take(recording, *(("FAILED",) if batch.victim == "worker" else ()))
    work_folder.expected.add_spools(work_folder.bench.folder)
    check_late_kills(result, running)


def _kill_point(batch: StudyBatch, rng: random.Random) -> KillPoint:
    """When to kill. The stage of one of two trainings can't be observed, so it is any time."""
    if batch.victim == "command":
        return SPANS[batch.workers].draw(rng, batch.signals)
    return KillPoint("start", rng.uniform(0, _PARALLEL_SECONDS), rng.choice(batch.signals))


def _trainings(command: psutil.Process) -> list[psutil.Process]:
    """The training processes of a command, which has no other children."""
    with contextlib.suppress(psutil.Error):
        return command.children()
    return []
