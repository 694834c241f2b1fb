"""A plan that machines share, in a real storage: its parts queued, taken, lost and put back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from factories import shared_plan
from program import wait_until
from sqlalchemy.exc import OperationalError

from mnist_bench.cluster import optuna_queue
from mnist_bench.cluster.optuna_queue import FailedError, LeftError, PlanQueue
from mnist_bench.cluster.shared_plan import Share
from mnist_bench.core.errors import BenchError
from mnist_bench.core.signals import Terminated
from mnist_bench.tuning import heartbeat
from mnist_bench.tuning import storage as study_storage

PARTS = tuple(Share(seed=seed, rows=(10, 20)) for seed in range(3))


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{(tmp_path / 'optuna.db').as_posix()}"


@pytest.fixture
def study(storage: str) -> PlanQueue:
    made = PlanQueue.begun(shared_plan(), storage)
    assert made.add(PARTS) == 3
    return made


def counts(study: PlanQueue) -> tuple[int, int, int, int]:
    found = study.refreshed()
    return found.done, found.running, found.waiting, len(found.failed)


def trained(study: PlanQueue, outcome: float | Exception = 0.5) -> list[Share]:
    """The part that was taken, if one was; its training comes to this."""
    taken: list[Share] = []

    def train(part: Share) -> float:
        taken.append(part)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    study.work("a machine", train)
    return taken


# What it asks


def test_plans_that_ask_the_same_are_one() -> None:
    assert shared_plan().study == shared_plan().study
    assert shared_plan().study.startswith("plan-mine-")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"scenario": "title = 'other'\n"},
        {"dataset_digest": "e" * 64},
        {"experiment": "other"},
        {"threads": 1},
        {"precision": "bfloat16"},
        {"device": "gpu"},
        {"independent": True},
    ],
)
def test_whatever_is_asked_otherwise_is_another_plan(change: dict[str, Any]) -> None:
    assert shared_plan(**change).digest != shared_plan().digest


def test_a_part_is_known_by_its_seed_and_rows() -> None:
    tags = [shared_plan().tag(part) for part in (*PARTS, Share(seed=0, rows=(10,)))]
    assert len(set(tags)) == 4
    assert tags[0] == f"{shared_plan().digest}-0-10-20"


# Queued and taken


def test_parts_are_taken_one_by_one_and_are_done_then(study: PlanQueue) -> None:
    taken = [trained(study) for _ in PARTS]
    assert taken == [[part] for part in PARTS]
    assert counts(study) == (3, 0, 0, 0)


def test_where_the_queue_is_empty_nothing_is_trained(study: PlanQueue) -> None:
    for _ in PARTS:
        trained(study)
    assert trained(study) == []
    assert counts(study) == (3, 0, 0, 0)


def test_only_what_is_missing_is_added(study: PlanQueue) -> None:
    trained(study)
    more = Share(seed=3, rows=(10, 20))
    assert study.add((*PARTS, more)) == 1
    assert counts(study) == (1, 0, 3, 0)


def test_what_another_process_opens_is_the_same_plan(study: PlanQueue, storage: str) -> None:
    study.board = "a-run"
    again = PlanQueue.opened(shared_plan().study, storage)
    assert (again.plan, again.board) == (shared_plan(), "a-run")
    assert trained(again) == [PARTS[0]]
    assert counts(study) == (1, 0, 2, 0)


def test_of_all_studies_those_that_are_plans_the_oldest_first(storage: str) -> None:
    PlanQueue.begun(shared_plan(name="zebra"), storage)
    optuna.create_study(storage=storage, study_name="somebody's")
    PlanQueue.begun(shared_plan(name="ant"), storage)
    known = study_storage.attributes(storage)
    plans = [name for name, attributes in known.items() if optuna_queue.is_plan(attributes)]
    assert plans == [shared_plan(name="zebra").study, shared_plan(name="ant").study]


def test_a_plan_of_another_version(storage: str) -> None:
    made = optuna.create_study(storage=storage, study_name="elder")
    made.set_user_attr("mnist-bench plan", '{"schema": 7}')
    with pytest.raises(BenchError, match="of another version of mnist-bench; upgrade"):
        PlanQueue.opened("elder", storage)


def test_what_two_queued_at_once_is_trained_once(study: PlanQueue) -> None:
    study._queue(PARTS)
    taken = [trained(study) for _ in range(6)]
    assert [part for each in taken for part in each] == list(PARTS)
    assert counts(study) == (3, 0, 0, 0)


def test_of_twins_in_work_at_once_the_elder_stands(study: PlanQueue, storage: str) -> None:
    other = PlanQueue.opened(shared_plan().study, storage)
    study._queue(PARTS)
    twins: list[list[Share]] = []

    def train(_part: Share) -> float:
        twins.extend(trained(other) for _ in range(5))
        return 0.5

    study.work("a machine", train)
    assert twins == [[PARTS[1]], [PARTS[2]], [], [], []]
    assert counts(study) == (3, 0, 0, 0)


# Left, failed, lost


def test_what_is_left_is_put_back(study: PlanQueue) -> None:
    assert trained(study, LeftError()) == [PARTS[0]]
    assert counts(study) == (0, 0, 3, 0)
    taken = [trained(study) for _ in range(3)]
    assert taken == [[PARTS[1]], [PARTS[2]], [PARTS[0]]]


def test_what_breaks_is_told_and_put_back(study: PlanQueue) -> None:
    with pytest.raises(BenchError, match="MLflow is gone"):
        trained(study, BenchError("MLflow is gone"))
    assert counts(study) == (0, 0, 3, 0)


@pytest.mark.parametrize("signal", [KeyboardInterrupt, Terminated])
def test_what_the_user_ends_is_put_back(study: PlanQueue, signal: type[BaseException]) -> None:
    def train(_part: Share) -> float:
        raise signal

    with pytest.raises(signal):
        study.work("a machine", train)
    assert counts(study) == (0, 0, 3, 0)


def test_what_fails_is_tried_again_once(study: PlanQueue) -> None:
    for _ in range(2):
        for _ in PARTS:
            trained(study, FailedError("no memory"))
        left = counts(study)
    assert left == (0, 0, 0, 3)
    assert study.refreshed().failed[0] == (PARTS[0], "no memory")
    assert study.add(PARTS[:1]) == 1
    assert counts(study) == (0, 0, 1, 2)
    assert trained(study) == [PARTS[0]]
    assert counts(study) == (1, 0, 0, 2)


WORK = """
import sys
from mnist_bench.tuning import heartbeat
beating.HEARTBEAT_SECONDS = 1
from mnist_bench.cluster.optuna_queue import PlanStudy
study = PlanStudy.opened(*sys.argv[1:])
study.work("a machine", lambda part: print(part.seed, flush=True) or input() or 0.5)
"""


def test_what_a_killed_process_had_in_work_is_put_back(
    study: PlanQueue, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 1)
    other = PlanQueue.opened(shared_plan().study, storage)
    command = [sys.executable, "-c", WORK, shared_plan().study, storage]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"0\n"
        assert counts(other) == (0, 1, 2, 0)
        process.kill()
    wait_until(lambda: counts(other) == (0, 0, 3, 0), 60)


def test_a_process_that_died_before_its_first_heartbeat_is_missed_too(
    study: PlanQueue, storage: str
) -> None:
    now = 100.0
    opened = optuna.load_study(study_name=shared_plan().study, storage=storage)
    watching = PlanQueue(opened, shared_plan(), storage, nameless=heartbeat.Nameless(lambda: now))
    opened.ask()
    assert counts(watching) == (0, 1, 2, 0)
    now += 61
    assert counts(watching) == (0, 0, 3, 0)


def test_who_works_slowly_and_beats_is_not_taken_for_dead(study: PlanQueue, storage: str) -> None:
    now = 100.0
    opened = optuna.load_study(study_name=shared_plan().study, storage=storage)
    watching = PlanQueue(opened, shared_plan(), storage, nameless=heartbeat.Nameless(lambda: now))
    seen: list[tuple[int, int, int, int]] = []

    def train(_part: Share) -> float:
        nonlocal now
        for _ in range(2):
            seen.append(counts(watching))
            now += 1_000
        return 0.5

    study.work("a machine", train)
    assert seen == [(0, 1, 2, 0)] * 2


def test_who_was_taken_for_dead_ends_quietly(study: PlanQueue, storage: str) -> None:
    """As a process that was stopped for a while: others had failed its trial."""
    others = optuna.load_study(study_name=shared_plan().study, storage=storage)

    def train(_part: Share) -> float:
        others.tell(0, state=optuna.trial.TrialState.FAIL)
        return 0.5

    study.work("a machine", train)
    assert counts(study) == (0, 0, 3, 0), "its part is in the queue again"


@dataclass
class Gone:
    """A database that is gone for some calls."""

    call: Callable[..., Any]
    times: int

    def __call__(self, *args: Any, **options: Any) -> Any:
        if self.times:
            self.times -= 1
            raise OperationalError("UPDATE", {}, Exception("server closed the connection"))
        return self.call(*args, **options)


@pytest.mark.parametrize("outcome", [0.5, LeftError()])
def test_what_could_not_be_told_is_told_again(
    study: PlanQueue, monkeypatch: pytest.MonkeyPatch, outcome: float | Exception
) -> None:
    def train(_part: Share) -> float:
        tell = study._study._storage.set_trial_state_values
        monkeypatch.setattr(study._study._storage, "set_trial_state_values", Gone(tell, 1))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    study.work("a machine", train)
    expected = (0, 0, 3, 0) if isinstance(outcome, Exception) else (1, 0, 2, 0)
    assert counts(study) == expected


def test_a_database_that_stays_away_is_one_line(
    study: PlanQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(_part: Share) -> float:
        tell = study._study._storage.set_trial_state_values
        monkeypatch.setattr(study._study._storage, "set_trial_state_values", Gone(tell, 9))
        return 0.5

    with pytest.raises(BenchError, match=r"optuna.db can't be used: .*server closed"):
        study.work("a machine", train)
    assert counts(study)[:2] == (0, 1), "it is missed when its heart has not beaten for long enough"


def test_a_heartbeat_that_fails_does_not_end_the_others(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = heartbeat.HeartbeatStorage(storage)
    beats = Gone(optuna.storages.RDBStorage.record_heartbeat, 1)

    def beat(of: optuna.storages.RDBStorage, trial_id: int) -> None:
        beats(of, trial_id)

    monkeypatch.setattr(optuna.storages.RDBStorage, "record_heartbeat", beat)
    number = made.create_new_trial(made.create_new_study([optuna.study.StudyDirection.MAXIMIZE]))
    made.record_heartbeat(number)
    assert beats.times == 0
    made.record_heartbeat(number)


def test_a_server_is_not_waited_for_without_end() -> None:
    options = heartbeat._engine_options("postgresql://me@board/optuna")
    assert options["pool_pre_ping"]
    assert options["connect_args"]["connect_timeout"] == 10
    assert options["connect_args"]["tcp_user_timeout"] == 60_000
    assert heartbeat._engine_options("sqlite:///optuna.db") == {}
    assert heartbeat._engine_options("oracle://me@board/x")["connect_args"] == {}
