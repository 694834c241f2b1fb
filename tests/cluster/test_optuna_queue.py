"""Queue of a shared plan in a real storage: shares queued, trained, lost and queued again."""

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
from mnist_bench.cluster.optuna_queue import PlanQueue, ShareFailedError, ShareReleasedError
from mnist_bench.cluster.shared_plan import Share
from mnist_bench.core.errors import BenchError
from mnist_bench.core.signals import Terminated
from mnist_bench.tuning import heartbeat
from mnist_bench.tuning import storage as study_storage

SHARES = tuple(Share(seed=seed, rows=(10, 20)) for seed in range(3))


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{(tmp_path / 'optuna.db').as_posix()}"


@pytest.fixture
def queue(storage: str) -> PlanQueue:
    created = PlanQueue.create(shared_plan(), storage)
    assert created.add(SHARES) == 3
    return created


def counts(queue: PlanQueue) -> tuple[int, int, int, int]:
    found = queue.refresh()
    return found.done, found.running, found.waiting, len(found.failed)


def train_next(queue: PlanQueue, outcome: float | Exception = 0.5) -> list[Share]:
    """Train the next share with this outcome; return it, if there was one."""
    trained: list[Share] = []

    def train(share: Share) -> float:
        trained.append(share)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    queue.run_next("a machine", train)
    return trained


# Plans


def test_equal_plans_share_a_study() -> None:
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
def test_any_change_makes_another_plan(change: dict[str, Any]) -> None:
    assert shared_plan(**change).digest != shared_plan().digest


def test_tag_of_a_share() -> None:
    tags = [shared_plan().tag(share) for share in (*SHARES, Share(seed=0, rows=(10,)))]
    assert len(set(tags)) == 4
    assert tags[0] == f"{shared_plan().digest}-0-10-20"


# Queue


def test_shares_are_trained_in_order(queue: PlanQueue) -> None:
    trained = [train_next(queue) for _ in SHARES]
    assert trained == [[share] for share in SHARES]
    assert counts(queue) == (3, 0, 0, 0)


def test_empty_queue_trains_nothing(queue: PlanQueue) -> None:
    for _ in SHARES:
        train_next(queue)
    assert train_next(queue) == []
    assert counts(queue) == (3, 0, 0, 0)


def test_only_missing_shares_are_added(queue: PlanQueue) -> None:
    train_next(queue)
    more = Share(seed=3, rows=(10, 20))
    assert queue.add((*SHARES, more)) == 1
    assert counts(queue) == (1, 0, 3, 0)


def test_another_process_opens_the_same_plan(queue: PlanQueue, storage: str) -> None:
    queue.store_run_id = "a-run"
    again = PlanQueue.open(shared_plan().study, storage)
    assert (again.plan, again.store_run_id) == (shared_plan(), "a-run")
    assert train_next(again) == [SHARES[0]]
    assert counts(queue) == (1, 0, 2, 0)


def test_plans_among_studies_oldest_first(storage: str) -> None:
    PlanQueue.create(shared_plan(name="zebra"), storage)
    optuna.create_study(storage=storage, study_name="somebody's")
    PlanQueue.create(shared_plan(name="ant"), storage)
    known = study_storage.attributes(storage)
    plans = [name for name, attributes in known.items() if optuna_queue.is_plan(attributes)]
    assert plans == [shared_plan(name="zebra").study, shared_plan(name="ant").study]


def test_a_plan_of_another_version(storage: str) -> None:
    created = optuna.create_study(storage=storage, study_name="older")
    created.set_user_attr("mnist-bench plan", '{"schema": 7}')
    with pytest.raises(BenchError, match="of another version of mnist-bench; upgrade"):
        PlanQueue.open("older", storage)


def test_share_queued_twice_is_trained_once(queue: PlanQueue) -> None:
    queue._queue(SHARES)
    trained = [train_next(queue) for _ in range(6)]
    assert [share for each in trained for share in each] == list(SHARES)
    assert counts(queue) == (3, 0, 0, 0)


def test_older_of_two_running_twins_counts(queue: PlanQueue, storage: str) -> None:
    other = PlanQueue.open(shared_plan().study, storage)
    queue._queue(SHARES)
    twins: list[list[Share]] = []

    def train(_share: Share) -> float:
        twins.extend(train_next(other) for _ in range(5))
        return 0.5

    queue.run_next("a machine", train)
    assert twins == [[SHARES[1]], [SHARES[2]], [], [], []]
    assert counts(queue) == (3, 0, 0, 0)


# Released, failed and lost shares


def test_released_share_is_queued_again(queue: PlanQueue) -> None:
    assert train_next(queue, ShareReleasedError()) == [SHARES[0]]
    assert counts(queue) == (0, 0, 3, 0)
    trained = [train_next(queue) for _ in range(3)]
    assert trained == [[SHARES[1]], [SHARES[2]], [SHARES[0]]]


def test_share_is_queued_again_after_an_error(queue: PlanQueue) -> None:
    with pytest.raises(BenchError, match="MLflow is gone"):
        train_next(queue, BenchError("MLflow is gone"))
    assert counts(queue) == (0, 0, 3, 0)


@pytest.mark.parametrize("signal", [KeyboardInterrupt, Terminated])
def test_interrupted_share_is_queued_again(queue: PlanQueue, signal: type[BaseException]) -> None:
    def train(_share: Share) -> float:
        raise signal

    with pytest.raises(signal):
        queue.run_next("a machine", train)
    assert counts(queue) == (0, 0, 3, 0)


