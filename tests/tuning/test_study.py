"""Studies in Optuna: real journals and databases, living and dead processes."""

from __future__ import annotations

import errno
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import optuna
import pytest
from factories import (
    ACCURACY_GOAL,
    ONE_PARAMETER,
    PARETO_GOAL,
    SPACE_OF_ALL_KINDS,
    TIME_GOAL,
    open_test_study,
    run,
    sqlite_url,
    suggested_values,
    trial_value,
)
from optuna.trial import TrialState
from program import free_port

from mnist_bench.core import locks
from mnist_bench.core.errors import EXIT_FAILURE, EXIT_USAGE, BenchError
from mnist_bench.results.run import RunResult
from mnist_bench.tuning import study
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.space import Parameter, Value
from mnist_bench.tuning.storage import JOURNAL, explained, names
from mnist_bench.tuning.study import FAILED, MACHINE, MACHINE_ID, PAPER, RETRY, Study, study_lock

PAPER_VALUES = {
    "learning_rate": 0.001,
    "batch_size": 50,
    "dropout_rate": 0.5,
    "shift_pixels": 0,
    "schedule": "constant",
    "batch_normalization": False,
    "average_decay": 0.0,
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with the journal."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """Only for tests of what storages do differently; the others use the journal."""
    return None if request.param == "journal" else sqlite_url(tmp_path / "studies.db")


def ask(opened: Study) -> tuple[optuna.Trial, dict[str, Value]]:
    """A new trial and its values."""
    with explained(opened.storage):
        trial = opened.optuna.ask()
        return trial, opened.suggest(trial)


def finish(opened: Study, values: tuple[float, ...], missed: Mapping[str, float]) -> None:
    """Finish a new trial with these values and constraint violations."""
    trial, _ = ask(opened)
    for name, value in missed.items():
        trial.set_constraint(name, value)
    opened.optuna.tell(trial, list(values))


def with_factories() -> dict[str, str]:
    """Environment of a process that imports the factories."""
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}


def states(of: Study) -> list[str]:
    return [trial.state for trial in of.trials]


# Suggestions


def test_the_papers_configuration_is_the_first_trial(storage: str | None) -> None:
    opened = open_test_study(storage=storage)
    assert opened.is_new
    opened = open_test_study(storage=storage)
    assert not opened.is_new
    assert states(opened) == ["waiting"]
    (_, first), (_, second) = ask(opened), ask(opened)
    assert first == PAPER_VALUES
    assert [type(value) for value in first.values()] == list(map(type, PAPER_VALUES.values()))
    assert second != PAPER_VALUES
    assert [trial.is_papers for trial in opened.trials] == [True, False]


def test_suggested_values_have_the_right_types_and_are_saved() -> None:
    suggested = suggested_values(14)
    saved = [trial.chosen for trial in open_test_study().trials]
    assert saved == suggested
    for chosen in saved:
        for name, value in PAPER_VALUES.items():
            assert name not in chosen or type(chosen[name]) is type(value), name
        assert ("average_decay" in chosen) == (chosen["schedule"] == "constant")
        assert list(chosen) == [name for name in PAPER_VALUES if name in chosen]
        assert all(
            SPACE_OF_ALL_KINDS.parameters[name].contains(value) for name, value in chosen.items()
        )
        SPACE_OF_ALL_KINDS.scenario(chosen)  # which checks strictly
    assert {"average_decay" in chosen for chosen in saved} == {False, True}
    assert len({chosen["learning_rate"] for chosen in saved}) == 14
    assert {chosen["batch_normalization"] for chosen in saved} == {False, True}
    assert {chosen["shift_pixels"] for chosen in saved} == {0, 1, 2, 3}


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


def test_suggestions_depend_on_results() -> None:
    """Otherwise the sampler would be random."""
    opened, other = open_test_study("one"), open_test_study("two")
    for _ in range(12):
        trial, chosen = ask(opened)
        opened.optuna.tell(trial, trial_value(chosen))
        trial, chosen = ask(other)
        other.optuna.tell(trial, 1 - trial_value(chosen))
    before = [[trial.chosen for trial in each.trials[:10]] for each in (opened, other)]
    assert before[0] == before[1]
    assert ask(opened)[1] != ask(other)[1]


def test_suggestions_are_reproducible_across_processes() -> None:
    """Set order differs between processes, because of hash randomization."""
    program = "import json, factories; print(json.dumps(factories.suggested_values(name='other')))"
    variables = with_factories() | {"PYTHONHASHSEED": "1"}
    output = subprocess.check_output([sys.executable, "-c", program], env=variables)
    suggested = suggested_values()
    assert json.loads(output) == suggested
    assert len({chosen["learning_rate"] for chosen in suggested}) == 16


def test_resumed_study_does_not_repeat_suggestions() -> None:
    before = suggested_values(5)
    opened = open_test_study()
    assert ask(opened)[1] not in before
    assert ask(opened)[1] not in before
    assert [trial.number for trial in opened.trials] == list(range(7))


# Saved state


def test_trials_are_saved(storage: str | None) -> None:
    goal = Goal(objective="accuracy", max_seconds=30.0, max_memory_bytes=2**30)
    opened = open_test_study(storage=storage, goal=goal)
    trials = [ask(opened)[0] for _ in range(4)]
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    for percent, progress in ((5, 0.5), (50, 0.75)):
        trials[0].report(progress, percent)
    trials[1].report(0.25, 10)
    missed = {"max seconds": -10.0, "max memory": run().peak_rss_bytes - 2**30}
    opened.record(trials[0], run(run_id="run-0", verdict="suspect"))
    opened.record(trials[1], run(run_id="run-1", status="pruned"))
    opened.record(trials[2], run(run_id="run-2", status="failed"))
    opened.optuna.tell(trials[0], 0.875)
    opened.optuna.tell(trials[1], state=TrialState.PRUNED)
    opened.optuna.tell(trials[2], state=TrialState.FAIL)
    again = open_test_study(storage=storage, goal=goal)
    assert again.trials == opened.trials
    facts = [(t.number, t.state, t.values, t.missed, t.curve, t.run_id) for t in again.trials]
    assert facts == [
        (0, "finished", (0.875,), missed, {5: 0.5, 50: 0.75}, "run-0"),
        # Optuna gives a pruned trial its last intermediate value: it must not count.
        (1, "pruned", (), missed, {10: 0.25}, "run-1"),
        (2, "failed", (), {}, {}, "run-2"),
        (3, "running", (), {}, {}, None),
    ]
    assert [trial.counts for trial in again.trials] == [True, True, False, False]
    assert [trial.is_feasible for trial in again.trials] == [True, False, False, False]
    assert {trial.retry_of for trial in again.trials} == {None}
    assert (again.trials[0].train_seconds, again.trials[0].verdict) == (20.0, "suspect")
    *ended, running = [trial.seconds for trial in again.trials]
    assert running is None
    assert all(seconds is not None and seconds >= 0 for seconds in ended)


def test_run_id_and_test_evaluations_are_saved() -> None:
    """The result of an evaluation replaces its start, and nothing else."""
    opened = open_test_study()
    assert (opened.run_id, opened.test_evaluations) == (None, ())
    opened.run_id = "run-of-the-study"
    assert open_test_study().run_id == "run-of-the-study"
    opened.save_test_evaluation(1, '{"begun": 1}')
    assert open_test_study().test_evaluations == ('{"begun": 1}',)
    opened.save_test_evaluation(1, '{"ended": 1}')
    open_test_study().save_test_evaluation(2, '{"begun": 2}')
    assert opened.test_evaluations == ('{"ended": 1}', '{"begun": 2}')
    opened.save_test_evaluation(2, '{"ended": 2}')
    assert open_test_study().test_evaluations == ('{"ended": 1}', '{"ended": 2}')


def test_studies_of_two_names_do_not_mix(storage: str | None) -> None:
    one, two = (
        open_test_study("one", storage=storage),
        open_test_study("two", storage=storage, goal=PARETO_GOAL),
    )
    finish(one, (0.5,), {})
    finish(two, (0.75, 1.0, 2.0), {})
    ask(one)
    assert [trial.values for trial in one.trials] == [(0.5,), ()]
    again = open_test_study("two", storage=storage, goal=PARETO_GOAL)
    assert [trial.values for trial in again.trials] == [(0.75, 1.0, 2.0)]
    assert set(names(storage)) == {"one", "two"}


def test_names_creates_nothing(folder: Path) -> None:
    assert (names(None), list(folder.iterdir())) == ((), [])


# Best trials


LESS, MORE = {"max seconds": -1.0, "max memory": 0.0}, {"max seconds": -1.0, "max memory": 0.5}


@pytest.mark.parametrize(
    ("goal", "trials", "best"),
    [
        (ACCURACY_GOAL, [((0.95,), LESS), ((0.97,), LESS), ((0.99,), MORE), ((0.96,), LESS)], [1]),
        (ACCURACY_GOAL, [((0.5,), MORE)], []),
        (
            PARETO_GOAL,
            [
                ((0.95, 10.0, 500.0), LESS),
                ((0.99, 20.0, 500.0), LESS),
                ((0.99, 30.0, 400.0), LESS),
                ((0.94, 10.0, 500.0), LESS),  # the first is as fast, and better
                ((1.00, 1.0, 1.0), MORE),  # beats all, but is infeasible
            ],
            [0, 1, 2],
        ),
        (PARETO_GOAL, [((0.5, 1.0, 1.0), MORE)], []),
    ],
)
def test_best_is_feasible(
    goal: Goal, trials: list[tuple[tuple[float, ...], dict[str, float]]], best: list[int]
) -> None:
    opened = open_test_study(space=ONE_PARAMETER, goal=goal)
    assert opened.best == ()
    for values, missed in trials:
        finish(opened, values, missed)
    fail(opened)
    pruned, _ = ask(opened)
    if goal.prunes:
        pruned.report(0.995, 10)
    opened.optuna.tell(pruned, state=TrialState.PRUNED)
    ask(opened)  # runs
    assert [trial.number for trial in opened.best] == best


# Importances


@pytest.mark.parametrize("goal", [ACCURACY_GOAL, PARETO_GOAL], ids=["accuracy", "pareto"])
def test_importances_for_the_first_value(goal: Goal) -> None:
    opened = open_test_study(goal=goal)
    for trials in range(20):
        assert trials > 9 or opened.importances() == {}
        trial, chosen = ask(opened)
        values = [trial_value(chosen), float(chosen["batch_size"]), 1.0]
        opened.optuna.tell(trial, values[: len(goal.names)])
    found = opened.importances()
    assert set(found) <= set(SPACE_OF_ALL_KINDS.parameters)
    assert sum(found.values()) == pytest.approx(1)
    assert max(found, key=found.__getitem__) == "learning_rate"
    assert all(type(share) is float and 0 <= share <= 1 for share in found.values())


# Another spec


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"space": SPACE_OF_ALL_KINDS.model_copy(update={"steps": 101})}, "steps 100, now 101"),
        (
            {"space": ONE_PARAMETER.model_copy(update={"target_accuracy": 0.9})},
            (
                "batch_size 10 to 100, log, now none; dropout_rate 0 to 0.75, now none; "
                "shift_pixels 0 to 3, now none; schedule [constant, one-cycle], now none; "
                "batch_normalization [False, True], now none; average_decay [0, 0.9] when schedule "
                "in ['constant'], now none"
            ),
        ),
        ({"goal": TIME_GOAL}, "objective accuracy, now time-to-accuracy"),
        ({"goal": PARETO_GOAL}, "objective accuracy, now pareto"),
        (
            {"goal": Goal(objective="accuracy", max_seconds=1.0, max_memory_bytes=10**9)},
            "max_memory_bytes none, now 1000000000; max_seconds none, now 1.0",
        ),
        ({"images": "sha256:b"}, "another set of images"),
    ],
    ids=["steps", "parameters", "direction", "values", "constraint", "images"],
)
def test_another_spec_is_refused(change: dict[str, Any], what: str) -> None:
    opened = open_test_study(images="sha256:a")
    finish(opened, (0.5,), {})
    before = opened.trials
    with pytest.raises(BenchError) as caught:
        open_test_study(**change)
    assert str(caught.value) == (
        f"the study mine exists with other settings: {what}; choose another --study, or leave "
        "these options out: --resume takes the study's"
    )
    assert caught.value.exit_status == EXIT_USAGE
    assert open_test_study(images="sha256:a").trials == before  # and nothing of it was changed
    assert open_test_study(images=None).trials == before  # images of old studies are unknown


# Resuming: trials of dead processes, and of failed ones

HERE = "a-machine"


def resume(opened: Study, *recorded: RunResult, machine_id: str | None = HERE) -> list[str]:
    """Resume a study, of whose trials MLflow has these runs by seed; return what was logged."""
    lines: list[str] = []
    runs = {run.seed: run for run in recorded}
    opened.resume(machine_id, runs.get, lines.append)
    return lines


def leave(opened: Study, machine_id: str | None = HERE, **attributes: Any) -> dict[str, Value]:
    """Leave a trial RUNNING, as a process does that is killed; return its values."""
    trial, chosen = ask(opened)
    for name, value in {MACHINE_ID: machine_id, MACHINE: "Alpha", **attributes}.items():
        trial.set_user_attr(name, value)
    return chosen


def fail(opened: Study, **attributes: Any) -> None:
    """Fail a trial, as its objective does."""
    trial, _ = ask(opened)
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    opened.optuna.tell(trial, state=TrialState.FAIL)


def test_cut_off_trials_are_retried_once(storage: str | None) -> None:
    opened = open_test_study(storage=storage)
    chosen = [leave(opened), leave(opened)]
    again = open_test_study(storage=storage)
    assert resume(again) == [
        "the process of trial 0 died; retrying the trial",
        "the process of trial 1 died; retrying the trial",
    ]
    assert resume(again) == resume(open_test_study(storage=storage)) == []
    assert states(again) == ["failed", "failed", "waiting", "waiting"]
    assert [ask(again)[1] for _ in range(2)] == chosen
    trials = again.trials
    assert [trial.retry_of for trial in trials] == [None, None, 0, 1]
    assert [trial.is_papers for trial in trials] == [True, False, True, False]
    assert ask(again)[1] not in chosen
    assert again.trials[4].retry_of is None


def test_cut_off_retry_is_retried() -> None:
    leave(open_test_study())
    second = open_test_study()
    resume(second)
    leave(second)
    third = open_test_study()
    assert resume(third) == ["the process of trial 1 died; retrying the trial"]
    assert ask(third)[1] == PAPER_VALUES
    assert [trial.retry_of for trial in third.trials] == [None, 0, 1]
    assert [trial.is_papers for trial in third.trials] == [True, True, True]


def test_trial_that_had_ended_counts(storage: str | None) -> None:
    """Its process died after the end of its MLflow run, before it told the study."""
    goal = Goal(objective="accuracy", max_seconds=30.0)
    opened = open_test_study(storage=storage, goal=goal)
    chosen = leave(opened)
    for _ in range(3):
        leave(opened)
    again = open_test_study(storage=storage, goal=goal)
    lines = resume(
        again,
        run(seed=0, run_id="id", verdict="clean"),
        run(seed=1, status="pruned", evaluations=run(500).evaluations),
        run(seed=2, status="failed"),
        run(seed=3, status="killed", evaluations=()),
    )
    assert lines == [
        "trial 0 had ended before its process died: it counts",
        "trial 1 had ended before its process died: it counts",
        "the process of trial 2 died; retrying the trial",
        "the process of trial 3 died; retrying the trial",
    ]
    assert states(again) == ["finished", "pruned", "failed", "failed", "waiting", "waiting"]
    first, second = again.trials[:2]
    # The run's own seconds, not the time until the study was resumed.
    assert (first.values, first.seconds) == ((0.9,), 27.75)
    assert (first.chosen, first.run_id, first.verdict) == (chosen, "id", "clean")
    assert (first.train_seconds, first.peak_rss_bytes) == (20.0, 1_000 * 2**20 + 1_000)
    assert first.missed == {"max seconds": pytest.approx(-10.0)}
    assert second.missed == {"max seconds": pytest.approx(-20.0)}
    assert resume(again) == []


def test_recorded_run_of_a_retried_trial_does_not_count() -> None:
    """Its retry was queued already: both would count."""
    opened = open_test_study()
    leave(opened)
    opened.enqueue_retry(0)
    again = open_test_study()
    resume(again, run(seed=0))
    assert states(again) == ["failed", "waiting"]


@pytest.mark.parametrize(
    ("attributes", "retried"),
    [
        ({FAILED: True}, "failed"),
        ({FAILED: True, RETRY: 7}, None),
        ({FAILED: True, RETRY: 7, PAPER: True}, "failed"),
        ({}, "was cut off"),
        ({RETRY: 7}, "was cut off"),
        ({"superfluous": True}, None),
        ({"superfluous": True, PAPER: True}, None),
    ],
    ids=["failed", "again", "the paper's", "cut off", "cut off again", "redundant", "paper's twin"],
)
def test_failed_trial_is_retried_once(attributes: dict[str, Any], retried: str | None) -> None:
    opened = open_test_study()
    opened.optuna.tell(ask(opened)[0], 0.5)
    fail(opened, **attributes)
    again = open_test_study()
    expected = [f"trial 1 {retried}; retrying it"] if retried else []
    assert resume(again) == expected
    assert resume(again) == []
    waiting = again.trials[2:]
    assert [trial.retry_of for trial in waiting] == [1] * len(expected)
    if waiting:
        assert ask(again)[1] == again.trials[1].chosen
        assert waiting[0].is_papers == bool(attributes.get(PAPER))


def test_failed_repeat_keeps_its_values_and_is_a_repeat() -> None:
    opened = open_test_study()
    for value in (0.5, 0.9):
        opened.optuna.tell(ask(opened)[0], value)
    opened.enqueue_repeat(opened.trials[1])
    fail(opened, **{FAILED: True})
    resume(opened)
    assert ask(opened)[1] == opened.trials[1].chosen
    assert [(trial.repeat_of, trial.retry_of) for trial in opened.trials[2:]] == [(1, None), (1, 2)]


@pytest.mark.parametrize(
    ("suggestions", "repeats"), [(0, False), (3, False), (3, True)], ids=["0", "3", "repeat"]
)
def test_trial_that_died_before_it_had_all_values_keeps_them(
    monkeypatch: pytest.MonkeyPatch, suggestions: int, *, repeats: bool
) -> None:
    opened, expected = open_test_study(), PAPER_VALUES
    if repeats:
        opened.optuna.tell(ask(opened)[0], 0.5)
        trial, expected = ask(opened)
        opened.optuna.tell(trial, 0.9)
        opened.enqueue_repeat(opened.trials[1])
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
            ask(opened)
    again = open_test_study()
    resume(again)
    assert ask(again)[1] == expected
    assert again.trials[-1].is_papers is not repeats


def test_ended_and_waiting_trials_are_left_alone() -> None:
    opened = open_test_study()
    opened.optuna.tell(ask(opened)[0], 0.5)
    opened.optuna.tell(ask(opened)[0], state=TrialState.PRUNED)
    another = open_test_study("another")  # its first trial waits
    assert resume(opened) == resume(another) == []
    assert states(opened) == ["finished", "pruned"]
    assert states(another) == ["waiting"]


@pytest.mark.parametrize(
    ("step", "recorded"), [("enqueue_trial", ()), ("tell", ()), ("tell", (run(seed=0),))]
)
def test_kill_while_resuming_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, step: str, recorded: tuple[RunResult, ...]
) -> None:
    leave(open_test_study())
    first = open_test_study()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(first.optuna, step, killed)
    with pytest.raises(KeyboardInterrupt):
        resume(first, *recorded)
    again = open_test_study()
    resume(again, *recorded)
    assert states(again) == (["finished"] if recorded else ["failed", "waiting"])
    assert [trial.retry_of for trial in again.trials[1:]] == ([] if recorded else [0])


def test_trial_of_version_0_1_0_is_retried(storage: str | None) -> None:
    """Its process is known by `owner` only."""
    owner = {"machine_id": HERE, "boot_id": "boot/", "pid": 7, "started_at": 1.5}
    opened = open_test_study(storage=storage)
    trial, _ = ask(opened)
    trial.set_user_attr("owner", json.dumps(owner))
    assert opened.trials[0].machine_id == HERE
    again = open_test_study(storage=storage)
    assert resume(again) == ["the process of trial 0 died; retrying the trial"]
    elsewhere = json.dumps(owner | {"machine_id": "another"})
    ask(again)[0].set_user_attr("owner", elsewhere)
    assert again.trials[1].machine_id == "another"
    if storage is None:
        assert resume(again) == ["the process of trial 1 died; retrying the trial"]
    else:
        with pytest.raises(BenchError, match="trial 1 of the study mine is running on another"):
            resume(again)


def test_trial_that_runs_on_another_machine_is_refused(tmp_path: Path) -> None:
    storage = sqlite_url(tmp_path / "studies.db")
    opened = open_test_study(storage=storage)
    leave(opened, "another")
    leave(opened)
    again = open_test_study(storage=storage)
    with pytest.raises(BenchError) as caught:
        resume(again)
    assert str(caught.value) == (
        "trial 0 of the study mine is running on Alpha; wait until it ends there; if that machine "
        "is gone, try again in two minutes"
    )
    assert caught.value.exit_status == EXIT_USAGE
    # The own dead trial is settled all the same.
    assert states(again) == ["running", "failed", "waiting"]


def gone(trial: optuna.Trial) -> float:
    """Go away within a trial."""
    trial.set_user_attr(MACHINE_ID, "another")
    raise SystemExit


@pytest.mark.parametrize(
    ("machine_id", "recorded", "line", "expected"),
    [
        (HERE, (), "trial 0 was cut off; retrying it", ["failed", "waiting"]),
        (
            "another",
            (run(seed=0),),
            "trial 0 had ended before its process died: it counts",
            ["finished"],
        ),
    ],
    ids=["retried", "own trial that had ended"],
)
def test_trial_without_a_heartbeat_for_a_minute(
    tmp_path: Path, machine_id: str, recorded: tuple[RunResult, ...], line: str, expected: list[str]
) -> None:
    """Optuna fails those of other machines."""
    storage = sqlite_url(tmp_path / "studies.db")
    with pytest.raises(SystemExit):
        open_test_study(storage=storage).optuna.optimize(gone, n_trials=1)
    with closing(sqlite3.connect(tmp_path / "studies.db")) as connection, connection:
        connection.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-61 seconds')")
    again = open_test_study(storage=storage)
    assert resume(again, *recorded, machine_id=machine_id) == [line]
    assert states(again) == expected
    assert [trial.retry_of for trial in again.trials[1:]] == [0] * (len(expected) - 1)


# One command at a time


def test_study_that_another_command_works_on_is_refused(storage: str | None) -> None:
    with study_lock("mine", storage, pytest.fail):
        with pytest.raises(BenchError) as caught, study_lock("mine", storage, pytest.fail):
            pytest.fail("both hold it")
        assert str(caught.value) == (
            "another command is working on the study mine; wait until it ends, or choose another "
            "--study"
        )
        assert caught.value.exit_status == EXIT_USAGE
        with study_lock("another", storage, pytest.fail):
            pass
    with study_lock("mine", storage, pytest.fail):
        pass


def test_study_that_cannot_be_locked_is_opened_with_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unsupported(_descriptor: int, *, blocking: bool) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks, "lock_descriptor", unsupported)
    lines: list[str] = []
    with study_lock("mine", None, lines.append):
        pass
    (line,) = lines
    assert line.startswith("can't lock the study mine (the file system has no locks): make sure")


def test_kill_with_the_journal_lock_frees_it() -> None:
    code = """
import os, factories
study = factories.open_test_study()
write = os.fsync
os.fsync = lambda number: (write(number), os._exit(9))
study.optuna.ask()
"""
    killed = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=60, env=with_factories()
    )
    assert killed.returncode == 9
    assert open_test_study().trials  # without a wait


def test_times_are_compared_on_one_kind_of_machine_only() -> None:
    for name, goal in (("one", TIME_GOAL), ("two", ACCURACY_GOAL)):
        opened = open_test_study(name, goal=goal)
        for _ in range(2):
            opened.check_machine_kind("Alpha, 2 cores, 8 GiB")
    opened.check_machine_kind("Beta, 4 cores, 8 GiB")
    with pytest.raises(BenchError, match="the study one compares times and was started on Alpha"):
        open_test_study("one", goal=TIME_GOAL).check_machine_kind("Beta, 4 cores, 8 GiB")


# Storages that can't be used


def refusal(storage: str | None) -> BenchError:
    """Error of both ways to open a storage, which must be the same."""
    errors = []
    for attempt in (lambda: open_test_study(storage=storage), lambda: names(storage)):
        with pytest.raises(BenchError) as caught:
            attempt()
        errors.append(caught.value)
    assert errors[0].message == errors[1].message
    expected = EXIT_FAILURE if storage is None else EXIT_USAGE
    assert errors[0].exit_status == errors[1].exit_status == expected
    return errors[0]


def test_unreachable_database() -> None:
    port = free_port()
    errors = refusal(f"postgresql://somebody:hunter2@127.0.0.1:{port}/studies?sslmode=secret")
    assert errors.message.startswith(
        f"no database answers at postgresql://127.0.0.1:{port}/studies"
    )
    for private in ("hunter2", "somebody", "secret"):
        assert private not in str(errors)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing/studies.db", None, "no folder "),
        ("studies.db", b"no database" * 100, "file is not a database"),
    ],
)
def test_file_that_is_not_a_database(
    folder: Path, name: str, content: bytes | None, reason: str
) -> None:
    file = folder / name
    if content:
        file.write_bytes(content)
    errors = refusal(sqlite_url(file))
    assert str(file.parent) in errors.message
    assert reason in errors.message
    assert file.exists() == file.parent.exists() == bool(content)
    assert not content or file.read_bytes() == content


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
            "write it like sqlite:///FILE.db or postgresql://user@host/NAME"
        )


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
        lambda: opened.trials,
        lambda: opened.best,
        lambda: opened.enqueue_retry(0),
        lambda: resume(opened),
    ):
        with pytest.raises(BenchError) as caught:
            attempt()
        assert caught.value.exit_status == EXIT_FAILURE
        assert re.match(r"sqlite:///.*studies\.db can't be used: ", caught.value.message)


def test_study_deleted_meanwhile(tmp_path: Path) -> None:
    storage = sqlite_url(tmp_path / "studies.db")
    opened = open_test_study(storage=storage)
    optuna.delete_study(study_name="mine", storage=storage)
    for attempt in (lambda: opened.trials, lambda: opened.commands):
        with pytest.raises(BenchError, match=r"studies\.db can't be used: .*does not exist"):
            attempt()


def test_own_bug_is_not_reported_as_storage_error(tmp_path: Path) -> None:
    opened = open_test_study(storage=sqlite_url(tmp_path / "studies.db"))
    leave(opened)
    with pytest.raises(KeyError, match="a bug"):
        opened.resume(HERE, mock.Mock(side_effect=KeyError("a bug")), pytest.fail)
    with pytest.raises(IndexError):
        opened.enqueue_retry(7)  # there is no such trial


def test_a_journal_that_is_a_folder() -> None:
    JOURNAL.mkdir(parents=True)
    errors = refusal(None)
    assert errors.message.startswith("can't use the study's journal mlruns/optuna.log: ")
    assert errors.hint == "make it readable and writable"


@pytest.mark.parametrize(
    "content",
    [
        *(b"not\na journal\n", b"\xff\xfe\n", b"5\n", b'{"op_code": 99}\n', b'{"op_code": 0}\n'),
        *(b"[" * 200_000 + b"\n", b"[" + b"1," * 5_000_000 + b"1]\n", bytes(5 * 2**20), b"[]\n"),
        *(b"NaN\n", b'{"op_code": ' + b"9" * 100_000 + b"}\n"),
    ],
)  # fmt: skip
def test_a_journal_of_garbage(content: bytes) -> None:
    JOURNAL.parent.mkdir()
    JOURNAL.write_bytes(content)
    with pytest.raises(BenchError) as caught:
        open_test_study()
    assert caught.value.exit_status == EXIT_FAILURE
    assert "mlruns/optuna.log" in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="needs special files")
@pytest.mark.parametrize("place", ["optuna.log", "optuna.flock"])
@pytest.mark.parametrize("kind", ["a FIFO", "a device", "a link"])
def test_journal_that_others_replaced(tmp_path: Path, place: str, kind: str) -> None:
    JOURNAL.parent.mkdir()
    JOURNAL.touch()
    path, victim = JOURNAL.with_name(place), tmp_path / "victim"
    victim.write_text("text", encoding="ascii")
    path.unlink(missing_ok=True)
    if kind == "a FIFO":
        if place == "optuna.flock":
            pytest.skip("a lock file is not read")
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "a device" else victim)
    with pytest.raises(BenchError, match=r"mlruns/optuna\.log: it is (a symbolic|not a regular)"):
        names(None)
    assert victim.read_text(encoding="ascii") == "text"


def test_journal_with_a_torn_last_line() -> None:
    """After a full disk: resuming works or raises a BenchError, but never crashes."""
    opened = open_test_study()
    finish(opened, (0.5,), {})
    with JOURNAL.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"0a')
    try:
        finish(open_test_study(), (0.75,), {})
    except BenchError as error:
        assert error.exit_status == EXIT_FAILURE  # noqa: PT017 - either may come
    else:
        assert [trial.values for trial in open_test_study().trials] == [(0.5,), (0.75,)]
