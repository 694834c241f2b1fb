"""Studies as Optuna keeps them: real journals and databases, real processes, alive and gone."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import uuid
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from factories import (
    ACCURACY_GOAL,
    ONE_PARAMETER,
    SPACE_OF_EACH_KIND,
    STUDY_MACHINE,
    opened_study,
    run,
    sqlite_url,
    study_course,
    worth_of,
)
from fakes import living_process
from hypothesis import given, settings
from hypothesis import strategies as st
from program import free_port
from sqlalchemy.exc import IntegrityError

from mnist_bench.core import process_identity
from mnist_bench.core.errors import EXIT_BROKE, EXIT_WRONG_REQUEST, BenchError
from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.tuning import heartbeat, study
from mnist_bench.tuning import storage as study_storage
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.space import Parameter, Space, Value
from mnist_bench.tuning.storage import JOURNAL, names
from mnist_bench.tuning.study import Study
from mnist_bench.tuning.trial import TrialRequest

PAPERS = {
    "learning_rate": 0.001,
    "batch_size": 50,
    "dropout_rate": 0.5,
    "shift_pixels": 0,
    "schedule": "constant",
    "batch_normalization": False,
    "average_decay": 0.0,
}

SECONDS = Goal(objective="time-to-accuracy", target_accuracy=0.9)
PARETO = Goal(objective="pareto")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, where the journal lies."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return None if request.param == "journal" else sqlite_url(tmp_path / "studies.db")


def settle(begun: Study) -> tuple[int, ...]:
    """Have what processes left tried again; its numbers."""
    numbers = begun.orphans()
    for number in numbers:
        begun.left_behind(number)
    return numbers


def another_name() -> str:
    return uuid.uuid4().hex


def told(*trials: tuple[tuple[float, ...], dict[str, float]], **options: Any) -> Study:
    """A study whose finished trials are worth that and miss their constraints by that much."""
    begun = opened_study(another_name(), space=ONE_PARAMETER, **options)
    for values, missed in trials:
        begun.finished(begun.ask().number, values, missed)
    return begun


def gone() -> ProcessIdentity:
    """A process of this machine that has ended."""
    with living_process(STUDY_MACHINE) as ended:
        pass
    return ended


def left(of: ProcessIdentity, trials: int, **options: Any) -> list[TrialRequest]:
    """Trials that their process began and did not end."""
    begun = opened_study(of=of, **options)
    return [begun.ask() for _ in range(trials)]


def states(of: Study) -> list[str]:
    return [trial.state for trial in of.trials]


# What is asked


def test_the_papers_configuration_is_the_first_trial(storage: str | None) -> None:
    begun = opened_study(storage=storage)
    assert states(begun) == ["waiting"]
    first, second = begun.ask(), begun.ask()
    assert (first.number, first.is_papers, first.chosen) == (0, True, PAPERS)
    assert [type(value) for value in first.chosen.values()] == list(map(type, PAPERS.values()))
    assert (second.number, second.is_papers) == (1, False)
    assert second.chosen != PAPERS
    assert [trial.is_papers for trial in begun.trials] == [True, False]


def test_it_is_the_first_trial_once(storage: str | None) -> None:
    opened_study(storage=storage).ask()
    assert not opened_study(storage=storage).ask().is_papers
    assert [trial.is_papers for trial in opened_study(storage=storage).trials] == [True, False]


def test_what_was_suggested_is_of_its_kind_and_kept(storage: str | None) -> None:
    suggested = study_course(14, storage=storage)
    kept = [trial.chosen for trial in opened_study(storage=storage).trials]
    assert kept == suggested
    for chosen in kept:
        for name, kind in (
            ("learning_rate", float),
            ("batch_size", int),
            ("dropout_rate", float),
            ("shift_pixels", int),
            ("schedule", str),
            ("batch_normalization", bool),
        ):
            assert type(chosen[name]) is kind, name
        assert all(
            SPACE_OF_EACH_KIND.parameters[name].holds(value) for name, value in chosen.items()
        )
        SPACE_OF_EACH_KIND.scenario(chosen)  # which checks strictly
    assert len({chosen["learning_rate"] for chosen in kept}) == 14
    assert {chosen["batch_normalization"] for chosen in kept} == {False, True}
    assert {chosen["shift_pixels"] for chosen in kept} == {0, 1, 2, 3}


def test_a_condition_is_respected() -> None:
    suggested = study_course(24)
    for chosen in suggested:
        assert ("average_decay" in chosen) == (chosen["schedule"] == "constant")
        assert list(chosen) == [name for name in PAPERS if name in chosen]
    assert {"average_decay" in chosen for chosen in suggested} == {False, True}
    kept = [trial.chosen for trial in opened_study().trials]
    assert ["average_decay" in chosen for chosen in kept] == [
        "average_decay" in chosen for chosen in suggested
    ]


def test_the_papers_configuration_too_leaves_out_what_is_not_asked() -> None:
    parameters = SPACE_OF_EACH_KIND.parameters | {
        "average_decay": Parameter(choices=(0.9, 0.99), when={"schedule": ("one-cycle",)})
    }
    asked = opened_study(
        space=SPACE_OF_EACH_KIND.model_copy(update={"parameters": parameters})
    ).ask()
    assert asked.chosen == {name: PAPERS[name] for name in PAPERS if name != "average_decay"}


def test_a_logarithm_is_what_is_drawn_evenly() -> None:
    """Of whole numbers and of others: drawn as they are, one of 90 would be so small."""
    space = ONE_PARAMETER.model_copy(
        update={
            "parameters": {
                "dense_units": Parameter(low=1, high=8_192, log=True),
                "learning_rate": Parameter(low=0.0001, high=10.0, log=True),
            }
        }
    )
    suggested = study_course(10, space=space)[1:]
    assert sum(chosen["dense_units"] < 91 for chosen in suggested) >= 2
    assert sum(chosen["learning_rate"] < 0.11 for chosen in suggested) >= 2


@pytest.mark.parametrize("space", [SPACE_OF_EACH_KIND, ONE_PARAMETER], ids=["conditional", "plain"])
def test_the_same_study_suggests_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: Space
) -> None:
    courses = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        courses.append(study_course(space=space))
    assert courses[0] == courses[1]
    assert len({chosen["learning_rate"] for chosen in courses[0]}) == 16


def test_what_is_suggested_follows_from_what_was_told() -> None:
    """Else the sampler draws by chance, whatever it is told."""
    begun, other = opened_study("one"), opened_study("two")
    for _ in range(12):
        asked = begun.ask()
        begun.finished(asked.number, (worth_of(asked.chosen),), {})
        asked = other.ask()
        other.finished(asked.number, (1 - worth_of(asked.chosen),), {})
    before = [[trial.chosen for trial in each.trials[:10]] for each in (begun, other)]
    assert before[0] == before[1]
    assert begun.ask().chosen != other.ask().chosen


def test_another_process_suggests_the_same(tmp_path: Path) -> None:
    """Names lie in sets in another order there, as text is hashed anew in each process."""
    program = "import json, factories; print(json.dumps(factories.study_course()))"
    courses = []
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        output = subprocess.check_output(
            [sys.executable, "-c", program],
            cwd=tmp_path / seed,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        courses.append(json.loads(output))
    assert courses[0] == courses[1]


def test_a_study_that_goes_on_does_not_begin_anew() -> None:
    before = study_course(5)
    begun = opened_study()
    assert begun.ask().chosen not in before
    assert begun.ask().chosen not in before
    assert [trial.number for trial in begun.trials] == list(range(7))


def test_members_that_begin_at_once_do_not_suggest_the_same() -> None:
    opened_study().ask()
    members = [opened_study(member=member) for member in range(3)]
    suggested = [each.ask().chosen for each in members for _ in range(2)]
    assert len({chosen["learning_rate"] for chosen in suggested}) == 6


@pytest.mark.parametrize("space", [SPACE_OF_EACH_KIND, ONE_PARAMETER], ids=["conditional", "plain"])
@pytest.mark.parametrize("goal", [ACCURACY_GOAL, PARETO], ids=["accuracy", "pareto"])
def test_nobody_is_warned(space: Space, goal: Goal) -> None:
    """Optuna's warnings would stand in the midst of what people are told."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        begun = opened_study(space=space, goal=goal)
        begun.ask()
        # Two scorings may fall into one percent of the steps.
        assert not begun.should_end(0, 30, 0.5)
        assert not begun.should_end(0, 30, 0.625)
        begun.finished(0, tuple(0.75 for _ in goal.directions), {"max seconds": 1.0})
        begun.failed(begun.ask().number)


