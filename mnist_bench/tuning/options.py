"""Options of `mnist-bench tune`, and their check."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from mnist_bench.core import formatting
from mnist_bench.core.errors import BenchError
from mnist_bench.core.limits import MIN_MEMORY_BYTES, DatasetChoice, Objective
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.system import usable_threads
from mnist_bench.tracking import recovery, uri
from mnist_bench.tracking.database import check_differ
from mnist_bench.tuning import space, storage
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.space import Space
from mnist_bench.tuning.study import recorded_space_and_goal

_STUDY_NAME = re.compile(r"\w[\w.-]{0,99}")
"""Valid study names, which become file names of reports."""


@dataclass(frozen=True)
class TuneOptions:
    """Options of `mnist-bench tune`.

    Attributes:
        space: File of the search space; None takes that of the study that is resumed, else the
            packaged one.
        trials: Number of trials that finish or are pruned.
        timeout_seconds: No trial starts after this.
        objective: None takes that of the study that is resumed, else `accuracy`; so do limits.
        finalists: How many of the best trials are trained again to choose the candidate; 0 takes
            the best trial as it is.
        confirm: Fresh seeds of the confirmation; 0 leaves it out.
        storage: Optuna's URL; None takes the journal.
        study: Name; None derives one from space and objective.
        dataset: Overrides the data set of the space.
        command: Command line as it may be shown, without secrets.
        exclusive: Whether to lock out other benchmarks of this user.
        tags: The user's own, recorded with the study and every training.
        saves_model: Whether the confirmed winner's network is registered as an MLflow model.
    """

    space: Path | None
    trials: int
    timeout_seconds: float | None
    objective: Objective | None
    max_memory_bytes: int | None
    max_seconds: float | None
    workers: int
    finalists: int
    confirm: int
    storage: str | None
    study: str | None
    resume: bool
    dataset: DatasetChoice | None
    data_folder: Path | None
    tracking_uri: str
    experiment: str
    command: str
    exclusive: bool = True
    tags: tuple[tuple[str, str], ...] = ()
    saves_model: bool = False


@dataclass(frozen=True)
class StudySetup:
    """Checked options: the study's name, space, goal and images."""

    name: str
    space: Space
    goal: Goal
    source: Source


def check_options(options: TuneOptions, console: Console) -> StudySetup:
    """Check everything that can be checked before the study starts.

    Raises:
        BenchError: An option is invalid; nothing was started or written.
    """

    def warn(line: str) -> None:
        console.print(Text(line, style="bold yellow"), soft_wrap=True)

    path = options.space or space.default_path()
    space_read = space.read(path)
    uri.check_uri(options.tracking_uri, options.experiment)
    check_differ(options.tracking_uri, options.storage)
    try:
        name = _name(options, f"{path.stem}-{options.objective or 'accuracy'}", warn)
        recorded = recorded_space_and_goal(name, options.storage) if options.resume else None
    except BenchError:  # what dead commands left is settled although this one can't begin
        recovery.recover_all(options.tracking_uri, warn)
        raise
    before = recorded[1] if recorded else Goal(objective="accuracy")
    if recorded and options.space is None:
        space_read = recorded[0]
    goal = Goal(
        objective=options.objective or before.objective,
        target_accuracy=space_read.target_accuracy,
        train_seconds=space_read.train_seconds,
        max_memory_bytes=options.max_memory_bytes or before.max_memory_bytes,
        max_seconds=options.max_seconds or before.max_seconds,
    )
    goal.check()
    if options.finalists > options.trials:
        raise BenchError(
            f"--finalists {options.finalists} of --trials {options.trials}",
            "give at most as many finalists as trials",
        )
    if options.saves_model and not options.confirm:
        raise BenchError(
            "--save-model can't be used with --confirm 0, which trains no winner",
            "leave one of them out",
        )
    if options.workers > usable_threads():
        raise BenchError(
            f"--workers {options.workers}: this process may use "
            f"{formatting.counted(usable_threads(), 'core')}",
            f"give at most {usable_threads()}",
        )
    if options.max_memory_bytes is not None and options.max_memory_bytes < MIN_MEMORY_BYTES:
        raise BenchError(
            "--max-memory is less than TensorFlow alone takes", "give a size like 900M"
        )
    if options.finalists and not goal.prunes:
        raise BenchError(
            "--finalists: a Pareto front has no best trials",
            "leave it out, or choose another --objective",
        )
    source = mnist.find(
        options.dataset or space_read.dataset,
        options.data_folder,
        log=warn,
        show_progress=console.is_terminal,
    )
    space_read.check_batches(source.train_images)
    return StudySetup(name, space_read, goal, source)


def _name(options: TuneOptions, default: str, warn: Callable[[str], None]) -> str:
    """Name of the study: a new one, or the existing one with `resume`.

    Raises:
        BenchError: The study exists without `resume`, or does not exist with it.
    """
    if options.study is not None and not _STUDY_NAME.fullmatch(options.study):
        raise BenchError(
            f"--study {options.study!r} is not a valid name",
            "use letters, digits, dots, hyphens and underscores",
        )
    existing = storage.names(options.storage)
    name = options.study or default
    if options.resume:
        if name not in existing:
            names_text = (
                f"existing studies: {', '.join(existing)}" if existing else "there is no study yet"
            )
            raise BenchError(f"there is no study {name}", f"{names_text}; choose one with --study")
        return name
    if name in existing and options.study:
        raise BenchError(
            f"the study {name} already exists",
            "add --resume to continue it, or choose another --study",
        )
    if name not in existing:
        return name
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    new = next(each for each in numbered if each not in existing)
    warn(f"the study {name} already exists (--resume continues it): this one is {new}")
    return new
