"""Search spaces: what is read, what is refused and in which words, and what a trial is."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.core.errors import EXIT_WRONG_REQUEST, BenchError
from mnist_bench.core.limits import MAX_STEPS
from mnist_bench.scenarios import scenario
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.scenarios.scenario import Grid
from mnist_bench.tuning import space
from mnist_bench.tuning.space import Parameter, Space, Value

KEYS = {
    "title": '"A question"',
    "model": '"paper-cnn"',
    "steps": "1000",
    "eval_every": "50",
}
"""A good space's keys with their values as TOML."""
RATE = "learning_rate = { low = 1e-4, high = 1e-1, log = true }"
SCHEDULE = 'schedule = { choices = ["constant", "cosine"] }'
DECAY = 'average_decay = { choices = [0.0, 0.9], when = { schedule = ["constant"] } }'
PACKAGED = space.read(space.default_path())


def toml(*parameters: str, **changes: str | None) -> str:
    """A good space of these parameters, with other keys, without those that are None."""
    keys = {name: value for name, value in (KEYS | changes).items() if value is not None}
    lines = [f"{name} = {value}" for name, value in keys.items()]
    return "\n".join([*lines, "[parameters]", *parameters, ""])


def made(*parameters: str, **changes: str | None) -> Space:
    """The same, read."""
    return Space.model_validate(tomllib.loads(toml(*parameters, **changes)))


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path) -> BenchError:
    """Why a file is refused, in one line."""
    with pytest.raises(BenchError) as caught:
        space.read(path)
    assert caught.value.exit_status == EXIT_WRONG_REQUEST
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


# What is read


def test_what_is_left_out_has_defaults(tmp_path: Path) -> None:
    read = space.read(written(tmp_path, toml(RATE, SCHEDULE, DECAY)))
    assert read == Space(
        title="A question",
        model="paper-cnn",
        steps=1_000,
        eval_every=50,
        parameters={
            "learning_rate": Parameter(low=1e-4, high=1e-1, log=True),
            "schedule": Parameter(choices=("constant", "cosine")),
            "average_decay": Parameter(choices=(0.0, 0.9), when={"schedule": ("constant",)}),
        },
    )
    assert read.dataset == "auto"
    assert read.train_seconds is read.target_accuracy is read.eval_every_images is None


def test_everything_given(tmp_path: Path) -> None:
    text = toml(
        RATE,
        "steps = { low = 200, high = 2000 }",
        dataset='"mnist-5k"',
        steps=None,
        train_seconds="30",
        eval_every=None,
        eval_every_images="2500",
        target_accuracy="0.99",
    )
    read = space.read(written(tmp_path, text))
    assert (read.dataset, read.train_seconds, read.target_accuracy) == ("mnist-5k", 30, 0.99)
    assert (read.steps, read.eval_every, read.eval_every_images) == (None, None, 2_500)
    assert read.parameters["steps"] == Parameter(low=200, high=2_000)


def test_parameters_keep_their_order() -> None:
    # A condition looks upward, and the sampler asks from top to bottom.
    assert list(made(SCHEDULE, RATE, DECAY).parameters) == [
        "schedule",
        "learning_rate",
        "average_decay",
    ]


def test_limits_are_allowed() -> None:
    lines = (
        "batch_size = { low = 1, high = 55000 }",
        "dropout_rate = { low = 0, high = 0.999 }",
        "conv1_kernel_size = { low = 1, high = 13 }",
        "shift_pixels = { low = 0, high = 7 }",
    )
    ends = [parameter.ends for parameter in made(*lines, steps=str(MAX_STEPS)).parameters.values()]
    assert ends == [(1, 55_000), (0, 0.999), (1, 13), (0, 7)]


@pytest.mark.parametrize("asked", [PACKAGED, made(RATE, SCHEDULE, DECAY)])
def test_a_space_reads_itself_back(asked: Space) -> None:
    # A study compares the text of its space with that of the one it is asked with: 0 is not 0.0.
    text = asked.model_dump_json()
    again = Space.model_validate_json(text)
    assert again == asked
    assert again.model_dump_json() == text


