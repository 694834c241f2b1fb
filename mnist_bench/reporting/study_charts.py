"""Charts of a study, for the report page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from mnist_bench.reporting import study, study_pictures
from mnist_bench.reporting.svg import Chart, Plot, to_chart
from mnist_bench.tuning.document import StudyDocument
from mnist_bench.tuning.space import Parameter, Value
from mnist_bench.tuning.trial import StudyTrial

_SLICES_PER_ROW = 2
"""More would be too small on a phone."""
_MOST_DESCRIBED = 10
"""Number of best trials whose values the chart's description covers."""


def charts_of_study(document: StudyDocument, prefix: str) -> tuple[Chart, ...]:
    """Charts of a study's history, importances, slices and Pareto front."""
    return tuple(to_chart(plot, prefix) for plot in _plots(document))


def _plots(document: StudyDocument) -> Iterator[Plot]:
    if document.finished:
        yield Plot(
            name="history",
            title="The search, trial by trial",
            alternative=f"{_history_in_words(document)} {study.counts(document)}",
            figure=study_pictures.history(document),
        )
    if document.importances:
        falling = sorted(document.importances.items(), key=lambda pair: -pair[1])
        shares = ", ".join(f"{name} {share:.0%}" for name, share in falling)
        yield Plot(
            name="importances",
            title="What mattered",
            alternative=f"Share of each parameter in what matters: {shares}.",
            figure=study_pictures.importances(document),
        )
    if document.finished:
        yield Plot(
            name="slices",
            title="What was tried",
            alternative=_slices_in_words(document),
            figure=study_pictures.slices(document, _SLICES_PER_ROW),
        )
    if document.finished and len(document.goal.directions) > 1:
        yield Plot(
            name="pareto",
            title="The trade-off",
            alternative=_front_in_words(document),
            figure=study_pictures.pareto(document),
        )


def _history_in_words(document: StudyDocument) -> str:
    """Values of the first and the best trial, in words."""
    shown = [document.finished[0], *_best_trials(document)[:1]]
    in_words = [f"{document.goal.texts(t.values)[0]} in trial {t.number}" for t in shown]
    name = document.goal.names[0]
    return f"The {name} of each finished trial: {', at best '.join(in_words)}."


def _best_trials(document: StudyDocument) -> list[StudyTrial]:
    """Feasible trials, by their first value."""
    return [trial for trial in document.ranked if trial.is_feasible]


def _slices_in_words(document: StudyDocument) -> str:
    """Parameter ranges of the best trials, in words."""
    best = _best_trials(document)[:_MOST_DESCRIBED]
    in_words = [
        f"{name} {_range(parameter, values)}"
        for name, parameter in document.space.parameters.items()
        if (values := _values(name, best))
    ]
    ranges = f" The best {len(best)} trials have: {', '.join(in_words)}." if in_words else ""
    return f"The {document.goal.names[0]} over each parameter.{ranges}"


def _values(name: str, trials: Sequence[StudyTrial]) -> list[Value]:
    return [trial.chosen[name] for trial in trials if name in trial.chosen]


def _range(parameter: Parameter, values: Sequence[Value]) -> str:
    if parameter.choices is not None:
        counts = Counter(map(str, values)).most_common()
        return " or ".join(f"{value} ({count} of {len(values)})" for value, count in counts)
    numbers = [float(value) for value in values]
    return f"{min(numbers):.4g} to {max(numbers):.4g}"


def _front_in_words(document: StudyDocument) -> str:
    """Trials on the Pareto front, in words."""
    front = [document.trial(number) for number in document.best]
    in_words = "; ".join(f"trial {t.number}, {document.goal.in_words(t.values)}" for t in front)
    names = ", ".join(document.goal.names)
    return f"{names[:1].upper()}{names[1:]} of each trial. On the front: {in_words or 'none'}."
