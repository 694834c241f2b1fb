"""Plans runs, starts one fresh process a trajectory, and hands on what it says."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mnist_bench import interruption, protocol
from mnist_bench.data import Source
from mnist_bench.errors import EXIT_BROKE, EXIT_INTERRUPTED, EXIT_TERMINATED, BenchError
from mnist_bench.interruption import Terminated
from mnist_bench.machine import Machine
from mnist_bench.process import WorkerProcess
from mnist_bench.recording import Recording, planned_run
from mnist_bench.result import Evaluation, RunResult, Status
from mnist_bench.scenario import MAX_SEED, Scenario
from mnist_bench.store import Store


@dataclass(frozen=True)
class Trajectory:
    """One training from step 0.

    Attributes:
        seed: As the user counts seeds.
        training_seed: What the training is started with.
        rows: Step counts cut from it, rising.
        id: Random; recorded with every run that is cut from it.
    """

    seed: int
    training_seed: int
    rows: tuple[int, ...]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Plan:
    """Everything that is going to be trained for one scenario.

    Attributes:
        name: Name of the scenario.
        scenario: What is asked.
        source: The images.
        threads: Threads inside a TensorFlow operation.
        trajectories: In the order in which they are trained.
    """

    name: str
    scenario: Scenario
    source: Source
    threads: int
    trajectories: tuple[Trajectory, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of a plan.

    Attributes:
        results: Every run that was begun, in the plan's order.
        exit_status: 0, or that of what ended the plan early.
        error: What broke around the trainings; None where nothing did.
    """

    results: tuple[RunResult, ...]
    exit_status: int = 0
    error: BenchError | None = None


class Watcher(Protocol):
    """Somebody who is told how a plan goes."""

    def begun(self, trajectory: Trajectory) -> None:
        """A worker was started."""

    def sampled(self, sample: protocol.Sample) -> None:
        """A stretch of training has ended."""

    def scored(self, evaluation: Evaluation) -> None:
        """The network was scored."""

    def ended(self, trajectory: Trajectory, failure: str | None, log_tail: str) -> None:
        """The trajectory has ended; `failure` is what the training itself ended with."""


def lay_out(
    name: str,
    scenario: Scenario,
    source: Source,
    *,
    seeds: range,
    threads: int,
    independent: bool = False,
) -> Plan:
    """Lay out the trainings of a scenario.

    With a constant learning rate a row is an exact prefix of a longer one, so a seed's rows share
    one trajectory, unless `independent` asks for a training from zero for each.

    Raises:
        BenchError: A batch is larger than the training split, or a seed is too large.
    """
    batch_size = scenario.hyperparameters.batch_size
    if batch_size > source.train_images:
        raise BenchError(
            f"batch_size is {batch_size}, {source.name} has {source.train_images} training images",
            "choose a smaller batch_size",
        )
    if seeds[-1] > MAX_SEED:
        raise BenchError(f"seed {seeds[-1]} is above {MAX_SEED}", "choose a smaller --first-seed")
    if independent:
        pairs = [(seed, steps) for seed in seeds for steps in scenario.steps]
        trajectories = [Trajectory(seed, _seed_of_row(seed, s), (s,)) for seed, s in pairs]
    else:
        trajectories = [Trajectory(seed, seed, scenario.steps) for seed in seeds]
    return Plan(name, scenario, source, threads, tuple(trajectories))


def execute(
    plan: Plan, machine: Machine, open_store: Callable[[], Store], watcher: Watcher
) -> Outcome:
    """Train every trajectory of a plan, each in a process of its own, and record its runs.

    A worker that fails leaves its unfinished runs FAILED and the others go on; Ctrl-C and SIGTERM
    leave them KILLED and end the plan; so does a store that fails on the way.

    Args:
        plan: What to train.
        machine: The described machine, kept with every run.
        open_store: Opens the store, or hands on the one that is open; called while the worker
            imports TensorFlow.
        watcher: Told what happens.
    """
    results: list[RunResult] = []
    for trajectory in plan.trajectories:
        with contextlib.ExitStack() as stack:
            try:
                folder = Path(stack.enter_context(_folder()))
                request = _request(plan, trajectory, folder)
                worker = stack.enter_context(WorkerProcess(request, folder / "worker.log"))
            except OSError as error:
                return Outcome(tuple(results), EXIT_BROKE, _no_worker(error))
            recording = _recording(plan, trajectory, machine, folder)
            ended = _train(trajectory, worker, recording, open_store, watcher)
        results += recording.runs
        if ended.exit_status:
            return Outcome(tuple(results), ended.exit_status, ended.error)
    return Outcome(tuple(results))


