"""Layer maps: the figures' network, saved weights, the file between processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.models.figures_cnn import SmallCnn
from mnist_bench.models.paper_cnn import PaperCnn
from mnist_bench.results.layer_maps import LayerMaps, from_bytes
from mnist_bench.results.protocol import LayerMapsRequest
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.worker import layer_maps

NARROW = PaperCnnHyperparameters(
    conv1_filters=3, conv2_filters=4, dense_units=6, batch_normalization=True
)


def make_request(sample: Source, **changes: object) -> LayerMapsRequest:
    request = LayerMapsRequest(
        source=sample, image=2, steps=3, seed=1, execution=Execution(threads=1), file=""
    )
    return request.model_copy(update=changes)


def test_a_blank_image_gives_the_bias() -> None:
    first, second, third = SmallCnn(0, 0.5).maps(np.zeros((2, 28, 28), np.uint8))
    shapes = [tuple(x.shape) for x in (first, second, third)]
    assert shapes == [(2, 28, 28, 5), (2, 14, 14, 5), (2, 7, 7, 20)]
    np.testing.assert_allclose(first.numpy(), 0.1, rtol=1e-6)


def test_a_single_pixel_gives_the_rotated_kernel() -> None:
    pixels = np.zeros((1, 28, 28), np.uint8)
    pixels[0, 10, 10] = 255
    network = SmallCnn(3, 0.5)
    kernel = network.weights()["0"][:, :, 0, 1]  # (5, 5) of the second filter
    found = network.maps(pixels)[0].numpy()[0, 8:13, 8:13, 1]
    # Cross-correlation with a single pixel gives the kernel, rotated by 180°.
    np.testing.assert_allclose(found, np.maximum(kernel[::-1, ::-1] + 0.1, 0), rtol=1e-5)


def test_dropout_applies_only_in_training() -> None:
    network, pixels = SmallCnn(0, 0.5), np.full((1, 28, 28), 200, np.uint8)
    scored = network.logits(pixels).numpy()
    assert (scored == network.logits(pixels).numpy()).all()
    assert (scored != network.logits(pixels, dropout_step=tf.constant(1)).numpy()).any()


def test_layer_maps_before_and_after_training(sample: Source) -> None:
    maps = layer_maps.compute_layer_maps(make_request(sample))
    images = mnist.load(sample).test_images
    assert maps.label == images.labels[2]
    assert (maps.pixels == images.pixels[2]).all()
    assert [x.shape for x in maps.untrained] == [(28, 28, 5), (14, 14, 5), (7, 7, 20)]
    assert all((a != b).any() for a, b in zip(maps.untrained, maps.trained, strict=True))
    untrained = SmallCnn(1, 0.5).maps(images.pixels[2:3])
    assert all((a == b.numpy()[0]).all() for a, b in zip(maps.untrained, untrained, strict=True))
    assert maps.own == ()


def test_layer_maps_of_saved_weights(sample: Source, tmp_path: Path) -> None:
    network = PaperCnn(5, paper.HYPERPARAMETERS)
    weights = tmp_path / "weights.npz"
    np.savez(weights, **network.weights())
    maps = layer_maps.compute_layer_maps(make_request(sample, steps=1, weights=str(weights)))
    expected = network.maps(mnist.load(sample).test_images.pixels[2:3])
    assert [x.shape for x in maps.own] == [(14, 14, 32), (7, 7, 64)]
    for actual, wanted in zip(maps.own, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted.numpy()[0])


def test_restored_weights_give_the_same_logits() -> None:
    hyperparameters = NARROW.model_copy(update={"average_decay": 0.5})
    one, other = (PaperCnn(seed, hyperparameters, shards=2) for seed in (1, 2))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 28, 28)).astype(np.uint8)
    assert (one.logits(pixels).numpy() != other.logits(pixels).numpy()).any()
    other.set_weights(one.weights())
    np.testing.assert_array_equal(one.logits(pixels).numpy(), other.logits(pixels).numpy())


def test_weights_of_another_network_raise() -> None:
    weights = PaperCnn(1, NARROW).weights()
    with pytest.raises(ValueError, match="belong to another network"):
        PaperCnn(1, PaperCnnHyperparameters()).set_weights(weights)


# The file between processes


def written(untrained: tuple[object, ...] = (), trained: tuple[object, ...] = ()) -> LayerMaps:
    pixels = np.zeros((28, 28), np.uint8)
    return LayerMaps("mnist", 7, 3, 10, 0, 0.5, pixels, untrained, trained, own_steps=5)


def test_serialization_round_trip() -> None:
    maps = tuple(np.full((n, n, 2), n, np.float32) for n in (4, 2))
    again = from_bytes(written(maps, maps[::-1]).to_bytes())
    assert (again.dataset, again.image, again.label) == ("mnist", 7, 3)
    assert (again.steps, again.test_accuracy, again.own_steps) == (10, 0.5, 5)
    for before, after in zip(maps, again.untrained, strict=True):
        np.testing.assert_array_equal(before, after)
    assert (len(again.trained), again.own) == (2, ())


@pytest.mark.parametrize(
    ("shape", "trained", "reason"),
    [
        ((3, 3, 2), 0, "differ in their number of layers"),
        ((3, 3), 1, "do not have three dimensions"),
    ],
)
def test_inconsistent_layers_raise(shape: tuple[int, ...], trained: int, reason: str) -> None:
    layer = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=reason):
        from_bytes(written((layer,), (layer,) * trained).to_bytes())


def test_a_damaged_file_raises() -> None:
    """Or it is read like the original: some bytes of a ZIP file, such as dates, have no effect."""
    whole = written().to_bytes()
    positions = range(0, len(whole), 7)
    errors = 0
    for position in positions:
        flipped = bytes([whole[position] ^ 255])
        try:
            again = from_bytes(whole[:position] + flipped + whole[position + 1 :])
        except ValueError:
            errors += 1
        else:
            assert again.to_bytes() == whole
    assert len(positions) / 2 < errors < len(positions)


@given(st.binary(max_size=64))
def test_arbitrary_bytes_raise(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a complete \.npz file"):
        from_bytes(content)
