"""The suite's own worker, with the processor time of its sampling counted.

Started by `overhead.py` in the worker's place. Counts what the main thread spends on reading the
machine, marking memory and saying samples, and writes the seconds to the file that the variable
`MNIST_BENCH_METER` names.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from mnist_bench.measurement import conditions, memory, system
from mnist_bench.results.protocol import SampleMessage
from mnist_bench.worker import __main__, loop

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

_spent_seconds = 0.0


def metered(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """The function, its processor time added to the account."""

    @functools.wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        global _spent_seconds  # noqa: PLW0603  # one account, one thread
        begin = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            _spent_seconds += time.thread_time() - begin

    return call


def main() -> int:
    """Be the worker, and tell what sampling cost."""
    system.Sensors.counters = metered(system.Sensors.counters)  # type: ignore[method-assign]
    system.Sensors.surroundings = metered(  # type: ignore[method-assign]
        system.Sensors.surroundings
    )
    setattr(loop, "rss_bytes", metered(memory.rss_bytes))  # noqa: B010  # not exported there
    loop.PhaseMeter._mark = metered(loop.PhaseMeter._mark)  # type: ignore[method-assign]  # noqa: SLF001
    setattr(loop, "between", metered(conditions.between))  # noqa: B010
    SampleMessage.model_dump_json = metered(SampleMessage.model_dump_json)  # type: ignore[method-assign]
    status = __main__.main()
    Path(os.environ["MNIST_BENCH_METER"]).write_text(str(_spent_seconds), encoding="ascii")
    return status


if __name__ == "__main__":
    sys.exit(main())
