"""Compare groups of runs: ratios and differences of means, with 95% intervals."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from pydantic import Field

from mnist_bench.analysis.costs import peak_of, trusted, with_memory
from mnist_bench.analysis.grouping import Group, groups, without_other_versions
from mnist_bench.analysis.statistics import welch
from mnist_bench.core import formatting
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.core.records import Record
from mnist_bench.core.toml import suggestion
from mnist_bench.measurement.conditions import known
from mnist_bench.results.run_summary import RecordedRun, RunSummary, machine_names
from mnist_bench.scenarios import paper


@dataclass(frozen=True)
class Side:
    """One side of a comparison: runs under a label.

    Attributes:
        runs: With any status, oldest first.
        machine_names: Hardware by machine id, as far as it is known.
    """

    label: str
    runs: tuple[RunSummary, ...]
    machine_names: Mapping[str | None, str] = field(default_factory=dict)

    @cached_property
    def groups(self) -> Mapping[int, Group]:
        """The replicates by step count, ascending; without step counts that have none."""
        return {group.steps: group for group in groups(self.runs) if group.runs}


class Effect(Record):
    """Ratio of geometric means or difference of means, the other side against the base.

    Attributes:
        low: Lower end of Welch's 95% interval; None if a side has only one seed.
        high: Upper end of that interval.
        is_within_noise: Whether the interval includes "no difference"; None without an interval.
    """

    value: float
    low: float | None = None
    high: float | None = None
    is_within_noise: bool | None = None


class MachineComparison(Record):
    """Time and memory on a machine that ran both sides, by its seeds; unknown values are None.

    Attributes:
        machine: Hardware of the machine.
        train_seconds: Ratio of train seconds, disturbed runs excluded.
        peak_rss_bytes: Ratio of the largest peaks, without interval; None if they were measured by
            different methods.
    """

    machine: str | None
    machine_id: str | None
    base_n: int
    other_n: int
    base_threads: int
    other_threads: int
    train_seconds: Effect | None
    peak_rss_bytes: float | None


class Comparison(Record):
    """One step count of the other side against the base; unknown values are None.

    Accuracies of a side are pooled over machines as in Table I. If a side is of several machines,
    `train_seconds` and `peak_rss_bytes` are None, and `machines` has them.

    Attributes:
        other: Label of the other side.
        other_steps: Differs from `base_steps` only if both sides have a single step count.
        base_n: Number of seeds, as `other_n`.
        train_seconds: Ratio of train seconds, disturbed runs excluded.
        final_test_accuracy: Difference of final test accuracies; None if the images differ.
        peak_rss_bytes: Ratio of the largest peaks, without interval; None if they were measured by
            different methods.
        notes: Other differences between the sides, and runs that were left out.
        base_train_seconds_mean: Geometric mean of the base, the denominator of the ratio; None if
            a side is of several machines, like `base_peak_rss_bytes_max`.
        base_final_test_accuracy_mean: Mean of the base.
        base_peak_rss_bytes_max: Largest peak of the base.
        machines: Each machine that ran both sides; absent if neither side is of several machines.
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
    base_train_seconds_mean: float | None = None
    base_final_test_accuracy_mean: float | None = None
    base_peak_rss_bytes_max: int | None = None
    machines: tuple[MachineComparison, ...] = Field(default=(), exclude_if=lambda lines: not lines)


class ComparisonTable(Record):
    """What `compare --json` prints.

    Attributes:
        base: Label of the base.
        contrasts: One for each other side and step count.
        notes: What was not compared.
    """

    base: str
    contrasts: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()


def sides_of(
    runs: Sequence[RecordedRun],
    names: Iterable[str],
    by: str | None,
    bundles: Mapping[str, list[RecordedRun]] = MappingProxyType({}),
) -> dict[str, list[RecordedRun]]:
    """The runs of each side by its label; the first side is the base.

    Args:
        runs: Recorded runs without trials, oldest first.
        names: Scenarios, beginnings of run or machine ids, or names of bundles: a side each.
        by: A name in `_PROPERTIES`, a hyperparameter, or the key of a user's tag: a side for each
            of its values instead, of the runs named, or of all. Runs that have no such
            hyperparameter or tag are left out.
        bundles: Runs of bundles by name.

    Raises:
        BenchError: A name matches nothing, or several ids; all runs have the same value of the
            property, or none has it.
    """
    named = {name: bundles.get(name) or _runs_called(runs, name) for name in names}
    if by is None:
        return named
    return _by_property([each for of in named.values() for each in of] if named else runs, by)


