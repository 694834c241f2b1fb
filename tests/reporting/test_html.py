"""The report page and its charts, from hand-made results."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
import statistics
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from factories import (
    EVIL_TEXT,
    FEATURE_MAPS,
    LAYER_MAPS,
    combined_report,
    evaluations,
    page_of,
    pareto_study,
    report_section,
    run,
    seeds,
    study_document,
)

from mnist_bench.core import formatting
from mnist_bench.reporting import text
from mnist_bench.reporting.digit_charts import charts_of_layers
from mnist_bench.reporting.figures import ReportCharts, charts_of_report
from mnist_bench.reporting.html import report_to_html
from mnist_bench.reporting.markdown import report_to_markdown
from mnist_bench.reporting.model import Report
from mnist_bench.reporting.study_charts import charts_of_study
from mnist_bench.reporting.text import Tile
from mnist_bench.results.run import RunResult

VOID = {"meta", "br", "hr", "img", "link", "input"}
SERVER = "http://127.0.0.1:5000/#/experiments/1"
TABLE_1 = [*seeds(1_000, 0.985, 0.986, 0.987), *seeds(10_000, 0.992, 0.993, 0.994)]
REPORT = combined_report(
    report_section(TABLE_1),
    report_section([run(200, 0.91, scenario="smoke", dataset="mnist-5k")], "smoke", "A quick look"),
    layers=LAYER_MAPS, studies=(study_document(),), ui=SERVER,
)  # fmt: skip


@pytest.fixture(scope="module")
def page() -> str:
    return page_of(REPORT)


def page_without_charts(report: Report) -> str:
    """Charts take most of the time."""
    of_sections = tuple(() for _ in report.sections)
    charts = ReportCharts(of_sections, of_sections, tuple(() for _ in report.studies), (), {})
    return report_to_html(report, charts)


class TagParser(HTMLParser):
    """Collects the page's tags and attributes, and checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.headings: list[int] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"{tag} closes nothing, at {self.getpos()}")

    def values(self, *names: str) -> list[str]:
        return [value for _, name, value in self.attributes if name in names]


def parsed(text: str) -> TagParser:
    parser = TagParser()
    parser.feed(text)
    parser.close()
    assert parser.faults == []
    assert parser.open == []
    return parser


def test_structure(page: str) -> None:
    parser = parsed(page)
    ids = Counter(parser.values("id"))
    assert [name for name, count in ids.items() if count > 1] == []
    targets = {t for t in parser.values("href", "xlink:href") if not t.startswith("data:image/png")}
    assert {t[1:] for t in targets if t.startswith("#")} <= set(ids)
    outside = {t for t in targets if not t.startswith("#")}
    assert all(target.startswith(f"{SERVER}/runs/") for target in outside)
    assert set(parser.values("aria-labelledby")) <= set(ids)
    levels = parser.headings
    assert (levels[0], levels.count(1)) == (1, 1)
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_page_is_self_contained(page: str) -> None:
    parser = parsed(page)
    for tag in ("link", "img", "iframe", "object", "base", "form"):
        assert parser.tags[tag] == 0
    loads = ("src", "srcset", "data", "action", "background", "poster")
    assert parser.values(*loads) == []
    assert [each for each in parser.attributes if each[1].startswith("on")] == []
    assert "@import" not in page
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (value for value in parser.values("content") if "default-src" in value)
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{digest}'; "
        "style-src 'unsafe-inline'; img-src data:"
    )
    # Controls without a function would be left where scripts don't run.
    assert parser.tags["input"] == parser.tags["button"] == 0


def test_every_chart_has_a_text_alternative(page: str) -> None:
    parser = parsed(page)
    labels = [value for tag, name, value in parser.attributes
              if tag == "div" and name == "aria-label"]  # fmt: skip
    images = parser.values("role").count("img")
    assert images == parser.tags["svg"] == parser.tags["figure"] > 15
    assert len(labels) == images + parser.tags["table"]
    assert all(len(label) > 10 for label in labels)
    assert any("1.60% at 901" in label and "n = 3" in label for label in labels)


def test_charts_use_the_pages_color(page: str) -> None:
    """Black text would be invisible on a dark page; Matplotlib writes it without a color."""
    parser = parsed(page)
    styles = [value for tag, name, value in parser.attributes if tag == "text" and name == "style"]
    assert len(styles) > 100
    assert [style for style in styles if "fill: currentColor" not in style] == []
    for color in ("#010203", "stroke: #000000", "fill: #000000"):
        assert color not in page
    assert "prefers-color-scheme: dark" in page


