"""Rows of Table I from runs: means, intervals, and the verdict against the paper."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

from pydantic import ValidationError

from mnist_bench.analysis.costs import costs_of, machine_costs
from mnist_bench.analysis.grouping import ANY_MACHINE, Group, groups
from mnist_bench.analysis.statistics import mean_and_sd, students_t, two_sided_p, wilson
from mnist_bench.analysis.thread_scaling import scaling_of
from mnist_bench.core import formatting
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.core.records import shared_fields
from mnist_bench.measurement.conditions import known
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.document import Document, Row, RowVerdict, SpreadSource
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.scenario import packaged_folder

ALPHA = 0.05
"""Family-wise error rate over all rows."""
MIN_SEEDS = 3
"""With fewer seeds the standard deviation of the reference is used."""


@dataclass(frozen=True)
class Spread:
    """Standard deviation of max test accuracy over n seeds.

    Attributes:
        source: Whether it is from the row itself or the reference.
        precision: Floating-point precision it was measured in.
    """

    sd: float
    n: int
    source: SpreadSource
    precision: str = "float32"

    @property
    def degrees_of_freedom(self) -> int:
        """Of the standard deviation."""
        return self.n - 1


Spreads = Mapping[int, Spread]
"""By step count: those of a reference, measured over many seeds, for rows with few."""


def spreads_of(document: Document) -> Spreads:
    """The spreads of a document's comparable rows."""
    return {
        row.steps: Spread(
            row.sd,
            row.n,
            "reference",
            # A row never mixes two.
            next((r.precision for r in document.runs if r.run_id in row.run_ids), "float32"),
        )
        for row in document.table_1
        if row.sd is not None and row.n >= MIN_SEEDS and row.verdict != "not comparable"
    }


def load_reference() -> Spreads:
    """Load the spreads of `reference_document`."""
    return spreads_of(reference_document())


def reference_document() -> Document:
    """Load the shipped reference.

    Raises:
        BenchError: The file is missing or damaged.
    """
    path = packaged_folder() / "reference" / "table-1.json"
    hint = "reinstall mnist-bench, or run at least 3 seeds"
    try:
        return Document.model_validate_json(path.read_bytes())
    except OSError as error:
        fault = f"can't read the shipped reference {path}: {error.strerror or error}"
        raise BenchError(fault, hint, exit_status=EXIT_FAILURE) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        location = ".".join(str(part) for part in first["loc"])
        fault = f"the shipped reference {path} is damaged: {location} {first['msg']}"
        raise BenchError(fault, hint, exit_status=EXIT_FAILURE) from error


def needs_reference(results: Sequence[RunSummary], machine_id: str | None = ANY_MACHINE) -> bool:
    """Whether a row comparable with Table I has fewer than `MIN_SEEDS` seeds."""
    return any(
        not group.obstacles and len(group.runs) < MIN_SEEDS for group in groups(results, machine_id)
    )


def reference_for(
    runs: Sequence[RunSummary], machine_id: str | None = ANY_MACHINE
) -> Spreads | None:
    """The shipped reference if these runs need it, else None."""
    return load_reference() if needs_reference(runs, machine_id) else None


def document(
    machine: Machine, results: Sequence[RunSummary], reference: Spreads | None
) -> Document:
    """A document of runs: with Table I's rows and thread scaling computed from them."""
    return document_of(machine, results, rows(results, reference, machine.machine_id))


def document_of(
    machine: Machine,
    results: Sequence[RunSummary],
    rows: Sequence[Row],
    names: Mapping[str | None, str] | None = None,
) -> Document:
    """Like `document`, from rows that are already computed.

    Args:
        machine: The machine of the times and the memory.
        results: Runs with any status, oldest first.
        rows: Rows of these runs.
        names: Hardware of machines by their id, as far as it is known.
    """
    names = {machine.machine_id: machine.name, **(names or {})}
    own_runs = [run for run in results if run.machine_id == machine.machine_id]
    return Document(
        machine=machine,
        runs=tuple(results),
        table_1=tuple(row for row in rows if row.paper_step is not None),
        scaling=scaling_of(own_runs),
        machine_costs=machine_costs(results, machine.machine_id, names),
    )


def rows(
    results: Sequence[RunSummary],
    reference: Spreads | None,
    machine_id: str | None = ANY_MACHINE,
) -> tuple[Row, ...]:
    """One row per step count, ascending; `grouping.groups` chooses the runs of each.

    Args:
        results: Runs with any status, oldest first.
        reference: Spreads for rows of fewer than `MIN_SEEDS` seeds.
        machine_id: The machine of the times and the memory, as for `grouping.groups`.
    """
    tested = [(group, _test(group, reference)) for group in groups(results, machine_id)]
    rejected = iter(holm([test.p_value for _, test in tested if test]))
    return tuple(
        _row(group, test, rejected=test is not None and next(rejected)) for group, test in tested
    )


