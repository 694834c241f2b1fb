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
from fakes import kill, program_with_short_intervals, short_intervals, wait_for_file
from program import Bench, Ended

from mnist_bench.measurement import machine
from mnist_bench.runner import process
from mnist_bench.tuning import storage

TUNE = ("tune", "--space", "two.toml", "--study", "ours", "--confirm", "0")

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


@pytest.fixture
def machine_a(machine_a: Bench) -> Bench:
    """The machine that starts the study."""
    (machine_a.folder / "two.toml").write_text(TWO_PARAMETERS_TOML, encoding="utf-8")
    return machine_a


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Instant trainings inside this process."""
    with short_intervals(fakes.trial_worker("pass")):
        yield


def program(fault: str = "pass", heartbeat_seconds: int = 1, more: str = "pass") -> tuple[str, ...]:
    return program_with_short_intervals(fakes.trial_worker(fault), heartbeat_seconds, more)


def tags(shared_store: dict[str, str]) -> list[tuple[str, str, str]]:
    """Trial number, share tag and status of each trial's run in the store."""
    file = shared_store["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")
    query = """
        SELECT trial.value, part.value, runs.status FROM runs
        JOIN tags AS part ON part.run_uuid = runs.run_uuid AND part.key = 'bench.part'
        JOIN tags AS trial ON trial.run_uuid = runs.run_uuid AND trial.key = 'bench.trial'
        ORDER BY CAST(trial.value AS INTEGER)
    """
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return list(database.execute(query))
    except sqlite3.OperationalError:
        return []


def finished(shared_store: dict[str, str]) -> Counter[str]:
    """Number of finished runs per trial, retries included."""
    return Counter(part for _, part, status in tags(shared_store) if status == "FINISHED")


def counted(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [trial for trial in document["trials"] if trial["state"] in {"finished", "pruned"}]


def resume(bench: Bench, shared_store: dict[str, str], trials: int) -> dict[str, Any]:
    """Resume the study on the first machine; return its document."""
    ended = bench.call(*TUNE, "--trials", str(trials), "--resume", "--json", **shared_store)
    assert ended.status == 0, ended.stderr
    document: dict[str, Any] = ended.document
    return document


def leave_open(
    machine_a: Bench, shared_store: dict[str, str], *more: str, trials: int = 6
) -> Ended:
    """Start a study that is terminated in its second trial."""
    terminate = "(__import__('os').kill(__import__('os').getppid(), 15), time.sleep(600))"
    stops = f'request["training_seed"] == 1 and {terminate}'
    ended = machine_a.run(
        *TUNE, "--trials", str(trials), *more, program=program(stops), **shared_store
    )
    assert ended.status == 143, ended.stderr
    return ended


# Together


def test_two_machines_train_each_trial_once(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str]
) -> None:
    requests_file = machine_b.folder / "requests.jsonl"
    waits = (
        f"any(time.sleep(0.05) for _ in iter(pathlib.Path({str(requests_file)!r}).exists, True))"
    )
    first_waits = program(f'request["training_seed"] > 1 and {waits}', heartbeat_seconds=10)
    slow = program("time.sleep(0.3)", heartbeat_seconds=10)
    arguments = (*TUNE, "--trials", "8", "--json")
    with machine_a.started(*arguments, program=first_waits, **shared_store) as first:
        first.until(lambda: finished(shared_store), 120)
        joined = machine_b.run("join", program=slow, **shared_store)
        ended = first.ended(120)
    assert (ended.status, joined.status) == (0, 0), ended.stderr + joined.stderr
    assert ended.stderr.startswith("a shared study, in sqlite:///")
    document = ended.document
    assert len(counted(document)) == 8
    assert Counter(trial["state"] for trial in document["trials"])["running"] == 0
    recorded = [trial["run_id"] for trial in counted(document)]
    assert len(set(recorded)) == 8
    assert set(finished(shared_store).values()) == {1}
    assert "ours: Two parameters" in joined.stdout
    assert "nothing is left to do" in joined.stdout
    both = [
        (each.folder / "requests.jsonl").read_text().splitlines() for each in (machine_a, machine_b)
    ]
    assert all(both), "each trained some"
    seeds = [json.loads(line)["training_seed"] for lines in both for line in lines]
    assert len(seeds) == len(set(seeds))
    assert list(machine_b.folder.glob("reports/*")) == []


@needs_signals
def test_joining_machine_trains_the_rest_and_the_leader_finishes(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str]
) -> None:
    leave_open(machine_a, shared_store)
    joined = machine_b.call("join", "--study", "ours", **shared_store)
    assert joined.status == 0, joined.stderr
    assert "ours: 6 trials are done" in joined.stdout
    document = resume(machine_a, shared_store, 6)
    assert len(counted(document)) == 6
    assert document["candidate"] is not None
    assert len((machine_a.folder / "requests.jsonl").read_text().splitlines()) == 2
    assert set(finished(shared_store).values()) == {1}
    again = machine_b.call("join", **shared_store)
    assert again.stdout == "nothing is left to do there\n"


