"""Does the paper's Table I hold on the machine that you own, and what does it cost?

The commands are one interface, this is the other: `run` trains and records, `load` reads what is
recorded, and `Results` has the figures as pandas frames. docs/python.md has examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_bench.api import BenchError, Results, load, run

__all__ = ["BenchError", "Results", "load", "run"]


def __getattr__(name: str) -> Any:
    """Load the interface when it is first used: commands and workers don't need it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mnist_bench import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
