"""MLflow: opening a store, recording runs, searching and loading them, errors in one line."""

from __future__ import annotations

import json
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import numpy as np
from pydantic import ValidationError

from mnist_bench.core import crash, formatting, http, locks
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.core.escaping import one_line
from mnist_bench.core.npz import load_npz
from mnist_bench.core.records import Record, shared_fields
from mnist_bench.measurement.machine import Machine, tensorflow_distribution
from mnist_bench.results.predictions import Predictions
from mnist_bench.results.run import Evaluation, RunResult, Status
from mnist_bench.results.run_summary import RecordedRun
from mnist_bench.scenarios import paper, scenario
from mnist_bench.scenarios.scenario import Scenario
from mnist_bench.tracking import schema
from mnist_bench.tracking.artifacts import artifact_folder, check_location
from mnist_bench.tracking.database import (
    OWNER_TAG,
    check_writable,
    schema_revision,
    sqlite_error,
    sqlite_file,
)
from mnist_bench.tracking.read_run import UnreadableRunError, read_run
from mnist_bench.tracking.schema import (
    COMPLETE_TAG,
    FAILURE_TAG,
    IMPORTED_TAG,
    STEPS_TAG,
    TRAJECTORY_TAG,
)
from mnist_bench.tracking.uri import (
    access_denied,
    is_server,
    newest_schema_revision,
    redact,
    without_credentials,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Experiment, Metric, Run, RunTag

RecordT = TypeVar("RecordT", bound=Record)
_RECORD = "result.json"
WEIGHTS = "weights.npz"
"""Name of the artifact with a run's weights."""
MLFLOW_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow's errors are shown as one line; it would also log their tracebacks.
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    # With a server MLflow would print the address of each run, password included, to stdout.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow's own retries would block a training for minutes if the server is down, and could
    # create a run twice. The recorder retries instead.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""Environment variables of MLflow that are set unless the user has set them."""
_MLFLOW_STATUS: dict[Status | None, str] = {
    None: "RUNNING",
    "finished": "FINISHED",
    "failed": "FAILED",
    "killed": "KILLED",
    "pruned": "KILLED",
}
_SERVING_PACKAGES = ("core", "data", "models", "scenarios")
"""What `models.serving` needs of this package."""
_CREATION_SECONDS = 120
_CALL_SECONDS = 30.0
_FILE_SECONDS = 300.0
"""Limits of a call to a server; MLflow's timeout is one between two bytes."""
_MAX_FILE_BYTES = 64 * 2**20
"""Limit of an artifact that is read; weights have 13 MB."""
_METRICS_PER_BATCH = 900
"""MLflow's limit is 1,000 together with at most 100 tags."""
_PAGE_SIZE = 1_000
_SERVER_PAGE_SIZE = 250
"""Runs in an answer: some megabytes."""
_MAX_PAGES = 4_000
"""A server may give a token for a next page without end."""


@dataclass(frozen=True)
class Started:
    """A run that exists in the store.

    Attributes:
        is_complete: Whether nothing is left to upload, or the user deleted the run.
    """

    run_id: str
    is_complete: bool = False


@dataclass(frozen=True)
class StudyMetric:
    """A metric of a study's own run.

    Attributes:
        at_ms: Unix time in milliseconds; None for now.
    """

    name: str
    value: float
    step: int = 0
    at_ms: int | None = None


@dataclass(frozen=True)
class Unfinished:
    """A run with MLflow status RUNNING, whether or not its process is still alive.

    Attributes:
        trajectory: Id of the training.
        owner: Name of the process that started it; None if another program did. 0.1.0 wrote JSON.
    """

    run_id: str
    trajectory: str
    owner: str | None


class MlflowStore:
    """An MLflow store with one experiment.

    Args:
        create: Whether to create a missing experiment; otherwise its id is empty.

    Raises:
        BenchError: The store can't be used: another schema, a deleted experiment, an MLflow error.
    """

    def __init__(self, uri: str, experiment: str, *, create: bool = True) -> None:
        mlflow = import_mlflow()
        self._uri = uri
        if create:
            check_writable(uri)
        with self.wrap_errors(action="opening the store"), _database(uri, create=create):
            client = mlflow.MlflowClient(tracking_uri=uri)
            is_remote = is_server(uri)
            self.client: MlflowClient = (
                cast("MlflowClient", _BoundedClient(client, uri)) if is_remote else client
            )
            self._page_size = _SERVER_PAGE_SIZE if is_remote else _PAGE_SIZE
            self.experiment_id = experiment_id(self.client, uri, experiment, create=create)

    @classmethod
    def open_existing(cls, uri: str, experiment: str) -> Self | None:
        """Open a store without creating anything; None if it or the experiment does not exist.

        Raises:
            BenchError: The store can't be used.
        """
        file = sqlite_file(uri)
        if file is not None and schema_revision(file) is None:
            return None
        reader = cls(uri, experiment, create=False)
        return reader if reader.experiment_id else None

    def load_finished(self, scenario: str, dataset_digest: str) -> list[RunResult]:
        """Finished runs of a scenario on the images with this digest, newest first.

        Those of other versions are left out, and those from bundles, which say what they like.

        Raises:
            BenchError: MLflow failed.
        """
        filter_string = (
            f"attributes.status = 'FINISHED' and tags.`{schema.DIGEST_TAG}` = '{dataset_digest}'"
        )
        with self.wrap_errors(action="looking for earlier runs"):
            results = []
            for run in self.search(filter_string):
                # A scenario's name may contain any quotes.
                if run.data.params.get("scenario") == scenario and not _is_imported(run):
                    content = self.artifact(run.info.run_id, _RECORD)
                    # A run whose files are out of reach would be trained and recorded again.
                    results.append(_parse(RunResult, content) if content else self._rebuilt(run))
        return [result for result in results if result]

    def _rebuilt(self, run: Run) -> RunResult | None:
        """The record of a run from its params, tags and metrics; None if it can't be read."""
        try:
            summary = read_run(
                run_id=run.info.run_id, status=run.info.status, begun_at_ms=0,
                params=run.data.params, metrics=run.data.metrics, tags=run.data.tags,
            ).run  # fmt: skip
            scores = {
                name: {each.step: each.value for each in self._history(run.info.run_id, name)}
                for name in schema.EVALUATION_METRICS
            }
            evaluations = tuple(
                Evaluation.model_validate(
                    {"step": step, **{name: at.get(step) for name, at in scores.items()}}
                )
                for step in sorted(scores["validation_accuracy"])
            )
            known = shared_fields(summary, RunResult) | {
                "training_seed": (
                    summary.seed if summary.training_seed is None else summary.training_seed
                ),
                "reasons": summary.reasons or (),
            }
            return RunResult(
                **known, evaluations=evaluations, target_accuracies=paper.TARGET_ACCURACIES
            )
        except (UnreadableRunError, ValidationError):
            return None

    def _history(self, run_id: str, name: str) -> list[Metric]:
        return list(self.client.get_metric_history(run_id, name))

    @property
    def artifact_location(self) -> str:
        """Where the artifacts of the experiment are, without credentials."""
        with self.wrap_errors(action="looking for files"):
            experiment = self.client.get_experiment(self.experiment_id)
        return without_credentials(experiment.artifact_location)

    def load(self, run_id: str) -> RunResult | None:
        """The record of a run; None if it is missing or of another version."""
        return _parse(RunResult, self.artifact(run_id, _RECORD))

    def load_trial(self, parent_run_id: str, number: int) -> RunResult | None:
        """The record of a study's trial; None if there is none."""
        is_child = f"tags.mlflow.parentRunId = '{parent_run_id}'"
        filter_string = f"{is_child} and tags.`{schema.TRIAL_TAG}` = '{number}'"
        with self.wrap_errors(action="looking for a trial"):
            # The study may have been started in another experiment.
            experiment_id = self.client.get_run(parent_run_id).info.experiment_id
            found = self.client.search_runs([experiment_id], filter_string, max_results=1)
        return self.load(found[0].info.run_id) if found else None

    def load_scenario(self, run_id: str) -> Scenario | None:
        """The scenario of a run; None if it was not saved."""
        content = self.artifact(run_id, "scenario.toml")
        with suppress(BenchError, UnicodeDecodeError):
            return scenario.from_text(content.decode(), "scenario.toml") if content else None
        return None

    def load_machine(self, run_id: str) -> Machine | None:
        """The machine of a run; None if it was not saved."""
        return _parse(Machine, self.artifact(run_id, "machine.json"))

    def recorded_runs(self, filter_string: str) -> Iterator[RecordedRun | UnreadableRunError]:
        """Runs that match an MLflow filter, newest first, loaded page by page.

        Runs of other programs and studies' own runs are skipped. A run that can't be read is
        yielded as an error.

        Raises:
            BenchError: The filter is invalid, or MLflow failed.
        """
        for run in self._pages(filter_string):
            info, data = run.info, run.data
            if schema.SCHEMA_TAG not in data.tags or schema.TRAJECTORY_TAG not in data.tags:
                continue
            try:
                yield read_run(
                    run_id=info.run_id,
                    status=info.status,
                    begun_at_ms=info.start_time or 0,
                    params=data.params,
                    metrics=data.metrics,
                    tags=data.tags,
                )
            except UnreadableRunError as error:
                yield error

    def _pages(self, filter_string: str, view: int = 1) -> Iterator[Run]:
        """Runs, loaded page by page.

        Args:
            view: MLflow's ViewType; 1 is for runs that were not deleted.
        """
        token: str | None = None
        for _ in range(_MAX_PAGES):
            with self.wrap_errors(action="looking for runs"), _explain_filter(filter_string):
                page = self.client.search_runs(
                    [self.experiment_id], filter_string, view, self._page_size, page_token=token
                )
            token = page.token
            yield from page
            del page  # MLflow's runs are large: keep one page in memory
            if not token:
                return

    def load_predictions(self, run: RunResult) -> Predictions | None:
        """Predictions of a run after its last step; None if they were not saved."""
        content = self.artifact(_require_run_id(run), "predictions.npz")
        with suppress(ValueError, KeyError):
            arrays = load_npz(content or b"")
            return Predictions(arrays["final_label"], arrays["final_probability"])
        return None

    def has_artifact(self, run_id: str, name: str) -> bool:
        """Whether a run has an artifact of that name."""
        with self.wrap_errors(action="looking for files"):
            return any(each.path == name for each in self.client.list_artifacts(run_id))

    def artifact(self, run_id: str, name: str) -> bytes | None:
        """Content of an artifact; None if there is none."""
        from mlflow.exceptions import MlflowException

        with (
            TemporaryDirectory(prefix="mnist-bench-") as folder,
            suppress(MlflowException, OSError),
        ):
            return Path(self.client.download_artifacts(run_id, name, folder)).read_bytes()
        return None

    def search(self, filter_string: str, *, with_deleted: bool = False) -> list[Run]:
        """MLflow's runs of the experiment that match an MLflow filter, newest first."""
        from mlflow.entities import ViewType

        view = ViewType.ALL if with_deleted else ViewType.ACTIVE_ONLY
        return list(self._pages(filter_string, view))

    @contextmanager
    def wrap_errors(self, *, action: str) -> Iterator[None]:
        """Turn errors of MLflow into a `BenchError`; `action` says what was being done."""
        try:
            yield
        except BenchError:
            raise
        except Exception as error:
            # MLflow does not wrap the errors of its databases, drivers and HTTP libraries.
            raise to_bench_error(error, self._uri, action) from error

    def start(
        self,
        run: RunResult,
        description: str,
        owner: str,
        machine: Machine,
        *,
        at_ms: int,
        may_exist: bool = False,
        is_imported: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> Started:
        """Create a run with status RUNNING, or continue an existing one.

        Args:
            description: In Markdown.
            owner: Name of this process.
            at_ms: Start, Unix time in milliseconds.
            may_exist: Whether to look for an existing run first.
            is_imported: Whether it comes from a bundle. It then continues only an earlier import,
                never the user's own run, which another process may continue.
            tags: The user's own.
        """
        from mlflow.entities import Param

        with self.wrap_errors(action="creating a run"):
            found = self._find(run, is_imported=is_imported) if may_exist else None
            if found and _is_settled(found):
                locks.settled(_key(run))
                return Started(found.info.run_id, is_complete=True)
            locks.unsettled(_key(run))
            if found:
                run_id = str(found.info.run_id)
            else:
                own = dict(tags or {})
                recorded = own | schema.opening_tags(run, description, owner, machine)
                recorded |= {IMPORTED_TAG: "true"} if is_imported else {}
                what = f"trial {run.trial.number}" if run.trial else f"seed {run.seed}"
                name = f"{run.scenario} {formatting.steps(str(run.steps))} {what}"
                name = f"{own[schema.NAME_TAG]}: {name}" if schema.NAME_TAG in own else name
                run_id = self._create(name, recorded, at_ms)
            params = [Param(key, str(value)) for key, value in schema.params_of(run).items()]
            self.client.log_batch(run_id, params=params)
            self.client.log_inputs(run_id, _dataset_inputs(run))
        return Started(run_id)

    def log(self, run_id: str, points: Sequence[schema.Point]) -> None:
        """Log metrics by step and time; MLflow ignores those that it has already."""
        with self.wrap_errors(action="logging metrics"):
            self._log_metrics(run_id, _metrics_of(points))

    def finish(
        self,
        run: RunResult,
        description: str,
        files: Callable[[], Sequence[Path]],
        *,
        at_ms: int,
        points: Sequence[schema.Point] = (),
    ) -> None:
        """Log the metrics of the whole run, save its artifacts, and end it with its status.

        The run is ended even if its artifacts can't be saved.

        Args:
            run: The run with its `run_id` and `status`.
            description: In Markdown; replaces that from the start.
            files: Writes the artifacts and returns their paths.
            at_ms: End, Unix time in milliseconds.
            points: Measurements by step that were not logged before.
        """
        from mlflow.entities import RunTag

        run_id = _require_run_id(run)
        with self.wrap_errors(action="ending a run"):
            # One call instead of one per tag: the server may be shared by many machines.
            tags = [RunTag(*each) for each in schema.closing_tags(run, description).items()]
            metrics = _metrics_of(points) + _metrics(schema.metrics_once(run), 0, at_ms)
            self._log_metrics(run_id, metrics, tags)
            try:
                for path in files():
                    self.client.log_artifact(run_id, str(path))
            finally:
                self.client.set_terminated(run_id, _MLFLOW_STATUS[run.status], at_ms)
            self.client.set_tag(run_id, COMPLETE_TAG, "true")
        locks.settled(_key(run))

    def save_model(self, run: RunResult) -> str | None:
        """Save a finished run's network as an MLflow model, from its saved weights.

        Returns:
            The model's id, also of one that was saved before; None if the weights were not saved.
        """
        run_id = _require_run_id(run)
        with self.wrap_errors(action="looking for models"):
            outputs = self.client.get_run(run_id).outputs
        if outputs and outputs.model_outputs:
            return str(outputs.model_outputs[0].model_id)
        weights = self.artifact(run_id, WEIGHTS)
        if weights is None:
            return None
        from mlflow import pyfunc
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model, ModelSignature
        from mlflow.types import Schema, TensorSpec

        signature = ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, 28, 28))]),
            outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 10))]),
        )
        with (
            self.wrap_errors(action="saving a model"),
            TemporaryDirectory(prefix="mnist-bench-") as temporary,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # an example would load TensorFlow here
            code, data = Path(temporary, "mnist_bench"), Path(temporary, "network")
            package = Path(__file__).parents[1]
            for pattern in ("__init__.py", *(f"{part}/*.py" for part in _SERVING_PACKAGES)):
                for source in package.glob(pattern):
                    copied = code / source.relative_to(package)
                    copied.parent.mkdir(parents=True, exist_ok=True)
                    copyfile(source, copied)
            data.mkdir()
            (data / WEIGHTS).write_bytes(weights)
            fields = {"model", "hyperparameters", "precision"}
            described = run.model_dump(mode="json", include=fields)
            (data / "network.json").write_text(json.dumps(described), encoding="utf-8")
            logged = self.client.create_logged_model(self.experiment_id, "model", run_id)
            model = Model(
                artifact_path=logged.artifact_location,
                model_uuid=logged.model_id,
                run_id=run_id,
                model_id=logged.model_id,
            )
            folder = str(Path(temporary, "model"))
            pyfunc.save_model(
                folder,
                mlflow_model=model,
                loader_module="mnist_bench.models.serving",
                data_path=str(data),
                code_paths=[str(code)],
                signature=signature,
                pip_requirements=[
                    "{}=={}".format(*tensorflow_distribution()),
                    *(f"{name}=={version(name)}" for name in ("mlflow", "numpy", "pydantic")),
                ],
            )
            self.client.log_model_artifacts(logged.model_id, folder)
            self.client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, run.steps)])
            self.client.finalize_logged_model(logged.model_id, "READY")
        return str(logged.model_id)

    def register(self, model_id: str, name: str, run_id: str, tags: dict[str, str]) -> str:
        """Register a saved model as the next version of a name; returns the version."""
        from mlflow.exceptions import MlflowException

        with self.wrap_errors(action="registering a model"):
            try:
                self.client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            # Without a server MLflow would look for models:/ in the store of its own default.
            source = (
                f"models:/{model_id}"
                if is_server(self._uri)
                else self.client.get_logged_model(model_id).artifact_location
            )
            registered = self.client.create_model_version(
                name, source, run_id, tags, model_id=model_id
            )
        return str(registered.version)

    def start_study(
        self, name: str, description: str, owner: str, tags: Mapping[str, str] | None = None
    ) -> str:
        """Create a study's own run, the parent of its trials, and return its MLflow run id.

        Args:
            tags: The user's own.
        """
        with self.wrap_errors(action="creating a study's run"):
            bench_tags = schema.study_tags(name, description, owner)
            run_id = self._create(name, {**(tags or {}), **bench_tags})
        locks.unsettled(run_id)
        return run_id

    def finish_study(
        self,
        run_id: str,
        status: Status,
        description: str,
        *,
        metrics: Sequence[StudyMetric] = (),
        paths: Sequence[Path] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """End a study's own run with its description in Markdown, metrics, artifacts and tags."""
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1_000)
        logged = [Metric(m.name, m.value, m.at_ms or now, m.step) for m in metrics]
        described = {"mlflow.note.content": description, **(tags or {})}
        with self.wrap_errors(action="ending a study's run"):
            self._log_metrics(run_id, logged, [RunTag(*each) for each in described.items()])
            for path in paths:
                self.client.log_artifact(run_id, str(path))
            self.client.set_terminated(run_id, _MLFLOW_STATUS[status])
        locks.settled(run_id)

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
            description: In Markdown.
            tags: Identify the run: the files are added to an existing run with all these tags.
            files: Content, or the path of a file with it, by artifact name.
            always_create: Whether to create a new run even if one has all these tags.
        """
        with self.wrap_errors(action="saving files"), TemporaryDirectory() as folder:
            same_tags = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
            found = [] if always_create else self.search(same_tags)
            run_id = found[0].info.run_id if found else self._create(name, schema.SOURCE | tags)
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

    def _create(self, name: str, bench_tags: dict[str, str], at_ms: int | None = None) -> str:
        from mlflow.tracking.context.registry import resolve_tags

        tags = resolve_tags() | bench_tags  # ours override MLflow's user, source and git tags
        created = self.client.create_run(self.experiment_id, at_ms, tags, name)
        return str(created.info.run_id)

    def delete(self, run_id: str) -> None:
        """Delete a run as MLflow does: it can be restored until `mlflow gc`."""
        with self.wrap_errors(action="deleting a run"):
            self.client.delete_run(run_id)

    def reopen_study(
        self, run_id: str, owner: str, tags: Mapping[str, str]
    ) -> tuple[tuple[str, str], ...] | None:
        """Set a study's own run to RUNNING again, and add the user's tags to it.

        Returns:
            All of the user's tags, also earlier ones; None if the run does not exist any more.
        """
        from mlflow.entities import RunTag
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(run_id)
            if run.info.lifecycle_stage == "deleted":
                return None
            self.client.update_run(run_id, status="RUNNING")
            added = {**tags, OWNER_TAG: owner}
            self.client.log_batch(run_id, tags=[RunTag(*each) for each in added.items()])
        except MlflowException:
            return None
        locks.unsettled(run_id)
        return schema.user_tags({**run.data.tags, **tags})

    def is_gone(self, run_id: str) -> bool:
        """Whether the user has deleted a run, or MLflow's garbage collection has removed it."""
        from mlflow.exceptions import MlflowException

        try:
            return bool(self.client.get_run(run_id).info.lifecycle_stage == "deleted")
        except MlflowException as error:
            return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")
        except Exception:  # noqa: BLE001  # of the database, the driver, or the HTTP library
            return False

    def unfinished(self) -> list[Unfinished]:
        """The runs of the experiment with status RUNNING."""
        with self.wrap_errors(action="looking for unfinished runs"):
            return [
                Unfinished(run.info.run_id, tags.get(TRAJECTORY_TAG, ""), tags.get(OWNER_TAG))
                for run in self.search("attributes.status = 'RUNNING'")
                for tags in [run.data.tags]
            ]

    def mark_killed(self, run_id: str, failure: str) -> None:
        """End an abandoned run as KILLED; what it has recorded stays."""
        with self.wrap_errors(action="ending a run"):
            description = self.client.get_run(run_id).data.tags.get("mlflow.note.content", "")
            description = re.sub(r"Status: \w+\.", "Status: killed.", description, count=1)
            reason = f"Why it did not finish: {failure}"
            self.client.set_tag(run_id, "mlflow.note.content", f"{description}\n\n{reason}")
            self.client.set_tag(run_id, FAILURE_TAG, failure)
            self.client.set_terminated(run_id, _MLFLOW_STATUS["killed"])

    def _find(self, run: RunResult, *, is_imported: bool) -> Run | None:
        """Find an existing run by training and step count; an own one even if it was deleted.

        An import prefers a run that is complete; otherwise imported and own runs are kept apart.
        """
        found = self.search(
            f"tags.`{TRAJECTORY_TAG}` = '{run.trajectory}' and tags.`{STEPS_TAG}` = '{run.steps}'",
            with_deleted=not is_imported,
        )
        complete = [each for each in found if is_imported and _is_settled(each)]
        same_origin = [each for each in found if _is_imported(each) == is_imported]
        return next(iter([*complete, *same_origin]), None)

    def _log_metrics(
        self, run_id: str, metrics: Sequence[Metric], tags: Sequence[RunTag] = ()
    ) -> None:
        """Log metrics in as few calls as possible, the tags in the first."""
        for start in range(0, max(len(metrics), 1), _METRICS_PER_BATCH):
            batch = metrics[start : start + _METRICS_PER_BATCH]
            self.client.log_batch(run_id, batch, tags=() if start else tags)