# The packaged space


def test_the_packaged_space_asks_for_every_hyperparameter() -> None:
    assert set(PACKAGED.parameters) == set(PaperCnnHyperparameters.model_fields)
    assert PACKAGED.steps == 1_000
    assert PACKAGED.target_accuracy == 0.99
    assert PACKAGED.is_conditional


def test_the_papers_configuration_lies_in_the_packaged_space() -> None:
    chosen = PACKAGED.of_the_paper()
    assert chosen == PaperCnnHyperparameters().model_dump()
    assert all(PACKAGED.parameters[name].holds(value) for name, value in chosen.items())


def test_the_packaged_spaces_first_trial_is_the_papers() -> None:
    trial = PACKAGED.scenario(PACKAGED.of_the_paper())
    assert trial.hyperparameters == PaperCnnHyperparameters()
    assert trial.steps == (1_000,)
    # 2,500 images are 50 batches of 50: 20 scorings, the last after the last step.
    assert trial.grid == Grid(first=50, every=50)
    assert trial.target_accuracies == (0.99,)
    assert trial.title == PACKAGED.title


def test_the_packaged_space_fits_the_sample() -> None:
    # Of the embedded 5,000 images 2,500 or more are for training.
    PACKAGED.check_batches(256)


@pytest.mark.parametrize(
    ("schedule", "asked"), [("constant", True), ("one-cycle", False), ("cosine", False)]
)
def test_the_packaged_space_averages_constant_rates_only(schedule: str, *, asked: bool) -> None:
    assert PACKAGED.parameters["average_decay"].is_asked({"schedule": schedule}) is asked


def drawn(draw: st.DrawFn, name: str, parameter: Parameter) -> Value:
    """Any value of a parameter, its ends more often than the others."""
    if parameter.choices is not None:
        return draw(st.sampled_from(parameter.choices))
    low, high = parameter.ends
    inside = st.integers(low, high) if space.is_integer(name) else st.floats(low, high)
    return draw(st.sampled_from((low, high)) | inside)


@st.composite
def choices(draw: st.DrawFn) -> dict[str, Value]:
    """What a sampler may choose of the packaged space."""
    chosen: dict[str, Value] = {}
    for name, parameter in PACKAGED.parameters.items():
        if parameter.is_asked(chosen):
            chosen[name] = drawn(draw, name, parameter)
    return chosen


@given(chosen=choices())
def test_every_choice_is_a_scenario_that_survives_its_file(
    tmp_path_factory: pytest.TempPathFactory, chosen: dict[str, Value]
) -> None:
    trial = PACKAGED.scenario(chosen)
    told = trial.hyperparameters.model_dump()
    assert {name: told[name] for name in chosen} == chosen
    unasked = set(told) - set(chosen)
    assert unasked == (set() if chosen["schedule"] == "constant" else {"average_decay"})
    assert all(told[name] == PaperCnnHyperparameters().model_dump()[name] for name in unasked)
    assert len(trial.grid.points(1_000)) >= 20

    path = written(tmp_path_factory.getbasetemp(), trial.to_toml())
    assert scenario.read(path) == trial


# A trial


def test_what_is_not_asked_is_the_papers() -> None:
    trial = made(RATE).scenario({"learning_rate": 0.01})
    assert trial.hyperparameters == PaperCnnHyperparameters(learning_rate=0.01)
    assert trial.steps == (1_000,)
    assert trial.dataset == "auto"
    assert trial.target_accuracies is None
    assert trial.title == "A question"


def test_a_trial_has_the_spaces_images_and_target() -> None:
    asked = made(RATE, dataset='"mnist-5k"', target_accuracy="0.985")
    trial = asked.scenario({"learning_rate": 0.01})
    assert (trial.dataset, trial.target_accuracies) == ("mnist-5k", (0.985,))


def test_steps_as_a_parameter() -> None:
    asked = made(RATE, "steps = { low = 200, high = 2000 }", steps=None)
    chosen: dict[str, Value] = {"learning_rate": 0.01, "steps": 400}
    trial = asked.scenario(chosen)
    assert trial.steps == (400,)
    assert trial.grid == Grid(first=20, every=20)  # 400 / 20, though 50 was asked for
    assert trial.hyperparameters == PaperCnnHyperparameters(learning_rate=0.01)


