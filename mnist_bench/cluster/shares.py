"""Shared plans: sharing one, and training its shares on this machine until all are done."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from mnist_bench.cluster.optuna_queue import Counts, PlanQueue, ShareFailedError, ShareReleasedError
from mnist_bench.cluster.shared_plan import Share, SharedPlan
from mnist_bench.core import formatting
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.core.escaping import markdown
from mnist_bench.core.formatting import counted
from mnist_bench.core.retry import RETRY_SECONDS, Retry, waiting_message
from mnist_bench.core.signals import Terminated
from mnist_bench.results.run import RunResult
from mnist_bench.runner import executor, time_estimates
from mnist_bench.runner.executor import Outcome
from mnist_bench.runner.options import RunOptions
from mnist_bench.runner.plan import TrainingPlan, make_plan
from mnist_bench.runner.work_context import WorkContext
from mnist_bench.scenarios import scenario
from mnist_bench.tracking import schema
from mnist_bench.tracking.mlflow_store import MlflowStore

_MOST_FAILURES = 2
"""Consecutive failures that end this machine's work; other machines may succeed."""


def share(plan: TrainingPlan, options: RunOptions, store: MlflowStore) -> PlanQueue:
    """Share a plan in the storage, or add the shares that are missing there.

    Raises:
        BenchError: The storage can't be used, or the plan is recorded to another store.
        ValueError: `options.storage` is None.
    """
    if options.storage is None:
        raise ValueError("no storage to share the plan in")
    shared = SharedPlan(
        name=plan.name,
        scenario=plan.scenario.to_toml(),
        dataset=plan.source.name,
        dataset_digest=plan.source.digest,
        experiment=options.experiment,
        threads=options.threads,
        precision=options.precision,
        device=options.device,
        independent=options.independent,
    )
    queue = PlanQueue.create(shared, options.storage)
    if queue.store_run_id is None:
        description = f"A plan that machines share: {markdown(plan.scenario.title)}"
        # A digest, since the name may contain characters that MLflow's filters reject.
        queue.store_run_id = store.save_files(
            shared.study, description, {schema.PLAN_TAG: shared.digest}, {}
        )
    check_shared_store(shared.study, queue.store_run_id, store)
    queue.add(Share(seed=each.seed, rows=each.step_counts) for each in plan.jobs)
    return queue


def check_shared_store(name: str, run_id: str | None, store: MlflowStore) -> None:
    """Check that this machine records to the same store as the others, or work would be repeated.

    Args:
        name: Of the plan or study.
        run_id: MLflow's id of its run.

    Raises:
        BenchError: It is another store.
    """
    if run_id is None or not store.has_run(run_id):
        raise BenchError(
            f"{name} is recorded to another store than MLFLOW_TRACKING_URI",
            "set MLFLOW_TRACKING_URI to the same address on all machines",
        )


def run_shares(queue: PlanQueue, here: WorkContext) -> Outcome:
    """Train shares until none is left on any machine.

    Shares that run on other machines are waited for, since these machines may vanish; so is a
    server that does not answer.

    Returns:
        What was trained here, in order; the exit status is 1 if shares failed for good.
    """
    runner = _ShareRunner(queue, here)
    try:
        while runner.outcome is None:
            runner.step()
    except (KeyboardInterrupt, Terminated) as error:
        return Outcome(runner.results, executor.status_of(error))
    finally:
        with suppress(BenchError):  # otherwise another machine does it
            queue.refresh()
    return runner.outcome


