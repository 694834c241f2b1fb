"""Finalists: the best trials are trained again on more seeds, so that a lucky seed cannot win."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from mnist_bench.core.limits import REPEATS
from mnist_bench.core.records import Record
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.trial import StudyTrial, paper_trial


class Finalist(Record):
    """One of the best trials, with the mean values of its repeats.

    The trial's own values are left out of the means: it was selected for them.

    Attributes:
        trial: Number of the trial.
        repeats: Numbers of the finished trials that repeat it.
        values: Means of their values, in the goal's order.
        missed: Mean violation of each constraint.
    """

    trial: int
    repeats: tuple[int, ...]
    values: tuple[float, ...]
    missed: dict[str, float]

    @property
    def is_feasible(self) -> bool:
        """Whether its repeats meet every constraint on average."""
        return all(value <= 0 for value in self.missed.values())


def ranked(trials: Sequence[StudyTrial], goal: Goal) -> list[StudyTrial]:
    """Feasible trials of the search, without repeats, best first value first.

    Of two equal trials the earlier one comes first.
    """
    sign = -1 if goal.directions[0] == "maximize" else 1
    feasible = [trial for trial in trials if trial.is_feasible and trial.repeat_of is None]
    return sorted(feasible, key=lambda trial: (sign * trial.values[0], trial.number))


def missing_repeats(
    trials: Sequence[StudyTrial], goal: Goal, count: int, *, with_paper: bool = False
) -> list[int]:
    """Numbers of trials to repeat; a number occurs once per missing repeat.

    Args:
        trials: All trials of the study.
        count: Number of finalists.
        with_paper: Whether the paper's configuration is repeated too.
    """
    first = ranked(trials, goal)[:count]
    paper = paper_trial(trials) if with_paper else None
    if paper is not None and paper not in first:
        first.append(paper)
    started = [t.repeat_of for t in trials if t.state in {"finished", "running", "waiting"}]
    return [
        finalist.number
        for finalist in first
        for _ in range(REPEATS - started.count(finalist.number))
    ]


def finalists_of(trials: Sequence[StudyTrial], goal: Goal) -> tuple[Finalist, ...]:
    """Finalists whose repeats have finished: feasible ones first, then by value."""
    sign = -1 if goal.directions[0] == "maximize" else 1
    found = []
    for trial in ranked(trials, goal):
        repeats = [t for t in trials if t.repeat_of == trial.number and t.state == "finished"]
        if len(repeats) >= REPEATS:
            found.append(_finalist(trial, repeats))
    return tuple(sorted(found, key=lambda each: (not each.is_feasible, sign * each.values[0])))


def covers(finalists: Sequence[Finalist], best: StudyTrial | None) -> bool:
    """Whether the finalists decide the candidate: not if a later trial beats them in the search.

    Args:
        best: Best trial of the search, by a single training each.
    """
    return bool(finalists) and (best is None or best.number in {f.trial for f in finalists})


def best_finalist(finalists: Sequence[Finalist], trials: Sequence[StudyTrial]) -> StudyTrial | None:
    """Trial of the first finalist, with the means of its repeats; None if none is feasible."""
    if not finalists or not finalists[0].is_feasible:
        return None
    first = finalists[0]
    trial = next(trial for trial in trials if trial.number == first.trial)
    return trial.model_copy(update={"values": first.values, "missed": first.missed})


def paper_reference(trials: Sequence[StudyTrial]) -> StudyTrial | None:
    """The paper's finished trial, with the means of its repeats if it was repeated."""
    paper = paper_trial(trials)
    if paper is None:
        return None
    repeats = [t for t in trials if t.repeat_of == paper.number and t.state == "finished"]
    if len(repeats) < REPEATS:
        return paper
    repeated = _finalist(paper, repeats)
    return paper.model_copy(update={"values": repeated.values, "missed": repeated.missed})


def _finalist(trial: StudyTrial, repeats: Sequence[StudyTrial]) -> Finalist:
    return Finalist(
        trial=trial.number,
        repeats=tuple(repeat.number for repeat in repeats),
        values=tuple(map(statistics.mean, zip(*(r.values for r in repeats), strict=True))),
        missed={name: statistics.mean(r.missed[name] for r in repeats) for name in trial.missed},
    )
