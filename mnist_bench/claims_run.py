"""The work of `mnist-bench run claims`: measures the parts that fit, and says what they decide."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from rich.console import Console
from rich.text import Text

from mnist_bench import (
    compare,
    data,
    exclusive,
    figures,
    findings,
    gathering,
    layer_maps,
    paper,
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
from mnist_bench.dataset import Source
from mnist_bench.document import Document
from mnist_bench.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, BenchError
from mnist_bench.layout import Plan
from mnist_bench.limits import REPORT_FORMATS
from mnist_bench.machine import describe, machine_id
from mnist_bench.protocol import FindingQuestion
from mnist_bench.run import Done
from mnist_bench.store import Store
from mnist_bench.wish import REPORTS, Wish


@dataclass(frozen=True)
class Question:
    """What the user asked for.

    Attributes:
        claims: Their numbers.
        budget_seconds: Of wall-clock time for all parts.
        price: Of a kilowatt-hour; None where none was given.
        reports: Whether files are written.
        wish: Everything else, its scenarios and seeds left out.
    """

    claims: tuple[int, ...]
    budget_seconds: float
    price: float | None
    reports: bool
    wish: Wish


@dataclass(frozen=True)
class Costed:
    """A part with what it will take.

    Attributes:
        part: Itself.
        is_recorded: Whether all of it is there already.
        wish: Of its trainings; None of a part that has none.
        plans: What of them is left.
        question: What is measured by itself; None of a part that does not.
        fits: Whether the budget has room for it.
    """

    part: Part
    is_recorded: bool
    wish: Wish | None = None
    plans: tuple[Plan, ...] = ()
    question: FindingQuestion | None = None
    fits: bool = True

    @property
    def known_seconds(self) -> float | None:
        """What it takes, as measured here before; None where nothing like it was."""
        return wishing.expected_seconds(self.plans, self.wish) if self.wish else None

    @property
    def seconds(self) -> float:
        """What it takes, as far as can be told by now; 0 where it is recorded."""
        if self.is_recorded:
            return 0.0
        known = self.known_seconds
        return self.part.usual_seconds if known is None else known


def costed(question: Question, console: Console) -> tuple[tuple[Costed, ...], Source | None]:
    """Every part with what it will take, and the images; None where no part needs any.

    Raises:
        BenchError: Something of the question can't be; nothing was started or written.
    """
    wish = question.wish
    tracking.check(wish.tracking_uri, wish.experiment)
    wanted = parts_of(question.claims)
    source = _images(wish) if any(part.needs_images for part in wanted) else None
    trained = _trained(wanted, wish, console)
    archive = existing_store(wish.tracking_uri, wish.experiment)
    parts = [trained.get(part) or _untrained(part, archive, source) for part in wanted]
    fits = fitting([part.seconds for part in parts], question.budget_seconds)
    told = (dataclasses.replace(part, fits=fit) for part, fit in zip(parts, fits, strict=True))
    return tuple(told), source


def _images(wish: Wish) -> Source:
    """The full MNIST.

    Raises:
        BenchError: It can't be had, or other images were asked for.
    """
    source = data.find(wish.dataset or "mnist", wish.folder, say=lambda _: None)
    if not source.comparable:
        raise BenchError(
            f"the paper's claims are about the full MNIST, and these images are {source.name}",
            "leave --dataset out, or give --data a folder with MNIST's IDX files",
        )
    return source


def _trained(wanted: Sequence[Part], wish: Wish, console: Console) -> dict[Part, Costed]:
    """What of each part's trainings is not recorded yet; those of one manner are looked up once."""
    manners: dict[tuple[bool, bool], list[Part]] = {}
    for part in wanted:
        if part.scenario:
            manners.setdefault((part.independent, part.is_timed), []).append(part)
    found = {}
    for (independent, is_timed), parts in manners.items():
        seeds = [part.seed for part in parts]
        asked = dataclasses.replace(
            wish,
            scenarios=tuple(dict.fromkeys(part.scenario for part in parts)),
            dataset="mnist",
            seeds=range(min(seeds), max(seeds) + 1),
            independent=independent,
            resume=True,
            spoilt_again=is_timed,
        )
        plans = run.remaining(wishing.prepare(asked, console), asked)
        for part in parts:
            own = tuple(_of_part(plan, part) for plan in plans if plan.name == part.scenario)
            is_recorded = not any(plan.trajectories for plan in own)
            found[part] = Costed(part, is_recorded, asked, own)
    return found


def _of_part(plan: Plan, part: Part) -> Plan:
    trajectories = tuple(each for each in plan.trajectories if each.seed == part.seed)
    return dataclasses.replace(plan, trajectories=trajectories)


def _untrained(part: Part, archive: Archive | None, source: Source | None) -> Costed:
    """Figures or a finding; a finding counts as recorded where it is of this very manner."""
    if part.measures is None:
        digests = [source.digest] if source else []
        seen = layer_maps.found(archive, digests, paper.FIGURES_IMAGE) if archive else None
        return Costed(part, is_recorded=seen is not None)
    asked = findings.question_for(part.measures, source, threads=sensing.usable_threads())
    digest = asked.source.digest if asked.source else None
    kept = findings.found(archive, asked.claim, machine_id(), digest) if archive else None
    is_recorded = kept is not None and (
        (kept.execution, kept.tensorflow) == (asked.execution, version("tensorflow"))
    )
    return Costed(part, is_recorded, question=asked)


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
            "measured_here_before": part.is_recorded or part.known_seconds is not None,
            "fits": part.fits,
        }
        for part in parts
    ]
    facts = {"schema": 1, "budget_seconds": question.budget_seconds, "parts": told}
    return json.dumps(facts, indent=2)


def _told(costed: Costed) -> str:
    numbers = costed.part.claims
    claims = f"claim{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
    time_ = "recorded already" if costed.is_recorded else units.duration(costed.seconds)
    if not costed.is_recorded and costed.known_seconds is None:
        time_ += ", by another machine's measure"
    return f"{costed.part} ({claims}): {'' if costed.fits else 'left out, '}{time_}"


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
    for part in (each for each in parts if each.fits and not each.is_recorded):
        left = question.budget_seconds - (time.monotonic() - began_at)
        if part.seconds > left:  # by what has been measured since it was planned
            why = "does not fit into what is left of the budget"
            people.print(Text(f"Left out, it {why}: {part.part}"), soft_wrap=True)
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
    """Measure one part; what broke is told, not raised."""
    wish = part.wish
    try:
        if wish is None:
            _measured_by_itself(part, question.wish, source)
            return Done("", 0, None)
        with exclusive.held(machine_id(), exclusive=wish.exclusive, say=lambda _: None) as kept:
            asked = dataclasses.replace(wish, exclusive=kept)
            # The claims' own table stands for those of the trainings.
            return run.carry_out(part.plans, asked, console, Console(quiet=True), reports=False)
    except BenchError as error:
        return Done("", error.exit_status, error)


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
    report.print_claims(lines, people)
    for note in notes:
        people.print(Text(note), soft_wrap=True)
    return Done(report.to_json(document), exit_status, errors[0] if errors else None)


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
    lines = gathering.decided(archive, machine_id(), own, question.price)
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
