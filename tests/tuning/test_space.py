"""Search spaces: parsing, error messages, and the trials they make."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.core.errors import EXIT_USAGE, BenchError
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
"""Valid keys of a space, with their values as TOML."""
RATE = "learning_rate = { low = 1e-4, high = 1e-1, log = true }"
SCHEDULE = 'schedule = { choices = ["constant", "cosine"] }'
DECAY = 'average_decay = { choices = [0.0, 0.9], when = { schedule = ["constant"] } }'
PACKAGED = space.read(space.default_path())


def toml_text(*parameters: str, **changes: str | None) -> str:
    """TOML of a valid space with these parameters and changed keys; None removes a key."""
    keys = {name: value for name, value in (KEYS | changes).items() if value is not None}
    lines = [f"{name} = {value}" for name, value in keys.items()]
    return "\n".join([*lines, "[parameters]", *parameters, ""])


def parsed(*parameters: str, **changes: str | None) -> Space:
    """The same, parsed."""
    return Space.model_validate(tomllib.loads(toml_text(*parameters, **changes)))


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def read_error(folder: Path, text: str) -> tuple[str, str]:
    """Message, after the file's name, and hint of the error of reading; checked to be one line."""
    path = written(folder, text)
    with pytest.raises(BenchError) as caught:
        space.read(path)
    error = caught.value
    assert error.exit_status == EXIT_USAGE
    assert len(str(error).splitlines()) == 1
    assert error.message.startswith(f"{path}: ")
    return error.message.removeprefix(f"{path}: "), error.hint


# Parsing


def test_defaults(tmp_path: Path) -> None:
    read = space.read(written(tmp_path, toml_text(RATE, SCHEDULE, DECAY)))
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
    # Conditions refer to preceding parameters; sampling goes from top to bottom.
    assert list(read.parameters) == ["learning_rate", "schedule", "average_decay"]
    assert read.dataset == "auto"
    assert read.train_seconds is read.target_accuracy is read.eval_every_images is None


