"""Peak speed of matrix products on this machine, in float32 and bfloat16.

Started by `peers.py`. Reads an `Execution` from standard input, prints `Products` as its last line.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from measured import Products

from mnist_bench.scenarios.execution import Execution
from mnist_bench.worker import tensorflow_setup

_SIDES = (1024, 2048, 4096)
_SECONDS = 0.8
"""Duration for each side and precision."""


def main() -> None:
    """Measure and print the speed."""
    execution = Execution.model_validate_json(sys.stdin.readline())
    tensorflow_setup.start(execution)
    import tensorflow as tf

    # All threads work on one product here; in the trainer each has its own operations.
    tf.config.threading.set_intra_op_parallelism_threads(execution.threads)
    speeds = {
        precision: {side: gflops(tf, precision, side) for side in _SIDES}
        for precision in ("float32", "bfloat16")
    }
    print(Products(gflops=speeds).model_dump_json())


def gflops(tf: Any, precision: str, side: int) -> float:
    """Speed of the median product of two square matrices."""
    a, b = (tf.cast(tf.random.normal((side, side)), precision) for _ in "ab")
    product = tf.function(tf.linalg.matmul)
    product(a, b)
    seconds: list[float] = []
    while sum(seconds) < _SECONDS:
        begin = time.perf_counter()
        product(a, b)
        seconds.append(time.perf_counter() - begin)
    return float(2e-9 * side**3 / statistics.median(seconds))


if __name__ == "__main__":
    main()
