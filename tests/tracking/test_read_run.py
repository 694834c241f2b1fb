"""A run in short from MLflow's fields: the same as from its own record."""

from __future__ import annotations

from typing import Any

import pytest
from factories import machine, run
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.results.run import RunResult, Trial
from mnist_bench.results.run_summary import summarise_run
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.tracking import schema
from mnist_bench.tracking.read_run import RunFields, UnreadableRunError, read_run

OWNER = ProcessIdentity(machine_id="m", boot_id="b", pid=1, started_at=0.0)
STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED", "pruned": "KILLED"}


def fields(of: RunResult, **changes: Any) -> RunFields:
    """What MLflow is told of a run, as it tells it again: texts and floats."""
    metrics = {k: float(v) for k, v in schema.figures_once(of).items() if v is not None}
    tags = schema.opening_tags(of, "note", OWNER, machine()) | schema.closing_tags(of, "note")
    values: dict[str, Any] = {
        "run_id": of.run_id,
        "status": STATUS[of.status or ""] if of.status else "RUNNING",
        "begun_at_ms": 5,
        "params": {name: str(value) for name, value in schema.params_of(of).items()},
        "metrics": metrics,
        "tags": tags,
    }
    return RunFields(**(values | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"status": None},
        {"status": "failed", "failure": "died", "evaluations": (), "peak_rss_bytes": None},
        {"verdict": "suspect", "reasons": ("other load", "on battery")},
        {"verdict": "clean", "shared_phases": ("import", "data")},
        {"phase_peak_rss_bytes": {"import": 5, "train": 2**40}},
        {"device": "gpu", "device_name": "A GPU", "device_memory_bytes": 2**33},
        {"training_seed": 99, "machine_id": None, "memory_method": None},
        {"trial": Trial(study="s", number=3, parent_run_id="p"), "status": "pruned"},
        {"hyperparameters": PaperCnnHyperparameters(learning_rate=3e-4, batch_normalization=True,
                                                    schedule="cosine", conv1_filters=8)},
    ],
)  # fmt: skip
def test_it_says_the_same_as_the_record(changes: dict[str, Any]) -> None:
    whole = run(**changes)
    assert read_run(fields(whole)).run == summarise_run(whole)


@given(rate=st.floats(1e-9, 10), dropout=st.floats(0, 0.999), batch=st.integers(1, 55_000))
def test_hyperparameters_come_back_exactly(rate: float, dropout: float, batch: int) -> None:
    chosen = PaperCnnHyperparameters(learning_rate=rate, dropout_rate=dropout, batch_size=batch)
    assert read_run(fields(run(hyperparameters=chosen))).run.hyperparameters == chosen


def test_where_it_comes_from() -> None:
    trial = Trial(study="mine", number=3, parent_run_id="p")
    found = read_run(fields(run(trial=trial)))
    assert (found.begun_at_ms, found.study) == (5, "mine")
    assert found.machine == machine().name
    assert (found.tensorflow, found.mnist_bench) == ("2.21.0", "0.1.0")


def test_a_run_of_an_elder_version_tells_less() -> None:
    whole = fields(run())
    new = ("training_seed", "shared_phases", "machine", "tensorflow", "mnist_bench")
    tags = {k: v for k, v in whole.tags.items() if k not in {f"bench.{name}" for name in new}}
    params = {k: v for k, v in whole.params.items() if k != "label_smoothing"}
    found = read_run(fields(run(), tags=tags, params=params))
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
        ({"params": {**fields(run()).params, "steps": "many"}}, "a field is missing"),
        ({"params": {**fields(run()).params, "model": "another"}}, "a field is missing"),
        ({"params": {**fields(run()).params, "batch_size": "0"}}, "a field is missing"),
        ({"metrics": {"max_test_accuracy": float("nan")}}, "a field is missing"),
        ({"metrics": {"peak_rss_bytes": float("inf")}}, "a field is missing"),
        ({"status": "UNHEARD"}, "a field is missing"),
        ({"tags": {**fields(run()).tags, "bench.verdict": "odd"}}, "a field is missing"),
    ],
)
def test_what_can_not_be_read_says_why(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UnreadableRunError, match=words):
        read_run(fields(run(), **changes))


def test_what_runs_have_in_common_is_one_object() -> None:
    """Of thousands of runs each would keep some kilobytes of its own."""
    judged = {"verdict": "suspect", "reasons": ("other load",), "shared_phases": ("import",)}
    peaks = {"phase_peak_rss_bytes": {"train": 5}}
    first, second = (
        read_run(fields(run(seed=seed, dataset=f"custom:{'0' * 12}", **judged, **peaks)))
        for seed in (0, 1)
    )
    for name in ("hyperparameters", "dataset", "dataset_digest", "machine_id", "reasons"):
        assert getattr(first.run, name) is getattr(second.run, name), name
    assert first.run.model_fields_set is second.run.model_fields_set
    assert first.machine is second.machine
    # What is a run's own stays so.
    assert (first.run.seed, second.run.seed) == (0, 1)
    assert first.run.seconds is not second.run.seconds
