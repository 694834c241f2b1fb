"""Hyperparameters: their type by model, and shared properties."""

from __future__ import annotations

import json

import pytest
from factories import run
from pydantic import ValidationError

from mnist_bench.results.document import Document
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import RunSummary, summarise_run
from mnist_bench.scenarios.hyperparameters import (
    HYPERPARAMETERS,
    FullyConnectedHyperparameters,
    Lenet5Hyperparameters,
    LogisticHyperparameters,
    NeighboursHyperparameters,
    PaperCnnHyperparameters,
    SvmHyperparameters,
)
from mnist_bench.scenarios.scenario import Scenario

MODELS = list(HYPERPARAMETERS.items())


@pytest.mark.parametrize(("model", "kind"), MODELS)
def test_a_record_is_parsed_as_the_type_of_its_model(model, kind) -> None:
    """The fields of two models may be the same, so that they don't identify the type."""
    result = run(model=model, hyperparameters=kind())
    back = RunResult.model_validate_json(result.model_dump_json())
    assert back == result
    assert type(back.hyperparameters) is kind
    short = RunSummary.model_validate_json(summarise_run(result).model_dump_json())
    assert type(short.hyperparameters) is kind


@pytest.mark.parametrize(("model", "kind"), MODELS)
def test_a_scenario_without_hyperparameters_has_the_models_defaults(model, kind) -> None:
    assert Scenario(title="A", model=model, steps=(1,), eval_every=1).hyperparameters == kind()


def test_a_record_from_before_other_models_can_be_read() -> None:
    record = json.loads(run().model_dump_json())
    record["hyperparameters"] = {"learning_rate": 0.001, "batch_size": 50, "dropout_rate": 0.5}
    assert RunResult.model_validate_json(json.dumps(record)) == run()


@pytest.mark.parametrize(
    ("model", "hyperparameters", "fault"),
    [
        ("lenet-5", PaperCnnHyperparameters(), "valid dictionary"),
        ("lenet-5", {"hidden_units": 3}, "not permitted"),
        ("lenet-6", {}, "there is no model 'lenet-6'"),
        ("svm-rbf", {"C": 0.0}, "greater than 0"),
        ("k-nearest-neighbours", {"neighbours": 11, "train_images": 10}, "11 neighbours exceed"),
    ],
)
def test_invalid_hyperparameters_raise(model, hyperparameters, fault) -> None:
    with pytest.raises(ValidationError, match=fault):
        run(model=model, hyperparameters=hyperparameters)


@pytest.mark.parametrize(
    ("hyperparameters", "images"),
    [
        (PaperCnnHyperparameters(batch_size=64), 64),
        (FullyConnectedHyperparameters(batch_size=32), 32),
        (SvmHyperparameters(train_images=1_000), 1_000),
    ],
)
def test_images_per_step(hyperparameters, images) -> None:
    assert hyperparameters.images_per_step == images


def test_images_per_second_of_a_fitted_method() -> None:
    fitted = run(
        steps=1, model="svm-rbf", hyperparameters=SvmHyperparameters(train_images=5_000),
        eval_every=1,
    )  # fmt: skip
    (only,) = fitted.evaluations
    assert fitted.images_per_second == pytest.approx(5_000 / only.train_seconds)


@pytest.mark.parametrize(
    ("hyperparameters", "words"),
    [
        (PaperCnnHyperparameters(), "learning_rate 0.001, batch_size 50, dropout_rate 0.5"),
        (
            FullyConnectedHyperparameters(hidden_units=7),
            "learning_rate 0.001, batch_size 50, dropout_rate 0.5, hidden_layers 2, hidden_units 7",
        ),
        (
            Lenet5Hyperparameters(optimizer="momentum"),
            "learning_rate 0.001, batch_size 50, dropout_rate 0.0, optimizer momentum",
        ),
        (SvmHyperparameters(), "train_images 55000, C 5.0, gamma 0.03"),
        (LogisticHyperparameters(C=0.5), "train_images 55000, C 0.5, max_iterations 100"),
        (NeighboursHyperparameters(), "train_images 55000, neighbours 3"),
    ],
)
def test_description(hyperparameters, words) -> None:
    assert hyperparameters.description == words


def test_the_documents_schema_contains_every_type() -> None:
    schema = Document.model_json_schema()["$defs"]["RunSummary"]["properties"]["hyperparameters"]
    names = {kind["$ref"].rpartition("/")[2] for kind in schema["anyOf"]}
    assert names == {kind.__name__ for kind in HYPERPARAMETERS.values()}
