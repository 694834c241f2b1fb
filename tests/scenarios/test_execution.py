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
import tomli_w
from program import Bench, Ended, RecordedRuns

from mnist_bench.core.errors import EXIT_USAGE, BenchError
from mnist_bench.measurement import system
from mnist_bench.runner import process
from mnist_bench.scenarios.execution import Execution, thread_counts
from mnist_bench.scenarios.scenario import ThreadCounts

GPU = {"name": "Imaginary GPU", "memory_bytes": 8 * 2**30}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# Thread counts


@pytest.mark.parametrize(
    ("requested", "usable", "counts"),
    [
        ("doubling", 1, (1,)),
        ("doubling", 2, (1, 2)),
        ("doubling", 3, (1, 2, 3)),
        ("doubling", 4, (1, 2, 4)),
        ("doubling", 12, (1, 2, 4, 8, 12)),
        ((1, 3), 4, (1, 3)),
        ((4,), 4, (4,)),
    ],
)
def test_thread_counts(requested: ThreadCounts, usable: int, counts: tuple[int, ...]) -> None:
    assert thread_counts(requested, usable) == counts


@pytest.mark.parametrize(("usable", "words"), [(1, "may use 1 core"), (3, "may use 3 cores")])
def test_more_threads_than_cores_raise(usable: int, words: str) -> None:
    with pytest.raises(BenchError, match="needs 4 threads") as raised:
        thread_counts((1, 4), usable)
    assert raised.value.exit_status == EXIT_USAGE
    assert words in str(raised.value)


def test_execution_as_text() -> None:
    assert str(Execution(threads=2)) == "float32 on cpu"
    execution = Execution(
        threads=2, precision="bfloat16", device="gpu", device_name="Imaginary GPU"
    )
    assert str(execution) == "bfloat16 on gpu (Imaginary GPU)"


# The command, with a fake worker and probe


@contextlib.contextmanager
def fake_machine(found: dict[str, Any] | None, cores: int) -> Iterator[None]:
    """A machine with this number of cores and this result of a probe."""
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


def run_document(bench: Bench, line: str, found: dict[str, Any] | None = None) -> Ended:
    ended = call(bench, f"run {line} --json", found)
    assert ended.status == 0, ended.stderr
    return ended


def test_a_scenario_of_several_thread_counts(bench: Bench) -> None:
    ended = run_document(bench, "threads --dataset mnist-5k --steps 20 --seeds 2")
    runs = [(run["seed"], run["threads"], run["status"]) for run in ended.document["runs"]]
    assert runs == [(seed, count, "finished") for seed in (0, 1) for count in (1, 2)]
    assert len({run["trajectory"] for run in ended.document["runs"]}) == 4
    assert [run["training_seed"] for run in ended.document["runs"]] == [0, 0, 1, 1]
    recorded = RecordedRuns(bench.folder)
    params = [recorded.run(run["run_id"]).data.params for run in ended.document["runs"]]
    assert [each["threads"] for each in params] == ["1", "2", "1", "2"]
    assert not {"device_name", "device_memory_bytes"} & set(params[0])


def test_one_count_overrides_the_scenarios(bench: Bench) -> None:
    line = "threads --dataset mnist-5k --steps 20 --threads 3"
    assert [run["threads"] for run in run_document(bench, line).document["runs"]] == [3]


def test_several_thread_counts_are_resumed(bench: Bench) -> None:
    line = "threads --dataset mnist-5k --steps 20"
    run_document(bench, f"{line} --threads 2")
    run_id = RecordedRuns(bench.folder).runs()[0].info.run_id
    dry_run = call(bench, f"run {line} --resume --dry-run --json")
    (plan,) = dry_run.document["plans"]
    assert plan["trajectories"] == [{"seed": 0, "steps": [20], "threads": 1}]
    runs = run_document(bench, f"{line} --resume").document["runs"]
    assert [run["threads"] for run in runs] == [1, 2]
    assert runs[1]["run_id"] == run_id


def test_a_plan_of_several_thread_counts_as_text(bench: Bench) -> None:
    line = "run threads --dataset mnist-5k --dry-run"
    text = call(bench, line, cores=6).stdout
    assert "trainings  4, each for all step counts\n" in text
    assert "with       float32 on cpu, threads: 1, 2, 4, 6\n" in text


SLOWER = {"gpus": [], "bfloat16_speedup": 0.4}
FASTER = {"gpus": [], "bfloat16_speedup": 1.75}


def test_slower_bfloat16_gives_a_warning(bench: Bench) -> None:
    ended = run_document(bench, "smoke --precision bfloat16", SLOWER)
    assert "bfloat16 trains at 0.4 times float32's speed here" in ended.stderr_line
    assert "leave --precision out" in ended.stderr_line
    (run,) = ended.document["runs"]
    assert (run["precision"], run["device"]) == ("bfloat16", "cpu")
    recorded = RecordedRuns(bench.folder)
    assert recorded.run(run["run_id"]).data.params["precision"] == "bfloat16"
    result = json.loads(recorded.artifact(run["run_id"], "result.json").read_text(encoding="utf-8"))
    assert result["bfloat16_speedup"] == 0.4


def test_faster_bfloat16_gives_no_warning(bench: Bench) -> None:
    ended = run_document(bench, "smoke --precision bfloat16", FASTER)
    assert "bfloat16 trains at 1.8 times float32's speed here" in ended.stderr_line
    assert "leave --precision out" not in ended.stderr_line


