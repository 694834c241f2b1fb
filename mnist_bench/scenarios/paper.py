"""What the paper printed, as data with its places; the one home of Table I's figures.

Source: J. Rich, "MNIST Image Classification with Convolutional Neural Network", 2018, and the
author's program (GitHub jrich8573/MNIST-CNN). The paper does not state the network's sizes,
the optimizer or the evaluation grid; they are the program's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.scenarios.scenario import Scenario

TITLE = "MNIST Image Classification with Convolutional Neural Network"
AUTHOR = "J. Rich"
YEAR = 2018
TABLE_1_PLACE = "Table I, page 3"
DATASET = "mnist"
"""The images that Table I was measured on."""
TEST_IMAGES = 10_000
"""Of these."""
ROUNDING_SD = 1 / TEST_IMAGES / math.sqrt(12)
"""Of an accuracy that is a whole number of images; no spread of seeds is smaller than this."""


@dataclass(frozen=True)
class Table1Row:
    """One line of Table I: a single training, one draw.

    Attributes:
        steps: Updates of the training.
        paper_step: Where the paper saw the maximum, by its own label: updates done minus 1.
        max_test_accuracy: The largest test accuracy it saw, a share.
    """

    steps: int
    paper_step: int
    max_test_accuracy: float


TABLE_1 = (
    Table1Row(1_000, 900, 0.984),
    Table1Row(2_500, 2_200, 0.9888),
    Table1Row(5_000, 4_800, 0.9918),
    Table1Row(10_000, 8_400, 0.9928),
)

RUNNING_TEXT_STEPS = 2_500
RUNNING_TEXT_ACCURACY = 0.988
"""What the running text (IV.C) gives for these steps, where Table I has 0.9888."""

TARGET_ACCURACIES = tuple(row.max_test_accuracy for row in TABLE_1)
"""Accuracies whose time is measured where a scenario names none."""

HYPERPARAMETERS = PaperCnnHyperparameters(learning_rate=0.001, batch_size=50, dropout_rate=0.5)
"""Of the network of Table I and its training."""

PROTOCOL = Scenario(
    title="The paper's Table I: max test accuracy after 1,000, 2,500, 5,000 and 10,000 steps",
    model="paper-cnn",
    steps=tuple(row.steps for row in TABLE_1),
    eval_first=1,
    eval_every=100,
    hyperparameters=HYPERPARAMETERS,
)
"""How the paper's program trained and scored: only runs of this protocol compare with Table I."""

PARAMETER_COUNT = 3_274_634
"""Weights and biases of the network of Table I."""


def paper_label(step: int) -> int:
    """The step as the paper's program prints it: it counts its updates from 0."""
    return step - 1


def row_of(steps: int) -> Table1Row | None:
    """Table I's row for a step count, None where it has none."""
    return next((row for row in TABLE_1 if row.steps == steps), None)


# The claims. What decides each of them is declared here, before anything is measured.


CLAIM_SEEDS = 5
"""Fewest trainings of a step count by which claims about learning are decided."""
CONVERGED_STEPS = 2_000
PLATEAU_SHARE = 0.75
"""The plateau: what lies behind this share of the longest training."""
FIGURES_IMAGE = 0
"""The paper's Figure 1: the first test image."""
NEAR_ALL = 0.999
"""What is called nearly 100%: one test image in a thousand is missed."""
CHARGER_WATTS = 60.0
"""Of a 13-inch MacBook Pro of 2011; its processor and screen took no more for long."""
