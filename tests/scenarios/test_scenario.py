"""Scenario files: valid ones, and the messages for invalid ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_bench.core.errors import EXIT_USAGE, BenchError
from mnist_bench.core.limits import DATASET_CHOICES, MAX_BATCH_SIZE, MAX_STEPS
from mnist_bench.scenarios import paper, scenario
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.scenarios.scenario import Grid, Scenario

KEYS = {
    "title": '"A title"',
    "model": '"paper-cnn"',
    "steps": "[1000, 2500]",
    "eval_every": "100",
}
"""Keys of a valid scenario with their values as TOML."""
SCENARIO = Scenario(
    title="A title",
    model="paper-cnn",
    steps=(1_000, 2_500),
    eval_every=100,
    hyperparameters=PaperCnnHyperparameters(),
)
"""The parsed scenario."""

KNOWN = (
    "learning_rate, batch_size, dropout_rate, optimizer, schedule, label_smoothing, "
    "shift_pixels, rotation_degrees, zoom_share, average_decay, conv1_filters, "
    "conv1_kernel_size, conv2_filters, conv2_kernel_size, dense_units, batch_normalization"
)


def toml(table: str = "", **changes: str | None) -> str:
    """A valid scenario with changed keys, without those that are None, and with this table."""
    keys = {name: value for name, value in (KEYS | changes).items() if value is not None}
    lines = [f"{name} = {value}" for name, value in keys.items()]
    return "\n".join([*lines, "[hyperparameters]", table, ""])


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def error_line(call: Callable[[], object]) -> str:
    """The one-line message of a usage error."""
    with pytest.raises(BenchError) as caught:
        call()
    line = str(caught.value)
    assert caught.value.exit_status == EXIT_USAGE
    assert len(line.splitlines()) == 1
    return line


# Names and files


def test_table_1_is_the_papers_protocol() -> None:
    assert scenario.read(scenario.find("table-1")) == paper.PROTOCOL


@pytest.mark.parametrize("name", scenario.packaged_names())
def test_packaged_file_is_valid(name: str) -> None:
    parsed = scenario.read(scenario.find(name))
    assert len(parsed.grid.points(parsed.steps[-1])) >= 1
    assert parsed.title


def test_smoke_is_small() -> None:
    parsed = scenario.read(scenario.find("smoke"))
    assert parsed.steps == (200,)
    assert parsed.dataset == "mnist-5k"


def test_a_plain_name_is_a_packaged_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "smoke").write_text("the user's file", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert scenario.find("smoke") == scenario.packaged_folder() / "smoke.toml"


def test_a_path_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, toml())
    assert scenario.find(str(path)) == path
    monkeypatch.chdir(tmp_path)
    assert scenario.find("mine.toml") == Path("mine.toml")
    assert scenario.find("./mine.toml") == Path("mine.toml")


def test_unknown_name_suggests_the_nearest() -> None:
    line = error_line(lambda: scenario.find("tabel-1"))
    assert line.startswith("there is no scenario 'tabel-1'; did you mean table-1? there are ")
    assert all(name in line for name in scenario.packaged_names())


def test_unknown_name_lists_all() -> None:
    line = error_line(lambda: scenario.find("xyzzy"))
    assert "did you mean" not in line
    assert "table-1" in line


@pytest.mark.parametrize(
    "name", ["table-1.toml", "./smoke", "no/such.toml", "no\\such", "a\0.toml"]
)
def test_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert error_line(lambda: scenario.find(name)).startswith("there is no scenario file ")


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    assert "there is no scenario file" in error_line(lambda: scenario.find(str(folder)))
    assert error_line(lambda: scenario.read(folder)).startswith(f"can't read {folder}: ")


def test_deleted_file(tmp_path: Path) -> None:
    path = tmp_path / "gone.toml"
    assert error_line(lambda: scenario.read(path)).startswith(f"can't read {path}: ")


# Valid files


def test_missing_keys_have_defaults(tmp_path: Path) -> None:
    parsed = scenario.read(written(tmp_path, toml()))
    assert parsed == SCENARIO
    assert parsed.dataset == "auto"
    assert parsed.grid == Grid(first=1, every=100)
    assert parsed.target_accuracies is None
    assert not parsed.save_weights


def test_the_table_of_hyperparameters_may_be_missing(tmp_path: Path) -> None:
    text = toml().replace("[hyperparameters]", "")
    assert scenario.read(written(tmp_path, text)) == SCENARIO


def test_everything_given(tmp_path: Path) -> None:
    text = toml(
        "learning_rate = 1\nbatch_size = 64\ndropout_rate = 0.0",
        dataset='"mnist"',
        eval_first="100",
        target_accuracies="[0.9, 1.0]",
        save_weights="true",
    )
    parsed = scenario.read(written(tmp_path, text))
    assert parsed.dataset == "mnist"
    assert parsed.grid == Grid(first=100, every=100)
    assert parsed.target_accuracies == (0.9, 1.0)
    assert parsed.save_weights
    assert parsed.hyperparameters == PaperCnnHyperparameters(
        learning_rate=1.0, batch_size=64, dropout_rate=0.0
    )


def test_byte_order_mark_of_windows_editors(tmp_path: Path) -> None:
    assert scenario.read(written(tmp_path, f"\ufeff{toml()}")) == SCENARIO


def test_line_ends_of_windows_editors(tmp_path: Path) -> None:
    assert scenario.read(written(tmp_path, toml().replace("\n", "\r\n"))) == SCENARIO


def test_limits_are_allowed(tmp_path: Path) -> None:
    text = toml("learning_rate = 10\nbatch_size = 55_000", steps="[1, 1_000_000]", eval_every="1")
    parsed = scenario.read(written(tmp_path, text))
    assert parsed.steps == (1, MAX_STEPS)
    assert parsed.hyperparameters.batch_size == MAX_BATCH_SIZE


@pytest.mark.parametrize(
    ("images", "batch_size", "every"),
    [(5_000, 50, 100), (5_000, 64, 78), (100, 64, 2), (10, 50, 1)],  # 78.1 and 1.6 are rounded
)
def test_grid_in_images(tmp_path: Path, images: int, batch_size: int, every: int) -> None:
    text = toml(f"batch_size = {batch_size}", eval_every=None, eval_every_images=f"{images}")
    assert scenario.read(written(tmp_path, text)).grid == Grid(first=1, every=every)


# Invalid files

TOO_SMALL = "input should be greater than or equal to 1"
NOT_AN_INTEGER = "input should be a valid integer"
NOT_A_NUMBER = "input should be a valid number"
ONE_OF_TWO = "give one of eval_every and eval_every_images"


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"steps": "[0]"}, f"steps = 0: {TOO_SMALL}"),
        ({"steps": "[-1]"}, f"steps = -1: {TOO_SMALL}"),
        (
            {"steps": "[1000000000000]"},
            "steps = 1000000000000: input should be less than or equal to 1000000",
        ),
        ({"steps": "[2500, 1000]"}, "steps must rise, without duplicates"),
        ({"steps": "[1000, 1000]"}, "steps must rise, without duplicates"),
        ({"steps": "[]"}, "steps = []: it should not be empty"),
        ({"steps": "1000"}, "steps = 1000: it should be a list in brackets"),
        ({"steps": '["1000"]'}, f"steps = '1000': {NOT_AN_INTEGER}"),
        ({"steps": "[1000.0]"}, f"steps = 1000.0: {NOT_AN_INTEGER}"),
        ({"steps": "[true]"}, f"steps = True: {NOT_AN_INTEGER}"),
        ({"eval_every": '"100"'}, f"eval_every = '100': {NOT_AN_INTEGER}"),
        ({"eval_every": "100.0"}, f"eval_every = 100.0: {NOT_AN_INTEGER}"),
        ({"eval_every": "true"}, f"eval_every = True: {NOT_AN_INTEGER}"),
        ({"eval_every": "0"}, f"eval_every = 0: {TOO_SMALL}"),
        ({"eval_every": None}, ONE_OF_TWO),
        ({"eval_every_images": "5000"}, ONE_OF_TWO),
        ({"eval_every": None, "eval_every_images": "0"}, f"eval_every_images = 0: {TOO_SMALL}"),
        ({"eval_first": "0"}, f"eval_first = 0: {TOO_SMALL}"),
        (
            {"eval_first": "1001"},
            "eval_first is 1001, after the last of 1000 steps: nothing would be evaluated",
        ),
        ({"model": '"lenet"'}, "model = 'lenet': input should be 'paper-cnn'"),
        ({"dataset": '"fashion"'}, "dataset = 'fashion': input should be 'auto', 'mnist' or"),
        ({"title": "5"}, "title = 5: input should be a valid string"),
        ({"title": '""'}, "title = '': string should have at least 1 character"),
        ({"save_weights": "1"}, "save_weights = 1: input should be a valid boolean"),
        ({"target_accuracies": '["high"]'}, f"target_accuracies = 'high': {NOT_A_NUMBER}"),
        ({"target_accuracies": "[0.0]"}, "target_accuracies = 0.0: input should be greater than 0"),
        (
            {"target_accuracies": "[1.5]"},
            "target_accuracies = 1.5: input should be less than or equal to 1",
        ),
        ({"title": None}, "key title is missing"),
        ({"model": None}, "key model is missing"),
        ({"steps": None}, "key steps is missing"),
    ],
)
def test_bad_key(tmp_path: Path, keys: dict[str, str | None], reason: str) -> None:
    path = written(tmp_path, toml(**keys))
    assert error_line(lambda: scenario.read(path)).startswith(f"{path}: {reason}")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("learning_rate = 0", "learning_rate = 0: input should be greater than 0"),
        ("learning_rate = -0.1", "learning_rate = -0.1: input should be greater than 0"),
        ("learning_rate = nan", "learning_rate = nan: input should be a finite number"),
        ("learning_rate = inf", "learning_rate = inf: input should be a finite number"),
        ("learning_rate = 11", "learning_rate = 11: input should be less than or equal to 10"),
        ('learning_rate = "0.1"', f"learning_rate = '0.1': {NOT_A_NUMBER}"),
        ("learning_rate = true", f"learning_rate = True: {NOT_A_NUMBER}"),
        ("batch_size = 0", f"batch_size = 0: {TOO_SMALL}"),
        ("batch_size = 55001", "batch_size = 55001: input should be less than or equal to 55000"),
        ("batch_size = 50.0", f"batch_size = 50.0: {NOT_AN_INTEGER}"),
        ("batch_size = true", f"batch_size = True: {NOT_AN_INTEGER}"),
        ("dropout_rate = 1.0", "dropout_rate = 1.0: input should be less than 1"),
        (
            "dropout_rate = -0.5",
            "dropout_rate = -0.5: input should be greater than or equal to 0",
        ),
    ],
)
def test_bad_hyperparameter(tmp_path: Path, line: str, reason: str) -> None:
    path = written(tmp_path, toml(line))
    assert error_line(lambda: scenario.read(path)).startswith(f"{path}: hyperparameters.{reason}")


def test_hyperparameters_that_are_not_a_table(tmp_path: Path) -> None:
    path = written(tmp_path, toml(hyperparameters="3").replace("[hyperparameters]", ""))
    assert error_line(lambda: scenario.read(path)).startswith(f"{path}: hyperparameters = 3: ")


def test_unknown_key_suggests_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, toml(datset='"mnist"'))
    line = error_line(lambda: scenario.read(path))
    assert line.startswith(f"{path}: unknown key datset; did you mean dataset? known are title, ")


def test_unknown_key_lists_all(tmp_path: Path) -> None:
    path = written(tmp_path, toml(colour='"blue"'))
    line = error_line(lambda: scenario.read(path))
    assert line.startswith(f"{path}: unknown key colour; known are title, model, steps, ")


def test_unknown_hyperparameter_suggests_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, toml("learning_rat = 0.1"))
    assert error_line(lambda: scenario.read(path)) == (
        f"{path}: unknown key hyperparameters.learning_rat; did you mean learning_rate? "
        f"known are {KNOWN}"
    )


def test_invalid_toml_is_reported_with_file_and_line(tmp_path: Path) -> None:
    path = written(tmp_path, 'title = "A title"\nmodel paper-cnn\n')
    line = error_line(lambda: scenario.read(path))
    assert line.startswith(f"{path} is not TOML: ")
    assert "line 2" in line


def test_key_given_twice(tmp_path: Path) -> None:
    path = written(tmp_path, 'title = "A"\nsteps = [1]\ntitle = "B"\n')
    line = error_line(lambda: scenario.read(path))
    assert line.startswith(f"{path} is not TOML: ")
    assert "line 3" in line


def test_text_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes('title = "Größe"\n'.encode("latin-1"))
    line = error_line(lambda: scenario.read(path))
    assert line.startswith(f"{path} is not TOML: 'utf-8' codec can't decode byte 0xf6 ")


def test_empty_file(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    assert error_line(lambda: scenario.read(path)).startswith(f"{path}: key title is missing")


def test_a_long_value_is_truncated(tmp_path: Path) -> None:
    digits = "1" * 500
    path = written(tmp_path, toml(steps=f'"{digits}"'))
    line = error_line(lambda: scenario.read(path))
    assert line.startswith(f"{path}: steps = '{digits[:50]}")
    assert len(line) < len(str(path)) + 200


# Python does not parse numbers of more than 4,300 digits, and its parsers have a depth limit.
UNPARSABLE = {"decimal": "9" * 5_000, "hexadecimal": "0x" + "f" * 5_000, "nested": "[" * 5_000}


@pytest.mark.parametrize("kind", UNPARSABLE)
def test_value_that_python_can_not_parse(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, toml(steps=f"[{UNPARSABLE[kind]}]"))
    assert str(path) in error_line(lambda: scenario.read(path))


@pytest.mark.parametrize("kind", UNPARSABLE)
def test_setting_that_python_can_not_parse(kind: str) -> None:
    setting = ("batch_size", UNPARSABLE[kind])
    assert "batch_size" in error_line(lambda: SCENARIO.with_changes(settings=(setting,)))


# Changes from the command line


def test_a_changed_scenario_has_a_changed_title() -> None:
    assert SCENARIO.with_changes(steps=(500,)).title == "Changed from: A title"
    long = SCENARIO.model_copy(update={"title": "x" * 200})
    assert long.with_changes(steps=(500,)).title == f"Changed from: {'x' * 186}"


def test_no_changes() -> None:
    assert SCENARIO.with_changes() == SCENARIO


def test_steps_are_sorted_and_deduplicated() -> None:
    changed = SCENARIO.with_changes(steps=(500, 100, 500))
    assert changed.steps == (100, 500)
    assert SCENARIO.steps == (1_000, 2_500)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (("learning_rate", "0.01"), {"learning_rate": 0.01}),
        (("learning_rate", "1e-5"), {"learning_rate": 1e-5}),
        (("learning_rate", "1"), {"learning_rate": 1.0}),
        (("batch_size", "64"), {"batch_size": 64}),
        (("batch_size", "1_000"), {"batch_size": 1_000}),
        (("dropout_rate", "0"), {"dropout_rate": 0.0}),
    ],
)
def test_setting(setting: tuple[str, str], expected: dict[str, Any]) -> None:
    changed = SCENARIO.with_changes(settings=(setting,))
    assert changed.hyperparameters == PaperCnnHyperparameters(**expected)
    assert SCENARIO.hyperparameters == PaperCnnHyperparameters()


def test_the_last_setting_of_a_name_counts() -> None:
    settings_ = (("batch_size", "32"), ("dropout_rate", "0.25"), ("batch_size", "64"))
    changed = SCENARIO.with_changes(settings=settings_)
    assert changed.hyperparameters == PaperCnnHyperparameters(batch_size=64, dropout_rate=0.25)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("learning_rate", "fast", f"learning_rate = 'fast': {NOT_A_NUMBER}"),
        ("learning_rate", "", f"learning_rate = '': {NOT_A_NUMBER}"),
        ("learning_rate", "nan", "learning_rate = nan: input should be a finite number"),
        ("learning_rate", "0", "learning_rate = 0: input should be greater than 0"),
        ("learning_rate", '"0.1"', f"learning_rate = '0.1': {NOT_A_NUMBER}"),
        ("batch_size", "64.0", f"batch_size = 64.0: {NOT_AN_INTEGER}"),
        ("batch_size", "true", f"batch_size = True: {NOT_AN_INTEGER}"),
        ("batch_size", "[64]", f"batch_size = [64]: {NOT_AN_INTEGER}"),
        # A setting is a single value, even if its text would be more in a file.
        ("batch_size", "64\nx = 1", f"batch_size = '64\\nx = 1': {NOT_AN_INTEGER}"),
        ("dropout_rate", "1", "dropout_rate = 1: input should be less than 1"),
    ],
)
def test_wrong_setting(name: str, text: str, reason: str) -> None:
    line = error_line(lambda: SCENARIO.with_changes(settings=((name, text),)))
    assert line.startswith(f"command line: hyperparameters.{reason}")


def test_unknown_setting_suggests_the_nearest() -> None:
    line = error_line(lambda: SCENARIO.with_changes(settings=(("learning_rat", "1"),)))
    assert line == (
        "--set learning_rat: paper-cnn has no such hyperparameter; did you mean learning_rate? "
        f"it has {KNOWN}"
    )
    line = error_line(lambda: SCENARIO.with_changes(settings=(("xyzzy", "1"),)))
    assert "did you mean" not in line


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((), "steps = []: it should not be empty"),
        ((0, 100), f"steps = 0: {TOO_SMALL}"),
        ((10**12,), "steps = 1000000000000: input should be less than or equal to 1000000"),
    ],
)
def test_wrong_steps(steps: tuple[int, ...], reason: str) -> None:
    line = error_line(lambda: SCENARIO.with_changes(steps=steps))
    assert line.startswith(f"command line: {reason}")


def test_steps_before_the_first_grid_step() -> None:
    late = SCENARIO.model_copy(update={"eval_first": 100})
    line = error_line(lambda: late.with_changes(steps=(99,)))
    assert line.startswith("command line: eval_first is 100, after the last of 99 steps")


# The grid


def test_the_papers_grid() -> None:
    grid = Grid(first=1, every=100)
    assert list(grid.points(350)) == [1, 101, 201, 301]
    assert grid.points(1_000)[-1] == 901
    assert len(grid.points(10_000)) == 100
    assert 10_000 not in grid
    assert 8_401 in grid


@given(first=st.integers(1, 200), every=st.integers(1, 200), steps=st.integers(0, 1_000))
def test_grid_points_are_its_members(first: int, every: int, steps: int) -> None:
    grid = Grid(first=first, every=every)
    assert list(grid.points(steps)) == [step for step in range(steps + 1) if step in grid]


# Arbitrary content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenarios")


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Random valid scenarios."""
    steps = tuple(sorted(draw(st.sets(st.integers(1, MAX_STEPS), min_size=1, max_size=6))))
    every = draw(st.sampled_from(["eval_every", "eval_every_images"]))
    accuracies = st.lists(st.floats(0, 1, exclude_min=True), max_size=4).map(tuple)
    hyperparameters = st.builds(
        PaperCnnHyperparameters,
        learning_rate=st.floats(0, 10, exclude_min=True),
        batch_size=st.integers(1, MAX_BATCH_SIZE),
        dropout_rate=st.floats(0, 1, exclude_max=True),
        optimizer=st.sampled_from(["adam", "momentum"]),
        schedule=st.sampled_from(["constant", "one-cycle", "cosine"]),
        conv1_filters=st.integers(1, 512),
        conv2_kernel_size=st.integers(1, 13),
        dense_units=st.integers(1, 8_192),
        batch_normalization=st.booleans(),
        label_smoothing=st.floats(0, 1, exclude_max=True),
        shift_pixels=st.integers(0, 7),
        rotation_degrees=st.floats(0, 45),
        zoom_share=st.floats(0, 0.5),
        average_decay=st.floats(0, 1, exclude_max=True),
    )
    return Scenario(
        title=draw(st.text(min_size=1, max_size=200)),
        model="paper-cnn",
        steps=steps,
        dataset=draw(st.sampled_from(DATASET_CHOICES)),
        eval_first=draw(st.integers(1, steps[0])),
        target_accuracies=draw(st.none() | accuracies),
        save_weights=draw(st.booleans()),
        hyperparameters=draw(hyperparameters),
        **{every: draw(st.integers(1, MAX_STEPS))},
    )


