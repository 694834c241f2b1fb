"""The loop that a user would write: an Optuna study over Keras trainings, one process for each.

Started by `search_cost.py`: with `trial` it trains one configuration, with `loop` it searches. It
reads its task from standard input and prints a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "peers")])

import common
from keras_fit import compiled, scaled
from pydantic import Field

from mnist_bench.core.records import Record
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.tuning.space import LEAST_GRID_POINTS, Space, Value
from mnist_bench.tuning.study import SAMPLER_SEED, suggested

PROGRAM = Path(__file__).resolve()
_SCORED_AT_ONCE = 500
"""The fastest batch size in benchmarks/peers."""


class KerasTask(Record):
    """A configuration to train, or a search of some trials.

    Attributes:
        chosen: Values of the configuration; the others are the paper's.
        seed: Of weights, batches and dropout.
        trials: Of a search; the first is the paper's configuration.
    """

    source: Source
    space: Space
    chosen: dict[str, Value] = Field(default={})
    seed: int = 0
    trials: int = 0


def train(task: KerasTask) -> float:
    """Train with as many validations as the suite's trials have; the last one's accuracy."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(task.seed)
    dataset = mnist.load(task.source, with_test=False)
    hyperparameters = task.space.hyperparameters(task.chosen)
    examples = tf.data.Dataset.from_tensor_slices((scaled(dataset.train), dataset.train.labels))
    # Endless batches: with finite arrays, an unfinished epoch of `fit` shortens the next one.
    endless = examples.shuffle(len(dataset.train.labels)).repeat()
    history = compiled(hyperparameters).fit(
        endless.batch(hyperparameters.batch_size).prefetch(tf.data.AUTOTUNE),
        epochs=LEAST_GRID_POINTS,
        steps_per_epoch=(task.space.steps or 0) // LEAST_GRID_POINTS,
        validation_data=(scaled(dataset.validation), dataset.validation.labels),
        validation_batch_size=_SCORED_AT_ONCE,
        verbose=0,
    )
    return float(history.history["val_accuracy"][-1])


def trained(task: KerasTask) -> dict[str, float]:
    """Train a configuration in a new process; seconds and validation accuracy."""
    begin = time.perf_counter()
    accuracy = common.answer(PROGRAM, task.model_dump_json(), "trial")
    return {"seconds": time.perf_counter() - begin, "validation_accuracy": accuracy}


def search(task: KerasTask) -> list[dict[str, Any]]:
    """Search with the suite's sampler and seed, without pruning; the trials."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=SAMPLER_SEED)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(task.space.paper_values())
    trials: list[dict[str, Any]] = []

    def objective(trial: optuna.Trial) -> float:
        chosen = {name: suggested(trial, name, of) for name, of in task.space.parameters.items()}
        result = trained(task.model_copy(update={"chosen": chosen, "seed": trial.number}))
        trials.append({"share_of_steps": 1.0, **result})
        return result["validation_accuracy"]

    study.optimize(objective, n_trials=task.trials)
    return trials


if __name__ == "__main__":
    given = KerasTask.model_validate_json(sys.stdin.readline())
    print(json.dumps({"trial": train, "loop": search}[sys.argv[1]](given)))
