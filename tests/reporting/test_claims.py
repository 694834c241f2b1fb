"""The claims on the page, in Markdown and on the terminal."""

from __future__ import annotations

import dataclasses
import io

import pytest
from factories import (
    EVIL_TEXT,
    FAST_LOSSES,
    SLOW_LOSSES,
    claims_evidence,
    combined_report,
    falling_error,
    layer_results,
    loss_curve,
    optimizer_results,
    page_of,
    report_section,
    seeds,
    trainings_on_curve,
)
from rich.console import Console

from mnist_bench.claims.decide import decide
from mnist_bench.reporting.columns import decision_interval as interval
from mnist_bench.reporting.columns import figure
from mnist_bench.reporting.figures import charts_of_report
from mnist_bench.reporting.markdown import report_to_markdown
from mnist_bench.reporting.model import Report
from mnist_bench.reporting.terminal import print_claims
from mnist_bench.reporting.text import found
from mnist_bench.results.claims import ClaimLine, Decision


def report_with_claims(*lines: ClaimLine) -> Report:
    report = combined_report(report_section(seeds(1_000, 0.984, 0.985, 0.986)))
    document = report.document.model_copy(update={"claims": lines})
    return Report(**(vars(report) | {"document": document}))


def decision(**changes: object) -> Decision:
    values = {
        "criterion": "trend", "question": "Does it fall?", "rule": "it does", "verdict": "holds",
        "value": -0.5, "low": -0.6, "high": -0.4, "unit": "ratio", "n": 20, "note": "by hand",
    }  # fmt: skip
    return Decision(**(values | changes))


def line(**changes: object) -> ClaimLine:
    values = {
        "claim": 3, "words": "It falls.", "place": "IV.C", "verdict": "holds",
        "decisions": (decision(),),
    }  # fmt: skip
    return ClaimLine(**(values | changes))


def test_section_in_markdown() -> None:
    text = report_to_markdown(report_with_claims(line(), line(claim=4, verdict="not decided here")))
    assert "Of 2 claims of the paper 1 holds, 1 is not decided here.\n" in text
    assert "## The paper's claims" in text
    assert "| 3 | holds | It falls. | IV.C |" in text
    assert "### Claim 4: not decided here" in text
    assert "| Does it fall? | -0.5 | -0.6 to -0.4 | 20 | holds |" in text
    assert "- trend: it holds where it does; by hand" in text


def test_section_on_the_page() -> None:
    page = page_of(report_with_claims(line()))
    assert '<h2 id="claims">' in page
    assert '<td class="words wraps">It falls.</td>' in page
    assert "<h3>Claim 3: holds</h3>" in page
    assert "-0.6 to -0.4" in page


def test_without_claims_there_is_no_section() -> None:
    report = report_with_claims()
    assert "claims" not in page_of(report)
    assert "claims" not in report_to_markdown(report)


def test_text_of_claims_is_escaped() -> None:
    evil = line(
        words=EVIL_TEXT,
        place=EVIL_TEXT,
        decisions=(decision(question=EVIL_TEXT, note=EVIL_TEXT, rule=EVIL_TEXT),),
    )
    page = page_of(report_with_claims(evil))
    assert "<script>alert" not in page
    text = report_to_markdown(report_with_claims(evil))
    assert "<script>" not in text
    assert "](http://evil)" not in text


