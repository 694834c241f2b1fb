"""Accuracy of the verdict: assesses the recorded runs by the current thresholds.

    python benchmarks/trust/rates.py judged

reads `judged.jsonl` and writes `rates.md`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))

import common
from disturb import KINDS
from runs import STEPS, TrustRun, read

from mnist_bench.measurement import machine, quality

COUNTS_FROM = 1.05
"""Smallest slowdown of a disturbed run, relative to its quiet neighbors, that counts."""
QUIET_OTHER_SHARE = 0.03
"""A quiet run with a larger share of other load is listed separately."""
QUIET_STEAL_SHARE = 0.02


def assessed(runs: Sequence[TrustRun]) -> pd.DataFrame:
    """A row a run, in order, with its assessment by the current thresholds.

    `slowdown` is train seconds divided by the mean of its quiet neighbors, NA for a quiet run;
    `is_quiet` is whether the monitoring process saw little enough other load to call it quiet.
    """
    frame = pd.DataFrame(
        {
            "kind": run.kind,
            "train_seconds": run.train_seconds,
            "is_flagged": (found := quality.assess(run.conditions)).verdict != "clean",
            "reasons": found.reasons,
            "other_share": run.outside.other_share,
            "is_quiet": run.kind == "quiet"
            and run.outside.other_share <= QUIET_OTHER_SHARE
            and run.outside.steal_share <= QUIET_STEAL_SHARE,
            "clock_error": sum(run.phase_seconds.values()) / run.outside_life_seconds - 1,
        }
        for run in runs
    )
    quiet = frame["train_seconds"].where(frame["kind"] == "quiet")
    neighbors = pd.concat([quiet.shift(1), quiet.shift(-1)], axis=1).mean(axis=1)
    slowdown = frame["train_seconds"] / neighbors
    return frame.assign(slowdown=slowdown.where(frame["kind"] != "quiet"))


def rate(of: pd.DataFrame) -> str:
    """Share of flagged runs with its exact 95% interval by Clopper and Pearson."""
    hits, n = int(of["is_flagged"].sum()), len(of)
    if not n:
        return "0 of 0"
    low, high = stats.binomtest(hits, n).proportion_ci(method="exact")
    return f"{hits} of {n} = {hits / n:.1%} ({low:.1%} to {high:.1%})"


def page(runs: Sequence[TrustRun], made_on: str, command: str) -> str:
    """Tables in Markdown."""
    frame = assessed(runs)
    quiet = frame[frame["is_quiet"]]
    disturbed = frame[frame["slowdown"] >= COUNTS_FROM]
    missed = disturbed[~disturbed["is_flagged"]]
    alarms = Counter(f"{r.words} {r.detail}" for reasons in quiet["reasons"] for r in reasons)
    kinds = [(kind, of) for kind in KINDS if len(of := disturbed[disturbed["kind"] == kind])]
    errors, shares = frame["clock_error"], quiet["other_share"]
    named = (f"{each.kind} {each.slowdown:.2f}" for each in missed.itertuples())
    return common.blocks(
        f"Machine: {made_on}.\nMade by `{command}`.",
        common.table(
            ("", "rate (exact 95% interval)"),
            [
                ("disturbances of 5% or more, found", rate(disturbed)),
                ("quiet runs that were called suspect or invalid", rate(quiet)),
            ],
            left=(0, 1),
        ),
        common.table(
            ("disturbance", "found", "slowdown, smallest to largest", "reasons given"),
            [(kind, rate(of), _ends(of["slowdown"], ".2f"), _reasons(of)) for kind, of in kinds],
            left=range(4),
        ),
        f"Weaker disturbances, found: {rate(frame[frame['slowdown'] < COUNTS_FROM])}.",
        "Quiet runs with other load, called suspect or invalid: "
        f"{rate(frame[(frame['kind'] == 'quiet') & ~frame['is_quiet']])}.",
        f"False alarms, by reason and figure: {', '.join(alarms) or 'none'}.",
        f"Missed, by kind and slowdown: {', '.join(named) or 'none'}.",
        f"Processor time of others in quiet runs, of what there was: {_ends(shares, '+.1%')}.",
        _images_per_second("the first 10", quiet[:10]),
        _images_per_second(f"all {len(quiet)}", quiet),
        f"Sum of the phases against an outside clock, {len(runs)} runs: off by "
        f"{_ends(errors, '+.2%')}.",
        f"Test accuracies seen, over all {len(runs)} runs: "
        f"{', '.join(f'{each:g}' for each in sorted({run.test_accuracy for run in runs}))}.",
    )


def _reasons(of: pd.DataFrame) -> str:
    words = Counter(reason.words for reasons in of["reasons"] for reason in reasons)
    return ", ".join(f"{word} {n}" for word, n in words.most_common())


def _ends(values: pd.Series[float], form: str) -> str:
    return f"{values.min():{form}} to {values.max():{form}}"


def _images_per_second(label: str, quiet: pd.DataFrame) -> str:
    rates = 50 * STEPS / quiet["train_seconds"]
    return (
        f"`images_per_second` over {label} quiet runs: {_ends(rates, ',.0f')}, standard deviation "
        f"{rates.std() / rates.mean():.1%} of the mean."
    )


if __name__ == "__main__":
    parser = common.parser(__doc__)
    parser.add_argument("name", help="name of the set of runs")
    options = parser.parse_args()
    recorded = read(options.out / f"{options.name}.jsonl")
    text = page(recorded, machine.describe().name, common.command_line(sys.argv))
    common.write_page(options.out / "rates.md", text)
