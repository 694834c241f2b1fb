"""`import tensorflow` and the trainer up to its first step, without anything else.

Started by `first_step.py`; prints the Unix time at which TensorFlow was imported, and the seconds
to build the trainer and run its first step. With the argument `quick` it imports TensorFlow as the
worker does, without Keras and pandas. Loading the images is not timed.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    """Import TensorFlow, then train one step."""
    if "quick" in sys.argv:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf  # noqa: F401  # first, so that nothing else is timed

    imported_at = time.time()
    from mnist_bench.data import mnist
    from mnist_bench.measurement import system
    from mnist_bench.scenarios import paper, scenario
    from mnist_bench.scenarios.execution import Execution
    from mnist_bench.worker import tensorflow_setup

    execution = Execution(threads=system.usable_threads())
    tensorflow_setup.start(execution)
    from mnist_bench.worker.trainer import Trainer

    smoke = scenario.read(scenario.find("smoke"))
    dataset = mnist.load(mnist.find(smoke.dataset, None, log=print))
    begin = time.perf_counter()
    Trainer(dataset, paper.HYPERPARAMETERS, 0, shards=execution.shards).advance(1)
    times = {"imported_at": imported_at, "trace_seconds": time.perf_counter() - begin}
    print(json.dumps(times), flush=True)
    # Exit at once, like the worker: shutting TensorFlow down takes time.
    os._exit(0)


if __name__ == "__main__":
    main()
