"""Columns of all report tables: headers, cells and sort values, shared by every output format."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mnist_bench.analysis.confusion import DigitLine
from mnist_bench.analysis.costs import PhaseCost, is_memory_disturbed
from mnist_bench.analysis.table1 import ALPHA
from mnist_bench.core import formatting
from mnist_bench.core.formatting import UNKNOWN, accuracy, count, duration, mebibytes, percent, rate
from mnist_bench.results.claims import ClaimLine, Decision, Unit
from mnist_bench.results.document import (
    MachineCosts,
    MachineLine,
    Reach,
    Row,
    RowVerdict,
    Scaling,
    Standing,
)
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.paper import paper_label
from mnist_bench.tuning.confirmation_stats import Arm
from mnist_bench.tuning.document import StudyDocument
from mnist_bench.tuning.finalists import Finalist
from mnist_bench.tuning.space import Value, in_words, value_text
from mnist_bench.tuning.trial import StudyTrial

Line = TypeVar("Line")
T = TypeVar("T")

INTERVAL = f"{1 - ALPHA:.0%} interval"


@dataclass(frozen=True)
class Column(Generic[Line]):
    """One column of a table.

    Attributes:
        header: Header cell.
        text: Cell of a line, not yet escaped.
        value: What the page sorts by; None for an unknown number. Without it, by the text.
        importance: A narrow terminal drops the least important columns first, but never those of 0.
        words: Whether the cells are words, aligned left; numbers are aligned right.
        wraps: Whether the cells are long and may wrap on the page.
        links: Whether a cell links to the line's run in MLflow; it may wrap.
    """

    header: str
    text: Callable[[Line], str]
    value: Callable[[Line], float | None] | None = None
    importance: int = 0
    words: bool = False
    wraps: bool = False
    links: bool = False


def number(
    header: str,
    value: Callable[[Line], Any],
    show: Callable[[Any], str] = count,
    importance: int = 0,
) -> Column[Line]:
    """A column of formatted numbers."""
    return Column(header, lambda line: show(value(line)), value, importance)


def words(
    header: str,
    text: Callable[[Line], str | None],
    importance: int = 0,
    *,
    wraps: bool = False,
    links: bool = False,
) -> Column[Line]:
    """A column of words, or of sentences that wrap; None is unknown."""
    return Column(header, lambda line: text(line) or UNKNOWN, None, importance,
                  words=True, wraps=wraps, links=links)  # fmt: skip


def plus_minus(
    mean: float | None,
    sd: float | None,
    show: Callable[[float | None], str],
    show_sd: Callable[[float | None], str],
) -> str:
    """Mean with its standard deviation, if known: `0.9931 ± 0.00042`."""
    return show(mean) + ("" if sd is None else f" ± {show_sd(sd)}")


def mean_with_sd(mean: float | None, sd: float | None) -> str:
    """A mean accuracy with its standard deviation, if known: `0.9931 ± 0.00042`."""
    return plus_minus(mean, sd, accuracy, formatting.spread)


def mean_and_sd(
    header: str,
    values: Callable[[Line], tuple[float | None, float | None]],
    show: Callable[[float | None], str] = accuracy,
    show_sd: Callable[[float | None], str] = formatting.spread,
    importance: int = 0,
) -> Column[Line]:
    """A column of means, by default of accuracies, with their standard deviations."""
    return Column(header, lambda line: plus_minus(*values(line), show, show_sd),
                  lambda line: values(line)[0], importance)  # fmt: skip


def interval(low: float | None, high: float | None) -> str:
    """Both ends of an interval: `0.9912 to 0.9950`."""
    return UNKNOWN if low is None or high is None else f"{accuracy(low)} to {accuracy(high)}"


def verdict_in_words(verdict: RowVerdict) -> str:
    """A verdict as people read it; documents keep the statistical word."""
    return "reproduced" if verdict == "indistinguishable" else verdict


def step_with_label(step: int | None) -> str:
    """Step with the paper's label in brackets: `901 (900)`."""
    return UNKNOWN if step is None else f"{step:,} ({paper_label(step):,})"


def step_range(row: Row) -> str:
    """Range of the runs' best steps, with the paper's labels in brackets."""
    low, high = row.max_test_accuracy_step_min, row.max_test_accuracy_step_max
    if low is None or high is None or low == high:
        return step_with_label(low)
    return f"{low:,} to {high:,} ({paper_label(low):,} to {paper_label(high):,})"


