"""Meters of processor time in the command and in its worker, started by `overhead.py`."""

from __future__ import annotations

import atexit
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from mnist_bench.measurement import system
from mnist_bench.results.protocol import Message, SampleMessage, StepCountDone
from mnist_bench.runner import executor, process


class MeteredWorker(process.WorkerProcess):
    """A worker that notes processor times at "go" and at the end of the last step count."""

    times: dict[str, float]

    def go(self) -> None:
        """Let it trace and train."""
        type(self).times = {"before_go_cpu_seconds": time.process_time()}
        self._start = (time.process_time(), self._cpu_seconds())
        super().go()

    def messages(self) -> Iterator[Message]:
        """Its messages; each end of a step count updates the times."""
        for message in super().messages():
            if isinstance(message, StepCountDone):
                self.times["parent_cpu_seconds"] = time.process_time() - self._start[0]
                self.times["worker_cpu_seconds"] = self._cpu_seconds() - self._start[1]
            yield message

    def _cpu_seconds(self) -> float:
        return float(sum(psutil.Process(self.pid).cpu_times()[:2]))


def meter_command(times: str, sampling: str) -> None:
    """Meter this command; at its end its times are written to one file, its worker's to another."""
    process.COMMAND = (sys.executable, "-P", __file__, sampling)
    executor.WorkerProcess = MeteredWorker  # type: ignore[attr-defined]

    def write() -> None:
        found = MeteredWorker.times | {"whole_cpu_seconds": time.process_time()}
        Path(times).write_text(json.dumps(found), encoding="ascii")

    atexit.register(write)


def meter_worker() -> int:
    """Run the worker; return its status, and write the seconds of its sampling to a file.

    They are the main thread's, for reading the machine's state, resetting peak memory and sending
    samples.
    """
    from mnist_bench.worker import __main__, loop

    seconds = 0.0

    def metered(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal seconds
            begin = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                seconds += time.thread_time() - begin

        return call

    for owner, name in (
        (system.Sensors, "counters"), (system.Sensors, "surroundings"), (loop, "rss_bytes"),
        (loop.PhaseMeter, "_end_phase"), (loop, "between"), (SampleMessage, "model_dump_json"),
    ):  # fmt: skip
        setattr(owner, name, metered(getattr(owner, name)))
    status = __main__.main()
    Path(sys.argv[1]).write_text(str(seconds), encoding="ascii")
    return status


if __name__ == "__main__":
    sys.exit(meter_worker())
