"""What the paper's claims need: found where it is recorded, else measured and recorded."""

from __future__ import annotations

import datetime as dt
import time
from contextlib import suppress
from importlib.metadata import version

from mnist_bench.core import formatting, locks
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.machine import machine_id
from mnist_bench.results import experiments
from mnist_bench.results.claims import ON_IMAGES, MeasuredClaim
from mnist_bench.results.experiments import SECONDS, SUBJECTS, ExperimentResult
from mnist_bench.results.protocol import ExperimentRequest
from mnist_bench.runner import process
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking import schema
from mnist_bench.tracking.mlflow_reader import MlflowReader
from mnist_bench.tracking.mlflow_store import MlflowStore


def experiment_request(
    claim: MeasuredClaim,
    source: Source | None,
    *,
    threads: int,
) -> ExperimentRequest:
    """What is to be asked of a claim.

    Args:
        claim: Its number.
        source: The images; left out where the claim looks at none, and then there need be none.
        threads: To be used where the work can be cut. The layers of claim 7 can't alike: each of
            them gets one thread.
    """
    return ExperimentRequest(
        claim=claim,
        source=source if claim in ON_IMAGES else None,
        execution=Execution(threads=1 if claim == 7 else threads),
        seconds=SECONDS[claim],
    )


def load_experiment(
    archive: MlflowReader, claim: MeasuredClaim, machine_id: str | None, digest: str | None
) -> ExperimentResult | None:
    """The newest that is recorded of a claim on a machine; what can't be read is passed over.

    Args:
        archive: Open.
        claim: Its number.
        machine_id: Of the machine; None finds nothing, since nobody knows whose that is.
        digest: Of the images; None of a claim that looks at none.
    """
    if machine_id is None:
        return None
    with archive.explained(while_="looking for what a claim needs"):
        runs = archive.search(f"tags.`{schema.CLAIM_TAG}` = '{claim}'")
    whose = {schema.MACHINE_ID_TAG: machine_id, schema.DIGEST_TAG: digest}
    for run in runs:
        if any(run.data.tags.get(name) != value for name, value in whose.items()):
            continue
        content = archive.artifact(run.info.run_id, experiments.FILE)
        with suppress(ValueError):
            kept = experiments.from_json(content or b"")
            if (kept.claim, kept.machine_id, kept.dataset_digest) == (claim, machine_id, digest):
                return kept
    return None


def run_experiment(
    store: MlflowStore, question: ExperimentRequest, *, exclusively: bool = True
) -> ExperimentResult:
    """Measure what a claim needs, in a fresh process, and record it.

    Args:
        store: Open.
        question: The claim; its images, where it needs any, found and verified.
        exclusively: Whether other benchmarks of this user are kept away.

    Raises:
        BenchError: Another benchmark measures now, or the measuring failed.
    """
    own_id, source = machine_id(), question.source
    with locks.benchmark_lock(own_id, exclusive=exclusively, say=lambda _: None) as kept_away:
        began = time.perf_counter()
        body = process.run_experiment(question)
        took_seconds = time.perf_counter() - began
    made = ExperimentResult(
        claim=question.claim,
        machine_id=own_id,
        created=dt.datetime.now(dt.UTC).isoformat(),
        dataset=source.name if source else None,
        dataset_digest=source.digest if source else None,
        execution=question.execution,
        seed=question.seed,
        seconds=question.seconds,
        took_seconds=took_seconds,
        exclusive=kept_away,
        tensorflow=version("tensorflow"),
        mnist_bench=version("mnist-bench"),
        body=body,
    )
    _record(store, made)
    return made


def _record(store: MlflowStore, made: ExperimentResult) -> None:
    known = {schema.DIGEST_TAG: made.dataset_digest, schema.MACHINE_ID_TAG: made.machine_id}
    store.keep(
        f"claim {made.claim}",
        note_of(made),
        {
            schema.CLAIM_TAG: str(made.claim),
            schema.CREATED_TAG: made.created,
            schema.TENSORFLOW_TAG: made.tensorflow,
            schema.VERSION_TAG: made.mnist_bench,
        }
        | {name: value for name, value in known.items() if value},
        {experiments.FILE: made.to_json()},
        anew=True,
    )


def note_of(made: ExperimentResult) -> str:
    """Markdown that says on MLflow's page what was measured."""
    images = f" on {made.dataset}" if made.dataset else ""
    return (
        f"**Claim {made.claim}: {SUBJECTS[made.claim]}**\n\n"
        f"Measured{images} with seed {made.seed}, {made.execution}, "
        f"{formatting.threads(made.execution.threads)}, in {formatting.duration(made.took_seconds)}. "
        f"The figures are in {experiments.FILE}; the report judges them."
    )
