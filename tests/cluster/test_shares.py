"""One machine's work on a shared plan: how long it waits for what does not answer."""

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
from mnist_bench.cluster.shares import Here
from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution

DONE = Counts(3, 0, 0, ())
ELSEWHERE = Counts(2, 1, 0, ())
AWAY = BenchError("the database is away", exit_status=EXIT_BROKE)


@dataclass
class Study:
    """A plan of which nothing is left, or that does not answer.

    Attributes:
        answers: What it says each time it is asked.
    """

    answers: Iterator[Counts | BenchError]
    plan: SharedPlan = field(
        default_factory=lambda: shared_plan(scenario=paper.PROTOCOL.to_toml(), name="table-1")
    )

    def refreshed(self) -> Counts:
        answer = next(self.answers, DONE)
        if isinstance(answer, BenchError):
            raise answer
        return answer


@pytest.fixture
def said() -> list[str]:
    return []


def here(said: list[str]) -> Here:
    return Here(
        machine=factories.machine(), source=factories.SOURCE, execution=Execution(threads=2),
        store=fakes.Store(), address=factories.ADDRESS, exclusive=True,
        watch=lambda _: nullcontext(), say=said.append,
    )  # fmt: skip


def worked(said: list[str], *answers: Counts | BenchError) -> shares.Outcome:
    return shares.run_shares(Study(iter(answers)), here(said))


def test_where_all_is_done_nothing_is_waited_for(slept: list[float], said: list[str]) -> None:
    assert worked(said).exit_status == 0
    assert (slept, said) == ([], [])


def test_what_others_have_in_work_is_waited_for(slept: list[float], said: list[str]) -> None:
    assert worked(said, *[ELSEWHERE] * 3).exit_status == 0
    assert slept == [5.0] * 3
    assert said == ["waiting for 1 part in work elsewhere; Ctrl-C leaves"]


def test_what_is_away_for_less_than_ten_minutes_is_waited_for(
    slept: list[float], said: list[str]
) -> None:
    outcome = worked(said, *[AWAY] * 120)
    assert (outcome.exit_status, outcome.error) == (0, None)
    assert sum(slept) == 600
    assert said == ["the database is away; waiting for it, Ctrl-C leaves"]


def test_what_stays_away_is_given_up(slept: list[float], said: list[str]) -> None:
    outcome = worked(said, *[AWAY] * 500)
    assert (outcome.exit_status, outcome.error) == (EXIT_BROKE, AWAY)
    assert sum(slept) == 600


def test_what_answers_in_between_may_be_away_anew(slept: list[float], said: list[str]) -> None:
    outcome = worked(said, *[AWAY] * 100, ELSEWHERE, *[AWAY] * 100)
    assert outcome.exit_status == 0
    assert len(slept) == 201


def test_parts_that_failed_for_good_are_told(slept: list[float], said: list[str]) -> None:
    part = shares.Part(seed=7, rows=(10,))
    outcome = worked(said, Counts(2, 0, 0, ((part, "no luck"),)))
    assert outcome.exit_status == EXIT_BROKE
    assert str(outcome.error) == (
        "1 of 3 parts failed, the first (seed 7): no luck; the same `mnist-bench run` tries each "
        "once more"
    )
