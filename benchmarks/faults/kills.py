"""Ends commands and their training processes by force, at moments drawn over their lives."""

from __future__ import annotations

import contextlib
import functools
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import fakes
import psutil
import witness
from invariants import Findings
from place import Place, Training, still_runs_when, worker_of
from program import Running
from witness import Witness

Victim = Literal["parent", "worker"]
Stage = Literal["start", "training", "closing"]

_LONG_SECONDS = 240.0
"""No stage of a short training lasts that long, on a busy machine either."""
_SEEDS = 200
"""More than a stand-in gets through before its parent is killed."""
_LINES = 36
"""No more than a stand-in worker says in one training of two rows."""


@dataclass(frozen=True)
class Moment:
    """When to strike.

    Attributes:
        stage: What must have begun.
        seconds: How long after that.
        signal_name: With what.
    """

    stage: Stage
    seconds: float
    signal_name: str


@dataclass(frozen=True)
class Spans:
    """Longest waits after the begin of a stage, in seconds.

    Attributes:
        start: After the process was started; it imports, and opens the store.
        training: After the first scoring was shown.
        closing: After a row's end was heard; of a parent, after the last row's.
    """

    start: float
    training: float
    closing: float

    def draw(self, chance: random.Random, signals: tuple[str, ...]) -> Moment:
        """A moment; most of them strike the training."""
        stages: tuple[Stage, ...] = ("start", "training", "closing")
        (stage,) = chance.choices(stages, (20, 55, 25))
        longest = {"start": self.start, "training": self.training, "closing": self.closing}
        return Moment(stage, chance.uniform(0, longest[stage]), chance.choice(signals))


SPANS: dict[tuple[Victim, str], Spans] = {
    ("parent", "real"): Spans(start=8.0, training=5.0, closing=1.5),
    ("parent", "stand-in"): Spans(start=5.0, training=1.5, closing=0.3),
    ("worker", "real"): Spans(start=5.0, training=5.0, closing=0.5),
}
SIGNALS: dict[Victim, tuple[str, ...]] = {
    "parent": ("SIGKILL", "SIGKILL", "SIGKILL", "SIGTERM", "SIGINT"),
    "worker": ("SIGKILL", "SIGKILL", "SIGKILL", "SIGTERM"),  # a worker leaves SIGINT to its parent
}
"""What is drawn from; the first is the rule."""


@dataclass(frozen=True)
class Batch:
    """Kills in one folder.

    Attributes:
        victim: Who is struck.
        training: What is trained.
        kills: How many strikes shall hit.
        chance: Seeds the draws.
        folder: Where; made here.
        signals: What is drawn from.
    """

    victim: Victim
    training: Training
    kills: int
    chance: int
    folder: Path
    signals: tuple[str, ...] = ("SIGKILL",)


@dataclass
class Struck:
    """What was done in a batch and what came of it.

    Attributes:
        hits: Strikes that found their victim alive, by stage and signal.
        late: Strikes that came after its end.
        findings: What was wrong after the next command.
    """

    hits: Counter[str] = field(default_factory=Counter)
    late: int = 0
    findings: Findings = field(default_factory=Findings)

    def count(self, moment: Moment, *, hit: bool) -> None:
        """Count a strike."""
        if hit:
            self.hits[f"{moment.stage}, {moment.signal_name}"] += 1
        else:
            self.late += 1


def carry_out(batch: Batch) -> Struck:
    """Strike as often as asked, then let the next command settle it all, and look."""
    place = Place(batch.folder, batch.training)
    place.first_command()
    struck = Struck()
    if batch.victim == "parent":
        _strike_parents(batch, place, struck)
    elif batch.training.workers == "real":
        _strike_workers(batch, place, struck)
    else:
        _let_stand_ins_die(batch, place, struck)
    struck.findings += place.settle_and_check()
    return struck


def _strike_parents(batch: Batch, place: Place, struck: Struck) -> None:
    chance = random.Random(batch.chance)  # noqa: S311  # moments are no secret
    spans = SPANS["parent", batch.training.workers]
    seeds = 1 if batch.training.workers == "real" else _SEEDS
    number = 0
    while struck.hits.total() < batch.kills:
        number += 1
        moment = spans.draw(chance, batch.signals)
        with place.started(*("--seeds", str(seeds), "--first-seed", str(number * _SEEDS))) as (
            running,
            noted,
        ):
            alive = wait_for(running, noted, moment, 0, len(batch.training.steps))
            place.orphans += running.family()
            hit = alive and strike(psutil.Process(running.process.pid), moment.signal_name)
            await_end(running, moment, struck)
        struck.count(moment, hit=hit)
        noted.testify(place.evidence, unfinished="KILLED")
        place.evidence.take_journals(place.folder)
        refuse_endless(struck, running)


