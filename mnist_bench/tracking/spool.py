"""What was heard of a trajectory, line by line in a file, until MLflow has all of it.

`mlruns/.runs/<trajectory>.jsonl`: first a `Header` with all that is needed to finish the work
without the process that began it, then an entry a line, only ever appended. Beside it, in the
folder `<trajectory>`, the worker puts its files. Both are removed once MLflow has everything.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter

from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.core.records import Record
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.protocol import Message
from mnist_bench.results.run import RunResult, Status
from mnist_bench.scenarios.scenario import Scenario
from mnist_bench.tracking import uri

FOLDER = Path("mlruns", ".runs")
"""Where journals lie, beside MLflow's own artifacts."""
_SUFFIX = ".jsonl"


class Address(Record):
    """Where runs are recorded.

    Attributes:
        tracking_uri: MLflow's tracking URI without user, password and query.
        experiment: Name of the experiment.
    """

    tracking_uri: str
    experiment: str

    @classmethod
    def of(cls, tracking_uri: str, experiment: str) -> Self:
        """The address of a URI as the user gave it."""
        shown = uri.without_credentials(tracking_uri)
        return cls(tracking_uri=shown, experiment=experiment)


class Header(Record):
    """All that is known before a trajectory's first step.

    Attributes:
        at_ms: Unix time in milliseconds, as in every entry.
        owner: The process that trains and records it.
        address: Where its runs are recorded.
        machine: The described machine.
        scenario: What is asked.
        runs: A run a row, as they are before their first step.
        exclusive: Whether the suite kept other benchmarks of this user away.
    """

    kind: Literal["header"] = "header"
    schema_version: Literal[1] = 1
    at_ms: int
    owner: ProcessIdentity
    address: Address
    machine: Machine
    scenario: Scenario
    runs: tuple[RunResult, ...]
    exclusive: bool = True


class TrainingStarted(Record):
    """The store is open; from here on it may know of the runs."""

    kind: Literal["begun"] = "begun"
    at_ms: int


class RunCreated(Record):
    """A row's run was made in MLflow."""

    kind: Literal["made"] = "made"
    at_ms: int
    steps: int
    run_id: str


class MessageEntry(Record):
    """The worker said something."""

    kind: Literal["said"] = "said"
    at_ms: int
    message: Message


class TrainingEnded(Record):
    """The training has ended; every row that still went on ended so."""

    kind: Literal["ended"] = "ended"
    at_ms: int
    status: Status
    reason: str


Entry = TrainingStarted | RunCreated | MessageEntry | TrainingEnded
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="kind")])


@dataclass(frozen=True)
class SpoolContents:
    """A journal as it was read.

    Attributes:
        path: The file.
        header: Its first line.
        entries: The others, up to the first that is not whole.
    """

    path: Path
    header: Header
    entries: tuple[Entry, ...]

    @property
    def has_begun(self) -> bool:
        """Whether there is anything that MLflow should know."""
        return bool(self.entries)

    @property
    def last_at_ms(self) -> int:
        """When the last was heard of it."""
        return self.entries[-1].at_ms if self.entries else self.header.at_ms


class Spool:
    """A journal that is being written; every line is with the system when `add` returns.

    A line that can't be written waits in memory for the next attempt, so that a disk that was
    full for a while costs nothing.

    Args:
        header: The first line.
        folder: Where journals lie.
    """

    def __init__(self, header: Header, folder: Path = FOLDER) -> None:
        self.path = path_of(header.runs[0].trajectory, folder)
        self._size = 0
        self._waiting = b""
        self.fault: OSError | None = None
        self.add(header)

    @property
    def files(self) -> Path:
        """The folder for the worker's files."""
        return files_of(self.path)

    def add(self, entry: Header | Entry) -> None:
        """Append a line; `fault` says afterwards why it could not be, None where it could."""
        self._waiting += entry.model_dump_json().encode() + b"\n"
        try:
            self._write()
        except OSError as error:
            self.fault = error
        else:
            self.fault = None

    def remove(self) -> None:
        """Remove the journal and the worker's files: nothing in them is needed any more."""
        remove(self.path)

    def _write(self) -> None:
        # Opened for each line: some a second, and nothing is left open on the way to a crash.
        with self.path.open("r+b" if self._size else "wb", buffering=0) as file:
            file.seek(self._size)
            file.truncate()  # what a full disk took of a line before
            while self._waiting:
                written = file.write(self._waiting)
                self._size += written
                self._waiting = self._waiting[written:]


def path_of(trajectory: str, folder: Path = FOLDER) -> Path:
    """The journal of a trajectory."""
    return folder / f"{trajectory}{_SUFFIX}"


def files_of(path: Path) -> Path:
    """The folder for the worker's files that belongs to a journal."""
    return path.with_suffix("")


def paths(folder: Path = FOLDER) -> list[Path]:
    """The journals that there are."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def read(path: Path) -> SpoolContents | None:
    """Read a journal; None where its first line is not whole or of another version.

    Raises:
        OSError: It can't be read, or is gone by now.
    """
    lines = path.read_bytes().splitlines(keepends=True)
    try:
        header = Header.model_validate_json(lines[0])
    except (ValueError, IndexError):
        return None
    return SpoolContents(path, header, tuple(_entries(lines[1:])))


def remove(path: Path) -> None:
    """Remove a journal with its files, and the folders around it where nothing else is in them."""
    # The files first: without its journal nobody would know whose they are.
    shutil.rmtree(files_of(path), ignore_errors=True)
    with suppress(OSError):  # Windows: a virus scanner may hold it; then the next command does it
        path.unlink(missing_ok=True)
        path.parent.rmdir()
        path.parent.parent.rmdir()


def _entries(lines: list[bytes]) -> Iterator[Entry]:
    """The entries up to the first line that is torn: its writer was killed over it."""
    for line in lines:
        try:
            yield _ENTRY.validate_json(line)
        except ValueError:
            return
