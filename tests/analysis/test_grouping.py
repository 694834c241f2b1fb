"""Replicates of several machines, on hand-made runs."""

from __future__ import annotations

from typing import Any

import pytest
from factories import run

from mnist_bench.analysis.grouping import Group, groups, without_other_versions
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import RecordedRun, summarise, summarise_run
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters

A, B, C = "a" * 32, "b" * 32, "c" * 32


def on(machine_id: str, seed: int, **changes: Any) -> RunResult:
    values = {"machine_id": machine_id, "run_id": f"{machine_id[0]}{seed}"}
    return run(1_000, seed=seed, **(values | changes))


def group_of(*runs: RunResult, machine_id: str = A) -> Group:
    (group,) = groups(summarise(runs), machine_id)
    return group


def ids(group: Group) -> dict[str | None, list[str | None]]:
    return {each: [r.run_id for r in runs] for each, runs in group.by_machine.items()}


def test_machines_are_pooled_on_their_own_threads() -> None:
    group = group_of(
        on(A, 0, threads=2), on(B, 1, threads=8), on(B, 2, threads=8), on(C, 3, threads=1)
    )
    assert [r.run_id for r in group.runs] == ["a0", "b1", "b2", "c3"]
    assert ids(group) == {A: ["a0"], B: ["b1", "b2"], C: ["c3"]}
    assert (group.pooled_machines, group.left_out) == (3, "")
    assert [r.run_id for r in group.own] == ["a0"]


def test_of_each_machine_the_most_threads_count() -> None:
    group = group_of(
        on(A, 0, threads=2), on(A, 1, threads=1), on(B, 2, threads=4), on(B, 3, threads=8)
    )
    assert ids(group) == {A: ["a0"], B: ["b3"]}
    assert group.left_out == (
        "1 not with 2 threads in float32 on cpu, 1 of other machines and with other settings"
    )


@pytest.mark.parametrize(
    "other",
    [
        {"precision": "bfloat16"},
        {"device": "gpu", "device_name": "A GPU"},
        {"scenario": "mine"},
        {"dataset_digest": "e" * 64},
        {"eval_every": 50},
        {"hyperparameters": PaperCnnHyperparameters(batch_size=60)},
        {"status": "failed"},
    ],
)
def test_other_work_of_another_machine_is_not_pooled(other: dict[str, object]) -> None:
    group = group_of(on(A, 0), on(B, 1, **other))
    assert ids(group) == {A: ["a0"]}
    assert group.pooled_machines == 1
    assert group.left_out.startswith("1 ")


def test_gpus_of_one_kind_are_pooled_whatever_their_name() -> None:
    gpu = {"device": "gpu", "device_name": "A GPU"}
    group = group_of(on(A, 0, **gpu), on(B, 1, **gpu | {"device_name": "Another GPU"}))
    assert ids(group) == {A: ["a0"], B: ["b1"]}


def test_seed_counts_once_on_the_machine_that_ran_it_first() -> None:
    # Each machine keeps its own runs for time and memory, and of these the newest of a seed.
    group = group_of(
        on(B, 0, run_id="first"), on(A, 0), on(A, 1), on(B, 1), on(B, 0, run_id="again")
    )
    assert [r.run_id for r in group.runs] == ["again", "a1"]
    assert ids(group) == {B: ["again", "b1"], A: ["a0", "a1"]}
    assert group.left_out == (
        "1 of a seed that was run again, 2 of a seed that another machine ran first"
    )


def test_seed_is_that_of_the_training() -> None:
    group = group_of(on(A, 0, training_seed=7), on(B, 3, training_seed=7))
    assert [r.run_id for r in group.runs] == ["a0"]


def test_machine_without_runs_has_no_own_ones() -> None:
    group = group_of(on(B, 1), on(C, 2), machine_id=A)
    assert ids(group) == {B: ["b1"], C: ["c2"]}
    assert (group.own, group.machine_id, len(group.runs)) == ((), A, 2)


def test_machine_chooses_the_task() -> None:
    other = {"dataset": "mnist-5k", "dataset_digest": "5" * 64}
    runs = (on(B, 0), on(A, 1, **other), on(B, 2, **other), on(B, 3))
    assert ids(group_of(*runs)) == {A: ["a1"], B: ["b2"]}
    assert ids(group_of(*runs, machine_id=B)) == {B: ["b0", "b3"]}


# TensorFlow's version, which a summary does not hold


def recorded(machine_id: str, seed: int, tensorflow: str | None, **changes: Any) -> RecordedRun:
    return RecordedRun(summarise_run(on(machine_id, seed, **changes)), 0, tensorflow=tensorflow)


@pytest.mark.parametrize(
    ("versions", "kept"),
    [
        (("2.21", "2.21", "2.21"), ["a0", "b1", "c2"]),
        (("2.21", "2.20", "2.21"), ["a0", "c2"]),
        (("2.21", None, "2.21"), ["a0", "c2"]),
        ((None, None, "2.21"), ["a0"]),
    ],
)
def test_other_versions_are_kept_apart(versions: tuple[str | None, ...], kept: list[str]) -> None:
    runs = list(map(recorded, (A, B, C), range(3), versions))
    assert [each.run.run_id for each in without_other_versions(runs, A)] == kept


def test_machine_of_several_versions_is_pooled_with_none() -> None:
    runs = [recorded(A, 0, "2.20"), recorded(A, 1, "2.21"), recorded(B, 2, "2.21")]
    assert [each.run.run_id for each in without_other_versions(runs, A)] == ["a0", "a1"]


def test_version_is_asked_for_each_task() -> None:
    mine = {"scenario": "mine"}
    runs = [recorded(A, 0, "2.20"), recorded(A, 1, "2.21", **mine), recorded(B, 2, "2.21", **mine),
            recorded(B, 3, "2.21"), recorded(B, 4, "2.21", status="failed")]  # fmt: skip
    kept = [each.run.run_id for each in without_other_versions(runs, A)]
    assert kept == ["a0", "a1", "b2", "b4"]


def test_by_default_the_newest_machine_has_the_version() -> None:
    runs = [recorded(A, 0, "2.20"), recorded(C, 1, "2.21"), recorded(B, 2, "2.21")]
    assert [each.run.run_id for each in without_other_versions(runs)] == ["c1", "b2"]
