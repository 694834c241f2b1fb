"""What the paper's claims need: found where it is recorded, else measured and recorded."""

from __future__ import annotations

import datetime as dt
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from importlib.metadata import version

from mnist_bench import exclusive, figures, finding, process, units
from mnist_bench.archive import Archive
from mnist_bench.dataset import Source
from mnist_bench.execution import Execution
from mnist_bench.finding import Claim, Finding
from mnist_bench.machine import machine_id
from mnist_bench.protocol import FindingQuestion
from mnist_bench.store import Store

_SUBJECTS: dict[Claim, str] = {
    7: "one map by a convolution, without shared weights, and without sparseness",
    8: "single samples against mini-batches, full batches and L-BFGS",
    10: "equation 5 against TensorFlow's operators",
    11: "what the images take",
}
BUDGET_SECONDS: dict[Claim, float] = {7: 60.0, 8: 600.0, 10: 20.0, 11: 20.0}
"""About what the measuring may take where nobody says otherwise; the start of a process included
for 10 and 11, which take no longer with more."""
_ON_IMAGES: tuple[Claim, ...] = (8, 11)


def question_for(
    claim: Claim, source: Source, *, threads: int, seed: int = 0, seconds: float | None = None
) -> FindingQuestion:
    """What is to be asked of a claim.

    Args:
        claim: Its number.
        source: The images; left out where the claim looks at none.
        threads: To be used where the work can be cut. The layers of claim 7 can't alike: each of
            them gets one thread.
        seed: Of all that is random.
        seconds: Budget; None for the claim's own.
    """
    return FindingQuestion(
        claim=claim,
        source=source if claim in _ON_IMAGES else None,
        execution=Execution(threads=1 if claim == 7 else threads),
        seed=seed,
        seconds=BUDGET_SECONDS[claim] if seconds is None else seconds,
    )


def found(
    archive: Archive, claim: Claim, machine_id: str | None, digest: str | None
) -> Finding | None:
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
        runs = archive.search(f"tags.`{figures.CLAIM_TAG}` = '{claim}'")
    for run in runs:
        content = archive.artifact(run.info.run_id, finding.FILE)
        with suppress(ValueError):
            kept = finding.from_json(content or b"")
            if (kept.claim, kept.machine_id, kept.dataset_digest) == (claim, machine_id, digest):
                return kept
    return None


def make(store: Store, question: FindingQuestion, *, is_held: bool = False) -> Finding:
    """Measure what a claim needs, in a fresh process, and record it.

    Args:
        store: Open.
        question: The claim; its images, where it needs any, found and verified.
        is_held: Whether this process keeps other benchmarks away already, or does without.

    Raises:
        BenchError: Another benchmark measures now, or the measuring failed.
    """
    own_id, source = machine_id(), question.source
    with nullcontext() if is_held else _alone(own_id):
        began = time.perf_counter()
        body = process.inquire(question)
        took_seconds = time.perf_counter() - began
    made = Finding(
        claim=question.claim,
        machine_id=own_id,
        created=dt.datetime.now(dt.UTC).isoformat(),
        dataset=source.name if source else None,
        dataset_digest=source.digest if source else None,
        execution=question.execution,
        seed=question.seed,
        seconds=question.seconds,
        took_seconds=took_seconds,
        tensorflow=version("tensorflow"),
        mnist_bench=version("mnist-bench"),
        body=body,
    )
    _record(store, made)
    return made


def _alone(machine_id: str | None) -> AbstractContextManager[object]:
    return exclusive.held(machine_id, exclusive=True, say=lambda _: None)


def _record(store: Store, made: Finding) -> None:
    known = {figures.DIGEST_TAG: made.dataset_digest, figures.MACHINE_ID_TAG: made.machine_id}
    store.keep(
        f"claim {made.claim}",
        note_of(made),
        {
            figures.CLAIM_TAG: str(made.claim),
            figures.CREATED_TAG: made.created,
            figures.TENSORFLOW_TAG: made.tensorflow,
            figures.VERSION_TAG: made.mnist_bench,
        }
        | {name: value for name, value in known.items() if value},
        {finding.FILE: made.to_json()},
    )


def note_of(made: Finding) -> str:
    """Markdown that says on MLflow's page what was measured."""
    images = f" on {made.dataset}" if made.dataset else ""
    return (
        f"**Claim {made.claim}: {_SUBJECTS[made.claim]}**\n\n"
        f"Measured{images} with seed {made.seed}, {made.execution}, "
        f"{units.threads(made.execution.threads)}, in {units.duration(made.took_seconds)}. "
        f"The figures are in {finding.FILE}; the report judges them."
    )
