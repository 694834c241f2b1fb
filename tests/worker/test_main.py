"""The real worker process on the embedded sample."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

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
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.scenarios.paper import PARAMETER_COUNT
from mnist_bench.scenarios.scenario import Grid

COMMAND = (sys.executable, "-P", "-m", "mnist_bench.worker")
GRID = Grid(first=1, every=20)


def make_request(
    sample: Source, folder: Path, step_counts: tuple[int, ...], **changes: Any
) -> Request:
    values: dict[str, Any] = {
        "model": "paper-cnn",
        "hyperparameters": PaperCnnHyperparameters(),
        "training_seed": 5,
        "step_counts": step_counts,
        "grid": GRID,
        "source": sample,
        "execution": Execution(threads=2),
        "folder": str(folder),
        "started_at": time.time(),
    }
    return Request(**(values | changes))


@dataclass(frozen=True)
class Worker:
    """A running worker with its standard input and output."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]

    def send(self, line: str) -> None:
        self.stdin.write(line.encode() + b"\n")
        self.stdin.flush()

    def messages(self) -> Iterator[Message]:
        """Parse the lines of standard output, all of which must be messages."""
        return map(protocol.parse, self.stdout)


@contextmanager
def started(log: Path) -> Iterator[Worker]:
    """Start a worker, and kill it at the end."""
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Worker(process, process.stdin, process.stdout)
        finally:
            process.kill()


@dataclass(frozen=True)
class Training:
    """Result of a request.

    Attributes:
        folder: Where the worker wrote files.
        messages: Its messages.
        exit_status: Exit status, with standard input still open.
        end_seconds: From its start to the message about the end of each step count.
    """

    folder: Path
    messages: list[Message]
    exit_status: int
    end_seconds: list[float]

    @property
    def evaluations(self) -> list[Evaluation]:
        return [each.evaluation for each in self.messages if isinstance(each, EvaluationMessage)]

    @property
    def ends(self) -> list[StepCountDone]:
        return [message for message in self.messages if isinstance(message, StepCountDone)]

    def predictions(self, step_count: int) -> dict[str, Any]:
        path = self.folder / str(step_count) / "predictions.npz"
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)


def train(request: Request) -> Training:
    """Run a request in a worker process."""
    folder = Path(request.folder)
    messages, end_seconds = [], []
    start, started_at = time.perf_counter(), time.time()
    with started(folder / "worker.log") as worker:
        worker.send(request.model_copy(update={"started_at": started_at}).model_dump_json())
        for message in worker.messages():
            messages.append(message)
            if isinstance(message, Ready):
                worker.send("go")
            if isinstance(message, StepCountDone):
                end_seconds.append(time.perf_counter() - start)
        exit_status = worker.process.wait(60)
    return Training(folder, messages, exit_status, end_seconds)


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


# Messages and files


def describe(message: Message) -> str:
    match message:
        case Phase():
            return message.name
        case EvaluationMessage():
            return f"evaluated at {message.evaluation.step}"
        case SampleMessage():
            return f"trained to {message.step}"
        case StepCountDone():
            return f"ended {message.steps}"
        case CalibrationMessage():
            return f"calibrated at {message.step}"
    return message.kind


def test_message_order(training: Training) -> None:
    assert [describe(message) for message in training.messages] == [
        "import",
        "data",
        "ready",
        "calibrated at 0",
        "trace",
        "trained to 1",
        "evaluated at 1",
        "trained to 21",
        "evaluated at 21",
        "trained to 30",
        "evaluated at 30",
        "calibrated at 30",
        "ended 30",
        "trained to 41",
        "evaluated at 41",
        "trained to 60",
        "evaluated at 60",
        "calibrated at 60",
        "ended 60",
        "done",
    ]
    assert training.exit_status == 0


def test_accuracy_rises(training: Training) -> None:
    accuracies = [evaluation.test_accuracy for evaluation in training.evaluations]
    assert accuracies[0] < accuracies[-1]
    assert accuracies[-1] > 0.5


def test_seconds_by_phase(training: Training) -> None:
    first, second = training.ends
    for end in training.ends:
        assert set(end.seconds) == set(PHASES)
        assert min(end.seconds.values()) >= 0
    assert all(first.seconds[name] <= second.seconds[name] for name in PHASES)
    at = {evaluation.step: evaluation.train_seconds for evaluation in training.evaluations}
    assert (first.seconds["train"], second.seconds["train"]) == (at[30], at[60])
    phases = [message for message in training.messages if isinstance(message, Phase)]
    assert {phase.name: second.seconds[phase.name] for phase in phases} == {
        phase.name: phase.seconds for phase in phases
    }


