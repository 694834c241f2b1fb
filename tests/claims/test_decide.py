"""Verdicts of all claims, on constructed evidence."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Sequence
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

from mnist_bench.analysis.statistics import Estimate, mean_of
from mnist_bench.claims import declared
from mnist_bench.claims.decide import _decide_claim, decide
from mnist_bench.claims.evidence import (
    Evidence,
    independent_runs,
    of_usual_threads,
)
from mnist_bench.claims.learning_claims import _paces, _place_of_maximum
from mnist_bench.claims.verdicts import decided, judge
from mnist_bench.measurement.conditions import Conditions, Stretch, TrainingStretch
from mnist_bench.results.claims import ClaimLine, Criterion
from mnist_bench.results.layer_maps import LayerMaps
from mnist_bench.results.run import Evaluation, RunResult
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.hyperparameters import HYPERPARAMETERS

HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided here"
SMALL_SVM = "claim-6-svm-small"
OTHER_TECHNIQUES = [name for name in declared.TECHNIQUES if name != SMALL_SVM]


def claim(number: int, evidence: Evidence) -> ClaimLine:
    return _decide_claim(declared.CLAIMS[number - 1], evidence)


def about(value: float, margin: float = 1e-9) -> Any:
    return pytest.approx(value, abs=margin)


# One criterion


@pytest.mark.parametrize(
    ("test", "below", "equal", "above"),
    [
        ("above", FAILS, FAILS, HOLDS), ("at least", FAILS, HOLDS, HOLDS),
        ("below", HOLDS, FAILS, FAILS), ("at most", HOLDS, HOLDS, FAILS),
    ],
)  # fmt: skip
def test_judge(test: Any, below: str, equal: str, above: str) -> None:
    criterion = Criterion("", "", "", test=test, threshold=2.0)
    assert judge(criterion, 1.9) == judge(criterion, Estimate(1, 0, 1.9, 3)) == below
    assert judge(criterion, 2.1) == judge(criterion, Estimate(3, 2.1, 4, 3)) == above
    assert judge(criterion, 2.0) == equal
    around = Estimate(2, 1.9, 2.1, 3)
    assert judge(criterion, around) == OPEN
    assert judge(dataclasses.replace(criterion, must_be_shown=True), around) == FAILS


def test_an_infinite_value_is_recorded_as_unknown() -> None:
    criterion = Criterion("trend", "?", "!", "steps", "below", 5.0)
    found = decided(criterion, Estimate(math.inf, 7.0, math.inf, 4))
    assert (found.value, found.low, found.high, found.n) == (None, 7.0, None, 4)
    assert (found.verdict, found.unit, found.question, found.rule) == (FAILS, "steps", "?", "!")


# Trainings


def on(curve: AccuracyCurve, seeds: int = 5, **changes: Any) -> Evidence:
    return claims_evidence(trainings_on_curve(curve, seeds), **changes)


def flat(step: int, rng: random.Random) -> float:
    """No improvement after the first hundred steps."""
    return rng.uniform(0.985, 0.987) if step > 1 else 0.1


def fast(step: int, rng: random.Random) -> float:
    return 1 - 0.016 * (step / 1_000) ** -1.0 * rng.uniform(0.97, 1.03)


def plateau(early: float) -> AccuracyCurve:
    """The plateau, the last quarter of 10,000 steps, after an early accuracy."""
    return lambda step, rng: rng.uniform(-0.0002, 0.0002) + (0.992 if step > 7_400 else early)


def late_maximum(step: int, rng: random.Random) -> float:
    return 0.98 + 1e-6 * step + rng.uniform(0, 1e-5)


def steady(step: int, rng: random.Random) -> float:
    return 0.9 + 5e-6 * step + rng.uniform(0, 1e-5)


def around(change: float, rows: Sequence[paper.PaperRow] = paper.TABLE_1, **changes: Any) -> Any:
    """Three seeds of each row, around the paper's accuracy and a change."""
    return claims_evidence(
        [
            run(row.steps, row.max_test_accuracy + change + noise, seed)
            for row in rows
            for seed, noise in enumerate((-0.0004, 0.0, 0.0004))
        ],
        **changes,
    )


