"""PostgreSQL and MLflow's server of a test's own, on this machine alone."""

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
"""Until MLflow's server answers, on a machine that does more."""
_SYSTEM_USER = "postgres"
"""Whom Debian's packages make for it: it refuses to run as root."""


class PostgreSql:
    """A server in a folder of its own, with a password that nobody else knows.

    Args:
        folder: Empty.
        superuser: Who may do everything there.
        tls: Whether it speaks TLS, by a certificate of its own.
    """

    def __init__(self, folder: Path, *, superuser: str = USER, tls: bool = False) -> None:
        self.superuser, self._tls = superuser, tls
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
        self._run("initdb", "--pgdata", str(folder / "data"), "--username", superuser,
                  "--auth", "scram-sha-256", "--pwfile", str(secret))  # fmt: skip
        if tls:
            self._run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                      "-subj", "/CN=127.0.0.1", "-keyout", str(folder / "server.key"),
                      "-out", str(folder / "server.crt"))  # fmt: skip

    def url(self, database: str, password: str | None = None) -> str:
        """Of a database, as SQLAlchemy names it."""
        secret = self.password if password is None else password
        return f"postgresql://{self.superuser}:{secret}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "max_connections": 200,
            "unix_socket_directories": self._folder, "fsync": "off",
        }  # fmt: skip
        if self._tls:
            files = {name: self._folder / f"server.{name}" for name in ("crt", "key")}
            settings |= {"ssl": "on", "ssl_cert_file": files["crt"], "ssl_key_file": files["key"]}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [_program("postgres"), "-D", str(self._folder / "data"), *options],
            cwd=self._folder,
            user=self._user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, 60)

    @property
    def pid(self) -> int:
        """Of its first process.

        Raises:
            RuntimeError: It does not run.
        """
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    def stop(self) -> None:
        """Stop it at once, whoever is connected."""
        if self._process is not None:
            self._process.send_signal(2)  # SIGINT: PostgreSQL's fast shutdown
            self._process.wait(60)
            self._process = None

    def make(self, *databases: str) -> None:
        """Make databases."""
        for name in databases:
            self._run("createdb", "--host", "127.0.0.1", "--port", str(self.port),
                      "--username", self.superuser, name, PGPASSWORD=self.password)  # fmt: skip

    def _answers(self) -> bool:
        asked = [_program("pg_isready"), "--host", "127.0.0.1", "--port", str(self.port)]
        return subprocess.run(asked, stdout=subprocess.DEVNULL, check=False).returncode == 0

    def _run(self, program: str, *arguments: str, **variables: str) -> None:
        subprocess.run(
            [_program(program), *arguments],
            cwd=self._folder,
            user=self._user,
            env=os.environ | variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if program == "openssl" else None,
            check=True,
        )


@contextmanager
def postgresql(*databases: str, superuser: str = USER, tls: bool = False) -> Iterator[PostgreSql]:
    """A server with these databases; gone afterwards."""
    # Not in a test's own folder: whom the server runs as could not look into it.
    with tempfile.TemporaryDirectory(prefix="mnist-bench-postgresql-") as name:
        server = PostgreSql(Path(name), superuser=superuser, tls=tls)
        try:
            server.start()
            server.make(*databases)
            yield server
        finally:
            server.stop()


@contextmanager
def tracking_server(bench: Bench, port: int, uri: str, processes: int = 1) -> Iterator[Running]:
    """MLflow's server on a database; its artifacts lie in the bench's folder.

    Args:
        bench: Whoever keeps the board.
        port: Where it listens.
        uri: Of the database, as MLflow names it.
        processes: Of the server.
    """
    with bench.started(
        *("--host", "127.0.0.1", "--port", str(port), "--workers", str(processes)),
        program=(sys.executable, "-P", "-m", "mlflow", "server"),
        MLFLOW_BACKEND_STORE_URI=uri,
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        MLFLOW_DISABLE_TELEMETRY="true",
    ) as running:
        running.until(lambda: is_up(port), _START_SECONDS)
        yield running


def programs_folder() -> Path:
    """Where PostgreSQL's programs are: Debian keeps them aside, by version."""
    aside = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return aside[-1] if aside else Path(installed("postgres")).parent


def _program(name: str) -> str:
    aside = programs_folder() / name
    return str(aside) if aside.exists() else installed(name)
