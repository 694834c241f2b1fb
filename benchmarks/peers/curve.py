"""Trains one contender completely, evaluated on the test images on Table I's grid.

Started by `equivalence.py` and `whole.py`. Reads a `CurveTask` from standard input, prints `Curves`
as its last line.
"""

from __future__ import annotations

import importlib
import sys
import time

from measured import CONTENDERS, Curves, CurveTask, Peer

from mnist_bench.data import mnist
from mnist_bench.measurement.memory import peak_rss
from mnist_bench.scenarios import paper


def main() -> None:
    """Run one task."""
    task = CurveTask.model_validate_json(sys.stdin.readline())
    module = importlib.import_module(CONTENDERS[task.name].module)
    module.prepare(task.threads)
    dataset = mnist.load(task.source)
    accuracies: list[tuple[float, ...]] = []
    seconds: list[float] = []
    for steps in task.rows:
        begin = time.perf_counter()
        accuracies.append(_trained(module.make(task, dataset), steps))
        seconds.append(time.perf_counter() - begin)
    answer = Curves(
        name=task.name,
        seed=task.seed,
        test_accuracies=tuple(accuracies),
        row_seconds=tuple(seconds),
        peak_rss_bytes=peak_rss().bytes,
    )
    print(answer.model_dump_json())


def _trained(peer: Peer, steps: int) -> tuple[float, ...]:
    """Test accuracies of one training on the grid."""
    grid = paper.PROTOCOL.grid.points(steps)
    accuracies: list[float] = []
    way = next(iter(peer.ways))

    def reached() -> None:
        # The last step may be off the grid.
        if len(accuracies) < len(grid):
            accuracies.append(peer.ways[way]())

    peer.train(sorted({*grid, steps}), reached)
    return tuple(accuracies)


if __name__ == "__main__":
    main()
