"""`mnist-bench run` end to end, as a process, on the packaged sample and a real database."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import re
import signal
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import psutil
import pytest
import tomli_w
from factories import RUN_KEYS
from program import (
    RUN_ARTIFACTS,
    Bench,
    Ended,
    RecordedRuns,
    Running,
    is_alive,
    patched_program,
    wait_until,
)

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.quality import THRESHOLDS, VERDICTS
from mnist_bench.results.run import PHASES, RunResult
from mnist_bench.scenarios import scenario

GRID = [1, 51, 101, 151]
"""Grid steps of `smoke`."""
PAPER_HYPERPARAMETERS = {
    "learning_rate": 0.001,
    "batch_size": 50,
    "dropout_rate": 0.5,
    "optimizer": "adam",
    "schedule": "constant",
    "conv1_filters": 32,
    "conv1_kernel_size": 5,
    "conv2_filters": 64,
    "conv2_kernel_size": 5,
    "dense_units": 1_024,
    "batch_normalization": False,
    "label_smoothing": 0.0,
    "shift_pixels": 0,
    "rotation_degrees": 0.0,
    "zoom_share": 0.0,
    "average_decay": 0.0,
}
"""The paper's hyperparameters."""
LONG = 20_000
"""Step count that takes minutes, so that a training can be ended early."""
BY_STEP = {"test_accuracy", "validation_accuracy", "train_loss", "train_seconds"}
ONCE = {
    "max_test_accuracy",
    "max_test_accuracy_step",
    "final_test_accuracy",
    "selected_test_accuracy",
    "max_validation_accuracy",
    "final_validation_accuracy",
    "train_seconds_total",
    "images_per_second",
    "peak_rss_bytes",
    *(f"phase_{name}_seconds" for name in PHASES),
}
PHASE_PEAKS = {f"phase_{name}_peak_rss_bytes" for name in PHASES}
"""Only where peak memory can be reset."""

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


def with_worker(command: Sequence[str]) -> tuple[str, ...]:
    """The program with another command for its training processes."""
    return patched_program(
        f"from mnist_bench.runner import process\nprocess.COMMAND = {tuple(command)!r}"
    )


# Statuses in MLflow


def statuses(folder: Path) -> dict[int, str]:
    """Statuses by step count; empty while another process writes."""
    uri = f"{(folder / 'mlflow.db').as_uri()}?mode=ro"
    query = (
        "SELECT params.value, runs.status FROM runs "
        "JOIN params ON params.run_uuid = runs.run_uuid WHERE params.key = 'steps'"
    )
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=1)) as database:
            return {int(steps): status for steps, status in database.execute(query)}
    except sqlite3.OperationalError:
        return {}


# A first run


