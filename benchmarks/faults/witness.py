"""A witness inside the program: notes what the user is shown at the moment that it is shown.

The suite's own journal can't tell whether something was shown that it does not hold. So the program
is started with a few lines before it that write, past all its buffers, what it hears and shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invariants import Evidence

_BEFORE = """
import json, os
from mnist_bench.runner import process
from mnist_bench.runner import progress

_file = os.open({path!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def _note(*words):
    os.write(_file, (json.dumps(words) + "\\n").encode())

def _witnessed(name, words):
    shown = getattr(progress.ProgressWatcher, name)
    def noted(self, first, *others, **named):
        answer = shown(self, first, *others, **named)
        _note(name, *words(first))
        return answer
    setattr(progress.ProgressWatcher, name, noted)

_witnessed("begun", lambda trajectory: [trajectory.id, list(trajectory.rows)])
_witnessed("scored", lambda evaluation: [evaluation.model_dump(mode="json")])
_messages = process.WorkerProcess.messages

def _listened(self):
    for message in _messages(self):
        steps = [message.steps] if message.kind == "row" else []
        if steps:
            _note("heard", *steps)
        yield message
        if steps:
            _note("taken", *steps)  # who listens has come back for more

process.WorkerProcess.messages = _listened
"""

# In front of the stand-in worker: it ends itself, as the system's SIGKILL would, after so many
# lines, or amid the next.
_SUICIDAL = """
import os as _os, random as _random, sys as _sys

_lines = 0
_said = _os.open({path!r}, _os.O_WRONLY | _os.O_CREAT | _os.O_APPEND)

def print(text, *, file=None, flush=True):
    global _lines
    if file is not None:
        file.write(text + "\\n")
        return
    chance = _random.Random(request["training_seed"])
    due, torn = chance.randrange({lines}), chance.random() < 0.5
    line = (text + "\\n").encode()
    if _lines == due and torn:
        _os.write(1, line[: len(line) // 2])
    if _lines == due:
        _os.write(_said, b"x")
        _os.kill(_os.getpid(), 9)
    _os.write(1, line)
    _lines += 1
"""


def before(path: Path, worker: tuple[str, ...] | None) -> str:
    """Python that puts the witness into the program.

    Args:
        path: Where it writes.
        worker: The command of another training process, if it shall not be the real one.
    """
    stand_in = f"process.COMMAND = {worker!r}\n" if worker else ""
    return _BEFORE.format(path=str(path)) + stand_in


def suicidal(worker: tuple[str, ...], lines: int, said: Path) -> tuple[str, ...]:
    """A stand-in worker that ends by SIGKILL at a line that its training's seed draws.

    Args:
        worker: Its command, a Python program as text in the end.
        lines: What it draws below; one that has less to say comes to its end.
        said: File that grows by a byte with every such death.
    """
    *command, text = worker
    return (*command, _SUICIDAL.format(path=str(said), lines=lines) + text)


@dataclass(frozen=True)
class Witness:
    """What the witness has written.

    Attributes:
        path: Where.
    """

    path: Path

    def lines(self) -> list[list[Any]]:
        """All that is written to its end."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_bytes().split(b"\n")[:-1]]

    def count(self, kind: str) -> int:
        """How many lines there are of one kind."""
        return sum(line[0] == kind for line in self.lines())

    def testify(self, evidence: Evidence, unfinished: str) -> None:
        """Count in what was shown; rows that did not come to their end, ended `unfinished`."""
        for trajectory, (kind, *words) in self._by_trajectory():
            match kind:
                case "begun":
                    evidence.begun(trajectory, tuple(words[1]), unfinished)
                case "scored":
                    evidence.scored(trajectory, words[0])
                case "heard":
                    # Only who is killed himself may have had no time to take it to heart.
                    surely = unfinished == "FAILED"
                    evidence.came_to_its_end(trajectory, words[0], surely=surely)
                case "taken":
                    evidence.came_to_its_end(trajectory, words[0])

    def _by_trajectory(self) -> Iterator[tuple[str, list[Any]]]:
        trajectory = ""
        for line in self.lines():
            trajectory = line[1] if line[0] == "begun" else trajectory
            if trajectory:
                yield trajectory, line
