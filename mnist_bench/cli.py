"""The commands: options, and what goes to which stream; no work of their own."""

from __future__ import annotations

import io
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from mnist_bench import tracking
from mnist_bench.errors import (
    EXIT_BROKE,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    BenchError,
)
from mnist_bench.interruption import Terminated, raise_on_sigterm
from mnist_bench.scenario import DATASET_CHOICES, MAX_SEED, MAX_STEPS, packaged_names

if TYPE_CHECKING:
    from rich.console import Console

# Rooms that import a library of weight are imported inside the commands, so that `--help` answers
# at once.

_MAX_SEEDS = 10_000
_MAX_THREADS = 1_024

_EXAMPLES = """\b
Examples:
  mnist-bench run                      the paper's Table I, a seed of each row
  mnist-bench run smoke                does everything work here? half a minute
  mnist-bench run --data DIR --seeds 5 five seeds, on IDX files of your own
  mnist-bench scenarios                what can be run, and what it costs here
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
    click.echo(f"mnist-bench: {' '.join(line.split())}", err=True)
    return status


_RUN_EXAMPLES = """\b
Examples:
  mnist-bench run                           Table I, one seed
  mnist-bench run --seeds 3 --data DIR      three seeds, on IDX files of your own
  mnist-bench run --steps 1000 --json       one row, as JSON
  mnist-bench run --set learning_rate=0.003 another learning rate
  mnist-bench run ./mine.toml --dry-run     what would be done, and how long it takes
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


def _step_counts(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        steps = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise click.BadParameter(f"{text!r} is no step count or list of them, like 1000,2500"
                                 ) from None  # fmt: skip
    if steps[0] < 1 or steps[-1] > MAX_STEPS:
        raise click.BadParameter(f"{text} is outside 1 to {MAX_STEPS:,}")
    return steps


def _folder(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Path | None:
    if text is None:
        return None
    if not text.strip():
        raise click.BadParameter("it is empty")  # as a path it would mean the working directory
    return Path(text)


def _names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in packaged_names() if name.startswith(incomplete)]


def _settings(
    _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    for text in texts:
        if "=" not in text:
            raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE")
    parts = (text.partition("=") for text in texts)
    return tuple((name.strip(), value.strip()) for name, _, value in parts)


def _tracking_uri(context: click.Context, parameter: click.Parameter, uri: str) -> str:
    source = context.get_parameter_source(parameter.name or "")
    if source is click.core.ParameterSource.COMMANDLINE:
        tracking.refuse_password(uri, "--tracking-uri")
    return uri


_tracking_uri_option = click.option(
    "--tracking-uri",
    envvar="MLFLOW_TRACKING_URI",
    default=tracking.DEFAULT_TRACKING_URI,
    show_default=True,
    callback=_tracking_uri,
    metavar="URI",
    help="Where MLflow records runs.  [env: MLFLOW_TRACKING_URI]",
)


@cli.command(epilog=_RUN_EXAMPLES)
@click.argument("scenarios", metavar="[SCENARIO]...", nargs=-1, shell_complete=_names)
@click.option(
    "--seeds",
    type=click.IntRange(1, _MAX_SEEDS),
    default=1,
    show_default=True,
    metavar="N",
    help="Trainings of each row, each from another seed.",
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
    callback=_step_counts,
    metavar="N[,N...]",
    help="Step counts instead of the scenario's own.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    callback=_settings,
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
    type=click.IntRange(1, _MAX_THREADS),
    metavar="N",
    help="TensorFlow's threads.  [default: every core]",
)
@click.option(
    "--data",
    "folder",
    envvar="MNIST_BENCH_DATA",
    callback=_folder,
    metavar="DIR",
    help="Folder with MNIST's four IDX files.  [env: MNIST_BENCH_DATA]",
)
@click.option(
    "--dataset",
    type=click.Choice(DATASET_CHOICES),
    help="mnist insists on the real one, mnist-5k is the embedded sample, auto takes "
    "what can be had.  [default: the scenario's]",
)
@_tracking_uri_option
@click.option(
    "--experiment",
    envvar="MLFLOW_EXPERIMENT_NAME",
    default=tracking.DEFAULT_EXPERIMENT,
    show_default=True,
    metavar="NAME",
    help="MLflow's experiment.  [env: MLFLOW_EXPERIMENT_NAME]",
)
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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
def run(
    *,
    scenarios: tuple[str, ...],
    seeds: int,
    first_seed: int,
    reports: bool,
    dry_run: bool,
    as_json: bool,
    **wishes: Any,
) -> int:
    """Train scenarios, record their runs in MLflow, and report on them.

    SCENARIO is the name of a packaged scenario (default: table-1) or the path of a TOML file of
    your own. A trained row is one run in MLflow: `mnist-bench ui` shows them.
    """
    from mnist_bench import run as running
    from mnist_bench import wish as wishing

    console = _console(stderr=True)
    people = _console(stderr=as_json)
    wish = wishing.Wish(
        scenarios=scenarios or ("table-1",),
        seeds=range(first_seed, first_seed + seeds),
        command=_shown_command(),
        **wishes,
    )
    if not dry_run:
        wishing.check_folders()
    plans = wishing.prepare(wish, console)
    if dry_run:
        click.echo(wishing.plans_as_json(plans) if as_json else wishing.plans_as_text(plans))
        return 0
    done = running.carry_out(plans, wish, console, people, reports=reports)
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


def _shown_command() -> str:
    """The command line as a report may show it: no folder of the user's, no secret."""
    shown: list[str] = []
    for argument in sys.argv[1:]:
        name, equals, value = argument.partition("=")
        if shown and shown[-1] == "--data":
            shown.append("DIR")
        elif name == "--data" and equals:
            shown.append("--data=DIR")
        elif "://" in argument:
            shown.append(f"{name}=URI" if equals and "://" in value else "URI")
        else:
            shown.append(Path(argument).name if Path(argument).is_file() else argument)
    return shlex.join(("mnist-bench", *shown))
