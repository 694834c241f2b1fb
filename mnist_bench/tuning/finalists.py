"""The best trials of a study trained again, so that a lucky seed does not stand for it; pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from mnist_bench.core.limits import REPEATS
from mnist_bench.core.records import Record
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.trial import StudyTrial, paper_trial


class Finalist(Record):
    """One of the best trials, by what its repeats are worth.

    The trial's own values are left out of the means: they were picked for being high.

    Attributes:
        trial: Its number.
        repeats: Numbers of the trials that train its values again and finished.
        values: Their means, in the goal's order.
        missed: By how much each constraint is missed, their means.
    """

    trial: int
    repeats: tuple[int, ...]
    values: tuple[float, ...]
    missed: dict[str, float]

    @property
    def is_feasible(self) -> bool:
        """Whether its repeats keep every constraint, in the mean."""
        return all(value <= 0 for value in self.missed.values())


def ranked(trials: Sequence[StudyTrial], goal: Goal) -> list[StudyTrial]:
    """The search's feasible trials, without repeats, the best by the first value first.

    Of two that are as good as each other the earlier one is ahead.
    """
    sign = -1 if goal.directions[0] == "maximize" else 1
    feasible = [trial for trial in trials if trial.is_feasible and trial.repeat_of is None]
    return sorted(feasible, key=lambda trial: (sign * trial.values[0], trial.number))


def owed(
    trials: Sequence[StudyTrial], goal: Goal, count: int, *, with_papers: bool = False
) -> list[int]:
    """Trials that are to be trained once more each, as often as they stand here.

    Args:
        trials: All of the study.
        goal: Of the study.
        count: How many finalists there are to be.
        with_papers: Whether the paper's configuration is to be trained again beside them.
    """
    first = ranked(trials, goal)[:count]
    papers = paper_trial(trials) if with_papers else None
    if papers is not None and papers not in first:
        first.append(papers)
    begun = [t.repeat_of for t in trials if t.state in {"finished", "running", "waiting"}]
    return [
        finalist.number for finalist in first for _ in range(REPEATS - begun.count(finalist.number))
    ]


def finalists_of(trials: Sequence[StudyTrial], goal: Goal) -> tuple[Finalist, ...]:
    """The finalists whose repeats have finished: feasible ones first, and of them the best."""
    sign = -1 if goal.directions[0] == "maximize" else 1
    found = []
    for trial in ranked(trials, goal):
        repeats = [t for t in trials if t.repeat_of == trial.number and t.state == "finished"]
        if len(repeats) >= REPEATS:
            found.append(_finalist(trial, repeats))
    return tuple(sorted(found, key=lambda each: (not each.is_feasible, sign * each.values[0])))


def covers(finalists: Sequence[Finalist], best: StudyTrial | None) -> bool:
    """Whether the finalists tell which trial stands: not where a later one beat them in the search.

    Args:
        finalists: Of a study.
        best: Its best trial, by one training each.
    """
    return bool(finalists) and (best is None or best.number in {f.trial for f in finalists})


def best_finalist(finalists: Sequence[Finalist], trials: Sequence[StudyTrial]) -> StudyTrial | None:
    """The first finalist's trial, worth what its repeats are; None where none is feasible."""
    if not finalists or not finalists[0].is_feasible:
        return None
    first = finalists[0]
    trial = next(trial for trial in trials if trial.number == first.trial)
    return trial.model_copy(update={"values": first.values, "missed": first.missed})


def paper_reference(trials: Sequence[StudyTrial]) -> StudyTrial | None:
    """The paper's finished trial, worth what its repeats are where it was trained again."""
    papers = paper_trial(trials)
    if papers is None:
        return None
    repeats = [t for t in trials if t.repeat_of == papers.number and t.state == "finished"]
    if len(repeats) < REPEATS:
        return papers
    again = _finalist(papers, repeats)
    return papers.model_copy(update={"values": again.values, "missed": again.missed})


def _finalist(trial: StudyTrial, repeats: Sequence[StudyTrial]) -> Finalist:
    return Finalist(
        trial=trial.number,
        repeats=tuple(repeat.number for repeat in repeats),
        values=tuple(map(statistics.mean, zip(*(r.values for r in repeats), strict=True))),
        missed={name: statistics.mean(r.missed[name] for r in repeats) for name in trial.missed},
    )
