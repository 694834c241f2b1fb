"""Statistics against Table I, on hand-made results."""

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
from mnist_bench.core.errors import EXIT_BROKE, BenchError
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


def only(results: list[RunResult], reference: Reference | None = None) -> document.Row:
    (row,) = rows(results, reference)
    return row


# Figures of a row


def test_row_figures_by_hand() -> None:
    # mean = (0.985 + 0.986 + 0.987) / 3 = 0.986; sd = sqrt((0.001² + 0 + 0.001²) / 2) = 0.001;
    # s·sqrt(1 + 1/3) = 0.001·1.154701 = 0.001154701; t(0.975; 2) = 4.302653 (any t table);
    # margin = 0.004968275; t = 0.002 / 0.001154701 = 1.732051 = sqrt(3);
    # with 2 degrees of freedom p = 1 - t / sqrt(t² + 2) = 1 - sqrt(3/5) = 0.225403.
    row = only(seeds(1_000, 0.985, 0.986, 0.987))
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
    chosen = [
        run(1_000, 0.985, 0, evaluations=evaluations(1_000, 0.985, final=0.98, selected=0.97),
            peak_rss_bytes=900),
        run(1_000, 0.987, 1, evaluations=evaluations(1_000, 0.987, final=0.982, selected=0.974,
            best_step=501, seconds=0.04), peak_rss_bytes=1_000),
    ]  # fmt: skip
    row = only(chosen, REFERENCE)
    assert row.train_seconds_mean == pytest.approx(30)  # 1,000 steps at 0.02 s and at 0.04 s
    assert row.images_per_second_mean == pytest.approx((2_500 + 1_250) / 2)
    assert row.peak_rss_bytes_max == 1_000
    assert row.final_test_accuracy_mean == pytest.approx(0.981)
    assert row.final_test_accuracy_sd == pytest.approx(0.002 / sqrt(2))
    assert row.selected_test_accuracy_mean == pytest.approx(0.972)
    assert (row.max_test_accuracy_step_min, row.max_test_accuracy_step_max) == (501, 801)
    assert row.run_ids == ("run-1000-0", "run-1000-1")


def test_rows_rise_and_unknown_run_ids_are_skipped() -> None:
    found = rows([run(5_000), run(200, run_id=None), run(1_000)], REFERENCE)
    assert [row.steps for row in found] == [200, 1_000, 5_000]
    assert [row.run_ids for row in found] == [(), ("run-1000-0",), ("run-5000-0",)]


def test_no_results_no_rows() -> None:
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
    row = only(seeds(1_000, *accuracies), REFERENCE)
    assert row.verdict == verdict
    assert row.spread_source == ("own" if len(accuracies) >= 3 else "reference")


def test_few_seeds_take_the_reference() -> None:
    # n = 1, s = 0.0005 of 10 seeds: t(0.975; 9) = 2.262157; margin = 2.262157·0.0005·√2
    row = only([run(1_000, 0.985)], REFERENCE)
    assert row.sd is None
    assert row.degrees_of_freedom == 9
    assert row.interval_low == pytest.approx(0.985 - 2.262157 * 0.0005 * sqrt(2), abs=1e-9)
    assert row.reason == (
        "standard deviation 0.00050 and its degrees of freedom from the shipped reference, n = 10"
    )


def test_a_reference_of_another_precision_is_said_to_be_one() -> None:
    row = only([run(1_000, 0.985, precision="bfloat16")], REFERENCE)
    assert (row.reason or "").endswith("shipped reference, n = 10, measured in float32")
    brief = seeds(1_000, 0.985, 0.986, 0.987, precision="bfloat16")
    found = Reference.from_document(table1.document(machine(), run_summary.summarise(brief), None))
    assert [spread.precision for spread in found.spreads] == ["bfloat16"]


def test_two_seeds_show_their_own_deviation_but_are_judged_by_the_reference() -> None:
    # t(0.975; 9)·0.0005·sqrt(1 + 1/2)
    row = only(seeds(1_000, 0.984, 0.986), REFERENCE)
    assert row.sd == pytest.approx(0.002 / sqrt(2))
    assert row.interval_high == pytest.approx(0.985 + 2.262157 * 0.0005 * sqrt(1.5), abs=1e-9)


