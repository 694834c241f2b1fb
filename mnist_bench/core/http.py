"""HTTP answers of servers that may send too much, too slowly, or nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mnist_bench.core import signals

Answer = TypeVar("Answer")

MAX_BYTES = 12 * 2**20
"""Of an answer: as JSON, a byte may take twenty bytes of memory."""
_POLL_SECONDS = 0.2
"""On Windows, Ctrl-C does not interrupt a wait."""
_HURRIED_SECONDS = 1.0
"""Time that is left to a request once the command is interrupted: enough for a working server."""
_bounded: list[tuple[str, int]] = []
"""Hosts that are being asked, with the limit of their answers in bytes."""
_patched = threading.Lock()


class AnswerError(OSError):
    """A server's answer is too large or takes too long."""


def bounded(
    call: Callable[[], Answer], address: str, seconds: float, max_bytes: int = MAX_BYTES
) -> Answer:
    """Ask a server in a thread, so that neither the wait nor the answer has no end.

    A timeout of a request is one between two bytes, which a slow server never reaches. On Ctrl-C
    the thread is left to itself.

    Args:
        call: Sends any number of requests by the library requests, in any threads.
        address: URL of the server.

    Raises:
        AnswerError: The call took longer, or an answer is larger.
    """
    _limit_answers()
    results: list[Answer] = []
    errors: list[BaseException] = []
    ended = threading.Event()

    def ask() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            errors.append(error)
        finally:
            ended.set()

    limit = _host(address), max_bytes
    _bounded.append(limit)
    try:
        threading.Thread(target=ask, daemon=True).start()
        until = time.monotonic() + seconds
        while not ended.wait(_POLL_SECONDS):
            if signals.interrupted.is_set():
                until = min(until, time.monotonic() + _HURRIED_SECONDS)
            if time.monotonic() >= until:
                raise AnswerError(f"the answer took longer than {seconds:g} s")
    finally:
        _bounded.remove(limit)
    if errors:
        raise errors[0]
    return results[0]


def _limit_answers() -> None:
    """Count the bytes of the answers of the hosts that are being asked."""
    import requests

    with _patched:
        read: Any = requests.Response.iter_content
        if getattr(read, "is_limited", False):
            return

        def iter_content(self: requests.Response, *arguments: Any, **options: Any) -> Iterator[Any]:
            chunks = read(self, *arguments, **options)
            host = _host(self.url or "")
            limits = [max_bytes for each, max_bytes in _bounded if each == host]
            return _counted(chunks, max(limits)) if limits else chunks

        iter_content.is_limited = True  # type: ignore[attr-defined]
        requests.Response.iter_content = iter_content  # type: ignore[method-assign]


def _host(address: str) -> str:
    return urlsplit(address).netloc.rpartition("@")[2]


def _counted(chunks: Iterator[Any], max_bytes: int) -> Iterator[Any]:
    size_bytes = 0
    for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            raise AnswerError(f"the answer is larger than {max_bytes / 2**20:.0f} MiB")
        yield chunk
