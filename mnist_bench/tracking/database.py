"""Databases of MLflow and of Optuna: which file one is, which of the two, and whether it works."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from mnist_bench.core import files
from mnist_bench.core.errors import EXIT_FAILURE, BenchError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

Owner = Literal["MLflow", "Optuna"]
"""Whose tables a database has."""
OWNER_TAG = "bench.owner"
"""The process that started a run."""
_EXAMPLES = {"MLflow": "sqlite:///mlflow.db", "Optuna": "sqlite:///optuna.db"}
_ANY_EXAMPLE = "sqlite:///FILE.db or postgresql://user@host/NAME"
_TABLES: dict[Owner, str] = {"MLflow": "experiments", "Optuna": "studies"}
"""A table that only one of them has."""
_CONNECT_SECONDS = 10
_LOCKED_SECONDS = 5
_TIMEOUT_ARGUMENTS = {
    **dict.fromkeys(("psycopg", "psycopg2", "pymysql", "mysqldb"), "connect_timeout"),
    **dict.fromkeys(("pg8000", "pyodbc"), "timeout"),
    "mysqlconnector": "connection_timeout",
}
_PACKAGES = {"psycopg2": "psycopg2-binary", "psycopg": "psycopg[binary]", "MySQLdb": "mysqlclient"}
"""What to install for a driver, where its name differs."""


def is_sqlite(uri: str) -> bool:
    """Whether a URI is one of SQLite, whatever its driver."""
    return uri.partition(":")[0].partition("+")[0].lower() == "sqlite"


def sqlite_file(uri: str) -> Path | None:
    """The file that SQLAlchemy opens for a URI; None if that is not SQLite's, or names no file.

    Raises:
        BenchError: SQLAlchemy does not understand the URI.
    """
    if not is_sqlite(uri):
        return None
    url = _parsed(uri)
    name = "" if url.host else url.database or ""
    if name.startswith("file:") and str(url.query.get("uri")).lower() in {"true", "1", "yes", "on"}:
        name, _, query = name.partition("?")
        if "memory" in {url.query.get("mode"), dict(parse_qsl(query)).get("mode")}:
            return None
        name = unquote(urlsplit(name).path)
    path = Path(name)
    return None if path.name in {"", ":memory:"} else path


def _parsed(uri: str) -> URL:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(uri)
    except (ArgumentError, ValueError) as error:
        # Not shown: the password may be anywhere in a URI that can't be parsed.
        raise BenchError(
            "the address of the database can't be parsed", f"write it like {_ANY_EXAMPLE}"
        ) from error


def check_sqlite(uri: str, owner: Owner) -> None:
    """Reject an SQLite file that can't be used, or is the other one's; nothing is written.

    Raises:
        BenchError: It can't be used.
    """
    path, driver = sqlite_file(uri), uri.partition(":")[0].lower()
    if path is None or driver not in {"sqlite", "sqlite+pysqlite"}:
        raise BenchError("the sqlite URI names no file", f"write it like {_EXAMPLES[owner]}")
    if not path.parent.is_dir():
        remedy = "create it first"
        if "%" in uri:
            remedy = "create it first, or write %25 for each % that belongs to a name"
        elif path.parts[0] == "~":
            remedy = "~ has no meaning in an address: write the whole path"
        raise BenchError(f"no folder {path.parent} for the database {path.name}", remedy)
    if path.is_dir():
        raise BenchError(
            f"{path} can't be used as a database: it is a folder",
            "choose another file, or move it away",
        )
    if path.exists():
        with _explained(path), closing(sqlite3.connect(path, _LOCKED_SECONDS)) as connection:
            query = "SELECT name FROM sqlite_master WHERE type = 'table'"
            _check_owner(path, {name for (name,) in connection.execute(query)}, owner, uri)


def check_writable(uri: str) -> None:
    """Reject an SQLite database that can't be written, or created.

    Raises:
        BenchError: The file or its folder is read-only, or the URI says that it is.
    """
    path = sqlite_file(uri)
    if path is None:
        return
    remedy = "make it writable for you, or choose another database"
    if _parsed(uri).query.get("mode") == "ro" or "mode=ro" in str(_parsed(uri).database):
        raise BenchError(f"{path} can't be written: its address says mode=ro", "leave that out")
    files.check_writable(path.parent, remedy)  # for its journal
    try:
        if path.exists():
            path.open("r+b").close()
    except OSError as error:
        raise BenchError(f"{path} can't be written: {error.strerror}", remedy) from error


def check_server(uri: str, shown: str, owner: Owner, redacted: Callable[[str], str]) -> None:
    """Connect once to the database of a server: MLflow would try for minutes to log in.

    Args:
        shown: The URI without credentials.
        redacted: Removes them from a driver's message.

    Raises:
        BenchError: The driver is missing, the server lets nobody in, or the database is the other
            one's.
    """
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError
    from sqlalchemy.pool import NullPool

    url = _parsed(uri)
    try:
        driver = url.get_driver_name()
        arguments = {}
        if driver in _TIMEOUT_ARGUMENTS and _TIMEOUT_ARGUMENTS[driver] not in url.query:
            arguments[_TIMEOUT_ARGUMENTS[driver]] = _CONNECT_SECONDS
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are for developers
            engine = create_engine(url, connect_args=arguments, poolclass=NullPool)
            with engine.connect() as connection:
                tables = set(inspect(connection).get_table_names())
    except NoSuchModuleError as error:
        raise BenchError(
            f"there is no such kind of database: {shown}", f"write it like {_ANY_EXAMPLE}"
        ) from error
    except ImportError as error:
        package = _PACKAGES.get(error.name or "", error.name)
        raise BenchError(
            f"the driver for {shown} is not installed ({error})",
            f"pip install '{package}'" if package else "install it with pip",
        ) from error
    except SQLAlchemyError as error:
        lines = str(getattr(error, "orig", None) or error).strip().splitlines()
        reason = redacted(lines[0]) if lines else type(error).__name__
        raise BenchError(
            f"the database at {shown} can't be opened: {reason[:300]}",
            "correct its address, user or password",
        ) from None
    _check_owner(shown, tables, owner, shown)


def _check_owner(where: Path | str, tables: set[str], owner: Owner, uri: str) -> None:
    """Raise if a database has tables, and they are not the owner's."""
    if not tables or _TABLES[owner] in tables:
        return
    other: Owner = "Optuna" if owner == "MLflow" else "MLflow"
    kind = f"a database of {other}" if _TABLES[other] in tables else f"not a database of {owner}"
    remedy = f"choose another one, like {_EXAMPLES[owner]}"
    if kind == "a database of Optuna":
        remedy += f"; `mnist-bench ui --studies --storage {uri}` shows it"
    raise BenchError(f"{where} is {kind}", remedy)


