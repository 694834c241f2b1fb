"""Golden reports of hand-made results: files, the screen, and a report of everything."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories import (
    LAYER_MAPS,
    REPORT_SUFFIXES,
    combined_report,
    confirmed_study,
    full_report,
    printed_table,
    report_section,
    seeds,
    smoke_report,
    study_document,
    threads_report,
)
from golden import assert_golden

from mnist_bench.reporting.files import write_reports
from mnist_bench.reporting.markdown import report_to_markdown, study_to_markdown
from mnist_bench.reporting.model import ReportSection
from mnist_bench.reporting.terminal import print_summary


@pytest.mark.parametrize(
    ("name", "report"),
    [("full", full_report()), ("smoke", smoke_report()), ("threads", threads_report())],
)
def test_files_are_golden(name: str, report: ReportSection, tmp_path: Path) -> None:
    written = write_reports(tmp_path / "reports", name, report)
    assert [path.name for path in written] == [f"{name}{suffix}" for suffix in REPORT_SUFFIXES]
    assert sorted((tmp_path / "reports").iterdir()) == sorted(written)
    for path in written[1:]:  # the page has its own tests
        assert_golden(path.name, path.read_bytes().decode())


@pytest.mark.parametrize("width", [60, 80, 160])
def test_screen_is_golden(width: int) -> None:
    assert_golden(f"screen-{width}.txt", _without_padding(printed_table(full_report(), width)))


@pytest.mark.parametrize(
    ("name", "report"),
    [("full", full_report()), ("smoke", smoke_report()), ("threads", threads_report())],
)
def test_end_of_a_run_is_golden(name: str, report: ReportSection) -> None:
    assert_golden(f"end-{name}.txt", _without_padding(printed_table(report, 80, print_summary)))


def test_screen_of_threads_is_golden() -> None:
    assert_golden("screen-threads.txt", _without_padding(printed_table(threads_report(), 100)))


def test_combined_report_is_golden() -> None:
    runs = [*seeds(1_000, 0.985, 0.986, 0.987), *seeds(10_000, 0.992, 0.993, 0.994)]
    report = combined_report(report_section(runs), layers=LAYER_MAPS, studies=(study_document(),))
    assert_golden("book.md", report_to_markdown(report))


def test_study_report_is_golden() -> None:
    assert_golden(
        "study.md", study_to_markdown(confirmed_study(), "2026-01-31", ["mine.history.png"])
    )


def _without_padding(text: str) -> str:
    """As editors keep files: no blanks at a line's end."""
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())
