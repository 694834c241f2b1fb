"""Records of experiment results: round trips and validation."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from mnist_bench.results.dataset_size import DatasetSize, ImageBytes
from mnist_bench.results.experiments import (
    CLAIM_OF_KIND,
    Body,
    ConvolutionCases,
    ConvolutionCheck,
    ExperimentResult,
    LayerComparison,
    LayerCost,
    LossCurve,
    LossPoint,
    OptimizerComparison,
    RateSearch,
    RateTrial,
    from_json,
)
from mnist_bench.scenarios.execution import Execution

POINT = LossPoint(samples_seen=50, seconds=0.5, loss=2.25, validation_accuracy=0.125)
BODIES: dict[int, Body] = {
    7: LayerComparison(
        costs=(
            LayerCost(
                kind="local", side=8, kernel_size=5, parameters=1_156, weight_bytes=6_400,
                multiply_adds=1_156, seconds=(0.25, 1), largest_difference=0.0,
            ),
            LayerCost(
                kind="dense", side=8, kernel_size=5, parameters=4_096, weight_bytes=16_384,
                multiply_adds=4_096, seconds=None, not_timed="too large",
            ),
        ),
        batch_images=50, applications=5, largest_value=3.5,
    ),
    8: OptimizerComparison(
        curves=(
            LossCurve(
                method="L-BFGS", learning_rate=None, points=(POINT,), ended="converged",
                samples_seen=50, seconds=0.5,
            ),
            LossCurve(
                method="full batch", learning_rate=0.1, points=(POINT,), ended="diverged",
                samples_seen=99, seconds=1.5,
            ),
        ),
        searches=(
            RateSearch(
                method="full batch",
                tried=(RateTrial(learning_rate=0.1, samples_seen=9, seconds=0.5, loss=None),),
            ),
        ),
        seconds_a_curve=80.0, parameters=7_858, filters=(6, 12), training_images=55_000,
        loss_images=10_000, validation_images=5_000,
    ),
    10: ConvolutionCheck(
        checks=(
            ConvolutionCases(
                dimensions=2, cases=50, symmetric_kernels=0, equal_before_flipping=0,
                equal_after_flipping=50, largest_difference_before_flipping=9,
                largest_difference_after_flipping=0,
            ),
        ),
    ),
    11: DatasetSize(
        sizes=(
            ImageBytes(part="test", images=1, representation="gzip as found", size_bytes=None),
        ),
    ),
}  # fmt: skip


def result_of(claim: int) -> ExperimentResult:
    return ExperimentResult(
        claim=claim, machine_id="m", created="2030-01-01T00:00:00+00:00", dataset=None,
        dataset_digest=None, execution=Execution(threads=2), seed=0, seconds=60.0,
        took_seconds=1.5, tensorflow="2.21.0", mnist_bench="0.1.0", body=BODIES[claim],
    )  # fmt: skip


@pytest.mark.parametrize("claim", BODIES)
def test_round_trip(claim: int) -> None:
    result = result_of(claim)
    assert from_json(result.to_json()) == result
    assert CLAIM_OF_KIND[result.body.kind] == claim
    assert json.loads(result.to_json())["schema"] == 1


@pytest.mark.parametrize("claim", BODIES)
@pytest.mark.parametrize("other", BODIES)
def test_measurements_of_another_claim_are_rejected(claim: int, other: int) -> None:
    content = result_of(claim).model_copy(update={"body": BODIES[other]}).to_json()
    if claim == other:
        from_json(content)
    else:
        with pytest.raises(ValueError, match=f"measurements of another claim than {claim}"):
            from_json(content)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"claim": 9},
        {"claim": "7"},
        {"unheard": 1},
        {"body": {"kind": "unheard"}},
        {"body": {}},
        {"execution": None},
    ],
)
def test_invalid_content_is_rejected(change: dict[str, object]) -> None:
    content = json.loads(result_of(7).to_json()) | change
    with pytest.raises(ValueError, match="validation error"):
        from_json(json.dumps(content).encode())


def test_seconds_of_a_search() -> None:
    body = BODIES[8]
    assert isinstance(body, OptimizerComparison)
    assert body.searches[0].seconds == 0.5


def test_first_point_at_a_loss() -> None:
    losses = (2.25, 1.0, 1.5, 0.5)
    points = tuple(
        POINT.model_copy(update={"samples_seen": place, "loss": loss})
        for place, loss in enumerate(losses)
    )
    curve = LossCurve(
        method="full batch", learning_rate=0.1, points=points, ended="time",
        samples_seen=3, seconds=0.5,
    )  # fmt: skip
    first = {loss: curve.first_at(loss) for loss in (3.0, 1.0, 0.75, 0.25)}
    assert {loss: point and point.samples_seen for loss, point in first.items()} == {
        3.0: 0, 1.0: 1, 0.75: 3, 0.25: None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("claim", "name"), [(7, "costs"), (8, "curves"), (10, "checks"), (11, "sizes")]
)
def test_empty_measurements_are_rejected(claim: int, name: str) -> None:
    body = BODIES[claim].model_dump() | {name: ()}
    with pytest.raises(ValidationError, match="at least 1 item"):
        type(BODIES[claim]).model_validate(body)
