"""docs/many-machines.md followed word by word, on real servers and with real trainings.

Only addresses are others: those of servers on this machine. What the page leaves to its reader is a
network, and the TLS in front of MLflow's server.
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
INTRO, DATABASES, SETTINGS, SERVER, PEOPLE, LAPTOP, SHELL = range(7)
"""The page's blocks, in their order."""


def blocks() -> list[str]:
    found = re.findall(
        r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(found) == 7, "another block: another step of this test"
    return found


@dataclass(frozen=True)
class Board:
    """What the page's reader has: servers' ports, and passwords that he thinks of.

    Attributes:
        server: PostgreSQL's.
        port: Of MLflow's server.
        bench: The folder and home of whoever keeps the board.
        of_bench: Password of `bench` in PostgreSQL.
        of_admin: Of MLflow's administrator.
        of_ada: Of a person.
        tables: MLflow's database, as the test looks into it.
    """

    server: PostgreSql
    port: int
    bench: Bench
    of_bench: str
    of_admin: str
    of_ada: str
    tables: Engine

    @property
    def passwords(self) -> tuple[str, ...]:
        """All that must be seen nowhere."""
        return self.of_bench, self.of_admin, self.of_ada, self.server.password

    def here(self, block: str) -> str:
        """A block of the page with this machine's addresses."""
        for old, new in (
            ("sudo -u postgres ", ""),  # the test is that user, by PGUSER
            ("board.example.org:5432", f"127.0.0.1:{self.server.port}"),
            ("127.0.0.1:5432", f"127.0.0.1:{self.server.port}"),
            ("https://board.example.org", f"http://127.0.0.1:{self.port}"),
            ("127.0.0.1:5000", f"127.0.0.1:{self.port}"),
            ("--port 5000", f"--port {self.port}"),
        ):
            block = block.replace(old, new)
        # Installed are the suite as it is here, and what these tests need.
        return re.sub(r"^pip install .*$", "", block, flags=re.MULTILINE)

    @contextmanager
    def typed(self, bench: Bench, block: str, *answers: str, **variables: str) -> Iterator[Running]:
        """A block typed into a shell of somebody's, with what it asks for."""
        told = bench.home / f"{secrets.token_hex(4)}.txt"
        told.write_text("".join(f"{answer}\n" for answer in answers))
        script = f"exec < {told}; rm {told}\n{self.here(block)}"
        path = os.pathsep.join(
            [str(Path(sys.executable).parent), str(programs_folder()), os.environ["PATH"]]
        )
        # Without a terminal: what asks for a password would ask there.
        shell = ("setsid", "--wait", "bash", "-e", "-c")
        with bench.started(
            script, program=shell, PATH=path, MLFLOW_DISABLE_TELEMETRY="true", **variables
        ) as running:
            yield running

    def done(self, bench: Bench, block: str, *answers: str, **variables: str) -> Ended:
        """The same to its end, which must be a good one."""
        with self.typed(bench, block, *answers, **variables) as running:
            ended = running.ended(240)
        assert ended.status == 0, ended.stderr
        return ended


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """The board as the page makes it."""
    page = blocks()
    with ExitStack() as stack:
        server = stack.enter_context(postgresql(superuser="postgres", tls=True))
        bench = Bench(tmp_path_factory.mktemp("board"))
        passwords = [f"it's {secrets.token_hex(6)} $x" for _ in range(3)]
        # Without TLS, which the page's own connections have: psycopg's does not bear TensorFlow in
        # the same process, and another test may have loaded that.
        tables = create_engine(f"{server.url('mlflow')}?sslmode=disable", pool_size=1)
        stack.callback(tables.dispose)
        made = Board(server, free_port(), bench, *passwords, tables)
        superuser = {
            "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "postgres",
            "PGPASSWORD": server.password,
        }  # fmt: skip
        made.done(bench, page[DATABASES], made.of_bench, made.of_bench, **superuser)
        made.done(bench, page[SETTINGS], made.of_bench)
        running = stack.enter_context(made.typed(bench, page[SERVER], made.of_admin))
        running.until(lambda: is_up(made.port), 180)
        made.done(bench, page[PEOPLE], made.of_admin, made.of_ada)
        yield made


def laptop(board: Board, folder: Path) -> Bench:
    """Somebody's machine, settled as the page says."""
    folder.mkdir()
    made = Bench(folder)
    board.done(made, blocks()[LAPTOP], board.of_bench)
    return made


def shell(command: str) -> str:
    """The page's lines for each shell, with a command in place of `join`."""
    block = blocks()[SHELL]
    assert block.count("mnist-bench join\n") == 1
    return block.replace("mnist-bench join\n", f"{command}\n")


def runs(board: Board) -> list[tuple[str, str]]:
    """Part with steps, and status, of each run on the board."""
    question = """
        SELECT part.value || '/' || steps.value, runs.status FROM runs
        JOIN tags AS part ON part.run_uuid = runs.run_uuid AND part.key = 'bench.part'
        JOIN tags AS steps ON steps.run_uuid = runs.run_uuid AND steps.key = 'bench.steps'
    """
    with board.tables.connect() as connection:
        return [(str(part), str(status)) for part, status in connection.execute(text(question))]


def told_of(board: Board) -> str:
    """Whatever MLflow's database has of runs, as one text."""
    tables = ("tags", "params", "runs", "experiments", "experiment_tags")
    with board.tables.connect() as connection:
        found = [connection.execute(text(f"SELECT * FROM {name}")).all() for name in tables]
    return repr(found)


def test_the_intro_names_commands_that_there_are() -> None:
    commands = re.findall(r"^mnist-bench (\w+)", blocks()[INTRO], re.MULTILINE)
    assert commands == ["run", "tune", "join"]


def test_nobody_comes_in_without_a_password(board: Board, tmp_path: Path) -> None:
    stranger = laptop(board, tmp_path / "stranger")
    with board.typed(stranger, shell("mnist-bench report"), "a guess") as running:
        ended = running.ended(120)
    assert ended.status == 2
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("mnist-bench: ")]
    assert "MLFLOW_TRACKING_PASSWORD" in line
    assert "a guess" not in ended.stderr


