"""Wrong requests: the exact message, exit status 2, and no file written.

Wrong scenario files are in tests/scenarios/test_scenario.py, wrong images in tests/data.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from factories import run
from program import Bench, import_runs

from mnist_bench.measurement import system


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One folder for all rows, since none of them may leave a file."""
    return Bench(tmp_path_factory.mktemp("user"))


def assert_refused(bench: Bench, line: str, message: str) -> None:
    before = sorted(bench.folder.rglob("*"))
    ended = bench.call_with_store(*shlex.split(line))
    assert (ended.status, ended.stdout, ended.stderr) == (2, "", f"mnist-bench: {message}\n")
    assert sorted(bench.folder.rglob("*")) == before


NOT_STEPS = "is not a list of step counts like 1000,2500"
NOT_SEEDS = "is neither a number of seeds from 1 to 10000 nor auto"
NOT_A_DURATION = "is not a duration like 90s, 30m or 2h"
NOT_A_TARGET = "is not a number between 0 and 1, like 0.0005"
COMMAS = "step counts are separated by commas: write"

VALUES = {
    "run --steps 1,000": f"{COMMAS} 1000, not 1,000",
    "run --steps 10,000": f"{COMMAS} 10000, not 10,000",
    "run --steps 1,000,2,500": f"{COMMAS} 1000,2500, not 1,000,2,500",
    "run --steps 2,500": (
        "2,500 is 2 and 500 steps: write 2500 if you mean one step count, 500,2 if you mean two"
    ),
    "run --steps abc": f"'abc' {NOT_STEPS}",
    "run --steps ''": f"'' {NOT_STEPS}",
    "run --steps 0": "0 is not a step count from 1 to 1000000",
    "run --steps 100,0": "0 is not a step count from 1 to 1000000",
    "run --steps 1000000000000": "1000000000000 is not a step count from 1 to 1000000",
    "run --seeds 0": f"'0' {NOT_SEEDS}",
    "run --seeds many": f"'many' {NOT_SEEDS}",
    "run --seeds 10001": f"'10001' {NOT_SEEDS}",
    "run --budget soon": f"'soon' {NOT_A_DURATION}",
    "run --budget 0s": f"'0s' {NOT_A_DURATION}",
    "run --budget -5m": f"'-5m' {NOT_A_DURATION}",
    "run --budget 30": f"'30' {NOT_A_DURATION}",
    "run --precision-target 0": f"'0' {NOT_A_TARGET}",
    "run --precision-target -1": f"'-1' {NOT_A_TARGET}",
    "run --precision-target nan": f"'nan' {NOT_A_TARGET}",
    "run --precision-target inf": f"'inf' {NOT_A_TARGET}",
    "run --precision-target fine": f"'fine' {NOT_A_TARGET}",
    "run --price free": "'free' is not a price of a kilowatt-hour, like 0.3",
    "run --price -1": "'-1' is not a price of a kilowatt-hour, like 0.3",
    "run --first-seed -1": "'-1' is not a whole number from 0 to 2147483647",
    "run --threads 0": "'0' is not a whole number from 1 to 1024",
    "run --threads two": "'two' is not a whole number from 1 to 1024",
    "run --set foo": "'foo' is not of the form NAME=VALUE",
    "run --set =5": "'=5' is not of the form NAME=VALUE",
    "run --data ''": "it is empty",
    "run --dataset cifar": "'cifar' is not one of 'auto', 'mnist', 'mnist-5k'.",
    "tune --trials 0": "'0' is not a whole number from 1 to 100000",
    "tune --confirm 1": "one seed has no spread: give 0 or at least 2",
    "tune --max-seconds 0": "'0' is not a number of seconds above 0, like 60",
    "tune --max-seconds soon": "'soon' is not a number of seconds above 0, like 60",
    "tune --max-memory 0K": "'0K' is not a size like 900M or 1.5G",
    **{
        f"tune --storage {url}": f"'{url}' names no file: write it like sqlite:///optuna.db"
        for url in ("sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+pysqlite://")
    },
    "report --since 2026-13-01": "'2026-13-01' is not a day like 2026-01-31",
    "report --until today": "'today' is not a day like 2026-01-31",
    "report --image -1": "'-1' is not a whole number from 0",
    "report --format pdf": "'pdf' is not one of html, md, csv, json",
    "ui --port 0": "'0' is not a whole number from 1 to 65535",
}
"""Value of the last option."""


