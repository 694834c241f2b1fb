"""What goes to a terminal: complaints in one line, and consoles for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mnist_bench.core.errors import BenchError
from mnist_bench.core.escaping import one_line

if TYPE_CHECKING:
    from rich.console import Console


def print_error(line: str, status: int) -> int:
    """Tell what is wrong; the exit status that was given."""
    warn(line)
    return status


def warn(line: str) -> None:
    """One line on standard error."""
    click.echo(f"mnist-bench: {one_line(line)}", err=True)


def console(*, stderr: bool = False) -> Console:
    """A console on one of the two streams."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def report_error(error: BenchError | None, status: int) -> int:
    """Tell what broke, if anything did; the exit status."""
    if error:
        print_error(str(error), error.exit_status)
        return status or error.exit_status
    return status
