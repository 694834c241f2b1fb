"""The error that is shown to users."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.core import errors
from mnist_bench.core.errors import BenchError


@pytest.mark.parametrize(
    ("error", "text", "hint", "exit_status"),
    [
        (BenchError("no folder x", "make it first"), "no folder x; make it first",
         "make it first", 2),
        (BenchError("the disk is full", exit_status=errors.EXIT_FAILURE), "the disk is full",
         "", 1),
        (BenchError("  first\n  second\t", "do\r\nthis "), "first second; do this", "do this", 2),
    ],
)  # fmt: skip
def test_message_hint_and_exit_status(
    error: BenchError, text: str, hint: str, exit_status: int
) -> None:
    assert (str(error), error.hint, error.exit_status) == (text, hint, exit_status)
    assert error.message == text.partition(";")[0]


@given(message=st.text(), hint=st.text())
def test_any_text_is_one_line(message: str, hint: str) -> None:
    assert len(str(BenchError(message, hint)).splitlines()) <= 1
