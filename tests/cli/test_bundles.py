"""`export` and `import`, in real MLflow databases."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from factories import machine, run, sqlite_url, table_1
from program import Bench, import_runs

from mnist_bench.results.run import RunResult
from mnist_bench.tracking.mlflow_store import MlflowStore, Started

if TYPE_CHECKING:
    from mlflow.entities import Run


def with_clock_set_back(training: RunResult) -> RunResult:
    """A result whose clock was set back during the training."""
    first, second, *rest = training.evaluations
    first_late = first.model_copy(update={"train_seconds": second.train_seconds + 1})
    return training.model_copy(update={"evaluations": (first_late, second, *rest)})


def rewrite_result(bench: Bench, change: Callable[[RunResult], RunResult], steps: int) -> str:
    """Change the recorded result of the first run with this step count; return its id."""
    for path in (bench.folder / "mlruns").rglob("result.json"):
        result = RunResult.model_validate_json(path.read_bytes())
        if result.steps == steps:
            path.write_text(change(result).model_dump_json(), encoding="utf-8")
            return result.run_id or ""
    raise ValueError(steps)


def test_inconsistent_run_is_left_out_of_an_export(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    import_runs(bench, table_1()[:3])
    run_id = rewrite_result(bench, with_clock_set_back, 1_000)
    ended = bench.call_with_store("export", "mine.zip")
    assert ended.status == 0, ended.stderr
    assert "mine.zip (2 runs)" in ended.stdout
    assert (
        f"run {run_id} left out, `import` would refuse it: a run has impossible values"
        in ended.stderr_line
    )
    (tmp_path / "other").mkdir()
    other = Bench(tmp_path / "other")
    assert (
        "2 runs imported" in other.call_with_store("import", str(bench.folder / "mine.zip")).stdout
    )


def test_no_export_without_consistent_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    import_runs(bench, table_1()[:1])
    run_id = rewrite_result(bench, with_clock_set_back, 1_000)
    ended = bench.call_with_store("export", "mine.zip")
    assert ended.status == 2
    assert f"would refuse them all: a run has impossible values (run {run_id})" in ended.error_line
    assert not (bench.folder / "mine.zip").exists()


def recorded_in(bench: Bench) -> dict[str, Run]:
    """All MLflow runs, by id."""
    store = MlflowStore(sqlite_url(bench.folder / "mlflow.db"), "mnist-bench")
    return {each.info.run_id: each for each in store.search("")}


def test_import_leaves_an_incomplete_run_of_the_user_alone(tmp_path: Path) -> None:
    """It has the same training as the bundle's run, and its process may continue it."""
    bench = Bench(tmp_path)
    (result,) = table_1()[:1]
    incomplete = result.model_copy(update={"status": None, "run_id": None, "evaluations": ()})
    store = MlflowStore(sqlite_url(bench.folder / "mlflow.db"), "mnist-bench")
    run_id = store.start(incomplete, "Mine.", "1-1-0123abcd", machine(), at_ms=5).run_id
    before = recorded_in(bench)[run_id].to_dictionary()
    first = import_runs(bench, [result])
    again = bench.call_with_store("import", "theirs.zip")
    assert "1 run imported, 0 imported before" in first.stdout
    assert "0 runs imported, 1 imported before" in again.stdout
    recorded = recorded_in(bench)
    assert recorded.pop(run_id).to_dictionary() == before
    (imported,) = recorded.values()
    assert imported.data.tags["bench.imported"] == "true"
    # Continuing the user's run does not find the imported one either.
    assert store.start(incomplete, "", "1-1-0123abcd", machine(), at_ms=5, may_exist=True) == (
        Started(run_id)
    )


