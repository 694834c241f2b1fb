"""Group runs into replicates that may be averaged, and check whether Table I applies to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from mnist_bench.core import formatting
from mnist_bench.measurement.quality import Verdict
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import RecordedRun, RunSummary
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.hyperparameters import Hyperparameters

ANY_MACHINE = ""
"""In place of a machine's id: that of the run by which a group's task and settings are chosen."""


@dataclass(frozen=True)
class Group:
    """The replicates of one step count.

    Attributes:
        runs: The finished runs whose accuracies are averaged: same task, each seed once.
        machine_id: The machine whose times and memory stand for the group.
        by_machine: The runs by machine id: same task, each machine's own execution settings, each
            seed once on a machine. Times and memory are averaged over one machine's only.
        left_out: What was left out and why, in words; empty if nothing was.
        obstacles: Why they are not comparable with Table I; empty if they are.
    """

    steps: int
    runs: tuple[RunSummary, ...]
    machine_id: str | None
    by_machine: Mapping[str | None, tuple[RunSummary, ...]]
    left_out: str
    obstacles: tuple[str, ...]

    @property
    def pooled_machines(self) -> int:
        """Number of machines that the averaged accuracies are from."""
        return len({run.machine_id for run in self.runs})

    @property
    def own(self) -> tuple[RunSummary, ...]:
        """The runs of `machine_id`."""
        return self.by_machine.get(self.machine_id, ())


def groups(results: Sequence[RunSummary], machine_id: str | None = ANY_MACHINE) -> list[Group]:
    """One group per step count, ascending.

    If some runs of a step count are comparable with Table I, the group consists of those, else of
    those with the newest run's task. Among several execution settings it takes those of the run
    with the most threads, since that is the default of a training.

    Runs of other machines join the group if `portable_task` is the same, since an accuracy depends
    on the machine only by the order of its arithmetic. Their thread counts may differ from one
    machine to the next: of each machine those runs join that have its most threads. The same seed
    on two machines is nearly the same training, with the same initial weights and batches, and no
    second observation: a seed counts once, on the machine that ran it first.

    Args:
        results: Runs with any status, oldest first. Those that `without_other_versions` leaves out
            must not be among them.
        machine_id: The machine whose runs choose task and settings, as long as it has finished one.
    """
    by_steps = sorted(results, key=lambda result: result.steps)
    return [
        _group(steps, list(of_steps), machine_id)
        for steps, of_steps in groupby(by_steps, lambda r: r.steps)
    ]


def without_other_versions(
    runs: Sequence[RecordedRun], machine_id: str | None = ANY_MACHINE
) -> list[RecordedRun]:
    """Leave out finished runs of other machines that have another TensorFlow version.

    A version that is not recorded differs from every other one. If one machine's own runs of a task
    are of several versions, no other machine's are kept.

    Args:
        runs: Runs with any status, oldest first.
        machine_id: The machine that the others must agree with; by default, for each
            `portable_task`, that of its newest run.
    """
    finished = [(portable_task(each.run), each) for each in runs if each.run.status == "finished"]
    chosen = {
        task: each.run.machine_id if machine_id == ANY_MACHINE else machine_id
        for task, each in finished
    }
    versions: dict[Hashable, set[str | None]] = {task: set() for task in chosen}
    for task, each in finished:
        if each.run.machine_id == chosen[task]:
            versions[task].add(each.tensorflow)

    def is_kept(each: RecordedRun) -> bool:
        if each.run.status != "finished":
            return True
        task = portable_task(each.run)
        is_same = each.tensorflow is not None and versions[task] == {each.tensorflow}
        return is_same or each.run.machine_id == chosen[task]

    return [each for each in runs if is_kept(each)]


_DISTURBANCE: dict[Verdict | None, int] = {None: 0, "clean": 0, "suspect": 1, "invalid": 2}


def one_per_seed(results: Iterable[RunSummary]) -> tuple[RunSummary, ...]:
    """Keep one run per seed: the latest of those that the machine disturbed least."""
    return _latest(results, seed_of)


def _latest(
    results: Iterable[RunSummary], key: Callable[[RunSummary], Hashable]
) -> tuple[RunSummary, ...]:
    """Keep one run per key, in the order of the keys' first runs; `one_per_seed` says which."""
    kept: dict[Hashable, RunSummary] = {}
    for result in results:
        previous = kept.get(key(result), result)
        if _DISTURBANCE[result.verdict] <= _DISTURBANCE[previous.verdict]:
            kept[key(result)] = result
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


