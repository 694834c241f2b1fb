"""Whether a candidate is better than the paper's configuration: statistics on fresh seeds; pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from mnist_bench.analysis import statistics as estimate
from mnist_bench.analysis.statistics import Interval, welch
from mnist_bench.core import formatting
from mnist_bench.core.records import Record
from mnist_bench.results.run import RunResult
from mnist_bench.scenarios.paper import ROUNDING_SD


class Arm(Record):
    """A configuration on fresh seeds.

    Attributes:
        n: Seeds.
        accuracy_mean: Of the final test accuracies.
        accuracy_sd: Their standard deviation.
        accuracy_low: Lower end of the mean's own interval.
        validation_mean: Of the final validation accuracies.
        train_seconds_mean: Of the training seconds.
        peak_rss_bytes_max: The largest peak; None where one is not known.
        target_seconds_mean: Of the training seconds until the grid first has the target on test;
            who never did counts with all seconds. None where there is no target.
        target_missed: Seeds that never did.
    """

    n: int
    accuracy_mean: float
    accuracy_sd: float
    accuracy_low: float
    validation_mean: float
    train_seconds_mean: float
    peak_rss_bytes_max: int | None
    target_seconds_mean: float | None = None
    target_missed: int | None = None


class McNemar(Record):
    """Two trainings on the same images, compared image by image.

    Attributes:
        only_candidate: Images that only the candidate's median seed classified rightly.
        only_paper: Images that only the paper's did.
        p_value: Of the exact two-sided test.
    """

    only_candidate: int
    only_paper: int
    p_value: float


class Confirmation(Record):
    """A look at the test split.

    Attributes:
        candidate: The frozen candidate on fresh seeds.
        paper: The paper's configuration on the same.
        accuracy: Difference in mean final test accuracy.
        train_seconds: Difference in mean training seconds.
        shrinkage: Validation accuracy that the search saw, less the mean on test.
        mcnemar: Of the seeds of median accuracy; None where a run kept no predictions.
        payback_runs: Runs after which the search has paid for itself; None where a run of the
            candidate's takes as long as one of the paper's.
        target_accuracy: That was to be reached fast; None where that was not the question.
        target_seconds: Difference in mean training seconds to it.
    """

    candidate: Arm
    paper: Arm
    accuracy: Interval
    train_seconds: Interval
    shrinkage: float
    mcnemar: McNemar | None
    payback_runs: float | None
    target_accuracy: float | None = None
    target_seconds: Interval | None = None

    @property
    def seconds(self) -> Interval:
        """Difference in what the search was to save: time to the target, else all of it."""
        return self.target_seconds or self.train_seconds


def arm_of(runs: Sequence[RunResult], target_accuracy: float | None = None) -> Arm:
    """The figures of one configuration's finished runs, two or more.

    Args:
        runs: Of fresh seeds.
        target_accuracy: That was to be reached fast; None where that was not the question.

    Raises:
        ValueError: They are fewer, or one of them has no final test accuracy.
    """
    accuracies = [_known(run.final_test_accuracy) for run in runs]
    mean, sd = statistics.mean(accuracies), statistics.stdev(accuracies)
    peaks = [run.peak_rss_bytes for run in runs]
    known = [peak for peak in peaks if peak is not None]
    aims = target_accuracy is not None
    missed = [_reached(run, target_accuracy) for run in runs].count(None)
    return Arm(
        n=len(runs),
        accuracy_mean=mean,
        accuracy_sd=sd,
        accuracy_low=mean - half_width(accuracies),
        validation_mean=statistics.mean(_known(run.final_validation_accuracy) for run in runs),
        train_seconds_mean=statistics.mean(_known(run.train_seconds_total) for run in runs),
        peak_rss_bytes_max=max(known) if len(known) == len(peaks) else None,
        target_seconds_mean=statistics.mean(_seconds(runs, target_accuracy)) if aims else None,
        target_missed=missed if aims else None,
    )


def confirmation_of(
    candidate: Sequence[RunResult],
    paper: Sequence[RunResult],
    *,
    validation_accuracy: float,
    search_seconds: float,
    mcnemar: McNemar | None,
    target_accuracy: float | None = None,
) -> Confirmation:
    """Both on the same fresh seeds, two or more of each.

    Args:
        candidate: Its finished runs.
        paper: Those of the paper's configuration.
        validation_accuracy: The candidate's validation accuracy in the search.
        search_seconds: What the search took, by the wall clock.
        mcnemar: Of the seeds of median accuracy.
        target_accuracy: That was to be reached fast; None where that was not the question.
    """
    ours, theirs = (arm_of(runs, target_accuracy) for runs in (candidate, paper))
    in_all = welch(_seconds(candidate), _seconds(paper))
    to_target = None
    if target_accuracy is not None:
        to_target = welch(*(_seconds(runs, target_accuracy) for runs in (candidate, paper)))
    saved = -(to_target or in_all).difference
    return Confirmation(
        candidate=ours,
        paper=theirs,
        accuracy=welch(_accuracies(candidate), _accuracies(paper), smallest_sd=ROUNDING_SD),
        train_seconds=in_all,
        shrinkage=validation_accuracy - ours.accuracy_mean,
        mcnemar=mcnemar,
        payback_runs=search_seconds / saved if saved > 0 else None,
        target_accuracy=target_accuracy,
        target_seconds=to_target,
    )


def half_width(values: Sequence[float]) -> float:
    """Half of the interval of the mean of two or more values, by Student's t."""
    return estimate.half_width(statistics.stdev(values), len(values))


