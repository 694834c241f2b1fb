"""Time estimates, with a temporary cache folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from factories import evaluations, run

from mnist_bench.data import mnist
from mnist_bench.results.run import RunResult
from mnist_bench.runner import time_estimates
from mnist_bench.runner.time_estimates import Cost, Work
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.scenarios.paper import PROTOCOL

FULL_MNIST = 15_000
"""Test and validation images."""
PAPERS = PaperCnnHyperparameters()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that does not exist yet."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(mnist, "cache_folder", lambda: folder)
    return folder


def known_cost(hyperparameters: PaperCnnHyperparameters = PAPERS, **execution: Any) -> Cost | None:
    requested = Execution(**({"threads": 2} | execution))
    return time_estimates.load_cost("paper-cnn", hyperparameters, requested)


def save(*runs: RunResult) -> None:
    time_estimates.save_costs(runs, FULL_MNIST)


def saved(*runs: RunResult) -> Cost:
    """The known cost after these were saved, one after the other."""
    for each in runs:
        save(each)
    found = known_cost()
    assert found is not None
    return found


def fast(steps: int, **changes: Any) -> RunResult:
    """A run at 5,000 images per second, twice as fast as other runs."""
    return run(steps, evaluations=evaluations(steps, 0.98, seconds=0.01), **changes)


@pytest.mark.parametrize(
    ("step_counts", "batch_size", "train_images", "evaluations"),
    [
        # 100 grid points 1, 101, ..., 9,901, and the four step counts off the grid.
        ((1_000, 2_500, 5_000, 10_000), 50, 500_000, 104),
        ((1_000,), 50, 50_000, 11),
        ((1_000,), 64, 64_000, 11),
        ((901,), 50, 45_050, 10),  # 901 is on the grid
        ((901, 1_000), 50, 50_000, 11),
        ((1,), 50, 50, 1),
    ],
)
def test_work_and_its_seconds(
    step_counts: tuple[int, ...], batch_size: int, train_images: int, evaluations: int
) -> None:
    scenario = PROTOCOL.with_changes(settings=(("batch_size", str(batch_size)),))
    cost = Cost(
        steps=10, train_images_per_second=2_500, score_images_per_second=50_000, start_seconds=4.5
    )
    work = time_estimates.work_of(scenario, step_counts, FULL_MNIST)
    # Each evaluation counts once.
    assert work == Work(train_images, evaluations * FULL_MNIST)
    assert work.seconds(cost) == pytest.approx(train_images / 2_500 + evaluations * 0.3 + 4.5)


# The cache


def test_a_saved_cost_is_loaded(cache: Path) -> None:
    assert known_cost() is None
    assert not cache.exists()
    seconds = {"import": 4.0, "data": 0.5, "trace": 1.5, "train": 20.0, "evaluate": 3.25}
    found = saved(run(1_000, seconds=seconds | {"other": 0.25}))
    # 1,000 steps of 50 images in 20 s; 11 evaluations in 3.25 s; all else is the start
    assert found.steps == 1_000
    assert found.train_images_per_second == pytest.approx(2_500)
    assert found.score_images_per_second == pytest.approx(11 * FULL_MNIST / 3.25)
    assert found.start_seconds == pytest.approx(6.25)
    assert [path.name for path in cache.iterdir()] == ["costs.json"]


def test_evaluations_of_other_step_counts_of_a_training_count_too() -> None:
    # The worker's 3.25 s of evaluation: 25 grid points up to 2,401, and steps 1,000 and 2,500.
    save(run(1_000), run(2_500), run(2_500, seed=1, status="failed"))
    found = known_cost()
    assert found is not None
    assert found.score_images_per_second == pytest.approx(27 * FULL_MNIST / 3.25)


def test_costs_depend_on_hyperparameters_and_execution() -> None:
    larger = PaperCnnHyperparameters(batch_size=64)
    save(run(1_000))
    others: list[dict[str, Any]] = [
        {"threads": 1},
        {"precision": "bfloat16"},
        {"device": "gpu"},
        {"hyperparameters": larger},
    ]
    for each, pace in zip(others, (0.04, 0.01, 0.005, 0.02), strict=True):
        assert known_cost(**each) is None
        save(run(1_000, evaluations=evaluations(1_000, 0.98, seconds=pace), **each))
    others[2] |= {"device_name": "any"}
    found = [known_cost(**each) for each in ({}, *others)]
    speeds = [each.train_images_per_second for each in found if each is not None]
    assert speeds == pytest.approx([2_500, 1_250, 5_000, 10_000, 3_200])


@pytest.mark.parametrize("longest_first", [False, True])
def test_the_longest_finished_run_is_kept(*, longest_first: bool) -> None:
    runs = [run(1_000), fast(2_500), run(10_000, status="failed"), run(5_000, status="killed")]
    save(*(runs[::-1] if longest_first else runs))
    found = known_cost()
    assert found is not None
    assert found.train_images_per_second == pytest.approx(5_000)


def test_of_equally_long_runs_the_invalid_one_is_not_kept() -> None:
    save(run(1_000, seed=1), fast(1_000, verdict="invalid"))
    found = known_cost()
    assert found is not None
    assert found.train_images_per_second == pytest.approx(2_500)


@pytest.mark.parametrize(
    ("runs", "steps", "speed"),
    [
        # A training as long or longer replaces the known cost.
        ([run(1_000), fast(1_000)], 1_000, 5_000),
        ([run(1_000), fast(2_500)], 2_500, 5_000),
        ([fast(2_500), run(1_000)], 2_500, 5_000),
        # An invalid one does not, and is used only if nothing is known.
        ([run(1_000), fast(2_500, verdict="invalid")], 1_000, 2_500),
        ([fast(2_500, verdict="invalid")], 2_500, 5_000),
        ([fast(2_500, verdict="invalid"), run(1_000)], 1_000, 2_500),
    ],
)
def test_which_cost_is_known_after_several_trainings(
    runs: list[RunResult], steps: int, speed: float
) -> None:
    found = saved(*runs)
    assert found.steps == steps
    assert found.train_images_per_second == pytest.approx(speed)


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [run(status="failed")],
        [run(status="killed")],
        [run(status=None)],
        [run(evaluations=())],
        [run(seconds={"train": 20.0})],
    ],
    ids=["none", "failed", "killed", "running", "not evaluated", "evaluation not timed"],
)
def test_runs_without_a_cost_are_not_saved(cache: Path, runs: list[RunResult]) -> None:
    save(*runs)
    assert not cache.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b'{"a": 1}',
        b'{"a": {"train_images_per_second": 1.0}}',
        b'{"a": {"train_images_per_second": "fast"}}',
    ],
)
def test_a_damaged_cache_is_ignored(cache: Path, content: bytes) -> None:
    cache.mkdir()
    (cache / "costs.json").write_bytes(content)
    assert known_cost() is None
    assert saved(run())


@pytest.mark.parametrize("in_the_way", ["file", "file of the parent", "folder of the file's name"])
def test_a_cache_that_can_not_be_written_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_the_way: str
) -> None:
    folder = tmp_path / "x" / "cache" if in_the_way == "file of the parent" else tmp_path / "x"
    monkeypatch.setattr(mnist, "cache_folder", lambda: folder)
    if in_the_way == "folder of the file's name":
        (folder / "costs.json").mkdir(parents=True)
    else:
        (tmp_path / "x").write_text("not a folder", encoding="utf-8")
    save(run())
    assert known_cost() is None
    assert len(list(tmp_path.rglob("*"))) == (2 if (tmp_path / "x").is_dir() else 1)
