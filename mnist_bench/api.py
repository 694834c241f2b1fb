"""The Python interface: train scenarios, load recorded runs, and get their figures as frames.

`import mnist_bench` offers what `__all__` names here. Heavy libraries are imported on first use.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import html
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationError

from mnist_bench.core import formatting, toml
from mnist_bench.core.errors import EXIT_FAILURE, EXIT_INTERRUPTED, BenchError
from mnist_bench.core.limits import (
    MAX_SEED,
    MAX_SEEDS,
    MAX_STEPS,
    MAX_THREADS,
    REPORT_FORMATS,
    DatasetChoice,
    DeviceChoice,
    Precision,
)
from mnist_bench.core.records import Record

if TYPE_CHECKING:
    import pandas as pd

    from mnist_bench.analysis.configurations import Configuration
    from mnist_bench.reporting.build import FoundRuns, ReportOptions, Selection
    from mnist_bench.results.run_summary import RecordedRun, RunSummary
    from mnist_bench.runner.options import RunOptions
    from mnist_bench.tracking.mlflow_store import MlflowStore

__all__ = ["BenchError", "Results", "load", "run"]

_log = logging.getLogger("mnist_bench")
_COMMAND = "Results.report() in Python"
"""What a report names as its origin in place of a command line."""
_SHOWN = (
    *("scenario", "steps", "paper_max_test_accuracy", "n", "mean", "interval_low"),
    *("interval_high", "verdict", "train_seconds_mean"),
)
"""Columns of Table I in a notebook's output."""


