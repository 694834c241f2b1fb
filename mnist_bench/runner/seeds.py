"""The stopping rule of `--seeds auto`: how many seeds are enough."""

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
    """When to stop adding seeds; printed before the first is trained.

    Attributes:
        precision_target: Largest half-width of the 95% t interval of each step count's mean max
            test accuracy.
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
        """Why to add no further seed; None to go on.

        Args:
            results: All runs so far.
            elapsed_seconds: Wall-clock time since the first training started.
            seed_seconds: Mean wall-clock time of a seed so far; 0 if none was trained.
        """
        rows = table1.rows(summarise(results), None)
        if rows and all(
            row.n >= table1.MIN_SEEDS and (half_width(row) or 0.0) <= self.precision_target
            for row in rows
        ):
            return f"each mean is within ±{self.precision_target:g} ({_widest(rows)})"
        last = [run for run in results if run.seed == results[-1].seed]
        if last and all(run.status != "finished" for run in last):  # so would probably the next
            return "no row of the last one finished"
        if seed_seconds and elapsed_seconds + seed_seconds > self.budget_seconds:
            budget = formatting.duration(self.budget_seconds)
            return f"one more would end after the budget of {budget} ({_widest(rows)})"
        return None


class SeedCount:
    """Applies a stopping rule to one scenario.

    Args:
        rule: The rule; None to train every seed of the plan.
        clock: Seconds, monotonic.

    Attributes:
        ended: Why the rule stopped the plan, in one line; empty if it did not.
    """

    def __init__(
        self, rule: StoppingRule | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rule = rule
        self._clock = clock
        self._started_at = clock()
        self._checks = 0
        self.ended = ""

    def enough(self, results: Sequence[RunResult]) -> bool:
        """Whether all runs so far are enough. Call it once before each seed, also the first."""
        if self._rule is None:
            return False
        elapsed = self._clock() - self._started_at
        seed_seconds = elapsed / self._checks if self._checks else 0.0
        self._checks += 1
        reason = self._rule.reason_to_stop(results, elapsed, seed_seconds)
        if reason:
            seeds = len({run.seed for run in results})
            self.ended = f"Stopped after {formatting.counted(seeds, 'seed')}: {reason}"
        return reason is not None


def half_width(row: Row) -> float | None:
    """Half-width of the 95% t interval of a row's mean max test accuracy; None below two seeds."""
    if row.sd is None or row.n < 2:
        return None
    return statistics.half_width(row.sd, row.n)


def _widest(rows: Sequence[Row]) -> str:
    widths = [(width, row.steps) for row in rows if (width := half_width(row)) is not None]
    if not widths:
        return "no interval yet"
    width, steps = max(widths)
    return f"widest: ±{formatting.spread(width)} at {formatting.count(steps)} steps"
