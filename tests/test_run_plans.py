"""What `mnist-bench run` reports after its trainings."""

from __future__ import annotations

from factories import CORES, SOURCE, conditions, machine, printed_table, run, surroundings

from mnist_bench import run_plans
from mnist_bench.runner.executor import Outcome
from mnist_bench.runner.plan import TrainingPlan
from mnist_bench.scenarios import paper


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
