"""What MLflow is told of a run, under which names: parameters, tags, metrics; pure."""

from __future__ import annotations

from dataclasses import dataclass

from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.run import SPLITS, Evaluation, PhaseName, RunResult
from mnist_bench.tracking.uri import OWNER_TAG

SCHEMA = "1"
"""Of what is recorded; rises when a name's meaning changes."""
TRAJECTORY_TAG, STEPS_TAG = "bench.trajectory", "bench.steps"
"""Together they name a run, whatever id MLflow gives it."""
SCHEMA_TAG, COMPLETE_TAG, FAILURE_TAG = "bench.schema", "bench.complete", "bench.failure"
IMPORTED_TAG = "bench.imported"
"""Of a run that came with a bundle: only an import goes on with it, and with no other."""
PART_TAG = "bench.part"
"""Of a plan that machines share: of runs that agree in it and in their steps one is FINISHED."""
PLAN_TAG = "bench.plan"
"""Of the run that stands for such a plan: a board that knows it is the one of the plan."""
STUDY_TAG, TRIAL_TAG, TRIAL_STATE_TAG = "bench.study", "bench.trial", "bench.trial_state"
PARENT_TAG = "mlflow.parentRunId"
"""MLflow's own."""
IMAGE_TAG, WEIGHTS_RUN_TAG = "bench.image", "bench.weights_run"
"""Of what layers make of a test image, and of the run whose weights made some of it."""
REPORT_TAG = "bench.report"
CLAIMS_TAG, PRICE_TAG = "bench.claims", "bench.price"
"""That the paper's claims were measured, and the price of a kilowatt-hour that was given for it."""
CLAIM_TAG, CREATED_TAG = "bench.claim", "bench.created"
"""Of what was measured for a claim of the paper, and when; each measuring has a run of its own."""
DIGEST_TAG = "bench.dataset_digest"
VERDICT_TAG, REASONS_TAG = "bench.verdict", "bench.reasons"
MEMORY_METHOD_TAG, SHARED_PHASES_TAG = "bench.memory_method", "bench.shared_phases"
TRAINING_SEED_TAG = "bench.training_seed"
MACHINE_ID_TAG, MACHINE_TAG = "bench.machine_id", "bench.machine"
TENSORFLOW_TAG, VERSION_TAG = "bench.tensorflow", "bench.mnist_bench"


SOURCE = {"mlflow.source.name": "mnist-bench"}
"""MLflow would record the path of the started script, which may name a home folder."""


@dataclass(frozen=True)
class Point:
    """What was heard of one step.

    Attributes:
        step: Updates done.
        at_ms: When it was heard of, as Unix time in milliseconds; MLflow draws its time axes by
            it, and takes the same figure of the same step and time only once.
        evaluation: The scoring there, if there was one.
        rss_bytes: Resident memory of the training process, where it was told.
    """

    step: int
    at_ms: int
    evaluation: Evaluation | None = None
    rss_bytes: int | None = None


def params_of(run: RunResult) -> dict[str, object]:
    """What was asked."""
    device = {"device_name": run.device_name, "device_memory_bytes": run.device_memory_bytes}
    return {
        "scenario": run.scenario,
        "model": run.model,
        "steps": run.steps,
        "seed": run.seed,
        "dataset": run.dataset,
        "precision": run.precision,
        "threads": run.threads,
        "device": run.device,
        **{name: value for name, value in device.items() if value is not None},
        "eval_first": run.eval_first,
        "eval_every": run.eval_every,
        **run.hyperparameters.model_dump(),
    }


def opening_tags(
    run: RunResult, note: str, owner: ProcessIdentity, machine: Machine
) -> dict[str, str]:
    """Of a run that begins."""
    tags = {
        **SOURCE,
        "mlflow.note.content": note,
        SCHEMA_TAG: SCHEMA,
        TRAJECTORY_TAG: run.trajectory,
        STEPS_TAG: str(run.steps),
        TRAINING_SEED_TAG: str(run.training_seed),
        DIGEST_TAG: run.dataset_digest,
        MACHINE_TAG: machine.name,
        TENSORFLOW_TAG: machine.tensorflow,
        VERSION_TAG: machine.mnist_bench,
        OWNER_TAG: owner.model_dump_json(),
        COMPLETE_TAG: "false",
    }
    if run.trial:
        tags |= {
            PARENT_TAG: run.trial.parent_run_id,
            STUDY_TAG: run.trial.study,
            TRIAL_TAG: str(run.trial.number),
        }
    known = {MACHINE_ID_TAG: run.machine_id, PART_TAG: run.part}
    return tags | {name: text for name, text in known.items() if text}


def study_tags(name: str, note: str, owner: ProcessIdentity) -> dict[str, str]:
    """Of a study's own run."""
    return {
        **SOURCE,
        "mlflow.note.content": note,
        SCHEMA_TAG: SCHEMA,
        STUDY_TAG: name,
        OWNER_TAG: owner.model_dump_json(),
    }


def closing_tags(run: RunResult, note: str) -> dict[str, str]:
    """Of a run that has ended."""
    known = {
        MEMORY_METHOD_TAG: run.memory_method,
        SHARED_PHASES_TAG: ", ".join(run.shared_phases),
        VERDICT_TAG: run.verdict,
        REASONS_TAG: ", ".join(run.reasons),
        FAILURE_TAG: run.failure,
        TRIAL_STATE_TAG: run.status if run.trial else None,
    }
    return {"mlflow.note.content": note} | {key: text for key, text in known.items() if text}


def figures_at(point: Point) -> dict[str, float | None]:
    """Metrics by step."""
    figures: dict[str, float | None] = {"rss_bytes": point.rss_bytes}
    if point.evaluation:
        figures |= {
            "test_accuracy": point.evaluation.test_accuracy,
            "validation_accuracy": point.evaluation.validation_accuracy,
            "train_loss": point.evaluation.train_loss,
            "train_seconds": point.evaluation.train_seconds,
        }
    return figures


ONCE = (
    *("max_test_accuracy", "max_test_accuracy_step", "final_test_accuracy"),
    *("selected_test_accuracy", "max_validation_accuracy", "final_validation_accuracy"),
    *("train_seconds_total", "images_per_second", "peak_rss_bytes"),
    *("processor_joules", "battery_joules"),
)
"""Metrics of a run as a whole, under the names that `RunResult` has for them too."""


def phase_metric(phase: PhaseName, what: str) -> str:
    """A phase's metric: `phase_train_seconds`."""
    return f"phase_{phase}_{what}"


def figures_once(run: RunResult) -> dict[str, float | None]:
    """Metrics of a run as a whole."""
    figures: dict[str, float | None] = {name: getattr(run, name) for name in ONCE}
    peaks = run.phase_peak_rss_bytes.items()
    figures |= {phase_metric(name, "seconds"): seconds for name, seconds in run.seconds.items()}
    figures |= {phase_metric(name, "peak_rss_bytes"): peak for name, peak in peaks}
    for split in SPLITS:
        for target in run.target_accuracies:
            name = f"time_to_{split}_accuracy_{f'{target:g}'.replace('.', '_')}_seconds"
            figures[name] = run.seconds_to_accuracy(split, target)
    return figures
