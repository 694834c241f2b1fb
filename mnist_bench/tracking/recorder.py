"""Records a training: each message goes to the spool, into the runs, and to MLflow."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.results import protocol
from mnist_bench.results.run import RunResult, Status
from mnist_bench.tracking import spool
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.run_builder import RunBuilder
from mnist_bench.tracking.spool import (
    Header,
    MessageEntry,
    RunCreated,
    Spool,
    TrainingEnded,
    TrainingStarted,
)
from mnist_bench.tracking.uploader import RecordingContext, Uploader


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

    Args:
        header: What is known before the first step.
        warn: Receives warnings about the disk and the store.
    """

    def __init__(self, header: Header, warn: WarnOnce) -> None:
        self._header = header
        self._warn = warn
        self._builder = RunBuilder(header.runs, exclusive=header.exclusive)
        self._uploader: Uploader | None = None
        self._is_removed = False
        with suppress(OSError):  # the spool reports the error
            spool.FOLDER.mkdir(parents=True, exist_ok=True)
        # The spool before the folder: without it the owner of the files would be unknown.
        self._spool = Spool(header)
        self.folder = _create_folder(header.runs[0].trajectory)
        self._warn_of_disk()

    @property
    def runs(self) -> tuple[RunResult, ...]:
        """The runs so far."""
        return self._builder.runs

    @property
    def is_uploaded(self) -> bool:
        """Whether nothing is left to upload: MLflow has everything, or recording never started."""
        return self._uploader is None or self._uploader.is_complete

    @property
    def upload_error(self) -> BenchError | None:
        """Why results are not uploaded yet, and what to do; None if nothing is left to upload."""
        if self._uploader is None or self.is_uploaded:
            return None
        cause = self._uploader.error.message if self._uploader.error else "it was interrupted"
        if self._spool.error:
            return BenchError(
                f"{cause}, and can't write to {spool.FOLDER.as_posix()} either: "
                f"{self._spool.error.strerror}",
                "the results are printed above and saved nowhere; free some disk space",
                exit_status=EXIT_FAILURE,
            )
        return BenchError(
            cause,
            f"the results are in {spool.FOLDER.as_posix()}, the next command here uploads them",
            exit_status=EXIT_FAILURE,
        )

    def start(self, store: MlflowStore) -> None:
        """Create every run in a store; those that fail are created later."""
        header = self._header
        context = RecordingContext(
            header.scenario, header.machine, header.owner, self.folder, begun_at_ms=header.at_ms
        )
        self._write(TrainingStarted(at_ms=now_ms()))
        self._uploader = Uploader(self._builder, context, store, self._on_created)
        self._uploader.upload()
        self._warn_of_store()

    def add_message(self, message: protocol.Message) -> None:
        """Record a worker's message; only afterwards may it be shown to the user."""
        at_ms = now_ms()
        self._write(MessageEntry(at_ms=at_ms, message=message))
        self._builder.add_message(message, at_ms)
        if self._uploader:
            is_done = isinstance(message, protocol.StepCountDone)
            self._uploader.upload_if_due(immediately=is_done)
            self._warn_of_store()

    def close(self, status: Status, reason: str) -> None:
        """End every run that is still running."""
        at_ms = now_ms()
        is_running = any(run.status is None for run in self.runs)
        if self._uploader and is_running:
            self._write(TrainingEnded(at_ms=at_ms, status=status, reason=reason))
        self._builder.close(status, reason, at_ms)

    def upload_pending(self) -> None:
        """Upload what is left; if nothing is left afterwards, remove the spool and the folder."""
        if self._is_removed:
            return
        if self._uploader and not self._uploader.is_complete:
            self._uploader.upload()
            self._warn_of_store()
        if self.is_uploaded:
            self._spool.remove()
            shutil.rmtree(self.folder, ignore_errors=True)
            self._is_removed = True

    def _on_created(self, steps: int, run_id: str) -> None:
        self._write(RunCreated(at_ms=now_ms(), steps=steps, run_id=run_id))

    def _write(self, entry: spool.Entry) -> None:
        self._spool.add(entry)
        self._warn_of_disk()

    def _warn_of_disk(self) -> None:
        if self._spool.error:
            self._warn(
                "disk",
                f"can't write to {spool.FOLDER.as_posix()}: {self._spool.error.strerror}; "
                "the training continues and keeps its results in memory",
            )

    def _warn_of_store(self) -> None:
        if self._uploader and self._uploader.error:
            self._warn(
                "store",
                f"{self._uploader.error.message}; the training continues, its results are in "
                f"{spool.FOLDER.as_posix()}",
            )


class Recorders:
    """The recorders of a plan's training jobs, in their order."""

    def __init__(self) -> None:
        self._recorders: list[Recorder] = []

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

    def upload_pending(self) -> None:
        """Upload what is left, oldest first, up to the first failure."""
        for recorder in self._recorders:
            recorder.upload_pending()
            if not recorder.is_uploaded:
                return


def now_ms() -> int:
    """Unix time in milliseconds."""
    return int(time.time() * 1_000)


def _create_folder(training_id: str) -> Path:
    """Create the folder for the worker's files: next to the spool, else a temporary folder."""
    folder = (spool.FOLDER / training_id).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="mnist-bench-"))
    return folder
