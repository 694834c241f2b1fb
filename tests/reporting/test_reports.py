"""Reports of hand-made results, beyond what contract/test_reports.py compares with golden files."""

from __future__ import annotations

import csv
import io
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from factories import (
    evaluations,
    full_report,
    machine,
    printed_table,
    report_section,
    run,
    seeds,
    smoke_report,
    table_report,
    threads_report,
)

from mnist_bench.analysis.system_state import SystemState
from mnist_bench.core import files
from mnist_bench.core.escaping import code, csv_cell, markdown, one_line
from mnist_bench.reporting import csv as csv_files
from mnist_bench.reporting.csv import rows_csv, runs_csv
from mnist_bench.reporting.files import render
from mnist_bench.reporting.json import to_json
from mnist_bench.reporting.markdown import section_to_markdown
from mnist_bench.reporting.model import Report, ReportSection
from mnist_bench.reporting.terminal import print_summary
from mnist_bench.reporting.text import disturbances, score, surroundings, unfinished
from mnist_bench.results.document import Document
from mnist_bench.results.run_summary import summarise


def outputs(section: ReportSection) -> tuple[str, str]:
    """The report on a wide terminal and as Markdown."""
    return printed_table(section, 250), section_to_markdown(section)


# The screen


@pytest.mark.parametrize("width", [60, 80, 100, 160, 250])
@pytest.mark.parametrize(
    ("section", "cells"),
    [
        (
            full_report(),
            ("exceeds", "reproduced", "below", "0.9900", "0.9888", "0.9851", "0.9933"),
        ),
        (threads_report(), ("Speed-up", "1.75 ± 0.35", "62.5%")),
    ],
    ids=["table-1", "threads"],
)
def test_terminal_shows_what_matters_at_any_width(
    section: ReportSection, cells: tuple[str, ...], width: int
) -> None:
    shown = printed_table(section, width)
    assert max(map(len, shown.splitlines())) <= width
    assert [cell for cell in cells if cell not in shown] == []


def test_wide_terminal_has_every_column() -> None:
    shown = printed_table(full_report(), 250)
    for header in ("Paper's step", "Difference", "95% interval", "Images/s", "Peak RSS", "label"):
        assert header in shown


def test_recorded_text_does_not_control_the_terminal() -> None:
    failed = run(status="failed", failure="[red]\x1b[2J\rgone[/red]")
    shown = printed_table(table_report([failed]), 160)
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert "[red][2J gone[/red]" in shown


def test_score_of_a_whole_table_1() -> None:
    """Runs at 0.02 s a step are as fast as the reference of the factory; 0.016 s is 1.25 of it."""
    whole = [
        run(steps, 0.99, seed, evaluations=evaluations(steps, 0.99, seconds=0.016 + seed / 1e6),
            verdict="clean" if seed else "suspect")
        for seed in range(3) for steps in (1_000, 2_500, 5_000, 10_000)
    ]  # fmt: skip
    section = report_section(whole)
    found = re.fullmatch(
        r"This machine: 1.25 of the reference's speed( \(1.25 to 1.25\))?, Table I in 3 min 28 s a "
        r"seed, peak 1,000 MiB, 4 suspect, 8 clean",
        score(section) or "",
    )
    assert found
    assert score(section) in printed_table(section, 250, print_summary)
    assert score(report_section(whole[:3])) is None
    assert score(smoke_report()) is None


def test_without_runs() -> None:
    section = table_report([])
    for text in outputs(section):
        assert "None of Table I's step counts was run" in text
    assert rows_csv(section.rows).count("\n") == runs_csv(section.document.runs).count("\n") == 1


# Several machines


