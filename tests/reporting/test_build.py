"""Reports, comparisons and bundles of recorded runs, in real MLflow databases."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from factories import bundle, evaluations, machine, run, table_1
from program import Bench, import_runs

from mnist_bench.analysis import table1
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.reporting import build, sections
from mnist_bench.reporting.notes import without_study
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import RecordedRun, summarise_run
from mnist_bench.tracking import mlflow_store
from mnist_bench.tracking.mlflow_store import MlflowStore, Started

if TYPE_CHECKING:
    from mlflow.entities import Run


@pytest.fixture(scope="module")
def two_machines(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Store with Table I of two machines, the slower one imported last, and a small scenario."""
    bench = Bench(tmp_path_factory.mktemp("user"))
    import_runs(bench, table_1("b" * 32, pace=0.01), "fast.zip", cpu="Fast CPU")
    small = [run(200, 0.91, s, scenario="smoke", machine_id="a" * 32, trajectory=f"small {s}")
             for s in (0, 1)]  # fmt: skip
    import_runs(bench, [*small, *table_1("a" * 32)], "slow.zip", cpu="Slow CPU")
    return bench


# Bundles


def test_bundle_is_imported_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    first = import_runs(bench, table_1())
    again = bench.call_with_store("import", "theirs.zip")
    assert "12 runs are new, 0 were there already" in first.stdout
    assert "0 runs are new, 12 were there already" in again.stdout
    document = json.loads(bench.call_with_store("report", "--json").stdout)
    assert len(document["runs"]) == 12


def with_clock_set_back(training: RunResult) -> RunResult:
    """A result whose clock was set back during the training."""
    first, second, *rest = training.evaluations
    first_late = first.model_copy(update={"train_seconds": second.train_seconds + 1})
    return training.model_copy(update={"evaluations": (first_late, second, *rest)})


def rewrite_result(bench: Bench, change: Callable[[RunResult], RunResult], steps: int) -> str:
    """Change the recorded result of the first run with this step count; return its id."""
    for path in artifact_files(bench, "result.json"):
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
        "2 runs are new" in other.call_with_store("import", str(bench.folder / "mine.zip")).stdout
    )


def test_no_export_without_consistent_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    import_runs(bench, table_1()[:1])
    run_id = rewrite_result(bench, with_clock_set_back, 1_000)
    ended = bench.call_with_store("export", "mine.zip")
    assert ended.status == 2
    assert f"would refuse them all: a run has impossible values (run {run_id})" in ended.error_line
    assert "ask for a file" not in ended.error_line
    assert not (bench.folder / "mine.zip").exists()


def recorded_in(bench: Bench) -> dict[str, Run]:
    """All MLflow runs, by id."""
    store = MlflowStore(f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}", "mnist-bench")
    return {each.info.run_id: each for each in store.search("")}


def test_import_leaves_an_incomplete_run_of_the_user_alone(tmp_path: Path) -> None:
    """It has the same training as the bundle's run, and its process may continue it."""
    bench = Bench(tmp_path)
    (result,) = table_1()[:1]
    incomplete = result.model_copy(update={"status": None, "run_id": None, "evaluations": ()})
    store = MlflowStore(f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}", "mnist-bench")
    run_id = store.start(incomplete, "Mine.", "1-1-0123abcd", machine(), at_ms=5).run_id
    before = recorded_in(bench)[run_id].to_dictionary()
    first = import_runs(bench, [result])
    again = bench.call_with_store("import", "theirs.zip")
    assert "1 runs are new, 0 were there already" in first.stdout
    assert "0 runs are new, 1 were there already" in again.stdout
    recorded = recorded_in(bench)
    assert recorded.pop(run_id).to_dictionary() == before
    (imported,) = recorded.values()
    assert imported.data.tags["bench.imported"] == "true"
    # Continuing the user's run does not find the imported one either.
    assert store.start(incomplete, "", "1-1-0123abcd", machine(), at_ms=5, may_exist=True) == (
        Started(run_id)
    )


def test_interrupted_import_is_resumed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    import_runs(bench, table_1()[:2])
    store = MlflowStore(f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}", "mnist-bench")
    interrupted, _ = recorded_in(bench)
    store.client.set_tag(interrupted, "bench.complete", "false")
    again = bench.call_with_store("import", "theirs.zip")
    assert "1 runs are new, 1 were there already" in again.stdout
    recorded = recorded_in(bench)
    assert len(recorded) == 2
    assert recorded[interrupted].data.tags["bench.complete"] == "true"


