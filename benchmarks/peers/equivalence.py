"""Equivalence test of our training and Keras's: difference of their mean accuracies over seeds.

    python benchmarks/peers/equivalence.py --data DIR

runs the trainings missing from `equivalence.jsonl`, one line each, and writes `equivalence.md`. It
can be interrupted and restarted. `--page` only makes the page.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measured import CONTENDERS, Curves, CurveTask, answer
from scipy import stats

from mnist_bench.core.records import Record
from mnist_bench.data import mnist
from mnist_bench.measurement import machine, system

FOLDER = Path(__file__).parent
LINES = FOLDER / "equivalence.jsonl"
PAGE = FOLDER / "equivalence.md"
STEPS = 1_000
MARGIN = 0.002
"""Largest difference of the means of equivalent trainings."""
POWER = 0.9
LEVEL = 0.9
"""Of the interval that must lie within the margin (two one-sided tests at 5%)."""
MIN_SEEDS = 10
DEVIATION = 0.00182
"""Standard deviation of max test accuracy at these steps in the reference shipped when n was
declared. It must not change, since n is fixed before the trainings."""
REFERENCE = "keras"
PROGRAMS = (REFERENCE, "ours", "ours-bfloat16")


class Trained(Record):
    """One training.

    Attributes:
        program: Key in `CONTENDERS`.
        seed: Of weights, batches and dropout; programs use the same seed differently.
        dataset: Name of the images.
        max_test_accuracy: On Table I's grid.
        final_test_accuracy: At the last step of that grid.
    """

    program: str
    seed: int
    dataset: str
    max_test_accuracy: float
    final_test_accuracy: float


@dataclass(frozen=True)
class Difference:
    """Our mean minus the reference's, with Welch's interval."""

    mean: float
    low: float
    high: float

    @property
    def equivalent(self) -> bool:
        """Whether the whole interval lies within the margin."""
        return self.low > -MARGIN and self.high < MARGIN


def seeds_needed(deviation: float) -> int:
    """Seeds per program needed for the power, if both programs are the same.

    The difference of the means is normal with a standard error of deviation · √(2/n), and the
    half-width of the interval is t times that. The probability that the interval lies within the
    margin must be at least `POWER`. The estimated error is averaged over its chi-squared
    distribution.

    Args:
        deviation: Standard deviation of max test accuracy over seeds.
    """
    n = MIN_SEEDS
    while _power(n, deviation) < POWER:
        n += 1
    return n


def _power(n: int, deviation: float) -> float:
    """Probability that the interval lies within the margin if the true difference is 0."""
    freedom = 2 * (n - 1)
    quantiles = (np.arange(2_000) + 0.5) / 2_000
    estimates = np.sqrt(stats.chi2.ppf(quantiles, freedom) / freedom)
    t = stats.t.ppf((1 + LEVEL) / 2, freedom)
    slack = MARGIN / (deviation * math.sqrt(2 / n)) - t * estimates
    return float(np.mean(np.where(slack > 0, 2 * stats.norm.cdf(slack) - 1, 0.0)))


def difference(ours: Sequence[float], reference: Sequence[float]) -> Difference:
    """Difference of the means with Welch's interval."""
    interval = stats.ttest_ind(ours, reference, equal_var=False).confidence_interval(LEVEL)
    mean = statistics.mean(ours) - statistics.mean(reference)
    return Difference(mean, float(interval.low), float(interval.high))


def read() -> list[Trained]:
    """Recorded trainings."""
    if not LINES.exists():
        return []
    lines = LINES.read_text(encoding="ascii").splitlines()
    return [Trained.model_validate_json(line) for line in lines]


def declared() -> str:
    """Text on what is fixed before the first training."""
    return (
        f"The reference's standard deviation at {STEPS:,} steps was {DEVIATION:.5f}. Two programs "
        f"that train alike shall be\nfound so with {POWER:.0%} probability: {LEVEL:.0%} interval "
        f"of the difference within ±{MARGIN}. That takes\nn = {seeds_needed(DEVIATION)} seeds "
        "of each."
    )


def page(trained: Sequence[Trained], made_on: str) -> str:
    """The page in Markdown."""
    by_program = {
        name: [run.max_test_accuracy for run in trained if run.program == name] for name in PROGRAMS
    }
    images = sorted({run.dataset for run in trained})
    lines = [
        "# Is it the same training?",
        "",
        f"Max test accuracy on Table I's grid after {STEPS:,} steps, over seeds. n was declared",
        "beforehand:",
        "",
        declared(),
        "",
        f"Machine: {made_on}.",
        f"Made by `python benchmarks/peers/equivalence.py --data DIR{_only(by_program)}`;",
        f"each training is a line of `equivalence.jsonl`. Images: {', '.join(images)}.",
        "",
        "| program | n | mean | standard deviation | less Keras's | 90% Welch interval | within |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    lines += [
        _line(name, values, by_program[REFERENCE])
        for name, values in by_program.items()
        if len(values) > 1
    ]
    return "\n".join((*lines, ""))


def _only(by_program: Mapping[str, Sequence[float]]) -> str:
    """Options that select the trained programs, unless all are."""
    trained = [name for name, values in by_program.items() if values]
    return (
        "" if len(trained) == len(by_program) else "".join(f" --program {name}" for name in trained)
    )


def _line(name: str, values: list[float], reference: list[float]) -> str:
    compared = ("–", "–", "–")
    if name != REFERENCE and len(reference) > 1:
        compared_means = difference(values, reference)
        interval = f"{compared_means.low:+.5f} to {compared_means.high:+.5f}"
        compared = (
            f"{compared_means.mean:+.5f}",
            interval,
            "yes" if compared_means.equivalent else "**no**",
        )
    mean, spread = statistics.mean(values), statistics.stdev(values)
    cells = (CONTENDERS[name].title, str(len(values)), f"{mean:.5f}", f"{spread:.5f}", *compared)
    return "| " + " | ".join(cells) + " |"


def train(programs: Sequence[str], seeds: int, images: Path | None) -> None:
    """Run the missing trainings seed by seed; write each at once."""
    source = mnist.find("auto", images, log=print)
    known = {(run.program, run.seed, run.dataset) for run in read()}
    for seed in range(seeds):
        for program in programs:
            if (program, seed, source.name) in known:
                continue
            task = CurveTask(
                name=program,
                source=source,
                threads=system.usable_threads(),
                seed=seed,
                rows=(STEPS,),
            )
            (curve,) = Curves.model_validate_json(answer("curve.py", task)).test_accuracies
            run = Trained(
                program=program,
                seed=seed,
                dataset=source.name,
                max_test_accuracy=max(curve),
                final_test_accuracy=curve[-1],
            )
            with LINES.open("a", encoding="ascii") as file:
                file.write(run.model_dump_json() + "\n")
            print(f"{program}, seed {seed}: {max(curve):.4f}", flush=True)


def main() -> None:
    """Print the declaration, train, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument(
        "--program", choices=PROGRAMS, action="append", help="only this program (all)"
    )
    parser.add_argument("--seeds", type=int, help="number of seeds (as declared)")
    parser.add_argument("--page", action="store_true", help="make the page without training")
    options = parser.parse_args()
    print(declared(), flush=True)
    if not options.page:
        seeds = options.seeds or seeds_needed(DEVIATION)
        train(options.program or PROGRAMS, seeds, options.data)
    text = page(read(), machine.describe().name)
    PAGE.write_text(text, encoding="utf-8", newline="\n")
    print(text)


if __name__ == "__main__":
    main()
