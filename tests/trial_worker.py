"""A fake worker for trials, whose accuracies depend on the hyperparameters.

It is run as a process (`fakes.trial_worker`) or within the test's (`fakes.TrialWorker`). It imports
nothing heavy but NumPy, so that it starts quickly. Field names are written out, so that tests fail
if the protocol's are renamed.
"""

from __future__ import annotations

import json
import math
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np


def messages(request: dict[str, Any], fault: str) -> Iterator[dict[str, Any]]:
    """The worker's messages after `go`.

    Args:
        fault: One line of Python, run before training, with `request`, its `hyperparameters` and
            some modules in scope.
    """
    with pathlib.Path("requests.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(request) + "\n")
    yield {
        "kind": "calibration", "step": 0, "seconds": 0.125, "surroundings": {"logical_cores": 2}
    }  # fmt: skip
    (steps,) = request["step_counts"]
    hyperparameters, grid, done = request["hyperparameters"], request["grid"], 0
    scope = {"json": json, "pathlib": pathlib, "sys": sys, "time": time}
    exec(fault, scope | {"request": request, "hyperparameters": hyperparameters})
    # The best rate is 0.01, and a larger batch takes longer.
    best = 0.98 - 0.05 * abs(math.log10(hyperparameters["learning_rate"]) + 2)
    noise = 0.0004 * (request["training_seed"] % 3)
    seconds, test = 0.0, None
    for step in range(grid["first"], steps + 1, grid["every"]):
        seconds = step * 0.001 * hyperparameters["batch_size"]
        stretch = {
            "step": step, "steps": step - done, "train_seconds": 0.1, "rss_bytes": 400_000_000,
            "seen": {"wall_seconds": 0.1, "own_cpu_seconds": 0.1},
        }  # fmt: skip
        yield {"kind": "sample", "train_seconds": seconds, "stretch": stretch, "surroundings": None}
        accuracy = round((best + noise) * (0.5 + 0.5 * step / steps), 4)
        test = round(accuracy - 0.002, 4) if request["with_test"] else None
        scores = {"test_accuracy": test, "validation_accuracy": accuracy, "train_loss": 0.25}
        yield {
            "kind": "evaluation", "evaluation": {"step": step, "train_seconds": seconds, **scores}
        }  # fmt: skip
        done = step
    if test is not None:
        folder = pathlib.Path(request["folder"], str(steps))
        folder.mkdir()
        labels = np.arange(500) % 10
        wrong = np.where(np.arange(500) < round(500 * (1 - test)), (labels + 1) % 10, labels)
        np.savez(folder / "predictions.npz", final_label=wrong.astype(np.uint8),
                 final_probability=np.ones(len(wrong), np.float16))  # fmt: skip
        if request["save_weights"]:
            np.savez(folder / "weights.npz", output_bias=np.zeros(10, np.float32))
    memory = {"peak_rss_bytes": 500_000_000, "memory_method": "VmHWM"}
    yield {
        "kind": "row", "steps": steps, "seconds": {"train": seconds}, "phase_peak_rss_bytes": {},
        **memory,
    }  # fmt: skip
    yield {"kind": "done"}


def _send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asked = json.loads(sys.stdin.readline())
    _send({"kind": "ready"})
    if sys.stdin.readline().strip() != "go":
        sys.exit("no go message")
    for each in messages(asked, sys.argv[1]):
        _send(each)
