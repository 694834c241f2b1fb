"""Replays finished trials with Optuna's pruners."""

from __future__ import annotations

import random
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product

import optuna
from optuna import pruners
from optuna.pruners import BasePruner

from mnist_bench.core.records import Record
from mnist_bench.results.run import RunResult
from mnist_bench.tuning.pruning import compared_at

NO_PRUNER = "none"
SUITES = "median of 5 trials, from 10%, every 25%"
"""The default of `mnist-bench tune`."""
MOST_REGRET = 0.0002
"""One of 5,000 validation images."""


class Curve(Record):
    """A finished trial.

    Attributes:
        number: Of the trial.
        steps: Step count.
        is_papers: Whether it is the paper's configuration, which is never pruned.
        reported: Validation accuracy by percent of the steps, without the last step.
        final: After its last step.
    """

    number: int
    steps: int
    is_papers: bool
    reported: dict[int, float]
    final: float


class Replayed(Record):
    """Result of a pruner on trials in one order.

    Attributes:
        share_of_steps: Share of all trials' steps that are still done.
        pruned: Number of pruned trials.
        regret: Accuracy of the best trial minus that of the best unpruned trial.
    """

    share_of_steps: float
    pruned: int
    regret: float

    @property
    def keeps_best(self) -> bool:
        """Whether the best trial, or one as good, is not pruned."""
        return self.regret == 0


class Outcome(Record):
    """Results of a pruner on the same trials in several orders.

    Attributes:
        pruner: Key in `PRUNERS`.
        recorded: In order of training.
        shuffled: In random orders.
    """

    pruner: str
    recorded: Replayed
    shuffled: tuple[Replayed, ...]

    @property
    def mean_share(self) -> float:
        """Mean share of steps over the random orders."""
        return statistics.fmean(one.share_of_steps for one in self.shuffled)

    @property
    def kept_share(self) -> float:
        """Share of the random orders in which the best trial is not pruned."""
        return statistics.fmean(one.keeps_best for one in self.shuffled)

    @property
    def mean_regret(self) -> float:
        """Mean over the random orders."""
        return statistics.fmean(one.regret for one in self.shuffled)

    @property
    def largest_regret(self) -> float:
        """Maximum over the random orders."""
        return max(one.regret for one in self.shuffled)


def _percentile(percentile: float, startup: int, warm_up: int, interval: int) -> BasePruner:
    return pruners.PercentilePruner(
        percentile, n_startup_trials=startup, n_warmup_steps=warm_up, interval_steps=interval
    )


def _named(title: str, startup: int, warm_up: int, interval: int) -> str:
    often = "at each scoring" if interval == 1 else f"every {interval}%"
    return f"{title} of {startup} trials, from {warm_up}%, {often}"


def _candidates() -> Iterator[tuple[str, Callable[[], BasePruner]]]:
    yield NO_PRUNER, pruners.NopPruner
    titles = {50.0: "median", 25.0: "best quarter", 75.0: "best three quarters"}
    for percentile, title in titles.items():
        for settings in product((5, 10), (10, 25, 50), (1, 25)):
            # Optuna's median pruner is this one, at 50.
            yield _named(title, *settings), partial(_percentile, percentile, *settings)
    for least, factor in product((5, 10), (2, 4)):
        yield (
            f"successive halving from {least}%, one in {factor}",
            partial(pruners.SuccessiveHalvingPruner, least, factor),
        )
    for least in (5, 10):
        yield (
            f"Hyperband from {least}%, one in 3",
            partial(pruners.HyperbandPruner, least, 100, 3),
        )
    for p in (0.1, 0.01):
        yield (
            f"Wilcoxon against the best trial, p < {p}",
            partial(pruners.WilcoxonPruner, p_threshold=p, n_startup_steps=5),
        )


with warnings.catch_warnings():
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    PRUNERS: Mapping[str, Callable[[], BasePruner]] = dict(_candidates())
"""Factories by name, since some pruners have state."""


def curve_of(run: RunResult, number: int, *, is_papers: bool) -> Curve:
    """Curve of a finished run, as the suite would report it to Optuna.

    Raises:
        ValueError: The run did not finish.
    """
    last = run.final_validation_accuracy
    if run.status != "finished" or last is None or run.evaluations[-1].step != run.steps:
        raise ValueError(f"trial {number} did not come to the end of its {run.steps} steps")
    reported: dict[int, float] = {}
    for evaluation in run.evaluations[:-1]:
        percent = 100 * evaluation.step // run.steps
        # Reported under the comparison point too; Optuna keeps the first value at a percentage.
        for key in (compared_at(percent), percent):
            if key:
                reported.setdefault(key, evaluation.validation_accuracy)
    return Curve(number=number, steps=run.steps, is_papers=is_papers, reported=reported, final=last)


def on_grid(curve: Curve, percent: int) -> Curve:
    """The curve at multiples of some percent: the first evaluation at or after each."""
    reported: dict[int, float] = {}
    for reached, accuracy in sorted(curve.reported.items()):
        reported.setdefault(reached // percent * percent, accuracy)
    reported.pop(0, None)  # before the first of them
    return curve.model_copy(update={"reported": reported})


def orders(curves: Sequence[Curve], count: int) -> list[list[Curve]]:
    """Reproducible random orders, each with the paper's configuration first."""
    rng = random.Random(0)  # noqa: S311  # not used for security
    paper = [curve for curve in curves if curve.is_papers]
    others = [curve for curve in curves if not curve.is_papers]
    return [paper + rng.sample(others, len(others)) for _ in range(count)]


def replayed(curves: Sequence[Curve], pruner: BasePruner, name: str = "replay") -> Replayed:
    """Replay trials with a pruner.

    Args:
        curves: Of all trials, in order.
        pruner: A new one.
        name: Of the study; Hyperband assigns brackets by it.
    """
    study = optuna.create_study(study_name=name, direction="maximize", pruner=pruner)
    done, finals = 0.0, []
    for curve in curves:
        trial = study.ask()
        ended = _ended_at(trial, curve)
        if ended is None:
            study.tell(trial, curve.final)
            finals.append(curve.final)
        else:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        done += curve.steps * (100 if ended is None else ended) / 100
    best = max(curve.final for curve in curves)
    return Replayed(
        share_of_steps=done / sum(curve.steps for curve in curves),
        pruned=len(curves) - len(finals),
        regret=best - max(finals),
    )


def _ended_at(trial: optuna.Trial, curve: Curve) -> int | None:
    """Percentage of its steps at which a trial is pruned; None if it is not."""
    for percent, accuracy in sorted(curve.reported.items()):
        trial.report(accuracy, percent)
        if not curve.is_papers and trial.should_prune():
            return percent
    return None


def outcome_of(name: str, curves: Sequence[Curve], shuffled: Sequence[Sequence[Curve]]) -> Outcome:
    """Outcome of one pruner.

    Args:
        name: Key in `PRUNERS`.
        curves: In order of training.
        shuffled: In other orders.
    """
    make = PRUNERS[name]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return Outcome(
            pruner=name,
            recorded=replayed(curves, make(), "recorded"),
            shuffled=tuple(replayed(o, make(), f"order {i}") for i, o in enumerate(shuffled)),
        )


def best_of(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Pruner with the fewest steps among those with little mean regret."""
    accepted = [outcome for outcome in outcomes if outcome.mean_regret <= MOST_REGRET]
    return min(accepted, key=lambda outcome: outcome.mean_share, default=None)
