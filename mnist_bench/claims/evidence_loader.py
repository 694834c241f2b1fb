"""Loads the evidence for claims from MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import get_args

from mnist_bench.analysis import table1
from mnist_bench.analysis.grouping import has_table_1_task, one_per_seed
from mnist_bench.analysis.thread_scaling import scaling_of
from mnist_bench.claims.declared import MARATHON, TECHNIQUES, THREADS
from mnist_bench.claims.evidence import (
    Evidence,
    independent_runs,
    is_float32_cpu,
    of_usual_threads,
    runs_of_steps,
)
from mnist_bench.claims.experiments import load_experiment
from mnist_bench.data import mnist
from mnist_bench.measurement.conditions import known
from mnist_bench.results.claims import IMAGE_CLAIMS, MeasuredClaim
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import RecordedRun, RunSummary
from mnist_bench.scenarios import paper, scenario
from mnist_bench.tracking import layer_maps, schema
from mnist_bench.tracking.mlflow_store import MlflowStore

_MOST_TRAININGS = 30
"""Maximum number per step count; the newest are loaded."""


@dataclass(frozen=True)
class ClaimRequest:
    """An earlier `run claims` on this machine, with the price of a kilowatt-hour given last."""

    price: float | None


def last_request(reader: MlflowStore, machine_id: str | None) -> ClaimRequest | None:
    """Options of earlier `run claims` on a machine; None if there were none."""
    with reader.wrap_errors(action="looking for claims"):
        runs = reader.search(f"tags.`{schema.CLAIMS_TAG}` LIKE '%'")
    all_tags = [run.data.tags for run in runs]
    all_tags = [tags for tags in all_tags if tags.get(schema.MACHINE_ID_TAG) == (machine_id or "")]
    prices = known(_price(tags.get(schema.PRICE_TAG)) for tags in all_tags)
    return ClaimRequest(prices[0] if prices else None) if all_tags else None


def _price(tag: str | None) -> float | None:
    """Price in a tag; None if it is not a finite number of 0 or more."""
    with suppress(ValueError):
        price = float(tag or "")
        return price if isfinite(price) and price >= 0 else None
    return None


def runs_on(reader: MlflowStore, machine_id: str | None) -> list[RunSummary]:
    """All readable runs of a machine, oldest first, without trials of studies."""
    recorded = [
        each
        for each in reader.recorded_runs("")
        if isinstance(each, RecordedRun) and each.run.machine_id == machine_id and not each.study
    ]
    return [each.run for each in sorted(recorded, key=lambda each: each.order)]


def load_evidence(
    reader: MlflowStore,
    machine_id: str | None,
    runs: Sequence[RunSummary],
    *,
    price: float | None = None,
) -> Evidence:
    """Load what claims are decided by.

    Args:
        runs: All runs of the machine, oldest first, without trials of studies.
        price: Price of a kilowatt-hour.
    """
    finished = [run for run in runs if run.status == "finished"]
    comparable = [run for run in finished if has_table_1_task(run) and paper.row_of(run.steps)]
    table_1_runs = of_usual_threads(comparable)
    learning = of_usual_threads(comparable, independent=True)
    independent = [
        run for group in independent_runs(learning).values() for run in group[-_MOST_TRAININGS:]
    ]
    longest = runs_of_steps(learning, paper.TABLE_1[-1].steps)[-_MOST_TRAININGS:]
    wanted = {run.run_id for run in (*independent, *longest)}
    digests = dict.fromkeys(IMAGE_CLAIMS, mnist.MNIST.digest)  # the paper's images only
    return Evidence(
        runs=table_1_runs,
        trainings=_loaded(reader, [run for run in learning if run.run_id in wanted]),
        marathon=next(iter(_loaded(reader, _of_scenario(runs, MARATHON)[-1:])), None),
        rows=table1.rows(table_1_runs, table1.reference_for(table_1_runs)),
        scaling=scaling_of(_of_scenario(runs, THREADS)),
        techniques={
            name: found
            for name in TECHNIQUES
            if (found := one_per_seed(of_usual_threads(_of_scenario(runs, name))))
        },
        experiments={
            claim: result
            for claim in get_args(MeasuredClaim)
            if (result := load_experiment(reader, claim, machine_id, digests.get(claim)))
        },
        layers=layer_maps.load_layer_maps(reader, [mnist.MNIST.digest], paper.FIGURES_IMAGE),
        price=price,
    )


def _of_scenario(runs: Sequence[RunSummary], name: str) -> list[RunSummary]:
    """Finished runs of an unmodified packaged scenario on the paper's images."""
    packaged = scenario.read(scenario.find(name))
    return [
        run
        for run in runs
        if run.scenario == name
        and run.status == "finished"
        and run.final_test_accuracy is not None
        and run.dataset == paper.DATASET
        and is_float32_cpu(run)
        and run.steps in packaged.steps
        and run.model == packaged.model
        and run.hyperparameters == packaged.hyperparameters
        and (run.eval_first, run.eval_every) == (packaged.grid.first, packaged.grid.every)
    ]


def _loaded(reader: MlflowStore, runs: Sequence[RunSummary]) -> tuple[RunResult, ...]:
    """Runs with their curves; those that MLflow can't load are left out."""
    loaded = (reader.load(run.run_id) for run in runs if run.run_id)
    return tuple(run for run in loaded if run is not None)