def test_phases_add_up_to_the_life_of_the_process(training: Training) -> None:
    """Approximately, because a message may wait for its reader."""
    for end, seconds in zip(training.ends, training.end_seconds, strict=True):
        assert sum(end.seconds.values()) == pytest.approx(seconds, rel=0.1, abs=0.5)


def test_train_seconds_rise(training: Training) -> None:
    samples = [message for message in training.messages if isinstance(message, SampleMessage)]
    assert all(a.train_seconds < b.train_seconds for a, b in pairwise(samples))


def test_peak_memory(training: Training) -> None:
    first, second = training.ends
    assert first.memory_method == second.memory_method
    if first.memory_method is None:
        pytest.skip("this system does not report it")
    assert first.peak_rss_bytes is not None
    assert second.peak_rss_bytes is not None
    assert 200 * 2**20 < first.peak_rss_bytes <= second.peak_rss_bytes < 1.2e9


def test_peak_memory_by_phase(training: Training) -> None:
    first, second = training.ends
    if not second.phase_peak_rss_bytes:
        pytest.skip("this system can't reset the peak")
    for end in training.ends:
        assert set(end.phase_peak_rss_bytes) == set(PHASES)
        assert max(end.phase_peak_rss_bytes.values()) == end.peak_rss_bytes
    peaks = second.phase_peak_rss_bytes
    assert all(first.phase_peak_rss_bytes[name] <= peaks[name] for name in PHASES)
    # TensorFlow is imported before the data is loaded, and the graph is built last.
    assert 50 * 2**20 < peaks["import"] < peaks["data"] < peaks["train"]


def test_peak_memory_without_resets(training: Training, shorter: Training) -> None:
    (end,) = shorter.ends
    assert end.phase_peak_rss_bytes == {}
    assert end.memory_method == training.ends[0].memory_method
    if end.peak_rss_bytes is not None:
        assert end.peak_rss_bytes == pytest.approx(training.ends[0].peak_rss_bytes, rel=0.1)


def test_stretches_of_the_training(training: Training) -> None:
    stretches = [each.stretch for each in training.messages if isinstance(each, SampleMessage)]
    assert [stretch.steps for stretch in stretches] == [1, 20, 9, 11, 19]
    last = training.evaluations[-1]
    assert sum(stretch.train_seconds for stretch in stretches) == pytest.approx(last.train_seconds)
    for stretch in stretches:
        # The counters are read just outside of the timed region.
        assert stretch.seen.wall_seconds >= stretch.train_seconds
        assert stretch.seen.own_cpu_seconds > 0
        assert stretch.rss_bytes is not None
        assert 100 * 2**20 < stretch.rss_bytes < 1.2e9


def test_calibrations(training: Training) -> None:
    found = [message for message in training.messages if isinstance(message, CalibrationMessage)]
    assert [message.step for message in found] == [0, 30, 60]
    for message in found:
        assert 0 < message.seconds < 10
        assert message.surroundings.logical_cores == os.cpu_count()
        assert message.surroundings.memory_total_bytes is not None


def test_predictions_agree_with_the_accuracies(sample: Source, training: Training) -> None:
    labels = mnist.load(sample).test.labels
    at = {evaluation.step: evaluation for evaluation in training.evaluations}
    grid = {30: (1, 21), 60: (1, 21, 41)}
    for step_count, steps in grid.items():
        arrays = training.predictions(step_count)
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
    weights = {}
    for steps in (30, 60):
        with np.load(training.folder / str(steps) / "weights.npz", allow_pickle=False) as arrays:
            weights[steps] = dict(arrays)
        assert sum(values.size for values in weights[steps].values()) == PARAMETER_COUNT
        assert {values.dtype for values in weights[steps].values()} == {np.dtype(np.float32)}
    assert not np.array_equal(weights[30]["output_weights"], weights[60]["output_weights"])


