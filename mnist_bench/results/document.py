"""The JSON document: runs and rows as others read them; a contract, fields are only ever added."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from mnist_bench.core.records import Record
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.claims import ClaimLine
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios.hyperparameters import Hyperparameters

RowVerdict = Literal["exceeds", "indistinguishable", "below", "not comparable"]
ROW_VERDICTS: tuple[RowVerdict, ...] = ("exceeds", "indistinguishable", "below", "not comparable")
SpreadSource = Literal["own", "reference"]


class Row(Record):
    """One step count against Table I; what is not known is None.

    Attributes:
        steps: Updates of the trainings.
        paper_step: Where the paper saw its maximum, by its own label.
        paper_max_test_accuracy: The paper's value.
        n: Seeds that the figures are taken over.
        mean: Of the largest test accuracies.
        sd: Their standard deviation over seeds (divisor n - 1); None at n = 1.
        difference: mean - paper.
        interval_low: Lower end of the uncorrected 95% prediction interval around the mean.
        interval_high: Its upper end.
        verdict: Holm's over all comparable rows.
        reason: Why the row does not compare, or what to know about its verdict.
        train_seconds_mean: Seconds inside training, over the runs that are not invalid.
        train_seconds_sd: Their standard deviation; None at n = 1, and in elder documents.
        images_per_second_mean: Training images a second, training only, over the same runs.
        images_per_second_sd: Their standard deviation, likewise.
        peak_rss_bytes_max: The largest of the same runs' high-water marks; None where they were
            read by different methods.
        run_ids: MLflow's ids of the runs taken.
        final_test_accuracy_mean: Of the accuracies after the last update.
        final_test_accuracy_sd: Their standard deviation.
        selected_test_accuracy_mean: Of the accuracies at the step that validation chose.
        selected_test_accuracy_sd: Their standard deviation.
        max_test_accuracy_step_min: Earliest step of a run's maximum, in updates done.
        max_test_accuracy_step_max: Latest step of a run's maximum, in updates done.
        spread_source: Whose standard deviation the verdict used.
        degrees_of_freedom: Of that standard deviation.
        p_value: Two-sided and uncorrected.
        clean: Of the runs taken, those that were judged so; likewise `suspect` and `invalid`.
            None in documents from before runs were judged.
        timed_n: Runs that time, speed and memory are taken over: all but the invalid ones.
        cost_note: What was left out of time, speed and memory, and why.
        other_images_low: Lower end of Wilson's 95% interval of `final_test_accuracy_mean` for other
            test images, as many and drawn alike; None where their number is not known.
        other_images_high: Its upper end.
        scenario: Of the first of the runs taken; likewise `threads`, `precision` and `device`,
            which they have in common. None where no run was taken, and in elder documents.
    """

    steps: int
    paper_step: int | None
    paper_max_test_accuracy: float | None
    n: int
    mean: float | None
    sd: float | None
    difference: float | None
    interval_low: float | None
    interval_high: float | None
    verdict: RowVerdict
    reason: str | None
    train_seconds_mean: float | None
    images_per_second_mean: float | None
    peak_rss_bytes_max: int | None
    run_ids: tuple[str, ...]
    final_test_accuracy_mean: float | None = None
    final_test_accuracy_sd: float | None = None
    selected_test_accuracy_mean: float | None = None
    selected_test_accuracy_sd: float | None = None
    max_test_accuracy_step_min: int | None = None
    max_test_accuracy_step_max: int | None = None
    spread_source: SpreadSource | None = None
    degrees_of_freedom: int | None = None
    p_value: float | None = None
    clean: int | None = None
    suspect: int | None = None
    invalid: int | None = None
    timed_n: int | None = None
    cost_note: str | None = None
    other_images_low: float | None = None
    other_images_high: float | None = None
    scenario: str | None = None
    threads: int | None = None
    precision: str | None = None
    device: str | None = None
    train_seconds_sd: float | None = None
    images_per_second_sd: float | None = None


class Scaling(Record):
    """The same training at one of several thread counts; what is not known is None.

    Attributes:
        hyperparameters: Of the model.
        device_name: Of the GPU; None on the processor.
        threads: As many operations at a time, each on one thread.
        base_threads: The fewest that this training was run with: the others are held against it.
        n: Finished runs, a seed once.
        clean: Of these, those that were judged so; likewise `suspect` and `invalid`.
        timed_n: Runs that time, speed and memory are taken over: all but the invalid ones.
        train_seconds_mean: Seconds inside training.
        images_per_second_mean: Training images a second, training only.
        peak_rss_bytes_max: The largest of the same runs' high-water marks.
        pairs: Seeds that were timed with `base_threads` too.
        speedup_mean: Mean over these of the train seconds with `base_threads` by those with
            `threads`.
        speedup_sd: Standard deviation of these ratios (divisor pairs - 1); None for one pair, and
            of the base itself, whose ratio is 1 by its definition.
        efficiency: `speedup_mean` by the ratio of the thread counts: 1 where each thread brings
            as much as those of the base.
        note: What was left out, or why there is no speed-up; None where there is nothing to say.
        run_ids: MLflow's ids of the runs taken.
    """

    scenario: str
    model: str
    hyperparameters: Hyperparameters
    dataset: str
    steps: int
    precision: str
    device: str
    device_name: str | None
    machine_id: str | None
    threads: int
    base_threads: int
    n: int
    clean: int
    suspect: int
    invalid: int
    timed_n: int
    train_seconds_mean: float | None
    images_per_second_mean: float | None
    peak_rss_bytes_max: int | None
    pairs: int
    speedup_mean: float | None
    speedup_sd: float | None
    efficiency: float | None
    note: str | None
    run_ids: tuple[str, ...]


class Reach(Record):
    """One accuracy on test; what is not known is None.

    Attributes:
        scenario: Of the trainings.
        accuracy: Looked for on the evaluation grid.
        n: Trainings that were looked at.
        reached: Those of them that got there.
        steps_mean: Updates done at the first grid step that did, over those that got there: how
            the training goes, on any machine.
        seconds_a_step_mean: Training seconds an update until then, of those that got there and
            were not spoilt: how fast the machine is. Where none of those that got there was spoilt,
            updates times this is `seconds_mean`.
        seconds_mean: Training seconds until then, of the same.
        steps_sd: Standard deviation of the updates over those that got there (divisor reached -
            1); None where fewer than two did, and in elder documents.
        timed_n: Of those that got there, how many were not spoilt.
        seconds_sd: Standard deviation of their training seconds, likewise.
    """

    scenario: str
    accuracy: float
    n: int
    reached: int
    steps_mean: float | None
    seconds_a_step_mean: float | None
    seconds_mean: float | None
    steps_sd: float | None = None
    timed_n: int | None = None
    seconds_sd: float | None = None


class Standing(Record):
    """One row against the reference's; what is not known is None.

    Attributes:
        scenario: Of the trainings; None where their row tells none.
        steps: Updates of the trainings.
        n: Seeds here.
        reference_n: Seeds of the reference.
        accuracy_difference: Of the mean max test accuracies, here less the reference's: whether
            the training is the same one.
        p_value: Of Welch's test that there is none, two-sided; with one seed here, of Student's
            by the reference's spread. None where that is not known either.
        seconds_ratio: Mean train seconds here by the reference's: how fast the machine is; None
            where one was of another precision or device.
        threads: Of the trainings here.
        reference_threads: Of the reference's.
        reference_machine: Its machine, by its hardware.
        seconds_ratio_low: Lower end of Welch's 95% interval of the logarithm of `seconds_ratio`,
            taken back; from each side's spread as a share of its mean. None where a side has
            fewer than two timed runs or no spread, and in elder documents.
        seconds_ratio_high: Its upper end.
    """

    scenario: str | None
    steps: int
    n: int
    reference_n: int
    accuracy_difference: float
    p_value: float | None
    seconds_ratio: float | None
    threads: int
    reference_threads: int
    reference_machine: str
    seconds_ratio_low: float | None = None
    seconds_ratio_high: float | None = None


class MachineLine(Record):
    """One machine at one task; what is not known is None.

    Attributes:
        machine: By its hardware; its id where the hardware was not told.
        machine_id: Its random id; None where it has none.
        scenario: Of the task.
        steps: Of the task.
        threads: As many operations at a time, each on one thread.
        n: Finished runs that the machine did not spoil, a seed once.
        images_per_second_mean: Training images a second, training only.
        images_per_second_sd: Their standard deviation; None at n = 1.
        final_test_accuracy_mean: Of the accuracies after the last update.
        peak_rss_bytes_max: The largest high-water mark; None where they do not compare.
        relative: Its speed by the fastest machine's at the same task.
        dataset: Of the task; likewise `model`, `precision`, `device`, `hyperparameters`,
            `eval_first` and `eval_every`. None in elder documents.
        device_name: Of the machine's GPU; None on the processor.
    """

    machine: str
    machine_id: str | None
    scenario: str
    steps: int
    threads: int
    n: int
    images_per_second_mean: float | None
    images_per_second_sd: float | None
    final_test_accuracy_mean: float | None
    peak_rss_bytes_max: int | None
    relative: float | None
    dataset: str | None = None
    model: str | None = None
    precision: str | None = None
    device: str | None = None
    device_name: str | None = None
    hyperparameters: Hyperparameters | None = None
    eval_first: int | None = None
    eval_every: int | None = None

    @property
    def task(self) -> tuple[object, ...]:
        """What must agree for machines to be held against one another."""
        asked = self.scenario, self.steps, self.dataset, self.model, self.hyperparameters
        return *asked, self.eval_first, self.eval_every, self.precision, self.device


class BestTrial(Record):
    """A trial that no other one of its study beats.

    Attributes:
        number: Optuna's.
        run_id: MLflow's id of its run; None where there is none.
        values: What it is worth, in the order of the study's `value_names`.
    """

    number: int
    run_id: str | None
    values: tuple[float, ...]


class StudyLine(Record):
    """A study in short; whole it is the file `<study>.json` that its own run kept.

    Attributes:
        study: Its name.
        run_id: MLflow's id of its own run; None where that is not told.
        objective: What it was after.
        value_names: What its trials are weighed by.
        trials: How many there are, however they ended.
        finished: How many of them came to their end.
        best: The best trial, or all that no other one beats.
        candidate: Number of the trial that stands for the study; None where none is an answer.
        candidate_values: What that is worth: of a finalist, what its repeats are.
        is_whole: Whether the search came to its end.
    """

    study: str
    run_id: str | None
    objective: str
    value_names: tuple[str, ...]
    trials: int
    finished: int
    best: tuple[BestTrial, ...]
    candidate: int | None
    candidate_values: tuple[float, ...]
    is_whole: bool


class Document(Record):
    """What `run --json` prints and `reports/<name>.json` keeps.

    Attributes:
        schema_version: Of this format; called `schema` in the file.
        machine: Where the runs were made.
        runs: Every run, in the order given.
        table_1: Rows of Table I's own step counts.
        scaling: Trainings that were run with several thread counts, one line a count.
        reaches: How long the longest trainings of each scenario took to its target accuracies;
            likewise `standings` and `machines` in reports alone.
        standings: The rows of Table I against the shipped reference.
        machines: All machines that ran what this one did, the fastest first.
        claims: What the paper says, and whether it holds here; in reports on claims alone.
        studies: Whose trials are recorded there, the newest first; in reports alone.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    machine: Machine
    runs: tuple[RunSummary, ...]
    table_1: tuple[Row, ...]
    scaling: tuple[Scaling, ...] = ()
    reaches: tuple[Reach, ...] = ()
    standings: tuple[Standing, ...] = ()
    machines: tuple[MachineLine, ...] = ()
    claims: tuple[ClaimLine, ...] = ()
    studies: tuple[StudyLine, ...] = ()
