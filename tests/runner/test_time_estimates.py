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


def known_cost(hyperparameters: PaperCnnHyperparameters = PAPERS, threads: int = 2) -> Cost | None:
    return time_estimates.load_cost("paper-cnn", hyperparameters, Execution(threads=threads))


def fast(steps: int, **changes: Any) -> RunResult:
    """A run at 5,000 images per second, twice as fast as other runs."""
    return run(steps, evaluations=evaluations(steps, 0.98, seconds=0.01), **changes)


# Work


@pytest.mark.parametrize(
    ("step_counts", "work"),
    [
        # 100 grid points 1, 101, ..., 9,901, and the four step counts off the grid.
        ((1_000, 2_500, 5_000, 10_000), Work(500_000, 104 * FULL_MNIST, 1)),
        ((1_000,), Work(50_000, 11 * FULL_MNIST, 1)),
        ((901,), Work(45_050, 10 * FULL_MNIST, 1)),  # 901 is on the grid
        ((901, 1_000), Work(50_000, 11 * FULL_MNIST, 1)),
        ((1,), Work(50, FULL_MNIST, 1)),
    ],
)
def test_work_counts_each_evaluation_once(step_counts: tuple[int, ...], work: Work) -> None:
    assert time_estimates.work_of(PROTOCOL, step_counts, FULL_MNIST) == work


def test_work_depends_on_the_batch_size() -> None:
    larger = PROTOCOL.with_changes(settings=(("batch_size", "64"),))
    assert time_estimates.work_of(larger, (1_000,), 1_000) == Work(64_000, 11_000, 1)


def test_seconds() -> None:
    work = Work(train_images=500_000, score_images=1_560_000, processes=1)
    cost = Cost(
        steps=10_000,
        train_images_per_second=2_500,
        score_images_per_second=50_000,
        start_seconds=4.5,
    )
    assert work.seconds(cost) == pytest.approx(200 + 31.2 + 4.5)
    independent = Work(train_images=500_000, score_images=1_560_000, processes=4)
    assert independent.seconds(cost) == pytest.approx(200 + 31.2 + 18)


# The cache


def test_no_cost_is_known_without_runs(cache: Path) -> None:
    assert known_cost() is None
    assert not cache.exists()


def test_a_saved_cost_is_loaded(cache: Path) -> None:
    # 1,000 steps of 50 images in 20 s; 11 evaluations in 3.25 s; import 4 s and data 0.5 s
    time_estimates.save_costs([run(1_000)], FULL_MNIST)
    found = known_cost()
    assert found is not None
    assert found.steps == 1_000
    assert found.train_images_per_second == pytest.approx(2_500)
    assert found.score_images_per_second == pytest.approx(11 * FULL_MNIST / 3.25)
    assert found.start_seconds == pytest.approx(4.5)
    assert [path.name for path in cache.iterdir()] == ["costs.json"]


def test_start_seconds_are_all_but_training_and_evaluation() -> None:
    seconds = {"import": 4.0, "data": 0.5, "trace": 1.5, "train": 20.0, "evaluate": 3.25}
    time_estimates.save_costs([run(1_000, seconds={**seconds, "other": 0.25})], FULL_MNIST)
    found = known_cost()
    assert found is not None
    assert found.start_seconds == pytest.approx(6.25)


def test_evaluations_of_other_step_counts_of_a_training_count_too() -> None:
    # The worker's 3.25 s of evaluation: 25 grid points up to 2,401, and steps 1,000 and 2,500.
    time_estimates.save_costs(
        [run(1_000), run(2_500), run(2_500, seed=1, status="failed")], FULL_MNIST
    )
    found = known_cost()
    assert found is not None
    assert found.score_images_per_second == pytest.approx(27 * FULL_MNIST / 3.25)


