"""Statistics: runs against the paper's Table I. Pure, but for reading the shipped reference."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from pydantic import ValidationError

from mnist_bench.analysis.costs import costs_of, mean_and_sd
from mnist_bench.analysis.grouping import Group, groups
from mnist_bench.analysis.statistics import students_t
from mnist_bench.analysis.thread_scaling import scaling_of
from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.core.formatting import spread
from mnist_bench.measurement.conditions import known
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.document import Document, Row, RowVerdict, SpreadSource
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.scenario import packaged_folder

ALPHA = 0.05
"""Chance, over all rows together, of telling a row apart that is not."""
MIN_SEEDS = 3
"""Fewer seeds than these say too little about their own spread: the reference's is taken."""
REFERENCE_NAME = "table-1.json"


@dataclass(frozen=True)
class Spread:
    """How far the seeds of a step count lie apart.

    Attributes:
        steps: The step count.
        sd: Standard deviation of the largest test accuracies.
        n: Seeds that it was taken over.
        source: Who measured it.
        precision: Of the arithmetic it was measured in.
    """

    steps: int
    sd: float
    n: int
    source: SpreadSource
    precision: str = "float32"

    @property
    def degrees_of_freedom(self) -> int:
        """Of the standard deviation."""
        return self.n - 1


@dataclass(frozen=True)
class Reference:
    """Spreads measured before, over many seeds, for those who run few.

    Attributes:
        spreads: At most one for a step count.
    """

    spreads: tuple[Spread, ...]

    @classmethod
    def from_document(cls, document: Document) -> Reference:
        """The spreads of a document's own comparable rows."""
        return cls(
            tuple(
                Spread(row.steps, row.sd, row.n, "reference", _precision(row, document))
                for row in document.table_1
                if row.sd is not None and row.n >= MIN_SEEDS and row.verdict != "not comparable"
            )
        )

    def of(self, steps: int) -> Spread | None:
        """The spread of a step count; None where it was not measured."""
        return next((s for s in self.spreads if s.steps == steps), None)


def _precision(row: Row, document: Document) -> str:
    """In which arithmetic a row's runs were computed; runs of two are never in one row."""
    told = (run.precision for run in document.runs if run.run_id in row.run_ids)
    return next(told, "float32")


def load_reference() -> Reference:
    """The spreads of the reference that comes with the package.

    Raises:
        BenchError: It is missing or damaged.
    """
    return Reference.from_document(reference_document())


def reference_document() -> Document:
    """The reference that comes with the package.

    Raises:
        BenchError: It is missing or damaged.
    """
    path: Path = packaged_folder() / "reference" / REFERENCE_NAME
    remedy = "install mnist-bench anew, or run at least 3 seeds"
    try:
        return Document.model_validate_json(path.read_bytes())
    except OSError as error:
        reason = error.strerror or str(error)
        raise BenchError(f"can't read the shipped reference {path}: {reason}", remedy,
                         exit_status=EXIT_BROKE) from error  # fmt: skip
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise BenchError(f"the shipped reference {path} is damaged: {place} {fault['msg']}", remedy,
                         exit_status=EXIT_BROKE) from error  # fmt: skip


def needs_reference(results: Sequence[RunSummary]) -> bool:
    """Whether some row that compares with Table I has too few seeds for a spread of its own."""
    return any(not g.obstacles and len(g.taken) < MIN_SEEDS for g in groups(results))


def reference_for(runs: Sequence[RunSummary]) -> Reference | None:
    """The shipped reference, where too few seeds were run for a spread of their own."""
    return load_reference() if needs_reference(runs) else None


def document(
    machine: Machine, results: Sequence[RunSummary], reference: Reference | None
) -> Document:
    """Every run, those rows that stand in Table I, and what more threads brought."""
    return document_of(machine, results, rows(results, reference))


def document_of(machine: Machine, results: Sequence[RunSummary], rows: Sequence[Row]) -> Document:
    """The same, of rows that are there already."""
    return Document(
        machine=machine,
        runs=tuple(results),
        table_1=tuple(row for row in rows if row.paper_step is not None),
        scaling=scaling_of(results),
    )


def rows(results: Sequence[RunSummary], reference: Reference | None) -> tuple[Row, ...]:
    """One row for every step count that was run, rising.

    Args:
        results: Runs however they ended; where some of a step count compare with Table I, the
            row takes only those. Of runs that were carried out differently it takes those of the
            most threads.
        reference: Spreads for rows of fewer than `MIN_SEEDS` seeds.
    """
    grouped = groups(results)
    tests = [_test(group, reference) for group in grouped]
    rejected = iter(holm([test.p_value for test in tests if test is not None]))
    return tuple(
        _row(group, test, rejected=test is not None and next(rejected))
        for group, test in zip(grouped, tests, strict=True)
    )


def holm(p_values: Sequence[float], alpha: float = ALPHA) -> tuple[bool, ...]:
    """Which hypotheses Holm's step-down procedure rejects, in the order given.

    The smallest p is held against alpha ÷ m, the next against alpha ÷ (m - 1), and so on; the
    first that is larger ends it.
    """
    rising = sorted(range(len(p_values)), key=lambda index: p_values[index])
    rejected: set[int] = set()
    for done, index in enumerate(rising):
        if p_values[index] > alpha / (len(p_values) - done):
            break
        rejected.add(index)
    return tuple(index in rejected for index in range(len(p_values)))


