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


def read_error(path: Path) -> BenchError:
    """Error of reading a file; checked to be one line."""
    with pytest.raises(BenchError) as caught:
        space.read(path)
    assert caught.value.exit_status == EXIT_USAGE
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


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


def test_parameters_keep_their_order() -> None:
    # Conditions refer to preceding parameters; sampling goes from top to bottom.
    assert list(parsed(SCHEDULE, RATE, DECAY).parameters) == [
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
    extremes = [
        parameter.extremes for parameter in parsed(*lines, steps=str(MAX_STEPS)).parameters.values()
    ]
    assert extremes == [(1, 55_000), (0, 0.999), (1, 13), (0, 7)]


@pytest.mark.parametrize("search_space", [PACKAGED, parsed(RATE, SCHEDULE, DECAY)])
def test_space_round_trips(search_space: Space) -> None:
    # A study compares the JSON of its space with the stored one: 0 is not 0.0.
    text = search_space.model_dump_json()
    again = Space.model_validate_json(text)
    assert again == search_space
    assert again.model_dump_json() == text


# The packaged space


def test_packaged_space_has_every_hyperparameter() -> None:
    assert set(PACKAGED.parameters) == set(PaperCnnHyperparameters.model_fields)
    assert PACKAGED.steps == 1_000
    assert PACKAGED.target_accuracy == 0.99
    assert PACKAGED.is_conditional


def test_packaged_space_contains_the_papers_configuration() -> None:
    chosen = PACKAGED.paper_values()
    assert chosen == PaperCnnHyperparameters().model_dump()
    assert all(PACKAGED.parameters[name].contains(value) for name, value in chosen.items())


def test_first_trial_of_the_packaged_space_matches_the_paper() -> None:
    trial = PACKAGED.scenario(PACKAGED.paper_values())
    assert trial.hyperparameters == PaperCnnHyperparameters()
    assert trial.steps == (1_000,)
    # 2,500 images are 50 batches of 50: 20 evaluations, the last after the last step.
    assert trial.grid == Grid(first=50, every=50)
    assert trial.target_accuracies == (0.99,)
    assert trial.title == PACKAGED.title


def test_packaged_space_fits_the_sample() -> None:
    # At least 2,500 of the embedded 5,000 images are for training.
    PACKAGED.check_batches(256)


@pytest.mark.parametrize(
    ("schedule", "active"), [("constant", True), ("one-cycle", False), ("cosine", False)]
)
def test_packaged_space_averages_constant_rates_only(schedule: str, *, active: bool) -> None:
    assert PACKAGED.parameters["average_decay"].is_active({"schedule": schedule}) is active


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
    assert trial.steps == (1_000,)
    assert trial.dataset == "auto"
    assert trial.target_accuracies is None
    assert trial.title == "A question"


def test_a_trial_has_the_spaces_images_and_target() -> None:
    search_space = parsed(RATE, dataset='"mnist-5k"', target_accuracy="0.985")
    trial = search_space.scenario({"learning_rate": 0.01})
    assert (trial.dataset, trial.target_accuracies) == ("mnist-5k", (0.985,))


def test_steps_as_a_parameter() -> None:
    search_space = parsed(RATE, "steps = { low = 200, high = 2000 }", steps=None)
    chosen: dict[str, Value] = {"learning_rate": 0.01, "steps": 400}
    trial = search_space.scenario(chosen)
    assert trial.steps == (400,)
    assert trial.grid == Grid(first=20, every=20)  # 400 / 20, although 50 is configured
    assert trial.hyperparameters == PaperCnnHyperparameters(learning_rate=0.01)


def test_fixed_steps() -> None:
    assert parsed(RATE).scenario({"learning_rate": 0.01}).steps == (1_000,)


@pytest.mark.parametrize(
    ("steps", "eval_every", "every"),
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


def test_grid_in_images_of_the_papers_batch() -> None:
    search_space = parsed(RATE, eval_every=None, eval_every_images="500")
    assert search_space.scenario({}).grid == Grid(first=10, every=10)


@given(st.integers(20, MAX_STEPS), st.integers(1, MAX_STEPS))
def test_trial_has_at_least_20_evaluations(steps: int, eval_every: int) -> None:
    grid = parsed(RATE, steps=str(steps), eval_every=str(eval_every)).scenario({}).grid
    assert len(grid.points(steps)) >= 20
    assert grid.every <= eval_every
    # No finer than necessary: one more step between two points would be too many.
    assert grid.every == eval_every or 20 * (grid.every + 1) > steps


@given(st.integers(1, 19), st.integers(1, MAX_STEPS))
def test_trial_of_fewer_than_20_steps_is_evaluated_after_each(steps: int, eval_every: int) -> None:
    grid = parsed(RATE, steps=str(steps), eval_every=str(eval_every)).scenario({}).grid
    assert list(grid.points(steps)) == list(range(1, steps + 1))


# Conditions


def test_a_condition_is_any_of_its_values() -> None:
    parameter = Parameter(choices=(0.0, 0.9), when={"schedule": ("constant", "cosine")})
    active = [
        parameter.is_active({"schedule": name}) for name in ("constant", "cosine", "one-cycle")
    ]
    assert active == [True, True, False]


def test_all_conditions_must_be_met() -> None:
    when: dict[str, tuple[Value, ...]] = {"schedule": ("constant",), "shift_pixels": (1, 2)}
    parameter = Parameter(low=0.0, high=0.5, when=when)
    assert parameter.is_active({"schedule": "constant", "shift_pixels": 2})
    assert not parameter.is_active({"schedule": "constant", "shift_pixels": 3})
    assert not parameter.is_active({"schedule": "cosine", "shift_pixels": 2})


def test_parameter_without_condition_is_always_active() -> None:
    assert Parameter(low=0, high=1).is_active({})
    assert not parsed(RATE, SCHEDULE).is_conditional
    assert parsed(SCHEDULE, DECAY).is_conditional


def test_parameter_under_an_inactive_one_is_inactive() -> None:
    lines = (
        'optimizer = { choices = ["adam", "momentum"] }',
        'schedule = { choices = ["constant", "cosine"], when = { optimizer = ["momentum"] } }',
        DECAY,
    )
    # The paper's optimizer is Adam, so the schedule is inactive, and so is a parameter that depends
    # on it, although the inactive schedule is the constant one.
    assert parsed(*lines).paper_values() == {"optimizer": "adam"}


def test_a_condition_on_steps() -> None:
    lines = (
        "steps = { choices = [1000, 10000] }",
        "average_decay = { choices = [0.0, 0.9], when = { steps = [10000] } }",
    )
    search_space = parsed(RATE, *lines, steps=None)
    assert search_space.parameters["average_decay"].is_active({"steps": 10_000})
    assert not search_space.parameters["average_decay"].is_active({"steps": 1_000})


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


@pytest.mark.parametrize("value", [32, 33, 256])
def test_range_contains_its_ends(value: Value) -> None:
    assert Parameter(low=32, high=256).contains(value)


@pytest.mark.parametrize("value", [31, 257, 31.9, math.inf, math.nan, "64", True])
def test_values_outside_a_range(value: Value) -> None:
    assert not Parameter(low=32, high=256).contains(value)


def test_range_contains_no_booleans() -> None:
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
    search_space = parsed(line)
    search_space.check_batches(256)
    with pytest.raises(BenchError) as caught:
        search_space.check_batches(255)
    assert caught.value.message == (
        "the search space allows a batch_size of 256, but there are only 255 training images"
    )
    assert caught.value.hint == "lower it in the space file"


def test_space_without_batch_size() -> None:
    parsed(RATE).check_batches(100)


# Errors

ONE_OF_TWO = "give one of eval_every and eval_every_images"
STEPS = "give steps, either as one number or as a parameter"
EMPTY = "the space is empty: give at least one hyperparameter"


@pytest.mark.parametrize(
    ("parameters", "keys", "reason"),
    [
        ((), {}, EMPTY),
        (("steps = { low = 1, high = 9 }",), {"steps": None}, EMPTY),  # only steps
        ((RATE, "steps = { low = 1, high = 9 }"), {}, STEPS),
        ((RATE,), {"steps": None}, STEPS),
        ((RATE,), {"eval_every_images": "2500"}, ONE_OF_TWO),
        ((RATE,), {"eval_every": None}, ONE_OF_TWO),
    ],
)
def test_contradictory(
    tmp_path: Path, parameters: tuple[str, ...], keys: dict[str, str | None], reason: str
) -> None:
    path = written(tmp_path, toml_text(*parameters, **keys))
    error = read_error(path)
    assert error.message == f"{path}: {reason}"
    assert error.hint == "fix the search space"


def test_unknown_hyperparameter(tmp_path: Path) -> None:
    path = written(tmp_path, toml_text("learning_rat = { low = 1e-4, high = 1e-1 }"))
    error = read_error(path)
    assert error.message.startswith(
        f"{path}: paper-cnn has no learning_rat; it has learning_rate, "
    )
    assert error.message.endswith(", batch_normalization, steps")
    assert error.hint == "fix the search space"


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
def test_invalid_value_of_a_hyperparameter(tmp_path: Path, line: str, reason: str) -> None:
    path = written(tmp_path, toml_text(line))
    error = read_error(path)
    assert error.message == f"{path}: {reason}"
    assert error.hint == "fix the search space"


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ((DECAY,), "average_decay depends on schedule, which is not in the space"),
        ((DECAY, SCHEDULE), "average_decay depends on schedule, which must come before it"),
        (
            (RATE, "dropout_rate = { low = 0.1, high = 0.5, when = { colour = [1] } }"),
            "dropout_rate depends on colour, which is not in the space",
        ),
        (
            ("dropout_rate = { low = 0.1, high = 0.5, when = { dropout_rate = [0.5] } }",),
            "dropout_rate depends on dropout_rate, which must come before it",
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
    path = written(tmp_path, toml_text(*parameters))
    error = read_error(path)
    assert error.message == f"{path}: {reason}"
    assert error.hint == "fix the search space"


@pytest.mark.parametrize(
    ("line", "excluded"),
    [
        ("batch_size = { low = 64, high = 256 }", "batch_size excludes 50"),
        ("batch_size = { low = 10, high = 49 }", "batch_size excludes 50"),
        ("dropout_rate = { choices = [0.4, 0.6] }", "dropout_rate excludes 0.5"),
        ('schedule = { choices = ["cosine"] }', "schedule excludes 'constant'"),
        ("batch_normalization = { choices = [true] }", "batch_normalization excludes False"),
    ],
)
def test_excluded_paper_value(tmp_path: Path, line: str, excluded: str) -> None:
    path = written(tmp_path, toml_text(line))
    error = read_error(path)
    assert error.message == (
        f"{path}: {excluded}, but the paper's configuration is the first trial"
    )
    assert error.hint == "fix the search space"


BOTH = "give either choices, or low and high"
NEITHER = "give low and high, or choices"
LISTED = "choices must be one or more different values"
LOGARITHM = "log needs more than 0"


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
    path = written(tmp_path, toml_text(f"{name} = {table}"))
    error = read_error(path)
    shown = tomllib.loads(f"it = {table}")["it"]
    value = "" if isinstance(shown, dict) else f" = {shown}"
    assert error.message == f"{path}: parameters.{name}{value}: {reason}"
    assert error.hint == f"choose another parameters.{name}"


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
    path = written(tmp_path, toml_text(*parameters))
    error = read_error(path)
    assert error.message == f"{path}: parameters.{key} = {reason}"
    assert error.hint == f"choose another parameters.{key}"


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
    path = written(tmp_path, toml_text(RATE, **keys))
    error = read_error(path)
    assert error.message == f"{path}: {key} = {reason}"
    assert error.hint == f"choose another {key}"


@pytest.mark.parametrize("key", ["title", "model"])
def test_a_missing_key(tmp_path: Path, key: str) -> None:
    path = written(tmp_path, toml_text(RATE, **{key: None}))
    error = read_error(path)
    assert (error.message, error.hint) == (f"{path}: key {key} is missing", "add it")


def test_missing_parameters(tmp_path: Path) -> None:
    path = written(tmp_path, toml_text().replace("[parameters]", ""))
    error = read_error(path)
    assert (error.message, error.hint) == (f"{path}: key parameters is missing", "add it")


def test_parameters_that_are_not_a_table(tmp_path: Path) -> None:
    path = written(tmp_path, toml_text(parameters="3").replace("[parameters]", ""))
    error = read_error(path)
    assert error.message == f"{path}: parameters = 3: it should be a table"
    assert error.hint == "choose another parameters"


def test_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, toml_text(RATE, datset='"mnist"'))
    error = read_error(path)
    assert error.message == f"{path}: unknown key datset"
    assert error.hint.startswith("did you mean dataset? known are title, model, dataset, steps, ")


def test_unknown_key_of_a_parameter_names_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, toml_text("learning_rate = { low = 1e-4, hihg = 1e-1 }"))
    error = read_error(path)
    assert error.message == f"{path}: unknown key parameters.learning_rate.hihg"
    assert error.hint == "did you mean high? known are low, high, log, choices, when"


def test_a_parameter_given_twice(tmp_path: Path) -> None:
    path = written(tmp_path, toml_text(RATE, RATE))
    error = read_error(path)
    assert error.message.startswith(f"{path} is not TOML: ")
    assert "line 7" in error.message
    assert error.hint == "fix that line"


def test_invalid_toml(tmp_path: Path) -> None:
    path = written(tmp_path, 'title = "A question"\nmodel paper-cnn\n')
    error = read_error(path)
    assert error.message.startswith(f"{path} is not TOML: ")
    assert "line 2" in error.message
    assert error.hint == "fix that line"


def test_an_empty_file(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    assert read_error(path).message == f"{path}: key title is missing"


def test_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "gone.toml"
    assert read_error(path).message == f"can't read {path}: No such file or directory"


# Python limits conversion to 4,300 digits, and nesting depth.
BEYOND = {"decimal": "9" * 5_000, "hexadecimal": "0x" + "f" * 5_000, "nested": "[" * 5_000}


@pytest.mark.parametrize("kind", BEYOND)
@pytest.mark.parametrize("name", ["learning_rate", "batch_size"])
def test_huge_bound(tmp_path: Path, name: str, kind: str) -> None:
    path = written(tmp_path, toml_text(f"{name} = {{ low = 1, high = {BEYOND[kind]} }}"))
    assert str(path) in read_error(path).message


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
def test_invalid_steps(tmp_path: Path, steps: str) -> None:
    path = written(tmp_path, toml_text(RATE, f"steps = {steps}", steps=None))
    assert "steps" in read_error(path).message.removeprefix(str(path))


def test_conditional_steps(tmp_path: Path) -> None:
    steps = 'steps = { low = 100, high = 1000, when = { schedule = ["cosine"] } }'
    path = written(tmp_path, toml_text(SCHEDULE, steps, steps=None))
    assert "steps" in read_error(path).message.removeprefix(str(path))


def test_excluded_paper_value_of_an_active_condition(tmp_path: Path) -> None:
    # The paper's schedule is constant, so average_decay is active with its value 0.
    path = written(tmp_path, toml_text(SCHEDULE, DECAY.replace("[0.0, 0.9]", "[0.9, 0.99]")))
    assert "average_decay excludes 0.0" in read_error(path).message


def test_integer_among_float_choices() -> None:
    search_space = parsed("label_smoothing = { choices = [0, 0.1] }")
    assert search_space.paper_values() == {"label_smoothing": 0}


def test_equal_choices(tmp_path: Path) -> None:
    path = written(tmp_path, toml_text("learning_rate = { choices = [0.001, 1, 1.0] }"))
    assert LISTED in read_error(path).message


def test_a_condition_between_two_whole_numbers(tmp_path: Path) -> None:
    lines = (
        "shift_pixels = { low = 0, high = 3 }",
        "dropout_rate = { low = 0.1, high = 0.5, when = { shift_pixels = [1.5] } }",
    )
    path = written(tmp_path, toml_text(*lines))
    assert "shift_pixels is never [1.5]" in read_error(path).message


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
    path = written(tmp_path, toml_text(f"learning_rate = {line}"))
    error = read_error(path)
    assert error.message.startswith(f"{path}: parameters.learning_rate.{key} = ")
    assert error.hint == f"choose another parameters.learning_rate.{key}"
