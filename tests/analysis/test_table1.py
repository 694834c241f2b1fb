"""Rows of Table I and their verdicts, on hand-made results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from factories import REFERENCE, differing, evaluations, machine, run, seeds
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from mnist_bench.analysis import table1
from mnist_bench.analysis.table1 import Spread, Spreads, holm
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.results.document import Document, Row
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import summarise
from mnist_bench.scenarios.hyperparameters import (
    Lenet5Hyperparameters,
    PaperCnnHyperparameters,
    SvmHyperparameters,
)


def rows(results: Sequence[RunResult], reference: Spreads | None = REFERENCE) -> tuple[Row, ...]:
    return table1.rows(summarise(results), reference)


def row_of(*results: RunResult, reference: Spreads | None = REFERENCE) -> Row:
    (row,) = rows(results, reference)
    return row


def document_of(*results: RunResult, **machine_fields: Any) -> Document:
    return table1.document(machine(**machine_fields), summarise(results), REFERENCE)


def timed(best: float, seed: int, seconds: float = 0.02, **changes: Any) -> RunResult:
    """A run of 1,000 steps with these seconds per step."""
    curve = evaluations(1_000, best, seconds=seconds)
    return run(1_000, best, seed, **{"evaluations": curve} | changes)


THREE = seeds(1_000, 0.985, 0.986, 0.987)
ON_5K = {"dataset": "mnist-5k"}
UNKNOWN_COSTS = dict.fromkeys(
    ("train_seconds_mean", "images_per_second_mean", "peak_rss_bytes_max")
)
STEAL = {"verdict": "invalid", "reasons": ("steal",)}
FROM_REFERENCE = (
    "standard deviation 0.00050 and its degrees of freedom from the shipped reference, n = 10"
)
MIXED = [
    timed(0.985, 0, verdict="clean", peak_rss_bytes=900),
    timed(0.986, 1, 0.04, verdict="suspect", reasons=("steal",), peak_rss_bytes=901),
    timed(0.987, 2, 0.2, verdict="invalid", reasons=("suspended",), peak_rss_bytes=902),
]
FINAL_AND_SELECTED = [
    run(1_000, 0.985, 0, evaluations=evaluations(1_000, 0.985, final=0.98, selected=0.97),
        peak_rss_bytes=900),
    run(1_000, 0.987, 1, evaluations=evaluations(1_000, 0.987, final=0.982, selected=0.974,
        best_step=501, seconds=0.04), peak_rss_bytes=1_000),
]  # fmt: skip
ROWS: dict[str, tuple[list[RunResult], dict[str, Any]]] = {
    # mean = (0.985 + 0.986 + 0.987) / 3 = 0.986; sd = sqrt((0.001² + 0 + 0.001²) / 2) = 0.001;
    # s·sqrt(1 + 1/3) = 0.001·1.154701 = 0.001154701; t(0.975; 2) = 4.302653 (any t table);
    # margin = 0.004968275; t = 0.002 / 0.001154701 = 1.732051 = sqrt(3);
    # with 2 degrees of freedom p = 1 - t / sqrt(t² + 2) = 1 - sqrt(3/5) = 0.225403.
    "by hand": (THREE, {
        "steps": 1_000, "paper_step": 900, "paper_max_test_accuracy": 0.984, "n": 3, "mean": 0.986,
        "sd": 0.001, "difference": 0.002, "interval_low": 0.986 - 0.004968275,
        "interval_high": 0.986 + 0.004968275, "p_value": 1 - sqrt(3 / 5), "spread_source": "own",
        "degrees_of_freedom": 2, "verdict": "indistinguishable", "reason": None}),
    # n = 1, s = 0.0005 of 10 seeds: t(0.975; 9) = 2.262157; margin = 2.262157·0.0005·√2
    "one seed": ([run(1_000, 0.985)], {
        "sd": None, "degrees_of_freedom": 9, "spread_source": "reference",
        "interval_low": 0.985 - 2.262157 * 0.0005 * sqrt(2), "reason": FROM_REFERENCE}),
    # The row's own deviation is shown, the reference's is tested with.
    "two seeds": (seeds(1_000, 0.984, 0.986), {
        "sd": 0.002 / sqrt(2), "spread_source": "reference",
        "interval_high": 0.985 + 2.262157 * 0.0005 * sqrt(1.5)}),
    # Rounding to 1 in 10,000 has a standard deviation of 0.0001/√12; t(0.975; 2) = 4.302653.
    "equal": (seeds(1_000, 0.985, 0.985, 0.985), {
        "sd": 0, "verdict": "exceeds",
        "interval_high": 0.985 + 4.302653 * 0.0001 / sqrt(12) * sqrt(4 / 3),
        "p_value": 2 * stats.t.sf(0.001 / (0.0001 / sqrt(12) * sqrt(4 / 3)), 2)}),
    "one image above the paper": (seeds(1_000, 0.9841, 0.9841, 0.9841), {
        "sd": 0, "verdict": "indistinguishable"}),
    "the paper's": (seeds(1_000, 0.984, 0.984, 0.984), {
        "sd": 0, "p_value": 1, "verdict": "indistinguishable", "difference": 0}),
    "reference of another precision": ([run(1_000, 0.985, precision="bfloat16")], {
        "reason": f"{FROM_REFERENCE}, measured in float32", "precision": "bfloat16"}),
    # 1,000 steps at 0.02 s and at 0.04 s
    "costs and other accuracies": (FINAL_AND_SELECTED, {
        "train_seconds_mean": 30, "images_per_second_mean": (2_500 + 1_250) / 2,
        "peak_rss_bytes_max": 1_000, "final_test_accuracy_mean": 0.981,
        "final_test_accuracy_sd": 0.002 / sqrt(2), "selected_test_accuracy_mean": 0.972,
        "max_test_accuracy_step_min": 501, "max_test_accuracy_step_max": 801,
        "run_ids": ("run-1000-0", "run-1000-1")}),
    "other images have values": (seeds(1_000, 0.9, 0.92, **ON_5K), {
        "n": 2, "mean": 0.91, "train_seconds_mean": 20, "paper_max_test_accuracy": 0.984,
        "other_images_low": None}),
    "no finished run": ([run(status="failed")], {
        "n": 0, "mean": None, "sd": None, "max_test_accuracy_step_min": None, "run_ids": (),
        **UNKNOWN_COSTS}),
    "comparable runs": (
        [run(1_000, 0.5, 7, **ON_5K), *THREE, run(1_000, 0.1, 8, status="failed")], {
            "n": 3, "mean": 0.986, "reason": "left out: 1 not finished, 1 of another protocol",
            "run_ids": ("run-1000-0", "run-1000-1", "run-1000-2")}),
    "the newest task": ([run(1_000, 0.9, **ON_5K), run(1_000, 0.8, 1, dataset="custom:ab")], {
        "n": 1, "mean": 0.8, "reason": "other images: custom:ab; left out: 1 of another protocol"}),
    "comparable before most threads": (
        [run(1_000, 0.985, threads=1), run(1_000, 0.9, threads=8, eval_every=50)], {
            "n": 1, "mean": 0.985, "verdict": "indistinguishable"}),
    # Costs of 20 s, without the 40 s of a suspect and the 200 s; accuracies of all three.
    "an invalid run": (MIXED, {
        "n": 3, "timed_n": 1, "clean": 1, "suspect": 1, "invalid": 1, "mean": 0.986, "sd": 0.001,
        "train_seconds_mean": 20, "images_per_second_mean": 2_500,
        "peak_rss_bytes_max": 902, "reason": None,
        "run_ids": ("run-1000-0", "run-1000-1", "run-1000-2"),
        "cost_note": "2 disturbed runs left out of time and speed: steal, suspended"}),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_row(name: str) -> None:
    results, expected = ROWS[name]
    row = row_of(*results)
    assert not differing(row, expected)


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ((0.9899, 0.9900, 0.9901), "exceeds"),
        ((0.9839, 0.9840, 0.9842), "indistinguishable"),
        ((0.9779, 0.9780, 0.9781), "below"),
        ((0.985,), "indistinguishable"),  # t = 0.001 / (0.0005·√2) = 1.41, 9 df
        ((0.986,), "exceeds"),  # t = 2.83 > 2.262
        ((0.982,), "below"),
        ((0.985, 0.985), "indistinguishable"),  # t = 0.001 / (0.0005·√1.5) = 1.63
        ((0.986, 0.986), "exceeds"),
        ((0.982, 0.982), "below"),
    ],
)
def test_verdict(accuracies: tuple[float, ...], verdict: str) -> None:
    row = row_of(*seeds(1_000, *accuracies))
    assert row.verdict == verdict
    assert row.spread_source == ("own" if len(accuracies) >= 3 else "reference")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"steps": 200}, "Table I has no row of 200 steps"),
        (ON_5K, "other images: mnist-5k"),
        ({"model": "lenet-5", "hyperparameters": Lenet5Hyperparameters()}, "other model: lenet-5"),
        ({"model": "svm-rbf", "hyperparameters": SvmHyperparameters()}, "other model: svm-rbf"),
        ({"hyperparameters": PaperCnnHyperparameters(learning_rate=0.01, batch_size=64)},
         "other hyperparameters: learning_rate 0.01, batch_size 64"),
        ({"eval_every": 50}, "other evaluation grid: first after 1, then every 50 steps"),
        ({"eval_first": 100}, "other evaluation grid: first after 100, then every 100 steps"),
        ({"status": "failed", "failure": "worker died"}, "no finished run"),
        ({"status": "killed"}, "no finished run"),
        ({"evaluations": ()}, "no finished run"),
        ({"steps": 200, **ON_5K}, "Table I has no row of 200 steps; other images: mnist-5k"),
    ],
)  # fmt: skip
def test_not_comparable(changes: dict[str, Any], reason: str) -> None:
    row = row_of(run(**changes))
    assert (row.verdict, row.reason) == ("not comparable", reason)
    assert row.difference is row.interval_low is row.interval_high is row.p_value is None
    assert row.spread_source is row.degrees_of_freedom is None


@pytest.mark.parametrize("reference", [None, {}])
def test_few_seeds_without_reference(reference: Spreads | None) -> None:
    row = row_of(*seeds(1_000, 0.985, 0.986), reference=reference)
    assert (row.verdict, row.reason) == ("not comparable", "fewer than 3 seeds and no reference")
    assert (row.difference, row.mean) == (None, pytest.approx(0.9855))


def test_rows_ascend_and_unknown_run_ids_are_skipped() -> None:
    ascending = rows([run(5_000), run(200, run_id=None), run(1_000)])
    assert [row.steps for row in ascending] == [200, 1_000, 5_000]
    assert [row.run_ids for row in ascending] == [(), ("run-1000-0",), ("run-5000-0",)]
    assert rows([], None) == ()


def test_interval_for_other_images() -> None:
    """Wilson's, of the final accuracy on 10,000 images."""
    row = row_of(*FINAL_AND_SELECTED)
    expected = stats.binomtest(9_810, 10_000).proportion_ci(method="wilson")
    assert (row.other_images_low, row.other_images_high) == pytest.approx(tuple(expected))