@settings(deadline=None)
@given(parsed=scenarios())
def test_toml_round_trip(folder: Path, parsed: Scenario) -> None:
    back = scenario.read(written(folder, parsed.to_toml()))
    assert back == parsed


@pytest.mark.parametrize(
    "title",
    [
        '"quoted" \\ back',
        "two\nlines\r\n",
        "'''",
        "# no comment",
        "naïve – 数字 🎲",
        "\x7f\t\0",
        "][",
    ],
)
def test_toml_round_trip_of_unusual_titles(tmp_path: Path, title: str) -> None:
    parsed = SCENARIO.model_copy(update={"title": title})
    assert scenario.read(written(tmp_path, parsed.to_toml())) == parsed


def check_parsing(parse: Callable[[], Scenario]) -> None:
    """Accept a valid scenario or a one-line error; other exceptions fail the test."""
    try:
        parsed = parse()
    except BenchError as error:
        line = str(error)
    else:
        assert len(parsed.grid.points(parsed.steps[0])) >= 1
        return
    assert len(line.splitlines()) == 1


NAMES = [*Scenario.model_fields, *PaperCnnHyperparameters.model_fields]
TOML_VALUES = [
    '"paper-cnn"',
    '"x"',
    '"""\n\n"""',
    "1",
    "0",
    "-1",
    "1.5",
    "1e400",
    "nan",
    "true",
    "[1000]",
    "[1, 100, 1000]",
    "[0.5, 1]",
    "[[1]]",
    "[]",
    "{}",
    "{ batch_size = 1 }",
    "1979-05-27",
    "07:32:00",
    "10000000000000000000000",
]
TOML_LINES = st.tuples(
    st.sampled_from([*NAMES, "hyperparameters.batch_size", '"a\\nb"', '""']),
    st.sampled_from(TOML_VALUES),
).map(" = ".join)
TOML_TEXTS = st.lists(TOML_LINES | st.text(max_size=30), max_size=8).map("\n".join)


