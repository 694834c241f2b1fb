"""The report page, from hand-made results."""

from __future__ import annotations

import dataclasses
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
from mnist_bench.reporting.digit_charts import charts_of_layers
from mnist_bench.reporting.figures import charts_of_report
from mnist_bench.reporting.markdown import report_to_markdown

VOID = {"meta", "br", "hr", "img", "link", "input"}


@pytest.fixture(scope="module")
def page() -> str:
    table_1 = [*seeds(1_000, 0.985, 0.986, 0.987), *seeds(10_000, 0.992, 0.993, 0.994)]
    smoke = [run(200, 0.91, scenario="smoke", dataset="mnist-5k")]
    report = combined_report(
        report_section(table_1), report_section(smoke, "smoke", "A quick look"),
        layers=LAYER_MAPS, studies=(study_document(),),
    )  # fmt: skip
    return page_of(report)


class TagParser(HTMLParser):
    """Collects the page's tags and attributes, and checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
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
        self.ids.update(value or "" for name, value in attrs if name == "id")
        if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"{tag} closes nothing, at {self.getpos()}")


def parsed(text: str) -> TagParser:
    parser = TagParser()
    parser.feed(text)
    parser.close()
    return parser


def test_tags_are_closed_and_ids_unique(page: str) -> None:
    parser = parsed(page)
    assert parser.faults == []
    assert parser.open == []
    assert [name for name, count in parser.ids.items() if count > 1] == []


def test_links_point_into_the_page(page: str) -> None:
    parser = parsed(page)
    targets = {value for _, name, value in parser.attributes if name in ("href", "xlink:href")}
    assert {t for t in targets if not t.startswith(("#", "data:image/png;base64,"))} == set()
    assert {t[1:] for t in targets if t.startswith("#")} <= set(parser.ids)
    labels = {value for _, name, value in parser.attributes if name == "aria-labelledby"}
    assert labels <= set(parser.ids)


def test_page_is_self_contained(page: str) -> None:
    parser = parsed(page)
    for tag in ("script", "link", "img", "iframe", "object", "base", "form"):
        assert parser.tags[tag] == 0
    loads = {"src", "srcset", "data", "action", "background", "poster"}
    assert [each for each in parser.attributes if each[1] in loads] == []
    assert [each for each in parser.attributes if each[1].startswith("on")] == []
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_headings_skip_no_level(page: str) -> None:
    levels = parsed(page).headings
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_chart_has_a_text_alternative(page: str) -> None:
    parser = parsed(page)
    images = [value for _, name, value in parser.attributes if name == "role" and value == "img"]
    labels = [value for tag, name, value in parser.attributes
              if tag == "div" and name == "aria-label"]  # fmt: skip
    assert len(images) == parser.tags["svg"] == parser.tags["figure"] > 15
    assert len(labels) == len(images) + parser.tags["table"]
    assert all(len(label) > 10 for label in labels)
    assert any("1.60% at 901" in label and "n = 3" in label for label in labels)


def test_charts_use_the_pages_color(page: str) -> None:
    assert "currentColor" in page
    assert "#010203" not in page
    assert "prefers-color-scheme: dark" in page


def test_page_is_reproducible() -> None:
    report = combined_report(report_section(seeds(1_000, 0.985, 0.986, 0.987)))
    assert page_of(report) == page_of(report)


def test_recorded_text_is_escaped() -> None:
    evil = report_section(
        [run(scenario=EVIL_TEXT, run_id=EVIL_TEXT, status="failed", failure=EVIL_TEXT),
         run(scenario=EVIL_TEXT)],
        EVIL_TEXT, EVIL_TEXT,
    )  # fmt: skip
    report = combined_report(evil, title=EVIL_TEXT, ui="http://127.0.0.1:5000/#/experiments/1")
    parser = parsed(page_of(report))
    assert parser.faults == []
    assert parser.tags["script"] == 0
    assert "\u202e" not in page_of(report)
    assert "<script" not in report_to_markdown(report)


def test_runs_are_linked_to_a_server() -> None:
    report = combined_report(report_section([run()]), ui="http://127.0.0.1:5000/#/experiments/1")
    address = "http://127.0.0.1:5000/#/experiments/1/runs/run-1000-0"
    assert f'href="{address}"' in page_of(report)
    assert f"| [run-1000-0]({address}) |" in report_to_markdown(report)
    assert f"{address}" not in report_to_markdown(combined_report(report_section([run()])))


def test_trials_are_linked_to_a_server() -> None:
    server = "http://127.0.0.1:5000/#/experiments/1"
    report = combined_report(report_section([run()]), ui=server, studies=(study_document(),))
    trial = next(trial for trial in study_document().finished if trial.run_id)
    address = f"{server}/runs/{trial.run_id}"
    assert f'href="{address}"' in page_of(report)
    assert f"| [{trial.run_id}]({address}) |" in report_to_markdown(report)


def test_limit_of_runs() -> None:
    results = [run(200, 0.9, seed, evaluations=evaluations(200, 0.9)) for seed in range(250)]
    report = combined_report(report_section(results))
    for text in (page_of(report), report_to_markdown(report)):
        assert "And 50 more" in text


def test_digits(page: str) -> None:
    assert "4 of 40 readings of test images are wrong, n = 2." in page
    assert "Most often a 9 is taken for a 4: 4 times." in page
    assert "number 9, a 9 taken for a 4 by 2 of 2" in page
    assert "<td>9</td><td>2</td><td>0.00%</td><td class=words>4 (4 times in 4)</td>" in page


def test_misclassified_images_are_drawn() -> None:
    report = combined_report(report_section([run()]))
    (_, missed) = charts_of_report(report).confusions[0]
    assert missed.svg.count("<image ") == 2
    assert missed.svg.count("9 as 4") == 2


def test_text_of_charts_has_the_pages_color(page: str) -> None:
    """Black text would be invisible on a dark page; Matplotlib writes it without a color."""
    parser = parsed(page)
    styles = [value for tag, name, value in parser.attributes if tag == "text" and name == "style"]
    assert len(styles) > 100
    assert [style for style in styles if "fill: currentColor" not in style] == []
    assert "stroke: #000000" not in page
    assert "fill: #000000" not in page


def test_figures_1_to_4(page: str) -> None:
    assert "<strong>Figure 1: the input.</strong>" in page
    for number in (2, 3, 4):
        for state in ("untrained, as published", "after 1,000 updates"):
            assert f"<strong>Figure {number}: hidden layer {number - 1}, {state}.</strong>" in page
    assert "20 maps of 7 by 7; in the mean filter 0 is the strongest." in page
    assert "Test image 3 of mnist, a 7, in the layers" in page
    assert "a network of Table I makes of the same image, trained for 10,000 updates." in page
    assert "after 1,000 updates, with a test accuracy of 0.9500" in page
    assert "Of the trained network: 80 maps of 14 by 14; " in page
    assert "is the strongest. The first 64 are drawn." in page


def test_descriptions_of_layer_maps() -> None:
    maps = np.zeros((7, 7, 4), np.float32)
    maps[2, 3, 1], maps[..., 2] = 9, 0.5
    layers = dataclasses.replace(LAYER_MAPS, untrained=(*FEATURE_MAPS[:2], maps), own=(maps,))
    descriptions = {chart.name: chart.alternative for chart in charts_of_layers(layers, "layers")}
    expected = "4 maps of 7 by 7; in the mean filter 2 is the strongest; 2 of them show nothing."
    assert descriptions["figure-4"] == expected
    assert descriptions["own-1"] == f"Of the trained network: {expected}"


def test_hint_without_maps_of_table_1s_network() -> None:
    report = combined_report(
        report_section([run()]), layers=dataclasses.replace(LAYER_MAPS, own=())
    )
    assert "a scenario with save_weights = true does." in page_of(report)


def test_title_of_the_table_without_table_1s_step_counts(page: str) -> None:
    assert page.count("<h3>Table I beside this machine</h3>") == 1
    assert page.count("<h3>What was run</h3>") == 1


def test_section_of_a_study(page: str) -> None:
    document = study_document()
    assert f"Study {document.study}: " in page
    assert "The search, trial by trial" in page
    text = report_to_markdown(combined_report(report_section([run()]), studies=(document,)))
    assert f"## Study {document.study}: " in text


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


def test_pareto_front_of_a_study(page: str) -> None:
    charts = charts_of_report(
        combined_report(report_section([run()]), studies=(pareto_study(),))
    ).studies[0]
    descriptions = {chart.name: chart.alternative for chart in charts}
    assert list(descriptions) == ["history", "slices", "pareto"]
    front = "trial 3, validation accuracy 0.9912, train seconds 1 min 35 s, peak RSS 500 MiB"
    assert front in descriptions["pareto"]
    assert "trial 2" not in descriptions["pareto"]
    assert "0.9712 in trial 0, at best 0.9912 in trial 3." in descriptions["history"]
    # Black rings would be invisible on a dark page.
    (svg,) = [chart.svg for chart in charts if chart.name == "pareto"]
    assert "stroke: #000000" not in svg
    assert "The trade-off" not in page


def test_description_of_the_slices() -> None:
    charts = charts_of_report(
        combined_report(report_section([run()]), studies=(study_document(),))
    ).studies[0]
    (description,) = [chart.alternative for chart in charts if chart.name == "slices"]
    assert description == (
        "The validation accuracy over each parameter. The best 2 trials have: learning_rate 0.001 "
        "to 0.01235, batch_size 50 to 64, optimizer momentum (1 of 2) or adam (1 of 2), schedule "
        "cosine (1 of 2) or constant (1 of 2), average_decay 0.0 (1 of 1)."
    )


def test_few_runs_are_unfolded(page: str) -> None:
    assert page.count("<details open>") == 2
    results = [run(200, 0.9, seed, evaluations=evaluations(200, 0.9)) for seed in range(21)]
    assert "<details>" in page_of(combined_report(report_section(results)))


def test_svg_files_have_title_and_description() -> None:
    report = combined_report(
        report_section([run(dataset=EVIL_TEXT)]),
        layers=dataclasses.replace(LAYER_MAPS, dataset=EVIL_TEXT),
    )
    for content in charts_of_report(report).files(report).values():
        element = ET.fromstring(content)
        for name in ("title", "desc"):
            element_text = element.find(f"{{http://www.w3.org/2000/svg}}{name}")
            assert element_text is not None
            assert element_text.text
        assert element.get("role") == "img"


def test_file_names_of_charts_are_unique() -> None:
    report = combined_report(
        report_section([run(scenario="../x")], "../x"),
        report_section([run(scenario="X")], "X"),
        layers=LAYER_MAPS,
    )
    files = charts_of_report(report).files(report)
    assert "figure-4.svg" in files
    assert {"x-confusion.svg", "x-confusion-2.svg"} <= set(files)
    assert len(files) == 2 * 6 + len(charts_of_report(report).layers)
    assert all("/" not in name and name == name.lower() for name in files)
    assert all(content.startswith(b"<svg") for content in files.values())
