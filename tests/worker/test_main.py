"""The worker process on the embedded sample, and its parts without a process."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import threadpoolctl
from factories import worker_request

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.results import protocol
from mnist_bench.results.protocol import (
    CalibrationMessage,
    EvaluationMessage,
    Failure,
    Message,
    Phase,
    Ready,
    Request,
    SampleMessage,
    StepCountDone,
)
from mnist_bench.results.run import PHASES, Evaluation
from mnist_bench.runner.process import WorkerProcess
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters, SvmHyperparameters
from mnist_bench.scenarios.paper import PARAMETER_COUNT
from mnist_bench.scenarios.scenario import Grid
from mnist_bench.worker import __main__ as worker_main
from mnist_bench.worker.loop import StepCountFiles
from mnist_bench.worker.scores import Scores


def make_request(
    sample: Source, folder: Path, step_counts: tuple[int, ...], **changes: Any
) -> Request:
    values = {"training_seed": 5, "grid": Grid(first=1, every=20), "source": sample}
    return worker_request(folder=str(folder), step_counts=step_counts, **(values | changes))


@dataclass(frozen=True)
class Training:
    """Result of a request.

    Attributes:
        folder: Where the worker wrote files.
        messages: Its messages.
        end_seconds: From its start to the message about the end of each step count.
        left: Files that it left in the temporary folder.
    """

    folder: Path
    messages: list[Message]
    end_seconds: list[float]
    left: list[Path]

    def those(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    @property
    def evaluations(self) -> list[Evaluation]:
        return [message.evaluation for message in self.those(EvaluationMessage)]

    def arrays(self, step_count: int, name: str) -> dict[str, Any]:
        with np.load(self.folder / str(step_count) / name, allow_pickle=False) as arrays:
            return dict(arrays)


def train(request: Request) -> Training:
    """Run a request in a worker process."""
    folder = Path(request.folder)
    temporary = folder / "temporary"
    temporary.mkdir()
    messages, end_seconds = [], []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TMPDIR", "TEMP", "TMP"):
            patch.setenv(name, str(temporary))
        start = time.perf_counter()
        request = request.model_copy(update={"started_at": time.time()})
        with WorkerProcess(request, folder / "worker.log") as worker:
            for message in worker.messages():
                messages.append(message)
                if isinstance(message, Ready):
                    worker.go()
                if isinstance(message, StepCountDone):
                    end_seconds.append(time.perf_counter() - start)
            assert worker.end() is None, worker.log_tail()
            assert worker._process.returncode == 0
    return Training(folder, messages, end_seconds, [*temporary.iterdir()])


@pytest.fixture(scope="module")
def training(sample: Source, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Two step counts, the first of which is off the grid; weights are saved."""
    folder = tmp_path_factory.mktemp("training")
    return train(make_request(sample, folder, (30, 60), save_weights=True))


