"""The commands: options, and what goes to which stream; no work of their own."""

from __future__ import annotations

import dataclasses
import io
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from mnist_bench import options, tracking
from mnist_bench.errors import (
    EXIT_BROKE,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    BenchError,
)
from mnist_bench.interruption import Terminated, raise_on_sigterm
from mnist_bench.limits import (
    DATASET_CHOICES,
    DEVICE_CHOICES,
    MAX_CONFIRMATIONS,
    MAX_SEED,
    MAX_THREADS,
    MAX_TRIALS,
    OBJECTIVES,
    PRECISIONS,
)

if TYPE_CHECKING:
    from rich.console import Console

# Rooms that import a library of weight are imported inside the commands, so that `--help` answers
# at once.

_EXAMPLES = """\b
Examples:
  mnist-bench run                      the paper's Table I, a seed of each row
  mnist-bench run smoke                does everything work here? half a minute
  mnist-bench run --data DIR --seeds 5 five seeds, on IDX files of your own
  mnist-bench scenarios                what can be run, and what it costs here
  mnist-bench machine                  is this a good moment to measure?
  mnist-bench ui                       browse the runs in MLflow
"""


def main() -> NoReturn:
    """Run a command; every fault ends in one line and an exit status."""
    raise_on_sigterm()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A console of an old code page knows no "±"; better a "?" than a traceback.
            stream.reconfigure(errors="replace")
    try:
        status = cli.main(prog_name="mnist-bench", standalone_mode=False)
    except BenchError as error:
        status = _complain(str(error), error.exit_status)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "mnist-bench"
        status = _complain(f"{error.format_message()} (see `{command} --help`)", error.exit_code)
    except click.ClickException as error:
        status = _complain(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        status = _complain("interrupted", EXIT_INTERRUPTED)
    except Terminated:
        status = _complain("terminated", EXIT_TERMINATED)
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            sys.exit(_complain(f"the system refused: {error}", EXIT_BROKE))
        # Whoever read our output has gone; the interpreter must not complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_BROKE
    sys.exit(status)


def _complain(line: str, status: int) -> int:
    _warn(line)
    return status


def _warn(line: str) -> None:
    click.echo(f"mnist-bench: {' '.join(line.split())}", err=True)


_RUN_EXAMPLES = """\b
Examples:
  mnist-bench run                           Table I, one seed
  mnist-bench run --seeds 3 --data DIR      three seeds, on IDX files of your own
  mnist-bench run --seeds auto --budget 1h  as many as the precision asks for
  mnist-bench run --steps 1000 --json       one row, as JSON
  mnist-bench run --set learning_rate=0.003 another learning rate
  mnist-bench run ./mine.toml --dry-run     what would be done, and how long it takes
"""
_TUNE_EXAMPLES = """\b
Examples:
  mnist-bench tune --data DIR               30 trials, the winner proven on 5 fresh seeds
  mnist-bench tune --space ./mine.toml --trials 100
  mnist-bench tune --objective time-to-accuracy --timeout 2h
  mnist-bench tune --objective pareto --max-memory 900M
  mnist-bench tune --study mine --resume    go on with a study
"""
_UI_EXAMPLES = """\b
Examples:
  mnist-bench ui                            on port 5000, or a free one
  mnist-bench ui --port 8080
"""


@click.group(
    epilog=_EXAMPLES,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="mnist-bench")
@click.pass_context
def cli(context: click.Context) -> None:
    """Does the paper's Table I hold on your machine, and what does it cost?

    Trains the CNN of a 2018 paper on MNIST for chosen step counts, records accuracy, time and
    memory in MLflow, and compares them with the paper's Table I.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


_tracking_uri_option = click.option(
    "--tracking-uri",
    envvar="MLFLOW_TRACKING_URI",
    default=tracking.DEFAULT_TRACKING_URI,
    show_default=True,
    callback=options.tracking_uri,
    metavar="URI",
    help="Where MLflow records runs.  [env: MLFLOW_TRACKING_URI]",
)


_data_option = click.option(
    "--data",
    "folder",
    envvar="MNIST_BENCH_DATA",
    callback=options.folder,
    metavar="DIR",
    help="Folder with MNIST's four IDX files.  [env: MNIST_BENCH_DATA]",
)
_dataset_option = click.option(
    "--dataset",
    type=click.Choice(DATASET_CHOICES),
    help="mnist insists on the real one, mnist-5k is the embedded sample, auto takes "
    "what can be had.  [default: the scenario's]",
)
_experiment_option = click.option(
    "--experiment",
    envvar="MLFLOW_EXPERIMENT_NAME",
    default=tracking.DEFAULT_EXPERIMENT,
    show_default=True,
    metavar="NAME",
    help="MLflow's experiment.  [env: MLFLOW_EXPERIMENT_NAME]",
)
_beside_option = click.option(
    "--no-exclusive",
    "beside",
    is_flag=True,
    help="Train beside another benchmark of yours; every run is marked suspect.",
)


@cli.command(epilog=_RUN_EXAMPLES)
@click.argument("scenarios", metavar="[SCENARIO]...", nargs=-1, shell_complete=options.names)
@click.option(
    "--seeds",
    callback=options.seeds,
    default="1",
    show_default=True,
    metavar="N|auto",
    help="Trainings of each row, each from another seed; auto: as many as the next two ask for.",
)
@click.option(
    "--precision-target",
    type=float,
    callback=options.precision_target,
    metavar="X",
    help="With --seeds auto: until the 95% interval of each row's mean max test accuracy is within "
    "this much of it.  [default: 0.0005]",
)
@click.option(
    "--budget",
    "budget_seconds",
    callback=options.budget_seconds,
    metavar="TIME",
    help="With --seeds auto: no seed that would end after 90s, 30m or 2h of a scenario's training."
    "  [default: 30m]",
)
@click.option(
    "--first-seed",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    metavar="K",
    help="The first of the seeds.",
)
@click.option(
    "--steps",
    callback=options.step_counts,
    metavar="N[,N...]",
    help="Step counts instead of the scenario's own.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    callback=options.settings,
    metavar="NAME=VALUE",
    help="A hyperparameter instead of the scenario's own; repeatable.",
)
@click.option(
    "--independent",
    is_flag=True,
    help="Train each row from zero instead of cutting a seed's rows from one training.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, MAX_THREADS),
    metavar="N",
    help="Threads to train on.  [default: the scenario's counts, else every core]",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    show_default=True,
    help="Of the arithmetic; weights stay float32.",
)
@click.option(
    "--device",
    type=click.Choice(DEVICE_CHOICES),
    default="cpu",
    show_default=True,
    help="Where the training is done; auto: on a GPU if TensorFlow finds one.",
)
@_data_option
@_dataset_option
@_tracking_uri_option
@_experiment_option
@click.option(
    "--report/--no-report",
    "reports",
    default=True,
    show_default=True,
    help="Write reports/<scenario>.md, .csv and .json.",
)
@click.option(
    "--dry-run", is_flag=True, help="Print the plan and the time it takes; train nothing."
)
@click.option("--resume", is_flag=True, help="Train only what is not recorded yet.")
@_beside_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
def run(
    *,
    scenarios: tuple[str, ...],
    seeds: options.Seeds,
    first_seed: int,
    precision_target: float | None,
    budget_seconds: float | None,
    beside: bool,
    reports: bool,
    dry_run: bool,
    as_json: bool,
    **wishes: Any,
) -> int:
    """Train scenarios, record their runs in MLflow, and report on them.

    SCENARIO is the name of a packaged scenario (default: table-1) or the path of a TOML file of
    your own. A trained row is one run in MLflow: `mnist-bench ui` shows them.
    """
    from mnist_bench import exclusive
    from mnist_bench import run as running
    from mnist_bench import wish as wishing
    from mnist_bench.machine import machine_id

    console = _console(stderr=True)
    people = _console(stderr=as_json)
    wish = wishing.Wish(
        scenarios=scenarios or ("table-1",),
        seeds=options.seed_range(seeds, first_seed),
        repeats=options.repeats(seeds, precision_target, budget_seconds),
        command=options.shown_command(sys.argv[1:]),
        exclusive=not beside,
        **wishes,
    )
    if not dry_run:
        wishing.check_folders()
    plans = wishing.prepare(wish, console)
    if dry_run:
        show = wishing.plans_as_json if as_json else wishing.plans_as_text
        click.echo(show(running.remaining(plans, wish), wish))
        return 0
    with exclusive.held(machine_id(), exclusive=wish.exclusive, say=_warn) as kept:
        wish = dataclasses.replace(wish, exclusive=kept)
        done = running.carry_out(plans, wish, console, people, reports=reports)
    if as_json:
        click.echo(done.document_json, nl=False)
    if done.error:
        _complain(str(done.error), done.error.exit_status)
        return done.exit_status or done.error.exit_status
    return done.exit_status


@cli.command(epilog=_TUNE_EXAMPLES)
@click.option(
    "--space",
    callback=options.file,
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
    callback=options.budget_seconds,
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
    callback=options.size_bytes,
    metavar="SIZE",
    help="No answer takes more memory than 900M or 1.5G.",
)
@click.option(
    "--max-seconds",
    type=click.FloatRange(min=0, min_open=True),
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
    "--confirm",
    type=click.IntRange(0, MAX_CONFIRMATIONS),
    callback=options.confirmations,
    default=5,
    show_default=True,
    metavar="N",
    help="Fresh seeds on which the winner and the paper's configuration are compared on the test "
    "split; 0 looks at no test image.",
)
@click.option(
    "--storage",
    envvar="MNIST_BENCH_STORAGE",
    callback=options.storage,
    metavar="URL",
    help="Where Optuna keeps the study.  [env: MNIST_BENCH_STORAGE; default: mlruns/optuna.log]",
)
@click.option("--study", metavar="NAME", help="Its name.  [default: of space and objective]")
@click.option("--resume", is_flag=True, help="Go on with a study that is there.")
@_data_option
@_dataset_option
@_tracking_uri_option
@_experiment_option
@_beside_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def tune(*, beside: bool, as_json: bool, **wishes: Any) -> int:
    """Let Optuna choose the hyperparameters, and prove the winner.

    Trials see the training and validation images alone. What is best there is settled first and
    then compared with the paper's configuration on the test images, from fresh seeds.
    """
    from mnist_bench import exclusive
    from mnist_bench import tune as tuning
    from mnist_bench import wish as wishing
    from mnist_bench.machine import machine_id

    console, people = _console(stderr=True), _console(stderr=as_json)
    wish = tuning.Wish(command=options.shown_command(sys.argv[1:]), exclusive=not beside, **wishes)
    wishing.check_folders()
    prepared = tuning.prepare(wish, console)
    with exclusive.held(machine_id(), exclusive=wish.exclusive, say=_warn) as kept:
        wish = dataclasses.replace(wish, exclusive=kept)
        done = tuning.carry_out(prepared, wish, console, people)
    if as_json:
        click.echo(done.document_json, nl=False)
    if done.error:
        _complain(str(done.error), done.error.exit_status)
        return done.exit_status or done.error.exit_status
    return done.exit_status


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def scenarios(*, as_json: bool) -> None:
    """List what can be run, and what it costs.

    Costs are those measured on this machine before; until then, in images.
    """
    from mnist_bench import listing

    if as_json:
        click.echo(listing.as_json(listing.packaged()))
    else:
        listing.show(listing.packaged(), _console())


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def machine(*, as_json: bool) -> None:
    """Tell what this machine is, and whether it is quiet enough to measure on.

    Watches it for some seconds, without privileges, and says what to change.
    """
    from mnist_bench import moment

    with _console(stderr=True).status("watching the machine for some seconds"):
        seen = moment.look()
    if as_json:
        click.echo(moment.as_json(seen))
    else:
        moment.show(seen, _console())


@cli.command(epilog=_UI_EXAMPLES)
@_tracking_uri_option
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="N",
    help="Where to listen.  [default: 5000, or a free one]",
)
def ui(tracking_uri: str, port: int | None) -> None:
    """Browse the runs in MLflow's own UI, on this machine alone."""
    from mnist_bench import ui as web

    web.serve(tracking_uri, port, say=click.echo)


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)
