"""Runs recorded over HTTP on a real `mlflow server`."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from program import Bench, Ended, free_port
from servers import tracking_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PASSWORD = "hunter2-of-the-test"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    bench = Bench(tmp_path_factory.mktemp("server"))
    port = free_port()
    with tracking_server(bench, port, "sqlite:///served.db"):
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="module")
def ended(user: Bench, address: str) -> Ended:
    return user.run(
        *("run", "smoke", "--steps", "60", "--json"),
        MLFLOW_TRACKING_URI=f"http://me:{PASSWORD}@{address}",
    )


def test_the_run_is_recorded_on_the_server_only(user: Bench, ended: Ended, address: str) -> None:
    from mlflow import MlflowClient

    assert ended.status == 0, ended.stderr
    (run,) = ended.document["runs"]
    client = MlflowClient(tracking_uri=f"http://{address}")
    recorded = client.get_run(run["run_id"])
    assert recorded.info.status == "FINISHED"
    assert recorded.data.metrics["max_test_accuracy"] == run["max_test_accuracy"]
    assert {f.path for f in client.list_artifacts(run["run_id"])} == {
        "machine.json",
        "predictions.npz",
        "result.json",
        "scenario.toml",
        "worker.log",
    }
    assert sorted(path.name for path in user.folder.iterdir()) == ["reports"]
    assert list(user.temporary.glob("mnist-bench-*")) == []


def test_the_report_links_to_runs_on_the_server(user: Bench, ended: Ended, address: str) -> None:
    reported = user.run("report", MLFLOW_TRACKING_URI=f"http://me:{PASSWORD}@{address}")
    assert reported.status == 0, reported.stderr
    (run,) = ended.document["runs"]
    page = (user.folder / "reports" / "report.html").read_text(encoding="utf-8")
    assert re.search(rf'href="http://{address}/#/experiments/\d+/runs/{run["run_id"]}"', page)


def test_standard_output_is_only_the_document(user: Bench, ended: Ended) -> None:
    # By default MLflow's client would print the URL of each run.
    assert ended.stdout == (user.folder / "reports" / "smoke.json").read_text(encoding="utf-8")


def test_the_password_is_not_written_anywhere(user: Bench, ended: Ended, address: str) -> None:
    assert PASSWORD not in ended.stdout + ended.stderr
    files = [path for path in user.folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]


def test_ui_prints_the_server(user: Bench, address: str) -> None:
    ui = user.run("ui", MLFLOW_TRACKING_URI=f"http://me:{PASSWORD}@{address}")
    assert ui.status == 0
    assert f"http://{address}" in ui.stdout
    assert PASSWORD not in ui.stdout + ui.stderr
