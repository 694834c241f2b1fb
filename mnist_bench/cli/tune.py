"""`mnist-bench tune`: its options."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from mnist_bench.cli import parameter_types
from mnist_bench.cli.console import make_console, print_result, warn
from mnist_bench.cli.options import (
    GroupedCommand,
    cluster_option,
    data_option,
    dataset_option,
    experiment_option,
    insecure_cluster_option,
    name_option,
    no_exclusive_option,
    storage_option,
    tag_option,
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

if TYPE_CHECKING:
    from rich.console import Console

    from mnist_bench.tracking.mlflow_store import MlflowStore
    from mnist_bench.tracking.spool import Address
    from mnist_bench.tuning.options import StudySetup, TuneOptions
    from mnist_bench.tuning.search import Trainer
    from mnist_bench.tuning.tune import ClusterTraining

# Modules that import heavy libraries are imported inside the command: `--help` must be fast.

_TUNE_EXAMPLES = """\b
Examples:
  mnist-bench tune --data DIR               30 trials; the winner is confirmed on 5 fresh seeds
  mnist-bench tune --space ./mine.toml --trials 100 --finalists 5
  mnist-bench tune --objective time-to-accuracy --timeout 2h
  mnist-bench tune --objective pareto --max-memory 900M
  mnist-bench tune --study mine --resume    continue a study
  mnist-bench tune --cluster tls://HOST:8786
                                            one trial at a time on each joined machine
