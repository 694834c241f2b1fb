"""Downloads: from mirrors into a folder, verified."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_bench.core.errors import BenchError
from mnist_bench.core.files import write_atomically
from mnist_bench.data import idx
from mnist_bench.data.idx import IdxFile

if TYPE_CHECKING:
    from rich.progress import Progress

TIMEOUT = (10.0, 30.0)
"""Seconds to wait for a connection, and for each next piece of an answer."""

_SLACK_BYTES = 2**16
"""What packing may add to a file that can't be made smaller."""
_CHUNK_BYTES = 2**16


def download(
    files: list[IdxFile], folder: Path, mirrors: tuple[str, ...], *, show_progress: bool = False
) -> dict[str, str]:
    """Fetch files into a folder, unpacked; only whole and verified ones get there.

    Args:
        files: What is wanted.
        folder: Where to.
        mirrors: Addresses of folders, asked in this order for each file.
        show_progress: Whether progress bars are drawn on standard error.

    Returns:
        Nothing when all came; else mirror to the reason of its last failure.

    Raises:
        OSError: The folder can't be written.
    """
    failures: dict[str, str] = {}
    hopeless: set[str] = set()
    for file in files:
        for mirror in [mirror for mirror in mirrors if mirror not in hopeless]:
            try:
                content = _verified(mirror, file, show_progress=show_progress)
            except _FetchError as error:
                failures[mirror] = error.reason
                hopeless |= {mirror} if error.hopeless else set()
            else:
                write_atomically(folder / file.name, content)
                break
        else:
            return failures
    return {}


def _verified(mirror: str, file: IdxFile, *, show_progress: bool) -> bytes:
    """A mirror's file, uncompressed, if it is the right one."""
    url = f"{mirror.rstrip('/')}/{file.name}.gz"
    packed = _get(url, limit=file.size_bytes + _SLACK_BYTES, show_progress=show_progress)
    try:
        content = idx.shaped(io.BytesIO(packed), file, url)
    except BenchError as error:
        raise _FetchError(f"sent a broken {file.name}") from error
    if idx.sha256(content) != file.digest:
        raise _FetchError(f"sent another {file.name}")
    return content


class _FetchError(Exception):
    """A download failed.

    Attributes:
        reason: Why, in a few words.
        hopeless: Whether the server need not be asked for anything else.
    """

    def __init__(self, reason: str, *, hopeless: bool = False) -> None:
        self.reason = reason
        self.hopeless = hopeless
        super().__init__(reason)


def _get(url: str, *, limit: int, show_progress: bool) -> bytes:
    """What the server has at `url`, held in memory; not more than `limit` bytes are taken."""
    import pooch

    received = _Capped(limit)
    shown = _drawn(url.rpartition("/")[2]) if show_progress else nullcontext()
    try:
        with shown as bar:
            download: Any = pooch.HTTPDownloader(bar, _CHUNK_BYTES, timeout=TIMEOUT)
            download(url, received, None)
    except (OSError, ValueError) as error:  # requests' own errors are OSErrors
        raise _explained(error) from error
    return bytes(received.content)


class _Capped:
    """What pooch writes to: it takes so many bytes and no more, whatever a server may send."""

    def __init__(self, limit: int) -> None:
        self.content = bytearray()
        self._limit = limit

    def write(self, chunk: bytes) -> None:
        if len(self.content) + len(chunk) > self._limit:
            raise _FetchError("sent more than the file can hold")
        self.content += chunk

    def flush(self) -> None:
        """Nothing to do."""


def _explained(error: Exception) -> _FetchError:
    """The error in a few words, where requests would print its whole stack of causes."""
    from requests import exceptions as http

    connect_seconds, answer_seconds = TIMEOUT
    if isinstance(error, http.HTTPError) and error.response is not None:
        return _FetchError(f"answered {error.response.status_code}")
    unreachable: dict[type[Exception], str] = {  # the general one last
        http.ConnectTimeout: f"no connection within {connect_seconds:g} s",
        http.ReadTimeout: f"no answer within {answer_seconds:g} s",
        http.SSLError: "no trusted connection (certificate)",
        http.ProxyError: "no connection through the proxy",
        http.ConnectionError: "connection failed",
    }
    for kind, reason in unreachable.items():
        if isinstance(error, kind):
            return _FetchError(reason, hopeless=True)
    return _FetchError("download broke off")


class _Bar:
    """What pooch asks of a progress bar, drawn by rich."""

    def __init__(self, progress: Progress, name: str) -> None:
        self.total = 0
        self._progress = progress
        self._task = progress.add_task(name, total=None)

    def update(self, size_bytes: int) -> None:
        self._progress.update(self._task, total=self.total or None, advance=size_bytes)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        """Nothing to do: leaving `_drawn` takes the bar away, on errors too."""


@contextmanager
def _drawn(name: str) -> Iterator[_Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        yield _Bar(progress, name)
