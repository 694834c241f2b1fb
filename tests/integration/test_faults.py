"""Kills of commands and workers at random moments: nothing that was shown is lost.

Uses `benchmarks/faults/`, and tests that its checks detect faults.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fakes import run_in_processes
from invariants import BY_STEP, Expected, Findings, Row, check
from kills import Batch, run_batch
from place import Training
from program import Bench, patched_program
from witness import Recording

from mnist_bench.scenarios.scenario import Grid
from mnist_bench.tracking import spool

GRID = Grid(first=1, every=10)


# Checks of the invariants


SCHEMA = """
CREATE TABLE runs (run_uuid TEXT, name TEXT, status TEXT);
CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
CREATE TABLE metrics (run_uuid TEXT, key TEXT, step INTEGER, value REAL);
"""


def scores(step: int, loss: float | None = 0.25) -> dict[str, float | None]:
    figures = dict.fromkeys(BY_STEP, 0.5)
    return {**figures, "step": step, "train_loss": loss}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with one killed run of 20 steps and one evaluation."""
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.executescript(SCHEMA)
        database.execute("INSERT INTO runs VALUES ('r', 'forced 20 steps seed 0', 'KILLED')")
        database.execute("INSERT INTO tags VALUES ('bench.trajectory', 't', 'r')")
        for metric in BY_STEP:
            value = 0.25 if metric == "train_loss" else 0.5
            database.execute("INSERT INTO metrics VALUES ('r', ?, 11, ?)", (metric, value))
        database.commit()
    return tmp_path


@pytest.fixture
def expected() -> Expected:
    """Expected content for that run."""
    expected = Expected(GRID)
    expected.add_training("t", (20,), "KILLED")
    expected.add_evaluation("t", scores(11))
    return expected


def changed_database(folder: Path, statement: str) -> Path:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.execute(statement)
        database.commit()
    return folder / "mlflow.db"


def test_an_intact_store_has_no_faults(folder: Path, expected: Expected) -> None:
    found = check(expected, folder, folder / "mlflow.db")
    assert found == Findings(figures=4, runs=1)
    assert found.faults == ()


@pytest.mark.parametrize(
    ("statement", "kinds"),
    [
        ("UPDATE runs SET status = 'RUNNING'", {"running"}),
        ("UPDATE runs SET status = 'FAILED'", {"wrongly_ended"}),
        ("DELETE FROM metrics WHERE key = 'train_loss'", {"lost"}),
        ("UPDATE metrics SET value = 0.75 WHERE key = 'train_loss'", {"lost"}),
        ("UPDATE metrics SET step = 12 WHERE key = 'train_loss'", {"lost"}),
        ("INSERT INTO metrics VALUES ('r', 'train_loss', 11, 0.25)", {"doubled"}),
        ("INSERT INTO metrics VALUES ('r', 'train_loss', 11, 0.75)", {"doubled"}),
        ("DELETE FROM runs", {"lost"}),
    ],
)
def test_faults_are_detected(
    folder: Path, expected: Expected, statement: str, kinds: set[str]
) -> None:
    found = check(expected, folder, changed_database(folder, statement))
    names = ("running", "lost", "doubled", "wrongly_ended", "damaged", "left_over")
    assert {name for name in names if getattr(found, name)} == kinds


def test_two_runs_of_one_step_count_are_detected(folder: Path, expected: Expected) -> None:
    changed_database(folder, "INSERT INTO runs VALUES ('s', 'forced 20 steps seed 0', 'KILLED')")
    database = changed_database(folder, "INSERT INTO tags VALUES ('bench.trajectory', 't', 's')")
    assert f"{Row('t', 20)} is 2 runs" in check(expected, folder, database).doubled


def test_a_changed_report_is_detected(folder: Path, expected: Expected) -> None:
    reports = folder / "reports"
    reports.mkdir()
    (reports / "smoke.md").write_text("whole")
    expected.keep_reports(reports)
    (reports / "smoke.md").write_text("who")
    found = check(expected, folder, folder / "mlflow.db")
    assert found.damaged == ("report smoke.md is not what it was",)


