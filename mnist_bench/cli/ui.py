"""Local servers for the browser: MLflow's UI with few processes, and optuna-dashboard."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import psutil

from mnist_bench.core import signals
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.tracking import recovery, uri
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address
from mnist_bench.tuning.storage import backend, explained, names, opening

HOST = "127.0.0.1"
DEFAULT_PORT = 5000
DEFAULT_DASHBOARD_PORT = 8080
_END_SECONDS = 10


def serve(tracking_uri: str, port: int | None, log: Callable[[str], None]) -> None:
    """Serve MLflow's UI until the user stops it; for a tracking server, print its address only.

    Args:
        tracking_uri: MLflow's tracking URI.
        port: Port to listen on; None takes MLflow's default, or a free one if that is taken.
        log: Prints the address, before the server is up.

    Raises:
        BenchError: There are no runs yet, the port is taken, or the server exits by itself.
    """
    if uri.is_server(tracking_uri):
        log(f"The tracking server shows these runs: {uri.without_credentials(tracking_uri)}")
        return
    database = uri.sqlite_file(tracking_uri)
    if database is not None and not database.exists():
        raise BenchError(
            f"no runs are recorded in {database} yet", "make some with `mnist-bench run smoke`"
        )
    uri.check_uri(tracking_uri, uri.DEFAULT_EXPERIMENT)
    _recover(tracking_uri, database, log)
    chosen_port = _choose_port(port, DEFAULT_PORT)
    log(f"MLflow's UI: http://{HOST}:{chosen_port}  (ready in about 10 s; Ctrl-C stops it)")
    _serve(tracking_uri, chosen_port)


def serve_studies(storage: str | None, port: int | None, log: Callable[[str], None]) -> None:
    """Serve optuna-dashboard on the studies of a storage until the user stops it.

    Args:
        storage: Optuna's URL of a database; None for the journal in `mlruns`.
        port: Port to listen on; None takes the dashboard's default, or a free one.
        log: Prints the address, before the server is up.

    Raises:
        BenchError: optuna-dashboard is not installed, there are no studies, or the port is taken.
    """
    if find_spec("optuna_dashboard") is None:
        raise BenchError(
            "--studies needs optuna-dashboard, which is not installed",
            "pip install 'mnist-bench[dashboard]'",
        )
    if not names(storage):
        raise BenchError("no studies are recorded yet", "start one with `mnist-bench tune`")
    chosen_port = _choose_port(port, DEFAULT_DASHBOARD_PORT)
    log(f"optuna-dashboard: http://{HOST}:{chosen_port}  (Ctrl-C stops it)")
    from optuna_dashboard import wsgi

    with explained(storage), opening(storage):
        app = wsgi(backend(storage))
    # In this process: on a command line other users could read a password in the URL.
    with make_server(
        HOST, chosen_port, app, server_class=_ThreadingServer, handler_class=_QuietHandler
    ) as server:
        server.serve_forever()


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    """Serves a browser's parallel requests; its threads don't outlive Ctrl-C."""

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    """Does not print a line for each request."""

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


def _recover(tracking_uri: str, database: Path | None, log: Callable[[str], None]) -> None:
    """Recover runs of processes that died; MLflow is loaded only if there are any."""
    address_uri = uri.without_credentials(tracking_uri)
    experiments = recovery.experiments_with_spools(address_uri)
    if database is not None:
        experiments |= uri.experiments_with_owned_runs(database)
    for experiment in sorted(experiments):
        address = Address(tracking_uri=address_uri, experiment=experiment)
        recovery.recover(MlflowStore(tracking_uri, experiment), address, log)


def _serve(tracking_uri: str, port: int) -> None:
    command = ["-m", "mlflow", "ui", "--host", HOST, "--port", str(port), "--workers", "1"]
    environment = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **os.environ,
        # Not on the command line, where other users could read a password.
        "MLFLOW_BACKEND_STORE_URI": tracking_uri,
        # Deprecation warnings of MLflow's own code; users can't fix them.
        "PYTHONWARNINGS": "ignore",
        # Saves the processes for MLflow's job execution, which is not used.
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
            "see its output above; an old database needs `mlflow db upgrade "
            f"{uri.without_credentials(tracking_uri)}`",
            exit_status=EXIT_FAILURE,
        )


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server and its child processes."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(server.pid).children(recursive=True)
        server.terminate()
        _, alive = psutil.wait_procs(children, timeout=_END_SECONDS)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    server.wait()


def _choose_port(port: int | None, default: int) -> int:
    if port is not None:
        if not _is_free(port):
            raise BenchError(f"port {port} is taken", "leave out --port to use a free one")
        return port
    if _is_free(default):
        return default
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0
