"""Studies in Optuna: real journals and databases, real living and dead processes."""

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
    SPACE_OF_ALL_KINDS,
    STUDY_MACHINE,
    open_test_study,
    run,
    sqlite_url,
    suggested_values,
    trial_value,
)
from fakes import running_process
from hypothesis import given, settings
from hypothesis import strategies as st
from program import free_port
from sqlalchemy.exc import IntegrityError

from mnist_bench.core import process_identity
from mnist_bench.core.errors import EXIT_FAILURE, EXIT_USAGE, BenchError
from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.tuning import heartbeat, study
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.space import Parameter, Space, Value
from mnist_bench.tuning.storage import JOURNAL, names
from mnist_bench.tuning.study import Study
from mnist_bench.tuning.trial import TrialRequest

PAPER_VALUES = {
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
    """Working directory with the journal."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return None if request.param == "journal" else sqlite_url(tmp_path / "studies.db")


def fail_orphans(opened: Study) -> tuple[int, ...]:
    """Fail all orphans and queue their retries; return their numbers."""
    numbers = opened.orphans()
    for number in numbers:
        opened.fail_orphan(number)
    return numbers


def another_name() -> str:
    return uuid.uuid4().hex


def study_with_trials(*trials: tuple[tuple[float, ...], dict[str, float]], **options: Any) -> Study:
    """A study with finished trials of these values and constraint violations."""
    opened = open_test_study(another_name(), space=ONE_PARAMETER, **options)
    for values, missed in trials:
        opened.finished(opened.ask().number, values, missed)
    return opened


def dead_process() -> ProcessIdentity:
    """A process of this machine that has ended."""
    with running_process(STUDY_MACHINE) as ended:
        pass
    return ended


def leave_trials(of: ProcessIdentity, trials: int, **options: Any) -> list[TrialRequest]:
    """Trials that a process started and did not finish."""
    opened = open_test_study(process=of, **options)
    return [opened.ask() for _ in range(trials)]


def states(of: Study) -> list[str]:
    return [trial.state for trial in of.trials]


# Suggestions


def test_the_papers_configuration_is_the_first_trial(storage: str | None) -> None:
    opened = open_test_study(storage=storage)
    assert states(opened) == ["waiting"]
    first, second = opened.ask(), opened.ask()
    assert (first.number, first.is_papers, first.chosen) == (0, True, PAPER_VALUES)
    assert [type(value) for value in first.chosen.values()] == list(
        map(type, PAPER_VALUES.values())
    )
    assert (second.number, second.is_papers) == (1, False)
    assert second.chosen != PAPER_VALUES
    assert [trial.is_papers for trial in opened.trials] == [True, False]


def test_paper_trial_occurs_once(storage: str | None) -> None:
    open_test_study(storage=storage).ask()
    assert not open_test_study(storage=storage).ask().is_papers
    assert [trial.is_papers for trial in open_test_study(storage=storage).trials] == [True, False]


def test_suggested_values_have_the_right_types_and_are_saved(storage: str | None) -> None:
    suggested = suggested_values(14, storage=storage)
    saved = [trial.chosen for trial in open_test_study(storage=storage).trials]
    assert saved == suggested
    for chosen in saved:
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
            SPACE_OF_ALL_KINDS.parameters[name].contains(value) for name, value in chosen.items()
        )
        SPACE_OF_ALL_KINDS.scenario(chosen)  # which checks strictly
    assert len({chosen["learning_rate"] for chosen in saved}) == 14
    assert {chosen["batch_normalization"] for chosen in saved} == {False, True}
    assert {chosen["shift_pixels"] for chosen in saved} == {0, 1, 2, 3}


def test_a_condition_is_respected() -> None:
    suggested = suggested_values(24)
    for chosen in suggested:
        assert ("average_decay" in chosen) == (chosen["schedule"] == "constant")
        assert list(chosen) == [name for name in PAPER_VALUES if name in chosen]
    assert {"average_decay" in chosen for chosen in suggested} == {False, True}
    saved = [trial.chosen for trial in open_test_study().trials]
    assert ["average_decay" in chosen for chosen in saved] == [
        "average_decay" in chosen for chosen in suggested
    ]


def test_paper_trial_omits_inactive_parameters() -> None:
    parameters = SPACE_OF_ALL_KINDS.parameters | {
        "average_decay": Parameter(choices=(0.9, 0.99), when={"schedule": ("one-cycle",)})
    }
    trial = open_test_study(
        space=SPACE_OF_ALL_KINDS.model_copy(update={"parameters": parameters})
    ).ask()
    assert trial.chosen == {
        name: PAPER_VALUES[name] for name in PAPER_VALUES if name != "average_decay"
    }


def test_log_ranges_are_sampled_log_uniformly() -> None:
    """Integers and floats; sampled uniformly, 1 of 90 would be this small."""
    space = ONE_PARAMETER.model_copy(
        update={
            "parameters": {
                "dense_units": Parameter(low=1, high=8_192, log=True),
                "learning_rate": Parameter(low=0.0001, high=10.0, log=True),
            }
        }
    )
    suggested = suggested_values(10, space=space)[1:]
    assert sum(chosen["dense_units"] < 91 for chosen in suggested) >= 2
    assert sum(chosen["learning_rate"] < 0.11 for chosen in suggested) >= 2


@pytest.mark.parametrize("space", [SPACE_OF_ALL_KINDS, ONE_PARAMETER], ids=["conditional", "plain"])
def test_suggestions_are_reproducible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: Space
) -> None:
    courses = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        courses.append(suggested_values(space=space))
    assert courses[0] == courses[1]
    assert len({chosen["learning_rate"] for chosen in courses[0]}) == 16


def test_suggestions_depend_on_results() -> None:
    """Otherwise the sampler would be random."""
    opened, other = open_test_study("one"), open_test_study("two")
    for _ in range(12):
        trial = opened.ask()
        opened.finished(trial.number, (trial_value(trial.chosen),), {})
        trial = other.ask()
        other.finished(trial.number, (1 - trial_value(trial.chosen),), {})
    before = [[trial.chosen for trial in each.trials[:10]] for each in (opened, other)]
    assert before[0] == before[1]
    assert opened.ask().chosen != other.ask().chosen


def test_suggestions_are_reproducible_across_processes(tmp_path: Path) -> None:
    """Set order differs between processes, because of hash randomization."""
    program = "import json, factories; print(json.dumps(factories.suggested_values()))"
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


def test_resumed_study_does_not_repeat_suggestions() -> None:
    before = suggested_values(5)
    opened = open_test_study()
    assert opened.ask().chosen not in before
    assert opened.ask().chosen not in before
    assert [trial.number for trial in opened.trials] == list(range(7))


def test_parallel_workers_get_different_suggestions() -> None:
    open_test_study().ask()
    workers = [open_test_study(worker_number=number) for number in range(3)]
    suggested = [each.ask().chosen for each in workers for _ in range(2)]
    assert len({chosen["learning_rate"] for chosen in suggested}) == 6


@pytest.mark.parametrize("space", [SPACE_OF_ALL_KINDS, ONE_PARAMETER], ids=["conditional", "plain"])
@pytest.mark.parametrize("goal", [ACCURACY_GOAL, PARETO], ids=["accuracy", "pareto"])
def test_no_warnings(space: Space, goal: Goal) -> None:
    """Optuna's warnings would disturb the output."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = open_test_study(space=space, goal=goal)
        opened.ask()
        # Two evaluations may fall into the same percent.
        assert not opened.should_end(0, 30, 0.5)
        assert not opened.should_end(0, 30, 0.625)
        opened.finished(0, tuple(0.75 for _ in goal.directions), {"max seconds": 1.0})
        opened.failed(opened.ask().number)


# Saved state


def test_reports_are_saved(storage: str | None) -> None:
    opened = open_test_study(storage=storage)
    numbers = [opened.ask().number for _ in range(4)]
    assert numbers == [0, 1, 2, 3]
    opened.recorded(0, "run-0")
    opened.recorded(2, "run-2")
    for percent, progress in ((5, 0.5), (50, 0.75)):
        opened.should_end(0, percent, progress)
    opened.finished(0, (0.875,), {"max seconds": -1.5, "max memory": 2.0})
    opened.should_end(1, 10, 0.25)
    opened.pruned(1, {})
    opened.failed(2)
    again = open_test_study(storage=storage)
    assert again.trials == opened.trials
    facts = [(t.number, t.state, t.values, t.missed, t.curve, t.run_id) for t in again.trials]
    assert facts == [
        (0, "finished", (0.875,), {"max seconds": -1.5, "max memory": 2.0},
         {5: 0.5, 50: 0.75}, "run-0"),
        # Optuna gives a pruned trial its last intermediate value: it must not count.
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


def test_three_values_are_saved(storage: str | None) -> None:
    opened = open_test_study(storage=storage, goal=PARETO)
    opened.finished(opened.ask().number, (0.984375, 61.5, 943718400.0), {})
    assert open_test_study(storage=storage, goal=PARETO).trials[0].values == (
        0.984375,
        61.5,
        943718400.0,
    )


def test_run_id_is_saved(storage: str | None) -> None:
    opened = open_test_study(storage=storage)
    assert opened.run_id is None
    opened.run_id = "run-of-the-study"
    assert open_test_study(storage=storage).run_id == "run-of-the-study"
    assert open_test_study("another", storage=storage).run_id is None


def test_test_evaluations_are_saved(storage: str | None) -> None:
    """The result of an evaluation replaces its start, and nothing else."""
    opened = open_test_study(storage=storage)
    assert opened.test_evaluations == ()
    opened.save_test_evaluation(1, '{"begun": 1}')
    assert open_test_study(storage=storage).test_evaluations == ('{"begun": 1}',)
    opened.save_test_evaluation(1, '{"ended": 1}')
    open_test_study(storage=storage).save_test_evaluation(2, '{"begun": 2}')
    assert opened.test_evaluations == ('{"ended": 1}', '{"begun": 2}')
    opened.save_test_evaluation(2, '{"ended": 2}')
    assert open_test_study(storage=storage).test_evaluations == ('{"ended": 1}', '{"ended": 2}')


def test_studies_of_two_names_do_not_mix(storage: str | None) -> None:
    one, two = (
        open_test_study("one", storage=storage),
        open_test_study("two", storage=storage, goal=PARETO),
    )
    one.finished(one.ask().number, (0.5,), {})
    two.finished(two.ask().number, (0.75, 1.0, 2.0), {})
    one.ask()
    assert [trial.values for trial in one.trials] == [(0.5,), ()]
    assert [trial.values for trial in two.trials] == [(0.75, 1.0, 2.0)]
    assert set(names(storage)) == {"one", "two"}


def test_names_creates_nothing(folder: Path) -> None:
    assert names(None) == ()
    assert list(folder.iterdir()) == []


def test_only_a_new_study_is_new() -> None:
    assert open_test_study().is_new
    assert not open_test_study().is_new
    assert open_test_study("another").is_new


@pytest.mark.parametrize(
    "goal",
    [PARETO, Goal(objective="accuracy", max_memory_bytes=2**30)],
    ids=["pareto", "max memory"],
)
def test_unknown_memory_is_accepted(goal: Goal) -> None:
    opened = open_test_study(goal=goal)
    unknown, known = run(1_000, peak_rss_bytes=None), run(1_000, peak_rss_bytes=2**29)
    for each in (unknown, known):
        opened.finished(opened.ask().number, goal.values(each), goal.constraints(each))
    assert len(opened.trials) == 2
    assert 1 in [trial.number for trial in opened.best]


# Best trials


def test_best_is_feasible(storage: str | None) -> None:
    opened = study_with_trials(
        ((0.95,), {"max seconds": -1.0, "max memory": 0.0}),
        ((0.97,), {"max seconds": -1.0, "max memory": -5.0}),
        ((0.99,), {"max seconds": -1.0, "max memory": 0.5}),
        ((0.96,), {"max seconds": -1.0, "max memory": -5.0}),
        storage=storage,
    )
    opened.failed(opened.ask().number)
    (best,) = opened.best
    assert (best.number, best.values) == (1, (0.97,))


def test_the_fewest_seconds_are_best() -> None:
    opened = study_with_trials(
        ((7.5,), {}), ((2.5,), {"target accuracy": 0.1}), ((5.0,), {}), goal=SECONDS
    )
    (best,) = opened.best
    assert (best.number, best.values) == (2, (5.0,))


@pytest.mark.parametrize("goal", [ACCURACY_GOAL, PARETO], ids=["accuracy", "pareto"])
def test_no_best_without_a_feasible_trial(storage: str | None, goal: Goal) -> None:
    opened = open_test_study(storage=storage, goal=goal)
    assert opened.best == ()
    values = tuple(0.5 for _ in goal.directions)
    opened.finished(opened.ask().number, values, {"max seconds": 0.25})
    opened.ask()
    opened.failed(opened.ask().number)
    assert opened.best == ()


def test_a_pruned_trial_is_never_best() -> None:
    opened = open_test_study()
    opened.ask()
    opened.should_end(0, 10, 0.99)
    opened.pruned(0, {})
    assert opened.best == ()
    opened.finished(opened.ask().number, (0.5,), {})
    assert [trial.number for trial in opened.best] == [1]


def test_pareto_front(storage: str | None) -> None:
    opened = study_with_trials(
        ((0.95, 10.0, 500.0), {"max memory": -1.0}),
        ((0.99, 20.0, 500.0), {"max memory": -1.0}),
        ((0.99, 30.0, 400.0), {"max memory": -1.0}),
        ((0.94, 10.0, 500.0), {"max memory": -1.0}),  # the first is as fast, and better
        ((1.00, 1.0, 1.0), {"max memory": 1.0}),  # beats all, but is infeasible
        storage=storage,
        goal=PARETO,
    )
    assert [trial.number for trial in opened.best] == [0, 1, 2]


missed = st.dictionaries(st.sampled_from(["max memory", "max seconds"]), st.integers(-1, 1))


@settings(max_examples=25)
@given(trials=st.lists(st.tuples(st.integers(0, 5), missed), max_size=5), is_down=st.booleans())
def test_best_property(trials: list[tuple[int, dict[str, int]]], *, is_down: bool) -> None:
    opened = study_with_trials(
        *(((float(value),), misses) for value, misses in trials),
        goal=SECONDS if is_down else ACCURACY_GOAL,
    )
    feasible = [value for value, misses in trials if all(m <= 0 for m in misses.values())]
    better = min if is_down else max
    assert [trial.values for trial in opened.best] == (
        [(float(better(feasible)),)] if feasible else []
    )
    assert all(trial.is_feasible for trial in opened.best)


three = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))


