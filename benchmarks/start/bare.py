"""`import tensorflow`, then the suite's trainer up to its first step, with nothing around them.

Started by `first_step.py`; prints when TensorFlow was imported, as Unix time in seconds, and what
building the trainer and its first step took. With the word `quick` it imports TensorFlow as the
suite does, without Keras and pandas. Loading the images counts for neither.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    """Import, then train one step."""
    if "quick" in sys.argv:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf  # noqa: F401  # before anything else: it alone is timed

    imported_at = time.time()
    from mnist_bench.data import mnist
    from mnist_bench.measurement import system
    from mnist_bench.scenarios import paper, scenario
    from mnist_bench.scenarios.execution import Execution
    from mnist_bench.worker import tensorflow_setup

    execution = Execution(threads=system.usable_threads())
    tensorflow_setup.start(execution)
    from mnist_bench.worker.trainer import Trainer

    asked = scenario.read(scenario.find("smoke"))
    dataset = mnist.load(mnist.find(asked.dataset, None, say=print))
    begin = time.perf_counter()
    Trainer(dataset, paper.HYPERPARAMETERS, 0, parts=execution.parts).advance(1)
    told = {"imported_at": imported_at, "trace_seconds": time.perf_counter() - begin}
    print(json.dumps(told), flush=True)
    # At once, as the suite's worker: TensorFlow's own end is no part of a start.
    os._exit(0)


if __name__ == "__main__":
    main()