def several_machines() -> ReportSection:
    """Two seeds here and one on another machine with more threads; only these of 1,000 steps."""
    pooled = [
        run(1_000, 0.984, 0),
        run(1_000, 0.985, 1, verdict="suspect", reasons=("steal",)),
        run(1_000, 0.986, 2, machine_id="b" * 32, threads=8, trajectory="there", run_id="there",
            evaluations=evaluations(1_000, 0.986, seconds=0.01), peak_rss_bytes=700 * 2**20,
            verdict="suspect", reasons=("battery",)),
    ]  # fmt: skip
    return table_report([*pooled, run(2_500, 0.988, 0)])


def test_terminal_shows_each_machine_where_several_share_a_row() -> None:
    shown = printed_table(several_machines(), 160)
    assert "1,000 steps: accuracies pooled over 2 machines." in shown
    table = shown.partition("Each machine\n")[2].splitlines()
    assert table[0].split()[:4] == ["Steps", "Machine", "Hardware", "Threads"]
    assert table[1].startswith("1,000  01234567  Imaginary CPU, 2 cores, 16.0 GiB, Linux 6.1")
    assert table[2].split() == [
        *("1,000", "bbbbbbbb", "–", "8", "1", "0", "of", "1"),
        *("10.0", "s*", "5,000*", "700", "MiB"),
    ]
    assert table[3] == ""
    # Disturbances and costs are this machine's.
    assert "not clean, steal: seed 1 (1,000 steps)" in shown
    assert "battery" not in shown
    assert "1 min 10 s inside 2 trainings" in shown
    assert "; 1 training on 1 other machine." in shown.replace("\n", " ").replace("  ", " ")
    narrow = printed_table(several_machines(), 60).partition("Each machine\n")[2].splitlines()
    assert narrow[2].split() == ["1,000", "bbbbbbbb", "1", "10.0", "s*", "5,000*", "700", "MiB"]


def test_invalid_runs_of_another_machine_are_noted() -> None:
    invalid = run(1_000, 0.986, 3, machine_id="b" * 32, verdict="invalid", reasons=("steal",))
    for text in outputs(table_report([*seeds(1_000, 0.984, 0.985), invalid])):
        assert "1,000 steps on bbbbbbbb: time and speed are of invalid runs" in text
        assert "Accuracies pooled over 2 machines." in text


# Notes and explanations

CLEAN_SEEDS = seeds(1_000, 0.985, 0.986, 0.987, verdict="clean")
OTHER_IMAGES = [
    each.model_copy(update={"dataset": "mnist-5k", "trajectory": f"other {each.seed}"})
    for each in seeds(1_000, 0.985, 0.985, 0.985)
]
ODD = {"verdict": "suspect", "reasons": ("steal",)}


@pytest.mark.parametrize(
    ("runs", "present", "absent"),
    [
        ([run(1_000, trajectory="a"), run(2_500, trajectory="b")], "trained from zero", "prefixes"),
        ([run()], "shipped reference, n = 10", "**Clean**"),
        ([run()], "Fewer than 3 seeds", "Around the runs"),
        (CLEAN_SEEDS, "**Clean**", "reference"),
        (CLEAN_SEEDS, "3 of 3", "not clean"),
        (seeds(1_000, 0.985, 0.986, 0.987), "prediction interval", "Accuracies keep every"),
        ([*seeds(1_000, 0.98, 0.98, 0.98), *OTHER_IMAGES], "left out: 3 of another protocol",
         "NOT COMPARABLE"),
        ([run(seconds={})], "Every run", "Where the time went"),
        ([run(memory_method="ru_maxrss"), run(seed=1)], "Read by: VmHWM, ru\\_maxrss", "Threads"),
    ],
)  # fmt: skip
def test_markdown_explains_what_occurs(runs: list[Any], present: str, absent: str) -> None:
    text = section_to_markdown(table_report(runs))
    assert present in text
    assert absent not in text


