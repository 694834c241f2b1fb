"""Hand-made records for the tests of what reads them."""

from __future__ import annotations

from typing import Any

from mnist_bench.measurement.machine import Machine
from mnist_bench.results.run import Evaluation, RunResult
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters


def machine(**changes: Any) -> Machine:
    """A machine that nobody owns."""
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
    """A grid whose largest test accuracy is `best`, and the last state.

    Args:
        steps: The last state's step.
        best: Largest test accuracy on the grid.
        best_step: Where; the last grid step but one if there is one.
        final: Test accuracy of the last state where it lies off the grid.
        selected: Test accuracy at the first grid step, which validation then chooses.
        first: First grid step.
        every: Distance of grid steps.
        seconds: Training seconds a step.
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
        steps: Of the run.
        best: Largest test accuracy.
        seed: Of the run.
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
        "evaluations": evaluations(steps, best, first=first, every=every),
        "seconds": {"import": 4.0, "data": 0.5, "train": steps * 0.02, "evaluate": 3.25},
        "peak_rss_bytes": 1_000 * 2**20 + steps,
    }
    return RunResult(**(values | changes))


def seeds(steps: int, *accuracies: float, **changes: Any) -> list[RunResult]:
    """Finished runs of the paper's protocol, one a seed, with these largest test accuracies."""
    return [run(steps, best, seed, **changes) for seed, best in enumerate(accuracies)]