def test_seeds_that_agree_are_judged_by_what_an_image_is_worth() -> None:
    """Rounding to 1 in 10,000 has a standard deviation of 0.0001/√12."""
    row = only(seeds(1_000, 0.985, 0.985, 0.985))
    assert (row.sd, row.verdict) == (0, "exceeds")
    error = 0.0001 / sqrt(12) * sqrt(1 + 1 / 3)
    assert row.interval_high == pytest.approx(0.985 + 4.302653 * error, abs=1e-9)  # t(0.975; 2)
    assert row.p_value == pytest.approx(2 * stats.t.sf(0.001 / error, 2))
    row = only(seeds(1_000, 0.9841, 0.9841, 0.9841))  # one image above the paper's
    assert (row.sd, row.verdict) == (0, "indistinguishable")
    row = only(seeds(1_000, 0.984, 0.984, 0.984))
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
    row = only([result], REFERENCE)
    assert (row.verdict, row.reason) == ("not comparable", reason)
    assert row.difference is row.interval_low is row.interval_high is row.p_value is None
    assert row.spread_source is None
    assert row.degrees_of_freedom is None


def test_not_comparable_rows_still_tell_what_was_measured() -> None:
    row = only(seeds(1_000, 0.9, 0.92, dataset="mnist-5k"))
    assert (row.n, row.mean) == pytest.approx((2, 0.91))
    assert row.train_seconds_mean == pytest.approx(20)
    assert row.paper_max_test_accuracy == 0.984


def test_nothing_finished_is_unknown_not_zero() -> None:
    row = only([run(status="failed")])
    assert row.n == 0
    assert row.mean is row.sd is row.train_seconds_mean is row.images_per_second_mean is None
    assert row.peak_rss_bytes_max is row.max_test_accuracy_step_min is None
    assert row.run_ids == ()


@pytest.mark.parametrize("reference", [None, Reference(())])
def test_few_seeds_without_reference(reference: Reference | None) -> None:
    row = only(seeds(1_000, 0.985, 0.986), reference)
    assert (row.verdict, row.reason) == ("not comparable", "fewer than 3 seeds and no reference")
    assert row.difference is None
    assert row.mean == pytest.approx(0.9855)


def test_row_takes_the_comparable_runs() -> None:
    results = [
        run(1_000, 0.5, 7, dataset="mnist-5k"),
        *seeds(1_000, 0.985, 0.986, 0.987),
        run(1_000, 0.1, 8, status="failed"),
    ]
    row = only(results)
    assert (row.n, row.mean) == pytest.approx((3, 0.986))
    assert row.reason == "left out: 1 not finished, 1 of another protocol"
    assert "run-1000-7" not in row.run_ids


def test_runs_of_different_questions_are_never_averaged() -> None:
    row = only([run(1_000, 0.9, dataset="mnist-5k"), run(1_000, 0.8, 1, dataset="custom:ab")])
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
def test_runs_carried_out_differently_are_never_averaged(
    other: dict[str, object], left_out: str
) -> None:
    slow = evaluations(1_000, 0.9, seconds=0.5)
    results = [run(1_000, 0.985), run(1_000, 0.9, 1, evaluations=slow, **other)]
    row = only(results, REFERENCE)
    assert (row.n, row.mean, row.train_seconds_mean) == pytest.approx((1, 0.985, 20))
    assert (row.reason or "").endswith(f"left out: {left_out}")


def test_a_row_is_of_the_most_threads() -> None:
    both = [run(1_000, 0.98 + threads / 1_000, threads=threads) for threads in (1, 4, 2)]
    row = only(both, REFERENCE)
    assert (row.n, row.mean) == pytest.approx((1, 0.984))
    assert (row.reason or "").endswith("left out: 2 not with 4 threads in float32 on cpu")


