"""Overhead of measuring and recording on the measured training.

    python benchmarks/overhead/overhead.py --data DIR

Runs `mnist-bench run --steps 2500` with meters in its processes. Writes the processor time of the
parent and of the sampling between "go" and the end of training, and their share of the worker's, to
`table.md` and `figures.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

import common
from common import Document

_CODE = "import sys; sys.path.insert(0, {!r}); import metered; metered.meter_command({!r}, {!r})"
_ROWS = {
    "parent_cpu_seconds": "parent, from go to the end of training",
    "sampling_cpu_seconds": "sampling, in the worker",
    "worker_cpu_seconds": "worker, the same time, without sampling",
    "before_go_cpu_seconds": "parent until go: MLflow's import, the store",
    "after_cpu_seconds": "parent after training: recording, the report",
}


def measure(options: argparse.Namespace) -> Document:
    """Run the command repeatedly."""
    runs = []
    for turn in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(run_command(Path(folder), options.data, options.steps))
        print(f"run {turn + 1}: {runs[-1]}", flush=True)
    return common.session("tensorflow", "mlflow", "mnist-bench", steps=options.steps, recorded=runs)


def run_command(folder: Path, images: Path | None, steps: int) -> Document:
    """Processor seconds of one run of the command, in its parts."""
    times, sampling = folder / "times.json", folder / "sampling.txt"
    code = _CODE.format(str(Path(__file__).resolve().parent), str(times), str(sampling))
    common.suite(folder, "run", "--steps", str(steps), "--json", images=images, code=code)
    found: Document = json.loads(times.read_text(encoding="ascii"))
    found["sampling_cpu_seconds"] = float(sampling.read_text(encoding="ascii"))
    found["worker_cpu_seconds"] -= found["sampling_cpu_seconds"]
    before_end = found["before_go_cpu_seconds"] + found["parent_cpu_seconds"]
    return found | {"after_cpu_seconds": found.pop("whole_cpu_seconds") - before_end}


def page(document: Document) -> str:
    """The table in Markdown."""
    runs = pd.DataFrame(document["recorded"])
    share = (runs["parent_cpu_seconds"] + runs["sampling_cpu_seconds"]) / runs["worker_cpu_seconds"]
    rows = [_row(title, runs[name], ".2f") for name, title in _ROWS.items()]
    rows.append(_row("parent and sampling by the worker's", share, ".2%"))
    head = (f"processor seconds, n = {len(runs)}", "smallest", "median", "largest")
    origin = f"{common.origin(document)}\n{document['steps']:,} steps."
    return common.blocks(origin, common.table(head, rows))


def _row(name: str, values: pd.Series[float], form: str) -> tuple[str, ...]:
    return (name, *(f"{value:{form}}" for value in (values.min(), values.median(), values.max())))


if __name__ == "__main__":
    arguments = common.parser(__doc__, repeats=(6, "runs"), steps=(2_500, "of each training"))
    common.run(arguments, ("figures.json", "table.md"), measure, page)
