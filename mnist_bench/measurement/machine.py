"""Description of this machine: hardware, system and library versions."""

from __future__ import annotations

import logging
import os
import platform
import re
import secrets
import subprocess
import sys
import uuid
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from mnist_bench.core import files, formatting
from mnist_bench.core.errors import BenchError
from mnist_bench.core.escaping import one_line
from mnist_bench.core.records import Record
from mnist_bench.measurement.system import Sensors, read_or_none

_ID = re.compile(r"[0-9a-f]{8,64}")
_MAX_ID_BYTES = 100


class Machine(Record):
    """Hardware and software of a computer.

    Attributes:
        machine_id: Random id stored in the user's configuration folder; None if it can't be stored.
        cpu: Model name of the processor.
        cores_physical: None if unknown.
        cores_logical: None if unknown.
        memory_bytes: Installed memory, or a container's limit.
        system: Operating system and its version.
        architecture: Of the processor, as named by the system.
        python: Version, like the fields after it; None in records from before it was recorded.
    """

    machine_id: str | None
    cpu: str
    cores_physical: int | None
    cores_logical: int | None
    memory_bytes: int
    system: str
    architecture: str
    python: str
    tensorflow: str
    keras: str
    mlflow: str
    optuna: str
    numpy: str
    mnist_bench: str
    scikit_learn: str | None = None

    @property
    def name(self) -> str:
        """The hardware and system in one line."""
        return self._join(formatting.gibibytes(self.memory_bytes), self.system, self.architecture)

    @property
    def kind(self) -> str:
        """The hardware in one line: times of machines of the same kind are comparable."""
        # Rounded: the memory that the system reserves depends on its version.
        return self._join(f"{round(self.memory_bytes / 2**30)} GiB")

    def _join(self, memory: str, *system: str) -> str:
        cores = self.cores_physical or self.cores_logical
        parts = [self.cpu, f"{cores} cores" if cores else "", memory, " ".join(system)]
        return ", ".join(part for part in parts if part)


def describe() -> Machine:
    """Describe this machine, without privileges and heavy imports."""
    return Machine(
        machine_id=machine_id(),
        cpu=_cpu_name(),
        cores_physical=read_or_none(lambda: psutil.cpu_count(logical=False)),
        cores_logical=read_or_none(psutil.cpu_count),
        memory_bytes=Sensors().memory_bytes() or 0,
        system=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        python=platform.python_version(),
        tensorflow=tensorflow_version(),
        keras=version("keras"),
        mlflow=version("mlflow"),
        optuna=version("optuna"),
        numpy=version("numpy"),
        mnist_bench=version("mnist-bench"),
        scikit_learn=version("scikit-learn"),
    )


def tensorflow_distribution() -> tuple[str, str]:
    """Name and version of the installed TensorFlow, without importing it.

    Raises:
        BenchError: None is installed.
    """
    for name in ("tensorflow", "tensorflow-cpu"):  # which install the same module
        with suppress(PackageNotFoundError):
            return name, version(name)
    raise BenchError("TensorFlow is not installed", "install mnist-bench again with pip")


def tensorflow_version() -> str:
    """Version of the installed TensorFlow.

    Raises:
        BenchError: None is installed.
    """
    return tensorflow_distribution()[1]


_MAX_SCORE_BYTES = 500


def id_file() -> Path:
    """File of this machine's id."""
    return files.user_folder("config") / "machine-id"


def machine_id() -> str | None:
    """This machine's random id, created at the first call; None if it can't be stored.

    A file that holds anything else is replaced: its content would stand in every run and bundle.
    """
    path = id_file()
    try:
        if os.path.lexists(path):
            return _read_id(path) or _replace_id(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"machine-id-{os.getpid()}-{secrets.token_hex(4)}")
        with temporary.open("x", encoding="ascii") as file:
            file.write(uuid.uuid4().hex)
        _rename_unless_exists(temporary, path)
        return _read_id(path)
    except OSError:
        return None


def save_score(sentence: str) -> None:
    """Keep the result of Table I for `last_score`; a folder that can't be written is ignored."""
    with suppress(OSError):
        files.write_atomically(id_file().with_name("score.txt"), sentence.encode())


def last_score() -> str | None:
    """What `save_score` kept last; None if there is nothing."""
    try:
        content = files.read_bounded(id_file().with_name("score.txt"), _MAX_SCORE_BYTES)
    except OSError:
        return None
    return one_line(content.decode("utf-8", "replace")) or None


def _read_id(path: Path) -> str | None:
    """The id in a file; None if it holds anything else.

    Raises:
        PermissionError: The file is another user's.
    """
    try:
        found = files.read_bounded(path, _MAX_ID_BYTES).decode("ascii", "replace").strip()
    except PermissionError:
        raise
    except OSError:
        return None
    return found if _ID.fullmatch(found) else None


def _replace_id(path: Path) -> str | None:
    """A new id in place of what is no id, which is said; None if it can't be stored."""
    new: str | None = uuid.uuid4().hex
    try:
        files.write_atomically(path, f"{new}".encode())
    except OSError:
        new = None
    done = "it is made anew" if new else "and it can't be replaced, so the machine has none"
    logging.getLogger(__name__).warning(
        "mnist-bench: %s does not hold the id of a machine: %s", path, done
    )
    return new


def _rename_unless_exists(temporary: Path, path: Path) -> None:
    """Rename a temporary file unless another process has created `path` first."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _cpu_name() -> str:
    """Model name of the processor, or its architecture."""
    try:
        name = _system_cpu_name()
    except (OSError, subprocess.SubprocessError):
        name = ""
    return " ".join(name.split()) or platform.processor() or platform.machine()


def _system_cpu_name() -> str:
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        names = (line.partition(":")[2] for line in lines if line.startswith("model name"))
        return next(names, "")
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout
    if sys.platform == "win32":
        import winreg

        key = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as handle:
            return str(winreg.QueryValueEx(handle, "ProcessorNameString")[0])
    return ""
