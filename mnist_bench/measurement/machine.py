"""This machine: what it is made of, and which versions run on it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import uuid
from importlib.metadata import version
from pathlib import Path

import platformdirs
import psutil

from mnist_bench.core import formatting
from mnist_bench.core.records import Record


class Machine(Record):
    """The described hardware and software of one computer.

    Attributes:
        machine_id: A random value kept in the user's configuration folder; None where it can't be
            kept.
        cpu: The processor's own name.
        cores_physical: None where the system does not tell.
        cores_logical: None where the system does not tell.
        memory_bytes: Installed memory.
        system: Operating system and its version.
        architecture: Of the processor, as the system names it.
        python: Version; likewise the versions after it; None in records from before one was told.
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
        """The machine by its hardware, in one line."""
        return self._in_words(
            formatting.gibibytes(self.memory_bytes), self.system, self.architecture
        )

    @property
    def kind(self) -> str:
        """What it is made of, whatever runs on it: times of one kind may be compared."""
        # What a system keeps for itself of the memory changes with its version.
        return self._in_words(f"{round(self.memory_bytes / 2**30)} GiB")

    def _in_words(self, memory: str, *system: str) -> str:
        cores = self.cores_physical or self.cores_logical
        parts = [self.cpu, f"{cores} cores" if cores else "", memory, " ".join(system)]
        return ", ".join(part for part in parts if part)


def describe() -> Machine:
    """Describe this machine; no privileges and no heavy import needed."""
    return Machine(
        machine_id=machine_id(),
        cpu=_cpu_name(),
        cores_physical=psutil.cpu_count(logical=False),
        cores_logical=psutil.cpu_count(logical=True),
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        python=platform.python_version(),
        tensorflow=version("tensorflow"),
        keras=version("keras"),
        mlflow=version("mlflow"),
        optuna=version("optuna"),
        numpy=version("numpy"),
        mnist_bench=version("mnist-bench"),
        scikit_learn=version("scikit-learn"),
    )


def id_file() -> Path:
    """Where this machine's id is kept."""
    return platformdirs.user_config_path("mnist-bench", appauthor=False) / "machine-id"


def machine_id() -> str | None:
    """This machine's random id, made at the first call; None where it can't be kept."""
    path = id_file()
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f"machine-id-{os.getpid()}")
            beside.write_text(uuid.uuid4().hex, encoding="ascii")
            _publish(beside, path)
        return path.read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        return None


def _publish(beside: Path, path: Path) -> None:
    """Give a file its name unless another process, first too, was faster."""
    try:
        os.link(beside, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _cpu_name() -> str:
    """The processor's own name, where the system tells it."""
    try:
        name = _cpu_name_of_system()
    except (OSError, subprocess.SubprocessError):
        name = ""
    return " ".join(name.split()) or platform.processor() or platform.machine()


def _cpu_name_of_system() -> str:
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
