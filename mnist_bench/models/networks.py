"""The network of each kind of hyperparameters."""

from __future__ import annotations

from mnist_bench.models.layers import LayeredNetwork
from mnist_bench.models.lenet5 import Lenet5
from mnist_bench.models.mlp import FullyConnected
from mnist_bench.models.paper_cnn import PaperCnn
from mnist_bench.scenarios.hyperparameters import (
    AnyNetworkHyperparameters,
    FullyConnectedHyperparameters,
    Lenet5Hyperparameters,
    PaperCnnHyperparameters,
)

NETWORKS: dict[type[AnyNetworkHyperparameters], type[LayeredNetwork]] = {
    PaperCnnHyperparameters: PaperCnn,
    FullyConnectedHyperparameters: FullyConnected,
    Lenet5Hyperparameters: Lenet5,
}