def test_everything_given(tmp_path: Path) -> None:
    text = toml_text(
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


def test_limits_are_allowed() -> None:
    lines = (
        "label_smoothing = { choices = [0, 0.1] }",  # an integer among floats
        "batch_size = { low = 1, high = 55000 }",
        "dropout_rate = { low = 0, high = 0.999 }",
        "conv1_kernel_size = { low = 1, high = 13 }",
        "shift_pixels = { low = 0, high = 7 }",
    )
    extremes = [
        parameter.extremes for parameter in parsed(*lines, steps=str(MAX_STEPS)).parameters.values()
    ]
    assert extremes == [(0, 0.1), (1, 55_000), (0, 0.999), (1, 13), (0, 7)]


@pytest.mark.parametrize("search_space", [PACKAGED, parsed(RATE, SCHEDULE, DECAY)])
def test_space_round_trips(search_space: Space) -> None:
    # A study compares the JSON of its space with the stored one: 0 is not 0.0.
    text = search_space.model_dump_json()
    again = Space.model_validate_json(text)
    assert again == search_space
    assert again.model_dump_json() == text


# The packaged space


def test_first_trial_of_the_packaged_space_is_the_papers() -> None:
    chosen = PACKAGED.paper_values()
    assert chosen == PaperCnnHyperparameters().model_dump()
    assert all(PACKAGED.parameters[name].contains(value) for name, value in chosen.items())
    trial = PACKAGED.scenario(chosen)
    assert (trial.hyperparameters, trial.steps) == (PaperCnnHyperparameters(), (1_000,))
    # 2,500 images are 50 batches of 50: 20 evaluations, the last after the last step.
    assert trial.grid == Grid(first=50, every=50)
    assert (trial.target_accuracies, trial.title) == ((0.99,), PACKAGED.title)
    PACKAGED.check_batches(256)  # at least 2,500 of the embedded 5,000 images are for training


def drawn(draw: st.DrawFn, name: str, parameter: Parameter) -> Value:
    """Any value of a parameter, extremes more often."""
    if parameter.choices is not None:
        return draw(st.sampled_from(parameter.choices))
    low, high = parameter.extremes
    inside = st.integers(low, high) if space.is_integer(name) else st.floats(low, high)
    return draw(st.sampled_from((low, high)) | inside)


@st.composite
def choices(draw: st.DrawFn) -> dict[str, Value]:
    """Values that a sampler may choose from the packaged space."""
    chosen: dict[str, Value] = {}
    for name, parameter in PACKAGED.parameters.items():
        if parameter.is_active(chosen):
            chosen[name] = drawn(draw, name, parameter)
    return chosen


@given(chosen=choices())
def test_every_choice_is_a_scenario_that_round_trips(
    tmp_path_factory: pytest.TempPathFactory, chosen: dict[str, Value]
) -> None:
    trial = PACKAGED.scenario(chosen)
    hyperparameters = trial.hyperparameters.model_dump()
    assert {name: hyperparameters[name] for name in chosen} == chosen
    inactive = set(hyperparameters) - set(chosen)
    assert inactive == (set() if chosen["schedule"] == "constant" else {"average_decay"})
    assert all(
        hyperparameters[name] == PaperCnnHyperparameters().model_dump()[name] for name in inactive
    )
    assert len(trial.grid.points(1_000)) >= 20

    path = written(tmp_path_factory.getbasetemp(), trial.to_toml())
    assert scenario.read(path) == trial


# Trials


def test_inactive_parameters_keep_the_papers_values() -> None:
    trial = parsed(RATE).scenario({"learning_rate": 0.01})
    assert trial.hyperparameters == PaperCnnHyperparameters(learning_rate=0.01)
    assert (trial.title, trial.steps) == ("A question", (1_000,))
    assert (trial.dataset, trial.target_accuracies) == ("auto", None)
    other = parsed(RATE, dataset='"mnist-5k"', target_accuracy="0.985").scenario({})
    assert (other.dataset, other.target_accuracies) == ("mnist-5k", (0.985,))


def test_steps_as_a_parameter() -> None:
    search_space = parsed(RATE, "steps = { low = 200, high = 2000 }", steps=None)
    chosen: dict[str, Value] = {"learning_rate": 0.01, "steps": 400}
    trial = search_space.scenario(chosen)
    assert trial.steps == (400,)
    assert trial.grid == Grid(first=20, every=20)  # 400 / 20, although 50 is configured
    assert trial.hyperparameters == PaperCnnHyperparameters(learning_rate=0.01)


@pytest.mark.parametrize(
    ("steps", "eval_every", "every"),
    [
        (1_000, 10, 10),
        (1_000, 51, 50),  # 1,000 / 20
        (1_019, 100, 50),  # 50.95 is cut
        (39, 50, 1),
    ],
)
def test_grid_in_steps(steps: int, eval_every: int, every: int) -> None:
    trial = parsed(RATE, steps=str(steps), eval_every=str(eval_every)).scenario({})
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
    search_space = parsed(
        "batch_size = { low = 10, high = 256 }", eval_every=None, eval_every_images=str(images)
    )
    trial = search_space.scenario({"batch_size": batch_size})
    assert trial.grid == Grid(first=every, every=every)
    assert trial.eval_every_images is None  # it can't express the grid's first point


@given(st.integers(1, 30) | st.integers(1, 5_000), st.integers(1, MAX_STEPS))
def test_trial_has_at_least_20_evaluations(steps: int, eval_every: int) -> None:
    """One of fewer steps is evaluated after each."""
    grid = parsed(RATE, steps=str(steps), eval_every=str(eval_every)).scenario({}).grid
    assert len(grid.points(steps)) >= min(20, steps)
    assert grid.every <= eval_every
    # No finer than necessary: one more step between two points would be too many.
    assert grid.every == eval_every or 20 * (grid.every + 1) > steps


# Conditions


@pytest.mark.parametrize(
    ("chosen", "active"),
    [
        ({"schedule": "constant", "shift_pixels": 2}, True),
        ({"schedule": "cosine", "shift_pixels": 1}, True),
        ({"schedule": "constant", "shift_pixels": 3}, False),
        ({"schedule": "one-cycle", "shift_pixels": 2}, False),
        ({"schedule": "constant"}, False),
    ],
)
def test_each_condition_must_be_met_by_any_of_its_values(
    chosen: dict[str, Value], *, active: bool
) -> None:
    when: dict[str, tuple[Value, ...]] = {
        "schedule": ("constant", "cosine"),
        "shift_pixels": (1, 2),
    }
    assert Parameter(low=0.0, high=0.5, when=when).is_active(chosen) is active


def test_parameter_under_an_inactive_one_is_inactive() -> None:
    lines = (
        'optimizer = { choices = ["adam", "momentum"] }',
        'schedule = { choices = ["constant", "cosine"], when = { optimizer = ["momentum"] } }',
        DECAY,
    )
    # The paper's optimizer is Adam, so the schedule is inactive, and so is a parameter that depends
    # on it, although the inactive schedule is the constant one.
    assert parsed(*lines).paper_values() == {"optimizer": "adam"}
    assert parsed(*lines).is_conditional
    assert not parsed(RATE, SCHEDULE).is_conditional


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
def test_paper_steps_are_nearest_to_its_longest_training(steps: str, expected: int) -> None:
    search_space = parsed(RATE, f"steps = {steps}", steps=None)
    assert search_space.paper_values() == {"learning_rate": 0.001, "steps": expected}
    assert search_space.scenario(search_space.paper_values()).steps == (expected,)


def test_inactive_parameter_may_exclude_the_papers_value() -> None:
    never = 'dropout_rate = { low = 0.1, high = 0.3, when = { schedule = ["cosine"] } }'
    search_space = parsed(SCHEDULE, never)
    assert search_space.paper_values() == {"schedule": "constant"}
    assert search_space.scenario(search_space.paper_values()).hyperparameters.dropout_rate == 0.5


# Values


def test_values_of_a_range() -> None:
    parameter = Parameter(low=32, high=256)
    assert all(map(parameter.contains, (32, 33, 256)))
    assert not any(map(parameter.contains, (31, 257, 31.9, math.inf, math.nan, "64", True)))
    assert not Parameter(low=0, high=1).contains(value=True)


@pytest.mark.parametrize(
    ("listed", "contained", "not_contained"),
    [
        ((False, True), (False, True), (0, 1, "true")),
        ((3, 5), (3, 5, 3.0), (4, "3")),
        ((0.0, 0.9), (0.0, 0.9, 0), (False, 0.5)),
        (("adam", "momentum"), ("adam", "momentum"), ("Adam", "", 0)),
        ((0, 1), (0, 1), (False, True)),
    ],
)
def test_choices_contain_their_values(
    listed: tuple[Value, ...], contained: tuple[Value, ...], not_contained: tuple[Value, ...]
) -> None:
    parameter = Parameter(choices=listed)
    assert parameter.extremes == listed
    assert all(map(parameter.contains, contained))
    assert not any(map(parameter.contains, not_contained))


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
    parsed(RATE).check_batches(1)
    search_space = parsed(line)
    search_space.check_batches(256)
    with pytest.raises(BenchError) as caught:
        search_space.check_batches(255)
    assert caught.value.message == (
        "the search space allows a batch_size of 256, but there are only 255 training images"
    )
    assert caught.value.hint == "lower it in the space file"


# Errors

ONE_OF_TWO = "give one of eval_every and eval_every_images"
STEPS = "give steps, either as one number or as a parameter"
EMPTY = "the space is empty: give at least one hyperparameter"
WHOLE_STEPS = "it should be a whole number from 1 to 1,000,000"


@pytest.mark.parametrize(
    ("parameters", "keys", "reason"),
    [
        ("", {}, EMPTY),
        ("steps = { low = 1, high = 9 }", {"steps": None}, EMPTY),
        (f"{RATE}\nsteps = {{ low = 1, high = 9 }}", {}, STEPS),
        (RATE, {"steps": None}, STEPS),
        (RATE, {"eval_every_images": "2500"}, ONE_OF_TWO),
        (RATE, {"eval_every": None}, ONE_OF_TWO),
        *(
            (f"{RATE}\nsteps = {steps}", {"steps": None}, f"steps can't be {value}: {WHOLE_STEPS}")
            for steps, value in (
                ("{ low = 0, high = 1000 }", "0"),
                ("{ low = 100, high = 1000001 }", "1000001"),
                ("{ low = 100.5, high = 1000.0 }", "100.5"),
                ("{ choices = [false, true] }", "False"),
            )
        ),
        (
            f'{SCHEDULE}\nsteps = {{ low = 1, high = 9, when = {{ schedule = ["cosine"] }} }}',
            {"steps": None},
            "steps can't have a condition: every trial needs them",
        ),
    ],
)
def test_contradictory_keys(
    tmp_path: Path, parameters: str, keys: dict[str, str | None], reason: str
) -> None:
    text = toml_text(parameters, **keys)
    assert read_error(tmp_path, text) == (reason, "fix the search space")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "learning_rate = { low = 0.0, high = 0.1 }",
            "0.0: it should be a number above 0, up to 10, like 0.001",
        ),
        (
            "dropout_rate = { low = 0.0, high = 1.0 }",
            "1.0: it should be a number from 0 to below 1, like 0.5",
        ),
        (
            "batch_size = { low = 32.0, high = 64.5 }",
            "32.0: it should be a whole number from 1 to 55,000, like 50",
        ),
        ('optimizer = { choices = ["adam", "a"] }', "'a': it should be one of adam, momentum"),
        ("batch_normalization = { choices = [false, 1] }", "1: it should be true or false"),
        (
            'learning_rate = { choices = [0.001, "1"] }',
            "'1': it should be a number above 0, up to 10, like 0.001",
        ),
    ],
)
def test_invalid_value_of_a_hyperparameter(tmp_path: Path, line: str, reason: str) -> None:
    message, _ = read_error(tmp_path, toml_text(line))
    assert message == f"{line.split(maxsplit=1)[0]} can't be {reason}"


