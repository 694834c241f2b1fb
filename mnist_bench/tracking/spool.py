"""The spool file of a training: its messages, until MLflow has all of them.

`mlruns/.runs/<trajectory>.jsonl`: a `Header` with all that another process needs to finish the
upload, then one entry per line, appended only. The folder `<trajectory>` next to it holds the
worker's files. Both are removed once MLflow has everything. The owner's lock file (`core/locks.py`)
is there before both of them: without it, or if it is free, the spool is abandoned.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from mnist_bench.core import files, locks
from mnist_bench.core.records import Record
from mnist_bench.core.untrusted import parse_json
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.protocol import EvaluationMessage, Message, StepCountDone
from mnist_bench.results.run import RunResult, Status
from mnist_bench.scenarios.scenario import Scenario
from mnist_bench.tracking import uri
from mnist_bench.tracking.bundle import is_plausible
from mnist_bench.tracking.database import sqlite_file

FOLDER = Path("mlruns", ".runs")
"""The folder of spool files, next to MLflow's artifacts."""
_SUFFIX = ".jsonl"
_ASIDE = ".unreadable"
"""Ends the names of spools, and of their folders, that were put aside."""
_MAX_BYTES = 32 * 2**20
_MAX_VALUES = 100_000
_MAX_TEXT = 100_000
"""Limits of a line."""


class Address(Record):
    """The store and experiment that runs are recorded in.

    Attributes:
        tracking_uri: MLflow's tracking URI without user, password and query.
    """

    tracking_uri: str
    experiment: str

    @classmethod
    def of(cls, tracking_uri: str, experiment: str) -> Self:
        """The address for a tracking URI, which may contain credentials; one for each file."""
        shown = uri.without_credentials(tracking_uri)
        if file := sqlite_file(tracking_uri):
            file = file.resolve()
            inside = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
            name = inside.as_posix().replace("%", "%25").replace("?", "%3F")
            shown = f"sqlite:///{name}"
        return cls(tracking_uri=shown, experiment=experiment)


class Header(Record):
    """What is known of a training before its first step.

    Attributes:
        at_ms: Unix time in milliseconds, as in every entry.
        owner: Name of the process that runs and records the training; empty in spools of 0.1.0.
        runs: One run per step count, before its first step.
        exclusive: Whether other benchmarks of this user were locked out.
        tags: The user's own, for each of the runs.
    """

    kind: Literal["header"] = "header"
    schema_version: Literal[1] = 1
    at_ms: int
    owner: str
    address: Address
    machine: Machine
    scenario: Scenario
    runs: tuple[RunResult, ...]
    exclusive: bool = True
    tags: dict[str, str] = Field(default={})

    @field_validator("owner", mode="before")
    @classmethod
    def _name(cls, owner: object) -> object:
        return "" if isinstance(owner, dict) else owner  # 0.1.0 described the process


class MessageEntry(Record):
    """A message of the worker."""

    kind: Literal["said"] = "said"
    at_ms: int
    message: Message


class TrainingEnded(Record):
    """The training has ended; all runs that were still running got this status."""

    kind: Literal["ended"] = "ended"
    at_ms: int
    status: Status
    reason: str


Entry = MessageEntry | TrainingEnded
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="kind")])


class UnreadableSpoolError(Exception):
    """A file in the place of a spool that no process of this version has written."""


@dataclass(frozen=True)
class SpoolContents:
    """The contents of a spool file.

    Attributes:
        header: The first line of the file.
        entries: The other lines, up to the first incomplete or invalid one, without those of kinds
            that only other versions know.
    """

    path: Path
    header: Header
    entries: tuple[Entry, ...]

    @property
    def address(self) -> Address:
        """The header's address, as it is written today."""
        return Address.of(self.header.address.tracking_uri, self.header.address.experiment)

    @property
    def last_at_ms(self) -> int:
        """Time of the last entry, Unix time in milliseconds."""
        return self.entries[-1].at_ms if self.entries else self.header.at_ms


class Spool:
    """Writer of a spool file; lines are passed to the operating system before `add` returns.

    Evaluations and ends of step counts are on disk by then, so that not even a power failure loses
    what was shown.

    A line that can't be written is kept in memory for the next attempt, so that a disk that is
    full for a while loses nothing.

    Attributes:
        error: Why the last attempt failed; None if it succeeded.
    """

    def __init__(self, header: Header, folder: Path = FOLDER) -> None:
        self.path = path_of(header.runs[0].trajectory, folder)
        self._size = 0
        self._unwritten = b""
        self._must_sync = False
        self.error: OSError | None = None
        self.add(header)

    def add(self, *entries: Header | Entry) -> None:
        """Append a line each; afterwards `error` says whether they were written."""
        for entry in entries:
            self._unwritten += entry.model_dump_json().encode() + b"\n"
            self._must_sync |= isinstance(entry, MessageEntry) and isinstance(
                entry.message, EvaluationMessage | StepCountDone
            )
        self.error = None
        try:
            self._write()
        except OSError as error:
            self.error = error

    def _write(self) -> None:
        if not self._size:
            locks.hold(self.path.parent)
        # Opened for each line, a few per second, so that a crash leaves no open file.
        with self.path.open("r+b" if self._size else "wb", buffering=0) as file:
            file.seek(self._size)
            file.truncate()  # an earlier line that a full disk cut off
            while self._unwritten:
                written = file.write(self._unwritten)
                self._size += written
                self._unwritten = self._unwritten[written:]
            if self._must_sync:
                os.fsync(file.fileno())
                self._must_sync = False


