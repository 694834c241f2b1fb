"""Identity of the process that owns a run or a lock, and whether it is still alive."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
from pydantic import ValidationError

from mnist_bench.core.records import Record

_SAME_START_SECONDS = 2.0
"""Two start times of one process agree within this; the system's resolution is a second."""


class ProcessIdentity(Record):
    """A process, identified beyond its pid, which the system reuses.

    Attributes:
        machine_id: The random id of its machine.
        boot_id: Differs after each boot, and in each container (PID namespace).
        pid: Process id.
        started_at: Start of the process, Unix time in seconds.
        started_after_boot_seconds: Start of the process relative to the boot, which clock
            corrections do not change; None except on Linux.
    """

    machine_id: str | None
    boot_id: str
    pid: int
    started_at: float
    started_after_boot_seconds: float | None = None

    @classmethod
    def from_json(cls, text: str | None) -> ProcessIdentity | None:
        """Parse a recorded identity; None if there is none or it can't be parsed."""
        try:
            return cls.model_validate_json(text) if text else None
        except ValidationError:
            return None

    @property
    def is_gone(self) -> bool:
        """Whether the process has certainly ended.

        Only meaningful on the machine that the process ran on: see `ran_on`.
        """
        return not _is_alive(self)

    def ran_on(self, machine_id: str | None) -> bool:
        """Whether it is or was a process of that machine, in a PID namespace seen from here."""
        _, _, namespace = boot_id().partition(_SEPARATOR)
        _, _, own_namespace = self.boot_id.partition(_SEPARATOR)
        return (
            machine_id is not None and self.machine_id == machine_id and own_namespace == namespace
        )


_SEPARATOR = "/"
"""Separates the boot from the PID namespace in a boot id."""


def current_process(machine_id: str | None) -> ProcessIdentity:
    """The identity of this process."""
    process = psutil.Process()
    return ProcessIdentity(
        machine_id=machine_id,
        boot_id=boot_id(),
        pid=process.pid,
        started_at=process.create_time(),
        started_after_boot_seconds=_seconds_after_boot(process),
    )


def boot_id() -> str:
    """Id of the current boot and of the PID namespace of this process."""
    return f"{_boot()}{_SEPARATOR}{_pid_namespace()}"


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        # Not the boot time: it changes with every correction of the clock. The start time of a
        # process distinguishes it from processes before the last boot too.
        return ""


def _pid_namespace() -> str:
    """Id of the PID namespace, since a container sees only its own processes; Linux only."""
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
        return True  # it exists but can't be inspected: assume that it is alive


def _start_difference(process: psutil.Process, owner: ProcessIdentity) -> float:
    """Seconds between the start of a process and the recorded start of the owner."""
    after_boot = _seconds_after_boot(process)
    if after_boot is None or owner.started_after_boot_seconds is None:
        return process.create_time() - owner.started_at
    return after_boot - owner.started_after_boot_seconds


def _seconds_after_boot(process: psutil.Process) -> float | None:
    """Seconds from the boot to the start of a process; None except on Linux."""
    if sys.platform != "linux":
        return None
    return process.create_time() - psutil.boot_time()
