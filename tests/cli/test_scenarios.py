"""The list of scenarios and their expected time."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from factories import run
from rich.console import Console

from mnist_bench.cli import scenarios
from mnist_bench.cli.scenarios import Item
from mnist_bench.data import mnist
from mnist_bench.measurement import system
from mnist_bench.runner import time_estimates
from mnist_bench.scenarios import scenario


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; runs use the two threads of `factories.run`."""
    monkeypatch.setattr(mnist, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(system, "usable_threads", lambda: 2)
    return tmp_path / "cache"


def items() -> dict[str, Item]:
    return {item.name: item for item in scenarios.packaged()}


def shown(width: int) -> str:
    console = Console(width=width, file=StringIO(), force_terminal=False, color_system=None)
    scenarios.show(scenarios.packaged(), console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("name", "steps", "train_images", "score_images"),
    [
        # 10,000 steps of 50 images; 100 grid points and 4 last states, each 10,000 + 5,000 images.
        ("table-1", (1_000, 2_500, 5_000, 10_000), 500_000, 1_560_000),
        # 200 steps of 50 images; after 1, 51, 101, 151 and 200 updates, each 500 + 500 images.
        ("smoke", (200,), 10_000, 5_000),
        # At 1 and at 2 threads 500 steps of 50 images; after 1, 101, ..., 401 and 500 updates.
        ("threads", (500,), 2 * 25_000, 2 * 6 * 15_000),
    ],
)
def test_images(name: str, steps: tuple[int, ...], train_images: int, score_images: int) -> None:
    item = items()[name]
    assert (item.steps, item.train_images, item.score_images) == (steps, train_images, score_images)
    assert item.expected_seconds is None


# 500,000 images at 2,500 a second, 104 evaluations where 11 took 3.25 s, 4.5 s to start
TABLE_1_SECONDS = 200 + 104 * 3.25 / 11 + 4.5
THREADS_SECONDS = 25_000 / 2_500 + 6 * 3.25 / 11 + 4.5


@pytest.mark.parametrize(
    ("threads", "expected"),
    [
        ((2,), {"table-1": TABLE_1_SECONDS, "threads": None}),
        ((4,), {"table-1": None}),
        ((2, 1), {"threads": 2 * THREADS_SECONDS}),  # it needs every thread count
    ],
)
def test_expected_seconds(threads: tuple[int, ...], expected: dict[str, float | None]) -> None:
    time_estimates.save_costs([run(1_000, threads=each) for each in threads], 15_000)
    found = items()
    for name, seconds in expected.items():
        assert found[name].expected_seconds == (seconds and pytest.approx(seconds))


def test_table_fits_80_columns() -> None:
    text = shown(80)
    assert max(len(line) for line in text.splitlines()) <= 80
    for word in ("scenario", "smoke", "table-1", "10,000", "500,000", "1,560,000"):
        assert word in text


def test_table_shows_the_expected_time() -> None:
    time_estimates.save_costs([run(1_000), run(1_000, threads=1)], 15_000)
    text = shown(300)
    assert "about 3 min 55 s" in text  # 235.2 s
    assert "about 8.6 s" in text  # 4 s, then 5,000 images at 50,769 a second, and 4.5 s to start
    # These need runs of another model or with other hyperparameters.
    others = ("sprint", "accurate", "claim-6-")
    known = [line for line in text.splitlines() if not line.startswith(others)]
    assert not any("images to train on" in line for line in known)


def test_json() -> None:
    listed = json.loads(scenarios.to_json(scenarios.packaged()))
    assert list(listed) == ["schema", "scenarios"]
    assert listed["schema"] == 1
    assert [each["name"] for each in listed["scenarios"]] == scenario.packaged_names()
    (smoke,) = (each for each in listed["scenarios"] if each["name"] == "smoke")
    assert smoke == {
        "name": "smoke",
        "title": items()["smoke"].title,
        "steps": [200],
        "train_images": 10_000,
        "score_images": 5_000,
        "expected_seconds": None,
    }
