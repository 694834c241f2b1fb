"""Recovery of runs whose process vanished: upload their spools, end their runs."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mnist_bench.core import locks
from mnist_bench.core.errors import BenchError
from mnist_bench.core.formatting import counted
from mnist_bench.results.run import RunResult
from mnist_bench.tracking import recorder, spool
from mnist_bench.tracking.artifacts import follow_folder
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.recorder import TrainingRuns
from mnist_bench.tracking.spool import Address, SpoolContents

VANISHED = "its process vanished"
"""The recorded failure of a run whose process ended without recording its end."""
_KILLED, _UPLOADED = "of a vanished process closed as KILLED", "uploaded to MLflow"
_LOCK = ".lock"
_LOCK_SECONDS = 120


def open_store(uri: str, experiment: str, log: Callable[[str], None]) -> MlflowStore:
    """Open a store, and recover the unfinished runs of earlier commands.

    Raises:
        BenchError: The store can't be used.
    """
    _follow_folder(uri, experiment, log)
    store = MlflowStore(uri, experiment)
    recover(store, Address.of(uri, experiment), log)
    return store


def open_existing_store(
    uri: str, experiment: str, log: Callable[[str], None]
) -> MlflowStore | None:
    """Open a store if it exists, and recover the unfinished runs of earlier commands.

    Raises:
        BenchError: The store can't be used.
    """
    _follow_folder(uri, experiment, log)
    store = MlflowStore.open_existing(uri, experiment)
    if store is not None:
        recover(store, Address.of(uri, experiment), log)
    return store


def recover(store: MlflowStore, address: Address, log: Callable[[str], None]) -> None:
    """Upload the spools in this folder for a store, and end runs in it whose process vanished.

    Spools and runs of live processes are left alone, and runs of processes that are unknown here:
    other machines'. Spools that the store rejects are kept.

    Args:
        log: Receives one line if anything was recovered, and one if it could not be.
    """
    recovered = Counter({_KILLED: 0, _UPLOADED: 0})
    settled: set[str] = set()
    try:
        if _abandoned_spools(address):
            with locks.lock_file(spool.FOLDER / _LOCK, _LOCK_SECONDS):
                # Read again: another command may have uploaded them meanwhile.
                for contents in _abandoned_spools(address):
                    recovered.update(_upload(contents, store, log))
                    settled.add(contents.header.owner)
        _remove_remains()
        killed = _kill_vanished(store)
        recovered[_KILLED] += len(killed)
        settled.update(killed)
        for folder in _lock_folders():
            locks.remove_dead(folder, settled)
    except locks.LocksUnsupportedError as error:
        log(
            f"runs of earlier commands are not closed: {error.strerror}, so nobody knows which of "
            "these commands are still at work"
        )
    except (BenchError, OSError) as error:
        log(_postponed(error))
    lines = [f"{counted(n, 'run')} {what}" for what, n in recovered.items() if n]
    if lines:
        log(f"Recovered from earlier commands: {', '.join(lines)}")


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
    """Names of the experiments with spools in this folder, for a URI without credentials."""
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


def _postponed(error: Exception) -> str:
    return f"results of earlier commands are not uploaded yet: {error}"


def _upload(contents: SpoolContents, store: MlflowStore, log: Callable[[str], None]) -> list[str]:
    """Rebuild the runs from a spool, upload them, and remove the spool; what was done with each.

    If the store rejects only this spool, it is kept, and the error is logged.

    Raises:
        BenchError: The store does not work at all; each further spool would take a timeout.
    """
    runs = TrainingRuns.replay(contents)
    runs.close("killed", VANISHED, contents.last_at_ms)
    runs.upload(store)
    if runs.error:
        store.unfinished()  # raises if the store does not work at all
        log(_postponed(runs.error))
        return []
    spool.remove(contents.path)
    return [_KILLED if run.failure == VANISHED else _UPLOADED for run in runs.uploaded]


def _kill_vanished(store: MlflowStore) -> list[str]:
    """End runs of dead processes whose spool is in another folder or lost; their owners."""
    training_ids = {path.stem for path in spool.paths()}
    killed = []
    for run in store.unfinished():
        if run.trajectory in training_ids or run.owner is None:
            continue
        if locks.is_dead(run.owner, _lock_folders()):
            store.mark_killed(run.run_id, VANISHED)
            killed.append(run.owner)
    return killed


def _follow_folder(uri: str, experiment: str, log: Callable[[str], None]) -> None:
    with suppress(locks.LocksUnsupportedError):
        follow_folder(uri, experiment, log, lambda owner: locks.is_dead(owner, _lock_folders()))


def _lock_folders() -> tuple[Path, Path]:
    """Where the processes of this folder and those of this user hold their lock files."""
    return spool.FOLDER, locks.live_folder()
