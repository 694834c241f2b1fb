"""What a study is after: what a run is worth to it, on hand-made runs."""

from __future__ import annotations

from typing import Any

import pytest
from factories import run
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.core.errors import EXIT_WRONG_REQUEST, BenchError
from mnist_bench.core.limits import OBJECTIVES, Objective
from mnist_bench.results.run import Evaluation, RunResult
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.trial import StudyTrial


def at(step: int, validation: float, seconds: float, test: float | None = None) -> Evaluation:
    """A scoring; a trial's has no test accuracy."""
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


def timed(target: float = 0.95, **changes: Any) -> Goal:
    return Goal(objective="time-to-accuracy", target_accuracy=target, **changes)


# What is weighed


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
    asked = goal(objective, target_accuracy=0.95)
    assert len(asked.values(TRIAL)) == len(asked.names) == len(asked.directions)


def test_a_trade_off_ends_no_trial_early() -> None:
    assert [goal(objective).prunes for objective in OBJECTIVES] == [True, True, False]


def test_a_time_without_a_target() -> None:
    with pytest.raises(BenchError) as caught:
        goal("time-to-accuracy").check()
    assert caught.value.exit_status == EXIT_WRONG_REQUEST
    assert caught.value.message == (
        "--objective time-to-accuracy: the search space names no target_accuracy"
    )
    assert caught.value.hint == "add it to the space file, like target_accuracy = 0.99"
    with pytest.raises(ValueError, match="the goal has no target"):
        goal("time-to-accuracy").values(TRIAL)


def test_other_goals_need_no_target() -> None:
    goal("accuracy").check()
    goal("pareto").check()
    timed().check()


# The scoring that counts


def test_the_last_scoring_counts_and_not_the_best() -> None:
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
        (0.5, 10),  # nothing was scored in time: the first stands for it
    ],
)
def test_the_last_scoring_within_the_seconds_counts(seconds: float, step: int) -> None:
    asked = goal(train_seconds=seconds)
    assert asked.counted(TRIAL).step == step
    assert asked.values(TRIAL) == ({10: 0.9, 20: 0.97, 30: 0.96}[step],)


def test_a_run_that_was_never_scored_counts_nothing() -> None:
    for objective in OBJECTIVES:
        asked = goal(objective, target_accuracy=0.95)
        with pytest.raises(ValueError, match="the run was never scored"):
            asked.counted(trial())
    with pytest.raises(ValueError, match="the run was never scored"):
        goal().values(trial())


@st.composite
def scored(draw: st.DrawFn) -> RunResult:
    """A trial, scored a few times."""
    accuracies = draw(st.lists(st.integers(0, 5_000), min_size=1, max_size=8))
    paces = draw(st.lists(st.integers(1, 100), min_size=len(accuracies), max_size=len(accuracies)))
    return trial(
        *(
            at(10 * (number + 1), right / 5_000, sum(paces[: number + 1]) / 10)
            for number, right in enumerate(accuracies)
        )
    )


@given(scored(), st.floats(0.1, 100))
def test_what_counts_lies_within_the_seconds(ran: RunResult, seconds: float) -> None:
    counted = goal(train_seconds=seconds).counted(ran)
    later = [each for each in ran.evaluations if each.step > counted.step]
    assert all(each.train_seconds > seconds for each in later)
    if counted.train_seconds > seconds:
        assert counted == ran.evaluations[0]


# What a run is worth


@pytest.mark.parametrize(
    ("target", "seconds", "missed"),
    [
        (0.9, 1.0, -0.07),  # at the first scoring; the best is 0.97
        (0.95, 2.0, -0.02),
        (0.97, 2.0, 0.0),
        (0.98, 3.0, 0.01),  # never: all its seconds, and a constraint that was not kept
    ],
)
def test_time_to_a_target(target: float, seconds: float, missed: float) -> None:
    assert timed(target).values(TRIAL) == (seconds,)
    assert timed(target).constraints(TRIAL) == pytest.approx({"target accuracy": missed})