_Costs = Row | Scaling | MachineCosts


def is_marked(line: _Costs | RunSummary) -> bool:
    """Whether time and speed are marked with `*`: they are of disturbed runs."""
    if isinstance(line, RunSummary):
        return line.is_disturbed
    # Older documents have suspect runs in every mean.
    suspect = line.suspect if line.timed_suspect is None else line.timed_suspect
    return bool(suspect) or line.disturbed_train_seconds_mean is not None


def _is_memory_marked(line: _Costs | RunSummary) -> bool:
    if isinstance(line, RunSummary):
        return is_memory_disturbed(line)
    return line.disturbed_peak_rss_bytes_max is not None


def _cost(field: str) -> Callable[[Any], Any]:
    """A cost of the undisturbed runs, or of the others where there are no more."""

    def value(line: _Costs) -> float | None:
        undisturbed: float | None = getattr(line, field)
        disturbed: float | None = getattr(line, f"disturbed_{field}")
        return disturbed if undisturbed is None else undisturbed

    return value


def _marked(
    header: str,
    value: Callable[[Line], Any],
    show: Callable[[Any], str],
    importance: int = 0,
    mark: Callable[[Any], bool] = is_marked,
) -> Column[Line]:
    """A column of costs; those of disturbed runs are marked with `*`."""

    def text(line: Any) -> str:
        known = value(line)
        return show(known) + ("*" if known is not None and mark(line) else "")

    return Column(header, text, value, importance)


def _peak(header: str, value: Callable[[Line], Any], importance: int = 0) -> Column[Line]:
    return _marked(header, value, mebibytes, importance, _is_memory_marked)


_TRAIN_SECONDS = _cost("train_seconds_mean")
_IMAGES_PER_SECOND = _cost("images_per_second_mean")
_PEAK_RSS = _cost("peak_rss_bytes_max")


def status(run: RunSummary) -> str:
    """Status of a run."""
    return run.status or "not ended"


def task(line: MachineLine) -> str:
    """Precision, device, and everything that differs from the paper's task: `float32, cpu`."""
    grid = line.eval_first, line.eval_every
    paper_grid = paper.PROTOCOL.eval_first, paper.PROTOCOL.eval_every
    parts = [
        line.precision,
        line.device_name or line.device,
        line.environment,
        "" if line.dataset == paper.DATASET else line.dataset,
        "" if line.model == paper.PROTOCOL.model else line.model,
        line.hyperparameters.not_default if line.hyperparameters else "",
        "" if grid in {paper_grid, (None, None)} else f"scored at {grid[0]}, then every {grid[1]}",
    ]
    return ", ".join(part for part in parts if part)


def clean(row: _Costs) -> str:
    """Number of clean runs on one machine: `2 of 3`; unknown if no run has a verdict."""
    if row.clean is None or not (row.clean or row.suspect or row.invalid):
        return UNKNOWN
    # Suspect runs are in no mean, or in all of an older document.
    untimed = 0 if row.timed_suspect is None else (row.suspect or 0) - row.timed_suspect
    return f"{row.clean} of {(row.timed_n or 0) + untimed + (row.invalid or 0)}"


def phase_time(cost: PhaseCost) -> str:
    """Seconds of a phase with their standard deviation over trainings: `12.3 s ± 3.4%`."""
    return _time(cost.seconds_mean, cost.seconds_sd)


def _time(mean: float | None, sd: float | None) -> str:
    return plus_minus(mean, _relative(mean, sd), duration, percent)


def _relative(mean: float | None, sd: float | None) -> float | None:
    return sd / mean if mean and sd is not None else None


def time_to_accuracy(line: Reach) -> str:
    """Seconds to an accuracy, with n if some trainings are not timed: `42 s ± 3.4%, n = 2`."""
    text = _time(line.seconds_mean, line.seconds_sd)
    return f"{text}, n = {line.timed_n}" if 0 < (line.timed_n or 0) < line.reached else text


def time_ratio(line: Standing) -> str:
    """Train time relative to the reference, with its interval if any: `1.12 (1.08 to 1.16)`."""
    ratio, low, high = line.seconds_ratio, line.seconds_ratio_low, line.seconds_ratio_high
    if ratio is None:
        return UNKNOWN
    return f"{ratio:.2f}" + ("" if low is None or high is None else f" ({low:.2f} to {high:.2f})")


