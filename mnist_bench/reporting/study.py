"""A study in words and lines of tables; not yet escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from mnist_bench.analysis.statistics import LEVEL, Interval
from mnist_bench.core import formatting
from mnist_bench.tuning.confirmation_stats import Confirmation, confirmation_in_words
from mnist_bench.tuning.document import StudyDocument
from mnist_bench.tuning.space import Value
from mnist_bench.tuning.trial import StudyTrial, paper_trial

_MOST_TRIALS = 10
"""Limit of the table of best trials."""


def headline(document: StudyDocument) -> str:
    """Result of the study in one line."""
    if not document.is_whole:
        return f"The study did not come to its end: {document.ended}. {counts(document)}"
    if document.candidate is None:
        return "No trial is an answer: none that finished keeps every constraint."
    confirmations = [
        evaluation.proof
        for evaluation in document.looks
        if evaluation.proof and evaluation.candidate == document.candidate
    ]
    if not confirmations:
        margin = document.margin.in_words if document.margin else ""
        return f"Best on validation: trial {document.candidate}; {margin}."
    return f"Trial {document.candidate} on fresh seeds: {confirmation_in_words(confirmations[-1])}"


def counts(document: StudyDocument) -> str:
    """Number of trials by state, and the time of the search."""
    states = Counter(trial.state for trial in document.trials)
    counts_by_state = ", ".join(f"{number} {state}" for state, number in states.items())
    return (
        f"{formatting.counted(len(document.trials), 'trial')}: {counts_by_state}; the search took "
        f"{formatting.duration(document.search_seconds)}."
    )


def disturbed(document: StudyDocument) -> str | None:
    """Number of trials during which the machine was disturbed; None if there are none."""
    verdicts = [trial.verdict for trial in document.trials if trial.verdict]
    number = len(verdicts) - verdicts.count("clean")
    return f"{number} of {len(verdicts)}" if number else None


def machines(document: StudyDocument) -> str | None:
    """Machines of the trials, if there are several."""
    trials = [trial for trial in document.trials if trial.machine_id and trial.counts]
    numbers = Counter(trial.machine_id for trial in trials)
    if len(numbers) < 2:
        return None
    names = {trial.machine_id: trial.machine for trial in trials if trial.machine}
    in_words = "; ".join(
        f"{names.get(id_, 'a machine')} ({formatting.counted(number, 'trial')})"
        for id_, number in numbers.items()
    )
    return f"Trained on {len(numbers)} machines: {in_words}. Their hours are added up."


def parameters(
    document: StudyDocument, trial: StudyTrial
) -> list[tuple[str, Value | None, Value | None]]:
    """Name of each parameter, its value in a trial, and its value in the paper's configuration."""
    papers = document.space.paper_values()
    return [
        (name, trial.chosen.get(name), papers.get(name))
        for name in document.space.parameters
        if name in trial.chosen or name in papers
    ]


def confirmation_notes(confirmation: Confirmation) -> Iterator[str]:
    """Differences of a confirmation, with their intervals."""
    accuracy = _interval(confirmation.accuracy, "{:+.4f}".format)
    yield f"Difference in accuracy, winner less paper: {accuracy}"
    yield f"Difference in train time: {_interval(confirmation.train_seconds, '{:+.1f} s'.format)}"
    if confirmation.target_seconds:
        difference = _interval(confirmation.target_seconds, "{:+.1f} s".format)
        yield f"Difference in time to the target: {difference}"
    yield f"From validation in the search to test on fresh seeds: {-confirmation.shrinkage:+.4f}"
    if confirmation.mcnemar:
        test = confirmation.mcnemar
        yield (
            f"Of the seeds of median accuracy, {test.only_candidate} images only the winner read "
            f"rightly and {test.only_paper} only the paper's (exact McNemar test, "
            f"p = {test.p_value:.2g})"
        )
    if confirmation.seconds.is_within_noise:
        yield "Whether the search pays for itself in time is not known: the difference is noise"
    elif confirmation.payback_runs is not None:
        yield f"The search has paid for itself after {confirmation.payback_runs:,.1f} runs"
    else:
        yield "The search never pays for itself in time: the winner is no faster"


def _interval(interval: Interval, text: Callable[[float], str]) -> str:
    noise = "; within noise" if interval.is_within_noise else ""
    ends = f"{text(interval.low)} to {text(interval.high)}"
    return f"{text(interval.difference)}, {LEVEL:.0%} interval {ends} (Welch){noise}"


def best_trials(document: StudyDocument) -> list[StudyTrial]:
    """The best finished trials, by their first value, and the paper's configuration.

    For several objectives the whole Pareto front comes first.
    """
    ranked = document.ranked
    several = len(document.goal.names) > 1
    front = [trial for trial in ranked if several and trial.number in document.best]
    shown = [*front, *(trial for trial in ranked[:_MOST_TRIALS] if trial not in front)]
    papers_trial = paper_trial(document.trials)
    if papers_trial and papers_trial not in shown:
        shown.append(papers_trial)
    return shown
