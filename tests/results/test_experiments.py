"""Records of experiment results: field names, round trips and validation."""

from __future__ import annotations

import json

import pytest
from factories import (
    FAST_LOSSES,
    SLOW_LOSSES,
    convolution_results,
    dataset_size_results,
    layer_results,
    loss_curve,
    optimizer_results,
)
from pydantic import ValidationError

from mnist_bench.results.experiments import (
    CLAIM_OF_KIND,
    ConvolutionCases,
    ConvolutionCheck,
    DatasetSize,
    ExperimentResult,
    ImageBytes,
    LayerComparison,
    LayerCost,
    LossCurve,
    LossPoint,
    OptimizerComparison,
    RateSearch,
    RateTrial,
    from_json,
)

RESULTS = {
    **layer_results(),
    **optimizer_results(loss_curve("full batch", *SLOW_LOSSES), loss_curve("L-BFGS", *FAST_LOSSES)),
    **convolution_results(equal=10),
    **dataset_size_results(47_040_000, None),
}
RECORDED_FIELDS = {
    ExperimentResult: "schema claim machine_id created dataset dataset_digest execution seed "
    "seconds took_seconds tensorflow mnist_bench exclusive body",
    LayerComparison: "kind costs batch_images applications largest_value",
    LayerCost: "kind side kernel_size parameters weight_bytes multiply_adds seconds not_timed "
    "largest_difference",
    OptimizerComparison: "kind curves searches seconds_a_curve parameters filters "
    "training_images loss_images validation_images",
    LossCurve: "method learning_rate points ended samples_seen seconds",
    LossPoint: "samples_seen seconds loss validation_accuracy",
    RateSearch: "method tried",
    RateTrial: "learning_rate samples_seen seconds loss",
    ConvolutionCheck: "kind arithmetic checks",
    ConvolutionCases: "dimensions cases symmetric_kernels equal_before_flipping "
    "equal_after_flipping largest_difference_before_flipping largest_difference_after_flipping",
    DatasetSize: "kind sizes",
    ImageBytes: "part images representation size_bytes",
}


@pytest.mark.parametrize("record", RECORDED_FIELDS)
def test_recorded_names(record: type[ExperimentResult]) -> None:
    names = [field.alias or name for name, field in record.model_fields.items()]
    assert names == RECORDED_FIELDS[record].split()


@pytest.mark.parametrize("claim", RESULTS)
def test_round_trip(claim: int) -> None:
    result = RESULTS[claim]
    assert from_json(result.to_json()) == result
    assert CLAIM_OF_KIND[result.body.kind] == claim
    assert json.loads(result.to_json())["schema"] == 1


@pytest.mark.parametrize("claim", RESULTS)
@pytest.mark.parametrize("other", RESULTS)
def test_measurements_of_another_claim_are_rejected(claim: int, other: int) -> None:
    content = RESULTS[claim].model_copy(update={"body": RESULTS[other].body}).to_json()
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
    content = json.loads(RESULTS[7].to_json()) | change
    with pytest.raises(ValueError, match="validation error"):
        from_json(json.dumps(content).encode())


@pytest.mark.parametrize(
    ("claim", "name"), [(7, "costs"), (8, "curves"), (10, "checks"), (11, "sizes")]
)
def test_empty_measurements_are_rejected(claim: int, name: str) -> None:
    body = RESULTS[claim].body
    with pytest.raises(ValidationError, match="at least 1 item"):
        type(body).model_validate(body.model_dump() | {name: ()})


def test_first_point_at_a_loss() -> None:
    losses = enumerate((2.25, 1.0, 1.5, 0.5))
    curve = loss_curve("full batch", *((place, 0.0, loss) for place, loss in losses))
    assert [curve.first_at(loss).samples_seen for loss in (3.0, 1.0, 0.75)] == [0, 1, 3]