def test_unknown_is_a_dash_never_zero() -> None:
    text = section_to_markdown(
        table_report([run(status="failed", evaluations=(), peak_rss_bytes=None)])
    )
    lines = [line for line in text.splitlines() if line.startswith("| 1,000 | ")]
    assert lines == [
        "| 1,000 | 900 | 0.9840 | 0 | – | – | – | not comparable | – |",
        "| 1,000 | – | – | – | – |",  # time and memory
        "| 1,000 | – | – | – | – |",  # three accuracies
    ]


@pytest.mark.parametrize(
    ("runs", "line"),
    [
        (seeds(1_000, *[0.985] * 10, **ODD), "steal: every run"),
        ([run(**ODD)], "steal: seed 0 (1,000 steps)"),
        ([run(1_000, seed=1, verdict="clean"),
          *(run(steps, 0.98, seed, **ODD) for seed in (0, 2, 3) for steps in (1_000, 2_500))],
         "steal: seeds 0, 2 and 3 (1,000 and 2,500 steps)"),
        ([*(run(seed=seed, **ODD) for seed in range(100)), run(seed=100, verdict="clean")],
         f"steal: seeds {', '.join(map(str, range(20)))} and 80 more (1,000 steps)"),
    ],
    ids=["every", "one", "grouped", "many"],
)  # fmt: skip
def test_disturbances(runs: list[Any], line: str) -> None:
    assert disturbances(summarise(runs)) == [f"not clean, {line}"]


def test_limit_of_unfinished_runs() -> None:
    failed = [run(1_000, seed=seed, status="failed", failure="gone") for seed in range(1_022)]
    lines = unfinished(summarise(failed))
    assert len(lines) == 21
    assert lines[0] == "seed 1002, 1,000 steps: failed (gone)"
    assert lines[-2:] == [
        "seed 1021, 1,000 steps: failed (gone)",
        "and 1,002 more before these, which the .runs.csv has",
    ]
    assert len(unfinished(summarise(failed[:20]))) == 20


def test_no_peak_for_two_methods_in_any_format() -> None:
    section = table_report([run(1_000, 0.985, 0), run(1_000, 0.985, 1, memory_method="ru_maxrss")])
    why = "read by methods that do not compare: VmHWM and ru_maxrss"
    shown, text = outputs(section)
    assert f"1,000 steps: no peak memory: {why}" in shown
    assert f"inside 2 trainings, no peak memory ({why})." in shown
    assert "| 2,500 | – |" in text


def test_system_state_in_words() -> None:
    known = SystemState(
        on_battery=True, governors=("powersave",), logical_cores=8, usable_cores=1.5,
        quota_cores=1.5, clock_mhz_min=2_400.2, clock_mhz_max=2_400.4, temperature_celsius_max=71.0,
    )  # fmt: skip
    (line,) = surroundings(known)
    assert line == (
        "on battery, at least for a time, governor powersave, 1.5 of 8 logical cores usable, "
        "limit on processor time 1.5 cores, clock 2,400 MHz, up to 71 °C"
    )
    (line,) = surroundings(SystemState(None, (), None, None, None, None, None, None))
    assert line == (
        "not available on this system: power source, frequency governor, usable cores, clock, "
        "temperature"
    )


def test_different_bases_are_named_with_their_steps() -> None:
    short = [run(500, threads=count) for count in (2, 4)]
    long = [run(1_000, threads=count) for count in (1, 2)]
    shown = printed_table(table_report([*short, *long]), 160)
    assert "1,000 steps: speed-up and efficiency are against 1 thread\n" in shown
    assert "500 steps: speed-up and efficiency are against 2 threads\n" in shown


# Escaping

EVIL = "a|b <script>x</script> & `c` *d* _e_ [f](http://g) \\ \n# h \x1b[31m \u202e ~~$i$"


