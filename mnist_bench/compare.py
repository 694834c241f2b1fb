"""Statistics: runs against the paper's Table I. Pure, but for reading the shipped reference."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import sqrt
from pathlib import Path

from pydantic import ValidationError

from mnist_bench import paper
from mnist_bench.conditions import known
from mnist_bench.document import Document, Row, RowVerdict, SpreadSource, summarise_run
from mnist_bench.errors import EXIT_BROKE, BenchError
from mnist_bench.machine import Machine
from mnist_bench.result import RunResult
from mnist_bench.scenario import Grid, Hyperparameters, packaged_folder
from mnist_bench.spent import costs_of
from mnist_bench.units import count, spread

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
    """

    steps: int
    sd: float
    n: int
    source: SpreadSource

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
                Spread(row.steps, row.sd, row.n, "reference")
                for row in document.table_1
                if row.sd is not None and row.n >= MIN_SEEDS and row.verdict != "not comparable"
            )
        )

    def of(self, steps: int) -> Spread | None:
        """The spread of a step count; None where it was not measured."""
        return next((s for s in self.spreads if s.steps == steps), None)


def load_reference() -> Reference:
    """The reference that comes with the package.

    Raises:
        BenchError: It is missing or damaged.
    """
    path: Path = packaged_folder() / "reference" / REFERENCE_NAME
    remedy = "install mnist-bench anew, or run at least 3 seeds"
    try:
        document = Document.model_validate_json(path.read_bytes())
    except OSError as error:
        reason = error.strerror or str(error)
        raise BenchError(f"can't read the shipped reference {path}: {reason}", remedy,
                         exit_status=EXIT_BROKE) from error  # fmt: skip
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise BenchError(f"the shipped reference {path} is damaged: {place} {fault['msg']}", remedy,
                         exit_status=EXIT_BROKE) from error  # fmt: skip
    return Reference.from_document(document)


def needs_reference(results: Sequence[RunResult]) -> bool:
    """Whether some row that compares with Table I has too few seeds for a spread of its own."""
    groups = _groups(results)
    return any(not g.obstacles and len(g.taken) < MIN_SEEDS for g in groups)


def document(
    machine: Machine, results: Sequence[RunResult], reference: Reference | None
) -> Document:
    """Every run, and those rows that stand in Table I."""
    return Document(
        machine=machine,
        runs=tuple(summarise_run(result) for result in results),
        table_1=tuple(row for row in rows(results, reference) if row.paper_step is not None),
    )