# What is kept


def test_what_is_told_is_kept(storage: str | None) -> None:
    begun = opened_study(storage=storage)
    numbers = [begun.ask().number for _ in range(4)]
    assert numbers == [0, 1, 2, 3]
    begun.recorded(0, "run-0")
    begun.recorded(2, "run-2")
    for percent, progress in ((5, 0.5), (50, 0.75)):
        begun.should_end(0, percent, progress)
    begun.finished(0, (0.875,), {"max seconds": -1.5, "max memory": 2.0})
    begun.should_end(1, 10, 0.25)
    begun.pruned(1, {})
    begun.failed(2)
    again = opened_study(storage=storage)
    assert again.trials == begun.trials
    facts = [(t.number, t.state, t.values, t.missed, t.curve, t.run_id) for t in again.trials]
    assert facts == [
        (0, "finished", (0.875,), {"max seconds": -1.5, "max memory": 2.0},
         {5: 0.5, 50: 0.75}, "run-0"),
        # Optuna gives a pruned trial the last it was told as a value: it is worth nothing.
        (1, "pruned", (), {}, {10: 0.25}, None),
        (2, "failed", (), {}, {}, "run-2"),
        (3, "running", (), {}, {}, None),
    ]  # fmt: skip
    assert [trial.counts for trial in again.trials] == [True, True, False, False]
    assert [trial.is_feasible for trial in again.trials] == [False] * 4
    assert {trial.retry_of for trial in again.trials} == {None}
    *ended, running = [trial.seconds for trial in again.trials]
    assert running is None
    assert all(seconds is not None and seconds >= 0 for seconds in ended)


