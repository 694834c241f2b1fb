"""The GPUs that TensorFlow finds."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import tensorflow as tf
from tensorflow.python.client import device_lib

from mnist_bench.results.protocol import Gpu
from mnist_bench.scenarios.execution import Execution
from mnist_bench.worker import probe, tensorflow_setup


def test_gpus_with_their_names_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [SimpleNamespace(name=f"/physical_device:GPU:{index}") for index in range(3)]
    details = dict(zip((gpu.name for gpu in found), ({"device_name": "A"}, {}, {}), strict=True))
    local = [
        SimpleNamespace(device_type=kind, memory_limit=limit)
        for kind, limit in (("CPU", 1), ("GPU", 22), ("GPU", 33))
    ]
    executions: list[Execution] = []
    monkeypatch.setattr(tensorflow_setup, "start", executions.append)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: found)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details[gpu.name])
    monkeypatch.setattr(device_lib, "list_local_devices", lambda: local)
    assert probe.probe(Execution(threads=3)).gpus == (
        Gpu(name="A", memory_bytes=22),
        Gpu(name="/physical_device:GPU:1", memory_bytes=33),
        Gpu(name="/physical_device:GPU:2", memory_bytes=None),
    )
    assert executions == [Execution(threads=3)]
    found.clear()
    assert probe.probe(Execution(threads=3)).gpus == ()