@pytest.fixture(scope="module")
def shorter(sample: Source, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Only the first step count, in a process that does not reset the peak memory."""
    folder = tmp_path_factory.mktemp("shorter")
    return train(make_request(sample, folder, (30,), phase_peaks=False))


# Two trainings in processes that start TensorFlow, which takes seconds


def describe(message: Message) -> tuple[str, str | int]:
    match message:
        case Phase():
            return "phase", message.name
        case EvaluationMessage():
            return "evaluation", message.evaluation.step
        case SampleMessage() | CalibrationMessage():
            return message.kind, message.step
        case StepCountDone():
            return "row", message.steps
    return message.kind, ""


def test_message_order(training: Training) -> None:
    assert [describe(message) for message in training.messages] == [
        ("phase", "import"), ("phase", "data"), ("ready", ""), ("calibration", 0),
        ("phase", "trace"),
        ("sample", 1), ("evaluation", 1), ("sample", 21), ("evaluation", 21),
        ("sample", 30), ("evaluation", 30), ("calibration", 30), ("row", 30),
        ("sample", 41), ("evaluation", 41),
        ("sample", 60), ("evaluation", 60), ("calibration", 60), ("row", 60),
        ("done", ""),
    ]  # fmt: skip
    assert training.left == []


def test_seconds_by_phase(training: Training) -> None:
    first, second = ends = training.those(StepCountDone)
    for end, seconds in zip(ends, training.end_seconds, strict=True):
        assert set(end.seconds) == set(PHASES)
        assert min(end.seconds.values()) >= 0
        # The life of the process; approximately, because a message may wait for its reader.
        assert sum(end.seconds.values()) == pytest.approx(seconds, rel=0.1, abs=0.5)
    assert all(first.seconds[name] <= second.seconds[name] for name in PHASES)
    at = {evaluation.step: evaluation.train_seconds for evaluation in training.evaluations}
    assert (first.seconds["train"], second.seconds["train"]) == (at[30], at[60])
    for phase in training.those(Phase):
        assert second.seconds[phase.name] == phase.seconds
    samples = training.those(SampleMessage)
    assert all(a.train_seconds < b.train_seconds for a, b in pairwise(samples))


def test_peak_memory(training: Training, shorter: Training) -> None:
    first, second = ends = training.those(StepCountDone)
    (without_resets,) = shorter.those(StepCountDone)
    assert without_resets.phase_peak_rss_bytes == {}
    assert first.memory_method == second.memory_method == without_resets.memory_method
    if first.memory_method is None:
        pytest.skip("this system does not report it")
    assert 200 * 2**20 < first.peak_rss_bytes <= second.peak_rss_bytes < 1.2e9
    assert without_resets.peak_rss_bytes == pytest.approx(first.peak_rss_bytes, rel=0.1)
    if not second.phase_peak_rss_bytes:
        pytest.skip("this system can't reset the peak")
    for end in ends:
        assert set(end.phase_peak_rss_bytes) == set(PHASES)
        assert max(end.phase_peak_rss_bytes.values()) == end.peak_rss_bytes
    peaks = second.phase_peak_rss_bytes
    assert all(first.phase_peak_rss_bytes[name] <= peaks[name] for name in PHASES)
    # TensorFlow is imported before the data is loaded, and the graph is built last.
    assert 50 * 2**20 < peaks["import"] < peaks["data"] < peaks["train"]


def test_the_machine_is_measured(training: Training) -> None:
    for message in training.those(SampleMessage):
        seen = message.stretch.seen
        # The counters are read just outside of the timed region.
        assert seen.wall_seconds >= message.stretch.train_seconds > 0
        assert seen.own_cpu_seconds > 0
        assert 100 * 2**20 < message.stretch.rss_bytes < 1.2e9
    for message in training.those(CalibrationMessage):
        assert 0 < message.seconds < 10
        assert message.surroundings.logical_cores == os.cpu_count()
        assert message.surroundings.memory_total_bytes is not None


def test_predictions_agree_with_the_accuracies(sample: Source, training: Training) -> None:
    labels = mnist.load(sample).test.labels
    assert training.evaluations[-1].test_accuracy > 0.5  # it learns
    at = {evaluation.step: evaluation for evaluation in training.evaluations}
    grid = {30: (1, 21), 60: (1, 21, 41)}
    for step_count, steps in grid.items():
        arrays = training.arrays(step_count, "predictions.npz")
        assert {name: (array.dtype, array.shape) for name, array in arrays.items()} == {
            "final_label": (np.uint8, (500,)),
            "final_probability": (np.float16, (500,)),
            "selected_label": (np.uint8, (500,)),
            "selected_probability": (np.float16, (500,)),
        }
        selected = max(steps, key=lambda step: at[step].validation_accuracy)
        assert np.mean(arrays["final_label"] == labels) == at[step_count].test_accuracy
        assert np.mean(arrays["selected_label"] == labels) == at[selected].test_accuracy
        for name in ("final_probability", "selected_probability"):
            assert np.all((arrays[name] >= 0.099) & (arrays[name] <= 1))


def test_weights_are_written_only_if_requested(training: Training, shorter: Training) -> None:
    assert {path.name for path in (shorter.folder / "30").iterdir()} == {"predictions.npz"}
    weights = {steps: training.arrays(steps, "weights.npz") for steps in (30, 60)}
    for arrays in weights.values():
        assert sum(values.size for values in arrays.values()) == PARAMETER_COUNT
        assert {values.dtype for values in arrays.values()} == {np.dtype(np.float32)}
    assert not np.array_equal(weights[30]["output_weights"], weights[60]["output_weights"])


def test_a_short_training_is_a_prefix_of_a_long_one_bit_for_bit(
    training: Training, shorter: Training
) -> None:
    def repeatable(evaluations: list[Evaluation]) -> list[Evaluation]:
        return [each.model_copy(update={"train_seconds": 0.0}) for each in evaluations]

    assert [evaluation.step for evaluation in shorter.evaluations] == [1, 21, 30]
    assert repeatable(shorter.evaluations) == repeatable(training.evaluations[:3])
    once, again = (each.arrays(30, "predictions.npz") for each in (training, shorter))
    assert all(np.array_equal(once[name], again[name]) for name in once)


def test_the_worker_ends_with_its_parent_but_ignores_ctrl_c(sample: Source, tmp_path: Path) -> None:
    """A third process, since it is ended while it trains."""
    request = make_request(
        sample,
        tmp_path,
        (1_000_000,),
        grid=Grid(first=1, every=1_000_000),
        hyperparameters=PaperCnnHyperparameters(batch_size=1),
    )
    with WorkerProcess(request, tmp_path / "worker.log") as worker:
        messages = worker.messages()
        for message in messages:
            if isinstance(message, Ready):
                worker.go()
            if isinstance(message, SampleMessage):
                break
        if os.name == "posix":  # a terminal sends it to all of its processes
            worker._process.send_signal(signal.SIGINT)
            assert any(isinstance(message, SampleMessage) for message in messages)
        worker._stdin.close()
        assert {message.kind for message in messages} <= {"sample", "evaluation"}
        assert worker.end() == "the training process ended early with exit status 1"


# Without TensorFlow


def test_only_messages_reach_the_parent() -> None:
    code = """
import os
from mnist_bench.results import protocol
from mnist_bench.worker import __main__
send = __main__._message_writer()
print("printed")
os.write(1, b"written")
send(protocol.Done())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert [protocol.parse(line) for line in done.stdout.splitlines()] == [protocol.Done()]
    assert b"printed" in done.stderr
    assert b"written" in done.stderr


@pytest.mark.parametrize("line", [b"", b"not a request\n", b'{"model": "paper-cnn"}\n'])
def test_an_invalid_request_is_answered_with_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: bytes
) -> None:
    sent: list[Message] = []
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(worker_main, "_message_writer", lambda: sent.append)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(line)))
    assert worker_main.main() == 1
    (answer,) = sent
    assert isinstance(answer, Failure)
    assert answer.reason.startswith("ValidationError: ")
    assert len(answer.reason.splitlines()) == 1
    assert "Traceback" in capsys.readouterr().err


