"""What is told of this machine."""

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
    """A configuration folder that is not there yet, in a home of the test's own."""
    folder = home / "configuration"
    keep_in(folder, monkeypatch)
    return folder


def keep_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_config_path", lambda *_, **__: folder)


# The description


def test_this_machine_is_plausible() -> None:
    here = machine.describe()
    assert here.memory_bytes >= 2**28
    assert here.cpu.strip()
    assert len(here.cpu.splitlines()) == 1
    assert here.cores_logical is None or here.cores_logical >= 1
    assert here.cores_physical is None or here.cores_physical >= 1
    assert here.system.startswith(platform.system())
    assert here.architecture == platform.machine()


def test_versions_are_the_installed_ones() -> None:
    here = machine.describe()
    assert here.python == platform.python_version()
    for name in ("tensorflow", "keras", "mlflow", "optuna", "numpy"):
        assert getattr(here, name) == version(name)
    assert here.mnist_bench == version("mnist-bench")


def test_nothing_tells_of_the_users_home(configuration: Path) -> None:
    told = machine.describe().model_dump_json()
    assert (configuration / "machine-id").is_file()
    assert configuration.parent.name not in told


def test_description_reads_itself_back() -> None:
    here = machine.describe()
    assert Machine.model_validate_json(here.model_dump_json()) == here


# The id


def test_id_is_made_once(configuration: Path) -> None:
    first = machine.describe().machine_id
    assert first is not None
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert machine.describe().machine_id == first
    assert [path.name for path in configuration.iterdir()] == ["machine-id"]
    assert (configuration / "machine-id").read_text(encoding="ascii") == first


def test_id_is_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = machine.describe().machine_id
    keep_in(tmp_path / "elsewhere", monkeypatch)
    assert machine.describe().machine_id not in (first, None)


def test_id_that_is_there_is_kept(configuration: Path) -> None:
    configuration.mkdir(parents=True)
    (configuration / "machine-id").write_text("0123456789abcdef\n", encoding="ascii")
    assert machine.describe().machine_id == "0123456789abcdef"


@pytest.mark.parametrize("folder", ["taken", "taken/below"])
def test_no_id_where_none_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / "taken").write_text("not a folder", encoding="utf-8")
    keep_in(tmp_path / folder, monkeypatch)
    assert machine.describe().machine_id is None


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["a folder", "no text"])
def test_no_id_where_none_can_be_read(configuration: Path, content: bytes | None) -> None:
    configuration.mkdir(parents=True)
    if content is None:
        (configuration / "machine-id").mkdir()
    else:
        (configuration / "machine-id").write_bytes(content)
    assert machine.describe().machine_id is None


# The name


def test_name() -> None:
    assert imaginary().name == "Imaginary CPU, 2 cores, 16.0 GiB, Linux 6.1 x86_64"


def test_name_where_the_system_tells_less() -> None:
    assert imaginary(cores_physical=None).name == (
        "Imaginary CPU, 4 cores, 16.0 GiB, Linux 6.1 x86_64"
    )
    assert imaginary(cores_physical=None, cores_logical=None).name == (
        "Imaginary CPU, 16.0 GiB, Linux 6.1 x86_64"
    )


def test_cpu_name_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_cpu_name_of_system", lambda: "  Imaginary   CPU \n")
    assert machine._cpu_name() == "Imaginary CPU"


@pytest.mark.parametrize(
    "error", [OSError("no such file"), subprocess.CalledProcessError(1, "sysctl"), None]
)
def test_cpu_without_a_name_is_named_by_its_architecture(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    def silent() -> str:
        if error is not None:
            raise error
        return ""

    monkeypatch.setattr(machine, "_cpu_name_of_system", silent)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert machine._cpu_name() == "riscv64"
