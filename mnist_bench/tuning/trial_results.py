"""Results of trials, reported to the study by the process that trained them or a later one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from mnist_bench.results.run import RunResult
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.study import Study

_LOCK = Path("mlruns", ".settle.lock")
_LOCK_SECONDS = 120


def report_trial(study: Study, goal: Goal, number: int, run: RunResult | None) -> None:
    """Report to the study how one of this process's trials ended.

    Args:
        number: Of the trial.
        run: Run of the trial; None if no training process could be started.
    """
    if not study.owns(number):  # it was failed as stale, and is retried
        study.abandon_trials()
        return
    if run is not None and run.run_id is not None:
        study.recorded(
            number,
            run.run_id,
            train_seconds=run.train_seconds_total,
            peak_rss_bytes=run.peak_rss_bytes,
            verdict=run.verdict,
        )
    if run is not None and run.status == "finished":
        study.finished(number, goal.values(run), goal.constraints(run))
    elif run is not None and run.status == "pruned":
        study.pruned(number, goal.constraints(run) if run.evaluations else {})
    elif run is not None and run.status == "killed":
        study.interrupted(number)
    else:
        study.failed(number)


def settle(
    study: Study, goal: Goal, store: MlflowStore, log: Callable[[str], None], *, alone: bool
) -> None:
    """Settle trials whose process is gone.

    A trial that has ended according to MLflow is reported to the study; the others are retried.

    Args:
        store: Open, and all spools uploaded to it.
        log: Gets a line about each trial.
        alone: Whether no other process can be working on the study.
    """
    if not study.orphans(alone=alone):
        return
    _LOCK.parent.mkdir(exist_ok=True)
    with FileLock(_LOCK, timeout=_LOCK_SECONDS):
        # Ask again: another command may have settled them meanwhile.
        for number in study.orphans(alone=alone):
            _settle(study, goal, store, number, log)


def retry_failed(study: Study, log: Callable[[str], None]) -> None:
    """Queue retries of trials that failed or were lost with their machine.

    Args:
        log: Gets a line about each trial.
    """
    for number, is_lost in study.trials_to_retry().items():
        study.enqueue_retry(number)
        reason = "was lost with its machine" if is_lost else "failed"
        log(f"trial {number} {reason}; retrying it")


def _settle(
    study: Study, goal: Goal, store: MlflowStore, number: int, log: Callable[[str], None]
) -> None:
    run = store.load_trial(study.run_id, number) if study.run_id else None
    is_retried = any(trial.retry_of == number for trial in study.trials)
    ended = run is not None and run.status in {"finished", "pruned"} and not is_retried
    if run is not None and ended and study.take_over(number, sum(run.seconds.values())):
        report_trial(study, goal, number, run)
        log(f"trial {number} had ended before its process died: it counts")
    else:
        study.fail_orphan(number)
        log(f"the process of trial {number} died; retrying the trial")
