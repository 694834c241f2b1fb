"""Goals of a study: values and constraints of hand-made runs."""

from __future__ import annotations

from typing import Any

import pytest
from factories import run
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.core.errors import EXIT_USAGE, BenchError
from mnist_bench.core.limits import OBJECTIVES, Objective
from mnist_bench.results.run import Evaluation, RunResult
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.trial import StudyTrial


def at(step: int, validation: float, seconds: float, test: float | None = None) -> Evaluation:
    """An evaluation; those of a trial have no test accuracy."""
    return Evaluation(
        step=step,
        test_accuracy=test,
        validation_accuracy=validation,
        train_loss=0.125,
        train_seconds=seconds,
    )


def trial(*evaluations: Evaluation, **changes: Any) -> RunResult:
    """A finished trial with a grid of every tenth step."""
    values = {"eval_first": 10, "eval_every": 10, "peak_rss_bytes": 1_000}
    steps = evaluations[-1].step if evaluations else 30
    return run(steps, evaluations=evaluations, **(values | changes))


# It ends lower than it was before.
TRIAL = trial(at(10, 0.9, 1.0), at(20, 0.97, 2.0), at(30, 0.96, 3.0))


def goal(objective: Objective = "accuracy", **changes: Any) -> Goal:
    return Goal(objective=objective, **changes)


def time_goal(target: float = 0.95, **changes: Any) -> Goal:
    return Goal(objective="time-to-accuracy", target_accuracy=target, **changes)


# Names and directions


@pytest.mark.parametrize(
    ("objective", "names", "directions"),
    [
        ("accuracy", ("validation accuracy",), ("maximize",)),
        ("time-to-accuracy", ("train seconds to the target",), ("minimize",)),
        (
            "pareto",
            ("validation accuracy", "train seconds", "peak RSS"),
            ("maximize", "minimize", "minimize"),
        ),
    ],
)
def test_names_and_directions(
    objective: Objective, names: tuple[str, ...], directions: tuple[str, ...]
) -> None:
    assert goal(objective).names == names
    assert goal(objective).directions == directions


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_value_for_each_name(objective: Objective) -> None:
    goal_of_study = goal(objective, target_accuracy=0.95)
    assert (
        len(goal_of_study.values(TRIAL))
        == len(goal_of_study.names)
        == len(goal_of_study.directions)
    )


def test_pareto_does_not_prune() -> None:
    assert [goal(objective).prunes for objective in OBJECTIVES] == [True, True, False]


def test_time_to_accuracy_needs_a_target() -> None:
    with pytest.raises(BenchError) as caught:
        goal("time-to-accuracy").check()
    assert caught.value.exit_status == EXIT_USAGE
    assert caught.value.message == (
        "--objective time-to-accuracy: the search space names no target_accuracy"
    )
    assert caught.value.hint == "add it to the space file, like target_accuracy = 0.99"
    with pytest.raises(ValueError, match="the goal has no target"):
        goal("time-to-accuracy").values(TRIAL)


def test_other_goals_need_no_target() -> None:
    goal("accuracy").check()
    goal("pareto").check()
    time_goal().check()


# Counted evaluation


def test_last_evaluation_counts_not_the_best() -> None:
    assert goal().counted(TRIAL) == at(30, 0.96, 3.0)
    assert goal().values(TRIAL) == (0.96,)


@pytest.mark.parametrize(
    ("seconds", "step"),
    [
        (100.0, 30),
        (3.0, 30),
        (2.999, 20),
        (2.0, 20),
        (1.999, 10),
        (0.5, 10),  # none within the budget: the first one counts
    ],
)
def test_last_evaluation_within_the_budget_counts(seconds: float, step: int) -> None:
    goal_of_study = goal(train_seconds=seconds)
    assert goal_of_study.counted(TRIAL).step == step
    assert goal_of_study.values(TRIAL) == ({10: 0.9, 20: 0.97, 30: 0.96}[step],)


def test_run_without_evaluations_raises() -> None:
    for objective in OBJECTIVES:
        goal_of_study = goal(objective, target_accuracy=0.95)
        with pytest.raises(ValueError, match="the run has no evaluation"):
            goal_of_study.counted(trial())
    with pytest.raises(ValueError, match="the run has no evaluation"):
        goal().values(trial())


@st.composite
def scored_trials(draw: st.DrawFn) -> RunResult:
    """A trial with a few evaluations."""
    accuracies = draw(st.lists(st.integers(0, 5_000), min_size=1, max_size=8))
    paces = draw(st.lists(st.integers(1, 100), min_size=len(accuracies), max_size=len(accuracies)))
    return trial(
        *(
            at(10 * (number + 1), right / 5_000, sum(paces[: number + 1]) / 10)
            for number, right in enumerate(accuracies)
        )
    )