COST_FIELDS = {
    *UNKNOWN_COSTS, "train_seconds_sd", "images_per_second_sd", "clean", "suspect", "invalid",
    "timed_n", "timed_suspect", "cost_note", "disturbed_train_seconds_mean",
    "disturbed_images_per_second_mean", "disturbed_peak_rss_bytes_max",
}  # fmt: skip


@settings(max_examples=30)
@given(st.lists(st.sampled_from([None, "clean", "suspect", "invalid"]), min_size=1, max_size=6))
def test_verdicts_of_runs_change_only_costs(verdicts: list[str | None]) -> None:
    def row_with(verdicts: list[str | None]) -> Row:
        return row_of(*(timed(0.985 + seed / 10_000, seed, 0.01 * (seed + 1), verdict=verdict)
                        for seed, verdict in enumerate(verdicts)))  # fmt: skip

    row, without = row_with(verdicts), row_with([None] * len(verdicts))
    assert row.model_dump(exclude=COST_FIELDS) == without.model_dump(exclude=COST_FIELDS)
    used = {None, "clean"} if {None, "clean"} & set(verdicts) else {"suspect"}
    seconds = [10.0 * (seed + 1) for seed, each in enumerate(verdicts) if each in used]
    mean = pytest.approx(sum(seconds) / len(seconds)) if seconds else None
    assert (row.timed_n, row.train_seconds_mean) == (len(seconds), mean)
    assert row.peak_rss_bytes_max == without.peak_rss_bytes_max
    assert (row.cost_note is None) == (len(seconds) == len(verdicts))
    counts = {each: verdicts.count(each) for each in ("clean", "suspect", "invalid")}
    assert not differing(row, counts)