@dataclass(frozen=True, eq=False, repr=False)
class Results:
    """Recorded runs and their figures, the same as in the reports; made by `run` and `load`.

    Frames have pandas' nullable dtypes: what is unknown is NA. Changing a frame changes nothing
    else.

    >>> results = mnist_bench.load(scenario="table-1")
    >>> results.table_1()[["steps", "paper_max_test_accuracy", "n", "mean", "verdict"]]
    """

    _reader: MlflowStore
    _found: FoundRuns
    _options: ReportOptions
    _selection: Selection

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row per run that has ended, oldest first; trials of studies too, with their `study`.

        Columns are the fields of the JSON document's runs, hyperparameters under their own names,
        then `machine`, `tensorflow`, `mnist_bench`, `study` and `begun_at`.
        """
        from mnist_bench.analysis.frames import runs_frame

        return runs_frame(self._recorded)

    @cached_property
    def evaluations(self) -> pd.DataFrame:
        """A row per run and evaluated step, loaded from MLflow when first used.

        `run_id`, `step` (updates so far), `on_grid`, `test_accuracy`, `validation_accuracy`,
        `train_loss`, `train_seconds` (so far). Runs whose record MLflow lacks have no rows.
        """
        return self._evaluations_of(each.run for each in self._recorded)

    def table_1(self) -> pd.DataFrame:
        """A row per configuration and step count: the paper's value, the mean, the verdict.

        `changes` says what differs from the scenario.
        Columns are those of the reports' `.csv`. Accuracies are pooled over machines that trained
        in the same way; times and memory are of one machine, that of the newest run by default.
        """
        from mnist_bench.analysis import table1
        from mnist_bench.analysis.frames import records_frame
        from mnist_bench.results.document import Row

        reference = table1.load_reference()
        rows = [
            row.model_copy(update={"scenario": each.scenario, "changes": each.changes_in_words})
            for each in self._configurations()
            for row in table1.rows(each.runs, reference, self._selection.machine_id)
        ]
        frame = records_frame(rows, Row, separator=" ")
        return frame[["scenario", *frame.columns.drop("scenario")]]

    def curves(self) -> pd.DataFrame:
        """Mean accuracies by step over the seeds of each configuration's largest step count.

        A row per scenario and step of the evaluation grid that all seeds have: `n` (seeds), mean,
        minimum and maximum of the test accuracy, mean of the validation accuracy.
        """
        import pandas as pd

        from mnist_bench.analysis.curves import accuracy_by_step
        from mnist_bench.analysis.grouping import groups

        curves = []
        for each in self._configurations():
            trained = [
                group for group in groups(each.runs, self._selection.machine_id) if group.runs
            ]
            for group in trained[-1:]:
                curve = accuracy_by_step(self._evaluations_of(group.runs))
                curve.insert(0, "scenario", each.scenario)
                curve.insert(1, "changes", pd.Series(each.changes_in_words, curve.index, "string"))
                curve.insert(2, "steps", group.steps)
                curves.append(curve)
        return pd.concat(curves, ignore_index=True).convert_dtypes() if curves else pd.DataFrame()

    def compare(self, *names: str, by: str | None = None) -> pd.DataFrame:
        """Compare groups of runs with the first: ratios and differences with 95% intervals.

        Args:
            names: Scenarios, or beginnings of run or machine ids: a group each; the first is the
                base.
            by: `machine`, `scenario`, `tensorflow`, `mnist-bench`, `precision`, `threads`,
                `device`, `dataset`, `model`, a hyperparameter or a tag: a group for each of its
                values instead, of all runs or of those named.

        Returns:
            A row per other group and step count. `train_seconds_value` and `peak_rss_bytes` are
            ratios, `final_test_accuracy_value` is a difference; `notes` says what else differs.

        Raises:
            BenchError: A name matches nothing, or there is nothing to compare.

        >>> mnist_bench.load().compare("table-1", "sprint")
        >>> mnist_bench.load().compare(by="machine")
        """
        from mnist_bench.analysis import comparison
        from mnist_bench.analysis.frames import records_frame

        runs = [each for each in self._found.runs if not each.study]
        table = comparison.compare_recorded(comparison.sides_of(runs, names, by))
        frame = records_frame(table.contrasts, comparison.Comparison, separator="; ")
        frame.insert(0, "base", table.base)
        return frame.astype({"base": "string"})

    def to_document(self) -> dict[str, Any]:
        """The JSON document of `mnist-bench report --json`, parsed."""
        from mnist_bench.reporting import build

        report = build.build_report(self._reader, self._found, self._options)
        return report.document.model_dump(mode="json")

    def report(
        self, folder: str | os.PathLike[str] = "reports", *, formats: Sequence[str] = REPORT_FORMATS
    ) -> tuple[Path, ...]:
        """Write the report like `mnist-bench report`, and return the paths of its files.

        Args:
            folder: Output folder; created if missing.
            formats: Some of `html`, `md`, `csv` and `json`.

        Raises:
            BenchError: A format is unknown, or a file can't be written.
        """
        from mnist_bench.reporting import build

        unknown = [each for each in formats if each not in REPORT_FORMATS]
        if unknown:
            raise BenchError(
                f"format {unknown[0]!r} is unknown", f"choose among {', '.join(REPORT_FORMATS)}"
            )
        options = dataclasses.replace(self._options, folder=Path(folder), formats=tuple(formats))
        return build.write_report_of(self._reader, self._found, options)[1]

    def _configurations(self) -> list[Configuration]:
        """The runs of the report's rows, by configuration."""
        from mnist_bench.reporting.sections import comparable_first

        return comparable_first(self._selection.row_runs)

    @property
    def _recorded(self) -> tuple[RecordedRun, ...]:
        is_of_one = self._options.machine is not None
        return self._selection.on_machine if is_of_one else self._found.runs

    def _evaluations_of(self, runs: Iterable[RunSummary]) -> pd.DataFrame:
        from mnist_bench.analysis.frames import evaluations_frame

        loaded = (self._reader.load(run.run_id) for run in runs if run.run_id)
        return evaluations_frame([run for run in loaded if run])

    def __repr__(self) -> str:
        scenarios = ", ".join(dict.fromkeys(each.run.scenario for each in self._recorded))
        return f"<Results: {formatting.counted(len(self._recorded), 'run')} of {scenarios}>"

    def _repr_html_(self) -> str:
        table = self.table_1()[list(_SHOWN)].map(_cell).to_html(index=False)
        return f"<p>{html.escape(repr(self))}</p>\n{table}"