class _BoundedClient:
    """MLflow's client of a server: each call ends in time, whatever the server sends."""

    def __init__(self, client: MlflowClient, uri: str) -> None:
        self._client = client
        self._uri = uri

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        limits = (_FILE_SECONDS, _MAX_FILE_BYTES) if "artifact" in name else (_CALL_SECONDS,)
        return lambda *arguments, **options: http.bounded(
            lambda: method(*arguments, **options), self._uri, *limits
        )


def import_mlflow() -> Any:
    """Import MLflow without telemetry or log output, unless the user has set them otherwise."""
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    import mlflow

    return mlflow


@contextmanager
def _database(uri: str, *, create: bool) -> Iterator[None]:
    """Check or create the file of an SQLite database while the context is active.

    Args:
        create: Whether it is going to be written.

    Raises:
        BenchError: It has the schema of another MLflow, which the installed one may migrate
            silently.
    """
    database = sqlite_file(uri)
    if database is None:
        yield
        return
    # Several processes that create a database at once would fail, all but one.
    lock = database.with_name(f"{database.name}.lock")
    with ExitStack() as stack:
        try:
            stack.enter_context(locks.lock_file(lock, _CREATION_SECONDS))
        except OSError:  # a folder that may only be read, where nobody creates one
            if create:
                raise
        is_new = not database.exists()
        found, newest = schema_revision(database), newest_schema_revision()
        if found and newest and found != newest:
            raise schema_mismatch(uri)
        try:
            yield
        except BaseException:
            if is_new:  # an incomplete one could never be used
                with suppress(OSError):
                    database.unlink(missing_ok=True)
            raise


