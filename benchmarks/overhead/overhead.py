"""Overhead of measuring and recording on the measured training.

    python benchmarks/overhead/overhead.py --data DIR -n 6

Alternates `mnist-bench run --steps 2500` and the same trainer alone. Prints the processor time of
the parent and of the sampling between "go" and the end of training as a share of the worker's, and
the ratio of wall-clock times of each pair; `--write` writes both to this folder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from scipy import stats

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import machine, system
from mnist_bench.results.protocol import Request
from mnist_bench.scenarios import scenario
from mnist_bench.scenarios.execution import Execution

FOLDER = Path(__file__).parent
STEPS = 2_500


@dataclass(frozen=True)
class Recorded:
    """One run of the command.

    Attributes:
        parent_cpu_seconds: Processor time of the parent between "go" and the end of training.
        sampling_cpu_seconds: Processor time of reading the machine's state, in the worker.
        worker_cpu_seconds: Processor time of the worker between "go" and the end of training.
        train_and_evaluate_seconds: Wall-clock time of training and evaluation.
        before_go_cpu_seconds: Of the parent until "go": import of MLflow, opening the store.
        after_cpu_seconds: Of the parent after training: recording, the report.
    """

    parent_cpu_seconds: float
    sampling_cpu_seconds: float
    worker_cpu_seconds: float
    train_and_evaluate_seconds: float
    before_go_cpu_seconds: float
    after_cpu_seconds: float

    @property
    def share(self) -> float:
        """Processor time of parent and sampling divided by the worker's."""
        return (self.parent_cpu_seconds + self.sampling_cpu_seconds) / self.worker_cpu_seconds


def run_command(folder: Path, images: Path) -> Recorded:
    """Run the command once."""
    meter, notes = folder / "meter.txt", folder / "notes.json"
    arguments = ("run", "--steps", str(STEPS), "--data", str(images))
    subprocess.run(
        [sys.executable, str(FOLDER / "command.py"), *arguments],
        cwd=folder,
        env=os.environ | {"MNIST_BENCH_METER": str(meter), "MNIST_BENCH_NOTES": str(notes)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    times = json.loads(notes.read_text(encoding="ascii"))
    sampling = float(meter.read_text(encoding="ascii"))
    return Recorded(
        parent_cpu_seconds=times["parent_seconds"],
        sampling_cpu_seconds=sampling,
        worker_cpu_seconds=times["worker_seconds"] - sampling,
        train_and_evaluate_seconds=times["train_and_evaluate_seconds"],
        before_go_cpu_seconds=times["before_go_seconds"],
        after_cpu_seconds=times["whole_seconds"]
        - times["before_go_seconds"]
        - times["parent_seconds"],
    )


def alone(source: Source) -> float:
    """Train once with the trainer alone; return wall-clock seconds of training and evaluation."""
    table_1 = scenario.read(scenario.find("table-1"))
    request = Request(
        model=table_1.model,
        hyperparameters=table_1.hyperparameters,
        training_seed=0,
        step_counts=(STEPS,),
        grid=table_1.grid,
        source=source,
        execution=Execution(threads=system.usable_threads()),
        folder="",
        started_at=time.time(),
    )
    done = subprocess.run(
        [sys.executable, "-P", str(FOLDER / "alone.py")],
        input=request.model_dump_json() + "\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return float(done.stdout)


def page(runs: list[Recorded], bare: list[float]) -> str:
    """The page in Markdown."""
    ratios = [run.train_and_evaluate_seconds / b for run, b in zip(runs, bare, strict=True)]
    lines = [
        "# Overhead",
        "",
        f"Machine: {machine.describe().name}.",
        f"Made by `python benchmarks/overhead/overhead.py --data DIR -n {len(runs)}`.",
        f"{STEPS:,} steps on Table I's evaluation grid, one seed.",
        "",
        "| processor seconds, n = " + f"{len(runs)} | smallest | median | largest |",
        "|---|---|---|---|",
        _line("parent, from go to the end of training", [r.parent_cpu_seconds for r in runs]),
        _line("sampling, in the worker", [r.sampling_cpu_seconds for r in runs]),
        _line("worker, the same time, without sampling", [r.worker_cpu_seconds for r in runs]),
        _line("parent until go: MLflow's import, the store",
              [r.before_go_cpu_seconds for r in runs]),
        _line("parent after training: recording, the report", [r.after_cpu_seconds for r in runs]),
        _line("parent and sampling by the worker's", [r.share for r in runs], "{:.2%}"),
        "",
        _ratio(ratios),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _ratio(ratios: list[float]) -> str:
    each = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    text = f"Wall clock of training and scoring, by the same trainer alone, pair by pair: {each}"
    if len(ratios) < 2:
        return f"{text}."
    mean, sem = statistics.mean(ratios), stats.sem(ratios)
    low, high = stats.t.interval(0.95, len(ratios) - 1, mean, sem)
    return f"{text}; mean {mean:.3f}, 95% interval {low:.3f} to {high:.3f}, n = {len(ratios)}."


def _line(name: str, values: list[float], form: str = "{:.2f}") -> str:
    figures = (min(values), statistics.median(values), max(values))
    return f"| {name} | " + " | ".join(form.format(value) for value in figures) + " |"


def main() -> None:
    """Measure, print, and write with `--write`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's IDX files")
    parser.add_argument("-n", type=int, default=6, help="pairs (6)")
    parser.add_argument(
        "--write", action="store_true", help="write table and values to this folder"
    )
    options = parser.parse_args()
    source = mnist.find("mnist", options.data, log=print)
    runs: list[Recorded] = []
    bare: list[float] = []
    for turn in range(options.n):
        with tempfile.TemporaryDirectory() as folder:
            # The order alternates between pairs.
            for kind in ("run", "alone") if turn % 2 else ("alone", "run"):
                if kind == "run":
                    runs.append(run_command(Path(folder), options.data.resolve()))
                else:
                    bare.append(alone(source))
        print(f"pair {turn + 1}: {runs[-1].train_and_evaluate_seconds:.2f} s recorded, "
              f"{bare[-1]:.2f} s alone, share {runs[-1].share:.2%}", flush=True)  # fmt: skip
    text = page(runs, bare)
    print(text)
    if options.write:
        (FOLDER / "table.md").write_text(text, encoding="utf-8", newline="\n")
        figures = {"recorded": [asdict(run) for run in runs], "alone_seconds": bare}
        (FOLDER / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