def test_a_comparable_run_goes_before_more_threads() -> None:
    row = only([run(1_000, 0.985, threads=1), run(1_000, 0.9, threads=8, eval_every=50)], REFERENCE)
    assert (row.n, row.mean, row.verdict) == (1, 0.985, "indistinguishable")


def test_a_seed_run_again_is_no_new_draw() -> None:
    again = [run(1_000, 0.985, 0, run_id=f"r{number}") for number in range(3)]
    row = only(again, REFERENCE)
    assert (row.n, row.sd, row.spread_source) == (1, None, "reference")
    assert row.run_ids == ("r2",)
    assert "2 of a seed that was run again" in (row.reason or "")


# What the machine did


def mixed() -> list[RunResult]:
    """Three seeds: a clean one, a suspect one of twice the time, an invalid one of ten times."""
    kinds = (("clean", (), 0.02), ("suspect", ("steal",), 0.04), ("invalid", ("suspended",), 0.2))
    return [
        run(1_000, 0.985 + seed / 1_000, seed, verdict=verdict, reasons=reasons,
            evaluations=evaluations(1_000, 0.985 + seed / 1_000, seconds=pace),
            peak_rss_bytes=900 + seed)
        for seed, (verdict, reasons, pace) in enumerate(kinds)
    ]  # fmt: skip


def test_invalid_runs_count_for_accuracy_only() -> None:
    row = only(mixed())
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


def test_a_row_of_invalid_runs_has_its_accuracy_and_says_why_nothing_else() -> None:
    row = only(seeds(1_000, 0.985, 0.986, 0.987, verdict="invalid", reasons=("steal",)))
    assert (row.n, row.timed_n, row.invalid) == (3, 0, 3)
    assert row.mean == pytest.approx(0.986)
    assert row.verdict == "indistinguishable"
    assert row.train_seconds_mean is row.images_per_second_mean is row.peak_rss_bytes_max is None
    assert row.cost_note == "no time, speed and memory, every run is invalid: steal"


def test_runs_left_out_of_a_row_are_not_counted_as_disturbed() -> None:
    failed = run(1_000, 0.9, 7, status="failed", verdict="invalid", reasons=("steal",))
    row = only([*seeds(1_000, 0.985, 0.986, 0.987, verdict="clean"), failed])
    assert (row.clean, row.invalid, row.cost_note) == (3, 0, None)


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [("clean", "invalid", "r0"), ("invalid", "clean", "r1"), ("invalid", "invalid", "r1"),
     ("clean", "suspect", "r1"), (None, "invalid", "r0")],
)  # fmt: skip
def test_a_spoilt_run_never_stands_for_a_good_one(
    first: str | None, second: str, taken: str
) -> None:
    again = [run(run_id=f"r{at}", verdict=verdict) for at, verdict in enumerate((first, second))]
    assert only(again, REFERENCE).run_ids == (taken,)


VERDICTS = st.lists(st.sampled_from([None, "clean", "suspect", "invalid"]), min_size=1, max_size=6)
COST_FIELDS = {
    "train_seconds_mean", "train_seconds_sd", "images_per_second_mean", "images_per_second_sd",
    "peak_rss_bytes_max", "clean", "suspect", "invalid", "timed_n", "cost_note",
}  # fmt: skip


@given(VERDICTS)
def test_verdicts_move_nothing_but_costs(verdicts: list[str | None]) -> None:
    def row_of(judged: list[str | None]) -> document.Row:
        return only(
            [run(1_000, 0.985 + seed / 10_000, seed, verdict=verdict,
                 evaluations=evaluations(1_000, 0.985 + seed / 10_000, seconds=0.01 * (seed + 1)))
             for seed, verdict in enumerate(judged)],
            REFERENCE,
        )  # fmt: skip

    judged, unjudged = row_of(verdicts), row_of([None] * len(verdicts))
    assert judged.model_dump(exclude=COST_FIELDS) == unjudged.model_dump(exclude=COST_FIELDS)
    good = [10.0 * (seed + 1) for seed, verdict in enumerate(verdicts) if verdict != "invalid"]
    assert judged.timed_n == len(good)
    if good:
        assert judged.train_seconds_mean == pytest.approx(sum(good) / len(good))
    else:
        assert judged.train_seconds_mean is judged.peak_rss_bytes_max is None
    counted = (judged.clean, judged.suspect, judged.invalid, verdicts.count(None))
    assert sum(number or 0 for number in counted) == judged.n


