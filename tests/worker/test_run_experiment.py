"""Experiments, layer maps and the probe, in a process and as their parent sees it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from factories import CHECKED_CONVOLUTIONS

from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.core.records import Record
from mnist_bench.data.dataset import Source
from mnist_bench.results.experiments import (
    ConvolutionCheck,
    DatasetSize,
    LayerComparison,
    OptimizerComparison,
)
from mnist_bench.results.layer_maps import from_bytes
from mnist_bench.results.protocol import ExperimentRequest, Gpu, LayerMapsRequest, ProbeResult
from mnist_bench.runner import process
from mnist_bench.scenarios.execution import Execution
from mnist_bench.worker import run_experiment, tensorflow_setup
from mnist_bench.worker.experiments import layer_comparison

EXECUTION = Execution(threads=1)
REQUEST = ExperimentRequest(claim=10, execution=EXECUTION, seed=3)
RESULT = CHECKED_CONVOLUTIONS
GPUS = ProbeResult(gpus=(Gpu(name="A", memory_bytes=None),))


def printing(result: Record) -> str:
    """A program that prints a result after what a library prints."""
    return f"print('output of a library'); print({result.model_dump_json()!r})"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replaces the worker by a Python program."""

    def replace(program: str) -> None:
        for name in ("PROBE", "EXPERIMENT", "LAYER_MAPS"):
            monkeypatch.setattr(process, name, (sys.executable, "-c", program))

    return replace


# In this process


@pytest.mark.parametrize(
    ("claim", "kind"),
    [(7, LayerComparison), (8, OptimizerComparison), (10, ConvolutionCheck), (11, DatasetSize)],
)
def test_experiments(
    sample: Source, monkeypatch: pytest.MonkeyPatch, claim: int, kind: type
) -> None:
    executions: list[Execution] = []
    monkeypatch.setattr(tensorflow_setup, "start", executions.append)
    monkeypatch.setattr(layer_comparison, "SIDES", (4, 8))
    request = REQUEST.model_copy(update={"claim": claim, "source": sample, "seconds": 0.01})
    result = run_experiment.measure(request)
    assert isinstance(result, kind)
    assert executions == ([] if claim == 11 else [EXECUTION])
    if isinstance(result, LayerComparison):
        assert {cost.side for cost in result.costs} == {4, 8}
    if isinstance(result, ConvolutionCheck):
        assert [(c.equal_after_flipping, c.cases) for c in result.checks] == [(50, 50), (50, 50)]
        assert run_experiment.measure(request) == result, "the seed determines everything"


def test_an_experiment_without_its_images_fails() -> None:
    with pytest.raises(ValueError, match="claim 11 needs images"):
        run_experiment.measure(REQUEST.model_copy(update={"claim": 11}))


# In a process, which starts TensorFlow in seconds


def test_each_task_in_a_process(sample: Source, tmp_path: Path) -> None:
    assert isinstance(process.probe(EXECUTION), ProbeResult)
    assert isinstance(process.run_experiment(REQUEST), ConvolutionCheck)
    file = tmp_path / "layers.npz"
    maps_request = LayerMapsRequest(
        source=sample, image=2, steps=3, seed=1, execution=EXECUTION, file=str(file)
    )
    process.compute_layer_maps(maps_request)
    maps = from_bytes(file.read_bytes())
    assert (maps.image, maps.steps, maps.seed, len(maps.trained)) == (2, 3, 1, 3)


# With another program in place of the worker


def test_the_result_is_the_last_line(fake: Callable[[str], None]) -> None:
    fake(printing(RESULT))
    assert process.run_experiment(REQUEST) == RESULT
    fake(printing(GPUS))
    assert process.probe(EXECUTION) == GPUS


def test_the_request_is_sent(fake: Callable[[str], None]) -> None:
    fake("import sys; sys.exit(sys.stdin.readline())")
    with pytest.raises(BenchError) as raised:
        process.probe(EXECUTION)
    assert EXECUTION.model_dump_json() in raised.value.message


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("print('no result')", "ended early with exit status 0"),
        (f"print({RESULT.model_dump_json()!r}[:-3])", "ended early with exit status 0"),
        ("raise ValueError('out of memory')", "ValueError: out of memory"),
    ],
)
def test_a_failed_process_reports_the_reason(
    fake: Callable[[str], None], program: str, reason: str
) -> None:
    fake(program)
    for call, subject in (
        (lambda: process.run_experiment(REQUEST), "the experiment of claim 10"),
        (lambda: process.probe(EXECUTION), "what TensorFlow supports here"),
    ):
        with pytest.raises(BenchError, match=f"can't determine {subject}") as raised:
            call()
        assert reason in raised.value.message
        assert raised.value.exit_status == EXIT_FAILURE


def test_a_process_that_can_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PROBE", ("no-such-python",))
    with pytest.raises(BenchError, match="can't determine what TensorFlow supports here"):
        process.probe(EXECUTION)


def test_a_result_for_another_claim_raises(fake: Callable[[str], None]) -> None:
    fake(printing(RESULT))
    with pytest.raises(BenchError, match="it measured convolution"):
        process.run_experiment(REQUEST.model_copy(update={"claim": 7}))
