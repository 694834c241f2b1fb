"""Description of this machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from factories import machine as imaginary

from mnist_bench.core.errors import BenchError
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


def test_this_machine(configuration: Path) -> None:
    description = machine.describe()
    assert description.memory_bytes >= 2**28
    assert description.cpu.strip()
    assert len(description.cpu.splitlines()) == 1
    assert description.cores_logical is None or description.cores_logical >= 1
    assert description.cores_physical is None or description.cores_physical >= 1
    assert description.system.startswith(platform.system())
    assert description.architecture == platform.machine()
    assert description.python == platform.python_version()
    assert description.tensorflow == machine.tensorflow_version()
    for name in ("keras", "mlflow", "optuna", "numpy", "mnist_bench"):
        assert getattr(description, name) == version(name.replace("_", "-"))
    text = description.model_dump_json()
    assert Machine.model_validate_json(text) == description
    # It does not reveal the user's home, although the id is kept there.
    assert (configuration / "machine-id").is_file()
    assert configuration.parent.name not in text


@pytest.mark.parametrize("installed", ["tensorflow", "tensorflow-cpu"])
def test_either_distribution_of_tensorflow(installed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {installed: "2.21.7"}

    def found(name: str) -> str:
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(machine, "version", found)
    assert machine.tensorflow_distribution() == (installed, "2.21.7")
    versions.clear()
    with pytest.raises(BenchError, match="TensorFlow is not installed"):
        machine.tensorflow_version()


def test_id_is_random_and_created_once(
    configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = machine.machine_id()
    assert first is not None
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert machine.machine_id() == first
    assert [path.name for path in configuration.iterdir()] == ["machine-id"]
    assert (configuration / "machine-id").read_text(encoding="ascii") == first
    use_folder(tmp_path / "elsewhere", monkeypatch)
    assert machine.machine_id() not in (first, None)


def test_last_score(configuration: Path) -> None:
    assert machine.last_score() is None
    machine.save_score("2026-01-31: This machine: 0.87 of the reference's speed")
    assert machine.last_score() == "2026-01-31: This machine: 0.87 of the reference's speed"
    (configuration / "score.txt").write_bytes(b"a\x1b[2J\nb\xff")
    assert machine.last_score() == "a[2J b\ufffd"
    (configuration / "score.txt").write_text("x" * 501)
    assert machine.last_score() is None


def test_existing_id(configuration: Path) -> None:
    configuration.mkdir()
    (configuration / "machine-id").write_text("0123456789abcdef\n", encoding="ascii")
    assert machine.machine_id() == "0123456789abcdef"


@pytest.mark.skipif(os.name != "posix", reason="needs special files")
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.write_text("a" * 200_000, encoding="ascii"),
        lambda path: path.write_text("<script>alert(1)</script>", encoding="ascii"),
        lambda path: path.write_text("0123456789abcde\x1b[2J", encoding="ascii"),
        lambda path: path.write_text("laptop of a user", encoding="ascii"),
        lambda path: path.touch(),
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("nowhere"),
        os.mkfifo,
    ],
)
def test_what_is_no_id_is_replaced_and_that_is_said(
    configuration: Path, make: Callable[[Path], Any], caplog: pytest.LogCaptureFixture
) -> None:
    configuration.mkdir()
    make(configuration / "machine-id")
    found = machine.machine_id()
    assert re.fullmatch("[0-9a-f]{32}", found or "")
    assert machine.machine_id() == found
    (message,) = caplog.messages
    assert message.endswith("machine-id does not hold the id of a machine: it is made anew")
    assert not (configuration / "machine-id").is_symlink()


def test_folder_in_place_of_the_id(configuration: Path, caplog: pytest.LogCaptureFixture) -> None:
    (configuration / "machine-id").mkdir(parents=True)
    assert machine.machine_id() is None
    assert "can't be replaced, so the machine has none" in caplog.text


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_no_id_if_it_can_not_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    use_folder(tmp_path / folder, monkeypatch)
    assert machine.machine_id() is None


@pytest.mark.parametrize(
    ("fields", "cores"),
    [
        ({}, "2 cores, "),
        ({"cores_physical": None}, "4 cores, "),
        ({"cores_physical": None, "cores_logical": None}, ""),
    ],
)
def test_name(fields: dict[str, None], cores: str) -> None:
    assert imaginary(**fields).name == f"Imaginary CPU, {cores}16.0 GiB, Linux 6.1 x86_64"


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ("  Imaginary   CPU \n", "Imaginary CPU"),
        ("", "riscv64"),
        (OSError("no such file"), "riscv64"),
        (subprocess.CalledProcessError(1, "sysctl"), "riscv64"),
    ],
)
def test_cpu_name(monkeypatch: pytest.MonkeyPatch, found: str | Exception, name: str) -> None:
    def system_name() -> str:
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(machine, "_system_cpu_name", system_name)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert machine._cpu_name() == name


def test_the_id_of_a_process_that_was_faster_stays(tmp_path: Path) -> None:
    temporary, path = tmp_path / "temporary", tmp_path / "machine-id"
    temporary.write_text("ours", encoding="ascii")
    path.write_text("theirs", encoding="ascii")
    machine._rename_unless_exists(temporary, path)
    assert path.read_text(encoding="ascii") == "theirs"
    assert not temporary.exists()
