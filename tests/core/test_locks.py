"""Lock files and the benchmark lock; two open files of one process exclude each other too."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import fakes
import platformdirs
import pytest

from mnist_bench.core import locks
from mnist_bench.core.errors import EXIT_USAGE, BenchError
from mnist_bench.core.locks import benchmark_lock, running

DEAD = "7-1700000000-0123abcd"


@pytest.fixture(autouse=True)
def state(home: Path) -> Path:
    """A state folder that does not exist yet; child processes inherit it."""
    return platformdirs.user_state_path("mnist-bench", appauthor=False)


def lock_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"


def leave(folder: Path, name: str = DEAD) -> str:
    """Create the lock file of a process that was killed."""
    folder.mkdir(exist_ok=True)
    lock_path(folder, name).touch()
    return name


# Which processes are alive


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
        # As in a copy of a project whose benchmark is running.
        leave(tmp_path / "copy", name)
        assert locks.is_dead(name, [tmp_path / "copy"])
        assert not locks.is_dead(name, [tmp_path / "copy", *folders])
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


@pytest.mark.parametrize("is_settled", [True, False])
def test_process_that_leaves_something_unsettled_counts_as_dead(
    tmp_path: Path, *, is_settled: bool
) -> None:
    name = locks.hold(tmp_path / "locks")
    locks.unsettled("a run")
    if is_settled:
        locks.settled("a run")
    locks.release_all()  # as at its end
    assert locks.is_dead(name, [tmp_path / "locks"]) != is_settled
    assert lock_path(tmp_path / "locks", name).exists() != is_settled


def test_files_of_dead_processes_are_removed(tmp_path: Path) -> None:
    alive, settled, other = locks.hold(tmp_path), leave(tmp_path, f"7-{10**11}-0123abcd"), "8-1-00"
    new = leave(tmp_path, f"8-{10**11}-0123abcd")
    leave(tmp_path, other)  # no process's name
    leave(tmp_path)  # old
    locks.remove_dead(tmp_path, {settled, alive})
    assert {path.stem for path in tmp_path.glob("*.lock")} == {other, new, alive}
    locks.remove_dead(tmp_path / "none", {settled})


def test_nothing_is_known_of_another_users_dead_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, alive = leave(tmp_path), locks.hold(tmp_path)
    open_file = os.open

    def deny(path: Path, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_file(path, flags, *mode)

    monkeypatch.setattr(locks.os, "open", deny)
    assert locks.is_alive(alive, [tmp_path])
    with pytest.raises(locks.LocksUnsupportedError, match="of another user"):
        locks.is_dead(name, [tmp_path])


HERE, ELSEWHERE = locks._kernel(), "0c0ffee0-another-boot"


@pytest.mark.parametrize(
    ("kernel", "is_copy", "file_system", "booted", "is_dead"),
    [
        (HERE, False, "nfs4", "before", True),  # one kernel's lock is the truth
        (HERE, True, "ext4", "before", True),  # its process is gone
        (ELSEWHERE, False, "ext4", "since", True),  # the machine was started again
        (ELSEWHERE, False, "ext4", "before", None),  # written to by a system that runs now
        (ELSEWHERE, False, "nfs4", "since", None),  # another host, whose locks are not seen
        (ELSEWHERE, False, "9p", "since", None),  # another container's or virtual machine's
        (ELSEWHERE, True, "ext4", "since", None),  # unpacked or synchronised from elsewhere
    ],
)
def test_free_lock_file_and_where_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: str, file_system: str, booted: str,
    *, is_copy: bool, is_dead: bool | None,
) -> None:  # fmt: skip
    name = f"{2**22 + 1}-1700000000-0123abcd"  # no process has this id
    path = lock_path(tmp_path, leave(tmp_path, name))
    path.write_text(f"{path.stat().st_ino + is_copy} {kernel}\n", encoding="ascii")
    boot_time = path.stat().st_mtime + (60 if booted == "since" else -60)
    monkeypatch.setattr("psutil.boot_time", lambda: boot_time)
    monkeypatch.setattr(locks, "_file_system", lambda _path: file_system)
    if is_dead is None:
        with pytest.raises(locks.LocksUnsupportedError, match=r"a copy|on another machine"):
            locks.is_dead(name, [tmp_path])
    else:
        assert locks.is_dead(name, [tmp_path])


def test_copy_of_the_folder_of_a_living_process(tmp_path: Path) -> None:
    """With a server for a store, an end of its runs there would end those that train."""
    name = locks.hold(tmp_path / "project")
    shutil.copytree(tmp_path / "project", tmp_path / "copy")
    with pytest.raises(locks.LocksUnsupportedError, match="is a copy"):
        locks.is_dead(name, [tmp_path / "copy"])


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_link_in_place_of_a_lock_file(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    lock_path(tmp_path, DEAD).symlink_to(victim)
    with pytest.raises(locks.LocksUnsupportedError, match=DEAD):
        locks.is_dead(DEAD, [tmp_path])
    with pytest.raises(OSError, match="symbolic"), locks.lock_file(lock_path(tmp_path, DEAD), 0):
        pass
    assert not victim.exists()


# A file system without locks


def test_nobody_knows_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int, *, blocking: bool) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks, "lock_descriptor", fail)
    name = locks.hold(tmp_path)  # leaves a file that is no evidence of death
    leave(tmp_path)
    for question in (locks.is_alive, locks.is_dead):
        with pytest.raises(locks.LocksUnsupportedError, match="has no locks"):
            question(name, [tmp_path])
    assert locks.is_another_alive(tmp_path), "as far as is known"
    locks.remove_dead(tmp_path, {name})
    assert lock_path(tmp_path, name).exists()
    locks.release_all()
    assert not lock_path(tmp_path, name).exists()


def test_another_folder_that_has_locks_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = leave(tmp_path / "with")
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


# One benchmark at a time


def is_alone(*, exclusive: bool = True) -> bool:
    """Whether this process can have the machine to itself."""
    with benchmark_lock(exclusive=exclusive, warn=pytest.fail) as is_exclusive:
        return is_exclusive


def test_lock_is_exclusive_and_leaves_no_file() -> None:
    assert running() == ()
    with (
        pytest.raises(KeyboardInterrupt),
        benchmark_lock(exclusive=True, warn=pytest.fail) as is_exclusive,
    ):
        assert is_exclusive
        assert [holder.pid for holder in running()] == [os.getpid()]
        raise KeyboardInterrupt
    assert running() == ()
    assert [path.name for path in locks._benchmarks_folder().iterdir()] == ["guard"]
    assert is_alone()


@pytest.mark.parametrize("exclusive", [True, False])
def test_second_benchmark_is_rejected_and_names_the_first(*, exclusive: bool) -> None:
    with benchmark_lock(exclusive=exclusive, warn=pytest.fail) as is_exclusive:
        assert is_exclusive == exclusive
        with pytest.raises(BenchError) as caught:
            is_alone()
        (holder,) = running()
        assert f"({holder})" in caught.value.message
        assert str(holder).startswith(f"process {os.getpid()}, since ")
        assert "--no-exclusive" in caught.value.hint
        assert caught.value.exit_status == EXIT_USAGE
    assert is_alone()


def test_non_exclusive_benchmark_runs_concurrently() -> None:
    with benchmark_lock(exclusive=True, warn=pytest.fail):
        with benchmark_lock(exclusive=False, warn=pytest.fail) as is_exclusive:
            assert not is_exclusive
            assert [holder.pid for holder in running()] == [os.getpid()] * 2
        assert len(running()) == 1


def test_no_other_benchmark_enters_between_check_and_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    open_file = locks._open

    def open_later(path: Path) -> int:
        if path.suffix == ".lock":  # its own, under the guard
            with monkeypatch.context() as patch:
                patch.setattr(locks, "_GUARD_SECONDS", 0)
                with benchmark_lock(exclusive=True, warn=warnings.append) as is_exclusive:
                    assert not is_exclusive
        return open_file(path)

    monkeypatch.setattr(locks, "_open", open_later)
    assert is_alone()
    assert ["can't lock out other benchmarks" in line for line in warnings] == [True]


def test_machine_that_shares_the_home_folder_is_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with benchmark_lock(exclusive=True, warn=pytest.fail):
        monkeypatch.setattr(locks.platform, "node", lambda: "another/host")
        assert is_alone()


@pytest.mark.parametrize("name", [f"{DEAD}.lock", "running.json", "x.lock"])
def test_file_that_no_process_holds_is_ignored(name: str) -> None:
    folder = locks._benchmarks_folder()
    folder.mkdir(parents=True)
    (folder / name).touch()
    assert running() == ()
    assert is_alone()


# Processes that start at once, and are killed

_PROGRAM = """
import sys
from mnist_bench.core.errors import BenchError
from mnist_bench.core.locks import benchmark_lock
print("started", flush=True)
sys.stdin.readline()
try:
    with benchmark_lock(exclusive=True, warn=print):
        print("exclusive", flush=True)
        sys.stdin.readline()
