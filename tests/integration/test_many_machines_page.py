"""Runs the commands of docs/many-machines.md, with fake trainings; only addresses are replaced."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import fakes
import pytest
from program import Bench, RecordedRuns, Running, free_port, installed, patched_program

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform == "win32", reason="the page is about POSIX shells"),
]

PAGE = Path(__file__).parents[2] / "docs" / "many-machines.md"
LOCAL, CERTIFICATES, SHELL, SCHEDULER, JOIN, LEAD = range(6)
"""The page's blocks, in order."""
SMALL = "run smoke --dataset mnist-5k --steps 100 --seeds 2 --no-report"
REFUSED = "this machine do not accept each other's certificates"


def blocks() -> list[str]:
    found = re.findall(
        r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(found) == 6, "the page has another block: add it to this test"
    return found


class Reader:
    """Follows the page.

    Args:
        programs: A folder for the program `mnist-bench`.
        port: Of the scheduler.
    """

    def __init__(self, programs: Path, port: int) -> None:
        self._port = port
        self._path = os.pathsep.join(
            [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        )
        programs.mkdir()
        code = f"from mnist_bench.runner import process\nprocess.COMMAND = {fakes.worker()!r}"
        executable = programs / "mnist-bench"
        executable.write_text(f"#!{sys.executable}\n{patched_program(code)[-1]}")
        executable.chmod(0o755)

    def script(self, *parts: str) -> str:
        """Blocks of the page with local addresses and a short plan."""
        text = "\n".join(parts)
        for old, new in (
            ("127.0.0.1:8787", "127.0.0.1:0"),
            ("bench.example.org", "127.0.0.1"),
            ("8786", str(self._port)),
            ("run table-1 --seeds 30", SMALL),
        ):
            text = text.replace(old, new)
        return text

    @contextlib.contextmanager
    def started(self, bench: Bench, *parts: str) -> Iterator[Running]:
        """Run blocks in a shell."""
        shell = ("bash", "-e", "-c")
        with bench.started(self.script(*parts), program=shell, PATH=self._path) as running:
            yield running


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path / "programs", free_port())


def lines(block: int, command: str) -> str:
    """The lines of a block that start with a command."""
    found = [line for line in blocks()[block].splitlines() if line.startswith(command)]
    assert found
    return "\n".join(found)


def assert_joined_and_recorded(
    reader: Reader, machine: Bench, leader: Bench, shell: str, join: str, run: str
) -> None:
    with reader.started(machine, shell, join) as trains:
        trains.until(lambda: "; Ctrl-C leaves" in trains.stdout(), 60)
        with reader.started(leader, shell, run) as leads:
            ended = leads.ended(60)
        assert ended.status == 0, ended.stderr
        assert "smoke, seed 1: trained" in trains.stdout()
    statuses = [run.info.status for run in RecordedRuns(leader.folder).runs()]
    assert statuses == ["FINISHED", "FINISHED"]


def test_the_first_commands(reader: Reader, machine_a: Bench, machine_b: Bench) -> None:
    scheduler, join = lines(LOCAL, "dask"), lines(LOCAL, "mnist-bench join")
    with reader.started(machine_a, scheduler) as serves:
        serves.until(lambda: "Scheduler at:" in serves.stderr(), 60)
        run = lines(LOCAL, "mnist-bench run")
        assert_joined_and_recorded(reader, machine_a, machine_b, "", join, run)


def test_a_cluster_with_certificates(
    reader: Reader, machine_a: Bench, machine_b: Bench, tmp_path: Path
) -> None:
    installed("openssl")
    shell, run = blocks()[SHELL], lines(LEAD, "mnist-bench run")
    with reader.started(machine_a, blocks()[CERTIFICATES]) as running:
        assert running.ended(60).status == 0
    for name in ("ca.pem", "machine.pem", "machine.key"):
        shutil.copy(machine_a.folder / name, machine_b.folder)
    with reader.started(machine_a, shell, blocks()[SCHEDULER]) as serves:
        serves.until(lambda: "Scheduler at:" in serves.stderr(), 60)
        assert "tls://127.0.0.1" in serves.stderr()
        join = blocks()[JOIN]
        assert_joined_and_recorded(reader, machine_a, machine_b, shell, join, run)
        # A stranger with certificates of his own, one without, and one who hopes for plain text.
        (tmp_path / "stranger").mkdir()
        stranger = Bench(tmp_path / "stranger")
        with reader.started(stranger, blocks()[CERTIFICATES]) as running:
            assert running.ended(60).status == 0
        shutil.copy(machine_a.folder / "ca.pem", stranger.folder)
        for parts, status, line in (
            ((shell, run), 1, REFUSED),
            ((shell, join), 1, REFUSED),
            ((run,), 2, "needs certificates; set DASK_DISTRIBUTED__COMM__TLS__CA_FILE"),
            ((join.replace("tls:", "tcp:"),), 1, "no Dask scheduler answers at tcp://127.0.0.1:"),
        ):
            with reader.started(stranger, *parts) as running:
                ended = running.ended(60)
            assert (ended.status, ended.stdout) == (status, "")
            assert line in ended.error_line


def test_a_worker_that_dask_starts(reader: Reader, machine_a: Bench, machine_b: Bench) -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    (command,) = re.findall(r"`(dask worker ADDRESS [^`]*worker_setup)`", text)
    with reader.started(machine_a, lines(LOCAL, "dask")) as serves:
        serves.until(lambda: "Scheduler at:" in serves.stderr(), 60)
        worker = command.replace("ADDRESS", "tcp://127.0.0.1:8786")
        with reader.started(machine_a, worker) as trains:
            trains.until(lambda: "Registered to:" in trains.stderr(), 60)
            with reader.started(machine_b, lines(LOCAL, "mnist-bench run")) as leads:
                ended = leads.ended(120)
        # Its trainings are real, and of the images that it has.
        assert ended.status == 0, ended.stderr
    (first, second) = RecordedRuns(machine_b.folder).runs()
    assert {first.info.status, second.info.status} == {"FINISHED"}
