"""What may be asked: choices and ceilings, as plain values that `--help` shows."""

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
"""A hundred times the paper's longest; a longer wish is most likely a slip of the hand."""
MAX_BATCH_SIZE = 55_000
"""The largest training split there is."""
MAX_SEED = 2**31 - 1
MAX_SEEDS = 10_000
MAX_THREADS = 1_024
MAX_TRIALS = 100_000
MAX_CONFIRMATIONS = 1_000
MAX_FINALISTS = 1_000
REPEATS = 3
"""Further trainings of each finalist of a study."""
REPORT_FORMATS = ("html", "md", "csv", "json")
"""Of `mnist-bench report`, by the files' suffixes."""
COMPARED_BY = ("machine", "scenario", "tensorflow", "mnist-bench", "precision")
"""Keys of `mnist-bench compare --by`."""
