"""`mnist-bench compare`: its options, and what goes to which stream; no work of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mnist_bench.cli import console, options
from mnist_bench.core.limits import COMPARED_BY

if TYPE_CHECKING:
    from mnist_bench.cli.compare_table import Key

_EXAMPLES = """\b
Examples:
  mnist-bench compare table-1 sprint        two scenarios, the first is the base
  mnist-bench compare --by machine          every machine against the first one
  mnist-bench compare --by precision table-1
  mnist-bench compare mine.zip theirs.zip   two bundles, nothing of them imported
"""


@click.command(epilog=_EXAMPLES)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--by", type=click.Choice(COMPARED_BY), help="Hold the runs that differ in this together."
)
@options.tracking_uri
@options.experiment
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
def compare(
    *,
    names: tuple[str, ...],
    by: Key | None,
    tracking_uri: str,
    experiment: str,
    as_json: bool,
) -> int:
    """Hold recorded runs against one another: ratios with their intervals.

    NAME is a scenario, a run's id, the beginning of a machine's id or a bundle file; the first is
    what the others are held against. What does not compare is refused or named.
    """
    from mnist_bench.cli import compare_table
    from mnist_bench.tracking import uri

    uri.check(tracking_uri, experiment)
    comparison = compare_table.compare_runs(
        compare_table.CompareOptions(tracking_uri, experiment, names, by)
    )
    if as_json:
        click.echo(comparison.model_dump_json(indent=2))
    else:
        compare_table.show(comparison, console.console())
    return 0
