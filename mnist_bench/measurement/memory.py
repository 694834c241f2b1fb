"""How much memory this process holds and ever held, by the best method of its system."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

_OWN_FOLDER = Path("/proc/self")
"""What Linux tells of this process."""
_RESET_MARK = "5"
"""What Linux's clear_refs takes as the word to reset the high-water mark."""


@dataclass(frozen=True)
class PeakRss:
    """The high-water mark of a process's resident memory.

    Attributes:
        bytes: The mark; None where the system does not tell.
        method: Where it was read; marks of different methods do not compare.
    """

    bytes: int | None
    method: str | None


def peak_rss() -> PeakRss:
    """This process's own high-water mark since its start, or since `reset_peak_rss`.

    Linux: VmHWM of /proc/self/status. `ru_maxrss` would be wrong there: a child inherits its
    parent's. macOS: `ru_maxrss`, in bytes. Windows: `peak_wset`.
    """
    if sys.platform == "linux":
        return _high_water_mark()
    if sys.platform == "darwin":
        import resource

        return PeakRss(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "ru_maxrss")
    if sys.platform == "win32":
        return PeakRss(psutil.Process().memory_info().peak_wset, "peak_wset")
    return PeakRss(None, None)


def reset_peak_rss() -> bool:
    """Lower the high-water mark to what is resident now; whether the system let us.

    Linux alone knows how; containers may forbid it.
    """
    if sys.platform != "linux":
        return False
    try:
        (_OWN_FOLDER / "clear_refs").write_text(_RESET_MARK, encoding="ascii")
    except OSError:
        return False
    return True


def _high_water_mark() -> PeakRss:
    try:
        # The first line is the program's name, in whatever characters.
        text = (_OWN_FOLDER / "status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return PeakRss(None, None)
    marks = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM:")]
    return PeakRss(int(marks[0]) * 1024, "VmHWM") if marks else PeakRss(None, None)


def rss_bytes() -> int | None:
    """Resident memory of this process now; None where the system does not tell."""
    try:
        return int(psutil.Process().memory_info().rss)
    except psutil.Error:
        return None
