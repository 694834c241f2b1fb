"""The work of `mnist-bench run`: trains the plans, and reports on each."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from mnist_bench.analysis import table1 as compare
from mnist_bench.analysis.system_state import seen_by
from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.measurement import machine
from mnist_bench.measurement.machine import Machine
from mnist_bench.reporting import files as report_files
from mnist_bench.reporting import json as json_file
from mnist_bench.reporting import terminal as screen
from mnist_bench.reporting.model import Report
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import summarise
from mnist_bench.runner import executor as harness
from mnist_bench.runner import process, resume
from mnist_bench.runner import time_estimates as cost
from mnist_bench.runner.executor import Outcome
from mnist_bench.runner.here import Here
from mnist_bench.runner.options import REPORTS, Wish
from mnist_bench.runner.plan import Plan, Trajectory
from mnist_bench.runner.progress import ProgressWatcher
from mnist_bench.runner.resume import Rest
from mnist_bench.runner.seeds import Repetition
from mnist_bench.tracking import recovery
from mnist_bench.tracking.mlflow_store import Store
from mnist_bench.tracking.spool import Address


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
    document = compare.document(described, runs, compare.reference_for(runs))
    return Done(json_file.to_json(document), exit_status, errors[0] if errors else None)


def _with_speedup(rests: Sequence[Rest], console: Console) -> list[Rest]:
    """Measure what bfloat16 is worth here, say so, and keep it with every run to come."""
    widest = max((e for rest in rests for e in rest.plan.executions), key=lambda e: e.threads)
    found = process.probe(widest)
    if found.bfloat16_speedup is None:
        raise ValueError("bfloat16 was in question and not measured")
    console.print(_worth(found.bfloat16_speedup), soft_wrap=True)
    known = {"bfloat16_speedup": found.bfloat16_speedup}

    def told(trajectory: Trajectory) -> Trajectory:
        execution = trajectory.execution.model_copy(update=known)
        return dataclasses.replace(trajectory, execution=execution)

    def told_in(plan: Plan) -> Plan:
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


def _opener(wish: Wish, described: Machine, console: Console) -> Callable[[], Store]:
    """Opens the store when it is first needed, and settles what earlier commands left there."""

    @functools.cache
    def open_store() -> Store:
        return recovery.opened_store(
            wish.tracking_uri,
            wish.experiment,
            described.machine_id,
            say=lambda line: console.print(Text(line), soft_wrap=True),
        )

    return open_store


def _rest(plan: Plan, wish: Wish, described: Machine, open_store: Callable[[], Store]) -> Rest:
    if not wish.resume or wish.storage:  # a shared plan knows itself what is missing
        return Rest(plan)
    return resume.rest_of(plan, described, open_store(), spoilt_again=wish.spoilt_again)


def _trained(
    rest: Rest,
    wish: Wish,
    described: Machine,
    open_store: Callable[[], Store],
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
    repetition = Repetition(wish.repeats)
    open_ended = wish.repeats is not None
    with ProgressWatcher(rest.plan, console, open_ended=open_ended) as watcher:
        outcome = harness.execute(
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
    cost.remember(outcome.results, rest.plan.source.scored_images)
    return dataclasses.replace(outcome, results=rest.joined(outcome.results))


def _shared(
    plan: Plan,
    wish: Wish,
    described: Machine,
    store: Store,
    *,
    console: Console,
    people: Console,
) -> Outcome:
    """Work on a plan with other machines; what was trained here."""
    from mnist_bench.cluster import shares as sharing  # loads Optuna, which other runs do without

    def say(line: str) -> None:
        people.print(Text(line), soft_wrap=True)

    study = sharing.share(plan, wish, store)
    say(f"{plan.name} is shared as {study.plan.study}: `mnist-bench join` works for it elsewhere")
    here = Here(
        machine=described,
        source=plan.source,
        execution=plan.trajectories[0].execution,
        store=store,
        address=Address.of(wish.tracking_uri, wish.experiment),
        exclusive=wish.exclusive,
        watch=lambda training: ProgressWatcher(training, console),
        say=say,
    )
    return sharing.work_off(study, here)


def _report_of(plan: Plan, outcome: Outcome, described: Machine, command: str) -> Report:
    runs = summarise(outcome.results)
    rows = compare.rows(runs, compare.reference_for(runs))
    return Report(
        title=plan.scenario.title,
        scenario=plan.name,
        command=command,
        created=dt.datetime.now().astimezone().date().isoformat(),
        document=compare.document_of(described, runs, rows),
        rows=rows,
        seen=seen_by(outcome.results),
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
        screen.print_table(made, people)
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
    paths = report_files.write_reports(REPORTS, made.scenario, made)
    return "Written: " + ", ".join(path.as_posix() for path in paths)