@settings(max_examples=25)
@given(st.lists(st.tuples(three, missed), max_size=5))
def test_pareto_front_property(trials: list[tuple[tuple[int, ...], dict[str, int]]]) -> None:
    opened = study_with_trials(
        *((tuple(map(float, values)), misses) for values, misses in trials), goal=PARETO
    )
    feasible = {
        number: (-values[0], *values[1:])
        for number, (values, misses) in enumerate(trials)
        if all(m <= 0 for m in misses.values())
    }

    def beats(one: tuple[int, ...], two: tuple[int, ...]) -> bool:
        return one != two and all(a <= b for a, b in zip(one, two, strict=True))

    front = {
        number
        for number, values_of_trial in feasible.items()
        if not any(beats(other, values_of_trial) for other in feasible.values())
    }
    assert {trial.number for trial in opened.best} == front


# Pruning


def study_with_finished_trials(goal: Goal, *, of: int = 10) -> Study:
    """The paper's trial is running; others have finished, at 0.80, 0.81, ... after 60%."""
    opened = open_test_study(another_name(), goal=goal, space=ONE_PARAMETER)
    assert opened.ask().is_papers
    for hundredth in range(80, 80 + of):
        number = opened.ask().number
        for percent in (5, 60):
            opened.should_end(number, percent, hundredth / 100)
        opened.finished(number, (hundredth / 100,), {})
    return opened