def rows(results: Sequence[RunResult], reference: Reference | None) -> tuple[Row, ...]:
    """One row for every step count that was run, rising.

    Args:
        results: Runs however they ended; where some of a step count compare with Table I, the
            row takes only those.
        reference: Spreads for rows of fewer than `MIN_SEEDS` seeds.
    """
    groups = _groups(results)
    tests = [_test(group, reference) for group in groups]
    rejected = iter(holm([test.p_value for test in tests if test is not None]))
    return tuple(
        _row(group, test, rejected=test is not None and next(rejected))
        for group, test in zip(groups, tests, strict=True)
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
class _Group:
    """A step count's runs.

    Attributes:
        steps: The step count.
        taken: The finished runs that the row's figures are of: one question, a seed once.
        left_out: What was left out and why, in words; empty where nothing was.
        obstacles: Why they do not compare with Table I; empty where they do.
    """

    steps: int
    taken: tuple[RunResult, ...]
    left_out: str
    obstacles: tuple[str, ...]


def _groups(results: Sequence[RunResult]) -> list[_Group]:
    by_steps = sorted(results, key=lambda result: result.steps)
    return [_group(steps, list(of)) for steps, of in groupby(by_steps, lambda r: r.steps)]


def _group(steps: int, results: list[RunResult]) -> _Group:
    finished = [r for r in results if r.status == "finished" and r.max_test_accuracy is not None]
    comparable = [r for r in finished if not _differences(r)]
    first = next(iter(comparable or finished), None)
    alike = [r for r in finished if first and _question(r) == _question(first)]
    taken = _one_a_seed(alike)
    left_out = (
        (len(results) - len(finished), "not finished"),
        (len(finished) - len(alike), "of another protocol"),
        (len(alike) - len(taken), "of a seed that was run again"),
    )
    obstacles = [] if paper.row_of(steps) else [f"Table I has no row of {count(steps)} steps"]
    obstacles += _differences(first) if first else ["no finished run"]
    return _Group(
        steps=steps,
        taken=taken,
        left_out=", ".join(f"{number} {why}" for number, why in left_out if number),
        obstacles=tuple(obstacles),
    )


def _one_a_seed(results: Sequence[RunResult]) -> tuple[RunResult, ...]:
    """A seed trained twice is one draw, not two: the later stands for it, unless it is spoilt."""
    taken: dict[int, RunResult] = {}
    for result in results:
        before = taken.get(result.training_seed, result)
        if result.verdict != "invalid" or before.verdict == "invalid":
            taken[result.training_seed] = result
    return tuple(taken.values())


def _question(result: RunResult) -> tuple[str, str, Hyperparameters, Grid]:
    """What must agree for runs to be draws of one quantity."""
    return result.dataset, result.model, result.hyperparameters, result.grid


def _differences(result: RunResult) -> list[str]:
    """How a run's question differs from Table I's."""
    found = []
    if result.dataset != paper.DATASET:
        found.append(f"other images: {result.dataset}")
    if result.model != paper.PROTOCOL.model:
        found.append(f"other model: {result.model}")
    theirs = paper.PROTOCOL.hyperparameters.model_dump()
    ours = result.hyperparameters.model_dump()
    other = [f"{name} {value}" for name, value in ours.items() if value != theirs.get(name)]
    if other:
        found.append(f"other hyperparameters: {', '.join(other)}")
    if result.grid != paper.PROTOCOL.grid:
        first, every = result.eval_first, result.eval_every
        found.append(f"other evaluation grid: first after {first}, then every {every} steps")
    return found


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


def _test(group: _Group, reference: Reference | None) -> _Test | None:
    """None where the row does not compare."""
    used = _spread(group, reference)
    theirs = paper.row_of(group.steps)
    if group.obstacles or used is None or theirs is None:
        return None
    from scipy.special import stdtrit  # slow to load

    values = known([run.max_test_accuracy for run in group.taken])
    difference = statistics.mean(values) - theirs.max_test_accuracy
    error = used.sd * sqrt(1 + 1 / len(values))
    df = used.degrees_of_freedom
    margin = float(stdtrit(df, 1 - ALPHA / 2)) * error
    return _Test(difference, margin, _two_sided_p(difference, error, df), used)


def _two_sided_p(difference: float, error: float, df: int) -> float:
    """Of Student's t with `df` degrees of freedom."""
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    from scipy.special import stdtr  # slow to load

    return float(2 * stdtr(df, -abs(difference) / error))


def _spread(group: _Group, reference: Reference | None) -> Spread | None:
    """The row's own standard deviation, with few seeds the reference's."""
    values = known([run.max_test_accuracy for run in group.taken])
    if len(values) >= MIN_SEEDS:
        return Spread(group.steps, statistics.stdev(values), len(values), "own")
    return reference.of(group.steps) if reference else None


def _row(group: _Group, test: _Test | None, *, rejected: bool) -> Row:
    theirs = paper.row_of(group.steps)
    taken = group.taken
    mean, sd = _mean_and_sd([run.max_test_accuracy for run in taken])
    final_mean, final_sd = _mean_and_sd([run.final_test_accuracy for run in taken])
    selected_mean, selected_sd = _mean_and_sd([run.selected_test_accuracy for run in taken])
    max_steps = [r.max_test_accuracy_step for r in taken if r.max_test_accuracy_step is not None]
    interval = (mean - test.margin, mean + test.margin) if test and mean is not None else None
    costs = costs_of([summarise_run(run) for run in taken])
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
        images_per_second_mean=costs.images_per_second_mean,
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
    )


def _verdict(test: _Test | None, *, rejected: bool) -> RowVerdict:
    if test is None:
        return "not comparable"
    if not rejected:
        return "indistinguishable"
    return "exceeds" if test.difference > 0 else "below"


def _reason(group: _Group, test: _Test | None) -> str | None:
    """Why a row does not compare, or what to know about its verdict; None where nothing."""
    parts = list(group.obstacles)
    if test is None and not parts:
        parts.append(f"fewer than {MIN_SEEDS} seeds and no reference")
    if test is not None and test.spread.source == "reference":
        parts.append(
            f"standard deviation {spread(test.spread.sd)} and its degrees of freedom from the "
            f"shipped reference, n = {test.spread.n}"
        )
    if group.taken and group.left_out:
        parts.append(f"left out: {group.left_out}")
    return "; ".join(parts) or None


def _mean_and_sd(figures: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Of the figures that are known; the standard deviation needs two of them."""
    values = known(figures)
    # `statistics` is exact: equal values have exactly their own mean, and a deviation of 0.
    mean = statistics.mean(values) if values else None
    return mean, statistics.stdev(values) if len(values) > 1 else None
