"""Build the report of `mnist-bench report` from recorded runs."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from mnist_bench.analysis.grouping import portable_task, without_other_versions
from mnist_bench.analysis.machine_ranking import rank_machines
from mnist_bench.claims import evidence_loader
from mnist_bench.claims.decide import decide
from mnist_bench.claims.evidence import Evidence
from mnist_bench.core import files
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.core.escaping import markdown, one_line
from mnist_bench.core.formatting import counted
from mnist_bench.core.limits import REPORT_FORMATS
from mnist_bench.core.toml import suggestion
from mnist_bench.measurement.machine import Machine, describe
from mnist_bench.reporting.files import render
from mnist_bench.reporting.layer_maps import make_layer_maps
from mnist_bench.reporting.model import Report
from mnist_bench.reporting.sections import ReportImages, sections
from mnist_bench.reporting.text import headline, machine_notes, title
from mnist_bench.results.document import Document, MachineLine
from mnist_bench.results.layer_maps import LayerMaps
from mnist_bench.results.run_summary import RecordedRun, RunSummary, machine_names
from mnist_bench.tracking import recovery, schema
from mnist_bench.tracking.layer_maps import load_layer_maps, run_with_weights
from mnist_bench.tracking.mlflow_store import MlflowStore, no_runs_error
from mnist_bench.tracking.read_run import UnreadableRunError
from mnist_bench.tracking.uri import ui_address, without_credentials
from mnist_bench.tuning.document import StudyDocument

NAME = "report"
"""Stem of the report files."""


@dataclass(frozen=True)
class ReportOptions:
    """Options of `mnist-bench report`.

    Attributes:
        tracking_uri: URI of the MLflow store.
        experiment: Name of the MLflow experiment.
        query: MLflow filter expression; empty for none.
        scenarios: Names of scenarios; empty for all.
        tags: What runs must have all of; the user's own.
        machine: Prefix of the only machine's id; None for the machine of the newest run, with
            the accuracies of others.
        since_ms: Earliest start of a run, Unix time in milliseconds; None for any.
        until_ms: End of the start times, exclusive, Unix time in milliseconds; None for any.
        formats: Suffixes of the report files.
        folder: Output folder.
        images: The user's folder of images; None for the cache and the embedded sample.
        image: Index of the test image to show layer maps of; None for recorded maps.
        card: Whether a picture of the result is written too.
        command: The command line, without private values.
    """

    tracking_uri: str
    experiment: str
    query: str = ""
    scenarios: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    machine: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    formats: tuple[str, ...] = REPORT_FORMATS
    folder: Path = Path("reports")
    images: Path | None = None
    image: int | None = None
    card: bool = False
    command: str = ""

    @property
    def mlflow_filter(self) -> str:
        """Filter expression of the MLflow search."""
        conditions = [
            self.query,
            "" if self.since_ms is None else f"attributes.start_time >= {self.since_ms}",
            "" if self.until_ms is None else f"attributes.start_time < {self.until_ms}",
        ]
        return " and ".join(condition for condition in conditions if condition)


@dataclass(frozen=True)
class FoundRuns:
    """Result of the MLflow search.

    Attributes:
        runs: Readable runs that have ended, oldest first.
        unreadable: Number of unreadable runs by reason.
        running: Number of runs that have not ended yet.
        scenarios: Scenarios of all runs, also of those that were not searched for.
    """

    runs: tuple[RecordedRun, ...] = ()
    unreadable: Counter[str] = field(default_factory=Counter)
    running: int = 0
    scenarios: frozenset[str] = frozenset()


def write_report(
    options: ReportOptions, log: Callable[[str], None]
) -> tuple[Report, tuple[Path, ...]]:
    """Find runs, build their report, and write it.

    Args:
        options: What to report, and where.
        log: Receives one line if runs of commands that died were recovered first.

    Raises:
        BenchError: There are no runs, MLflow can't be searched, or a file can't be written.
    """
    return write_report_of(*find_runs(options, log), options)


def find_runs(options: ReportOptions, log: Callable[[str], None]) -> tuple[MlflowStore, FoundRuns]:
    """Find the runs to report on, and open their store.

    Raises:
        BenchError: There are no runs, or MLflow can't be searched.
    """
    reader = recovery.open_existing_store(options.tracking_uri, options.experiment, log)
    if reader is None:
        raise no_runs_error(options.tracking_uri, options.experiment)
    found = _find_runs(reader, options)
    if not found.runs or not found.scenarios.issuperset(options.scenarios):
        raise _no_runs(options, found)
    return reader, found


def write_report_of(
    reader: MlflowStore, found: FoundRuns, options: ReportOptions
) -> tuple[Report, tuple[Path, ...]]:
    """Build the report of runs, and write it.

    Raises:
        BenchError: MLflow can't be read, or a file can't be written.
    """
    report = build_report(reader, found, options)
    picture: tuple[files.File, ...] = ()
    if options.card:
        from mnist_bench.reporting import card  # slow to load

        picture = card.card_files(report)
    rendered = render(report, options.formats)
    written = files.write(options.folder, NAME, rendered.files)
    written += files.write(options.folder, "card", picture)
    artifacts: dict[str, bytes | Path] = {path.name: path for path in written}
    artifacts |= rendered.charts
    try:
        store = MlflowStore(options.tracking_uri, options.experiment)
        store.save_files(NAME, markdown(report.title), {schema.REPORT_TAG: "true"}, artifacts)
    except BenchError as error:
        note = f"The report could not be saved to MLflow: {error.message}"
        report = dataclasses.replace(report, notes=(*report.notes, note))
    return report, written


def _find_runs(reader: MlflowStore, options: ReportOptions) -> FoundRuns:
    runs: list[RecordedRun] = []
    unreadable: Counter[str] = Counter()
    running = 0
    scenarios: set[str] = set()
    for recorded in reader.recorded_runs(options.mlflow_filter):
        if isinstance(recorded, UnreadableRunError):
            unreadable[str(recorded)] += 1
            continue
        scenarios.add(recorded.run.scenario)
        if options.scenarios and recorded.run.scenario not in options.scenarios:
            continue
        if not set(options.tags) <= set(recorded.tags):
            continue
        if recorded.run.status is None:
            running += 1
        else:
            runs.append(recorded)
    runs.sort(key=lambda recorded: recorded.order)
    return FoundRuns(tuple(runs), unreadable, running, frozenset(scenarios))


def _no_runs(options: ReportOptions, found: FoundRuns) -> BenchError:
    place = f"experiment {options.experiment} of {without_credentials(options.tracking_uri)}"
    unknown = [name for name in options.scenarios if name not in found.scenarios]
    if unknown and found.scenarios:
        which = "matching run" if options.mlflow_filter else "run"
        return BenchError(
            f"no {which} of a scenario {unknown[0]} is recorded",
            suggestion(unknown[0], found.scenarios)
            or f"there are {', '.join(sorted(found.scenarios))}",
        )
    if found.unreadable:
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.unreadable.items())
        return BenchError(f"no readable run in {place}: {reasons}", "upgrade mnist-bench")
    if found.running:
        return BenchError(
            f"no run in {place} has ended yet ({counted(found.running, 'run')} not finished)",
            "wait for one to end",
        )
    if options.mlflow_filter or options.tags:
        return BenchError(f"no run in {place} matches", "relax the filter")
    return no_runs_error(options.tracking_uri, options.experiment)


@dataclass(frozen=True)
class Selection:
    """The runs of a report: times and memory of one machine, accuracies also of others.

    Attributes:
        machine_id: The machine.
        on_machine: Its runs and trials.
        runs: Its runs without trials.
        others: Runs of other machines whose accuracies are pooled with those of `runs`.
        not_pooled: Number of runs with the same task of other machines that are not among them,
            since they may be of another TensorFlow version.
    """

    machine_id: str | None
    on_machine: tuple[RecordedRun, ...]
    runs: tuple[RecordedRun, ...]
    others: tuple[RecordedRun, ...]
    not_pooled: int

    @property
    def row_runs(self) -> list[RunSummary]:
        """`runs` and `others`, oldest first."""
        runs = sorted((*self.runs, *self.others), key=lambda each: each.order)
        return [each.run for each in runs]


def select(runs: Sequence[RecordedRun], machine: str | None) -> Selection:
    """Select the runs of a report.

    Args:
        runs: The runs found, oldest first.
        machine: Prefix of the only machine's id; None for the machine of the newest run, with the
            accuracies of others.

    Raises:
        BenchError: No id has this prefix, or several have.
    """
    machine_id = _machine_id(runs, machine)
    on_machine = tuple(each for each in runs if each.run.machine_id == machine_id)
    own = tuple(each for each in on_machine if not each.study)
    tasks = {portable_task(each.run) for each in own if each.run.status == "finished"}
    same_task = [
        each
        for each in (runs if machine is None else own)
        if each.run.status == "finished" and not each.study and portable_task(each.run) in tasks
    ]
    poolable = without_other_versions(same_task, machine_id)
    others = tuple(each for each in poolable if each.run.machine_id != machine_id)
    return Selection(machine_id, on_machine, own, others, len(same_task) - len(poolable))


def build_report(reader: MlflowStore, found: FoundRuns, options: ReportOptions) -> Report:
    """Build the report of the runs found; there is at least one.

    Raises:
        BenchError: MLflow can't be read, or there is nothing to report on.
    """
    selection = select(found.runs, options.machine)
    machine_id, on_machine = selection.machine_id, selection.on_machine
    runs, others = selection.runs, selection.others
    trials = [each for each in on_machine if each.study]
    found_studies = dict(_studies(reader, trials))
    studies = tuple(found_studies.values())
    if not runs and not studies:
        raise BenchError(
            "only trials of an unfinished study are recorded",
            "`mnist-bench tune --resume` continues it",
        )
    machine = _machine_of(reader, on_machine)
    created = dt.datetime.now().astimezone().date().isoformat()
    summaries = [each.run for each in runs]
    images = ReportImages(reader, options.images)
    row_runs = selection.row_runs
    names = machine_names((*runs, *others))
    scenario_sections = sections(
        images, row_runs, machine, created, names, limited=not options.scenarios
    )
    layer_maps = _layer_maps(images, summaries, options)
    evidence = _evidence(reader, options, machine_id, summaries)
    documents = [section.document for section in scenario_sections.all]
    document = Document(
        machine=machine,
        runs=tuple(row_runs),
        # Rows are per scenario: runs of two scenarios are never pooled.
        table_1=tuple(row for each in documents for row in each.table_1),
        scaling=tuple(line for each in documents for line in each.scaling),
        reaches=tuple(line for each in documents for line in each.reaches),
        standings=tuple(line for each in documents for line in each.standings),
        machines=_ranked_machines(found.runs, machine_id),
        claims=decide(evidence) if evidence else (),
        studies=tuple(study.line(run_id or None) for run_id, study in found_studies.items()),
        machine_costs=tuple(line for each in documents for line in each.machine_costs),
    )
    return Report(
        title=title(scenario_sections.all, studies, machine),
        command=options.command,
        created=created,
        document=document,
        sections=scenario_sections.shown,
        others=scenario_sections.others,
        notes=(
            *_left_out(found, selection, document.machines),
            *without_study(trials, studies),
            *images.notes,
        ),
        studies=studies,
        layers=layer_maps,
        experiments=tuple(evidence.experiments.values()) if evidence else (),
        ui=ui_address(options.tracking_uri, reader.experiment_id),
    )


def _left_out(
    found: FoundRuns, selection: Selection, machines: Sequence[MachineLine]
) -> Iterator[str]:
    """Notes on runs that are in no section, and on mixed versions."""
    others = len(found.runs) - len(selection.on_machine) - len(selection.others)
    if found.running:
        yield f"{counted(found.running, 'run')} left out: still running"
    if others:
        place = "in the table of machines alone" if machines else "left out, --machine names one"
        yield f"{counted(others, 'run')} of other machines: {place}"
    for reason, number in found.unreadable.items():
        yield f"{counted(number, 'run')} left out: {reason}"
    if selection.not_pooled:
        yield (
            f"{counted(selection.not_pooled, 'run')} of other machines not pooled: not known to be "
            "of the TensorFlow version of all runs here"
        )
    versions = Counter(
        f"TensorFlow {recorded.tensorflow or '–'} and mnist-bench {recorded.mnist_bench or '–'}"
        for recorded in selection.on_machine
    )
    if len(versions) > 1:
        in_words = ", ".join(f"{counted(number, 'run')} of {v}" for v, number in versions.items())
        yield (
            f"Runs of several versions share rows: {in_words}; "
            "`mnist-bench compare --by` compares them"
        )


def without_study(trials: Sequence[RecordedRun], studies: Sequence[StudyDocument]) -> Iterator[str]:
    """Note on trials without a study's document, which is written when the study ends."""
    with_document = {study.study for study in studies}
    missing = Counter(trial.study for trial in trials if trial.study not in with_document)
    for study, number in missing.items():
        yield (
            f"{counted(number, 'trial')} of the study {study} left out: it has not come to its "
            "end, or its document is out of reach"
        )


