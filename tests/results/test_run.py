"""Values that are derived from the record of a run."""

from __future__ import annotations

import factories
import pytest
from factories import run
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mnist_bench.results.run import Evaluation, RunResult, Split, step_counts_at
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.scenarios.scenario import Grid


def evaluation(step: int, test: float, validation: float) -> Evaluation:
    """One evaluation of a training whose steps take 0.02 s."""
    return Evaluation(
        step=step,
        test_accuracy=test,
        validation_accuracy=validation,
        train_loss=0.5,
        train_seconds=step * 0.02,
    )


GRID = (
    evaluation(1, 0.5, 0.6),
    evaluation(101, 0.97, 0.96),
    evaluation(201, 0.98, 0.95),
    evaluation(301, 0.975, 0.97),
    evaluation(401, 0.98, 0.97),
)
"""Both maxima occur twice."""
OFF_GRID = run(450, evaluations=(*GRID, evaluation(450, 0.99, 0.99)))
ON_GRID = run(501, evaluations=(*GRID, evaluation(501, 0.99, 0.99)))


def test_max_test_accuracy_and_its_first_step() -> None:
    result = run(401, evaluations=GRID)
    assert (result.max_test_accuracy, result.max_test_accuracy_step) == (0.98, 201)


def test_selected_by_the_first_largest_validation_accuracy() -> None:
    result = run(401, evaluations=GRID)
    assert result.selected is not None
    assert result.selected.step == 301
    assert result.selected_test_accuracy == 0.975


def test_last_step_off_the_grid_is_not_a_candidate() -> None:
    assert [e.step for e in OFF_GRID.candidates] == [1, 101, 201, 301, 401]
    assert (OFF_GRID.max_test_accuracy, OFF_GRID.max_test_accuracy_step) == (0.98, 201)
    assert OFF_GRID.selected_test_accuracy == 0.975
    assert OFF_GRID.final_test_accuracy == 0.99


def test_last_step_on_the_grid_is_a_candidate() -> None:
    assert (ON_GRID.max_test_accuracy, ON_GRID.max_test_accuracy_step) == (0.99, 501)
    assert ON_GRID.selected_test_accuracy == 0.99
    assert ON_GRID.final_test_accuracy == 0.99


def test_no_final_accuracy_before_the_last_step() -> None:
    result = run(1_000, status="killed", evaluations=GRID)
    assert result.final_test_accuracy is None
    assert (result.max_test_accuracy, result.max_test_accuracy_step) == (0.98, 201)
    assert result.train_seconds_total == pytest.approx(8.02)
    assert result.images_per_second == pytest.approx(2_500)  # over 401 steps


def test_without_evaluations_values_are_unknown() -> None:
    result = run(1_000, status="failed", evaluations=())
    assert result.candidates == ()
    assert result.best is result.selected is None
    assert result.max_test_accuracy is result.max_test_accuracy_step is None
    assert result.selected_test_accuracy is result.final_test_accuracy is None
    assert result.train_seconds_total is result.images_per_second is None
    assert result.seconds_to_accuracy("test", 0.5) is None


def test_only_the_last_step_is_evaluated() -> None:
    result = run(50, evaluations=(evaluation(50, 0.9, 0.9),))
    assert result.max_test_accuracy is result.selected_test_accuracy is None
    assert result.final_test_accuracy == 0.9


def test_images_per_second() -> None:
    # 450 steps of 50 images in 450 · 0.02 s
    assert OFF_GRID.train_seconds_total == pytest.approx(9)
    assert OFF_GRID.images_per_second == pytest.approx(2_500)
    larger = run(
        450,
        evaluations=OFF_GRID.evaluations,
        hyperparameters=PaperCnnHyperparameters(batch_size=100),
    )
    assert larger.images_per_second == pytest.approx(5_000)


def test_speed_is_unknown_without_time() -> None:
    start = GRID[0].model_copy(update={"train_seconds": 0.0})
    assert run(1, evaluations=(start,)).images_per_second is None


@pytest.mark.parametrize(
    ("split", "target", "seconds"),
    [
        ("test", 0.4, 0.02),
        ("test", 0.97, 2.02),  # equality counts
        ("test", 0.98, 4.02),
        ("test", 0.981, None),  # only after the last step, which is off the grid
        ("validation", 0.96, 2.02),
        ("validation", 0.97, 6.02),
        ("validation", 0.98, None),
    ],
)
def test_seconds_to_accuracy(split: Split, target: float, seconds: float | None) -> None:
    assert OFF_GRID.seconds_to_accuracy(split, target) == pytest.approx(seconds)


def test_accuracy_of_a_split() -> None:
    assert evaluation(1, 0.5, 0.6).accuracy("test") == 0.5
    assert evaluation(1, 0.5, 0.6).accuracy("validation") == 0.6


def test_round_trip() -> None:
    assessed = run(
        phase_peak_rss_bytes={"import": 2**28, "train": 2**29},
        shared_phases=("import", "data"),
        conditions=factories.conditions(),
        verdict="suspect",
        reasons=("on battery", "hot"),
    )
    for result in (OFF_GRID, assessed, run(status="failed", failure="it died", evaluations=())):
        assert RunResult.model_validate_json(result.model_dump_json()) == result


def test_run_without_conditions_has_no_verdict() -> None:
    """Records that are older than verdicts can be read."""
    fields = {"conditions", "verdict", "reasons", "phase_peak_rss_bytes", "shared_phases"}
    old = RunResult.model_validate_json(run(verdict=None).model_dump_json(exclude=fields))
    assert old.conditions is old.verdict is None
    assert (old.reasons, old.phase_peak_rss_bytes, old.shared_phases) == ((), {}, ())
    with pytest.raises(ValidationError, match="verdict"):
        run(verdict="excellent")


def test_unknown_fields_and_infinite_values_are_rejected() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        run(colour="blue")
    with pytest.raises(ValidationError, match="finite number"):
        evaluation(1, float("nan"), 0.5)


# Step counts of one training

STEP_COUNTS = (1_000, 2_500)
PAPER_GRID = Grid(first=1, every=100)


@pytest.mark.parametrize(
    ("step", "step_counts"),
    [
        (1, (1_000, 2_500)),
        (901, (1_000, 2_500)),
        (1_000, (1_000,)),  # the last step of the short run is not on the grid
        (1_001, (2_500,)),
        (2_500, (2_500,)),
        (2_501, ()),
        (50, ()),
    ],
)
def test_step_counts_at(step: int, step_counts: tuple[int, ...]) -> None:
    assert step_counts_at(step, STEP_COUNTS, PAPER_GRID) == step_counts


def test_last_step_on_the_grid_belongs_to_longer_runs_too() -> None:
    grid = Grid(first=100, every=100)
    assert step_counts_at(1_000, STEP_COUNTS, grid) == (1_000, 2_500)
    assert step_counts_at(2_500, STEP_COUNTS, grid) == (2_500,)


@given(
    step_counts=st.sets(st.integers(1, 300), min_size=1, max_size=4).map(sorted).map(tuple),
    first=st.integers(1, 50),
    every=st.integers(1, 60),
)
def test_each_step_count_gets_its_grid_and_its_last_step(
    step_counts: tuple[int, ...], first: int, every: int
) -> None:
    grid = Grid(first=first, every=every)
    steps = sorted({*grid.points(step_counts[-1]), *step_counts})
    for step_count in step_counts:
        found = [step for step in steps if step_count in step_counts_at(step, step_counts, grid)]
        assert found == sorted({*grid.points(step_count), step_count})
