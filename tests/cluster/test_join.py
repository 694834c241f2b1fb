"""`run --storage` and `join`: machines that share a plan, as processes with their own homes."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import factories
import fakes
import pytest
from fakes import kill, program_with_short_intervals, short_intervals, wait_for_file
from program import Bench, Ended

from mnist_bench.runner import process

SHARE = ("run", "smoke", "--dataset", "mnist-5k", "--steps", "100,200")
SECRET = "hunter2-of-the-test"

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Instant trainings inside this process."""
    with short_intervals(fakes.worker()):
        yield


def program(fault: str = "pass", heartbeat_seconds: int = 1) -> tuple[str, ...]:
    return program_with_short_intervals(fakes.worker(fault), heartbeat_seconds)


def recorded(shared_store: dict[str, str]) -> list[tuple[str, str, str]]:
    """Share tag, steps and status of each run in the store, sorted."""
    file = shared_store["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")
    query = """
        SELECT part.value, steps.value, runs.status FROM runs
        JOIN tags AS part ON part.run_uuid = runs.run_uuid AND part.key = 'bench.part'
        JOIN tags AS steps ON steps.run_uuid = runs.run_uuid AND steps.key = 'bench.steps'
        ORDER BY 1, 2, 3
    """
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return list(database.execute(query))
    except sqlite3.OperationalError:
        return []


def finished(shared_store: dict[str, str]) -> Counter[tuple[str, str]]:
    return Counter((part[-9:], steps) for part, steps, status in recorded(shared_store)
                   if status == "FINISHED")  # fmt: skip


def one_run_each(*seeds: int) -> dict[tuple[str, str], int]:
    return {(f"{seed}-100-200", steps): 1 for seed in seeds for steps in ("100", "200")}


def share(bench: Bench, shared_store: dict[str, str], *more: str) -> Ended:
    return bench.call(*SHARE, *more, **shared_store)


def seeds_of(ended: Ended) -> list[int]:
    return [run["seed"] for run in ended.document["runs"]]


# One machine


def test_one_machine_alone(machine_a: Bench, shared_store: dict[str, str]) -> None:
    ended = share(machine_a, shared_store, "--seeds", "3", "--json")
    assert ended.status == 0, ended.stderr
    assert seeds_of(ended) == [0, 0, 1, 1, 2, 2]
    assert {run["status"] for run in ended.document["runs"]} == {"finished"}
    assert finished(shared_store) == one_run_each(0, 1, 2)
    assert ended.stderr.startswith("a shared plan, in sqlite:///")
    assert "seed 2 (2 of 3 done)" in ended.stderr_line
    assert (machine_a.folder / "reports" / "smoke.md").exists()


def test_only_missing_shares_are_trained(machine_a: Bench, shared_store: dict[str, str]) -> None:
    share(machine_a, shared_store, "--seeds", "2")
    again = share(machine_a, shared_store, "--seeds", "3", "--json")
    assert seeds_of(again) == [2, 2]
    nothing = share(machine_a, shared_store, "--seeds", "3", "--json")
    assert (nothing.status, nothing.document["runs"]) == (0, [])
    assert finished(shared_store) == one_run_each(0, 1, 2)


def test_independent_step_counts_are_separate_shares(
    machine_a: Bench, shared_store: dict[str, str]
) -> None:
    ended = share(machine_a, shared_store, "--independent", "--json")
    assert ended.status == 0, ended.stderr
    assert [run["steps"] for run in ended.document["runs"]] == [100, 200]
    parts = {part for part, _, _ in recorded(shared_store)}
    assert sorted(part[16:] for part in parts) == ["-0-100", "-0-200"]


# Two


@needs_signals
def test_joining_machine_trains_the_rest(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str]
) -> None:
    stopping = program(
        "import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(600)"
    )
    ended = machine_a.run(*SHARE, "--seeds", "2", program=stopping, **shared_store)
    assert ended.status == 143, ended.stderr
    joined = machine_b.call("join", **shared_store)
    assert joined.status == 0, joined.stderr
    for words in ("plan-smoke-", "seed 0", "seed 1 ", "nothing is left to do"):
        assert words in joined.stdout
    assert finished(shared_store) == one_run_each(0, 1)
    assert list(machine_b.folder.glob("reports/*")) == []
    assert machine_b.call("join", **shared_store).stdout == "nothing is left to do there\n"


def test_two_machines_train_each_share_once(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str]
) -> None:
    slow = program("import time; time.sleep(0.8)", heartbeat_seconds=10)
    with machine_a.started(*SHARE, "--seeds", "4", "--json", program=slow, **shared_store) as first:
        first.until(lambda: finished(shared_store), 120)
        joined = machine_b.run("join", program=slow, **shared_store)
        ended = first.ended(120)
    assert (ended.status, joined.status) == (0, 0), ended.stderr + joined.stderr
    assert finished(shared_store) == one_run_each(*range(4))
    trained_first = set(seeds_of(ended))
    trained_second = {
        seed for seed in range(4) if f"seed {seed}: max test accuracy" in joined.stdout
    }
    assert trained_first | trained_second == set(range(4))
    assert 0 in trained_first
    assert trained_second


