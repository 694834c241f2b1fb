"""Optuna's storage, a journal file or a database: opening, repair, errors."""

from __future__ import annotations

import errno
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from filelock import FileLock

from mnist_bench.core import files
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.tracking import uri
from mnist_bench.tracking.database import check_sqlite, sqlite_file

_HEARTBEAT_SECONDS = 30
"""Between two of Optuna's heartbeats of a trial in a database; twice as long without one: stale."""
_RECORD_DELETED = "Record does not exist"
"""In Optuna's KeyError about a study or trial that was deleted meanwhile."""
_MAX_LINE_BYTES = 4 * 2**20
"""Of the journal; most lines have some hundred bytes, those with a study's space some thousand."""
JOURNAL = Path("mlruns", "optuna.log")
"""Default storage."""


def names(storage: str | None) -> tuple[str, ...]:
    """Names of the studies in a storage; empty if there is no journal yet.

    Raises:
        BenchError: The storage can't be used.
    """
    import optuna

    if storage is None and not JOURNAL.exists():
        return ()
    file = storage and sqlite_file(storage)
    if storage and file and not file.exists():
        check_sqlite(storage, "Optuna")
        return ()
    with explained(storage), opening(storage):
        return tuple(optuna.get_all_study_names(backend(storage)))


def backend(storage: str | None) -> Any:
    """Open a database by its URL, or the journal, whose torn last line is removed.

    Call it within `explained` and `opening`.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    # It would log a traceback if a signal interrupts the closing of a connection.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL + 1)
    if storage is not None:
        return _database(storage)
    from optuna.storages.journal import JournalFileBackend

    JOURNAL.parent.mkdir(parents=True, exist_ok=True)
    # Optuna's own lock is the existence of a file: a process that is killed while it holds the lock
    # blocks all others for half a minute, or forever with a relative path.
    lock = FileLock(JOURNAL.with_suffix(".flock"))
    _require_no_link(JOURNAL)
    _require_no_link(JOURNAL.with_suffix(".flock"))
    if JOURNAL.exists():
        with lock:
            _check_journal()
    # The expected base class has no public name.
    journal = JournalFileBackend(str(JOURNAL), lock_obj=cast("Any", lock))
    return optuna.storages.JournalStorage(journal)


def _database(url: str) -> Any:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    uri.check_database(url, "Optuna")
    lock = threading.Lock()

    class Database(optuna.storages.RDBStorage):
        def set_trial_state_values(self, *arguments: Any, **options: Any) -> bool:
            # SQLite locks no rows: two threads would start the same waiting trial.
            with lock:
                return super().set_trial_state_values(*arguments, **options)

        def record_heartbeat(self, trial_id: int) -> None:
            # Optuna's thread would print a traceback and send no more heartbeats.
            with suppress(optuna.exceptions.OptunaError, SQLAlchemyError):
                super().record_heartbeat(trial_id)

    return Database(
        url,
        {} if url.startswith("sqlite") else {"pool_pre_ping": True},
        heartbeat_interval=_HEARTBEAT_SECONDS,
    )


def _require_no_link(path: Path) -> None:
    if path.is_symlink():
        raise OSError(errno.EINVAL, "it is a symbolic link", str(path))


def _check_journal() -> None:
    """Remove an incomplete last line: the next line would be appended to it.

    Raises:
        OSError: It is no regular file.
        ValueError: A line is longer than those that Optuna writes.
    """
    whole = 0
    with files.open_regular(JOURNAL, follow=False) as journal:
        while (line := journal.readline(_MAX_LINE_BYTES)).endswith(b"\n"):
            whole += len(line)
        is_torn = bool(line)
        if len(line) == _MAX_LINE_BYTES:
            raise ValueError("a line is too long")
    if is_torn:
        os.truncate(JOURNAL, whole)


@contextmanager
def explained(storage: str | None) -> Iterator[None]:
    """Turn errors of Optuna, its databases and files into a BenchError; suppress warnings."""
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are for developers
        try:
            yield
        except (OptunaError, SQLAlchemyError, ImportError) as error:
            raise _unusable(storage, error) from error
        except KeyError as error:
            if storage is None or _RECORD_DELETED not in str(error):
                raise
            raise _unusable(storage, error) from error
        except OSError as error:
            raise BenchError(
                f"can't use the study's journal {JOURNAL.as_posix()}: {error.strerror or error}",
                "make it readable and writable",
                exit_status=EXIT_FAILURE,
            ) from error


@contextmanager
def opening(storage: str | None) -> Iterator[None]:
    """Turn errors of the first read into a BenchError: the storage may not be Optuna's."""
    try:
        yield
    except (RuntimeError, ValueError, LookupError, TypeError, AssertionError) as error:
        if storage is not None:
            raise _unusable(storage, error) from error
        raise BenchError(
            f"{JOURNAL.as_posix()} is not an Optuna journal",
            "move it away",
            exit_status=EXIT_FAILURE,
        ) from error


def _unusable(storage: str | None, error: Exception) -> BenchError:
    from sqlalchemy.exc import ArgumentError

    address = uri.without_credentials(storage) if storage else "the study's storage"
    lines = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
    reason = uri.redact(storage, lines[0]) if storage else lines[0]
    message = f"{address} can't be used: {reason}"
    if isinstance(error, ArgumentError) or isinstance(error.__cause__, ArgumentError):
        return BenchError(
            message, "give an address like sqlite:///optuna.db or postgresql://user@host/optuna"
        )
    remedy = (
        "check that its folder exists and is writable, and that the file is an Optuna database"
        if storage and storage.startswith("sqlite")
        else "check that the database is running and is Optuna's, and that its driver is installed"
    )
    return BenchError(message, remedy, exit_status=EXIT_FAILURE)
