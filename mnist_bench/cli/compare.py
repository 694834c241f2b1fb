"""`mnist-bench compare`: its options."""

from __future__ import annotations

import click

from mnist_bench.cli.console import make_console
from mnist_bench.cli.options import (
    experiment_option,
    json_option,
    tag_filter_option,
    tracking_uri_option,
)

_EXAMPLES = """\b
Examples:
  mnist-bench compare table-1 sprint        two scenarios; the first is the base
  mnist-bench compare --by machine          every machine with the first one
  mnist-bench compare --by learning_rate table-1
  mnist-bench compare mine.zip theirs.zip   two bundles, without importing them
"""


@click.command(epilog=_EXAMPLES)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--by",
    metavar="NAME",
    help="Group the runs by this and compare the groups: machine, scenario, precision, threads, "
    "device, dataset, model, tensorflow, mnist-bench, a hyperparameter or a tag.",
)
@tag_filter_option
@tracking_uri_option
@experiment_option
@json_option
def compare(
    *,
    names: tuple[str, ...],
    by: str | None,
    tags: tuple[tuple[str, str], ...],
    tracking_uri: str,
    experiment: str,
    as_json: bool,
) -> int:
    """Compare recorded runs: ratios and differences with 95% intervals.

    NAME is a scenario, the beginning of a run or machine id, or a bundle file. The first one is the
    base of the comparison. Runs that can't be compared are reported.
    """
    from mnist_bench.cli import compare_table
    from mnist_bench.tracking import uri

    uri.check_uri(tracking_uri, experiment)
    comparison = compare_table.compare_runs(tracking_uri, experiment, names, by, tags)
    if as_json:
        click.echo(comparison.model_dump_json(indent=2))
    else:
        compare_table.show(comparison, make_console())
    return 0
