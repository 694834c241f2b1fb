"""A shared store and studies on PostgreSQL: several machines, and errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fakes
import pytest
from factories import TWO_PARAMETERS_TOML
from program import Bench, Ended, patched_program
from servers import PostgreSql, postgresql
from sqlalchemy import create_engine, text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SHARE = ("run", "smoke", "--dataset", "mnist-5k", "--steps", "100,200", "--json")


@pytest.fixture
def server() -> Iterator[PostgreSql]:
    with postgresql("mlflow", "optuna") as running:
        yield running


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Bench, ...]:
    folders = [tmp_path / name for name in ("one", "other", "third")]
    for folder in folders:
        folder.mkdir()
    return tuple(map(Bench, folders))


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


def test_study_of_a_machine_that_is_gone_continues_on_another(
    server: PostgreSql, machines: tuple[Bench, ...]
) -> None:
    first, second, _ = machines
    for each in (first, second):
        (each.folder / "two.toml").write_text(TWO_PARAMETERS_TOML, encoding="utf-8")
    storage = f"postgresql://{server.superuser}@127.0.0.1:{server.port}/optuna"
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
    assert wrong.status == 1
    assert "password authentication failed" in wrong.error_line


def test_an_older_mlflow_schema_is_a_one_line_error(
    server: PostgreSql, machines: tuple[Bench, ...]
) -> None:
    record_runs(machines[0], server, "Alpha", 0.5)
    engine = create_engine(server.url("mlflow"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'cc1f77228345'"))
    engine.dispose()
    variables = {"MLFLOW_TRACKING_URI": server.url("mlflow")}
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
    wrong = server.url("mlflow", password="not-the-one")
    ended = machines[0].run("report", MLFLOW_TRACKING_URI=wrong)
    assert ended.status != 0
    assert "password authentication failed" in ended.error_line
    assert "not-the-one" not in ended.stderr
    assert list(machines[0].folder.iterdir()) == []


def test_a_missing_server_is_a_one_line_error(
    server: PostgreSql, machines: tuple[Bench, ...]
) -> None:
    server.stop()
    ended = machines[0].run(*SHARE, MLFLOW_TRACKING_URI=server.url("mlflow"))
    assert ended.status != 0
    assert "127.0.0.1" in ended.error_line
    assert server.password not in ended.stderr
