"""A working folder in which commands are killed, with recordings of their output."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import fakes
import psutil
import witness
from factories import TWO_PARAMETERS_TOML
from invariants import Expected, Findings, check
from program import Bench, Ended, Running, free_port, is_alive, is_up, patched_program, wait_until
from witness import Recording

from mnist_bench.scenarios.scenario import Grid

Workers = Literal["real", "stand-in"]

NEXT_COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", "smoke", "--steps", "1", "--no-report"),
    "tune": ("tune", "--space", "two.toml", "--trials", "1", "--confirm", "0"),
    "report": ("report", "--out", "after"),
    "compare": ("compare", "forced", "smoke"),
    "export": ("export", "after.zip"),
    "import": ("import", "other.zip"),
    "ui": ("ui", "--port"),
}
"""Each must settle what a killed command left in the store; `ui` gets a free port."""
OTHER_BUNDLE = Path(__file__).parents[2] / "tests" / "contract" / "recorded" / "runs.zip"

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
        workers: Real workers, or fake ones that train nothing.
        steps: Step counts.
        every: Interval of the evaluation grid.
        images: Folder with MNIST's files; None for the packaged sample.
    """

    workers: Workers = "real"
    steps: tuple[int, ...] = (60, 120)
    every: int = 10
    images: Path | None = None

    @property
    def grid(self) -> Grid:
        """The evaluation grid."""
        return Grid(first=1, every=self.every)


class RecordedCommands:
    """A user's working folder and home, with recordings of all commands.

    Args:
        folder: Created here.

    Attributes:
        expected: Collected from all commands.
        orphans: Processes that must end with their commands.
    """

    def __init__(self, folder: Path, grid: Grid) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.bench = Bench(folder)
        self.expected = Expected(grid)
        self.orphans: list[psutil.Process] = []
        self._recordings = 0

    @contextlib.contextmanager
    def recorded(
        self, *arguments: str, worker: tuple[str, ...] | None, code: str = "", **variables: str
    ) -> Iterator[tuple[Running, Recording]]:
        """Start a command with a recording of its output.

        Args:
            worker: Command of a fake worker; None for the real one.
            code: Python code that its process runs too.
        """
        self._recordings += 1
        recording = Recording(self.bench.home / f"{self._recordings}.witness")
        program = patched_program(witness.before(recording.path, worker) + code)
        with self.bench.started(*arguments, program=program, **variables) as running:
            yield running, recording

    def outlived(self) -> Findings:
        """Orphans that are still alive."""
        return Findings(left_over=outlived(self.orphans))


class WorkFolder(RecordedCommands):
    """A folder in which a scenario is trained.

    Args:
        folder: Created here.
        tracking_uri: MLflow's; None for the database in the working folder.
        disk: The working folder, if not in `folder`.
    """

    def __init__(
        self,
        folder: Path,
        training: Training,
        tracking_uri: str | None = None,
        disk: Path | None = None,
    ) -> None:
        super().__init__(folder, training.grid)
        self.bench.folder = disk or self.bench.folder
        self.training = training
        self._variables = {"MLFLOW_TRACKING_URI": tracking_uri} if tracking_uri else {}
        dataset = "auto" if training.images else "mnist-5k"
        text = _SCENARIO.format(steps=list(training.steps), dataset=dataset, every=training.every)
        (self.folder / "forced.toml").write_text(text, encoding="utf-8", newline="\n")

    @property
    def folder(self) -> Path:
        """The working folder."""
        return self.bench.folder

    def started(
        self, *arguments: str, worker: tuple[str, ...] | None = None
    ) -> contextlib.AbstractContextManager[tuple[Running, Recording]]:
        """Start a training command with a recording of its output."""
        if worker is None and self.training.workers == "stand-in":
            worker = fakes.worker()
        images = ("--data", str(self.training.images)) if self.training.images else ()
        words = ("run", "./forced.toml", "--json", *images, *arguments)
        return self.recorded(*words, worker=worker, **self._variables)

    def run_to_end(self, *arguments: str) -> Ended:
        """Run a quick command to its end, like a user's next command.

        Raises:
            RuntimeError: It failed, so the store can't be checked.
        """
        words = ("run", "smoke", "--steps", "1", "--json", *arguments)
        program = fake_program(fakes.worker())
        ended = self.bench.run(*words, program=program, seconds=300, **self._variables)
        if ended.status != 0:
            raise RuntimeError(f"the next command ended with {ended.status}: {ended.stderr}")
        for run in ended.document["runs"]:
            self.expected.add_end(run["trajectory"], run["steps"])
        return ended

    def first_command(self) -> None:
        """Create the database and a report that must not change afterwards."""
        self.run_to_end()
        self.expected.keep_reports(self.folder / "reports")

    def settle_and_check(self, database: Path | None = None, next_command: str = "run") -> Findings:
        """Let the next command open the store, then check all invariants.

        Args:
            database: MLflow's; None for the one in the working folder.
            next_command: Name in `NEXT_COMMANDS`.
        """
        self.expected.add_spools(self.folder)
        if next_command == "run":
            self.run_to_end("--no-report")
        else:
            self._run_other(next_command)
        outlived = self.outlived()
        return check(self.expected, self.folder, database or self.folder / "mlflow.db") + outlived

    def _run_other(self, name: str) -> None:
        """Run a command that trains none of the folder's runs.

        Raises:
            RuntimeError: It ended in an unexpected way, so the store can't be checked.
        """
        arguments = list(NEXT_COMMANDS[name])
        (self.folder / "two.toml").write_text(TWO_PARAMETERS_TOML, encoding="utf-8")
        (self.folder / "other.zip").write_bytes(OTHER_BUNDLE.read_bytes())
        program = fake_program(fakes.trial_worker("pass"))
        if name == "ui":
            port = free_port()
            with self.bench.started(*arguments, str(port), **self._variables) as running:
                running.until(lambda: is_up(port), 120)
                running.process.send_signal(signal.SIGINT)
                ended = running.ended(60)
        else:
            ended = self.bench.run(*arguments, program=program, seconds=300, **self._variables)
        # `compare` has nothing to compare where every run was killed.
        allowed = {"compare": (0, 1, 2), "ui": (0, 130)}.get(name, (0,))
        if ended.status not in allowed or "Traceback" in ended.stderr:
            raise RuntimeError(f"`{name}` ended with {ended.status}: {ended.stderr}")


def outlived(orphans: Sequence[psutil.Process]) -> tuple[str, ...]:
    """Processes that outlived their parents, in words."""
    _, alive = psutil.wait_procs(orphans, timeout=60)
    return tuple(f"process {p.pid} outlived its parent" for p in alive if is_alive(p))


def fake_program(worker: tuple[str, ...]) -> tuple[str, ...]:
    """Command of the program with a fake worker."""
    return patched_program(f"from mnist_bench.runner import process\nprocess.COMMAND = {worker!r}")


def still_runs_when(running: Running, condition: Callable[[], object], seconds: float) -> bool:
    """Wait for a condition; False if the command ends first."""
    wait_until(lambda: running.process.poll() is not None or condition(), seconds)
    return running.process.poll() is None


def worker_of(running: Running) -> psutil.Process | None:
    """The real worker of a command; None if it has none yet."""
    for process in running.descendants():
        with contextlib.suppress(psutil.Error):
            if "mnist_bench.worker" in process.cmdline() and is_alive(process):
                return process
    return None
