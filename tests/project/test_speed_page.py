"""docs/speed.md and README.md show values from the benchmarks' data."""

from __future__ import annotations

import os
import re
from pathlib import Path

import bounds
import pytest
import ratios
from factories import operations_profile
from measured import Session
from ops import OpsSession

PEERS = Path(bounds.__file__).parent
ROOT = PEERS.parent.parent
AGAINST = (
    ("Keras `fit`", "keras", "keras"),
    ("PyTorch", "torch", "torch-bfloat16"),
    ("the paper's program", "program", None),
)


@pytest.fixture(scope="module")
def session() -> Session:
    return Session.model_validate_json((PEERS / "peers.json").read_text(encoding="utf-8"))


def assert_shown(page: Path, name: str, generated: str) -> None:
    """Check the text between two marks of a page."""
    between = re.compile(rf"(?<=<!-- {name}:begin -->\n).*?(?=<!-- {name}:end -->)", re.DOTALL)
    text = page.read_text(encoding="utf-8")
    if os.environ.get("MNIST_BENCH_RENEW_GOLDEN"):
        text = between.sub(lambda _: generated, text)
        page.write_text(text, encoding="utf-8", newline="\n")
    found = between.search(text)
    assert found is not None
    assert found[0] == generated


def test_documented_bounds_are_current(session: Session) -> None:
    ops = OpsSession.model_validate_json((PEERS / "ops.json").read_text(encoding="utf-8"))
    assert_shown(ROOT / "docs" / "speed.md", "bounds", bounds.table(session, ops))


def test_readme_ratios_are_current(session: Session) -> None:
    def shown(figure: str, ours: str, peer: str | None) -> str:
        found = [t for t in ratios.TARGETS if (t.figure, t.ours, t.peer) == (figure, ours, peer)]
        ratio = ratios.ratio(session, found[0]) if found else None
        return f"{ratio.median:.2f}" if ratio else "–"

    lines = [
        "| time ÷ ours | one step | one evaluation | one step, ours in bfloat16 |",
        "|---|---:|---:|---:|",
        *(
            f"| {title} | {shown('step', 'ours', peer)} | {shown('evaluation', 'ours', peer)} "
            f"| {shown('step', 'ours-bfloat16', coarse)} |"
            for title, peer, coarse in AGAINST
        ),
    ]
    assert_shown(ROOT / "README.md", "speed", "\n".join(lines) + "\n")


def test_least_seconds() -> None:
    # 4.1025 GFLOP at 100 GFLOP/s and 91.7 MB at 10 GB/s, on two threads.
    step = bounds.least_seconds(operations_profile(), "step", 2)
    assert step == pytest.approx((0.0410245 + 0.0091690) / 2, rel=1e-4)
    # 27.8 MFLOP for each of 10,000 images.
    scoring = bounds.least_seconds(operations_profile(), "evaluation", 1)
    assert scoring == pytest.approx(2.777, rel=1e-3)