@pytest.mark.parametrize(
    ("goal", "behind", "ahead"),
    # The median of the ten is 0.845; seconds fall, and with them the share of errors.
    [(ACCURACY_GOAL, 0.84, 0.85), (SECONDS, 0.85, 0.84)],
    ids=["accuracy", "seconds"],
)
def test_trial_below_the_median_is_pruned(goal: Goal, behind: float, ahead: float) -> None:
    opened = study_with_finished_trials(goal)
    slow, fast = opened.ask().number, opened.ask().number
    assert not opened.should_end(slow, 5, behind)  # too early to tell
    assert opened.should_end(slow, 60, behind)
    assert not opened.should_end(fast, 60, ahead)
    opened.pruned(slow, {})
    assert opened.trials[slow].state == "pruned"
    assert opened.trials[slow].curve == {5: behind, 60: behind}


@pytest.mark.parametrize(("goal", "behind"), [(ACCURACY_GOAL, 0.1), (SECONDS, 0.9)])
def test_paper_trial_is_never_pruned(goal: Goal, behind: float) -> None:
    opened = study_with_finished_trials(goal)
    assert not opened.should_end(0, 60, behind)
    assert opened.should_end(opened.ask().number, 60, behind)
    assert opened.trials[0].curve == {60: behind}  # compared, but not pruned


