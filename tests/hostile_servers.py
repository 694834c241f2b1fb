"""A server that answers as no server should, in a thread of this process."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

Respond = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def hostile_server(respond: Respond, *, healthy: bool = True) -> Iterator[str]:
    """The address of a server whose answers a function writes.

    Args:
        healthy: Whether `/health` answers as MLflow's does.
    """
    ended = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):
                if healthy and self.path == "/health":
                    send(self, b"OK")
                else:
                    respond(self)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        do_PATCH = do_PUT = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.ended = ended  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            ended.set()
            server.shutdown()
            thread.join()


def send(handler: Any, body: bytes, status: int = 200, **headers: str) -> None:
    """A whole answer."""
    handler.send_response(status)
    for name, text in ({"Content-Type": "application/json"} | headers).items():
        handler.send_header(name.replace("_", "-"), text)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def drip(handler: Any) -> None:
    """A byte at a time, more often than any timeout between two of them."""
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while not handler.server.ended.wait(0.1):
        handler.wfile.write(b" ")


def drip_headers(handler: Any) -> None:
    """A header that does not end."""
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-A: ")
    while not handler.server.ended.wait(0.1):
        handler.wfile.write(b"a")


def be_silent(handler: Any) -> None:
    """Nothing, on an open connection."""
    handler.server.ended.wait()


def flood(handler: Any) -> None:
    """An answer without end, as fast as it goes."""
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while not handler.server.ended.is_set():
        handler.wfile.write(b"[" * 2**20)


def redirect(handler: Any) -> None:
    """To itself, for ever."""
    send(handler, b"", 302, Location=handler.path)