def test_steps_of_a_space_that_names_one_number() -> None:
    assert made(RATE).scenario({"learning_rate": 0.01}).steps == (1_000,)


@pytest.mark.parametrize(
    ("steps", "asked", "every"),
    [
        (1_000, 10, 10),
        (1_000, 50, 50),
        (1_000, 51, 50),  # 1,000 / 20
        (1_019, 100, 50),  # 50.95 is cut
        (999, 50, 49),
        (40, 50, 2),
        (39, 50, 1),
        (20, 50, 1),
    ],
)
def test_grid_in_steps(steps: int, asked: int, every: int) -> None:
    trial = made(RATE, steps=str(steps), eval_every=str(asked)).scenario({})
    assert trial.grid == Grid(first=every, every=every)


@pytest.mark.parametrize(
    ("images", "batch_size", "every"),
    [
        (2_500, 50, 50),
        (2_500, 64, 39),  # 39.06 and 9.77 are rounded
        (2_500, 256, 10),
        (2_500, 32, 50),  # 78 would be 12 points
        (10, 50, 1),
    ],
)
def test_grid_in_images(images: int, batch_size: int, every: int) -> None:
    asked = made(
        "batch_size = { low = 10, high = 256 }", eval_every=None, eval_every_images=str(images)
    )
    trial = asked.scenario({"batch_size": batch_size})
    assert trial.grid == Grid(first=every, every=every)
    assert trial.eval_every_images is None  # the grid's first point would not be told by it


def test_grid_in_images_of_the_papers_batch() -> None:
    asked = made(RATE, eval_every=None, eval_every_images="500")
    assert asked.scenario({}).grid == Grid(first=10, every=10)


@given(st.integers(20, MAX_STEPS), st.integers(1, MAX_STEPS))
def test_a_trial_is_scored_20_times_at_least(steps: int, asked: int) -> None:
    grid = made(RATE, steps=str(steps), eval_every=str(asked)).scenario({}).grid
    assert len(grid.points(steps)) >= 20
    assert grid.every <= asked
    # No finer than it must be: a step more between two points would be too far.
    assert grid.every == asked or 20 * (grid.every + 1) > steps


@given(st.integers(1, 19), st.integers(1, MAX_STEPS))
def test_a_trial_of_fewer_than_20_steps_is_scored_after_each(steps: int, asked: int) -> None:
    grid = made(RATE, steps=str(steps), eval_every=str(asked)).scenario({}).grid
    assert list(grid.points(steps)) == list(range(1, steps + 1))


# Conditions


def test_a_condition_is_any_of_its_values() -> None:
    parameter = Parameter(choices=(0.0, 0.9), when={"schedule": ("constant", "cosine")})
    asked = [parameter.is_asked({"schedule": name}) for name in ("constant", "cosine", "one-cycle")]
    assert asked == [True, True, False]


def test_all_conditions_must_be_met() -> None:
    when: dict[str, tuple[Value, ...]] = {"schedule": ("constant",), "shift_pixels": (1, 2)}
    parameter = Parameter(low=0.0, high=0.5, when=when)
    assert parameter.is_asked({"schedule": "constant", "shift_pixels": 2})
    assert not parameter.is_asked({"schedule": "constant", "shift_pixels": 3})
    assert not parameter.is_asked({"schedule": "cosine", "shift_pixels": 2})


def test_without_conditions_it_is_always_asked() -> None:
    assert Parameter(low=0, high=1).is_asked({})
    assert not made(RATE, SCHEDULE).is_conditional
    assert made(SCHEDULE, DECAY).is_conditional


def test_what_depends_on_what_is_not_asked_is_not_asked() -> None:
    lines = (
        'optimizer = { choices = ["adam", "momentum"] }',
        'schedule = { choices = ["constant", "cosine"], when = { optimizer = ["momentum"] } }',
        DECAY,
    )
    # The paper's optimizer is Adam: no schedule is chosen, and what asks after it is not either,
    # although the schedule that is not chosen is the constant one.
    assert made(*lines).of_the_paper() == {"optimizer": "adam"}


