"""What MLflow's page says of the machine and of memory; test_mlflow_store has the rest."""

from __future__ import annotations

from factories import run

from mnist_bench.measurement import quality
from mnist_bench.measurement.conditions import Conditions, Surroundings
from mnist_bench.tracking.run_notes import run_description


def parts(**changes: object) -> list[str]:
    return run_description(run(1_000, 0.985, 0, **changes), "A title").split("\n\n")[3:]


def test_nobody_looked() -> None:
    assert parts() == []


def test_clean() -> None:
    assert parts(verdict="clean", conditions=Conditions()) == ["Verdict: clean."]


def test_reasons_come_with_their_figures() -> None:
    hot = quality.TEMPERATURE.suspect + 1
    seen = Conditions(
        surroundings=(Surroundings(on_battery=True, temperature_celsius=hot),), exclusive=False
    )
    words = tuple(reason.words for reason in quality.assess(seen).reasons)
    assert parts(verdict="suspect", reasons=words, conditions=seen) == [
        (
            f"Verdict: suspect: on battery (not on mains power), hot ({hot:.0f} °C), not exclusive "
            "(other benchmarks were not kept away)."
        )
    ]


def test_a_reason_that_holds_twice_is_told_once() -> None:
    slow = 1 + 3 * quality.CALIBRATION_DRIFT.suspect
    seen = Conditions(calibration_seconds=(1.0, slow, 1.0))
    told = parts(verdict="suspect", reasons=("calibration drift",) * 2, conditions=seen)
    assert len(told) == 1
    assert told[0].count("calibration drift") == 1


def test_an_invalid_run_warns_also_without_its_conditions() -> None:
    assert parts(verdict="invalid", reasons=("suspended", "stalls")) == [
        "Verdict: invalid: suspended, stalls. Do not trust its time, speed and memory."
    ]


def test_peaks_by_phase_in_the_order_of_the_phases() -> None:
    peaks = {"train": 900 * 2**20, "import": 300 * 2**20}
    assert parts(phase_peak_rss_bytes=peaks) == ["Peak by phase: import 300 MiB, train 900 MiB."]