# Holm


@pytest.mark.parametrize(
    ("p_values", "rejected"),
    [
        ((), ()),
        ((0.03,), (True,)),
        # 0.03 > 0.05/4, although below 0.05
        ((0.03, 0.5, 0.6, 0.7), (False, False, False, False)),
        # Rising: 0.005 <= 0.05/4, 0.01 <= 0.05/3, 0.03 > 0.05/2: here it ends.
        ((0.01, 0.04, 0.03, 0.005), (True, False, False, True)),
        # Step-down: 0.04 <= 0.05/1 only because the three before it fell.
        ((0.001, 0.002, 0.003, 0.04), (True, True, True, True)),
        ((0.02, 0.02), (True, True)),
        ((0.026, 0.026), (False, False)),
    ],
)
def test_holm(p_values: tuple[float, ...], rejected: tuple[bool, ...]) -> None:
    assert holm(p_values) == rejected


def test_a_row_alone_exceeds_that_among_four_does_not() -> None:
    # t = 0.0018 / (0.0005·√2) = 2.546, 9 degrees of freedom: p is about 0.031.
    alone = only([run(1_000, 0.9858)], REFERENCE)
    assert alone.p_value == pytest.approx(0.031, abs=0.001)
    assert alone.verdict == "exceeds"
    four = [run(1_000, 0.9858), run(2_500, 0.9888), run(5_000, 0.9918), run(10_000, 0.9928)]
    among = rows(four, REFERENCE)
    assert among[0].p_value == alone.p_value
    assert [row.verdict for row in among] == ["indistinguishable"] * 4
    assert among[0].interval_low is not None
    assert among[0].interval_low > 0.984  # just outside the uncorrected interval


def test_rows_that_do_not_compare_are_no_part_of_the_correction() -> None:
    results = [run(1_000, 0.9858), *(run(steps, 0.9) for steps in (100, 200, 300))]
    assert rows(results, REFERENCE)[-1].verdict == "exceeds"


ACCURACY = st.integers(9_700, 9_999).map(lambda right: right / 10_000)


@given(st.lists(ACCURACY, min_size=1, max_size=6))
def test_one_row_alone_is_indistinguishable_inside_its_interval(accuracies: list[float]) -> None:
    row = only(seeds(1_000, *accuracies), REFERENCE)
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
    (found,) = reference.spreads
    assert (found.steps, found.n, found.source) == (1_000, 3, "reference")
    assert found.sd == pytest.approx(0.001)
    assert reference.of(2_500) is None
    foreign = table1.document(
        machine(), run_summary.summarise(seeds(1_000, 0.9, 0.8, 0.7, dataset="mnist-5k")), None
    )
    assert Reference.from_document(foreign).spreads == ()


