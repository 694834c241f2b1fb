"""benchmarks/tuning: replays of hand-made trials; both sides of the search cost train once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import common
import pruners
import pytest
import search_cost
from factories import study_document
from keras_fit import compiled
from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner

from mnist_bench.data.dataset import Source
from mnist_bench.models.parameter_counts import parameter_count
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.pruning import pruner_of
from mnist_bench.tuning.trial import StudyTrial

SPACE = search_cost.read_space(5_000)


# Replays


def curve(number: int, final: float, **changes: Any) -> common.Document:
    """A trial that is at its last accuracy, or at `early`, from the first scoring on."""
    reported = dict.fromkeys(range(25, 100, 25), changes.pop("early", final))
    made = {"number": number, "steps": 1_000, "is_papers": False, "reported": reported}
    return made | {"final": final} | changes


LATE = [curve(0, 0.5), curve(1, 0.7), curve(2, 0.4), curve(3, 0.8), curve(4, 0.9, early=0.1)]
EXEMPT = [curve(0, 0.9), curve(1, 0.1, is_papers=True), curve(2, 0.1)]
SHORT = [curve(0, 0.9), curve(1, 0.1, steps=200)]
AS_GOOD = [curve(0, 0.9), curve(1, 0.9, early=0.1)]


@pytest.mark.parametrize(
    ("trials", "pruner", "share", "pruned", "regret"),
    [
        (LATE, NopPruner(), 1.0, 0, 0.0),
        # 0.4 and 0.1 lie below the medians of 0.5 and 0.7, and of these and 0.8, at half the steps.
        (LATE, MedianPruner(2, 50), 0.8, 2, 0.1),
        (EXEMPT, MedianPruner(1), 2.25 / 3, 1, 0.0),  # the paper's configuration is never pruned
        (SHORT, MedianPruner(1), 1_050 / 1_200, 1, 0.0),  # step counts are weights
        (AS_GOOD, MedianPruner(1), 1.25 / 2, 1, 0.0),  # one as good comes to its end
    ],
)
def test_replay(
    trials: list[common.Document], pruner: Any, share: float, pruned: int, regret: float
) -> None:
    found = pruners.replayed(trials, pruner)
    assert (found["share_of_steps"], found["regret"]) == pytest.approx((share, regret))
    assert found["pruned"] == pruned


@pytest.mark.parametrize(
    ("name", "pruner"),
    [
        (pruners.SUITES, pruner_of(Goal(objective="accuracy"))),
        ("median of 5 trials, from 50%, at each scoring", MedianPruner(5, 50)),
        ("successive halving from 5%, one in 4", SuccessiveHalvingPruner(5, 4)),
        ("Hyperband from 10%, one in 3", HyperbandPruner(10, 100, 3)),
        ("none", NopPruner()),
    ],
)
def test_candidates_match_their_names(name: str, pruner: Any) -> None:
    assert vars(pruners.PRUNERS[name]()) == vars(pruner)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_every_candidate_can_be_replayed() -> None:
    trials = [curve(0, 0.5, is_papers=True), *(curve(n, n / 30) for n in range(1, 25))]
    for make in pruners.PRUNERS.values():
        found = pruners.replayed(trials, make())
        assert 0 < found["share_of_steps"] <= 1
        assert (found["share_of_steps"] == 1) is (found["pruned"] == 0)
        assert found["regret"] == 0  # the best one is ahead from its first scoring on


def test_what_the_page_says_of_the_suites_pruner() -> None:
    document = common.json.loads((search_cost.FOLDER / "pruners.json").read_text("utf-8"))
    summary = pruners.summary_of(document["outcomes"])
    often = summary[summary["kept", "mean"] >= 0.9]
    assert often.index[0] == pruners.SUITES


# What a search costs


def test_configurations_are_reproducible() -> None:
    first = search_cost.configurations_of(SPACE, 4)
    assert first == search_cost.configurations_of(SPACE, 4)
    assert first[0] == SPACE.paper_values()
    assert len({str(chosen) for chosen in first}) == 4
    for chosen in first:
        assert all(SPACE.parameters[name].contains(value) for name, value in chosen.items())


def test_counted_trials_of_a_study() -> None:
    trials = (
        StudyTrial(number=0, state="finished", chosen={}, values=(0.99,), seconds=9.0),
        StudyTrial(number=1, state="pruned", chosen={}, curve={5: 0.1, 35: 0.4}, seconds=3.5),
        StudyTrial(number=2, state="failed", chosen={}),
    )
    document = study_document().model_copy(update={"trials": trials})
    assert search_cost.searched(document) == [
        {"share_of_steps": 1.0, "seconds": 9.0, "validation_accuracy": 0.99},
        {"share_of_steps": 0.35, "seconds": 3.5, "validation_accuracy": None},
    ]


def test_networks_have_the_same_size() -> None:
    pytest.importorskip("keras")
    for chosen in search_cost.configurations_of(SPACE, 3):
        hyperparameters = SPACE.scenario(chosen).hyperparameters
        assert compiled(hyperparameters).count_params() == parameter_count(hyperparameters)


@pytest.mark.slow
def test_both_sides_train_the_same_trials(
    sample: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_cost.mnist, "find", lambda *_, **__: sample)
    options = argparse.Namespace(
        what="trials", dataset="mnist-5k", data=None, steps=20, repeats=2, out=tmp_path
    )
    search_cost.measure(options)
    (document,) = search_cost.documents_in(tmp_path)
    assert [pair["first"] for pair in document["pairs"]] == ["ours", "theirs"]
    chosen = search_cost.configurations_of(search_cost.read_space(20), 2)
    assert [pair["chosen"] for pair in document["pairs"]] == chosen
    for pair in document["pairs"]:
        assert 0.05 < pair["theirs"]["validation_accuracy"] < 1
        assert pair["ours"]["seconds"] > 0
