"""Errors that nobody foresaw: one line, and a report without secrets."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from program import PROGRAM, Bench, patched_program

from mnist_bench.core import crash
from mnist_bench.tracking.mlflow_store import to_bench_error

BREAKING = """
from mnist_bench.measurement import machine
def fail(): raise {error}
machine.describe = fail
"""


def path_in(line: str) -> Path:
    found = re.search(r"please send the report (\S+) to the maintainers", line)
    assert found, line
    return Path(found[1])


@pytest.mark.parametrize("command", ["machine", "run smoke --steps 50"])
def test_unforeseen_error_is_one_line_with_a_report(tmp_path: Path, command: str) -> None:
    bench = Bench(tmp_path)
    secret = f"{bench.home}/private postgresql://me:hunter2@host/db?password=hunter3 hunter4"
    program = patched_program(BREAKING.format(error=f"KeyError({secret!r})"))
    ended = bench.run(
        *command.split(), "--json", program=program, MLFLOW_TRACKING_PASSWORD="hunter4"
    )
    assert (ended.status, ended.stdout) == (1, "")
    line = ended.error_line
    assert line.startswith(
        "mnist-bench: unexpected error: KeyError: '~/private postgresql://…@host"
    )
    report = path_in(line).read_text(encoding="utf-8")
    assert "KeyError" in report
    assert ", in fail" in report
    assert f"Command: {command} --json" in report
    assert re.search(r"mlflow 3\.\d+", report)
    for text in (line.partition("please send")[0], report):
        assert "hunter" not in text
        assert str(bench.home) not in text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("MemoryError()", "no memory is left; close other programs"),
        ('RuntimeError("can\'t start new thread")', "the system allows no further thread"),
        ("RecursionError('x' * 5000 + chr(10))", "unexpected error: RecursionError: xxx"),
        ("UnicodeEncodeError('utf-8', chr(0xdce9), 0, 1, 'no')", "unexpected error: Unicode"),
        ("PermissionError(13, 'Permission denied')", "system error: [Errno 13]"),
    ],
)
def test_other_errors(tmp_path: Path, error: str, words: str) -> None:
    ended = Bench(tmp_path).run("machine", program=patched_program(BREAKING.format(error=error)))
    assert ended.status == 1
    assert words in ended.error_line


def test_report_goes_to_the_temporary_folder_without_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(crash.sys, "platform", "linux")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert path_in(crash.line(KeyError(1))).parent == tmp_path
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    assert "no report: " in crash.line(KeyError(1))


def test_error_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = importlib.import_module("mnist_bench.cli.main")
    monkeypatch.setattr(threading, "excepthook", main._thread_failed)
    for error in (KeyError("a bug"), SystemExit(1)):
        thread = threading.Thread(target=_raise, args=(error,))
        thread.start()
        thread.join()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mnist-bench: in a thread: unexpected error: KeyError: 'a bug'; please")


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("name", "command"), [("random", "scenarios"), ("click", "scenarios"), ("psutil", "machine")]
)
def test_file_in_pythonpath_that_hides_a_library(tmp_path: Path, name: str, command: str) -> None:
    bench = Bench(tmp_path)
    (bench.home / f"{name}.py").touch()
    ended = bench.run(command, PYTHONPATH=str(bench.home))
    assert ended.status == 1
    assert f"{name}.py, which PYTHONPATH leads to, hides the module {name}; rename" in (
        ended.error_line
    )


def test_hidden_mlflow_is_no_fault_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = type(sys)("mlflow")
    module.__file__ = str(tmp_path / "mlflow.py")
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}{tmp_path}")
    error = AttributeError("module 'mlflow' has no attribute 'MlflowClient'")
    message = str(to_bench_error(error, "sqlite:///x.db", "opening the store"))
    assert message.startswith(f"{module.__file__}, which PYTHONPATH leads to, hides the module")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have only names that are text")
@pytest.mark.parametrize("what", ["directory", "argument", "variable", "locale"])
def test_name_that_is_not_text(tmp_path: Path, what: str) -> None:
    """Latin-1, or UTF-8 where the locale is another."""
    bench, name = Bench(tmp_path), os.fsdecode(b"\xe9tude")
    folder, arguments, variables = bench.folder, [], {}
    match what:
        case "directory":
            folder = bench.folder / name
        case "argument":
            arguments = ["--data", name]
        case "variable":
            variables = {"MNIST_BENCH_DATA": name}
        case "locale":
            folder = bench.folder / "ü"
            variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    folder.mkdir(exist_ok=True)
    command = [*PROGRAM, "run", "smoke", "--steps", "50", *arguments]
    environment = bench.environment(**variables)
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    assert ended.returncode == 2
    (line,) = ended.stderr.decode().splitlines()
    kind = "directory" if what == "locale" else what
    assert re.match(f"mnist-bench: the .*{kind}.* is not text", line)
    assert list(folder.iterdir()) == []


def test_backend_of_a_notebook(tmp_path: Path) -> None:
    code = """
from mnist_bench.__main__ import start
try:
    start()
except SystemExit:
    import matplotlib.pyplot as plt
    plt.figure()
    print(plt.get_backend())
"""
    ended = Bench(tmp_path).run(
        "scenarios",
        "--json",
        program=(sys.executable, "-c", code),
        MPLBACKEND="module://matplotlib_inline.nothing",
    )
    assert ended.stdout.splitlines()[-1] == "agg"


@pytest.mark.skipif(sys.platform != "linux", reason="needs limits of the stack")
def test_small_stack(tmp_path: Path) -> None:
    """Below 96 KiB Python itself ends."""
    command = 'ulimit -s 128; exec "$0" -m mnist_bench scenarios'
    ended = Bench(tmp_path).run(program=("bash", "-c", command, sys.executable))
    assert ended.error_line == (
        "mnist-bench: the stack limit of 128 KiB is too small; set `ulimit -s 8192`"
    )


def test_ctrl_c_while_the_error_is_told(tmp_path: Path) -> None:
    code = """
from mnist_bench.cli import main as program
def interrupt(*_): raise KeyboardInterrupt
program.print_error = interrupt
"""
    ended = Bench(tmp_path).run("rum", program=patched_program(code))
    assert (ended.status, ended.stderr) == (130, "")
