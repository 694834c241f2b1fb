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


def test_every_packaged_scenario_is_listed() -> None:
    assert [item.name for item in scenarios.packaged()] == scenario.packaged_names()


def test_images_of_table_1() -> None:
    # 10,000 steps of 50 images; 100 grid points and 4 last states, each 10,000 + 5,000 images.
    item = items()["table-1"]
    assert item.steps == (1_000, 2_500, 5_000, 10_000)
    assert item.train_images == 500_000
    assert item.score_images == 1_560_000
    assert item.expected_seconds is None


def test_images_of_smoke() -> None:
    # 200 steps of 50 images; after 1, 51, 101, 151 and 200 updates, each 500 + 500 images.
    item = items()["smoke"]
    assert item.steps == (200,)
    assert item.train_images == 10_000
    assert item.score_images == 5_000


def test_images_of_threads() -> None:
    # At 1 and at 2 threads 500 steps of 50 images; after 1, 101, ..., 401 and 500 updates.
    item = items()["threads"]
    assert item.steps == (500,)
    assert item.train_images == 2 * 25_000
    assert item.score_images == 2 * 6 * 15_000


def test_expected_seconds_need_every_thread_count() -> None:
    time_estimates.save_costs([run(1_000)], 15_000)
    assert items()["threads"].expected_seconds is None
    time_estimates.save_costs([run(1_000, threads=1)], 15_000)
    one = 25_000 / 2_500 + 6 * 3.25 / 11 + 4.5
    assert items()["threads"].expected_seconds == pytest.approx(2 * one)


def test_expected_seconds_from_an_earlier_run() -> None:
    # 500,000 images at 2,500 a second, 104 evaluations where 11 took 3.25 s, 4.5 s to start
    time_estimates.save_costs([run(1_000)], 15_000)
    expected = 200 + 104 * 3.25 / 11 + 4.5
    assert items()["table-1"].expected_seconds == pytest.approx(expected)


def test_runs_with_other_thread_counts_are_ignored() -> None:
    time_estimates.save_costs([run(1_000, threads=4)], 15_000)
    assert items()["table-1"].expected_seconds is None


def test_table_fits_80_columns() -> None:
    text = shown(80)
    assert max(len(line) for line in text.splitlines()) <= 80
    for word in ("scenario", "smoke", "table-1", "10,000", "500,000", "1,560,000"):
        assert word in text


def test_table_shows_images_without_an_expected_time() -> None:
    text = shown(300)
    assert "500,000 images to train on, 1,560,000 to evaluate" in text
    assert "1,000, 2,500, 5,000, 10,000" in text
    assert items()["table-1"].title in text


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
    (smoke,) = (each for each in listed["scenarios"] if each["name"] == "smoke")
    assert smoke == {
        "name": "smoke",
        "title": items()["smoke"].title,
        "steps": [200],
        "train_images": 10_000,
        "score_images": 5_000,
        "expected_seconds": None,
    }
