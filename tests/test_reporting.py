"""Reports, comparisons and bundles of recorded runs, in real MLflow databases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bundles import bundle, table_1
from program import Bench, Ended
from records import run

from mnist_bench.result import RunResult


def call(bench: Bench, *arguments: str) -> Ended:
    uri = f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}"
    return bench.call(*arguments, MLFLOW_TRACKING_URI=uri)


def taken_in(bench: Bench, runs: list[RunResult], name: str = "theirs.zip", **of: Any) -> Ended:
    ended = call(bench, "import", bundle(bench.folder, name, runs, **of))
    assert ended.status == 0, ended.stderr
    return ended


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
    again = call(bench, "import", "theirs.zip")
    assert "12 runs are new, 0 were there already" in first.stdout
    assert "0 runs are new, 12 were there already" in again.stdout
    document = json.loads(call(bench, "report", "--json").stdout)
    assert len(document["runs"]) == 12


def test_what_is_exported_comes_back_the_same(two_machines: Bench, tmp_path: Path) -> None:
    exported = call(two_machines, "export", "all.zip")
    assert exported.status == 0, exported.stderr
    assert "(26 runs)" in exported.stdout
    other = Bench(tmp_path)
    assert call(other, "import", str(two_machines.folder / "all.zip")).status == 0
    documents = [json.loads(call(b, "report", "--json").stdout) for b in (two_machines, other)]
    for document in documents:
        for each in document["runs"]:
            del each["run_id"]
        for row in document["table_1"]:
            del row["run_ids"]
    assert documents[0] == documents[1]


def test_a_file_that_is_no_bundle_leaves_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (bench.folder / "theirs.zip").write_bytes(b"PK")
    ended = call(bench, "import", "theirs.zip")
    assert ended.status == 2
    assert "theirs.zip is no bundle of mnist-bench" in ended.complaint
    assert not (bench.folder / "mlflow.db").exists()


def test_nothing_to_export(tmp_path: Path) -> None:
    ended = call(Bench(tmp_path), "export", "mine.zip")
    assert ended.status == 2
    assert "`mnist-bench run` makes some" in ended.complaint


# Reports


def test_it_is_about_the_machine_of_the_newest_run(two_machines: Bench) -> None:
    ended = call(two_machines, "report", "--json", "--out", "newest")
    assert ended.status == 0, ended.stderr
    document = ended.document
    assert document["machine"]["cpu"] == "Slow CPU"
    assert {each["machine_id"] for each in document["runs"]} == {"a" * 32}
    assert len(document["runs"]) == 14
    assert [row["verdict"] for row in document["table_1"]] == ["indistinguishable"] * 4
    assert [row["n"] for row in document["table_1"]] == [3] * 4
    assert "12 runs of other machines: in the table of machines alone" in ended.told


def test_the_files(two_machines: Bench) -> None:
    assert call(two_machines, "report", "--out", "files").status == 0
    folder = two_machines.folder / "files"
    names = {path.name for path in folder.iterdir()}
    assert names == {f"report.{s}" for s in ("html", "md", "csv", "runs.csv", "json")}
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert text.count("### Table I beside this machine") == 2
    assert "## Machines beside one another" in text
    fast = text.index("Fast CPU")
    assert fast < text.index("Slow CPU", fast)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == page.count("</svg>") > 4
    assert "<script" not in page
    assert "src=" not in page


def test_another_machine_by_its_id(two_machines: Bench) -> None:
    ended = call(two_machines, "report", "--json", "--machine", "bbbb", "--format", "csv")
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
    ended = call(two_machines, "report", "--json", "--machine", "a" * 32, "--format", "json",
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
        (("--runs", "what is this"), "failed while looking for runs"),
    ],
)
def test_wrong_requests(two_machines: Bench, arguments: tuple[str, ...], words: str) -> None:
    ended = call(two_machines, "report", *arguments)
    assert ended.status != 0
    assert words in ended.complaint


def test_no_runs_at_all(tmp_path: Path) -> None:
    ended = call(Bench(tmp_path), "report")
    assert ended.status == 2
    assert "`mnist-bench run` makes some" in ended.complaint


# Comparisons


def test_two_machines_against_one_another(two_machines: Bench) -> None:
    ended = call(two_machines, "compare", "--by", "machine", "--json", "table-1")
    assert ended.status == 0, ended.stderr
    lines = ended.document["contrasts"]
    assert [line["other_steps"] for line in lines] == [1_000, 2_500, 5_000, 10_000]
    for line in lines:
        assert line["train_seconds"]["value"] == pytest.approx(2)
        assert line["train_seconds"]["is_within_noise"] is False
        assert line["final_test_accuracy"]["value"] == pytest.approx(0, abs=1e-9)


def test_two_machines_by_name(two_machines: Bench) -> None:
    ended = call(two_machines, "compare", "aaaa", "bbbb")
    assert ended.status == 0, ended.stderr
    assert "Base: aaaa" in ended.stdout
    assert "0.50" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("table-1",), "one name is nothing to compare"),
        (("table-1", "another"), "no run, scenario or machine is called another"),
        (("--by", "precision"), "there is nothing to compare (float32)"),
        (("table-1", "smoke"), "no step count that table-1 finished"),
    ],
)
def test_nothing_to_compare(two_machines: Bench, arguments: tuple[str, ...], words: str) -> None:
    ended = call(two_machines, "compare", *arguments)
    assert ended.status in (1, 2)
    assert words in ended.complaint
