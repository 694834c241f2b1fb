"""Accuracy of the verdict: assesses the recorded runs by the current thresholds.

    python benchmarks/trust/rates.py NAME

reads `benchmarks/trust/NAME.jsonl` and prints the table; `--write FILE` also writes it to a file.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from disturb import KINDS
from record import TrustRun, read
from scipy import stats

from mnist_bench.measurement import machine, quality

FOLDER = Path(__file__).parent
COUNTS_FROM = 1.05
"""Smallest slowdown of a disturbed run, relative to its quiet neighbors, that counts."""
QUIET_OTHER_SHARE = 0.03
"""A quiet run with a larger share of other load is listed separately."""
QUIET_STEAL_SHARE = 0.02
IMAGES = 500 * 50


@dataclass(frozen=True)
class Rate:
    """A proportion with its exact 95% interval by Clopper and Pearson.

    Attributes:
        hits: Number of hits.
        of: Total number.
    """

    hits: int
    of: int

    def __str__(self) -> str:
        if not self.of:
            return "0 of 0"
        low, high = stats.binomtest(self.hits, self.of).proportion_ci(method="exact")
        return f"{self.hits} of {self.of} = {self.hits / self.of:.1%} ({low:.1%} to {high:.1%})"


@dataclass(frozen=True)
class AssessedRun:
    """A run with its assessment.

    Attributes:
        assessment: By the current thresholds.
        slowdown: Train seconds divided by the mean of its quiet neighbors; None for a quiet run.
    """

    run: TrustRun
    assessment: quality.Assessment
    slowdown: float | None = None

    @property
    def flagged(self) -> bool:
        """Whether its verdict is suspect or invalid."""
        return self.assessment.verdict != "clean"

    @property
    def quiet_enough(self) -> bool:
        """Whether the monitoring process saw little enough other load to call the run quiet."""
        outside = self.run.outside
        return outside.other_share <= QUIET_OTHER_SHARE and outside.steal_share <= QUIET_STEAL_SHARE


def assess_runs(runs: Sequence[TrustRun]) -> list[AssessedRun]:
    """Every run with its assessment, in order."""
    assessed_runs = []
    for index, run in enumerate(runs):
        neighbors = [
            r.train_seconds for r in runs[max(0, index - 1) : index + 2] if r.kind == "quiet"
        ]
        slowdown = run.train_seconds / statistics.mean(neighbors) if run.kind != "quiet" else None
        assessed_runs.append(AssessedRun(run, quality.assess(run.conditions), slowdown))
    return assessed_runs


def table(name: str, runs: Sequence[TrustRun]) -> str:
    """The page in Markdown."""
    of = assess_runs(runs)
    quiet = [j for j in of if j.run.kind == "quiet" and j.quiet_enough]
    apart = [j for j in of if j.run.kind == "quiet" and not j.quiet_enough]
    disturbed = [j for j in of if j.slowdown is not None and j.slowdown >= COUNTS_FROM]
    weak = [j for j in of if j.slowdown is not None and j.slowdown < COUNTS_FROM]
    return "\n".join(
        (
            f"# The verdict on the runs in `{name}.jsonl`",
            "",
            f"Machine: {machine.describe().name}.",
            f"Made by `python benchmarks/trust/rates.py {name}`.",
            "",
            "| | rate (exact 95% interval) |",
            "|---|---|",
            f"| disturbances of {COUNTS_FROM - 1:.0%} or more, found | {_rate(disturbed)} |",
            f"| quiet runs that were called suspect or invalid | {_rate(quiet)} |",
            "",
            *_by_kind(disturbed),
            "",
            f"Weaker disturbances, not counted above: {_rate(weak)} found.",
            "",
            f"Quiet runs in which others took more than {QUIET_OTHER_SHARE:.0%} of the machine,",
            f"or the host more than {QUIET_STEAL_SHARE:.0%}, listed apart: {_rate(apart)} flagged.",
            "",
            *_false_alarms(quiet),
            *_missed(disturbed),
            *_spread(quiet),
            *_clocks(of),
            f"Test accuracies seen, over all {len(of)} runs: "
            + ", ".join(f"{a:g}" for a in sorted({j.run.test_accuracy for j in of}))
            + ".",
            "",
        )
    )


def _rate(of: Sequence[AssessedRun]) -> Rate:
    return Rate(sum(j.flagged for j in of), len(of))


def _by_kind(disturbed: Sequence[AssessedRun]) -> list[str]:
    lines = ["| disturbance | found | slowdown, smallest to largest | reasons given |",
             "|---|---|---|---|"]  # fmt: skip
    for kind in KINDS:
        of = [j for j in disturbed if j.run.kind == kind]
        if of:
            slow = sorted(j.slowdown or 0 for j in of)
            words = Counter(r.words for j in of for r in j.assessment.reasons)
            given = ", ".join(f"{word} {n}" for word, n in words.most_common())
            lines.append(f"| {kind} | {_rate(of)} | {slow[0]:.2f} to {slow[-1]:.2f} | {given} |")
    return lines


def _false_alarms(quiet: Sequence[AssessedRun]) -> list[str]:
    words = Counter(f"{r.words} {r.detail}" for j in quiet for r in j.assessment.reasons)
    given = ", ".join(words) or "none"
    return [f"False alarms, by reason and figure: {given}.", ""]


def _missed(disturbed: Sequence[AssessedRun]) -> list[str]:
    missed = [f"{j.run.kind} {j.slowdown:.2f}" for j in disturbed if not j.flagged]
    return [f"Missed, by kind and slowdown: {', '.join(missed) or 'none'}.", ""]


def _spread(quiet: Sequence[AssessedRun]) -> list[str]:
    """Spread of the quiet runs, the first ten and all, and other load in them."""
    lines = []
    shares = sorted(j.run.outside.other_share for j in quiet)
    if shares:
        ends = f"{shares[0]:+.1%} to {shares[-1]:+.1%}"
        lines += [f"Processor time of others in quiet runs, of what there was: {ends}.", ""]
    for label, of in (("the first 10", quiet[:10]), (f"all {len(quiet)}", quiet)):
        rates = sorted(IMAGES / j.run.train_seconds for j in of)
        if len(rates) > 1:
            share = statistics.stdev(rates) / statistics.mean(rates)
            ends = f"{rates[0]:,.0f} to {rates[-1]:,.0f}"
            text = f"{ends}, standard deviation {share:.1%} of the mean"
            lines += [f"`images_per_second` over {label} quiet runs: {text}.", ""]
    return lines


def _clocks(of: Sequence[AssessedRun]) -> list[str]:
    """The worker's phases compared with the clock of the monitoring process."""
    errors = [sum(j.run.phase_seconds.values()) / j.run.outside_life_seconds - 1 for j in of]
    off = f"{min(errors):+.2%} to {max(errors):+.2%}"
    return [f"Sum of the phases against an outside clock, {len(of)} runs: off by {off}.", ""]


def main() -> None:
    """Assess, print, and write with `--write`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="name of the set of runs")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table to this file")
    options = parser.parse_args()
    page = table(options.name, read(FOLDER / f"{options.name}.jsonl"))
    print(page)
    if options.write:
        options.write.write_text(page, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
