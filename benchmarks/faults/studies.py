"""Ends studies by force, again and again, and goes on with each; counts trials lost or doubled."""

from __future__ import annotations

import contextlib
import functools
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import fakes
import psutil
import witness
from invariants import Evidence, Findings, check
from kills import Moment, Spans, Struck, await_end, refuse_endless, strike, wait_for
from place import still_runs_when
from program import Bench, Running, altered, is_alive
from study_invariants import COUNTED, check_study, children, kept_trials
from witness import Witness

from mnist_bench.scenarios.scenario import Grid

StudyVictim = Literal["command", "crew", "member"]
Workers = Literal["real", "stand-in"]

NAME = "drill"
_EVERY = 5
_SPACE = """
title = "Tried to be ended by force"
model = "paper-cnn"
dataset = {dataset!r}
steps = 100
eval_every = 5

[parameters]
learning_rate = {{ low = 0.0001, high = 0.1, log = true }}
batch_size = {{ low = 10, high = 100 }}
"""
_MANY = 100_000
"""Trials: more than there is time for before the strike."""
_OPEN = ("RUNNING", "WAITING")
_MORE = 2
"""Trials of the command that comes to its end."""
_LONG_SECONDS = 600.0
_CROWD_SECONDS = 15.0
"""Two processes have begun trials by then."""

# After the witness: what a study was told of its trials, once that was written.
_TOLD = """
from mnist_bench.tuning import study

def _heard(name, state):
    tell = getattr(study.Study, name)
    def noted(self, number, *others):
        answer = tell(self, number, *others)
        _note("told", number, state, others[0][0] if state == "COMPLETE" else None)
        return answer
    setattr(study.Study, name, noted)

_heard("finished", "COMPLETE")
_heard("pruned", "PRUNED")
"""
_MEMBER = "\nimport sys\nfrom mnist_bench.tuning.parallel import main\nsys.exit(main())\n"

SPANS: dict[Workers, Spans] = {
    "real": Spans(start=15.0, training=6.0, closing=1.5),
    "stand-in": Spans(start=8.0, training=3.0, closing=0.5),
}


@dataclass(frozen=True)
class StudyBatch:
    """Kills of one study.

    Attributes:
        victim: The command; that of two processes that train its trials; or one of these.
        workers: Real training processes, or some that pretend.
        kills: How many strikes shall hit.
        chance: Seeds the draws.
        folder: Where; made here.
        images: Folder with MNIST's files; None for the embedded sample.
        signals: What is drawn from.
    """

    victim: StudyVictim
    workers: Workers
    kills: int
    chance: int
    folder: Path
    images: Path | None = None
    signals: tuple[str, ...] = ("SIGKILL",)