def test_three_values_are_kept(storage: str | None) -> None:
    begun = opened_study(storage=storage, goal=PARETO)
    begun.finished(begun.ask().number, (0.984375, 61.5, 943718400.0), {})
    assert opened_study(storage=storage, goal=PARETO).trials[0].values == (
        0.984375,
        61.5,
        943718400.0,
    )


def test_the_studys_own_run_is_kept(storage: str | None) -> None:
    begun = opened_study(storage=storage)
    assert begun.run_id is None
    begun.run_id = "run-of-the-study"
    assert opened_study(storage=storage).run_id == "run-of-the-study"
    assert opened_study("another", storage=storage).run_id is None


def test_looks_are_kept(storage: str | None) -> None:
    """What came of a look replaces that it was begun, and nothing else."""
    begun = opened_study(storage=storage)
    assert begun.looks == ()
    begun.keep_look(1, '{"begun": 1}')
    assert opened_study(storage=storage).looks == ('{"begun": 1}',)
    begun.keep_look(1, '{"ended": 1}')
    opened_study(storage=storage).keep_look(2, '{"begun": 2}')
    assert begun.looks == ('{"ended": 1}', '{"begun": 2}')
    begun.keep_look(2, '{"ended": 2}')
    assert opened_study(storage=storage).looks == ('{"ended": 1}', '{"ended": 2}')


def test_studies_of_two_names_do_not_mix(storage: str | None) -> None:
    one, two = (
        opened_study("one", storage=storage),
        opened_study("two", storage=storage, goal=PARETO),
    )
    one.finished(one.ask().number, (0.5,), {})
    two.finished(two.ask().number, (0.75, 1.0, 2.0), {})
    one.ask()
    assert [trial.values for trial in one.trials] == [(0.5,), ()]
    assert [trial.values for trial in two.trials] == [(0.75, 1.0, 2.0)]
    assert set(names(storage)) == {"one", "two"}


def test_to_ask_for_names_makes_nothing(folder: Path) -> None:
    assert names(None) == ()
    assert list(folder.iterdir()) == []


def test_only_a_new_study_is_new() -> None:
    assert opened_study().is_new
    assert not opened_study().is_new
    assert opened_study("another").is_new


@pytest.mark.parametrize(
    "goal",
    [PARETO, Goal(objective="accuracy", max_memory_bytes=2**30)],
    ids=["pareto", "max memory"],
)
def test_a_run_of_unknown_memory_does_not_spoil_the_study(goal: Goal) -> None:
    begun = opened_study(goal=goal)
    unknown, known = run(1_000, peak_rss_bytes=None), run(1_000, peak_rss_bytes=2**29)
    for each in (unknown, known):
        begun.finished(begun.ask().number, goal.values(each), goal.constraints(each))
    assert len(begun.trials) == 2
    assert 1 in [trial.number for trial in begun.best]


# What is best


def test_the_best_is_the_best_feasible_one(storage: str | None) -> None:
    begun = told(
        ((0.95,), {"max seconds": -1.0, "max memory": 0.0}),
        ((0.97,), {"max seconds": -1.0, "max memory": -5.0}),
        ((0.99,), {"max seconds": -1.0, "max memory": 0.5}),
        ((0.96,), {"max seconds": -1.0, "max memory": -5.0}),
        storage=storage,
    )
    begun.failed(begun.ask().number)
    (best,) = begun.best
    assert (best.number, best.values) == (1, (0.97,))


def test_the_fewest_seconds_are_best() -> None:
    begun = told(((7.5,), {}), ((2.5,), {"target accuracy": 0.1}), ((5.0,), {}), goal=SECONDS)
    (best,) = begun.best
    assert (best.number, best.values) == (2, (5.0,))


@pytest.mark.parametrize("goal", [ACCURACY_GOAL, PARETO], ids=["accuracy", "pareto"])
def test_none_is_best_where_none_is_an_answer(storage: str | None, goal: Goal) -> None:
    begun = opened_study(storage=storage, goal=goal)
    assert begun.best == ()
    values = tuple(0.5 for _ in goal.directions)
    begun.finished(begun.ask().number, values, {"max seconds": 0.25})
    begun.ask()
    begun.failed(begun.ask().number)
    assert begun.best == ()


def test_a_pruned_trial_is_never_best() -> None:
    begun = opened_study()
    begun.ask()
    begun.should_end(0, 10, 0.99)
    begun.pruned(0, {})
    assert begun.best == ()
    begun.finished(begun.ask().number, (0.5,), {})
    assert [trial.number for trial in begun.best] == [1]


