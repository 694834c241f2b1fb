"""The evidence that claims are decided by: runs and experiments of one machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """Evidence from one machine: float32 on the CPU, one thread count per kind of evidence.

    Attributes:
        runs: Runs of Table I's protocol, oldest first.
        trainings: Those used for claims 2 to 4, with their curves, oldest first.
        marathon: A training of the scenario `marathon`; None if there is none.
        scaling: Times of the scenario `threads`, by increasing thread count.
        techniques: Runs of other techniques, by the name of their packaged scenario.
        experiments: Results of experiments, by claim number.
        layers: Layer maps of the paper's test image; None if not recorded.
        price: Price of a kilowatt-hour, in the user's currency; None if not given.
    """

    runs: tuple[RunSummary, ...] = ()
    trainings: tuple[RunResult, ...] = ()
    marathon: RunResult | None = None
    rows: tuple[Row, ...] = ()
    scaling: tuple[Scaling, ...] = ()
    techniques: Mapping[str, tuple[RunSummary, ...]] = field(default_factory=dict)
    experiments: Mapping[int, ExperimentResult] = field(default_factory=dict)
    layers: LayerMaps | None = None
    price: float | None = None


def is_float32_cpu(run: RunSummary | RunResult) -> bool:
    """Whether a run used float32 on the CPU, as the paper's runs did."""
    return (run.precision, run.device) == ("float32", "cpu")


def of_usual_threads(runs: Sequence[RunT], *, independent: bool = False) -> tuple[RunT, ...]:
    """Float32 CPU runs with the most common thread count and environment; the higher on a tie.

    Args:
        runs: Of one scenario, oldest first.
        independent: Whether to choose the count that has most independent runs instead.
    """
    alike: dict[tuple[int, str], list[RunT]] = {}
    for run in filter(is_float32_cpu, runs):
        alike.setdefault((run.threads, run.environment or ""), []).append(run)

    def size(key: tuple[int, str]) -> tuple[int, bool, int]:
        (threads, variables), group = key, alike[key]
        independents = sum(map(len, independent_runs(group).values()))
        return independents if independent else len(group), not variables, threads

    return tuple(alike[max(alike, key=size)]) if alike else ()


def independent_runs(runs: Sequence[RunT]) -> Mapping[int, tuple[RunT, ...]]:
    """Independent runs of Table I's step counts, by increasing step count.

    Two runs of one seed are identical up to the shorter one's last step, even if they come from
    separate trainings. Only the longest run of each seed is used; on a tie, the newest.

    Args:
        runs: Of Table I's protocol, with the same execution settings, oldest first.
    """
    by_seed: dict[int, RunT] = {}
    for run in sorted(_finished(runs), key=lambda run: run.steps):
        by_seed[seed_of(run)] = run
    counts = sorted({run.steps for run in by_seed.values()})
    return {steps: tuple(run for run in by_seed.values() if run.steps == steps) for steps in counts}


def runs_of_steps(runs: Sequence[RunT], steps: int) -> tuple[RunT, ...]:
    """Runs of one of Table I's step counts, the newest of each seed: they are independent.

    Args:
        runs: Of Table I's protocol, with the same execution settings, oldest first.
    """
    return tuple({seed_of(run): run for run in _finished(runs) if run.steps == steps}.values())


def _finished(runs: Sequence[RunT]) -> Sequence[RunT]:
    """Finished runs of Table I's step counts."""
    return [
        run
        for run in runs
        if run.status == "finished"
        and paper.row_of(run.steps) is not None
        and run.final_test_accuracy is not None
    ]
