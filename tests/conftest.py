"""Fixtures shared by tests of several packages."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import isolation
import pytest
from factories import run, sqlite_url, table_1
from fakes import random_images
from program import Bench, import_runs, installed, prepared_tables

from mnist_bench.core import locks
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Dataset, Source
from mnist_bench.runner import calibration

if TYPE_CHECKING:
    from selenium import webdriver

# No deadlines: machines differ, and CI is busy.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def no_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run --dry-run` in this process trains nothing."""
    monkeypatch.setattr(calibration, "unknown_executions", lambda _: [])


@pytest.fixture(scope="session", autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Home, cache, configuration, state and temporary folders of this test run alone.

    They apply to the tests and to the processes that these start.
    """
    base = tmp_path_factory.getbasetemp()
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    # Sockets lie in the temporary folder, and their paths must be short.
    parent = "/tmp" if sys.platform == "darwin" else None
    with (
        tempfile.TemporaryDirectory(
            prefix="mb-", dir=parent, ignore_cleanup_errors=True
        ) as temporary,
        pytest.MonkeyPatch.context() as patch,
    ):
        Path(temporary).chmod(0o755)  # PostgreSQL's user must get through
        variables = {
            **isolation.user_folders(tmp_path_factory.mktemp("home")),
            **isolation.temporary_folder(Path(temporary)),
            isolation.SHARED_FOLDER: str(base.parent if is_worker else base),
        }
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.setattr(tempfile, "tempdir", None)  # what the tempfile module has cached
        yield


@pytest.fixture(scope="session")
def sample(isolated: None) -> Source:
    """The embedded sample, in the session's cache."""
    isolation.copy_sample_to_cache()
    return mnist.find("mnist-5k", None, log=pytest.fail)


@pytest.fixture(scope="session")
def small_dataset() -> Dataset:
    """A few random images; no split is a whole number of batches."""
    return Dataset(
        train=random_images(203, seed=1),
        validation=random_images(31, seed=2),
        test=random_images(47, seed=3),
    )


@pytest.fixture(autouse=True)
def released_locks() -> Iterator[None]:
    """Lock files that a test holds in its folders are freed at its end."""
    yield
    locks.release_all()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's tables, to be copied: creating them takes seconds."""
    from mnist_bench.tracking import mlflow_store

    path = tmp_path_factory.mktemp("database") / "empty.db"
    mlflow_store.import_mlflow()
    importlib.import_module("mlflow.store.db.utils")  # what prepared_tables patches
    with prepared_tables():
        mlflow_store.MlflowStore(sqlite_url(path), "of no test")
    return path


@pytest.fixture(scope="session")
def mlflow_uri(empty_database: Path) -> str:
    """A database that all tests share: each has its own experiment."""
    return sqlite_url(shutil.copy(empty_database, empty_database.with_name("shared.db")))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; its name needs escaping in a URI."""
    path = tmp_path / "a folder"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary home folder that contains the cache and configuration folders."""
    folder = tmp_path / "home-of-nobody"
    folder.mkdir()
    for name, value in isolation.user_folders(folder).items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def machine_a(tmp_path: Path) -> Bench:
    """The first of two machines."""
    (tmp_path / "one").mkdir()
    return Bench(tmp_path / "one")


@pytest.fixture
def machine_b(tmp_path: Path) -> Bench:
    """The second of two machines."""
    (tmp_path / "other").mkdir()
    return Bench(tmp_path / "other")


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[webdriver.Chrome]:
    from selenium import webdriver

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")  # the driver is reached over HTTP
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
        # Tall enough for all charts: those outside the viewport are not drawn.
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


@pytest.fixture(scope="module")
def two_machines(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Store with Table I of two machines, the slower one imported last, and a small scenario."""
    bench = Bench(tmp_path_factory.mktemp("user"))
    import_runs(bench, table_1("b" * 32, pace=0.01), "fast.zip", cpu="Fast CPU")
    small = [run(200, 0.91, s, scenario="smoke", machine_id="a" * 32, trajectory=f"small {s}")
             for s in (0, 1)]  # fmt: skip
    import_runs(bench, [*small, *table_1("a" * 32)], "slow.zip", cpu="Slow CPU")
    return bench
