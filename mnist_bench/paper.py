"""What the paper printed, as data with its places; the one home of Table I's figures.

Source: J. Rich, "MNIST Image Classification with Convolutional Neural Network", 2018, and the
author's program (GitHub jrich8573/MNIST-CNN). The paper does not state the network's sizes,
the optimizer or the evaluation grid; they are the program's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mnist_bench.claim import Claim, Criterion
from mnist_bench.hyperparameters import PaperCnnHyperparameters
from mnist_bench.scenario import Scenario

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
MEMORY_BYTES = 16 * 2**30
"""Of the paper's laptop."""
CHARGER_WATTS = 60.0
"""Of a 13-inch MacBook Pro of 2011; its processor and screen took no more for long."""
STATED_IMAGES_GB = 0.099
"""The paper's size of the training images (IV.A)."""

CLAIMS = (
    Claim(
        1,
        "The network reaches the four accuracies of Table I.",
        "IV.C, Table I",
        (
            Criterion(
                "rows",
                "Does each row's mean max test accuracy come up to the paper's?",
                "no row of Table I is shown to be below the paper's value, by Holm's procedure "
                "over the rows at 5%; all four were trained",
            ),
        ),
    ),
    Claim(
        2,
        "The network converges in as little as 2,000 steps.",
        "abstract",
        (
            Criterion(
                "shortfall",
                "How far is the test accuracy at 2,000 steps below the plateau?",
                "the 95% interval of the mean shortfall lies below 0.001, ten test images of "
                "10,000, over 5 seeds or more; the plateau is the mean over the last quarter of "
                "the same 10,000 steps, by the paper's labels",
                0.001,
            ),
        ),
    ),
    Claim(
        3,
        "With more steps the error comes closer and closer to zero; continued training would "
        "converge to nearly 100%.",
        "abstract, IV.C",
        (
            Criterion(
                "trend",
                "Does the final test error fall with the steps, from training to training?",
                "the 95% interval of the slope of log error on log steps lies below zero, over "
                "independent trainings of Table I's step counts, 5 seeds or more each; where "
                "that is not shown, it does not hold",
                0.0,
            ),
            Criterion(
                "near 100%",
                "After how many steps would that trend come to an accuracy of 0.999?",
                "the 95% interval of that step count lies below 100,000, ten times the paper's "
                "longest training",
                100_000,
            ),
        ),
    ),
    Claim(
        4,
        "The step of the largest accuracy grows with the number of steps; learning slows down as "
        "they increase.",
        "IV.C",
        (
            Criterion(
                "step of max",
                "Where in the second half of a training does its largest accuracy lie?",
                "the 95% interval of the mean place among its scorings there, 0 at the half, 1 at "
                "the end, below 0 before the half, lies above 0.5, where an even plateau would "
                "put it; independent trainings, 5 seeds or more of each step count; where that is "
                "not shown, it does not hold",
                0.5,
            ),
            Criterion(
                "slowing",
                "From the first update on, is each stretch up to one of Table I's step counts "
                "learnt more slowly than the one before?",
                "the 95% interval of each drop in accuracy gained per 1,000 steps lies above "
                "zero, corrected for their number after Bonferroni, over 5 seeds or more of "
                "10,000 steps; where that is not shown, it does not hold",
                0.0,
            ),
        ),
    ),
    Claim(
        5,
        "On a standard laptop with 16 GB of memory this is possible, efficient, accurate and "
        "affordable.",
        "abstract, I",
        (
            Criterion(
                "time",
                "How long does the whole process of Table I's longest training take here?",
                "it takes an hour at most, with its 95% interval where there are several seeds",
                3_600.0,
            ),
            Criterion(
                "memory",
                "How much memory does the training process take at its peak?",
                "it takes 16 GB (2^34 bytes) at most",
                float(MEMORY_BYTES),
            ),
            Criterion(
                "accuracy",
                "Does the row of 10,000 steps come up to Table I's?",
                "it is not below, by what claim 1 finds of that row",
            ),
        ),
    ),
    Claim(
        6,
        "Convolutional networks outperform all other techniques on handwritten digits.",
        "I, II.C",
        (
            Criterion(
                "accuracy",
                "How much better is the final test accuracy of Table I's network than that of "
                "each other technique?",
                "the 95% interval of the difference, of a single run by the network's spread "
                "alone, lies above zero for every technique that is no convolutional network, and "
                "all were measured",
                0.0,
            ),
        ),
    ),
    Claim(
        7,
        "Sparse connections need fewer parameters, less memory and fewer operations than a fully "
        "connected layer, and are faster for it.",
        "III.A",
        (
            Criterion(
                "parameters",
                "Weights of the fully connected layer by those of the convolution",
                "the ratio is more than 1 at every size, and grows with it",
                1.0,
            ),
            Criterion(
                "memory",
                "Bytes of the fully connected layer's weights by those of the convolution's",
                "the ratio is more than 1 at every size, and grows with it",
                1.0,
            ),
            Criterion(
                "operations",
                "Multiply-adds of the fully connected layer by those of the convolution",
                "the ratio is more than 1 at every size, and grows with it",
                1.0,
            ),
            Criterion(
                "time",
                "Time of the fully connected layer by that of the convolution, at the largest "
                "size that both were timed at",
                "the 95% interval of the ratio lies above 1",
                1.0,
            ),
        ),
    ),
    Claim(
        8,
        "Gradient descent on single samples usually converges considerably faster than on the "
        "full batch, or than second-order methods, on large redundant sets.",
        "II.B, equations 1 and 2",
        (
            Criterion(
                "full batch",
                "Seconds of full-batch descent to the smallest loss that both came to, by those "
                "of single samples",
                "the ratio is 2 or more: that is called considerably; or the full batch never "
                "comes below the loss that both begin with",
                2.0,
            ),
            Criterion(
                "second order",
                "The same of L-BFGS, a second-order method",
                "the ratio is 2 or more; or L-BFGS never comes below that loss",
                2.0,
            ),
        ),
    ),
    Claim(
        9,
        "Figures 2 to 4 show what the layers make of a digit: distorted a little, then more, then "
        "taken apart into 20 maps.",
        "IV.C, Figures 1 to 4",
        (
            Criterion(
                "distortion",
                "How alike is the digit to the maps of each layer, as the mean size of their "
                "correlation?",
                "it falls from layer to layer in a network of the figures' shape that is as "
                "untrained as theirs was",
            ),
        ),
    ),
    Claim(
        10,
        "What a convolutional layer computes is the discrete convolution of equation 5, but for a "
        "kernel that is flipped.",
        "III.A, equation 5",
        (
            Criterion(
                "flipped",
                "In how many cases does the library's operator, its kernel flipped, give what "
                "equation 5 does?",
                "it does in all, to the last digit: equation 5 flips the kernel, libraries do not",
                1.0,
            ),
        ),
    ),
    Claim(
        11,
        "The training images take about 0.099 GB, and the test images considerably less.",
        "IV.A",
        (
            Criterion(
                "size",
                "In which form and unit do the training images take 0.099 GB?",
                "they do in one of those that were tried, to the three decimals that are printed",
                STATED_IMAGES_GB,
            ),
            Criterion(
                "test images",
                "Bytes of the training images by those of the test images",
                "the ratio is 2 or more: that is called considerably",
                2.0,
            ),
        ),
    ),
    Claim(
        12,
        "Future work, no claim: parallel computing, and a GPU.",
        "IV.B",
        (
            Criterion(
                "threads",
                "How many times as fast is the training on the most threads tried as on one?",
                "the 95% interval lies above 1, or of one seed the figure itself",
                1.0,
            ),
        ),
    ),
)


def claim_of(number: int) -> Claim:
    """The claim of a number.

    Raises:
        KeyError: There is none.
    """
    return {claim.number: claim for claim in CLAIMS}[number]
