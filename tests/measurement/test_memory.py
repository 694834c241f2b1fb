"""Memory of real processes, and with fake files of other systems."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from mnist_bench.measurement import memory
from mnist_bench.measurement.memory import PeakRss, peak_rss, reset_peak_rss, rss_bytes

MIB = 2**20
METHODS = {"linux": "VmHWM", "darwin": "ru_maxrss", "win32": "peak_wset"}
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's files")


def json_output(code: str, *arguments: str) -> Any:
    """Parsed output of a Python program."""
    command = (sys.executable, "-c", code, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


# This system


def test_peak_and_its_method() -> None:
    resident_bytes = psutil.Process().memory_info().rss
    peak = peak_rss()
    assert peak.method == METHODS.get(sys.platform)
    if peak.method is None:
        assert peak.bytes is None
    else:
        assert peak.bytes is not None
        assert peak.bytes > 0.9 * resident_bytes


PEAKS = """
import json
import numpy as np
from mnist_bench.measurement.memory import peak_rss, reset_peak_rss, rss_bytes
peaks, resident = [peak_rss().bytes], [rss_bytes()]
array = np.ones(200 * 2**20, np.uint8)
peaks.append(peak_rss().bytes)
resident.append(rss_bytes())
del array
peaks.append(peak_rss().bytes)
reset = reset_peak_rss()
peaks.append(peak_rss().bytes)
print(json.dumps({"resident": resident, "peaks": peaks, "reset": reset}))
"""


@pytest.mark.skipif(sys.platform not in METHODS, reason="this system does not report it")
def test_the_peak_stays_until_it_is_reset() -> None:
    # A process of its own: this one may have freed memory before, and would reuse it.
    output = json_output(PEAKS)
    resident_before, resident_after = output["resident"]
    assert 190 * MIB < resident_after - resident_before < 230 * MIB
    before, full, after, lowered = output["peaks"]
    assert 5 * MIB < before < 300 * MIB
    assert 190 * MIB < full - before < 230 * MIB
    assert after >= full - MIB  # the kernel counts pages in batches
    if output["reset"]:
        assert lowered < full - 190 * MIB
    else:
        assert lowered >= full - MIB


# The parent's memory does not count

PARENT = """
import subprocess, sys
data = b"x" * (int(sys.argv[1]) * 2**20)
done = subprocess.run([sys.executable, *sys.argv[2:]], capture_output=True, text=True, check=True)
assert len(data) == int(sys.argv[1]) * 2**20
print(done.stdout)
"""
CHILD = """
from mnist_bench.measurement.memory import peak_rss
import resource
print([peak_rss().bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024])
"""


@LINUX_ONLY
def test_a_large_parent_does_not_affect_the_peak() -> None:
    small, inherited_small = json_output(PARENT, "1", "-c", CHILD)
    large, inherited_large = json_output(PARENT, "500", "-c", CHILD)
    assert small < 200 * MIB
    assert large == pytest.approx(small, rel=0.02)
    # Check of the test itself: the system's other method does inherit it.
    assert inherited_large > 500 * MIB > 200 * MIB > inherited_small


# Other systems


@pytest.fixture
def linux(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Linux, with a temporary folder as /proc/self."""
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory, "_PROC_SELF", tmp_path)
    return tmp_path


STATUS = "Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t  500000 kB\nVmRSS:\t  400000 kB\n"


@pytest.mark.parametrize(
    ("text", "peak"),
    [
        (STATUS, PeakRss(512_000_000, "VmHWM")),
        ("Name:\tFüße \N{SNOWMAN}\nVmHWM:\t       4 kB\n", PeakRss(4_096, "VmHWM")),
        ("Name:\tkthreadd\n", PeakRss(None, None)),
        ("", PeakRss(None, None)),
    ],
)
def test_peak_from_linuxs_status_file(linux: Path, text: str, peak: PeakRss) -> None:
    (linux / "status").write_text(text, encoding="utf-8")
    assert peak_rss() == peak


def test_a_linux_without_proc(linux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_PROC_SELF", linux / "nothing")
    assert peak_rss() == PeakRss(None, None)
    assert reset_peak_rss() is False


def test_reset_writes_clear_refs(linux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reset_peak_rss() is True
    assert (linux / "clear_refs").read_bytes() == b"5"

    def fail(*_: object, **__: object) -> None:
        raise PermissionError("read-only file system")  # as in some containers

    monkeypatch.setattr(Path, "write_text", fail)
    assert reset_peak_rss() is False


@pytest.mark.parametrize("system", ["darwin", "win32", "freebsd14"])
def test_other_systems_have_no_reset(
    linux: Path, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    monkeypatch.setattr(memory.sys, "platform", system)
    assert reset_peak_rss() is False
    assert list(linux.iterdir()) == []
    if system == "freebsd14":
        assert peak_rss() == PeakRss(None, None)


@pytest.mark.parametrize("error", [psutil.AccessDenied(1), psutil.NoSuchProcess(1)])
def test_unknown_resident_memory(monkeypatch: pytest.MonkeyPatch, error: psutil.Error) -> None:
    def fail(_: psutil.Process) -> None:
        raise error

    monkeypatch.setattr(psutil.Process, "memory_info", fail)
    assert rss_bytes() is None
