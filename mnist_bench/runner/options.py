"""Options of `mnist-bench run`: checked, and turned into training plans."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from mnist_bench.analysis import table1
from mnist_bench.core import files, formatting
from mnist_bench.core.errors import BenchError
from mnist_bench.core.escaping import one_line
from mnist_bench.core.limits import MAX_THREADS, DatasetChoice, DeviceChoice, Precision
from mnist_bench.core.untrusted import parse_json
from mnist_bench.data import mnist
from mnist_bench.measurement import system
from mnist_bench.measurement.machine import tensorflow_distribution
from mnist_bench.measurement.quality import Verdict
from mnist_bench.runner import environment, process, time_estimates
from mnist_bench.runner.plan import TrainingJob, TrainingPlan, make_plan
from mnist_bench.runner.seeds import StoppingRule
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Device, Execution, thread_counts
from mnist_bench.scenarios.scenario import DOUBLING, Scenario, find, read
from mnist_bench.tracking import spool, uri

_MAX_STUDY_BYTES, _MAX_STUDY_VALUES, _MAX_STUDY_TEXT = 32 * 2**20, 2_000_000, 100_000
"""Limits of what lies beside a scenario file, which may be its study's document."""
REPORTS = Path("reports")
"""Where reports are written."""
_MAX_NAME = 100
_MAX_VARIABLES = 60