def taken_for(line: DigitLine) -> str:
    """Most frequent wrong prediction for a digit, and how often."""
    if line.taken_for is None:
        return "no other"
    times = "once" if line.taken_for_count == 1 else f"{count(line.taken_for_count)} times"
    return f"{line.taken_for} ({times} in {count(line.images * line.n)})"


def _probability(p_value: float | None) -> str:
    if p_value is None:
        return UNKNOWN
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _known(text: Callable[[T], str]) -> Callable[[T | None], str]:
    return lambda value: UNKNOWN if value is None else text(value)


_TWO_DIGITS = _known("{:.2f}".format)

_MAX: Column[Row] = mean_and_sd("Max", lambda row: (row.mean, row.sd))
_OVERALL_MAX: Column[Row] = mean_and_sd(
    "Max",
    lambda row: (row.overall_max_test_accuracy_mean, row.overall_max_test_accuracy_sd),
    importance=2,
)
_FINAL: Column[Row] = mean_and_sd(
    "Final", lambda row: (row.final_test_accuracy_mean, row.final_test_accuracy_sd)
)
_SELECTED: Column[Row] = mean_and_sd(
    "Selected",
    lambda row: (row.selected_test_accuracy_mean, row.selected_test_accuracy_sd),
    importance=3,
)
_OTHER_IMAGES = Column[Row](
    "Final, other images",
    lambda row: interval(row.other_images_low, row.other_images_high),
    lambda row: row.other_images_low,
    importance=1,
)

_VERDICT: Column[Row] = words("Verdict", lambda row: verdict_in_words(row.verdict))
_TRAIN_TIME: Column[Any] = Column(
    "Train time",
    lambda line: (
        _time(_TRAIN_SECONDS(line), line.train_seconds_sd) + ("*" if is_marked(line) else "")
    ),
    _TRAIN_SECONDS,
)

SUMMARY: tuple[Column[Row], ...] = (
    number("Steps", lambda row: row.steps),
    number("Paper", lambda row: row.paper_max_test_accuracy, accuracy),
    dataclasses.replace(_MAX, header="Here"),
    _VERDICT,
    _marked("Train time", _TRAIN_SECONDS, duration, 3),
    _marked("Images/s", _IMAGES_PER_SECOND, rate, 1),
    _peak("Peak memory", _PEAK_RSS, 2),
)
"""Table I's rows at the end of a run."""

OTHER_SUMMARY: tuple[Column[Row], ...] = (
    number("Steps", lambda row: row.steps),
    _FINAL,
    _OVERALL_MAX,
    *SUMMARY[4:],
)
"""Other rows at the end of a run."""

TABLE_1: tuple[Column[Row], ...] = (
    number("Steps", lambda row: row.steps),
    number("Paper's step", lambda row: row.paper_step, importance=3),
    number("Paper", lambda row: row.paper_max_test_accuracy, accuracy, 11),
    number("n", lambda row: row.n, importance=8),
    dataclasses.replace(_MAX, header="Here, max"),
    number("Difference", lambda row: row.difference, formatting.accuracy_difference, 6),
    Column(INTERVAL, lambda row: interval(row.interval_low, row.interval_high),
           lambda row: row.interval_low, importance=5),
    _VERDICT,
    Column("Step of max (label)", step_range, lambda row: row.max_test_accuracy_step_min,
           importance=2, wraps=True),
)  # fmt: skip
"""Table I next to this machine's rows."""

OTHER_STEP_COUNTS: tuple[Column[Row], ...] = (
    number("Steps", lambda row: row.steps),
    number("n", lambda row: row.n, importance=8),
    _FINAL,
    _OVERALL_MAX,
    _SELECTED,
    _OTHER_IMAGES,
)
"""This machine's rows of other step counts than Table I's."""

COSTS: tuple[Column[Row], ...] = (
    number("Steps", lambda row: row.steps),
    Column("Clean", clean, lambda row: row.clean, importance=7),
    _TRAIN_TIME,
    _marked("Images/s", _IMAGES_PER_SECOND, rate, 4),
    _peak("Peak RSS", _PEAK_RSS, 9),
)
"""Time and memory of this machine's rows."""

ACCURACIES: tuple[Column[Row], ...] = (
    number("Steps", lambda row: row.steps),
    dataclasses.replace(_MAX, header="Max (paper's grid)"),
    dataclasses.replace(_FINAL, importance=2),
    _SELECTED,
    _OTHER_IMAGES,
)
"""Three accuracies of Table I's runs."""


