"""A report's sections: a scenario each, with the curves of its newest trainings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mnist_bench.analysis import table1
from mnist_bench.analysis.curves import Curves, curves_of
from mnist_bench.analysis.grouping import groups
from mnist_bench.analysis.reference import compare_with_reference
from mnist_bench.analysis.system_state import system_state_of
from mnist_bench.analysis.time_to_accuracy import times_to_accuracy
from mnist_bench.measurement.machine import Machine
from mnist_bench.reporting.images import ReportImages
from mnist_bench.reporting.model import ReportSection
from mnist_bench.results.document import Document
from mnist_bench.results.run_summary import RunSummary

MOST_SECTIONS = 12
"""So many scenarios have a section, those that compare and then those with the newest runs; the
rest have a row each."""
MOST_DRAWN = 3
"""Where there are more, so many of them have drawings, digits and times to an accuracy: all that
has to be fetched."""
_MOST_CURVES = 30
"""So many trainings of a scenario are drawn, the newest of them."""


@dataclass(frozen=True)
class _Common:
    """What all sections have in common.

    Attributes:
        shelf: Where curves and images are; takes notes of what is not there.
        described: The machine.
        created: The day, as `2026-01-31`.
        reference: The shipped one, and its spreads.
    """

    shelf: ReportImages
    described: Machine
    created: str
    reference: Document
    spreads: table1.Reference


@dataclass(frozen=True)
class Sections:
    """What the runs of one machine tell, a scenario each: those that compare, then the newest.

    Attributes:
        shown: Those that have a section.
        others: Those that have a row in a table alone.
    """

    shown: tuple[ReportSection, ...]
    others: tuple[ReportSection, ...]

    @property
    def all(self) -> tuple[ReportSection, ...]:
        """Both."""
        return self.shown + self.others


def sections(
    shelf: ReportImages,
    runs: Sequence[RunSummary],
    described: Machine,
    created: str,
    *,
    limited: bool,
) -> Sections:
    """A report a scenario.

    Args:
        shelf: Where their curves and images are; takes notes of what is not there.
        runs: Of one machine and no trials, the oldest first.
        described: The machine.
        created: The day, as `2026-01-31`.
        limited: Whether only some have a section, and fewer drawings; else each has all.
    """
    if not runs:
        return Sections((), ())
    reference = table1.reference_document()
    spreads = table1.Reference.from_document(reference)
    common = _Common(shelf, described, created, reference, spreads)
    by_scenario = _by_scenario(runs)
    too_many = limited and len(by_scenario) > MOST_SECTIONS
    drawn = MOST_DRAWN if too_many else len(by_scenario)
    made = tuple(
        _section(common, name, of, is_drawn=place < drawn)
        for place, (name, of) in enumerate(by_scenario.items())
    )
    most = MOST_SECTIONS if too_many else len(made)
    shelf.notes += _left_out(len(made)) if too_many else ()
    return Sections(made[:most], made[most:])


def _left_out(scenarios: int) -> Iterator[str]:
    which = "those that compare with Table I and then those with the newest runs"
    yield (
        f"Drawings, digits and times to an accuracy are of {MOST_DRAWN} of {scenarios:,} "
        f"scenarios, {which}; --scenario NAME shows those of another"
    )
    yield (
        f"{MOST_SECTIONS} of {scenarios:,} scenarios have sections, {which}; the rest stand in "
        "the table of other scenarios"
    )


def _by_scenario(runs: Sequence[RunSummary]) -> dict[str, list[RunSummary]]:
    """Runs in their order; the scenarios that compare first, then that of the newest run."""
    found: dict[str, list[RunSummary]] = {run.scenario: [] for run in reversed(runs)}
    for run in runs:
        found[run.scenario].append(run)
    return dict(sorted(found.items(), key=lambda pair: not _compares(pair[1])))


def _compares(runs: Sequence[RunSummary]) -> bool:
    """Whether some of them stand beside Table I's."""
    return any(not group.obstacles for group in groups(runs))


def _section(
    common: _Common, scenario: str, runs: Sequence[RunSummary], *, is_drawn: bool
) -> ReportSection:
    shelf, reference = common.shelf, common.reference
    rows = table1.rows(runs, common.spreads)
    row = _longest(runs) if is_drawn else ()
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
    document = table1.document_of(common.described, runs, rows).model_copy(
        update={
            "reaches": times_to_accuracy(
                scenario, drawn, drawn[-1].target_accuracies if drawn else ()
            ),
            "standings": compare_with_reference(rows, reference),
        }
    )
    return ReportSection(
        title=f"Scenario {scenario}",
        scenario=scenario,
        command="",
        created=common.created,
        document=document,
        rows=rows,
        seen=system_state_of(drawn),
        curves=curves,
        confusion=shelf.confusion(drawn),
        is_drawn=is_drawn,
    )


def _longest(runs: Sequence[RunSummary]) -> tuple[RunSummary, ...]:
    """The runs of the largest step count that are draws of one quantity."""
    rising = [group for group in groups(runs) if group.taken]
    return rising[-1].taken if rising else ()
