"""Write a study's files: report, document, trials, charts, and the winner as a scenario."""

from __future__ import annotations

import csv
import datetime as dt
import io
from pathlib import Path

from mnist_bench.core import files
from mnist_bench.core.escaping import csv_cell
from mnist_bench.core.limits import DATASET_CHOICES
from mnist_bench.reporting import study_charts
from mnist_bench.reporting.markdown import study_to_markdown
from mnist_bench.runner.options import REPORTS
from mnist_bench.tuning.document import StudyDocument


def write(document: StudyDocument) -> tuple[Path, ...]:
    """Write `reports/<study>.md` and its companion files; return their paths, Markdown first.

    Raises:
        BenchError: A file can't be written; existing files of that name are left intact.
    """
    pictures = study_charts.pictures_of(document)
    links = [f"{document.study}.{name}.png" for name in pictures]
    created = dt.datetime.now().astimezone().date().isoformat()
    report_files = [
        files.File(".md", study_to_markdown(document, created, links)),
        files.File(".json", document.model_dump_json(indent=2) + "\n"),
        files.File(".csv", trials_csv(document)),
        *(files.File(f".{name}.png", content) for name, content in pictures.items()),
    ]
    if document.has_winner and document.candidate is not None:
        report_files.append(files.File(".toml", winner_toml(document, document.candidate)))
    return files.write(REPORTS, document.study, report_files)


def winner_toml(document: StudyDocument, number: int) -> str:
    """The winner as a scenario file for `mnist-bench run`."""
    scenario = document.space.scenario(document.trial(number).chosen)
    title = f"Winner of the study {document.study}: trial {number}"[:200]
    dataset = document.dataset if document.dataset in DATASET_CHOICES else "auto"
    text = scenario.model_copy(update={"title": title, "dataset": dataset}).to_toml()
    seconds = document.space.train_seconds
    if seconds is None:
        return text
    return (  # a scenario is limited only by its steps
        f"# The study ended each training at the first grid step past {seconds:g} s, and counted\n"
        "# the last scoring within them. A scenario has no such end: it trains all its steps.\n"
        f"{text}"
    )


def trials_csv(document: StudyDocument) -> str:
    """Trials as CSV, one line each."""
    fields = (
        *("number", "state", "is_papers", "retry_of", "repeat_of", "is_feasible", "seconds"),
        *("train_seconds", "peak_rss_bytes", "verdict", "run_id"),
    )
    objectives = [f"objective_{name.replace(' ', '_').lower()}" for name in document.goal.names]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["trial", *fields[1:], *objectives, *document.space.parameters, "best_so_far"])
    best_so_far = document.best_so_far
    for trial in document.trials:
        cells = [getattr(trial, field) for field in fields]
        cells += trial.values or [None] * len(objectives)
        cells += [trial.chosen.get(name) for name in document.space.parameters]
        cells.append(best_so_far.get(trial.number))
        writer.writerow(["" if cell is None else csv_cell(str(cell)) for cell in cells])
    return stream.getvalue()