def holm(p_values: Sequence[float], alpha: float = ALPHA) -> tuple[bool, ...]:
    """Hypotheses rejected by Holm's step-down procedure, in the order given.

    The smallest p is compared with alpha ÷ m, the next with alpha ÷ (m - 1), and so on, up to the
    first that is larger.
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
    """Test of a comparable row against the paper's value; the first four fields are `Row`'s.

    Attributes:
        spread: The standard deviation used.
    """

    difference: float
    interval_low: float
    interval_high: float
    p_value: float
    spread: Spread


def _test(group: Group, reference: Spreads | None) -> _Test | None:
    """Test a row against the paper; None if it is not comparable."""
    paper_row = paper.row_of(group.steps)
    if group.obstacles or paper_row is None:
        return None
    values = known([run.max_test_accuracy for run in group.runs])
    if len(values) >= MIN_SEEDS:
        # Not below the rounding error, since an accuracy is a whole number of images.
        sd = max(statistics.stdev(values), paper.ROUNDING_SD)
        spread = Spread(sd, len(values), "own", group.runs[0].precision)
    elif reference and group.steps in reference:
        spread = reference[group.steps]
    else:
        return None
    mean = statistics.mean(values)
    difference = mean - paper_row.max_test_accuracy
    error, df = spread.sd * sqrt(1 + 1 / len(values)), spread.degrees_of_freedom
    margin = students_t(df, 1 - ALPHA) * error
    p_value = two_sided_p(difference, error, df)
    return _Test(difference, mean - margin, mean + margin, p_value, spread)


def _row(group: Group, test: _Test | None, *, rejected: bool) -> Row:
    paper_row = paper.row_of(group.steps)
    runs = group.runs
    mean, sd = mean_and_sd([run.max_test_accuracy for run in runs])
    accuracies: dict[str, Any] = {}
    for name in ("final_test_accuracy", "selected_test_accuracy", "overall_max_test_accuracy"):
        pair = mean_and_sd([getattr(run, name) for run in runs])
        accuracies[f"{name}_mean"], accuracies[f"{name}_sd"] = pair
    final = accuracies["final_test_accuracy_mean"]
    # For another sample of test images.
    other_images = (
        wilson(final, paper.TEST_IMAGES)
        if final is not None and all(run.dataset == paper.DATASET for run in runs)
        else (None, None)
    )
    max_steps = known(run.max_test_accuracy_step for run in runs)
    of_test: dict[str, Any] = dict.fromkeys(("difference", "interval_low", "interval_high"))
    if test:
        of_test = shared_fields(test, Row) | {
            "spread_source": test.spread.source,
            "degrees_of_freedom": test.spread.degrees_of_freedom,
        }
    costs = asdict(costs_of(group.own))
    cost_note = costs.pop("note")
    if runs and not group.own:
        cost_note = "no time and memory: no run of this machine"
    own = group.own[0] if group.own else None
    return Row(
        steps=group.steps,
        paper_step=paper_row.paper_step if paper_row else None,
        paper_max_test_accuracy=paper_row.max_test_accuracy if paper_row else None,
        n=len(runs),
        mean=mean,
        sd=sd,
        verdict=_verdict(test, rejected=rejected),
        reason=_reason(group, test),
        run_ids=tuple(run.run_id for run in runs if run.run_id is not None),
        max_test_accuracy_step_min=min(max_steps, default=None),
        max_test_accuracy_step_max=max(max_steps, default=None),
        cost_note=cost_note,
        other_images_low=other_images[0],
        other_images_high=other_images[1],
        scenario=runs[0].scenario if runs else None,
        threads=own.threads if own else None,
        precision=runs[0].precision if runs else None,
        device=(own.device_name or own.device) if own else None,
        **accuracies,
        **of_test,
        **costs,
    )


def _verdict(test: _Test | None, *, rejected: bool) -> RowVerdict:
    if test is None:
        return "not comparable"
    if not rejected:
        return "indistinguishable"
    return "exceeds" if test.difference > 0 else "below"


def _reason(group: Group, test: _Test | None) -> str | None:
    """Why a row is not comparable, or a remark on its verdict; None without either."""
    parts = list(group.obstacles)
    if test is None and not parts:
        parts.append(f"fewer than {MIN_SEEDS} seeds and no reference")
    if test is not None and test.spread.source == "reference":
        parts.append(
            f"standard deviation {formatting.spread(test.spread.sd)} and its degrees of freedom "
            f"from the shipped reference, n = {test.spread.n}"
        )
        if test.spread.precision != group.runs[0].precision:
            parts[-1] += f", measured in {test.spread.precision}"
    if group.runs and group.left_out:
        parts.append(f"left out: {group.left_out}")
    return "; ".join(parts) or None
