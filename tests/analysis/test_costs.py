"""Costs of runs, on hand-made results."""

from __future__ import annotations

from typing import Any

import pytest
from factories import differing, evaluations, run

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


def invalid(seed: int, *reasons: str, **changes: Any) -> RunSummary:
    return summary(seed, verdict="invalid", reasons=reasons, **changes)


NO_COSTS = dict.fromkeys(
    ("train_seconds_mean", "train_seconds_sd", "images_per_second_mean", "images_per_second_sd",
     "peak_rss_bytes_max"),
)  # fmt: skip
COSTS: dict[str, tuple[list[RunSummary], dict[str, Any]]] = {
    "no runs": ([], {"timed_n": 0, "note": None, **NO_COSTS}),
    # 20 s and 2,500 images/s; 40 s and 1,250 images/s
    "by hand": ([summary(0), summary(1, pace=0.04)], {
        "clean": 0, "suspect": 0, "invalid": 0, "timed_n": 2, "train_seconds_mean": 30,
        "train_seconds_sd": 200**0.5, "images_per_second_mean": 1_875,
        "images_per_second_sd": 1_250 / 2**0.5, "note": None}),
    "one": ([summary(0)], {
        "train_seconds_mean": 20, "train_seconds_sd": None, "images_per_second_sd": None}),
    "an invalid one": (
        [summary(0, verdict="clean", peak_rss_bytes=900),
         summary(1, pace=0.04, verdict="suspect", reasons=("other load",), peak_rss_bytes=950),
         invalid(2, "suspended", "stalls", pace=0.4, peak_rss_bytes=2_000)], {
            "clean": 1, "suspect": 1, "invalid": 1, "timed_n": 1, "timed_suspect": 0,
            "train_seconds_mean": 20, "images_per_second_mean": 2_500, "peak_rss_bytes_max": 2_000,
            "note": "2 disturbed runs left out of time and speed: other load, suspended, stalls"}),
    "suspect and invalid": (
        [summary(0, verdict="suspect", reasons=("on battery",)), invalid(1, "steal", pace=0.4)], {
            "timed_n": 1, "timed_suspect": 1, "train_seconds_mean": 20,
            "disturbed_train_seconds_mean": None,
            "note": "1 disturbed run left out of time and speed: steal"}),
    "short of memory": (
        [summary(0, peak_rss_bytes=900), invalid(1, "memory pressure", peak_rss_bytes=2_000),
         summary(2, verdict="suspect", reasons=("swapping", "other load"), peak_rss_bytes=1_000)], {
            "timed_n": 1, "peak_rss_bytes_max": 900, "disturbed_peak_rss_bytes_max": None,
            "note": "2 disturbed runs left out of time and speed: memory pressure, swapping, other "
            "load; 2 runs left out of peak memory: memory pressure, swapping, other load"}),
    "all short of memory": ([summary(0, verdict="suspect", reasons=("memory full",))], {
        "timed_suspect": 1, "train_seconds_mean": 20, "peak_rss_bytes_max": None,
        "disturbed_peak_rss_bytes_max": 1_000 * MIB + 1_000, "note": None}),
    "reasons once": ([summary(0), invalid(1, "steal", "suspended"), invalid(2, "suspended")], {
        "note": "2 disturbed runs left out of time and speed: steal, suspended"}),
    "no reason": ([summary(0), invalid(1)], {
        "note": "1 disturbed run left out of time and speed: no reason was recorded"}),
    "all invalid": ([invalid(0, "suspended"), invalid(1, "suspended")], {
        "timed_n": 0, "invalid": 2, **NO_COSTS, "peak_rss_bytes_max": 1_000 * MIB + 1_001,
        "disturbed_train_seconds_mean": 20, "disturbed_peak_rss_bytes_max": None,
        "note": "time and speed are of invalid runs: suspended"}),
    "two methods": ([summary(0), summary(1, memory_method="peak_wset")], {
        "peak_rss_bytes_max": None, "train_seconds_mean": 20,
        "note": "no peak memory: read by methods that do not compare: VmHWM and peak_wset"}),
    "method of one short of memory": (
        [summary(0, peak_rss_bytes=7), invalid(1, "memory full", memory_method="peak_wset")], {
            "peak_rss_bytes_max": 7}),
}  # fmt: skip


