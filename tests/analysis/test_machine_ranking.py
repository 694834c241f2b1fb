"""Ranking of machines, on hand-made runs."""

from __future__ import annotations

from typing import Any

import pytest
from factories import differing, evaluations, run

from mnist_bench.analysis.machine_ranking import rank_machines
from mnist_bench.reporting import columns
from mnist_bench.results.document import MachineLine
from mnist_bench.results.run_summary import RecordedRun, summarise_run
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters


def recorded(
    machine: str, seconds: float, seed: int = 0, study: str | None = None, **changes: Any
) -> RecordedRun:
    """A run of 1,000 steps of 50 images, with `seconds` per step."""
    values: dict[str, Any] = {
        "machine_id": machine * 8,
        "run_id": f"{machine}-{seed}-{seconds}",
        "evaluations": evaluations(1_000, 0.985, final=0.98, seconds=seconds),
    }
    result = run(1_000, seed=seed, **(values | changes))
    return RecordedRun(summarise_run(result), 0, machine=f"Machine {machine}", study=study)


def by_machine(*runs: RecordedRun) -> dict[str, MachineLine]:
    return {line.machine: line for line in rank_machines(runs)}


def test_fastest_machine_is_first() -> None:
    lines = by_machine(
        recorded("a", 0.02),
        recorded("a", 0.025, 1),
        recorded("a", 9.0, 2, verdict="invalid"),
        recorded("a", 0.01, 3, threads=1),  # the most threads are ranked
        RecordedRun(recorded("b", 0.01).run, 0),  # without a name
    )
    assert list(lines) == ["machine bbbbbbbb", "Machine a"]
    fast = {"n": 1, "images_per_second_mean": 5_000, "images_per_second_sd": None, "relative": 1}
    slow = {
        "n": 2, "images_per_second_mean": 2_250, "images_per_second_sd": 500 / 2**0.5,
        "relative": 0.45, "final_test_accuracy_mean": 0.98, "threads": 2,
        "peak_rss_bytes_max": 1_000 * 2**20 + 1_000,
    }  # fmt: skip
    assert not differing(lines["machine bbbbbbbb"], fast)
    assert not differing(lines["Machine a"], slow)


@pytest.mark.parametrize(
    "other",
    [
        recorded("a", 0.01, 1),
        recorded("a", 0.02, device_name="Two"),
        recorded("b", 0.01, dataset="mnist-5k"),
        recorded("b", 0.01, precision="bfloat16"),
        recorded("b", 0.01, scenario="other"),
        recorded("b", 0.01, status="failed"),
        recorded("b", 0.01, study="s"),
        recorded("b", 0.01, verdict="invalid"),
    ],
)
def test_only_machines_with_the_same_task_are_ranked(other: RecordedRun) -> None:
    assert rank_machines([recorded("a", 0.02), other]) == ()


def test_other_settings_and_tasks_are_ranked_separately() -> None:
    fine = [recorded(machine, 0.02) for machine in "ab"]
    coarse = [recorded(machine, 0.01, precision="bfloat16") for machine in "ab"]
    other = [recorded(machine, 0.03, dataset="mnist-5k", eval_every=50,
                      hyperparameters=PaperCnnHyperparameters(dropout_rate=0.2))
             for machine in "ab"]  # fmt: skip
    lines = rank_machines([*fine, *coarse, *other])
    assert sorted(columns.task(line) for line in lines[::2]) == [
        "bfloat16, cpu", "float32, cpu",
        "float32, cpu, mnist-5k, dropout_rate 0.2, scored at 1, then every 50",
    ]  # fmt: skip
    assert len({line.task for line in lines}) == 3
    assert [line.relative for line in lines] == [1.0] * 6


def test_gpus_of_one_machine_are_not_averaged() -> None:
    gpus = (("a", 0.01, "One"), ("a", 0.02, "Two"), ("b", 0.04, "One"))
    lines = rank_machines(recorded(machine, seconds, device="gpu", device_name=name)
                          for machine, seconds, name in gpus)  # fmt: skip
    assert [(line.machine, columns.task(line)) for line in lines] == [
        ("Machine a", "float32, One"), ("Machine a", "float32, Two"), ("Machine b", "float32, One"),
    ]  # fmt: skip
