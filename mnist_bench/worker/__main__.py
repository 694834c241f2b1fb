"""The training process: `python -m mnist_bench.worker`, started by the harness, imported by nobody.

Reads a request and the word to go on standard input, answers JSON lines on standard output. What
TensorFlow and its libraries print goes to standard error, which the harness keeps as a log.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Dataset
from mnist_bench.measurement.system import Sensors, usable_threads
from mnist_bench.results.protocol import GO, Done, Failure, Message, Phase, Ready, Request
from mnist_bench.scenarios.hyperparameters import (
    AnyFittedHyperparameters,
    AnyNetworkHyperparameters,
    FittedHyperparameters,
)
from mnist_bench.worker import tensorflow_setup
from mnist_bench.worker.loop import Instruments, PhaseMeter, StepCountFiles, Training, TrainingLoop


def main() -> int:
    """Serve one request; 0 when every row is done."""
    # Ctrl-C reaches every process of a terminal; the parent settles what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say = _speaker(_private_stdout())
    try:
        _serve(Request.model_validate_json(sys.stdin.buffer.readline()), say)
    except Exception as error:  # noqa: BLE001  # whatever it is, the parent must hear of it
        traceback.print_exc()
        say(Failure(reason=" ".join(f"{type(error).__name__}: {error}".split())[:1000]))
        return 1
    say(Done())
    return 0


def _serve(request: Request, say: Callable[[Message], None]) -> None:
    meter = PhaseMeter(request.started_at, phase_peaks=request.phase_peaks)
    with meter.phase("import"):
        method = _method(request)
    say(Phase(name="import", seconds=meter.seconds("import")))
    with meter.phase("data"):
        dataset = mnist.load(request.source, with_test=request.with_test)
    say(Phase(name="data", seconds=meter.seconds("data")))
    _wait_for_go(say)
    at_once = min(request.execution.parts, usable_threads())
    instruments = Instruments(meter, Sensors(), lambda: method.calibrate(at_once))
    say(instruments.calibrated(0))
    meter.forget_peak()  # the calibration's matrices are none of the training's
    with meter.phase("trace"):
        training = method.begin(dataset)
        del dataset  # the training holds its own copy; two would count twice in the peak
    say(Phase(name="trace", seconds=meter.seconds("trace")))
    TrainingLoop(training, request, instruments, say, keep=_keeper(request, training)).run()


@dataclass(frozen=True)
class _Method:
    """What trains a model.

    Attributes:
        begin: Makes a training at step 0.
        calibrate: Does a fixed piece of work on so many threads, by the library that will train,
            and tells its seconds.
    """

    begin: Callable[[Dataset], Training]
    calibrate: Callable[[int], float]


def _method(request: Request) -> _Method:
    """The model's, with the one library that it needs."""
    asked = request.hyperparameters
    if isinstance(asked, FittedHyperparameters):
        return _fitted(request, asked)
    return _stepwise(request, asked)


def _fitted(request: Request, asked: AnyFittedHyperparameters) -> _Method:
    from mnist_bench.worker import sklearn_baselines

    threads = request.execution.threads
    sklearn_baselines.limit(threads)
    seed = request.training_seed
    return _Method(
        lambda dataset: sklearn_baselines.Baseline(dataset, asked, seed, threads),
        sklearn_baselines.calibrate,
    )


def _stepwise(request: Request, asked: AnyNetworkHyperparameters) -> _Method:
    tensorflow_setup.start(request.execution)
    from mnist_bench.worker.calibration import calibrate
    from mnist_bench.worker.trainer import Trainer

    def begin(dataset: Dataset) -> Training:
        return Trainer(
            dataset,
            asked,
            request.training_seed,
            total_steps=request.rows[-1],
            precision=request.execution.precision,
            parts=request.execution.parts,
        )

    return _Method(begin, calibrate)


def _private_stdout() -> TextIO:
    """The channel to the parent; whatever else writes to standard output goes to the log."""
    sys.stdout.flush()
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", newline="\n")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return channel


def _speaker(channel: TextIO) -> Callable[[Message], None]:
    def say(message: Message) -> None:
        channel.write(message.model_dump_json() + "\n")
        channel.flush()

    return say


def _wait_for_go(say: Callable[[Message], None]) -> None:
    """Wait for the word to go; then watch that the parent stays."""
    say(Ready())
    if sys.stdin.buffer.readline().strip() != GO.encode():
        raise EOFError("the parent went away before the training began")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # Not through sys.stdin: a thread that holds its lock would break the interpreter's end.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    # Nobody is left to tell.
    os._exit(1)


def _keeper(request: Request, training: Training) -> Callable[[StepCountFiles], None]:
    def keep(row: StepCountFiles) -> None:
        folder = Path(request.folder) / str(row.steps)
        try:
            write(row, folder)
        except OSError:
            # A full disk costs the files; the figures reach the parent all the same.
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                traceback.print_exc()

    def write(row: StepCountFiles, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            folder / "predictions.npz",
            final_label=row.final.label,
            final_probability=row.final.probability,
            selected_label=row.selected.label,
            selected_probability=row.selected.probability,
        )
        if request.save_weights:
            weights: dict[str, Any] = {**training.weights()}
            np.savez(folder / "weights.npz", **weights)

    return keep


if __name__ == "__main__":
    exit_status = main()
    sys.stderr.flush()
    # At once: TensorFlow would take a second to put away what the system takes back anyway.
    os._exit(exit_status)