def test_progress_between_checkpoints_is_saved_but_not_compared() -> None:
    opened = study_with_finished_trials(ACCURACY_GOAL)
    number = opened.ask().number
    opened.report_progress(number, 30, 0.1)
    assert opened.should_end(number, 60, 0.1)
    assert opened.trials[number].curve == {30: 0.1, 60: 0.1}
    front = open_test_study(another_name(), goal=PARETO, space=ONE_PARAMETER)
    front.report_progress(front.ask().number, 30, 0.1)
    assert front.trials[0].curve == {}


def test_repeats_are_never_pruned() -> None:
    opened = study_with_finished_trials(ACCURACY_GOAL)
    opened.repeat(opened.trials[3])
    again = opened.ask().number
    assert opened.is_exempt(again)
    assert not opened.should_end(again, 60, 0.1)
    assert opened.trials[again].repeat_of == 3


def test_pruned_trial_has_constraint_violations() -> None:
    opened = study_with_finished_trials(ACCURACY_GOAL)
    opened.pruned(opened.ask().number, {"max seconds": 0.5})
    assert opened.trials[-1].missed == {"max seconds": 0.5}
    assert not opened.trials[-1].is_feasible


def test_no_pruning_before_five_trials_finished() -> None:
    opened = study_with_finished_trials(ACCURACY_GOAL, of=4)
    assert not opened.should_end(opened.ask().number, 60, 0.1)