@dataclass(frozen=True)
class _Test:
    """A comparable row against the paper's value.

    Attributes:
        difference: mean - paper.
        margin: Half the width of the prediction interval.
        p_value: Two-sided.
        spread: The standard deviation used.
    """

    difference: float
    margin: float
    p_value: float
    spread: Spread


def _test(group: Group, reference: Reference | None) -> _Test | None:
    """None where the row does not compare."""
    used = _spread(group, reference)
    theirs = paper.row_of(group.steps)
    if group.obstacles or used is None or theirs is None:
        return None
    values = known([run.max_test_accuracy for run in group.taken])
    difference = statistics.mean(values) - theirs.max_test_accuracy
    error = used.sd * sqrt(1 + 1 / len(values))
    df = used.degrees_of_freedom
    margin = students_t(df, 1 - ALPHA) * error
    return _Test(difference, margin, _two_sided_p(difference, error, df), used)


def _two_sided_p(difference: float, error: float, df: int) -> float:
    """Of Student's t with `df` degrees of freedom."""
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    from scipy.special import stdtr  # slow to load

    return float(2 * stdtr(df, -abs(difference) / error))


def _spread(group: Group, reference: Reference | None) -> Spread | None:
    """The row's own standard deviation, with few seeds the reference's.

    Seeds that happen to agree are not without spread: an accuracy is a whole number of images.
    """
    values = known([run.max_test_accuracy for run in group.taken])
    if len(values) >= MIN_SEEDS:
        precision = group.taken[0].precision
        sd = max(statistics.stdev(values), paper.ROUNDING_SD)
        return Spread(group.steps, sd, len(values), "own", precision)
    return reference.of(group.steps) if reference else None


def _row(group: Group, test: _Test | None, *, rejected: bool) -> Row:
    theirs = paper.row_of(group.steps)
    taken = group.taken
    mean, sd = mean_and_sd([run.max_test_accuracy for run in taken])
    final_mean, final_sd = mean_and_sd([run.final_test_accuracy for run in taken])
    selected_mean, selected_sd = mean_and_sd([run.selected_test_accuracy for run in taken])
    max_steps = [r.max_test_accuracy_step for r in taken if r.max_test_accuracy_step is not None]
    interval = (mean - test.margin, mean + test.margin) if test and mean is not None else None
    costs = costs_of(taken)
    others = _for_other_images(final_mean, taken)
    first = taken[0] if taken else None
    return Row(
        steps=group.steps,
        paper_step=theirs.paper_step if theirs else None,
        paper_max_test_accuracy=theirs.max_test_accuracy if theirs else None,
        n=len(taken),
        mean=mean,
        sd=sd,
        difference=test.difference if test else None,
        interval_low=interval[0] if interval else None,
        interval_high=interval[1] if interval else None,
        verdict=_verdict(test, rejected=rejected),
        reason=_reason(group, test),
        train_seconds_mean=costs.train_seconds_mean,
        train_seconds_sd=costs.train_seconds_sd,
        images_per_second_mean=costs.images_per_second_mean,
        images_per_second_sd=costs.images_per_second_sd,
        peak_rss_bytes_max=costs.peak_rss_bytes_max,
        run_ids=tuple(run.run_id for run in taken if run.run_id is not None),
        final_test_accuracy_mean=final_mean,
        final_test_accuracy_sd=final_sd,
        selected_test_accuracy_mean=selected_mean,
        selected_test_accuracy_sd=selected_sd,
        max_test_accuracy_step_min=min(max_steps, default=None),
        max_test_accuracy_step_max=max(max_steps, default=None),
        spread_source=test.spread.source if test else None,
        degrees_of_freedom=test.spread.degrees_of_freedom if test else None,
        p_value=test.p_value if test else None,
        clean=costs.clean,
        suspect=costs.suspect,
        invalid=costs.invalid,
        timed_n=costs.timed_n,
        cost_note=costs.note,
        other_images_low=others[0] if others else None,
        other_images_high=others[1] if others else None,
        scenario=first.scenario if first else None,
        threads=first.threads if first else None,
        precision=first.precision if first else None,
        device=(first.device_name or first.device) if first else None,
    )


def _for_other_images(
    accuracy: float | None, taken: Sequence[RunSummary]
) -> tuple[float, float] | None:
    """Wilson's interval of an accuracy: between which it may lie on other test images."""
    if accuracy is None or any(run.dataset != paper.DATASET for run in taken):
        return None
    n, z = paper.TEST_IMAGES, statistics.NormalDist().inv_cdf(1 - ALPHA / 2)
    middle = accuracy + z**2 / (2 * n)
    half = z * sqrt((accuracy * (1 - accuracy) + z**2 / (4 * n)) / n)
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


def _verdict(test: _Test | None, *, rejected: bool) -> RowVerdict:
    if test is None:
        return "not comparable"
    if not rejected:
        return "indistinguishable"
    return "exceeds" if test.difference > 0 else "below"


def _reason(group: Group, test: _Test | None) -> str | None:
    """Why a row does not compare, or what to know about its verdict; None where nothing."""
    parts = list(group.obstacles)
    if test is None and not parts:
        parts.append(f"fewer than {MIN_SEEDS} seeds and no reference")
    if test is not None and test.spread.source == "reference":
        other = test.spread.precision != group.taken[0].precision
        parts.append(
            f"standard deviation {spread(test.spread.sd)} and its degrees of freedom from the "
            f"shipped reference, n = {test.spread.n}"
            + (f", measured in {test.spread.precision}" if other else "")
        )
    if group.taken and group.left_out:
        parts.append(f"left out: {group.left_out}")
    return "; ".join(parts) or None
