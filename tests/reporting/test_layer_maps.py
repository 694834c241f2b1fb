"""Figures 1 to 4 and the digits in a report of runs that were really trained."""

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
from mnist_bench.tracking.mlflow_reader import MlflowReader
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
class Told:
    """A report of a run with kept weights, twice: the second time nothing is trained."""

    bench: Bench
    first: Ended
    again: Ended
    page: str
    text: str

    @property
    def archive(self) -> MlflowReader:
        uri = f"sqlite:///{(self.bench.folder / 'mlflow.db').as_posix()}"
        return MlflowReader(uri, "mnist-bench", make=False)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    bench = Bench(tmp_path_factory.mktemp("user"))
    (bench.folder / "kept.toml").write_text(SCENARIO, encoding="utf-8")
    ended = bench.inside("run", "./kept.toml", "--no-report", "--json")
    assert ended.status == 0, ended.stderr
    first = bench.inside("report", "--image", "3", "--json")
    again = bench.inside("report", "--json")
    folder = bench.folder / "reports"
    page, text = ((folder / f"report.{s}").read_text(encoding="utf-8") for s in ("html", "md"))
    return Told(bench, first, again, page, text)


def test_the_figures_are_drawn_and_drawn_again(told: Told) -> None:
    assert told.first.status == 0, told.first.stderr
    assert told.again.status == 0, told.again.stderr
    for number in (1, 2, 3, 4):
        assert f"<strong>Figure {number}: " in told.page
    assert "Test image 3 of mnist-5k, a " in told.page
    assert "trained for 12 updates." in told.page
    assert "Test image 3 of mnist-5k, a " in told.text
    assert "Of the trained network: 32 maps of 14 by 14; " in told.page
    assert "Of the trained network: 64 maps of 7 by 7; " in told.page


def test_the_digits_are_told_in_every_text(told: Told) -> None:
    for text in (told.page, told.text):
        assert "The digits" in text
        assert "Most often taken for" in text
    assert "readings of test images are wrong, n = 1." in told.page


def test_mlflow_has_the_figures_once(told: Told) -> None:
    found = told.archive.search("tags.`bench.image` = '3'")
    assert len(found) == 1
    run_id = found[0].info.run_id
    assert found[0].info.status == "FINISHED"
    seen = from_bytes(told.archive.artifact(run_id, FILE) or b"")
    assert (seen.image, seen.steps) == (3, 1_000)
    assert seen.test_accuracy > 0.8
    assert [maps.shape for maps in seen.own] == [(14, 14, 32), (7, 7, 64)]
    assert all(told.archive.keeps(run_id, f"figure-{n}.svg") for n in (1, 2, 3, 4))


def test_mlflow_has_the_report_once(told: Told) -> None:
    found = told.archive.search("tags.`bench.report` = 'true'")
    assert len(found) == 1
    names = {each.path for each in told.archive.client.list_artifacts(found[0].info.run_id)}
    assert {"report.html", "report.md", "report.csv", "report.json"} <= names
    assert {
        "kept-error-by-step.svg",
        "kept-confusion.svg",
        "figure-2.svg",
        "trained-figure-2.svg",
    } <= names
    assert len(told.again.document["runs"]) == 1, "neither of them is a run of the report"


def test_an_image_that_is_not_there_is_refused_before_anything_is_trained(told: Told) -> None:
    ended = told.bench.inside("report", "--image", "999")
    assert ended.status == 2
    assert "--image 999: mnist-5k has 500 test images" in ended.complaint


def test_weights_of_other_images_are_no_reason_to_train_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for name, text in (("kept", SCENARIO), ("other", SCENARIO)):
        (bench.folder / f"{name}.toml").write_text(text, encoding="utf-8")
        assert bench.inside("run", f"./{name}.toml", "--no-report").status == 0
    uri = f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}"
    archive = MlflowReader(uri, "mnist-bench", make=False)
    runs = [each.run for each in archive.recorded("") if isinstance(each, RecordedRun)]
    assert run_with_weights(archive, runs, runs[0].dataset_digest) is not None
    assert run_with_weights(archive, runs, MNIST.digest) is None


def test_a_bundle_holds_no_predictions(told: Told, tmp_path: Path) -> None:
    other = Bench(tmp_path)
    assert told.bench.inside("export", "mine.zip").status == 0
    assert other.inside("import", str(told.bench.folder / "mine.zip")).status == 0
    ended = other.inside("report", "--format", "md")
    assert ended.status == 0, ended.stderr
    text = (other.folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert "The digits" not in text


def test_images_that_are_not_at_hand(tmp_path: Path) -> None:
    """Runs of MNIST that kept their predictions, where nobody has its images."""
    bench = Bench(tmp_path)
    name = bundle(bench.folder, "theirs.zip", [run(1_000, dataset_digest=MNIST.digest)])
    assert bench.inside("import", name).status == 0
    store = MlflowStore(f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}", "mnist-bench")
    kept = tmp_path / "predictions.npz"
    np.savez(kept, final_label=np.zeros(9, np.uint8), final_probability=np.zeros(9, np.float16))
    store.client.log_artifact(store.search("")[0].info.run_id, str(kept))
    ended = bench.inside("report", "--format", "md")
    assert ended.status == 0, ended.stderr
    assert "What digits are taken for is not told: the images are not at hand" in ended.stdout
    refused = bench.inside("report", "--image", "0")
    assert refused.status == 2
    assert "--image 0: the images of these runs (mnist) are not at hand" in refused.complaint


def test_figures_that_were_made_before_weights_were_kept_are_made_anew(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    without = SCENARIO.replace("save_weights = true", "")
    longer = SCENARIO.replace("steps = [12]", "steps = [14]")
    for name, text, steps in (
        ("without", without, 0),
        ("kept", SCENARIO, 12),
        ("more", longer, 14),
    ):
        (bench.folder / f"{name}.toml").write_text(text, encoding="utf-8")
        assert bench.inside("run", f"./{name}.toml", "--no-report").status == 0
        ended = bench.inside("report", "--image", "1", "--format", "md")
        assert ended.status == 0, ended.stderr
        told = (bench.folder / "reports" / "report.md").read_text(encoding="utf-8")
        assert re.findall(r"trained for (\d+) updates", told) == [str(steps)] * bool(steps)