def test_a_condition_on_steps() -> None:
    lines = (
        "steps = { choices = [1000, 10000] }",
        "average_decay = { choices = [0.0, 0.9], when = { steps = [10000] } }",
    )
    asked = made(RATE, *lines, steps=None)
    assert asked.parameters["average_decay"].is_asked({"steps": 10_000})
    assert not asked.parameters["average_decay"].is_asked({"steps": 1_000})


# The paper's configuration


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        # The paper's longest training has 10,000.
        ("{ low = 200, high = 2000 }", 2_000),
        ("{ low = 200, high = 20000 }", 10_000),
        ("{ low = 15000, high = 20000 }", 15_000),
        ("{ choices = [1000, 10000, 20000] }", 10_000),
        ("{ choices = [1000, 12000, 9000] }", 9_000),
    ],
)
def test_the_papers_steps_are_the_nearest_to_its_longest_training(
    steps: str, expected: int
) -> None:
    asked = made(RATE, f"steps = {steps}", steps=None)
    assert asked.of_the_paper() == {"learning_rate": 0.001, "steps": expected}
    assert asked.scenario(asked.of_the_paper()).steps == (expected,)


def test_what_the_papers_configuration_does_not_ask_may_leave_its_value_out() -> None:
    never = 'dropout_rate = { low = 0.1, high = 0.3, when = { schedule = ["cosine"] } }'
    asked = made(SCHEDULE, never)
    assert asked.of_the_paper() == {"schedule": "constant"}
    assert asked.scenario(asked.of_the_paper()).hyperparameters.dropout_rate == 0.5


# Values


@pytest.mark.parametrize("value", [32, 33, 256])
def test_a_range_holds_its_ends(value: Value) -> None:
    assert Parameter(low=32, high=256).holds(value)


@pytest.mark.parametrize("value", [31, 257, 31.9, math.inf, math.nan, "64", True])
def test_what_a_range_does_not_hold(value: Value) -> None:
    assert not Parameter(low=32, high=256).holds(value)


def test_a_range_of_0_to_1_holds_no_booleans() -> None:
    assert not Parameter(low=0, high=1).holds(value=True)


@pytest.mark.parametrize(
    ("listed", "held", "not_held"),
    [
        ((False, True), (False, True), (0, 1, "true")),
        ((3, 5), (3, 5, 3.0), (4, "3")),
        ((0.0, 0.9), (0.0, 0.9, 0), (False, 0.5)),
        (("adam", "momentum"), ("adam", "momentum"), ("Adam", "", 0)),
        ((0, 1), (0, 1), (False, True)),
    ],
)
def test_choices_hold_what_they_name(
    listed: tuple[Value, ...], held: tuple[Value, ...], not_held: tuple[Value, ...]
) -> None:
    parameter = Parameter(choices=listed)
    assert parameter.ends == listed
    assert all(map(parameter.holds, held))
    assert not any(map(parameter.holds, not_held))


def test_whole_numbers() -> None:
    names = [*PaperCnnHyperparameters.model_fields, "steps"]
    assert {name for name in names if space.is_integer(name)} == {
        "steps",
        "batch_size",
        "conv1_filters",
        "conv1_kernel_size",
        "conv2_filters",
        "conv2_kernel_size",
        "dense_units",
        "shift_pixels",
    }


@pytest.mark.parametrize(
    "line", ["batch_size = { low = 32, high = 256 }", "batch_size = { choices = [256, 50, 32] }"]
)
def test_a_batch_larger_than_the_training_split(line: str) -> None:
    asked = made(line)
    asked.check_batches(256)
    with pytest.raises(BenchError) as caught:
        asked.check_batches(255)
    assert caught.value.message == (
        "the search space allows a batch_size of 256, and there are 255 training images"
    )
    assert caught.value.hint == "lower it in the space file"


def test_no_batch_is_asked() -> None:
    made(RATE).check_batches(100)


