"""benchmarks/common: options, processes, ratios, tables and pages."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import common
import pytest
from scipy import stats

from mnist_bench.results.protocol import Phase
from mnist_bench.tracking import spool
from mnist_bench.tracking.spool import MessageEntry


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], ""),
        (["--data", "/a b", "--repeats", "3", "--out", "/c"], " --data DIR --repeats 3"),
        (["--data=/a", "--out=/c", "--only", "x", "y"], " --data DIR --only x y"),
    ],
)
def test_a_command_line_has_no_local_paths(arguments: list[str], shown: str) -> None:
    program = str(common.ROOT / "benchmarks" / "peers" / "peers.py")
    assert common.command_line([program, *arguments]) == (
        f"python benchmarks/peers/peers.py{shown}"
    )


def test_the_interval_of_a_ratio_is_students_on_logarithms() -> None:
    values = [1.6, 1.8, 1.7, 2.0, 1.75, math.nan]
    found = common.ratio_of(values)
    logs = [math.log(value) for value in values[:5]]
    low, high = stats.t.interval(0.95, 4, statistics.mean(logs), stats.sem(logs))
    assert found is not None
    assert (found.value, found.n) == (1.75, 5)
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert common.interval(found) == f"{found.low:.2f} to {found.high:.2f}"


def test_ratio_of_one_round_and_of_none() -> None:
    assert common.interval(common.ratio_of([1.5])) == "–"
    assert common.ratio_of([]) is None


def test_only_the_measured_part_of_a_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    common.write_page(page, "1\n")
    assert page.read_text() == "1\n"
    page.write_text("# Title\n<!-- measured:begin -->\nold\n<!-- measured:end -->\nend\n")
    common.write_page(page, "a \\1\n")
    marks = ("<!-- measured:begin -->", "<!-- measured:end -->")
    assert page.read_text() == f"# Title\n{marks[0]}\na \\1\n{marks[1]}\nend\n"


def test_instruction_sets_are_of_the_first_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(common, "_CPUINFO", file)
    unknown = common.hardware() | {"name": "a machine"}
    assert common.machine_line(unknown) == "a machine."
    flags = "flags\t\t: fpu avx2 avx512f hypervisor\nflags\t: amx_tile\n"
    file.write_text(f"model name\t: x\n{flags}", encoding="ascii")
    known = common.hardware() | {"name": "a machine"}
    assert common.machine_line(known) == (
        "a machine. A virtual machine, not a laptop. Instruction sets: avx2, avx512f "
        "(without avx512_bf16, amx_tile, amx_bf16)."
    )


def test_only_complete_spool_lines_are_read(tmp_path: Path) -> None:
    entry = MessageEntry(at_ms=1_700, message=Phase(name="data", seconds=0.5)).model_dump_json()
    lines = f'{{"kind": "begun", "at_ms": 5}}\n{entry}\n{entry[:-1]}'
    folder = tmp_path / spool.FOLDER
    folder.mkdir(parents=True)
    (folder / "one.jsonl").write_text(lines, encoding="utf-8")
    ((message, at_ms),) = common.spooled(tmp_path)
    assert (message["kind"], message["name"], at_ms) == ("phase", "data", 1_700)


def test_environment_of_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    removed = ("MLFLOW_TRACKING_URI", "MNIST_BENCH_DATA", "TF_USE_LEGACY_KERAS")
    for name in (*removed, "KEPT"):
        monkeypatch.setenv(name, "x")
    environment = common.clean_environment()
    assert environment["KEPT"] == "x"
    assert not environment.keys() & set(removed)


def test_answer_of_a_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nprint('noise')\nprint(sys.stdin.readline().strip())\n", encoding="ascii"
    )
    assert common.answer(program, '{"a": 1}') == {"a": 1}
    program.write_text("raise KeyError('nobody')\n", encoding="ascii")
    with pytest.raises(common.ProgramError, match="KeyError: 'nobody'"):
        common.answer(program, "")
