"""Which runs are draws of one quantity, and may be averaged; whether it is Table I's. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from mnist_bench.core import formatting
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class Group:
    """A step count's runs.

    Attributes:
        steps: The step count.
        taken: The finished runs that the row's figures are of: one question, carried out in one
            way, a seed once.
        left_out: What was left out and why, in words; empty where nothing was.
        obstacles: Why they do not compare with Table I; empty where they do.
        machines: Ids of the machines that runs of this question were carried out on, in this way.
    """

    steps: int
    taken: tuple[RunSummary, ...]
    left_out: str
    obstacles: tuple[str, ...]
    machines: frozenset[str | None]


def groups(results: Sequence[RunSummary]) -> list[Group]:
    """One group for every step count, rising.

    Args:
        results: Runs however they ended, the oldest first; where some of a step count compare with
            Table I, the group takes only those, else those of the newest one's protocol. Of runs
            that were carried out differently it takes those of the most threads: that is how a
            training is done where nothing else is asked.
    """
    by_steps = sorted(results, key=lambda result: result.steps)
    return [_group(steps, list(of)) for steps, of in groupby(by_steps, lambda r: r.steps)]


def one_per_seed(results: Sequence[RunSummary]) -> tuple[RunSummary, ...]:
    """A seed trained twice is one draw, not two: the later stands for it, unless it is spoilt."""
    taken: dict[int, RunSummary] = {}
    for result in results:
        seed = seed_of(result)
        before = taken.get(seed, result)
        if result.verdict != "invalid" or before.verdict == "invalid":
            taken[seed] = result
    return tuple(taken.values())


def seed_of(result: RunSummary | RunResult) -> int:
    """What fixed the training's chances; its own seed where another is not told."""
    return result.seed if result.training_seed is None else result.training_seed


def compares(result: RunSummary) -> bool:
    """Whether a run is of the question that Table I asks, whatever its step count."""
    return not _differences(result)


def question(result: RunSummary) -> tuple[str, str, Hyperparameters, int | None, int | None]:
    """What must agree for accuracies to be draws of one quantity."""
    asked = result.dataset, result.model, result.hyperparameters
    return *asked, result.eval_first, result.eval_every


def arithmetic(result: RunSummary) -> tuple[str, str, str | None]:
    """What must agree beside the threads for runs to be carried out in one way."""
    return result.precision, result.device, result.device_name


def way(result: RunSummary) -> tuple[object, ...]:
    """What must agree for runs to be carried out in one way."""
    return result.threads, arithmetic(result)


def _group(steps: int, results: list[RunSummary]) -> Group:
    finished = [r for r in results if r.status == "finished" and r.max_test_accuracy is not None]
    comparable = [r for r in finished if not _differences(r)]
    newest = [r for r in finished if question(r) == question(finished[-1])]
    first = max(comparable or newest, key=lambda r: r.threads, default=None)
    asked = [r for r in finished if first and question(r) == question(first)]
    alike = [r for r in asked if first and way(r) == way(first)]
    taken = one_per_seed(alike)
    left_out = (
        (len(results) - len(finished), "not finished"),
        (len(finished) - len(asked), "of another protocol"),
        (len(asked) - len(alike), f"not with {_way_in_words(first)}" if first else ""),
        (len(alike) - len(taken), "of a seed that was run again"),
    )
    obstacles = (
        []
        if paper.row_of(steps)
        else [f"Table I has no row of {formatting.counted(steps, 'step')}"]
    )
    obstacles += _differences(first) if first else ["no finished run"]
    return Group(
        steps=steps,
        taken=taken,
        left_out=", ".join(f"{number} {why}" for number, why in left_out if number),
        obstacles=tuple(obstacles),
        machines=frozenset(run.machine_id for run in alike),
    )


def _way_in_words(result: RunSummary) -> str:
    """How a run was carried out: `2 threads in float32 on cpu`."""
    device = result.device_name or result.device
    return f"{formatting.threads(result.threads)} in {result.precision} on {device}"


def _differences(result: RunSummary) -> list[str]:
    """How a run's question differs from Table I's."""
    found = []
    if result.dataset != paper.DATASET:
        found.append(f"other images: {result.dataset}")
    if result.model != paper.PROTOCOL.model:
        found.append(f"other model: {result.model}")
    elif other := result.hyperparameters.not_default:
        found.append(f"other hyperparameters: {other}")
    first, every = result.eval_first, result.eval_every
    if (first, every) != (paper.PROTOCOL.eval_first, paper.PROTOCOL.eval_every):
        then = "every step" if every == 1 else f"every {every} steps"
        found.append(f"other evaluation grid: first after {first}, then {then}")
    return found
