"""benchmarks/peers: ratios, intervals, targets and pages; the committed pages are current."""

from __future__ import annotations

import itertools
import math
import statistics
from pathlib import Path

import contender
import equivalence
import hardware
import measured
import page
import peers
import pytest
import ratios
import whole
from equivalence import Trained
from hardware import Hardware
from measured import CONTENDERS, Products, Round, Session, Timed, TimedTask
from ratios import Ratio, Target
from scipy import stats
from whole import Whole, WholeSession

from mnist_bench.data.dataset import Source

FOLDER = Path(peers.__file__).parent
MIB = 2**20


def timed(name: str, step: float, *, score: float = 1.0, peak: int | None = 1_000) -> Timed:
    """A run whose median chunk is `step` milliseconds, its peak in MiB."""
    return Timed(
        name=name,
        settings=f"{name}'s settings",
        chunk_milliseconds=(step, step + 9, step - 1),
        evaluation_seconds={"32 at once": (score + 1, score + 3), "500 at once": (score, score)},
        peak_rss_bytes=None if peak is None else peak * MIB,
        import_peak_rss_bytes=300 * MIB,
        first_step_seconds=4.0,
        test_accuracy=0.91,
    )


def session(*rounds: Round, missing: dict[str, str] | None = None) -> Session:
    return Session(
        command="python benchmarks/peers/peers.py --data DIR --rounds 2 --steps 75",
        date="2026-01-02",
        hardware=Hardware(name="a machine", instruction_sets=("avx2",), virtual=True),
        versions={"tensorflow": "2.21.0"},
        dataset="mnist",
        threads=2,
        steps=75,
        warm_up_steps=25,
        missing=missing or {},
        rounds=rounds,
    )


def round_of(**steps: float) -> Round:
    return Round(timed={name: timed(name, step) for name, step in steps.items()})


# Ratios


def test_a_run_is_summarized_by_median_chunk_and_fastest_evaluation():
    run = timed("keras", 30.0, score=1.2)
    assert ratios.step_milliseconds(run) == 30.0
    assert ratios.best_way(run) == "500 at once"
    assert ratios.evaluation_seconds(run) == 1.2


def test_the_interval_is_students_on_logarithms():
    values = [1.6, 1.8, 1.7, 2.0, 1.75]
    got = ratios.of_rounds(values)
    logs = [math.log(value) for value in values]
    low, high = stats.t.interval(0.95, 4, statistics.mean(logs), stats.sem(logs))
    assert got is not None
    assert (got.median, got.n) == (1.75, 5)
    assert (got.low, got.high) == pytest.approx((math.exp(low), math.exp(high)))


def test_ratio_of_one_round_and_of_none():
    assert ratios.of_rounds([1.5]) == Ratio(1.5, None, None, 1)
    assert ratios.of_rounds([]) is None


def test_ratios_are_computed_per_round():
    target = Target("step", "ours", "keras", 1.7)
    of = session(round_of(ours=20, keras=40), round_of(ours=10, keras=15), round_of(keras=99))
    got = ratios.ratio(of, target)
    assert got is not None
    assert (got.median, got.n) == (pytest.approx(1.75), 2)  # of 2.0 and 1.5


@pytest.mark.parametrize(
    ("faster", "median", "met"),
    [(True, 1.25, True), (True, 1.249, False), (False, 1.25, True), (False, 1.251, False)],
)
def test_a_target_is_met_by_the_median(faster, median, met):
    target = Target("step", "ours", "program", 1.25, faster=faster)
    assert target.met_by(Ratio(median, 0.1, 9.0, 5)) is met
    assert Target("step", "ours", "program", None).met_by(Ratio(2.0, 1.0, 3.0, 5)) is None


def test_ratio_of_memory():
    target = Target("peak memory", "ours", "keras", 0.8, faster=False)
    known = Round(timed={"ours": timed("ours", 1, peak=600), "keras": timed("keras", 1, peak=800)})
    got = ratios.ratio(session(known), target)
    assert got is not None
    assert got.median == 0.75
    unknown = Round(timed={"ours": timed("ours", 1, peak=None), "keras": timed("keras", 1)})
    assert ratios.ratio(session(unknown), target) is None