# What is refused

ONE_OF_TWO = "give one of eval_every and eval_every_images"
STEPS = "give steps, either as one number or as a parameter"
EMPTY = "the space is empty: name the parameters that may be tried"


@pytest.mark.parametrize(
    ("parameters", "keys", "reason"),
    [
        ((), {}, EMPTY),
        (("steps = { low = 1, high = 9 }",), {"steps": None}, EMPTY),  # nothing but its length
        ((RATE, "steps = { low = 1, high = 9 }"), {}, STEPS),
        ((RATE,), {"steps": None}, STEPS),
        ((RATE,), {"eval_every_images": "2500"}, ONE_OF_TWO),
        ((RATE,), {"eval_every": None}, ONE_OF_TWO),
    ],
)
def test_contradictory(
    tmp_path: Path, parameters: tuple[str, ...], keys: dict[str, str | None], reason: str
) -> None:
    path = written(tmp_path, toml(*parameters, **keys))
    told = refusal(path)
    assert told.message == f"{path}: {reason}"
    assert told.hint == "mend the search space"


def test_unknown_hyperparameter(tmp_path: Path) -> None:
    path = written(tmp_path, toml("learning_rat = { low = 1e-4, high = 1e-1 }"))
    told = refusal(path)
    assert told.message.startswith(f"{path}: paper-cnn has no learning_rat; it has learning_rate, ")
    assert told.message.endswith(", batch_normalization, steps")
    assert told.hint == "mend the search space"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "learning_rate = { low = 0.0, high = 0.1 }",
            "learning_rate can't be 0.0: input should be greater than 0",
        ),
        (
            "learning_rate = { low = 1e-4, high = 11 }",
            "learning_rate can't be 11: input should be less than or equal to 10",
        ),
        (
            "dropout_rate = { low = 0.0, high = 1.0 }",
            "dropout_rate can't be 1.0: input should be less than 1",
        ),
        (
            "batch_size = { low = 32.0, high = 64.5 }",
            "batch_size can't be 32.0: input should be a valid integer",
        ),
        (
            "batch_size = { low = 0, high = 64 }",
            "batch_size can't be 0: input should be greater than or equal to 1",
        ),
        (
            "conv1_kernel_size = { choices = [5, 14] }",
            "conv1_kernel_size can't be 14: input should be less than or equal to 13",
        ),
        (
            "shift_pixels = { low = 0, high = 8 }",
            "shift_pixels can't be 8: input should be less than or equal to 7",
        ),
        (
            'optimizer = { choices = ["adam", "sgd"] }',
            "optimizer can't be 'sgd': input should be 'adam' or 'momentum'",
        ),
        (
            "optimizer = { low = 0, high = 1 }",
            "optimizer can't be 0: input should be 'adam' or 'momentum'",
        ),
        (
            "batch_normalization = { choices = [false, 1] }",
            "batch_normalization can't be 1: input should be a valid boolean",
        ),
        (
            'learning_rate = { choices = [0.001, "0.01"] }',
            "learning_rate can't be '0.01': input should be a valid number",
        ),
    ],
)
def test_a_value_that_the_hyperparameter_cannot_have(
    tmp_path: Path, line: str, reason: str
) -> None:
    path = written(tmp_path, toml(line))
    told = refusal(path)
    assert told.message == f"{path}: {reason}"
    assert told.hint == "mend the search space"


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ((DECAY,), "average_decay depends on schedule, which the space does not name"),
        ((DECAY, SCHEDULE), "average_decay depends on schedule, which must stand above it"),
        (
            (RATE, "dropout_rate = { low = 0.1, high = 0.5, when = { colour = [1] } }"),
            "dropout_rate depends on colour, which the space does not name",
        ),
        (
            ("dropout_rate = { low = 0.1, high = 0.5, when = { dropout_rate = [0.5] } }",),
            "dropout_rate depends on dropout_rate, which must stand above it",
        ),
        (
            (SCHEDULE, DECAY.replace('["constant"]', '["constant", "one-cycle"]')),
            "average_decay: schedule is never ['one-cycle']",
        ),
        (
            (SCHEDULE, DECAY.replace('["constant"]', "[]")),
            "average_decay: schedule is never nothing",
        ),
        (
            (
                "dropout_rate = { low = 0.1, high = 0.5 }",
                "shift_pixels = { low = 0, high = 3, when = { dropout_rate = [0.5, 0.6] } }",
            ),
            "shift_pixels: dropout_rate is never [0.6]",
        ),
        (
            (
                "batch_normalization = { choices = [false, true] }",
                "shift_pixels = { low = 0, high = 3, when = { batch_normalization = [1] } }",
            ),
            "shift_pixels: batch_normalization is never [1]",
        ),
    ],
)  # fmt: skip
def test_a_condition_that_is_never_met(
    tmp_path: Path, parameters: tuple[str, ...], reason: str
) -> None:
    path = written(tmp_path, toml(*parameters))
    told = refusal(path)
    assert told.message == f"{path}: {reason}"
    assert told.hint == "mend the search space"


