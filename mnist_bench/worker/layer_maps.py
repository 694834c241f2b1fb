"""Feature maps of one image, before and after training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnist_bench.core.npz import load_npz
from mnist_bench.data import mnist
from mnist_bench.results.layer_maps import LayerMaps
from mnist_bench.results.protocol import LayerMapsRequest
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.worker import tensorflow_setup

if TYPE_CHECKING:
    import numpy.typing as npt
    import tensorflow as tf

    from mnist_bench.results.layer_maps import Maps


def write(request: LayerMapsRequest) -> None:
    """Compute the feature maps and write them to the request's file."""
    tensorflow_setup.start(request.execution)
    Path(request.file).write_bytes(compute_layer_maps(request).to_bytes())


def compute_layer_maps(request: LayerMapsRequest) -> LayerMaps:
    """Feature maps of the figures' network before and after training, and of saved weights."""
    from mnist_bench.models.figures_cnn import SmallCnn
    from mnist_bench.worker.trainer import Trainer

    dataset = mnist.load(request.source)
    pixels = dataset.test_images.pixels[request.image]
    hyperparameters = PaperCnnHyperparameters()
    network = SmallCnn(request.seed, hyperparameters.dropout_rate)
    trainer = Trainer(
        dataset, hyperparameters, request.seed, shards=request.execution.shards, network=network
    )
    untrained = _first_image(network.maps(pixels[np.newaxis]))
    trainer.advance(request.steps)
    return LayerMaps(
        dataset=request.source.name,
        image=request.image,
        label=int(dataset.test_images.labels[request.image]),
        steps=request.steps,
        seed=request.seed,
        test_accuracy=trainer.evaluate("test").accuracy,
        pixels=pixels,
        untrained=untrained,
        trained=_first_image(network.maps(pixels[np.newaxis])),
        own=_saved_network_maps(request, pixels),
        own_steps=request.weights_steps,
    )


def _saved_network_maps(
    request: LayerMapsRequest, pixels: npt.NDArray[np.uint8]
) -> tuple[Maps, ...]:
    """Feature maps of the network with the saved weights; empty if there are none."""
    if request.weights is None:
        return ()
    from mnist_bench.models.paper_cnn import PaperCnn

    network = PaperCnn(0, paper.HYPERPARAMETERS)
    network.set_weights(load_npz(Path(request.weights).read_bytes()))
    return _first_image(network.maps(pixels[np.newaxis]))


def _first_image(maps: tuple[tf.Tensor, ...]) -> tuple[Maps, ...]:
    """The maps of the first image of a batch."""
    return tuple(layer.numpy()[0] for layer in maps)
