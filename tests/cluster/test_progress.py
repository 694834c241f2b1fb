"""Progress of a plan on a cluster, as its leader's console shows it."""

from __future__ import annotations

import io
from typing import Any

import factories
from rich.console import Console

from mnist_bench.cluster.leader import Training
from mnist_bench.cluster.progress import ClusterProgress
from mnist_bench.cluster.tasks import Attempt
from mnist_bench.runner.plan import TrainingJob, TrainingPlan, make_plan
from mnist_bench.runner.progress import LOADING
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution


def plan_of(**changes: Any) -> TrainingPlan:
    values = {"seeds": range(2), "executions": [Execution(threads=2)]} | changes
    return make_plan("table-1", paper.PROTOCOL, factories.SOURCE, **values)


def training(job: TrainingJob, host: str = "laptop") -> Training:
    attempt = Attempt(
        id="a", worker="tcp://127.0.0.1:1", host=host, at_ms=0, machine=factories.machine(),
        execution=Execution(threads=4), exclusive=True,
    )  # fmt: skip
    return Training(job, "", attempt=attempt)


def test_a_terminal_shows_each_training_in_work() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    plan = plan_of()
    with ClusterProgress(plan, console) as progress:
        begun = training(plan.jobs[0])
        progress.begun(begun)
        progress.begun(training(plan.jobs[1], "desktop"))
        progress.received(begun, factories.sample_message(101))
        progress.received(begun, factories.evaluation_message(101))
        progress._progress.refresh()
    (first, second) = progress._progress.tasks
    assert (first.description, first.completed, first.total) == ("seed 0 on laptop", 101, 10_000)
    assert first.fields["status"].startswith("test 0.")
    assert (second.description, second.fields["status"]) == ("seed 1 on desktop", LOADING)


def test_without_a_terminal_lines_tell_what_is_in_work() -> None:
    console = Console(file=io.StringIO(), width=200, record=True)
    plan = plan_of()
    with ClusterProgress(plan, console) as progress:
        begun = training(plan.jobs[0])
        progress.begun(begun)
        progress.received(begun, factories.sample_message(101))
        progress.show_line()
    assert console.export_text().splitlines() == [
        "table-1: 2 trainings of 10,000 steps on mnist (55,000 images)",
        "0 of 2 trained; in work: seed 0 on laptop (101 of 10,000 steps, loading TensorFlow)",
    ]


def test_a_message_that_a_machine_sent_before_it_vanished_is_dropped() -> None:
    """It arrives after the news that the machine is gone."""
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    plan = plan_of()
    with ClusterProgress(plan, console) as progress:
        begun = training(plan.jobs[0])
        progress.begun(begun)
        progress.vanished(begun)
        progress.received(begun, factories.sample_message(101))
        assert progress._progress.tasks == []


def test_lines_tell_what_differs_between_the_trainings() -> None:
    console = Console(file=io.StringIO(), width=200, record=True)
    run = factories.run(1_000, seed=1)
    for changes, name in (
        ({}, "seed 1"),
        ({"independent": True}, "seed 1, 1,000 steps"),
        ({"executions": [Execution(threads=2), Execution(threads=4)]}, "seed 1, threads: 2"),
    ):
        plan = plan_of(**changes)
        progress = ClusterProgress(plan, console)
        each = training(next(job for job in plan.jobs if job.seed == 1), "laptop\n")
        progress.begun(each)
        progress.ended(each, (run,))
        (line,) = console.export_text().splitlines()
        assert line.startswith(f"1 of {len(plan.jobs)}: {name} on laptop : max test accuracy 0.98")
        assert progress._progress.tasks == []
    progress.vanished(each)
    assert console.export_text() == (
        "laptop  is gone: seed 1, threads: 2 is trained by another machine\n"
    )
