"""Rows of Table I and their verdicts, on hand-made results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import sqrt
from pathlib import Path

import pytest
from factories import (
    ADDED_RUN_KEYS,
    REFERENCE,
    ROW_KEYS,
    RUN_KEYS,
    evaluations,
    machine,
    run,
    seeds,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import binomtest

from mnist_bench.analysis import table1
from mnist_bench.analysis.table1 import Reference, holm
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.results import document, run_summary
from mnist_bench.results.document import Document
from mnist_bench.results.run import RunResult
from mnist_bench.scenarios.hyperparameters import (
    Lenet5Hyperparameters,
    PaperCnnHyperparameters,
    SvmHyperparameters,
)


def rows(results: Sequence[RunResult], reference: Reference | None) -> tuple[document.Row, ...]:
    return table1.rows(run_summary.summarise(results), reference)


def row_of(results: list[RunResult], reference: Reference | None = None) -> document.Row:
    (row,) = rows(results, reference)
    return row


# Values of a row


def test_row_by_hand() -> None:
    # mean = (0.985 + 0.986 + 0.987) / 3 = 0.986; sd = sqrt((0.001² + 0 + 0.001²) / 2) = 0.001;
    # s·sqrt(1 + 1/3) = 0.001·1.154701 = 0.001154701; t(0.975; 2) = 4.302653 (any t table);
    # margin = 0.004968275; t = 0.002 / 0.001154701 = 1.732051 = sqrt(3);
    # with 2 degrees of freedom p = 1 - t / sqrt(t² + 2) = 1 - sqrt(3/5) = 0.225403.
    row = row_of(seeds(1_000, 0.985, 0.986, 0.987))
    assert (row.steps, row.paper_step, row.paper_max_test_accuracy) == (1_000, 900, 0.984)
    assert row.n == 3
    assert row.mean == pytest.approx(0.986, abs=1e-12)
    assert row.sd == pytest.approx(0.001, abs=1e-12)
    assert row.difference == pytest.approx(0.002, abs=1e-12)
    assert row.interval_low == pytest.approx(0.986 - 0.004968275, abs=1e-9)
    assert row.interval_high == pytest.approx(0.986 + 0.004968275, abs=1e-9)
    assert row.p_value == pytest.approx(1 - sqrt(3 / 5), abs=1e-9)
    assert (row.spread_source, row.degrees_of_freedom) == ("own", 2)
    assert (row.verdict, row.reason) == ("indistinguishable", None)


def test_costs_and_other_accuracies() -> None:
    results = [
        run(1_000, 0.985, 0, evaluations=evaluations(1_000, 0.985, final=0.98, selected=0.97),
            peak_rss_bytes=900),
        run(1_000, 0.987, 1, evaluations=evaluations(1_000, 0.987, final=0.982, selected=0.974,
            best_step=501, seconds=0.04), peak_rss_bytes=1_000),
    ]  # fmt: skip
    row = row_of(results, REFERENCE)
    assert row.train_seconds_mean == pytest.approx(30)  # 1,000 steps at 0.02 s and at 0.04 s
    assert row.images_per_second_mean == pytest.approx((2_500 + 1_250) / 2)
    assert row.peak_rss_bytes_max == 1_000
    assert row.final_test_accuracy_mean == pytest.approx(0.981)
    assert row.final_test_accuracy_sd == pytest.approx(0.002 / sqrt(2))
    assert row.selected_test_accuracy_mean == pytest.approx(0.972)
    assert (row.max_test_accuracy_step_min, row.max_test_accuracy_step_max) == (501, 801)
    assert row.run_ids == ("run-1000-0", "run-1000-1")


def test_rows_ascend_and_unknown_run_ids_are_skipped() -> None:
    ascending = rows([run(5_000), run(200, run_id=None), run(1_000)], REFERENCE)
    assert [row.steps for row in ascending] == [200, 1_000, 5_000]
    assert [row.run_ids for row in ascending] == [(), ("run-1000-0",), ("run-5000-0",)]


def test_without_results() -> None:
    assert rows([], None) == ()
    assert not table1.needs_reference([])


# Verdicts


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
    row = row_of(seeds(1_000, *accuracies), REFERENCE)
    assert row.verdict == verdict
    assert row.spread_source == ("own" if len(accuracies) >= 3 else "reference")


def test_few_seeds_use_the_reference() -> None:
    # n = 1, s = 0.0005 of 10 seeds: t(0.975; 9) = 2.262157; margin = 2.262157·0.0005·√2
    row = row_of([run(1_000, 0.985)], REFERENCE)
    assert row.sd is None
    assert row.degrees_of_freedom == 9
    assert row.interval_low == pytest.approx(0.985 - 2.262157 * 0.0005 * sqrt(2), abs=1e-9)
    assert row.reason == (
        "standard deviation 0.00050 and its degrees of freedom from the shipped reference, n = 10"
    )


def test_reference_of_another_precision_is_noted() -> None:
    row = row_of([run(1_000, 0.985, precision="bfloat16")], REFERENCE)
    assert (row.reason or "").endswith("shipped reference, n = 10, measured in float32")
    bfloat16 = seeds(1_000, 0.985, 0.986, 0.987, precision="bfloat16")
    reference = Reference.from_document(
        table1.document(machine(), run_summary.summarise(bfloat16), None)
    )
    assert [spread.precision for spread in reference.spreads] == ["bfloat16"]


def test_two_seeds_show_their_own_deviation_but_are_tested_with_the_reference() -> None:
    # t(0.975; 9)·0.0005·sqrt(1 + 1/2)
    row = row_of(seeds(1_000, 0.984, 0.986), REFERENCE)
    assert row.sd == pytest.approx(0.002 / sqrt(2))
    assert row.interval_high == pytest.approx(0.985 + 2.262157 * 0.0005 * sqrt(1.5), abs=1e-9)


def test_equal_accuracies_are_tested_with_the_rounding_error() -> None:
    """Rounding to 1 in 10,000 has a standard deviation of 0.0001/√12."""
    row = row_of(seeds(1_000, 0.985, 0.985, 0.985))
    assert (row.sd, row.verdict) == (0, "exceeds")
    error = 0.0001 / sqrt(12) * sqrt(1 + 1 / 3)
    assert row.interval_high == pytest.approx(0.985 + 4.302653 * error, abs=1e-9)  # t(0.975; 2)
    assert row.p_value == pytest.approx(2 * stats.t.sf(0.001 / error, 2))
    row = row_of(seeds(1_000, 0.9841, 0.9841, 0.9841))  # one image above the paper's
    assert (row.sd, row.verdict) == (0, "indistinguishable")
    row = row_of(seeds(1_000, 0.984, 0.984, 0.984))
    assert (row.sd, row.p_value, row.verdict, row.difference) == (0, 1, "indistinguishable", 0)


NOT_COMPARABLE = [
    (run(200), "Table I has no row of 200 steps"),
    (run(dataset="mnist-5k"), "other images: mnist-5k"),
    (run(model="lenet-5", hyperparameters=Lenet5Hyperparameters()), "other model: lenet-5"),
    (run(model="svm-rbf", hyperparameters=SvmHyperparameters()), "other model: svm-rbf"),
    (
        run(hyperparameters=PaperCnnHyperparameters(learning_rate=0.01, batch_size=64)),
        "other hyperparameters: learning_rate 0.01, batch_size 64",
    ),
    (run(eval_every=50), "other evaluation grid: first after 1, then every 50 steps"),
    (run(eval_first=100), "other evaluation grid: first after 100, then every 100 steps"),
    (run(status="failed", failure="worker died"), "no finished run"),
    (run(status="killed"), "no finished run"),
    (run(evaluations=()), "no finished run"),
    (run(200, dataset="mnist-5k"), "Table I has no row of 200 steps; other images: mnist-5k"),
]


@pytest.mark.parametrize(("result", "reason"), NOT_COMPARABLE)
def test_not_comparable(result: RunResult, reason: str) -> None:
    row = row_of([result], REFERENCE)
    assert (row.verdict, row.reason) == ("not comparable", reason)
    assert row.difference is row.interval_low is row.interval_high is row.p_value is None
    assert row.spread_source is None
    assert row.degrees_of_freedom is None


def test_not_comparable_rows_have_values() -> None:
    row = row_of(seeds(1_000, 0.9, 0.92, dataset="mnist-5k"))
    assert (row.n, row.mean) == pytest.approx((2, 0.91))
    assert row.train_seconds_mean == pytest.approx(20)
    assert row.paper_max_test_accuracy == 0.984


def test_without_finished_runs_values_are_unknown() -> None:
    row = row_of([run(status="failed")])
    assert row.n == 0
    assert row.mean is row.sd is row.train_seconds_mean is row.images_per_second_mean is None
    assert row.peak_rss_bytes_max is row.max_test_accuracy_step_min is None
    assert row.run_ids == ()


@pytest.mark.parametrize("reference", [None, Reference(())])
def test_few_seeds_without_reference(reference: Reference | None) -> None:
    row = row_of(seeds(1_000, 0.985, 0.986), reference)
    assert (row.verdict, row.reason) == ("not comparable", "fewer than 3 seeds and no reference")
    assert row.difference is None
    assert row.mean == pytest.approx(0.9855)


def test_row_consists_of_the_comparable_runs() -> None:
    results = [
        run(1_000, 0.5, 7, dataset="mnist-5k"),
        *seeds(1_000, 0.985, 0.986, 0.987),
        run(1_000, 0.1, 8, status="failed"),
    ]
    row = row_of(results)
    assert (row.n, row.mean) == pytest.approx((3, 0.986))
    assert row.reason == "left out: 1 not finished, 1 of another protocol"
    assert "run-1000-7" not in row.run_ids


def test_runs_of_different_tasks_are_never_averaged() -> None:
    row = row_of([run(1_000, 0.9, dataset="mnist-5k"), run(1_000, 0.8, 1, dataset="custom:ab")])
    assert (row.n, row.mean) == (1, 0.8)  # of the newest
    assert row.reason == "other images: custom:ab; left out: 1 of another protocol"


@pytest.mark.parametrize(
    ("other", "left_out"),
    [
        ({"threads": 1}, "1 not with 2 threads in float32 on cpu"),
        ({"precision": "bfloat16"}, "1 not with 2 threads in float32 on cpu"),
        ({"device": "gpu", "device_name": "A100"}, "1 not with 2 threads in float32 on cpu"),
    ],
)
def test_runs_with_different_execution_settings_are_never_averaged(
    other: dict[str, object], left_out: str
) -> None:
    slow_curve = evaluations(1_000, 0.9, seconds=0.5)
    results = [run(1_000, 0.985), run(1_000, 0.9, 1, evaluations=slow_curve, **other)]
    row = row_of(results, REFERENCE)
    assert (row.n, row.mean, row.train_seconds_mean) == pytest.approx((1, 0.985, 20))
    assert (row.reason or "").endswith(f"left out: {left_out}")


def test_row_consists_of_the_runs_with_the_most_threads() -> None:
    both = [run(1_000, 0.98 + threads / 1_000, threads=threads) for threads in (1, 4, 2)]
    row = row_of(both, REFERENCE)
    assert (row.n, row.mean) == pytest.approx((1, 0.984))
    assert (row.reason or "").endswith("left out: 2 not with 4 threads in float32 on cpu")


def test_comparable_run_is_preferred_to_more_threads() -> None:
    row = row_of(
        [run(1_000, 0.985, threads=1), run(1_000, 0.9, threads=8, eval_every=50)], REFERENCE
    )
    assert (row.n, row.mean, row.verdict) == (1, 0.985, "indistinguishable")


def test_repeated_seed_counts_once() -> None:
    repeated = [run(1_000, 0.985, 0, run_id=f"r{number}") for number in range(3)]
    row = row_of(repeated, REFERENCE)
    assert (row.n, row.sd, row.spread_source) == (1, None, "reference")
    assert row.run_ids == ("r2",)
    assert "2 of a seed that was run again" in (row.reason or "")


# Several machines


A, B, C = "a" * 32, "b" * 32, "c" * 32


def three_machines() -> list[RunResult]:
    """Seeds 0 and 1 on A, 1 and 2 on B, 3 on C; B has eight threads and an invalid run."""
    kinds = [
        (A, 0, 0.984, {}), (A, 1, 0.986, {}),
        (B, 1, 0.9, {"threads": 8, "verdict": "invalid", "reasons": ("steal",)}),
        (B, 2, 0.988, {"threads": 8}),
        (C, 3, 0.99, {"threads": 1, "memory_method": "getrusage"}),
    ]  # fmt: skip
    paces = {A: 0.02, B: 0.01, C: 0.05}
    return [
        run(1_000, best, seed, machine_id=machine_id, run_id=f"{machine_id[0]}{seed}",
            trajectory=f"{machine_id[0]}{seed}",
            evaluations=evaluations(1_000, best, seconds=paces[machine_id]),
            peak_rss_bytes=100 * seed, **{"verdict": "clean"} | changes)
        for machine_id, seed, best, changes in kinds
    ]  # fmt: skip


def test_accuracies_of_machines_are_pooled_and_costs_are_not() -> None:
    # 0.984, 0.986, 0.988, 0.99: mean 0.987, sd = sqrt((9 + 1 + 1 + 9)·1e-6 / 3) = 0.0025819889.
    (row,) = table1.rows(run_summary.summarise(three_machines()), None, A)
    assert (row.n, row.run_ids) == (4, ("a0", "a1", "b2", "c3"))
    assert row.mean == pytest.approx(0.987, abs=1e-12)
    assert row.sd == pytest.approx(0.0025819889, abs=1e-9)
    assert (row.spread_source, row.degrees_of_freedom) == ("own", 3)
    assert row.reason == "left out: 1 of a seed that another machine ran first"
    # Times and memory are A's.
    assert row.train_seconds_mean == pytest.approx(20)
    assert (row.peak_rss_bytes_max, row.clean, row.timed_n, row.threads) == (100, 2, 2, 2)
    assert row.cost_note is None


def test_each_machine_has_its_own_costs() -> None:
    document = table1.document(
        machine(machine_id=B, cpu="B's CPU"), run_summary.summarise(three_machines()), REFERENCE
    )
    lines = document.machine_costs
    assert [(line.machine_id, line.threads, line.n, line.pooled_n) for line in lines] == [
        (B, 8, 2, 1), (A, 2, 2, 2), (C, 1, 1, 1),
    ]  # fmt: skip
    assert [(line.machine or "").partition(",")[0] for line in lines] == ["B's CPU", "", ""]
    assert [line.train_seconds_mean for line in lines] == pytest.approx([10, 20, 50])
    assert [line.images_per_second_mean for line in lines] == pytest.approx([5_000, 2_500, 1_000])
    assert [line.peak_rss_bytes_max for line in lines] == [200, 100, 300]
    assert [(line.clean, line.invalid, line.timed_n) for line in lines] == [
        (1, 1, 1), (2, 0, 2), (1, 0, 1),
    ]  # fmt: skip
    assert lines[0].note == "1 invalid run left out of time, speed and memory: steal"
    assert lines[1].run_ids == ("a0", "a1")
    assert sum(line.pooled_n for line in lines) == document.table_1[0].n == 4
    assert [run.run_id for run in document.own_runs] == ["b1", "b2"]
    assert Document.model_validate_json(document.model_dump_json()) == document


def test_machine_that_ran_nothing_has_no_times() -> None:
    """As the leader of a cluster that only others train for."""
    runs = run_summary.summarise(three_machines())
    document = table1.document(machine(), runs, REFERENCE)
    (row,) = document.table_1
    assert (row.n, row.verdict) == (4, "indistinguishable")
    assert row.train_seconds_mean is row.peak_rss_bytes_max is row.threads is None
    assert row.cost_note == "no time and memory: no run of this machine"
    assert [line.machine_id for line in document.machine_costs] == [A, B, C]


def test_reference_is_needed_by_pooled_seeds() -> None:
    runs = run_summary.summarise(three_machines())
    assert not table1.needs_reference(runs, A)
    assert table1.needs_reference([each for each in runs if each.machine_id == A], A)


def test_scaling_is_of_the_documents_machine() -> None:
    threads = [run(1_000, threads=number, machine_id=id_) for id_ in (A, B) for number in (1, 2)]
    document = table1.document(machine(machine_id=A), run_summary.summarise(threads), REFERENCE)
    assert [(line.machine_id, line.threads) for line in document.scaling] == [(A, 1), (A, 2)]


# Verdicts of runs


def mixed_verdicts() -> list[RunResult]:
    """Three seeds: clean, suspect with twice the time, and invalid with ten times the time."""
    kinds = (("clean", (), 0.02), ("suspect", ("steal",), 0.04), ("invalid", ("suspended",), 0.2))
    return [
        run(1_000, 0.985 + seed / 1_000, seed, verdict=verdict, reasons=reasons,
            evaluations=evaluations(1_000, 0.985 + seed / 1_000, seconds=pace),
            peak_rss_bytes=900 + seed)
        for seed, (verdict, reasons, pace) in enumerate(kinds)
    ]  # fmt: skip


def test_invalid_runs_count_for_accuracy_only() -> None:
    row = row_of(mixed_verdicts())
    assert (row.n, row.timed_n) == (3, 2)
    assert (row.clean, row.suspect, row.invalid) == (1, 1, 1)
    assert row.mean == pytest.approx(0.986)  # of all three
    assert row.sd == pytest.approx(0.001)
    assert row.train_seconds_mean == pytest.approx(30)  # of 20 s and 40 s, without the 200 s
    assert row.images_per_second_mean == pytest.approx((2_500 + 1_250) / 2)
    assert row.peak_rss_bytes_max == 901
    assert row.cost_note == "1 invalid run left out of time, speed and memory: suspended"
    assert row.reason is None
    assert len(row.run_ids) == 3


def test_row_of_invalid_runs_has_only_accuracies_and_a_note() -> None:
    row = row_of(seeds(1_000, 0.985, 0.986, 0.987, verdict="invalid", reasons=("steal",)))
    assert (row.n, row.timed_n, row.invalid) == (3, 0, 3)
    assert row.mean == pytest.approx(0.986)
    assert row.verdict == "indistinguishable"
    assert row.train_seconds_mean is row.images_per_second_mean is row.peak_rss_bytes_max is None
    assert row.cost_note == "no time, speed and memory, every run is invalid: steal"


def test_verdicts_of_left_out_runs_are_not_counted() -> None:
    failed = run(1_000, 0.9, 7, status="failed", verdict="invalid", reasons=("steal",))
    row = row_of([*seeds(1_000, 0.985, 0.986, 0.987, verdict="clean"), failed])
    assert (row.clean, row.invalid, row.cost_note) == (3, 0, None)


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [("clean", "invalid", "r0"), ("invalid", "clean", "r1"), ("invalid", "invalid", "r1"),
     ("clean", "suspect", "r1"), (None, "invalid", "r0")],
)  # fmt: skip
def test_invalid_repetition_never_replaces_a_valid_run(
    first: str | None, second: str, taken: str
) -> None:
    repeated = [run(run_id=f"r{at}", verdict=verdict) for at, verdict in enumerate((first, second))]
    assert row_of(repeated, REFERENCE).run_ids == (taken,)


VERDICTS = st.lists(st.sampled_from([None, "clean", "suspect", "invalid"]), min_size=1, max_size=6)
COST_FIELDS = {
    "train_seconds_mean", "train_seconds_sd", "images_per_second_mean", "images_per_second_sd",
    "peak_rss_bytes_max", "clean", "suspect", "invalid", "timed_n", "cost_note",
}  # fmt: skip


@given(VERDICTS)
def test_verdicts_change_only_costs(verdicts: list[str | None]) -> None:
    def row_with(with_verdicts: list[str | None]) -> document.Row:
        return row_of(
            [run(1_000, 0.985 + seed / 10_000, seed, verdict=verdict,
                 evaluations=evaluations(1_000, 0.985 + seed / 10_000, seconds=0.01 * (seed + 1)))
             for seed, verdict in enumerate(with_verdicts)],
            REFERENCE,
        )  # fmt: skip

    with_verdicts, without_verdicts = row_with(verdicts), row_with([None] * len(verdicts))
    assert with_verdicts.model_dump(exclude=COST_FIELDS) == without_verdicts.model_dump(
        exclude=COST_FIELDS
    )
    valid_seconds = [
        10.0 * (seed + 1) for seed, verdict in enumerate(verdicts) if verdict != "invalid"
    ]
    assert with_verdicts.timed_n == len(valid_seconds)
    if valid_seconds:
        assert with_verdicts.train_seconds_mean == pytest.approx(
            sum(valid_seconds) / len(valid_seconds)
        )
    else:
        assert with_verdicts.train_seconds_mean is with_verdicts.peak_rss_bytes_max is None
    counts = (
        with_verdicts.clean,
        with_verdicts.suspect,
        with_verdicts.invalid,
        verdicts.count(None),
    )
    assert sum(number or 0 for number in counts) == with_verdicts.n


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


def test_row_that_exceeds_alone_is_indistinguishable_among_four() -> None:
    # t = 0.0018 / (0.0005·√2) = 2.546, 9 degrees of freedom: p is about 0.031.
    alone = row_of([run(1_000, 0.9858)], REFERENCE)
    assert alone.p_value == pytest.approx(0.031, abs=0.001)
    assert alone.verdict == "exceeds"
    four = [run(1_000, 0.9858), run(2_500, 0.9888), run(5_000, 0.9918), run(10_000, 0.9928)]
    four_rows = rows(four, REFERENCE)
    assert four_rows[0].p_value == alone.p_value
    assert [row.verdict for row in four_rows] == ["indistinguishable"] * 4
    assert four_rows[0].interval_low is not None
    assert four_rows[0].interval_low > 0.984  # just outside the uncorrected interval


def test_not_comparable_rows_are_not_in_the_correction() -> None:
    results = [run(1_000, 0.9858), *(run(steps, 0.9) for steps in (100, 200, 300))]
    assert rows(results, REFERENCE)[-1].verdict == "exceeds"


ACCURACY = st.integers(9_700, 9_999).map(lambda right: right / 10_000)


@given(st.lists(ACCURACY, min_size=1, max_size=6))
def test_one_row_alone_is_indistinguishable_inside_its_interval(accuracies: list[float]) -> None:
    row = row_of(seeds(1_000, *accuracies), REFERENCE)
    assert row.interval_low is not None
    assert row.interval_high is not None
    assert row.p_value is not None
    assume(abs(row.p_value - 0.05) > 1e-9)
    inside = row.interval_low <= 0.984 <= row.interval_high
    assert inside == (row.verdict == "indistinguishable")
    if not inside:
        assert row.verdict == ("exceeds" if row.interval_low > 0.984 else "below")


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_bonferroni_and_no_correction(p_values: list[float]) -> None:
    for p, rejected in zip(p_values, holm(p_values), strict=True):
        assert rejected or p > 0.05 / len(p_values)
        assert not rejected or p <= 0.05


# The reference


@pytest.mark.parametrize(
    ("results", "needed"),
    [
        (seeds(1_000, 0.985, 0.986), True),
        (seeds(1_000, 0.985, 0.986, 0.987), False),
        ([run(200)], False),
        ([run(1_000, dataset="mnist-5k")], False),
        ([run(1_000, status="failed")], False),
        ([*seeds(1_000, 0.985, 0.986, 0.987), run(2_500)], True),
    ],
)
def test_needs_reference(results: list[RunResult], *, needed: bool) -> None:
    assert table1.needs_reference(run_summary.summarise(results)) is needed


def test_reference_from_document() -> None:
    results = [*seeds(1_000, 0.985, 0.986, 0.987), run(2_500), *seeds(5_000, 0.992, 0.991)]
    reference = Reference.from_document(
        table1.document(machine(), run_summary.summarise(results), REFERENCE)
    )
    (spread,) = reference.spreads
    assert (spread.steps, spread.n, spread.source) == (1_000, 3, "reference")
    assert spread.sd == pytest.approx(0.001)
    assert reference.of(2_500) is None
    foreign = table1.document(
        machine(), run_summary.summarise(seeds(1_000, 0.9, 0.8, 0.7, dataset="mnist-5k")), None
    )
    assert Reference.from_document(foreign).spreads == ()


def ship_reference(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    monkeypatch.setattr(table1, "packaged_folder", lambda: folder)
    if text is not None:
        (folder / "reference").mkdir()
        (folder / "reference" / "table-1.json").write_text(text, encoding="utf-8")


def test_load_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = table1.document(
        machine(), run_summary.summarise(seeds(1_000, 0.985, 0.986, 0.987)), None
    )
    ship_reference(tmp_path, monkeypatch, document.model_dump_json())
    assert table1.load_reference() == Reference.from_document(document)


@pytest.mark.parametrize("text", [None, "", "{}", '{"schema": 2}', "\xff"])
def test_missing_or_damaged_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    ship_reference(tmp_path, monkeypatch, text)
    with pytest.raises(BenchError, match=r"table-1\.json") as caught:
        table1.load_reference()
    assert caught.value.exit_status == EXIT_FAILURE
    assert caught.value.hint


# The document


def test_document_keys() -> None:
    content = json.loads(
        table1.document(machine(), run_summary.summarise([run()]), REFERENCE).model_dump_json()
    )
    only_in_reports = ["reaches", "standings", "machines", "claims", "studies"]
    assert list(content) == ["schema", "machine", "runs", "table_1", "scaling", *only_in_reports]
    assert (content["schema"], content["scaling"]) == (1, [])
    assert [content[name] for name in only_in_reports] == [[]] * 5
    assert list(content["runs"][0]) == [*RUN_KEYS, *ADDED_RUN_KEYS]
    assert list(content["table_1"][0])[: len(ROW_KEYS)] == ROW_KEYS
    assert "machine_costs" not in content  # of one machine


def test_document_keeps_table_1s_rows_only() -> None:
    document = table1.document(machine(), run_summary.summarise([run(200), run(1_000)]), REFERENCE)
    assert [row.steps for row in document.table_1] == [1_000]
    assert [each.steps for each in document.runs] == [200, 1_000]
    assert table1.document(machine(), run_summary.summarise([run(200)]), None).table_1 == ()


def test_document_round_trip() -> None:
    results = [run(), run(1_000, threads=1), run(2_500, status="failed")]
    document = table1.document(machine(), run_summary.summarise(results), REFERENCE)
    assert [line.threads for line in document.scaling] == [1, 2]
    assert Document.model_validate_json(document.model_dump_json()) == document


def test_documents_without_scaling_are_read() -> None:
    content = json.loads(
        table1.document(machine(), run_summary.summarise([run()]), REFERENCE).model_dump_json()
    )
    del content["scaling"]
    assert Document.model_validate_json(json.dumps(content)).scaling == ()


def test_run_summary() -> None:
    summary = run_summary.summarise_run(
        run(1_000, 0.985, 3, status="killed", failure="interrupted")
    )
    assert (summary.verdict, summary.reasons) == (None, None)
    assert (summary.max_test_accuracy, summary.max_test_accuracy_step) == (0.985, 801)
    assert (summary.status, summary.failure, summary.seed) == ("killed", "interrupted", 3)
    assert summary.seconds["import"] == 4
    empty = run_summary.summarise_run(run(evaluations=(), peak_rss_bytes=None))
    assert empty.max_test_accuracy is empty.train_seconds_total is None
    assert empty.images_per_second is empty.peak_rss_bytes is None


def test_run_summary_with_a_verdict() -> None:
    peaks = {"import": 300, "train": 900}
    summary = run_summary.summarise_run(
        run(verdict="suspect", reasons=("steal", "calibration drift", "calibration drift"),
            phase_peak_rss_bytes=peaks, shared_phases=("import", "data"))
    )  # fmt: skip
    assert (summary.verdict, summary.reasons) == ("suspect", ("steal", "calibration drift"))
    assert (summary.phase_peak_rss_bytes, summary.shared_phases) == (peaks, ("import", "data"))
    assert run_summary.summarise_run(run(verdict="clean")).reasons == ()


def test_shared_trainings() -> None:
    shared = [run(steps, seed=seed) for seed in (0, 1) for steps in (1_000, 5_000)]
    assert run_summary.share_a_training([run_summary.summarise_run(result) for result in shared])
    apart = [run(steps, trajectory=f"t{steps}") for steps in (1_000, 5_000)]
    assert not run_summary.share_a_training([run_summary.summarise_run(result) for result in apart])


# Other test images


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 0.9928, 0.9999, 1.0])
def test_interval_for_other_images_is_scipys_wilson(accuracy: float) -> None:
    curve = evaluations(1_000, 0.9, final=accuracy)
    runs = run_summary.summarise([run(1_000, seed=seed, evaluations=curve) for seed in (0, 1)])
    (row,) = table1.rows(runs, None)
    expected = binomtest(round(accuracy * 10_000), 10_000).proportion_ci(method="wilson")
    assert (row.other_images_low, row.other_images_high) == pytest.approx(
        tuple(expected), abs=1e-12
    )


def test_no_interval_for_other_images_without_mnist() -> None:
    (row,) = table1.rows(run_summary.summarise([run(1_000, dataset="mnist-5k")]), None)
    assert row.other_images_low is None
    assert row.final_test_accuracy_mean is not None