def test_of_a_trade_off_all_are_best_that_no_other_beats(storage: str | None) -> None:
    begun = told(
        ((0.95, 10.0, 500.0), {"max memory": -1.0}),
        ((0.99, 20.0, 500.0), {"max memory": -1.0}),
        ((0.99, 30.0, 400.0), {"max memory": -1.0}),
        ((0.94, 10.0, 500.0), {"max memory": -1.0}),  # the first is as fast, and better
        ((1.00, 1.0, 1.0), {"max memory": 1.0}),  # beats all, and is no answer
        storage=storage,
        goal=PARETO,
    )
    assert [trial.number for trial in begun.best] == [0, 1, 2]


missed = st.dictionaries(st.sampled_from(["max memory", "max seconds"]), st.integers(-1, 1))


@settings(max_examples=25)
@given(trials=st.lists(st.tuples(st.integers(0, 5), missed), max_size=5), is_down=st.booleans())
def test_the_best_of_any(trials: list[tuple[int, dict[str, int]]], *, is_down: bool) -> None:
    begun = told(
        *(((float(value),), misses) for value, misses in trials),
        goal=SECONDS if is_down else ACCURACY_GOAL,
    )
    feasible = [value for value, misses in trials if all(m <= 0 for m in misses.values())]
    better = min if is_down else max
    assert [trial.values for trial in begun.best] == (
        [(float(better(feasible)),)] if feasible else []
    )
    assert all(trial.is_feasible for trial in begun.best)


three = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))


@settings(max_examples=25)
@given(st.lists(st.tuples(three, missed), max_size=5))
def test_the_front_of_any(trials: list[tuple[tuple[int, ...], dict[str, int]]]) -> None:
    begun = told(*((tuple(map(float, values)), misses) for values, misses in trials), goal=PARETO)
    feasible = {
        number: (-values[0], *values[1:])
        for number, (values, misses) in enumerate(trials)
        if all(m <= 0 for m in misses.values())
    }

    def beats(one: tuple[int, ...], two: tuple[int, ...]) -> bool:
        return one != two and all(a <= b for a, b in zip(one, two, strict=True))

    front = {
        number
        for number, mine in feasible.items()
        if not any(beats(other, mine) for other in feasible.values())
    }
    assert {trial.number for trial in begun.best} == front


# When a trial ends early


def ten_ahead(goal: Goal, *, of: int = 10) -> Study:
    """The paper's trial goes on; others have finished, at 0.80, 0.81, ... after 60%."""
    begun = opened_study(another_name(), goal=goal, space=ONE_PARAMETER)
    assert begun.ask().is_papers
    for hundredth in range(80, 80 + of):
        number = begun.ask().number
        for percent in (5, 60):
            begun.should_end(number, percent, hundredth / 100)
        begun.finished(number, (hundredth / 100,), {})
    return begun


@pytest.mark.parametrize(
    ("goal", "behind", "ahead"),
    # The median of the ten is 0.845; seconds fall, and with them the share of errors.
    [(ACCURACY_GOAL, 0.84, 0.85), (SECONDS, 0.85, 0.84)],
    ids=["accuracy", "seconds"],
)
def test_who_is_behind_half_of_the_others_ends(goal: Goal, behind: float, ahead: float) -> None:
    begun = ten_ahead(goal)
    slow, fast = begun.ask().number, begun.ask().number
    assert not begun.should_end(slow, 5, behind)  # too early to tell
    assert begun.should_end(slow, 60, behind)
    assert not begun.should_end(fast, 60, ahead)
    begun.pruned(slow, {})
    assert begun.trials[slow].state == "pruned"
    assert begun.trials[slow].curve == {5: behind, 60: behind}


@pytest.mark.parametrize(("goal", "behind"), [(ACCURACY_GOAL, 0.1), (SECONDS, 0.9)])
def test_the_papers_configuration_is_never_ended(goal: Goal, behind: float) -> None:
    begun = ten_ahead(goal)
    assert not begun.should_end(0, 60, behind)
    assert begun.should_end(begun.ask().number, 60, behind)
    assert begun.trials[0].curve == {60: behind}  # it was compared, and spared


def test_what_is_told_between_is_kept_and_not_compared() -> None:
    begun = ten_ahead(ACCURACY_GOAL)
    number = begun.ask().number
    begun.came(number, 30, 0.1)
    assert begun.should_end(number, 60, 0.1)
    assert begun.trials[number].curve == {30: 0.1, 60: 0.1}
    front = opened_study(another_name(), goal=PARETO, space=ONE_PARAMETER)
    front.came(front.ask().number, 30, 0.1)
    assert front.trials[0].curve == {}


