"""Verdicts of all claims, on constructed trainings."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from factories import (
    FAST_LOSSES,
    SLOW_LOSSES,
    TABLE_1_STEPS,
    AccuracyCurve,
    claims_evidence,
    convolution_results,
    dataset_size_results,
    evaluations,
    falling_error,
    layer_results,
    loss_curve,
    optimizer_results,
    run,
    training_on_curve,
    trainings_on_curve,
)

from mnist_bench.analysis.thread_scaling import scaling_of
from mnist_bench.claims import declared
from mnist_bench.claims.decide import decide
from mnist_bench.claims.evidence import (
    Evidence,
    independent_runs,
    of_most_independent_threads,
    of_usual_threads,
)
from mnist_bench.claims.learning_claims import _place_of_maximum
from mnist_bench.claims.parts import (
    CONVOLUTIONAL_TECHNIQUE,
    LARGE_TECHNIQUE,
    SMALL_TECHNIQUE,
    TECHNIQUES,
)
from mnist_bench.measurement.conditions import Conditions, Stretch, TrainingStretch
from mnist_bench.results.claims import ClaimLine, Decision
from mnist_bench.results.layer_maps import LayerMaps
from mnist_bench.results.run import Evaluation, RunResult
from mnist_bench.results.run_summary import summarise
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.hyperparameters import HYPERPARAMETERS


def flat(step: int, rng: random.Random) -> float:
    """No improvement after the first hundred steps."""
    return rng.uniform(0.985, 0.987) if step > 1 else 0.1


def claim(number: int, evidence: Evidence) -> ClaimLine:
    return next(line for line in decide(evidence) if line.claim == number)


def decision(number: int, name: str, evidence: Evidence) -> Decision:
    return next(d for d in claim(number, evidence).decisions if d.criterion == name)


def test_without_evidence_no_claim_is_decided() -> None:
    lines = decide(Evidence())
    assert {line.verdict for line in lines} == {"not decided here"}
    assert all(line.run_ids == () for line in lines)
    assert all(d.note for line in lines for d in line.decisions), "the note says what is missing"


def test_decisions_match_the_declared_claims() -> None:
    for line in decide(claims_evidence(trainings_on_curve(falling_error))):
        claim = declared.claim_of(line.claim)
        assert (line.words, line.place) == (claim.words, claim.place)
        decided = [(d.criterion, d.question, d.rule) for d in line.decisions if d.verdict]
        assert decided == [(c.name, c.question, c.rule) for c in claim.criteria]


@pytest.mark.parametrize(
    ("change", "verdict"), [(0.0, "holds"), (0.002, "holds"), (-0.006, "does not hold")]
)
def test_claim_1(change: float, verdict: str) -> None:
    runs = [
        run(row.steps, row.max_test_accuracy + change + noise, seed)
        for row in paper.TABLE_1
        for seed, noise in enumerate((-0.0004, 0.0, 0.0004))
    ]
    line = claim(1, claims_evidence(runs))
    assert line.verdict == verdict
    assert line.decisions[0].value == pytest.approx(change, abs=1e-9)
    assert len(line.run_ids) == 12


def test_claim_1_holds_only_with_all_step_counts_but_fails_with_one() -> None:
    good = [run(1_000, 0.984 + noise, seed) for seed, noise in enumerate((-0.0004, 0.0, 0.0004))]
    line = claim(1, claims_evidence(good))
    assert line.verdict == "not decided here"
    assert "2,500, 5,000, 10,000 steps" in (line.decisions[0].note or "")
    failed = [run(1_000, 0.975 + noise, seed) for seed, noise in enumerate((-0.0004, 0.0, 0.0004))]
    assert claim(1, claims_evidence(failed)).verdict == "does not hold"


def plateau(height: float, early: float) -> AccuracyCurve:
    return lambda step, rng: rng.uniform(-0.0002, 0.0002) + (height if step > 2_001 else early)


@pytest.mark.parametrize(
    ("early", "verdict"),
    [(0.9915, "holds"), (0.9860, "does not hold"), (0.9910, "not decided here")],
)
def test_claim_2(early: float, verdict: str) -> None:
    line = claim(2, claims_evidence(trainings_on_curve(plateau(0.9920, early))))
    (found,) = line.decisions
    assert line.verdict == verdict
    assert found.value == pytest.approx(0.9920 - early, abs=0.0001)
    assert found.n == 5


def test_claim_2_needs_five_seeds() -> None:
    line = claim(2, claims_evidence(trainings_on_curve(plateau(0.992, 0.9915), seeds=4)))
    assert line.verdict == "not decided here"
    assert line.decisions[0].note == "4 seeds of 10,000 steps; 5 are wanted"


def test_claim_3_finds_a_power_law() -> None:
    evidence = claims_evidence(trainings_on_curve(falling_error))
    trend = decision(3, "trend", evidence)
    assert trend.verdict == "holds"
    assert trend.value == pytest.approx(-0.5, abs=0.02)
    assert (trend.low, trend.high, trend.n) != (None, None, 20)
    assert trend.low < trend.value < trend.high < 0
    # 0.016 by the root of 256 is 0.001: after 256,000 steps.
    near = decision(3, "near 100%", evidence)
    assert near.value == pytest.approx(256_000, rel=0.1)
    assert near.low > 100_000
    assert near.verdict == "does not hold"
    assert claim(3, evidence).verdict == "does not hold"


def test_claim_3_holds_where_the_error_falls_fast() -> None:
    def fast(step: int, rng: random.Random) -> float:
        return 1 - 0.016 * (step / 1_000) ** -1.0 * rng.uniform(0.97, 1.03)

    line = claim(3, claims_evidence(trainings_on_curve(fast)))
    assert line.verdict == "holds"
    near = line.decisions[1]
    assert near.value == pytest.approx(16_000, rel=0.05)
    assert near.high < 100_000


@pytest.mark.parametrize("number", [3, 4])
def test_flat_curves_do_not_hold(number: int) -> None:
    line = claim(number, claims_evidence(trainings_on_curve(flat)))
    assert line.verdict == "does not hold"
    assert line.decisions[0].verdict == "does not hold"


def test_step_counts_of_one_training_are_not_independent() -> None:
    shared = [
        training_on_curve(steps, seed, falling_error, training_seed=seed, trajectory=f"of-{seed}")
        for seed in range(5)
        for steps in TABLE_1_STEPS
    ]
    assert {steps: len(group) for steps, group in independent_runs(shared).items()} == {10_000: 5}
    line = claim(3, claims_evidence(shared))
    assert line.verdict == "not decided here"
    assert "0 of 1,000 steps, 0 of 2,500 steps, 0 of 5,000 steps" in (line.decisions[0].note or "")
    # Runs of one step count are independent.
    assert decision(4, "slowing", claims_evidence(shared)).verdict == "holds"


def test_several_step_counts_of_one_seed_count_once() -> None:
    """Even if each was trained separately."""
    separate = [
        training_on_curve(
            steps, seed, falling_error, training_seed=seed, trajectory=f"{steps}-{seed}"
        )
        for steps in TABLE_1_STEPS
        for seed in range(5)
    ]
    assert {steps: len(group) for steps, group in independent_runs(separate).items()} == {10_000: 5}
    assert claim(3, claims_evidence(separate)).verdict == "not decided here"


def test_only_runs_with_the_usual_execution_settings_count() -> None:
    plain = [training_on_curve(1_000, seed, falling_error) for seed in range(3)]
    beside = [
        training_on_curve(1_000, 7, falling_error, precision="bfloat16"),
        training_on_curve(1_000, 8, falling_error, device="gpu"),
        training_on_curve(1_000, 9, falling_error, threads=8),
    ]
    assert of_usual_threads([*beside, *plain]) == tuple(plain)
    assert of_usual_threads(beside[2:]) == (beside[2],)
    assert of_usual_threads(beside[:2]) == ()


def test_claims_2_to_4_use_the_thread_count_with_most_independent_runs() -> None:
    """Ten seeds with shared trainings yield ten; five seeds per step count yield twenty."""
    shared = [
        training_on_curve(
            steps, seed, falling_error, threads=1, training_seed=seed, trajectory=f"shared-{seed}"
        )
        for seed in range(10)
        for steps in TABLE_1_STEPS
    ]
    separate = [
        each.model_copy(update={"threads": 2}) for each in trainings_on_curve(falling_error)
    ]
    assert len(of_usual_threads([*shared, *separate])) == 40
    assert of_most_independent_threads([*shared, *separate]) == tuple(separate)
    assert of_most_independent_threads(()) == ()


def test_a_marathon_is_reported_but_decides_nothing() -> None:
    long = training_on_curve(10_000, 0, flat).model_copy(
        update={"scenario": "marathon", "steps": 40_000}
    )
    line = claim(3, Evidence(marathon=long))
    assert line.verdict == "not decided here"
    marathon = line.decisions[-1]
    assert (marathon.criterion, marathon.verdict, marathon.n) == ("marathon", None, 1)
    assert 0.013 < marathon.low < marathon.value < marathon.high < 0.015
    one = long.model_copy(update={"evaluations": long.evaluations[:1], "eval_first": 1})
    assert claim(3, Evidence(marathon=one)).decisions[-1].value == pytest.approx(0.9)


def test_a_repeated_seed_counts_once() -> None:
    twice = [*trainings_on_curve(falling_error), *trainings_on_curve(falling_error)]
    twice = [r.model_copy(update={"trajectory": str(i)}) for i, r in enumerate(twice)]
    assert {steps: len(group) for steps, group in independent_runs(twice).items()} == dict.fromkeys(
        TABLE_1_STEPS, 5
    )


def late_maximum(step: int, rng: random.Random) -> float:
    return 0.98 + 1e-6 * step + rng.uniform(0, 1e-5)


def test_claim_4_holds_if_the_maximum_is_always_late() -> None:
    place = decision(4, "step of max", claims_evidence(trainings_on_curve(late_maximum)))
    assert place.verdict == "holds"
    assert place.value is not None
    assert place.value > 0.8


def test_claim_4_fails_if_the_maximum_is_anywhere_on_a_plateau() -> None:
    def on_a_plateau(steps: int) -> AccuracyCurve:
        return lambda step, rng: 0.99 + rng.uniform(0, 1e-4) - (step <= steps / 2) * 0.01

    runs = [
        training_on_curve(s, seed, on_a_plateau(s)) for seed in range(12) for s in TABLE_1_STEPS
    ]
    place = decision(4, "step of max", claims_evidence(runs))
    assert place.value == pytest.approx(0.5, abs=0.1)
    assert place.verdict == "does not hold"


def test_claim_4_the_mean_place_of_a_random_maximum_is_one_half() -> None:
    """Regardless of where the grid ends: the last grid step of 1,000 steps is 901."""

    def best_at(best_step: int) -> RunResult:
        return training_on_curve(1_000, 0, lambda step, _: 0.98 + 0.01 * (step == best_step))

    late = [_place_of_maximum(best_at(step)) for step in range(501, 1_000, 100)]
    assert late == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    assert _place_of_maximum(best_at(401)) == pytest.approx(-0.1)


def test_claim_4_slowing_and_steady_learning() -> None:
    slowing = decision(4, "slowing", claims_evidence(trainings_on_curve(falling_error)))
    assert slowing.verdict == "holds"
    assert slowing.low > 0

    def steady(step: int, rng: random.Random) -> float:
        return 0.9 + 5e-6 * step + rng.uniform(0, 1e-5)

    assert (
        decision(4, "slowing", claims_evidence(trainings_on_curve(steady))).verdict
        == "does not hold"
    )


def test_claim_4_gains_match_a_hand_computation() -> None:
    """A kink at each boundary: gains of 0.1, 0.01, 0.002 and 0.001 per 1,000 steps."""
    segments = [(1, 0.1), (1_000, 0.01), (2_500, 0.002), (5_000, 0.001)]

    def piecewise(step: int, rng: random.Random) -> float:
        gained = 0.5 + rng.uniform(0, 1e-7)
        for (begin, pace), end in zip(segments, [1_000, 2_500, 5_000, 10_000], strict=True):
            gained += pace * max(0, min(step, end) - begin) / 1_000
        return gained

    note = decision(4, "slowing", claims_evidence(trainings_on_curve(piecewise))).note or ""
    gains = note.split("each stretch: ")[1].split(". ")[0]
    # Averaging five evaluations around a kink mixes in a twentieth of the gain before it.
    assert [float(gain) for gain in gains.split(", ")] == pytest.approx(
        [0.0946, 0.0138, 0.0021, 0.0010], abs=0.0006
    )


def test_claim_5() -> None:
    runs = [
        run(row.steps, row.max_test_accuracy + noise, seed)
        for row in paper.TABLE_1
        for seed, noise in enumerate((-0.0004, 0.0, 0.0004))
    ]
    evidence = claims_evidence(runs, price=0.5)
    line = claim(5, evidence)
    assert line.verdict == "holds"
    time, memory, accuracy, energy, price = line.decisions
    # 4 + 0.5 + 3.25 seconds of overhead; 10,000 steps take 0.02 seconds each.
    assert time.value == pytest.approx(207.75)
    assert memory.value == 1_000 * 2**20 + 10_000
    assert accuracy.value == pytest.approx(0.9928)
    assert energy.verdict is None
    assert energy.value == pytest.approx(207.75 * 60 / 3.6e6)
    assert price.value == pytest.approx(207.75 * 60 / 3.6e6 * 0.5)
    assert "estimated, not measured" in (energy.note or "")
    assert "what the processors count themselves is unavailable" in (energy.note or "")


def test_claim_5_uses_measured_energy() -> None:
    """Two seeds on battery; the third was plugged in."""
    joules = [(7_200.0, 3_600.0), (14_400.0, 5_400.0), (None, 9_000.0)]
    runs = [
        run(10_000, 0.9928, seed, conditions=consuming(battery, processors))
        for seed, (battery, processors) in enumerate(joules)
    ]
    *_, energy, processors_, price = claim(5, claims_evidence(runs, price=0.5)).decisions
    assert (energy.value, energy.n) == (pytest.approx(0.003), 2)
    assert (energy.note or "").startswith("whole machine: taken out of its battery")
    assert "unavailable" not in (energy.note or "")
    assert (processors_.value, processors_.n) == (pytest.approx(0.005 / 3), 3)
    assert (processors_.note or "").startswith("measured: ")
    assert price.value == pytest.approx(0.0015)


def test_claim_5_estimated_energy_is_at_least_that_of_the_processors() -> None:
    """207.75 s at 60 W are 12,465 joules."""
    hot = [run(10_000, 0.9928, s, conditions=consuming(None, 36_000.0)) for s in range(2)]
    *_, energy, processors, price = claim(5, claims_evidence(hot, price=1.0)).decisions
    assert energy.value == price.value == processors.value == pytest.approx(0.01)
    assert (energy.note or "").startswith("measured, at least: ")
    cool = [run(10_000, 0.9928, s, conditions=consuming(None, 3_600.0)) for s in range(2)]
    *_, energy, _ = claim(5, claims_evidence(cool)).decisions
    assert energy.value == pytest.approx(207.75 * 60 / 3.6e6)
    assert (energy.note or "").startswith("estimated, not measured")


def consuming(battery: float | None, processors: float | None) -> Conditions:
    """Conditions of a training in two stretches with half of these joules each."""
    half = Stretch(
        wall_seconds=1.0,
        own_cpu_seconds=1.0,
        battery_joules=None if battery is None else battery / 2,
        processor_joules=None if processors is None else processors / 2,
    )
    stretch = TrainingStretch(step=1, steps=1, train_seconds=1.0, rss_bytes=None, seen=half)
    return Conditions(stretches=(stretch, stretch))


@pytest.mark.parametrize(
    ("change", "criterion"),
    [
        ({"seconds": {"train": 3_601.0}}, "time"),
        ({"peak_rss_bytes": 2**34 + 1}, "memory"),
    ],
)
def test_claim_5_fails(change: dict[str, Any], criterion: str) -> None:
    runs = [run(10_000, 0.9928, seed, **change) for seed in range(3)]
    line = claim(5, claims_evidence(runs))
    assert line.verdict == "does not hold"
    assert [d.criterion for d in line.decisions if d.verdict == "does not hold"] == [criterion]


def test_claim_5_ignores_times_of_invalid_runs() -> None:
    invalid = [run(10_000, 0.9928, seed, verdict="invalid") for seed in range(3)]
    line = claim(5, claims_evidence(invalid))
    assert line.verdict == "not decided here"
    assert line.decisions[2].verdict == "holds", "accuracies of invalid runs still count"


def technique(scenario: str, accuracy: float, seed: int = 0) -> RunResult:
    """A run of another technique on the same images."""
    model = {
        "claim-6-neighbours": "k-nearest-neighbours", "claim-6-logistic": "logistic-regression",
        "claim-6-lenet-5": "lenet-5", "claim-6-svm": "svm-rbf", "claim-6-svm-small": "svm-rbf",
    }.get(scenario, "fully-connected")  # fmt: skip
    steps = 10_000 if model in {"fully-connected", "lenet-5"} else 1
    evaluation = Evaluation(
        step=steps,
        test_accuracy=accuracy,
        validation_accuracy=0.9,
        train_loss=None,
        train_seconds=100.0,
    )
    return run(
        steps, seed=seed, scenario=scenario, model=model, hyperparameters=HYPERPARAMETERS[model](),
        evaluations=(evaluation,), eval_first=1, eval_every=1, trajectory=f"{scenario}-{seed}",
        run_id=f"{scenario}-{seed}",
    )  # fmt: skip


def others(**accuracies: float) -> list[RunResult]:
    """One run of each other technique; the arguments override accuracies."""
    defaults = dict.fromkeys(TECHNIQUES, 0.97) | {"claim-6-fully-connected-parameters": 0.982}
    chosen = defaults | {f"claim-6-{name}": value for name, value in accuracies.items()}
    return [technique(scenario, accuracy) for scenario, accuracy in chosen.items()]


OURS = [
    run(10_000, 0.9928, seed, evaluations=evaluations(10_000, 0.9928, final=0.9915 + noise))
    for seed, noise in enumerate((-0.0005, 0.0, 0.0005))
]


@pytest.mark.parametrize(
    ("svm", "verdict"),
    [(0.985, "holds"), (0.9990, "does not hold"), (0.9905, "not decided here")],
)
def test_claim_6(svm: float, verdict: str) -> None:
    line = claim(6, claims_evidence([*OURS, *others(svm=svm)]))
    assert line.verdict == verdict
    first, *listed = line.decisions
    assert first.value == pytest.approx(0.9915 - svm)
    # Prediction interval: t with 2 degrees of freedom, sd 0.0005: 4.30 · 0.0005 · √(4 / 3).
    assert first.value - first.low == pytest.approx(4.3027 * 0.0005 * (4 / 3) ** 0.5, rel=1e-3)
    assert "that from claim-6-svm" in (first.note or "")
    assert [d.criterion for d in listed] == [*TECHNIQUES, "table-1"]
    assert {d.verdict for d in listed} == {None}
    assert len(line.run_ids) == 9


def test_claim_6_with_several_seeds_on_both_sides() -> None:
    name = "claim-6-fully-connected-parameters"
    several = [technique(name, 0.982 + seed / 1e4, seed) for seed in range(1, 3)]
    line = claim(6, claims_evidence([*OURS, *others(svm=0.9), *several]))
    assert line.verdict == "holds"
    assert line.decisions[0].value == pytest.approx(0.9915 - 0.9821)
    technique_line = next(d for d in line.decisions if d.criterion == name)
    assert (technique_line.n, technique_line.value) == (3, pytest.approx(0.9821))


def test_claim_6_fails_with_one_better_technique_even_if_others_are_uncertain() -> None:
    name = "claim-6-fully-connected-parameters"
    uncertain = [technique(name, 0.5, 1)]
    line = claim(6, claims_evidence([*OURS, *others(svm=0.9990), *uncertain]))
    assert line.verdict == "does not hold"
    assert "that from claim-6-svm" in (line.decisions[0].note or "")


@pytest.mark.parametrize(
    "missing", [name for name in TECHNIQUES if name != CONVOLUTIONAL_TECHNIQUE]
)
def test_claim_6_needs_every_compared_technique(missing: str) -> None:
    some = [each for each in others() if each.scenario != missing]
    line = claim(6, claims_evidence([*OURS, *some]))
    assert line.verdict == "not decided here"
    assert (line.decisions[0].note or "").endswith(f"not measured: {missing}")


def test_claim_6_fails_with_one_better_technique_even_if_others_are_missing() -> None:
    better = [technique("claim-6-svm", 0.9990)]
    assert claim(6, claims_evidence([*OURS, *better])).verdict == "does not hold"


@pytest.mark.parametrize(
    ("small", "verdict"), [(0.95, "not decided here"), (0.9990, "does not hold")]
)
def test_claim_6_the_small_svm_can_only_refute(small: float, verdict: str) -> None:
    some = [each for each in others() if each.scenario != LARGE_TECHNIQUE]
    line = claim(6, claims_evidence([*OURS, *some, technique(SMALL_TECHNIQUE, small)]))
    assert line.verdict == verdict
    assert (line.decisions[0].note or "").endswith(f"not measured: {LARGE_TECHNIQUE}")
    assert SMALL_TECHNIQUE in [each.criterion for each in line.decisions]


def test_claim_6_needs_no_other_convolutional_network() -> None:
    some = [each for each in others(svm=0.985) if each.scenario != CONVOLUTIONAL_TECHNIQUE]
    assert claim(6, claims_evidence([*OURS, *some])).verdict == "holds"


def test_claim_6_ignores_other_convolutional_networks() -> None:
    line = claim(6, claims_evidence([*OURS, *others(**{"lenet-5": 0.9995})]))
    assert line.verdict == "holds"


def test_claim_6_needs_the_network_itself() -> None:
    line = claim(6, claims_evidence(others()))
    assert line.verdict == "not decided here"
    assert line.decisions[0].note == "0 trainings of Table I's network, 5 other techniques"


def test_claim_12() -> None:
    def timed(threads: int, seed: int, seconds: float) -> RunResult:
        scored = (
            Evaluation(step=500, test_accuracy=0.97, validation_accuracy=0.97, train_loss=None,
                       train_seconds=seconds),
        )  # fmt: skip
        return run(500, seed=seed, scenario="threads", threads=threads, evaluations=scored,
                   trajectory=f"{threads}-{seed}")  # fmt: skip

    faster = [timed(1, 0, 20.0), timed(2, 0, 11.0), timed(1, 1, 20.0), timed(2, 1, 10.0)]
    assert claim(12, Evidence(scaling=scaling_of(summarise(
        [each.model_copy(update={"threads": each.threads * 2}) for each in faster]
    )))).verdict == "not decided here", "the claim is about one thread"  # fmt: skip
    line = claim(12, claims_evidence(faster))
    (found,) = line.decisions
    assert found.value == pytest.approx((20 / 11 + 2) / 2)
    assert line.verdict == "not decided here", "two seeds' interval is wide"
    assert claim(12, claims_evidence(faster[:2])).verdict == "holds"
    slower = [timed(1, 0, 10.0), timed(2, 0, 11.0)]
    assert claim(12, claims_evidence(slower)).verdict == "does not hold"
    invalid = [each.model_copy(update={"verdict": "invalid"}) for each in faster]
    (lacking,) = claim(12, claims_evidence(invalid)).decisions
    assert (lacking.note or "").endswith("with several, but such as were spoilt")
    (nothing,) = claim(12, claims_evidence(faster[::2])).decisions
    assert (nothing.note or "").endswith("timed with one thread and with several")


def test_all_values_are_finite() -> None:
    for line in decide(claims_evidence(trainings_on_curve(flat))):
        for found in line.decisions:
            figures = [each for each in (found.value, found.low, found.high) if each is not None]
            assert all(map(math.isfinite, figures))


# Claims 7 to 11


def test_claim_7() -> None:
    line = claim(7, Evidence(experiments=layer_results()))
    assert line.verdict == "holds"
    parameters, memory, operations, time, sparse = line.decisions
    assert parameters.value == memory.value == 256**2 / 25
    assert operations.value == 256 / 25
    assert time.value == pytest.approx(4.5)
    assert (time.n, time.verdict) == (3, "holds")
    assert sparse.value == 256 / 25
    assert "2 times the convolution's median" in (time.note or "")


@pytest.mark.parametrize(
    ("change", "criterion", "verdict"),
    [
        ({"seconds": (0.04, 0.05, 0.045)}, "time", "does not hold"),
        ({"seconds": (0.04, 0.5, 0.045)}, "time", "not decided here"),
        ({"seconds": None}, "time", "not decided here"),
        ({"parameters": 20}, "parameters", "does not hold"),
        ({"weight_bytes": 100}, "memory", "does not hold"),
        ({"multiply_adds": 64 * 25}, "operations", "does not hold"),
    ],
)
def test_claim_7_fails_or_is_undecided(
    change: dict[str, Any], criterion: str, verdict: str
) -> None:
    line = claim(7, Evidence(experiments=layer_results(**change)))
    assert line.verdict == verdict
    others = {d.criterion: d.verdict for d in line.decisions}
    assert others.pop(criterion) == verdict
    assert set(others.values()) == {"holds", None}


def test_claim_8() -> None:
    found = optimizer_results(
        loss_curve("full batch", *SLOW_LOSSES), loss_curve("L-BFGS", *SLOW_LOSSES)
    )
    line = claim(8, Evidence(experiments=found))
    assert line.verdict == "holds"
    full = line.decisions[0]
    # Both reach 0.9: single samples after 1 s, the full batch after 5 s.
    assert full.value == pytest.approx(5.0)
    assert "5.0 s and 30,000 samples seen against 1.0 s and 1,000 samples seen" in (full.note or "")
    assert [d.criterion for d in line.decisions[2:]] == ["single samples", "full batch", "L-BFGS"]


def test_claim_8_notes_if_other_benchmarks_may_have_run() -> None:
    found = optimizer_results(
        loss_curve("full batch", *SLOW_LOSSES), loss_curve("L-BFGS", *SLOW_LOSSES)
    )
    shared = {8: found[8].model_copy(update={"exclusive": False})}
    alone, together = (claim(8, Evidence(experiments=each)).decisions for each in (found, shared))
    words = "; measured while other benchmarks were not kept away"
    assert [each.note for each in together[:2]] == [f"{each.note}{words}" for each in alone[:2]]
    assert together[2:] == alone[2:]


def test_claim_8_fails_if_a_second_order_method_is_faster() -> None:
    found = optimizer_results(
        loss_curve("full batch", *SLOW_LOSSES), loss_curve("L-BFGS", *FAST_LOSSES)
    )
    line = claim(8, Evidence(experiments=found))
    assert [d.verdict for d in line.decisions[:2]] == ["holds", "does not hold"]
    # To 0.3, the smallest loss that both reach: 0.5 s against 5 s.
    assert line.decisions[1].value == pytest.approx(0.1)
    assert line.verdict == "does not hold"


def test_claim_8_if_the_full_batch_learns_nothing() -> None:
    still = ((0, 0.0, 2.3), (10_000, 5.0, 2.3))
    found = optimizer_results(loss_curve("full batch", *still), loss_curve("L-BFGS", *SLOW_LOSSES))
    first = claim(8, Evidence(experiments=found)).decisions[0]
    assert (first.verdict, first.value) == ("holds", None)
    assert (
        first.note == "never: full batch did not come below the loss of 2.3000 that it began with"
    )


def test_claim_8_if_single_samples_learn_nothing() -> None:
    found = optimizer_results(
        loss_curve("full batch", *SLOW_LOSSES), loss_curve("L-BFGS", *SLOW_LOSSES)
    )
    body = found[8].body
    # As in real measurements, the first point is not at exactly 0 s.
    still = loss_curve("single samples", (0, 1e-6, 2.3), (1_000, 1.0, 2.3))
    body = body.model_copy(update={"curves": (still, *body.curves[1:])})
    found = {8: found[8].model_copy(update={"body": body})}
    assert claim(8, Evidence(experiments=found)).decisions[0].verdict == "not decided here"


def maps(*shares: float) -> tuple[Any, ...]:
    """Layers of two maps: a share of the image plus noise that is uncorrelated with it."""
    pixels = PIXELS.astype(float)
    noise = np.random.default_rng(0).normal(size=pixels.shape)
    noise -= pixels * (noise * pixels).sum() / (pixels**2).sum()
    noise *= pixels.std() / noise.std()
    each = [share * pixels + (1 - share**2) ** 0.5 * noise for share in shares]
    return tuple(np.stack([one, -one], axis=2).astype(np.float32) for one in each)


PIXELS = np.random.default_rng(1).integers(0, 256, (28, 28)).astype(np.uint8)


@pytest.mark.parametrize(
    ("shares", "verdict"), [((0.9, 0.5, 0.1), "holds"), ((0.5, 0.9, 0.1), "does not hold")]
)
def test_claim_9(shares: tuple[float, ...], verdict: str) -> None:
    layer_maps = LayerMaps(dataset="mnist", image=0, label=7, steps=1_000, seed=0,
                           test_accuracy=0.9, pixels=PIXELS,
                           untrained=maps(*shares), trained=maps(0.3, 0.2, 0.1))  # fmt: skip
    line = claim(9, Evidence(layers=layer_maps))
    assert line.verdict == verdict
    assert line.decisions[0].value == pytest.approx(0.1, abs=0.06)
    assert "untrained, as published" in (line.decisions[0].note or "")


def test_claim_9_pools_the_image_and_accepts_a_constant_map() -> None:
    small = PIXELS.reshape(14, 2, 14, 2).mean(axis=(1, 3)).astype(np.float32)
    dead = np.zeros((14, 14), np.float32)
    half = np.stack([small, dead], axis=2)
    layer_maps = LayerMaps(dataset="mnist", image=0, label=7, steps=1_000, seed=0,
                           test_accuracy=0.9, pixels=PIXELS,
                           untrained=(half,), trained=(half,))  # fmt: skip
    assert claim(9, Evidence(layers=layer_maps)).decisions[0].value == pytest.approx(0.5)


def test_claim_10() -> None:
    line = claim(10, Evidence(experiments=convolution_results(equal=10)))
    assert line.verdict == "holds"
    flipped, unflipped = line.decisions
    assert (flipped.value, flipped.n) == (1.0, 20)
    assert (unflipped.value, unflipped.verdict) == (0.1, None)
    failed = claim(10, Evidence(experiments=convolution_results(equal=9, largest=3)))
    assert failed.verdict == "does not hold"
    assert failed.decisions[0].value == 0.9


@pytest.mark.parametrize(
    ("training", "verdict", "note"),
    [
        (99_400_000, "holds", "true of training images as uint8 in GB"),
        (47_040_016, "does not hold", "true in none of them"),
        (99_600_000, "does not hold", "true in none of them"),
    ],
)
def test_claim_11(training: int, verdict: str, note: str) -> None:
    line = claim(11, Evidence(experiments=dataset_size_results(training, 7_840_016)))
    assert line.verdict == verdict
    assert (line.decisions[0].note or "").startswith(note)
    assert line.decisions[0].n == 3


def test_claim_11_needs_the_test_images() -> None:
    assert (
        claim(11, Evidence(experiments=dataset_size_results(99_000_000, None))).verdict
        == "not decided here"
    )
    line = claim(11, Evidence(experiments=dataset_size_results(99_000_000, 60_000_000)))
    assert line.verdict == "does not hold"
    assert line.decisions[1].value == pytest.approx(1.65)
