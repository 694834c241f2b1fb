"""The runs of one trajectory while it is trained, gathered from its worker's messages; pure."""

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
    """The runs of one trajectory.

    It knows neither clock nor store, so that the messages of a journal give the same runs as
    those of a worker.

    Args:
        runs: One run a row, by rising step count, as they are before their first step.
        exclusive: Whether the suite kept other benchmarks of this user away.
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
        """The runs as they stand; those that go on have no status yet."""
        return tuple(self._runs.values())

    def points(self, steps: int) -> Sequence[Point]:
        """What was heard of a row's steps so far, in order."""
        return self._points[steps]

    def ended_at_ms(self, steps: int) -> int:
        """When a row ended, as Unix time in milliseconds."""
        return self._ended_at_ms[steps]

    def name(self, steps: int, run_id: str) -> None:
        """Remember MLflow's id of a row."""
        self._runs[steps] = self._runs[steps].model_copy(update={"run_id": run_id})

    def take(self, message: protocol.Message, at_ms: int) -> None:
        """Take a worker's message into account.

        Args:
            message: What it said.
            at_ms: When it was heard, as Unix time in milliseconds.
        """
        match message:
            case protocol.Phase():
                self._start_seconds[message.name] = message.seconds
            case protocol.EvaluationMessage():
                self._score(message.evaluation, at_ms)
            case protocol.SampleMessage():
                self._sample(message, at_ms)
            case protocol.CalibrationMessage():
                self._surroundings.append(message.surroundings)
                self._calibrations.append(message.seconds)
            case protocol.StepCountDone():
                self._end_row(message, at_ms)
            case _:
                pass

    def close(self, status: Status, failure: str, at_ms: int) -> None:
        """End every run that still goes on."""
        for steps, run in self._runs.items():
            if run.status is not None:
                continue
            known = self._evaluations(steps)
            seconds = dict(self._start_seconds)
            if known:
                seconds["train"] = known[-1].train_seconds
            facts: dict[str, object] = {"failure": _without_home(failure), "seconds": seconds}
            self._settle(steps, status, at_ms, facts)

    def lose(self, steps: int, reason: str) -> RunResult:
        """Of a finished row: another machine's run stands for what it measured.

        Returns:
            The run, which is KILLED now.
        """
        lost: dict[str, object] = {"status": "killed", "failure": reason}
        self._runs[steps] = self._runs[steps].model_copy(update=lost)
        return self._runs[steps]

    def _score(self, evaluation: Evaluation, at_ms: int) -> None:
        grid = next(iter(self._runs.values())).grid
        point = Point(evaluation.step, at_ms, evaluation=evaluation)
        for steps in step_counts_at(evaluation.step, tuple(self._runs), grid):
            self._points[steps].append(point)

    def _sample(self, sample: protocol.SampleMessage, at_ms: int) -> None:
        self._stretches.append(sample.stretch)
        self._surroundings += [sample.surroundings] if sample.surroundings else []
        if sample.stretch.rss_bytes is not None:
            point = Point(sample.step, at_ms, rss_bytes=sample.stretch.rss_bytes)
            for steps in (steps for steps in self._runs if steps >= sample.step):
                self._points[steps].append(point)

    def _end_row(self, row: protocol.StepCountDone, at_ms: int) -> None:
        facts: dict[str, object] = {
            "seconds": dict(row.seconds),
            "peak_rss_bytes": row.peak_rss_bytes,
            "memory_method": row.memory_method,
            "phase_peak_rss_bytes": dict(row.phase_peak_rss_bytes),
        }
        self._settle(row.steps, "finished", at_ms, facts)

    def _settle(self, steps: int, status: Status, at_ms: int, facts: dict[str, object]) -> None:
        """Settle how a run ended, what it measured and what that is worth."""
        seen = Conditions(
            surroundings=tuple(self._surroundings),
            calibration_seconds=tuple(self._calibrations),
            stretches=tuple(self._stretches),
            exclusive=self._exclusive,
        )
        judged = quality.assess(seen)
        self._ended_at_ms[steps] = at_ms
        self._runs[steps] = self._runs[steps].model_copy(
            update={
                "status": status,
                "evaluations": self._evaluations(steps),
                "conditions": seen,
                "verdict": judged.verdict,
                "reasons": tuple(reason.words for reason in judged.reasons),
                **facts,
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
    """A run as it is before its first step."""
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
    """A reason may name a path; tags go to places where a user's name has no business."""
    home = str(Path.home())
    if len(home) < 2:  # "/": nothing of a name in it
        return text
    escaped = home.replace("\\", "\\\\")  # as exceptions print Windows's paths
    return text.replace(escaped, "~").replace(home, "~")
