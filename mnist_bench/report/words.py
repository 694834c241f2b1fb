"""Sentences that the screen and the Markdown share; not yet escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mnist_bench import paper, units
from mnist_bench.document import ROW_VERDICTS, Document, Row, RowVerdict, RunSummary, spent_on
from mnist_bench.report.cells import status

_SAID: dict[RowVerdict, tuple[str, str]] = {
    "exceeds": ("exceeds it", "exceed it"),
    "indistinguishable": ("is indistinguishable from it", "are indistinguishable from it"),
    "below": ("is below it", "are below it"),
    "not comparable": ("is not comparable", "are not comparable"),
}


def headline(document: Document) -> str:
    """How Table I came out here and what it cost, in one sentence."""
    spent = spent_on(document.runs)
    trainings = "1 training" if spent.trainings == 1 else f"{spent.trainings} trainings"
    price = (
        f"{units.duration(spent.train_seconds)} inside {trainings}, "
        f"peak memory {units.mebibytes(spent.peak_rss_bytes)}"
    )
    return f"{_outcome(document.table_1)}; cost: {price}."


def _outcome(table_1: Sequence[Row]) -> str:
    if not table_1:
        return "None of Table I's step counts was run, so nothing is held against the paper"
    counts = Counter(row.verdict for row in table_1)
    said = [f"{counts[v]} {_SAID[v][counts[v] > 1]}" for v in ROW_VERDICTS if counts[v]]
    number = "the 1 row" if len(table_1) == 1 else f"the {len(table_1)} rows"
    return f"Against the paper's Table I, of {number} run here: {', '.join(said)}"


def image_warning(runs: Sequence[RunSummary]) -> str | None:
    """A loud line where a run did not see MNIST's own images."""
    others = sorted({run.dataset for run in runs} - {paper.DATASET})
    if not others:
        return None
    return f"NOT COMPARABLE with Table I: other images than the full MNIST ({', '.join(others)})"


def row_notes(rows: Sequence[Row]) -> list[str]:
    """What there is to know about single rows; rows of the same note share a line."""
    steps: dict[str, list[str]] = {}
    for row in rows:
        if row.reason:
            verdict = "not comparable: " if row.verdict == "not comparable" else ""
            steps.setdefault(verdict + row.reason, []).append(units.count(row.steps))
    return [f"{' and '.join(of)} steps: {note}" for note, of in steps.items()]


def unfinished(runs: Sequence[RunSummary]) -> list[str]:
    """Runs that did not finish, with the reason."""
    return [
        f"seed {run.seed}, {units.count(run.steps)} steps: {status(run)}"
        f" ({run.failure or 'no reason was recorded'})"
        for run in runs
        if run.status != "finished"
    ]


def settings(runs: Sequence[RunSummary]) -> list[str]:
    """What the runs were made with; one line for each different set."""
    lines = [
        f"images {run.dataset}, model {run.model}, {run.precision}, {run.device}, "
        f"{run.threads} {'thread' if run.threads == 1 else 'threads'}, "
        + ", ".join(f"{name} {value}" for name, value in run.hyperparameters)
        for run in runs
    ]
    return list(dict.fromkeys(lines))


def memory_methods(runs: Sequence[RunSummary]) -> str:
    """How peak memory was read."""
    methods = sorted({run.memory_method for run in runs if run.memory_method})
    return ", ".join(methods) or "not known"