# Several machines


A, B, C = "a" * 32, "b" * 32, "c" * 32


def three_machines() -> list[RunResult]:
    """Seeds 0 and 1 on A, 1 and 2 on B, 3 on C; B has eight threads and an invalid run."""
    kinds = [
        (A, 0, 0.984, 0.02, {}), (A, 1, 0.986, 0.02, {}),
        (B, 1, 0.9, 0.01, {"threads": 8, **STEAL}), (B, 2, 0.988, 0.01, {"threads": 8}),
        (C, 3, 0.99, 0.05, {"threads": 1, "memory_method": "getrusage"}),
    ]  # fmt: skip
    return [
        timed(best, seed, pace, machine_id=machine_id, run_id=f"{machine_id[0]}{seed}",
              trajectory=f"{machine_id[0]}{seed}", peak_rss_bytes=100 * seed,
              **{"verdict": "clean"} | changes)
        for machine_id, seed, best, pace, changes in kinds
    ]  # fmt: skip


def test_accuracies_of_machines_are_pooled_and_costs_are_not() -> None:
    # 0.984, 0.986, 0.988, 0.99: mean 0.987, sd = sqrt((9 + 1 + 1 + 9)·1e-6 / 3).
    (row,) = table1.rows(summarise(three_machines()), None, A)
    expected = {
        "n": 4, "run_ids": ("a0", "a1", "b2", "c3"), "mean": 0.987, "sd": sqrt(20e-6 / 3),
        "spread_source": "own", "degrees_of_freedom": 3,
        "reason": "left out: 1 of a seed that another machine ran first",
        # Times and memory are A's.
        "train_seconds_mean": 20, "peak_rss_bytes_max": 100, "clean": 2, "timed_n": 2,
        "threads": 2, "cost_note": None,
    }  # fmt: skip
    assert not differing(row, expected)


