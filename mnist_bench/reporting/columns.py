"""Columns of all report tables: headers and cell formats, shared by every output format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from mnist_bench.analysis.confusion import DigitLine
from mnist_bench.analysis.costs import PhaseCost
from mnist_bench.analysis.table1 import ALPHA
from mnist_bench.core import formatting
from mnist_bench.results.claims import ClaimLine, Decision
from mnist_bench.results.document import (
    MachineCosts,
    MachineLine,
    Reach,
    Row,
    Scaling,
    Standing,
)
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.paper import paper_label
from mnist_bench.tuning.trial import StudyTrial

Line = TypeVar(
    "Line", Row, RunSummary, PhaseCost, Scaling, MachineLine, Reach, Standing, DigitLine,
    StudyTrial, ClaimLine, Decision, MachineCosts,
)  # fmt: skip

INTERVAL = f"{1 - ALPHA:.0%} interval"


@dataclass(frozen=True)
class Column(Generic[Line]):
    """One column of a table.

    Attributes:
        header: Header cell.
        text: Cell of a line, not yet escaped.
        importance: A narrow terminal drops the least important columns first, but never those of 0.
        words: Whether the cells are words, aligned left; numbers are aligned right.
        wraps: Whether the cells are sentences that may wrap.
    """

    header: str
    text: Callable[[Line], str]
    importance: int = 0
    words: bool = False
    wraps: bool = False


def plus_minus(mean: float | None, sd: float | None) -> str:
    """Mean accuracy with its standard deviation, if known: `0.9931 ± 0.00042`."""
    return formatting.accuracy(mean) + ("" if sd is None else f" ± {formatting.spread(sd)}")


def interval(low: float | None, high: float | None) -> str:
    """Both ends of an interval: `0.9912 to 0.9950`."""
    if low is None or high is None:
        return formatting.UNKNOWN
    return f"{formatting.accuracy(low)} to {formatting.accuracy(high)}"


def step_with_label(step: int | None) -> str:
    """Step with the paper's label in brackets: `901 (900)`."""
    return formatting.UNKNOWN if step is None else f"{step:,} ({paper_label(step):,})"


def step_range(row: Row) -> str:
    """Range of the runs' best steps, with the paper's labels in brackets."""
    low, high = row.max_test_accuracy_step_min, row.max_test_accuracy_step_max
    if low is None or high is None or low == high:
        return step_with_label(low)
    return f"{low:,} to {high:,} ({paper_label(low):,} to {paper_label(high):,})"


def status(run: RunSummary) -> str:
    """Status of a run."""
    return run.status or "not ended"


def speedup(line: Scaling) -> str:
    """Speed-up over the base, with its standard deviation over seeds: `1.78 ± 0.02`."""
    if line.speedup_mean is None:
        return formatting.UNKNOWN
    spread = "" if line.speedup_sd is None else f" ± {line.speedup_sd:.2f}"
    return f"{line.speedup_mean:.2f}{spread}"


def time_spread(row: Row) -> str:
    """Standard deviation of train seconds as a share of their mean: `0.5%`."""
    return formatting.percent(_relative(row.train_seconds_mean, row.train_seconds_sd))


def speed(line: MachineLine) -> str:
    """Images per second with their standard deviation over seeds: `3,214 ± 12`."""
    spread = line.images_per_second_sd
    mean = formatting.rate(line.images_per_second_mean)
    return mean if spread is None else f"{mean} ± {formatting.rate(spread)}"


def task(line: MachineLine) -> str:
    """Precision, device, and everything that differs from the paper's task: `float32, cpu`."""
    hyperparameters = line.hyperparameters.not_default if line.hyperparameters else ""
    grid = line.eval_first, line.eval_every
    paper_grid = paper.PROTOCOL.eval_first, paper.PROTOCOL.eval_every
    parts = [
        line.precision,
        line.device_name or line.device,
        "" if line.dataset == paper.DATASET else line.dataset,
        "" if line.model == paper.PROTOCOL.model else line.model,
        hyperparameters,
        "" if grid in {paper_grid, (None, None)} else f"scored at {grid[0]}, then every {grid[1]}",
    ]
    return ", ".join(part for part in parts if part) or formatting.UNKNOWN


def clean(row: Row | Scaling | MachineCosts) -> str:
    """Number of clean runs on one machine: `2 of 3`; unknown if no run has a verdict."""
    if row.clean is None or not (row.clean or row.suspect or row.invalid):
        return formatting.UNKNOWN
    return f"{row.clean} of {(row.timed_n or 0) + (row.invalid or 0)}"


def phase_time(cost: PhaseCost) -> str:
    """Seconds of a phase with their standard deviation over trainings: `12.3 s ± 3.4%`."""
    return _time(cost.seconds_mean, cost.seconds_sd)


def _time(mean: float | None, sd: float | None) -> str:
    spread = _relative(mean, sd)
    text = formatting.duration(mean)
    return text if spread is None else f"{text} ± {formatting.percent(spread)}"


