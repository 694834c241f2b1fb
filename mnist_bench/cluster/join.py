"""Orchestration of `mnist-bench join`: this machine works on shared plans and studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.text import Text

from mnist_bench.cluster import optuna_queue, shares
from mnist_bench.cluster.optuna_queue import PlanQueue
from mnist_bench.core.errors import (
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    EXIT_USAGE,
    BenchError,
)
from mnist_bench.core.limits import DatasetChoice
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import machine, system
from mnist_bench.runner import process
from mnist_bench.runner.executor import Outcome
from mnist_bench.runner.options import base_execution, execution_for
from mnist_bench.runner.progress import ProgressWatcher
from mnist_bench.runner.work_context import WorkContext
from mnist_bench.scenarios import scenario
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking import recovery, uri
from mnist_bench.tracking.recorder import WarnOnce
from mnist_bench.tracking.spool import Address
from mnist_bench.tuning import open_study, storage
from mnist_bench.tuning.open_study import JoinableStudy


@dataclass(frozen=True)
class JoinOptions:
    """Options of `mnist-bench join`.

    Attributes:
        storage: Optuna's URL, where plans and studies are shared.
        study: Name of a plan or study; None takes every unfinished one, the oldest first.
        data_folder: Folder of the user's IDX files.
        tracking_uri: The store that all machines record to.
        exclusive: Whether to lock out other benchmarks of this user.
    """

    storage: str
    study: str | None
    data_folder: Path | None
    tracking_uri: str
    exclusive: bool = True


@dataclass(frozen=True)
class _JoinedPlan:
    """A shared plan of `mnist-bench run`."""

    queue: PlanQueue

    @property
    def title(self) -> str:
        """Title of its scenario or space."""
        return scenario.from_text(self.queue.plan.scenario, self.queue.plan.study).title

    @property
    def requirements(self) -> _Requirements:
        """What this machine needs to work on it."""
        plan = self.queue.plan
        return _Requirements(
            plan.study,
            plan.dataset,
            plan.dataset_digest,
            plan.experiment,
            self.queue.store_run_id,
        )

    @property
    def has_work(self) -> bool:
        """Whether shares are waiting or running."""
        counts = self.queue.refresh()
        return bool(counts.waiting or counts.running)

    @property
    def execution(self) -> Execution:
        """Execution settings on this machine, with the measured speed-up of bfloat16 if used."""
        plan = self.queue.plan
        plan_scenario = scenario.from_text(plan.scenario, plan.study)
        base = base_execution(plan.threads, plan.precision, plan.device)
        execution = execution_for(plan_scenario, base, base.threads)
        if execution.precision != "bfloat16":
            return execution
        speedup = process.probe(execution).bfloat16_speedup
        return execution.model_copy(update={"bfloat16_speedup": speedup})

    def run(self, here: WorkContext) -> Outcome:
        """Train shares until none is left."""
        return shares.run_shares(self.queue, here)


@dataclass(frozen=True)
class _JoinedStudy:
    """A shared study of `mnist-bench tune`."""

    joinable: JoinableStudy

    @property
    def title(self) -> str:
        """Title of its scenario or space."""
        return self.joinable.spec.space.title

    @property
    def requirements(self) -> _Requirements:
        """What this machine needs to work on it."""
        search = self.joinable.search
        return _Requirements(
            self.joinable.name,
            search.dataset,
            search.dataset_digest,
            search.experiment,
            self.joinable.run_id,
        )

    @property
    def has_work(self) -> bool:
        """Whether trials are requested."""
        return self.joinable.search.is_open

    @property
    def execution(self) -> Execution:
        """Execution settings on this machine: all cores."""
        return Execution(threads=system.usable_threads())

    def run(self, here: WorkContext) -> Outcome:
        """Train trials until no more are requested."""
        return open_study.run_shared_trials(self.joinable, here)


@dataclass(frozen=True)
class _Requirements:
    """What a machine needs to work on a shared plan or study.

    Attributes:
        name: Of the plan or study.
        dataset: Name of the images.
        dataset_digest: Digest of the images.
        experiment: Name of the MLflow experiment.
        run_id: Its MLflow run, which identifies the store that all machines record to.
    """

    name: str
    dataset: str
    dataset_digest: str
    experiment: str
    run_id: str | None


def unfinished(options: JoinOptions, warn_once: WarnOnce) -> dict[str, _JoinedPlan | _JoinedStudy]:
    """Unfinished plans and studies by name, the oldest first.

    Args:
        warn_once: Warns about each that is skipped because another version shares it.

    Raises:
        BenchError: The storage can't be used, or the requested plan or study is missing or of
            another version.
    """
    stored = storage.attributes(options.storage)
    names = [name for name, attributes in stored.items() if _is_shared(attributes)]
    if options.study is not None and options.study not in names:
        raise BenchError(
            f"no shared plan or study is called {options.study} in "
            f"{uri.without_credentials(options.storage)}",
            f"existing ones: {', '.join(names)}" if names else "there are none",
        )
    found: dict[str, _JoinedPlan | _JoinedStudy] = {}
    for name in [options.study] if options.study else names:
        try:
            shared = _open(name, stored[name], options)
        except BenchError as error:
            _skip(name, error, options, warn_once)
            continue
        if shared.has_work:
            found[name] = shared
    return found


def _is_shared(attributes: Mapping[str, Any]) -> bool:
    return optuna_queue.is_plan(attributes) or open_study.is_joinable(attributes)


def _open(
    name: str, attributes: Mapping[str, Any], options: JoinOptions
) -> _JoinedPlan | _JoinedStudy:
    if optuna_queue.is_plan(attributes):
        return _JoinedPlan(PlanQueue.open(name, options.storage))
    return _JoinedStudy(JoinableStudy.from_attributes(name, options.storage, attributes))


def _skip(name: str, error: BenchError, options: JoinOptions, warn_once: WarnOnce) -> None:
    """Skip a plan or study that this machine can't work on, unless it was requested by name.

    Raises:
        BenchError: It was requested by name, or something failed.
    """
    if options.study is not None or error.exit_status != EXIT_USAGE:
        raise error
    warn_once(name, f"{name} is skipped: {error}")


def run_shared(
    options: JoinOptions, console: Console, log: Callable[[str], None], warn_once: WarnOnce
) -> Outcome:
    """Work on every plan and study until nothing is left, including those shared meanwhile.

    Args:
        console: For progress and warnings.
        log: Gets lines about the work, which may contain any characters.
        warn_once: Warns about each plan or study that is skipped.

    Returns:
        What was trained here, and the first failure or reason for skipping.

    Raises:
        BenchError: A server does not answer; or, for a plan or study requested by name, the images
            are missing, the store is another one, or times of different machines would be compared.
    """
    visited: set[str] = set()
    worst = Outcome(())
    while remaining := {
        n: each for n, each in unfinished(options, warn_once).items() if n not in visited
    }:
        name, joined = next(iter(remaining.items()))
        visited.add(name)
        log(f"{name}: {joined.title}")
        try:
            outcome = joined.run(_work_context(joined, options, console, log))
        except BenchError as error:
            _skip(name, error, options, warn_once)
            outcome = Outcome((), error.exit_status, error)
        else:
            if outcome.exit_status and _must_stop(name, outcome, options, warn_once):
                return outcome
        worst = worst if worst.exit_status else outcome
    if not worst.exit_status:
        log("nothing is left to do")
    return worst


def _must_stop(name: str, outcome: Outcome, options: JoinOptions, warn_once: WarnOnce) -> bool:
    """Whether to stop after a failure: interrupted, or the plan or study is still unfinished."""
    stopped = outcome.exit_status in {EXIT_INTERRUPTED, EXIT_TERMINATED}
    return stopped or name in unfinished(options, warn_once)


def _work_context(
    joined: _JoinedPlan | _JoinedStudy,
    options: JoinOptions,
    console: Console,
    log: Callable[[str], None],
) -> WorkContext:
    requirements, described = joined.requirements, machine.describe()
    uri.check_uri(options.tracking_uri, requirements.experiment)
    store = recovery.open_store(
        options.tracking_uri, requirements.experiment, described.machine_id, log
    )
    shares.check_shared_store(requirements.name, requirements.run_id, store)
    return WorkContext(
        machine=described,
        source=_source(requirements, options, console),
        execution=joined.execution,
        store=store,
        address=Address.of(options.tracking_uri, requirements.experiment),
        exclusive=options.exclusive,
        watch=lambda training: ProgressWatcher(training, console),
        log=log,
    )


def _source(requirements: _Requirements, options: JoinOptions, console: Console) -> Source:
    """Find the required images.

    Raises:
        BenchError: They are missing, or this machine has other ones.
    """

    def warn(line: str) -> None:
        console.print(Text(line, style="bold yellow"), soft_wrap=True)

    known: dict[str, DatasetChoice] = {each: each for each in get_args(DatasetChoice)}
    source = mnist.find(
        known.get(requirements.dataset, "auto"),
        options.data_folder,
        log=warn,
        show_progress=console.is_terminal,
    )
    if source.digest != requirements.dataset_digest:
        raise BenchError(
            f"{requirements.name} needs {requirements.dataset}, but this machine has other images",
            "set --data DIR or MNIST_BENCH_DATA to a folder with the same images",
        )
    return source
