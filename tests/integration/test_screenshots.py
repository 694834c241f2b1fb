"""README's screenshots: MLflow's table of recorded runs, and the top of a report.

With MNIST_BENCH_RENEW_IMAGES=1 the pictures in docs/images are renewed.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest
from program import Bench, free_port, is_up, restore_recorded_store
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from mnist_bench.analysis import table1
from mnist_bench.reporting.figures import charts_of_report
from mnist_bench.reporting.html import report_to_html
from mnist_bench.reporting.model import Report, ReportSection
from mnist_bench.reporting.text import title

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
ONLY_RUNS = "params.scenario = 'smoke'"
CHARTS = ".js-plotly-plot svg"
HIDE_ASSISTANT = "document.querySelectorAll('[aria-label=\"Close\"]').forEach(e => e.click())"


def set_size(browser: webdriver.Chrome, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def wait_for_text(browser: webdriver.Chrome, text: str) -> None:
    script = "return document.body ? document.body.innerText : ''"
    WebDriverWait(browser, 90).until(lambda page: text in page.execute_script(script))


def take(browser: webdriver.Chrome, name: str) -> None:
    """Renew a picture on request; not compared, since fonts and MLflow's page differ."""
    picture = browser.get_screenshot_as_png()
    if os.environ.get("MNIST_BENCH_RENEW_IMAGES"):
        (IMAGES / name).write_bytes(picture)


def test_mlflow_table_of_runs(tmp_path: Path, browser: webdriver.Chrome) -> None:
    bench, port = Bench(tmp_path), free_port()
    restore_recorded_store(bench.folder)
    with bench.started("ui", "--port", str(port)) as running:
        running.until(lambda: is_up(port), 180)
        set_size(browser, 1600, 900)
        runs = f"http://127.0.0.1:{port}/#/experiments/1/runs"
        query = f"searchFilter={quote(ONLY_RUNS)}&compareRunsMode=CHART"
        browser.get(f"{runs}?workflowType=machine_learning&{query}")
        for name in ("smoke 200 steps", "max_test_accuracy"):
            wait_for_text(browser, name)
        browser.execute_script(HIDE_ASSISTANT)
        WebDriverWait(browser, 90).until(lambda page: page.find_elements(By.CSS_SELECTOR, CHARTS))
        shown = browser.find_element(By.TAG_NAME, "body").text
        assert "smoke 200 steps seed 0" in shown
        assert "small-paper" not in shown  # filtered out
        take(browser, "mlflow.png")


def test_page_of_the_reference(tmp_path: Path, browser: webdriver.Chrome) -> None:
    """The page as this version writes it, of the runs that the shipped reference was made of."""
    document = table1.reference_document()
    section = ReportSection(
        title="Scenario table-1", scenario="table-1", command="", created="2026-01-31",
        document=document, rows=document.table_1,
    )  # fmt: skip
    report = Report(
        title=title((section,), (), document.machine),
        command="mnist-bench report", created="2026-01-31", document=document, sections=(section,),
    )  # fmt: skip
    page = tmp_path / "report.html"
    page.write_text(report_to_html(report, charts_of_report(report)), encoding="utf-8")
    set_size(browser, 1280, 800)
    browser.get(page.as_uri())
    wait_for_text(browser, "4 of 4 reproduced")
    tables = browser.find_elements(By.TAG_NAME, "table")
    first = [row.text.split()[0] for row in tables[0].find_elements(By.CSS_SELECTOR, "tbody tr")]
    assert first == ["1,000", "2,500", "5,000", "10,000"]
    take(browser, "report.png")
