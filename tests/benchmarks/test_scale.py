"""benchmarks/scale: copies are runs like others, and a cluster that trains nothing."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from pathlib import Path

import workers
from factories import table_1
from fill import copies, images, predictions
from program import Bench, import_runs

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source


def test_copies_are_independent_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    import_runs(bench, table_1()[:4])
    copies(bench.folder / "mlflow.db", 40)
    with contextlib.closing(sqlite3.connect(bench.folder / "mlflow.db")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM runs").fetchone() == (40,)
    ended = bench.call_with_store("report", "--json", "--format", "json")
    assert ended.status == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert len({run["run_id"] for run in document["runs"]}) == 40
    assert sorted({run["seed"] for run in document["runs"]}) == list(range(10))
    assert [row["n"] for row in document["table_1"]] == [10] * 4


def test_copies_of_many_scenarios_with_predictions(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    images(bench.folder / "images")
    source = mnist.find("auto", bench.folder / "images", log=lambda _: None)
    import_runs(bench, table_1(dataset=source.name, dataset_digest=source.digest)[:1])
    predictions(bench.folder / "mlflow.db")
    copies(bench.folder / "mlflow.db", 9, scenarios=3)
    ended = bench.call_with_store("report", "--json", "--format", "md", "--data", "images")
    assert ended.status == 0, ended.stderr
    counts = Counter((run["scenario"], run["seed"]) for run in ended.document["runs"])
    names = ("table-1", "scenario-1", "scenario-2")
    assert counts == Counter((name, seed) for name in names for seed in range(3))
    text = (bench.folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert text.count("### The digits") == 3
    assert text.index("## Scenario scenario-2") < text.index("## Scenario scenario-1")


def test_jobs_that_train_nothing_are_recorded(sample: Source) -> None:
    load = workers.load(2, 3, sample, records=True)
    assert (load["workers"], load["jobs"], load["records"]) == (2, 3, True)
    assert load["leader_cpu_seconds"] > 0
