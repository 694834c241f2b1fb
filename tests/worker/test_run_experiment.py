"""Experiments in a separate process."""

from __future__ import annotations

import sys

import pytest
from factories import CHECKED_CONVOLUTIONS

from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.data.dataset import Source
from mnist_bench.results.experiments import (
    ConvolutionCheck,
    DatasetSize,
    LayerComparison,
    OptimizerComparison,
)
from mnist_bench.results.protocol import ExperimentRequest
from mnist_bench.runner import process
from mnist_bench.scenarios.execution import Execution
from mnist_bench.worker import run_experiment, tensorflow_setup
from mnist_bench.worker.experiments import layer_comparison

REQUEST = ExperimentRequest(claim=10, execution=Execution(threads=1), seed=3)
RESULT = CHECKED_CONVOLUTIONS


def fake_experiment(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(process, "EXPERIMENT", (sys.executable, "-c", program))


def test_an_experiment_in_a_separate_process() -> None:
    result = process.run_experiment(REQUEST)
    assert isinstance(result, ConvolutionCheck)
    assert [(c.equal_after_flipping, c.cases) for c in result.checks] == [(50, 50), (50, 50)]
    assert process.run_experiment(REQUEST) == result, "the seed determines everything"


@pytest.mark.parametrize(("claim", "kind"), [(8, OptimizerComparison), (11, DatasetSize)])
def test_experiments_that_need_images(sample: Source, claim: int, kind: type) -> None:
    request = REQUEST.model_copy(update={"claim": claim, "source": sample, "seconds": 0.01})
    assert isinstance(process.run_experiment(request), kind)


def test_layers_are_timed_after_tensorflow_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    executions: list[Execution] = []
    monkeypatch.setattr(tensorflow_setup, "start", executions.append)
    monkeypatch.setattr(layer_comparison, "SIDES", (4, 8))
    request = REQUEST.model_copy(update={"claim": 7, "seconds": 0.01})
    result = run_experiment.measure(request)
    assert executions == [request.execution]
    assert isinstance(result, LayerComparison)
    assert {cost.side for cost in result.costs} == {4, 8}


def test_an_experiment_without_its_images_fails() -> None:
    with pytest.raises(BenchError, match="claim 11 needs images"):
        process.run_experiment(REQUEST.model_copy(update={"claim": 11}))


def test_the_result_is_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_experiment(
        monkeypatch, f"print('output of a library'); print({RESULT.model_dump_json()!r})"
    )
    assert process.run_experiment(REQUEST) == RESULT


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("print('no result')", "ended early with exit status 0"),
        ("raise SystemExit('out of memory')", "out of memory"),
        (f"print({RESULT.model_dump_json()!r}[:-3])", "ended early with exit status 0"),
    ],
)
def test_a_failed_process_reports_the_reason(
    monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    fake_experiment(monkeypatch, program)
    with pytest.raises(BenchError, match="can't determine the experiment of claim 10") as raised:
        process.run_experiment(REQUEST)
    assert reason in raised.value.message
    assert raised.value.exit_status == EXIT_FAILURE


def test_a_result_for_another_claim_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_experiment(monkeypatch, f"print({RESULT.model_dump_json()!r})")
    with pytest.raises(BenchError, match="it measured convolution"):
        process.run_experiment(REQUEST.model_copy(update={"claim": 7}))
