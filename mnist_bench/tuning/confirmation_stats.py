"""Statistics of a confirmation: candidate vs the paper's configuration on fresh seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from mnist_bench.analysis.statistics import Interval, half_width, welch
from mnist_bench.core import formatting
from mnist_bench.core.records import Record
from mnist_bench.results.run import RunResult
from mnist_bench.scenarios.paper import ROUNDING_SD


class Arm(Record):
    """Results of one configuration on fresh seeds.

    Attributes:
        n: Seeds.
        accuracy_mean: Of the final test accuracies.
        accuracy_low: Lower end of the 95% interval of the mean.
        validation_mean: Of the final validation accuracies.
        peak_rss_bytes_max: None if one is unknown.
        target_seconds_mean: Of the training seconds until test accuracy first reaches the
            target on the grid; a seed that never does counts with all its seconds. None without
            a target.
        target_missed: Seeds that never reach it.
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
    """Exact McNemar test of two trainings on the same test images.

    Attributes:
        only_candidate: Images that only the candidate's median seed classifies correctly.
        only_paper: Images that only the paper's does.
        p_value: Of the exact two-sided test.
    """

    only_candidate: int
    only_paper: int
    p_value: float


class Confirmation(Record):
    """Comparison of candidate and paper on the test split.

    Attributes:
        accuracy: Difference in mean final test accuracy.
        train_seconds: Difference in mean training seconds.
        shrinkage: Validation accuracy in the search minus mean test accuracy.
        mcnemar: Of the seeds of median accuracy; None if predictions of a run are missing.
        payback_runs: Runs after which the search has paid for itself; None if a run of the
            candidate takes as long as one of the paper.
        target_accuracy: Of `time-to-accuracy`; None for other objectives.
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
        """Difference in seconds: time to the target if there is one, else train seconds."""
        return self.target_seconds or self.train_seconds


def arm_of(runs: Sequence[RunResult], target_accuracy: float | None = None) -> Arm:
    """Summarize the runs of one configuration, one per seed.

    Raises:
        ValueError: Fewer than two runs, or one of them has no final test accuracy.
    """
    accuracies = _accuracies(runs)
    mean, sd = statistics.mean(accuracies), statistics.stdev(accuracies)
    peaks = [run.peak_rss_bytes for run in runs]
    known = [peak for peak in peaks if peak is not None]
    has_target = target_accuracy is not None
    missed = [_reached(run, target_accuracy) for run in runs].count(None)
    return Arm(
        n=len(runs),
        accuracy_mean=mean,
        accuracy_sd=sd,
        accuracy_low=mean - half_width(sd, len(accuracies)),
        validation_mean=statistics.mean(_known(run.final_validation_accuracy) for run in runs),
        train_seconds_mean=statistics.mean(_known(run.train_seconds_total) for run in runs),
        peak_rss_bytes_max=max(known) if len(known) == len(peaks) else None,
        target_seconds_mean=statistics.mean(_seconds(runs, target_accuracy))
        if has_target
        else None,
        target_missed=missed if has_target else None,
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
    """Compare candidate and paper on the same fresh seeds, two or more finished runs of each.

    Args:
        validation_accuracy: Of the candidate in the search.
        search_seconds: Wall-clock seconds of the search.
        mcnemar: Of the seeds of median accuracy.
        target_accuracy: Of `time-to-accuracy`; None for other objectives.
    """
    candidate_arm, paper_arm = (arm_of(runs, target_accuracy) for runs in (candidate, paper))
    total_seconds = welch(_seconds(candidate), _seconds(paper))
    to_target = None
    if target_accuracy is not None:
        to_target = welch(*(_seconds(runs, target_accuracy) for runs in (candidate, paper)))
    saved = -(to_target or total_seconds).difference
    return Confirmation(
        candidate=candidate_arm,
        paper=paper_arm,
        accuracy=welch(_accuracies(candidate), _accuracies(paper), smallest_sd=ROUNDING_SD),
        train_seconds=total_seconds,
        shrinkage=validation_accuracy - candidate_arm.accuracy_mean,
        mcnemar=mcnemar,
        payback_runs=search_seconds / saved if saved > 0 else None,
        target_accuracy=target_accuracy,
        target_seconds=to_target,
    )


def exact_mcnemar(only_candidate: int, only_paper: int) -> McNemar:
    """Exact two-sided McNemar test: a binomial test of the discordant images at 1/2."""
    from scipy.stats import binomtest  # slow to import

    discordant = only_candidate + only_paper
    p_value = float(binomtest(only_candidate, discordant).pvalue) if discordant else 1.0
    return McNemar(only_candidate=only_candidate, only_paper=only_paper, p_value=p_value)


def median_run(runs: Sequence[RunResult]) -> RunResult:
    """Run of median final test accuracy; of an even number, the lower middle one."""
    ordered = sorted(runs, key=lambda run: (_known(run.final_test_accuracy), run.seed))
    return ordered[(len(ordered) - 1) // 2]


def _accuracies(runs: Sequence[RunResult]) -> list[float]:
    return [_known(run.final_test_accuracy) for run in runs]


def _seconds(runs: Sequence[RunResult], target_accuracy: float | None = None) -> list[float]:
    """Train seconds of each run: to the target if it was reached, else in total."""
    reached = [_reached(run, target_accuracy) for run in runs]
    return [
        _known(run.train_seconds_total) if seconds is None else seconds
        for run, seconds in zip(runs, reached, strict=True)
    ]


def _reached(run: RunResult, target_accuracy: float | None) -> float | None:
    return None if target_accuracy is None else run.seconds_to_accuracy("test", target_accuracy)


def _known(value: float | None) -> float:
    if value is None:
        raise ValueError("a run did not finish")
    return value


def confirmation_in_words(confirmation: Confirmation | None) -> str:
    """Result of a confirmation in one line."""
    if confirmation is None:
        return "the trainings did not come to their end."
    noise = ", within noise" if confirmation.accuracy.is_within_noise else ""
    candidate, paper = confirmation.candidate, confirmation.paper
    return (
        f"final test accuracy {formatting.accuracy(candidate.accuracy_mean)} ± "
        f"{formatting.spread(candidate.accuracy_sd)} against the paper's "
        f"{formatting.accuracy(paper.accuracy_mean)} ± {formatting.spread(paper.accuracy_sd)} "
        f"(n = {candidate.n} each{noise}), "
        f"in {formatting.duration(candidate.train_seconds_mean)} against "
        f"{formatting.duration(paper.train_seconds_mean)} of training{_to_target(confirmation)}."
    )


def _to_target(confirmation: Confirmation) -> str:
    """Times to the target as text; empty without a target."""
    if confirmation.target_accuracy is None:
        return ""
    times = [
        f"{formatting.duration(arm.target_seconds_mean)}"
        + (f" ({arm.target_missed} never did and count whole)" if arm.target_missed else "")
        for arm in (confirmation.candidate, confirmation.paper)
    ]
    target = formatting.accuracy(confirmation.target_accuracy)
    return f"; {target} on test first after {' against '.join(times)}"
