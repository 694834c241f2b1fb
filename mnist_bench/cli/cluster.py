"""`mnist-bench join`: its options."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from mnist_bench.cli.console import make_console, report_error, warn
from mnist_bench.cli.options import (
    data_option,
    no_exclusive_option,
    storage_option,
    tracking_uri_option,
)
from mnist_bench.core.escaping import one_line

# Modules that import heavy libraries are imported inside the command: `--help` must be fast.

_JOIN_EXAMPLES = """\b
Examples:
  mnist-bench join --storage postgresql://bench@board/optuna
                                            work on everything shared there
  mnist-bench join --study space-accuracy   one plan or study; uses MNIST_BENCH_STORAGE
"""


@click.command(epilog=_JOIN_EXAMPLES)
@storage_option("Optuna database with the shared plans and studies.  [env: MNIST_BENCH_STORAGE]")
@click.option(
    "--study",
    metavar="NAME",
    help="Join only this plan or study.  [default: every unfinished one, oldest first]",
)
@data_option
@tracking_uri_option
@no_exclusive_option
def join(
    *,
    storage: str | None,
    study: str | None,
    data_folder: Path | None,
    tracking_uri: str,
    no_exclusive: bool,
) -> int:
    """Run jobs that other machines share until none is left.

    `mnist-bench run --storage URL` shares a plan, `mnist-bench tune --storage URL` a study. Each
    machine takes one training at a time, and all machines record in the same MLflow store. If a
    machine disappears, another one takes over its training.
    """
    from mnist_bench.cluster.join import JoinOptions, run_shared, unfinished
    from mnist_bench.core import locks
    from mnist_bench.measurement.machine import machine_id
    from mnist_bench.runner.options import check_folders
    from mnist_bench.tracking.recorder import WarnOnce

    if storage is None:
        raise click.UsageError("give --storage, or set MNIST_BENCH_STORAGE")
    console, stdout = make_console(stderr=True), make_console()
    options = JoinOptions(storage, study, data_folder, tracking_uri, exclusive=not no_exclusive)
    check_folders()

    def log(line: str) -> None:
        # The lines contain names from other machines, so control characters are escaped.
        stdout.print(one_line(line), soft_wrap=True, markup=False, highlight=False)

    warn_once = WarnOnce(log)
    if not unfinished(options, warn_once):
        stdout.print("nothing is left to do there")
        return 0
    with locks.benchmark_lock(machine_id(), exclusive=options.exclusive, warn=warn) as exclusive:
        options = dataclasses.replace(options, exclusive=exclusive)
        outcome = run_shared(options, console, log, warn_once)
    return report_error(outcome.error, outcome.exit_status)
