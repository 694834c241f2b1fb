"""`tune --storage` and `join`: machines that share a study, as processes with own homes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import factories
import fakes
import pytest
from factories import TWO_PARAMETERS_TOML
from fakes import held, impatient, impatient_program, kill
from program import Bench, Ended

from mnist_bench.measurement import machine
from mnist_bench.runner import process
from mnist_bench.tuning import storage

TUNE = ("tune", "--space", "two.toml", "--study", "ours", "--confirm", "0")

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


@pytest.fixture
def here(here: Bench) -> Bench:
    """The one that leads."""
    (here.folder / "two.toml").write_text(TWO_PARAMETERS_TOML, encoding="utf-8")
    return here


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Trainings of no time inside this process."""
    with impatient(fakes.trial_worker("pass")):
        yield


def program(fault: str = "pass", heartbeat_seconds: int = 1, more: str = "pass") -> tuple[str, ...]:
    return impatient_program(fakes.trial_worker(fault), heartbeat_seconds, more)


def tags(board: dict[str, str]) -> list[tuple[str, str, str]]:
    """Number of its trial, part and status of each run of a trial on the board."""
    file = board["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")
    question = """
        SELECT trial.value, part.value, runs.status FROM runs
        JOIN tags AS part ON part.run_uuid = runs.run_uuid AND part.key = 'bench.part'
        JOIN tags AS trial ON trial.run_uuid = runs.run_uuid AND trial.key = 'bench.trial'
        ORDER BY CAST(trial.value AS INTEGER)
    """
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return list(database.execute(question))
    except sqlite3.OperationalError:
        return []


def finished(board: dict[str, str]) -> Counter[str]:
    """Finished runs of each trial, of its retries too."""
    return Counter(part for _, part, status in tags(board) if status == "FINISHED")