def test_each_machine_has_its_own_costs() -> None:
    document = document_of(*three_machines(), machine_id=B, cpu="B's CPU")
    assert document.table_1[0].n == 4
    cpus = [(line.machine or "").partition(",")[0] for line in document.machine_costs]
    assert cpus == ["B's CPU", "", ""]
    names = ("machine_id", "threads", "n", "pooled_n", "train_seconds_mean",
             "images_per_second_mean", "peak_rss_bytes_max", "clean", "invalid", "timed_n",
             "note", "run_ids")  # fmt: skip
    note = "1 disturbed run left out of time and speed: steal"
    assert [[getattr(line, name) for name in names] for line in document.machine_costs] == [
        [B, 8, 2, 1, pytest.approx(10), pytest.approx(5_000), 200, 1, 1, 1, note, ("b1", "b2")],
        [A, 2, 2, 2, pytest.approx(20), pytest.approx(2_500), 100, 2, 0, 2, None, ("a0", "a1")],
        [C, 1, 1, 1, pytest.approx(50), pytest.approx(1_000), 300, 1, 0, 1, None, ("c3",)],
    ]
    assert [run.run_id for run in document.own_runs] == ["b1", "b2"]
    assert Document.model_validate_json(document.model_dump_json()) == document


def test_machine_that_ran_nothing_has_no_times() -> None:
    """As the leader of a cluster that only others train for."""
    document = document_of(*three_machines())
    (row,) = document.table_1
    assert (row.n, row.verdict) == (4, "indistinguishable")
    assert row.train_seconds_mean is row.peak_rss_bytes_max is row.threads is None
    assert row.cost_note == "no time and memory: no run of this machine"
    assert [line.machine_id for line in document.machine_costs] == [A, B, C]


def test_scaling_is_of_the_documents_machine() -> None:
    both = (run(1_000, threads=number, machine_id=each) for each in (A, B) for number in (1, 2))
    scaling = document_of(*both, machine_id=A).scaling
    assert [(line.machine_id, line.threads) for line in scaling] == [(A, 1), (A, 2)]


# Holm


@pytest.mark.parametrize(
    ("p_values", "rejected"),
    [
        ((), ()),
        ((0.03,), (True,)),
        # 0.03 > 0.05/4, although below 0.05
        ((0.03, 0.5, 0.6, 0.7), (False, False, False, False)),
        # Ascending: 0.005 <= 0.05/4, 0.01 <= 0.05/3, 0.03 > 0.05/2, which stops it.
        ((0.01, 0.04, 0.03, 0.005), (True, False, False, True)),
        # Step-down: 0.04 is compared with 0.05/1 only after the first three are rejected.
        ((0.001, 0.002, 0.003, 0.04), (True, True, True, True)),
        ((0.02, 0.02), (True, True)),
        ((0.026, 0.026), (False, False)),
    ],
)
def test_holm(p_values: tuple[float, ...], rejected: tuple[bool, ...]) -> None:
    assert holm(p_values) == rejected


