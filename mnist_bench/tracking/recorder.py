"""Records a training: each message goes to the spool, into the runs, and to MLflow.

MLflow gets batches that may be repeated: it ignores a metric with the same step, time and value.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mnist_bench.core import files, locks
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.measurement import quality
from mnist_bench.measurement.conditions import Conditions, Surroundings, TrainingStretch
from mnist_bench.results import protocol
from mnist_bench.results.run import Evaluation, PhaseName, RunResult, Status, step_counts_at
from mnist_bench.tracking import run_notes, spool
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.schema import Point
from mnist_bench.tracking.spool import Header, MessageEntry, Spool, SpoolContents, TrainingEnded

_BATCH_SECONDS = 5.0
"""Minimum time between uploads: often enough to follow a run, without loading the machine."""
_BACKOFF_SECONDS = 30.0
"""Minimum time after a failed upload: each attempt may take the full timeout."""

LOG = "worker.log"
"""What a worker and its libraries print."""
WORKER_FILES = ("predictions.npz", "weights.npz")
"""What a worker writes for each step count."""
_MAX_FILE_BYTES = 2**30
_UPLOADS = "upload-"

own_trainings: set[str] = set()
"""Ids of the trainings that this process records."""


def process_owner() -> str:
    """The name of this process, as the owner of runs; it holds its lock files from now on."""
    for folder in (spool.FOLDER, *locks.live_folders()):
        with suppress(OSError):  # a spool can't be written then either, and says so
            locks.hold(folder)
    return locks.process_name()


@dataclass
class _Run:
    """One step count of a training.

    Attributes:
        result: The run so far.
        points: Measurements by step so far, in order.
        ended_at_ms: Unix time in milliseconds; 0 until the run has ended.
        may_exist: Whether MLflow may have the run although `result` has no MLflow run id.
        uploaded_points: How many points MLflow has.
        is_complete: Whether MLflow has everything.
    """

    result: RunResult
    points: list[Point] = field(default_factory=list)
    ended_at_ms: int = 0
    may_exist: bool = False
    uploaded_points: int = 0
    is_complete: bool = False

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        return tuple(point.evaluation for point in self.points if point.evaluation)

    def update(self, **fields: object) -> None:
        self.result = self.result.model_copy(update=fields)


class TrainingRuns:
    """The runs of one training: built from its worker's messages, and sent to a store.

    Building them uses neither clock nor store, so that replaying a spool gives the same runs.

    Args:
        header: Its runs are ordered by rising step count.
        folder: The worker's files, with one folder per step count.

    Attributes:
        uploaded: Runs that were ended in the store.
        deleted: Runs that the user deleted in the store meanwhile: they stay deleted.
        error: Why the last upload failed; None if it succeeded.
    """

    def __init__(self, header: Header, folder: Path) -> None:
        self._header = header
        self._folder = folder
        self._runs = {run.steps: _Run(run) for run in header.runs}
        self._start_seconds: dict[PhaseName, float] = {}
        self._stretches: list[TrainingStretch] = []
        self._surroundings: list[Surroundings] = []
        self._calibrations: list[float] = []
        self._not_before = 0.0
        self.uploaded: list[RunResult] = []
        self.deleted: list[RunResult] = []
        self.error: BenchError | None = None

    @classmethod
    def replay(cls, contents: SpoolContents) -> TrainingRuns:
        """The runs of a spool, which MLflow may have already."""
        runs = cls(contents.header, spool.files_of(contents.path))
        for each in runs._runs.values():
            each.may_exist = True
        for entry in contents.entries:
            if isinstance(entry, MessageEntry):
                runs.add_message(entry.message, entry.at_ms)
            else:
                runs.close(entry.status, entry.reason, entry.at_ms)
        return runs

    @property
    def results(self) -> tuple[RunResult, ...]:
        """The runs so far; those that are running have no status yet."""
        return tuple(run.result for run in self._runs.values())

    @property
    def is_complete(self) -> bool:
        """Whether every run has ended and is uploaded completely."""
        return all(run.is_complete for run in self._runs.values())

    def add_message(self, message: protocol.Message, at_ms: int) -> None:
        """Update the runs with a worker's message that was received at this Unix time."""
        match message:
            case protocol.Phase():
                self._start_seconds[message.name] = message.seconds
            case protocol.EvaluationMessage():
                evaluation = message.evaluation
                point = Point(evaluation.step, at_ms, evaluation=evaluation)
                grid = next(iter(self._runs.values())).result.grid
                for steps in step_counts_at(evaluation.step, tuple(self._runs), grid):
                    self._runs[steps].points.append(point)
            case protocol.SampleMessage():
                self._stretches.append(message.stretch)
                self._surroundings += [message.surroundings] if message.surroundings else []
                point = _sampled_point(message, at_ms)
                for steps, run in self._runs.items():
                    if steps >= message.step:
                        run.points.append(point)
            case protocol.CalibrationMessage():
                self._surroundings.append(message.surroundings)
                self._calibrations.append(message.seconds)
            case protocol.StepCountDone():
                measured = message.model_dump(exclude={"kind", "steps"})
                self._end(self._runs[message.steps], at_ms, status="finished", **measured)

    def close(self, status: Status, failure: str, at_ms: int) -> None:
        """End every run that is still running."""
        for run in self._runs.values():
            if run.result.status is None:
                seconds = dict(self._start_seconds)
                if run.evaluations:
                    seconds["train"] = run.evaluations[-1].train_seconds
                failure = _without_home(failure)
                self._end(run, at_ms, status=status, failure=failure, seconds=seconds)

    def _end(self, run: _Run, at_ms: int, **fields: object) -> None:
        """Set the status, the measurements and the verdict of a run."""
        conditions = Conditions(
            surroundings=tuple(self._surroundings),
            calibration_seconds=tuple(self._calibrations),
            stretches=tuple(self._stretches),
            exclusive=self._header.exclusive,
        )
        assessment = quality.assess(conditions)
        run.ended_at_ms = at_ms
        run.update(evaluations=run.evaluations, conditions=conditions, **fields)
        # Nobody knows that a training was clean that was not measured to its end.
        is_whole = run.result.status in {"finished", "pruned"}
        if is_whole or (self._stretches and assessment.verdict != "clean"):
            run.update(
                verdict=assessment.verdict,
                reasons=tuple(reason.words for reason in assessment.reasons),
            )

    def upload_if_due(self, store: MlflowStore, *, immediately: bool = False) -> None:
        """Upload what is new, unless the last attempt was too recent.

        Args:
            immediately: Do not wait for the next batch, unless the last attempt failed.
        """
        if time.monotonic() >= self._not_before or (immediately and self.error is None):
            self.upload(store)

    def upload(self, store: MlflowStore) -> None:
        """Upload what is new; afterwards `error` says whether it succeeded."""
        self.error = None
        try:
            for run in self._runs.values():
                if not run.is_complete:
                    self._upload_unless_deleted(run, store)
        except BenchError as error:  # stop at the first: the next call may take a timeout too
            self.error = error
        wait = _BACKOFF_SECONDS if self.error else _BATCH_SECONDS
        self._not_before = time.monotonic() + wait

    def _upload_unless_deleted(self, run: _Run, store: MlflowStore) -> None:
        try:
            self._upload(run, store)
        except BenchError:
            if run.result.run_id is None or not store.is_gone(run.result.run_id):
                raise
            run.is_complete = True
            self.deleted.append(run.result)

    def _upload(self, run: _Run, store: MlflowStore) -> None:
        if run.result.run_id is None:  # create the run in the store, or find it there
            # A call that fails may have created it.
            may_exist, run.may_exist = run.may_exist, True
            started = store.start(
                run.result,
                self._description(run),
                self._header.owner,
                self._header.machine,
                at_ms=self._header.at_ms,
                tags=self._header.tags,
                may_exist=may_exist,
            )
            run.update(run_id=started.run_id)
            run.is_complete = started.is_complete
        if run.is_complete or run.result.run_id is None:
            return
        new = run.points[run.uploaded_points :]
        if run.result.status is not None:
            with ExitStack() as stack:
                store.finish(
                    run.result,
                    self._description(run),
                    lambda: self._write_files(run.result, stack),
                    at_ms=run.ended_at_ms,
                    points=new,
                )
            run.is_complete = True
            self.uploaded.append(run.result)
        elif new:
            store.log(run.result.run_id, new)
        run.uploaded_points += len(new)

    def _description(self, run: _Run) -> str:
        return run_notes.run_description(run.result, self._header.scenario.title)

    def _write_files(self, result: RunResult, stack: ExitStack) -> list[Path]:
        """Write the run's records, and return the paths of all its artifacts.

        They are in a folder of their own, which is removed with the stack: others may have put
        anything into the spool's, so only what a worker writes is copied from there.
        """
        parent = self._folder.parent
        parent.mkdir(parents=True, exist_ok=True)
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix=_UPLOADS, dir=parent))
        folder = Path(name)
        texts = {
            "result.json": result.model_dump_json(indent=2),
            "scenario.toml": self._header.scenario.to_toml(),
            "machine.json": self._header.machine.model_dump_json(indent=2),
        }
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8", newline="\n")
        for file in (LOG, *(f"{result.steps}/{each}" for each in WORKER_FILES)):
            files.copy_inside(self._folder, file, folder / Path(file).name, _MAX_FILE_BYTES)
        return sorted(folder.iterdir())


