"""The work of `mnist-bench run claims`: measures the parts that fit, and says what they decide."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from mnist_bench.analysis import table1 as compare
from mnist_bench.claims import evidence_loader as gathering
from mnist_bench.claims import experiments as findings
from mnist_bench.claims.decide import judge
from mnist_bench.claims.planning import Costed, Question
from mnist_bench.cli import run_plans
from mnist_bench.cli.run_plans import Done
from mnist_bench.core import locks as exclusive
from mnist_bench.core.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, BenchError
from mnist_bench.core.limits import REPORT_FORMATS
from mnist_bench.core.signals import Terminated
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.machine import describe, machine_id
from mnist_bench.reporting import build as reporting
from mnist_bench.reporting import json as json_file
from mnist_bench.reporting import layer_maps
from mnist_bench.reporting import terminal as screen
from mnist_bench.results.document import Document
from mnist_bench.runner.options import REPORTS, Wish
from mnist_bench.scenarios import paper
from mnist_bench.tracking import schema as figures
from mnist_bench.tracking.mlflow_reader import Archive
from mnist_bench.tracking.mlflow_store import Store

_SLACK_SECONDS = 5.0
"""By so much a budget may be missed: planning and recording take their moment too."""


def carry_out(
    question: Question,
    parts: Sequence[Costed],
    source: Source | None,
    console: Console,
    people: Console,
) -> Done:
    """Measure the parts that fit, decide the claims, and make the report anew.

    A part that fails is told, and the others go on; only what the user ends ends them all.

    Raises:
        BenchError: Another benchmark measures now; nothing was done.
    """

    def say(line: str) -> None:
        console.print(Text(line, style="bold yellow"), soft_wrap=True)

    with exclusive.held(machine_id(), exclusive=question.wish.exclusive, say=say):
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


def _measured(part: Costed, question: Question, source: Source | None, console: Console) -> Done:
    """Measure one part; what broke is told, not raised, as is that the user ended it."""
    wish = part.wish
    try:
        if wish is None:
            _measured_by_itself(part, question.wish, source)
            return Done("", 0, None)
        with exclusive.held(machine_id(), exclusive=wish.exclusive, say=lambda _: None) as kept:
            asked = dataclasses.replace(wish, exclusive=kept)
            # The claims' own table stands for those of the trainings.
            return run_plans.carry_out(
                part.plans, asked, console, Console(quiet=True), reports=False
            )
    except BenchError as error:
        return Done("", error.exit_status, error)
    except KeyboardInterrupt:
        return Done("", EXIT_INTERRUPTED, None)
    except Terminated:
        return Done("", EXIT_TERMINATED, None)


def _measured_by_itself(costed: Costed, wish: Wish, source: Source | None) -> None:
    store = Store(wish.tracking_uri, wish.experiment)
    if costed.question:
        findings.make(store, costed.question, exclusively=wish.exclusive)
    elif source:
        layer_maps.make(store, source, paper.FIGURES_IMAGE, None, exclusively=wish.exclusive)


def _decided(
    question: Question, people: Console, errors: list[BenchError], exit_status: int
) -> Done:
    """Record that claims were measured, and tell what is decided; as a report, where runs are."""
    try:
        _keep(question)
        document, notes = _report(question)
    except BenchError as error:
        return Done("", exit_status, [*errors, error][0])
    lines = [line for line in document.claims if line.claim in question.claims]
    screen.print_claims(lines, people)
    for note in notes:
        people.print(Text(note), soft_wrap=True)
    return Done(json_file.to_json(document), exit_status, errors[0] if errors else None)


def _keep(question: Question) -> None:
    """By this a report knows that claims are to be in it."""
    wish = question.wish
    marked = {
        figures.CLAIMS_TAG: "true",
        figures.MACHINE_ID_TAG: machine_id() or "",
        figures.PRICE_TAG: "" if question.price is None else f"{question.price:g}",
    }
    Store(wish.tracking_uri, wish.experiment).keep(
        "claims",
        "The paper's claims were measured here; a report decides them.",
        marked,
        {},
        anew=True,
    )


def _report(question: Question) -> tuple[Document, tuple[str, ...]]:
    """What is decided, and what to say of the report; there is none where nothing was trained."""
    wish = question.wish
    archive = Archive(wish.tracking_uri, wish.experiment, make=False)
    if question.reports and gathering.has_runs(archive, machine_id()):
        book, paths = reporting.carry_out(_asked(wish))
        written = f"Written: {', '.join(path.as_posix() for path in paths)}"
        return book.document, (*book.notes, written)
    own = gathering.runs_on(archive, machine_id())
    lines = judge(gathering.gather(archive, machine_id(), own, price=question.price))
    document = compare.document(describe(), own, compare.reference_for(own))
    return document.model_copy(update={"claims": lines}), ()


def _asked(wish: Wish) -> reporting.Wish:
    return reporting.Wish(
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
