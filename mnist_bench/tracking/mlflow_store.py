"""Writing to MLflow: create runs, log metrics, save artifacts, end runs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mnist_bench.core import formatting
from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.run import RunResult, Status
from mnist_bench.tracking import schema
from mnist_bench.tracking.mlflow_reader import MlflowReader, require_run_id
from mnist_bench.tracking.schema import (
    COMPLETE_TAG,
    FAILURE_TAG,
    IMPORTED_TAG,
    STEPS_TAG,
    TRAJECTORY_TAG,
)
from mnist_bench.tracking.uri import OWNER_TAG

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

_MLFLOW_STATUS: dict[Status | None, str] = {
    None: "RUNNING",
    "finished": "FINISHED",
    "failed": "FAILED",
    "killed": "KILLED",
    "pruned": "KILLED",
}
_METRICS_PER_BATCH = 1_000
"""MLflow's limit."""


@dataclass(frozen=True)
class Started:
    """A run that exists in the store.

    Attributes:
        run_id: MLflow run id.
        is_complete: Whether nothing is left to upload, or the user deleted the run.
    """

    run_id: str
    is_complete: bool = False


@dataclass(frozen=True)
class Unfinished:
    """A run with MLflow status RUNNING, whether or not its process is still alive.

    Attributes:
        run_id: MLflow run id.
        trajectory: Id of the training.
        owner: The process that started it; None if unknown.
    """

    run_id: str
    trajectory: str
    owner: ProcessIdentity | None


