"""Builders of records for tests.

This module imports neither TensorFlow nor MLflow.
"""

from __future__ import annotations

import io
import math
import random
import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from mnist_bench.analysis import table1
from mnist_bench.analysis.confusion import confusion_of
from mnist_bench.analysis.curves import curves_of
from mnist_bench.analysis.grouping import has_table_1_task
from mnist_bench.analysis.reference import compare_with_reference
from mnist_bench.analysis.statistics import Interval
from mnist_bench.analysis.system_state import system_state_of
from mnist_bench.analysis.table1 import Spread
from mnist_bench.analysis.thread_scaling import scaling_of
from mnist_bench.analysis.time_to_accuracy import times_to_accuracy
from mnist_bench.claims.declared import TECHNIQUES
from mnist_bench.claims.evidence import Evidence
from mnist_bench.core import locks
from mnist_bench.data.dataset import Images, Source
from mnist_bench.measurement.conditions import Conditions, Stretch, Surroundings, TrainingStretch
from mnist_bench.measurement.machine import Machine
from mnist_bench.reporting.figures import charts_of_report
from mnist_bench.reporting.html import report_to_html
from mnist_bench.reporting.model import Report, ReportSection
from mnist_bench.reporting.terminal import print_table
from mnist_bench.results.document import MachineLine
from mnist_bench.results.experiments import (
    LAYER_KINDS,
    ConvolutionCases,
    ConvolutionCheck,
    DatasetSize,
    ExperimentResult,
    ImageBytes,
    LayerComparison,
    LayerCost,
    LayerKind,
    LossCurve,
    LossPoint,
    Method,
    OptimizerComparison,
)
from mnist_bench.results.layer_maps import LayerMaps
from mnist_bench.results.predictions import Predictions
from mnist_bench.results.protocol import (
    EvaluationMessage,
    Request,
    SampleMessage,
    StepCountDone,
)
from mnist_bench.results.run import Evaluation, RunResult
from mnist_bench.results.run_summary import summarise
from mnist_bench.runner.plan import TrainingJob, TrainingPlan, planned_runs
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.scenarios.scenario import Grid, Scenario
from mnist_bench.tracking import spool
from mnist_bench.tracking.bundle import Bundle, BundledRun, to_bytes
from mnist_bench.tracking.spool import (
    Address,
    Entry,
    Header,
    MessageEntry,
    Spool,
    TrainingEnded,
)
from mnist_bench.tuning.candidate import Margin
from mnist_bench.tuning.confirmation_stats import Arm, Confirmation, McNemar
from mnist_bench.tuning.document import EvaluationOnTest, StudyDocument
from mnist_bench.tuning.finalists import Finalist
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.space import Parameter, Space, Value
from mnist_bench.tuning.study import Study
from mnist_bench.tuning.trial import StudyTrial

if TYPE_CHECKING:
    import tensorflow as tf


# Machines and runs


def machine(**changes: Any) -> Machine:
    """An imaginary machine."""
    values: dict[str, Any] = {
        "machine_id": "0123456789abcdef",
        "cpu": "Imaginary CPU",
        "cores_physical": 2,
        "cores_logical": 4,
        "memory_bytes": 16 * 2**30,
        "system": "Linux 6.1",
        "architecture": "x86_64",
        "python": "3.12.1",
        "tensorflow": "2.21.0",
        "keras": "3.15.1",
        "mlflow": "3.17.2",
        "optuna": "5.0.0",
        "numpy": "2.4.6",
        "mnist_bench": "0.1.0",
    }
    return Machine(**(values | changes))


def evaluations(
    steps: int, best: float, *, best_step: int | None = None, final: float | None = None,
    selected: float | None = None, first: int = 1, every: int = 100, seconds: float = 0.02,
) -> tuple[Evaluation, ...]:  # fmt: skip
    """Evaluations on a grid and after the last step.

    Args:
        steps: Step count.
        best: Max test accuracy on the grid.
        best_step: Its step; by default the second to last grid step, if there are two.
        final: Test accuracy after the last step, if that is not on the grid.
        selected: Test accuracy at the first grid step, where validation accuracy is then largest.
        first: First grid step.
        every: Interval of the grid in steps.
        seconds: Train seconds per step.
    """
    grid = list(range(first, steps + 1, every))
    best_step = best_step or grid[max(0, len(grid) - 2)]
    accuracies = dict.fromkeys(grid, round(best - 0.01, 6))
    if selected is not None:
        accuracies[grid[0]] = selected
    accuracies[best_step] = best
    accuracies.setdefault(steps, round(best - 0.001, 6) if final is None else final)
    chosen = grid[0] if selected is not None else best_step
    return tuple(
        Evaluation(
            step=step,
            test_accuracy=accuracy,
            validation_accuracy=0.99 if step == chosen else 0.9,
            train_loss=0.125,
            train_seconds=step * seconds,
        )
        for step, accuracy in sorted(accuracies.items())
    )