def load(
    tracking_uri: str | None = None,
    experiment: str | None = None,
    *,
    scenario: str | Sequence[str] | None = None,
    since: str | dt.date | None = None,
    machine: str | None = None,
) -> Results:
    """Load recorded runs.

    Args:
        tracking_uri: MLflow's; by default MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`.
        experiment: MLflow's; by default MLFLOW_EXPERIMENT_NAME, else `mnist-bench`.
        scenario: Names of scenarios; None for all.
        since: Only runs that began on this day or later, such as `2026-01-31`; or a time.
        machine: Beginning of the id of the only machine; None for all.

    Raises:
        BenchError: There are no such runs, or the store can't be used.

    >>> mnist_bench.load(scenario="table-1", since="2026-01-31").runs
    """
    from mnist_bench.reporting import build
    from mnist_bench.tracking import uri

    options = build.ReportOptions(
        *_address(tracking_uri, experiment),
        scenarios=(scenario,) if isinstance(scenario, str) else tuple(scenario or ()),
        machine=machine,
        since_ms=_unix_ms(since),
        images=_data_folder(None),
        command=_COMMAND,
    )
    uri.check_uri(options.tracking_uri, options.experiment)
    reader, found = build.find_runs(options, _log.info)
    return Results(reader, found, options, build.select(found.runs, machine))


def run(
    scenario: str | os.PathLike[str] = "table-1",
    *,
    seeds: int = 1,
    first_seed: int = 0,
    steps: int | Sequence[int] | None = None,
    settings: Mapping[str, object] | None = None,
    independent: bool = False,
    threads: int | None = None,
    precision: Precision = "float32",
    device: DeviceChoice = "cpu",
    data: str | os.PathLike[str] | None = None,
    dataset: DatasetChoice | None = None,
    tracking_uri: str | None = None,
    experiment: str | None = None,
    resume: bool = False,
    exclusive: bool = True,
    progress: bool = False,
) -> Results:
    """Train a scenario like `mnist-bench run`, and record its runs in MLflow.

    Prints nothing and writes no report. Every training is a process of its own.

    Args:
        scenario: Name of a packaged scenario, or path of a TOML file.
        seeds: Seeds per step count.
        first_seed: The first of them.
        steps: Step counts in place of the scenario's.
        settings: Hyperparameters by name, in place of the scenario's.
        independent: Train each step count from step 0 instead of sharing one training per seed.
        threads: None takes the scenario's counts, else every core.
        precision: Compute precision, `float32` or `bfloat16`; weights stay float32.
        device: `cpu`, `gpu`, or `auto`: a GPU if TensorFlow finds one.
        data: Folder with MNIST's four IDX files; by default MNIST_BENCH_DATA, else a download.
        dataset: `mnist`, `mnist-5k` (the bundled sample) or `auto`; None takes the scenario's.
        tracking_uri: As for `load`.
        experiment: As for `load`.
        resume: Skip the step counts that are recorded already; the results have them all the same.
        exclusive: Refuse to train while another of your benchmarks runs; without it every run is
            marked suspect.
        progress: Show a progress bar on a terminal, lines elsewhere, and warnings.

    Raises:
        BenchError: An argument is wrong, and nothing was started; or a run did not finish.
        KeyboardInterrupt: Ctrl-C; the unfinished runs are recorded as killed.

    >>> mnist_bench.run("smoke", seeds=3, settings={"learning_rate": 0.003}).table_1()
    """
    from mnist_bench.runner.options import RunOptions

    steps = (steps,) if isinstance(steps, int) else steps if steps is None else tuple(steps)
    try:
        request = _Request(
            seeds=seeds,
            first_seed=first_seed,
            steps=steps,
            threads=threads,
            precision=precision,
            device=device,
            dataset=dataset,
        )
    except ValidationError as error:
        raise toml.to_bench_error(
            error, "run()", table=lambda _: _Request, remedy="correct the argument"
        ) from None
    tracking_uri, experiment = _address(tracking_uri, experiment)
    options = RunOptions(
        scenarios=(os.fspath(scenario),),
        settings=tuple(
            # As TOML; a text stands for itself.
            (name, value if isinstance(value, str) else json.dumps(value, default=str))
            for name, value in (settings or {}).items()
        ),
        seeds=range(first_seed, first_seed + seeds),
        repeats=None,
        independent=independent,
        data_folder=_data_folder(data),
        tracking_uri=tracking_uri,
        experiment=experiment,
        command="",
        resume=resume,
        exclusive=exclusive,
        **request.model_dump(exclude={"seeds", "first_seed"}),
    )
    runs = _train(options, progress=progress)
    unfinished = [each for each in runs if each.status != "finished"]
    if unfinished:
        raise BenchError(
            f"{len(unfinished)} of {formatting.counted(len(runs), 'run')} did not finish: "
            f"{unfinished[0].failure}",
            "mnist_bench.load() has what was recorded",
            exit_status=EXIT_FAILURE,
        )
    return _results_of(runs, options)