def test_recorded_text_is_escaped_in_markdown() -> None:
    section = table_report(
        [run(status="failed", failure=EVIL, run_id=EVIL, dataset=EVIL, memory_method=EVIL)],
        title=EVIL, scenario=EVIL, command=f"mnist-bench run '{EVIL}' ```",
        on_machine=machine(cpu=EVIL),
    )  # fmt: skip
    plain, code_blocks = re.subn(r"````console\n.*\n````\n", "", section_to_markdown(section))
    assert code_blocks == 1
    for bare in ("<script", "`c`", "[f](", "\x1b", "\u202e", " *d*", " _e_", "a|b", "$i$", "\n# h"):
        assert bare not in plain, bare
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in plain.splitlines() if line[:1] == "|"}
    assert widths == {10, 6, 12}  # no line has more cells than its header


def test_escaping() -> None:
    assert markdown("<b>|_\n") == r"&lt;b&gt;\|\_"
    # GitHub turns bare addresses into links.
    escaped = markdown("https://evil.example WWW.evil.example me@evil.example at 12:30")
    assert escaped == "https&#58;//evil.example WWW&#46;evil.example me&#64;evil.example at 12:30"
    # A code block can't be closed by its text.
    assert code("a\n```\nb") == "````console\na ``` b\n````"
    assert one_line("a\u2028b\x00\ud800c") == "a bc"


FORMULAS = (
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "\x00=1", "\u200b=1", "\uff1d1",
    "\ttext", "=cmd|' /C calc'!A0",
)  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
def test_csv_escapes_formulas(text: str) -> None:
    section = table_report([run(status="failed", failure=text, scenario=text)])
    sheet = io.StringIO(runs_csv(section.document.runs), newline="")
    (line,) = csv.DictReader(sheet)
    assert line["failure"] == line["scenario"] == f"'{one_line(text)}"
    assert sheet.getvalue().count("\n") == 2  # one line a run


@pytest.mark.parametrize("text", ["", "plain", "a=b", "0.98", 'with "quotes", and; more', "a-b"])
def test_csv_keeps_other_text(text: str) -> None:
    assert csv_cell(text) == text


def test_csv_cells_of_numbers_and_run_ids() -> None:
    section = full_report()
    lines = list(csv.DictReader(io.StringIO(rows_csv(section.rows))))
    for line, row in zip(lines, section.rows, strict=True):
        assert float(line["mean"]) == row.mean
        assert line["sd"] == ("" if row.sd is None else repr(row.sd))
        assert line["run_ids"].split() == list(row.run_ids)
        assert float(line["difference"]) == row.difference  # a negative number is no formula
    text = rows_csv(table_report([run(run_id="=HYPERLINK(1)")]).rows)
    assert "'=HYPERLINK(1)" in text


# JSON and large reports


@pytest.mark.parametrize("section", [full_report(), smoke_report(), table_report([])])
def test_json_pieces_equal_the_documents_json(section: ReportSection) -> None:
    tricky = section.document.model_copy(update={"machine": machine(cpu='\n  "runs": [] \u2028')})
    for document in (section.document, tricky):
        text = to_json(document)
        assert text == document.model_dump_json(indent=2, ensure_ascii=True) + "\n"
        assert Document.model_validate_json(text) == document


def test_report_of_many_runs_is_written_piecewise(tmp_path: Path) -> None:
    document = full_report().document
    many = document.model_copy(update={"runs": document.runs * 200})
    report = Report(title="", command="", created="", document=many, sections=())
    files.write(tmp_path, "before", render(report, ("json",)).files)  # imports before measuring
    tracemalloc.start()
    try:
        (json_file,) = files.write(tmp_path, "many", render(report, ("json",)).files)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert json_file.stat().st_size > 2_000_000
    assert peak < 200_000


def test_pieces_of_a_long_csv_are_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = summarise([run(seed=seed) for seed in range(7)])
    whole = runs_csv(runs)
    assert whole.count("\n") == 8
    monkeypatch.setattr(csv_files, "_LINES", 3)
    assert len(list(csv_files.runs_lines(runs))) == 3
    assert runs_csv(runs) == whole
