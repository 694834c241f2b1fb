"""The command `mnist-bench` and its subcommands."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

import click

from mnist_bench.cli import parameter_types
from mnist_bench.cli.bundles import export, import_
from mnist_bench.cli.cluster import join
from mnist_bench.cli.compare import compare
from mnist_bench.cli.console import discard, make_console, print_error, warn
from mnist_bench.cli.options import (
    experiment_option,
    json_option,
    storage_option,
    tracking_uri_option,
)
from mnist_bench.cli.records import records
from mnist_bench.cli.report import report
from mnist_bench.cli.run import run
from mnist_bench.cli.runs import runs
from mnist_bench.cli.tune import tune
from mnist_bench.core import crash
from mnist_bench.core.errors import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_TERMINATED, BenchError
from mnist_bench.core.signals import Terminated, raise_on_sigterm

# Modules that import heavy libraries are imported inside the commands: `--help` must be fast.

_EXAMPLES = """\b
Examples:
  mnist-bench run                      the paper's Table I, one seed
  mnist-bench run smoke                quick check of the installation: half a minute
  mnist-bench run --data DIR --seeds 5 five seeds, on your own IDX files
  mnist-bench tune                     let Optuna search better hyperparameters
  mnist-bench runs                     the runs recorded here, a line each
  mnist-bench report                   a report of the runs recorded here
  mnist-bench compare table-1 sprint   which is faster, and is it more than noise?
  mnist-bench export mine.zip          recorded runs in one file for `import`
  mnist-bench records check mine.zip   do its runs meet the rules of the boards?
  mnist-bench join tls://HOST:8786     lend this machine to a cluster
  mnist-bench scenarios                list the scenarios and their expected time
  mnist-bench machine                  is this machine quiet enough to measure?
  mnist-bench ui                       browse the runs in MLflow
"""


def main() -> NoReturn:
    """Run a command; every error becomes one line on stderr and an exit status."""
    try:
        status = _run()
    except KeyboardInterrupt:  # while another error was told
        status = EXIT_INTERRUPTED
    except Terminated:
        status = EXIT_TERMINATED
    # What is left, such as the removal of lock files, takes a moment; Ctrl-C then says nothing.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(status)


def _run() -> int:
    sys.unraisablehook = lambda _unraisable: None  # in a finalizer: nobody can do anything
    threading.excepthook = _thread_failed
    raise_on_sigterm()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Some Windows code pages lack "±": print "?" instead of a traceback.
            stream.reconfigure(errors="replace")
    try:
        _check_text()
        status: int = cli.main(prog_name="mnist-bench", standalone_mode=False)
    except BenchError as error:
        status = print_error(str(error), error.exit_status)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "mnist-bench"
        status = print_error(f"{error.format_message()} (see `{command} --help`)", error.exit_code)
    except click.ClickException as error:
        status = print_error(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        status = print_error("interrupted", EXIT_INTERRUPTED)
    except Terminated:
        status = print_error("terminated", EXIT_TERMINATED)
    except OSError as error:
        status = print_error(f"system error: {error}", EXIT_FAILURE)
    except Exception as error:  # noqa: BLE001 - what nobody foresaw
        status = print_error(crash.line(error), EXIT_FAILURE)
    return status


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    """Tell of an error in a thread, which ends only that."""
    if failed.exc_value and not isinstance(failed.exc_value, SystemExit):
        warn(f"in a thread: {crash.line(failed.exc_value)}")


def _check_text() -> None:
    """Check that all names are text: JSON, MLflow and databases take nothing else.

    Raises:
        BenchError: A folder, an argument or a variable is not.
    """
    names = {f"the argument {argument!a}": argument for argument in sys.argv[1:]}
    names |= {f"the variable {name}": os.environ.get(name, "") for name in _NAMES}
    with contextlib.suppress(OSError):
        names[f"the working directory {os.getcwd()!a}"] = os.getcwd()  # noqa: PTH109
    for what, name in names.items():
        try:
            name.encode()
        except UnicodeEncodeError:
            raise BenchError(
                f"{what} is not text in the encoding {sys.getfilesystemencoding()}",
                "rename it in UTF-8, and set PYTHONUTF8=1 if the locale has another encoding",
            ) from None


_NAMES = (
    *("HOME", "USERPROFILE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "TMPDIR"),
    *("MNIST_BENCH_DATA", "MNIST_BENCH_STORAGE", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"),
)
"""Variables that name folders, addresses and experiments."""


_UI_EXAMPLES = """\b
Examples:
  mnist-bench ui                            on port 5000, or a free one
  mnist-bench ui --port 8080
  mnist-bench ui --studies                  the studies of `tune`
