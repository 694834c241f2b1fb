"""Import of TensorFlow without Keras, and its device and thread settings."""

from __future__ import annotations

import os

from mnist_bench.scenarios.execution import Execution


def start(execution: Execution) -> None:
    """Import TensorFlow and set its threads and devices, before its first operation."""
    # TensorFlow imports Keras, and Keras pandas, unless it looks for legacy Keras, which is not
    # installed. Neither is needed here: saves 2 s and 170 MB.
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    # By default TensorFlow uses oneDNN's convolutions only on processors with AVX-512 or similar;
    # with AVX2 alone they take half the time of TensorFlow's own: docs/speed.md.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    import tensorflow as tf

    # The trainer cuts its work into as many shards: concurrent operations of one thread each wait
    # less for one another than several threads inside each operation: docs/speed.md.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(execution.threads)
    gpus = tf.config.list_physical_devices("GPU")[:1] if execution.device == "gpu" else []
    if execution.device == "gpu" and not gpus:
        raise RuntimeError("the requested GPU is not available")
    tf.config.set_visible_devices(gpus, "GPU")
    for gpu in gpus:
        # Otherwise TensorFlow allocates all of its memory at once.
        tf.config.experimental.set_memory_growth(gpu, True)  # noqa: FBT003
