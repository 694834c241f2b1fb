"""Plans, and their execution with fake workers and a fake store."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import factories
import fakes
import pytest

from mnist_bench.core import locks
from mnist_bench.core.errors import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    EXIT_USAGE,
    BenchError,
)
from mnist_bench.core.limits import MAX_SEED
from mnist_bench.core.signals import Terminated
from mnist_bench.data.dataset import Source
from mnist_bench.results.protocol import Request, SampleMessage
from mnist_bench.results.run import Evaluation, RunResult
from mnist_bench.runner import executor, process
from mnist_bench.runner.executor import Outcome, execute
from mnist_bench.runner.plan import TrainingJob, TrainingPlan, make_plan
from mnist_bench.runner.process import WorkerProcess
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.scenario import Scenario
from mnist_bench.tracking import recorder
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Spool

SMALL = paper.PROTOCOL.model_copy(update={"title": "Two rows", "steps": (2, 5), "eval_every": 2})
"""Evaluated after 1, 3 and 5 steps; step count 2 ends off that grid."""
TWO_THREADS = Execution(threads=2)
FOREVER = "import threading; threading.Event().wait()"
INTERRUPTIONS = [
    (KeyboardInterrupt, EXIT_INTERRUPTED, "interrupted"),
    (Terminated, EXIT_TERMINATED, "terminated"),
]


# Plans


def plan_of(scenario: Scenario = paper.PROTOCOL, **changes: object) -> TrainingPlan:
    values = {"seeds": range(2), "executions": [TWO_THREADS]} | changes
    return make_plan("table-1", scenario, factories.SOURCE, **values)


def test_the_step_counts_of_a_seed_share_a_job() -> None:
    plan = plan_of(seeds=range(3, 5))
    assert [(job.seed, job.training_seed, job.step_counts) for job in plan.jobs] == [
        (3, 3, (1_000, 2_500, 5_000, 10_000)),
        (4, 4, (1_000, 2_500, 5_000, 10_000)),
    ]
    assert (plan.name, plan.scenario) == ("table-1", paper.PROTOCOL)
    assert plan.executions == (TWO_THREADS,)
    assert [job.execution for job in plan.jobs] == [TWO_THREADS] * 2


def test_independent_step_counts_have_their_own_training_seeds() -> None:
    plan = plan_of(independent=True)
    assert [(job.seed, job.step_counts) for job in plan.jobs] == [
        (seed, (steps,)) for seed in (0, 1) for steps in (1_000, 2_500, 5_000, 10_000)
    ]
    # The first four bytes, without the sign bit, of SHA-256 of "0,1000", "0,2500" and "1,1000":
    # a repeated training must get the same seed.
    seeds = [job.training_seed for job in plan.jobs]
    assert (seeds[0], seeds[1], seeds[4]) == (0x6922B2D5, 0x4B8C921A, 0x6B37A749)


@pytest.mark.parametrize("independent", [False, True])
def test_each_training_is_done_with_every_execution(*, independent: bool) -> None:
    executions = [Execution(threads=count) for count in (1, 2, 4)]
    single = plan_of(independent=independent)
    plan = plan_of(independent=independent, executions=executions)
    assert plan.executions == tuple(executions)
    assert [(job.seed, job.training_seed, job.step_counts, job.execution) for job in plan.jobs] == [
        (job.seed, job.training_seed, job.step_counts, execution)
        for job in single.jobs
        for execution in executions
    ]
    threads = [executor.request_of(plan, job, Path()).execution.threads for job in plan.jobs]
    assert threads == [1, 2, 4] * len(single.jobs)


def test_independent_training_seeds_are_distinct_and_in_range() -> None:
    plan = plan_of(independent=True, seeds=range(100))
    seeds = {job.training_seed for job in plan.jobs}
    assert len(seeds) == 400
    assert min(seeds) >= 0
    assert max(seeds) <= MAX_SEED


def test_job_ids_are_unique() -> None:
    jobs = (*plan_of().jobs, *plan_of().jobs)
    assert len({job.id for job in jobs}) == 4


def test_a_batch_larger_than_the_training_split() -> None:
    few: Source = factories.SOURCE.model_copy(update={"name": "mnist-5k", "train_images": 49})
    with pytest.raises(
        BenchError, match="batch_size is 50, mnist-5k has 49 training images"
    ) as raised:
        make_plan("table-1", paper.PROTOCOL, few, seeds=range(1), executions=[TWO_THREADS])
    assert raised.value.exit_status == EXIT_USAGE
    enough = few.model_copy(update={"train_images": 50})
    plan = make_plan("table-1", paper.PROTOCOL, enough, seeds=range(1), executions=[TWO_THREADS])
    assert plan.jobs


def test_a_seed_that_is_too_large() -> None:
    assert plan_of(seeds=range(MAX_SEED, MAX_SEED + 1)).jobs[0].seed == MAX_SEED
    with pytest.raises(BenchError, match="--first-seed") as raised:
        plan_of(seeds=range(MAX_SEED, MAX_SEED + 2))
    assert raised.value.exit_status == EXIT_USAGE


def test_the_request_to_a_worker() -> None:
    plan = plan_of(SMALL.model_copy(update={"save_weights": True}), independent=True)
    request = executor.request_of(plan, plan.jobs[3], Path("a-folder"))
    assert (request.model, request.hyperparameters) == ("paper-cnn", SMALL.hyperparameters)
    assert (request.step_counts, request.training_seed) == ((5,), plan.jobs[3].training_seed)
    assert (request.grid.first, request.grid.every) == (1, 2)
    assert (request.source, request.execution) == (factories.SOURCE, TWO_THREADS)
    assert (request.folder, request.save_weights) == ("a-folder", True)


# Trainings


@dataclass
class Watcher:
    """Records the calls of its methods.

    Attributes:
        interruption: Raised at the first evaluation, as by a signal.
        events: The calls.
    """

    interruption: type[BaseException] | None = None
    events: list[tuple[object, ...]] = field(default_factory=list)

    def begun(self, job: TrainingJob) -> None:
        self.events.append(("begun", job.seed))

    def sampled(self, sample: SampleMessage) -> None:
        self.events.append(("sampled", sample.step))

    def scored(self, evaluation: Evaluation) -> None:
        self.events.append(("scored", evaluation.step))
        if self.interruption:
            raise self.interruption

    def warned(self, line: str) -> None:
        self.events.append(("warned", line))

    def ended(self, job: TrainingJob, failure: str | None, log_tail: str) -> None:
        self.events.append(("ended", job.seed, failure, log_tail))


@dataclass
class Workers:
    """The started worker processes and their requests."""

    started: list[WorkerProcess] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    @property
    def are_gone(self) -> bool:
        return all(worker._process.poll() is not None for worker in self.started)


@pytest.fixture(autouse=True)
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    """Fake workers; none may outlive its plan."""
    known = Workers()

    class KnownWorker(WorkerProcess):
        def __init__(self, request: Request, log: Path) -> None:
            super().__init__(request, log)
            known.started.append(self)
            known.requests.append(request)

    monkeypatch.setattr(executor, "WorkerProcess", KnownWorker)
    monkeypatch.setattr(process, "COMMAND", fakes.worker())
    return known


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Default signal handlers, even if the tests were started with Ctrl-C ignored."""
    wanted = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, which contains the spools."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mlflow() -> fakes.Store:
    return fakes.Store()


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


