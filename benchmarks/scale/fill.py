"""A database of MLflow's with many runs: one is recorded by the suite, the rest are its copies."""

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
"""Tables with a run's rows, beside `runs` itself."""


def copies(database: Path, count: int, scenarios: int = 1) -> None:
    """Make so many runs of those that are there; the seeds go on, so that each is one more draw.

    MLflow itself would take some 20 ms for each. Of files a copy has its original's.

    Args:
        database: MLflow's SQLite file with the runs of one seed and one scenario.
        count: Runs that there shall be.
        scenarios: That they are of, as many runs of each; those beyond the first have names of
            their own.
    """
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        originals = [row[0] for row in connection.execute("SELECT run_uuid FROM runs")]
        for number in range(count - len(originals)):
            original = originals[number % len(originals)]
            place = 1 + number // len(originals)
            run_id = _copy(connection, original, place)
            _name(connection, run_id, seed=place // scenarios, scenario=place % scenarios)


def _copy(connection: sqlite3.Connection, original: str, seed: int) -> str:
    run_id = uuid.UUID(int=(uuid.UUID(original).int + (seed << 64)) % 2**128).hex
    _copy_rows(connection, "runs", original, run_id)
    for table in _COPIED:
        _copy_rows(connection, table, original, run_id)
    return run_id


def _name(connection: sqlite3.Connection, run_id: str, *, seed: int, scenario: int) -> None:
    """Make a copy one more draw, of a scenario that begins after those before it."""
    told = [("params", "seed", str(seed))]
    told += [("params", "scenario", f"scenario-{scenario}")] if scenario else []
    told += [("tags", "bench.trajectory", f"copy-{scenario}-{seed}")]
    told += [("tags", "bench.training_seed", str(seed))]
    for table, key, value in told:
        connection.execute(
            f"UPDATE {table} SET value = ? WHERE run_uuid = ? AND key = ?",  # noqa: S608  # as above
            (value, run_id, key),
        )
    connection.execute(
        "UPDATE runs SET start_time = start_time + ? WHERE run_uuid = ?",
        (60_000 * scenario, run_id),
    )


def _copy_rows(connection: sqlite3.Connection, table: str, original: str, run_id: str) -> None:
    """Copy the rows of one run in one table under another id."""
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    taken = ", ".join(f"'{run_id}'" if name == "run_uuid" else name for name in names)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {taken} FROM {table} WHERE run_uuid = ?",  # noqa: S608  # names are MLflow's own
        (original,),
    )


def images(folder: Path) -> None:
    """Made-up images, as many as MNIST's, in its files."""
    folder.mkdir()
    for file in MNIST.files:
        header = struct.pack(f">{len(file.header)}I", *file.header.values())
        (folder / file.name).write_bytes(header + _made_up(file))


def _made_up(file: IdxFile) -> bytes:
    count = file.size_bytes - file.header_bytes
    values = np.arange(count, dtype=np.int64)
    return bytes((values % CLASSES if "labels" in file.name else values % 251).astype(np.uint8))


def predictions(database: Path) -> None:
    """Beside every original's record, what it saw in each test image: one in a hundred wrongly."""
    count = MNIST.files[2].count
    labels = (np.arange(count) % CLASSES).astype(np.uint8)
    labels[::100] = 4
    packed = io.BytesIO()
    probabilities = np.full(count, 0.75, np.float16)
    np.savez(packed, final_label=labels, final_probability=probabilities)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        places = {row[0] for row in connection.execute("SELECT artifact_uri FROM runs")}
    for place in places:
        folder = Path(url2pathname(place.removeprefix("file://")))
        (folder / "predictions.npz").write_bytes(packed.getvalue())