class WarnOnce:
    """Passes on one warning of each kind."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._warned: set[str] = set()

    def __call__(self, kind: str, line: str) -> None:
        """Pass on the line, unless there was one of its kind."""
        if kind not in self._warned:
            self._warned.add(kind)
            self._warn(line)


class Recorder:
    """Records the runs of one training until MLflow has them.

    Attributes:
        folder: The folder for the worker's files.
    """

    def __init__(self, header: Header, warn: WarnOnce) -> None:
        own_trainings.add(header.runs[0].trajectory)
        self.folder = _create_folder(header.runs[0].trajectory)
        self._header = header
        self._warn = warn
        self._runs = TrainingRuns(header, self.folder)
        self._store: MlflowStore | None = None
        self._spool: Spool | None = None

    @property
    def runs(self) -> tuple[RunResult, ...]:
        """The runs so far."""
        return self._runs.results

    @property
    def is_uploaded(self) -> bool:
        """Whether nothing is left to upload: MLflow has everything, or the store never opened."""
        return self._store is None or self._runs.is_complete

    @property
    def upload_error(self) -> BenchError | None:
        """Why results are not uploaded yet, and what to do; None if nothing is left to upload."""
        if self.is_uploaded:
            return None
        cause = self._runs.error.message if self._runs.error else "it was interrupted"
        hint = f"the results are in {spool.FOLDER.as_posix()}, the next command here uploads them"
        if self._spool and self._spool.error:
            reason = self._spool.error.strerror
            cause += f", and can't write to {spool.FOLDER.as_posix()} either: {reason}"
            hint = "the results are printed above and saved nowhere; free some disk space"
        return BenchError(cause, hint, exit_status=EXIT_FAILURE)

    def start(self, store: MlflowStore) -> None:
        """Create the spool, and every run in a store; those that fail are created later."""
        self._store = store
        self._spool = Spool(self._header)
        self._warn_of_disk()
        self._runs.upload(store)
        self._warn_of_store()

    def add_message(self, message: protocol.Message) -> None:
        """Record a worker's message that came now; only afterwards may it be shown to the user."""
        self.add(MessageEntry(at_ms=now_ms(), message=message))

    def add(self, *entries: MessageEntry) -> None:
        """Record a worker's messages."""
        self._write(*entries)
        for entry in entries:
            self._runs.add_message(entry.message, entry.at_ms)
        if self._store:
            is_done = any(isinstance(each.message, protocol.StepCountDone) for each in entries)
            self._runs.upload_if_due(self._store, immediately=is_done)
            self._warn_of_store()

    def close(self, status: Status, reason: str) -> None:
        """End every run that is still running."""
        at_ms = now_ms()
        if any(run.status is None for run in self.runs):
            self._write(TrainingEnded(at_ms=at_ms, status=status, reason=reason))
        self._runs.close(status, reason, at_ms)

    def upload_pending(self) -> None:
        """Upload what is left; if nothing is left afterwards, remove the spool and the folder."""
        if self._store and not self.is_uploaded:
            self._runs.upload(self._store)
            self._warn_of_store()
        if self.is_uploaded and self.folder.exists():
            spool.remove(spool.path_of(self._header.runs[0].trajectory))
            shutil.rmtree(self.folder, ignore_errors=True)  # if it is a temporary one

    def _write(self, *entries: spool.Entry) -> None:
        if self._spool:
            self._spool.add(*entries)
            self._warn_of_disk()

    def _warn_of_disk(self) -> None:
        if self._spool and self._spool.error:
            self._warn(
                "disk",
                f"can't write to {spool.FOLDER.as_posix()}: {self._spool.error.strerror}; "
                "the training continues and keeps its results in memory",
            )

    def _warn_of_store(self) -> None:
        if self._runs.deleted:
            ids = ", ".join(each.run_id or "" for each in self._runs.deleted)
            self._warn(ids, f"deleted in MLflow, so no longer recorded there: run {ids}")
        if self._runs.error:
            self._warn(
                "store",
                f"{self._runs.error.message}; the training continues, its results are in "
                f"{spool.FOLDER.as_posix()}",
            )


