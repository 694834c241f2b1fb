"""The work of `mnist-bench run`: trains the plans, and reports on each."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from mnist_bench.analysis import table1
from mnist_bench.analysis.system_state import system_state_of
from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.measurement import machine
from mnist_bench.measurement.machine import Machine
from mnist_bench.reporting import files as report_files
from mnist_bench.reporting import json, terminal
from mnist_bench.reporting.model import ReportSection
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import summarise
from mnist_bench.runner import executor, process, resume, time_estimates
from mnist_bench.runner.executor import Outcome
from mnist_bench.runner.here import WorkContext
from mnist_bench.runner.options import REPORTS, RunOptions
from mnist_bench.runner.plan import TrainingJob, TrainingPlan
from mnist_bench.runner.progress import ProgressWatcher
from mnist_bench.runner.resume import Remaining
from mnist_bench.runner.seeds import SeedCount
from mnist_bench.tracking import recovery
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address


@dataclass(frozen=True)
class CommandResult:
    """What a command has to answer.

    Attributes:
        document_json: All runs, of however many scenarios, as the JSON document.
        exit_status: 0, 1 where a run failed, or that of an interruption.
        error: What broke around the trainings or their reports; None where nothing did.
    """

    document_json: str
    exit_status: int
    error: BenchError | None


def run_plans(
    plans: Sequence[TrainingPlan],
    wish: RunOptions,
    console: Console,
    people: Console,
    *,
    reports: bool,
) -> CommandResult:
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
    open_store = _opener(wish, described, console)
    rests = [_rest(plan, wish, described, open_store) for plan in plans]
    if wish.precision == "bfloat16" and any(rest.plan.trajectories for rest in rests):
        rests = _with_speedup(rests, console)
    results: list[RunResult] = []
    errors: list[BenchError] = []
    exit_status = 0
    for rest in rests:
        first = rest is rests[0]
        outcome = _trained(rest, wish, described, open_store, console, people=people, first=first)
        results += outcome.results
        errors += [outcome.error] if outcome.error else []
        try:
            _tell(
                _report_of(rest.plan, outcome, described, wish.command),
                outcome,
                people,
                files=reports,
            )
        except BenchError as error:
            errors.append(error)
        exit_status = outcome.exit_status
        if exit_status:
            break
    if any(run.status != "finished" for run in results):
        exit_status = exit_status or EXIT_BROKE
    runs = summarise(results)
    document = table1.document(described, runs, table1.reference_for(runs))
    return CommandResult(json.to_json(document), exit_status, errors[0] if errors else None)


def _with_speedup(rests: Sequence[Remaining], console: Console) -> list[Remaining]:
    """Measure what bfloat16 is worth here, say so, and keep it with every run to come."""
    widest = max((e for rest in rests for e in rest.plan.executions), key=lambda e: e.threads)
    found = process.probe(widest)
    if found.bfloat16_speedup is None:
        raise ValueError("bfloat16 was in question and not measured")
    console.print(_worth(found.bfloat16_speedup), soft_wrap=True)
    known = {"bfloat16_speedup": found.bfloat16_speedup}

    def told(trajectory: TrainingJob) -> TrainingJob:
        execution = trajectory.execution.model_copy(update=known)
        return dataclasses.replace(trajectory, execution=execution)

    def told_in(plan: TrainingPlan) -> TrainingPlan:
        return dataclasses.replace(plan, trajectories=tuple(map(told, plan.trajectories)))

    return [dataclasses.replace(rest, plan=told_in(rest.plan)) for rest in rests]


def _worth(speedup: float) -> Text:
    """What bfloat16 is worth, for people; a warning where it is slower."""
    line = f"bfloat16 trains at {speedup:.2g} times float32's speed here"
    if speedup >= 1:
        return Text(line)
    return Text(
        f"{line}: it pays only where the processor computes with it natively; "
        "leave --precision out",
        style="bold yellow",
    )


def _opener(wish: RunOptions, described: Machine, console: Console) -> Callable[[], MlflowStore]:
    """Opens the store when it is first needed, and settles what earlier commands left there."""

    @functools.cache
    def open_store() -> MlflowStore:
        return recovery.opened_store(
            wish.tracking_uri,
            wish.experiment,
            described.machine_id,
            say=lambda line: console.print(Text(line), soft_wrap=True),
        )

    return open_store


def _rest(
    plan: TrainingPlan, wish: RunOptions, described: Machine, open_store: Callable[[], MlflowStore]
) -> Remaining:
    if not wish.resume or wish.storage:  # a shared plan knows itself what is missing
        return Remaining(plan)
    return resume.remaining_of(plan, described, open_store(), spoilt_again=wish.spoilt_again)


def _trained(
    rest: Remaining,
    wish: RunOptions,
    described: Machine,
    open_store: Callable[[], MlflowStore],
    console: Console,
    *,
    people: Console,
    first: bool,
) -> Outcome:
    """Train what is left of a plan; all runs of the plan, those of before too."""
    if wish.storage:
        try:
            return _shared(rest.plan, wish, described, open_store(), console=console, people=people)
        except BenchError as error:
            return Outcome((), error.exit_status, error)
    if wish.repeats:
        people.print(Text(f"{rest.plan.name}: seeds {wish.repeats}"), soft_wrap=True)
    repetition = SeedCount(wish.repeats)
    open_ended = wish.repeats is not None
    with ProgressWatcher(rest.plan, console, open_ended=open_ended) as watcher:
        outcome = executor.execute(
            rest.plan,
            described,
            Address.of(wish.tracking_uri, wish.experiment),
            open_store,
            watcher,
            enough=repetition.enough,
            earlier=rest.earlier,
            exclusive=wish.exclusive,
            opens_store=first and not wish.resume,
        )
    if repetition.ended:
        people.print(Text(repetition.ended), soft_wrap=True)
    time_estimates.save_costs(outcome.results, rest.plan.source.scored_images)
    return dataclasses.replace(outcome, results=rest.joined(outcome.results))


def _shared(
    plan: TrainingPlan,
    wish: RunOptions,
    described: Machine,
    store: MlflowStore,
    *,
    console: Console,
    people: Console,
) -> Outcome:
    """Work on a plan with other machines; what was trained here."""
    from mnist_bench.cluster import shares  # loads Optuna, which other runs do without

    def say(line: str) -> None:
        people.print(Text(line), soft_wrap=True)

    study = shares.share(plan, wish, store)
    say(f"{plan.name} is shared as {study.plan.study}: `mnist-bench join` works for it elsewhere")
    here = WorkContext(
        machine=described,
        source=plan.source,
        execution=plan.trajectories[0].execution,
        store=store,
        address=Address.of(wish.tracking_uri, wish.experiment),
        exclusive=wish.exclusive,
        watch=lambda training: ProgressWatcher(training, console),
        say=say,
    )
    return shares.run_shares(study, here)


def _report_of(
    plan: TrainingPlan, outcome: Outcome, described: Machine, command: str
) -> ReportSection:
    runs = summarise(outcome.results)
    rows = table1.rows(runs, table1.reference_for(runs))
    return ReportSection(
        title=plan.scenario.title,
        scenario=plan.name,
        command=command,
        created=dt.datetime.now().astimezone().date().isoformat(),
        document=table1.document_of(described, runs, rows),
        rows=rows,
        seen=system_state_of(outcome.results),
    )


def _tell(made: ReportSection, outcome: Outcome, people: Console, *, files: bool) -> None:
    """Write the files, then show the table: who reads only its first line has the files."""
    if all(run.status != "finished" for run in outcome.results):
        return  # a table of dashes would bury what is said about them
    written = ""
    try:
        if files:
            written = _written(made, outcome)
    finally:
        terminal.print_table(made, people)
    if written:
        people.print(Text(written), soft_wrap=True)


def _written(made: ReportSection, outcome: Outcome) -> str:
    """Write the files and say so, or say why not."""
    if outcome.exit_status:
        # A report of earlier, whole runs is worth more than one of these.
        return (
            f"{REPORTS}/{made.scenario}.* not written: the runs did not come to their end; "
            "`mnist-bench ui` shows what was recorded"
        )
    paths = report_files.write_reports(REPORTS, made.scenario, made)
    return "Written: " + ", ".join(path.as_posix() for path in paths)
