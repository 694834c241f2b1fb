"""What `mnist-bench run` reports after its trainings."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories import (
    CORES,
    SOURCE,
    conditions,
    evaluations,
    machine,
    printed_table,
    run,
    smoke_report,
    surroundings,
    table_report,
)

from mnist_bench import run_plans
from mnist_bench.reporting.files import write_reports
from mnist_bench.reporting.terminal import print_summary, print_table
from mnist_bench.runner.executor import Outcome
from mnist_bench.runner.plan import TrainingPlan
from mnist_bench.scenarios import paper
from mnist_bench.tracking.uri import ui_address


def test_runs_of_several_machines_share_the_table_and_keep_their_times() -> None:
    warm = conditions(surroundings=(surroundings(temperature_celsius=90.0),) * 2)
    results = (
        run(1_000, 0.984, 0, conditions=conditions()),
        run(1_000, 0.985, 1, machine_id="b" * 32, threads=8, conditions=warm),
        run(1_000, 0.986, 2, machine_id="c" * 32, threads=1, conditions=warm),
    )
    plan = TrainingPlan("table-1", paper.PROTOCOL, SOURCE, (), ())
    names = {"b" * 32: "Ryzen, 8 cores"}
    section = run_plans._section_of(plan, Outcome(results), machine(), "mnist-bench run", names)
    (row,) = section.rows
    assert (row.n, row.timed_n, row.threads) == (3, 1, 2)
    assert [line.machine_id for line in section.document.machine_costs] == [
        "0123456789abcdef", "b" * 32, "c" * 32,
    ]  # fmt: skip
    hardware = [line.machine for line in section.document.machine_costs]
    assert hardware == [machine().name, "Ryzen, 8 cores", None]
    shown = printed_table(section, 100)
    assert "Accuracies pooled over 3 machines." in shown
    assert "\n1,000  cccccccc  " in shown
    # The state of the system is this machine's too.
    assert section.system_state is not None
    assert section.system_state.logical_cores == CORES
    assert section.system_state.temperature_celsius_max == 50.0


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000/#/experiments/1"),
        ("https://me:secret@host", "https://host/#/experiments/1"),
        ("sqlite:///mlflow.db", None),
    ],
)
def test_runs_of_a_page_link_to_a_tracking_server(
    tmp_path: Path, uri: str, address: str | None
) -> None:
    assert ui_address(uri, "1") == address
    page, *_ = write_reports(tmp_path, "smoke", smoke_report(), address)
    link = f'href="{address}/runs/run-200-0"'
    assert (link in page.read_text(encoding="utf-8")) == (address is not None)


def test_a_run_whose_only_times_are_disturbed_shows_them_marked() -> None:
    invalid = {"verdict": "invalid", "reasons": ("steal",)}
    (row,) = table_report([run(1_000, 0.984, 0, **invalid)]).rows
    assert (row.train_seconds_mean, row.disturbed_train_seconds_mean) == (None, 20.0)
    note = "* disturbed by steal; `--resume --repeat-disturbed` trains such runs again"
    for show in (print_summary, print_table):
        shown = printed_table(table_report([run(1_000, 0.984, 0, **invalid)]), 160, show)
        assert "20.0 s*" in shown
        assert note in shown
    # A clean one replaces it, and there is nothing to mark.
    both = table_report([run(1_000, 0.984, 0, **invalid), run(1_000, 0.984, 1)])
    assert "*" not in printed_table(both, 160, print_summary)


def test_outside_table_1_final_comes_first_and_is_part_of_the_max() -> None:
    late = run(150, 0.91, evaluations=evaluations(150, 0.91, final=0.95), scenario="mine")
    shown = printed_table(table_report([late]), 160, print_summary).splitlines()
    assert shown[2].split()[:3] == ["Steps", "Final", "Max"]
    assert shown[3].split()[:3] == ["150", "0.9500", "0.9500"]
    late = run(1_000, 0.91, evaluations=evaluations(1_000, 0.91, final=0.95))
    notes = printed_table(table_report([late]), 160)
    assert "Max (paper's grid)" in notes
    assert "1,000 steps: a final accuracy is above the max: the paper's grid" in notes