@pytest.mark.parametrize(
    ("line", "papers"),
    [
        ("batch_size = { low = 64, high = 256 }", "batch_size leaves out 50"),
        ("batch_size = { low = 10, high = 49 }", "batch_size leaves out 50"),
        ("dropout_rate = { choices = [0.4, 0.6] }", "dropout_rate leaves out 0.5"),
        ('schedule = { choices = ["cosine"] }', "schedule leaves out 'constant'"),
        ("batch_normalization = { choices = [true] }", "batch_normalization leaves out False"),
    ],
)
def test_the_papers_value_is_left_out(tmp_path: Path, line: str, papers: str) -> None:
    path = written(tmp_path, toml(line))
    told = refusal(path)
    assert told.message == (f"{path}: {papers}, and the paper's configuration is the first trial")
    assert told.hint == "mend the search space"


BOTH = "give either choices, or low and high"
NEITHER = "give low and high, or choices"
LISTED = "choices should be some values, each named once"
LOGARITHM = "a logarithm needs more than 0"


@pytest.mark.parametrize(
    ("name", "table", "reason"),
    [
        ("learning_rate", "{ low = 0.1, high = 0.01 }", "low is 0.1, not below high, 0.01"),
        ("batch_size", "{ low = 50, high = 50 }", "low is 50, not below high, 50"),
        ("dropout_rate", "{ low = 0.0, high = 0.7, log = true }", f"low is 0.0: {LOGARITHM}"),
        ("shift_pixels", "{ low = 0, high = 3, log = true }", f"low is 0: {LOGARITHM}"),
        ("learning_rate", "{ low = -0.1, high = 1, log = true }", f"low is -0.1: {LOGARITHM}"),
        ("learning_rate", "{ low = 0.001 }", NEITHER),
        ("learning_rate", "{ high = 0.001 }", NEITHER),
        ("learning_rate", "{}", NEITHER),
        ("learning_rate", "{ log = true }", NEITHER),
        ("learning_rate", "{ choices = [0.001], low = 0.1 }", BOTH),
        ("learning_rate", "{ choices = [0.001], high = 0.1 }", BOTH),
        ("learning_rate", "{ choices = [0.001, 0.1], log = true }", BOTH),
        ("optimizer", "{ choices = [] }", LISTED),
        ("optimizer", '{ choices = ["adam", "momentum", "adam"] }', LISTED),
        ("conv1_kernel_size", "{ choices = [5, 5] }", LISTED),
        ("learning_rate", "{ choices = [0.001, 1e-3] }", LISTED),
        ("learning_rate", "0.1", "it should be a table"),
        ("learning_rate", "[0.001, 0.1]", "it should be a table"),
    ],
)
def test_a_bad_parameter(tmp_path: Path, name: str, table: str, reason: str) -> None:
    path = written(tmp_path, toml(f"{name} = {table}"))
    told = refusal(path)
    shown = tomllib.loads(f"it = {table}")["it"]
    value = "" if isinstance(shown, dict) else f" = {shown}"
    assert told.message == f"{path}: parameters.{name}{value}: {reason}"
    assert told.hint == f"choose another parameters.{name}"