@pytest.mark.parametrize(("line", "reason"), VALUES.items())
def test_value_of_an_option(bench: Bench, line: str, reason: str) -> None:
    command, option, _ = shlex.split(line)
    help_ = f"(see `mnist-bench {command} --help`)"
    assert_refused(bench, line, f"Invalid value for '{option}': {reason} {help_}")


SEE_RUN = "(see `mnist-bench run --help`)"
NOT_VALID = "is not valid; give a"
REQUESTS = {
    # scenarios and commands
    "run smok": "there is no scenario 'smok'; did you mean smoke?",
    "run table1": "there is no scenario 'table1'; did you mean table-1?",
    "run ./none.toml": "there is no scenario file ./none.toml; give the path of a TOML file",
    "run smoke smoke": "two scenarios are called smoke; run them one after the other",
    "rum": "there is no command 'rum'; did you mean run? (see `mnist-bench --help`)",
    "help me": "there is no command 'me' (see `mnist-bench --help`)",
    "scenarios smoke": "Got unexpected extra argument (smoke) (see `mnist-bench scenarios --help`)",
    "run --steps": "Option '--steps' requires an argument. (see `mnist-bench --help`)",
    "tune --space sprnt": "there is no search space 'sprnt'; did you mean sprint?",
    "tune --space ./none.toml": (
        "there is no search space file ./none.toml; give the path of a TOML file"
    ),
    # limits that cannot be met
    "tune --finalists 50 --trials 2": (
        "--finalists 50 of --trials 2; give at most as many finalists as trials"
    ),
    "tune --max-memory 1KB": (
        "--max-memory is less than TensorFlow alone takes; give a size like 900M"
    ),
    # options that need others
    "run --precision-target 0.001": f"--precision-target works only with --seeds auto {SEE_RUN}",
    "run --seeds 3 --budget 30m": (
        f"--budget works only with --seeds auto or `run claims` {SEE_RUN}"
    ),
    "run smoke --price 0.3": f"--price works only with `run claims` {SEE_RUN}",
    "run smoke --first-seed 2147483647 --seeds 2": (
        "seed 2147483648 is above 2147483647; choose a smaller --first-seed"
    ),
    "run smoke --threads 999": "--threads 999: this process may use 2 cores; give at most 2",
    # hyperparameters
    "run --set lr=0.1": (
        "--set lr: paper-cnn has no such hyperparameter; did you mean learning_rate?"
    ),
    "run --set learning_rat=1": (
        "--set learning_rat: paper-cnn has no such hyperparameter; did you mean learning_rate?"
    ),
    "run --set steps=5 smoke": "--set steps: that is not a hyperparameter; use --steps 5",
    "run --set title=x": "--set title: that is not a hyperparameter; set it in a scenario file",
    **{
        f"run --set learning_rate={value}": (
            f"--set learning_rate={value} {NOT_VALID} number above 0, up to 10, like 0.001"
        )
        for value in ("0", "1e3", "abc", "nan")
    },
    **{
        f"run --set batch_size={value}": (
            f"--set batch_size={value} {NOT_VALID} whole number from 1 to 55,000, like 50"
        )
        for value in ("0", "50.5", "60000")
    },
    "run --set dropout_rate=1": (
        f"--set dropout_rate=1 {NOT_VALID} number from 0 to below 1, like 0.5"
    ),
    "run --set optimizer=sgd": ("--set optimizer=sgd is not valid; give one of adam, momentum"),
    "run --set batch_normalization=2": (
        "--set batch_normalization=2 is not valid; give true or false"
    ),
    # models
    "run claim-6-logistic --save-model": (
        "--save-model: claim-6-logistic trains logistic-regression, which does not support it; "
        "leave --save-model out, or run only neural networks with it"
    ),
    "run claim-1 --save-model": (
        "--save-model can't be used with claims: they set it (see `mnist-bench run --help`)"
    ),
    # images
    "run smoke --set batch_size=5000": (
        "batch_size is 5000, mnist-5k has 4000 training images; choose a smaller batch_size"
    ),
    "run --dataset mnist-5k --data nowhere": (
        "the dataset mnist-5k is embedded and can't come from nowhere; leave out --data and unset "
        "MNIST_BENCH_DATA, or choose another --dataset"
    ),
    # the tracking URI and the experiment
    "run smoke --experiment ''": (
        "the experiment has no name; give one by --experiment or MLFLOW_EXPERIMENT_NAME"
    ),
    "run smoke --experiment Default": (
        "experiment Default is MLflow's own and may keep its artifacts behind a server; choose "
        "another --experiment"
    ),
    "run smoke --tracking-uri ftp://example.org/runs": (
        "can't record runs at 'ftp://example.org/runs'; give sqlite:///mlflow.db, another "
        "database, or an http(s) address"
    ),
    "run smoke --tracking-uri sqlite:///nowhere/mlflow.db": (
        "no folder nowhere for the database mlflow.db; create it first"
    ),
    "run smoke --tracking-uri sqlite://": (
        "the sqlite URI names no file; write it like sqlite:///mlflow.db"
    ),
    # reports and bundles
    "report --since 2026-05-01 --until 2025-01-01": (
        "--since 2026-05-01 is after --until 2025-01-01 (see `mnist-bench report --help`)"
    ),
    "export mine": "mine does not end in .zip; name it bundle.zip",
    "export nowhere/mine.zip": "there is no folder nowhere; create it first",
}


