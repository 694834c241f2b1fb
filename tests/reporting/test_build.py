"""Reports of recorded runs, in real MLflow databases."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from factories import evaluations, machine_line, run, sqlite_url, table_1
from program import Bench, import_runs

from mnist_bench.analysis import table1
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.reporting import build, sections
from mnist_bench.results.run_summary import RecordedRun, summarise, summarise_run
from mnist_bench.tracking import mlflow_store
from mnist_bench.tracking.mlflow_store import MlflowStore

if TYPE_CHECKING:
    from mlflow.entities import Run


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
    assert "Table I reproduced on Slow CPU, 2 cores, 16 GiB" in ended.stderr_line
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
    assert ended.stderr_line.startswith("Table I reproduced on Slow CPU, 2 cores, 16 GiB ")


def test_report_files_have_each_machine(pooled: Bench) -> None:
    assert pooled.call_with_store("report", "--out", "each").status == 0
    text = (pooled.folder / "each" / "report.md").read_text(encoding="utf-8")
    assert "- Accuracies pooled over 2 machines.\n" in text
    table = text.partition("### Each machine\n\n")[2].partition("\n\n")[0]
    hardware = "2 cores, 16.0 GiB, Linux 6.1 x86\\_64"
    own = "2 | 2 | 2 of 2 | 20.0 s ± 0.0% | 2,500 | 500 MiB"
    other = "8 | 2 | 2 of 2 | 10.0 s ± 0.0% | 5,000 | 700 MiB"
    assert table.splitlines()[2:] == [
        f"| 1,000 | aaaaaaaa | Slow CPU, {hardware} (imported) | {own} |",
        f"| 1,000 | bbbbbbbb | Fast CPU, {hardware} (imported) | {other} |",
    ]
    assert "| 1,000 | 3 | 0.9840 | 0.9850 ± 0.00100 | reproduced |" in text  # of all machines
    assert "| 1,000 | 2 of 2 | 20.0 s ± 0.0% |" in text  # of this machine
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
    assert "## Comparison of machines" in text
    fast = text.index("Fast CPU")
    assert fast < text.index("Slow CPU", fast)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == page.count("</svg>") > 4
    assert page.count("<script") == 1
    assert "src=" not in page


def test_card_is_written_beside_the_report(two_machines: Bench) -> None:
    ended = two_machines.call_with_store("report", "--card", "--format", "md", "--out", "card")
    assert ended.status == 0, ended.stderr
    names = ["report.md", "card.svg", "card.png"]
    assert ended.stdout.rstrip().endswith(", ".join(f"card/{name}" for name in names))
    assert {path.name for path in (two_machines.folder / "card").iterdir()} == set(names)


def test_tasks_that_this_machine_did_not_run_are_not_ranked() -> None:
    """Two other machines ran the same scenario in lower precision."""
    runs = [RecordedRun(summarise_run(run(1_000, machine_id=id_ * 32, precision=precision)), 0)
            for id_, precision in (("a", "float32"), ("b", "float32"), ("b", "bfloat16"),
                                   ("c", "bfloat16"))]  # fmt: skip
    lines = build._ranked_machines(runs, "a" * 32)
    assert {(line.machine_id, line.precision) for line in lines} == {
        ("a" * 32, "float32"), ("b" * 32, "float32"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (("--scenario", "smoke"), 2),
        (("--machine", "bbbb"), 12),
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
        (("--scenario", "none"), "no run of a scenario none is recorded"),
        (("--since", "2040-01-01"), "matches; relax the filter"),
        (("--since", "soon"), "soon"),
        (("--machine", "c"), "no machine ids begin with it"),
        (("--machine", ""), "several machine ids begin with it"),
        (("--format", "pdf"), "'pdf' is not one of html, md, csv, json"),
        (("--runs", "what is this"), "MLflow does not understand the filter 'what is this'"),
        (("--image", "-1"), "'-1' is not a whole number from 0"),
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
        "tracking_uri": sqlite_url(folder / "mlflow.db"),
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


def test_database_fails_between_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tables are dropped between two pages of runs."""
    bench = Bench(tmp_path)
    import_runs(bench, table_1())
    database = bench.folder / "mlflow.db"
    pages = mlflow_store.MlflowStore._pages

    def drop_table_after_first_page(
        self: mlflow_store.MlflowStore, *asked: object, **more: object
    ) -> Iterator[Run]:
        for place, each in enumerate(pages(self, *asked, **more)):
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
    ended = bench.call_with_store("report", "--json", "--format", "md")
    assert ended.status == 0, ended.stderr
    (row,) = ended.document["table_1"]
    assert (row["n"], row["invalid"], row["train_seconds_mean"]) == (1, 1, None)
    text = (bench.folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert "not clean, asleep" in text
    assert "Not finished, so in no row above" in text


def test_runs_of_another_schema_are_left_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    import_runs(bench, table_1()[:2])
    store = MlflowStore(sqlite_url(bench.folder / "mlflow.db"), "mnist-bench")
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
    assert ended.status == 2
    assert "can't write to taken/reports" in ended.error_line
    assert (two_machines.folder / "taken").read_text(encoding="utf-8") == "mine"


# Without a database


def recorded(version: str = "2.21.0", **changes: Any) -> RecordedRun:
    return RecordedRun(summarise_run(run(**changes)), 0, tensorflow=version, mnist_bench="0.1.0")


def test_scenarios_comparable_with_table_1_are_first() -> None:
    newest = run(200, 0.91, scenario="smoke", trajectory="small")
    runs = summarise([run(100, scenario="older", trajectory="o"), *table_1(), newest])
    names = [each.scenario for each in sections.comparable_first(runs)]
    assert names == ["table-1", "smoke", "older"]


@pytest.mark.parametrize(
    ("found", "others", "machines", "notes"),
    [
        (build.FoundRuns(running=2), 0, (), ["2 runs left out: still running"]),
        (build.FoundRuns(unreadable=Counter({"of schema 99": 1})), 0, (),
         ["1 run left out: of schema 99"]),
        (build.FoundRuns(), 1, (), ["1 run of other machines: left out, --machine names one"]),
        (build.FoundRuns(), 1, (machine_line("Fast", 1.0),),
         ["1 run of other machines: in the table of machines alone"]),
    ],
)  # fmt: skip
def test_runs_that_are_left_out_are_noted(
    found: build.FoundRuns, others: int, machines: tuple[Any, ...], notes: list[str]
) -> None:
    own = (recorded(),)
    runs = (*own, *(recorded(machine_id="b" * 32) for _ in range(others)))
    found = dataclasses.replace(found, runs=runs)
    assert list(build._left_out(found, build.select(runs, runs[0].run.machine_id), machines)) == (
        notes
    )


def test_runs_of_several_versions_and_trials_without_their_study_are_noted() -> None:
    runs = (recorded("2.20.0"), *(recorded(seed=seed) for seed in (1, 2)))
    (note,) = build._left_out(build.FoundRuns(runs), build.select(runs, None), ())
    assert note.startswith(
        "Runs of several versions share rows: 1 run of TensorFlow 2.20.0 and mnist-bench 0.1.0, "
        "2 runs of TensorFlow 2.21.0 and mnist-bench 0.1.0; "
    )
    trial = RecordedRun(summarise_run(run()), 0, study="mine")
    (note,) = build.without_study([trial, trial], [])
    assert note.startswith("2 trials of the study mine left out: it has not come to its end, or ")


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
    assert "1 of 6 scenarios and their configurations, those that compare with Table I and " in text
    assert "3 of 6 scenarios and their configurations have sections, those that compare " in text
    results = text.partition("## Results")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (\S+) \| 1?,?[02]00 \| 1 \|", results, re.MULTILINE) == [
        *("paper", "mine-4", "mine-3", "mine-2", "mine-1", "mine-0"),
    ]
    assert page.count("<svg") == 4
    # CSV and JSON contain everything.
    assert table.count("\n") == runs.count("\n") == 7
    assert len(json.loads(document)["runs"]) == 6

    def report_of(*scenarios: str) -> build.Report:
        """Whether a section has charts does not depend on the format."""
        wanted = options(bench.folder, "json", scenarios=scenarios)
        return build.write_report(wanted, pytest.fail)[0]

    selected = report_of("mine-0", "mine-1")
    assert [section.has_charts for section in selected.sections] == [True, True]
    assert (selected.others, [note for note in selected.notes if "scenarios" in note]) == ((), [])
    # Up to the limit of sections every scenario has charts.
    monkeypatch.setattr(sections, "MOST_SECTIONS", 6)
    assert [section.has_charts for section in report_of().sections] == [True] * 6
