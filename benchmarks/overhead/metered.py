"""The worker with a meter for the processor time of its sampling.

Started by `overhead.py` instead of the worker. It sums the main thread's time for reading the
machine's state, resetting peak memory and sending samples, and writes the seconds to the file in
`MNIST_BENCH_METER`.
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

_sampling_seconds = 0.0


def metered(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Wrap a function to add its processor time to the total."""

    @functools.wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        global _sampling_seconds  # noqa: PLW0603  # one total, one thread
        begin = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            _sampling_seconds += time.thread_time() - begin

    return call


def main() -> int:
    """Run the worker and write the cost of sampling."""
    system.Sensors.counters = metered(system.Sensors.counters)  # type: ignore[method-assign]
    system.Sensors.surroundings = metered(  # type: ignore[method-assign]
        system.Sensors.surroundings
    )
    setattr(loop, "rss_bytes", metered(memory.rss_bytes))  # noqa: B010  # not exported there
    loop.PhaseMeter._end_phase = metered(loop.PhaseMeter._end_phase)  # type: ignore[method-assign]  # noqa: SLF001
    setattr(loop, "between", metered(conditions.between))  # noqa: B010
    SampleMessage.model_dump_json = metered(SampleMessage.model_dump_json)  # type: ignore[method-assign]
    status = __main__.main()
    Path(os.environ["MNIST_BENCH_METER"]).write_text(str(_sampling_seconds), encoding="ascii")
    return status


if __name__ == "__main__":
    sys.exit(main())
