"""Hand-made runs as a bundle: a quick way to fill a real database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from records import evaluations, machine, run

from mnist_bench.bundle import Bundle, BundledRun, to_bytes
from mnist_bench.result import RunResult

DAY_MS = 86_400_000
NOON_MS = 1_767_225_600_000 + DAY_MS // 2
"""Noon of 1 January 2026 in UTC."""


def table_1(machine_id: str = "a" * 32, pace: float = 0.02, **changes: Any) -> list[RunResult]:
    """Three seeds of Table I on a machine, at so many seconds a step."""
    best = {1_000: 0.984, 2_500: 0.989, 5_000: 0.992, 10_000: 0.993}
    return [
        run(steps, accuracy + seed * 1e-4, seed, machine_id=machine_id, verdict="clean",
            trajectory=f"{machine_id}-{seed}-{pace}",
            evaluations=evaluations(steps, accuracy + seed * 1e-4, seconds=pace), **changes)
        for seed in range(3)
        for steps, accuracy in best.items()
    ]  # fmt: skip


def bundle(folder: Path, name: str, runs: list[RunResult], **of: Any) -> str:
    """A bundle of runs of one machine, each begun a minute after the one before."""
    told = tuple(
        BundledRun(result=r.model_copy(update={"run_id": None}), machine=0,
                   begun_at_ms=NOON_MS + 60_000 * index)
        for index, r in enumerate(runs)
    )  # fmt: skip
    here = machine(**({"machine_id": runs[0].machine_id} | of))
    made = Bundle(mnist_bench="0.1.0", machines=(here,), runs=told)
    (folder / name).write_bytes(to_bytes(made, ""))
    return name