def run_plan(
    mlflow: fakes.Store,
    watcher: Watcher,
    seeds: int = 2,
    open_store: Callable[[], MlflowStore] | None = None,
    **options: object,
) -> Outcome:
    plan = plan_of(SMALL, seeds=range(seeds))
    opened = open_store or (lambda: mlflow)
    return execute(plan, factories.machine(), factories.ADDRESS, opened, watcher, **options)


def endings(outcome: Outcome) -> list[tuple[int, int, str | None]]:
    return [(run.seed, run.steps, run.status) for run in outcome.results]


def test_a_plan_without_failures(mlflow: fakes.Store, watcher: Watcher, workers: Workers) -> None:
    outcome = run_plan(mlflow, watcher)
    assert (outcome.exit_status, outcome.error) == (0, None)
    assert endings(outcome) == [
        (0, 2, "finished"),
        (0, 5, "finished"),
        (1, 2, "finished"),
        (1, 5, "finished"),
    ]
    assert [run.run_id for run in outcome.results] == ["id-0-2", "id-0-5", "id-1-2", "id-1-5"]
    short, long = outcome.results[:2]
    assert [evaluation.step for evaluation in short.evaluations] == [1, 2]
    assert [evaluation.step for evaluation in long.evaluations] == [1, 3, 5]
    assert (long.train_seconds_total, long.peak_rss_bytes) == (2.5, 500_000_000)
    assert (long.memory_method, long.seconds) == ("VmHWM", {"import": 3.0, "train": 2.5})
    assert short.trajectory == long.trajectory
    assert long.trajectory != outcome.results[3].trajectory
    assert [finished.run for finished in mlflow.finished] == list(outcome.results)
    assert b"words for the log" in mlflow.finished[0].files["worker.log"]
    assert mlflow.finished[0].files["predictions.npz"] == b"predictions"
    assert workers.are_gone
    assert len(workers.started) == 2


