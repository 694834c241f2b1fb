"""Other techniques than the paper's network end to end, and invalid commands."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from program import RUN_ARTIFACTS, Bench, RecordedRuns

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.results.run import RunResult
from mnist_bench.scenarios import scenario

CLASSICAL = ("claim-6-logistic", "claim-6-neighbours", "claim-6-svm")
NETWORKS = (
    "claim-6-fully-connected-operations",
    "claim-6-fully-connected-parameters",
    "claim-6-lenet-5",
)
ON_THE_SAMPLE = ("--dataset", "mnist-5k", "--set", "train_images=600")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="module")
def classical(bench: Bench) -> dict[str, Any]:
    """Runs of the three, by scenario name."""
    ended = bench.call_with_store("run", *CLASSICAL, *ON_THE_SAMPLE, "--json", "--threads", "1")
    assert ended.status == 0, ended.stderr
    return {run["scenario"]: run for run in ended.document["runs"]}


@pytest.fixture(scope="module")
def networks(bench: Bench) -> dict[str, Any]:
    """Runs of two of the networks, made small and short."""
    small = {"hidden_layers": 2, "hidden_units": 64, "dropout_rate": 0.1}
    for name, changes in (("claim-6-fully-connected-parameters", small), ("claim-6-lenet-5", {})):
        small_scenario = scenario.read(scenario.find(name)).model_dump(exclude_none=True)
        small_scenario |= {
            "steps": [60, 120],
            "eval_first": 40,
            "eval_every": 40,
            "dataset": "mnist-5k",
        }
        small_scenario["save_weights"] = True
        small_scenario["hyperparameters"] |= changes
        text = tomli_w.dumps(small_scenario)
        (bench.folder / f"{small_scenario['model']}.toml").write_text(text, encoding="utf-8")
    ended = bench.call_with_store("run", "./fully-connected.toml", "./lenet-5.toml", "--json")
    assert ended.status == 0, ended.stderr
    return {f"{run['model']} {run['steps']}": run for run in ended.document["runs"]}


@pytest.fixture(scope="module")
def recorded(bench: Bench, classical: dict[str, Any], networks: dict[str, Any]) -> RecordedRuns:
    return RecordedRuns(bench.folder)


def predictions(recorded: RecordedRuns, run: dict[str, Any]) -> dict[str, Any]:
    path = recorded.artifact(run["run_id"], "predictions.npz")
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


# Techniques that are fitted in one step


@pytest.mark.parametrize("name", CLASSICAL)
def test_a_fitted_run_is_recorded(
    recorded: RecordedRuns, classical: dict[str, Any], sample: Source, name: str
) -> None:
    run = classical[name]
    assert (run["status"], run["steps"], run["threads"]) == ("finished", 1, 1)
    assert run["verdict"] in {"clean", "suspect", "invalid"}
    assert 0.8 < run["final_test_accuracy"] < 0.95  # accuracy with 600 images
    assert run["max_test_accuracy"] == run["final_test_accuracy"]
    assert run["hyperparameters"]["train_images"] == 600
    seconds = run["train_seconds_total"]
    assert run["images_per_second"] == pytest.approx(600 / seconds)
    assert run["seconds"]["train"] == pytest.approx(seconds)
    assert run["peak_rss_bytes"] > 0
    recorded_run = recorded.run(run["run_id"])
    assert recorded_run.data.params["train_images"] == "600"
    assert recorded.artifacts(run["run_id"]) == RUN_ARTIFACTS
    assert recorded.history(run["run_id"], "test_accuracy") == [(1, run["final_test_accuracy"])]
    assert recorded.history(run["run_id"], "train_loss") == []  # it has none
    labels = mnist.load(sample).test.labels
    predicted = predictions(recorded, run)
    assert np.mean(predicted["final_label"] == labels) == run["final_test_accuracy"]
    assert np.isnan(predicted["final_probability"]).all() == (name == "claim-6-svm")
    text = recorded.artifact(run["run_id"], "result.json").read_text(encoding="utf-8")
    (evaluation,) = RunResult.model_validate_json(text).evaluations
    assert evaluation.train_loss is None


def test_a_fitted_run_loads_no_tensorflow(
    classical: dict[str, Any], networks: dict[str, Any]
) -> None:
    """TensorFlow alone would take more than 300 MiB."""
    least = min(run["peak_rss_bytes"] for run in networks.values())
    for run in classical.values():
        assert run["peak_rss_bytes"] < 0.8 * least


def test_reports_of_a_fitted_run(bench: Bench, classical: dict[str, Any]) -> None:
    """Without probabilities, with a single step, and not comparable with Table I."""
    # Variables of the machine that change what NumPy computes are in the name too.
    (path,) = (bench.folder / "reports").glob("claim-6-svm.train_images-600*.mnist-5k.md")
    text = path.read_text(encoding="utf-8")
    assert "other model: svm-rbf" in text
    assert "other hyperparameters" not in text
    document = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert document["table_1"] == []
    ended = bench.call_with_store("report", "--scenario", "claim-6-svm")
    assert ended.status == 0, ended.stderr
    page = (bench.folder / "reports" / "report.html").read_text(encoding="utf-8")
    assert "svm-rbf" in page


def test_the_same_seed_draws_the_same_images_and_resume_fits_nothing_again(
    bench: Bench, classical: dict[str, Any]
) -> None:
    line = ("run", "claim-6-neighbours", *ON_THE_SAMPLE, "--threads", "1", "--json")
    known = classical["claim-6-neighbours"]
    same, other = bench.call_with_store(*line, "--resume", "--seeds", "2").document["runs"]
    assert same["run_id"] == known["run_id"]
    assert other["final_test_accuracy"] != known["final_test_accuracy"]
    (again,) = bench.call_with_store(*line).document["runs"]
    assert again["run_id"] != known["run_id"]
    assert again["final_test_accuracy"] == known["final_test_accuracy"]


# Networks


@pytest.mark.parametrize("model", ["fully-connected", "lenet-5"])
def test_a_run_of_another_network_is_recorded(
    recorded: RecordedRuns, networks: dict[str, Any], sample: Source, model: str
) -> None:
    run = networks[f"{model} 120"]
    assert run["status"] == "finished"
    assert run["trajectory"] == networks[f"{model} 60"]["trajectory"]
    assert run["final_test_accuracy"] > 0.7
    assert run["images_per_second"] == pytest.approx(120 * 50 / run["train_seconds_total"])
    assert [step for step, _ in recorded.history(run["run_id"], "train_loss")] == [40, 80, 120]
    assert recorded.artifacts(run["run_id"]) == RUN_ARTIFACTS | {"weights.npz"}
    labels = mnist.load(sample).test.labels
    predicted = predictions(recorded, run)
    assert np.mean(predicted["final_label"] == labels) == run["final_test_accuracy"]
    assert (predicted["final_probability"] > 0.1).all()


def test_weights_are_saved_by_name(recorded: RecordedRuns, networks: dict[str, Any]) -> None:
    path = recorded.artifact(networks["lenet-5 120"]["run_id"], "weights.npz")
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["c3_weights"].shape == (5, 5, 6, 16)
        assert sum(arrays[name].size for name in arrays) == 61_706


# Errors


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run claim-6-svm --steps 10", "svm-rbf is fitted in one step: steps must be [1]"),
        ("run claim-6-svm --dataset mnist-5k",
         "train_images is 55000, mnist-5k has 4000 training images"),
        ("run claim-6-svm --set hidden_units=3",
         "--set hidden_units: svm-rbf has no such hyperparameter"),
        ("run claim-6-neighbours --set neighbours=11 --set train_images=10",
         "11 neighbours exceed the 10 training images"),
        ("run claim-6-svm --precision bfloat16",
         "--precision bfloat16: claim-6-svm trains svm-rbf, which"),
        ("run claim-6-svm --device gpu", "--device gpu: claim-6-svm trains svm-rbf, which"),
        ("tune --space ./space.toml", "model = 'svm-rbf': a study searches paper-cnn alone"),
    ],
)  # fmt: skip
def test_invalid_commands_create_no_files(tmp_path: Path, line: str, words: str) -> None:
    bench = Bench(tmp_path)
    space = bench.folder / "space.toml"
    space.write_text(
        'title = "A"\nmodel = "svm-rbf"\nsteps = 1\neval_every = 1\n'
        "[parameters]\nC = { low = 1.0, high = 2.0 }\n",
        encoding="utf-8",
    )
    ended = bench.call(*shlex.split(line))
    assert ended.status == 2
    assert words in ended.error_line
    assert list(bench.folder.iterdir()) == [space]


# Scenarios


@pytest.mark.parametrize("name", [*CLASSICAL, *NETWORKS])
def test_packaged_techniques_use_all_images_or_10000_steps(name: str) -> None:
    packaged = scenario.read(scenario.find(name))
    images = packaged.steps[-1] * packaged.hyperparameters.images_per_step
    assert images == (55_000 if name in CLASSICAL else 10_000 * 50)
