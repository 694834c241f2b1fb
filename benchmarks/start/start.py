"""Start time of the commands, and of TensorFlow alone, up to the first training step.

    python benchmarks/start/start.py --repeats 20 --rounds 5

Measures, in turn and in fresh processes, `mnist-bench --help`, `mnist-bench scenarios` and an empty
Python program; then, by rounds, `mnist-bench run smoke` on an existing database up to its first
training step, and a process that only imports TensorFlow and trains one step. Writes `README.md`
and `figures.json`. There is no threshold, since times depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import common
from common import Document

BARE = "python -c pass"
COMMANDS = {
    BARE: ("-c", "pass"),
    "mnist-bench --help": ("-m", "mnist_bench", "--help"),
    "mnist-bench scenarios": ("-m", "mnist_bench", "scenarios"),
}
_POLL_SECONDS = 0.02
_TENSORFLOW_ALONE = """
import json, os, sys, time
import tensorflow as tf
imported_at = time.time()
from mnist_bench.data import mnist
from mnist_bench.measurement import system
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.worker import tensorflow_setup
execution = Execution(threads=system.usable_threads())
tensorflow_setup.start(execution)
from mnist_bench.worker.trainer import Trainer
dataset = mnist.load(mnist.find("mnist-5k", None, log=lambda _: None))
begin = time.perf_counter()
Trainer(dataset, paper.HYPERPARAMETERS, 0, shards=execution.shards).advance(1)
print(json.dumps([imported_at, time.perf_counter() - begin]), flush=True)
os._exit(0)  # like the worker: shutting TensorFlow down takes time
"""


def measure(options: argparse.Namespace) -> Document:
    """Measure the commands, then the rounds; the first of each is discarded."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn, name in common.in_turn(list(COMMANDS), options.repeats + 1):
        begin = time.perf_counter()
        subprocess.run([sys.executable, *COMMANDS[name]], check=True, capture_output=True)
        if turn:
            seconds[name].append(time.perf_counter() - begin)
    rounds: list[Document] = [{} for _ in range(options.rounds + 1)]
    with tempfile.TemporaryDirectory() as folder:  # the first round makes its database
        for turn, kind in common.in_turn(("smoke_seconds", "quick", "plain"), len(rounds)):
            is_smoke = kind == "smoke_seconds"
            rounds[turn][kind] = smoke_seconds(Path(folder)) if is_smoke else tensorflow_alone(kind)
    return common.session("tensorflow", "mnist-bench", commands=seconds, first_step=rounds[1:])


def tensorflow_alone(kind: str) -> Document:
    """Seconds to import TensorFlow, and to build the trainer and train a step.

    Args:
        kind: `quick` imports it as the worker does, without Keras and pandas; or `plain`.
    """
    environment = common.clean_environment()
    if kind == "quick":
        environment["TF_USE_LEGACY_KERAS"] = "1"
    begin = time.time()
    command = [sys.executable, "-P", "-c", _TENSORFLOW_ALONE]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    imported_at, trace_seconds = json.loads(done.stdout.splitlines()[-1])
    return {"import_seconds": imported_at - begin, "trace_seconds": trace_seconds}


def smoke_seconds(folder: Path) -> float:
    """Start the command, read the time of the first step from its spool, and terminate it."""
    begin = time.time()
    process = common.start_suite(folder, "run", "smoke", "--no-report")
    try:
        while process.poll() is None:
            for message, at_ms in common.spooled(folder):
                if message["kind"] == "sample":
                    if message["stretch"]["steps"] != 1:
                        raise RuntimeError("the first stretch was longer than a step")
                    return at_ms / 1_000 - begin
            time.sleep(_POLL_SECONDS)
        raise RuntimeError(f"`run smoke` ended with {process.returncode} before training")
    finally:
        process.terminate()
        process.communicate()


def page(document: Document) -> str:
    """Tables in Markdown."""
    bare = statistics.median(document["commands"][BARE])
    starts = [_row(f"`{name}`", of, f"{statistics.median(of) / bare:.1f}")
              for name, of in document["commands"].items()]  # fmt: skip
    smoke = [each["smoke_seconds"] for each in document["first_step"]]
    rows = [_row("`mnist-bench run smoke`, on an existing database", smoke, "")]
    for name, kind in (("as the suite imports it", "quick"), ("plainly", "plain")):
        imports = [each[kind]["import_seconds"] for each in document["first_step"]]
        whole = [sum(each[kind].values()) for each in document["first_step"]]
        ratios = [ours / alone for ours, alone in zip(smoke, whole, strict=True)]
        title = f"`import tensorflow` {name}, tracing and a step"
        rows.append(_row(title, whole, common.spread(ratios)))
        rows.append(_row("of that, the import", imports, ""))
    head = ("seconds", "n", "median", "smallest", "largest")
    return common.blocks(
        common.origin(document),
        common.table((*head, "by a bare Python"), starts),
        common.table((*head, "`run smoke` by this"), rows),
    )


def _row(name: str, values: Sequence[float], last: str) -> tuple[str, ...]:
    figures = (statistics.median(values), min(values), max(values))
    return (name, str(len(values)), *(f"{value:.3f}" for value in figures), last)


if __name__ == "__main__":
    arguments = common.parser(
        __doc__, repeats=(20, "starts of each command"), rounds=(6, "rounds to the first step")
    )
    common.run(arguments, ("figures.json", "README.md"), measure, page)