DROPOUT = "dropout_rate = { low = 0.1, high = 0.5%s }"
SHIFT = "shift_pixels = { low = 0, high = 3%s }"
FLAG = "batch_normalization = { choices = [false, true] }"


@pytest.mark.parametrize(
    ("first", "second", "when", "reason"),
    [
        (RATE, DROPOUT, "schedule = [1]", "dropout_rate depends on schedule, which is not in "),
        (DROPOUT, SCHEDULE, "schedule = []", "dropout_rate depends on schedule, which must come "),
        (RATE, DROPOUT, "dropout_rate = [0.5]", "dropout_rate depends on dropout_rate, which must"),
        (SCHEDULE, DROPOUT, 'schedule = ["a"]', "dropout_rate: schedule is never ['a']"),
        (SCHEDULE, DROPOUT, "schedule = []", "dropout_rate: schedule is never nothing"),
        (
            DROPOUT % "", SHIFT, "dropout_rate = [0.5, 0.6]",
            "shift_pixels: dropout_rate is never [0.6]",
        ),
        (FLAG, SHIFT, "batch_normalization = [1]", "shift_pixels: batch_normalization is never"),
        # Between two whole numbers:
        (SHIFT % "", DROPOUT, "shift_pixels = [1.5]", "dropout_rate: shift_pixels is never [1.5]"),
    ],
)  # fmt: skip
def test_a_condition_that_is_never_met(
    tmp_path: Path, first: str, second: str, when: str, reason: str
) -> None:
    lines = f"{first}\n{second}".replace("%s", f", when = {{ {when} }}")
    assert read_error(tmp_path, toml_text(lines))[0].startswith(reason)