def path_of(training_id: str, folder: Path = FOLDER) -> Path:
    """Path of the spool file of a training."""
    return folder / f"{training_id}{_SUFFIX}"


def files_of(path: Path) -> Path:
    """The folder for the worker's files that belongs to a spool file."""
    return path.with_suffix("")


def paths(folder: Path = FOLDER) -> list[Path]:
    """Paths of all spool files."""
    return [] if folder.is_symlink() else sorted(folder.glob(f"*{_SUFFIX}"))


def read(path: Path) -> SpoolContents | None:
    """Read a spool file; None if its first line is incomplete or of another version.

    Raises:
        OSError: The file does not exist any more, or may not be read.
        UnreadableSpoolError: It never can be read.
    """
    try:
        content = files.read_bounded(path, _MAX_BYTES, follow=False)
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        raise UnreadableSpoolError(error.strerror) from error
    lines = content.splitlines(keepends=True)
    if not (lines and lines[0].endswith(b"\n")):
        return None
    try:
        document = parse_json(lines[0], max_values=_MAX_VALUES, max_text=_MAX_TEXT)
        header = Header.model_validate_json(lines[0])
    except ValidationError as error:
        faults = {fault["type"] for fault in error.errors(include_url=False)}
        version = document.get("schema_version", 1) if isinstance(document, dict) else 1
        if version != 1 or faults == {"extra_forbidden"}:
            return None
        raise UnreadableSpoolError("its first line is not that of a spool") from error
    except ValueError as error:
        raise UnreadableSpoolError(f"its first line: {error}") from error
    try:
        contents = SpoolContents(path, header, tuple(_entries(lines[1:])))
    except ValueError as error:
        raise UnreadableSpoolError(str(error)) from error
    _check(contents)
    return contents


def _check(contents: SpoolContents) -> None:
    """Check that the lines of a spool belong together.

    Raises:
        UnreadableSpoolError: They don't, or have impossible values.
    """
    runs = contents.header.runs
    steps = [run.steps for run in runs]
    if any(run.trajectory != contents.path.stem for run in runs):
        raise UnreadableSpoolError("it has another training's name")
    if not runs or steps != sorted(set(steps)) or not all(map(is_plausible, runs)):
        raise UnreadableSpoolError("its runs have impossible values")
    done = [
        each.message.steps
        for each in contents.entries
        if isinstance(each, MessageEntry) and isinstance(each.message, StepCountDone)
    ]
    if not set(done) <= set(steps):
        raise UnreadableSpoolError("a step count has ended that it does not have")
    if min(each.at_ms for each in (contents.header, *contents.entries)) < 0:
        raise UnreadableSpoolError("a time is below zero")


def put_aside(path: Path) -> Path:
    """Rename a spool file and its folder so that nothing reads them again; the new path.

    Raises:
        OSError: They can't be renamed.
    """
    target = path.with_name(f"{path.name}{_ASIDE}")
    number = 1
    while os.path.lexists(target):
        number += 1
        target = path.with_name(f"{path.name}.{number}{_ASIDE}")
    folder = files_of(path)
    if os.path.lexists(folder):
        folder.rename(target.with_name(target.name.replace(_SUFFIX, "", 1)))
    return path.rename(target)


def left_folders(folder: Path = FOLDER) -> list[Path]:
    """Folders for workers' files, and links in their place, whose spool file is gone."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    own = {files_of(path) for path in paths(folder)}
    return [
        path
        for path in folder.iterdir()
        if path not in own
        and path.suffix != _ASIDE
        and (path.is_dir() or (path.is_symlink() and not path.suffix))
    ]


def remove_folder(path: Path) -> None:
    """Remove a folder for a worker's files; a link in its place, and not what it leads to."""
    if path.is_symlink():
        with suppress(OSError):
            path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a spool file with the worker's files, and parent folders that become empty."""
    # The worker's files first: without the spool file their owner would be unknown.
    remove_folder(files_of(path))
    with suppress(OSError):  # Windows: a virus scanner may lock it; the next command removes it
        path.unlink(missing_ok=True)
        path.parent.rmdir()
        path.parent.parent.rmdir()


def _entries(lines: list[bytes]) -> Iterator[Entry]:
    """The entries up to the first incomplete line, during which the writer was killed.

    Raises:
        ValueError: A line goes beyond the limits.
    """
    for line in lines:
        try:
            entry = _ENTRY.validate_json(line)
        except ValidationError as error:
            if error.errors()[0]["type"] != "union_tag_invalid":  # an entry of another version
                return
        else:
            parse_json(line, max_values=_MAX_VALUES, max_text=_MAX_TEXT)
            yield entry