def test_export_and_import_round_trip(two_machines: Bench, tmp_path: Path) -> None:
    exported = two_machines.call_with_store("export", "all.zip")
    assert exported.status == 0, exported.stderr
    assert "(26 runs)" in exported.stdout
    other = Bench(tmp_path)
    assert other.call_with_store("import", str(two_machines.folder / "all.zip")).status == 0
    documents = [
        json.loads(b.call_with_store("report", "--json").stdout) for b in (two_machines, other)
    ]
    for document in documents:
        for each in document["runs"]:
            del each["run_id"]
        for row in (*document["table_1"], *document["machine_costs"]):
            del row["run_ids"]
    assert documents[0] == documents[1]


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


# Reports


def test_report_is_on_the_machine_of_the_newest_run(two_machines: Bench) -> None:
    ended = two_machines.call_with_store("report", "--json", "--out", "newest")
    assert ended.status == 0, ended.stderr
    document = ended.document
    assert document["machine"]["cpu"] == "Slow CPU"
    assert [each["machine_id"] for each in document["runs"]].count("a" * 32) == 14
    assert len(document["runs"]) == 26
    assert [row["verdict"] for row in document["table_1"]] == ["indistinguishable"] * 4
    assert [row["n"] for row in document["table_1"]] == [3] * 4
    assert [line["scenario"] for line in document["standings"]] == ["table-1"] * 4
    assert [(line["accuracy"], line["reached"]) for line in document["reaches"]] == [
        *((accuracy, 3) for accuracy in (0.984, 0.9888, 0.9918, 0.9928)),
        *((accuracy, 0) for accuracy in (0.984, 0.9888, 0.9918, 0.9928)),  # of smoke
    ]
    assert [line["relative"] for line in document["machines"]][:2] == [1.0, 0.5]
    assert "14 runs of mnist-bench on Slow CPU" in ended.stderr_line
    assert "runs of other machines" not in ended.stderr_line


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Store with 1,000 steps on four machines, the newest "a".

    Seed 1 ran on "b" first, with eight threads; "c" has another TensorFlow, and "d" failed. Runs of
    a machine start a minute apart.
    """
    bench = Bench(tmp_path_factory.mktemp("user"))
    failed: dict[str, Any] = {"status": "failed", "failure": "gone"}
    fast = {"threads": 8, "peak_rss_bytes": 700 * 2**20}
    slow = {"peak_rss_bytes": 500 * 2**20}
    kinds: tuple[tuple[str, dict[int, dict[str, Any]], dict[str, Any]], ...] = (
        ("b", {1: fast, 2: fast}, {"cpu": "Fast CPU"}),
        ("c", {3: {}, 4: {}}, {"cpu": "Old CPU", "tensorflow": "2.20.0"}),
        ("d", {5: failed}, {}),
        ("a", {9: failed, 0: slow, 1: slow}, {"cpu": "Slow CPU"}),
    )
    for letter, changes_by_seed, machine_fields in kinds:
        runs = [
            run(1_000, 0.984 + seed / 1_000, seed, machine_id=letter * 32, verdict="clean",
                trajectory=f"{letter} {seed}",
                evaluations=evaluations(1_000, 0.984 + seed / 1_000,
                                        seconds=0.01 if letter == "b" else 0.02),
                **changes)
            for seed, changes in changes_by_seed.items()
        ]  # fmt: skip
        import_runs(bench, runs, f"{letter}.zip", **machine_fields)
    return bench


def test_accuracies_of_machines_are_pooled(pooled: Bench) -> None:
    # Seeds 0 on a, 1 and 2 on b, which ran 1 first: 0.984, 0.985, 0.986.
    ended = pooled.call_with_store("report", "--json", "--out", "pooled")
    assert ended.status == 0, ended.stderr
    document = ended.document
    (row,) = document["table_1"]
    assert (row["n"], row["threads"]) == (3, 2)
    assert (row["mean"], row["sd"]) == pytest.approx((0.985, 0.001))
    assert row["train_seconds_mean"] == pytest.approx(20)
    assert row["reason"] == "left out: 1 not finished, 1 of a seed that another machine ran first"
    keys = ("machine_id", "threads", "n", "pooled_n", "train_seconds_mean")
    assert [tuple(line[key] for key in keys) for line in document["machine_costs"]] == [
        ("a" * 32, 2, 2, 1, pytest.approx(20)),
        ("b" * 32, 8, 2, 2, pytest.approx(10)),
    ]
    # Charts, phases and times to accuracy are of the report's machine too.
    assert [line["n"] for line in document["reaches"]] == [2] * 4
    assert "Scenario table-1: Accuracies pooled over 2 machines." in ended.stderr_line
    assert "3 runs of other machines: in the table of machines alone" in ended.stderr_line
    assert (
        "2 runs of other machines not pooled: not known to be of the TensorFlow version of all runs"
    ) in ended.stderr_line
    assert ended.stderr_line.startswith("3 runs of mnist-bench on Slow CPU")


def test_report_files_have_each_machine(pooled: Bench) -> None:
    assert pooled.call_with_store("report", "--out", "each").status == 0
    text = (pooled.folder / "each" / "report.md").read_text(encoding="utf-8")
    assert "- Accuracies pooled over 2 machines.\n" in text
    table = text.partition("### Each machine\n\n")[2].partition("\n\n")[0]
    hardware = "2 cores, 16.0 GiB, Linux 6.1 x86\\_64"
    own = "2 | 2 | 2 of 2 | 20.0 s ± 0.0% | 2,500 | 500 MiB"
    other = "8 | 2 | 2 of 2 | 10.0 s ± 0.0% | 5,000 | 700 MiB"
    assert table.splitlines()[2:] == [
        f"| 1,000 | aaaaaaaa | Slow CPU, {hardware} | {own} |",
        f"| 1,000 | bbbbbbbb | Fast CPU, {hardware} | {other} |",
    ]
    assert "2 of 2 | 0.9850 ± 0.00100" in text  # clean of this machine's, max of all
    assert "1 min 00 s inside 3 trainings, peak memory 1,000 MiB" in text  # the failed one too
    assert "; 2 trainings on 1 other machine." in text
    assert "Mean over 2 trainings up to step 1,000; peaks are the largest." in text
    assert "- **Several machines** share a row's accuracies where scenario" in text
    page = (pooled.folder / "each" / "report.html").read_text(encoding="utf-8")
    assert "<li>Accuracies pooled over 2 machines.</li>" in page
    assert "<h3>Each machine</h3>" in page
    with (pooled.folder / "each" / "report.runs.csv").open(encoding="utf-8", newline="") as file:
        runs = [(line["seed"], line["machine_id"][0]) for line in csv.DictReader(file)]
    assert sorted(runs) == [
        ("0", "a"), ("1", "a"), ("1", "b"), ("2", "b"), ("9", "a"),
    ]  # fmt: skip


def test_report_on_one_machine_is_not_pooled(pooled: Bench) -> None:
    ended = pooled.call_with_store("report", "--json", "--machine", "aaaa", "--out", "one")
    document = ended.document
    assert document["table_1"][0]["n"] == 2
    assert document["table_1"][0]["mean"] == pytest.approx(0.9845)
    assert {each["machine_id"] for each in document["runs"]} == {"a" * 32}
    assert "machine_costs" not in document
    assert "5 runs of other machines: in the table of machines alone" in ended.stderr_line
    text = (pooled.folder / "one" / "report.md").read_text(encoding="utf-8")
    assert "pooled" not in text
    assert "Each machine" not in text
    assert "| Seed | Steps | Status |" in text


def test_report_files(two_machines: Bench) -> None:
    assert two_machines.call_with_store("report", "--out", "files").status == 0
    folder = two_machines.folder / "files"
    names = {path.name for path in folder.iterdir()}
    assert names == {f"report.{s}" for s in ("html", "md", "csv", "runs.csv", "json")}
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert text.count("### Table I beside this machine") == 1
    assert text.count("### What was run") == 1
    assert "## Machines beside one another" in text
    fast = text.index("Fast CPU")
    assert fast < text.index("Slow CPU", fast)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == page.count("</svg>") > 4
    assert "<script" not in page
    assert "src=" not in page


def test_scenario_comparable_with_table_1_is_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    newest = run(200, 0.91, scenario="smoke", machine_id="a" * 32, trajectory="small")
    import_runs(bench, [*table_1(), newest])
    ended = bench.call_with_store("report", "--format", "md")
    text = (bench.folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert text.index("## Scenario table-1") < text.index("## Scenario smoke")
    assert re.search(
        r"table-1: Against .* [0-9.]+ times the reference machine's train time\.", text
    )
    assert "times the reference machine's train time" in ended.stdout


def test_machine_without_a_common_task_is_not_ranked(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    import_runs(bench, table_1("b" * 32), "theirs.zip", cpu="Other CPU")
    import_runs(bench, [run(200, 0.91, scenario="smoke", machine_id="a" * 32, trajectory="small")])
    ended = bench.call_with_store("report", "--machine", "aaaa", "--json")
    assert ended.document["machines"] == []
    assert "12 runs of other machines: left out, --machine names one" in ended.stderr_line


def test_tasks_that_this_machine_did_not_run_are_not_ranked() -> None:
    """Two other machines ran the same scenario in lower precision."""
    runs = [RecordedRun(summarise_run(run(1_000, machine_id=id_ * 32, precision=precision)), 0)
            for id_, precision in (("a", "float32"), ("b", "float32"), ("b", "bfloat16"),
                                   ("c", "bfloat16"))]  # fmt: skip
    lines = build._ranked_machines(runs, "a" * 32)
    assert {(line.machine_id, line.precision) for line in lines} == {
        ("a" * 32, "float32"), ("b" * 32, "float32"),
    }  # fmt: skip


def test_report_on_a_machine_by_its_id(two_machines: Bench) -> None:
    ended = two_machines.call_with_store("report", "--json", "--machine", "bbbb", "--format", "csv")
    assert ended.document["machine"]["cpu"] == "Fast CPU"
    assert len(ended.document["runs"]) == 12


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (("--scenario", "smoke"), 2),
        (("--runs", "params.steps = '1000'"), 3),
        (("--since", "2026-01-01", "--until", "2026-01-03"), 14),
        (("--scenario", "table-1", "--runs", "metrics.max_test_accuracy > 0.99305"), 2),
    ],
)
def test_filters(two_machines: Bench, arguments: tuple[str, ...], runs: int) -> None:
    ended = two_machines.call_with_store(
        *("report", "--json", "--machine", "a" * 32, "--format", "json", *arguments)
    )
    assert ended.status == 0, ended.stderr
    assert len(ended.document["runs"]) == runs


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--scenario", "none"), "no matching run"),
        (("--since", "2040-01-01"), "no matching run"),
        (("--since", "soon"), "soon"),
        (("--machine", "c"), "no machine ids begin with it"),
        (("--machine", ""), "several machine ids begin with it"),
        (("--format", "pdf"), "'pdf' is not one of html, md, csv, json"),
        (("--runs", "what is this"), "MLflow does not understand the filter 'what is this'"),
        (("--image", "-1"), "-1 is not in the range x>=0"),
        (("--data", "nowhere"), "there is no folder"),
    ],
)
def test_invalid_options(two_machines: Bench, arguments: tuple[str, ...], words: str) -> None:
    ended = two_machines.call_with_store("report", *arguments)
    assert ended.status == 2
    assert words in ended.error_line


def test_without_runs(tmp_path: Path) -> None:
    ended = Bench(tmp_path).call_with_store("report")
    assert ended.status == 2
    assert "record some with `mnist-bench run`" in ended.error_line


def options(folder: Path, *formats: str, **changes: Any) -> build.ReportOptions:
    """Options for a report on all runs in a folder's database."""
    values: dict[str, Any] = {
        "tracking_uri": f"sqlite:///{(folder / 'mlflow.db').as_posix()}",
        "experiment": "mnist-bench", "query": "", "scenarios": (), "machine": None,
        "since_ms": None, "until_ms": None, "formats": formats, "folder": folder / "out",
        "images": None, "image": None, "command": "mnist-bench report",
    }  # fmt: skip
    return build.ReportOptions(**(values | changes))