def precision_and_device(result: RunSummary) -> tuple[str, str, str | None, str | None]:
    """Execution settings apart from the number of threads."""
    return result.precision, result.device, result.device_name, result.environment


def execution_settings(result: RunSummary) -> tuple[object, ...]:
    """How a run was executed: what must be equal, beside the task, for times to be averaged."""
    return result.threads, precision_and_device(result)


def portable_task(result: RunSummary) -> tuple[object, ...]:
    """What must be equal for runs of two machines to be compared, or their accuracies averaged.

    The kind of device is part of it, since a GPU may compute float32 with fewer digits; its name
    and the number of threads are the machine's own.
    """
    task = result.scenario, result.steps, task_of(result), result.dataset_digest
    return *task, result.precision, result.device, result.environment


def _group(steps: int, results: list[RunSummary], machine_id: str | None) -> Group:
    finished = [r for r in results if r.status == "finished" and r.max_test_accuracy is not None]
    own = [r for r in finished if r.machine_id == machine_id] or finished
    comparable = [r for r in own if not _differences(r)]
    like_newest = [r for r in own if task_of(r) == task_of(own[-1])]
    example = max(comparable or like_newest, key=_preference, default=None)
    same_task = [r for r in finished if example and task_of(r) == task_of(example)]
    alike = _with_same_settings(example, same_task) if example else []
    once_per_machine = _latest(alike, lambda r: (r.machine_id, seed_of(r)))
    first_of_seed: dict[int, RunSummary] = {}
    by_machine: dict[str | None, list[RunSummary]] = {}
    for run in once_per_machine:
        first_of_seed.setdefault(seed_of(run), run)
        by_machine.setdefault(run.machine_id, []).append(run)
    runs = tuple(first_of_seed.values())
    unlike = Counter(r.machine_id for r in same_task)
    unlike.subtract(r.machine_id for r in alike)
    unlike_here = unlike.pop(example.machine_id) if example else 0
    left_out = (
        (len(results) - len(finished), "not finished"),
        (len(finished) - len(same_task), "of another protocol"),
        (unlike_here, f"not with {_settings_in_words(example)}" if example else ""),
        (unlike.total(), "of other machines and with other settings"),
        (len(alike) - len(once_per_machine), "of a seed that was run again"),
        (len(once_per_machine) - len(runs), "of a seed that another machine ran first"),
    )
    obstacles = (
        []
        if paper.row_of(steps)
        else [f"Table I has no row of {formatting.counted(steps, 'step')}"]
    )
    obstacles += _differences(example) if example else ["no finished run"]
    if machine_id == ANY_MACHINE and example:
        machine_id = example.machine_id
    return Group(
        steps=steps,
        runs=runs,
        machine_id=machine_id,
        by_machine={each: tuple(its_runs) for each, its_runs in by_machine.items()},
        left_out=", ".join(f"{number} {reason}" for number, reason in left_out if number),
        obstacles=tuple(obstacles),
    )


def _preference(result: RunSummary) -> tuple[bool, int]:
    """Runs without variables that change the computation come first, then those of most threads."""
    return result.environment is None, result.threads


def _with_same_settings(example: RunSummary, same_task: Sequence[RunSummary]) -> list[RunSummary]:
    """Of each machine the runs with the settings of its run with the most threads.

    Args:
        example: Of the runs of its machine one with the most threads.
        same_task: Runs with its task; only those of other machines must be of its scenario too.
    """
    portable = [
        r
        for r in same_task
        if r.machine_id == example.machine_id or portable_task(r) == portable_task(example)
    ]
    most = {example.machine_id: example}
    for r in portable:
        if _preference(r) > _preference(most.setdefault(r.machine_id, r)):
            most[r.machine_id] = r
    return [r for r in portable if execution_settings(r) == execution_settings(most[r.machine_id])]


def _settings_in_words(result: RunSummary) -> str:
    """Execution settings in words: `2 threads in float32 on cpu`."""
    device = result.device_name or result.device
    words = f"{formatting.threads(result.threads)} in {result.precision} on {device}"
    return f"{words} with {result.environment}" if result.environment else words


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
