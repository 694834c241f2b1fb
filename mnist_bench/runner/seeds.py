"""How many seeds are enough, where the user leaves that to the suite."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mnist_bench.analysis import statistics, table1
from mnist_bench.core import formatting
from mnist_bench.results.document import Row
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import summarise

PRECISION_TARGET = 0.0005
BUDGET_SECONDS = 30 * 60.0


@dataclass(frozen=True)
class StoppingRule:
    """When seeds are enough; declared before the first is trained.

    Attributes:
        precision_target: Half the width that the 95% t interval of each row's mean of max test
            accuracy may have.
        budget_seconds: Wall-clock time for a scenario's trainings.
    """

    precision_target: float = PRECISION_TARGET
    budget_seconds: float = BUDGET_SECONDS

    def __str__(self) -> str:
        return (
            "until the 95% interval of each row's mean max test accuracy is within "
            f"±{self.precision_target:g}, or until one more would end after "
            f"{formatting.duration(self.budget_seconds)}"
        )

    def reason_to_stop(
        self, results: Sequence[RunResult], elapsed_seconds: float, seed_seconds: float
    ) -> str | None:
        """Why no further seed is begun, in words; None where one is.

        Args:
            results: All runs so far.
            elapsed_seconds: Since the first training was begun.
            seed_seconds: What a seed took so far; 0 where none was trained.
        """
        rows = table1.rows(summarise(results), None)
        if rows and all(_is_within(row, self.precision_target) for row in rows):
            return f"each mean is within ±{self.precision_target:g} ({_widest(rows)})"
        if _last_failed(results):
            return "no row of the last one finished"
        if seed_seconds and elapsed_seconds + seed_seconds > self.budget_seconds:
            budget = formatting.duration(self.budget_seconds)
            return f"one more would end after the budget of {budget} ({_widest(rows)})"
        return None


class SeedCount:
    """A rule at work on one scenario.

    Args:
        rule: The rule; None where every seed of the plan is wanted.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, rule: StoppingRule | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rule = rule
        self._clock = clock
        self._began_at = clock()
        self._asked = 0
        self._ended = ""

    @property
    def ended(self) -> str:
        """Why it ended, in one line; empty while it goes on, and where something else ended it."""
        return self._ended

    def enough(self, results: Sequence[RunResult]) -> bool:
        """Whether to stop here; to be asked before each seed, the first one too.

        Args:
            results: All runs so far.
        """
        if self._rule is None:
            return False
        elapsed = self._clock() - self._began_at
        pace = elapsed / self._asked if self._asked else 0.0
        self._asked += 1
        reason = self._rule.reason_to_stop(results, elapsed, pace)
        if reason:
            seeds = len({run.seed for run in results})
            self._ended = f"Stopped after {seeds} seed{'s' if seeds != 1 else ''}: {reason}"
        return reason is not None


def half_width(row: Row) -> float | None:
    """Half the 95% t interval of a row's mean max test accuracy; None below two seeds."""
    if row.sd is None or row.n < 2:
        return None
    return statistics.half_width(row.sd, row.n)


def _is_within(row: Row, target: float) -> bool:
    width = half_width(row)
    return row.n >= table1.MIN_SEEDS and width is not None and width <= target


def _widest(rows: Sequence[Row]) -> str:
    widths = [(width, row.steps) for row in rows if (width := half_width(row)) is not None]
    if not widths:
        return "no interval yet"
    width, steps = max(widths)
    return f"widest: ±{formatting.spread(width)} at {formatting.count(steps)} steps"


def _last_failed(results: Sequence[RunResult]) -> bool:
    """Whether the last seed has nothing to show: the next one would hardly fare better."""
    last = [run for run in results if run.seed == results[-1].seed]
    return bool(last) and all(run.status != "finished" for run in last)