@settings(deadline=None)
@given(text=TOML_TEXTS)
def test_any_text_is_accepted_or_gives_a_one_line_error(folder: Path, text: str) -> None:
    check_parsing(lambda: scenario.read(written(folder, text)))


@settings(deadline=None)
@given(text=TOML_TEXTS)
def test_any_text_after_a_valid_scenario(folder: Path, text: str) -> None:
    check_parsing(lambda: scenario.read(written(folder, f"{toml()}{text}")))


@settings(deadline=None)
@given(content=st.binary(max_size=100))
def test_any_bytes_give_a_one_line_error(folder: Path, content: bytes) -> None:
    path = folder / "bytes.toml"
    path.write_bytes(content)
    check_parsing(lambda: scenario.read(path))


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates(),
    containers,
    max_leaves=6,
)


@settings(deadline=None)
@given(
    changes=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=12), VALUES, max_size=4),
    table=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=12), VALUES, max_size=3),
)
def test_any_values_are_accepted_or_give_a_one_line_error(
    changes: dict[str, Any], table: dict[str, Any]
) -> None:
    valid = {"title": "A", "model": "paper-cnn", "steps": [1_000], "eval_every": 100}
    for values in (changes, valid | changes, valid | {"hyperparameters": table}):
        check_parsing(partial(scenario._validated, dict(values), source="here"))