def shipped(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    monkeypatch.setattr(table1, "packaged_folder", lambda: folder)
    if text is not None:
        (folder / "reference").mkdir()
        (folder / "reference" / "table-1.json").write_text(text, encoding="utf-8")


def test_load_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = table1.document(
        machine(), run_summary.summarise(seeds(1_000, 0.985, 0.986, 0.987)), None
    )
    shipped(tmp_path, monkeypatch, made.model_dump_json())
    assert table1.load_reference() == Reference.from_document(made)


@pytest.mark.parametrize("text", [None, "", "{}", '{"schema": 2}', "\xff"])
def test_missing_or_damaged_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    shipped(tmp_path, monkeypatch, text)
    with pytest.raises(BenchError, match=r"table-1\.json") as caught:
        table1.load_reference()
    assert caught.value.exit_status == EXIT_BROKE
    assert caught.value.hint


# The document


def test_document_has_the_contracts_keys() -> None:
    told = json.loads(
        table1.document(machine(), run_summary.summarise([run()]), REFERENCE).model_dump_json()
    )
    only_in_reports = ["reaches", "standings", "machines", "claims", "studies"]
    assert list(told) == ["schema", "machine", "runs", "table_1", "scaling", *only_in_reports]
    assert (told["schema"], told["scaling"]) == (1, [])
    assert [told[name] for name in only_in_reports] == [[]] * 5
    assert list(told["runs"][0]) == [*RUN_KEYS, *ADDED_RUN_KEYS]
    assert list(told["table_1"][0])[: len(ROW_KEYS)] == ROW_KEYS


def test_document_keeps_table_1s_rows_only() -> None:
    made = table1.document(machine(), run_summary.summarise([run(200), run(1_000)]), REFERENCE)
    assert [row.steps for row in made.table_1] == [1_000]
    assert [each.steps for each in made.runs] == [200, 1_000]
    assert table1.document(machine(), run_summary.summarise([run(200)]), None).table_1 == ()


def test_document_reads_itself_back() -> None:
    results = [run(), run(1_000, threads=1), run(2_500, status="failed")]
    made = table1.document(machine(), run_summary.summarise(results), REFERENCE)
    assert [line.threads for line in made.scaling] == [1, 2]
    assert Document.model_validate_json(made.model_dump_json()) == made


def test_documents_from_before_threads_were_compared_are_read() -> None:
    told = json.loads(
        table1.document(machine(), run_summary.summarise([run()]), REFERENCE).model_dump_json()
    )
    del told["scaling"]
    assert Document.model_validate_json(json.dumps(told)).scaling == ()


def test_run_summary() -> None:
    told = run_summary.summarise_run(run(1_000, 0.985, 3, status="killed", failure="interrupted"))
    assert (told.verdict, told.reasons) == (None, None)
    assert (told.max_test_accuracy, told.max_test_accuracy_step) == (0.985, 801)
    assert (told.status, told.failure, told.seed) == ("killed", "interrupted", 3)
    assert told.seconds["import"] == 4
    nothing = run_summary.summarise_run(run(evaluations=(), peak_rss_bytes=None))
    assert nothing.max_test_accuracy is nothing.train_seconds_total is None
    assert nothing.images_per_second is nothing.peak_rss_bytes is None


def test_run_summary_of_a_judged_run() -> None:
    peaks = {"import": 300, "train": 900}
    told = run_summary.summarise_run(
        run(verdict="suspect", reasons=("steal", "calibration drift", "calibration drift"),
            phase_peak_rss_bytes=peaks, shared_phases=("import", "data"))
    )  # fmt: skip
    assert (told.verdict, told.reasons) == ("suspect", ("steal", "calibration drift"))
    assert (told.phase_peak_rss_bytes, told.shared_phases) == (peaks, ("import", "data"))
    assert run_summary.summarise_run(run(verdict="clean")).reasons == ()


def test_shared_trainings() -> None:
    shared = [run(steps, seed=seed) for seed in (0, 1) for steps in (1_000, 5_000)]
    assert run_summary.shares_trajectories([run_summary.summarise_run(result) for result in shared])
    apart = [run(steps, trajectory=f"t{steps}") for steps in (1_000, 5_000)]
    assert not run_summary.shares_trajectories(
        [run_summary.summarise_run(result) for result in apart]
    )


# Other test images


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 0.9928, 0.9999, 1.0])
def test_the_interval_for_other_images_is_scipys_wilson(accuracy: float) -> None:
    scored = evaluations(1_000, 0.9, final=accuracy)
    runs = run_summary.summarise([run(1_000, seed=seed, evaluations=scored) for seed in (0, 1)])
    (row,) = table1.rows(runs, None)
    theirs = binomtest(round(accuracy * 10_000), 10_000).proportion_ci(method="wilson")
    assert (row.other_images_low, row.other_images_high) == pytest.approx(tuple(theirs), abs=1e-12)


def test_of_other_images_than_mnist_their_number_is_not_known() -> None:
    (row,) = table1.rows(run_summary.summarise([run(1_000, dataset="mnist-5k")]), None)
    assert row.other_images_low is None
    assert row.final_test_accuracy_mean is not None
