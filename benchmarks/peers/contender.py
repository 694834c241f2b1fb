"""Trains the paper's network with one contender and measures its time and memory.

Started by `peers.py`. Reads a `TimedTask` from standard input, prints a `Timed` as its last line.
"""

from __future__ import annotations

import importlib
import itertools
import sys
import time
from collections.abc import Callable

from measured import CHUNK_STEPS, CONTENDERS, Peer, Timed, TimedTask

from mnist_bench.data import mnist
from mnist_bench.measurement.memory import peak_rss

_EVALUATIONS = 2
"""Timed evaluations, after a first one that may compile."""


def main() -> None:
    """Run one task."""
    task = TimedTask.model_validate_json(sys.stdin.readline())
    module = importlib.import_module(CONTENDERS[task.name].module)
    module.prepare(task.threads)
    import_peak_bytes = peak_rss().bytes
    peer: Peer = module.make(task, mnist.load(task.source))
    stops = _stops(task)
    ends: list[float] = []
    first_steps: list[float] = []

    def reached() -> None:
        ends.append(time.perf_counter())
        if not first_steps:
            first_steps.append(time.time() - task.started_at)

    peer.train(stops, reached)
    timed = itertools.pairwise(ends[1:])
    chunks = tuple((end - begin) / CHUNK_STEPS * 1000 for begin, end in timed)
    seconds, peak_bytes, accuracy = _evaluations(peer)
    answer = Timed(
        name=task.name,
        settings=peer.settings,
        chunk_milliseconds=chunks,
        evaluation_seconds=seconds,
        peak_rss_bytes=peak_bytes,
        import_peak_rss_bytes=import_peak_bytes,
        first_step_seconds=first_steps[0],
        test_accuracy=accuracy,
    )
    print(answer.model_dump_json())


def _stops(task: TimedTask) -> list[int]:
    """Step counts after the first step, the warm-up and each chunk."""
    warm = max(2, task.warm_up_steps)
    return [1, warm, *range(warm + CHUNK_STEPS, warm + task.steps + 1, CHUNK_STEPS)]


def _evaluations(peer: Peer) -> tuple[dict[str, tuple[float, ...]], int | None, float]:
    """Seconds by evaluation method, the peak after the first method, and the accuracy."""
    seconds: dict[str, tuple[float, ...]] = {}
    peaks: list[int | None] = []
    accuracy = 0.0
    for way, evaluate in peer.ways.items():
        accuracy = evaluate()
        seconds[way] = tuple(_timed(evaluate) for _ in range(_EVALUATIONS))
        peaks.append(peak_rss().bytes)
    return seconds, peaks[0], accuracy


def _timed(call: Callable[[], float]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
