"""MLflow as it is written to: runs are recorded there, and closed."""

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
from mnist_bench.tracking.mlflow_reader import MlflowReader, id_of
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
_METRICS_IN_A_BATCH = 1_000
"""MLflow's limit."""


@dataclass(frozen=True)
class Started:
    """A run that is in the store.

    Attributes:
        run_id: MLflow's id.
        is_complete: Whether nothing is to be added: all is there, or the user deleted it.
    """

    run_id: str
    is_complete: bool = False


@dataclass(frozen=True)
class Unfinished:
    """A run that is RUNNING, whether or not somebody still trains it.

    Attributes:
        run_id: MLflow's id.
        trajectory: Of the run.
        owner: The process that began it; None where that is not told.
    """

    run_id: str
    trajectory: str
    owner: ProcessIdentity | None


class MlflowStore(MlflowReader):
    """An open MLflow store and the experiment in it that runs are recorded in."""

    def start(
        self,
        run: RunResult,
        note: str,
        owner: ProcessIdentity,
        machine: Machine,
        *,
        at_ms: int,
        look_first: bool = False,
        is_imported: bool = False,
    ) -> Started:
        """Make a run that is RUNNING.

        Args:
            run: The run as it is before its first step.
            note: Markdown for MLflow's page of the run.
            owner: The process that trains it.
            machine: Where it does so.
            at_ms: When it began, as Unix time in milliseconds.
            look_first: Whether it may be there already.
            is_imported: Whether it comes with a bundle: it then goes on with what an import began,
                and never with a run of the user's own, which another process may go on with.
        """
        from mlflow.entities import Param

        with self.explained(while_="making a run"):
            found = self._found(run, is_imported=is_imported) if look_first else None
            tags = schema.opening_tags(run, note, owner, machine)
            tags |= {IMPORTED_TAG: "true"} if is_imported else {}
            if found and _wants_nothing(found):
                return Started(found.info.run_id, is_complete=True)
            run_id = found.info.run_id if found else self._made(run, tags, at_ms)
            params = [Param(key, str(value)) for key, value in schema.params_of(run).items()]
            self.client.log_batch(run_id, params=params)
        return Started(run_id)

    def log(self, run_id: str, points: Sequence[schema.Point]) -> None:
        """Record figures under their steps and times; those that are there stay as they are."""
        metrics = [
            metric
            for point in points
            for metric in _metrics(schema.figures_at(point), point.step, point.at_ms)
        ]
        self._log_metrics(run_id, metrics)

    def finish(
        self, run: RunResult, note: str, files: Callable[[], Sequence[Path]], *, at_ms: int
    ) -> None:
        """Record what is known of a run as a whole, keep its files, and end it as it ended.

        It is ended even where its files could not be kept.

        Args:
            run: The run with its `run_id` and `status`.
            note: Markdown that replaces the one from the start.
            files: Writes the artifacts and says where they are; each keeps its name.
            at_ms: When it ended, as Unix time in milliseconds.
        """
        from mlflow.entities import RunTag

        run_id = id_of(run)
        with self.explained(while_="ending a run"):
            # In one call: each costs a tracking server of many machines as much as a figure.
            tags = [RunTag(key, value) for key, value in schema.closing_tags(run, note).items()]
            self.client.log_batch(run_id, _metrics(schema.figures_once(run), 0, at_ms), tags=tags)
            try:
                for path in files():
                    self.client.log_artifact(run_id, str(path))
            finally:
                self.client.set_terminated(run_id, _MLFLOW_STATUS[run.status], at_ms)
            self.client.set_tag(run_id, COMPLETE_TAG, "true")

    def start_study(self, name: str, note: str, owner: ProcessIdentity) -> str:
        """Make the run that a study's trials are children of; MLflow's id of it."""
        with self.explained(while_="making a study's run"):
            return self._new(name, schema.study_tags(name, note, owner))

    def finish_study(
        self,
        run_id: str,
        status: Status,
        note: str,
        figures_once: dict[str, float | None],
        paths: Sequence[Path],
    ) -> None:
        """End a study's own run, with what is known of the study as a whole.

        Args:
            run_id: MLflow's id.
            status: How the study ended.
            note: Markdown for MLflow's page of it.
            figures_once: Metrics.
            paths: Files that are kept with it; each keeps its name.
        """
        with self.explained(while_="ending a study's run"):
            self.client.set_tag(run_id, "mlflow.note.content", note)
            self._log_metrics(run_id, _metrics(figures_once, 0, int(time.time() * 1_000)))
            for path in paths:
                self.client.log_artifact(run_id, str(path))
            self.client.set_terminated(run_id, _MLFLOW_STATUS[status])

    def keep(
        self,
        name: str,
        note: str,
        tags: dict[str, str],
        files: Mapping[str, bytes | Path],
        *,
        anew: bool = False,
    ) -> str:
        """Keep files under a run of their own that is no training; MLflow's id of it.

        Args:
            name: Of the run.
            note: Markdown for MLflow's page of it.
            tags: What it is found by; a run that has them all already gets the files, and keeps
                those of other names.
            files: Content, or the file that holds it, by name.
            anew: Whether a run of its own is made even where one has all these tags.
        """
        with self.explained(while_="keeping files"), TemporaryDirectory() as folder:
            run_id = (None if anew else self._tagged(tags)) or self._new(name, tags)
            try:
                self.client.set_tag(run_id, "mlflow.note.content", note)
                for file, content in files.items():
                    if isinstance(content, Path):
                        copyfile(content, Path(folder, file))
                    else:
                        Path(folder, file).write_bytes(content)
                self.client.log_artifacts(run_id, folder)
            finally:
                self.client.set_terminated(run_id)
        return run_id

    def _tagged(self, tags: dict[str, str]) -> str | None:
        question = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        found = self.search(question)
        return str(found[0].info.run_id) if found else None

    def _new(self, name: str, tags: dict[str, str]) -> str:
        from mlflow.tracking.context.registry import resolve_tags

        tags = resolve_tags() | schema.SOURCE | tags
        made = self.client.create_run(self.experiment_id, tags=tags, run_name=name)
        return str(made.info.run_id)

    def reopen_study(self, run_id: str, owner: ProcessIdentity) -> bool:
        """Let a study's own run go on; False where it is not there any more."""
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
        """The runs of the experiment that are RUNNING."""
        with self.explained(while_="looking for runs that vanished"):
            return [
                Unfinished(
                    run.info.run_id,
                    run.data.tags.get(TRAJECTORY_TAG, ""),
                    ProcessIdentity.told(run.data.tags.get(OWNER_TAG)),
                )
                for run in self.search("attributes.status = 'RUNNING'")
            ]

    def give_up(self, run_id: str, failure: str) -> None:
        """End a run that nobody trains or counts any more as KILLED, with what is there of it."""
        with self.explained(while_="ending a run"):
            note = self.client.get_run(run_id).data.tags.get("mlflow.note.content", "")
            told = re.sub(r"Status: \w+\.", "Status: killed.", note, count=1)
            reason = f"Why it did not finish: {failure}"
            self.client.set_tag(run_id, "mlflow.note.content", f"{told}\n\n{reason}")
            self.client.set_tag(run_id, FAILURE_TAG, failure)
            self.client.set_terminated(run_id, _MLFLOW_STATUS["killed"])

    def _found(self, run: RunResult, *, is_imported: bool) -> Run | None:
        """A run that may have been made: by MLflow's id, else by what it is cut from.

        To an import any whole one is the run; of others each takes those of its own kind.
        """
        from mlflow.exceptions import MlflowException

        if run.run_id:
            with suppress(MlflowException):  # a database that was begun anew does not know it
                known: Run = self.client.get_run(run.run_id)
                return known
        found = self.search(
            f"tags.`{TRAJECTORY_TAG}` = '{run.trajectory}' and tags.`{STEPS_TAG}` = '{run.steps}'"
        )
        whole = [each for each in found if is_imported and _wants_nothing(each)]
        alike = [each for each in found if (IMPORTED_TAG in each.data.tags) == is_imported]
        return next(iter([*whole, *alike]), None)

    def _made(self, run: RunResult, own_tags: dict[str, str], at_ms: int) -> str:
        from mlflow.tracking.context.registry import resolve_tags

        tags = resolve_tags() | own_tags  # MLflow's own user, source and git tags come first
        what = f"trial {run.trial.number}" if run.trial else f"seed {run.seed}"
        name = f"{run.scenario} {formatting.steps(str(run.steps))} {what}"
        made = self.client.create_run(self.experiment_id, at_ms, tags, name)
        return str(made.info.run_id)

    def _log_metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        with self.explained(while_="recording figures"):
            for start in range(0, len(metrics), _METRICS_IN_A_BATCH):
                self.client.log_batch(run_id, metrics[start : start + _METRICS_IN_A_BATCH])


def _wants_nothing(run: Run) -> bool:
    """Whether all is there already, or the user threw the run away."""
    is_complete: bool = run.data.tags.get(COMPLETE_TAG) == "true"
    return is_complete or run.info.lifecycle_stage == "deleted"


def _metrics(values: dict[str, float | None], step: int, at_ms: int) -> list[Metric]:
    """MLflow's metrics of the figures that are known."""
    from mlflow.entities import Metric

    return [
        Metric(name, float(value), at_ms, step)
        for name, value in values.items()
        if value is not None
    ]
