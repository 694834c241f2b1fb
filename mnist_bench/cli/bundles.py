"""`mnist-bench export` and `import`: their options; no work of their own."""

from __future__ import annotations

from pathlib import Path

import click

from mnist_bench.cli import console, options

_EXPORT_EXAMPLES = """\b
Examples:
  mnist-bench export mine.zip               every finished run, in one file to send
  mnist-bench export mine.zip --runs "params.scenario = 'table-1'"
"""
_IMPORT_EXAMPLES = """\b
Examples:
  mnist-bench import theirs.zip             beside your own runs; again: nothing twice
  mnist-bench report                        then ranks the machines
"""


@click.command("export", epilog=_EXPORT_EXAMPLES)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--runs", "query", default="", metavar="QUERY", help="Only runs that MLflow's filter finds."
)
@options.tracking_uri
@options.experiment
def export(*, path: Path, query: str, tracking_uri: str, experiment: str) -> int:
    """Write recorded runs as one file to send: figures, curves and the machine's hardware.

    No host name, user name, path, log or note is in it; trials of studies are left out.
    """
    from mnist_bench.cli import bundle_io
    from mnist_bench.tracking import uri

    uri.check(tracking_uri, experiment)
    done = bundle_io.export(tracking_uri, experiment, query, path)
    left = f"; {done.left_out} left out" if done.left_out else ""
    click.echo(f"Written: {done.path.as_posix()} ({done.runs} runs{left})")
    for run_id, why in done.refused.items():
        console.warn(f"run {run_id} left out, `import` would refuse it: {why}")
    return 0


@click.command("import", epilog=_IMPORT_EXAMPLES)
@click.argument(
    "path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, exists=True)
)
@options.tracking_uri
@options.experiment
def import_(*, path: Path, tracking_uri: str, experiment: str) -> int:
    """Take the runs of such a file into your database, each exactly once.

    The file is wholly checked first, and nothing in it is run.
    """
    from mnist_bench.cli import bundle_io
    from mnist_bench.measurement.machine import machine_id
    from mnist_bench.tracking import recovery, uri

    uri.check(tracking_uri, experiment)
    done = bundle_io.import_(
        path,
        lambda: recovery.opened_store(tracking_uri, experiment, machine_id(), console.warn),
        click.echo,
    )
    click.echo(f"{done.new} runs are new, {done.known} were there already")
    return 0