def sharing() -> list[RunResult]:
    """Five trainings that each yielded all step counts."""
    return [
        training_on_curve(steps, seed, falling_error, training_seed=seed, trajectory=f"of-{seed}")
        for seed in range(5)
        for steps in TABLE_1_STEPS
    ]


def marathon(evaluations_kept: int | None = None) -> Evidence:
    long = training_on_curve(10_000, 0, flat)
    return Evidence(
        marathon=long.model_copy(
            update={"steps": 40_000, "evaluations": long.evaluations[:evaluations_kept]}
        )
    )


def longest(seeds: int = 3, **changes: Any) -> Evidence:
    return claims_evidence([run(10_000, 0.9928, seed, **changes) for seed in range(seeds)], price=1)


def using(*joules: tuple[float | None, float]) -> Evidence:
    """Trainings of the longest row with the energy of their batteries and processors."""
    seen = [Stretch(wall_seconds=1.0, own_cpu_seconds=1.0, battery_joules=battery,
                    processor_joules=processors) for battery, processors in joules]  # fmt: skip
    runs = [run(10_000, 0.9928, seed, conditions=Conditions(stretches=(TrainingStretch(
        step=1, steps=1, train_seconds=1.0, rss_bytes=None, seen=each),)))
        for seed, each in enumerate(seen)]  # fmt: skip
    return claims_evidence(runs, price=0.5)


def technique(scenario: str, accuracy: float, seed: int = 0) -> RunResult:
    """A run of another technique on the same images."""
    model = {
        "claim-6-neighbours": "k-nearest-neighbours", "claim-6-logistic": "logistic-regression",
        "claim-6-lenet-5": "lenet-5", "claim-6-svm": "svm-rbf", SMALL_SVM: "svm-rbf",
    }.get(scenario, "fully-connected")  # fmt: skip
    steps = 10_000 if model in {"fully-connected", "lenet-5"} else 1
    scored = Evaluation(step=steps, test_accuracy=accuracy, validation_accuracy=0.9,
                        train_loss=None, train_seconds=100.0)  # fmt: skip
    return run(
        steps, seed=seed, scenario=scenario, model=model, hyperparameters=HYPERPARAMETERS[model](),
        evaluations=(scored,), eval_first=1, eval_every=1, trajectory=f"{scenario}-{seed}",
        run_id=f"{scenario}-{seed}",
    )  # fmt: skip


OURS = [
    run(10_000, 0.9928, seed, evaluations=evaluations(10_000, 0.9928, final=0.9915 + noise))
    for seed, noise in enumerate((-0.0005, 0.0, 0.0005))
]
LARGE = "claim-6-fully-connected-parameters"


def against(
    *more: RunResult, without: str = "", network: Sequence[RunResult] = OURS, **accuracies: float
) -> Evidence:
    """The network and one run of each other technique; the arguments override accuracies."""
    chosen = dict.fromkeys(OTHER_TECHNIQUES, 0.97) | {LARGE: 0.982}
    chosen |= {f"claim-6-{name}": value for name, value in accuracies.items()}
    others = [technique(name, each) for name, each in chosen.items() if name not in {without, "*"}]
    return claims_evidence([*network, *(others if without != "*" else ()), *more])


def timed(*threads_and_seconds: tuple[int, float], **changes: Any) -> Evidence:
    """Trainings of the scenario threads; each later one of a thread count has another seed."""
    runs: list[RunResult] = []
    for threads, seconds in threads_and_seconds:
        seed = sum(each.threads == threads for each in runs)
        scored = Evaluation(step=500, test_accuracy=0.97, validation_accuracy=0.97,
                            train_loss=None, train_seconds=seconds)  # fmt: skip
        runs.append(run(500, seed=seed, scenario="threads", threads=threads, evaluations=(scored,),
                        trajectory=f"{threads}-{seed}", **changes))  # fmt: skip
    return claims_evidence(runs)


