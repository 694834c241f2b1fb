"""Comparisons of recorded runs and bundles, in real MLflow databases."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories import bundle, evaluations, run, table_1
from program import Bench, import_runs


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
