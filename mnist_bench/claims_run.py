"""The work of `mnist-bench run claims`: measures the parts that fit, and says what they decide."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from mnist_bench import (
    data,
    exclusive,
    figures,
    findings,
    layer_maps,
    report,
    reporting,
    run,
    sensing,
    tracking,
    units,
)
from mnist_bench import wish as wishing
from mnist_bench.archive import Archive, existing_store
from mnist_bench.claim_parts import Part, fitting, parts_of
from mnist_bench.claims import judge
from mnist_bench.dataset import Source
from mnist_bench.document import Document
from mnist_bench.errors import BenchError
from mnist_bench.execution import Execution
from mnist_bench.finding import ON_IMAGES
from mnist_bench.gathering import gather
from mnist_bench.limits import REPORT_FORMATS
from mnist_bench.machine import describe, machine_id
from mnist_bench.protocol import FindingQuestion
from mnist_bench.run import Done
from mnist_bench.store import Store
from mnist_bench.wish import REPORTS, Wish

_IMAGE = 0
"""That of the paper's Figure 1: the first test image."""


@dataclass(frozen=True)
class Costed:
    """A part with what it will take.

    Attributes:
        part: Itself.
        wish: Of its trainings; None of a part that has none.
        seconds: Expected; 0 where all of it is recorded.
        is_known: Whether something like it was measured here.
        fits: Whether the budget has room for it.
    """

    part: Part
    wish: Wish | None
    seconds: float
    is_known: bool
    fits: bool = True


@dataclass(frozen=True)
class Question:
    """What the user asked for.

    Attributes:
        claims: Their numbers.
        budget_seconds: Of wall-clock time for all parts.
        price: Of a kilowatt-hour; None where none was given.
        wish: Everything else, its scenarios and seeds left out.
    """

    claims: tuple[int, ...]
    budget_seconds: float
    price: float | None
    wish: Wish


def costed(question: Question, source: Source, console: Console) -> tuple[Costed, ...]:
    """Every part with what it will take, and whether the budget has room for it.

    Raises:
        BenchError: Something of the question can't be; nothing was started or written.
    """
    tracking.check(question.wish.tracking_uri, question.wish.experiment)
    parts = [_costed(part, question, source, console) for part in parts_of(question.claims)]
    fits = fitting([part.seconds for part in parts], question.budget_seconds)
    return tuple(dataclasses.replace(part, fits=fit) for part, fit in zip(parts, fits, strict=True))


def source_of(wish: Wish) -> Source:
    """The images.

    Raises:
        BenchError: They can't be had.
    """
    return data.find(wish.dataset or "auto", wish.folder, say=lambda _: None)


def _costed(part: Part, question: Question, source: Source, console: Console) -> Costed:
    if part.kind != "trainings":
        is_there = _is_recorded(part, question.wish, source)
        return Costed(part, None, 0.0 if is_there else part.usual_seconds, is_known=is_there)
    asked = dataclasses.replace(
        question.wish,
        scenarios=(part.scenario,),
        seeds=range(part.seed, part.seed + 1),
        independent=part.independent,
        resume=True,
    )
    plans = run.remaining(wishing.prepare(asked, console), asked)
    if not any(plan.trajectories for plan in plans):
        return Costed(part, asked, 0.0, is_known=True)
    expected = wishing.expected_seconds(plans, asked)
    return Costed(part, asked, expected or part.usual_seconds, is_known=expected is not None)


def _is_recorded(part: Part, wish: Wish, source: Source) -> bool:
    """Whether figures or a finding are there already."""
    archive = existing_store(wish.tracking_uri, wish.experiment)
    if archive is None:
        return False
    if part.kind == "figures":
        return layer_maps.found(archive, [source.digest], _IMAGE) is not None
    asked = _finding_question(part, wish, source)
    digest = asked.source.digest if asked.source else None
    return findings.found(archive, asked.claim, machine_id(), digest) is not None


def _finding_question(part: Part, wish: Wish, source: Source) -> FindingQuestion:
    """What is asked for the claim of a part; the images with it where it is about them."""
    (claim,) = part.claims
    return FindingQuestion.model_validate(
        {
            "claim": claim,
            "source": source if claim in ON_IMAGES else None,
            "execution": Execution(threads=wish.threads or sensing.usable_threads()),
            "seconds": part.usual_seconds,
        }
    )


def plan_as_text(parts: Sequence[Costed], question: Question) -> str:
    """What will be measured and what will not, for people."""
    needed = sum(part.seconds for part in parts if part.fits)
    budget = units.duration(question.budget_seconds)
    head = f"about {units.duration(needed)} of a budget of {budget}"
    if not needed:
        is_all_there = all(part.fits for part in parts)
        head = "all of it is recorded" if is_all_there else f"nothing fits a budget of {budget}"
    return "\n".join([head, *(f"  {_told(part)}" for part in parts)])