except BenchError as error:
    print("rejected", flush=True)
"""


@contextmanager
def benchmark_process() -> Iterator[subprocess.Popen[str]]:
    """A process that takes the lock at the first line of its input; killed at the end."""
    command = [sys.executable, "-c", _PROGRAM]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        yield process
        process.kill()


def test_one_of_several_concurrent_benchmarks_starts_and_frees_the_lock_when_killed() -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(benchmark_process()) for _ in range(3)]
        for process in processes:
            assert process.stdout.readline() == "started\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        answers = [process.stdout.readline().strip() for process in processes]
        assert sorted(answers) == ["exclusive", "rejected", "rejected"]
        first = processes[answers.index("exclusive")]
        with pytest.raises(BenchError, match=rf"process {first.pid}, since "):
            is_alone()
    assert running() == ()
    assert is_alone()


# An unusable state folder


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "can't be used ("),  # a file in place of the folder
        (PermissionError(13, "Permission denied"), "(Permission denied)"),
        (OSError(errno.ENOSYS, "Function not implemented"), "(the file system has no locks)"),
    ],
)
def test_unusable_folder(
    monkeypatch: pytest.MonkeyPatch, state: Path, error: OSError | None, words: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    if error:
        monkeypatch.setattr(locks, "lock_descriptor", fail)
    else:
        state.parent.mkdir(parents=True)
        state.write_text("not a folder", encoding="utf-8")
    warnings: list[str] = []
    with benchmark_lock(exclusive=True, warn=warnings.append) as is_exclusive:
        assert not is_exclusive
    (line,) = warnings
    assert words in line
    assert line.startswith("can't lock out other benchmarks")
    assert "not exclusive" in line
