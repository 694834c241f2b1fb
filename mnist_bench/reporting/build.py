"""The work of `mnist-bench report`: from recorded runs to a book of reports."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from mnist_bench.analysis.machine_ranking import rank_machines
from mnist_bench.claims import evidence_loader
from mnist_bench.claims.decide import decide
from mnist_bench.claims.evidence import Evidence
from mnist_bench.core import files
from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.core.escaping import markdown, one_line
from mnist_bench.core.formatting import counted
from mnist_bench.measurement.machine import Machine, describe
from mnist_bench.reporting import files as report_files
from mnist_bench.reporting import layer_maps
from mnist_bench.reporting.files import RenderedReport
from mnist_bench.reporting.images import ReportImages
from mnist_bench.reporting.model import Report
from mnist_bench.reporting.notes import left_out, several_versions, without_study
from mnist_bench.reporting.sections import sections
from mnist_bench.reporting.text import headline
from mnist_bench.results.document import Document, MachineLine
from mnist_bench.results.layer_maps import LayerMaps
from mnist_bench.results.run_summary import RecordedRun, RunSummary
from mnist_bench.tracking import layer_maps as recorded_layers
from mnist_bench.tracking import schema
from mnist_bench.tracking.mlflow_reader import MlflowReader, existing_store, nothing_recorded
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.read_run import UnreadableRunError
from mnist_bench.tracking.uri import without_credentials
from mnist_bench.tuning.document import StudyDocument

NAME = "report"
"""Stem of the files."""


@dataclass(frozen=True)
class ReportOptions:
    """What the user asked for.

    Attributes:
        tracking_uri: Where MLflow has recorded runs.
        experiment: MLflow's experiment.
        query: A filter in MLflow's own words; empty for none.
        scenarios: Names; empty for all.
        machine: The beginning of a machine's id; None for that of the newest run.
        since_ms: Unix time in milliseconds at which a run began at the earliest; None for any.
        until_ms: Before which it began; None for any.
        formats: Suffixes of the files.
        folder: Where they are written.
        images: The user's own folder of images; None for what is at hand.
        image: Test image that layers are to be shown of; None for what is recorded.
        command: The command line as a report may show it.
    """

    tracking_uri: str
    experiment: str
    query: str
    scenarios: tuple[str, ...]
    machine: str | None
    since_ms: int | None
    until_ms: int | None
    formats: tuple[str, ...]
    folder: Path
    images: Path | None
    image: int | None
    command: str

    @property
    def question(self) -> str:
        """What MLflow is asked."""
        parts = [
            self.query,
            "" if self.since_ms is None else f"attributes.start_time >= {self.since_ms}",
            "" if self.until_ms is None else f"attributes.start_time < {self.until_ms}",
        ]
        return " and ".join(part for part in parts if part)


@dataclass(frozen=True)
class FoundRuns:
    """The runs that were found.

    Attributes:
        runs: The oldest first, as draws are told.
        unreadable: Why some could not be read, with their number.
    """

    runs: tuple[RecordedRun, ...]
    unreadable: Counter[str]


def write_report(wish: ReportOptions) -> tuple[Report, tuple[Path, ...]]:
    """Find runs, make a book of them, and write it.

    Raises:
        BenchError: There are none, MLflow can't be asked, or a file can't be written.
    """
    archive = existing_store(wish.tracking_uri, wish.experiment)
    found = _found(archive, wish) if archive else FoundRuns((), Counter())
    if archive is None or not found.runs:
        raise _nothing(wish, found)
    book = _book(archive, found, wish)
    bound = report_files.render(book, wish.formats)
    written = files.write(wish.folder, NAME, bound.files)
    kept = _keep(wish, book, written, bound)
    return dataclasses.replace(book, notes=(*book.notes, *kept)), written


def _keep(
    wish: ReportOptions, book: Report, written: Sequence[Path], bound: RenderedReport
) -> Iterator[str]:
    """Keep the report in MLflow too; that it can't be is no reason to have none."""
    contents: dict[str, bytes | Path] = {path.name: path for path in written}
    contents |= bound.drawings
    try:
        store = MlflowStore(wish.tracking_uri, wish.experiment)
        store.keep(NAME, markdown(book.title), {schema.REPORT_TAG: "true"}, contents)
    except BenchError as error:
        yield f"The report could not be kept in MLflow: {error.message}"


