"""`mnist-bench run` end to end on the packaged sample and a real database.

The first run is a process and trains, as do two later ones; what ends early or fails has a fake
worker, and runs as a process only where a signal is sent.
"""

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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import psutil
import pytest
import tomli_w
from factories import REPORT_SUFFIXES, RUN_KEYS
from golden import assert_golden_json
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

from mnist_bench.core import files
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.quality import THRESHOLDS, VERDICTS
from mnist_bench.results.run import PHASES, RunResult
from mnist_bench.runner import process
from mnist_bench.scenarios import scenario
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters

GRID = [1, 51, 101, 151]
"""Grid steps of `smoke`."""
LONG = 20_000
BY_STEP = ("test_accuracy", "validation_accuracy", "train_loss", "train_seconds")
VARYING_TAGS = {
    "bench.machine",
    "bench.machine_id",
    "bench.mnist_bench",
    "bench.owner",
    "bench.reasons",
    "bench.tensorflow",
    "bench.trajectory",
    "bench.verdict",
    "mlflow.note.content",
    "mlflow.user",
}
"""Those whose values differ from machine to machine or from run to run."""

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


def test_document(first: First) -> None:
    document = first.ended.document
    assert document["table_1"] == []  # Table I has no row of 200 steps
    assert document["scaling"] == []  # only one thread count
    assert list(first.run)[: len(RUN_KEYS)] == RUN_KEYS
    expected = {
        "scenario": "smoke",
        "model": "paper-cnn",
        "steps": 200,
        "seed": 0,
        "status": "finished",
        "dataset": "mnist-5k",
        "precision": "float32",
        "device": "cpu",
        "machine_id": document["machine"]["machine_id"],
        "hyperparameters": PaperCnnHyperparameters().model_dump(),
        "failure": None,
        "training_seed": 0,
    }
    assert {key: first.run[key] for key in expected} == expected


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
    for words in (
        "NOT COMPARABLE with Table I",
        "mnist-5k",
        "Page: file:///",
        "/reports/smoke.html",
    ):
        assert words in messages
    # TensorFlow's own log goes to an artifact.
    for noise in ("Traceback", "oneDNN", "cpu_feature_guard", "cuda"):
        assert noise not in messages


def test_reports(bench: Bench, first: First) -> None:
    names = {f"smoke{suffix}" for suffix in REPORT_SUFFIXES}
    assert set(first.reports) == names
    assert first.reports["smoke.json"] == first.ended.stdout
    (row,) = csv.DictReader(io.StringIO(first.reports["smoke.csv"]))
    assert (row["steps"], row["n"], row["verdict"]) == ("200", "1", "not comparable")
    assert "other images: mnist-5k" in row["reason"]
    (run,) = csv.DictReader(io.StringIO(first.reports["smoke.runs.csv"]))
    assert run["run_id"] == first.run["run_id"]
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


@pytest.mark.skipif(
    sys.platform != "linux", reason="the golden file has Linux's memory metrics and tags"
)
def test_names_in_mlflow_are_golden(first: First, recorded: RecordedRuns) -> None:
    """Params with values, metrics by step, tags and artifacts."""
    run_id = first.run["run_id"]
    run = recorded.run(run_id)
    # A clean run has no reasons to record, and MLflow adds the state of a clone.
    tags = {"bench.reasons": ""} | run.data.tags
    assert_golden_json(
        "mlflow-run.json",
        {
            "experiment": "mnist-bench",
            "run_name": run.info.run_name,
            "status": run.info.status,
            "params": run.data.params | {"threads": "N"},
            "metrics": {  # at which steps
                name: ", ".join(str(step) for step, _ in recorded.history(run_id, name))
                for name in sorted(run.data.metrics)
                if not name.startswith("time_to_")
            },
            "tags": {
                name: "(varies)" if name in VARYING_TAGS else tags[name]
                for name in sorted(tags)
                if not name.startswith("mlflow.source.git.")
            },
            "artifacts": sorted(recorded.artifacts(run_id)),
        },
    )


