"""Explanations of the terms in a report's tables; not yet escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mnist_bench.analysis.costs import phases_of
from mnist_bench.analysis.table1 import ALPHA, MIN_SEEDS
from mnist_bench.reporting import text
from mnist_bench.reporting.columns import INTERVAL
from mnist_bench.reporting.model import ReportSection
from mnist_bench.results.run_summary import share_a_training
from mnist_bench.scenarios import paper


@dataclass(frozen=True)
class Explanation:
    """A term of the tables with its meaning.

    Attributes:
        term: Beginning of the sentence.
        text: Rest of the sentence.
    """

    term: str
    text: str


def explanations(sections: Iterable[ReportSection]) -> list[Explanation]:
    """Explanations of all terms that occur in these sections."""
    section_list = list(sections)
    return [
        *_accuracies(section_list),
        *_machines(section_list),
        *_costs(section_list),
        *_trainings(section_list),
    ]


def _accuracies(sections: list[ReportSection]) -> Iterator[Explanation]:
    grid = ", ".join(f"{step:,}" for step in paper.PROTOCOL.grid.points(300)[:3])
    yield Explanation(
        "Max",
        "is the largest test accuracy on the evaluation grid, at the first step that reaches it. "
        f"The paper's grid is after {grid}, … updates; a row of another grid is not comparable. "
        "Picking the best of many looks at the test images is biased upward. The paper picked so "
        "too, and maximum is held against maximum.",
    )
    yield Explanation(
        "Step of max",
        "counts updates done. The paper's program counts from 0; its label is in brackets. With "
        "several seeds it is the range over them.",
    )
    yield Explanation(
        "±",
        "is the standard deviation over n seeds, of times as a share of their mean; one seed has "
        "none.",
    )
    yield Explanation(
        INTERVAL,
        "is a prediction interval, mean ± t·s·√(1 + 1/n): the paper's value is one training, so "
        "the question is whether it could be one more of these seeds. It is not corrected for the "
        "number of rows.",
    )
    yield Explanation(
        "Verdict",
        "of a row comes from the two-sided p of each comparable row, with Holm's correction over "
        f"these rows at {ALPHA:.0%}. So a value just outside its interval may still be "
        "indistinguishable.",
    )
    rows = [row for section in sections for row in section.rows]
    if any(row.spread_source == "reference" for row in rows):
        yield Explanation(
            f"Fewer than {MIN_SEEDS} seeds",
            "say too little about their own spread: those rows use the standard deviation and the "
            "degrees of freedom of the reference that comes with mnist-bench, named under the "
            "table. It may have been measured on another machine.",
        )
    if any(run.dataset == paper.DATASET for section in sections for run in section.document.runs):
        yield Explanation(
            "Test images",
            "are the paper's own 10,000. The luck of having drawn these and no others is shared "
            "with the paper, so it is in neither interval nor verdict.",
        )
        yield Explanation(
            "Final, other images",
            f"is Wilson's {1 - ALPHA:.0%} interval of the mean final accuracy for a sample of "
            f"{paper.TEST_IMAGES:,}: between what it might be on other test images, as many and "
            "drawn alike. It holds nothing of the spread over seeds, and nothing here is judged by "
            "it.",
        )


def _machines(sections: list[ReportSection]) -> Iterator[Explanation]:
    if any(section.document.machine_costs for section in sections):
        yield Explanation(
            "Several machines",
            "share a row's accuracies where scenario, images, hyperparameters, evaluation grid, "
            "precision, kind of device and TensorFlow version are the same. The same seed on two "
            "machines starts from the same weights and sees the same batches; only the order of "
            "the arithmetic differs. It is nearly the same training and no second observation, so "
            "a seed counts once, on the machine that ran it first, and n counts seeds. Times and "
            "memory are never pooled: a row has this machine's own, and the table of each machine "
            "has those of the others, each on its own threads.",
        )


def _costs(sections: list[ReportSection]) -> Iterator[Explanation]:
    runs = [run for section in sections for run in section.document.runs]
    yield Explanation(
        "Train time",
        "is wall-clock time inside training only: import, data, tracing and evaluation are kept "
        "apart. Images/s are training images by that time.",
    )
    yield Explanation(
        "Peak RSS",
        "is the training process's own largest resident memory up to the row's last step, the "
        "largest over its runs; marks read by different methods are never held against one "
        f"another. Read by: {text.memory_methods(runs)}.",
    )
    if phases_of([run for section in sections for run in section.document.own_runs]):
        yield Explanation(
            "Shared",
            "phases are those during which the suite's other process opened its store: their "
            'seconds are not the training process\'s alone. The phase "other" is the '
            "interpreter's start, waiting and writing files.",
        )
    if any(run.verdict for run in runs):
        yield Explanation(
            "Clean",
            "and a run's verdict say whether the machine let time, speed and memory be trusted: "
            "clean, suspect or invalid, by what was seen of it up to the run's last step; – where "
            "nobody looked. Invalid runs are left out of train time, images/s and peak RSS.",
        )
    if any(section.document.scaling for section in sections):
        yield Explanation(
            "Speed-up",
            "is the train seconds with the fewest threads by those with more, seed by seed: the "
            "mean of these ratios, ± their standard deviation over the seeds that were timed at "
            "both. Efficiency is the speed-up by the ratio of the thread counts.",
        )


def _trainings(sections: list[ReportSection]) -> Iterator[Explanation]:
    runs = [run for section in sections for run in section.document.runs]
    if share_a_training(runs):
        yield Explanation(
            "Rows of one seed",
            "are prefixes of one another: they are cut from one training, so they are not "
            "independent of each other, and a short row's time is a part of the long one's.",
        )
    elif len({run.steps for run in runs}) > 1:
        yield Explanation("Every row", "was trained from zero, apart from the others.")
