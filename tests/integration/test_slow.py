"""Real trainings on the real images in the folder MNIST_BENCH_DATA."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import Bench, Ended

from mnist_bench.data import mnist
from mnist_bench.scenarios import paper

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # tests may share the cores


@pytest.fixture(scope="module")
def images() -> Path:
    """The folder with the real images."""
    folder = os.environ.get("MNIST_BENCH_DATA")
    if not folder:
        pytest.skip("MNIST_BENCH_DATA is not set to a folder with the real images")
    return Path(folder).resolve()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    parent = tmp_path / "user"
    parent.mkdir()
    return Bench(parent)


def only(ended: Ended, key: str) -> dict[str, Any]:
    (found,) = ended.document[key]
    return found


def test_1000_steps_of_table_1(bench: Bench, images: Path) -> None:
    ended = bench.run("run", "table-1", "--steps", "1000", "--data", str(images), "--json")
    assert ended.status == 0, ended.stderr
    run, row = only(ended, "runs"), only(ended, "table_1")
    assert (run["status"], run["steps"], run["dataset"]) == ("finished", 1_000, "mnist")
    assert run["dataset_digest"] == mnist.MNIST.digest
    assert 0.97 < run["max_test_accuracy"] < 0.992
    assert 0.95 < run["final_test_accuracy"] < 0.992
    assert run["max_test_accuracy_step"] in paper.PROTOCOL.grid.points(1_000)
    if run["memory_method"] is not None:  # else the system does not report the peak
        assert 0 < run["peak_rss_bytes"] < 1.2e9, "the documented limit"

    assert (row["steps"], row["paper_step"], row["paper_max_test_accuracy"]) == (1_000, 900, 0.984)
    assert (row["n"], row["mean"], row["sd"]) == (1, run["max_test_accuracy"], None)
    assert row["difference"] == pytest.approx(row["mean"] - 0.984)
    assert row["interval_low"] < row["mean"] < row["interval_high"]
    assert row["verdict"] in {"exceeds", "indistinguishable", "below"}
    # One seed has no spread.
    assert "reference" in row["reason"]
    assert row["run_ids"] == [run["run_id"]]

    (path,) = (bench.folder / "mlruns").rglob("predictions.npz")
    with np.load(path, allow_pickle=False) as arrays:
        labels = arrays["final_label"]
    real = mnist.load(mnist.find("mnist", images, log=pytest.fail)).test.labels
    assert labels.shape == (10_000,)
    assert np.mean(labels == real) == run["final_test_accuracy"]

    report = (bench.folder / "reports" / "table-1.md").read_text(encoding="utf-8")
    assert "--data DIR" in report
    assert str(images) not in report
    assert "NOT COMPARABLE" not in ended.stderr + report


def test_independent_runs_on_images_from_the_environment(bench: Bench, images: Path) -> None:
    line = "run smoke --independent --steps 50,100 --json"
    ended = bench.run(*line.split(), MNIST_BENCH_DATA=str(images))
    assert ended.status == 0, ended.stderr
    short, long = ended.document["runs"]
    for run in (short, long):
        assert (run["seed"], run["status"], run["dataset"]) == (0, "finished", "mnist")
        assert run["final_test_accuracy"] > 0.6
    assert (short["steps"], long["steps"]) == (50, 100)
    assert short["trajectory"] != long["trajectory"]
    assert short["training_seed"] != long["training_seed"]


# A study sees no test image

SPACE = """
title = "Two short trials"
model = "paper-cnn"
steps = 10
eval_every = 1

[parameters]
learning_rate = { low = 1e-4, high = 1e-1, log = true }
dropout_rate = { low = 0.1, high = 0.5 }
conv1_filters = { low = 2, high = 32 }
dense_units = { low = 16, high = 1024 }
"""


def poisoned(images: Path, folder: Path) -> Path:
    """The same images, but those of the test split are noise with random labels."""
    folder.mkdir()
    for path in images.iterdir():  # without their modes: the folder may be read-only
        shutil.copyfile(path, folder / path.name)
    noise = np.random.default_rng(7)
    for file in mnist.MNIST.files[2:]:
        for path in folder.glob(f"{file.name}*"):
            path.unlink()
    pixels = noise.integers(0, 256, 10_000 * 28 * 28, np.uint8).tobytes()
    labels = noise.integers(0, 10, 10_000, np.uint8).tobytes()
    head = (10_000).to_bytes(4, "big")
    side = (28).to_bytes(4, "big")
    sizes = (b"\0\0\x08\x03" + head + side + side, b"\0\0\x08\x01" + head)
    for file, start, content in zip(mnist.MNIST.files[2:], sizes, (pixels, labels), strict=True):
        (folder / file.name).write_bytes(start + content)
    return folder


def found_by(bench: Bench, images: Path) -> dict[str, Any]:
    """Results of a study without an evaluation on the test split; no durations, no memory."""
    (bench.folder / "two.toml").write_text(SPACE, encoding="utf-8")
    line = ("--space", "two.toml", "--trials", "2", "--confirm", "0", "--json")
    ended = bench.run("tune", *line, "--data", str(images))
    assert ended.status == 0, ended.stderr
    trials = ended.document["trials"]
    same = ("number", "state", "chosen", "values", "curve")
    assert len(trials) == 2
    return {
        "candidate": ended.document["candidate"],
        "trials": [{key: trial[key] for key in same} for trial in trials],
        "dataset": ended.document["dataset"],
    }


def test_a_changed_test_split_does_not_affect_a_study(tmp_path: Path, images: Path) -> None:
    folders = [tmp_path / "clean", tmp_path / "sick"]
    for folder in folders:
        folder.mkdir()
    clean = found_by(Bench(folders[0]), images)
    changed = found_by(Bench(folders[1]), poisoned(images, tmp_path / "poisoned"))
    assert clean.pop("dataset") == "mnist"
    assert str(changed.pop("dataset")).startswith("custom:")
    assert changed == clean
