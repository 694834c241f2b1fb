"""`mnist-bench export` and `import`: their options."""

from __future__ import annotations

from pathlib import Path

import click

from mnist_bench.cli import console
from mnist_bench.cli.options import experiment_option, tracking_uri_option
from mnist_bench.core.formatting import counted

_EXPORT_EXAMPLES = """\b
Examples:
  mnist-bench export mine.zip               all ended runs in one file
  mnist-bench export mine.zip --runs "params.scenario = 'table-1'"
"""
_IMPORT_EXAMPLES = """\b
Examples:
  mnist-bench import theirs.zip             add another machine's runs to yours
  mnist-bench report                        then rank the machines
"""


@click.command("export", epilog=_EXPORT_EXAMPLES)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--runs",
    "query",
    default="",
    metavar="QUERY",
    help="Export only the runs that this MLflow filter matches.",
)
@tracking_uri_option
@experiment_option
def export(*, path: Path, query: str, tracking_uri: str, experiment: str) -> int:
    """Write recorded runs to a ZIP file that `import` and `compare` read.

    The file contains metrics, curves and a description of the hardware, but no host name, user
    name, path, log or note. Trials of studies are not exported.
    """
    from mnist_bench.cli import bundle_io
    from mnist_bench.tracking import uri

    uri.check_uri(tracking_uri, experiment)
    exported = bundle_io.export(tracking_uri, experiment, query, path, console.warn)
    runs = counted(exported.runs, "run")
    left_out = f"; {exported.left_out} unfinished or of studies left out"
    click.echo(
        f"Written: {exported.path.as_posix()} ({runs}{left_out if exported.left_out else ''})"
    )
    number, location = exported.out_of_reach
    if number:
        left = f"{counted(number, 'run')} left out"
        console.warn(f"{left}: their files are out of reach, at {location}")
    for run_id, reason in exported.refused.items():
        console.warn(f"run {run_id} left out, `import` would refuse it: {reason}")
    return 0


@click.command("import", epilog=_IMPORT_EXAMPLES)
@click.argument(
    "path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, exists=True)
)
@tracking_uri_option
@experiment_option
def import_(*, path: Path, tracking_uri: str, experiment: str) -> int:
    """Import the runs of an exported file; runs imported before are skipped.

    The file is checked completely before anything is imported, and nothing in it is executed.
    """
    from mnist_bench.cli import bundle_io
    from mnist_bench.tracking import recovery, uri

    uri.check_uri(tracking_uri, experiment)
    new, known = bundle_io.import_(
        path, lambda: recovery.open_store(tracking_uri, experiment, console.warn), click.echo
    )
    click.echo(f"{counted(new, 'run')} imported, {known:,} imported before")
    return 0
