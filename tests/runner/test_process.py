"""Worker processes as their parent sees them, with fake workers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from factories import SOURCE

from mnist_bench.measurement.conditions import Surroundings
from mnist_bench.results.protocol import CalibrationMessage, Done, Failure, Ready, Request
from mnist_bench.runner import process
from mnist_bench.runner.process import WorkerProcess
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.scenarios.scenario import Grid

REQUEST = Request(
    model="paper-cnn",
    hyperparameters=PaperCnnHyperparameters(),
    training_seed=3,
    step_counts=(1_000, 2_500),
    grid=Grid(first=1, every=100),
    source=SOURCE,
    execution=Execution(threads=2),
    folder="nowhere",
    started_at=1_800_000_000.0,
)
CALIBRATION = CalibrationMessage(step=0, seconds=0.25, surroundings=Surroundings())
READY, DONE = '{"kind": "ready"}', '{"kind": "done"}'
FAILURE = '{"kind": "failure", "reason": "no images"}'
READ_REQUEST = "import os, signal, sys, threading\nsys.stdin.readline()\n"
"""Start of every fake worker: it reads its request."""

Start = Callable[[str], WorkerProcess]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts Python code instead of the worker."""

    def starter(code: str) -> WorkerProcess:
        monkeypatch.setattr(process, "COMMAND", (sys.executable, "-c", READ_REQUEST + code))
        return WorkerProcess(REQUEST, tmp_path / "worker.log")

    return starter


def is_gone(worker: WorkerProcess) -> bool:
    return worker._process.poll() is not None


def test_the_worker_ignores_modules_in_the_working_directory() -> None:
    assert (sys.executable, "-P", "-m", "mnist_bench.worker") == process.COMMAND


def test_a_conversation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"""
import sys
print(sys.stdin.readline(), file=sys.stderr, end="")
print('{READY}', flush=True)
assert sys.stdin.readline().strip() == "go"
print('{{"kind": "calibration", "step": 0, "seconds": 0.25, "surroundings": {{}}}}')
print('{DONE}')
"""
    monkeypatch.setattr(process, "COMMAND", (sys.executable, "-c", code))
    log = tmp_path / "worker.log"
    with WorkerProcess(REQUEST, log) as worker:
        messages = worker.messages()
        assert next(messages) == Ready()
        worker.go()
        assert list(messages) == [CALIBRATION, Done()]
        assert worker.end() is None
    assert Request.model_validate_json(log.read_text(encoding="utf-8")) == REQUEST


# The end

ENDED = "the training process "


def lines_of(*lines: str) -> str:
    """Code of a worker that prints these lines, encoded in Latin-1."""
    return f"for line in {lines!a}: sys.stdout.buffer.write(line.encode('latin-1') + b'\\n')"


def unexpected(line: bytes) -> str:
    return f"{ENDED}wrote an unexpected line: {line!r}"


@pytest.mark.parametrize(
    ("code", "messages", "end", "log"),
    [
        (f"print('noise', file=sys.stderr)\nprint('{DONE}')", [Done()], None, "noise"),
        # An early end is a failure whatever its status.
        (f"print('{READY}')\nsys.exit(3)", [Ready()], f"{ENDED}ended early with exit status 3", ""),
        (f"print('{READY}')\nsys.exit(0)", [Ready()], f"{ENDED}ended early with exit status 0", ""),
        # A reported failure has precedence over the status.
        (f"print('{FAILURE}')\nsys.exit(1)", [Failure(reason="no images")], "no images", ""),
        ("raise ImportError('no\\nlibrary')", [], f"{ENDED}ended early: library", ""),
        (
            "print('noise', file=sys.stderr)\nimport nothing_of_that_name",
            [],
            f"{ENDED}ended early: ModuleNotFoundError: No module named 'nothing_of_that_name'",
            "noise",
        ),
        (lines_of(READY, "Fault", DONE), [Ready()], unexpected(b"Fault\n"), ""),
        (lines_of(READY, "{}", DONE), [Ready()], unexpected(b"{}\n"), ""),
        (lines_of(READY, '{"kind": "song"}'), [Ready()], unexpected(b'{"kind": "song"}\n'), ""),
        (lines_of("\xff", DONE), [], unexpected(b"\xff\n"), ""),
        (lines_of("x" * 100_000), [], unexpected(b"x" * 200), ""),
        (
            "for number in range(40): sys.stderr.buffer.write(b'line %d \\xff\\n' % number)",
            [],
            f"{ENDED}ended early with exit status 0",
            "\n".join(f"line {number} \N{REPLACEMENT CHARACTER}" for number in range(25, 40)),
        ),
    ],
)
def test_end(start: Start, code: str, messages: list[object], end: str | None, log: str) -> None:
    with start(code) as worker:
        assert list(worker.messages()) == messages
        assert worker.end() == end
        assert worker.log_tail() == log


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize(
    ("name", "words"), [("SIGKILL", "SIGKILL (out of memory, perhaps)"), ("SIGTERM", "SIGTERM")]
)
def test_a_signal_is_named(start: Start, name: str, words: str) -> None:
    with start(f"os.kill(os.getpid(), signal.{name})") as worker:
        assert list(worker.messages()) == []
        assert worker.end() == f"{ENDED}was ended by {words}"


def test_a_signal_without_a_name_is_numbered() -> None:
    assert process._exit_text(-99) == "the training process was ended by signal 99"


@pytest.mark.parametrize(
    ("code", "messages", "end"),
    [
        (f"print('{DONE}', flush=True)\nos.close(1)\n", [Done()], None),
        ("print('nonsense', flush=True)\n", [], unexpected(b"nonsense\n")),
    ],
)
def test_a_worker_that_does_not_exit_is_killed(
    start: Start, monkeypatch: pytest.MonkeyPatch, code: str, messages: list[object],
    end: str | None,
) -> None:  # fmt: skip
    monkeypatch.setattr(process, "_END_SECONDS", 0.1)
    with start(f"{code}threading.Event().wait()") as worker:
        assert list(worker.messages()) == messages
        assert worker.end() == end
        assert is_gone(worker)


# Killing it

IGNORING_SIGNALS = f"""
for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
print('{READY}', flush=True)
threading.Event().wait()
"""


def test_the_with_block_kills_a_process_that_ignores_signals(start: Start) -> None:
    with pytest.raises(KeyboardInterrupt), start(IGNORING_SIGNALS) as worker:
        assert next(worker.messages()) == Ready()
        raise KeyboardInterrupt
    assert is_gone(worker)
    assert worker._stdin.closed
    assert worker._stdout.closed
    worker.kill()  # a second kill does nothing


def test_go_after_the_worker_has_exited(start: Start) -> None:
    with start("sys.exit(3)") as worker:
        assert list(worker.messages()) == []
        assert worker._process.wait(30) == 3
        worker.go()
        assert worker.end() == "the training process ended early with exit status 3"


def test_a_request_that_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    popen = subprocess.Popen

    def start_and_wait(*args, **kwargs) -> subprocess.Popen[bytes]:
        started = popen(*args, **kwargs)
        started.wait(30)  # it has exited before its request is written
        return started

    monkeypatch.setattr(process.subprocess, "Popen", start_and_wait)
    monkeypatch.setattr(process, "COMMAND", (sys.executable, "-c", "raise SystemExit(4)"))
    with WorkerProcess(REQUEST, tmp_path / "worker.log") as worker:
        worker.go()
        assert list(worker.messages()) == []
        assert worker.end() == "the training process ended early with exit status 4"
