"""Compare groups of runs: ratios and differences of means, with 95% intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mnist_bench.analysis.costs import peak_of, trusted
from mnist_bench.analysis.grouping import Group, groups
from mnist_bench.analysis.statistics import welch
from mnist_bench.core import formatting
from mnist_bench.core.records import Record
from mnist_bench.measurement.conditions import known
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios import paper


@dataclass(frozen=True)
class Side:
    """One side of a comparison: runs under a label.

    Attributes:
        label: Name shown in the comparison.
        runs: Runs with any status.
    """

    label: str
    runs: tuple[RunSummary, ...]


class Effect(Record):
    """Ratio or difference of two means, the other side against the base.

    Attributes:
        value: Difference of arithmetic means, or ratio of geometric means.
        low: Lower end of Welch's 95% interval; None if a side has only one seed.
        high: Upper end of that interval.
        is_within_noise: Whether the interval includes "no difference"; None without an interval.
    """

    value: float
    low: float | None
    high: float | None
    is_within_noise: bool | None


class Comparison(Record):
    """One step count of the other side against the base; unknown values are None.

    Attributes:
        other: Label of the other side.
        base_steps: Step count of the base.
        other_steps: Step count of the other side; differs from `base_steps` only if both sides
            have a single step count.
        base_n: Seeds of the base.
        other_n: Seeds of the other side.
        train_seconds: Ratio of train seconds, invalid runs excluded.
        final_test_accuracy: Difference of final test accuracies; None if the images differ.
        peak_rss_bytes: Ratio of the largest peaks, without interval; None if they were measured by
            different methods.
        notes: Other differences between the sides, and runs that were left out.
    """

    other: str
    base_steps: int
    other_steps: int
    base_n: int
    other_n: int
    train_seconds: Effect | None
    final_test_accuracy: Effect | None
    peak_rss_bytes: float | None
    notes: tuple[str, ...]


def compare(base: Side, others: Sequence[Side]) -> tuple[Comparison, ...]:
    """Compare every other side with the base, one entry per step count."""
    base_groups = _groups_by_steps(base)
    return tuple(line for other in others for line in _comparisons(base_groups, other))


def unmatched(base: Side, others: Sequence[Side]) -> Iterator[str]:
    """Notes on step counts that are not compared, since one of the sides has no such runs."""
    base_groups = _groups_by_steps(base)
    for other in others:
        other_groups = _groups_by_steps(other)
        if len(base_groups) == len(other_groups) == 1:
            continue
        for side, own_groups, opposite, opposite_groups in (
            (base, base_groups, other, other_groups),
            (other, other_groups, base, base_groups),
        ):
            missing = ", ".join(
                formatting.count(steps) for steps in own_groups if steps not in opposite_groups
            )
            if missing:
                yield f"{side.label}: {missing} steps are not compared: {opposite.label} has none"
        if not other_groups:
            yield f"{other.label}: no finished run"


def _comparisons(base_groups: Mapping[int, Group], other: Side) -> Iterator[Comparison]:
    other_groups = _groups_by_steps(other)
    common = sorted(set(base_groups) & set(other_groups))
    if common:
        for steps in common:
            yield _comparison(base_groups[steps], other_groups[steps], other.label)
    elif len(base_groups) == len(other_groups) == 1:
        (base_group,), (other_group,) = base_groups.values(), other_groups.values()
        yield _comparison(base_group, other_group, other.label)


def _groups_by_steps(side: Side) -> dict[int, Group]:
    return {group.steps: group for group in groups(side.runs) if group.runs}


def _comparison(base_group: Group, other_group: Group, label: str) -> Comparison:
    base, other = base_group.runs, other_group.runs
    first, second = base[0], other[0]
    same_images = first.dataset_digest == second.dataset_digest
    return Comparison(
        other=label,
        base_steps=first.steps,
        other_steps=second.steps,
        base_n=len(base),
        other_n=len(other),
        train_seconds=_ratio(
            *(known(run.train_seconds_total for run in trusted(of)) for of in (base, other))
        ),
        final_test_accuracy=(
            _difference(
                *(known(run.final_test_accuracy for run in of) for of in (base, other)),
                smallest_sd=paper.ROUNDING_SD,
            )
            if same_images
            else None
        ),
        peak_rss_bytes=_peak_ratio(base, other),
        notes=(
            *_machine_notes(base_group, other_group),
            *_setting_notes(base, other, label),
            *_left_out_notes(base_group, other_group),
        ),
    )


def _machine_notes(base_group: Group, other_group: Group) -> Iterator[str]:
    """Warn if times come from several machines, including runs replaced by a later one."""
    for group in (base_group, other_group):
        if len(group.machines) > 1:
            yield f"runs of {len(group.machines)} machines on one side: times mislead"
    if base_group.machines != other_group.machines:
        yield "machines differ"


def _left_out_notes(base_group: Group, other_group: Group) -> Iterator[str]:
    if base_group.left_out:
        yield f"left out of the base: {base_group.left_out}"
    if other_group.left_out:
        yield f"left out: {other_group.left_out}"


def _ratio(base: Sequence[float], other: Sequence[float]) -> Effect | None:
    """Ratio of geometric means; the interval is Welch's of the logarithms, exponentiated."""
    if not base or not other or min(*base, *other) <= 0:
        return None
    interval = _difference([math.log(x) for x in base], [math.log(x) for x in other])
    if interval is None or interval.low is None or interval.high is None:
        value = statistics.geometric_mean(other) / statistics.geometric_mean(base)
        return Effect(value=value, low=None, high=None, is_within_noise=None)
    return Effect(
        value=math.exp(interval.value),
        low=math.exp(interval.low),
        high=math.exp(interval.high),
        is_within_noise=interval.is_within_noise,
    )


