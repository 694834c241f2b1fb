"""Disturbances of known kinds, caused while a run trains. Linux, as root."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

KINDS = ("one core", "all cores", "stop", "affinity", "quota", "memory hog")
_CGROUP = Path("/sys/fs/cgroup/cpu/mnist-bench-trust")
_HOG_BYTES = 6 * 2**30
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Disturbance:
    """A disturbance of a run.

    Attributes:
        kind: One of `KINDS`.
        begin: Share of the training's steps after which it starts.
        seconds: Duration; None until the end of the run.
        delay_seconds: Delay after that step, so that it is not synchronized with the run.
    """

    kind: str
    begin: float
    seconds: float | None
    delay_seconds: float = 0.0

    @property
    def from_start(self) -> bool:
        """Whether it applies from the start of the process."""
        return self.kind in {"affinity", "quota"}

    @property
    def recorded(self) -> dict[str, Any]:
        """What is kept of it."""
        return {"kind": self.kind, "begin": self.begin, "seconds": self.seconds}

    @contextlib.contextmanager
    def applied_to(self, pid: int) -> Iterator[None]:
        """Disturb a process or its machine until the context exits."""
        time.sleep(self.delay_seconds)
        with contextlib.ExitStack() as stack:
            if self.kind == "affinity":
                psutil.Process(pid).cpu_affinity([0])
            elif self.kind == "quota":
                _CGROUP.mkdir(exist_ok=True)
                (_CGROUP / "cpu.cfs_quota_us").write_text("100000")
                (_CGROUP / "cpu.cfs_period_us").write_text("100000")
                (_CGROUP / "cgroup.procs").write_text(str(pid))
            elif self.kind == "stop":
                os.kill(pid, signal.SIGSTOP)
                timer = threading.Timer(self.seconds or 1.0, os.kill, (pid, signal.SIGCONT))
                timer.start()
                stack.callback(timer.join)
            else:
                target: Callable[[float], None] = _hog if self.kind == "memory hog" else _spin
                for _ in range(psutil.cpu_count() or 1 if self.kind == "all cores" else 1):
                    process = _SPAWN.Process(target=target, args=(self.seconds or 3_600,))
                    process.start()
                    stack.callback(process.join)
                    stack.callback(process.kill)
            yield


def draw(kind: str, rng: random.Random, quiet_seconds: float) -> Disturbance:
    """Draw a disturbance with a random start and duration.

    Args:
        kind: One of `KINDS`.
        rng: Random generator.
        quiet_seconds: Duration of an undisturbed training; durations are shares of it.
    """
    if kind in {"affinity", "quota"}:
        return Disturbance(kind, 0.0, None)
    begin, share = (0.1, 0.8), (0.08, 0.5)
    if kind != "stop":
        begin, share = (0.0, 0.5), (0.3, 1.0)
    return Disturbance(
        kind,
        begin=rng.uniform(*begin),
        seconds=rng.uniform(*share) * quiet_seconds,
        delay_seconds=rng.uniform(0.0, quiet_seconds / 10),
    )


def _spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(10_000))


def _hog(seconds: float) -> None:
    end = time.monotonic() + seconds
    values = np.ones(_HOG_BYTES // 8)
    while time.monotonic() < end:
        values += 1.0
