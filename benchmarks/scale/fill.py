"""A database of MLflow's with many runs: one is recorded by the suite, the rest are its copies."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from pathlib import Path

_COPIED = ("params", "metrics", "latest_metrics", "tags")
"""Tables with a run's rows, beside `runs` itself."""


def copies(database: Path, count: int) -> None:
    """Make so many runs of those that are there; the seeds go on, so that each is one more draw.

    MLflow itself would take some 20 ms for each.

    Args:
        database: MLflow's SQLite file with the runs of one seed.
        count: Runs that there shall be.
    """
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        originals = [row[0] for row in connection.execute("SELECT run_uuid FROM runs")]
        for number in range(count - len(originals)):
            original = originals[number % len(originals)]
            seed = 1 + number // len(originals)
            _copy(connection, original, seed)


def _copy(connection: sqlite3.Connection, original: str, seed: int) -> None:
    run_id = uuid.UUID(int=(uuid.UUID(original).int + (seed << 64)) % 2**128).hex
    _copy_rows(connection, "runs", original, run_id)
    for table in _COPIED:
        _copy_rows(connection, table, original, run_id)
    connection.execute(
        "UPDATE params SET value = ? WHERE run_uuid = ? AND key = 'seed'", (str(seed), run_id)
    )
    for key in ("bench.trajectory", "bench.training_seed"):
        value = f"copy-{seed}" if key == "bench.trajectory" else str(seed)
        connection.execute(
            "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = ?", (value, run_id, key)
        )


def _copy_rows(connection: sqlite3.Connection, table: str, original: str, run_id: str) -> None:
    """Copy the rows of one run in one table under another id."""
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    taken = ", ".join(f"'{run_id}'" if name == "run_uuid" else name for name in names)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {taken} FROM {table} WHERE run_uuid = ?",  # noqa: S608  # names are MLflow's own
        (original,),
    )
