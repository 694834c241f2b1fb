"""Comparison of pruners for `mnist-bench tune`: replays unpruned trials with many of them.

    python benchmarks/tuning/pruners.py --data DIR

Trains the trials, or takes those of an unpruned study: `--study reports/NAME.json` with the MLflow
that recorded them. `--curves FILE` replays the trials of an earlier `pruners.json`, and
`--from FILE` only makes the page. Writes `pruners.json` and `pruners.md`.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "peers"))

import hardware
from hardware import Hardware
from replay import (
    MOST_REGRET,
    PRUNERS,
    SUITES,
    Curve,
    Outcome,
    best_of,
    curve_of,
    on_grid,
    orders,
    outcome_of,
)
from suite_trials import SuiteStudy, recorded_run

from mnist_bench.core import formatting, locks
from mnist_bench.core.limits import DATASET_CHOICES
from mnist_bench.core.records import Record
from mnist_bench.data import mnist
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tuning import space as spaces
from mnist_bench.tuning.document import StudyDocument

FOLDER = Path(__file__).parent
_OFTEN_KEPT = 0.9
"""Share of the orders in which the best trial must finish."""
_EXPERIMENT = "mnist-bench"
_WHAT = """\
Trials that came to their end are put before Optuna's pruners once more: each reports its validation
accuracy by percent of its steps, is ended where the pruner says so, and else is told to the study
with its last accuracy. The paper's configuration is first and never pruned, as in the suite. What a
pruner changes of the sampler's later suggestions is not seen here: the trials are the same ones.\
"""
_READ = """\
*Steps* are those that are still done, of all trials'. The best trial is *kept* where it, or one as
good, comes to its end; *regret* is by how much the best that does is behind the best of all. *Of n
trials*: none is pruned before so many have finished. *From* and *every*: the first percent of its
steps at which a trial is compared, and how often after that. Wilcoxon's test is meant for scores of
many instances, not for curves, and is here for completeness.\
"""


class Recorded(Record):
    """Unpruned trials.

    Attributes:
        dataset: Name of the images.
        title: Of their search space.
        objective: Of their study; it determines which trials were suggested.
        curves: In order of training.
    """

    dataset: str
    title: str
    objective: str
    curves: tuple[Curve, ...]


class PrunerSession(Record):
    """What one command measured.

    Attributes:
        command: Command line.
        date: In UTC.
        versions: By distribution name.
        recorded: The trials.
        percent_grid: Trials report at its multiples; None if at each evaluation.
        outcomes: One per pruner.
    """

    command: str
    date: str
    hardware: Hardware
    versions: dict[str, str]
    recorded: Recorded
    percent_grid: int | None
    outcomes: tuple[Outcome, ...]


# The trials


def of_study(document: StudyDocument, store: MlflowStore) -> Recorded:
    """Trials of a study from MLflow.

    Raises:
        ValueError: Some were pruned, or stopped by a time limit.
        LookupError: MLflow does not have them.
    """
    name = document.study
    if any(trial.state == "pruned" for trial in document.trials):
        raise ValueError(f"{name} has pruned trials; take one of --objective pareto")
    finished = [t for t in document.trials if t.state == "finished" and t.repeat_of is None]
    return Recorded(
        dataset=document.dataset,
        title=document.space.title,
        objective=document.goal.objective,
        curves=tuple(
            curve_of(recorded_run(store, trial), trial.number, is_papers=trial.is_papers)
            for trial in finished
        ),
    )


def trained(options: argparse.Namespace) -> Recorded:
    """Train trials in a temporary folder."""
    source = mnist.find(options.dataset, options.data, log=print)
    space = spaces.read(options.space or spaces.default_path())
    curves = []
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        contextlib.chdir(folder),
        locks.benchmark_lock(exclusive=True, warn=print) as exclusive,
    ):
        study = SuiteStudy("unpruned", space, source, exclusive=exclusive)
        for _ in range(options.trials):
            trial = study.train()
            curve = curve_of(study.run_of(trial), trial.number, is_papers=trial.is_papers)
            curves.append(curve)
            print(f"trial {trial.number}: {formatting.accuracy(curve.final)}", flush=True)
    return Recorded(
        dataset=source.name, title=space.title, objective="accuracy", curves=tuple(curves)
    )


