"""Machines of a cluster that vanish, sleep, are stopped or refused: each training counts once."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import factories
import fakes
import pytest
from program import PROGRAM, Bench, RecordedRuns, Running, free_port, patched_program, wait_until
from servers import dask_scheduler

from mnist_bench.cluster import connect

# Real processes: what is tested is what becomes of them. `tests/cluster` needs none.
pytestmark = pytest.mark.timeout(180)

RUN = ("run", "smoke", "--dataset", "mnist-5k", "--steps", "100", "--no-report")


@pytest.fixture
def machine_c(tmp_path: Path) -> Bench:
    """A third machine."""
    (tmp_path / "third").mkdir()
    return Bench(tmp_path / "third")


@pytest.fixture
def address() -> Iterator[str]:
    with dask_scheduler() as found:
        yield found


class Barrier:
    """Lets a training of one seed wait until it is told to go on, by two files of a folder."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.reached, self._go = folder / "reached", folder / "go"
        waiting = fakes.wait_for_file(self.reached, self._go)
        self.program = program(f"request['training_seed'] == {seed} and {waiting}")

    def open(self) -> None:
        """Let it and its next attempts go on."""
        self._go.touch()


def program(fault: str = "pass") -> tuple[str, ...]:
    """The program with fake trainings; `fault` is run after each evaluation."""
    return patched_program(f"""
from mnist_bench.cluster import connect
from mnist_bench.runner import process
process.COMMAND = {fakes.worker(fault)!r}
connect.CONNECT_SECONDS = 2.0
""")


@contextlib.contextmanager
def joined(bench: Bench, address: str, command: tuple[str, ...] = ()) -> Iterator[Running]:
    """A machine that has joined."""
    with bench.started("join", address, program=command or program()) as running:
        running.until(lambda: "; Ctrl-C leaves" in running.stdout(), 60)
        yield running


def finished_seeds(bench: Bench) -> Counter[str]:
    """How often each seed is recorded; fails if a run did not finish."""
    runs = RecordedRuns(bench.folder).runs()
    assert {run.info.status for run in runs} <= {"FINISHED"}
    return Counter(run.data.params["seed"] for run in runs)


def is_idle(running: Running) -> bool:
    return not running.descendants()


@pytest.mark.parametrize(("end", "allowed_failures"), [("power failure", 3), ("Ctrl-C", 0)])
def test_the_training_of_a_machine_that_leaves_is_done_elsewhere(
    end: str,
    allowed_failures: int,
    machine_a: Bench,
    machine_b: Bench,
    machine_c: Bench,
    tmp_path: Path,
) -> None:
    barrier = Barrier(tmp_path, seed=0)
    with (
        dask_scheduler(allowed_failures=allowed_failures) as address,
        joined(machine_a, address, barrier.program) as first,
        joined(machine_b, address, barrier.program) as second,
        machine_c.started(*RUN, "--seeds", "4", "--cluster", address) as leads,
    ):
        leads.until(barrier.reached.exists, 60)
        trains = first if "seed 0: training" in first.stdout() else second
        if end == "Ctrl-C":
            (child,) = trains.descendants()
            trains.process.send_signal(signal.SIGINT)
            left = trains.ended(30)
            assert left.status == 130
            assert left.error_line == "mnist-bench: left the cluster"
            assert not child.is_running()
        else:
            fakes.kill(trains)
        barrier.open()
        ended = leads.ended(60)
    assert ended.status == 0, ended.stderr
    assert finished_seeds(machine_c) == {"0": 1, "1": 1, "2": 1, "3": 1}
    assert "is gone: seed 0 is trained by another machine" in ended.stderr
    assert "4 of 4: " in ended.stderr


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)], ids=["Ctrl-C", "kill -9"]
)
def test_a_leader_that_ends_frees_its_machines_and_resumes(
    number: signal.Signals,
    status: int,
    address: str,
    machine_a: Bench,
    machine_b: Bench,
    tmp_path: Path,
) -> None:
    barrier = Barrier(tmp_path, seed=1)
    arguments = (*RUN, "--seeds", "3", "--cluster", address)
    with machine_b.started(*arguments) as leads:
        waiting = f"nobody has joined {address} yet: waiting for `mnist-bench join {address}`"
        leads.until(lambda: waiting in leads.stderr(), 60)
        with joined(machine_a, address, barrier.program) as trains:
            leads.until(barrier.reached.exists, 60)
            leads.until(lambda: "1 of 3: seed 0" in leads.stderr(), 60)
            leads.process.send_signal(number)
            ended = leads.ended(30)
            assert ended.status == status
            assert "Traceback" not in ended.stderr
            trains.until(lambda: is_idle(trains), 20)
            assert finished_seeds(machine_b) == {"0": 1}
            barrier.open()
            again = machine_b.run(*arguments, "--resume", seconds=60)
            assert again.status == 0, again.stderr
            assert "2 of 2: " in again.stderr
    assert finished_seeds(machine_b) == {"0": 1, "1": 1, "2": 1}