class Recorders:
    """The recorders of a plan's training jobs, in their order."""

    def __init__(self) -> None:
        self._recorders: list[Recorder] = []
        self._pending: deque[Recorder] = deque()

    @property
    def runs(self) -> tuple[RunResult, ...]:
        """All runs so far."""
        return tuple(run for recorder in self._recorders for run in recorder.runs)

    @property
    def upload_error(self) -> BenchError | None:
        """Why results are not uploaded yet; None if nothing is left to upload."""
        return next((each.upload_error for each in self._recorders if each.upload_error), None)

    def add(self, recorder: Recorder) -> None:
        """Append a recorder."""
        self._recorders.append(recorder)
        self._pending.append(recorder)

    def upload_pending(self) -> None:
        """Upload what is left, oldest first, up to the first failure."""
        while self._pending:
            self._pending[0].upload_pending()
            if not self._pending[0].is_uploaded:
                return
            self._pending.popleft()


def now_ms() -> int:
    """Unix time in milliseconds."""
    return int(time.time() * 1_000)


def _sampled_point(message: protocol.SampleMessage, at_ms: int) -> Point:
    """What a sample says of memory and processors."""
    seen = message.stretch.seen
    seconds, other = seen.wall_seconds, seen.other_cpu_seconds
    return Point(
        message.step,
        at_ms,
        rss_bytes=message.stretch.rss_bytes,
        worker_cores=seen.own_cpu_seconds / seconds if seconds > 0 else None,
        # Ticks are coarse, so that the difference of two readings may be negative.
        other_cores=max(other, 0.0) / seconds if other is not None and seconds > 0 else None,
    )


def _create_folder(training_id: str) -> Path:
    """Create the folder for the worker's files: next to the spool, else a temporary folder."""
    folder = (spool.FOLDER / training_id).resolve()
    try:
        locks.hold(spool.FOLDER)  # before the folder, which nobody would own otherwise
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="mnist-bench-"))
    return folder


def _without_home(text: str) -> str:
    """Replace the home folder by `~`: a failure is recorded, and a path may contain a user name."""
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises without one
    if len(home) < 2:  # "/" contains no user name
        return text
    escaped = home.replace("\\", "\\\\")  # exceptions print Windows paths like this
    return text.replace(escaped, "~").replace(home, "~")
