"""What a claim of the paper needs: `python -m mnist_bench.worker.run_experiment`.

Reads a `ExperimentRequest` on standard input and answers with one JSON line, the measured figures.
Imported by nobody but its tests.
"""

from __future__ import annotations

import sys

from mnist_bench.data.dataset import Source
from mnist_bench.results.experiments import Body
from mnist_bench.results.protocol import ExperimentRequest
from mnist_bench.worker import tensorflow_setup
from mnist_bench.worker.experiments import dataset_size


def main() -> None:
    """Answer one question."""
    question = ExperimentRequest.model_validate_json(sys.stdin.buffer.readline())
    print(measured(question).model_dump_json())  # noqa: T201


def measured(question: ExperimentRequest) -> Body:
    """The figures for the claim.

    Raises:
        ValueError: The claim needs images and the question names none.
    """
    if question.claim == 11:
        return dataset_size.measured(_images(question))
    tensorflow_setup.start(question.execution)
    # These load TensorFlow, which must be settled before.
    from mnist_bench.worker.experiments import (
        convolution_identity,
        layer_comparison,
        optimizer_comparison,
    )

    if question.claim == 7:
        return layer_comparison.measured(question.seed, question.seconds, layer_comparison.SIDES)
    if question.claim == 8:
        return optimizer_comparison.measured(
            _images(question), question.execution.parts, question.seed, question.seconds
        )
    return convolution_identity.check(question.seed)


def _images(question: ExperimentRequest) -> Source:
    if question.source is None:
        raise ValueError(f"claim {question.claim} needs images")
    return question.source


if __name__ == "__main__":
    main()
