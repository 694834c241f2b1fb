"""Energy counters of the machine that are readable without privileges.

Only Linux has such counters, as files: RAPL's under `powercap`, which most systems restrict to root
since CVE-2020-8694, and those of batteries. macOS and Windows report only a battery's percentage,
too coarse for a training of minutes: there the values are None, and energy is estimated.
"""

from __future__ import annotations

from pathlib import Path

_ZONES = "sys/class/powercap"
"""RAPL zones: `intel-rapl:0` is a package, `intel-rapl:0:1` a part of it that it includes."""
_SUPPLIES = "sys/class/power_supply"
_JOULES_PER_MICROWATTHOUR = 3.6e-3


class Energy:
    """Energy counters of this machine.

    Args:
        root: Root of the system's files; another folder in tests.
    """

    def __init__(self, root: Path) -> None:
        self._zones = _packages(root / _ZONES)
        self._batteries = tuple(_batteries(root / _SUPPLIES))

    def processor_joules(self) -> float | None:
        """Energy of all packages since this object was created; None if not readable.

        Raises:
            OSError: A counter can't be read.
            ValueError: A counter is not a number.
        """
        return sum(zone.joules() for zone in self._zones) if self._zones else None

    def battery_joules(self) -> float | None:
        """Energy left in all batteries; None unless the machine runs on battery.

        Raises:
            OSError: A battery can't be read.
            ValueError: A value is not a number.
        """
        if not any(_read_text(folder / "status") == "Discharging" for folder in self._batteries):
            return None
        return sum(map(_remaining_joules, self._batteries))


class _Zone:
    """A package's counter, which wraps around to 0."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"
        self._range = int(_read_text(folder / "max_energy_range_uj"))
        self._last = int(_read_text(self._file))
        self._sum = 0

    def joules(self) -> float:
        now = int(_read_text(self._file))
        self._sum += now - self._last if now >= self._last else now - self._last + self._range
        self._last = now
        return self._sum / 1e6


def _packages(folder: Path) -> tuple[_Zone, ...]:
    """All processor packages, or none: a partial sum would be mistaken for the total."""
    try:
        return tuple(
            _Zone(zone)
            for zone in sorted(folder.glob("*-rapl:*"))
            if _read_text(zone / "name").startswith("package-")
        )
    except (OSError, ValueError):
        return ()


def _batteries(folder: Path) -> list[Path]:
    """Batteries of the machine itself."""
    try:
        return [
            supply
            for supply in sorted(folder.iterdir())
            if _read_text(supply / "type") == "Battery"
            # That of a mouse is of scope Device; most machine batteries have no scope.
            and not ((supply / "scope").exists() and _read_text(supply / "scope") == "Device")
        ]
    except OSError:
        return []


def _remaining_joules(battery: Path) -> float:
    """Energy left, or charge left times the design voltage."""
    if (battery / "energy_now").exists():
        return int(_read_text(battery / "energy_now")) * _JOULES_PER_MICROWATTHOUR
    charge = int(_read_text(battery / "charge_now"))
    volts = int(_read_text(battery / "voltage_min_design")) / 1e6
    return charge * volts * _JOULES_PER_MICROWATTHOUR


def _read_text(file: Path) -> str:
    return file.read_text(encoding="ascii", errors="replace").strip()