def test_the_watcher_gets_every_event(mlflow: fakes.Store, watcher: Watcher) -> None:
    run_plan(mlflow, watcher)
    steps = [(event, step) for step in (1, 2, 3, 5) for event in ("sampled", "scored")]
    assert watcher.events == [
        ("begun", 0),
        *steps,
        ("ended", 0, None, ""),
        ("begun", 1),
        *steps,
        ("ended", 1, None, ""),
    ]


def test_an_evaluation_is_spooled_before_it_is_shown(
    mlflow: fakes.Store, watcher: Watcher, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spooled: list[bool] = []

    def scored(evaluation: Evaluation) -> None:
        text = f'"evaluation":{{"step":{evaluation.step},'
        spooled.extend(text in path.read_text(encoding="utf-8") for path in spools(folder))

    monkeypatch.setattr(watcher, "scored", scored)
    run_plan(mlflow, watcher, seeds=1)
    assert spooled == [True] * 4


def test_the_store_is_opened_while_the_worker_starts(
    mlflow: fakes.Store, watcher: Watcher, workers: Workers
) -> None:
    started = []

    def open_store() -> fakes.Store:
        started.append(len(workers.started))
        return mlflow

    run_plan(mlflow, watcher, open_store=open_store)
    assert started == [1, 2]


def test_no_files_are_left_after_upload(
    mlflow: fakes.Store, watcher: Watcher, workers: Workers, folder: Path
) -> None:
    run_plan(mlflow, watcher)
    assert len({request.folder for request in workers.requests}) == 2
    locks.release_all()
    assert list(folder.iterdir()) == []


def test_shared_phases_of_the_first_job(mlflow: fakes.Store, watcher: Watcher) -> None:
    outcome = run_plan(mlflow, watcher)
    shared = ("import", "data", "other")
    assert [run.shared_phases for run in outcome.results] == [shared, shared, (), ()]
    later = run_plan(mlflow, watcher, opens_store=False)
    assert [run.shared_phases for run in later.results] == [()] * 4


def test_exclusive_is_recorded(mlflow: fakes.Store, watcher: Watcher) -> None:
    for exclusive in (True, False):
        outcome = run_plan(mlflow, watcher, seeds=1, exclusive=exclusive)
        assert [run.conditions.exclusive for run in outcome.results] == [exclusive] * 2


def test_enough_is_called_before_each_seed_and_ends_the_plan(
    mlflow: fakes.Store, watcher: Watcher
) -> None:
    calls: list[list[tuple[int, int]]] = []

    def enough(results: Sequence[RunResult]) -> bool:
        calls.append([(run.seed, run.steps) for run in results])
        return len(results) > 3

    earlier = [factories.run(2, seed=7)]
    outcome = run_plan(mlflow, watcher, seeds=5, enough=enough, earlier=earlier)
    assert (outcome.exit_status, outcome.error) == (0, None)
    assert calls == [
        [(7, 2)],
        [(7, 2), (0, 2), (0, 5)],
        [(7, 2), (0, 2), (0, 5), (1, 2), (1, 5)],
    ]
    assert [(run.seed, run.steps) for run in outcome.results] == [(0, 2), (0, 5), (1, 2), (1, 5)]


def test_enough_is_not_called_between_jobs_of_a_seed(mlflow: fakes.Store, watcher: Watcher) -> None:
    calls: list[int] = []

    def enough(results: Sequence[RunResult]) -> bool:
        calls.append(len(results))
        return False

    plan = plan_of(SMALL, seeds=range(2), independent=True)
    execute(plan, factories.machine(), factories.ADDRESS, lambda: mlflow, watcher, enough=enough)
    assert calls == [0, 2]


# Worker failures


def test_other_jobs_go_on_after_a_failure(
    mlflow: fakes.Store, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = 'if request["training_seed"] == 1 and step == 3: sys.exit(3)'
    monkeypatch.setattr(process, "COMMAND", fakes.worker(fault))
    outcome = run_plan(mlflow, watcher, seeds=3)
    assert (outcome.exit_status, outcome.error) == (0, None)
    assert endings(outcome) == [
        (0, 2, "finished"),
        (0, 5, "finished"),
        (1, 2, "finished"),  # it ended before the failure
        (1, 5, "failed"),
        (2, 2, "finished"),
        (2, 5, "finished"),
    ]
    failed = outcome.results[3]
    reason = "the training process ended early with exit status 3"
    assert failed.failure == reason
    assert [evaluation.step for evaluation in failed.evaluations] == [1, 3]
    assert ("finish", "id-1-5", "failed") in mlflow.calls
    assert [event for event in watcher.events if event[0] == "ended"] == [
        ("ended", 0, None, ""),
        ("ended", 1, reason, "words for the log"),
        ("ended", 2, None, ""),
    ]


def test_a_worker_that_can_not_be_started(
    mlflow: fakes.Store, watcher: Watcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process, "COMMAND", (str(tmp_path / "no-python"),))
    outcome = run_plan(mlflow, watcher)
    assert (outcome.exit_status, outcome.results) == (EXIT_FAILURE, ())
    assert outcome.error is not None
    assert "no training process could be started" in outcome.error.message
    assert mlflow.calls == []


# Interruptions


@pytest.mark.parametrize(("interruption", "exit_status", "reason"), INTERRUPTIONS)
def test_an_interruption_leaves_runs_killed_and_ends_the_plan(
    mlflow: fakes.Store,
    watcher: Watcher,
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
    interruption: type[BaseException],
    exit_status: int,
    reason: str,
) -> None:
    monkeypatch.setattr(process, "COMMAND", fakes.worker(FOREVER))
    watcher.interruption = interruption
    outcome = run_plan(mlflow, watcher)
    assert (outcome.exit_status, outcome.error) == (exit_status, None)
    assert endings(outcome) == [(0, 2, "killed"), (0, 5, "killed")]
    for run in outcome.results:
        assert run.failure == reason
        assert [evaluation.step for evaluation in run.evaluations] == [1]
    assert mlflow.calls[-1] == ("finish", "id-0-5", "killed")
    assert watcher.events[-1] == ("ended", 0, reason, "")
    assert len(workers.started) == 1
    assert workers.are_gone


def test_an_interruption_while_the_store_opens(
    mlflow: fakes.Store, watcher: Watcher, workers: Workers
) -> None:
    def open_store() -> MlflowStore:
        raise KeyboardInterrupt

    outcome = run_plan(mlflow, watcher, open_store=open_store)
    assert (outcome.exit_status, outcome.error) == (EXIT_INTERRUPTED, None)
    assert endings(outcome) == [(0, 2, "killed"), (0, 5, "killed")]
    assert [run.run_id for run in outcome.results] == [None, None]
    assert mlflow.calls == []
    assert workers.are_gone


def signal_during(number: signal.Signals, wanted: str) -> Callable[[str, str], None]:
    """A store fault: a signal during the first call of this name."""
    raised: list[str] = []

    def fault(call: str, run_id: str) -> None:
        if call == wanted and not raised:
            raised.append(run_id)
            signal.raise_signal(number)

    return fault


@pytest.mark.parametrize(
    ("number", "exit_status"),
    [(signal.SIGINT, EXIT_INTERRUPTED), (signal.SIGTERM, EXIT_TERMINATED)],
)
def test_a_signal_while_runs_are_created_ends_all_of_them(
    mlflow: fakes.Store,
    watcher: Watcher,
    workers: Workers,
    number: signal.Signals,
    exit_status: int,
) -> None:
    mlflow.fault = signal_during(number, "start")
    outcome = run_plan(mlflow, watcher)
    assert outcome.exit_status == exit_status
    assert mlflow.calls == [
        ("start", "id-0-2", None),
        ("start", "id-0-5", None),
        ("finish", "id-0-2", "killed"),
        ("finish", "id-0-5", "killed"),
    ]
    assert workers.are_gone


def test_a_signal_while_a_run_is_finished(
    mlflow: fakes.Store, watcher: Watcher, workers: Workers
) -> None:
    mlflow.fault = signal_during(signal.SIGINT, "finish")
    outcome = run_plan(mlflow, watcher)
    assert outcome.exit_status == EXIT_INTERRUPTED
    assert endings(outcome) == [(0, 2, "finished"), (0, 5, "killed")]
    assert workers.are_gone


def test_runs_are_ended_despite_a_second_signal(
    mlflow: fakes.Store,
    watcher: Watcher,
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "COMMAND", fakes.worker(FOREVER))
    watcher.interruption = KeyboardInterrupt
    mlflow.fault = signal_during(signal.SIGINT, "finish")
    with pytest.raises(KeyboardInterrupt):
        run_plan(mlflow, watcher)
    assert [call for call in mlflow.calls if call[0] == "finish"] == [
        ("finish", "id-0-2", "killed"),
        ("finish", "id-0-5", "killed"),
    ]
    assert workers.are_gone


# Store failures


def full(call: str, _: str) -> None:
    raise BenchError(f"MLflow failed at {call}: the disk is full", exit_status=EXIT_FAILURE)


def full_at(wanted: str) -> Callable[[str, str], None]:
    """A store fault: every call of this name fails."""
    return lambda call, run_id: full(call, run_id) if call == wanted else None


@pytest.mark.parametrize("exit_status", [EXIT_FAILURE, EXIT_USAGE])
def test_a_store_that_can_not_be_opened(
    mlflow: fakes.Store, watcher: Watcher, workers: Workers, exit_status: int
) -> None:
    error = BenchError("made by another version of MLflow", exit_status=exit_status)

    def open_store() -> MlflowStore:
        raise error

    outcome = run_plan(mlflow, watcher, open_store=open_store)
    assert (outcome.exit_status, outcome.error) == (exit_status, error)
    assert endings(outcome) == [(0, 2, "failed"), (0, 5, "failed")]
    assert watcher.events == [("begun", 0), ("ended", 0, None, "")]
    assert workers.are_gone
    assert len(workers.started) == 1


def spools(folder: Path) -> list[Path]:
    return sorted((folder / "mlruns" / ".runs").glob("*.jsonl"))


@pytest.mark.parametrize("call", ["start", "log", "finish"])
def test_training_continues_after_a_store_failure(
    mlflow: fakes.Store, watcher: Watcher, workers: Workers, folder: Path, call: str
) -> None:
    mlflow.fault = full_at(call)
    outcome = run_plan(mlflow, watcher)
    assert outcome.exit_status == 0  # the results are complete
    assert outcome.error is not None
    assert outcome.error.exit_status == EXIT_FAILURE
    assert f"MLflow failed at {call}: the disk is full" in outcome.error.message
    assert "results are in mlruns/.runs, the next command" in outcome.error.hint
    assert [status for _, _, status in endings(outcome)] == ["finished"] * 4
    warnings = [line for event, line, *_ in watcher.events if event == "warned"]
    assert len(warnings) == 1
    assert "the training continues" in warnings[0]
    assert len(spools(folder)) == 2
    assert len(workers.started) == 2
    assert workers.are_gone


def test_a_store_that_recovers_gets_everything(
    mlflow: fakes.Store, watcher: Watcher, folder: Path
) -> None:
    def fail_for_the_first_seed(call: str, run_id: str) -> None:
        if watcher.events.count(("begun", 1)) == 0:
            full(call, run_id)

    mlflow.fault = fail_for_the_first_seed
    outcome = run_plan(mlflow, watcher)
    assert (outcome.exit_status, outcome.error) == (0, None)
    assert [finished.run for finished in mlflow.finished] == [
        *outcome.results[2:],
        *outcome.results[:2],
    ]
    # The failed call may have created the runs of the first seed.
    created = [call for call in mlflow.calls if call[0] in ("start", "find")]
    assert [call for call, *_ in created] == ["start", "start", "find", "start"]
    locks.release_all()
    assert list(folder.iterdir()) == []


def test_a_worker_that_fails_while_the_store_does(
    mlflow: fakes.Store,
    watcher: Watcher,
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "COMMAND", fakes.worker("sys.exit(3)"))
    mlflow.fault = full_at("finish")
    outcome = run_plan(mlflow, watcher, seeds=1)
    assert outcome.error is not None
    assert "the disk is full" in outcome.error.message
    assert [run.failure for run in outcome.results] == [
        "the training process ended early with exit status 3"
    ] * 2


# A full disk


class FullDisk(Spool):
    """A spool on a full disk."""

    def _write(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_nothing_is_lost_without_a_spool_while_the_store_works(
    mlflow: fakes.Store, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "Spool", FullDisk)
    outcome = run_plan(mlflow, watcher)
    assert (outcome.exit_status, outcome.error) == (0, None)
    assert [status for _, _, status in endings(outcome)] == ["finished"] * 4
    assert [finished.run for finished in mlflow.finished] == list(outcome.results)
    (warning,) = [line for event, line, *_ in watcher.events if event == "warned"]
    assert "can't write to mlruns/.runs: No space left on device" in warning


def test_a_full_disk_and_a_failing_store(
    mlflow: fakes.Store, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "Spool", FullDisk)
    mlflow.fault = full_at("log")
    outcome = run_plan(mlflow, watcher)
    assert [status for _, _, status in endings(outcome)] == ["finished"] * 4
    assert outcome.error is not None
    assert outcome.error.exit_status == EXIT_FAILURE
    assert "can't write to mlruns/.runs either: No space left on device" in outcome.error.message
    assert len([event for event, *_ in watcher.events if event == "warned"]) == 2


@pytest.mark.parametrize(("interruption", "exit_status", "reason"), INTERRUPTIONS)
def test_an_interruption_while_the_store_fails(
    mlflow: fakes.Store,
    watcher: Watcher,
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
    interruption: type[BaseException],
    exit_status: int,
    reason: str,
) -> None:
    monkeypatch.setattr(process, "COMMAND", fakes.worker(FOREVER))
    watcher.interruption = interruption
    mlflow.fault = full_at("finish")
    outcome = run_plan(mlflow, watcher)
    assert outcome.exit_status == exit_status
    assert outcome.error is not None
    assert [run.failure for run in outcome.results] == [reason, reason]
    assert workers.are_gone


def test_an_unexpected_exception_is_raised_and_leaves_no_worker(
    mlflow: fakes.Store, watcher: Watcher, workers: Workers
) -> None:
    def open_store() -> MlflowStore:
        raise LookupError("a mistake in the program")

    with pytest.raises(LookupError):
        run_plan(mlflow, watcher, open_store=open_store)
    assert workers.are_gone
