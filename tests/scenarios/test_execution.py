"""How trainings are carried out: thread counts, bfloat16, a GPU, from the command to the record."""

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

from mnist_bench.core.errors import EXIT_WRONG_REQUEST, BenchError
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
    ("asked", "usable", "counts"),
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
def test_thread_counts(asked: ThreadCounts, usable: int, counts: tuple[int, ...]) -> None:
    assert thread_counts(asked, usable) == counts


@pytest.mark.parametrize(("usable", "words"), [(1, "1 core to use"), (3, "3 cores to use")])
def test_more_threads_than_cores_are_refused(usable: int, words: str) -> None:
    with pytest.raises(BenchError, match="asks for 4 threads") as no:
        thread_counts((1, 4), usable)
    assert no.value.exit_status == EXIT_WRONG_REQUEST
    assert words in str(no.value)


def test_in_words() -> None:
    assert str(Execution(threads=2)) == "float32 on cpu"
    there = Execution(threads=2, precision="bfloat16", device="gpu", device_name="Imaginary GPU")
    assert str(there) == "bfloat16 on gpu (Imaginary GPU)"


# The command, with stand-ins for the worker and for what a probe would find


@contextlib.contextmanager
def imagined(found: dict[str, Any] | None, cores: int) -> Iterator[None]:
    """A machine of so many cores, where a probe finds this."""
    answer = (sys.executable, "-c", f"print({json.dumps(found)!r})")
    with (
        mock.patch.object(process, "COMMAND", fakes.worker()),
        mock.patch.object(process, "PROBE", answer),
        mock.patch.object(system, "usable_threads", return_value=cores),
    ):
        yield


def called(bench: Bench, line: str, found: dict[str, Any] | None = None, cores: int = 2) -> Ended:
    with imagined(found, cores):
        return bench.inside(*shlex.split(line))


def ran(bench: Bench, line: str, found: dict[str, Any] | None = None) -> Ended:
    ended = called(bench, f"run {line} --json", found)
    assert ended.status == 0, ended.stderr
    return ended


def test_a_scenario_of_several_thread_counts(bench: Bench) -> None:
    ended = ran(bench, "threads --dataset mnist-5k --steps 20 --seeds 2")
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
    assert [run["threads"] for run in ran(bench, line).document["runs"]] == [3]


def test_several_thread_counts_are_resumed(bench: Bench) -> None:
    line = "threads --dataset mnist-5k --steps 20"
    ran(bench, f"{line} --threads 2")
    there = RecordedRuns(bench.folder).runs()[0].info.run_id
    left = called(bench, f"run {line} --resume --dry-run --json")
    (plan,) = left.document["plans"]
    assert plan["trajectories"] == [{"seed": 0, "steps": [20], "threads": 1}]
    runs = ran(bench, f"{line} --resume").document["runs"]
    assert [run["threads"] for run in runs] == [1, 2]
    assert runs[1]["run_id"] == there


def test_a_plan_of_several_thread_counts_in_words(bench: Bench) -> None:
    line = "run threads --dataset mnist-5k --dry-run"
    text = called(bench, line, cores=6).stdout
    assert "trainings  4, shared by its rows\n" in text
    assert "with       float32 on cpu, threads: 1, 2, 4, 6\n" in text


SLOWER = {"gpus": [], "bfloat16_speedup": 0.4}
FASTER = {"gpus": [], "bfloat16_speedup": 1.75}


def test_bfloat16_that_is_slower_is_warned_of_with_the_figure(bench: Bench) -> None:
    ended = ran(bench, "smoke --precision bfloat16", SLOWER)
    assert "bfloat16 trains at 0.4 times float32's speed here" in ended.told
    assert "leave --precision out" in ended.told
    (run,) = ended.document["runs"]
    assert (run["precision"], run["device"]) == ("bfloat16", "cpu")
    recorded = RecordedRuns(bench.folder)
    assert recorded.run(run["run_id"]).data.params["precision"] == "bfloat16"
    kept = json.loads(recorded.artifact(run["run_id"], "result.json").read_text(encoding="utf-8"))
    assert kept["bfloat16_speedup"] == 0.4


def test_bfloat16_that_is_faster_is_not_warned_of(bench: Bench) -> None:
    ended = ran(bench, "smoke --precision bfloat16", FASTER)
    assert "bfloat16 trains at 1.8 times float32's speed here" in ended.told
    assert "leave --precision out" not in ended.told


def test_resume_takes_no_run_of_another_precision(bench: Bench) -> None:
    first = ran(bench, "smoke", FASTER).document["runs"][0]
    other = ran(bench, "smoke --resume --precision bfloat16", FASTER).document["runs"][0]
    # With nothing left to train nothing is probed: what stands in for the probe would fail.
    again = ran(bench, "smoke --resume --precision bfloat16").document["runs"][0]
    assert first["run_id"] != other["run_id"] == again["run_id"]
    assert (first["precision"], other["precision"]) == ("float32", "bfloat16")


