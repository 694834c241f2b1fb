"""After `kill -9` of `run`, any next command closes its runs; live runs are left alone."""

from __future__ import annotations

import json
from pathlib import Path

import fakes
import pytest
from factories import dead_owner, machine, received_at_ms, sqlite_url, write_spool
from program import Bench, RecordedRuns

from mnist_bench.cli import ui
from mnist_bench.core import locks
from mnist_bench.tracking import spool
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address

THEIRS = Path(__file__).parents[1] / "contract" / "recorded" / "runs.zip"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def start_training(bench: Bench, owner: str) -> None:
    """Leave a folder as after one finished step count, in the middle of the next."""
    address = Address(tracking_uri=sqlite_url(bench.folder / "mlflow.db"), experiment="mnist-bench")
    writer = write_spool(address, owner, folder=bench.folder / spool.FOLDER)
    contents = spool.read(writer.path)
    assert contents is not None
    store = MlflowStore(address.tracking_uri, address.experiment)
    short, long = contents.header.runs
    for run in (short, long):
        store.start(run, "note", owner, machine(), at_ms=received_at_ms(0))
    locks.release_all()


def statuses(bench: Bench) -> dict[int, str]:
    return {
        int(run.data.params["steps"]): run.info.status
        for run in RecordedRuns(bench.folder).runs()
        if "steps" in run.data.params and "bench.imported" not in run.data.tags
    }


@pytest.mark.parametrize(
    "command",
    [
        "report --format json",
        "compare --by machine",
        "export bundle.zip",
        f"import {THEIRS}",
        "ui",
    ],
)
def test_next_command_closes_the_runs_of_a_killed_one(
    bench: Bench, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui, "_serve", lambda *_: None)
    start_training(bench, dead_owner(bench.folder / spool.FOLDER))
    assert statuses(bench) == {250: "RUNNING", 501: "RUNNING"}
    ended = bench.call_with_store(*command.split())
    recovered = "1 run of a vanished process closed as KILLED, 1 run uploaded to MLflow"
    assert f"Recovered from earlier commands: {recovered}" in ended.stderr + ended.stdout
    assert statuses(bench) == {250: "FINISHED", 501: "KILLED"}
    assert list((bench.folder / "mlruns" / ".runs").glob("*.jsonl")) == []


def test_running_runs_are_not_in_a_report(bench: Bench) -> None:
    assert bench.call_with_store("import", str(THEIRS)).status == 0
    with fakes.live_owner(bench.folder / spool.FOLDER) as alive:
        start_training(bench, alive)
        ended = bench.call_with_store("report", "--format", "json,md")
        assert ended.status == 0, ended.stderr
        assert "Recovered" not in ended.stderr
        assert statuses(bench) == {250: "RUNNING", 501: "RUNNING"}
    document = json.loads((bench.folder / "reports" / "report.json").read_bytes())
    steps = {run["steps"] for run in document["runs"]}
    assert steps
    assert not steps & {250, 501}
    text = (bench.folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert "2 runs left out: still running" in text