class _Request(Record):
    """The arguments of `run` that have limits."""

    seeds: int = Field(ge=1, le=MAX_SEEDS)
    first_seed: int = Field(ge=0, le=MAX_SEED)
    steps: tuple[Annotated[int, Field(ge=1, le=MAX_STEPS)], ...] | None = Field(min_length=1)
    threads: int | None = Field(ge=1, le=MAX_THREADS)
    precision: Precision
    device: DeviceChoice
    dataset: DatasetChoice | None


def _train(options: RunOptions, *, progress: bool) -> tuple[RunSummary, ...]:
    """Train the plan of the options, and return its runs."""
    from rich.console import Console

    from mnist_bench import run_plans
    from mnist_bench.core import locks
    from mnist_bench.runner import environment
    from mnist_bench.runner.options import check_folders, make_plans

    quiet = Console(quiet=True, force_terminal=False)
    console = Console(stderr=True, highlight=False) if progress else quiet
    check_folders()
    for line in environment.of_process(options.device).lines:
        console.print(line, markup=False, soft_wrap=True)
    plans = make_plans(options, console)
    with locks.benchmark_lock(exclusive=options.exclusive, warn=_log.info) as exclusive:
        options = dataclasses.replace(options, exclusive=exclusive)
        result = run_plans.run_plans(
            plans, options, console, quiet, run_plans.Output(reports=False)
        )
    if result.exit_status == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if result.error:
        raise result.error
    return result.runs


def _results_of(runs: Sequence[RunSummary], options: RunOptions) -> Results:
    """Runs that have just been recorded, with what only the store knows of them."""
    from mnist_bench.reporting import build

    report_options = build.ReportOptions(
        options.tracking_uri,
        options.experiment,
        scenarios=tuple({each.scenario for each in runs}),
        images=options.data_folder,
        command=_COMMAND,
    )
    reader, found = build.find_runs(report_options, _log.info)
    ids = {each.run_id for each in runs}
    own = tuple(each for each in found.runs if each.run.run_id in ids)
    selection = build.select(own, None)
    return Results(reader, build.FoundRuns(own), report_options, selection)


def _cell(value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return formatting.UNKNOWN
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _address(tracking_uri: str | None, experiment: str | None) -> tuple[str, str]:
    from mnist_bench.tracking.uri import DEFAULT_EXPERIMENT, DEFAULT_TRACKING_URI, cleaned

    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI
    name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT
    return cleaned(uri), name.strip()


def _data_folder(data: str | os.PathLike[str] | None) -> Path | None:
    folder = os.environ.get("MNIST_BENCH_DATA") if data is None else os.fspath(data)
    return Path(folder) if folder else None


def _unix_ms(since: str | dt.date | None) -> int | None:
    """A time, or the local start of a day, as Unix time in milliseconds."""
    if since is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(since if isinstance(since, str) else since.isoformat())
        return max(0, int(moment.astimezone().timestamp() * 1_000))
    except (ValueError, OverflowError, OSError):
        raise BenchError(f"since = {since!r} is not a day", "write it like 2026-01-31") from None
