"""Recovery of runs whose process vanished: upload their spools, end their runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mnist_bench.core import locks
from mnist_bench.core.errors import BenchError
from mnist_bench.results.run import RunResult
from mnist_bench.tracking import recorder, spool
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.recorder import TrainingRuns
from mnist_bench.tracking.spool import Address, SpoolContents

VANISHED = "its process vanished"
"""The recorded failure of a run whose process ended without recording its end."""
_LOCK = ".lock"
_LOCK_SECONDS = 120


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


def open_store(uri: str, experiment: str, log: Callable[[str], None]) -> MlflowStore:
    """Open a store, and recover the unfinished runs of earlier commands.

    Args:
        uri: MLflow's tracking URI.
        experiment: Name of the experiment.
        log: Receives one line if anything was recovered.

    Raises:
        BenchError: The store can't be used.
    """
    store = MlflowStore(uri, experiment)
    recover(store, Address.of(uri, experiment), log)
    return store


def open_existing_store(
    uri: str, experiment: str, log: Callable[[str], None]
) -> MlflowStore | None:
    """Open a store if it exists, and recover the unfinished runs of earlier commands.

    Args:
        uri: MLflow's tracking URI.
        experiment: Name of the experiment.
        log: Receives one line if anything was recovered.

    Raises:
        BenchError: The store can't be used.
    """
    store = MlflowStore.open_existing(uri, experiment)
    if store is not None:
        recover(store, Address.of(uri, experiment), log)
    return store


def recover(store: MlflowStore, address: Address, log: Callable[[str], None]) -> None:
    """Upload the spools in this folder for a store, and end runs in it whose process vanished.

    Spools and runs of live processes are left alone, and runs of processes that are unknown here:
    other machines'. Spools that the store rejects are kept.

    Args:
        store: The store.
        address: Address of the store.
        log: Receives one line if anything was recovered, and one if it could not be.
    """
    recovered = RecoveryResult()
    settled: set[str] = set()
    try:
        if _abandoned_spools(address):
            with locks.lock_file(spool.FOLDER / _LOCK, _LOCK_SECONDS):
                # Read again: another command may have uploaded them meanwhile.
                for contents in _abandoned_spools(address):
                    recovered += _try_upload(contents, store, log)
                    settled.add(contents.header.owner)
        _remove_remains()
        recovered += _kill_vanished(store, settled)
        for folder in _lock_folders():
            locks.remove_dead(folder, settled)
    except locks.LocksUnsupportedError as error:
        log(
            f"runs of earlier commands are not closed: {error.strerror}, so nobody knows which of "
            "these commands are still at work"
        )
    except (BenchError, OSError) as error:
        log(_postponed(error))
    if str(recovered):
        log(f"Recovered from earlier commands: {recovered}")


def finished_in_spools(address: Address) -> list[RunResult]:
    """Finished runs in this folder that the store does not have yet, or not completely."""
    return [
        run
        for contents in _spools()
        if contents.header.address == address
        for run in TrainingRuns.replay(contents).results
        if run.status == "finished"
    ]


def experiments_with_spools(tracking_uri: str) -> set[str]:
    """Names of the experiments with spools in this folder.

    Args:
        tracking_uri: Tracking URI of the store, without credentials.
    """
    addresses = {contents.header.address for contents in _spools()}
    return {each.experiment for each in addresses if each.tracking_uri == tracking_uri}


def _spools() -> list[SpoolContents]:
    found = []
    for path in spool.paths():
        try:
            contents = spool.read(path)
        except OSError:  # another command has removed it
            continue
        found += [contents] if contents else []
    return found


def _abandoned_spools(address: Address) -> list[SpoolContents]:
    return [
        contents
        for contents in _spools()
        if contents.header.address == address
        and not locks.is_alive(contents.header.owner, _lock_folders())
    ]


def _remove_remains() -> None:
    """Remove what processes left that were killed before their spool had a complete line."""
    paths = spool.paths()
    remains = [path for path in paths if _is_torn(path)]
    if spool.FOLDER.is_dir():
        folders = (path for path in spool.FOLDER.iterdir() if path.is_dir())
        remains += [path for path in folders if spool.path_of(path.name) not in paths]
    # They don't name their owner, which may be waiting for a full disk or for its store.
    remains = [path for path in remains if path.stem not in recorder.own_trainings]
    if remains and not locks.is_another_alive(spool.FOLDER):
        for path in remains:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                spool.remove(path)


def _is_torn(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return not file.readline().endswith(b"\n")
    except OSError:  # another command has removed it
        return False


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
    runs = TrainingRuns.replay(contents)
    runs.close("killed", VANISHED, contents.last_at_ms)
    runs.upload(store)
    if runs.error:
        raise runs.error
    spool.remove(contents.path)
    killed = sum(run.failure == VANISHED for run in runs.uploaded)
    return RecoveryResult(killed, len(runs.uploaded) - killed)


def _kill_vanished(store: MlflowStore, settled: set[str]) -> RecoveryResult:
    """End runs of dead processes whose spool is in another folder or lost; add their owners."""
    training_ids = {path.stem for path in spool.paths()}
    killed = 0
    for run in store.unfinished():
        if run.trajectory in training_ids or run.owner is None:
            continue
        if locks.is_dead(run.owner, _lock_folders()):
            store.mark_killed(run.run_id, VANISHED)
            settled.add(run.owner)
            killed += 1
    return RecoveryResult(killed=killed)


def _lock_folders() -> tuple[Path, Path]:
    """Where the processes of this folder and those of this user hold their lock files."""
    return spool.FOLDER, locks.live_folder()


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
