"""Ranking of machines, on hand-made runs."""

from __future__ import annotations

from typing import Any

import pytest
from factories import evaluations, run

from mnist_bench.analysis.machine_ranking import rank_machines
from mnist_bench.reporting import columns
from mnist_bench.results.document import MachineLine
from mnist_bench.results.run_summary import RecordedRun, summarise_run
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters


def recorded_run(machine: str, seed: int, seconds: float, **changes: Any) -> RecordedRun:
    """A run of 1,000 steps of 50 images, with `seconds` per step."""
    values: dict[str, Any] = {
        "machine_id": machine * 8,
        "run_id": f"{machine}-{seed}-{seconds}",
        "evaluations": evaluations(1_000, 0.985, final=0.98, seconds=seconds),
    }
    study = changes.pop("study", None)
    result = run(1_000, seed=seed, **(values | changes))
    return RecordedRun(summarise_run(result), 0, machine=f"Machine {machine}", study=study)


def by_machine(*runs: RecordedRun) -> dict[str, MachineLine]:
    return {line.machine: line for line in rank_machines(runs)}


def test_fastest_machine_is_first() -> None:
    lines = rank_machines(
        [recorded_run("a", 0, 0.02), recorded_run("a", 1, 0.025), recorded_run("b", 0, 0.01)]
    )
    assert [line.machine for line in lines] == ["Machine b", "Machine a"]
    fast, slow = lines
    assert (fast.n, slow.n) == (1, 2)
    assert fast.images_per_second_mean == pytest.approx(5_000)
    assert slow.images_per_second_mean == pytest.approx((2_500 + 2_000) / 2)
    assert slow.images_per_second_sd == pytest.approx(500 / 2**0.5)
    assert fast.images_per_second_sd is None
    assert (fast.relative, slow.relative) == (1.0, pytest.approx(0.45))
    assert slow.final_test_accuracy_mean == pytest.approx(0.98)


def test_no_ranking_of_one_machine() -> None:
    assert rank_machines([recorded_run("a", 0, 0.02), recorded_run("a", 1, 0.02)]) == ()


def test_invalid_runs_are_left_out() -> None:
    lines = by_machine(
        recorded_run("a", 0, 0.02),
        recorded_run("a", 1, 9.0, verdict="invalid"),
        recorded_run("b", 0, 0.01),
    )
    assert lines["Machine a"].n == 1
    assert lines["Machine a"].images_per_second_mean == pytest.approx(2_500)


def test_only_the_same_task_is_compared() -> None:
    assert (
        rank_machines([recorded_run("a", 0, 0.02), recorded_run("b", 0, 0.01, dataset="mnist-5k")])
        == ()
    )
    assert (
        rank_machines(
            [recorded_run("a", 0, 0.02), recorded_run("b", 0, 0.01, precision="bfloat16")]
        )
        == ()
    )
    assert (
        rank_machines([recorded_run("a", 0, 0.02), recorded_run("b", 0, 0.01, scenario="other")])
        == ()
    )
    assert (
        rank_machines([recorded_run("a", 0, 0.02), recorded_run("b", 0, 0.01, status="failed")])
        == ()
    )
    assert rank_machines([recorded_run("a", 0, 0.02), recorded_run("b", 0, 0.01, study="s")]) == ()


def test_other_settings_and_tasks_are_ranked_separately() -> None:
    fine = [recorded_run(machine, 0, 0.02) for machine in "ab"]
    coarse = [recorded_run(machine, 0, 0.01, precision="bfloat16") for machine in "ab"]
    other = [recorded_run(m, 0, 0.03, hyperparameters=PaperCnnHyperparameters(dropout_rate=0.2),
                  dataset="mnist-5k", eval_every=50) for m in "ab"]  # fmt: skip
    lines = rank_machines([*fine, *coarse, *other])
    assert sorted(columns.task(line) for line in lines[::2]) == [
        "bfloat16, cpu", "float32, cpu",
        "float32, cpu, mnist-5k, dropout_rate 0.2, scored at 1, then every 50",
    ]  # fmt: skip
    assert len({line.task for line in lines}) == 3
    assert [line.relative for line in lines] == [1.0] * 6


def test_gpus_of_one_machine_are_not_averaged() -> None:
    first, second = (
        recorded_run("a", 0, seconds, device="gpu", device_name=name)
        for seconds, name in ((0.01, "One"), (0.02, "Two"))
    )
    assert rank_machines([first, second]) == ()
    third = recorded_run("b", 0, 0.04, device="gpu", device_name="One")
    lines = rank_machines([first, second, third])
    assert [(line.machine, columns.task(line)) for line in lines] == [
        ("Machine a", "float32, One"), ("Machine a", "float32, Two"), ("Machine b", "float32, One"),
    ]  # fmt: skip


def test_runs_with_the_most_threads_are_ranked() -> None:
    lines = by_machine(
        recorded_run("a", 0, 0.04, threads=1),
        recorded_run("a", 0, 0.02, threads=4),
        recorded_run("b", 0, 0.01),
    )
    assert (lines["Machine a"].threads, lines["Machine a"].n) == (4, 1)
    assert lines["Machine a"].images_per_second_mean == pytest.approx(2_500)


def test_machine_without_a_name() -> None:
    unnamed = recorded_run("a", 0, 0.02)
    nameless = RecordedRun(unnamed.run, 0)
    assert set(by_machine(nameless, recorded_run("b", 0, 0.01))) == {
        "machine aaaaaaaa",
        "Machine b",
    }
