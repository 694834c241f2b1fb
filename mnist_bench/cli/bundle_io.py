"""Export of recorded runs to a bundle, and import from one."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from mnist_bench.core import files
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.core.formatting import counted
from mnist_bench.measurement.machine import Machine, machine_id
from mnist_bench.reporting.csv import runs_csv
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import RecordedRun, summarise
from mnist_bench.scenarios.scenario import Scenario
from mnist_bench.tracking import bundle, recovery, run_notes
from mnist_bench.tracking.bundle import Bundle, BundledRun
from mnist_bench.tracking.mlflow_store import MlflowStore, no_runs_error
from mnist_bench.tracking.read_run import UnreadableRunError
from mnist_bench.tracking.recorder import process_owner
from mnist_bench.tracking.schema import Point


@dataclass(frozen=True)
class Exported:
    """Result of an export.

    Attributes:
        runs: Number of runs in the file.
        left_out: Number of trials, running ones, and runs without a complete record.
        out_of_reach: Number of ended runs whose files can't be read, and where these are.
        refused: Runs left out because `import` would refuse the file with them: the reason, by
            MLflow's run id.
    """

    path: Path
    runs: int
    left_out: int
    out_of_reach: tuple[int, str]
    refused: Mapping[str, str]


@dataclass(frozen=True)
class _SavedRun:
    """A recorded run with its machine and scenario."""

    run_id: str
    begun_at_ms: int
    result: RunResult
    machine: Machine
    scenario: Scenario | None


def export(
    tracking_uri: str, experiment: str, query: str, path: Path, log: Callable[[str], None]
) -> Exported:
    """Write recorded runs to a bundle file.

    Args:
        query: An MLflow filter; empty for all runs.
        log: Receives one line if runs of commands that died were recovered first.

    Raises:
        BenchError: There are no runs, or the file can't be written.
    """
    if path.suffix != bundle.SUFFIX:
        raise BenchError(
            f"{path} does not end in {bundle.SUFFIX}", f"name it bundle{bundle.SUFFIX}"
        )
    if not path.parent.is_dir():
        raise BenchError(f"there is no folder {path.parent}", "create it first")
    files.check_writable(path.parent, "choose another folder")
    reader = recovery.open_existing_store(tracking_uri, experiment, log)
    found = list(reader.recorded_runs(query)) if reader else []
    saved = list(_saved_runs(reader, found)) if reader else []
    ended = sum(isinstance(each, RecordedRun) and _is_complete(each) for each in found)
    location = reader.artifact_location if reader and ended > len(saved) else ""
    if ended and not saved:
        raise BenchError(
            f"the files of {counted(ended, 'run')} are out of reach, at {location}",
            "make them readable from here",
            exit_status=EXIT_FAILURE,
        )
    if not saved:
        raise no_runs_error(tracking_uri, experiment, "no run that has ended")
    content, refused = _make_content(saved, path)
    (written,) = files.write(path.parent, path.stem, [files.File(path.suffix, content)])
    runs = len(saved) - len(refused)
    out_of_reach = ended - len(saved)
    left_out = len(found) - len(saved) - out_of_reach
    return Exported(written, runs, left_out, (out_of_reach, location), refused)


def _is_complete(recorded: RecordedRun) -> bool:
    """Whether a run is no trial and has ended."""
    return not recorded.study and recorded.run.status is not None


def _make_content(saved: Sequence[_SavedRun], path: Path) -> tuple[bytes, dict[str, str]]:
    """Content of a file that `import` accepts, and the runs left out for that with the reasons.

    Raises:
        BenchError: `import` would refuse every run, or they are too many for one file.
    """
    try:
        return _checked_content(saved, path), {}
    except bundle.InvalidBundleError as error:
        # Find the offending runs by checking each alone; too slow to do when all pass.
        refused = {run.run_id: reason for run in saved if (reason := _refusal(run, path))}
        if not refused:
            raise BenchError(
                f"these runs don't fit into one file: {error.why}", "use --runs QUERY"
            ) from error
    accepted = [run for run in saved if run.run_id not in refused]
    if not accepted:
        run_id, reason = next(iter(refused.items()))
        raise BenchError(
            f"no run can be exported, `import` would refuse them all: {reason} (run {run_id})",
            "look at these runs with `mnist-bench ui`, and train them again",
        )
    return _checked_content(accepted, path), refused


def _refusal(run: _SavedRun, path: Path) -> str | None:
    """Why `import` would refuse a run; None if it would not."""
    try:
        _checked_content([run], path)
    except bundle.InvalidBundleError as error:
        return error.why
    return None


def _checked_content(saved: Sequence[_SavedRun], path: Path) -> bytes:
    """Content of a bundle file with these runs, checked as `import` checks it.

    Raises:
        InvalidBundleError: `import` would refuse the file.
        BenchError: There are too many runs or scenarios for one bundle.
    """
    if len(saved) > bundle.MAX_RUNS:
        raise BenchError(f"{len(saved):,} runs are more than a bundle can hold", "use --runs QUERY")
    if len({each.scenario for each in saved}) > bundle.MAX_SCENARIOS:
        raise BenchError("more scenarios than a bundle can hold", "use --runs QUERY")
    machines = list(dict.fromkeys(each.machine for each in saved))
    scenarios = list(dict.fromkeys(each.scenario for each in saved if each.scenario))
    results = [bundle.without_private(each.result) for each in saved]
    runs = tuple(
        BundledRun(
            result=result,
            machine=machines.index(each.machine),
            begun_at_ms=each.begun_at_ms,
            scenario=scenarios.index(each.scenario) if each.scenario else None,
        )
        for result, each in zip(results, saved, strict=True)
    )
    new_bundle = Bundle(
        mnist_bench=version("mnist-bench"),
        machines=tuple(machines),
        runs=runs,
        scenarios=tuple(scenarios),
    )
    content = bundle.to_bytes(new_bundle, runs_csv(summarise(results)))
    bundle.parse(content, path)
    return content


def _saved_runs(
    reader: MlflowStore, found: Sequence[RecordedRun | UnreadableRunError]
) -> Iterator[_SavedRun]:
    """The ended runs that have a complete record and a machine description."""
    scenarios: dict[str, Scenario | None] = {}  # the runs of one training share one
    for each in found:
        if not isinstance(each, RecordedRun) or not _is_complete(each):
            continue
        run_id, trajectory = each.run.run_id or "", each.run.trajectory
        result, machine = reader.load(run_id), reader.load_machine(run_id)
        if result and machine:
            if trajectory not in scenarios:
                scenario = reader.load_scenario(run_id)
                scenarios[trajectory] = scenario and bundle.without_title(
                    scenario, each.run.scenario
                )
            yield _SavedRun(run_id, each.begun_at_ms, result, machine, scenarios[trajectory])


def import_(
    path: Path, open_store: Callable[[], MlflowStore], log: Callable[[str], None]
) -> tuple[int, int]:
    """Import a bundle's runs; numbers of those that are new and that were there already.

    The file is checked completely before the store is opened.

    Raises:
        BenchError: The file is not a valid bundle, or MLflow failed.
    """
    read = bundle.read(path)
    ended = [run for run in read.runs if run.result.status is not None]
    store = open_store()
    log(f"{path.name}: {counted(len(ended), 'run')} of {counted(len(read.machines), 'machine')}")
    new = sum(_import_run(store, run, read) for run in ended)
    return new, len(ended) - new


_OfMachine = TypeVar("_OfMachine", Machine, RunResult)


def _not_this_one(record: _OfMachine) -> _OfMachine:
    """A record that says it is of this machine, with another id: anyone may write that."""
    if record.machine_id is None or record.machine_id != machine_id():
        return record
    other = hashlib.sha256(f"imported {record.machine_id}".encode()).hexdigest()[:32]
    return record.model_copy(update={"machine_id": other})


def _import_run(store: MlflowStore, bundled: BundledRun, of: Bundle) -> bool:
    """Record a run with its curve and its files; returns False if it was recorded before."""
    machine = _not_this_one(of.machines[bundled.machine])
    # The ids of another machine's store could match a run of this one.
    result = _not_this_one(bundle.without_private(bundled.result))
    begin_ms = bundled.begun_at_ms
    description = f"{run_notes.run_description(result, result.scenario)}\n\nImported from a bundle."
    started = store.start(
        result, description, process_owner(), machine, at_ms=begin_ms, may_exist=True,
        is_imported=True,
    )  # fmt: skip
    if started.is_complete:
        return False
    ended = result.model_copy(update={"run_id": started.run_id})
    points = [
        Point(e.step, begin_ms + round(e.train_seconds * 1_000), evaluation=e)
        for e in result.evaluations
    ]
    store.log(started.run_id, points)
    texts = {
        "result.json": ended.model_dump_json(indent=2),
        "machine.json": machine.model_dump_json(indent=2),
    }
    if bundled.scenario is not None:
        texts["scenario.toml"] = of.scenarios[bundled.scenario].to_toml()
    with tempfile.TemporaryDirectory(prefix="mnist-bench-") as folder:
        paths = [Path(folder, name) for name in texts]
        for text_path, text in zip(paths, texts.values(), strict=True):
            text_path.write_text(text, encoding="utf-8", newline="\n")
        at_ms = points[-1].at_ms if points else begin_ms
        store.finish(ended, description, lambda: paths, at_ms=at_ms)
    return True