class MlflowStore(MlflowReader):
    """An MLflow store with one experiment, for reading and writing."""

    def start(
        self,
        run: RunResult,
        description: str,
        owner: ProcessIdentity,
        machine: Machine,
        *,
        at_ms: int,
        may_exist: bool = False,
        is_imported: bool = False,
    ) -> Started:
        """Create a run with status RUNNING, or continue an existing one.

        Args:
            run: The run before its first step.
            description: Run description in Markdown.
            owner: The process that trains it.
            machine: The machine that it is trained on.
            at_ms: Start, Unix time in milliseconds.
            may_exist: Whether to look for an existing run first.
            is_imported: Whether it comes from a bundle. It then continues only an earlier import,
                never the user's own run, which another process may continue.
        """
        from mlflow.entities import Param

        with self.wrap_errors(action="creating a run"):
            found = self._find(run, is_imported=is_imported) if may_exist else None
            tags = schema.opening_tags(run, description, owner, machine)
            tags |= {IMPORTED_TAG: "true"} if is_imported else {}
            if found and _is_settled(found):
                return Started(found.info.run_id, is_complete=True)
            run_id = found.info.run_id if found else self._create(run, tags, at_ms)
            params = [Param(key, str(value)) for key, value in schema.params_of(run).items()]
            self.client.log_batch(run_id, params=params)
        return Started(run_id)

    def log(self, run_id: str, points: Sequence[schema.Point]) -> None:
        """Log metrics by step and time; MLflow ignores those that it has already."""
        metrics = [
            metric
            for point in points
            for metric in _metrics(schema.metrics_at(point), point.step, point.at_ms)
        ]
        self._log_metrics(run_id, metrics)

    def finish(
        self, run: RunResult, description: str, files: Callable[[], Sequence[Path]], *, at_ms: int
    ) -> None:
        """Log the metrics of the whole run, save its artifacts, and end it with its status.

        The run is ended even if its artifacts can't be saved.

        Args:
            run: The run with its `run_id` and `status`.
            description: Run description in Markdown; replaces that from the start.
            files: Writes the artifacts and returns their paths.
            at_ms: End, Unix time in milliseconds.
        """
        from mlflow.entities import RunTag

        run_id = require_run_id(run)
        with self.wrap_errors(action="ending a run"):
            # One call instead of one per tag: the server may be shared by many machines.
            tags = [
                RunTag(key, value) for key, value in schema.closing_tags(run, description).items()
            ]
            self.client.log_batch(run_id, _metrics(schema.metrics_once(run), 0, at_ms), tags=tags)
            try:
                for path in files():
                    self.client.log_artifact(run_id, str(path))
            finally:
                self.client.set_terminated(run_id, _MLFLOW_STATUS[run.status], at_ms)
            self.client.set_tag(run_id, COMPLETE_TAG, "true")

    def start_study(self, name: str, description: str, owner: ProcessIdentity) -> str:
        """Create a study's own run, the parent of its trials, and return its MLflow run id."""
        with self.wrap_errors(action="creating a study's run"):
            return self._create_tagged(name, schema.study_tags(name, description, owner))

    def finish_study(
        self,
        run_id: str,
        status: Status,
        description: str,
        metrics: dict[str, float | None],
        paths: Sequence[Path],
    ) -> None:
        """End a study's own run with its metrics and artifacts.

        Args:
            run_id: MLflow run id.
            status: How the study ended.
            description: Run description in Markdown.
            metrics: Metrics of the whole study.
            paths: Artifacts.
        """
        with self.wrap_errors(action="ending a study's run"):
            self.client.set_tag(run_id, "mlflow.note.content", description)
            self._log_metrics(run_id, _metrics(metrics, 0, int(time.time() * 1_000)))
            for path in paths:
                self.client.log_artifact(run_id, str(path))
            self.client.set_terminated(run_id, _MLFLOW_STATUS[status])

    def save_files(
        self,
        name: str,
        description: str,
        tags: dict[str, str],
        files: Mapping[str, bytes | Path],
        *,
        always_create: bool = False,
    ) -> str:
        """Save files as artifacts of a run that is not a training; returns its MLflow run id.

        Args:
            name: Name of the run.
            description: Run description in Markdown.
            tags: Identify the run: the files are added to an existing run with all these tags.
            files: Content, or the path of a file with it, by artifact name.
            always_create: Whether to create a new run even if one has all these tags.
        """
        with self.wrap_errors(action="saving files"), TemporaryDirectory() as folder:
            run_id = None if always_create else self._find_tagged(tags)
            run_id = run_id or self._create_tagged(name, tags)
            try:
                self.client.set_tag(run_id, "mlflow.note.content", description)
                for file, content in files.items():
                    if isinstance(content, Path):
                        copyfile(content, Path(folder, file))
                    else:
                        Path(folder, file).write_bytes(content)
                self.client.log_artifacts(run_id, folder)
            finally:
                self.client.set_terminated(run_id)
        return run_id

    def _find_tagged(self, tags: dict[str, str]) -> str | None:
        filter_string = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        found = self.search(filter_string)
        return str(found[0].info.run_id) if found else None

    def _create_tagged(self, name: str, tags: dict[str, str]) -> str:
        from mlflow.tracking.context.registry import resolve_tags

        tags = resolve_tags() | schema.SOURCE | tags
        created = self.client.create_run(self.experiment_id, tags=tags, run_name=name)
        return str(created.info.run_id)

    def reopen_study(self, run_id: str, owner: ProcessIdentity) -> bool:
        """Set a study's own run to RUNNING again; False if it does not exist any more."""
        from mlflow.exceptions import MlflowException

        try:
            if self.client.get_run(run_id).info.lifecycle_stage == "deleted":
                return False
            self.client.update_run(run_id, status="RUNNING")
            self.client.set_tag(run_id, OWNER_TAG, owner.model_dump_json())
        except MlflowException:
            return False
        return True

    def unfinished(self) -> list[Unfinished]:
        """The runs of the experiment with status RUNNING."""
        with self.wrap_errors(action="looking for unfinished runs"):
            return [
                Unfinished(
                    run.info.run_id,
                    run.data.tags.get(TRAJECTORY_TAG, ""),
                    ProcessIdentity.from_json(run.data.tags.get(OWNER_TAG)),
                )
                for run in self.search("attributes.status = 'RUNNING'")
            ]

    def mark_killed(self, run_id: str, failure: str) -> None:
        """End an abandoned or superseded run as KILLED; what it has recorded stays."""
        with self.wrap_errors(action="ending a run"):
            description = self.client.get_run(run_id).data.tags.get("mlflow.note.content", "")
            description = re.sub(r"Status: \w+\.", "Status: killed.", description, count=1)
            reason = f"Why it did not finish: {failure}"
            self.client.set_tag(run_id, "mlflow.note.content", f"{description}\n\n{reason}")
            self.client.set_tag(run_id, FAILURE_TAG, failure)
            self.client.set_terminated(run_id, _MLFLOW_STATUS["killed"])

    def _find(self, run: RunResult, *, is_imported: bool) -> Run | None:
        """Find an existing run by MLflow run id, else by training and step count.

        An import prefers a run that is complete; otherwise imported and own runs are kept apart.
        """
        from mlflow.exceptions import MlflowException

        if run.run_id:
            with suppress(MlflowException):  # the database may have been replaced
                existing: Run = self.client.get_run(run.run_id)
                return existing
        found = self.search(
            f"tags.`{TRAJECTORY_TAG}` = '{run.trajectory}' and tags.`{STEPS_TAG}` = '{run.steps}'"
        )
        complete = [each for each in found if is_imported and _is_settled(each)]
        same_origin = [each for each in found if (IMPORTED_TAG in each.data.tags) == is_imported]
        return next(iter([*complete, *same_origin]), None)

    def _create(self, run: RunResult, bench_tags: dict[str, str], at_ms: int) -> str:
        from mlflow.tracking.context.registry import resolve_tags

        tags = resolve_tags() | bench_tags  # ours override MLflow's user, source and git tags
        what = f"trial {run.trial.number}" if run.trial else f"seed {run.seed}"
        name = f"{run.scenario} {formatting.steps(str(run.steps))} {what}"
        created = self.client.create_run(self.experiment_id, at_ms, tags, name)
        return str(created.info.run_id)

    def _log_metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        with self.wrap_errors(action="logging metrics"):
            for start in range(0, len(metrics), _METRICS_PER_BATCH):
                self.client.log_batch(run_id, metrics[start : start + _METRICS_PER_BATCH])


def _is_settled(run: Run) -> bool:
    """Whether a run is complete, or the user deleted it."""
    is_complete: bool = run.data.tags.get(COMPLETE_TAG) == "true"
    return is_complete or run.info.lifecycle_stage == "deleted"


def _metrics(values: dict[str, float | None], step: int, at_ms: int) -> list[Metric]:
    """MLflow's metrics for the known values."""
    from mlflow.entities import Metric

    return [
        Metric(name, float(value), at_ms, step)
        for name, value in values.items()
        if value is not None
    ]
