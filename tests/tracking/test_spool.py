"""Spool files: complete, incomplete, and on a full disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from factories import FIRST_MESSAGE_MS, SPOOL_ENTRIES, spool_header

from mnist_bench.core import locks
from mnist_bench.tracking import spool
from mnist_bench.tracking.spool import Address, Entry, Spool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "mlruns" / ".runs"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def written(folder: Path) -> Spool:
    writer = Spool(spool_header(), folder)
    writer.add(*SPOOL_ENTRIES)
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
    # The owner's lock file is next to it.
    assert {path.suffix for path in folder.iterdir()} == {".jsonl", ".lock"}
    assert locks.is_alive(locks.process_name(), [folder])


def test_each_line_is_written_at_once_and_what_is_shown_is_synced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that neither a kill nor, for evaluations and ends, a power failure loses it."""
    synced: list[int] = []
    monkeypatch.setattr(spool.os, "fsync", lambda _file: synced.append(len(synced)))
    writer = Spool(spool_header(), folder)
    contents = spool.read(writer.path)
    assert contents is not None
    assert (contents.entries, contents.last_at_ms) == ((), FIRST_MESSAGE_MS)
    numbers = []
    for number, entry in enumerate(SPOOL_ENTRIES, start=1):
        writer.add(entry)
        assert entries_in(writer.path) == SPOOL_ENTRIES[:number]
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


@pytest.mark.parametrize(
    ("damage", "entries"),
    [
        # A line is complete without its line feed.
        (lambda lines: [*lines[:-1], lines[-1][:-1]], 4),
        (lambda lines: [*lines[:-1], lines[-1][:-20]], 3),
        (lambda lines: [*lines[:-1], lines[-1][:1]], 3),
        (lambda lines: [*lines[:3], b"\0\0\0\n", *lines[3:]], 2),
        (lambda _: [], None),
        (lambda _: [b'{"kind": "header"'], None),
        (lambda lines: [lines[0].replace(b'_version":1', b'_version":2', 1), *lines[1:]], None),
    ],
)
def test_lines_from_an_invalid_one_on_are_ignored(
    written: Spool, damage: Callable[[list[bytes]], list[bytes]], entries: int | None
) -> None:
    """Without a valid header of this version there is nothing."""
    lines = written.path.read_bytes().splitlines(keepends=True)
    written.path.write_bytes(b"".join(damage(lines)))
    contents = spool.read(written.path)
    assert (contents and contents.entries) == (None if entries is None else SPOOL_ENTRIES[:entries])


def test_remove_deletes_the_workers_files_and_empty_folders(written: Spool, folder: Path) -> None:
    other = folder / "other.jsonl"
    other.touch()
    (spool.files_of(written.path) / "250").mkdir(parents=True)
    (spool.files_of(written.path) / "250" / "predictions.npz").write_bytes(b"predictions")
    spool.remove(written.path)
    assert [path for path in folder.iterdir() if path.suffix != ".lock"] == [other]
    spool.remove(other)
    locks.release_all()
    assert not folder.parent.exists()


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


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("sqlite+pysqlite:///./runs.db?timeout=5", "sqlite:///runs.db"),
        ("sqlite:///{folder}/runs.db", "sqlite:///runs.db"),
        ("sqlite:///file:runs.db?uri=true", "sqlite:///runs.db"),
        ("sqlite:///my%20runs.db", "sqlite:///my runs.db"),
        ("sqlite:///100%2541%3F.db", "sqlite:///100%2541%3F.db"),
        ("sqlite:////srv/runs.db", "sqlite:////srv/runs.db"),
        ("http://user:hunter2@host:5000", "http://host:5000"),
    ],
)
def test_each_spelling_of_a_store_is_one_address(uri: str, address: str) -> None:
    found = Address.of(uri.format(folder=Path.cwd().as_posix().replace("%", "%25")), "runs")
    assert found.tracking_uri == address
    assert Address.of(found.tracking_uri, "runs") == found
