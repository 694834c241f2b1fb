"""benchmarks/tuning: ratios, replays, pages of hand-made trials; both sides are trained once."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import cost_page
import keras_trial
import pruners
import pytest
import replay
import search_cost
import tomli_w
from costs import (
    CostSession,
    Pair,
    Search,
    Searched,
    Trained,
    rate_ratio,
    searched,
    trial_ratio,
    turns,
)
from factories import machine
from hardware import Hardware
from keras_loop import KerasLoop, Looped
from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from pruners import PrunerSession, Recorded
from replay import Curve, Outcome, Replayed
from suite_trials import SuiteStudy, UnprunedGoal

from mnist_bench.results.run import Evaluation, RunResult
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.tuning.document import StudyDocument
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.pruning import pruner_of
from mnist_bench.tuning.space import Parameter, Space
from mnist_bench.tuning.trial import StudyTrial

SPACE = search_cost.read_space(5_000)
FOLDER = Path(search_cost.__file__).parent
PAPERS = SPACE.paper_values()


# Ratios


def pair(ours: float, theirs: float, verdict: str | None = "clean") -> Pair:
    return Pair(
        chosen={"learning_rate": 0.00123456, "conv1_filters": 32},
        first="ours",
        ours=Trained(seconds=ours, validation_accuracy=0.99, verdict=verdict),
        theirs=Trained(seconds=theirs, validation_accuracy=0.9876),
    )


def search(side: str, seconds: float, *shares: float) -> Search:
    """A search; trials with a share below 1 were pruned."""
    return Search(
        side=side,
        seconds=seconds,
        trials=tuple(
            Searched(
                share_of_steps=share,
                seconds=share * 50,
                validation_accuracy=0.98 + index / 1000 if share == 1 else None,
            )
            for index, share in enumerate(shares)
        ),
    )


def session(*pairs: Pair, searches: tuple[Search, ...] = ()) -> CostSession:
    return CostSession(
        command="python benchmarks/tuning/search_cost.py --data DIR --pairs 2",
        date="2026-01-02",
        hardware=Hardware(name="a machine", instruction_sets=None, virtual=None),
        versions={"keras": "3.15.1"},
        dataset="mnist",
        validation_images=5_000,
        threads=2,
        steps=5_000,
        scorings=20,
        settings="as it comes",
        pairs=pairs,
        searches=searches,
    )


def test_sides_alternate():
    assert turns(3) == [("ours", "theirs"), ("theirs", "ours"), ("ours", "theirs")]


def test_ratio_of_trials():
    got = trial_ratio(session(pair(50, 60), pair(40, 60), pair(10, 20)))
    assert got is not None
    assert (got.median, got.n) == (1.5, 3)
    assert trial_ratio(session()) is None


def test_search_statistics():
    of = search("ours", 120.0, 1, 0.25, 1, 0.5)
    assert of.an_hour == 120
    assert of.share_of_steps == pytest.approx(0.6875)
    assert of.pruned == 2
    assert of.best == pytest.approx(0.982)


def test_ratio_of_rates():
    ours = (search("ours", 60, 1, 1), search("ours", 120, 1, 1))
    theirs = (search("theirs", 180, 1, 1), search("theirs", 120, 1, 1))
    got = rate_ratio(session(searches=(ours[0], *theirs, ours[1])))
    assert got is not None
    assert (got.median, got.n) == (pytest.approx(2.0), 2)  # of 3 and 1
    assert rate_ratio(session(searches=(ours[0],))) is None


def test_counted_trials_of_a_study():
    trials = (
        StudyTrial(
            number=0, state="finished", chosen={}, values=(0.99,), seconds=9.0, is_papers=True
        ),
        StudyTrial(number=1, state="pruned", chosen={}, curve={5: 0.1, 35: 0.4}, seconds=3.5),
        StudyTrial(number=2, state="failed", chosen={}),
    )
    assert searched(document(*trials)) == (
        Searched(share_of_steps=1.0, seconds=9.0, validation_accuracy=0.99),
        Searched(share_of_steps=0.35, seconds=3.5, validation_accuracy=None),
    )


def document(*trials: StudyTrial, objective: str = "accuracy") -> StudyDocument:
    return StudyDocument(
        study="some",
        dataset="mnist",
        dataset_digest="0" * 64,
        machine=machine(),
        space=SPACE,
        goal=Goal(objective=objective),
        trials=trials,
        best=(0,),
        candidate=0,
        margin=None,
        importances={},
        search_seconds=1.0,
        looks=(),
    )


# The page of costs


def test_page_of_costs():
    of = session(
        pair(50, 60),
        pair(40, 60, "suspect"),
        searches=(search("ours", 120.0, 1, 0.25, 1, 0.5), search("theirs", 480, 1, 1, 1, 1)),
    )
    text = cost_page.page([of])
    assert "| 0.00123 | 32 | 50.0 | 60.0 | 1.20 | 0.9900 | 0.9876 |" in text
    assert "| 0.00123 | 32 | 40.0 | 60.0 | 1.50 | 0.9900 | 0.9876 |" in text
    assert "Theirs by ours: median 1.35, " in text
    assert "n = 2, from 1.20 to 1.50.\nAsked for: at least 1.4, **not met** by the median." in text
    assert "Not clean by the suite's own verdict: 1 of our 2 trials." in text
    ours = "| `mnist-bench tune` | 4 | 2 | 69% | 37.5 (12.5 to 50.0) | 120 | 120.0 | 0.9820 |"
    theirs = "| the loop over Keras `fit` | 4 | 0 | 100% | 50.0 (50.0 to 50.0) | 480 | 30.0 |"
    assert ours in text
    assert theirs in text
    assert "Ours by theirs: 4.00, n = 1.\nAsked for: at least 3.0, met by the median." in text
    assert "search_cost.py --data DIR --pairs 2` on 2026-01-02;\nimages: mnist, 2 threads." in text


def test_page_without_measurements_of_a_kind():
    trials, searches = session(pair(10, 14)), session(searches=(search("ours", 9, 1),))
    text = cost_page.page([trials])
    assert "met by the median" in text
    assert "## Trials an hour" not in text
    assert "## The same trials" not in cost_page.page([searches])
    assert "Every value: `trials.json`. " in text
    assert "Every value: `searches.json`. " in cost_page.page([searches])
    both = cost_page.page([trials, searches])
    assert both.index("## The same trials") < both.index("## Trials an hour")
    assert both.count("on 2026-01-02;\nimages: mnist") == 2
    assert both.count("Keras: as it comes.") == 1


def test_the_command_has_no_local_paths():
    options = argparse.Namespace(
        what="searches", data=Path("/somewhere/else"), dataset="mnist", pairs=1, rounds=2,
        trials=3, steps=20, their_trials=None,
    )  # fmt: skip
    program = "python benchmarks/tuning/search_cost.py --what"
    assert search_cost._command(options) == (
        f"{program} searches --data DIR --dataset mnist --rounds 2 --trials 3 --steps 20"
    )
    options.what = "trials"
    assert search_cost._command(options) == (
        f"{program} trials --data DIR --dataset mnist --pairs 1 --steps 20"
    )


def test_measured_sessions_are_loaded(tmp_path):
    assert search_cost.measured_in(tmp_path) == []
    trials, searches = session(pair(10, 14)), session(searches=(search("ours", 9, 1),))
    (tmp_path / "searches.json").write_text(searches.model_dump_json(), encoding="utf-8")
    assert search_cost.measured_in(tmp_path) == [searches]
    (tmp_path / "trials.json").write_text(trials.model_dump_json(), encoding="utf-8")
    assert search_cost.measured_in(tmp_path) == [trials, searches]


@pytest.mark.parametrize("text", ["0", "19", "21"])
def test_uneven_step_counts_are_rejected(text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"{text} is not a multiple of 20"):
        search_cost._steps(text)
    assert search_cost._steps("40") == 40


# The trials of both


def test_configurations_are_reproducible():
    first, again = (search_cost.configurations_of(SPACE, 4) for _ in "ab")
    assert first == again
    assert first[0] == PAPERS == {
        "learning_rate": 0.001,
        "dropout_rate": 0.5,
        "conv1_filters": 32,
        "conv1_kernel_size": 5,
        "conv2_filters": 64,
        "conv2_kernel_size": 5,
        "dense_units": 1_024,
    }  # fmt: skip
    for chosen in first:
        assert all(SPACE.parameters[name].contains(value) for name, value in chosen.items())
    assert len({str(chosen) for chosen in first}) == 4
    assert search_cost.configurations_of(SPACE, 1) == [PAPERS]


@pytest.mark.parametrize("steps", [20, 100, 5_000])
def test_both_sides_evaluate_at_the_same_steps(steps):
    scenario = search_cost.read_space(steps).scenario(PAPERS)
    assert list(scenario.grid.points(steps)) == [steps * k // 20 for k in range(1, 21)]


def test_the_space_round_trips_through_its_file():
    text = tomli_w.dumps(SPACE.model_dump(mode="json", exclude_defaults=True))
    assert Space.model_validate(tomllib.loads(text)) == SPACE


def test_the_loop_rejects_unsupported_spaces(sample):
    parameters = SPACE.parameters | {"shift_pixels": Parameter(low=0, high=2)}
    with pytest.raises(ValueError, match="the Keras program has no shift_pixels"):
        KerasLoop(SPACE.model_copy(update={"parameters": parameters}), sample)
    with pytest.raises(ValueError, match="multiple of 20"):
        KerasLoop(SPACE.model_copy(update={"steps": 30}), sample)


def test_supported_parameters_are_hyperparameters():
    assert set(SPACE.parameters) <= keras_trial.KNOWN <= set(PaperCnnHyperparameters.model_fields)


class Suite:
    """A study that trains nothing."""

    def __init__(self, calls, second):
        self.calls, self.queue = calls, [PAPERS]
        self.second = second

    def enqueue(self, chosen):
        self.queue.append(self.second or chosen)

    def train(self):
        self.calls.append("ours")
        return StudyTrial(number=0, state="finished", chosen=self.queue.pop(0), values=(0.9,),
                     verdict="clean")  # fmt: skip


class Loop:
    """A loop that trains nothing."""

    def __init__(self, calls):
        self.calls, self.queue, self.trials = calls, [], []

    def enqueue(self, chosen):
        self.queue.append(chosen)

    def train(self, trials):
        self.calls.append("theirs")
        self.trials.append(Looped(chosen=self.queue.pop(0), seconds=1.0, validation_accuracy=0.8))


@pytest.fixture
def both(sample, monkeypatch):
    """Makes the two sides, for some configurations."""

    def make(configurations, second=None):
        calls = []
        monkeypatch.setattr(search_cost, "SuiteStudy", lambda *_, **__: Suite(calls, second))
        monkeypatch.setattr(search_cost, "KerasLoop", lambda *_: Loop(calls))
        return search_cost.Both("x", SPACE, sample, configurations, exclusive=True), calls

    return make


def test_a_pair_is_the_same_trial_on_both_sides(both):
    configurations = search_cost.configurations_of(SPACE, 2)
    sides, calls = both(configurations)
    pairs = [sides.pair(*each) for each in zip(turns(2), configurations, strict=True)]
    assert calls == ["ours", "theirs", "theirs", "ours"]
    assert [each.first for each in pairs] == ["ours", "theirs"]
    assert [each.chosen for each in pairs] == configurations
    accuracies = (pairs[1].ours.validation_accuracy, pairs[1].theirs.validation_accuracy)
    assert accuracies == (0.9, 0.8)


def test_a_different_trial_is_an_error(both):
    configurations = search_cost.configurations_of(SPACE, 2)
    sides, _ = both(configurations, second=PAPERS)
    sides.pair(("ours", "theirs"), configurations[0])
    with pytest.raises(RuntimeError, match="did not train the requested trial"):
        sides.pair(("ours", "theirs"), configurations[1])


def test_the_unpruned_goal():
    assert not UnprunedGoal(objective="accuracy").prunes
    assert isinstance(pruner_of(UnprunedGoal(objective="accuracy")), NopPruner)


@pytest.fixture
def small_space() -> Space:
    """The measured space with trials of 20 steps, which take no time."""
    return search_cost.read_space(20)


def test_the_suite_trains_what_was_enqueued(sample, small_space, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = SuiteStudy("some", small_space, sample, exclusive=False)
    chosen = PAPERS | {"conv1_filters": 16, "learning_rate": 0.0023, "dense_units": 512}
    study.enqueue(chosen)
    first, second = study.train(), study.train()
    assert (first.number, first.chosen, first.is_papers) == (0, PAPERS, True)
    assert (second.number, second.chosen, second.state) == (1, chosen, "finished")
    curve = replay.curve_of(study.run_of(second), 1, is_papers=False)
    assert list(curve.reported) == list(range(5, 100, 5))
    assert (curve.final,) == second.values


def test_keras_trains_what_was_enqueued(sample, small_space):
    pytest.importorskip("keras")
    loop = KerasLoop(small_space, sample)
    chosen = PAPERS | {"conv1_filters": 16, "learning_rate": 0.0023, "dense_units": 512}
    loop.enqueue(chosen)
    loop.train(1)
    (trial,) = loop.trials
    assert trial.chosen == chosen
    assert 0.1 < trial.validation_accuracy < 1


def test_networks_have_the_same_size():
    pytest.importorskip("keras")
    from mnist_bench.models.paper_cnn import PaperCnn

    for chosen in search_cost.configurations_of(SPACE, 3):
        hyperparameters = SPACE.scenario(chosen).hyperparameters
        assert (
            keras_trial._network(hyperparameters).count_params()
            == PaperCnn(0, hyperparameters).parameter_count
        )


# Replays


def curve(
    number: int, final: float, *, is_papers: bool = False, early: float | None = None
) -> Curve:
    """A trial that is at its last accuracy, or at `early`, from the first scoring on."""
    accuracy = final if early is None else early
    return Curve(
        number=number,
        steps=1_000,
        is_papers=is_papers,
        reported=dict.fromkeys(range(25, 100, 25), accuracy),
        final=final,
    )


def test_replay():
    trials = [curve(0, 0.5), curve(1, 0.7), curve(2, 0.4), curve(3, 0.8), curve(4, 0.9, early=0.1)]
    got = replay.replayed(trials, MedianPruner(n_startup_trials=2, n_warmup_steps=50))
    # 0.4 and 0.1 lie below the medians of 0.5 and 0.7, and of these and 0.8, at half of the steps.
    assert (got.share_of_steps, got.pruned) == (0.8, 2)
    assert got.regret == pytest.approx(0.1)
    assert not got.keeps_best


def test_nothing_is_pruned_without_a_pruner():
    trials = [curve(n, 0.9 - n / 10) for n in range(5)]
    got = replay.replayed(trials, NopPruner())
    assert got == Replayed(share_of_steps=1.0, pruned=0, regret=0.0)


def test_the_papers_configuration_is_never_pruned():
    trials = [curve(0, 0.9), curve(1, 0.1, is_papers=True), curve(2, 0.1)]
    got = replay.replayed(trials, MedianPruner(n_startup_trials=1))
    assert (got.pruned, got.share_of_steps) == (1, pytest.approx(2.25 / 3))


def test_step_counts_are_weights():
    short = curve(1, 0.1).model_copy(update={"steps": 200})
    got = replay.replayed([curve(0, 0.9), short], MedianPruner(n_startup_trials=1))
    assert got.share_of_steps == pytest.approx((1_000 + 50) / 1_200)


def test_a_trial_as_good_as_the_best_counts_as_kept():
    trials = [curve(0, 0.9), curve(1, 0.9, early=0.1)]
    got = replay.replayed(trials, MedianPruner(n_startup_trials=1))
    assert (got.pruned, got.keeps_best) == (1, True)


def test_orders_are_reproducible_with_the_papers_first():
    trials = [curve(0, 0.5), curve(1, 0.6, is_papers=True), *(curve(n, 0.7) for n in range(2, 9))]
    first, again = replay.orders(trials, 5), replay.orders(trials, 5)
    assert first == again
    assert {order[0].number for order in first} == {1}
    assert all(sorted(c.number for c in order) == list(range(9)) for order in first)
    assert len({tuple(c.number for c in order) for order in first}) == 5


def run(steps: int, *scored: tuple[int, float], status: str = "finished") -> RunResult:
    return RunResult(
        scenario="some",
        model="paper-cnn",
        steps=steps,
        seed=0,
        training_seed=0,
        status=status,
        trajectory="0",
        dataset="mnist",
        dataset_digest="0",
        precision="float32",
        threads=1,
        device="cpu",
        machine_id=None,
        eval_first=10,
        eval_every=10,
        target_accuracies=(),
        hyperparameters=PaperCnnHyperparameters(),
        evaluations=tuple(
            Evaluation(step=step, test_accuracy=None, validation_accuracy=accuracy,
                       train_loss=None, train_seconds=1.0)
            for step, accuracy in scored
        ),
    )  # fmt: skip


def test_curve_of_a_run():
    got = replay.curve_of(
        run(400, (10, 0.1), (11, 0.2), (39, 0.3), (78, 0.4), (400, 0.9)), 7, is_papers=False
    )
    assert got == Curve(number=7, steps=400, is_papers=False, final=0.9,
                        reported={2: 0.1, 9: 0.3, 10: 0.4, 19: 0.4})  # fmt: skip


@pytest.mark.parametrize(
    "of", [run(400, (10, 0.1), (399, 0.9)), run(400, (400, 0.9), status="pruned"), run(400)]
)
def test_an_unfinished_run_has_no_curve(of):
    with pytest.raises(ValueError, match="trial 7 did not come to the end of its 400 steps"):
        replay.curve_of(of, 7, is_papers=False)


def test_curve_on_a_percent_grid():
    of = curve(0, 0.9).model_copy(
        update={"reported": {2: 0.1, 5: 0.2, 9: 0.3, 12: 0.4, 14: 0.5, 27: 0.6}}
    )
    assert replay.on_grid(of, 5).reported == {5: 0.2, 10: 0.4, 25: 0.6}


def test_the_suites_pruner_is_among_the_candidates():
    known, suites = replay.PRUNERS[replay.SUITES](), pruner_of(Goal(objective="accuracy"))
    assert vars(known) == vars(suites)


def test_candidates_match_their_names():
    median = replay.PRUNERS["median of 5 trials, from 50%, at each scoring"]()
    assert vars(median) == vars(MedianPruner(n_startup_trials=5, n_warmup_steps=50))
    halving = replay.PRUNERS["successive halving from 5%, one in 4"]()
    assert vars(halving) == vars(SuccessiveHalvingPruner(5, 4))
    hyperband = replay.PRUNERS["Hyperband from 10%, one in 3"]()
    assert vars(hyperband) == vars(HyperbandPruner(10, 100, 3))
    assert isinstance(replay.PRUNERS[replay.NO_PRUNER](), NopPruner)


@pytest.mark.parametrize("name", list(replay.PRUNERS))
def test_every_candidate_can_be_replayed(name):
    trials = [curve(0, 0.5, is_papers=True), *(curve(n, n / 30) for n in range(1, 25))]
    outcome = replay.outcome_of(name, trials, replay.orders(trials, 2))
    assert outcome == replay.outcome_of(name, trials, replay.orders(trials, 2))
    for one in (outcome.recorded, *outcome.shuffled):
        assert 0 < one.share_of_steps <= 1
        assert (one.share_of_steps == 1) is (one.pruned == 0)
        assert one.keeps_best  # the best one is ahead from its first scoring on


# Which pruner


def outcome(name: str, *shuffled: tuple[float, float]) -> Outcome:
    replays = [Replayed(share_of_steps=s, pruned=1, regret=r) for s, r in shuffled]
    return Outcome(pruner=name, recorded=replays[0], shuffled=tuple(replays))


OUTCOMES = (
    outcome(replay.NO_PRUNER, (1.0, 0.0), (1.0, 0.0)),
    outcome(replay.SUITES, (0.5, 0.0), (0.7, 0.0004)),
    outcome("cheap and bad", (0.2, 0.0), (0.2, 0.001)),
)


def test_outcome_statistics():
    of = OUTCOMES[1]
    assert (of.mean_share, of.kept_share) == (pytest.approx(0.6), 0.5)
    assert (of.mean_regret, of.largest_regret) == (0.0002, 0.0004)


def test_the_best_pruner_has_fewest_steps_and_little_regret():
    assert replay.best_of(OUTCOMES) is OUTCOMES[1]
    assert replay.best_of(OUTCOMES[::2]) is OUTCOMES[0]
    assert replay.best_of(OUTCOMES[2:]) is None


def pruner_session(*outcomes: Outcome, percent_grid: int | None = None) -> PrunerSession:
    recorded = Recorded(dataset="mnist", title="A space", objective="accuracy",
                        curves=(curve(0, 0.9),))  # fmt: skip
    return PrunerSession(
        command="python benchmarks/tuning/pruners.py --data DIR --trials 1 --orders 2",
        date="2026-01-02",
        hardware=Hardware(name="a machine", instruction_sets=None, virtual=None),
        versions={"optuna": "5.0.0"},
        recorded=recorded,
        percent_grid=percent_grid,
        outcomes=outcomes,
    )


def test_page_of_pruners():
    text = pruners.page(pruner_session(*OUTCOMES))
    suites = (
        f"| **{replay.SUITES}** (the suite's) | 50.0% | yes | 0.0000 | 60.0% (50.0% to 70.0%) "
        "| 50% | 0.00020 | 0.0004 |"
    )
    assert suites in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split(" |")[0] for line in lines[1:]] == [
        "| cheap and bad",
        f"| **{replay.SUITES}** (the suite's)",
        "| none",
    ]
    assert f"fewest steps: {replay.SUITES}, 60.0% of them." in text
    assert "The suite's: " not in text
    assert "Trials: 1 of a study of accuracy in the space *A space*" in text
    assert "They report at each scoring." in text


def test_page_if_the_suites_pruner_is_not_the_best():
    text = pruners.page(pruner_session(OUTCOMES[1], outcome("best", (0.3, 0.0)), percent_grid=5))
    assert "fewest steps: best, 30.0% of them.\nIt keeps the best trial in 100% of the or" in text
    assert "The suite's: 60.0% of the steps, mean regret 0.00020.\n\n" in text
    assert "They report at multiples of 5%, the first scoring at or after each." in text
    suites = outcome(replay.SUITES, (0.6, 0.0))
    text = pruners.page(pruner_session(suites, outcome("best", (0.3, 0.0002), (0.3, 0.0))))
    assert (
        "The suite's: 60.0% of the steps, mean regret 0.00000.\nOf those that keep the best" in text
    )
    assert "fewest steps: none." in pruners.page(pruner_session(OUTCOMES[2]))


class FewRuns:
    """A store with the runs that were put into it."""

    def __init__(self, runs):
        self.runs = runs

    def load(self, run_id):
        return self.runs.get(run_id)


def test_trials_of_a_study_are_loaded_from_mlflow():
    chosen = {"learning_rate": 0.001}
    trials = (
        StudyTrial(number=0, state="finished", chosen=chosen, values=(0.9, 1.0, 1.0), run_id="a",
              is_papers=True),
        StudyTrial(number=1, state="failed", chosen=chosen),
        StudyTrial(number=2, state="finished", chosen=chosen, values=(0.8, 1.0, 1.0), run_id="b"),
    )  # fmt: skip
    store = FewRuns({"a": run(40, (10, 0.3), (40, 0.9)), "b": run(40, (40, 0.8))})
    got = pruners.of_study(document(*trials, objective="pareto"), store)
    assert got.objective == "pareto"
    assert got.curves == (
        Curve(number=0, steps=40, is_papers=True, reported={10: 0.3, 25: 0.3}, final=0.9),
        Curve(number=2, steps=40, is_papers=False, reported={}, final=0.8),
    )
    with pytest.raises(LookupError, match=r"nothing|no result\.json of trial 0"):
        pruners.of_study(document(*trials, objective="pareto"), FewRuns({}))


def test_a_pruned_study_is_rejected():
    trials = (StudyTrial(number=1, state="pruned", chosen={}, curve={5: 0.1}),)
    with pytest.raises(ValueError, match="some has pruned trials"):
        pruners.of_study(document(*trials), FewRuns({}))


# What is committed


def test_committed_page_of_costs_is_current():
    if not (sessions := search_cost.measured_in(FOLDER)):
        pytest.skip("not measured yet")
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == cost_page.page(sessions)


def test_committed_page_of_pruners_is_current():
    session = PrunerSession.model_validate_json(
        (FOLDER / "pruners.json").read_text(encoding="utf-8")
    )
    assert (FOLDER / "pruners.md").read_text(encoding="utf-8") == pruners.page(session)