def test_charts_of_experiments_follow_their_claims() -> None:
    experiments = layer_results() | optimizer_results(
        loss_curve("full batch", *SLOW_LOSSES), loss_curve("L-BFGS", *FAST_LOSSES)
    )
    report = report_with_claims(line(claim=7), line(claim=8), line(claim=10))
    report = dataclasses.replace(report, experiments=tuple(experiments.values()))
    charts = charts_of_report(report)
    (layers,), (seconds, samples) = charts.claims[7], charts.claims[8]
    assert layers.alternative == (
        "Median time of one application to 50 images: fully connected 450 ms at 8×8, 450 ms at "
        "16×16; sparse, shares none 200 ms at 8×8, 200 ms at 16×16; convolution 100 ms at 8×8, "
        "100 ms at 16×16. The band is from the smallest to the largest of the repeats."
    )
    start = "All begin with the same weights, at a loss of 2.3000. "
    assert seconds.alternative == (
        f"{start}Single samples: 0.3000 at the lowest, after 5.0 s; full batch: 0.9000 at the "
        "lowest, after 5.0 s; L-BFGS: 0.2000 at the lowest, after 0.50 s."
    )
    assert samples.alternative == (
        f"{start}Single samples: 0.3000 at the lowest, after 5,000 samples; full batch: 0.9000 "
        "at the lowest, after 30,000 samples; L-BFGS: 0.2000 at the lowest, after 1,000 samples."
    )
    page = page_of(report)
    positions = [page.index(words) for words in (
        "Claim 7: holds", "Time of one layer as its input grows", "Claim 8: holds",
        "Loss by seconds", "Loss by images", "Claim 10: holds",
    )]  # fmt: skip
    assert positions == sorted(positions)
    names = {"claim-7-layers.svg", "claim-8-loss-by-seconds.svg", "claim-8-loss-by-samples.svg"}
    assert names < set(charts.files(report))


def test_no_chart_without_layer_times_and_loss_curve_without_steps() -> None:
    untimed = layer_results(seconds=None)[7]
    costs = tuple(cost for cost in untimed.body.costs if cost.kind == "dense")
    body = untimed.body.model_copy(update={"costs": costs})
    unfinished = optimizer_results(
        loss_curve("full batch", (0, 0.0, 2.3)), loss_curve("L-BFGS", *FAST_LOSSES)
    )[8]
    experiments = (untimed.model_copy(update={"body": body}), unfinished)
    charts = charts_of_report(
        dataclasses.replace(report_with_claims(line(claim=8)), experiments=experiments)
    ).claims
    assert charts[7] == ()
    assert "; full batch: nothing came of it; " in charts[8][0].alternative


def test_every_claim_is_shown_in_every_format() -> None:
    lines = decide(claims_evidence(trainings_on_curve(falling_error), price=0.3))
    page, text = page_of(report_with_claims(*lines)), report_to_markdown(report_with_claims(*lines))
    screen = io.StringIO()
    print_claims(lines, Console(file=screen, width=200))
    for each in lines:
        for output in (page, text, screen.getvalue()):
            assert f"Claim {each.claim}: {each.verdict}" in output
    assert "- price: 0.00" in screen.getvalue()


@pytest.mark.parametrize(
    ("decided", "words"),
    [
        (decision(), "trend: -0.5 (-0.6 to -0.4), n = 20: holds"),
        (decision(high=None), "trend: -0.5 (-0.6 to no end), n = 20: holds"),
        (decision(low=None, high=None, verdict=None), "trend: -0.5, n = 20: by hand"),
        (
            decision(value=None, low=None, high=None, verdict="not decided here", note="too few"),
            "trend: too few",
        ),
        (decision(value=None, low=3e5, high=None, unit="steps", verdict="does not hold"),
         "trend: – (300,000 to no end), n = 20: does not hold"),
    ],
)  # fmt: skip
def test_decision_in_one_line(decided: Decision, words: str) -> None:
    assert found(decided) == words


def test_values_by_unit() -> None:
    assert figure(0.99284, "accuracy") == "0.9928"
    assert figure(1_234.5, "ratio") == "1,234"
    assert figure(256_000.4, "steps") == "256,000"
    assert figure(75.0, "seconds") == "1 min 15 s"
    assert figure(1e100, "steps") == "more than 1,000,000,000,000,000"
    assert figure(0.099, "GB") == "0.0990 GB"
    assert figure(None, "ratio") == "–"
    assert interval(decision(low=None, high=None)) == "–"