def test_targets():
    bounds = {(t.figure, t.ours, t.peer): t.bound for t in ratios.TARGETS if t.bound is not None}
    assert bounds == {
        ("step", "ours", "keras"): 1.7,
        ("step", "ours", "program"): 1.25,
        ("step", "ours", "torch"): 1.15,
        ("evaluation", "ours", "keras"): 1.2,
        ("evaluation", "ours", "torch"): 1.8,
        ("step", "ours-bfloat16", "keras"): 2.7,
        ("step", "ours-bfloat16", "torch-bfloat16"): 1.0,
        ("peak memory", "ours", "keras"): 0.8,
        ("peak memory", "ours", "program"): 0.35,
    }
    assert {name for t in ratios.TARGETS for name in (t.ours, t.peer)} <= set(CONTENDERS)


# The page


def test_page():
    products = Products(gflops={"float32": {1024: 100.0, 2048: 210.0}, "bfloat16": {1024: 420.0}})
    of = session(
        round_of(ours=20, keras=40, torch=22).model_copy(update={"products": products}),
        round_of(ours=30, keras=45, torch=36),
        missing={"torch-compile": "torch is not installed"},
    )
    text = page.page(of)
    assert (
        "| Keras `fit` | 42.5 (40.0 to 45.0) | 1.00 (1.00 to 1.00) | 1,000 (1,000 to 1,000) |"
        in text
    )
    assert "| step | Keras `fit` / ours, float32 | 1.75 | " in text
    assert "| 2 | ≥ 1.70 | yes |" in text
    # 1.1 and 1.2: their median reaches 1.15 exactly.
    assert "| step | PyTorch, eager / ours, float32 | 1.15 | " in text
    assert "| 2 | ≥ 1.80 | **no** |" in text  # the evaluation
    assert "| float32 | 210 | 20.0 | 25.0 | 1.25 |" in text
    assert "| bfloat16 | 420 | 10.0 | – | – |" in text
    assert "PyTorch, `torch.compile`: left out, torch is not installed." in text
    assert "A virtual machine, not a laptop." in text
    assert "avx2 (without avx512f, avx512_bf16, amx_tile, amx_bf16)" in text
    assert "30% is reached by TensorFlow's import alone" in text


def test_unknown_hardware(monkeypatch, tmp_path):
    monkeypatch.setattr(hardware, "_CPUINFO", tmp_path / "none")
    description = hardware.describe()
    assert (description.instruction_sets, description.virtual) == (None, None)
    assert description.sentences.endswith(" Instruction sets: not told by the system.")
    assert "laptop" not in description.sentences