def test_reference_is_read_once(two_machines: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, regardless of the number of scenarios."""
    reads: list[bool] = []
    reference = table1.reference_document
    monkeypatch.setattr(table1, "reference_document", lambda: reads.append(True) or reference())
    report, _ = build.write_report(options(two_machines.folder, "json"), pytest.fail)
    assert len(report.sections) == 2
    assert len(reads) == 1


def test_limit_of_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "MOST_SECTIONS", 3)
    monkeypatch.setattr(sections, "MOST_WITH_CHARTS", 1)
    bench = Bench(tmp_path)
    paper_run = run(1_000, 0.985, scenario="paper", trajectory="p")
    other_runs = (
        run(200, 0.91, scenario=f"mine-{place}", trajectory=f"t {place}") for place in range(5)
    )
    import_runs(bench, [paper_run, *other_runs])
    _, paths = build.write_report(options(bench.folder, "html", "md", "csv", "json"), pytest.fail)
    page, text, table, runs, document = (path.read_text(encoding="utf-8") for path in paths)
    assert re.findall(r"^## Scenario (.*)$", text, re.MULTILINE) == ["paper", "mine-4", "mine-3"]
    assert "1 of 6 scenarios, those that compare with Table I and then those with the " in text
    assert "3 of 6 scenarios have sections, those that compare with Table I and then " in text
    others = text.partition("## Other scenarios")[2]
    assert re.findall(r"^\| (mine-\d) \| 200 \| 1 \|", others, re.MULTILINE) == [
        *("mine-2", "mine-1", "mine-0"),
    ]
    assert page.count("<svg") == 4
    assert '<h2 id="others">Other scenarios</h2>' in page
    # CSV and JSON contain everything.
    assert table.count("\n") == runs.count("\n") == 7
    assert len(json.loads(document)["runs"]) == 6
    selected, _ = build.write_report(
        options(bench.folder, "html", scenarios=("mine-0", "mine-1")), pytest.fail
    )
    assert [section.has_charts for section in selected.sections] == [True, True]
    assert (selected.others, [note for note in selected.notes if "scenarios" in note]) == ((), [])
    # Up to the limit of sections every scenario has charts.
    monkeypatch.setattr(sections, "MOST_SECTIONS", 6)
    unlimited, _ = build.write_report(options(bench.folder, "html"), pytest.fail)
    assert [section.has_charts for section in unlimited.sections] == [True] * 6


def test_runs_of_several_versions_are_noted(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    older, newer = table_1()[:4], table_1()[4:]
    import_runs(bench, older, "older.zip", tensorflow="2.20.0")
    import_runs(bench, newer, "newer.zip", tensorflow="2.21.0")
    ended = bench.call_with_store("report", "--format", "json")
    assert (
        "Runs of several versions share rows: 4 runs of TensorFlow 2.20.0 and mnist-bench 0.1.0, "
        "8 runs of TensorFlow 2.21.0 and mnist-bench 0.1.0;"
    ) in ended.stdout


def test_trials_without_their_study_are_noted() -> None:
    trial = RecordedRun(summarise_run(run()), 0, study="mine")
    (note,) = without_study([trial, trial], [])
    assert note.startswith("2 trials of the study mine left out: it has not come to its end, or ")


def test_database_fails_between_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tables are dropped between two pages of runs."""
    bench = Bench(tmp_path)
    import_runs(bench, table_1())
    database = bench.folder / "mlflow.db"
    pages = mlflow_store.MlflowStore._pages

    def drop_table_after_first_page(self: mlflow_store.MlflowStore, question: str) -> Iterator[Run]:
        for place, each in enumerate(pages(self, question)):
            if place == 2:
                with closing(sqlite3.connect(database)) as other:
                    other.execute("DROP TABLE tags")
            yield each

    monkeypatch.setattr(mlflow_store, "_PAGE_SIZE", 3)
    monkeypatch.setattr(mlflow_store.MlflowStore, "_pages", drop_table_after_first_page)
    with pytest.raises(BenchError, match="failed while looking for runs: no such table") as failed:
        build.write_report(options(bench.folder, "md"), pytest.fail)
    assert failed.value.exit_status == EXIT_FAILURE
    assert not (bench.folder / "out").exists()


def test_only_failed_and_invalid_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    failed = run(1_000, status="failed", failure="gone", trajectory="f", machine_id="a" * 32)
    invalid = [each.model_copy(update={"verdict": "invalid", "reasons": ("asleep",)})
               for each in table_1()[:1]]  # fmt: skip
    import_runs(bench, [failed, *invalid])
    ended = bench.call_with_store("report", "--json")
    assert ended.status == 0, ended.stderr
    (row,) = ended.document["table_1"]
    assert (row["n"], row["invalid"], row["train_seconds_mean"]) == (1, 1, None)
    text = (bench.folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert "not clean, asleep" in text
    assert "Not finished, so in no row above" in text


def test_only_a_failed_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    import_runs(bench, [run(1_000, status="failed", failure="gone", trajectory="f")])
    ended = bench.call_with_store("report", "--json")
    assert ended.status == 0, ended.stderr
    (row,) = ended.document["table_1"]
    assert (row["n"], row["verdict"]) == (0, "not comparable")
    page = (bench.folder / "reports" / "report.html").read_text(encoding="utf-8")
    assert "no finished run" in page


def test_runs_of_another_schema_are_left_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    import_runs(bench, table_1()[:2])
    store = MlflowStore(f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}", "mnist-bench")
    first = store.search("")[0].info.run_id
    store.client.set_tag(first, "bench.schema", "99")
    ended = bench.call_with_store("report", "--json")
    assert len(ended.document["runs"]) == 1
    assert "1 run left out: of schema 99, and this version knows 1" in ended.stderr_line


def artifact_files(bench: Bench, name: str) -> list[Path]:
    """Artifacts of runs with this name."""
    paths = list((bench.folder / "mlruns").rglob(name))
    assert paths
    return paths


def test_another_machine_without_a_description(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    import_runs(bench, table_1("b" * 32))
    for path in artifact_files(bench, "machine.json"):
        path.unlink()
    ended = bench.call_with_store("report")
    assert ended.status == 1
    assert "can't read the description of machine bbbbbbbb" in ended.error_line
    assert not (bench.folder / "reports").exists()


def test_runs_without_their_artifacts_are_noted(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    import_runs(bench, table_1())
    for path in artifact_files(bench, "result.json"):
        path.unlink()
    ended = bench.call_with_store("report", "--json")
    assert ended.status == 0, ended.stderr
    assert len(ended.document["runs"]) == 12
    assert "table-1: of 3 runs that would be drawn, 3 can't be" in ended.stderr_line


def test_runs_of_different_data_sets_are_not_averaged(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    other = [each.model_copy(update={"dataset": "mnist-5k", "dataset_digest": "5" * 64,
                                     "trajectory": f"other {each.seed}"})
             for each in table_1()[::4]]  # fmt: skip
    import_runs(bench, [*table_1()[::4], *other])
    (row,) = bench.call_with_store("report", "--json").document["table_1"]
    assert row["n"] == 3
    assert "left out: 3 of another protocol" in row["reason"]


def test_rows_of_two_scenarios_are_separate(tmp_path: Path) -> None:
    """Both have the paper's protocol."""
    bench = Bench(tmp_path)
    own = [each.model_copy(update={"scenario": "mine", "trajectory": f"mine {each.seed}"})
            for each in table_1()[::4]]  # fmt: skip
    import_runs(bench, [*table_1()[::4], *own])
    ended = bench.call_with_store("report", "--json")
    assert ended.status == 0, ended.stderr
    rows = ended.document["table_1"]
    assert sorted((row["scenario"], row["n"]) for row in rows) == [("mine", 3), ("table-1", 3)]
    path = bench.folder / "reports" / "report.csv"
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert sorted((line["scenario"], line["threads"]) for line in lines) == [
        ("mine", "2"), ("table-1", "2"),
    ]  # fmt: skip


def test_output_folder_that_is_a_file(two_machines: Bench) -> None:
    (two_machines.folder / "taken").write_text("mine", encoding="utf-8")
    ended = two_machines.call_with_store("report", "--out", "taken/reports")
    assert ended.status == 1
    assert "can't write taken/reports" in ended.error_line
    assert (two_machines.folder / "taken").read_text(encoding="utf-8") == "mine"


# Comparisons


def test_compare_two_machines(two_machines: Bench) -> None:
    ended = two_machines.call_with_store("compare", "--by", "machine", "--json", "table-1")
    assert ended.status == 0, ended.stderr
    lines = ended.document["contrasts"]
    assert [line["other_steps"] for line in lines] == [1_000, 2_500, 5_000, 10_000]
    for line in lines:
        assert line["train_seconds"]["value"] == pytest.approx(2)
        assert line["train_seconds"]["is_within_noise"] is False
        assert line["final_test_accuracy"]["value"] == pytest.approx(0, abs=1e-9)


def test_compare_two_machines_by_name(two_machines: Bench) -> None:
    ended = two_machines.call_with_store("compare", "aaaa", "bbbb")
    assert ended.status == 0, ended.stderr
    assert "Base: aaaa" in ended.stdout
    assert "0.50" in ended.stdout


def test_compare_scenarios_of_several_machines(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for machine_id, seed, paces in (("a" * 32, 0, (0.02, 0.04)), ("b" * 32, 1, (0.01, 0.03))):
        runs = [
            run(1_000, seed=seed, scenario=scenario, machine_id=machine_id,
                trajectory=f"{scenario} {seed}",
                evaluations=evaluations(1_000, 0.985, final=0.98 + seed / 1_000, seconds=pace))
            for scenario, pace in zip(("table-1", "mine"), paces, strict=True)
        ]  # fmt: skip
        import_runs(bench, runs, f"{seed}.zip", cpu=f"CPU {seed}")
    other = run(1_000, seed=2, scenario="mine", machine_id="c" * 32, trajectory="c")
    import_runs(bench, [other], "c.zip", tensorflow="2.20.0")
    # The newest run of each task is b's, so that the version is its.
    ended = bench.call_with_store("compare", "table-1", "mine", "--json")
    assert ended.status == 0, ended.stderr
    (line,) = ended.document["contrasts"]
    assert (line["base_n"], line["other_n"], line["train_seconds"]) == (2, 2, None)
    assert [each["machine_id"][0] for each in line["machines"]] == ["a", "b"]
    ratios = [each["train_seconds"]["value"] for each in line["machines"]]
    assert ratios == pytest.approx([2, 3])
    assert ended.document["notes"] == [
        "mine: 1 run of other machines left out: not known to be of the same TensorFlow version"
    ]
    shown = bench.call_with_store("compare", "table-1", "mine").stdout
    rows = shown.partition("Each machine\n")[2].splitlines()
    assert " ".join(rows[1].split()) == "mine 1,000 aaaaaaaa 1 against 1 2 2.00 1.00"
    assert rows[3].startswith("aaaaaaaa: CPU 0, 2 cores")


def test_compare_two_bundles_without_importing_them(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    mine = bundle(bench.folder, "mine.zip", table_1("a" * 32))
    theirs = bundle(bench.folder, "theirs.zip", table_1("b" * 32, pace=0.01), cpu="Fast CPU")
    ended = bench.call_with_store("compare", mine, theirs, "--json")
    assert ended.status == 0, ended.stderr
    assert ended.document["base"] == "mine.zip"
    lines = ended.document["contrasts"]
    assert {line["other"] for line in lines} == {"theirs.zip"}
    assert [line["train_seconds"]["value"] for line in lines] == pytest.approx([0.5] * 4)
    by_machine = bench.call_with_store("compare", "--by", "machine", mine, theirs, "--json")
    assert "Fast CPU" in by_machine.document["contrasts"][0]["other"]
    assert not (bench.folder / "mlflow.db").exists()


def test_compare_two_versions(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    older = bundle(bench.folder, "older.zip", table_1("a" * 32), mnist_bench="0.1.0")
    newer = bundle(bench.folder, "newer.zip", table_1("a" * 32, pace=0.01), mnist_bench="0.2.0")
    ended = bench.call_with_store("compare", "--by", "mnist-bench", older, newer, "--json")
    assert ended.status == 0, ended.stderr
    assert ended.document["base"] == "mnist-bench 0.1.0"
    assert {line["other"] for line in ended.document["contrasts"]} == {"mnist-bench 0.2.0"}


def test_compare_a_bundle_with_recorded_runs(two_machines: Bench) -> None:
    theirs = bundle(two_machines.folder, "third.zip", table_1("c" * 32, pace=0.04))
    ended = two_machines.call_with_store("compare", "aaaa", theirs, "--json")
    values = [line["train_seconds"]["value"] for line in ended.document["contrasts"]]
    assert values == pytest.approx([2.0] * 4)


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (("none.zip", "table-1"), "can't read none.zip", 2),
        (("table-1",), "one name can't be compared", 2),
        (("table-1", "another"), "no run, scenario or machine is called another", 2),
        (("--by", "machine", "tabel-1"), "no run, scenario or machine is called tabel-1", 2),
        (("--by", "precision"), "there is only one to compare (float32)", 2),
        (("table-1", "smoke"), "no other side has finished runs of a step count of table-1", 1),
    ],
)
def test_nothing_to_compare(
    two_machines: Bench, arguments: tuple[str, ...], words: str, status: int
) -> None:
    ended = two_machines.call_with_store("compare", *arguments)
    assert ended.status == status
    assert words in ended.error_line
