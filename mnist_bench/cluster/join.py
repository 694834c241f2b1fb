"""The work of `mnist-bench join`: this machine works for plans and studies that others share."""

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
    EXIT_WRONG_REQUEST,
    BenchError,
)
from mnist_bench.core.limits import DatasetChoice
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import machine, system
from mnist_bench.runner import process
from mnist_bench.runner.executor import Outcome
from mnist_bench.runner.here import WorkContext
from mnist_bench.runner.options import base_execution, execution_for
from mnist_bench.runner.progress import ProgressWatcher
from mnist_bench.scenarios import scenario
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking import recovery, uri
from mnist_bench.tracking.recorder import WarnOnce
from mnist_bench.tracking.spool import Address
from mnist_bench.tuning import open_study
from mnist_bench.tuning import storage as study_storage
from mnist_bench.tuning.open_study import JoinableStudy


@dataclass(frozen=True)
class JoinOptions:
    """What the user asked for.

    Attributes:
        storage: Optuna's URL, where plans and studies are shared.
        study: Of a plan or a study the name; None works for every unfinished one, the oldest first.
        folder: The user's own IDX files.
        tracking_uri: The board that all machines record on.
        exclusive: Whether other benchmarks of this user are kept away.
    """

    storage: str
    study: str | None
    folder: Path | None
    tracking_uri: str
    exclusive: bool = True


@dataclass(frozen=True)
class _Plan:
    """A plan of `run`'s."""

    study: PlanQueue

    @property
    def title(self) -> str:
        """For people."""
        return scenario.from_text(self.study.plan.scenario, self.study.plan.study).title

    @property
    def asks(self) -> _Asks:
        """What whoever works on it must have."""
        plan = self.study.plan
        return _Asks(plan.study, plan.dataset, plan.dataset_digest, plan.experiment,
                     self.study.board)  # fmt: skip

    @property
    def has_work(self) -> bool:
        """Whether something is left to do."""
        counts = self.study.refreshed()
        return bool(counts.waiting or counts.running)

    @property
    def execution(self) -> Execution:
        """How trainings are carried out here, with what bfloat16 is worth where it is asked for."""
        plan = self.study.plan
        asked = scenario.from_text(plan.scenario, plan.study)
        manner = base_execution(plan.threads, plan.precision, plan.device)
        own = execution_for(asked, manner, manner.threads)
        if own.precision != "bfloat16":
            return own
        speedup = process.probe(own).bfloat16_speedup
        return own.model_copy(update={"bfloat16_speedup": speedup})

    def work_off(self, here: WorkContext) -> Outcome:
        """Work on it until nothing is left."""
        return shares.run_shares(self.study, here)


@dataclass(frozen=True)
class _Search:
    """A study of `tune`'s."""

    joinable: JoinableStudy

    @property
    def title(self) -> str:
        """For people."""
        return self.joinable.question.space.title

    @property
    def asks(self) -> _Asks:
        """What whoever works on it must have."""
        search = self.joinable.search
        return _Asks(self.joinable.name, search.dataset, search.dataset_digest, search.experiment,
                     self.joinable.run_id)  # fmt: skip

    @property
    def has_work(self) -> bool:
        """Whether trials are asked for."""
        return self.joinable.search.is_open

    @property
    def execution(self) -> Execution:
        """How trials are trained here: on every core."""
        return Execution(threads=system.usable_threads())

    def work_off(self, here: WorkContext) -> Outcome:
        """Train trials until no more are asked for."""
        return open_study.run_shared_trials(self.joinable, here)


@dataclass(frozen=True)
class _Asks:
    """What a machine must have to work on a study.

    Attributes:
        name: Of the study.
        dataset: Name of the images.
        dataset_digest: Of these.
        experiment: MLflow's experiment.
        run_id: MLflow's id of the study's own run, on the board that all record on.
    """

    name: str
    dataset: str
    dataset_digest: str
    experiment: str
    run_id: str | None


