"""Run summaries from MLflow's fields equal those from the run's record."""

from __future__ import annotations

from typing import Any

import pytest
from factories import machine, run
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.results.run import RunResult, Trial
from mnist_bench.results.run_summary import summarise_run
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.tracking import schema
from mnist_bench.tracking.read_run import UnreadableRunError, read_run

OWNER = "4711-1800000000-0123abcd"
STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED", "pruned": "KILLED"}


def fields(result: RunResult, **changes: Any) -> dict[str, Any]:
    """MLflow's fields of a run, as MLflow returns them: texts and floats."""
    opening = schema.opening_tags(result, "note", OWNER, machine())
    values: dict[str, Any] = {
        "run_id": result.run_id,
        "status": STATUS[result.status or ""] if result.status else "RUNNING",
        "begun_at_ms": 5,
        "params": {name: str(value) for name, value in schema.params_of(result).items()},
        "metrics": {k: float(v) for k, v in schema.metrics_once(result).items() if v is not None},
        "tags": opening | schema.closing_tags(result, "note"),
    }
    return values | changes


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"status": None},
        {"status": "failed", "failure": "died", "evaluations": (), "peak_rss_bytes": None},
        {"verdict": "suspect", "reasons": ("other load", "on battery", "other load")},
        {"verdict": "clean", "shared_phases": ("import", "data")},
        {"phase_peak_rss_bytes": {"import": 5, "train": 2**40}},
        {"device": "gpu", "device_name": "A GPU", "device_memory_bytes": 2**33},
        {"training_seed": 99, "machine_id": None, "memory_method": None},
        {"trial": Trial(study="s", number=3, parent_run_id="p"), "status": "pruned"},
        {"hyperparameters": PaperCnnHyperparameters(learning_rate=3e-4, batch_normalization=True,
                                                    schedule="cosine", conv1_filters=8)},
    ],
)  # fmt: skip
def test_summary_equals_that_of_the_record(changes: dict[str, Any]) -> None:
    complete = run(**changes)
    assert read_run(**fields(complete)).run == summarise_run(complete)


@given(rate=st.floats(1e-9, 10), dropout=st.floats(0, 0.999), batch=st.integers(1, 55_000))
def test_hyperparameters_round_trip_exactly(rate: float, dropout: float, batch: int) -> None:
    hyperparameters = PaperCnnHyperparameters(
        learning_rate=rate, dropout_rate=dropout, batch_size=batch
    )
    assert (
        read_run(**fields(run(hyperparameters=hyperparameters))).run.hyperparameters
        == hyperparameters
    )


def test_origin_of_a_run() -> None:
    trial = Trial(study="mine", number=3, parent_run_id="p")
    found = read_run(**fields(run(trial=trial)))
    assert (found.begun_at_ms, found.study) == (5, "mine")
    assert found.machine == machine().name
    assert (found.tensorflow, found.mnist_bench) == ("2.21.0", "0.1.0")


def test_run_of_an_older_version_has_fewer_fields() -> None:
    complete = fields(run())
    added = ("training_seed", "shared_phases", "machine", "tensorflow", "mnist_bench")
    tags = {
        k: v for k, v in complete["tags"].items() if k not in {f"bench.{name}" for name in added}
    }
    params = {k: v for k, v in complete["params"].items() if k != "label_smoothing"}
    found = read_run(**fields(run(), tags=tags, params=params))
    assert found.run.training_seed is None
    assert found.run.hyperparameters == PaperCnnHyperparameters()
    assert (found.machine, found.tensorflow) == (None, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tags": {}}, "not a run of mnist-bench"),
        ({"tags": {"bench.schema": "1"}}, "not a run of mnist-bench"),
        ({"tags": {"bench.schema": "2", "bench.trajectory": "t"}}, "of schema 2"),
        ({"params": {}}, "a field is missing"),
        ({"params": {**fields(run())["params"], "steps": "many"}}, "a field is missing"),
        ({"params": {**fields(run())["params"], "model": "another"}}, "a field is missing"),
        ({"params": {**fields(run())["params"], "batch_size": "0"}}, "a field is missing"),
        ({"metrics": {"max_test_accuracy": float("nan")}}, "a field is missing"),
        ({"metrics": {"peak_rss_bytes": float("inf")}}, "a field is missing"),
        ({"status": "UNHEARD"}, "a field is missing"),
        ({"tags": {**fields(run())["tags"], "bench.verdict": "odd"}}, "a field is missing"),
    ],
)
def test_unreadable_run_has_a_reason(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UnreadableRunError, match=words):
        read_run(**fields(run(), **changes))


def test_equal_values_of_runs_are_shared_objects() -> None:
    """Otherwise each of thousands of runs would need some kilobytes more."""
    assessed = {"verdict": "suspect", "reasons": ("other load",), "shared_phases": ("import",)}
    peaks = {"phase_peak_rss_bytes": {"train": 5}}
    first, second = (
        read_run(**fields(run(seed=seed, dataset=f"custom:{'0' * 12}", **assessed, **peaks)))
        for seed in (0, 1)
    )
    for name in ("hyperparameters", "dataset", "dataset_digest", "machine_id", "reasons"):
        assert getattr(first.run, name) is getattr(second.run, name), name
    assert first.run.model_fields_set is second.run.model_fields_set
    assert first.machine is second.machine
    # Values of a single run are not shared.
    assert (first.run.seed, second.run.seed) == (0, 1)
    assert first.run.seconds is not second.run.seconds