NO_LIST = "it should be a list in brackets"


@pytest.mark.parametrize(
    ("parameters", "key", "reason"),
    [
        (('optimizer = { choices = "adam" }',), "optimizer.choices", f"'adam': {NO_LIST}"),
        (
            (SCHEDULE, DECAY.replace('["constant"]', '"constant"')),
            "average_decay.when.schedule",
            f"'constant': {NO_LIST}",
        ),
        (
            ("learning_rate = { low = 1e-4, high = 1e-1, log = 1 }",),
            "learning_rate.log",
            "1: input should be a valid boolean",
        ),
        (
            (SCHEDULE, DECAY.replace('{ schedule = ["constant"] }', '"constant"')),
            "average_decay.when",
            "'constant': it should be a table",
        ),
    ],
)
def test_a_bad_key_of_a_parameter(
    tmp_path: Path, parameters: tuple[str, ...], key: str, reason: str
) -> None:
    path = written(tmp_path, toml(*parameters))
    told = refusal(path)
    assert told.message == f"{path}: parameters.{key} = {reason}"
    assert told.hint == f"choose another parameters.{key}"


@pytest.mark.parametrize(
    ("keys", "key", "reason"),
    [
        ({"steps": "0"}, "steps", "0: input should be greater than or equal to 1"),
        ({"steps": "1000001"}, "steps", "1000001: input should be less than or equal to 1000000"),
        ({"steps": "[1000]"}, "steps", "[1000]: input should be a valid integer"),
        ({"eval_every": "0"}, "eval_every", "0: input should be greater than or equal to 1"),
        ({"train_seconds": "0"}, "train_seconds", "0: input should be greater than 0"),
        ({"target_accuracy": "9"}, "target_accuracy", "9: input should be less than or equal to 1"),
        ({"target_accuracy": "nan"}, "target_accuracy", "nan: input should be a finite number"),
        ({"model": '"lenet"'}, "model", "'lenet': input should be 'paper-cnn'"),
        (
            {"model": '"lenet-5"'},
            "model",
            "'lenet-5': a study searches paper-cnn alone, the paper's network and its variants",
        ),
        ({"title": '""'}, "title", "'': string should have at least 1 character"),
    ],
)  # fmt: skip
def test_a_bad_key(tmp_path: Path, keys: dict[str, str | None], key: str, reason: str) -> None:
    path = written(tmp_path, toml(RATE, **keys))
    told = refusal(path)
    assert told.message == f"{path}: {key} = {reason}"
    assert told.hint == f"choose another {key}"


@pytest.mark.parametrize("key", ["title", "model"])
def test_a_missing_key(tmp_path: Path, key: str) -> None:
    path = written(tmp_path, toml(RATE, **{key: None}))
    told = refusal(path)
    assert (told.message, told.hint) == (f"{path}: key {key} is missing", "add it")


def test_missing_parameters(tmp_path: Path) -> None:
    path = written(tmp_path, toml().replace("[parameters]", ""))
    told = refusal(path)
    assert (told.message, told.hint) == (f"{path}: key parameters is missing", "add it")


def test_parameters_that_are_no_table(tmp_path: Path) -> None:
    path = written(tmp_path, toml(parameters="3").replace("[parameters]", ""))
    told = refusal(path)
    assert told.message == f"{path}: parameters = 3: it should be a table"
    assert told.hint == "choose another parameters"


def test_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, toml(RATE, datset='"mnist"'))
    told = refusal(path)
    assert told.message == f"{path}: unknown key datset"
    assert told.hint.startswith("did you mean dataset? known are title, model, dataset, steps, ")


def test_unknown_key_of_a_parameter_names_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, toml("learning_rate = { low = 1e-4, hihg = 1e-1 }"))
    told = refusal(path)
    assert told.message == f"{path}: unknown key parameters.learning_rate.hihg"
    assert told.hint == "did you mean high? known are low, high, log, choices, when"


