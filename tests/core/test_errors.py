"""The error that is shown to users."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.core import errors
from mnist_bench.core.errors import BenchError


def test_exit_statuses() -> None:
    assert errors.EXIT_FAILURE == 1
    assert errors.EXIT_USAGE == 2
    assert errors.EXIT_INTERRUPTED == 130
    assert errors.EXIT_TERMINATED == 143


def test_message_and_hint() -> None:
    error = BenchError("no folder x", "make it first")
    assert (error.message, error.hint) == ("no folder x", "make it first")
    assert str(error) == "no folder x; make it first"
    assert error.exit_status == 2


def test_without_hint() -> None:
    error = BenchError("the disk is full", exit_status=errors.EXIT_FAILURE)
    assert str(error) == "the disk is full"
    assert error.hint == ""
    assert error.exit_status == 1


def test_message_is_joined_into_one_line() -> None:
    error = BenchError("  first\n  second\t", "do\r\nthis ")
    assert str(error) == "first second; do this"


@given(message=st.text(), hint=st.text())
def test_any_text_is_one_line(message: str, hint: str) -> None:
    assert len(str(BenchError(message, hint)).splitlines()) <= 1
