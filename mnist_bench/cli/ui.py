"""MLflow's own UI on the runs, started light and for this machine alone."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from mnist_bench.core import signals
from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.measurement import machine
from mnist_bench.tracking import recovery
from mnist_bench.tracking import uri as tracking
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address

HOST = "127.0.0.1"
DEFAULT_PORT = 5000
_END_SECONDS = 10


def serve(uri: str, port: int | None, say: Callable[[str], None]) -> None:
    """Show the runs until the user ends it; of a tracking server only the address is said.

    Args:
        uri: MLflow's tracking URI.
        port: Where to listen; None takes MLflow's own, or a free one where that is taken.
        say: Takes the address, before the server is there.

    Raises:
        BenchError: There are no runs yet, the port is taken, or the server ends by itself.
    """
    if tracking.is_server(uri):
        say(f"These runs are shown by their own server: {tracking.without_credentials(uri)}")
        return
    database = tracking.sqlite_file(uri)
    if database is not None and not database.exists():
        raise BenchError(
            f"no runs are recorded in {database} yet", "`mnist-bench run smoke` makes some"
        )
    tracking.check(uri, tracking.DEFAULT_EXPERIMENT)
    _settle(uri, database, say)
    chosen = _chosen_port(port)
    say(f"MLflow's UI: http://{HOST}:{chosen}  (about 10 s until it answers; Ctrl-C ends it)")
    _serve(uri, chosen)


def _settle(uri: str, database: Path | None, say: Callable[[str], None]) -> None:
    """Settle what vanished processes left; MLflow is loaded here only where there is something."""
    machine_id = machine.machine_id()
    shown = tracking.without_credentials(uri)
    experiments = recovery.waiting_experiments(shown, machine_id)
    if database is not None:
        experiments |= tracking.experiments_with_owned_runs(database)
    for experiment in sorted(experiments):
        address = Address(tracking_uri=shown, experiment=experiment)
        recovery.settle(MlflowStore(uri, experiment), address, machine_id, say)


def _serve(uri: str, port: int) -> None:
    command = ["-m", "mlflow", "ui", "--host", HOST, "--port", str(port), "--workers", "1"]
    environment = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **os.environ,
        # In the environment and not on the command line, where others could read a password.
        "MLFLOW_BACKEND_STORE_URI": uri,
        # MLflow's own use of old interfaces is nothing that a user could mend.
        "PYTHONWARNINGS": "ignore",
        # Processes for jobs that nobody here gives it.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    server = subprocess.Popen([sys.executable, "-P", *command], env=environment)
    try:
        code = server.wait()
    finally:
        with signals.defer_signals():
            _end(server)
    if code:
        raise BenchError(
            f"MLflow's UI ended with exit status {code}",
            "what it printed above says why; an old database wants `mlflow db upgrade "
            f"{tracking.without_credentials(uri)}`",
            exit_status=EXIT_BROKE,
        )


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server with the processes that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(server.pid).children(recursive=True)
        server.terminate()
        _, left = psutil.wait_procs(family, timeout=_END_SECONDS)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    server.wait()


def _chosen_port(port: int | None) -> int:
    if port is not None:
        if not _is_free(port):
            raise BenchError(f"port {port} is taken", "leave out --port to take a free one")
        return port
    if _is_free(DEFAULT_PORT):
        return DEFAULT_PORT
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0