def test_pareto_prunes_nothing() -> None:
    opened = study_with_trials(*[((0.9, 1.0, 1.0), {})] * 11, goal=PARETO)
    number = opened.ask().number
    assert not opened.should_end(number, 60, 0.0)
    assert opened.trials[number].curve == {}


# Importances


def test_importances() -> None:
    suggested_values(9)
    assert open_test_study().importances() == {}
    suggested_values(16)
    found = open_test_study().importances()
    assert set(found) == set(SPACE_OF_ALL_KINDS.parameters)
    assert sum(found.values()) == pytest.approx(1)
    assert max(found, key=found.__getitem__) == "learning_rate"
    assert all(type(share) is float and 0 <= share <= 1 for share in found.values())


def test_importances_of_equal_values() -> None:
    opened = study_with_trials(*[((0.125,), {})] * 12)
    assert opened.importances() == {"learning_rate": 1.0}


def test_importances_for_the_first_of_several_values() -> None:
    opened = open_test_study(goal=PARETO)
    for _ in range(25):
        trial = opened.ask()
        seconds = float(trial.chosen["batch_size"])
        opened.finished(trial.number, (trial_value(trial.chosen), seconds, 1.0), {})
    found = opened.importances()
    assert max(found, key=found.__getitem__) == "learning_rate"


# Another spec


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"space": SPACE_OF_ALL_KINDS.model_copy(update={"steps": 101})}, "search space"),
        ({"space": ONE_PARAMETER}, "search space"),
        ({"goal": SECONDS}, "objective"),
        ({"goal": PARETO}, "objective"),
        ({"goal": Goal(objective="accuracy", max_seconds=1.0)}, "objective"),
    ],
    ids=["steps", "parameters", "direction", "values", "constraint"],
)
def test_another_spec_is_refused(storage: str | None, change: dict[str, Any], what: str) -> None:
    opened = open_test_study(storage=storage)
    opened.finished(opened.ask().number, (0.5,), {})
    before = opened.trials
    with pytest.raises(BenchError) as caught:
        open_test_study(storage=storage, **change)
    assert str(caught.value) == (
        f"the study mine exists with another {what}; choose another --study, or give the same one"
    )
    assert caught.value.exit_status == EXIT_USAGE
    assert open_test_study(storage=storage).trials == before  # and nothing of it was changed


def test_other_images_are_refused(storage: str | None) -> None:
    opened = open_test_study(storage=storage, images="sha256:a")
    opened.finished(opened.ask().number, (0.5,), {})
    with pytest.raises(BenchError, match="the study mine exists with another set of images"):
        open_test_study(storage=storage, images="sha256:b")
    assert len(open_test_study(storage=storage, images="sha256:a").trials) == 1


def test_unknown_images_are_accepted(storage: str | None) -> None:
    open_test_study(storage=storage)
    assert not open_test_study(storage=storage, images="sha256:b").is_new


# Orphans and retries


def test_orphans_are_retried_once(storage: str | None) -> None:
    with running_process(STUDY_MACHINE) as ended:
        orphans = leave_trials(ended, 2, storage=storage)
    again = open_test_study(storage=storage)
    assert fail_orphans(again) == (0, 1)
    assert fail_orphans(again) == ()
    assert fail_orphans(open_test_study(storage=storage)) == ()
    assert states(again) == ["failed", "failed", "waiting", "waiting"]
    retries = [again.ask(), again.ask()]
    assert [retry.number for retry in retries] == [2, 3]
    assert [retry.chosen for retry in retries] == [each.chosen for each in orphans]
    assert [retry.is_papers for retry in retries] == [True, False]
    trials = again.trials
    assert [trial.retry_of for trial in trials] == [None, None, 0, 1]
    assert [trial.chosen for trial in trials[2:]] == [trial.chosen for trial in trials[:2]]
    assert fail_orphans(again) == ()  # this process owns them now
    assert again.ask().chosen not in [each.chosen for each in orphans]
    assert [trial.retry_of for trial in again.trials[4:]] == [None]