def _found(archive: MlflowReader, wish: ReportOptions) -> FoundRuns:
    runs: list[RecordedRun] = []
    unreadable: Counter[str] = Counter()
    for each in archive.recorded(wish.question):
        if isinstance(each, UnreadableRunError):
            unreadable[str(each)] += 1
        elif not wish.scenarios or each.run.scenario in wish.scenarios:
            runs.append(each)
    return FoundRuns(tuple(sorted(runs, key=lambda each: each.order)), unreadable)


def _nothing(wish: ReportOptions, found: FoundRuns) -> BenchError:
    where = f"experiment {wish.experiment} of {without_credentials(wish.tracking_uri)}"
    if found.unreadable:
        why = ", ".join(f"{count} {reason}" for reason, count in found.unreadable.items())
        return BenchError(f"no run that can be read in {where}: {why}", "upgrade mnist-bench")
    if wish.question or wish.scenarios:
        return BenchError(f"no such run in {where}", "ask for less")
    return nothing_recorded(wish.tracking_uri, wish.experiment)


def _book(archive: MlflowReader, found: FoundRuns, wish: ReportOptions) -> Report:
    here = _machine_id(found.runs, wish.machine)
    own = [each for each in found.runs if each.run.machine_id == here]
    trials = [each for each in own if each.study]
    runs = [each for each in own if not each.study]
    found_studies = dict(_studies(archive, trials))
    studies = tuple(found_studies.values())
    if not runs and not studies:
        raise BenchError(
            "only trials of a study are recorded there, and it has not come to its end",
            "`mnist-bench tune --resume` goes on with it",
        )
    described = _described(archive, own)
    created = dt.datetime.now().astimezone().date().isoformat()
    told = [each.run for each in runs]
    shelf = ReportImages(archive, wish.images)
    made = sections(shelf, told, described, created, limited=not wish.scenarios)
    layers = _layers(shelf, told, wish)
    evidence = _evidence(archive, wish, here, told)
    document = Document(
        machine=described,
        runs=tuple(told),
        # Rows are a scenario's: runs of two are not pooled for what the paper calls one row.
        table_1=tuple(row for report in made.all for row in report.document.table_1),
        scaling=tuple(line for report in made.all for line in report.document.scaling),
        reaches=tuple(line for report in made.all for line in report.document.reaches),
        standings=tuple(line for report in made.all for line in report.document.standings),
        machines=_beside(found.runs, here),
        claims=decide(evidence) if evidence else (),
        studies=tuple(study.line(run_id or None) for run_id, study in found_studies.items()),
    )
    return Report(
        title=f"{_told(len(told), len(studies))} of mnist-bench on {described.name}",
        command=wish.command,
        created=created,
        document=document,
        reports=made.shown,
        others=made.others,
        notes=(
            *left_out(len(found.runs) - len(own), found.unreadable, document.machines),
            *several_versions(own),
            *without_study(trials, studies),
            *shelf.notes,
        ),
        studies=studies,
        layers=layers,
        findings=tuple(evidence.findings.values()) if evidence else (),
        ui=_ui(wish, archive),
    )


def _evidence(
    archive: MlflowReader, wish: ReportOptions, here: str | None, told: Sequence[RunSummary]
) -> Evidence | None:
    """What decides the paper's claims, if they were measured on this machine: all of its runs."""
    measured = evidence_loader.last_request(archive, here)
    if measured is None:
        return None
    is_part = wish.question or wish.scenarios
    runs = evidence_loader.runs_on(archive, here) if is_part else told
    return evidence_loader.load_evidence(archive, here, runs, price=measured.price)


def _beside(runs: Sequence[RecordedRun], here: str | None) -> tuple[MachineLine, ...]:
    """All machines, at the tasks that this one had too."""
    lines = rank_machines(runs)
    own = {line.task for line in lines if line.machine_id == here}
    return tuple(line for line in lines if line.task in own)