def tables_of_rows(
    rows: Sequence[Row], of_table_1: Sequence[Column[Row]], others: Sequence[Column[Row]]
) -> list[tuple[Sequence[Column[Row]], list[Row]]]:
    """Columns and rows of Table I's step counts, and of others, as far as there are any."""
    tables = (
        (of_table_1, [row for row in rows if row.paper_step is not None]),
        (others, [row for row in rows if row.paper_step is None]),
    )
    return [(columns, some) for columns, some in tables if some]


def columns_of_results(rows: Sequence[Row]) -> list[Column[Row]]:
    """Columns of the one table of all scenarios: accuracy, time and memory of each step count."""
    scenario: Column[Row] = words("Scenario", lambda row: row.scenario, wraps=True)
    several = len({row.scenario for row in rows}) > 1
    return [
        *([scenario] if several else ()),
        number("Steps", lambda row: row.steps),
        number("n", lambda row: row.n),
        number("Paper", lambda row: row.paper_max_test_accuracy, accuracy),
        mean_and_sd(
            "Max",
            lambda row: (
                (row.mean, row.sd)
                if row.paper_step is not None
                else (row.overall_max_test_accuracy_mean, row.overall_max_test_accuracy_sd)
            ),
        ),
        words("Verdict", lambda row: row.paper_step and verdict_in_words(row.verdict)),
        _FINAL,
        _marked("Train time", _TRAIN_SECONDS, duration),
        _peak("Peak memory", _PEAK_RSS),
    ]


def known(columns: Sequence[Column[Line]], lines: Sequence[Line]) -> list[Column[Line]]:
    """The columns in which a line has more than a dash."""
    return [column for column in columns if any(column.text(line) != UNKNOWN for line in lines)]


SCALING: tuple[Column[Scaling], ...] = (
    number("Steps", lambda line: line.steps),
    number("Threads", lambda line: line.threads),
    number("n", lambda line: line.n, importance=2),
    Column("Clean", clean, lambda line: line.clean, importance=3),
    _marked("Train time", _TRAIN_SECONDS, duration, 5),
    _marked("Images/s", _IMAGES_PER_SECOND, rate, 4),
    mean_and_sd("Speed-up", lambda line: (line.speedup_mean, line.speedup_sd),
                _TWO_DIGITS, _TWO_DIGITS),
    number("Efficiency", lambda line: line.efficiency, percent),
    _peak("Peak RSS", _PEAK_RSS, 1),
)  # fmt: skip
"""Thread scaling."""

MACHINE_COSTS: tuple[Column[MachineCosts], ...] = (
    number("Steps", lambda line: line.steps),
    words("Machine", lambda line: formatting.machine(line.machine_id)),
    words("Hardware", lambda line: line.machine, 1, wraps=True),
    number("Threads", lambda line: line.threads, importance=3),
    number("Runs", lambda line: line.n, importance=4),
    Column("Clean", clean, lambda line: line.clean, importance=2),
    _TRAIN_TIME,
    _marked("Images/s", _IMAGES_PER_SECOND, rate, 5),
    _peak("Peak RSS", _PEAK_RSS, 6),
)  # fmt: skip
"""Time and memory of each machine."""


def columns_of_runs(runs: Sequence[RunSummary]) -> tuple[Column[RunSummary], ...]:
    """Columns of every run, with machine and threads if these differ between runs."""
    several_machines = len({run.machine_id for run in runs}) > 1
    several_threads = len({run.threads for run in runs}) > 1
    machine: Column[RunSummary] = words("Machine", lambda run: formatting.machine(run.machine_id))
    threads: Column[RunSummary] = number("Threads", lambda run: run.threads)
    return (
        number("Seed", lambda run: run.seed, str),
        number("Steps", lambda run: run.steps),
        *([machine] if several_machines else ()),
        *([threads] if several_threads else ()),
        words("Status", status),
        words("Verdict", lambda run: run.verdict),
        *_accuracies_of_runs(in_table_1=any(paper.row_of(run.steps) for run in runs)),
        number("Selected", lambda run: run.selected_test_accuracy, accuracy),
        _marked("Train time", lambda run: run.train_seconds_total, duration),
        _peak("Peak RSS", lambda run: run.peak_rss_bytes),
        words("Run", lambda run: run.run_id, links=True),
    )


