"""The work of `mnist-bench run claims`: measures the parts that fit, and says what they decide."""

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
from mnist_bench.tracking.mlflow_reader import MlflowReader
from mnist_bench.tracking.mlflow_store import MlflowStore

_SLACK_SECONDS = 5.0
"""By so much a budget may be missed: planning and recording take their moment too."""


def run_claims(
    question: ClaimOptions,
    parts: Sequence[PlannedInput],
    source: Source | None,
    console: Console,
    people: Console,
) -> CommandResult:
    """Measure the parts that fit, decide the claims, and make the report anew.

    A part that fails is told, and the others go on; only what the user ends ends them all.

    Raises:
        BenchError: Another benchmark measures now; nothing was done.
    """

    def say(line: str) -> None:
        console.print(Text(line, style="bold yellow"), soft_wrap=True)

    with locks.benchmark_lock(machine_id(), exclusive=question.wish.exclusive, say=say):
        pass  # each part keeps others away by itself; here it is asked before anything begins
    began_at = time.monotonic()
    errors: list[BenchError] = []
    exit_status = 0
    left_out: set[str] = set()
    for part in parts:
        is_wanted = part.fits or (part.is_spare and part.part.stands_in_for in left_out)
        if part.is_recorded or not is_wanted:
            continue
        left = question.budget_seconds - (time.monotonic() - began_at)
        if part.seconds > left + _SLACK_SECONDS:  # by what has been measured since it was planned
            why = "does not fit into what is left of the budget"
            people.print(Text(f"Left out, it {why}: {part.part}"), soft_wrap=True)
            left_out.add(part.part.scenario)
            continue
        people.print(Text(str(part.part), style="bold"), soft_wrap=True)
        done = _measured(part, question, source, console)
        if done.error:
            errors.append(done.error)
            say(f"{part.part}: {done.error.message}")
        exit_status = done.exit_status or exit_status
        if exit_status in {EXIT_INTERRUPTED, EXIT_TERMINATED}:
            break
    return _decided(question, people, errors, exit_status)


def _measured(
    part: PlannedInput, question: ClaimOptions, source: Source | None, console: Console
) -> CommandResult:
    """Measure one part; what broke is told, not raised, as is that the user ended it."""
    wish = part.wish
    try:
        if wish is None:
            _measured_by_itself(part, question.wish, source)
            return CommandResult("", 0, None)
        with locks.benchmark_lock(
            machine_id(), exclusive=wish.exclusive, say=lambda _: None
        ) as kept:
            asked = dataclasses.replace(wish, exclusive=kept)
            # The claims' own table stands for those of the trainings.
            return run_plans.run_plans(
                part.plans, asked, console, Console(quiet=True), reports=False
            )
    except BenchError as error:
        return CommandResult("", error.exit_status, error)
    except KeyboardInterrupt:
        return CommandResult("", EXIT_INTERRUPTED, None)
    except Terminated:
        return CommandResult("", EXIT_TERMINATED, None)


def _measured_by_itself(costed: PlannedInput, wish: RunOptions, source: Source | None) -> None:
    store = MlflowStore(wish.tracking_uri, wish.experiment)
    if costed.question:
        experiments.run_experiment(store, costed.question, exclusively=wish.exclusive)
    elif source:
        layer_maps.make_layer_maps(
            store, source, paper.FIGURES_IMAGE, None, exclusively=wish.exclusive
        )


def _decided(
    question: ClaimOptions, people: Console, errors: list[BenchError], exit_status: int
) -> CommandResult:
    """Record that claims were measured, and tell what is decided; as a report, where runs are."""
    try:
        _keep(question)
        document, notes = _report(question)
    except BenchError as error:
        return CommandResult("", exit_status, [*errors, error][0])
    lines = [line for line in document.claims if line.claim in question.claims]
    terminal.print_claims(lines, people)
    for note in notes:
        people.print(Text(note), soft_wrap=True)
    return CommandResult(json.to_json(document), exit_status, errors[0] if errors else None)


def _keep(question: ClaimOptions) -> None:
    """By this a report knows that claims are to be in it."""
    wish = question.wish
    marked = {
        schema.CLAIMS_TAG: "true",
        schema.MACHINE_ID_TAG: machine_id() or "",
        schema.PRICE_TAG: "" if question.price is None else f"{question.price:g}",
    }
    MlflowStore(wish.tracking_uri, wish.experiment).keep(
        "claims",
        "The paper's claims were measured here; a report decides them.",
        marked,
        {},
        anew=True,
    )


def _report(question: ClaimOptions) -> tuple[Document, tuple[str, ...]]:
    """What is decided, and what to say of the report; there is none where nothing was trained."""
    wish = question.wish
    archive = MlflowReader(wish.tracking_uri, wish.experiment, make=False)
    if question.reports and evidence_loader.has_runs(archive, machine_id()):
        book, paths = build.write_report(_asked(wish))
        written = f"Written: {', '.join(path.as_posix() for path in paths)}"
        return book.document, (*book.notes, written)
    own = evidence_loader.runs_on(archive, machine_id())
    lines = decide(evidence_loader.load_evidence(archive, machine_id(), own, price=question.price))
    document = table1.document(describe(), own, table1.reference_for(own))
    return document.model_copy(update={"claims": lines}), ()


def _asked(wish: RunOptions) -> build.ReportOptions:
    return build.ReportOptions(
        tracking_uri=wish.tracking_uri,
        experiment=wish.experiment,
        query="",
        scenarios=(),
        machine=machine_id(),
        since_ms=None,
        until_ms=None,
        formats=REPORT_FORMATS,
        folder=REPORTS,
        images=wish.folder,
        image=None,
        command=wish.command,
    )
