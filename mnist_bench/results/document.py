"""The JSON document of a report: a public format to which fields are added, never renamed."""

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
    """One step count compared with Table I; unknown values are None.

    Accuracies may be of runs of several machines, see `Document.machine_costs`. Times, memory and
    numbers of verdicts are of the document's machine alone.

    Attributes:
        steps: Updates per training.
        paper_step: Step of the paper's maximum, by the paper's label.
        paper_max_test_accuracy: The paper's value.
        n: Number of seeds.
        mean: Mean max test accuracy.
        sd: Standard deviation of max test accuracy over seeds (divisor n - 1); None at n = 1.
        difference: mean - paper.
        interval_low: Lower bound of the uncorrected 95% prediction interval around the mean.
        interval_high: Upper bound of that interval.
        verdict: With Holm's correction over all comparable rows.
        reason: Why the row is not comparable, or a caveat about its verdict.
        train_seconds_mean: Mean seconds inside training, over the `timed_n` runs.
        train_seconds_sd: Their standard deviation; None at n = 1, and in older documents.
        images_per_second_mean: Mean training images per second, training only, over the same runs.
        images_per_second_sd: Their standard deviation; None as for `train_seconds_sd`.
        peak_rss_bytes_max: The largest peak RSS, without runs during which memory was short; None
            if they were measured by different methods.
        run_ids: MLflow run ids.
        final_test_accuracy_mean: Mean accuracy after the last update.
        final_test_accuracy_sd: Standard deviation of these accuracies.
        selected_test_accuracy_mean: Mean accuracy at the step of highest validation accuracy.
        selected_test_accuracy_sd: Standard deviation of these accuracies.
        max_test_accuracy_step_min: Earliest step of a run's maximum, in updates.
        max_test_accuracy_step_max: Latest step of a run's maximum, in updates.
        spread_source: Whose standard deviation the verdict used.
        degrees_of_freedom: Of that standard deviation.
        p_value: Two-sided and uncorrected.
        clean: Number of clean runs; `suspect` and `invalid` are counted in the same way. None in
            documents that are older than verdicts of runs.
        timed_n: Runs in the means of time and speed: the undisturbed ones; where there are none,
            the suspect ones.
        timed_suspect: Suspect runs among these, all or none; None in older documents, where suspect
            runs were in every mean.
        cost_note: What was left out of time, speed and memory, and why.
        other_images_low: Lower bound of Wilson's 95% interval of `final_test_accuracy_mean` for
            another test set of the same size and distribution; None if the size is unknown.
        other_images_high: Upper bound of that interval.
        scenario: Scenario of the first run; `precision` is common to all runs, `threads` and
            `device` to those of the document's machine. None if there is no such run, and in older
            documents.
        changes: What differs from the scenario, as `learning_rate 0.003, bfloat16`; only in
            reports of several scenarios.
        overall_max_test_accuracy_mean: Mean of each run's largest test accuracy on the grid and
            after the last update; None in older documents.
        overall_max_test_accuracy_sd: Standard deviation of these accuracies.
        disturbed_train_seconds_mean: Mean seconds inside training of the invalid runs, where there
            are no others, like the field below; None elsewhere and in older documents.
        disturbed_images_per_second_mean: Mean training images per second of the same runs.
        disturbed_peak_rss_bytes_max: The largest peak RSS of all runs, where memory was short
            during all of them.
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
    overall_max_test_accuracy_mean: float | None = None
    overall_max_test_accuracy_sd: float | None = None
    disturbed_train_seconds_mean: float | None = None
    disturbed_images_per_second_mean: float | None = None
    disturbed_peak_rss_bytes_max: int | None = None
    timed_suspect: int | None = None
    changes: str | None = None


class Scaling(Record):
    """The same training at one of several thread counts; unknown values are None.

    Attributes:
        device_name: Name of the GPU; None on the CPU.
        threads: Operations that run at the same time, each on one thread.
        base_threads: The smallest thread count of this training, with which others are compared.
        n: Finished runs, one per seed.
        clean: Number of clean runs; `suspect` and `invalid` are counted in the same way.
        timed_n: Runs in the means of time and speed: the undisturbed ones; where there are none,
            the suspect ones.
        timed_suspect: Suspect runs among these, all or none; None in older documents.
        train_seconds_mean: Mean seconds inside training.
        images_per_second_mean: Mean training images per second, training only.
        peak_rss_bytes_max: The largest peak RSS, without runs during which memory was short.
        pairs: Seeds that were timed with `base_threads` too.
        speedup_mean: Mean over these seeds of train seconds with `base_threads` divided by train
            seconds with `threads`.
        speedup_sd: Standard deviation of these ratios (divisor pairs - 1); None for one pair, and
            for the base itself, whose ratio is 1 by definition.
        efficiency: `speedup_mean` divided by the ratio of the thread counts: 1 is linear scaling.
        note: What was left out, or why there is no speed-up.
        run_ids: MLflow run ids.
        disturbed_train_seconds_mean: Of the invalid runs, where there are no others, like the
            speed below it; None elsewhere and in older documents.
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
    disturbed_train_seconds_mean: float | None = None
    disturbed_images_per_second_mean: float | None = None
    disturbed_peak_rss_bytes_max: int | None = None
    timed_suspect: int | None = None


