"""A run in short, read back from MLflow's fields: no file of it is opened. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from sys import intern

from pydantic import ValidationError

from mnist_bench.results.run import PHASES, Status
from mnist_bench.results.run_summary import RecordedRun, RunSummary
from mnist_bench.scenarios.hyperparameters import HYPERPARAMETERS, Hyperparameters
from mnist_bench.tracking import schema as figures

_STATUS: dict[str, Status | None] = {
    "RUNNING": None,
    "SCHEDULED": None,
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "killed",
}
_WHOLE = ("max_test_accuracy_step", "peak_rss_bytes")
"""Metrics that are whole numbers; MLflow keeps floats."""
_FIELDS = set(RunSummary.model_fields)
"""Of every run that is read here all are told; pydantic would keep such a set a run."""
_MOST_SHARED = 1_024
"""So many different values of a kind are kept, for all runs that have them."""


class UnreadableRunError(ValueError):
    """MLflow's run is none of ours, or not of a schema that is known here; says why."""


@dataclass(frozen=True)
class RunFields:
    """What MLflow has of one run, beside its files.

    Attributes:
        run_id: MLflow's id.
        status: MLflow's word.
        begun_at_ms: Unix time in milliseconds.
        params: By name.
        metrics: The last value of each, by name.
        tags: By name.
    """

    run_id: str
    status: str
    begun_at_ms: int
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


def read_run(fields: RunFields) -> RecordedRun:
    """A run from its fields.

    Raises:
        UnreadableError: It is none of ours, or of another schema, or a field makes no sense.
    """
    schema = fields.tags.get(figures.SCHEMA_TAG)
    if schema is None or figures.TRAJECTORY_TAG not in fields.tags:
        raise UnreadableRunError("not a run of mnist-bench")
    if schema != figures.SCHEMA:
        raise UnreadableRunError(f"of schema {schema}, and this version knows {figures.SCHEMA}")
    try:
        run = _summary(fields)
    except (ValidationError, ValueError, KeyError, OverflowError) as error:
        raise UnreadableRunError("a field is missing or makes no sense") from error
    return RecordedRun(
        run=run,
        begun_at_ms=fields.begun_at_ms,
        machine=_shared(fields.tags.get(figures.MACHINE_TAG)),
        tensorflow=_shared(fields.tags.get(figures.TENSORFLOW_TAG)),
        mnist_bench=_shared(fields.tags.get(figures.VERSION_TAG)),
        study=_shared(fields.tags.get(figures.STUDY_TAG)),
        study_run_id=_shared(fields.tags.get(figures.PARENT_TAG)),
    )


def _summary(fields: RunFields) -> RunSummary:
    params, metrics, tags = fields.params, fields.metrics, fields.tags
    told = {name: metrics.get(name) for name in figures.ONCE}
    whole = {name: None if told[name] is None else int(told[name] or 0) for name in _WHOLE}
    memory = params.get("device_memory_bytes")
    checked = RunSummary.model_validate(
        {
            **{name: intern(params[name]) for name in ("scenario", "model", "dataset")},
            **{name: intern(params[name]) for name in ("precision", "device")},
            **{name: int(params[name]) for name in ("steps", "seed", "threads")},
            **{name: int(params[name]) for name in ("eval_first", "eval_every")},
            "status": _status(fields),
            "run_id": fields.run_id,
            "trajectory": intern(tags[figures.TRAJECTORY_TAG]),
            "dataset_digest": intern(tags.get(figures.DIGEST_TAG, "")),
            "machine_id": _shared(tags.get(figures.MACHINE_ID_TAG)),
            "memory_method": _shared(tags.get(figures.MEMORY_METHOD_TAG)),
            "verdict": tags.get(figures.VERDICT_TAG),
            "reasons": _reasons(tags),
            **told,
            **whole,
            "seconds": _by_phase(metrics, "seconds"),
            "phase_peak_rss_bytes": {
                name: int(peak) for name, peak in _by_phase(metrics, "peak_rss_bytes").items()
            },
            "hyperparameters": _hyperparameters(params),
            "failure": _shared(tags.get(figures.FAILURE_TAG)),
            "training_seed": _whole(tags.get(figures.TRAINING_SEED_TAG)),
            "shared_phases": _words(tags.get(figures.SHARED_PHASES_TAG)),
            "device_name": _shared(params.get("device_name")),
            "device_memory_bytes": _whole(memory),
        }
    )
    words = {name: _same(getattr(checked, name)) for name in ("reasons", "shared_phases")}
    return RunSummary.model_construct(_FIELDS, **(dict(checked) | words))


@lru_cache(_MOST_SHARED)
def _same(words: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The one object for words that are equal."""
    return words


def _shared(text: str | None) -> str | None:
    """The one object for texts that are equal."""
    return None if text is None else intern(text)


def _status(fields: RunFields) -> Status | None:
    status = _STATUS[fields.status]
    return "pruned" if fields.tags.get(figures.TRIAL_STATE_TAG) == "pruned" else status


def _reasons(tags: Mapping[str, str]) -> tuple[str, ...] | None:
    if figures.VERDICT_TAG not in tags:
        return None
    return tuple(dict.fromkeys(_words(tags.get(figures.REASONS_TAG))))


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(", ")) if text else ()


def _whole(text: str | None) -> int | None:
    return int(text) if text else None


def _by_phase(metrics: Mapping[str, float], what: str) -> dict[str, float]:
    names = {phase: figures.phase_metric(phase, what) for phase in PHASES}
    return {phase: metrics[name] for phase, name in names.items() if name in metrics}


def _hyperparameters(params: Mapping[str, str]) -> Hyperparameters:
    """The model's, from text; one that an elder version did not have is the paper's."""
    names = HYPERPARAMETERS[params["model"]].model_fields
    asked = tuple((name, params[name]) for name in names if name in params)
    return _chosen(params["model"], asked)


@lru_cache(_MOST_SHARED)
def _chosen(model: str, asked: tuple[tuple[str, str], ...]) -> Hyperparameters:
    return HYPERPARAMETERS[model].model_validate_strings(dict(asked))
