"""Names and values of the params, tags and metrics that are recorded in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mnist_bench.measurement.machine import Machine
from mnist_bench.results.run import SPLITS, Evaluation, PhaseName, RunResult
from mnist_bench.tracking.database import OWNER_TAG

SCHEMA = "1"
"""Version of the recorded names; increased if the meaning of one changes."""
TRAJECTORY_TAG, STEPS_TAG = "bench.trajectory", "bench.steps"
"""Together they identify a run independently of its MLflow run id."""
SCHEMA_TAG, COMPLETE_TAG, FAILURE_TAG = "bench.schema", "bench.complete", "bench.failure"
IMPORTED_TAG = "bench.imported"
"""Marks runs from bundles: an import continues only these, and nothing else does."""
# 0.1.0 also wrote bench.part and bench.plan, for plans that machines shared; nothing reads them.
STUDY_TAG, TRIAL_TAG, TRIAL_STATE_TAG = "bench.study", "bench.trial", "bench.trial_state"
PARENT_TAG = "mlflow.parentRunId"
"""MLflow's own tag."""
IMAGE_TAG, WEIGHTS_RUN_TAG = "bench.image", "bench.weights_run"
"""Index of the test image of recorded feature maps, and the run whose weights were used."""
REPORT_TAG = "bench.report"
CLAIMS_TAG, PRICE_TAG = "bench.claims", "bench.price"
"""Marks the run of a claims report, and the price of a kilowatt-hour that was given for it."""
CLAIM_TAG, CREATED_TAG = "bench.claim", "bench.created"
"""Number of the claim of an experiment, and its date; each experiment has its own run."""
DIGEST_TAG = "bench.dataset_digest"
VERDICT_TAG, REASONS_TAG = "bench.verdict", "bench.reasons"
MEMORY_METHOD_TAG, SHARED_PHASES_TAG = "bench.memory_method", "bench.shared_phases"
TRAINING_SEED_TAG = "bench.training_seed"
MACHINE_ID_TAG, MACHINE_TAG = "bench.machine_id", "bench.machine"
TENSORFLOW_TAG, VERSION_TAG = "bench.tensorflow", "bench.mnist_bench"


RESERVED_TAGS = ("bench.", "best.", "mlflow.")
"""What a user's own tag can't begin with."""
NAME_TAG = "name"
"""The user's tag that `--name` sets; the name of the MLflow run begins with it."""