@given(scored_trials(), st.floats(0.1, 100))
def test_counted_evaluation_is_within_the_budget(trial_run: RunResult, seconds: float) -> None:
    counted = goal(train_seconds=seconds).counted(trial_run)
    later = [each for each in trial_run.evaluations if each.step > counted.step]
    assert all(each.train_seconds > seconds for each in later)
    if counted.train_seconds > seconds:
        assert counted == trial_run.evaluations[0]


# Values


@pytest.mark.parametrize(
    ("target", "seconds", "missed"),
    [
        (0.9, 1.0, -0.07),  # at the first evaluation; the best is 0.97
        (0.95, 2.0, -0.02),
        (0.97, 2.0, 0.0),
        (0.98, 3.0, 0.01),  # never: all its seconds, and a violated constraint
    ],
)
def test_time_to_a_target(target: float, seconds: float, missed: float) -> None:
    assert time_goal(target).values(TRIAL) == (seconds,)
    assert time_goal(target).constraints(TRIAL) == pytest.approx({"target accuracy": missed})


def test_target_reached_exactly_is_met() -> None:
    assert time_goal(0.97).constraints(TRIAL)["target accuracy"] <= 0


def test_target_reached_once_counts() -> None:
    # Only the first time matters.
    fell = trial(at(10, 0.96, 1.0), at(20, 0.5, 2.0))
    assert time_goal(0.95).values(fell) == (1.0,)
    assert time_goal(0.95).constraints(fell)["target accuracy"] <= 0


def test_target_reached_after_the_last_step_off_the_grid() -> None:
    trial_run = trial(at(10, 0.9, 1.0), at(15, 0.96, 1.5))
    assert time_goal(0.95).values(trial_run) == (1.5,)
    assert time_goal(0.95).constraints(trial_run)["target accuracy"] <= 0


@given(scored_trials(), st.integers(1, 5_000).map(lambda right: right / 5_000))
def test_target_is_met_if_ever_reached(trial_run: RunResult, target: float) -> None:
    reached = [e.train_seconds for e in trial_run.evaluations if e.validation_accuracy >= target]
    result = time_goal(target).constraints(trial_run)["target accuracy"] <= 0
    assert result == bool(reached)
    total = trial_run.evaluations[-1].train_seconds
    assert time_goal(target).values(trial_run) == (min(reached, default=total),)


def test_pareto_values() -> None:
    assert goal("pareto").values(TRIAL) == (0.96, 3.0, 1_000)


def test_pareto_values_within_the_budget() -> None:
    # Peak memory is of the whole process.
    assert goal("pareto", train_seconds=2.5).values(TRIAL) == (0.97, 2.0, 1_000)


def test_unknown_peak_is_the_worst() -> None:
    unknown = TRIAL.model_copy(update={"peak_rss_bytes": None})
    assert goal("pareto").values(unknown) == (0.96, 3.0, 1e30)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("test", [0.0, 0.99, 1.0])
def test_test_accuracy_has_no_influence(objective: Objective, test: float) -> None:
    looked = trial(at(10, 0.9, 1.0, test), at(20, 0.97, 2.0, test), at(30, 0.96, 3.0, test))
    goal_of_study = goal(objective, target_accuracy=0.95, max_memory_bytes=900, max_seconds=2.5)
    assert goal_of_study.values(looked) == goal_of_study.values(TRIAL)
    assert goal_of_study.constraints(looked) == goal_of_study.constraints(TRIAL)
    reported = [goal_of_study.progress(each) for each in looked.evaluations]
    assert reported == [goal_of_study.progress(each) for each in TRIAL.evaluations]


# Constraints


def test_no_constraints() -> None:
    assert goal().constraints(TRIAL) == goal("pareto").constraints(TRIAL) == {}


@pytest.mark.parametrize(("most", "missed"), [(900, 100.0), (1_000, 0.0), (1_100, -100.0)])
def test_memory_constraint(most: int, missed: float) -> None:
    assert goal(max_memory_bytes=most).constraints(TRIAL) == {"max memory": missed}


def test_unknown_peak_violates_the_memory_constraint() -> None:
    unknown = TRIAL.model_copy(update={"peak_rss_bytes": None})
    assert goal(max_memory_bytes=2**60).constraints(unknown)["max memory"] > 0


@pytest.mark.parametrize(("most", "missed"), [(2.5, 0.5), (3.0, 0.0), (4.0, -1.0)])
def test_seconds_constraint(most: float, missed: float) -> None:
    assert goal(max_seconds=most).constraints(TRIAL) == {"max seconds": missed}


