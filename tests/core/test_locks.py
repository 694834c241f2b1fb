"""The benchmark lock, with real processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import platformdirs
import pytest

from mnist_bench.core import files, locks, process_identity
from mnist_bench.core.errors import EXIT_USAGE, BenchError
from mnist_bench.core.locks import Holder, benchmark_lock, running

MACHINE = "0123456789abcdef"

_PROGRAM = f"""
import sys
from mnist_bench.core import locks
BEFORE
from mnist_bench.core.errors import BenchError
from mnist_bench.core.locks import benchmark_lock
sys.stdin.readline()
try:
    with benchmark_lock({MACHINE!r}, exclusive=EXCLUSIVE, warn=print) as is_exclusive:
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
    with benchmark_lock(MACHINE, exclusive=exclusive, warn=pytest.fail) as is_exclusive:
        return is_exclusive


# One process


def test_lock_is_exclusive_and_leaves_no_file(state: Path) -> None:
    assert running() == ()
    with benchmark_lock(MACHINE, exclusive=True, warn=pytest.fail) as is_exclusive:
        assert is_exclusive
        (holder,) = running()
        assert holder.owner == process_identity.current_process(MACHINE)
    assert running() == ()
    assert not (state / "running.json").exists()
    assert is_alone()


def test_lock_is_released_after_an_exception() -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        benchmark_lock(MACHINE, exclusive=True, warn=pytest.fail),
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
    write_atomically = files.write_atomically

    def write_later(path: Path, content: bytes) -> None:
        with benchmark_process(before="locks._GUARD_SECONDS = 0") as impatient:
            send_line(impatient)
            answers.append(read_line(impatient))
        write_atomically(path, content)

    monkeypatch.setattr(files, "write_atomically", write_later)
    assert is_alone()
    assert ["can't lock out other benchmarks" in line for line in answers] == [True]


def test_killed_benchmark_releases_the_lock() -> None:
    with benchmark_process() as first:
        send_line(first)
        assert read_line(first) == "exclusive"
        first.kill()
        first.wait(60)
        assert is_alone()


# Without exclusive access


def test_non_exclusive_benchmark_runs_concurrently() -> None:
    with benchmark_process() as first:
        send_line(first)
        assert read_line(first) == "exclusive"
        assert is_alone(exclusive=False) is False
        assert [holder.owner.pid for holder in running()] == [first.pid]


def test_non_exclusive_benchmark_blocks_exclusive_ones() -> None:
    with benchmark_process(exclusive=False) as first:
        send_line(first)
        assert read_line(first) == "shared"
        with pytest.raises(BenchError, match=f"process {first.pid},"):
            is_alone()


# Invalid entries


def holder_of_this_process(**changes: object) -> Holder:
    mine = process_identity.current_process(MACHINE).model_copy(update=changes)
    return Holder(owner=mine, began_at=1_700_000_000.0)


@pytest.mark.parametrize(
    "changes",
    [{"started_at": 1.0, "started_after_boot_seconds": 1.0}, {"boot_id": "another/world"}],
    ids=["reused pid", "before the last boot"],
)
def test_entry_of_a_gone_process_is_ignored(state: Path, changes: dict[str, object]) -> None:
    write(state, locks._HOLDERS.dump_json((holder_of_this_process(**changes),)))
    assert running() == ()
    assert is_alone()


@pytest.mark.parametrize("content", [b"", b"{", b'[{"owner": 1}]', b"\xff\xfe"])
def test_invalid_file_is_ignored(state: Path, content: bytes) -> None:
    write(state, content)
    assert is_alone()


def write(state: Path, content: bytes) -> None:
    state.mkdir(parents=True)
    (state / "running.json").write_bytes(content)


# An unusable state folder


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_file_in_place_of_the_folder(state: Path) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text("not a folder", encoding="utf-8")
    warnings: list[str] = []
    with benchmark_lock(MACHINE, exclusive=True, warn=warnings.append) as is_exclusive:
        assert not is_exclusive
    (line,) = warnings
    assert "can't lock out other benchmarks" in line
    assert "not exclusive" in line


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "(Permission denied)"),
        (NotImplementedError("no locks here"), "(no locks here)"),
    ],
)
def test_unusable_folder(monkeypatch: pytest.MonkeyPatch, error: Exception, words: str) -> None:
    monkeypatch.setattr(locks, "FileLock", failing(error))
    warnings: list[str] = []
    with benchmark_lock(MACHINE, exclusive=True, warn=warnings.append) as is_exclusive:
        assert not is_exclusive
    assert words in warnings[0]


def test_unusable_folder_at_release(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with benchmark_lock(MACHINE, exclusive=True, warn=pytest.fail) as is_exclusive:
        assert is_exclusive
        monkeypatch.setattr(locks, "FileLock", failing(OSError(28, "No space left")))
