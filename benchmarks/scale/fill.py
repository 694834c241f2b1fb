"""MLflow databases with many runs: copies of a few recorded ones."""

from __future__ import annotations

import contextlib
import io
import sqlite3
import struct
import uuid
from pathlib import Path
from urllib.request import url2pathname

import numpy as np

from mnist_bench.data.idx import CLASSES, IdxFile
from mnist_bench.data.mnist import MNIST

_COPIED = ("params", "metrics", "latest_metrics", "tags")
"""Tables with rows of a run, in addition to `runs`."""


def copies(database: Path, count: int, scenarios: int = 1) -> None:
    """Copy runs, with a new seed for each copy, until there are `count`.

    MLflow itself would take some 20 ms per run. Copies share the artifacts of their originals.

    Args:
        database: MLflow's SQLite file with the runs of one seed and one scenario.
        count: Total number of runs.
        scenarios: Number of scenarios, with equally many runs each.
    """
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        originals = [row[0] for row in connection.execute("SELECT run_uuid FROM runs")]
        for number in range(count - len(originals)):
            original = originals[number % len(originals)]
            index = 1 + number // len(originals)
            run_id = _copy(connection, original, index)
            _name(connection, run_id, seed=index // scenarios, scenario=index % scenarios)


def _copy(connection: sqlite3.Connection, original: str, seed: int) -> str:
    run_id = uuid.UUID(int=(uuid.UUID(original).int + (seed << 64)) % 2**128).hex
    _copy_rows(connection, "runs", original, run_id)
    for table in _COPIED:
        _copy_rows(connection, table, original, run_id)
    return run_id


def _name(connection: sqlite3.Connection, run_id: str, *, seed: int, scenario: int) -> None:
    """Give a copy its own seed and scenario; later scenarios start later."""
    values = [("params", "seed", str(seed))]
    values += [("params", "scenario", f"scenario-{scenario}")] if scenario else []
    values += [("tags", "bench.trajectory", f"copy-{scenario}-{seed}")]
    values += [("tags", "bench.training_seed", str(seed))]
    for table, key, value in values:
        connection.execute(
            f"UPDATE {table} SET value = ? WHERE run_uuid = ? AND key = ?",  # noqa: S608  # as above
            (value, run_id, key),
        )
    connection.execute(
        "UPDATE runs SET start_time = start_time + ? WHERE run_uuid = ?",
        (60_000 * scenario, run_id),
    )


def _copy_rows(connection: sqlite3.Connection, table: str, original: str, run_id: str) -> None:
    """Copy the rows of a run in a table to another run id."""
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(f"'{run_id}'" if name == "run_uuid" else name for name in names)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table} WHERE run_uuid = ?",  # noqa: S608  # MLflow's names
        (original,),
    )


def images(folder: Path) -> None:
    """Write artificial images as MNIST's files."""
    folder.mkdir()
    for file in MNIST.files:
        header = struct.pack(f">{len(file.header)}I", *file.header.values())
        (folder / file.name).write_bytes(header + _artificial_values(file))


def _artificial_values(file: IdxFile) -> bytes:
    count = file.size_bytes - file.header_bytes
    values = np.arange(count, dtype=np.int64)
    return bytes((values % CLASSES if "labels" in file.name else values % 251).astype(np.uint8))


def predictions(database: Path) -> None:
    """Write predictions for every original run, with one wrong prediction in a hundred."""
    count = MNIST.files[2].count
    labels = (np.arange(count) % CLASSES).astype(np.uint8)
    labels[::100] = 4
    packed = io.BytesIO()
    probabilities = np.full(count, 0.75, np.float16)
    np.savez(packed, final_label=labels, final_probability=probabilities)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        artifact_uris = {row[0] for row in connection.execute("SELECT artifact_uri FROM runs")}
    for uri in artifact_uris:
        folder = Path(url2pathname(uri.removeprefix("file://")))
        (folder / "predictions.npz").write_bytes(packed.getvalue())
