"""Plans of `mnist-bench run` and of `mnist_bench.run`: trained, and reported as each ends."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from mnist_bench.analysis import table1
from mnist_bench.analysis.curves import curves_of
from mnist_bench.analysis.system_state import system_state_of
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.core.formatting import counted
from mnist_bench.measurement import machine
from mnist_bench.measurement.machine import Machine
from mnist_bench.reporting import json, terminal, text
from mnist_bench.reporting.files import write_reports
from mnist_bench.reporting.model import ReportSection
from mnist_bench.reporting.sections import replicates_of_longest
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import RunSummary, summarise
from mnist_bench.runner import executor, resume, time_estimates
from mnist_bench.runner.executor import Outcome
from mnist_bench.runner.options import REPORTS, RunOptions
from mnist_bench.runner.plan import TrainingPlan
from mnist_bench.runner.progress import ProgressWatcher
from mnist_bench.runner.resume import Remaining
from mnist_bench.runner.seeds import SeedCount
from mnist_bench.tracking import recovery, uri
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address

if TYPE_CHECKING:
    from mnist_bench.cluster.connect import Cluster


@dataclass(frozen=True)
class CommandResult:
    """Result of a command.

    Attributes:
        document_json: The JSON document with the runs of all scenarios.
        exit_status: 0; 1 if a run failed; or the exit status of an interruption.
        error: An error outside the trainings, e.g. of a report; None if there was none.
        runs: The runs of all scenarios.
    """

    document_json: str
    exit_status: int
    error: BenchError | None
    runs: tuple[RunSummary, ...] = ()


@dataclass(frozen=True)
class Output:
    """What a command shows and writes.

    Attributes:
        reports: Whether report files are written.
        opens_page: Whether the page is opened in a browser.
        verbose: Whether all tables and files are listed.
        quiet: Whether no progress is shown.
    """

    reports: bool = True
    opens_page: bool = False
    verbose: bool = False
    quiet: bool = False


def run_plans(
    plans: Sequence[TrainingPlan],
    options: RunOptions,
    console: Console,
    stdout: Console,
    output: Output,
) -> CommandResult:
    """Train every plan, and report on each as soon as it has ended.

    An error ends the trainings; what was measured before it is still reported.

    Args:
        console: For progress and warnings.
        stdout: For tables.
    """
    described = machine.describe()
    open_store = _store_opener(options, console)
    results: list[RunResult] = []
    errors: list[BenchError] = []
    exit_status = 0
    names: dict[str | None, str] = {}  # hardware by machine id
    with _cluster(plans, options) as cluster:
        to_train = [Remaining(plan) for plan in plans]
        if options.resume:
            to_train = resume.remaining_in(open_store(), plans, options)
            for remaining in to_train:
                if not remaining.plan.jobs:
                    number = counted(len(remaining.earlier), "run")
                    line = (
                        f"{remaining.plan.name}: nothing left to train, {number} recorded already"
                    )
                    console.print(Text(line), soft_wrap=True)
        if options.precision == "bfloat16" and any(remaining.plan.jobs for remaining in to_train):
            line = "bfloat16 is faster only on processors with native support: compare with float32"
            console.print(line, style="yellow", soft_wrap=True)
        for remaining in to_train:
            if cluster:
                outcome = _train_on_cluster(
                    cluster, remaining, options, open_store, console, quiet=output.quiet
                )
                with suppress(BenchError):  # the scheduler may be gone
                    names |= {each.machine_id: each.name for each in cluster.workers()}
            else:
                first = remaining is to_train[0]
                outcome = _train(
                    remaining,
                    options,
                    described,
                    open_store,
                    console,
                    stdout=stdout,
                    first=first,
                    quiet=output.quiet,
                )
            results += outcome.results
            errors += [outcome.error] if outcome.error else []
            section = _section_of(remaining.plan, outcome, described, options.command, names)
            try:
                name = remaining.plan.report_name
                _report(
                    section, outcome, stdout, output, name=name, ui=_ui_address(options, open_store)
                )
                _save_models(options, outcome, open_store, stdout)
            except BenchError as error:
                errors.append(error)
            exit_status = outcome.exit_status
            if exit_status:
                break
    if any(run.status != "finished" for run in results):
        exit_status = exit_status or EXIT_FAILURE
    runs = summarise(results)
    document = table1.document(described, runs, table1.reference_for(runs, described.machine_id))
    return CommandResult(json.to_json(document), exit_status, errors[0] if errors else None, runs)


def _cluster(
    plans: Sequence[TrainingPlan], options: RunOptions
) -> AbstractContextManager[Cluster | None]:
    """The cluster to train on; None to train here."""
    if options.cluster is None:
        return nullcontext()
    from mnist_bench.cluster.connect import open_cluster

    return open_cluster(
        options.cluster,
        list({plan.source.digest: plan.source for plan in plans}.values()),
        insecure=options.insecure_cluster,
        exclusive=options.exclusive,
    )


def _store_opener(options: RunOptions, console: Console) -> Callable[[], MlflowStore]:
    """A function that opens the store once, and recovers runs that earlier commands left there."""

    @functools.cache
    def open_store() -> MlflowStore:
        return recovery.open_store(
            options.tracking_uri,
            options.experiment,
            lambda line: console.print(Text(line), soft_wrap=True),
        )

    return open_store


def _train(
    remaining: Remaining,
    options: RunOptions,
    described: Machine,
    open_store: Callable[[], MlflowStore],
    console: Console,
    *,
    stdout: Console,
    first: bool,
    quiet: bool,
) -> Outcome:
    """Train the remaining jobs of a plan; the outcome includes its earlier runs."""
    if options.repeats:
        stdout.print(Text(f"{remaining.plan.name}: seeds {options.repeats}"), soft_wrap=True)
    seed_count = SeedCount(options.repeats)
    progress = ProgressWatcher(
        remaining.plan, console, open_ended=options.repeats is not None, quiet=quiet
    )
    with progress as watcher:
        outcome = executor.execute(
            remaining.plan,
            described,
            Address.of(options.tracking_uri, options.experiment),
            open_store,
            watcher,
            enough=seed_count.enough,
            earlier=remaining.earlier,
            exclusive=options.exclusive,
            opens_store=first and not options.resume,
        )
    if seed_count.ended:
        stdout.print(Text(seed_count.ended), soft_wrap=True)
    time_estimates.save_costs(outcome.results, remaining.plan.source.scored_images)
    return dataclasses.replace(outcome, results=remaining.joined(outcome.results))


def _train_on_cluster(
    cluster: Cluster,
    remaining: Remaining,
    options: RunOptions,
    open_store: Callable[[], MlflowStore],
    console: Console,
    *,
    quiet: bool,
) -> Outcome:
    """Train the remaining jobs of a plan on a cluster; the outcome includes its earlier runs."""
    from mnist_bench.cluster.leader import Leader, run_plan
    from mnist_bench.cluster.progress import ClusterProgress

    leader = Leader(
        cluster,
        Address.of(options.tracking_uri, options.experiment),
        open_store,
        device=options.device,
        every_core=options.threads is None and remaining.plan.scenario.threads is None,
    )
    with ClusterProgress(remaining.plan, console, quiet=quiet) as progress:
        outcome = run_plan(leader, remaining.plan, progress)
    return dataclasses.replace(outcome, results=remaining.joined(outcome.results))


def _save_models(
    options: RunOptions, outcome: Outcome, open_store: Callable[[], MlflowStore], stdout: Console
) -> None:
    """Save an MLflow model of each finished run if requested, and say how to serve it."""
    if not options.save_models or outcome.exit_status:
        return
    for run in outcome.results:
        if run.status == "finished":
            model_id = open_store().save_model(run)
            how = f"`mlflow models serve -m models:/{model_id} --env-manager local`"
            line = f"Model of seed {run.seed}, {counted(run.steps, 'step')}: "
            line += how if model_id else "none, since the run was trained without --save-model"
            stdout.print(Text(line), soft_wrap=True)


def _ui_address(options: RunOptions, open_store: Callable[[], MlflowStore]) -> str | None:
    """Address of the experiment in the UI of a tracking server, which has been opened by now."""
    if not uri.is_server(options.tracking_uri):
        return None
    with suppress(BenchError):
        return uri.ui_address(options.tracking_uri, open_store().experiment_id)
    return None


def _section_of(
    plan: TrainingPlan,
    outcome: Outcome,
    described: Machine,
    command: str,
    names: Mapping[str | None, str],
) -> ReportSection:
    runs = summarise(outcome.results)
    reference = table1.reference_for(runs, described.machine_id)
    rows = table1.rows(runs, reference, described.machine_id)
    own = [run for run in outcome.results if run.machine_id == described.machine_id]
    drawn = {run.run_id for run in replicates_of_longest(summarise(own))}
    return ReportSection(
        title=plan.scenario.title,
        scenario=plan.name,
        command=command,
        created=dt.datetime.now().astimezone().date().isoformat(),
        document=table1.document_of(described, runs, rows, names=names),
        rows=rows,
        system_state=system_state_of(own),
        curves=curves_of([run for run in own if run.run_id in drawn]),
    )


def _report(
    section: ReportSection,
    outcome: Outcome,
    stdout: Console,
    output: Output,
    *,
    name: str,
    ui: str | None,
) -> None:
    """Write the files, then print the table: a reader may close the pipe after its first line."""
    if all(run.status != "finished" for run in outcome.results):
        return  # the table would have only dashes
    paths: tuple[Path, ...] = ()
    writes = output.reports and not outcome.exit_status  # keep an earlier report of complete runs
    try:
        if writes:
            paths = write_reports(REPORTS, name, section, ui)
    finally:
        show = terminal.print_table if output.verbose else terminal.print_summary
        show(section, stdout)
        if sentence := text.score(section):
            machine.save_score(f"{section.created}: {sentence}")
    if paths:
        show_written(paths, stdout, output)
    elif output.reports:
        line = (
            f"{REPORTS}/{name}.* not written: the runs did not finish; "
            "`mnist-bench ui` shows what was recorded"
        )
        stdout.print(Text(line), soft_wrap=True)


def show_written(paths: Sequence[Path], stdout: Console, output: Output) -> None:
    """Print the address of the page, the first of the files, and open it if that is wanted."""
    page = paths[0].absolute().as_uri()
    if output.verbose:
        files = ", ".join(path.as_posix() for path in paths)
        stdout.print(Text(f"Written: {files}"), soft_wrap=True)
    stdout.print(Text(f"Page: {page}"), soft_wrap=True)
    if output.opens_page:
        webbrowser.open(page)
