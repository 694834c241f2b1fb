"""Experiment for one claim of the paper, in the worker."""

from __future__ import annotations

from mnist_bench.data.dataset import Source
from mnist_bench.results.experiments import Body
from mnist_bench.results.protocol import ExperimentRequest
from mnist_bench.worker import tensorflow_setup
from mnist_bench.worker.experiments import dataset_size


def measure(request: ExperimentRequest) -> Body:
    """Run the experiment of a claim."""
    if request.claim == 11:
        return dataset_size.measure(_images(request))
    tensorflow_setup.start(request.execution)
    # These import TensorFlow, which must be configured first.
    from mnist_bench.worker.experiments import (
        convolution_identity,
        layer_comparison,
        optimizer_comparison,
    )

    if request.claim == 7:
        return layer_comparison.measure(request.seed, request.seconds, layer_comparison.SIDES)
    if request.claim == 8:
        return optimizer_comparison.measure(
            _images(request), request.execution.shards, request.seed, request.seconds
        )
    return convolution_identity.check(request.seed)


def _images(request: ExperimentRequest) -> Source:
    if request.source is None:
        raise ValueError(f"claim {request.claim} needs images")
    return request.source
