"""The work of `mnist-bench tune`: a study from its space to a proven winner."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.core.escaping import markdown
from mnist_bench.results.run import Status
from mnist_bench.scenarios import paper
from mnist_bench.tracking import uri
from mnist_bench.tuning import open_study, parallel
from mnist_bench.tuning.candidate import candidate_of, margin_of
from mnist_bench.tuning.confirmation import ConfirmationPlan, evaluate_on_test
from mnist_bench.tuning.confirmation_stats import confirmation_in_words
from mnist_bench.tuning.document import StudyDocument, TestEvaluation
from mnist_bench.tuning.finalists import best_finalist, covers, finalists_of, paper_reference
from mnist_bench.tuning.options import StudySetup, TuneOptions
from mnist_bench.tuning.scheduling import (
    out_of_time,
    run_trials,
    settle_board,
    train_finalists,
    wait_for_others,
)
from mnist_bench.tuning.study import Study
from mnist_bench.tuning.trial import StudyTrial, paper_trial, searched_seconds
from mnist_bench.tuning.trial_plan import TrialContext, TrialsEnd
from mnist_bench.tuning.trial_runner import Search, SearchLimits


@dataclass(frozen=True)
class TuneResult:
    """What a command has to answer.

    Attributes:
        document_json: The study as one JSON document.
        exit_status: 0, 1 where no trial is an answer, or that of an interruption.
        error: What broke, or that no trial is an answer; None where all is well.
    """

    document_json: str
    exit_status: int
    error: BenchError | None


def tune(
    prepared: StudySetup,
    wish: TuneOptions,
    console: Console,
    people: Console,
    write: Callable[[StudyDocument], tuple[Path, ...]],
) -> TuneResult:
    """Train trials until there are enough, settle on a winner, prove it, and report.

    Args:
        prepared: The checked wish.
        wish: What the user asked for.
        console: For progress and faults.
        people: For results.
        write: Writes the study's files, the one for people first.
    """

    def tell(line: str) -> None:
        people.print(Text(line), soft_wrap=True)

    search = open_study.open_study(prepared, wish, console, tell)
    return _Course(search, wish, write).run()


@dataclass(frozen=True)
class _Course:
    """A study's way from its first trial to its report."""

    search: Search
    wish: TuneOptions
    write: Callable[[StudyDocument], tuple[Path, ...]]

    @property
    def study(self) -> Study:
        """The study."""
        return self.search.study

    @property
    def question(self) -> TrialContext:
        """What its trials have in common."""
        return self.search.question

    def tell(self, line: str) -> None:
        """Tell people something."""
        self.search.say(line)

    def run(self) -> TuneResult:
        """Search, prove, report."""
        timeout = self.wish.timeout_seconds
        until = None if timeout is None else time.monotonic() + timeout
        if self.wish.storage is not None:
            where = uri.without_credentials(self.wish.storage)
            self.tell(f"a shared study, in {where}: `mnist-bench join` searches it elsewhere too")
        self.tell(f"study {self.study.name}: {self.question.space.title}")
        if self.question.source.name != paper.DATASET:
            self.tell(f"NOT COMPARABLE with the paper: trained on {self.question.source.name}")
        try:
            ended = self._searched(until)
            self.tell(f"the search has ended: {ended.in_words}")
            if not ended.exit_status:
                self._close_search()
            if not ended.exit_status and self._finalists:
                with_papers = self.wish.workers > 1
                ended = train_finalists(self.search, self._finalists, with_papers=with_papers)
            if not ended.exit_status:
                ended = self._proven() or ended
            return self._told(ended)
        except BaseException as error:
            why = str(error) if isinstance(error, BenchError) else "it was interrupted"
            with suppress(BenchError):  # what broke may be just what it would be told to
                self._close("killed", f"The study did not come to its end: {markdown(why)}", {}, [])
            self.tell(self._how_to_go_on())
            raise

    def _close_search(self) -> None:
        """From now on no trial is asked for; those that other machines have in work count yet."""
        if not self.study.is_shared:
            return
        self.search.patiently(self._closed)
        wait_for_others(self.search)
        self.search.patiently(lambda: settle_board(self.search))

    def _closed(self) -> None:
        if (shared := self.study.search) is not None:
            self.study.search = shared.model_copy(update={"is_open": False})

    @property
    def _finalists(self) -> int:
        """How many are trained again: after trials beside one another the best, alone."""
        again = self.wish.workers > 1 and self.question.goal.prunes
        return self.wish.finalists or int(again)

    def _how_to_go_on(self) -> str:
        return (
            f"what was tried is kept; the same command with `--study {self.study.name} --resume` "
            "goes on with it"
        )

    def _searched(self, until: float | None) -> TrialsEnd:
        """Train the trials; several at the same time where that is wished for."""
        limits = SearchLimits(self.wish.trials, until)
        if self.wish.workers == 1:
            return run_trials(self.search, limits)
        # The paper's trial comes first and alone: it tells how much memory one takes.
        shared = _shared(self.question, self.wish.workers)
        ended = run_trials(replace(self.search, question=shared), SearchLimits(1, until))
        if ended.exit_status:
            return ended
        if until is not None and time.monotonic() >= until:
            return out_of_time(self.study)
        papers = paper_trial(self.study.trials)
        parallel.check_memory(self.wish.workers, papers.peak_rss_bytes if papers else None)
        left = None if until is None else until - time.monotonic()
        self.tell(f"{self.wish.workers} processes train trials at the same time: times are suspect")
        orders = [self._orders(shared, left, 1 + member) for member in range(self.wish.workers)]
        ended = parallel.work(orders)
        if ended.exit_status or not self.study.is_shared:
            return ended
        # What other machines have left since then.
        return run_trials(replace(self.search, question=shared), limits)

    def _orders(
        self, question: TrialContext, seconds: float | None, member: int
    ) -> parallel.WorkerOrders:
        return parallel.WorkerOrders(
            study=self.study.name,
            storage=self.wish.storage,
            tracking_uri=self.wish.tracking_uri,
            question=question,
            trials=self.wish.trials,
            seconds=seconds,
            member=member,
        )

    def _proven(self) -> TrialsEnd | None:
        """Look at the test split if the candidate is worth it; what ended that early."""
        document = self.search.patiently(self._document)
        if document.candidate is None or document.margin is None:
            return None
        candidate = document.trial(document.candidate)
        self.tell(
            f"best on validation: trial {candidate.number}, "
            f"{document.goal.in_words(document.candidate_values)}; {document.margin.in_words}"
        )
        if not document.margin.is_enough or not self.wish.confirm or candidate.run_id is None:
            self.tell("the test split is not looked at")
            return None
        if document.finalists and not covers(document.finalists, candidate):
            self.tell(
                f"trial {candidate.number} is ahead of the finalists, in one training: "
                "`--finalists N` trains it again before it is settled on"
            )
        try:
            seen = self._validation_accuracy(document, candidate)
        except BenchError as error:
            return TrialsEnd(EXIT_BROKE, error, "its record is gone")
        settled = ConfirmationPlan(
            number=len(self.study.looks) + 1,
            trial=candidate.number,
            chosen=candidate.chosen,
            validation_accuracy=seen,
            search_seconds=document.search_seconds,
            seeds=self.wish.confirm,
        )
        return self._looked(settled)

    def _validation_accuracy(self, document: StudyDocument, candidate: StudyTrial) -> float:
        """What validation promises of the candidate: of a finalist, the mean of its repeats.

        Raises:
            BenchError: MLflow has no record of one of them.
        """
        repeats = next((f.repeats for f in document.finalists if f.trial == candidate.number), ())
        accuracies = []
        for number in repeats or (candidate.number,):
            run_id = document.trial(number).run_id or ""
            run = self.search.store.load(run_id)
            if run is None:
                raise _record_is_gone(run_id)
            accuracies.append(self.question.goal.counted(run).validation_accuracy)
        return statistics.mean(accuracies)

    def _looked(self, settled: ConfirmationPlan) -> TrialsEnd | None:
        """Count the look before it is taken: one that fails stays in the log."""
        begun = TestEvaluation(
            number=settled.number, candidate=settled.trial, first_seed=settled.fresh_seeds[0]
        )
        self._keep(begun)
        self.tell(
            f"look {settled.number} at the test split: trial {settled.trial} and the paper's "
            f"configuration on {settled.seeds} fresh seeds each"
        )
        look, outcome = evaluate_on_test(
            self.study.name, self.question, self.search.store, settled, self.search.watch
        )
        self._keep(look)
        self.tell(f"look {settled.number}: {confirmation_in_words(look.proof)}")
        if outcome.exit_status:
            return TrialsEnd(outcome.exit_status, outcome.error, "the look did not come to its end")
        return None

    def _keep(self, look: TestEvaluation) -> None:
        text = look.model_dump_json()
        self.search.patiently(lambda: self.study.keep_look(look.number, text))

    def _document(self) -> StudyDocument:
        question, study = self.question, self.study
        trials, best = study.trials, study.best
        finalists = finalists_of(trials, question.goal)
        papers = paper_reference(trials)
        candidate = candidate_of(best, papers, question.goal)
        if covers(finalists, candidate):
            candidate = best_finalist(finalists, trials)
        return StudyDocument(
            study=study.name,
            dataset=question.source.name,
            dataset_digest=question.source.digest,
            machine=question.machine,
            space=question.space,
            goal=question.goal,
            trials=trials,
            best=tuple(trial.number for trial in best),
            finalists=finalists,
            candidate=candidate.number if candidate else None,
            margin=margin_of(candidate, papers, question.goal) if candidate else None,
            importances=study.importances(),
            search_seconds=searched_seconds(trials),
            looks=tuple(TestEvaluation.model_validate_json(look) for look in study.looks),
            commands=study.commands,
        )

    def _told(self, ended: TrialsEnd) -> TuneResult:
        """Write the report and the winner, and end the study's run."""
        document = self.search.patiently(self._document).model_copy(
            update={"ended": ended.in_words, "is_whole": not ended.exit_status}
        )
        error, status = ended.error, ended.exit_status
        if status:
            self.tell(self._how_to_go_on())
        elif document.candidate is None:
            status, error = EXIT_BROKE, _no_answer(document)
        paths = self.write(document)
        self.tell("Written: " + ", ".join(path.as_posix() for path in paths))
        state: Status = "killed" if ended.exit_status else "finished"
        figures: dict[str, float | None] = {
            "trials": len(document.trials),
            "search_seconds": document.search_seconds,
        }
        text = paths[0].read_text(encoding="utf-8")
        self.search.patiently(lambda: self._close(state, text, figures, [*paths]))
        return TuneResult(document.model_dump_json(indent=2) + "\n", status, error)

    def _close(
        self, status: Status, note: str, figures: dict[str, float | None], paths: list[Path]
    ) -> None:
        self.search.store.finish_study(self.question.parent_run_id, status, note, figures, paths)


