"""The work of `mnist-bench join`: this machine works for plans that others have shared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.text import Text

from mnist_bench import (
    data,
    machine,
    plan_study,
    process,
    recovery,
    scenario,
    sharing,
    tracking,
)
from mnist_bench.dataset import Source
from mnist_bench.errors import BenchError
from mnist_bench.execution import Execution
from mnist_bench.harness import Outcome
from mnist_bench.journal import Address
from mnist_bench.limits import DatasetChoice
from mnist_bench.plan_study import PlanStudy
from mnist_bench.progress import ProgressWatcher
from mnist_bench.shared_plan import SharedPlan
from mnist_bench.sharing import Here
from mnist_bench.wish import carried_out, manner_of


@dataclass(frozen=True)
class Wish:
    """What the user asked for.

    Attributes:
        storage: Optuna's URL, where plans are shared.
        study: Of one of them the name; None works for every unfinished one, the oldest first.
        folder: The user's own IDX files.
        tracking_uri: The board that all machines record on.
        exclusive: Whether other benchmarks of this user are kept away.
    """

    storage: str
    study: str | None
    folder: Path | None
    tracking_uri: str
    exclusive: bool = True


def unfinished(wish: Wish) -> tuple[str, ...]:
    """The plans that are to be worked for, the oldest first; none where all is done.

    Raises:
        BenchError: The storage can't be used, or has no plan of the name that was asked for.
    """
    known = plan_study.plans_in(wish.storage)
    if wish.study is not None and wish.study not in known:
        raise BenchError(
            f"no plan is called {wish.study} in {tracking.without_credentials(wish.storage)}",
            f"there are {', '.join(known)}" if known else "there is none",
        )
    asked = (wish.study,) if wish.study else known
    return tuple(name for name in asked if _has_work(PlanStudy.opened(name, wish.storage)))


def _has_work(study: PlanStudy) -> bool:
    counts = study.refreshed()
    return bool(counts.waiting or counts.running)


def carry_out(wish: Wish, console: Console, people: Console) -> Outcome:
    """Work for every plan until nothing is left, also for those that are shared meanwhile.

    Args:
        wish: What the user asked for.
        console: For progress and faults.
        people: For results.

    Returns:
        What was trained here, and what broke first.

    Raises:
        BenchError: A server does not answer, the images are not at hand, or the board is another.
    """

    def say(line: str) -> None:
        people.print(Text(line), soft_wrap=True)

    seen: list[str] = []
    worst = Outcome(())
    while left := [name for name in unfinished(wish) if name not in seen]:
        seen.append(left[0])
        study = PlanStudy.opened(left[0], wish.storage)
        say(f"{left[0]}: {scenario.from_text(study.plan.scenario, left[0]).title}")
        outcome = sharing.work_off(study, _here(study, wish, console, say))
        worst = worst if worst.exit_status else outcome
        if outcome.exit_status and _has_work(study):
            return outcome  # this machine can't go on, and not for another plan either
    if not worst.exit_status:
        say("nothing is left to do")
    return worst


def _here(study: PlanStudy, wish: Wish, console: Console, say: Callable[[str], None]) -> Here:
    plan, described = study.plan, machine.describe()
    tracking.check(wish.tracking_uri, plan.experiment)
    store = recovery.opened_store(wish.tracking_uri, plan.experiment, described.machine_id, say)
    sharing.check_board(study, store)
    return Here(
        machine=described,
        source=_source(plan, wish, console),
        execution=_execution(plan),
        store=store,
        address=Address.of(wish.tracking_uri, plan.experiment),
        exclusive=wish.exclusive,
        watch=lambda training: ProgressWatcher(training, console),
        say=say,
    )


def _execution(plan: SharedPlan) -> Execution:
    """How trainings are carried out here, with what bfloat16 is worth here if that is asked for."""
    asked = scenario.from_text(plan.scenario, plan.study)
    manner = manner_of(plan.threads, plan.precision, plan.device)
    own = carried_out(asked, manner, manner.threads)
    if own.precision != "bfloat16":
        return own
    speedup = process.probe(own).bfloat16_speedup
    return own.model_copy(update={"bfloat16_speedup": speedup})


def _source(plan: SharedPlan, wish: Wish, console: Console) -> Source:
    """The plan's images.

    Raises:
        BenchError: They are not at hand, or others are.
    """

    def warn(line: str) -> None:
        console.print(Text(line, style="bold yellow"), soft_wrap=True)

    known: dict[str, DatasetChoice] = {each: each for each in get_args(DatasetChoice)}
    source = data.find(
        known.get(plan.dataset, "auto"),
        wish.folder,
        say=warn,
        show_progress=console.is_terminal,
    )
    if source.digest != plan.dataset_digest:
        raise BenchError(
            f"the plan {plan.study} is about {plan.dataset}, and other images are at hand here",
            "give --data DIR or MNIST_BENCH_DATA the folder of the same images",
        )
    return source
