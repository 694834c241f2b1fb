"""Reports of hand-made results; contract/test_reports.py compares them with golden files."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import tracemalloc
from pathlib import Path

import pytest
from factories import (
    ADDED_RUN_KEYS,
    REPORT_SUFFIXES,
    ROW_KEYS,
    RUN_KEYS,
    evaluations,
    full_report,
    machine,
    printed_table,
    run,
    seeds,
    smoke_report,
    table_report,
    threads_report,
)

from mnist_bench.analysis.system_state import SystemState
from mnist_bench.core import files
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.core.escaping import code, csv_cell, markdown, one_line
from mnist_bench.reporting import csv as csv_files
from mnist_bench.reporting.csv import rows_csv, runs_csv
from mnist_bench.reporting.files import render, write_reports
from mnist_bench.reporting.json import to_json
from mnist_bench.reporting.markdown import section_to_markdown
from mnist_bench.reporting.model import Report, ReportSection
from mnist_bench.reporting.text import disturbances, surroundings, unfinished
from mnist_bench.results.document import Document
from mnist_bench.results.run_summary import summarise

# The screen


@pytest.mark.parametrize("width", [60, 80, 100, 160, 250])
def test_terminal_shows_accuracies_and_verdicts_at_any_width(width: int) -> None:
    shown = printed_table(full_report(), width)
    assert max(map(len, shown.splitlines())) <= width
    table = shown.split("Selected")[0]
    for text in ("exceeds", "indistinguishable", "below", "0.9900", "0.9888", "0.9851", "0.9933"):
        assert text in table, text


def test_wide_terminal_has_every_column() -> None:
    shown = printed_table(full_report(), 250)
    for header in ("Paper's step", "Difference", "95% interval", "Images/s", "Peak RSS", "label"):
        assert header in shown


def test_eighty_columns_show_time_and_memory() -> None:
    header = next(
        line for line in printed_table(full_report(), 80).splitlines() if "Verdict" in line
    )
    assert "Train time" in header
    assert "Peak RSS" in header


def test_terminal_shows_failures_and_other_images() -> None:
    assert "seed 1, 10,000 steps: failed (worker ended by signal 9)" in printed_table(
        full_report(), 160
    )
    shown = printed_table(smoke_report(), 160)
    assert "NOT COMPARABLE with Table I: other images than the full MNIST (mnist-5k)" in shown
    assert "Table I has no row of 200 steps; other images: mnist-5k" in shown


def test_recorded_text_does_not_control_the_terminal() -> None:
    shown = printed_table(
        table_report([run(status="failed", failure="[red]\x1b[2J\rgone[/red]")]), 160
    )
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert "[red][2J gone[/red]" in shown


def test_without_runs() -> None:
    section = table_report([])
    assert "None of Table I's step counts was run" in printed_table(section, 80)
    assert "None of Table I's step counts was run" in section_to_markdown(section)
    assert rows_csv(section.rows).count("\n") == runs_csv(section.document.runs).count("\n") == 1


def several_machines() -> ReportSection:
    """Two seeds here and one on another machine with more threads; only these of 1,000 steps."""
    there = "b" * 32
    pooled = [
        run(1_000, 0.984, 0),
        run(1_000, 0.985, 1, verdict="suspect", reasons=("steal",)),
        run(1_000, 0.986, 2, machine_id=there, threads=8, trajectory="there", run_id="there",
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
        *("1,000", "bbbbbbbb", "–", "8", "1", "0", "of", "1", "10.0", "s", "5,000", "700", "MiB")
    ]
    assert table[3] == ""
    # Disturbances and costs are this machine's.
    assert "not clean, steal: seed 1 (1,000 steps)" in shown
    assert "battery" not in shown
    assert "1 min 10 s inside 2 trainings" in shown
    assert "; 1 training on 1 other machine." in shown.replace("\n", " ").replace("  ", " ")


def test_narrow_terminal_shows_time_and_memory_of_each_machine() -> None:
    table = printed_table(several_machines(), 60).partition("Each machine\n")[2].splitlines()
    assert table[2].split() == ["1,000", "bbbbbbbb", "1", "10.0", "s", "5,000", "700", "MiB"]


def test_invalid_runs_of_another_machine_are_noted() -> None:
    invalid = run(1_000, 0.986, 3, machine_id="b" * 32, verdict="invalid", reasons=("steal",))
    report = table_report([*seeds(1_000, 0.984, 0.985), invalid])
    for text in (printed_table(report, 160), section_to_markdown(report)):
        assert "1,000 steps on bbbbbbbb: no time, speed and memory, every run is invalid" in text
        assert "Accuracies pooled over 2 machines." in text


def test_one_machine_is_not_mentioned() -> None:
    assert several_machines().document.machine_costs
    for text in (printed_table(full_report(), 160), section_to_markdown(full_report())):
        assert "Each machine" not in text
        assert "pooled" not in text


# Markdown


def test_markdown_has_the_outcome_of_table_1() -> None:
    text = section_to_markdown(full_report())
    assert (
        "of the 4 rows run here: 1 exceeds it, 2 are indistinguishable from it, 1 is below it"
        in text
    )
    cost = "8 min 20 s inside 3 trainings (1 with invalid runs), peak memory 1,000 MiB"
    assert f"cost: {cost}" in text
    assert "its Table I says 0.9888, its running text 0.988" in text
    assert "NOT COMPARABLE" not in text


def test_some_runs_on_other_images_are_noted_with_their_rows() -> None:
    runs = [run(1_000, seed=seed) for seed in range(3)]
    other = [each.model_copy(update={"dataset": "mnist-5k", "trajectory": f"other {each.seed}"})
             for each in runs]  # fmt: skip
    text = section_to_markdown(table_report([*runs, *other]))
    assert "NOT COMPARABLE with Table I" not in text
    assert "left out: 3 of another protocol" in text


def test_markdown_warns_of_other_images() -> None:
    text = section_to_markdown(smoke_report())
    assert "> **NOT COMPARABLE with Table I" in text
    assert "running text 0.988" not in text
    assert "the paper's own 10,000" not in text
    assert "Read by: not known" in text


def test_markdown_says_whether_rows_share_a_training() -> None:
    assert "prefixes of one another" in section_to_markdown(full_report())
    apart = [run(1_000, trajectory="a"), run(2_500, trajectory="b")]
    text = section_to_markdown(table_report(apart))
    assert "trained from zero" in text
    assert "prefixes" not in text


def test_markdown_names_the_reference_only_if_it_was_used() -> None:
    few, many = [run()], seeds(1_000, 0.985, 0.986, 0.987)
    assert "shipped reference, n = 10" in section_to_markdown(table_report(few))
    assert "Fewer than 3 seeds" in section_to_markdown(table_report(few))
    assert "reference" not in section_to_markdown(table_report(many))


def test_unknown_is_a_dash_never_zero() -> None:
    text = section_to_markdown(
        table_report([run(status="failed", evaluations=(), peak_rss_bytes=None)])
    )
    (line,) = [line for line in text.splitlines() if line.startswith("| 1,000 | 900")]
    assert (
        line == "| 1,000 | 900 | 0.9840 | 0 | – | – | – | – | not comparable | – | – | – | – | – |"
    )


EVIL = "a|b <script>x</script> & `c` *d* _e_ [f](http://g) \\ \n# h \x1b[31m \u202e ~~$i$"


def test_bare_addresses_are_escaped() -> None:
    """GitHub turns bare addresses into links."""
    escaped = markdown("https://evil.example WWW.evil.example me@evil.example at 12:30")
    assert escaped == "https&#58;//evil.example WWW&#46;evil.example me&#64;evil.example at 12:30"


def test_recorded_text_is_escaped_in_markdown() -> None:
    section = table_report(
        [run(status="failed", failure=EVIL, run_id=EVIL, dataset=EVIL, memory_method=EVIL)],
        title=EVIL, scenario=EVIL, command=f"mnist-bench run '{EVIL}' ```",
        on_machine=machine(cpu=EVIL),
    )  # fmt: skip
    text = section_to_markdown(section)
    plain = re.sub(r"````console\n.*\n````\n", "", text)
    assert plain != text
    for bare in ("<script", "`c`", "[f](", "\x1b", "\u202e", " *d*", " _e_", "a|b", "$i$", "\n# h"):
        assert bare not in plain, bare
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in plain.splitlines() if line[:1] == "|"}
    assert widths == {15, 6, 12}  # no line has more cells than its header
    assert markdown("<b>|_\n") == r"&lt;b&gt;\|\_"


def test_code_block_can_not_be_closed_by_its_text() -> None:
    assert code("a\n```\nb") == "````console\na ``` b\n````"
    assert one_line("a\u2028b\x00\ud800c") == "a bc"


# Verdicts of runs


LEFT_OUT = "5,000 steps: 1 invalid run left out of time, speed and memory: suspended, other load"
KEPT = "Accuracies keep every finished run"


def test_terminal_and_markdown_note_what_was_left_out() -> None:
    for text in (printed_table(full_report(), 160), section_to_markdown(full_report())):
        assert LEFT_OUT in text
        assert text.count(KEPT) == 1
        assert "not clean, suspended: seed 2 (5,000 and 10,000 steps)" in text
        assert (
            "not clean, other load: seed 1 (2,500 steps), seed 2 (2,500, 5,000 and 10,000 steps)"
            in text
        )


def test_tables_show_verdicts() -> None:
    section = full_report()
    header = next(line for line in printed_table(section, 250).splitlines() if "Train time" in line)
    assert "Clean" in header
    text = section_to_markdown(section)
    assert " | 2 of 3 | " in next(
        line for line in text.splitlines() if line.startswith("| 5,000 | 4,800")
    )
    for verdict in ("clean", "suspect", "invalid"):
        assert re.search(rf"^\| \d \| [\d,]+ \| finished \| {verdict} \|", text, re.MULTILINE)
    assert "| 1 | 10,000 | failed | – |" in text


def test_no_remark_on_clean_runs_and_runs_without_verdict() -> None:
    for changes in ({}, {"verdict": "clean"}):
        section = table_report(seeds(1_000, 0.985, 0.986, 0.987, **changes))
        for text in (printed_table(section, 160), section_to_markdown(section)):
            assert "not clean" not in text
            assert KEPT not in text
    assert "**Clean**" in section_to_markdown(section)
    assert "**Clean**" not in section_to_markdown(table_report([run()]))
    assert "3 of 3" in section_to_markdown(section)


def test_reason_of_every_run_is_one_line() -> None:
    section = table_report(seeds(1_000, *[0.985] * 10, verdict="suspect", reasons=("on battery",)))
    assert "not clean, on battery: every run" in printed_table(section, 80)
    one = table_report([run(verdict="suspect", reasons=("on battery",))])
    assert "not clean, on battery: seed 0 (1,000 steps)" in printed_table(one, 80)


def test_seeds_with_the_same_step_counts_are_grouped() -> None:
    odd = {"verdict": "suspect", "reasons": ("steal",)}
    bad = [run(steps, 0.98, seed, **odd) for seed in (0, 2, 3) for steps in (1_000, 2_500)]
    section = table_report([*bad, run(1_000, 0.98, 1, verdict="clean")])
    assert "not clean, steal: seeds 0, 2 and 3 (1,000 and 2,500 steps)" in printed_table(
        section, 100
    )


def test_no_peak_for_two_methods_in_any_format() -> None:
    section = table_report([run(1_000, 0.985, 0), run(1_000, 0.985, 1, memory_method="ru_maxrss")])
    why = "read by methods that do not compare: VmHWM and ru_maxrss"
    shown = printed_table(section, 250)
    assert "1,000 steps: standard deviation" in shown
    assert f"1,000 steps: no peak memory: {why}" in shown
    assert f"inside 2 trainings, no peak memory ({why})." in shown
    text = section_to_markdown(section)
    assert "| 2,500 | – |" in text
    assert "Read by: VmHWM, ru\\_maxrss" in text


def test_costs_by_phase() -> None:
    text = section_to_markdown(full_report())
    section = text.partition("## Where the time went\n")[2].partition("\n## ")[0]
    assert section.strip().splitlines() == [
        "Mean over 1 training up to step 10,000; peaks are the largest.",
        "",
        "| Phase | Mean time | Peak RSS | Shared |",
        "| --- | ---: | ---: | --- |",
        "| import | 4.0 s | 300 MiB | in 1 of 1 |",
        "| data | 0.50 s | – | in 1 of 1 |",
        "| train | 3 min 20 s | 900 MiB | no |",
        "| evaluate | 3.2 s | – | no |",
    ]
    assert "Where the time went" not in section_to_markdown(table_report([run(seconds={})]))


def test_system_state() -> None:
    text = section_to_markdown(full_report())
    assert (
        "- Around the runs: on mains power, governor performance, 4 of 4 logical cores usable, "
        "clock 2,400 to 3,100 MHz\n"
        "- Around the runs: not told by this system: temperature\n"
    ) in text
    assert "Around the runs" not in section_to_markdown(smoke_report())


def test_system_state_in_words() -> None:
    known = SystemState(
        on_battery=True, governors=("powersave",), logical_cores=8, usable_cores=1.5,
        quota_cores=1.5, clock_mhz_min=2_400.2, clock_mhz_max=2_400.4, temperature_celsius_max=71.0,
    )  # fmt: skip
    assert surroundings(known) == [
        (
            "on battery, at least for a time, governor powersave, 1.5 of 8 logical cores usable, "
            "limit on processor time 1.5 cores, clock 2,400 MHz, up to 71 °C"
        )
    ]
    unknown = SystemState(None, (), None, None, None, None, None, None)
    assert surroundings(unknown) == [
        (
            "not told by this system: power source, frequency governor, usable cores, clock, "
            "temperature"
        )
    ]


# Threads


def test_thread_scaling() -> None:
    text = section_to_markdown(threads_report())
    section = text.partition("## Threads\n")[2].partition("\n## ")[0]
    header, _, *lines = section.strip().splitlines()
    assert "| Train time | Images/s | Speed-up | Efficiency |" in header
    assert lines == [
        "| 500 | 1 | 2 | 2 of 2 | 20.5 s | 1,220 | 1.00 | 100.0% | 1,000 MiB |",
        "| 500 | 2 | 2 | 2 of 2 | 12.0 s | 2,143 | 1.75 ± 0.35 | 87.5% | 1,000 MiB |",
        "| 500 | 4 | 2 | 1 of 2 | 8.0 s | 3,125 | 2.50 | 62.5% | 1,000 MiB |",
        "",
        "- 500 steps: speed-up and efficiency are against 1 thread",
        ("- 500 steps at 4 threads: 1 invalid run left out of time, speed and memory: other load"),
    ]
    assert "**Speed-up** is" in text


@pytest.mark.parametrize("width", [60, 80, 160])
def test_terminal_shows_speedup_at_any_width(width: int) -> None:
    shown = printed_table(threads_report(), width)
    assert max(map(len, shown.splitlines())) <= width
    for cell in ("Speed-up", "1.75 ± 0.35", "62.5%"):
        assert cell in shown, cell
    assert "speed-up and efficiency are against 1 thread" in shown


def test_threads_of_runs_are_shown_if_they_differ() -> None:
    text = section_to_markdown(threads_report())
    assert "| Seed | Steps | Threads | Status |" in text
    assert re.search(r"^\| 1 \| 500 \| 4 \| finished \| invalid \|", text, re.MULTILINE)
    assert "- not clean, other load: seed 1 (500 steps at 4 threads)" in text
    assert "- seed 2, 500 steps at 1 thread: failed (died)" in text
    # Phases are of one thread count: that of the valid run with the most threads.
    assert "Mean over 1 training up to step 500 at 4 threads; peaks are the largest." in text


def test_different_bases_are_named_with_their_steps() -> None:
    short = [run(500, threads=count) for count in (2, 4)]
    long = [run(1_000, threads=count) for count in (1, 2)]
    shown = printed_table(table_report([*short, *long]), 160)
    assert "1,000 steps: speed-up and efficiency are against 1 thread\n" in shown
    assert "500 steps: speed-up and efficiency are against 2 threads\n" in shown


def test_no_scaling_of_one_thread_count() -> None:
    for text in (section_to_markdown(full_report()), printed_table(full_report(), 160)):
        assert "peed-up" not in text
        assert "Threads" not in text
    assert json.loads(to_json(full_report().document))["scaling"] == []


def test_json_has_the_scaling() -> None:
    section = json.loads(to_json(threads_report().document))["scaling"]
    assert [line["threads"] for line in section] == [1, 2, 4]
    assert section[1]["speedup_mean"] == pytest.approx(1.75)
    assert section[2]["speedup_sd"] is None
    assert section[2]["efficiency"] == pytest.approx(0.625)
    assert section[0]["hyperparameters"]["batch_size"] == 50


# CSV


def test_csv_round_trip() -> None:
    section = full_report()
    lines = list(csv.DictReader(io.StringIO(rows_csv(section.rows))))
    assert list(lines[0])[: len(ROW_KEYS)] == ROW_KEYS
    assert [line["verdict"] for line in lines] == [row.verdict for row in section.rows]
    for line, row in zip(lines, section.rows, strict=True):
        assert float(line["mean"]) == row.mean
        assert line["sd"] == ("" if row.sd is None else repr(row.sd))
        assert line["run_ids"].split() == list(row.run_ids)
        assert float(line["difference"]) == row.difference
    assert lines[2]["difference"].startswith("-")  # a number, no formula
    counts = [[line[name] for name in ("clean", "suspect", "invalid", "timed_n")] for line in lines]
    assert counts == [
        ["3", "0", "0", "3"], ["1", "2", "0", "3"], ["2", "0", "1", "2"], ["1", "0", "0", "1"],
    ]  # fmt: skip


def test_runs_csv_round_trip() -> None:
    section = full_report()
    lines = list(csv.DictReader(io.StringIO(runs_csv(section.document.runs))))
    flat = [key for key in RUN_KEYS if key not in {"seconds", "hyperparameters"}]
    assert [key for key in lines[0] if key in flat] == flat
    assert lines[0]["import_seconds"] == "4.0"
    assert lines[0]["trace_seconds"] == lines[0]["reasons"] == ""
    assert lines[0]["verdict"] == "clean"
    assert (lines[8]["verdict"], lines[8]["reasons"]) == ("invalid", "suspended, other load")
    assert lines[-2]["verdict"] == lines[-2]["reasons"] == ""  # no verdict recorded
    assert (lines[9]["train_peak_rss_bytes"], lines[9]["trace_peak_rss_bytes"]) == ("943718400", "")
    assert lines[9]["shared_phases"] == "import, data"
    assert lines[0]["learning_rate"] == "0.001"
    assert lines[-2]["failure"] == "worker ended by signal 9"
    assert len(lines) == len(section.document.runs)


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


def test_run_ids_that_look_like_a_formula() -> None:
    text = rows_csv(table_report([run(run_id="=HYPERLINK(1)")]).rows)
    assert "'=HYPERLINK(1)" in text


# JSON


def test_json_is_the_document() -> None:
    section = full_report()
    text = to_json(section.document)
    assert text.startswith('{\n  "schema": 1,')
    assert text.endswith("}\n")
    assert "NaN" not in text
    assert "Infinity" not in text
    assert Document.model_validate_json(text) == section.document
    document = json.loads(text)
    assert list(document["runs"][0]) == [*RUN_KEYS, *ADDED_RUN_KEYS]
    assert set(ROW_KEYS) <= set(document["table_1"][0])
    assert (document["runs"][0]["verdict"], document["runs"][0]["reasons"]) == ("clean", [])
    assert document["runs"][8]["reasons"] == ["suspended", "other load"]
    assert document["runs"][-2]["verdict"] is document["runs"][-2]["reasons"] is None
    assert document["table_1"][2]["invalid"] == 1


def test_json_file_equals_printed_json(tmp_path: Path) -> None:
    section = full_report()
    *_, path = write_reports(tmp_path, "table-1", section)
    assert path.read_text(encoding="utf-8") == to_json(section.document)


@pytest.mark.parametrize("section", [full_report(), smoke_report(), table_report([])])
def test_json_pieces_equal_the_documents_json(section: ReportSection) -> None:
    tricky = section.document.model_copy(update={"machine": machine(cpu='\n  "runs": [] \u2028')})
    for document in (section.document, tricky):
        expected = document.model_dump_json(indent=2, ensure_ascii=True) + "\n"
        assert to_json(document) == expected


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


def test_limit_of_unfinished_runs() -> None:
    failed = [run(1_000, seed=seed, status="failed", failure="gone") for seed in range(1_022)]
    lines = unfinished(summarise(failed))
    assert len(lines) == 21
    assert lines[0] == "seed 1002, 1,000 steps: failed (gone)"
    assert lines[-2] == "seed 1021, 1,000 steps: failed (gone)"
    assert lines[-1] == "and 1,002 more before these, which the .runs.csv has"
    assert len(unfinished(summarise(failed[:20]))) == 20


def test_limit_of_seeds_per_reason() -> None:
    disturbed = [run(seed=seed, verdict="suspect", reasons=("other load",)) for seed in range(100)]
    (line,) = disturbances(summarise([*disturbed, run(seed=100, verdict="clean")]))
    assert line.startswith("not clean, other load: seeds 0, 1, 2, ")
    assert line.endswith(", 18, 19 and 80 more (1,000 steps)")


# Files


def fail_with(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A folder with an older report."""
    for suffix in REPORT_SUFFIXES:
        (tmp_path / f"r{suffix}").write_text(f"old {suffix}")
    return tmp_path