# The pruners


def outcomes_of(curves: Sequence[Curve], count: int, names: Sequence[str]) -> Iterator[Outcome]:
    """Outcome of each pruner on the trials, in their original order and in random ones."""
    shuffled = orders(curves, count)
    for name in names:
        outcome = outcome_of(name, curves, shuffled)
        print(f"{name}: {outcome.mean_share:.1%} of the steps, best kept in "
              f"{outcome.kept_share:.0%} of {count} orders", flush=True)  # fmt: skip
        yield outcome


# The page


def page(session: PrunerSession) -> str:
    """The page in Markdown."""
    parts = (
        "# Pruners",
        _WHAT,
        _origin(session),
        _READ,
        "\n".join(_table(session.outcomes)),
        "\n".join(_choice(session.outcomes)),
        "`pruners.json` has the trials' curves, and what came of each order.",
    )
    return "\n\n".join(parts) + "\n"


def _origin(session: PrunerSession) -> str:
    versions = hardware.in_words(session.versions)
    recorded, grid = session.recorded, "at each scoring"
    if session.percent_grid is not None:
        grid = f"at multiples of {session.percent_grid}%, the first scoring at or after each"
    return (
        f"Machine: {session.hardware.sentences}\n"
        f"Versions: {versions}.\n"
        f"Made by `{session.command}` on {session.date}.\n"
        f"Trials: {len(recorded.curves)} of a study of {recorded.objective} in the space "
        f"*{recorded.title}*, images: {recorded.dataset}. They report {grid}."
    )


def _table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    n = len(outcomes[0].shuffled)
    head = ("pruner", "steps, recorded order", "best kept", "regret",
            f"steps, mean of {n} random orders (smallest to largest)",
            "best kept, share of these orders", "mean regret", "largest regret")  # fmt: skip
    yield "| " + " | ".join(head) + " |"
    yield "|---" + "|---:" * (len(head) - 1) + "|"
    for outcome in sorted(outcomes, key=lambda one: one.mean_share):
        yield "| " + " | ".join(_cells(outcome)) + " |"


def _cells(outcome: Outcome) -> tuple[str, ...]:
    shares = [one.share_of_steps for one in outcome.shuffled]
    name = f"**{outcome.pruner}** (the suite's)" if outcome.pruner == SUITES else outcome.pruner
    return (
        name,
        f"{outcome.recorded.share_of_steps:.1%}",
        "yes" if outcome.recorded.keeps_best else "no",
        f"{outcome.recorded.regret:.4f}",
        f"{outcome.mean_share:.1%} ({min(shares):.1%} to {max(shares):.1%})",
        f"{outcome.kept_share:.0%}",
        f"{outcome.mean_regret:.5f}",
        f"{outcome.largest_regret:.4f}",
    )


def _is_least(suites: Outcome, outcomes: Sequence[Outcome]) -> bool:
    """Whether no other pruner keeps the best trial as often with fewer steps."""
    others = [one for one in outcomes if one.kept_share >= _OFTEN_KEPT]
    return all(one.mean_share >= suites.mean_share for one in others)


def _choice(outcomes: Sequence[Outcome]) -> Iterator[str]:
    best = best_of(outcomes)
    yield (
        f"Of those whose mean regret is at most {MOST_REGRET:.4f}, one of 5,000 validation images, "
        "the one with the"
    )
    if best is None:
        yield "fewest steps: none."
    else:
        yield f"fewest steps: {best.pruner}, {best.mean_share:.1%} of them."
        yield f"It keeps the best trial in {best.kept_share:.0%} of the orders."
    suites = next((one for one in outcomes if one.pruner == SUITES), None)
    if suites and suites is not best:
        yield (
            f"The suite's: {suites.mean_share:.1%} of the steps, mean regret "
            f"{suites.mean_regret:.5f}."
        )
        if suites.kept_share >= _OFTEN_KEPT and _is_least(suites, outcomes):
            yield (
                f"Of those that keep the best trial in {_OFTEN_KEPT:.0%} of the orders or more, as "
                "it does, it is the\none with the fewest steps."
            )


