"""Experiments for claims: run, recorded in MLflow and loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories import CHECKED_CONVOLUTIONS, SOURCE, convolution_results, dataset_size_results

from mnist_bench.claims import experiments
from mnist_bench.claims.experiments import experiment_request, load_experiment, run_experiment
from mnist_bench.core import locks
from mnist_bench.core.errors import BenchError
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.machine import machine_id
from mnist_bench.results.experiments import BUDGET_SECONDS, FILE, Body, OptimizerComparison
from mnist_bench.results.protocol import ExperimentRequest
from mnist_bench.runner import process
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking.mlflow_store import MlflowStore

SIZES = dataset_size_results(47_040_000, 7_840_000)[11]
RUN_IN_PROCESS = process.run_experiment
TEN = ExperimentRequest(claim=10, execution=Execution(threads=1), seed=4)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared by all tests: creating one takes seconds."""
    return tmp_path_factory.mktemp("mlflow") / "mlflow.db"


@pytest.fixture
def store(
    home: Path, database: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> MlflowStore:
    """A store with a new MLflow experiment for each test; experiments are not really run."""
    monkeypatch.chdir(database.parent)  # where MLflow keeps artifacts
    monkeypatch.setattr(process, "run_experiment", lambda _: CHECKED_CONVOLUTIONS)
    return MlflowStore(f"sqlite:///{database.as_posix()}", request.node.name)


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
    assert load_experiment(store, 10, "another machine", None) is None
    assert load_experiment(store, 10, None, None) is None
    assert load_experiment(store, 10, machine_id(), "digest of images") is None
    assert load_experiment(store, 7, machine_id(), None) is None


@pytest.mark.parametrize(
    "content",
    [None, b"", b"{}", b"no JSON", b"\xff", b'{"schema": 2, "claim": 10}', b"[10]",
     SIZES.model_copy(update={"claim": 10}).to_json(),
     convolution_results(equal=1)[10].to_json()],
)  # fmt: skip
def test_damaged_results_and_those_of_another_claim_or_machine_are_skipped(
    store: MlflowStore, content: bytes | None
) -> None:
    result = run_experiment(store, TEN)
    files = {} if content is None else {FILE: content}
    tags = {"bench.claim": "10", "bench.machine_id": machine_id() or ""}
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


def test_a_real_experiment_is_recorded_and_loaded(
    store: MlflowStore, sample: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "run_experiment", RUN_IN_PROCESS)
    request = experiment_request(8, sample, threads=1).model_copy(update={"seconds": 0.1})
    result = run_experiment(store, request)
    assert isinstance(result.body, OptimizerComparison)
    assert (result.dataset, result.dataset_digest) == (sample.name, sample.digest)
    assert load_experiment(store, 8, machine_id(), sample.digest) == result
    assert load_experiment(store, 8, machine_id(), SOURCE.digest) is None
