"""Records of the winners' trainings, and their page."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Literal

import hardware
from hardware import Hardware

from mnist_bench.analysis.statistics import welch
from mnist_bench.core import formatting
from mnist_bench.core.records import Record
from mnist_bench.measurement.quality import Verdict
from mnist_bench.scenarios import paper
from mnist_bench.tuning.confirmation_stats import mean_half_width

Name = Literal["paper", "paper-to-target", "sprint", "accurate"]
TARGET = max(row.max_test_accuracy for row in paper.TABLE_1)
"""The best accuracy of Table I."""
_SPRINT_TARGET = 20
"""Target speed-up over the time that the paper's configuration takes to reach `TARGET`."""
_SPRINT_AIMED = 40
_ACCURATE_TARGET = 0.9965
_ACCURATE_AIMED = 0.9975
_RESAMPLES = 10_000
_MOST_IN_A_ROW = 3
"""Largest number of consecutive trainings of one configuration that is not noted."""
_WHAT = """\
Shipped scenarios, trained from fresh seeds by turns with the paper's own configuration of 10,000
steps, and scored on the test images. The head of each scenario's file says how it was found."""


class Trained(Record):
    """One training.

    Attributes:
        name: Of the configuration.
        steps: Steps done.
        is_whole: Whether it finished; else it was stopped when it reached `TARGET`.
        final_test_accuracy: After the last step done.
        max_test_accuracy: Largest on the grid.
        train_seconds: Without evaluations.
        seconds_to_target: Train seconds until test accuracy first reaches `TARGET`; None if never.
        peak_rss_bytes: Of the process; None if unknown.
        verdict: Of the run.
    """

    name: Name
    seed: int
    steps: int
    is_whole: bool = True
    final_test_accuracy: float
    max_test_accuracy: float
    train_seconds: float
    seconds_to_target: float | None
    peak_rss_bytes: int | None
    verdict: Verdict

    @property
    def in_words(self) -> str:
        """One line for the terminal."""
        reached = formatting.duration(self.seconds_to_target)
        ended = "" if self.is_whole else f", ended after {self.steps:,} steps"
        return (
            f"{self.name}, seed {self.seed}{ended}: final test accuracy "
            f"{self.final_test_accuracy:.4f} in {self.train_seconds:.2f} s, {TARGET} first after "
            f"{reached}; {self.verdict}"
        )

    @property
    def seconds_at_least(self) -> float:
        """Seconds to the target; those of the whole training, a lower bound, if never reached."""
        return self.train_seconds if self.seconds_to_target is None else self.seconds_to_target


class Winners(Record):
    """All trainings.

    Attributes:
        commands: Command lines.
        date: Date of the start, in UTC.
        versions: By distribution name.
        trainings: In order of measurement.
        remarks: Additional sentences.
    """

    commands: tuple[str, ...]
    date: str
    hardware: Hardware
    versions: dict[str, str]
    trainings: tuple[Trained, ...]
    remarks: tuple[str, ...] = ()

    def of(self, name: Name) -> list[Trained]:
        """Trainings of one configuration."""
        return [training for training in self.trainings if training.name == name]

    @property
    def to_target(self) -> list[Trained]:
        """Trainings of the paper's configuration to `TARGET`, one per seed."""
        both = [*self.of("paper-to-target"), *self.of("paper")]
        return list({training.seed: training for training in both}.values())


class Ratio(Record):
    """Ratio of two means with a 95% bootstrap interval over seeds."""

    value: float
    low: float
    high: float

    @property
    def in_words(self) -> str:
        """The ratio with its interval."""
        return f"{self.value:.1f} ({self.low:.1f} to {self.high:.1f})"


