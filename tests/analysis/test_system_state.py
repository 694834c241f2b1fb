"""System state over several runs, on hand-made results."""

from __future__ import annotations

from factories import run

from mnist_bench.analysis.system_state import SystemState, system_state_of
from mnist_bench.measurement.conditions import Conditions, Surroundings
from mnist_bench.results.run import RunResult


def run_observing(*observations: Surroundings) -> RunResult:
    return run(conditions=Conditions(surroundings=observations))


def test_observations_of_several_runs_are_combined() -> None:
    first = run_observing(
        Surroundings(logical_cores=8, affinity_cores=4, quota_cores=1.5, governor="powersave",
                     clock_mhz=2_400.0, on_battery=False, temperature_celsius=60.0),
        Surroundings(logical_cores=8, affinity_cores=6, clock_mhz=3_100.0, on_battery=True),
    )  # fmt: skip
    second = run_observing(Surroundings(logical_cores=8, governor="performance", clock_mhz=2_900.0))
    assert system_state_of([first, run(), second]) == SystemState(
        on_battery=True,
        governors=("performance", "powersave"),
        logical_cores=8,
        usable_cores=1.5,
        quota_cores=1.5,
        clock_mhz_min=2_400.0,
        clock_mhz_max=3_100.0,
        temperature_celsius_max=60.0,
    )


def test_missing_values_are_unknown() -> None:
    unknown = SystemState(None, (), None, None, None, None, None, None)
    assert system_state_of([run_observing(Surroundings())]) == unknown


def test_without_observations() -> None:
    assert system_state_of([]) is None
    assert system_state_of([run(), run_observing()]) is None