def plan_as_json(parts: Sequence[Costed], question: Question) -> str:
    """The same as one JSON document."""
    told = [
        {
            "part": str(part.part),
            "claims": part.part.claims,
            "expected_seconds": part.seconds,
            "measured_here_before": part.is_known,
            "fits": part.fits,
        }
        for part in parts
    ]
    facts = {"schema": 1, "budget_seconds": question.budget_seconds, "parts": told}
    return json.dumps(facts, indent=2)


def _told(costed: Costed) -> str:
    numbers = costed.part.claims
    claims = f"claim{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
    time_ = units.duration(costed.seconds)
    if not costed.seconds:
        time_ = "recorded already"
    elif not costed.is_known:
        time_ = f"{time_}, by another machine's measure"
    return f"{costed.part} ({claims}): {'' if costed.fits else 'left out, '}{time_}"


def carry_out(
    question: Question, parts: Sequence[Costed], source: Source, console: Console, people: Console
) -> Done:
    """Measure the parts that fit, decide the claims, and make the report anew.

    What breaks on the way ends the measuring, and never hides what was measured before.
    """
    began_at = time.monotonic()
    errors: list[BenchError] = []
    exit_status = 0
    for part in (each for each in parts if each.fits and each.seconds):
        left = question.budget_seconds - (time.monotonic() - began_at)
        if part.seconds > left:
            people.print(Text(f"Left out, the budget is over: {part.part}"), soft_wrap=True)
            continue
        try:
            done = _measured(part, question, source, console, people)
        except BenchError as error:
            errors.append(error)
            break
        errors += [done.error] if done and done.error else []
        exit_status = done.exit_status if done else 0
        if exit_status or errors:
            break
    return _decided(question, source, people, errors, exit_status)


def _measured(
    part: Costed, question: Question, source: Source, console: Console, people: Console
) -> Done | None:
    people.print(Text(str(part.part), style="bold"), soft_wrap=True)
    if part.wish is None:
        store = Store(question.wish.tracking_uri, question.wish.experiment)
        if part.part.kind == "figures":
            layer_maps.make(store, source, _IMAGE, None)
        else:
            findings.make(store, _finding_question(part.part, question.wish, source))
        return None

    def say(line: str) -> None:
        console.print(Text(line, style="bold yellow"), soft_wrap=True)

    with exclusive.held(machine_id(), exclusive=part.wish.exclusive, say=say) as kept:
        asked = dataclasses.replace(part.wish, exclusive=kept)
        plans = wishing.prepare(asked, console)
        return run.carry_out(plans, asked, console, _quiet(), reports=False)


def _quiet() -> Console:
    """For tables that the claims' own stands for."""
    return Console(quiet=True)


def _decided(
    question: Question,
    source: Source,
    people: Console,
    errors: list[BenchError],
    exit_status: int,
) -> Done:
    """Record that claims were measured, and tell what is decided; as a report, where runs are."""
    try:
        _keep(question)
        document, written = _report(question, source)
    except BenchError as error:
        return Done("", exit_status, [*errors, error][0])
    lines = [line for line in document.claims if line.claim in question.claims]
    report.print_claims(lines, people)
    if written:
        people.print(Text(written), soft_wrap=True)
    return Done(report.to_json(document), exit_status, errors[0] if errors else None)


def _keep(question: Question) -> None:
    """By this a report knows that claims are to be in it."""
    marked = {figures.CLAIMS_TAG: "true", figures.MACHINE_ID_TAG: machine_id() or ""}
    if question.price is not None:
        marked[figures.PRICE_TAG] = f"{question.price:g}"
    Store(question.wish.tracking_uri, question.wish.experiment).keep(
        "claims", "The paper's claims were measured here; a report decides them.", marked, {}
    )


def _report(question: Question, source: Source) -> tuple[Document, str]:
    """What is decided, and which files were written; none where nothing was trained here."""
    wish = question.wish
    asked = reporting.Wish(
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
    if reporting.has_runs(asked):
        book, paths = reporting.carry_out(asked)
        return book.document, f"Written: {', '.join(path.as_posix() for path in paths)}"
    archive = Archive(wish.tracking_uri, wish.experiment, make=False)
    evidence = gather(archive, machine_id(), source.digest, (), price=question.price)
    return Document(machine=describe(), runs=(), table_1=(), claims=judge(evidence)), ""