def test_what_was_trained_again_is_never_ended() -> None:
    begun = ten_ahead(ACCURACY_GOAL)
    begun.repeat(begun.trials[3])
    again = begun.ask().number
    assert begun.is_whole(again)
    assert not begun.should_end(again, 60, 0.1)
    assert begun.trials[again].repeat_of == 3


def test_a_pruned_trial_tells_what_it_missed() -> None:
    begun = ten_ahead(ACCURACY_GOAL)
    begun.pruned(begun.ask().number, {"max seconds": 0.5})
    assert begun.trials[-1].missed == {"max seconds": 0.5}
    assert not begun.trials[-1].is_feasible


def test_no_trial_is_ended_before_five_have_finished() -> None:
    begun = ten_ahead(ACCURACY_GOAL, of=4)
    assert not begun.should_end(begun.ask().number, 60, 0.1)


def test_of_a_trade_off_none_is_ended() -> None:
    begun = told(*[((0.9, 1.0, 1.0), {})] * 11, goal=PARETO)
    number = begun.ask().number
    assert not begun.should_end(number, 60, 0.0)
    assert begun.trials[number].curve == {}


# What mattered


def test_what_mattered() -> None:
    study_course(9)
    assert opened_study().importances() == {}
    study_course(16)
    found = opened_study().importances()
    assert set(found) == set(SPACE_OF_EACH_KIND.parameters)
    assert sum(found.values()) == pytest.approx(1)
    assert max(found, key=found.__getitem__) == "learning_rate"
    assert all(type(share) is float and 0 <= share <= 1 for share in found.values())


def test_what_mattered_where_all_are_worth_the_same() -> None:
    begun = told(*[((0.125,), {})] * 12)
    assert begun.importances() == {"learning_rate": 1.0}


def test_what_mattered_to_the_first_of_several_values() -> None:
    begun = opened_study(goal=PARETO)
    for _ in range(25):
        asked = begun.ask()
        seconds = float(asked.chosen["batch_size"])
        begun.finished(asked.number, (worth_of(asked.chosen), seconds, 1.0), {})
    found = begun.importances()
    assert max(found, key=found.__getitem__) == "learning_rate"


# Another question


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"space": SPACE_OF_EACH_KIND.model_copy(update={"steps": 101})}, "search space"),
        ({"space": ONE_PARAMETER}, "search space"),
        ({"goal": SECONDS}, "objective"),
        ({"goal": PARETO}, "objective"),
        ({"goal": Goal(objective="accuracy", max_seconds=1.0)}, "objective"),
    ],
    ids=["steps", "parameters", "direction", "values", "constraint"],
)
def test_another_question_is_refused(
    storage: str | None, change: dict[str, Any], what: str
) -> None:
    begun = opened_study(storage=storage)
    begun.finished(begun.ask().number, (0.5,), {})
    before = begun.trials
    with pytest.raises(BenchError) as caught:
        opened_study(storage=storage, **change)
    assert str(caught.value) == (
        f"the study mine exists with another {what}; choose another --study, or give the same again"
    )
    assert caught.value.exit_status == EXIT_WRONG_REQUEST
    assert opened_study(storage=storage).trials == before  # and nothing of it was changed


def test_other_images_are_refused(storage: str | None) -> None:
    begun = opened_study(storage=storage, images="sha256:a")
    begun.finished(begun.ask().number, (0.5,), {})
    with pytest.raises(BenchError, match="the study mine exists with another set of images"):
        opened_study(storage=storage, images="sha256:b")
    assert len(opened_study(storage=storage, images="sha256:a").trials) == 1


def test_where_images_are_not_known_none_are_refused(storage: str | None) -> None:
    opened_study(storage=storage)
    assert not opened_study(storage=storage, images="sha256:b").is_new


# What processes left


def test_what_a_process_left_is_tried_again_once(storage: str | None) -> None:
    with living_process(STUDY_MACHINE) as ended:
        asked = left(ended, 2, storage=storage)
    again = opened_study(storage=storage)
    assert settle(again) == (0, 1)
    assert settle(again) == ()
    assert settle(opened_study(storage=storage)) == ()
    assert states(again) == ["failed", "failed", "waiting", "waiting"]
    retries = [again.ask(), again.ask()]
    assert [retry.number for retry in retries] == [2, 3]
    assert [retry.chosen for retry in retries] == [each.chosen for each in asked]
    assert [retry.is_papers for retry in retries] == [True, False]
    trials = again.trials
    assert [trial.retry_of for trial in trials] == [None, None, 0, 1]
    assert [trial.chosen for trial in trials[2:]] == [trial.chosen for trial in trials[:2]]
    assert settle(again) == ()  # they are this process's own now
    assert again.ask().chosen not in [each.chosen for each in asked]
    assert [trial.retry_of for trial in again.trials[4:]] == [None]


def test_what_is_left_twice_is_tried_a_third_time() -> None:
    left(gone(), 1)
    second = opened_study(of=gone())
    assert settle(second) == (0,)
    assert second.ask().number == 1
    third = opened_study()
    assert settle(third) == (1,)
    assert (third.ask().chosen, third.trials[2].retry_of) == (PAPERS, 1)
    assert [trial.is_papers for trial in third.trials] == [True, True, True]


