"""The protocol of parent and worker."""

from __future__ import annotations

from typing import get_args

import factories
import pytest
from factories import SOURCE

from mnist_bench.measurement.conditions import Stretch, TrainingStretch
from mnist_bench.results.protocol import (
    CalibrationMessage,
    Done,
    EvaluationMessage,
    Failure,
    Message,
    Phase,
    Ready,
    Request,
    SampleMessage,
    StepCountDone,
    parse,
)
from mnist_bench.results.run import PHASES, Evaluation
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.scenarios.scenario import Grid

EVALUATION = Evaluation(
    step=101, test_accuracy=0.97, validation_accuracy=0.96, train_loss=0.25, train_seconds=2.02
)
UNKNOWN_STRETCH = TrainingStretch(step=7, steps=6, train_seconds=0.5, rss_bytes=None,
                                  seen=Stretch(wall_seconds=0.5, own_cpu_seconds=1.0))  # fmt: skip
"""A stretch without system data."""
MESSAGES: list[Message] = [
    *(Phase(name=name, seconds=4.25) for name in PHASES),
    Ready(),
    EvaluationMessage(evaluation=EVALUATION),
    EvaluationMessage(evaluation=EVALUATION.model_copy(update={"train_loss": None})),
    CalibrationMessage(step=0, seconds=0.02, surroundings=factories.surroundings()),
    SampleMessage(
        train_seconds=2.0,
        stretch=factories.training_stretches([0.02])[0],
        surroundings=factories.surroundings(),
    ),
    SampleMessage(train_seconds=2.0, stretch=UNKNOWN_STRETCH),
    StepCountDone(
        steps=1_000,
        seconds={"import": 4.25, "train": 20.0},
        peak_rss_bytes=2**30,
        memory_method="VmHWM",
        phase_peak_rss_bytes={"import": 2**29, "train": 2**30},
    ),
    StepCountDone(steps=1_000, seconds={}, peak_rss_bytes=None, memory_method=None),
    Done(),
    Failure(reason='ValueError: "Füße"\non two lines'),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind)
def test_message_round_trip_in_one_line(message: Message) -> None:
    line = message.model_dump_json()
    assert len(line.splitlines()) == 1
    assert parse(line) == message
    assert parse(line.encode() + b"\n") == message
    if isinstance(message, SampleMessage):
        assert message.step == message.stretch.step


def test_every_kind_of_message_is_tested() -> None:
    kinds = get_args(get_args(Message)[0])
    assert {type(message) for message in MESSAGES} == set(kinds)
    assert len({kind.model_fields["kind"].default for kind in kinds}) == len(kinds)


SAMPLE = SampleMessage(train_seconds=2.0, stretch=UNKNOWN_STRETCH).model_dump_json()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "go",
        "2026-01-31 12:00:00 W tensorflow/core: a library speaks up",
        b"\xff\xfe",
        "null",
        "[]",
        "{}",
        '{"kind": "weather"}',
        '{"kind": "sample", "step": 1',
        '{"kind": "sample", "step": 1}',
        SAMPLE.replace('"step":7', '"step":7.5'),
        SAMPLE.replace('"step":7', '"step":"7"'),
        SAMPLE.replace('"train_seconds":2.0', '"train_seconds":NaN'),
        SAMPLE.replace('"rss_bytes":null', '"rss_bytes":1.5'),
        SAMPLE.replace('"rss_bytes":null', '"colour":null'),
        '{"kind": "phase", "name": "lunch", "seconds": 1.0}',
        '{"kind": "done", "colour": "blue"}',
    ],
)
def test_other_lines_are_rejected(line: str | bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        parse(line)


def test_request_round_trip() -> None:
    request = Request(
        model="paper-cnn",
        hyperparameters=PaperCnnHyperparameters(learning_rate=1e-5, batch_size=64),
        training_seed=7,
        step_counts=(1_000, 2_500),
        grid=Grid(first=1, every=100),
        source=SOURCE.model_copy(update={"location": "/srv/Füße/mnist"}),
        execution=Execution(threads=2),
        folder="/srv/runs",
        started_at=1_769_817_600.5,
        save_weights=True,
        phase_peaks=False,
    )
    line = request.model_dump_json()
    assert len(line.splitlines()) == 1
    assert Request.model_validate_json(line) == request
