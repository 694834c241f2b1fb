"""What a claim needs, in a process of its own."""

from __future__ import annotations

import sys

import pytest
from factories import CHECKED_CONVOLUTIONS

from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.data.dataset import Source
from mnist_bench.results.dataset_size import DatasetSize
from mnist_bench.results.experiments import ConvolutionCheck, LayerComparison, OptimizerComparison
from mnist_bench.results.protocol import ExperimentRequest
from mnist_bench.runner import process
from mnist_bench.scenarios.execution import Execution
from mnist_bench.worker import run_experiment, tensorflow_setup
from mnist_bench.worker.experiments import layer_comparison

QUESTION = ExperimentRequest(claim=10, execution=Execution(threads=1), seed=3)
ANSWER = CHECKED_CONVOLUTIONS


def answering(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(process, "EXPERIMENT", (sys.executable, "-c", program))


def test_in_a_process_of_its_own() -> None:
    told = process.run_experiment(QUESTION)
    assert isinstance(told, ConvolutionCheck)
    assert [(c.equal_after_flipping, c.cases) for c in told.checks] == [(50, 50), (50, 50)]
    assert process.run_experiment(QUESTION) == told, "the seed settles it all"


@pytest.mark.parametrize(("claim", "kind"), [(8, OptimizerComparison), (11, DatasetSize)])
def test_claims_about_images(sample: Source, claim: int, kind: type) -> None:
    asked = QUESTION.model_copy(update={"claim": claim, "source": sample, "seconds": 0.01})
    assert isinstance(process.run_experiment(asked), kind)


def test_layers_are_timed_on_a_settled_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[Execution] = []
    monkeypatch.setattr(tensorflow_setup, "start", settled.append)
    monkeypatch.setattr(layer_comparison, "SIDES", (4, 8))
    asked = QUESTION.model_copy(update={"claim": 7, "seconds": 0.01})
    told = run_experiment.measured(asked)
    assert settled == [asked.execution]
    assert isinstance(told, LayerComparison)
    assert {cost.side for cost in told.costs} == {4, 8}


def test_a_claim_about_images_wants_some() -> None:
    with pytest.raises(BenchError, match="claim 11 needs images"):
        process.run_experiment(QUESTION.model_copy(update={"claim": 11}))


def test_the_answer_is_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, f"print('a library greets'); print({ANSWER.model_dump_json()!r})")
    assert process.run_experiment(QUESTION) == ANSWER


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
        process.run_experiment(QUESTION)
    assert why in raised.value.message
    assert raised.value.exit_status == EXIT_BROKE


def test_figures_of_another_claim_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, f"print({ANSWER.model_dump_json()!r})")
    with pytest.raises(BenchError, match="it measured convolution"):
        process.run_experiment(QUESTION.model_copy(update={"claim": 7}))
