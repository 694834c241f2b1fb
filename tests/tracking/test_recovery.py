"""What vanished processes left: delivered, ended, and nobody else's touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakes
import pytest
from factories import (
    heard_at_ms,
    machine,
    planned_row,
    row_end_message,
    sample_message,
    scored_message,
    spool_header,
)
from program import Bench, Running, altered, wait_until

from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.results.run import RunResult
from mnist_bench.tracking import recovery, spool
from mnist_bench.tracking.mlflow_reader import existing_store
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address, MessageEntry, RunCreated, Spool, TrainingEnded

MACHINE = "0123456789abcdef"


def sqlite_uri(folder: Path) -> str:
    return f"sqlite:///{(folder / 'mlflow.db').as_posix()}"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests, since to make one takes seconds."""
    return sqlite_uri(tmp_path_factory.mktemp("database"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, where journals lie."""
    monkeypatch.chdir(tmp_path)
    spool.FOLDER.mkdir(parents=True)
    return tmp_path


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def address(uri: str) -> Address:
    return Address(tracking_uri=uri, experiment=uuid.uuid4().hex)


@pytest.fixture
def opened(uri: str, address: Address) -> MlflowStore:
    return MlflowStore(uri, address.experiment)


@pytest.fixture
def settled(opened: MlflowStore, address: Address, told: list[str]) -> Callable[[], list[str]]:
    """Settles what was left, and says what the user was told of it."""

    def settle() -> list[str]:
        told.clear()
        recovery.settle(opened, address, MACHINE, told.append)
        return list(told)

    return settle


def gone() -> ProcessIdentity:
    """A process of this machine that has ended."""
    with fakes.living_process(MACHINE) as of:
        pass
    return of


@pytest.fixture
def alive() -> Iterator[ProcessIdentity]:
    """A process of this machine that goes on."""
    with fakes.living_process(MACHINE) as of:
        yield of


def left(
    address: Address, of: ProcessIdentity, *, trajectory: str = "", ended: bool = False
) -> Spool:
    """A journal whose first row has finished, and the second not."""
    name = trajectory or uuid.uuid4().hex
    runs = tuple(
        planned_row(steps).model_copy(update={"trajectory": name, "machine_id": MACHINE})
        for steps in (250, 501)
    )
    made = Spool(spool_header(owner=of, address=address, runs=runs))
    for step in (1, 101, 201, 250):
        made.add(MessageEntry(at_ms=heard_at_ms(step), message=sample_message(step)))
        made.add(MessageEntry(at_ms=heard_at_ms(step) + 1, message=scored_message(step)))
    (made.files / "250").mkdir(parents=True)
    (made.files / "250" / "predictions.npz").write_bytes(b"predictions")
    made.add(MessageEntry(at_ms=heard_at_ms(250) + 2, message=row_end_message(250)))
    made.add(MessageEntry(at_ms=heard_at_ms(301), message=scored_message(301)))
    if ended:
        made.add(TrainingEnded(at_ms=heard_at_ms(302), status="killed", reason="interrupted"))
    return made


def runs_in(opened: MlflowStore) -> dict[str, Any]:
    """Runs by their steps; there is one of each."""
    found = opened.client.search_runs([opened.experiment_id])
    by_steps = {run.data.params["steps"]: run for run in found}
    assert len(by_steps) == len(found)
    return by_steps


def history(opened: MlflowStore, run: Any, name: str) -> list[tuple[int, float]]:
    found = opened.client.get_metric_history(run.info.run_id, name)
    return sorted((metric.step, metric.value) for metric in found)


# Journals


def test_a_vanished_process_has_its_runs_closed_with_their_curves(
    opened: MlflowStore, address: Address, settled: Callable[[], list[str]]
) -> None:
    made = left(address, gone())
    (line,) = settled()
    assert line.startswith("Settled what earlier commands left: 1 run of a vanished process closed")
    assert line.endswith("closed as KILLED, 1 run that waited delivered to MLflow")
    runs = runs_in(opened)
    short, long = runs["250"], runs["501"]
    assert (short.info.status, long.info.status) == ("FINISHED", "KILLED")
    assert history(opened, short, "test_accuracy") == [(s, 0.97) for s in (1, 101, 201, 250)]
    assert history(opened, long, "test_accuracy") == [(s, 0.97) for s in (1, 101, 201, 301)]
    assert history(opened, long, "rss_bytes") == [(s, 7_000) for s in (1, 101, 201, 250)]
    assert short.data.metrics["peak_rss_bytes"] == 1_250
    assert long.data.tags["bench.failure"] == "its process vanished"
    assert {run.data.tags["bench.complete"] for run in runs.values()} == {"true"}
    assert {run.data.tags["bench.verdict"] for run in runs.values()} == {"clean"}
    assert (short.info.end_time, long.info.end_time) == (heard_at_ms(250) + 2, heard_at_ms(301))
    files = {file.path for file in opened.client.list_artifacts(short.info.run_id)}
    assert {"result.json", "predictions.npz", "scenario.toml", "machine.json"} == files
    assert not made.path.exists()
    assert not made.files.exists()
    assert settled() == []


def test_a_run_that_ended_ends_as_it_did(
    opened: MlflowStore, address: Address, settled: Callable[[], list[str]]
) -> None:
    left(address, gone(), ended=True)
    assert settled() == [
        "Settled what earlier commands left: 2 runs that waited delivered to MLflow"
    ]
    long = runs_in(opened)["501"]
    assert (long.info.status, long.info.end_time) == ("KILLED", heard_at_ms(302))
    assert long.data.tags["bench.failure"] == "interrupted"


def test_twice_delivered_is_there_once(
    opened: MlflowStore, address: Address, settled: Callable[[], list[str]]
) -> None:
    """As where a process is killed between its last delivery and the end of its journal."""
    made = left(address, gone())
    journal_text = made.path.read_bytes()
    settled()
    before = {steps: run.data for steps, run in runs_in(opened).items()}
    curves = {
        (steps, name): history(opened, run, name)
        for steps, run in runs_in(opened).items()
        for name in run.data.metrics
    }
    for complete in ("true", "false"):
        for run in runs_in(opened).values():
            opened.client.set_tag(run.info.run_id, "bench.complete", complete)
        made.path.write_bytes(journal_text)
        settled()
        assert not made.path.exists()
    for steps, run in runs_in(opened).items():
        assert run.data.metrics == before[steps].metrics
        assert run.data.tags == before[steps].tags
        for name in run.data.metrics:
            assert history(opened, run, name) == curves[steps, name]
            assert len({step for step, _ in curves[steps, name]}) == len(curves[steps, name])


def test_a_run_that_was_made_is_found_again(
    opened: MlflowStore, address: Address, settled: Callable[[], list[str]]
) -> None:
    """Its id was journalled, or the process was killed in between."""
    made = left(address, gone())
    story = spool.read(made.path)
    assert story is not None
    started = [
        opened.start(run, "note", story.header.owner, machine(), at_ms=heard_at_ms(0))
        for run in story.header.runs
    ]
    made.add(RunCreated(at_ms=heard_at_ms(302), steps=250, run_id=started[0].run_id))
    settled()
    assert {run.info.run_id for run in runs_in(opened).values()} == {s.run_id for s in started}


def test_a_process_that_never_began_leaves_nothing(
    opened: MlflowStore, address: Address, settled: Callable[[], list[str]], folder: Path
) -> None:
    made = Spool(spool_header(owner=gone(), address=address))
    made.files.mkdir()
    assert settled() == []
    assert runs_in(opened) == {}
    assert [path.name for path in spool.FOLDER.iterdir()] == [".lock"]


def test_a_journal_that_is_torn_right_after_its_beginning(
    opened: MlflowStore, address: Address, settled: Callable[[], list[str]]
) -> None:
    made = left(address, gone())
    lines = made.path.read_bytes().splitlines(keepends=True)
    made.path.write_bytes(b"".join(lines[:2]) + lines[2][:17])
    assert settled() == [
        "Settled what earlier commands left: 2 runs of a vanished process closed as KILLED"
    ]
    assert {run.info.status for run in runs_in(opened).values()} == {"KILLED"}


# Whose they are


def test_a_process_that_is_alive_is_left_alone(
    opened: MlflowStore, address: Address, settled: Callable[[], list[str]], alive: ProcessIdentity
) -> None:
    made = left(address, alive, ended=True)
    run = planned_row(250).model_copy(update={"trajectory": "another"})
    opened.start(run, "note", alive, machine(), at_ms=heard_at_ms(0))
    assert settled() == []
    assert made.path.exists()
    assert runs_in(opened)["250"].info.status == "RUNNING"


@pytest.mark.parametrize(
    "change",
    [{"machine_id": "another"}, {"machine_id": None}, {"boot_id": "b/pid:[1]"}],
    ids=["machine", "nameless", "container"],
)
def test_another_machines_process_is_left_alone(
    opened: MlflowStore, address: Address, settled: Callable[[], list[str]], change: dict[str, Any]
) -> None:
    other = gone().model_copy(update=change)
    made = left(address, other)
    run = planned_row(250).model_copy(update={"trajectory": "another"})
    opened.start(run, "note", other, machine(), at_ms=heard_at_ms(0))
    assert settled() == []
    assert made.path.exists()
    assert runs_in(opened)["250"].info.status == "RUNNING"


def test_what_is_for_another_store_is_left_alone(
    opened: MlflowStore, address: Address, settled: Callable[[], list[str]]
) -> None:
    elsewhere = Address(tracking_uri="http://127.0.0.1:9", experiment=address.experiment)
    others = address.model_copy(update={"experiment": "another"})
    journals = [left(elsewhere, gone()), left(others, gone())]
    assert settled() == []
    assert all(made.path.exists() for made in journals)
    assert recovery.waiting_experiments("http://127.0.0.1:9", MACHINE) == {address.experiment}
    assert recovery.waiting_experiments(address.tracking_uri, MACHINE) == {"another"}
    assert recovery.waiting_experiments(address.tracking_uri, "another") == set()


@pytest.mark.parametrize("content", [b"", b"not a journal\n"])
def test_what_is_no_journal_is_left_alone(
    address: Address, settled: Callable[[], list[str]], content: bytes
) -> None:
    path = spool.FOLDER / "mine.jsonl"
    path.write_bytes(content)
    assert settled() == []
    assert path.read_bytes() == content


def test_a_first_line_that_nobody_finishes_is_removed(settled: Callable[[], list[str]]) -> None:
    old, new, whole = (spool.FOLDER / f"{name}.jsonl" for name in ("old", "new", "whole"))
    for path in (old, new):
        path.write_bytes(b'{"kind":"header"')
    whole.write_bytes(b"of another version\n")
    spool.files_of(old).mkdir()
    for path in (old, whole):
        os.utime(path, (0, 0))
    assert settled() == []
    assert set(spool.paths()) == {new, whole}
    assert not spool.files_of(old).exists()


# Runs without a journal


def test_a_run_without_a_journal_is_ended_with_what_is_there(
    opened: MlflowStore, address: Address, settled: Callable[[], list[str]]
) -> None:
    run = planned_row(250).model_copy(update={"trajectory": "elsewhere"})
    opened.start(run, "note", gone(), machine(), at_ms=heard_at_ms(0))
    assert settled() == [
        "Settled what earlier commands left: 1 run of a vanished process closed as KILLED"
    ]
    ended = runs_in(opened)["250"]
    assert ended.info.status == "KILLED"
    assert ended.data.tags["bench.complete"] == "false"
    assert ended.data.tags["bench.failure"] == "its process vanished"


def test_somebody_elses_runs_go_on(
    opened: MlflowStore, address: Address, settled: Callable[[], list[str]]
) -> None:
    made = opened.client.create_run(opened.experiment_id)
    garbled = opened.client.create_run(opened.experiment_id, tags={"bench.owner": "me"})
    assert settled() == []
    for run in (made, garbled):
        assert opened.client.get_run(run.info.run_id).info.status == "RUNNING"


# A store that refuses


def test_what_is_refused_stays_for_later(
    opened: MlflowStore,
    address: Address,
    settled: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = left(address, gone())

    def refuse(*_: object, **__: object) -> None:
        raise BenchError("MLflow failed: the disk is full", "make room", exit_status=EXIT_BROKE)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowStore, "log", refuse)
        (line,) = settled()
    assert line.startswith("what earlier commands left stays for later: MLflow failed")
    assert made.path.exists()
    assert (made.files / "250" / "predictions.npz").exists()
    settled()
    assert {run.info.status for run in runs_in(opened).values()} == {"FINISHED", "KILLED"}
    assert not made.path.exists()


def test_one_that_is_refused_does_not_keep_the_others_waiting(
    opened: MlflowStore,
    address: Address,
    settled: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = left(address, gone(), trajectory="aaa")
    left(address, gone(), trajectory="bbb")
    start = MlflowStore.start

    def refuse(self: MlflowStore, run: RunResult, *args: Any, **options: Any) -> Any:
        if run.trajectory == "aaa":
            raise BenchError("MLflow failed: it does not like it", exit_status=EXIT_BROKE)
        return start(self, run, *args, **options)

    monkeypatch.setattr(MlflowStore, "start", refuse)
    assert len(settled()) == 2
    assert spool.paths() == [refused.path]
    assert {run.data.tags["bench.trajectory"] for run in runs_in(opened).values()} == {"bbb"}


# Two at once

SETTLE = """
import sys
from mnist_bench.tracking import recovery
from mnist_bench.tracking.spool import Address
from mnist_bench.tracking.mlflow_store import Store
uri, experiment = sys.argv[1:]
opened = Store(uri, experiment)
print("ready", flush=True)
sys.stdin.readline()
recovery.settle(opened, Address(tracking_uri=uri, experiment=experiment), "0123456789abcdef", print)
"""


def test_two_commands_at_once_do_not_collide(opened: MlflowStore, address: Address) -> None:
    for _ in range(5):
        left(address, gone())
    command = [sys.executable, "-c", SETTLE, address.tracking_uri, address.experiment]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        subprocess.Popen(command, **pipes) as first,
        subprocess.Popen(command, **pipes) as second,
    ):
        for process in (first, second):
            assert process.stdout.readline() == "ready\n"
        for process in (first, second):
            process.stdin.write("\n")
            process.stdin.flush()
        said = "".join(process.communicate(timeout=100)[0] for process in (first, second))
    assert (first.returncode, second.returncode) == (0, 0)
    assert "stays for later" not in said
    found = opened.client.search_runs([opened.experiment_id])
    keys = [(run.data.tags["bench.trajectory"], run.data.tags["bench.steps"]) for run in found]
    assert len(keys) == len(set(keys)) == 10
    assert {run.info.status for run in found} == {"FINISHED", "KILLED"}
    assert spool.paths() == []


# The whole way: a command that does not come to its end, and the next

STAND_IN = "from mnist_bench.runner import process\nprocess.COMMAND = {worker!r}\n"


def program(fault: str = "pass", before: str = "") -> tuple[str, ...]:
    """The program with a stand-in for its worker."""
    return altered(STAND_IN.format(worker=fakes.worker(fault)) + before)


def journals_of(bench: Bench) -> list[Path]:
    return spool.paths(bench.folder / spool.FOLDER)


def waiting(step: int) -> str:
    """A stand-in's fault: it waits after a scoring until its parent is gone."""
    return f"step >= {step} and sys.stdin.readline()"


def until_scored(bench: Bench, running: Running, step: int) -> None:
    """Until a scoring is journalled: from then on it may be shown."""
    said = f'"evaluation":{{"step":{step},'
    running.until(
        lambda: any(said in path.read_text(encoding="utf-8") for path in journals_of(bench)), 60
    )


def recorded_in(bench: Bench) -> dict[str, Any]:
    """The runs by their steps; there is one of each."""
    opened = existing_store(sqlite_uri(bench.folder), "mnist-bench")
    assert opened is not None
    return runs_in(opened)


def curve_of(bench: Bench, run: Any) -> list[int]:
    opened = existing_store(sqlite_uri(bench.folder), "mnist-bench")
    assert opened is not None
    return [step for step, _ in history(opened, run, "test_accuracy")]


def test_a_parent_that_is_killed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    line = ("run", "smoke", "--steps", "60,160")
    with bench.started(*line, program=program(waiting(101))) as running:
        until_scored(bench, running, 101)
        running.process.kill()
    assert len(journals_of(bench)) == 1
    ended = bench.run("run", "smoke", "--steps", "110", program=program())
    assert ended.status == 0, ended.stderr
    assert "1 run of a vanished process closed as KILLED" in ended.told
    assert journals_of(bench) == []
    runs = recorded_in(bench)
    statuses = {steps: run.info.status for steps, run in runs.items()}
    assert statuses == {"60": "FINISHED", "160": "KILLED", "110": "FINISHED"}
    assert curve_of(bench, runs["160"]) == [1, 51, 101]
    assert {run.data.tags["bench.complete"] for run in runs.values()} == {"true"}


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_a_third_interruption_leaves_a_journal(tmp_path: Path) -> None:
    """The first ends the training, the second comes while its runs are closed."""
    bench = Bench(tmp_path)
    slow = """
import os, time
from mnist_bench.tracking.mlflow_store import Store
def finish(*_, **__):
    open("closing", "w").close()
    time.sleep(100)
Store.finish = finish
"""
    with bench.started("run", "smoke", program=program(waiting(101), slow)) as running:
        until_scored(bench, running, 101)
        running.process.send_signal(signal.SIGINT)
        running.until((bench.folder / "closing").exists, 60)
        # Two signals at once would count as one.
        wait_until(
            lambda: (
                running.process.poll() is not None or running.process.send_signal(signal.SIGINT)
            ),
            60,
        )
    assert recorded_in(bench)["200"].info.status == "RUNNING"
    assert len(journals_of(bench)) == 1
    ended = bench.run("run", "smoke", "--steps", "1", program=program())
    assert "1 run that waited delivered to MLflow" in ended.told
    killed = recorded_in(bench)["200"]
    assert (killed.info.status, killed.data.tags["bench.failure"]) == ("KILLED", "interrupted")


REFUSING = """
from mnist_bench.tracking.mlflow_store import Store
from mnist_bench.core.errors import BenchError
def refuse(*_, **__):
    raise BenchError("MLflow failed: database is locked", "wait", exit_status=1)
Store.log = refuse
"""


def test_a_store_that_fails_on_the_way(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    ended = bench.run("run", "smoke", "--seeds", "2", "--json", program=program(before=REFUSING))
    assert ended.status == 1
    assert [run["status"] for run in ended.document["runs"]] == ["finished"] * 2
    assert (bench.folder / "reports" / "smoke.json").exists()
    assert ended.told.count("the training goes on") == 1
    assert "the results wait in mlruns/.runs, the next command here delivers" in ended.complaint
    assert len(journals_of(bench)) == 2
    later = bench.run("run", "smoke", "--resume", "--seeds", "2", "--json", program=program())
    assert later.status == 0, later.stderr
    assert "2 runs that waited delivered to MLflow" in later.told
    # Nothing was missing, so nothing was trained.
    assert later.document["runs"] == ended.document["runs"]
    assert journals_of(bench) == []


NO_ROOM = """
import errno, os
from mnist_bench.tracking.spool import Journal
def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
Journal._write = full
"""


def test_a_full_disk(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    ended = bench.run("run", "smoke", "--json", program=program(before=NO_ROOM + REFUSING))
    assert ended.status == 1
    (run,) = ended.document["runs"]
    assert (run["status"], run["max_test_accuracy"]) == ("finished", 0.75)
    assert ended.told.count("can't write to mlruns/.runs") == 1
    assert "takes nothing either" in ended.complaint
    # What is left RUNNING there is the next command's to end.
    later = bench.run("run", "smoke", "--steps", "1", program=program())
    assert "1 run of a vanished process closed as KILLED" in later.told
    assert recorded_in(bench)["200"].info.status == "KILLED"


def test_only_what_is_missing_is_trained(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    first = bench.run("run", "smoke", "--steps", "60", "--json", program=program())
    assert first.status == 0, first.stderr
    second = bench.run("run", "smoke", "--steps", "60,110", "--resume", "--json", program=program())
    assert second.status == 0, second.stderr
    short, long = second.document["runs"]
    assert short == first.document["runs"][0]
    assert (long["steps"], long["status"]) == (110, "finished")
    assert set(recorded_in(bench)) == {"60", "110"}
    third = bench.run(
        "run", "smoke", "--steps", "60,110", "--resume", "--json", program=program("sys.exit(3)")
    )
    assert (third.status, third.document) == (0, second.document)


def test_ui_settles_what_was_left(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with bench.started("run", "smoke", program=program(waiting(101))) as running:
        until_scored(bench, running, 101)
        running.process.kill()
    quiet = """
from mnist_bench.cli import ui
ui._serve = lambda *_: None
"""
    ended = bench.run("ui", program=altered(quiet))
    assert ended.status == 0, ended.stderr
    assert "1 run of a vanished process closed as KILLED" in ended.stdout
    assert recorded_in(bench)["200"].info.status == "KILLED"
    assert "KILLED" not in bench.run("ui", program=altered(quiet)).stdout
