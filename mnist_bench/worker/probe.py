"""What TensorFlow can do here: `python -m mnist_bench.worker.probe`, started by the parent.

Reads an `Execution` on standard input and answers one JSON line on standard output: the GPUs, and,
where the question is about bfloat16, how fast it is. Imported by nobody but its tests.
"""

from __future__ import annotations

import statistics
import sys
import time
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from mnist_bench.core.limits import PRECISIONS
from mnist_bench.data.dataset import Dataset, Images
from mnist_bench.results.protocol import Gpu, ProbeResult
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.worker import tensorflow_setup

if TYPE_CHECKING:
    from mnist_bench.worker.trainer import Trainer

_SECONDS = 1.0
"""How long the steps are timed, of both precisions together."""
_LEAST_TURNS = 3
_STEPS_A_TURN = 5


def main() -> None:
    """Answer one question."""
    execution = Execution.model_validate_json(sys.stdin.buffer.readline())
    tensorflow_setup.start(execution)
    speedup = measured_speedup(execution.parts) if execution.precision == "bfloat16" else None
    print(ProbeResult(gpus=tuple(gpus()), bfloat16_speedup=speedup).model_dump_json())  # noqa: T201


def gpus() -> list[Gpu]:
    """The GPUs that TensorFlow can use."""
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    if not found:
        return []
    from tensorflow.python.client import device_lib  # no public name tells the memory

    details = (tf.config.experimental.get_device_details(gpu) for gpu in found)
    names = [each.get("device_name") or gpu.name for each, gpu in zip(details, found, strict=True)]
    limits = [d.memory_limit for d in device_lib.list_local_devices() if d.device_type == "GPU"]
    pairs = zip_longest(names, limits[: len(names)])
    return [Gpu(name=name, memory_bytes=limit) for name, limit in pairs]


def measured_speedup(parts: int) -> float:
    """How many times as fast as in float32 a training step is in bfloat16, on made-up images.

    The two take turns, so that a machine that slows down slows both.
    """
    from mnist_bench.worker.trainer import Trainer

    hyperparameters = PaperCnnHyperparameters()
    images = _blank(hyperparameters.batch_size * _STEPS_A_TURN)
    dataset = Dataset(train=images, validation=images, test=images)
    trainers = [
        Trainer(dataset, hyperparameters, 0, precision=precision, parts=parts)
        for precision in PRECISIONS
    ]
    turns: list[list[float]] = []
    begin = time.perf_counter()
    while len(turns) <= _LEAST_TURNS or time.perf_counter() - begin < _SECONDS:
        turns.append([_seconds_of_a_turn(trainer) for trainer in trainers])
    warm = turns[1:]
    in_float32, in_bfloat16 = (
        statistics.median(turn[index] for turn in warm) for index in range(len(trainers))
    )
    return float(in_float32 / in_bfloat16)


def _seconds_of_a_turn(trainer: Trainer) -> float:
    begin = time.perf_counter()
    trainer.advance(_STEPS_A_TURN)
    return time.perf_counter() - begin


def _blank(count: int) -> Images:
    return Images(np.zeros((count, 28, 28), np.uint8), np.zeros(count, np.uint8))


if __name__ == "__main__":
    main()
