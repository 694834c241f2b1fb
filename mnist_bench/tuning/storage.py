"""Where Optuna keeps studies: a journal or a database, opened, mended, its faults in one line."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from filelock import FileLock

from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.tracking import uri

_IS_THERE = ("already exists", "duplicate key")
"""What databases say of a table that another one has just made."""
_TABLES_SECONDS = (1.0, 3.0)
_IS_GONE = "Record does not exist"
"""What Optuna says of a study or trial that somebody deleted meanwhile, as a KeyError."""
JOURNAL = Path("mlruns", "optuna.log")
"""Where studies are kept unless a storage is named."""


def names(storage: str | None) -> tuple[str, ...]:
    """The studies that a storage holds; none where there is no journal yet.

    Raises:
        BenchError: It can't be used.
    """
    import optuna

    if storage is None and not JOURNAL.exists():
        return ()
    with explained(storage), opening(storage):
        return tuple(optuna.get_all_study_names(backend(storage)))


def attributes(storage: str) -> dict[str, dict[str, Any]]:
    """What is kept with each study of a storage, the oldest first.

    Raises:
        BenchError: It can't be used.
    """
    import optuna

    with explained(storage), opening(storage):
        opened = backend(storage)
        known = optuna.get_all_study_summaries(opened, include_best_trial=False)
        opened.engine.dispose()  # a server has connections for so many machines
    return {each.study_name: each.user_attrs for each in known}


def backend(storage: str | None) -> Any:
    """The storage of a URL, or the journal; without what a process that was killed left half-done.

    Call it within `explained` and `opening`.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    # Of a connection that is just closed when a signal comes it would tell in full.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL + 1)
    if storage is not None:
        return _database(storage)
    from optuna.storages.journal import JournalFileBackend

    JOURNAL.parent.mkdir(parents=True, exist_ok=True)
    lock = _Lock()
    _mend(lock)
    # It asks for a base class of Optuna's that has no public name.
    journal = JournalFileBackend(str(JOURNAL), lock_obj=cast("Any", lock))
    return optuna.storages.JournalStorage(journal)


def _database(storage: str) -> Any:
    """A database; whose tables another machine may just be making, too."""
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    from mnist_bench.tuning.heartbeat import HeartbeatStorage  # imports Optuna

    for seconds in _TABLES_SECONDS:
        try:
            return HeartbeatStorage(storage)
        except (IntegrityError, OperationalError, ProgrammingError) as error:
            if not any(word in str(error) for word in _IS_THERE):
                raise
            time.sleep(seconds)  # until that one has made them
    return HeartbeatStorage(storage)


class _Lock:
    """Optuna's lock around each line, kept by the system.

    Optuna's own is a file that is there or not: who is killed while it is leaves all others waiting
    for half a minute, and with a relative path for ever.
    """

    def __init__(self) -> None:
        self._lock = FileLock(JOURNAL.with_suffix(".flock"))

    def acquire(self) -> bool:
        """Wait until nobody else has it."""
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Give it back."""
        self._lock.release()


def _mend(lock: _Lock) -> None:
    """Remove a last line that was not written to its end: the next would be glued to it."""
    if not JOURNAL.exists():
        return
    lock.acquire()
    try:
        content = JOURNAL.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            with JOURNAL.open("r+b") as file:
                file.truncate(len(whole))
    finally:
        lock.release()


@contextmanager
def explained(storage: str | None) -> Iterator[None]:
    """Turn Optuna's and its databases' faults into one line for people, and keep it quiet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they speak to programmers
        try:
            with answering(storage):
                yield
        except KeyError as error:
            if storage is None or _IS_GONE not in str(error):
                raise
            raise _unusable(storage, error) from error
        except OSError as error:
            raise BenchError(
                f"can't use the study's journal {JOURNAL.as_posix()}: {error.strerror or error}",
                "make it readable and writable",
                exit_status=EXIT_BROKE,
            ) from error


@contextmanager
def answering(storage: str | None) -> Iterator[None]:
    """Turn what Optuna and its databases raise into one line for people, and nothing else."""
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (OptunaError, SQLAlchemyError, ImportError) as error:
        raise _unusable(storage, error) from error


@contextmanager
def opening(storage: str | None) -> Iterator[None]:
    """While a storage is read for the first time: whatever it holds may be none of Optuna's."""
    try:
        yield
    except (RuntimeError, ValueError, LookupError, TypeError, AssertionError) as error:
        if storage is not None:
            raise _unusable(storage, error) from error
        raise BenchError(
            f"{JOURNAL.as_posix()} is no journal of Optuna's",
            "move it away",
            exit_status=EXIT_BROKE,
        ) from error


def _unusable(storage: str | None, error: Exception) -> BenchError:
    from sqlalchemy.exc import ArgumentError

    where = uri.without_credentials(storage) if storage else "the study's storage"
    lines = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
    said = uri.without_parts_of(storage, lines[0]) if storage else lines[0]
    told = f"{where} can't be used: {said}"
    if isinstance(error, ArgumentError) or isinstance(error.__cause__, ArgumentError):
        return BenchError(
            told, "give an address like sqlite:///optuna.db or postgresql://user@host/optuna"
        )
    remedy = (
        "see whether its folder is there and can be written to, and whether the file is Optuna's"
        if storage and storage.startswith("sqlite")
        else "see whether the database answers, whether it is Optuna's, and whether its driver is "
        "installed"
    )
    return BenchError(told, remedy, exit_status=EXIT_BROKE)
