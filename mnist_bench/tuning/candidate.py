"""The candidate of a study, chosen on validation alone, and its margin over the paper."""

from __future__ import annotations

from collections.abc import Sequence

from mnist_bench.core.records import Record
from mnist_bench.tuning.objective import TARGET, Goal
from mnist_bench.tuning.trial import StudyTrial

ACCURACY_MARGIN = 0.001
"""Smallest lead over the paper's configuration in accuracy: 5 of 5,000 images."""
SECONDS_MARGIN = 0.05
"""Smallest lead as a share of the paper's train seconds."""


class Margin(Record):
    """Lead of a candidate over the paper's configuration on validation.

    Attributes:
        is_enough: Whether it justifies an evaluation on the test split.
        in_words: The same as text.
    """

    is_enough: bool
    in_words: str


def candidate_of(
    best: Sequence[StudyTrial], paper: StudyTrial | None, goal: Goal
) -> StudyTrial | None:
    """Candidate of a study; None if no trial is feasible.

    For `pareto`: the fastest trial that is at least as accurate as the paper's configuration, else
    the most accurate.

    Args:
        best: The best feasible trial, or the Pareto front.
        paper: The finished trial of the paper's configuration.
        goal: Of the study.
    """
    if goal.objective != "pareto":
        return best[0] if best else None
    paper_accuracy = paper.values[0] if paper else 1.0
    accurate = [trial for trial in best if trial.values[0] >= paper_accuracy]
    if accurate:
        return min(accurate, key=lambda trial: trial.values[1])
    return max(best, key=lambda trial: trial.values[0], default=None)


def margin_of(candidate: StudyTrial, paper: StudyTrial | None, goal: Goal) -> Margin:
    """Lead of a candidate over the paper's trial, and whether it justifies a confirmation."""
    if candidate.is_papers:
        words = "nothing that was tried beats the paper's own"
        if goal.objective == "pareto":
            words = "of those as accurate as the paper's own none is faster"
        return Margin(is_enough=False, in_words=words)
    if paper is None:
        words = "the paper's own trial did not finish: there is nothing to be ahead of"
        return Margin(is_enough=False, in_words=words)
    if paper.missed.get(TARGET, 0) > 0 >= candidate.missed.get(TARGET, 0):
        return Margin(is_enough=True, in_words="the paper's own did not reach the target")
    if goal.objective == "accuracy":
        # Accuracies are shares of a few thousand images: drop float noise.
        ahead = round(candidate.values[0] - paper.values[0], 9)
        words, enough = f"{ahead:+.4f} in validation accuracy", ahead >= ACCURACY_MARGIN
        least = f"{ACCURACY_MARGIN:.4f}"
    else:
        index = 1 if goal.objective == "pareto" else 0
        saved = 1 - candidate.values[index] / paper.values[index]
        words, enough = f"{saved:.1%} of its train seconds saved", saved >= SECONDS_MARGIN
        least = f"{SECONDS_MARGIN:.0%}"
    margin_text = f"against the paper's own: {words}"
    if enough:
        return Margin(is_enough=True, in_words=margin_text)
    return Margin(is_enough=False, in_words=f"{margin_text}, less than {least}: within noise")