@pytest.mark.parametrize(
    ("line", "excluded"),
    [
        ("batch_size = { low = 10, high = 49 }", "batch_size excludes 50"),
        ("dropout_rate = { choices = [0.4, 0.6] }", "dropout_rate excludes 0.5"),
        ("batch_normalization = { choices = [true] }", "batch_normalization excludes False"),
        # The paper's schedule is constant, so average_decay is active with its value 0.
        (f"{SCHEDULE}\n{DECAY.replace('[0.0, ', '[0.5, ')}", "average_decay excludes 0.0"),
    ],
)
def test_excluded_paper_value(tmp_path: Path, line: str, excluded: str) -> None:
    message, _ = read_error(tmp_path, toml_text(line))
    assert message == f"{excluded}, but the paper's configuration is the first trial"


def test_unknown_hyperparameter(tmp_path: Path) -> None:
    message, _ = read_error(tmp_path, toml_text("learning_rat = { low = 1e-4, high = 1e-1 }"))
    assert message.startswith("paper-cnn has no learning_rat; it has learning_rate, ")
    assert message.endswith(", batch_normalization, steps")


BOTH = "give either choices, or low and high"
NEITHER = "give low and high, or choices"
LISTED = "choices must be one or more different values"
LOGARITHM = "log needs more than 0"


