"""`mnist-bench run claims`: measures the inputs of the claims, then decides the claims."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from mnist_bench import run_plans
from mnist_bench.analysis import table1
from mnist_bench.claims import evidence_loader, experiments
from mnist_bench.claims.decide import decide
from mnist_bench.claims.planning import ClaimOptions, PlannedInput
from mnist_bench.cli.console import warn
from mnist_bench.core import locks
from mnist_bench.core.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, BenchError
from mnist_bench.core.signals import Terminated
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.machine import describe, machine_id
from mnist_bench.reporting import build, json, layer_maps, terminal
from mnist_bench.results.document import Document
from mnist_bench.run_plans import CommandResult, Output
from mnist_bench.runner.options import REPORTS
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
    *,
    output: Output,
) -> CommandResult:
    """Measure the inputs in order, decide the claims, and write the report.

    An input that is expected to take longer than what is left of the budget is left out. If an
    input fails, its error is printed and the next one is measured. Only Ctrl-C and
    SIGTERM end the command early.

    Raises:
        BenchError: Another benchmark is running; nothing was done.
    """

    def print_warning(line: str) -> None:
        console.print(Text(line, style="bold yellow"), soft_wrap=True)

    with locks.benchmark_lock(exclusive=options.run_options.exclusive, warn=print_warning):
        pass  # fail early if it is taken; each input acquires it again
    started_at = time.monotonic()
    errors: list[BenchError] = []
    exit_status = 0
    for planned in inputs:
        if planned.is_recorded:
            continue
        remaining_seconds = options.budget_seconds - (time.monotonic() - started_at)
        if planned.seconds > remaining_seconds + _SLACK_SECONDS:
            reason = "it does not fit into the remaining budget"
            stdout.print(Text(f"Left out, {reason}: {planned.claim_input}"), soft_wrap=True)
            continue
        stdout.print(Text(str(planned.claim_input), style="bold"), soft_wrap=True)
        result = _measure(planned, options, source, console, quiet=output.quiet)
        if result.error:
            errors.append(result.error)
            print_warning(f"{planned.claim_input}: {result.error.message}")
        exit_status = result.exit_status or exit_status
        if exit_status in {EXIT_INTERRUPTED, EXIT_TERMINATED}:
            break
    return _decide_and_report(options, stdout, output, errors, exit_status)


def _measure(
    planned: PlannedInput,
    options: ClaimOptions,
    source: Source | None,
    console: Console,
    *,
    quiet: bool,
) -> CommandResult:
    """Measure one input; errors and interruptions are returned, not raised."""
    try:
        exclusive = options.run_options.exclusive
        if planned.run_options:
            # Quiet: the table of claims replaces those of the trainings.
            no_tables = Console(quiet=True)
            with locks.benchmark_lock(exclusive=exclusive, warn=lambda _: None) as is_exclusive:
                run_options = dataclasses.replace(planned.run_options, exclusive=is_exclusive)
                return run_plans.run_plans(
                    planned.plans,
                    run_options,
                    console,
                    no_tables,
                    Output(reports=False, quiet=quiet),
                )
        store = MlflowStore(options.run_options.tracking_uri, options.run_options.experiment)
        if planned.request:
            experiments.run_experiment(store, planned.request, exclusively=exclusive)
        elif source:
            image = paper.FIGURES_IMAGE
            layer_maps.make_layer_maps(store, source, image, None, exclusively=exclusive)
    except BenchError as error:
        return CommandResult("", error.exit_status, error)
    except KeyboardInterrupt:
        return CommandResult("", EXIT_INTERRUPTED, None)
    except Terminated:
        return CommandResult("", EXIT_TERMINATED, None)
    return CommandResult("", 0, None)


def _decide_and_report(
    options: ClaimOptions,
    stdout: Console,
    output: Output,
    errors: list[BenchError],
    exit_status: int,
) -> CommandResult:
    """Record that claims were measured, decide them, and write a report if runs are recorded."""
    run_options = options.run_options
    # Reports include the claims where a run has these tags.
    tags = {
        schema.CLAIMS_TAG: "true",
        schema.MACHINE_ID_TAG: machine_id() or "",
        schema.PRICE_TAG: "" if options.price is None else f"{options.price:g}",
    }
    description = "The paper's claims were measured here; a report decides them."
    try:
        store = MlflowStore(run_options.tracking_uri, run_options.experiment)
        store.save_files("claims", description, tags, {}, always_create=True)
        document, notes, paths = _report(options, store)
    except BenchError as error:
        return CommandResult("", exit_status, [*errors, error][0])
    lines = [line for line in document.claims if line.claim in options.claims]
    terminal.print_claims(lines, stdout)
    for note in notes:
        stdout.print(Text(note), soft_wrap=True)
    if paths:
        run_plans.show_written(paths, stdout, output)
    return CommandResult(json.to_json(document), exit_status, errors[0] if errors else None)


def _report(
    options: ClaimOptions, store: MlflowStore
) -> tuple[Document, tuple[str, ...], tuple[Path, ...]]:
    """The document with the claims, notes of the report and its files; none without runs."""
    run_options = options.run_options
    runs = evidence_loader.runs_on(store, machine_id())
    if not (options.reports and runs):
        evidence = evidence_loader.load_evidence(store, machine_id(), runs, price=options.price)
        document = table1.document(describe(), runs, table1.reference_for(runs))
        return document.model_copy(update={"claims": decide(evidence)}), (), ()
    report_options = build.ReportOptions(
        run_options.tracking_uri,
        run_options.experiment,
        machine=machine_id(),
        folder=REPORTS,
        images=run_options.data_folder,
        command=run_options.command,
    )
    report, paths = build.write_report(report_options, warn)
    return report.document, report.notes, paths
