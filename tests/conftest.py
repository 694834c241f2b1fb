"""What several rooms' tests begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import hypothesis
import pytest
from fakes import random_images
from program import Bench, installed

from mnist_bench.core import retry
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Dataset, Source

if TYPE_CHECKING:
    from selenium import webdriver

# No test asserts how long something took: machines differ, and CI is busy.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def sample() -> Source:
    """The embedded sample in the user's own cache: to parse it takes seconds."""
    return mnist.find("mnist-5k", None, say=pytest.fail)


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


@pytest.fixture
def here(tmp_path: Path) -> Bench:
    """One of two machines."""
    (tmp_path / "one").mkdir()
    return Bench(tmp_path / "one")


@pytest.fixture
def there(tmp_path: Path) -> Bench:
    """The other one."""
    (tmp_path / "other").mkdir()
    return Bench(tmp_path / "other")


@pytest.fixture
def board(tmp_path: Path) -> dict[str, str]:
    """Where both share plans and studies, and record; as they are told it."""
    return {
        "MNIST_BENCH_STORAGE": f"sqlite:///{(tmp_path / 'optuna.db').as_posix()}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{(tmp_path / 'board.db').as_posix()}",
    }


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long somebody waited patiently each time; the clock goes by it alone."""
    each: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(each), sleep=each.append)
    monkeypatch.setattr(retry, "time", clock)
    return each


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[webdriver.Chrome]:
    from selenium import webdriver

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")  # the driver is asked over HTTP
    options = webdriver.ChromeOptions()
    options.binary_location = installed("chromium", "chromium-browser", "google-chrome")
    flags = (
        "headless",
        "no-sandbox",  # root has none, and CI is often root
        "disable-gpu",
        "disable-dev-shm-usage",  # containers have little of it
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "no-proxy-server",
        # So tall that every chart is in view: those out of sight are not drawn.
        "window-size=1600,6000",
        f"user-data-dir={tmp_path / 'profile'}",
    )
    for flag in flags:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(installed("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()