def test_values_in_mlflow(bench: Bench, first: First, recorded: RecordedRuns) -> None:
    run_id = first.run["run_id"]
    run = recorded.run(run_id)
    assert run.data.params["threads"] == str(first.run["threads"])
    metrics = {
        name: value
        for name, value in run.data.metrics.items()
        if recorded.history(run_id, name)[0][0] == 0 and not name.startswith(("phase", "time_to"))
    }
    assert metrics == {name: first.run[name] for name in metrics}
    for phase in PHASES:
        for name in (f"phase_{phase}_seconds", f"phase/{phase}_seconds"):
            assert run.data.metrics[name] == first.run["seconds"][phase]
    accuracies = dict(recorded.history(run_id, "test_accuracy"))
    assert max(accuracies[step] for step in GRID) == first.run["max_test_accuracy"]
    assert accuracies[200] == first.run["final_test_accuracy"]
    tags = run.data.tags
    for name in ("trajectory", "dataset_digest", "machine_id", "verdict"):
        assert tags[f"bench.{name}"] == first.run[name]
    assert tags.get("bench.memory_method") == first.run["memory_method"]
    assert tags.get("bench.reasons", "") == ", ".join(first.run["reasons"])
    assert re.fullmatch(r"\d+-\d+-[0-9a-f]{8}", tags["bench.owner"])
    note = tags["mlflow.note.content"]
    for words in (f"Max test accuracy {first.run['max_test_accuracy']:.4f}", "finished"):
        assert words in note
    private = str(bench.home.parent)
    assert not [text for text in (*tags.values(), *run.data.params.values()) if private in text]


def test_mlflow_artifacts(first: First, recorded: RecordedRuns) -> None:
    run_id = first.run["run_id"]
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


@contextlib.contextmanager
def long_run(bench: Bench) -> Iterator[tuple[Running, psutil.Process]]:
    """A run and its fake worker, which has finished 100 steps and waits after step 151."""
    reached, never = bench.home / "reached", bench.home / "never"
    command = fakes.worker(f"step == 151 and {fakes.wait_for_file(reached, never)}")
    arguments = ("run", "smoke", "--steps", f"100,{LONG}", "--json")
    with bench.started(*arguments, program=with_worker(command)) as running:
        running.until(reached.exists, 180)
        running.until(lambda: statuses(bench.folder).get(100) == "FINISHED", 60)
        (worker,) = (each for each in running.descendants() if command[-1] in each.cmdline())
        yield running, worker


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
    with long_run(bench) as (running, worker):
        worker.kill()
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
    with long_run(bench) as (running, worker):
        running.process.send_signal(getattr(signal, name))
        ended = running.ended(60)
    assert ended.status == status
    check_ended_early(bench, ended, "killed", reason)
    assert (
        f"To go on: `mnist-bench run smoke --steps 100,{LONG} --seeds 1 --resume`" in ended.stderr
    )
    wait_until(lambda: not is_alive(worker), 10)


FAULTY_WORKER = """
import sys
from mnist_bench.worker import __main__ as worker

class Diverging:
    step = 0

    def advance(self, steps):
        raise ArithmeticError("the loss diverged")

worker._training_method = lambda request: (lambda dataset: Diverging(), lambda threads: 0.01)
sys.exit(worker.main())
"""


def test_an_exception_inside_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "COMMAND", (sys.executable, "-P", "-c", FAULTY_WORKER))
    bench = Bench(tmp_path)
    ended = bench.call_with_store("run", "smoke", "--json")
    assert ended.status == 1
    reason = "ArithmeticError: the loss diverged"
    (failed,) = ended.document["runs"]
    assert (failed["seed"], failed["status"], failed["failure"]) == (0, "failed", reason)
    assert failed["max_test_accuracy"] is None
    # The reason is printed; the traceback is in the worker's log.
    assert f"seed 0 did not finish: {reason}" in ended.stderr_line
    assert "Traceback" not in ended.stderr
    recorded = RecordedRuns(bench.folder)
    assert recorded.run(failed["run_id"]).info.status == "FAILED"
    log = recorded.artifact(failed["run_id"], "worker.log")
    assert reason in log.read_text(encoding="utf-8", errors="replace")
    assert not (bench.folder / "reports").exists()


# With a fake worker


@pytest.fixture
def fake_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(process, "COMMAND", fakes.worker())
    return Bench(tmp_path)


