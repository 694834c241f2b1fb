"""What the user asked `mnist-bench run` for: checked, and laid out as plans."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from mnist_bench.analysis import table1
from mnist_bench.core import formatting
from mnist_bench.core.errors import BenchError
from mnist_bench.core.escaping import one_line
from mnist_bench.core.limits import DatasetChoice, DeviceChoice, Precision
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import system
from mnist_bench.runner import plan as layout
from mnist_bench.runner import process, time_estimates
from mnist_bench.runner.plan import TrainingJob, TrainingPlan
from mnist_bench.runner.seeds import StoppingRule
from mnist_bench.scenarios import scenario
from mnist_bench.scenarios.execution import Execution, thread_counts
from mnist_bench.scenarios.scenario import Scenario
from mnist_bench.tracking import uri

REPORTS = Path("reports")
"""Where reports are written."""
_MAX_NAME = 100


@dataclass(frozen=True)
class RunOptions:
    """What the user asked for.

    Attributes:
        scenarios: Names or paths.
        steps: Step counts instead of the scenarios' own.
        settings: Hyperparameters instead of the scenarios' own, as name and TOML text.
        seeds: Seeds to train, at most.
        repeats: When fewer of them are enough; None where all are trained.
        independent: Whether each row is trained from zero.
        threads: Threads, each with an operation of its own; None takes the scenarios' counts, and
            every core where they have none.
        precision: Of the arithmetic.
        device: Where the trainings are done.
        dataset: Images instead of the scenarios' own choice.
        folder: The user's own IDX files.
        tracking_uri: Where MLflow records.
        experiment: Name of MLflow's experiment.
        command: The command line as it may be shown.
        resume: Whether rows that are recorded already are left out.
        spoilt_again: Whether those of them that the machine spoilt are trained again.
        exclusive: Whether other benchmarks of this user are kept away.
        storage: Optuna's URL of a plan that machines share; None keeps the plan to this one.
    """

    scenarios: tuple[str, ...]
    steps: tuple[int, ...] | None
    settings: tuple[tuple[str, str], ...]
    seeds: range
    repeats: StoppingRule | None
    independent: bool
    threads: int | None
    precision: Precision
    device: DeviceChoice
    dataset: DatasetChoice | None
    folder: Path | None
    tracking_uri: str
    experiment: str
    command: str
    resume: bool = False
    spoilt_again: bool = False
    exclusive: bool = True
    storage: str | None = None


def make_plans(wish: RunOptions, console: Console) -> tuple[TrainingPlan, ...]:
    """Check everything that can be checked, and lay out the trainings.

    Raises:
        BenchError: Something of the wish can't be; nothing was started or written.
    """
    asked = [_asked(name, wish) for name in wish.scenarios]
    names = [name for name, _ in asked]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise BenchError(f"two scenarios are called {twice}", "run them one after the other")
    for name, question in asked:
        _check_manner(name, question, wish)
    counts = {name: _thread_counts(question, wish) for name, question in asked}
    uri.check(wish.tracking_uri, wish.experiment)
    sources = _sources({_dataset(question, wish) for _, question in asked}, wish, console)
    if wish.repeats or len(wish.seeds) < table1.MIN_SEEDS:
        table1.load_reference()  # better missed now than after the training
    manner = base_execution(wish.threads, wish.precision, wish.device)
    several = next((name for name, of in counts.items() if len(of) > 1), None)
    if several and manner.device == "gpu":
        raise BenchError(
            f"{several} compares numbers of threads, which mean nothing on a GPU",
            "leave --device out, or give one number as --threads",
        )
    return tuple(
        layout.make_plan(
            name,
            question,
            sources[_dataset(question, wish)],
            seeds=wish.seeds,
            executions=[execution_for(question, manner, n) for n in counts[name]],
            independent=wish.independent,
        )
        for name, question in asked
    )


def check_folders() -> None:
    """Refuse a working directory that nothing can be written to.

    Raises:
        BenchError: Nothing can, there or in the folders for reports and artifacts.
    """
    for folder in (Path(), REPORTS, Path("mlruns")):
        try:
            if folder.exists():  # in a file of that name nothing can be made either
                tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            where = "the working directory" if folder == Path() else f"the folder {folder}"
            in_the_way = folder.exists() and not folder.is_dir()
            raise BenchError(
                f"can't write to {where}: {error.strerror}",
                "move that file away"
                if in_the_way
                else "go to a folder of your own, or make that one writable",
            ) from error


def plans_as_text(plans: Sequence[TrainingPlan], wish: RunOptions) -> str:
    """What would be trained, and how long it takes, for people."""
    return "\n".join(line for plan in plans for line in _plan_lines(plan, wish))


def plans_as_json(plans: Sequence[TrainingPlan], wish: RunOptions) -> str:
    """The same as one JSON document; of seeds without a number it has the fewest."""
    return json.dumps({"schema": 1, "plans": [_plan_facts(p, wish) for p in plans]}, indent=2)


def _plan_lines(plan: TrainingPlan, wish: RunOptions) -> list[str]:
    rows = ", ".join(formatting.count(steps) for steps in plan.scenario.steps)
    certain = _certain(plan, wish)
    seeds = len({trajectory.seed for trajectory in certain})
    shares = plan.scenario.hyperparameters.rows_share_steps and not wish.independent
    each = "shared by its rows" if shares else "each row from zero"
    least = "at least " if wish.repeats else ""
    number, trainings = (f"{least}{n}" if n else "none" for n in (seeds, len(certain)))
    lines = [
        f"{plan.name}: {one_line(plan.scenario.title)}",
        f"  images     {plan.source.name} ({formatting.count(plan.source.train_images)} to train on)",
        f"  rows       {rows} steps; seeds: {number}, from {wish.seeds[0]} on",
        f"  trainings  {trainings}, {each}",
        f"  with       {plan.executions[0]}, threads: {_threads(plan)}",
        f"  time       {_time(plan, wish)}",
    ]
    if wish.repeats:
        lines.insert(3, f"  seeds      {wish.repeats}")
    if not plan.source.comparable:
        lines.append("  NOT COMPARABLE with Table I: other images than the full MNIST")
    return lines


def _time(plan: TrainingPlan, wish: RunOptions) -> str:
    certain = _certain(plan, wish)
    if not certain:
        return "none: all that is sure to be wanted is recorded already"
    seconds = _expected_seconds(plan, certain)
    if seconds is None:
        return "not known: nothing like it was measured here yet"
    least = "at least, if the budget lasts, " if wish.repeats else ""
    return f"{least}about {formatting.duration(seconds)}, as measured here before"


def _threads(plan: TrainingPlan) -> str:
    return ", ".join(formatting.count(execution.threads) for execution in plan.executions)


def _plan_facts(plan: TrainingPlan, wish: RunOptions) -> dict[str, object]:
    certain = _certain(plan, wish)
    return {
        "scenario": plan.name,
        "dataset": plan.source.name,
        # One figure, as ever; where there are several, each training tells its own.
        "threads": plan.executions[0].threads if len(plan.executions) == 1 else None,
        "precision": plan.executions[0].precision,
        "device": plan.executions[0].device,
        "trajectories": [
            {"seed": t.seed, "steps": list(t.rows), "threads": t.execution.threads} for t in certain
        ],
        "expected_seconds": _expected_seconds(plan, certain),
        "repeats": asdict(wish.repeats) if wish.repeats else None,
    }


def _certain(plan: TrainingPlan, wish: RunOptions) -> Sequence[TrainingJob]:
    """The trainings that are sure to come: with a rule, as far as the fewest seeds go."""
    if wish.repeats is None:
        return plan.trajectories
    end = wish.seeds[0] + table1.MIN_SEEDS
    return [trajectory for trajectory in plan.trajectories if trajectory.seed < end]


def expected_seconds(plans: Sequence[TrainingPlan], wish: RunOptions) -> float | None:
    """What the plans take, as measured here before; None where nothing like them was."""
    each = [_expected_seconds(plan, _certain(plan, wish)) for plan in plans]
    known = [seconds for seconds in each if seconds is not None]
    return sum(known) if len(known) == len(each) else None


def _expected_seconds(plan: TrainingPlan, trajectories: Sequence[TrainingJob]) -> float | None:
    asked, scored = plan.scenario, plan.source.scored_images
    costs = {
        execution: time_estimates.load_cost(asked.model, asked.hyperparameters, execution)
        for execution in {trajectory.execution for trajectory in trajectories}
    }
    total = 0.0
    for trajectory in trajectories:
        known = costs[trajectory.execution]
        if known is None:
            return None
        total += time_estimates.work_of(asked, trajectory.rows, scored).seconds(known)
    return total


def _thread_counts(question: Scenario, wish: RunOptions) -> tuple[int, ...]:
    if wish.threads is not None:
        return (wish.threads,)
    usable = system.usable_threads()
    return thread_counts(question.threads, usable) if question.threads else (usable,)


def base_execution(threads: int | None, precision: Precision, device: DeviceChoice) -> Execution:
    """How trainings are carried out here; looks for a GPU where one may serve.

    Args:
        threads: None takes every core.
        precision: Of the arithmetic.
        device: As it was asked for.

    Raises:
        BenchError: There is no GPU, and one was insisted on.
    """
    manner = Execution(threads=threads or system.usable_threads())
    gpus = () if device == "cpu" else process.probe(manner).gpus
    manner = manner.model_copy(update={"precision": precision})
    if device == "gpu" and not gpus:
        raise BenchError(
            "--device gpu: TensorFlow finds no GPU here",
            "leave --device out, or see https://www.tensorflow.org/install/pip for the driver "
            "and the libraries that it needs",
        )
    if not gpus:
        return manner
    return manner.model_copy(
        update={
            "device": "gpu",
            "device_name": gpus[0].name,
            "device_memory_bytes": gpus[0].memory_bytes,
        }
    )


def _check_manner(name: str, question: Scenario, wish: RunOptions) -> None:
    """Refuse an arithmetic or a device that only networks know, and threads that are not shared."""
    if wish.storage and question.threads and wish.threads is None:
        raise BenchError(
            f"{name} compares numbers of threads, which one machine does for itself",
            "leave --storage out, or give one number as --threads",
        )
    if not question.hyperparameters.is_fitted_at_once:
        return
    wrong = "--precision bfloat16" if wish.precision != "float32" else None
    wrong = "--device gpu" if wish.device == "gpu" else wrong
    if wrong:
        raise BenchError(
            f"{wrong}: {name} asks for {question.model}, which knows only its library's own",
            f"leave {wrong.partition(' ')[0]} out, or run networks alone with it",
        )


def execution_for(question: Scenario, manner: Execution, threads: int) -> Execution:
    """How a scenario is carried out; on a GPU, networks alone."""
    if question.hyperparameters.is_fitted_at_once:
        return Execution(threads=threads)
    return manner.model_copy(update={"threads": threads})


def _asked(name: str, wish: RunOptions) -> tuple[str, Scenario]:
    path = scenario.find(name)
    if len(path.stem) > _MAX_NAME or not path.stem.isprintable():
        raise BenchError(
            f"the name of the scenario file {path.stem[:_MAX_NAME]!r} can't name its reports",
            f"give the file a plain name of at most {_MAX_NAME} characters",
        )
    question = scenario.read(path)
    if wish.steps or wish.settings:
        question = question.with_changes(steps=wish.steps, settings=wish.settings)
    return _name(path), question


def _name(path: Path) -> str:
    """The scenario's name; that of a study's winner is not its study's, whose reports it bears."""
    try:
        beside = json.loads(path.with_suffix(".json").read_bytes())
    except (OSError, ValueError):
        return path.stem
    return f"{path.stem}-winner" if isinstance(beside, dict) and "study" in beside else path.stem


def _sources(
    choices: set[DatasetChoice], wish: RunOptions, console: Console
) -> dict[DatasetChoice, Source]:
    def say(line: str) -> None:
        console.print(Text(line, style="bold yellow"), soft_wrap=True)

    return {
        choice: mnist.find(choice, wish.folder, say=say, show_progress=console.is_terminal)
        for choice in sorted(choices)
    }


def _dataset(question: Scenario, wish: RunOptions) -> DatasetChoice:
    """The images that were asked for; a scenario's own sample yields to a folder given."""
    if wish.dataset is not None:
        return wish.dataset
    if wish.folder is not None and question.dataset == "mnist-5k":
        return "auto"
    return question.dataset
