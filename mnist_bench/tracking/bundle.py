"""Bundles of runs: ZIP files that are written for export, and validated as untrusted input."""

from __future__ import annotations

import io
import re
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NoReturn

from pydantic import ConfigDict, Field, ValidationError

from mnist_bench.core import files
from mnist_bench.core.errors import BenchError
from mnist_bench.core.records import Items, Record
from mnist_bench.core.untrusted import parse_json
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.run import RunResult
from mnist_bench.scenarios.hyperparameters import HYPERPARAMETERS
from mnist_bench.scenarios.scenario import Scenario

SUFFIX = ".zip"
_MAIN = "bundle.json"
_ALLOWED = re.compile(r"bundle\.json|runs\.csv|scenarios/[0-9]{1,4}\.toml")
_TRAJECTORY = re.compile(r"[\w .:-]{1,200}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_MAX_FILE_BYTES = 24 * 2**20
_MAX_MEMBERS = 2_000
_ENTRY = b"PK\x01\x02"
"""Signature of each entry in the central directory of a ZIP file."""
MAX_SCENARIOS = 1_900
_MAX_MEMBER_BYTES = 24 * 2**20
"""About 1,500 runs of 100 evaluations. As text, a character may take four bytes of memory."""
MAX_RUNS = 20_000
_MAX_TEXT = 500
_DAY_SECONDS = 86_400
"""Tolerated difference between the clocks of two machines."""
_MIN_STEP_SECONDS = 1e-9
_MAX_VALUES = 1_200_000
"""A run with 100 evaluations has about 700."""
_PRIVATE_FIELDS = {"failure": None, "trial": None, "run_id": None, "part": None}
"""Values of removed fields: free text that may contain paths, and ids without meaning elsewhere."""


class InvalidBundleError(BenchError):
    """A file is not a valid bundle.

    Attributes:
        why: The reason, without the file's name.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path.name} is not a bundle of mnist-bench: {why}",
            "use a file that `mnist-bench export` wrote",
        )
        self.why = why


class BundledRun(Record):
    """One run in a bundle.

    Attributes:
        result: Without free text.
        machine: Index in the bundle's machines.
        begun_at_ms: Start, Unix time in milliseconds.
        scenario: Index in the bundle's scenarios; None if its scenario was not saved.
    """

    result: RunResult
    machine: int = Field(ge=0)
    begun_at_ms: int = Field(ge=0)
    scenario: int | None = Field(default=None, ge=0)


class Bundle(Record):
    """Contents of a bundle: a public format to which fields are added, never renamed.

    Attributes:
        schema_version: Called `schema` in the file.
        mnist_bench: Version that wrote the bundle.
        scenarios: They are also in the ZIP file as TOML files.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    kind: Literal["mnist-bench bundle"] = "mnist-bench bundle"
    schema_version: Literal[1] = Field(default=1, alias="schema")
    mnist_bench: str
    machines: tuple[Machine, ...]
    runs: Items[BundledRun] = Field(max_length=MAX_RUNS)
    scenarios: tuple[Scenario, ...] = Field(default=(), max_length=MAX_SCENARIOS)


def without_title(scenario: Scenario, name: str) -> Scenario:
    """A scenario for export: its title is replaced, since it is free text."""
    return scenario.model_copy(update={"title": f"Scenario {name}"[:200]})


def without_private(result: RunResult) -> RunResult:
    """A run's record for export, without private fields."""
    return result.model_copy(update=_PRIVATE_FIELDS)


def to_bytes(bundle: Bundle, runs_csv: str) -> bytes:
    """Content of the ZIP file; equal bundles give equal bytes.

    Args:
        runs_csv: The runs as CSV, for spreadsheets.
    """
    texts = {_MAIN: bundle.model_dump_json(indent=1) + "\n", "runs.csv": runs_csv}
    texts |= {f"scenarios/{n}.toml": each.to_toml() for n, each in enumerate(bundle.scenarios)}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name, _NO_DATE), text, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def read(path: Path) -> Bundle:
    """Read and validate a bundle.

    Raises:
        BenchError: The file can't be read, or is not a valid bundle.
    """
    try:
        with files.open_regular(path) as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BenchError(f"can't read {path}: {error.strerror or error}") from error
    if len(content) > _MAX_FILE_BYTES:
        _reject(path, f"it is larger than {_MAX_FILE_BYTES / 2**20:,.0f} MiB")
    return parse(content, path)


