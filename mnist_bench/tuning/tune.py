"""Orchestration of `mnist-bench tune`: open, search, finalists, confirmation, report."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.core.escaping import markdown, one_line
from mnist_bench.measurement import machine
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.run import RunResult
from mnist_bench.runner.options import base_execution
from mnist_bench.runner.progress import ProgressWatcher
from mnist_bench.scenarios import paper
from mnist_bench.tracking import recovery
from mnist_bench.tracking.mlflow_store import MlflowStore, StudyMetric
from mnist_bench.tracking.recorder import process_owner
from mnist_bench.tracking.schema import BEST_METRIC, BEST_METRICS, best_tags
from mnist_bench.tracking.spool import Address
from mnist_bench.tuning.candidate import candidate_of, margin_of
from mnist_bench.tuning.confirmation import evaluate_on_test, first_seed
from mnist_bench.tuning.confirmation_stats import confirmation_in_words
from mnist_bench.tuning.document import EvaluationOnTest, StudyDocument
from mnist_bench.tuning.finalists import best_finalist, covers, finalists_of, paper_reference
from mnist_bench.tuning.options import StudySetup, TuneOptions
from mnist_bench.tuning.search import (
    Search,
    Trainer,
    TrialContext,
    TrialsEnd,
    run_in_parallel,
    run_trials,
    train_finalists,
)
from mnist_bench.tuning.space import in_words
from mnist_bench.tuning.study import Study, study_lock
from mnist_bench.tuning.trial import StudyTrial, searched_seconds

_REGISTERED_MODEL = "mnist-bench"
"""Name of the winners in MLflow's model registry."""


@dataclass(frozen=True)
class TuneResult:
    """Result of `mnist-bench tune`: its document, and what failed or that no trial is feasible."""

    document_json: str
    exit_status: int
    error: BenchError | None


@dataclass(frozen=True)
class ClusterTraining:
    """Trials on the machines of a cluster.

    Attributes:
        trainer: Makes what trains a plan on one of them and records it in a store.
        machines: The machines that have joined; each trains one trial at a time.
        is_here: Whether all of them are this machine, which their trainings share.
    """

    trainer: Callable[[Address, MlflowStore], Trainer]
    machines: tuple[Machine, ...]
    is_here: bool


def tune(
    setup: StudySetup,
    options: TuneOptions,
    console: Console,
    stdout: Console,
    write: Callable[[StudyDocument], tuple[Path, ...]],
    *,
    cluster: ClusterTraining | None = None,
) -> TuneResult:
    """Run a study: train trials, choose a candidate, confirm it, write the report.

    Args:
        console: For progress and warnings.
        stdout: For results.
        write: Writes the study's files; returns the Markdown report first.
        cluster: Where to train; None: here.

    Raises:
        BenchError: MLflow or the storage can't be used, or the study has another space or goal, or
            is worked on by another command.
    """

    def log(line: str) -> None:
        stdout.print(Text(one_line(line)), soft_wrap=True)

    described = machine.describe()
    store = recovery.open_store(options.tracking_uri, options.experiment, log)
    address = Address.of(options.tracking_uri, options.experiment)
    with study_lock(setup.name, options.storage, log):
        study = Study(
            *(setup.name, options.storage, setup.space, setup.goal), images=setup.source.digest
        )
        for each in cluster.machines if cluster else (described,):
            study.check_machine_kind(each.kind)
        earlier = study.run_id
        study.resume(
            described.machine_id,
            lambda number: store.load_trial(earlier, number) if earlier else None,
            log,
        )
        study.add_command(options.command)
        request = {
            **{each: getattr(options, each) for each in ("trials", "workers", "finalists")},
            "confirm": options.confirm,
            "title": setup.space.title,
            "dataset": setup.source.name,
            "TensorFlow": described.tensorflow,
        }
        if changed := study.note_request(request):
            log(f"other than in the command before: {'; '.join(changed)}")
        run_id, tags = _parent_run(study, store, setup, options)
        context = TrialContext(
            space=setup.space,
            goal=setup.goal,
            source=setup.source,
            execution=base_execution(None, "float32", "cpu"),
            machine=described,
            address=address,
            parent_run_id=run_id,
            exclusive=options.exclusive,
            tags=tags,
        )
        search = Search(
            study,
            context,
            store,
            lambda plan: ProgressWatcher(plan, console),
            log,
            # What shares this machine in the search has it to itself afterwards.
            cluster.trainer(address, store) if cluster and not cluster.is_here else None,
        )
        return _TuneRun(search, options, console, write, cluster).run()


