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
from factories import bundle, machine, run, table_1
from program import Bench, taken_in

from mnist_bench.analysis import table1
from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.core.process_identity import current_process
from mnist_bench.reporting import build, sections
from mnist_bench.reporting.notes import without_study
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import RecordedRun, summarise_run
from mnist_bench.tracking import mlflow_reader
from mnist_bench.tracking.mlflow_store import MlflowStore, Started

if TYPE_CHECKING:
    from mlflow.entities import Run


@pytest.fixture(scope="module")
def two_machines(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A folder with Table I of two machines, the slower one's the newer, and a small scenario."""
    bench = Bench(tmp_path_factory.mktemp("user"))
    taken_in(bench, table_1("b" * 32, pace=0.01), "fast.zip", cpu="Fast CPU")
    small = [run(200, 0.91, s, scenario="smoke", machine_id="a" * 32, trajectory=f"small {s}")
             for s in (0, 1)]  # fmt: skip
    taken_in(bench, [*small, *table_1("a" * 32)], "slow.zip", cpu="Slow CPU")
    return bench


# Bundles


def test_a_bundle_is_taken_in_exactly_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    first = taken_in(bench, table_1())
    again = bench.inside("import", "theirs.zip")
    assert "12 runs are new, 0 were there already" in first.stdout
    assert "0 runs are new, 12 were there already" in again.stdout
    document = json.loads(bench.inside("report", "--json").stdout)
    assert len(document["runs"]) == 12


def backwards(training: RunResult) -> RunResult:
    """The same by a clock that was set back meanwhile."""
    first, second, *rest = training.evaluations
    late = first.model_copy(update={"train_seconds": second.train_seconds + 1})
    return training.model_copy(update={"evaluations": (late, second, *rest)})


def rewritten(bench: Bench, change: Callable[[RunResult], RunResult], steps: int) -> str:
    """Change the kept record of the first run of that many steps; its id."""
    for path in kept_files(bench, "result.json"):
        kept = RunResult.model_validate_json(path.read_bytes())
        if kept.steps == steps:
            path.write_text(change(kept).model_dump_json(), encoding="utf-8")
            return kept.run_id or ""
    raise ValueError(steps)


def test_a_run_that_makes_no_sense_is_left_out_of_an_export_and_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    taken_in(bench, table_1()[:3])
    odd = rewritten(bench, backwards, 1_000)
    ended = bench.inside("export", "mine.zip")
    assert ended.status == 0, ended.stderr
    assert "mine.zip (2 runs)" in ended.stdout
    assert f"run {odd} left out, `import` would refuse it: a run's figures make no" in ended.told
    (tmp_path / "other").mkdir()
    other = Bench(tmp_path / "other")
    assert "2 runs are new" in other.inside("import", str(bench.folder / "mine.zip")).stdout


def test_where_no_run_makes_sense_there_is_no_export(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    taken_in(bench, table_1()[:1])
    odd = rewritten(bench, backwards, 1_000)
    ended = bench.inside("export", "mine.zip")
    assert ended.status == 2
    assert f"would refuse them all: a run's figures make no sense (run {odd})" in ended.complaint
    assert "ask for a file" not in ended.complaint
    assert not (bench.folder / "mine.zip").exists()


def recorded_in(bench: Bench) -> dict[str, Run]:
    """All runs that MLflow has, by id."""
    store = MlflowStore(f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}", "mnist-bench")
    return {each.info.run_id: each for each in store.search("")}


def test_an_import_leaves_an_incomplete_run_of_the_users_own_alone(tmp_path: Path) -> None:
    """It is of the very training that the bundle holds, and its own process may go on with it."""
    bench = Bench(tmp_path)
    (theirs,) = table_1()[:1]
    begun = theirs.model_copy(update={"status": None, "run_id": None, "evaluations": ()})
    store = MlflowStore(f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}", "mnist-bench")
    own = store.start(begun, "Mine.", current_process("c" * 32), machine(), at_ms=5).run_id
    before = recorded_in(bench)[own].to_dictionary()
    first = taken_in(bench, [theirs])
    again = bench.inside("import", "theirs.zip")
    assert "1 runs are new, 0 were there already" in first.stdout
    assert "0 runs are new, 1 were there already" in again.stdout
    found = recorded_in(bench)
    assert found.pop(own).to_dictionary() == before
    (imported,) = found.values()
    assert imported.data.tags["bench.imported"] == "true"
    # Nor does what goes on with the own one take the imported for it.
    assert store.start(
        begun, "", current_process("c" * 32), machine(), at_ms=5, look_first=True
    ) == (Started(own))


def test_an_import_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    taken_in(bench, table_1()[:2])
    store = MlflowStore(f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}", "mnist-bench")
    torn, _ = recorded_in(bench)
    store.client.set_tag(torn, "bench.complete", "false")
    again = bench.inside("import", "theirs.zip")
    assert "1 runs are new, 1 were there already" in again.stdout
    found = recorded_in(bench)
    assert len(found) == 2
    assert found[torn].data.tags["bench.complete"] == "true"


def test_what_is_exported_comes_back_the_same(two_machines: Bench, tmp_path: Path) -> None:
    exported = two_machines.inside("export", "all.zip")
    assert exported.status == 0, exported.stderr
    assert "(26 runs)" in exported.stdout
    other = Bench(tmp_path)
    assert other.inside("import", str(two_machines.folder / "all.zip")).status == 0
    documents = [json.loads(b.inside("report", "--json").stdout) for b in (two_machines, other)]
    for document in documents:
        for each in document["runs"]:
            del each["run_id"]
        for row in document["table_1"]:
            del row["run_ids"]
    assert documents[0] == documents[1]


def test_a_file_that_is_no_bundle_leaves_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (bench.folder / "theirs.zip").write_bytes(b"PK")
    ended = bench.inside("import", "theirs.zip")
    assert ended.status == 2
    assert "theirs.zip is no bundle of mnist-bench" in ended.complaint
    assert not (bench.folder / "mlflow.db").exists()


def test_nothing_to_export(tmp_path: Path) -> None:
    ended = Bench(tmp_path).inside("export", "mine.zip")
    assert ended.status == 2
    assert "`mnist-bench run` makes some" in ended.complaint


# Reports


def test_it_is_about_the_machine_of_the_newest_run(two_machines: Bench) -> None:
    ended = two_machines.inside("report", "--json", "--out", "newest")
    assert ended.status == 0, ended.stderr
    document = ended.document
    assert document["machine"]["cpu"] == "Slow CPU"
    assert {each["machine_id"] for each in document["runs"]} == {"a" * 32}
    assert len(document["runs"]) == 14
    assert [row["verdict"] for row in document["table_1"]] == ["indistinguishable"] * 4
    assert [row["n"] for row in document["table_1"]] == [3] * 4
    assert [line["scenario"] for line in document["standings"]] == ["table-1"] * 4
    assert [(line["accuracy"], line["reached"]) for line in document["reaches"]] == [
        *((accuracy, 3) for accuracy in (0.984, 0.9888, 0.9918, 0.9928)),
        *((accuracy, 0) for accuracy in (0.984, 0.9888, 0.9918, 0.9928)),  # of smoke
    ]
    assert [line["relative"] for line in document["machines"]][:2] == [1.0, 0.5]
    assert "12 runs of other machines: in the table of machines alone" in ended.told


def test_the_files(two_machines: Bench) -> None:
    assert two_machines.inside("report", "--out", "files").status == 0
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


def test_the_scenario_that_answers_the_question_stands_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    newest = run(200, 0.91, scenario="smoke", machine_id="a" * 32, trajectory="small")
    taken_in(bench, [*table_1(), newest])
    ended = bench.inside("report", "--format", "md")
    text = (bench.folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert text.index("## Scenario table-1") < text.index("## Scenario smoke")
    assert re.search(
        r"table-1: Against .* [0-9.]+ times the reference machine's train time\.", text
    )
    assert "times the reference machine's train time" in ended.stdout


def test_another_machine_that_ran_nothing_that_this_one_did(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    taken_in(bench, table_1("b" * 32), "theirs.zip", cpu="Other CPU")
    taken_in(bench, [run(200, 0.91, scenario="smoke", machine_id="a" * 32, trajectory="small")])
    ended = bench.inside("report", "--machine", "aaaa", "--json")
    assert ended.document["machines"] == []
    assert "12 runs of other machines: left out, --machine names one" in ended.told


def test_what_this_machine_did_not_do_is_in_no_table_of_it() -> None:
    """Two other machines ran the same scenario in coarser arithmetic."""
    runs = [RecordedRun(summarise_run(run(1_000, machine_id=id_ * 32, precision=precision)), 0)
            for id_, precision in (("a", "float32"), ("b", "float32"), ("b", "bfloat16"),
                                   ("c", "bfloat16"))]  # fmt: skip
    lines = build._beside(runs, "a" * 32)
    assert {(line.machine_id, line.precision) for line in lines} == {
        ("a" * 32, "float32"), ("b" * 32, "float32"),
    }  # fmt: skip


def test_another_machine_by_its_id(two_machines: Bench) -> None:
    ended = two_machines.inside("report", "--json", "--machine", "bbbb", "--format", "csv")
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
def test_some_runs(two_machines: Bench, arguments: tuple[str, ...], runs: int) -> None:
    ended = two_machines.inside("report", "--json", "--machine", "a" * 32, "--format", "json",
                 *arguments)  # fmt: skip
    assert ended.status == 0, ended.stderr
    assert len(ended.document["runs"]) == runs


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--scenario", "none"), "no such run"),
        (("--since", "2040-01-01"), "no such run"),
        (("--since", "soon"), "soon"),
        (("--machine", "c"), "no machine of that id"),
        (("--machine", ""), "several machines of that id"),
        (("--format", "pdf"), "'pdf' is none of html, md, csv, json"),
        (("--runs", "what is this"), "MLflow does not understand the filter 'what is this'"),
        (("--image", "-1"), "-1 is not in the range x>=0"),
        (("--data", "nowhere"), "there is no folder"),
    ],
)
def test_wrong_requests(two_machines: Bench, arguments: tuple[str, ...], words: str) -> None:
    ended = two_machines.inside("report", *arguments)
    assert ended.status == 2
    assert words in ended.complaint


def test_no_runs_at_all(tmp_path: Path) -> None:
    ended = Bench(tmp_path).inside("report")
    assert ended.status == 2
    assert "`mnist-bench run` makes some" in ended.complaint


def wish(folder: Path, *formats: str, **changes: Any) -> build.ReportOptions:
    """All that is recorded in a folder's database."""
    values: dict[str, Any] = {
        "tracking_uri": f"sqlite:///{(folder / 'mlflow.db').as_posix()}",
        "experiment": "mnist-bench", "query": "", "scenarios": (), "machine": None,
        "since_ms": None, "until_ms": None, "formats": formats, "folder": folder / "out",
        "images": None, "image": None, "command": "mnist-bench report",
    }  # fmt: skip
    return build.ReportOptions(**(values | changes))


def test_the_reference_is_read_once(two_machines: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many scenarios there are."""
    read: list[bool] = []
    reference = table1.reference_document
    monkeypatch.setattr(table1, "reference_document", lambda: read.append(True) or reference())
    book, _ = build.write_report(wish(two_machines.folder, "json"))
    assert len(book.reports) == 2
    assert len(read) == 1


def test_of_very_many_scenarios_the_newest_are_shown_and_the_rest_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "MOST_SECTIONS", 3)
    monkeypatch.setattr(sections, "MOST_DRAWN", 1)
    bench = Bench(tmp_path)
    papers = run(1_000, 0.985, scenario="paper", trajectory="p")
    taken_in(bench, [papers, *(run(200, 0.91, scenario=f"mine-{place}", trajectory=f"t {place}")
                               for place in range(5))])  # fmt: skip
    _, paths = build.write_report(wish(bench.folder, "html", "md", "csv", "json"))
    page, text, rows, runs, document = (path.read_text(encoding="utf-8") for path in paths)
    assert re.findall(r"^## Scenario (.*)$", text, re.MULTILINE) == ["paper", "mine-4", "mine-3"]
    assert "1 of 6 scenarios, those that compare with Table I and then those with the " in text
    assert "3 of 6 scenarios have sections, those that compare with Table I and then " in text
    others = text.partition("## Other scenarios")[2]
    assert re.findall(r"^\| (mine-\d) \| 200 \| 1 \|", others, re.MULTILINE) == [
        *("mine-2", "mine-1", "mine-0"),
    ]
    assert page.count("<svg") == 4
    assert '<h2 id="others">Other scenarios</h2>' in page
    # Nothing is left out of the data.
    assert rows.count("\n") == runs.count("\n") == 7
    assert len(json.loads(document)["runs"]) == 6
    named, _ = build.write_report(wish(bench.folder, "html", scenarios=("mine-0", "mine-1")))
    assert [report.is_drawn for report in named.reports] == [True, True]
    assert (named.others, [note for note in named.notes if "scenarios" in note]) == ((), [])
    # What is no more than can be shown is drawn wholly.
    monkeypatch.setattr(sections, "MOST_SECTIONS", 6)
    whole, _ = build.write_report(wish(bench.folder, "html"))
    assert [report.is_drawn for report in whole.reports] == [True] * 6


def test_runs_of_several_versions_are_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    elder, newer = table_1()[:4], table_1()[4:]
    taken_in(bench, elder, "elder.zip", tensorflow="2.20.0")
    taken_in(bench, newer, "newer.zip", tensorflow="2.21.0")
    ended = bench.inside("report", "--format", "json")
    assert (
        "Runs of several versions share rows: 4 runs of TensorFlow 2.20.0 and mnist-bench 0.1.0, "
        "8 runs of TensorFlow 2.21.0 and mnist-bench 0.1.0;"
    ) in ended.stdout


def test_trials_without_their_study_are_told() -> None:
    trial = RecordedRun(summarise_run(run()), 0, study="mine")
    (told,) = without_study([trial, trial], [])
    assert told.startswith("2 trials of the study mine left out: it has not come to its end, or ")


def test_a_database_that_disappears_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables are dropped between two pages of runs."""
    bench = Bench(tmp_path)
    taken_in(bench, table_1())
    database = bench.folder / "mlflow.db"
    pages = mlflow_reader.MlflowReader._pages

    def gone_after_the_first(self: mlflow_reader.MlflowReader, question: str) -> Iterator[Run]:
        for place, each in enumerate(pages(self, question)):
            if place == 2:
                with closing(sqlite3.connect(database)) as other:
                    other.execute("DROP TABLE tags")
            yield each

    monkeypatch.setattr(mlflow_reader, "_RUNS_A_PAGE", 3)
    monkeypatch.setattr(mlflow_reader.MlflowReader, "_pages", gone_after_the_first)
    with pytest.raises(BenchError, match="failed while looking for runs: no such table") as failed:
        build.write_report(wish(bench.folder, "md"))
    assert failed.value.exit_status == EXIT_BROKE
    assert not (bench.folder / "out").exists()


def test_failed_and_invalid_runs_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    failed = run(1_000, status="failed", failure="gone", trajectory="f", machine_id="a" * 32)
    invalid = [each.model_copy(update={"verdict": "invalid", "reasons": ("asleep",)})
               for each in table_1()[:1]]  # fmt: skip
    taken_in(bench, [failed, *invalid])
    ended = bench.inside("report", "--json")
    assert ended.status == 0, ended.stderr
    (row,) = ended.document["table_1"]
    assert (row["n"], row["invalid"], row["train_seconds_mean"]) == (1, 1, None)
    text = (bench.folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert "not clean, asleep" in text
    assert "Not finished, so in no row above" in text


def test_only_a_failed_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    taken_in(bench, [run(1_000, status="failed", failure="gone", trajectory="f")])
    ended = bench.inside("report", "--json")
    assert ended.status == 0, ended.stderr
    (row,) = ended.document["table_1"]
    assert (row["n"], row["verdict"]) == (0, "not comparable")
    page = (bench.folder / "reports" / "report.html").read_text(encoding="utf-8")
    assert "no finished run" in page


def test_runs_of_another_schema_are_counted_and_left_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    taken_in(bench, table_1()[:2])
    store = MlflowStore(f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}", "mnist-bench")
    first = store.search("")[0].info.run_id
    store.client.set_tag(first, "bench.schema", "99")
    ended = bench.inside("report", "--json")
    assert len(ended.document["runs"]) == 1
    assert "1 run left out: of schema 99, and this version knows 1" in ended.told


def kept_files(bench: Bench, name: str) -> list[Path]:
    """Files of that name that MLflow keeps with runs."""
    found = list((bench.folder / "mlruns").rglob(name))
    assert found
    return found


def test_a_machine_whose_records_are_out_of_reach_is_not_taken_for_this_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    taken_in(bench, table_1("b" * 32))
    for path in kept_files(bench, "machine.json"):
        path.unlink()
    ended = bench.inside("report")
    assert ended.status == 1
    assert "what is known of the machine bbbbbbbb can't be read" in ended.complaint
    assert not (bench.folder / "reports").exists()


def test_runs_whose_records_are_out_of_reach_are_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    taken_in(bench, table_1())
    for path in kept_files(bench, "result.json"):
        path.unlink()
    ended = bench.inside("report", "--json")
    assert ended.status == 0, ended.stderr
    assert len(ended.document["runs"]) == 12
    assert "table-1: of 3 runs that would be drawn, 3 can't be" in ended.told


def test_one_image_set_and_another_are_not_averaged(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    other = [each.model_copy(update={"dataset": "mnist-5k", "dataset_digest": "5" * 64,
                                     "trajectory": f"other {each.seed}"})
             for each in table_1()[::4]]  # fmt: skip
    taken_in(bench, [*table_1()[::4], *other])
    (row,) = bench.inside("report", "--json").document["table_1"]
    assert row["n"] == 3
    assert "left out: 3 of another protocol" in row["reason"]


def test_rows_of_two_scenarios_stay_apart(tmp_path: Path) -> None:
    """Both are of the paper's protocol; one is slower, and its accuracies are higher."""
    bench = Bench(tmp_path)
    mine = [each.model_copy(update={"scenario": "mine", "trajectory": f"mine {each.seed}"})
            for each in table_1()[::4]]  # fmt: skip
    taken_in(bench, [*table_1()[::4], *mine])
    ended = bench.inside("report", "--json")
    assert ended.status == 0, ended.stderr
    rows = ended.document["table_1"]
    assert sorted((row["scenario"], row["n"]) for row in rows) == [("mine", 3), ("table-1", 3)]
    path = bench.folder / "reports" / "report.csv"
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert sorted((line["scenario"], line["threads"]) for line in lines) == [
        ("mine", "2"), ("table-1", "2"),
    ]  # fmt: skip


def test_an_output_folder_that_is_none(two_machines: Bench) -> None:
    (two_machines.folder / "taken").write_text("mine", encoding="utf-8")
    ended = two_machines.inside("report", "--out", "taken/reports")
    assert ended.status == 1
    assert "can't write taken/reports" in ended.complaint
    assert (two_machines.folder / "taken").read_text(encoding="utf-8") == "mine"


# Comparisons


def test_two_machines_against_one_another(two_machines: Bench) -> None:
    ended = two_machines.inside("compare", "--by", "machine", "--json", "table-1")
    assert ended.status == 0, ended.stderr
    lines = ended.document["contrasts"]
    assert [line["other_steps"] for line in lines] == [1_000, 2_500, 5_000, 10_000]
    for line in lines:
        assert line["train_seconds"]["value"] == pytest.approx(2)
        assert line["train_seconds"]["is_within_noise"] is False
        assert line["final_test_accuracy"]["value"] == pytest.approx(0, abs=1e-9)


def test_two_machines_by_name(two_machines: Bench) -> None:
    ended = two_machines.inside("compare", "aaaa", "bbbb")
    assert ended.status == 0, ended.stderr
    assert "Base: aaaa" in ended.stdout
    assert "0.50" in ended.stdout


def test_two_bundles_that_nobody_imported(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    mine = bundle(bench.folder, "mine.zip", table_1("a" * 32))
    theirs = bundle(bench.folder, "theirs.zip", table_1("b" * 32, pace=0.01), cpu="Fast CPU")
    ended = bench.inside("compare", mine, theirs, "--json")
    assert ended.status == 0, ended.stderr
    assert ended.document["base"] == "mine.zip"
    lines = ended.document["contrasts"]
    assert {line["other"] for line in lines} == {"theirs.zip"}
    assert [line["train_seconds"]["value"] for line in lines] == pytest.approx([0.5] * 4)
    by_machine = bench.inside("compare", "--by", "machine", mine, theirs, "--json")
    assert "Fast CPU" in by_machine.document["contrasts"][0]["other"]
    assert not (bench.folder / "mlflow.db").exists()


def test_two_versions_of_the_suite(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    elder = bundle(bench.folder, "elder.zip", table_1("a" * 32), mnist_bench="0.1.0")
    newer = bundle(bench.folder, "newer.zip", table_1("a" * 32, pace=0.01), mnist_bench="0.2.0")
    ended = bench.inside("compare", "--by", "mnist-bench", elder, newer, "--json")
    assert ended.status == 0, ended.stderr
    assert ended.document["base"] == "mnist-bench 0.1.0"
    assert {line["other"] for line in ended.document["contrasts"]} == {"mnist-bench 0.2.0"}


def test_a_bundle_against_what_is_recorded(two_machines: Bench) -> None:
    theirs = bundle(two_machines.folder, "third.zip", table_1("c" * 32, pace=0.04))
    ended = two_machines.inside("compare", "aaaa", theirs, "--json")
    values = [line["train_seconds"]["value"] for line in ended.document["contrasts"]]
    assert values == pytest.approx([2.0] * 4)


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (("none.zip", "table-1"), "can't read none.zip", 2),
        (("table-1",), "one name is nothing to compare", 2),
        (("table-1", "another"), "no run, scenario or machine is called another", 2),
        (("--by", "machine", "tabel-1"), "no run, scenario or machine is called tabel-1", 2),
        (("--by", "precision"), "there is nothing to compare (float32)", 2),
        (("table-1", "smoke"), "no step count that table-1 finished", 1),
    ],
)
def test_nothing_to_compare(
    two_machines: Bench, arguments: tuple[str, ...], words: str, status: int
) -> None:
    ended = two_machines.inside("compare", *arguments)
    assert ended.status == status
    assert words in ended.complaint
