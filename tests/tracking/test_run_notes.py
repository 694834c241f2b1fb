"""Verdict and memory in a run description; test_mlflow_store has the rest."""

from __future__ import annotations

from factories import run

from mnist_bench.measurement import quality
from mnist_bench.measurement.conditions import Conditions, Surroundings
from mnist_bench.tracking.run_notes import run_description


def paragraphs(**changes: object) -> list[str]:
    return run_description(run(1_000, 0.985, 0, **changes), "A title").split("\n\n")[3:]


def test_without_verdict() -> None:
    assert paragraphs() == []


def test_clean_verdict() -> None:
    assert paragraphs(verdict="clean", conditions=Conditions()) == ["Verdict: clean."]


def test_reasons_are_shown_with_their_values() -> None:
    hot = quality.TEMPERATURE.suspect + 1
    conditions = Conditions(
        surroundings=(Surroundings(on_battery=True, temperature_celsius=hot),), exclusive=False
    )
    words = tuple(reason.words for reason in quality.assess(conditions).reasons)
    assert paragraphs(verdict="suspect", reasons=words, conditions=conditions) == [
        (
            f"Verdict: suspect: on battery (not on mains power), hot ({hot:.0f} °C), not exclusive "
            "(other benchmarks were not kept away)."
        )
    ]


def test_repeated_reason_is_shown_once() -> None:
    slow = 1 + 3 * quality.CALIBRATION_DRIFT.suspect
    conditions = Conditions(calibration_seconds=(1.0, slow, 1.0))
    lines = paragraphs(verdict="suspect", reasons=("calibration drift",) * 2, conditions=conditions)
    assert len(lines) == 1
    assert lines[0].count("calibration drift") == 1


def test_invalid_run_has_a_warning_without_conditions() -> None:
    assert paragraphs(verdict="invalid", reasons=("suspended", "stalls")) == [
        "Verdict: invalid: suspended, stalls. Do not trust its time, speed and memory."
    ]


def test_peaks_are_in_the_order_of_the_phases() -> None:
    peaks = {"train": 900 * 2**20, "import": 300 * 2**20}
    assert paragraphs(phase_peak_rss_bytes=peaks) == [
        "Peak by phase: import 300 MiB, train 900 MiB."
    ]
