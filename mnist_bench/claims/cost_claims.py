"""Claims 1, 5, 6 and 12: Table I, its cost, other techniques, thread scaling."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import sqrt

from mnist_bench.analysis.costs import peak_of, trusted
from mnist_bench.analysis.statistics import LEVEL, Estimate, half_width, mean_of, students_t, welch
from mnist_bench.claims import declared
from mnist_bench.claims.evidence import Evidence
from mnist_bench.claims.parts import CONVOLUTIONAL_TECHNIQUE, TECHNIQUES
from mnist_bench.claims.verdicts import (
    above,
    below,
    decided,
    informative,
    line_of,
    undecided,
    verdict_of,
)
from mnist_bench.core import formatting
from mnist_bench.core.formatting import counted
from mnist_bench.measurement.conditions import known
from mnist_bench.results.claims import ClaimLine, Criterion, Decision, Unit
from mnist_bench.results.document import Row, Scaling
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios import paper

_JOULES_A_KWH = 3.6e6
_LONGEST = paper.TABLE_1[-1].steps
_GAP_NOTE = (
    "Welch's interval; of one training of theirs that in which it would lie if ours were trained "
    "once more"
)
_NAMES = {
    "svm-rbf": "a support vector machine (RBF)",
    "logistic-regression": "a logistic regression",
    "k-nearest-neighbours": "a search for the nearest neighbours",
    "fully-connected": "a fully connected network",
    "lenet-5": "LeNet-5",
}


def table_1(evidence: Evidence) -> ClaimLine:
    """Claim 1: whether a row of Table I is below the paper's value."""
    claim = declared.claim_of(1)
    (criterion,) = claim.criteria
    rows = _comparable_rows(evidence.rows)
    missing = [row.steps for row in paper.TABLE_1 if row.steps not in rows]
    ids = [run_id for row in rows.values() for run_id in row.run_ids]
    rows_below = [row for row in rows.values() if row.verdict == "below"]
    if missing and not rows_below:
        steps = ", ".join(map(formatting.count, missing))
        return line_of(claim, [undecided(criterion, f"no row of {steps} steps that compares")], ids)
    least = min(rows.values(), key=lambda row: row.difference or 0.0)
    verdicts = ", ".join(f"{formatting.count(s)} steps {row.verdict}" for s, row in rows.items())
    decision = decided(
        criterion,
        verdict_of(not rows_below),
        _difference(least, least.paper_max_test_accuracy or 0.0),
        "accuracy",
        n=least.n,
        note=f"the least difference of a row from the paper's value, with the interval in which "
        f"another such training's would lie; {verdicts}",
    )
    return line_of(claim, [decision], ids)


def _comparable_rows(rows: Sequence[Row]) -> dict[int, Row]:
    """Rows that are comparable with Table I, by step count."""
    return {
        row.steps: row
        for row in sorted(rows, key=lambda row: row.steps)
        if row.paper_step is not None and row.verdict != "not comparable"
    }


def _difference(row: Row, value: float) -> Estimate | float:
    """A row's mean minus a value, with the row's interval if it has one."""
    mean, low, high = row.mean or 0.0, row.interval_low, row.interval_high
    if low is None or high is None:
        return mean - value
    return Estimate(mean - value, low - value, high - value, row.n)


def laptop(evidence: Evidence) -> ClaimLine:
    """Claim 5: time, memory and accuracy; also energy and its price."""
    claim = declared.claim_of(5)
    time, memory, accuracy = claim.criteria
    row = _comparable_rows(evidence.rows).get(_LONGEST)
    runs = _runs_of(evidence, row)
    timed = trusted(runs)
    seconds = [sum(run.seconds.values()) for run in timed if run.seconds]
    peak = peak_of(timed)
    nothing = f"no training of {formatting.count(_LONGEST)} steps that compares" + (
        ", but such as were spoilt" if runs else ""
    )
    decisions = [
        _at_most(time, _mean(seconds), "seconds", len(seconds))
        if seconds
        else undecided(time, nothing),
        _at_most(memory, float(peak.rss_bytes), "bytes", len(timed))
        if peak.rss_bytes
        else undecided(memory, peak.refusal or nothing),
        decided(
            accuracy, verdict_of(row.verdict != "below"), _difference(row, 0.0), "accuracy", n=row.n
        )
        if row
        else undecided(accuracy, nothing),
        *(_energy(timed, statistics.fmean(seconds), evidence.price) if seconds else ()),
    ]
    return line_of(claim, decisions, row.run_ids if row else ())


