"""Recovery of runs whose process vanished: upload their spools, end their runs."""

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
"""The recorded failure of a run whose process ended without recording its end."""
_LOCK = ".lock"
_LOCK_SECONDS = 120
_TORN_SECONDS = 3_600
"""Age after which a spool without a complete line is abandoned."""


@dataclass(frozen=True)
class RecoveryResult:
    """Numbers of recovered runs.

    Attributes:
        killed: Runs of vanished processes that were closed as KILLED.
        uploaded: Runs that had ended and are in MLflow now.
    """

    killed: int = 0
    uploaded: int = 0

    def __add__(self, other: RecoveryResult) -> RecoveryResult:
        return RecoveryResult(self.killed + other.killed, self.uploaded + other.uploaded)

    def __str__(self) -> str:
        lines = [
            f"{_runs(self.killed)} of a vanished process closed as KILLED" if self.killed else "",
            f"{_runs(self.uploaded)} uploaded to MLflow" if self.uploaded else "",
        ]
        return ", ".join(line for line in lines if line)


def open_store(
    uri: str, experiment: str, machine_id: str | None, log: Callable[[str], None]
) -> MlflowStore:
    """Open a store, and recover the unfinished runs of earlier commands.

    Args:
        uri: MLflow's tracking URI.
        experiment: Name of the experiment.
        machine_id: Id of this machine.
        log: Receives one line if anything was recovered.

    Raises:
        BenchError: The store can't be used.
    """
    store = MlflowStore(uri, experiment)
    recover(store, Address.of(uri, experiment), machine_id, log)
    return store


def open_existing_store(
    tracking_uri: str, experiment: str, machine_id: str | None, log: Callable[[str], None]
) -> MlflowStore | None:
    """Open a store if it exists, and recover the unfinished runs of earlier commands.

    Args:
        tracking_uri: MLflow's tracking URI.
        experiment: Name of the experiment.
        machine_id: Id of this machine.
        log: Receives one line if anything was recovered.

    Raises:
        BenchError: The store can't be used.
    """
    store = MlflowStore.open_existing(tracking_uri, experiment)
    if store is not None:
        recover(store, Address.of(tracking_uri, experiment), machine_id, log)
    return store


def recover(
    store: MlflowStore, address: Address, machine_id: str | None, log: Callable[[str], None]
) -> None:
    """Upload the spools in this folder for a store, and end runs in it whose process vanished.

    Spools and runs of live processes and of other machines are left alone. Spools that the store
    rejects are kept.

    Args:
        store: The store.
        address: Address of the store.
        machine_id: Id of this machine.
        log: Receives one line if anything was recovered.
    """
    recovered = RecoveryResult()
    try:
        if _abandoned_spools(address, machine_id):
            with FileLock(spool.FOLDER / _LOCK, timeout=_LOCK_SECONDS):
                # Read again: another command may have uploaded them meanwhile.
                for contents in _abandoned_spools(address, machine_id):
                    recovered += _try_upload(contents, store, log)
        _remove_torn_spools()
        recovered += _kill_vanished(store, machine_id)
    except (BenchError, OSError) as error:
        log(_postponed(error))
    if str(recovered):
        log(f"Recovered from earlier commands: {recovered}")


def experiments_with_spools(tracking_uri: str, machine_id: str | None) -> set[str]:
    """Names of the experiments with abandoned spools in this folder.

    Args:
        tracking_uri: Tracking URI of the store, without credentials.
        machine_id: Id of this machine.
    """
    spools = (_read_or_none(path) for path in spool.paths())
    return {
        contents.header.address.experiment
        for contents in spools
        if contents
        and contents.header.address.tracking_uri == tracking_uri
        and _has_vanished(contents.header.owner, machine_id)
    }


def _abandoned_spools(address: Address, machine_id: str | None) -> list[SpoolContents]:
    spools = (_read_or_none(path) for path in spool.paths())
    return [
        contents
        for contents in spools
        if contents
        and contents.header.address == address
        and _has_vanished(contents.header.owner, machine_id)
    ]


def _remove_torn_spools() -> None:
    """Remove old spools without a complete first line: MLflow has nothing of these trainings."""
    for path in spool.paths():
        # Recent ones are kept: their process may be waiting for a full disk.
        is_old = time.time() - path.stat().st_mtime > _TORN_SECONDS
        if is_old and b"\n" not in path.read_bytes():
            spool.remove(path)


def _read_or_none(path: Path) -> SpoolContents | None:
    try:
        return spool.read(path)
    except OSError:  # another command has removed it
        return None


def _has_vanished(owner: ProcessIdentity, machine_id: str | None) -> bool:
    """Whether a process of this machine is gone; False for processes of other machines."""
    return owner.ran_on(machine_id) and owner.is_gone


def _try_upload(
    contents: SpoolContents, store: MlflowStore, log: Callable[[str], None]
) -> RecoveryResult:
    """Upload a spool; if the store rejects only this one, log the error and go on.

    Raises:
        BenchError: The store does not work at all; each further spool would take a timeout.
    """
    try:
        return _upload(contents, store)
    except BenchError as error:
        store.unfinished()
        log(_postponed(error))
    return RecoveryResult()


def _postponed(error: Exception) -> str:
    return f"results of earlier commands are not uploaded yet: {error}"


def _upload(contents: SpoolContents, store: MlflowStore) -> RecoveryResult:
    """Rebuild the runs from a spool, upload them, and remove the spool.

    Raises:
        BenchError: The upload failed; the spool is kept.
    """
    if not contents.has_entries:  # MLflow has nothing of this training
        spool.remove(contents.path)
        return RecoveryResult()
    builder = _replay(contents)
    header = contents.header
    context = RecordingContext(
        header.scenario,
        header.machine,
        header.owner,
        spool.files_of(contents.path),
        begun_at_ms=header.at_ms,
    )
    uploader = Uploader(builder, context, store, lambda _steps, _id: None, may_exist=True)
    uploader.upload()
    if uploader.error:
        raise uploader.error
    spool.remove(contents.path)
    killed = sum(run.failure == VANISHED for run in uploader.uploaded)
    return RecoveryResult(killed, len(uploader.uploaded) - killed)


def _replay(contents: SpoolContents) -> RunBuilder:
    """Build the runs from the entries of a spool; end those that are still running."""
    builder = RunBuilder(contents.header.runs, exclusive=contents.header.exclusive)
    for entry in contents.entries:
        match entry:
            case RunCreated():
                builder.set_run_id(entry.steps, entry.run_id)
            case MessageEntry():
                builder.add_message(entry.message, entry.at_ms)
            case TrainingEnded():
                builder.close(entry.status, entry.reason, entry.at_ms)
            case _:
                pass
    builder.close("killed", VANISHED, contents.last_at_ms)
    return builder


def _kill_vanished(store: MlflowStore, machine_id: str | None) -> RecoveryResult:
    """End runs of vanished processes whose spool is in another folder or lost."""
    training_ids = {path.stem for path in spool.paths()}
    killed = 0
    for run in store.unfinished():
        if run.trajectory in training_ids or run.owner is None:
            continue
        if _has_vanished(run.owner, machine_id):
            store.mark_killed(run.run_id, VANISHED)
            killed += 1
    return RecoveryResult(killed=killed)


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
