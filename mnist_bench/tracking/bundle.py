"""Results as one portable file. What comes from elsewhere is trusted in nothing."""

from __future__ import annotations

import io
import json
import re
import time
import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import ConfigDict, Field, ValidationError

from mnist_bench.core.errors import BenchError
from mnist_bench.core.records import Record
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.run import RunResult
from mnist_bench.scenarios.hyperparameters import HYPERPARAMETERS
from mnist_bench.scenarios.scenario import Scenario

SUFFIX = ".zip"
_MAIN = "bundle.json"
_ALLOWED = re.compile(r"bundle\.json|runs\.csv|scenarios/[0-9]{1,4}\.toml")
_TRAJECTORY = re.compile(r"[\w .:-]{1,200}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_MAX_FILE_BYTES = 100 * 2**20
_MAX_MEMBERS = 2_000
_ENTRY = b"PK\x01\x02"
"""Begins each entry of a ZIP file's directory."""
MAX_SCENARIOS = 1_900
_MAX_MEMBER_BYTES = 200 * 2**20
MAX_RUNS = 20_000
_MAX_TEXT = 500
_DAY_SECONDS = 86_400
"""Clocks differ, but not by more."""
_MAX_NUMBER = 1e15
_MIN_STEP_SECONDS = 1e-9
_MAX_DEPTH = 12
_MAX_VALUES = 20_000_000
"""In the text, by its commas; a run of a hundred scorings has some 700."""
_MAX_SHELLS = 4_000_000
"""Lists and tables in the text: an empty one takes most memory for what it is."""
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Control, invisible, lone surrogates, unassigned, line breaks of Unicode's own."""
_LEFT_BEHIND = {"failure": None, "trial": None, "run_id": None, "part": None}
"""Free text that may name a folder, and what means nothing elsewhere."""


class NoBundleError(BenchError):
    """A file is not what `mnist-bench export` writes.

    Attributes:
        why: In words, without the file's name.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path.name} is no bundle of mnist-bench: {why}",
            "ask for a file that `mnist-bench export` wrote",
        )
        self.why = why


class BundledRun(Record):
    """One run in a bundle.

    Attributes:
        result: Its record, without free text.
        machine: Place in the bundle's machines.
        begun_at_ms: Unix time in milliseconds.
        scenario: Place in the bundle's scenarios; None where its own was not kept.
    """

    result: RunResult
    machine: int = Field(ge=0)
    begun_at_ms: int = Field(ge=0)
    scenario: int | None = Field(default=None, ge=0)


class Bundle(Record):
    """What a bundle holds; a contract, fields are only ever added.

    Attributes:
        kind: What this file is.
        schema_version: Of this format; called `schema` in the file.
        mnist_bench: Version that wrote it.
        machines: Where the runs were made.
        runs: The runs.
        scenarios: What they were asked with; beside it they are TOML files of their own.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    kind: Literal["mnist-bench bundle"] = "mnist-bench bundle"
    schema_version: Literal[1] = Field(default=1, alias="schema")
    mnist_bench: str
    machines: tuple[Machine, ...]
    runs: tuple[BundledRun, ...] = Field(max_length=MAX_RUNS)
    scenarios: tuple[Scenario, ...] = Field(default=(), max_length=MAX_SCENARIOS)


def without_title(scenario: Scenario, name: str) -> Scenario:
    """A scenario as it may leave the house: its title is free text."""
    return scenario.model_copy(update={"title": f"Scenario {name}"[:200]})


def without_private(result: RunResult) -> RunResult:
    """A run's record as it may leave the house."""
    return result.model_copy(update=_LEFT_BEHIND)


def to_bytes(bundle: Bundle, runs_csv: str) -> bytes:
    """The file: the same bundle gives the same bytes.

    Args:
        bundle: What it holds.
        runs_csv: The same for a spreadsheet.
    """
    texts = {_MAIN: bundle.model_dump_json(indent=1) + "\n", "runs.csv": runs_csv}
    texts |= {f"scenarios/{n}.toml": each.to_toml() for n, each in enumerate(bundle.scenarios)}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name, _NO_DATE), text, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def read(path: Path) -> Bundle:
    """A bundle from elsewhere, wholly checked.

    Raises:
        BenchError: It can't be read, or is not what `mnist-bench export` writes.
    """
    try:
        size_bytes = path.stat().st_size
        if size_bytes > _MAX_FILE_BYTES:
            _refuse(path, f"it has {size_bytes / 2**20:,.0f} MiB")
        content = path.read_bytes()
    except OSError as error:
        raise BenchError(f"can't read {path}: {error.strerror or error}") from error
    return parse(content, path)


