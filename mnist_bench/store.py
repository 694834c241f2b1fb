"""MLflow: the only room that knows it. Opens a store, records runs there, closes them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from mnist_bench import tracking
from mnist_bench.errors import EXIT_BROKE, BenchError
from mnist_bench.result import SPLITS, Evaluation, RunResult, Status

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

SCHEMA = "1"
"""Of what is recorded; rises when a name's meaning changes."""

_MLFLOW_STATUS: dict[Status | None, str] = {
    None: "RUNNING",
    "finished": "FINISHED",
    "failed": "FAILED",
    "killed": "KILLED",
}
_METRICS_IN_A_BATCH = 1_000
"""MLflow's limit."""


@dataclass(frozen=True)
class TimedEvaluation:
    """A scoring and when it was heard of.

    Attributes:
        evaluation: The scoring.
        at_ms: Unix time in milliseconds; MLflow draws its time axes by it.
    """

    evaluation: Evaluation
    at_ms: int


class Store:
    """An open MLflow store and the experiment in it that runs are recorded in.

    Args:
        uri: MLflow's tracking URI.
        experiment: Name of the experiment; made where it does not exist.

    Raises:
        BenchError: The store can't be used: an old schema, a deleted experiment, a refusal.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        mlflow = _import_mlflow()
        self._uri = uri
        with (
            self._explained(while_="opening the store"),
            _one_creator(uri),
            _nothing_half_made(uri),
        ):
            _refuse_other_schema(uri)
            self._client: MlflowClient = mlflow.MlflowClient(tracking_uri=uri)
            self.experiment_id = self._experiment(experiment)

    def start(self, run: RunResult, note: str) -> str:
        """Make a run that is RUNNING.

        Args:
            run: The run as it is before its first step.
            note: Markdown for MLflow's page of the run.

        Returns:
            MLflow's run id.
        """
        from mlflow.entities import Param

        name = f"{run.scenario} {run.steps} steps seed {run.seed}"
        with self._explained(while_="making a run"):
            made = self._client.create_run(self.experiment_id, tags=_tags(run, note), run_name=name)
            run_id: str = made.info.run_id
            params = [Param(key, str(value)) for key, value in _params(run).items()]
            try:
                self._client.log_batch(run_id, params=params)
            except BaseException:  # nobody has heard of this run yet, so nobody would end it
                self._client.set_terminated(run_id, "FAILED")
                raise
        return run_id

    def log(self, run_id: str, scored: Sequence[TimedEvaluation]) -> None:
        """Record scorings under their steps and times."""
        metrics = [
            metric
            for timed in scored
            for metric in _metrics(
                _figures_of(timed.evaluation), timed.evaluation.step, timed.at_ms
            )
        ]
        self._log_metrics(run_id, metrics)

    def finish(self, run: RunResult, note: str, files: Callable[[], Sequence[Path]]) -> None:
        """Record what is known of a run as a whole, keep its files, and end it as it ended.

        It is ended even where something of it could not be kept.

        Args:
            run: The run with its `run_id` and `status`.
            note: Markdown that replaces the one from the start.
            files: Writes the artifacts and says where they are; each keeps its name.
        """
        run_id = _id_of(run)
        with self._explained(while_="ending a run"):
            try:
                self._log_metrics(run_id, _metrics_once(run))
                for key, value in _closing_tags(run, note).items():
                    self._client.set_tag(run_id, key, value)
                for path in files():
                    self._client.log_artifact(run_id, str(path))
            finally:
                self._client.set_terminated(run_id, _MLFLOW_STATUS[run.status])

    def _log_metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        with self._explained(while_="recording figures"):
            for start in range(0, len(metrics), _METRICS_IN_A_BATCH):
                self._client.log_batch(run_id, metrics[start : start + _METRICS_IN_A_BATCH])

    def _experiment(self, name: str) -> str:
        """Id of the experiment, which is made where it is not there."""
        found = self._client.get_experiment_by_name(name)
        if found is None:
            # MLflow binds an experiment to its artifacts' place for good. On a database without
            # a server that place must be a folder, and not one that depends on where `mlflow ui`
            # is started.
            location = None if tracking.is_server(self._uri) else _artifact_folder(name).as_uri()
            return self._made_experiment(name, location)
        if found.lifecycle_stage == "deleted":
            raise BenchError(
                f"experiment {name} was deleted in MLflow",
                f"restore it with `mlflow experiments restore -x {found.experiment_id}`, or "
                "choose another --experiment",
            )
        if found.artifact_location.startswith("mlflow-artifacts:") and not tracking.is_server(
            self._uri
        ):
            raise BenchError(
                f"experiment {name} keeps its artifacts behind an MLflow server",
                "choose another --experiment, or give the server's address as --tracking-uri",
            )
        return str(found.experiment_id)

    def _made_experiment(self, name: str, location: str | None) -> str:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.create_experiment(name, artifact_location=location)
        except MlflowException:
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)  # another first run was faster

    @contextmanager
    def _explained(self, *, while_: str) -> Iterator[None]:
        """Turn MLflow's faults into one line for people."""
        try:
            yield
        except BenchError:
            raise
        except Exception as error:
            # MLflow lets through what its databases, drivers and HTTP libraries raise.
            raise _fault(error, self._uri, while_) from error


