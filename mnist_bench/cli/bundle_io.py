"""The work of `mnist-bench export` and `import`: runs into a bundle, and out of one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from mnist_bench.core import files
from mnist_bench.core.errors import BenchError
from mnist_bench.core.process_identity import current_process
from mnist_bench.measurement.machine import Machine, machine_id
from mnist_bench.reporting.csv import runs_csv
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import RecordedRun, summarise
from mnist_bench.scenarios.scenario import Scenario
from mnist_bench.tracking import bundle, run_notes
from mnist_bench.tracking.bundle import Bundle, BundledRun
from mnist_bench.tracking.mlflow_reader import MlflowReader, existing_store, nothing_recorded
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.read_run import UnreadableRunError
from mnist_bench.tracking.schema import Point


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The file.
        runs: How many runs are in it.
        left_out: How many are not: trials, what still goes on, what kept no record.
        refused: Runs that an import would refuse, and so would the whole file with them: why, by
            MLflow's id of the run.
    """

    path: Path
    runs: int
    left_out: int
    refused: Mapping[str, str]


@dataclass(frozen=True)
class Imported:
    """What was read.

    Attributes:
        new: Runs that are in the database now and were not before.
        known: Runs that were there already.
    """

    new: int
    known: int


@dataclass(frozen=True)
class _Kept:
    """A run as it was kept."""

    run_id: str
    begun_at_ms: int
    result: RunResult
    machine: Machine
    scenario: Scenario | None


def export(tracking_uri: str, experiment: str, query: str, path: Path) -> Exported:
    """Write the recorded runs as one file.

    Args:
        tracking_uri: Where MLflow has recorded them.
        experiment: MLflow's experiment.
        query: A filter in MLflow's own words; empty for all.
        path: Of the file.

    Raises:
        BenchError: There are none, or the file can't be written.
    """
    if path.suffix != bundle.SUFFIX:
        raise BenchError(
            f"{path} does not end in {bundle.SUFFIX}", f"call it bundle{bundle.SUFFIX}"
        )
    archive = existing_store(tracking_uri, experiment)
    found = list(archive.recorded(query)) if archive else []
    kept = list(_kept(archive, found)) if archive else []
    if not kept:
        raise nothing_recorded(tracking_uri, experiment, "no run that has ended")
    content, refused = _packed(kept, path)
    (written,) = files.write(path.parent, path.stem, [files.File(path.suffix, content)])
    runs = len(kept) - len(refused)
    return Exported(written, runs, len(found) - len(kept), refused)


def _packed(kept: Sequence[_Kept], path: Path) -> tuple[bytes, dict[str, str]]:
    """A file that `import` takes, and what had to be left out for that.

    Raises:
        BenchError: Nothing would be left, or it is too much for one file.
    """
    try:
        return _checked(kept, path), {}
    except bundle.NoBundleError as error:
        # Which run it is, each tells that is packed alone; that would be slow for those that pass.
        refused = {each.run_id: why for each in kept if (why := _refusal(each, path))}
        if not refused:
            raise BenchError(
                f"no file can hold these runs: {error.why}", "use --runs QUERY"
            ) from error
    taken = [each for each in kept if each.run_id not in refused]
    if not taken:
        run_id, why = next(iter(refused.items()))
        raise BenchError(
            f"no run can be exported, `import` would refuse them all: {why} (run {run_id})",
            "look at these runs with `mnist-bench ui`, and train them again",
        )
    return _checked(taken, path), refused


def _refusal(each: _Kept, path: Path) -> str | None:
    """Why `import` would not take a run; None where it would."""
    try:
        _checked([each], path)
    except bundle.NoBundleError as error:
        return error.why
    return None


def _checked(kept: Sequence[_Kept], path: Path) -> bytes:
    """Runs as a file that `import` takes: what it would refuse is not written.

    Raises:
        NoBundleError: It would not.
        BenchError: They are too many.
    """
    if len(kept) > bundle.MAX_RUNS:
        raise BenchError(f"{len(kept):,} runs are more than a bundle holds", "use --runs QUERY")
    if len({each.scenario for each in kept}) > bundle.MAX_SCENARIOS:
        raise BenchError("more scenarios than a bundle holds", "use --runs QUERY")
    made, results = _bundle(kept)
    content = bundle.to_bytes(made, runs_csv(summarise(results)))
    bundle.parse(content, path)
    return content


