"""Values that are derived from the record of a run, and its summary."""

from __future__ import annotations

from typing import Any

import factories
import pytest
from factories import differing, run
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mnist_bench.results.run import Evaluation, RunResult, Split, step_counts_at
from mnist_bench.results.run_summary import (
    RunSummary,
    share_a_training,
    summarise,
    summarise_run,
)
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.scenarios.scenario import Grid


def evaluation(step: int, test: float | None, validation: float) -> Evaluation:
    """One evaluation of a training whose steps take 0.02 s."""
    return Evaluation(step=step, test_accuracy=test, validation_accuracy=validation,
                      train_loss=0.5, train_seconds=step * 0.02)  # fmt: skip


GRID = (
    evaluation(1, 0.5, 0.6),
    evaluation(101, 0.97, 0.96),
    evaluation(201, 0.98, 0.95),
    evaluation(301, 0.975, 0.97),
    evaluation(401, 0.98, 0.97),
)
"""Both maxima occur twice."""
OFF_GRID = run(450, evaluations=(*GRID, evaluation(450, 0.99, 0.995)))
DERIVED = (
    "max_test_accuracy", "max_test_accuracy_step", "selected_test_accuracy", "final_test_accuracy",
    "max_validation_accuracy", "final_validation_accuracy", "train_seconds_total",
    "images_per_second",
)  # fmt: skip
CASES: dict[str, tuple[RunResult, tuple[float | None, ...]]] = {
    # The first of equal maxima; the last step off the grid is no candidate.
    # 450 steps of 50 images in 450 · 0.02 s
    "off the grid": (OFF_GRID, (0.98, 201, 0.975, 0.99, 0.97, 0.995, 9, 2_500)),
    "on the grid": (
        run(501, evaluations=(*GRID, evaluation(501, 0.99, 0.995))),
        (0.99, 501, 0.99, 0.99, 0.995, 0.995, 10.02, 2_500),
    ),
    "larger batches": (
        run(450, evaluations=OFF_GRID.evaluations,
            hyperparameters=PaperCnnHyperparameters(batch_size=100)),
        (0.98, 201, 0.975, 0.99, 0.97, 0.995, 9, 5_000),
    ),
    # Its speed is over 401 steps.
    "killed": (run(1_000, status="killed", evaluations=GRID),
               (0.98, 201, 0.975, None, 0.97, None, 8.02, 2_500)),
    "nothing": (run(1_000, status="failed", evaluations=()), (None,) * 8),
    "the last step alone": (run(50, evaluations=(evaluation(50, 0.9, 0.8),)),
                            (None, None, None, 0.9, None, 0.8, 1, 2_500)),
    "without time": (run(1, evaluations=(GRID[0].model_copy(update={"train_seconds": 0.0}),)),
                     (0.5, 1, 0.5, 0.5, 0.6, 0.6, 0, None)),
    "without the test split": (run(1, evaluations=(evaluation(1, None, 0.6),)),
                               (None, None, None, None, 0.6, 0.6, 0.02, 2_500)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_derived_values(name: str) -> None:
    result, values = CASES[name]
    expected = dict(zip(DERIVED, values, strict=True))
    assert not differing(result, expected)
    assert not differing(summarise_run(result), expected)
    assert (result.best is None) == (result.max_test_accuracy is None)


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


def test_summary() -> None:
    result = run(
        1_000, 0.985, 3, status="killed", failure="interrupted", verdict="suspect",
        reasons=("steal", "calibration drift", "calibration drift"), shared_phases=("import",),
        phase_peak_rss_bytes={"import": 300, "train": 900},
    )  # fmt: skip
    summary = summarise_run(result)
    assert summary.reasons == ("steal", "calibration drift")
    same: dict[str, Any] = {
        name: getattr(result, name) for name in RunSummary.model_fields if name != "reasons"
    }
    assert not differing(summary, same)
    assert summarise_run(run(verdict="clean")).reasons == ()
    assert summarise_run(run(verdict=None)).reasons is None


def test_shared_trainings() -> None:
    shared = [run(steps, seed=seed) for seed in (0, 1) for steps in (1_000, 5_000)]
    assert share_a_training(summarise(shared))
    apart = [run(steps, trajectory=f"t{steps}") for steps in (1_000, 5_000)]
    assert not share_a_training(summarise(apart))


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
    # Records that are older than verdicts can be read.
    fields = {"conditions", "verdict", "reasons", "phase_peak_rss_bytes", "shared_phases"}
    old = RunResult.model_validate_json(run().model_dump_json(exclude=fields))
    unknown = {"conditions": None, "verdict": None, "reasons": (), "phase_peak_rss_bytes": {},
               "shared_phases": ()}  # fmt: skip
    assert not differing(old, unknown)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"colour": "blue"}, "Extra inputs are not permitted"),
        ({"verdict": "excellent"}, "verdict"),
        ({"peak_rss_bytes": 1.5}, "valid integer"),
        ({"train_seconds_limit": float("nan")}, "finite number"),
    ],
)
def test_invalid_fields_are_rejected(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        run(**changes)


# Step counts of one training


@pytest.mark.parametrize(
    ("step", "grid_first", "step_counts"),
    [
        (1, 1, (1_000, 2_500)),
        (901, 1, (1_000, 2_500)),
        (1_000, 1, (1_000,)),  # the last step of the short run is not on the grid
        (1_000, 100, (1_000, 2_500)),  # here it is
        (1_001, 1, (2_500,)),
        (2_500, 1, (2_500,)),
        (2_500, 100, (2_500,)),
        (2_501, 1, ()),
        (50, 1, ()),
    ],
)
def test_step_counts_at(step: int, grid_first: int, step_counts: tuple[int, ...]) -> None:
    grid = Grid(first=grid_first, every=100)
    assert step_counts_at(step, (1_000, 2_500), grid) == step_counts


@settings(max_examples=30)
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
