"""The runs of one trajectory on their way to the store, as a worker's messages come in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import records
import stand_ins

from mnist_bench import paper, recording, scenario
from mnist_bench.errors import EXIT_BROKE, BenchError
from mnist_bench.machine import Machine
from mnist_bench.note import note_of
from mnist_bench.protocol import Done, Phase, Ready, RowEnd, Sample, Scored
from mnist_bench.recording import Recording, planned_run
from mnist_bench.result import Evaluation, RunResult

SCENARIO = paper.PROTOCOL.model_copy(update={"title": "Two rows", "steps": (250, 501)})
SHORT, LONG = "id-3-250", "id-3-501"


@dataclass
class Now:
    """The time, moved by hand."""

    seconds: float = 100.0


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    moment = Now()
    clock = SimpleNamespace(
        monotonic=lambda: moment.seconds, time=lambda: 1_800_000_000 + moment.seconds
    )
    monkeypatch.setattr(recording, "time", clock)
    return moment


@pytest.fixture
def mlflow() -> stand_ins.Store:
    return stand_ins.Store()


def planned(steps: int, **changes: int) -> RunResult:
    return planned_run(
        name="table-1",
        scenario=SCENARIO,
        source=stand_ins.SOURCE,
        machine=records.machine(),
        threads=2,
        steps=steps,
        seed=3,
        training_seed=changes.get("training_seed", 3),
        trajectory="a-trajectory",
    )


@pytest.fixture
def recorded(now: Now, tmp_path: Path) -> Recording:
    """Two runs that have not begun; the worker puts its files into a folder of their own."""
    runs = tuple(planned(steps) for steps in SCENARIO.steps)
    (tmp_path / "trajectory").mkdir()
    return Recording(runs, SCENARIO, records.machine(), tmp_path / "trajectory")


def scored(step: int) -> Scored:
    return Scored(
        evaluation=Evaluation(
            step=step,
            test_accuracy=0.97,
            validation_accuracy=0.96,
            train_loss=0.25,
            train_seconds=step * 0.02,
        )
    )


def row_end(steps: int) -> RowEnd:
    return RowEnd(
        steps=steps,
        seconds={"import": 4.0, "data": 0.5, "train": steps * 0.02, "other": 1.0},
        peak_rss_bytes=1_000 + steps,
        memory_method="VmHWM",
    )


def take_first_row(recorded: Recording) -> None:
    for step in (1, 101, 201, 250):
        recorded.take(scored(step))
    recorded.take(row_end(250))


def refuse(*calls: str):
    """A store's fault: it takes none of these calls."""

    def fault(call: str, run_id: str) -> None:
        if call in calls or f"{call} {run_id}" in calls:
            raise BenchError(f"{call} {run_id}: the disk is full", exit_status=EXIT_BROKE)

    return fault


def steps_of(run: RunResult) -> list[int]:
    return [evaluation.step for evaluation in run.evaluations]


# Before the first step


def test_a_planned_run_says_what_is_asked() -> None:
    run = planned(250, training_seed=17)
    assert (run.scenario, run.model, run.steps) == ("table-1", "paper-cnn", 250)
    assert (run.seed, run.training_seed, run.trajectory) == (3, 17, "a-trajectory")
    assert (run.dataset, run.dataset_digest) == ("mnist", "d" * 64)
    assert (run.precision, run.threads, run.device) == ("float32", 2, "cpu")
    assert (run.eval_first, run.eval_every) == (1, 100)
    assert run.machine_id == records.machine().machine_id
    assert run.target_accuracies == (0.984, 0.9888, 0.9918, 0.9928)
    assert run.hyperparameters == SCENARIO.hyperparameters
    assert run.status is run.failure is run.run_id is run.peak_rss_bytes is None
    assert run.evaluations == ()


def test_a_scenarios_own_targets_come_before_table_1s() -> None:
    own = SCENARIO.model_copy(update={"target_accuracies": (0.9,)})
    run = planned_run(
        name="own",
        scenario=own,
        source=stand_ins.SOURCE,
        machine=records.machine(),
        threads=1,
        steps=250,
        seed=0,
        training_seed=0,
        trajectory="t",
    )
    assert run.target_accuracies == (0.9,)


def test_each_row_is_a_run_of_its_own(recorded: Recording, mlflow: stand_ins.Store) -> None:
    recorded.begin(mlflow)
    assert mlflow.calls == [("start", SHORT, None), ("start", LONG, None)]
    assert [(run.steps, run.run_id, run.status) for run in recorded.runs] == [
        (250, SHORT, None),
        (501, LONG, None),
    ]
    assert mlflow.notes[SHORT] == note_of(planned(250), "Two rows")


