"""Local servers for the browser: MLflow's UI with few processes, and optuna-dashboard."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from socketserver import ThreadingMixIn
from urllib.parse import quote, urlencode
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import psutil

from mnist_bench.core import signals
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.tracking import recovery, schema, uri
from mnist_bench.tracking.database import schema_revision, sqlite_file
from mnist_bench.tracking.mlflow_store import schema_mismatch
from mnist_bench.tuning.storage import backend, explained, names, opening

HOST = "127.0.0.1"
DEFAULT_PORT = 5000
DEFAULT_DASHBOARD_PORT = 8080
LOG = Path("mlruns", "ui.log")
"""What MLflow's server prints."""
_END_SECONDS = 10
_POLL_SECONDS = 0.2
_ANSWER_SECONDS = 10


def serve(
    tracking_uri: str,
    experiment: str,
    port: int | None,
    log: Callable[[str], None],
    *,
    opens_browser: bool,
) -> None:
    """Serve MLflow's UI until Ctrl-C; for a tracking server, print its address only.

    Args:
        tracking_uri: MLflow's tracking URI.
        experiment: Whose runs the page shows.
        port: Port to listen on; None takes MLflow's default, or a free one if that is taken.
        log: Prints that the server starts, and the address as soon as it answers.
        opens_browser: Whether to open the address then.

    Raises:
        BenchError: There are no runs yet, the database is not one of this MLflow, the port is
            taken, or the server exits by itself.
    """
    if uri.is_server(tracking_uri):
        log(f"The tracking server shows these runs: {uri.without_credentials(tracking_uri)}")
        return
    database = sqlite_file(tracking_uri)
    if database is not None and not database.exists():
        raise BenchError(
            f"no runs are recorded in {database} yet", "make some with `mnist-bench run smoke`"
        )
    uri.check_uri(tracking_uri, experiment)
    if database is not None:
        found, newest = schema_revision(database), uri.newest_schema_revision()
        if found and newest and found != newest:
            raise schema_mismatch(tracking_uri)
    chosen_port = _choose_port(port, DEFAULT_PORT)
    recovery.recover_all(tracking_uri, log)
    log("Starting MLflow's UI, which takes about 10 s …")

    def ready() -> None:
        page = f"http://{HOST}:{chosen_port}/{_runs_page(chosen_port, experiment)}"
        _ready(page, log, opens_browser=opens_browser)

    with contextlib.suppress(KeyboardInterrupt):
        _serve(tracking_uri, chosen_port, ready)


def _ready(page: str, log: Callable[[str], None], *, opens_browser: bool) -> None:
    log(f"Ready: {page}  (Ctrl-C stops it)")
    if opens_browser:
        webbrowser.open(page)


def _runs_page(port: int, experiment: str) -> str:
    """The part of the address that shows an experiment's runs; empty if there is none yet."""
    query = urlencode({"experiment_name": experiment})
    answer = _get(port, f"/api/2.0/mlflow/experiments/get-by-name?{query}")
    if answer is None:
        return ""
    experiment_id = json.loads(answer)["experiment"]["experiment_id"]
    # Without the type MLflow opens its page of traces; reports are no rows of the table.
    trainings_and_studies = quote(f"tags.{schema.SCHEMA_TAG} = '{schema.SCHEMA}'")
    return (
        f"#/experiments/{experiment_id}/runs?workflowType=machine_learning"
        f"&searchFilter={trainings_and_studies}"
    )


def serve_studies(
    storage: str | None, port: int | None, log: Callable[[str], None], *, opens_browser: bool
) -> None:
    """Serve optuna-dashboard on the studies of a storage until Ctrl-C.

    Args:
        storage: Optuna's URL of a database; None for the journal in `mlruns`.
        port: Port to listen on; None takes the dashboard's default, or a free one.
        log: Prints the address.
        opens_browser: Whether to open it.

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
    from optuna_dashboard import wsgi

    with explained(storage), opening(storage):
        app = wsgi(backend(storage))
    # In this process: on a command line other users could read a password in the URL.
    with make_server(
        HOST, chosen_port, app, server_class=_ThreadingServer, handler_class=_QuietHandler
    ) as server:
        _ready(f"http://{HOST}:{chosen_port}/", log, opens_browser=opens_browser)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    """Serves a browser's parallel requests; its threads don't outlive Ctrl-C."""

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    """Does not print a line for each request."""

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


def _serve(tracking_uri: str, port: int, ready: Callable[[], None]) -> None:
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
    try:
        LOG.parent.mkdir(exist_ok=True)
        if LOG.is_symlink() or not LOG.is_file():  # others may have put anything there
            LOG.unlink(missing_ok=True)
        log_file = LOG.open("wb")
    except OSError as error:
        raise BenchError(
            f"can't write {LOG.as_posix()}: {error.strerror}",
            "change to a folder that you own, and give --tracking-uri",
        ) from error
    with log_file as output:
        server = subprocess.Popen(
            [sys.executable, "-P", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            while server.poll() is None and _get(port, "/health") is None:
                time.sleep(_POLL_SECONDS)
            if server.poll() is None:
                ready()
            code = server.wait()
        finally:
            with signals.defer_signals():
                _end(server)
    if code:
        raise BenchError(
            f"MLflow's UI ended with exit status {code}",
            f"see its output in {LOG.as_posix()}",
            exit_status=EXIT_FAILURE,
        )


def _get(port: int, path: str) -> bytes | None:
    """What a server on this machine answers; None without an answer. Proxies are bypassed."""
    connection = http.client.HTTPConnection(HOST, port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return content if answer.status == http.HTTPStatus.OK else None


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
