"""The test suite passes whatever the user's home and temporary folder contain."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import isolation
import pytest

from mnist_bench.data import mnist

ROOT = Path(__file__).parents[2]
CORRUPT = b"not the sample"


def samples(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("mnist-5k*")}


@pytest.mark.parametrize("is_corrupt", [False, True])
def test_a_session_with_an_unusable_home_and_temporary_folder_passes(
    tmp_path: Path, *, is_corrupt: bool
) -> None:
    """In the temporary folder, `mnist-bench` looks for a sample that an earlier session left."""
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    if is_corrupt:
        with mock.patch.dict(os.environ, isolation.user_folders(home)):
            cache = mnist.cache_folder()
        cache.mkdir(parents=True)
        (cache / "mnist-5k.uint8").write_bytes(CORRUPT)
    else:
        home.write_bytes(b"a file where the folder should be")
    (temporary / "mnist-bench").mkdir(parents=True)
    (temporary / "mnist-bench" / "mnist-5k.uint8").write_bytes(
        CORRUPT if is_corrupt else isolation.sample_file().read_bytes()
    )
    before = samples(tmp_path)
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }
    session = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "sample",
         "tests/data", "tests/worker/test_dataset_size.py", "--basetemp", str(tmp_path / "base")],
        cwd=ROOT,
        env=inherited | isolation.user_folders(home) | isolation.temporary_folder(temporary),
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert session.returncode == 0, session.stdout[-5_000:]
    after = {path: value for path, value in samples(tmp_path).items() if "base" not in path.parts}
    assert after == before
