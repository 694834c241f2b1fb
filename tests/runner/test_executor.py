"""Execution of plans with a fake worker and a fake store."""

from __future__ import annotations

import errno
import itertools
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import factories
import pytest
from fakes import Store

from mnist_bench.core import locks
from mnist_bench.core.errors import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    EXIT_USAGE,
    BenchError,
)
from mnist_bench.core.signals import Terminated
from mnist_bench.measurement.conditions import Stretch, TrainingStretch
from mnist_bench.results.protocol import (
    Done,
    EvaluationMessage,
    Message,
    Request,
    SampleMessage,
    StepCountDone,
)
from mnist_bench.results.run import Evaluation, RunResult
from mnist_bench.runner import executor
from mnist_bench.runner.executor import Outcome, Stop, execute
from mnist_bench.runner.plan import TrainingJob, make_plan
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking import recorder, spool
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Spool

SMALL = paper.PROTOCOL.model_copy(update={"title": "Two rows", "steps": (2, 5), "eval_every": 2})
"""Evaluated after 1, 3 and 5 steps; step count 2 ends off that grid."""
EXIT_3 = "the training process ended early with exit status 3"
INTERRUPTIONS = [
    (KeyboardInterrupt, EXIT_INTERRUPTED, "interrupted"),
    (Terminated, EXIT_TERMINATED, "terminated"),
]
WHOLE_PLAN = [(0, 2, "finished"), (0, 5, "finished"), (1, 2, "finished"), (1, 5, "finished")]
BOTH_KILLED = [(0, 2, "killed"), (0, 5, "killed")]


@dataclass
class Workers:
    """Makes fake workers in place of `WorkerProcess`; they take half a second per step.

    Attributes:
        exit_at: Training seed and step after which a worker ends with status 3.
        started: Those that were started; none may outlive its plan.
    """

    exit_at: tuple[int, int] | None = None
    started: list[FakeWorker] = field(default_factory=list)

    def __call__(self, request: Request, log: Path) -> FakeWorker:
        self.started.append(FakeWorker(request, log, self.exit_at))
        return self.started[-1]

    @property
    def are_gone(self) -> bool:
        return all(worker.is_killed for worker in self.started)