def test_a_scheduler_that_goes_away_ends_its_leader_and_machines(
    machine_a: Bench, machine_b: Bench, tmp_path: Path
) -> None:
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    barrier = Barrier(tmp_path, seed=1)
    dask = (sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--no-dashboard")
    with machine_a.started("--port", str(port), program=dask) as scheduler:
        scheduler.until(lambda: "Scheduler at:" in scheduler.stderr(), 60)
        with (
            joined(machine_a, address, barrier.program) as trains,
            machine_b.started(*RUN, "--seeds", "3", "--cluster", address) as leads,
        ):
            leads.until(barrier.reached.exists, 60)
            scheduler.process.kill()
            ended, left = leads.ended(30), trains.ended(30)
    assert ended.status == 1
    assert ended.error_line == (
        f"mnist-bench: the scheduler at {address} went away: 1 training in work is lost; "
        "`--resume` trains again what is not recorded"
    )
    assert left.status == 1
    assert left.error_line == (
        f"mnist-bench: the scheduler at {address} went away; join again when it is back"
    )
    assert finished_seeds(machine_b) == {"0": 1}


@pytest.mark.skipif(sys.platform == "win32", reason="stops a process by signals")
def test_a_machine_that_slept_too_long_joins_again(
    machine_a: Bench, machine_b: Bench, machine_c: Bench, tmp_path: Path
) -> None:
    barrier = Barrier(tmp_path, seed=0)
    with (
        dask_scheduler(worker_ttl_seconds=1) as address,
        joined(machine_a, address, barrier.program) as sleeps,
        machine_c.started(*RUN, "--seeds", "2", "--cluster", address) as leads,
    ):
        leads.until(barrier.reached.exists, 60)
        sleeps.process.send_signal(signal.SIGSTOP)
        with joined(machine_b, address, barrier.program):
            leads.until(lambda: "is gone: seed 0" in leads.stderr(), 60)
            sleeps.process.send_signal(signal.SIGCONT)
            again = f"{address} had given this machine up: joined again"
            sleeps.until(lambda: again in sleeps.stdout(), 30)
            barrier.open()
            assert leads.ended(60).status == 0
        assert finished_seeds(machine_c) == {"0": 1, "1": 1}
        wait_until(lambda: is_idle(sleeps), 20)


def test_machines_with_other_versions_or_images_are_refused(
    address: str, machine_a: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = factories.SOURCE.model_copy(update={"name": "custom:dddddddddddd"})
    with connect.open_cluster(address, [other]):
        ended = machine_a.call("join", address)
        of_images = [line for line in ended.stdout.splitlines() if "MNIST" in line]
        assert (ended.status, ended.stdout.splitlines()) == (2, of_images)
        assert ended.error_line.startswith(
            f"mnist-bench: {address} trains on custom:dddddddddddd now, and this machine has other "
            "images; set --data DIR"
        )
    monkeypatch.setattr(connect, "version", lambda _name: "0.0.9")
    ended = machine_a.call("join", address)
    assert (ended.status, ended.stdout) == (2, "")
    assert "is used by mnist-bench " in ended.error_line
    assert "and this is mnist-bench 0.0.9, TensorFlow " in ended.error_line


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (("run", "--cluster", "localhost:8786"), 2, "'localhost:8786' is not the address of a"),
        (("run", "--cluster", "local:none"), 2, "'none' is not a number of trainings at a time"),
        (("run", "--cluster", "tcp://192.0.2.1:8786"), 2, "is not encrypted"),
        (("run", "--insecure-cluster"), 2, "--insecure-cluster works only with --cluster"),
        (("run", "claims", "--cluster", "local"), 2, "--cluster can't be used with claims"),
        (("run", "--seeds", "auto", "--cluster", "local"), 2, "--cluster needs --seeds with a num"),
        (("run", "threads", "--cluster", "tcp://127.0.0.1:1"), 2, "and machines differ"),
        (("join", "tcp://192.0.2.1:8786"), 2, "is not encrypted"),
        (("join", "local"), 2, "'local' is not the address of a Dask scheduler"),
        (("join", "tls://127.0.0.1:1"), 2, "needs certificates"),
        (("join", "tcp://127.0.0.1:1"), 1, "no Dask scheduler answers at tcp://127.0.0.1:1"),
        ((*RUN, "--cluster", "tcp://127.0.0.1:1"), 1, "no Dask scheduler answers at tcp://127"),
    ],
)
def test_bad_requests_are_refused_in_one_line(
    arguments: tuple[str, ...],
    status: int,
    line: str,
    machine_a: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connect, "CONNECT_SECONDS", 0.2)
    ended = machine_a.call(*arguments)
    assert ended.status == status
    assert line in ended.error_line
    assert list(machine_a.folder.iterdir()) == []


def test_a_dry_run_asks_no_scheduler(machine_a: Bench) -> None:
    ended = machine_a.call(*RUN, "--dry-run", "--cluster", "tcp://127.0.0.1:1")
    assert ended.status == 0
    assert "unknown: it depends on the machines at tcp://127.0.0.1:1" in ended.stdout


@pytest.mark.slow
def test_a_local_cluster_measures_what_one_machine_does(machine_a: Bench) -> None:
    train = ("run", "smoke", "--dataset", "mnist-5k", "--steps", "20", "--threads", "1", "--json")
    alone = machine_a.run(*train, program=PROGRAM)
    shared = machine_a.run(*train, "--cluster", "local", program=PROGRAM)
    assert (alone.status, shared.status) == (0, 0), shared.stderr
    first, second = (ended.document["runs"][0] for ended in (alone, shared))
    for name in ("max_test_accuracy", "final_test_accuracy", "hyperparameters", "machine_id"):
        assert first[name] == second[name]
    losses = [
        RecordedRuns(machine_a.folder).history(run["run_id"], "train_loss")
        for run in (first, second)
    ]
    assert losses[0] == losses[1] != []
