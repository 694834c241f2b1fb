"""Generates `README.md` on the cost of a search."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

import hardware
from costs import (
    LEAST_RATE_RATIO,
    LEAST_TRIAL_RATIO,
    CostSession,
    Pair,
    Search,
    Side,
    rate_ratio,
    trial_ratio,
)
from ratios import Ratio

from mnist_bench.core import formatting
from mnist_bench.tuning.space import Value

_TITLES: dict[Side, str] = {"ours": "`mnist-bench tune`", "theirs": "the loop over Keras `fit`"}
_WHAT = """\
`mnist-bench tune` against the loop that a user would write instead: a study of Optuna's in memory,
with the same sampler and the same seed, over Keras `fit`, the same networks and hyperparameters.
Every trial is a fresh process on both sides: the suite's always are, and the loop starts
`keras_trial.py` for each, so that both pay for that start. The suite records each trial in MLflow
and in Optuna's journal meanwhile; the loop records nothing.\
"""
_PAIRS = """\
{steps} steps, {scorings} scorings of the same {images} validation images on the way, nothing is
pruned. The paper's configuration comes first, the others were drawn once from `space.toml`. Seconds
are wall clock from asking the study for a trial to telling it what came of it: process start,
imports, training, scoring, recording. The sides take turns: ours, theirs, theirs, ours, and so on.\
"""
_SEARCHES = """\
Wall clock from the start of the search's process to its end, the paper's configuration first and
then what each side's own study suggests in `space.toml`. The suite prunes by its default and writes
its report; the loop trains every trial to its end. A trial that was pruned is a trial.\
"""
_BESIDE = """\
Every value: {files}. [pruners.md](pruners.md), by `pruners.py`, has what the suite's pruner and
others save and lose.\
"""


def page(sessions: Sequence[CostSession]) -> str:
    """The whole page.

    Args:
        sessions: Sessions of identical trials, of searches, or of both.
    """
    sections = [part for each in sessions for part in (*_pairs(each), *_searches(each))]
    settings = dict.fromkeys(f"Keras: {each.settings}." for each in sessions)
    kinds = {"trials.json": any(each.pairs for each in sessions),
             "searches.json": any(each.searches for each in sessions)}  # fmt: skip
    beside = _BESIDE.format(
        files=", ".join(f"`{name}`" for name, is_there in kinds.items() if is_there)
    )
    parts = ["# What a search costs", _WHAT, *sections, "## Settings", *settings, beside]
    return "\n\n".join(parts) + "\n"


def _origin(session: CostSession) -> str:
    versions = hardware.in_words(session.versions)
    return (
        f"Machine: {session.hardware.sentences}\n"
        f"Versions: {versions}.\n"
        f"Made by `{session.command}` on {session.date};\n"
        f"images: {session.dataset}, {formatting.threads(session.threads)}."
    )


def _pairs(session: CostSession) -> Iterator[str]:
    ratio = trial_ratio(session)
    if ratio is None:
        return
    yield "## The same trials"
    yield _origin(session)
    yield _PAIRS.format(
        steps=formatting.count(session.steps),
        scorings=session.scorings,
        images=formatting.count(session.validation_images),
    )
    yield "\n".join(_pairs_table(session.pairs))
    values = [pair.ratio for pair in session.pairs]
    yield (
        f"Theirs by ours: {_spread(ratio)}, from {min(values):.2f} to {max(values):.2f}.\n"
        f"Asked for: at least {LEAST_TRIAL_RATIO:.1f}, {_met(ratio, LEAST_TRIAL_RATIO)}."
    )
    yield _disturbed(session)


def _pairs_table(pairs: tuple[Pair, ...]) -> Iterator[str]:
    names = list(pairs[0].chosen)
    head = (*(name.replace("_", " ") for name in names), "ours, s", "theirs, s", "theirs by ours",
            "validation accuracy, ours", "theirs")  # fmt: skip
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---:|" * len(head)
    for pair in pairs:
        cells = (
            *(_value(pair.chosen[name]) for name in names),
            f"{pair.ours.seconds:.1f}",
            f"{pair.theirs.seconds:.1f}",
            f"{pair.ratio:.2f}",
            formatting.accuracy(pair.ours.validation_accuracy),
            formatting.accuracy(pair.theirs.validation_accuracy),
        )
        yield "| " + " | ".join(cells) + " |"


def _value(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _disturbed(session: CostSession) -> str:
    """How many of our trials were not clean; theirs have no verdict."""
    verdicts = [pair.ours.verdict for pair in session.pairs]
    unclean = [verdict for verdict in verdicts if verdict not in {"clean", None}]
    return f"Not clean by the suite's own verdict: {len(unclean)} of our {len(verdicts)} trials."


def _searches(session: CostSession) -> Iterator[str]:
    if not session.searches:
        return
    yield "## Trials an hour"
    yield _origin(session)
    yield _SEARCHES
    yield "\n".join(_searches_table(session))
    ratio = rate_ratio(session)
    if ratio is None:
        return
    yield (
        f"Ours by theirs: {_spread(ratio)}.\n"
        f"Asked for: at least {LEAST_RATE_RATIO:.1f}, {_met(ratio, LEAST_RATE_RATIO)}."
    )


def _searches_table(session: CostSession) -> Iterator[str]:
    head = ("search by", "trials", "of them pruned", "share of all steps that were done",
            "seconds of a trial, median (and smallest to largest)", "seconds in all",
            "trials an hour", "best validation accuracy")  # fmt: skip
    yield "| " + " | ".join(head) + " |"
    yield "|---" + "|---:" * (len(head) - 1) + "|"
    for search in session.searches:
        yield "| " + " | ".join(_search_cells(search)) + " |"


def _search_cells(search: Search) -> tuple[str, ...]:
    seconds = [trial.seconds for trial in search.trials if trial.seconds is not None]
    each = formatting.UNKNOWN
    if seconds:
        each = f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
    return (
        _TITLES[search.side],
        formatting.count(len(search.trials)),
        formatting.count(search.pruned),
        f"{search.share_of_steps:.0%}",
        each,
        f"{search.seconds:,.0f}",
        f"{search.an_hour:.1f}",
        formatting.accuracy(search.best),
    )


def _spread(ratio: Ratio) -> str:
    if ratio.low is None or ratio.high is None:
        return f"{ratio.median:.2f}, n = {ratio.n}"
    return (
        f"median {ratio.median:.2f}, 95% interval of the mean {ratio.low:.2f} to "
        f"{ratio.high:.2f} (Student's, on the logarithms), n = {ratio.n}"
    )


def _met(ratio: Ratio, least: float) -> str:
    return "met by the median" if ratio.median >= least else "**not met** by the median"
