"""Time to the first training step: of the command, and of TensorFlow alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BARE = Path(__file__).with_name("bare.py")
_SPOOLS = Path("mlruns", ".runs")
_POLL_SECONDS = 0.02
_END_SECONDS = 60.0


@dataclass(frozen=True)
class Bare:
    """TensorFlow and the trainer alone.

    Attributes:
        import_seconds: From the start of the process until TensorFlow is imported.
        trace_seconds: Building the trainer and its first step.
    """

    import_seconds: float
    trace_seconds: float

    @property
    def seconds(self) -> float:
        """Total, without loading the images."""
        return self.import_seconds + self.trace_seconds


@dataclass(frozen=True)
class Round:
    """The command and both baselines, measured one after another.

    Attributes:
        smoke_seconds: From the start of `mnist-bench run smoke` to its first training step.
        quick: TensorFlow imported as by the worker, without Keras.
        plain: TensorFlow imported with defaults.
    """

    smoke_seconds: float
    quick: Bare
    plain: Bare

    @property
    def by_quick(self) -> float:
        """Time of the command divided by that of `quick`."""
        return self.smoke_seconds / self.quick.seconds

    @property
    def by_plain(self) -> float:
        """Time of the command divided by that of `plain`."""
        return self.smoke_seconds / self.plain.seconds


def measure(turn: int, folder: Path) -> Round:
    """Measure one round; the order rotates with the turn.

    Args:
        turn: Index of the round.
        folder: Working folder of the command, with its database from the first turn on.
    """
    bare: dict[str, Bare] = {}
    smoke_seconds = 0.0
    kinds = ("smoke", "quick", "plain")
    for kind in kinds[turn % 3 :] + kinds[: turn % 3]:
        if kind == "smoke":
            smoke_seconds = _smoke(folder)
        else:
            bare[kind] = _bare(kind)
    return Round(smoke_seconds, bare["quick"], bare["plain"])


def _bare(kind: str) -> Bare:
    begin = time.time()
    done = subprocess.run(
        [sys.executable, "-P", str(_BARE), kind],
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    times: dict[str, float] = json.loads(done.stdout)
    return Bare(times["imported_at"] - begin, times["trace_seconds"])


def _smoke(folder: Path) -> float:
    """Start the command, read the time of the first step from its spool, and terminate it."""
    begin = time.time()
    process = subprocess.Popen(
        [sys.executable, "-m", "mnist_bench", "run", "smoke", "--no-report"],
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None:
            for message, at_ms in _messages(folder / _SPOOLS):
                if message["kind"] == "sample":
                    if message["stretch"]["steps"] != 1:
                        raise RuntimeError("the first stretch was longer than a step")
                    return at_ms / 1_000 - begin
            time.sleep(_POLL_SECONDS)
        raise RuntimeError(
            f"`run smoke` ended with exit status {process.returncode} before training"
        )
    finally:
        process.terminate()
        process.wait(_END_SECONDS)


def _messages(spools: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Messages of the worker so far, with Unix times in milliseconds."""
    for path in spools.glob("*.jsonl"):
        for line in path.read_bytes().splitlines(keepends=True):
            entry = json.loads(line) if line.endswith(b"\n") else {}
            if entry.get("kind") == "said":
                yield entry["message"], entry["at_ms"]


def _environment() -> dict[str, str]:
    """The environment without variables that change the store or the import."""
    removed = ("MLFLOW_", "MNIST_BENCH_", "TF_USE_LEGACY_KERAS")
    return {name: value for name, value in os.environ.items() if not name.startswith(removed)}
