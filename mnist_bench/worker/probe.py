"""Probe of TensorFlow on this machine: the GPUs that it can use."""

from __future__ import annotations

from itertools import zip_longest

from mnist_bench.results.protocol import Gpu, ProbeResult
from mnist_bench.scenarios.execution import Execution
from mnist_bench.worker import tensorflow_setup


def probe(execution: Execution) -> ProbeResult:
    """Import TensorFlow with these settings and find its GPUs."""
    tensorflow_setup.start(execution)
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    if not found:
        return ProbeResult(gpus=())
    from tensorflow.python.client import device_lib  # no public API reports the memory

    details = map(tf.config.experimental.get_device_details, found)
    names = [
        detail.get("device_name") or gpu.name for detail, gpu in zip(details, found, strict=True)
    ]
    limits = [d.memory_limit for d in device_lib.list_local_devices() if d.device_type == "GPU"]
    named_limits = zip_longest(names, limits[: len(names)])
    return ProbeResult(gpus=tuple(Gpu(name=n, memory_bytes=limit) for n, limit in named_limits))