def test_a_short_training_is_a_prefix_of_a_long_one_bit_for_bit(
    training: Training, shorter: Training
) -> None:
    def repeatable(evaluation: Evaluation) -> tuple[object, ...]:
        return (
            evaluation.step,
            evaluation.test_accuracy,
            evaluation.validation_accuracy,
            evaluation.train_loss,
        )

    short = [repeatable(evaluation) for evaluation in shorter.evaluations]
    assert [step for step, *_ in short] == [1, 21, 30]
    assert short == [repeatable(evaluation) for evaluation in training.evaluations[:3]]
    once, again = training.predictions(30), shorter.predictions(30)
    assert all(np.array_equal(once[name], again[name]) for name in once)


# End of the parent


def test_without_go_nothing_is_trained(sample: Source, tmp_path: Path) -> None:
    with started(tmp_path / "worker.log") as worker:
        worker.send(make_request(sample, tmp_path, (30,)).model_dump_json())
        worker.stdin.close()
        messages = list(worker.messages())
        assert worker.process.wait(60) == 1
    assert [describe(message) for message in messages] == ["import", "data", "ready", "failure"]


def test_the_worker_ends_with_its_parent_but_ignores_ctrl_c(sample: Source, tmp_path: Path) -> None:
    request = make_request(
        sample,
        tmp_path,
        (1_000_000,),
        grid=Grid(first=1, every=1_000_000),
        hyperparameters=PaperCnnHyperparameters(batch_size=1),
    )
    with started(tmp_path / "worker.log") as worker:
        worker.send(request.model_dump_json())
        messages = worker.messages()
        for message in messages:
            if isinstance(message, Ready):
                worker.send("go")
            if isinstance(message, SampleMessage):
                break
        if os.name == "posix":  # a terminal sends it to all of its processes
            worker.process.send_signal(signal.SIGINT)
            assert any(isinstance(message, SampleMessage) for message in messages)
        worker.stdin.close()
        remaining = [message.kind for message in messages]
        assert worker.process.wait(60) == 1
    assert set(remaining) <= {"sample", "evaluation"}


def test_no_temporary_files_are_left(
    sample: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(temporary))
    assert train(make_request(sample, tmp_path, (2,))).exit_status == 0
    assert list(temporary.iterdir()) == []


# Errors


@pytest.mark.parametrize("line", ["", "not a request", '{"model": "paper-cnn"}'])
def test_an_invalid_request_is_answered_with_a_failure(line: str) -> None:
    done = subprocess.run(
        COMMAND, input=f"{line}\n".encode() if line else b"", capture_output=True, check=False
    )
    (answer,) = (protocol.parse(message) for message in done.stdout.splitlines())
    assert isinstance(answer, Failure)
    assert answer.reason.startswith("ValidationError: ")
    assert len(answer.reason.splitlines()) == 1
    assert done.returncode == 1
    assert b"Traceback" in done.stderr


def test_only_messages_reach_the_parent() -> None:
    code = """
import os
from mnist_bench.results import protocol
from mnist_bench.worker import __main__
send = __main__._message_writer(__main__._private_stdout())
print("printed")
os.write(1, b"written")
send(protocol.Done())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert [protocol.parse(line) for line in done.stdout.splitlines()] == [protocol.Done()]
    assert b"printed" in done.stderr
    assert b"written" in done.stderr


def test_tracking_and_tuning_libraries_are_not_imported() -> None:
    """TensorFlow imports Keras, which imports what it finds: import linting can't detect that."""
    code = """
import sys
from mnist_bench.worker import tensorflow_setup
from mnist_bench.scenarios.execution import Execution
tensorflow_setup.start(Execution(threads=1))
import mnist_bench.worker.trainer
print([name for name in ("mlflow", "optuna", "pandas") if sys.modules.get(name)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("user_value", "expected"), [(None, "1"), ("0", "0")])
def test_onednn_is_enabled_unless_set_by_the_user(user_value: str | None, expected: str) -> None:
    """By default, TensorFlow disables it on processors with AVX2 only."""
    code = """
import os
from mnist_bench.worker import tensorflow_setup
from mnist_bench.scenarios.execution import Execution
tensorflow_setup.start(Execution(threads=1))
print(os.environ["TF_ENABLE_ONEDNN_OPTS"])
"""
    name = "TF_ENABLE_ONEDNN_OPTS"
    env = {key: value for key, value in os.environ.items() if key != name}
    if user_value is not None:
        env[name] = user_value
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    assert done.stdout.strip() == expected
