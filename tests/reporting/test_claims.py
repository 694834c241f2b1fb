"""The claims as people read them: on the page, in Markdown, on the screen; and the command."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from factories import (
    EVIL_TEXT,
    QUICK_DESCENT,
    SLOW_DESCENT,
    claims_evidence,
    descent_findings,
    falling_error,
    layer_findings,
    loss_curve,
    page_of,
    report_book,
    report_section,
    seeds,
    trainings_along,
)
from program import Bench
from rich.console import Console

from mnist_bench.claims.decide import decide
from mnist_bench.reporting.claims import figure, found, interval
from mnist_bench.reporting.figures import drawings_of
from mnist_bench.reporting.markdown import book_to_markdown
from mnist_bench.reporting.model import Report
from mnist_bench.reporting.terminal import print_claims
from mnist_bench.results.claims import ClaimLine, Decision


def told(*lines: ClaimLine) -> Report:
    made = report_book(report_section(seeds(1_000, 0.984, 0.985, 0.986)))
    document = made.document.model_copy(update={"claims": lines})
    return Report(**(vars(made) | {"document": document}))


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


def test_the_section_in_markdown() -> None:
    text = book_to_markdown(told(line(), line(claim=4, verdict="not decided here")))
    assert (
        "- Claims: of 2 claims of the paper's: holds 1, does not hold 0, not decided here 1" in text
    )
    assert "## The paper's claims" in text
    assert "| 3 | holds | It falls. | IV.C |" in text
    assert "### Claim 4: not decided here" in text
    assert "| Does it fall? | -0.5 | -0.6 to -0.4 | 20 | holds |" in text
    assert "- trend: it holds where it does; by hand" in text


def test_the_section_on_the_page() -> None:
    page = page_of(told(line()))
    assert '<h2 id="claims">' in page
    assert '<td class="words wraps">It falls.</td>' in page
    assert "<h3>Claim 3: holds</h3>" in page
    assert "-0.6 to -0.4" in page


def test_without_claims_there_is_no_section() -> None:
    made = told()
    assert "claims" not in page_of(made)
    assert "claims" not in book_to_markdown(made)


def test_words_from_elsewhere_are_words() -> None:
    evil = line(
        words=EVIL_TEXT,
        place=EVIL_TEXT,
        decisions=(decision(question=EVIL_TEXT, note=EVIL_TEXT, rule=EVIL_TEXT),),
    )
    page = page_of(told(evil))
    assert "<script>alert" not in page
    text = book_to_markdown(told(evil))
    assert "<script>" not in text
    assert "](http://evil)" not in text


def test_what_was_measured_for_claims_is_drawn_where_they_are_told() -> None:
    findings = layer_findings() | descent_findings(
        loss_curve("full batch", *SLOW_DESCENT), loss_curve("L-BFGS", *QUICK_DESCENT)
    )
    made = told(line(claim=7), line(claim=8), line(claim=10))
    made = dataclasses.replace(made, findings=tuple(findings.values()))
    drawn = drawings_of(made)
    (layers,), (seconds, samples) = drawn.claims[7], drawn.claims[8]
    assert layers.alternative == (
        "Median time of one application to 50 images: fully connected 450 ms at 8×8, 450 ms at "
        "16×16; sparse, shares none 200 ms at 8×8, 200 ms at 16×16; convolution 100 ms at 8×8, "
        "100 ms at 16×16. The band is from the smallest to the largest of the repeats."
    )
    begins = "All begin with the same weights, at a loss of 2.3000. "
    assert seconds.alternative == (
        f"{begins}Single samples: 0.3000 at the lowest, after 5.0 s; full batch: 0.9000 at the "
        "lowest, after 5.0 s; L-BFGS: 0.2000 at the lowest, after 0.50 s."
    )
    assert samples.alternative == (
        f"{begins}Single samples: 0.3000 at the lowest, after 5,000 samples; full batch: 0.9000 "
        "at the lowest, after 30,000 samples; L-BFGS: 0.2000 at the lowest, after 1,000 samples."
    )
    page = page_of(made)
    beside = [page.index(words) for words in (
        "Claim 7: holds", "One map, as its width grows", "Claim 8: holds", "Loss by seconds",
        "Loss by images", "Claim 10: holds",
    )]  # fmt: skip
    assert beside == sorted(beside)
    names = {"claim-7-layers.svg", "claim-8-loss-by-seconds.svg", "claim-8-loss-by-samples.svg"}
    assert names < set(drawn.files(made))


def test_nothing_is_drawn_of_layers_that_nobody_timed_and_of_a_way_that_never_began() -> None:
    untimed = layer_findings(seconds=None)[7]
    costs = tuple(cost for cost in untimed.body.costs if cost.kind == "dense")
    body = untimed.body.model_copy(update={"costs": costs})
    still = descent_findings(
        loss_curve("full batch", (0, 0.0, 2.3)), loss_curve("L-BFGS", *QUICK_DESCENT)
    )[8]
    findings = (untimed.model_copy(update={"body": body}), still)
    drawn = drawings_of(dataclasses.replace(told(line(claim=8)), findings=findings)).claims
    assert drawn[7] == ()
    assert "; full batch: nothing came of it; " in drawn[8][0].alternative


def test_every_real_claim_can_be_told_everywhere() -> None:
    lines = decide(claims_evidence(trainings_along(falling_error), price=0.3))
    page, text = page_of(told(*lines)), book_to_markdown(told(*lines))
    screen = io.StringIO()
    print_claims(lines, Console(file=screen, width=200))
    for each in lines:
        for where in (page, text, screen.getvalue()):
            assert f"Claim {each.claim}: {each.verdict}" in where
    assert "- price: 0.00" in screen.getvalue()


@pytest.mark.parametrize(
    ("made", "words"),
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
def test_found_in_a_line(made: Decision, words: str) -> None:
    assert found(made) == words


def test_figures_by_their_units() -> None:
    assert figure(0.99284, "accuracy") == "0.9928"
    assert figure(1_234.5, "ratio") == "1,234"
    assert figure(256_000.4, "steps") == "256,000"
    assert figure(75.0, "seconds") == "1 min 15 s"
    assert figure(1e100, "steps") == "more than 1,000,000,000,000,000"
    assert figure(0.099, "GB") == "0.0990 GB"
    assert figure(None, "ratio") == "–"
    assert interval(decision(low=None, high=None)) == "–"


def test_a_claim_that_needs_neither_images_nor_trainings(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    planned = bench.inside("run", "claim-10", "--dry-run", "--json")
    assert [part["fits"] for part in planned.document["parts"]] == [True]
    assert not (bench.folder / "mlflow.db").exists(), "a dry run makes nothing"
    ended = bench.inside("run", "claim-10", "--json")
    assert ended.status == 0, ended.stderr
    claims = {each["claim"]: each for each in ended.document["claims"]}
    assert claims[10]["verdict"] == "holds"
    assert claims[10]["decisions"][0]["value"] == 1.0
    assert claims[1]["verdict"] == "not decided here"
    again = bench.inside("run", "claim-10")
    assert "all of it is recorded" in again.stdout
    assert "Claim 10: holds" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("claims", "--steps", "100"), "--steps does not go with claims: they settle it"),
        (("claim-3", "--seeds", "5"), "--seeds does not go with claims"),
        (("claim-12", "--threads", "1"), "--threads does not go with claims"),
        (("claims", "smoke"), "claims are run by themselves"),
        (("claim-13",), "there is no claim 13"),
        (("smoke", "--price", "0.3"), "--price needs claims"),
        (("claims", "--price", "nan"), "nan is no price of a kilowatt-hour"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    bench = Bench(tmp_path)
    ended = bench.call("run", *arguments)
    assert ended.status == 2
    assert words in ended.complaint
    assert list(bench.folder.iterdir()) == []
