"""Energy counters, with fake files of many machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnist_bench.measurement.conditions import between
from mnist_bench.measurement.energy import Energy
from mnist_bench.measurement.system import Sensors

RAPL = "sys/class/powercap/intel-rapl"
SUPPLIES = "sys/class/power_supply"

Files = dict[str, object]


def write(root: Path, files: Files) -> None:
    """Write these files; None removes one."""
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n", encoding="utf-8")
        if value is None:
            path.unlink()


def package(number: int, microjoules: object) -> Files:
    zone = f"{RAPL}:{number}"
    return {
        f"{zone}/name": f"package-{number}",
        f"{zone}/energy_uj": microjoules,
        f"{zone}/max_energy_range_uj": 10_000_000,
    }


def supply(name: str = "BAT0", **files: object) -> Files:
    """A discharging battery; other values and files override its own."""
    values = {"type": "Battery", "status": "Discharging", "energy_now": 40_000_000}
    return {f"{SUPPLIES}/{name}/{file}": value for file, value in (values | files).items()}


@pytest.mark.parametrize(
    ("before", "after", "joules"),
    [
        # All packages, without their parts and the platform, which include or contain them.
        (package(0, 1_000_000) | package(1, 5_000_000)
         | {f"{RAPL}:0:0/name": "core", f"{RAPL}:0:0/energy_uj": 7}
         | {f"{RAPL}:2/name": "psys", f"{RAPL}:2/energy_uj": 0},
         package(0, 2_500_000) | package(1, 5_250_000)
         | {f"{RAPL}:0:0/energy_uj": 9, f"{RAPL}:2/energy_uj": 9_000_000},
         1.75),
        (package(0, 9_000_000), package(0, 500_000), 1.5),  # it wrapped around
        *((package(0, 0) | package(1, 0) | {f"{RAPL}:1/{missing}": None}, {}, None)
          for missing in ("energy_uj", "max_energy_range_uj", "name")),
        (package(0, "soon"), {}, None),
        ({}, {}, None),
    ],
)  # fmt: skip
def test_processor_joules(
    tmp_path: Path, before: Files, after: Files, joules: float | None
) -> None:
    write(tmp_path, before)
    energy = Energy(tmp_path)
    assert energy.processor_joules() == (None if joules is None else 0)
    write(tmp_path, after)
    assert energy.processor_joules() == joules


def test_energy_is_added_up_after_a_counter_wrapped_around(tmp_path: Path) -> None:
    write(tmp_path, package(0, 9_000_000))
    energy = Energy(tmp_path)
    for microjoules, joules in ((500_000, 1.5), (600_000, 1.6)):
        write(tmp_path, package(0, microjoules))
        assert energy.processor_joules() == pytest.approx(joules)


@pytest.mark.parametrize(
    ("files", "joules"),
    [
        (supply(), 144_000),
        (supply(scope="System"), 144_000),
        # The second is empty and not discharging.
        (supply() | supply("BAT1", status="Unknown", energy_now=10), 144_000.036),
        (supply(energy_now=None, charge_now=2_000_000, voltage_min_design=11_400_000), 82_080),
        *((supply(status=status), None)
          for status in ("Charging", "Full", "Not charging", "Unknown", "")),
        (supply("mouse", scope="Device") | supply("AC", type="Mains"), None),
        ({}, None),
    ],
)  # fmt: skip
def test_battery_joules(tmp_path: Path, files: Files, joules: float | None) -> None:
    write(tmp_path, files)
    found = Energy(tmp_path).battery_joules()
    assert found == (None if joules is None else pytest.approx(joules))


def test_sensors_read_both(tmp_path: Path) -> None:
    write(tmp_path, package(0, 0) | supply())
    sensors = Sensors(root=tmp_path)
    before = sensors.counters()
    write(tmp_path, package(0, 2_000_000) | supply(energy_now=39_000_000))
    used = between(before, sensors.counters())
    assert (used.processor_joules, used.battery_joules) == (2, pytest.approx(3_600))
    # What becomes unreadable, or is plugged in during a run, gives none.
    write(tmp_path, package(0, None) | supply(status="Charging"))
    used = between(before, sensors.counters())
    assert used.processor_joules is used.battery_joules is None
    write(tmp_path, supply(energy_now=None))
    assert sensors.counters().battery_joules is None
