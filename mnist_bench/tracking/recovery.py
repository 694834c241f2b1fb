"""Recovery of runs whose process vanished: upload their spools, end their runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mnist_bench.core import files, locks
from mnist_bench.core.errors import BenchError
from mnist_bench.core.escaping import one_line
from mnist_bench.core.formatting import counted
from mnist_bench.results.run import RunResult
from mnist_bench.tracking import recorder, spool
from mnist_bench.tracking.artifacts import follow_folder
from mnist_bench.tracking.database import experiments_with_owned_runs, sqlite_file
from mnist_bench.tracking.mlflow_store import MlflowStore, is_refused
from mnist_bench.tracking.recorder import TrainingRuns
from mnist_bench.tracking.spool import Address, SpoolContents, UnreadableSpoolError

VANISHED = "its process vanished"
"""The recorded failure of a run whose process ended without recording its end."""
_KILLED, _UPLOADED = "of a vanished process closed as KILLED", "uploaded to MLflow"
_LOCK = ".lock"
_LOCK_SECONDS = 120
_LINE_BYTES = 2**20


def open_store(tracking_uri: str, experiment: str, log: Callable[[str], None]) -> MlflowStore:
    """Open a store, and recover the unfinished runs of earlier commands.

    Raises:
        BenchError: The store can't be used.
    """
    _follow_folder(tracking_uri, experiment, log)
    store = MlflowStore(tracking_uri, experiment)
    recover(store, Address.of(tracking_uri, experiment), log)
    return store


def open_existing_store(
    tracking_uri: str, experiment: str, log: Callable[[str], None]
) -> MlflowStore | None:
    """Open a store if it exists, and recover the unfinished runs of earlier commands.

    Raises:
        BenchError: The store can't be used.
    """
    _follow_folder(tracking_uri, experiment, log)
    store = MlflowStore.open_existing(tracking_uri, experiment)
    if store is not None:
        recover(store, Address.of(tracking_uri, experiment), log)
    return store


def recover(store: MlflowStore, address: Address, log: Callable[[str], None]) -> None:
    """Upload the spools in this folder for a store, and end runs in it whose process vanished.

    Spools and runs of live processes are left alone, and of those of which nothing is known here:
    other machines', or with a lock file that says nothing. Spools that the store can't take now are
    kept; those that never can be read or taken are put aside.

    Args:
        log: Receives one line if anything was recovered, and one for each reason why something was
            not.
    """
    recovered = Counter({_KILLED: 0, _UPLOADED: 0})
    settled: set[str] = set()
    try:
        if _abandoned_spools(address, log):
            with locks.lock_file(spool.FOLDER / _LOCK, _LOCK_SECONDS):
                # Read again: another command may have uploaded them meanwhile.
                for contents in _abandoned_spools(address):
                    recovered.update(_upload(contents, store, log))
                    settled.add(contents.header.owner)
        _remove_remains()
        killed = _kill_vanished(store, log)
        recovered[_KILLED] += len(killed)
        settled.update(killed)
        for folder in _lock_folders():
            locks.remove_dead(folder, settled)
    except (BenchError, OSError) as error:
        log(_postponed(error))
    lines = [f"{counted(n, 'run')} {what}" for what, n in recovered.items() if n]
    if lines:
        log(f"Recovered from earlier commands: {', '.join(lines)}")


def recover_all(tracking_uri: str, log: Callable[[str], None]) -> None:
    """Recover runs in any experiment of a store; MLflow is loaded only if there are any.

    Raises:
        BenchError: The store can't be used.
    """
    address_uri = Address.of(tracking_uri, "").tracking_uri
    experiments = experiments_with_spools(address_uri)
    database = sqlite_file(tracking_uri)
    if database is not None and database.exists():
        experiments |= experiments_with_owned_runs(database)
    for experiment in sorted(experiments):
        address = Address(tracking_uri=address_uri, experiment=experiment)
        recover(MlflowStore(tracking_uri, experiment), address, log)


def log_unsettled(tracking_uri: str, experiment: str, log: Callable[[str], None]) -> None:
    """Tell in a line if vanished commands left runs in this folder; nothing is changed."""
    abandoned = _abandoned_spools(Address.of(tracking_uri, experiment))
    if runs := sum(len(contents.header.runs) for contents in abandoned):
        log(
            f"{counted(runs, 'run')} of a vanished process not settled yet: the next command that "
            "records or reports does it"
        )


def finished_in_spools(address: Address) -> list[RunResult]:
    """Finished runs in this folder that the store does not have yet, or not completely."""
    return [
        run
        for contents in _spools()
        if contents.address == address
        for run in _replay(contents).results
        if run.status == "finished"
    ]


def experiments_with_spools(tracking_uri: str) -> set[str]:
    """Names of the experiments with spools in this folder, for a URI without credentials."""
    addresses = {contents.address for contents in _spools()}
    return {each.experiment for each in addresses if each.tracking_uri == tracking_uri}


def _spools(log: Callable[[str], None] | None = None) -> list[SpoolContents]:
    """The spools that can be read; those that never can be are put aside if that is logged."""
    found = []
    for path in spool.paths():
        try:
            contents = spool.read(path)
            if contents:
                _replay(contents)
        except UnreadableSpoolError as error:
            if log:
                _put_aside(path, str(error), log)
        except OSError:  # another command has removed it, or it is another user's
            continue
        else:
            found += [contents] if contents else []
    return found


def _replay(contents: SpoolContents) -> TrainingRuns:
    """The runs of a spool.

    Raises:
        UnreadableSpoolError: It can't be what a training wrote.
    """
    try:
        return TrainingRuns.replay(contents)
    except Exception as error:
        raise UnreadableSpoolError(f"{type(error).__name__}: {error}"[:200]) from error


def _put_aside(path: Path, reason: str, log: Callable[[str], None]) -> None:
    try:
        kept = spool.put_aside(path).name
    except OSError as error:
        kept = f"its place, as it can't be renamed ({error.strerror})"
    log(one_line(f"{path.as_posix()} can't be uploaded and is kept as {kept}: {reason}"))


def _abandoned_spools(
    address: Address, log: Callable[[str], None] | None = None
) -> list[SpoolContents]:
    """The spools of dead processes for a store; a line if nobody knows whether others are dead."""
    abandoned = []
    unknown: dict[str, str] = {}
    for contents in _spools(log):
        if contents.address != address:
            continue
        try:
            if not locks.is_alive(contents.header.owner, _lock_folders()):
                abandoned.append(contents)
        except locks.LocksUnsupportedError as error:
            unknown[contents.header.owner] = str(error.strerror)
    if unknown and log:
        files_left = [
            path.as_posix()
            for folder in _lock_folders()
            for owner in unknown
            if (path := folder / f"{owner}{_LOCK}").exists()
        ]
        log(
            f"{counted(len(unknown), 'command')} not settled, since nobody here knows whether "
            f"they are still at work: {next(iter(unknown.values()))}; once they have ended, "
            f"remove {', '.join(files_left)}"
        )
    return abandoned


def _remove_remains() -> None:
    """Remove what processes left that were killed before their spool had a complete line."""
    remains = [path for path in spool.paths() if _is_torn(path)] + spool.left_folders()
    # They don't name their owner, which may be waiting for a full disk or for its store.
    remains = [path for path in remains if path.stem not in recorder.own_trainings]
    if remains and not locks.is_another_alive(spool.FOLDER):
        for path in remains:
            if path.suffix:
                spool.remove(path)
            else:
                spool.remove_folder(path)


def _is_torn(path: Path) -> bool:
    try:
        with files.open_regular(path, follow=False) as file:
            return not file.readline(_LINE_BYTES).endswith(b"\n")
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
    runs = _replay(contents)
    runs.close("killed", VANISHED, contents.last_at_ms)
    runs.upload(store)
    if runs.error:
        store.unfinished()  # raises if the store does not work at all
        if is_refused(runs.error):
            _put_aside(contents.path, runs.error.message, log)
        else:
            log(_postponed(runs.error))
        return []
    spool.remove(contents.path)
    return [_KILLED if run.failure == VANISHED else _UPLOADED for run in runs.uploaded]


def _kill_vanished(store: MlflowStore, log: Callable[[str], None]) -> list[str]:
    """End runs of dead processes whose spool is in another folder or lost; their owners."""
    waiting = {path.stem for path in spool.paths()}
    killed = []
    unknown = []
    for run in store.unfinished():
        if run.trajectory in waiting or run.owner is None:
            continue
        try:
            if locks.is_alive(run.owner, _lock_folders()):
                continue
            if locks.is_dead(run.owner, _lock_folders()):
                store.mark_killed(run.run_id, VANISHED)
                killed.append(run.owner)
            else:
                unknown.append("they are another machine's, or their lock files are gone")
        except locks.LocksUnsupportedError as error:
            unknown.append(str(error.strerror))
    if unknown:
        log(
            f"{counted(len(unknown), 'run')} left RUNNING in MLflow, since nobody here knows "
            f"whether their processes are alive: {unknown[0]}"
        )
    return killed


def _follow_folder(tracking_uri: str, experiment: str, log: Callable[[str], None]) -> None:
    def is_dead(owner: str) -> bool:
        return locks.is_dead(owner, _lock_folders())

    with suppress(locks.LocksUnsupportedError):
        follow_folder(tracking_uri, experiment, log, is_dead)


def _lock_folders() -> tuple[Path, ...]:
    """Where the processes of this folder and those of this user hold their lock files."""
    return spool.FOLDER, *locks.live_folders()