def test_a_target_that_is_just_reached_is_kept() -> None:
    assert timed(0.97).constraints(TRIAL)["target accuracy"] <= 0


def test_a_target_that_is_reached_for_a_moment_counts() -> None:
    # What is asked is when it is first reached, not whether it stays there.
    fell = trial(at(10, 0.96, 1.0), at(20, 0.5, 2.0))
    assert timed(0.95).values(fell) == (1.0,)
    assert timed(0.95).constraints(fell)["target accuracy"] <= 0


def test_a_target_reached_after_the_last_step_off_the_grid() -> None:
    ran = trial(at(10, 0.9, 1.0), at(15, 0.96, 1.5))
    assert timed(0.95).values(ran) == (1.5,)
    assert timed(0.95).constraints(ran)["target accuracy"] <= 0


@given(scored(), st.integers(1, 5_000).map(lambda right: right / 5_000))
def test_a_target_is_kept_where_it_was_ever_reached(ran: RunResult, target: float) -> None:
    reached = [e.train_seconds for e in ran.evaluations if e.validation_accuracy >= target]
    kept = timed(target).constraints(ran)["target accuracy"] <= 0
    assert kept == bool(reached)
    total = ran.evaluations[-1].train_seconds
    assert timed(target).values(ran) == (min(reached, default=total),)


def test_a_trade_off() -> None:
    assert goal("pareto").values(TRIAL) == (0.96, 3.0, 1_000)


def test_a_trade_off_within_the_seconds() -> None:
    # Memory is that of the whole process: it grew before the seconds were over or after.
    assert goal("pareto", train_seconds=2.5).values(TRIAL) == (0.97, 2.0, 1_000)


def test_an_unknown_peak_is_the_worst() -> None:
    unknown = TRIAL.model_copy(update={"peak_rss_bytes": None})
    assert goal("pareto").values(unknown) == (0.96, 3.0, 1e30)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("test", [0.0, 0.99, 1.0])
def test_test_accuracy_moves_nothing(objective: Objective, test: float) -> None:
    looked = trial(at(10, 0.9, 1.0, test), at(20, 0.97, 2.0, test), at(30, 0.96, 3.0, test))
    asked = goal(objective, target_accuracy=0.95, max_memory_bytes=900, max_seconds=2.5)
    assert asked.values(looked) == asked.values(TRIAL)
    assert asked.constraints(looked) == asked.constraints(TRIAL)
    seen = [asked.progress(each) for each in looked.evaluations]
    assert seen == [asked.progress(each) for each in TRIAL.evaluations]


# Constraints


def test_no_constraints() -> None:
    assert goal().constraints(TRIAL) == goal("pareto").constraints(TRIAL) == {}


@pytest.mark.parametrize(("most", "missed"), [(900, 100.0), (1_000, 0.0), (1_100, -100.0)])
def test_memory_constraint(most: int, missed: float) -> None:
    assert goal(max_memory_bytes=most).constraints(TRIAL) == {"max memory": missed}


def test_an_unknown_peak_keeps_no_limit() -> None:
    unknown = TRIAL.model_copy(update={"peak_rss_bytes": None})
    assert goal(max_memory_bytes=2**60).constraints(unknown)["max memory"] > 0


@pytest.mark.parametrize(("most", "missed"), [(2.5, 0.5), (3.0, 0.0), (4.0, -1.0)])
def test_seconds_constraint(most: float, missed: float) -> None:
    assert goal(max_seconds=most).constraints(TRIAL) == {"max seconds": missed}


def test_seconds_constraint_is_of_the_scoring_that_counts() -> None:
    # It trained for 3 s, but what counts was had after 2 s.
    asked = goal(train_seconds=2.5, max_seconds=2.25)
    assert asked.constraints(TRIAL) == {"max seconds": -0.25}


