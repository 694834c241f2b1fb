"""Verified downloads from mirrors into a folder."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_bench.core.errors import BenchError
from mnist_bench.core.files import write_atomically
from mnist_bench.core.http import AnswerError, bounded
from mnist_bench.data import idx
from mnist_bench.data.idx import IdxFile

if TYPE_CHECKING:
    from rich.progress import Progress

TIMEOUT = (10.0, 30.0)
"""Seconds to wait for a connection, and for each chunk of a response."""

_SLACK_BYTES = 2**16
"""Most that gzip may add to incompressible content."""
_CHUNK_BYTES = 2**16
_LEAST_BYTES_PER_SECOND = 200_000
"""Of uncompressed images: 50 kB/s on the network."""


def download(
    files: list[IdxFile], folder: Path, mirrors: tuple[str, ...], *, show_progress: bool = False
) -> dict[str, str]:
    """Download files into a folder, decompressed; only complete and verified files are written.

    Args:
        files: The files.
        folder: Target folder.
        mirrors: Addresses of folders, tried in this order for each file.
        show_progress: Whether to show progress bars on standard error.

    Returns:
        The reason of the last failure by mirror; empty if all files were downloaded.

    Raises:
        OSError: The folder can't be written.
    """
    failures: dict[str, str] = {}
    unreachable: set[str] = set()
    with _progress(is_shown=show_progress) as progress:
        for file in files:
            for mirror in [mirror for mirror in mirrors if mirror not in unreachable]:
                try:
                    content = _download_verified(mirror, file, progress)
                except _FetchError as error:
                    failures[mirror] = error.reason
                    unreachable |= {mirror} if error.unreachable else set()
                else:
                    write_atomically(folder / file.name, content)
                    break
            else:
                return failures
    return {}


def _download_verified(mirror: str, file: IdxFile, progress: Progress) -> bytes:
    """Download and verify a mirror's file; uncompressed bytes."""
    url = f"{mirror.rstrip('/')}/{file.name}.gz"
    limit = file.size_bytes + _SLACK_BYTES
    seconds = sum(TIMEOUT) + limit / _LEAST_BYTES_PER_SECOND
    try:
        # A thread of its own: each byte of a slow mirror starts the timeout anew.
        compressed = bounded(lambda: _fetch(url, limit, progress), url, seconds, 2 * limit)
    except AnswerError as error:
        raise _FetchError("sends too slowly", unreachable=True) from error
    try:
        content = idx.read_stream(io.BytesIO(compressed), file, url)
    except BenchError as error:
        raise _FetchError(f"sent an invalid {file.name}") from error
    if idx.sha256(content) != file.digest:
        raise _FetchError(f"sent a different {file.name}")
    return content


class _FetchError(Exception):
    """A download failed.

    Attributes:
        reason: Why, in a few words.
        unreachable: Whether further requests to this server are pointless.
    """

    def __init__(self, reason: str, *, unreachable: bool = False) -> None:
        self.reason = reason
        self.unreachable = unreachable
        super().__init__(reason)


def _fetch(url: str, limit: int, progress: Progress) -> bytes:
    """Download `url` into memory, at most `limit` bytes."""
    import requests

    received = bytearray()
    task = progress.add_task(url.rpartition("/")[2], total=None)
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT) as response:
            response.raise_for_status()
            total = int(response.headers.get("Content-Length", 0)) or None
            for chunk in response.iter_content(_CHUNK_BYTES):
                received += chunk
                if len(received) > limit:
                    raise _FetchError("sent more than the file can hold")
                progress.update(task, total=total, completed=len(received))
    except (OSError, ValueError) as error:  # requests' own errors are OSErrors
        raise _fetch_error(error) from error
    finally:
        progress.remove_task(task)
    return bytes(received)


def _fetch_error(error: Exception) -> _FetchError:
    """A short reason for the error, instead of requests' chain of causes."""
    from requests import exceptions as http

    connect_seconds, answer_seconds = TIMEOUT
    if isinstance(error, http.HTTPError) and error.response is not None:
        return _FetchError(f"answered {error.response.status_code}")
    connection_errors: dict[type[Exception], str] = {  # the most general last
        http.ConnectTimeout: f"no connection within {connect_seconds:g} s",
        http.ReadTimeout: f"no answer within {answer_seconds:g} s",
        http.SSLError: "no trusted connection (certificate)",
        http.ProxyError: "no connection through the proxy",
        http.ConnectionError: "connection failed",
    }
    for kind, reason in connection_errors.items():
        if isinstance(error, kind):
            return _FetchError(reason, unreachable=True)
    return _FetchError("the download was interrupted")


@contextmanager
def _progress(*, is_shown: bool) -> Iterator[Progress]:
    """Progress bars on standard error, which vanish at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not is_shown
    ) as progress:
        yield progress
