"""What this machine works with when it trains for a plan or a study."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from mnist_bench.dataset import Source
from mnist_bench.execution import Execution
from mnist_bench.harness import Watcher
from mnist_bench.journal import Address
from mnist_bench.layout import Plan
from mnist_bench.machine import Machine
from mnist_bench.store import Store


@dataclass(frozen=True)
class Here:
    """What this machine works with.

    Attributes:
        machine: Described.
        source: The images.
        execution: How trainings are carried out.
        store: Open; the board that all machines record on.
        address: Of it.
        exclusive: Whether other benchmarks of this user are kept away.
        watch: Gives somebody who is told how a training goes.
        say: Told in one line what came of each part, and what is waited for.
    """

    machine: Machine
    source: Source
    execution: Execution
    store: Store
    address: Address
    exclusive: bool
    watch: Callable[[Plan], AbstractContextManager[Watcher]]
    say: Callable[[str], None]
