"""The Python interface on real stores, with a fake worker."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from pathlib import Path
from typing import Any

import fakes
import pandas as pd
import pytest
from factories import run, table_1
from program import Bench, import_runs

import mnist_bench
from mnist_bench import run_plans
from mnist_bench.core import locks
from mnist_bench.data.dataset import Source
from mnist_bench.runner import process

FAST, SLOW = "b" * 32, "a" * 32


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URI of a store with Table I of two machines, and two seeds of a small scenario."""
    bench = Bench(tmp_path_factory.mktemp("user"))
    small = [run(200, 0.91, s, scenario="smoke", machine_id=SLOW, trajectory=f"small {s}",
                 dataset="mnist-5k")
             for s in (0, 1)]  # fmt: skip
    import_runs(bench, table_1(FAST, pace=0.01), "fast.zip", cpu="Fast CPU")
    import_runs(bench, [*small, *table_1(SLOW)], "slow.zip", cpu="Slow CPU")
    return f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: Source, mlflow_uri: str) -> Path:
    """An empty working folder with an experiment of its own, and a fake worker."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", uuid.uuid4().hex)
    monkeypatch.delenv("MNIST_BENCH_DATA", raising=False)
    monkeypatch.setattr(process, "COMMAND", fakes.worker())
    return tmp_path


FIVE_PAST_NOON = dt.datetime(2026, 1, 1, 12, 5, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("selection", "count", "query"),
    [
        ({}, 26, "index >= 0"),
        ({"scenario": "smoke"}, 2, "scenario == 'smoke'"),
        ({"scenario": ["smoke", "table-1"]}, 26, "index >= 0"),
        ({"machine": "bbbb"}, 12, f"machine_id == '{FAST}'"),
        ({"since": "2026-01-01"}, 26, "index >= 0"),
        ({"since": dt.date(2026, 1, 1)}, 26, "index >= 0"),
        ({"since": FIVE_PAST_NOON}, 16, "begun_at >= '2026-01-01T12:05Z'"),
    ],
)
def test_runs_are_filtered(store: str, selection: dict[str, Any], count: int, query: str) -> None:
    runs = mnist_bench.load(store, **selection).runs
    assert len(runs) == len(runs.query(query, engine="python")) == count


def test_evaluations_belong_to_the_runs(store: str) -> None:
    results = mnist_bench.load(store)
    assert set(results.evaluations.run_id) == set(results.runs.run_id)
    best = results.evaluations.query("on_grid").groupby("run_id").test_accuracy.max()
    assert best.eq(results.runs.set_index("run_id").max_test_accuracy).all()


@pytest.mark.parametrize("machine", [None, "bbbb"])
def test_table_1_is_the_documents(store: str, machine: str | None) -> None:
    results = mnist_bench.load(store, machine=machine)
    document = results.to_document()
    assert document == json.loads(json.dumps(document))
    table = results.table_1().query("paper_step.notna()")
    assert len(table) == len(document["table_1"]) == 4
    for row, line in zip(document["table_1"], table.to_dict("records"), strict=True):
        assert row.pop("run_ids") == line.pop("run_ids").split()
        assert row == {name: None if pd.isna(cell) else cell for name, cell in line.items()}
    assert table.train_seconds_mean.iloc[0] == (10.0 if machine else 20.0)


def test_step_counts_that_the_paper_lacks_have_rows_too(store: str) -> None:
    row = mnist_bench.load(store, scenario="smoke").table_1().iloc[0]
    assert (row.scenario, row.steps, row.n, row["mean"]) == ("smoke", 200, 2, 0.91)
    assert row.verdict == "not comparable"
    assert pd.isna(row.paper_max_test_accuracy)


def test_curves(store: str) -> None:
    curves = mnist_bench.load(store).curves().set_index(["scenario", "steps", "step"])
    assert len(curves) == 102
    peak = curves.loc[("table-1", 10_000, 9_801)]
    assert (peak.n, peak.test_accuracy_min, peak.test_accuracy_max) == (3, 0.993, 0.9932)
    assert peak.test_accuracy_mean == pytest.approx(0.9931)
    assert curves.loc[("smoke", 200, 1)].n == 2


def test_comparisons(store: str) -> None:
    results = mnist_bench.load(store)
    machines = results.compare(by="machine")
    assert machines.base.str.startswith("Slow CPU").all()
    assert machines.other.str.startswith("Fast CPU").all()
    assert machines.train_seconds_value.tolist() == pytest.approx([0.5] * 4)
    named = results.compare("bbbb", "aaaa")
    assert named.train_seconds_value.tolist() == pytest.approx([2.0] * 4)
    assert set(named.base) == {"bbbb"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"by": "colour"},
            "no run here has a setting or a tag called 'colour'; choose among machine",
        ),
        ({"by": "precision"}, "there is only one to compare (float32)"),
        ({"names": ["sprint"]}, "no run, scenario or machine is called sprint"),
        ({"names": ["smoke"]}, "one name can't be compared"),
        ({"names": ["smoke", "bbbb"]}, "no other side has finished runs of a step count of smoke"),
    ],
)
def test_wrong_comparisons(store: str, arguments: dict[str, Any], words: str) -> None:
    names = arguments.pop("names", [])
    with pytest.raises(mnist_bench.BenchError) as error:
        mnist_bench.load(store).compare(*names, **arguments)
    assert words in str(error.value)


def test_report_is_the_commands(store: str, tmp_path: Path) -> None:
    results = mnist_bench.load(store, scenario="smoke")
    paths = results.report(tmp_path / "out", formats=["json", "md"])
    assert [path.name for path in paths] == ["report.json", "report.md"]
    assert json.loads(paths[0].read_bytes()) == results.to_document()
    with pytest.raises(mnist_bench.BenchError, match="format 'pdf' is unknown"):
        results.report(tmp_path / "other", formats=["pdf"])
    assert not (tmp_path / "other").exists()


def test_notebooks_show_table_1(store: str) -> None:
    results = mnist_bench.load(store)
    assert repr(results) == "<Results: 26 runs of smoke, table-1>"
    shown = results._repr_html_()
    assert "&lt;Results: 26 runs of smoke, table-1&gt;" in shown
    assert "<td>0.9928</td>" in shown  # the paper's
    assert "<td>–</td>" in shown
    assert "NA" not in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"since": "yesterday"}, "since = 'yesterday' is not a day; write it like 2026-01-31"),
        ({"scenario": "marathon"}, "no run of a scenario marathon is recorded"),
        ({"machine": "cccc"}, "--machine cccc: no machine ids begin with it"),
        ({"tracking_uri": "redis://nowhere"}, "can't record runs at 'redis://nowhere'"),
        ({"experiment": " "}, "the experiment has no name"),
    ],
)
def test_wrong_selections(store: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(mnist_bench.BenchError) as error:
        mnist_bench.load(**({"tracking_uri": store} | arguments))
    assert words in str(error.value)


def test_a_run_is_recorded_and_quiet(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    results = mnist_bench.run(
        "smoke", seeds=2, steps=[20, 10], settings={"learning_rate": 0.01, "optimizer": "momentum"}
    )
    assert capfd.readouterr() == ("", "")
    assert results.runs.steps.tolist() == [10, 20, 10, 20]
    assert results.runs.seed.tolist() == [0, 0, 1, 1]
    assert set(results.runs.learning_rate) == {0.01}
    assert set(results.runs.optimizer) == {"momentum"}
    assert results.table_1()["mean"].tolist() == [0.75, 0.75]
    assert results.curves().step.tolist() == [1]
    assert results.evaluations.step.tolist() == [1, 10, 1, 20] * 2
    assert not (here / "reports").exists()
    assert not locks.running()

    more = mnist_bench.run("smoke", seeds=3, steps=10, resume=True, exclusive=False,
                           settings={"learning_rate": 0.01, "optimizer": "momentum"})  # fmt: skip
    assert set(results.runs.query("steps == 10").run_id) < set(more.runs.run_id)
    assert more.runs.seed.tolist() == [0, 1, 2]
    assert len(mnist_bench.load().runs) == 5


def test_an_unfinished_run_is_an_error_and_recorded(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(process, "COMMAND", fakes.worker("sys.exit(3)"))
    with pytest.raises(mnist_bench.BenchError) as error:
        mnist_bench.run("smoke", progress=True)
    assert error.value.exit_status == 1
    assert "1 of 1 run did not finish: " in str(error.value)
    assert mnist_bench.load().runs.status.tolist() == ["failed"]
    assert "seed 0 did not finish" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"seeds": 0}, "seeds = 0 is not valid; give a whole number from 1 to 10,000"),
        ({"seeds": "auto"}, "seeds = 'auto' is not valid"),
        ({"first_seed": -1}, "first_seed = -1 is not valid"),
        ({"steps": []}, "steps = [] is not valid"),
        ({"steps": [1, 0]}, "steps = 0 is not valid"),
        ({"threads": 0}, "threads = 0 is not valid"),
        ({"precision": "float16"}, "precision = 'float16' is not valid; give one of float32"),
        ({"dataset": "cifar"}, "dataset = 'cifar' is not valid"),
        ({"scenario": "smokey"}, "there is no scenario 'smokey'; did you mean smoke?"),
        ({"settings": {"learning_rat": 1}}, "has no such hyperparameter"),
        ({"settings": {"learning_rate": None}}, "--set learning_rate=null is not valid"),
        ({"data": "nowhere"}, "nowhere"),
    ],
)  # fmt: skip
def test_wrong_arguments_start_nothing(here: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(mnist_bench.BenchError) as error:
        mnist_bench.run(**({"scenario": "smoke"} | arguments))
    assert words in str(error.value)
    assert error.value.exit_status == 2
    assert list(here.iterdir()) == []


def test_another_benchmark_is_not_disturbed(here: Path) -> None:
    with (
        locks.benchmark_lock(exclusive=True, warn=pytest.fail),
        pytest.raises(mnist_bench.BenchError, match="another benchmark of yours is running"),
    ):
        mnist_bench.run("smoke")


def test_ctrl_c_and_errors_are_raised(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = mnist_bench.BenchError("the disk is full", exit_status=1)
    for result, raised in (
        (run_plans.CommandResult("", 130, None), KeyboardInterrupt),
        (run_plans.CommandResult("", 1, fault), mnist_bench.BenchError),
    ):
        monkeypatch.setattr(run_plans, "run_plans", lambda *_, result=result, **__: result)
        with pytest.raises(raised):
            mnist_bench.run("smoke")
    assert not locks.running()
