"""What was heard of a trajectory, as lines of a file: whole, torn, and on a full disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from factories import HEARD_FROM_MS, SPOOL_ENTRIES, spool_header

from mnist_bench.core import process_identity
from mnist_bench.tracking import spool
from mnist_bench.tracking.spool import Entry, Spool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "mlruns" / ".runs"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def written(folder: Path) -> Spool:
    made = Spool(spool_header(), folder)
    for entry in SPOOL_ENTRIES:
        made.add(entry)
    return made


def entries_in(path: Path) -> tuple[Entry, ...]:
    story = spool.read(path)
    assert story is not None
    return story.entries


def test_what_was_written_is_read(written: Spool, folder: Path) -> None:
    assert written.path == folder / "a-trajectory.jsonl"
    assert spool.paths(folder) == [written.path]
    story = spool.read(written.path)
    assert story is not None
    assert (story.header, story.entries) == (spool_header(owner=story.header.owner), SPOOL_ENTRIES)
    assert story.header.owner == process_identity.current_process("a-machine")
    assert story.last_at_ms == HEARD_FROM_MS + 5


def test_each_line_is_with_the_system_at_once(folder: Path) -> None:
    made = Spool(spool_header(), folder)
    for number, entry in enumerate(SPOOL_ENTRIES):
        made.add(entry)
        assert len(made.path.read_bytes().splitlines()) == number + 2


def test_nothing_was_heard_of_it_yet(folder: Path) -> None:
    story = spool.read(Spool(spool_header(), folder).path)
    assert story is not None
    assert not story.has_begun
    assert story.last_at_ms == HEARD_FROM_MS


@pytest.mark.parametrize("torn", [1, 20, 100])
def test_a_torn_last_line_is_left_out(written: Spool, torn: int) -> None:
    whole = written.path.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    written.path.write_bytes(whole[: -min(torn, last - 1)])
    # Without its line feed alone a line is whole.
    assert entries_in(written.path) == (SPOOL_ENTRIES if torn == 1 else SPOOL_ENTRIES[:-1])


def test_what_follows_a_line_that_makes_no_sense_is_not_believed(written: Spool) -> None:
    lines = written.path.read_bytes().splitlines(keepends=True)
    written.path.write_bytes(b"".join([*lines[:3], b"\0\0\0\n", *lines[3:]]))
    assert entries_in(written.path) == SPOOL_ENTRIES[:2]


@pytest.mark.parametrize("content", [b"", b"\n", b'{"kind": "header"', b'{"kind": "song"}\n'])
def test_without_a_whole_first_line_it_is_none(folder: Path, content: bytes) -> None:
    (folder / "x.jsonl").write_bytes(content)
    assert spool.read(folder / "x.jsonl") is None


def test_of_a_later_version_it_is_none(written: Spool) -> None:
    text = written.path.read_bytes().replace(b'"schema_version":1', b'"schema_version":2', 1)
    written.path.write_bytes(text)
    assert spool.read(written.path) is None


def test_a_process_that_is_killed_leaves_what_it_has_heard(folder: Path) -> None:
    code = """
import os, pathlib, sys
sys.path[:0] = [sys.argv[2]]
from factories import SPOOL_ENTRIES, spool_header
from mnist_bench.tracking.spool import Journal
made = Journal(spool_header(), pathlib.Path(sys.argv[1]))
for entry in SPOOL_ENTRIES[:3]:
    made.add(entry)
print("written", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(folder), str(Path(__file__).parents[1])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"written"
        process.kill()
    assert entries_in(folder / "a-trajectory.jsonl") == SPOOL_ENTRIES[:3]


# Its end


def test_nothing_is_left_where_nothing_else_was(written: Spool, folder: Path) -> None:
    (written.files / "250").mkdir(parents=True)
    (written.files / "250" / "predictions.npz").write_bytes(b"predictions")
    written.remove()
    assert not folder.parent.exists()


def test_others_stay(written: Spool, folder: Path) -> None:
    (folder / "other.jsonl").touch()
    written.remove()
    assert [path.name for path in folder.iterdir()] == ["other.jsonl"]


# A disk that is full


@pytest.fixture
def room() -> Iterator[Callable[[int], None]]:
    """Says how many bytes a file may have, as a full disk would: a write takes what fits."""
    resource = pytest.importorskip("resource", reason="needs POSIX limits")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_did_not_fit_waits_and_follows_when_there_is_room(
    folder: Path, room: Callable[[int], None]
) -> None:
    made = Spool(spool_header(), folder)
    size = made.path.stat().st_size
    room(size + 10)
    made.add(SPOOL_ENTRIES[0])
    assert made.fault is not None
    assert made.path.stat().st_size == size + 10
    made.add(SPOOL_ENTRIES[1])
    assert entries_in(made.path) == ()
    room(1_000_000)
    made.add(SPOOL_ENTRIES[2])
    assert made.fault is None
    assert entries_in(made.path) == SPOOL_ENTRIES[:3]


def test_a_folder_that_is_gone_is_a_fault_and_no_crash(written: Spool) -> None:
    written.path.unlink()
    written.add(SPOOL_ENTRIES[0])
    assert written.fault is not None
    assert not written.path.exists()