def check_differ(tracking_uri: str, storage: str | None) -> None:
    """Reject one database for runs and for studies: each program would take it for its own.

    Raises:
        BenchError: They are the same.
    """
    if storage is None or "://" not in storage or tracking_uri.startswith("http"):
        return
    if is_sqlite(storage):
        files = [sqlite_file(uri) for uri in (storage, tracking_uri)]
        is_same = None not in files and len({path and path.resolve() for path in files}) == 1
    else:
        one, other = _parsed(storage), _parsed(tracking_uri)
        is_same = (one.host, one.port, one.database) == (other.host, other.port, other.database)
    if is_same:
        raise BenchError(
            "--storage is the database that the runs are recorded in", "choose another --storage"
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into a BenchError."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        # sqlite3 can't decode its own message if the text in question is damaged.
        message = "malformed text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise sqlite_error(path, message) or BenchError(
            f"{path} can't be used as a database: {error}", "choose another file, or move it away"
        ) from error


def sqlite_error(where: Path | str, message: str) -> BenchError | None:
    """The error for a message of SQLite about a file; None for other messages."""
    if "locked" in message:
        return BenchError(
            f"another program holds {where}",
            "end it, or wait and try again",
            exit_status=EXIT_FAILURE,
        )
    if "malformed" in message or "disk I/O" in message:
        return BenchError(
            f"{where} is damaged or can't be read: {message}",
            "restore a copy of it, or rename it and start anew",
            exit_status=EXIT_FAILURE,
        )
    if "readonly" in message or "unable to open" in message:
        return BenchError(
            f"{where} can't be opened for writing: {message}",
            "make the file and its folder readable and writable for you",
            exit_status=EXIT_FAILURE,
        )
    return None


def schema_revision(database: Path) -> str | None:
    """MLflow's schema revision of a database file; None if it has no schema yet.

    Raises:
        BenchError: The file can't be read.
    """
    if not database.exists():
        return None
    with _explained(database), closing(sqlite3.connect(database, _LOCKED_SECONDS)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
    return str(row[0]) if row else None


def experiments_with_owned_runs(database: Path) -> set[str]:
    """Names of the experiments in a database file with a RUNNING run of mnist-bench.

    Raises:
        BenchError: The file can't be read.
    """
    query = """
        SELECT DISTINCT experiments.name FROM runs
        JOIN experiments ON experiments.experiment_id = runs.experiment_id
        JOIN tags ON tags.run_uuid = runs.run_uuid
        WHERE runs.status = 'RUNNING' AND runs.lifecycle_stage = 'active'
        AND experiments.lifecycle_stage = 'active' AND tags.key = ?
    """
    with _explained(database), closing(sqlite3.connect(database, _LOCKED_SECONDS)) as connection:
        try:
            return {str(name) for (name,) in connection.execute(query, (OWNER_TAG,))}
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return set()
            raise