"""


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    """End with status 0 if the reader has read what it wanted, as `| head -1` does."""
    try:
        yield
    except BrokenPipeError:  # click itself would end with 1
        discard(sys.stdout)
        raise click.exceptions.Exit(0) from None


class _Commands(click.Group):
    """The subcommands; `help COMMAND` is `COMMAND --help`, and a misspelled one is recognized."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the command line, which may print `--help`."""
        with _reader_may_leave():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _reader_may_leave():
            return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names."""
        if args[0] == "help":
            if not args[1:]:
                click.echo(ctx.get_help())
                ctx.exit()
            args = [args[1], "--help"]
        if args[0] not in self.commands and not args[0].startswith("-"):
            from mnist_bench.core.toml import suggestion

            hint = suggestion(args[0], self.commands)
            words = f"there is no command {args[0]!r}"
            raise click.UsageError(f"{words}; {hint}" if hint else words, ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
    epilog=_EXAMPLES,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="mnist-bench")
@click.pass_context
def cli(context: click.Context) -> None:
    """Check whether the paper's Table I holds on your machine, and what it costs.

    Trains the CNN of a 2018 paper on MNIST for chosen step counts, records accuracy, time and
    memory in MLflow, and compares them with the paper's Table I.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (run, tune, runs, report, compare, export, import_, records, join):
    cli.add_command(command)


@cli.command()
@json_option
def scenarios(*, as_json: bool) -> None:
    """List the packaged scenarios and their expected time.

    The expected time comes from earlier runs on this machine; without any, the number of images is
    shown.
    """
    from mnist_bench.cli.scenarios import packaged, show, to_json

    if as_json:
        click.echo(to_json(packaged()))
    else:
        show(packaged(), make_console())


@cli.command()
@json_option
def machine(*, as_json: bool) -> None:
    """Describe this machine, and check whether it is quiet enough to measure.

    Observes it for some seconds, without privileges, and lists what to change.
    """
    from mnist_bench.cli.machine import check_machine, show, to_json

    with make_console(stderr=True).status("observing the machine for some seconds"):
        check = check_machine()
    if as_json:
        click.echo(to_json(check))
    else:
        show(check, make_console())


@cli.command(epilog=_UI_EXAMPLES)
@tracking_uri_option
@experiment_option
@click.option(
    "--port",
    type=parameter_types.WholeNumber(1, 65535),
    metavar="N",
    help="Port to listen on.  [default: 5000, with --studies 8080, or a free one]",
)
@click.option(
    "--studies",
    is_flag=True,
    help="Show the studies in optuna-dashboard instead; needs mnist-bench[dashboard].",
)
@storage_option
@click.option(
    "--open/--no-open",
    "opens_browser",
    default=None,
    help="Open the page in a browser.  [default: on a terminal]",
)
def ui(
    tracking_uri: str,
    experiment: str,
    port: int | None,
    storage: str | None,
    *,
    studies: bool,
    opens_browser: bool | None,
) -> None:
    """Browse the runs in MLflow's UI, served to this machine only, until Ctrl-C."""
    from mnist_bench.cli.ui import serve, serve_studies

    if opens_browser is None:
        # Without a display the browser would be one of text, in this terminal.
        has_display = sys.platform in {"win32", "darwin"} or bool(
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        )
        opens_browser = has_display and sys.stdout.isatty()
    if studies:
        serve_studies(storage, port, click.echo, opens_browser=opens_browser)
    else:
        serve(tracking_uri, experiment, port, click.echo, opens_browser=opens_browser)