def user_tags(tags: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The tags of a run that are the user's own, sorted."""
    own = ((key, text) for key, text in tags.items() if not key.startswith(RESERVED_TAGS))
    return tuple(sorted(own))


EXPERIMENT_DESCRIPTION = """Trainings on MNIST, recorded by mnist-bench.

- A run is one step count and one seed of a scenario. Its parameters say what was trained, its
  metrics by step show how.
- Runs that are not trainings have no parameter `scenario`: the filter `params.scenario LIKE '%'`
  leaves out reports and the parents of studies.
- Tags `bench.verdict` and `bench.reasons` say whether a run's times and memory can be trusted.
- `mnist-bench report` compares the runs with the paper's Table I.
"""
SOURCE = {"mlflow.source.name": "mnist-bench"}
"""Replaces the path of the script that MLflow would record: it may contain a user name."""


@dataclass(frozen=True)
class Point:
    """Measurements at one step.

    Attributes:
        step: Updates so far.
        at_ms: When the parent received them, Unix time in milliseconds. MLflow uses it for time
            axes, and ignores a metric with the same step, time and value.
        evaluation: None if there was no evaluation at this step.
        rss_bytes: Resident memory of the worker; None if unknown.
        worker_cores: Processor time of the worker by wall-clock time since the last such point.
        other_cores: The same of all processes but the worker and its parent.
    """

    step: int
    at_ms: int
    evaluation: Evaluation | None = None
    rss_bytes: int | None = None
    worker_cores: float | None = None
    other_cores: float | None = None


_PARAMS = (
    *("scenario", "model", "steps", "seed", "dataset", "precision", "threads", "device"),
    *("device_name", "device_memory_bytes", "eval_first", "eval_every", "environment"),
)
"""Each is also an attribute of `RunResult`."""


def params_of(run: RunResult) -> dict[str, object]:
    """Params of a run."""
    params = {name: getattr(run, name) for name in _PARAMS} | run.hyperparameters.model_dump()
    return {name: value for name, value in params.items() if value is not None}


def splits_of(run: RunResult) -> tuple[str, ...]:
    """Splits of the images that a run uses: a trial never looks at the test split."""
    return ("training", "validation") if run.trial else ("training", "validation", "test")


def opening_tags(run: RunResult, description: str, owner: str, machine: Machine) -> dict[str, str]:
    """Tags of a run at its start."""
    tags = {
        **SOURCE,
        "mlflow.note.content": description,
        SCHEMA_TAG: SCHEMA,
        TRAJECTORY_TAG: run.trajectory,
        STEPS_TAG: str(run.steps),
        TRAINING_SEED_TAG: str(run.training_seed),
        DIGEST_TAG: run.dataset_digest,
        MACHINE_TAG: machine.name,
        TENSORFLOW_TAG: machine.tensorflow,
        VERSION_TAG: machine.mnist_bench,
        OWNER_TAG: owner,
        COMPLETE_TAG: "false",
    }
    if run.trial:
        tags |= {
            PARENT_TAG: run.trial.parent_run_id,
            STUDY_TAG: run.trial.study,
            TRIAL_TAG: str(run.trial.number),
        }
    return tags | ({MACHINE_ID_TAG: run.machine_id} if run.machine_id else {})


def study_tags(name: str, description: str, owner: str) -> dict[str, str]:
    """Tags of a study's own run."""
    return {
        **SOURCE,
        "mlflow.note.content": description,
        SCHEMA_TAG: SCHEMA,
        STUDY_TAG: name,
        OWNER_TAG: owner,
    }


def best_tags(trial: int, chosen: Mapping[str, object]) -> dict[str, str]:
    """Tags of a study's own run: the number and the parameters of its best trial."""
    values = {"trial": trial, **chosen}
    return {f"best.{name}": str(value) for name, value in values.items()}


def closing_tags(run: RunResult, description: str) -> dict[str, str]:
    """Tags of a run at its end."""
    known = {
        MEMORY_METHOD_TAG: run.memory_method,
        SHARED_PHASES_TAG: ", ".join(run.shared_phases),
        VERDICT_TAG: run.verdict,
        REASONS_TAG: ", ".join(run.reasons),
        FAILURE_TAG: run.failure,
        TRIAL_STATE_TAG: run.status if run.trial else None,
    }
    return {"mlflow.note.content": description} | {key: text for key, text in known.items() if text}


EVALUATION_METRICS = ("test_accuracy", "validation_accuracy", "train_loss", "train_seconds")
"""Metrics of an evaluation; each is also an attribute of `Evaluation`."""


def metrics_at(point: Point) -> dict[str, float | None]:
    """Metrics at a step."""
    scored = point.evaluation
    scores = {name: getattr(scored, name) for name in EVALUATION_METRICS} if scored else {}
    return {
        "rss_bytes": point.rss_bytes,
        # MLflow shows metrics with this prefix on their own tab.
        "system/worker_rss_bytes": point.rss_bytes,
        "system/worker_cpu_cores": point.worker_cores,
        "system/other_cpu_cores": point.other_cores,
        **scores,
    }


BEST_METRICS = {"train seconds": "best_train_seconds", "peak RSS": "best_peak_rss_bytes"}
"""Metrics of a study's own run for the further values of a Pareto front, by their names."""
BEST_METRIC = "best_value"
"""Metric of a study's own run: by trial, the best value so far; last, that of the best trial."""
RUN_METRICS = (
    *("max_test_accuracy", "max_test_accuracy_step", "final_test_accuracy"),
    *("selected_test_accuracy", "max_validation_accuracy", "final_validation_accuracy"),
    *("train_seconds_total", "images_per_second", "peak_rss_bytes"),
    *("processor_joules", "battery_joules"),
)
"""Metrics of a whole run; each is also an attribute of `RunResult`."""


def phase_metric(phase: PhaseName, metric: str) -> str:
    """Name of a metric of a phase, such as `phase_train_seconds`."""
    return f"phase_{phase}_{metric}"


def metrics_once(run: RunResult) -> dict[str, float | None]:
    """Metrics of a whole run."""
    metrics: dict[str, float | None] = {name: getattr(run, name) for name in RUN_METRICS}
    peaks = run.phase_peak_rss_bytes.items()
    # MLflow groups charts by what precedes a slash: each phase's metrics have a second name.
    for name_of in (phase_metric, "phase/{}_{}".format):
        metrics |= {name_of(phase, "seconds"): seconds for phase, seconds in run.seconds.items()}
        metrics |= {name_of(phase, "peak_rss_bytes"): peak for phase, peak in peaks}
    for split in SPLITS:
        for target in run.target_accuracies:
            name = f"time_to_{split}_accuracy_{f'{target:g}'.replace('.', '_')}_seconds"
            metrics[name] = run.seconds_to_accuracy(split, target)
    return metrics
