"""Atomic writes of one file, and of several with a common stem."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_bench.core import files
from mnist_bench.core.errors import EXIT_FAILURE, EXIT_USAGE, BenchError


def test_concurrent_atomic_writes_leave_one_complete_file(tmp_path: Path) -> None:
    contents = [bytes([i]) * 200_000 for i in range(4)]
    start = threading.Barrier(len(contents))

    def write(content: bytes) -> None:
        start.wait(10)
        files.write_atomically(tmp_path / "file", content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (tmp_path / "file").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_failed_atomic_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="file"):
        files.write_atomically(tmp_path / "file", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_atomic_write_removes_files_of_killed_writers(tmp_path: Path) -> None:
    old, recent = tmp_path / "file-a.part", tmp_path / "file-b.part"
    for path in (old, recent):
        path.write_bytes(b"half")
    os.utime(old, (1_000_000_000, 1_000_000_000))
    files.write_atomically(tmp_path / "file", b"content")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "file-b.part"]


# Several files

SUFFIXES = (".md", ".csv", ".json")


def written(word: str) -> list[files.File]:
    return [files.File(suffix, f"{word} {suffix}") for suffix in SUFFIXES]


def contents(folder: Path) -> dict[str, str]:
    return {path.name.removeprefix("r"): path.read_text() for path in folder.iterdir()}


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A folder with older files of the same names."""
    files.write(tmp_path, "r", written("old"))
    return tmp_path


def failing(error: BaseException, good_calls: int = 0) -> Callable[..., None]:
    """A function that raises an error after some calls."""
    calls: list[object] = []

    def call(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) > good_calls:
            raise error

    return call


@pytest.mark.parametrize(
    ("function", "number", "good_calls", "hint"),
    [
        ("fsync", errno.ENOSPC, 0, "free some disk space"),
        ("fsync", errno.ENOSPC, 2, "free some disk space"),
        ("replace", errno.EACCES, 0, "make the folder writable"),
        ("fsync", errno.EROFS, 0, "choose another folder"),
    ],
)
def test_older_files_are_left_where_one_can_not_be_written(
    older: Path,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    number: int,
    good_calls: int,
    hint: str,
) -> None:
    error = OSError(number, os.strerror(number))
    monkeypatch.setattr(os, function, failing(error, good_calls))
    with pytest.raises(BenchError) as caught:
        files.write(older, "r", written("new"))
    assert str(older / f"r{SUFFIXES[good_calls]}") in caught.value.message
    assert os.strerror(number) in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_status == EXIT_FAILURE
    assert contents(older) == {suffix: f"old {suffix}" for suffix in SUFFIXES}


def test_interrupted_while_writing(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        files.write(older, "r", written("new"))
    assert contents(older) == {suffix: f"old {suffix}" for suffix in SUFFIXES}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_device(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open  # a real full device, not a fake
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda _self, _mode: opened("/dev/full", "wb"))
        with pytest.raises(BenchError, match=os.strerror(errno.ENOSPC)):
            files.write(older, "r", written("new"))
    assert contents(older) == {suffix: f"old {suffix}" for suffix in SUFFIXES}


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("mine")
    with pytest.raises(BenchError, match="reports") as caught:
        files.write(tmp_path / "reports", "r", written("new"))
    assert "move away" in caught.value.hint
    assert (tmp_path / "reports").read_text() == "mine"


def test_a_folder_that_can_not_be_created_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    files.check_writable(tmp_path / "new" / "folder", "choose another")
    with pytest.raises(BenchError, match=r"can't write to .*; choose another") as caught:
        files.check_writable(tmp_path / "file" / "below", "choose another")
    assert caught.value.exit_status == EXIT_USAGE
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    # A folder whose parent can't be searched, or a name that is too long.
    monkeypatch.setattr(Path, "exists", failing(OSError(errno.EACCES, "Permission denied")))
    with pytest.raises(BenchError, match="Permission denied; choose another"):
        files.check_writable(tmp_path / "new", "choose another")


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
def test_files_replace_older_ones_and_are_as_readable_as_others(older: Path) -> None:
    paths = files.write(older, "r", written("new"))
    assert paths == tuple(older / f"r{suffix}" for suffix in SUFFIXES)
    assert contents(older) == {suffix: f"new {suffix}" for suffix in SUFFIXES}
    (older / "plain").touch()
    assert paths[0].stat().st_mode == (older / "plain").stat().st_mode


# Reading what others may have made


def make(kind: str, path: Path) -> None:
    match kind:
        case "a FIFO":
            os.mkfifo(path)
        case "a folder":
            path.mkdir()
        case "a large file":
            path.write_bytes(bytes(11))
        case "a device":
            path.symlink_to("/dev/zero")
        case "a socket":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
        case "a link":
            path.with_name("target").write_bytes(b"0123456789")
            path.symlink_to(path.with_name("target"))


REFUSED = {
    "a FIFO": "not a regular file",
    "a folder": "directory",
    "a large file": "larger than 10 bytes",
    "a device": "not a regular file",
    "a socket": "not a regular file",
    "nothing": "No such file",
}


@pytest.mark.skipif(os.name != "posix", reason="needs special files")
@pytest.mark.parametrize(("kind", "words"), REFUSED.items())
def test_only_regular_files_of_limited_size_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    make(kind, Path("file"))
    with pytest.raises(OSError, match=words):
        files.read_bounded(Path("file"), 10)


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_link_is_followed_unless_others_may_have_made_it(tmp_path: Path) -> None:
    make("a link", tmp_path / "file")
    assert files.read_bounded(tmp_path / "file", 10) == b"0123456789"
    with pytest.raises(OSError, match="symbolic link"):
        files.read_bounded(tmp_path / "file", 10, follow=False)


@pytest.mark.skipif(os.name != "posix", reason="needs links")
@pytest.mark.parametrize("linked", ["", "folder", "folder/1", "folder/1/file", "a second name"])
def test_only_files_of_the_folder_itself_are_copied(tmp_path: Path, linked: str) -> None:
    place, target = tmp_path / "place", tmp_path / "copy"
    path = place / "folder" / "1" / "file"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"content")
    if linked == "a second name":
        path.with_name("hard").hardlink_to(path)
    elif linked:
        moved = (place / linked).rename(tmp_path / "moved")
        (place / linked).symlink_to(moved)
    assert files.copy_inside(place / "folder", "1/file", target, 10) == (not linked)
    assert target.exists() == (not linked)
    assert not files.copy_inside(place / "folder", "1/file", target, 3)
    assert not files.copy_inside(place / "folder", "../../copy", tmp_path / "second", 10)


@pytest.mark.skipif(os.name != "posix", reason="the temporary folder of Windows is the user's own")
@pytest.mark.parametrize("other", ["a link", "a large file", "open to all", "of another user"])
def test_temporary_folder_that_another_user_may_have_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    monkeypatch.setattr(files.tempfile, "gettempdir", lambda: str(tmp_path))
    own = files.private_temporary_folder()
    assert own == tmp_path / f"mnist-bench-{os.getuid()}" == files.private_temporary_folder()
    if other == "open to all":
        own.chmod(0o777)
    elif other == "of another user":
        uid = os.getuid() + 1
        own.rename(own.with_name(f"mnist-bench-{uid}"))
        monkeypatch.setattr(files.os, "getuid", lambda: uid)
    else:
        own.rmdir()
        make(other, own)
    assert files.private_temporary_folder() is None
