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


def at(step: int, validation: float, seconds: float, test: float | None = None) -> Evaluation:
    """An evaluation; those of a trial have no test accuracy."""
    return Evaluation(
        step=step, test_accuracy=test, validation_accuracy=validation, train_loss=0.125,
        train_seconds=seconds,
    )  # fmt: skip


def trial(*evaluations: Evaluation, **changes: Any) -> RunResult:
    """A finished trial with a grid of every tenth step."""
    values = {"eval_first": 10, "eval_every": 10, "peak_rss_bytes": 1_000}
    steps = evaluations[-1].step if evaluations else 30
    return run(steps, evaluations=evaluations, **(values | changes))


# It ends lower than it was before.
TRIAL = trial(at(10, 0.9, 1.0), at(20, 0.97, 2.0), at(30, 0.96, 3.0))
UNKNOWN_PEAK = TRIAL.model_copy(update={"peak_rss_bytes": None})


def goal(objective: Objective = "accuracy", **changes: Any) -> Goal:
    return Goal(objective=objective, **changes)


def time_goal(target: float = 0.95, **changes: Any) -> Goal:
    return Goal(objective="time-to-accuracy", target_accuracy=target, **changes)


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
    of_study = goal(objective, target_accuracy=0.95)
    assert (of_study.names, of_study.directions) == (names, directions)
    assert len(of_study.values(TRIAL)) == len(names)
    assert of_study.prunes is (objective != "pareto")
    of_study.check()


def test_time_to_accuracy_needs_a_target() -> None:
    with pytest.raises(BenchError) as caught:
        goal("time-to-accuracy").check()
    assert caught.value.exit_status == EXIT_USAGE
    assert caught.value.message == (
        "--objective time-to-accuracy: the search space names no target_accuracy"
    )
    assert caught.value.hint == "add it to the space file, like target_accuracy = 0.99"
    goal("accuracy").check()


# Counted evaluation


@pytest.mark.parametrize(
    ("seconds", "step", "value"),
    [
        (None, 30, 0.96),  # the last one, not the best
        (3.0, 30, 0.96),
        (2.999, 20, 0.97),
        (2.0, 20, 0.97),
        (1.999, 10, 0.9),
        (0.5, 10, 0.9),  # none within the budget: the first one counts
    ],
)
def test_last_evaluation_within_the_budget_counts(
    seconds: float | None, step: int, value: float
) -> None:
    limited = goal(train_seconds=seconds)
    assert limited.counted(TRIAL).step == step
    assert limited.values(TRIAL) == (value,)


def test_run_without_evaluations_raises() -> None:
    with pytest.raises(ValueError, match="the run has no evaluation"):
        goal().counted(trial())


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


# Values and constraints


@pytest.mark.parametrize(
    ("limits", "seconds", "missed"),
    [
        ({"target": 0.9}, 1.0, -0.07),  # at the first evaluation; the best is 0.97
        ({"target": 0.95}, 2.0, -0.02),
        ({"target": 0.97}, 2.0, 0.0),
        ({"target": 0.98}, 3.0, 0.01),  # never: all its seconds, and a violated constraint
        # In its 1.5 s it got to 0.9; that it was at 0.97 after 2 s does not count.
        ({"target": 0.95, "train_seconds": 1.5}, 3.0, 0.05),
    ],
)
def test_time_to_a_target(limits: dict[str, Any], seconds: float, missed: float) -> None:
    assert time_goal(**limits).values(TRIAL) == (seconds,)
    assert time_goal(**limits).constraints(TRIAL) == pytest.approx({"target accuracy": missed})


def test_target_reached_after_the_last_step_off_the_grid() -> None:
    trial_run = trial(at(10, 0.9, 1.0), at(15, 0.96, 1.5))
    assert time_goal(0.95).values(trial_run) == (1.5,)
    assert time_goal(0.95).constraints(trial_run)["target accuracy"] <= 0


@given(scored_trials(), st.integers(1, 5_000).map(lambda right: right / 5_000))
def test_target_is_met_if_ever_reached(trial_run: RunResult, target: float) -> None:
    reached = [e.train_seconds for e in trial_run.evaluations if e.validation_accuracy >= target]
    is_met = time_goal(target).constraints(trial_run)["target accuracy"] <= 0
    assert is_met == bool(reached)
    total = trial_run.evaluations[-1].train_seconds
    assert time_goal(target).values(trial_run) == (min(reached, default=total),)