def test_resume_ignores_runs_of_another_precision(bench: Bench) -> None:
    first = run_document(bench, "smoke", FASTER).document["runs"][0]
    other = run_document(bench, "smoke --resume --precision bfloat16", FASTER).document["runs"][0]
    # With nothing left to train there is no probe: the fake one would fail.
    again = run_document(bench, "smoke --resume --precision bfloat16").document["runs"][0]
    assert first["run_id"] != other["run_id"] == again["run_id"]
    assert (first["precision"], other["precision"]) == ("float32", "bfloat16")


def test_float32_on_the_cpu_needs_no_probe(bench: Bench) -> None:
    # The fake probe's output would be invalid.
    assert run_document(bench, "smoke").document["runs"][0]["device"] == "cpu"


@pytest.mark.parametrize("device", ["gpu", "auto"])
def test_an_available_gpu_is_used(bench: Bench, device: str) -> None:
    (run,) = run_document(bench, f"smoke --device {device}", {"gpus": [GPU]}).document["runs"]
    assert (run["device"], run["device_name"]) == ("gpu", "Imaginary GPU")
    assert run["device_memory_bytes"] == 8 * 2**30
    params = RecordedRuns(bench.folder).run(run["run_id"]).data.params
    assert (params["device"], params["device_name"]) == ("gpu", "Imaginary GPU")
    assert params["device_memory_bytes"] == str(8 * 2**30)


def test_several_thread_counts_on_a_gpu_are_an_error(bench: Bench) -> None:
    ended = call(bench, "run threads --dataset mnist-5k --device gpu", {"gpus": [GPU]})
    assert ended.status == 2
    for words in ("threads compares thread counts", "leave --device out"):
        assert words in ended.error_line
    assert list(bench.folder.iterdir()) == []


def test_auto_uses_the_cpu_without_a_gpu(bench: Bench) -> None:
    (run,) = run_document(bench, "smoke --device auto", {"gpus": []}).document["runs"]
    assert (run["device"], run["device_name"], run["device_memory_bytes"]) == ("cpu", None, None)


def test_a_missing_gpu_is_an_error_before_anything_is_written(bench: Bench) -> None:
    ended = call(bench, "run smoke --device gpu", {"gpus": []})
    assert ended.status == 2
    for words in ("--device gpu: TensorFlow finds no GPU here", "leave --device out"):
        assert words in ended.error_line
    assert list(bench.folder.iterdir()) == []


def test_a_failed_probe_is_a_one_line_error(bench: Bench) -> None:
    ended = call(bench, "run smoke --device auto")
    assert ended.status == 1
    assert "can't determine what TensorFlow supports here" in ended.error_line
    assert list(bench.folder.iterdir()) == []


# Invalid requests


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run --precision float16", ("--precision", "'float16'", "bfloat16")),
        ("run --device tpu", ("--device", "'tpu'", "auto")),
        ("run --threads 1025", ("--threads", "1025 is not in the range")),
    ],
)
def test_invalid_options(bench: Bench, line: str, words: tuple[str, ...]) -> None:
    ended = bench.call(*shlex.split(line))
    assert (ended.status, ended.stdout) == (2, "")
    assert all(word in ended.error_line for word in words)
    assert list(bench.folder.iterdir()) == []


@pytest.mark.parametrize(
    "threads", [[], [0], [-1], [2, 1], [1, 1], [1.0], [True], ["1"], [2_000], 2, "all", "Doubling"]
)
def test_invalid_threads_of_a_scenario_file(bench: Bench, threads: object) -> None:
    ended = usage_error(bench, threads)
    assert f"threads = {threads!r}: must be a rising list of counts" in ended.error_line
    assert '"doubling"' in ended.error_line


def test_a_scenario_file_with_more_threads_than_cores(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "usable_threads", lambda: 3)
    ended = usage_error(bench, [1, 4])
    assert "the scenario needs 4 threads, but this process may use 3 cores" in ended.error_line


def usage_error(bench: Bench, threads: object) -> Ended:
    keys = {"title": "mine", "model": "paper-cnn", "steps": [5], "eval_every": 5}
    text = tomli_w.dumps(keys | {"dataset": "mnist-5k", "threads": threads})
    path = bench.home / "mine.toml"
    path.write_text(text, encoding="utf-8")
    ended = bench.call("run", str(path))
    assert (ended.status, ended.stdout) == (2, "")
    assert list(bench.folder.iterdir()) == []
    return ended


# Real trainings


def test_a_real_training_in_bfloat16(bench: Bench) -> None:
    ended = bench.call_with_store(
        "run", "smoke", "--precision", "bfloat16", "--steps", "20", "--json"
    )
    assert ended.status == 0, ended.stderr
    assert "bfloat16 trains at" in ended.stderr_line
    (run,) = ended.document["runs"]
    assert (run["precision"], run["status"], run["steps"]) == ("bfloat16", "finished", 20)
    recorded = RecordedRuns(bench.folder)
    assert recorded.run(run["run_id"]).data.params["precision"] == "bfloat16"
    result = json.loads(recorded.artifact(run["run_id"], "result.json").read_text(encoding="utf-8"))
    assert 0.01 < result["bfloat16_speedup"] < 100
