"""Replicates of several machines, on hand-made runs."""

from __future__ import annotations

from typing import Any

import pytest
from factories import run

from mnist_bench.analysis.grouping import Group, groups, one_per_seed, without_other_versions
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


def ids(group: Group) -> dict[str, str]:
    """Run ids by the first letter of the machine's id."""
    return {str(each)[0]: " ".join(str(r.run_id) for r in runs)
            for each, runs in group.by_machine.items()}  # fmt: skip


GPU = {"device": "gpu", "device_name": "A GPU"}
XLA = {"environment": "TF_XLA_FLAGS=--tf_xla_auto_jit=2"}
ON_5K = {"dataset": "mnist-5k", "dataset_digest": "5" * 64}
TASKS = on(B, 0), on(A, 1, **ON_5K), on(B, 2, **ON_5K), on(B, 3)


@pytest.mark.parametrize(
    ("runs", "machine_id", "averaged", "by_machine", "left_out"),
    [
        # Each machine has its own threads; of each the most threads count.
        ((on(A, 0, threads=2), on(B, 1, threads=8), on(B, 2, threads=8), on(C, 3, threads=1)), A,
         "a0 b1 b2 c3", {"a": "a0", "b": "b1 b2", "c": "c3"}, ""),
        ((on(A, 0, threads=2), on(A, 1, threads=1), on(B, 2, threads=4), on(B, 3, threads=8)), A,
         "a0 b3", {"a": "a0", "b": "b3"},
         "1 not with 2 threads in float32 on cpu, 1 of other machines and with other settings"),
        # Runs of one machine with different settings are never averaged.
        *(((on(A, 0), on(A, 1, **other)), A, "a0", {"a": "a0"},
           "1 not with 2 threads in float32 on cpu")
          for other in ({"threads": 1}, {"precision": "bfloat16"}, GPU, XLA)),
        # Without variables that change the computation, whatever came first and has more threads.
        ((on(A, 0, threads=4, **XLA), on(A, 1), on(B, 2, **XLA), on(B, 3)), A,
         "a1 b3", {"a": "a1", "b": "b3"},
         "1 not with 2 threads in float32 on cpu, 1 of other machines and with other settings"),
        ((on(A, 0, **XLA), on(A, 1, **XLA)), A, "a0 a1", {"a": "a0 a1"}, ""),
        # GPUs of one kind are pooled whatever their name.
        ((on(A, 0, **GPU), on(B, 1, **GPU | {"device_name": "Another GPU"})), A,
         "a0 b1", {"a": "a0", "b": "b1"}, ""),
        # A seed counts once on the machine that ran it first; each machine keeps its own runs for
        # time and memory, and of these the newest of a seed.
        ((on(B, 0, run_id="first"), on(A, 0), on(A, 1), on(B, 1), on(B, 0, run_id="again")), A,
         "again a1", {"b": "again b1", "a": "a0 a1"},
         "1 of a seed that was run again, 2 of a seed that another machine ran first"),
        ((on(A, 0, training_seed=7), on(B, 3, training_seed=7)), A,
         "a0", {"a": "a0", "b": "b3"}, "1 of a seed that another machine ran first"),
        # A machine without runs has no own ones.
        ((on(B, 1), on(C, 2)), A, "b1 c2", {"b": "b1", "c": "c2"}, ""),
        # The machine chooses the task.
        (TASKS, A, "a1 b2", {"a": "a1", "b": "b2"}, "2 of another protocol"),
        (TASKS, B, "b0 b3", {"b": "b0 b3"}, "2 of another protocol"),
        # Other work of another machine is not pooled.
        *(((on(A, 0), on(B, 1, **other)), A, "a0", {"a": "a0"}, f"1 {reason}")
          for other, reason in (
              ({"precision": "bfloat16"}, "of other machines and with other settings"),
              (GPU, "of other machines and with other settings"),
              (XLA, "of other machines and with other settings"),
              ({"scenario": "mine"}, "of other machines and with other settings"),
              ({"dataset_digest": "e" * 64}, "of other machines and with other settings"),
              ({"eval_every": 50}, "of another protocol"),
              ({"hyperparameters": PaperCnnHyperparameters(batch_size=60)}, "of another protocol"),
              ({"status": "failed"}, "not finished"))),
    ],
)  # fmt: skip
def test_group(
    runs: tuple[RunResult, ...], machine_id: str, averaged: str, by_machine: dict[str, str],
    left_out: str,
) -> None:  # fmt: skip
    group = group_of(*runs, machine_id=machine_id)
    assert [r.run_id for r in group.runs] == averaged.split()
    assert ids(group) == by_machine
    assert group.left_out == left_out
    assert group.machine_id == machine_id
    assert [r.run_id for r in group.own] == by_machine.get(machine_id[0], "").split()
    assert group.pooled_machines == len({r.machine_id for r in group.runs})


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [("clean", "invalid", "r0"), ("invalid", "clean", "r1"), ("invalid", "invalid", "r1"),
     ("clean", "suspect", "r0"), ("invalid", "suspect", "r1"), ("suspect", "suspect", "r1"),
     (None, "invalid", "r0")],
)  # fmt: skip
def test_a_repetition_never_replaces_a_less_disturbed_run(
    first: str | None, second: str, taken: str
) -> None:
    repeated = summarise(
        run(run_id=f"r{at}", verdict=verdict) for at, verdict in enumerate((first, second))
    )
    assert [each.run_id for each in one_per_seed(repeated)] == [taken]


# TensorFlow's version, which a summary does not hold


def recorded(machine_id: str, seed: int, tensorflow: str | None, **changes: Any) -> RecordedRun:
    return RecordedRun(summarise_run(on(machine_id, seed, **changes)), 0, tensorflow=tensorflow)


OLD, NEW = "2.20", "2.21"
MINE = {"scenario": "mine"}


@pytest.mark.parametrize(
    ("runs", "kept"),
    [
        ([recorded(A, 0, NEW), recorded(B, 1, NEW), recorded(C, 2, NEW)], "a0 b1 c2"),
        ([recorded(A, 0, NEW), recorded(B, 1, OLD), recorded(C, 2, NEW)], "a0 c2"),
        ([recorded(A, 0, NEW), recorded(B, 1, None), recorded(C, 2, NEW)], "a0 c2"),
        ([recorded(A, 0, None), recorded(B, 1, None), recorded(C, 2, NEW)], "a0"),
        # A machine of several versions is pooled with none.
        ([recorded(A, 0, OLD), recorded(A, 1, NEW), recorded(B, 2, NEW)], "a0 a1"),
        # The version is that of each task.
        ([recorded(A, 0, OLD), recorded(A, 1, NEW, **MINE), recorded(B, 2, NEW, **MINE),
          recorded(B, 3, NEW), recorded(B, 4, NEW, status="failed")], "a0 a1 b2 b4"),
    ],
)  # fmt: skip
def test_other_versions_are_kept_apart(runs: list[RecordedRun], kept: str) -> None:
    assert [each.run.run_id for each in without_other_versions(runs, A)] == kept.split()


def test_by_default_the_newest_machine_has_the_version() -> None:
    runs = [recorded(A, 0, OLD), recorded(C, 1, NEW), recorded(B, 2, NEW)]
    assert [each.run.run_id for each in without_other_versions(runs)] == ["c1", "b2"]
