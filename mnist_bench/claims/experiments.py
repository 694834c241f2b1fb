"""Experiments for claims: request, run, record, load."""

from __future__ import annotations

import datetime as dt
import time
from contextlib import suppress
from importlib.metadata import version

from mnist_bench.core import formatting, locks
from mnist_bench.core.records import shared_fields
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.machine import machine_id, tensorflow_version
from mnist_bench.results import experiments
from mnist_bench.results.claims import IMAGE_CLAIMS, MeasuredClaim
from mnist_bench.results.experiments import BUDGET_SECONDS, EXPERIMENT_TITLES, ExperimentResult
from mnist_bench.results.protocol import ExperimentRequest
from mnist_bench.runner import process
from mnist_bench.runner.options import base_execution
from mnist_bench.tracking import schema
from mnist_bench.tracking.mlflow_store import MlflowStore


def experiment_request(
    claim: MeasuredClaim, source: Source | None, *, threads: int
) -> ExperimentRequest:
    """Request for the experiment of a claim.

    Args:
        source: The images. May be None for a claim that uses none.
        threads: Ignored by claim 7, whose layers don't parallelize equally: it uses one thread.
    """
    return ExperimentRequest(
        claim=claim,
        source=source if claim in IMAGE_CLAIMS else None,
        execution=base_execution(1 if claim == 7 else threads, "float32", "cpu"),
        seconds=BUDGET_SECONDS[claim],
    )


def load_experiment(
    reader: MlflowStore, claim: MeasuredClaim, machine_id: str | None, digest: str | None
) -> ExperimentResult | None:
    """Load the newest result of a claim's experiment on a machine; None if there is none.

    Unreadable results are skipped.

    Args:
        machine_id: None finds nothing: results without an id belong to an unknown machine.
        digest: Digest of the images; None for a claim that uses none.
    """
    if machine_id is None:
        return None
    with reader.wrap_errors(action="looking for what a claim needs"):
        runs = reader.search(f"tags.`{schema.CLAIM_TAG}` = '{claim}'")
    required = {schema.MACHINE_ID_TAG: machine_id, schema.DIGEST_TAG: digest}
    for run in runs:
        if any(run.data.tags.get(name) != value for name, value in required.items()):
            continue
        content = reader.artifact(run.info.run_id, experiments.FILE)
        with suppress(ValueError):
            result = experiments.from_json(content or b"")
            recorded = (result.claim, result.machine_id, result.dataset_digest)
            if recorded == (claim, machine_id, digest):
                return result
    return None


def run_experiment(
    store: MlflowStore, request: ExperimentRequest, *, exclusively: bool = True
) -> ExperimentResult:
    """Run an experiment in a fresh process and record its result.

    Args:
        exclusively: Whether other benchmarks of this user are locked out meanwhile.

    Raises:
        BenchError: Another benchmark is running, or the experiment failed.
    """
    source = request.source
    with locks.benchmark_lock(exclusive=exclusively, warn=lambda _: None) as exclusive:
        started = time.perf_counter()
        body = process.run_experiment(request)
        took_seconds = time.perf_counter() - started
    result = ExperimentResult(
        **shared_fields(request, ExperimentResult),
        machine_id=machine_id(),
        created=dt.datetime.now(dt.UTC).isoformat(),
        dataset=source.name if source else None,
        dataset_digest=source.digest if source else None,
        took_seconds=took_seconds,
        exclusive=exclusive,
        tensorflow=tensorflow_version(),
        mnist_bench=version("mnist-bench"),
        body=body,
    )
    tags = {
        schema.CLAIM_TAG: str(result.claim),
        schema.CREATED_TAG: result.created,
        schema.TENSORFLOW_TAG: result.tensorflow,
        schema.VERSION_TAG: result.mnist_bench,
        schema.DIGEST_TAG: result.dataset_digest,
        schema.MACHINE_ID_TAG: result.machine_id,
    }
    store.save_files(
        f"claim {result.claim}",
        description_of(result),
        {name: value for name, value in tags.items() if value},
        {experiments.FILE: result.to_json()},
        always_create=True,
    )
    return result


def description_of(result: ExperimentResult) -> str:
    """Run description in Markdown, shown by MLflow."""
    images = f" on {result.dataset}" if result.dataset else ""
    return (
        f"**Claim {result.claim}: {EXPERIMENT_TITLES[result.claim]}**\n\n"
        f"Measured{images} with seed {result.seed}, {result.execution}, "
        f"{formatting.threads(result.execution.threads)}, "
        f"in {formatting.duration(result.took_seconds)}. "
        f"The figures are in {experiments.FILE}; the report judges them."
    )
