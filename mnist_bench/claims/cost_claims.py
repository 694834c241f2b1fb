"""Claims 1, 5, 6 and 12: Table I, its cost, other techniques, thread scaling."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt

from mnist_bench.analysis.costs import peak_of, trusted, with_memory
from mnist_bench.analysis.statistics import LEVEL, Estimate, half_width, mean_of, students_t, welch
from mnist_bench.claims.evidence import Evidence
from mnist_bench.claims.verdicts import (
    Judged,
    decided,
    informative,
    judge,
    undecided,
    verdict_of,
)
from mnist_bench.core import formatting
from mnist_bench.core.formatting import counted
from mnist_bench.measurement.conditions import known
from mnist_bench.results.claims import Criterion, Decision
from mnist_bench.results.document import Row
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios import paper

_JOULES_A_KWH = 3.6e6
_LONGEST = paper.TABLE_1[-1].steps
_NAMES = {
    "svm-rbf": "a support vector machine (RBF)",
    "logistic-regression": "a logistic regression",
    "k-nearest-neighbours": "a search for the nearest neighbours",
    "fully-connected": "a fully connected network",
    "lenet-5": "LeNet-5",
}


def table_1(evidence: Evidence, criterion: Criterion) -> Judged:
    """Claim 1: whether a row of Table I is below the paper's value."""
    rows = _comparable_rows(evidence)
    run_ids = [run_id for row in rows.values() for run_id in row.run_ids]
    is_below = any(row.verdict == "below" for row in rows.values())
    missing = [row.steps for row in paper.TABLE_1 if row.steps not in rows]
    if missing and not is_below:
        steps = ", ".join(map(formatting.count, missing))
        return [undecided(criterion, f"no row of {steps} steps that compares")], run_ids
    least = min(rows.values(), key=lambda row: row.difference or 0.0)
    verdicts = ", ".join(f"{formatting.count(s)} steps {row.verdict}" for s, row in rows.items())
    note = (
        "the least difference of a row from the paper's value, with the interval in which "
        f"another such training's would lie; {verdicts}"
    )
    difference = _difference(least, least.paper_max_test_accuracy or 0.0)
    verdict = verdict_of(not is_below)
    return [decided(criterion, difference, verdict, n=least.n, note=note)], run_ids


def _comparable_rows(evidence: Evidence) -> dict[int, Row]:
    """Rows that are comparable with Table I, by step count."""
    return {
        row.steps: row
        for row in sorted(evidence.rows, key=lambda row: row.steps)
        if row.paper_step is not None and row.verdict != "not comparable"
    }


def _difference(row: Row, value: float) -> Estimate | float:
    """A row's mean minus a value, with the row's interval if it has one."""
    mean, low, high = row.mean or 0.0, row.interval_low, row.interval_high
    if low is None or high is None:
        return mean - value
    return Estimate(mean - value, low - value, high - value, row.n)


def laptop(evidence: Evidence, time: Criterion, memory: Criterion, accuracy: Criterion) -> Judged:
    """Claim 5: time, memory and accuracy; also energy and its price."""
    row, runs = _longest(evidence)
    timed, with_peak = trusted(runs), with_memory(runs)
    seconds, peak = _process_seconds(timed), peak_of(with_peak)
    nothing = f"no training of {formatting.count(_LONGEST)} steps that compares"
    nothing += " except disturbed ones" if runs else ""
    decisions = [undecided(each, nothing) for each in (time, memory, accuracy)]
    if seconds:
        note = "the mean, with Student's interval" if len(seconds) > 1 else None
        decisions[0] = decided(time, _mean(seconds), n=1, note=note)
    if peak.rss_bytes:
        decisions[1] = decided(memory, float(peak.rss_bytes), n=len(with_peak))
    elif peak.refusal:
        decisions[1] = undecided(memory, peak.refusal)
    if row:
        verdict = verdict_of(row.verdict != "below")
        decisions[2] = decided(accuracy, _difference(row, 0.0), verdict, n=row.n)
    if seconds:
        decisions += _energy(timed, statistics.fmean(seconds), evidence.price)
    return decisions, list(row.run_ids if row else ())


def _longest(evidence: Evidence) -> tuple[Row | None, list[RunSummary]]:
    """The row of Table I's longest training, and its runs."""
    row = _comparable_rows(evidence).get(_LONGEST)
    return row, [run for run in evidence.runs if row and run.run_id in row.run_ids]


def _process_seconds(runs: Sequence[RunSummary]) -> list[float]:
    return [sum(run.seconds.values()) for run in runs if run.seconds]


def _mean(values: Sequence[float]) -> Estimate | float:
    return mean_of(values) if len(values) > 1 else values[0]


