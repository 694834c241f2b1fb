"""Uploads the runs of a training to MLflow: in batches, with retries, without duplicates."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mnist_bench.core.errors import BenchError
from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.run import RunResult
from mnist_bench.scenarios.scenario import Scenario
from mnist_bench.tracking import run_notes
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.run_builder import RunBuilder

_BATCH_SECONDS = 5.0
"""Minimum time between uploads: often enough to follow a run, without loading the machine."""
_BACKOFF_SECONDS = 30.0
"""Minimum time after a failed upload: each attempt may take the full timeout."""


@dataclass(frozen=True)
class RecordingContext:
    """What is recorded with every run of a training.

    Attributes:
        owner: The process that trains it.
        folder: The folder of the worker's files, with one folder per step count.
        begun_at_ms: Start of the training, Unix time in milliseconds.
    """

    scenario: Scenario
    machine: Machine
    owner: ProcessIdentity
    folder: Path
    begun_at_ms: int


class Uploader:
    """Uploads the runs of a training to a store.

    Args:
        builder: The runs.
        context: What is recorded with them.
        store: The store.
        on_created: Called with the step count and the MLflow run id of each created run.
        may_exist: Whether the runs may be in the store already.

    Attributes:
        uploaded: Runs that this uploader has ended in the store.
        error: Why the last upload failed; None if it succeeded.
    """

    def __init__(
        self,
        builder: RunBuilder,
        context: RecordingContext,
        store: MlflowStore,
        on_created: Callable[[int, str], None],
        *,
        may_exist: bool = False,
    ) -> None:
        self._builder = builder
        self._context = context
        self._store = store
        self._on_created = on_created
        step_counts = [run.steps for run in builder.runs]
        self._may_exist = set(step_counts) if may_exist else set()
        # Number of uploaded points, by step count; only of runs that are in the store.
        self._uploaded_points: dict[int, int] = {}
        self._completed: set[int] = set()
        self._not_before = 0.0
        self.uploaded: list[RunResult] = []
        self.error: BenchError | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every run has ended and is uploaded completely."""
        return len(self._completed) == len(self._builder.runs)

    def upload_if_due(self, *, immediately: bool = False) -> None:
        """Upload what is new, unless the last attempt was too recent.

        Args:
            immediately: Do not wait for the next batch, unless the last attempt failed.
        """
        now = time.monotonic()
        if now >= self._not_before or (immediately and self.error is None):
            self.upload()

    def upload(self) -> None:
        """Upload what is new; afterwards `error` says whether it succeeded."""
        try:
            for run in self._builder.runs:
                self._upload(run)
        except BenchError as error:  # stop at the first: the next call may take a timeout too
            self.error = error
        else:
            self.error = None
        wait = _BACKOFF_SECONDS if self.error else _BATCH_SECONDS
        self._not_before = time.monotonic() + wait

    def _upload(self, run: RunResult) -> None:
        steps = run.steps
        if steps not in self._uploaded_points:
            run = self._start(run)
        if steps in self._completed or run.run_id is None:
            return
        new = self._builder.points(steps)[self._uploaded_points[steps] :]
        if new:
            self._store.log(run.run_id, new)
            self._uploaded_points[steps] += len(new)
        if run.status is not None:
            run = self._resolve_duplicates(run)
            self._store.finish(
                run,
                self._description(run),
                lambda: self._write_files(run),
                at_ms=self._builder.ended_at_ms(steps),
            )
            run = self._resolve_duplicates(run)
            self._completed.add(steps)
            self.uploaded.append(run)

    def _resolve_duplicates(self, run: RunResult) -> RunResult:
        """Leave only one run FINISHED per step count of a training job that machines share.

        Two machines may train the same job. If both finish at the same time, both see both runs
        and choose the same one.
        """
        if run.part is None or run.status != "finished":
            return run
        finished = self._store.finished_runs_of(run.part).items()
        run_ids = sorted(run_id for run_id, steps in finished if steps == run.steps)
        if run_ids in ([], [run.run_id]):
            return run
        reason = f"recorded already, as run {run_ids[0]}"
        if run.run_id in run_ids:
            for duplicate in run_ids[1:]:
                self._store.mark_killed(duplicate, reason)
        if run_ids[0] == run.run_id:
            return run
        return self._builder.mark_duplicate(run.steps, reason)

    def _start(self, run: RunResult) -> RunResult:
        """Create a run in the store, or find it there."""
        may_exist = run.steps in self._may_exist
        self._may_exist.add(run.steps)  # a call that fails may have created it
        started = self._store.start(
            run,
            self._description(run),
            self._context.owner,
            self._context.machine,
            at_ms=self._context.begun_at_ms,
            may_exist=may_exist,
        )
        self._builder.set_run_id(run.steps, started.run_id)
        self._on_created(run.steps, started.run_id)
        self._uploaded_points[run.steps] = 0
        run = run.model_copy(update={"run_id": started.run_id})
        if started.is_complete:
            # The process that completed it may have ended before it resolved duplicates.
            run = self._resolve_duplicates(run)
            self._completed.add(run.steps)
        return run

    def _description(self, run: RunResult) -> str:
        return run_notes.run_description(run, self._context.scenario.title)

    def _write_files(self, run: RunResult) -> list[Path]:
        """Write the run's records, and return the paths of all its artifacts."""
        folder = self._context.folder / str(run.steps)
        folder.mkdir(parents=True, exist_ok=True)
        texts = {
            "result.json": run.model_dump_json(indent=2),
            "scenario.toml": self._context.scenario.to_toml(),
            "machine.json": self._context.machine.model_dump_json(indent=2),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
        log = self._context.folder / "worker.log"
        return sorted(folder.iterdir()) + ([log] if log.exists() else [])