def _accuracies_of_runs(*, in_table_1: bool) -> list[Column[RunSummary]]:
    """Columns of max and final accuracy, the one that counts first."""
    final: Column[RunSummary] = number("Final", lambda run: run.final_test_accuracy, accuracy)
    if not in_table_1:
        return [final, number("Max", lambda run: run.overall_max_test_accuracy, accuracy)]
    return [
        number("Max (paper's grid)", lambda run: run.max_test_accuracy, accuracy),
        number("Step of max (label)", lambda run: run.max_test_accuracy_step, step_with_label),
        final,
    ]


PHASES: tuple[Column[PhaseCost], ...] = (
    words("Phase", lambda cost: cost.name),
    Column("Mean time", phase_time, lambda cost: cost.seconds_mean),
    number("Peak RSS", lambda cost: cost.peak_rss_bytes_max, mebibytes),
    words("Shared", lambda cost: f"in {cost.shared} of {cost.trainings}" if cost.shared else "no"),
)
"""Costs by phase; shared are those during which the parent process was busy."""

MACHINES: tuple[Column[MachineLine], ...] = (
    words("Scenario", lambda line: line.scenario),
    number("Steps", lambda line: line.steps),
    words("How", task, wraps=True),
    words("Machine", lambda line: line.machine, wraps=True),
    number("Threads", lambda line: line.threads),
    number("n", lambda line: line.n),
    mean_and_sd("Images/s", lambda line: (line.images_per_second_mean, line.images_per_second_sd),
                rate, rate),
    number("Relative", lambda line: line.relative, percent),
    number("Final", lambda line: line.final_test_accuracy_mean, accuracy),
    number("Peak RSS", lambda line: line.peak_rss_bytes_max, mebibytes),
)  # fmt: skip
"""Machine ranking."""

TIME_TO_ACCURACY: tuple[Column[Reach], ...] = (
    number("Test accuracy", lambda line: line.accuracy, accuracy),
    Column("Reached by", lambda line: f"{line.reached} of {line.n}", lambda line: line.reached),
    mean_and_sd("Updates to it", lambda line: (line.steps_mean, line.steps_sd), rate, rate),
    number("ms per step", lambda line: line.seconds_a_step_mean,
           _known(lambda seconds: f"{1_000 * seconds:,.1f}")),
    Column("Train time to it", time_to_accuracy, lambda line: line.seconds_mean),
)  # fmt: skip
"""Time to the paper's accuracies."""

VS_REFERENCE: tuple[Column[Standing], ...] = (
    number("Steps", lambda line: line.steps),
    Column("n", lambda line: f"{line.n} against {line.reference_n}", lambda line: line.n),
    number("Max, difference", lambda line: line.accuracy_difference,
           formatting.accuracy_difference),
    number("p", lambda line: line.p_value, _probability),
    Column("Train time, ratio", time_ratio, lambda line: line.seconds_ratio),
)  # fmt: skip
"""Rows compared with the shipped reference."""

DIGITS: tuple[Column[DigitLine], ...] = (
    number("Digit", lambda line: line.digit, str),
    number("Images", lambda line: line.images),
    number("Read rightly", lambda line: line.share_right, _known("{:.2%}".format)),
    words("Most often taken for", taken_for),
)
"""Predictions by digit."""

# Claims

_UNITS: dict[Unit, Callable[[float], str]] = {
    "accuracy": "{:.4f}".format,
    "share": "{:.2f}".format,
    "ratio": lambda value: f"{value:,.3g}" if abs(value) < 1_000 else f"{value:,.0f}",
    "steps": lambda value: count(round(value)),
    "seconds": duration,
    "bytes": lambda value: mebibytes(round(value)),
    "loss": "{:.4f}".format,
    "GB": "{:.4f} GB".format,
    "kWh": "{:.4f} kWh".format,
    "price": "{:.4f}".format,
}
_LARGEST_SHOWN = 1e15
"""Larger values are shown as "more than" this."""


def figure(value: float | None, unit: Unit) -> str:
    """Format a value by its unit."""
    if value is None:
        return UNKNOWN
    if value > _LARGEST_SHOWN:
        return f"more than {_UNITS[unit](_LARGEST_SHOWN)}"
    return _UNITS[unit](value)