@dataclass(frozen=True)
class RunOptions:
    """Options of `mnist-bench run`.

    Attributes:
        scenarios: Names or paths.
        steps: None takes the scenarios'.
        settings: Hyperparameters that replace the scenarios', as name and TOML text.
        repeats: Rule that decides how many of the seeds are trained; None trains all.
        independent: Whether each step count is trained from step 0.
        threads: None takes the scenarios' counts, or every core if a scenario has none.
        dataset: None takes the scenarios'.
        data_folder: Folder with MNIST's IDX files; None looks for them, or downloads them.
        command: The command line without private folders and URIs.
        resume: Whether to skip step counts that are recorded already.
        repeated_verdicts: With `resume`, runs of these verdicts are trained again.
        exclusive: Whether to lock out other benchmarks of this user.
        cluster: `local`, `local:N` or the address of a Dask scheduler; None trains here, one
            training after the other.
        insecure_cluster: Whether an address without encryption may be used in a network.
        tags: The user's own, recorded with every run.
        save_models: Whether each run's network is saved as an MLflow model.
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
    data_folder: Path | None
    tracking_uri: str
    experiment: str
    command: str
    resume: bool = False
    repeated_verdicts: tuple[Verdict, ...] = ()
    exclusive: bool = True
    cluster: str | None = None
    insecure_cluster: bool = False
    tags: tuple[tuple[str, str], ...] = ()
    save_models: bool = False

    @property
    def is_remote(self) -> bool:
        """Whether the trainings run on other machines."""
        return self.cluster is not None and "://" in self.cluster


def make_plans(options: RunOptions, console: Console) -> tuple[TrainingPlan, ...]:
    """Check the options as far as possible before training, and make the plans.

    Raises:
        BenchError: An option is invalid; nothing was started or written.
    """
    files = [read_scenario(name) for name in options.scenarios]
    scenarios = [
        (name, file.with_changes(steps=options.steps, settings=options.settings))
        for name, file in files
    ]
    if options.save_models:
        scenarios = [
            (name, scenario.model_copy(update={"save_weights": True}))
            for name, scenario in scenarios
        ]
    names = [name for name, _ in scenarios]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate:
        raise BenchError(f"two scenarios are called {duplicate}", "run them one after the other")
    for name, scenario in scenarios:
        _check_execution(name, scenario, options)
    counts = {name: _thread_counts(scenario, options) for name, scenario in scenarios}
    uri.check_uri(options.tracking_uri, options.experiment)
    sources = {
        choice: mnist.find(
            choice,
            options.data_folder,
            log=lambda line: console.print(Text(line, style="bold yellow"), soft_wrap=True),
            show_progress=console.is_terminal,
        )
        for choice in sorted({_dataset(scenario, options) for _, scenario in scenarios})
    }
    if options.repeats or len(options.seeds) < table1.MIN_SEEDS:
        table1.load_reference()  # fail before the training if it can't be read
    execution = _base_execution(options)
    multi_threaded = next((name for name, of in counts.items() if len(of) > 1), None)
    if multi_threaded and execution.device == "gpu":
        raise BenchError(
            f"{multi_threaded} compares thread counts, which have no effect on a GPU",
            "leave --device out, or give one number as --threads",
        )
    plans = (
        make_plan(
            name,
            scenario,
            sources[_dataset(scenario, options)],
            seeds=options.seeds,
            executions=[execution_for(scenario, execution, n) for n in counts[name]],
            independent=options.independent,
        )
        for name, scenario in scenarios
    )
    return tuple(
        dataclasses.replace(plan, tags=options.tags, changes=_changes(plan, file, options))
        for plan, (_, file) in zip(plans, files, strict=True)
    )


def _changes(plan: TrainingPlan, file: Scenario, options: RunOptions) -> tuple[str, ...]:
    """What the options change in a scenario file, so that it is another configuration."""
    before, execution = dict(file.hyperparameters), plan.executions[0]
    requested = {"mnist" if file.dataset == "auto" else file.dataset}
    if file.dataset == "auto" and options.dataset in {None, "auto"}:
        requested.add("mnist-5k")
    changes = {
        **{
            f"{name}-{value}": value != before[name]
            for name, value in plan.scenario.hyperparameters
        },
        execution.precision: execution.precision != "float32",
        execution.device: execution.device != "cpu",
        _file_name(execution.environment): bool(execution.environment),
        f"threads-{options.threads}": options.threads is not None,
        plan.source.name.replace(":", "-"): plan.source.name not in requested,
    }
    return tuple(text for text, is_change in changes.items() if is_change)


def _file_name(variables: tuple[tuple[str, str], ...]) -> str:
    """Part of a file name for environment variables."""
    text = re.sub(r"[^\w.-]+", "-", environment.as_text(variables) or "").strip("-")
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return text if len(text) <= _MAX_VARIABLES else f"{text[:_MAX_VARIABLES]}-{digest}"


def check_folders() -> None:
    """Check that the working directory is writable, and its folders for reports and artifacts.

    Raises:
        BenchError: One of them is not, or leads elsewhere.
    """
    if spool.FOLDER.is_symlink():
        raise BenchError(
            f"{spool.FOLDER.as_posix()} is a symbolic link", "remove it; `mlruns` may be one"
        )
    for folder in (Path(), REPORTS, Path("mlruns")):
        try:
            if folder.exists():  # a file of that name fails too
                tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            where = "the working directory" if folder == Path() else f"the folder {folder}"
            is_file = folder.exists() and not folder.is_dir()
            raise BenchError(
                f"can't write to {where}: {error.strerror}",
                "move that file away"
                if is_file
                else "change to a folder that you own, or make this one writable",
            ) from error


def plans_as_text(plans: Sequence[TrainingPlan], options: RunOptions) -> str:
    """The plans and their expected time as text."""
    return "\n".join(line for plan in plans for line in _plan_lines(plan, options))


def _plan_lines(plan: TrainingPlan, options: RunOptions) -> list[str]:
    steps = ", ".join(map(formatting.count, plan.scenario.steps))
    threads = ", ".join(formatting.count(execution.threads) for execution in plan.executions)
    jobs = _certain_jobs(plan, options)
    seeds = len({job.seed for job in jobs})
    is_shared = plan.scenario.hyperparameters.step_counts_share_training and not options.independent
    each = "each for all step counts" if is_shared else "each for one step count"
    least = "at least " if options.repeats else ""
    number, trainings = (f"{least}{n}" if n else "none" for n in (seeds, len(jobs)))
    train_images = formatting.count(plan.source.train_images)
    lines = [
        f"{plan.name}: {one_line(plan.scenario.title)}",
        f"  images     {plan.source.name} ({train_images} to train on)",
        f"  steps      {steps}; seeds: {number}, starting at {options.seeds[0]}",
        f"  trainings  {trainings}, {each}",
        f"  with       {plan.executions[0]}, threads: {threads}",
        f"  time       {_time(plan, options)}",
    ]
    if options.repeats:
        lines.insert(3, f"  seeds      {options.repeats}")
    if not plan.source.comparable:
        lines.append("  NOT COMPARABLE with Table I: other images than the full MNIST")
    return lines


def _time(plan: TrainingPlan, options: RunOptions) -> str:
    jobs = _certain_jobs(plan, options)
    if not jobs:
        return "none: all runs that are needed in any case are recorded already"
    if options.is_remote:
        return f"unknown: it depends on the machines at {options.cluster}"
    seconds = time_estimates.expected_seconds(plan, jobs)
    if seconds is None:
        return "unknown: no similar training was measured here yet"
    about = f"about {formatting.duration(seconds)}, from earlier trainings here"
    return f"at least {about}, unless the budget ends first" if options.repeats else about


def plans_as_json(plans: Sequence[TrainingPlan], options: RunOptions) -> str:
    """The plans as one JSON document; with a stopping rule, for the fewest seeds."""
    return json.dumps({"schema": 1, "plans": [_plan_facts(p, options) for p in plans]}, indent=2)


def _plan_facts(plan: TrainingPlan, options: RunOptions) -> dict[str, object]:
    jobs = _certain_jobs(plan, options)
    return {
        "scenario": plan.name,
        "dataset": plan.source.name,
        # One number, as in schema 1; each trajectory has its own if there are several.
        "threads": plan.executions[0].threads if len(plan.executions) == 1 else None,
        "precision": plan.executions[0].precision,
        "device": plan.executions[0].device,
        "trajectories": [
            {"seed": job.seed, "steps": list(job.step_counts), "threads": job.execution.threads}
            for job in jobs
        ],
        "expected_seconds": time_estimates.expected_seconds(plan, jobs),
        "repeats": asdict(options.repeats) if options.repeats else None,
    }


def _certain_jobs(plan: TrainingPlan, options: RunOptions) -> Sequence[TrainingJob]:
    """Jobs that are trained in any case: with a stopping rule, those of the fewest seeds."""
    if options.repeats is None:
        return plan.jobs
    end = options.seeds[0] + table1.MIN_SEEDS
    return [job for job in plan.jobs if job.seed < end]


def expected_seconds(plans: Sequence[TrainingPlan], options: RunOptions) -> float | None:
    """Expected seconds of the plans from earlier runs here; None if one can't be estimated."""
    each = [time_estimates.expected_seconds(plan, _certain_jobs(plan, options)) for plan in plans]
    known = [seconds for seconds in each if seconds is not None]
    return sum(known) if len(known) == len(each) else None


