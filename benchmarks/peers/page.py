"""Generates `README.md` from a session."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence

import hardware
import ratios
from measured import CHUNK_STEPS, CONTENDERS, STEP_GFLOP, Session, Timed
from ratios import Ratio, Target

from mnist_bench.core import formatting

_HOW = """\
A step is timed from batch to batch: choosing and gathering its images counts, scoring does not. A
figure of a run is the median over chunks of {chunk} steps, after {warm_up} steps of warm-up; the
table has the median over the rounds, and in brackets the smallest and the largest. Each run is a
fresh process. They take turns, and the order moves on by one with each round. A short first round
was thrown away.

An evaluation scores all test images, after one that is not counted; where there are several ways
the fastest of the run counts. Peak RSS is the process's own high-water mark after training and
scoring in the documented way. The images are read by the suite's own modules in all of them. Start
to first step counts from the parent's start of the process to the end of the first update. The
test accuracy is that of so short a training, and only shows that each of them learns.\
"""
_BESIDE = """\
`peers.json` has every value. Beside it: `equivalence.py`, whether ours is the same training as
Keras's; `whole.py`, all of Table I from start to end; `ops.py`, where a step's time goes.\
"""

_RATIO = """\
The ratio of each round, its median over the rounds, and Student's 95% interval on the ratios'
logarithms. A target is met when the median reaches it.\
"""


def page(session: Session) -> str:
    """The page in Markdown."""
    parts = (
        "# Ours and its peers",
        "The paper's network, batch 50, trained by what a user would write instead.",
        _origin(session),
        "\n".join(_table(session)),
        _missing(session),
        "## Ours by theirs",
        _RATIO,
        "\n".join(_ratios(session)),
        _memory(session),
        "## The machine's own limit",
        "\n".join(_limits(session)),
        "## Settings",
        "\n".join(_settings(session)),
        "## How it is measured",
        _HOW.format(warm_up=session.warm_up_steps, chunk=CHUNK_STEPS),
        _BESIDE,
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _origin(session: Session) -> str:
    versions = hardware.in_words(session.versions)
    rounds = f"{len(session.rounds)} rounds" if len(session.rounds) != 1 else "1 round"
    return (
        f"Machine: {session.hardware.sentences}\n"
        f"Versions: {versions}.\n"
        f"Made by `{session.command}` on {session.date}:\n{rounds}, {session.steps} timed steps a "
        f"run, images: {session.dataset}, {session.threads} threads."
    )


def _table(session: Session) -> list[str]:
    head = ("contender", "ms a step", "test evaluation, s", "peak RSS, MiB",
            "of it the imports, MiB", "start to first step, s", "test accuracy")  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for name, contender in CONTENDERS.items():
        if of := session.runs(name):
            lines.append(f"| {contender.title} | " + " | ".join(_cells(of)) + " |")
    return lines


def _cells(of: Sequence[Timed]) -> list[str]:
    return [
        _spread(of, ratios.step_milliseconds, "{:.1f}"),
        _spread(of, ratios.evaluation_seconds, "{:.2f}"),
        _spread(of, lambda run: _mebibytes(run.peak_rss_bytes), "{:,.0f}"),
        _spread(of, lambda run: _mebibytes(run.import_peak_rss_bytes), "{:,.0f}"),
        _spread(of, lambda run: run.first_step_seconds, "{:.1f}"),
        formatting.accuracy(statistics.median(run.test_accuracy for run in of)),
    ]


def _mebibytes(size_bytes: int | None) -> float | None:
    return None if size_bytes is None else size_bytes / 2**20


def _spread(of: Sequence[Timed], figure: Callable[[Timed], float | None], form: str) -> str:
    values = [value for run in of if (value := figure(run)) is not None]
    if not values:
        return formatting.UNKNOWN
    median, low, high = (
        form.format(value) for value in (statistics.median(values), min(values), max(values))
    )
    return f"{median} ({low} to {high})" if len(values) > 1 else median


def _missing(session: Session) -> str:
    titles = {name: contender.title for name, contender in CONTENDERS.items()}
    return "\n".join(
        f"{titles.get(name, name)}: {_rounds_of(session, name)}, {reason}."
        for name, reason in session.missing.items()
    )


def _rounds_of(session: Session, name: str) -> str:
    """Rounds in which a missing contender still ran."""
    ran = len(session.runs(name))
    return f"in {ran} of {len(session.rounds)} rounds alone" if ran else "left out"


def _ratios(session: Session) -> list[str]:
    lines = ["| figure | ratio | median | 95% interval | n | target | met |",
             "|---|---|---:|---:|---:|---:|---|"]  # fmt: skip
    found = ((target, ratios.ratio(session, target)) for target in ratios.TARGETS)
    return lines + [_ratio(target, ratio) for target, ratio in found if ratio]


def _ratio(target: Target, ratio: Ratio) -> str:
    ours, peer = CONTENDERS[target.ours].title, CONTENDERS[target.peer].title
    names = f"{peer} / {ours}" if target.faster else f"{ours} / {peer}"
    bound = formatting.UNKNOWN
    if target.bound is not None:
        bound = f"{'≥' if target.faster else '≤'} {target.bound:.2f}"
    met = {True: "yes", False: "**no**", None: formatting.UNKNOWN}[target.met_by(ratio)]
    cells = (target.figure, names, f"{ratio.median:.2f}", _interval(ratio), str(ratio.n), bound)
    return "| " + " | ".join((*cells, met)) + " |"


def _interval(ratio: Ratio) -> str:
    if ratio.low is None or ratio.high is None:
        return formatting.UNKNOWN
    return f"{ratio.low:.2f} to {ratio.high:.2f}"


def _memory(session: Session) -> str:
    shares = [
        run.import_peak_rss_bytes / run.peak_rss_bytes
        for run in session.runs("ours")
        if run.import_peak_rss_bytes and run.peak_rss_bytes
    ]
    if not shares:
        return ""
    share = statistics.median(shares)
    return f"Of the peak of ours in float32, {share:.0%} is reached by TensorFlow's import alone."


def _limits(session: Session) -> list[str]:
    """Speed of matrix products, and the bound on the step time that follows from it."""
    peak_speeds = [each.products.peak_gflops for each in session.rounds if each.products]
    if not peak_speeds:
        return ["Not measured."]
    lines = [f"A step is {STEP_GFLOP} GFLOP. TensorFlow's own matrix product, best of some sizes:",
             "",
             "| precision | GFLOP/s | the arithmetic of a step, ms | ours, ms | ours by that |",
             "|---|---:|---:|---:|---:|"]  # fmt: skip
    for precision, name in (("float32", "ours"), ("bfloat16", "ours-bfloat16")):
        speed = statistics.median(peaks[precision] for peaks in peak_speeds)
        floor = STEP_GFLOP / speed * 1000
        steps = [ratios.step_milliseconds(run) for run in session.runs(name)]
        ours = statistics.median(steps) if steps else None
        own = (
            (f"{ours:.1f}", f"{ours / floor:.2f}")
            if ours
            else (formatting.UNKNOWN, formatting.UNKNOWN)
        )
        cells = (precision, f"{speed:,.0f}", f"{floor:.1f}", *own)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _settings(session: Session) -> list[str]:
    lines = []
    for name, contender in CONTENDERS.items():
        if of := session.runs(name):
            ways = Counter(ratios.best_way(run) for run in of)
            scored = ", ".join(f"{way} ({n} of {len(of)} runs)" for way, n in ways.most_common())
            lines.append(f"- {contender.title}: {of[0].settings}. Fastest scored: {scored}.")
    return lines
