"""What `mnist-bench run` does: from names to plans, from plans to runs and their report."""

from __future__ import annotations

import datetime as dt
import functools
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mnist_bench import compare, cost, data, harness, machine, report, scenario, tracking, units
from mnist_bench.errors import EXIT_BROKE, BenchError
from mnist_bench.harness import Plan
from mnist_bench.progress import ProgressWatcher
from mnist_bench.report import Report
from mnist_bench.result import RunResult
from mnist_bench.scenario import DatasetChoice, Scenario
from mnist_bench.store import Store

REPORTS = Path("reports")


@dataclass(frozen=True)
class Wish:
    """What the user asked for.

    Attributes:
        scenarios: Names or paths.
        steps: Step counts instead of the scenarios' own.
        settings: Hyperparameters instead of the scenarios' own, as name and TOML text.
        seeds: Seeds to train.
        independent: Whether each row is trained from zero.
        threads: Threads inside a TensorFlow operation; None takes every core.
        dataset: Images instead of the scenarios' own choice.
        folder: The user's own IDX files.
        tracking_uri: Where MLflow records.
        experiment: Name of MLflow's experiment.
        command: The command line as it may be shown.
    """

    scenarios: tuple[str, ...]
    steps: tuple[int, ...] | None
    settings: tuple[tuple[str, str], ...]
    seeds: range
    independent: bool
    threads: int | None
    dataset: DatasetChoice | None
    folder: Path | None
    tracking_uri: str
    experiment: str
    command: str


@dataclass(frozen=True)
class Done:
    """What a command has to answer.

    Attributes:
        document_json: All runs, of however many scenarios, as the JSON document.
        exit_status: 0, 1 where a run failed, or that of an interruption.
    """

    document_json: str
    exit_status: int


def prepare(wish: Wish, console: Console) -> tuple[Plan, ...]:
    """Check everything that can be checked, and lay out the trainings.

    Raises:
        BenchError: Something of the wish can't be; nothing was started or written.
    """
    asked = [_asked(name, wish) for name in wish.scenarios]
    names = [name for name, _ in asked]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise BenchError(f"two scenarios are called {twice}", "run them one after the other")
    tracking.check(wish.tracking_uri, wish.experiment)
    sources: dict[DatasetChoice, data.Source] = {}
    plans = []
    for name, question in asked:
        choice = _dataset(question, wish)
        if choice not in sources:
            sources[choice] = data.find(
                choice,
                wish.folder,
                say=lambda line: console.print(line, style="bold yellow", highlight=False),
                show_progress=console.is_terminal,
            )
        plans.append(
            harness.lay_out(
                name,
                question,
                sources[choice],
                seeds=wish.seeds,
                threads=wish.threads or machine.usable_threads(),
                independent=wish.independent,
            )
        )
    return tuple(plans)


def check_folder() -> None:
    """Refuse a working directory that nothing can be written to.

    Raises:
        BenchError: It can't.
    """
    for folder in (Path(), REPORTS):
        try:
            if folder.is_dir():
                tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise BenchError(
                f"can't write to {folder.resolve()}: {error.strerror}",
                "go to a folder of your own, or make that one writable",
            ) from error


def carry_out(
    plans: Sequence[Plan], wish: Wish, console: Console, people: Console, *, reports: bool
) -> Done:
    """Train every plan, and report on each as soon as it has ended.

    Args:
        plans: Checked and laid out.
        wish: What the user asked for.
        console: For progress and faults.
        people: For tables.
        reports: Whether files are written.

    Raises:
        BenchError: The store can't be opened or fails, or a report can't be written.
    """
    described = machine.describe()
    open_store = functools.cache(lambda: Store(wish.tracking_uri, wish.experiment))
    results: list[RunResult] = []
    exit_status = 0
    for plan in plans:
        with ProgressWatcher(plan, console) as watcher:
            outcome = harness.execute(plan, described, open_store, watcher)
        results += outcome.results
        cost.remember(outcome.results, _scored_at_once(plan.source))
        _tell(_report_of(plan, outcome.results, described, wish.command), people, files=reports)
        exit_status = outcome.exit_status
        if exit_status:
            break
    if any(run.status != "finished" for run in results):
        exit_status = exit_status or EXIT_BROKE
    document = compare.document(described, results, _reference(results))
    return Done(report.to_json(document), exit_status)


