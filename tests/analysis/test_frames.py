"""Frames hold what the records hold, with nullable dtypes."""

from __future__ import annotations

import pandas as pd
from factories import run

from mnist_bench.analysis.comparison import Comparison, Effect
from mnist_bench.analysis.frames import evaluations_frame, records_frame, runs_frame
from mnist_bench.reporting.csv import runs_csv
from mnist_bench.results.document import Row
from mnist_bench.results.run import Evaluation
from mnist_bench.results.run_summary import RecordedRun, RunSummary, summarise_run
from mnist_bench.scenarios.hyperparameters import HYPERPARAMETERS, SvmHyperparameters

RECORDED = (
    RecordedRun(
        summarise_run(
            run(verdict="suspect", reasons=("other load", "on battery"), shared_phases=("data",))
        ),
        begun_at_ms=1_767_225_600_000,
        machine="Imaginary CPU",
        tensorflow="2.21.0",
    ),
    RecordedRun(
        summarise_run(
            run(1, model="svm-rbf", hyperparameters=SvmHyperparameters(C=2.0), status="failed",
                evaluations=(), seconds={}, peak_rss_bytes=None, machine_id=None)
        ),
        begun_at_ms=1_767_225_660_500,
        study="mine",
    ),
)  # fmt: skip


def test_runs() -> None:
    frame = runs_frame(RECORDED)
    network, svm = frame.iloc[0], frame.iloc[1]
    assert (network.scenario, network.steps, network.max_test_accuracy) == ("table-1", 1_000, 0.985)
    assert (network.train_seconds, network.train_seconds_total) == (20.0, 20.0)
    assert (network.learning_rate, network.batch_normalization) == (0.001, False)
    assert (network.reasons, network.shared_phases) == ("other load, on battery", "data")
    assert (network.machine, network.tensorflow) == ("Imaginary CPU", "2.21.0")
    assert network.begun_at == pd.Timestamp("2026-01-01T00:00:00Z")
    assert (svm.C, svm.study, svm.status) == (2.0, "mine", "failed")
    assert svm.begun_at == pd.Timestamp("2026-01-01T00:01:00.5Z")
    unknown = ["max_test_accuracy", "train_seconds_total", "import_seconds", "peak_rss_bytes",
               "learning_rate", "batch_size", "batch_normalization", "reasons", "machine_id",
               "machine", "tensorflow", "mnist_bench"]  # fmt: skip
    assert svm[unknown].isna().all()
    assert pd.isna(network.study)
    assert pd.isna(network.C)


def test_dtypes_are_nullable_also_without_runs() -> None:
    for frame in (runs_frame(RECORDED), runs_frame(())):
        assert frame.dtypes.astype(str)[
            ["steps", "max_test_accuracy", "verdict", "peak_rss_bytes", "machine"]
        ].tolist() == ["Int64", "Float64", "string", "Int64", "string"]
        assert isinstance(frame.begun_at.dtype, pd.DatetimeTZDtype)
    assert runs_frame(RECORDED).batch_normalization.dtype == "boolean"


def test_columns_of_runs_are_those_of_the_csv() -> None:
    columns = runs_csv([each.run for each in RECORDED]).splitlines()[0].split(",")
    own = ["machine", "tensorflow", "mnist_bench", "study", "begun_at"]
    assert list(runs_frame(RECORDED)) == [*columns, *own]
    assert len(set(columns)) == len(columns)


def test_no_hyperparameter_has_the_name_of_another_column() -> None:
    hyperparameters = {name for kind in HYPERPARAMETERS.values() for name in kind.model_fields}
    columns = set(runs_frame(RECORDED)) | set(RunSummary.model_fields)
    assert not hyperparameters & (columns - {name for each in RECORDED
                                             for name, _ in each.run.hyperparameters})  # fmt: skip


def test_evaluations() -> None:
    points = tuple(
        Evaluation(step=step, test_accuracy=test, validation_accuracy=0.9, train_loss=loss,
                   train_seconds=step / 10)
        for step, test, loss in ((1, 0.8, None), (101, None, 0.5), (150, 0.95, 0.25))
    )  # fmt: skip
    frame = evaluations_frame([run(150, evaluations=points), run(1, evaluations=points[:1])])
    assert frame.run_id.tolist() == ["run-150-0"] * 3 + ["run-1-0"]
    assert frame.step.tolist() == [1, 101, 150, 1]
    assert frame.on_grid.tolist() == [True, True, False, True]
    assert frame.test_accuracy.isna().tolist() == [False, True, False, False]
    assert frame.train_loss.isna().tolist() == [True, False, False, True]
    assert frame.train_seconds.tolist() == [0.1, 10.1, 15.0, 0.1]
    assert frame.dtypes.equals(evaluations_frame([]).dtypes)


def test_the_maximum_of_a_run_is_found_on_the_grid() -> None:
    results = [run(250, best, seed) for seed, best in enumerate((0.98, 0.97))]
    on_grid = evaluations_frame(results).query("on_grid")
    assert on_grid.groupby("run_id").test_accuracy.max().tolist() == [0.98, 0.97]


def test_records_within_records_are_columns() -> None:
    line = Comparison(
        other="sprint", base_steps=1_000, other_steps=1_000, base_n=3, other_n=2,
        train_seconds=Effect(value=0.5, low=0.4, high=0.6, is_within_noise=False),
        final_test_accuracy=None, peak_rss_bytes=None, notes=("one", "two"),
    )  # fmt: skip
    frame = records_frame([line], Comparison, separator="; ")
    assert frame.train_seconds_value.tolist() == [0.5]
    assert frame.train_seconds_is_within_noise.tolist() == [False]
    assert frame[["final_test_accuracy_low", "peak_rss_bytes"]].isna().all(axis=None)
    assert frame.notes.tolist() == ["one; two"]
    assert "machines" not in frame  # several records
    assert frame.other_n.dtype == "Int64"
    assert list(records_frame([], Row, separator=" ")) == list(Row.model_fields)