def test_instruction_sets_of_the_first_processor(monkeypatch, tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("model name\t: x\nflags\t\t: fpu avx2 avx512f amx_tile\n", encoding="ascii")
    monkeypatch.setattr(hardware, "_CPUINFO", file)
    description = hardware.describe()
    assert description.instruction_sets == ("avx2", "avx512f", "amx_tile")
    assert description.virtual is False


# Rounds


@pytest.fixture
def benchmark(sample: Source, monkeypatch: pytest.MonkeyPatch) -> tuple[peers.Benchmark, list[str]]:
    """A benchmark of contenders with fake answers; one is not installed, one fails."""
    requested: list[str] = []

    def answer(program, task):
        if program == "products.py":
            requested.append("products")
            return Products(gflops={"float32": {1: 1.0}}).model_dump_json()
        requested.append(task.name)
        if task.name == "program":
            raise measured.ContenderError("out of memory")
        return timed(task.name, 5.0).model_dump_json()

    monkeypatch.setattr(peers, "answer", answer)
    monkeypatch.setattr(hardware, "version_of", lambda name: None if name == "torch" else "1")
    return peers.Benchmark(["ours", "keras", "torch", "program", "products"], sample, 75), requested


def test_each_round_begins_with_the_next_contender(benchmark):
    rounds, requested = benchmark
    rounds.warm_up()
    assert requested == ["ours", "keras", "program", "products"]
    assert rounds.missing == {
        "torch": "torch is not installed",
        "program": "it failed: out of memory",
    }
    del requested[:]
    first = rounds.round(0)
    rounds.round(1)
    rounds.round(2)
    assert list(first.timed) == ["ours", "keras"]
    assert first.products is not None
    assert requested == [
        *("ours", "keras", "products"),
        *("keras", "products", "ours"),
        *("products", "ours", "keras"),
    ]


def test_stops_of_a_run(sample):
    task = TimedTask(name="ours", source=sample, threads=1, steps=60, warm_up_steps=10,
                     started_at=0.0)  # fmt: skip
    assert contender._stops(task) == [1, 10, 35, 60]


def test_batches_contain_every_image_once_per_epoch():
    stream = measured.batches(203, seed=1)
    first, second = (list(itertools.islice(stream, 4)) for _ in "ab")
    for epoch in (first, second):
        chosen = {int(index) for batch in epoch for index in batch}
        assert len(chosen) == 200
        assert chosen <= set(range(203))
    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in second]


def test_our_contender_in_a_process(sample):
    task = TimedTask(name="ours", source=sample, threads=1, steps=50, warm_up_steps=5,
                     started_at=0.0)  # fmt: skip
    run = Timed.model_validate_json(measured.answer("contender.py", task))
    assert run.name == "ours"
    assert len(run.chunk_milliseconds) == 2
    assert list(run.evaluation_seconds) == ["its own"]
    assert run.test_accuracy > 0.5
    assert run.peak_rss_bytes is None or run.peak_rss_bytes >= (run.import_peak_rss_bytes or 0)


def test_error_message_of_a_failed_process(sample):
    task = TimedTask(name="nobody", source=sample, threads=1, steps=1, warm_up_steps=1,
                     started_at=0.0)  # fmt: skip
    with pytest.raises(measured.ContenderError, match="KeyError: 'nobody'"):
        measured.answer("contender.py", task)


# Equivalence


def test_n_is_the_smallest_with_sufficient_power():
    deviation = equivalence.DEVIATION
    n = equivalence.seeds_needed(deviation)
    assert n == 19
    random = stats.norm(scale=deviation)
    draws = random.rvs((2, 20_000, n), random_state=1)
    error = (draws.var(axis=2, ddof=1).sum(axis=0) / n) ** 0.5
    reach = stats.t.ppf(0.95, 2 * (n - 1)) * error
    within = abs(draws[0].mean(axis=1) - draws[1].mean(axis=1)) + reach < equivalence.MARGIN
    assert within.mean() == pytest.approx(equivalence._power(n, deviation), abs=0.01)
    assert equivalence._power(n - 1, deviation) < 0.9 <= equivalence._power(n, deviation)


def test_at_least_ten_seeds():
    assert equivalence.seeds_needed(1e-5) == equivalence.MIN_SEEDS == 10


def test_difference_with_welchs_interval():
    ours, keras = [0.984, 0.985, 0.986], [0.983, 0.987, 0.985, 0.9825]
    got = equivalence.difference(ours, keras)
    variances = [statistics.variance(v) / len(v) for v in (ours, keras)]
    freedom = sum(variances) ** 2 / sum(
        v**2 / (len(of) - 1) for v, of in zip(variances, (ours, keras), strict=True)
    )
    half = stats.t.ppf(0.95, freedom) * sum(variances) ** 0.5
    assert got.mean == pytest.approx(0.985 - 0.984375)
    assert (got.low, got.high) == pytest.approx((got.mean - half, got.mean + half))


def test_equivalence_margin():
    assert equivalence.Difference(0.0, -0.0019, 0.0019).equivalent
    assert not equivalence.Difference(0.0, -0.0019, 0.0020).equivalent
    assert not equivalence.Difference(0.0, -0.0020, 0.0019).equivalent


