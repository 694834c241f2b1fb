"""The suite's trainer with nothing around it: no parent, no messages, no look at the machine.

Started by `overhead.py`; prints the wall-clock seconds of training and scoring.
"""

from __future__ import annotations

import sys
import time

from mnist_bench.data import mnist
from mnist_bench.results.protocol import Request
from mnist_bench.scenarios.hyperparameters import FittedHyperparameters
from mnist_bench.worker import tensorflow_setup

_STEPS_AT_ONCE = 100


def main() -> None:
    """Train what the request on standard input asks for."""
    request = Request.model_validate_json(sys.stdin.readline())
    asked = request.hyperparameters
    if isinstance(asked, FittedHyperparameters):
        raise TypeError(f"{request.model} does not train in steps")
    tensorflow_setup.start(request.execution)
    from mnist_bench.worker.trainer import Trainer

    trainer = Trainer(
        mnist.load(request.source),
        asked,
        request.training_seed,
        parts=request.execution.parts,
    )
    last = request.rows[-1]
    begin = time.perf_counter()
    for stop in sorted({*request.grid.points(last), last}):
        while trainer.step < stop:
            trainer.advance(min(_STEPS_AT_ONCE, stop - trainer.step))
        trainer.evaluate("validation")
        trainer.evaluate("test")
    print(time.perf_counter() - begin)


if __name__ == "__main__":
    main()
