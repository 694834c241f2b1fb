"""What claims are decided by, read from the archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from mnist_bench import compare, figures, findings, paper
from mnist_bench.archive import Archive
from mnist_bench.claims import MARATHON, Evidence
from mnist_bench.draws import compares
from mnist_bench.finding import ON_IMAGES, Claim, Finding
from mnist_bench.layers import Layers
from mnist_bench.result import RunResult
from mnist_bench.scaling import scaling_of
from mnist_bench.summary import RunSummary

_MOST_TRAININGS = 30
"""Of one step count: the newest of them."""


@dataclass(frozen=True)
class Asked:
    """That claims were measured.

    Attributes:
        price: Of a kilowatt-hour, as it was given then; None where none was.
    """

    price: float | None


def asked(archive: Archive, machine_id: str | None) -> Asked | None:
    """The newest measuring of claims on a machine; None where there was none."""
    with archive.explained(while_="looking for claims"):
        runs = archive.search(f"tags.`{figures.CLAIMS_TAG}` LIKE '%'")
    for run in runs:
        if run.data.tags.get(figures.MACHINE_ID_TAG) == machine_id:
            price = run.data.tags.get(figures.PRICE_TAG)
            return Asked(float(price) if price else None)
    return None


def gather(
    archive: Archive,
    machine_id: str | None,
    digest: str,
    runs: Sequence[RunSummary],
    *,
    layers: Layers | None = None,
    price: float | None = None,
) -> Evidence:
    """What there is to decide claims by.

    Args:
        archive: Open.
        machine_id: Of a machine.
        digest: Of the images.
        runs: Of that machine, trials left out, the oldest first; there may be none.
        layers: What layers make of one test image.
        price: Of a kilowatt-hour.
    """
    papers = [run for run in runs if compares(run) and paper.row_of(run.steps)]
    newest = [
        run
        for row in paper.TABLE_1
        for run in [run for run in papers if run.steps == row.steps][-_MOST_TRAININGS:]
    ]
    marathons = [run for run in runs if run.scenario == MARATHON]
    return Evidence(
        runs=tuple(runs),
        trainings=_loaded(archive, newest),
        marathons=_loaded(archive, marathons[-1:]),
        rows=compare.rows(papers, compare.reference_for(papers)),
        scaling=scaling_of(runs),
        findings=_findings(archive, machine_id, digest),
        layers=layers,
        price=price,
    )


def _findings(archive: Archive, machine_id: str | None, digest: str) -> dict[int, Finding]:
    """What was measured by itself on a machine."""
    kept: dict[int, Finding | None] = {
        claim: findings.found(archive, claim, machine_id, digest if claim in ON_IMAGES else None)
        for claim in get_args(Claim)
    }
    return {claim: finding for claim, finding in kept.items() if finding}


def _loaded(archive: Archive, runs: Sequence[RunSummary]) -> tuple[RunResult, ...]:
    """Runs with their curves, as far as MLflow has them in reach."""
    loaded = (archive.load(run.run_id) for run in runs if run.run_id)
    return tuple(run for run in loaded if run is not None)
