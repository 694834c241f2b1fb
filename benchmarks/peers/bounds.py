"""Upper bounds of the ratios: each peer's time divided by the least time on this machine.

A step needs its arithmetic at the speed of a matrix product and Adam's memory traffic at that of a
copy, shared evenly among the threads; an evaluation needs its arithmetic. `docs/speed.md` shows the
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
"""Forward pass only."""
_PRECISIONS: Mapping[str, Precision] = {"ours": "float32", "ours-bfloat16": "bfloat16"}


def table(session: Session, ops: OpsSession) -> str:
    """The table of all ratios of times with a target."""
    profiles = {profile.precision: profile for profile in ops.profiles}
    targets = (target for target in ratios.TARGETS if target.faster and target.bound is not None)
    lines = ["| figure | ratio | reached | asked | at the least that is needed here |",
             "|---|---|---:|---:|---:|"]  # fmt: skip
    lines += [_line(session, profiles[_PRECISIONS[target.ours]], target) for target in targets]
    return "\n".join(lines) + "\n"


def _line(session: Session, profile: Profile, target: Target) -> str:
    reached = ratios.ratio(session, target)
    if reached is None or target.bound is None:
        raise ValueError(f"{target} was not measured")
    least = least_seconds(profile, target.figure, session.threads)
    peer = CONTENDERS[target.peer].title
    figure = statistics.median(map(ratios.FIGURES[target.figure], session.runs(target.peer)))
    peer_seconds = figure / 1000 if target.figure == "step" else figure
    names = f"{peer} / {CONTENDERS[target.ours].title}"
    cells = (target.figure, names, f"{reached.median:.2f}", f"{target.bound:.2f}")
    return "| " + " | ".join((*cells, f"{peer_seconds / least:.2f}")) + " |"


def least_seconds(profile: Profile, figure: str, threads: int) -> float:
    """Least seconds of a step or an evaluation on some number of threads."""
    if figure == "evaluation":
        milliseconds = SCORED_IMAGES * IMAGE_MFLOP / profile.product_gflops
    else:
        floors = (profile.floor_milliseconds(kind) for kind in (*STEP_MFLOP, *STEP_BYTES))
        milliseconds = sum(floor for floor in floors if floor is not None)
    return milliseconds / 1000 / threads
