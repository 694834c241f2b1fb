"""The command line: help, plans and errors; a rejected command leaves no files."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pytest
import tomli_w
from click.shell_completion import ShellComplete
from program import Bench, Ended, free_port

from mnist_bench.cli.main import cli
from mnist_bench.cli.options import GroupedCommand
from mnist_bench.core import locks
from mnist_bench.data import mnist
from mnist_bench.runner import calibration
from mnist_bench.scenarios import scenario
from mnist_bench.scenarios.execution import Execution

NAMES = tuple(file.name for file in mnist.MNIST.files)
SECRET = "hunter2"
HEAVY = {"distributed", "keras", "mlflow", "mlxtend", "optuna", "pandas", "scipy", "tensorflow"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    parent = tmp_path / "user"
    parent.mkdir()
    return Bench(parent)


def assert_error(ended: Ended, *words: str) -> None:
    """Check for exit status 2 and one line on stderr that contains the words."""
    assert (ended.status, ended.stdout) == (2, ""), ended
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    for word in words:
        assert word in ended.error_line


def files_in(bench: Bench) -> list[str]:
    """Names of the files in the working directory."""
    return sorted(path.name for path in bench.folder.iterdir())


def done(bench: Bench, line: str, **variables: str) -> Ended:
    """A command that succeeds without a message or a file."""
    before = files_in(bench)
    ended = bench.call(*shlex.split(line), **variables)
    assert (ended.status, ended.stderr, files_in(bench)) == (0, "", before)
    return ended


# Help


@pytest.mark.parametrize("line", ["--help", "-h", ""])
def test_help_names_every_command(bench: Bench, line: str) -> None:
    lines = [line.split() for line in done(bench, line).stdout.splitlines()]
    assert set(cli.commands) <= {line[0] for line in lines if line}
    assert ["Examples:"] in lines  # its lines are not wrapped into one paragraph


@pytest.mark.parametrize("command", ["run", "tune"])
def test_every_option_is_in_a_group(command: str) -> None:
    grouped = cli.commands[command]
    assert isinstance(grouped, GroupedCommand)
    names = [name for group in grouped.groups.values() for name in group]
    options = [each.name for each in grouped.params if isinstance(each, click.Option)]
    assert sorted(names) == sorted(options)


def test_version(bench: Bench) -> None:
    assert done(bench, "--version").stdout == f"mnist-bench, version {version('mnist-bench')}\n"


def test_commands_load_only_what_they_need(bench: Bench) -> None:
    """In one process, from the command that needs least on."""
    program = """
import contextlib, io, json, sys
from mnist_bench.cli.main import cli
loaded = []
for arguments in ([], ["run", "--help"], ["scenarios"], ["scenarios", "--json"], ["machine"]):
    if arguments == ["machine"]:
        from mnist_bench.cli import machine
        machine.check_machine = sys.exit
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        cli.main(arguments, prog_name="mnist-bench", standalone_mode=False)
    loaded.append(list(sys.modules))
