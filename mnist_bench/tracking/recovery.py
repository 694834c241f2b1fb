"""What vanished processes left behind: their journals are delivered, their runs ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from mnist_bench.core.errors import BenchError
from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.tracking import spool
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.run_builder import RunBuilder
from mnist_bench.tracking.spool import (
    Address,
    MessageEntry,
    RunCreated,
    SpoolContents,
    TrainingEnded,
)
from mnist_bench.tracking.uploader import RecordingContext, Uploader

VANISHED = "its process vanished"
"""Why a run ended of which nobody told the end."""
_LOCK = ".lock"
_LOCK_SECONDS = 120
_TORN_SECONDS = 3_600
"""A journal without a whole line that was not written to for so long is nobody's."""


@dataclass(frozen=True)
class RecoveryResult:
    """What was settled.

    Attributes:
        killed: Runs of vanished processes that were closed as KILLED.
        delivered: Runs that had ended and are in MLflow now.
    """

    killed: int = 0
    delivered: int = 0

    def __add__(self, other: RecoveryResult) -> RecoveryResult:
        return RecoveryResult(self.killed + other.killed, self.delivered + other.delivered)

    def __str__(self) -> str:
        parts = [
            f"{_runs(self.killed)} of a vanished process closed as KILLED" if self.killed else "",
            f"{_runs(self.delivered)} that waited delivered to MLflow" if self.delivered else "",
        ]
        return ", ".join(part for part in parts if part)


def opened_store(
    uri: str, experiment: str, machine_id: str | None, say: Callable[[str], None]
) -> MlflowStore:
    """Open a store, and settle what earlier commands left there.

    Args:
        uri: MLflow's tracking URI.
        experiment: Name of the experiment.
        machine_id: This machine's.
        say: Told in one line what was settled, if anything was.

    Raises:
        BenchError: The store can't be used.
    """
    opened = MlflowStore(uri, experiment)
    settle(opened, Address.of(uri, experiment), machine_id, say)
    return opened


def settle(
    store: MlflowStore, address: Address, machine_id: str | None, say: Callable[[str], None]
) -> None:
    """Deliver what waits in this folder for a store, and end there what nobody trains any more.

    Left alone is what belongs to a process that is alive, or to another machine. What the store
    refuses now stays as it is.

    Args:
        store: Open.
        address: Of the store.
        machine_id: This machine's.
        say: Told in one line what was settled, if anything was.
    """
    recovered = RecoveryResult()
    try:
        if _left_here(address, machine_id):
            with FileLock(spool.FOLDER / _LOCK, timeout=_LOCK_SECONDS):
                # Asked again: another command may just have done it.
                for story in _left_here(address, machine_id):
                    recovered += _tried(story, store, say)
        _sweep()
        recovered += _given_up(store, machine_id)
    except (BenchError, OSError) as error:
        say(_later(error))
    if str(recovered):
        say(f"Settled what earlier commands left: {recovered}")


def waiting_experiments(tracking_uri: str, machine_id: str | None) -> set[str]:
    """The experiments for which something waits in this folder.

    Args:
        tracking_uri: Of the store, without credentials.
        machine_id: This machine's.
    """
    stories = (_story(path) for path in spool.paths())
    return {
        story.header.address.experiment
        for story in stories
        if story
        and story.header.address.tracking_uri == tracking_uri
        and _is_left(story.header.owner, machine_id)
    }


def _left_here(address: Address, machine_id: str | None) -> list[SpoolContents]:
    stories = (_story(path) for path in spool.paths())
    return [
        story
        for story in stories
        if story and story.header.address == address and _is_left(story.header.owner, machine_id)
    ]


def _sweep() -> None:
    """Remove journals that were torn in their first line: MLflow was never told of those."""
    for path in spool.paths():
        old = time.time() - path.stat().st_mtime > _TORN_SECONDS  # a full disk tears it too
        if old and b"\n" not in path.read_bytes():
            spool.remove(path)


def _story(path: Path) -> SpoolContents | None:
    try:
        return spool.read(path)
    except OSError:  # another command was faster
        return None


def _is_left(of: ProcessIdentity, machine_id: str | None) -> bool:
    """Whether a process of this machine is gone; nothing is known of another machine's."""
    return of.belongs_to(machine_id) and of.is_gone


def _tried(story: SpoolContents, store: MlflowStore, say: Callable[[str], None]) -> RecoveryResult:
    """Replay a journal; where the store takes just this one not, the others have their turn.

    Raises:
        BenchError: The store takes nothing: each of the others would wait as long.
    """
    try:
        return _replayed(story, store)
    except BenchError as error:
        store.unfinished()
        say(_later(error))
    return RecoveryResult()


def _later(error: Exception) -> str:
    return f"what earlier commands left stays for later: {error}"


def _replayed(story: SpoolContents, store: MlflowStore) -> RecoveryResult:
    """Tell a journal to a recording as its worker told it, and deliver that.

    Raises:
        BenchError: The store refuses; the journal stays.
    """
    if not story.has_begun:  # the store was never told of it
        spool.remove(story.path)
        return RecoveryResult()
    recording = _recorded(story)
    header = story.header
    papers = RecordingContext(
        header.scenario,
        header.machine,
        header.owner,
        spool.files_of(story.path),
        begun_at_ms=header.at_ms,
    )
    delivery = Uploader(recording, papers, store, lambda _steps, _id: None, look_first=True)
    delivery.deliver()
    if delivery.fault:
        raise delivery.fault
    spool.remove(story.path)
    killed = sum(run.failure == VANISHED for run in delivery.handed_over)
    return RecoveryResult(killed, len(delivery.handed_over) - killed)


def _recorded(story: SpoolContents) -> RunBuilder:
    recording = RunBuilder(story.header.runs, exclusive=story.header.exclusive)
    for entry in story.entries:
        match entry:
            case RunCreated():
                recording.name(entry.steps, entry.run_id)
            case MessageEntry():
                recording.take(entry.message, entry.at_ms)
            case TrainingEnded():
                recording.close(entry.status, entry.reason, entry.at_ms)
            case _:
                pass
    recording.close("killed", VANISHED, story.last_at_ms)
    return recording


def _given_up(store: MlflowStore, machine_id: str | None) -> RecoveryResult:
    """End runs whose journal lies elsewhere or is lost."""
    waiting = {path.stem for path in spool.paths()}
    killed = 0
    for run in store.unfinished():
        if run.trajectory in waiting or run.owner is None:
            continue
        if _is_left(run.owner, machine_id):
            store.give_up(run.run_id, VANISHED)
            killed += 1
    return RecoveryResult(killed=killed)


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
