"""`mnist-bench`, with its own and the worker's processor time noted at "go" and at training's end.

Started by `overhead.py`; writes a line of JSON to the file that `MNIST_BENCH_NOTES` names.
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


class NotedWorker(process.WorkerProcess):
    """A worker whose go and last row are noted."""

    def go(self) -> None:
        """Let it trace and train."""
        self._notes = {"before_go_seconds": time.process_time()}
        self._own, self._workers = time.process_time(), self._worker_seconds()
        super().go()

    def messages(self) -> Iterator[Message]:
        """What it says; each row's end closes the account so far."""
        for message in super().messages():
            if isinstance(message, StepCountDone):
                self._notes |= {
                    "parent_seconds": time.process_time() - self._own,
                    "worker_seconds": self._worker_seconds() - self._workers,
                    "train_and_evaluate_seconds": message.seconds["train"]
                    + message.seconds["evaluate"],
                }
            yield message

    def end(self) -> str | None:
        """Wait for its end, and keep the notes."""
        Path(os.environ["MNIST_BENCH_NOTES"]).write_text(json.dumps(self._notes), encoding="ascii")
        return super().end()

    def _worker_seconds(self) -> float:
        return float(sum(psutil.Process(self.pid).cpu_times()[:2]))


def main() -> None:
    """Be the command."""
    from mnist_bench.runner import executor

    process.COMMAND = (sys.executable, "-P", str(_METERED))
    executor.WorkerProcess = NotedWorker  # type: ignore[attr-defined]
    try:
        cli.main()
    finally:
        path = Path(os.environ["MNIST_BENCH_NOTES"])
        notes = json.loads(path.read_text(encoding="ascii"))
        whole = notes | {"whole_seconds": time.process_time()}
        path.write_text(json.dumps(whole), encoding="ascii")


if __name__ == "__main__":
    main()