class FakeWorker:
    """A worker in this process; its messages are those of a training without phases."""

    def __init__(self, request: Request, log: Path, exit_at: tuple[int, int] | None) -> None:
        self.request, self._exit_at = request, exit_at
        self.is_killed = False
        self._failure: str | None = None
        log.write_text("words for the log\n", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def go(self) -> None:
        """It has imported nothing."""

    def kill(self) -> None:
        self.is_killed = True

    stop = kill

    def end(self) -> str | None:
        return "the training process was ended by SIGKILL" if self.is_killed else self._failure

    def log_tail(self) -> str:
        return "words for the log"

    def messages(self) -> Iterator[Message]:
        return itertools.takewhile(lambda _: not self.is_killed, self._whole_training())

    def _whole_training(self) -> Iterator[Message]:
        done = 0
        for steps in self.request.step_counts:
            for step in sorted({*self.request.grid.points(steps), steps} - set(range(done + 1))):
                yield sample(step)
                yield EvaluationMessage(evaluation=evaluation(step))
                if self._exit_at == (self.request.training_seed, step):
                    self._failure = EXIT_3
                    return
                done = step
            folder = Path(self.request.folder, str(steps))
            folder.mkdir()
            (folder / "predictions.npz").write_bytes(b"predictions")
            yield StepCountDone(steps=steps, seconds={"train": steps * 0.5}, memory_method="VmHWM",
                                peak_rss_bytes=500_000_000, phase_peak_rss_bytes={})  # fmt: skip
        yield Done()


def sample(step: int) -> SampleMessage:
    seen = Stretch(wall_seconds=0.5, own_cpu_seconds=0.25)
    stretch = TrainingStretch(step=step, steps=1, train_seconds=0.5, rss_bytes=None, seen=seen)
    return SampleMessage(train_seconds=step * 0.5, stretch=stretch)


def evaluation(step: int) -> Evaluation:
    return Evaluation(step=step, test_accuracy=0.75, validation_accuracy=0.5, train_loss=0.25,
                      train_seconds=step * 0.5)  # fmt: skip


@dataclass
class Watcher:
    """Records the calls of its methods.

    Attributes:
        at_evaluation: Called after each; raises as a signal would.
        events: The calls.
    """

    at_evaluation: Callable[[Evaluation], None] = lambda _: None
    events: list[tuple[object, ...]] = field(default_factory=list)

    def begun(self, job: TrainingJob) -> None:
        self.events.append(("begun", job.seed))

    def sampled(self, sample: SampleMessage) -> None:
        self.events.append(("sampled", sample.step))

    def scored(self, evaluation: Evaluation) -> None:
        self.events.append(("scored", evaluation.step))
        self.at_evaluation(evaluation)

    def warned(self, line: str) -> None:
        self.events.append(("warned", line))

    def ended(self, job: TrainingJob, failure: str | None, log_tail: str) -> None:
        self.events.append(("ended", job.seed, failure, log_tail))

    def of(self, kind: str) -> list[tuple[object, ...]]:
        return [event for event in self.events if event[0] == kind]

    def interrupt_with(self, interruption: type[BaseException]) -> None:
        def interrupt(_: Evaluation) -> None:
            raise interruption

        self.at_evaluation = interrupt


class Command:
    """What a plan is executed with, all fakes; `run` executes two seeds of `SMALL`."""

    def __init__(self) -> None:
        self.mlflow, self.watcher, self.workers = Store(), Watcher(), Workers()

    def run(
        self, seeds: int = 2, open_store: Callable[[], MlflowStore] | None = None, *,
        independent: bool = False, **options: object,
    ) -> Outcome:  # fmt: skip
        plan = make_plan("table-1", SMALL, factories.SOURCE, seeds=range(seeds),
                         executions=[Execution(threads=2)], independent=independent)  # fmt: skip
        opened = open_store or (lambda: self.mlflow)
        machine, address = factories.machine(), factories.ADDRESS
        return execute(plan, machine, address, opened, self.watcher, **options)


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """With default signal handlers, even if the tests were started with Ctrl-C ignored."""
    made = Command()
    monkeypatch.setattr(executor, "WorkerProcess", made.workers)
    wanted = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def endings(outcome: Outcome) -> list[tuple[int, int, str | None]]:
    return [(run.seed, run.steps, run.status) for run in outcome.results]


def steps_of(run: RunResult) -> list[int]:
    return [evaluation.step for evaluation in run.evaluations]


def raising(error: BaseException) -> Callable[[], MlflowStore]:
    def open_store() -> MlflowStore:
        raise error

    return open_store


def test_plan_without_failures(command: Command, folder: Path) -> None:
    started: list[int] = []
    outcome = command.run(
        open_store=lambda: started.append(len(command.workers.started)) or command.mlflow
    )
    assert (outcome.exit_status, outcome.error) == (0, None)
    assert endings(outcome) == WHOLE_PLAN
    assert [run.run_id for run in outcome.results] == ["id-0-2", "id-0-5", "id-1-2", "id-1-5"]
    short, long, _, other = outcome.results
    assert (steps_of(short), steps_of(long)) == ([1, 2], [1, 3, 5])
    assert (long.train_seconds_total, long.peak_rss_bytes) == (2.5, 500_000_000)
    assert (long.memory_method, long.seconds) == ("VmHWM", {"train": 2.5})
    assert short.trajectory == long.trajectory != other.trajectory
    # While the first worker starts, this process opens the store.
    assert started == [1, 2]
    shared = ("import", "data", "other")
    assert [run.shared_phases for run in outcome.results] == [shared, shared, (), ()]
    assert [finished.run for finished in command.mlflow.finished] == list(outcome.results)
    assert b"words for the log" in command.mlflow.finished[0].files["worker.log"]
    assert command.mlflow.finished[0].files["predictions.npz"] == b"predictions"
    steps = [(event, step) for step in (1, 2, 3, 5) for event in ("sampled", "scored")]
    assert command.watcher.events == [
        *(("begun", 0), *steps, ("ended", 0, None, "")),
        *(("begun", 1), *steps, ("ended", 1, None, "")),
    ]
    assert command.workers.are_gone
    assert len({worker.request.folder for worker in command.workers.started}) == 2
    locks.release_all()
    assert list(folder.iterdir()) == []


def test_evaluation_is_spooled_before_it_is_shown(command: Command) -> None:
    spooled: list[bool] = []

    def check(evaluation: Evaluation) -> None:
        text = f'"evaluation":{{"step":{evaluation.step},'
        spooled.extend(text in path.read_text(encoding="utf-8") for path in spool.paths())

    command.watcher.at_evaluation = check
    command.run(seeds=1)
    assert spooled == [True] * 4


def test_what_is_recorded_of_the_command(command: Command) -> None:
    for exclusive in (True, False):
        outcome = command.run(seeds=1, exclusive=exclusive, opens_store=False)
        assert [run.conditions.exclusive for run in outcome.results] == [exclusive] * 2
        assert [run.shared_phases for run in outcome.results] == [()] * 2


def test_enough_is_called_before_each_seed_and_ends_the_plan(command: Command) -> None:
    calls: list[list[tuple[int, int]]] = []

    def enough(results: Sequence[RunResult]) -> bool:
        calls.append([(run.seed, run.steps) for run in results])
        return len(results) > 3

    earlier = [factories.run(2, seed=7)]
    # Not between the jobs of a seed.
    outcome = command.run(5, enough=enough, earlier=earlier, independent=True)
    assert (outcome.exit_status, outcome.error) == (0, None)
    assert calls == [
        [(7, 2)],
        [(7, 2), (0, 2), (0, 5)],
        [(7, 2), (0, 2), (0, 5), (1, 2), (1, 5)],
    ]
    assert endings(outcome) == WHOLE_PLAN


# Ends of a training


def test_other_jobs_go_on_after_a_failure(command: Command) -> None:
    command.workers.exit_at = (1, 3)
    outcome = command.run(seeds=3)
    assert (outcome.exit_status, outcome.error) == (0, None)
    # Step count 2 of seed 1 ended before the failure.
    assert [status for _, _, status in endings(outcome)] == [*["finished"] * 3, "failed"] + [
        "finished"
    ] * 2
    failed = outcome.results[3]
    assert (failed.failure, steps_of(failed)) == (EXIT_3, [1, 3])
    assert ("finish", "id-1-5", "failed") in command.mlflow.calls
    assert command.watcher.of("ended") == [
        ("ended", 0, None, ""),
        ("ended", 1, EXIT_3, "words for the log"),
        ("ended", 2, None, ""),
    ]


def test_worker_that_can_not_be_started(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr(executor, "WorkerProcess", refuse)
    outcome = command.run()
    assert (outcome.exit_status, outcome.results) == (EXIT_FAILURE, ())
    assert outcome.error is not None
    assert "no training process could be started" in outcome.error.message
    assert command.mlflow.calls == []
    locks.release_all()
    assert list(Path().iterdir()) == []


def test_pruned_training_does_not_end_the_plan(command: Command) -> None:
    reasons = iter([None, "worse than the others"])
    killed: list[bool] = []

    def note(call: str, _: str) -> None:
        if call == "finish" and not killed:  # it no longer trains while its runs are closed
            killed.append(command.workers.are_gone)

    command.mlflow.fault = note
    outcome = command.run(prune=lambda: next(reasons, None))
    assert killed == [True]
    assert (outcome.exit_status, outcome.error) == (0, None)
    assert endings(outcome) == [(0, 2, "pruned"), (0, 5, "pruned"), *WHOLE_PLAN[2:]]
    assert [run.failure for run in outcome.results[:2]] == ["worse than the others"] * 2
    assert command.watcher.of("ended")[0] == ("ended", 0, None, "")


def test_stop_ends_the_plan_from_outside(command: Command) -> None:
    stop = Stop()
    command.watcher.at_evaluation = lambda _: stop(EXIT_TERMINATED)
    outcome = command.run(stop=stop)
    assert (outcome.exit_status, endings(outcome)) == (EXIT_TERMINATED, BOTH_KILLED)
    assert {run.failure for run in outcome.results} == {"terminated"}
    assert command.watcher.events[-1] == ("ended", 0, "terminated", "")
    called: list[str] = []
    stop.add(lambda: called.append("at once"))
    assert called == ["at once"]


@pytest.mark.parametrize("failing_call", ["", "finish"])
@pytest.mark.parametrize(("interruption", "exit_status", "reason"), INTERRUPTIONS)
def test_interruption_leaves_runs_killed_and_ends_the_plan(
    command: Command,
    interruption: type[BaseException],
    exit_status: int,
    reason: str,
    failing_call: str,
) -> None:
    command.watcher.interrupt_with(interruption)
    command.mlflow.fault = full_at(failing_call)
    outcome = command.run()
    assert outcome.exit_status == exit_status
    assert (outcome.error is not None) == (failing_call == "finish")
    assert endings(outcome) == BOTH_KILLED
    for run in outcome.results:
        assert (run.failure, steps_of(run)) == (reason, [1])
    assert (command.mlflow.calls[-1] == ("finish", "id-0-5", "killed")) == (not failing_call)
    assert command.watcher.events[-1] == ("ended", 0, reason, "")
    assert len(command.workers.started) == 1
    assert command.workers.are_gone


def signals_during(wanted: str, *numbers: signal.Signals) -> Callable[[str, str], None]:
    """A store fault: signals during the first call of this name."""
    left = list(numbers)

    def fault(call: str, run_id: str) -> None:
        while call == wanted and left:
            signal.raise_signal(left.pop())

    return fault


@pytest.mark.parametrize(
    ("number", "exit_status"),
    [(signal.SIGINT, EXIT_INTERRUPTED), (signal.SIGTERM, EXIT_TERMINATED)],
)
def test_signal_while_runs_are_created_ends_all_of_them(
    command: Command, number: signal.Signals, exit_status: int
) -> None:
    command.mlflow.fault = signals_during("start", number)
    outcome = command.run()
    assert outcome.exit_status == exit_status
    assert command.mlflow.calls == [
        ("start", "id-0-2", None),
        ("start", "id-0-5", None),
        ("finish", "id-0-2", "killed"),
        ("finish", "id-0-5", "killed"),
    ]
    assert command.workers.are_gone


def test_signal_while_a_run_is_finished(command: Command) -> None:
    command.mlflow.fault = signals_during("finish", signal.SIGINT)
    outcome = command.run()
    assert outcome.exit_status == EXIT_INTERRUPTED
    assert endings(outcome) == [(0, 2, "finished"), (0, 5, "killed")]
    assert command.workers.are_gone


@pytest.mark.parametrize(("signals", "ended"), [(1, 2), (2, 0)])
def test_second_and_third_interruption_while_runs_are_ended(
    command: Command, signals: int, ended: int
) -> None:
    """Another signal waits until the runs are ended; one more leaves them to the next command."""
    command.watcher.interrupt_with(KeyboardInterrupt)
    command.mlflow.fault = signals_during("finish", *[signal.SIGINT] * signals)
    with pytest.raises(KeyboardInterrupt):
        command.run()
    assert [call[2] for call in command.mlflow.calls if call[0] == "finish"] == ["killed"] * ended
    for path in spool.paths():
        contents = spool.read(path)
        assert contents is not None
        last = contents.entries[-1]
        assert (last.kind, last.status, last.reason) == ("ended", "killed", "interrupted")
    assert len(spool.paths()) == (0 if ended else 1)
    assert command.workers.are_gone


# Store failures


def full_at(wanted: str) -> Callable[[str, str], None]:
    """A store fault: every call of this name fails."""

    def fault(call: str, _: str) -> None:
        if call == wanted:
            raise BenchError(f"MLflow failed at {call}: the disk is full", exit_status=EXIT_FAILURE)

    return fault


@pytest.mark.parametrize(
    ("error", "exit_status", "status"),
    [
        (BenchError("another MLflow", exit_status=EXIT_FAILURE), EXIT_FAILURE, "failed"),
        (BenchError("another MLflow", exit_status=EXIT_USAGE), EXIT_USAGE, "failed"),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, "killed"),
        (LookupError("a mistake in the program"), None, None),
    ],
)
def test_store_that_can_not_be_opened(
    command: Command, error: BaseException, exit_status: int | None, status: str | None
) -> None:
    if exit_status is None:
        with pytest.raises(type(error)):
            command.run(open_store=raising(error))
    else:
        outcome = command.run(open_store=raising(error))
        assert outcome.exit_status == exit_status
        assert outcome.error is (error if isinstance(error, BenchError) else None)
        assert endings(outcome) == [(0, 2, status), (0, 5, status)]
        assert [run.run_id for run in outcome.results] == [None, None]
        reason = None if outcome.error else "interrupted"
        assert command.watcher.events == [("begun", 0), ("ended", 0, reason, "")]
    assert command.mlflow.calls == []
    assert len(command.workers.started) == 1
    assert command.workers.are_gone


@pytest.mark.parametrize("call", ["start", "log", "finish"])
def test_training_continues_after_a_store_failure(command: Command, call: str) -> None:
    command.mlflow.fault = full_at(call)
    command.workers.exit_at = (1, 5)
    outcome = command.run()
    assert outcome.exit_status == 0  # the results are complete
    assert outcome.error is not None
    assert outcome.error.exit_status == EXIT_FAILURE
    assert f"MLflow failed at {call}: the disk is full" in outcome.error.message
    assert "results are in mlruns/.runs, the next command" in outcome.error.hint
    assert endings(outcome) == [*WHOLE_PLAN[:3], (1, 5, "failed")]
    assert outcome.results[-1].failure == EXIT_3
    ((_, warning),) = command.watcher.of("warned")
    assert "the training continues" in warning
    assert len(spool.paths()) == 2
    assert len(command.workers.started) == 2
    assert command.workers.are_gone


def test_store_that_recovers_gets_everything(command: Command, folder: Path) -> None:
    def fail_for_the_first_seed(call: str, run_id: str) -> None:
        if ("begun", 1) not in command.watcher.events:
            full_at(call)(call, run_id)

    command.mlflow.fault = fail_for_the_first_seed
    outcome = command.run()
    assert (outcome.exit_status, outcome.error) == (0, None)
    assert [finished.run for finished in command.mlflow.finished] == [
        *outcome.results[2:],
        *outcome.results[:2],
    ]
    # The failed call may have created the runs of the first seed.
    created = [call for call, *_ in command.mlflow.calls if call in ("start", "find")]
    assert created == ["start", "start", "find", "start"]
    locks.release_all()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("failing_call", ["", "log"])
def test_full_disk(command: Command, monkeypatch: pytest.MonkeyPatch, failing_call: str) -> None:
    """Nothing is lost without a spool while the store works; else it is said that it will be."""

    class FullDisk(Spool):
        def _write(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recorder, "Spool", FullDisk)
    command.mlflow.fault = full_at(failing_call)
    outcome = command.run()
    assert (outcome.exit_status, endings(outcome)) == (0, WHOLE_PLAN)
    warnings = [line for _, line in command.watcher.of("warned")]
    assert "can't write to mlruns/.runs: No space left on device" in str(warnings[0])
    if not failing_call:
        assert (outcome.error, len(warnings)) == (None, 1)
        assert [finished.run for finished in command.mlflow.finished] == list(outcome.results)
    else:
        assert len(warnings) == 2
        assert outcome.error is not None
        assert outcome.error.exit_status == EXIT_FAILURE
        assert "can't write to mlruns/.runs either: No space left" in outcome.error.message