@pytest.mark.parametrize("name", COSTS)
def test_costs(name: str) -> None:
    runs, expected = COSTS[name]
    found = costs_of(runs)
    assert isinstance(found, Costs)
    assert not differing(found, expected)


@pytest.mark.parametrize(
    ("peaks", "peak"),
    [
        ([], Peak(None)),
        ([(None, "VmHWM")], Peak(None)),
        ([(900, "VmHWM"), (1_000, "VmHWM"), (None, "ru_maxrss")], Peak(1_000)),
        ([(900, None), (950, None)], Peak(950)),
        ([(900, "VmHWM"), (1_000, "ru_maxrss")],
         Peak(None, "read by methods that do not compare: VmHWM and ru_maxrss")),
        ([(900, "VmHWM"), (1_000, None)],
         Peak(None, "read by methods that do not compare: VmHWM and a method without a name")),
    ],
)  # fmt: skip
def test_peaks_of_different_methods_are_not_mixed(
    peaks: list[tuple[int | None, str | None]], peak: Peak
) -> None:
    runs = [summary(peak_rss_bytes=size, memory_method=method) for size, method in peaks]
    assert peak_of(runs) == peak


# Phases


def test_phases_by_hand() -> None:
    phases = phases_of([
        summary(0, steps=2_500, seconds={"import": 4.0, "train": 50.0},
                phase_peak_rss_bytes={"import": 300, "train": 900}, shared_phases=("import",)),
        summary(0, steps=1_000, seconds={"import": 90.0}),  # the shorter run of a training
        summary(1, steps=2_500, seconds={"import": 6.0, "train": 70.0},
                phase_peak_rss_bytes={"import": 310, "train": 800}),
        invalid(2, "steal", steps=2_500, seconds={"import": 99.0}),
        summary(3, steps=2_500, status="killed", seconds={"import": 99.0}),
    ])  # fmt: skip
    assert phases is not None
    assert (phases.steps, phases.threads, phases.trainings) == (2_500, 2, 2)
    assert phases.costs == (
        PhaseCost("import", 5.0, pytest.approx(2**0.5), 310, shared=1, trainings=2),
        PhaseCost("train", 60.0, pytest.approx(200**0.5), 900, shared=0, trainings=2),
    )


def test_phases_of_different_tasks_are_not_averaged() -> None:
    """Another batch size or other images make another task."""
    other_batches = {"hyperparameters": PaperCnnHyperparameters(batch_size=200)}
    phases = phases_of([
        summary(2, trajectory="c", seconds={"train": 80.0}, **other_batches),
        summary(3, trajectory="d", seconds={"train": 5.0}, dataset="mnist-5k"),
        *(summary(seed, seconds={"train": 20.0}) for seed in range(2)),
    ])  # fmt: skip
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


LONG_INVALID = invalid(1, "suspended", steps=2_500, peak_rss_bytes=2_000 * MIB)


@pytest.mark.parametrize(
    ("runs", "total"),
    [
        ([], TotalCost(0, None, None, 0, Peak(None))),
        # Two trainings that each yielded two runs, and two trainings of one run each; all phases
        # but the training take 7.75 s.
        ([summary(seed, steps=steps) for seed in (0, 1) for steps in (1_000, 5_000)],
         TotalCost(2, pytest.approx(200), pytest.approx(215.5), 0, Peak(1_000 * MIB + 5_000))),
        ([summary(steps=steps, trajectory=f"t{steps}") for steps in (1_000, 5_000)],
         TotalCost(2, pytest.approx(120), pytest.approx(135.5), 0, Peak(1_000 * MIB + 5_000))),
        # 20 s, and 50 s of the other's longer run
        ([summary(0, peak_rss_bytes=MIB), invalid(1, peak_rss_bytes=2_000 * MIB), LONG_INVALID],
         TotalCost(2, pytest.approx(70), pytest.approx(85.5), 1, Peak(2_000 * MIB))),
        ([LONG_INVALID],
         TotalCost(1, pytest.approx(50), pytest.approx(57.75), 1, Peak(2_000 * MIB))),
    ],
)  # fmt: skip
def test_total_cost(runs: list[RunSummary], total: TotalCost) -> None:
    assert total_cost(runs) == total
