"""A user's folder in which commands are ended by force, and what the user was shown there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import fakes
import psutil
import witness
from invariants import Evidence, Findings, check
from program import Bench, Ended, Running, altered, is_alive, wait_until
from witness import Witness

from mnist_bench.scenarios.scenario import Grid

Workers = Literal["real", "stand-in"]

_SCENARIO = """
title = "Trained to be ended by force"
model = "paper-cnn"
steps = {steps}
dataset = {dataset!r}
eval_first = 1
eval_every = {every}
"""


@dataclass(frozen=True)
class Training:
    """What is trained.

    Attributes:
        workers: Real ones, or a process that speaks the protocol and trains nothing.
        steps: Rows.
        every: Distance of grid steps.
        images: Folder with MNIST's files; None for the embedded sample.
    """

    workers: Workers = "real"
    steps: tuple[int, ...] = (60, 120)
    every: int = 10
    images: Path | None = None

    @property
    def grid(self) -> Grid:
        """The evaluation grid."""
        return Grid(first=1, every=self.every)

    def to_toml(self) -> str:
        """The scenario."""
        dataset = "auto" if self.images else "mnist-5k"
        return _SCENARIO.format(steps=list(self.steps), dataset=dataset, every=self.every)


class Place:
    """A folder, a home, and a witness.

    Args:
        folder: Made here; for all of it.
        training: What is trained in it.
        tracking_uri: Of MLflow; None for the database in the user's folder.
        disk: Where the user's folder lies, if not with the home.
    """

    def __init__(
        self,
        folder: Path,
        training: Training,
        tracking_uri: str | None = None,
        disk: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.bench = Bench(folder)
        self.bench.folder = disk or self.bench.folder
        self.training = training
        self.evidence = Evidence(training.grid)
        self.orphans: list[psutil.Process] = []
        self._variables = {"MLFLOW_TRACKING_URI": tracking_uri} if tracking_uri else {}
        self._witnesses = 0
        scenario = self.bench.folder / "forced.toml"
        scenario.write_text(training.to_toml(), encoding="utf-8", newline="\n")

    @property
    def folder(self) -> Path:
        """The user's."""
        return self.bench.folder

    @contextlib.contextmanager
    def started(
        self, *arguments: str, worker: tuple[str, ...] | None = None
    ) -> Iterator[tuple[Running, Witness]]:
        """A training command with a witness in it."""
        self._witnesses += 1
        noted = Witness(self.bench.home / f"{self._witnesses}.witness")
        if worker is None and self.training.workers == "stand-in":
            worker = fakes.worker()
        images = ("--data", str(self.training.images)) if self.training.images else ()
        with self.bench.started(
            *("run", "./forced.toml", "--json", *images, *arguments),
            program=altered(witness.before(noted.path, worker)),
            **self._variables,
        ) as running:
            yield running, noted

    def whole_command(self, *arguments: str) -> Ended:
        """A cheap command that opens the store and comes to its end, as a user's next would.

        Raises:
            RuntimeError: It does not; nothing can be said of what it left.
        """
        cheap = fakes.worker()
        program = altered(f"from mnist_bench.runner import process\nprocess.COMMAND = {cheap!r}")
        ended = self.bench.run(
            *("run", "smoke", "--steps", "1", "--json", *arguments),
            program=program,
            seconds=300,
            **self._variables,
        )
        if ended.status != 0:
            raise RuntimeError(f"the next command ended with {ended.status}: {ended.stderr}")
        for run in ended.document["runs"]:
            self.evidence.came_to_its_end(run["trajectory"], run["steps"])
        return ended

    def first_command(self) -> None:
        """Make the database, and a report that nothing may touch afterwards."""
        self.whole_command()
        self.evidence.keep_reports(self.folder / "reports")

    def settle_and_check(self, database: Path | None = None) -> Findings:
        """Let the next command open the store, then look whether all is as it must be.

        Args:
            database: MLflow's; None for the one in the folder.
        """
        self.evidence.take_journals(self.folder)
        self.whole_command("--no-report")
        outlived = tuple(f"process {p.pid} outlived its parent" for p in self._outlived())
        found = check(self.evidence, self.folder, database or self.folder / "mlflow.db")
        return found + Findings(left_over=outlived)

    def _outlived(self) -> list[psutil.Process]:
        gone_or_not = psutil.wait_procs(self.orphans, timeout=60)
        return [process for process in gone_or_not[1] if is_alive(process)]


def still_runs_when(running: Running, condition: Callable[[], object], seconds: float) -> bool:
    """Wait for something in a command; False where the command ends before."""
    wait_until(lambda: running.process.poll() is not None or condition(), seconds)
    return running.process.poll() is None


def worker_of(running: Running) -> psutil.Process | None:
    """The real training process of a command, as soon as it is there."""
    for process in running.family():
        with contextlib.suppress(psutil.Error):
            if "mnist_bench.worker" in process.cmdline() and is_alive(process):
                return process
    return None