# Scorings


def test_scorings_reach_the_rows_they_belong_to(
    recorded: Recording, mlflow: stand_ins.Store
) -> None:
    recorded.begin(mlflow)
    take_first_row(recorded)
    for step in (301, 401, 501):
        recorded.take(scored(step))
    recorded.take(row_end(501))
    # 250 is the short row's last state, and none of the long one's.
    assert [steps_of(run) for run in recorded.runs] == [
        [1, 101, 201, 250],
        [1, 101, 201, 301, 401, 501],
    ]
    assert mlflow.calls[2:] == [
        ("log", SHORT, [1, 101, 201, 250]),
        ("finish", SHORT, "finished"),
        ("log", LONG, [1, 101, 201, 301, 401, 501]),
        ("finish", LONG, "finished"),
    ]


def test_scorings_are_delivered_every_five_seconds_at_most(
    now: Now, recorded: Recording, mlflow: stand_ins.Store
) -> None:
    recorded.begin(mlflow)
    for seconds, step in ((104.9, 1), (105, 101), (109.9, 201), (110, 250), (110.1, 301)):
        now.seconds = seconds
        recorded.take(scored(step))
    assert mlflow.calls[2:] == [
        ("log", SHORT, [1, 101]),
        ("log", LONG, [1, 101]),
        ("log", SHORT, [201, 250]),
        ("log", LONG, [201]),
    ]
    recorded.close("killed", "interrupted")
    assert ("log", LONG, [301]) in mlflow.calls
    # Under the time at which they were heard of, not that of their delivery.
    heard = [1_800_000_104_900, 1_800_000_105_000]
    assert mlflow.heard_at_ms[:4] == pytest.approx(heard * 2, abs=1)


def test_scorings_before_the_store_is_open_are_kept(
    now: Now, recorded: Recording, mlflow: stand_ins.Store
) -> None:
    now.seconds += 60
    recorded.take(scored(1))
    recorded.begin(mlflow)
    recorded.take(scored(101))
    recorded.close("killed", "interrupted")
    assert [steps for call, _, steps in mlflow.calls if call == "log"] == [[1, 101], [1, 101]]


# The end of a row


def test_a_finished_row(recorded: Recording, mlflow: stand_ins.Store) -> None:
    recorded.begin(mlflow)
    recorded.take(Phase(name="import", seconds=3.75))
    take_first_row(recorded)
    (finished,) = mlflow.finished
    assert finished.run == recorded.runs[0]
    assert (finished.run.status, finished.run.failure) == ("finished", None)
    assert finished.run.seconds == {"import": 4.0, "data": 0.5, "train": 5.0, "other": 1.0}
    assert (finished.run.peak_rss_bytes, finished.run.memory_method) == (1_250, "VmHWM")
    assert finished.run.final_test_accuracy == 0.97
    assert finished.note == note_of(finished.run, "Two rows")
    assert "finished" in finished.note
    assert recorded.runs[1].status is None


def test_its_files(recorded: Recording, mlflow: stand_ins.Store, tmp_path: Path) -> None:
    (tmp_path / "trajectory" / "worker.log").write_bytes(b"a log")
    (tmp_path / "trajectory" / "250").mkdir()
    (tmp_path / "trajectory" / "250" / "predictions.npz").write_bytes(b"predictions")
    recorded.begin(mlflow)
    take_first_row(recorded)
    (finished,) = mlflow.finished
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
    assert Machine.model_validate_json(finished.files["machine.json"]) == records.machine()
    copy = tmp_path / "copy.toml"
    copy.write_bytes(finished.files["scenario.toml"])
    assert scenario.read(copy) == SCENARIO


def test_messages_without_figures_change_nothing(
    recorded: Recording, mlflow: stand_ins.Store
) -> None:
    recorded.begin(mlflow)
    runs, calls = recorded.runs, list(mlflow.calls)
    for message in (Ready(), Sample(step=100, train_seconds=2.0), Done()):
        recorded.take(message)
    assert (recorded.runs, mlflow.calls) == (runs, calls)


# An early end


