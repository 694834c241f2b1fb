"""MLflow's pages on a real database, through `mnist-bench ui` and plain `mlflow ui`."""

from __future__ import annotations

import http.client
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from factories import TWO_PARAMETERS_TOML
from fakes import trial_worker as worker
from program import Bench, Running, free_port, is_alive, is_up, patched_program, wait_until
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from mnist_bench.measurement.quality import VERDICTS
from mnist_bench.scenarios import scenario

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

PAGE_SECONDS = 90
START_SECONDS = 180
"""MLflow's server takes 12 s to start on an idle machine."""


# A recorded run


@dataclass(frozen=True)
class Recorded:
    """A recorded run of `mnist-bench run smoke`.

    Attributes:
        run: The run in the JSON document.
    """

    bench: Bench
    run: dict[str, Any]

    @property
    def name(self) -> str:
        return f"smoke {self.run['steps']} steps seed {self.run['seed']}"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    bench = Bench(tmp_path_factory.mktemp("user"))
    ended = bench.run("run", "smoke", "--json")
    assert ended.status == 0, ended.stderr
    (run,) = ended.document["runs"]
    return Recorded(bench, run)


# A server on it


def request_json(port: int, method: str, path: str, content: dict[str, Any] | None = None) -> Any:
    """Response of MLflow's REST API; proxies are bypassed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        body = None if content is None else json.dumps(content)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, text
        return json.loads(text)
    finally:
        connection.close()


def experiment_of(port: int) -> str:
    """Id of the suite's experiment on the server."""
    found = request_json(port, "POST", "/api/2.0/mlflow/experiments/search", {"max_results": 100})
    ids = {each["name"]: each["experiment_id"] for each in found["experiments"]}
    assert "mnist-bench" in ids
    return ids["mnist-bench"]


def wait_for_server(running: Running, port: int) -> None:
    running.until(lambda: is_up(port), START_SECONDS)


# A browser


def text_of(browser: webdriver.Chrome) -> str:
    """Visible text of the page."""
    return browser.execute_script("return document.body ? document.body.innerText : ''")


def wait_for(
    browser: webdriver.Chrome, what: str, condition: Callable[[webdriver.Chrome], object]
) -> None:
    """Wait until the page shows something; fail with the page's text."""
    try:
        WebDriverWait(browser, PAGE_SECONDS).until(condition)
    except TimeoutException:
        pytest.fail(f"no {what} on {browser.current_url}, which shows:\n{text_of(browser)[:3000]}")


def wait_for_text(browser: webdriver.Chrome, text: str) -> None:
    wait_for(browser, repr(text), lambda page: text in text_of(page))


def with_verdict(runs: str, verdict: str) -> str:
    """URL of the table of runs, filtered by a verdict."""
    query = f"tags.`bench.verdict` = '{verdict}'"
    return f"{runs}?searchFilter={quote(query)}"


TITLE = "//*[normalize-space(text())='test_accuracy']"
# The closest ancestor of the title with exactly one chart: the chart of the metric.
PLOT = "contains(concat(' ', normalize-space(@class), ' '), ' js-plotly-plot ')"
CHART = f"{TITLE}/ancestor::*[count(.//*[{PLOT}]) = 1]//*[{PLOT}]//*[local-name() = 'svg']"


# Pages


