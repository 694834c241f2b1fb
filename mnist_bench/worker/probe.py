"""Probe of TensorFlow on this machine: the GPUs, and the speedup of bfloat16."""

from __future__ import annotations

import statistics
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

_MIN_SECONDS = 1.0
"""Least time spent on timing, both precisions together."""
_MIN_ROUNDS = 3
_STEPS_PER_ROUND = 5


def probe(execution: Execution) -> ProbeResult:
    """The GPUs, and the speedup of bfloat16 if the execution asks for it."""
    tensorflow_setup.start(execution)
    speedup = measure_speedup(execution.shards) if execution.precision == "bfloat16" else None
    return ProbeResult(gpus=tuple(gpus()), bfloat16_speedup=speedup)


def gpus() -> list[Gpu]:
    """The GPUs that TensorFlow can use."""
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    if not found:
        return []
    from tensorflow.python.client import device_lib  # no public API reports the memory

    details = (tf.config.experimental.get_device_details(gpu) for gpu in found)
    names = [
        detail.get("device_name") or gpu.name for detail, gpu in zip(details, found, strict=True)
    ]
    limits = [d.memory_limit for d in device_lib.list_local_devices() if d.device_type == "GPU"]
    named_limits = zip_longest(names, limits[: len(names)])
    return [Gpu(name=name, memory_bytes=limit) for name, limit in named_limits]


def measure_speedup(shards: int) -> float:
    """Speedup of a training step in bfloat16 over float32, measured on blank images.

    Rounds of the two precisions alternate, so that a machine that slows down affects both.
    """
    from mnist_bench.worker.trainer import Trainer

    hyperparameters = PaperCnnHyperparameters()
    images = _blank_images(hyperparameters.batch_size * _STEPS_PER_ROUND)
    dataset = Dataset(train=images, validation=images, test=images)
    trainers = [
        Trainer(dataset, hyperparameters, 0, precision=precision, shards=shards)
        for precision in PRECISIONS
    ]
    rounds: list[list[float]] = []
    start = time.perf_counter()
    while len(rounds) <= _MIN_ROUNDS or time.perf_counter() - start < _MIN_SECONDS:
        rounds.append([_round_seconds(trainer) for trainer in trainers])
    warm = rounds[1:]
    in_float32, in_bfloat16 = (
        statistics.median(round_[index] for round_ in warm) for index in range(len(trainers))
    )
    return float(in_float32 / in_bfloat16)


def _round_seconds(trainer: Trainer) -> float:
    start = time.perf_counter()
    trainer.advance(_STEPS_PER_ROUND)
    return time.perf_counter() - start


def _blank_images(count: int) -> Images:
    return Images(np.zeros((count, 28, 28), np.uint8), np.zeros(count, np.uint8))
