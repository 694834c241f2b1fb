"""Recovery of vanished processes: uploads, ended runs, and what is left alone."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import fakes
import pytest
from factories import (
    dead_owner,
    machine,
    planned_step_count,
    received_at_ms,
    sqlite_url,
    write_spool,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from program import Bench, patched_program

from mnist_bench.core import locks
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.results.run import RunResult
from mnist_bench.runner import process
from mnist_bench.tracking import recorder, recovery, spool
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address

Recover = Callable[[], list[str]]
RECOVERED = "Recovered from earlier commands: "
BOTH_KILLED = [f"{RECOVERED}2 runs of a vanished process closed as KILLED"]


@pytest.fixture(autouse=True)
def spools(folder: Path, home: Path) -> Path:
    """The folder of spools in the working directory; the state folder is empty."""
    spool.FOLDER.mkdir(parents=True)
    return spool.FOLDER


@pytest.fixture
def address(mlflow_uri: str) -> Address:
    return Address(tracking_uri=mlflow_uri, experiment=uuid.uuid4().hex)


@pytest.fixture
def store(address: Address) -> MlflowStore:
    return MlflowStore(address.tracking_uri, address.experiment)


@pytest.fixture
def recover(store: MlflowStore, address: Address) -> Recover:
    """Runs the recovery, and returns the printed lines."""

    def run_recovery() -> list[str]:
        lines: list[str] = []
        recovery.recover(store, address, lines.append)
        return lines

    return run_recovery


def runs_in(store: MlflowStore) -> dict[str, Any]:
    """Runs by their steps; there is one of each."""
    found = store.search("")
    by_steps = {run.data.params["steps"]: run for run in found}
    assert len(by_steps) == len(found)
    return by_steps


def statuses(store: MlflowStore) -> dict[str, str]:
    return {steps: run.info.status for steps, run in runs_in(store).items()}


def history(store: MlflowStore, run: Any, name: str) -> list[tuple[int, float]]:
    found = store.client.get_metric_history(run.info.run_id, name)
    return sorted((metric.step, metric.value) for metric in found)


# Spools


def test_finished_runs_in_spools_are_known(address: Address) -> None:
    elsewhere = address.model_copy(update={"experiment": "another"})
    with fakes.live_owner() as alive:
        dead, living = write_spool(address, dead_owner()), write_spool(address, alive)
        write_spool(elsewhere, alive)
        found = {(run.trajectory, run.steps) for run in recovery.finished_in_spools(address)}
    assert found == {(writer.path.stem, 250) for writer in (dead, living)}


def test_runs_of_a_vanished_process_are_closed_with_their_curves(
    store: MlflowStore, address: Address, recover: Recover
) -> None:
    writer = write_spool(address, dead_owner())
    assert recover() == [
        f"{RECOVERED}1 run of a vanished process closed as KILLED, 1 run uploaded to MLflow"
    ]
    runs = runs_in(store)
    short, long = runs["250"], runs["501"]
    assert (short.info.status, long.info.status) == ("FINISHED", "KILLED")
    assert history(store, short, "test_accuracy") == [(s, 0.97) for s in (1, 101, 201, 250)]
    assert history(store, long, "test_accuracy") == [(s, 0.97) for s in (1, 101, 201, 301)]
    assert history(store, long, "rss_bytes") == [(s, 7_000) for s in (1, 101, 201, 250)]
    assert short.data.metrics["peak_rss_bytes"] == 1_250
    assert long.data.tags["bench.failure"] == "its process vanished"
    assert {run.data.tags["bench.complete"] for run in runs.values()} == {"true"}
    assert [run.data.tags.get("bench.verdict") for run in (short, long)] == ["clean", None]
    assert short.info.end_time == received_at_ms(250) + 2
    assert long.info.end_time == received_at_ms(301)
    files = {file.path for file in store.client.list_artifacts(short.info.run_id)}
    assert {"result.json", "predictions.npz", "scenario.toml", "machine.json"} == files
    assert not writer.path.exists()
    assert not spool.files_of(writer.path).exists()
    assert recover() == []


def test_ended_run_keeps_its_status(store: MlflowStore, address: Address, recover: Recover) -> None:
    write_spool(address, dead_owner(), ended=True)
    assert recover() == [f"{RECOVERED}2 runs uploaded to MLflow"]
    long = runs_in(store)["501"]
    assert (long.info.status, long.info.end_time) == ("KILLED", received_at_ms(302))
    assert long.data.tags["bench.failure"] == "interrupted"


def test_repeated_recovery_adds_nothing(
    store: MlflowStore, address: Address, recover: Recover
) -> None:
    """As if a process is killed between the last upload and removing its spool."""
    writer = write_spool(address, dead_owner())
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


def test_created_runs_are_found_again_and_deleted_ones_stay_deleted(
    store: MlflowStore, address: Address, recover: Recover
) -> None:
    writer = write_spool(address, dead_owner())
    contents = spool.read(writer.path)
    assert contents is not None
    short, long = (
        store.start(run, "note", contents.header.owner, machine(), at_ms=received_at_ms(0))
        for run in contents.header.runs
    )
    store.client.delete_run(short.run_id)
    recover()
    assert {steps: run.info.run_id for steps, run in runs_in(store).items()} == {"501": long.run_id}
    assert spool.paths() == []


@pytest.mark.parametrize(("lines", "more_bytes"), [(1, 0), (2, 17)])
def test_runs_of_a_training_that_was_killed_at_its_start(
    store: MlflowStore, address: Address, recover: Recover, lines: int,
    more_bytes: int,
) -> None:  # fmt: skip
    """MLflow may have them: the spool is created before they are. Its last line may be torn."""
    writer = write_spool(address, dead_owner())
    text = writer.path.read_bytes().splitlines(keepends=True)
    writer.path.write_bytes(b"".join(text[:lines]) + text[lines][:more_bytes])
    assert recover() == BOTH_KILLED
    assert statuses(store) == {"250": "KILLED", "501": "KILLED"}
    assert spool.paths() == []


def test_spool_of_0_1_0(store: MlflowStore, address: Address, recover: Recover) -> None:
    """Its owner had no lock file."""
    writer = write_spool(address, dead_owner())
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


# Owners


def start_elsewhere(store: MlflowStore, owner: str) -> None:
    """Create a run whose spool is in another folder."""
    run = planned_step_count(250).model_copy(update={"trajectory": "elsewhere"})
    store.start(run, "note", owner, machine(), at_ms=received_at_ms(0))


def test_live_process_is_left_alone(store: MlflowStore, address: Address, recover: Recover) -> None:
    with fakes.live_owner() as alive:
        writer = write_spool(address, alive, ended=True)
        start_elsewhere(store, alive)
        assert recover() == []
    assert writer.path.exists()
    assert statuses(store) == {"250": "RUNNING"}


@pytest.mark.parametrize("has_lock", [True, False])
def test_lock_file_in_the_folder_of_spools_decides_about_a_spool(
    address: Address, recover: Recover, *, has_lock: bool
) -> None:
    """Another host or container that shares the project has another state folder."""
    with fakes.live_owner(spool.FOLDER if has_lock else Path("elsewhere")) as owner:
        write_spool(address, owner, ended=True)
        assert len(recover()) == (0 if has_lock else 1)
    assert len(recover()) == (1 if has_lock else 0)


def test_runs_of_unknown_processes_are_left_alone(store: MlflowStore, recover: Recover) -> None:
    """Of another host, whose lock files are not seen here, and of other programs."""
    start_elsewhere(store, dead_owner(Path("another host")))
    store.client.create_run(store.experiment_id)
    store.client.create_run(store.experiment_id, tags={"bench.owner": "me"})
    (line,) = recover()
    assert line == (
        "2 runs left RUNNING in MLflow, since nobody here knows whether their processes are alive: "
        "they are another machine's, or their lock files are gone"
    )
    assert [run.info.status for run in store.search("")] == ["RUNNING"] * 3


def test_nothing_is_ended_without_locks(
    store: MlflowStore, address: Address, recover: Recover,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(_descriptor: int, *, blocking: bool) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    owner = dead_owner()
    writer = write_spool(address, owner, ended=True)
    start_elsewhere(store, owner)
    with monkeypatch.context() as patch:
        patch.setattr(locks, "lock_descriptor", fail)
        spools, runs = recover()
    assert spools.startswith(
        "1 command not settled, since nobody here knows whether they are still at work: the file "
        f"system has no locks; once they have ended, remove mlruns/.runs/{owner}.lock, "
    )
    assert runs.startswith("1 run left RUNNING in MLflow, since nobody here knows whether")
    assert writer.path.exists()
    assert statuses(store) == {"250": "RUNNING"}
    assert recover() != []


def test_training_of_another_host_in_a_shared_folder(
    store: MlflowStore, address: Address, recover: Recover
) -> None:
    """Its lock is not seen here, and its lock file says that it was made elsewhere."""
    owner = dead_owner()
    for folder in (spool.FOLDER, *locks.live_folders()):
        path = folder / f"{owner}.lock"
        path.write_text(f"{path.stat().st_ino} another-kernel\n", encoding="ascii")
    writer = write_spool(address, owner)
    for run in spool.read(writer.path).header.runs:
        store.start(run, "note", owner, machine(), at_ms=received_at_ms(0))
    (line,) = recover()
    assert f"{owner}.lock was made on another machine; once they have ended, remove " in line
    assert set(statuses(store).values()) == {"RUNNING"}
    assert writer.path.exists()
    for path in line.partition("remove ")[2].split(", "):
        Path(path).unlink()
    assert "1 run uploaded" in recover()[0]
    assert statuses(store) == {"250": "FINISHED", "501": "KILLED"}


def test_dry_run_tells_what_is_not_settled(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    uri = sqlite_url(bench.folder / "mlflow.db")
    folder = bench.folder / spool.FOLDER
    address = Address(tracking_uri=uri, experiment="mnist-bench")
    write_spool(address, dead_owner(folder), folder=folder)
    ended = bench.call_with_store("run", "smoke", "--dry-run")
    assert ended.status == 0
    assert ended.error_line == (
        "mnist-bench: 2 runs of a vanished process not settled yet: the next command that records "
        "or reports does it"
    )
    assert len(spools_of(bench)) == 1


def test_lock_files_of_settled_processes_are_removed(
    store: MlflowStore, address: Address, recover: Recover
) -> None:
    with_spool, without, other = dead_owner(), dead_owner(), dead_owner()
    write_spool(address, with_spool)
    start_elsewhere(store, without)
    recover()
    for folder in (spool.FOLDER, *locks.live_folders()):
        left = {path.stem for path in folder.glob("?*.lock")}
        assert other in left
        assert not left & {with_spool, without}


def test_spool_for_another_store_is_left_alone(address: Address, recover: Recover) -> None:
    other_store = Address(tracking_uri="http://127.0.0.1:9", experiment=address.experiment)
    other_experiment = address.model_copy(update={"experiment": "another"})
    spools = [write_spool(each, dead_owner()) for each in (other_store, other_experiment)]
    assert recover() == []
    assert all(each.path.exists() for each in spools)
    assert recovery.experiments_with_spools("http://127.0.0.1:9") == {address.experiment}
    assert recovery.experiments_with_spools(address.tracking_uri) == {"another"}


def test_remains_are_removed_once_every_process_has_ended(
    recover: Recover, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks.hold(spool.FOLDER)
    monkeypatch.setattr(recorder, "own_trainings", {"own"})
    spool.files_of(spool.path_of("own")).mkdir()
    empty, torn = (spool.FOLDER / f"{name}.jsonl" for name in ("empty", "torn"))
    empty.touch()
    torn.write_bytes(b'{"kind":"header"')
    for path in (torn, spool.FOLDER / "without.jsonl"):
        spool.files_of(path).mkdir()
    with fakes.live_owner(spool.FOLDER):
        assert recover() == []
        assert len([path for path in spool.FOLDER.iterdir() if path.suffix != ".lock"]) == 5
    assert recover() == []
    left = {path.name for path in spool.FOLDER.iterdir() if path.suffix != ".lock"}
    assert left == {"own"}


# Spools that others wrote or changed


Lines = list[dict[str, Any]]
CONTENTS: dict[str, Callable[[bytes], bytes]] = {
    "words": lambda _: b"not a spool\n",
    "a deep nest": lambda _: b"[" * 200_000 + b"\n",
    "a long list": lambda _: b"[" + b"1," * 5_000_000 + b"1]\n",
    "too large": lambda text: text + bytes(33 * 2**20),
    "digits": lambda text: text.replace(b'"at_ms":', b'"at_ms":1' + b"0" * 5_000, 1),
    "another step count": lambda text: text.replace(b'"row","steps":250', b'"row","steps":777'),
}
CHANGES: dict[str, Callable[[Lines], Any]] = {
    "a time below zero": lambda lines: lines[0].update(at_ms=-5),
    "a late time below zero": lambda lines: lines[-1].update(at_ms=-5),
    "a large time": lambda lines: lines[0].update(at_ms=10**17),
    "no runs": lambda lines: lines[0].update(runs=[]),
    "one step count twice": lambda lines: lines[0].update(runs=lines[0]["runs"][:1] * 2),
    "another training": lambda lines: lines[0]["runs"][1].update(trajectory="x' or '1'='1"),
    "no threads": lambda lines: lines[0]["runs"][0].update(threads=0),
}
PLACES: dict[str, Callable[[Path], Any]] = {
    "a FIFO": os.mkfifo if os.name == "posix" else Path.touch,
    "a folder": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link": lambda path: path.symlink_to("/etc/passwd"),
}


def damage(path: Path, kind: str) -> None:
    if kind in CONTENTS:
        path.write_bytes(CONTENTS[kind](path.read_bytes()))
    elif kind in PLACES:
        path.unlink()
        PLACES[kind](path)
    else:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        CHANGES[kind](lines)
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


@pytest.mark.skipif(os.name != "posix", reason="needs special files")
@pytest.mark.parametrize("kind", [*CONTENTS, *CHANGES, *PLACES])
def test_spool_that_can_not_be_read_is_put_aside_and_holds_nobody_up(
    store: MlflowStore, address: Address, recover: Recover, kind: str
) -> None:
    writer = write_spool(address, dead_owner(), trajectory="aaa")
    write_spool(address, dead_owner(), trajectory="bbb")
    damage(writer.path, kind)
    told, done = recover()
    kept = "mlruns/.runs/aaa.jsonl can't be uploaded and is kept as aaa.jsonl.unreadable: "
    assert told.startswith(kept)
    assert done.endswith("1 run of a vanished process closed as KILLED, 1 run uploaded to MLflow")
    assert not os.path.lexists(writer.path)
    assert os.path.lexists(spool.FOLDER / "aaa.jsonl.unreadable")
    assert (spool.FOLDER / "aaa.unreadable" / "250" / "predictions.npz").read_bytes()
    assert recover() == []
    trainings = {
        run.data.tags["bench.trajectory"] for run in store.search("attributes.status = 'FINISHED'")
    }
    assert trainings == {"bbb"}


def test_spool_that_the_store_refuses_is_put_aside(
    address: Address, recover: Recover, store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_spool(address, dead_owner(), trajectory="aaa")
    error = MlflowException("Tag value is too long", INVALID_PARAMETER_VALUE)
    monkeypatch.setattr(type(store.client), "create_run", mock.Mock(side_effect=error))
    (line,) = recover()
    assert "is kept as aaa.jsonl.unreadable: MLflow at " in line
    assert line.endswith("creating a run: Tag value is too long")
    assert recover() == []


@pytest.mark.skipif(os.name != "posix", reason="needs links")
@pytest.mark.parametrize("linked", ["", "250", "250/scenario.toml", "250/predictions.npz"])
def test_nothing_outside_the_folder_is_written_read_or_removed(
    store: MlflowStore, address: Address, recover: Recover, tmp_path: Path, linked: str
) -> None:
    """A shell would run the title if it were written over a file of its own."""
    writer = write_spool(address, dead_owner())
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("scenario.toml", "predictions.npz", "250"):
        (outside / name).write_text("a private key", encoding="ascii")
    place = spool.files_of(writer.path) / linked
    (spool.files_of(writer.path) / "250" / "id_rsa").symlink_to(outside / "250")
    (spool.files_of(writer.path) / "worker.log").symlink_to(outside / "250")
    if place.is_dir():
        shutil.rmtree(place)
        place.symlink_to(outside, target_is_directory=True)
    else:
        place.unlink(missing_ok=True)
        place.symlink_to(outside / "scenario.toml")
    (line,) = recover()
    assert "1 run uploaded" in line
    assert {path.read_text(encoding="ascii") for path in outside.iterdir()} == {"a private key"}
    short = runs_in(store)["250"]
    names = {file.path for file in store.client.list_artifacts(short.info.run_id)}
    intact = {"predictions.npz"} if linked == "250/scenario.toml" else set()
    assert names == {"result.json", "scenario.toml", "machine.json"} | intact
    for name in names:
        assert store.artifact(short.info.run_id, name) != b"a private key"
    assert [path for path in spool.FOLDER.iterdir() if not path.name.endswith(".lock")] == []


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_link_that_is_left_is_removed_and_not_what_it_leads_to(
    recover: Recover, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    (spool.FOLDER / "linked").symlink_to(tmp_path / "outside", target_is_directory=True)
    assert recover() == []
    assert not os.path.lexists(spool.FOLDER / "linked")
    assert (tmp_path / "outside" / "file").exists()


def test_spool_of_a_later_version_is_left_alone(address: Address, recover: Recover) -> None:
    newer, later = (write_spool(address, dead_owner()) for _ in range(2))
    for path, field in ((newer.path, b'"schema_version":2'), (later.path, b'"a_new_field":1')):
        path.write_bytes(path.read_bytes().replace(b'"schema_version":1', field, 1))
    assert recover() == []
    assert newer.path.exists()
    assert later.path.exists()


def test_run_without_a_spool_is_ended(store: MlflowStore, recover: Recover) -> None:
    start_elsewhere(store, dead_owner(*locks.live_folders()))
    assert recover() == [f"{RECOVERED}1 run of a vanished process closed as KILLED"]
    ended = runs_in(store)["250"]
    assert ended.info.status == "KILLED"
    assert ended.data.tags["bench.complete"] == "false"
    assert ended.data.tags["bench.failure"] == "its process vanished"


# A failing store, and two commands at once


def fail(*_: object, **__: object) -> None:
    raise BenchError("MLflow failed: the disk is full", "make room", exit_status=EXIT_FAILURE)


def test_spool_is_kept_if_the_upload_fails(
    store: MlflowStore, address: Address, recover: Recover,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    writer = write_spool(address, dead_owner())
    with monkeypatch.context() as patch:
        patch.setattr(MlflowStore, "finish", fail)
        (line,) = recover()
    assert line.startswith("results of earlier commands are not uploaded yet: MLflow failed")
    assert writer.path.exists()
    assert (spool.files_of(writer.path) / "250" / "predictions.npz").exists()
    recover()
    assert statuses(store) == {"250": "FINISHED", "501": "KILLED"}
    assert not writer.path.exists()


def test_failed_upload_does_not_block_other_spools(
    store: MlflowStore, address: Address, recover: Recover,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rejected = write_spool(address, dead_owner(), trajectory="aaa")
    write_spool(address, dead_owner(), trajectory="bbb")
    start = MlflowStore.start

    def fail_for_aaa(self: MlflowStore, run: RunResult, *args: Any, **options: Any) -> Any:
        return fail() if run.trajectory == "aaa" else start(self, run, *args, **options)

    monkeypatch.setattr(MlflowStore, "start", fail_for_aaa)
    with monkeypatch.context() as patch:  # each further spool would take a timeout
        patch.setattr(MlflowStore, "unfinished", fail)
        assert len(recover()) == 1
        assert len(spool.paths()) == 2
    assert len(recover()) == 2
    assert spool.paths() == [rejected.path]
    assert {run.data.tags["bench.trajectory"] for run in runs_in(store).values()} == {"bbb"}


def test_two_concurrent_recoveries_do_not_conflict(
    store: MlflowStore, recover: Recover, address: Address
) -> None:
    """The lock file of the spools is between threads what it is between processes."""
    for _ in range(5):
        write_spool(address, dead_owner())
    together = threading.Barrier(2)

    def recover_together(_: int) -> list[str]:
        together.wait()
        return recover()

    with ThreadPoolExecutor(2) as pool:
        output = [line for lines in pool.map(recover_together, range(2)) for line in lines]
    assert [line for line in output if not line.startswith(RECOVERED)] == []
    found = store.search("")
    keys = [(run.data.tags["bench.trajectory"], run.data.tags["bench.steps"]) for run in found]
    assert len(keys) == len(set(keys)) == 10
    assert {run.info.status for run in found} == {"FINISHED", "KILLED"}
    assert spool.paths() == []


# End to end: a command that does not finish, and the next one


def spools_of(bench: Bench) -> list[Path]:
    return spool.paths(bench.folder / spool.FOLDER)


def test_killed_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)  # it takes seconds, since a real process is started and killed
    uri = sqlite_url(bench.folder / "mlflow.db")
    worker = fakes.worker("step >= 101 and sys.stdin.readline()")  # until its parent is gone
    program = patched_program(
        f"from mnist_bench.runner import process\nprocess.COMMAND = {worker!r}"
    )
    entry = '"evaluation":{"step":101,'  # from then on it may be shown
    with bench.started(
        "run", "smoke", "--steps", "60,160", program=program, MLFLOW_TRACKING_URI=uri
    ) as running:
        running.until(
            lambda: any(entry in path.read_text(encoding="utf-8") for path in spools_of(bench)), 60
        )
        running.process.kill()
    assert len(spools_of(bench)) == 1
    monkeypatch.setattr(process, "COMMAND", fakes.worker())
    ended = bench.call_with_store("run", "smoke", "--steps", "110")
    assert ended.status == 0, ended.stderr
    assert "1 run of a vanished process closed as KILLED" in ended.stderr_line
    assert spools_of(bench) == []
    store = MlflowStore(uri, "mnist-bench")
    assert statuses(store) == {"60": "FINISHED", "160": "KILLED", "110": "FINISHED"}
    runs = runs_in(store)
    assert [step for step, _ in history(store, runs["160"], "test_accuracy")] == [1, 51, 101]
    assert {run.data.tags["bench.complete"] for run in runs.values()} == {"true"}


def test_store_that_fails_during_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    monkeypatch.setattr(process, "COMMAND", fakes.worker())
    command = ("run", "smoke", "--seeds", "2", "--json")
    with monkeypatch.context() as patch:
        patch.setattr(MlflowStore, "log", fail)
        patch.setattr(MlflowStore, "finish", fail)
        ended = bench.call_with_store(*command)
    assert ended.status == 1
    assert [run["status"] for run in ended.document["runs"]] == ["finished"] * 2
    assert (bench.folder / "reports" / "smoke.json").exists()
    assert ended.stderr_line.count("the training continues") == 1
    assert "the results are in mlruns/.runs, the next command here uploads" in ended.error_line
    assert len(spools_of(bench)) == 2
    later = bench.call_with_store(*command, "--resume")
    assert later.status == 0, later.stderr
    assert "2 runs uploaded to MLflow" in later.stderr_line
    # No run is missing, so nothing is trained.
    assert later.document["runs"] == ended.document["runs"]
    assert spools_of(bench) == []