def _thread_counts(scenario: Scenario, options: RunOptions) -> tuple[int, ...]:
    usable = system.usable_threads()
    if options.threads is not None:
        if options.threads > usable and not options.is_remote:
            raise BenchError(
                f"--threads {options.threads}: this process may use "
                f"{formatting.counted(usable, 'core')}",
                f"give at most {usable}",
            )
        return (options.threads,)
    if scenario.threads is None:
        return (usable,)
    # Another machine may have more cores.
    return thread_counts(scenario.threads, MAX_THREADS if options.is_remote else usable)


def _base_execution(options: RunOptions) -> Execution:
    if not options.is_remote:
        return base_execution(options.threads, options.precision, options.device)
    # Each machine looks for its own GPU, and takes this machine's variables.
    device: Device = "gpu" if options.device == "gpu" else "cpu"
    return Execution(
        threads=options.threads or system.usable_threads(),
        precision=options.precision,
        device=device,
        environment=environment.of_process(device).recorded,
    )


def base_execution(threads: int | None, precision: Precision, device: DeviceChoice) -> Execution:
    """Execution settings of this machine's trainings; probes for a GPU unless device is cpu.

    Args:
        threads: None takes every core.

    Raises:
        BenchError: The device is gpu and there is none.
    """
    execution = Execution(
        threads=threads or system.usable_threads(),
        environment=environment.of_process().recorded,
    )
    gpus = () if device == "cpu" else process.probe(execution).gpus
    if device == "gpu" and not gpus:
        raise BenchError(
            "--device gpu: TensorFlow finds no GPU here",
            "leave --device out, or replace this TensorFlow, which is built without GPU support, "
            "as docs/measuring.md shows"
            if tensorflow_distribution()[0] == "tensorflow-cpu"
            else "leave --device out, or install the driver and libraries listed at "
            "https://www.tensorflow.org/install/pip",
        )
    if not gpus:
        return execution.model_copy(update={"precision": precision})
    return Execution(
        threads=execution.threads,
        precision=precision,
        device="gpu",
        device_name=gpus[0].name,
        device_memory_bytes=gpus[0].memory_bytes,
        environment=environment.of_process("gpu").recorded,
    )


