"""Builds the runs of one training from its worker's messages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnist_bench.data.dataset import Source
from mnist_bench.measurement import quality
from mnist_bench.measurement.conditions import Conditions, Surroundings, TrainingStretch
from mnist_bench.measurement.machine import Machine
from mnist_bench.results import protocol
from mnist_bench.results.run import Evaluation, PhaseName, RunResult, Status, Trial, step_counts_at
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.scenario import Scenario
from mnist_bench.tracking.schema import Point


class RunBuilder:
    """The runs of one training.

    It uses neither clock nor store, so that replaying a spool gives the same runs.

    Args:
        runs: One run per step count, by rising step count, before their first step.
        exclusive: Whether other benchmarks of this user were locked out.
    """

    def __init__(self, runs: tuple[RunResult, ...], *, exclusive: bool = True) -> None:
        self._runs = {run.steps: run for run in runs}
        self._points: dict[int, list[Point]] = {steps: [] for steps in self._runs}
        self._ended_at_ms: dict[int, int] = {}
        self._start_seconds: dict[PhaseName, float] = {}
        self._stretches: list[TrainingStretch] = []
        self._surroundings: list[Surroundings] = []
        self._calibrations: list[float] = []
        self._exclusive = exclusive

    @property
    def runs(self) -> tuple[RunResult, ...]:
        """The runs so far; those that are running have no status yet."""
        return tuple(self._runs.values())

    def points(self, steps: int) -> Sequence[Point]:
        """Measurements by step of a run so far, in order."""
        return self._points[steps]

    def ended_at_ms(self, steps: int) -> int:
        """End of a run, Unix time in milliseconds."""
        return self._ended_at_ms[steps]

    def set_run_id(self, steps: int, run_id: str) -> None:
        """Set the MLflow run id of a run."""
        self._runs[steps] = self._runs[steps].model_copy(update={"run_id": run_id})

    def add_message(self, message: protocol.Message, at_ms: int) -> None:
        """Update the runs with a worker's message.

        Args:
            message: The message.
            at_ms: When it was received, Unix time in milliseconds.
        """
        match message:
            case protocol.Phase():
                self._start_seconds[message.name] = message.seconds
            case protocol.EvaluationMessage():
                self._add_evaluation(message.evaluation, at_ms)
            case protocol.SampleMessage():
                self._add_sample(message, at_ms)
            case protocol.CalibrationMessage():
                self._surroundings.append(message.surroundings)
                self._calibrations.append(message.seconds)
            case protocol.StepCountDone():
                self._end_step_count(message, at_ms)
            case _:
                pass

    def close(self, status: Status, failure: str, at_ms: int) -> None:
        """End every run that is still running."""
        for steps, run in self._runs.items():
            if run.status is not None:
                continue
            evaluations = self._evaluations(steps)
            seconds = dict(self._start_seconds)
            if evaluations:
                seconds["train"] = evaluations[-1].train_seconds
            fields: dict[str, object] = {"failure": _without_home(failure), "seconds": seconds}
            self._end_run(steps, status, at_ms, fields)

    def mark_duplicate(self, steps: int, reason: str) -> RunResult:
        """Mark a finished run as killed, because another machine has recorded the same one."""
        fields: dict[str, object] = {"status": "killed", "failure": reason}
        self._runs[steps] = self._runs[steps].model_copy(update=fields)
        return self._runs[steps]

    def _add_evaluation(self, evaluation: Evaluation, at_ms: int) -> None:
        grid = next(iter(self._runs.values())).grid
        point = Point(evaluation.step, at_ms, evaluation=evaluation)
        for steps in step_counts_at(evaluation.step, tuple(self._runs), grid):
            self._points[steps].append(point)

    def _add_sample(self, sample: protocol.SampleMessage, at_ms: int) -> None:
        self._stretches.append(sample.stretch)
        self._surroundings += [sample.surroundings] if sample.surroundings else []
        if sample.stretch.rss_bytes is not None:
            point = Point(sample.step, at_ms, rss_bytes=sample.stretch.rss_bytes)
            for steps in (steps for steps in self._runs if steps >= sample.step):
                self._points[steps].append(point)

    def _end_step_count(self, done: protocol.StepCountDone, at_ms: int) -> None:
        fields: dict[str, object] = {
            "seconds": dict(done.seconds),
            "peak_rss_bytes": done.peak_rss_bytes,
            "memory_method": done.memory_method,
            "phase_peak_rss_bytes": dict(done.phase_peak_rss_bytes),
        }
        self._end_run(done.steps, "finished", at_ms, fields)

    def _end_run(self, steps: int, status: Status, at_ms: int, fields: dict[str, object]) -> None:
        """Set the status, the measurements and the verdict of a run."""
        conditions = Conditions(
            surroundings=tuple(self._surroundings),
            calibration_seconds=tuple(self._calibrations),
            stretches=tuple(self._stretches),
            exclusive=self._exclusive,
        )
        assessment = quality.assess(conditions)
        self._ended_at_ms[steps] = at_ms
        self._runs[steps] = self._runs[steps].model_copy(
            update={
                "status": status,
                "evaluations": self._evaluations(steps),
                "conditions": conditions,
                "verdict": assessment.verdict,
                "reasons": tuple(reason.words for reason in assessment.reasons),
                **fields,
            }
        )

    def _evaluations(self, steps: int) -> tuple[Evaluation, ...]:
        return tuple(point.evaluation for point in self._points[steps] if point.evaluation)


def planned_run(
    *,
    name: str,
    scenario: Scenario,
    source: Source,
    machine: Machine,
    execution: Execution,
    steps: int,
    seed: int,
    training_seed: int,
    trajectory: str,
    shared_phases: tuple[PhaseName, ...] = (),
    trial: Trial | None = None,
    part: str | None = None,
    train_seconds_limit: float | None = None,
) -> RunResult:
    """A run before its first step."""
    return RunResult(
        scenario=name,
        model=scenario.model,
        steps=steps,
        seed=seed,
        training_seed=training_seed,
        trajectory=trajectory,
        dataset=source.name,
        dataset_digest=source.digest,
        precision=execution.precision,
        threads=execution.threads,
        device=execution.device,
        device_name=execution.device_name,
        device_memory_bytes=execution.device_memory_bytes,
        bfloat16_speedup=execution.bfloat16_speedup,
        machine_id=machine.machine_id,
        eval_first=scenario.grid.first,
        eval_every=scenario.grid.every,
        target_accuracies=scenario.target_accuracies or paper.TARGET_ACCURACIES,
        hyperparameters=scenario.hyperparameters,
        shared_phases=shared_phases,
        trial=trial,
        part=part,
        train_seconds_limit=train_seconds_limit,
    )


def _without_home(text: str) -> str:
    """Replace the home folder by `~`: a failure is recorded, and a path may contain a user name."""
    home = str(Path.home())
    if len(home) < 2:  # "/" contains no user name
        return text
    escaped = home.replace("\\", "\\\\")  # exceptions print Windows paths like this
    return text.replace(escaped, "~").replace(home, "~")
