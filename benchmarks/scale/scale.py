"""Reports on many runs: time compared with MLflow's paging, memory, page size.

    python benchmarks/scale/scale.py

The runs are copies of one artificial training of Table I: nothing is trained. They belong first to
one scenario, then to many, with predictions for as many images as MNIST has, so that the report
has digits. Writes `scale.json` and `README.md`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parents[1] / "tests"), str(FOLDER.parent / "peers")]

import hardware  # noqa: E402
from factories import bundle, table_1  # noqa: E402
from fill import copies, images, predictions  # noqa: E402
from scaled import Answer, ScaleSession, Way, page  # noqa: E402

from mnist_bench.cli.bundle_io import import_  # noqa: E402
from mnist_bench.data import mnist  # noqa: E402
from mnist_bench.results.run import RunResult  # noqa: E402
from mnist_bench.tracking.mlflow_store import MlflowStore  # noqa: E402


def filled(folder: Path, count: int) -> None:
    """Create a database with runs of one scenario."""
    _import_runs(folder, table_1()[:4])
    copies(folder / "mlflow.db", count)


def filled_with_many(folder: Path, count: int, scenarios: int) -> None:
    """Create a database with runs of many scenarios, with predictions and images."""
    images(folder / "images")
    source = mnist.find("auto", folder / "images", log=lambda _: None)
    _import_runs(folder, table_1(dataset=source.name, dataset_digest=source.digest)[3:4])
    predictions(folder / "mlflow.db")
    copies(folder / "mlflow.db", count, scenarios)


def _import_runs(folder: Path, runs: list[RunResult]) -> None:
    uri = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
    name = bundle(folder, "one.zip", runs)
    import_(folder / name, lambda: MlflowStore(uri, "mnist-bench"), log=lambda _: None)


def query(way: Way, folder: Path, count: int, scenarios: int) -> Answer:
    """Run one query in a new process."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / "asked.py"), way, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    if answer["runs"] != count:
        raise RuntimeError(f"{way} found {answer['runs']} of {count} runs")
    return Answer(way=way, scenarios=scenarios, **answer)


def measure(options: argparse.Namespace) -> ScaleSession:
    """Run all queries in turn."""
    answers: list[Answer] = []
    ways: tuple[Way, ...] = ("paging", "report")
    cases = [*((count, 1) for count in options.runs), (min(options.runs), options.scenarios)]
    for count, scenarios in cases:
        with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
            folder = Path(name)
            if scenarios == 1:
                filled(folder, count)
            else:
                filled_with_many(folder, count, scenarios)
            for _ in range(options.times):
                for way in ways:
                    answers.append(query(way, folder, count, scenarios))
                    print(answers[-1].in_words, flush=True)
    return ScaleSession(
        command=f"python benchmarks/scale/scale.py --times {options.times}",
        date=datetime.now(UTC).date().isoformat(),
        hardware=hardware.describe(),
        versions=hardware.versions("mlflow", "numpy", "matplotlib", "mnist-bench"),
        answers=tuple(answers),
    )


def main() -> None:
    """Measure, or read earlier measurements; write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=3, help="repeats of each query (3)")
    parser.add_argument("--runs", type=lambda text: [int(count) for count in text.split(",")],
                        default=[1_000, 10_000], help="numbers of runs (1000,10000)")  # fmt: skip
    parser.add_argument("--scenarios", type=int, default=200,
                        help="scenarios of the second database (200)")  # fmt: skip
    parser.add_argument("--from", dest="file", type=Path, metavar="FILE",
                        help="make the page from this JSON without measuring")  # fmt: skip
    parser.add_argument("--out", type=Path, default=FOLDER, help="output folder")
    options = parser.parse_args()
    options.out = options.out.absolute()
    if options.file:
        session = ScaleSession.model_validate_json(options.file.read_text(encoding="utf-8"))
    else:
        session = measure(options)
        text = session.model_dump_json(indent=1) + "\n"
        (options.out / "scale.json").write_text(text, encoding="utf-8", newline="\n")
    (options.out / "README.md").write_text(page(session), encoding="utf-8", newline="\n")
    print(page(session))


if __name__ == "__main__":
    main()