def _kept(
    archive: MlflowReader, found: Sequence[RecordedRun | UnreadableRunError]
) -> Iterator[_Kept]:
    """The runs that have ended and kept a record and their machine."""
    scenarios: dict[str, Scenario | None] = {}  # the runs of one training share theirs
    for each in found:
        if not isinstance(each, RecordedRun) or each.study or each.run.status is None:
            continue
        run_id, trajectory = each.run.run_id or "", each.run.trajectory
        result, machine = archive.load(run_id), archive.load_machine(run_id)
        if result and machine:
            if trajectory not in scenarios:
                scenarios[trajectory] = _asked(archive, each)
            yield _Kept(run_id, each.begun_at_ms, result, machine, scenarios[trajectory])


def _asked(archive: MlflowReader, each: RecordedRun) -> Scenario | None:
    asked = archive.load_scenario(each.run.run_id or "")
    return asked and bundle.without_title(asked, each.run.scenario)


def _bundle(kept: Sequence[_Kept]) -> tuple[Bundle, list[RunResult]]:
    machines = list(dict.fromkeys(each.machine for each in kept))
    scenarios = list(dict.fromkeys(each.scenario for each in kept if each.scenario))
    results = [bundle.without_private(each.result) for each in kept]
    runs = tuple(
        BundledRun(
            result=result,
            machine=machines.index(each.machine),
            begun_at_ms=each.begun_at_ms,
            scenario=scenarios.index(each.scenario) if each.scenario else None,
        )
        for result, each in zip(results, kept, strict=True)
    )
    made = Bundle(
        mnist_bench=version("mnist-bench"),
        machines=tuple(machines),
        runs=runs,
        scenarios=tuple(scenarios),
    )
    return made, results


def import_(
    path: Path, open_store: Callable[[], MlflowStore], say: Callable[[str], None]
) -> Imported:
    """Take a bundle's runs into a database, each once, however often that is done.

    Args:
        path: Of the file; it is wholly checked before the store is opened.
        open_store: Opens the store.
        say: Told what is going on.

    Raises:
        BenchError: The file is no bundle, or MLflow refuses.
    """
    told = bundle.read(path)
    ended = [run for run in told.runs if run.result.status is not None]
    store = open_store()
    say(f"{path.name}: {len(ended)} runs of {len(told.machines)} machines")
    new = sum(_taken(store, run, told) for run in ended)
    return Imported(new, len(ended) - new)


def _taken(store: MlflowStore, bundled: BundledRun, of: Bundle) -> bool:
    """Record a run with its curve and its files; False where it was there already."""
    machine = of.machines[bundled.machine]
    # Another's ids must not lead to a run of the user's.
    result, begin = bundle.without_private(bundled.result), bundled.begun_at_ms
    words = f"{run_notes.run_description(result, result.scenario)}\n\nImported from a bundle."
    owner = current_process(machine_id())
    started = store.start(
        result, words, owner, machine, at_ms=begin, look_first=True, is_imported=True
    )
    if started.is_complete:
        return False
    ended = result.model_copy(update={"run_id": started.run_id})
    points = [
        Point(e.step, begin + round(e.train_seconds * 1_000), evaluation=e)
        for e in result.evaluations
    ]
    store.log(started.run_id, points)
    with tempfile.TemporaryDirectory(prefix="mnist-bench-") as folder:
        texts = {
            "result.json": ended.model_dump_json(indent=2),
            "machine.json": machine.model_dump_json(indent=2),
        }
        if bundled.scenario is not None:
            texts["scenario.toml"] = of.scenarios[bundled.scenario].to_toml()
        paths = [Path(folder, name) for name in texts]
        for kept, text in zip(paths, texts.values(), strict=True):
            kept.write_text(text, encoding="utf-8", newline="\n")
        at_ms = points[-1].at_ms if points else begin
        store.finish(ended, words, lambda: paths, at_ms=at_ms)
    return True
