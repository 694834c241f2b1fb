"""What claims need, measured, recorded in MLflow and read back."""

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
    FILE,
    SECONDS,
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
    """One for all: to make one takes seconds."""
    return tmp_path_factory.mktemp("mlflow") / "mlflow.db"


@pytest.fixture
def store(
    home: Path, database: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> MlflowStore:
    """In each test an experiment of its own."""
    monkeypatch.chdir(database.parent)  # where MLflow keeps artifacts
    return MlflowStore(f"sqlite:///{database.as_posix()}", request.node.name)


def answer(monkeypatch: pytest.MonkeyPatch, body: Body) -> None:
    monkeypatch.setattr(process, "run_experiment", lambda question: body)


def test_measured_recorded_and_read_back(store: MlflowStore) -> None:
    assert load_experiment(store, 10, machine_id(), None) is None
    made = run_experiment(store, TEN)
    assert isinstance(made.body, ConvolutionCheck)
    assert (made.claim, made.seed, made.dataset, made.machine_id) == (10, 4, None, machine_id())
    assert load_experiment(store, 10, machine_id(), None) == made
    (run,) = store.search("tags.`bench.claim` = '10'")
    assert (run.info.run_name, run.info.status) == ("claim 10", "FINISHED")
    assert run.data.tags["bench.machine_id"] == machine_id()
    assert "equation 5 against TensorFlow" in run.data.tags["mlflow.note.content"]
    assert list(store.recorded("")) == [], "it is no run of a report"


def test_the_newest_counts_and_the_elder_stays(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, CHECKED_CONVOLUTIONS)
    first, second = run_experiment(store, TEN), run_experiment(store, TEN)
    assert first.created < second.created
    assert load_experiment(store, 10, machine_id(), None) == second
    assert len(store.search("tags.`bench.claim` = '10'")) == 2


def test_what_belongs_elsewhere_is_not_found(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, CHECKED_CONVOLUTIONS)
    run_experiment(store, TEN)
    assert load_experiment(store, 10, "another machine", None) is None
    assert load_experiment(store, 10, None, None) is None
    assert load_experiment(store, 10, machine_id(), "digest of images") is None
    assert load_experiment(store, 7, machine_id(), None) is None


def _kept(store: MlflowStore, content: bytes | None) -> None:
    files = {} if content is None else {FILE: content}
    tags = {"bench.claim": "10", "bench.machine_id": machine_id() or ""}
    store.keep("claim 10", "", tags, files, anew=True)


@pytest.mark.parametrize(
    "content", [None, b"", b"{}", b"no JSON", b"\xff", b'{"schema": 2, "claim": 10}', b"[10]"]
)
def test_what_is_damaged_is_passed_over(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    answer(monkeypatch, CHECKED_CONVOLUTIONS)
    made = run_experiment(store, TEN)
    _kept(store, content)
    assert load_experiment(store, 10, machine_id(), None) == made


def test_figures_of_another_claim_are_passed_over(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, CHECKED_CONVOLUTIONS)
    made = run_experiment(store, TEN)
    _kept(store, made.model_copy(update={"body": SIZES}).to_json())
    assert load_experiment(store, 10, machine_id(), None) == made


def test_nothing_is_measured_beside_another_benchmark(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, CHECKED_CONVOLUTIONS)
    with (
        locks.benchmark_lock(machine_id(), exclusive=True, say=pytest.fail),
        pytest.raises(BenchError, match="another benchmark of yours is running"),
    ):
        run_experiment(store, TEN)
    assert load_experiment(store, 10, machine_id(), None) is None


def test_who_does_without_measures_beside_another_all_the_same(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, CHECKED_CONVOLUTIONS)
    with locks.benchmark_lock(machine_id(), exclusive=True, say=pytest.fail):
        made = run_experiment(store, TEN, exclusively=False)
    assert load_experiment(store, 10, machine_id(), None) == made


def test_a_measuring_that_fails_records_nothing(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(question: ExperimentRequest) -> Body:
        raise BenchError("nothing")

    monkeypatch.setattr(process, "run_experiment", fail)
    with pytest.raises(BenchError, match="nothing"):
        run_experiment(store, TEN)
    assert store.search("tags.`bench.claim` = '10'") == []


def test_a_note_names_the_images_and_the_execution() -> None:
    made = ExperimentResult(
        claim=11, machine_id=None, created="2030-01-01T00:00:00+00:00", dataset="mnist",
        dataset_digest="d", execution=Execution(threads=2), seed=7, seconds=60.0,
        took_seconds=12.0, tensorflow="2.21.0", mnist_bench="0.1.0", body=SIZES,
    )  # fmt: skip
    note = experiments.note_of(made)
    assert note.startswith("**Claim 11: what the images take**")
    assert "on mnist with seed 7, float32 on cpu, 2 threads, in 12.0 s." in note


@pytest.mark.parametrize(
    ("claim", "threads", "source"), [(7, 1, None), (8, 2, SOURCE), (10, 2, None), (11, 2, SOURCE)]
)
def test_each_claim_is_asked_what_it_needs(claim: int, threads: int, source: Source | None) -> None:
    asked = experiment_request(claim, SOURCE, threads=2)
    assert (asked.execution.threads, asked.seed) == (threads, 0)
    assert asked.source == source
    assert asked.seconds == SECONDS[claim]


def test_a_training_is_recorded_and_read_back(store: MlflowStore, sample: Source) -> None:
    made = run_experiment(
        store, experiment_request(8, sample, threads=1).model_copy(update={"seconds": 0.1})
    )
    assert isinstance(made.body, OptimizerComparison)
    assert (made.dataset, made.dataset_digest) == (sample.name, sample.digest)
    assert load_experiment(store, 8, machine_id(), sample.digest) == made
    assert load_experiment(store, 8, machine_id(), SOURCE.digest) is None
