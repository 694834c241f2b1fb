"""Runs the commands of docs/many-machines.md on real servers with real trainings.

Only addresses are replaced by local ones. Not tested: the network, and TLS in front of MLflow's
server.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from program import Bench, Ended, Running, free_port, is_up
from servers import PostgreSql, postgresql, programs_folder
from sqlalchemy import Engine, create_engine, text

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="the page is about such a server"),
]

PAGE = Path(__file__).parents[2] / "docs" / "many-machines.md"
INTRO, DATABASES, SETTINGS, SERVER, USERS, LAPTOP, SHELL = range(7)
"""The page's blocks, in order."""


def blocks() -> list[str]:
    found = re.findall(
        r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(found) == 7, "the page has another block: add it to this test"
    return found


@dataclass(frozen=True)
class SharedStore:
    """Servers of the page, with the passwords that its reader chooses.

    Attributes:
        server: PostgreSQL.
        port: Of MLflow's server.
        bench: Folder and home of the administrator.
        database_password: Of the user `bench` in PostgreSQL.
        admin_password: Of MLflow's administrator.
        ada_password: Of an MLflow user.
        tables: Connection to MLflow's database.
    """

    server: PostgreSql
    port: int
    bench: Bench
    database_password: str
    admin_password: str
    ada_password: str
    tables: Engine

    @property
    def passwords(self) -> tuple[str, ...]:
        """All passwords, which must not be shown anywhere."""
        return self.database_password, self.admin_password, self.ada_password, self.server.password

    def with_local_addresses(self, block: str) -> str:
        """A block of the page with local addresses."""
        for old, new in (
            ("sudo -u postgres ", ""),  # the test sets PGUSER
            ("board.example.org:5432", f"127.0.0.1:{self.server.port}"),
            ("127.0.0.1:5432", f"127.0.0.1:{self.server.port}"),
            ("https://board.example.org", f"http://127.0.0.1:{self.port}"),
            ("127.0.0.1:5000", f"127.0.0.1:{self.port}"),
            ("--port 5000", f"--port {self.port}"),
        ):
            block = block.replace(old, new)
        # The suite and its dependencies are installed already.
        return re.sub(r"^pip install .*$", "", block, flags=re.MULTILINE)

    @contextmanager
    def started_shell(
        self, bench: Bench, block: str, *answers: str, **variables: str
    ) -> Iterator[Running]:
        """Run a block in a shell, with answers to its prompts."""
        answer_file = bench.home / f"{secrets.token_hex(4)}.txt"
        answer_file.write_text("".join(f"{answer}\n" for answer in answers))
        script = f"exec < {answer_file}; rm {answer_file}\n{self.with_local_addresses(block)}"
        path = os.pathsep.join(
            [str(Path(sys.executable).parent), str(programs_folder()), os.environ["PATH"]]
        )
        # Without a terminal, where password prompts would appear.
        shell = ("setsid", "--wait", "bash", "-e", "-c")
        with bench.started(
            script, program=shell, PATH=path, MLFLOW_DISABLE_TELEMETRY="true", **variables
        ) as running:
            yield running

    def run_block(self, bench: Bench, block: str, *answers: str, **variables: str) -> Ended:
        """Run a block to its end; it must succeed."""
        with self.started_shell(bench, block, *answers, **variables) as running:
            ended = running.ended(240)
        assert ended.status == 0, ended.stderr
        return ended


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStore]:
    """The shared store, set up as on the page."""
    page = blocks()
    with ExitStack() as stack:
        server = stack.enter_context(postgresql(superuser="postgres", tls=True))
        bench = Bench(tmp_path_factory.mktemp("store"))
        passwords = [f"it's {secrets.token_hex(6)} $x" for _ in range(3)]
        # Without TLS, unlike the page's connections: psycopg's TLS conflicts with TensorFlow, which
        # another test may have loaded in this process.
        tables = create_engine(f"{server.url('mlflow')}?sslmode=disable", pool_size=1)
        stack.callback(tables.dispose)
        store = SharedStore(server, free_port(), bench, *passwords, tables)
        superuser = {
            "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "postgres",
            "PGPASSWORD": server.password,
        }  # fmt: skip
        store.run_block(
            bench, page[DATABASES], store.database_password, store.database_password, **superuser
        )
        store.run_block(bench, page[SETTINGS], store.database_password)
        running = stack.enter_context(
            store.started_shell(bench, page[SERVER], store.admin_password)
        )
        running.until(lambda: is_up(store.port), 180)
        store.run_block(bench, page[USERS], store.admin_password, store.ada_password)
        yield store


def laptop(shared_store: SharedStore, folder: Path) -> Bench:
    """A machine, set up as on the page."""
    folder.mkdir()
    bench = Bench(folder)
    shared_store.run_block(bench, blocks()[LAPTOP], shared_store.database_password)
    return bench


