"""A trial: as it is asked for, and as its study keeps it; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from mnist_bench.core.records import Record
from mnist_bench.measurement.quality import Verdict
from mnist_bench.tuning.space import Value

State = Literal["finished", "pruned", "failed", "running", "waiting"]


@dataclass(frozen=True)
class TrialRequest:
    """A trial that is to be trained.

    Attributes:
        number: Optuna's.
        chosen: A value for each parameter that was asked.
        is_papers: Whether it is the paper's configuration.
    """

    number: int
    chosen: Mapping[str, Value]
    is_papers: bool


class StudyTrial(Record):
    """A trial as its study keeps it.

    Attributes:
        number: Optuna's.
        state: How it ended, or that it did not yet.
        chosen: A value for each parameter that was asked.
        values: What it is worth, in the goal's order; empty unless it finished.
        missed: By how much each constraint is missed; kept where that is 0 or less.
        curve: What it was compared by, by percent of its steps.
        seconds: Wall-clock seconds from its beginning to its end; None while it goes on.
        begun_at_ms: Unix time in milliseconds; None while it waits, and in elder documents.
        run_id: MLflow's id of its run; None where there is none.
        is_papers: Whether it is the paper's configuration.
        retry_of: The trial that it tries again, since the process of that one was gone; else None.
        repeat_of: The trial whose values it trains once more, that one being among the best; else
            None.
        train_seconds: Seconds inside training, as far as it came; None where that is not known.
        peak_rss_bytes: Of its process; None where that is not known.
        verdict: Whether the machine let its time and memory be trusted; None where nobody looked.
        machine: Name of the machine that trained it; None in elder documents.
        machine_id: The random id of that machine; likewise.
    """

    number: int
    state: State
    chosen: dict[str, Value]
    values: tuple[float, ...] = ()
    missed: dict[str, float] = Field(default={})
    curve: dict[int, float] = Field(default={})
    seconds: float | None = None
    begun_at_ms: int | None = None
    run_id: str | None = None
    is_papers: bool = False
    retry_of: int | None = None
    repeat_of: int | None = None
    train_seconds: float | None = None
    peak_rss_bytes: int | None = None
    verdict: Verdict | None = None
    machine: str | None = None
    machine_id: str | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it came to something: finished, or pruned."""
        return self.state in {"finished", "pruned"}

    @property
    def counts(self) -> bool:
        """Whether it is one of the trials that the user asked for."""
        return self.is_settled and self.repeat_of is None

    @property
    def is_feasible(self) -> bool:
        """Whether it finished and keeps every constraint."""
        return self.state == "finished" and all(value <= 0 for value in self.missed.values())


def paper_trial(trials: Sequence[StudyTrial]) -> StudyTrial | None:
    """The finished trial of the paper's configuration; None where there is none."""
    return next((t for t in trials if t.is_papers and t.state == "finished"), None)


def root_of(trials: Sequence[StudyTrial], number: int) -> int:
    """The trial that another one tries again, or that one's own, and so on: the first of them.

    Args:
        trials: All of the study, by number.
        number: Of the trial.
    """
    while (earlier := trials[number].retry_of) is not None:
        number = earlier
    return number


def is_done_elsewhere(trials: Sequence[StudyTrial], number: int) -> bool:
    """Whether another trial counts that tries the same again, or that this one tries again.

    Args:
        trials: All of the study, by number.
        number: Of the trial.
    """
    root = root_of(trials, number)
    settled = [t.number for t in trials if t.is_settled and t.number != number]
    return any(root_of(trials, each) == root for each in settled)


def is_superfluous(trials: Sequence[StudyTrial], number: int, limit: int | None) -> bool:
    """Whether a trial that was just asked for need not be trained.

    Two machines may have had the same trial tried again, or asked for the last one, at once.

    Args:
        trials: All of the study, by number.
        number: Of the trial.
        limit: So many trials of the search are asked for; None where others are.
    """
    own, root = trials[number], root_of(trials, number)
    if is_done_elsewhere(trials, number):
        return True
    # Who puts a trial away has it tried again first, and fails it then.
    earlier = [t for t in trials if t.number < number and t.number != own.retry_of]
    running = [t for t in earlier if t.state == "running"]
    if own.retry_of is not None:
        return any(root_of(trials, each.number) == root for each in running)
    ahead = sum(t.counts for t in trials) + sum(t.repeat_of is None for t in running)
    return limit is not None and own.repeat_of is None and ahead >= limit


def searched_seconds(trials: Sequence[StudyTrial]) -> float:
    """What the search took by the wall clock: trials beside one another on a machine count once.

    Machines are added up, since their clocks may differ. Of a trial that was left behind nobody
    knows when it ended.
    """
    left = {trial.retry_of for trial in trials}
    told = [trial for trial in trials if trial.number not in left]
    machines = {trial.machine_id for trial in told}
    return sum(_busy_seconds([t for t in told if t.machine_id == each]) for each in machines)


def _busy_seconds(trials: Sequence[StudyTrial]) -> float:
    """For how long one machine was at work on any of them."""
    known = [(t.begun_at_ms, t.seconds) for t in trials if t.seconds]
    spans = sorted((begun / 1_000, seconds) for begun, seconds in known if begun is not None)
    total = sum(seconds for begun, seconds in known if begun is None)
    until = float("-inf")
    for begun, seconds in spans:
        total += max(0.0, begun + seconds - max(begun, until))
        until = max(until, begun + seconds)
    return total
