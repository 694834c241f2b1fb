"""What claims are decided by: the runs and findings of one machine. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mnist_bench import paper
from mnist_bench.document import Row, Scaling
from mnist_bench.finding import Finding
from mnist_bench.layers import Layers
from mnist_bench.result import RunResult
from mnist_bench.summary import RunSummary

MARATHON = "marathon"
"""Name of the packaged scenario."""


@dataclass(frozen=True)
class Evidence:
    """Of one machine.

    Attributes:
        runs: Of `mnist-bench run`, the oldest first.
        trainings: Runs of Table I's protocol with their curves, likewise.
        marathons: Runs of the scenario `marathon` with their curves, likewise.
        rows: Of Table I.
        scaling: The same training at several thread counts.
        findings: What was measured for claims by themselves, by the claim's number.
        layers: What layers make of one test image; None where nobody looked.
        price: Of a kilowatt-hour, in the user's currency; None where none was given.
    """

    runs: tuple[RunSummary, ...] = ()
    trainings: tuple[RunResult, ...] = ()
    marathons: tuple[RunResult, ...] = ()
    rows: tuple[Row, ...] = ()
    scaling: tuple[Scaling, ...] = ()
    findings: Mapping[int, Finding] = field(default_factory=dict)
    layers: Layers | None = None
    price: float | None = None


def independent(trainings: Sequence[RunResult]) -> Mapping[int, tuple[RunResult, ...]]:
    """Trainings of Table I's step counts that share nothing, by rising step count.

    Of rows that are cut from one training the longest alone is taken, and of a seed that was
    trained twice the later.
    """
    longest: dict[str, RunResult] = {}
    for run in sorted(_papers(trainings), key=lambda run: run.steps):
        longest[run.trajectory] = run
    draws: dict[tuple[int, int], RunResult] = {}
    for run in _papers(trainings):
        if longest[run.trajectory] is run:
            draws[run.steps, run.training_seed] = run
    counts = sorted({steps for steps, _ in draws})
    return {steps: tuple(run for (of, _), run in draws.items() if of == steps) for steps in counts}


def of_steps(trainings: Sequence[RunResult], steps: int) -> tuple[RunResult, ...]:
    """Trainings of one of Table I's step counts, a seed once: they share nothing with each other.

    Args:
        trainings: The oldest first.
        steps: Updates.
    """
    seeds = {run.training_seed: run for run in _papers(trainings) if run.steps == steps}
    return tuple(seeds.values())


def _papers(trainings: Sequence[RunResult]) -> Sequence[RunResult]:
    """Those that came to their end on the paper's images."""
    return [
        run
        for run in trainings
        if run.status == "finished"
        and run.dataset == paper.DATASET
        and paper.row_of(run.steps) is not None
        and run.final_test_accuracy is not None
    ]
