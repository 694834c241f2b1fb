"""The scale benchmark: its copies are runs like others, its page says what was measured."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from pathlib import Path

import worked
from factories import table_1
from fill import copies, images, predictions
from hardware import Hardware
from program import Bench, import_runs
from scaled import Answer, ScaleSession, Way, page
from simulated import Took
from worked import Load, WorkersSession

from mnist_bench.data import mnist


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


# A shared store


def load(workers: int, rate: float, *, server_ms: float = 100.0, refused: int = 0) -> Load:
    """Ten trials at a rate; each takes `server_ms` of processor time on the servers."""
    seconds = server_ms / 1_000
    return Load(
        workers=workers,
        took=(Took(ask=0.01, report=0.2, tell=0.02, record=0.3),) * 10,
        refused=refused,
        seconds=10 / rate,
        client_cpu_seconds=2.0,
        database_cpu_seconds=seconds * 4,
        server_cpu_seconds=seconds * 6,
    )


def workers_session(*loads: Load) -> WorkersSession:
    return WorkersSession(
        command="python benchmarks/scale/workers.py", date="2026-01-31",
        hardware=Hardware(name="Some machine", instruction_sets=None, virtual=None),
        versions={"mlflow": "3.17"}, server_processes=2, loads=loads,
    )  # fmt: skip


def test_page_of_workers() -> None:
    several = (load(1, 2.0), load(1, 4.0), load(1, 3.0))
    session = workers_session(*several, load(4, 9.0, refused=2), load(16, 6.0, server_ms=300))
    text = worked.page(session)
    assert "| 1 | 3 | 3.00 (2.00 to 4.00) | 10 | 200 | 20 | 300 | 40 | 60 | 200 |" in text
    assert "1 worker makes 3.00 trials a second; 4 make 9.00, 3.0 times as many" in text
    # Ten trials in 10 / 9 s, which cost workers 2 s and the servers 1 s.
    assert "and 16 make 6.00. At 4 workers 2.7 cores are at work already." in text
    # 1,000 machines end 16.7 trials of a minute a second, each of 300 ms.
    assert "they end 16.7 a second. At 300 ms of processor a trial" in text
    assert "that is 5.0 cores of this kind at least for PostgreSQL" in text
    assert "with trials of ten minutes, 0.5." in text
    assert "2 in 50 trials of some 12 calls" in text


def test_page_of_workers_without_saturation() -> None:
    text = worked.page(workers_session(load(1, 2.0), load(4, 8.0)))
    assert "and no number that was tried makes fewer." in text


def test_chart_of_workers(tmp_path: Path) -> None:
    worked.draw(workers_session(load(1, 2.0), load(4, 8.0)), tmp_path / "workers.png")
    assert (tmp_path / "workers.png").read_bytes().startswith(b"\x89PNG")
