"""Kills at seeded moments, of commands and of training processes: nothing that was shown is lost.

The programs of `benchmarks/faults/` do the killing and the looking; here it is held that they find
nothing wrong, and that they would see it if there were something.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fakes import processes_at_once
from invariants import BY_STEP, JOURNALS, Evidence, Findings, Row, check
from kills import Batch, carry_out
from place import Training
from program import Bench, altered
from witness import Witness

from mnist_bench.scenarios.scenario import Grid

GRID = Grid(first=1, every=10)


# The looking


SCHEMA = """
CREATE TABLE runs (run_uuid TEXT, name TEXT, status TEXT);
CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
CREATE TABLE metrics (run_uuid TEXT, key TEXT, step INTEGER, value REAL);
"""


def scoring(step: int, loss: float | None = 0.25) -> dict[str, float | None]:
    figures = dict.fromkeys(BY_STEP, 0.5)
    return {**figures, "step": step, "train_loss": loss}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with one killed run of 20 steps, scored once, as it should be."""
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
def evidence() -> Evidence:
    """Of that run."""
    evidence = Evidence(GRID)
    evidence.begun("t", (20,), "KILLED")
    evidence.scored("t", scoring(11))
    return evidence


def altered_by(folder: Path, statement: str) -> Path:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.execute(statement)
        database.commit()
    return folder / "mlflow.db"


def test_nothing_is_wrong_with_a_whole_store(folder: Path, evidence: Evidence) -> None:
    found = check(evidence, folder, folder / "mlflow.db")
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
def test_what_is_wrong_is_seen(
    folder: Path, evidence: Evidence, statement: str, kinds: set[str]
) -> None:
    found = check(evidence, folder, altered_by(folder, statement))
    names = ("running", "lost", "doubled", "wrongly_ended", "damaged", "left_over")
    assert {name for name in names if getattr(found, name)} == kinds


def test_a_row_that_is_two_runs_is_seen(folder: Path, evidence: Evidence) -> None:
    altered_by(folder, "INSERT INTO runs VALUES ('s', 'forced 20 steps seed 0', 'KILLED')")
    database = altered_by(folder, "INSERT INTO tags VALUES ('bench.trajectory', 't', 's')")
    assert f"{Row('t', 20)} is 2 runs" in check(evidence, folder, database).doubled


def test_a_report_that_was_touched_is_seen(folder: Path, evidence: Evidence) -> None:
    reports = folder / "reports"
    reports.mkdir()
    (reports / "smoke.md").write_text("whole")
    evidence.keep_reports(reports)
    (reports / "smoke.md").write_text("who")
    found = check(evidence, folder, folder / "mlflow.db")
    assert found.damaged == ("report smoke.md is not what it was",)


def test_a_journal_tells_what_was_shown(folder: Path, evidence: Evidence) -> None:
    journals = folder / "mlruns" / ".runs"
    journals.mkdir(parents=True)
    lines = [
        {"schema": 1, "header": {"kind": "begin"}},
        {"at_ms": 5, "message": {"kind": "evaluation", "evaluation": scoring(20, loss=None)}},
        {"at_ms": 5, "message": {"kind": "sample", "stretch": {"step": 20, "rss_bytes": 7}}},
        {"at_ms": 6, "message": {"kind": "row", "steps": 20, "seconds": {"train": 1.0}}},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (journals / "t.jsonl").write_text(text + '{"at_ms": 7, "mess')
    evidence.take_journals(folder)
    found = check(evidence, folder, folder / "mlflow.db")
    lost = {words.split(": ")[1].split()[0] for words in found.lost}
    # What is not known, a loss here, can't be lost.
    assert lost == {"test_accuracy", "validation_accuracy", "train_seconds", "rss_bytes"}
    assert found.wrongly_ended == (f"{Row('t', 20)} is KILLED, it was FINISHED",)
    assert found.left_over == ("t.jsonl was not delivered",)


@pytest.mark.parametrize(("text", "left"), [("", 0), ('{"schema": 1', 0), ("{}\n", 1)])
def test_a_journal_torn_in_its_first_line_waits_for_nothing(
    folder: Path, evidence: Evidence, text: str, left: int
) -> None:
    journals = folder / "mlruns" / ".runs"
    journals.mkdir(parents=True)
    (journals / "t.jsonl").write_text(text, encoding="utf-8")
    assert len(check(evidence, folder, folder / "mlflow.db").left_over) == left


def test_a_scoring_belongs_to_the_rows_that_reach_it() -> None:
    evidence = Evidence(GRID)
    evidence.begun("t", (15, 30), "KILLED")
    for step in (11, 15, 21):
        evidence.scored("t", scoring(step))
    found = {(figure.row.steps, figure.step) for figure in evidence.figures}
    assert found == {(15, 11), (15, 15), (30, 11), (30, 21)}


@pytest.mark.parametrize(
    ("lines", "unfinished", "ends"),
    [
        ([], "KILLED", {"KILLED"}),
        ([["heard", 20]], "KILLED", {"KILLED", "FINISHED"}),
        ([["heard", 20]], "FAILED", {"FINISHED"}),
        ([["heard", 20], ["taken", 20]], "KILLED", {"FINISHED"}),
    ],
)
def test_how_a_row_may_have_ended(
    tmp_path: Path, lines: list[list[object]], unfinished: str, ends: set[str]
) -> None:
    noted = Witness(tmp_path / "noted")
    written = [["begun", "t", [20]], *lines]
    noted.path.write_text("".join(json.dumps(line) + "\n" for line in written) + '["he')
    evidence = Evidence(GRID)
    noted.testify(evidence, unfinished)
    assert evidence.ended == {Row("t", 20): ends}


# The killing


def test_a_command_killed_before_its_journal_leaves_no_files(tmp_path: Path) -> None:
    user = Bench(tmp_path)
    killed = user.run(
        *("run", "smoke"),
        program=altered(
            "import os\nfrom mnist_bench.tracking import recorder as logbook\n"
            "logbook.Journal = lambda header: os.kill(os.getpid(), 9)"
        ),
    )
    assert killed.status != 0
    assert not list((user.folder / JOURNALS).glob("*"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_eight_kills_of_real_trainings(tmp_path: Path) -> None:
    commands, workers = processes_at_once(
        carry_out,
        Batch("parent", Training(), kills=4, chance=1, folder=tmp_path / "parents"),
        Batch("worker", Training(), kills=4, chance=1, folder=tmp_path / "workers"),
    )
    assert (commands.findings.faults, workers.findings.faults) == ((), ())
    assert (commands.hits.total(), workers.hits.total()) == (4, 4)
    assert commands.findings.figures + workers.findings.figures > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_kills_with_a_stand_in(tmp_path: Path) -> None:
    training = Training("stand-in")
    of_commands = processes_at_once(
        carry_out,
        *(
            Batch("parent", training, kills=20, chance=chance, folder=tmp_path / f"{chance}")
            for chance in (1, 2)
        ),
    )
    (of_workers,) = processes_at_once(
        carry_out, Batch("worker", training, 62, chance=3, folder=tmp_path / "workers")
    )
    assert [each.findings.faults for each in (*of_commands, of_workers)] == [(), (), ()]
    assert [each.hits.total() for each in of_commands] == [20, 20]
    assert of_workers.hits.total() >= 60
    assert of_workers.findings.figures > 1_000
