"""`mnist-bench records check` on files as `export` writes them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from factories import machine, run
from program import Bench

from mnist_bench.analysis.board import FIRST_FRESH_SEED
from mnist_bench.reporting.csv import runs_csv
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import summarise
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.tracking import bundle
from mnist_bench.tracking.bundle import Bundle, BundledRun


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def runs_of(scenario: str = "accurate") -> list[RunResult]:
    """Ten runs of a record, then three of Table I."""
    shape = {
        "scenario": scenario,
        "hyperparameters": PaperCnnHyperparameters(batch_size=100),
        "verdict": "clean",
    }
    own = [run(500, 0.996 + n % 3 * 1e-4, FIRST_FRESH_SEED + n, **shape) for n in range(10)]
    return [*own, *(run(10_000, 0.9928, n, verdict="clean") for n in range(3))]


def write(path: Path, runs: list[RunResult]) -> Path:
    """A bundle of runs; the first began last, as if they were trained by turns."""
    described = machine(machine_id=runs[0].machine_id)
    bundled = tuple(
        BundledRun(result=each.model_copy(update={"run_id": None}), machine=0, begun_at_ms=at)
        for at, each in zip([9 * 10**8, *range(10**8, 10**9, 10**6)], runs, strict=False)
    )
    content = Bundle(mnist_bench="0.1.0", machines=(described,), runs=bundled)
    path.write_bytes(bundle.to_bytes(content, runs_csv(summarise(r.result for r in bundled))))
    return path


def test_a_file_that_meets_the_rules(bench: Bench) -> None:
    path = write(bench.folder / "mine.zip", runs_of())
    ended = bench.call("records", "check", str(path))
    title, line, outcome = ended.stdout.splitlines()
    assert (ended.status, outcome) == (0, "It meets the rules.")
    assert title.startswith("accurate: Best mean final test accuracy within the train seconds")
    assert line.startswith("| 1970-01-11 | 0.0500 | 10.0 s | 0.99509 (")
    assert line.endswith(
        " | 10 | Imaginary CPU, 2 cores, 16.0 GiB, Linux 6.1 x86_64 | accurate | 10 clean |"
    )


def test_a_file_that_does_not(bench: Bench) -> None:
    path = write(bench.folder / "mine.zip", runs_of()[1:])
    ended = bench.call("records", "check", str(path))
    assert (ended.status, ended.stdout.splitlines()[2:]) == (
        1, ["- it has 9 runs, fewer than 10", "No record."],
    )  # fmt: skip


def test_a_figure_that_was_edited_by_hand(bench: Bench) -> None:
    path = write(bench.folder / "mine.zip", runs_of())
    with zipfile.ZipFile(path) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    texts["bundle.json"] = texts["bundle.json"].replace(
        '"test_accuracy": 0.995', '"test_accuracy": 0.998'
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    path.write_bytes(stream.getvalue())
    ended = bench.call("records", "check", str(path))
    assert ended.status == 1
    assert (
        "- its figures in runs.csv and bundle.json differ: one of them was edited" in ended.stdout
    )


def test_a_csv_that_is_none_or_damaged_is_an_edited_one(bench: Bench) -> None:
    path = write(bench.folder / "mine.zip", runs_of())
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        texts = {name: archive.read(name) for name in archive.namelist()}
    texts["runs.csv"] = texts["runs.csv"].replace(b",10000000,", b",abc,", 1)
    with zipfile.ZipFile(path, "w") as archive:
        for name, each in texts.items():
            archive.writestr(name, each)
    ended = bench.call("records", "check", str(path))
    assert "- its figures in runs.csv and bundle.json differ" in ended.stdout
    place = content.index(b"runs.csv") + len(b"runs.csv") + 20
    path.write_bytes(content[:place] + b"\xff\xff" + content[place + 2 :])
    ended = bench.call("records", "check", str(path))
    assert (ended.status, ended.stderr) == (1, "")


@pytest.mark.parametrize(
    ("scenario", "arguments", "words"),
    [
        ("mine", [], "does not tell its board; give --board one of sprint, accurate, accurate-bf"),
        ("mine", ["--board", "marathon"], "there is no board 'marathon'; give --board one of "),
        ("table-1", ["--board", "sprint"], "fewer than two finished runs beside those of Table I"),
    ],
)
def test_files_that_cannot_be_judged(
    bench: Bench, scenario: str, arguments: list[str], words: str
) -> None:
    runs = runs_of(scenario)[10 if scenario == "table-1" else 0 :]
    ended = bench.call("records", "check", str(write(bench.folder / "x.zip", runs)), *arguments)
    assert (ended.status, ended.stdout) == (2, "")
    assert words in ended.stderr_line


def test_no_bundle(bench: Bench) -> None:
    ended = bench.call("records", "check", "none.zip")
    assert (ended.status, ended.stderr_line) == (
        2, "mnist-bench: can't read none.zip: No such file or directory",
    )  # fmt: skip