"""


_GROUPS = {
    "What to search": ("space", "objective", "max_memory_bytes", "max_seconds"),
    "How": (
        *("trials", "timeout_seconds", "workers", "finalists", "confirm", "no_exclusive"),
        *("cluster", "insecure_cluster", "storage", "study", "resume"),
    ),
    "Data": ("data_folder", "dataset"),
    "Recording": ("name", "tags", "saves_model", "tracking_uri", "experiment"),
    "Output": ("as_json",),
}


@click.command(cls=GroupedCommand, groups=_GROUPS, epilog=_TUNE_EXAMPLES)
@click.option(
    "--space",
    type=parameter_types.space,
    shell_complete=parameter_types.space_names,
    metavar="NAME",
    help="Search space: a packaged one (default, accurate, sprint) or the path of a TOML file.  "
    "[default: default]",
)
@click.option(
    "--trials",
    type=parameter_types.WholeNumber(1, MAX_TRIALS),
    default=30,
    show_default=True,
    metavar="N",
    help="Trials to train, including pruned ones.",
)
@click.option(
    "--timeout",
    "timeout_seconds",
    type=parameter_types.duration_seconds,
    metavar="TIME",
    help="Start no trial after this time (90s, 30m, 2h).",
)
@click.option(
    "--objective",
    type=click.Choice(OBJECTIVES),
    help="What to optimize on the validation split: the accuracy; the train seconds to the space's "
    "target_accuracy; or the Pareto front of accuracy, train seconds and peak memory.  "
    "[default: accuracy]",
)
@click.option(
    "--max-memory",
    "max_memory_bytes",
    type=parameter_types.size_bytes,
    metavar="SIZE",
    help="Choose no trial that needs more memory than this (900M, 1.5G).",
)
@click.option(
    "--max-seconds",
    type=parameter_types.max_seconds,
    metavar="S",
    help="Choose no trial that trains for more seconds than this.",
)
@click.option(
    "--workers",
    type=parameter_types.WholeNumber(1, MAX_THREADS),
    default=1,
    show_default=True,
    metavar="N",
    help="Trials to train at the same time, each on its share of the cores.",
)
@click.option(
    "--finalists",
    type=parameter_types.WholeNumber(0, MAX_FINALISTS),
    default=0,
    show_default=True,
    metavar="N",
    help=f"Train the N best trials on {REPEATS} further seeds each and choose the best by "
    "validation: the best of many single trials is partly luck.",
)
@click.option(
    "--confirm",
    type=parameter_types.WholeNumber(0, MAX_CONFIRMATIONS),
    callback=parameter_types.confirmations,
    default=5,
    show_default=True,
    metavar="N",
    help="Fresh seeds on which to compare the winner with the paper's configuration on the test "
    "split; at least 2, or 0 to evaluate no test image.",
)
@storage_option
@click.option("--study", metavar="NAME", help="Name of the study.  [default: space and objective]")
@click.option(
    "--resume",
    is_flag=True,
    help="Continue an existing study, with its search space and objective.",
)
@data_option
@dataset_option
@tracking_uri_option
@experiment_option
@name_option
@tag_option
@click.option(
    "--save-model",
    "saves_model",
    is_flag=True,
    help="Register the confirmed winner's network as an MLflow model, mnist-bench.",
)
@no_exclusive_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@cluster_option
@insecure_cluster_option
def tune(
    *,
    no_exclusive: bool,
    as_json: bool,
    cluster: str | None,
    insecure_cluster: bool,
    name: str | None,
    tags: tuple[tuple[str, str], ...],
    **others: Any,
) -> int:
    """Search hyperparameters with Optuna, and confirm the winner on fresh seeds.

    Trials use the training and validation images only. The winner is chosen first, and then
    compared with the paper's configuration on the test images, on fresh seeds.
    """
    from mnist_bench.cluster.connect import check_where, local_workers
    from mnist_bench.core import locks
    from mnist_bench.reporting import study_files
    from mnist_bench.runner import environment
    from mnist_bench.runner.options import check_folders
    from mnist_bench.tracking import uri
    from mnist_bench.tuning.options import TuneOptions, check_options
    from mnist_bench.tuning.tune import tune as search_and_confirm

    console = make_console(stderr=True)
    stdout = make_console(stderr=as_json)  # with --json, standard output has the document only
    options = TuneOptions(
        command=parameter_types.shown_command(sys.argv[1:]),
        exclusive=not no_exclusive,
        tags=parameter_types.own_tags(name, tags),
        **others,
    )
    where = _cluster(cluster, options.workers)
    if where:
        check_where(where, insecure=insecure_cluster)
    elif insecure_cluster:
        raise click.UsageError("--insecure-cluster works only with --cluster")
    old_store = uri.note_of_file_store(options.tracking_uri)
    for line in filter(None, (*environment.of_process().lines, old_store)):
        warn(line)
    check_folders()
    setup = check_options(options, console)
    with contextlib.ExitStack() as stack:
        if where is None or local_workers(where):  # else it trains on other machines only
            exclusive = stack.enter_context(
                locks.benchmark_lock(exclusive=options.exclusive, warn=warn)
            )
            options = dataclasses.replace(options, exclusive=exclusive)
        training = None
        if where:
            training = stack.enter_context(
                _cluster_training(where, setup, options, stdout, insecure=insecure_cluster)
            )
        result = search_and_confirm(
            setup, options, console, stdout, study_files.write, cluster=training
        )
    document_json = result.document_json if as_json else None
    return print_result(document_json, result.error, result.exit_status)


def _cluster(cluster: str | None, workers: int) -> str | None:
    """The cluster with its number of workers.

    Raises:
        UsageError: Both options give one.
    """
    if cluster == "local" and workers > 1:
        return f"local:{workers}"
    if cluster is not None and workers > 1:
        raise click.UsageError(
            f"--workers {workers} can't be used with --cluster {cluster}, whose machines train one "
            "trial each"
        )
    return cluster


@contextlib.contextmanager
def _cluster_training(
    where: str, setup: StudySetup, options: TuneOptions, stdout: Console, *, insecure: bool
) -> Iterator[ClusterTraining]:
    """Connect to a cluster and wait for its machines."""
    from mnist_bench.cluster.connect import local_workers, open_cluster
    from mnist_bench.cluster.leader import Leader, train_one
    from mnist_bench.tuning.tune import ClusterTraining

    def log(line: str) -> None:
        stdout.print(line, soft_wrap=True, markup=False, highlight=False)

    with open_cluster(
        where, [setup.source], insecure=insecure, exclusive=options.exclusive
    ) as cluster:

        def trainer(address: Address, store: MlflowStore) -> Trainer:
            leader = Leader(cluster, address, lambda: store)
            return lambda plan, watcher, prune, stop: train_one(
                leader, plan, watcher, prune=prune, stop=stop
            )

        machines = cluster.wait_for_workers(setup.source, log)
        yield ClusterTraining(trainer, machines, is_here=local_workers(where) is not None)
