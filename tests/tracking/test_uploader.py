"""A recording's way into MLflow: when, what, again, and nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import factories
import fakes
import pytest
from factories import (
    TWO_ROWS,
    heard_at_ms,
    planned_row,
    row_end_message,
    sample_message,
    scored_message,
)

from mnist_bench.core import process_identity
from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.protocol import Message
from mnist_bench.results.run import RunResult
from mnist_bench.scenarios import scenario
from mnist_bench.tracking import uploader
from mnist_bench.tracking.run_builder import RunBuilder
from mnist_bench.tracking.run_notes import run_description
from mnist_bench.tracking.uploader import RecordingContext, Uploader

SHORT, LONG = "id-3-250", "id-3-501"


@dataclass
class Now:
    """The time, moved by hand."""

    seconds: float = 100.0


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    moment = Now()
    clock = SimpleNamespace(monotonic=lambda: moment.seconds)
    monkeypatch.setattr(uploader, "time", clock)
    return moment


@pytest.fixture
def mlflow() -> fakes.Store:
    return fakes.Store()


@pytest.fixture
def recorded() -> RunBuilder:
    return RunBuilder(tuple(planned_row(steps) for steps in TWO_ROWS.steps))


@pytest.fixture
def made() -> list[tuple[int, str]]:
    return []


@pytest.fixture
def way(
    now: Now,
    mlflow: fakes.Store,
    recorded: RunBuilder,
    made: list[tuple[int, str]],
    tmp_path: Path,
) -> Uploader:
    papers = RecordingContext(
        TWO_ROWS,
        factories.machine(),
        process_identity.current_process("a-machine"),
        tmp_path,
        begun_at_ms=heard_at_ms(0),
    )
    return Uploader(recorded, papers, mlflow, lambda *one: made.append(one))


def hear(recorded: RunBuilder, *messages: Message) -> None:
    for message in messages:
        step = getattr(message, "step", 0)
        recorded.take(message, heard_at_ms(getattr(message, "steps", step)))


def hear_first_row(recorded: RunBuilder) -> None:
    for step in (1, 101, 201, 250):
        recorded.take(scored_message(step), heard_at_ms(step))
    recorded.take(row_end_message(250), heard_at_ms(250))


def refuse(*calls: str) -> Callable[[str, str], None]:
    """A store's fault: it takes none of these calls."""

    def fault(call: str, run_id: str) -> None:
        if call in calls or f"{call} {run_id}" in calls:
            raise BenchError(f"{call} {run_id}: the disk is full", exit_status=EXIT_BROKE)

    return fault


def test_each_row_is_a_run_of_its_own(
    way: Uploader, mlflow: fakes.Store, recorded: RunBuilder, made: list[tuple[int, str]]
) -> None:
    way.deliver()
    assert mlflow.calls == [("start", SHORT, None), ("start", LONG, None)]
    assert made == [(250, SHORT), (501, LONG)]
    assert [run.run_id for run in recorded.runs] == [SHORT, LONG]
    assert mlflow.notes[SHORT] == run_description(planned_row(250), "Two rows")
    assert not way.is_complete


def test_a_finished_row(
    way: Uploader, mlflow: fakes.Store, recorded: RunBuilder, tmp_path: Path
) -> None:
    (tmp_path / "worker.log").write_bytes(b"a log")
    (tmp_path / "250").mkdir()
    (tmp_path / "250" / "predictions.npz").write_bytes(b"predictions")
    way.deliver()
    hear_first_row(recorded)
    way.deliver()
    (finished,) = mlflow.finished
    assert (finished.run, finished.at_ms) == (recorded.runs[0], heard_at_ms(250))
    assert finished.note == run_description(finished.run, "Two rows")
    assert set(finished.files) == {
        "result.json",
        "scenario.toml",
        "machine.json",
        "worker.log",
        "predictions.npz",
    }
    assert finished.files["predictions.npz"] == b"predictions"
    assert finished.files["worker.log"] == b"a log"
    assert RunResult.model_validate_json(finished.files["result.json"]) == finished.run
    assert Machine.model_validate_json(finished.files["machine.json"]) == factories.machine()
    copy = tmp_path / "copy.toml"
    copy.write_bytes(finished.files["scenario.toml"])
    assert scenario.read(copy) == TWO_ROWS
    assert not way.is_complete


def test_scorings_and_memory_are_told_once(
    way: Uploader, mlflow: fakes.Store, recorded: RunBuilder
) -> None:
    way.deliver()
    hear_first_row(recorded)
    recorded.take(sample_message(301), heard_at_ms(301))
    way.deliver()
    recorded.take(scored_message(301), heard_at_ms(301))
    recorded.take(row_end_message(501), heard_at_ms(501))
    way.deliver()
    way.deliver()
    assert mlflow.calls[2:] == [
        ("log", SHORT, [1, 101, 201, 250]),
        ("finish", SHORT, "finished"),
        ("log", LONG, [1, 101, 201]),
        ("log", LONG, [301]),
        ("finish", LONG, "finished"),
    ]
    assert mlflow.heard_at_ms == [
        heard_at_ms(step) for step in (1, 101, 201, 250, 1, 101, 201, 301)
    ]
    assert mlflow.rss_bytes == {301: 7_000}
    assert way.is_complete