def test_a_bundle_cannot_speak_for_this_machine(tmp_path: Path) -> None:
    """Its id is in every bundle that was ever sent from here."""
    bench = Bench(tmp_path)
    own_id = bench.call("machine", "--json").document["machine"]["machine_id"]
    import_runs(bench, [*table_1(own_id, pace=0.000_01)[:1], *table_1("b" * 32)[1:2]])
    listed = bench.call_with_store("runs", "--json").document["runs"]
    ids = {each["machine_id"] for each in listed}
    assert len(ids) == 2
    assert ids & {own_id, "b" * 32} == {"b" * 32}
    assert {(each["imported"], each["machine"][-11:]) for each in listed} == {(True, " (imported)")}
    assert "imported" in bench.call_with_store("runs").stdout
    reported = bench.call_with_store("report", "--json").document
    assert reported["machine"]["machine_id"] != own_id
    records = {path.name: path.read_text("utf-8") for path in bench.folder.rglob("*.json")}
    assert {"result.json", "machine.json", "report.json"} <= records.keys()
    own = f'"machine_id": "{own_id}"'
    assert [name for name, text in records.items() if own in text] == []


def test_an_export_says_that_files_are_out_of_reach(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    import_runs(bench, table_1()[:3])
    (gone, *_) = recorded_in(bench)
    shutil.rmtree(bench.folder / "mlruns" / "mnist-bench" / gone)
    ended = bench.call_with_store("export", "mine.zip")
    assert (ended.status, "(2 runs)" in ended.stdout) == (0, True)
    assert "1 run left out: their files are out of reach, at file://" in ended.stderr_line
    shutil.rmtree(bench.folder / "mlruns")
    ended = bench.call_with_store("export", "mine.zip")
    assert ended.status == 1
    assert "the files of 3 runs are out of reach, at file://" in ended.error_line


def test_interrupted_import_is_resumed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    import_runs(bench, table_1()[:2])
    store = MlflowStore(sqlite_url(bench.folder / "mlflow.db"), "mnist-bench")
    interrupted, _ = recorded_in(bench)
    store.client.set_tag(interrupted, "bench.complete", "false")
    again = bench.call_with_store("import", "theirs.zip")
    assert "1 run imported, 1 imported before" in again.stdout
    recorded = recorded_in(bench)
    assert len(recorded) == 2
    assert recorded[interrupted].data.tags["bench.complete"] == "true"


def test_export_and_import_round_trip(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    bench, other = Bench(tmp_path / "one"), Bench(tmp_path / "two")
    import_runs(bench, table_1("b" * 32, pace=0.01), "fast.zip", cpu="Fast CPU")
    # More runs than the other's, so that one of them is the newest.
    small = [run(200, 0.91, seed, machine_id="a" * 32, trajectory=f"s {seed}") for seed in (0, 1)]
    import_runs(bench, [*small, *table_1("a" * 32)], "slow.zip", cpu="Slow CPU")
    exported = bench.call_with_store("export", "all.zip")
    assert exported.status == 0, exported.stderr
    assert "(26 runs)" in exported.stdout
    bundle = str(bench.folder / "all.zip")
    first = other.call_with_store("import", bundle)
    assert "26 runs imported, 0 imported before" in first.stdout
    again = other.call_with_store("import", bundle)
    assert "0 runs imported, 26 imported before" in again.stdout
    documents = [
        b.call_with_store("report", "--json", "--format", "json").document for b in (bench, other)
    ]
    for document in documents:
        for each in document["runs"]:
            del each["run_id"]
        for row in (*document["table_1"], *document["machine_costs"]):
            del row["run_ids"]
    assert documents[0] == documents[1]
    assert len(documents[0]["runs"]) == 26


def test_imported_curves_have_their_times(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (result,) = table_1()[:1]
    import_runs(bench, [result])
    store = MlflowStore(sqlite_url(bench.folder / "mlflow.db"), "mnist-bench")
    (imported,) = recorded_in(bench).values()
    points = store.client.get_metric_history(imported.info.run_id, "test_accuracy")
    assert {point.step: point.timestamp - imported.info.start_time for point in points} == {
        each.step: round(each.train_seconds * 1_000) for each in result.evaluations
    }


def test_importing_another_file_creates_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (bench.folder / "theirs.zip").write_bytes(b"PK")
    ended = bench.call_with_store("import", "theirs.zip")
    assert ended.status == 2
    assert "theirs.zip is not a bundle of mnist-bench" in ended.error_line
    assert not (bench.folder / "mlflow.db").exists()


def test_nothing_to_export(tmp_path: Path) -> None:
    ended = Bench(tmp_path).call_with_store("export", "mine.zip")
    assert ended.status == 2
    assert "record some with `mnist-bench run`" in ended.error_line
