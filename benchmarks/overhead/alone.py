"""The trainer alone, without a parent process, messages and machine checks.

Started by `overhead.py`; prints the wall-clock seconds of training and evaluation.
"""

from __future__ import annotations

import sys
import time

from mnist_bench.data import mnist
from mnist_bench.results.protocol import Request
from mnist_bench.scenarios.hyperparameters import FittedHyperparameters
from mnist_bench.worker import tensorflow_setup

_STEPS_PER_CALL = 100


def main() -> None:
    """Train by the request on standard input."""
    request = Request.model_validate_json(sys.stdin.readline())
    hyperparameters = request.hyperparameters
    if isinstance(hyperparameters, FittedHyperparameters):
        raise TypeError(f"{request.model} does not train in steps")
    tensorflow_setup.start(request.execution)
    from mnist_bench.worker.trainer import Trainer

    trainer = Trainer(
        mnist.load(request.source),
        hyperparameters,
        request.training_seed,
        shards=request.execution.shards,
    )
    last = request.step_counts[-1]
    begin = time.perf_counter()
    for stop in sorted({*request.grid.points(last), last}):
        while trainer.step < stop:
            trainer.advance(min(_STEPS_PER_CALL, stop - trainer.step))
        trainer.evaluate("validation")
        trainer.evaluate("test")
    print(time.perf_counter() - begin)


if __name__ == "__main__":
    main()