def test_without_go_nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO()))
    sent: list[Message] = []
    with pytest.raises(EOFError, match="before the training started"):
        worker_main._wait_for_go(sent.append)
    assert sent == [Ready()]


def test_the_request_determines_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    executions: list[Execution] = []
    monkeypatch.setattr("mnist_bench.worker.tensorflow_setup.start", executions.append)
    monkeypatch.setattr(
        "mnist_bench.worker.trainer.Trainer", lambda *given, **named: (given, named)
    )
    execution = Execution(threads=3, precision="bfloat16")
    request = worker_request(execution=execution, training_seed=7, step_counts=(30, 60))
    create, _ = worker_main._training_method(request)
    given, named = create("the images")
    assert given == ("the images", request.hyperparameters, 7)
    assert named == {"total_steps": 60, "precision": "bfloat16", "shards": 3}
    assert executions == [execution]


def test_libraries_respect_the_thread_limit() -> None:
    svm = SvmHyperparameters(train_images=100)
    request = worker_request(
        model="svm-rbf", hyperparameters=svm, step_counts=(1,), execution=Execution(threads=1)
    )
    with threadpoolctl.threadpool_limits(None):
        _, calibrate = worker_main._training_method(request)
        assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {1}
        assert 0 < calibrate(1) < 60


def test_files_that_can_not_be_written_are_left_out(tmp_path: Path) -> None:
    """With a full disk, nothing is half-written and the training goes on."""
    request = worker_request(folder=str(tmp_path), save_weights=True)
    scores = Scores(np.zeros(3, np.uint8), np.ones(3, np.float16), 0.5)

    def weights() -> dict[str, Any]:
        raise OSError("no space left on device")

    write = worker_main._file_writer(request, SimpleNamespace(weights=weights))
    write(StepCountFiles(250, scores, scores))
    assert list(tmp_path.iterdir()) == []
