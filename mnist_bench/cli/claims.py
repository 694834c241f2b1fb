"""`mnist-bench run claims`: measures the inputs of the claims, then decides the claims."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from mnist_bench.analysis import table1
from mnist_bench.claims import evidence_loader, experiments
from mnist_bench.claims.decide import decide
from mnist_bench.claims.planning import ClaimOptions, PlannedInput
from mnist_bench.cli import run_plans
from mnist_bench.cli.console import warn
from mnist_bench.cli.run_plans import CommandResult
from mnist_bench.core import locks
from mnist_bench.core.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, BenchError
from mnist_bench.core.limits import REPORT_FORMATS
from mnist_bench.core.signals import Terminated
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.machine import describe, machine_id
from mnist_bench.reporting import build, json, layer_maps, terminal
from mnist_bench.results.document import Document
from mnist_bench.runner.options import REPORTS, RunOptions
from mnist_bench.scenarios import paper
from mnist_bench.tracking import schema
from mnist_bench.tracking.mlflow_store import MlflowStore

_SLACK_SECONDS = 5.0
"""Tolerance of the budget: planning and recording take some time too."""


def run_claims(
    options: ClaimOptions,
    inputs: Sequence[PlannedInput],
    source: Source | None,
    console: Console,
    stdout: Console,
) -> CommandResult:
    """Measure the inputs that fit the budget, decide the claims, and write the report.

    If an input fails, its error is printed and the next one is measured. Only Ctrl-C and SIGTERM
    end the command early.

    Raises:
        BenchError: Another benchmark is running; nothing was done.
    """

    def warn(line: str) -> None:
        console.print(Text(line, style="bold yellow"), soft_wrap=True)

    with locks.benchmark_lock(machine_id(), exclusive=options.run_options.exclusive, warn=warn):
        pass  # fail early if it is taken; each input acquires it again
    started_at = time.monotonic()
    errors: list[BenchError] = []
    exit_status = 0
    left_out: set[str] = set()
    for planned in inputs:
        is_wanted = planned.fits or (
            planned.is_spare and planned.claim_input.stands_in_for in left_out
        )
        if planned.is_recorded or not is_wanted:
            continue
        remaining_seconds = options.budget_seconds - (time.monotonic() - started_at)
        # What was measured since the plan was made can have changed the estimate.
        if planned.seconds > remaining_seconds + _SLACK_SECONDS:
            reason = "it does not fit into the remaining budget"
            stdout.print(Text(f"Left out, {reason}: {planned.claim_input}"), soft_wrap=True)
            left_out.add(planned.claim_input.scenario)
            continue
        stdout.print(Text(str(planned.claim_input), style="bold"), soft_wrap=True)
        result = _measure(planned, options, source, console)
        if result.error:
            errors.append(result.error)
            warn(f"{planned.claim_input}: {result.error.message}")
        exit_status = result.exit_status or exit_status
        if exit_status in {EXIT_INTERRUPTED, EXIT_TERMINATED}:
            break
    return _decide_and_report(options, stdout, errors, exit_status)


def _measure(
    planned: PlannedInput, options: ClaimOptions, source: Source | None, console: Console
) -> CommandResult:
    """Measure one input; errors and interruptions are returned, not raised."""
    run_options = planned.run_options
    try:
        if run_options is None:
            _measure_experiment(planned, options.run_options, source)
            return CommandResult("", 0, None)
        with locks.benchmark_lock(
            machine_id(), exclusive=run_options.exclusive, warn=lambda _: None
        ) as exclusive:
            run_options = dataclasses.replace(run_options, exclusive=exclusive)
            # Quiet: the table of claims replaces those of the trainings.
            return run_plans.run_plans(
                planned.plans, run_options, console, Console(quiet=True), reports=False
            )
    except BenchError as error:
        return CommandResult("", error.exit_status, error)
    except KeyboardInterrupt:
        return CommandResult("", EXIT_INTERRUPTED, None)
    except Terminated:
        return CommandResult("", EXIT_TERMINATED, None)


def _measure_experiment(
    planned: PlannedInput, run_options: RunOptions, source: Source | None
) -> None:
    """Measure an input without trainings: an experiment, or the layer maps."""
    store = MlflowStore(run_options.tracking_uri, run_options.experiment)
    if planned.request:
        experiments.run_experiment(store, planned.request, exclusively=run_options.exclusive)
    elif source:
        layer_maps.make_layer_maps(
            store, source, paper.FIGURES_IMAGE, None, exclusively=run_options.exclusive
        )


def _decide_and_report(
    options: ClaimOptions, stdout: Console, errors: list[BenchError], exit_status: int
) -> CommandResult:
    """Record that claims were measured, decide them, and write a report if runs are recorded."""
    try:
        _record_request(options)
        document, notes = _report(options)
    except BenchError as error:
        return CommandResult("", exit_status, [*errors, error][0])
    lines = [line for line in document.claims if line.claim in options.claims]
    terminal.print_claims(lines, stdout)
    for note in notes:
        stdout.print(Text(note), soft_wrap=True)
    return CommandResult(json.to_json(document), exit_status, errors[0] if errors else None)


def _record_request(options: ClaimOptions) -> None:
    """Record the tags that make reports include the claims."""
    run_options = options.run_options
    tags = {
        schema.CLAIMS_TAG: "true",
        schema.MACHINE_ID_TAG: machine_id() or "",
        schema.PRICE_TAG: "" if options.price is None else f"{options.price:g}",
    }
    MlflowStore(run_options.tracking_uri, run_options.experiment).save_files(
        "claims",
        "The paper's claims were measured here; a report decides them.",
        tags,
        {},
        always_create=True,
    )


def _report(options: ClaimOptions) -> tuple[Document, tuple[str, ...]]:
    """The document with the claims, and lines about the report; none is written without runs."""
    run_options = options.run_options
    reader = MlflowStore(run_options.tracking_uri, run_options.experiment, create=False)
    if options.reports and evidence_loader.has_runs(reader, machine_id()):
        report, paths = build.write_report(_report_options(run_options), warn)
        written = f"Written: {', '.join(path.as_posix() for path in paths)}"
        return report.document, (*report.notes, written)
    runs = evidence_loader.runs_on(reader, machine_id())
    lines = decide(evidence_loader.load_evidence(reader, machine_id(), runs, price=options.price))
    document = table1.document(describe(), runs, table1.reference_for(runs))
    return document.model_copy(update={"claims": lines}), ()


def _report_options(run_options: RunOptions) -> build.ReportOptions:
    return build.ReportOptions(
        tracking_uri=run_options.tracking_uri,
        experiment=run_options.experiment,
        query="",
        scenarios=(),
        machine=machine_id(),
        since_ms=None,
        until_ms=None,
        formats=REPORT_FORMATS,
        folder=REPORTS,
        images=run_options.data_folder,
        image=None,
        command=run_options.command,
    )