@needs_signals
def test_share_of_a_killed_machine_is_trained_by_another(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str]
) -> None:
    hangs = program("import time; time.sleep(600 if step > 100 else 0)")
    with machine_a.started(*SHARE, program=hangs, **shared_store) as running:
        running.until(lambda: finished(shared_store), 120)  # its first step count has ended
        kill(running)
        joined = machine_b.run("join", program=program(), **shared_store)
    assert joined.status == 0, joined.stderr
    assert finished(shared_store) == one_run_each(0), (
        "the step count that had ended is not trained again"
    )
    alone = {"MLFLOW_TRACKING_URI": shared_store["MLFLOW_TRACKING_URI"]}
    assert (
        machine_a.call("run", "smoke", "--dataset", "mnist-5k", "--steps", "20", **alone).status
        == 0
    )
    assert Counter(status for _, _, status in recorded(shared_store)) == {
        "FINISHED": 2,
        "KILLED": 1,
    }


@needs_signals
def test_machine_that_was_stopped_loses_its_share(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str], tmp_path: Path
) -> None:
    mark, go = tmp_path / "mark", tmp_path / "go"
    # One heartbeat only: a process stopped during a write would lock the database.
    stopped = program(wait_for_file(mark, go), heartbeat_seconds=600)
    with machine_a.started(*SHARE, "--json", program=stopped, **shared_store) as running:
        running.until(mark.exists, 120)
        os.kill(running.process.pid, signal.SIGSTOP)
        joined = machine_b.run("join", program=program(), **shared_store)
        assert joined.status == 0, joined.stderr
        go.touch()
        os.kill(running.process.pid, signal.SIGCONT)
        ended = running.ended(120)
    assert ended.status == 0, ended.stderr
    assert ended.document["runs"] == []
    assert "was recorded by another machine meanwhile: it counts once" in ended.stderr_line
    assert finished(shared_store) == one_run_each(0)
    assert Counter(status for _, _, status in recorded(shared_store)) == {
        "FINISHED": 2,
        "KILLED": 2,
    }


# What goes wrong


def test_failing_trainings_end_this_machines_work(
    machine_a: Bench, shared_store: dict[str, str]
) -> None:
    failing = fakes.worker("sys.exit('no memory')")
    with mock.patch.object(process, "COMMAND", failing):
        ended = share(machine_a, shared_store, "--seeds", "3")
    assert ended.status == 1
    assert "2 trainings failed here one after the other, the first: " in ended.error_line
    assert finished(shared_store) == {}
    whole = share(machine_a, shared_store, "--seeds", "3", "--json")
    assert whole.status == 0, whole.stderr
    assert sorted(set(seeds_of(whole))) == [0, 1, 2]


def test_share_that_fails_everywhere_is_reported(
    machine_a: Bench, shared_store: dict[str, str]
) -> None:
    failing = fakes.worker("request['training_seed'] == 1 and sys.exit('no luck')")
    with mock.patch.object(process, "COMMAND", failing):
        ended = share(machine_a, shared_store, "--seeds", "3")
    assert ended.status == 1
    assert "1 of 3 trainings failed, the first (seed 1): " in ended.error_line
    assert finished(shared_store) == one_run_each(0, 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--seeds", "auto"), "--seeds auto can't be shared"),
        (("--storage", f"postgresql://me:{SECRET}@board/optuna"), "set MNIST_BENCH_STORAGE"),
        (("--storage", "nonsense"), "give an address like"),
    ],
)
def test_invalid_options_share_nothing(
    machine_a: Bench, shared_store: dict[str, str], arguments: tuple[str, ...], words: str
) -> None:
    ended = share(machine_a, shared_store, *arguments)
    assert ended.status == 2, ended.stderr
    assert words in ended.error_line
    assert SECRET not in ended.stderr
    assert recorded(shared_store) == []


def test_thread_scaling_is_not_shared(machine_a: Bench, shared_store: dict[str, str]) -> None:
    ended = machine_a.call("run", "threads", "--dataset", "mnist-5k", **shared_store)
    assert ended.status == 2
    assert "leave --storage out, or give one number as --threads" in ended.error_line


def test_claims_are_not_shared(machine_a: Bench, shared_store: dict[str, str]) -> None:
    ended = machine_a.call("run", "claim-10", "--storage", shared_store["MNIST_BENCH_STORAGE"])
    assert ended.status == 2
    assert "--storage can't be used with claims" in ended.error_line


def test_join_needs_a_storage(machine_b: Bench) -> None:
    ended = machine_b.call("join")
    assert ended.status == 2
    assert "give --storage, or set MNIST_BENCH_STORAGE" in ended.error_line


def test_join_lists_existing_plans(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str]
) -> None:
    share(machine_a, shared_store)
    ended = machine_b.call("join", "--study", "nobody's", **shared_store)
    assert ended.status == 2
    assert "no shared plan or study is called nobody's in sqlite:///" in ended.error_line
    assert "; existing ones: plan-smoke-" in ended.error_line


def unfinished(machine_a: Bench, shared_store: dict[str, str]) -> None:
    stopping = fakes.worker("sys.exit('no memory')")
    with mock.patch.object(process, "COMMAND", stopping):
        assert share(machine_a, shared_store, "--seeds", "2").status == 1


def test_another_store_is_refused(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str], tmp_path: Path
) -> None:
    unfinished(machine_a, shared_store)
    elsewhere = {"MLFLOW_TRACKING_URI": f"sqlite:///{(tmp_path / 'elsewhere.db').as_posix()}"}
    ended = machine_b.call("join", **(shared_store | elsewhere))
    assert ended.status == 2
    assert "is recorded to another store than MLFLOW_TRACKING_URI" in ended.error_line


def test_other_images_are_refused(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str]
) -> None:
    unfinished(machine_a, shared_store)
    with mock.patch("mnist_bench.data.mnist.find", return_value=factories.SOURCE):
        ended = machine_b.call("join", **shared_store)
    assert ended.status == 2
    assert "needs mnist-5k, but this machine has other images" in ended.error_line
