"""`run --storage` and `join`: machines that share a plan, as processes with homes of their own."""

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
from fakes import held, impatient, impatient_program, kill
from program import Bench, Ended

from mnist_bench.runner import process

SHARE = ("run", "smoke", "--dataset", "mnist-5k", "--steps", "100,200")
SECRET = "hunter2-of-the-test"

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Trainings of no time inside this process."""
    with impatient(fakes.worker()):
        yield


def program(fault: str = "pass", heartbeat_seconds: int = 1) -> tuple[str, ...]:
    return impatient_program(fakes.worker(fault), heartbeat_seconds)


def recorded(board: dict[str, str]) -> list[tuple[str, str, str]]:
    """Part, steps and status of each run on the board, in their order."""
    file = board["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")
    question = """
        SELECT part.value, steps.value, runs.status FROM runs
        JOIN tags AS part ON part.run_uuid = runs.run_uuid AND part.key = 'bench.part'
        JOIN tags AS steps ON steps.run_uuid = runs.run_uuid AND steps.key = 'bench.steps'
        ORDER BY 1, 2, 3
    """
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return list(database.execute(question))
    except sqlite3.OperationalError:
        return []


def finished(board: dict[str, str]) -> Counter[tuple[str, str]]:
    return Counter((part[-9:], steps) for part, steps, status in recorded(board)
                   if status == "FINISHED")  # fmt: skip


def once(*seeds: int) -> dict[tuple[str, str], int]:
    return {(f"{seed}-100-200", steps): 1 for seed in seeds for steps in ("100", "200")}


def shared(bench: Bench, board: dict[str, str], *more: str) -> Ended:
    return bench.call(*SHARE, *more, **board)


def seeds_of(ended: Ended) -> list[int]:
    return [run["seed"] for run in ended.document["runs"]]


# One machine


def test_one_machine_does_all_of_it(here: Bench, board: dict[str, str]) -> None:
    ended = shared(here, board, "--seeds", "3", "--json")
    assert ended.status == 0, ended.stderr
    assert seeds_of(ended) == [0, 0, 1, 1, 2, 2]
    assert {run["status"] for run in ended.document["runs"]} == {"finished"}
    assert finished(board) == once(0, 1, 2)
    assert ended.stderr.startswith("a shared plan, in sqlite:///")
    assert "seed 2 (2 of 3 done)" in ended.told
    assert (here.folder / "reports" / "smoke.md").exists()


def test_only_what_is_missing_is_trained(here: Bench, board: dict[str, str]) -> None:
    shared(here, board, "--seeds", "2")
    again = shared(here, board, "--seeds", "3", "--json")
    assert seeds_of(again) == [2, 2]
    nothing = shared(here, board, "--seeds", "3", "--json")
    assert (nothing.status, nothing.document["runs"]) == (0, [])
    assert finished(board) == once(0, 1, 2)


def test_each_row_from_zero_is_a_part(here: Bench, board: dict[str, str]) -> None:
    ended = shared(here, board, "--independent", "--json")
    assert ended.status == 0, ended.stderr
    assert [run["steps"] for run in ended.document["runs"]] == [100, 200]
    parts = {part for part, _, _ in recorded(board)}
    assert sorted(part[16:] for part in parts) == ["-0-100", "-0-200"]


# Two


@needs_signals
def test_who_joins_trains_what_is_left(here: Bench, there: Bench, board: dict[str, str]) -> None:
    stopping = program(
        "import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(600)"
    )
    ended = here.run(*SHARE, "--seeds", "2", program=stopping, **board)
    assert ended.status == 143, ended.stderr
    joined = there.call("join", **board)
    assert joined.status == 0, joined.stderr
    for words in ("plan-smoke-", "seed 0", "seed 1 ", "nothing is left to do"):
        assert words in joined.stdout
    assert finished(board) == once(0, 1)
    assert list(there.folder.glob("reports/*")) == []
    assert there.call("join", **board).stdout == "nothing is left to do there\n"


def test_two_at_once_do_each_part_once(here: Bench, there: Bench, board: dict[str, str]) -> None:
    slow = program("import time; time.sleep(0.8)", heartbeat_seconds=10)
    with here.started(*SHARE, "--seeds", "4", "--json", program=slow, **board) as first:
        first.until(lambda: finished(board), 120)
        joined = there.run("join", program=slow, **board)
        ended = first.ended(120)
    assert (ended.status, joined.status) == (0, 0), ended.stderr + joined.stderr
    assert finished(board) == once(*range(4))
    mine = set(seeds_of(ended))
    theirs = {seed for seed in range(4) if f"seed {seed}: max test accuracy" in joined.stdout}
    assert mine | theirs == set(range(4))
    assert 0 in mine
    assert theirs


@needs_signals
def test_what_a_killed_machine_had_in_work_is_done_by_another(
    here: Bench, there: Bench, board: dict[str, str]
) -> None:
    hangs = program("import time; time.sleep(600 if step > 100 else 0)")
    with here.started(*SHARE, program=hangs, **board) as running:
        running.until(lambda: finished(board), 120)  # its first row has ended
        kill(running)
        joined = there.run("join", program=program(), **board)
    assert joined.status == 0, joined.stderr
    assert finished(board) == once(0), "the row that had ended is not trained again"
    alone = {"MLFLOW_TRACKING_URI": board["MLFLOW_TRACKING_URI"]}
    assert here.call("run", "smoke", "--dataset", "mnist-5k", "--steps", "20", **alone).status == 0
    assert Counter(status for _, _, status in recorded(board)) == {"FINISHED": 2, "KILLED": 1}


@needs_signals
def test_who_was_stopped_for_too_long_ends_second(
    here: Bench, there: Bench, board: dict[str, str], tmp_path: Path
) -> None:
    mark, go = tmp_path / "mark", tmp_path / "go"
    # It beats once: stopped while it writes, it would keep the other from writing.
    stopped = program(held(mark, go), heartbeat_seconds=600)
    with here.started(*SHARE, "--json", program=stopped, **board) as running:
        running.until(mark.exists, 120)
        os.kill(running.process.pid, signal.SIGSTOP)
        joined = there.run("join", program=program(), **board)
        assert joined.status == 0, joined.stderr
        go.touch()
        os.kill(running.process.pid, signal.SIGCONT)
        ended = running.ended(120)
    assert ended.status == 0, ended.stderr
    assert ended.document["runs"] == []
    assert "was recorded elsewhere meanwhile: it counts once" in ended.told
    assert finished(board) == once(0)
    assert Counter(status for _, _, status in recorded(board)) == {"FINISHED": 2, "KILLED": 2}


# What goes wrong


def test_trainings_that_fail_end_this_machines_work(here: Bench, board: dict[str, str]) -> None:
    failing = fakes.worker("sys.exit('no memory')")
    with mock.patch.object(process, "COMMAND", failing):
        ended = shared(here, board, "--seeds", "3")
    assert ended.status == 1
    assert "2 trainings failed here one after the other, the first: " in ended.complaint
    assert finished(board) == {}
    whole = shared(here, board, "--seeds", "3", "--json")
    assert whole.status == 0, whole.stderr
    assert sorted(set(seeds_of(whole))) == [0, 1, 2]


def test_a_part_that_fails_everywhere_is_told(here: Bench, board: dict[str, str]) -> None:
    failing = fakes.worker("request['training_seed'] == 1 and sys.exit('no luck')")
    with mock.patch.object(process, "COMMAND", failing):
        ended = shared(here, board, "--seeds", "3")
    assert ended.status == 1
    assert "1 of 3 parts failed, the first (seed 1): " in ended.complaint
    assert finished(board) == once(0, 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--seeds", "auto"), "--seeds auto is for one machine"),
        (("--storage", f"postgresql://me:{SECRET}@board/optuna"), "set MNIST_BENCH_STORAGE"),
        (("--storage", "nonsense"), "give an address like"),
    ],
)
def test_wrong_wishes_share_nothing(
    here: Bench, board: dict[str, str], arguments: tuple[str, ...], words: str
) -> None:
    ended = shared(here, board, *arguments)
    assert ended.status == 2, ended.stderr
    assert words in ended.complaint
    assert SECRET not in ended.stderr
    assert recorded(board) == []


def test_thread_counts_are_compared_by_one_machine(here: Bench, board: dict[str, str]) -> None:
    ended = here.call("run", "threads", "--dataset", "mnist-5k", **board)
    assert ended.status == 2
    assert "leave --storage out, or give one number as --threads" in ended.complaint


def test_claims_are_about_one_machine(here: Bench, board: dict[str, str]) -> None:
    ended = here.call("run", "claim-10", "--storage", board["MNIST_BENCH_STORAGE"])
    assert ended.status == 2
    assert "--storage does not go with claims" in ended.complaint


def test_join_must_know_where(there: Bench) -> None:
    ended = there.call("join")
    assert ended.status == 2
    assert "--storage or MNIST_BENCH_STORAGE must say" in ended.complaint


def test_join_names_the_plans_that_there_are(
    here: Bench, there: Bench, board: dict[str, str]
) -> None:
    shared(here, board)
    ended = there.call("join", "--study", "nobody's", **board)
    assert ended.status == 2
    assert "nothing that machines share is called nobody's in sqlite:///" in ended.complaint
    assert "; there are plan-smoke-" in ended.complaint


def unfinished(here: Bench, board: dict[str, str]) -> None:
    stopping = fakes.worker("sys.exit('no memory')")
    with mock.patch.object(process, "COMMAND", stopping):
        assert shared(here, board, "--seeds", "2").status == 1


def test_who_records_elsewhere_is_refused(
    here: Bench, there: Bench, board: dict[str, str], tmp_path: Path
) -> None:
    unfinished(here, board)
    elsewhere = {"MLFLOW_TRACKING_URI": f"sqlite:///{(tmp_path / 'elsewhere.db').as_posix()}"}
    ended = there.call("join", **(board | elsewhere))
    assert ended.status == 2
    assert "is recorded elsewhere than where MLFLOW_TRACKING_URI points" in ended.complaint


def test_who_has_other_images_is_refused(here: Bench, there: Bench, board: dict[str, str]) -> None:
    unfinished(here, board)
    with mock.patch("mnist_bench.data.mnist.find", return_value=factories.SOURCE):
        ended = there.call("join", **board)
    assert ended.status == 2
    assert "is about mnist-5k, and other images are at hand here" in ended.complaint