class StudyPlace:
    """A user's folder with a study, and a witness in each of its commands.

    Args:
        batch: What is to be done in it.
    """

    def __init__(self, batch: StudyBatch) -> None:
        batch.folder.mkdir(parents=True, exist_ok=True)
        self.bench = Bench(batch.folder)
        self.evidence = Evidence(Grid(first=_EVERY, every=_EVERY))
        self.told: dict[int, tuple[str, float | None]] = {}
        self.orphans: list[psutil.Process] = []
        self._images, self._crowd = batch.images, batch.victim != "command"
        self._worker = fakes.trial_worker("pass") if batch.workers == "stand-in" else None
        self._witnesses = 0
        space = _SPACE.format(dataset="auto" if batch.images else "mnist-5k")
        (self.bench.folder / "drill.toml").write_text(space, encoding="utf-8", newline="\n")

    @contextlib.contextmanager
    def started(self, *arguments: str) -> Iterator[tuple[Running, Witness]]:
        """A command that works on the study.

        Args:
            arguments: Of the command, beside the usual ones.
        """
        self._witnesses += 1
        noted = Witness(self.bench.home / f"{self._witnesses}.witness")
        watched = witness.before(noted.path, self._worker) + _TOLD
        member = (sys.executable, "-c", watched + _MEMBER)
        crew = f"from mnist_bench.tuning import parallel as crew\ncrew.COMMAND = {member!r}\n"
        images = ("--data", str(self._images)) if self._images else ()
        with self.bench.started(
            *("tune", "--space", "drill.toml", "--study", NAME, "--confirm", "0", "--json"),
            *(*images, *arguments),
            program=altered(watched + (crew if self._crowd else "")),
        ) as running:
            yield running, noted

    def take(self, noted: Witness) -> None:
        """Count in what a command showed, and what it told the study."""
        noted.testify(self.evidence, unfinished="KILLED")
        for kind, *words in noted.lines():
            if kind == "told":
                number, state, value = words
                self.told[number] = (state, value)

    def whole_command(self, *arguments: str) -> None:
        """One that comes to its end.

        Raises:
            RuntimeError: It does not; nothing can be said of what it left.
        """
        with self.started(*arguments) as (running, noted):
            ended = running.ended(_LONG_SECONDS)
        self.take(noted)
        if ended.status != 0:
            raise RuntimeError(f"the next command ended with {ended.status}: {ended.stderr}")

    def settle_and_check(self) -> Findings:
        """Let another command go on with the study, then look whether all is as it must be."""
        folder = self.bench.folder
        self.evidence.take_journals(folder)
        counted = sum(trial.state in COUNTED for trial in kept_trials(folder, NAME))
        left = sum(trial.state in _OPEN for trial in kept_trials(folder, NAME))
        # Those that were left count at once or are tried again, those that wait are trained.
        asked = str(counted + left + _MORE)
        self.whole_command("--resume", "--trials", asked)
        database = folder / "mlflow.db"
        found = check(self.evidence, folder, database)
        found += check_study(
            self.told, kept_trials(folder, NAME), children(database), counted + left + _MORE
        )
        outlived = tuple(f"process {p.pid} outlived its parent" for p in self._outlived())
        return found + Findings(left_over=outlived)

    def _outlived(self) -> list[psutil.Process]:
        gone_or_not = psutil.wait_procs(self.orphans, timeout=60)
        return [process for process in gone_or_not[1] if is_alive(process)]


def carry_out(batch: StudyBatch) -> Struck:
    """Strike as often as asked, each time a command that goes on with the study, then look."""
    place, struck = StudyPlace(batch), Struck()
    place.whole_command("--trials", "1")
    chance = random.Random(batch.chance)  # noqa: S311  # moments are no secret
    while struck.hits.total() < batch.kills:
        _strike_once(batch, place, struck, chance)
    struck.findings += place.settle_and_check()
    return struck


def _strike_once(
    batch: StudyBatch, place: StudyPlace, struck: Struck, chance: random.Random
) -> None:
    moment, several = _moment(batch, chance), batch.victim != "command"
    crowd = ("--workers", "2") if several else ()
    with place.started("--resume", "--trials", str(_MANY), *crowd) as (running, noted):
        command = psutil.Process(running.process.pid)  # before it may be gone
        if several:
            still_runs_when(running, functools.partial(_members, command), _LONG_SECONDS)
        alive = wait_for(running, noted, moment, 0, 1)
        place.orphans += running.family()
        victims = _members(command)[:1] if batch.victim == "member" else [command]
        hit = alive and any(strike(each, moment.signal_name) for each in victims)
        if batch.victim == "member":  # the other one would go on for long; it puts its trial away
            strike(command, "SIGTERM")
        await_end(running, moment, struck)
    struck.count(moment, hit=hit)
    place.take(noted)
    place.evidence.take_journals(place.bench.folder)
    refuse_endless(struck, running)


def _moment(batch: StudyBatch, chance: random.Random) -> Moment:
    """When to strike; nobody sees from outside how far one of two processes is."""
    if batch.victim == "command":
        return SPANS[batch.workers].draw(chance, batch.signals)
    return Moment("start", chance.uniform(0, _CROWD_SECONDS), chance.choice(batch.signals))


def _members(command: psutil.Process) -> list[psutil.Process]:
    """The processes that train a command's trials, each with training processes of its own."""
    found = []
    with contextlib.suppress(psutil.Error):
        for process in command.children():
            with contextlib.suppress(psutil.Error):
                if "".join(process.cmdline()[-1:]).endswith(_MEMBER):
                    found.append(process)
    return found