def _difference(
    base: Sequence[float], other: Sequence[float], *, smallest_sd: float = 0.0
) -> Effect | None:
    if not base or not other:
        return None
    if min(len(base), len(other)) < 2:
        value = statistics.mean(other) - statistics.mean(base)
        return Effect(value=value, low=None, high=None, is_within_noise=None)
    interval = welch(other, base, smallest_sd=smallest_sd)
    return Effect(
        value=interval.difference,
        low=interval.low,
        high=interval.high,
        is_within_noise=interval.is_within_noise,
    )


def _peak_ratio(base: Sequence[RunSummary], other: Sequence[RunSummary]) -> float | None:
    if peak_of([*trusted(base), *trusted(other)]).refusal:
        return None
    base_bytes, other_bytes = peak_of(trusted(base)).rss_bytes, peak_of(trusted(other)).rss_bytes
    return other_bytes / base_bytes if base_bytes and other_bytes else None


_SETTINGS: tuple[tuple[str, Callable[[RunSummary], object]], ...] = (
    ("threads", lambda run: run.threads),
    ("precision", lambda run: run.precision),
    ("device", lambda run: run.device_name or run.device),
    ("steps", lambda run: formatting.count(run.steps)),
    ("model", lambda run: run.model),
    ("images", lambda run: run.dataset),
)
"""Settings that should be equal on both sides, as (name in the note, value of a run)."""


def _setting_notes(
    base: Sequence[RunSummary], other: Sequence[RunSummary], label: str
) -> Iterator[str]:
    first, second = base[0], other[0]
    for name, value_of in _SETTINGS:
        if value_of(first) != value_of(second):
            yield f"{name} differ: {value_of(second)} against {value_of(first)}"
    if first.hyperparameters != second.hyperparameters:
        yield "hyperparameters differ"
    if first.dataset_digest != second.dataset_digest:
        yield "accuracies are not compared: other images"
    refusal = peak_of([*trusted(base), *trusted(other)]).refusal
    if refusal:
        yield f"peak memory is not compared: {refusal}"
    if _on_battery(base) != _on_battery(other):
        which = "the base" if _on_battery(base) else label
        yield f"power differs: {which} ran on battery, times mislead"
    yield from (*_invalid_notes(base), *_invalid_notes(other))
    if min(len(base), len(other)) < 2:
        yield "one seed: no interval"


def _invalid_notes(runs: Sequence[RunSummary]) -> Iterator[str]:
    invalid = len(runs) - len(trusted(runs))
    if invalid:
        yield f"{invalid} invalid of {len(runs)} runs left out of time and memory"


def _on_battery(runs: Sequence[RunSummary]) -> bool:
    return any("on battery" in reason for run in runs for reason in run.reasons or ())