def test_closing_ends_what_goes_on_and_leaves_the_rest(
    recorded: Recording, mlflow: stand_ins.Store
) -> None:
    recorded.begin(mlflow)
    recorded.take(Phase(name="import", seconds=4.0))
    recorded.take(Phase(name="data", seconds=0.5))
    take_first_row(recorded)
    recorded.take(scored(301))
    recorded.close("failed", "ValueError: no images")
    short, long = recorded.runs
    assert (short.status, short.failure) == ("finished", None)
    assert (long.status, long.failure) == ("failed", "ValueError: no images")
    assert steps_of(long) == [1, 101, 201, 301]
    assert long.seconds == pytest.approx({"import": 4, "data": 0.5, "train": 301 * 0.02})
    assert long.peak_rss_bytes is long.memory_method is None
    assert [call for call in mlflow.calls if call[0] == "finish"] == [
        ("finish", SHORT, "finished"),
        ("finish", LONG, "failed"),
    ]
    assert "ValueError: no images" in mlflow.finished[1].note


def test_closing_twice_ends_nothing_twice(recorded: Recording, mlflow: stand_ins.Store) -> None:
    recorded.begin(mlflow)
    recorded.close("killed", "interrupted")
    recorded.close("failed", "another reason")
    assert [run.status for run in recorded.runs] == ["killed", "killed"]
    assert [run.failure for run in recorded.runs] == ["interrupted", "interrupted"]
    assert len(mlflow.finished) == 2


def test_closing_before_the_first_scoring(recorded: Recording, mlflow: stand_ins.Store) -> None:
    recorded.begin(mlflow)
    recorded.take(Phase(name="import", seconds=4.0))
    recorded.close("killed", "interrupted")
    for run in recorded.runs:
        assert run.seconds == {"import": 4.0}
        assert run.train_seconds_total is run.max_test_accuracy is None


def test_closing_without_a_store(recorded: Recording, tmp_path: Path) -> None:
    recorded.close("failed", "the store can't be opened")
    assert [run.status for run in recorded.runs] == ["failed", "failed"]
    assert [run.run_id for run in recorded.runs] == [None, None]
    assert list((tmp_path / "trajectory").iterdir()) == []


@pytest.mark.parametrize("spelling", ["{}", "[Errno 28] No space left on device: '{}/a/file'"])
def test_a_reason_names_no_home_folder(
    recorded: Recording, mlflow: stand_ins.Store, home: Path, spelling: str
) -> None:
    recorded.begin(mlflow)
    recorded.close("failed", spelling.format(home))
    assert [run.failure for run in recorded.runs] == [spelling.format("~")] * 2
    for finished in mlflow.finished:
        assert str(home) not in finished.note
        assert str(home).encode() not in finished.files["result.json"]


# A store that refuses


def test_runs_that_were_begun_are_ended_where_another_could_not_begin(
    recorded: Recording, mlflow: stand_ins.Store
) -> None:
    mlflow.fault = refuse(f"start {LONG}")
    with pytest.raises(BenchError, match="the disk is full"):
        recorded.begin(mlflow)
    recorded.close("failed", "the disk is full")
    assert mlflow.calls == [("start", SHORT, None), ("finish", SHORT, "failed")]
    assert [run.status for run in recorded.runs] == ["failed", "failed"]


def test_a_finished_run_that_was_refused_is_offered_again_as_it_is(
    recorded: Recording, mlflow: stand_ins.Store
) -> None:
    recorded.begin(mlflow)
    mlflow.fault = refuse("log")
    with pytest.raises(BenchError, match="the disk is full"):
        take_first_row(recorded)
    mlflow.fault = refuse()
    recorded.close("failed", "the disk was full")
    assert mlflow.calls[2:] == [
        ("finish", SHORT, "finished"),  # it has ended, whatever became of its curve
        ("log", SHORT, [1, 101, 201, 250]),
        ("finish", SHORT, "finished"),
        ("log", LONG, [1, 101, 201]),
        ("finish", LONG, "failed"),
    ]
    assert recorded.runs[0].failure is None


def test_every_run_is_tried_and_the_first_refusal_told(
    recorded: Recording, mlflow: stand_ins.Store
) -> None:
    recorded.begin(mlflow)
    mlflow.fault = refuse(f"finish {SHORT}")
    with pytest.raises(BenchError, match=f"finish {SHORT}: the disk is full"):
        recorded.close("killed", "interrupted")
    assert mlflow.calls[2:] == [("finish", LONG, "killed")]
    mlflow.fault = refuse("finish")
    with pytest.raises(BenchError, match=f"finish {SHORT}"):
        recorded.close("killed", "interrupted")
