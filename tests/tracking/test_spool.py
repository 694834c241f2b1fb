"""Spool files: complete, incomplete, and on a full disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from factories import FIRST_MESSAGE_MS, SPOOL_ENTRIES, spool_header

from mnist_bench.core import locks
from mnist_bench.tracking import spool
from mnist_bench.tracking.spool import Entry, Spool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "mlruns" / ".runs"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def written(folder: Path) -> Spool:
    writer = Spool(spool_header(), folder)
    for entry in SPOOL_ENTRIES:
        writer.add(entry)
    return writer


def entries_in(path: Path) -> tuple[Entry, ...]:
    contents = spool.read(path)
    assert contents is not None
    return contents.entries


def test_round_trip(written: Spool, folder: Path) -> None:
    assert written.path == folder / "a-trajectory.jsonl"
    assert spool.paths(folder) == [written.path]
    contents = spool.read(written.path)
    assert contents is not None
    assert (contents.header, contents.entries) == (spool_header(), SPOOL_ENTRIES)
    assert contents.last_at_ms == FIRST_MESSAGE_MS + 5


def test_each_line_is_written_immediately(folder: Path) -> None:
    writer = Spool(spool_header(), folder)
    for number, entry in enumerate(SPOOL_ENTRIES):
        writer.add(entry)
        assert len(writer.path.read_bytes().splitlines()) == number + 2


def test_header_without_entries(folder: Path) -> None:
    contents = spool.read(Spool(spool_header(), folder).path)
    assert contents is not None
    assert contents.entries == ()
    assert contents.last_at_ms == FIRST_MESSAGE_MS


def test_owner_holds_its_lock_file_next_to_the_spool(folder: Path) -> None:
    writer = Spool(spool_header(), folder)
    assert {path.suffix for path in folder.iterdir()} == {".jsonl", ".lock"}
    assert locks.is_alive(locks.process_name(), [writer.path.parent])


def test_evaluations_and_ends_of_step_counts_are_synced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(spool.os, "fsync", lambda _file: synced.append(len(synced)))
    writer = Spool(spool_header(), folder)
    numbers = []
    for entry in SPOOL_ENTRIES:
        writer.add(entry)
        numbers.append(len(synced))
    # A sample, an evaluation, the end of a step count, the end of the training.
    assert numbers == [0, 1, 2, 2]


def test_spool_of_0_1_0(written: Spool) -> None:
    """Its owner is an object, and it has kinds of entries that are not written any more."""
    lines = written.path.read_text(encoding="utf-8").splitlines(keepends=True)
    owner = '{"machine_id":"m","boot_id":"b/pid:[4]","pid":1,"started_at":1.5}'
    header = lines[0].replace(f'"owner":"{locks.process_name()}"', f'"owner":{owner}')
    assert header != lines[0]
    begun = '{"kind":"begun","at_ms":5}\n'
    made = '{"kind":"made","at_ms":5,"steps":250,"run_id":"an-id"}\n'
    text = "".join([header, begun, *lines[1:3], made, *lines[3:]])
    written.path.write_text(text, encoding="utf-8")
    contents = spool.read(written.path)
    assert contents is not None
    assert (contents.header, contents.entries) == (spool_header(owner=""), SPOOL_ENTRIES)


@pytest.mark.parametrize("torn", [1, 20, 100])
def test_incomplete_last_line_is_ignored(written: Spool, torn: int) -> None:
    whole = written.path.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    written.path.write_bytes(whole[: -min(torn, last - 1)])
    # A line is complete without its line feed.
    assert entries_in(written.path) == (SPOOL_ENTRIES if torn == 1 else SPOOL_ENTRIES[:-1])


def test_lines_after_an_invalid_line_are_ignored(written: Spool) -> None:
    lines = written.path.read_bytes().splitlines(keepends=True)
    written.path.write_bytes(b"".join([*lines[:3], b"\0\0\0\n", *lines[3:]]))
    assert entries_in(written.path) == SPOOL_ENTRIES[:2]


@pytest.mark.parametrize("content", [b"", b"\n", b'{"kind": "header"', b'{"kind": "song"}\n'])
def test_incomplete_or_invalid_header_gives_none(folder: Path, content: bytes) -> None:
    (folder / "x.jsonl").write_bytes(content)
    assert spool.read(folder / "x.jsonl") is None


def test_newer_version_gives_none(written: Spool) -> None:
    text = written.path.read_bytes().replace(b'"schema_version":1', b'"schema_version":2', 1)
    written.path.write_bytes(text)
    assert spool.read(written.path) is None


def test_killed_process_leaves_its_entries(folder: Path) -> None:
    code = """
import os, pathlib, sys
sys.path[:0] = [sys.argv[2]]
from factories import SPOOL_ENTRIES, spool_header
from mnist_bench.tracking.spool import Spool
writer = Spool(spool_header(), pathlib.Path(sys.argv[1]))
for entry in SPOOL_ENTRIES[:2]:
    writer.add(entry)
print("written", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(folder), str(Path(__file__).parents[1])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"written"
        process.kill()
    assert entries_in(folder / "a-trajectory.jsonl") == SPOOL_ENTRIES[:2]


# Removal


def test_remove_deletes_empty_folders(written: Spool, folder: Path) -> None:
    (spool.files_of(written.path) / "250").mkdir(parents=True)
    (spool.files_of(written.path) / "250" / "predictions.npz").write_bytes(b"predictions")
    spool.remove(written.path)
    assert [path.suffix for path in folder.iterdir()] == [".lock"]
    locks.release_all()
    assert not folder.parent.exists()


def test_remove_keeps_other_spools(written: Spool, folder: Path) -> None:
    (folder / "other.jsonl").touch()
    spool.remove(written.path)
    assert [path.name for path in folder.glob("*.jsonl")] == ["other.jsonl"]


# A full disk


@pytest.fixture
def limit_file_size() -> Iterator[Callable[[int], None]]:
    """Limits the size of files in bytes, like a full disk: writes are cut off."""
    resource = pytest.importorskip("resource", reason="needs POSIX limits")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_lines_that_did_not_fit_are_written_once_there_is_space(
    folder: Path, limit_file_size: Callable[[int], None]
) -> None:
    writer = Spool(spool_header(), folder)
    size = writer.path.stat().st_size
    limit_file_size(size + 10)
    writer.add(SPOOL_ENTRIES[0])
    assert writer.error is not None
    assert writer.path.stat().st_size == size + 10
    writer.add(SPOOL_ENTRIES[1])
    assert entries_in(writer.path) == ()
    limit_file_size(1_000_000)
    writer.add(SPOOL_ENTRIES[2])
    assert writer.error is None
    assert entries_in(writer.path) == SPOOL_ENTRIES[:3]


def test_missing_file_is_an_error_and_no_exception(written: Spool) -> None:
    written.path.unlink()
    written.add(SPOOL_ENTRIES[0])
    assert written.error is not None
    assert not written.path.exists()
