"""Description of this machine."""

from __future__ import annotations

import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import platformdirs
import pytest
from factories import machine as imaginary

from mnist_bench.measurement import machine
from mnist_bench.measurement.machine import Machine


@pytest.fixture(autouse=True)
def configuration(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration folder that does not exist yet, in a temporary home."""
    folder = home / "configuration"
    use_folder(folder, monkeypatch)
    return folder


def use_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_config_path", lambda *_, **__: folder)


# The description


def test_description_of_this_machine_is_plausible() -> None:
    description = machine.describe()
    assert description.memory_bytes >= 2**28
    assert description.cpu.strip()
    assert len(description.cpu.splitlines()) == 1
    assert description.cores_logical is None or description.cores_logical >= 1
    assert description.cores_physical is None or description.cores_physical >= 1
    assert description.system.startswith(platform.system())
    assert description.architecture == platform.machine()


def test_versions_are_the_installed_ones() -> None:
    description = machine.describe()
    assert description.python == platform.python_version()
    for name in ("tensorflow", "keras", "mlflow", "optuna", "numpy"):
        assert getattr(description, name) == version(name)
    assert description.mnist_bench == version("mnist-bench")


def test_description_does_not_reveal_the_users_home(configuration: Path) -> None:
    description = machine.describe().model_dump_json()
    assert (configuration / "machine-id").is_file()
    assert configuration.parent.name not in description


def test_description_json_round_trip() -> None:
    description = machine.describe()
    assert Machine.model_validate_json(description.model_dump_json()) == description


# The id


def test_id_is_created_once(configuration: Path) -> None:
    first = machine.describe().machine_id
    assert first is not None
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert machine.describe().machine_id == first
    assert [path.name for path in configuration.iterdir()] == ["machine-id"]
    assert (configuration / "machine-id").read_text(encoding="ascii") == first


def test_id_is_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = machine.describe().machine_id
    use_folder(tmp_path / "elsewhere", monkeypatch)
    assert machine.describe().machine_id not in (first, None)


def test_existing_id_is_used(configuration: Path) -> None:
    configuration.mkdir(parents=True)
    (configuration / "machine-id").write_text("0123456789abcdef\n", encoding="ascii")
    assert machine.describe().machine_id == "0123456789abcdef"


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_no_id_if_it_can_not_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    use_folder(tmp_path / folder, monkeypatch)
    assert machine.describe().machine_id is None


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["a folder", "not text"])
def test_no_id_if_it_can_not_be_read(configuration: Path, content: bytes | None) -> None:
    configuration.mkdir(parents=True)
    if content is None:
        (configuration / "machine-id").mkdir()
    else:
        (configuration / "machine-id").write_bytes(content)
    assert machine.describe().machine_id is None


# The name


def test_name() -> None:
    assert imaginary().name == "Imaginary CPU, 2 cores, 16.0 GiB, Linux 6.1 x86_64"


def test_name_without_core_counts() -> None:
    assert imaginary(cores_physical=None).name == (
        "Imaginary CPU, 4 cores, 16.0 GiB, Linux 6.1 x86_64"
    )
    assert imaginary(cores_physical=None, cores_logical=None).name == (
        "Imaginary CPU, 16.0 GiB, Linux 6.1 x86_64"
    )


def test_cpu_name_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_system_cpu_name", lambda: "  Imaginary   CPU \n")
    assert machine._cpu_name() == "Imaginary CPU"


@pytest.mark.parametrize(
    "error", [OSError("no such file"), subprocess.CalledProcessError(1, "sysctl"), None]
)
def test_cpu_name_falls_back_to_the_architecture(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    def no_name() -> str:
        if error is not None:
            raise error
        return ""

    monkeypatch.setattr(machine, "_system_cpu_name", no_name)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert machine._cpu_name() == "riscv64"
