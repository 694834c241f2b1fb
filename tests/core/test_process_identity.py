"""Whose a run is: real processes, alive and gone."""

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
TELLS = f"""
import sys
from mnist_bench.core import process_identity
print(owner.current("{MACHINE}").model_dump_json(), flush=True)
sys.stdin.read()
"""


def changed(**changes: Any) -> ProcessIdentity:
    """This process, but for something."""
    return process_identity.current_process(MACHINE).model_copy(update=changes)


@contextmanager
def another() -> Iterator[tuple[subprocess.Popen[str], ProcessIdentity]]:
    """A process that tells who it is and lives until its standard input ends."""
    with subprocess.Popen(
        (sys.executable, "-c", TELLS), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, ProcessIdentity.model_validate_json(process.stdout.readline())
        finally:
            process.kill()


def is_zombie(process: subprocess.Popen[str]) -> bool:
    return psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE


# Alive


def test_this_process_is_here() -> None:
    here = process_identity.current_process(MACHINE)
    assert here.is_gone is False
    assert (here.machine_id, here.pid) == (MACHINE, os.getpid())
    assert here.started_at == psutil.Process().create_time()
    assert here.belongs_to(MACHINE)


def test_another_process_that_lives_is_here() -> None:
    with another() as (process, told):
        assert (told.pid, told.is_gone) == (process.pid, False)
        assert told.boot_id == process_identity.boot_id()
        assert told.belongs_to(MACHINE)


def test_a_stopped_process_is_not_gone() -> None:
    if os.name != "posix":
        pytest.skip("needs signals")
    with another() as (process, told):
        stopped = psutil.Process(process.pid)
        stopped.suspend()
        wait_until(lambda: stopped.status() == psutil.STATUS_STOPPED, 30)
        assert told.is_gone is False
        stopped.resume()


def test_a_process_that_tells_nothing_is_rather_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: psutil.Process) -> None:
        raise psutil.AccessDenied(1)

    here = process_identity.current_process(MACHINE)
    monkeypatch.setattr(psutil.Process, "status", refused)
    assert here.is_gone is False


def test_it_reads_itself_back() -> None:
    for told in (process_identity.current_process(MACHINE), process_identity.current_process(None)):
        assert ProcessIdentity.model_validate_json(told.model_dump_json()) == told
        assert not told.is_gone


# Gone


def test_a_process_that_ended_is_gone() -> None:
    with another() as (process, told):
        process.communicate()
        assert process.returncode == 0
    assert told.is_gone


@pytest.mark.skipif(os.name != "posix", reason="no other system keeps the dead")
def test_a_process_that_nobody_buried_is_gone() -> None:
    with another() as (process, told):
        os.kill(process.pid, 9)
        wait_until(lambda: is_zombie(process), 30)
        assert told.is_gone


def test_a_process_number_that_was_given_again() -> None:
    """To this process: an earlier one had its number."""
    here = process_identity.current_process(MACHINE)
    after_boot = here.started_after_boot_seconds
    assert ProcessIdentity(
        machine_id=MACHINE,
        boot_id=here.boot_id,
        pid=here.pid,
        started_at=here.started_at - 60,
        started_after_boot_seconds=None if after_boot is None else after_boot - 60,
    ).is_gone


def test_a_process_number_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(pid: int) -> None:
        raise psutil.NoSuchProcess(pid)

    here = process_identity.current_process(MACHINE)
    monkeypatch.setattr(psutil, "Process", nobody)
    assert here.is_gone


@pytest.mark.parametrize("boot", ["another", ""])
def test_a_process_of_before_the_last_start_of_the_system_is_gone(boot: str) -> None:
    world = process_identity.boot_id().partition("/")[2]
    if f"{boot}/{world}" == process_identity.boot_id():
        pytest.skip("this system names no start")
    before = changed(boot_id=f"{boot}/{world}")
    assert before.is_gone
    assert before.belongs_to(MACHINE)


# The clock is corrected


@pytest.mark.skipif(sys.platform != "linux", reason="Linux counts from its start")
def test_a_corrected_clock_makes_no_ghosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's start is reckoned back from the clock: both it and starts of processes move."""
    here = process_identity.current_process(MACHINE)
    create_time, boot_time = psutil.Process.create_time, psutil.boot_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + 3_600)
    monkeypatch.setattr(psutil, "boot_time", lambda: boot_time() + 3_600)
    assert process_identity.current_process(MACHINE).started_at == pytest.approx(
        here.started_at + 3_600, abs=2
    )
    assert here.is_gone is False


def test_without_the_start_of_the_system_the_clock_must_do() -> None:
    assert changed(started_after_boot_seconds=None).is_gone is False
    assert changed(started_after_boot_seconds=None, started_at=1e9).is_gone


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_systems_that_name_no_start(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    """What stands for it must not change from one question to the next."""

    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError("/proc/sys/kernel/random/boot_id")

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(process_identity.sys, "platform", system)
    here = process_identity.current_process(MACHINE)
    assert (here.boot_id, here.started_after_boot_seconds) == ("/", None)
    monkeypatch.setattr(psutil, "boot_time", lambda: 1.0)
    assert here.is_gone is False
    assert here.model_copy(update={"started_at": here.started_at - 60}).is_gone


# Others


@pytest.mark.parametrize(
    ("theirs", "ours", "belongs"),
    [
        (MACHINE, MACHINE, True),
        ("another", MACHINE, False),
        (None, MACHINE, False),
        (MACHINE, None, False),
        (None, None, False),  # two machines without an id are not one
    ],
)
def test_machines(theirs: str | None, ours: str | None, *, belongs: bool) -> None:
    assert changed(machine_id=theirs).belongs_to(ours) is belongs


def test_a_container_on_this_machine_is_another_world() -> None:
    """Its processes are not seen from here: nothing is known of them."""
    boot = process_identity.boot_id().partition("/")[0]
    assert changed(boot_id=f"{boot}/pid:[1]").belongs_to(MACHINE) is False


@pytest.mark.skipif(sys.platform != "linux", reason="no other system has worlds")
def test_the_world_is_the_kernels_own_name_for_it() -> None:
    boot, _, world = process_identity.boot_id().partition("/")
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert world == str(Path("/proc/self/ns/pid").readlink())
