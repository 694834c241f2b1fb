"""What training costs here, kept in a cache folder of the test's own."""

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
    """A cache folder that is not there yet."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(mnist, "cache_folder", lambda: folder)
    return folder


def recalled(hyperparameters: PaperCnnHyperparameters = PAPERS, threads: int = 2) -> Cost | None:
    return time_estimates.load_cost("paper-cnn", hyperparameters, Execution(threads=threads))


def fast(steps: int, **changes: Any) -> RunResult:
    """A run at 5,000 images a second, twice the other runs' speed."""
    return run(steps, evaluations=evaluations(steps, 0.98, seconds=0.01), **changes)


# Work


@pytest.mark.parametrize(
    ("rows", "work"),
    [
        # 1, 101, ..., 9,901 are 100; none of the four last states lies among them.
        ((1_000, 2_500, 5_000, 10_000), Work(500_000, 104 * FULL_MNIST, 1)),
        ((1_000,), Work(50_000, 11 * FULL_MNIST, 1)),
        ((901,), Work(45_050, 10 * FULL_MNIST, 1)),  # the last state is on the grid
        ((901, 1_000), Work(50_000, 11 * FULL_MNIST, 1)),
        ((1,), Work(50, FULL_MNIST, 1)),
    ],
)
def test_work_counts_grid_and_last_states_once(rows: tuple[int, ...], work: Work) -> None:
    assert time_estimates.work_of(PROTOCOL, rows, FULL_MNIST) == work


def test_work_takes_the_batch_size() -> None:
    larger = PROTOCOL.with_changes(settings=(("batch_size", "64"),))
    assert time_estimates.work_of(larger, (1_000,), 1_000) == Work(64_000, 11_000, 1)


def test_seconds_by_hand() -> None:
    work = Work(train_images=500_000, score_images=1_560_000, processes=1)
    here = Cost(
        steps=10_000,
        train_images_per_second=2_500,
        score_images_per_second=50_000,
        start_seconds=4.5,
    )
    assert work.seconds(here) == pytest.approx(200 + 31.2 + 4.5)
    independent = Work(train_images=500_000, score_images=1_560_000, processes=4)
    assert independent.seconds(here) == pytest.approx(200 + 31.2 + 18)


# Memory


def test_nothing_measured_nothing_known(cache: Path) -> None:
    assert recalled() is None
    assert not cache.exists()


def test_recalls_what_was_remembered(cache: Path) -> None:
    # 1,000 steps of 50 images in 20 s; 11 evaluations in 3.25 s; import 4 s and data 0.5 s
    time_estimates.save_costs([run(1_000)], FULL_MNIST)
    found = recalled()
    assert found is not None
    assert found.steps == 1_000
    assert found.train_images_per_second == pytest.approx(2_500)
    assert found.score_images_per_second == pytest.approx(11 * FULL_MNIST / 3.25)
    assert found.start_seconds == pytest.approx(4.5)
    assert [path.name for path in cache.iterdir()] == ["costs.json"]


def test_all_but_training_and_scoring_is_the_start() -> None:
    seconds = {"import": 4.0, "data": 0.5, "trace": 1.5, "train": 20.0, "evaluate": 3.25}
    time_estimates.save_costs([run(1_000, seconds={**seconds, "other": 0.25})], FULL_MNIST)
    found = recalled()
    assert found is not None
    assert found.start_seconds == pytest.approx(6.25)


def test_scorings_for_other_rows_of_a_trajectory_count_too() -> None:
    # The worker's 3.25 s of scoring: 25 grid points up to 2,401, the last states 1,000 and 2,500.
    time_estimates.save_costs(
        [run(1_000), run(2_500), run(2_500, seed=1, status="failed")], FULL_MNIST
    )
    found = recalled()
    assert found is not None
    assert found.score_images_per_second == pytest.approx(27 * FULL_MNIST / 3.25)


