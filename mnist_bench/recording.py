"""The runs of one trajectory while it is trained: gathered as they come, handed to the store."""

from __future__ import annotations

import time
from pathlib import Path

from mnist_bench import note, paper, protocol, store
from mnist_bench.data import Source
from mnist_bench.errors import BenchError
from mnist_bench.machine import Machine
from mnist_bench.result import Evaluation, PhaseName, RunResult, Status, rows_of
from mnist_bench.scenario import Scenario
from mnist_bench.store import TimedEvaluation

_DELIVERY_SECONDS = 5.0
"""Scorings reach MLflow at most this often: live enough, and the machine is left alone."""


class Recording:
    """The runs of one trajectory.

    Args:
        runs: One run a row, by rising step count, as they are before their first step.
        scenario: What is asked.
        machine: The described machine.
        folder: Where the worker puts each row's files.
    """

    def __init__(
        self, runs: tuple[RunResult, ...], scenario: Scenario, machine: Machine, folder: Path
    ) -> None:
        self._runs = {run.steps: run for run in runs}
        self._evaluations: dict[int, list[Evaluation]] = {steps: [] for steps in self._runs}
        self._undelivered: dict[int, list[TimedEvaluation]] = {steps: [] for steps in self._runs}
        self._closed: set[int] = set()
        self._start_seconds: dict[PhaseName, float] = {}
        self._scenario = scenario
        self._machine = machine
        self._folder = folder
        self._store: store.Store | None = None
        self._delivered_at = time.monotonic()

    @property
    def runs(self) -> tuple[RunResult, ...]:
        """The runs as they stand; those that go on have no status yet."""
        return tuple(self._runs.values())

    def begin(self, opened: store.Store) -> None:
        """Make every run in the store."""
        self._store = opened
        for steps, run in self._runs.items():
            run_id = opened.start(run, note.note_of(run, self._scenario.title))
            self._runs[steps] = run.model_copy(update={"run_id": run_id})

    def take(self, message: protocol.Message) -> None:
        """Take a worker's message into account."""
        match message:
            case protocol.Phase():
                self._start_seconds[message.name] = message.seconds
            case protocol.Scored():
                self._score(message.evaluation)
            case protocol.RowEnd():
                self._settle(
                    message.steps,
                    "finished",
                    seconds=dict(message.seconds),
                    peak_rss_bytes=message.peak_rss_bytes,
                    memory_method=message.memory_method,
                )
                self._close(message.steps)
            case _:
                pass

    def close(self, status: Status, failure: str) -> None:
        """End every run that still goes on, and every one that the store would not end before.

        Raises:
            BenchError: The store's first refusal; every run was tried.
        """
        refusals = []
        for steps, run in self._runs.items():
            if run.status is None:
                known = self._evaluations[steps]
                seconds = dict(self._start_seconds)
                if known:
                    seconds["train"] = known[-1].train_seconds
                self._settle(steps, status, failure=_without_home(failure), seconds=seconds)
            try:
                self._close(steps)
            except BenchError as refusal:
                refusals.append(refusal)
        if refusals:
            raise refusals[0]

    def _score(self, evaluation: Evaluation) -> None:
        grid = next(iter(self._runs.values())).grid
        timed = TimedEvaluation(evaluation, at_ms=int(time.time() * 1_000))
        for steps in rows_of(evaluation.step, tuple(self._runs), grid):
            self._evaluations[steps].append(evaluation)
            self._undelivered[steps].append(timed)
        if time.monotonic() - self._delivered_at >= _DELIVERY_SECONDS:
            for steps in self._runs:
                self._deliver(steps)
            self._delivered_at = time.monotonic()

    def _deliver(self, steps: int) -> None:
        run = self._runs[steps]
        if self._store and run.run_id and self._undelivered[steps]:
            self._store.log(run.run_id, self._undelivered[steps])
            self._undelivered[steps] = []

    def _settle(self, steps: int, status: Status, **facts: object) -> None:
        """Settle how a run ended and what it measured."""
        self._runs[steps] = self._runs[steps].model_copy(
            update={"status": status, "evaluations": tuple(self._evaluations[steps]), **facts}
        )

    def _close(self, steps: int) -> None:
        """End a settled run in the store, if it was begun there and is not ended yet."""
        run = self._runs[steps]
        if self._store and run.run_id and steps not in self._closed:
            words = note.note_of(run, self._scenario.title)
            try:
                self._deliver(steps)
            finally:  # a run whose curve is refused has ended all the same
                self._store.finish(run, words, lambda: self._files(run))
            self._closed.add(steps)

    def _files(self, run: RunResult) -> list[Path]:
        """The run's artifacts, written out."""
        folder = self._folder / str(run.steps)
        folder.mkdir(exist_ok=True)
        texts = {
            "result.json": run.model_dump_json(indent=2),
            "scenario.toml": self._scenario.to_toml(),
            "machine.json": self._machine.model_dump_json(indent=2),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
        log = self._folder / "worker.log"
        return sorted(folder.iterdir()) + ([log] if log.exists() else [])


def planned_run(
    *,
    name: str,
    scenario: Scenario,
    source: Source,
    machine: Machine,
    threads: int,
    steps: int,
    seed: int,
    training_seed: int,
    trajectory: str,
) -> RunResult:
    """A run as it is before its first step."""
    return RunResult(
        scenario=name,
        model=scenario.model,
        steps=steps,
        seed=seed,
        training_seed=training_seed,
        trajectory=trajectory,
        dataset=source.name,
        dataset_digest=source.digest,
        precision="float32",
        threads=threads,
        device="cpu",
        machine_id=machine.machine_id,
        eval_first=scenario.grid.first,
        eval_every=scenario.grid.every,
        target_accuracies=scenario.target_accuracies or paper.TARGET_ACCURACIES,
        hyperparameters=scenario.hyperparameters,
    )


def _without_home(text: str) -> str:
    """A reason may name a path; tags go to places where a user's name has no business."""
    home = str(Path.home())
    if len(home) < 2:  # "/": nothing of a name in it
        return text
    escaped = home.replace("\\", "\\\\")  # as exceptions print Windows's paths
    return text.replace(escaped, "~").replace(home, "~")
