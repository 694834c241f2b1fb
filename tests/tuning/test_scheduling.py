"""Scheduling of a shared study: waiting for other machines and an unreachable database."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import factories
import pytest
from factories import ACCURACY_GOAL, ONE_PARAMETER, open_test_study, sqlite_url

from mnist_bench.core import retry
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.tuning.scheduling import run_trials, wait_for_others
from mnist_bench.tuning.shared_study import SharedStudy
from mnist_bench.tuning.study import Study
from mnist_bench.tuning.trial_runner import Search, SearchLimits, TrialRunner

UNREACHABLE = BenchError("the database is away", exit_status=EXIT_FAILURE)


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def db_study(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.chdir(tmp_path)
    return open_test_study("ours", storage=sqlite_url(tmp_path / "studies.db"), space=ONE_PARAMETER)


def search(study: Study, messages: list[str]) -> Search:
    context = SimpleNamespace(goal=ACCURACY_GOAL)
    return Search(study, context, None, lambda _: nullcontext(), messages.append)


def make_unreachable(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Make the database unreachable this many times."""
    failures = iter(range(times))
    fail_stale = Study.fail_stale

    def fail_sometimes(study: Study) -> None:
        if next(failures, None) is not None:
            raise UNREACHABLE
        fail_stale(study)

    monkeypatch.setattr(Study, "fail_stale", fail_sometimes)


def finish(study: Study, count: int) -> None:
    for _ in range(count):
        study.finished(study.ask().number, (0.5,), {})


def test_unreachable_database_is_retried(
    db_study: Study, sleeps: list[float], messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(db_study, 2)
    make_unreachable(monkeypatch, 120)
    ended = run_trials(search(db_study, messages), SearchLimits(2, None))
    assert (ended.exit_status, ended.in_words) == (0, "2 trials are done")
    assert sum(sleeps) == 600
    assert messages == ["the database is away; retrying, Ctrl-C stops"]


def test_database_unreachable_for_too_long_raises(
    db_study: Study, sleeps: list[float], messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_unreachable(monkeypatch, 500)
    with pytest.raises(BenchError, match="the database is away"):
        run_trials(search(db_study, messages), SearchLimits(2, None))
    assert sum(sleeps) == 600


def test_trials_running_elsewhere_are_waited_for(
    db_study: Study, messages: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    others = open_test_study(
        "ours", storage=sqlite_url(tmp_path / "studies.db"), space=ONE_PARAMETER
    )
    running = [others.ask(), others.ask()]
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        others.finished(running[len(waits) - 1].number, (0.5,), {})

    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=sleep))
    ended = run_trials(search(db_study, messages), SearchLimits(2, None))
    assert (ended.exit_status, len(waits)) == (0, 2)
    assert messages == [
        "waiting for 2 trials running elsewhere; Ctrl-C stops",
        "waiting for 1 trial running elsewhere; Ctrl-C stops",
    ]
    wait_for_others(search(db_study, messages))
    assert len(waits) == 2


def test_search_ends_when_it_is_closed(db_study: Study, messages: list[str]) -> None:
    finish(db_study, 1)
    db_study.search = shared(is_open=False)
    ended = run_trials(search(db_study, messages), SearchLimits(5, None))
    assert (ended.exit_status, ended.in_words) == (0, "no more trials are asked for")


def shared(**changes: Any) -> SharedStudy:
    values = {
        "trials": 5, "dataset": "mnist", "dataset_digest": "d", "experiment": "e",
        "machine_kind": "k", "is_open": True,
    }  # fmt: skip
    return SharedStudy(**(values | changes))


@pytest.mark.parametrize(("run_id", "given_up"), [("counts", []), ("another", ["another"])])
def test_run_that_counts_is_not_dropped(
    db_study: Study, messages: list[str], run_id: str, given_up: list[str]
) -> None:
    finish(db_study, 1)
    db_study.repeat(db_study.trials[0])
    number = db_study.ask().number
    db_study.recorded(number, "counts")
    db_study.finished(number, (0.5,), {})
    dropped: list[str] = []
    store = SimpleNamespace(mark_killed=lambda of, _reason: dropped.append(of))
    runner = TrialRunner(
        replace(search(db_study, messages), store=store), lambda: None, lambda _: None
    )
    runner._drop(number, factories.run(run_id=run_id))
    assert dropped == given_up
