"""What layers make of an image: the small network, kept weights, the file between processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.core.errors import BenchError
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.models.figures_cnn import SmallCnn
from mnist_bench.models.paper_cnn import PaperCnn
from mnist_bench.results.layer_maps import LayerMaps, from_bytes
from mnist_bench.results.protocol import LayerMapsRequest
from mnist_bench.runner import process
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.worker import layer_maps

NARROW = PaperCnnHyperparameters(
    conv1_filters=3, conv2_filters=4, dense_units=6, batch_normalization=True
)


@pytest.fixture(scope="module")
def source() -> Source:
    return mnist.find("mnist-5k", None, say=print)


def question(source: Source, file: Path, **changes: object) -> LayerMapsRequest:
    asked = LayerMapsRequest(
        source=source, image=2, steps=3, seed=1, execution=Execution(threads=1), file=str(file)
    )
    return asked.model_copy(update=changes)


def test_the_figures_sizes() -> None:
    first, second, third = SmallCnn(0, 0.5).maps(np.zeros((2, 28, 28), np.uint8))
    assert [tuple(x.shape) for x in (first, second, third)] == [
        (2, 28, 28, 5), (2, 14, 14, 5), (2, 7, 7, 20),
    ]  # fmt: skip


def test_blank_paper_shows_the_bias_alone() -> None:
    first = SmallCnn(0, 0.5).maps(np.zeros((1, 28, 28), np.uint8))[0]
    np.testing.assert_allclose(first.numpy(), 0.1, rtol=1e-6)


def test_a_map_is_the_sum_over_the_kernel() -> None:
    pixels = np.zeros((1, 28, 28), np.uint8)
    pixels[0, 10, 10] = 255
    network = SmallCnn(3, 0.5)
    kernel = network.weights()["0"][:, :, 0, 1]  # (5, 5) of the second filter
    seen = network.maps(pixels)[0].numpy()[0, 8:13, 8:13, 1]
    # Cross-correlation: a single dot of ink shows the kernel, turned around.
    np.testing.assert_allclose(seen, np.maximum(kernel[::-1, ::-1] + 0.1, 0), rtol=1e-5)


def test_dropout_in_training_alone() -> None:
    network, pixels = SmallCnn(0, 0.5), np.full((1, 28, 28), 200, np.uint8)
    scored = network.logits(pixels).numpy()
    assert (scored == network.logits(pixels).numpy()).all()
    assert (scored != network.logits(pixels, dropout_step=tf.constant(1)).numpy()).any()


def test_layers_before_and_after_training(source: Source, tmp_path: Path) -> None:
    seen = layer_maps.layers_of(question(source, tmp_path / "x.npz"))
    images = mnist.load(source).test_images
    assert seen.label == images.labels[2]
    assert (seen.pixels == images.pixels[2]).all()
    assert [x.shape for x in seen.untrained] == [(28, 28, 5), (14, 14, 5), (7, 7, 20)]
    assert all((a != b).any() for a, b in zip(seen.untrained, seen.trained, strict=True))
    untrained = SmallCnn(1, 0.5).maps(images.pixels[2:3])
    assert all((a == b.numpy()[0]).all() for a, b in zip(seen.untrained, untrained, strict=True))
    assert seen.own == ()


def test_kept_weights_are_looked_through(source: Source, tmp_path: Path) -> None:
    network = PaperCnn(5, paper.HYPERPARAMETERS)
    weights = tmp_path / "weights.npz"
    np.savez(weights, **network.weights())
    asked = question(source, tmp_path / "x.npz", weights=str(weights))
    seen = layer_maps.layers_of(asked)
    expected = network.maps(mnist.load(source).test_images.pixels[2:3])
    assert [x.shape for x in seen.own] == [(14, 14, 32), (7, 7, 64)]
    for ours, theirs in zip(seen.own, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs.numpy()[0])


def test_weights_that_are_put_back_score_the_same() -> None:
    hyperparameters = NARROW.model_copy(update={"average_decay": 0.5})
    one, other = (PaperCnn(seed, hyperparameters, parts=2) for seed in (1, 2))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 28, 28)).astype(np.uint8)
    assert (one.logits(pixels).numpy() != other.logits(pixels).numpy()).any()
    other.take(one.weights())
    np.testing.assert_array_equal(one.logits(pixels).numpy(), other.logits(pixels).numpy())


def test_weights_of_another_network_are_refused() -> None:
    weights = PaperCnn(1, NARROW).weights()
    with pytest.raises(ValueError, match="not the weights of such a network"):
        PaperCnn(1, PaperCnnHyperparameters()).take(weights)


def test_in_a_process_of_its_own(source: Source, tmp_path: Path) -> None:
    file = tmp_path / "layers.npz"
    process.compute_layer_maps(question(source, file))
    seen = from_bytes(file.read_bytes())
    assert (seen.image, seen.steps, seen.seed) == (2, 3, 1)
    assert 0 <= seen.test_accuracy <= 1
    assert len(seen.trained) == 3


def test_a_process_that_fails_says_why(source: Source, tmp_path: Path) -> None:
    asked = question(source, tmp_path / "layers.npz", image=99_999)
    with pytest.raises(BenchError, match="what layers make of image 99999 could not be found out"):
        process.compute_layer_maps(asked)
    assert not (tmp_path / "layers.npz").exists()


def test_what_is_written_comes_back() -> None:
    maps = tuple(np.full((n, n, 2), n, np.float32) for n in (4, 2))
    pixels = np.zeros((28, 28), np.uint8)
    told = LayerMaps("mnist", 7, 3, 10, 0, 0.5, pixels, maps, maps[::-1], own_steps=5)
    again = from_bytes(told.to_bytes())
    assert (again.dataset, again.image, again.label) == ("mnist", 7, 3)
    assert (again.steps, again.test_accuracy, again.own_steps) == (10, 0.5, 5)
    for before, after in zip(told.untrained, again.untrained, strict=True):
        np.testing.assert_array_equal(before, after)
    assert (len(again.trained), again.own) == (2, ())


@pytest.mark.parametrize(
    ("untrained", "trained", "why"),
    [((3, 3, 2), (), "not as many layers"), ((3, 3), (3, 3), "what should be maps is none")],
)
def test_layers_that_do_not_fit_are_refused(
    untrained: tuple[int, ...], trained: tuple[int, ...], why: str
) -> None:
    before, after = (
        (np.zeros(shape, np.float32),) if shape else () for shape in (untrained, trained)
    )
    told = LayerMaps("mnist", 7, 3, 10, 0, 0.5, np.zeros((28, 28), np.uint8), before, after)
    with pytest.raises(ValueError, match=why):
        from_bytes(told.to_bytes())


def test_a_damaged_file_is_refused() -> None:
    """Or it is read as the whole one is: some bytes of a ZIP file mean nothing, such as dates."""
    whole = LayerMaps("mnist", 7, 3, 10, 0, 0.5, np.zeros((28, 28), np.uint8), (), ()).to_bytes()
    places = range(0, len(whole), 7)
    refused = 0
    for at in places:
        damaged = whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]
        try:
            again = from_bytes(damaged)
        except ValueError:
            refused += 1
        else:
            assert again.to_bytes() == whole
    assert len(places) / 2 < refused < len(places)


@given(st.binary(max_size=64))
def test_what_is_no_such_file_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="no whole file of arrays"):
        from_bytes(content)
