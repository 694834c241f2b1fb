"""MLflow: the only room that knows it. Opens a store, records runs there, closes them."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mnist_bench import database, door, figures, tracking
from mnist_bench.errors import BenchError
from mnist_bench.figures import COMPLETE_TAG, FAILURE_TAG, STEPS_TAG, TRAJECTORY_TAG, TRIAL_TAG
from mnist_bench.owner import Owner
from mnist_bench.result import RunResult, Status
from mnist_bench.tracking import OWNER_TAG

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from mlflow import MlflowClient
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
_MOST_RUNS = 50_000
"""MLflow's limit for one search."""


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
    owner: Owner | None


class Store:
    """An open MLflow store and the experiment in it that runs are recorded in.

    Args:
        uri: MLflow's tracking URI.
        experiment: Name of the experiment.
        make: Whether the experiment is made where it does not exist; else its id is empty.

    Raises:
        BenchError: The store can't be used: an old schema, a deleted experiment, a refusal.
    """

    def __init__(self, uri: str, experiment: str, *, make: bool = True) -> None:
        mlflow = door.import_mlflow()
        self._uri = uri
        with (
            self._explained(while_="opening the store"),
            database.one_creator(uri),
            database.nothing_half_made(uri),
        ):
            door.refuse_other_schema(uri)
            self._client: MlflowClient = mlflow.MlflowClient(tracking_uri=uri)
            self.experiment_id = door.experiment_id(self._client, uri, experiment, make=make)

    def start(
        self, run: RunResult, note: str, owner: Owner, *, at_ms: int, look_first: bool = False
    ) -> Started:
        """Make a run that is RUNNING.

        Args:
            run: The run as it is before its first step.
            note: Markdown for MLflow's page of the run.
            owner: The process that trains it.
            at_ms: When it began, as Unix time in milliseconds.
            look_first: Whether it may be there already.
        """
        from mlflow.entities import Param

        with self._explained(while_="making a run"):
            found = self._found(run) if look_first else None
            if found and _wants_nothing(found):
                return Started(found.info.run_id, is_complete=True)
            run_id = found.info.run_id if found else self._made(run, note, owner, at_ms)
            params = [Param(key, str(value)) for key, value in figures.params_of(run).items()]
            self._client.log_batch(run_id, params=params)
        return Started(run_id)

    def log(self, run_id: str, points: Sequence[figures.Point]) -> None:
        """Record figures under their steps and times; those that are there stay as they are."""
        metrics = [
            metric
            for point in points
            for metric in _metrics(figures.figures_at(point), point.step, point.at_ms)
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
        run_id = _id_of(run)
        with self._explained(while_="ending a run"):
            self._log_metrics(run_id, _metrics(figures.figures_once(run), 0, at_ms))
            for key, value in figures.closing_tags(run, note).items():
                self._client.set_tag(run_id, key, value)
            try:
                for path in files():
                    self._client.log_artifact(run_id, str(path))
            finally:
                self._client.set_terminated(run_id, _MLFLOW_STATUS[run.status], at_ms)
            self._client.set_tag(run_id, COMPLETE_TAG, "true")

    def start_study(self, name: str, note: str, owner: Owner) -> str:
        """Make the run that a study's trials are children of; MLflow's id of it."""
        with self._explained(while_="making a study's run"):
            from mlflow.tracking.context.registry import resolve_tags

            tags = resolve_tags() | figures.study_tags(name, note, owner)
            made = self._client.create_run(self.experiment_id, tags=tags, run_name=name)
        return str(made.info.run_id)

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
        with self._explained(while_="ending a study's run"):
            self._client.set_tag(run_id, "mlflow.note.content", note)
            self._log_metrics(run_id, _metrics(figures_once, 0, int(time.time() * 1_000)))
            for path in paths:
                self._client.log_artifact(run_id, str(path))
            self._client.set_terminated(run_id, _MLFLOW_STATUS[status])

    def reopen_study(self, run_id: str, owner: Owner) -> bool:
        """Let a study's own run go on; False where it is not there any more."""
        from mlflow.exceptions import MlflowException

        try:
            if self._client.get_run(run_id).info.lifecycle_stage == "deleted":
                return False
            self._client.update_run(run_id, status="RUNNING")
            self._client.set_tag(run_id, OWNER_TAG, owner.model_dump_json())
        except MlflowException:
            return False
        return True

    def unfinished(self) -> list[Unfinished]:
        """The runs of the experiment that are RUNNING."""
        with self._explained(while_="looking for runs that vanished"):
            return [
                Unfinished(
                    run.info.run_id,
                    run.data.tags.get(TRAJECTORY_TAG, ""),
                    Owner.told(run.data.tags.get(OWNER_TAG)),
                )
                for run in self._search("attributes.status = 'RUNNING'")
            ]

    def give_up(self, run_id: str, failure: str) -> None:
        """End a run that nobody trains any more as KILLED, with what is there of it."""
        with self._explained(while_="ending a run"):
            note = self._client.get_run(run_id).data.tags.get("mlflow.note.content", "")
            told = note.replace("Status: running.", "Status: killed.")
            reason = f"Why it did not finish: {failure}"
            self._client.set_tag(run_id, "mlflow.note.content", f"{told}\n\n{reason}")
            self._client.set_tag(run_id, FAILURE_TAG, failure)
            self._client.set_terminated(run_id, _MLFLOW_STATUS["killed"])

    def load_finished(self, scenario: str, dataset_digest: str) -> list[RunResult]:
        """The finished runs of a scenario on the images with this digest, the newest first."""
        question = (
            f"attributes.status = 'FINISHED' and tags.`bench.dataset_digest` = '{dataset_digest}'"
        )
        with self._explained(while_="looking for earlier runs"):
            results = [
                self.load(run.info.run_id)
                for run in self._search(question)
                if run.data.params.get("scenario") == scenario  # a name may hold any quotes
            ]
        return [result for result in results if result]

    def load(self, run_id: str) -> RunResult | None:
        """A run as it was kept; None where its record is missing or of another version."""
        with suppress(ValidationError):
            content = self._artifact(run_id, "result.json")
            return RunResult.model_validate_json(content) if content else None
        return None

    def load_trial(self, parent_run_id: str, number: int) -> RunResult | None:
        """The run of a study's trial as it was kept; None where none is kept."""
        question = (
            f"tags.mlflow.parentRunId = '{parent_run_id}' and tags.`{TRIAL_TAG}` = '{number}'"
        )
        with self._explained(while_="looking for a trial"):
            # The study may have been begun in another experiment.
            home = self._client.get_run(parent_run_id).info.experiment_id
            found = self._client.search_runs([home], question, max_results=1)
        return self.load(found[0].info.run_id) if found else None

    def load_predictions(self, run: RunResult) -> npt.NDArray[np.uint8] | None:
        """The digit that a run's last state saw in each test image; None where none was kept."""
        import numpy as np

        content = self._artifact(_id_of(run), "predictions.npz")
        if content is None:
            return None
        labels: npt.NDArray[np.uint8] = np.load(io.BytesIO(content))["final_label"]
        return labels

    def _artifact(self, run_id: str, name: str) -> bytes | None:
        """What is in a file that was kept with a run; None where it is not there."""
        from mlflow.exceptions import MlflowException

        with (
            tempfile.TemporaryDirectory(prefix="mnist-bench-") as folder,
            suppress(MlflowException, OSError),
        ):
            return Path(self._client.download_artifacts(run_id, name, folder)).read_bytes()
        return None

    def _search(self, question: str) -> list[Run]:
        return list(
            self._client.search_runs([self.experiment_id], question, max_results=_MOST_RUNS)
        )

    def _found(self, run: RunResult) -> Run | None:
        """A run that may have been made: by MLflow's id, else by what it is cut from."""
        from mlflow.exceptions import MlflowException

        if run.run_id:
            with suppress(MlflowException):  # a database that was begun anew does not know it
                known: Run = self._client.get_run(run.run_id)
                return known
        found = self._search(
            f"tags.`{TRAJECTORY_TAG}` = '{run.trajectory}' and tags.`{STEPS_TAG}` = '{run.steps}'"
        )
        return found[0] if found else None

    def _made(self, run: RunResult, note: str, owner: Owner, at_ms: int) -> str:
        from mlflow.tracking.context.registry import resolve_tags

        # MLflow's own user, source and git tags come first.
        tags = resolve_tags() | figures.opening_tags(run, note, owner)
        what = f"trial {run.trial.number}" if run.trial else f"seed {run.seed}"
        name = f"{run.scenario} {run.steps} steps {what}"
        made = self._client.create_run(self.experiment_id, at_ms, tags, name)
        return str(made.info.run_id)

    def _log_metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        with self._explained(while_="recording figures"):
            for start in range(0, len(metrics), _METRICS_IN_A_BATCH):
                self._client.log_batch(run_id, metrics[start : start + _METRICS_IN_A_BATCH])

    @contextmanager
    def _explained(self, *, while_: str) -> Iterator[None]:
        """Turn MLflow's faults into one line for people."""
        try:
            yield
        except BenchError:
            raise
        except Exception as error:
            # MLflow lets through what its databases, drivers and HTTP libraries raise.
            raise database.fault(error, self._uri, while_) from error


def existing_store(uri: str, experiment: str) -> Store | None:
    """Open a store only to read there; None where there is none yet.

    Raises:
        BenchError: It can't be used.
    """
    file = tracking.sqlite_file(uri)
    if file is not None and tracking.schema_revision(file) is None:
        return None
    opened = Store(uri, experiment, make=False)
    return opened if opened.experiment_id else None


def _id_of(run: RunResult) -> str:
    if run.run_id is None:
        raise ValueError("the run was never started")
    return run.run_id


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