def test_all_constraints() -> None:
    asked = timed(0.98, max_memory_bytes=999, max_seconds=2.0)
    assert asked.constraints(TRIAL) == pytest.approx(
        {"max memory": 1.0, "max seconds": 1.0, "target accuracy": 0.01}
    )


# Progress


def test_how_far_a_trial_is() -> None:
    assert goal().percent(at(29, 0.9, 7.0), 30) == 96
    assert goal().percent(at(29, 0.9, 7.0), 100) == 29  # 0.29 * 100 is a little less
    assert goal(train_seconds=10.0).percent(at(3, 0.9, 7.0), 30) == 70
    assert goal(train_seconds=10.0).percent(at(24, 0.9, 7.0), 30) == 80
    assert goal(train_seconds=10.0).percent(at(3, 0.9, 11.0), 30) >= 100


def test_a_target_is_an_aim_of_time_alone() -> None:
    assert timed(0.95).aim == 0.95
    assert goal(target_accuracy=0.95).aim is None
    assert timed(0.95).is_reached(at(3, 0.95, 1.0))
    assert not timed(0.95).is_reached(at(3, 0.9499, 1.0))
    assert not goal(target_accuracy=0.95).is_reached(at(3, 0.99, 1.0))


def test_progress() -> None:
    assert goal().progress(at(10, 0.75, 1.0)) == 0.75
    assert timed().progress(at(10, 0.75, 1.0)) == 0.25


@given(st.integers(0, 4_999), st.integers(1, 5_000))
def test_progress_goes_the_objectives_way(right: int, more: int) -> None:
    worse, better = at(10, right / 5_000, 1.0), at(10, (right + more) / 5_000, 1.0)
    assert goal().directions == ("maximize",)
    assert goal().progress(better) > goal().progress(worse)
    assert timed().directions == ("minimize",)
    assert timed().progress(better) < timed().progress(worse)


@pytest.mark.parametrize("asked", [goal("pareto"), goal(max_memory_bytes=900)])
def test_a_study_keeps_a_trial_of_unknown_peak(asked: Goal) -> None:
    unknown = TRIAL.model_copy(update={"peak_rss_bytes": None})
    kept = StudyTrial(
        number=0,
        state="finished",
        chosen={},
        values=asked.values(unknown),
        missed=asked.constraints(unknown),
    )
    assert StudyTrial.model_validate_json(kept.model_dump_json()) == kept
    assert kept.is_feasible == (asked.max_memory_bytes is None)


def test_a_target_reached_past_the_seconds_is_not_kept() -> None:
    # In its 1.5 s it got to 0.9; that it was at 0.97 after 2 s does not count.
    asked = timed(0.95, train_seconds=1.5)
    assert asked.constraints(TRIAL) == pytest.approx({"target accuracy": 0.05})


def test_a_target_that_was_never_reached_is_no_faster_than_one_that_was() -> None:
    asked = timed(0.95, train_seconds=1.5)
    never = trial(at(10, 0.9, 1.0), at(20, 0.91, 2.0), at(30, 0.92, 3.0))
    assert asked.values(never) >= asked.values(TRIAL)


# Too late


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_trial_past_its_seconds_can_be_no_answer(objective: Objective) -> None:
    limited = goal(objective, target_accuracy=0.9, max_seconds=2.0)
    assert [limited.is_too_late(at(10, 0.99, seconds)) for seconds in (1.9, 2.0, 2.1)] == [
        False, False, True,
    ]  # fmt: skip
    assert not goal(objective, target_accuracy=0.9).is_too_late(at(10, 0.99, 1e6))


# Machines that share a study


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
def test_which_goals_depend_on_how_fast_a_machine_is(goal: Goal, expected: bool) -> None:  # noqa: FBT001
    assert goal.compares_times is expected
    goal.check_kinds("ours", "a laptop", "a laptop")
    if not expected:
        goal.check_kinds("ours", "a laptop", "a server")
        return
    with pytest.raises(BenchError, match=r"ours compares times, and was begun on a laptop: .*serv"):
        goal.check_kinds("ours", "a laptop", "a server")