def plans_as_text(plans: Sequence[Plan]) -> str:
    """What would be trained, and how long it takes, for people."""
    return "\n".join(line for plan in plans for line in _plan_lines(plan))


def plans_as_json(plans: Sequence[Plan]) -> str:
    """The same as one JSON document."""
    return json.dumps({"schema": 1, "plans": [_plan_facts(plan) for plan in plans]}, indent=2)


def _plan_lines(plan: Plan) -> list[str]:
    rows = ", ".join(units.count(steps) for steps in plan.scenario.steps)
    seeds = sorted({trajectory.seed for trajectory in plan.trajectories})
    each = "each row from zero" if len(plan.trajectories) > len(seeds) else "shared by its rows"
    seconds = _expected_seconds(plan)
    expected = (
        f"about {units.duration(seconds)}, as measured here before"
        if seconds is not None
        else "not known: nothing like it was measured here yet"
    )
    lines = [
        f"{plan.name}: {plan.scenario.title}",
        f"  images     {plan.source.name} ({units.count(plan.source.train_images)} to train on)",
        f"  rows       {rows} steps, on {len(seeds)} seeds from {seeds[0]} on",
        f"  trainings  {len(plan.trajectories)}, {each}, with {plan.threads} threads",
        f"  time       {expected}",
    ]
    if not plan.source.comparable:
        lines.append("  NOT COMPARABLE with Table I: other images than the full MNIST")
    return lines


def _plan_facts(plan: Plan) -> dict[str, object]:
    return {
        "scenario": plan.name,
        "dataset": plan.source.name,
        "threads": plan.threads,
        "trajectories": [{"seed": t.seed, "steps": list(t.rows)} for t in plan.trajectories],
        "expected_seconds": _expected_seconds(plan),
    }


def _expected_seconds(plan: Plan) -> float | None:
    known = cost.recall(plan.scenario.model, plan.scenario.hyperparameters, plan.threads)
    if known is None:
        return None
    scored = _scored_at_once(plan.source)
    works = (cost.work_of(plan.scenario, t.rows, scored) for t in plan.trajectories)
    return sum(work.seconds(known) for work in works)


def _report_of(
    plan: Plan, results: Sequence[RunResult], described: machine.Machine, command: str
) -> Report:
    reference = _reference(results)
    return Report(
        title=plan.scenario.title,
        scenario=plan.name,
        command=command,
        created=dt.datetime.now().astimezone().date().isoformat(),
        document=compare.document(described, results, reference),
        rows=compare.rows(results, reference),
    )


def _tell(made: Report, people: Console, *, files: bool) -> None:
    report.print_table(made, people)
    if files:
        written = report.write_reports(REPORTS, made.scenario, made)
        people.print("Written: " + ", ".join(path.as_posix() for path in written))


def _reference(results: Sequence[RunResult]) -> compare.Reference | None:
    """The shipped reference, where too few seeds were run for a spread of their own."""
    return compare.load_reference() if compare.needs_reference(results) else None


def _asked(name: str, wish: Wish) -> tuple[str, Scenario]:
    path = scenario.find(name)
    question = scenario.read(path)
    if wish.steps or wish.settings:
        question = question.with_changes(steps=wish.steps, settings=wish.settings)
    return path.stem, question


def _dataset(question: Scenario, wish: Wish) -> DatasetChoice:
    """The images that were asked for; a scenario's own sample yields to a folder given."""
    if wish.dataset is not None:
        return wish.dataset
    if wish.folder is not None and question.dataset == "mnist-5k":
        return "auto"
    return question.dataset


def _scored_at_once(source: data.Source) -> int:
    return source.validation_images + source.test_images