@dataclass(frozen=True)
class First:
    """A first run in an empty folder.

    Attributes:
        reports: Contents of its report files by name.
    """

    ended: Ended
    reports: dict[str, str]

    @property
    def run(self) -> dict[str, Any]:
        """Its only run in the document."""
        (run,) = self.ended.document["runs"]
        return run


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Folder and home of the first and later runs."""
    return Bench(tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="module")
def first(bench: Bench) -> First:
    ended = bench.run("run", "smoke", "--json")
    assert ended.status == 0, ended.stderr
    files = (bench.folder / "reports").iterdir()
    return First(ended, {path.name: path.read_text(encoding="utf-8") for path in files})


@pytest.fixture(scope="module")
def recorded(bench: Bench, first: First) -> RecordedRuns:
    return RecordedRuns(bench.folder)


def test_json_document_keys(first: First) -> None:
    document = first.ended.document
    assert list(document) == [
        "schema",
        "machine",
        "runs",
        "table_1",
        "scaling",
        "reaches",
        "standings",
        "machines",
        "claims",
        "studies",
    ]
    assert document["schema"] == 1
    assert document["table_1"] == []  # Table I has no row of 200 steps
    assert document["scaling"] == []  # only one thread count
    assert list(first.run)[: len(RUN_KEYS)] == RUN_KEYS


def test_run_fields(first: First) -> None:
    expected = {
        "scenario": "smoke",
        "model": "paper-cnn",
        "steps": 200,
        "seed": 0,
        "status": "finished",
        "dataset": "mnist-5k",
        "precision": "float32",
        "device": "cpu",
        "machine_id": first.ended.document["machine"]["machine_id"],
        "hyperparameters": PAPER_HYPERPARAMETERS,
        "failure": None,
        "training_seed": 0,
    }
    assert {key: first.run[key] for key in expected} == expected
    assert len(first.run["machine_id"]) == 32


def test_run_verdict(first: First) -> None:
    words = {limits.words for limits in THRESHOLDS} | {"on battery", "limited cores"}
    assert first.run["verdict"] in VERDICTS
    assert set(first.run["reasons"]) <= words
    assert (first.run["verdict"] == "clean") == (not first.run["reasons"])


def test_run_metrics(first: First) -> None:
    run = first.run
    assert 0.8 < run["max_test_accuracy"] <= 1
    assert run["max_test_accuracy_step"] in GRID
    assert 0.8 < run["final_test_accuracy"] <= 1
    assert 0.8 < run["selected_test_accuracy"] <= run["max_test_accuracy"]
    assert set(run["seconds"]) == set(PHASES)
    assert min(run["seconds"].values()) >= 0
    assert run["train_seconds_total"] == run["seconds"]["train"] > 0
    assert run["images_per_second"] == pytest.approx(200 * 50 / run["train_seconds_total"])


def test_peak_memory_is_below_the_documented_limit(first: First) -> None:
    if first.run["memory_method"] is None:
        pytest.skip("peak memory is unknown on this system")
    assert 0 < first.run["peak_rss_bytes"] < 1.2e9


def test_messages_on_standard_error(first: First) -> None:
    messages = first.ended.stderr_line
    for words in ("NOT COMPARABLE with Table I", "mnist-5k", "Written: reports/smoke.md"):
        assert words in messages
    # TensorFlow's own log goes to an artifact.
    for noise in ("Traceback", "oneDNN", "cpu_feature_guard", "cuda"):
        assert noise not in messages


def test_reports(bench: Bench, first: First) -> None:
    names = {"smoke.md", "smoke.csv", "smoke.runs.csv", "smoke.json"}
    assert set(first.reports) == names
    assert first.reports["smoke.json"] == first.ended.stdout
    (row,) = csv.DictReader(io.StringIO(first.reports["smoke.csv"]))
    assert (row["steps"], row["n"], row["verdict"]) == ("200", "1", "not comparable")
    assert "other images: mnist-5k" in row["reason"]
    (run,) = csv.DictReader(io.StringIO(first.reports["smoke.runs.csv"]))
    assert run["run_id"] == first.run["run_id"]
    assert float(run["max_test_accuracy"]) == first.run["max_test_accuracy"]
    text = first.reports["smoke.md"]
    for words in ("NOT COMPARABLE", "mnist-bench run smoke --json", first.run["run_id"]):
        assert words in text
    assert not [name for name, text in first.reports.items() if str(bench.home.parent) in text]


def test_time_estimates_use_recorded_runs(bench: Bench, first: First) -> None:
    scenarios = bench.call("scenarios", "--json").document["scenarios"]
    listed = {each["name"]: each for each in scenarios}
    assert listed["smoke"]["expected_seconds"] > 0
    assert listed["table-1"]["expected_seconds"] > listed["smoke"]["expected_seconds"]
    (plan,) = bench.call("run", "smoke", "--dry-run", "--json").document["plans"]
    assert plan["expected_seconds"] == pytest.approx(listed["smoke"]["expected_seconds"])


# MLflow


def test_mlflow_params(first: First, recorded: RecordedRuns) -> None:
    run = recorded.run(first.run["run_id"])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "smoke 200 steps seed 0"
    assert run.data.params == {
        "scenario": "smoke",
        "model": "paper-cnn",
        "steps": "200",
        "seed": "0",
        "dataset": "mnist-5k",
        "precision": "float32",
        "threads": str(first.run["threads"]),
        "device": "cpu",
        "eval_first": "1",
        "eval_every": "50",
        **{name: str(value) for name, value in PAPER_HYPERPARAMETERS.items()},
    }


def test_mlflow_metrics(first: First, recorded: RecordedRuns) -> None:
    run_id = first.run["run_id"]
    metrics = recorded.run(run_id).data.metrics
    names = {name for name in metrics if not name.startswith("time_to_")}
    assert names - PHASE_PEAKS - {"rss_bytes"} == BY_STEP | ONCE
    for name in ONCE - {f"phase_{phase}_seconds" for phase in PHASES}:
        assert metrics[name] == first.run[name]
    for phase in PHASES:
        assert metrics[f"phase_{phase}_seconds"] == first.run["seconds"][phase]
    for name in BY_STEP:
        assert [step for step, _ in recorded.history(run_id, name)] == [*GRID, 200]
    accuracies = dict(recorded.history(run_id, "test_accuracy"))
    assert max(accuracies[step] for step in GRID) == first.run["max_test_accuracy"]
    assert accuracies[200] == first.run["final_test_accuracy"]


def test_mlflow_tags(bench: Bench, first: First, recorded: RecordedRuns) -> None:
    run = recorded.run(first.run["run_id"])
    tags = run.data.tags
    expected = {
        "mlflow.source.name": "mnist-bench",
        "bench.schema": "1",
        "bench.trajectory": first.run["trajectory"],
        "bench.dataset_digest": first.run["dataset_digest"],
        "bench.machine_id": first.run["machine_id"],
    }
    assert {key: tags.get(key) for key in expected} == expected
    assert tags.get("bench.memory_method") == first.run["memory_method"]
    assert {"mlflow.user", "mlflow.source.type"} <= set(tags)
    assert tags["bench.complete"] == "true"
    assert tags["bench.verdict"] == first.run["verdict"]
    assert tags.get("bench.reasons", "") == ", ".join(first.run["reasons"])
    assert re.fullmatch(r"\d+-\d+-[0-9a-f]{8}", tags["bench.owner"])
    note = tags["mlflow.note.content"]
    for words in (f"Max test accuracy {first.run['max_test_accuracy']:.4f}", "finished"):
        assert words in note
    private = str(bench.home.parent)
    assert not [text for text in (*tags.values(), *run.data.params.values()) if private in text]


def test_mlflow_artifacts(first: First, recorded: RecordedRuns) -> None:
    run_id = first.run["run_id"]
    assert recorded.artifacts(run_id) == RUN_ARTIFACTS
    text = recorded.artifact(run_id, "result.json").read_text(encoding="utf-8")
    result = RunResult.model_validate_json(text)
    assert (result.run_id, result.status) == (run_id, "finished")
    assert [evaluation.step for evaluation in result.evaluations] == [*GRID, 200]
    assert result.max_test_accuracy == first.run["max_test_accuracy"]
    recorded_scenario = scenario.read(recorded.artifact(run_id, "scenario.toml"))
    assert recorded_scenario == scenario.read(scenario.find("smoke"))


def test_predictions_match_the_accuracies(
    first: First, recorded: RecordedRuns, sample: Source
) -> None:
    labels = mnist.load(sample).test.labels
    path = recorded.artifact(first.run["run_id"], "predictions.npz")
    with np.load(path, allow_pickle=False) as arrays:
        found = dict(arrays)
    assert {name: (array.dtype, array.shape) for name, array in found.items()} == {
        "final_label": (np.uint8, (500,)),
        "final_probability": (np.float16, (500,)),
        "selected_label": (np.uint8, (500,)),
        "selected_probability": (np.float16, (500,)),
    }
    assert np.mean(found["final_label"] == labels) == first.run["final_test_accuracy"]
    assert np.mean(found["selected_label"] == labels) == first.run["selected_test_accuracy"]


# Later runs in the same folder


@pytest.fixture(scope="module")
def later_runs(bench: Bench, first: First) -> list[dict[str, Any]]:
    """Two step counts of two seeds."""
    ended = bench.call_with_store("run", "smoke", "--steps", "100,200", "--seeds", "2", "--json")
    assert ended.status == 0, ended.stderr
    return ended.document["runs"]


def test_step_counts_and_seeds(later_runs: list[dict[str, Any]]) -> None:
    trained = [(run["seed"], run["steps"]) for run in later_runs]
    assert trained == [(0, 100), (0, 200), (1, 100), (1, 200)]
    assert {run["status"] for run in later_runs} == {"finished"}
    assert [run["training_seed"] for run in later_runs] == [0, 0, 1, 1]
    of_seed = [{run["trajectory"] for run in later_runs if run["seed"] == seed} for seed in (0, 1)]
    assert list(map(len, of_seed)) == [1, 1]
    assert of_seed[0] != of_seed[1]


def test_shorter_runs_of_a_seed_are_prefixes_of_longer_ones(
    later_runs: list[dict[str, Any]], recorded: RecordedRuns
) -> None:
    for short, long in (later_runs[:2], later_runs[2:]):
        for name in BY_STEP:
            short_history = recorded.history(short["run_id"], name)
            long_history = recorded.history(long["run_id"], name)
            assert [step for step, _ in short_history] == [1, 51, 100]
            # The last step of the short run is not on the grid of the long one.
            assert [step for step, _ in long_history] == [*GRID, 200]
            assert short_history[:2] == long_history[:2]
        assert 0 < short["train_seconds_total"] < long["train_seconds_total"]


def test_the_same_seed_is_reproducible_bit_for_bit(
    first: First, later_runs: list[dict[str, Any]], recorded: RecordedRuns
) -> None:
    again, other = later_runs[1], later_runs[3]
    for name in ("test_accuracy", "validation_accuracy", "train_loss"):
        once = recorded.history(first.run["run_id"], name)
        assert recorded.history(again["run_id"], name) == once
        assert recorded.history(other["run_id"], name) != once


def test_runs_are_added_to_the_database(
    first: First, later_runs: list[dict[str, Any]], recorded: RecordedRuns
) -> None:
    found = {run.info.run_id: run.info.status for run in recorded.runs()}
    assert found == {run["run_id"]: "FINISHED" for run in (first.run, *later_runs)}


def test_reports_of_the_same_scenario_are_replaced(
    bench: Bench, first: First, later_runs: list[dict[str, Any]]
) -> None:
    reports = bench.folder / "reports"
    assert {path.name for path in reports.iterdir()} == set(first.reports)
    with (reports / "smoke.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [(row["steps"], row["n"]) for row in found] == [("100", "2"), ("200", "2")]
    assert {row["verdict"] for row in found} == {"not comparable"}
    assert "prefixes of one another" in (reports / "smoke.md").read_text(encoding="utf-8")


# Trainings that do not finish


def worker_of(running: Running) -> psutil.Process | None:
    for process in running.descendants():
        with contextlib.suppress(psutil.Error):
            if "mnist_bench.worker" in process.cmdline():
                return process
    return None


def worker_of_long_run(bench: Bench, running: Running) -> psutil.Process:
    """The worker, after it has finished the run of 100 steps."""
    running.until(lambda: statuses(bench.folder).get(100) == "FINISHED", 180)
    worker = running.until(lambda: worker_of(running), 10)
    assert worker is not None
    return worker


def check_ended_early(bench: Bench, ended: Ended, status: str, reason: str) -> None:
    """Check that the short run is complete, the long one has a reason, and nothing is left over."""
    short, long = ended.document["runs"]
    assert (short["steps"], short["status"], short["failure"]) == (100, "finished", None)
    assert (long["steps"], long["status"]) == (LONG, status)
    assert reason in long["failure"]
    assert long["final_test_accuracy"] is None
    assert long["peak_rss_bytes"] is None
    assert "Traceback" not in ended.stderr
    assert reason in ended.stderr_line
    recorded = RecordedRuns(bench.folder)
    assert recorded.run(short["run_id"]).info.status == "FINISHED"
    assert recorded.artifacts(short["run_id"]) == RUN_ARTIFACTS
    run = recorded.run(long["run_id"])
    assert run.info.status == status.upper()
    assert reason in run.data.tags["bench.failure"]
    assert reason in run.data.tags["mlflow.note.content"]
    # What was recorded stays.
    assert [step for step, _ in recorded.history(long["run_id"], "test_accuracy")][:2] == [1, 51]
    assert recorded.artifacts(long["run_id"]) == RUN_ARTIFACTS - {"predictions.npz"}
    assert list(bench.temporary.glob("mnist-bench-*")) == []
    assert not (bench.folder / "mlruns" / ".runs").exists()


@needs_signals
def test_a_killed_worker(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with bench.started("run", "smoke", "--steps", f"100,{LONG}", "--json") as running:
        worker_of_long_run(bench, running).kill()
        ended = running.ended(60)
    assert ended.status == 1
    check_ended_early(bench, ended, "failed", "SIGKILL")
    # One run finished, so there is a report.
    assert (bench.folder / "reports" / "smoke.json").read_text(encoding="utf-8") == ended.stdout


@needs_signals
@pytest.mark.parametrize(
    ("name", "status", "reason"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")]
)
def test_interrupt_and_termination(tmp_path: Path, name: str, status: int, reason: str) -> None:
    bench = Bench(tmp_path)
    with bench.started("run", "smoke", "--steps", f"100,{LONG}", "--json") as running:
        worker = worker_of_long_run(bench, running)
        running.process.send_signal(getattr(signal, name))
        ended = running.ended(60)
    assert ended.status == status
    check_ended_early(bench, ended, "killed", reason)
    wait_until(lambda: not is_alive(worker), 10)


FAULTY_WORKER = """
import sys
from mnist_bench.worker import tensorflow_setup
from mnist_bench.worker import __main__ as worker

