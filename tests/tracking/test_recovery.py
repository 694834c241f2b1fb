"""Recovery of vanished processes: uploads, ended runs, and what is left alone."""

from __future__ import annotations

import errno
import os
import re
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
    evaluation_message,
    machine,
    planned_step_count,
    received_at_ms,
    sample_message,
    spool_header,
    step_count_done,
)
from program import Bench, Running, patched_program, wait_until

from mnist_bench.core import locks
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.results.run import RunResult
from mnist_bench.tracking import recorder, recovery, spool
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address, MessageEntry, Spool, TrainingEnded


def sqlite_uri(folder: Path) -> str:
    return f"sqlite:///{(folder / 'mlflow.db').as_posix()}"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests, since creating one takes seconds."""
    return sqlite_uri(tmp_path_factory.mktemp("database"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    """The working directory, which contains the spools; the state folder is empty."""
    monkeypatch.chdir(tmp_path)
    spool.FOLDER.mkdir(parents=True)
    return tmp_path


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def address(uri: str) -> Address:
    return Address(tracking_uri=uri, experiment=uuid.uuid4().hex)


@pytest.fixture
def store(uri: str, address: Address) -> MlflowStore:
    return MlflowStore(uri, address.experiment)


@pytest.fixture
def recover(store: MlflowStore, address: Address, lines: list[str]) -> Callable[[], list[str]]:
    """Runs the recovery, and returns the printed lines."""

    def run_recovery() -> list[str]:
        lines.clear()
        recovery.recover(store, address, lines.append)
        return list(lines)

    return run_recovery


def ended_process(*folders: Path) -> str:
    """A process that was killed while it held its lock files in these folders, or in both."""
    with fakes.running_process(*(folders or (spool.FOLDER, locks.live_folder()))) as name:
        pass
    return name


@pytest.fixture
def alive() -> Iterator[str]:
    """A process that holds its lock files."""
    with fakes.running_process(spool.FOLDER, locks.live_folder()) as name:
        yield name


def write_spool(
    address: Address, owner: str, *, trajectory: str = "", ended: bool = False
) -> Spool:
    """A spool whose first step count has finished, and the second not."""
    name = trajectory or uuid.uuid4().hex
    runs = tuple(
        planned_step_count(steps).model_copy(update={"trajectory": name}) for steps in (250, 501)
    )
    writer = Spool(spool_header(owner=owner, address=address, runs=runs))
    for step in (1, 101, 201, 250):
        writer.add(MessageEntry(at_ms=received_at_ms(step), message=sample_message(step)))
        writer.add(MessageEntry(at_ms=received_at_ms(step) + 1, message=evaluation_message(step)))
    (spool.files_of(writer.path) / "250").mkdir(parents=True)
    (spool.files_of(writer.path) / "250" / "predictions.npz").write_bytes(b"predictions")
    writer.add(MessageEntry(at_ms=received_at_ms(250) + 2, message=step_count_done(250)))
    writer.add(MessageEntry(at_ms=received_at_ms(301), message=evaluation_message(301)))
    if ended:
        writer.add(TrainingEnded(at_ms=received_at_ms(302), status="killed", reason="interrupted"))
    return writer


def runs_in(store: MlflowStore) -> dict[str, Any]:
    """Runs by their steps; there is one of each."""
    found = store.client.search_runs([store.experiment_id])
    by_steps = {run.data.params["steps"]: run for run in found}
    assert len(by_steps) == len(found)
    return by_steps


def history(store: MlflowStore, run: Any, name: str) -> list[tuple[int, float]]:
    found = store.client.get_metric_history(run.info.run_id, name)
    return sorted((metric.step, metric.value) for metric in found)


# Spools


def test_finished_runs_in_spools_are_known(address: Address, alive: str) -> None:
    elsewhere = address.model_copy(update={"experiment": "another"})
    dead, living = write_spool(address, ended_process()), write_spool(address, alive)
    write_spool(elsewhere, alive)
    found = {(run.trajectory, run.steps) for run in recovery.finished_in_spools(address)}
    assert found == {(writer.path.stem, 250) for writer in (dead, living)}


def test_runs_of_a_vanished_process_are_closed_with_their_curves(
    store: MlflowStore, address: Address, recover: Callable[[], list[str]]
) -> None:
    writer = write_spool(address, ended_process())
    (line,) = recover()
    assert line.startswith("Recovered from earlier commands: 1 run of a vanished process closed")
    assert line.endswith("closed as KILLED, 1 run uploaded to MLflow")
    runs = runs_in(store)
    short, long = runs["250"], runs["501"]
    assert (short.info.status, long.info.status) == ("FINISHED", "KILLED")
    assert history(store, short, "test_accuracy") == [(s, 0.97) for s in (1, 101, 201, 250)]
    assert history(store, long, "test_accuracy") == [(s, 0.97) for s in (1, 101, 201, 301)]
    assert history(store, long, "rss_bytes") == [(s, 7_000) for s in (1, 101, 201, 250)]
    assert short.data.metrics["peak_rss_bytes"] == 1_250
    assert long.data.tags["bench.failure"] == "its process vanished"
    assert {run.data.tags["bench.complete"] for run in runs.values()} == {"true"}
    assert {run.data.tags["bench.verdict"] for run in runs.values()} == {"clean"}
    assert (short.info.end_time, long.info.end_time) == (
        received_at_ms(250) + 2,
        received_at_ms(301),
    )
    files = {file.path for file in store.client.list_artifacts(short.info.run_id)}
    assert {"result.json", "predictions.npz", "scenario.toml", "machine.json"} == files
    assert not writer.path.exists()
    assert not spool.files_of(writer.path).exists()
    assert recover() == []


def test_ended_run_keeps_its_status(
    store: MlflowStore, address: Address, recover: Callable[[], list[str]]
) -> None:
    write_spool(address, ended_process(), ended=True)
    assert recover() == ["Recovered from earlier commands: 2 runs uploaded to MLflow"]
    long = runs_in(store)["501"]
    assert (long.info.status, long.info.end_time) == ("KILLED", received_at_ms(302))
    assert long.data.tags["bench.failure"] == "interrupted"


def test_repeated_recovery_adds_nothing(
    store: MlflowStore, address: Address, recover: Callable[[], list[str]]
) -> None:
    """As if a process is killed between the last upload and removing its spool."""
    writer = write_spool(address, ended_process())
    spool_text = writer.path.read_bytes()
    recover()
    before = {steps: run.data for steps, run in runs_in(store).items()}
    curves = {
        (steps, name): history(store, run, name)
        for steps, run in runs_in(store).items()
        for name in run.data.metrics
    }
    for complete in ("true", "false"):
        for run in runs_in(store).values():
            store.client.set_tag(run.info.run_id, "bench.complete", complete)
        writer.path.write_bytes(spool_text)
        recover()
        assert not writer.path.exists()
    for steps, run in runs_in(store).items():
        assert run.data.metrics == before[steps].metrics
        assert run.data.tags == before[steps].tags
        for name in run.data.metrics:
            assert history(store, run, name) == curves[steps, name]
            assert len({step for step, _ in curves[steps, name]}) == len(curves[steps, name])


def test_created_run_is_found_again(
    store: MlflowStore, address: Address, recover: Callable[[], list[str]]
) -> None:
    writer = write_spool(address, ended_process())
    contents = spool.read(writer.path)
    assert contents is not None
    started = [
        store.start(run, "note", contents.header.owner, machine(), at_ms=received_at_ms(0))
        for run in contents.header.runs
    ]
    recover()
    assert {run.info.run_id for run in runs_in(store).values()} == {s.run_id for s in started}


def test_run_that_the_user_deleted_stays_deleted(
    store: MlflowStore, address: Address, recover: Callable[[], list[str]]
) -> None:
    writer = write_spool(address, ended_process())
    contents = spool.read(writer.path)
    assert contents is not None
    short = contents.header.runs[0]
    started = store.start(short, "note", "1-1-0123abcd", machine(), at_ms=received_at_ms(0))
    store.client.delete_run(started.run_id)
    recover()
    assert set(runs_in(store)) == {"501"}
    assert spool.paths() == []


def test_runs_of_a_training_that_was_killed_at_its_start(
    store: MlflowStore, address: Address, recover: Callable[[], list[str]]
) -> None:
    """MLflow may have them: the spool is created before they are."""
    writer = Spool(spool_header(owner=ended_process(), address=address))
    spool.files_of(writer.path).mkdir()
    assert recover() == [
        "Recovered from earlier commands: 2 runs of a vanished process closed as KILLED"
    ]
    assert {run.info.status for run in runs_in(store).values()} == {"KILLED"}
    assert spool.paths() == []


def test_spool_of_0_1_0(
    store: MlflowStore, address: Address, recover: Callable[[], list[str]]
) -> None:
    """Its owner had no lock file."""
    writer = write_spool(address, ended_process())
    header, *entries = writer.path.read_text(encoding="utf-8").splitlines(keepends=True)
    owner = re.search(r'"owner":"[^"]*"', header)
    assert owner is not None
    old = '"owner":{"machine_id":"m","boot_id":"b/pid:[4]","pid":1,"started_at":1.5}'
    begun = '{"kind":"begun","at_ms":5}\n'
    text = "".join([header.replace(owner[0], old), begun, *entries])
    writer.path.write_text(text, encoding="utf-8")
    (line,) = recover()
    assert line.endswith("closed as KILLED, 1 run uploaded to MLflow")
    assert history(store, runs_in(store)["250"], "test_accuracy")[-1] == (250, 0.97)


def test_spool_that_is_torn_after_its_first_entry(
    store: MlflowStore, address: Address, recover: Callable[[], list[str]]
) -> None:
    writer = write_spool(address, ended_process())
    lines = writer.path.read_bytes().splitlines(keepends=True)
    writer.path.write_bytes(b"".join(lines[:2]) + lines[2][:17])
    assert recover() == [
        "Recovered from earlier commands: 2 runs of a vanished process closed as KILLED"
    ]
    assert {run.info.status for run in runs_in(store).values()} == {"KILLED"}


# Owners


def start_elsewhere(store: MlflowStore, owner: str) -> None:
    """Create a run whose spool is in another folder."""
    run = planned_step_count(250).model_copy(update={"trajectory": "elsewhere"})
    store.start(run, "note", owner, machine(), at_ms=received_at_ms(0))


def test_live_process_is_left_alone(
    store: MlflowStore, address: Address, recover: Callable[[], list[str]], alive: str
) -> None:
    writer = write_spool(address, alive, ended=True)
    start_elsewhere(store, alive)
    assert recover() == []
    assert writer.path.exists()
    assert runs_in(store)["250"].info.status == "RUNNING"


@pytest.mark.parametrize("has_lock", [True, False])
def test_lock_file_in_the_folder_of_spools_decides_about_a_spool(
    store: MlflowStore, address: Address, recover: Callable[[], list[str]], *, has_lock: bool
) -> None:
    """Another host or container that shares the project has another state folder."""
    with fakes.running_process(spool.FOLDER if has_lock else Path("elsewhere")) as owner:
        write_spool(address, owner, ended=True)
        assert len(recover()) == (0 if has_lock else 1)
    assert len(recover()) == (1 if has_lock else 0)


def test_run_of_an_unknown_process_is_left_alone(
    store: MlflowStore, recover: Callable[[], list[str]]
) -> None:
    """Of another host, whose lock files are not seen here."""
    start_elsewhere(store, ended_process(Path("another host")))
    assert recover() == []
    assert runs_in(store)["250"].info.status == "RUNNING"


def test_nothing_is_ended_without_locks(
    store: MlflowStore,
    address: Address,
    recover: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_descriptor: int, *, blocking: bool) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    owner = ended_process()
    writer = write_spool(address, owner, ended=True)
    start_elsewhere(store, owner)
    with monkeypatch.context() as patch:
        patch.setattr(locks, "lock_descriptor", fail)
        (line,) = recover()
    assert line.startswith("runs of earlier commands are not closed: the file system has no locks")
    assert writer.path.exists()
    assert runs_in(store)["250"].info.status == "RUNNING"
    assert recover() != []


def test_lock_files_of_settled_processes_are_removed(
    store: MlflowStore, address: Address, recover: Callable[[], list[str]]
) -> None:
    with_spool, without, other = ended_process(), ended_process(), ended_process()
    write_spool(address, with_spool)
    start_elsewhere(store, without)
    recover()
    for folder in (spool.FOLDER, locks.live_folder()):
        left = {path.stem for path in folder.glob("?*.lock")}
        assert left - {locks.process_name()} == {other}


def test_spool_for_another_store_is_left_alone(
    store: MlflowStore, address: Address, recover: Callable[[], list[str]]
) -> None:
    other_store = Address(tracking_uri="http://127.0.0.1:9", experiment=address.experiment)
    other_experiment = address.model_copy(update={"experiment": "another"})
    spools = [
        write_spool(other_store, ended_process()),
        write_spool(other_experiment, ended_process()),
    ]
    assert recover() == []
    assert all(each.path.exists() for each in spools)
    assert recovery.experiments_with_spools("http://127.0.0.1:9") == {address.experiment}
    assert recovery.experiments_with_spools(address.tracking_uri) == {"another"}


def test_file_that_is_not_a_spool_is_left_alone(
    address: Address, recover: Callable[[], list[str]]
) -> None:
    path = spool.FOLDER / "mine.jsonl"
    path.write_bytes(b"not a spool\n")
    assert recover() == []
    assert path.read_bytes() == b"not a spool\n"


def test_remains_are_removed_once_every_process_has_ended(
    recover: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    locks.hold(spool.FOLDER)
    monkeypatch.setattr(recorder, "own_trainings", {"own"})
    spool.files_of(spool.path_of("own")).mkdir()
    empty, torn, complete = (spool.FOLDER / f"{name}.jsonl" for name in ("empty", "torn", "all"))
    empty.touch()
    torn.write_bytes(b'{"kind":"header"')
    complete.write_bytes(b"of another version\n")
    for path in (torn, complete, spool.FOLDER / "without.jsonl"):
        spool.files_of(path).mkdir()
    with fakes.running_process(spool.FOLDER):
        assert recover() == []
        assert len([path for path in spool.FOLDER.iterdir() if path.suffix != ".lock"]) == 7
    assert recover() == []
    left = {path.name for path in spool.FOLDER.iterdir() if path.suffix != ".lock"}
    assert left == {"all.jsonl", "all", "own"}


# Runs without a spool


def test_run_without_a_spool_is_ended(
    store: MlflowStore, address: Address, recover: Callable[[], list[str]]
) -> None:
    start_elsewhere(store, ended_process(locks.live_folder()))
    assert recover() == [
        "Recovered from earlier commands: 1 run of a vanished process closed as KILLED"
    ]
    ended = runs_in(store)["250"]
    assert ended.info.status == "KILLED"
    assert ended.data.tags["bench.complete"] == "false"
    assert ended.data.tags["bench.failure"] == "its process vanished"


def test_runs_of_other_programs_are_left_alone(
    store: MlflowStore, address: Address, recover: Callable[[], list[str]]
) -> None:
    foreign = store.client.create_run(store.experiment_id)
    invalid_owner = store.client.create_run(store.experiment_id, tags={"bench.owner": "me"})
    assert recover() == []
    for run in (foreign, invalid_owner):
        assert store.client.get_run(run.info.run_id).info.status == "RUNNING"


# A failing store


def test_spool_is_kept_if_the_upload_fails(
    store: MlflowStore,
    address: Address,
    recover: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writer = write_spool(address, ended_process())

    def fail(*_: object, **__: object) -> None:
        raise BenchError("MLflow failed: the disk is full", "make room", exit_status=EXIT_FAILURE)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowStore, "finish", fail)
        (line,) = recover()
    assert line.startswith("results of earlier commands are not uploaded yet: MLflow failed")
    assert writer.path.exists()
    assert (spool.files_of(writer.path) / "250" / "predictions.npz").exists()
    recover()
    assert {run.info.status for run in runs_in(store).values()} == {"FINISHED", "KILLED"}
    assert not writer.path.exists()


def test_failed_upload_does_not_block_other_spools(
    store: MlflowStore,
    address: Address,
    recover: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rejected = write_spool(address, ended_process(), trajectory="aaa")
    write_spool(address, ended_process(), trajectory="bbb")
    start = MlflowStore.start

    def fail_for_aaa(self: MlflowStore, run: RunResult, *args: Any, **options: Any) -> Any:
        if run.trajectory == "aaa":
            raise BenchError("MLflow failed: it does not like it", exit_status=EXIT_FAILURE)
        return start(self, run, *args, **options)

    monkeypatch.setattr(MlflowStore, "start", fail_for_aaa)
    assert len(recover()) == 2
    assert spool.paths() == [rejected.path]
    assert {run.data.tags["bench.trajectory"] for run in runs_in(store).values()} == {"bbb"}


# Two processes at once

RECOVER = """
import sys
from mnist_bench.tracking import recovery
from mnist_bench.tracking.spool import Address
from mnist_bench.tracking.mlflow_store import MlflowStore
uri, experiment = sys.argv[1:]
store = MlflowStore(uri, experiment)
print("ready", flush=True)
sys.stdin.readline()
recovery.recover(store, Address(tracking_uri=uri, experiment=experiment), print)
"""


def test_two_concurrent_recoveries_do_not_conflict(store: MlflowStore, address: Address) -> None:
    for _ in range(5):
        write_spool(address, ended_process())
    command = [sys.executable, "-c", RECOVER, address.tracking_uri, address.experiment]
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
        output = "".join(process.communicate(timeout=100)[0] for process in (first, second))
    assert (first.returncode, second.returncode) == (0, 0)
    assert "not uploaded yet" not in output
    found = store.client.search_runs([store.experiment_id])
    keys = [(run.data.tags["bench.trajectory"], run.data.tags["bench.steps"]) for run in found]
    assert len(keys) == len(set(keys)) == 10
    assert {run.info.status for run in found} == {"FINISHED", "KILLED"}
    assert spool.paths() == []


# End to end: a command that does not finish, and the next one

FAKE_WORKER = "from mnist_bench.runner import process\nprocess.COMMAND = {worker!r}\n"


def program(fault: str = "pass", before: str = "") -> tuple[str, ...]:
    """The program with a fake worker."""
    return patched_program(FAKE_WORKER.format(worker=fakes.worker(fault)) + before)


def spools_of(bench: Bench) -> list[Path]:
    return spool.paths(bench.folder / spool.FOLDER)


def waiting(step: int) -> str:
    """A fault of the fake worker: after an evaluation it waits until its parent is gone."""
    return f"step >= {step} and sys.stdin.readline()"


def wait_for_evaluation(bench: Bench, running: Running, step: int) -> None:
    """Wait until an evaluation is in the spool, from when on it may be shown."""
    entry = f'"evaluation":{{"step":{step},'
    running.until(
        lambda: any(entry in path.read_text(encoding="utf-8") for path in spools_of(bench)), 60
    )


def recorded_runs(bench: Bench) -> dict[str, Any]:
    """The runs by their steps; there is one of each."""
    store = MlflowStore.open_existing(sqlite_uri(bench.folder), "mnist-bench")
    assert store is not None
    return runs_in(store)


def steps_of_curve(bench: Bench, run: Any) -> list[int]:
    store = MlflowStore.open_existing(sqlite_uri(bench.folder), "mnist-bench")
    assert store is not None
    return [step for step, _ in history(store, run, "test_accuracy")]


def test_killed_parent(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    line = ("run", "smoke", "--steps", "60,160")
    with bench.started(*line, program=program(waiting(101))) as running:
        wait_for_evaluation(bench, running, 101)
        running.process.kill()
    assert len(spools_of(bench)) == 1
    ended = bench.run("run", "smoke", "--steps", "110", program=program())
    assert ended.status == 0, ended.stderr
    assert "1 run of a vanished process closed as KILLED" in ended.stderr_line
    assert spools_of(bench) == []
    runs = recorded_runs(bench)
    statuses = {steps: run.info.status for steps, run in runs.items()}
    assert statuses == {"60": "FINISHED", "160": "KILLED", "110": "FINISHED"}
    assert steps_of_curve(bench, runs["160"]) == [1, 51, 101]
    assert {run.data.tags["bench.complete"] for run in runs.values()} == {"true"}


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_interruption_while_runs_are_closed_leaves_a_spool(tmp_path: Path) -> None:
    """The first interruption ends the training, the second comes while its runs are closed."""
    bench = Bench(tmp_path)
    slow = """
