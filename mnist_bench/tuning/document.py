"""A study as one JSON document; a contract, fields are only ever added."""

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


class TestEvaluation(Record):
    """One look at the test split.

    Attributes:
        number: Of all looks of the study, from 1 on.
        candidate: Number of the trial that was settled on beforehand.
        first_seed: Of the fresh seeds.
        proof: What was seen; None where the trainings did not come to their end.
    """

    number: int
    candidate: int
    first_seed: int
    proof: Confirmation | None = None


class StudyDocument(Record):
    """A study, its trials, its winner and every look at the test split.

    Attributes:
        schema_version: Of this format; called `schema` in the file.
        study: Its name.
        dataset: Name of the images.
        dataset_digest: What stands for them.
        machine: The described machine.
        space: What might be tried.
        goal: What it was after.
        trials: All of them, by number.
        best: Numbers of the best trial, or of all that no other one beats.
        finalists: The best trials that were trained again, the one that stands first.
        candidate: Number of the trial that stands for the study; None where none is an answer.
        margin: How far it is ahead of the paper's configuration; None without a candidate.
        importances: How much each parameter matters for the first value.
        search_seconds: Wall-clock seconds of all trials together.
        looks: At the test split.
        commands: The command lines that have worked on it, the oldest first.
        ended: Why the search ended, in words.
        is_whole: Whether it came to its end.
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
    looks: tuple[TestEvaluation, ...]
    commands: tuple[str, ...] = ()
    ended: str = ""
    is_whole: bool = True

    @property
    def has_winner(self) -> bool:
        """Whether a whole study found something else than the paper's configuration."""
        if self.candidate is None or not self.is_whole:
            return False
        return not self.trial(self.candidate).is_papers

    @property
    def candidate_values(self) -> tuple[float, ...]:
        """What the candidate is worth: of a finalist, what its repeats are.

        Raises:
            ValueError: There is no candidate.
        """
        if self.candidate is None:
            raise ValueError(f"the study {self.study} has no candidate")
        means = {finalist.trial: finalist.values for finalist in self.finalists}
        return means.get(self.candidate) or self.trial(self.candidate).values

    def line(self, run_id: str | None) -> StudyLine:
        """It in short.

        Args:
            run_id: MLflow's id of its own run.
        """
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
        """The trial of that number."""
        return next(trial for trial in self.trials if trial.number == number)

    @property
    def finished(self) -> tuple[StudyTrial, ...]:
        """Those that came to their end."""
        return tuple(trial for trial in self.trials if trial.state == "finished")

    @property
    def ranked(self) -> list[StudyTrial]:
        """The same, the best first value first, whatever constraints they miss."""
        down = self.goal.directions[0] == "minimize"
        return sorted(self.finished, key=lambda trial: trial.values[0], reverse=not down)