def test_a_full_disk_leaves_older_reports_intact(
    fake_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = fake_bench.folder / "reports"
    reports.mkdir()
    older = {f"smoke{end}": f"older {end}\n" for end in REPORT_SUFFIXES}
    for name, text in older.items():
        (reports / name).write_text(text, encoding="utf-8", newline="\n")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    ended = fake_bench.call_with_store("run", "smoke", "--steps", "7", "--json")
    assert ended.status == 1
    for words in ("can't write", "smoke.html", os.strerror(errno.ENOSPC), "free some disk space"):
        assert words in ended.error_line
    found = {path.name: path.read_text(encoding="utf-8") for path in reports.iterdir()}
    assert found == older
    # The run is reported and recorded nevertheless.
    (run,) = ended.document["runs"]
    assert run["status"] == "finished"
    assert statuses(fake_bench.folder) == {7: "FINISHED"}


def test_two_scenarios_make_one_document_and_a_report_each(fake_bench: Bench) -> None:
    mine = {
        "title": "mine | and =theirs",
        "model": "paper-cnn",
        "steps": [3, 5],
        "dataset": "mnist-5k",
        "eval_every": 2,
    }
    (fake_bench.folder / "mine.toml").write_text(tomli_w.dumps(mine), encoding="utf-8")
    arguments = ("run", "smoke", "./mine.toml", "--experiment", "a look / two", "--json")
    ended = fake_bench.call_with_store(*arguments)
    assert ended.status == 0, ended.stderr
    runs = [(run["scenario"], run["steps"]) for run in ended.document["runs"]]
    assert runs == [("smoke", 200), ("mine", 3), ("mine", 5)]
    reports = fake_bench.folder / "reports"
    assert {path.stem for path in reports.glob("*.md")} == {"smoke", "mine"}
    document = json.loads((reports / "mine.json").read_text(encoding="utf-8"))
    assert document["runs"] == ended.document["runs"][1:]
    assert "mine.toml" in (reports / "mine.md").read_text(encoding="utf-8")
    assert statuses(fake_bench.folder) == dict.fromkeys((3, 5, 200), "FINISHED")


def test_table_on_standard_output(fake_bench: Bench) -> None:
    ended = fake_bench.call_with_store("run", "smoke", "--no-report")
    assert ended.status == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0] == "Smoke test: 200 steps of the paper's network"
    assert " ".join(lines[2].split()) == "Steps Final Max Train time Images/s Peak memory"
    assert lines[3].split()[:3] == ["200", "0.7500", "0.7500"]
    assert lines[5].startswith("NOT COMPARABLE with Table I")
    assert lines[-1] == "Next: `mnist-bench run` trains Table I; `mnist-bench ui` shows the runs"
    # No progress bar without a terminal.
    first, *_, last = ended.stderr.splitlines()  # lines between them on a slow machine
    assert first == "smoke: 1 training of 200 steps on mnist-5k (4,000 images)"
    assert last.startswith("seed 0: test 0.7500, took ")
    assert not (fake_bench.folder / "reports").exists()


def test_the_same_run_again_with_nothing_left(
    fake_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    arguments = ("run", "smoke", "--steps", "3")
    quiet = fake_bench.call_with_store(*arguments, "--no-report", "--quiet", "--json")
    assert (quiet.status, quiet.stderr) == (0, "")
    ended = fake_bench.call_with_store(*arguments, "--resume", "--open", "--verbose")
    assert ended.stderr == "smoke: nothing left to train, 1 run recorded already\n"
    page = (fake_bench.folder / "reports" / "smoke.html").as_uri()
    assert opened == [page]
    *_, written, address, _ = ended.stdout.splitlines()
    assert written.startswith("Written: reports/smoke.html, reports/smoke.md, ")
    assert address == f"Page: {page}"


def test_a_disturbed_run_is_trained_again_on_request(
    fake_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `--no-exclusive` the first is suspect for a reason that the second has not."""
    arguments = ("run", "smoke", "--steps", "3", "--no-report", "--json")
    disturbed = fake_bench.call_with_store(*arguments, "--no-exclusive")
    assert "not exclusive" in disturbed.document["runs"][0]["reasons"]
    assert "* disturbed by not exclusive" in disturbed.stderr
    again = fake_bench.call_with_store(*arguments, "--resume", "--repeat-disturbed")
    assert "not exclusive" not in again.document["runs"][0]["reasons"]
    assert "1 training of 3 steps" in again.stderr