def test_orphaned_retry_is_retried() -> None:
    leave_trials(dead_process(), 1)
    second = open_test_study(process=dead_process())
    assert fail_orphans(second) == (0,)
    assert second.ask().number == 1
    third = open_test_study()
    assert fail_orphans(third) == (1,)
    assert (third.ask().chosen, third.trials[2].retry_of) == (PAPER_VALUES, 1)
    assert [trial.is_papers for trial in third.trials] == [True, True, True]


def test_retry_of_the_paper_trial_is_never_pruned() -> None:
    opened = open_test_study(goal=ACCURACY_GOAL, process=dead_process(), space=ONE_PARAMETER)
    opened.ask()
    again = open_test_study(goal=ACCURACY_GOAL, space=ONE_PARAMETER)
    fail_orphans(again)
    retry = again.ask()
    assert retry.is_papers
    for hundredth in range(80, 90):
        number = again.ask().number
        again.should_end(number, 50, hundredth / 100)
        again.finished(number, (hundredth / 100,), {})
    assert again.should_end(again.ask().number, 50, 0.1)
    assert not again.should_end(retry.number, 50, 0.1)


@pytest.mark.parametrize("suggestions", [0, 3])
def test_orphan_without_all_values_is_retried(
    monkeypatch: pytest.MonkeyPatch, suggestions: int
) -> None:
    """Killed within `ask`: the paper's configuration must not get random values."""
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
            leave_trials(dead_process(), 1)
    again = open_test_study()
    assert fail_orphans(again) == (0,)
    retry = again.ask()
    assert retry.is_papers
    assert retry.chosen == PAPER_VALUES


def test_ended_and_waiting_trials_are_not_orphans() -> None:
    opened = open_test_study(process=dead_process())
    opened.finished(opened.ask().number, (0.5,), {})
    opened.pruned(opened.ask().number, {})
    opened.failed(opened.ask().number)
    open_test_study("another", process=dead_process())  # its first trial waits
    assert fail_orphans(open_test_study()) == ()
    assert fail_orphans(open_test_study("another")) == ()
    assert states(open_test_study()) == ["finished", "pruned", "failed"]
    assert states(open_test_study("another")) == ["waiting"]


def test_trial_of_a_live_process_is_not_an_orphan(storage: str | None) -> None:
    with running_process(STUDY_MACHINE) as alive:
        leave_trials(alive, 1, storage=storage)
        again = open_test_study(storage=storage)
        assert fail_orphans(again) == ()
        assert states(again) == ["running"]
    assert fail_orphans(again) == (0,)


@pytest.mark.parametrize(
    "change",
    [{"machine_id": "another"}, {"machine_id": None}, {"boot_id": "b/pid:[1]"}],
    ids=["machine", "nameless", "container"],
)
def test_trial_of_another_machine_is_not_an_orphan(change: dict[str, Any]) -> None:
    leave_trials(dead_process().model_copy(update=change), 1)
    again = open_test_study()
    assert fail_orphans(again) == ()
    assert states(again) == ["running"]


def test_orphan_from_before_a_reboot_is_retried() -> None:
    current = process_identity.current_process(STUDY_MACHINE)
    before = current.model_copy(update={"boot_id": f"before/{current.boot_id.partition('/')[2]}"})
    leave_trials(before, 1)
    assert fail_orphans(open_test_study()) == (0,)