def _machine_id(runs: Sequence[RecordedRun], asked: str | None) -> str | None:
    """The machine that is reported on.

    Raises:
        BenchError: Nobody's id begins so, or that of several machines.
    """
    if asked is None:
        return runs[-1].run.machine_id
    ids = {each.run.machine_id for each in runs if (each.run.machine_id or "").startswith(asked)}
    if len(ids) != 1:
        known = sorted({(each.run.machine_id or "-")[:8] for each in runs})
        raise BenchError(
            f"--machine {asked}: {'no machine' if not ids else 'several machines'} of that id",
            f"choose one of {', '.join(known)}",
        )
    return ids.pop()


def _described(archive: MlflowReader, runs: Sequence[RecordedRun]) -> Machine:
    """The machine as the newest run that tells it found it; else this one, if it is that one.

    Raises:
        BenchError: It is another one, and nothing tells of it.
    """
    for each in runs[:-6:-1]:
        kept = archive.load_machine(each.run.run_id or "")
        if kept is not None:
            return kept
    here, wanted = describe(), runs[-1].run.machine_id
    if wanted not in {None, here.machine_id}:
        raise BenchError(
            f"what is known of the machine {wanted:.8} can't be read: none of its newest runs has "
            "its machine.json",
            "look whether the folder or server of MLflow's artifacts is in reach",
            exit_status=EXIT_BROKE,
        )
    return here


def _studies(
    archive: MlflowReader, trials: Sequence[RecordedRun]
) -> Iterator[tuple[str, StudyDocument]]:
    """The studies of some trials as they were kept, by their run's id, the newest first."""
    named = dict.fromkeys((each.study_run_id or "", each.study or "") for each in reversed(trials))
    for run_id, study in named:
        kept = None
        with suppress(ValidationError):
            content = archive.artifact(run_id, f"{study}.json")
            kept = StudyDocument.model_validate_json(content) if content else None
        if kept is not None:
            yield run_id, kept


def _layers(
    shelf: ReportImages, runs: Sequence[RunSummary], wish: ReportOptions
) -> LayerMaps | None:
    """What layers make of a test image: looked up, and made where the user names one."""
    digests = list(dict.fromkeys(run.dataset_digest for run in reversed(runs)))
    at_hand = [source for digest in digests if (source := shelf.source(digest))]
    source = next((each for each in at_hand if each.comparable), at_hand[0] if at_hand else None)
    if wish.image is None:
        return recorded_layers.load_layer_maps(shelf.archive, digests, None)
    if source is None:
        raise BenchError(
            f"--image {wish.image}: the images of these runs ({_sets(runs)}) are not at hand",
            "give --data DIR or MNIST_BENCH_DATA a folder with them",
        )
    kept = recorded_layers.load_layer_maps(shelf.archive, [source.digest], wish.image)
    own = recorded_layers.run_with_weights(shelf.archive, runs, source.digest)
    if kept and (own is None or kept.own_steps >= own.steps):
        return kept
    return layer_maps.make_layer_maps(
        MlflowStore(wish.tracking_uri, wish.experiment), source, wish.image, own
    )


def _told(runs: int, studies: int) -> str:
    """What a book is about."""
    counts = ((runs, "run"), (studies, "study"))
    return " and ".join(counted(number, what) for number, what in counts if number)


def _sets(runs: Sequence[RunSummary]) -> str:
    return ", ".join(sorted({run.dataset for run in runs})) or "none"


def _ui(wish: ReportOptions, archive: MlflowReader) -> str | None:
    """Where MLflow shows the experiment: known of a server alone."""
    uri = without_credentials(wish.tracking_uri)
    if not uri.startswith(("http://", "https://")):
        return None
    return f"{uri.rstrip('/')}/#/experiments/{archive.experiment_id}"


def print_report(book: Report, paths: Sequence[Path], people: Console) -> None:
    """Say in few lines what the book holds, and where it lies."""
    people.print(Text(one_line(book.title), style="bold"), soft_wrap=True)
    for each in book.reports:
        people.print(
            Text(one_line(f"{each.title}: {headline(each.document)}")),
            soft_wrap=True,
        )
    for note in book.notes:
        people.print(Text(one_line(note)), soft_wrap=True)
    written = ", ".join(path.as_posix() for path in paths)
    people.print(Text(f"Written: {written}"), soft_wrap=True)
