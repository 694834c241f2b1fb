"""Rank machines by the speed at which they ran the same task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from mnist_bench.analysis.costs import peak_of, trusted, with_memory
from mnist_bench.analysis.grouping import one_per_seed, portable_task
from mnist_bench.analysis.statistics import mean_and_sd
from mnist_bench.core.records import shared_fields
from mnist_bench.measurement.conditions import known
from mnist_bench.results.document import MachineLine
from mnist_bench.results.run_summary import RecordedRun


def rank_machines(runs: Iterable[RecordedRun]) -> tuple[MachineLine, ...]:
    """One line per machine for each task that several machines have finished, fastest first.

    The same task means the same scenario, step count, protocol, data, precision and kind of device.
    Of each machine the runs with the most threads count. A machine with two GPUs has two lines.
    """
    finished = [
        recorded
        for recorded in runs
        if recorded.run.status == "finished" and recorded.study is None
    ]
    finished.sort(key=_task)
    return tuple(line for _, of_task in groupby(finished, _task) for line in _rank(list(of_task)))


def _task(recorded: RecordedRun) -> tuple[str, int, str]:
    return recorded.run.scenario, recorded.run.steps, repr(portable_task(recorded.run))


def _rank(runs: Sequence[RecordedRun]) -> list[MachineLine]:
    by_machine: dict[tuple[str, str | None], list[RecordedRun]] = {}
    for recorded in runs:
        machine = recorded.run.machine_id or recorded.machine or ""
        by_machine.setdefault((machine, recorded.run.device_name), []).append(recorded)
    if len({machine for machine, _ in by_machine}) < 2:
        return []
    lines = [line for on_machine in by_machine.values() if (line := _line(on_machine))]
    if len(lines) < 2:
        return []
    fastest = max(known(line.images_per_second_mean for line in lines), default=None)
    lines.sort(key=lambda line: -(line.images_per_second_mean or 0))
    return [
        line.model_copy(update={"relative": line.images_per_second_mean / fastest})
        if fastest and line.images_per_second_mean is not None
        else line
        for line in lines
    ]


def _line(recorded_runs: Sequence[RecordedRun]) -> MachineLine | None:
    threads = max(recorded.run.threads for recorded in recorded_runs)
    runs = one_per_seed(
        [recorded.run for recorded in recorded_runs if recorded.run.threads == threads]
    )
    timed = trusted(runs)
    if not timed:
        return None
    speed_mean, speed_sd = mean_and_sd([run.images_per_second for run in timed])
    final_mean, _ = mean_and_sd([run.final_test_accuracy for run in runs])
    names = [recorded.machine for recorded in recorded_runs if recorded.machine]
    first = runs[0]
    return MachineLine(
        machine=names[0] if names else f"machine {(first.machine_id or 'without an id')[:8]}",
        n=len(timed),
        images_per_second_mean=speed_mean,
        images_per_second_sd=speed_sd,
        final_test_accuracy_mean=final_mean,
        peak_rss_bytes_max=peak_of(with_memory(runs)).rss_bytes,
        relative=None,
        **shared_fields(first, MachineLine),
    )
