"""How large the ratios could be here: each peer's figure by the least that this machine needs.

A step needs its arithmetic at the speed of a matrix product and Adam's memory traffic at that of a
copy, shared evenly among the threads; a scoring needs its arithmetic. `docs/speed.md` shows the
table, from `peers.json` and `ops.json`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import ratios
from measured import CONTENDERS, Session
from ops import STEP_BYTES, STEP_MFLOP, OpsSession, Profile
from ratios import Target

from mnist_bench.core.limits import Precision

SCORED_IMAGES = 10_000
IMAGE_MFLOP = 2 * (784 * 25 * 32 + 196 * 800 * 64 + 3136 * 1024 + 1024 * 10) / 1e6
"""Forward, without the gradients."""
_OURS: Mapping[str, Precision] = {"ours": "float32", "ours-bfloat16": "bfloat16"}


def table(session: Session, ops: OpsSession) -> str:
    """A line for each ratio of times that was asked for."""
    profiles = {profile.precision: profile for profile in ops.profiles}
    asked = (target for target in ratios.TARGETS if target.faster and target.bound is not None)
    lines = ["| figure | ratio | reached | asked | at the least that is needed here |",
             "|---|---|---:|---:|---:|"]  # fmt: skip
    lines += [_line(session, profiles[_OURS[target.ours]], target) for target in asked]
    return "\n".join(lines) + "\n"


def _line(session: Session, profile: Profile, target: Target) -> str:
    reached = ratios.ratio(session, target)
    if reached is None or target.bound is None:
        raise ValueError(f"{target} was not measured")
    least = least_seconds(profile, target.figure, session.threads)
    peer = CONTENDERS[target.peer].title
    figure = statistics.median(map(ratios.FIGURES[target.figure], session.runs(target.peer)))
    theirs = figure / 1000 if target.figure == "step" else figure
    named = f"{peer} / {CONTENDERS[target.ours].title}"
    cells = (target.figure, named, f"{reached.median:.2f}", f"{target.bound:.2f}")
    return "| " + " | ".join((*cells, f"{theirs / least:.2f}")) + " |"


def least_seconds(profile: Profile, figure: str, threads: int) -> float:
    """Of a step or an evaluation, on so many threads."""
    if figure == "evaluation":
        milliseconds = SCORED_IMAGES * IMAGE_MFLOP / profile.product_gflops
    else:
        floors = (profile.floor_milliseconds(kind) for kind in (*STEP_MFLOP, *STEP_BYTES))
        milliseconds = sum(floor for floor in floors if floor is not None)
    return milliseconds / 1000 / threads
