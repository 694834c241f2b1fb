"""Run summaries from MLflow's params, metrics and tags, without opening artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from sys import intern

from pydantic import ValidationError

from mnist_bench.results.run import PHASES, Status
from mnist_bench.results.run_summary import RecordedRun, RunSummary
from mnist_bench.scenarios.hyperparameters import HYPERPARAMETERS, Hyperparameters
from mnist_bench.tracking import schema

_STATUS: dict[str, Status | None] = {
    "RUNNING": None,
    "SCHEDULED": None,
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "killed",
}
_INTEGER_METRICS = ("max_test_accuracy_step", "peak_rss_bytes")
"""Metrics that are integers; MLflow stores floats."""
_FIELDS = set(RunSummary.model_fields)
"""Shared by all summaries; Pydantic would store a set of set fields per run."""
_CACHE_SIZE = 1_024
"""Number of distinct values that are cached to be shared by runs."""


class UnreadableRunError(ValueError):
    """An MLflow run that mnist-bench did not record, or that can't be read."""


@dataclass(frozen=True)
class RunFields:
    """The fields of an MLflow run, without artifacts.

    Attributes:
        status: MLflow's status, such as `FINISHED`.
        begun_at_ms: Start, Unix time in milliseconds.
        metrics: The last value of each metric.
    """

    run_id: str
    status: str
    begun_at_ms: int
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


def read_run(fields: RunFields) -> RecordedRun:
    """Summarise a run from its MLflow fields.

    Raises:
        UnreadableRunError: mnist-bench did not record it, or the schema is unknown, or a field is
            missing or invalid.
    """
    version = fields.tags.get(schema.SCHEMA_TAG)
    if version is None or schema.TRAJECTORY_TAG not in fields.tags:
        raise UnreadableRunError("not a run of mnist-bench")
    if version != schema.SCHEMA:
        raise UnreadableRunError(f"of schema {version}, and this version knows {schema.SCHEMA}")
    try:
        run = _summary(fields)
    except (ValidationError, ValueError, KeyError, OverflowError) as error:
        raise UnreadableRunError("a field is missing or invalid") from error
    return RecordedRun(
        run=run,
        begun_at_ms=fields.begun_at_ms,
        machine=_shared_text(fields.tags.get(schema.MACHINE_TAG)),
        tensorflow=_shared_text(fields.tags.get(schema.TENSORFLOW_TAG)),
        mnist_bench=_shared_text(fields.tags.get(schema.VERSION_TAG)),
        study=_shared_text(fields.tags.get(schema.STUDY_TAG)),
        study_run_id=_shared_text(fields.tags.get(schema.PARENT_TAG)),
    )


def _summary(fields: RunFields) -> RunSummary:
    params, metrics, tags = fields.params, fields.metrics, fields.tags
    floats = {name: metrics.get(name) for name in schema.RUN_METRICS}
    integers = {
        name: None if floats[name] is None else int(floats[name] or 0) for name in _INTEGER_METRICS
    }
    memory = params.get("device_memory_bytes")
    summary = RunSummary.model_validate(
        {
            **{name: intern(params[name]) for name in ("scenario", "model", "dataset")},
            **{name: intern(params[name]) for name in ("precision", "device")},
            **{name: int(params[name]) for name in ("steps", "seed", "threads")},
            **{name: int(params[name]) for name in ("eval_first", "eval_every")},
            "status": _status(fields),
            "run_id": fields.run_id,
            "trajectory": intern(tags[schema.TRAJECTORY_TAG]),
            "dataset_digest": intern(tags.get(schema.DIGEST_TAG, "")),
            "machine_id": _shared_text(tags.get(schema.MACHINE_ID_TAG)),
            "memory_method": _shared_text(tags.get(schema.MEMORY_METHOD_TAG)),
            "verdict": tags.get(schema.VERDICT_TAG),
            "reasons": _reasons(tags),
            **floats,
            **integers,
            "seconds": _by_phase(metrics, "seconds"),
            "phase_peak_rss_bytes": {
                name: int(peak) for name, peak in _by_phase(metrics, "peak_rss_bytes").items()
            },
            "hyperparameters": _hyperparameters(params),
            "failure": _shared_text(tags.get(schema.FAILURE_TAG)),
            "training_seed": _integer(tags.get(schema.TRAINING_SEED_TAG)),
            "shared_phases": _split(tags.get(schema.SHARED_PHASES_TAG)),
            "device_name": _shared_text(params.get("device_name")),
            "device_memory_bytes": _integer(memory),
        }
    )
    shared = {name: _shared_tuple(getattr(summary, name)) for name in ("reasons", "shared_phases")}
    return RunSummary.model_construct(_FIELDS, **(dict(summary) | shared))


@lru_cache(_CACHE_SIZE)
def _shared_tuple(words: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The same object for equal tuples."""
    return words


def _shared_text(text: str | None) -> str | None:
    """The same object for equal texts."""
    return None if text is None else intern(text)


def _status(fields: RunFields) -> Status | None:
    status = _STATUS[fields.status]
    return "pruned" if fields.tags.get(schema.TRIAL_STATE_TAG) == "pruned" else status


def _reasons(tags: Mapping[str, str]) -> tuple[str, ...] | None:
    if schema.VERDICT_TAG not in tags:
        return None
    return tuple(dict.fromkeys(_split(tags.get(schema.REASONS_TAG))))


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(", ")) if text else ()


def _integer(text: str | None) -> int | None:
    return int(text) if text else None


def _by_phase(metrics: Mapping[str, float], metric: str) -> dict[str, float]:
    names = {phase: schema.phase_metric(phase, metric) for phase in PHASES}
    return {phase: metrics[name] for phase, name in names.items() if name in metrics}


def _hyperparameters(params: Mapping[str, str]) -> Hyperparameters:
    """The model's hyperparameters; those that an older version did not have are the paper's."""
    names = HYPERPARAMETERS[params["model"]].model_fields
    values = tuple((name, params[name]) for name in names if name in params)
    return _parse_hyperparameters(params["model"], values)


@lru_cache(_CACHE_SIZE)
def _parse_hyperparameters(model: str, values: tuple[tuple[str, str], ...]) -> Hyperparameters:
    return HYPERPARAMETERS[model].model_validate_strings(dict(values))
