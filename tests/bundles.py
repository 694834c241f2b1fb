"""Hand-made runs as a bundle: a quick way to fill a real database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from records import evaluations, machine, run

from mnist_bench.measurement.conditions import Conditions, Stretch, Surroundings, TrainingStretch
from mnist_bench.results.run import RunResult
from mnist_bench.scenarios.scenario import Scenario
from mnist_bench.tracking.bundle import Bundle, BundledRun, to_bytes

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


def full_of_everything(folder: Path, name: str) -> str:
    """A bundle in which nothing that a run may tell is missing, with few scorings beside it."""
    look = Surroundings(
        logical_cores=4, affinity_cores=3, quota_cores=2.5, governor="performance",
        clock_mhz=2_400.0, on_battery=False, battery_percent=80.0, temperature_celsius=61.5,
        memory_available_bytes=2**33, memory_total_bytes=2**34, swap_used_bytes=0,
    )  # fmt: skip
    seen = Stretch(
        wall_seconds=20.1, own_cpu_seconds=40.0, family_cpu_seconds=0.5, other_cpu_seconds=0.25,
        steal_seconds=0.125, throttled_seconds=0.0, memory_stall_seconds=0.0, swapped_bytes=0,
        suspended_seconds=0.0, processor_joules=560.0, battery_joules=800.0,
    )  # fmt: skip
    stretch = TrainingStretch(step=201, steps=200, train_seconds=4.0, rss_bytes=2**29, seen=seen)
    conditions = Conditions(
        surroundings=(look, look), calibration_seconds=(0.5, 0.51), stretches=(stretch, stretch)
    )
    told = {
        "conditions": conditions, "verdict": "suspect", "reasons": ("other load", "on battery"),
        "phase_peak_rss_bytes": {"import": 300 * 2**20, "train": 900 * 2**20},
        "shared_phases": ("import", "data"), "device": "gpu", "device_name": "Imaginary GPU",
        "device_memory_bytes": 2**33, "bfloat16_speedup": 1.5, "eval_every": 500,
    }  # fmt: skip
    runs = [
        run(steps, 0.985, seed, evaluations=evaluations(steps, 0.985, every=500), **told)
        for seed in (0, 1)
        for steps in (1_000, 2_500)
    ]
    asked = Scenario(title="Scenario table-1", model="paper-cnn", steps=(1_000, 2_500),
                     eval_every=500)  # fmt: skip
    return bundle(folder, name, runs, scenario=asked)


def bundle(
    folder: Path, name: str, runs: list[RunResult], scenario: Scenario | None = None, **of: Any
) -> str:
    """A bundle of runs of one machine, each begun a minute after the one before."""
    asked = None if scenario is None else 0
    told = tuple(
        BundledRun(result=r.model_copy(update={"run_id": None}), machine=0, scenario=asked,
                   begun_at_ms=NOON_MS + 60_000 * index)
        for index, r in enumerate(runs)
    )  # fmt: skip
    here = machine(**({"machine_id": runs[0].machine_id} | of))
    scenarios = () if scenario is None else (scenario,)
    made = Bundle(mnist_bench="0.1.0", machines=(here,), runs=told, scenarios=scenarios)
    (folder / name).write_bytes(to_bytes(made, ""))
    return name
