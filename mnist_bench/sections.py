"""A report's sections: a scenario each, with the curves of its newest trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mnist_bench import compare
from mnist_bench.curves import Curves, curves_of
from mnist_bench.document import Document
from mnist_bench.draws import groups
from mnist_bench.machine import Machine
from mnist_bench.pictured import Pictured
from mnist_bench.reach import reaches
from mnist_bench.report import Report
from mnist_bench.seen import seen_by
from mnist_bench.standing import standings
from mnist_bench.summary import RunSummary

_MOST_CURVES = 30
"""So many trainings of a scenario are drawn, the newest of them."""


@dataclass(frozen=True)
class _Common:
    """What all sections have in common.

    Attributes:
        shelf: Where curves and images are; takes notes of what is not there.
        described: The machine.
        created: The day, as `2026-01-31`.
        reference: The shipped one.
    """

    shelf: Pictured
    described: Machine
    created: str
    reference: Document


def sections(
    shelf: Pictured, runs: Sequence[RunSummary], described: Machine, created: str
) -> tuple[Report, ...]:
    """A section a scenario, that of the newest run first.

    Args:
        shelf: Where their curves and images are; takes notes of what is not there.
        runs: Of one machine and no trials, the oldest first.
        described: The machine.
        created: The day, as `2026-01-31`.
    """
    if not runs:
        return ()
    common = _Common(shelf, described, created, compare.reference_document())
    return tuple(_section(common, name, of) for name, of in _by_scenario(runs).items())


def _by_scenario(runs: Sequence[RunSummary]) -> dict[str, list[RunSummary]]:
    """Runs in their order; the scenario of the newest one first."""
    found: dict[str, list[RunSummary]] = {run.scenario: [] for run in reversed(runs)}
    for run in runs:
        found[run.scenario].append(run)
    return found


def _section(common: _Common, scenario: str, runs: Sequence[RunSummary]) -> Report:
    shelf, reference = common.shelf, common.reference
    rows = compare.rows(runs, compare.Reference.from_document(reference))
    row = _longest(runs)
    longest = row[-_MOST_CURVES:]
    drawn = [run for each in longest if (run := shelf.archive.load(each.run_id or ""))]
    if len(longest) < len(row):
        shelf.notes.append(
            f"{scenario}: drawings, digits and times to an accuracy are of the newest "
            f"{len(longest)} of {len(row)} trainings"
        )
    if len(drawn) < len(longest):
        shelf.notes.append(
            f"{scenario}: of {len(longest)} runs that would be drawn, {len(longest) - len(drawn)} "
            "can't be: MLflow has no record of them in reach"
        )
    curves: Curves | None = curves_of(drawn)
    document = compare.document_of(common.described, runs, rows).model_copy(
        update={
            "reaches": reaches(scenario, drawn, drawn[-1].target_accuracies if drawn else ()),
            "standings": standings(rows, reference),
        }
    )
    return Report(
        title=f"Scenario {scenario}",
        scenario=scenario,
        command="",
        created=common.created,
        document=document,
        rows=rows,
        seen=seen_by(drawn),
        curves=curves,
        confusion=shelf.confusion(drawn),
    )


def _longest(runs: Sequence[RunSummary]) -> tuple[RunSummary, ...]:
    """The runs of the largest step count that are draws of one quantity."""
    rising = [group for group in groups(runs) if group.taken]
    return rising[-1].taken if rising else ()