def test_what_costs_otherwise_is_kept_apart() -> None:
    larger = PaperCnnHyperparameters(batch_size=64)
    time_estimates.save_costs([run(1_000)], FULL_MNIST)
    assert recalled(threads=4) is None
    assert recalled(larger) is None
    time_estimates.save_costs([fast(1_000, threads=4)], FULL_MNIST)
    time_estimates.save_costs([fast(1_000, hyperparameters=larger)], FULL_MNIST)
    found = [recalled(), recalled(threads=4), recalled(larger)]
    speeds = [each.train_images_per_second for each in found if each is not None]
    assert speeds == pytest.approx([2_500, 5_000, 6_400])


def test_every_way_of_a_command_is_remembered() -> None:
    ways = [{"threads": 1}, {"threads": 2}, {"precision": "bfloat16"}, {"device": "gpu"}]
    runs = [
        run(
            1_000, evaluations=evaluations(1_000, 0.98, seconds=seconds), trajectory=f"{way}", **way
        )
        for way, seconds in zip(ways, (0.04, 0.02, 0.01, 0.005), strict=True)
    ]
    time_estimates.save_costs(runs, FULL_MNIST)
    asked = [
        Execution(threads=1),
        Execution(threads=2),
        Execution(threads=2, precision="bfloat16"),
        Execution(threads=2, device="gpu", device_name="of no matter"),
    ]
    found = [time_estimates.load_cost("paper-cnn", PAPERS, each) for each in asked]
    speeds = [each.train_images_per_second for each in found if each is not None]
    assert speeds == pytest.approx([1_250, 2_500, 5_000, 10_000])


@pytest.mark.parametrize("longest_first", [False, True])
def test_the_longest_finished_run_is_kept(*, longest_first: bool) -> None:
    runs = [run(1_000), fast(2_500), run(10_000, status="failed"), run(5_000, status="killed")]
    time_estimates.save_costs(runs[::-1] if longest_first else runs, FULL_MNIST)
    found = recalled()
    assert found is not None
    assert found.train_images_per_second == pytest.approx(5_000)


@pytest.mark.parametrize("steps", [1_000, 2_500])
def test_a_training_as_long_or_longer_replaces_the_one_before(steps: int) -> None:
    time_estimates.save_costs([run(1_000)], FULL_MNIST)
    time_estimates.save_costs([fast(steps)], FULL_MNIST)
    found = recalled()
    assert found is not None
    assert found.steps == steps
    assert found.train_images_per_second == pytest.approx(5_000)


def test_a_training_that_the_machine_spoilt_does_not() -> None:
    time_estimates.save_costs([run(1_000)], FULL_MNIST)
    known = recalled()
    time_estimates.save_costs([fast(2_500, verdict="invalid")], FULL_MNIST)
    assert recalled() == known


def test_one_that_the_machine_spoilt_is_better_than_nothing() -> None:
    time_estimates.save_costs([fast(2_500, verdict="invalid")], FULL_MNIST)
    assert recalled() is not None


def test_a_shorter_training_does_not() -> None:
    time_estimates.save_costs([fast(2_500)], FULL_MNIST)
    time_estimates.save_costs([run(1_000)], FULL_MNIST)
    found = recalled()
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
    ids=["none", "failed", "killed", "going on", "not scored", "scoring not timed"],
)
def test_what_tells_no_cost_is_not_kept(cache: Path, runs: list[RunResult]) -> None:
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
def test_a_damaged_file_is_read_as_nothing(cache: Path, content: bytes) -> None:
    cache.mkdir()
    (cache / "costs.json").write_bytes(content)
    assert recalled() is None
    time_estimates.save_costs([run()], FULL_MNIST)
    assert recalled() is not None


def test_a_folder_in_the_files_place_is_no_fault(cache: Path) -> None:
    (cache / "costs.json").mkdir(parents=True)
    time_estimates.save_costs([run()], FULL_MNIST)
    assert recalled() is None
    assert [path.name for path in cache.iterdir()] == ["costs.json"]


@pytest.mark.parametrize("below", ["", "cache"])
def test_a_folder_that_can_not_be_made_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    # A file stands where the cache folder, or the folder above it, would be.
    file = tmp_path / "file"
    file.write_text("not a folder", encoding="utf-8")
    monkeypatch.setattr(mnist, "cache_folder", lambda: file / below)
    time_estimates.save_costs([run()], FULL_MNIST)
    assert recalled() is None
    assert file.read_text(encoding="utf-8") == "not a folder"
