"""A study in a book: its charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from mnist_bench.reporting import study, study_pictures
from mnist_bench.reporting.svg import Chart, Drawn, charted
from mnist_bench.tuning.document import StudyDocument
from mnist_bench.tuning.space import Parameter, Value
from mnist_bench.tuning.trial import StudyTrial

_SLICES_BESIDE = 2
"""One another: more would be too small on a phone."""
_MOST_TOLD = 10
"""Trials whose values are told in words."""


def charts_of_study(document: StudyDocument, prefix: str) -> tuple[Chart, ...]:
    """How the search went, and what mattered."""
    return tuple(charted(each, prefix) for each in _drawn(document))


def _drawn(document: StudyDocument) -> Iterator[Drawn]:
    if document.finished:
        yield Drawn(
            name="history",
            title="The search, trial by trial",
            alternative=f"{_course(document)} {study.counts(document)}",
            figure=study_pictures.history(document),
        )
    if document.importances:
        falling = sorted(document.importances.items(), key=lambda pair: -pair[1])
        told = ", ".join(f"{name} {share:.0%}" for name, share in falling)
        yield Drawn(
            name="importances",
            title="What mattered",
            alternative=f"Share of each parameter in what matters: {told}.",
            figure=study_pictures.importances(document),
        )
    if document.finished:
        yield Drawn(
            name="slices",
            title="What was tried",
            alternative=_tried(document),
            figure=study_pictures.slices(document, _SLICES_BESIDE),
        )
    if document.finished and len(document.goal.directions) > 1:
        yield Drawn(
            name="pareto",
            title="The trade-off",
            alternative=_front(document),
            figure=study_pictures.pareto(document),
        )


def _course(document: StudyDocument) -> str:
    """From the first trial to the best, in words."""
    shown = [document.finished[0], *_best(document)[:1]]
    told = [f"{document.goal.texts(t.values)[0]} in trial {t.number}" for t in shown]
    what = document.goal.names[0]
    return f"The {what} of each finished trial: {', at best '.join(told)}."


def _best(document: StudyDocument) -> list[StudyTrial]:
    """Those that are an answer, by their first value."""
    return [trial for trial in document.ranked if trial.is_feasible]


def _tried(document: StudyDocument) -> str:
    """Where the best trials lie, in words."""
    best = _best(document)[:_MOST_TOLD]
    told = [
        f"{name} {_where(parameter, values)}"
        for name, parameter in document.space.parameters.items()
        if (values := _values(name, best))
    ]
    where = f" The best {len(best)} trials have: {', '.join(told)}." if told else ""
    return f"The {document.goal.names[0]} over each parameter.{where}"


def _values(name: str, trials: Sequence[StudyTrial]) -> list[Value]:
    return [trial.chosen[name] for trial in trials if name in trial.chosen]


def _where(parameter: Parameter, values: Sequence[Value]) -> str:
    if parameter.choices is not None:
        counts = Counter(map(str, values)).most_common()
        return " or ".join(f"{value} ({count} of {len(values)})" for value, count in counts)
    numbers = [float(value) for value in values]
    return f"{min(numbers):.4g} to {max(numbers):.4g}"


def _front(document: StudyDocument) -> str:
    """Who is on the front, in words."""
    front = [document.trial(number) for number in document.best]
    told = [f"trial {t.number}, {document.goal.in_words(t.values)}" for t in front]
    what = ", ".join(document.goal.names)
    return f"{what[:1].upper()}{what[1:]} of each trial. On the front: {'; '.join(told) or 'none'}."
