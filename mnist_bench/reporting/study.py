"""A study as Markdown."""

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
from mnist_bench.tuning.document import StudyDocument, TestEvaluation
from mnist_bench.tuning.trial import StudyTrial, paper_trial

_MOST_TRIALS = 10
"""In the table of the best."""


def to_markdown(document: StudyDocument, created: str, pictures: Sequence[str]) -> str:
    """The whole report.

    Args:
        document: The study.
        created: The day, as `2026-01-31`.
        pictures: Names of the pictures' files, beside the report's.
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
        *_looks(document.looks),
        "## The trials",
        counts(document),
        _best_table(document),
        *_importances(document),
        *(f"![{name.rsplit('.', 2)[-2]}]({quote(name)})" for name in pictures),
        *_method(document),
    ]
    return "\n\n".join(blocks) + "\n"


def headline(document: StudyDocument) -> str:
    """What came of the study, in one line."""
    if not document.is_whole:
        return f"The study did not come to its end: {document.ended}. {counts(document)}"
    if document.candidate is None:
        return "No trial is an answer: none that finished keeps every constraint."
    looks = document.looks
    proven = [look for look in looks if look.proof and look.candidate == document.candidate]
    if not proven:
        margin = document.margin.in_words if document.margin else ""
        return f"Best on validation: trial {document.candidate}; {margin}."
    return f"Trial {document.candidate} on fresh seeds: {confirmation_in_words(proven[-1].proof)}"


def _warnings(document: StudyDocument) -> Iterator[str]:
    """What to know before the figures are believed."""
    if document.dataset != paper.DATASET:
        yield f"> **NOT COMPARABLE with the paper: trained on {markdown(document.dataset)}.**"
    judged = [trial for trial in document.trials if trial.verdict]
    doubtful = [trial for trial in judged if trial.verdict != "clean"]
    if doubtful:
        yield (
            f"> The machine was disturbed during {len(doubtful)} of {len(judged)} trials "
            "(column *Verdict*): mistrust their times."
        )


def _machines(document: StudyDocument) -> Iterator[str]:
    """Where the trials were trained, unless that was one machine."""
    counted = [trial for trial in document.trials if trial.machine_id and trial.counts]
    machines = Counter(trial.machine_id for trial in counted)
    if len(machines) > 1:
        names = {trial.machine_id: trial.machine for trial in counted if trial.machine}
        each = (f"{markdown(names.get(id_, 'a machine'))} ({formatting.counted(number, 'trial')})"
                for id_, number in machines.items())  # fmt: skip
        yield f"Trained on {len(machines)} machines: {'; '.join(each)}. Their hours are added up."


def counts(document: StudyDocument) -> str:
    """How many trials there are of each kind, and what they took."""
    states = [trial.state for trial in document.trials]
    kinds = [f"{states.count(s)} {s}" for s in dict.fromkeys(states)]
    return (
        f"{len(states)} trials: {', '.join(kinds)}; the search took "
        f"{formatting.duration(document.search_seconds)}."
    )


def _winner(document: StudyDocument) -> Iterator[str]:
    if document.candidate is None:
        return
    trial = document.trial(document.candidate)
    yield "## The winner" if document.has_winner else "## The best trial"
    yield f"Trial {trial.number}: {document.goal.in_words(document.candidate_values)}."
    theirs = document.space.of_the_paper()
    lines = [("Parameter", "Winner", "Paper's")]
    names = [name for name in document.space.parameters if name in {*trial.chosen, *theirs}]
    lines += [(name, _shown(trial.chosen.get(name)), _shown(theirs.get(name))) for name in names]
    yield table(lines)


def _finalists(document: StudyDocument) -> Iterator[str]:
    """The best trials, by what they were worth when trained again."""
    if not document.finalists:
        return
    yield "## The finalists"
    yield (
        "The best trials of the search, trained again from further seeds; the best of many single "
        "trials is the luckiest too."
    )
    names = document.goal.names
    again = [f"{name[:1].upper()}{name[1:]} again" for name in names]
    constrained = any(finalist.missed for finalist in document.finalists)
    kept = ["Keeps the constraints"] if constrained else []
    lines = [["Trial", "n", *again, *(f"In the search, {name}" for name in names), *kept]]
    for finalist in document.finalists:
        search = document.goal.texts(document.trial(finalist.trial).values)
        means = document.goal.texts(finalist.values)
        line = [str(finalist.trial), str(len(finalist.repeats)), *means, *search]
        lines.append(line + ([_yes(finalist.is_feasible)] if constrained else []))
    yield table(lines)


def _looks(looks: Sequence[TestEvaluation]) -> Iterator[str]:
    if not looks:
        return
    yield "## The looks at the test split"
    yield f"{len(looks)} in all; the candidate was settled on validation before each."
    for look in looks:
        yield f"{look.number}. Trial {look.candidate}: {confirmation_in_words(look.proof)}"
        if look.proof:
            yield _proof_table(look.proof)
            yield "\n".join(f"- {line}" for line in _proof_lines(look.proof))


def _proof_table(proof: Confirmation) -> str:
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
    return table([header, line("Winner", proof.candidate), line("Paper's", proof.paper)])


def _proof_lines(proof: Confirmation) -> Iterator[str]:
    accuracy = _interval(proof.accuracy, "{:+.4f}".format)
    yield f"Difference in accuracy, winner less paper: {accuracy}"
    yield f"Difference in train time: {_interval(proof.train_seconds, '{:+.1f} s'.format)}"
    if proof.target_seconds:
        difference = _interval(proof.target_seconds, "{:+.1f} s".format)
        yield f"Difference in time to the target: {difference}"
    yield f"From validation in the search to test on fresh seeds: {-proof.shrinkage:+.4f}"
    if proof.mcnemar:
        test = proof.mcnemar
        yield (
            f"Of the seeds of median accuracy, {test.only_candidate} images only the winner read "
            f"rightly and {test.only_paper} only the paper's (exact McNemar test, "
            f"p = {test.p_value:.2g})"
        )
    if proof.seconds.is_within_noise:
        yield "Whether the search pays for itself in time is not known: the difference is noise"
    elif proof.payback_runs is not None:
        yield f"The search has paid for itself after {proof.payback_runs:,.1f} runs"
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
    """The best finished trials, by the first value, and the paper's.

    Of a trade-off all of its front stands before them.
    """
    ranked = document.ranked
    several = len(document.goal.names) > 1
    front = [trial for trial in ranked if several and trial.number in document.best]
    shown = [*front, *(trial for trial in ranked[:_MOST_TRIALS] if trial not in front)]
    papers = paper_trial(document.trials)
    if papers and papers not in shown:
        shown.append(papers)
    return shown


def best_columns(document: StudyDocument) -> list[Column[StudyTrial]]:
    """What is told of each of them."""
    goal = document.goal

    def value(place: int) -> Callable[[StudyTrial], str]:
        return lambda trial: goal.texts(trial.values)[place]

    columns: list[Column[StudyTrial]] = [
        Column("Trial", lambda t: f"{t.number}{' (paper)' if t.is_papers else ''}"),
        *(Column(name[:1].upper() + name[1:], value(i)) for i, name in enumerate(goal.names)),
        Column("Verdict", lambda trial: trial.verdict or formatting.UNKNOWN, words=True),
        Column("Trial took", lambda trial: formatting.duration(trial.seconds)),
    ]
    if len(goal.names) > 1:
        columns.append(Column("On the front", lambda trial: _yes(trial.number in document.best)))
    if any(trial.missed for trial in best_trials(document)):
        columns.append(Column("Keeps the constraints", lambda trial: _yes(trial.is_feasible)))
    return [*columns, Column("Run", lambda trial: trial.run_id or formatting.UNKNOWN, words=True)]


def _yes(answer: bool) -> str:  # noqa: FBT001
    return "yes" if answer else "no"


def _importances(document: StudyDocument) -> Iterator[str]:
    if not document.importances:
        return
    yield "## What mattered"
    rising = sorted(document.importances.items(), key=lambda pair: -pair[1])
    yield table([("Parameter", "Share"), *((name, f"{share:.0%}") for name, share in rising)])


def _method(document: StudyDocument) -> Iterator[str]:
    yield "## How this was found"
    yield (
        f"Each trial trained on the training images of {markdown(document.dataset)} in a process "
        "of its own, and was scored on the validation images alone: no trial loaded the test "
        "images. The paper's configuration is the first trial."
    )


def _shown(value: object) -> str:
    if value is None:
        return formatting.UNKNOWN
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table(lines: Sequence[Sequence[str]]) -> str:
    """Header and lines as a Markdown table."""
    width = len(lines[0])
    rows = [lines[0], ["---", *["---:"] * (width - 1)], *lines[1:]]
    return EscapedText("\n".join(f"| {' | '.join(row)} |" for row in rows))