def ratio_of_means(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Ratio of two means, with a reproducible bootstrap over the seeds of both sides."""
    rng = random.Random(0)  # noqa: S311  # not used for security

    def resampled_mean(values: Sequence[float]) -> float:
        return statistics.fmean(rng.choices(values, k=len(values)))

    ratios = [resampled_mean(above) / resampled_mean(below) for _ in range(_RESAMPLES)]
    cuts = statistics.quantiles(ratios, n=40)
    value = statistics.fmean(above) / statistics.fmean(below)
    return Ratio(value=value, low=cuts[0], high=cuts[-1])


def page(winners: Winners) -> str:
    """The page in Markdown."""
    versions = hardware.in_words(winners.versions)
    blocks = [
        "# The shipped winners",
        _WHAT,
        f"Machine: {winners.hardware.sentences} Versions: {versions}.",
        f"Made by {', then '.join(f'`{each}`' for each in winners.commands)} on {winners.date}.",
        "\n".join(_table(winners)),
        *_sprint(winners),
        *_accurate(winners),
        *_disturbed(winners),
        *_consecutive(winners),
        *winners.remarks,
    ]
    return "\n\n".join(blocks) + "\n"


def _table(winners: Winners) -> Iterator[str]:
    yield "| | n | final test accuracy, mean ± sd | 95% interval | train time ± sd | peak RSS |"
    yield "|---|--:|--:|--:|--:|--:|"
    names: tuple[Name, ...] = ("paper", "sprint", "accurate")
    for name in names:
        trainings = winners.of(name)
        if len(trainings) < 2:  # one has no spread
            continue
        final = [training.final_test_accuracy for training in trainings]
        seconds = [training.train_seconds for training in trainings]
        mean, half = statistics.mean(final), mean_half_width(final)
        peak = max(
            (t.peak_rss_bytes for t in trainings if t.peak_rss_bytes is not None), default=None
        )
        cells = (
            name,
            str(len(trainings)),
            f"{mean:.5f} ± {statistics.stdev(final):.5f}",
            f"{mean - half:.5f} to {mean + half:.5f}",
            f"{statistics.mean(seconds):.2f} ± {statistics.stdev(seconds):.2f} s",
            formatting.mebibytes(peak),
        )
        yield f"| {' | '.join(cells)} |"


def _met(*, met: bool) -> str:
    return "met" if met else "**not met**"


def _sprint(winners: Winners) -> Iterator[str]:
    """Speed-up of sprint over the paper's training to the best of Table I."""
    ours, baseline = winners.of("sprint"), winners.to_target
    if min(len(ours), len(baseline)) < 2:  # one has no spread
        return
    final = [training.final_test_accuracy for training in ours]
    low = statistics.mean(final) - mean_half_width(final)
    never = sum(training.seconds_to_target is None for training in baseline)
    until = [training.seconds_at_least for training in baseline]
    ratio = ratio_of_means(until, [training.train_seconds for training in ours])
    yield "## sprint"
    yield (
        f"- Lower end of the 95% interval of its mean final test accuracy: {low:.5f}; asked for "
        f"{TARGET}: {_met(met=low >= TARGET)}."
    )
    bound = (
        f" {never} of {len(baseline)} seeds never did and count with all of their seconds, so that "
        "this mean is a lower bound."
        if never
        else ""
    )
    cut = sum(not t.is_whole for t in baseline)
    ended = f" {cut} of its trainings were ended there." if cut else ""
    yield (
        f"- The paper's configuration first reaches {TARGET} on test after "
        f"{statistics.mean(until):.1f} s of training in the mean, n = {len(baseline)}."
        f"{bound}{ended}"
    )
    yield (
        f"- That is {ratio.in_words} times the sprint's whole training (95% interval of a "
        f"bootstrap over seeds); asked for {_SPRINT_TARGET}: "
        f"{_met(met=ratio.value >= _SPRINT_TARGET)}; aimed at {_SPRINT_AIMED}: "
        f"{_met(met=ratio.value >= _SPRINT_AIMED)}."
    )


def _accurate(winners: Winners) -> Iterator[str]:
    """Accuracy within the train seconds of the paper's 10,000 steps."""
    ours, baseline = winners.of("accurate"), winners.of("paper")
    if min(len(ours), len(baseline)) < 2:  # one has no spread
        return
    accuracies = [training.final_test_accuracy for training in ours]
    mean = statistics.mean(accuracies)
    seconds = [training.train_seconds for training in ours]
    baseline_seconds = [training.train_seconds for training in baseline]
    share = ratio_of_means(seconds, baseline_seconds)
    gain = welch(accuracies, [training.final_test_accuracy for training in baseline])
    yield "## accurate"
    yield (
        f"- Mean final test accuracy {mean:.5f}, n = {len(ours)}; asked for {_ACCURATE_TARGET}: "
        f"{_met(met=mean >= _ACCURATE_TARGET)}; aimed at {_ACCURATE_AIMED}: "
        f"{_met(met=mean >= _ACCURATE_AIMED)}."
    )
    yield (
        f"- Its training takes {share.value:.2f} ({share.low:.2f} to {share.high:.2f}) of the "
        f"seconds of the paper's 10,000 steps; at most 1 is allowed: {_met(met=share.value <= 1)}."
    )
    yield (
        f"- Above the paper's configuration by {gain.difference:+.5f} in final test accuracy, 95% "
        f"interval {gain.low:+.5f} to {gain.high:+.5f} (Welch)."
    )


def _consecutive(winners: Winners) -> Iterator[str]:
    """Consecutive trainings of one configuration, which a slow hour would affect alone."""
    sequences = [(name, len(list(of))) for name, of in groupby(winners.trainings, lambda t: t.name)]
    several = len({name for name, _ in sequences}) > 1
    for name, count in sequences:
        if several and count > _MOST_IN_A_ROW:
            yield f"{count} trainings of {name} followed one another, not by turns."


def _disturbed(winners: Winners) -> Iterator[str]:
    doubtful = [training for training in winners.trainings if training.verdict != "clean"]
    if doubtful:
        named = ", ".join(f"{t.name} {t.seed} ({t.verdict})" for t in doubtful)
        yield f"The machine was disturbed during {named}: mistrust their times."