def experiment_id(client: MlflowClient, uri: str, name: str, *, create: bool) -> str:
    """Id of an experiment; empty if it does not exist and `create` is False.

    Raises:
        BenchError: The experiment was deleted, or its artifacts are on a server that `uri` does
            not name, or, with `create`, where nothing can be written.
    """
    found = client.get_experiment_by_name(name)
    if found is None and not create:
        return ""
    if found is None:
        # MLflow fixes the artifact location of an experiment for good. Without a server it must be
        # a folder, and must not depend on where `mlflow ui` is started.
        location = None if is_server(uri) else artifact_folder(name).as_uri()
        found = _create_experiment(client, name, location)
    if found.lifecycle_stage == "deleted":
        raise BenchError(
            f"experiment {name} was deleted in MLflow",
            f"restore it with `mlflow experiments restore -x {found.experiment_id}`, or "
            "choose another --experiment",
        )
    if found.artifact_location.startswith("mlflow-artifacts:") and not is_server(uri):
        raise BenchError(
            f"experiment {name} keeps its artifacts behind an MLflow server",
            "choose another --experiment, or give the server's address as --tracking-uri",
        )
    if create:
        location = str(found.artifact_location)
        check_location(location, uri, name, lambda: _list_artifacts(location, uri))
    return str(found.experiment_id)