def _by_property(runs: Sequence[RecordedRun], by: str) -> dict[str, list[RecordedRun]]:
    """Runs by the label of a property's value, in the order of their first runs."""
    sides: dict[str, list[RecordedRun]] = {}
    for each in runs:
        label = _label(each, by)
        if label is not None:
            sides.setdefault(label, []).append(each)
    if not sides and by not in _PROPERTIES:
        own = {
            name for each in runs for name in (*dict(each.run.hyperparameters), *dict(each.tags))
        }
        known_names = [*_PROPERTIES, *sorted(own)]
        raise BenchError(
            f"no run here has a setting or a tag called {by!r}",
            suggestion(by, known_names) or f"choose among {', '.join(known_names)}",
        )
    if len(sides) < 2:
        only = ", ".join(sides) or "none"
        raise BenchError(
            f"--by {by}: there is only one to compare ({only})", "record runs of another one"
        )
    return sides


def _label(each: RecordedRun, by: str) -> str | None:
    """The label of the side that a run belongs to; None if it has no such property."""
    if by in _PROPERTIES:
        return _PROPERTIES[by](each)
    value = dict(each.run.hyperparameters).get(by, dict(each.tags).get(by))
    return None if value is None else f"{by} {value}"


def _runs_called(runs: Sequence[RecordedRun], name: str) -> list[RecordedRun]:
    """The runs of a scenario, of a machine, or the one run whose id begins with the name."""
    of_scenario = [each for each in runs if each.run.scenario == name]
    if of_scenario:
        return of_scenario
    is_id = re.fullmatch(r"[0-9a-f]{4,32}", name)
    found: dict[str, list[RecordedRun]] = {}
    for each in runs:
        run_id, machine_id = each.run.run_id or "", each.run.machine_id or ""
        if run_id == name or (is_id and run_id.startswith(name)):
            found[f"run {run_id}"] = [each]
        if is_id and machine_id.startswith(name):
            found.setdefault(f"machine {machine_id}", []).append(each)
    if len(found) > 1:
        raise BenchError(f"{name} begins several ids: {', '.join(found)}", "give more digits")
    if not found:
        scenarios = dict.fromkeys(each.run.scenario for each in runs)
        raise BenchError(
            f"no run, scenario or machine is called {name}",
            f"scenarios here: {', '.join(scenarios)}; `mnist-bench runs` lists run ids",
        )
    return next(iter(found.values()))


def compare_recorded(runs_by_label: Mapping[str, Sequence[RecordedRun]]) -> ComparisonTable:
    """Compare the runs under each label with those under the first.

    Raises:
        BenchError: There is only one label, or none shares a step count with the first.
    """
    if len(runs_by_label) < 2:
        raise BenchError("one name can't be compared", "give a second name, or --by")
    base, *others = [_side(label, runs) for label, runs in runs_by_label.items()]
    comparisons = compare(base, others)
    if not comparisons:
        raise BenchError(
            f"no other side has finished runs of a step count of {base.label}",
            "compare runs of the same scenario",
            exit_status=EXIT_FAILURE,
        )
    other_versions = (
        f"{side.label}: {formatting.counted(number, 'run')} of other machines left out: not known "
        "to be of the same TensorFlow version"
        for side in (base, *others)
        if (number := len(runs_by_label[side.label]) - len(side.runs))
    )
    notes = (*unmatched(base, others), *other_versions)
    return ComparisonTable(base=base.label, contrasts=comparisons, notes=notes)


def _side(label: str, runs: Sequence[RecordedRun]) -> Side:
    kept = without_other_versions(sorted(runs, key=lambda each: each.order))
    return Side(label, tuple(each.run for each in kept), machine_names(kept))


_PROPERTIES: dict[str, Callable[[RecordedRun], str]] = {
    "machine": lambda each: (
        f"{each.machine or 'machine'} ({(each.run.machine_id or 'without an id')[:8]})"
    ),
    "scenario": lambda each: each.run.scenario,
    "tensorflow": lambda each: f"TensorFlow {each.tensorflow or 'of an unknown version'}",
    "mnist-bench": lambda each: f"mnist-bench {each.mnist_bench or 'of an unknown version'}",
    "precision": lambda each: each.run.precision,
    "threads": lambda each: formatting.threads(each.run.threads),
    "device": lambda each: each.run.device_name or each.run.device,
    "dataset": lambda each: each.run.dataset,
    "environment": lambda each: each.run.environment or "plain environment",
    "model": lambda each: each.run.model,
}
"""Properties that group runs into sides, with the label of a run's side."""


