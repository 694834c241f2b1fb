"""Consoles, and one-line messages on standard error."""

from __future__ import annotations

import os
import sys
from typing import IO, TYPE_CHECKING

import click

from mnist_bench.core.errors import BenchError
from mnist_bench.core.escaping import one_line

if TYPE_CHECKING:
    from rich.console import Console


def print_error(line: str, status: int) -> int:
    """Print an error; returns the exit status for the caller to pass on."""
    warn(line)
    return status


def warn(line: str) -> None:
    """Print one line on standard error."""
    click.echo(f"mnist-bench: {one_line(line)}", err=True)


def make_console(*, stderr: bool = False) -> Console:
    """A console on standard output, or on standard error."""
    from rich.console import Console

    class PipeConsole(Console):
        """A console whose reader may leave, as `| head -1` does; the command goes on."""

        def on_broken_pipe(self) -> None:
            """Print nothing more; Rich's own method ends the program with status 1."""
            discard(self.file)
            self.quiet = True

    return PipeConsole(stderr=stderr, highlight=False)


def discard(stream: IO[str]) -> None:
    """Discard what is still to be printed, also when the interpreter exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_result(document_json: str | None, error: BenchError | None, exit_status: int) -> int:
    """Print the document and the error, if there are any; returns the command's exit status."""
    if document_json is not None:
        try:
            click.echo(document_json, nl=False)
        except BrokenPipeError:  # the exit status is that of the work
            discard(sys.stdout)
    if error:
        return print_error(str(error), exit_status or error.exit_status)
    return exit_status