import os, time
from mnist_bench.tracking.mlflow_store import MlflowStore
def finish(*_, **__):
    open("closing", "w").close()
    time.sleep(100)
MlflowStore.finish = finish
"""
    with bench.started("run", "smoke", program=program(waiting(101), slow)) as running:
        wait_for_evaluation(bench, running, 101)
        running.process.send_signal(signal.SIGINT)
        running.until((bench.folder / "closing").exists, 60)
        # Pending signals are merged, so send another until the process ends.
        wait_until(
            lambda: (
                running.process.poll() is not None or running.process.send_signal(signal.SIGINT)
            ),
            60,
        )
    assert recorded_runs(bench)["200"].info.status == "RUNNING"
    assert len(spools_of(bench)) == 1
    ended = bench.run("run", "smoke", "--steps", "1", program=program())
    assert "1 run uploaded to MLflow" in ended.stderr_line
    killed = recorded_runs(bench)["200"]
    assert (killed.info.status, killed.data.tags["bench.failure"]) == ("KILLED", "interrupted")


FAILING_STORE = """
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.core.errors import BenchError
def fail(*_, **__):
    raise BenchError("MLflow failed: database is locked", "wait", exit_status=1)
MlflowStore.log = MlflowStore.finish = fail
"""


def test_store_that_fails_during_a_training(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    ended = bench.run(
        "run", "smoke", "--seeds", "2", "--json", program=program(before=FAILING_STORE)
    )
    assert ended.status == 1
    assert [run["status"] for run in ended.document["runs"]] == ["finished"] * 2
    assert (bench.folder / "reports" / "smoke.json").exists()
    assert ended.stderr_line.count("the training continues") == 1
    assert "the results are in mlruns/.runs, the next command here uploads" in ended.error_line
    assert len(spools_of(bench)) == 2
    later = bench.run("run", "smoke", "--resume", "--seeds", "2", "--json", program=program())
    assert later.status == 0, later.stderr
    assert "2 runs uploaded to MLflow" in later.stderr_line
    # No run is missing, so nothing is trained.
    assert later.document["runs"] == ended.document["runs"]
    assert spools_of(bench) == []


FULL_DISK = """
import errno, os
from mnist_bench.tracking.spool import Spool
def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
Spool._write = full
"""


def test_full_disk(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    ended = bench.run("run", "smoke", "--json", program=program(before=FULL_DISK + FAILING_STORE))
    assert ended.status == 1
    (run,) = ended.document["runs"]
    assert (run["status"], run["max_test_accuracy"]) == ("finished", 0.75)
    assert ended.stderr_line.count("can't write to mlruns/.runs: ") == 1
    assert "can't write to mlruns/.runs either" in ended.error_line
    # The next command ends runs that are still RUNNING.
    later = bench.run("run", "smoke", "--steps", "1", program=program())
    assert "1 run of a vanished process closed as KILLED" in later.stderr_line
    assert recorded_runs(bench)["200"].info.status == "KILLED"


def test_resume_trains_only_missing_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    first = bench.run("run", "smoke", "--steps", "60", "--json", program=program())
    assert first.status == 0, first.stderr
    second = bench.run("run", "smoke", "--steps", "60,110", "--resume", "--json", program=program())
    assert second.status == 0, second.stderr
    short, long = second.document["runs"]
    assert short == first.document["runs"][0]
    assert (long["steps"], long["status"]) == (110, "finished")
    assert set(recorded_runs(bench)) == {"60", "110"}
    third = bench.run(
        "run", "smoke", "--steps", "60,110", "--resume", "--json", program=program("sys.exit(3)")
    )
    assert (third.status, third.document) == (0, second.document)


def test_ui_recovers_vanished_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with bench.started("run", "smoke", program=program(waiting(101))) as running:
        wait_for_evaluation(bench, running, 101)
        running.process.kill()
    quiet = """
from mnist_bench.cli import ui
ui._serve = lambda *_: None
"""
    ended = bench.run("ui", program=patched_program(quiet))
    assert ended.status == 0, ended.stderr
    assert "1 run of a vanished process closed as KILLED" in ended.stdout
    assert recorded_runs(bench)["200"].info.status == "KILLED"
    assert "KILLED" not in bench.run("ui", program=patched_program(quiet)).stdout