def test_two_laptops_share_a_plan_and_passwords_are_nowhere(board: Board, tmp_path: Path) -> None:
    first, second = (laptop(board, tmp_path / name) for name in ("first", "second"))
    share = "mnist-bench run smoke --steps 20,40 --seeds 4"
    with board.typed(first, shell(share), board.of_ada) as leads:
        leads.until(lambda: "FINISHED" in {status for _, status in runs(board)}, 240)
        with board.typed(second, blocks()[SHELL], board.of_ada) as joins:
            joins.until(lambda: "seed" in joins.stdout(), 120)
            titles = [p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])]
            joined, led = joins.ended(240), leads.ended(240)
    assert (led.status, joined.status) == (0, 0), led.stderr + joined.stderr
    assert "max test accuracy" in joined.stdout
    assert Counter(status for _, status in runs(board)) == {"FINISHED": 8}
    assert len({part for part, _ in runs(board)}) == 8
    assert len(list(board.bench.folder.glob("artifacts/**/result.json"))) >= 8
    assert not list(second.folder.glob("mlruns/**/result.json")), "files are on the board"

    reported = board.done(second, shell("mnist-bench report"), board.of_ada)
    exported = board.done(second, shell("mnist-bench export all.zip"), board.of_ada)
    address = board.done(second, shell("mnist-bench ui"), board.of_ada)
    assert f"http://127.0.0.1:{board.port}" in address.stdout
    assert "smoke" in (second.folder / "reports" / "report.md").read_text(encoding="utf-8")
    seen = [led.stdout, led.stderr, joined.stdout, joined.stderr, told_of(board), repr(titles)]
    seen += [
        each for ended in (reported, exported, address) for each in (ended.stdout, ended.stderr)
    ]
    for password in board.passwords:
        assert [text_ for text_ in seen if password in text_] == []
        for owner in (board.bench, first, second):
            assert holding(password, owner) <= {".pgpass"}


def holding(password: str, owner: Bench) -> set[str]:
    """Names of the files that hold it, in a bundle too."""
    files = [p for folder in (owner.folder, owner.home) for p in folder.rglob("*") if p.is_file()]
    return {file.name for file in files if password.encode() in content(file.read_bytes())}


def content(raw: bytes) -> bytes:
    """What a file holds; of a bundle, unpacked."""
    if not zipfile.is_zipfile(io.BytesIO(raw)):
        return raw
    with zipfile.ZipFile(io.BytesIO(raw)) as bundle:
        return b"\n".join(bundle.read(name) for name in bundle.namelist())
