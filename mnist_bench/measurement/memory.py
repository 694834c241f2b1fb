"""Current and peak resident memory of this process."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

_PROC_SELF = Path("/proc/self")
"""Linux's files about this process."""
_RESET_PEAK = "5"
"""Value for Linux's clear_refs that resets the peak."""


@dataclass(frozen=True)
class PeakRss:
    """Peak resident memory of a process.

    Attributes:
        bytes: The peak; None if the system does not report it.
        method: Where it was read; values of different methods are not comparable.
    """

    bytes: int | None
    method: str | None


def peak_rss() -> PeakRss:
    """Peak resident memory of this process since its start, or since `reset_peak_rss`.

    Linux: VmHWM of /proc/self/status, because a child process inherits its parent's `ru_maxrss`.
    macOS: `ru_maxrss`, in bytes. Windows: `peak_wset`.
    """
    if sys.platform == "linux":
        return _linux_peak_rss()
    if sys.platform == "darwin":
        import resource

        return PeakRss(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "ru_maxrss")
    if sys.platform == "win32":
        return PeakRss(psutil.Process().memory_info().peak_wset, "peak_wset")
    return PeakRss(None, None)


def reset_peak_rss() -> bool:
    """Reset the peak to the current resident memory; whether that succeeded.

    Only Linux supports it, and containers may forbid it.
    """
    if sys.platform != "linux":
        return False
    try:
        (_PROC_SELF / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _linux_peak_rss() -> PeakRss:
    try:
        # The first line is the program's name, in any encoding.
        text = (_PROC_SELF / "status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return PeakRss(None, None)
    peaks = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM:")]
    return PeakRss(int(peaks[0]) * 1024, "VmHWM") if peaks else PeakRss(None, None)


def rss_bytes() -> int | None:
    """Current resident memory of this process; None if the system does not report it."""
    try:
        return int(psutil.Process().memory_info().rss)
    except psutil.Error:
        return None
