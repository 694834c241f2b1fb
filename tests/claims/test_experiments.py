"""Experiments for claims: run, recorded in MLflow and loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories import (
    CHECKED_CONVOLUTIONS,
    SLOW_LOSSES,
    SOURCE,
    convolution_results,
    dataset_size_results,
    loss_curve,
    optimizer_results,
)

from mnist_bench.claims import experiments
from mnist_bench.claims.experiments import experiment_request, load_experiment, run_experiment
from mnist_bench.core import locks
from mnist_bench.core.errors import BenchError
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.machine import machine_id
from mnist_bench.results.experiments import BUDGET_SECONDS, FILE, Body
from mnist_bench.results.protocol import ExperimentRequest
from mnist_bench.runner import process
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking.mlflow_store import MlflowStore

SIZES = dataset_size_results(47_040_000, 7_840_000)[11]
TEN = ExperimentRequest(claim=10, execution=Execution(threads=1), seed=4)
CURVES = [loss_curve(method, *SLOW_LOSSES) for method in ("full batch", "L-BFGS")]
BODIES: dict[int, Body] = {8: optimizer_results(*CURVES)[8].body, 10: CHECKED_CONVOLUTIONS}


@pytest.fixture
def store(
    home: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> MlflowStore:
    """A store with a new MLflow experiment for each test; experiments are not really run.

    The first test waits for MLflow's import and its tables.
    """
    monkeypatch.chdir(home)  # where MLflow keeps artifacts
    monkeypatch.setattr(process, "run_experiment", lambda request: BODIES[request.claim])
    return MlflowStore(mlflow_uri, request.node.name)


def test_results_are_recorded_and_the_newest_is_loaded(store: MlflowStore) -> None:
    assert load_experiment(store, 10, machine_id(), None) is None
    first, second = run_experiment(store, TEN), run_experiment(store, TEN)
    assert first.created < second.created
    assert load_experiment(store, 10, machine_id(), None) == second
    facts = second.claim, second.seed, second.dataset, second.machine_id, second.body
    assert facts == (10, 4, None, machine_id(), CHECKED_CONVOLUTIONS)
    run, _ = store.search("tags.`bench.claim` = '10'")
    assert (run.info.run_name, run.info.status) == ("claim 10", "FINISHED")
    assert run.data.tags["bench.machine_id"] == machine_id()
    assert "equation 5 against TensorFlow" in run.data.tags["mlflow.note.content"]
    assert list(store.recorded_runs("")) == [], "experiments are not runs of a report"
    for claim, machine, digest in (
        (10, "another machine", None), (10, None, None), (10, machine_id(), "digest of images"),
        (7, machine_id(), None),
    ):  # fmt: skip
        assert load_experiment(store, claim, machine, digest) is None


def test_an_experiment_with_images_is_loaded_by_their_digest(store: MlflowStore) -> None:
    result = run_experiment(store, experiment_request(8, SOURCE, threads=1))
    assert (result.dataset, result.dataset_digest) == (SOURCE.name, SOURCE.digest)
    assert load_experiment(store, 8, machine_id(), SOURCE.digest) == result
    assert load_experiment(store, 8, machine_id(), "e" * 64) is None


def test_damaged_results_and_those_of_another_claim_or_machine_are_skipped(
    store: MlflowStore,
) -> None:
    result = run_experiment(store, TEN)
    tags = {"bench.claim": "10", "bench.machine_id": machine_id() or ""}
    for content in (
        None, b"", b"{}", b"no JSON", b"\xff", b'{"schema": 2, "claim": 10}', b"[10]",
        SIZES.model_copy(update={"claim": 10}).to_json(),
        convolution_results(equal=1)[10].to_json(),
    ):  # fmt: skip
        files = {} if content is None else {FILE: content}
        store.save_files("claim 10", "", tags, files, always_create=True)
    assert load_experiment(store, 10, machine_id(), None) == result


def test_another_benchmark_prevents_an_experiment_unless_both_are_allowed(
    store: MlflowStore,
) -> None:
    with locks.benchmark_lock(exclusive=True, warn=pytest.fail):
        with pytest.raises(BenchError, match="another benchmark of yours is running"):
            run_experiment(store, TEN)
        assert load_experiment(store, 10, machine_id(), None) is None
        result = run_experiment(store, TEN, exclusively=False)
    assert load_experiment(store, 10, machine_id(), None) == result
    assert result.exclusive is False


def test_a_failed_experiment_records_nothing(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: ExperimentRequest) -> Body:
        raise BenchError("nothing")

    monkeypatch.setattr(process, "run_experiment", fail)
    with pytest.raises(BenchError, match="nothing"):
        run_experiment(store, TEN)
    assert store.search("tags.`bench.claim` = '10'") == []


def test_the_run_description_names_images_and_execution() -> None:
    description = experiments.description_of(SIZES.model_copy(update={"dataset": "mnist"}))
    assert description.startswith("**Claim 11: what the images take**")
    assert "on mnist with seed 0, float32 on cpu, 2 threads, in 10.0 s." in description


@pytest.mark.parametrize(
    ("claim", "threads", "source"), [(7, 1, None), (8, 2, SOURCE), (10, 2, None), (11, 2, SOURCE)]
)
def test_request_of_each_claim(claim: int, threads: int, source: Source | None) -> None:
    request = experiment_request(claim, SOURCE, threads=2)
    assert (request.execution.threads, request.seed) == (threads, 0)
    assert request.source == source
    assert request.seconds == BUDGET_SECONDS[claim]