def _evidence(
    reader: MlflowStore, options: ReportOptions, machine_id: str | None, runs: Sequence[RunSummary]
) -> Evidence | None:
    """Evidence for the paper's claims: all runs of the machine; None if no claim was measured."""
    request = evidence_loader.last_request(reader, machine_id)
    if request is None:
        return None
    is_filtered = options.mlflow_filter or options.scenarios or options.tags
    all_runs = evidence_loader.runs_on(reader, machine_id) if is_filtered else runs
    return evidence_loader.load_evidence(reader, machine_id, all_runs, price=request.price)


def _ranked_machines(
    runs: Sequence[RecordedRun], machine_id: str | None
) -> tuple[MachineLine, ...]:
    """Ranking of all machines, restricted to tasks that this machine ran."""
    lines = rank_machines(runs)
    tasks = {line.task for line in lines if line.machine_id == machine_id}
    return tuple(line for line in lines if line.task in tasks)


def _machine_id(runs: Sequence[RecordedRun], id_prefix: str | None) -> str | None:
    """Id of the machine to report on.

    Raises:
        BenchError: No id has this prefix, or several have.
    """
    if id_prefix is None:
        return runs[-1].run.machine_id
    ids = {
        each.run.machine_id for each in runs if (each.run.machine_id or "").startswith(id_prefix)
    }
    if len(ids) != 1:
        known = sorted({(each.run.machine_id or "-")[:8] for each in runs})
        count = "several" if ids else "no"
        raise BenchError(
            f"--machine {id_prefix}: {count} machine ids begin with it",
            f"choose one of {', '.join(known)}",
        )
    return ids.pop()


