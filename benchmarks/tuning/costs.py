"""Records of the cost of searches, and derived values."""

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
"""Target for their seconds divided by ours, of the same trial."""
LEAST_RATE_RATIO = 3.0
"""Target for our trials per hour divided by theirs."""


class Trained(Record):
    """One trial on one side.

    Attributes:
        seconds: Wall-clock time from asking the study for it to reporting its result.
        validation_accuracy: After its last step.
        verdict: Of its run; None if not assessed.
    """

    seconds: float
    validation_accuracy: float
    verdict: Verdict | None = None


class Pair(Record):
    """The same trial on both sides.

    Attributes:
        chosen: Its configuration.
        first: Side that trained it first.
        ours: Trained by the suite.
        theirs: Trained by Keras.
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
        share_of_steps: Share of its steps that were done; less than 1 if pruned.
        seconds: From start to end; None if unknown.
        validation_accuracy: After its last step; None if pruned.
    """

    share_of_steps: float
    seconds: float | None
    validation_accuracy: float | None


class Search(Record):
    """A complete search.

    Attributes:
        seconds: Wall-clock time from process start to end.
        trials: In order.
    """

    side: Side
    seconds: float
    trials: tuple[Searched, ...]

    @property
    def an_hour(self) -> float:
        """Trials per hour, including pruned ones."""
        return len(self.trials) / self.seconds * 3_600

    @property
    def share_of_steps(self) -> float:
        """Share of all trials' steps that were done; all trials have equally many."""
        return sum(trial.share_of_steps for trial in self.trials) / len(self.trials)

    @property
    def pruned(self) -> int:
        """Number of pruned trials."""
        return sum(trial.validation_accuracy is None for trial in self.trials)

    @property
    def best(self) -> float | None:
        """Largest validation accuracy of a finished trial."""
        finished = (trial.validation_accuracy for trial in self.trials)
        return max((value for value in finished if value is not None), default=None)


class CostSession(Record):
    """What one command measured.

    Attributes:
        command: Command line.
        date: Date of the start, in UTC.
        versions: By distribution name.
        dataset: Name of the images.
        validation_images: Number of validation images.
        threads: Number of usable cores.
        steps: Of a trial.
        scorings: Number of validations of a trial.
        settings: Description of the settings of Keras.
        pairs: Identical trials.
        searches: Complete searches.
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
        """Searches of one side."""
        return [search for search in self.searches if search.side == side]


def turns(rounds: int) -> list[tuple[Side, Side]]:
    """Order of the sides in each round: ours, theirs, theirs, ours, and so on."""
    orders: tuple[tuple[Side, Side], ...] = (("ours", "theirs"), ("theirs", "ours"))
    return [orders[index % 2] for index in range(rounds)]


def trial_ratio(session: CostSession) -> Ratio | None:
    """Their seconds divided by ours over all pairs; None without pairs."""
    return of_rounds([pair.ratio for pair in session.pairs])


def rate_ratio(session: CostSession) -> Ratio | None:
    """Our trials per hour divided by theirs over all rounds; None without a complete round."""
    both = zip(session.of("ours"), session.of("theirs"), strict=False)
    return of_rounds([ours.an_hour / theirs.an_hour for ours, theirs in both])


def searched(document: StudyDocument) -> tuple[Searched, ...]:
    """Trials of a study by the suite whose objective is accuracy."""
    return tuple(_searched(trial) for trial in document.trials if trial.counts)


def _searched(trial: StudyTrial) -> Searched:
    finished = trial.state == "finished"
    return Searched(
        share_of_steps=1.0 if finished else max(trial.curve, default=0) / 100,
        seconds=trial.seconds,
        validation_accuracy=trial.values[0] if finished else None,
    )
