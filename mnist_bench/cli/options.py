"""Options that several commands share, and the grouping of options in `--help`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import click

from mnist_bench.cli import parameter_types
from mnist_bench.core.limits import DATASET_CHOICES
from mnist_bench.tracking import uri


class GroupedCommand(click.Command):
    """A command whose `--help` shows its options in groups.

    Args:
        groups: Titles and the parameter names of their options, in the order of `--help`. Options
            that are in no group follow under the last title.
    """

    def __init__(self, *args: Any, groups: Mapping[str, tuple[str, ...]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.groups = groups

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each group of options under its title."""
        records: dict[str | None, tuple[str, str]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):
                records[parameter.name] = record
        titles = list(self.groups)
        for title, names in self.groups.items():
            rows = [records.pop(name) for name in names]
            rows += records.values() if title == titles[-1] else ()
            with formatter.section(title):
                formatter.write_dl(rows)


tracking_uri_option = click.option(
    "--tracking-uri",
    envvar="MLFLOW_TRACKING_URI",
    default=uri.DEFAULT_TRACKING_URI,
    show_default=True,
    callback=parameter_types.tracking_uri,
    metavar="URI",
    help="MLflow tracking URI of the recorded runs.  [env: MLFLOW_TRACKING_URI]",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of a table."
)
data_option = click.option(
    "--data",
    "data_folder",
    envvar="MNIST_BENCH_DATA",
    type=parameter_types.folder,
    metavar="DIR",
    help="Folder with the four IDX files of MNIST.  [env: MNIST_BENCH_DATA]",
)
dataset_option = click.option(
    "--dataset",
    type=click.Choice(DATASET_CHOICES),
    help="Data set; mnist: the full MNIST; mnist-5k: the bundled sample; auto: the full MNIST if "
    "available, else the sample.  [default: the scenario's]",
)
experiment_option = click.option(
    "--experiment",
    envvar="MLFLOW_EXPERIMENT_NAME",
    default=uri.DEFAULT_EXPERIMENT,
    show_default=True,
    callback=lambda _context, _parameter, name: name.strip(),
    metavar="NAME",
    help="Name of the MLflow experiment.  [env: MLFLOW_EXPERIMENT_NAME]",
)
name_option = click.option(
    "--name",
    type=parameter_types.run_name,
    metavar="TEXT",
    help="Name of the runs, recorded as the tag `name`.",
)
_tag_option = functools.partial(
    click.option, "--tag", "tags", multiple=True, type=parameter_types.tag, metavar="KEY=VALUE"
)
tag_option = _tag_option(
    help="Tag of the runs in MLflow, for `runs`, `report --tag` and `compare --by`; repeatable.",
)
tag_filter_option = _tag_option(help="Take only runs with this tag; repeatable.")
no_exclusive_option = click.option(
    "--no-exclusive",
    is_flag=True,
    help="Train even while another of your benchmarks runs; every run is marked suspect.",
)
cluster_option = click.option(
    "--cluster",
    metavar="ADDRESS|local[:N]",
    help="Train on the machines that have joined the Dask scheduler at ADDRESS (tls://HOST:PORT); "
    "local: on this machine alone; local:N: N trainings at a time, each on its share of the cores.",
)
insecure_cluster_option = click.option(
    "--insecure-cluster",
    is_flag=True,
    help="Use a tcp:// address, in a network whose users you trust: a cluster runs what it is "
    "sent.",
)
storage_option = click.option(
    "--storage",
    type=parameter_types.storage,
    metavar="URL",
    help="Optuna database of studies.  [default: the journal mlruns/optuna.log]",
)
