"""A plan that machines share, as one of them works on it: part by part, until all is done."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from mnist_bench.cluster.optuna_queue import Counts, FailedError, LeftError, PlanQueue
from mnist_bench.cluster.shared_plan import Share, SharedPlan
from mnist_bench.core import formatting
from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.core.escaping import markdown
from mnist_bench.core.formatting import counted
from mnist_bench.core.retry import RETRY_SECONDS, Retry, in_work_elsewhere
from mnist_bench.core.signals import Terminated
from mnist_bench.results.run import RunResult
from mnist_bench.runner import executor, time_estimates
from mnist_bench.runner import plan as layout
from mnist_bench.runner.executor import Outcome
from mnist_bench.runner.here import WorkContext
from mnist_bench.runner.options import RunOptions
from mnist_bench.runner.plan import TrainingPlan
from mnist_bench.scenarios import scenario
from mnist_bench.tracking import schema
from mnist_bench.tracking.mlflow_store import MlflowStore

_MOST_FAILURES = 2
"""Trainings that fail here one after the other: others may do better than this machine."""


def share(plan: TrainingPlan, wish: RunOptions, store: MlflowStore) -> PlanQueue:
    """Put a plan where other machines find it; of its parts those that are missing there.

    Args:
        plan: Checked and laid out.
        wish: What the user asked for, with a storage.
        store: Open.

    Raises:
        BenchError: The storage can't be used, or the plan is there and records on another board.
        ValueError: The wish names no storage.
    """
    if wish.storage is None:
        raise ValueError("a plan can't be shared nowhere")
    asked = SharedPlan(
        name=plan.name,
        scenario=plan.scenario.to_toml(),
        dataset=plan.source.name,
        dataset_digest=plan.source.digest,
        experiment=wish.experiment,
        threads=wish.threads,
        precision=wish.precision,
        device=wish.device,
        independent=wish.independent,
    )
    study = PlanQueue.begun(asked, wish.storage)
    if study.board is None:
        note = f"A plan that machines share: {markdown(plan.scenario.title)}"
        # Not its name, which may hold signs that MLflow's filters do not take.
        study.board = store.keep(asked.study, note, {schema.PLAN_TAG: asked.digest}, {})
    check_shared_store(asked.study, study.board, store)
    study.add(Share(seed=each.seed, rows=each.rows) for each in plan.trajectories)
    return study


def check_shared_store(name: str, run_id: str | None, store: MlflowStore) -> None:
    """Refuse a store that is not the one which others record on: what they did would count twice.

    Args:
        name: Of the plan or the study.
        run_id: MLflow's id of its own run.
        store: Open.

    Raises:
        BenchError: It is another one.
    """
    if run_id is None or not store.knows(run_id):
        raise BenchError(
            f"{name} is recorded elsewhere than where MLFLOW_TRACKING_URI points",
            "give the address that the others have",
        )


def run_shares(study: PlanQueue, here: WorkContext) -> Outcome:
    """Take part after part, and have each trained, until none is left anywhere.

    What another machine has in work is waited for: it may vanish, and leave its part. A server that
    does not answer is waited for too.

    Args:
        study: The plan.
        here: This machine.

    Returns:
        What was trained here, in its order; its exit status is 1 where parts failed for good.
    """
    shift = _Shift(study, here)
    try:
        while shift.outcome is None:
            shift.go_on()
    except (KeyboardInterrupt, Terminated) as error:
        return Outcome(shift.results, executor.status_of(error))
    finally:
        with suppress(BenchError):  # others do it where this one can't
            study.refreshed()
    return shift.outcome


class _Shift:
    """One machine's work on a plan.

    Args:
        study: The plan.
        here: This machine.
    """

    def __init__(self, study: PlanQueue, here: WorkContext) -> None:
        self._study, self._here = study, here
        self._scenario = scenario.from_text(study.plan.scenario, study.plan.study)
        self._results: list[RunResult] = []
        self._failures: list[str] = []
        self._counts: Counts | None = None
        self._patience = Retry(here.say)
        self.outcome: Outcome | None = None
        """How it ended; None while it goes on."""

    @property
    def results(self) -> tuple[RunResult, ...]:
        """What was trained so far."""
        return tuple(self._results)

    def go_on(self) -> None:
        """Train a part, or wait for a moment, or come to the end."""
        try:
            self._counts = counts = self._study.refreshed()
            if counts.waiting:
                self._study.work(self._here.machine.name, self._trained)
            elif counts.running:
                self._patience.wait(in_work_elsewhere(counts.running, "part"))
            else:
                self._close(counts)
            self._patience.answered()
        except BenchError as error:
            self._bear(error)

    def _close(self, counts: Counts) -> None:
        if not counts.failed:
            self.outcome = Outcome(self.results)
            return
        part, reason = counts.failed[0]
        error = BenchError(
            f"{len(counts.failed)} of {counted(counts.parts, 'part')} failed, the first "
            f"({part}): {reason}",
            "the same `mnist-bench run` tries each once more",
            exit_status=EXIT_BROKE,
        )
        self.outcome = Outcome(self.results, EXIT_BROKE, error)

    def _bear(self, error: BenchError) -> None:
        """Wait for a server that does not answer, for a while."""
        try:
            self._patience.bear(error)
        except BenchError:
            self.outcome = Outcome(self.results, error.exit_status, error)

    def _trained(self, part: Share) -> float:
        """Train what is not recorded of a part; its largest test accuracy."""
        known = self._here.store.recorded_of(self._study.plan.tag(part))
        self._patience.answered()  # the storage has too
        left = tuple(steps for steps in part.rows if steps not in known.values())
        if not left:
            return self._recorded_accuracy(known)
        done = f" ({self._counts.done} of {self._counts.parts} done)" if self._counts else ""
        self._here.say(f"{self._study.plan.name}, {part}{done}")
        return self._worth(part, self._carried_out(self._laid_out(part, left)))

    def _recorded_accuracy(self, known: dict[str, int]) -> float:
        run = self._here.store.load(max(known, key=lambda run_id: known[run_id]))
        return run.max_test_accuracy or 0.0 if run else 0.0

    def _laid_out(self, part: Share, left: tuple[int, ...]) -> TrainingPlan:
        shared = self._study.plan
        plan = layout.make_plan(
            shared.name,
            self._scenario,
            self._here.source,
            seeds=range(part.seed, part.seed + 1),
            executions=[self._here.execution],
            independent=shared.independent,
        )
        own = next(each for each in plan.trajectories if each.rows == part.rows)
        return replace(plan, trajectories=(replace(own, rows=left, part=shared.tag(part)),))

    def _carried_out(self, plan: TrainingPlan) -> Outcome:
        here = self._here
        with here.watch(plan) as watcher:
            outcome = executor.execute(
                plan,
                here.machine,
                here.address,
                lambda: here.store,
                watcher,
                exclusive=here.exclusive,
                opens_store=False,
                patience_seconds=RETRY_SECONDS,
            )
        self._patience.answered()  # a training ago: whatever is away now is so anew
        return outcome

    def _worth(self, part: Share, outcome: Outcome) -> float:
        """What a part came to.

        Raises:
            LeftError: This machine can't go on.
            FailedError: The training failed.
        """
        if outcome.exit_status or outcome.error:
            self._results += outcome.results
            status = outcome.exit_status or EXIT_BROKE
            self.outcome = Outcome(self.results, status, outcome.error)
            raise LeftError
        # Nobody interrupted it: what is killed was recorded by another machine meanwhile.
        kept = [run for run in outcome.results if run.status != "killed"]
        self._results += kept
        time_estimates.save_costs(kept, self._here.source.scored_images)
        failure = next((run.failure for run in kept if run.status != "finished"), None)
        if failure is not None:
            self._fail(failure)
        self._failures.clear()
        # It may have failed here before: it is done now.
        done = {run.part for run in kept}
        self._results = [
            run for run in self._results if run.status == "finished" or run.part not in done
        ]
        if not kept:
            self._here.say(f"{part} was recorded elsewhere meanwhile: it counts once")
        longest = outcome.results[-1]
        self._here.say(
            f"{part}: max test accuracy {formatting.accuracy(longest.max_test_accuracy)}"
        )
        return longest.max_test_accuracy or 0.0

    def _fail(self, failure: str) -> None:
        self._failures.append(failure)
        if len(self._failures) == _MOST_FAILURES:
            error = BenchError(
                f"{_MOST_FAILURES} trainings failed here one after the other, the first: "
                f"{self._failures[0]}",
                "the end of the last one's log stands above",
                exit_status=EXIT_BROKE,
            )
            self.outcome = Outcome(self.results, EXIT_BROKE, error)
        raise FailedError(failure)
