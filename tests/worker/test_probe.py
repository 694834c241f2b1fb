"""What a probe finds out, and how its answer is read."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import tensorflow as tf
from tensorflow.python.client import device_lib

from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.results.protocol import Gpu, ProbeResult
from mnist_bench.runner import process
from mnist_bench.scenarios.execution import Execution
from mnist_bench.worker import probe

FLOAT32 = Execution(threads=2)


def answering(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(process, "PROBE", (sys.executable, "-c", program))


# The answer


def test_the_answer_is_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = json.dumps({"gpus": [{"name": "A", "memory_bytes": None}], "bfloat16_speedup": 1.5})
    answering(monkeypatch, f"print('a library greets'); print({answer!r})")
    found = process.probe(FLOAT32)
    assert found == ProbeResult(gpus=(Gpu(name="A", memory_bytes=None),), bfloat16_speedup=1.5)


def test_the_question_is_the_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    program = """
import json, sys
asked = json.loads(sys.stdin.readline())
name = f"{asked['precision']} {asked['threads']}"
print(json.dumps({"gpus": [{"name": name, "memory_bytes": 1}]}))
"""
    answering(monkeypatch, program)
    asked = Execution(threads=3, precision="bfloat16")
    assert process.probe(asked).gpus[0].name == "bfloat16 3"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise ValueError('no such thing')", "ValueError: no such thing"),
        ("print('no answer')", "ended early with exit status 0"),
        ("import os; os.abort()", "ended"),
    ],
)
def test_no_answer(monkeypatch: pytest.MonkeyPatch, program: str, reason: str) -> None:
    answering(monkeypatch, program)
    with pytest.raises(BenchError, match="could not be found out") as no:
        process.probe(FLOAT32)
    assert reason in str(no.value)
    assert no.value.exit_status == EXIT_BROKE


def test_no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PROBE", ("no-such-python",))
    with pytest.raises(BenchError, match="could not be found out"):
        process.probe(FLOAT32)


# What it finds


def test_a_real_probe_of_float32_measures_nothing() -> None:
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


def test_the_speedup_is_of_the_turns_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns by hand: float32 and bfloat16 one after the other, the first of each a warm-up."""
    turns = iter([9.0, 9.0, 0.25, 0.5, 0.25, 0.5, 0.75, 0.5, 0.25, 4.0])
    made: list[str] = []

    def trainer(*_: object, precision: str, parts: int) -> str:
        assert parts == 3
        made.append(precision)
        return precision

    monkeypatch.setattr("mnist_bench.worker.trainer.Trainer", trainer)
    monkeypatch.setattr(probe, "_seconds_of_a_turn", lambda _: next(turns))
    monkeypatch.setattr(probe, "_SECONDS", 0.0)
    monkeypatch.setattr(probe, "_LEAST_TURNS", 4)
    assert probe.measured_speedup(3) == 0.25 / 0.5
    assert made == ["float32", "bfloat16"]


# The engine


def test_a_gpu_that_has_gone_is_a_failure() -> None:
    """Where there is a GPU, none is visible to this process."""
    code = """
from mnist_bench.worker import tensorflow_setup as engine
from mnist_bench.scenarios.execution import Execution
engine.start(Execution(threads=1, device="gpu"))
"""
    done = subprocess.run(
        [sys.executable, "-c", f"import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '-1'\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the GPU that was asked for is gone" in done.stderr


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_devices_are_settled(threads: int) -> None:
    code = f"""
from mnist_bench.worker import tensorflow_setup as engine
from mnist_bench.scenarios.execution import Execution
engine.start(Execution(threads={threads}))
import tensorflow as tf
of = tf.config.threading
print(of.get_intra_op_parallelism_threads(), of.get_inter_op_parallelism_threads())
print(tf.config.get_visible_devices("GPU"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == [f"1 {threads}", "[]", ""]