def updates(line: Reach) -> str:
    """Steps to an accuracy with their standard deviation over trainings: `4,801 ± 320`."""
    spread = "" if line.steps_sd is None else f" ± {_rounded(line.steps_sd)}"
    return f"{_rounded(line.steps_mean)}{spread}"


def time_to_accuracy(line: Reach) -> str:
    """Seconds to an accuracy, with n if some trainings are not timed: `42 s ± 3.4%, n = 2`."""
    text = _time(line.seconds_mean, line.seconds_sd)
    has_untimed = line.timed_n and line.timed_n < line.reached
    return f"{text}, n = {line.timed_n}" if has_untimed else text


def time_ratio(line: Standing) -> str:
    """Train time relative to the reference, with its interval if any: `1.12 (1.08 to 1.16)`."""
    ratio, low, high = line.seconds_ratio, line.seconds_ratio_low, line.seconds_ratio_high
    if ratio is None:
        return formatting.UNKNOWN
    return (
        f"{ratio:.2f}" if low is None or high is None else f"{ratio:.2f} ({low:.2f} to {high:.2f})"
    )


def shared(cost: PhaseCost) -> str:
    """Trainings in which the parent process was busy during the phase: `in 1 of 3`."""
    return f"in {cost.shared} of {cost.trainings}" if cost.shared else "no"


def taken_for(line: DigitLine) -> str:
    """Most frequent wrong prediction for a digit, and how often."""
    if line.taken_for is None:
        return "no other"
    times = (
        "once" if line.taken_for_count == 1 else f"{formatting.count(line.taken_for_count)} times"
    )
    return f"{line.taken_for} ({times} in {formatting.count(line.images * line.n)})"


def _max(row: Row) -> str:
    return plus_minus(row.mean, row.sd)


_STEPS = Column[Row]("Steps", lambda row: formatting.count(row.steps))

TABLE_1: tuple[Column[Row], ...] = (
    _STEPS,
    Column("Paper's step", lambda row: formatting.count(row.paper_step), importance=3),
    Column("Paper", lambda row: formatting.accuracy(row.paper_max_test_accuracy), importance=11),
    Column("n", lambda row: formatting.count(row.n), importance=8),
    Column("Clean", clean, importance=7),
    Column("Here, max", _max),
    Column("Difference", lambda row: formatting.accuracy_difference(row.difference), importance=6),
    Column(INTERVAL, lambda row: interval(row.interval_low, row.interval_high), importance=5),
    Column("Verdict", lambda row: row.verdict, words=True),
    Column("Step of max (label)", step_range, importance=2),
    Column("Train time", lambda row: formatting.duration(row.train_seconds_mean), importance=10),
    Column("± time", time_spread, importance=1),
    Column("Images/s", lambda row: formatting.rate(row.images_per_second_mean), importance=4),
    Column("Peak RSS", lambda row: formatting.mebibytes(row.peak_rss_bytes_max), importance=9),
)
"""Table I next to this machine's rows."""

ACCURACIES: tuple[Column[Row], ...] = (
    _STEPS,
    Column("Max", _max),
    Column("Final",
           lambda row: plus_minus(row.final_test_accuracy_mean, row.final_test_accuracy_sd),
           importance=2),
    Column("Selected",
           lambda row: plus_minus(row.selected_test_accuracy_mean, row.selected_test_accuracy_sd),
           importance=3),
    Column("Final, other images",
           lambda row: interval(row.other_images_low, row.other_images_high), importance=1),
)  # fmt: skip
"""Three accuracies of the same runs."""

OTHER_SCENARIOS: tuple[Column[Row], ...] = (
    Column("Scenario", lambda row: row.scenario or formatting.UNKNOWN, words=True),
    _STEPS,
    Column("n", lambda row: formatting.count(row.n)),
    Column("Max", _max),
    Column("Verdict", lambda row: row.verdict, words=True),
    Column("Train time", lambda row: formatting.duration(row.train_seconds_mean)),
    Column("Peak RSS", lambda row: formatting.mebibytes(row.peak_rss_bytes_max)),
)
"""Scenarios without a section, by their largest step count."""

SCALING: tuple[Column[Scaling], ...] = (
    Column("Steps", lambda line: formatting.count(line.steps)),
    Column("Threads", lambda line: formatting.count(line.threads)),
    Column("n", lambda line: formatting.count(line.n), importance=2),
    Column("Clean", clean, importance=3),
    Column("Train time", lambda line: formatting.duration(line.train_seconds_mean), importance=5),
    Column("Images/s", lambda line: formatting.rate(line.images_per_second_mean), importance=4),
    Column("Speed-up", speedup),
    Column("Efficiency", lambda line: formatting.percent(line.efficiency)),
    Column("Peak RSS", lambda line: formatting.mebibytes(line.peak_rss_bytes_max), importance=1),
)
"""Thread scaling."""

