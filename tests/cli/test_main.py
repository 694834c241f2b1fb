"""The command line: help, plans and errors; a rejected command leaves no files."""

from __future__ import annotations

import gzip
import math
import os
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pytest
import tomli_w
from program import Bench, Ended

from mnist_bench.cli.main import cli
from mnist_bench.cli.options import GroupedCommand
from mnist_bench.core import locks
from mnist_bench.data import mnist
from mnist_bench.scenarios import scenario

COMMANDS = sorted(cli.commands)
NAMES = tuple(file.name for file in mnist.MNIST.files)
SECRET = "hunter2"
HEAVY = {"distributed", "keras", "mlflow", "mlxtend", "optuna", "pandas", "scipy", "tensorflow"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    parent = tmp_path / "user"
    parent.mkdir()
    return Bench(parent)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A bound port on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def assert_error(ended: Ended, *words: str) -> None:
    """Check for exit status 2 and one line on stderr that contains the words."""
    assert (ended.status, ended.stdout) == (2, ""), ended
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    for word in words:
        assert word in ended.error_line


def files_in(bench: Bench) -> list[str]:
    """Names of the files in the working directory."""
    return sorted(path.name for path in bench.folder.iterdir())


# Help


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ()])
def test_help_names_every_command(bench: Bench, arguments: tuple[str, ...]) -> None:
    ended = bench.call(*arguments)
    assert (ended.status, ended.stderr) == (0, "")
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert {"run", "scenarios", "machine", "ui"} <= set(COMMANDS)
    assert set(COMMANDS) <= {line[0] for line in lines if line}
    assert ["Examples:"] in lines  # its lines are not wrapped into one paragraph


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(bench: Bench, command: str, flag: str) -> None:
    ended = bench.call(command, flag)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"Usage: mnist-bench {command} ")


@pytest.mark.parametrize("command", ["run", "tune"])
def test_help_shows_every_option_in_a_group(bench: Bench, command: str) -> None:
    grouped = cli.commands[command]
    assert isinstance(grouped, GroupedCommand)
    names = [name for group in grouped.groups.values() for name in group]
    options = [each.name for each in grouped.params if isinstance(each, click.Option)]
    assert sorted(names) == sorted(options)
    lines = bench.call(command, "--help").stdout.splitlines()
    titles = [line.removesuffix(":") for line in lines if line.endswith(":") and line[0] != " "]
    assert titles == list(grouped.groups)
    flags = [line.split()[0] for line in lines if line.startswith("  -")]
    assert len(flags) == len(options) + 1  # and --help


def test_version(bench: Bench) -> None:
    ended = bench.call("--version")
    assert ended == Ended(0, f"mnist-bench, version {version('mnist-bench')}\n", "")