def exact_mcnemar(only_candidate: int, only_paper: int) -> McNemar:
    """The exact test: each of these images might as well have gone the other way."""
    from scipy.stats import binomtest  # slow to load

    several = only_candidate + only_paper
    p_value = float(binomtest(only_candidate, several).pvalue) if several else 1.0
    return McNemar(only_candidate=only_candidate, only_paper=only_paper, p_value=p_value)


def median_run(runs: Sequence[RunResult]) -> RunResult:
    """The run of median final test accuracy; of an even number the lower one of the middle."""
    rising = sorted(runs, key=lambda run: (_known(run.final_test_accuracy), run.seed))
    return rising[(len(rising) - 1) // 2]


def _accuracies(runs: Sequence[RunResult]) -> list[float]:
    return [_known(run.final_test_accuracy) for run in runs]


def _seconds(runs: Sequence[RunResult], target_accuracy: float | None = None) -> list[float]:
    """Training seconds, each run's to the target where there is one and it was reached."""
    reached = [_reached(run, target_accuracy) for run in runs]
    return [
        _known(run.train_seconds_total) if seconds is None else seconds
        for run, seconds in zip(runs, reached, strict=True)
    ]


def _reached(run: RunResult, target_accuracy: float | None) -> float | None:
    return None if target_accuracy is None else run.seconds_to_accuracy("test", target_accuracy)


def _known(value: float | None) -> float:
    if value is None:
        raise ValueError("a run did not come to its end")
    return value


def confirmation_in_words(proof: Confirmation | None) -> str:
    """What a look at the test split saw, in one line."""
    if proof is None:
        return "the trainings did not come to their end."
    noise = ", within noise" if proof.accuracy.is_within_noise else ""
    ours, theirs = proof.candidate, proof.paper
    return (
        f"final test accuracy {formatting.accuracy(ours.accuracy_mean)} ± "
        f"{formatting.spread(ours.accuracy_sd)} against the paper's "
        f"{formatting.accuracy(theirs.accuracy_mean)} ± {formatting.spread(theirs.accuracy_sd)} "
        f"(n = {ours.n} each{noise}), in {formatting.duration(ours.train_seconds_mean)} against "
        f"{formatting.duration(theirs.train_seconds_mean)} of training{_to_target(proof)}."
    )


def _to_target(proof: Confirmation) -> str:
    """The times to the target, where that was the question."""
    if proof.target_accuracy is None:
        return ""
    times = [
        f"{formatting.duration(arm.target_seconds_mean)}"
        + (f" ({arm.target_missed} never did and count whole)" if arm.target_missed else "")
        for arm in (proof.candidate, proof.paper)
    ]
    return f"; {formatting.accuracy(proof.target_accuracy)} on test first after {' against '.join(times)}"
