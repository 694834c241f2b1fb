"""The shipped winners, `sprint` and `accurate`, compared with the paper's training on new seeds.

    python benchmarks/winners/winners.py --data DIR

They alternate, so that a slow hour of the machine affects all. Writes `winners.json` after each
training, and `README.md`; `--resume` continues that JSON. For sprint alone,
`--seeds paper-to-target=10 sprint=20` takes a third less time: the paper's trainings then stop when
they first reach the best of Table I on test.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))

import common
from common import Document

from mnist_bench.analysis.statistics import Estimate, mean_of, welch
from mnist_bench.core import formatting
from mnist_bench.scenarios import paper
from mnist_bench.tracking.mlflow_store import MlflowStore

FOLDER = Path(__file__).resolve().parent
SCENARIOS = {
    "paper": "table-1",
    "paper-to-target": str(FOLDER / "paper.toml"),  # stopped when it reaches the target
    "sprint": "sprint",
    "accurate": "accurate",
}
"""Arguments of `mnist-bench run`."""
TARGET = max(row.max_test_accuracy for row in paper.TABLE_1)
"""The best accuracy of Table I."""
_FIRST_SEED = 5_000_000
"""Larger than the seeds of trials and confirmations."""
_POLL_SECONDS = 2.0
_PAPERS = ("paper-to-target", "paper")


def order(seeds: Mapping[str, int], first_seed: int) -> Iterator[tuple[str, int]]:
    """Configurations and seeds in turn; more numerous ones are spread over all rounds."""
    rounds = min(seeds.values())
    for index in range(rounds):
        for name, count in seeds.items():
            for seed in range(count * index // rounds, count * (index + 1) // rounds):
                yield name, first_seed + seed


def measure(options: argparse.Namespace) -> Document:
    """Run the missing trainings; write after each."""
    document = common.session("tensorflow", "numpy", "mlflow", "mnist-bench", trainings=[])
    file = options.out / "winners.json"
    if options.resume:
        document = json.loads(file.read_text(encoding="utf-8"))
    done = {(training["name"], training["seed"]) for training in document["trainings"]}
    with tempfile.TemporaryDirectory() as folder:
        for name, seed in order(dict(options.seeds), options.first_seed):
            if (name, seed) not in done:
                training = trained(name, seed, options.data, Path(folder))
                document["trainings"].append(training)
                common.save(file, document)
                print(json.dumps(training), flush=True)
    return document


def trained(name: str, seed: int, images: Path | None, folder: Path) -> Document:
    """Run one training with the suite's command in a folder, possibly with earlier trainings."""
    arguments = (SCENARIOS[name], "--seeds", "1", "--first-seed", str(seed), "--no-report")
    process = common.start_suite(folder, "run", *arguments, "--json", images=images)
    was_stopped = False
    while name == "paper-to-target" and not was_stopped and process.poll() is None:
        scored = (message.get("evaluation") or {} for message, _ in common.spooled(folder))
        if any((each.get("test_accuracy") or 0.0) >= TARGET for each in scored):
            process.terminate()
            was_stopped = True
        time.sleep(_POLL_SECONDS)
    output, _ = process.communicate()
    if process.returncode and not was_stopped:
        raise RuntimeError(f"`mnist-bench run` ended with exit status {process.returncode}")
    run = json.loads(output)["runs"][-1]  # the longest of its training
    uri = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
    result = MlflowStore(uri, "mnist-bench").load(run["run_id"])
    if result is None:
        raise LookupError(f"MLflow has no result.json of the run {run['run_id']}")
    return {
        "name": name,
        "seed": seed,
        "steps": result.evaluations[-1].step,
        "is_whole": result.status == "finished",
        "final_test_accuracy": result.evaluations[-1].test_accuracy,
        "train_seconds": run["train_seconds_total"],
        "seconds_to_target": result.seconds_to_accuracy("test", TARGET),
        **{key: run[key] for key in ("max_test_accuracy", "peak_rss_bytes", "verdict")},
    }


