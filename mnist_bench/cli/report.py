"""`mnist-bench report`: its options."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Any

import click

from mnist_bench.cli import parameter_types
from mnist_bench.cli.console import make_console, warn
from mnist_bench.cli.options import (
    data_option,
    experiment_option,
    tag_filter_option,
    tracking_uri_option,
)
from mnist_bench.core.limits import REPORT_FORMATS

_EXAMPLES = """\b
Examples:
  mnist-bench report                        all runs, with times of the newest run's machine
  mnist-bench report --format html          only the HTML page
  mnist-bench report --scenario table-1 --since 2026-01-31
  mnist-bench report --image 0 --data DIR   with Figures 1 to 4 for the first test image
  mnist-bench report --card                 also a picture of the result, to post
  mnist-bench report --runs "params.threads = '2' and metrics.final_test_accuracy > 0.99"
"""


@click.command(epilog=_EXAMPLES)
@click.option(
    "--runs",
    "query",
    default="",
    metavar="QUERY",
    help="Report only the runs that this MLflow filter matches.",
)
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    metavar="NAME",
    help="Report only this scenario; repeatable.",
)
@tag_filter_option
@click.option(
    "--machine",
    metavar="ID",
    help="Report only the machine whose id starts with this.  [default: that of the newest run, "
    "with accuracies of all machines]",
)
@click.option(
    "--since", type=parameter_types.day, metavar="DAY", help="Report only runs from this day on."
)
@click.option(
    "--until", type=parameter_types.day, metavar="DAY", help="Report only runs up to this day."
)
@click.option(
    "--format",
    "formats",
    default=",".join(REPORT_FORMATS),
    show_default=True,
    type=parameter_types.formats,
    metavar="F[,F...]",
    help="Formats to write.",
)
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default="reports",
    show_default=True,
    metavar="DIR",
    help="Folder for the files.",
)
@click.option(
    "--image",
    type=parameter_types.WholeNumber(min=0),
    metavar="N",
    help="Show test image N in the layers of a network, as in the paper's Figures 1 to 4; trains a "
    "small network for some seconds.  [default: the image whose figures were made last]",
)
@click.option(
    "--card",
    is_flag=True,
    help="Also write card.svg and card.png: a picture of Table I's result here, else the newest "
    "scenario's, to post.",
)
@data_option
@tracking_uri_option
@experiment_option
@click.option("--json", "as_json", is_flag=True, help="Also print the report as one JSON document.")
def report(
    *,
    since: dt.date | None,
    until: dt.date | None,
    data_folder: Path | None,
    as_json: bool,
    **others: Any,
) -> int:
    """Make a report of recorded runs as HTML, Markdown, CSV and JSON.

    The report has a section per configuration of a scenario. Times and memory are of one machine;
    accuracies are pooled over all machines that trained in the same way. A table compares their
    speeds.
    """
    from mnist_bench.core import files
    from mnist_bench.reporting import build, json
    from mnist_bench.tracking import uri

    if since and until and since > until:
        raise click.UsageError(f"--since {since} is after --until {until}")

    options = build.ReportOptions(
        since_ms=_day_start_ms(since),
        until_ms=_day_start_ms(until, days=1),
        images=data_folder,
        command=parameter_types.shown_command(sys.argv[1:]),
        **others,
    )
    uri.check_uri(options.tracking_uri, options.experiment)
    files.check_writable(options.folder, "choose another --out")
    written, paths = build.write_report(options, warn)
    build.print_report(written, paths, make_console(stderr=as_json))
    if as_json:
        click.echo(json.to_json(written.document), nl=False)
    return 0


def _day_start_ms(day: dt.date | None, days: int = 0) -> int | None:
    """Local start of a day, or of the day `days` later, as Unix time in milliseconds."""
    if day is None:
        return None
    try:
        midnight = dt.datetime.combine(day + dt.timedelta(days=days), dt.time())
        start = midnight.astimezone()
        return max(0, int(start.timestamp() * 1_000))
    except (OverflowError, ValueError, OSError):
        raise click.UsageError(f"{day} is outside the supported range of days") from None