def test_only_comparable_rows_are_in_the_correction() -> None:
    # t = 0.0018 / (0.0005·√2) = 2.546, 9 degrees of freedom: p is about 0.031.
    first = run(1_000, 0.9858)
    alone = row_of(first)
    assert (alone.p_value, alone.verdict) == (pytest.approx(0.031, abs=0.001), "exceeds")
    four = rows([first, run(2_500, 0.9888), run(5_000, 0.9918), run(10_000, 0.9928)])
    assert (four[0].p_value, four[0].interval_low) == (alone.p_value, alone.interval_low)
    assert alone.interval_low is not None
    assert alone.interval_low > 0.984  # just outside the uncorrected interval
    assert [row.verdict for row in four] == ["indistinguishable"] * 4
    assert rows([first, *(run(s, 0.9) for s in (100, 200, 300))])[-1].verdict == "exceeds"


@settings(max_examples=50)
@given(st.lists(st.integers(9_700, 9_999).map(lambda n: n / 10_000), min_size=1, max_size=6))
def test_one_row_alone_is_indistinguishable_inside_its_interval(accuracies: list[float]) -> None:
    row = row_of(*seeds(1_000, *accuracies))
    assert row.interval_low is not None
    assert row.interval_high is not None
    assert row.p_value is not None
    assume(abs(row.p_value - 0.05) > 1e-9)
    if row.interval_low <= 0.984 <= row.interval_high:
        assert row.verdict == "indistinguishable"
    else:
        assert row.verdict == ("exceeds" if row.interval_low > 0.984 else "below")


# The reference


@pytest.mark.parametrize(
    ("results", "needed"),
    [
        ([], False),
        (seeds(1_000, 0.985, 0.986), True),
        (THREE, False),
        ([run(200)], False),
        ([run(1_000, **ON_5K)], False),
        ([run(1_000, status="failed")], False),
        ([*THREE, run(2_500)], True),
    ],
)
def test_needs_reference(results: list[RunResult], *, needed: bool) -> None:
    assert table1.needs_reference(summarise(results)) is needed


def test_pooled_seeds_need_no_reference() -> None:
    runs = summarise(three_machines())
    assert not table1.needs_reference(runs, A)
    assert table1.needs_reference([each for each in runs if each.machine_id == A], A)


def test_reference_from_document() -> None:
    bfloat16 = [each.model_copy(update={"precision": "bfloat16"}) for each in THREE]
    reference = table1.spreads_of(document_of(*bfloat16, run(2_500), *seeds(5_000, 0.992, 0.991)))
    assert reference == {1_000: Spread(pytest.approx(0.001), 3, "reference", "bfloat16")}
    foreign = document_of(*seeds(1_000, 0.9, 0.8, 0.7, **ON_5K))
    assert table1.spreads_of(foreign) == {}


@pytest.mark.parametrize(
    "text", [document_of(*THREE).model_dump_json(), None, "", "{}", '{"schema": 2}', "\xff"]
)
def test_shipped_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    monkeypatch.setattr(table1, "packaged_folder", lambda: tmp_path)
    if text is not None:
        (tmp_path / "reference").mkdir()
        (tmp_path / "reference" / "table-1.json").write_text(text, encoding="utf-8")
    if text and len(text) > 100:
        assert table1.load_reference() == table1.spreads_of(document_of(*THREE))
        return
    with pytest.raises(BenchError, match=r"table-1\.json") as caught:
        table1.load_reference()
    assert caught.value.exit_status == EXIT_FAILURE
    assert caught.value.hint


# The document


def test_document_has_table_1s_rows_only() -> None:
    document = document_of(run(200), run(1_000))
    assert [row.steps for row in document.table_1] == [1_000]
    assert [each.steps for each in document.runs] == [200, 1_000]
    assert "machine_costs" not in document.model_dump()  # of one machine


def test_document_round_trip() -> None:
    document = document_of(run(), run(1_000, threads=1), run(2_500, status="failed"))
    assert [line.threads for line in document.scaling] == [1, 2]
    content = json.loads(document.model_dump_json())
    assert Document.model_validate_json(json.dumps(content)) == document
    del content["scaling"]  # as in older documents
    assert Document.model_validate_json(json.dumps(content)).scaling == ()