def loaded_by(bench: Bench, *arguments: str) -> set[str]:
    """Modules that a command loads."""
    program = """
import sys
from mnist_bench.cli.main import cli
from mnist_bench.cli.options import GroupedCommand
cli.main(sys.argv[1:], prog_name="mnist-bench", standalone_mode=False)
print(*sorted(sys.modules))
"""
    ended = bench.run(*arguments, program=(sys.executable, "-c", program))
    assert ended.status == 0, ended.stderr
    return set(ended.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help")])
def test_help_loads_click_and_plain_values(bench: Bench, arguments: tuple[str, ...]) -> None:
    loaded = loaded_by(bench, *arguments)
    packages = {name.split(".")[1] for name in loaded if name.startswith("mnist_bench.")}
    assert packages == {"cli", "core", "tracking"}  # of tracking only uri.py
    assert {name for name in loaded if name.startswith("mnist_bench.tracking.")} == {
        "mnist_bench.tracking.uri"
    }
    libraries = {"numpy", "platformdirs", "psutil", "pydantic", "requests", "rich", "tomllib"}
    assert loaded.isdisjoint(HEAVY | libraries)


@pytest.mark.parametrize("arguments", [("scenarios",), ("scenarios", "--json")])
def test_scenarios_loads_nothing_that_trains_or_records(
    bench: Bench, arguments: tuple[str, ...]
) -> None:
    loaded = loaded_by(bench, *arguments)
    assert "mnist_bench.cli.scenarios" in loaded
    assert loaded.isdisjoint(HEAVY | {"jinja2", "numpy", "pooch", "requests"})
    assert loaded.isdisjoint({"mnist_bench.results.run", "mnist_bench.tracking.mlflow_store"})


def test_started_as_a_module(bench: Bench) -> None:
    ended = bench.run("--version")
    assert ended == Ended(0, f"mnist-bench, version {version('mnist-bench')}\n", "")


def test_started_by_its_name(bench: Bench) -> None:
    script = shutil.which("mnist-bench", path=str(Path(sys.executable).parent))
    if script is None:
        pytest.skip("not installed with this Python")
    ended = bench.run("scenarios", "--json", program=(script,))
    assert ended.status == 0, ended.stderr
    assert ended.document["schema"] == 1


# Scenarios


def test_scenarios(bench: Bench) -> None:
    ended = bench.call("scenarios", COLUMNS="200")
    assert (ended.status, ended.stderr) == (0, "")
    first = {line.split()[0]: line for line in ended.stdout.splitlines() if line.split()}
    assert set(scenario.packaged_names()) <= set(first)
    assert "1,000, 2,500, 5,000, 10,000" in first["table-1"]
    assert "images to train on" in first["table-1"]  # nothing was measured in this home folder
    assert files_in(bench) == []


def test_scenarios_as_json(bench: Bench) -> None:
    ended = bench.call("scenarios", "--json")
    assert (ended.status, ended.stderr) == (0, "")
    listed = {item["name"]: item for item in ended.document["scenarios"]}
    assert sorted(listed) == scenario.packaged_names()
    assert listed["smoke"]["steps"] == [200]
    assert listed["smoke"]["expected_seconds"] is None


# Plans


def test_dry_run_prints_the_plan_and_does_nothing(bench: Bench) -> None:
    ended = bench.call("run", "smoke", "--dry-run")
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith("smoke: ")
    for words in ("mnist-5k", "4,000", "200; seeds: 1", "NOT COMPARABLE with Table I", "unknown"):
        assert words in ended.stdout
    assert files_in(bench) == []


def test_dry_run_as_json(bench: Bench) -> None:
    line = "run smoke --steps 200,100 --seeds 2 --first-seed 5 --threads 1 --dry-run --json"
    ended = bench.call(*shlex.split(line))
    assert (ended.status, ended.stderr) == (0, "")
    assert list(ended.document) == ["schema", "plans"]
    (plan,) = ended.document["plans"]
    assert plan == {
        "scenario": "smoke",
        "dataset": "mnist-5k",
        "threads": 1,
        "precision": "float32",
        "device": "cpu",
        "trajectories": [
            {"seed": 5, "steps": [100, 200], "threads": 1},
            {"seed": 6, "steps": [100, 200], "threads": 1},
        ],
        "expected_seconds": None,
        "repeats": None,
    }
    assert files_in(bench) == []


def test_dry_run_of_seeds_auto_prints_the_rule(bench: Bench) -> None:
    ended = bench.call(*shlex.split("run smoke --seeds auto --budget 90s --dry-run"))
    assert (ended.status, ended.stderr) == (0, "")
    assert "steps      200; seeds: at least 3, starting at 0\n" in ended.stdout
    assert "seeds      until the 95% interval of each row's mean" in ended.stdout
    for words in ("±0.0005", "after 1 min 30 s", "at least 3, each for all step counts"):
        assert words in ended.stdout
    assert "10,000" not in ended.stdout
    assert files_in(bench) == []


def test_dry_run_of_seeds_auto_as_json(bench: Bench) -> None:
    line = "run smoke --seeds auto --first-seed 4 --precision-target 0.001 --dry-run --json"
    (plan,) = bench.call(*shlex.split(line)).document["plans"]
    assert [trajectory["seed"] for trajectory in plan["trajectories"]] == [4, 5, 6]
    assert plan["repeats"] == {"precision_target": 0.001, "budget_seconds": 1_800.0}


def test_dry_run_of_independent_step_counts(bench: Bench) -> None:
    line = "run smoke --steps 100,200 --independent --threads 2 --dry-run --json"
    (plan,) = bench.call(*shlex.split(line)).document["plans"]
    assert plan["trajectories"] == [
        {"seed": 0, "steps": [100], "threads": 2},
        {"seed": 0, "steps": [200], "threads": 2},
    ]


def test_dry_run_of_a_scenario_file(bench: Bench) -> None:
    (bench.folder / "mine.toml").write_text(tomli_w.dumps(GOOD), encoding="utf-8")
    ended = bench.call("run", "mine.toml", "smoke", "--dry-run", "--json")
    assert [plan["scenario"] for plan in ended.document["plans"]] == ["mine", "smoke"]
    assert files_in(bench) == ["mine.toml"]


def test_table_1_warns_that_it_uses_the_sample_without_a_network(bench: Bench) -> None:
    ended = bench.call("run", "--dry-run")
    assert ended.status == 0, ended.stderr
    assert ended.stdout.startswith("table-1: ")
    assert "NOT COMPARABLE with Table I" in ended.stdout
    for words in ("can't be downloaded", "mnist-5k", "not comparable with Table I", "--data DIR"):
        assert words in ended.stderr_line
    assert files_in(bench) == []


# Invalid requests

INVALID = {
    # scenarios and commands
    "run smok": ("there is no scenario 'smok'", "did you mean smoke?"),
    "run table1": ("there is no scenario 'table1'", "did you mean table-1?"),
    "run ./none.toml": ("there is no scenario file ./none.toml",),
    "run smoke smoke": ("two scenarios are called smoke",),
    "rum": ("'rum'", "`mnist-bench --help`"),
    "run --nope": ("--nope", "`mnist-bench run --help`"),
    "scenarios smoke": ("smoke", "`mnist-bench scenarios --help`"),
    # numbers
    "run --steps abc": ("--steps", "'abc' is not a list of step counts"),
    "run --steps ''": ("--steps", "'' is not a list of step counts"),
    "run --steps 0": ("--steps", "0 is outside 1 to 1,000,000"),
    "run --steps -5": ("--steps", "-5 is outside 1 to 1,000,000"),
    "run --steps 100,0": ("--steps", "100,0 is outside 1 to 1,000,000"),
    "run --steps 1000000000000": ("--steps", "1000000000000 is outside 1 to 1,000,000"),
    "run --steps": ("--steps", "argument"),
    "run --seeds 0": ("--seeds", "0 is not in the range"),
    "run --seeds many": ("--seeds", "'many' is neither a number of seeds nor auto"),
    "run --seeds 10001": ("--seeds", "10001 is not in the range"),
    "run --seeds auto --budget soon": ("--budget", "'soon' is not a duration like 90s, 30m"),
    "run --seeds auto --budget 0s": ("--budget", "'0s' is not a duration"),
    "run --seeds auto --budget -5m": ("--budget", "'-5m' is not a duration"),
    "run --seeds auto --budget 30": ("--budget", "'30' is not a duration"),
    "run --seeds auto --budget ''": ("--budget", "'' is not a duration"),
    "run --seeds auto --precision-target 0": ("--precision-target", "0 is not between 0 and 1"),
    "run --seeds auto --precision-target -1": ("--precision-target", "-1 is not between 0 and 1"),
    "run --seeds auto --precision-target nan": ("--precision-target", "nan is not between"),
    "run --seeds auto --precision-target inf": ("--precision-target", "inf is not between"),
    "run --seeds auto --precision-target fine": ("--precision-target", "'fine'"),
    "run --precision-target 0.001": ("--precision-target and --budget need --seeds auto",),
    "run --seeds 3 --budget 30m": ("--precision-target and --budget need --seeds auto",),
    "machine smoke": ("smoke", "`mnist-bench machine --help`"),
    "run --first-seed -1": ("--first-seed", "-1 is not in the range"),
    "run smoke --first-seed 2147483647 --seeds 2": ("seed 2147483648 is above 2147483647",),
    "run --threads -1": ("--threads", "-1 is not in the range"),
    'run smoke --experiment ""': ("the experiment has no name", "--experiment"),
    'run smoke --data ""': ("--data", "it is empty"),
    "run --threads 0": ("--threads", "0 is not in the range"),
    "ui --port 0": ("--port", "0 is not in the range"),
    # hyperparameters
    "run --set foo": ("--set", "'foo' is not of the form NAME=VALUE"),
    "run --set nope=1": ("--set nope", "it has learning_rate, batch_size, dropout_rate"),
    "run --set learning_rat=1": ("--set learning_rat", "did you mean learning_rate?"),
    "run --set learning_rate=0": ("learning_rate = 0:",),
    "run --set learning_rate=-0.1": ("learning_rate = -0.1:",),
    "run --set learning_rate=nan": ("learning_rate = nan:",),
    "run --set learning_rate=inf": ("learning_rate = inf:",),
    "run --set learning_rate=fast": ("learning_rate = 'fast':",),
    "run --set batch_size=0": ("batch_size = 0:",),
    "run --set batch_size=50.5": ("batch_size = 50.5:",),
    "run --set batch_size=60000": ("batch_size = 60000:",),
    "run --set dropout_rate=1": ("dropout_rate = 1:",),
    # images
    "run smoke --set batch_size=5000": ("batch_size is 5000, mnist-5k has 4000 training images",),
    "run --dataset mnist-5k --set batch_size=5000": ("batch_size is 5000", "choose a smaller"),
    "run --dataset cifar": ("--dataset", "'cifar'", "mnist-5k"),
    "run --data nowhere": ("there is no folder", "nowhere", "MNIST_BENCH_DATA"),
    "run --dataset mnist-5k --data nowhere": ("mnist-5k is embedded", "leave out --data"),
    # the tracking URI and the experiment
    "run --experiment Default": ("experiment Default", "choose another --experiment"),
    "run --tracking-uri ftp://example.org/runs": ("can't record runs at 'ftp://example.org/runs'",),
    "run --tracking-uri sqlite:///nowhere/mlflow.db": ("no folder nowhere", "mlflow.db"),
    "run --tracking-uri sqlite://": ("names no file", "sqlite:///mlflow.db"),
}


@pytest.mark.parametrize(("line", "words"), INVALID.items())
def test_invalid_request(bench: Bench, line: str, words: tuple[str, ...]) -> None:
    assert_error(bench.call(*shlex.split(line)), *words)
    assert files_in(bench) == []


def test_invalid_request_in_a_separate_process(bench: Bench) -> None:
    assert_error(bench.run("run", "smok", "--json"), "did you mean smoke?")
    assert files_in(bench) == []


# Invalid scenario files

GOOD: dict[str, Any] = {
    "title": "mine",
    "model": "paper-cnn",
    "steps": [100],
    "dataset": "mnist-5k",
    "eval_every": 50,
    "hyperparameters": {"learning_rate": 0.001, "batch_size": 50, "dropout_rate": 0.5},
}

INVALID_KEYS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown key": ({"stepz": [1]}, ("unknown key stepz", "did you mean steps?")),
    "unknown hyperparameter": (
        {"hyperparameters": {"learning_rat": 0.1}},
        ("unknown key hyperparameters.learning_rat", "did you mean learning_rate?"),
    ),
    "missing key": ({"steps": None}, ("key steps is missing",)),
    "steps of another type": ({"steps": "many"}, ("steps = 'many':",)),
    "a boolean for a number": ({"eval_every": True}, ("eval_every = True:",)),
    "text for a number": (
        {"hyperparameters": {"learning_rate": "fast"}},
        ("hyperparameters.learning_rate = 'fast':",),
    ),
    "no steps": ({"steps": [0]}, ("steps = 0:",)),
    "negative steps": ({"steps": [-5]}, ("steps = -5:",)),
    "too many steps": ({"steps": [10**12]}, ("steps = 1000000000000:",)),
    "falling steps": ({"steps": [200, 100]}, ("steps must rise",)),
    "learning rate 0": (
        {"hyperparameters": {"learning_rate": 0.0}},
        ("hyperparameters.learning_rate = 0.0:",),
    ),
    "learning rate nan": (
        {"hyperparameters": {"learning_rate": math.nan}},
        ("hyperparameters.learning_rate = nan:",),
    ),
    "another model": ({"model": "lenet"}, ("model = 'lenet':",)),
    "another dataset": ({"dataset": "cifar"}, ("dataset = 'cifar':",)),
}


