"""docs/measuring.md documents the thresholds in use."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mnist_bench.measurement import quality
from mnist_bench.measurement.quality import Threshold

PAGE = Path(__file__).parents[2] / "docs" / "measuring.md"
BETWEEN = re.compile(r"(?<=<!-- thresholds:begin -->\n).*?(?=<!-- thresholds:end -->)", re.DOTALL)


def line(limits: Threshold) -> str:
    invalid = "–" if limits.invalid is None else limits.shown(limits.invalid)
    return f"| {limits.words} | {limits.figure} | {limits.shown(limits.suspect)} | {invalid} |\n"


def thresholds() -> str:
    head = "| reason | figure | suspect from | invalid from |\n|---|---|---|---|\n"
    return head + "".join(map(line, quality.THRESHOLDS))


def test_documented_thresholds_are_current():
    page = PAGE.read_text(encoding="utf-8")
    if os.environ.get("MNIST_BENCH_RENEW_GOLDEN"):
        page = BETWEEN.sub(lambda _: thresholds(), page)
        PAGE.write_text(page, encoding="utf-8", newline="\n")
    found = BETWEEN.search(page)
    assert found is not None
    assert found[0] == thresholds()


def test_known_errors_match_the_tables():
    section = (
        PAGE.read_text(encoding="utf-8").partition("## Known errors\n")[2].partition("\n## ")[0]
    )
    figures = re.findall(r"[+-]?\d+\.\d+%", section)
    benchmarks = PAGE.parent.parent / "benchmarks"
    tables = ("trust/rates.md", "trust/memory.md", "overhead/table.md")
    measured = "".join((benchmarks / name).read_text(encoding="utf-8") for name in tables)
    assert len(figures) >= 12
    assert [figure for figure in figures if figure not in measured] == []


def test_every_reason_is_documented():
    page = PAGE.read_text(encoding="utf-8")
    words = {limits.words for limits in quality.THRESHOLDS}
    assert len(words) == len(quality.THRESHOLDS)
    for reason in words | {"on battery", "limited cores", "not exclusive"}:
        assert reason in page, reason
        assert "," not in reason