def test_float32_on_the_processor_asks_no_probe(bench: Bench) -> None:
    # What stands in for the probe answers what can't be understood.
    assert ran(bench, "smoke").document["runs"][0]["device"] == "cpu"


@pytest.mark.parametrize("device", ["gpu", "auto"])
def test_a_gpu_that_is_there(bench: Bench, device: str) -> None:
    (run,) = ran(bench, f"smoke --device {device}", {"gpus": [GPU]}).document["runs"]
    assert (run["device"], run["device_name"]) == ("gpu", "Imaginary GPU")
    assert run["device_memory_bytes"] == 8 * 2**30
    params = RecordedRuns(bench.folder).run(run["run_id"]).data.params
    assert (params["device"], params["device_name"]) == ("gpu", "Imaginary GPU")
    assert params["device_memory_bytes"] == str(8 * 2**30)


def test_several_thread_counts_on_a_gpu_are_refused(bench: Bench) -> None:
    ended = called(bench, "run threads --dataset mnist-5k --device gpu", {"gpus": [GPU]})
    assert ended.status == 2
    for words in ("threads compares numbers of threads", "leave --device out"):
        assert words in ended.complaint
    assert list(bench.folder.iterdir()) == []


def test_auto_takes_the_processor_where_there_is_no_gpu(bench: Bench) -> None:
    (run,) = ran(bench, "smoke --device auto", {"gpus": []}).document["runs"]
    assert (run["device"], run["device_name"], run["device_memory_bytes"]) == ("cpu", None, None)


def test_a_gpu_that_is_not_there_is_refused_before_anything_is_written(bench: Bench) -> None:
    ended = called(bench, "run smoke --device gpu", {"gpus": []})
    assert ended.status == 2
    for words in ("--device gpu: TensorFlow finds no GPU here", "leave --device out"):
        assert words in ended.complaint
    assert list(bench.folder.iterdir()) == []


def test_a_probe_that_fails_is_one_line(bench: Bench) -> None:
    ended = called(bench, "run smoke --device auto")
    assert ended.status == 1
    assert "what TensorFlow can do here could not be found out" in ended.complaint
    assert list(bench.folder.iterdir()) == []


# Requests that can't be


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run --precision float16", ("--precision", "'float16'", "bfloat16")),
        ("run --device tpu", ("--device", "'tpu'", "auto")),
        ("run --threads 1025", ("--threads", "1025 is not in the range")),
    ],
)
def test_wrong_request(bench: Bench, line: str, words: tuple[str, ...]) -> None:
    ended = bench.call(*shlex.split(line))
    assert (ended.status, ended.stdout) == (2, "")
    assert all(word in ended.complaint for word in words)
    assert list(bench.folder.iterdir()) == []


@pytest.mark.parametrize(
    "threads", [[], [0], [-1], [2, 1], [1, 1], [1.0], [True], ["1"], [2_000], 2, "all", "Doubling"]
)
def test_threads_of_a_scenario_file_that_can_not_be(bench: Bench, threads: object) -> None:
    ended = refused(bench, threads)
    assert f"threads = {threads!r}: it should be a rising list of counts" in ended.complaint
    assert '"doubling"' in ended.complaint


def test_a_scenario_file_with_more_threads_than_cores(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "usable_threads", lambda: 3)
    ended = refused(bench, [1, 4])
    assert "the scenario asks for 4 threads, and there are 3 cores to use" in ended.complaint


def refused(bench: Bench, threads: object) -> Ended:
    keys = {"title": "mine", "model": "paper-cnn", "steps": [5], "eval_every": 5}
    text = tomli_w.dumps(keys | {"dataset": "mnist-5k", "threads": threads})
    path = bench.home / "mine.toml"
    path.write_text(text, encoding="utf-8")
    ended = bench.call("run", str(path))
    assert (ended.status, ended.stdout) == (2, "")
    assert list(bench.folder.iterdir()) == []
    return ended


# The real ones


def test_a_real_training_in_bfloat16(bench: Bench) -> None:
    ended = bench.inside("run", "smoke", "--precision", "bfloat16", "--steps", "20", "--json")
    assert ended.status == 0, ended.stderr
    assert "bfloat16 trains at" in ended.told
    (run,) = ended.document["runs"]
    assert (run["precision"], run["status"], run["steps"]) == ("bfloat16", "finished", 20)
    recorded = RecordedRuns(bench.folder)
    assert recorded.run(run["run_id"]).data.params["precision"] == "bfloat16"
    kept = json.loads(recorded.artifact(run["run_id"], "result.json").read_text(encoding="utf-8"))
    assert 0.01 < kept["bfloat16_speedup"] < 100