def is_intact(folder: Path) -> bool:
    found = {path.name: path.read_text() for path in folder.iterdir()}
    return found == {f"r{suffix}": f"old {suffix}" for suffix in REPORT_SUFFIXES}


@pytest.mark.parametrize("good_writes", [0, 2])
def test_full_disk_while_writing(
    older: Path, monkeypatch: pytest.MonkeyPatch, good_writes: int
) -> None:
    calls: list[int] = []

    def fsync(number: int) -> None:
        calls.append(number)
        if len(calls) > good_writes:
            raise fail_with(errno.ENOSPC)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(BenchError) as caught:
        write_reports(older, "r", full_report())
    assert str(older / f"r{REPORT_SUFFIXES[good_writes]}") in caught.value.message
    assert os.strerror(errno.ENOSPC) in caught.value.message
    assert "free some disk space" in caught.value.hint
    assert caught.value.exit_status == EXIT_FAILURE
    assert is_intact(older)


def test_replacing_fails(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(_source: Path, _target: Path) -> None:
        raise fail_with(errno.EACCES)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(BenchError, match=r"r\.md") as caught:
        write_reports(older, "r", full_report())
    assert "writable" in caught.value.hint
    assert is_intact(older)


def test_interrupted_while_writing(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_number: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(KeyboardInterrupt):
        write_reports(older, "r", full_report())
    assert is_intact(older)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_device(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open  # a real full device, not a fake
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda _self, _mode: opened("/dev/full", "wb"))
        with pytest.raises(BenchError, match=re.escape(os.strerror(errno.ENOSPC))):
            files.write(older, "r", [files.File(".md", "text")])
    assert is_intact(older)


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("mine")
    with pytest.raises(BenchError, match="reports") as caught:
        write_reports(tmp_path / "reports", "r", full_report())
    assert "move away" in caught.value.hint
    assert (tmp_path / "reports").read_text() == "mine"


def test_writing_replaces_an_older_report(older: Path) -> None:
    write_reports(older, "r", full_report())
    assert (older / "r.md").read_text(encoding="utf-8").startswith("# Table I\n")
    assert len(list(older.iterdir())) == len(REPORT_SUFFIXES)


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
def test_reports_are_as_readable_as_other_files(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    path, *_ = write_reports(tmp_path, "r", full_report())
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
