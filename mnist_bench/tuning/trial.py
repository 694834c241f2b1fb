"""Trials as stored in a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from mnist_bench.core.records import Record
from mnist_bench.measurement.quality import Verdict
from mnist_bench.tuning.space import Value

State = Literal["finished", "pruned", "failed", "running", "waiting"]


class StudyTrial(Record):
    """A trial as stored in its study.

    Attributes:
        number: Optuna's.
        chosen: Values of the active parameters.
        values: Objective values, in the goal's order; empty unless it finished.
        missed: Violation of each constraint; 0 or less means it is met.
        curve: Intermediate values by percent of its steps.
        seconds: Wall-clock seconds from start to end; None while it runs.
        begun_at_ms: Unix time of its start in milliseconds; None while it waits, and in older
            documents.
        run_id: MLflow's id of its run; None if it has none.
        is_papers: Whether it is of the paper's configuration.
        retry_of: Number of the failed trial that it retries; else None.
        repeat_of: Number of the trial that it repeats as a finalist; else None.
        train_seconds: Seconds inside training, also of a pruned trial; None if unknown.
        peak_rss_bytes: Of its process; None if unknown.
        verdict: Whether its time and memory can be trusted; None if not checked.
        machine: Name of the machine that trained it; None in older documents.
        machine_id: Random id of that machine; None in older documents.
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
    def counts(self) -> bool:
        """Whether it counts toward the requested number of trials: not a repeat."""
        return self.state in {"finished", "pruned"} and self.repeat_of is None

    @property
    def is_feasible(self) -> bool:
        """Whether it finished and meets every constraint."""
        return self.state == "finished" and all(value <= 0 for value in self.missed.values())


def paper_trial(trials: Sequence[StudyTrial]) -> StudyTrial | None:
    """Finished trial of the paper's configuration; None if there is none."""
    return next((t for t in trials if t.is_papers and t.state == "finished"), None)


def searched_seconds(trials: Sequence[StudyTrial]) -> float:
    """Wall-clock seconds of the search: concurrent trials of a machine count once.

    Machines are added up, since their clocks may differ. Retried trials are left out: when they
    ended is unknown.
    """
    retried = {trial.retry_of for trial in trials}
    known_trials = [trial for trial in trials if trial.number not in retried]
    machines = {trial.machine_id for trial in known_trials}
    return sum(
        _busy_seconds([t for t in known_trials if t.machine_id == each]) for each in machines
    )


def _busy_seconds(trials: Sequence[StudyTrial]) -> float:
    """Wall-clock seconds that one machine was busy with any of the trials."""
    known = [(t.begun_at_ms, t.seconds) for t in trials if t.seconds]
    spans = sorted((start / 1_000, seconds) for start, seconds in known if start is not None)
    total = sum(seconds for start, seconds in known if start is None)
    until = float("-inf")
    for start, seconds in spans:
        total += max(0.0, start + seconds - max(start, until))
        until = max(until, start + seconds)
    return total