@needs_signals
def test_trial_of_a_killed_machine_is_retried_by_another(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str]
) -> None:
    hangs = program('request["training_seed"] == 1 and time.sleep(600)')
    with machine_a.started(*TUNE, "--trials", "4", program=hangs, **shared_store) as running:
        running.until(lambda: len(tags(shared_store)) == 2, 120)
        kill(running)
        joined = machine_b.run("join", program=program(), **shared_store)
    assert joined.status == 0, joined.stderr
    assert "trial 1 was lost with its machine; retrying it" in joined.stdout
    document = resume(machine_a, shared_store, 4)
    assert len(counted(document)) == 4
    (retry,) = [trial for trial in document["trials"] if trial["retry_of"] == 1]
    assert retry["chosen"] == document["trials"][1]["chosen"]
    assert retry["state"] in {"finished", "pruned"}
    assert set(finished(shared_store).values()) == {1}


@needs_signals
def test_trial_that_ended_before_its_machine_was_killed_counts(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str]
) -> None:
    """Killed after the end of the MLflow run, before the study is updated."""
    dies = program(
        more="""
import os, signal
report_trial = trial_runner.report_trial
trial_runner.report_trial = lambda study, goal, number, run: (
    os.kill(os.getpid(), signal.SIGKILL)
    if number == 2
    else report_trial(study, goal, number, run)
)
"""
    )
    killed = machine_a.run(*TUNE, "--trials", "4", program=dies, **shared_store)
    assert killed.status == -signal.SIGKILL
    joined = machine_b.run("join", program=program(), **shared_store)
    assert joined.status == 0, joined.stderr
    assert "had ended on another machine: it counts" in joined.stdout
    document = resume(machine_a, shared_store, 4)
    assert len(counted(document)) == 4
    (retry,) = [trial for trial in document["trials"] if trial["retry_of"] == 2]
    assert retry["state"] == "finished"
    assert retry["seconds"] < 60
    assert len(tags(shared_store)) == 4, "it is not trained again"
    assert str(retry["number"]) not in {trial for trial, _, _ in tags(shared_store)}
    assert len(finished(shared_store)) == 4


@needs_signals
def test_machine_that_was_stopped_loses_its_trial(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str], tmp_path: Path
) -> None:
    mark, go = tmp_path / "mark", tmp_path / "go"
    waits = f'request["training_seed"] == 1 and {wait_for_file(mark, go)}'
    # One heartbeat only: a process stopped during a write would lock the database.
    stopped = program(waits, heartbeat_seconds=600)
    with machine_a.started(
        *TUNE, "--trials", "3", "--json", program=stopped, **shared_store
    ) as running:
        running.until(mark.exists, 120)
        os.kill(running.process.pid, signal.SIGSTOP)
        joined = machine_b.run("join", program=program(), **shared_store)
        assert joined.status == 0, joined.stderr
        go.touch()
        os.kill(running.process.pid, signal.SIGCONT)
        ended = running.ended(120)
    assert ended.status == 0, ended.stderr
    document = ended.document
    assert len(counted(document)) == 3
    assert document["trials"][1]["state"] == "failed"
    assert set(finished(shared_store).values()) == {1}
    assert Counter(status for _, _, status in tags(shared_store)) == {"FINISHED": 3, "KILLED": 1}


@needs_signals
def test_trial_finished_by_a_stopped_machine_and_pruned_by_another_counts_once(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str], tmp_path: Path
) -> None:
    """The stopped machine finishes its run before the retry of its trial is pruned."""
    mark, go = tmp_path / "mark", tmp_path / "go"
    waits = f'request["training_seed"] == 1 and {wait_for_file(mark, go)}'
    stopped = program(waits, heartbeat_seconds=600)
    # The first machine finishes while the retry is still running, which is then pruned.
    pruned = program(
        more=f"""
import pathlib, time
from mnist_bench.tuning.pruning_callback import PruningCallback
scored = PruningCallback.scored
def prune(self, evaluation):
    if self._number == 2:
        pathlib.Path({str(go)!r}).touch()
        while not pathlib.Path({str(tmp_path / "ended")!r}).exists():
            time.sleep(0.05)
        self._reason = "others were ahead"
    else:
        scored(self, evaluation)
PruningCallback.scored = prune
"""
    )
    with machine_a.started(
        *TUNE, "--trials", "2", "--json", program=stopped, **shared_store
    ) as running:
        running.until(mark.exists, 120)
        os.kill(running.process.pid, signal.SIGSTOP)
        with machine_b.started("join", program=pruned, **shared_store) as joined:
            joined.until(go.exists, 120)
            os.kill(running.process.pid, signal.SIGCONT)
            running.until(lambda: ("1", "FINISHED") in states_of(shared_store), 120)
            (tmp_path / "ended").touch()
            assert joined.ended(120).status == 0
        ended = running.ended(120)
    assert ended.status == 0, ended.stderr
    assert [trial["state"] for trial in ended.document["trials"]] == [
        "finished", "failed", "pruned",
    ]  # fmt: skip
    assert states_of(shared_store) == {("0", "FINISHED"), ("1", "KILLED"), ("2", "KILLED")}