# All of it


def measure(options: argparse.Namespace) -> PrunerSession:
    """Get the trials and replay them with the pruners."""
    if options.curves:
        earlier = PrunerSession.model_validate_json(options.curves.read_text(encoding="utf-8"))
        recorded = earlier.recorded
    elif options.study:
        document = StudyDocument.model_validate_json(options.study.read_text(encoding="utf-8"))
        recorded = of_study(document, MlflowStore(options.tracking_uri, _EXPERIMENT, create=False))
    else:
        recorded = trained(options)
    curves = list(recorded.curves)
    if options.percent_grid:
        curves = [on_grid(curve, options.percent_grid) for curve in curves]
    return PrunerSession(
        command=_command(options),
        date=datetime.now(UTC).date().isoformat(),
        hardware=hardware.describe(),
        versions=hardware.versions("optuna", "tensorflow", "mnist-bench"),
        recorded=recorded,
        percent_grid=options.percent_grid,
        outcomes=tuple(outcomes_of(curves, options.orders, list(PRUNERS))),
    )


def _command(options: argparse.Namespace) -> str:
    """Command line without local paths."""
    words = ["python benchmarks/tuning/pruners.py"]
    if options.curves:
        words += [f"--curves {options.curves.name}"]
    elif options.study:
        words += [f"--study {options.study.name} --tracking-uri URI"]
    else:
        words += ["--data DIR"] if options.data else []
        words += [f"--dataset {options.dataset}"] if options.dataset != "auto" else []
        words += [f"--space {options.space.name}"] if options.space else []
        words += [f"--trials {options.trials}"]
    words += [f"--orders {options.orders}"]
    words += [f"--percent-grid {options.percent_grid}"] if options.percent_grid else []
    return " ".join(words)


def main() -> None:
    """Replay, or read an earlier replay; write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument("--dataset", choices=DATASET_CHOICES, default="auto", help="images (auto)")
    parser.add_argument("--space", type=Path, help="search space (the packaged one)")
    parser.add_argument("--trials", type=int, default=60, help="number of trials to train (60)")
    parser.add_argument("--study", type=Path, metavar="FILE",
                        help="take the trials of this study's JSON document instead")  # fmt: skip
    parser.add_argument("--tracking-uri", default="sqlite:///mlflow.db", metavar="URI",
                        help="the MLflow that recorded that study (./mlflow.db)")  # fmt: skip
    parser.add_argument("--curves", type=Path, metavar="FILE",
                        help="take the trials of this pruners.json instead")  # fmt: skip
    parser.add_argument("--orders", type=int, default=20, help="number of random orders (20)")
    parser.add_argument("--percent-grid", type=int, metavar="P",
                        help="let trials report only at multiples of P percent")  # fmt: skip
    parser.add_argument("--from", dest="file", type=Path, metavar="FILE",
                        help="make the page from this JSON without replaying")  # fmt: skip
    parser.add_argument("--out", type=Path, default=FOLDER, help="output folder")
    options = parser.parse_args()
    if options.file:
        session = PrunerSession.model_validate_json(options.file.read_text(encoding="utf-8"))
    else:
        session = measure(options)
        text = session.model_dump_json(indent=1) + "\n"
        (options.out / "pruners.json").write_text(text, encoding="utf-8", newline="\n")
    (options.out / "pruners.md").write_text(page(session), encoding="utf-8", newline="\n")
    print(page(session))


if __name__ == "__main__":
    main()
