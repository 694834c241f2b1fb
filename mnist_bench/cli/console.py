"""Consoles, and one-line messages on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

    return Console(stderr=stderr, highlight=False)


def report_error(error: BenchError | None, status: int) -> int:
    """Print the error, if there is one; returns the exit status of the command."""
    if error:
        print_error(str(error), error.exit_status)
        return status or error.exit_status
    return status
