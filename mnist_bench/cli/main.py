"""The commands: options, and what goes to which stream; no work of their own."""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

import click

from mnist_bench.cli import console, options
from mnist_bench.cli.bundles import export, import_
from mnist_bench.cli.cluster import join
from mnist_bench.cli.compare import compare
from mnist_bench.cli.report import report
from mnist_bench.cli.run import run
from mnist_bench.cli.tune import tune
from mnist_bench.core.errors import EXIT_BROKE, EXIT_INTERRUPTED, EXIT_TERMINATED, BenchError
from mnist_bench.core.signals import Terminated, raise_on_sigterm

# Rooms that import a library of weight are imported inside the commands, so that `--help` answers
# at once.

_EXAMPLES = """\b
Examples:
  mnist-bench run                      the paper's Table I, a seed of each row
  mnist-bench run smoke                does everything work here? half a minute
  mnist-bench run --data DIR --seeds 5 five seeds, on IDX files of your own
  mnist-bench tune                     let Optuna choose better hyperparameters
  mnist-bench report                   a page of all that was run here
  mnist-bench compare table-1 sprint   which is faster, by how much, and is it noise?
  mnist-bench export mine.zip          results in one file to send; `import` reads it
  mnist-bench join                     work for plans and studies that machines share
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
        status = console.print_error(str(error), error.exit_status)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "mnist-bench"
        status = console.print_error(
            f"{error.format_message()} (see `{command} --help`)", error.exit_code
        )
    except click.ClickException as error:
        status = console.print_error(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        status = console.print_error("interrupted", EXIT_INTERRUPTED)
    except Terminated:
        status = console.print_error("terminated", EXIT_TERMINATED)
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            sys.exit(console.print_error(f"the system refused: {error}", EXIT_BROKE))
        # Whoever read our output has gone; the interpreter must not complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_BROKE
    sys.exit(status)


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


cli.add_command(run)
cli.add_command(tune)
cli.add_command(report)
cli.add_command(compare)
cli.add_command(export)
cli.add_command(import_)
cli.add_command(join)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def scenarios(*, as_json: bool) -> None:
    """List what can be run, and what it costs.

    Costs are those measured on this machine before; until then, in images.
    """
    from mnist_bench.cli import scenarios as listing

    if as_json:
        click.echo(listing.as_json(listing.packaged()))
    else:
        listing.show(listing.packaged(), console.console())


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def machine(*, as_json: bool) -> None:
    """Tell what this machine is, and whether it is quiet enough to measure on.

    Watches it for some seconds, without privileges, and says what to change.
    """
    from mnist_bench.cli import machine as moment

    with console.console(stderr=True).status("watching the machine for some seconds"):
        seen = moment.check_machine()
    if as_json:
        click.echo(moment.as_json(seen))
    else:
        moment.show(seen, console.console())


@cli.command(epilog=_UI_EXAMPLES)
@options.tracking_uri
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="N",
    help="Where to listen.  [default: 5000, or a free one]",
)
def ui(tracking_uri: str, port: int | None) -> None:
    """Browse the runs in MLflow's own UI, on this machine alone."""
    from mnist_bench.cli import ui as web

    web.serve(tracking_uri, port, say=click.echo)
