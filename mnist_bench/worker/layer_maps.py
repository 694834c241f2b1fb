"""What layers see in an image: `python -m mnist_bench.worker.layer_maps`, started by the parent.

Reads a `LayerMapsRequest` on standard input and writes the file that it names. Imported by nobody but
its tests.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnist_bench.core.npz import from_npz
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


def main() -> None:
    """Answer one question."""
    question = LayerMapsRequest.model_validate_json(sys.stdin.buffer.readline())
    tensorflow_setup.start(question.execution)
    Path(question.file).write_bytes(layers_of(question).to_bytes())


def layers_of(question: LayerMapsRequest) -> LayerMaps:
    """What the layers show, before and after training the figures' network."""
    from mnist_bench.models.figures_cnn import SmallCnn
    from mnist_bench.worker.trainer import Trainer

    dataset = mnist.load(question.source)
    pixels = dataset.test_images.pixels[question.image]
    hyperparameters = PaperCnnHyperparameters()
    network = SmallCnn(question.seed, hyperparameters.dropout_rate)
    trainer = Trainer(
        dataset, hyperparameters, question.seed, parts=question.execution.parts, network=network
    )
    untrained = _single(network.maps(pixels[np.newaxis]))
    trainer.advance(question.steps)
    return LayerMaps(
        dataset=question.source.name,
        image=question.image,
        label=int(dataset.test_images.labels[question.image]),
        steps=question.steps,
        seed=question.seed,
        test_accuracy=trainer.evaluate("test").accuracy,
        pixels=pixels,
        untrained=untrained,
        trained=_single(network.maps(pixels[np.newaxis])),
        own=_own(question, pixels),
        own_steps=question.weights_steps,
    )


def _own(question: LayerMapsRequest, pixels: npt.NDArray[np.uint8]) -> tuple[Maps, ...]:
    """The maps of a network whose weights were kept; nothing where none were."""
    if question.weights is None:
        return ()
    from mnist_bench.models.paper_cnn import PaperCnn

    network = PaperCnn(0, paper.HYPERPARAMETERS)
    network.take(from_npz(Path(question.weights).read_bytes()))
    return _single(network.maps(pixels[np.newaxis]))


def _single(maps: tuple[tf.Tensor, ...]) -> tuple[Maps, ...]:
    """Of the one image that they were made of."""
    return tuple(each.numpy()[0] for each in maps)


if __name__ == "__main__":
    main()