def test_mlflow_pages_show_runs_descriptions_and_charts(
    recorded: Recorded, browser: webdriver.Chrome
) -> None:
    port = free_port()
    with recorded.bench.started("ui", "--port", str(port)) as running:
        running.until(lambda: "Ready: " in running.stdout(), START_SECONDS)
        experiment_id, run_id = experiment_of(port), recorded.run["run_id"]
        runs = f"http://127.0.0.1:{port}/#/experiments/{experiment_id}/runs"

        # The experiment's table of runs, with its data sets
        table = f"{runs}?workflowType=machine_learning&searchFilter="
        page = table + quote("tags.bench.schema = '1'")
        assert f"Ready: {page}  (" in running.stdout()
        browser.get(page)
        wait_for_text(browser, recorded.name)
        wait_for_text(browser, "mnist-5k training")

        # The same table, for one verdict: the run is there, for another it is not
        verdict = recorded.run["verdict"]
        browser.get(with_verdict(runs, verdict))
        wait_for_text(browser, recorded.name)
        browser.get(with_verdict(runs, next(other for other in VERDICTS if other != verdict)))
        wait_for_text(browser, "All runs in this experiment have been filtered")
        assert recorded.name not in text_of(browser)

        # The page of the run: its description and metrics
        browser.get(f"{runs}/{run_id}")
        wait_for_text(browser, scenario.read(scenario.find("smoke")).title)
        wait_for_text(browser, f"Max test accuracy {recorded.run['max_test_accuracy']:.4f}")
        wait_for(browser, "metric", lambda page: page.find_elements(By.XPATH, TITLE))

        # The chart of the metric over steps
        browser.get(f"{runs}/{run_id}/model-metrics")
        wait_for(browser, "chart", lambda page: page.find_elements(By.XPATH, CHART))

        if sys.platform == "win32":
            return  # Ctrl-C reaches a whole console there, the tests too
        children = running.descendants()
        assert children
        running.process.send_signal(signal.SIGINT)
        ended = running.ended(60)
    assert (ended.status, ended.stderr) == (0, "")
    wait_until(lambda: not [process for process in children if is_alive(process)], 30)


def test_plain_mlflow_ui_shows_runs_and_artifacts(recorded: Recorded) -> None:
    port = free_port()
    with recorded.bench.started(
        *("ui", "--port", str(port), "--workers", "1"),
        program=(sys.executable, "-m", "mlflow"),
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",  # would start sixteen unused processes
    ) as running:
        wait_for_server(running, port)
        experiment_id = experiment_of(port)
        body = {"experiment_ids": [experiment_id], "max_results": 10}
        found = request_json(port, "POST", "/api/2.0/mlflow/runs/search", body)
        (run,) = found["runs"]
        assert run["info"]["run_id"] == recorded.run["run_id"]
        assert run["info"]["run_name"] == recorded.name
        path = f"/api/2.0/mlflow/artifacts/list?run_id={recorded.run['run_id']}"
        listed = {file["path"] for file in request_json(port, "GET", path)["files"]}
        assert {"result.json", "predictions.npz"} <= listed


# A study


@pytest.fixture(scope="module")
def recorded_study(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A study of three trials with fake workers."""
    bench = Bench(tmp_path_factory.mktemp("user"))
    (bench.folder / "two.toml").write_text(TWO_PARAMETERS_TOML, encoding="utf-8")
    program = patched_program(
        f"from mnist_bench.runner import process\nprocess.COMMAND = {worker('pass')!r}"
    )
    ended = bench.run(
        *("tune", "--space", "two.toml", "--trials", "3", "--confirm", "0", "--json"),
        program=program,
    )
    assert ended.status == 0, ended.stderr
    return Recorded(bench, ended.document)


def test_mlflow_pages_show_a_study_and_its_trials(
    recorded_study: Recorded, browser: webdriver.Chrome
) -> None:
    port = free_port()
    with recorded_study.bench.started("ui", "--port", str(port)) as running:
        wait_for_server(running, port)
        experiment_id = experiment_of(port)
        runs = f"http://127.0.0.1:{port}/#/experiments/{experiment_id}/runs"
        browser.get(runs)
        wait_for_text(browser, "two-accuracy")
        first = recorded_study.run["trials"][0]["run_id"]

        # The page of a trial's run: parent, description, validation curve and no test curve
        browser.get(f"{runs}/{first}")
        wait_for_text(browser, "Trial 0 of the study two-accuracy")
        wait_for_text(browser, "Parent run")
        browser.get(f"{runs}/{first}/model-metrics")
        wait_for_text(browser, "validation_accuracy")
        assert "test_accuracy" not in text_of(browser)
