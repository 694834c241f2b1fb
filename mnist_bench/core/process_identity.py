"""Whose a run or a lock is: this process or another one, alive or gone."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
from pydantic import ValidationError

from mnist_bench.core.records import Record

_SAME_START_SECONDS = 2.0
"""Start times of one process agree within this; the system's own are a second coarse."""


class ProcessIdentity(Record):
    """A process, told apart from all others before and after it.

    Attributes:
        machine_id: The random id of its machine.
        boot_id: Another one after each start of the system, and in each container's own world of
            processes.
        pid: The system's number of the process, which is given again to others.
        started_at: Unix time in seconds of its start.
        started_after_boot_seconds: The same from the system's start on, where no correction of the
            clock moves it; None elsewhere.
    """

    machine_id: str | None
    boot_id: str
    pid: int
    started_at: float
    started_after_boot_seconds: float | None = None

    @classmethod
    def told(cls, text: str | None) -> ProcessIdentity | None:
        """As it was written down; None where nothing was, or nothing that can be read."""
        try:
            return cls.model_validate_json(text) if text else None
        except ValidationError:
            return None

    @property
    def is_gone(self) -> bool:
        """Whether it has certainly ended: False for another machine's, of which nothing is known.

        Asked on the machine with the id that this owner has.
        """
        return not _is_alive(self)

    def belongs_to(self, machine_id: str | None) -> bool:
        """Whether it is or was a process of the named machine and of a world seen from here."""
        here, there = boot_id().partition(_WORLD), self.boot_id.partition(_WORLD)
        return machine_id is not None and self.machine_id == machine_id and here[2] == there[2]


_WORLD = "/"
"""Parts the boot from the world of processes in a boot id."""


def current_process(machine_id: str | None) -> ProcessIdentity:
    """This process."""
    process = psutil.Process()
    return ProcessIdentity(
        machine_id=machine_id,
        boot_id=boot_id(),
        pid=process.pid,
        started_at=process.create_time(),
        started_after_boot_seconds=_after_boot(process),
    )


def boot_id() -> str:
    """Stands for the time since the system's start, and for the processes seen from here."""
    return f"{_boot()}{_WORLD}{_world()}"


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        # The time of the system's start would not do: it is told anew with every correction of
        # the clock. A process's own start tells it apart from those before the last boot too.
        return ""


def _world() -> str:
    """Which processes are seen from here: a container sees its own only."""
    if sys.platform != "linux":
        return ""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _is_alive(owner: ProcessIdentity) -> bool:
    if owner.boot_id != boot_id():
        return False
    try:
        process = psutil.Process(owner.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return abs(_start_difference(process, owner)) < _SAME_START_SECONDS
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True  # it is there and tells nothing: rather alive than gone


def _start_difference(process: psutil.Process, owner: ProcessIdentity) -> float:
    """Seconds between the start of a process and that of the owner."""
    after_boot = _after_boot(process)
    if after_boot is None or owner.started_after_boot_seconds is None:
        return process.create_time() - owner.started_at
    return after_boot - owner.started_after_boot_seconds


def _after_boot(process: psutil.Process) -> float | None:
    """Seconds from the system's start to the process's; Linux counts so itself."""
    if sys.platform != "linux":
        return None
    return process.create_time() - psutil.boot_time()
