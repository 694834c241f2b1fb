"""Execution settings, from the command to the recorded run: threads, bfloat16, GPU."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import fakes
import pytest
from program import Bench, Ended, RecordedRuns

from mnist_bench.core.errors import EXIT_USAGE, BenchError
from mnist_bench.measurement import system
from mnist_bench.runner import process
from mnist_bench.scenarios.execution import Execution, thread_counts
from mnist_bench.scenarios.scenario import ThreadCounts

GPU = {"name": "Imaginary GPU", "memory_bytes": 8 * 2**30}
NO_GPU: dict[str, Any] = {"gpus": []}
THREADS = "threads --dataset mnist-5k --steps 20"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("requested", "usable", "counts"),
    [
        ("doubling", 1, (1,)),
        ("doubling", 2, (1, 2)),
        ("doubling", 3, (1, 2, 3)),
        ("doubling", 12, (1, 2, 4, 8, 12)),
        ((1, 3), 4, (1, 3)),
        ((4,), 4, (4,)),
    ],
)
def test_thread_counts(requested: ThreadCounts, usable: int, counts: tuple[int, ...]) -> None:
    assert thread_counts(requested, usable) == counts


@pytest.mark.parametrize(("usable", "words"), [(1, "may use 1 core"), (3, "may use 3 cores")])
def test_more_threads_than_cores_raise(usable: int, words: str) -> None:
    with pytest.raises(BenchError, match="the scenario needs 4 threads") as raised:
        thread_counts((1, 4), usable)
    assert raised.value.exit_status == EXIT_USAGE
    assert words in str(raised.value)


@pytest.mark.parametrize(("device", "shards"), [("cpu", 3), ("gpu", 1)])
def test_a_batch_is_cut_into_a_piece_a_thread(device: str, shards: int) -> None:
    assert Execution(threads=3, device=device).shards == shards


def test_execution_as_text() -> None:
    assert str(Execution(threads=2)) == "float32 on cpu"
    gpu = {"device": "gpu", "device_name": "Imaginary GPU"}
    assert str(Execution(threads=2, precision="bfloat16", **gpu)) == (
        "bfloat16 on gpu (Imaginary GPU)"
    )


# The command, with a fake worker and probe


@contextlib.contextmanager
def fake_machine(found: dict[str, Any] | None, cores: int) -> Iterator[None]:
    """A machine with this number of cores and this result of a probe, which None lets fail."""
    answer = (sys.executable, "-c", f"print({json.dumps(found)!r})")
    with (
        mock.patch.object(process, "COMMAND", fakes.worker()),
        mock.patch.object(process, "PROBE", answer),
        mock.patch.object(system, "usable_threads", return_value=cores),
    ):
        yield


def call(bench: Bench, line: str, found: dict[str, Any] | None = None, cores: int = 2) -> Ended:
    with fake_machine(found, cores):
        return bench.call_with_store(*shlex.split(line))


def runs_of(bench: Bench, line: str, found: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    ended = call(bench, f"run {line} --json", found)
    assert ended.status == 0, ended.stderr
    return list(ended.document["runs"])


def params(bench: Bench, run: dict[str, Any]) -> dict[str, str]:
    return dict(RecordedRuns(bench.folder).run(run["run_id"]).data.params)


def test_several_thread_counts_are_resumed(bench: Bench) -> None:
    (first,) = runs_of(bench, f"{THREADS} --threads 2")  # overrides the scenario's counts
    assert first["threads"] == 2
    dry_run = call(bench, f"run {THREADS} --resume --dry-run --json")
    (plan,) = dry_run.document["plans"]
    assert plan["trajectories"] == [{"seed": 0, "steps": [20], "threads": 1}]
    runs = runs_of(bench, f"{THREADS} --resume --seeds 2")
    assert [(run["seed"], run["threads"], run["status"]) for run in runs] == [
        (seed, count, "finished") for seed in (0, 1) for count in (1, 2)
    ]
    assert runs[1]["run_id"] == first["run_id"]
    assert len({run["trajectory"] for run in runs}) == 4
    assert [run["training_seed"] for run in runs] == [0, 0, 1, 1]
    recorded = [params(bench, run) for run in runs]
    assert [each["threads"] for each in recorded] == ["1", "2", "1", "2"]
    assert not {"device_name", "device_memory_bytes"} & set(recorded[0])


def test_a_plan_of_several_thread_counts_as_text(bench: Bench) -> None:
    text = call(bench, "run threads --dataset mnist-5k --dry-run", cores=6).stdout
    assert "trainings  4, each for all step counts\n" in text
    assert "with       float32 on cpu, threads: 1, 2, 4, 6\n" in text


def test_resume_ignores_runs_of_another_precision(bench: Bench) -> None:
    """float32 and bfloat16 on the processor need no probe: the fake one would fail."""
    (first,) = runs_of(bench, "smoke")
    line = "smoke --resume --precision bfloat16"
    remark = "bfloat16 is faster only on processors with native support"
    ended = call(bench, f"run {line} --json")
    (other,) = ended.document["runs"]
    assert remark in ended.stderr_line
    again = call(bench, f"run {line} --json")
    assert remark not in again.stderr_line, "nothing is left to train"
    assert first["run_id"] != other["run_id"] == again.document["runs"][0]["run_id"]
    assert (first["precision"], other["precision"]) == ("float32", "bfloat16")
    assert (first["device"], params(bench, other)["precision"]) == ("cpu", "bfloat16")


def test_the_gpu_is_used_if_there_is_one(bench: Bench) -> None:
    (run,) = runs_of(bench, "smoke --device auto", NO_GPU)
    assert (run["device"], run["device_name"], run["device_memory_bytes"]) == ("cpu", None, None)
    for device in ("gpu", "auto"):
        (run,) = runs_of(bench, f"smoke --device {device}", {"gpus": [GPU]})
        assert (run["device"], run["device_name"]) == ("gpu", "Imaginary GPU")
        assert run["device_memory_bytes"] == 8 * 2**30
    recorded = params(bench, run)
    assert (recorded["device"], recorded["device_name"]) == ("gpu", "Imaginary GPU")
    assert recorded["device_memory_bytes"] == str(8 * 2**30)


@pytest.mark.parametrize(
    ("line", "found", "status", "words"),
    [
        ("threads --dataset mnist-5k --device gpu", {"gpus": [GPU]}, 2,
         ("threads compares thread counts", "leave --device out")),
        ("smoke --device gpu", NO_GPU, 2,
         ("--device gpu: TensorFlow finds no GPU here", "leave --device out")),
        ("smoke --device auto", None, 1, ("can't determine what TensorFlow supports here",)),
        ("--precision float16", None, 2, ("--precision", "'float16'", "bfloat16")),
        ("--device tpu", None, 2, ("--device", "'tpu'", "auto")),
        ("--threads 1025", None, 2, ("--threads", "'1025' is not a whole number from 1 to 1024")),
    ],
)  # fmt: skip
def test_an_error_before_anything_is_written(
    bench: Bench, line: str, found: dict[str, Any] | None, status: int, words: tuple[str, ...]
) -> None:
    ended = call(bench, f"run {line}", found)
    assert (ended.status, ended.stdout) == (status, "")
    assert all(word in ended.error_line for word in words)
    assert list(bench.folder.iterdir()) == []
