"""A run in short: what every table and every statistic is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import Field

from mnist_bench.core.records import Record
from mnist_bench.measurement.quality import Verdict
from mnist_bench.results.run import PhaseName, RunResult, Status
from mnist_bench.scenarios.hyperparameters import Hyperparameters


class RunSummary(Record):
    """One run in short; what is not known is None.

    Attributes:
        status: How the run ended; None while it goes on.
        verdict: Whether the machine let the figures be trusted; None where nobody looked.
        reasons: Why it did not.
        max_test_accuracy_step: In updates done.
        seconds: Wall-clock seconds of the training process by phase.
        failure: Why the run did not finish.
        training_seed: What the training itself was started with.
        phase_peak_rss_bytes: The largest resident memory by phase; empty where it is not known.
        shared_phases: Phases in which the suite's other process worked too.
        device_name: Of the GPU; likewise `device_memory_bytes`. None on the processor.
        eval_first: First grid step; likewise `eval_every`. None in documents from before they were
            told.

    The others are `RunResult`'s own, and what it derives.
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


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run in short, and where it comes from; what is not known is None.

    There may be thousands: what is equal in several is one object, not a copy a run.

    Attributes:
        run: The run.
        begun_at_ms: Unix time in milliseconds.
        machine: The machine by its hardware.
        tensorflow: Version; likewise `mnist_bench`.
        study: Of which it is a trial; None where it is none.
        study_run_id: MLflow's id of the study's own run.
    """

    run: RunSummary
    begun_at_ms: int
    machine: str | None = None
    tensorflow: str | None = None
    mnist_bench: str | None = None
    study: str | None = None
    study_run_id: str | None = None

    @property
    def order(self) -> tuple[int, int, int, int]:
        """By which draws are told: the oldest first, those of one training by their length."""
        return self.begun_at_ms, self.run.seed, self.run.threads, self.run.steps


def summarise_run(result: RunResult) -> RunSummary:
    """A run's record in short."""
    return RunSummary(
        scenario=result.scenario,
        model=result.model,
        steps=result.steps,
        seed=result.seed,
        status=result.status,
        run_id=result.run_id,
        trajectory=result.trajectory,
        dataset=result.dataset,
        dataset_digest=result.dataset_digest,
        precision=result.precision,
        threads=result.threads,
        device=result.device,
        machine_id=result.machine_id,
        memory_method=result.memory_method,
        verdict=result.verdict,
        # One reason may hold at several moments of a run.
        reasons=None if result.verdict is None else tuple(dict.fromkeys(result.reasons)),
        max_test_accuracy=result.max_test_accuracy,
        max_test_accuracy_step=result.max_test_accuracy_step,
        final_test_accuracy=result.final_test_accuracy,
        selected_test_accuracy=result.selected_test_accuracy,
        train_seconds_total=result.train_seconds_total,
        images_per_second=result.images_per_second,
        peak_rss_bytes=result.peak_rss_bytes,
        seconds=result.seconds,
        hyperparameters=result.hyperparameters,
        failure=result.failure,
        training_seed=result.training_seed,
        phase_peak_rss_bytes=result.phase_peak_rss_bytes,
        shared_phases=result.shared_phases,
        device_name=result.device_name,
        device_memory_bytes=result.device_memory_bytes,
        max_validation_accuracy=result.max_validation_accuracy,
        final_validation_accuracy=result.final_validation_accuracy,
        eval_first=result.eval_first,
        eval_every=result.eval_every,
        processor_joules=result.processor_joules,
        battery_joules=result.battery_joules,
    )


def summarise(results: Iterable[RunResult]) -> tuple[RunSummary, ...]:
    """Runs' records in short, in the order given."""
    return tuple(map(summarise_run, results))


def shares_trajectories(runs: Sequence[RunSummary]) -> bool:
    """Whether some runs are cut from one training: the shorter are prefixes of the longer."""
    return len({run.trajectory for run in runs}) < len(runs)
