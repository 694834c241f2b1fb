"""Reading from MLflow: open a store, search runs, load their artifacts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import ValidationError

from mnist_bench.core.errors import BenchError
from mnist_bench.core.npz import load_npz
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.predictions import Predictions
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import RecordedRun
from mnist_bench.scenarios import scenario
from mnist_bench.scenarios.scenario import Scenario
from mnist_bench.tracking import mlflow_errors, mlflow_setup, schema
from mnist_bench.tracking.read_run import RunFields, UnreadableRunError, read_run
from mnist_bench.tracking.uri import schema_revision, sqlite_file, without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PAGE_SIZE = 1_000
_MAX_RUNS = 50_000
"""MLflow's limit for one search."""


class MlflowReader:
    """An MLflow store with one experiment, for reading.

    Args:
        uri: MLflow's tracking URI.
        experiment: Name of the experiment.
        create: Whether to create a missing experiment; otherwise its id is empty.

    Raises:
        BenchError: The store can't be used: another schema, a deleted experiment, an MLflow error.
    """

    def __init__(self, uri: str, experiment: str, *, create: bool = True) -> None:
        mlflow = mlflow_setup.import_mlflow()
        self._uri = uri
        with (
            self.wrap_errors(action="opening the store"),
            mlflow_errors.creation_lock(uri),
            mlflow_errors.discard_incomplete_database(uri),
        ):
            mlflow_setup.refuse_other_schema(uri)
            self.client: MlflowClient = mlflow.MlflowClient(tracking_uri=uri)
            self.experiment_id = mlflow_setup.experiment_id(
                self.client, uri, experiment, create=create
            )

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
        """Finished runs of a scenario on the images with this digest, newest first."""
        filter_string = (
            f"attributes.status = 'FINISHED' and tags.`{schema.DIGEST_TAG}` = '{dataset_digest}'"
        )
        with self.wrap_errors(action="looking for earlier runs"):
            results = [
                self.load(run.info.run_id)
                for run in self.search(filter_string)
                if run.data.params.get("scenario") == scenario  # a name may contain any quotes
            ]
        return [result for result in results if result]

    def load(self, run_id: str) -> RunResult | None:
        """The record of a run; None if it is missing or of another version."""
        with suppress(ValidationError):
            content = self.artifact(run_id, "result.json")
            return RunResult.model_validate_json(content) if content else None
        return None

    def load_trial(self, parent_run_id: str, number: int) -> RunResult | None:
        """The record of a study's trial; None if there is none."""
        is_child = f"tags.mlflow.parentRunId = '{parent_run_id}'"
        filter_string = f"{is_child} and tags.`{schema.TRIAL_TAG}` = '{number}'"
        with self.wrap_errors(action="looking for a trial"):
            # The study may have been started in another experiment.
            experiment_id = self.client.get_run(parent_run_id).info.experiment_id
            found = self.client.search_runs([experiment_id], filter_string, max_results=1)
        return self.load(found[0].info.run_id) if found else None

    def has_run(self, run_id: str) -> bool:
        """Whether a run exists and is not deleted."""
        from mlflow.exceptions import MlflowException

        with self.wrap_errors(action="looking for a run"):
            try:
                run = self.client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return False
        return bool(run.info.lifecycle_stage == "active")

    def finished_runs_of(self, job_tag: str) -> dict[str, int]:
        """Step counts of the finished runs of a shared training job, by MLflow run id.

        Imported runs are ignored: they come from another shared store, whose plan may be equal.
        """
        filter_string = f"tags.`{schema.PART_TAG}` = '{job_tag}' and attributes.status = 'FINISHED'"
        with self.wrap_errors(action="looking for runs of a shared plan"):
            found = self.search(filter_string)
        own = [run for run in found if schema.IMPORTED_TAG not in run.data.tags]
        return {run.info.run_id: int(run.data.tags[schema.STEPS_TAG]) for run in own}

    def load_scenario(self, run_id: str) -> Scenario | None:
        """The scenario of a run; None if it was not saved."""
        content = self.artifact(run_id, "scenario.toml")
        with suppress(BenchError, UnicodeDecodeError):
            return scenario.from_text(content.decode(), "scenario.toml") if content else None
        return None

    def load_machine(self, run_id: str) -> Machine | None:
        """The machine of a run; None if it was not saved."""
        with suppress(ValidationError):
            content = self.artifact(run_id, "machine.json")
            return Machine.model_validate_json(content) if content else None
        return None

    def recorded_runs(self, filter_string: str) -> Iterator[RecordedRun | UnreadableRunError]:
        """Runs that match an MLflow filter, newest first, loaded page by page.

        Runs of other programs and studies' own runs are skipped. A run that can't be read is
        yielded as an error.

        Raises:
            BenchError: The filter is invalid, or MLflow failed.
        """
        for run in self._pages(filter_string):
            fields = _fields(run)
            if schema.SCHEMA_TAG not in fields.tags or schema.TRAJECTORY_TAG not in fields.tags:
                continue
            try:
                yield read_run(fields)
            except UnreadableRunError as error:
                yield error

    def _pages(self, filter_string: str) -> Iterator[Run]:
        token: str | None = None
        while True:
            with self.wrap_errors(action="looking for runs"), _explain_filter(filter_string):
                page = self.client.search_runs(
                    [self.experiment_id],
                    filter_string,
                    max_results=_PAGE_SIZE,
                    page_token=token,
                )
            token = page.token
            yield from page
            del page  # MLflow's runs are large: keep one page in memory
            if not token:
                return

    def load_predictions(self, run: RunResult) -> Predictions | None:
        """Predictions of a run after its last step; None if they were not saved."""
        content = self.artifact(require_run_id(run), "predictions.npz")
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
            tempfile.TemporaryDirectory(prefix="mnist-bench-") as folder,
            suppress(MlflowException, OSError),
        ):
            return Path(self.client.download_artifacts(run_id, name, folder)).read_bytes()
        return None

    def search(self, filter_string: str) -> list[Run]:
        """MLflow's runs of the experiment that match an MLflow filter."""
        return list(
            self.client.search_runs([self.experiment_id], filter_string, max_results=_MAX_RUNS)
        )

    @contextmanager
    def wrap_errors(self, *, action: str) -> Iterator[None]:
        """Turn errors of MLflow into a `BenchError`; `action` says what was being done."""
        try:
            yield
        except BenchError:
            raise
        except Exception as error:
            # MLflow does not wrap the errors of its databases, drivers and HTTP libraries.
            raise mlflow_errors.to_bench_error(error, self._uri, action) from error


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


def no_runs_error(uri: str, experiment: str, what: str = "no run is recorded") -> BenchError:
    """The error for a store that has no runs or does not exist."""
    where = f"experiment {experiment} of {without_credentials(uri)}"
    return BenchError(f"{what} in {where}", "record some with `mnist-bench run`")


def require_run_id(run: RunResult) -> str:
    """MLflow run id of a run that was created in MLflow.

    Raises:
        ValueError: The run has no id.
    """
    if run.run_id is None:
        raise ValueError("the run has no MLflow run id")
    return run.run_id


def _fields(run: Run) -> RunFields:
    return RunFields(
        run_id=run.info.run_id,
        status=run.info.status,
        begun_at_ms=run.info.start_time or 0,
        params=run.data.params,
        metrics=run.data.metrics,
        tags=run.data.tags,
    )