FASTER = (1, 20.0), (2, 11.0), (1, 20.0), (2, 10.0)

# Experiments


def of(results: dict[int, Any], **changes: Any) -> Evidence:
    return Evidence(experiments={n: each.model_copy(update=changes) for n, each in results.items()})


def optimizers(
    full: Sequence[Any] = SLOW_LOSSES, newton: Sequence[Any] = SLOW_LOSSES, **changes: Any
) -> Evidence:
    curves = loss_curve("full batch", *full), loss_curve("L-BFGS", *newton)
    return of(optimizer_results(*curves), **changes)


def idle_single_samples() -> Evidence:
    """As in real measurements, the first point is not at exactly 0 s."""
    result = optimizers().experiments[8]
    still = loss_curve("single samples", (0, 1e-6, 2.3), (1_000, 1.0, 2.3))
    body = result.body.model_copy(update={"curves": (still, *result.body.curves[1:])})
    return of({8: result.model_copy(update={"body": body})})


PIXELS = np.random.default_rng(1).integers(0, 256, (28, 28)).astype(np.uint8)


def layers(*shares: float) -> tuple[Any, ...]:
    """Layers of two maps: a share of the image plus noise that is uncorrelated with it."""
    pixels = PIXELS.astype(float)
    noise = np.random.default_rng(0).normal(size=pixels.shape)
    noise -= pixels * (noise * pixels).sum() / (pixels**2).sum()
    noise *= pixels.std() / noise.std()
    each = [share * pixels + (1 - share**2) ** 0.5 * noise for share in shares]
    return tuple(np.stack([one, -one], axis=2).astype(np.float32) for one in each)


def mapped(*untrained: Any) -> Evidence:
    return Evidence(layers=LayerMaps(dataset="mnist", image=0, label=7, steps=1_000, seed=0,
                                     test_accuracy=0.9, pixels=PIXELS, untrained=untrained,
                                     trained=layers(0.3, 0.2, 0.1)))  # fmt: skip


HALF_DEAD = np.stack(
    [PIXELS.reshape(14, 2, 14, 2).mean(axis=(1, 3)), np.zeros((14, 14))], axis=2
).astype(np.float32)

