"""Choices, limits and defaults of options."""

from __future__ import annotations

from typing import Literal

DatasetChoice = Literal["auto", "mnist", "mnist-5k"]
DATASET_CHOICES: tuple[DatasetChoice, ...] = ("auto", "mnist", "mnist-5k")
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
DeviceChoice = Literal["cpu", "gpu", "auto"]
DEVICE_CHOICES: tuple[DeviceChoice, ...] = ("cpu", "gpu", "auto")

Objective = Literal["accuracy", "time-to-accuracy", "pareto"]
OBJECTIVES: tuple[Objective, ...] = ("accuracy", "time-to-accuracy", "pareto")

MAX_STEPS = 1_000_000
"""A hundred times the paper's longest training; more is most likely a typing error."""
MAX_BATCH_SIZE = 55_000
"""Size of the largest training split."""
MAX_SEED = 2**31 - 1
MAX_SEEDS = 10_000
MAX_THREADS = 1_024
MAX_TRIALS = 100_000
MAX_CONFIRMATIONS = 1_000
MAX_FINALISTS = 1_000
MIN_MEMORY_BYTES = 300 * 2**20
"""Below what TensorFlow takes once it is imported (507 MB on Linux): no training can be smaller."""
REPEATS = 3
"""Default number of further trainings of each finalist."""
REPORT_FORMATS = ("html", "md", "csv", "json")
"""Formats of `mnist-bench report`, by file suffix."""