def decision_interval(decision: Decision) -> str:
    """Format both ends of an interval; a missing upper end is "no end"."""
    if decision.low is None and decision.high is None:
        return UNKNOWN
    high = "no end" if decision.high is None else figure(decision.high, decision.unit)
    return f"{figure(decision.low, decision.unit)} to {high}"


CLAIMS: tuple[Column[ClaimLine], ...] = (
    number("Claim", lambda line: line.claim, str),
    words("Here", lambda line: line.verdict),
    words("What the paper says", lambda line: line.words, wraps=True),
    words("Where", lambda line: line.place),
)
DECISIONS: tuple[Column[Decision], ...] = (
    words("Question", lambda each: each.question, wraps=True),
    Column("Found", lambda each: figure(each.value, each.unit), lambda each: each.value),
    Column("Interval", decision_interval, lambda each: each.low),
    number("n", lambda each: each.n),
    words("Verdict", lambda each: each.verdict),
)

# Studies


def _yes_or_no(answer: bool) -> str:  # noqa: FBT001
    return "yes" if answer else "no"


def _objectives(
    document: StudyDocument, header: str, values: Callable[[Line], Sequence[float]]
) -> list[Column[Line]]:
    """A column for each value that the study optimizes, with its name in the header."""
    headers = [header.format(name) for name in document.goal.names]
    return [
        Column(
            text[:1].upper() + text[1:],
            lambda line, i=i: document.goal.texts(values(line))[i],  # type: ignore[misc]
            lambda line, i=i: values(line)[i],  # type: ignore[misc]
        )
        for i, text in enumerate(headers)
    ]


def columns_of_trials(
    document: StudyDocument, trials: Sequence[StudyTrial]
) -> list[Column[StudyTrial]]:
    """Columns of some finished trials of a study."""
    columns: list[Column[StudyTrial]] = [
        Column("Trial", lambda t: f"{t.number}{' (paper)' if t.is_papers else ''}",
               lambda t: t.number),
        *_objectives(document, "{}", lambda trial: trial.values),
        words("Verdict", lambda trial: trial.verdict),
        number("Trial took", lambda trial: trial.seconds, duration),
    ]  # fmt: skip
    if len(document.goal.names) > 1:
        columns.append(Column("On the front", lambda t: _yes_or_no(t.number in document.best)))
    if any(trial.missed for trial in trials):
        columns.append(Column("Keeps the constraints", lambda t: _yes_or_no(t.is_feasible)))
    return [
        *columns,
        words("Hyperparameters", lambda trial: in_words(trial.chosen), wraps=True),
        words("Run", lambda trial: trial.run_id, links=True),
    ]


def columns_of_finalists(document: StudyDocument) -> list[Column[Finalist]]:
    """Columns of a study's finalists: means of their repeats, and values in the search."""
    columns: list[Column[Finalist]] = [
        number("Trial", lambda finalist: finalist.trial, str),
        number("n", lambda finalist: len(finalist.repeats)),
        *_objectives(document, "{} again", lambda f: f.values),
        *_objectives(document, "In the search, {}", lambda f: document.trial(f.trial).values),
    ]
    if any(finalist.missed for finalist in document.finalists):
        columns.append(Column("Keeps the constraints", lambda f: _yes_or_no(f.is_feasible)))
    return columns


PARAMETERS: tuple[Column[tuple[str, Value | None, Value | None]], ...] = (
    words("Parameter", lambda line: line[0]),
    Column("Winner", lambda line: _known(value_text)(line[1])),
    Column("Paper's", lambda line: _known(value_text)(line[2])),
)
"""Name of a parameter, its value in the winner, and its value in the paper's configuration."""

IMPORTANCES: tuple[Column[tuple[str, float]], ...] = (
    words("Parameter", lambda line: line[0]),
    number("Share", lambda line: line[1], "{:.0%}".format),
)
"""Parameters of a study by how much they matter."""

ARMS: tuple[Column[tuple[str, Arm]], ...] = (
    Column("", lambda line: line[0], words=True),
    number("n", lambda line: line[1].n),
    mean_and_sd("Final test accuracy", lambda line: (line[1].accuracy_mean, line[1].accuracy_sd)),
    number("On validation", lambda line: line[1].validation_mean, accuracy),
    number("Train time", lambda line: line[1].train_seconds_mean, duration),
    number("Peak RSS", lambda line: line[1].peak_rss_bytes_max, mebibytes),
)  # fmt: skip
"""Both configurations of a confirmation."""
