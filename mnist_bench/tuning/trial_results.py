"""How a trial ended: told to its study by who trained it, or by the next command."""

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


def tell(study: Study, goal: Goal, number: int, run: RunResult | None) -> None:
    """Tell a study how one of this process's trials ended.

    Args:
        study: Open.
        goal: What it is after.
        number: Of the trial.
        run: The trial's; None where no training process could be started.
    """
    if not study.is_ours(number):  # it was missed, and is tried again
        study.let_go()
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
    study: Study, goal: Goal, store: MlflowStore, say: Callable[[str], None], *, alone: bool
) -> None:
    """Settle the trials of processes that are gone.

    What had come to its end, and MLflow knows of, is told to the study; the rest is tried again.

    Args:
        study: Open.
        goal: What it is after.
        store: Open; journals that waited for it are delivered.
        say: Told in one line what came of each.
        alone: Whether nobody else can be at work on the study.
    """
    if not study.orphans(alone=alone):
        return
    _LOCK.parent.mkdir(exist_ok=True)
    with FileLock(_LOCK, timeout=_LOCK_SECONDS):
        # Asked again: another command may just have done it.
        for number in study.orphans(alone=alone):
            _settle(study, goal, store, number, say)


def retry_failed(study: Study, say: Callable[[str], None]) -> None:
    """Have the trials tried again that failed, or whose machine fell silent.

    Args:
        study: Open.
        say: Told in one line of each.
    """
    for number, is_lost in study.owed().items():
        study.try_again(number)
        why = "was lost with its machine" if is_lost else "had failed"
        say(f"trial {number} {why}: it is tried again")


def _settle(
    study: Study, goal: Goal, store: MlflowStore, number: int, say: Callable[[str], None]
) -> None:
    run = store.load_trial(study.run_id, number) if study.run_id else None
    tried_again = any(trial.retry_of == number for trial in study.trials)
    ended = run is not None and run.status in {"finished", "pruned"} and not tried_again
    if run is not None and ended and study.adopt(number, sum(run.seconds.values())):
        tell(study, goal, number, run)
        say(f"trial {number} of a process that is gone had come to its end: it counts")
    else:
        study.left_behind(number)
        say(f"trial {number} was left behind by a process that is gone: it is tried again")