def schema_mismatch(uri: str) -> BenchError:
    """The error for a database with the schema of another MLflow version."""
    shown = without_credentials(uri)
    return BenchError(
        f"{shown} was made by another version of MLflow",
        f"copy it, then run `mlflow db upgrade {shown}`; if a newer MLflow made it, upgrade "
        "MLflow instead",
    )


def to_bench_error(error: Exception, uri: str, action: str) -> BenchError:
    """One line for an error of MLflow or of its databases, drivers and HTTP libraries.

    Args:
        uri: Tracking URI; its credentials are removed from the message.
        action: What failed, such as `opening the store`.
    """
    if hidden := crash.hidden_module(error):
        return BenchError(hidden, exit_status=EXIT_FAILURE)
    shown = without_credentials(uri)
    text = str(error).replace(uri, shown)
    if "out-of-date database schema" in text or "Can't locate revision" in text:
        return schema_mismatch(uri)
    if is_server(uri) and re.search(r"error code (401|403)\b", text):
        return access_denied(uri)  # MLflow's own login does not protect the health check
    # SQLAlchemy wraps the database's message in advice to programmers.
    database_message = re.search(r"\(\w+\.\w*Error\) ([^\n]+)", text)
    cause = database_message[1] if database_message else text.strip().partition("\n")[0]
    cause = one_line(redact(uri, cause))  # a server may send anything
    if (file := sqlite_file(uri)) and (known := sqlite_error(file, cause)):
        return known
    if is_server(uri) and re.search(r"Connection(Pool|Error| refused)|timed out", cause):
        cause = "it does not respond"
    return BenchError(
        f"MLflow at {shown} failed while {action}: {cause[:300] or type(error).__name__}",
        "check that the server is running and that its disk is not full"
        if is_server(uri)
        else "check that the database still exists and that its disk is not full",
        exit_status=EXIT_FAILURE,
    )