start = tensorflow_setup.start

def start_and_patch(execution):
    start(execution)
    from mnist_bench.worker import trainer

    class FailingTrainer(trainer.Trainer):
        def __init__(self, dataset, hyperparameters, seed, **options):
            super().__init__(dataset, hyperparameters, seed, **options)
            self.fails = seed == 0

        def advance(self, steps):
            if self.fails:
                raise ArithmeticError("the loss diverged")
            return super().advance(steps)

    trainer.Trainer = FailingTrainer

tensorflow_setup.start = start_and_patch
sys.exit(worker.main())
"""


def test_an_exception_inside_a_training(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    line = "run smoke --steps 20 --seeds 2 --no-report --json"
    ended = bench.run(
        *line.split(),
        program=with_worker((sys.executable, "-P", "-c", FAULTY_WORKER)),
    )
    assert ended.status == 1
    reason = "ArithmeticError: the loss diverged"
    failed, succeeded = ended.document["runs"]
    assert (failed["seed"], failed["status"], failed["failure"]) == (0, "failed", reason)
    assert failed["max_test_accuracy"] is None
    assert (succeeded["seed"], succeeded["status"], succeeded["failure"]) == (1, "finished", None)
    # The reason and the end of the worker's log are printed, and no traceback of the parent.
    assert f"seed 0 did not finish: {reason}" in ended.stderr_line
    assert "in advance" in ended.stderr_line
    assert "harness.py" not in ended.stderr
    recorded = RecordedRuns(bench.folder)
    assert recorded.run(failed["run_id"]).info.status == "FAILED"
    assert recorded.run(succeeded["run_id"]).info.status == "FINISHED"
    log = recorded.artifact(failed["run_id"], "worker.log")
    assert reason in log.read_text(encoding="utf-8", errors="replace")
    assert not (bench.folder / "reports").exists()


# With a fake worker


def test_a_full_disk_leaves_older_reports_intact(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    reports = bench.folder / "reports"
    reports.mkdir()
    older = {f"smoke{end}": f"older {end}\n" for end in (".md", ".csv", ".runs.csv", ".json")}
    for name, text in older.items():
        (reports / name).write_text(text, encoding="utf-8", newline="\n")
    full = f"""