def trained(program: str, seed: int, accuracy: float) -> Trained:
    return Trained(program=program, seed=seed, dataset="mnist", max_test_accuracy=accuracy,
                   final_test_accuracy=accuracy)  # fmt: skip


def test_page_of_equivalence():
    runs = [trained(p, s, 0.984 + s / 1e4) for p in ("keras", "ours") for s in range(20)]
    runs.append(trained("ours-bfloat16", 0, 0.9))  # one alone has no spread
    text = equivalence.page(runs, "a machine")
    assert (
        "| ours, float32 | 20 | 0.98495 | 0.00059 | +0.00000 | -0.00032 to +0.00032 | yes |" in text
    )
    assert "bfloat16 |" not in text
    assert "equivalence.py --data DIR`" in text
    some = equivalence.page(runs[:-1], "a machine")
    assert "equivalence.py --data DIR --program keras --program ours`" in some


def test_only_missing_trainings_run(sample, monkeypatch, tmp_path):
    requested: list[tuple[str, int]] = []

    def answer(program, task):
        requested.append((task.name, task.seed))
        curves = measured.Curves(
            name=task.name,
            seed=task.seed,
            test_accuracies=((0.5, 0.9, 0.8),),
            row_seconds=(1.0,),
            peak_rss_bytes=None,
        )
        return curves.model_dump_json()

    monkeypatch.setattr(equivalence, "answer", answer)
    monkeypatch.setattr(equivalence, "LINES", tmp_path / "lines.jsonl")
    equivalence.train(("keras", "ours"), 1, None)
    equivalence.train(("keras", "ours"), 2, None)
    assert requested == [("keras", 0), ("ours", 0), ("keras", 1), ("ours", 1)]
    first = equivalence.read()[0]
    assert (first.max_test_accuracy, first.final_test_accuracy) == (0.9, 0.8)


# All of Table I


def test_page_of_table_1():
    runs = [("ours", 40.0), ("ours-bfloat16", 30.0), ("program", 100.0), ("ours", 44.0),
            ("ours-bfloat16", 26.0)]  # fmt: skip
    text = whole.page(
        WholeSession(
            command="python benchmarks/peers/whole.py --data DIR",
            date="2026-01-02",
            hardware=Hardware(name="a machine", instruction_sets=None, virtual=None),
            versions={"tensorflow": "2.21.0"},
            dataset="mnist",
            rows=(1_000, 2_500),
            runs=tuple(
                Whole(way=way, seconds=seconds, peak_rss_bytes=512 * MIB,
                      row_seconds=(30.0, 70.0) if way == "program" else None)
                for way, seconds in runs
            ),
        )
    )  # fmt: skip
    assert "| `mnist-bench run`, float32 | 40.0, 44.0 | 0.420 | 0.45 | yes | 512 MiB |" in text
    assert "| 30.0, 26.0 | 0.280 | 0.25 | **no** | 512 MiB |" in text
    assert "| the paper's program | 100.0 | – | – | – | 512 MiB |" in text
    assert "30.0, 70.0 s" in text


# What is committed


@pytest.mark.parametrize(
    ("data", "page_of", "page_name"),
    [
        ("peers.json", lambda text: page.page(Session.model_validate_json(text)), "README.md"),
        ("whole.json", lambda text: whole.page(WholeSession.model_validate_json(text)), "whole.md"),
    ],
)
def test_committed_pages_are_current(data, page_of, page_name):
    text = (FOLDER / data).read_text(encoding="utf-8")
    assert (FOLDER / page_name).read_text(encoding="utf-8") == page_of(text)


def without_machine(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("Machine: ")]


def test_committed_page_of_equivalence_is_current():
    text = equivalence.page(equivalence.read(), "")
    assert without_machine(equivalence.PAGE.read_text(encoding="utf-8")) == without_machine(text)
