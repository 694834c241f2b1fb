"""`mnist-bench tune`: its options."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import click

from mnist_bench.cli import parameter_types
from mnist_bench.cli.console import make_console, report_error, warn
from mnist_bench.cli.options import (
    GroupedCommand,
    data_option,
    dataset_option,
    experiment_option,
    no_exclusive_option,
    storage_option,
    tracking_uri_option,
)
from mnist_bench.core.limits import (
    MAX_CONFIRMATIONS,
    MAX_FINALISTS,
    MAX_THREADS,
    MAX_TRIALS,
    OBJECTIVES,
    REPEATS,
)

# Modules that import heavy libraries are imported inside the command: `--help` must be fast.

_TUNE_EXAMPLES = """\b
Examples:
  mnist-bench tune --data DIR               30 trials; the winner is confirmed on 5 fresh seeds
  mnist-bench tune --space ./mine.toml --trials 100 --finalists 5
  mnist-bench tune --objective time-to-accuracy --timeout 2h
  mnist-bench tune --objective pareto --max-memory 900M
  mnist-bench tune --study mine --resume    continue a study
"""


_GROUPS = {
    "What to search": ("space", "objective", "max_memory_bytes", "max_seconds"),
    "How": (
        *("trials", "timeout_seconds", "workers", "finalists", "confirm", "no_exclusive"),
        *("storage", "study", "resume"),
    ),
    "Data": ("data_folder", "dataset"),
    "Recording": ("tracking_uri", "experiment"),
    "Output": ("as_json",),
}


@click.command(cls=GroupedCommand, groups=_GROUPS, epilog=_TUNE_EXAMPLES)
@click.option(
    "--space",
    callback=parameter_types.file,
    metavar="FILE",
    help="Search space as TOML.  [default: a packaged space]",
)
@click.option(
    "--trials",
    type=click.IntRange(1, MAX_TRIALS),
    default=30,
    show_default=True,
    metavar="N",
    help="Trials to train, including pruned ones.",
)
@click.option(
    "--timeout",
    "timeout_seconds",
    callback=parameter_types.budget_seconds,
    metavar="TIME",
    help="Start no trial after this time (90s, 30m, 2h).",
)
@click.option(
    "--objective",
    type=click.Choice(OBJECTIVES),
    default="accuracy",
    show_default=True,
    help="What to optimize on the validation split: the accuracy; the train seconds to the space's "
    "target_accuracy; or the Pareto front of accuracy, train seconds and peak memory.",
)
@click.option(
    "--max-memory",
    "max_memory_bytes",
    callback=parameter_types.size_bytes,
    metavar="SIZE",
    help="Choose no trial that needs more memory than this (900M, 1.5G).",
)
@click.option(
    "--max-seconds",
    type=float,
    callback=parameter_types.max_seconds,
    metavar="S",
    help="Choose no trial that trains for more seconds than this.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, MAX_THREADS),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that train trials in parallel, each on its share of the cores.",
)
@click.option(
    "--finalists",
    type=click.IntRange(0, MAX_FINALISTS),
    default=0,
    show_default=True,
    metavar="N",
    help=f"Train the N best trials on {REPEATS} further seeds each and choose the best by "
    "validation: the best of many single trials is partly luck.",
)
@click.option(
    "--confirm",
    type=click.IntRange(0, MAX_CONFIRMATIONS),
    callback=parameter_types.confirmations,
    default=5,
    show_default=True,
    metavar="N",
    help="Fresh seeds on which to compare the winner with the paper's configuration on the test "
    "split; at least 2, or 0 to evaluate no test image.",
)
@storage_option(
    "Optuna database of the study.  [env: MNIST_BENCH_STORAGE; default: mlruns/optuna.log]"
)
@click.option("--study", metavar="NAME", help="Name of the study.  [default: space and objective]")
@click.option("--resume", is_flag=True, help="Continue an existing study.")
@data_option
@dataset_option
@tracking_uri_option
@experiment_option
@no_exclusive_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def tune(*, no_exclusive: bool, as_json: bool, **others: Any) -> int:
    """Search hyperparameters with Optuna, and confirm the winner on fresh seeds.

    Trials use the training and validation images only. The winner is chosen first, and then
    compared with the paper's configuration on the test images, on fresh seeds.
    """
    from mnist_bench.core import locks
    from mnist_bench.measurement.machine import machine_id
    from mnist_bench.reporting import study_files
    from mnist_bench.runner.options import check_folders
    from mnist_bench.tuning import search
    from mnist_bench.tuning.options import TuneOptions, check_options

    console = make_console(stderr=True)
    stdout = make_console(stderr=as_json)  # with --json, standard output has the document only
    options = TuneOptions(
        command=parameter_types.shown_command(sys.argv[1:]), exclusive=not no_exclusive, **others
    )
    check_folders()
    setup = check_options(options, console)
    with locks.benchmark_lock(machine_id(), exclusive=options.exclusive, warn=warn) as exclusive:
        options = dataclasses.replace(options, exclusive=exclusive)
        result = search.tune(setup, options, console, stdout, study_files.write)
    if as_json:
        click.echo(result.document_json, nl=False)
    return report_error(result.error, result.exit_status)