def _folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for a worker's files, removed with its trajectory."""
    # On Windows a virus scanner may still hold a file of the folder; leave it then.
    return tempfile.TemporaryDirectory(prefix="mnist-bench-", ignore_cleanup_errors=True)


def _no_worker(error: OSError) -> BenchError:
    return BenchError(
        f"no training process could be started: {error}",
        f"see whether there is room in {tempfile.gettempdir()} and memory is free",
        exit_status=EXIT_BROKE,
    )


@dataclass(frozen=True)
class _Ended:
    """How a trajectory ended: 0, or why the plan must end with it."""

    exit_status: int = 0
    error: BenchError | None = None


def _train(
    trajectory: Trajectory,
    worker: WorkerProcess,
    recording: Recording,
    open_store: Callable[[], Store],
    watcher: Watcher,
) -> _Ended:
    """Follow one training to its end and record its runs."""
    watcher.begun(trajectory)
    try:
        failure = _follow(worker, recording, open_store, watcher)
    except (KeyboardInterrupt, Terminated) as error:
        by_user = isinstance(error, KeyboardInterrupt)
        reason = "interrupted" if by_user else "terminated"
        worker.kill()
        refusal = _closed(recording, "killed", reason)
        watcher.ended(trajectory, reason, "")
        return _Ended(EXIT_INTERRUPTED if by_user else EXIT_TERMINATED, refusal)
    except BenchError as error:
        worker.kill()
        _closed(recording, "failed", str(error))
        watcher.ended(trajectory, None, "")  # it is told once, when the command ends
        return _Ended(error.exit_status, error)
    except BaseException as error:
        worker.kill()
        _closed(recording, "failed", f"{type(error).__name__}: {error}")
        raise
    refusal = _closed(recording, "failed", failure) if failure else None
    watcher.ended(trajectory, failure, worker.log_tail() if failure else "")
    return _Ended(refusal.exit_status, refusal) if refusal else _Ended()


def _follow(
    worker: WorkerProcess,
    recording: Recording,
    open_store: Callable[[], Store],
    watcher: Watcher,
) -> str | None:
    """Hand on what the worker says until its end; why it failed, None where it did not."""
    # Held back: a database half-created could not be used again, a run made and not remembered
    # would stay RUNNING.
    with interruption.held_back():
        recording.begin(open_store())
    worker.go()
    for message in worker.messages():
        with interruption.held_back():
            recording.take(message)
        _tell(watcher, message)
    return worker.end()


def _closed(recording: Recording, status: Status, reason: str) -> BenchError | None:
    """End what still goes on; the store's refusal, None where it took everything."""
    try:
        with interruption.held_back():
            recording.close(status, reason)
    except BenchError as refusal:
        return refusal
    return None


def _tell(watcher: Watcher, message: protocol.Message) -> None:
    if isinstance(message, protocol.Sample):
        watcher.sampled(message)
    elif isinstance(message, protocol.Scored):
        watcher.scored(message.evaluation)


def _recording(plan: Plan, trajectory: Trajectory, machine: Machine, folder: Path) -> Recording:
    runs = tuple(
        planned_run(
            name=plan.name,
            scenario=plan.scenario,
            source=plan.source,
            machine=machine,
            threads=plan.threads,
            steps=steps,
            seed=trajectory.seed,
            training_seed=trajectory.training_seed,
            trajectory=trajectory.id,
        )
        for steps in trajectory.rows
    )
    return Recording(runs, plan.scenario, machine, folder)


def _request(plan: Plan, trajectory: Trajectory, folder: Path) -> protocol.Request:
    return protocol.Request(
        model=plan.scenario.model,
        hyperparameters=plan.scenario.hyperparameters,
        training_seed=trajectory.training_seed,
        rows=trajectory.rows,
        grid=plan.scenario.grid,
        source=plan.source,
        threads=plan.threads,
        folder=str(folder),
        started_at=time.time(),
        save_weights=plan.scenario.save_weights,
    )


def _seed_of_row(seed: int, steps: int) -> int:
    """A seed for a row that is trained from zero: another one for each seed and step count."""
    digest = hashlib.sha256(f"{seed},{steps}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & MAX_SEED
