"""A study's files: report, document, trials, pictures, and the winner as a scenario."""

from __future__ import annotations

import csv
import datetime as dt
import io
from pathlib import Path

from mnist_bench.core import files
from mnist_bench.core.escaping import csv_cell
from mnist_bench.core.limits import DATASET_CHOICES
from mnist_bench.reporting import study, study_pictures
from mnist_bench.runner.options import REPORTS
from mnist_bench.tuning.document import StudyDocument


def write(document: StudyDocument) -> tuple[Path, ...]:
    """Write `reports/<study>.md` and what belongs to it.

    Returns:
        The files, the one for people first.

    Raises:
        BenchError: One can't be written; those of that name from before stay whole.
    """
    drawn = study_pictures.pictures_of(document)
    links = [f"{document.study}.{name}.png" for name in drawn]
    created = dt.datetime.now().astimezone().date().isoformat()
    contents = [
        files.File(".md", study.to_markdown(document, created, links)),
        files.File(".json", document.model_dump_json(indent=2) + "\n"),
        files.File(".csv", trials_csv(document)),
        *(files.File(f".{name}.png", content) for name, content in drawn.items()),
    ]
    if document.has_winner and document.candidate is not None:
        contents.append(files.File(".toml", winner_toml(document, document.candidate)))
    return files.write(REPORTS, document.study, contents)


def winner_toml(document: StudyDocument, number: int) -> str:
    """The winner as a scenario file that `mnist-bench run` takes."""
    scenario = document.space.scenario(document.trial(number).chosen)
    title = f"Winner of the study {document.study}: trial {number}"[:200]
    images = document.dataset if document.dataset in DATASET_CHOICES else "auto"
    text = scenario.model_copy(update={"title": title, "dataset": images}).to_toml()
    return f"{_of_a_time(document)}{text}"


def _of_a_time(document: StudyDocument) -> str:
    """What a scenario cannot say: it ends by its steps alone."""
    seconds = document.space.train_seconds
    if seconds is None:
        return ""
    return (
        f"# The study ended each training at the first grid step past {seconds:g} s, and counted\n"
        "# the last scoring within them. A scenario has no such end: it trains all its steps.\n"
    )


def trials_csv(document: StudyDocument) -> str:
    """A line a trial."""
    parameters = list(document.space.parameters)
    goal = ["objective_" + name.replace(" ", "_").lower() for name in document.goal.names]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    header = ["trial", "state", "is_papers", "retry_of", "repeat_of", "is_feasible", "seconds"]
    seen = ["train_seconds", "peak_rss_bytes", "verdict", "run_id"]
    writer.writerow([*header, *seen, *goal, *parameters])
    for trial in document.trials:
        values = trial.values or [None] * len(goal)
        own: list[object] = [
            trial.number,
            trial.state,
            trial.is_papers,
            trial.retry_of,
            trial.repeat_of,
            trial.is_feasible,
        ]
        own += [trial.seconds, trial.train_seconds, trial.peak_rss_bytes, trial.verdict]
        chosen = [trial.chosen.get(name) for name in parameters]
        line = [*own, trial.run_id, *values, *chosen]
        writer.writerow(["" if value is None else csv_cell(str(value)) for value in line])
    return stream.getvalue()
