"""One benchmark at a time: real processes that measure, have ended, and begin at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import platformdirs
import pytest

from mnist_bench.core import files, process_identity
from mnist_bench.core import locks as exclusive
from mnist_bench.core.errors import EXIT_WRONG_REQUEST, BenchError
from mnist_bench.core.locks import Holder, benchmark_lock, running

MACHINE = "0123456789abcdef"

_MEASURE = f"""
import sys
from mnist_bench.core import locks as exclusive
BEFORE
from mnist_bench.core.errors import BenchError
from mnist_bench.core.locks import held
sys.stdin.readline()
try:
    with held({MACHINE!r}, exclusive=EXCLUSIVE, say=print) as kept:
        print("kept" if kept else "beside", flush=True)
        sys.stdin.readline()
except BenchError as error:
    print("refused", flush=True)
"""


@pytest.fixture(autouse=True)
def state(home: Path) -> Path:
    """A state folder of the test's own that is not there yet; the processes inherit it."""
    return platformdirs.user_state_path("mnist-bench", appauthor=False)


@contextmanager
def measuring(*, exclusive: bool = True, before: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process that measures between the first line it is given and the second."""
    program = _MEASURE.replace("EXCLUSIVE", str(exclusive)).replace("BEFORE", before)
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


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def alone(*, exclusive: bool = True) -> bool:
    """Whether a benchmark of this process would keep others away now."""
    with benchmark_lock(MACHINE, exclusive=exclusive, say=pytest.fail) as kept:
        return kept


# One after the other


def test_others_are_kept_away_and_nothing_is_left_behind(state: Path) -> None:
    assert running() == ()
    with benchmark_lock(MACHINE, exclusive=True, say=pytest.fail) as kept:
        assert kept
        (holder,) = running()
        assert holder.owner == process_identity.current_process(MACHINE)
    assert running() == ()
    assert not (state / "running.json").exists()
    assert alone()


def test_it_is_given_free_when_the_benchmark_breaks() -> None:
    with pytest.raises(KeyboardInterrupt), benchmark_lock(MACHINE, exclusive=True, say=pytest.fail):
        raise KeyboardInterrupt
    assert alone()


# Two at once


def test_a_second_one_is_refused_and_told_by_whom() -> None:
    with measuring() as first:
        go_on(first)
        assert answer(first) == "kept"
        with pytest.raises(BenchError) as refusal:
            alone()
        error = refusal.value
        (holder,) = running()
        assert error.exit_status == EXIT_WRONG_REQUEST
        assert f"(process {first.pid}, since " in error.message
        assert f"{holder}" in error.message
        assert "--no-exclusive" in error.hint
        go_on(first)
        assert first.wait(60) == 0
        assert alone()


def test_of_many_that_begin_at_once_one_measures() -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(measuring()) for _ in range(4)]
        for process in processes:
            go_on(process)
        assert sorted(map(answer, processes)) == ["kept", "refused", "refused", "refused"]


def test_between_a_look_and_its_entry_nobody_else_enters(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[str] = []
    keep = files.write_atomically

    def keep_later(path: Path, content: bytes) -> None:
        with measuring(before="exclusive._GUARD_SECONDS = 0") as hasty:
            go_on(hasty)
            answers.append(answer(hasty))
        keep(path, content)

    monkeypatch.setattr(files, "write_atomically", keep_later)
    assert alone()
    assert ["other benchmarks can't be kept away" in line for line in answers] == [True]


def test_one_that_was_killed_keeps_nobody_away() -> None:
    with measuring() as first:
        go_on(first)
        assert answer(first) == "kept"
        first.kill()
        first.wait(60)
        assert alone()


# Those who insist


def test_who_insists_measures_beside_and_is_known_by_it() -> None:
    with measuring() as first:
        go_on(first)
        assert answer(first) == "kept"
        assert alone(exclusive=False) is False
        assert [holder.owner.pid for holder in running()] == [first.pid]  # it still stands there


def test_who_insists_is_seen_by_those_who_do_not() -> None:
    with measuring(exclusive=False) as first:
        go_on(first)
        assert answer(first) == "beside"
        with pytest.raises(BenchError, match=f"process {first.pid},"):
            alone()


# Holders that are none


def entered(**changes: object) -> Holder:
    mine = process_identity.current_process(MACHINE).model_copy(update=changes)
    return Holder(owner=mine, began_at=1_700_000_000.0)


@pytest.mark.parametrize(
    "changes",
    [{"started_at": 1.0, "started_after_boot_seconds": 1.0}, {"boot_id": "another/world"}],
    ids=["pid given again", "before the system's start"],
)
def test_a_holder_that_is_gone_is_void(state: Path, changes: dict[str, object]) -> None:
    write(state, exclusive._HOLDERS.dump_json((entered(**changes),)))
    assert running() == ()
    assert alone()


@pytest.mark.parametrize("content", [b"", b"{", b'[{"owner": 1}]', b"\xff\xfe"])
def test_a_file_that_is_none_of_ours_is_void(state: Path, content: bytes) -> None:
    write(state, content)
    assert alone()


def write(state: Path, content: bytes) -> None:
    state.mkdir(parents=True)
    (state / "running.json").write_bytes(content)


# A state folder that can't be written


def refusing(error: Exception) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise error

    return refuse


def test_a_file_in_the_place_of_the_folder(state: Path) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text("not a folder", encoding="utf-8")
    said: list[str] = []
    with benchmark_lock(MACHINE, exclusive=True, say=said.append) as kept:
        assert not kept
    (line,) = said
    assert "other benchmarks can't be kept away" in line
    assert "not exclusive" in line


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "(Permission denied)"),
        (NotImplementedError("no locks here"), "(no locks here)"),
    ],
)
def test_a_folder_that_refuses(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    monkeypatch.setattr(exclusive, "FileLock", refusing(error))
    said: list[str] = []
    with benchmark_lock(MACHINE, exclusive=True, say=said.append) as kept:
        assert not kept
    assert words in said[0]


def test_a_folder_that_refuses_only_at_the_end(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with benchmark_lock(MACHINE, exclusive=True, say=pytest.fail) as kept:
        assert kept
        monkeypatch.setattr(exclusive, "FileLock", refusing(OSError(28, "No space left")))
