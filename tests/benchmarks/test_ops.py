"""benchmarks/peers/ops: which operation an event is, what it could be at least, and the page."""

from __future__ import annotations

from pathlib import Path

import ops
import pytest
from factories import operations_profile
from hardware import Hardware
from measured import STEP_GFLOP
from ops import OpsSession

from mnist_bench.scenarios import paper

FOLDER = Path(ops.__file__).parent


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ("while/body/_1/while/Conv2D_1:_MklNativeConv2D", "Conv2D"),
        ("while/body/_1/while/Relu_2:_MklNativeFusedMatMul", "MatMul"),
        ("while/body/_1/while/Relu_2:_FusedMatMul", "MatMul"),
        ("while/body/_1/while/MatMul_5:_MklMatMul", "MatMul"),
        ("while/body/_1/gradient_tape/while/MaxPoolGrad:_MklNativeMaxPoolGrad", "MaxPoolGrad"),
        ("while/body/_1/while/ResourceApplyAdam_4:ResourceApplyAdam", "ResourceApplyAdam"),
        ("EagerLocalExecute: __inference__loop_567", ""),
        ("ExecutorState::Process", ""),
    ],
)
def test_kind_of_event(event: str, kind: str) -> None:
    assert ops.kind_of(event) == kind


def test_lower_bounds_of_operations() -> None:
    of = operations_profile()
    # The second convolution, backward: 50 images, 14 × 14 places, 5 × 5 × 32 by 64 products.
    assert of.floor_milliseconds("Conv2DBackpropInput") == pytest.approx(10.0352)
    # Four arrays of float32 read and three written, for each parameter.
    assert of.floor_milliseconds("ResourceApplyAdam") == pytest.approx(9.168975)
    assert of.floor_milliseconds("MaxPool") is None


def test_arithmetic_of_a_step() -> None:
    assert sum(ops.STEP_MFLOP.values()) / 1000 == pytest.approx(STEP_GFLOP, rel=0.03)
    assert ops.STEP_BYTES["ResourceApplyAdam"] == 28 * paper.PARAMETER_COUNT


def test_page() -> None:
    session = OpsSession(
        command="python benchmarks/peers/ops.py --data DIR",
        date="2026-01-02",
        hardware=Hardware(name="a machine", instruction_sets=("avx2",), virtual=False),
        tensorflow="2.21.0",
        profiles=(operations_profile(Conv2DBackpropInput=12.0, MaxPool=7.9, Cast=0.1),),
    )
    lines = ops.page(session).splitlines()
    assert "| Conv2DBackpropInput | 12.00 | 10.04 | 1.96 |" in lines
    assert "| MaxPool | 7.90 | – | 7.90 |" in lines
    assert "| all others | 0.10 | – | 0.10 |" in lines  # below a hundredth
    assert "| together | 20.00 | 10.04 | 9.96 |" in lines
    assert any("100 GFLOP/s; copies: 10.0 GB/s" in line for line in lines)


def test_committed_page_is_current() -> None:
    session = OpsSession.model_validate_json((FOLDER / "ops.json").read_text(encoding="utf-8"))
    assert (FOLDER / "ops.md").read_text(encoding="utf-8") == ops.page(session)
