"""Parameter counts and multiply-adds, by hand and compared with TensorFlow's variables."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from mnist_bench.models.layers import LayeredNetwork
from mnist_bench.models.lenet5 import Lenet5
from mnist_bench.models.mlp import FullyConnected
from mnist_bench.models.paper_cnn import PaperCnn
from mnist_bench.models.parameter_counts import (
    LayerShape,
    layer_shapes,
    multiply_adds,
    parameter_count,
)
from mnist_bench.scenarios import paper, scenario
from mnist_bench.scenarios.hyperparameters import (
    AnyNetworkHyperparameters,
    FullyConnectedHyperparameters,
    Lenet5Hyperparameters,
    PaperCnnHyperparameters,
)

NETWORKS = [
    (PaperCnn, paper.HYPERPARAMETERS),
    (
        PaperCnn,
        PaperCnnHyperparameters(conv1_filters=3, dense_units=7, batch_normalization=True),
    ),
    (FullyConnected, FullyConnectedHyperparameters(hidden_layers=3, hidden_units=11)),
    (FullyConnected, FullyConnectedHyperparameters(hidden_layers=1, hidden_units=2)),
    (Lenet5, Lenet5Hyperparameters()),
]


@pytest.mark.parametrize(("kind", "hyperparameters"), NETWORKS)
def test_parameter_counts_agree_with_tensorflow(
    kind: type[LayeredNetwork], hyperparameters: AnyNetworkHyperparameters
) -> None:
    network = kind(3, hyperparameters)
    sizes = [math.prod(map(int, variable.shape)) for variable in network.variables]
    assert parameter_count(hyperparameters) == sum(sizes)
    shapes = layer_shapes(hyperparameters)
    assert [shape.weights for shape in shapes] == [tuple(x.weights.shape) for x in network.layers]


@pytest.mark.parametrize(
    ("hyperparameters", "parameters", "operations"),
    [
        (paper.HYPERPARAMETERS, [832, 51_264, 3_212_288, 10_250],
         [28 * 28 * 25 * 32, 14 * 14 * 25 * 32 * 64, 7 * 7 * 64 * 1024, 1024 * 10]),
        (Lenet5Hyperparameters(), [156, 2_416, 48_120, 10_164, 850],
         [117_600, 240_000, 48_000, 10_080, 840]),
        (FullyConnectedHyperparameters(hidden_layers=2, hidden_units=3),
         [784 * 3 + 3, 3 * 3 + 3, 3 * 10 + 10], [784 * 3, 3 * 3, 3 * 10]),
    ],
)  # fmt: skip
def test_layers_by_hand(
    hyperparameters: AnyNetworkHyperparameters, parameters: list[int], operations: list[int]
) -> None:
    shapes = layer_shapes(hyperparameters)
    assert [shape.parameter_count for shape in shapes] == parameters
    assert [shape.multiply_adds for shape in shapes] == operations
    assert parameter_count(hyperparameters) == sum(parameters)
    assert multiply_adds(hyperparameters) == sum(operations)


def test_a_scale_per_normalized_output() -> None:
    plain = LayerShape("a", (5, 5, 2, 4))
    assert (plain.parameter_count, plain.multiply_adds) == (204, 200)
    assert LayerShape("a", (5, 5, 2, 4), is_normalized=True).parameter_count == 208


@pytest.mark.parametrize(
    ("name", "size_of"),
    [
        ("claim-6-fully-connected-parameters", parameter_count),
        ("claim-6-fully-connected-operations", multiply_adds),
    ],
)
def test_the_width_is_the_nearest_to_the_papers_network(name, size_of) -> None:
    hyperparameters = scenario.read(scenario.find(name)).hyperparameters
    target = size_of(paper.HYPERPARAMETERS)

    def distance(units: int) -> int:
        return abs(size_of(hyperparameters.model_copy(update={"hidden_units": units})) - target)

    assert min(range(1, 8_193), key=distance) == hyperparameters.hidden_units
    assert distance(hyperparameters.hidden_units) / target < 0.001


PAGE = (Path(__file__).parents[2] / "docs" / "paper.md").read_text(encoding="utf-8")
PUBLISHED = re.findall(r"^\| `([\w-]+)` \| .* \| ([\d,]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)


def test_the_docs_state_these_sizes() -> None:
    names = [
        "table-1",
        "claim-6-fully-connected-parameters",
        "claim-6-fully-connected-operations",
        "claim-6-lenet-5",
    ]
    kinds = [scenario.read(scenario.find(name)).hyperparameters for name in names]
    sizes = [(f"{parameter_count(kind):,}", f"{multiply_adds(kind):,}") for kind in kinds]
    assert [(name, *size) for name, size in zip(names, sizes, strict=True)] == PUBLISHED