@pytest.mark.parametrize(("line", "message"), REQUESTS.items())
def test_request(bench: Bench, line: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "usable_threads", lambda: 2)
    assert_refused(bench, line, message)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A folder with runs of two scenarios."""
    bench = Bench(tmp_path_factory.mktemp("recorded"))
    import_runs(bench, [run(200, scenario="smoke"), run(1_000, trajectory="t")])
    return bench


NAMES = "recorded scenarios: smoke, table-1"
RECORDED = {
    "report --scenario smok": "no run of a scenario smok is recorded; did you mean smoke?",
    "report --scenario smoke --scenario mine": (
        "no run of a scenario mine is recorded; there are smoke, table-1"
    ),
    "compare": f"compare needs two names, or --by; {NAMES}",
    "compare theirs.zip": "one name can't be compared; give a second name, or --by",
    "compare smoke": f"one name can't be compared; give a second name, or --by; {NAMES}",
}


@pytest.mark.parametrize(("line", "message"), RECORDED.items())
def test_request_about_recorded_runs(recorded: Bench, line: str, message: str) -> None:
    assert_refused(recorded, line, message)


@pytest.mark.parametrize(("line", "usage"), [("help", "[OPTIONS]"), ("help run", "run [OPTIONS]")])
def test_help_is_a_command_too(bench: Bench, line: str, usage: str) -> None:
    ended = bench.call(*line.split())
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"Usage: mnist-bench {usage}")


def test_white_space_after_the_tracking_uri(bench: Bench, tmp_path: Path) -> None:
    uri = f"sqlite:///{(tmp_path / 'mlflow.db').as_posix()}"
    ended = bench.call("report", MLFLOW_TRACKING_URI=f"{uri}\r\n")
    assert ended.stderr == (
        f"mnist-bench: no run is recorded in experiment mnist-bench of {uri}; record some with "
        "`mnist-bench run`\n"
    )
