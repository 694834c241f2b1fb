"""A shared store and studies on PostgreSQL: several machines, and errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fakes
import pytest
from factories import TWO_PARAMETERS_TOML
from program import Bench, Ended, free_port, patched_program
from servers import USER, PostgreSql, postgresql
from sqlalchemy import create_engine, text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SHARE = ("run", "smoke", "--dataset", "mnist-5k", "--steps", "100,200", "--json")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql("mlflow", "optuna") as running:
        yield running


@pytest.fixture
def machine_c(tmp_path: Path) -> Bench:
    """A third machine."""
    (tmp_path / "third").mkdir()
    return Bench(tmp_path / "third")


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


def trials_program(fault: str = "pass") -> tuple[str, ...]:
    command = fakes.trial_worker(fault)
    return patched_program(f"from mnist_bench.runner import process; process.COMMAND = {command!r}")


def record_runs(machine: Bench, server: PostgreSql, cpu: str, pace: float) -> Ended:
    uri = {"MLFLOW_TRACKING_URI": server.url("mlflow")}
    ended = machine.run(*SHARE, "--seeds", "2", program=program(cpu, pace), **uri)
    assert ended.status == 0, ended.stderr
    return ended


def test_three_machines_in_one_store_are_compared(
    server: PostgreSql, machine_a: Bench, machine_b: Bench, machine_c: Bench
) -> None:
    record_runs(machine_a, server, "Alpha", 0.5)
    record_runs(machine_b, server, "Beta", 0.25)
    record_runs(machine_c, server, "Gamma", 2.0)
    uri = {"MLFLOW_TRACKING_URI": server.url("mlflow")}
    compared = machine_a.call("compare", "--by", "machine", "smoke", "--json", **uri)
    assert compared.status == 0, compared.stderr
    found = {(c["other"].split(",")[0], c["other_steps"]): c["train_seconds"]["value"]
             for c in compared.document["contrasts"]}  # fmt: skip
    assert found == pytest.approx({("Beta", 100): 0.5, ("Beta", 200): 0.5,
                                   ("Gamma", 100): 4.0, ("Gamma", 200): 4.0})  # fmt: skip
    reported = machine_b.call("report", "--json", **uri)
    assert reported.status == 0, reported.stderr
    lines = [line for line in reported.document["machines"] if line["steps"] == 200]
    assert [line["machine"].split(",")[0] for line in lines] == ["Beta", "Alpha", "Gamma"]
    assert [line["relative"] for line in lines] == pytest.approx([1.0, 0.5, 0.125])
    report = (machine_b.folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert all(name in report for name in ("Alpha", "Beta", "Gamma"))


def test_study_of_a_machine_that_is_gone_continues_on_another(
    server: PostgreSql, machine_a: Bench, machine_b: Bench
) -> None:
    first, second = machine_a, machine_b
    for each in (first, second):
        (each.folder / "two.toml").write_text(TWO_PARAMETERS_TOML, encoding="utf-8")
    storage = f"postgresql://{USER}@127.0.0.1:{server.port}/optuna"
    line = ("tune", "--space", "two.toml", "--trials", "5", "--confirm", "0", "--workers", "2")
    line = (*line, "--storage", storage, "--json")
    variables = {"PGPASSWORD": server.password, "MLFLOW_TRACKING_URI": server.url("mlflow")}
    hangs = trials_program('request["training_seed"] > 1 and time.sleep(600)')
    requests = first.folder / "requests.jsonl"
    with first.started(*line, program=hangs, **variables) as running:
        running.until(lambda: requests.exists() and requests.read_text().count("\n") == 4, 120)
        fakes.kill(running)
    resumed = (*line, "--resume")
    refused = second.run(*resumed, program=trials_program(), **variables)
    assert refused.status == 2
    assert "of the study two-accuracy is running on " in refused.error_line
    engine = create_engine(server.url("optuna"))
    with engine.begin() as connection:  # a minute passes
        past = "UPDATE trial_heartbeats SET heartbeat = heartbeat - INTERVAL '61 seconds'"
        connection.execute(text(past))
    engine.dispose()
    ended = second.run(*resumed, program=trials_program(), **variables)
    assert ended.status == 0, ended.stderr
    trials = ended.document["trials"]
    assert [trial["state"] for trial in trials[:4]] == ["finished", "finished", "failed", "failed"]
    assert sorted(trial["retry_of"] for trial in trials if trial["retry_of"]) == [2, 3]
    assert sum(t["state"] != "failed" and t["repeat_of"] is None for t in trials) == 5
    assert server.password not in refused.stderr + ended.stderr + ended.stdout
    wrong = second.run(*resumed, **(variables | {"PGPASSWORD": "not-the-one"}))
    assert wrong.status == 2
    assert "password authentication failed" in wrong.error_line


def test_an_older_mlflow_schema_is_a_one_line_error(server: PostgreSql, machine_a: Bench) -> None:
    """It changes the shared database, and restores it."""
    record_runs(machine_a, server, "Alpha", 0.5)
    engine = create_engine(server.url("mlflow"))
    with engine.begin() as connection:
        current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(text("UPDATE alembic_version SET version_num = 'cc1f77228345'"))
    try:
        variables = {"MLFLOW_TRACKING_URI": server.url("mlflow")}
        for command in (SHARE, ("tune", "--dataset", "mnist-5k"), ("report",)):
            ended = machine_a.run(*command, **variables)
            assert ended.status == 2, ended.stderr
            assert "was made by another version of MLflow; copy it, then run `mlflow db upg" in (
                ended.error_line
            )
            assert server.password not in ended.stderr
    finally:
        with engine.begin() as connection:
            restore = text("UPDATE alembic_version SET version_num = :current")
            connection.execute(restore, {"current": current})
        engine.dispose()


@pytest.mark.parametrize("problem", ["a wrong password", "no server"])
def test_an_unusable_server_is_a_one_line_error(
    server: PostgreSql, machine_a: Bench, problem: str
) -> None:
    uri, line = server.url("mlflow", password="not-the-one"), "password authentication failed"
    command: tuple[str, ...] = ("report",)
    if problem == "no server":
        uri, line = uri.replace(f":{server.port}/", f":{free_port()}/"), "127.0.0.1"
        command = SHARE
    ended = machine_a.run(*command, MLFLOW_TRACKING_URI=uri)
    assert ended.status != 0
    assert line in ended.error_line
    assert "not-the-one" not in ended.stderr
    assert list(machine_a.folder.iterdir()) == []
