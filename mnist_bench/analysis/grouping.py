"""Group runs into replicates that may be averaged, and check whether Table I applies to them."""

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
    """The replicates of one step count.

    Attributes:
        steps: The step count.
        runs: The finished runs to average: same task, same execution settings, each seed once.
        left_out: What was left out and why, in words; empty if nothing was.
        obstacles: Why they are not comparable with Table I; empty if they are.
        machines: Machine ids of all runs with this task and these settings.
    """

    steps: int
    runs: tuple[RunSummary, ...]
    left_out: str
    obstacles: tuple[str, ...]
    machines: frozenset[str | None]


def groups(results: Sequence[RunSummary]) -> list[Group]:
    """One group per step count, ascending.

    If some runs of a step count are comparable with Table I, the group consists of those, else of
    those with the newest run's task. Among several execution settings it takes those of the run
    with the most threads, since that is the default of a training.

    Args:
        results: Runs with any status, oldest first.
    """
    by_steps = sorted(results, key=lambda result: result.steps)
    return [
        _group(steps, list(of_steps)) for steps, of_steps in groupby(by_steps, lambda r: r.steps)
    ]


def one_per_seed(results: Sequence[RunSummary]) -> tuple[RunSummary, ...]:
    """Keep one run per seed: the latest, unless it is invalid and an earlier one is not."""
    kept: dict[int, RunSummary] = {}
    for result in results:
        seed = seed_of(result)
        previous = kept.get(seed, result)
        if result.verdict != "invalid" or previous.verdict == "invalid":
            kept[seed] = result
    return tuple(kept.values())


def seed_of(result: RunSummary | RunResult) -> int:
    """Seed of the training; the run's own if the training's is not recorded."""
    return result.seed if result.training_seed is None else result.training_seed


def has_table_1_task(result: RunSummary) -> bool:
    """Whether a run has Table I's task, whatever its step count."""
    return not _differences(result)


def task_of(result: RunSummary) -> tuple[str, str, Hyperparameters, int | None, int | None]:
    """What must be equal for accuracies to be averaged."""
    training = result.dataset, result.model, result.hyperparameters
    return *training, result.eval_first, result.eval_every


def precision_and_device(result: RunSummary) -> tuple[str, str, str | None]:
    """Execution settings apart from the number of threads."""
    return result.precision, result.device, result.device_name


def execution_settings(result: RunSummary) -> tuple[object, ...]:
    """How a run was executed: what must be equal, beside the task, for times to be averaged."""
    return result.threads, precision_and_device(result)


def _group(steps: int, results: list[RunSummary]) -> Group:
    finished = [r for r in results if r.status == "finished" and r.max_test_accuracy is not None]
    comparable = [r for r in finished if not _differences(r)]
    like_newest = [r for r in finished if task_of(r) == task_of(finished[-1])]
    example = max(comparable or like_newest, key=lambda r: r.threads, default=None)
    same_task = [r for r in finished if example and task_of(r) == task_of(example)]
    same_settings = [
        r for r in same_task if example and execution_settings(r) == execution_settings(example)
    ]
    runs = one_per_seed(same_settings)
    left_out = (
        (len(results) - len(finished), "not finished"),
        (len(finished) - len(same_task), "of another protocol"),
        (
            len(same_task) - len(same_settings),
            f"not with {_settings_in_words(example)}" if example else "",
        ),
        (len(same_settings) - len(runs), "of a seed that was run again"),
    )
    obstacles = (
        []
        if paper.row_of(steps)
        else [f"Table I has no row of {formatting.counted(steps, 'step')}"]
    )
    obstacles += _differences(example) if example else ["no finished run"]
    return Group(
        steps=steps,
        runs=runs,
        left_out=", ".join(f"{number} {reason}" for number, reason in left_out if number),
        obstacles=tuple(obstacles),
        machines=frozenset(run.machine_id for run in same_settings),
    )


def _settings_in_words(result: RunSummary) -> str:
    """Execution settings in words: `2 threads in float32 on cpu`."""
    device = result.device_name or result.device
    return f"{formatting.threads(result.threads)} in {result.precision} on {device}"


def _differences(result: RunSummary) -> list[str]:
    """Differences between a run's task and Table I's, in words."""
    differences = []
    if result.dataset != paper.DATASET:
        differences.append(f"other images: {result.dataset}")
    if result.model != paper.PROTOCOL.model:
        differences.append(f"other model: {result.model}")
    elif other := result.hyperparameters.not_default:
        differences.append(f"other hyperparameters: {other}")
    first, every = result.eval_first, result.eval_every
    if (first, every) != (paper.PROTOCOL.eval_first, paper.PROTOCOL.eval_every):
        then = "every step" if every == 1 else f"every {every} steps"
        differences.append(f"other evaluation grid: first after {first}, then {then}")
    return differences
