"""TensorFlow, imported without what nobody needs here, and settled on a device and its threads."""

from __future__ import annotations

import os

from mnist_bench.scenarios.execution import Execution


def start(execution: Execution) -> None:
    """Import TensorFlow and settle its threads and devices, before its first operation.

    Raises:
        RuntimeError: A GPU is asked for and there is none.
    """
    # TensorFlow imports Keras, and Keras pandas, unless it is told to look for the Keras of old,
    # which is not there. Nobody here needs either: 2 s and 170 MB less.
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    # Left to itself, TensorFlow takes oneDNN's convolutions only where the processor has AVX-512 or
    # the like; with AVX2 alone they take half the time of its own: docs/speed.md.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    import tensorflow as tf

    # The trainer cuts its work into as many parts: operations side by side, each on one thread,
    # lose less time in waiting for one another than threads inside each: docs/speed.md.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(execution.threads)
    wanted = tf.config.list_physical_devices("GPU")[:1] if execution.device == "gpu" else []
    if execution.device == "gpu" and not wanted:
        raise RuntimeError("the GPU that was asked for is gone")
    tf.config.set_visible_devices(wanted, "GPU")
    for gpu in wanted:
        # Else TensorFlow takes all of its memory at once, whatever it needs.
        tf.config.experimental.set_memory_growth(gpu, True)  # noqa: FBT003
