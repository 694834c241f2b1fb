"""`mnist-bench join`: its options."""

from __future__ import annotations

from pathlib import Path

import click

from mnist_bench.cli.console import make_console, warn
from mnist_bench.cli.options import data_option, insecure_cluster_option, no_exclusive_option
from mnist_bench.core.escaping import one_line

# Modules that import heavy libraries are imported inside the command: `--help` must be fast.

_JOIN_EXAMPLES = """\b
Examples:
  mnist-bench join tls://bench.example.org:8786 --data DIR
  mnist-bench join tcp://127.0.0.1:8786     a scheduler on this machine
"""


@click.command(epilog=_JOIN_EXAMPLES)
@click.argument("address")
@data_option
@insecure_cluster_option
@no_exclusive_option
def join(
    *, address: str, data_folder: Path | None, insecure_cluster: bool, no_exclusive: bool
) -> int:
    """Train for the cluster at ADDRESS, one training at a time, until Ctrl-C.

    ADDRESS is where `dask scheduler` listens. `mnist-bench run` and `tune` with `--cluster ADDRESS`
    give the work, and they alone record it. If a machine disappears, another one takes over its
    training.
    """
    from mnist_bench.cluster.connect import check_address, require_dask
    from mnist_bench.core import locks

    check_address(address, insecure=insecure_cluster)
    require_dask()
    from mnist_bench.cluster.join import join as join_cluster

    stdout = make_console()

    def log(line: str) -> None:
        # The lines contain names from other machines, so control characters are escaped.
        stdout.print(one_line(line), soft_wrap=True, markup=False, highlight=False)

    with locks.benchmark_lock(exclusive=not no_exclusive, warn=warn) as exclusive:
        status = join_cluster(
            address,
            data_folder,
            log,
            insecure=insecure_cluster,
            exclusive=exclusive,
            show_progress=make_console(stderr=True).is_terminal,
        )
    warn("left the cluster")
    return status