@pytest.mark.parametrize("what", INVALID_KEYS)
def test_invalid_key_in_a_scenario_file(bench: Bench, tmp_path: Path, what: str) -> None:
    changes, words = INVALID_KEYS[what]
    keys = {key: value for key, value in (GOOD | changes).items() if value is not None}
    (tmp_path / "mine.toml").write_text(tomli_w.dumps(keys), encoding="utf-8")
    assert_error(bench.call("run", str(tmp_path / "mine.toml")), "mine.toml: ", *words)
    assert files_in(bench) == []


def test_batch_of_a_scenario_file_larger_than_the_training_set(
    bench: Bench, tmp_path: Path
) -> None:
    keys = GOOD | {"hyperparameters": {"batch_size": 4_001}}
    (tmp_path / "mine.toml").write_text(tomli_w.dumps(keys), encoding="utf-8")
    assert_error(
        bench.call("run", str(tmp_path / "mine.toml")), "batch_size is 4001", "4000 training"
    )
    assert files_in(bench) == []


def test_scenario_file_that_does_not_parse(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('title = "mine"\nsteps = = 3\n', encoding="utf-8")
    assert_error(bench.call("run", str(tmp_path / "mine.toml")), "mine.toml is not TOML", "line 2")
    assert files_in(bench) == []


def test_scenario_file_that_is_not_text(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00\x01")
    assert_error(bench.call("run", str(tmp_path / "mine.toml")), "mine.toml is not TOML")
    assert files_in(bench) == []


# Invalid image folders

HEADER = struct.pack(">4I", 2051, 60_000, 28, 28)

INVALID_IMAGES: dict[str, tuple[bytes, str]] = {
    "cut off": (gzip.compress(HEADER + bytes(10_000))[:-20], "is truncated"),
    "corrupt gzip": (b"\x1f\x8b" + b"x" * 100, "is corrupt gzip"),
    "magic number": (struct.pack(">4I", 2052, 60_000, 28, 28), "magic number 2052, expected 2051"),
    "count": (struct.pack(">4I", 2051, 59_999, 28, 28), "images 59999, expected 60000"),
    "side": (struct.pack(">4I", 2051, 60_000, 28, 32), "columns 32, expected 28"),
    "too few bytes": (HEADER + bytes(784), "is shorter than its header says"),
    "empty": (b"", "is too short for an IDX file"),
}


def folder_with(parent: Path, images: bytes) -> Path:
    """A folder with four files, all empty but the first."""
    folder = parent / "data"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_bytes(b"")
    (folder / NAMES[0]).write_bytes(images)
    return folder


@pytest.mark.parametrize("dataset", ["auto", "mnist"])
@pytest.mark.parametrize("what", INVALID_IMAGES)
def test_invalid_images(bench: Bench, tmp_path: Path, what: str, dataset: str) -> None:
    images, words = INVALID_IMAGES[what]
    folder = folder_with(tmp_path, images)
    ended = bench.call("run", "--data", str(folder), "--dataset", dataset)
    assert_error(ended, NAMES[0], words, "leave out --data")
    assert files_in(bench) == []


@pytest.mark.parametrize("missing", NAMES)
def test_a_missing_file(bench: Bench, tmp_path: Path, missing: str) -> None:
    folder = folder_with(tmp_path, HEADER)
    (folder / missing).unlink()
    assert_error(bench.call("run", "--data", str(folder)), f"{missing} is missing in", str(folder))
    assert files_in(bench) == []


def test_an_empty_folder(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert_error(bench.call("run", "--data", str(tmp_path / "data")), "is empty", "--data DIR")
    assert files_in(bench) == []


def test_a_file_for_a_folder(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("", encoding="utf-8")
    assert_error(bench.call("run", "--data", str(tmp_path / "data")), "is not a folder")
    assert files_in(bench) == []


def test_the_environment_variable_for_the_folder(bench: Bench, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert_error(bench.call("run", MNIST_BENCH_DATA=nowhere), f"there is no folder {nowhere}")
    assert files_in(bench) == []


def test_mnist_without_a_network(bench: Bench) -> None:
    ended = bench.call("run", "--dataset", "mnist")
    assert (ended.status, ended.stdout) == (2, "")
    for words in ("MNIST can't be downloaded", "connect to the network", "--data DIR"):
        assert words in ended.error_line
    assert ended.stderr.endswith(f"{ended.error_line}\n")
    assert files_in(bench) == []


# Folders and stores that are not writable


@pytest.fixture
def unwritable(tmp_path: Path) -> Path:
    """A folder that this user can't write to, even root."""
    if sys.platform == "linux":
        return Path("/proc")
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return folder
    pytest.skip("this user may write everywhere")


def test_a_folder_that_is_not_writable(bench: Bench, unwritable: Path) -> None:
    ended = bench.call("run", "smoke", folder=unwritable)
    assert_error(ended, "can't write to the working directory", "change to a folder that you own")


def test_dry_run_needs_no_writable_folder(bench: Bench, unwritable: Path) -> None:
    ended = bench.call("run", "smoke", "--dry-run", folder=unwritable)
    assert (ended.status, ended.stderr) == (0, "")


def test_a_file_that_is_not_a_database(bench: Bench) -> None:
    content = b"a text file, not a database\n" * 200
    (bench.folder / "mlflow.db").write_bytes(content)
    assert_error(
        bench.call("run", "smoke"), "mlflow.db can't be used as a database", "move it away"
    )
    assert files_in(bench) == ["mlflow.db"]
    assert (bench.folder / "mlflow.db").read_bytes() == content


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("http", "no tracking server answers at http://127.0.0.1:"),
        ("postgresql", "no database answers at postgresql://127.0.0.1:"),
        ("mysql+pymysql", "no database answers at mysql+pymysql://127.0.0.1:"),
    ],
)
@pytest.mark.parametrize("user", ["", "me@"])
def test_a_server_that_does_not_answer(
    bench: Bench, closed_port: int, scheme: str, words: str, user: str
) -> None:
    uri = f"{scheme}://{user}127.0.0.1:{closed_port}/runs"
    assert_error(
        bench.call("run", "smoke", "--tracking-uri", uri), words, "start it", "--tracking-uri"
    )
    assert_error(bench.call("run", "smoke", MLFLOW_TRACKING_URI=uri), words, "MLFLOW_TRACKING_URI")
    assert files_in(bench) == []


@pytest.mark.parametrize("command", ["run", "ui"])
@pytest.mark.parametrize(
    "uri",
    [
        f"postgresql://me:{SECRET}@127.0.0.1/runs",
        f"postgresql://127.0.0.1/runs?user=me&password={SECRET}",
        f"https://me:{SECRET}@tracking.example",
    ],
)
def test_a_password_on_the_command_line(bench: Bench, command: str, uri: str) -> None:
    for arguments in (("--tracking-uri", uri), (f"--tracking-uri={uri}",)):
        ended = bench.call(command, *arguments)
        assert_error(ended, "--tracking-uri contains a password", "MLFLOW_TRACKING_URI")
        assert SECRET not in ended.stderr
    assert files_in(bench) == []


def test_a_password_from_the_environment_is_never_shown(bench: Bench, closed_port: int) -> None:
    uri = f"postgresql://me:{SECRET}@127.0.0.1:{closed_port}/runs"
    ended = bench.call("run", "smoke", MLFLOW_TRACKING_URI=uri)
    assert_error(ended, f"no database answers at postgresql://127.0.0.1:{closed_port}/runs")
    assert SECRET not in ended.stderr
    assert files_in(bench) == []


# Another benchmark


def test_another_benchmark_is_not_disturbed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bench.environment().items():
        monkeypatch.setenv(name, value)
    with locks.benchmark_lock(exclusive=True, warn=pytest.fail):
        ended = bench.call("run", "smoke")
        assert_error(ended, f"(process {os.getpid()}, since ", "--no-exclusive")
        assert bench.call("run", "smoke", "--dry-run").status == 0
    assert files_in(bench) == []


# Closed pipes


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
@pytest.mark.parametrize(
    "line", ["scenarios", "scenarios --json", "run --help", "run smoke --dry-run"]
)
def test_a_closed_pipe_is_not_reported_as_an_error(bench: Bench, line: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        ended = subprocess.run(
            [sys.executable, "-m", "mnist_bench", *shlex.split(line)],
            cwd=bench.folder,
            env=bench.environment(),
            stdin=subprocess.DEVNULL,
            stdout=gone,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_a_file_in_the_way_of_reports(bench: Bench) -> None:
    (bench.folder / "reports").write_text("notes", encoding="utf-8")
    assert_error(bench.call("run", "smoke"), "the folder reports", "move that file away")


def test_a_scenario_name_too_long_for_report_files(bench: Bench) -> None:
    path = bench.folder / f"{'a' * 200}.toml"
    shutil.copy(scenario.find("smoke"), path)
    assert_error(
        bench.call("run", f"./{path.name}"), "can't be used for its reports", "rename the file"
    )


def test_a_scenario_file_without_its_folder_prefix(bench: Bench) -> None:
    (bench.folder / "mine").write_text("", encoding="utf-8")
    assert_error(bench.call("run", "mine"), "there is no scenario 'mine'", "write ./mine")


def test_control_characters_in_a_title_are_not_printed(bench: Bench) -> None:
    path = bench.folder / "mine.toml"
    text = scenario.find("smoke").read_text(encoding="utf-8")
    title = 'title = "one \\u001b[31m two \\n three"'
    lines = [title if line.startswith("title") else line for line in text.splitlines()]
    path.write_text("\n".join(lines), encoding="utf-8")
    ended = bench.call("run", "./mine.toml", "--dry-run")
    assert ended.status == 0, ended.stderr
    first = ended.stdout.splitlines()[0]
    assert first.startswith("mine: one ")
    assert first.endswith(" two three")
    assert "\u001b" not in ended.stdout


def test_names_of_scenarios_are_completed() -> None:
    from click.shell_completion import ShellComplete

    completion = ShellComplete(cli, {}, "mnist-bench", "_MNIST_BENCH_COMPLETE")
    assert [item.value for item in completion.get_completions(["run"], "sm")] == ["smoke"]
    claims = [item.value for item in completion.get_completions(["run"], "claim-1")]
    assert claims == ["claim-1", "claim-10", "claim-11", "claim-12"]
