"""What several rooms' tests begin with."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
from stand_ins import random_images

from mnist_bench import data
from mnist_bench.dataset import Dataset, Source

# No test asserts how long something took: machines differ, and CI is busy.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def sample() -> Source:
    """The embedded sample in the user's own cache: to parse it takes seconds."""
    return data.find("mnist-5k", None, say=pytest.fail)


@pytest.fixture(scope="session")
def small_dataset() -> Dataset:
    """A few images that show nothing; no split is a whole number of batches."""
    return Dataset(
        train=random_images(203, seed=1),
        validation=random_images(31, seed=2),
        test=random_images(47, seed=3),
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the test's own, with the cache and configuration folders in it."""
    folder = tmp_path / "home-of-nobody"
    folder.mkdir()
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / ".cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / ".config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / ".state"))
    monkeypatch.setenv("WIN_PD_OVERRIDE_LOCAL_APPDATA", str(folder))
    return folder
