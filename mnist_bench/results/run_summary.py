"""Summaries of runs, the input of tables and statistics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import Field

from mnist_bench.core.records import Record, shared_fields
from mnist_bench.measurement.quality import Verdict
from mnist_bench.results.run import PhaseName, RunResult, Status
from mnist_bench.scenarios.hyperparameters import Hyperparameters

DISTURBED: tuple[Verdict, ...] = ("suspect", "invalid")


class RunSummary(Record):
    """Summary of one run; unknown values are None.

    Fields without a description are those of `RunResult`.

    Attributes:
        status: How the run ended; None while it is running.
        verdict: Whether times and memory can be trusted; None if not assessed.
        reasons: Why not.
        max_test_accuracy_step: In updates.
        seconds: Wall-clock seconds of the worker by phase.
        failure: Why the run did not finish.
        training_seed: The seed of the training.
        phase_peak_rss_bytes: Peak RSS by phase; empty if unknown.
        shared_phases: Phases during which the parent process was busy too.
        device_name: Name of the GPU; None on the CPU, like `device_memory_bytes`.
        eval_first: First step of the evaluation grid; None in older documents, like `eval_every`.
    """

    scenario: str
    model: str
    steps: int
    seed: int
    status: Status | None
    run_id: str | None
    trajectory: str
    dataset: str
    dataset_digest: str
    precision: str
    threads: int
    device: str
    machine_id: str | None
    memory_method: str | None
    verdict: Verdict | None
    reasons: tuple[str, ...] | None
    max_test_accuracy: float | None
    max_test_accuracy_step: int | None
    final_test_accuracy: float | None
    selected_test_accuracy: float | None
    train_seconds_total: float | None
    images_per_second: float | None
    peak_rss_bytes: int | None
    seconds: dict[PhaseName, float]
    hyperparameters: Hyperparameters
    failure: str | None = None
    training_seed: int | None = None
    phase_peak_rss_bytes: dict[PhaseName, int] = Field(default={})
    shared_phases: tuple[PhaseName, ...] = ()
    device_name: str | None = None
    device_memory_bytes: int | None = None
    max_validation_accuracy: float | None = None
    final_validation_accuracy: float | None = None
    eval_first: int | None = None
    eval_every: int | None = None
    processor_joules: float | None = None
    battery_joules: float | None = None
    environment: str | None = Field(default=None, exclude_if=lambda of: of is None)

    @property
    def overall_max_test_accuracy(self) -> float | None:
        """The largest test accuracy on the grid and after the last update."""
        both = (self.max_test_accuracy, self.final_test_accuracy)
        return max((accuracy for accuracy in both if accuracy is not None), default=None)

    @property
    def is_disturbed(self) -> bool:
        """Whether its time and memory are not to be trusted without a second thought."""
        return self.verdict in DISTURBED


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """Summary of a recorded run with its origin; unknown values are None.

    There may be thousands of them, so equal values are shared objects.

    Attributes:
        begun_at_ms: Start, Unix time in milliseconds.
        machine: Hardware of the machine.
        tensorflow: Version.
        mnist_bench: Version.
        study: Name of the study if the run is a trial.
        study_run_id: MLflow run id of the study.
        tags: The user's own, as names and values; MLflow's and the suite's are left out.
        is_imported: Whether it came in a bundle: another's run, whatever it says.
    """

    run: RunSummary
    begun_at_ms: int
    machine: str | None = None
    tensorflow: str | None = None
    mnist_bench: str | None = None
    study: str | None = None
    study_run_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    is_imported: bool = False

    @property
    def order(self) -> tuple[int, int, int, int]:
        """Sort key: oldest first, runs of one training by step count."""
        return self.begun_at_ms, self.run.seed, self.run.threads, self.run.steps


def summarise_run(result: RunResult) -> RunSummary:
    """Summarise the record of a run."""
    # A reason may apply several times in a run.
    reasons = None if result.verdict is None else tuple(dict.fromkeys(result.reasons))
    return RunSummary(**shared_fields(result, RunSummary) | {"reasons": reasons})


def summarise(results: Iterable[RunResult]) -> tuple[RunSummary, ...]:
    """Summarise records of runs, in the order given."""
    return tuple(map(summarise_run, results))


def machine_names(runs: Iterable[RecordedRun]) -> dict[str | None, str]:
    """Hardware by machine id, where a run recorded it."""
    return {each.run.machine_id: each.machine for each in runs if each.machine}


def share_a_training(runs: Sequence[RunSummary]) -> bool:
    """Whether any of the runs are from the same training (shorter ones are prefixes)."""
    return len({run.trajectory for run in runs}) < len(runs)
