"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mnist_bench.cli import parameter_types
from mnist_bench.core.limits import DATASET_CHOICES
from mnist_bench.tracking import uri

_Command = TypeVar("_Command", bound=Callable[..., Any])

tracking_uri = click.option(
    "--tracking-uri",
    envvar="MLFLOW_TRACKING_URI",
    default=uri.DEFAULT_TRACKING_URI,
    show_default=True,
    callback=parameter_types.tracking_uri,
    metavar="URI",
    help="Where MLflow records runs.  [env: MLFLOW_TRACKING_URI]",
)


data = click.option(
    "--data",
    "folder",
    envvar="MNIST_BENCH_DATA",
    callback=parameter_types.folder,
    metavar="DIR",
    help="Folder with MNIST's four IDX files.  [env: MNIST_BENCH_DATA]",
)
dataset = click.option(
    "--dataset",
    type=click.Choice(DATASET_CHOICES),
    help="mnist insists on the real one, mnist-5k is the embedded sample, auto takes "
    "what can be had.  [default: the scenario's]",
)
experiment = click.option(
    "--experiment",
    envvar="MLFLOW_EXPERIMENT_NAME",
    default=uri.DEFAULT_EXPERIMENT,
    show_default=True,
    metavar="NAME",
    help="MLflow's experiment.  [env: MLFLOW_EXPERIMENT_NAME]",
)


def storage(help_: str) -> Callable[[_Command], _Command]:
    """Where Optuna keeps what a command is about.

    Args:
        help_: What that is, with its default.
    """
    return click.option(
        "--storage",
        envvar="MNIST_BENCH_STORAGE",
        callback=parameter_types.storage,
        metavar="URL",
        help=help_,
    )


beside = click.option(
    "--no-exclusive",
    "beside",
    is_flag=True,
    help="Train beside another benchmark of yours; every run is marked suspect.",
)