def read_csv(path: Path) -> str:
    """The runs as CSV in a bundle that `read` has validated; empty if they can't be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read("runs.csv").decode("utf-8", errors="replace")
    except Exception:  # noqa: BLE001  # zipfile does not wrap errors of zlib, struct and codecs
        return ""


def parse(content: bytes, path: Path) -> Bundle:
    """Validate the content of a bundle, a ZIP file; its path is for error messages.

    Raises:
        InvalidBundleError: The content is not a valid bundle.
        BenchError: The bundle has a newer schema.
    """
    text = _main_text(content, path)
    try:
        document = parse_json(text, max_values=_MAX_VALUES, max_text=_MAX_TEXT, printable=True)
    except ValueError as error:
        _reject(path, f"{_MAIN}: {error}")
    version = document.get("schema") if isinstance(document, dict) else None
    del document  # a second copy in memory
    if isinstance(version, int) and version > 1:
        raise BenchError(
            f"{path.name} is a bundle of schema {version}, and this version knows 1",
            "upgrade mnist-bench",
        )
    try:
        bundle = Bundle.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, fault["loc"]))[:100]
        if fault["type"] == "missing":
            _reject(path, f"{_MAIN} has no {field}")
        _reject(path, f"{field} in {_MAIN} is not valid: {fault['msg'][:100].lower()}")
    if any(run.machine >= len(bundle.machines) for run in bundle.runs):
        _reject(path, "a run refers to a machine that is not in the bundle")
    indices = [run.scenario for run in bundle.runs if run.scenario is not None]
    if indices and max(indices) >= len(bundle.scenarios):
        _reject(path, "a run refers to a scenario that is not in the bundle")
    if any(run.begun_at_ms > (time.time() + _DAY_SECONDS) * 1_000 for run in bundle.runs):
        _reject(path, "a run starts in the future")
    if not all(is_plausible(run.result) for run in bundle.runs):
        _reject(path, "a run has impossible values")
    return bundle


def is_plausible(run: RunResult) -> bool:
    """Whether the values of a run are possible, so that code that reads it does not fail."""
    steps = [each.step for each in run.evaluations]
    seconds = [each.train_seconds for each in run.evaluations]
    accuracies = [a for e in run.evaluations for a in (e.test_accuracy, e.validation_accuracy)]
    return (
        run.model in HYPERPARAMETERS
        and _DIGEST.fullmatch(run.dataset_digest) is not None
        and min(run.steps, run.eval_first, run.eval_every, run.threads) >= 1
        and _TRAJECTORY.fullmatch(run.trajectory) is not None
        and steps == sorted(set(steps))
        and all(0 <= accuracy <= 1 for accuracy in accuracies if accuracy is not None)
        and all(0 < target <= 1 for target in run.target_accuracies)
        and seconds == sorted(seconds)
        # No step is faster than a CPU cycle.
        and all(each.train_seconds >= each.step * _MIN_STEP_SECONDS for each in run.evaluations)
    )


def _main_text(content: bytes, path: Path) -> bytes:
    """Text of the one member that is read; nothing is unpacked to disk."""
    # Reject a central directory with too many entries before zipfile creates objects for them. The
    # entry count and size in the file are not trusted, and zipfile locates the directory in several
    # ways. Each entry, also in zip64, starts with this signature: its number is an upper bound.
    if content.count(_ENTRY) > _MAX_MEMBERS:
        _reject(path, "it contains too many files")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            _check_members(members, path)
            with archive.open(_MAIN) as member:
                data = member.read(_MAX_MEMBER_BYTES + 1)
    except BenchError:
        raise
    except Exception:  # noqa: BLE001  # zipfile does not wrap errors of zlib, struct and codecs
        _reject(path, "it is not a complete ZIP file")
    if len(data) > _MAX_MEMBER_BYTES:
        _reject(path, "it is too large when decompressed")
    return data


def _check_members(members: Sequence[zipfile.ZipInfo], path: Path) -> None:
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        _reject(path, "it contains a file twice")
    for member in members:
        if not _ALLOWED.fullmatch(member.filename):
            _reject(path, f"it contains an unexpected file: {member.filename[:60]!r}")
        if member.compress_type not in _COMPRESSIONS or member.flag_bits & 1:
            _reject(path, "it uses an unsupported compression or encryption")
    if sum(member.file_size for member in members) > _MAX_MEMBER_BYTES:
        _reject(path, "it is too large when decompressed")
    if _MAIN not in names:
        _reject(path, f"it contains no {_MAIN}")


def _reject(path: Path, why: str) -> NoReturn:
    raise InvalidBundleError(path, why)
