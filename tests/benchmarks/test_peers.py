"""benchmarks/peers: ratios, targets, lower bounds, and a contender in a process."""

from __future__ import annotations

from typing import Any

import common
import equivalence
import ops
import pandas as pd
import peers
import pytest
from contenders import Task
from peers import Target
from scipy import stats

from mnist_bench.data.dataset import Source
from mnist_bench.scenarios import paper

MIB = 2**20


def timed(name: str, step: float) -> dict[str, Any]:
    """A run whose median chunk is `step` milliseconds."""
    return {
        "name": name,
        "settings": f"{name}'s settings",
        "chunk_milliseconds": [step, step + 9, step - 1],
        "evaluation_seconds": {"32 at once": [2.0, 4.0], "500 at once": [1.0, 1.0]},
        "peak_rss_bytes": 1_000 * MIB,
        "import_peak_rss_bytes": 300 * MIB,
        "first_step_seconds": 4.0,
        "test_accuracy": 0.91,
    }


def document(*rounds: dict[str, float]) -> common.Document:
    timed_rounds = [{name: timed(name, step) for name, step in one.items()} for one in rounds]
    return {"rounds": [{"timed": one} for one in timed_rounds]}


@pytest.mark.parametrize(
    ("target", "value", "n"),
    [
        (Target("step", "ours", "keras", 1.7), 1.75, 2),  # in the rounds in which both ran
        (Target("peak memory", "ours", "keras", None), 0.25, 2),  # ours by theirs
    ],
)
def test_ratios(target: Target, value: float, n: int) -> None:
    of = document({"ours": 20, "keras": 40}, {"ours": 10, "keras": 15}, {"keras": 9})
    for one in of["rounds"][:2]:
        one["timed"]["ours"]["peak_rss_bytes"] = 250 * MIB
    found = peers.ratio(peers.frame_of(of), target)
    assert found is not None
    assert (found.value, found.n) == (value, n)
    assert peers.ratio(peers.frame_of(of), Target("step", "ours", "torch", None)) is None


def test_a_failing_contender_is_left_out(sample: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[str] = []

    def answer(_program: object, task: str) -> dict[str, Any]:
        requested.append(name := Task.model_validate_json(task).name)
        if name == "program":
            raise common.ProgramError("out of memory")
        return timed(name, 5.0)

    monkeypatch.setattr(common, "answer", answer)
    monkeypatch.setattr(peers.mnist, "find", lambda *_, **__: sample)
    monkeypatch.setattr(common, "version_of", lambda name: None if name == "torch" else "1")
    options = peers.argparse.Namespace(
        data=None, only=["ours", "keras", "torch", "program"], repeats=2, steps=75
    )
    found = peers.measure(options)
    assert requested == ["ours", "keras", "program", "ours", "keras", "keras", "ours"]
    assert found["missing"] == {
        "torch": "torch is not installed", "program": "it failed: out of memory"
    }  # fmt: skip
    assert [list(one["timed"]) for one in found["rounds"]] == [["ours", "keras"], ["keras", "ours"]]
    assert "PyTorch, eager: left out, torch is not installed." in peers.page(found)


def test_our_contender_in_a_process(sample: Source) -> None:
    task = Task(name="ours", source=sample, threads=1, steps=50, warm_up_steps=5)
    run = common.answer(peers.PROGRAM, task.model_dump_json())
    assert run["name"] == "ours"
    assert len(run["chunk_milliseconds"]) == 2
    assert list(run["evaluation_seconds"]) == ["its own"]
    assert run["test_accuracy"] > 0.5
    assert run["peak_rss_bytes"] is None or run["peak_rss_bytes"] >= run["import_peak_rss_bytes"]


# Equivalence


def test_the_declared_number_of_seeds_is_the_smallest_with_sufficient_power() -> None:
    def power(n: int) -> float:
        draws = stats.norm(scale=equivalence.DEVIATION).rvs((2, 40_000, n), random_state=1)
        error = (draws.var(axis=2, ddof=1).sum(axis=0) / n) ** 0.5
        reach = stats.t.ppf(0.95, 2 * (n - 1)) * error
        within = abs(draws[0].mean(axis=1) - draws[1].mean(axis=1)) + reach < equivalence.MARGIN
        return float(within.mean())

    assert power(equivalence.SEEDS - 1) < 0.9 <= power(equivalence.SEEDS)


def test_table_of_equivalence() -> None:
    runs = pd.DataFrame(
        {"program": program, "dataset": "mnist", "max_test_accuracy": 0.984 + seed / 1e4}
        for program in ("keras", "ours")
        for seed in range(20)
    )
    text = equivalence.page(runs, "a machine", "python")
    line = "| ours, float32 | 20 | 0.98495 | 0.00059 | +0.00000 | -0.00032 to +0.00032 | yes |"
    assert line in text
    runs.loc[20:, "max_test_accuracy"] += 0.0018
    assert "| +0.00180 | +0.00148 to +0.00212 | **no** |" in equivalence.page(runs, "", "")


# Operations


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ("while/body/_1/while/Conv2D_1:_MklNativeConv2D", "Conv2D"),
        ("while/body/_1/while/Relu_2:_MklNativeFusedMatMul", "MatMul"),
        ("while/body/_1/while/ResourceApplyAdam_4:ResourceApplyAdam", "ResourceApplyAdam"),
        ("EagerLocalExecute: __inference__loop_567", ""),
        ("ExecutorState::Process", ""),
    ],
)
def test_kind_of_event(event: str, kind: str) -> None:
    assert ops.kind_of(event) == kind


def test_lower_bounds_of_operations() -> None:
    floors = ops.floors_of({"product_gflops": 100.0, "copied_bytes_per_second": 10e9})
    # The second convolution, backward: 50 images, 14 × 14 places, 5 × 5 × 32 by 64 products.
    assert floors["Conv2DBackpropInput"] == pytest.approx(10.0352)
    # Four arrays of float32 read and three written, for each parameter.
    assert floors["ResourceApplyAdam"] == pytest.approx(28 * paper.PARAMETER_COUNT / 1e7)
    assert sum(ops.STEP_MFLOP.values()) == pytest.approx(4_102.45)
