"""Scenario files that others may have made, and what lies beside them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnist_bench.core.errors import EXIT_USAGE, BenchError
from mnist_bench.runner import options
from mnist_bench.tracking import spool

GOOD = 'title = "A"\nmodel = "paper-cnn"\nsteps = [50]\neval_every = 50\n'
BESIDE: dict[str, Callable[[Path], Any]] = {
    "a deep nest": lambda path: path.write_bytes(b"[" * 200_000),
    "a long list": lambda path: path.write_bytes(b"[" + b"1," * 10_000_000 + b"1]"),
    "many digits": lambda path: path.write_bytes(b'{"study": ' + b"9" * 100_000 + b"}"),
    "too large": lambda path: path.write_bytes(bytes(33 * 2**20)),
    "no UTF-8": lambda path: path.write_bytes(b"\xff\xfe"),
    "a folder": Path.mkdir,
    "a FIFO": os.mkfifo if os.name == "posix" else Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
}


@pytest.mark.skipif(os.name != "posix", reason="needs special files")
@pytest.mark.parametrize("make", BESIDE.values(), ids=BESIDE)
def test_what_lies_beside_a_scenario_does_not_matter(
    tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    (tmp_path / "mine.toml").write_text(GOOD, encoding="utf-8")
    make(tmp_path / "mine.json")
    assert options.read_scenario(str(tmp_path / "mine.toml"))[0] == "mine"


def test_study_beside_its_winner(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "mine.json").write_text('{"schema": 1, "study": "mine"}', encoding="utf-8")
    assert options.read_scenario(str(tmp_path / "mine.toml"))[0] == "mine-winner"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (GOOD.encode() + b"#" * 2**16, "larger than 65,536 bytes"),
        (b"a" + b".a" * 20_000 + b" = 1", "nested too deeply"),
        (b"[a" + b".a" * 20_000 + b"]", "nested too deeply"),
        (b"a = " + b"[" * 30_000, "nested too deeply"),
        (b"steps = " + b"9" * 60_000, "is not TOML"),
        (b"\0" * 100, "is not TOML"),
    ],
)
def test_scenario_beyond_the_limits(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(BenchError, match=words) as caught:
        options.read_scenario(str(tmp_path / "mine.toml"))
    assert caught.value.exit_status == EXIT_USAGE


@pytest.mark.skipif(os.name != "posix", reason="needs special files")
@pytest.mark.parametrize("kind", ["FIFO", "device", "folder"])
def test_scenario_that_is_no_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mine.toml"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(BenchError, match="there is no scenario file"):
        options.read_scenario(str(path))


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_folder_of_spools_that_leads_elsewhere(folder: Path) -> None:
    spool.FOLDER.parent.mkdir()
    spool.FOLDER.symlink_to(folder)
    with pytest.raises(BenchError, match=r"mlruns/\.runs is a symbolic link"):
        options.check_folders()
    spool.FOLDER.unlink()
    spool.FOLDER.parent.rmdir()
    (folder / "large disk").mkdir()
    spool.FOLDER.parent.symlink_to(folder / "large disk", target_is_directory=True)
    options.check_folders()  # that is the user's own choice