def _energy(runs: Sequence[RunSummary], seconds: float, price: float | None) -> Iterator[Decision]:
    """Energy of a training, measured where the machine has counters, and its price."""
    batteries = [joules / _JOULES_A_KWH for joules in known(run.battery_joules for run in runs)]
    processors = [joules / _JOULES_A_KWH for joules in known(run.processor_joules for run in runs)]
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
    energy = _mean(batteries) if batteries else total
    yield informative("energy", "What does that training take?", energy, "kWh", how)
    if processors:
        yield informative(
            "processors' energy",
            "What of it do the processors take?",
            _mean(processors),
            "kWh",
            "measured: by their own counters (RAPL) inside training, scoring left out",
        )
    if price is not None:
        note = f"at {price:g} a kWh, as given by --price"
        yield informative("price", "And what does that cost?", total * price, "price", note)


def techniques(evidence: Evidence, criterion: Criterion) -> Judged:
    """Claim 6: accuracies of other techniques compared with Table I's network."""
    _, network = _longest(evidence)
    accuracies = known(run.final_test_accuracy for run in network)
    measured = evidence.techniques
    # The claim is about techniques that are not convolutional.
    compared = {name: runs for name, runs in measured.items() if runs[0].model != "lenet-5"}
    if len(accuracies) < 2 or not compared:
        why = (
            f"{counted(len(accuracies), 'training')} of Table I's network, "
            f"{counted(len(compared), 'other technique')}"
        )
        decision = undecided(criterion, why)
    else:
        gaps = {name: _gap(accuracies, runs) for name, runs in compared.items()}
        missing = [name for name in criterion.compares if name not in measured]
        decision = _outperforms(criterion, gaps, missing)
    groups = {**measured, **({"table-1": network} if accuracies else {})}
    run_ids = [run.run_id for runs in (network, *measured.values()) for run in runs if run.run_id]
    return [decision, *(_technique(name, runs) for name, runs in groups.items())], run_ids


def _outperforms(
    criterion: Criterion, gaps: Mapping[str, Estimate], missing: Sequence[str]
) -> Decision:
    """Whether the network beats every technique; one that is certainly better refutes it."""
    name, least = min(gaps.items(), key=lambda pair: pair[1].high)
    if judge(criterion, least) != "does not hold":
        name, least = min(gaps.items(), key=lambda pair: pair[1].low)
    verdict = judge(criterion, least)
    if missing and verdict == "holds":
        verdict = "not decided here"
    note = (
        "Welch's interval; of one training of theirs that in which it would lie if ours were "
        f"trained once more, here that from {name}"
    )
    note += f"; not measured: {', '.join(missing)}" if missing else ""
    return decided(criterion, least, verdict, note=note)


def _technique(name: str, runs: Sequence[RunSummary]) -> Decision:
    accuracies = known(run.final_test_accuracy for run in runs)
    seconds = _process_seconds(trusted(runs))
    time = "a time that does not count"
    if seconds:
        time = formatting.duration(statistics.fmean(seconds))
    return informative(
        name,
        f"What accuracy does {_NAMES.get(runs[0].model, 'the network of Table I')} come to?",
        _mean(accuracies),
        "accuracy",
        f"in {time} of its process, scoring included; {runs[0].hyperparameters.description}",
        n=len(accuracies),
    )


def _gap(network: Sequence[float], runs: Sequence[RunSummary]) -> Estimate:
    """The network's accuracy minus a technique's.

    For a single run of the technique, the prediction interval of one more run of the network.
    """
    others = known(run.final_test_accuracy for run in runs)
    if len(others) > 1:
        found = welch(network, others, smallest_sd=paper.ROUNDING_SD)
        return Estimate(found.difference, found.low, found.high, len(network))
    difference = statistics.fmean(network) - others[0]
    sd = max(statistics.stdev(network), paper.ROUNDING_SD)
    margin = students_t(len(network) - 1, LEVEL) * sd * sqrt(1 + 1 / len(network))
    return Estimate(difference, difference - margin, difference + margin, len(network))


def thread_scaling(evidence: Evidence, criterion: Criterion) -> Judged:
    """Claim 12: speed-up with more threads."""
    lines = [
        line for line in evidence.scaling if line.pairs and line.threads > line.base_threads == 1
    ]
    if not lines:
        why = "no training of the scenario threads was timed with one thread and with several"
        if any(line.invalid for line in evidence.scaling):
            why += " except disturbed ones"
        return [undecided(criterion, why)], []
    most = max(lines, key=lambda line: line.threads)
    mean = most.speedup_mean or 0.0
    speedup: Estimate | float = mean
    if most.speedup_sd is not None:
        margin = half_width(most.speedup_sd, most.pairs)
        speedup = Estimate(mean, mean - margin, mean + margin, most.pairs)
    note = f"{formatting.threads(most.threads)} against 1, {formatting.count(most.steps)} steps"
    return [decided(criterion, speedup, n=most.pairs, note=note)], list(most.run_ids)
