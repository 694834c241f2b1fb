"""What was got: the raw record of one run. Everything else is derived from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field

from mnist_bench.core.records import Record
from mnist_bench.measurement.conditions import Conditions, Stretch, total
from mnist_bench.measurement.quality import Verdict
from mnist_bench.scenarios.hyperparameters import Hyperparameters
from mnist_bench.scenarios.scenario import Grid

Split = Literal["test", "validation"]
SPLITS: tuple[Split, ...] = ("test", "validation")
PhaseName = Literal["import", "data", "trace", "train", "evaluate", "other"]
PHASES: tuple[PhaseName, ...] = ("import", "data", "trace", "train", "evaluate", "other")
Status = Literal["finished", "failed", "killed", "pruned"]
"""How a run ended; `pruned` is a trial that was ended early, others being ahead."""


class Evaluation(Record):
    """One scoring of the network.

    Attributes:
        step: Updates done.
        test_accuracy: Share of the test images classified rightly; None where nobody looked.
        validation_accuracy: The same of the validation images.
        train_loss: Mean training loss (dropout on) over the steps since the grid step before;
            None where it is no finite number.
        train_seconds: Training seconds from the first update to here.
    """

    step: int
    test_accuracy: float | None
    validation_accuracy: float
    train_loss: float | None
    train_seconds: float

    def accuracy(self, split: Split) -> float | None:
        """Accuracy on the named split; None where it was not scored."""
        return self.test_accuracy if split == "test" else self.validation_accuracy


class Trial(Record):
    """Of which study a run is a trial; it sees nothing of the test split.

    Attributes:
        study: Name of the study.
        number: Optuna's number of the trial.
        parent_run_id: MLflow's id of the study's own run.
    """

    study: str
    number: int
    parent_run_id: str


class RunResult(Record):
    """One step count × one seed, trained once.

    Attributes:
        scenario: Name of the scenario.
        model: Name of the network, or of another method.
        steps: Updates asked for.
        seed: As the user counts seeds.
        training_seed: What the training itself was started with; differs from `seed` where each
            row is trained from zero.
        trial: Of which study it is one; None of a run of `mnist-bench run`.
        part: Which part of a plan that machines share it is cut from, and so recorded once; None
            of any other run.
        train_seconds_limit: Training seconds after which it ends at the next grid step; None
            where only its steps end it.
        status: How the run ended; None while it goes on.
        failure: Why it did not finish; None where it did.
        run_id: MLflow's id.
        trajectory: Id of the training that this run is cut from.
        dataset: `mnist`, `mnist-5k` or `custom:<digest>`.
        dataset_digest: SHA-256 that stands for the images and labels.
        precision: Of the arithmetic.
        threads: As many operations at a time, each on one thread.
        device: `cpu` or `gpu`.
        device_name: Of the GPU; None on the processor.
        device_memory_bytes: What TensorFlow may use of the GPU's memory; None on the processor.
        bfloat16_speedup: How many times as fast as float32 a step in bfloat16 was found to be
            right before; None where nobody measured.
        machine_id: The random id of the machine; None where none could be kept.
        memory_method: How `peak_rss_bytes` was read.
        eval_first: First grid step.
        eval_every: Distance of grid steps.
        target_accuracies: Accuracies whose time is looked for.
        hyperparameters: Of the model.
        evaluations: On the grid, and the last state; by rising step.
        seconds: Wall-clock seconds of the training process by phase, up to this run's last step.
        peak_rss_bytes: The training process's own high-water mark up to this run's last step.
        phase_peak_rss_bytes: The same by phase; empty where the mark can't be reset.
        shared_phases: Phases in which the suite's other process worked too: it opened the store.
        conditions: What was seen of the machine; None where nobody looked.
        verdict: Whether the machine let the figures be trusted; None while the run goes on.
        reasons: Why not, in words.
    """

    scenario: str
    model: str
    steps: int
    seed: int
    training_seed: int
    trial: Trial | None = None
    part: str | None = None
    train_seconds_limit: float | None = None
    status: Status | None = None
    failure: str | None = None
    run_id: str | None = None
    trajectory: str
    dataset: str
    dataset_digest: str
    precision: str
    threads: int
    device: str
    device_name: str | None = None
    device_memory_bytes: int | None = None
    bfloat16_speedup: float | None = None
    machine_id: str | None
    memory_method: str | None = None
    eval_first: int
    eval_every: int
    target_accuracies: tuple[float, ...]
    hyperparameters: Hyperparameters
    evaluations: tuple[Evaluation, ...] = ()
    seconds: dict[PhaseName, float] = Field(default={})
    peak_rss_bytes: int | None = None
    phase_peak_rss_bytes: dict[PhaseName, int] = Field(default={})
    shared_phases: tuple[PhaseName, ...] = ()
    conditions: Conditions | None = None
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid:
        """The evaluation grid."""
        return Grid(first=self.eval_first, every=self.eval_every)

    @property
    def candidates(self) -> tuple[Evaluation, ...]:
        """Evaluations on the grid; the last state is none where it lies off the grid."""
        return tuple(e for e in self.evaluations if e.step in self.grid)

    @property
    def best(self) -> Evaluation | None:
        """First evaluation of the largest test accuracy on the grid."""
        scored = (e for e in self.candidates if e.test_accuracy is not None)
        return max(scored, key=lambda e: e.test_accuracy or 0.0, default=None)

    @property
    def selected(self) -> Evaluation | None:
        """First evaluation of the largest validation accuracy on the grid."""
        return max(self.candidates, key=lambda e: e.validation_accuracy, default=None)

    @property
    def max_test_accuracy(self) -> float | None:
        """Largest test accuracy on the grid."""
        return self.best.test_accuracy if self.best else None

    @property
    def max_test_accuracy_step(self) -> int | None:
        """The first step that attains it, in updates done."""
        return self.best.step if self.best else None

    @property
    def max_validation_accuracy(self) -> float | None:
        """Largest validation accuracy on the grid."""
        return self.selected.validation_accuracy if self.selected else None

    @property
    def final_validation_accuracy(self) -> float | None:
        """Validation accuracy after the last update; None where the run did not get there."""
        return self._last.validation_accuracy if self._last else None

    @property
    def selected_test_accuracy(self) -> float | None:
        """Test accuracy at the first grid step of highest validation accuracy."""
        return self.selected.test_accuracy if self.selected else None

    @property
    def final_test_accuracy(self) -> float | None:
        """Test accuracy after the last update; None where the run did not get there."""
        return self._last.test_accuracy if self._last else None

    @property
    def train_seconds_total(self) -> float | None:
        """Seconds inside training, up to the last evaluation."""
        return self.evaluations[-1].train_seconds if self.evaluations else None

    @property
    def images_per_second(self) -> float | None:
        """Training images a second, training only."""
        if not self.train_seconds_total:
            return None
        images = self.evaluations[-1].step * self.hyperparameters.images_per_step
        return images / self.train_seconds_total

    @property
    def processor_joules(self) -> float | None:
        """Energy of the processors inside training, by their counters; None where none tells."""
        return self._joules(lambda stretch: stretch.processor_joules)

    @property
    def battery_joules(self) -> float | None:
        """Energy of the whole machine inside training; None where it did not live on batteries."""
        return self._joules(lambda stretch: stretch.battery_joules)

    def _joules(self, figure: Callable[[Stretch], float | None]) -> float | None:
        stretches = self.conditions.stretches if self.conditions else ()
        return total([each.seen for each in stretches], figure)

    def seconds_to_accuracy(self, split: Split, target: float) -> float | None:
        """Training seconds until the grid first reaches `target`; None when it never does."""
        for evaluation in self.candidates:
            accuracy = evaluation.accuracy(split)
            if accuracy is not None and accuracy >= target:
                return evaluation.train_seconds
        return None

    @property
    def _last(self) -> Evaluation | None:
        """After the last update; None where the run did not get there."""
        last = self.evaluations[-1] if self.evaluations else None
        ended = last is not None and (last.step == self.steps or self.status == "finished")
        return last if ended else None


def step_counts_at(step: int, rows: tuple[int, ...], grid: Grid) -> tuple[int, ...]:
    """Which step counts of a shared trajectory an evaluation at `step` belongs to.

    A row holds its grid steps and its own last state, never the last state of another row.
    """
    return tuple(row for row in rows if row == step or (row > step and step in grid))
