"""Costs of runs, on hand-made results."""

from __future__ import annotations

from typing import Any

import pytest
from factories import evaluations, run
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.analysis.costs import (
    Costs,
    Peak,
    PhaseCost,
    TotalCost,
    costs_of,
    peak_of,
    phases_of,
    total_cost,
)
from mnist_bench.results.run_summary import RunSummary, summarise_run
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters

MIB = 2**20


def summary(seed: int = 0, *, pace: float = 0.02, steps: int = 1_000, **changes: Any) -> RunSummary:
    """A finished run whose training took `pace` seconds a step."""
    curve = evaluations(steps, 0.985, seconds=pace)
    return summarise_run(run(steps, 0.985, seed, **({"evaluations": curve} | changes)))


# Costs of a row


def test_invalid_run_is_left_out_of_time_speed_and_memory() -> None:
    runs = [
        summary(0, pace=0.02, verdict="clean", peak_rss_bytes=900 * MIB),  # 20 s, 2,500 images/s
        summary(1, pace=0.04, verdict="suspect", reasons=("other load",), peak_rss_bytes=950 * MIB),
        summary(2, pace=0.4, verdict="invalid", reasons=("suspended", "stalls"),
                peak_rss_bytes=2_000 * MIB),
    ]  # fmt: skip
    costs = costs_of(runs)
    assert (costs.clean, costs.suspect, costs.invalid, costs.timed_n) == (1, 1, 1, 2)
    assert costs.train_seconds_mean == pytest.approx(30)
    assert costs.images_per_second_mean == pytest.approx((2_500 + 1_250) / 2)
    assert costs.peak_rss_bytes_max == 950 * MIB
    assert costs.note == "1 invalid run left out of time, speed and memory: suspended, stalls"


def test_no_costs_if_every_run_is_invalid() -> None:
    runs = [summary(seed, verdict="invalid", reasons=("suspended",)) for seed in range(2)]
    costs = costs_of(runs)
    assert costs.train_seconds_mean is costs.images_per_second_mean is None
    assert costs.peak_rss_bytes_max is None
    assert (costs.timed_n, costs.invalid) == (0, 2)
    assert costs.note == "no time, speed and memory, every run is invalid: suspended"


def test_reasons_of_invalid_runs_are_listed_once() -> None:
    runs = [summary(0), summary(1, verdict="invalid", reasons=("steal", "suspended")),
            summary(2, verdict="invalid", reasons=("suspended",))]  # fmt: skip
    note = "2 invalid runs left out of time, speed and memory: steal, suspended"
    assert costs_of(runs).note == note
    silent = [summary(0), summary(1, verdict="invalid")]
    assert (costs_of(silent).note or "").endswith("memory: no reason was recorded")


def test_runs_without_verdict_count() -> None:
    costs = costs_of([summary(0), summary(1, pace=0.04)])
    assert (costs.clean, costs.suspect, costs.invalid, costs.timed_n) == (0, 0, 0, 2)
    assert costs.train_seconds_mean == pytest.approx(30)
    assert costs.train_seconds_sd == pytest.approx(200**0.5)  # of 20 s and 40 s
    assert costs.images_per_second_sd == pytest.approx(1_250 / 2**0.5)  # of 2,500 and 1,250
    assert costs.note is None


def test_one_run_has_no_standard_deviation() -> None:
    costs = costs_of([summary(0)])
    assert (costs.train_seconds_sd, costs.images_per_second_sd) == (None, None)


def test_without_runs() -> None:
    assert costs_of([]) == Costs(0, 0, 0, 0, *[None] * 6)


# Peaks


@pytest.mark.parametrize(
    ("peaks", "peak"),
    [
        ([], Peak(None)),
        ([(None, "VmHWM")], Peak(None)),
        ([(900, "VmHWM"), (1_000, "VmHWM"), (None, "ru_maxrss")], Peak(1_000)),
        ([(900, None), (950, None)], Peak(950)),
        (
            [(900, "VmHWM"), (1_000, "ru_maxrss")],
            Peak(None, "read by methods that do not compare: VmHWM and ru_maxrss"),
        ),
        (
            [(900, "VmHWM"), (1_000, None)],
            Peak(None, "read by methods that do not compare: VmHWM and a method without a name"),
        ),
    ],
)
def test_peaks_of_different_methods_are_not_mixed(
    peaks: list[tuple[int | None, str | None]], peak: Peak
) -> None:
    runs = [summary(peak_rss_bytes=size, memory_method=method) for size, method in peaks]
    assert peak_of(runs) == peak


def test_no_peak_with_a_note_for_two_methods() -> None:
    costs = costs_of([summary(0), summary(1, memory_method="peak_wset")])
    assert costs.peak_rss_bytes_max is None
    assert costs.train_seconds_mean == pytest.approx(20)
    assert costs.note == (
        "no peak memory: read by methods that do not compare: VmHWM and peak_wset"
    )


