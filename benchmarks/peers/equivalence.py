"""Equivalence test of our training and Keras's: difference of their mean accuracies over seeds.

    python benchmarks/peers/equivalence.py --data DIR

runs the trainings missing from `equivalence.jsonl`, one line each, and writes `equivalence.md`. It
can be interrupted and restarted. `--seeds 0` only makes the page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))

import common
from contenders import CONTENDERS, Task

from mnist_bench.core.formatting import UNKNOWN
from mnist_bench.data import mnist
from mnist_bench.measurement import machine, system

STEPS = 1_000
MARGIN = 0.002
"""Largest difference of the means of equivalent trainings."""
DEVIATION = 0.00182
"""Standard deviation of max test accuracy at these steps in the reference shipped when the number
of seeds was declared."""
SEEDS = 19
"""Fewest with which two programs that train alike are found so with 90% probability."""
REFERENCE = "keras"
PROGRAMS = (REFERENCE, "ours", "ours-bfloat16")


def train(file: Path, programs: list[str], seeds: int, images: Path | None) -> None:
    """Run the missing trainings seed by seed; write each at once."""
    source = mnist.find("auto", images, log=print)
    known = {(row.program, row.seed, row.dataset) for row in read(file).itertuples()}
    for seed in range(seeds):
        for program in programs:
            if (program, seed, source.name) in known:
                continue
            threads = system.usable_threads()
            task = Task(
                name=program, source=source, threads=threads, seed=seed, step_counts=(STEPS,)
            )
            answer = common.answer(Path(__file__).with_name("contender.py"), task.model_dump_json())
            (curve,) = answer["test_accuracies"]
            run = {"program": program, "seed": seed, "dataset": source.name,
                   "max_test_accuracy": max(curve), "final_test_accuracy": curve[-1]}  # fmt: skip
            with file.open("a", encoding="ascii", newline="\n") as lines:
                lines.write(json.dumps(run) + "\n")
            print(f"{program}, seed {seed}: {max(curve):.4f}", flush=True)


def read(file: Path) -> pd.DataFrame:
    """Recorded trainings, one a row."""
    if not file.exists():
        return pd.DataFrame(columns=["program", "seed", "dataset", "max_test_accuracy"])
    return pd.read_json(file, lines=True)


def difference(ours: pd.Series[float], reference: pd.Series[float]) -> tuple[float, float, float]:
    """Difference of the means with Welch's interval of two one-sided tests at 5%."""
    interval = stats.ttest_ind(ours, reference, equal_var=False).confidence_interval(0.9)
    return float(ours.mean() - reference.mean()), float(interval.low), float(interval.high)


def page(runs: pd.DataFrame, made_on: str, command: str) -> str:
    """The table in Markdown."""
    head = ("program", "n", "mean", "standard deviation", "less Keras's", "90% Welch interval",
            "within")  # fmt: skip
    images = ", ".join(sorted(set(runs["dataset"])))
    return common.blocks(
        f"Machine: {made_on}.\nMade by `{command}`. Images: {images}.",
        common.table(head, _rows(runs), left=(0, 6)),
    )


def _rows(runs: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    accuracies = dict(iter(runs.groupby("program")["max_test_accuracy"]))
    for name in PROGRAMS:
        of, reference = accuracies.get(name, ()), accuracies.get(REFERENCE, ())
        if len(of) < 2:
            continue
        compared = (UNKNOWN, UNKNOWN, UNKNOWN)
        if name != REFERENCE and len(reference) > 1:
            mean, low, high = difference(of, reference)
            within = "yes" if low > -MARGIN and high < MARGIN else "**no**"
            compared = (f"{mean:+.5f}", f"{low:+.5f} to {high:+.5f}", within)
        mean_and_sd = (f"{of.mean():.5f}", f"{of.std():.5f}")
        yield (CONTENDERS[name].title, str(len(of)), *mean_and_sd, *compared)


if __name__ == "__main__":
    arguments = common.parser(__doc__, seeds=(SEEDS, "number of seeds"))
    arguments.add_argument("--only", choices=PROGRAMS, nargs="+", default=list(PROGRAMS))
    options = arguments.parse_args()
    path = options.out / "equivalence.jsonl"
    train(path, options.only, options.seeds, options.data)
    text = page(read(path), machine.describe().name, common.command_line(sys.argv))
    common.write_page(options.out / "equivalence.md", text)
