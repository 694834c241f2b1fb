"""Which trial stands for a study, settled by validation alone; pure."""

from __future__ import annotations

from collections.abc import Sequence

from mnist_bench.core.records import Record
from mnist_bench.tuning.objective import TARGET, Goal
from mnist_bench.tuning.trial import StudyTrial

ACCURACY_MARGIN = 0.001
"""By so much a candidate must be above the paper's configuration: 5 of 5,000 images."""
SECONDS_MARGIN = 0.05
"""By this share of the paper's seconds it must be faster."""


class Margin(Record):
    """How far a candidate is ahead of the paper's configuration on validation.

    Attributes:
        is_enough: Whether it is worth a look at the test split.
        in_words: For people.
    """

    is_enough: bool
    in_words: str


def candidate_of(
    best: Sequence[StudyTrial], papers: StudyTrial | None, goal: Goal
) -> StudyTrial | None:
    """The trial that stands for the study; None where no trial is an answer.

    Of a trade-off: the fastest of those that are as accurate as the paper's configuration, else
    the most accurate.

    Args:
        best: The best feasible trial, or all that no other one beats.
        papers: The finished trial of the paper's configuration.
        goal: Of the study.
    """
    if goal.objective != "pareto":
        return best[0] if best else None
    floor = papers.values[0] if papers else 1.0
    accurate = [trial for trial in best if trial.values[0] >= floor]
    if accurate:
        return min(accurate, key=lambda trial: trial.values[1])
    return max(best, key=lambda trial: trial.values[0], default=None)


def margin_of(candidate: StudyTrial, papers: StudyTrial | None, goal: Goal) -> Margin:
    """Whether a candidate is far enough ahead for a look at the test split."""
    if candidate.is_papers:
        words = "nothing that was tried beats the paper's own"
        if goal.objective == "pareto":
            words = "of those as accurate as the paper's own none is faster"
        return Margin(is_enough=False, in_words=words)
    if papers is None:
        words = "the paper's own trial did not finish: there is nothing to be ahead of"
        return Margin(is_enough=False, in_words=words)
    if papers.missed.get(TARGET, 0) > 0 >= candidate.missed.get(TARGET, 0):
        return Margin(is_enough=True, in_words="the paper's own did not reach the target")
    if goal.objective == "accuracy":
        # Shares of some thousand images: the last bits of a difference mean nothing.
        ahead = round(candidate.values[0] - papers.values[0], 9)
        words, enough = f"{ahead:+.4f} in validation accuracy", ahead >= ACCURACY_MARGIN
        least = f"{ACCURACY_MARGIN:.4f}"
    else:
        index = 1 if goal.objective == "pareto" else 0
        saved = 1 - candidate.values[index] / papers.values[index]
        words, enough = f"{saved:.1%} of its train seconds saved", saved >= SECONDS_MARGIN
        least = f"{SECONDS_MARGIN:.0%}"
    told = f"against the paper's own: {words}"
    if enough:
        return Margin(is_enough=True, in_words=told)
    return Margin(is_enough=False, in_words=f"{told}, less than {least}: within noise")