def test_the_papers_configuration_is_spared_when_tried_again_too() -> None:
    begun = opened_study(goal=ACCURACY_GOAL, of=gone(), space=ONE_PARAMETER)
    begun.ask()
    again = opened_study(goal=ACCURACY_GOAL, space=ONE_PARAMETER)
    settle(again)
    retry = again.ask()
    assert retry.is_papers
    for hundredth in range(80, 90):
        number = again.ask().number
        again.should_end(number, 50, hundredth / 100)
        again.finished(number, (hundredth / 100,), {})
    assert again.should_end(again.ask().number, 50, 0.1)
    assert not again.should_end(retry.number, 50, 0.1)


@pytest.mark.parametrize("suggestions", [0, 3])
def test_what_is_left_before_it_was_all_chosen(
    monkeypatch: pytest.MonkeyPatch, suggestions: int
) -> None:
    """The process was ended within `ask`: the paper's configuration must not be drawn by chance."""
    suggest = study.suggested
    done: list[str] = []

    def suggested(trial: Any, name: str, parameter: Parameter) -> Value:
        if len(done) == suggestions:
            raise KeyboardInterrupt
        done.append(name)
        return suggest(trial, name, parameter)

    with monkeypatch.context() as patch:
        patch.setattr(study, "suggested", suggested)
        with pytest.raises(KeyboardInterrupt):
            left(gone(), 1)
    again = opened_study()
    assert settle(again) == (0,)
    retry = again.ask()
    assert retry.is_papers
    assert retry.chosen == PAPERS


def test_what_has_ended_or_waits_is_not_settled() -> None:
    begun = opened_study(of=gone())
    begun.finished(begun.ask().number, (0.5,), {})
    begun.pruned(begun.ask().number, {})
    begun.failed(begun.ask().number)
    opened_study("another", of=gone())  # its first trial waits
    assert settle(opened_study()) == ()
    assert settle(opened_study("another")) == ()
    assert states(opened_study()) == ["finished", "pruned", "failed"]
    assert states(opened_study("another")) == ["waiting"]


def test_the_trial_of_a_living_process_is_left_alone(storage: str | None) -> None:
    with living_process(STUDY_MACHINE) as alive:
        left(alive, 1, storage=storage)
        again = opened_study(storage=storage)
        assert settle(again) == ()
        assert states(again) == ["running"]
    assert settle(again) == (0,)


@pytest.mark.parametrize(
    "change",
    [{"machine_id": "another"}, {"machine_id": None}, {"boot_id": "b/pid:[1]"}],
    ids=["machine", "nameless", "container"],
)
def test_another_machines_trial_is_left_alone(change: dict[str, Any]) -> None:
    left(gone().model_copy(update=change), 1)
    again = opened_study()
    assert settle(again) == ()
    assert states(again) == ["running"]


def test_what_is_left_at_the_last_boot_is_tried_again() -> None:
    here = process_identity.current_process(STUDY_MACHINE)
    before = here.model_copy(update={"boot_id": f"before/{here.boot_id.partition('/')[2]}"})
    left(before, 1)
    assert settle(opened_study()) == (0,)