def test_a_parameter_given_twice(tmp_path: Path) -> None:
    path = written(tmp_path, toml(RATE, RATE))
    told = refusal(path)
    assert told.message.startswith(f"{path} is not TOML: ")
    assert "line 7" in told.message
    assert told.hint == "mend that line"


def test_no_toml(tmp_path: Path) -> None:
    path = written(tmp_path, 'title = "A question"\nmodel paper-cnn\n')
    told = refusal(path)
    assert told.message.startswith(f"{path} is not TOML: ")
    assert "line 2" in told.message
    assert told.hint == "mend that line"


def test_an_empty_file(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    assert refusal(path).message == f"{path}: key title is missing"


def test_no_file(tmp_path: Path) -> None:
    path = tmp_path / "gone.toml"
    assert refusal(path).message == f"can't read {path}: No such file or directory"


# Python turns no number of more than 4,300 digits into text or back, and nests to a depth.
BEYOND = {"decimal": "9" * 5_000, "hexadecimal": "0x" + "f" * 5_000, "nested": "[" * 5_000}


@pytest.mark.parametrize("kind", BEYOND)
@pytest.mark.parametrize("name", ["learning_rate", "batch_size"])
def test_a_bound_beyond_all_bounds(tmp_path: Path, name: str, kind: str) -> None:
    path = written(tmp_path, toml(f"{name} = {{ low = 1, high = {BEYOND[kind]} }}"))
    assert str(path) in refusal(path).message


@pytest.mark.parametrize(
    "steps",
    [
        "{ low = 0, high = 1000 }",
        "{ low = 100, high = 1000001 }",
        "{ low = 100.5, high = 1000.0 }",
        "{ choices = [0, 1000] }",
        '{ choices = ["many"] }',
        "{ choices = [false, true] }",
    ],
)
def test_steps_that_no_training_can_have(tmp_path: Path, steps: str) -> None:
    path = written(tmp_path, toml(RATE, f"steps = {steps}", steps=None))
    assert "steps" in refusal(path).message.removeprefix(str(path))


def test_steps_that_are_not_always_asked(tmp_path: Path) -> None:
    steps = 'steps = { low = 100, high = 1000, when = { schedule = ["cosine"] } }'
    path = written(tmp_path, toml(SCHEDULE, steps, steps=None))
    assert "steps" in refusal(path).message.removeprefix(str(path))


def test_the_papers_value_is_left_out_where_its_configuration_asks(tmp_path: Path) -> None:
    # The paper's schedule is the constant one, so its average_decay of 0 is asked for.
    path = written(tmp_path, toml(SCHEDULE, DECAY.replace("[0.0, 0.9]", "[0.9, 0.99]")))
    assert "average_decay leaves out 0.0" in refusal(path).message


def test_a_whole_number_among_choices_of_a_share() -> None:
    asked = made("label_smoothing = { choices = [0, 0.1] }")
    assert asked.of_the_paper() == {"label_smoothing": 0}


def test_choices_that_are_one_number(tmp_path: Path) -> None:
    path = written(tmp_path, toml("learning_rate = { choices = [0.001, 1, 1.0] }"))
    assert LISTED in refusal(path).message


def test_a_condition_between_two_whole_numbers(tmp_path: Path) -> None:
    lines = (
        "shift_pixels = { low = 0, high = 3 }",
        "dropout_rate = { low = 0.1, high = 0.5, when = { shift_pixels = [1.5] } }",
    )
    path = written(tmp_path, toml(*lines))
    assert "shift_pixels is never [1.5]" in refusal(path).message


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('{ low = "small", high = 0.1 }', "low"),
        ("{ low = 1e-4, high = true }", "high"),
        ("{ low = 1e-4, high = inf }", "high"),
        ("{ choices = [0.001, [0.1]] }", "choices"),
        ("{ choices = [0.001, nan] }", "choices"),
    ],
)
def test_the_key_of_a_bad_bound(tmp_path: Path, line: str, key: str) -> None:
    path = written(tmp_path, toml(f"learning_rate = {line}"))
    told = refusal(path)
    assert told.message.startswith(f"{path}: parameters.learning_rate.{key} = ")
    assert told.hint == f"choose another parameters.learning_rate.{key}"
