"""Workers that pretend to train a shared study's trials: storage and logging real, training not.

    python benchmarks/scale/simulated.py

reads one `Orders` on standard input, says `ready`, waits for `go`, and answers with one `Done`. Its
workers are threads, each with a study and a store of its own: as many processes would take more
memory than a machine has.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "tests")]


from factories import machine, run  # noqa: E402

from mnist_bench.core import process_identity  # noqa: E402
from mnist_bench.core.errors import BenchError  # noqa: E402
from mnist_bench.core.records import Record  # noqa: E402
from mnist_bench.tracking.mlflow_store import MlflowStore  # noqa: E402
from mnist_bench.tracking.schema import Point  # noqa: E402
from mnist_bench.tuning.objective import Goal  # noqa: E402
from mnist_bench.tuning.space import Parameter, Space  # noqa: E402
from mnist_bench.tuning.study import Study  # noqa: E402

Answer = TypeVar("Answer")

_MARKS = range(5, 100, 5)
"""Percent of a trial at which it is reported and compared."""
_SPACE = Space(
    title="Simulated",
    model="paper-cnn",
    steps=1_000,
    eval_every=50,
    parameters={
        "learning_rate": Parameter(low=0.0001, high=0.1, log=True),
        "batch_size": Parameter(low=10, high=100),
    },
)
_GOAL = Goal(objective="accuracy")


class Orders(Record):
    """What is to be done.

    Attributes:
        storage: Optuna's URL.
        tracking_uri: Of MLflow.
        study: Its name.
        workers: Threads.
        first: Number of the first of them, among all of the study.
        seconds: How long new trials are started.
    """

    storage: str
    tracking_uri: str
    study: str
    workers: int
    first: int
    seconds: float


class Took(Record):
    """What a trial's calls took, in seconds.

    Attributes:
        ask: Until the study gave it.
        report: Reporting all intermediate values to the study.
        tell: Reporting the end of the trial.
        record: For all calls to MLflow.
    """

    ask: float
    report: float
    tell: float
    record: float


class Done(Record):
    """What was done.

    Attributes:
        took: By each trial.
        refused: Calls that a server did not answer; they are retried.
        seconds: From the first trial's beginning to the last one's end.
        cpu_seconds: Of this process meanwhile.
    """

    took: tuple[Took, ...]
    refused: int
    seconds: float
    cpu_seconds: float


class Worker:
    """One that pretends.

    Args:
        orders: What is to be done.
        number: Its own, among all of the study.
    """

    def __init__(self, orders: Orders, number: int) -> None:
        self._owner = process_identity.current_process(machine().machine_id)
        self._store = MlflowStore(orders.tracking_uri, "mnist-bench")
        self._study = Study(
            *(orders.study, orders.storage, _SPACE, _GOAL, self._owner), worker_number=number
        )
        self.took: list[Took] = []
        self.refused = 0

    def work(self, until: float) -> None:
        """Pretend until that time of the monotonic clock."""
        while time.monotonic() < until:
            self.took.append(self._trial())

    def _trial(self) -> Took:
        clock = [time.monotonic()]
        trial = self._study.ask()
        clock.append(time.monotonic())
        recorded = self._record_run(trial.number)
        clock.append(time.monotonic())
        for mark in _MARKS:
            self._study.should_end(trial.number, mark, 0.9 + mark / 10_000)
        clock.append(time.monotonic())
        self._study.recorded(trial.number, recorded)
        self._study.finished(trial.number, (0.95,), {})
        clock.append(time.monotonic())
        ask, record, report, tell = (b - a for a, b in itertools.pairwise(clock))
        return Took(ask=ask, record=record, report=report, tell=tell)

    def _record_run(self, number: int) -> str:
        """A run with a curve of 20 scorings and its files, as a trial's is."""
        now_ms = int(time.time() * 1_000)
        whole = run(
            1_000, eval_every=50, seed=number, trajectory=f"{threading.get_ident()}-{number}",
            run_id=None, part=f"simulated-{number}",
        )  # fmt: skip
        started = whole.model_copy(update={"evaluations": (), "status": None})
        store, tag = self._store, whole.part or ""
        run_id = self._retried(
            lambda: store.start(started, "", self._owner, machine(), at_ms=now_ms).run_id
        )
        points = [Point(each.step, now_ms, each) for each in whole.evaluations]
        self._retried(lambda: store.log(run_id, points))
        named = whole.model_copy(update={"run_id": run_id})
        with tempfile.TemporaryDirectory() as folder:
            result, log = Path(folder, "result.json"), Path(folder, "worker.log")
            result.write_text(named.model_dump_json(), encoding="utf-8")
            log.write_text("", encoding="utf-8")
            self._retried(lambda: store.finished_runs_of(tag))  # before and after: it counts once
            self._retried(lambda: store.finish(named, "", lambda: [result, log], at_ms=now_ms))
            self._retried(lambda: store.finished_runs_of(tag))
        return run_id

    def _retried(self, call: Callable[[], Answer]) -> Answer:
        """As a delivery does: a server may cut a connection."""
        while True:
            try:
                return call()
            except BenchError:
                self.refused += 1


def main() -> None:
    """Serve one order."""
    orders = Orders.model_validate_json(sys.stdin.readline())
    numbers = range(orders.first, orders.first + orders.workers)
    workers = [Worker(orders, number) for number in numbers]
    print("ready", flush=True)
    sys.stdin.readline()
    begin, cpu = time.monotonic(), time.process_time()
    threads = [threading.Thread(target=w.work, args=(begin + orders.seconds,)) for w in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = tuple(each for worker in workers for each in worker.took)
    done = Done(
        took=took,
        refused=sum(worker.refused for worker in workers),
        seconds=time.monotonic() - begin,
        cpu_seconds=time.process_time() - cpu,
    )
    print(json.dumps(json.loads(done.model_dump_json())), flush=True)


if __name__ == "__main__":
    main()
