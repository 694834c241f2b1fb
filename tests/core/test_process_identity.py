"""Process identities, with real processes, alive and gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from program import wait_until

from mnist_bench.core import process_identity
from mnist_bench.core.process_identity import ProcessIdentity

MACHINE = "0123456789abcdef"
PROGRAM = f"""
import sys
from mnist_bench.core import process_identity
print(process_identity.current_process("{MACHINE}").model_dump_json(), flush=True)
sys.stdin.read()
"""


def this_process(**changes: Any) -> ProcessIdentity:
    """The identity of this process with other values."""
    return process_identity.current_process(MACHINE).model_copy(update=changes)


@contextmanager
def other_process() -> Iterator[tuple[subprocess.Popen[str], ProcessIdentity]]:
    """A process that prints its identity and runs until its standard input is closed."""
    with subprocess.Popen(
        (sys.executable, "-c", PROGRAM), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, ProcessIdentity.model_validate_json(process.stdout.readline())
        finally:
            process.kill()


def is_zombie(process: subprocess.Popen[str]) -> bool:
    return psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE


# Alive


def test_this_process_is_alive() -> None:
    current = process_identity.current_process(MACHINE)
    assert current.is_gone is False
    assert (current.machine_id, current.pid) == (MACHINE, os.getpid())
    assert current.started_at == psutil.Process().create_time()
    assert current.ran_on(MACHINE)


def test_other_live_process_is_not_gone() -> None:
    with other_process() as (process, identity):
        assert (identity.pid, identity.is_gone) == (process.pid, False)
        assert identity.boot_id == process_identity.boot_id()
        assert identity.ran_on(MACHINE)


def test_stopped_process_is_not_gone() -> None:
    if os.name != "posix":
        pytest.skip("needs signals")
    with other_process() as (process, identity):
        stopped = psutil.Process(process.pid)
        stopped.suspend()
        wait_until(lambda: stopped.status() == psutil.STATUS_STOPPED, 30)
        assert identity.is_gone is False
        stopped.resume()


def test_process_that_can_not_be_inspected_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny_access(_: psutil.Process) -> None:
        raise psutil.AccessDenied(1)

    current = process_identity.current_process(MACHINE)
    monkeypatch.setattr(psutil.Process, "status", deny_access)
    assert current.is_gone is False


def test_round_trip() -> None:
    for identity in (
        process_identity.current_process(MACHINE),
        process_identity.current_process(None),
    ):
        assert ProcessIdentity.model_validate_json(identity.model_dump_json()) == identity
        assert not identity.is_gone


# Gone


def test_ended_process_is_gone() -> None:
    with other_process() as (process, identity):
        process.communicate()
        assert process.returncode == 0
    assert identity.is_gone


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX zombies")
def test_zombie_is_gone() -> None:
    with other_process() as (process, identity):
        os.kill(process.pid, 9)
        wait_until(lambda: is_zombie(process), 30)
        assert identity.is_gone


def test_process_with_a_reused_pid_is_gone() -> None:
    """An earlier process had the pid of this one."""
    current = process_identity.current_process(MACHINE)
    after_boot = current.started_after_boot_seconds
    assert ProcessIdentity(
        machine_id=MACHINE,
        boot_id=current.boot_id,
        pid=current.pid,
        started_at=current.started_at - 60,
        started_after_boot_seconds=None if after_boot is None else after_boot - 60,
    ).is_gone


def test_process_with_an_unused_pid_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_process(pid: int) -> None:
        raise psutil.NoSuchProcess(pid)

    current = process_identity.current_process(MACHINE)
    monkeypatch.setattr(psutil, "Process", no_such_process)
    assert current.is_gone


@pytest.mark.parametrize("boot", ["another", ""])
def test_process_from_before_the_last_boot_is_gone(boot: str) -> None:
    namespace = process_identity.boot_id().partition("/")[2]
    if f"{boot}/{namespace}" == process_identity.boot_id():
        pytest.skip("this system has no boot id")
    before = this_process(boot_id=f"{boot}/{namespace}")
    assert before.is_gone
    assert before.ran_on(MACHINE)


# Clock corrections


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts from the boot")
def test_corrected_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The boot time is derived from the clock, so that it and start times of processes change."""
    current = process_identity.current_process(MACHINE)
    create_time, boot_time = psutil.Process.create_time, psutil.boot_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + 3_600)
    monkeypatch.setattr(psutil, "boot_time", lambda: boot_time() + 3_600)
    assert process_identity.current_process(MACHINE).started_at == pytest.approx(
        current.started_at + 3_600, abs=2
    )
    assert current.is_gone is False


def test_without_boot_time_the_clock_is_used() -> None:
    assert this_process(started_after_boot_seconds=None).is_gone is False
    assert this_process(started_after_boot_seconds=None, started_at=1e9).is_gone


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_systems_without_a_boot_id(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    """The boot id must be stable without /proc."""

    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError("/proc/sys/kernel/random/boot_id")

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(process_identity.sys, "platform", system)
    current = process_identity.current_process(MACHINE)
    assert (current.boot_id, current.started_after_boot_seconds) == ("/", None)
    monkeypatch.setattr(psutil, "boot_time", lambda: 1.0)
    assert current.is_gone is False
    assert current.model_copy(update={"started_at": current.started_at - 60}).is_gone


# Other machines


@pytest.mark.parametrize(
    ("recorded", "current", "expected"),
    [
        (MACHINE, MACHINE, True),
        ("another", MACHINE, False),
        (None, MACHINE, False),
        (MACHINE, None, False),
        (None, None, False),  # machines without an id may differ
    ],
)
def test_ran_on_machine(recorded: str | None, current: str | None, *, expected: bool) -> None:
    assert this_process(machine_id=recorded).ran_on(current) is expected


def test_container_is_another_pid_namespace() -> None:
    """Its processes can't be seen from outside."""
    boot = process_identity.boot_id().partition("/")[0]
    assert this_process(boot_id=f"{boot}/pid:[1]").ran_on(MACHINE) is False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has PID namespaces")
def test_pid_namespace_is_that_of_the_kernel() -> None:
    boot, _, namespace = process_identity.boot_id().partition("/")
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert namespace == str(Path("/proc/self/ns/pid").readlink())
