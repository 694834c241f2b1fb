"""Machines that ran the same, ranked by what it took them. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from itertools import groupby

from mnist_bench.conditions import known
from mnist_bench.draws import arithmetic, one_a_seed, question
from mnist_bench.record import Record
from mnist_bench.recorded import Recorded
from mnist_bench.spent import peak_of, trusted
from mnist_bench.summary import RunSummary


class MachineLine(Record):
    """One machine at one task; what is not known is None.

    Attributes:
        machine: By its hardware; its id where the hardware was not told.
        machine_id: Its random id; None where it has none.
        scenario: Of the task.
        steps: Of the task.
        threads: As many operations at a time, each on one thread.
        n: Finished runs that the machine did not spoil, a seed once.
        images_per_second_mean: Training images a second, training only.
        images_per_second_sd: Their standard deviation; None at n = 1.
        final_test_accuracy_mean: Of the accuracies after the last update.
        peak_rss_bytes_max: The largest high-water mark; None where they do not compare.
        relative: Its speed by the fastest machine's.
    """

    machine: str
    machine_id: str | None
    scenario: str
    steps: int
    threads: int
    n: int
    images_per_second_mean: float | None
    images_per_second_sd: float | None
    final_test_accuracy_mean: float | None
    peak_rss_bytes_max: int | None
    relative: float | None


def ranked(runs: Iterable[Recorded]) -> tuple[MachineLine, ...]:
    """A line a machine for each task that several machines have finished, the fastest first.

    A task is a scenario's step count at one protocol and one arithmetic; of one machine it takes
    the runs of the most threads.
    """
    finished = [each for each in runs if each.run.status == "finished" and each.study is None]
    lines: list[MachineLine] = []
    for _, of in groupby(sorted(finished, key=_place), key=_place):
        lines += _of_one_task(list(of))
    return tuple(lines)


def _place(each: Recorded) -> tuple[str, int, str]:
    return each.run.scenario, each.run.steps, repr(_task(each.run))


def _task(run: RunSummary) -> tuple[object, ...]:
    return run.scenario, run.steps, question(run), run.dataset_digest, arithmetic(run)[:2]


def _of_one_task(runs: Sequence[Recorded]) -> list[MachineLine]:
    by_machine: dict[str, list[Recorded]] = {}
    for each in runs:
        by_machine.setdefault(each.run.machine_id or each.machine or "", []).append(each)
    if len(by_machine) < 2:
        return []
    lines = [line for of in by_machine.values() if (line := _line(of))]
    if len(lines) < 2:
        return []
    fastest = max(known(line.images_per_second_mean for line in lines), default=None)
    lines.sort(key=lambda line: -(line.images_per_second_mean or 0))
    return [line.model_copy(update={"relative": _share(line, fastest)}) for line in lines]


def _share(line: MachineLine, fastest: float | None) -> float | None:
    if not fastest or line.images_per_second_mean is None:
        return None
    return line.images_per_second_mean / fastest


def _line(of: Sequence[Recorded]) -> MachineLine | None:
    most = max(each.run.threads for each in of)
    runs = one_a_seed([each.run for each in of if each.run.threads == most])
    timed = trusted(runs)
    if not timed:
        return None
    speeds = known(run.images_per_second for run in timed)
    finals = known(run.final_test_accuracy for run in runs)
    names = [each.machine for each in of if each.machine]
    first = runs[0]
    return MachineLine(
        machine=names[0] if names else f"machine {(first.machine_id or 'without an id')[:8]}",
        machine_id=first.machine_id,
        scenario=first.scenario,
        steps=first.steps,
        threads=most,
        n=len(timed),
        images_per_second_mean=statistics.fmean(speeds) if speeds else None,
        images_per_second_sd=statistics.stdev(speeds) if len(speeds) > 1 else None,
        final_test_accuracy_mean=statistics.fmean(finals) if finals else None,
        peak_rss_bytes_max=peak_of(timed).rss_bytes,
        relative=None,
    )
