"""How a training is carried out: its arithmetic, its device, its threads."""

from __future__ import annotations

from typing import Literal

from mnist_bench.core.errors import BenchError
from mnist_bench.core.formatting import count
from mnist_bench.core.limits import Precision
from mnist_bench.core.records import Record
from mnist_bench.scenarios.scenario import DOUBLING, ThreadCounts

Device = Literal["cpu", "gpu"]


class Execution(Record):
    """How a training is carried out; what it computes is the scenario's matter.

    Attributes:
        threads: As many of TensorFlow's operations run at a time, each on one thread.
        precision: Of the arithmetic; weights are kept as float32 in any case.
        device: Where it is done.
        device_name: Of the GPU; None on the processor, which the machine's description names.
        device_memory_bytes: What TensorFlow may use of the GPU's memory; None on the processor,
            and where it is not told.
        bfloat16_speedup: How many times as fast as float32 the paper's training step in bfloat16
            was found to be here, right before, at the most threads that the command asked for;
            None where nobody measured.
    """

    threads: int
    precision: Precision = "float32"
    device: Device = "cpu"
    device_name: str | None = None
    device_memory_bytes: int | None = None
    bfloat16_speedup: float | None = None

    @property
    def parts(self) -> int:
        """Into how many parts the work is cut: one for each thread, and on a GPU a whole."""
        return self.threads if self.device == "cpu" else 1

    def __str__(self) -> str:
        where = f"{self.device} ({self.device_name})" if self.device_name else self.device
        return f"{self.precision} on {where}"


def thread_counts(asked: ThreadCounts, usable: int) -> tuple[int, ...]:
    """The thread counts that a scenario asks for, rising.

    Args:
        asked: The scenario's key.
        usable: Cores that the process may use.

    Raises:
        BenchError: More threads than cores.
    """
    if asked == DOUBLING:
        powers = (2**exponent for exponent in range(usable.bit_length()))
        return tuple(sorted({*powers, usable}))
    if asked[-1] > usable:
        cores = "1 core" if usable == 1 else f"{usable} cores"
        raise BenchError(
            f"the scenario asks for {count(asked[-1])} threads, and there are {cores} to use",
            f'choose fewer threads in it, or "{DOUBLING}"; or give one count as --threads',
        )
    return asked