class Reach(Record):
    """Time to one test accuracy; unknown values are None.

    Attributes:
        accuracy: Target test accuracy, looked for on the evaluation grid.
        n: Number of trainings.
        reached: Trainings that reached the target.
        steps_mean: Mean updates at the first grid step that reached it; independent of the machine.
        seconds_a_step_mean: Mean train seconds per update until then, over the trainings that
            reached it and count for time: the speed of the machine. If all of them do, `steps_mean`
            times this is `seconds_mean`.
        seconds_mean: Mean train seconds until then, over the same trainings.
        steps_sd: Standard deviation of the updates (divisor reached - 1); None if fewer than two
            trainings reached the target, and in older documents.
        timed_n: Trainings that reached the target and count for time.
        seconds_sd: Standard deviation of their train seconds (divisor timed_n - 1); None as for
            `steps_sd`.
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
    """One row of Table I compared with the reference; unknown values are None.

    Attributes:
        scenario: None if the row has none.
        steps: Updates per training.
        n: Number of seeds.
        reference_n: Number of seeds of the reference.
        accuracy_difference: Mean max test accuracy minus the reference's: shows whether the
            training is the same.
        p_value: Two-sided Welch's test of no difference; with one seed, Student's test with the
            reference's spread. None if that is unknown too.
        seconds_ratio: Mean train seconds divided by the reference's: the speed of the machine;
            None if precision or device differ.
        reference_machine: Hardware of the reference's machine.
        seconds_ratio_low: Lower bound of Welch's 95% interval of the logarithm of `seconds_ratio`,
            transformed back; from each side's spread relative to its mean. None if a side has
            fewer than two timed runs or no spread, and in older documents.
        seconds_ratio_high: Upper bound of that interval.
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
    """One machine at one task; unknown values are None.

    Attributes:
        machine: Hardware of the machine; its id if the hardware was not recorded.
        machine_id: Random id of the machine.
        threads: Operations that run at the same time, each on one thread.
        n: Finished runs that the speed is of, one per seed: the undisturbed ones; where there are
            none, the suspect ones.
        images_per_second_mean: Mean training images per second, training only.
        images_per_second_sd: Their standard deviation; None at n = 1.
        final_test_accuracy_mean: Mean accuracy after the last update.
        peak_rss_bytes_max: The largest peak RSS; None if the runs are not comparable.
        relative: Speed divided by that of the fastest machine at the same task.
        dataset: Part of the task, like `model`, `precision`, `device`, `hyperparameters`,
            `eval_first` and `eval_every`; all are None in older documents.
        device_name: Name of the GPU; None on the CPU.
        environment: Part of the task: variables that change how TensorFlow computes.
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
    environment: str | None = Field(default=None, exclude_if=lambda of: of is None)

    @property
    def task(self) -> tuple[object, ...]:
        """Key of the task; only machines with the same key are compared."""
        training = self.scenario, self.steps, self.dataset, self.model, self.hyperparameters
        execution = self.precision, self.device, self.environment
        return *training, self.eval_first, self.eval_every, *execution


class MachineCosts(Record):
    """Time and memory of one machine at one step count; unknown values are None.

    Attributes:
        machine: Hardware of the machine; None if it was not recorded.
        machine_id: Random id of the machine.
        threads: Operations that run at the same time, each on one thread.
        n: Finished runs on this machine, one per seed.
        pooled_n: Of these the runs that are in the accuracies and the `n` of the row. A seed that
            several machines ran counts on the one that ran it first.
        clean: Number of clean runs; `suspect` and `invalid` are counted in the same way.
        timed_n: Runs in the means of time and speed: the undisturbed ones; where there are none,
            the suspect ones.
        timed_suspect: Suspect runs among these, all or none; None in older documents.
        train_seconds_mean: Mean seconds inside training.
        train_seconds_sd: Their standard deviation; None at n = 1.
        images_per_second_mean: Mean training images per second, training only.
        images_per_second_sd: Their standard deviation; None at n = 1.
        peak_rss_bytes_max: The largest peak RSS, without runs during which memory was short; None
            if they were measured by different methods.
        note: What was left out, and why.
        run_ids: MLflow run ids.
        disturbed_train_seconds_mean: Of the invalid runs, where there are no others, like the
            speed below it; None elsewhere and in older documents.
    """

    scenario: str
    steps: int
    machine: str | None
    machine_id: str | None
    threads: int
    n: int
    pooled_n: int
    clean: int
    suspect: int
    invalid: int
    timed_n: int
    train_seconds_mean: float | None
    train_seconds_sd: float | None
    images_per_second_mean: float | None
    images_per_second_sd: float | None
    peak_rss_bytes_max: int | None
    note: str | None
    run_ids: tuple[str, ...]
    disturbed_train_seconds_mean: float | None = None
    disturbed_images_per_second_mean: float | None = None
    disturbed_peak_rss_bytes_max: int | None = None
    timed_suspect: int | None = None


class BestTrial(Record):
    """A trial on the Pareto front of its study, or its best trial.

    Attributes:
        number: Optuna's trial number.
        run_id: MLflow run id; None if the trial has no run.
        values: Objective values, in the order of the study's `value_names`.
    """

    number: int
    run_id: str | None
    values: tuple[float, ...]


class StudyLine(Record):
    """Summary of a study; the full record is the artifact `<study>.json` of its MLflow run.

    Attributes:
        study: Name of the study.
        run_id: MLflow run id of the study; None if unknown.
        objective: What the study optimizes.
        value_names: Names of the objective values.
        trials: Number of trials in any state.
        finished: Number of finished trials.
        best: The best trial, or the Pareto front.
        candidate: Number of the chosen trial; None if no trial meets the constraints.
        candidate_values: Its objective values; for a finalist, those of its repeats.
        is_whole: Whether the search is complete.
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
    """The document that `run --json` prints and `reports/<name>.json` contains.

    Attributes:
        schema_version: Version of this format; called `schema` in the file.
        machine: The machine of the times and the memory.
        runs: Every run, in the order given.
        table_1: Rows with the step counts of Table I.
        scaling: Trainings at several thread counts, one line per count.
        reaches: Time to accuracy of the longest trainings of each scenario; only in reports.
        standings: The rows of Table I compared with the shipped reference; only in reports.
        machines: Machines that ran the same tasks, fastest first; only in reports.
        claims: The paper's claims and their verdicts; only in reports on claims.
        studies: Recorded studies, newest first; only in reports.
        machine_costs: Each machine's time and memory for the rows whose runs are not all of
            `machine`; absent if all are.
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
    machine_costs: tuple[MachineCosts, ...] = Field(default=(), exclude_if=lambda costs: not costs)

    @property
    def own_runs(self) -> tuple[RunSummary, ...]:
        """The runs of `machine`."""
        return tuple(run for run in self.runs if run.machine_id == self.machine.machine_id)