def test_costs_depend_on_threads_and_hyperparameters() -> None:
    larger = PaperCnnHyperparameters(batch_size=64)
    time_estimates.save_costs([run(1_000)], FULL_MNIST)
    assert known_cost(threads=4) is None
    assert known_cost(larger) is None
    time_estimates.save_costs([fast(1_000, threads=4)], FULL_MNIST)
    time_estimates.save_costs([fast(1_000, hyperparameters=larger)], FULL_MNIST)
    found = [known_cost(), known_cost(threads=4), known_cost(larger)]
    speeds = [each.train_images_per_second for each in found if each is not None]
    assert speeds == pytest.approx([2_500, 5_000, 6_400])


def test_costs_depend_on_the_execution() -> None:
    executions = [{"threads": 1}, {"threads": 2}, {"precision": "bfloat16"}, {"device": "gpu"}]
    runs = [
        run(
            1_000,
            evaluations=evaluations(1_000, 0.98, seconds=seconds),
            trajectory=f"{execution}",
            **execution,
        )
        for execution, seconds in zip(executions, (0.04, 0.02, 0.01, 0.005), strict=True)
    ]
    time_estimates.save_costs(runs, FULL_MNIST)
    requested = [
        Execution(threads=1),
        Execution(threads=2),
        Execution(threads=2, precision="bfloat16"),
        Execution(threads=2, device="gpu", device_name="any"),
    ]
    found = [time_estimates.load_cost("paper-cnn", PAPERS, each) for each in requested]
    speeds = [each.train_images_per_second for each in found if each is not None]
    assert speeds == pytest.approx([1_250, 2_500, 5_000, 10_000])


@pytest.mark.parametrize("longest_first", [False, True])
def test_the_longest_finished_run_is_kept(*, longest_first: bool) -> None:
    runs = [run(1_000), fast(2_500), run(10_000, status="failed"), run(5_000, status="killed")]
    time_estimates.save_costs(runs[::-1] if longest_first else runs, FULL_MNIST)
    found = known_cost()
    assert found is not None
    assert found.train_images_per_second == pytest.approx(5_000)


@pytest.mark.parametrize("steps", [1_000, 2_500])
def test_a_training_as_long_or_longer_replaces_the_known_cost(steps: int) -> None:
    time_estimates.save_costs([run(1_000)], FULL_MNIST)
    time_estimates.save_costs([fast(steps)], FULL_MNIST)
    found = known_cost()
    assert found is not None
    assert found.steps == steps
    assert found.train_images_per_second == pytest.approx(5_000)


def test_an_invalid_run_does_not_replace_the_known_cost() -> None:
    time_estimates.save_costs([run(1_000)], FULL_MNIST)
    known = known_cost()
    time_estimates.save_costs([fast(2_500, verdict="invalid")], FULL_MNIST)
    assert known_cost() == known


def test_an_invalid_run_is_used_if_nothing_is_known() -> None:
    time_estimates.save_costs([fast(2_500, verdict="invalid")], FULL_MNIST)
    assert known_cost() is not None


def test_a_shorter_training_does_not_replace_the_known_cost() -> None:
    time_estimates.save_costs([fast(2_500)], FULL_MNIST)
    time_estimates.save_costs([run(1_000)], FULL_MNIST)
    found = known_cost()
    assert found is not None
    assert found.steps == 2_500
    assert found.train_images_per_second == pytest.approx(5_000)


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
    time_estimates.save_costs(runs, FULL_MNIST)
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
    time_estimates.save_costs([run()], FULL_MNIST)
    assert known_cost() is not None


def test_a_folder_instead_of_the_cache_file_is_ignored(cache: Path) -> None:
    (cache / "costs.json").mkdir(parents=True)
    time_estimates.save_costs([run()], FULL_MNIST)
    assert known_cost() is None
    assert [path.name for path in cache.iterdir()] == ["costs.json"]


@pytest.mark.parametrize("below", ["", "cache"])
def test_a_cache_folder_that_can_not_be_created_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    # A file is in the place of the cache folder, or of its parent.
    file = tmp_path / "file"
    file.write_text("not a folder", encoding="utf-8")
    monkeypatch.setattr(mnist, "cache_folder", lambda: file / below)
    time_estimates.save_costs([run()], FULL_MNIST)
    assert known_cost() is None
    assert file.read_text(encoding="utf-8") == "not a folder"
