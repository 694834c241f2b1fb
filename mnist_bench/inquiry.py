"""What a claim of the paper needs: `python -m mnist_bench.inquiry`, started by the parent.

Reads a `FindingQuestion` on standard input and answers with one JSON line, the measured figures.
Imported by nobody but its tests.
"""

from __future__ import annotations

import sys

from mnist_bench import engine, sizes
from mnist_bench.dataset import Source
from mnist_bench.finding import Body
from mnist_bench.protocol import FindingQuestion


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
    from mnist_bench import convolution, descent, sparseness

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