def test_failed_share_is_retried_once(queue: PlanQueue) -> None:
    for _ in range(2):
        for _ in SHARES:
            train_next(queue, ShareFailedError("no memory"))
        counts_after = counts(queue)
    assert counts_after == (0, 0, 0, 3)
    assert queue.refresh().failed[0] == (SHARES[0], "no memory")
    assert queue.add(SHARES[:1]) == 1
    assert counts(queue) == (0, 0, 1, 2)
    assert train_next(queue) == [SHARES[0]]
    assert counts(queue) == (1, 0, 0, 2)


WORK = """
import sys
from mnist_bench.tuning import heartbeat
heartbeat.HEARTBEAT_SECONDS = 1
from mnist_bench.cluster.optuna_queue import PlanQueue
queue = PlanQueue.open(*sys.argv[1:])
queue.run_next("a machine", lambda share: print(share.seed, flush=True) or input() or 0.5)
"""


def test_share_of_a_killed_process_is_queued_again(
    queue: PlanQueue, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 1)
    other = PlanQueue.open(shared_plan().study, storage)
    command = [sys.executable, "-c", WORK, shared_plan().study, storage]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"0\n"
        assert counts(other) == (0, 1, 2, 0)
        process.kill()
    wait_until(lambda: counts(other) == (0, 0, 3, 0), 60)


def test_trial_without_a_first_heartbeat_is_failed(queue: PlanQueue, storage: str) -> None:
    now = 100.0
    optuna_study = optuna.load_study(study_name=shared_plan().study, storage=storage)
    watching = PlanQueue(
        optuna_study, shared_plan(), storage, unowned=heartbeat.UnownedTrials(lambda: now)
    )
    optuna_study.ask()
    assert counts(watching) == (0, 1, 2, 0)
    now += 61
    assert counts(watching) == (0, 0, 3, 0)


def test_slow_training_with_heartbeats_is_not_stale(queue: PlanQueue, storage: str) -> None:
    now = 100.0
    optuna_study = optuna.load_study(study_name=shared_plan().study, storage=storage)
    watching = PlanQueue(
        optuna_study, shared_plan(), storage, unowned=heartbeat.UnownedTrials(lambda: now)
    )
    observed: list[tuple[int, int, int, int]] = []

    def train(_share: Share) -> float:
        nonlocal now
        for _ in range(2):
            observed.append(counts(watching))
            now += 1_000
        return 0.5

    queue.run_next("a machine", train)
    assert observed == [(0, 1, 2, 0)] * 2


def test_training_that_was_failed_as_stale_ends_quietly(queue: PlanQueue, storage: str) -> None:
    """Like a process that was stopped for a while, whose trial others failed."""
    others = optuna.load_study(study_name=shared_plan().study, storage=storage)

    def train(_share: Share) -> float:
        others.tell(0, state=optuna.trial.TrialState.FAIL)
        return 0.5

    queue.run_next("a machine", train)
    assert counts(queue) == (0, 0, 3, 0), "its share is queued again"


@dataclass
class Unreachable:
    """A call that fails a few times with a database error."""

    call: Callable[..., Any]
    times: int

    def __call__(self, *args: Any, **options: Any) -> Any:
        if self.times:
            self.times -= 1
            raise OperationalError("UPDATE", {}, Exception("server closed the connection"))
        return self.call(*args, **options)


@pytest.mark.parametrize("outcome", [0.5, ShareReleasedError()])
def test_result_that_could_not_be_reported_is_reported_again(
    queue: PlanQueue, monkeypatch: pytest.MonkeyPatch, outcome: float | Exception
) -> None:
    def train(_share: Share) -> float:
        tell = queue._study._storage.set_trial_state_values
        monkeypatch.setattr(queue._study._storage, "set_trial_state_values", Unreachable(tell, 1))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    queue.run_next("a machine", train)
    expected = (0, 0, 3, 0) if isinstance(outcome, Exception) else (1, 0, 2, 0)
    assert counts(queue) == expected


def test_unreachable_database_is_a_one_line_error(
    queue: PlanQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(_share: Share) -> float:
        tell = queue._study._storage.set_trial_state_values
        monkeypatch.setattr(queue._study._storage, "set_trial_state_values", Unreachable(tell, 9))
        return 0.5

    with pytest.raises(BenchError, match=r"optuna.db can't be used: .*server closed"):
        queue.run_next("a machine", train)
    assert counts(queue)[:2] == (0, 1), "it gets stale without heartbeats"


def test_failed_heartbeat_does_not_end_the_others(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = heartbeat.HeartbeatStorage(storage)
    record = Unreachable(optuna.storages.RDBStorage.record_heartbeat, 1)

    def send(of: optuna.storages.RDBStorage, trial_id: int) -> None:
        record(of, trial_id)

    monkeypatch.setattr(optuna.storages.RDBStorage, "record_heartbeat", send)
    number = created.create_new_trial(
        created.create_new_study([optuna.study.StudyDirection.MAXIMIZE])
    )
    created.record_heartbeat(number)
    assert record.times == 0
    created.record_heartbeat(number)


def test_connections_have_timeouts() -> None:
    options = heartbeat._engine_options("postgresql://me@board/optuna")
    assert options["pool_pre_ping"]
    assert options["connect_args"]["connect_timeout"] == 10
    assert options["connect_args"]["tcp_user_timeout"] == 60_000
    assert heartbeat._engine_options("sqlite:///optuna.db") == {}
    assert heartbeat._engine_options("oracle://me@board/x")["connect_args"] == {}