def _machine_of(reader: MlflowStore, runs: Sequence[RecordedRun]) -> Machine:
    """Description of the runs' machine: from one of the newest runs, else of this machine.

    Its id is that of the runs, by which a report tells their machine from others.

    Raises:
        BenchError: No description is recorded, and the runs are from another machine.
    """
    machine_id = runs[-1].run.machine_id
    for each in runs[:-6:-1]:
        machine = reader.load_machine(each.run.run_id or "")
        if machine is not None:
            return machine.model_copy(update={"machine_id": machine_id})
    this_machine = describe()
    if machine_id not in {None, this_machine.machine_id}:
        raise BenchError(
            f"can't read the description of machine {machine_id:.8}: none of its newest runs has a "
            "machine.json",
            "check that MLflow's artifact folder or server is accessible",
            exit_status=EXIT_FAILURE,
        )
    return this_machine.model_copy(update={"machine_id": machine_id})


def _studies(
    reader: MlflowStore, trials: Sequence[RecordedRun]
) -> Iterator[tuple[str, StudyDocument]]:
    """Recorded documents of the trials' studies, with the study's run id, newest first."""
    studies = dict.fromkeys(
        (each.study_run_id or "", each.study or "") for each in reversed(trials)
    )
    for run_id, study in studies:
        document = None
        with suppress(ValidationError):
            content = reader.artifact(run_id, f"{study}.json")
            document = StudyDocument.model_validate_json(content) if content else None
        if document is not None:
            yield run_id, document


