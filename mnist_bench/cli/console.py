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


def print_result(document_json: str | None, error: BenchError | None, exit_status: int) -> int:
    """Print the document and the error, if there are any; returns the command's exit status."""
    if document_json is not None:
        click.echo(document_json, nl=False)
    if error:
        return print_error(str(error), exit_status or error.exit_status)
    return exit_status
