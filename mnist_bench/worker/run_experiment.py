"""What a claim of the paper needs: `python -m mnist_bench.worker.run_experiment`.

Reads a `FindingQuestion` on standard input and answers with one JSON line, the measured figures.
Imported by nobody but its tests.
"""

from __future__ import annotations

import sys

from mnist_bench.data.dataset import Source
from mnist_bench.results.experiments import Body
from mnist_bench.results.protocol import FindingQuestion
from mnist_bench.worker import tensorflow_setup as engine
from mnist_bench.worker.experiments import dataset_size as sizes


def main() -> None:
    """Answer one question."""
    question = FindingQuestion.model_validate_json(sys.stdin.buffer.readline())
    print(measured(question).model_dump_json())  # noqa: T201


def measured(question: FindingQuestion) -> Body:
    """The figures for the claim.

    Raises:
        ValueError: The claim needs images and the question names none.
    """
    if question.claim == 11:
        return sizes.measured(_images(question))
    engine.start(question.execution)
    # These load TensorFlow, which must be settled before.
    from mnist_bench.worker.experiments import convolution_identity as convolution
    from mnist_bench.worker.experiments import layer_comparison as sparseness
    from mnist_bench.worker.experiments import optimizer_comparison as descent

    if question.claim == 7:
        return sparseness.measured(question.seed, question.seconds, sparseness.SIDES)
    if question.claim == 8:
        return descent.measured(
            _images(question), question.execution.parts, question.seed, question.seconds
        )
    return convolution.check(question.seed)


def _images(question: FindingQuestion) -> Source:
    if question.source is None:
        raise ValueError(f"claim {question.claim} needs images")
    return question.source


if __name__ == "__main__":
    main()
