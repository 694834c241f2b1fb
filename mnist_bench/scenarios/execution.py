"""Execution settings of a training: threads, precision, device."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mnist_bench.core.errors import BenchError
from mnist_bench.core.formatting import count, counted
from mnist_bench.core.limits import Precision
from mnist_bench.core.records import Record
from mnist_bench.scenarios.scenario import DOUBLING, ThreadCounts

Device = Literal["cpu", "gpu"]


class Execution(Record):
    """Execution settings of a training, which do not define what it computes.

    Attributes:
        threads: TensorFlow operations that run concurrently, each on one thread.
        precision: Of the arithmetic; weights are always float32.
        device: CPU or GPU.
        device_name: Name of the GPU; None on the CPU, which the machine's description names.
        device_memory_bytes: GPU memory that TensorFlow may use; None on the CPU, or if unknown.
        environment: Variables that change how TensorFlow and its libraries compute, as names and
            values; the worker has no others of that kind.
    """

    threads: int
    precision: Precision = "float32"
    device: Device = "cpu"
    device_name: str | None = None
    device_memory_bytes: int | None = None
    environment: tuple[tuple[str, str], ...] = Field(default=(), exclude_if=lambda of: not of)

    @property
    def shards(self) -> int:
        """Pieces that a batch is cut into: one per thread, and 1 on a GPU."""
        return self.threads if self.device == "cpu" else 1

    def __str__(self) -> str:
        device = f"{self.device} ({self.device_name})" if self.device_name else self.device
        return f"{self.precision} on {device}"


def thread_counts(requested: ThreadCounts, usable: int) -> tuple[int, ...]:
    """The thread counts of a scenario, rising.

    Args:
        requested: The scenario's key `threads`.
        usable: Cores that the process may use; it is an error if a count exceeds them.
    """
    if requested == DOUBLING:
        powers = (2**exponent for exponent in range(usable.bit_length()))
        return tuple(sorted({*powers, usable}))
    if requested[-1] > usable:
        cores = counted(usable, "core")
        raise BenchError(
            f"the scenario needs {count(requested[-1])} threads, but this process may use {cores}",
            f'set fewer threads in the scenario, or "{DOUBLING}", or give --threads N',
        )
    return requested
