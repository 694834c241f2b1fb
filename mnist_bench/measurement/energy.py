"""What a machine's own counters tell of energy, without privileges.

Linux alone shows such counters as files: RAPL's under `powercap`, which most systems keep for root
since CVE-2020-8694, and those of batteries. What macOS and Windows tell without privileges is a
battery's percents, too coarse for a training of minutes: there it is None, and so estimated.
"""

from __future__ import annotations

from pathlib import Path

_ZONES = "sys/class/powercap"
"""Of RAPL: `intel-rapl:0` is a package, `intel-rapl:0:1` a part of it, which it counts too."""
_SUPPLIES = "sys/class/power_supply"
_JOULES_A_MICROWATTHOUR = 3.6e-3


class Energy:
    """Counters of one machine.

    Args:
        root: Where the system's own files begin; tests stand in for them.
    """

    def __init__(self, root: Path) -> None:
        self._zones = _packages(root / _ZONES)
        self._batteries = tuple(_batteries(root / _SUPPLIES))

    def processor_joules(self) -> float | None:
        """What all packages have taken since this began to look; None where none may be read.

        Raises:
            OSError: One of them can't be read.
            ValueError: One of them tells no number.
        """
        return sum(zone.joules() for zone in self._zones) if self._zones else None

    def battery_joules(self) -> float | None:
        """What is left in all batteries; None where they are not what the machine lives on.

        Raises:
            OSError: One of them can't be read.
            ValueError: One of them tells no number.
        """
        if not any(_text(folder / "status") == "Discharging" for folder in self._batteries):
            return None
        return sum(map(_left_joules, self._batteries))


class _Zone:
    """A package's counter, which begins anew at 0 when it is full."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"
        self._size = int(_text(folder / "max_energy_range_uj"))
        self._last = int(_text(self._file))
        self._sum = 0

    def joules(self) -> float:
        now = int(_text(self._file))
        self._sum += now - self._last if now >= self._last else now - self._last + self._size
        self._last = now
        return self._sum / 1e6


def _packages(folder: Path) -> tuple[_Zone, ...]:
    """The processors' packages, all or none: a sum of some would be taken for that of all."""
    try:
        return tuple(
            _Zone(zone)
            for zone in sorted(folder.glob("*-rapl:*"))
            if _text(zone / "name").startswith("package-")
        )
    except (OSError, ValueError):
        return ()


def _batteries(folder: Path) -> list[Path]:
    """Those that the machine itself lives on."""
    try:
        return [
            supply
            for supply in sorted(folder.iterdir())
            if _text(supply / "type") == "Battery" and not _is_a_devices(supply)
        ]
    except OSError:
        return []


def _is_a_devices(supply: Path) -> bool:
    """Whether it is a mouse's, say; most of a machine's own tell no scope."""
    scope = supply / "scope"
    return scope.exists() and _text(scope) == "Device"


def _left_joules(battery: Path) -> float:
    """By energy, or by charge at the voltage that the battery was designed for."""
    if (battery / "energy_now").exists():
        return int(_text(battery / "energy_now")) * _JOULES_A_MICROWATTHOUR
    charge = int(_text(battery / "charge_now"))
    volts = int(_text(battery / "voltage_min_design")) / 1e6
    return charge * volts * _JOULES_A_MICROWATTHOUR


def _text(file: Path) -> str:
    return file.read_text(encoding="ascii", errors="replace").strip()
