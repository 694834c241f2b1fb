"""What claims are decided by: the runs and findings of one machine. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from mnist_bench.analysis.grouping import seed_of
from mnist_bench.results.document import Row, Scaling
from mnist_bench.results.experiments import ExperimentResult
from mnist_bench.results.layer_maps import LayerMaps
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios import paper

RunT = TypeVar("RunT", RunSummary, RunResult)


@dataclass(frozen=True)
class Evidence:
    """Of one machine, carried out in one way.

    Attributes:
        runs: Of Table I's protocol, the oldest first.
        trainings: Those of them with their curves that claims on learning look at, likewise.
        marathon: A training of the scenario `marathon`; None where there is none.
        rows: Of Table I.
        scaling: The scenario `threads`, by rising thread counts.
        techniques: Runs of other techniques, by the name of their packaged scenario.
        findings: What was measured for claims by themselves, by the claim's number.
        layers: What layers make of the paper's test image; None where nobody looked.
        price: Of a kilowatt-hour, in the user's currency; None where none was given.
    """

    runs: tuple[RunSummary, ...] = ()
    trainings: tuple[RunResult, ...] = ()
    marathon: RunResult | None = None
    rows: tuple[Row, ...] = ()
    scaling: tuple[Scaling, ...] = ()
    techniques: Mapping[str, tuple[RunSummary, ...]] = field(default_factory=dict)
    findings: Mapping[int, ExperimentResult] = field(default_factory=dict)
    layers: LayerMaps | None = None
    price: float | None = None


def is_plain(run: RunSummary | RunResult) -> bool:
    """Whether it was carried out in float32 on the processor, as the paper's were."""
    return (run.precision, run.device) == ("float32", "cpu")


def of_one_way(runs: Sequence[RunT]) -> tuple[RunT, ...]:
    """Those in float32 on the processor, with the number of threads that most of them had.

    Args:
        runs: Of one question, the oldest first.
    """
    return _of_the_most(runs, len)


def of_most_draws(runs: Sequence[RunT]) -> tuple[RunT, ...]:
    """Those in float32 on the processor, with the thread count that most independent ones had.

    Args:
        runs: Of one question, the oldest first.
    """
    return _of_the_most(runs, lambda of: sum(map(len, independent(of).values())))


def _of_the_most(runs: Sequence[RunT], count: Callable[[Sequence[RunT]], int]) -> tuple[RunT, ...]:
    """The plain ones of the thread count with the most of something; of two the larger."""
    by_threads: dict[int, list[RunT]] = {}
    for run in filter(is_plain, runs):
        by_threads.setdefault(run.threads, []).append(run)
    most = max(by_threads, key=lambda threads: (count(by_threads[threads]), threads), default=None)
    return () if most is None else tuple(by_threads[most])


def independent(runs: Sequence[RunT]) -> Mapping[int, tuple[RunT, ...]]:
    """Trainings of Table I's step counts that share nothing, by rising step count.

    Two trainings from one seed are the same as far as the shorter one goes, whether they were cut
    from one another or not: of each seed the longest alone is taken, of those the newest.

    Args:
        runs: Of Table I's protocol, carried out in one way, the oldest first.
    """
    draws: dict[int, RunT] = {}
    for run in sorted(_finished(runs), key=lambda run: run.steps):
        draws[seed_of(run)] = run
    counts = sorted({run.steps for run in draws.values()})
    return {steps: tuple(run for run in draws.values() if run.steps == steps) for steps in counts}


def of_steps(runs: Sequence[RunT], steps: int) -> tuple[RunT, ...]:
    """Trainings of one of Table I's step counts, a seed once: they share nothing with each other.

    Args:
        runs: Likewise.
        steps: Updates.
    """
    return tuple({seed_of(run): run for run in _finished(runs) if run.steps == steps}.values())


def _finished(runs: Sequence[RunT]) -> Sequence[RunT]:
    """Those that came to their end."""
    return [
        run
        for run in runs
        if run.status == "finished"
        and paper.row_of(run.steps) is not None
        and run.final_test_accuracy is not None
    ]
