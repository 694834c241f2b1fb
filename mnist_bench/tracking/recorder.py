"""A trajectory as it is followed: every message is journalled, then recorded, then delivered."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mnist_bench.core.errors import EXIT_BROKE, BenchError
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
    """Says of each kind of trouble one line, however often it comes.

    Args:
        say: Takes the line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said: set[str] = set()

    def __call__(self, kind: str, line: str) -> None:
        """Say the line, unless one of its kind was said."""
        if kind not in self._said:
            self._said.add(kind)
            self._say(line)


class Recorder:
    """Keeps a trajectory's runs from its beginning until MLflow has them.

    Args:
        header: All that is known before its first step.
        warn: Told of a disk that is full and of a store that refuses.
    """

    def __init__(self, header: Header, warn: WarnOnce) -> None:
        self._header = header
        self._warn = warn
        self._recording = RunBuilder(header.runs, exclusive=header.exclusive)
        self._delivery: Uploader | None = None
        self._is_put_away = False
        with suppress(OSError):  # what is wrong, the journal's first line meets as well
            spool.FOLDER.mkdir(parents=True, exist_ok=True)
        # The journal before the files: who finds files without one can't know whose they are.
        self._journal = Spool(header)
        self.folder = _made_folder(header.runs[0].trajectory)
        self._tell_of_disk()

    @property
    def runs(self) -> tuple[RunResult, ...]:
        """The runs as they stand."""
        return self._recording.runs

    @property
    def is_delivered(self) -> bool:
        """Whether nothing waits: MLflow has everything, or was never told of it."""
        return self._delivery is None or self._delivery.is_complete

    @property
    def refusal(self) -> BenchError | None:
        """What MLflow's last refusal means for the user; None where nothing waits."""
        if self._delivery is None or self.is_delivered:
            return None
        cause = self._delivery.fault.message if self._delivery.fault else "it was interrupted"
        if self._journal.fault:
            return BenchError(
                f"{cause}, and {spool.FOLDER.as_posix()} takes nothing either: "
                f"{self._journal.fault.strerror}",
                "what was measured stands above and nowhere else; make room",
                exit_status=EXIT_BROKE,
            )
        return BenchError(
            cause,
            f"the results wait in {spool.FOLDER.as_posix()}, the next command here delivers them",
            exit_status=EXIT_BROKE,
        )

    def begin(self, store: MlflowStore) -> None:
        """Make every run in an open store; those that it refuses are made later."""
        header = self._header
        papers = RecordingContext(
            header.scenario, header.machine, header.owner, self.folder, begun_at_ms=header.at_ms
        )
        self._add(TrainingStarted(at_ms=now_ms()))
        self._delivery = Uploader(self._recording, papers, store, self._made)
        self._delivery.deliver()
        self._tell_of_store()

    def take(self, message: protocol.Message) -> None:
        """Take a worker's message into account; afterwards it may be shown."""
        at_ms = now_ms()
        self._add(MessageEntry(at_ms=at_ms, message=message))
        self._recording.take(message, at_ms)
        if self._delivery:
            self._delivery.offer(at_once=isinstance(message, protocol.StepCountDone))
            self._tell_of_store()

    def close(self, status: Status, reason: str) -> None:
        """End every run that still goes on."""
        at_ms = now_ms()
        goes_on = any(run.status is None for run in self.runs)
        if self._delivery and goes_on:
            self._add(TrainingEnded(at_ms=at_ms, status=status, reason=reason))
        self._recording.close(status, reason, at_ms)

    def settle(self) -> None:
        """Deliver what still waits; where nothing does any more, remove what was kept of it."""
        if self._is_put_away:
            return
        if self._delivery and not self._delivery.is_complete:
            self._delivery.deliver()
            self._tell_of_store()
        if self.is_delivered:
            self._journal.remove()
            shutil.rmtree(self.folder, ignore_errors=True)
            self._is_put_away = True

    def _made(self, steps: int, run_id: str) -> None:
        self._add(RunCreated(at_ms=now_ms(), steps=steps, run_id=run_id))

    def _add(self, entry: spool.Entry) -> None:
        self._journal.add(entry)
        self._tell_of_disk()

    def _tell_of_disk(self) -> None:
        if self._journal.fault:
            self._warn(
                "disk",
                f"can't write to {spool.FOLDER.as_posix()}: {self._journal.fault.strerror}; "
                "the training goes on and keeps its results in memory",
            )

    def _tell_of_store(self) -> None:
        if self._delivery and self._delivery.fault:
            self._warn(
                "store",
                f"{self._delivery.fault.message}; the training goes on, its results wait in "
                f"{spool.FOLDER.as_posix()}",
            )


class Recorders:
    """The logbooks of a plan's trajectories, in their order."""

    def __init__(self) -> None:
        self._logbooks: list[Recorder] = []

    @property
    def runs(self) -> tuple[RunResult, ...]:
        """Every run that was begun, as it stands."""
        return tuple(run for logbook in self._logbooks for run in logbook.runs)

    @property
    def refusal(self) -> BenchError | None:
        """Why something waits; None where nothing does."""
        return next((book.refusal for book in self._logbooks if book.refusal), None)

    def add(self, logbook: Recorder) -> None:
        """Put one more beside the others."""
        self._logbooks.append(logbook)

    def settle(self) -> None:
        """Deliver what waits, the oldest first, up to the first that is refused."""
        for logbook in self._logbooks:
            logbook.settle()
            if not logbook.is_delivered:
                return


def now_ms() -> int:
    """Unix time in milliseconds."""
    return int(time.time() * 1_000)


def _made_folder(trajectory: str) -> Path:
    """The folder for the worker's files: beside the journal, or where there is room."""
    folder = (spool.FOLDER / trajectory).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="mnist-bench-"))
    return folder