class _ShareRunner:
    """Trains shares of a plan on this machine."""

    def __init__(self, queue: PlanQueue, here: WorkContext) -> None:
        self._queue, self._here = queue, here
        self._scenario = scenario.from_text(queue.plan.scenario, queue.plan.study)
        self._results: list[RunResult] = []
        self._failures: list[str] = []
        self._counts: Counts | None = None
        self._retry = Retry(here.log)
        self.outcome: Outcome | None = None
        """Final outcome; None while shares are left."""

    @property
    def results(self) -> tuple[RunResult, ...]:
        """Runs so far."""
        return tuple(self._results)

    def step(self) -> None:
        """Train a share, wait, or finish."""
        try:
            self._counts = counts = self._queue.refresh()
            if counts.waiting:
                self._queue.run_next(self._here.machine.name, self._train)
            elif counts.running:
                self._retry.wait(waiting_message(counts.running, "training"))
            else:
                self._finish(counts)
            self._retry.reset()
        except BenchError as error:
            self._wait_or_stop(error)

    def _finish(self, counts: Counts) -> None:
        if not counts.failed:
            self.outcome = Outcome(self.results)
            return
        share, reason = counts.failed[0]
        error = BenchError(
            f"{len(counts.failed)} of {counted(counts.total, 'training')} failed, the first "
            f"({share}): {reason}",
            "repeat the same `mnist-bench run` to retry them",
            exit_status=EXIT_FAILURE,
        )
        self.outcome = Outcome(self.results, EXIT_FAILURE, error)

    def _wait_or_stop(self, error: BenchError) -> None:
        """Wait for a server that does not answer; stop after too long."""
        try:
            self._retry.wait_or_raise(error)
        except BenchError:
            self.outcome = Outcome(self.results, error.exit_status, error)

    def _train(self, share: Share) -> float:
        """Train the step counts of a share that are not recorded; return its max test accuracy."""
        recorded = self._here.store.finished_runs_of(self._queue.plan.tag(share))
        self._retry.reset()  # the storage answered too
        remaining = tuple(steps for steps in share.rows if steps not in recorded.values())
        if not remaining:
            return self._recorded_accuracy(recorded)
        done = f" ({self._counts.done} of {self._counts.total} done)" if self._counts else ""
        self._here.log(f"{self._queue.plan.name}, {share}{done}")
        return self._record_outcome(share, self._execute(self._remaining_plan(share, remaining)))

    def _recorded_accuracy(self, recorded: dict[str, int]) -> float:
        run = self._here.store.load(max(recorded, key=lambda run_id: recorded[run_id]))
        return run.max_test_accuracy or 0.0 if run else 0.0

    def _remaining_plan(self, share: Share, remaining: tuple[int, ...]) -> TrainingPlan:
        shared = self._queue.plan
        plan = make_plan(
            shared.name,
            self._scenario,
            self._here.source,
            seeds=range(share.seed, share.seed + 1),
            executions=[self._here.execution],
            independent=shared.independent,
        )
        job = next(each for each in plan.jobs if each.step_counts == share.rows)
        return replace(plan, jobs=(replace(job, step_counts=remaining, part=shared.tag(share)),))

    def _execute(self, plan: TrainingPlan) -> Outcome:
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
                retry_seconds=RETRY_SECONDS,
            )
        self._retry.reset()  # the last error was a training ago: start counting anew
        return outcome

    def _record_outcome(self, share: Share, outcome: Outcome) -> float:
        """Record the runs of a share; return its max test accuracy.

        Raises:
            ShareReleasedError: This machine can't continue.
            ShareFailedError: The training failed.
        """
        if outcome.exit_status or outcome.error:
            self._results += outcome.results
            status = outcome.exit_status or EXIT_FAILURE
            self.outcome = Outcome(self.results, status, outcome.error)
            raise ShareReleasedError
        # Not interrupted: a killed run was recorded by another machine meanwhile.
        recorded_here = [run for run in outcome.results if run.status != "killed"]
        self._results += recorded_here
        time_estimates.save_costs(recorded_here, self._here.source.scored_images)
        failure = next((run.failure for run in recorded_here if run.status != "finished"), None)
        if failure is not None:
            self._fail(failure)
        self._failures.clear()
        # Drop earlier failures of the same share.
        done = {run.part for run in recorded_here}
        self._results = [
            run for run in self._results if run.status == "finished" or run.part not in done
        ]
        if not recorded_here:
            self._here.log(f"{share} was recorded by another machine meanwhile: it counts once")
        longest = outcome.results[-1]
        self._here.log(
            f"{share}: max test accuracy {formatting.accuracy(longest.max_test_accuracy)}"
        )
        return longest.max_test_accuracy or 0.0

    def _fail(self, failure: str) -> None:
        self._failures.append(failure)
        if len(self._failures) == _MOST_FAILURES:
            error = BenchError(
                f"{_MOST_FAILURES} trainings failed here one after the other, the first: "
                f"{self._failures[0]}",
                "the end of the last log is above",
                exit_status=EXIT_FAILURE,
            )
            self.outcome = Outcome(self.results, EXIT_FAILURE, error)
        raise ShareFailedError(failure)
