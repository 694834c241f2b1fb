"""What trainings of a shared plan or study have in common on this machine."""

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
    """What this machine trains with.

    Attributes:
        machine: This machine's description.
        source: The images.
        execution: Execution settings of each training.
        store: The open store that all machines share.
        address: Address of the store.
        exclusive: Whether other benchmarks of this user are locked out.
        watch: Returns a watcher for the training of a plan.
        log: Prints one line: the result of a training, or what is being waited for.
    """

    machine: Machine
    source: Source
    execution: Execution
    store: MlflowStore
    address: Address
    exclusive: bool
    watch: Callable[[TrainingPlan], AbstractContextManager[Watcher]]
    log: Callable[[str], None]
