"""A command that is killed at any point of its way: the next one settles it, nothing is lost.

The points are counted and not timed: before and after each call to MLflow, in the middle of each
line of the journal, after each figure that was shown. A worker that trains nothing speaks the
protocol; the rest is real.
"""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import factories
import fakes
import pytest

from mnist_bench.results.protocol import SampleMessage
from mnist_bench.results.run import Evaluation
from mnist_bench.runner import process
from mnist_bench.runner.executor import execute
from mnist_bench.runner.plan import TrainingJob, make_plan
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking import recovery, spool, uploader
from mnist_bench.tracking.mlflow_setup import import_mlflow
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address, Spool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has threads")

SMALL = paper.PROTOCOL.model_copy(update={"title": "Two rows", "steps": (2, 5), "eval_every": 2})
MACHINE = factories.machine()
CALLS = ("create_run", "log_batch", "set_tag", "log_artifact", "set_terminated")
SHOWN = Path("shown")


class Watcher:
    """Shows every scoring, as a progress bar would.

    Args:
        event: Told of each.
    """

    def __init__(self, event: Callable[[], None]) -> None:
        self._event = event

    def begun(self, trajectory: TrainingJob) -> None:
        pass

    def sampled(self, sample: SampleMessage) -> None:
        pass

    def scored(self, evaluation: Evaluation) -> None:
        with SHOWN.open("a", encoding="utf-8") as file:
            file.write(f"{evaluation.step}\n")
        self._event()

    def warned(self, line: str) -> None:
        pass

    def ended(self, trajectory: TrainingJob, failure: str | None, log_tail: str) -> None:
        pass


def in_a_process(work: Callable[[], None]) -> int:
    """Work in a process of its own, MLflow imported already; how it ended."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001  # it must not go on as a second pytest
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def trained(kill_at: int | None) -> None:
    """Train two rows, and die at the event of this number."""
    count = itertools.count()

    def event() -> None:
        if next(count) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def eventful(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            event()
            answer = function(*args, **options)
            event()
            return answer

        return call

    write = Spool._write

    def write_in_two(self: Spool) -> None:
        line = self._waiting
        self._waiting = line[: len(line) // 2]
        write(self)
        event()
        self._waiting = line[len(line) // 2 :]
        write(self)
        event()

    client = import_mlflow().MlflowClient
    for name in CALLS:
        setattr(client, name, eventful(getattr(client, name)))
    Spool._write = write_in_two
    uploader._BATCH_SECONDS = 0.0  # so that curves reach MLflow bit by bit
    process.COMMAND = fakes.worker()
    manner = [Execution(threads=2)]
    plan = make_plan("table-1", SMALL, factories.SOURCE, seeds=range(1), executions=manner)
    execute(plan, MACHINE, address(), open_store, Watcher(event))


def address() -> Address:
    """By its full path: in one process MLflow keeps a database by its address."""
    uri = f"sqlite:///{(Path.cwd() / 'mlflow.db').as_posix()}"
    return Address(tracking_uri=uri, experiment="killed")


def open_store() -> MlflowStore:
    return MlflowStore(address().tracking_uri, address().experiment)


def settled() -> None:
    recovery.settle(open_store(), address(), MACHINE.machine_id, lambda _line: None)


def answers(question: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect("mlflow.db")) as database:
        return database.execute(question).fetchall()


def nothing_is_lost() -> None:
    """What must hold after each kill and the next command."""
    assert answers("SELECT run_uuid FROM runs WHERE status = 'RUNNING'") == []
    tags = "SELECT run_uuid, key, value FROM tags WHERE key LIKE 'bench.%'"
    by_run: dict[str, dict[str, str]] = {}
    for run_id, key, value in answers(tags):
        by_run.setdefault(run_id, {})[key] = value
    rows = Counter((tag["bench.trajectory"], tag["bench.steps"]) for tag in by_run.values())
    assert [row for row, count in rows.items() if count > 1] == []
    assert {tag["bench.complete"] for tag in by_run.values()} <= {"true"}
    figures = "SELECT run_uuid, key, step, COUNT(*) FROM metrics GROUP BY 1, 2, 3"
    assert [figure for figure in answers(figures) if figure[3] > 1] == []
    # Of one that was torn in its first line nobody knows yet whether it is being written.
    assert [path for path in spool.paths() if spool.read(path)] == []


def shown_is_there() -> None:
    """Every figure that was shown stands in the run of the training that was killed."""
    if not SHOWN.exists():
        return
    shown = {int(line) for line in SHOWN.read_text(encoding="utf-8").split()}
    SHOWN.unlink()
    newest = "SELECT run_uuid FROM runs ORDER BY rowid DESC LIMIT 2"
    question = f"SELECT step FROM metrics WHERE key = 'test_accuracy' AND run_uuid IN ({newest})"
    assert shown <= {step for (step,) in answers(question)}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory; MLflow is loaded once for all processes."""
    import_mlflow()
    monkeypatch.chdir(tmp_path)


def killed_at(event: int) -> bool:
    """Kill a training there, settle it with the next command; whether it came that far."""
    status = in_a_process(lambda: trained(event))
    assert status in (-signal.SIGKILL, 0)
    assert in_a_process(settled) == 0
    nothing_is_lost()
    shown_is_there()
    return status != 0


def test_killed_here_and_there() -> None:
    for event in (0, 3, 8, 21, 34, 55, 70, 89):
        assert killed_at(event)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_killed_all_along_the_way() -> None:
    # Every third event: all of them would take four minutes.
    events = next(event for event in itertools.count(1, 3) if not killed_at(event))
    assert events > 100
