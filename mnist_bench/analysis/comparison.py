"""One group of runs against another: ratios and differences with their intervals. Pure."""

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
    """Runs that have something in common.

    Attributes:
        label: What, for people.
        runs: However they ended.
    """

    label: str
    runs: tuple[RunSummary, ...]


class Effect(Record):
    """A ratio or a difference of two means, the other side's against the base's.

    Attributes:
        value: Of the means; a ratio is of geometric means.
        low: Lower end of Welch's 95% interval; None where a side has one seed.
        high: Its upper end.
        is_within_noise: Whether the interval holds that there is no difference; None without one.
    """

    value: float
    low: float | None
    high: float | None
    is_within_noise: bool | None


class Comparison(Record):
    """One step count of the other side against the base; what is not known is None.

    Attributes:
        other: Label of the other side.
        base_steps: Updates of the base's trainings.
        other_steps: Of the other's; another number only where neither has several.
        base_n: Seeds of the base.
        other_n: Seeds of the other.
        train_seconds: Ratio of train seconds, of runs that were not spoilt.
        final_test_accuracy: Difference of final test accuracies; None on other images.
        peak_rss_bytes: Ratio of the largest high-water marks, which has no interval; None where
            they were read by different methods.
        notes: What differs beside, or was left out.
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
    """Every other side against the base, a line a step count."""
    ours = _taken(base)
    return tuple(line for other in others for line in _lines(ours, other))


def unmatched(base: Side, others: Sequence[Side]) -> Iterator[str]:
    """What is in no contrast, since the other side has nothing like it; for people."""
    ours = _taken(base)
    for other in others:
        theirs = _taken(other)
        if len(ours) == len(theirs) == 1:
            continue
        for side, own, facing, against in (
            (base, ours, other, theirs),
            (other, theirs, base, ours),
        ):
            alone = ", ".join(formatting.count(steps) for steps in own if steps not in against)
            if alone:
                yield f"{side.label}: {alone} steps are not compared: {facing.label} has none"
        if not theirs:
            yield f"{other.label}: no finished run"


def _lines(ours: Mapping[int, Group], other: Side) -> Iterator[Comparison]:
    theirs = _taken(other)
    common = sorted(set(ours) & set(theirs))
    if common:
        for steps in common:
            yield _contrast(ours[steps], theirs[steps], other.label)
    elif len(ours) == len(theirs) == 1:
        (one,), (another,) = ours.values(), theirs.values()
        yield _contrast(one, another, other.label)


def _taken(side: Side) -> dict[int, Group]:
    return {group.steps: group for group in groups(side.runs) if group.taken}


def _contrast(ours: Group, theirs: Group, label: str) -> Comparison:
    base, other = ours.taken, theirs.taken
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
        peak_rss_bytes=_peaks(base, other),
        notes=(*_machines(ours, theirs), *_notes(base, other, label), *_left_out(ours, theirs)),
    )


def _machines(ours: Group, theirs: Group) -> Iterator[str]:
    """Where times are of more than one machine, whichever of two runs of a seed was taken."""
    for group in (ours, theirs):
        if len(group.machines) > 1:
            yield f"runs of {len(group.machines)} machines on one side: times mislead"
    if ours.machines != theirs.machines:
        yield "machines differ"


def _left_out(ours: Group, theirs: Group) -> Iterator[str]:
    if ours.left_out:
        yield f"left out of the base: {ours.left_out}"
    if theirs.left_out:
        yield f"left out: {theirs.left_out}"


def _ratio(base: Sequence[float], other: Sequence[float]) -> Effect | None:
    """Of geometric means: Welch's interval of the logarithms, taken back."""
    if not base or not other or min(*base, *other) <= 0:
        return None
    found = _difference([math.log(x) for x in base], [math.log(x) for x in other])
    if found is None or found.low is None or found.high is None:
        value = statistics.geometric_mean(other) / statistics.geometric_mean(base)
        return Effect(value=value, low=None, high=None, is_within_noise=None)
    return Effect(
        value=math.exp(found.value),
        low=math.exp(found.low),
        high=math.exp(found.high),
        is_within_noise=found.is_within_noise,
    )


def _difference(
    base: Sequence[float], other: Sequence[float], *, smallest_sd: float = 0.0
) -> Effect | None:
    if not base or not other:
        return None
    if min(len(base), len(other)) < 2:
        value = statistics.mean(other) - statistics.mean(base)
        return Effect(value=value, low=None, high=None, is_within_noise=None)
    found = welch(other, base, smallest_sd=smallest_sd)
    return Effect(
        value=found.difference,
        low=found.low,
        high=found.high,
        is_within_noise=found.is_within_noise,
    )


def _peaks(base: Sequence[RunSummary], other: Sequence[RunSummary]) -> float | None:
    if peak_of([*trusted(base), *trusted(other)]).refusal:
        return None
    ours, theirs = peak_of(trusted(base)).rss_bytes, peak_of(trusted(other)).rss_bytes
    return theirs / ours if ours and theirs else None


_TOLD: tuple[tuple[str, Callable[[RunSummary], object]], ...] = (
    ("threads", lambda run: run.threads),
    ("precision", lambda run: run.precision),
    ("device", lambda run: run.device_name or run.device),
    ("steps", lambda run: formatting.count(run.steps)),
    ("model", lambda run: run.model),
    ("images", lambda run: run.dataset),
)
"""What should agree, and is named where it does not."""


def _notes(base: Sequence[RunSummary], other: Sequence[RunSummary], label: str) -> Iterator[str]:
    first, second = base[0], other[0]
    for name, told in _TOLD:
        if told(first) != told(second):
            yield f"{name} differ: {told(second)} against {told(first)}"
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
    yield from (*_notes_on_a_side(base), *_notes_on_a_side(other))
    if min(len(base), len(other)) < 2:
        yield "one seed: no interval"


def _notes_on_a_side(runs: Sequence[RunSummary]) -> Iterator[str]:
    spoilt = len(runs) - len(trusted(runs))
    if spoilt:
        yield f"{spoilt} invalid of {len(runs)} runs left out of time and memory"


def _on_battery(runs: Sequence[RunSummary]) -> bool:
    return any("on battery" in reason for run in runs for reason in run.reasons or ())
