"""The paper's values, written down a second time."""

from __future__ import annotations

import pytest

from mnist_bench.scenarios import paper
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.scenarios.scenario import Grid


def test_table_1() -> None:
    printed = [(row.steps, row.paper_step, row.max_test_accuracy) for row in paper.TABLE_1]
    assert printed == [
        (1_000, 900, 0.984),
        (2_500, 2_200, 0.9888),
        (5_000, 4_800, 0.9918),
        (10_000, 8_400, 0.9928),
    ]
    assert paper.TARGET_ACCURACIES == (0.984, 0.9888, 0.9918, 0.9928)
    assert (paper.RUNNING_TEXT_STEPS, paper.RUNNING_TEXT_ACCURACY) == (2_500, 0.988)


def test_protocol() -> None:
    assert paper.PROTOCOL.model == "paper-cnn"
    assert paper.DATASET == "mnist"
    assert paper.PROTOCOL.steps == (1_000, 2_500, 5_000, 10_000)
    assert paper.PROTOCOL.grid == Grid(first=1, every=100)
    assert (
        paper.PROTOCOL.hyperparameters
        == PaperCnnHyperparameters()
        == PaperCnnHyperparameters(learning_rate=0.001, batch_size=50, dropout_rate=0.5)
    )


def test_parameter_count() -> None:
    # 5 × 5 kernels on 1 and on 32 channels, 7 × 7 × 64 values into 1,024, these into 10 digits.
    convolutions = (5 * 5 * 1 * 32 + 32) + (5 * 5 * 32 * 64 + 64)
    dense = (7 * 7 * 64 * 1_024 + 1_024) + (1_024 * 10 + 10)
    assert paper.PARAMETER_COUNT == convolutions + dense == 3_274_634


def test_the_papers_labels_are_on_its_grid() -> None:
    assert [paper.paper_label(step) for step in (1, 8_401)] == [0, 8_400]
    assert all(row.paper_step + 1 in paper.PROTOCOL.grid for row in paper.TABLE_1)


@pytest.mark.parametrize("row", paper.TABLE_1)
def test_row_of(row: paper.Table1Row) -> None:
    assert paper.row_of(row.steps) is row
    assert paper.row_of(row.steps - 1) is None
