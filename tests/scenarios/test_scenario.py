"""Scenario files: valid ones, and the messages for invalid ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
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


@pytest.mark.parametrize("name", scenario.packaged_names())
def test_packaged_file_is_valid(name: str) -> None:
    parsed = scenario.read(scenario.find(name))
    assert len(parsed.grid.points(parsed.steps[-1])) >= 1


def test_packaged_scenarios() -> None:
    table_1, smoke, threads = (
        scenario.read(scenario.find(name)) for name in ("table-1", "smoke", "threads")
    )
    assert table_1 == paper.PROTOCOL
    assert (smoke.steps, smoke.dataset) == ((200,), "mnist-5k")
    assert (threads.threads, threads.steps) == ("doubling", (500,))
    assert (threads.hyperparameters, threads.grid) == (table_1.hyperparameters, table_1.grid)


def test_a_plain_name_is_packaged_and_a_path_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, toml())
    for name in ("smoke", "own"):
        (tmp_path / name).write_text("the user's file", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert scenario.find("smoke") == scenario.packaged_folder() / "smoke.toml"
    assert scenario.find(str(path)) == path
    assert scenario.find("mine.toml") == scenario.find("./mine.toml") == Path("mine.toml")
    assert "write ./own for the file of that name" in error_line(lambda: scenario.find("own"))


def test_unknown_name() -> None:
    line = error_line(lambda: scenario.find("tabel-1"))
    assert line.startswith("there is no scenario 'tabel-1'; did you mean table-1?")
    line = error_line(lambda: scenario.find("xyzzy"))
    assert line == f"there is no scenario 'xyzzy'; there are {', '.join(scenario.packaged_names())}"


@pytest.mark.parametrize(
    "name", ["table-1.toml", "./smoke", "no/such.toml", "no\\such", "a\0.toml", "folder.toml"]
)
def test_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.toml").mkdir()
    assert error_line(lambda: scenario.find(name)).startswith("there is no scenario file ")


@pytest.mark.parametrize("name", ["folder.toml", "gone.toml"])
def test_unreadable_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.toml").mkdir()
    path = tmp_path / name
    assert error_line(lambda: scenario.read(path)).startswith(f"can't read {path}: ")


# Valid scenarios


@pytest.mark.parametrize(
    "text",
    [
        toml(),
        toml().replace("[hyperparameters]", ""),
        f"\ufeff{toml()}",  # the byte order mark and the line ends of Windows editors
        toml().replace("\n", "\r\n"),
    ],
)
def test_missing_keys_have_defaults(tmp_path: Path, text: str) -> None:
    parsed = scenario.read(written(tmp_path, text))
    assert parsed == SCENARIO
    assert (parsed.dataset, parsed.grid) == ("auto", Grid(first=1, every=100))
    assert (parsed.target_accuracies, parsed.threads, parsed.save_weights) == (None, None, False)
    assert "threads" not in parsed.to_toml()


def test_everything_given() -> None:
    text = toml(
        "learning_rate = 1\nbatch_size = 64\ndropout_rate = 0.0",
        dataset='"mnist"',
        eval_first="100",
        target_accuracies="[0.9, 1.0]",
        save_weights="true",
        threads="[1, 4]",
    )
    values = {"learning_rate": 1.0, "batch_size": 64, "dropout_rate": 0.0}
    assert scenario.from_text(text, "here") == Scenario(
        title="A title",
        model="paper-cnn",
        steps=(1_000, 2_500),
        dataset="mnist",
        eval_first=100,
        eval_every=100,
        target_accuracies=(0.9, 1.0),
        save_weights=True,
        threads=(1, 4),
        hyperparameters=PaperCnnHyperparameters(**values),
    )


def test_limits_are_allowed() -> None:
    text = toml("learning_rate = 10\nbatch_size = 55_000", steps="[1, 1_000_000]", eval_every="1")
    parsed = scenario.from_text(text, "here")
    assert parsed.steps == (1, MAX_STEPS)
    assert parsed.hyperparameters.batch_size == MAX_BATCH_SIZE


@pytest.mark.parametrize(
    ("images", "batch_size", "every"),
    [(5_000, 50, 100), (5_000, 64, 78), (100, 64, 2), (10, 50, 1)],  # 78.1 and 1.6 are rounded
)
def test_grid_in_images(images: int, batch_size: int, every: int) -> None:
    text = toml(f"batch_size = {batch_size}", eval_every=None, eval_every_images=f"{images}")
    assert scenario.from_text(text, "here").grid == Grid(first=1, every=every)


@pytest.mark.parametrize("text", ["[1, 4]", '"doubling"'])
def test_thread_counts_survive_a_round_trip(text: str) -> None:
    parsed = scenario.from_text(toml(threads=text), "here")
    assert scenario.from_text(parsed.to_toml(), "here") == parsed
    assert Scenario.model_validate_json(parsed.model_dump_json()) == parsed
    assert parsed.with_changes(steps=(7,)).threads == parsed.threads


# Invalid scenarios

STEP_COUNTS = "is not valid; give a list of whole numbers from 1 to 1,000,000"
A_STEP = "is not valid; give a whole number from 1 to 1,000,000"
A_RATE = "is not valid; give a number above 0, up to 10, like 0.001"
A_SIZE = "is not valid; give a whole number from 1 to 55,000, like 50"
A_SHARE = "is not valid; give a number from 0 to below 1, like 0.5"
ONE_OF_TWO = "give one of eval_every and eval_every_images"
SVM = {"model": '"svm-rbf"', "steps": "[1]", "eval_every": "1"}


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"steps": "[0]"}, f"steps = 0 {STEP_COUNTS}"),
        ({"steps": "[1000000000000]"}, f"steps = 1000000000000 {STEP_COUNTS}"),
        (
            {"steps": "[2500, 1000]"},
            "steps = [2500, 1000] should rise without duplicates, like [1000, 2500]; fix",
        ),
        ({"steps": "[]"}, f"steps = [] {STEP_COUNTS}"),
        ({"steps": "1000"}, f"steps = 1000 {STEP_COUNTS}, like [1000]"),
        ({"steps": "[1000.0]"}, f"steps = 1000.0 {STEP_COUNTS}"),
        ({"steps": "[true]"}, f"steps = True {STEP_COUNTS}"),
        ({"eval_every": "0"}, f"eval_every = 0 {A_STEP}"),
        ({"eval_every": None}, ONE_OF_TWO),
        ({"eval_every_images": "5000"}, ONE_OF_TWO),
        (
            {"eval_every": None, "eval_every_images": "0"},
            "eval_every_images = 0 is not valid; give a",
        ),
        ({"eval_first": "0"}, f"eval_first = 0 {A_STEP}"),
        (
            {"eval_first": "1001"},
            "eval_first is 1001, after the last of 1000 steps: nothing would be evaluated",
        ),
        ({"model": '"lenet"'}, "model = 'lenet' is not valid; give one of paper-cnn, fully"),
        (
            {"dataset": '"fashion"'},
            "dataset = 'fashion' is not valid; give one of auto, mnist, mnist-5k",
        ),
        ({"title": '""'}, "title = '' is not valid; give a text of 1 to 200 characters"),
        ({"save_weights": "1"}, "save_weights = 1 is not valid; give true or false"),
        (
            {"target_accuracies": "[1.5]"},
            "target_accuracies = 1.5 is not valid; give a list of numbers above 0, up to 1",
        ),
        ({"title": None}, "key title is missing"),
        ({"datset": '"mnist"'}, "unknown key datset; did you mean dataset?"),
        ({"colour": '"blue"'}, "unknown key colour; known are title, model, steps, "),
        (SVM | {"steps": "[10]"}, "svm-rbf is fitted in one step: steps must be [1]"),
        (SVM | {"save_weights": "true"}, "svm-rbf has no weights: remove save_weights"),
        (SVM | {"threads": "[1]"}, "only networks compare thread counts: svm-rbf can't have"),
    ],
)
def test_bad_key(keys: dict[str, str | None], reason: str) -> None:
    line = error_line(lambda: scenario.from_text(toml(**keys), "here"))
    assert line.startswith(f"here: {reason}")


@pytest.mark.parametrize(
    "threads",
    ["[]", "[0]", "[-1]", "[2, 1]", "[1, 1]", "[1.0]", "[true]", '["1"]', "[2000]", "2", '"all"'],
)
def test_bad_threads(threads: str) -> None:
    line = error_line(lambda: scenario.from_text(toml(threads=threads), "here"))
    assert line.startswith("here: threads = ")
    assert 'must be a rising list of counts from 1 to 1,024, or "doubling"' in line


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("learning_rate = 0", f"learning_rate = 0 {A_RATE}"),
        ("learning_rate = nan", f"learning_rate = nan {A_RATE}"),
        ("learning_rate = 11", f"learning_rate = 11 {A_RATE}"),
        ("learning_rate = true", f"learning_rate = True {A_RATE}"),
        ("batch_size = 0", f"batch_size = 0 {A_SIZE}"),
        ("batch_size = 55001", f"batch_size = 55001 {A_SIZE}"),
        ("dropout_rate = 1.0", f"dropout_rate = 1.0 {A_SHARE}"),
        ("dropout_rate = -0.5", f"dropout_rate = -0.5 {A_SHARE}"),
    ],
)
def test_bad_hyperparameter(table: str, reason: str) -> None:
    line = error_line(lambda: scenario.from_text(toml(table), "here"))
    assert line.startswith(f"here: hyperparameters.{reason}")


def test_unknown_hyperparameter_suggests_the_nearest() -> None:
    line = error_line(lambda: scenario.from_text(toml("learning_rat = 0.1"), "here"))
    assert line == "here: unknown key hyperparameters.learning_rat; did you mean learning_rate?"
    line = error_line(lambda: scenario.from_text(toml("xyzzy = 0.1"), "here"))
    assert line == f"here: unknown key hyperparameters.xyzzy; known are {KNOWN}"


@pytest.mark.parametrize(
    ("content", "reasons"),
    [
        (b'title = "A title"\nmodel paper-cnn\n', (" is not TOML: ", "line 2")),
        (b'title = "A"\nsteps = [1]\ntitle = "B"\n', (" is not TOML: ", "line 3")),
        ('title = "Größe"\n'.encode("latin-1"), (" is not a text file in UTF-8; save it",)),
        (b"", (": keys model, title, steps are missing; add them",)),
        (b"[hyperparameters]\nlearning_rte = 1\n",
         (": unknown key hyperparameters.learning_rte; did you mean learning_rate?",)),
        (b'title = "A"\nsteps = [1]\neval_every = 1\n', (": key model is missing; add it",)),
        (b"hyperparameters = 3\n" + toml().replace("[hyperparameters]", "").encode(),
         (": hyperparameters = 3: ",)),
    ],
)  # fmt: skip
def test_a_file_that_is_no_scenario(
    tmp_path: Path, content: bytes, reasons: tuple[str, ...]
) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    line = error_line(lambda: scenario.read(path))
    assert line.startswith(f"{path}{reasons[0]}")
    assert all(reason in line for reason in reasons)


def test_a_long_value_is_truncated() -> None:
    digits = "1" * 500
    line = error_line(lambda: scenario.from_text(toml(steps=f'"{digits}"'), "here"))
    assert line.startswith(f"here: steps = '{digits[:50]}")
    assert len(line) < 200


# Python does not parse numbers of more than 4,300 digits, and its parsers have a depth limit.
UNPARSABLE = {"decimal": "9" * 5_000, "hexadecimal": "0x" + "f" * 5_000, "nested": "[" * 5_000}


@pytest.mark.parametrize("text", UNPARSABLE.values(), ids=list(UNPARSABLE))
def test_value_that_python_can_not_parse(text: str) -> None:
    assert "here" in error_line(lambda: scenario.from_text(toml(steps=f"[{text}]"), "here"))
    setting = ("batch_size", text)
    assert "batch_size" in error_line(lambda: SCENARIO.with_changes(settings=(setting,)))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('title = "A\nmodel = "lenet"', "a text is not closed by a quote (at line 1, column 11)"),
        ('title = "A', "a text is not closed by a quote (at end of document)"),
        ('title = "A"\ntitle = "B"\n', "title is given twice (at line 2, column 12)"),
        ('title = "A"\ntitle = "B"', "title is given twice (at end of document)"),
        ("[hyperparameters]\n[hyperparameters]\n",
         "the table hyperparameters is given twice (at line 2, column 17)"),
        ("model = lenet-5\n",
         "the value of model is missing, or is a text without quotes (at line 1, column 9)"),
        ("steps 5\n", "it is not of the form key = value (at line 1, column 7)"),
        ("steps = 5 6\n", "there is more than one value (at line 1, column 11)"),
        ("[steps\n", "Expected ']' at the end of a table declaration (at line 1, column 7)"),
    ],
)  # fmt: skip
def test_toml_errors_in_plain_words(text: str, problem: str) -> None:
    line = error_line(lambda: scenario.from_text(text, "here"))
    assert line == f"here is not TOML: {problem}; fix that line"


# Changes from the command line


def test_changes() -> None:
    assert SCENARIO.with_changes() == SCENARIO
    changed = SCENARIO.with_changes(steps=(500, 100, 500))
    assert (changed.title, changed.steps) == ("Changed from: A title", (100, 500))
    long = SCENARIO.model_copy(update={"title": "x" * 200})
    assert long.with_changes(steps=(500,)).title == f"Changed from: {'x' * 186}"
    assert SCENARIO.steps == (1_000, 2_500)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([("learning_rate", "0.01")], {"learning_rate": 0.01}),
        ([("learning_rate", "1e-5")], {"learning_rate": 1e-5}),
        ([("learning_rate", "1")], {"learning_rate": 1.0}),
        ([("batch_size", "1_000")], {"batch_size": 1_000}),
        ([("dropout_rate", "0")], {"dropout_rate": 0.0}),
        # The last setting of a name counts.
        (
            [("batch_size", "32"), ("dropout_rate", "0.25"), ("batch_size", "64")],
            {"batch_size": 64, "dropout_rate": 0.25},
        ),
    ],
)
def test_settings(settings: list[tuple[str, str]], expected: dict[str, Any]) -> None:
    changed = SCENARIO.with_changes(settings=tuple(settings))
    assert changed.hyperparameters == PaperCnnHyperparameters(**expected)
    assert SCENARIO.hyperparameters == PaperCnnHyperparameters()


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("learning_rate", "fast", f"learning_rate=fast {A_RATE}"),
        ("learning_rate", "", f"learning_rate= {A_RATE}"),
        ("learning_rate", '"0.1"', f'learning_rate="0.1" {A_RATE}'),
        ("batch_size", "64.0", f"batch_size=64.0 {A_SIZE}"),
        # A setting is a single value, even if its text would be more in a file.
        ("batch_size", "64\nx = 1", f"batch_size=64 x = 1 {A_SIZE}"),
    ],
)
def test_wrong_setting(name: str, text: str, reason: str) -> None:
    line = error_line(lambda: SCENARIO.with_changes(settings=((name, text),)))
    assert line == f"--set {reason}"


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("learning_rat", "did you mean learning_rate?"),
        ("bs", "did you mean batch_size?"),
        ("xyzzy", f"it has {KNOWN}"),
    ],
)
def test_unknown_setting(name: str, suggestion: str) -> None:
    line = error_line(lambda: SCENARIO.with_changes(settings=((name, "1"),)))
    problem = f"--set {name}: paper-cnn has no such hyperparameter"
    assert line == f"{problem}; {suggestion}"


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((), f"--steps : steps = [] {STEP_COUNTS}"),
        ((0, 100), f"--steps 0,100: steps = 0 {STEP_COUNTS}"),
        ((99,), "--steps 99: eval_first is 100, after the last of 99 steps"),
    ],
)
def test_wrong_steps(steps: tuple[int, ...], reason: str) -> None:
    late = SCENARIO.model_copy(update={"eval_first": 100})
    line = error_line(lambda: late.with_changes(steps=steps))
    assert line.startswith(reason)


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


@given(parsed=scenarios())
def test_toml_round_trip(parsed: Scenario) -> None:
    assert scenario.from_text(parsed.to_toml(), "here") == parsed


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


@given(text=TOML_TEXTS)
def test_any_text_is_accepted_or_gives_a_one_line_error(text: str) -> None:
    for content in (text, f"{toml()}{text}"):
        check_parsing(partial(scenario.from_text, content, "here"))


@given(
    name=st.sampled_from(list(PaperCnnHyperparameters.model_fields)),
    text=st.text(max_size=20) | st.sampled_from(TOML_VALUES),
)
def test_any_setting_is_accepted_or_gives_a_one_line_error(name: str, text: str) -> None:
    check_parsing(lambda: SCENARIO.with_changes(settings=((name, text),)))
