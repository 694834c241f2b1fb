"""Figures 1 to 4 and the confusion matrix in reports of recorded trainings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from factories import LAYER_MAPS, SOURCE, bundle, run, sqlite_url
from program import Bench, Ended

from mnist_bench.data.mnist import MNIST
from mnist_bench.reporting import build
from mnist_bench.results.layer_maps import FILE, LayerMaps, from_bytes
from mnist_bench.results.run_summary import RecordedRun, summarise
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
        return MlflowStore(sqlite_url(self.bench.folder / "mlflow.db"), "mnist-bench", create=False)


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """Two real trainings: weights and layer maps come from TensorFlow alone."""
    bench = Bench(tmp_path_factory.mktemp("user"))
    (bench.folder / "kept.toml").write_text(SCENARIO, encoding="utf-8")
    ended = bench.call_with_store("run", "./kept.toml", "--no-report", "--json")
    assert ended.status == 0, ended.stderr
    first = bench.call_with_store("report", "--image", "3", "--json")
    again = bench.call_with_store("report", "--json", "--format", "md")
    assert (first.status, again.status) == (0, 0), first.stderr + again.stderr
    folder = bench.folder / "reports"
    page, text = ((folder / f"report.{s}").read_text(encoding="utf-8") for s in ("html", "md"))
    return Reported(bench, first, again, page, text)


def test_reports_have_the_figures_and_digits(reported: Reported) -> None:
    for number in (1, 2, 3, 4):
        assert f"<strong>Figure {number}: " in reported.page
    assert "trained for 12 updates." in reported.page
    assert "Of the trained network: 32 maps of 14 by 14; " in reported.page
    assert "Of the trained network: 64 maps of 7 by 7; " in reported.page
    assert "readings of test images are wrong, n = 1." in reported.page
    for text in (reported.page, reported.text):
        assert "Test image 3 of mnist-5k, a " in text
        assert "The digits" in text
        assert "Most often taken for" in text


def test_figures_and_report_are_recorded_once(reported: Reported) -> None:
    (figures,) = reported.reader.search("tags.`bench.image` = '3'")
    assert figures.info.status == "FINISHED"
    run_id = figures.info.run_id
    maps = from_bytes(reported.reader.artifact(run_id, FILE) or b"")
    assert (maps.image, maps.steps) == (3, 1_000)
    assert maps.test_accuracy > 0.8
    assert [maps.shape for maps in maps.own] == [(14, 14, 32), (7, 7, 64)]
    assert all(reported.reader.has_artifact(run_id, f"figure-{n}.svg") for n in (1, 2, 3, 4))
    (report,) = reported.reader.search("tags.`bench.report` = 'true'")
    names = {each.path for each in reported.reader.client.list_artifacts(report.info.run_id)}
    charts = {"kept-error-by-step.svg", "kept-confusion.svg", "figure-2.svg"}
    files = {f"report.{suffix}" for suffix in ("html", "md", "csv", "json")}
    assert names > files | charts | {"trained-figure-2.svg"}
    assert len(reported.again.document["runs"]) == 1, "neither of them is a run of the report"


def test_weights_are_of_the_same_images(reported: Reported) -> None:
    found = reported.reader.recorded_runs("")
    runs = [each.run for each in found if isinstance(each, RecordedRun)]
    assert run_with_weights(reported.reader, runs, runs[0].dataset_digest) is not None
    assert run_with_weights(reported.reader, runs, MNIST.digest) is None


def test_image_out_of_range(reported: Reported) -> None:
    ended = reported.bench.call_with_store("report", "--image", "999")
    assert ended.status == 2
    assert "--image 999: mnist-5k has 500 test images" in ended.error_line


@pytest.mark.parametrize(
    ("recorded_steps", "steps_with_weights", "is_made"),
    [(None, None, True), (0, None, False), (0, 12, True), (12, 12, False), (12, 14, True)],
)
def test_figures_are_made_again_for_longer_runs_with_weights(
    monkeypatch: pytest.MonkeyPatch,
    recorded_steps: int | None,
    steps_with_weights: int | None,
    is_made: bool,  # noqa: FBT001
) -> None:
    (summary,) = summarise([run(steps_with_weights or 1)])
    recorded = recorded_steps is not None and dataclasses.replace(
        LAYER_MAPS, own_steps=recorded_steps
    )
    made: list[object] = []

    def make(_store: object, _source: object, image: int, with_weights: object) -> LayerMaps:
        made.append((image, with_weights))
        return LAYER_MAPS

    monkeypatch.setattr(build, "MlflowStore", lambda *_: None)
    monkeypatch.setattr(build, "make_layer_maps", make)
    monkeypatch.setattr(build, "load_layer_maps", lambda *_: recorded or None)
    with_weights = summary if steps_with_weights else None
    monkeypatch.setattr(build, "run_with_weights", lambda *_: with_weights)
    images = SimpleNamespace(reader=None, source=lambda _: SOURCE)
    options = build.ReportOptions("sqlite:///mlflow.db", "mnist-bench", image=1)
    found = build._layer_maps(images, [summary], options)  # type: ignore[arg-type]
    assert made == ([(1, with_weights)] if is_made else [])
    assert found == (LAYER_MAPS if is_made else recorded)


def test_images_not_available_locally(tmp_path: Path) -> None:
    """Runs of MNIST with recorded predictions, without its images."""
    bench = Bench(tmp_path)
    name = bundle(bench.folder, "theirs.zip", [run(1_000, dataset_digest=MNIST.digest)])
    assert bench.call_with_store("import", name).status == 0
    store = MlflowStore(sqlite_url(bench.folder / "mlflow.db"), "mnist-bench")
    predictions = tmp_path / "predictions.npz"
    np.savez(
        predictions, final_label=np.zeros(9, np.uint8), final_probability=np.zeros(9, np.float16)
    )
    store.client.log_artifact(store.search("")[0].info.run_id, str(predictions))
    ended = bench.call_with_store("report", "--format", "md")
    assert ended.status == 0, ended.stderr
    assert "Misclassified digits are not shown: the images are not available" in ended.stdout
    refused = bench.call_with_store("report", "--image", "0")
    assert refused.status == 2
    assert (
        "--image 0: the images of these runs (mnist) are not available locally"
        in refused.error_line
    )
