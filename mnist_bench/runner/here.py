"""What this machine works with when it trains for a plan or a study."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from mnist_bench.data.dataset import Source
from mnist_bench.measurement.machine import Machine
from mnist_bench.runner.executor import Watcher
from mnist_bench.runner.plan import TrainingPlan
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address


@dataclass(frozen=True)
class WorkContext:
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
    store: MlflowStore
    address: Address
    exclusive: bool
    watch: Callable[[TrainingPlan], AbstractContextManager[Watcher]]
    say: Callable[[str], None]
