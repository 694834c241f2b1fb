"""The report of a study as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote

from mnist_bench.analysis.statistics import LEVEL, Interval
from mnist_bench.core import formatting
from mnist_bench.core.escaping import EscapedText, code, markdown
from mnist_bench.reporting.columns import Column
from mnist_bench.scenarios import paper
from mnist_bench.tuning.confirmation_stats import Arm, Confirmation, confirmation_in_words
from mnist_bench.tuning.document import EvaluationOnTest, StudyDocument
from mnist_bench.tuning.trial import StudyTrial, paper_trial

_MOST_TRIALS = 10
"""Limit of the table of best trials."""


def to_markdown(document: StudyDocument, created: str, pictures: Sequence[str]) -> str:
    """Render the report of a study.

    Args:
        document: The study.
        created: Date, as `2026-01-31`.
        pictures: File names of the charts, in the report's folder.
    """
    blocks = [
        f"# {markdown(document.space.title)}",
        headline(document),
        *_warnings(document),
        f"Study {markdown(document.study)}, {created}, on {markdown(document.machine.name)}.",
        *_machines(document),
        "Made with:",
        str(code(*document.commands)),
        *_winner(document),
        *_finalists(document),
        *_test_evaluations(document.looks),
        "## The trials",
        counts(document),
        _best_table(document),
        *_importances(document),
        *(f"![{name.rsplit('.', 2)[-2]}]({quote(name)})" for name in pictures),
        *_method_section(document),
    ]
    return "\n\n".join(blocks) + "\n"


def headline(document: StudyDocument) -> str:
    """Result of the study in one line."""
    if not document.is_whole:
        return f"The study did not come to its end: {document.ended}. {counts(document)}"
    if document.candidate is None:
        return "No trial is an answer: none that finished keeps every constraint."
    evaluations = document.looks
    confirmed = [
        evaluation
        for evaluation in evaluations
        if evaluation.proof and evaluation.candidate == document.candidate
    ]
    if not confirmed:
        margin = document.margin.in_words if document.margin else ""
        return f"Best on validation: trial {document.candidate}; {margin}."
    return (
        f"Trial {document.candidate} on fresh seeds: {confirmation_in_words(confirmed[-1].proof)}"
    )


def _warnings(document: StudyDocument) -> Iterator[str]:
    """Warnings about the data set and about disturbed trials."""
    if document.dataset != paper.DATASET:
        yield f"> **NOT COMPARABLE with the paper: trained on {markdown(document.dataset)}.**"
    assessed = [trial for trial in document.trials if trial.verdict]
    disturbed = [trial for trial in assessed if trial.verdict != "clean"]
    if disturbed:
        yield (
            f"> The machine was disturbed during {len(disturbed)} of {len(assessed)} trials "
            "(column *Verdict*): mistrust their times."
        )


def _machines(document: StudyDocument) -> Iterator[str]:
    """Machines of the trials, if there are several."""
    trials = [trial for trial in document.trials if trial.machine_id and trial.counts]
    machines = Counter(trial.machine_id for trial in trials)
    if len(machines) > 1:
        names = {trial.machine_id: trial.machine for trial in trials if trial.machine}
        machines_in_words = "; ".join(
            f"{markdown(names.get(id_, 'a machine'))} ({formatting.counted(number, 'trial')})"
            for id_, number in machines.items()
        )
        yield f"Trained on {len(machines)} machines: {machines_in_words}. Their hours are added up."


def counts(document: StudyDocument) -> str:
    """Number of trials by state, and the time of the search."""
    states = [trial.state for trial in document.trials]
    counts_by_state = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return (
        f"{len(states)} trials: {', '.join(counts_by_state)}; the search took "
        f"{formatting.duration(document.search_seconds)}."
    )


def _winner(document: StudyDocument) -> Iterator[str]:
    if document.candidate is None:
        return
    trial = document.trial(document.candidate)
    yield "## The winner" if document.has_winner else "## The best trial"
    yield f"Trial {trial.number}: {document.goal.in_words(document.candidate_values)}."
    papers = document.space.paper_values()
    rows = [("Parameter", "Winner", "Paper's")]
    names = [name for name in document.space.parameters if name in {*trial.chosen, *papers}]
    rows += [
        (name, _value_text(trial.chosen.get(name)), _value_text(papers.get(name))) for name in names
    ]
    yield table(rows)


def _finalists(document: StudyDocument) -> Iterator[str]:
    """The finalists, ordered by the values of their repeated trainings."""
    if not document.finalists:
        return
    yield "## The finalists"
    yield (
        "The best trials of the search, trained again from further seeds; the best of many single "
        "trials is the luckiest too."
    )
    names = document.goal.names
    repeated_headers = [f"{name[:1].upper()}{name[1:]} again" for name in names]
    constrained = any(finalist.missed for finalist in document.finalists)
    constraint_header = ["Keeps the constraints"] if constrained else []
    lines = [
        [
            "Trial",
            "n",
            *repeated_headers,
            *(f"In the search, {name}" for name in names),
            *constraint_header,
        ]
    ]
    for finalist in document.finalists:
        search = document.goal.texts(document.trial(finalist.trial).values)
        means = document.goal.texts(finalist.values)
        line = [str(finalist.trial), str(len(finalist.repeats)), *means, *search]
        lines.append(line + ([_yes_or_no(finalist.is_feasible)] if constrained else []))
    yield table(lines)


def _test_evaluations(evaluations: Sequence[EvaluationOnTest]) -> Iterator[str]:
    if not evaluations:
        return
    yield "## The looks at the test split"
    yield f"{len(evaluations)} in all; the candidate was settled on validation before each."
    for evaluation in evaluations:
        result = confirmation_in_words(evaluation.proof)
        yield f"{evaluation.number}. Trial {evaluation.candidate}: {result}"
        if evaluation.proof:
            yield _confirmation_table(evaluation.proof)
            yield "\n".join(f"- {line}" for line in _confirmation_lines(evaluation.proof))


def _confirmation_table(confirmation: Confirmation) -> str:
    def line(name: str, arm: Arm) -> tuple[str, ...]:
        return (
            name,
            str(arm.n),
            f"{formatting.accuracy(arm.accuracy_mean)} ± {formatting.spread(arm.accuracy_sd)}",
            formatting.accuracy(arm.validation_mean),
            formatting.duration(arm.train_seconds_mean),
            formatting.mebibytes(arm.peak_rss_bytes_max),
        )

    header = ("", "n", "Final test accuracy", "On validation", "Train time", "Peak RSS")
    return table(
        [header, line("Winner", confirmation.candidate), line("Paper's", confirmation.paper)]
    )


def _confirmation_lines(confirmation: Confirmation) -> Iterator[str]:
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


def _best_table(document: StudyDocument) -> str:
    columns, trials = best_columns(document), best_trials(document)
    lines = [[markdown(column.text(trial)) for column in columns] for trial in trials]
    return table([[column.header for column in columns], *lines])


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


def best_columns(document: StudyDocument) -> list[Column[StudyTrial]]:
    """Columns of the table of best trials."""
    goal = document.goal

    def value(index: int) -> Callable[[StudyTrial], str]:
        return lambda trial: goal.texts(trial.values)[index]

    columns: list[Column[StudyTrial]] = [
        Column("Trial", lambda t: f"{t.number}{' (paper)' if t.is_papers else ''}"),
        *(Column(name[:1].upper() + name[1:], value(i)) for i, name in enumerate(goal.names)),
        Column("Verdict", lambda trial: trial.verdict or formatting.UNKNOWN, words=True),
        Column("Trial took", lambda trial: formatting.duration(trial.seconds)),
    ]
    if len(goal.names) > 1:
        columns.append(
            Column("On the front", lambda trial: _yes_or_no(trial.number in document.best))
        )
    if any(trial.missed for trial in best_trials(document)):
        columns.append(Column("Keeps the constraints", lambda trial: _yes_or_no(trial.is_feasible)))
    return [*columns, Column("Run", lambda trial: trial.run_id or formatting.UNKNOWN, words=True)]


def _yes_or_no(answer: bool) -> str:  # noqa: FBT001
    return "yes" if answer else "no"


def _importances(document: StudyDocument) -> Iterator[str]:
    if not document.importances:
        return
    yield "## What mattered"
    by_share = sorted(document.importances.items(), key=lambda pair: -pair[1])
    yield table([("Parameter", "Share"), *((name, f"{share:.0%}") for name, share in by_share)])


def _method_section(document: StudyDocument) -> Iterator[str]:
    yield "## How this was found"
    yield (
        f"Each trial trained on the training images of {markdown(document.dataset)} in a process "
        "of its own, and was scored on the validation images alone: no trial loaded the test "
        "images. The paper's configuration is the first trial."
    )


def _value_text(value: object) -> str:
    if value is None:
        return formatting.UNKNOWN
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first line is the header."""
    width = len(lines[0])
    rows = [lines[0], ["---", *["---:"] * (width - 1)], *lines[1:]]
    return EscapedText("\n".join(f"| {' | '.join(row)} |" for row in rows))