print(json.dumps(loaded))
"""
    ended = bench.run(program=(sys.executable, "-c", program))
    assert ended.status == 0, ended.stderr
    help_, run_help, *listed, machine = map(set, json.loads(ended.stdout))
    for loaded in (help_, run_help):
        ours = {name for name in loaded if name.startswith("mnist_bench.")}
        assert {name.split(".")[1] for name in ours} == {"cli", "core", "tracking"}
        assert {name for name in ours if name.startswith("mnist_bench.tracking.")} == {
            "mnist_bench.tracking.uri",
            "mnist_bench.tracking.database",
        }
        libraries = {"numpy", "platformdirs", "psutil", "pydantic", "requests", "rich", "tomllib"}
        assert loaded.isdisjoint(HEAVY | libraries)
    for loaded in listed:
        assert "mnist_bench.cli.scenarios" in loaded
        assert loaded.isdisjoint(HEAVY | {"jinja2", "numpy", "requests"})
        assert loaded.isdisjoint({"mnist_bench.results.run", "mnist_bench.tracking.mlflow_store"})
    assert "mnist_bench.cli.machine" in machine
    assert machine.isdisjoint(HEAVY)


def test_started_by_its_name(bench: Bench) -> None:
    script = shutil.which("mnist-bench", path=str(Path(sys.executable).parent))
    if script is None:
        pytest.skip("not installed with this Python")
    assert_error(bench.run("run", "smok", "--json", program=(script,)), "did you mean smoke?")
    assert files_in(bench) == []


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
@pytest.mark.parametrize("line", ["scenarios", "scenarios --json", "--help"])
def test_a_closed_pipe_is_not_reported_as_an_error(bench: Bench, line: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        ended = subprocess.run(
            [sys.executable, "-m", "mnist_bench", *line.split()], cwd=bench.folder,
            env=bench.environment(), stdin=subprocess.DEVNULL, stdout=gone,
            stderr=subprocess.PIPE, timeout=120, check=False,
        )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_names_of_scenarios_are_completed() -> None:
    completion = ShellComplete(cli, {}, "mnist-bench", "_MNIST_BENCH_COMPLETE")
    assert [item.value for item in completion.get_completions(["run"], "sm")] == ["smoke"]
    claims = [item.value for item in completion.get_completions(["run"], "claim-1")]
    assert claims == ["claim-1", "claim-10", "claim-11", "claim-12"]


# Scenarios and plans


def test_scenarios(bench: Bench) -> None:
    lines = done(bench, "scenarios", COLUMNS="200").stdout.splitlines()
    first = {line.split()[0]: line for line in lines if line.split()}
    assert set(scenario.packaged_names()) <= set(first)
    assert "1,000, 2,500, 5,000, 10,000" in first["table-1"]
    assert "images to train on" in first["table-1"]  # nothing was measured in this home folder
    listed = {item["name"]: item for item in done(bench, "scenarios --json").document["scenarios"]}
    assert sorted(listed) == scenario.packaged_names()
    assert (listed["smoke"]["steps"], listed["smoke"]["expected_seconds"]) == ([200], None)


def training(seed: int, *steps: int, threads: int = 1) -> dict[str, Any]:
    return {"seed": seed, "steps": list(steps), "threads": threads}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--steps 200,100 --seeds 2 --first-seed 5 --threads 1",
         {"scenario": "smoke", "dataset": "mnist-5k", "threads": 1, "precision": "float32",
          "device": "cpu", "trajectories": [training(5, 100, 200), training(6, 100, 200)],
          "expected_seconds": None, "repeats": None}),
        ("--steps 100,200 --independent --threads 2",
         {"trajectories": [training(0, 100, threads=2), training(0, 200, threads=2)]}),
        ("--seeds auto --first-seed 4 --precision-target 0.001 --threads 1",
         {"trajectories": [training(seed, 200) for seed in (4, 5, 6)],
          "repeats": {"precision_target": 0.001, "budget_seconds": 1_800.0}}),
    ],
)  # fmt: skip
def test_dry_run_as_json(bench: Bench, line: str, expected: dict[str, Any]) -> None:
    document = done(bench, f"run smoke --dry-run --json {line}").document
    assert list(document) == ["schema", "plans"]
    (plan,) = document["plans"]
    assert {name: plan[name] for name in expected} == expected


def test_dry_run(bench: Bench) -> None:
    text = done(bench, "run smoke --dry-run").stdout
    assert text.startswith("smoke: ")
    for words in ("mnist-5k", "4,000", "200; seeds: 1", "NOT COMPARABLE with Table I", "unknown"):
        assert words in text
    text = done(bench, "run smoke --seeds auto --budget 90s --dry-run").stdout
    assert "steps      200; seeds: at least 3, starting at 0\n" in text
    assert "seeds      until the 95% interval of each row's mean" in text
    for words in ("±0.0005", "after 1 min 30 s", "at least 3, each for all step counts"):
        assert words in text
    assert "10,000" not in text


GOOD: dict[str, Any] = {
    "title": "one \u001b[31m two \n three",
    "model": "paper-cnn",
    "steps": [100],
    "dataset": "mnist-5k",
    "eval_every": 50,
    "hyperparameters": {"learning_rate": 0.001, "batch_size": 50, "dropout_rate": 0.5},
}


def test_dry_run_of_a_scenario_file(bench: Bench) -> None:
    (bench.folder / "mine.toml").write_text(tomli_w.dumps(GOOD), encoding="utf-8")
    plans = done(bench, "run mine.toml smoke --dry-run --json").document["plans"]
    assert [plan["scenario"] for plan in plans] == ["mine", "smoke"]
    first = done(bench, "run mine.toml --dry-run").stdout.splitlines()[0]
    assert first == "mine: one [31m two three"


def test_table_1_takes_other_images_only_on_the_users_word(bench: Bench) -> None:
    ended = bench.call("run", "--dry-run")
    assert (ended.status, ended.stdout) == (2, "")
    for words in ("can't be downloaded", "--data DIR", "--dataset mnist-5k"):
        assert words in ended.stderr_line
    assert files_in(bench) == []


@pytest.mark.parametrize("arguments", [["--dataset", "auto"], ["threads"], ["--steps", "500"]])
def test_without_a_network_the_sample_replaces_mnist_with_a_warning(
    bench: Bench, arguments: list[str]
) -> None:
    ended = bench.call("run", "--dry-run", *arguments)
    assert ended.status == 0, ended.stderr
    assert "NOT COMPARABLE with Table I" in ended.stdout
    for words in ("can't be downloaded", "mnist-5k", "not comparable with Table I", "--data DIR"):
        assert words in ended.stderr_line
    assert files_in(bench) == []


# Invalid files and folders


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("mine.toml", GOOD | {"stepz": [1]}, ("unknown key stepz", "did you mean steps?")),
        ("mine.toml", GOOD | {"steps": [0]}, ("steps = 0 is not valid; give a list",)),
        ("mine.toml", GOOD | {"hyperparameters": {"batch_size": 4_001}},
         ("batch_size is 4001", "4000 training")),
        ("mine.toml", b'title = "mine"\nsteps = = 3\n', ("mine.toml is not TOML", "line 2")),
        ("mine.toml", b"\xff\xfe\x00\x01", ("mine.toml is not a text file in UTF-8",)),
        ("mine", b"", ("there is no scenario 'mine'", "write ./mine")),
        (f"{'a' * 200}.toml", GOOD, ("can't be used for its reports", "rename the file")),
    ],
    ids=["key", "value", "batch", "syntax", "bytes", "without ./", "long"],
)  # fmt: skip
def test_invalid_scenario_file(
    bench: Bench, name: str, content: bytes | dict[str, Any], words: tuple[str, ...]
) -> None:
    text = content if isinstance(content, bytes) else tomli_w.dumps(content).encode()
    (bench.folder / name).write_bytes(text)
    assert_error(bench.call("run", name), *words)
    assert files_in(bench) == [name]


def truncated_images(folder: Path) -> None:
    """Four files, all empty but the first."""
    folder.mkdir()
    for name in NAMES:
        (folder / name).touch()
    header = struct.pack(">4I", 2051, 60_000, 28, 28)
    (folder / NAMES[0]).write_bytes(gzip.compress(header + bytes(10_000))[:-20])


@pytest.mark.parametrize(
    ("make", "line", "words"),
    [
        (truncated_images, "--dataset auto", (NAMES[0], "is truncated", "leave out --data")),
        (truncated_images, "--dataset mnist", (NAMES[0], "is truncated", "leave out --data")),
        (Path.mkdir, "", ("is empty", "--data DIR")),
        (Path.touch, "", ("is not a folder",)),
        (lambda _: None, "", ("there is no folder",)),
    ],
)
def test_invalid_images(
    bench: Bench, tmp_path: Path, make: Callable[[Path], None], line: str, words: tuple[str, ...]
) -> None:
    folder = tmp_path / "data"
    make(folder)
    arguments = ("run", *line.split())
    assert_error(bench.call(*arguments, "--data", str(folder)), str(folder), *words)
    assert_error(bench.call(*arguments, MNIST_BENCH_DATA=str(folder)), str(folder), *words)
    assert files_in(bench) == []


# Folders and stores that can't be used


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
    ended = bench.call("run", "smoke", "--dry-run", folder=unwritable)
    assert (ended.status, ended.stderr) == (0, "")
    for arguments in (("report", "--out", f"{unwritable}/x"), ("export", f"{unwritable}/x.zip")):
        assert_error(bench.call(*arguments), f"can't write to {unwritable}", "choose another ")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mlflow.db", ("mlflow.db can't be used as a database", "move it away")),
        ("reports", ("the folder reports", "move that file away")),
    ],
)
def test_a_file_in_the_way(bench: Bench, name: str, words: tuple[str, ...]) -> None:
    content = b"a text file\n" * 200
    (bench.folder / name).write_bytes(content)
    assert_error(bench.call("run", "smoke"), *words)
    assert files_in(bench) == [name]
    assert (bench.folder / name).read_bytes() == content


def test_a_server_that_does_not_answer(bench: Bench) -> None:
    closed_port = free_port()
    words = f"no database answers at postgresql://127.0.0.1:{closed_port}/runs"
    uri = f"postgresql://me@127.0.0.1:{closed_port}/runs"
    ended = bench.call("run", "smoke", "--tracking-uri", uri)
    assert_error(ended, words, "start it", "--tracking-uri")
    ended = bench.call("run", "smoke", MLFLOW_TRACKING_URI=uri.replace("me@", f"me:{SECRET}@"))
    assert_error(ended, words, "MLFLOW_TRACKING_URI")
    assert SECRET not in ended.stderr
    assert files_in(bench) == []


@pytest.mark.parametrize("command", ["run", "ui"])
@pytest.mark.parametrize(
    "uri",
    [
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


def test_a_first_dry_run_trains_briefly_for_its_estimate(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in bench.environment().items():
        monkeypatch.setenv(name, value)
    tried = []
    execution = Execution(threads=1)
    monkeypatch.setattr(calibration, "unknown_executions", lambda _: [execution])
    monkeypatch.setattr(calibration, "calibrate", lambda plan, one: tried.append((plan.name, one)))
    ended = bench.call("run", "smoke", "--dry-run")
    assert ended.stderr_line.startswith("1 short training to estimate the time, not recorded")
    assert tried == [("smoke", execution)]
    with locks.benchmark_lock(exclusive=True, warn=pytest.fail):
        bench.call("run", "smoke", "--dry-run")
    assert tried == [("smoke", execution)]


def test_another_benchmark_is_not_disturbed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bench.environment().items():
        monkeypatch.setenv(name, value)
    with locks.benchmark_lock(exclusive=True, warn=pytest.fail):
        ended = bench.call("run", "smoke")
        assert_error(ended, f"(process {os.getpid()}, since ", "--no-exclusive")
        assert bench.call("run", "smoke", "--dry-run").status == 0
    assert files_in(bench) == []
