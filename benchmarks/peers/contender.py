"""Trains the paper's network with one contender and prints its times, memory and accuracy.

Started by other programs; reads a `Task` from standard input, prints a line of JSON.
"""

from __future__ import annotations

import importlib
import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from contenders import CHUNK_STEPS, CONTENDERS, Peer, Task

from mnist_bench.measurement.memory import peak_rss
from mnist_bench.scenarios import paper

_EVALUATIONS = 2
"""Timed evaluations, after a first one that may compile."""


def timed(task: Task, make: Callable[[Task], Any]) -> dict[str, Any]:
    """Train some steps; seconds of steps and evaluations, and peaks."""
    import_peak_bytes = peak_rss().bytes
    peer, ends, first_step_seconds = make(task), list[float](), list[float]()

    def reached() -> None:
        ends.append(time.perf_counter())
        if len(ends) == 1:
            first_step_seconds.append(time.time() - task.started_at)

    peer.train(stops_of(task), reached)
    seconds, peaks, accuracy = {}, [], 0.0
    for way, evaluate in peer.ways.items():
        accuracy = evaluate()
        seconds[way] = [_seconds(evaluate) for _ in range(_EVALUATIONS)]
        peaks.append(peak_rss().bytes)
    return {
        "name": task.name,
        "settings": peer.settings,
        "chunk_milliseconds": [
            (end - begin) / CHUNK_STEPS * 1000 for begin, end in itertools.pairwise(ends[1:])
        ],
        "evaluation_seconds": seconds,
        "peak_rss_bytes": peaks[0],  # after the documented way
        "import_peak_rss_bytes": import_peak_bytes,
        "first_step_seconds": first_step_seconds[0],
        "test_accuracy": accuracy,
    }


def stops_of(task: Task) -> list[int]:
    """Step counts after the first step, the warm-up and each chunk."""
    warm = max(2, task.warm_up_steps)
    return [1, warm, *range(warm + CHUNK_STEPS, warm + task.steps + 1, CHUNK_STEPS)]


def _seconds(call: Callable[[], float]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def complete(task: Task, make: Callable[[Task], Any]) -> dict[str, Any]:
    """Train to each step count; test accuracies on Table I's grid, and seconds."""
    accuracies, seconds = [], []
    for steps in task.step_counts:
        begin = time.perf_counter()
        accuracies.append(_curve(make(task), steps))
        seconds.append(time.perf_counter() - begin)
    peak = peak_rss().bytes
    return {"test_accuracies": accuracies, "row_seconds": seconds, "peak_rss_bytes": peak}


def _curve(peer: Peer, steps: int) -> list[float]:
    grid, accuracies = paper.PROTOCOL.grid.points(steps), list[float]()
    evaluate = next(iter(peer.ways.values()))

    def reached() -> None:
        if len(accuracies) < len(grid):  # the last step may be off the grid
            accuracies.append(evaluate())

    peer.train(sorted({*grid, steps}), reached)
    return accuracies


if __name__ == "__main__":
    given = Task.model_validate_json(sys.stdin.readline())
    module = importlib.import_module(CONTENDERS[given.name].module)
    module.prepare(given.threads)
    print(json.dumps((complete if given.step_counts else timed)(given, module.make)))
