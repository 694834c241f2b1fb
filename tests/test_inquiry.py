"""What a claim needs, in a process of its own."""

from __future__ import annotations

import sys

import pytest

from mnist_bench import process
from mnist_bench.errors import EXIT_BROKE, BenchError
from mnist_bench.execution import Execution
from mnist_bench.finding import ConvolutionCheck
from mnist_bench.protocol import FindingQuestion

QUESTION = FindingQuestion(claim=10, execution=Execution(threads=1), seed=3)
ANSWER = ConvolutionCheck(checks=())


def answering(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(process, "INQUIRY", (sys.executable, "-c", program))


def test_in_a_process_of_its_own() -> None:
    told = process.inquire(QUESTION)
    assert isinstance(told, ConvolutionCheck)
    assert [(c.equal_after_flipping, c.cases) for c in told.checks] == [(50, 50), (50, 50)]
    assert process.inquire(QUESTION) == told, "the seed settles it all"


def test_the_answer_is_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, f"print('a library greets'); print({ANSWER.model_dump_json()!r})")
    assert process.inquire(QUESTION) == ANSWER


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("print('no figures')", "ended early with exit status 0"),
        ("raise SystemExit('out of paper')", "out of paper"),
        (f"print({ANSWER.model_dump_json()!r}[:-3])", "ended early with exit status 0"),
    ],
)
def test_a_process_that_fails_says_why(
    monkeypatch: pytest.MonkeyPatch, program: str, why: str
) -> None:
    answering(monkeypatch, program)
    with pytest.raises(BenchError, match="what claim 10 needs could not be found out") as raised:
        process.inquire(QUESTION)
    assert why in raised.value.message
    assert raised.value.exit_status == EXIT_BROKE


def test_figures_of_another_claim_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, f"print({ANSWER.model_dump_json()!r})")
    with pytest.raises(BenchError, match="it measured convolution"):
        process.inquire(QUESTION.model_copy(update={"claim": 7}))
