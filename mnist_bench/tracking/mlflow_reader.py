"""MLflow as it is read: opens a store, finds runs, fetches what was kept with them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mnist_bench.core.errors import BenchError
from mnist_bench.core.npz import from_npz
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.predictions import Predictions
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import RecordedRun
from mnist_bench.scenarios import scenario
from mnist_bench.scenarios.scenario import Scenario
from mnist_bench.tracking import mlflow_errors, mlflow_setup, schema
from mnist_bench.tracking import uri as tracking
from mnist_bench.tracking.read_run import RunFields, UnreadableRunError, read_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_RUNS_A_PAGE = 1_000
_MOST_RUNS = 50_000
"""MLflow's limit for one search."""


class MlflowReader:
    """An open MLflow store and the experiment in it, to read.

    Args:
        uri: MLflow's tracking URI.
        experiment: Name of the experiment.
        make: Whether the experiment is made where it does not exist; else its id is empty.

    Raises:
        BenchError: The store can't be used: an old schema, a deleted experiment, a refusal.
    """

    def __init__(self, uri: str, experiment: str, *, make: bool = True) -> None:
        mlflow = mlflow_setup.import_mlflow()
        self._uri = uri
        with (
            self.explained(while_="opening the store"),
            mlflow_errors.one_creator(uri),
            mlflow_errors.nothing_half_made(uri),
        ):
            mlflow_setup.refuse_other_schema(uri)
            self.client: MlflowClient = mlflow.MlflowClient(tracking_uri=uri)
            self.experiment_id = mlflow_setup.experiment_id(self.client, uri, experiment, make=make)

    def load_finished(self, scenario: str, dataset_digest: str) -> list[RunResult]:
        """The finished runs of a scenario on the images with this digest, the newest first."""
        question = (
            f"attributes.status = 'FINISHED' and tags.`{schema.DIGEST_TAG}` = '{dataset_digest}'"
        )
        with self.explained(while_="looking for earlier runs"):
            results = [
                self.load(run.info.run_id)
                for run in self.search(question)
                if run.data.params.get("scenario") == scenario  # a name may hold any quotes
            ]
        return [result for result in results if result]

    def load(self, run_id: str) -> RunResult | None:
        """A run as it was kept; None where its record is missing or of another version."""
        with suppress(ValidationError):
            content = self.artifact(run_id, "result.json")
            return RunResult.model_validate_json(content) if content else None
        return None

    def load_trial(self, parent_run_id: str, number: int) -> RunResult | None:
        """The run of a study's trial as it was kept; None where none is kept."""
        child = f"tags.mlflow.parentRunId = '{parent_run_id}'"
        question = f"{child} and tags.`{schema.TRIAL_TAG}` = '{number}'"
        with self.explained(while_="looking for a trial"):
            # The study may have been begun in another experiment.
            home = self.client.get_run(parent_run_id).info.experiment_id
            found = self.client.search_runs([home], question, max_results=1)
        return self.load(found[0].info.run_id) if found else None

    def knows(self, run_id: str) -> bool:
        """Whether a run is there."""
        from mlflow.exceptions import MlflowException

        with self.explained(while_="looking for a run"):
            try:
                known = self.client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return False
        return bool(known.info.lifecycle_stage == "active")

    def recorded_of(self, part: str) -> dict[str, int]:
        """The finished runs of a part of a shared plan: their steps, by MLflow's id.

        What came in a bundle is of another board, whose plan may have asked the same.
        """
        question = f"tags.`{schema.PART_TAG}` = '{part}' and attributes.status = 'FINISHED'"
        with self.explained(while_="looking for what is recorded of a shared plan"):
            found = self.search(question)
        own = [run for run in found if schema.IMPORTED_TAG not in run.data.tags]
        return {run.info.run_id: int(run.data.tags[schema.STEPS_TAG]) for run in own}

    def load_scenario(self, run_id: str) -> Scenario | None:
        """The scenario that a run was asked with; None where that was not kept."""
        content = self.artifact(run_id, "scenario.toml")
        with suppress(BenchError, UnicodeDecodeError):
            return scenario.from_text(content.decode(), "scenario.toml") if content else None
        return None

    def load_machine(self, run_id: str) -> Machine | None:
        """The machine that a run was made on; None where that was not kept."""
        with suppress(ValidationError):
            content = self.artifact(run_id, "machine.json")
            return Machine.model_validate_json(content) if content else None
        return None

    def recorded(self, question: str) -> Iterator[RecordedRun | UnreadableRunError]:
        """The runs that a question of MLflow's filters finds, the newest first, a page at a time.

        What is none of ours is left out; of what can't be read there is the reason.

        Raises:
            BenchError: MLflow does not understand the question, or is gone.
        """
        for run in self._pages(question):
            found = _fields(run)
            if schema.SCHEMA_TAG not in found.tags or schema.TRAJECTORY_TAG not in found.tags:
                continue  # a study's own run, or somebody else's
            try:
                yield read_run(found)
            except UnreadableRunError as error:
                yield error

    def _pages(self, question: str) -> Iterator[Run]:
        token: str | None = None
        while True:
            with self.explained(while_="looking for runs"), _understood(question):
                page = self.client.search_runs(
                    [self.experiment_id], question, max_results=_RUNS_A_PAGE, page_token=token
                )
            token = page.token
            yield from page
            del page  # MLflow's runs are large: not two pages of them at once
            if not token:
                return

    def load_predictions(self, run: RunResult) -> Predictions | None:
        """What a run's last state saw in each test image; None where none was kept."""
        content = self.artifact(id_of(run), "predictions.npz")
        with suppress(ValueError, KeyError):
            kept = from_npz(content or b"")
            return Predictions(kept["final_label"], kept["final_probability"])
        return None

    def keeps(self, run_id: str, name: str) -> bool:
        """Whether a file of that name was kept with a run."""
        with self.explained(while_="looking for files"):
            return any(each.path == name for each in self.client.list_artifacts(run_id))

    def artifact(self, run_id: str, name: str) -> bytes | None:
        """What is in a file that was kept with a run; None where it is not there."""
        from mlflow.exceptions import MlflowException

        with (
            tempfile.TemporaryDirectory(prefix="mnist-bench-") as folder,
            suppress(MlflowException, OSError),
        ):
            return Path(self.client.download_artifacts(run_id, name, folder)).read_bytes()
        return None

    def search(self, question: str) -> list[Run]:
        """MLflow's runs that a question of its filters finds."""
        return list(self.client.search_runs([self.experiment_id], question, max_results=_MOST_RUNS))

    @contextmanager
    def explained(self, *, while_: str) -> Iterator[None]:
        """Turn MLflow's faults into one line for people."""
        try:
            yield
        except BenchError:
            raise
        except Exception as error:
            # MLflow lets through what its databases, drivers and HTTP libraries raise.
            raise mlflow_errors.fault(error, self._uri, while_) from error