def test_points_tell_their_run(page: str) -> None:
    tip = (
        "<title>Seed 2, 1,000 steps: max test accuracy 0.9870, final 0.9860, train time 20.0 s"
        "</title></use>"
    )
    assert page.count(tip) == 2  # by step and by seconds
    trial = "Trial 1: validation accuracy 0.9834; learning_rate 0.01235, batch_size 64, "
    assert page.count(f"<title>{trial}") == 1 + 4  # history, and a slice for each parameter it has
    assert 'id="tips' not in page


def test_cells_have_the_values_that_they_were_formatted_from(page: str) -> None:
    assert '<td data-value="0.986">0.9860 ± 0.00100</td>' in page
    assert '<td data-value="200.0">3 min 20 s</td>' in page
    assert f'<td data-value="{1_000 * 2**20 + 200}">1,000 MiB</td>' in page
    assert "<td>–</td>" in page


def test_page_is_reproducible() -> None:
    section = report_section(seeds(1_000, 0.985, 0.986, 0.987))
    report = combined_report(dataclasses.replace(section, confusion=None))
    assert page_of(report) == page_of(report)


# The lead of the page, and what has no place on it


@pytest.mark.parametrize(
    ("results", "scenario", "title", "tiles"),
    [
        (TABLE_1, "table-1", "Table I reproduced on Imaginary CPU, 2 cores, 16 GiB", [
            Tile("Table I", "2 of 2 reproduced",
                 "10,000 steps: 0.9930 ± 0.00100 here, 0.9928 in the paper"),
            Tile("All in", "10 min 23 s", "10 min 00 s of it training, 3 trainings"),
            Tile("Peak memory", "1,000 MiB", "of the training process"),
            Tile("Speed", "1.00×", "that of the reference, Reference CPU"),
        ]),
        (seeds(1_000, 0.98, 0.9801, 0.9799), "table-1",
         "Table I, 1 of 1 below, on Imaginary CPU, 2 cores, 16 GiB", [
            Tile("Table I", "1 of 1 below",
                 "1,000 steps: 0.9800 ± 0.00010 here, 0.9840 in the paper"),
            Tile("All in", "1 min 23 s", "1 min 00 s of it training, 3 trainings"),
            Tile("Peak memory", "1,000 MiB", "of the training process"),
            Tile("Speed", "1.00×", "that of the reference, Reference CPU"),
        ]),
        ([run(200, 0.91, scenario="smoke", dataset="mnist-5k")], "smoke",
         "Quick on Imaginary CPU, 2 cores, 16 GiB", [
            Tile("Final test accuracy", "0.9090", "smoke, 200 steps"),
            Tile("All in", "11.8 s", "4.0 s of it training, 1 training"),
            Tile("Peak memory", "1,000 MiB", "of the training process"),
        ]),
    ],
    ids=["reproduced", "below", "smoke"],
)  # fmt: skip
def test_lead(results: list[RunResult], scenario: str, title: str, tiles: list[Tile]) -> None:
    section = report_section(results, scenario, "Quick")
    assert text.title([section], (), section.document.machine) == title
    assert text.tiles(combined_report(section)) == tiles


def test_lead_of_a_study_alone() -> None:
    section, study = report_section(TABLE_1), study_document()
    assert text.title((), [study], section.document.machine).startswith("Study mine on Imaginary")
    report = dataclasses.replace(combined_report(section, studies=(study,)), sections=())
    assert [tile.value for tile in text.tiles(report)] == ["0.9834", "6", "1 min 15 s"]


def test_one_table_has_all_results(page: str) -> None:
    results = page.partition('<h2 id="results">')[2].partition("</table>")[0]
    rows = [re.sub("<[^>]*>", "|", row) for row in results.partition("<tbody>")[2].split("</tr>")]
    assert ["reproduced" in row for row in rows[:-1]] == [True, True, False]
    assert "|smoke||200||1||–||0.9100||–||0.9090||4.0 s||1,000 MiB|" in rows[2]


def test_columns_without_a_value_are_left_out() -> None:
    section = report_section([run(200, 0.91, scenario="smoke", memory_method=None)], "smoke")
    page = page_without_charts(combined_report(section))
    headers = re.findall(r"<th scope[^>]*>([^<]*)</th>", page)
    assert "Paper" not in headers  # no step count of Table I
    assert "Clean" not in headers  # nobody looked
    assert "| Clean |" in report_to_markdown(combined_report(section))


