"""Memory of real processes, and with fake files of other systems."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from mnist_bench.data.dataset import Source
from mnist_bench.measurement import memory
from mnist_bench.measurement.memory import PeakRss, peak_rss, reset_peak_rss, rss_bytes
from mnist_bench.results.protocol import Request
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.scenarios.scenario import Grid

MIB = 2**20
METHODS = {"linux": "VmHWM", "darwin": "ru_maxrss", "win32": "peak_wset"}
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's files")


def can_be_reset() -> bool:
    """Tested in a child process, so that the peak of this process is not reset."""
    code = "from mnist_bench.measurement.memory import reset_peak_rss; print(int(reset_peak_rss()))"
    return json_output(code) == 1


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


ALLOCATE = """
import numpy as np
from mnist_bench.measurement.memory import rss_bytes
before = rss_bytes()
array = np.ones(100 * 2**20, np.uint8)
print([before, rss_bytes()])
"""


def test_resident_memory_grows_with_allocations() -> None:
    # A separate process: this one may have freed memory before, and would reuse it.
    before, after = json_output(ALLOCATE)
    assert 90 * MIB < after - before < 150 * MIB


PEAKS = """
import json
import numpy as np
from mnist_bench.measurement.memory import peak_rss, reset_peak_rss
peaks = [peak_rss().bytes]
array = np.ones(200 * 2**20, np.uint8)
peaks.append(peak_rss().bytes)
del array
peaks.append(peak_rss().bytes)
reset = reset_peak_rss()
peaks.append(peak_rss().bytes)
print(json.dumps({"peaks": peaks, "reset": reset}))
"""


@pytest.mark.skipif(sys.platform not in METHODS, reason="this system does not report it")
def test_the_peak_stays_until_it_is_reset() -> None:
    output = json_output(PEAKS)
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


WORKER = """
import json, sys
from pathlib import Path
from mnist_bench.runner.process import WorkerProcess
from mnist_bench.results.protocol import Ready, Request, StepCountDone
request = Request.model_validate_json(sys.argv[2])
data = b"x" * (int(sys.argv[1]) * 2**20)
with WorkerProcess(request, Path(request.folder, "worker.log")) as worker:
    for message in worker.messages():
        if isinstance(message, Ready):
            worker.go()
        if isinstance(message, StepCountDone):
            end = message
    failure = worker.end()
assert failure is None, failure
assert len(data) == int(sys.argv[1]) * 2**20
print(json.dumps([end.peak_rss_bytes, end.memory_method, end.phase_peak_rss_bytes]))
"""


def worker_of(parent_mib: int, sample: Source, folder: Path) -> tuple[int, str, dict[str, int]]:
    """Peak, method and peaks by phase of a real worker that trains a few steps."""
    request = Request(
        model="paper-cnn",
        hyperparameters=PaperCnnHyperparameters(),
        training_seed=1,
        step_counts=(20,),
        grid=Grid(first=1, every=10),
        source=sample,
        execution=Execution(threads=1),
        folder=str(folder),
        started_at=time.time(),
    )
    peak, method, phases = json_output(WORKER, str(parent_mib), request.model_dump_json())
    return peak, method, phases


@pytest.mark.slow
@pytest.mark.skipif(sys.platform not in METHODS, reason="this system does not report it")
def test_a_large_parent_does_not_affect_a_workers_peaks(
    sample: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow's memory varies by some percent from run to run.

    One thread with one heap, and the maximum of three runs, reduce that.
    """
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    parents_mib = (1, 500) * 3
    found = [(size, *worker_of(size, sample, tmp_path)) for size in parents_mib]
    assert {method for _, _, method, _ in found} == {METHODS[sys.platform]}
    small = max(peak for size, peak, _, _ in found if size == 1)
    large = max(peak for size, peak, _, _ in found if size == 500)
    assert 100 * MIB < small < 1_200 * MIB
    assert large == pytest.approx(small, rel=0.02)
    for _, peak, _, phases in found:
        if not phases:
            assert not can_be_reset()
            continue
        assert max(phases.values()) == peak
        # Before TensorFlow computes anything, every run needs the same.
        for name in ("import", "data"):
            assert phases[name] == pytest.approx(found[0][3][name], rel=0.02)


# Phases of a real process

PHASES = """
import json, time
import numpy as np
from mnist_bench.worker.loop import PhaseMeter
meter = PhaseMeter(time.time())
with meter.phase("data"):
    array = np.ones(200 * 2**20, np.uint8)
    del array
with meter.phase("train"):
    small = np.ones(20 * 2**20, np.uint8)
print(json.dumps([meter.phase_peaks(), meter.peak().bytes]))
"""


@LINUX_ONLY
def test_memory_of_one_phase_does_not_affect_others() -> None:
    phases, whole = json_output(PHASES)
    if not phases:
        assert not can_be_reset()
        pytest.skip("this system can't reset the peak")
    assert set(phases) == {"other", "data", "train"}
    assert 190 * MIB < phases["data"] - phases["other"] < 230 * MIB
    assert 170 * MIB < phases["data"] - phases["train"] < 190 * MIB
    assert whole == phases["data"]


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


def test_reset_writes_clear_refs(linux: Path) -> None:
    assert reset_peak_rss() is True
    assert (linux / "clear_refs").read_bytes() == b"5"


def test_reset_forbidden_by_a_container(linux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError("read-only file system")

    monkeypatch.setattr(Path, "write_text", fail)
    assert reset_peak_rss() is False


@pytest.mark.parametrize("system", ["darwin", "win32", "freebsd14"])
def test_other_systems_have_no_reset(linux: Path, monkeypatch: Any, system: str) -> None:
    monkeypatch.setattr(memory.sys, "platform", system)
    assert reset_peak_rss() is False
    assert list(linux.iterdir()) == []


def test_a_system_without_peak_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.sys, "platform", "haiku")
    assert peak_rss() == PeakRss(None, None)


@pytest.mark.parametrize("error", [psutil.AccessDenied(1), psutil.NoSuchProcess(1)])
def test_unknown_resident_memory(monkeypatch: pytest.MonkeyPatch, error: psutil.Error) -> None:
    def fail(_: psutil.Process) -> None:
        raise error

    monkeypatch.setattr(psutil.Process, "memory_info", fail)
    assert rss_bytes() is None
