"""Formatting of quantities: seconds, bytes, shares, rates and counts."""

from __future__ import annotations

UNKNOWN = "–"
"""Shown for an unknown value; never 0."""

MIB = 2**20
_GIB = 2**30


def duration(seconds: float | None) -> str:
    """Seconds as `0.42 s`, `12.3 s`, `4 min 05 s` or `2 h 03 min`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def clock(seconds: float) -> str:
    """Seconds as `0:42`, `4:05` or `2:03:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def mebibytes(size_bytes: int | None) -> str:
    """Bytes as `1,025 MiB`."""
    return UNKNOWN if size_bytes is None else f"{size_bytes / MIB:,.0f} MiB"


def gibibytes(size_bytes: int) -> str:
    """Bytes as `15.6 GiB`."""
    return f"{size_bytes / _GIB:.1f} GiB"


def accuracy(share: float | None) -> str:
    """An accuracy to four digits, the resolution of 10,000 test images: `0.9928`."""
    return UNKNOWN if share is None else f"{share:.4f}"


def accuracy_difference(share: float | None) -> str:
    """A difference of two accuracies with its sign: `+0.0012`."""
    return UNKNOWN if share is None else f"{share:+.4f}"


def spread(share: float | None) -> str:
    """A standard deviation of accuracies, one digit finer than `accuracy`: `0.00085`."""
    return UNKNOWN if share is None else f"{share:.5f}"


def rate(images_per_second: float | None) -> str:
    """Images per second as `3,214`."""
    return UNKNOWN if images_per_second is None else f"{images_per_second:,.0f}"


def count(number: int | None) -> str:
    """An integer with thousands separators: `10,000`."""
    return UNKNOWN if number is None else f"{number:,}"


def threads(number: int) -> str:
    """A thread count as `1 thread` or `4 threads`."""
    return counted(number, "thread")


def steps(formatted: str) -> str:
    """Formatted step counts as `1 step`, `2,500 steps` or `1,000 and 2,500 steps`."""
    return "1 step" if formatted == "1" else f"{formatted} steps"


def machine(machine_id: str | None) -> str:
    """The beginning of a machine's id."""
    return UNKNOWN if machine_id is None else machine_id[:8]


def percent(share: float | None) -> str:
    """A share as `3.4%`."""
    return UNKNOWN if share is None else f"{share:.1%}"


def digit(number: int) -> str:
    """A digit with its article: `a 7`, `an 8`."""
    return f"an {number}" if number == 8 else f"a {number}"


def counted(number: int, what: str) -> str:
    """A number with its noun: `1 run`, `1,000 runs`, `2 studies`."""
    plural = "studies" if what == "study" else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"
