"""The loop that a user would write: an Optuna study over Keras trainings, one process for each.

Started and imported by `search_cost.py`. Reads a `LoopTask` from standard input, prints a
`LoopedTrials` as its last line.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import optuna

sys.path.insert(0, str(Path(__file__).parents[1] / "peers"))

from keras_trial import KNOWN, Scored, TrialTask
from measured import answer

from mnist_bench.core.records import Record
from mnist_bench.data.dataset import Source
from mnist_bench.tuning.space import LEAST_GRID_POINTS, Space, Value
from mnist_bench.tuning.study import SAMPLER_SEED, suggested

_PROGRAM = Path(__file__).with_name("keras_trial.py")


class LoopTask(Record):
    """A search that Keras can do.

    Attributes:
        space: Search space.
        source: The images, found and verified.
        trials: Number of trials; the first is the paper's configuration.
    """

    space: Space
    source: Source
    trials: int


class Looped(Record):
    """A trial that Keras trained.

    Attributes:
        chosen: Its configuration.
        seconds: Wall-clock time from process start to end.
        validation_accuracy: After its last step.
    """

    chosen: dict[str, Value]
    seconds: float
    validation_accuracy: float


class LoopedTrials(Record):
    """All trials of a search, in order."""

    trials: tuple[Looped, ...]


class KerasLoop:
    """A study in memory with the suite's sampler and seed, without pruning.

    Raises:
        ValueError: The space has parameters that the Keras program lacks.
    """

    def __init__(self, space: Space, source: Source) -> None:
        if missing := set(space.parameters) - KNOWN:
            raise ValueError(f"the Keras program has no {', '.join(sorted(missing))}")
        if space.is_conditional or space.steps is None or space.steps % LEAST_GRID_POINTS:
            raise ValueError(
                f"steps must be a multiple of {LEAST_GRID_POINTS}, and no parameter conditional"
            )
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.trials: list[Looped] = []
        self._space, self._source, self._steps = space, source, space.steps
        self._study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=SAMPLER_SEED)
        )

    def enqueue(self, chosen: Mapping[str, Value]) -> None:
        """Enqueue a configuration, to be trained before suggested ones."""
        self._study.enqueue_trial(dict(chosen))

    def train(self, trials: int) -> None:
        """Train a number of trials."""
        self._study.optimize(self._objective, n_trials=trials)

    def _objective(self, trial: optuna.Trial) -> float:
        parameters = self._space.parameters.items()
        chosen = {name: suggested(trial, name, parameter) for name, parameter in parameters}
        task = TrialTask(
            source=self._source,
            hyperparameters=self._space.hyperparameters(chosen),
            steps=self._steps,
            scorings=LEAST_GRID_POINTS,
            seed=trial.number,
        )
        begin = time.perf_counter()
        scored = Scored.model_validate_json(answer(str(_PROGRAM), task))
        seconds = time.perf_counter() - begin
        last = scored.validation_accuracies[-1]
        self.trials.append(Looped(chosen=chosen, seconds=seconds, validation_accuracy=last))
        return last


def main() -> None:
    """Run one task."""
    task = LoopTask.model_validate_json(sys.stdin.readline())
    loop = KerasLoop(task.space, task.source)
    loop.enqueue(task.space.paper_values())
    loop.train(task.trials)
    print(LoopedTrials(trials=tuple(loop.trials)).model_dump_json())


if __name__ == "__main__":
    main()
