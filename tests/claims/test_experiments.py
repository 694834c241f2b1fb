"""What claims need, measured, recorded in MLflow and read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories import CHECKED_CONVOLUTIONS, SOURCE

from mnist_bench.claims import experiments as findings
from mnist_bench.claims.experiments import found, make, question_for
from mnist_bench.core import locks as exclusive
from mnist_bench.core.errors import BenchError
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.machine import machine_id
from mnist_bench.results.dataset_size import DataSizes, ImageBytes
from mnist_bench.results.experiments import (
    FILE,
    SECONDS,
    Body,
    ConvolutionCheck,
    Descent,
    Finding,
)
from mnist_bench.results.protocol import FindingQuestion
from mnist_bench.runner import process
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking.mlflow_store import Store

SIZES = DataSizes(
    sizes=(ImageBytes(part="test", images=10, representation="uint8", size_bytes=7_840),)
)
TEN = FindingQuestion(claim=10, execution=Execution(threads=1), seed=4)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: to make one takes seconds."""
    return tmp_path_factory.mktemp("mlflow") / "mlflow.db"


@pytest.fixture
def store(
    home: Path, database: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Store:
    """In each test an experiment of its own."""
    monkeypatch.chdir(database.parent)  # where MLflow keeps artifacts
    return Store(f"sqlite:///{database.as_posix()}", request.node.name)


def answer(monkeypatch: pytest.MonkeyPatch, body: Body) -> None:
    monkeypatch.setattr(process, "inquire", lambda question: body)


def test_measured_recorded_and_read_back(store: Store) -> None:
    assert found(store, 10, machine_id(), None) is None
    made = make(store, TEN)
    assert isinstance(made.body, ConvolutionCheck)
    assert (made.claim, made.seed, made.dataset, made.machine_id) == (10, 4, None, machine_id())
    assert found(store, 10, machine_id(), None) == made
    (run,) = store.search("tags.`bench.claim` = '10'")
    assert (run.info.run_name, run.info.status) == ("claim 10", "FINISHED")
    assert run.data.tags["bench.machine_id"] == machine_id()
    assert "equation 5 against TensorFlow" in run.data.tags["mlflow.note.content"]
    assert list(store.recorded("")) == [], "it is no run of a report"


def test_the_newest_counts_and_the_elder_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, CHECKED_CONVOLUTIONS)
    first, second = make(store, TEN), make(store, TEN)
    assert first.created < second.created
    assert found(store, 10, machine_id(), None) == second
    assert len(store.search("tags.`bench.claim` = '10'")) == 2


def test_what_belongs_elsewhere_is_not_found(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, CHECKED_CONVOLUTIONS)
    make(store, TEN)
    assert found(store, 10, "another machine", None) is None
    assert found(store, 10, None, None) is None
    assert found(store, 10, machine_id(), "digest of images") is None
    assert found(store, 7, machine_id(), None) is None


def _kept(store: Store, content: bytes | None) -> None:
    files = {} if content is None else {FILE: content}
    tags = {"bench.claim": "10", "bench.machine_id": machine_id() or ""}
    store.keep("claim 10", "", tags, files, anew=True)


@pytest.mark.parametrize(
    "content", [None, b"", b"{}", b"no JSON", b"\xff", b'{"schema": 2, "claim": 10}', b"[10]"]
)
def test_what_is_damaged_is_passed_over(
    store: Store, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    answer(monkeypatch, CHECKED_CONVOLUTIONS)
    made = make(store, TEN)
    _kept(store, content)
    assert found(store, 10, machine_id(), None) == made


def test_figures_of_another_claim_are_passed_over(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, CHECKED_CONVOLUTIONS)
    made = make(store, TEN)
    _kept(store, made.model_copy(update={"body": SIZES}).to_json())
    assert found(store, 10, machine_id(), None) == made


def test_nothing_is_measured_beside_another_benchmark(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, CHECKED_CONVOLUTIONS)
    with (
        exclusive.held(machine_id(), exclusive=True, say=pytest.fail),
        pytest.raises(BenchError, match="another benchmark of yours is running"),
    ):
        make(store, TEN)
    assert found(store, 10, machine_id(), None) is None


def test_who_does_without_measures_beside_another_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, CHECKED_CONVOLUTIONS)
    with exclusive.held(machine_id(), exclusive=True, say=pytest.fail):
        made = make(store, TEN, exclusively=False)
    assert found(store, 10, machine_id(), None) == made


def test_a_measuring_that_fails_records_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(question: FindingQuestion) -> Body:
        raise BenchError("nothing")

    monkeypatch.setattr(process, "inquire", fail)
    with pytest.raises(BenchError, match="nothing"):
        make(store, TEN)
    assert store.search("tags.`bench.claim` = '10'") == []


def test_a_note_names_the_images_and_the_execution() -> None:
    made = Finding(
        claim=11, machine_id=None, created="2030-01-01T00:00:00+00:00", dataset="mnist",
        dataset_digest="d", execution=Execution(threads=2), seed=7, seconds=60.0,
        took_seconds=12.0, tensorflow="2.21.0", mnist_bench="0.1.0", body=SIZES,
    )  # fmt: skip
    note = findings.note_of(made)
    assert note.startswith("**Claim 11: what the images take**")
    assert "on mnist with seed 7, float32 on cpu, 2 threads, in 12.0 s." in note


@pytest.mark.parametrize(
    ("claim", "threads", "source"), [(7, 1, None), (8, 2, SOURCE), (10, 2, None), (11, 2, SOURCE)]
)
def test_each_claim_is_asked_what_it_needs(claim: int, threads: int, source: Source | None) -> None:
    asked = question_for(claim, SOURCE, threads=2)
    assert (asked.execution.threads, asked.seed) == (threads, 0)
    assert asked.source == source
    assert asked.seconds == SECONDS[claim]


def test_a_training_is_recorded_and_read_back(store: Store, sample: Source) -> None:
    made = make(store, question_for(8, sample, threads=1).model_copy(update={"seconds": 0.1}))
    assert isinstance(made.body, Descent)
    assert (made.dataset, made.dataset_digest) == (sample.name, sample.digest)
    assert found(store, 8, machine_id(), sample.digest) == made
    assert found(store, 8, machine_id(), SOURCE.digest) is None
