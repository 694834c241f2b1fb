"""Boards of records: the rules that a file of runs must meet, and the line that it gets.

A record's runs stand beside runs of Table I on the same machine, because seconds of different
machines don't compare: what counts is the share of the paper's own time there.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mnist_bench.analysis.grouping import has_table_1_task
from mnist_bench.analysis.statistics import Estimate, mean_and_sd, mean_of, one_sided_p
from mnist_bench.core.formatting import counted
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import summarise_run
from mnist_bench.scenarios import paper

FIRST_FRESH_SEED = 10_000_000
"""Smaller seeds are those of searches, confirmations and examples: something was chosen on them."""
MIN_PAPER_RUNS = 3
MAX_P = 0.01
_LONGEST = paper.TABLE_1[-1]
_TEST_IMAGES = 10_000


@dataclass(frozen=True)
class Board:
    """A board.

    Attributes:
        min_runs: Number of seeds at least.
        least_accuracy: What the mean must exceed; None if the most accurate run is the record.
    """

    name: str
    title: str
    precision: str
    min_runs: int
    least_accuracy: float | None = None


BOARDS = (
    Board(
        "sprint",
        f"Least train seconds to a mean final test accuracy of {_LONGEST.max_test_accuracy}, as a "
        "share of the paper's time to it",
        "float32",
        20,
        _LONGEST.max_test_accuracy,
    ),
    Board(
        "accurate",
        f"Best mean final test accuracy within the train seconds of the paper's {_LONGEST.steps:,} "
        "steps",
        "float32",
        10,
    ),
    Board("accurate-bfloat16", "The same, computed in bfloat16", "bfloat16", 10),
)


@dataclass(frozen=True)
class DatedRun:
    """A run, when it began (Unix time in milliseconds), and its machine's hardware."""

    run: RunResult
    begun_at_ms: int
    machine: str


