"""What claims are decided by, read from the archive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import get_args

from mnist_bench.analysis import table1
from mnist_bench.analysis.grouping import compares, one_per_seed
from mnist_bench.analysis.thread_scaling import scaling_of
from mnist_bench.claims import experiments
from mnist_bench.claims.evidence import (
    Evidence,
    independent,
    is_plain,
    of_most_draws,
    of_one_way,
    of_steps,
)
from mnist_bench.claims.parts import MARATHON, SMALL_TECHNIQUE, TECHNIQUES, THREADS
from mnist_bench.data import mnist
from mnist_bench.measurement.conditions import known
from mnist_bench.results.claims import ON_IMAGES, MeasuredClaim
from mnist_bench.results.experiments import ExperimentResult
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import RecordedRun, RunSummary
from mnist_bench.scenarios import paper, scenario
from mnist_bench.tracking import layer_maps, schema
from mnist_bench.tracking.mlflow_reader import MlflowReader

_MOST_TRAININGS = 30
"""Of one step count: the newest of them."""


@dataclass(frozen=True)
class ClaimRequest:
    """That claims were measured.

    Attributes:
        price: Of a kilowatt-hour, as it was given last; None where none ever was.
    """

    price: float | None


def last_request(archive: MlflowReader, machine_id: str | None) -> ClaimRequest | None:
    """What is known of the measurings of claims on a machine; None where there was none."""
    with archive.explained(while_="looking for claims"):
        runs = archive.search(f"tags.`{schema.CLAIMS_TAG}` LIKE '%'")
    own = [run.data.tags for run in runs]
    own = [tags for tags in own if tags.get(schema.MACHINE_ID_TAG) == (machine_id or "")]
    prices = known(_price(tags.get(schema.PRICE_TAG)) for tags in own)
    return ClaimRequest(prices[0] if prices else None) if own else None


def _price(told: str | None) -> float | None:
    """A tag may hold anything; what is no price is none."""
    with suppress(ValueError):
        price = float(told or "")
        return price if isfinite(price) and price >= 0 else None
    return None


def has_runs(archive: MlflowReader, machine_id: str | None) -> bool:
    """Whether a machine has some that can be read, trials left out."""
    return next(_recorded_on(archive, machine_id), None) is not None


def runs_on(archive: MlflowReader, machine_id: str | None) -> list[RunSummary]:
    """All runs of a machine that can be read, trials left out, the oldest first."""
    own = sorted(_recorded_on(archive, machine_id), key=lambda each: each.order)
    return [each.run for each in own]


def _recorded_on(archive: MlflowReader, machine_id: str | None) -> Iterator[RecordedRun]:
    for each in archive.recorded(""):
        if isinstance(each, RecordedRun) and each.run.machine_id == machine_id and not each.study:
            yield each


def load_evidence(
    archive: MlflowReader,
    machine_id: str | None,
    runs: Sequence[RunSummary],
    *,
    price: float | None = None,
) -> Evidence:
    """What there is to decide claims by.

    Args:
        archive: Open.
        machine_id: Of a machine.
        runs: All of that machine's, trials left out, the oldest first; there may be none.
        price: Of a kilowatt-hour.
    """
    finished = [run for run in runs if run.status == "finished"]
    rows = [run for run in finished if compares(run) and paper.row_of(run.steps)]
    papers, learning = of_one_way(rows), of_most_draws(rows)
    alone = [run for of in independent(learning).values() for run in of[-_MOST_TRAININGS:]]
    longest = of_steps(learning, paper.TABLE_1[-1].steps)[-_MOST_TRAININGS:]
    wanted = {run.run_id for run in (*alone, *longest)}
    return Evidence(
        runs=papers,
        trainings=_loaded(archive, [run for run in learning if run.run_id in wanted]),
        marathon=next(iter(_loaded(archive, _of_scenario(runs, MARATHON)[-1:])), None),
        rows=table1.rows(papers, table1.reference_for(papers)),
        scaling=scaling_of(_of_scenario(runs, THREADS)),
        techniques=_techniques(runs),
        findings=_findings(archive, machine_id),
        layers=layer_maps.load_layer_maps(archive, [mnist.MNIST.digest], paper.FIGURES_IMAGE),
        price=price,
    )


def _of_scenario(runs: Sequence[RunSummary], name: str) -> list[RunSummary]:
    """Finished runs on the paper's images of a packaged scenario as it is packaged, not changed."""
    asked = scenario.read(scenario.find(name))
    return [
        run
        for run in runs
        if run.scenario == name
        and run.status == "finished"
        and run.final_test_accuracy is not None
        and run.dataset == paper.DATASET
        and is_plain(run)
        and run.steps in asked.steps
        and run.model == asked.model
        and run.hyperparameters == asked.hyperparameters
        and (run.eval_first, run.eval_every) == (asked.grid.first, asked.grid.every)
    ]


def _techniques(runs: Sequence[RunSummary]) -> dict[str, tuple[RunSummary, ...]]:
    """Runs of other techniques, a seed once."""
    names = (*TECHNIQUES, SMALL_TECHNIQUE)
    found = {name: one_per_seed(of_one_way(_of_scenario(runs, name))) for name in names}
    return {name: of for name, of in found.items() if of}


def _findings(archive: MlflowReader, machine_id: str | None) -> dict[int, ExperimentResult]:
    """What was measured by itself on a machine, on the paper's images where it is about images."""
    kept: dict[int, ExperimentResult | None] = {
        claim: experiments.load_experiment(
            archive, claim, machine_id, mnist.MNIST.digest if claim in ON_IMAGES else None
        )
        for claim in get_args(MeasuredClaim)
    }
    return {claim: finding for claim, finding in kept.items() if finding}


def _loaded(archive: MlflowReader, runs: Sequence[RunSummary]) -> tuple[RunResult, ...]:
    """Runs with their curves, as far as MLflow has them in reach."""
    loaded = (archive.load(run.run_id) for run in runs if run.run_id)
    return tuple(run for run in loaded if run is not None)
