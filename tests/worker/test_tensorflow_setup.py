"""The import of TensorFlow and its settings, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

START = """
import json, os, sys
from mnist_bench.scenarios.execution import Execution
from mnist_bench.worker import tensorflow_setup
"""


def run(code: str, **variables: str) -> str:
    env = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    command = [sys.executable, "-c", START + code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env | variables)
    return done.stdout


def test_settings_and_libraries() -> None:
    """TensorFlow imports Keras, which imports what it finds: import linting can't detect that."""
    settings = """
tensorflow_setup.start(Execution(threads=3))
import mnist_bench.worker.trainer
import tensorflow as tf
print(json.dumps({
    "threads of an operation": tf.config.threading.get_intra_op_parallelism_threads(),
    "operations": tf.config.threading.get_inter_op_parallelism_threads(),
    "GPUs": tf.config.get_visible_devices("GPU"),
    "oneDNN": os.environ["TF_ENABLE_ONEDNN_OPTS"],
    "libraries": [name for name in ("mlflow", "optuna", "pandas") if sys.modules.get(name)],
}))
"""
    assert json.loads(run(settings)) == {
        "threads of an operation": 1,
        "operations": 3,
        "GPUs": [],
        "oneDNN": "1",  # TensorFlow's default depends on the processor
        "libraries": [],
    }


def test_a_missing_gpu_raises_and_the_users_settings_are_kept() -> None:
    code = """
try:
    tensorflow_setup.start(Execution(threads=1, device="gpu"))
except RuntimeError as error:
    print(error, os.environ["TF_ENABLE_ONEDNN_OPTS"])
"""
    # An existing GPU is hidden from the process.
    found = run(code, TF_ENABLE_ONEDNN_OPTS="0", CUDA_VISIBLE_DEVICES="-1")
    assert found == "the requested GPU is not available 0\n"
