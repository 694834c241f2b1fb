"""The description of a run: its request, its results, its verdict, its memory."""

from __future__ import annotations

import pytest
from factories import evaluations, run

from mnist_bench.measurement import quality
from mnist_bench.measurement.conditions import Conditions, Surroundings
from mnist_bench.results.run import Trial
from mnist_bench.tracking.run_notes import run_description

HOT = quality.TEMPERATURE.suspect + 1
DISTURBED = Conditions(
    surroundings=(Surroundings(on_battery=True, temperature_celsius=HOT),), exclusive=False
)
SLOW = 1 + 3 * quality.CALIBRATION_DRIFT.suspect
OTHER_IMAGES = "Other images than the full MNIST: not comparable with the paper's Table I."


def paragraphs(**changes: object) -> list[str]:
    return run_description(run(1_000, 0.985, 0, **changes), "A *title*").split("\n\n")


def test_request_and_results() -> None:
    assert paragraphs() == [
        r"**A \*title\***",
        (
            "1,000 steps of paper-cnn on mnist, seed 0, float32 on cpu, threads: 2. "
            "Status: finished."
        ),
        (
            "Max test accuracy 0.9850 after 801 updates, at the end 0.9840; 20.0 s of training, "
            "2,500 images/s, peak 1,000 MiB."
        ),
    ]


@pytest.mark.parametrize(
    ("changes", "status", "last"),
    [
        ({"status": None}, "running", None),
        ({"status": "failed", "failure": "none"}, "failed", "Why it did not finish: none"),
        ({"status": "finished", "dataset": "mnist-5k"}, "finished", OTHER_IMAGES),
        (
            {"status": "pruned", "trial": Trial(study="s", number=3, parent_run_id="p")},
            "pruned",
            "Trial 3 of the study s: no test image was looked at.",
        ),
    ],
)
def test_run_without_evaluations(changes: dict[str, object], status: str, last: str | None) -> None:
    _, request, *rest = paragraphs(evaluations=(), **changes)
    assert request.endswith(f"threads: 2. Status: {status}.")
    assert rest == ([last] if last else [])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "clean", "conditions": Conditions()}, "Verdict: clean."),
        (
            {
                "verdict": "suspect",
                "reasons": tuple(each.words for each in quality.assess(DISTURBED).reasons),
                "conditions": DISTURBED,
            },
            (
                f"Verdict: suspect: on battery (not on mains power), hot ({HOT:.0f} °C), "
                "not exclusive (other benchmarks were not kept away)."
            ),
        ),
        (
            # Without conditions there are no values.
            {"verdict": "invalid", "reasons": ("suspended", "stalls")},
            "Verdict: invalid: suspended, stalls. Do not trust its time and speed.",
        ),
        (
            {"phase_peak_rss_bytes": {"train": 900 * 2**20, "import": 300 * 2**20}},
            "Peak by phase: import 300 MiB, train 900 MiB.",
        ),
    ],
)
def test_verdict_and_memory(changes: dict[str, object], words: str) -> None:
    assert paragraphs(**changes)[3:] == [words]


def test_results_of_a_run_that_looked_at_no_test_image() -> None:
    scored = tuple(
        each.model_copy(update={"test_accuracy": None}) for each in evaluations(1_000, 0.985)
    )
    assert paragraphs(evaluations=scored)[2:] == [
        "Validation accuracy at the end 0.9000, at most 0.9900; 20.0 s of training, peak 1,000 MiB."
    ]


def test_repeated_reason_is_shown_once() -> None:
    conditions = Conditions(calibration_seconds=(1.0, SLOW, 1.0))
    (line,) = paragraphs(
        verdict="suspect", reasons=("calibration drift",) * 2, conditions=conditions
    )[3:]
    assert line.count("calibration drift") == 1