def test_memory_method_of_an_invalid_run_is_ignored() -> None:
    odd = summary(1, memory_method="peak_wset", verdict="invalid", reasons=("steal",))
    costs = costs_of([summary(0, peak_rss_bytes=7), odd])
    assert costs.peak_rss_bytes_max == 7
    assert "no peak memory" not in (costs.note or "")


# Phases


def test_phases_by_hand() -> None:
    runs = [
        summary(0, steps=1_000, seconds={"import": 90.0}),  # the shorter run of a training
        summary(0, steps=2_500, seconds={"import": 4.0, "train": 50.0},
                phase_peak_rss_bytes={"import": 300, "train": 900}, shared_phases=("import",)),
        summary(1, steps=2_500, seconds={"import": 6.0, "train": 70.0},
                phase_peak_rss_bytes={"import": 310, "train": 800}),
        summary(2, steps=2_500, verdict="invalid", reasons=("steal",), seconds={"import": 99.0}),
        summary(3, steps=2_500, status="killed", seconds={"import": 99.0}),
    ]  # fmt: skip
    phases = phases_of(runs)
    assert phases is not None
    assert (phases.steps, phases.trainings) == (2_500, 2)
    assert phases.costs == (
        PhaseCost("import", 5.0, pytest.approx(2**0.5), 310, shared=1, trainings=2),
        PhaseCost("train", 60.0, pytest.approx(200**0.5), 900, shared=0, trainings=2),
    )


def test_phases_of_different_tasks_are_not_averaged() -> None:
    """Another batch size or other images make another task."""
    paper_runs = [summary(seed, seconds={"train": 20.0}) for seed in range(2)]
    others = [
        summary(
            2,
            hyperparameters=PaperCnnHyperparameters(batch_size=200),
            trajectory="c",
            seconds={"train": 80.0},
        ),
        summary(3, dataset="mnist-5k", trajectory="d", seconds={"train": 5.0}),
    ]
    phases = phases_of([*others, *paper_runs])
    assert phases is not None
    assert phases.trainings == 2
    assert [cost.seconds_mean for cost in phases.costs] == [20.0]


def test_phase_peaks_of_two_methods_are_not_mixed() -> None:
    peaks = {"phase_peak_rss_bytes": {"train": 900}, "seconds": {"train": 1.0}}
    phases = phases_of([summary(0, **peaks), summary(1, memory_method="ru_maxrss", **peaks)])
    assert phases is not None
    assert [cost.peak_rss_bytes_max for cost in phases.costs] == [None]


@pytest.mark.parametrize("changes", [{"status": "failed"}, {"seconds": {}}, {"verdict": "invalid"}])
def test_no_phases_without_valid_finished_runs(changes: dict[str, Any]) -> None:
    assert phases_of([summary(**changes)]) is None
    assert phases_of([]) is None


# Total cost


def test_total_cost_counts_a_training_once() -> None:
    runs = [summary(seed, steps=steps) for seed in (0, 1) for steps in (1_000, 5_000)]
    total = total_cost(runs)
    assert (total.trainings, total.train_seconds) == pytest.approx((2, 200))
    assert total.peak == Peak(1_000 * MIB + 5_000)
    apart = [summary(steps=steps, trajectory=f"t{steps}") for steps in (1_000, 5_000)]
    assert total_cost(apart).train_seconds == pytest.approx(120)
    assert total_cost([]) == TotalCost(0, None, 0, Peak(None))


def test_total_cost_includes_invalid_trainings() -> None:
    invalid = {"verdict": "invalid", "reasons": ("suspended",), "peak_rss_bytes": 2_000 * MIB}
    long = summary(1, steps=2_500, **invalid)
    runs = [summary(0, peak_rss_bytes=MIB), summary(1, **invalid), long]
    total = total_cost(runs)
    assert (total.trainings, total.invalid_trainings) == (2, 1)
    assert total.train_seconds == pytest.approx(70)  # 20 s, and 50 s of the other's longer run
    assert total.peak == Peak(MIB)
    assert total_cost([long]).peak == Peak(None, "every run is invalid")


VERDICTS = st.sampled_from([None, "clean", "suspect", "invalid"])
PACES = st.integers(1, 50).map(lambda hundredths: hundredths / 100)


@given(st.lists(st.tuples(VERDICTS, PACES), max_size=6))
def test_invalid_runs_change_no_cost(drawn: list[tuple[str | None, float]]) -> None:
    runs = [summary(seed, pace=pace, verdict=verdict)
            for seed, (verdict, pace) in enumerate(drawn)]  # fmt: skip
    valid_runs = [run for run in runs if run.verdict != "invalid"]
    all_costs, valid_costs = costs_of(runs), costs_of(valid_runs)
    assert all_costs.train_seconds_mean == valid_costs.train_seconds_mean
    assert all_costs.images_per_second_mean == valid_costs.images_per_second_mean
    assert all_costs.peak_rss_bytes_max == valid_costs.peak_rss_bytes_max
    assert all_costs.timed_n == len(valid_runs) == len(runs) - all_costs.invalid
    assert (all_costs.note is None) == (all_costs.invalid == 0)