MACHINE_COSTS: tuple[Column[MachineCosts], ...] = (
    Column("Steps", lambda line: formatting.count(line.steps)),
    Column("Machine", lambda line: formatting.machine(line.machine_id), words=True),
    Column("Hardware", lambda line: line.machine or formatting.UNKNOWN, importance=1, words=True),
    Column("Threads", lambda line: formatting.count(line.threads), importance=3),
    Column("Runs", lambda line: formatting.count(line.n), importance=4),
    Column("Clean", clean, importance=2),
    Column("Train time", lambda line: _time(line.train_seconds_mean, line.train_seconds_sd)),
    Column("Images/s", lambda line: formatting.rate(line.images_per_second_mean), importance=5),
    Column("Peak RSS", lambda line: formatting.mebibytes(line.peak_rss_bytes_max), importance=6),
)
"""Time and memory of each machine."""

_RUN_THREADS = Column[RunSummary]("Threads", lambda run: formatting.count(run.threads))
_RUN_MACHINE = Column[RunSummary](
    "Machine", lambda run: formatting.machine(run.machine_id), words=True
)

RUNS: tuple[Column[RunSummary], ...] = (
    Column("Seed", lambda run: str(run.seed)),
    Column("Steps", lambda run: formatting.count(run.steps)),
    Column("Status", status, words=True),
    Column("Verdict", lambda run: run.verdict or formatting.UNKNOWN, words=True),
    Column("Max", lambda run: formatting.accuracy(run.max_test_accuracy)),
    Column("Step of max (label)", lambda run: step_with_label(run.max_test_accuracy_step)),
    Column("Final", lambda run: formatting.accuracy(run.final_test_accuracy)),
    Column("Selected", lambda run: formatting.accuracy(run.selected_test_accuracy)),
    Column("Train time", lambda run: formatting.duration(run.train_seconds_total)),
    Column("Peak RSS", lambda run: formatting.mebibytes(run.peak_rss_bytes)),
    Column("Run", lambda run: run.run_id or formatting.UNKNOWN, words=True),
)
"""Every run."""


def columns_of_runs(*, threads: bool, machines: bool) -> tuple[Column[RunSummary], ...]:
    """Columns of every run, with what else identifies one if it differs."""
    more = (*((_RUN_MACHINE,) if machines else ()), *((_RUN_THREADS,) if threads else ()))
    return (*RUNS[:2], *more, *RUNS[2:])


PHASES: tuple[Column[PhaseCost], ...] = (
    Column("Phase", lambda cost: cost.name, words=True),
    Column("Mean time", phase_time),
    Column("Peak RSS", lambda cost: formatting.mebibytes(cost.peak_rss_bytes_max)),
    Column("Shared", shared, words=True),
)
"""Costs by phase."""

MACHINES: tuple[Column[MachineLine], ...] = (
    Column("Scenario", lambda line: line.scenario, words=True),
    Column("Steps", lambda line: formatting.count(line.steps)),
    Column("How", task, words=True),
    Column("Machine", lambda line: line.machine, words=True),
    Column("Threads", lambda line: formatting.count(line.threads)),
    Column("n", lambda line: formatting.count(line.n)),
    Column("Images/s", speed),
    Column("Relative", lambda line: formatting.percent(line.relative)),
    Column("Final", lambda line: formatting.accuracy(line.final_test_accuracy_mean)),
    Column("Peak RSS", lambda line: formatting.mebibytes(line.peak_rss_bytes_max)),
)
"""Machine ranking."""

TIME_TO_ACCURACY: tuple[Column[Reach], ...] = (
    Column("Test accuracy", lambda line: formatting.accuracy(line.accuracy)),
    Column("Reached by", lambda line: f"{line.reached} of {line.n}"),
    Column("Updates to it", updates),
    Column("ms an update", lambda line: _milliseconds(line.seconds_a_step_mean)),
    Column("Train time to it", time_to_accuracy),
)
"""Time to the paper's accuracies."""

VS_REFERENCE: tuple[Column[Standing], ...] = (
    Column("Steps", lambda line: formatting.count(line.steps)),
    Column("n", lambda line: f"{line.n} against {line.reference_n}"),
    Column(
        "Max, difference", lambda line: formatting.accuracy_difference(line.accuracy_difference)
    ),
    Column("p", lambda line: _probability(line.p_value)),
    Column("Train time, ratio", time_ratio),
)
"""Rows compared with the shipped reference."""

DIGITS: tuple[Column[DigitLine], ...] = (
    Column("Digit", lambda line: str(line.digit)),
    Column("Images", lambda line: formatting.count(line.images)),
    Column("Read rightly", lambda line: _share(line.share_right)),
    Column("Most often taken for", taken_for, words=True),
)
"""Predictions by digit."""


def _relative(mean: float | None, sd: float | None) -> float | None:
    """Standard deviation as a share of the mean."""
    return sd / mean if mean and sd is not None else None


def _share(share: float | None) -> str:
    return formatting.UNKNOWN if share is None else f"{share:.2%}"


def _rounded(mean: float | None) -> str:
    return formatting.UNKNOWN if mean is None else f"{mean:,.0f}"


def _milliseconds(seconds: float | None) -> str:
    return formatting.UNKNOWN if seconds is None else f"{1_000 * seconds:.1f}"


def _probability(p_value: float | None) -> str:
    if p_value is None:
        return formatting.UNKNOWN
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"