def _layer_maps(
    images: ReportImages, runs: Sequence[RunSummary], options: ReportOptions
) -> LayerMaps | None:
    """Layer maps of a test image: recorded ones, or computed if the user names an image."""
    digests = list(dict.fromkeys(run.dataset_digest for run in reversed(runs)))
    if options.image is None:
        return load_layer_maps(images.reader, digests, None)
    available = [source for digest in digests if (source := images.source(digest))]
    source = next(
        (each for each in available if each.comparable), available[0] if available else None
    )
    if source is None:
        datasets = ", ".join(sorted({run.dataset for run in runs}))
        raise BenchError(
            f"--image {options.image}: the images of these runs ({datasets or 'none'}) are not "
            "available locally",
            "set --data DIR or MNIST_BENCH_DATA to a folder that contains them",
        )
    recorded = load_layer_maps(images.reader, [source.digest], options.image)
    run = run_with_weights(images.reader, runs, source.digest)
    if recorded and (run is None or recorded.own_steps >= run.steps):
        return recorded
    return make_layer_maps(
        MlflowStore(options.tracking_uri, options.experiment), source, options.image, run
    )


def print_report(report: Report, paths: Sequence[Path], console: Console) -> None:
    """Print the report's headlines, its notes, and the files written."""
    console.print(Text(one_line(report.title), style="bold"), soft_wrap=True)
    for section in report.sections:
        console.print(
            Text(one_line(f"{section.title}: {headline(section.document)}")),
            soft_wrap=True,
        )
        for line in machine_notes(section.rows, section.document):
            console.print(Text(f"{section.title}: {line}"), soft_wrap=True)
    for note in report.notes:
        console.print(Text(one_line(note)), soft_wrap=True)
    written = ", ".join(path.as_posix() for path in paths)
    console.print(Text(f"Written: {written}"), soft_wrap=True)