def ratio_of_means(above: pd.Series[float], below: pd.Series[float]) -> Estimate:
    """Ratio of two means, with a reproducible 95% bootstrap interval over the seeds of both."""

    def ratio(above: Any, below: Any, axis: int = -1) -> Any:
        return np.mean(above, axis=axis) / np.mean(below, axis=axis)

    ends = stats.bootstrap((above, below), ratio, method="percentile", rng=0).confidence_interval
    return Estimate(above.mean() / below.mean(), float(ends.low), float(ends.high), len(above))


def page(document: Document) -> str:
    """Table and comparisons in Markdown."""
    of = {str(name): rows for name, rows in pd.DataFrame(document["trainings"]).groupby("name")}
    doubtful = ", ".join(
        f"{each['name']} {each['seed']} ({each['verdict']})"
        for each in document["trainings"]
        if each["verdict"] != "clean"
    )
    head = (
        "",
        "n",
        "final test accuracy, mean ± sd",
        "95% interval",
        "train time ± sd",
        "peak RSS",
    )
    names = [name for name in SCENARIOS if name in of and name != "paper-to-target"]
    return common.blocks(
        common.origin(document),
        common.table(head, [_row(name, of[name]) for name in names if len(of[name]) > 1]),
        "\n".join(_comparisons(of)),
        f"The machine was disturbed during {doubtful}: mistrust their times." * bool(doubtful),
    )


def _row(name: str, of: pd.DataFrame) -> tuple[str, ...]:
    final, seconds = of["final_test_accuracy"], of["train_seconds"]
    return (
        *(name, str(len(of)), f"{final.mean():.5f} ± {final.std():.5f}"),
        common.interval(mean_of(list(final)), ".5f"),
        f"{seconds.mean():.2f} ± {seconds.std():.2f} s",
        formatting.mebibytes(of["peak_rss_bytes"].max()),
    )


def _comparisons(of: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """With the paper's configuration; of several trainings each, since one has no spread."""
    several = {name: trainings for name, trainings in of.items() if len(trainings) > 1}
    if "sprint" in several and (both := [of[name] for name in _PAPERS if name in several]):
        baseline = pd.concat(both).drop_duplicates("seed", keep="last")
        until = baseline["seconds_to_target"].fillna(baseline["train_seconds"])
        ratio = ratio_of_means(until, of["sprint"]["train_seconds"])
        never = int(baseline["seconds_to_target"].isna().sum())
        yield (
            f"- The paper's configuration first reaches {TARGET} on test after {until.mean():.1f} "
            f"s of training in the mean, n = {len(baseline)}; {never} never did and count with all "
            f"of their seconds, so that the mean is a lower bound. That is {ratio.value:.1f} "
            f"({common.interval(ratio, '.1f')}) times the sprint's whole training (95% interval of "
            "a bootstrap over seeds)."
        )
    if {"accurate", "paper"} <= set(several):
        ours, baseline = several["accurate"], several["paper"]
        share = ratio_of_means(ours["train_seconds"], baseline["train_seconds"])
        gain = welch(list(ours["final_test_accuracy"]), list(baseline["final_test_accuracy"]))
        yield (
            f"- The training of accurate takes {share.value:.2f} ({common.interval(share)}) of the "
            "seconds of the paper's 10,000 steps (95% interval of a bootstrap over seeds); it is "
            f"above them by {gain.difference:+.5f} in final test accuracy, 95% interval "
            f"{gain.low:+.5f} to {gain.high:+.5f} (Welch)."
        )


def _seeds(text: str) -> tuple[str, int]:
    name, _, count = text.partition("=")
    if name not in SCENARIOS or not count.isdigit() or int(count) < 1:
        choices = ", ".join(SCENARIOS)
        raise argparse.ArgumentTypeError(f"{text} is not NAME=COUNT; names are {choices}")
    return name, int(count)


if __name__ == "__main__":
    arguments = common.parser(__doc__, first_seed=(_FIRST_SEED, "first seed of each"))
    arguments.add_argument("--seeds", type=_seeds, nargs="+", metavar="NAME=COUNT",
                           default=[("paper", 10), ("sprint", 20), ("accurate", 10)])  # fmt: skip
    arguments.add_argument("--resume", action="store_true", help="continue winners.json")
    common.run(arguments, ("winners.json", "README.md"), measure, page)