def _runs_of(evidence: Evidence, row: Row | None) -> tuple[RunSummary, ...]:
    ids = set(row.run_ids) if row else set()
    return tuple(run for run in evidence.runs if run.run_id in ids)


def _mean(values: Sequence[float]) -> Estimate | float:
    return mean_of(values) if len(values) > 1 else values[0]


def _at_most(criterion: Criterion, figure: Estimate | float, unit: Unit, n: int) -> Decision:
    """Decision on whether a figure is within its threshold, by its interval if it has one."""
    threshold = criterion.threshold
    if isinstance(figure, float):
        return decided(criterion, verdict_of(figure <= threshold), figure, unit, n=n)
    verdict = below(figure, threshold)
    return decided(criterion, verdict, figure, unit, note="the mean, with Student's interval")


def _energy(runs: Sequence[RunSummary], seconds: float, price: float | None) -> Iterator[Decision]:
    """Energy of a training, measured where the machine has counters, and its price."""
    batteries = _kilowatt_hours([run.battery_joules for run in runs])
    processors = _kilowatt_hours([run.processor_joules for run in runs])
    total = seconds * paper.CHARGER_WATTS / _JOULES_A_KWH
    at_least = statistics.fmean(processors) if processors else 0.0
    if batteries:
        total = statistics.fmean(batteries)
        how = "whole machine: taken out of its battery inside training, scoring left out"
    elif at_least > total:
        total = at_least
        how = "measured, at least: what the processors take is more than a laptop's charger gives"
    else:
        how = (
            f"estimated, not measured: its seconds at {paper.CHARGER_WATTS:.0f} W, all that the "
            "charger of a 13-inch MacBook Pro of 2011 gives"
        )
    if not processors:
        how += "; what the processors count themselves is unavailable here"
    figure = _mean(batteries) if batteries else total
    yield informative("energy", "What does that training take?", figure, "kWh", how)
    if processors:
        yield informative(
            "processors' energy",
            "What of it do the processors take?",
            _mean(processors),
            "kWh",
            "measured: by their own counters (RAPL) inside training, scoring left out",
        )
    if price is not None:
        yield informative(
            "price",
            "And what does that cost?",
            total * price,
            "price",
            f"at {price:g} a kWh, as given by --price",
        )


def _kilowatt_hours(joules: Iterable[float | None]) -> list[float]:
    return [each / _JOULES_A_KWH for each in known(joules)]


def techniques(evidence: Evidence) -> ClaimLine:
    """Claim 6: accuracies of other techniques compared with Table I's network."""
    claim = declared.claim_of(6)
    (criterion,) = claim.criteria
    network_runs = _runs_of(evidence, _comparable_rows(evidence.rows).get(_LONGEST))
    accuracies = known([run.final_test_accuracy for run in network_runs])
    by_technique = evidence.techniques
    groups = (network_runs, *by_technique.values())
    ids = [run.run_id for runs in groups for run in runs if run.run_id]
    listed = [_technique(name, runs) for name, runs in by_technique.items()]
    if accuracies:
        listed.append(_technique("table-1", network_runs))
    compared = {
        name: runs for name, runs in by_technique.items() if name != CONVOLUTIONAL_TECHNIQUE
    }
    if len(accuracies) < 2 or not compared:
        why = (
            f"{counted(len(accuracies), 'training')} of Table I's network, "
            f"{counted(len(compared), 'other technique')}"
        )
        return line_of(claim, [undecided(criterion, why), *listed], ids)
    gaps = {name: _gap(accuracies, runs) for name, runs in compared.items()}
    return line_of(claim, [_outperforms(criterion, gaps, set(by_technique)), *listed], ids)