CASES: dict[str, tuple[int, Callable[[], Evidence], str, dict[str, Any], str]] = {
    # name: claim, evidence, verdict, values by criterion, words of the notes
    "1: equal": (1, lambda: around(0.0), HOLDS, {"rows": about(0)}, "10,000 steps indist"),
    "1: above": (1, lambda: around(0.002), HOLDS, {"rows": about(0.002)}, ""),
    "1: below": (1, lambda: around(-0.006), FAILS, {"rows": about(-0.006)}, "steps below"),
    "1: one good row": (1, lambda: around(0, paper.TABLE_1[:1]), OPEN, {"rows": None},
        "no row of 2,500, 5,000, 10,000 steps that compares"),
    "1: one bad row": (1, lambda: around(-0.009, paper.TABLE_1[:1]), FAILS, {}, ""),
    "2: soon": (2, lambda: on(plateau(0.9915)), HOLDS, {"shortfall": about(0.0005, 1e-4)}, ""),
    "2: late": (2, lambda: on(plateau(0.986)), FAILS, {"shortfall": about(0.006, 1e-4)}, ""),
    "2: so-so": (2, lambda: on(plateau(0.991)), OPEN, {"shortfall": about(0.001, 1e-4)}, ""),
    "2: four seeds": (2, lambda: on(plateau(0.9915), 4), OPEN, {"shortfall": None},
        "4 seeds of 10,000 steps; 5 are wanted"),
    # 0.016 by the root of 256 is 0.001: after 256,000 steps.
    "3: power law": (3, lambda: on(falling_error), FAILS,
        {"trend": about(-0.5, 0.02), "near 100%": about(256_000, 25_600)}, "2,000 draws"),
    "3: fast": (3, lambda: on(fast), HOLDS,
        {"trend": about(-1, 0.02), "near 100%": about(16_000, 800)}, ""),
    "3: flat": (3, lambda: on(flat), FAILS, {}, ""),
    "3: shared": (3, lambda: claims_evidence(sharing()), OPEN, {"trend": None},
        "0 of 1,000 steps, 0 of 2,500 steps, 0 of 5,000 steps; 5 seeds of each"),
    "3: marathon": (3, marathon, OPEN, {"marathon": about(0.014, 0.001)}, "decides nothing"),
    "3: one score": (3, lambda: marathon(1), OPEN, {"marathon": about(0.9)}, ""),
    "4: late": (4, lambda: on(late_maximum), FAILS, {"step of max": about(0.9, 0.09)}, ""),
    "4: flat": (4, lambda: on(flat), FAILS, {}, "was 0.90, 0.88, 0.96, 0.84 in the paper"),
    "4: steady": (4, lambda: on(steady), FAILS, {"slowing": about(0, 1e-4)}, "of 3 drops"),
    "4: shared": (4, lambda: claims_evidence(sharing()), OPEN, {"step of max": None}, "too few"),
    # 4 + 0.5 + 3.25 seconds of overhead; 10,000 steps take 0.02 seconds each.
    "5: within": (5, lambda: around(0, price=0.5), HOLDS,
        {"time": about(207.75), "memory": 1_000 * 2**20 + 10_000, "accuracy": about(0.9928),
         "energy": about(207.75 * 60 / 3.6e6), "price": about(207.75 * 60 / 3.6e6 * 0.5)},
        "MacBook Pro of 2011 gives; what the processors count themselves is unavailable here"),
    "5: slow": (5, lambda: longest(seconds={"train": 3_601.0}), FAILS, {"time": about(3_601)}, ""),
    "5: an hour": (5, lambda: longest(seconds={"train": 3_600.0}), HOLDS, {"time": 3_600}, ""),
    "5: one seed": (5, lambda: longest(1), HOLDS, {"time": about(207.75)}, ""),
    "5: no price": (5, lambda: around(0.0), HOLDS, {"time": about(207.75)}, "estimated"),
    "5: large": (5, lambda: longest(peak_rss_bytes=2**34 + 1), FAILS, {"memory": 2**34 + 1}, ""),
    "5: 16 GB": (5, lambda: longest(peak_rss_bytes=2**34), HOLDS, {"memory": 2**34}, ""),
    "5: invalid": (5, lambda: longest(verdict="invalid"), OPEN,
        {"time": None, "memory": 2**20 * 1_000 + 10_000, "accuracy": about(0.9928)},
        "except disturbed ones"),
    "5: nothing": (5, Evidence, OPEN, {}, "no training of 10,000 steps that compares"),
    # Of three seeds, two on battery.
    "5: batteries": (5, lambda: using((7_200, 3_600), (14_400, 5_400), (None, 9_000)), HOLDS,
        {"energy": about(0.003), "processors' energy": about(0.005 / 3), "price": about(0.0015)},
        "whole machine: taken out of its battery inside training, scoring left out"),
    # 207.75 s at 60 W are 12,465 joules.
    "5: hot": (5, lambda: using((None, 36_000), (None, 36_000)), HOLDS,
        {"energy": about(0.01), "processors' energy": about(0.01), "price": about(0.005)},
        "measured, at least: what the processors take is more than a laptop's charger gives"),
    "5: cool": (5, lambda: using((None, 3_600), (None, 3_600)), HOLDS,
        {"energy": about(207.75 * 60 / 3.6e6), "processors' energy": about(0.001)},
        "estimated, not measured"),
    "6: better": (6, lambda: against(svm=0.985), HOLDS, {"accuracy": about(0.0065)},
        "here that from claim-6-svm\n"),
    "6: worse": (6, lambda: against(svm=0.999), FAILS, {"accuracy": about(-0.0075)}, "claim-6-svm"),
    "6: so-so": (6, lambda: against(svm=0.9905), OPEN, {"accuracy": about(0.001)}, "claim-6-svm"),
    "6: several": (6, lambda: against(technique(LARGE, 0.9821, 1), technique(LARGE, 0.9822, 2),
        svm=0.9), HOLDS, {"accuracy": about(0.0094), LARGE: about(0.9821)}, ""),
    "6: untimed": (6, lambda: against(
        technique("claim-6-svm", 0.985).model_copy(update={"verdict": "invalid"}),
        without="claim-6-svm"), HOLDS, {"accuracy": about(0.0065)}, "a time that does not count"),
    # One that is certainly better refutes, even if another is uncertain or missing.
    "6: uncertain": (6, lambda: against(technique(LARGE, 0.5, 1), svm=0.999), FAILS, {},
        "that from claim-6-svm"),
    "6: only worse": (6, lambda: against(technique("claim-6-svm", 0.999), without="*"), FAILS, {},
        "not measured: claim-6-neighbours"),
    **{f"6: no {name}": (6, lambda name=name: against(without=name), OPEN, {},
        f"; not measured: {name}\n")
       for name in OTHER_TECHNIQUES if name != "claim-6-lenet-5"},
    "6: small svm": (6, lambda: against(technique(SMALL_SVM, 0.95), without="claim-6-svm"), OPEN,
        {SMALL_SVM: about(0.95)}, "not measured: claim-6-svm\n"),
    "6: better small svm": (6, lambda: against(technique(SMALL_SVM, 0.999), without="claim-6-svm"),
        FAILS, {}, "not measured: claim-6-svm\n"),
    "6: no lenet": (6, lambda: against(svm=0.985, without="claim-6-lenet-5"), HOLDS, {}, ""),
    "6: better lenet": (6, lambda: against(**{"lenet-5": 0.9995}), HOLDS, {}, ""),
    "6: no network": (6, lambda: against(network=()), OPEN, {"accuracy": None},
        "0 trainings of Table I's network, 5 other techniques"),
    "7": (7, lambda: of(layer_results()), HOLDS,
        {"parameters": 256**2 / 25, "memory": 256**2 / 25, "operations": 256 / 25,
         "time": about(4.5), "sparse alone": 256 / 25}, "2 times the convolution's median"),
    "7: slow": (7, lambda: of(layer_results(seconds=(0.04, 0.05, 0.045))), FAILS,
        {"time": about(0.45)}, ""),
    "7: noise": (7, lambda: of(layer_results(seconds=(0.04, 0.5, 0.045))), OPEN, {}, ""),
    "7: untimed": (7, lambda: of(layer_results(seconds=None)), OPEN, {"time": None}, "no size was"),
    "7: parameters": (7, lambda: of(layer_results(parameters=20)), FAILS, {"parameters": 0.8}, ""),
    "7: constant": (7, lambda: of(layer_results(parameters=2_500)), FAILS, {"parameters": 100}, ""),
    "7: memory": (7, lambda: of(layer_results(weight_bytes=100)), FAILS, {"memory": 1.0}, ""),
    "7: operations": (7, lambda: of(layer_results(multiply_adds=1_600)), FAILS, {}, ""),
    # Both reach 0.9: single samples after 1 s, the full batch after 5 s.
    "8: slower": (8, optimizers, HOLDS, {"full batch": about(5)},
        "5.0 s and 30,000 samples seen against 1.0 s and 1,000 samples seen"),
    "8: shared": (8, lambda: optimizers(exclusive=False), HOLDS, {},
        "one seed; measured while other benchmarks were not kept away\n"),
    # To 0.3, the smallest loss that both reach: 0.5 s against 5 s.
    "8: fast": (8, lambda: optimizers(newton=FAST_LOSSES), FAILS, {"second order": about(0.1)}, ""),
    "8: never": (8, lambda: optimizers(((0, 0.0, 2.3), (10_000, 5.0, 2.3))), HOLDS,
        {"full batch": None},
        "never: full batch did not come below the loss of 2.3000 that it began with"),
    "8: idle": (8, idle_single_samples, OPEN, {"full batch": None}, "single samples did not"),
    "9: falling": (9, lambda: mapped(*layers(0.9, 0.5, 0.1)), HOLDS,
        {"distortion": about(0.1, 0.06)}, "untrained, as published"),
    "9: rising": (9, lambda: mapped(*layers(0.5, 0.9, 0.1)), FAILS, {}, ""),
    # The image is pooled, and a constant map counts as 0.
    "9: half dead": (9, lambda: mapped(HALF_DEAD), HOLDS, {"distortion": about(0.5)}, ""),
    "10: flipped": (10, lambda: of(convolution_results(equal=10)), HOLDS,
        {"flipped": 1.0, "as it stands": 0.1}, "largest difference: 0"),
    "10: unequal": (10, lambda: of(convolution_results(equal=9, largest=3)), FAILS,
        {"flipped": 0.9}, "largest difference: 3"),
    **{f"11: {size} {unit}": (11, lambda size=size: of(dataset_size_results(size, 7_840_016)),
        HOLDS if unit else FAILS, {},
        f"true of training images as uint8 in {unit}" if unit else "true in none of them")
       for size, unit in (
           (99_400_000, "GB"), (99_000_000, "GB"), (98_500_000, "GB"), (99_500_000, "GB"),
           (106_300_441, "GiB"), (98_499_999, ""), (99_500_001, ""), (47_040_016, ""),
           (9_912_422, ""))},
    "11: in bits": (11, lambda: of(dataset_size_results(12_375_000, 1_000)), HOLDS,
        {"size": about(0.012375)}, "in Gbit; in gigabytes of 10^9 bytes the nearest are training"),
    "11: no test": (11, lambda: of(dataset_size_results(99_000_000, None)), OPEN, {}, "counted"),
    "11: large test": (11, lambda: of(dataset_size_results(99_000_000, 60_000_000)), FAILS,
        {"size": about(0.099), "test images": about(1.65)}, ""),
    # The interval of two seeds is wide.
    "12: two seeds": (12, lambda: timed(*FASTER), OPEN, {"threads": about((20 / 11 + 2) / 2)}, ""),
    "12: one seed": (12, lambda: timed(*FASTER[:2]), HOLDS, {}, "2 threads against 1, 500 steps"),
    "12: slower": (12, lambda: timed((1, 10.0), (2, 11.0)), FAILS, {}, ""),
    "12: invalid": (12, lambda: timed(*FASTER, verdict="invalid"), OPEN, {}, "except disturbed"),
    "12: one count": (12, lambda: timed(*FASTER[::2]), OPEN, {}, "thread and with several\n"),
    "12: from two": (12, lambda: timed((2, 20.0), (4, 11.0)), OPEN, {"threads": None}, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_claim(case: str) -> None:
    number, evidence, verdict, values, words = CASES[case]
    line = claim(number, evidence())
    assert line.verdict == verdict
    found = {each.criterion: each.value for each in reversed(line.decisions)}
    assert {name: found[name] for name in values} == values
    assert words in "".join(f"{each.note}\n" for each in line.decisions)
    declared_claim = declared.CLAIMS[number - 1]
    assert (line.words, line.place) == (declared_claim.words, declared_claim.place)
    decided_by = [(d.criterion, d.question, d.rule) for d in line.decisions if d.verdict]
    assert decided_by == [(c.name, c.question, c.rule) for c in declared_claim.criteria]


def test_without_evidence_no_claim_is_decided() -> None:
    lines = decide(Evidence())
    assert {line.verdict for line in lines} == {OPEN}
    assert all(line.run_ids == () for line in lines)
    assert all(d.note for line in lines for d in line.decisions), "the note says what is missing"


def test_each_verdict_is_that_of_its_own_criterion() -> None:
    """Of claims with several criteria, each fails alone."""
    for change, criterion in (
        ({"seconds": (0.04, 0.05, 0.045)}, "time"), ({"parameters": 20}, "parameters"),
        ({"weight_bytes": 100}, "memory"), ({"multiply_adds": 64 * 25}, "operations"),
    ):  # fmt: skip
        decisions = claim(7, of(layer_results(**change))).decisions
        assert [d.criterion for d in decisions if d.verdict == FAILS] == [criterion]
    for evidence, verdicts in (
        (on(falling_error), [HOLDS, FAILS]), (on(flat), [FAILS, FAILS]),
    ):  # fmt: skip
        assert [d.verdict for d in claim(3, evidence).decisions] == verdicts
    assert [d.verdict for d in claim(4, on(late_maximum)).decisions] == [HOLDS, FAILS]
    assert [d.verdict for d in claim(4, on(falling_error)).decisions][1] == HOLDS
    shared = claim(4, claims_evidence(sharing())).decisions
    assert [d.verdict for d in shared] == [OPEN, HOLDS], "of one step count they are independent"


def test_sample_sizes_intervals_and_runs() -> None:
    line = claim(1, around(0.0))
    assert (line.decisions[0].n, len(line.run_ids)) == (3, 12)
    trend = claim(3, on(falling_error)).decisions[0]
    assert trend.n == 20
    assert trend.low < trend.value < trend.high < 0
    near = claim(3, on(falling_error)).decisions[1]
    assert (near.low, near.high) == pytest.approx((228_775, 261_016), rel=1e-4)
    paces = [_paces(each) for each in trainings_on_curve(falling_error) if each.steps == 10_000]
    drops = [mean_of([p[i] - p[i + 1] for p in paces], comparisons=3) for i in range(3)]
    slowing = claim(4, on(falling_error)).decisions[1]
    assert slowing.low == min(drop.low for drop in drops)
    line = claim(6, against(svm=0.985))
    gap = line.decisions[0]
    # Prediction interval: t with 2 degrees of freedom, sd 0.0005: 4.30 · 0.0005 · √(4 / 3).
    assert gap.value - gap.low == pytest.approx(4.3027 * 0.0005 * (4 / 3) ** 0.5, rel=1e-3)
    listed = {each.criterion: each for each in line.decisions[1:]}
    assert {*listed} == {*OTHER_TECHNIQUES, "table-1"}
    assert {each.verdict for each in listed.values()} == {None}
    assert (listed["claim-6-svm"].n, listed["table-1"].n, len(line.run_ids)) == (1, 3, 9)
    assert claim(5, using((7_200, 3_600), (14_400, 5_400), (None, 9_000))).decisions[3].n == 2
    assert claim(7, of(layer_results())).decisions[3].n == 3
    assert claim(10, of(convolution_results(equal=10))).decisions[0].n == 20
    assert claim(11, of(dataset_size_results(99_000_000, None))).decisions[0].n == 3
    shared = claim(8, optimizers(exclusive=False)).decisions
    kept_away = [each.note.endswith("not kept away") for each in shared]
    assert kept_away == [True, True, False, False, False]


# Which runs count


def test_a_seed_counts_once_by_its_longest_training() -> None:
    """Even if each step count was trained separately, or all of them twice."""
    separate = [
        training_on_curve(steps, seed, falling_error, training_seed=seed, trajectory=f"{steps}")
        for steps in TABLE_1_STEPS
        for seed in range(5)
    ]
    twice = [*trainings_on_curve(falling_error), *trainings_on_curve(falling_error)]
    for runs, counts in (
        (sharing(), {10_000: 5}), (separate, {10_000: 5}), (twice, dict.fromkeys(TABLE_1_STEPS, 5)),
    ):  # fmt: skip
        assert {steps: len(group) for steps, group in independent_runs(runs).items()} == counts
    assert claim(3, claims_evidence(separate)).verdict == OPEN
    killed = [each.model_copy(update={"status": "killed"}) for each in sharing()]
    assert independent_runs(killed) == {}


def test_only_runs_with_the_usual_execution_settings_count() -> None:
    plain = [training_on_curve(1_000, seed, falling_error) for seed in range(3)]
    beside = [
        training_on_curve(1_000, seed, falling_error, **changes)
        for seed, changes in enumerate(
            ({"precision": "bfloat16"}, {"device": "gpu"}, {"threads": 8}), 7
        )
    ]
    assert of_usual_threads([*beside, *plain]) == tuple(plain)
    assert of_usual_threads(beside[2:]) == (beside[2],)
    assert of_usual_threads(beside[:2]) == ()


def test_claims_2_to_4_use_the_thread_count_with_most_independent_runs() -> None:
    """Five seeds of shared trainings yield five; five seeds per step count yield twenty."""
    shared = [each.model_copy(update={"threads": 1}) for each in sharing() * 2]
    separate = [
        each.model_copy(update={"threads": 2}) for each in trainings_on_curve(falling_error)
    ]
    assert len(of_usual_threads([*shared, *separate])) == 40
    assert of_usual_threads([*shared, *separate], independent=True) == tuple(separate)
    assert of_usual_threads((), independent=True) == ()


# Claim 4 by hand


def test_the_mean_place_of_a_maximum_anywhere_on_a_plateau_is_one_half() -> None:
    """Regardless of where the grid ends: the last grid step of 1,000 steps is 901."""

    def best_at(best_step: int) -> RunResult:
        return training_on_curve(1_000, 0, lambda step, _: 0.98 + 0.01 * (step == best_step))

    late = [_place_of_maximum(best_at(step)) for step in range(501, 1_000, 100)]
    assert late == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    assert _place_of_maximum(best_at(401)) == pytest.approx(-0.1)

    def on_a_plateau(steps: int) -> AccuracyCurve:
        return lambda step, rng: 0.99 + rng.uniform(0, 1e-4) - (step <= steps / 2) * 0.01

    runs = [
        training_on_curve(s, seed, on_a_plateau(s)) for seed in range(12) for s in TABLE_1_STEPS
    ]
    place = claim(4, claims_evidence(runs)).decisions[0]
    assert (place.value, place.verdict) == (pytest.approx(0.5, abs=0.1), FAILS)


def test_gains_match_a_hand_computation() -> None:
    """A kink at each boundary: gains of 0.1, 0.01, 0.002 and 0.001 per 1,000 steps."""
    segments = [(1, 0.1), (1_000, 0.01), (2_500, 0.002), (5_000, 0.001)]

    def piecewise(step: int, rng: random.Random) -> float:
        gained = 0.5 + rng.uniform(0, 1e-7)
        for (begin, pace), end in zip(segments, [1_000, 2_500, 5_000, 10_000], strict=True):
            gained += pace * max(0, min(step, end) - begin) / 1_000
        return gained

    note = claim(4, on(piecewise)).decisions[1].note or ""
    gains = note.split("each stretch: ")[1].split(". ")[0]
    # Averaging five evaluations around a kink mixes in a twentieth of the gain before it.
    assert [float(gain) for gain in gains.split(", ")] == pytest.approx(
        [0.0946, 0.0138, 0.0021, 0.0010], abs=0.0006
    )
