"""A shared store on PostgreSQL: comparison of machines, and errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fakes
import pytest
from program import Bench, Ended, patched_program
from servers import PostgreSql, postgresql
from sqlalchemy import create_engine, text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SHARE = ("run", "smoke", "--dataset", "mnist-5k", "--steps", "100,200", "--json")


@pytest.fixture
def server() -> Iterator[PostgreSql]:
    with postgresql("optuna", "mlflow") as running:
        yield running


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Bench, ...]:
    folders = [tmp_path / name for name in ("one", "other", "third")]
    for folder in folders:
        folder.mkdir()
    return tuple(map(Bench, folders))


def shared_store(server: PostgreSql) -> dict[str, str]:
    """Environment variables of all machines."""
    return {
        "MNIST_BENCH_STORAGE": server.url("optuna"),
        "MLFLOW_TRACKING_URI": server.url("mlflow"),
    }


def program(cpu: str, seconds_a_step: float) -> tuple[str, ...]:
    """The program on a fake machine with this CPU and speed."""
    command = fakes.worker()
    slower = (*command[:-1], command[-1].replace("0.5", str(seconds_a_step)))
    return patched_program(f"""
from mnist_bench.measurement import machine
from mnist_bench.runner import process
machine._cpu_name = lambda: {cpu!r}
process.COMMAND = {slower!r}
""")


def record_runs(machine: Bench, server: PostgreSql, cpu: str, pace: float) -> Ended:
    uri = {"MLFLOW_TRACKING_URI": server.url("mlflow")}
    ended = machine.run(*SHARE, "--seeds", "2", program=program(cpu, pace), **uri)
    assert ended.status == 0, ended.stderr
    return ended


def test_three_machines_in_one_store_are_compared(
    server: PostgreSql, machines: tuple[Bench, ...]
) -> None:
    first, second, third = machines
    record_runs(first, server, "Alpha", 0.5)
    record_runs(second, server, "Beta", 0.25)
    record_runs(third, server, "Gamma", 2.0)
    uri = {"MLFLOW_TRACKING_URI": server.url("mlflow")}
    compared = first.run("compare", "--by", "machine", "smoke", "--json", **uri)
    assert compared.status == 0, compared.stderr
    found = {(c["other"].split(",")[0], c["other_steps"]): c["train_seconds"]["value"]
             for c in compared.document["contrasts"]}  # fmt: skip
    assert found == pytest.approx({("Beta", 100): 0.5, ("Beta", 200): 0.5,
                                   ("Gamma", 100): 4.0, ("Gamma", 200): 4.0})  # fmt: skip
    reported = second.run("report", "--json", **uri)
    assert reported.status == 0, reported.stderr
    lines = [line for line in reported.document["machines"] if line["steps"] == 200]
    assert [line["machine"].split(",")[0] for line in lines] == ["Beta", "Alpha", "Gamma"]
    assert [line["relative"] for line in lines] == pytest.approx([1.0, 0.5, 0.125])
    report = (second.folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert all(name in report for name in ("Alpha", "Beta", "Gamma"))


def test_an_older_mlflow_schema_is_a_one_line_error(
    server: PostgreSql, machines: tuple[Bench, ...]
) -> None:
    record_runs(machines[0], server, "Alpha", 0.5)
    engine = create_engine(server.url("mlflow"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'cc1f77228345'"))
    engine.dispose()
    variables = shared_store(server)
    for command in (SHARE, ("tune", "--dataset", "mnist-5k"), ("report",)):
        ended = machines[1].run(*command, **variables)
        assert ended.status == 2, ended.stderr
        assert "was made by another version of MLflow; copy it, then run `mlflow db upg" in (
            ended.error_line
        )
        assert server.password not in ended.stderr


def test_a_wrong_password_is_a_one_line_error_without_it(
    server: PostgreSql, machines: tuple[Bench, ...]
) -> None:
    wrong = {"MNIST_BENCH_STORAGE": server.url("optuna", password="not-the-one")}
    ended = machines[0].run("join", **(shared_store(server) | wrong))
    assert ended.status == 1
    assert "password authentication failed" in ended.error_line
    assert "not-the-one" not in ended.stderr
    assert list(machines[0].folder.iterdir()) == []


def test_a_missing_server_is_a_one_line_error(
    server: PostgreSql, machines: tuple[Bench, ...]
) -> None:
    server.stop()
    ended = machines[0].run(*SHARE, **shared_store(server))
    assert ended.status != 0
    assert "127.0.0.1" in ended.error_line
    assert server.password not in ended.stderr