def test_two_that_settle_at_once_try_it_again_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one comes between the look at a trial and its end."""
    left(gone(), 1)
    first, second = opened_study(), opened_study()
    is_orphan = Study._is_orphan

    def slowly(self: Study, trial: Any, *, alone: bool) -> bool:
        if self is first and is_orphan(self, trial, alone=alone):
            settle(second)
        return is_orphan(self, trial, alone=alone)

    monkeypatch.setattr(Study, "_is_orphan", slowly)
    settle(first)
    assert states(opened_study()) == ["failed", "waiting"]


def test_who_is_killed_while_he_settles_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    left(gone(), 1)
    first = opened_study()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(first._study, "tell", killed)
        with pytest.raises(KeyboardInterrupt):
            settle(first)
    assert settle(opened_study()) == (0,)
    assert states(opened_study()) == ["failed", "waiting"]
    assert [trial.retry_of for trial in opened_study().trials] == [None, 0]


def test_who_is_killed_while_he_puts_a_trial_away_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = opened_study(of=gone())
    number = begun.ask().number

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(begun._study, "tell", killed)
        with pytest.raises(KeyboardInterrupt):
            begun.interrupted(number)
    assert settle(opened_study()) == (0,)
    assert [trial.retry_of for trial in opened_study().trials] == [None, 0]


def test_what_had_come_to_its_end_is_told_by_another_process(storage: str | None) -> None:
    (asked, _) = left(gone(), 2, storage=storage)
    again = opened_study(storage=storage)
    again.adopt(0, 12.5)
    again.recorded(0, "id", train_seconds=8.0)
    again.finished(0, (0.9,), {"max seconds": -2.0})
    again.adopt(1, 1.5)
    again.pruned(1, {})
    first, second = opened_study(storage=storage).trials
    assert (first.state, first.values, first.seconds) == ("finished", (0.9,), 12.5)
    assert (first.chosen, first.run_id, first.train_seconds) == (asked.chosen, "id", 8.0)
    assert first.missed == {"max seconds": -2.0}
    assert (second.state, second.seconds) == ("pruned", 1.5)
    assert again.orphans() == ()


def test_who_is_killed_while_he_adopts_loses_nothing() -> None:
    left(gone(), 1)
    opened_study(of=gone()).adopt(0, 1.0)
    again = opened_study()
    assert again.orphans() == (0,)
    assert again.adopt(0, 2.0)
    again.finished(0, (0.5,), {})
    assert states(again) == ["finished"]
    assert not opened_study().adopt(0, 3.0)


def test_what_another_process_has_ended_is_not_tried_again() -> None:
    left(gone(), 1)
    slow, fast = opened_study(), opened_study()
    assert slow.orphans() == fast.orphans() == (0,)
    assert fast.adopt(0, 1.0)
    fast.finished(0, (0.5,), {})
    slow.left_behind(0)
    assert states(opened_study()) == ["finished"]


def test_a_repeat_that_is_cut_off_while_it_is_asked_for_keeps_its_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = opened_study(of=gone())
    begun.finished(begun.ask().number, (0.5,), {})
    asked = begun.ask()
    begun.finished(asked.number, (0.9,), {})
    begun.repeat(begun.trials[1])

    def killed(*_: object) -> Value:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(study, "suggested", killed)
        with pytest.raises(KeyboardInterrupt):
            begun.ask()
    again = opened_study()
    assert settle(again) == (2,)
    assert again.ask().chosen == asked.chosen
    assert again.trials[3].repeat_of == 1


def test_a_trial_without_an_owner_is_nobodys_where_nobody_else_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = opened_study(of=gone())

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("optuna.trial.Trial.set_user_attr", killed)
        with pytest.raises(KeyboardInterrupt):
            begun.ask()
    again = opened_study()
    assert again.orphans() == ()
    assert again.orphans(alone=True) == (0,)


def test_who_is_killed_with_the_journals_lock_leaves_it_free(folder: Path) -> None:
    code = """
import os, factories
begun = factories.opened_study()
write = os.fsync
os.fsync = lambda number: (write(number), os._exit(9))
begun.ask()
"""
    killed = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert killed.returncode == 9
    assert opened_study().trials  # without a wait


# Two at once

_ASK = """
import sys
import factories
begun = factories.opened_study()
print("ready", flush=True)
sys.stdin.readline()
for _ in range(5):
    asked = begun.ask()
    begun.recorded(asked.number, sys.argv[1])
    begun.finished(asked.number, (0.5,), {})
"""


def test_two_processes_share_a_study() -> None:
    begun = opened_study()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    variables = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}

    def process(name: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", _ASK, name], env=variables, **pipes)

    with process("one") as one, process("two") as two:
        for each in (one, two):
            assert each.stdout.readline() == "ready\n"
        for each in (one, two):
            each.stdin.write("\n")
            each.stdin.flush()
    assert (one.returncode, two.returncode) == (0, 0)
    trials = begun.trials
    assert [trial.number for trial in trials] == list(range(10))
    assert [trial.is_papers for trial in trials] == [True] + 9 * [False]
    assert sorted(str(trial.run_id) for trial in trials) == 5 * ["one"] + 5 * ["two"]
    assert {(trial.state, trial.values) for trial in trials} == {("finished", (0.5,))}


# Storages that can't be used


def refusal(storage: str | None) -> BenchError:
    """What both ways to a storage say, which must be the same."""
    said = []
    for attempt in (lambda: opened_study(storage=storage), lambda: names(storage)):
        with pytest.raises(BenchError) as caught:
            attempt()
        said.append(caught.value)
    assert said[0].message == said[1].message
    assert said[0].exit_status == said[1].exit_status == EXIT_BROKE
    return said[0]


def test_a_database_that_nobody_answers_for() -> None:
    port = free_port()
    said = refusal(f"postgresql://somebody:hunter2@127.0.0.1:{port}/studies?sslmode=secret")
    assert said.message.startswith(f"postgresql://127.0.0.1:{port}/studies can't be used: ")
    for private in ("hunter2", "somebody", "secret"):
        assert private not in str(said)


def test_a_database_without_a_folder(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "missing" / "studies.db")
    said = refusal(url)
    assert said.message.startswith(f"{url} can't be used: ")
    assert "unable to open database file" in said.message
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    "url", ["nonsense", "nosuch://somebody:hunter2@host/studies", "postgresql://a:hun/ter2@host/db"]
)
def test_what_names_no_database(url: str) -> None:
    with pytest.raises(BenchError) as caught:
        opened_study(storage=url)
    assert "hunter2" not in str(caught.value)
    assert "ter2" not in str(caught.value)
    if not url.startswith("postgresql"):
        assert caught.value.exit_status == 2
        assert caught.value.hint == (
            "give an address like sqlite:///optuna.db or postgresql://user@host/optuna"
        )


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "studies.db").write_bytes(b"no database" * 100)
    assert "file is not a database" in refusal(sqlite_url(tmp_path / "studies.db")).message
    assert (tmp_path / "studies.db").read_bytes() == b"no database" * 100


def test_a_database_whose_tables_another_machine_is_just_making(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, waited = heartbeat.HeartbeatStorage, list[float]()

    def slower(url: str) -> heartbeat.HeartbeatStorage:
        made = storage(url)
        if len(waited) < 2:
            raise IntegrityError("CREATE TABLE", {}, Exception("duplicate key value violates"))
        return made

    monkeypatch.setattr(heartbeat, "HeartbeatStorage", slower)
    monkeypatch.setattr(study_storage.time, "sleep", waited.append)
    assert opened_study(storage=sqlite_url(tmp_path / "studies.db")).is_new
    assert waited == [1.0, 3.0]
    waited.clear()
    monkeypatch.setattr(study_storage.time, "sleep", lambda _: None)
    with pytest.raises(BenchError, match="duplicate key value violates"):
        opened_study(storage=sqlite_url(tmp_path / "others.db"))


def test_a_database_of_somebody_elses(tmp_path: Path) -> None:
    """As MLflow's own, which too says in a table of that name how new it is."""
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('0123456789ab')")
    with pytest.raises(BenchError):
        opened_study(storage=sqlite_url(tmp_path / "mlflow.db"))