def test_seconds_constraint_uses_the_counted_evaluation() -> None:
    # It trained for 3 s, but the counted evaluation is at 2 s.
    goal_of_study = goal(train_seconds=2.5, max_seconds=2.25)
    assert goal_of_study.constraints(TRIAL) == {"max seconds": -0.25}


def test_all_constraints() -> None:
    goal_of_study = time_goal(0.98, max_memory_bytes=999, max_seconds=2.0)
    assert goal_of_study.constraints(TRIAL) == pytest.approx(
        {"max memory": 1.0, "max seconds": 1.0, "target accuracy": 0.01}
    )


# Progress


def test_percent() -> None:
    assert goal().percent(at(29, 0.9, 7.0), 30) == 96
    assert goal().percent(at(29, 0.9, 7.0), 100) == 29  # 0.29 * 100 is a little less
    assert goal(train_seconds=10.0).percent(at(3, 0.9, 7.0), 30) == 70
    assert goal(train_seconds=10.0).percent(at(24, 0.9, 7.0), 30) == 80
    assert goal(train_seconds=10.0).percent(at(3, 0.9, 11.0), 30) >= 100


def test_only_time_to_accuracy_has_an_aim() -> None:
    assert time_goal(0.95).aim == 0.95
    assert goal(target_accuracy=0.95).aim is None
    assert time_goal(0.95).is_reached(at(3, 0.95, 1.0))
    assert not time_goal(0.95).is_reached(at(3, 0.9499, 1.0))
    assert not goal(target_accuracy=0.95).is_reached(at(3, 0.99, 1.0))


def test_progress() -> None:
    assert goal().progress(at(10, 0.75, 1.0)) == 0.75
    assert time_goal().progress(at(10, 0.75, 1.0)) == 0.25


@given(st.integers(0, 4_999), st.integers(1, 5_000))
def test_progress_follows_the_direction(right: int, more: int) -> None:
    worse, better = at(10, right / 5_000, 1.0), at(10, (right + more) / 5_000, 1.0)
    assert goal().directions == ("maximize",)
    assert goal().progress(better) > goal().progress(worse)
    assert time_goal().directions == ("minimize",)
    assert time_goal().progress(better) < time_goal().progress(worse)


@pytest.mark.parametrize("goal_of_study", [goal("pareto"), goal(max_memory_bytes=900)])
def test_study_accepts_an_unknown_peak(goal_of_study: Goal) -> None:
    unknown = TRIAL.model_copy(update={"peak_rss_bytes": None})
    result = StudyTrial(
        number=0,
        state="finished",
        chosen={},
        values=goal_of_study.values(unknown),
        missed=goal_of_study.constraints(unknown),
    )
    assert StudyTrial.model_validate_json(result.model_dump_json()) == result
    assert result.is_feasible == (goal_of_study.max_memory_bytes is None)


def test_target_reached_after_the_budget_is_not_met() -> None:
    # In its 1.5 s it got to 0.9; that it was at 0.97 after 2 s does not count.
    goal_of_study = time_goal(0.95, train_seconds=1.5)
    assert goal_of_study.constraints(TRIAL) == pytest.approx({"target accuracy": 0.05})


def test_unreached_target_is_not_faster_than_a_reached_one() -> None:
    goal_of_study = time_goal(0.95, train_seconds=1.5)
    never = trial(at(10, 0.9, 1.0), at(20, 0.91, 2.0), at(30, 0.92, 3.0))
    assert goal_of_study.values(never) >= goal_of_study.values(TRIAL)


# Too late


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_trial_past_max_seconds_is_too_late(objective: Objective) -> None:
    limited = goal(objective, target_accuracy=0.9, max_seconds=2.0)
    assert [limited.is_too_late(at(10, 0.99, seconds)) for seconds in (1.9, 2.0, 2.1)] == [
        False, False, True,
    ]  # fmt: skip
    assert not goal(objective, target_accuracy=0.9).is_too_late(at(10, 0.99, 1e6))


# Shared studies


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        (Goal(objective="accuracy"), False),
        (Goal(objective="accuracy", max_memory_bytes=9), False),
        (Goal(objective="accuracy", max_seconds=9.0), True),
        (Goal(objective="accuracy", train_seconds=9.0), True),
        (Goal(objective="time-to-accuracy", target_accuracy=0.9), True),
        (Goal(objective="pareto"), True),
    ],
)
def test_compares_times(goal: Goal, expected: bool) -> None:  # noqa: FBT001
    assert goal.compares_times is expected
    goal.check_machine_kind("ours", "a laptop", "a laptop")
    if not expected:
        goal.check_machine_kind("ours", "a laptop", "a server")
        return
    with pytest.raises(
        BenchError, match=r"ours compares times and was started on a laptop: .*serv"
    ):
        goal.check_machine_kind("ours", "a laptop", "a server")