@pytest.mark.parametrize(
    ("of_run", "limits", "values"),
    [
        (TRIAL, {}, (0.96, 3.0, 1_000)),
        (TRIAL, {"train_seconds": 2.5}, (0.97, 2.0, 1_000)),  # peak memory: of the whole process
        (UNKNOWN_PEAK, {}, (0.96, 3.0, 1e30)),  # the worst
    ],
)
def test_pareto_values(
    of_run: RunResult, limits: dict[str, Any], values: tuple[float, ...]
) -> None:
    assert goal("pareto", **limits).values(of_run) == values


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_test_accuracy_has_no_influence(objective: Objective) -> None:
    of_study = goal(objective, target_accuracy=0.95, max_memory_bytes=900, max_seconds=2.5)
    for test in (0.0, 0.99, 1.0):
        looked = trial(at(10, 0.9, 1.0, test), at(20, 0.97, 2.0, test), at(30, 0.96, 3.0, test))
        assert of_study.values(looked) == of_study.values(TRIAL)
        assert of_study.constraints(looked) == of_study.constraints(TRIAL)
        reported = [of_study.progress(each) for each in looked.evaluations]
        assert reported == [of_study.progress(each) for each in TRIAL.evaluations]


@pytest.mark.parametrize(
    ("of_study", "missed"),
    [
        (goal(), {}),
        (goal("pareto"), {}),
        (goal(max_memory_bytes=900), {"max memory": 100.0}),
        (goal(max_memory_bytes=1_000), {"max memory": 0.0}),
        (goal(max_memory_bytes=1_100), {"max memory": -100.0}),
        (goal(max_seconds=2.5), {"max seconds": 0.5}),
        (goal(max_seconds=3.0), {"max seconds": 0.0}),
        # It trained for 3 s, but the counted evaluation is at 2 s.
        (goal(train_seconds=2.5, max_seconds=2.25), {"max seconds": -0.25}),
        (
            time_goal(0.98, max_memory_bytes=999, max_seconds=2.0),
            {"max memory": 1.0, "max seconds": 1.0, "target accuracy": 0.01},
        ),
    ],
)
def test_constraints(of_study: Goal, missed: dict[str, float]) -> None:
    assert of_study.constraints(TRIAL) == pytest.approx(missed)
    if of_study.max_memory_bytes:
        assert of_study.constraints(UNKNOWN_PEAK)["max memory"] > 0


# Progress


def test_percent() -> None:
    assert goal().percent(at(29, 0.9, 7.0), 30) == 96
    assert goal().percent(at(29, 0.9, 7.0), 100) == 29  # 0.29 * 100 is a little less
    limited = goal(train_seconds=10.0)
    assert limited.percent(at(3, 0.9, 7.0), 30) == 70
    assert limited.percent(at(24, 0.9, 7.0), 30) == 80
    assert limited.percent(at(3, 0.9, 11.0), 30) >= 100


def test_only_time_to_accuracy_has_an_aim() -> None:
    assert time_goal(0.95).aim == 0.95
    assert time_goal(0.95).is_reached(at(3, 0.95, 1.0))
    assert not time_goal(0.95).is_reached(at(3, 0.9499, 1.0))
    assert goal(target_accuracy=0.95).aim is None
    assert not goal(target_accuracy=0.95).is_reached(at(3, 0.99, 1.0))


def test_progress_follows_the_direction() -> None:
    assert goal().progress(at(10, 0.75, 1.0)) == 0.75
    assert time_goal().progress(at(10, 0.75, 1.0)) == 0.25


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_trial_past_max_seconds_is_too_late(objective: Objective) -> None:
    limited = goal(objective, target_accuracy=0.9, max_seconds=2.0)
    too_late = [limited.is_too_late(at(10, 0.99, seconds)) for seconds in (1.9, 2.0, 2.1)]
    assert too_late == [False, False, True]
    assert not goal(objective, target_accuracy=0.9).is_too_late(at(10, 0.99, 1e6))


@pytest.mark.parametrize(
    ("of_study", "expected"),
    [
        (goal(), False),
        (goal(max_memory_bytes=9), False),
        (goal(max_seconds=9.0), True),
        (goal(train_seconds=9.0), True),
        (time_goal(), True),
        (goal("pareto"), True),
    ],
)
def test_times_are_compared_on_one_kind_of_machine_only(of_study: Goal, *, expected: bool) -> None:
    assert of_study.compares_times is expected
    of_study.check_machine_kind("ours", "a laptop", "a laptop")
    if not expected:
        of_study.check_machine_kind("ours", "a laptop", "a server")
        return
    with pytest.raises(BenchError) as caught:
        of_study.check_machine_kind("ours", "a laptop", "a server")
    assert caught.value.message == (
        "the study ours compares times and was started on a laptop: times of this machine, "
        "a server, are not comparable"
    )