def run(steps: int = 1_000, best: float = 0.985, seed: int = 0, **changes: Any) -> RunResult:
    """A finished run of the paper's protocol.

    Args:
        best: Max test accuracy.
        changes: Other fields of `RunResult`.
    """
    first, every = changes.get("eval_first", 1), changes.get("eval_every", 100)
    values: dict[str, Any] = {
        "scenario": "table-1",
        "model": "paper-cnn",
        "steps": steps,
        "seed": seed,
        "training_seed": changes.get("training_seed", seed),
        "status": "finished",
        "run_id": f"run-{steps}-{seed}",
        "trajectory": f"trajectory-{seed}",
        "dataset": "mnist",
        "dataset_digest": "d" * 64,
        "precision": "float32",
        "threads": 2,
        "device": "cpu",
        "machine_id": "0123456789abcdef",
        "memory_method": "VmHWM",
        "eval_first": first,
        "eval_every": every,
        "target_accuracies": (0.984, 0.9888, 0.9918, 0.9928),
        "hyperparameters": PaperCnnHyperparameters(),
        "seconds": {"import": 4.0, "data": 0.5, "train": steps * 0.02, "evaluate": 3.25},
        "peak_rss_bytes": 1_000 * 2**20 + steps,
    }
    if "evaluations" not in changes:
        values["evaluations"] = evaluations(steps, best, first=first, every=every)
    return RunResult(**(values | changes))


def seeds(steps: int, *accuracies: float, **changes: Any) -> list[RunResult]:
    """Finished runs of the paper's protocol with these max test accuracies, one per seed."""
    return [run(steps, best, seed, **changes) for seed, best in enumerate(accuracies)]


