"""How good the verdict is: judges the kept runs by today's thresholds, and prints the table.

    python benchmarks/trust/rates.py NAME

reads `benchmarks/trust/NAME.jsonl`. With `--write FILE` the table is kept as well.
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
"""A disturbed run counts where it took so many times what its quiet neighbours took."""
QUIET_OTHER_SHARE = 0.03
"""A quiet run in which others took more of the machine than this was none: it is listed apart."""
QUIET_STEAL_SHARE = 0.02
IMAGES = 500 * 50


@dataclass(frozen=True)
class Rate:
    """How many of how many, with the exact 95% interval of Clopper and Pearson.

    Attributes:
        hits: How many.
        of: Of how many.
    """

    hits: int
    of: int

    def __str__(self) -> str:
        if not self.of:
            return "0 of 0"
        low, high = stats.binomtest(self.hits, self.of).proportion_ci(method="exact")
        return f"{self.hits} of {self.of} = {self.hits / self.of:.1%} ({low:.1%} to {high:.1%})"


@dataclass(frozen=True)
class Judged:
    """A run with what it is measured by.

    Attributes:
        run: The run.
        judgement: By today's thresholds.
        slowdown: Train seconds by the mean of its quiet neighbours', for a disturbed run.
    """

    run: TrustRun
    judgement: quality.Assessment
    slowdown: float | None = None

    @property
    def flagged(self) -> bool:
        """Whether the verdict says that something was wrong."""
        return self.judgement.verdict != "clean"

    @property
    def quiet_enough(self) -> bool:
        """Whether the process beside saw so little of others that the run may be called quiet."""
        seen = self.run.outside
        return seen.other_share <= QUIET_OTHER_SHARE and seen.steal_share <= QUIET_STEAL_SHARE


def judged(runs: Sequence[TrustRun]) -> list[Judged]:
    """Every run with its judgement, in order."""
    made = []
    for index, run in enumerate(runs):
        beside = [r.train_seconds for r in runs[max(0, index - 1) : index + 2] if r.kind == "quiet"]
        slowdown = run.train_seconds / statistics.mean(beside) if run.kind != "quiet" else None
        made.append(Judged(run, quality.assess(run.conditions), slowdown))
    return made


def table(name: str, runs: Sequence[TrustRun]) -> str:
    """The whole page."""
    of = judged(runs)
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


def _rate(of: Sequence[Judged]) -> Rate:
    return Rate(sum(j.flagged for j in of), len(of))


def _by_kind(disturbed: Sequence[Judged]) -> list[str]:
    lines = ["| disturbance | found | slowdown, smallest to largest | reasons given |",
             "|---|---|---|---|"]  # fmt: skip
    for kind in KINDS:
        of = [j for j in disturbed if j.run.kind == kind]
        if of:
            slow = sorted(j.slowdown or 0 for j in of)
            words = Counter(r.words for j in of for r in j.judgement.reasons)
            given = ", ".join(f"{word} {n}" for word, n in words.most_common())
            lines.append(f"| {kind} | {_rate(of)} | {slow[0]:.2f} to {slow[-1]:.2f} | {given} |")
    return lines


def _false_alarms(quiet: Sequence[Judged]) -> list[str]:
    words = Counter(f"{r.words} {r.detail}" for j in quiet for r in j.judgement.reasons)
    given = ", ".join(words) or "none"
    return [f"False alarms, by reason and figure: {given}.", ""]


def _missed(disturbed: Sequence[Judged]) -> list[str]:
    missed = [f"{j.run.kind} {j.slowdown:.2f}" for j in disturbed if not j.flagged]
    return [f"Missed, by kind and slowdown: {', '.join(missed) or 'none'}.", ""]


def _spread(quiet: Sequence[Judged]) -> list[str]:
    """How far quiet runs lie apart: the first ten, and all; and what was seen of others."""
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
            said = f"{ends}, standard deviation {share:.1%} of the mean"
            lines += [f"`images_per_second` over {label} quiet runs: {said}.", ""]
    return lines


def _clocks(of: Sequence[Judged]) -> list[str]:
    """The worker's own phases against the clock of the process beside."""
    errors = [sum(j.run.phase_seconds.values()) / j.run.outside_life_seconds - 1 for j in of]
    off = f"{min(errors):+.2%} to {max(errors):+.2%}"
    return [f"Sum of the phases against an outside clock, {len(of)} runs: off by {off}.", ""]


def main() -> None:
    """Judge, print, and keep what was asked to be kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="of the set of runs")
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the table there")
    options = parser.parse_args()
    page = table(options.name, read(FOLDER / f"{options.name}.jsonl"))
    print(page)
    if options.write:
        options.write.write_text(page, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
