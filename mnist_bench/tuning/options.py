"""What the user asked `mnist-bench tune` for, checked."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from mnist_bench.core.errors import BenchError
from mnist_bench.core.limits import DatasetChoice, Objective
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.tracking import uri
from mnist_bench.tuning import space
from mnist_bench.tuning import storage as study_storage
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.space import Space

_PLAIN = re.compile(r"\w[\w.-]{0,99}")
"""What a study may be called: its reports bear the name."""


@dataclass(frozen=True)
class TuneOptions:
    """What the user asked for.

    Attributes:
        space: The file of the search space; None takes the packaged one.
        trials: Trials that finish or are pruned.
        timeout_seconds: After so long no further trial is begun; None sets no time.
        objective: What the study is after.
        max_memory_bytes: Peak memory above which a trial is no answer.
        max_seconds: Training seconds above which it is none.
        workers: Processes that train trials at the same time.
        finalists: Of so many of the best trials the one that is best when trained again stands for
            the study; 0 takes the best trial as it is.
        confirm: Fresh seeds on which the winner is proven; 0 looks at no test image.
        storage: Optuna's URL; None keeps the study in a journal.
        study: Its name; None makes one of the space's and the objective's.
        resume: Whether a study that is there goes on.
        dataset: Images instead of the space's own choice.
        folder: The user's own IDX files.
        tracking_uri: Where MLflow records.
        experiment: Name of MLflow's experiment.
        command: The command line as it may be shown.
        exclusive: Whether other benchmarks of this user are kept away.
    """

    space: Path | None
    trials: int
    timeout_seconds: float | None
    objective: Objective
    max_memory_bytes: int | None
    max_seconds: float | None
    workers: int
    finalists: int
    confirm: int
    storage: str | None
    study: str | None
    resume: bool
    dataset: DatasetChoice | None
    folder: Path | None
    tracking_uri: str
    experiment: str
    command: str
    exclusive: bool = True


@dataclass(frozen=True)
class StudySetup:
    """A wish that was checked.

    Attributes:
        name: Of the study.
        space: What may be tried.
        goal: What it is after.
        source: The images.
    """

    name: str
    space: Space
    goal: Goal
    source: Source


def check_options(wish: TuneOptions, console: Console) -> StudySetup:
    """Check everything that can be checked before work starts.

    Raises:
        BenchError: Something of the wish can't be; nothing was started or written.
    """
    path = wish.space or space.default_path()
    asked = space.read(path)
    goal = Goal(
        objective=wish.objective,
        target_accuracy=asked.target_accuracy,
        train_seconds=asked.train_seconds,
        max_memory_bytes=wish.max_memory_bytes,
        max_seconds=wish.max_seconds,
    )
    goal.check()
    if wish.finalists and not goal.prunes:
        raise BenchError(
            "--finalists: a trade-off has no best trial",
            "leave it out, or choose another --objective",
        )

    def say(line: str) -> None:
        console.print(Text(line, style="bold yellow"), soft_wrap=True)

    name = _name(wish, f"{path.stem}-{wish.objective}", say)
    uri.check(wish.tracking_uri, wish.experiment)
    source = mnist.find(
        wish.dataset or asked.dataset,
        wish.folder,
        say=say,
        show_progress=console.is_terminal,
    )
    asked.check_batches(source.train_images)
    return StudySetup(name, asked, goal, source)


def _name(wish: TuneOptions, default: str, say: Callable[[str], None]) -> str:
    """The study's name: a new one, unless one is to go on.

    Raises:
        BenchError: A study of that name is there and is not to go on, or is not there and is.
    """
    if wish.study is not None and not _PLAIN.fullmatch(wish.study):
        raise BenchError(
            f"--study {wish.study!r} can't name the study's files",
            "choose letters, digits, dots, hyphens and underscores",
        )
    known = study_storage.names(wish.storage)
    name = wish.study or default
    if wish.resume:
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "there is none yet"
            raise BenchError(f"no study is called {name}", f"{there}; name it with --study")
        return name
    if name in known and wish.study:
        raise BenchError(
            f"the study {name} is there already",
            "add --resume to go on with it, or choose another --study",
        )
    if name not in known:
        return name
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    new = next(each for each in numbered if each not in known)
    say(f"the study {name} is there already (--resume goes on with it): this one is {new}")
    return new