def test_two_processes_retry_an_orphan_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second process acts between check and failing."""
    leave_trials(dead_process(), 1)
    first, second = open_test_study(), open_test_study()
    is_orphan = Study._is_orphan

    def slowly(self: Study, trial: Any, *, alone: bool) -> bool:
        if self is first and is_orphan(self, trial, alone=alone):
            fail_orphans(second)
        return is_orphan(self, trial, alone=alone)

    monkeypatch.setattr(Study, "_is_orphan", slowly)
    fail_orphans(first)
    assert states(open_test_study()) == ["failed", "waiting"]


def test_kill_while_failing_an_orphan_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_trials(dead_process(), 1)
    first = open_test_study()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(first._study, "tell", killed)
        with pytest.raises(KeyboardInterrupt):
            fail_orphans(first)
    assert fail_orphans(open_test_study()) == (0,)
    assert states(open_test_study()) == ["failed", "waiting"]
    assert [trial.retry_of for trial in open_test_study().trials] == [None, 0]


def test_kill_while_releasing_a_trial_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = open_test_study(process=dead_process())
    number = opened.ask().number

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(opened._study, "tell", killed)
        with pytest.raises(KeyboardInterrupt):
            opened.interrupted(number)
    assert fail_orphans(open_test_study()) == (0,)
    assert [trial.retry_of for trial in open_test_study().trials] == [None, 0]


def test_ended_orphan_is_reported_by_another_process(storage: str | None) -> None:
    (orphan, _) = leave_trials(dead_process(), 2, storage=storage)
    again = open_test_study(storage=storage)
    again.take_over(0, 12.5)
    again.recorded(0, "id", train_seconds=8.0)
    again.finished(0, (0.9,), {"max seconds": -2.0})
    again.take_over(1, 1.5)
    again.pruned(1, {})
    first, second = open_test_study(storage=storage).trials
    assert (first.state, first.values, first.seconds) == ("finished", (0.9,), 12.5)
    assert (first.chosen, first.run_id, first.train_seconds) == (orphan.chosen, "id", 8.0)
    assert first.missed == {"max seconds": -2.0}
    assert (second.state, second.seconds) == ("pruned", 1.5)
    assert again.orphans() == ()


def test_kill_while_taking_over_loses_nothing() -> None:
    leave_trials(dead_process(), 1)
    open_test_study(process=dead_process()).take_over(0, 1.0)
    again = open_test_study()
    assert again.orphans() == (0,)
    assert again.take_over(0, 2.0)
    again.finished(0, (0.5,), {})
    assert states(again) == ["finished"]
    assert not open_test_study().take_over(0, 3.0)


def test_orphan_ended_by_another_process_is_not_retried() -> None:
    leave_trials(dead_process(), 1)
    slow, fast = open_test_study(), open_test_study()
    assert slow.orphans() == fast.orphans() == (0,)
    assert fast.take_over(0, 1.0)
    fast.finished(0, (0.5,), {})
    slow.fail_orphan(0)
    assert states(open_test_study()) == ["finished"]


def test_repeat_interrupted_within_ask_keeps_its_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = open_test_study(process=dead_process())
    opened.finished(opened.ask().number, (0.5,), {})
    trial = opened.ask()
    opened.finished(trial.number, (0.9,), {})
    opened.repeat(opened.trials[1])

    def killed(*_: object) -> Value:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(study, "suggested", killed)
        with pytest.raises(KeyboardInterrupt):
            opened.ask()
    again = open_test_study()
    assert fail_orphans(again) == (2,)
    assert again.ask().chosen == trial.chosen
    assert again.trials[3].repeat_of == 1


def test_trial_without_owner_is_an_orphan_if_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = open_test_study(process=dead_process())

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("optuna.trial.Trial.set_user_attr", killed)
        with pytest.raises(KeyboardInterrupt):
            opened.ask()
    again = open_test_study()
    assert again.orphans() == ()
    assert again.orphans(alone=True) == (0,)


def test_kill_with_the_journal_lock_frees_it(folder: Path) -> None:
    code = """
import os, factories
study = factories.open_test_study()
write = os.fsync
os.fsync = lambda number: (write(number), os._exit(9))
study.ask()
"""
    killed = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert killed.returncode == 9
    assert open_test_study().trials  # without a wait


# Concurrent processes

_ASK = """
import sys
import factories
study = factories.open_test_study()
print("ready", flush=True)
sys.stdin.readline()
for _ in range(5):
    trial = study.ask()
    study.recorded(trial.number, sys.argv[1])
    study.finished(trial.number, (0.5,), {})
