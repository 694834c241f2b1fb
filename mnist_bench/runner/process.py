"""The parent's end of a training process."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.core.records import Record
from mnist_bench.results import protocol
from mnist_bench.results.experiments import CLAIM_OF_KIND, Body
from mnist_bench.results.protocol import (
    ExperimentRequest,
    LayerMapsRequest,
    Message,
    ProbeResult,
    Request,
)
from mnist_bench.scenarios.execution import Execution

# -P: a file of the user's called numpy.py must not shadow the library.
COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "mnist_bench.worker")
"""What starts a worker."""
PROBE: tuple[str, ...] = (sys.executable, "-P", "-m", "mnist_bench.worker.probe")
"""What finds out what TensorFlow can do here."""
LAYER_MAPS: tuple[str, ...] = (sys.executable, "-P", "-m", "mnist_bench.worker.layer_maps")
"""What looks through layers at an image."""
EXPERIMENT: tuple[str, ...] = (sys.executable, "-P", "-m", "mnist_bench.worker.run_experiment")
"""What measures for a claim of the paper."""
_BODY: TypeAdapter[Body] = TypeAdapter(Body)
_END_SECONDS = 30.0
"""How long a worker that has said its last word may take to end."""
_LOG_TAIL_LINES = 15


class WorkerProcess:
    """One fresh worker: started at once, ended with the `with` block whatever happens.

    Args:
        request: What it shall train; it begins to import TensorFlow at once and waits for `go`.
        log: File for all that it prints beside its messages.
    """

    def __init__(self, request: Request, log: Path) -> None:
        self._log = log
        self._failure: str | None = None
        self._done = False
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("pipes were asked for and none were made")
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._write(request.model_dump_json())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The system's number of the process."""
        return self._process.pid

    def go(self) -> None:
        """Let it trace and train."""
        self._write(protocol.GO)

    def messages(self) -> Iterator[Message]:
        """What it says, as it says it, up to its last word or its end."""
        for line in self._stdout:
            try:
                message = protocol.parse(line)
            except ValueError:
                self._failure = f"the training process said what is no message: {line[:200]!r}"
                self.kill()
                return
            if isinstance(message, protocol.Failure):
                self._failure = message.reason
            self._done = isinstance(message, protocol.Done)
            yield message
            if self._done:
                return

    def end(self) -> str | None:
        """Wait for its end; why it failed, None where it did not."""
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.returncode
        if self._done:
            return None
        return self._failure or _death(code)

    def kill(self) -> None:
        """End it now, if it is still there."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                stream.close()

    def log_tail(self) -> str:
        """The last lines of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    def _write(self, line: str) -> None:
        # A worker that is gone is noticed where its messages end.
        with contextlib.suppress(OSError):
            self._stdin.write(line.encode() + b"\n")
            self._stdin.flush()


def probe(execution: Execution) -> ProbeResult:
    """Find out, in a process of its own, which GPUs there are and what bfloat16 is worth.

    Args:
        execution: What is in question; where it is float32, nothing is measured.

    Raises:
        BenchError: It can't be found out.
    """
    advice = "leave out --device and --precision, which ask for it"
    told = _answered(PROBE, execution, "what TensorFlow can do here", advice)
    try:
        return ProbeResult.model_validate_json(_last_line(told))
    except ValidationError as error:
        raise _unknown("what TensorFlow can do here", _last_words(told), advice) from error


def compute_layer_maps(question: LayerMapsRequest) -> None:
    """Look through layers at an image, in a process of its own.

    Raises:
        BenchError: That did not come to its end.
    """
    _answered(LAYER_MAPS, question, f"what layers make of image {question.image}", "try again")


def run_experiment(question: ExperimentRequest) -> Body:
    """Measure what a claim of the paper needs, in a process of its own.

    Raises:
        BenchError: That did not come to its end.
    """
    what, advice = f"what claim {question.claim} needs", "try again"
    told = _answered(EXPERIMENT, question, what, advice)
    try:
        body = _BODY.validate_json(_last_line(told))
    except ValidationError as error:
        raise _unknown(what, _last_words(told), advice) from error
    if CLAIM_OF_KIND[body.kind] != question.claim:
        raise _unknown(what, f"it measured {body.kind}", advice)
    return body


def _answered(
    command: tuple[str, ...], question: Record, what: str, advice: str
) -> subprocess.CompletedProcess[bytes]:
    """A process that was told a question and has answered it."""
    asked = question.model_dump_json().encode()
    try:
        done = subprocess.run(command, input=asked, capture_output=True, check=False)
    except OSError as error:
        raise _unknown(what, str(error), advice) from error
    if done.returncode:
        raise _unknown(what, _last_words(done), advice)
    return done


def _last_line(done: subprocess.CompletedProcess[bytes]) -> bytes:
    """The answer: whatever libraries print comes before."""
    return done.stdout.rstrip().rpartition(b"\n")[2]


def _last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else _death(done.returncode)


def _unknown(what: str, reason: str, advice: str) -> BenchError:
    return BenchError(f"{what} could not be found out: {reason}", advice, exit_status=EXIT_BROKE)


def _death(code: int) -> str:
    """An exit status as words."""
    if code >= 0:
        return f"the training process ended early with exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    remedy = " (out of memory, perhaps)" if name == "SIGKILL" else ""
    return f"the training process was ended by {name}{remedy}"