def test_a_fit_has_no_curve_and_no_pace() -> None:
    """A method without steps is scored once, after its one step of minutes."""
    fit = run(1, 0.985, scenario="svm", evaluations=evaluations(1, 0.985, seconds=360.0))
    section = report_section([fit], "svm")
    assert any(line.reached for line in section.document.reaches)
    report = combined_report(section)
    assert [chart.name for chart in charts_of_report(report).sections[0]] == ["phases"]
    for shown in (page_without_charts(report), report_to_markdown(report)):
        assert "ms per step" not in shown
        assert "Train time to an accuracy" not in shown


def test_a_scenario_without_a_finished_run_is_a_note() -> None:
    failed = report_section([run(status="failed", failure="died", evaluations=())], "failed")
    page = page_without_charts(combined_report(report_section(TABLE_1), failed))
    assert "<li>failed, seed 0, 1,000 steps: failed (died)</li>" in page
    assert 'id="part-1"' in page
    assert 'id="part-2"' not in page


def test_table_1_without_curves_is_drawn_by_its_rows() -> None:
    section = dataclasses.replace(report_section(TABLE_1), curves=None)
    chart, *_ = charts_of_report(combined_report(section)).sections[0]
    assert chart.title == "Test error falls to 0.70%, the paper's to 0.72%"
    assert chart.alternative == (
        "Smallest test error by training steps, n = 3: 1.40% after 1,000, 0.70% after 10,000. "
        "The paper's: 1.60% at 1,000, 0.72% at 10,000."
    )
    for value in ("1.40%", "0.70%", "1.60%", "0.72%", "10,000"):
        assert f">{value}</text>" in chart.svg


def test_recorded_text_is_escaped() -> None:
    evil = report_section(
        [run(scenario=EVIL_TEXT, run_id=EVIL_TEXT, status="failed", failure=EVIL_TEXT),
         run(scenario=EVIL_TEXT)],
        EVIL_TEXT, EVIL_TEXT,
    )  # fmt: skip
    trials = tuple(t.model_copy(update={"run_id": EVIL_TEXT}) for t in study_document().trials)
    study = study_document(study=EVIL_TEXT, trials=trials)
    report = combined_report(evil, title=EVIL_TEXT, ui=SERVER, studies=(study,))
    page = page_of(report)
    assert parsed(page).tags["script"] == 1
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "<script" not in report_to_markdown(report)


def test_runs_and_trials_are_linked_to_a_server(page: str) -> None:
    text = report_to_markdown(REPORT)
    for run_id in ("run-1000-0", "run-200-0", "run-1"):
        assert f'<a href="{SERVER}/runs/{run_id}">{run_id}</a>' in page
        assert f"| [{run_id}]({SERVER}/runs/{run_id}) |" in text
    assert "http" not in report_to_markdown(dataclasses.replace(REPORT, ui=None))


def test_limit_of_runs_and_long_tables() -> None:
    results = [run(200, 0.9, seed, evaluations=evaluations(200, 0.9)) for seed in range(250)]
    report = combined_report(report_section(results))
    page = page_without_charts(report)
    for shown in (page, report_to_markdown(report)):
        assert "And 50 more" in shown
    assert "<details>\n<summary>Every run" in page


def test_digits(page: str) -> None:
    assert "4 of 40 readings of test images are wrong, n = 2." in page
    assert "Most often a 9 is taken for a 4: 4 times." in page
    assert "number 9, a 9 taken for a 4 by 2 of 2" in page
    assert '<td data-value="0.0">0.00%</td><td class="words">4 (4 times in 4)</td>' in page
    assert page.count("9 as 4") == 2 * 2  # two images, in both sections


def test_figures_1_to_4(page: str) -> None:
    assert "<strong>Figure 1: the input.</strong>" in page
    for number in (2, 3, 4):
        for state in ("untrained, as published", "after 1,000 updates"):
            assert f"<strong>Figure {number}: hidden layer {number - 1}, {state}.</strong>" in page
    assert "20 maps of 7 by 7; in the mean filter 0 is the strongest." in page
    assert "Test image 3 of mnist, a 7, in the layers" in page
    assert "a network of Table I makes of the same image, trained for 10,000 updates." in page
    assert "after 1,000 updates, with a test accuracy of 0.9500" in page
    assert "is the strongest. The first 64 are drawn." in page


