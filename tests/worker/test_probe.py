"""The probe and its result."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import tensorflow as tf
from tensorflow.python.client import device_lib

from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.results.protocol import Gpu, ProbeResult
from mnist_bench.runner import process
from mnist_bench.scenarios.execution import Execution
from mnist_bench.worker import probe

FLOAT32 = Execution(threads=2)


def fake_probe(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(process, "PROBE", (sys.executable, "-c", program))


# The result


def test_the_result_is_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    result = json.dumps({"gpus": [{"name": "A", "memory_bytes": None}], "bfloat16_speedup": 1.5})
    fake_probe(monkeypatch, f"print('output of a library'); print({result!r})")
    found = process.probe(FLOAT32)
    assert found == ProbeResult(gpus=(Gpu(name="A", memory_bytes=None),), bfloat16_speedup=1.5)


def test_the_execution_is_sent_as_request(monkeypatch: pytest.MonkeyPatch) -> None:
    program = """
import json, sys
execution = json.loads(sys.stdin.readline())
name = f"{execution['precision']} {execution['threads']}"
print(json.dumps({"gpus": [{"name": name, "memory_bytes": 1}]}))
"""
    fake_probe(monkeypatch, program)
    execution = Execution(threads=3, precision="bfloat16")
    assert process.probe(execution).gpus[0].name == "bfloat16 3"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise ValueError('no such thing')", "ValueError: no such thing"),
        ("print('no answer')", "ended early with exit status 0"),
        ("import os; os.abort()", "ended"),
    ],
)
def test_a_probe_without_result(monkeypatch: pytest.MonkeyPatch, program: str, reason: str) -> None:
    fake_probe(monkeypatch, program)
    with pytest.raises(BenchError, match="can't determine what TensorFlow supports here") as no:
        process.probe(FLOAT32)
    assert reason in str(no.value)
    assert no.value.exit_status == EXIT_FAILURE


def test_a_probe_that_can_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PROBE", ("no-such-python",))
    with pytest.raises(BenchError, match="can't determine what TensorFlow supports here"):
        process.probe(FLOAT32)


# Measurements


def test_a_real_probe_of_float32_measures_no_speedup() -> None:
    found = process.probe(FLOAT32)
    assert found.bfloat16_speedup is None
    assert found.gpus == tuple(probe.gpus())


def test_gpus_with_their_names_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [SimpleNamespace(name=f"/physical_device:GPU:{index}") for index in range(3)]
    details = dict(zip((gpu.name for gpu in found), ({"device_name": "A"}, {}, {}), strict=True))
    local = [
        SimpleNamespace(device_type=kind, memory_limit=limit)
        for kind, limit in (("CPU", 1), ("GPU", 22), ("GPU", 33))
    ]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: found)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details[gpu.name])
    monkeypatch.setattr(device_lib, "list_local_devices", lambda: local)
    assert probe.gpus() == [
        Gpu(name="A", memory_bytes=22),
        Gpu(name="/physical_device:GPU:1", memory_bytes=33),
        Gpu(name="/physical_device:GPU:2", memory_bytes=None),
    ]


def test_the_first_round_is_excluded_from_the_speedup(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of float32 and bfloat16 alternate; the first of each is a warm-up."""
    rounds = iter([9.0, 9.0, 0.25, 0.5, 0.25, 0.5, 0.75, 0.5, 0.25, 4.0])
    precisions: list[str] = []

    def trainer(*_: object, precision: str, shards: int) -> str:
        assert shards == 3
        precisions.append(precision)
        return precision

    monkeypatch.setattr("mnist_bench.worker.trainer.Trainer", trainer)
    monkeypatch.setattr(probe, "_round_seconds", lambda _: next(rounds))
    monkeypatch.setattr(probe, "_MIN_SECONDS", 0.0)
    monkeypatch.setattr(probe, "_MIN_ROUNDS", 4)
    assert probe.measure_speedup(3) == 0.25 / 0.5
    assert precisions == ["float32", "bfloat16"]


# TensorFlow setup


def test_a_missing_gpu_raises() -> None:
    """An existing GPU is hidden from the process."""
    code = """
from mnist_bench.worker import tensorflow_setup
from mnist_bench.scenarios.execution import Execution
tensorflow_setup.start(Execution(threads=1, device="gpu"))
"""
    done = subprocess.run(
        [sys.executable, "-c", f"import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '-1'\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the requested GPU is not available" in done.stderr


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_devices_are_set(threads: int) -> None:
    code = f"""
from mnist_bench.worker import tensorflow_setup
from mnist_bench.scenarios.execution import Execution
tensorflow_setup.start(Execution(threads={threads}))
import tensorflow as tf
of = tf.config.threading
print(of.get_intra_op_parallelism_threads(), of.get_inter_op_parallelism_threads())
print(tf.config.get_visible_devices("GPU"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == [f"1 {threads}", "[]", ""]
