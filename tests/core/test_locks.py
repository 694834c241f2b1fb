"""Lock files and the benchmark lock, with real processes."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import fakes
import platformdirs
import pytest

from mnist_bench.core import locks
from mnist_bench.core.errors import EXIT_USAGE, BenchError
from mnist_bench.core.locks import benchmark_lock, running

_PROGRAM = """
import sys
from mnist_bench.core import locks
BEFORE
from mnist_bench.core.errors import BenchError
from mnist_bench.core.locks import benchmark_lock
sys.stdin.readline()
try:
    with benchmark_lock(exclusive=EXCLUSIVE, warn=print) as is_exclusive:
        print("exclusive" if is_exclusive else "shared", flush=True)
        sys.stdin.readline()
except BenchError as error:
    print("rejected", flush=True)
"""


@pytest.fixture(autouse=True)
def state(home: Path) -> Path:
    """A state folder that does not exist yet; child processes inherit it."""
    return platformdirs.user_state_path("mnist-bench", appauthor=False)


@contextmanager
def benchmark_process(
    *, exclusive: bool = True, before: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock between the first and the second line of its input."""
    program = _PROGRAM.replace("EXCLUSIVE", str(exclusive)).replace("BEFORE", before)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def send_line(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def is_alone(*, exclusive: bool = True) -> bool:
    """Whether this process can have the machine to itself."""
    with benchmark_lock(exclusive=exclusive, warn=pytest.fail) as is_exclusive:
        return is_exclusive


# Which processes are alive


def lock_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"


def dead_process(*folders: Path) -> str:
    """Name of a process that was killed while it held its lock files in these folders."""
    with fakes.running_process(*folders) as name:
        pass
    return name


def test_process_that_lives_and_then_dies(tmp_path: Path) -> None:
    folders = tmp_path / "a" / "b", tmp_path / "c"
    with fakes.running_process(*folders) as name:
        pid, _, _ = name.split("-")
        assert int(pid) != os.getpid()
        for looked_at in (folders, folders[:1], folders[1:]):
            assert locks.is_alive(name, looked_at)
            assert not locks.is_dead(name, looked_at)
        locks.hold(folders[0])
        assert locks.is_another_alive(folders[0])
    assert not locks.is_alive(name, folders)
    assert locks.is_dead(name, folders)
    assert not locks.is_another_alive(folders[0])


def test_this_process_is_alive_in_the_folders_that_it_holds(tmp_path: Path) -> None:
    name = locks.hold(tmp_path)
    assert re.fullmatch(rf"{os.getpid()}-\d{{10}}-[0-9a-f]{{8}}", name)
    assert locks.hold(tmp_path) == locks.hold(tmp_path / "other") == locks.process_name() == name
    assert locks.is_alive(name, [tmp_path])
    assert not locks.is_alive(name, [tmp_path / "third"])


@pytest.mark.parametrize("name", ["1-1-0123abcd", "", "me", '{"pid": 1}', "../../a", "1" * 300])
def test_unknown_process_is_neither_alive_nor_dead(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    for folders in ([tmp_path], [tmp_path / "file"], [tmp_path / "none"], []):
        assert not locks.is_alive(name, folders)
        assert not locks.is_dead(name, folders)


def test_one_held_file_outweighs_free_ones(tmp_path: Path) -> None:
    """As in a copy of a project whose benchmark is running."""
    with fakes.running_process(tmp_path / "original") as name:
        (tmp_path / "copy").mkdir()
        lock_path(tmp_path / "copy", name).touch()
        assert locks.is_dead(name, [tmp_path / "copy"])
        assert not locks.is_dead(name, [tmp_path / "copy", tmp_path / "original"])


def test_lock_file_is_created_again_in_a_folder_that_was_removed(tmp_path: Path) -> None:
    name = locks.hold(tmp_path / "a")
    lock_path(tmp_path / "a", name).unlink()
    assert not locks.is_alive(name, [tmp_path / "a"])
    locks.hold(tmp_path / "a")
    assert locks.is_alive(name, [tmp_path / "a"])


def test_threads_hold_one_lock_file(tmp_path: Path) -> None:
    threads = [threading.Thread(target=locks.hold, args=(tmp_path / "locks",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.stem for path in (tmp_path / "locks").iterdir()] == [locks.process_name()]
    assert len(locks._held) == 1


def test_end_of_a_process_removes_its_files_and_empty_folders(tmp_path: Path) -> None:
    code = """
import pathlib, sys
from mnist_bench.core import locks
for folder in sys.argv[1:]:
    locks.hold(pathlib.Path(folder))
"""
    project, kept = tmp_path / "project", tmp_path / "project" / "kept" / "by a file"
    kept.mkdir(parents=True)
    (kept / "file").touch()
    folders = str(project / "mlruns" / ".runs"), str(kept)
    subprocess.run([sys.executable, "-c", code, *folders], check=True)
    assert sorted(path.name for path in project.rglob("*")) == ["by a file", "file", "kept"]


@pytest.mark.parametrize(("settle", "is_dead"), [("locks.settled('a run')", False), ("", True)])
def test_process_that_leaves_something_unsettled_counts_as_dead(
    tmp_path: Path, settle: str, *, is_dead: bool
) -> None:
    code = f"""
import pathlib, sys
from mnist_bench.core import locks
print(locks.hold(pathlib.Path(sys.argv[1])))
locks.unsettled("a run")
{settle}
"""
    name = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
    ).stdout.strip()
    assert locks.is_dead(name, [tmp_path]) == is_dead
    assert lock_path(tmp_path, name).exists() == is_dead


def test_files_of_dead_processes_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    settled, other = dead_process(folder), dead_process(folder)
    old, new = "7-1700000000-0123abcd", f"7-{10**11}-0123abcd"
    for name in (old, new, "foreign"):
        lock_path(folder, name).touch()
    with fakes.running_process(folder) as alive:
        locks.remove_dead(folder, {settled, alive})
        assert {path.stem for path in folder.iterdir()} == {other, new, "foreign", alive}
    locks.remove_dead(tmp_path / "none", {settled})


@pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="needs POSIX permissions")
def test_process_of_another_user_is_taken_for_alive(tmp_path: Path) -> None:
    name = dead_process(tmp_path)
    lock_path(tmp_path, name).chmod(0)
    assert locks.is_alive(name, [tmp_path])


# A file system without locks


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Calls of `flock` fail as on such a file system."""

    def fail(_descriptor: int, *, blocking: bool) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks, "lock_descriptor", fail)


@pytest.mark.usefixtures("without_locks")
def test_nobody_knows_without_locks(tmp_path: Path) -> None:
    name = locks.hold(tmp_path)  # leaves a file that is no evidence of death
    lock_path(tmp_path, "1-1-0123abcd").touch()
    for question in (
        lambda: locks.is_alive(name, [tmp_path]),
        lambda: locks.is_dead(name, [tmp_path]),
        lambda: locks.is_another_alive(tmp_path),
    ):
        with pytest.raises(locks.LocksUnsupportedError, match="has no locks"):
            question()
    locks.remove_dead(tmp_path, {name})
    assert lock_path(tmp_path, name).exists()
    locks.release_all()
    assert not lock_path(tmp_path, name).exists()


def test_another_folder_that_has_locks_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = dead_process(tmp_path / "with", tmp_path / "without")
    is_held = locks._is_held

    def is_held_or_fails(path: Path) -> bool | None:
        if path.parent.name == "without":
            raise locks.LocksUnsupportedError
        return is_held(path)

    monkeypatch.setattr(locks, "_is_held", is_held_or_fails)
    assert locks.is_dead(name, [tmp_path / "without", tmp_path / "with"])
    with pytest.raises(locks.LocksUnsupportedError):
        locks.is_dead(name, [tmp_path / "without", tmp_path / "none"])


# A lock file for a moment


def test_lock_file_is_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    with (
        locks.lock_file(path, 0),
        pytest.raises(TimeoutError, match="another process holds its lock"),
        locks.lock_file(path, 0),
    ):
        pytest.fail("held twice")
    with locks.lock_file(path, 0):
        pass
    assert path.exists()


# One benchmark


def test_lock_is_exclusive_and_leaves_no_file(state: Path) -> None:
    assert running() == ()
    with benchmark_lock(exclusive=True, warn=pytest.fail) as is_exclusive:
        assert is_exclusive
        (holder,) = running()
        assert holder.pid == os.getpid()
    assert running() == ()
    assert [path.name for path in locks._benchmarks_folder().iterdir()] == ["guard"]
    assert is_alone()


def test_lock_is_released_after_an_exception() -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        benchmark_lock(exclusive=True, warn=pytest.fail),
    ):
        raise KeyboardInterrupt
    assert is_alone()


# Several processes


def test_second_benchmark_is_rejected_and_names_the_first() -> None:
    with benchmark_process() as first:
        send_line(first)
        assert read_line(first) == "exclusive"
        with pytest.raises(BenchError) as caught:
            is_alone()
        error = caught.value
        (holder,) = running()
        assert error.exit_status == EXIT_USAGE
        assert f"(process {first.pid}, since " in error.message
        assert f"{holder}" in error.message
        assert "--no-exclusive" in error.hint
        send_line(first)
        assert first.wait(60) == 0
        assert is_alone()


def test_one_of_several_concurrent_benchmarks_starts() -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(benchmark_process()) for _ in range(4)]
        for process in processes:
            send_line(process)
        assert sorted(map(read_line, processes)) == [
            "exclusive",
            "rejected",
            "rejected",
            "rejected",
        ]


def test_no_other_benchmark_enters_between_check_and_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[str] = []
    open_file = locks._open

    def open_later(path: Path) -> int:
        if path.suffix == ".lock":  # its own, under the guard
            with benchmark_process(before="locks._GUARD_SECONDS = 0") as impatient:
                send_line(impatient)
                answers.append(read_line(impatient))
        return open_file(path)

    monkeypatch.setattr(locks, "_open", open_later)
    assert is_alone()
    assert ["can't lock out other benchmarks" in line for line in answers] == [True]


def test_machine_that_shares_the_home_folder_is_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with benchmark_lock(exclusive=True, warn=pytest.fail):
        monkeypatch.setattr(locks.platform, "node", lambda: "another/host")
        assert is_alone()


def test_killed_benchmark_releases_the_lock() -> None:
    with benchmark_process() as first:
        send_line(first)
        assert read_line(first) == "exclusive"
        first.kill()
        first.wait(60)
        assert running() == ()
        assert is_alone()


# Without exclusive access


def test_non_exclusive_benchmark_runs_concurrently() -> None:
    with benchmark_process() as first:
        send_line(first)
        assert read_line(first) == "exclusive"
        assert is_alone(exclusive=False) is False
        assert [holder.pid for holder in running()] == [first.pid]


def test_non_exclusive_benchmark_blocks_exclusive_ones() -> None:
    with benchmark_process(exclusive=False) as first:
        send_line(first)
        assert read_line(first) == "shared"
        with pytest.raises(BenchError, match=f"process {first.pid},"):
            is_alone()


def test_benchmarks_of_one_process() -> None:
    with (
        benchmark_lock(exclusive=True, warn=pytest.fail),
        benchmark_lock(exclusive=False, warn=pytest.fail),
    ):
        assert [holder.pid for holder in running()] == [os.getpid()] * 2
        with pytest.raises(BenchError, match=f"process {os.getpid()},"):
            is_alone()
    assert running() == ()


@pytest.mark.parametrize("name", ["7-1700000000-0123abcd.lock", "running.json", "x.lock"])
def test_file_that_no_process_holds_is_ignored(state: Path, name: str) -> None:
    folder = locks._benchmarks_folder()
    folder.mkdir(parents=True)
    (folder / name).touch()
    assert running() == ()
    assert is_alone()


# An unusable state folder


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_file_in_place_of_the_folder(state: Path) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text("not a folder", encoding="utf-8")
    warnings: list[str] = []
    with benchmark_lock(exclusive=True, warn=warnings.append) as is_exclusive:
        assert not is_exclusive
    (line,) = warnings
    assert "can't lock out other benchmarks" in line
    assert "not exclusive" in line


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "(Permission denied)"),
        (OSError(errno.ENOSYS, "Function not implemented"), "(the file system has no locks)"),
    ],
)
def test_unusable_folder(monkeypatch: pytest.MonkeyPatch, error: Exception, words: str) -> None:
    monkeypatch.setattr(locks, "lock_descriptor", failing(error))
    warnings: list[str] = []
    with benchmark_lock(exclusive=True, warn=warnings.append) as is_exclusive:
        assert not is_exclusive
    assert words in warnings[0]