"""


def test_two_processes_share_a_study() -> None:
    opened = open_test_study()
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
    trials = opened.trials
    assert [trial.number for trial in trials] == list(range(10))
    assert [trial.is_papers for trial in trials] == [True] + 9 * [False]
    assert sorted(str(trial.run_id) for trial in trials) == 5 * ["one"] + 5 * ["two"]
    assert {(trial.state, trial.values) for trial in trials} == {("finished", (0.5,))}


# Storages that can't be used


def refusal(storage: str | None) -> BenchError:
    """Error of both ways to open a storage, which must be the same."""
    errors = []
    for attempt in (lambda: open_test_study(storage=storage), lambda: names(storage)):
        with pytest.raises(BenchError) as caught:
            attempt()
        errors.append(caught.value)
    assert errors[0].message == errors[1].message
    assert errors[0].exit_status == errors[1].exit_status == EXIT_FAILURE
    return errors[0]


def test_unreachable_database() -> None:
    port = free_port()
    errors = refusal(f"postgresql://somebody:hunter2@127.0.0.1:{port}/studies?sslmode=secret")
    assert errors.message.startswith(f"postgresql://127.0.0.1:{port}/studies can't be used: ")
    for private in ("hunter2", "somebody", "secret"):
        assert private not in str(errors)


def test_a_database_without_a_folder(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "missing" / "studies.db")
    errors = refusal(url)
    assert errors.message.startswith(f"{url} can't be used: ")
    assert "unable to open database file" in errors.message
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    "url", ["nonsense", "nosuch://somebody:hunter2@host/studies", "postgresql://a:hun/ter2@host/db"]
)
def test_invalid_database_url(url: str) -> None:
    with pytest.raises(BenchError) as caught:
        open_test_study(storage=url)
    assert "hunter2" not in str(caught.value)
    assert "ter2" not in str(caught.value)
    if not url.startswith("postgresql"):
        assert caught.value.exit_status == 2
        assert caught.value.hint == (
            "give an address like sqlite:///optuna.db or postgresql://user@host/optuna"
        )


def test_file_that_is_not_a_database(tmp_path: Path) -> None:
    (tmp_path / "studies.db").write_bytes(b"no database" * 100)
    assert "file is not a database" in refusal(sqlite_url(tmp_path / "studies.db")).message
    assert (tmp_path / "studies.db").read_bytes() == b"no database" * 100


def test_database_whose_tables_are_being_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, waited = heartbeat.HeartbeatStorage, list[float]()

    def slower(url: str) -> heartbeat.HeartbeatStorage:
        created = storage(url)
        if len(waited) < 2:
            raise IntegrityError("CREATE TABLE", {}, Exception("duplicate key value violates"))
        return created

    monkeypatch.setattr(heartbeat, "HeartbeatStorage", slower)
    monkeypatch.setattr("mnist_bench.tuning.storage.time.sleep", waited.append)
    assert open_test_study(storage=sqlite_url(tmp_path / "studies.db")).is_new
    assert waited == [1.0, 3.0]
    waited.clear()
    monkeypatch.setattr("mnist_bench.tuning.storage.time.sleep", lambda _: None)
    with pytest.raises(BenchError, match="duplicate key value violates"):
        open_test_study(storage=sqlite_url(tmp_path / "others.db"))


def test_foreign_database(tmp_path: Path) -> None:
    """MLflow's database has an alembic_version table too."""
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('0123456789ab')")
    with pytest.raises(BenchError):
        open_test_study(storage=sqlite_url(tmp_path / "mlflow.db"))


def test_database_that_breaks_later(tmp_path: Path) -> None:
    opened = open_test_study(storage=sqlite_url(tmp_path / "studies.db"))
    with closing(sqlite3.connect(tmp_path / "studies.db")) as connection, connection:
        connection.execute("ALTER TABLE trials RENAME TO taken_away")
    for attempt in (
        opened.ask,
        lambda: opened.trials,
        lambda: opened.best,
        opened.orphans,
    ):
        with pytest.raises(BenchError) as caught:
            attempt()
        assert caught.value.exit_status == EXIT_FAILURE
        assert re.match(r"sqlite:///.*studies\.db can't be used: ", caught.value.message)


def test_study_deleted_meanwhile(tmp_path: Path) -> None:
    storage = sqlite_url(tmp_path / "studies.db")
    opened = open_test_study(storage=storage)
    optuna.delete_study(study_name="mine", storage=storage)
    for attempt in (opened.ask, lambda: opened.commands):
        with pytest.raises(BenchError, match=r"studies\.db can't be used: .*does not exist"):
            attempt()


def test_own_bug_is_not_reported_as_storage_error(tmp_path: Path) -> None:
    opened = open_test_study(storage=sqlite_url(tmp_path / "studies.db"))
    with pytest.raises(KeyError):
        opened.recorded(7, "a-run")  # there is no such trial


def test_a_journal_that_is_a_folder() -> None:
    JOURNAL.mkdir(parents=True)
    errors = refusal(None)
    assert errors.message.startswith("can't use the study's journal mlruns/optuna.log: ")
    assert errors.hint == "make it readable and writable"


def test_a_journal_without_its_folder() -> None:
    Path("mlruns").write_text("a file", encoding="utf-8")
    with pytest.raises(BenchError, match=r"^can't use the study's journal mlruns/optuna\.log: "):
        open_test_study()
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
        open_test_study()
    assert caught.value.exit_status == EXIT_FAILURE
    assert "mlruns/optuna.log" in str(caught.value)


def test_journal_with_a_torn_last_line() -> None:
    """After a full disk: resuming works or raises a BenchError, but never crashes."""
    opened = open_test_study()
    opened.finished(opened.ask().number, (0.5,), {})
    with JOURNAL.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"0a')
    try:
        again = open_test_study()
        number = again.ask().number
        again.finished(number, (0.75,), {})
    except BenchError as error:
        assert error.exit_status == EXIT_FAILURE  # noqa: PT017 - either may come
    else:
        assert [trial.values for trial in open_test_study().trials] == [(0.5,), (0.75,)]
