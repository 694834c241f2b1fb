"""Disturbances of known kinds, caused while a run trains. Linux, as root."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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

    @contextmanager
    def applied_to(self, pid: int) -> Iterator[None]:
        """Disturb a process or its machine until the context exits."""
        time.sleep(self.delay_seconds)
        with _ACTIONS[self.kind](pid, self.seconds):
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


def _spin(seconds: float | None) -> None:
    end = time.monotonic() + (seconds or 3_600)
    while time.monotonic() < end:
        sum(range(10_000))


def _hog(seconds: float | None) -> None:
    end = time.monotonic() + (seconds or 3_600)
    values = np.ones(_HOG_BYTES // 8)
    while time.monotonic() < end:
        values += 1.0


@contextmanager
def _processes(target: Callable[[float | None], None], count: int, seconds: float | None
               ) -> Iterator[None]:  # fmt: skip
    workers = [_SPAWN.Process(target=target, args=(seconds,), daemon=True) for _ in range(count)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


@contextmanager
def _one_core(_pid: int, seconds: float | None) -> Iterator[None]:
    with _processes(_spin, 1, seconds):
        yield


@contextmanager
def _all_cores(_pid: int, seconds: float | None) -> Iterator[None]:
    with _processes(_spin, psutil.cpu_count() or 1, seconds):
        yield


@contextmanager
def _memory_hog(_pid: int, seconds: float | None) -> Iterator[None]:
    with _processes(_hog, 1, seconds):
        yield


@contextmanager
def _stop(pid: int, seconds: float | None) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    timer = threading.Timer(seconds or 1.0, os.kill, (pid, signal.SIGCONT))
    timer.start()
    try:
        yield
    finally:
        timer.join()


@contextmanager
def _affinity(pid: int, _seconds: float | None) -> Iterator[None]:
    psutil.Process(pid).cpu_affinity([0])
    yield


@contextmanager
def _quota(pid: int, _seconds: float | None) -> Iterator[None]:
    _CGROUP.mkdir(exist_ok=True)
    (_CGROUP / "cpu.cfs_quota_us").write_text("100000")
    (_CGROUP / "cpu.cfs_period_us").write_text("100000")
    (_CGROUP / "cgroup.procs").write_text(str(pid))
    yield


_ACTIONS = {
    "one core": _one_core,
    "all cores": _all_cores,
    "stop": _stop,
    "affinity": _affinity,
    "quota": _quota,
    "memory hog": _memory_hog,
}
