"""The record of one run: its measurements, and what is derived from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field

from mnist_bench.core.records import Items, Record
from mnist_bench.measurement.conditions import Conditions, Stretch, total
from mnist_bench.measurement.quality import Verdict
from mnist_bench.scenarios.hyperparameters import Hyperparameters
from mnist_bench.scenarios.scenario import Grid

Split = Literal["test", "validation"]
SPLITS: tuple[Split, ...] = ("test", "validation")
PhaseName = Literal["import", "data", "trace", "train", "evaluate", "other"]
PHASES: tuple[PhaseName, ...] = ("import", "data", "trace", "train", "evaluate", "other")
Status = Literal["finished", "failed", "killed", "pruned"]
"""How a run ended; `pruned` is a trial that was stopped early because others were better."""


class Evaluation(Record):
    """One evaluation of the network.

    Attributes:
        step: Updates so far.
        test_accuracy: Share of the test images classified correctly; None if not evaluated.
        validation_accuracy: Share of the validation images classified correctly.
        train_loss: Mean training loss (with dropout) over the steps since the previous grid step;
            None if it is not finite.
        train_seconds: Train seconds so far.
    """

    step: int
    test_accuracy: float | None
    validation_accuracy: float
    train_loss: float | None
    train_seconds: float

    def accuracy(self, split: Split) -> float | None:
        """Accuracy on a split; None if it was not evaluated."""
        return self.test_accuracy if split == "test" else self.validation_accuracy


class Trial(Record):
    """The study that a run belongs to; its trials never use the test split.

    Attributes:
        parent_run_id: MLflow run id of the study.
    """

    study: str
    number: int
    parent_run_id: str


class RunResult(Record):
    """The record of one run: one step count and one seed.

    Attributes:
        model: Name of the network or other method.
        seed: The seed that the user sees.
        training_seed: The seed of the training; differs from `seed` if each step count is trained
            from step 0.
        trial: None for runs of `mnist-bench run`.
        part: Tag of the training job in a plan that several machines share, used to record each
            run once; None for other runs.
        train_seconds_limit: Train seconds after which the run ends at the next grid step; None
            without a limit.
        status: None while it is running.
        trajectory: Id of the training; runs of one training share it.
        dataset: `mnist`, `mnist-5k` or `custom:<digest>`.
        dataset_digest: SHA-256 of the images and labels.
        threads: Operations that run at the same time, each on one thread.
        device_name: Name of the GPU; None on the CPU.
        device_memory_bytes: GPU memory that TensorFlow may use; None on the CPU.
        environment: Environment variables that change how TensorFlow and its libraries compute, as
            `NAME=VALUE NAME=VALUE`; None if none was set.
        bfloat16_speedup: Speed of a step in bfloat16 divided by that in float32; only runs of
            0.1.0 have it.
        memory_method: How `peak_rss_bytes` was measured.
        target_accuracies: Accuracies for time to accuracy.
        evaluations: On the grid and after the last step, by rising step.
        seconds: Wall-clock seconds of the worker by phase, up to the last step of the run.
        peak_rss_bytes: Peak RSS of the worker up to the last step of the run.
        phase_peak_rss_bytes: Peak RSS by phase; empty if the peak can't be reset.
        shared_phases: Phases during which the parent process was busy opening the store.
        conditions: Observed state of the machine; None if not observed.
        verdict: Whether times and memory can be trusted; None while the run is running.
        reasons: Why not.
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
    environment: str | None = Field(default=None, exclude_if=lambda of: of is None)
    bfloat16_speedup: float | None = None
    machine_id: str | None
    memory_method: str | None = None
    eval_first: int
    eval_every: int
    target_accuracies: tuple[float, ...]
    hyperparameters: Hyperparameters
    evaluations: Items[Evaluation] = ()
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
        """Evaluations on the grid, without the last step if that is off the grid."""
        return tuple(e for e in self.evaluations if e.step in self.grid)

    @property
    def best(self) -> Evaluation | None:
        """First evaluation with the largest test accuracy on the grid."""
        scored = (e for e in self.candidates if e.test_accuracy is not None)
        return max(scored, key=lambda e: e.test_accuracy or 0.0, default=None)

    @property
    def selected(self) -> Evaluation | None:
        """First evaluation with the largest validation accuracy on the grid."""
        return max(self.candidates, key=lambda e: e.validation_accuracy, default=None)

    @property
    def max_test_accuracy(self) -> float | None:
        """Largest test accuracy on the grid."""
        return self.best.test_accuracy if self.best else None

    @property
    def max_test_accuracy_step(self) -> int | None:
        """First step with the largest test accuracy, in updates."""
        return self.best.step if self.best else None

    @property
    def max_validation_accuracy(self) -> float | None:
        """Largest validation accuracy on the grid."""
        return self.selected.validation_accuracy if self.selected else None

    @property
    def final_validation_accuracy(self) -> float | None:
        """Validation accuracy after the last update; None if the run ended earlier."""
        return self._last.validation_accuracy if self._last else None

    @property
    def selected_test_accuracy(self) -> float | None:
        """Test accuracy at the first grid step with the largest validation accuracy."""
        return self.selected.test_accuracy if self.selected else None

    @property
    def final_test_accuracy(self) -> float | None:
        """Test accuracy after the last update; None if the run ended earlier."""
        return self._last.test_accuracy if self._last else None

    @property
    def train_seconds_total(self) -> float | None:
        """Train seconds up to the last evaluation."""
        return self.evaluations[-1].train_seconds if self.evaluations else None

    @property
    def images_per_second(self) -> float | None:
        """Training images per second of training."""
        if not self.train_seconds_total:
            return None
        images = self.evaluations[-1].step * self.hyperparameters.images_per_step
        return images / self.train_seconds_total

    @property
    def processor_joules(self) -> float | None:
        """Energy of the CPUs during training, by their counters; None without counters."""
        return self._joules(lambda stretch: stretch.processor_joules)

    @property
    def battery_joules(self) -> float | None:
        """Energy of the machine during training; None unless it ran on battery."""
        return self._joules(lambda stretch: stretch.battery_joules)

    def _joules(self, energy_of: Callable[[Stretch], float | None]) -> float | None:
        stretches = self.conditions.stretches if self.conditions else ()
        return total([each.seen for each in stretches], energy_of)

    def seconds_to_accuracy(self, split: Split, target: float) -> float | None:
        """Train seconds until an evaluation on the grid reaches `target`; None if none does."""
        reached = self.first_reaching(split, target)
        return reached.train_seconds if reached else None

    def first_reaching(self, split: Split, target: float) -> Evaluation | None:
        """First evaluation on the grid with an accuracy of `target` or more."""
        for evaluation in self.candidates:
            accuracy = evaluation.accuracy(split)
            if accuracy is not None and accuracy >= target:
                return evaluation
        return None

    @property
    def _last(self) -> Evaluation | None:
        """Evaluation after the last update; None if the run ended earlier."""
        last = self.evaluations[-1] if self.evaluations else None
        ended = last is not None and (last.step == self.steps or self.status == "finished")
        return last if ended else None


def step_counts_at(step: int, step_counts: tuple[int, ...], grid: Grid) -> tuple[int, ...]:
    """The step counts of a training that an evaluation at `step` belongs to.

    A run has the evaluations on the grid and after its own last step, but not after the last step
    of a shorter run.
    """
    return tuple(count for count in step_counts if count == step or (count > step and step in grid))
