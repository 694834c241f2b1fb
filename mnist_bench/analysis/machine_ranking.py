"""Machines that ran the same, ranked by what it took them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from mnist_bench.analysis.costs import mean_and_sd, peak_of, trusted
from mnist_bench.analysis.grouping import arithmetic, one_per_seed, question
from mnist_bench.measurement.conditions import known
from mnist_bench.results.document import MachineLine
from mnist_bench.results.run_summary import RecordedRun, RunSummary


def rank_machines(runs: Iterable[RecordedRun]) -> tuple[MachineLine, ...]:
    """A line a machine for each task that several machines have finished, the fastest first.

    A task is a scenario's step count at one protocol and one arithmetic; of one machine it takes
    the runs of the most threads. A machine with two GPUs has a line for each.
    """
    finished = [each for each in runs if each.run.status == "finished" and each.study is None]
    lines: list[MachineLine] = []
    for _, of in groupby(sorted(finished, key=_place), key=_place):
        lines += _of_one_task(list(of))
    return tuple(lines)


def _place(each: RecordedRun) -> tuple[str, int, str]:
    return each.run.scenario, each.run.steps, repr(_task(each.run))


def _task(run: RunSummary) -> tuple[object, ...]:
    return run.scenario, run.steps, question(run), run.dataset_digest, arithmetic(run)[:2]


def _of_one_task(runs: Sequence[RecordedRun]) -> list[MachineLine]:
    by_machine: dict[tuple[str, str | None], list[RecordedRun]] = {}
    for each in runs:
        machine = each.run.machine_id or each.machine or ""
        by_machine.setdefault((machine, each.run.device_name), []).append(each)
    if len({machine for machine, _ in by_machine}) < 2:
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


def _line(of: Sequence[RecordedRun]) -> MachineLine | None:
    most = max(each.run.threads for each in of)
    runs = one_per_seed([each.run for each in of if each.run.threads == most])
    timed = trusted(runs)
    if not timed:
        return None
    speed_mean, speed_sd = mean_and_sd([run.images_per_second for run in timed])
    final_mean, _ = mean_and_sd([run.final_test_accuracy for run in runs])
    names = [each.machine for each in of if each.machine]
    first = runs[0]
    return MachineLine(
        machine=names[0] if names else f"machine {(first.machine_id or 'without an id')[:8]}",
        machine_id=first.machine_id,
        scenario=first.scenario,
        steps=first.steps,
        threads=most,
        n=len(timed),
        images_per_second_mean=speed_mean,
        images_per_second_sd=speed_sd,
        final_test_accuracy_mean=final_mean,
        peak_rss_bytes_max=peak_of(timed).rss_bytes,
        relative=None,
        dataset=first.dataset,
        model=first.model,
        precision=first.precision,
        device=first.device,
        device_name=first.device_name,
        hyperparameters=first.hyperparameters,
        eval_first=first.eval_first,
        eval_every=first.eval_every,
    )
