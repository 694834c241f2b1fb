"""Energy counters, with fake files of many machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnist_bench.measurement.conditions import between
from mnist_bench.measurement.energy import Energy
from mnist_bench.measurement.system import Sensors

RAPL = "sys/class/powercap/intel-rapl"
BATTERY = "sys/class/power_supply/BAT0"


def write(root: Path, files: dict[str, object]) -> None:
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n", encoding="utf-8")


def package(number: int, microjoules: int, size: int = 10_000_000) -> dict[str, object]:
    zone = f"{RAPL}:{number}"
    return {
        f"{zone}/name": f"package-{number}",
        f"{zone}/energy_uj": microjoules,
        f"{zone}/max_energy_range_uj": size,
    }


def battery(microwatthours: int, status: str = "Discharging") -> dict[str, object]:
    return {
        f"{BATTERY}/type": "Battery",
        f"{BATTERY}/status": status,
        f"{BATTERY}/energy_now": microwatthours,
    }


# Processors


def test_packages_are_summed_without_their_subzones(tmp_path: Path) -> None:
    subzones = {f"{RAPL}:0:0/name": "core", f"{RAPL}:0:0/energy_uj": 7}
    write(tmp_path, package(0, 1_000_000) | package(1, 5_000_000) | subzones)
    energy = Energy(tmp_path)
    assert energy.processor_joules() == 0
    write(tmp_path, package(0, 2_500_000) | package(1, 5_250_000) | {f"{RAPL}:0:0/energy_uj": 9})
    assert energy.processor_joules() == 1.75


def test_the_platform_zone_is_not_counted_twice(tmp_path: Path) -> None:
    platform = {f"{RAPL}:1/name": "psys", f"{RAPL}:1/energy_uj": 0}
    write(tmp_path, package(0, 0) | platform)
    energy = Energy(tmp_path)
    write(tmp_path, package(0, 3_000_000) | {f"{RAPL}:1/energy_uj": 9_000_000})
    assert energy.processor_joules() == 3


def test_a_counter_that_wrapped_around(tmp_path: Path) -> None:
    write(tmp_path, package(0, 9_000_000))
    energy = Energy(tmp_path)
    write(tmp_path, package(0, 500_000))
    assert energy.processor_joules() == 1.5
    write(tmp_path, package(0, 600_000))
    assert energy.processor_joules() == pytest.approx(1.6)


@pytest.mark.parametrize("missing", ["energy_uj", "max_energy_range_uj", "name"])
def test_an_incomplete_set_of_packages_gives_none(tmp_path: Path, missing: str) -> None:
    write(tmp_path, package(0, 0) | package(1, 0))
    (tmp_path / f"{RAPL}:1" / missing).unlink()
    assert Energy(tmp_path).processor_joules() is None


def test_a_counter_that_is_not_a_number(tmp_path: Path) -> None:
    write(tmp_path, package(0, 0) | {f"{RAPL}:0/energy_uj": "soon"})
    assert Energy(tmp_path).processor_joules() is None


def test_a_counter_that_becomes_unreadable_gives_none(tmp_path: Path) -> None:
    write(tmp_path, package(0, 0))
    sensors = Sensors(root=tmp_path)
    assert sensors.counters().processor_joules == 0
    (tmp_path / f"{RAPL}:0/energy_uj").unlink()
    assert sensors.counters().processor_joules is None


# Batteries


def test_energy_drawn_from_a_battery(tmp_path: Path) -> None:
    write(tmp_path, battery(50_000_000))
    sensors = Sensors(root=tmp_path)
    before = sensors.counters()
    assert before.battery_joules == pytest.approx(180_000)
    write(tmp_path, battery(49_000_000))
    assert between(before, sensors.counters()).battery_joules == pytest.approx(3_600)


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging", "Unknown", ""])
def test_a_battery_that_is_not_discharging_gives_none(tmp_path: Path, status: str) -> None:
    write(tmp_path, battery(50_000_000, status))
    assert Energy(tmp_path).battery_joules() is None


def test_a_machine_that_is_plugged_in_during_a_run(tmp_path: Path) -> None:
    write(tmp_path, battery(50_000_000))
    sensors = Sensors(root=tmp_path)
    before = sensors.counters()
    write(tmp_path, battery(49_000_000, "Charging"))
    assert between(before, sensors.counters()).battery_joules is None


def test_two_batteries_are_summed(tmp_path: Path) -> None:
    """The second is empty and not discharging."""
    write(tmp_path, battery(40_000_000))
    other = {name.replace("BAT0", "BAT1"): value for name, value in battery(10, "Unknown").items()}
    write(tmp_path, other)
    assert Energy(tmp_path).battery_joules() == pytest.approx(144_000.036)


def test_a_battery_that_reports_charge(tmp_path: Path) -> None:
    write(tmp_path, battery(0) | {
        f"{BATTERY}/charge_now": 2_000_000,
        f"{BATTERY}/voltage_min_design": 11_400_000,
    })  # fmt: skip
    (tmp_path / BATTERY / "energy_now").unlink()
    assert Energy(tmp_path).battery_joules() == pytest.approx(82_080)


def test_a_battery_without_energy_and_charge(tmp_path: Path) -> None:
    write(tmp_path, battery(0))
    (tmp_path / BATTERY / "energy_now").unlink()
    assert Sensors(root=tmp_path).counters().battery_joules is None


def test_supplies_that_are_not_machine_batteries_are_ignored(tmp_path: Path) -> None:
    supplies = "sys/class/power_supply"
    mouse = {name.replace("BAT0", "mouse"): value for name, value in battery(9).items()}
    write(tmp_path, mouse | {f"{supplies}/mouse/scope": "Device", f"{supplies}/AC/type": "Mains"})
    assert Energy(tmp_path).battery_joules() is None


def test_a_machine_battery_may_have_a_scope(tmp_path: Path) -> None:
    write(tmp_path, battery(40_000_000) | {f"{BATTERY}/scope": "System"})
    assert Energy(tmp_path).battery_joules() == pytest.approx(144_000)


def test_a_machine_without_energy_counters(tmp_path: Path) -> None:
    energy = Energy(tmp_path)
    assert (energy.processor_joules(), energy.battery_joules()) == (None, None)