def _import_mlflow() -> Any:
    """Import MLflow quietly: no telemetry unless the user turned it on, no log on the screen."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Its faults reach the user as one line; their tracebacks in the log would come on top.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    # With a server it would print each run's address, password and all, on standard output.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    import mlflow

    return mlflow


@contextmanager
def _one_creator(uri: str) -> Iterator[None]:
    """Keep others from creating the same database at once: all but one of them would fail."""
    database = tracking.sqlite_file(uri)
    if database is None:
        yield
        return
    with FileLock(database.with_name(f"{database.name}.lock"), timeout=120):
        yield


@contextmanager
def _nothing_half_made(uri: str) -> Iterator[None]:
    """Remove a new database that could not be made whole: it could never be used."""
    database = tracking.sqlite_file(uri)
    is_new = database is not None and not database.exists()
    try:
        yield
    except BaseException:
        if database is not None and is_new:
            with suppress(OSError):
                database.unlink(missing_ok=True)
        raise


def _refuse_other_schema(uri: str) -> None:
    """Refuse a database file of another MLflow; MLflow itself would migrate some without a word.

    Raises:
        BenchError: The file's schema is not this MLflow's.
    """
    from mlflow.store.db import utils

    database = tracking.sqlite_file(uri)
    found = tracking.schema_revision(database) if database else None
    newest: Callable[[], str] = utils._get_latest_schema_revision  # noqa: SLF001  # no public name
    if found and found != newest():
        raise _other_version(uri)


def _other_version(uri: str) -> BenchError:
    shown = tracking.without_credentials(uri)
    return BenchError(
        f"{shown} was made by another version of MLflow",
        f"copy it, then run `mlflow db upgrade {shown}`; if a newer MLflow made it, upgrade "
        "MLflow instead",
    )


def _artifact_folder(experiment: str) -> Path:
    slug = re.sub(r"[^\w.-]+", "-", experiment).strip(".-") or "experiment"
    return Path("mlruns").resolve() / slug


def _id_of(run: RunResult) -> str:
    if run.run_id is None:
        raise ValueError("the run was never started")
    return run.run_id


def _fault(error: Exception, uri: str, while_: str) -> BenchError:
    shown = tracking.without_credentials(uri)
    text = str(error).replace(uri, shown)
    if "out-of-date database schema" in text or "Can't locate revision" in text:
        return _other_version(uri)
    # SQLAlchemy wraps the database's own words in advice to programmers.
    own_words = re.search(r"\(\w+\.\w*Error\) ([^\n]+)", text)
    cause = own_words[1] if own_words else text.strip().partition("\n")[0]
    return BenchError(
        f"MLflow at {shown} failed while {while_}: {cause[:300] or type(error).__name__}",
        "see whether it runs, and whether there is room on its disk"
        if tracking.is_server(uri)
        else "see whether the database is still there, and whether there is room on its disk",
        exit_status=EXIT_BROKE,
    )


def _params(run: RunResult) -> dict[str, object]:
    return {
        "scenario": run.scenario,
        "model": run.model,
        "steps": run.steps,
        "seed": run.seed,
        "dataset": run.dataset,
        "precision": run.precision,
        "threads": run.threads,
        "device": run.device,
        "eval_first": run.eval_first,
        "eval_every": run.eval_every,
        **run.hyperparameters.model_dump(),
    }


def _tags(run: RunResult, note: str) -> dict[str, str]:
    from mlflow.tracking.context.registry import resolve_tags

    tags: dict[str, str] = resolve_tags()  # MLflow's own user, source and git tags
    tags |= {
        # MLflow would record the path of the started script, which may name a home folder.
        "mlflow.source.name": "mnist-bench",
        "mlflow.note.content": note,
        "bench.schema": SCHEMA,
        "bench.trajectory": run.trajectory,
        "bench.dataset_digest": run.dataset_digest,
    }
    if run.machine_id:
        tags["bench.machine_id"] = run.machine_id
    return tags


def _closing_tags(run: RunResult, note: str) -> dict[str, str]:
    known = {"bench.memory_method": run.memory_method, "bench.failure": run.failure}
    return {"mlflow.note.content": note} | {key: text for key, text in known.items() if text}


def _figures_of(evaluation: Evaluation) -> dict[str, float | None]:
    return {
        "test_accuracy": evaluation.test_accuracy,
        "validation_accuracy": evaluation.validation_accuracy,
        "train_loss": evaluation.train_loss,
        "train_seconds": evaluation.train_seconds,
    }


def _metrics_once(run: RunResult) -> list[Metric]:
    figures: dict[str, float | None] = {
        "max_test_accuracy": run.max_test_accuracy,
        "max_test_accuracy_step": run.max_test_accuracy_step,
        "final_test_accuracy": run.final_test_accuracy,
        "selected_test_accuracy": run.selected_test_accuracy,
        "train_seconds_total": run.train_seconds_total,
        "images_per_second": run.images_per_second,
        "peak_rss_bytes": run.peak_rss_bytes,
    }
    figures |= {f"phase_{name}_seconds": seconds for name, seconds in run.seconds.items()}
    for split in SPLITS:
        for target in run.target_accuracies:
            name = f"time_to_{split}_accuracy_{f'{target:g}'.replace('.', '_')}_seconds"
            figures[name] = run.seconds_to_accuracy(split, target)
    return _metrics(figures, step=0, at_ms=int(time.time() * 1_000))


def _metrics(figures: dict[str, float | None], step: int, at_ms: int) -> list[Metric]:
    """MLflow's metrics of the figures that are known."""
    from mlflow.entities import Metric

    return [
        Metric(name, float(value), at_ms, step)
        for name, value in figures.items()
        if value is not None
    ]