def test_descriptions_of_layer_maps() -> None:
    maps = np.zeros((7, 7, 4), np.float32)
    maps[2, 3, 1], maps[..., 2] = 9, 0.5
    layers = dataclasses.replace(LAYER_MAPS, untrained=(maps,), trained=(maps,), own=(maps,))
    descriptions = {chart.name: chart.alternative for chart in charts_of_layers(layers, "layers")}
    expected = "4 maps of 7 by 7; in the mean filter 2 is the strongest; 2 of them show nothing."
    assert descriptions["figure-2"] == expected
    assert descriptions["own-1"] == f"Of the trained network: {expected}"


def test_titles_and_hints(page: str) -> None:
    for title in ("Table I beside this machine", "What was run"):
        assert page.count(f"<h3>{title}</h3>") == 1
    without = dataclasses.replace(REPORT, layers=dataclasses.replace(LAYER_MAPS, own=()))
    assert "a scenario with save_weights = true does." in page_without_charts(without)
    none = page_without_charts(dataclasses.replace(REPORT, layers=None))
    assert "are not here: <code>mnist-bench report --image 0</code> makes them." in none


def test_time_to_accuracy() -> None:
    results = seeds(10_000, 0.992, 0.993, 0.994)
    text = report_to_markdown(combined_report(report_section(results)))
    (line,) = [line for line in text.splitlines() if line.startswith("| 0.9928 |")]
    steps = [next(e.step for e in r.evaluations if (e.test_accuracy or 0) >= 0.9928) for r in
             results[1:]]  # fmt: skip
    mean, sd = statistics.mean(steps), statistics.stdev(steps)
    time = f"{formatting.duration(mean * 0.02)} ± {formatting.percent(sd / mean)}"
    assert line == f"| 0.9928 | 2 of 3 | {mean:,.0f} ± {sd:,.0f} | 20.0 | {time} |"


def test_comparison_with_the_reference() -> None:
    text = report_to_markdown(combined_report(report_section(seeds(1_000, 0.985, 0.986, 0.987))))
    (line,) = [line for line in text.splitlines() if line.startswith("| 1,000 | 3 against 3 |")]
    # Welch's t of two times three values a thousandth apart: 0.001 / sqrt(2/3 · 0.001²), 4 degrees.
    assert line == "| 1,000 | 3 against 3 | +0.0010 | 0.288 | 1.00 |"
    assert "The reference is of Reference CPU" in text
    assert "Training takes 1.00 times its time here" in text


def test_charts_of_studies(page: str) -> None:
    assert "Study mine: " in page
    assert "The search, trial by trial" in page
    assert "The trade-off" not in page
    assert (
        "The validation accuracy over each parameter. The best 2 trials have: learning_rate 0.001 "
        "to 0.01235, batch_size 50 to 64, optimizer momentum (1 of 2) or adam (1 of 2), schedule "
        "cosine (1 of 2) or constant (1 of 2), average_decay 0.0 (1 of 1)."
    ) in page
    charts = charts_of_study(pareto_study(), "study-1")
    described = {chart.name: chart.alternative for chart in charts}
    assert list(described) == ["history", "slices", "parallel", "pareto"]
    front = "trial 3, validation accuracy 0.9912, train seconds 1 min 35 s, peak RSS 500 MiB"
    assert front in described["pareto"]
    assert "trial 2" not in described["pareto"]
    assert "0.9712 in trial 0, at best 0.9912 in trial 3." in described["history"]
    # Black rings would be invisible on a dark page.
    assert "stroke: #000000" not in charts[-1].svg


def test_svg_files_have_names_titles_and_descriptions() -> None:
    small = dataclasses.replace(
        LAYER_MAPS, dataset=EVIL_TEXT, untrained=(), trained=(), own=FEATURE_MAPS[:1]
    )
    report = combined_report(
        report_section([run(scenario="../x", dataset=EVIL_TEXT)], "../x"),
        report_section([run(scenario="X")], "X"),
        layers=small,
    )
    charts = charts_of_report(report)
    files = charts.files(report)
    assert {"x-confusion.svg", "x-confusion-2.svg", "figure-1.svg", "own-1.svg"} <= set(files)
    assert len(files) == 2 * 6 + 2
    for name, content in files.items():
        assert re.fullmatch(r"[a-z0-9-]+\.svg", name)
        element = ET.fromstring(content)
        assert element.get("role") == "img"
        for tag in ("title", "desc"):
            found = element.find(f"{{http://www.w3.org/2000/svg}}{tag}")
            assert found is not None
            assert found.text
