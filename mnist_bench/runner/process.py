"""Worker processes as their parent sees them: started, read, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from mnist_bench.core import files
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
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
from mnist_bench.runner import environment
from mnist_bench.scenarios.execution import Execution

# -P: a file numpy.py in the working directory must not shadow the library.
COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "mnist_bench.worker")
"""Command line of a training worker."""
PROBE: tuple[str, ...] = (*COMMAND, "probe")
"""Command line of the probe for GPUs."""
LAYER_MAPS: tuple[str, ...] = (*COMMAND, "layer-maps")
"""Command line of the layer maps of an image."""
EXPERIMENT: tuple[str, ...] = (*COMMAND, "experiment")
"""Command line of an experiment for a claim."""
_Answer = TypeVar("_Answer")
_BODY: TypeAdapter[Body] = TypeAdapter(Body)
_END_SECONDS = 30.0
"""How long a worker may take to exit after its last message."""
_LOG_TAIL_LINES = 15
_LOG_TAIL_BYTES = 2**16
_TRACEBACK = "Traceback (most recent call last):"


class WorkerProcess:
    """One worker process: started by the constructor, killed at the end of the `with` block.

    Args:
        request: What to train. The worker imports TensorFlow at once and then waits for `go`.
        log: File for its standard error.
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
                env=environment.for_worker(
                    os.environ,
                    request.execution,
                    with_numpy=request.hyperparameters.is_fitted_at_once,
                ),
            )
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("Popen made no pipes")
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._write(request.model_dump_json())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def go(self) -> None:
        """Let the worker trace and train."""
        self._write(protocol.GO)

    def messages(self) -> Iterator[Message]:
        """Its messages as they arrive, until the last one or its end."""
        for line in self._stdout:
            try:
                message = protocol.parse(line)
            except ValueError:
                self._failure = f"the training process wrote an unexpected line: {line[:200]!r}"
                self.kill()
                return
            if isinstance(message, protocol.Failure):
                self._failure = message.reason
            self._done = isinstance(message, protocol.Done)
            yield message
            if self._done:
                return

    def end(self) -> str | None:
        """Wait for its end. Returns why it failed, None if it did not."""
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.returncode
        if self._done:
            return None
        return self._failure or self._last_words() or _exit_text(code)

    def _last_words(self) -> str | None:
        """The error that ended it before it could tell, such as that a library does not load."""
        _, traceback, lines = self._log_lines().rpartition(_TRACEBACK)
        last = lines.strip().rpartition("\n")[2]
        return f"the training process ended early: {last[:500]}" if traceback and last else None

    def stop(self) -> None:
        """Kill it from any thread; `messages` then ends."""
        self._process.kill()

    def kill(self) -> None:
        """Kill it if it is still running, and wait for its end."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                stream.close()

    def log_tail(self) -> str:
        """The last lines of its log, up to the traceback of what `end` tells."""
        return "\n".join(self._log_lines().partition(_TRACEBACK)[0].splitlines()[-_LOG_TAIL_LINES:])

    def _log_lines(self) -> str:
        with contextlib.suppress(OSError), files.open_regular(self._log) as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _LOG_TAIL_BYTES))
            return log.read().decode(errors="replace")
        return ""

    def _write(self, line: str) -> None:
        # `messages` notices a worker that has exited.
        with contextlib.suppress(OSError):
            self._stdin.write(line.encode() + b"\n")
            self._stdin.flush()


def probe(execution: Execution) -> ProbeResult:
    """Find the GPUs in a separate process.

    Raises:
        BenchError: The probe failed.
    """
    subject, advice = "what TensorFlow supports here", "leave out --device"
    return _ask(
        PROBE, execution, subject, advice, ProbeResult.model_validate_json, execution=execution
    )


def compute_layer_maps(request: LayerMapsRequest) -> None:
    """Compute the layer maps of an image in a separate process.

    Raises:
        BenchError: The process failed.
    """
    subject = f"the layer maps of image {request.image}"
    _ask(LAYER_MAPS, request, subject, "try again", lambda _: None, execution=request.execution)


def run_experiment(request: ExperimentRequest) -> Body:
    """Run the experiment of a claim in a separate process.

    Raises:
        BenchError: The process failed.
    """
    subject, advice = f"the experiment of claim {request.claim}", "try again"
    body = _ask(
        EXPERIMENT, request, subject, advice, _BODY.validate_json, execution=request.execution
    )
    if CLAIM_OF_KIND[body.kind] != request.claim:
        raise _worker_error(subject, f"it measured {body.kind}", advice)
    return body


def _ask(
    command: tuple[str, ...],
    request: Record,
    subject: str,
    advice: str,
    parse: Callable[[bytes], _Answer],
    *,
    execution: Execution,
) -> _Answer:
    """Run a worker that reads one request and prints one result."""
    line = request.model_dump_json().encode()
    try:
        done = subprocess.run(
            command,
            input=line,
            capture_output=True,
            check=False,
            env=environment.for_worker(os.environ, execution),
        )
    except OSError as error:
        raise _worker_error(subject, str(error), advice) from error
    if not done.returncode:
        with contextlib.suppress(ValidationError):
            return parse(done.stdout.rstrip().rpartition(b"\n")[2])  # libraries print before it
    errors = done.stderr.decode(errors="replace").strip().splitlines()
    raise _worker_error(subject, errors[-1] if errors else _exit_text(done.returncode), advice)


def _worker_error(subject: str, reason: str, advice: str) -> BenchError:
    return BenchError(f"can't determine {subject}: {reason}", advice, exit_status=EXIT_FAILURE)


def _exit_text(code: int) -> str:
    """Describe the exit status of a worker that ended early."""
    if code >= 0:
        return f"the training process ended early with exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    cause = " (out of memory, perhaps)" if name == "SIGKILL" else ""
    return f"the training process was ended by {name}{cause}"
