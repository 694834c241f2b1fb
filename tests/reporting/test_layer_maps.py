"""Figures 1 to 4 and the confusion matrix in reports of real trainings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from factories import bundle, run
from program import Bench, Ended

from mnist_bench.data.mnist import MNIST
from mnist_bench.results.layer_maps import FILE, from_bytes
from mnist_bench.results.run_summary import RecordedRun
from mnist_bench.tracking.layer_maps import run_with_weights
from mnist_bench.tracking.mlflow_store import MlflowStore

SCENARIO = """\
title = "Table I's network for some steps"
model = "paper-cnn"
steps = [12]
dataset = "mnist-5k"
eval_first = 6
eval_every = 6
save_weights = true
"""


@dataclass(frozen=True)
class Reported:
    """Two reports on a run with saved weights; the second one trains nothing."""

    bench: Bench
    first: Ended
    again: Ended
    page: str
    text: str

    @property
    def reader(self) -> MlflowStore:
        uri = f"sqlite:///{(self.bench.folder / 'mlflow.db').as_posix()}"
        return MlflowStore(uri, "mnist-bench", create=False)


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    bench = Bench(tmp_path_factory.mktemp("user"))
    (bench.folder / "kept.toml").write_text(SCENARIO, encoding="utf-8")
    ended = bench.call_with_store("run", "./kept.toml", "--no-report", "--json")
    assert ended.status == 0, ended.stderr
    first = bench.call_with_store("report", "--image", "3", "--json")
    again = bench.call_with_store("report", "--json")
    folder = bench.folder / "reports"
    page, text = ((folder / f"report.{s}").read_text(encoding="utf-8") for s in ("html", "md"))
    return Reported(bench, first, again, page, text)


def test_both_reports_have_the_figures(reported: Reported) -> None:
    assert reported.first.status == 0, reported.first.stderr
    assert reported.again.status == 0, reported.again.stderr
    for number in (1, 2, 3, 4):
        assert f"<strong>Figure {number}: " in reported.page
    assert "Test image 3 of mnist-5k, a " in reported.page
    assert "trained for 12 updates." in reported.page
    assert "Test image 3 of mnist-5k, a " in reported.text
    assert "Of the trained network: 32 maps of 14 by 14; " in reported.page
    assert "Of the trained network: 64 maps of 7 by 7; " in reported.page


def test_digits_are_in_every_format(reported: Reported) -> None:
    for text in (reported.page, reported.text):
        assert "The digits" in text
        assert "Most often taken for" in text
    assert "readings of test images are wrong, n = 1." in reported.page


def test_figures_are_recorded_once(reported: Reported) -> None:
    found = reported.reader.search("tags.`bench.image` = '3'")
    assert len(found) == 1
    run_id = found[0].info.run_id
    assert found[0].info.status == "FINISHED"
    maps = from_bytes(reported.reader.artifact(run_id, FILE) or b"")
    assert (maps.image, maps.steps) == (3, 1_000)
    assert maps.test_accuracy > 0.8
    assert [maps.shape for maps in maps.own] == [(14, 14, 32), (7, 7, 64)]
    assert all(reported.reader.has_artifact(run_id, f"figure-{n}.svg") for n in (1, 2, 3, 4))


def test_report_is_recorded_once(reported: Reported) -> None:
    found = reported.reader.search("tags.`bench.report` = 'true'")
    assert len(found) == 1
    names = {each.path for each in reported.reader.client.list_artifacts(found[0].info.run_id)}
    assert {"report.html", "report.md", "report.csv", "report.json"} <= names
    assert {
        "kept-error-by-step.svg",
        "kept-confusion.svg",
        "figure-2.svg",
        "trained-figure-2.svg",
    } <= names
    assert len(reported.again.document["runs"]) == 1, "neither of them is a run of the report"


def test_image_out_of_range(reported: Reported) -> None:
    ended = reported.bench.call_with_store("report", "--image", "999")
    assert ended.status == 2
    assert "--image 999: mnist-5k has 500 test images" in ended.error_line


def test_weights_of_other_images_are_not_used(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for name, text in (("kept", SCENARIO), ("other", SCENARIO)):
        (bench.folder / f"{name}.toml").write_text(text, encoding="utf-8")
        assert bench.call_with_store("run", f"./{name}.toml", "--no-report").status == 0
    uri = f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}"
    reader = MlflowStore(uri, "mnist-bench", create=False)
    runs = [each.run for each in reader.recorded_runs("") if isinstance(each, RecordedRun)]
    assert run_with_weights(reader, runs, runs[0].dataset_digest) is not None
    assert run_with_weights(reader, runs, MNIST.digest) is None


def test_bundle_has_no_predictions(reported: Reported, tmp_path: Path) -> None:
    other = Bench(tmp_path)
    assert reported.bench.call_with_store("export", "mine.zip").status == 0
    assert other.call_with_store("import", str(reported.bench.folder / "mine.zip")).status == 0
    ended = other.call_with_store("report", "--format", "md")
    assert ended.status == 0, ended.stderr
    text = (other.folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert "The digits" not in text


def test_images_not_available_locally(tmp_path: Path) -> None:
    """Runs of MNIST with recorded predictions, without its images."""
    bench = Bench(tmp_path)
    name = bundle(bench.folder, "theirs.zip", [run(1_000, dataset_digest=MNIST.digest)])
    assert bench.call_with_store("import", name).status == 0
    store = MlflowStore(f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}", "mnist-bench")
    predictions = tmp_path / "predictions.npz"
    np.savez(
        predictions, final_label=np.zeros(9, np.uint8), final_probability=np.zeros(9, np.float16)
    )
    store.client.log_artifact(store.search("")[0].info.run_id, str(predictions))
    ended = bench.call_with_store("report", "--format", "md")
    assert ended.status == 0, ended.stderr
    assert "What digits are taken for is not told: the images are not at hand" in ended.stdout
    refused = bench.call_with_store("report", "--image", "0")
    assert refused.status == 2
    assert (
        "--image 0: the images of these runs (mnist) are not available locally"
        in refused.error_line
    )


def test_figures_are_recomputed_for_longer_runs_with_weights(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    without = SCENARIO.replace("save_weights = true", "")
    longer = SCENARIO.replace("steps = [12]", "steps = [14]")
    for name, text, steps in (
        ("without", without, 0),
        ("kept", SCENARIO, 12),
        ("more", longer, 14),
    ):
        (bench.folder / f"{name}.toml").write_text(text, encoding="utf-8")
        assert bench.call_with_store("run", f"./{name}.toml", "--no-report").status == 0
        ended = bench.call_with_store("report", "--image", "1", "--format", "md")
        assert ended.status == 0, ended.stderr
        text_of_report = (bench.folder / "reports" / "report.md").read_text(encoding="utf-8")
        assert re.findall(r"trained for (\d+) updates", text_of_report) == [str(steps)] * bool(
            steps
        )
