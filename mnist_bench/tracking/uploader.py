"""A recording's way into MLflow: in batches, again where it was refused, nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mnist_bench.core.errors import BenchError
from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.run import RunResult
from mnist_bench.scenarios.scenario import Scenario
from mnist_bench.tracking import run_notes
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.run_builder import RunBuilder

_BATCH_SECONDS = 5.0
"""Figures reach MLflow at most this often: live enough, and the machine is left alone."""
_BACK_OFF_SECONDS = 30.0
"""A store that refused is not asked again before: each attempt may cost its whole timeout."""


@dataclass(frozen=True)
class RecordingContext:
    """What is kept with every run of a trajectory.

    Attributes:
        scenario: What is asked.
        machine: The described machine.
        owner: The process that trains it.
        folder: Where the worker puts each row's files.
        begun_at_ms: When the trajectory began, as Unix time in milliseconds.
    """

    scenario: Scenario
    machine: Machine
    owner: ProcessIdentity
    folder: Path
    begun_at_ms: int


class Uploader:
    """Hands the runs of a recording to a store, as far as it takes them.

    Args:
        recording: The runs, as they grow.
        papers: What is kept with them.
        store: Open.
        made: Told of each run that was made: its steps and MLflow's id.
        look_first: Whether the runs may be in the store already.
    """

    def __init__(
        self,
        recording: RunBuilder,
        papers: RecordingContext,
        store: MlflowStore,
        made: Callable[[int, str], None],
        *,
        look_first: bool = False,
    ) -> None:
        self._recording = recording
        self._papers = papers
        self._store = store
        self._made = made
        rows = [run.steps for run in recording.runs]
        self._uncertain = set(rows) if look_first else set()
        self._sent: dict[int, int] = {}  # points, by row that is known to be in the store
        self._closed: set[int] = set()
        self._not_before = 0.0
        self.handed_over: list[RunResult] = []
        """Runs that were ended in the store and were not before."""
        self.fault: BenchError | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every run has ended, in the store too, with all that is known of it."""
        return len(self._closed) == len(self._recording.runs)

    def offer(self, *, at_once: bool = False) -> None:
        """Hand over what is new, unless that was tried a moment ago.

        Args:
            at_once: Whether it is worth not to wait for the next batch.
        """
        now = time.monotonic()
        if now >= self._not_before or (at_once and self.fault is None):
            self.deliver()

    def deliver(self) -> None:
        """Hand over what is new; `fault` says afterwards why it was refused, None if it was not."""
        try:
            for run in self._recording.runs:
                self._deliver(run)
        except BenchError as error:  # one refusal is enough: the next call would wait as long
            self.fault = error
        else:
            self.fault = None
        wait = _BACK_OFF_SECONDS if self.fault else _BATCH_SECONDS
        self._not_before = time.monotonic() + wait

    def _deliver(self, run: RunResult) -> None:
        steps = run.steps
        if steps not in self._sent:
            run = self._start(run)
        if steps in self._closed or run.run_id is None:
            return
        new = self._recording.points(steps)[self._sent[steps] :]
        if new:
            self._store.log(run.run_id, new)
            self._sent[steps] += len(new)
        if run.status is not None:
            run = self._counted_once(run)
            self._store.finish(
                run,
                self._note(run),
                lambda: self._files(run),
                at_ms=self._recording.ended_at_ms(steps),
            )
            run = self._counted_once(run)
            self._closed.add(steps)
            self.handed_over.append(run)

    def _counted_once(self, run: RunResult) -> RunResult:
        """Of the runs of a row of a part that machines share, let one alone be FINISHED.

        It may have been given to another machine too. Where two end theirs in the same moment,
        both see both, and leave the same one.
        """
        if run.part is None or run.status != "finished":
            return run
        recorded = self._store.recorded_of(run.part).items()
        known = sorted(run_id for run_id, steps in recorded if steps == run.steps)
        if known in ([], [run.run_id]):
            return run
        reason = f"recorded already, as run {known[0]}"
        if run.run_id in known:
            for late in known[1:]:
                self._store.give_up(late, reason)
        return run if known[0] == run.run_id else self._recording.lose(run.steps, reason)

    def _start(self, run: RunResult) -> RunResult:
        """Make a run in the store, or find it there."""
        look_first = run.steps in self._uncertain
        self._uncertain.add(run.steps)  # a call that fails may have made it all the same
        started = self._store.start(
            run,
            self._note(run),
            self._papers.owner,
            self._papers.machine,
            at_ms=self._papers.begun_at_ms,
            look_first=look_first,
        )
        self._recording.name(run.steps, started.run_id)
        self._made(run.steps, started.run_id)
        self._sent[run.steps] = 0
        run = run.model_copy(update={"run_id": started.run_id})
        if started.is_complete:
            # Its process may have ended before it saw that another machine was as fast.
            run = self._counted_once(run)
            self._closed.add(run.steps)
        return run

    def _note(self, run: RunResult) -> str:
        return run_notes.run_description(run, self._papers.scenario.title)

    def _files(self, run: RunResult) -> list[Path]:
        """The run's artifacts, written out."""
        folder = self._papers.folder / str(run.steps)
        folder.mkdir(parents=True, exist_ok=True)
        texts = {
            "result.json": run.model_dump_json(indent=2),
            "scenario.toml": self._papers.scenario.to_toml(),
            "machine.json": self._papers.machine.model_dump_json(indent=2),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
        log = self._papers.folder / "worker.log"
        return sorted(folder.iterdir()) + ([log] if log.exists() else [])
