"""What a claim of the paper needs: `python -m mnist_bench.inquiry`, started by the parent.

Reads a `FindingQuestion` on standard input and answers with one JSON line, the measured figures.
Imported by nobody but its tests.
"""

from __future__ import annotations

import sys

from mnist_bench import convolution, engine
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
    engine.start(question.execution)
    return convolution.check(question.seed)


if __name__ == "__main__":
    main()
