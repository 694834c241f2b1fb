"""Machines that share a plan on a real PostgreSQL server, which is MLflow's database too."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import stand_ins
from program import Bench, altered, free_port, is_up, wait_until
from servers import PostgreSql, postgresql
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SHARE = ("run", "smoke", "--dataset", "mnist-5k", "--steps", "100,200", "--json")
FINISHED = """
    SELECT part.value, steps.value FROM runs
    JOIN tags AS part ON part.run_uuid = runs.run_uuid AND part.key = 'bench.part'
    JOIN tags AS steps ON steps.run_uuid = runs.run_uuid AND steps.key = 'bench.steps'
    WHERE runs.status = 'FINISHED'
"""


@pytest.fixture
def server() -> Iterator[PostgreSql]:
    with postgresql("optuna", "mlflow") as running:
        yield running


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Bench, Bench]:
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    first, second = map(Bench, folders)
    return first, second


def board(server: PostgreSql) -> dict[str, str]:
    """As all machines are told it."""
    return {
        "MNIST_BENCH_STORAGE": server.url("optuna"),
        "MLFLOW_TRACKING_URI": server.url("mlflow"),
    }


def program(seconds: float) -> tuple[str, ...]:
    """The program with trainings of six such waits, and hearts that beat fast."""
    return altered(f"""
from mnist_bench import beating, harness, patience, process
process.COMMAND = {stand_ins.worker(f"import time; time.sleep({seconds})")!r}
beating.HEARTBEAT_SECONDS = 5
patience.AGAIN_SECONDS = harness._AGAIN_SECONDS = 0.5
""")


def finished(server: PostgreSql) -> Counter[tuple[str, str]]:
    """Finished runs on the board, by seed and rows of their part, and steps."""
    engine = create_engine(server.url("mlflow"))
    try:
        with engine.connect() as connection:
            found = connection.execute(text(FINISHED)).all()
    except SQLAlchemyError:  # not there yet
        return Counter()
    finally:
        engine.dispose()
    return Counter((part[-9:], steps) for part, steps in found)


def once(count: int) -> dict[tuple[str, str], int]:
    return {(f"{seed}-100-200", steps): 1 for seed in range(count) for steps in ("100", "200")}


def test_two_machines_do_each_part_once_also_where_the_server_is_restarted(
    server: PostgreSql, machines: tuple[Bench, Bench]
) -> None:
    here, there = machines
    told, slow = board(server), program(0.5)
    with here.started(*SHARE, "--seeds", "6", program=slow, **told) as first:
        first.until(lambda: finished(server), 120)
        with there.started("join", program=slow, **told) as second:
            second.until(lambda: "seed" in second.stdout(), 120)
            server.stop()
            server.start()
            joined = second.ended(240)
            ended = first.ended(240)
    assert (ended.status, joined.status) == (0, 0), ended.stderr + joined.stderr
    assert finished(server) == once(6)
    for each in (ended, joined):
        assert "Traceback" not in each.stderr
        assert server.password not in each.stdout + each.stderr
    for bench in machines:
        files = [path for path in bench.folder.rglob("*") if path.is_file()]
        assert not [path for path in files if server.password.encode() in path.read_bytes()]


@contextmanager
def tracking_server(bench: Bench, server: PostgreSql, port: int) -> Iterator[None]:
    """MLflow's, which keeps runs on PostgreSQL and artifacts in a folder of its own."""
    command = (sys.executable, "-P", "-m", "mlflow", "server", "--host", "127.0.0.1")
    with bench.started(
        *("--port", str(port), "--workers", "1"),
        program=command,
        MLFLOW_BACKEND_STORE_URI=server.url("mlflow"),
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        MLFLOW_DISABLE_TELEMETRY="true",
    ) as running:
        running.until(lambda: is_up(port), 180)
        yield


def test_a_tracking_server_that_is_away_is_waited_for(
    server: PostgreSql, machines: tuple[Bench, Bench], tmp_path: Path
) -> None:
    (tmp_path / "board").mkdir()
    home, port, slow = Bench(tmp_path / "board"), free_port(), program(0.5)
    here, there = machines
    told = board(server) | {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    with contextlib.ExitStack() as stack:
        with tracking_server(home, server, port):
            first = stack.enter_context(here.started(*SHARE, "--seeds", "4", program=slow, **told))
            first.until(lambda: finished(server), 120)
            second = stack.enter_context(there.started("join", program=slow, **told))
            second.until(lambda: "seed" in second.stdout(), 120)
        wait_until(lambda: not is_up(port), 60)
        second.until(lambda: "results wait in" in second.stderr() + first.stderr(), 120)
        with tracking_server(home, server, port):
            joined = second.ended(240)
            ended = first.ended(240)
    assert (ended.status, joined.status) == (0, 0), ended.stderr + joined.stderr
    assert finished(server) == once(4)
    assert "Traceback" not in ended.stderr + joined.stderr
    for bench in machines:
        assert not (bench.folder / "mlruns" / ".runs").exists(), "nothing waits any more"
        assert not list(bench.folder.glob("mlruns/**/result.json"))
    kept = list(home.folder.rglob("result.json"))
    assert len(kept) >= 8


def test_a_wrong_password_is_one_line_without_it(
    server: PostgreSql, machines: tuple[Bench, Bench]
) -> None:
    wrong = {"MNIST_BENCH_STORAGE": server.url("optuna", password="not-the-one")}
    ended = machines[0].run("join", **(board(server) | wrong))
    assert ended.status == 1
    assert "password authentication failed" in ended.complaint
    assert "not-the-one" not in ended.stderr
    assert list(machines[0].folder.iterdir()) == []


def test_a_server_that_is_not_there_is_one_line(
    server: PostgreSql, machines: tuple[Bench, Bench]
) -> None:
    server.stop()
    ended = machines[0].run(*SHARE, **board(server))
    assert ended.status != 0
    assert "127.0.0.1" in ended.complaint
    assert server.password not in ended.stderr