def _parent_run(
    study: Study, store: MlflowStore, setup: StudySetup, options: TuneOptions
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Id of the study's MLflow run, the existing one or a new one, and the user's tags of it."""
    owner, existing = process_owner(), study.run_id
    if existing is not None:
        tags = store.reopen_study(existing, owner, dict(options.tags))
        if tags is not None:
            return existing, tags
    study.run_id = run_id = store.start_study(
        study.name, f"**{setup.space.title}**", owner, tags=dict(options.tags)
    )
    return run_id, options.tags


@dataclass(frozen=True)
class _TuneRun:
    """One run of `mnist-bench tune` on an open study."""

    search: Search
    options: TuneOptions
    console: Console
    write: Callable[[StudyDocument], tuple[Path, ...]]
    cluster: ClusterTraining | None

    @property
    def study(self) -> Study:
        """The study."""
        return self.search.study

    @property
    def context(self) -> TrialContext:
        """Context of all trials."""
        return self.search.context

    def log(self, line: str) -> None:
        """Print a line for the user."""
        self.search.log(line)

    def run(self) -> TuneResult:
        """Search, confirm, report."""
        timeout = self.options.timeout_seconds
        until = None if timeout is None else time.monotonic() + timeout
        self.log(f"study {self.study.name}: {self.context.space.title}")
        if self.context.source.name != paper.DATASET:
            self.log(f"NOT COMPARABLE with the paper: trained on {self.context.source.name}")
        try:
            ended = self._run_search(until)
            self.log(f"the search has ended: {ended.in_words}")
            if not ended.exit_status and self._finalists:
                with_paper = self._shares_machine
                ended = train_finalists(self.search, self._finalists, with_paper=with_paper)
            if not ended.exit_status:
                ended = self._confirm() or ended
            return self._report(ended)
        except BaseException as error:
            reason = str(error) if isinstance(error, BenchError) else "it was interrupted"
            with suppress(BenchError):  # the store itself may be what failed
                description = f"The study did not come to its end: {markdown(reason)}"
                self.search.store.finish_study(self.context.parent_run_id, "killed", description)
            self._log_resume_hint()
            raise

    @property
    def _workers(self) -> int:
        """Trials that are trained at the same time."""
        return len(self.cluster.machines) if self.cluster else self.options.workers

    @property
    def _shares_machine(self) -> bool:
        """Whether they share this machine, so that their times are suspect."""
        return self._workers > 1 and (self.cluster is None or self.cluster.is_here)

    @property
    def _finalists(self) -> int:
        """Number of finalists: at least one after parallel trials, whose times are suspect."""
        again = self._shares_machine and self.context.goal.prunes
        return self.options.finalists or int(again)

    def _log_resume_hint(self) -> None:
        self.log(
            "the trials so far are saved; run the same command with "
            f"`--study {self.study.name} --resume` to continue"
        )

    def _run_search(self, until: float | None) -> TrialsEnd:
        """Train the trials, several at a time if requested."""
        search, cluster, workers = self.search, self.cluster, self._workers
        if cluster and cluster.is_here:
            search = replace(search, trainer=cluster.trainer(self.context.address, search.store))
        if workers == 1:
            return run_trials(search, self.options.trials, until)
        # One bar can't show several trainings.
        search = replace(search, watch=lambda plan: ProgressWatcher(plan, self.console, quiet=True))
        if not self._shares_machine:
            self.log(f"{workers} machines train one trial each")
            return run_trials(search, self.options.trials, until, workers=workers)
        search = replace(search, context=self.context.shared_by(workers))
        return run_in_parallel(search, self.options.trials, until, workers)

    def _confirm(self) -> TrialsEnd | None:
        """Confirm the candidate if its margin is large enough; returns why that ended early."""
        document = self._document()
        if document.candidate is None or document.margin is None:
            return None
        candidate = document.trial(document.candidate)
        self.log(
            f"best on validation: trial {candidate.number}, "
            f"{document.goal.in_words(document.candidate_values)} ({in_words(candidate.chosen)}); "
            f"{document.margin.in_words}"
        )
        if not document.margin.is_enough or not self.options.confirm or candidate.run_id is None:
            model = " and no model is saved" if self.options.saves_model else ""
            self.log(f"no confirmation: the test split is not used{model}")
            return None
        if document.finalists and not covers(document.finalists, candidate):
            self.log(
                f"trial {candidate.number} is ahead of the finalists, in a single training: "
                "add `--finalists N` to repeat it first"
            )
        repeats = next((f.repeats for f in document.finalists if f.trial == candidate.number), ())
        accuracies = []
        for number in repeats or (candidate.number,):
            run_id = document.trial(number).run_id or ""
            run = self.search.store.load(run_id)
            if run is None:
                error = BenchError(
                    f"result.json of the candidate's run {run_id} is missing in MLflow",
                    "start a new study",
                    exit_status=EXIT_FAILURE,
                )
                return TrialsEnd("its record is gone", EXIT_FAILURE, error)
            accuracies.append(self.context.goal.counted(run).validation_accuracy)
        return self._evaluate_on_test(candidate, statistics.mean(accuracies), document)

    def _evaluate_on_test(
        self, candidate: StudyTrial, validation_accuracy: float, document: StudyDocument
    ) -> TrialsEnd | None:
        """Run a confirmation; it is numbered and saved before it starts, so that failures count."""
        number, seeds = len(document.looks) + 1, self.options.confirm
        evaluation = EvaluationOnTest(
            number=number, candidate=candidate.number, first_seed=first_seed(number)
        )
        self.study.save_test_evaluation(number, evaluation.model_dump_json())
        self.log(
            f"confirmation {number} on the test split: trial {candidate.number} and the paper's "
            f"configuration on {seeds} fresh seeds each"
        )
        evaluation, outcome, winner = evaluate_on_test(
            self.search,
            evaluation,
            candidate.chosen,
            seeds=seeds,
            validation_accuracy=validation_accuracy,
            search_seconds=document.search_seconds,
            save_weights=self.options.saves_model,
        )
        self.study.save_test_evaluation(number, evaluation.model_dump_json())
        self.log(f"confirmation {number}: {confirmation_in_words(evaluation.proof)}")
        if outcome.exit_status:
            return TrialsEnd("the look did not come to its end", outcome.exit_status, outcome.error)
        if self.options.saves_model and winner is not None:
            self._register(winner, candidate.number)
        return None

    def _register(self, winner: RunResult, trial: int) -> None:
        """Register the winner's network of the seed of median accuracy as an MLflow model."""
        store = self.search.store
        model_id = store.save_model(winner)
        if model_id is None or winner.run_id is None:
            self.log("no model is saved: the weights are missing")
            return
        tags = {"bench.study": self.study.name, "bench.trial": str(trial)}
        version = store.register(model_id, _REGISTERED_MODEL, winner.run_id, tags)
        self.log(
            f"model {_REGISTERED_MODEL}, version {version}: "
            f"`mlflow models serve -m models:/{_REGISTERED_MODEL}/{version} --env-manager local`"
        )

    def _document(self) -> StudyDocument:
        context, study = self.context, self.study
        trials, best = study.trials, study.best
        finalists = finalists_of(trials, context.goal)
        paper = paper_reference(trials)
        candidate = candidate_of(best, paper, context.goal)
        if covers(finalists, candidate):
            candidate = best_finalist(finalists, trials)
        return StudyDocument(
            study=study.name,
            dataset=context.source.name,
            dataset_digest=context.source.digest,
            machine=context.machine,
            space=context.space,
            goal=context.goal,
            trials=trials,
            best=tuple(trial.number for trial in best),
            finalists=finalists,
            candidate=candidate.number if candidate else None,
            margin=margin_of(candidate, paper, context.goal) if candidate else None,
            importances=study.importances(),
            search_seconds=searched_seconds(trials),
            looks=tuple(
                EvaluationOnTest.model_validate_json(evaluation)
                for evaluation in study.test_evaluations
            ),
            commands=study.commands,
        )

    def _report(self, ended: TrialsEnd) -> TuneResult:
        """Write the report and the winner, and close the study's MLflow run."""
        document = self._document().model_copy(
            update={"ended": ended.in_words, "is_whole": not ended.exit_status}
        )
        error, status = ended.error, ended.exit_status
        if status:
            self._log_resume_hint()
        elif document.candidate is None:
            status, error = EXIT_FAILURE, _no_feasible_trial(document)
        paths = self.write(document)
        self.log("Written: " + ", ".join(path.as_posix() for path in paths))
        self.search.store.finish_study(
            self.context.parent_run_id,
            "killed" if ended.exit_status else "finished",
            paths[0].read_text(encoding="utf-8"),
            metrics=[*_metrics(document)],
            paths=paths,
            tags=_best_tags(document),
        )
        return TuneResult(document.model_dump_json(indent=2) + "\n", status, error)


def _metrics(document: StudyDocument) -> Iterator[StudyMetric]:
    """Metrics of the study's MLflow run."""
    yield StudyMetric("trials", len(document.trials))
    yield StudyMetric("search_seconds", document.search_seconds)
    if len(document.goal.names) == 1:
        best = document.best_so_far
        for trial in document.trials:
            if trial.counts and trial.number in best and trial.begun_at_ms is not None:
                # MLflow ignores what an earlier command has logged with the same time.
                at_ms = trial.begun_at_ms + int(1_000 * (trial.seconds or 0))
                yield StudyMetric(BEST_METRIC, best[trial.number], trial.number, at_ms)
    if document.candidate is not None:
        first, *others = document.candidate_values
        yield StudyMetric(BEST_METRIC, first, len(document.trials))
        for name, value in zip(document.goal.names[1:], others, strict=True):
            yield StudyMetric(BEST_METRICS[name], value)


def _best_tags(document: StudyDocument) -> dict[str, str]:
    """The best trial's parameters, with those that its conditions leave at the paper's value."""
    if document.candidate is None:
        return {}
    chosen = document.trial(document.candidate).chosen
    values = {**dict(document.space.hyperparameters(chosen)), **chosen}
    return best_tags(document.candidate, {name: values[name] for name in document.space.parameters})


def _no_feasible_trial(document: StudyDocument) -> BenchError:
    """The error that no trial is feasible."""
    finished = document.finished
    if document.finalists:
        return BenchError(
            f"none of the {len(document.finalists)} finalists meets every constraint when repeated",
            "increase --finalists, or relax the constraints",
            exit_status=EXIT_FAILURE,
        )
    if not finished:
        return BenchError("no trial finished", "increase --trials", exit_status=EXIT_FAILURE)
    always = [name for name in finished[0].missed if all(t.missed[name] > 0 for t in finished)]
    smallest = [f"{name} by {min(t.missed[name] for t in finished):,.6g}" for name in always]
    missed_text = f"; finished trials violate {', '.join(smallest)} at least" if smallest else ""
    counted = sum(trial.counts for trial in document.trials)
    return BenchError(
        f"none of {counted} trials meets every constraint{missed_text}",
        f"relax {' and '.join(always) or 'one of them'}, or increase --trials",
        exit_status=EXIT_FAILURE,
    )