def unfinished(wish: JoinOptions, once: WarnOnce) -> dict[str, _Plan | _Search]:
    """What is to be worked on, by its study's name, the oldest first; nothing where all is done.

    Args:
        wish: What the user asked for.
        once: Told of each that is left out, since another version shares it.

    Raises:
        BenchError: The storage can't be used, has nothing of the name that was asked for, or
            another version shares that.
    """
    kept = study_storage.attributes(wish.storage)
    names = [name for name, attributes in kept.items() if _is_shared(attributes)]
    if wish.study is not None and wish.study not in names:
        raise BenchError(
            f"nothing that machines share is called {wish.study} in "
            f"{uri.without_credentials(wish.storage)}",
            f"there are {', '.join(names)}" if names else "there is nothing",
        )
    found: dict[str, _Plan | _Search] = {}
    for name in [wish.study] if wish.study else names:
        try:
            shared = _opened(name, kept[name], wish)
        except BenchError as error:
            _leave_out(name, error, wish, once)
            continue
        if shared.has_work:
            found[name] = shared
    return found


def _is_shared(attributes: Mapping[str, Any]) -> bool:
    return optuna_queue.is_plan(attributes) or open_study.is_search(attributes)


def _opened(name: str, attributes: Mapping[str, Any], wish: JoinOptions) -> _Plan | _Search:
    if optuna_queue.is_plan(attributes):
        return _Plan(PlanQueue.opened(name, wish.storage))
    return _Search(JoinableStudy.told(name, wish.storage, attributes))


def _leave_out(name: str, error: BenchError, wish: JoinOptions, once: WarnOnce) -> None:
    """Go on without what this machine can't work on, unless just that was asked for.

    Raises:
        BenchError: It was, or something broke.
    """
    if wish.study is not None or error.exit_status != EXIT_WRONG_REQUEST:
        raise error
    once(name, f"{name} is left out: {error}")


def run_shared(
    wish: JoinOptions, console: Console, say: Callable[[str], None], once: WarnOnce
) -> Outcome:
    """Work for every plan and study until nothing is left, also for those shared meanwhile.

    Args:
        wish: What the user asked for.
        console: For progress and faults.
        say: Told what comes of the work, in lines that may hold anything.
        once: Told of each that is left out.

    Returns:
        What was trained here, and what broke first, or why one was left out.

    Raises:
        BenchError: A server does not answer; or of what was asked for by its name the images are
            not at hand, the board is another, or times of unlike machines would be compared.
    """
    seen: set[str] = set()
    worst = Outcome(())
    while left := {n: each for n, each in unfinished(wish, once).items() if n not in seen}:
        name, joined = next(iter(left.items()))
        seen.add(name)
        say(f"{name}: {joined.title}")
        try:
            outcome = joined.work_off(_here(joined, wish, console, say))
        except BenchError as error:
            _leave_out(name, error, wish, once)
            outcome = Outcome((), error.exit_status, error)
        else:
            if outcome.exit_status and _is_over(name, outcome, wish, once):
                return outcome
        worst = worst if worst.exit_status else outcome
    if not worst.exit_status:
        say("nothing is left to do")
    return worst


def _is_over(name: str, outcome: Outcome, wish: JoinOptions, once: WarnOnce) -> bool:
    """Whether what ended the work on one ends all: this machine can't go on, or must not."""
    stopped = outcome.exit_status in {EXIT_INTERRUPTED, EXIT_TERMINATED}
    return stopped or name in unfinished(wish, once)


def _here(
    joined: _Plan | _Search, wish: JoinOptions, console: Console, say: Callable[[str], None]
) -> WorkContext:
    asks, described = joined.asks, machine.describe()
    uri.check(wish.tracking_uri, asks.experiment)
    store = recovery.opened_store(wish.tracking_uri, asks.experiment, described.machine_id, say)
    shares.check_shared_store(asks.name, asks.run_id, store)
    return WorkContext(
        machine=described,
        source=_source(asks, wish, console),
        execution=joined.execution,
        store=store,
        address=Address.of(wish.tracking_uri, asks.experiment),
        exclusive=wish.exclusive,
        watch=lambda training: ProgressWatcher(training, console),
        say=say,
    )


def _source(asks: _Asks, wish: JoinOptions, console: Console) -> Source:
    """The images that are asked for.

    Raises:
        BenchError: They are not at hand, or others are.
    """

    def warn(line: str) -> None:
        console.print(Text(line, style="bold yellow"), soft_wrap=True)

    known: dict[str, DatasetChoice] = {each: each for each in get_args(DatasetChoice)}
    source = mnist.find(
        known.get(asks.dataset, "auto"),
        wish.folder,
        say=warn,
        show_progress=console.is_terminal,
    )
    if source.digest != asks.dataset_digest:
        raise BenchError(
            f"{asks.name} is about {asks.dataset}, and other images are at hand here",
            "give --data DIR or MNIST_BENCH_DATA the folder of the same images",
        )
    return source
