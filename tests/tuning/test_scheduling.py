"""A study's turns beside other machines: how long what does not answer is waited for."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import factories
import pytest
from factories import ACCURACY_GOAL, ONE_PARAMETER, opened_study, sqlite_url

from mnist_bench.core import retry
from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.tuning.scheduling import run_trials, wait_for_others
from mnist_bench.tuning.shared_study import SharedStudy
from mnist_bench.tuning.study import Study
from mnist_bench.tuning.trial_runner import Search, SearchLimits, TrialRunner

AWAY = BenchError("the database is away", exit_status=EXIT_BROKE)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def ours(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.chdir(tmp_path)
    return opened_study("ours", storage=sqlite_url(tmp_path / "studies.db"), space=ONE_PARAMETER)


def search(study: Study, said: list[str]) -> Search:
    question = SimpleNamespace(goal=ACCURACY_GOAL)
    return Search(study, question, None, lambda _: nullcontext(), said.append)


def refusing(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The database is away for so many looks."""
    left = iter(range(times))
    end_silent = Study.end_silent

    def refuse(study: Study) -> None:
        if next(left, None) is not None:
            raise AWAY
        end_silent(study)

    monkeypatch.setattr(Study, "end_silent", refuse)


def finish(study: Study, count: int) -> None:
    for _ in range(count):
        study.finished(study.ask().number, (0.5,), {})


def test_a_database_that_is_away_for_a_while_is_waited_for(
    ours: Study, slept: list[float], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(ours, 2)
    refusing(monkeypatch, 120)
    ended = run_trials(search(ours, said), SearchLimits(2, None))
    assert (ended.exit_status, ended.in_words) == (0, "2 trials are done")
    assert sum(slept) == 600
    assert said == ["the database is away; waiting for it, Ctrl-C leaves"]


def test_one_that_stays_away_is_given_up(
    ours: Study, slept: list[float], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, 500)
    with pytest.raises(BenchError, match="the database is away"):
        run_trials(search(ours, said), SearchLimits(2, None))
    assert sum(slept) == 600


def test_what_others_have_in_work_is_waited_for(
    ours: Study, said: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    others = opened_study("ours", storage=sqlite_url(tmp_path / "studies.db"), space=ONE_PARAMETER)
    asked = [others.ask(), others.ask()]
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        others.finished(asked[len(waits) - 1].number, (0.5,), {})

    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=sleep))
    ended = run_trials(search(ours, said), SearchLimits(2, None))
    assert (ended.exit_status, len(waits)) == (0, 2)
    assert said == [
        "waiting for 2 trials in work elsewhere; Ctrl-C leaves",
        "waiting for 1 trial in work elsewhere; Ctrl-C leaves",
    ]
    wait_for_others(search(ours, said))
    assert len(waits) == 2


def test_where_no_more_are_asked_for_it_ends(ours: Study, said: list[str]) -> None:
    finish(ours, 1)
    ours.search = shared(is_open=False)
    ended = run_trials(search(ours, said), SearchLimits(5, None))
    assert (ended.exit_status, ended.in_words) == (0, "no more trials are asked for")


def shared(**changes: Any) -> SharedStudy:
    values = {
        "trials": 5, "dataset": "mnist", "dataset_digest": "d", "experiment": "e",
        "machine_kind": "k", "is_open": True,
    }  # fmt: skip
    return SharedStudy(**(values | changes))


@pytest.mark.parametrize(("run_id", "given_up"), [("counts", []), ("another", ["another"])])
def test_what_counts_is_not_dropped_a_repeat_neither(
    ours: Study, said: list[str], run_id: str, given_up: list[str]
) -> None:
    finish(ours, 1)
    ours.repeat(ours.trials[0])
    number = ours.ask().number
    ours.recorded(number, "counts")
    ours.finished(number, (0.5,), {})
    dropped: list[str] = []
    board = SimpleNamespace(give_up=lambda of, _reason: dropped.append(of))
    taken = TrialRunner(replace(search(ours, said), store=board), lambda: None, lambda _: None)
    taken._drop(number, factories.run(run_id=run_id))
    assert dropped == given_up
