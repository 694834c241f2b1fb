"""Claims 2 to 4: convergence, trend of the error, step of the maximum."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise

from mnist_bench.analysis.statistics import Estimate, mean_of, slope_of
from mnist_bench.claims import declared
from mnist_bench.claims.evidence import Evidence, independent_runs, runs_of_steps
from mnist_bench.claims.verdicts import below, decided, informative, line_of, undecided, verdict_of
from mnist_bench.core import formatting
from mnist_bench.core.formatting import counted
from mnist_bench.results.claims import ClaimLine, Criterion, Decision
from mnist_bench.results.run import RunResult
from mnist_bench.scenarios import paper

_LONGEST = paper.TABLE_1[-1].steps
_SMALLEST_ERROR = 0.5 / paper.TEST_IMAGES
"""Stands for an error of zero, which has no logarithm."""
_BOOTSTRAP_SAMPLES = 2_000
_AVERAGED = 5
"""Evaluations averaged around a boundary, to reduce noise."""
_MARATHON_AVERAGED = 10

Trainings = Mapping[int, tuple[RunResult, ...]]
"""By step count."""


def convergence(evidence: Evidence) -> ClaimLine:
    """Claim 2: accuracy at 2,000 steps compared with the plateau of 10,000 steps."""
    claim = declared.claim_of(2)
    (criterion,) = claim.criteria
    runs = runs_of_steps(evidence.trainings, _LONGEST)
    shortfalls = [each for run in runs if (each := _shortfall(run)) is not None]
    if len(shortfalls) < paper.CLAIM_SEEDS:
        return line_of(claim, [_too_few(criterion, len(shortfalls), _LONGEST)], ())
    found = mean_of(shortfalls)
    verdict = below(found, criterion.threshold)
    note = f"trainings of {formatting.count(_LONGEST)} steps; Student's interval over seeds"
    return line_of(claim, [decided(criterion, verdict, found, "accuracy", note=note)], _ids(runs))


def _shortfall(run: RunResult) -> float | None:
    """Mean test accuracy of the plateau minus that at 2,000 steps (paper label)."""
    scored = {paper.paper_label(e.step): e.test_accuracy for e in run.candidates}
    early = scored.get(paper.CONVERGED_STEPS)
    late = [
        accuracy
        for step, accuracy in scored.items()
        if step >= paper.PLATEAU_SHARE * run.steps and accuracy is not None
    ]
    return statistics.fmean(late) - early if late and early is not None else None


def error_trend(evidence: Evidence) -> ClaimLine:
    """Claim 3: whether the error falls with the step count, and its extrapolation."""
    claim = declared.claim_of(3)
    trend, near_all = claim.criteria
    runs = independent_runs(evidence.trainings)
    lacking = _lacking(runs)
    marathon = evidence.marathon
    listed = [_marathon(marathon)] if marathon else []
    marathons = [marathon] if marathon else []
    if lacking:
        decisions = [undecided(trend, lacking), undecided(near_all, lacking)]
        return line_of(claim, [*decisions, *listed], _ids(marathons))
    slope = slope_of(*_logarithms(runs))
    decisions = [
        decided(
            trend,
            verdict_of(slope.high < trend.threshold),
            slope,
            "ratio",
            note="slope of the line of least squares; Student's interval. Where it does not lie "
            "below zero, no trend is shown, and the claim does not hold here",
        ),
        _near_all(near_all, runs),
    ]
    used = [run for of in runs.values() for run in of]
    return line_of(claim, [*decisions, *listed], _ids([*used, *marathons]))


def _near_all(criterion: Criterion, runs: Trainings) -> Decision:
    """Step count at which the trend reaches nearly 100%, with a bootstrap interval."""
    rng = random.Random(0)  # noqa: S311  # not used for security
    samples = sorted(
        _steps_to(1 - paper.NEAR_ALL, {s: rng.choices(of, k=len(of)) for s, of in runs.items()})
        for _ in range(_BOOTSTRAP_SAMPLES)
    )
    low = samples[int(0.025 * _BOOTSTRAP_SAMPLES)]
    high = samples[int(0.975 * _BOOTSTRAP_SAMPLES) - 1]
    value = _steps_to(1 - paper.NEAR_ALL, runs)
    found = Estimate(value, low, high, sum(map(len, runs.values())))
    return decided(
        criterion,
        below(found, criterion.threshold),
        found,
        "steps",
        note="the line of the trend, drawn on; its interval by the percentile bootstrap over "
        f"seeds within each step count, {_BOOTSTRAP_SAMPLES:,} draws. "
        "It supposes that the trend goes on",
    )


def _steps_to(error: float, runs: Mapping[int, Sequence[RunResult]]) -> float:
    """Step count at which the trend line reaches an error; infinite if the line does not fall."""
    slope, intercept = statistics.linear_regression(*_logarithms(runs))
    if slope >= 0:
        return math.inf
    exponent = (math.log10(error) - intercept) / slope
    return math.inf if exponent > 300 else 10**exponent


def _logarithms(runs: Mapping[int, Sequence[RunResult]]) -> tuple[list[float], list[float]]:
    """Decimal logarithms of step counts and of final test errors, one of each per training."""
    pairs = [
        (math.log10(steps), math.log10(max(1 - (run.final_test_accuracy or 0.0), _SMALLEST_ERROR)))
        for steps, of in runs.items()
        for run in of
    ]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _marathon(run: RunResult) -> Decision:
    """Error of one long training, for information only."""
    scored = [e.test_accuracy for e in run.candidates if e.test_accuracy is not None]
    late = [1 - accuracy for accuracy in scored[-_MARATHON_AVERAGED:]]
    return informative(
        "marathon",
        f"What error does one training of {formatting.count(run.steps)} steps come to?",
        Estimate(statistics.fmean(late), min(late), max(late), 1),
        "accuracy",
        f"the mean of its last {_MARATHON_AVERAGED} evaluations, and between the smallest and the "
        "largest of them: one seed, which describes and decides nothing",
    )


def late_maximum_and_slowing(evidence: Evidence) -> ClaimLine:
    """Claim 4: whether the maximum is late in a training, and whether learning slows."""
    claim = declared.claim_of(4)
    place, slowing = claim.criteria
    runs = independent_runs(evidence.trainings)
    lacking = _lacking(runs)
    longest = runs_of_steps(evidence.trainings, _LONGEST)
    decisions = [
        undecided(place, lacking) if lacking else _place(place, runs),
        _slowing(slowing, longest),
    ]
    used = [run for of in runs.values() for run in of]
    return line_of(claim, decisions, _ids([*used, *longest]))


def _place(criterion: Criterion, runs: Trainings) -> Decision:
    places = [
        each for of in runs.values() for run in of if (each := _place_of_maximum(run)) is not None
    ]
    published = ", ".join(f"{row.paper_step / row.steps:.2f}" for row in paper.TABLE_1)
    measured = ", ".join(f"{statistics.fmean(_shares(of)):.2f}" for of in runs.values())
    found = mean_of(places)
    return decided(
        criterion,
        verdict_of(found.low > criterion.threshold),
        found,
        "share",
        note="Student's interval. The step of the maximum by the step count is "
        f"{measured} here, the mean of each step count, and was {published} in the paper. "
        "A maximum placed evenly over a plateau moves out with the step count too; where no more "
        "than that is shown, the claim does not hold here",
    )


def _shares(runs: Sequence[RunResult]) -> list[float]:
    """Step of the maximum divided by the step count, for each run."""
    return [(run.max_test_accuracy_step or 0) / run.steps for run in runs]


def _place_of_maximum(run: RunResult) -> float | None:
    """Place of the maximum in the second half: 0 at its start, 1 at its end, negative before it.

    Counted in evaluations, each at the middle of its share of the half. On an even plateau the mean
    is exactly 0.5, regardless of where the grid ends.
    """
    steps = [each.step for each in run.candidates]
    if run.max_test_accuracy_step not in steps:
        return None
    late = sum(step > run.steps / 2 for step in steps)
    index = steps.index(run.max_test_accuracy_step) - (len(steps) - late)
    return (index + 0.5) / late if late else None


def _slowing(criterion: Criterion, runs: Sequence[RunResult]) -> Decision:
    if len(runs) < paper.CLAIM_SEEDS:
        return _too_few(criterion, len(runs), _LONGEST)
    paces = [_paces(run) for run in runs]
    count = len(paper.TABLE_1) - 1
    drops = [mean_of([p[i] - p[i + 1] for p in paces], comparisons=count) for i in range(count)]
    least = min(drops, key=lambda drop: drop.low)
    gains = ", ".join(
        f"{statistics.fmean(pace[i] for pace in paces):+.5f}" for i in range(count + 1)
    )
    return decided(
        criterion,
        verdict_of(least.low > criterion.threshold),
        least,
        "accuracy",
        note=f"the least certain of {count} drops; gained per 1,000 steps in each stretch: "
        f"{gains}. Accuracy at a boundary is the mean of the {_AVERAGED} evaluations nearest to it",
    )


def _paces(run: RunResult) -> list[float]:
    """Accuracy gained per 1,000 steps between consecutive step counts of Table I."""
    scored = [(e.step, e.test_accuracy) for e in run.candidates if e.test_accuracy is not None]
    points = [(float(scored[0][0]), scored[0][1])]
    for row in paper.TABLE_1:
        window = sorted(scored, key=lambda pair: abs(pair[0] - row.steps))[:_AVERAGED]
        points.append(
            (statistics.fmean(s for s, _ in window), statistics.fmean(a for _, a in window))
        )
    return [
        1_000 * (after[1] - before[1]) / (after[0] - before[0])
        for before, after in pairwise(points)
    ]


def _lacking(runs: Trainings) -> str | None:
    """Which independent trainings are missing; None if there are enough."""
    short = [
        f"{len(runs.get(row.steps, ()))} of {formatting.count(row.steps)} steps"
        for row in paper.TABLE_1
        if len(runs.get(row.steps, ())) < paper.CLAIM_SEEDS
    ]
    if not short:
        return None
    return (
        f"too few independent trainings: {', '.join(short)}; {paper.CLAIM_SEEDS} seeds of each "
        "are wanted"
    )


def _too_few(criterion: Criterion, seeds: int, steps: int) -> Decision:
    return undecided(
        criterion,
        f"{counted(seeds, 'seed')} of {formatting.count(steps)} steps; "
        f"{paper.CLAIM_SEEDS} are wanted",
    )


def _ids(runs: Sequence[RunResult]) -> list[str]:
    return [run.run_id for run in runs if run.run_id]