@dataclass(frozen=True)
class Entry:
    """The line of a board.

    Attributes:
        scenario: Of the record's runs.
        accuracy: Mean final test accuracy.
        train_seconds: Mean of the clean runs; None if there is none.
        paper_share: Of the paper's time, see `Board.title`; None if it is not known.
        verdicts: Number of runs by verdict, in words.
        problems: Rules that are not met, in words; empty for a record.
    """

    board: Board
    date: str
    scenario: str
    machine: str
    accuracy: Estimate
    train_seconds: float | None
    paper_share: float | None
    verdicts: str
    problems: tuple[str, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of its line, see `COLUMNS`."""
        by_time = self.board.least_accuracy is not None
        share = "–" if self.paper_share is None else f"{self.paper_share:.4f}"
        if by_time and self.paper_share:
            share = f"1/{1 / self.paper_share:.1f}"
        seconds = "–" if self.train_seconds is None else f"{self.train_seconds:.1f} s"
        mean = f"{self.accuracy.value:.5f} ({self.accuracy.low:.5f} to {self.accuracy.high:.5f})"
        return (
            *(self.date, share, seconds, mean, str(self.accuracy.n)),
            *(self.machine, self.scenario, self.verdicts),
        )


COLUMNS = (
    *("date", "share of the paper's time", "train time"),
    *("final test accuracy (95% interval)", "n", "machine", "scenario", "verdicts"),
)


def entry_of(board: Board, runs: Sequence[DatedRun]) -> Entry | None:
    """Judge the runs of a file; None if there are not two finished ones beside those of Table I."""
    own, papers = [], []
    for each in runs:
        if not has_table_1_task(summarise_run(each.run)):
            own.append(each)
        elif (each.run.steps, each.run.precision) == (_LONGEST.steps, "float32"):
            papers.append(each)
    scored = [
        each.run.final_test_accuracy for each in own if each.run.final_test_accuracy is not None
    ]
    if len(scored) < 2:
        return None
    seconds, _ = mean_and_sd([each.run.train_seconds_total for each in own if _is_clean(each)])
    paper_seconds = _paper_seconds(board, papers)
    share = seconds / paper_seconds if seconds and paper_seconds else None
    verdicts = Counter(each.run.verdict or "failed" for each in own)
    newest = max(each.begun_at_ms for each in own)
    return Entry(
        board=board,
        date=dt.datetime.fromtimestamp(newest / 1_000, dt.UTC).date().isoformat(),
        scenario=own[0].run.scenario,
        machine=own[0].machine,
        accuracy=mean_of(scored),
        train_seconds=seconds,
        paper_share=share,
        verdicts=", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items())),
        problems=(
            *_problems_of_runs(board, own, papers),
            *_problems_of_figures(board, scored, share),
        ),
    )


def _is_clean(each: DatedRun) -> bool:
    return each.run.verdict == "clean"


def _paper_seconds(board: Board, papers: Sequence[DatedRun]) -> float | None:
    """The paper's mean time in clean runs; where it never reached the accuracy, all of its time."""
    clean = [each.run for each in papers if _is_clean(each)]
    least = board.least_accuracy
    reached = [None if least is None else run.seconds_to_accuracy("test", least) for run in clean]
    mean, _ = mean_and_sd(
        [seconds or run.train_seconds_total for run, seconds in zip(clean, reached, strict=True)]
    )
    return mean


def _problems_of_runs(
    board: Board, own: Sequence[DatedRun], papers: Sequence[DatedRun]
) -> list[str]:
    runs = [each.run for each in own]
    settings = {
        (run.scenario, run.steps, run.hyperparameters, run.eval_first, run.eval_every)
        for run in runs
    }
    seeds = sorted(run.seed for run in runs)
    both = [*own, *papers]
    places = {(each.run.machine_id, each.run.threads, each.run.device) for each in both}
    clean_papers = sum(map(_is_clean, papers))
    in_turns = (
        papers
        and own
        and (
            min(each.begun_at_ms for each in papers) < max(each.begun_at_ms for each in own)
            and min(each.begun_at_ms for each in own) < max(each.begun_at_ms for each in papers)
        )
    )
    rules = {
        "its runs are of several configurations": len(settings) == 1,
        f"not all of its runs are in {board.precision}": {run.precision for run in runs}
        == {board.precision},
        "not all of its runs finished": {run.status for run in runs} == {"finished"},
        "not all images are MNIST's": {each.run.dataset for each in both} == {"mnist"},
        "its runs and the paper's are of several machines, thread counts or devices": len(places)
        == 1,
        f"it has {counted(len(runs), 'run')}, fewer than {board.min_runs}": len(runs)
        >= board.min_runs,
        f"seeds below {FIRST_FRESH_SEED:,} are not fresh": seeds[0] >= FIRST_FRESH_SEED,
        "seeds are left out or repeated: they must follow one another": seeds
        == [*range(seeds[0], seeds[0] + len(seeds))],
        f"beside it are {counted(clean_papers, 'clean run')} of Table I's {_LONGEST.steps:,} "
        f"steps, fewer than {MIN_PAPER_RUNS}": clean_papers >= MIN_PAPER_RUNS,
        "it and Table I were not trained by turns": bool(in_turns),
        "fewer than half of its runs are clean": 2 * sum(map(_is_clean, own)) >= len(own),
        "it has an invalid run": all(run.verdict != "invalid" for run in runs),
    }
    return [problem for problem, is_met in rules.items() if not is_met]


def _problems_of_figures(
    board: Board, accuracies: Sequence[float], share: float | None
) -> list[str]:
    problems = []
    # Half an image, for rounding; anything else was not counted on MNIST's test images.
    if any(abs(each * _TEST_IMAGES - round(each * _TEST_IMAGES)) > 1e-3 for each in accuracies):
        problems.append(f"an accuracy is no share of {_TEST_IMAGES:,} images")
    if board.least_accuracy is not None:
        p = one_sided_p(accuracies, board.least_accuracy)
        if p >= MAX_P:
            least = board.least_accuracy
            problems.append(f"that its mean exceeds {least} has a p of {p:.3f}, not below {MAX_P}")
    if share is not None and share > 1:
        problems.append("it takes longer than the paper's")
    return problems