@pytest.mark.parametrize(
    ("name", "table", "reason"),
    [
        ("learning_rate", "{ low = 0.1, high = 0.01 }", "low is 0.1, not below high, 0.01"),
        ("batch_size", "{ low = 50, high = 50 }", "low is 50, not below high, 50"),
        ("shift_pixels", "{ low = 0, high = 3, log = true }", f"low is 0: {LOGARITHM}"),
        ("learning_rate", "{ low = -0.1, high = 1, log = true }", f"low is -0.1: {LOGARITHM}"),
        ("learning_rate", "{ low = 0.001 }", NEITHER),
        ("learning_rate", "{ high = 0.001 }", NEITHER),
        ("learning_rate", "{ log = true }", NEITHER),
        ("learning_rate", "{ choices = [0.001], low = 0.1 }", BOTH),
        ("learning_rate", "{ choices = [0.001], high = 0.1 }", BOTH),
        ("learning_rate", "{ choices = [0.001, 0.1], log = true }", BOTH),
        ("optimizer", "{ choices = [] }", LISTED),
        ("optimizer", '{ choices = ["adam", "momentum", "adam"] }', LISTED),
        ("learning_rate", "{ choices = [0.001, 1, 1.0] }", LISTED),
        ("learning_rate", "0.1", "it should be a table"),
    ],
)
def test_a_bad_parameter(tmp_path: Path, name: str, table: str, reason: str) -> None:
    message, hint = read_error(tmp_path, toml_text(f"{name} = {table}"))
    shown = tomllib.loads(f"it = {table}")["it"]
    value = "" if isinstance(shown, dict) else f" = {shown}"
    assert message == f"parameters.{name}{value}: {reason}"
    assert hint == f"choose another parameters.{name}"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("steps", "0", "0 is not valid; give a whole number from 1 to 1,000,000"),
        ("steps", "1000001", "1000001 is not valid; give a whole number from 1 to 1,000,000"),
        ("steps", "[1000]", "[1000] is not valid; give a whole number from 1 to 1,000,000"),
        ("eval_every", "0", "0 is not valid; give a whole number from 1 to 1,000,000"),
        ("train_seconds", "0", "0 is not valid; give a number above 0"),
        ("target_accuracy", "9", "9 is not valid; give a number above 0, up to 1"),
        ("target_accuracy", "nan", "nan is not valid; give a number above 0, up to 1"),
        ("model", '"lenet"', "'lenet' is not valid; give one of paper-cnn"),
        ("model", '"lenet-5"', "'lenet-5': a study searches paper-cnn alone"),
        ("title", '""', "'' is not valid; give a text of 1 to 200 characters"),
    ],
)
def test_a_bad_key(tmp_path: Path, name: str, value: str, reason: str) -> None:
    message, hint = read_error(tmp_path, toml_text(RATE, **{name: value}))
    assert f"{message}; {hint}".startswith(f"{name} = {reason}")


@pytest.mark.parametrize(
    ("table", "key", "reason"),
    [
        ('choices = "adam"', "choices", "'adam': it should be a list in brackets"),
        ("low = 0, high = 1, log = 1", "log", "1 is not valid; give true or false"),
        ("low = 0, high = 1, when = 1", "when", "1: it should be a table"),
        ("low = 0, high = 1, when = { x = 1 }", "when.x", "1: it should be a list in brackets"),
        ("low = 1e-4, high = inf", "high", ""),
        ("choices = [0.001, [0.1]]", "choices", ""),
        ("choices = [0.001, nan]", "choices", ""),
    ],
)
def test_a_bad_key_of_a_parameter(tmp_path: Path, table: str, key: str, reason: str) -> None:
    message, hint = read_error(tmp_path, toml_text(f"learning_rate = {{ {table} }}"))
    assert f"{message}; {hint}".startswith(f"parameters.learning_rate.{key} = {reason}")


MISSING = toml_text().replace("[parameters]", "")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (toml_text(RATE, title=None), "key title is missing", "add it"),
        (MISSING, "key parameters is missing", "add it"),
        (MISSING + "parameters = 3", "parameters = 3: it should be a table", "choose another para"),
        (
            toml_text(RATE, datset='"mnist"'),
            "unknown key datset",
            "did you mean dataset?",
        ),
        (
            toml_text("learning_rate = { low = 1e-4, hihg = 1e-1 }"),
            "unknown key parameters.learning_rate.hihg",
            "did you mean high?",
        ),
    ],
)
def test_missing_and_unknown_keys(tmp_path: Path, text: str, message: str, hint: str) -> None:
    found, advice = read_error(tmp_path, text)
    assert found == message
    assert advice.startswith(hint)
