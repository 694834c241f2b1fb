"""`mnist-bench` with processor times recorded at "go" and at the end of training.

Started by `overhead.py`; writes a line of JSON to the file in `MNIST_BENCH_NOTES`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from mnist_bench.cli import main as cli
from mnist_bench.results.protocol import Message, StepCountDone
from mnist_bench.runner import process

_METERED = Path(__file__).with_name("metered.py")


class TimedWorker(process.WorkerProcess):
    """A worker that records processor times at "go" and at the last step count."""

    def go(self) -> None:
        """Let it trace and train."""
        self._times = {"before_go_seconds": time.process_time()}
        self._parent_start, self._worker_start = time.process_time(), self._worker_seconds()
        super().go()

    def messages(self) -> Iterator[Message]:
        """Its messages; each end of a step count updates the times."""
        for message in super().messages():
            if isinstance(message, StepCountDone):
                self._times |= {
                    "parent_seconds": time.process_time() - self._parent_start,
                    "worker_seconds": self._worker_seconds() - self._worker_start,
                    "train_and_evaluate_seconds": message.seconds["train"]
                    + message.seconds["evaluate"],
                }
            yield message

    def end(self) -> str | None:
        """Wait for its end and write the times."""
        Path(os.environ["MNIST_BENCH_NOTES"]).write_text(json.dumps(self._times), encoding="ascii")
        return super().end()

    def _worker_seconds(self) -> float:
        return float(sum(psutil.Process(self.pid).cpu_times()[:2]))


def main() -> None:
    """Run the command."""
    from mnist_bench.runner import executor

    process.COMMAND = (sys.executable, "-P", str(_METERED))
    executor.WorkerProcess = TimedWorker  # type: ignore[attr-defined]
    try:
        cli.main()
    finally:
        path = Path(os.environ["MNIST_BENCH_NOTES"])
        recorded = json.loads(path.read_text(encoding="ascii"))
        times = recorded | {"whole_seconds": time.process_time()}
        path.write_text(json.dumps(times), encoding="ascii")


if __name__ == "__main__":
    main()