def differing(record: object, expected: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Fields of a record with another value than expected: both values. Numbers to nine digits."""
    pairs = {name: (getattr(record, name), value) for name, value in expected.items()}
    return {name: pair for name, pair in pairs.items() if not _is_near(*pair)}


def _is_near(found: Any, expected: Any) -> bool:
    if isinstance(found, (int, float)) and isinstance(expected, (int, float)):
        return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12)
    return found == expected


# Data source and MLflow address


SOURCE = Source(
    name="mnist",
    digest="d" * 64,
    train_digest="t" * 64,
    location="nowhere",
    train_images=55_000,
    validation_images=5_000,
    test_images=10_000,
)
"""MNIST, as in a request to a worker."""


ADDRESS = Address(tracking_uri="sqlite:///mlflow.db", experiment="mnist-bench")


# Conditions of an idle machine with four cores


CORES = 4
STRETCH_SECONDS = 8.0
"""Wall-clock time. A power of two like the cores, so that fractions are exact."""


def surroundings(**changes: Any) -> Surroundings:
    """State of an idle machine."""
    values: dict[str, Any] = {
        "logical_cores": CORES,
        "affinity_cores": CORES,
        "quota_cores": None,
        "governor": "performance",
        "clock_mhz": 3_000.0,
        "on_battery": False,
        "battery_percent": 80.0,
        "temperature_celsius": 50.0,
        "memory_available_bytes": 8 * 2**30,
        "memory_total_bytes": 16 * 2**30,
        "swap_used_bytes": 2**20,
    }
    return Surroundings(**(values | changes))


def stretch(**changes: Any) -> Stretch:
    """Eight seconds with three busy cores and no other load."""
    values: dict[str, Any] = {
        "wall_seconds": STRETCH_SECONDS,
        "own_cpu_seconds": 24.0,
        "family_cpu_seconds": 0.0,
        "other_cpu_seconds": 0.0,
        "steal_seconds": 0.0,
        "throttled_seconds": 0.0,
        "memory_stall_seconds": 0.0,
        "swapped_bytes": 0,
        "suspended_seconds": 0.0,
    }
    return Stretch(**(values | changes))


def training_stretches(paces: Iterable[float], **changes: Any) -> tuple[TrainingStretch, ...]:
    """Stretches of 50 steps.

    Args:
        paces: Train seconds per step, one value per stretch.
        changes: Other fields of every `Stretch`.
    """
    return tuple(
        TrainingStretch(
            step=50 * number,
            steps=50,
            train_seconds=50 * pace,
            rss_bytes=500 * 2**20,
            seen=stretch(**changes),
        )
        for number, pace in enumerate(paces, start=1)
    )


def conditions(**changes: Any) -> Conditions:
    """Conditions of an undisturbed run of 600 steps."""
    values: dict[str, Any] = {
        "surroundings": (surroundings(), surroundings()),
        "calibration_seconds": (0.02, 0.02),
        "stretches": training_stretches([0.16] * 12),
        "exclusive": True,
    }
    return Conditions(**(values | changes))


# Bundles: a quick way to fill a real database


DAY_MS = 86_400_000
NOON_MS = 1_767_225_600_000 + DAY_MS // 2
"""Noon of 1 January 2026 in UTC."""


def table_1(machine_id: str = "a" * 32, pace: float = 0.02, **changes: Any) -> list[RunResult]:
    """Three seeds of Table I on a machine, with `pace` train seconds per step."""
    best = {1_000: 0.984, 2_500: 0.989, 5_000: 0.992, 10_000: 0.993}
    return [
        run(steps, accuracy + seed * 1e-4, seed, machine_id=machine_id, verdict="clean",
            trajectory=f"{machine_id}-{seed}-{pace}",
            evaluations=evaluations(steps, accuracy + seed * 1e-4, seconds=pace), **changes)
        for seed in range(3)
        for steps, accuracy in best.items()
    ]  # fmt: skip


def complete_bundle(folder: Path, name: str) -> str:
    """A bundle whose runs have a value in every field, with few evaluations."""
    state = Surroundings(
        logical_cores=4, affinity_cores=3, quota_cores=2.5, governor="performance",
        clock_mhz=2_400.0, on_battery=False, battery_percent=80.0, temperature_celsius=61.5,
        memory_available_bytes=2**33, memory_total_bytes=2**34, swap_used_bytes=0,
    )  # fmt: skip
    state_changes = Stretch(
        wall_seconds=20.1, own_cpu_seconds=40.0, family_cpu_seconds=0.5, other_cpu_seconds=0.25,
        steal_seconds=0.125, throttled_seconds=0.0, memory_stall_seconds=0.0, swapped_bytes=0,
        suspended_seconds=0.0, processor_joules=560.0, battery_joules=800.0,
    )  # fmt: skip
    stretch = TrainingStretch(
        step=201, steps=200, train_seconds=4.0, rss_bytes=2**29, seen=state_changes
    )
    conditions = Conditions(
        surroundings=(state, state), calibration_seconds=(0.5, 0.51), stretches=(stretch, stretch)
    )
    fields = {
        "conditions": conditions, "verdict": "suspect", "reasons": ("other load", "on battery"),
        "phase_peak_rss_bytes": {"import": 300 * 2**20, "train": 900 * 2**20},
        "shared_phases": ("import", "data"), "device": "gpu", "device_name": "Imaginary GPU",
        "device_memory_bytes": 2**33, "bfloat16_speedup": 1.5, "eval_every": 500,
    }  # fmt: skip
    runs = [
        run(steps, 0.985, seed, evaluations=evaluations(steps, 0.985, every=500), **fields)
        for seed in (0, 1)
        for steps in (1_000, 2_500)
    ]
    scenario = Scenario(title="Scenario table-1", model="paper-cnn", steps=(1_000, 2_500),
                     eval_every=500)  # fmt: skip
    return bundle(folder, name, runs, scenario=scenario)


def bundle(
    folder: Path,
    name: str,
    runs: list[RunResult],
    scenario: Scenario | None = None,
    **machine_fields: Any,
) -> str:
    """Write a bundle of runs of one machine that started a minute apart; return its name."""
    scenario_index = None if scenario is None else 0
    bundled = tuple(
        BundledRun(result=r.model_copy(update={"run_id": None}), machine=0, scenario=scenario_index,
                   begun_at_ms=NOON_MS + 60_000 * index)
        for index, r in enumerate(runs)
    )  # fmt: skip
    machines = (machine(**({"machine_id": runs[0].machine_id} | machine_fields)),)
    scenarios = () if scenario is None else (scenario,)
    content = Bundle(mnist_bench="0.1.0", machines=machines, runs=bundled, scenarios=scenarios)
    (folder / name).write_bytes(to_bytes(content, ""))
    return name


# Table I


REFERENCE = dict.fromkeys((1_000, 2_500, 5_000, 10_000), Spread(0.0005, 10, "reference"))
RUN_KEYS = [
    "scenario",
    "model",
    "steps",
    "seed",
    "status",
    "run_id",
    "trajectory",
    "dataset",
    "dataset_digest",
    "precision",
    "threads",
    "device",
    "machine_id",
    "memory_method",
    "verdict",
    "reasons",
    "max_test_accuracy",
    "max_test_accuracy_step",
    "final_test_accuracy",
    "selected_test_accuracy",
    "train_seconds_total",
    "images_per_second",
    "peak_rss_bytes",
    "seconds",
    "hyperparameters",
]


def training_with_scores(
    seed: int, *points: tuple[int, float, float], **changes: object
) -> RunResult:
    """A training with these steps, test accuracies and train seconds."""
    scored = tuple(
        Evaluation(step=step, test_accuracy=accuracy, validation_accuracy=0.9, train_loss=None,
                   train_seconds=seconds)
        for step, accuracy, seconds in points
    )  # fmt: skip
    return run(201, seed=seed, evaluations=scored, **changes)


# A worker's messages and their spool


TWO_STEP_COUNTS = paper.PROTOCOL.model_copy(update={"title": "Two rows", "steps": (250, 501)})
FIRST_MESSAGE_MS = 1_800_000_000_000


def planned_step_count(steps: int) -> RunResult:
    """A run of `TWO_STEP_COUNTS` before its first step."""
    execution = Execution(threads=2)
    job = TrainingJob(3, 3, (steps,), execution, id="a-trajectory")
    plan = TrainingPlan("table-1", TWO_STEP_COUNTS, SOURCE, (execution,), (job,))
    return planned_runs(plan, job, machine())[0]


def worker_request(**changes: Any) -> Request:
    """A training of the paper's network on two threads."""
    values: dict[str, Any] = {
        "model": "paper-cnn",
        "hyperparameters": PaperCnnHyperparameters(),
        "training_seed": 3,
        "step_counts": (1_000, 2_500),
        "grid": Grid(first=1, every=100),
        "source": SOURCE,
        "execution": Execution(threads=2),
        "folder": "nowhere",
        "started_at": 1_800_000_000.0,
    }
    return Request(**(values | changes))


def received_at_ms(step: int) -> int:
    """Time at which a step's message is received: one second per step."""
    return FIRST_MESSAGE_MS + 1_000 * step


def evaluation_message(step: int) -> EvaluationMessage:
    return EvaluationMessage(
        evaluation=Evaluation(
            step=step,
            test_accuracy=0.97,
            validation_accuracy=0.96,
            train_loss=0.25,
            train_seconds=step * 0.02,
        )
    )


def sample_message(step: int, steps: int = 100, rss_bytes: int | None = 7_000) -> SampleMessage:
    stretch = TrainingStretch(
        step=step,
        steps=steps,
        train_seconds=steps * 0.02,
        rss_bytes=rss_bytes,
        seen=Stretch(wall_seconds=steps * 0.02, own_cpu_seconds=steps * 0.04),
    )
    return SampleMessage(train_seconds=step * 0.02, stretch=stretch)


def step_count_done(steps: int) -> StepCountDone:
    return StepCountDone(
        steps=steps,
        seconds={"import": 4.0, "data": 0.5, "train": steps * 0.02, "other": 1.0},
        peak_rss_bytes=1_000 + steps,
        memory_method="VmHWM",
        phase_peak_rss_bytes={"import": 600, "train": 1_000 + steps},
    )


SPOOL_ENTRIES: tuple[Entry, ...] = (
    MessageEntry(at_ms=FIRST_MESSAGE_MS + 2, message=sample_message(101)),
    MessageEntry(at_ms=FIRST_MESSAGE_MS + 3, message=evaluation_message(101)),
    MessageEntry(at_ms=FIRST_MESSAGE_MS + 4, message=step_count_done(250)),
    TrainingEnded(at_ms=FIRST_MESSAGE_MS + 5, status="killed", reason="interrupted"),
)


def spool_header(**changes: object) -> Header:
    values = {
        "at_ms": FIRST_MESSAGE_MS,
        "owner": locks.process_name(),
        "address": ADDRESS,
        "machine": machine(),
        "scenario": TWO_STEP_COUNTS,
        "runs": tuple(planned_step_count(steps) for steps in TWO_STEP_COUNTS.steps),
    }
    return Header(**(values | changes))


def dead_owner(*folders: Path) -> str:
    """Name of a process that has ended without removing its lock files in these folders."""
    name = f"4711-{int(time.time())}-{secrets.token_hex(4)}"
    for each in folders or (spool.FOLDER, *locks.live_folders()):
        each.mkdir(parents=True, exist_ok=True)
        (each / f"{name}.lock").touch()
    return name


def write_spool(
    address: Address,
    owner: str,
    *,
    folder: Path = spool.FOLDER,
    trajectory: str = "",
    ended: bool = False,
) -> Spool:
    """A spool whose first step count has finished, and the second not."""
    name = trajectory or uuid.uuid4().hex
    runs = tuple(
        planned_step_count(steps).model_copy(update={"trajectory": name}) for steps in (250, 501)
    )
    writer = Spool(spool_header(owner=owner, address=address, runs=runs), folder)
    for step in (1, 101, 201, 250):
        writer.add(MessageEntry(at_ms=received_at_ms(step), message=sample_message(step)))
        writer.add(MessageEntry(at_ms=received_at_ms(step) + 1, message=evaluation_message(step)))
    (spool.files_of(writer.path) / "250").mkdir(parents=True)
    (spool.files_of(writer.path) / "250" / "predictions.npz").write_bytes(b"predictions")
    writer.add(MessageEntry(at_ms=received_at_ms(250) + 2, message=step_count_done(250)))
    writer.add(MessageEntry(at_ms=received_at_ms(301), message=evaluation_message(301)))
    if ended:
        writer.add(TrainingEnded(at_ms=received_at_ms(302), status="killed", reason="interrupted"))
    return writer


# Claims


TABLE_1_STEPS = tuple(row.steps for row in paper.TABLE_1)
AccuracyCurve = Callable[[int, random.Random], float]
"""Test accuracy after a number of steps, with a random generator for noise."""


def training_on_curve(steps: int, seed: int, curve: AccuracyCurve, **changes: Any) -> RunResult:
    """An independent training on the paper's grid."""
    rng = random.Random(f"{steps} {seed}")
    grid = sorted({*range(1, steps + 1, 100), steps})
    scored = tuple(
        Evaluation(step=step, test_accuracy=curve(step, rng), validation_accuracy=0.9,
                   train_loss=None, train_seconds=step * 0.02)
        for step in grid
    )  # fmt: skip
    identity = {"training_seed": 100_000 * seed + steps, "trajectory": f"{steps}-{seed}"}
    return run(steps, seed=seed, evaluations=scored, **(identity | changes))


def trainings_on_curve(curve: AccuracyCurve, seeds: int = 5) -> tuple[RunResult, ...]:
    return tuple(
        training_on_curve(steps, seed, curve) for seed in range(seeds) for steps in TABLE_1_STEPS
    )


def falling_error(step: int, rng: random.Random) -> float:
    """The error is 0.016 after 1,000 steps and falls with step ** -0.5."""
    return 1 - 0.016 * (step / 1_000) ** -0.5 * rng.uniform(0.97, 1.03)


def claims_evidence(runs: Sequence[RunResult], **changes: Any) -> Evidence:
    """Evidence from these runs."""
    summaries = summarise(runs)
    comparable = [run for run in summaries if has_table_1_task(run)]
    named = {name: tuple(run for run in summaries if run.scenario == name) for name in TECHNIQUES}
    values = {
        "runs": tuple(comparable),
        "trainings": tuple(run for run in runs if run.model == "paper-cnn"),
        "rows": table1.rows(comparable, table1.load_reference()),
        "scaling": scaling_of([run for run in summaries if run.scenario == "threads"]),
        "techniques": {name: group for name, group in named.items() if group},
    }
    return Evidence(**(values | changes))


def experiment_result(number: int, body: object) -> dict[int, ExperimentResult]:
    result = ExperimentResult(
        claim=number, machine_id="0123456789abcdef", created="2026-01-31T12:00:00+00:00",
        dataset=None, dataset_digest=None, execution=Execution(threads=2), seed=0, seconds=60.0,
        took_seconds=10.0, tensorflow="2.21.0", mnist_bench="0.1.0", body=body,
    )  # fmt: skip
    return {number: result}


def layer_cost(kind: LayerKind, side: int, **changes: Any) -> LayerCost:
    """Cost of a layer with a 5 × 5 kernel, border effects ignored."""
    pixels = side**2
    parameters = {"dense": pixels**2, "local": 25 * pixels, "convolution": 25}[kind]
    values = {
        "kind": kind, "side": side, "kernel_size": 5, "parameters": parameters,
        "weight_bytes": 4 * parameters,
        "multiply_adds": pixels**2 if kind == "dense" else 25 * pixels,
        "seconds": {"dense": (0.4, 0.5, 0.45), "local": (0.2, 0.2, 0.2),
                    "convolution": (0.1, 0.1, 0.1)}[kind],
    }  # fmt: skip
    return LayerCost(**(values | changes))


def layer_results(sides: tuple[int, ...] = (8, 16), **changes: Any) -> dict[int, ExperimentResult]:
    costs = [
        layer_cost(kind, side, **(changes if kind == "dense" else {}))
        for side in sides
        for kind in LAYER_KINDS
    ]
    body = LayerComparison(costs=tuple(costs), batch_images=50, applications=10, largest_value=1.0)
    return experiment_result(7, body)


def loss_curve(method: Method, *points: tuple[int, float, float]) -> LossCurve:
    measured = tuple(
        LossPoint(
            samples_seen=samples, seconds=seconds, loss=loss, validation_accuracy=1 - loss / 3
        )
        for samples, seconds, loss in points
    )
    return LossCurve(method=method, learning_rate=None if method == "L-BFGS" else 0.1,
                     points=measured, ended="time", samples_seen=points[-1][0],
                     seconds=points[-1][1])  # fmt: skip


def optimizer_results(full: LossCurve, newton: LossCurve) -> dict[int, ExperimentResult]:
    single = loss_curve("single samples", (0, 0.0, 2.3), (1_000, 1.0, 0.9), (5_000, 5.0, 0.3))
    body = OptimizerComparison(
        curves=(single, full, newton), searches=(), seconds_a_curve=5.0, parameters=100,
        filters=(2, 4), training_images=1_000, loss_images=500, validation_images=100,
    )  # fmt: skip
    return experiment_result(8, body)


SLOW_LOSSES = ((0, 0.0, 2.3), (10_000, 2.0, 1.5), (30_000, 5.0, 0.9))
FAST_LOSSES = ((0, 0.0, 2.3), (1_000, 0.5, 0.2))


def convolution_results(*, equal: int, largest: int = 0) -> dict[int, ExperimentResult]:
    cases = tuple(
        ConvolutionCases(
            dimensions=dimensions, cases=10, symmetric_kernels=1, equal_before_flipping=1,
            equal_after_flipping=equal, largest_difference_before_flipping=99,
            largest_difference_after_flipping=largest,
        )
        for dimensions in (1, 2)
    )  # fmt: skip
    return experiment_result(10, ConvolutionCheck(checks=cases))


def dataset_size_results(training: int, test: int | None) -> dict[int, ExperimentResult]:
    sizes = [
        ImageBytes(part="training", images=60_000, representation="uint8", size_bytes=training),
        ImageBytes(part="test", images=10_000, representation="uint8", size_bytes=test),
        ImageBytes(part="training", images=60_000, representation="gzip as found", size_bytes=None),
    ]
    return experiment_result(11, DatasetSize(sizes=tuple(sizes)))


CONVOLUTION_CASES = ConvolutionCases(
    dimensions=1, cases=4, symmetric_kernels=0, equal_before_flipping=0, equal_after_flipping=4,
    largest_difference_before_flipping=3, largest_difference_after_flipping=0,
)  # fmt: skip
CHECKED_CONVOLUTIONS = ConvolutionCheck(checks=(CONVOLUTION_CASES,))


# Reports


REPORT_SUFFIXES = (".html", ".md", ".csv", ".runs.csv", ".json")


def table_report(
    results: Sequence[RunResult], *, title: str = "Table I", on_machine: Machine | None = None,
    command: str = "mnist-bench run table-1", scenario: str = "table-1",
) -> ReportSection:  # fmt: skip
    return ReportSection(
        title=title,
        scenario=scenario,
        command=command,
        created="2026-01-31",
        document=table1.document(on_machine or machine(), summarise(results), REFERENCE),
        rows=table1.rows(summarise(results), REFERENCE, (on_machine or machine()).machine_id),
        system_state=system_state_of(results),
    )


RUN_CONDITIONS = Conditions(
    surroundings=(
        Surroundings(logical_cores=4, governor="performance", clock_mhz=2_400.0, on_battery=False),
        Surroundings(logical_cores=4, governor="performance", clock_mhz=3_100.0, on_battery=False),
    )
)


def full_report() -> ReportSection:
    """Three seeds of Table I with all verdicts, a failed run and a killed one."""
    clean = {"verdict": "clean", "conditions": RUN_CONDITIONS}
    suspect = {"verdict": "suspect", "reasons": ("other load",)}
    invalid = {"verdict": "invalid", "reasons": ("suspended", "other load")}
    peaks = {"phase_peak_rss_bytes": {"import": 300 * 2**20, "train": 900 * 2**20}}
    return table_report([
        *seeds(1_000, 0.9899, 0.9900, 0.9902, **clean),
        run(2_500, 0.9885, 0, **clean),
        run(2_500, 0.9889, 1, **suspect),
        run(2_500, 0.9890, 2, **suspect),
        *seeds(5_000, 0.9850, 0.9851, **clean),
        run(5_000, 0.9852, 2, **invalid),
        run(10_000, 0.9933, 0, evaluations=evaluations(10_000, 0.9933, final=0.9921),
            shared_phases=("import", "data"), **clean, **peaks),
        run(10_000, 0.9, 1, status="failed", failure="worker ended by signal 9", evaluations=()),
        run(10_000, 0.9, 2, status="killed", failure=None, run_id=None, peak_rss_bytes=None,
            **invalid),
    ])  # fmt: skip


def smoke_report() -> ReportSection:
    """One short run on mnist-5k."""
    return table_report(
        [run(200, 0.91, dataset="mnist-5k", scenario="smoke", memory_method=None)],
        title="A quick look", command="mnist-bench run smoke", scenario="smoke",
    )  # fmt: skip


def threads_report() -> ReportSection:
    """Two seeds on one, two and four threads, with an invalid run and a failed one."""
    paces = {(1, 0): 0.04, (1, 1): 0.042, (2, 0): 0.02, (2, 1): 0.028, (4, 0): 0.016, (4, 1): 0.9}
    runs = []
    for (count, seed), pace in paces.items():
        verdict = {"verdict": "clean"}
        if pace == 0.9:
            verdict = {"verdict": "invalid", "reasons": ("other load",)}
        runs.append(
            run(500, 0.98, seed, scenario="threads", threads=count, run_id=f"run-{count}-{seed}",
                trajectory=f"t{count}-{seed}", evaluations=evaluations(500, 0.98, seconds=pace),
                **verdict)
        )  # fmt: skip
    runs.append(run(500, 0.9, 2, scenario="threads", threads=1, status="failed", failure="died"))
    return table_report(
        runs, title="Threads", command="mnist-bench run threads", scenario="threads"
    )


def printed_table(
    section: ReportSection,
    width: int,
    show: Callable[[ReportSection, Console], None] = print_table,
) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    show(section, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# Studies as documents


TUNE_COMMAND = "mnist-bench tune --trials 4"
STUDY_SPACE = Space(
    title="Some parameters",
    model="paper-cnn",
    dataset="mnist-5k",
    steps=100,
    eval_every=5,
    parameters={
        "learning_rate": Parameter(low=0.0001, high=0.1, log=True),
        "batch_size": Parameter(low=10, high=100),
        "optimizer": Parameter(choices=("adam", "momentum")),
        "schedule": Parameter(choices=("constant", "cosine")),
        "average_decay": Parameter(choices=(0.0, 0.9), when={"schedule": ("constant",)}),
    },
)
PAPER_VALUES: dict[str, Value] = {
    "learning_rate": 0.001,
    "batch_size": 50,
    "optimizer": "adam",
    "schedule": "constant",
    "average_decay": 0.0,
}
WINNER_VALUES: dict[str, Value] = {
    "learning_rate": 0.0123456789,
    "batch_size": 64,
    "optimizer": "momentum",
    "schedule": "cosine",
}
LIMITED_GOAL = Goal(objective="accuracy", max_seconds=10.0)
PARETO_GOAL = Goal(objective="pareto")


def finished_trial(number: int, *values: float, **changes: Any) -> StudyTrial:
    facts = {
        "number": number,
        "state": "finished",
        "chosen": WINNER_VALUES,
        "values": values,
        "seconds": 20.5,
        "run_id": f"run-{number}",
    }
    return StudyTrial(**(facts | changes))


STUDY_TRIALS = (
    finished_trial(0, 0.9712, chosen=PAPER_VALUES, seconds=12.0, is_papers=True,
                   missed={"max seconds": -2.0}),
    finished_trial(1, 0.9834, missed={"max seconds": 0.0}),
    finished_trial(2, 0.99, seconds=30.25, missed={"max seconds": 3.5}),
    StudyTrial(number=3, state="pruned", chosen=PAPER_VALUES | {"optimizer": "momentum"},
          curve={5: 0.5}, seconds=8.0, run_id="run-3"),
    StudyTrial(number=4, state="failed", chosen=WINNER_VALUES, seconds=4.25),
    StudyTrial(number=5, state="waiting", chosen={}, retry_of=4),
)  # fmt: skip


def study_document(**changes: Any) -> StudyDocument:
    """A study whose best trial is the second."""
    facts: dict[str, Any] = {
        "study": "mine",
        "dataset": "mnist-5k",
        "dataset_digest": "d" * 64,
        "machine": machine(),
        "space": STUDY_SPACE,
        "goal": LIMITED_GOAL,
        "trials": STUDY_TRIALS,
        "best": (1,),
        "candidate": 1,
        "margin": Margin(
            is_enough=True, in_words="against the paper's own: +0.0122 in validation accuracy"
        ),
        "importances": {},
        "search_seconds": 75.0,
        "looks": (),
        "commands": (TUNE_COMMAND,),
    }
    return StudyDocument(**(facts | changes))


def study_confirmation(**changes: Any) -> Confirmation:
    """A winner that is better and faster than the paper's configuration."""
    facts: dict[str, Any] = {
        "candidate": Arm(n=5, accuracy_mean=0.99123, accuracy_sd=0.00085, accuracy_low=0.99,
                         validation_mean=0.9925, train_seconds_mean=61.4,
                         peak_rss_bytes_max=900 * 2**20),
        "paper": Arm(n=5, accuracy_mean=0.98801, accuracy_sd=0.0012, accuracy_low=0.98,
                     validation_mean=0.9894, train_seconds_mean=100.0, peak_rss_bytes_max=None),
        "accuracy": Interval(difference=0.00322, low=0.00181, high=0.00463),
        "train_seconds": Interval(difference=-38.6, low=-41.0, high=-36.25),
        "shrinkage": 0.0021,
        "mcnemar": McNemar(only_candidate=41, only_paper=12, p_value=0.0000812),
        "payback_runs": 1_234.56,
    }  # fmt: skip
    return Confirmation(**(facts | changes))


def confirmed_study() -> StudyDocument:
    """A study with finalists, importances and two evaluations on the test split."""
    finalists = (
        Finalist(trial=1, repeats=(6, 7, 8), values=(0.9817,), missed={}),
        Finalist(trial=2, repeats=(9, 10, 11), values=(0.98,), missed={}),
    )
    looks = (
        EvaluationOnTest(number=1, candidate=4, first_seed=1_000),
        EvaluationOnTest(number=2, candidate=1, first_seed=1_010, proof=study_confirmation()),
    )
    importances = {"batch_size": 0.2, "learning_rate": 0.75, "optimizer": 0.05}
    return study_document(finalists=finalists, looks=looks, importances=importances)


def pareto_study() -> StudyDocument:
    """A study with a Pareto front; only the third trial is dominated."""
    trials = (
        finished_trial(0, 0.9712, 40.0, 1_048_576_000.0, chosen=PAPER_VALUES, is_papers=True),
        finished_trial(1, 0.9834, 20.5, 943_718_400.0),
        finished_trial(2, 0.97, 41.5, 1_048_576_001.0),
        finished_trial(3, 0.9912, 95.25, 524_288_000.0),
    )
    return study_document(goal=PARETO_GOAL, trials=trials, best=(0, 1, 3))


# Studies in Optuna's storage


SPACE_OF_ALL_KINDS = Space(
    title="One of each kind",
    model="paper-cnn",
    steps=100,
    eval_every=5,
    target_accuracy=0.9,
    parameters={
        "learning_rate": Parameter(low=0.0001, high=0.1, log=True),
        "batch_size": Parameter(low=10, high=100, log=True),
        # Bounds of a float parameter may be integers.
        "dropout_rate": Parameter(low=0, high=0.75),
        "shift_pixels": Parameter(low=0, high=3),
        "schedule": Parameter(choices=("constant", "one-cycle")),
        "batch_normalization": Parameter(choices=(False, True)),
        "average_decay": Parameter(choices=(0.0, 0.9), when={"schedule": ("constant",)}),
    },
)
ONE_PARAMETER = Space(
    title="One parameter",
    model="paper-cnn",
    steps=100,
    eval_every=5,
    parameters={"learning_rate": Parameter(low=0.0001, high=0.1, log=True)},
)
"""Fast: a trial takes few lines of the journal."""


ACCURACY_GOAL = Goal(objective="accuracy")
TIME_GOAL = Goal(objective="time-to-accuracy", target_accuracy=0.99)


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path.as_posix()}"


def open_test_study(
    name: str = "mine",
    *,
    storage: str | None = None,
    space: Space = SPACE_OF_ALL_KINDS,
    goal: Goal = ACCURACY_GOAL,
    images: str | None = None,
) -> Study:
    return Study(name, storage, space, goal, images=images)


def trial_value(chosen: Mapping[str, Value]) -> float:
    """Validation accuracy as a function of the learning rate."""
    return 0.9 - 0.1 * abs(math.log10(float(chosen["learning_rate"])) + 2)


def suggested_values(trials: int = 16, **options: Any) -> list[dict[str, Value]]:
    """Hyperparameters of consecutive trials that are scored by `trial_value`."""
    study = open_test_study(**options)
    suggested = []
    for _ in range(trials):
        trial = study.optuna.ask()
        suggested.append(study.suggest(trial))
        study.optuna.tell(trial, trial_value(suggested[-1]))
    return suggested


TWO_PARAMETERS_TOML = """
title = "Two parameters"
model = "paper-cnn"
dataset = "mnist-5k"
steps = 100
eval_every = 5
target_accuracy = 0.9

[parameters]
learning_rate = { low = 0.0001, high = 0.1, log = true }
batch_size = { low = 10, high = 100 }
"""


# A report with all sections


EVIL_TEXT = "<script>alert(1)</script> & \"quotes\" 'and' ](http://evil) `code` \u202ereversed"
TWENTY_DIGITS = Images(np.full((20, 28, 28), 9, np.uint8), np.arange(20, dtype=np.uint8) % 10)
NINES_AS_FOURS = Predictions(np.array([*range(9), 4] * 2, np.uint8), np.full(20, 0.75, np.float16))
"""Every 9 is predicted as a 4."""


FEATURE_MAPS = tuple(
    np.ones((28 // 2**i, 28 // 2**i, n), np.float32) for i, n in enumerate((5, 5, 20))
)
LAYER_MAPS = LayerMaps(
    dataset="mnist", image=3, label=7, steps=1_000, seed=0, test_accuracy=0.95,
    pixels=TWENTY_DIGITS.pixels[0], untrained=FEATURE_MAPS, trained=FEATURE_MAPS,
    own=(np.ones((14, 14, 80), np.float32),), own_steps=10_000,
)  # fmt: skip
OTHER_MACHINE_DOCUMENT = table1.document(
    machine(cpu="Reference CPU"),
    summarise([*seeds(1_000, 0.984, 0.985, 0.986), *seeds(10_000, 0.9925, 0.993, 0.9935)]),
    None,
)


def page_of(report: Report) -> str:
    return report_to_html(report, charts_of_report(report))


def report_section(
    results: list[RunResult], scenario: str = "table-1", title: str = "Table I"
) -> ReportSection:
    runs = summarise(results)
    longest = [each for each in results if each.steps == max(r.steps for r in results)]
    rows = table1.rows(runs, REFERENCE)
    more = {
        "reaches": times_to_accuracy(scenario, longest, (0.984, 0.9928)),
        "standings": compare_with_reference(rows, OTHER_MACHINE_DOCUMENT),
    }
    return ReportSection(
        title=title,
        scenario=scenario,
        command="",
        created="2026-01-31",
        document=table1.document_of(machine(), runs, rows).model_copy(update=more),
        rows=rows,
        system_state=system_state_of(results),
        curves=curves_of(longest),
        confusion=confusion_of([NINES_AS_FOURS, NINES_AS_FOURS], TWENTY_DIGITS),
    )


def machine_line(name: str, relative: float) -> MachineLine:
    return MachineLine(
        machine=name, machine_id="a" * 32, scenario="table-1", steps=1_000, threads=2, n=3,
        images_per_second_mean=2_500.0, images_per_second_sd=12.0, final_test_accuracy_mean=0.98,
        peak_rss_bytes_max=2**30, relative=relative, dataset="mnist", model="paper-cnn",
        precision="float32", device="cpu", eval_first=1, eval_every=100,
    )  # fmt: skip


def combined_report(
    *sections: ReportSection, title: str = "Runs", ui: str | None = None, **changes: Any
) -> Report:
    return Report(
        title=title,
        command="mnist-bench report",
        created="2026-01-31",
        document=sections[0].document.model_copy(
            update={"machines": (machine_line("Fast", 1.0), machine_line("Slow", 0.5))}
        ),
        sections=sections,
        notes=("2 runs left out: of schema 2",),
        ui=ui,
        **changes,
    )


# The paper's own program


def paper_logits(weights: Sequence[tf.Tensor], pixels: npt.NDArray[np.uint8]) -> tf.Tensor:
    """Logits by the paper's program, which adds the bias and applies ReLU before pooling.

    Args:
        weights: Weights and bias of each layer, from the input on.
        pixels: uint8 (n, 28, 28).
    """
    import tensorflow as tf

    x = np.multiply(pixels.astype(np.float32), 1.0 / 255.0).reshape(-1, 28, 28, 1)
    for kernel, bias in (weights[0:2], weights[2:4]):
        x = tf.nn.relu(tf.nn.conv2d(x, kernel, strides=[1, 1, 1, 1], padding="SAME") + bias)
        x = tf.nn.max_pool2d(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
    x = tf.reshape(x, [-1, 7 * 7 * 64])
    x = tf.nn.relu(tf.matmul(x, weights[4]) + weights[5])
    return tf.matmul(x, weights[6]) + weights[7]
