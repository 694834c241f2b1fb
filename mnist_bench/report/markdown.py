"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnist_bench import paper, units
from mnist_bench.compare import ALPHA, MIN_SEEDS
from mnist_bench.document import shares_trajectories
from mnist_bench.report import cells, words
from mnist_bench.report.contents import Report
from mnist_bench.report.escape import Ready, code, markdown
from mnist_bench.spent import phases_of

_TEMPLATE = "report.md.j2"


def to_markdown(report: Report) -> str:
    """The whole report; text from outside shows as itself and is never run as Markdown."""
    import jinja2  # slow to load

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        finalize=markdown,  # escapes whatever is not Markdown already
        autoescape=False,  # noqa: S701 - that would be for HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    runs = report.document.runs
    phases = phases_of(runs)
    several_counts = words.has_several_thread_counts(runs)
    return environment.get_template(_TEMPLATE).render(
        report=report,
        machine=report.document.machine,
        command=code(report.command),
        headline=words.headline(report.document),
        warning=words.image_warning(runs),
        table_1=table(cells.TABLE_1, report.rows),
        accuracies=table(cells.ACCURACIES, report.rows),
        runs=table(cells.RUNS_BY_THREADS if several_counts else cells.RUNS, runs),
        scaling=table(cells.SCALING, report.document.scaling) if report.document.scaling else "",
        scaling_notes=words.scaling_notes(report.document.scaling),
        row_notes=words.row_notes(report.rows),
        disturbances=words.disturbances(runs),
        phases=phases,
        phases_threads=units.threads(phases.threads) if phases and several_counts else "",
        phase_costs=table(cells.PHASES, phases.costs) if phases else "",
        judged=any(run.verdict for run in runs),
        surroundings=words.surroundings(report.seen) if report.seen else (),
        unfinished=words.unfinished(runs),
        settings=words.settings(runs),
        memory_methods=words.memory_methods(runs),
        shared=shares_trajectories(runs),
        several=len({run.steps for run in runs}) > 1,
        borrowed=any(row.spread_source == "reference" for row in report.rows),
        same_images=any(run.dataset == paper.DATASET for run in runs),
        contradicted=any(row.steps == paper.RUNNING_TEXT_STEPS for row in report.rows),
        grid=[f"{step:,}" for step in paper.PROTOCOL.grid.points(300)[:3]],
        paper=paper,
        level=f"{ALPHA:.0%}",
        coverage=f"{1 - ALPHA:.0%}",
        min_seeds=MIN_SEEDS,
    )


def table(columns: Sequence[cells.Column[cells.Line]], lines: Sequence[cells.Line]) -> Ready:
    """Lines as a Markdown table, figures to the right."""
    parts: list[Sequence[str]] = [
        [markdown(column.header) for column in columns],
        ["---" if column.words else "---:" for column in columns],
    ]
    parts += [[markdown(column.text(line)) for column in columns] for line in lines]
    return Ready("\n".join(f"| {' | '.join(part)} |" for part in parts))
