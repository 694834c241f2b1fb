"""Experiments for claims: run, recorded in MLflow and loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories import CHECKED_CONVOLUTIONS, SOURCE

from mnist_bench.claims import experiments
from mnist_bench.claims.experiments import experiment_request, load_experiment, run_experiment
from mnist_bench.core import locks
from mnist_bench.core.errors import BenchError
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.machine import machine_id
from mnist_bench.results.dataset_size import DatasetSize, ImageBytes
from mnist_bench.results.experiments import (
    BUDGET_SECONDS,
    FILE,
    Body,
    ConvolutionCheck,
    ExperimentResult,
    OptimizerComparison,
)
from mnist_bench.results.protocol import ExperimentRequest
from mnist_bench.runner import process
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking.mlflow_store import MlflowStore

SIZES = DatasetSize(
    sizes=(ImageBytes(part="test", images=10, representation="uint8", size_bytes=7_840),)
)
TEN = ExperimentRequest(claim=10, execution=Execution(threads=1), seed=4)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared by all tests: creating one takes seconds."""
    return tmp_path_factory.mktemp("mlflow") / "mlflow.db"


@pytest.fixture
def store(
    home: Path, database: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> MlflowStore:
    """A store with a new MLflow experiment for each test."""
    monkeypatch.chdir(database.parent)  # where MLflow keeps artifacts
    return MlflowStore(f"sqlite:///{database.as_posix()}", request.node.name)


def fake_result(monkeypatch: pytest.MonkeyPatch, body: Body) -> None:
    monkeypatch.setattr(process, "run_experiment", lambda request: body)


def test_run_record_and_load(store: MlflowStore) -> None:
    assert load_experiment(store, 10, machine_id(), None) is None
    result = run_experiment(store, TEN)
    assert isinstance(result.body, ConvolutionCheck)
    assert (result.claim, result.seed, result.dataset, result.machine_id) == (
        10,
        4,
        None,
        machine_id(),
    )
    assert load_experiment(store, 10, machine_id(), None) == result
    (run,) = store.search("tags.`bench.claim` = '10'")
    assert (run.info.run_name, run.info.status) == ("claim 10", "FINISHED")
    assert run.data.tags["bench.machine_id"] == machine_id()
    assert "equation 5 against TensorFlow" in run.data.tags["mlflow.note.content"]
    assert list(store.recorded_runs("")) == [], "experiments are not runs of a report"


def test_the_newest_is_loaded_and_older_ones_are_kept(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_result(monkeypatch, CHECKED_CONVOLUTIONS)
    first, second = run_experiment(store, TEN), run_experiment(store, TEN)
    assert first.created < second.created
    assert load_experiment(store, 10, machine_id(), None) == second
    assert len(store.search("tags.`bench.claim` = '10'")) == 2


def test_results_of_other_machines_images_and_claims_are_not_found(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_result(monkeypatch, CHECKED_CONVOLUTIONS)
    run_experiment(store, TEN)
    assert load_experiment(store, 10, "another machine", None) is None
    assert load_experiment(store, 10, None, None) is None
    assert load_experiment(store, 10, machine_id(), "digest of images") is None
    assert load_experiment(store, 7, machine_id(), None) is None


def record(store: MlflowStore, content: bytes | None) -> None:
    files = {} if content is None else {FILE: content}
    tags = {"bench.claim": "10", "bench.machine_id": machine_id() or ""}
    store.save_files("claim 10", "", tags, files, always_create=True)


@pytest.mark.parametrize(
    "content", [None, b"", b"{}", b"no JSON", b"\xff", b'{"schema": 2, "claim": 10}', b"[10]"]
)
def test_damaged_results_are_skipped(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    fake_result(monkeypatch, CHECKED_CONVOLUTIONS)
    result = run_experiment(store, TEN)
    record(store, content)
    assert load_experiment(store, 10, machine_id(), None) == result


def test_results_of_another_claim_are_skipped(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_result(monkeypatch, CHECKED_CONVOLUTIONS)
    result = run_experiment(store, TEN)
    record(store, result.model_copy(update={"body": SIZES}).to_json())
    assert load_experiment(store, 10, machine_id(), None) == result


def test_another_benchmark_prevents_an_experiment(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_result(monkeypatch, CHECKED_CONVOLUTIONS)
    with (
        locks.benchmark_lock(machine_id(), exclusive=True, warn=pytest.fail),
        pytest.raises(BenchError, match="another benchmark of yours is running"),
    ):
        run_experiment(store, TEN)
    assert load_experiment(store, 10, machine_id(), None) is None


def test_without_exclusivity_an_experiment_runs_beside_another_benchmark(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_result(monkeypatch, CHECKED_CONVOLUTIONS)
    with locks.benchmark_lock(machine_id(), exclusive=True, warn=pytest.fail):
        result = run_experiment(store, TEN, exclusively=False)
    assert load_experiment(store, 10, machine_id(), None) == result


def test_a_failed_experiment_records_nothing(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(request: ExperimentRequest) -> Body:
        raise BenchError("nothing")

    monkeypatch.setattr(process, "run_experiment", fail)
    with pytest.raises(BenchError, match="nothing"):
        run_experiment(store, TEN)
    assert store.search("tags.`bench.claim` = '10'") == []


def test_the_run_description_names_images_and_execution() -> None:
    result = ExperimentResult(
        claim=11, machine_id=None, created="2030-01-01T00:00:00+00:00", dataset="mnist",
        dataset_digest="d", execution=Execution(threads=2), seed=7, seconds=60.0,
        took_seconds=12.0, tensorflow="2.21.0", mnist_bench="0.1.0", body=SIZES,
    )  # fmt: skip
    description = experiments.description_of(result)
    assert description.startswith("**Claim 11: what the images take**")
    assert "on mnist with seed 7, float32 on cpu, 2 threads, in 12.0 s." in description


@pytest.mark.parametrize(
    ("claim", "threads", "source"), [(7, 1, None), (8, 2, SOURCE), (10, 2, None), (11, 2, SOURCE)]
)
def test_request_of_each_claim(claim: int, threads: int, source: Source | None) -> None:
    request = experiment_request(claim, SOURCE, threads=2)
    assert (request.execution.threads, request.seed) == (threads, 0)
    assert request.source == source
    assert request.seconds == BUDGET_SECONDS[claim]


def test_a_real_experiment_is_recorded_and_loaded(store: MlflowStore, sample: Source) -> None:
    result = run_experiment(
        store, experiment_request(8, sample, threads=1).model_copy(update={"seconds": 0.1})
    )
    assert isinstance(result.body, OptimizerComparison)
    assert (result.dataset, result.dataset_digest) == (sample.name, sample.digest)
    assert load_experiment(store, 8, machine_id(), sample.digest) == result
    assert load_experiment(store, 8, machine_id(), SOURCE.digest) is None
