"""The picture of a result: what is on it, its size, and hostile text."""

from __future__ import annotations

import dataclasses
import struct
from xml.etree import ElementTree as ET

import pytest
from factories import EVIL_TEXT, combined_report, machine, report_section, run, seeds, smoke_report
from matplotlib.figure import Figure

from mnist_bench.core.errors import BenchError
from mnist_bench.reporting.card import card_files
from mnist_bench.reporting.model import Report

TABLE_1 = combined_report(
    report_section([*seeds(1_000, 0.985, 0.986, 0.987), *seeds(10_000, 0.98, 0.9801, 0.9799)])
)
EVIL = "$\\frac{$ <b> & 漢 \u202e" + "W" * 300


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that is written on a figure."""
    written: list[str] = []
    write = Figure.text

    def remembered(self: Figure, x: float, y: float, s: str, **style: object) -> object:
        written.append(s)
        return write(self, x, y, s, **style)

    monkeypatch.setattr(Figure, "text", remembered)
    return written


def pictures(report: Report) -> tuple[bytes, bytes]:
    svg, png = (b"".join(file.chunks) for file in card_files(report))
    return svg, png


def test_card_of_table_1(texts: list[str]) -> None:
    svg, png = pictures(TABLE_1)
    assert texts[:2] == ["Table I, 1 of 2 reproduced, 1 below", "Imaginary CPU, 2 cores, 16 GiB"]
    for text in (
        "0.9840", "0.9860 ± 0.00100", "reproduced", "0.9928", "0.9800 ± 0.00010", "below",
        "1,000 MiB", "1.00×", "The paper: J. Rich, 2018, Table I",
        "mnist-bench 0.1.0 · TensorFlow 2.21.0 · 3 seeds · 2026-01-31",
    ):  # fmt: skip
        assert text in texts
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", png[16:24]) == (1_200, 630)
    assert (svg, png) == pictures(TABLE_1), "the same result gives the same bytes"


def test_card_without_table_1_is_of_the_newest_scenario(texts: list[str]) -> None:
    failed = report_section([run(status="failed", evaluations=(), scenario="failed")], "failed")
    pictures(combined_report(failed, smoke_report()))
    assert texts[0] == "A quick look"
    assert {"0.9090", "final test accuracy after 200 steps, mnist-5k"} <= set(texts)


def test_hostile_text_is_text(texts: list[str]) -> None:
    report = combined_report(report_section([run(dataset=EVIL, scenario=EVIL)], EVIL, EVIL_TEXT))
    document = report.document.model_copy(update={"machine": machine(cpu=EVIL)})
    svg, _ = pictures(dataclasses.replace(report, document=document))
    element = ET.fromstring(svg)
    assert next(iter(element)).tag.endswith("}title")
    assert b"<script" not in svg
    assert b'href="http' not in svg
    assert max(map(len, texts)) <= 110
    assert not any("\u202e" in text for text in texts)


def test_no_card_without_a_finished_run() -> None:
    failed = report_section([run(status="failed", evaluations=())])
    with pytest.raises(BenchError, match="--card: no run of a scenario has finished"):
        card_files(combined_report(failed))
