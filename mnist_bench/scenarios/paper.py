"""The paper's Table I and its protocol as data.

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
"""The dataset of Table I."""
TEST_IMAGES = 10_000
"""Test images in the dataset."""
ROUNDING_SD = 1 / TEST_IMAGES / math.sqrt(12)
"""Standard deviation due to rounding accuracy to whole images: the least spread of seeds."""


@dataclass(frozen=True)
class Table1Row:
    """One row of Table I, which is from a single training."""

    steps: int
    paper_step: int
    """Step of the maximum, as the paper labels it: updates done minus 1."""
    max_test_accuracy: float


TABLE_1 = (
    Table1Row(1_000, 900, 0.984),
    Table1Row(2_500, 2_200, 0.9888),
    Table1Row(5_000, 4_800, 0.9918),
    Table1Row(10_000, 8_400, 0.9928),
)

RUNNING_TEXT_STEPS = 2_500
RUNNING_TEXT_ACCURACY = 0.988
"""Accuracy that the text (IV.C) states for these steps; Table I has 0.9888."""

TARGET_ACCURACIES = tuple(row.max_test_accuracy for row in TABLE_1)
"""Default target accuracies of a scenario."""

HYPERPARAMETERS = PaperCnnHyperparameters(learning_rate=0.001, batch_size=50, dropout_rate=0.5)
"""Hyperparameters of Table I."""

PROTOCOL = Scenario(
    title="The paper's Table I: max test accuracy after 1,000, 2,500, 5,000 and 10,000 steps",
    model="paper-cnn",
    steps=tuple(row.steps for row in TABLE_1),
    eval_first=1,
    eval_every=100,
    hyperparameters=HYPERPARAMETERS,
)
"""The protocol of the paper's program; only runs of this protocol compare with Table I."""

PARAMETER_COUNT = 3_274_634
"""Weights and biases of the network of Table I."""


def paper_label(step: int) -> int:
    """The label of a step in the paper, whose program counts updates from 0."""
    return step - 1


def row_of(steps: int) -> Table1Row | None:
    """Table I's row for a step count, or None."""
    return next((row for row in TABLE_1 if row.steps == steps), None)


# Constants for the claims, declared before anything is measured.

CLAIM_SEEDS = 5
"""Least trainings per step count to decide claims about learning."""
CONVERGED_STEPS = 2_000
PLATEAU_SHARE = 0.75
"""The plateau starts after this share of the longest training."""
FIGURES_IMAGE = 0
"""Test image of the paper's Figure 1, the first."""
NEAR_ALL = 0.999
"""Threshold for “nearly 100%”: one of a thousand test images is wrong."""
CHARGER_WATTS = 60.0
"""Charger of a 13-inch MacBook Pro of 2011: an upper limit of its sustained power."""
