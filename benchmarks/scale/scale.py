"""Reports on many runs: time compared with MLflow's paging, memory, page size.

    python benchmarks/scale/scale.py

The runs are copies of one artificial training of Table I: nothing is trained. They belong first to
one scenario, then to many, with predictions for as many images as MNIST has, so that the report
has digits. Writes `scale.json` and `README.md`.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).resolve().parent
sys.path.extend([str(FOLDER.parent), str(FOLDER.parents[1] / "tests")])

import common
from common import Document
from factories import bundle, table_1
from fill import copies, images, predictions

from mnist_bench.cli.bundle_io import import_
from mnist_bench.core import formatting
from mnist_bench.data import mnist
from mnist_bench.tracking.mlflow_store import MlflowStore


def fill(folder: Path, count: int, scenarios: int) -> None:
    """Create a database of runs; those of several scenarios have predictions and images."""
    runs = table_1()[:4]
    if scenarios > 1:
        images(folder / "images")
        source = mnist.find("auto", folder / "images", log=lambda _: None)
        runs = table_1(dataset=source.name, dataset_digest=source.digest)[3:4]
    uri = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
    name = bundle(folder, "one.zip", runs)
    import_(folder / name, lambda: MlflowStore(uri, "mnist-bench"), log=lambda _: None)
    if scenarios > 1:
        predictions(folder / "mlflow.db")
    copies(folder / "mlflow.db", count, scenarios)


def measure(options: argparse.Namespace) -> Document:
    """Run all queries in turn."""
    answers = []
    cases = [*((count, 1) for count in options.runs), (min(options.runs), options.scenarios)]
    for count, scenarios in cases:
        with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
            fill(Path(name), count, scenarios)
            for _, way in common.in_turn(("paging", "report"), options.repeats):
                answer = common.answer(FOLDER / "query.py", "", way, name)
                if answer["runs"] != count:
                    raise RuntimeError(f"{way} found {answer['runs']} of {count} runs")
                answers.append({"way": way, "scenarios": scenarios, **answer})
                print(f"{way}, {count:,} runs: {answer['seconds']:.2f} s", flush=True)
    return common.session("mlflow", "numpy", "matplotlib", "mnist-bench", answers=answers)


def page(document: Document) -> str:
    """The table in Markdown."""
    answers = pd.DataFrame(document["answers"])
    head = ("runs", "scenarios", "", "n", "seconds, median (range)", "peak RSS, median", "page")
    rows = [
        (
            *(f"{runs:,}", f"{scenarios:,}", way, str(len(of)), common.spread(of["seconds"])),
            formatting.mebibytes(round(of["peak_rss_bytes"].median())),
            f"{size / 1e6:.2f} MB" if (size := of["page_bytes"].max()) else formatting.UNKNOWN,
        )
        for (runs, scenarios, way), of in answers.groupby(["runs", "scenarios", "way"], sort=False)
    ]
    return common.blocks(common.origin(document), common.table(head, rows, left=(2,)))


if __name__ == "__main__":
    arguments = common.parser(
        __doc__,
        repeats=(3, "repeats of each query"),
        scenarios=(200, "scenarios of the second database"),
    )
    arguments.add_argument("--runs", type=int, nargs="+", default=[1_000, 10_000])
    common.run(arguments, ("scale.json", "README.md"), measure, page)
