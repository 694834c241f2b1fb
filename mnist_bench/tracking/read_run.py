"""Run summaries from MLflow's params, metrics and tags, without opening artifacts."""

from __future__ import annotations

from collections.abc import Mapping
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
_TEXT_PARAMS = ("scenario", "model", "dataset", "precision", "device")
_INTEGER_PARAMS = ("steps", "seed", "threads", "eval_first", "eval_every")
_INTEGER_METRICS = ("max_test_accuracy_step", "peak_rss_bytes")
"""Metrics that are integers; MLflow stores floats."""
_FIELDS = set(RunSummary.model_fields)
"""Shared by all summaries; Pydantic would store a set of set fields per run."""
_CACHE_SIZE = 1_024
"""Number of distinct values that are cached to be shared by runs."""


class UnreadableRunError(ValueError):
    """An MLflow run that mnist-bench did not record, or that can't be read."""


def read_run(
    *,
    run_id: str,
    status: str,
    begun_at_ms: int,
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> RecordedRun:
    """Summarise a run from its MLflow fields.

    Args:
        status: MLflow's status, such as `FINISHED`.
        begun_at_ms: Start, Unix time in milliseconds.
        metrics: The last value of each metric.

    Raises:
        UnreadableRunError: mnist-bench did not record it, or the schema is unknown, or a field is
            missing or invalid.
    """
    # There may be thousands of runs, which have most of their texts in common.
    params, tags = ({name: intern(text) for name, text in each.items()} for each in (params, tags))
    version = tags.get(schema.SCHEMA_TAG)
    if version is None or schema.TRAJECTORY_TAG not in tags:
        raise UnreadableRunError("not a run of mnist-bench")
    if version != schema.SCHEMA:
        raise UnreadableRunError(f"of schema {version}, and this version knows {schema.SCHEMA}")
    try:
        run = _summary(run_id, status, params, metrics, tags)
    except (ValidationError, ValueError, KeyError, OverflowError) as error:
        raise UnreadableRunError("a field is missing or invalid") from error
    machine, is_imported = tags.get(schema.MACHINE_TAG), schema.IMPORTED_TAG in tags
    return RecordedRun(
        run=run,
        begun_at_ms=begun_at_ms,
        machine=f"{machine} (imported)" if machine and is_imported else machine,
        tensorflow=tags.get(schema.TENSORFLOW_TAG),
        mnist_bench=tags.get(schema.VERSION_TAG),
        study=tags.get(schema.STUDY_TAG),
        study_run_id=tags.get(schema.PARENT_TAG),
        tags=_shared_tags(schema.user_tags(tags)),
        is_imported=is_imported,
    )


def _summary(
    run_id: str,
    status: str,
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> RunSummary:
    is_pruned = tags.get(schema.TRIAL_STATE_TAG) == "pruned"
    verdict, reasons = tags.get(schema.VERDICT_TAG), _split(tags.get(schema.REASONS_TAG))
    summary = RunSummary.model_validate(
        {
            **{name: params[name] for name in _TEXT_PARAMS},
            **{name: int(params[name]) for name in _INTEGER_PARAMS},
            "status": "pruned" if is_pruned else _STATUS[status],
            "run_id": run_id,
            "trajectory": tags[schema.TRAJECTORY_TAG],
            "dataset_digest": tags.get(schema.DIGEST_TAG, ""),
            "machine_id": tags.get(schema.MACHINE_ID_TAG),
            "memory_method": tags.get(schema.MEMORY_METHOD_TAG),
            "verdict": verdict,
            "reasons": None if verdict is None else tuple(dict.fromkeys(reasons)),
            **{name: metrics.get(name) for name in schema.RUN_METRICS},
            **{name: int(metrics[name]) for name in _INTEGER_METRICS if name in metrics},
            "seconds": _by_phase(metrics, "seconds"),
            "phase_peak_rss_bytes": {
                name: int(peak) for name, peak in _by_phase(metrics, "peak_rss_bytes").items()
            },
            "hyperparameters": _hyperparameters(params),
            "failure": tags.get(schema.FAILURE_TAG),
            "training_seed": _integer(tags.get(schema.TRAINING_SEED_TAG)),
            "shared_phases": _split(tags.get(schema.SHARED_PHASES_TAG)),
            "device_name": params.get("device_name"),
            "environment": params.get("environment"),
            "device_memory_bytes": _integer(params.get("device_memory_bytes")),
        }
    )
    shared = {name: _shared_tuple(getattr(summary, name)) for name in ("reasons", "shared_phases")}
    return RunSummary.model_construct(_FIELDS, **(dict(summary) | shared))


@lru_cache(_CACHE_SIZE)
def _shared_tuple(words: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The same object for equal tuples."""
    return words


@lru_cache(_CACHE_SIZE)
def _shared_tags(tags: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The same object for equal tags."""
    return tags


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
