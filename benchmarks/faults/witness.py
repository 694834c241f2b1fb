"""Records what a program receives and shows, from inside the program.

The spools can't prove that nothing else was shown. So the program is started with some code that
writes everything it receives and shows to a file, unbuffered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invariants import Expected

_RECORDER = """
import json, os, threading
from mnist_bench.runner import process
from mnist_bench.runner import progress

_file = os.open({path!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def _note(*words):
    # Each training is followed by one thread.
    os.write(_file, (json.dumps([threading.get_ident(), *words]) + "\\n").encode())

def _record_calls(name, words):
    method = getattr(progress.ProgressWatcher, name)
    def recorded(self, first, *others, **named):
        answer = method(self, first, *others, **named)
        _note(name, *words(first))
        return answer
    setattr(progress.ProgressWatcher, name, recorded)

_record_calls("begun", lambda job: [job.id, list(job.step_counts)])
_record_calls("scored", lambda evaluation: [evaluation.model_dump(mode="json")])
_messages = process.WorkerProcess.messages

def _recorded_messages(self):
    for message in _messages(self):
        steps = [message.steps] if message.kind == "row" else []
        if steps:
            _note("received", *steps)
        yield message
        if steps:
            _note("handled", *steps)  # the caller asks for the next message

process.WorkerProcess.messages = _recorded_messages
"""

# Prepended to the fake worker: it kills itself after a random number of lines, or within the next.
_SELF_KILLING = """
import os as _os, random as _random, sys as _sys

_lines = 0
_deaths = _os.open({path!r}, _os.O_WRONLY | _os.O_CREAT | _os.O_APPEND)

def print(text, *, file=None, flush=True):
    global _lines
    if file is not None:
        file.write(text + "\\n")
        return
    rng = _random.Random(request["training_seed"])
    due, torn = rng.randrange({lines}), rng.random() < 0.5
    line = (text + "\\n").encode()
    if _lines == due and torn:
        _os.write(1, line[: len(line) // 2])
    if _lines == due:
        _os.write(_deaths, b"x")
        _os.kill(_os.getpid(), 9)
    _os.write(1, line)
    _lines += 1
"""


def before(path: Path, worker: tuple[str, ...] | None) -> str:
    """Python code that makes the program record.

    Args:
        path: File of the recording.
        worker: Command of a fake worker; None for the real one.
    """
    fake = f"process.COMMAND = {worker!r}\n" if worker else ""
    return _RECORDER.format(path=str(path)) + fake


def self_killing_worker(worker: tuple[str, ...], lines: int, deaths: Path) -> tuple[str, ...]:
    """Command of a fake worker that kills itself at a random line, chosen by the training seed.

    Args:
        worker: Command whose last argument is Python code.
        lines: Upper limit of the line number; a worker with fewer lines ends normally.
        deaths: File that grows by one byte with every death.
    """
    *command, text = worker
    return (*command, _SELF_KILLING.format(path=str(deaths), lines=lines) + text)


@dataclass(frozen=True)
class Recording:
    """The file that a recording program writes."""

    path: Path

    def lines(self) -> list[list[Any]]:
        """Complete lines, without the thread that wrote them."""
        return [words for _, *words in self._by_thread()]

    def _by_thread(self) -> list[list[Any]]:
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_bytes().split(b"\n")[:-1]]

    def count(self, kind: str) -> int:
        """Number of lines of one kind."""
        return sum(line[0] == kind for line in self.lines())

    def add_to(self, expected: Expected, *unfinished: str) -> None:
        """Add the recording to what is expected; unfinished runs get a status of `unfinished`."""
        for trajectory, (kind, *words) in self._by_training():
            match kind:
                case "begun":
                    expected.add_training(trajectory, tuple(words[1]), *unfinished)
                case "scored":
                    expected.add_evaluation(trajectory, words[0])
                case "received":
                    # A killed command may have died before it handled the message.
                    certain = "KILLED" not in unfinished
                    expected.add_end(trajectory, words[0], certain=certain)
                case "handled":
                    expected.add_end(trajectory, words[0])

    def _by_training(self) -> Iterator[tuple[str, list[Any]]]:
        trajectories: dict[int, str] = {}
        for thread, *line in self._by_thread():
            if line[0] == "begun":
                trajectories[thread] = line[1]
            if thread in trajectories:
                yield trajectories[thread], line
