"""Comparison of pruners for `mnist-bench tune`: replays unpruned trials with many of them.

    python benchmarks/tuning/pruners.py --data DIR --trials 30

Trains the trials without pruning; `--curves FILE` takes those of an earlier `pruners.json` instead.
Writes `pruners.json` and `pruners.md`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import optuna
import pandas as pd
from optuna import pruners
from optuna.pruners import BasePruner

sys.path.insert(0, str(Path(__file__).parents[1]))

import common
from common import Document
from suite_study import tune

from mnist_bench.core.limits import DATASET_CHOICES
from mnist_bench.tuning import space as spaces
from mnist_bench.tuning.document import StudyDocument

SUITES = "median of 5 trials, from 10%, every 25%"
"""The default of `mnist-bench tune`."""
PERCENT_GRID = 5
"""Trials report at its multiples, so that they can be compared at any of them."""


def _candidates() -> Iterator[tuple[str, Callable[[], BasePruner]]]:
    yield "none", pruners.NopPruner
    titles = {50.0: "median", 25.0: "best quarter", 75.0: "best three quarters"}
    for (percentile, title), startup, first, every in product(
        titles.items(), (5, 10), (10, 25, 50), (1, 25)
    ):
        often = "at each scoring" if every == 1 else f"every {every}%"
        # Optuna's median pruner is this one, at 50.
        yield (
            f"{title} of {startup} trials, from {first}%, {often}",
            partial(pruners.PercentilePruner, percentile, n_startup_trials=startup,
                    n_warmup_steps=first, interval_steps=every),
        )  # fmt: skip
    for least, factor in product((5, 10), (2, 4)):
        name = f"successive halving from {least}%, one in {factor}"
        yield name, partial(pruners.SuccessiveHalvingPruner, least, factor)
    for least in (5, 10):
        yield f"Hyperband from {least}%, one in 3", partial(pruners.HyperbandPruner, least, 100, 3)
    for p in (0.1, 0.01):
        make = partial(pruners.WilcoxonPruner, p_threshold=p, n_startup_steps=5)
        yield f"Wilcoxon against the best trial, p < {p}", make


PRUNERS: Mapping[str, Callable[[], BasePruner]] = dict(_candidates())
"""Factories by name, since some pruners have state."""


def measure(options: argparse.Namespace) -> Document:
    """Get the trials and replay them with the pruners."""
    if options.curves:
        recorded = json.loads(options.curves.read_text(encoding="utf-8"))["recorded"]
    else:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            count, images = options.trials, {"data": options.data, "dataset": options.dataset}
            recorded = curves_of(
                tune(Path(folder), spaces.default_path(), count, **images, prunes=False)
            )
    curves = [on_grid(curve) for curve in recorded["curves"]]
    shuffled = orders(curves, options.orders)
    outcomes = []
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    for name, make in PRUNERS.items():
        print(name, flush=True)
        recorded_order = replayed(curves, make(), "recorded")
        others = [replayed(of, make(), f"order {index}") for index, of in enumerate(shuffled)]
        outcomes.append({"pruner": name, "recorded": recorded_order, "shuffled": others})
    return common.session(
        *("optuna", "tensorflow", "mnist-bench"), recorded=recorded, outcomes=outcomes
    )


def curves_of(study: StudyDocument) -> Document:
    """Finished trials of a study: validation accuracies by percent of the steps, and at the end."""
    return {
        "dataset": study.dataset,
        "title": study.space.title,
        "objective": study.goal.objective,
        "curves": [
            {
                "number": trial.number,
                "is_papers": trial.is_papers,
                "steps": study.space.scenario(trial.chosen).steps[-1],
                "reported": {str(percent): value for percent, value in trial.curve.items()},
                "final": trial.values[0],
            }
            for trial in study.trials
            if trial.state == "finished"
        ],
    }


def on_grid(curve: Document) -> Document:
    """The curve at multiples of some percent: the first evaluation at or after each."""
    reported: dict[int, float] = {}
    for reached, accuracy in sorted((int(key), each) for key, each in curve["reported"].items()):
        reported.setdefault(reached // PERCENT_GRID * PERCENT_GRID, accuracy)
    reported.pop(0, None)  # before the first of them
    return curve | {"reported": reported}


def orders(curves: Sequence[Document], count: int) -> list[list[Document]]:
    """Reproducible random orders, each with the paper's configuration first."""
    rng = random.Random(0)  # noqa: S311  # not used for security
    paper = [curve for curve in curves if curve["is_papers"]]
    others = [curve for curve in curves if not curve["is_papers"]]
    return [paper + rng.sample(others, len(others)) for _ in range(count)]