def _shared(question: TrialContext, workers: int) -> TrialContext:
    """The same trials where several go on at the same time, each on its share of the cores."""
    threads = max(1, question.execution.threads // workers)
    execution = question.execution.model_copy(update={"threads": threads})
    return question.model_copy(update={"execution": execution, "exclusive": False})


def _record_is_gone(run_id: str) -> BenchError:
    return BenchError(
        f"MLflow has no result.json of the candidate's run {run_id} any more",
        "start a new study",
        exit_status=EXIT_BROKE,
    )


def _no_answer(document: StudyDocument) -> BenchError:
    """No trial finished and keeps every constraint."""
    finished = document.finished
    if document.finalists:
        return BenchError(
            f"none of the {len(document.finalists)} best trials keeps every constraint when it is "
            "trained again",
            "allow more --finalists, or loosen the constraints",
            exit_status=EXIT_BROKE,
        )
    if not finished:
        return BenchError("no trial finished", "allow more --trials", exit_status=EXIT_BROKE)
    always = [name for name in finished[0].missed if all(t.missed[name] > 0 for t in finished)]
    least = [f"{name} by {min(t.missed[name] for t in finished):,.6g}" for name in always]
    missed = f"; those that came to their end miss {', '.join(least)} at least" if least else ""
    tried = sum(trial.counts for trial in document.trials)
    return BenchError(
        f"none of {tried} trials keeps every constraint{missed}",
        f"loosen {' and '.join(always) or 'one of them'}, or allow more --trials",
        exit_status=EXIT_BROKE,
    )
