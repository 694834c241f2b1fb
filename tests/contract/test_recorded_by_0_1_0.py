"""Recordings of version 0.1.0 are still read: a store, its reports, a study, and a bundle.

`recorded/store.zip` holds the rows of its MLflow database, its artifacts and its Optuna journal,
`recorded/runs.zip` the bundle of its runs. Both were created by these commands:

    mnist-bench run smoke --steps 100,200 --seeds 2
    mnist-bench run smoke --steps 200 --seeds 2 --set learning_rate=0.002
    mnist-bench run smoke --threads 1
    mnist-bench tune --space space.toml --trials 8 --finalists 2 --confirm 3 --dataset mnist-5k \
        --study small
    mnist-bench export runs.zip
"""

from __future__ import annotations

import datetime as dt
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from golden import assert_golden
from program import Bench, restore_recorded_store

RECORDED = Path(__file__).parent / "recorded"
RUNS = 13
"""7 from `run`, and 6 from the study's evaluation on the test split."""
SEARCH = "tune --space space.toml --trials 8 --finalists 2 --dataset mnist-5k --study small"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A user's folder that contains the store."""
    user = Bench(tmp_path_factory.mktemp("user"))
    restore_recorded_store(user.folder)
    return user


def without_date_and_charts(text: str) -> str:
    """The report without parts that depend on the date or on Matplotlib."""
    text = text.replace(dt.datetime.now().astimezone().date().isoformat(), "2026-01-31")
    return re.sub(r"<svg.*?</svg>", "<svg/>", text, flags=re.DOTALL)


@pytest.fixture(scope="module")
def reports(bench: Bench) -> Path:
    ended = bench.call_with_store("report", "--format", "html,md,csv,json")
    assert ended.status == 0, ended.stderr
    return bench.folder / "reports"


@pytest.mark.parametrize("suffix", ["html", "md", "csv", "runs.csv", "json"])
def test_report(reports: Path, suffix: str) -> None:
    text = (reports / f"report.{suffix}").read_bytes().decode("utf-8").replace("\r\n", "\n")
    assert_golden(f"recorded.{suffix}", without_date_and_charts(text))


def test_study_is_resumed_where_it_ended(bench: Bench) -> None:
    """All its trials are done, so that nothing is trained."""
    ended = bench.call_with_store(*SEARCH.split(), "--confirm", "0", "--resume", "--json")
    assert ended.status == 0, ended.stderr
    found = ended.document
    assert [trial["state"] for trial in found["trials"]].count("pruned") == 3
    assert len(found["trials"]) == 14  # 8 of the search, and 2 finalists trained 3 times each
    assert (found["best"], found["candidate"]) == ([1], 1)
    (evaluation,) = found["looks"]
    assert round(evaluation["proof"]["candidate"]["accuracy_mean"], 4) == 0.9307
    trials = (bench.folder / "reports" / "small.csv").read_text(encoding="utf-8")
    assert_golden("recorded-study.csv", trials)


def bundle_of(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        bundle = json.loads(archive.read("bundle.json"))
    return {name: value for name, value in bundle.items() if name != "mnist_bench"}


def test_store_is_exported_as_it_was(bench: Bench) -> None:
    ended = bench.call_with_store("export", "again.zip")
    assert ended.status == 0, ended.stderr
    assert bundle_of(bench.folder / "again.zip") == bundle_of(RECORDED / "runs.zip")


def test_bundle_is_imported(tmp_path: Path, reports: Path) -> None:
    other = Bench(tmp_path)
    ended = other.call_with_store("import", str(RECORDED / "runs.zip"))
    assert ended.status == 0, ended.stderr
    ended = other.call_with_store("report", "--format", "json")
    assert ended.status == 0, ended.stderr
    imported = json.loads((other.folder / "reports" / "report.json").read_bytes())["runs"]
    recorded = json.loads((reports / "report.json").read_bytes())["runs"]
    assert len(imported) == RUNS
    for run in (*imported, *recorded):
        del run["run_id"]
    assert imported == recorded