def replayed(curves: Sequence[Document], pruner: BasePruner, name: str = "replay") -> Document:
    """Replay trials, in order, with a new pruner; Hyperband assigns brackets by the study's name.

    Returns:
        Share of all trials' steps that are still done; number of pruned trials; accuracy of the
        best trial minus that of the best unpruned one.
    """
    study = optuna.create_study(study_name=name, direction="maximize", pruner=pruner)
    done, finals = 0.0, []
    for curve in curves:
        trial, ended_at = study.ask(), 100
        for percent, accuracy in sorted(curve["reported"].items()):
            trial.report(accuracy, percent)
            if not curve["is_papers"] and trial.should_prune():
                ended_at = percent
                break
        if ended_at == 100:
            study.tell(trial, curve["final"])
            finals.append(curve["final"])
        else:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        done += curve["steps"] * ended_at / 100
    return {
        "share_of_steps": done / sum(curve["steps"] for curve in curves),
        "pruned": len(curves) - len(finals),
        "regret": max(curve["final"] for curve in curves) - max(finals),
    }


def summary_of(outcomes: Sequence[Document]) -> pd.DataFrame:
    """A row a pruner, over the random orders, fewest steps first; columns are pairs of names."""
    rows = pd.DataFrame(
        {"pruner": of["pruner"], **each, "kept": each["regret"] == 0}
        for of in outcomes
        for each in of["shuffled"]
    )
    summary = rows.groupby("pruner", sort=False).agg(["mean", "min", "max"])
    return summary.sort_values(("share_of_steps", "mean"), kind="stable")


def page(document: Document) -> str:
    """The table in Markdown."""
    recorded, outcomes = document["recorded"], document["outcomes"]
    summary = summary_of(outcomes)
    in_order = {outcome["pruner"]: outcome["recorded"] for outcome in outcomes}
    head = ("pruner", "steps, recorded order", "best kept", "regret",
            f"steps, mean of {len(outcomes[0]['shuffled'])} random orders (smallest to largest)",
            "best kept, share of these orders", "mean regret", "largest regret")  # fmt: skip
    rows = [
        (
            f"**{name}** (the suite's)" if name == SUITES else str(name),
            f"{in_order[name]['share_of_steps']:.1%}",
            "no" if in_order[name]["regret"] else "yes",
            f"{in_order[name]['regret']:.4f}",
            "{:.1%} ({:.1%} to {:.1%})".format(*of["share_of_steps"]),
            f"{of['kept', 'mean']:.0%}",
            f"{of['regret', 'mean']:.5f}",
            f"{of['regret', 'max']:.4f}",
        )
        for name, of in summary.iterrows()
    ]
    return common.blocks(
        f"{common.origin(document)}\nTrials: {len(recorded['curves'])} of a study of "
        f"{recorded['objective']} in the space *{recorded['title']}*, images: "
        f"{recorded['dataset']}.",
        common.table(head, rows),
    )


if __name__ == "__main__":
    parser = common.parser(
        __doc__, trials=(60, "number of trials to train"), orders=(20, "number of random orders")
    )
    parser.add_argument("--dataset", choices=DATASET_CHOICES, default="auto")
    parser.add_argument("--curves", type=Path, help="take the trials of this pruners.json instead")
    common.run(parser, ("pruners.json", "pruners.md"), measure, page)