@contextmanager
def _understood(question: str) -> Iterator[None]:
    """Tell a question that makes no sense apart from a store that fails."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        why = str(error).partition("INVALID_PARAMETER_VALUE: ")[2] or str(error)
        raise BenchError(
            f"MLflow does not understand the filter {question!r}: {why.splitlines()[0][:200]}",
            "write it as MLflow's search_runs takes it, such as \"params.threads = '2'\"",
        ) from error


def existing_store(uri: str, experiment: str) -> MlflowReader | None:
    """Open a store only to read there; None where there is none yet.

    Raises:
        BenchError: It can't be used.
    """
    file = tracking.sqlite_file(uri)
    if file is not None and tracking.schema_revision(file) is None:
        return None
    opened = MlflowReader(uri, experiment, make=False)
    return opened if opened.experiment_id else None


def nothing_recorded(uri: str, experiment: str, what: str = "no run is recorded") -> BenchError:
    """Of a store in which nothing is to be had, or which is not there yet."""
    where = f"experiment {experiment} of {tracking.without_credentials(uri)}"
    return BenchError(f"{what} in {where}", "`mnist-bench run` makes some")


def id_of(run: RunResult) -> str:
    """MLflow's id of a run that was started.

    Raises:
        ValueError: It never was.
    """
    if run.run_id is None:
        raise ValueError("the run was never started")
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
