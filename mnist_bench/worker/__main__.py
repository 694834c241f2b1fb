"""Worker process: `python -m mnist_bench.worker`, and what has TensorFlow besides a training.

For a training job, it reads a request and then the line `go` from standard input, and writes JSON
lines to standard output. Whatever TensorFlow and its libraries print goes to standard error, which
the parent logs. With the argument `probe`, `layer-maps` or `experiment` it answers one request.
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
from pathlib import Path
from typing import Any

import numpy as np

from mnist_bench.core import crash
from mnist_bench.core.records import Record
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Dataset
from mnist_bench.measurement.system import Sensors, usable_threads
from mnist_bench.results.protocol import (
    GO,
    Done,
    ExperimentRequest,
    Failure,
    LayerMapsRequest,
    Message,
    Phase,
    Ready,
    Request,
)
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import FittedHyperparameters
from mnist_bench.worker import tensorflow_setup
from mnist_bench.worker.loop import Instruments, PhaseMeter, StepCountFiles, Training, TrainingLoop


def main(task: str = "train") -> int:
    """Run one request and return the exit status."""
    if task != "train":
        # Imported here: the process of a training holds nothing but TensorFlow.
        _answer(task)
        return 0
    # Ctrl-C reaches every process of a terminal; the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    send = _message_writer()
    try:
        _run(Request.model_validate_json(sys.stdin.buffer.readline()), send)
    except Exception as error:  # noqa: BLE001  # the parent must learn of any error
        traceback.print_exc()
        reason = crash.hidden_module(error) or f"{type(error).__name__}: {error}"
        send(Failure(reason=" ".join(reason.split())[:1000]))
        return 1
    send(Done())
    return 0


def _answer(task: str) -> None:
    """Answer a request that is no training; an error ends the process with a traceback."""
    line = sys.stdin.buffer.readline()
    if task == "probe":
        from mnist_bench.worker import probe

        answer: Record = probe.probe(Execution.model_validate_json(line))
    elif task == "layer-maps":
        from mnist_bench.worker import layer_maps

        layer_maps.write(LayerMapsRequest.model_validate_json(line))
        return
    elif task == "experiment":
        from mnist_bench.worker import run_experiment

        answer = run_experiment.measure(ExperimentRequest.model_validate_json(line))
    else:
        raise ValueError(f"{task} is no task of the worker")
    print(answer.model_dump_json())  # noqa: T201


def _run(request: Request, send: Callable[[Message], None]) -> None:
    meter = PhaseMeter(request.started_at, phase_peaks=request.phase_peaks)
    with meter.phase("import"):
        create, calibrate = _training_method(request)
    send(Phase(name="import", seconds=meter.seconds("import")))
    with meter.phase("data"):
        dataset = mnist.load(request.source, with_test=request.with_test)
    send(Phase(name="data", seconds=meter.seconds("data")))
    _wait_for_go(send)
    threads = min(request.execution.shards, usable_threads())
    instruments = Instruments(meter, Sensors(), lambda: calibrate(threads))
    send(instruments.calibration_message(0))
    meter.reset_peak()  # excludes the calibration's matrices
    with meter.phase("trace"):
        training = create(dataset)
        del dataset  # the training holds its own copy; a second one would count in the peak
    send(Phase(name="trace", seconds=meter.seconds("trace")))
    write_files = _file_writer(request, training)
    TrainingLoop(training, request, instruments, send, write_files).run()


def _training_method(
    request: Request,
) -> tuple[Callable[[Dataset], Training], Callable[[int], float]]:
    """What creates the model's training at step 0, and what times a fixed computation on threads.

    Imports only the library that trains, which times too.
    """
    hyperparameters, seed = request.hyperparameters, request.training_seed
    execution = request.execution
    if isinstance(hyperparameters, FittedHyperparameters):
        from threadpoolctl import threadpool_limits

        from mnist_bench.worker import sklearn_baselines

        threadpool_limits(execution.threads)  # of BLAS and OpenMP
        return (
            lambda dataset: sklearn_baselines.Baseline(
                dataset, hyperparameters, seed, execution.threads
            ),
            sklearn_baselines.calibrate,
        )
    tensorflow_setup.start(execution)
    from mnist_bench.worker.calibration import calibrate
    from mnist_bench.worker.trainer import Trainer

    return (
        lambda dataset: Trainer(
            dataset,
            hyperparameters,
            seed,
            total_steps=request.step_counts[-1],
            precision=execution.precision,
            shards=execution.shards,
        ),
        calibrate,
    )


def _message_writer() -> Callable[[Message], None]:
    """A function that writes messages to the parent; other output goes to standard error."""
    sys.stdout.flush()
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", newline="\n")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(message: Message) -> None:
        channel.write(message.model_dump_json() + "\n")
        channel.flush()

    return send


def _wait_for_go(send: Callable[[Message], None]) -> None:
    """Wait for the line `go`; then watch for the end of the parent."""
    send(Ready())
    if sys.stdin.buffer.readline().strip() != GO.encode():
        raise EOFError("the parent ended before the training started")
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    # Not through sys.stdin: a thread that holds its lock would break the interpreter's shutdown.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    # No parent is left to report to.
    os._exit(1)


def _file_writer(request: Request, training: Training) -> Callable[[StepCountFiles], None]:
    def write(result: StepCountFiles) -> None:
        folder = Path(request.folder) / str(result.steps)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(
                folder / "predictions.npz",
                final_label=result.final.label,
                final_probability=result.final.probability,
                selected_label=result.selected.label,
                selected_probability=result.selected.probability,
            )
            if request.save_weights:
                weights: dict[str, Any] = {**training.weights()}
                np.savez(folder / "weights.npz", **weights)
        except OSError:
            # With a full disk the files are lost, but the metrics still reach the parent.
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                traceback.print_exc()

    return write


if __name__ == "__main__":
    exit_status = main(*sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # TensorFlow's own cleanup would take a second and only free what the system frees anyway.
    os._exit(exit_status)