def _check_execution(name: str, scenario: Scenario, options: RunOptions) -> None:
    """Raise if the scenario can't run with the precision, device or cluster."""
    if options.is_remote and scenario.threads == DOUBLING and options.threads is None:
        raise BenchError(
            f"{name} compares thread counts up to the cores of a machine, and machines differ",
            "leave --cluster out, or give one number as --threads",
        )
    if not scenario.hyperparameters.is_fitted_at_once:
        return
    unsupported = "--precision bfloat16" if options.precision != "float32" else None
    unsupported = "--device gpu" if options.device == "gpu" else unsupported
    unsupported = "--save-model" if options.save_models else unsupported
    if unsupported:
        raise BenchError(
            f"{unsupported}: {name} trains {scenario.model}, which does not support it",
            f"leave {unsupported.partition(' ')[0]} out, or run only neural networks with it",
        )


def execution_for(scenario: Scenario, execution: Execution, threads: int) -> Execution:
    """Execution settings of a scenario; models other than networks train on the CPU in float32."""
    if scenario.hyperparameters.is_fitted_at_once:
        variables = environment.of_process(with_numpy=True).recorded
        return Execution(threads=threads, environment=variables)
    return execution.model_copy(update={"threads": threads})


def read_scenario(name: str) -> tuple[str, Scenario]:
    """The name and the scenario of a packaged one's name or a file's path.

    Raises:
        BenchError: There is none, or it is not valid.
    """
    path = find(name)
    if len(path.stem) > _MAX_NAME or not path.stem.isprintable():
        raise BenchError(
            f"the scenario file name {path.stem[:_MAX_NAME]!r} can't be used for its reports",
            f"rename the file to at most {_MAX_NAME} printable characters",
        )
    return _name(path), read(path)


def _name(path: Path) -> str:
    """The scenario's name; a study's winner has its study's file name, so it gets a suffix."""
    try:
        content = files.read_bounded(path.with_suffix(".json"), _MAX_STUDY_BYTES)
        study = parse_json(content, max_values=_MAX_STUDY_VALUES, max_text=_MAX_STUDY_TEXT)
    except (OSError, ValueError):
        return path.stem
    return f"{path.stem}-winner" if isinstance(study, dict) and "study" in study else path.stem


def _dataset(scenario: Scenario, options: RunOptions) -> DatasetChoice:
    """The data set choice; a data folder replaces the sample of a scenario.

    A scenario that is compared with Table I takes other images only on the user's word.
    """
    if options.dataset is not None:
        return options.dataset
    if options.data_folder is None and scenario.dataset == "auto" and _is_table_1(scenario):
        return "mnist"
    if options.data_folder is not None and scenario.dataset == "mnist-5k":
        return "auto"
    return scenario.dataset


def _is_table_1(scenario: Scenario) -> bool:
    """Whether a run of the scenario has a row in Table I and its protocol."""
    return (
        scenario.model == paper.PROTOCOL.model
        and scenario.hyperparameters == paper.HYPERPARAMETERS
        and scenario.grid == paper.PROTOCOL.grid
        and any(map(paper.row_of, scenario.steps))
    )