def _outperforms(
    criterion: Criterion, gaps: Mapping[str, Estimate], measured: Collection[str]
) -> Decision:
    """Whether the network beats every technique; one that is certainly better refutes it."""
    threshold = criterion.threshold
    name, least = min(gaps.items(), key=lambda pair: pair[1].high)
    verdict = above(least, threshold)
    if verdict != "does not hold":
        name, least = min(gaps.items(), key=lambda pair: pair[1].low)
        verdict = above(least, threshold)
    missing = [each for each in TECHNIQUES if each not in {*measured, CONVOLUTIONAL_TECHNIQUE}]
    if missing and verdict == "holds":
        verdict = "not decided here"
    lacks = f"; not measured: {', '.join(missing)}" if missing else ""
    note = f"{_GAP_NOTE}, here that from {name}{lacks}"
    return decided(criterion, verdict, least, "accuracy", note=note)


def _technique(name: str, runs: Sequence[RunSummary]) -> Decision:
    accuracies = known([run.final_test_accuracy for run in runs])
    timed = [sum(run.seconds.values()) for run in trusted(runs) if run.seconds]
    time = formatting.duration(statistics.fmean(timed)) if timed else "a time that does not count"
    what = _NAMES.get(runs[0].model, "the network of Table I")
    return informative(
        name,
        f"What accuracy does {what} come to?",
        _mean(accuracies),
        "accuracy",
        f"in {time} of its process, scoring included; {runs[0].hyperparameters.description}",
    ).model_copy(update={"n": len(accuracies)})


def _gap(network: Sequence[float], runs: Sequence[RunSummary]) -> Estimate:
    """The network's accuracy minus a technique's.

    For a single run of the technique, the prediction interval of one more run of the network.
    """
    others = known([run.final_test_accuracy for run in runs])
    if len(others) > 1:
        found = welch(network, others, smallest_sd=paper.ROUNDING_SD)
        return Estimate(found.difference, found.low, found.high, len(network))
    difference = statistics.fmean(network) - others[0]
    sd = max(statistics.stdev(network), paper.ROUNDING_SD)
    margin = students_t(len(network) - 1, LEVEL) * sd * sqrt(1 + 1 / len(network))
    return Estimate(difference, difference - margin, difference + margin, len(network))


def thread_scaling(evidence: Evidence) -> ClaimLine:
    """Claim 12: speed-up with more threads."""
    claim = declared.claim_of(12)
    (criterion,) = claim.criteria
    lines = [line for line in evidence.scaling if line.pairs and line.threads > 1]
    lines = [line for line in lines if line.base_threads == 1]
    if not lines:
        why = "no training of the scenario threads was timed with one thread and with several"
        if any(line.invalid for line in evidence.scaling):
            why += ", but such as were spoilt"
        return line_of(claim, [undecided(criterion, why)], ())
    most = max(lines, key=lambda line: line.threads)
    threshold = criterion.threshold
    speedup = _speedup(most)
    verdict = (
        above(speedup, threshold)
        if isinstance(speedup, Estimate)
        else verdict_of(speedup > threshold)
    )
    note = (
        f"{formatting.threads(most.threads)} against {formatting.count(most.base_threads)}, "
        f"{formatting.count(most.steps)} steps"
    )
    decision = decided(criterion, verdict, speedup, "ratio", n=most.pairs, note=note)
    return line_of(claim, [decision], most.run_ids)


def _speedup(line: Scaling) -> Estimate | float:
    mean = line.speedup_mean or 0.0
    if line.speedup_sd is None:
        return mean
    margin = half_width(line.speedup_sd, line.pairs)
    return Estimate(mean, mean - margin, mean + margin, line.pairs)
