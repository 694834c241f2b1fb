"""A study as one JSON document. Fields may be added, never renamed or removed."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from mnist_bench.core.records import Record
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.document import BestTrial, StudyLine
from mnist_bench.tuning.candidate import Margin
from mnist_bench.tuning.confirmation_stats import Confirmation
from mnist_bench.tuning.finalists import Finalist
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.space import Space
from mnist_bench.tuning.trial import StudyTrial


class EvaluationOnTest(Record):
    """One evaluation on the test split.

    Attributes:
        number: Counted over the study, from 1 on.
        candidate: Number of the candidate's trial, chosen beforehand.
        first_seed: Of the fresh seeds.
        proof: The comparison; None if the trainings did not finish.
    """

    number: int
    candidate: int
    first_seed: int
    proof: Confirmation | None = None


class StudyDocument(Record):
    """A study: its trials, its candidate and every evaluation on the test split.

    Attributes:
        schema_version: Of this format; called `schema` in the file.
        best: Number of the best trial, or numbers of the Pareto front.
        finalists: The best trials that were trained again, the best first.
        candidate: Number of the candidate's trial; None if no trial is feasible.
        importances: Of each parameter for the first value.
        search_seconds: Wall-clock seconds of all trials together.
        looks: Evaluations on the test split.
        commands: Command lines that worked on the study, the oldest first.
        ended: Why the search ended, as text.
        is_whole: Whether the study is complete.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    study: str
    dataset: str
    dataset_digest: str
    machine: Machine
    space: Space
    goal: Goal
    trials: tuple[StudyTrial, ...]
    best: tuple[int, ...]
    finalists: tuple[Finalist, ...] = ()
    candidate: int | None
    margin: Margin | None
    importances: dict[str, float]
    search_seconds: float
    looks: tuple[EvaluationOnTest, ...]
    commands: tuple[str, ...] = ()
    ended: str = ""
    is_whole: bool = True

    @property
    def has_winner(self) -> bool:
        """Whether a complete study chose another configuration than the paper's."""
        if self.candidate is None or not self.is_whole:
            return False
        return not self.trial(self.candidate).is_papers

    @property
    def candidate_values(self) -> tuple[float, ...]:
        """Values of the candidate; of a finalist, the means of its repeats.

        Raises:
            ValueError: There is no candidate.
        """
        if self.candidate is None:
            raise ValueError(f"the study {self.study} has no candidate")
        means = {finalist.trial: finalist.values for finalist in self.finalists}
        return means.get(self.candidate) or self.trial(self.candidate).values

    def line(self, run_id: str | None) -> StudyLine:
        """Summary line for a report; `run_id` is MLflow's of the study's run."""
        best = [self.trial(number) for number in self.best]
        return StudyLine(
            study=self.study,
            run_id=run_id,
            objective=self.goal.objective,
            value_names=self.goal.names,
            trials=len(self.trials),
            finished=len(self.finished),
            best=tuple(BestTrial(number=t.number, run_id=t.run_id, values=t.values) for t in best),
            candidate=self.candidate,
            candidate_values=() if self.candidate is None else self.candidate_values,
            is_whole=self.is_whole,
        )

    def trial(self, number: int) -> StudyTrial:
        """Trial with this number."""
        return next(trial for trial in self.trials if trial.number == number)

    @property
    def best_so_far(self) -> dict[int, float]:
        """The best first value up to each trial, from the first feasible one on."""
        better = min if self.goal.directions[0] == "minimize" else max
        best: dict[int, float] = {}
        for trial in self.trials:
            values = [*best.values()][-1:]
            if trial.is_feasible and trial.repeat_of is None:
                values.append(trial.values[0])
            if values:
                best[trial.number] = better(values)
        return best

    @property
    def finished(self) -> tuple[StudyTrial, ...]:
        """Finished trials."""
        return tuple(trial for trial in self.trials if trial.state == "finished")

    @property
    def ranked(self) -> list[StudyTrial]:
        """Finished trials, best first value first, including infeasible ones."""
        down = self.goal.directions[0] == "minimize"
        return sorted(self.finished, key=lambda trial: trial.values[0], reverse=not down)