def shell(command: str) -> str:
    """The page's shell block, with a command instead of `join`."""
    block = blocks()[SHELL]
    assert block.count("mnist-bench join\n") == 1
    return block.replace("mnist-bench join\n", f"{command}\n")


def runs(shared_store: SharedStore) -> list[tuple[str, str]]:
    """Share with step count, and status, of each run in the shared store."""
    question = """
        SELECT part.value || '/' || steps.value, runs.status FROM runs
        JOIN tags AS part ON part.run_uuid = runs.run_uuid AND part.key = 'bench.part'
        JOIN tags AS steps ON steps.run_uuid = runs.run_uuid AND steps.key = 'bench.steps'
    """
    with shared_store.tables.connect() as connection:
        return [(str(part), str(status)) for part, status in connection.execute(text(question))]


def database_text(shared_store: SharedStore) -> str:
    """Content of MLflow's tables of runs as text."""
    tables = ("tags", "params", "runs", "experiments", "experiment_tags")
    with shared_store.tables.connect() as connection:
        found = [connection.execute(text(f"SELECT * FROM {name}")).all() for name in tables]
    return repr(found)


def test_the_intro_names_existing_commands() -> None:
    commands = re.findall(r"^mnist-bench (\w+)", blocks()[INTRO], re.MULTILINE)
    assert commands == ["run", "tune", "join"]


def test_a_wrong_password_is_rejected(shared_store: SharedStore, tmp_path: Path) -> None:
    intruder = laptop(shared_store, tmp_path / "stranger")
    with shared_store.started_shell(intruder, shell("mnist-bench report"), "a guess") as running:
        ended = running.ended(120)
    assert ended.status == 2
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("mnist-bench: ")]
    assert "MLFLOW_TRACKING_PASSWORD" in line
    assert "a guess" not in ended.stderr


def test_two_laptops_share_a_plan_and_leak_no_password(
    shared_store: SharedStore, tmp_path: Path
) -> None:
    first, second = (laptop(shared_store, tmp_path / name) for name in ("first", "second"))
    share = "mnist-bench run smoke --steps 20,40 --seeds 4"
    with shared_store.started_shell(first, shell(share), shared_store.ada_password) as leads:
        leads.until(lambda: "FINISHED" in {status for _, status in runs(shared_store)}, 240)
        with shared_store.started_shell(
            second, blocks()[SHELL], shared_store.ada_password
        ) as joins:
            joins.until(lambda: "seed" in joins.stdout(), 120)
            titles = [p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])]
            joined, leader_ended = joins.ended(240), leads.ended(240)
    assert (leader_ended.status, joined.status) == (0, 0), leader_ended.stderr + joined.stderr
    assert "max test accuracy" in joined.stdout
    assert Counter(status for _, status in runs(shared_store)) == {"FINISHED": 8}
    assert len({part for part, _ in runs(shared_store)}) == 8
    assert len(list(shared_store.bench.folder.glob("artifacts/**/result.json"))) >= 8
    assert not list(second.folder.glob("mlruns/**/result.json")), "files are in the shared store"

    reported = shared_store.run_block(
        second, shell("mnist-bench report"), shared_store.ada_password
    )
    exported = shared_store.run_block(
        second, shell("mnist-bench export all.zip"), shared_store.ada_password
    )
    address = shared_store.run_block(second, shell("mnist-bench ui"), shared_store.ada_password)
    assert f"http://127.0.0.1:{shared_store.port}" in address.stdout
    assert "smoke" in (second.folder / "reports" / "report.md").read_text(encoding="utf-8")
    outputs = [
        leader_ended.stdout,
        leader_ended.stderr,
        joined.stdout,
        joined.stderr,
        database_text(shared_store),
        repr(titles),
    ]
    outputs += [
        each for ended in (reported, exported, address) for each in (ended.stdout, ended.stderr)
    ]
    for password in shared_store.passwords:
        assert [text_ for text_ in outputs if password in text_] == []
        for owner in (shared_store.bench, first, second):
            assert files_with(password, owner) <= {".pgpass"}


def files_with(password: str, owner: Bench) -> set[str]:
    """Names of files that contain a password, also within bundles."""
    files = [p for folder in (owner.folder, owner.home) for p in folder.rglob("*") if p.is_file()]
    return {file.name for file in files if password.encode() in content(file.read_bytes())}


def content(raw: bytes) -> bytes:
    """Content of a file, unpacked if it is a bundle."""
    if not zipfile.is_zipfile(io.BytesIO(raw)):
        return raw
    with zipfile.ZipFile(io.BytesIO(raw)) as bundle:
        return b"\n".join(bundle.read(name) for name in bundle.namelist())
