"""`mnist-bench runs`: what is recorded, a line a run, and its deletion."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from factories import run
from program import Bench, Ended, RecordedRuns, import_runs

from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters

FASTER = PaperCnnHyperparameters(learning_rate=0.003)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Three configurations of Table I, one of them tagged, and 200 steps of a user's own file."""
    bench = Bench(tmp_path_factory.mktemp("user"))
    runs = [
        run(1_000, 0.985, 0, trajectory="a", verdict="clean"),
        run(1_000, 0.986, 1, trajectory="b", verdict="suspect", hyperparameters=FASTER),
        run(1_000, 0.987, 2, trajectory="c", verdict="clean", precision="bfloat16", threads=1),
        run(200, 0.91, 3, trajectory="d", scenario="mine", hyperparameters=FASTER),
    ]
    import_runs(bench, runs)
    recorded = RecordedRuns(bench.folder)
    (tagged,) = [each for each in recorded.runs() if each.data.params["seed"] == "1"]
    recorded.set_tag(tagged.info.run_id, "name", "faster")
    return bench


def listed(bench: Bench, *arguments: str) -> list[dict[str, Any]]:
    ended = bench.call_with_store("runs", "--json", *arguments)
    assert ended.status == 0, ended.stderr
    runs: list[dict[str, Any]] = ended.document["runs"]
    return sorted(runs, key=lambda each: each["seed"])


def test_runs_have_what_differs_from_their_scenario(bench: Bench) -> None:
    found = listed(bench)
    assert [(each["scenario"], each["changes"], each["tags"]) for each in found] == [
        ("table-1", {}, {}),
        ("table-1", {"learning_rate": "0.003"}, {"name": "faster"}),
        ("table-1", {"precision": "bfloat16", "threads": "1"}, {}),
        ("mine", {}, {}),
    ]
    assert [each["verdict"] for each in found] == ["clean", "suspect", "clean", None]
    assert [each["seed"] for each in listed(bench, "--scenario", "mine")] == [3]
    assert [each["seed"] for each in listed(bench, "--tag", "name=faster")] == [1]


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_lines_fit(bench: Bench, columns: int) -> None:
    uri = f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}"
    arguments = ("runs", "--scenario", "table-1")
    ended = bench.call(*arguments, MLFLOW_TRACKING_URI=uri, COLUMNS=str(columns))
    assert ended.status == 0, ended.stderr
    head, *lines = ended.stdout.splitlines()
    lines, notes = lines[:3], lines[3:]
    assert max(len(line.rstrip()) for line in (head, *lines)) <= columns
    assert {line.split()[0] for line in lines} == {
        each["run_id"][:8] for each in listed(bench, "--scenario", "table-1")
    }
    for words in ("learning_rate 0.003", "bfloat16, threads 1"):
        assert [line for line in lines if words in line]
    assert [note.partition(":")[0] for note in notes] == (
        ["Left out for lack of width"] if columns < 160 else []
    )
    assert ("Max" in head) == (columns == 160)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_deletion_asks_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    import_runs(bench, [run(200, 0.91, seed, trajectory=f"t{seed}") for seed in (0, 1)])
    run_id = listed(bench)[0]["run_id"]

    def delete(answer: str | None, *arguments: str) -> Ended:
        monkeypatch.setattr(sys, "stdin", Terminal(answer) if answer else io.StringIO())
        return bench.call_with_store("runs", "delete", run_id[:8], *arguments)

    ended = delete(None)
    assert (ended.status, "add --yes" in ended.error_line) == (2, True)
    assert delete("n\n").status == 0
    assert len(listed(bench)) == 2
    ended = delete("y\n")
    assert (ended.status, ended.stdout.endswith("Deleted 1 run.\n")) == (0, True)
    assert run_id not in {each["run_id"] for each in listed(bench)}
    ended = delete(None, "--yes")
    assert (ended.status, "no id of a run begins with" in ended.error_line) == (2, True)
    info = RecordedRuns(bench.folder).run(run_id).info
    assert info.lifecycle_stage == "deleted"


def test_ids_by_prefix_and_comparison_by_anything(bench: Bench) -> None:
    first, second = (each["run_id"] for each in listed(bench)[:2])
    ended = bench.call_with_store("compare", first[:8], second[:8], "--json")
    assert ended.status == 0, ended.stderr
    assert (
        "hyperparameters differ: learning_rate 0.003 against 0.001"
        in (ended.document["contrasts"][0]["notes"])
    )
    labels = {
        "learning_rate": ("learning_rate 0.001", {"learning_rate 0.003"}),
        "threads": ("2 threads", {"1 thread"}),
    }
    for name, expected in labels.items():
        ended = bench.call_with_store("compare", "--by", name, "table-1", "--json")
        assert ended.status == 0, ended.stderr
        others = {line["other"] for line in ended.document["contrasts"]}
        assert (ended.document["base"], others) == expected
    ended = bench.call_with_store("compare", "--by", "name", "table-1")
    assert "there is only one to compare (name faster)" in ended.error_line
    ended = bench.call_with_store("compare", "--by", "learningrate")
    assert (ended.status, "did you mean learning_rate?" in ended.error_line) == (2, True)


def test_report_has_a_section_for_each_configuration(bench: Bench) -> None:
    ended = bench.call_with_store("report", "--format", "md,json", "--json")
    assert ended.status == 0, ended.stderr
    text = (bench.folder / "reports" / "report.md").read_text(encoding="utf-8")
    titles = {line.removeprefix("## ") for line in text.splitlines() if line.startswith("## Sc")}
    assert titles == {
        "Scenario mine",
        "Scenario table-1",
        r"Scenario table-1 with learning\_rate 0.003",
        "Scenario table-1 with bfloat16",
    }
    assert "of another protocol" not in text
    rows = [row["changes"] for row in ended.document["table_1"]]
    assert sorted(rows, key=str) == [None, "bfloat16", "learning_rate 0.003"]
    only = bench.call_with_store("report", "--tag", "name=faster", "--format", "json", "--json")
    assert [each["seed"] for each in only.document["runs"]] == [1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--tag host", "'host' is not of the form KEY=VALUE"),
        ("--tag bench.schema=2", "'bench.schema' is reserved"),
        ("--tag a=1 --tag a=2", "the tag a is given twice"),
        ("--name x --tag name=y", "the tag name is given twice"),
        ("--tag a,b=1", "'a,b' can't be a key"),
    ],
)
def test_tags_that_are_refused(tmp_path: Path, line: str, words: str) -> None:
    ended = Bench(tmp_path).call("run", "smoke", "--dry-run", *line.split())
    assert (ended.status, ended.stdout) == (2, "")
    assert words in ended.error_line
