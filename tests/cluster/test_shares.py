"""Training of shares on one machine: waiting for other machines and unreachable servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field

import factories
import fakes
import pytest
from factories import shared_plan

from mnist_bench.cluster import shares
from mnist_bench.cluster.optuna_queue import Counts
from mnist_bench.cluster.shared_plan import SharedPlan
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.runner.work_context import WorkContext
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution

DONE = Counts(3, 0, 0, ())
ONE_RUNNING = Counts(2, 1, 0, ())
UNREACHABLE = BenchError("the database is away", exit_status=EXIT_FAILURE)


@dataclass
class FakeQueue:
    """Fake queue that gives these counts or errors, then a completed plan."""

    answers: Iterator[Counts | BenchError]
    plan: SharedPlan = field(
        default_factory=lambda: shared_plan(scenario=paper.PROTOCOL.to_toml(), name="table-1")
    )

    def refresh(self) -> Counts:
        answer = next(self.answers, DONE)
        if isinstance(answer, BenchError):
            raise answer
        return answer


@pytest.fixture
def messages() -> list[str]:
    return []


def work_context(messages: list[str]) -> WorkContext:
    return WorkContext(
        machine=factories.machine(), source=factories.SOURCE, execution=Execution(threads=2),
        store=fakes.Store(), address=factories.ADDRESS, exclusive=True,
        watch=lambda _: nullcontext(), log=messages.append,
    )  # fmt: skip


def outcome_of(messages: list[str], *answers: Counts | BenchError) -> shares.Outcome:
    return shares.run_shares(FakeQueue(iter(answers)), work_context(messages))


def test_completed_plan_does_not_wait(sleeps: list[float], messages: list[str]) -> None:
    assert outcome_of(messages).exit_status == 0
    assert (sleeps, messages) == ([], [])


def test_shares_running_elsewhere_are_waited_for(sleeps: list[float], messages: list[str]) -> None:
    assert outcome_of(messages, *[ONE_RUNNING] * 3).exit_status == 0
    assert sleeps == [5.0] * 3
    assert messages == ["waiting for 1 training running elsewhere; Ctrl-C stops"]


def test_server_unreachable_for_ten_minutes_is_retried(
    sleeps: list[float], messages: list[str]
) -> None:
    outcome = outcome_of(messages, *[UNREACHABLE] * 120)
    assert (outcome.exit_status, outcome.error) == (0, None)
    assert sum(sleeps) == 600
    assert messages == ["the database is away; retrying, Ctrl-C stops"]


def test_server_unreachable_for_longer_is_given_up(
    sleeps: list[float], messages: list[str]
) -> None:
    outcome = outcome_of(messages, *[UNREACHABLE] * 500)
    assert (outcome.exit_status, outcome.error) == (EXIT_FAILURE, UNREACHABLE)
    assert sum(sleeps) == 600


def test_an_answer_restarts_the_ten_minutes(sleeps: list[float], messages: list[str]) -> None:
    outcome = outcome_of(messages, *[UNREACHABLE] * 100, ONE_RUNNING, *[UNREACHABLE] * 100)
    assert outcome.exit_status == 0
    assert len(sleeps) == 201


def test_failed_shares_are_reported(sleeps: list[float], messages: list[str]) -> None:
    share = shares.Share(seed=7, rows=(10,))
    outcome = outcome_of(messages, Counts(2, 0, 0, ((share, "no luck"),)))
    assert outcome.exit_status == EXIT_FAILURE
    assert str(outcome.error) == (
        "1 of 3 trainings failed, the first (seed 7): no luck; repeat the same `mnist-bench run` "
        "to retry them"
    )