@given(
    name=st.sampled_from(list(PaperCnnHyperparameters.model_fields)),
    text=st.text(max_size=20) | st.sampled_from(TOML_VALUES),
)
def test_any_setting_is_accepted_or_gives_a_one_line_error(name: str, text: str) -> None:
    check_parsing(lambda: SCENARIO.with_changes(settings=((name, text),)))


# Thread counts


@pytest.mark.parametrize(("text", "threads"), [("[1, 4]", (1, 4)), ('"doubling"', "doubling")])
def test_thread_counts(tmp_path: Path, text: str, threads: object) -> None:
    parsed = scenario.read(written(tmp_path, toml(threads=text)))
    assert parsed.threads == threads
    assert scenario.read(written(tmp_path, parsed.to_toml())) == parsed
    assert Scenario.model_validate_json(parsed.model_dump_json()) == parsed
    assert parsed.with_changes(steps=(7,)).threads == threads


def test_thread_counts_are_optional() -> None:
    assert SCENARIO.threads is None
    assert "threads" not in SCENARIO.to_toml()


def test_the_packaged_thread_counts_train_table_1s_network() -> None:
    parsed = scenario.read(scenario.find("threads"))
    assert parsed.threads == "doubling"
    assert parsed.hyperparameters == paper.PROTOCOL.hyperparameters
    assert (parsed.steps, parsed.grid) == ((500,), paper.PROTOCOL.grid)