def await_end(running: Running, moment: Moment, struck: Struck) -> None:
    """Wait for the end of a command that was told to end."""
    try:
        running.process.wait(_LONG_SECONDS)
    except subprocess.TimeoutExpired:
        words = f"a command that got {moment.signal_name} ({moment.stage}) goes on"
        struck.findings += Findings(left_over=(words,))


def _strike_workers(batch: Batch, place: Place, struck: Struck) -> None:
    chance = random.Random(batch.chance)  # noqa: S311
    spans = SPANS["worker", "real"]
    with place.started("--seeds", str(batch.kills), "--first-seed", str(batch.chance)) as (
        running,
        noted,
    ):
        for number in range(batch.kills):
            begun = functools.partial(_has, noted, number, "begun", 1)
            if not still_runs_when(running, begun, _LONG_SECONDS):
                break
            worker = worker_of(running)
            moment = spans.draw(chance, batch.signals)
            alive = wait_for(running, noted, moment, number, 1)
            struck.count(moment, hit=bool(alive and worker and strike(worker, moment.signal_name)))
        ended = running.ended(_LONG_SECONDS)
    noted.testify(place.evidence, unfinished="FAILED")
    struck.findings += _told(place, ended.document["runs"], ended.stderr)


def _let_stand_ins_die(batch: Batch, place: Place, struck: Struck) -> None:
    """One command whose training processes end themselves by SIGKILL, each at a line it draws."""
    deaths = batch.folder / "deaths"
    worker = witness.suicidal(fakes.worker(), _LINES, deaths)
    with place.started(
        *("--seeds", str(batch.kills), "--first-seed", str(batch.chance)), worker=worker
    ) as (running, noted):
        ended = running.ended(_LONG_SECONDS)
    struck.hits["drawn line, SIGKILL"] += len(deaths.read_bytes())
    struck.late += batch.kills - struck.hits.total()
    noted.testify(place.evidence, unfinished="FAILED")
    struck.findings += _told(place, ended.document["runs"], ended.stderr)


def _told(place: Place, runs: list[dict[str, object]], stderr: str) -> Findings:
    """What a command told of its runs against what was seen of them."""
    told = {(run["trajectory"], run["steps"]): str(run["status"]).upper() for run in runs}
    wrong = [
        f"{row} was told to be {told.get((row.trajectory, row.steps))}"
        for row, ends in place.evidence.ended.items()
        if (row.trajectory, row.steps) in told and told[row.trajectory, row.steps] not in ends
    ]
    if "Traceback" in stderr:
        wrong.append("the command ended in a traceback")
    return Findings(wrongly_ended=tuple(wrong))


def wait_for(running: Running, noted: Witness, moment: Moment, before: int, rows: int) -> bool:
    """Wait for the moment in the training after so many; False where the command ends before."""
    seen: dict[Stage, Callable[[], bool]] = {
        "start": lambda: True,
        "training": lambda: _has(noted, before, "scored", 1),
        "closing": lambda: _has(noted, before, "heard", rows),
    }
    alive = still_runs_when(running, seen[moment.stage], _LONG_SECONDS)
    if alive:
        time.sleep(moment.seconds)  # the drawn moment itself
    return running.process.poll() is None


def _has(noted: Witness, before: int, kind: str, times: int) -> bool:
    """Whether a kind was noted so often in the training after so many, or that is over already."""
    begun = found = 0
    for line in noted.lines():
        begun += line[0] == "begun"
        found += begun == before + 1 and line[0] == kind
    return begun > before + 1 or found >= times


def strike(process: psutil.Process, signal_name: str) -> bool:
    """Send it; whether it found somebody alive."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if signal_name == "SIGKILL":
            process.kill()  # Windows has its own word for it
        else:
            process.send_signal(getattr(signal, signal_name))
        return True
    return False


def refuse_endless(struck: Struck, running: Running) -> None:
    """Give up where strikes come too late again and again.

    Raises:
        RuntimeError: They do.
    """
    if struck.late > 10 + struck.hits.total():
        raise RuntimeError(f"the commands end before they are struck: {running.stderr()}")
