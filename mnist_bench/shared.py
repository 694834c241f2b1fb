"""Options that several commands have."""

from __future__ import annotations

import click

from mnist_bench import options, tracking
from mnist_bench.limits import DATASET_CHOICES

tracking_uri = click.option(
    "--tracking-uri",
    envvar="MLFLOW_TRACKING_URI",
    default=tracking.DEFAULT_TRACKING_URI,
    show_default=True,
    callback=options.tracking_uri,
    metavar="URI",
    help="Where MLflow records runs.  [env: MLFLOW_TRACKING_URI]",
)


data = click.option(
    "--data",
    "folder",
    envvar="MNIST_BENCH_DATA",
    callback=options.folder,
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
    default=tracking.DEFAULT_EXPERIMENT,
    show_default=True,
    metavar="NAME",
    help="MLflow's experiment.  [env: MLFLOW_EXPERIMENT_NAME]",
)
beside = click.option(
    "--no-exclusive",
    "beside",
    is_flag=True,
    help="Train beside another benchmark of yours; every run is marked suspect.",
)
