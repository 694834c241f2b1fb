"""Trainings by a cluster in this process, with fake training processes."""

from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import factories
import fakes
import psutil
import pytest
from distributed import KilledWorker
from program import wait_until
from rich.console import Console

from mnist_bench.cluster import connect, leader, tasks
from mnist_bench.cluster.leader import Leader, run_plan, train_one
from mnist_bench.cluster.progress import ClusterProgress
from mnist_bench.core.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_USAGE, BenchError
from mnist_bench.core.signals import Terminated
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import machine, system
from mnist_bench.results.protocol import Gpu, ProbeResult
from mnist_bench.results.run import RunResult
from mnist_bench.runner import executor, process
from mnist_bench.runner.executor import Outcome, Stop
from mnist_bench.runner.plan import TrainingPlan, make_plan
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking.spool import FOLDER

SMALL = paper.PROTOCOL.model_copy(update={"title": "Two rows", "steps": (2, 5), "eval_every": 2})
"""Evaluated after 1, 3 and 5 steps; step count 2 ends off that grid."""
FOREVER = "import threading; threading.Event().wait()"


class Watcher:
    """Keeps the events of a training."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def begun(self, job: Any) -> None:
        self.events.append(f"begun {job.seed}")

    def sampled(self, sample: Any) -> None:
        self.events.append(f"sampled {sample.step}")

    def scored(self, evaluation: Any) -> None:
        self.events.append(f"scored {evaluation.step}")

    def warned(self, line: str) -> None:
        self.events.append(line)

    def ended(self, job: Any, failure: str | None, log_tail: str) -> None:
        self.events.append(f"ended {failure}: {log_tail}")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store() -> fakes.Store:
    return fakes.Store()


@pytest.fixture
def lead(sample: Source, store: fakes.Store) -> Iterator[Leader]:
    with connect.open_cluster("local", [sample]) as cluster:
        yield Leader(cluster, factories.ADDRESS, lambda: store)


def use_worker(monkeypatch: pytest.MonkeyPatch, fault: str = "pass") -> None:
    monkeypatch.setattr(process, "COMMAND", fakes.worker(fault))


def plan_of(sample: Source, seeds: int = 1, **changes: Any) -> TrainingPlan:
    values = {"seeds": range(seeds), "executions": [Execution(threads=2)]} | changes
    return make_plan("table-1", SMALL, sample, **values)


def led(lead: Leader, plan: TrainingPlan) -> tuple[Outcome, list[str]]:
    """Outcome of a plan on the cluster, and the lines that its leader showed."""
    console = Console(record=True, file=io.StringIO(), width=200)
    outcome = run_plan(lead, plan, ClusterProgress(plan, console))
    return outcome, console.export_text().splitlines()


def comparable(runs: tuple[RunResult, ...]) -> list[dict[str, Any]]:
    """What does not depend on when and under which id a training ran."""
    ids = {"trajectory", "run_id", "shared_phases", "conditions"}
    return [run.model_dump(exclude=ids) for run in runs]


def test_a_plan_is_recorded_as_if_it_had_run_here(
    lead: Leader, sample: Source, store: fakes.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(monkeypatch)
    threads = [Execution(threads=system.usable_threads())]
    alone = executor.execute(
        plan_of(sample, 2, executions=threads),
        machine.describe(),
        factories.ADDRESS,
        lambda: store,
        Watcher(),
    )
    kept = store.finished
    store.finished = []
    outcome, lines = led(lead, plan_of(sample, 2))
    assert (outcome.exit_status, outcome.error) == (0, None)
    assert comparable(outcome.results) == comparable(alone.results)
    assert [(each.run.seed, each.run.steps) for each in store.finished] == [
        (0, 2), (0, 5), (1, 2), (1, 5)
    ]  # fmt: skip
    # As on one machine: description, names and order of the files, content of the worker's files.
    for here, there in zip(store.finished, kept, strict=True):
        assert (here.note, list(here.files)) == (there.note, list(there.files))
        for name in ("predictions.npz", "worker.log", "scenario.toml", "machine.json"):
            assert here.files[name] == there.files[name]
    assert not list(FOLDER.glob("*.jsonl"))
    assert [line.partition(" on ")[0] for line in lines] == ["1 of 2: seed 0", "2 of 2: seed 1"]
    assert lines[0].endswith(": max test accuracy 0.7500, 5.5 s")


def test_metrics_have_the_times_of_the_machine_that_trained(
    lead: Leader, sample: Source, store: fakes.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(monkeypatch)
    monkeypatch.setattr(tasks, "now_ms", itertools.count(1_000).__next__)
    led(lead, plan_of(sample))
    # Message 0 is the begin; before the first evaluation come five and a sample.
    assert store.received_at_ms == [1_007, 1_009, 1_007, 1_013, 1_015]
    assert {each.at_ms for each in store.finished} == {1_011, 1_017}


def test_two_trainings_at_a_time_share_the_cores_and_are_suspect(
    sample: Source, store: fakes.Store, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    # Each waits for the other: one after the other they would never end.
    mine = f"__import__('pathlib').Path({str(folder)!r}, str(request['training_seed']))"
    other = f"__import__('pathlib').Path({str(folder)!r}, str(1 - request['training_seed']))"
    sleep = "__import__('time').sleep(0.01)"
    use_worker(monkeypatch, f"({mine}.touch(), any({sleep} for _ in iter({other}.exists, True)))")
    monkeypatch.setattr(system, "usable_threads", lambda: 6)
    with connect.open_cluster("local:2", [sample]) as cluster:
        outcome, _ = led(Leader(cluster, factories.ADDRESS, lambda: store), plan_of(sample, 2))
    assert [run.seed for run in outcome.results] == [0, 0, 1, 1]
    assert {run.threads for run in outcome.results} == {3}
    assert {run.verdict for run in outcome.results} == {"suspect"}
    assert any("exclusive" in reason for reason in outcome.results[0].reasons)


@pytest.mark.parametrize(("every_core", "threads"), [(True, system.usable_threads()), (False, 2)])
def test_threads_are_the_machines_unless_asked_for(
    lead: Leader, sample: Source, monkeypatch: pytest.MonkeyPatch, *, every_core: bool, threads: int
) -> None:
    use_worker(monkeypatch)
    asking = dataclasses.replace(lead, every_core=every_core)
    assert train_one(asking, plan_of(sample), Watcher()).results[0].threads == threads


def test_the_machine_that_trains_looks_for_its_gpu(
    lead: Leader, sample: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(monkeypatch)
    gpu = Gpu(name="Imaginary GPU", memory_bytes=2**30)
    found = ProbeResult(gpus=(gpu,))
    monkeypatch.setattr(process, "probe", lambda _execution: found)
    plan = plan_of(sample, executions=[Execution(threads=2, precision="bfloat16")])
    (run, _) = train_one(dataclasses.replace(lead, device="auto"), plan, Watcher()).results
    assert (run.device, run.device_name) == ("gpu", "Imaginary GPU")
    assert run.precision == "bfloat16"


def test_a_job_that_no_machine_can_do_fails_with_the_reason(
    lead: Leader, sample: Source, store: fakes.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(monkeypatch)
    monkeypatch.setattr(process, "probe", lambda _execution: ProbeResult(gpus=()))
    outcome, lines = led(dataclasses.replace(lead, device="gpu"), plan_of(sample))
    assert {run.status for run in outcome.results} == {"failed"}
    assert "--device gpu: TensorFlow finds no GPU here" in str(outcome.results[0].failure)
    assert "did not finish: --device gpu" in lines[0]
    assert [each.run.status for each in store.finished] == ["failed", "failed"]


def test_a_training_that_fails_everywhere_is_tried_three_times(
    lead: Leader,
    sample: Source,
    store: fakes.Store,
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
) -> None:
    attempts = f"__import__('pathlib').Path({str(folder / 'attempts')!r}).open('a')"
    fault = f"request['training_seed'] or ({attempts}.write('.'), sys.exit('out of luck'))"
    use_worker(monkeypatch, fault)
    outcome, lines = led(lead, plan_of(sample, 2))
    assert (folder / "attempts").read_text() == "..."
    assert [(run.seed, run.steps, run.status) for run in outcome.results] == [
        (0, 2, "failed"), (0, 5, "failed"), (1, 2, "finished"), (1, 5, "finished")
    ]  # fmt: skip
    assert outcome.results[0].failure == "the training process ended early with exit status 1"
    assert [e.step for e in outcome.results[0].evaluations] == [1]  # of the last attempt only
    failed = next(each for each in store.finished if each.run.seed == 0)
    assert failed.files["worker.log"].decode().splitlines() == ["words for the log", "out of luck"]
    assert "out of luck" in lines
    assert any("seed 0 on" in line and "did not finish" in line for line in lines)
    assert outcome.exit_status == 0


def test_a_second_attempt_replaces_the_first(
    lead: Leader, sample: Source, store: fakes.Store, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    mark = f"__import__('pathlib').Path({str(folder / 'mark')!r})"
    use_worker(monkeypatch, f"step == 3 and not {mark}.exists() and ({mark}.touch(), sys.exit(1))")
    watcher = Watcher()
    outcome = train_one(lead, plan_of(sample), watcher)
    first = ["begun 0", "sampled 1", "scored 1", "sampled 2", "scored 2", "sampled 3", "scored 3"]
    assert watcher.events == [*first, *first, "sampled 5", "scored 5", "ended None: "]
    assert [e.step for e in outcome.results[1].evaluations] == [1, 3, 5]
    assert [each.run.status for each in store.finished] == ["finished", "finished"]
    assert outcome.machine == machine.describe()


def test_a_pruned_training_ends_on_its_machine(
    lead: Leader, sample: Source, store: fakes.Store, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    pid = f"__import__('pathlib').Path({str(folder / 'pid')!r}).write_text"
    getpid = "str(__import__('os').getpid())"
    fault = f"step == 2 and {pid}({getpid})\n        step == 3 and __import__('time').sleep(60)"
    use_worker(monkeypatch, fault)
    watcher = Watcher()

    def prune() -> str | None:
        return "worse than the median" if watcher.events[-1] == "scored 3" else None

    outcome = train_one(lead, plan_of(sample), watcher, prune=prune)
    assert [(run.steps, run.status) for run in outcome.results] == [(2, "finished"), (5, "pruned")]
    assert outcome.results[1].failure == "worse than the median"
    assert [e.step for e in outcome.results[1].evaluations] == [1, 3]
    assert outcome.exit_status == 0
    wait_until(lambda: not psutil.pid_exists(int((folder / "pid").read_text())), 20)
    use_worker(monkeypatch)  # and its worker is free
    assert train_one(lead, plan_of(sample), Watcher()).results[1].status == "finished"


def test_a_stopped_training_is_killed(
    lead: Leader, sample: Source, store: fakes.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(monkeypatch, FOREVER)
    stop, watcher = Stop(), Watcher()

    def scored(_evaluation: Any) -> None:
        stop(EXIT_INTERRUPTED)

    watcher.scored = scored  # type: ignore[method-assign]
    outcome = train_one(lead, plan_of(sample), watcher, stop=stop)
    assert outcome.exit_status == EXIT_INTERRUPTED
    assert {(run.status, run.failure) for run in outcome.results} == {("killed", "interrupted")}
    assert {each.run.status for each in store.finished} == {"killed"}
    assert watcher.events[-1] == "ended interrupted: "
    again = train_one(lead, plan_of(sample), Watcher(), stop=stop)
    assert (again.exit_status, again.results) == (EXIT_INTERRUPTED, ())


def test_a_store_that_fails_keeps_the_results_in_the_spool(
    lead: Leader, sample: Source, store: fakes.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(monkeypatch)

    def fault(_call: str, _run_id: str) -> None:
        raise BenchError("the store is away")

    store.fault = fault
    outcome, _ = led(lead, plan_of(sample))
    assert [run.status for run in outcome.results] == ["finished", "finished"]
    assert "the store is away; the results are in" in str(outcome.error)
    (spool,) = FOLDER.glob("*.jsonl")
    (predictions, _) = sorted(FOLDER.glob("*/*/predictions.npz"))
    assert predictions.read_bytes() == b"predictions"
    assert '"kind":"said"' in spool.read_text(encoding="utf-8")


def test_a_plan_for_images_that_no_machine_has_is_refused(lead: Leader, store: fakes.Store) -> None:
    plan = make_plan(
        "table-1", SMALL, factories.SOURCE, seeds=range(1), executions=[Execution(threads=1)]
    )
    outcome, _ = led(lead, plan)
    assert (outcome.exit_status, outcome.results) == (EXIT_USAGE, ())
    assert "no machine at local has the images" in str(outcome.error)


@pytest.mark.parametrize(
    ("interruption", "line"), [(KeyboardInterrupt, "interrupted: "), (Terminated, "terminated: ")]
)
def test_an_interrupted_plan_loses_what_is_in_work(
    lead: Leader, sample: Source, store: fakes.Store, monkeypatch: pytest.MonkeyPatch,
    interruption: type[BaseException], line: str,
) -> None:  # fmt: skip
    use_worker(monkeypatch, FOREVER)
    monkeypatch.setattr(ClusterProgress, "received", mock.Mock(side_effect=interruption))
    outcome, lines = led(lead, plan_of(sample))
    assert outcome.exit_status == (EXIT_INTERRUPTED if line[0] == "i" else EXIT_TERMINATED)
    assert (outcome.results, store.finished) == ((), [])
    assert lines == [
        f"{line}1 training in work is lost; `--resume` trains again what is not recorded"
    ]


@pytest.mark.parametrize(
    ("error", "attempts", "state", "failure"),
    [
        (KilledWorker("key", None, 0), 5, "waiting", ""),
        (KilledWorker("key", None, 0), 6, "ended", "6 machines vanished while they trained it"),
        (RuntimeError("no\nmodule"), 1, "ended", "RuntimeError: no module"),
    ],
)
def test_a_job_that_dask_gives_up(
    lead: Leader, sample: Source, error: Exception, attempts: int, state: str, failure: str
) -> None:
    trainings = leader.Trainings(lead, plan_of(sample))
    (training,) = trainings.unsubmitted
    training.attempts = attempts
    trainings._end(training, error)
    assert (training.state, training.failure) == (state, failure)


def test_files_stay_in_their_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no file of a worker"):
        leader.write_files({"../outside": b""}, tmp_path / "inside")
    assert not (tmp_path / "outside").exists()
