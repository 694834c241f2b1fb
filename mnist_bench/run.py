"""The work of `mnist-bench run`: trains the plans, and reports on each."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from mnist_bench import compare, cost, harness, machine, report
from mnist_bench.errors import EXIT_BROKE, BenchError
from mnist_bench.harness import Outcome, Plan
from mnist_bench.machine import Machine
from mnist_bench.progress import ProgressWatcher
from mnist_bench.report import Report
from mnist_bench.result import RunResult
from mnist_bench.store import Store
from mnist_bench.wish import REPORTS, Wish


@dataclass(frozen=True)
class Done:
    """What a command has to answer.

    Attributes:
        document_json: All runs, of however many scenarios, as the JSON document.
        exit_status: 0, 1 where a run failed, or that of an interruption.
        error: What broke around the trainings or their reports; None where nothing did.
    """

    document_json: str
    exit_status: int
    error: BenchError | None


def carry_out(
    plans: Sequence[Plan], wish: Wish, console: Console, people: Console, *, reports: bool
) -> Done:
    """Train every plan, and report on each as soon as it has ended.

    What breaks on the way ends the trainings, and never hides what was measured before.

    Args:
        plans: Checked and laid out.
        wish: What the user asked for.
        console: For progress and faults.
        people: For tables.
        reports: Whether files are written.
    """
    described = machine.describe()
    open_store = functools.cache(lambda: Store(wish.tracking_uri, wish.experiment))
    results: list[RunResult] = []
    errors: list[BenchError] = []
    exit_status = 0
    for plan in plans:
        with ProgressWatcher(plan, console) as watcher:
            outcome = harness.execute(plan, described, open_store, watcher)
        results += outcome.results
        cost.remember(outcome.results, plan.source.scored_images)
        errors += [outcome.error] if outcome.error else []
        try:
            _tell(
                _report_of(plan, outcome, described, wish.command), outcome, people, files=reports
            )
        except BenchError as error:
            errors.append(error)
        exit_status = outcome.exit_status
        if exit_status:
            break
    if any(run.status != "finished" for run in results):
        exit_status = exit_status or EXIT_BROKE
    document = compare.document(described, results, _reference(results))
    return Done(report.to_json(document), exit_status, errors[0] if errors else None)


def _report_of(plan: Plan, outcome: Outcome, described: Machine, command: str) -> Report:
    reference = _reference(outcome.results)
    return Report(
        title=plan.scenario.title,
        scenario=plan.name,
        command=command,
        created=dt.datetime.now().astimezone().date().isoformat(),
        document=compare.document(described, outcome.results, reference),
        rows=compare.rows(outcome.results, reference),
    )


def _tell(made: Report, outcome: Outcome, people: Console, *, files: bool) -> None:
    """Write the files, then show the table: who reads only its first line has the files."""
    if all(run.status != "finished" for run in outcome.results):
        return  # a table of dashes would bury what is said about them
    written = ""
    try:
        if files:
            written = _written(made, outcome)
    finally:
        report.print_table(made, people)
    if written:
        people.print(Text(written), soft_wrap=True)


def _written(made: Report, outcome: Outcome) -> str:
    """Write the files and say so, or say why not."""
    if outcome.exit_status:
        # A report of earlier, whole runs is worth more than one of these.
        return (
            f"{REPORTS}/{made.scenario}.* not written: the runs did not come to their end; "
            "`mnist-bench ui` shows what was recorded"
        )
    paths = report.write_reports(REPORTS, made.scenario, made)
    return "Written: " + ", ".join(path.as_posix() for path in paths)


def _reference(results: Sequence[RunResult]) -> compare.Reference | None:
    """The shipped reference, where too few seeds were run for a spread of their own."""
    return compare.load_reference() if compare.needs_reference(results) else None
