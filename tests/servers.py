"""Local PostgreSQL and MLflow servers for tests."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from program import Bench, Running, free_port, installed, is_up, wait_until

USER = "bench"
_START_SECONDS = 180
"""Timeout until MLflow's server answers on a busy machine."""
_SYSTEM_USER = "postgres"
"""User created by Debian's packages: the server refuses to run as root."""


class PostgreSql:
    """A server in an empty folder, with a random password."""

    def __init__(self, folder: Path) -> None:
        self.password = secrets.token_hex(8)
        self.port = free_port()
        self._folder = folder
        self._user = _SYSTEM_USER if sys.platform != "win32" and os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        if self._user:
            shutil.chown(folder, self._user)
        secret = folder / "password"
        secret.write_text(self.password)
        if self._user:
            shutil.chown(secret, self._user)
        self._run("initdb", "--pgdata", str(folder / "data"), "--username", USER,
                  "--auth", "scram-sha-256", "--pwfile", str(secret))  # fmt: skip

    def url(self, database: str, password: str | None = None) -> str:
        """SQLAlchemy URL of a database."""
        secret = self.password if password is None else password
        return f"postgresql://{USER}:{secret}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "max_connections": 200,
            "unix_socket_directories": self._folder, "fsync": "off",
        }  # fmt: skip
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [_program("postgres"), "-D", str(self._folder / "data"), *options],
            cwd=self._folder,
            user=self._user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, 60)

    def stop(self) -> None:
        """Stop the server at once, even if clients are connected."""
        if self._process is not None:
            self._process.send_signal(2)  # SIGINT: PostgreSQL's fast shutdown
            self._process.wait(60)
            self._process = None

    def make(self, *databases: str) -> None:
        """Create databases."""
        for name in databases:
            self._run("createdb", "--host", "127.0.0.1", "--port", str(self.port),
                      "--username", USER, name, PGPASSWORD=self.password)  # fmt: skip

    def _answers(self) -> bool:
        command = [_program("pg_isready"), "--host", "127.0.0.1", "--port", str(self.port)]
        return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0

    def _run(self, program: str, *arguments: str, **variables: str) -> None:
        subprocess.run(
            [_program(program), *arguments],
            cwd=self._folder,
            user=self._user,
            env=os.environ | variables,
            stdout=subprocess.DEVNULL,
            check=True,
        )


@contextmanager
def postgresql(*databases: str) -> Iterator[PostgreSql]:
    """A temporary server with these databases."""
    # Not in the test's folder, which the server's user may not read.
    with tempfile.TemporaryDirectory(prefix="mnist-bench-postgresql-") as name:
        server = PostgreSql(Path(name))
        try:
            server.start()
            server.make(*databases)
            yield server
        finally:
            server.stop()


@contextmanager
def tracking_server(bench: Bench, port: int, uri: str) -> Iterator[Running]:
    """MLflow's server on a database, with its artifacts in the bench's folder.

    Args:
        uri: URI of the database.
    """
    with bench.started(
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        program=(sys.executable, "-P", "-m", "mlflow", "server"),
        MLFLOW_BACKEND_STORE_URI=uri,
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        MLFLOW_DISABLE_TELEMETRY="true",
    ) as running:
        running.until(lambda: is_up(port), _START_SECONDS)
        yield running


def programs_folder() -> Path:
    """Folder of PostgreSQL's programs, which Debian keeps off the path, by version."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return versions[-1] if versions else Path(installed("postgres")).parent


def _program(name: str) -> str:
    path = programs_folder() / name
    return str(path) if path.exists() else installed(name)


@contextmanager
def dask_scheduler(worker_ttl_seconds: float = 300, allowed_failures: int = 3) -> Iterator[str]:
    """Address of a Dask scheduler without workers, in a thread of this process.

    Args:
        worker_ttl_seconds: How long a worker may be silent.
        allowed_failures: Workers that may vanish with a job before Dask gives it up.
    """
    from distributed import Scheduler, SpecCluster

    from mnist_bench.cluster.connect import require_dask

    require_dask()
    options = {
        "host": "127.0.0.1",
        "port": 0,
        "protocol": "tcp://",
        "dashboard": False,
        "dashboard_address": "127.0.0.1:0",
        "worker_ttl": worker_ttl_seconds,
        "allowed_failures": allowed_failures,
    }
    with SpecCluster(scheduler={"cls": Scheduler, "options": options}, workers={}) as cluster:
        yield cluster.scheduler_address
