"""README's screenshots: MLflow's table of recorded runs, and the top of the sample report.

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

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
ONLY_RUNS = "params.scenario = 'smoke'"
CHARTS = ".js-plotly-plot svg"
HIDE_ASSISTANT = "document.querySelectorAll('[aria-label=\"Close\"]').forEach(e => e.click())"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def set_size(browser: webdriver.Chrome, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def wait_for_text(browser: webdriver.Chrome, text: str) -> None:
    script = "return document.body ? document.body.innerText : ''"
    WebDriverWait(browser, 90).until(lambda page: text in page.execute_script(script))


def take(browser: webdriver.Chrome, name: str) -> None:
    """Compare nothing: fonts and MLflow's page differ; the picture must be one."""
    picture = browser.get_screenshot_as_png()
    assert picture.startswith(PNG_SIGNATURE)
    if os.environ.get("MNIST_BENCH_RENEW_IMAGES"):
        IMAGES.mkdir(exist_ok=True)
        (IMAGES / name).write_bytes(picture)
    assert (IMAGES / name).read_bytes().startswith(PNG_SIGNATURE)


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
        take(browser, "mlflow.png")


def test_top_of_the_sample_report(browser: webdriver.Chrome) -> None:
    set_size(browser, 1280, 720)
    browser.get((ROOT / "reports" / "sample" / "report.html").as_uri())
    wait_for_text(browser, "Table I beside this machine")
    browser.execute_script("document.querySelector('h2').scrollIntoView()")
    take(browser, "report.png")