def is_refused(error: BenchError) -> bool:
    """Whether MLflow refused what it was sent, and would again, though it works."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DataError, IntegrityError

    cause = error.__cause__
    if isinstance(cause, MlflowException):
        is_overflow = "OverflowError" in str(cause) or "too large to convert" in str(cause)
        return is_overflow or cause.error_code in {"INVALID_PARAMETER_VALUE", "BAD_REQUEST"}
    return isinstance(cause, ValueError | TypeError | OverflowError | DataError | IntegrityError)


def no_runs_error(uri: str, experiment: str, what: str = "no run is recorded") -> BenchError:
    """The error for a store that has no runs or does not exist."""
    where = f"experiment {experiment} of {without_credentials(uri)}"
    return BenchError(f"{what} in {where}", "record some with `mnist-bench run`")


def _require_run_id(run: RunResult) -> str:
    if run.run_id is None:
        raise ValueError("the run has no MLflow run id")
    return run.run_id


def _list_artifacts(location: str, uri: str) -> object:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(location, uri).list_artifacts()


def _create_experiment(client: MlflowClient, name: str, location: str | None) -> Experiment:
    from mlflow.exceptions import MlflowException

    try:
        description = {"mlflow.note.content": schema.EXPERIMENT_DESCRIPTION}
        return client.get_experiment(client.create_experiment(name, location, description))
    except MlflowException:
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return found  # another process created it at the same time


@contextmanager
def _explain_filter(filter_string: str) -> Iterator[None]:
    """Report an invalid filter as such, not as a failure of the store."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        why = str(error).partition("INVALID_PARAMETER_VALUE: ")[2] or str(error)
        raise BenchError(
            f"MLflow does not understand the filter {filter_string!r}: {why.splitlines()[0][:200]}",
            "write it in the syntax of MLflow's search_runs, such as \"params.threads = '2'\"",
        ) from error


