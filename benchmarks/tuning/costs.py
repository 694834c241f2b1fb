"""What searches were measured to cost: records, and the figures that are made of them; pure."""

from __future__ import annotations

from typing import Literal

from hardware import Hardware
from ratios import Ratio, of_rounds

from mnist_bench.core.records import Record
from mnist_bench.measurement.quality import Verdict
from mnist_bench.tuning.document import StudyDocument
from mnist_bench.tuning.space import Value
from mnist_bench.tuning.trial import StudyTrial

Side = Literal["ours", "theirs"]
LEAST_TRIAL_RATIO = 1.4
"""Asked of their seconds by ours, of the same trial."""
LEAST_RATE_RATIO = 3.0
"""Asked of our trials an hour by theirs."""


class Trained(Record):
    """One trial on one side.

    Attributes:
        seconds: Wall clock from asking for it to telling what came of it.
        validation_accuracy: After its last step.
        verdict: Whether the machine let its time be trusted; None where nobody looked.
    """

    seconds: float
    validation_accuracy: float
    verdict: Verdict | None = None


class Pair(Record):
    """The same trial on both sides.

    Attributes:
        chosen: Its configuration.
        first: Who trained it first.
        ours: What the suite took.
        theirs: What Keras took.
    """

    chosen: dict[str, Value]
    first: Side
    ours: Trained
    theirs: Trained

    @property
    def ratio(self) -> float:
        """Their seconds by ours."""
        return self.theirs.seconds / self.ours.seconds


class Searched(Record):
    """One trial of a search.

    Attributes:
        share_of_steps: That were done; less than 1 where it was pruned.
        seconds: From its beginning to its end; None where that is not known.
        validation_accuracy: After its last step; None where it was pruned.
    """

    share_of_steps: float
    seconds: float | None
    validation_accuracy: float | None


class Search(Record):
    """A whole search.

    Attributes:
        side: Who searched.
        seconds: Wall clock from the start of its process to its end.
        trials: In their order.
    """

    side: Side
    seconds: float
    trials: tuple[Searched, ...]

    @property
    def an_hour(self) -> float:
        """Trials an hour, those that were pruned included."""
        return len(self.trials) / self.seconds * 3_600

    @property
    def share_of_steps(self) -> float:
        """Of all trials' steps, those that were done; every trial has as many."""
        return sum(trial.share_of_steps for trial in self.trials) / len(self.trials)

    @property
    def pruned(self) -> int:
        """Trials that were ended early."""
        return sum(trial.validation_accuracy is None for trial in self.trials)

    @property
    def best(self) -> float | None:
        """The largest validation accuracy of a trial that came to its end."""
        finished = (trial.validation_accuracy for trial in self.trials)
        return max((value for value in finished if value is not None), default=None)


class CostSession(Record):
    """What one command measured.

    Attributes:
        command: What to type for it.
        date: The day it began, in UTC.
        hardware: Of this machine.
        versions: By distribution.
        dataset: Name of the images.
        validation_images: By which both sides score.
        threads: Cores that may be used.
        steps: Of a trial.
        scorings: Of the validation images, in a trial.
        settings: Of theirs, in words.
        pairs: Identical trials.
        searches: Whole searches.
    """

    command: str
    date: str
    hardware: Hardware
    versions: dict[str, str]
    dataset: str
    validation_images: int
    threads: int
    steps: int
    scorings: int
    settings: str
    pairs: tuple[Pair, ...] = ()
    searches: tuple[Search, ...] = ()

    def of(self, side: Side) -> list[Search]:
        """The searches of one side."""
        return [search for search in self.searches if search.side == side]


def turns(rounds: int) -> list[tuple[Side, Side]]:
    """Who is first in each round: ours, theirs, theirs, ours, and so on."""
    orders: tuple[tuple[Side, Side], ...] = (("ours", "theirs"), ("theirs", "ours"))
    return [orders[index % 2] for index in range(rounds)]


def trial_ratio(session: CostSession) -> Ratio | None:
    """Their seconds by ours, of all pairs; None without one."""
    return of_rounds([pair.ratio for pair in session.pairs])


def rate_ratio(session: CostSession) -> Ratio | None:
    """Our trials an hour by theirs, round by round; None without a whole round."""
    both = zip(session.of("ours"), session.of("theirs"), strict=False)
    return of_rounds([ours.an_hour / theirs.an_hour for ours, theirs in both])


def searched(document: StudyDocument) -> tuple[Searched, ...]:
    """The trials of a study of the suite's, its objective being accuracy."""
    return tuple(_searched(trial) for trial in document.trials if trial.counts)


def _searched(trial: StudyTrial) -> Searched:
    finished = trial.state == "finished"
    return Searched(
        share_of_steps=1.0 if finished else max(trial.curve, default=0) / 100,
        seconds=trial.seconds,
        validation_accuracy=trial.values[0] if finished else None,
    )