def compare(base: Side, others: Sequence[Side]) -> tuple[Comparison, ...]:
    """Compare every other side with the base, one entry per step count."""
    names = {key: name for side in (base, *others) for key, name in side.machine_names.items()}
    return tuple(
        _comparison(base.groups[base_steps], other.groups[other_steps], other.label, names)
        for other in others
        for base_steps, other_steps in _compared_steps(base, other)
    )


def _compared_steps(base: Side, other: Side) -> list[tuple[int, int]]:
    """The step counts that both have; if each has a single one, these, whatever they are."""
    if len(base.groups) == len(other.groups) == 1:
        return list(zip(base.groups, other.groups, strict=True))
    return [(steps, steps) for steps in base.groups if steps in other.groups]


def unmatched(base: Side, others: Sequence[Side]) -> Iterator[str]:
    """Notes on step counts that are not compared, since one of the sides has no such runs."""
    for other in others:
        if len(base.groups) == len(other.groups) == 1:
            continue
        for side, opposite in ((base, other), (other, base)):
            missing = ", ".join(
                formatting.count(steps) for steps in side.groups if steps not in opposite.groups
            )
            if missing:
                yield (
                    f"{side.label}: runs of {formatting.steps(missing)} are not compared: "
                    f"{opposite.label} has none"
                )
        if not other.groups:
            yield f"{other.label}: no finished run"


def _comparison(
    base_group: Group, other_group: Group, label: str, names: Mapping[str | None, str]
) -> Comparison:
    base, other = base_group.runs, other_group.runs
    first, second = base[0], other[0]
    is_of_several = len(base_group.by_machine) > 1 or len(other_group.by_machine) > 1
    on_both = [
        (machine_id, its_base, its_other)
        for machine_id, its_base in base_group.by_machine.items()
        if (its_other := other_group.by_machine.get(machine_id)) and is_of_several
    ]
    notes = [
        *_machine_notes(base_group, other_group),
        *_setting_notes(first, second, has_threads=not is_of_several),
        *(() if is_of_several else _cost_notes(base, other, label)),
    ]
    for machine_id, its_base, its_other in on_both:
        its_notes = _cost_notes(its_base, its_other, label)
        notes += (f"{formatting.machine(machine_id)}: {note}" for note in its_notes)
    if min(len(base), len(other)) < 2:
        notes.append("one seed: no interval")
    for group, side in ((base_group, "the base"), (other_group, label)):
        if group.left_out:
            notes.append(f"left out of {side}: {group.left_out}")
    return Comparison(
        other=label,
        base_steps=first.steps,
        other_steps=second.steps,
        base_n=len(base),
        other_n=len(other),
        train_seconds=None if is_of_several else _seconds_ratio(base, other),
        final_test_accuracy=(
            _accuracy_difference(base, other)
            if first.dataset_digest == second.dataset_digest
            else None
        ),
        peak_rss_bytes=None if is_of_several else _peak_ratio(base, other),
        notes=tuple(notes),
        base_train_seconds_mean=None if is_of_several else _seconds_mean(base),
        base_final_test_accuracy_mean=(
            statistics.mean(accuracies)
            if (accuracies := known(run.final_test_accuracy for run in base))
            else None
        ),
        base_peak_rss_bytes_max=None if is_of_several else peak_of(with_memory(base)).rss_bytes,
        machines=tuple(
            MachineComparison(
                machine=names.get(machine_id),
                machine_id=machine_id,
                base_n=len(its_base),
                other_n=len(its_other),
                base_threads=its_base[0].threads,
                other_threads=its_other[0].threads,
                train_seconds=_seconds_ratio(its_base, its_other),
                peak_rss_bytes=_peak_ratio(its_base, its_other),
            )
            for machine_id, its_base, its_other in on_both
        ),
    )