import os
from mnist_bench.runner import process
from mnist_bench.core import files

def full(*_):
    raise OSError({errno.ENOSPC}, os.strerror({errno.ENOSPC}))

files.os.fsync = full
process.COMMAND = {fakes.worker()!r}
"""
    ended = bench.run("run", "smoke", "--steps", "7", "--json", program=patched_program(full))
    assert ended.status == 1
    for words in ("can't write", "smoke.md", os.strerror(errno.ENOSPC), "free some disk space"):
        assert words in ended.error_line
    found = {path.name: path.read_text(encoding="utf-8") for path in reports.iterdir()}
    assert found == older
    # The run is reported and recorded nevertheless.
    (run,) = ended.document["runs"]
    assert run["status"] == "finished"
    assert RecordedRuns(bench.folder).run(run["run_id"]).info.status == "FINISHED"


def test_two_scenarios_make_one_document_and_a_report_each(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    mine = {
        "title": "mine | and =theirs",
        "model": "paper-cnn",
        "steps": [3, 5],
        "dataset": "mnist-5k",
        "eval_every": 2,
    }
    (bench.folder / "mine.toml").write_text(tomli_w.dumps(mine), encoding="utf-8")
    arguments = ("run", "smoke", "./mine.toml", "--experiment", "a look / two", "--json")
    ended = bench.run(*arguments, program=with_worker(fakes.worker()))
    assert ended.status == 0, ended.stderr
    runs = [(run["scenario"], run["steps"]) for run in ended.document["runs"]]
    assert runs == [("smoke", 200), ("mine", 3), ("mine", 5)]
    reports = bench.folder / "reports"
    assert {path.stem for path in reports.glob("*.md")} == {"smoke", "mine"}
    document = json.loads((reports / "mine.json").read_text(encoding="utf-8"))
    assert document["runs"] == ended.document["runs"][1:]
    assert "mine.toml" in (reports / "mine.md").read_text(encoding="utf-8")
    assert statuses(bench.folder) == dict.fromkeys((3, 5, 200), "FINISHED")


def test_table_on_standard_output(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    program = with_worker(fakes.worker())
    ended = bench.run("run", "smoke", "--no-report", program=program, COLUMNS="160")
    assert ended.status == 0, ended.stderr
    assert "NOT COMPARABLE with Table I" in ended.stdout
    figures = [line for line in ended.stdout.splitlines() if "0.7500" in line]
    assert any("not comparable" in line for line in figures)
    # No progress bar without a terminal.
    assert ended.stderr == ""
    assert not (bench.folder / "reports").exists()


def test_a_database_of_another_mlflow_version_is_not_changed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    database = bench.folder / "mlflow.db"
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('feedfacecafe')")
    before = database.read_bytes()
    ended = bench.run("run", "smoke", "--json", program=with_worker(fakes.worker()))
    assert ended.status == 2
    for words in ("another version of MLflow", "`mlflow db upgrade sqlite:///mlflow.db`"):
        assert words in ended.error_line
    assert database.read_bytes() == before
    assert not (bench.folder / "reports").exists()