def parse(content: bytes, path: Path) -> Bundle:
    """The same of a file's content.

    Args:
        content: Of the file.
        path: Named in what is said of it.

    Raises:
        NoBundleError: It is not what `mnist-bench export` writes.
        BenchError: It is of a newer schema.
    """
    text = _main_text(content, path)
    shells = text.count("[") + text.count("{")
    if shells > _MAX_SHELLS or text.count(",") > _MAX_VALUES:
        _refuse(path, "it holds more values than a bundle does")
    try:
        told = json.loads(text, parse_constant=lambda name: _refuse(path, f"it holds {name}"))
    except (ValueError, RecursionError):
        _refuse(path, f"{_MAIN} is no JSON")
    _check(told, path, depth=0)
    if isinstance(told, dict) and isinstance(told.get("schema"), int) and told["schema"] > 1:
        raise BenchError(
            f"{path.name} is a bundle of schema {told['schema']}, and this version knows 1",
            "upgrade mnist-bench",
        )
    try:
        bundle = Bundle.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        _refuse(path, f"{'.'.join(map(str, fault['loc']))[:100]}: {fault['msg'][:100]}")
    if any(run.machine >= len(bundle.machines) for run in bundle.runs):
        _refuse(path, "a run names a machine that is not there")
    places = [run.scenario for run in bundle.runs if run.scenario is not None]
    if places and max(places) >= len(bundle.scenarios):
        _refuse(path, "a run names a scenario that is not there")
    if any(run.begun_at_ms > (time.time() + _DAY_SECONDS) * 1_000 for run in bundle.runs):
        _refuse(path, "a run begins in the future")
    if not all(_makes_sense(run.result) for run in bundle.runs):
        _refuse(path, "a run's figures make no sense")
    return bundle


def _makes_sense(run: RunResult) -> bool:
    """Whether nothing that reads the run can stumble over it."""
    steps = [each.step for each in run.evaluations]
    scores = [a for e in run.evaluations for a in (e.test_accuracy, e.validation_accuracy)]
    return (
        run.model in HYPERPARAMETERS
        and _DIGEST.fullmatch(run.dataset_digest) is not None
        and min(run.steps, run.eval_first, run.eval_every, run.threads) >= 1
        and _TRAJECTORY.fullmatch(run.trajectory) is not None
        and steps == sorted(set(steps))
        and all(0 <= accuracy <= 1 for accuracy in scores if accuracy is not None)
        and all(0 < target <= 1 for target in run.target_accuracies)
        and _takes_time(run)
    )


def _takes_time(run: RunResult) -> bool:
    """Whether times rise with the steps, and no step is faster than any processor's clock."""
    seconds = [each.train_seconds for each in run.evaluations]
    return seconds == sorted(seconds) and all(
        each.train_seconds >= each.step * _MIN_STEP_SECONDS for each in run.evaluations
    )


def _main_text(content: bytes, path: Path) -> str:
    """What is in the one member that is read; nothing is ever unpacked to the disk."""
    _check_directory(content, path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            _check_members(members, path)
            with archive.open(_MAIN) as member:
                data = member.read(_MAX_MEMBER_BYTES + 1)
    except BenchError:
        raise
    except Exception:  # noqa: BLE001  # zipfile lets through what zlib, struct and codecs raise
        _refuse(path, "it is no whole ZIP file")
    if len(data) > _MAX_MEMBER_BYTES:
        _refuse(path, "it unpacks to more than a bundle holds")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        _refuse(path, f"{_MAIN} is no text in UTF-8")


def _check_directory(content: bytes, path: Path) -> None:
    """Refuse a directory that is too long before it is read: zipfile would make objects of it all.

    zipfile goes by the directory's size alone, and finds it in one of several ways; so that no two
    readings can differ, neither that nor the count is believed. Each entry, also of zip64, begins
    with the same four bytes: there are at most so many as these.
    """
    if content.count(_ENTRY) > _MAX_MEMBERS:
        _refuse(path, "it holds too many files")


def _check_members(members: Sequence[zipfile.ZipInfo], path: Path) -> None:
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        _refuse(path, "it holds a file twice")
    for member in members:
        if not _ALLOWED.fullmatch(member.filename):
            _refuse(path, f"it holds a file that no bundle has: {member.filename[:60]!r}")
        if member.compress_type not in _KINDS or member.flag_bits & 1:
            _refuse(path, "it is packed in a way that no bundle is")
    if sum(member.file_size for member in members) > _MAX_MEMBER_BYTES:
        _refuse(path, "it unpacks to more than a bundle holds")
    if _MAIN not in names:
        _refuse(path, f"it holds no {_MAIN}")


def _check(value: Any, path: Path, *, depth: int) -> None:
    """Refuse what is too deep, too long, too large, or can't be seen."""
    if depth > _MAX_DEPTH:
        _refuse(path, "it is nested too deeply")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check(key, path, depth=depth + 1)
            _check(inner, path, depth=depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, path, depth=depth + 1)
    elif isinstance(value, str):
        if len(value) > _MAX_TEXT or any(unicodedata.category(c) in _HIDDEN for c in value):
            _refuse(path, f"it holds a text that is too long or can't be seen: {value[:30]!r}")
    elif isinstance(value, int | float) and not abs(value) <= _MAX_NUMBER:  # true of NaN too
        _refuse(path, "it holds a number that is too large")


def _refuse(path: Path, why: str) -> NoReturn:
    raise NoBundleError(path, why)