def states_of(shared_store: dict[str, str]) -> set[tuple[str, str]]:
    """Number of the trial and status of each run."""
    return {(trial, status) for trial, _, status in tags(shared_store)}


def test_failed_trials_are_retried_once(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str]
) -> None:
    with mock.patch.object(process, "COMMAND", fakes.trial_worker('sys.exit("no memory")')):
        ended = machine_a.call(*TUNE, "--trials", "3", **shared_store)
    assert ended.status == 1
    assert "3 trials failed one after the other" in ended.error_line
    joined = machine_b.call("join", **shared_store)
    assert joined.status == 0, joined.stderr
    document = resume(machine_a, shared_store, 3)
    assert len(counted(document)) == 3
    assert document["trials"][document["candidate"]]["state"] == "finished"
    paper_trials = [trial for trial in document["trials"] if trial["is_papers"]]
    assert paper_trials[-1]["state"] == "finished"


# Who may join


@needs_signals
def test_times_are_compared_on_one_kind_of_machine_only(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str]
) -> None:
    leave_open(machine_a, shared_store, "--objective", "time-to-accuracy")
    with mock.patch.object(machine, "_cpu_name", return_value="Another 9000"):
        refused = machine_b.call("join", **shared_store)
        resumed = machine_a.call(
            *TUNE, "--objective", "time-to-accuracy", "--resume", **shared_store
        )
    for ended in (refused, resumed):
        assert ended.status == 2
        assert "the study ours compares times and was started on " in ended.error_line
        assert "Another 9000" in ended.error_line
    assert machine_b.call("join", **shared_store).status == 0, "its own kind may"


@needs_signals
def test_accuracies_are_compared_across_machines(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str]
) -> None:
    leave_open(machine_a, shared_store)
    with mock.patch.object(machine, "_cpu_name", return_value="Another 9000"):
        assert machine_b.call("join", **shared_store).status == 0
    document = resume(machine_a, shared_store, 6)
    names = Counter(trial["machine"] for trial in counted(document))
    assert sorted(names.values()) == [1, 5]
    text = (machine_a.folder / "reports" / "ours.md").read_text(encoding="utf-8")
    assert "Trained on 2 machines: " in text
    assert "Another 9000" in text


@needs_signals
def test_titles_from_other_machines_are_escaped(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str]
) -> None:
    title = 'title = "\\u001b[2J[bold red]Ours\\u202e"'
    steering = TWO_PARAMETERS_TOML.replace('title = "Two parameters"', title)
    (machine_a.folder / "two.toml").write_text(steering, encoding="utf-8")
    leave_open(machine_a, shared_store)
    joined = machine_b.call("join", **shared_store)
    assert joined.status == 0, joined.stderr
    assert "ours: [2J[bold red]Ours\n" in joined.stdout
    assert not {"\x1b", "\u202e"} & set(joined.stdout + joined.stderr)


@needs_signals
def test_another_store_is_refused(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str], tmp_path: Path
) -> None:
    leave_open(machine_a, shared_store)
    elsewhere = {"MLFLOW_TRACKING_URI": f"sqlite:///{(tmp_path / 'elsewhere.db').as_posix()}"}
    ended = machine_b.call("join", **(shared_store | elsewhere))
    assert ended.status == 2
    assert "ours is recorded to another store than MLFLOW_TRACKING_URI" in ended.error_line


@needs_signals
def test_other_images_are_refused(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str]
) -> None:
    leave_open(machine_a, shared_store)
    with mock.patch("mnist_bench.data.mnist.find", return_value=factories.SOURCE):
        ended = machine_b.call("join", **shared_store)
    assert ended.status == 2
    assert "ours needs mnist-5k, but this machine has other images" in ended.error_line


@needs_signals
def test_a_study_of_another_version_is_refused(
    machine_a: Bench, machine_b: Bench, shared_store: dict[str, str]
) -> None:
    leave_open(machine_a, shared_store)
    import optuna

    saved = optuna.load_study(study_name="ours", storage=shared_store["MNIST_BENCH_STORAGE"])
    saved.set_user_attr("mnist-bench search", '{"schema": 7}')
    ended = machine_b.call("join", "--study", "ours", **shared_store)
    assert ended.status == 2
    assert "the study ours is of another version of mnist-bench; upgrade" in ended.error_line
    others = machine_b.call("join", **shared_store)
    assert others.status == 0
    assert others.stdout == (
        "ours is skipped: the study ours is of another version of mnist-bench; upgrade the older "
        "one\nnothing is left to do there\n"
    )


def test_foreign_study_is_ignored(machine_b: Bench, shared_store: dict[str, str]) -> None:
    import optuna

    optuna.create_study(study_name="theirs", storage=shared_store["MNIST_BENCH_STORAGE"])
    assert list(storage.attributes(shared_store["MNIST_BENCH_STORAGE"])) == ["theirs"]
    assert machine_b.call("join", **shared_store).stdout == "nothing is left to do there\n"