def test_it_offers_every_five_seconds_at_most(
    now: Now, way: Uploader, mlflow: fakes.Store, recorded: RunBuilder
) -> None:
    way.deliver()
    for seconds, step in ((104.9, 1), (105, 101), (109.9, 201), (110, 301)):
        now.seconds = seconds
        recorded.take(scored_message(step), heard_at_ms(step))
        way.offer()
    logged = [call for call in mlflow.calls if call[:2] == ("log", LONG)]
    assert logged == [("log", LONG, [1, 101]), ("log", LONG, [201, 301])]


def test_what_is_worth_it_does_not_wait_for_the_next_batch(
    way: Uploader, mlflow: fakes.Store, recorded: RunBuilder
) -> None:
    way.deliver()
    hear_first_row(recorded)
    way.offer()
    assert mlflow.finished == []
    way.offer(at_once=True)
    assert [finished.run.steps for finished in mlflow.finished] == [250]


# A store that refuses


def test_a_store_that_refused_is_left_alone_for_a_while(
    now: Now, way: Uploader, mlflow: fakes.Store, recorded: RunBuilder
) -> None:
    attempts: list[float] = []

    def count(call: str, run_id: str) -> None:
        attempts.append(now.seconds)
        refuse(call)(call, run_id)

    way.deliver()
    mlflow.fault = count
    hear_first_row(recorded)
    for seconds in (105, 120, 134.9, 135, 164.9):
        now.seconds = seconds
        way.offer(at_once=True)
    assert attempts == [105, 135]  # and each time only one call
    assert way.fault is not None
    assert "the disk is full" in way.fault.message
    mlflow.fault = refuse()
    now.seconds = 165
    way.offer()
    assert way.fault is None
    assert [finished.run.steps for finished in mlflow.finished] == [250]


@pytest.mark.parametrize("call", ["start", "log", "finish"])
def test_what_was_refused_is_offered_again_and_the_rest_once(
    way: Uploader, mlflow: fakes.Store, recorded: RunBuilder, call: str
) -> None:
    mlflow.fault = refuse(f"{call} {LONG}")
    hear_first_row(recorded)
    recorded.close("failed", "no images", heard_at_ms(300))
    way.deliver()
    assert not way.is_complete
    mlflow.fault = refuse()
    way.deliver()
    assert way.is_complete
    calls = [each[:2] for each in mlflow.calls]
    assert len(calls) == len(set(calls)) == 6
    assert mlflow.finished[0].run.failure is None
    assert [finished.run for finished in mlflow.finished] == list(recorded.runs)


def test_a_run_whose_making_failed_is_looked_for(
    way: Uploader, mlflow: fakes.Store, recorded: RunBuilder
) -> None:
    mlflow.fault = refuse(f"start {LONG}")
    way.deliver()
    assert [run.run_id for run in recorded.runs] == [SHORT, None]
    mlflow.fault = refuse()
    way.deliver()
    assert mlflow.calls == [("start", SHORT, None), ("find", LONG, None)]


# Parts of a plan that machines share


@dataclass
class Board(fakes.Store):
    """A store that other machines record on too.

    Attributes:
        known: Finished runs of the part, by id: their steps.
        comes: What another machine finishes in the same moment.
    """

    known: dict[str, int] = field(default_factory=dict)
    comes: dict[str, int] = field(default_factory=dict)

    def recorded_of(self, part: str) -> dict[str, int]:
        assert part == "a-part"
        return self.known

    def finish(self, run: RunResult, *rest: Any, **more: Any) -> None:
        super().finish(run, *rest, **more)
        if run.status == "finished" and run.run_id:
            self.known[run.run_id] = run.steps
        self.known |= self.comes

    def give_up(self, run_id: str, failure: str) -> None:
        self.calls.append(("give up", run_id, failure))
        del self.known[run_id]


def delivered(board: Board, tmp_path: Path) -> RunBuilder:
    """A part whose first row has finished."""
    runs = [planned_row(steps).model_copy(update={"part": "a-part"}) for steps in TWO_ROWS.steps]
    recording = RunBuilder(tuple(runs))
    papers = RecordingContext(
        TWO_ROWS,
        factories.machine(),
        process_identity.current_process("a-machine"),
        tmp_path,
        begun_at_ms=heard_at_ms(0),
    )
    way = Uploader(recording, papers, board, lambda *_: None)
    hear_first_row(recording)
    way.deliver()
    assert way.handed_over == [recording.runs[0]]
    return recording


def test_a_part_that_nobody_else_has_recorded_is_finished(tmp_path: Path) -> None:
    board = Board(known={"of-the-other-row": 501})
    assert delivered(board, tmp_path).runs[0].status == "finished"
    assert [call for call, _, _ in board.calls if call == "give up"] == []


def test_a_part_that_is_recorded_already_is_killed(tmp_path: Path) -> None:
    board = Board(known={"elsewhere": 250})
    run = delivered(board, tmp_path).runs[0]
    assert (run.status, run.failure) == ("killed", "recorded already, as run elsewhere")
    (finished,) = board.finished
    assert finished.run.status == "killed"
    assert "recorded already, as run elsewhere" in finished.note
    assert board.known == {"elsewhere": 250}


@pytest.mark.parametrize(
    ("other", "stays", "status"),
    [("another", "another", "killed"), ("zzz", SHORT, "finished")],
)
def test_of_two_that_end_at_once_both_leave_the_same_one(
    tmp_path: Path, other: str, stays: str, status: str
) -> None:
    board = Board(comes={other: 250})
    run = delivered(board, tmp_path).runs[0]
    assert run.status == status
    assert board.known == {stays: 250}
    (late,) = {other, SHORT} - {stays}
    assert ("give up", late, f"recorded already, as run {stays}") in board.calls
