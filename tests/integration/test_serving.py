"""A trained network, served by MLflow over HTTP."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from program import Bench, RecordedRuns, free_port, is_up

from mnist_bench.data import mnist

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
_IMAGES = 20


def test_served_model_predicts_what_the_run_did(tmp_path: Path) -> None:
    bench, port = Bench(tmp_path), free_port()
    ended = bench.run("run", "smoke", "--steps", "50", "--save-model", "--json")
    assert ended.status == 0, ended.stderr
    served = re.search(r"`mlflow (models serve -m models:/\S+ --env-manager local)`", ended.stderr)
    assert served
    with bench.started(
        *(*served[1].split(), "--host", "127.0.0.1", "--port", str(port)),
        program=(sys.executable, "-m", "mlflow"),
        MLFLOW_TRACKING_URI="sqlite:///mlflow.db",
        PATH=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),  # uvicorn's
        MLFLOW_DISABLE_TELEMETRY="true",
    ) as running:
        running.until(lambda: is_up(port), 180)
        source = mnist.find("mnist-5k", None, log=print, show_progress=False)
        pixels = mnist.load(source).test_images.pixels[:_IMAGES]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps({"inputs": pixels.tolist()}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            probabilities = np.array(json.load(answer)["predictions"], np.float32)
    (run,) = ended.document["runs"]
    recorded = RecordedRuns(bench.folder).artifact(run["run_id"], "predictions.npz")
    predictions = np.load(io.BytesIO(recorded.read_bytes()))
    assert probabilities.shape == (_IMAGES, 10)
    assert np.array_equal(probabilities.argmax(axis=1), predictions["final_label"][:_IMAGES])
    assert probabilities.max(axis=1) == pytest.approx(
        predictions["final_probability"][:_IMAGES].astype(np.float32), abs=1e-3
    )
