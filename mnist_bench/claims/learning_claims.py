"""Claims 2 to 4: convergence, trend of the error, step of the maximum."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise

from mnist_bench.analysis.statistics import Estimate, mean_of, slope_of
from mnist_bench.claims.evidence import Evidence, independent_runs, runs_of_steps
from mnist_bench.claims.verdicts import Judged, decided, informative, undecided
from mnist_bench.core import formatting
from mnist_bench.core.formatting import counted
from mnist_bench.measurement.conditions import known
from mnist_bench.results.claims import Criterion, Decision
from mnist_bench.results.run import RunResult
from mnist_bench.scenarios import paper

_LONGEST = paper.TABLE_1[-1].steps
_SMALLEST_ERROR = 0.5 / paper.TEST_IMAGES
"""Stands for an error of zero, which has no logarithm."""
_BOOTSTRAP_SAMPLES = 2_000
_AVERAGED = 5
"""Evaluations averaged around a boundary, to reduce noise."""
_MARATHON_AVERAGED = 10

Trainings = Mapping[int, Sequence[RunResult]]
"""By step count."""


def convergence(evidence: Evidence, criterion: Criterion) -> Judged:
    """Claim 2: accuracy at 2,000 steps compared with the plateau of 10,000 steps."""
    runs = runs_of_steps(evidence.trainings, _LONGEST)
    shortfalls = known(map(_shortfall, runs))
    if len(shortfalls) < paper.CLAIM_SEEDS:
        return [_too_few(criterion, len(shortfalls))], []
    note = f"trainings of {formatting.count(_LONGEST)} steps; Student's interval over seeds"
    return [decided(criterion, mean_of(shortfalls), note=note)], _ids(runs)


def _shortfall(run: RunResult) -> float | None:
    """Mean test accuracy of the plateau minus that at 2,000 steps (paper label)."""
    scored = {paper.paper_label(step): accuracy for step, accuracy in _scored(run)}
    early = scored.get(paper.CONVERGED_STEPS)
    late = [scored[step] for step in scored if step >= paper.PLATEAU_SHARE * run.steps]
    return statistics.fmean(late) - early if late and early is not None else None


def error_trend(evidence: Evidence, trend: Criterion, near_all: Criterion) -> Judged:
    """Claim 3: whether the error falls with the step count, and its extrapolation."""
    runs = independent_runs(evidence.trainings)
    lacking = _lacking(runs)
    if lacking:
        decisions, used = [undecided(each, lacking) for each in (trend, near_all)], []
    else:
        note = (
            "slope of the line of least squares; Student's interval. Where it does not lie "
            "below zero, no trend is shown, and the claim does not hold here"
        )
        points = map(_logarithms, _all(runs))
        decisions = [decided(trend, slope_of(*zip(*points, strict=True)), note=note)]
        decisions.append(_near_all(near_all, runs))
        used = _all(runs)
    if evidence.marathon:
        decisions.append(_marathon(evidence.marathon))
        used.append(evidence.marathon)
    return decisions, _ids(used)


def _near_all(criterion: Criterion, runs: Trainings) -> Decision:
    """Step count at which the trend reaches nearly 100%, with a bootstrap interval."""
    rng = random.Random(0)  # noqa: S311  # not used for security
    points = [[_logarithms(run) for run in of] for of in runs.values()]
    samples = sorted(
        _steps_to_near_all([each for of in points for each in rng.choices(of, k=len(of))])
        for _ in range(_BOOTSTRAP_SAMPLES)
    )
    low = samples[int(0.025 * _BOOTSTRAP_SAMPLES)]
    high = samples[int(0.975 * _BOOTSTRAP_SAMPLES) - 1]
    every = [each for of in points for each in of]
    return decided(
        criterion,
        Estimate(_steps_to_near_all(every), low, high, len(every)),
        note="the line of the trend, drawn on; its interval by the percentile bootstrap over "
        f"seeds within each step count, {_BOOTSTRAP_SAMPLES:,} draws. "
        "It supposes that the trend goes on",
    )


def _steps_to_near_all(points: Sequence[tuple[float, float]]) -> float:
    """Step count at which the trend line reaches nearly 100%; infinite if it does not fall."""
    slope, intercept = statistics.linear_regression(*zip(*points, strict=True))
    if slope >= 0:
        return math.inf
    exponent = (math.log10(1 - paper.NEAR_ALL) - intercept) / slope
    return math.inf if exponent > 300 else 10**exponent


def _logarithms(run: RunResult) -> tuple[float, float]:
    """Decimal logarithms of the step count and of the final test error."""
    error = max(1 - (run.final_test_accuracy or 0.0), _SMALLEST_ERROR)
    return math.log10(run.steps), math.log10(error)


def _marathon(run: RunResult) -> Decision:
    """Error of one long training, for information only."""
    late = [1 - accuracy for _, accuracy in _scored(run)[-_MARATHON_AVERAGED:]]
    return informative(
        "marathon",
        f"What error does one training of {formatting.count(run.steps)} steps come to?",
        Estimate(statistics.fmean(late), min(late), max(late), 1),
        "accuracy",
        f"the mean of its last {_MARATHON_AVERAGED} evaluations, and between the smallest and the "
        "largest of them: one seed, which describes and decides nothing",
    )


def late_maximum_and_slowing(evidence: Evidence, place: Criterion, slowing: Criterion) -> Judged:
    """Claim 4: whether the maximum is late in a training, and whether learning slows."""
    runs = independent_runs(evidence.trainings)
    longest = runs_of_steps(evidence.trainings, _LONGEST)
    lacking = _lacking(runs)
    decisions = [
        undecided(place, lacking) if lacking else _place(place, runs),
        _slowing(slowing, longest)
        if len(longest) >= paper.CLAIM_SEEDS
        else _too_few(slowing, len(longest)),
    ]
    return decisions, _ids([*_all(runs), *longest])


def _place(criterion: Criterion, runs: Trainings) -> Decision:
    published = ", ".join(f"{row.paper_step / row.steps:.2f}" for row in paper.TABLE_1)
    measured = ", ".join(
        f"{statistics.fmean((run.max_test_accuracy_step or 0) / run.steps for run in of):.2f}"
        for of in runs.values()
    )
    return decided(
        criterion,
        mean_of(known(map(_place_of_maximum, _all(runs)))),
        note="Student's interval. The step of the maximum by the step count is "
        f"{measured} here, the mean of each step count, and was {published} in the paper. "
        "A maximum placed evenly over a plateau moves out with the step count too; where no more "
        "than that is shown, the claim does not hold here",
    )


def _place_of_maximum(run: RunResult) -> float | None:
    """Place of the maximum in the second half: 0 at its start, 1 at its end, negative before it.

    Counted in evaluations, each at the middle of its share of the half. On an even plateau the mean
    is exactly 0.5, regardless of where the grid ends.
    """
    steps = [each.step for each in run.candidates]
    late = sum(step > run.steps / 2 for step in steps)
    if run.max_test_accuracy_step not in steps or not late:
        return None
    return (steps.index(run.max_test_accuracy_step) - (len(steps) - late) + 0.5) / late


def _slowing(criterion: Criterion, runs: Sequence[RunResult]) -> Decision:
    paces = [_paces(run) for run in runs]
    count = len(paper.TABLE_1) - 1
    drops = [mean_of([p[i] - p[i + 1] for p in paces], comparisons=count) for i in range(count)]
    gains = ", ".join(f"{statistics.fmean(of):+.5f}" for of in zip(*paces, strict=True))
    return decided(
        criterion,
        min(drops, key=lambda drop: drop.low),
        note=f"the least certain of {count} drops; gained per 1,000 steps in each stretch: "
        f"{gains}. Accuracy at a boundary is the mean of the {_AVERAGED} evaluations nearest to it",
    )


def _paces(run: RunResult) -> list[float]:
    """Accuracy gained per 1,000 steps between consecutive step counts of Table I."""
    scored = _scored(run)
    points: list[tuple[float, float]] = [scored[0]]
    for row in paper.TABLE_1:
        window = sorted(scored, key=lambda pair: abs(pair[0] - row.steps))[:_AVERAGED]
        step, accuracy = map(statistics.fmean, zip(*window, strict=True))
        points.append((step, accuracy))
    return [
        1_000 * (after - before) / (end - start)
        for (start, before), (end, after) in pairwise(points)
    ]


def _scored(run: RunResult) -> list[tuple[int, float]]:
    """Step and test accuracy of each evaluation."""
    return [(e.step, e.test_accuracy) for e in run.candidates if e.test_accuracy is not None]


def _lacking(runs: Trainings) -> str | None:
    """Which independent trainings are missing; None if there are enough."""
    found = {row.steps: len(runs.get(row.steps, ())) for row in paper.TABLE_1}
    short = ", ".join(
        f"{n} of {formatting.count(steps)} steps"
        for steps, n in found.items()
        if n < paper.CLAIM_SEEDS
    )
    wanted = f"{paper.CLAIM_SEEDS} seeds of each are wanted"
    return f"too few independent trainings: {short}; {wanted}" if short else None


def _too_few(criterion: Criterion, seeds: int) -> Decision:
    steps = formatting.count(_LONGEST)
    why = f"{counted(seeds, 'seed')} of {steps} steps; {paper.CLAIM_SEEDS} are wanted"
    return undecided(criterion, why)


def _all(runs: Trainings) -> list[RunResult]:
    return [run for of in runs.values() for run in of]


def _ids(runs: Sequence[RunResult]) -> list[str]:
    return [run.run_id for run in runs if run.run_id]
