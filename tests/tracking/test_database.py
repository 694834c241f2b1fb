"""Databases that can't be used, or are the other program's."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from factories import open_test_study, sqlite_url
from servers import PostgreSql, postgresql

from mnist_bench.core import locks
from mnist_bench.core.errors import EXIT_FAILURE, EXIT_USAGE, BenchError
from mnist_bench.tracking.database import (
    check_differ,
    check_sqlite,
    check_writable,
    experiments_with_owned_runs,
    schema_revision,
    sqlite_error,
)
from mnist_bench.tracking.mlflow_store import MlflowStore, to_bench_error
from mnist_bench.tracking.uri import check_uri
from mnist_bench.tuning.storage import names

MLFLOW, OPTUNA = "CREATE TABLE experiments (x)", "CREATE TABLE studies (x)"


def make(path: Path, *statements: str) -> str:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return sqlite_url(path)


def refused(check: Callable[[], object]) -> BenchError:
    with pytest.raises(BenchError) as caught:
        check()
    return caught.value


def damage(path: Path, table: str) -> None:
    """Overwrite the page of a table, as a power cut or a network drive does."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        (page,) = connection.execute(query, (table,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


@pytest.mark.parametrize("own", ["MLflow", "Optuna"])
def test_the_two_programs_databases_are_told_apart(tmp_path: Path, own: str) -> None:
    tables = {"MLflow": MLFLOW, "Optuna": OPTUNA}
    other = "Optuna" if own == "MLflow" else "MLflow"
    path = tmp_path / "some.db"
    uri = make(path, tables[other])
    before = path.read_bytes()
    check = {"MLflow": lambda: check_uri(uri, "runs"), "Optuna": lambda: names(uri)}[own]
    error = refused(check)
    assert (error.message, error.exit_status) == (f"{path} is a database of {other}", EXIT_USAGE)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["some.db"]
    make(path, f"DROP TABLE {tables[other].split()[2]}", "CREATE TABLE books (x)")
    assert refused(check).message == f"{path} is not a database of {own}"


def test_a_new_database_of_studies_is_not_made_by_asking_for_their_names(tmp_path: Path) -> None:
    assert names(sqlite_url(tmp_path / "new.db")) == ()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BenchError, match="is a folder"):
        names(sqlite_url(tmp_path))


@pytest.mark.parametrize(
    ("storage", "is_same"),
    [
        ("sqlite:///both.db", True),
        ("sqlite+pysqlite:///./both.db?timeout=5", True),
        ("sqlite:///%62oth.db", True),
        ("sqlite:///other.db", False),
        ("postgresql://db/both", False),
        (None, False),
    ],
)
def test_one_file_for_runs_and_studies_is_refused(storage: str | None, *, is_same: bool) -> None:
    if is_same:
        with pytest.raises(BenchError, match="--storage is the database that the runs are"):
            check_differ("sqlite:///both.db", storage)
    else:
        check_differ("sqlite:///both.db", storage)
    check_differ("http://host:5000", storage)


def test_one_database_of_a_server_for_both_is_refused() -> None:
    with pytest.raises(BenchError, match="--storage is the database"):
        check_differ("postgresql://me@db:5432/both", "postgresql+psycopg://you@db:5432/both")
    check_differ("postgresql://me@db/runs", "postgresql://me@db/studies")


def test_a_locked_database_is_held_by_another_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnist_bench.tracking.database._LOCKED_SECONDS", 0)
    path = tmp_path / "mlflow.db"
    uri = make(path, MLFLOW)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        for check in (
            lambda: check_sqlite(uri, "MLflow"),
            lambda: schema_revision(path),
            lambda: experiments_with_owned_runs(path),
        ):
            error = refused(check)
            assert str(error) == (f"another program holds {path}; end it, or wait and try again")
            assert error.exit_status == EXIT_FAILURE


@pytest.mark.parametrize("table", ["alembic_version", "experiments", "sqlite_master"])
def test_a_damaged_database_is_said_to_be_damaged(tmp_path: Path, table: str) -> None:
    path = tmp_path / "mlflow.db"
    uri = make(path, MLFLOW, "CREATE TABLE alembic_version (version_num)",
               "CREATE TABLE runs (x)", "CREATE TABLE tags (x)")  # fmt: skip
    if table == "sqlite_master":
        content = bytearray(path.read_bytes())
        content[100:300] = b"\xff" * 200
        path.write_bytes(content)
    else:
        damage(path, table)
    errors = []
    for check in (lambda: check_sqlite(uri, "MLflow"), lambda: schema_revision(path)):
        try:
            check()
        except BenchError as error:
            errors.append(error)
    if table == "experiments":  # only MLflow reads it
        cause = Exception("(sqlite3.DatabaseError) database disk image is malformed\n[SQL: …]")
        errors = [to_bench_error(cause, uri, "opening the store")]
    assert errors
    for error in errors:
        assert error.message.startswith(f"{path} is damaged or can't be read: ")
        assert (error.exit_status, error.hint) == (
            EXIT_FAILURE, "restore a copy of it, or rename it and start anew"
        )  # fmt: skip


