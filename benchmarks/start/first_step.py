"""From a fresh process to the first training step: the whole command, and TensorFlow alone."""

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
_JOURNALS = Path("mlruns", ".runs")
_LOOK_SECONDS = 0.02
_END_SECONDS = 60.0


@dataclass(frozen=True)
class Bare:
    """TensorFlow and the trainer alone.

    Attributes:
        import_seconds: From the start of the process until TensorFlow was imported.
        trace_seconds: Building the trainer, and its first step.
    """

    import_seconds: float
    trace_seconds: float

    @property
    def seconds(self) -> float:
        """Both together; the images are loaded in between, and not counted."""
        return self.import_seconds + self.trace_seconds


@dataclass(frozen=True)
class Round:
    """The command, and what it is held against, one right after the other.

    Attributes:
        smoke_seconds: From the start of `mnist-bench run smoke` to its first training step.
        quick: TensorFlow imported as the suite does it.
        plain: TensorFlow imported as everybody does it.
    """

    smoke_seconds: float
    quick: Bare
    plain: Bare

    @property
    def by_quick(self) -> float:
        """How many times as long as the quick way the command takes."""
        return self.smoke_seconds / self.quick.seconds

    @property
    def by_plain(self) -> float:
        """How many times as long as the plain way the command takes."""
        return self.smoke_seconds / self.plain.seconds


def measure(turn: int, folder: Path) -> Round:
    """One round; which of the three comes first changes from turn to turn.

    Args:
        turn: From 0 on.
        folder: Where the command is given; its database lies there from the first turn on.
    """
    bare: dict[str, Bare] = {}
    smoke_seconds = 0.0
    ways = ("smoke", "quick", "plain")
    for way in ways[turn % 3 :] + ways[: turn % 3]:
        if way == "smoke":
            smoke_seconds = _smoke(folder)
        else:
            bare[way] = _bare(way)
    return Round(smoke_seconds, bare["quick"], bare["plain"])


def _bare(way: str) -> Bare:
    begin = time.time()
    done = subprocess.run(
        [sys.executable, "-P", str(_BARE), way],
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    told: dict[str, float] = json.loads(done.stdout)
    return Bare(told["imported_at"] - begin, told["trace_seconds"])


def _smoke(folder: Path) -> float:
    """Give the command, see in its journal when the first step is done, and end it."""
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
            for message, at_ms in _said(folder / _JOURNALS):
                if message["kind"] == "sample":
                    if message["stretch"]["steps"] != 1:
                        raise RuntimeError("the first stretch was longer than a step")
                    return at_ms / 1_000 - begin
            time.sleep(_LOOK_SECONDS)
        raise RuntimeError(f"`run smoke` ended with exit status {process.returncode}, untrained")
    finally:
        process.terminate()
        process.wait(_END_SECONDS)


def _said(journals: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """What the worker has said so far, each with the Unix time in milliseconds."""
    for path in journals.glob("*.jsonl"):
        for line in path.read_bytes().splitlines(keepends=True):
            entry = json.loads(line) if line.endswith(b"\n") else {}
            if entry.get("kind") == "said":
                yield entry["message"], entry["at_ms"]


def _environment() -> dict[str, str]:
    """This environment without what would lead the command elsewhere, or hurry the import."""
    led = ("MLFLOW_", "MNIST_BENCH_", "TF_USE_LEGACY_KERAS")
    return {name: value for name, value in os.environ.items() if not name.startswith(led)}
