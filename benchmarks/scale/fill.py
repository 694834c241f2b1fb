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

from mnist_bench.data.idx import CLASSES
from mnist_bench.data.mnist import MNIST

_COPIED = ("params", "metrics", "latest_metrics", "tags")
"""Tables with rows of a run, in addition to `runs`."""


def copies(database: Path, count: int, scenarios: int = 1) -> None:
    """Copy runs, with a new seed for each copy, until there are `count`.

    MLflow itself would take some 20 ms per run. Copies share the artifacts of their originals.

    Args:
        database: MLflow's SQLite file with the runs of one seed and one scenario.
        count: Total number of runs.
        scenarios: Number of scenarios, with equally many runs each; later ones start later.
    """
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        originals = [row[0] for row in connection.execute("SELECT run_uuid FROM runs")]
        columns = {
            table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            for table in ("runs", *_COPIED)
        }
        for number in range(count - len(originals)):
            original = originals[number % len(originals)]
            copy = 1 + number // len(originals)
            run_id = uuid.UUID(int=(uuid.UUID(original).int + (copy << 64)) % 2**128).hex
            for table, names in columns.items():
                values = ", ".join("?" if name == "run_uuid" else name for name in names)
                copied = f"SELECT {values} FROM {table} WHERE run_uuid = ?"  # noqa: S608  # MLflow's
                statement = f"INSERT INTO {table} ({', '.join(names)}) {copied}"
                connection.execute(statement, (run_id, original))
            seed, scenario = divmod(copy, scenarios)
            renamed = [("params", "seed", str(seed)), ("tags", "bench.training_seed", str(seed)),
                       ("tags", "bench.trajectory", f"copy-{scenario}-{seed}")]  # fmt: skip
            renamed += [("params", "scenario", f"scenario-{scenario}")] if scenario else []
            for table, key, value in renamed:
                statement = f"UPDATE {table} SET value = ? WHERE run_uuid = ? AND key = ?"  # noqa: S608
                connection.execute(statement, (value, run_id, key))
            statement = "UPDATE runs SET start_time = start_time + ? WHERE run_uuid = ?"
            connection.execute(statement, (60_000 * scenario, run_id))


def images(folder: Path) -> None:
    """Write artificial images as MNIST's files."""
    folder.mkdir()
    for file in MNIST.files:
        header = struct.pack(f">{len(file.header)}I", *file.header.values())
        values = np.arange(file.size_bytes - file.header_bytes, dtype=np.int64)
        values %= CLASSES if "labels" in file.name else 251
        (folder / file.name).write_bytes(header + values.astype(np.uint8).tobytes())


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