def counted(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [trial for trial in document["trials"] if trial["state"] in {"finished", "pruned"}]


def resumed(bench: Bench, board: dict[str, str], trials: int) -> dict[str, Any]:
    """The study once its leader has gone on with it."""
    ended = bench.call(*TUNE, "--trials", str(trials), "--resume", "--json", **board)
    assert ended.status == 0, ended.stderr
    document: dict[str, Any] = ended.document
    return document


def left_open(here: Bench, board: dict[str, str], *more: str, trials: int = 6) -> Ended:
    """A study whose leader is terminated in its second trial."""
    terminate = "(__import__('os').kill(__import__('os').getppid(), 15), time.sleep(600))"
    stops = f'request["training_seed"] == 1 and {terminate}'
    ended = here.run(*TUNE, "--trials", str(trials), *more, program=program(stops), **board)
    assert ended.status == 143, ended.stderr
    return ended


# Together


def test_two_at_once_do_each_trial_once(here: Bench, there: Bench, board: dict[str, str]) -> None:
    begun = there.folder / "asked.jsonl"
    waits = f"any(time.sleep(0.05) for _ in iter(pathlib.Path({str(begun)!r}).exists, True))"
    first_waits = program(f'request["training_seed"] > 1 and {waits}', heartbeat_seconds=10)
    slow = program("time.sleep(0.3)", heartbeat_seconds=10)
    arguments = (*TUNE, "--trials", "8", "--json")
    with here.started(*arguments, program=first_waits, **board) as first:
        first.until(lambda: finished(board), 120)
        joined = there.run("join", program=slow, **board)
        ended = first.ended(120)
    assert (ended.status, joined.status) == (0, 0), ended.stderr + joined.stderr
    assert ended.stderr.startswith("a shared study, in sqlite:///")
    document = ended.document
    assert len(counted(document)) == 8
    assert Counter(trial["state"] for trial in document["trials"])["running"] == 0
    recorded = [trial["run_id"] for trial in counted(document)]
    assert len(set(recorded)) == 8
    assert set(finished(board).values()) == {1}
    assert "ours: Two parameters" in joined.stdout
    assert "nothing is left to do" in joined.stdout
    both = [(bench.folder / "asked.jsonl").read_text().splitlines() for bench in (here, there)]
    assert all(both), "each trained some"
    seeds = [json.loads(line)["training_seed"] for lines in both for line in lines]
    assert len(seeds) == len(set(seeds))
    assert list(there.folder.glob("reports/*")) == []


@needs_signals
def test_who_joins_trains_what_is_left_and_its_leader_settles(
    here: Bench, there: Bench, board: dict[str, str]
) -> None:
    left_open(here, board)
    joined = there.call("join", "--study", "ours", **board)
    assert joined.status == 0, joined.stderr
    assert "ours: 6 trials are done" in joined.stdout
    document = resumed(here, board, 6)
    assert len(counted(document)) == 6
    assert document["candidate"] is not None
    assert len((here.folder / "asked.jsonl").read_text().splitlines()) == 2
    assert set(finished(board).values()) == {1}
    again = there.call("join", **board)
    assert again.stdout == "nothing is left to do there\n"


@needs_signals
def test_what_a_killed_machine_had_in_work_is_tried_again_by_another(
    here: Bench, there: Bench, board: dict[str, str]
) -> None:
    hangs = program('request["training_seed"] == 1 and time.sleep(600)')
    with here.started(*TUNE, "--trials", "4", program=hangs, **board) as running:
        running.until(lambda: len(tags(board)) == 2, 120)
        kill(running)
        joined = there.run("join", program=program(), **board)
    assert joined.status == 0, joined.stderr
    assert "trial 1 was lost with its machine: it is tried again" in joined.stdout
    document = resumed(here, board, 4)
    assert len(counted(document)) == 4
    (retry,) = [trial for trial in document["trials"] if trial["retry_of"] == 1]
    assert retry["chosen"] == document["trials"][1]["chosen"]
    assert retry["state"] in {"finished", "pruned"}
    assert set(finished(board).values()) == {1}


@needs_signals
def test_what_had_come_to_its_end_before_its_machine_was_killed_counts(
    here: Bench, there: Bench, board: dict[str, str]
) -> None:
    """Between MLflow's run that has ended and the study that is told so."""
    dies = program(
        more="""
import os, signal
tell = series.tell
series.tell = lambda study, goal, number, run: (
    os.kill(os.getpid(), signal.SIGKILL) if number == 2 else tell(study, goal, number, run)
)
"""
    )
    killed = here.run(*TUNE, "--trials", "4", program=dies, **board)
    assert killed.status == -signal.SIGKILL
    joined = there.run("join", program=program(), **board)
    assert joined.status == 0, joined.stderr
    assert "had come to its end elsewhere: it counts" in joined.stdout
    document = resumed(here, board, 4)
    assert len(counted(document)) == 4
    (retry,) = [trial for trial in document["trials"] if trial["retry_of"] == 2]
    assert retry["state"] == "finished"
    assert retry["seconds"] < 60
    assert len(tags(board)) == 4, "it is not trained again"
    assert str(retry["number"]) not in {trial for trial, _, _ in tags(board)}
    assert len(finished(board)) == 4


@needs_signals
def test_who_was_stopped_for_too_long_ends_second(
    here: Bench, there: Bench, board: dict[str, str], tmp_path: Path
) -> None:
    mark, go = tmp_path / "mark", tmp_path / "go"
    waits = f'request["training_seed"] == 1 and {held(mark, go)}'
    # It beats once: stopped while it writes, it would keep the other from writing.
    stopped = program(waits, heartbeat_seconds=600)
    with here.started(*TUNE, "--trials", "3", "--json", program=stopped, **board) as running:
        running.until(mark.exists, 120)
        os.kill(running.process.pid, signal.SIGSTOP)
        joined = there.run("join", program=program(), **board)
        assert joined.status == 0, joined.stderr
        go.touch()
        os.kill(running.process.pid, signal.SIGCONT)
        ended = running.ended(120)
    assert ended.status == 0, ended.stderr
    document = ended.document
    assert len(counted(document)) == 3
    assert document["trials"][1]["state"] == "failed"
    assert set(finished(board).values()) == {1}
    assert Counter(status for _, _, status in tags(board)) == {"FINISHED": 3, "KILLED": 1}


@needs_signals
def test_what_a_sleeper_finished_and_another_pruned_counts_once(
    here: Bench, there: Bench, board: dict[str, str], tmp_path: Path
) -> None:
    """The sleeper's run is finished before the trial that tries its own again is pruned."""
    mark, go = tmp_path / "mark", tmp_path / "go"
    waits = f'request["training_seed"] == 1 and {held(mark, go)}'
    stopped = program(waits, heartbeat_seconds=600)
    # It ends its own while the other one's goes on, and is pruned there in the end.
    pruned = program(
        more=f"""
import pathlib, time
from mnist_bench.tuning.pruning_callback import Judge
scored = Judge.scored
def prune(self, evaluation):
    if self._number == 2:
        pathlib.Path({str(go)!r}).touch()
        while not pathlib.Path({str(tmp_path / "ended")!r}).exists():
            time.sleep(0.05)
        self._reason = "others were ahead"
    else:
        scored(self, evaluation)
Judge.scored = prune
"""
    )
    with here.started(*TUNE, "--trials", "2", "--json", program=stopped, **board) as running:
        running.until(mark.exists, 120)
        os.kill(running.process.pid, signal.SIGSTOP)
        with there.started("join", program=pruned, **board) as joined:
            joined.until(go.exists, 120)
            os.kill(running.process.pid, signal.SIGCONT)
            running.until(lambda: ("1", "FINISHED") in states_of(board), 120)
            (tmp_path / "ended").touch()
            assert joined.ended(120).status == 0
        ended = running.ended(120)
    assert ended.status == 0, ended.stderr
    assert [trial["state"] for trial in ended.document["trials"]] == [
        "finished", "failed", "pruned",
    ]  # fmt: skip
    assert states_of(board) == {("0", "FINISHED"), ("1", "KILLED"), ("2", "KILLED")}


def states_of(board: dict[str, str]) -> set[tuple[str, str]]:
    """Number of the trial and status of each run."""
    return {(trial, status) for trial, _, status in tags(board)}


def test_trials_that_fail_are_tried_again_once_and_end_this_machines_work(
    here: Bench, there: Bench, board: dict[str, str]
) -> None:
    with mock.patch.object(process, "COMMAND", fakes.trial_worker('sys.exit("no memory")')):
        ended = here.call(*TUNE, "--trials", "3", **board)
    assert ended.status == 1
    assert "3 trials failed one after the other" in ended.complaint
    joined = there.call("join", **board)
    assert joined.status == 0, joined.stderr
    document = resumed(here, board, 3)
    assert len(counted(document)) == 3
    assert document["trials"][document["candidate"]]["state"] == "finished"
    papers = [trial for trial in document["trials"] if trial["is_papers"]]
    assert papers[-1]["state"] == "finished"


# Who may join


@needs_signals
def test_times_are_compared_on_machines_of_one_kind_alone(
    here: Bench, there: Bench, board: dict[str, str]
) -> None:
    left_open(here, board, "--objective", "time-to-accuracy")
    with mock.patch.object(machine, "_cpu_name", return_value="Another 9000"):
        refused = there.call("join", **board)
        led = here.call(*TUNE, "--objective", "time-to-accuracy", "--resume", **board)
    for ended in (refused, led):
        assert ended.status == 2
        assert "the study ours compares times, and was begun on " in ended.complaint
        assert "Another 9000" in ended.complaint
    assert there.call("join", **board).status == 0, "its own kind may"


@needs_signals
def test_accuracies_are_compared_on_any_machine_and_the_report_names_them(
    here: Bench, there: Bench, board: dict[str, str]
) -> None:
    left_open(here, board)
    with mock.patch.object(machine, "_cpu_name", return_value="Another 9000"):
        assert there.call("join", **board).status == 0
    document = resumed(here, board, 6)
    names = Counter(trial["machine"] for trial in counted(document))
    assert sorted(names.values()) == [1, 5]
    text = (here.folder / "reports" / "ours.md").read_text(encoding="utf-8")
    assert "Trained on 2 machines: " in text
    assert "Another 9000" in text


@needs_signals
def test_what_other_machines_call_things_steers_no_terminal(
    here: Bench, there: Bench, board: dict[str, str]
) -> None:
    title = 'title = "\\u001b[2J[bold red]Ours\\u202e"'
    steering = TWO_PARAMETERS_TOML.replace('title = "Two parameters"', title)
    (here.folder / "two.toml").write_text(steering, encoding="utf-8")
    left_open(here, board)
    joined = there.call("join", **board)
    assert joined.status == 0, joined.stderr
    assert "ours: [2J[bold red]Ours\n" in joined.stdout
    assert not {"\x1b", "\u202e"} & set(joined.stdout + joined.stderr)


@needs_signals
def test_who_records_elsewhere_is_refused(
    here: Bench, there: Bench, board: dict[str, str], tmp_path: Path
) -> None:
    left_open(here, board)
    elsewhere = {"MLFLOW_TRACKING_URI": f"sqlite:///{(tmp_path / 'elsewhere.db').as_posix()}"}
    ended = there.call("join", **(board | elsewhere))
    assert ended.status == 2
    assert "ours is recorded elsewhere than where MLFLOW_TRACKING_URI points" in ended.complaint


@needs_signals
def test_who_has_other_images_is_refused(here: Bench, there: Bench, board: dict[str, str]) -> None:
    left_open(here, board)
    with mock.patch("mnist_bench.data.mnist.find", return_value=factories.SOURCE):
        ended = there.call("join", **board)
    assert ended.status == 2
    assert "ours is about mnist-5k, and other images are at hand here" in ended.complaint


@needs_signals
def test_a_study_of_another_version_is_refused(
    here: Bench, there: Bench, board: dict[str, str]
) -> None:
    left_open(here, board)
    import optuna

    kept = optuna.load_study(study_name="ours", storage=board["MNIST_BENCH_STORAGE"])
    kept.set_user_attr("mnist-bench search", '{"schema": 7}')
    ended = there.call("join", "--study", "ours", **board)
    assert ended.status == 2
    assert "the study ours is of another version of mnist-bench; upgrade" in ended.complaint
    others = there.call("join", **board)
    assert others.status == 0
    assert others.stdout == (
        "ours is left out: the study ours is of another version of mnist-bench; upgrade the elder "
        "one\nnothing is left to do there\n"
    )


def test_a_study_of_somebody_elses_is_left_alone(there: Bench, board: dict[str, str]) -> None:
    import optuna

    optuna.create_study(study_name="theirs", storage=board["MNIST_BENCH_STORAGE"])
    assert list(storage.attributes(board["MNIST_BENCH_STORAGE"])) == ["theirs"]
    assert there.call("join", **board).stdout == "nothing is left to do there\n"
