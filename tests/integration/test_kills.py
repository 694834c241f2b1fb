"""A command killed at any event: the next command recovers its runs, and nothing is lost.

Events are counted, not timed: before and after each call to MLflow, within each line of the spool,
after each evaluation that was shown. The worker is a fake; everything else is real.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import factories
import fakes
import pytest

from mnist_bench.results.run import Evaluation
from mnist_bench.runner import process
from mnist_bench.runner.executor import execute
from mnist_bench.runner.plan import make_plan
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking import recorder, recovery, spool
from mnist_bench.tracking.mlflow_store import MlflowStore, import_mlflow
from mnist_bench.tracking.spool import Address, Spool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has threads")

SMALL = paper.PROTOCOL.model_copy(
    update={"title": "Two step counts", "steps": (2, 5), "eval_every": 2}
)
CALLS = ("create_run", "log_batch", "set_tag", "log_artifact", "set_terminated")
SHOWN = Path("shown")


def run_in_fork(work: Callable[[], None]) -> int:
    """Run a function in a forked process with MLflow loaded; return its exit code."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001  # the fork must not continue as a second pytest
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train_and_kill(kill_at: int | None) -> None:
    """Train two step counts; kill this process at the event with number `kill_at`."""
    count = itertools.count()

    def event() -> None:
        if next(count) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def show(evaluation: Evaluation) -> None:
        """Write an evaluation to a file, as a progress bar would show it."""
        with SHOWN.open("a", encoding="utf-8") as file:
            file.write(f"{evaluation.step}\n")
        event()

    def with_events(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            event()
            answer = function(*args, **options)
            event()
            return answer

        return call

    write = Spool._write

    def write_in_two(self: Spool) -> None:
        line = self._unwritten
        self._unwritten = line[: len(line) // 2]
        write(self)
        event()
        self._unwritten = line[len(line) // 2 :]
        write(self)
        event()

    client = import_mlflow().MlflowClient
    for name in CALLS:
        setattr(client, name, with_events(getattr(client, name)))
    Spool._write = write_in_two
    recorder._BATCH_SECONDS = 0.0  # so that curves are uploaded in small batches
    process.COMMAND = fakes.worker()
    executions = [Execution(threads=2)]
    plan = make_plan("table-1", SMALL, factories.SOURCE, seeds=range(1), executions=executions)
    watcher = mock.Mock(**{"scored.side_effect": show})
    execute(plan, factories.machine(), address(), open_store, watcher)


def uri() -> str:
    """The store's absolute path, since MLflow caches databases by URL."""
    return f"sqlite:///{(Path.cwd() / 'mlflow.db').as_posix()}"


def address() -> Address:
    return Address.of(uri(), "killed")


def open_store() -> MlflowStore:
    return MlflowStore(uri(), "killed")


def recover() -> None:
    recovery.recover(open_store(), address(), lambda _line: None)


def query(sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect("mlflow.db")) as database:
        return database.execute(sql).fetchall()


def check_store() -> None:
    """Check the invariants after a kill and the next command."""
    assert query("SELECT run_uuid FROM runs WHERE status = 'RUNNING'") == []
    tags = "SELECT run_uuid, key, value FROM tags WHERE key LIKE 'bench.%'"
    by_run: dict[str, dict[str, str]] = {}
    for run_id, key, value in query(tags):
        by_run.setdefault(run_id, {})[key] = value
    run_counts = Counter((tag["bench.trajectory"], tag["bench.steps"]) for tag in by_run.values())
    assert [row for row, count in run_counts.items() if count > 1] == []
    assert {tag["bench.complete"] for tag in by_run.values()} <= {"true"}
    figures = "SELECT run_uuid, key, step, COUNT(*) FROM metrics GROUP BY 1, 2, 3"
    assert [figure for figure in query(figures) if figure[3] > 1] == []
    # Spools with an incomplete first line may still be in use.
    assert [path for path in spool.paths() if spool.read(path)] == []


def check_shown_evaluations() -> None:
    """Check that every evaluation that was shown is in the run of the killed training."""
    if not SHOWN.exists():
        return
    shown = {int(line) for line in SHOWN.read_text(encoding="utf-8").split()}
    SHOWN.unlink()
    newest = "SELECT run_uuid FROM runs ORDER BY rowid DESC LIMIT 2"
    sql = f"SELECT step FROM metrics WHERE key = 'test_accuracy' AND run_uuid IN ({newest})"
    assert shown <= {step for (step,) in query(sql)}


@pytest.fixture(autouse=True)
def folder(folder: Path, empty_database: Path) -> None:
    """A working directory with a database; MLflow is loaded once for all forks."""
    shutil.copy(empty_database, folder / "mlflow.db")


def kill_at_event(event: int) -> bool:
    """Kill a training at an event and recover; return whether the event was reached."""
    status = run_in_fork(lambda: train_and_kill(event))
    assert status in (-signal.SIGKILL, 0)
    assert run_in_fork(recover) == 0
    check_store()
    check_shown_evaluations()
    return status != 0


def test_kills_at_some_events() -> None:
    # Each takes a second: a process that trains, and one that recovers.
    for event in (0, 8, 21, 34, 55, 89):
        assert kill_at_event(event)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_kills_at_every_third_event() -> None:
    # All events would take four minutes.
    events = next(event for event in itertools.count(1, 3) if not kill_at_event(event))
    assert events > 100