def test_text_that_is_no_text_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    uri = make(path, MLFLOW, "CREATE TABLE one_table_more (x)")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"TABLE one_table", b"TABL\xcfone_table"))
    assert "is damaged" in refused(lambda: check_sqlite(uri, "MLflow")).message


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("database is locked", "another program holds x.db"),
        ("database table is locked: runs", "another program holds x.db"),
        ("disk I/O error", "x.db is damaged or can't be read: disk I/O error"),
        ("attempt to write a readonly database", "x.db can't be opened for writing: attempt to"),
        ("unable to open database file", "x.db can't be opened for writing: unable to open"),
        ("no such column: y", None),
        ("database or disk is full", None),
    ],
)
def test_messages_of_sqlite(message: str, words: str | None) -> None:
    error = sqlite_error("x.db", message)
    assert (error and error.message.startswith(words or "")) == (words and True)
    found = to_bench_error(Exception(f"(sqlite3.OperationalError) {message}"),
                           "sqlite:///x.db", "logging")  # fmt: skip
    assert found.exit_status == EXIT_FAILURE
    assert "move" not in found.hint


def test_what_is_to_be_written_must_be_writable(
    folder: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_writable("sqlite:///new.db")
    check_writable(mlflow_uri)
    assert list(folder.iterdir()) == []
    for uri in ("sqlite:///file:x.db?mode=ro&uri=true", "sqlite:///file:x.db%3Fmode=ro?uri=true"):
        assert "says mode=ro" in refused(lambda uri=uri: check_writable(uri)).message
    path = folder / "mlflow.db"
    path.touch()

    def deny(path: Path, mode: str = "r") -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    error = refused(lambda: MlflowStore("sqlite:///mlflow.db", "runs"))
    assert error.message == "mlflow.db can't be written: Permission denied"
    assert error.exit_status == EXIT_USAGE


def test_a_folder_that_may_only_be_read_can_be_reported_on(
    folder: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    MlflowStore(mlflow_uri, "of a read-only folder")

    def deny(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(locks, "lock_file", deny)
    assert MlflowStore.open_existing(mlflow_uri, "of a read-only folder") is not None
    with pytest.raises(BenchError, match="Permission denied"):
        MlflowStore(mlflow_uri, "of a read-only folder")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read it")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    uri = make(path, MLFLOW)
    path.chmod(0)
    assert "can't be opened" in refused(lambda: check_sqlite(uri, "MLflow")).message


# Servers


@pytest.mark.parametrize(
    ("uri", "words", "hint"),
    [
        ("postgresql+psycopg2:///x", "is not installed", "pip install 'psycopg2-binary'"),
        ("mysql+pymysql:///x", "is not installed", "pip install 'pymysql'"),
        ("mysql:///x", "is not installed", "pip install 'mysqlclient'"),
        ("mssql+pyodbc:///x", "is not installed", "pip install 'pyodbc'"),
        ("postgresql+nosuch:///x", "there is no such kind of database", "write it like sqlite"),
    ],
)
def test_a_missing_driver_is_named(uri: str, words: str, hint: str) -> None:
    error = refused(lambda: check_uri(uri, "runs"))
    assert words in error.message
    assert error.hint.startswith(hint)
    assert error.exit_status == EXIT_USAGE


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql("empty", "optuna") as running:
        yield running


@pytest.mark.slow
def test_who_may_not_log_in_is_told_at_once(server: PostgreSql) -> None:
    check_uri(server.url("empty"), "runs")
    for uri, words in (
        (server.url("empty", password="not-the-one"), "password authentication failed"),
        (server.url("missing"), 'database "…" does not exist'),
    ):
        for check in (lambda uri=uri: check_uri(uri, "runs"), lambda uri=uri: names(uri)):
            error = refused(check)
            assert words.replace("…", "missing") in error.message
            assert error.exit_status == EXIT_USAGE
            assert "not-the-one" not in str(error)


@pytest.mark.slow
def test_a_server_with_studies_takes_no_runs(server: PostgreSql) -> None:
    open_test_study(storage=server.url("optuna"))
    assert (
        "is a database of Optuna"
        in refused(lambda: check_uri(server.url("optuna"), "runs")).message
    )