def _machine_notes(base_group: Group, other_group: Group) -> Iterator[str]:
    """How many machines the accuracies are from, and whether times can be compared."""
    for group, of_base in ((base_group, " of the base"), (other_group, "")):
        if group.pooled_machines > 1:
            yield f"accuracies{of_base} pooled over {group.pooled_machines} machines"
    base, other = base_group.by_machine.keys(), other_group.by_machine.keys()
    if max(len(base), len(other)) > 1 and not base & other:
        yield "time and memory are not compared: no machine ran both"
    elif base != other:
        yield "machines differ"


def _seconds_ratio(base: Sequence[RunSummary], other: Sequence[RunSummary]) -> Effect | None:
    """Ratio of geometric means; the interval is Welch's of the logarithms, exponentiated."""
    before, after = (known(run.train_seconds_total for run in trusted(of)) for of in (base, other))
    if not before or not after or min(*before, *after) <= 0:
        return None
    if min(len(before), len(after)) < 2:
        return Effect(value=statistics.geometric_mean(after) / statistics.geometric_mean(before))
    interval = welch([math.log(x) for x in after], [math.log(x) for x in before])
    return Effect(
        value=math.exp(interval.difference),
        low=math.exp(interval.low),
        high=math.exp(interval.high),
        is_within_noise=interval.is_within_noise,
    )


def _seconds_mean(runs: Sequence[RunSummary]) -> float | None:
    seconds = [each for each in known(run.train_seconds_total for run in trusted(runs)) if each > 0]
    return statistics.geometric_mean(seconds) if seconds else None


def _accuracy_difference(base: Sequence[RunSummary], other: Sequence[RunSummary]) -> Effect | None:
    before, after = (known(run.final_test_accuracy for run in of) for of in (base, other))
    if not before or not after:
        return None
    if min(len(before), len(after)) < 2:
        return Effect(value=statistics.mean(after) - statistics.mean(before))
    interval = welch(after, before, smallest_sd=paper.ROUNDING_SD)
    return Effect(
        value=interval.difference,
        low=interval.low,
        high=interval.high,
        is_within_noise=interval.is_within_noise,
    )


def _peak_ratio(base: Sequence[RunSummary], other: Sequence[RunSummary]) -> float | None:
    if peak_of(with_memory([*base, *other])).refusal:
        return None
    base_bytes, other_bytes = (peak_of(with_memory(runs)).rss_bytes for runs in (base, other))
    return other_bytes / base_bytes if base_bytes and other_bytes else None


_SETTINGS: tuple[tuple[str, Callable[[RunSummary], object]], ...] = (
    ("threads", lambda run: run.threads),
    ("precision", lambda run: run.precision),
    ("device", lambda run: run.device_name or run.device),
    ("steps", lambda run: formatting.count(run.steps)),
    ("model", lambda run: run.model),
    ("images", lambda run: run.dataset),
    ("environment variables", lambda run: run.environment or "none"),
)
"""Settings that should be equal on both sides, as (name in the note, value of a run)."""


def _setting_notes(first: RunSummary, second: RunSummary, *, has_threads: bool) -> Iterator[str]:
    for name, value_of in _SETTINGS:
        if value_of(first) != value_of(second) and (has_threads or name != "threads"):
            yield f"{name} differ: {value_of(second)} against {value_of(first)}"
    before, after = dict(first.hyperparameters), dict(second.hyperparameters)
    different = [
        f"{name} {after[name]} against {value}"
        for name, value in before.items()
        if name in after and after[name] != value
    ]
    if first.hyperparameters != second.hyperparameters:
        yield f"hyperparameters differ{': ' if different else ''}{', '.join(different)}"
    if first.dataset_digest != second.dataset_digest:
        yield "accuracies are not compared: other images"


def _cost_notes(
    base: Sequence[RunSummary], other: Sequence[RunSummary], label: str
) -> Iterator[str]:
    refusal = peak_of(with_memory([*base, *other])).refusal
    if refusal:
        yield f"peak memory is not compared: {refusal}"
    if _on_battery(base) != _on_battery(other):
        which = "the base" if _on_battery(base) else label
        yield f"power differs: {which} ran on battery, times mislead"
    for runs, side in ((base, "the base"), (other, label)):
        if disturbed := len(runs) - len(trusted(runs)):
            number = formatting.counted(len(runs), "run")
            yield f"left out of time of {side}: {disturbed} disturbed of {number}"


def _on_battery(runs: Sequence[RunSummary]) -> bool:
    return any("on battery" in reason for run in runs for reason in run.reasons or ())
