"""The scale benchmark: its copies are runs like others, its page says what was measured."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from pathlib import Path

import workers
from factories import table_1
from fill import copies, images, predictions
from hardware import Hardware
from program import Bench, import_runs
from scaled import Answer, ScaleSession, Way, page
from workers import Load, WorkersSession

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


def answer(
    way: Way, runs: int, seconds: float, mib: int, page_bytes: int = 0, scenarios: int = 1
) -> Answer:
    return Answer(way=way, runs=runs, seconds=seconds, peak_rss_bytes=mib * 2**20,
                  page_bytes=page_bytes, scenarios=scenarios)  # fmt: skip


def session(*answers: Answer) -> ScaleSession:
    return ScaleSession(
        command="python benchmarks/scale/scale.py --times 3",
        date="2026-01-31",
        hardware=Hardware(name="Some machine", instruction_sets=None, virtual=None),
        versions={"mlflow": "3.17"},
        answers=answers,
    )


def test_page() -> None:
    text = page(
        session(
            answer("paging", 1_000, 1.0, 300), answer("report", 1_000, 2.0, 400, 500_000),
            answer("paging", 10_000, 10.0, 310), answer("report", 10_000, 13.0, 460, 600_000),
            answer("report", 1_000, 4.0, 500, 400_000, scenarios=200),
        )
    )  # fmt: skip
    assert "| 1,000 | 200 | report | 1 | 4.00 (4.00 to 4.00) | 500 MiB | 0.40 MB |" in text
    assert "1,000 runs of 200 scenarios, with predictions, takes 4.00 s; at most 5 s asked" in text
    assert "| 10,000 | 1 | report | 1 | 13.00 (13.00 to 13.00) | 460 MiB | 0.60 MB |" in text
    assert "1,000 runs takes 2.00 s; at most 5 s asked for: met" in text
    assert "30% more than MLflow's paging alone; at most 33% asked for: met" in text
    assert "from 1,000 to 10,000 runs: +15%; ±20% asked for: met" in text
    assert "The largest page has 0.60 MB; at most 5 MB asked for: met" in text


def test_missed_targets_are_marked() -> None:
    text = page(
        session(
            answer("paging", 1_000, 1.0, 300), answer("report", 1_000, 6.0, 400, 500_000),
            answer("paging", 10_000, 10.0, 310), answer("report", 10_000, 20.0, 600, 6_000_000),
        )
    )  # fmt: skip
    assert text.count("**not met**") == 4


# A cluster


def test_jobs_that_train_nothing_are_recorded(sample: Source) -> None:
    load = workers.measure(2, 3, sample, records=True)
    assert (load.workers, load.jobs, load.records) == (2, 3, True)
    assert load.leader_cpu_seconds > 0


def test_page_of_workers() -> None:
    session = WorkersSession(
        command="python benchmarks/scale/workers.py",
        date="2026-01-31",
        hardware=Hardware(name="Imaginary CPU", instruction_sets=None, virtual=False),
        loads=tuple(
            Load(
                workers=4,
                records=records,
                jobs=100,
                seconds=seconds,
                scheduler_cpu_seconds=0.5,
                leader_cpu_seconds=0.25,
                workers_cpu_seconds=1.0,
            )
            for records, seconds in ((False, 2.0), (True, 20.0))
        ),
    )
    text = workers.page(session)
    assert "| 4 | no | 100 | 50.0 | 5.0 | 2.5 | 10.0 |" in text
    assert "| 4 | in MLflow | 100 | 5.0 | 5.0 | 2.5 | 10.0 |" in text
    assert "Made by `python benchmarks/scale/workers.py` on 2026-01-31." in text