def test_values_in_a_spool_are_expected(folder: Path, expected: Expected) -> None:
    spools = folder / "mlruns" / ".runs"
    spools.mkdir(parents=True)
    lines = [
        {"schema": 1, "header": {"kind": "begin"}},
        {"at_ms": 5, "message": {"kind": "evaluation", "evaluation": scores(20, loss=None)}},
        {"at_ms": 5, "message": {"kind": "sample", "stretch": {"step": 20, "rss_bytes": 7}}},
        {"at_ms": 6, "message": {"kind": "row", "steps": 20, "seconds": {"train": 1.0}}},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (spools / "t.jsonl").write_text(text + '{"at_ms": 7, "mess')
    expected.add_spools(folder)
    found = check(expected, folder, folder / "mlflow.db")
    lost = {words.split(": ")[1].split()[0] for words in found.lost}
    # A null, the loss here, can't be lost.
    assert lost == {"test_accuracy", "validation_accuracy", "train_seconds", "rss_bytes"}
    assert found.wrongly_ended == (f"{Row('t', 20)} is KILLED, it was FINISHED",)
    assert found.left_over == ("t.jsonl was not delivered",)


@pytest.mark.parametrize(("text", "left"), [("", 0), ('{"schema": 1', 0), ("{}\n", 1)])
def test_a_spool_with_an_incomplete_first_line_is_not_left_over(
    folder: Path, expected: Expected, text: str, left: int
) -> None:
    spools = folder / "mlruns" / ".runs"
    spools.mkdir(parents=True)
    (spools / "t.jsonl").write_text(text, encoding="utf-8")
    assert len(check(expected, folder, folder / "mlflow.db").left_over) == left


def test_an_evaluation_belongs_to_the_step_counts_that_include_it() -> None:
    expected = Expected(GRID)
    expected.add_training("t", (15, 30), "KILLED")
    for step in (11, 15, 21):
        expected.add_evaluation("t", scores(step))
    found = {(figure.row.steps, figure.step) for figure in expected.figures}
    assert found == {(15, 11), (15, 15), (30, 11), (30, 21)}


@pytest.mark.parametrize(
    ("lines", "unfinished", "ends"),
    [
        ([], "KILLED", {"KILLED"}),
        ([["received", 20]], "KILLED", {"KILLED", "FINISHED"}),
        ([["received", 20]], "FAILED", {"FINISHED"}),
        ([["received", 20], ["handled", 20]], "KILLED", {"FINISHED"}),
    ],
)
def test_allowed_statuses(
    tmp_path: Path, lines: list[list[object]], unfinished: str, ends: set[str]
) -> None:
    recording = Recording(tmp_path / "noted")
    written = [["begun", "t", [20]], *lines]  # all by thread 1
    text = "".join(json.dumps([1, *line]) + "\n" for line in written)
    recording.path.write_text(text + '["he')
    expected = Expected(GRID)
    recording.add_to(expected, unfinished)
    assert expected.statuses == {Row("t", 20): ends}


# Kills


def test_files_of_a_command_killed_before_its_spool_existed_are_removed(tmp_path: Path) -> None:
    user = Bench(tmp_path)
    killed = user.run(
        *("run", "smoke"),
        program=patched_program(
            "import os\nfrom mnist_bench.tracking import recorder\n"
            "recorder.Spool = lambda header: os.kill(os.getpid(), 9)"
        ),
    )
    assert killed.status != 0
    assert any(path.is_dir() for path in (user.folder / spool.FOLDER).iterdir())
    user.call_with_store("report")
    assert {path.suffix for path in (user.folder / spool.FOLDER).iterdir()} == {".lock"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_four_kills_of_real_trainings(tmp_path: Path) -> None:
    commands, workers = run_in_processes(
        run_batch,
        Batch("parent", Training(), kills=2, seed=1, folder=tmp_path / "parents"),
        Batch("worker", Training(), kills=2, seed=1, folder=tmp_path / "workers"),
    )
    assert (commands.findings.faults, workers.findings.faults) == ((), ())
    assert (commands.hits.total(), workers.hits.total()) == (2, 2)
    assert commands.findings.figures + workers.findings.figures > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_thirty_kills_with_a_stand_in(tmp_path: Path) -> None:
    """A sample: benchmarks/faults/table.md has 200."""
    training = Training("stand-in")
    parents = run_in_processes(
        run_batch,
        *(
            Batch("parent", training, kills=6, seed=seed, folder=tmp_path / f"{seed}")
            for seed in (1, 2)
        ),
    )
    (workers,) = run_in_processes(
        run_batch, Batch("worker", training, 20, seed=3, folder=tmp_path / "workers")
    )
    assert [each.findings.faults for each in (*parents, workers)] == [(), (), ()]
    assert [each.hits.total() for each in parents] == [6, 6]
    assert workers.hits.total() >= 18
    assert workers.findings.figures > 300
