"""`mnist-bench join`: its options, and what goes to which stream; no work of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from mnist_bench.cli import console as terminal
from mnist_bench.cli import options
from mnist_bench.core.escaping import one_line

# Rooms that import a library of weight are imported inside, so that `--help` answers at once.

_JOIN_EXAMPLES = """\b
Examples:
  mnist-bench join --storage postgresql://bench@board/optuna
                                            work for all that is shared there
  mnist-bench join --study space-accuracy   for one plan or study, MNIST_BENCH_STORAGE being set
"""


@click.command(epilog=_JOIN_EXAMPLES)
@options.storage(
    "Where plans and studies are shared: a database of Optuna's.  [env: MNIST_BENCH_STORAGE]"
)
@click.option(
    "--study",
    metavar="NAME",
    help="Of one plan or study.  [default: every unfinished one, the oldest first]",
)
@options.data
@options.tracking_uri
@options.beside
def join(
    *,
    storage: str | None,
    study: str | None,
    folder: Path | None,
    tracking_uri: str,
    beside: bool,
) -> int:
    """Work for plans and studies that another machine has shared, until nothing is left.

    `mnist-bench run --storage URL` shares a plan, `mnist-bench tune --storage URL` a study. Each
    machine takes a training at a time, and all record on the same board: MLFLOW_TRACKING_URI. One
    that vanishes leaves its training to others.
    """
    from mnist_bench.cluster import join as joining
    from mnist_bench.core import locks
    from mnist_bench.measurement.machine import machine_id
    from mnist_bench.runner import options
    from mnist_bench.tracking.recorder import WarnOnce

    if storage is None:
        raise click.UsageError("--storage or MNIST_BENCH_STORAGE must say what is joined")
    console, people = terminal.console(stderr=True), terminal.console()
    wish = joining.JoinOptions(storage, study, folder, tracking_uri, exclusive=not beside)
    options.check_folders()

    def say(line: str) -> None:
        # What other machines call their plans must not steer this terminal.
        people.print(one_line(line), soft_wrap=True, markup=False, highlight=False)

    once = WarnOnce(say)
    if not joining.unfinished(wish, once):
        people.print("nothing is left to do there")
        return 0
    with locks.benchmark_lock(machine_id(), exclusive=wish.exclusive, say=terminal.warn) as kept:
        wish = dataclasses.replace(wish, exclusive=kept)
        done = joining.run_shared(wish, console, say, once)
    return terminal.report_error(done.error, done.exit_status)