def _parse(kind: type[RecordT], content: bytes | None) -> RecordT | None:
    """A saved record; None if there is none, or one of another version."""
    with suppress(ValidationError):
        return kind.model_validate_json(content) if content else None
    return None


def _dataset_inputs(run: RunResult) -> list[DatasetInput]:
    """The splits that a run uses, by the digest that is known: MLflow would hash the images."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"dataset": run.dataset, "sha256": run.dataset_digest})
    return [
        DatasetInput(
            # MLflow keeps one entry of a name and digest, and at most 36 digits.
            Dataset(f"{run.dataset} {split}", run.dataset_digest[:32], "mnist-bench", source),
            [InputTag("mlflow.data.context", split)],
        )
        for split in schema.splits_of(run)
    ]


def _key(run: RunResult) -> str:
    return f"{run.trajectory}/{run.steps}"


def _is_imported(run: Run) -> bool:
    return IMPORTED_TAG in run.data.tags


def _is_settled(run: Run) -> bool:
    """Whether a run is complete, or the user deleted it."""
    is_complete: bool = run.data.tags.get(COMPLETE_TAG) == "true"
    return is_complete or run.info.lifecycle_stage == "deleted"


def _metrics_of(points: Sequence[schema.Point]) -> list[Metric]:
    return [
        metric
        for point in points
        for metric in _metrics(schema.metrics_at(point), point.step, point.at_ms)
    ]


def _metrics(values: dict[str, float | None], step: int, at_ms: int) -> list[Metric]:
    """MLflow's metrics for the known values."""
    from mlflow.entities import Metric

    known = {name: float(value) for name, value in values.items() if value is not None}
    return [Metric(name, value, at_ms, step) for name, value in known.items()]
