"""`mnist-bench tune`: its options, and what goes to which stream; no work of its own."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import click

from mnist_bench.cli import console as terminal
from mnist_bench.cli import options as shared
from mnist_bench.cli import parameter_types
from mnist_bench.core.limits import (
    MAX_CONFIRMATIONS,
    MAX_FINALISTS,
    MAX_THREADS,
    MAX_TRIALS,
    OBJECTIVES,
    REPEATS,
)

# Rooms that import a library of weight are imported inside, so that `--help` answers at once.

_TUNE_EXAMPLES = """\b
Examples:
  mnist-bench tune --data DIR               30 trials, the winner proven on 5 fresh seeds
  mnist-bench tune --space ./mine.toml --trials 100 --finalists 5
  mnist-bench tune --objective time-to-accuracy --timeout 2h
  mnist-bench tune --objective pareto --max-memory 900M
  mnist-bench tune --study mine --resume    go on with a study
"""


@click.command(epilog=_TUNE_EXAMPLES)
@click.option(
    "--space",
    callback=parameter_types.file,
    metavar="FILE",
    help="What may be tried, as TOML.  [default: a packaged space]",
)
@click.option(
    "--trials",
    type=click.IntRange(1, MAX_TRIALS),
    default=30,
    show_default=True,
    metavar="N",
    help="Trials, those that were pruned included.",
)
@click.option(
    "--timeout",
    "timeout_seconds",
    callback=parameter_types.budget_seconds,
    metavar="TIME",
    help="No further trial after 90s, 30m or 2h.",
)
@click.option(
    "--objective",
    type=click.Choice(OBJECTIVES),
    default="accuracy",
    show_default=True,
    help="On validation: accuracy; train seconds to the space's target_accuracy; or the "
    "trade-off of accuracy, train seconds and peak memory.",
)
@click.option(
    "--max-memory",
    "max_memory_bytes",
    callback=parameter_types.size_bytes,
    metavar="SIZE",
    help="No answer takes more memory than 900M or 1.5G.",
)
@click.option(
    "--max-seconds",
    type=float,
    callback=parameter_types.max_seconds,
    metavar="S",
    help="No answer trains for longer.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, MAX_THREADS),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that train trials at the same time, each on its share of the cores.",
)
@click.option(
    "--finalists",
    type=click.IntRange(0, MAX_FINALISTS),
    default=0,
    show_default=True,
    metavar="N",
    help=f"Train the N best trials on {REPEATS} further seeds each, still on validation alone, "
    "and take the one that is best there: the best of many single trials is the luckiest too.",
)
@click.option(
    "--confirm",
    type=click.IntRange(0, MAX_CONFIRMATIONS),
    callback=parameter_types.confirmations,
    default=5,
    show_default=True,
    metavar="N",
    help="Fresh seeds on which the winner and the paper's configuration are compared on the test "
    "split: at least 2, or 0 to look at no test image.",
)
@shared.storage(
    "Where Optuna keeps the study.  [env: MNIST_BENCH_STORAGE; default: mlruns/optuna.log]"
)
@click.option("--study", metavar="NAME", help="Its name.  [default: of space and objective]")
@click.option("--resume", is_flag=True, help="Go on with a study that is there.")
@shared.data
@shared.dataset
@shared.tracking_uri
@shared.experiment
@shared.beside
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def tune(*, beside: bool, as_json: bool, **wishes: Any) -> int:
    """Let Optuna choose the hyperparameters, and prove the winner.

    Trials see the training and validation images alone. What is best there is settled first and
    then compared with the paper's configuration on the test images, from fresh seeds.
    """
    from mnist_bench.core import locks
    from mnist_bench.measurement.machine import machine_id
    from mnist_bench.reporting import study_files
    from mnist_bench.runner import options as wishing
    from mnist_bench.tuning import options as tuning_wish
    from mnist_bench.tuning import search

    console, people = terminal.console(stderr=True), terminal.console(stderr=as_json)
    wish = tuning_wish.TuneOptions(
        command=parameter_types.shown_command(sys.argv[1:]), exclusive=not beside, **wishes
    )
    wishing.check_folders()
    prepared = tuning_wish.check_options(wish, console)
    with locks.benchmark_lock(machine_id(), exclusive=wish.exclusive, say=terminal.warn) as kept:
        wish = dataclasses.replace(wish, exclusive=kept)
        done = search.tune(prepared, wish, console, people, study_files.write)
    if as_json:
        click.echo(done.document_json, nl=False)
    return terminal.report_error(done.error, done.exit_status)
