"""`mnist-bench report`: its options, and what goes to which stream; no work of its own."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import click

from mnist_bench.cli import console, parameter_types
from mnist_bench.cli import options as shared
from mnist_bench.core.limits import REPORT_FORMATS

_EXAMPLES = """\b
Examples:
  mnist-bench report                        all of the machine of the newest run: reports/report.*
  mnist-bench report --format html          the page alone
  mnist-bench report --scenario table-1 --since 2026-01-31
  mnist-bench report --image 0 --data DIR   with Figures 1 to 4, of the first test image
  mnist-bench report --runs "params.threads = '2' and metrics.final_test_accuracy > 0.99"
"""


_DAY = click.DateTime(("%Y-%m-%d",))


@click.command(epilog=_EXAMPLES)
@click.option(
    "--runs",
    "query",
    default="",
    metavar="QUERY",
    help="Only runs that this filter of MLflow's finds.",
)
@click.option(
    "--scenario", "scenarios", multiple=True, metavar="NAME", help="Only of this; repeatable."
)
@click.option(
    "--machine",
    metavar="ID",
    help="Of the machine whose id begins so.  [default: that of the newest run]",
)
@click.option("--since", type=_DAY, metavar="DAY", help="From this day on.")
@click.option("--until", type=_DAY, metavar="DAY", help="To this day.")
@click.option(
    "--format",
    "formats",
    default=",".join(REPORT_FORMATS),
    show_default=True,
    callback=parameter_types.formats,
    metavar="F[,F...]",
    help="What to write.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="reports",
    show_default=True,
    metavar="DIR",
    help="Where to.",
)
@click.option(
    "--image",
    type=click.IntRange(min=0),
    metavar="N",
    help="Show test image N in the layers of networks, as the paper's Figures 1 to 4: trains a "
    "small one for some seconds.  [default: the image whose figures were made last]",
)
@shared.data
@shared.tracking_uri
@shared.experiment
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document as well.")
def report(
    *,
    query: str,
    scenarios: tuple[str, ...],
    machine: str | None,
    since: dt.datetime | None,
    until: dt.datetime | None,
    formats: tuple[str, ...],
    out: Path,
    image: int | None,
    folder: Path | None,
    tracking_uri: str,
    experiment: str,
    as_json: bool,
) -> int:
    """Make a report of recorded runs: a page, Markdown, CSV and JSON.

    It is about one machine, a section a scenario; other machines that ran the same stand beside it
    in a table.
    """
    from mnist_bench.reporting import build, json
    from mnist_bench.tracking import uri

    uri.check(tracking_uri, experiment)
    wish = build.ReportOptions(
        tracking_uri=tracking_uri,
        experiment=experiment,
        query=query,
        scenarios=scenarios,
        machine=machine,
        since_ms=_begin_ms(since),
        until_ms=_begin_ms(until, days=1),
        formats=formats,
        folder=out,
        images=folder,
        image=image,
        command=parameter_types.shown_command(sys.argv[1:]),
    )
    book, paths = build.write_report(wish)
    people = console.console(stderr=as_json)
    build.print_report(book, paths, people)
    if as_json:
        click.echo(json.to_json(book.document), nl=False)
    return 0


def _begin_ms(day: dt.datetime | None, days: int = 0) -> int | None:
    """Unix time in milliseconds at which a day begins here, or one so many days later."""
    if day is None:
        return None
    try:
        begin = (day + dt.timedelta(days=days)).astimezone()
        return max(0, int(begin.timestamp() * 1_000))
    except (OverflowError, ValueError, OSError):
        raise click.UsageError(f"{day:%Y-%m-%d} is no day that can be asked for") from None
