"""The search with real studies and a trainer that only computes: how many trials, and how it ends.

`test_tune.py` runs it as a command, with processes and MLflow.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import psutil
import pytest
from factories import (
    ACCURACY_GOAL,
    ADDRESS,
    ONE_PARAMETER,
    PARETO_GOAL,
    SOURCE,
    SPACE_OF_ALL_KINDS,
    TIME_GOAL,
    machine,
    open_test_study,
    run,
    sqlite_url,
    trial_value,
)
from optuna.storages import RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from mnist_bench.core.errors import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_TERMINATED, BenchError
from mnist_bench.results.run import Evaluation
from mnist_bench.runner.executor import Outcome, Stop
from mnist_bench.runner.plan import TrainingPlan
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.search import (
    PruningCallback,
    Search,
    TrialContext,
    check_memory,
    run_in_parallel,
    run_trials,
    train_finalists,
)
from mnist_bench.tuning.space import Space
from mnist_bench.tuning.study import Study

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with the journal."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def at(step: int, validation: float = 0.9, seconds: float = 1.0) -> Evaluation:
    return Evaluation(
        step=step, test_accuracy=None, validation_accuracy=validation, train_loss=0.1,
        train_seconds=seconds,
    )  # fmt: skip


@dataclass
class Trainer:
    """A trainer whose accuracies follow from the learning rate.

    Attributes:
        fault: Gets the number of each trial and what stops it, before it ends; returns the outcome
            instead, or None.
        trained: Numbers of the trials, as they began.
    """

    fault: Callable[[int, Stop], Outcome | None] = lambda _number, _stop: None
    trained: list[int] = field(default_factory=list)

    def __call__(
        self, plan: TrainingPlan, watcher: Any, prune: Callable[[], str | None], stop: Stop
    ) -> Outcome:
        assert plan.trial is not None
        number = plan.trial.number
        assert [job.seed for job in plan.jobs] == [number]
        self.trained.append(number)
        if outcome := self.fault(number, stop):
            return outcome
        value = trial_value(plan.scenario.hyperparameters.model_dump())
        scored = []
        for step in range(10, 101, 10):
            scored.append(at(step, value * (0.5 + step / 200), step / 10))
            watcher.scored(scored[-1])
            if prune():
                break
        status = "pruned" if prune() else "finished"
        return Outcome((ended(number, status, evaluations=tuple(scored)),))


def ended(number: int, status: str, **changes: Any) -> Any:
    """The run of a trial."""
    return run(100, seed=number, status=status, run_id=f"run-{number}", **changes)


def failed(number: int) -> Outcome:
    return Outcome((ended(number, "failed", failure=f"failure {number}"),))


def search_of(
    train: Trainer, log: Callable[[str], None] = lambda _: None, *, storage: str | None = None,
    goal: Goal = ACCURACY_GOAL, space: Space = ONE_PARAMETER,
) -> Search:  # fmt: skip
    context = TrialContext(
        space=space, goal=goal, source=SOURCE, execution=Execution(threads=2), machine=machine(),
        address=ADDRESS, parent_run_id="the-study", exclusive=True,
    )  # fmt: skip
    study = open_test_study(storage=storage, space=space, goal=goal)
    watched = mock.Mock()
    return Search(study, context, mock.Mock(), lambda _: nullcontext(watched), log, train)


def states(search: Search) -> list[str]:
    return [trial.state for trial in search.study.trials]


# How many trials


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("is_database", [False, True], ids=["journal", "sqlite"])
def test_as_many_trials_count_as_requested(
    workers: int, folder: Path, *, is_database: bool
) -> None:
    """A failed one is replaced."""
    storage = sqlite_url(folder / "studies.db") if is_database else None
    together = threading.Barrier(workers, timeout=60)
    running: set[int] = set()
    counts: list[int] = []

    def fault(number: int, _stop: Stop) -> Outcome | None:
        running.add(number)
        counts.append(len(running))
        if number < workers:
            together.wait()
        running.remove(number)
        return failed(number) if number in {2, 6} else None

    lines: list[str] = []
    train = Trainer(fault)
    search = search_of(train, lines.append, storage=storage)
    ended = run_trials(search, 8, None, workers=workers)
    assert (ended.exit_status, ended.in_words) == (0, "8 trials are done")
    assert sorted(train.trained) == list(range(10))
    assert max(counts) == workers
    trials = search.study.trials
    assert [trial.number for trial in trials if trial.state == "failed"] == [2, 6]
    assert sum(trial.counts for trial in trials) == 8
    assert {trial.machine_id for trial in trials} == {machine().machine_id}
    assert max(int(line.partition(" ")[0]) for line in lines) == 8
    assert len(lines) == 10
    assert run_trials(search, 8, None, workers=workers).in_words == "8 trials are done"
    assert len(search.study.trials) == 10


def test_waiting_trials_are_trained_once(folder: Path) -> None:
    """SQLite locks no rows."""
    train = Trainer()
    search = search_of(train, storage=sqlite_url(folder / "studies.db"))
    for rate in range(1, 8):
        search.study.optuna.enqueue_trial({"learning_rate": rate / 1_000})
    assert run_trials(search, 8, None, workers=9).exit_status == 0
    assert sorted(train.trained) == list(range(8))


def test_pruned_trials_count() -> None:
    search = search_of(Trainer())
    assert run_trials(search, 25, None).exit_status == 0
    assert len(search.study.trials) == 25
    assert set(states(search)) == {"finished", "pruned"}
    for trial in search.study.trials:
        assert (trial.values == ()) == (trial.state == "pruned")


def test_trial_past_max_seconds_is_pruned_but_for_the_papers() -> None:
    search = search_of(Trainer(), goal=Goal(objective="accuracy", max_seconds=7.0))
    assert run_trials(search, 3, None).exit_status == 0
    assert [(trial.state, trial.missed) for trial in search.study.trials] == [
        ("finished", {"max seconds": 3.0}), *[("pruned", {"max seconds": 1.0})] * 2,
    ]  # fmt: skip


@pytest.mark.parametrize("workers", [1, 3])
def test_no_trial_starts_after_the_timeout(workers: int) -> None:
    until = time.monotonic() + 1.0

    def fault(_number: int, _stop: Stop) -> None:
        threading.Event().wait(max(0.0, until - time.monotonic()) + 0.01)

    train = Trainer(fault)
    search = search_of(train)
    ended = run_trials(search, 50, until, workers=workers)
    assert ended.in_words == "the time is up"
    # Those that were started in time are finished.
    assert states(search) == ["finished"] * len(train.trained)
    assert 1 <= len(train.trained) <= workers
    assert ended.exit_status == (EXIT_FAILURE if len(train.trained) == 1 else 0)


def test_one_trial_is_trained_after_the_timeout() -> None:
    search = search_of(Trainer())
    ended = run_trials(search, 50, time.monotonic())
    assert (ended.exit_status, states(search)) == (EXIT_FAILURE, ["finished"])
    assert ended.error is not None
    assert ended.error.message.startswith("--timeout expired after the first trial, which took ")
    parallel = run_in_parallel(search, 50, time.monotonic(), 2)
    assert (parallel.exit_status, states(search)) == (EXIT_FAILURE, ["finished"])
    again = run_trials(search, 50, time.monotonic())
    assert (again.exit_status, again.in_words) == (0, "the time is up")
    assert states(search) == ["finished"] * 2


def test_the_papers_trial_runs_alone_and_first() -> None:
    train = Trainer()
    lines: list[str] = []
    search = search_of(train, lines.append)
    assert run_in_parallel(search, 4, None, 2).exit_status == 0
    assert train.trained[0] == 0
    assert lines[0].startswith("1 of 1: trial 0: ")
    assert lines[1] == "2 workers train trials at the same time: times are suspect"
    assert run_in_parallel(search, 4, time.monotonic(), 2).in_words == "4 trials are done"


def test_retry_of_the_papers_trial_runs_alone() -> None:
    train = Trainer(lambda number, _: failed(number) if number == 0 else None)
    lines: list[str] = []
    search = search_of(train, lines.append)
    assert run_trials(search, 2, None).exit_status == 0
    search.study.resume("here", lambda _: None, lines.append)
    assert run_in_parallel(search, 4, None, 2).exit_status == 0
    assert lines[3] == "trial 0 failed; retrying it"
    assert lines[4].startswith("3 of 3: trial 3: ")
    assert search.study.trials[3].is_papers


def test_more_workers_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    free = SimpleNamespace(available=3 * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    check_memory(3, 2**30)
    check_memory(9, None)
    for peak, most in ((2**30 + 1, 2), (4 * 2**30, 1)):
        with pytest.raises(BenchError, match=f"choose at most {most}$") as caught:
            check_memory(3, peak)
        assert caught.value.message.startswith("--workers 3: so many trainings take ")
    # The paper's trial shows it.
    search = search_of(Trainer(lambda number, _: Outcome((ended(number, "finished"),))))
    free.available = 2**30
    with pytest.raises(BenchError, match=r"^--workers 2: so many trainings take 2\.0 GiB"):
        run_in_parallel(search, 4, None, 2)
    assert states(search) == ["finished"]


# Failures


@pytest.mark.parametrize("workers", [1, 3])
def test_three_failures_in_a_row_end_the_search(workers: int) -> None:
    train = Trainer(lambda number, _: failed(number) if number else None)
    search = search_of(train)
    run_trials(search, 1, None)
    ended = run_trials(search, 50, None, workers=workers)
    assert ended.exit_status == EXIT_FAILURE
    assert ended.in_words == "trials fail, one after the other"
    assert ended.error is not None
    assert ended.error.message.startswith("3 trials failed one after the other, the first: fail")
    assert 3 <= len(train.trained[1:]) < 3 + workers
    assert {trial.state for trial in search.study.trials[1:]} == {"failed"}


def test_failures_with_others_between_them_end_nothing() -> None:
    train = Trainer(lambda number, _: failed(number) if number % 3 else None)
    search = search_of(train)
    assert run_trials(search, 3, None).exit_status == 0
    assert states(search) == ["finished", "failed", "failed"] * 2 + ["finished"]


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome((), EXIT_FAILURE, BenchError("no process", exit_status=EXIT_FAILURE)),
        Outcome((), EXIT_TERMINATED),
        Outcome((ended(1, "killed", evaluations=()),), EXIT_TERMINATED),
    ],
    ids=["no process", "before its run", "within its run"],
)
def test_trial_that_was_cut_off_is_queued_again(outcome: Outcome) -> None:
    train = Trainer(lambda number, _: outcome if number == 1 else None)
    search = search_of(train)
    ended = run_trials(search, 9, None)
    assert (ended.exit_status, ended.error) == (outcome.exit_status, outcome.error)
    assert states(search)[1] == "failed"
    lines: list[str] = []
    search.study.resume("here", lambda _: None, lines.append)
    assert lines == []  # its retry is queued already
    (retry,) = (trial for trial in search.study.trials if trial.retry_of is not None)
    assert (retry.state, retry.retry_of) == ("waiting", 1)
    # It is first, also when it was cut off twice.
    train.fault = lambda number, _: outcome if number == retry.number else None
    run_trials(search, 9, None)
    train.fault = Trainer().fault
    assert run_trials(search, 9, None).exit_status == 0
    chain = [trial for trial in search.study.trials if trial.retry_of is not None]
    assert [trial.retry_of for trial in chain] == [1, retry.number]
    assert [trial.state for trial in chain] == ["failed", "finished"]
    assert chain[1].chosen == search.study.trials[1].chosen


@pytest.mark.parametrize(
    ("is_database", "workers", "trials"),
    [(False, 1, 3), (False, 2, 9), (True, 1, 9), (True, 2, 3)],
    ids=["journal, the last ones", "journal, two", "sqlite", "sqlite, two, the last ones"],
)
def test_storage_that_breaks_ends_the_search(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path,
    workers: int, trials: int, *, is_database: bool,
) -> None:  # fmt: skip
    """As a full disk: what is there can be read, but nothing can be written."""
    is_full, full = threading.Event(), OSError(errno.ENOSPC, "No space left on device")
    if is_database:
        full = OperationalError("INSERT", {}, full)
    train = Trainer(lambda number, _: is_full.set() if number == 1 else None)
    search = search_of(train, storage=sqlite_url(folder / "studies.db") if is_database else None)

    def broken(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if is_full.is_set():
                raise full
            return write(*arguments, **options)

        return call

    if is_database:
        for name in (
            *("create_new_trial", "set_trial_state_values", "set_trial_user_attr"),
            "record_heartbeat",
        ):
            monkeypatch.setattr(RDBStorage, name, broken(getattr(RDBStorage, name)))
    else:
        append = broken(JournalFileBackend.append_logs)
        monkeypatch.setattr(JournalFileBackend, "append_logs", append)
    with pytest.raises(BenchError) as caught:
        run_trials(search, trials, None, workers=workers)
    assert caught.value.exit_status == EXIT_FAILURE
    assert "No space left on device" in caught.value.message
    assert 1 in train.trained
    assert len(train.trained) <= 2 + workers
    assert capfd.readouterr().err == ""
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    search.study.resume(machine().machine_id, lambda _: None, lambda _: None)
    train.fault = Trainer().fault
    again = search_of(train, storage=search.study.storage)
    assert run_trials(again, trials, None).exit_status == 0


def test_storage_that_refuses_every_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna drops errors of its last threads: the search must not go on forever."""
    search = search_of(Trainer())
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(JournalFileBackend, "append_logs", mock.Mock(side_effect=full))
    with pytest.raises(BenchError, match=r"journal mlruns/optuna\.log: No space left on device"):
        run_trials(search, 2, None, workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_trial_that_was_given_up_meanwhile(workers: int) -> None:
    """This machine slept, and Optuna has failed the trial as stale."""
    url = "sqlite:///studies.db"

    def fault(number: int, _stop: Stop) -> None:
        if number == 1:
            other = open_test_study(storage=url, space=ONE_PARAMETER)
            other.optuna.tell(number, state=TrialState.FAIL)

    search = search_of(Trainer(fault), storage=url)
    with pytest.raises(BenchError, match="trial 1 was given up meanwhile") as caught:
        run_trials(search, 9, None, workers=workers)
    assert caught.value.exit_status == EXIT_FAILURE


@pytest.mark.parametrize("workers", [1, 2])
def test_own_bug_is_raised(workers: int) -> None:
    def fault(number: int, _stop: Stop) -> None:
        if number:
            raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        run_trials(search_of(Trainer(fault)), 3, None, workers=workers)


# Ctrl-C and SIGTERM


@needs_signals
@pytest.mark.parametrize(
    ("number", "status", "workers"),
    [(signal.SIGINT, EXIT_INTERRUPTED, 1), (signal.SIGTERM, EXIT_TERMINATED, 3)],
)
def test_signal_ends_every_training(number: signal.Signals, status: int, workers: int) -> None:
    together = threading.Barrier(workers, timeout=60)

    def fault(trial: int, stop: Stop) -> Outcome | None:
        if trial == 0:
            return None
        is_stopped = threading.Event()
        stop.add(is_stopped.set)
        if together.wait() == 0:
            os.kill(os.getpid(), number)
        assert is_stopped.wait(60)
        return Outcome((ended(trial, "killed", evaluations=()),), stop.exit_status)

    train = Trainer(fault)
    search = search_of(train)
    assert run_trials(search, 1, None).exit_status == 0
    end = run_trials(search, 50, None, workers=workers)
    assert (end.exit_status, end.error) == (status, None)
    assert states(search) == ["finished", *["failed"] * workers, *["waiting"] * workers]
    cut_off = search.study.trials[1:]
    retried = [trial.retry_of for trial in cut_off[workers:]]
    assert sorted(map(str, retried)) == [str(trial.number) for trial in cut_off[:workers]]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@needs_signals
def test_second_signal_raises_at_once() -> None:
    """The first one waits until the trainings are recorded, e.g. on a server that hangs."""
    workers = 2
    together = threading.Barrier(workers, timeout=60)

    def fault(trial: int, stop: Stop) -> Outcome | None:
        is_stopped = threading.Event()
        stop.add(is_stopped.set)
        if together.wait() == 0:
            os.kill(os.getpid(), signal.SIGINT)
            assert is_stopped.wait(60)
            os.kill(os.getpid(), signal.SIGINT)
        return Outcome((ended(trial, "killed", evaluations=()),), EXIT_INTERRUPTED)

    search = search_of(Trainer(fault))
    with pytest.raises(KeyboardInterrupt):
        run_trials(search, 50, None, workers=workers)
    again = open_test_study(space=ONE_PARAMETER)
    again.resume(machine().machine_id, lambda _: None, lambda _: None)
    assert [trial.state for trial in again.trials].count("waiting") == workers
    assert "running" not in {trial.state for trial in again.trials}


# Training in a cluster


def test_machine_that_trained_is_recorded() -> None:
    beta = machine(machine_id="b" * 32, cpu="Beta")

    def fault(number: int, _stop: Stop) -> Outcome | None:
        there = beta if number == 1 else None
        return Outcome((ended(number, "finished", evaluations=(at(100),)),), machine=there)

    search = search_of(Trainer(fault))
    run_trials(search, 2, None)
    assert [(trial.machine, trial.machine_id) for trial in search.study.trials] == [
        (machine().name, machine().machine_id), (beta.name, "b" * 32),
    ]  # fmt: skip


# Finalists


def test_retries_are_trained_before_the_finalists_repeats() -> None:
    lines: list[str] = []
    train = Trainer()
    search = search_of(train, lines.append)
    run_trials(search, 3, None)
    search.study.enqueue_retry(1)
    end = train_finalists(search, 1, with_paper=False)
    assert (end.exit_status, end.in_words) == (0, "the finalists are trained")
    best = search.study.best[0].number
    assert [trial.retry_of for trial in search.study.trials[3:]] == [1, None, None, None]
    assert [trial.repeat_of for trial in search.study.trials[3:]] == [None, best, best, best]
    assert lines[3].startswith("trial 3: validation accuracy ")
    assert lines[4].startswith(f"trial 4, as trial {best}: validation accuracy ")


# What users see


@pytest.mark.parametrize(
    ("storage", "space", "goal", "workers"),
    [
        (None, SPACE_OF_ALL_KINDS, ACCURACY_GOAL, 1),
        ("sqlite:///studies.db", SPACE_OF_ALL_KINDS, PARETO_GOAL, 2),
        ("sqlite:///studies.db", ONE_PARAMETER, ACCURACY_GOAL, 1),
    ],
)
def test_no_warnings(
    storage: str | None, space: Space, goal: Goal, workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Optuna's are for developers."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        search = search_of(Trainer(), storage=storage, goal=goal, space=space)
        assert run_trials(search, 3, None, workers=workers).exit_status == 0
        search.study.resume("here", lambda _: None, pytest.fail)
        assert warnings.filters == before
    assert capfd.readouterr().err == ""


# Pruning


class Trial:
    """Fake of Optuna's trial that is behind at given checkpoints."""

    def __init__(self, *behind_at: int, **user_attrs: Any) -> None:
        self.behind_at, self.user_attrs = behind_at, user_attrs
        self.compared: dict[int, float] = {}
        self.reported: dict[int, float] = {}

    def report(self, value: float, step: int) -> None:
        assert step not in self.reported
        self.reported[step] = value

    def should_prune(self) -> bool:
        last = max(self.reported)
        self.compared[last] = self.reported[last]
        return last in self.behind_at


def reasons_after(
    trial: Any, goal: Goal, *evaluations: Evaluation, steps: int = 1_000
) -> list[str | None]:
    """Reason to end the trial, after each evaluation."""
    callback = PruningCallback(trial, goal, steps, mock.Mock())
    return [(callback.scored(evaluation), callback.reason())[1] for evaluation in evaluations]


def test_trial_is_compared_at_its_first_evaluation_after_each_checkpoint() -> None:
    trial = Trial()
    every_ninety = [at(step, step / 2_000) for step in range(90, 1_000, 90)]
    assert reasons_after(trial, ACCURACY_GOAL, *every_ninety) == [None] * 11
    assert trial.compared == {10: 0.09, 35: 0.18, 60: 0.315, 85: 0.45}
    others = {percent: percent / 200 for percent in (9, 18, 27, 36, 45, 54, 63, 72, 81, 90, 99)}
    assert trial.reported == pytest.approx(trial.compared | others)


def test_evaluation_at_a_checkpoint_is_reported_once() -> None:
    trial = Trial()
    reasons_after(trial, ACCURACY_GOAL, at(50, 0.6), at(350, 0.7))
    assert (trial.compared, trial.reported) == ({35: 0.7}, {5: 0.6, 35: 0.7})


def limited(**changes: Any) -> Goal:
    return ACCURACY_GOAL.model_copy(update=changes)


PAPERS, REPEAT = {"paper": True}, {"repeat_of": 0}


@pytest.mark.parametrize(
    ("behind_at", "attributes", "goal", "evaluations", "reason"),
    [
        (60, {}, limited(), (at(300), at(420), at(640)), "pruned after 640 steps: others were"),
        # The last evaluation prunes nothing.
        (100, {}, limited(max_seconds=1.0), (at(1_000, seconds=9.0),), None),
        # A trial that has reached the target has its value; `accuracy` ignores it.
        (60, {}, TIME_GOAL, (at(300), at(520, 0.99), at(760)), None),
        (60, {}, limited(target_accuracy=0.99), (at(520, 0.99), at(760)), "pruned after 760 steps"),
        # Progress by budget: 50% of 8 s.
        (35, {}, limited(train_seconds=8.0), (at(20), at(40, seconds=4.0)), "pruned after 40 ste"),
        (0, {"paper": False}, limited(max_seconds=3.0), (at(100, seconds=3.0),), None),
        (0, {"paper": False}, limited(max_seconds=3.0), (at(110, seconds=3.1),), "ended after 110"),
        (0, PAPERS, limited(max_seconds=3.0), (at(110, seconds=3.1),), None),
        (0, REPEAT, limited(max_seconds=3.0), (at(110, seconds=3.1),), None),
        (60, PAPERS, limited(), (at(600),), None),
        (60, REPEAT, limited(), (at(600),), None),
    ],
)
def test_reason_to_end_a_trial(
    behind_at: int, attributes: dict[str, Any], goal: Goal, evaluations: tuple[Evaluation, ...],
    reason: str | None,
) -> None:  # fmt: skip
    *earlier, last = reasons_after(Trial(behind_at, **attributes), goal, *evaluations)
    assert not any(earlier)
    assert last is None if reason is None else str(last).startswith(reason)


def study_with_finished_trials(goal: Goal, *, of: int = 10) -> Study:
    """The paper's trial waits; others have finished, at 0.80, 0.81, … after 60%."""
    opened = open_test_study(goal=goal, space=ONE_PARAMETER)
    asked = [opened.optuna.ask() for _ in range(of + 1)]
    opened.optuna.tell(asked[0], state=TrialState.FAIL)
    for hundredth, trial in enumerate(asked[1:], 80):
        PruningCallback(trial, goal, 100, mock.Mock()).scored(at(60, hundredth / 100))
        opened.optuna.tell(trial, [hundredth / 100] * len(goal.directions))
    return opened


@pytest.mark.parametrize(
    ("goal", "of", "accuracy", "is_pruned"),
    # The median of the ten is 0.845.
    [
        (ACCURACY_GOAL, 10, 0.84, True),
        (ACCURACY_GOAL, 10, 0.85, False),
        (TIME_GOAL, 10, 0.84, True),
        (TIME_GOAL, 10, 0.85, False),
        (ACCURACY_GOAL, 4, 0.1, False),
        (ACCURACY_GOAL, 5, 0.1, True),
        (PARETO_GOAL, 10, 0.1, False),
    ],
)
def test_trial_behind_the_median_is_pruned(
    goal: Goal, of: int, accuracy: float, *, is_pruned: bool
) -> None:
    opened = study_with_finished_trials(goal, of=of)
    trial = opened.optuna.ask()
    too_early, reason = reasons_after(trial, goal, at(5, accuracy), at(60, accuracy), steps=100)
    assert too_early is None
    assert (reason is not None) is is_pruned
    value = accuracy if goal.objective == "accuracy" else 1 - accuracy
    assert opened.trials[-1].curve == ({5: value, 60: value} if goal.prunes else {})