def test_a_database_that_breaks_on_the_way(tmp_path: Path) -> None:
    begun = opened_study(storage=sqlite_url(tmp_path / "studies.db"))
    with closing(sqlite3.connect(tmp_path / "studies.db")) as connection, connection:
        connection.execute("ALTER TABLE trials RENAME TO taken_away")
    for attempt in (begun.ask, lambda: begun.trials, lambda: begun.best, begun.orphans):
        with pytest.raises(BenchError) as caught:
            attempt()
        assert caught.value.exit_status == EXIT_BROKE
        assert re.match(r"sqlite:///.*studies\.db can't be used: ", caught.value.message)


def test_a_study_that_somebody_deleted_meanwhile(tmp_path: Path) -> None:
    storage = sqlite_url(tmp_path / "studies.db")
    begun = opened_study(storage=storage)
    optuna.delete_study(study_name="mine", storage=storage)
    for attempt in (begun.ask, lambda: begun.commands):
        with pytest.raises(BenchError, match=r"studies\.db can't be used: .*does not exist"):
            attempt()


def test_a_fault_of_the_suites_own_is_not_the_storages(tmp_path: Path) -> None:
    begun = opened_study(storage=sqlite_url(tmp_path / "studies.db"))
    with pytest.raises(KeyError):
        begun.recorded(7, "a-run")  # nobody asked for it


def test_a_journal_that_is_a_folder() -> None:
    JOURNAL.mkdir(parents=True)
    said = refusal(None)
    assert said.message.startswith("can't use the study's journal mlruns/optuna.log: ")
    assert said.hint == "make it readable and writable"


def test_a_journal_without_its_folder() -> None:
    Path("mlruns").write_text("a file", encoding="utf-8")
    with pytest.raises(BenchError, match=r"^can't use the study's journal mlruns/optuna\.log: "):
        opened_study()
    assert Path("mlruns").read_text(encoding="utf-8") == "a file"


@pytest.mark.parametrize(
    "content",
    [b"not a journal\n", b"not\na journal\n", b"\xff\xfe\n", b"{}\n", b"[]\n", b"5\n",
     b'{"op_code": 99}\n', b'{"op_code": 0}\n'],
    ids=["text", "lines", "bytes", "object", "list", "number", "unknown", "empty"],
)  # fmt: skip
def test_a_journal_of_garbage(content: bytes) -> None:
    JOURNAL.parent.mkdir()
    JOURNAL.write_bytes(content)
    with pytest.raises(BenchError) as caught:
        opened_study()
    assert caught.value.exit_status == EXIT_BROKE
    assert "mlruns/optuna.log" in str(caught.value)


def test_a_journal_whose_last_line_is_torn() -> None:
    """As where the disk was full: what goes on from there, or says that it can't, is no crash."""
    begun = opened_study()
    begun.finished(begun.ask().number, (0.5,), {})
    with JOURNAL.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"0a')
    try:
        again = opened_study()
        number = again.ask().number
        again.finished(number, (0.75,), {})
    except BenchError as error:
        assert error.exit_status == EXIT_BROKE  # noqa: PT017 - either may come
    else:
        assert [trial.values for trial in opened_study().trials] == [(0.5,), (0.75,)]
