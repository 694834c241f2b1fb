"""Start time of the commands.

    python benchmarks/start/start.py -n 20 --rounds 6 --write

Measures, in turn and in fresh processes, `mnist-bench --help`, `mnist-bench scenarios` and an empty
Python program; then, by rounds, `mnist-bench run smoke` on an existing database up to its first
training step, and a process that only imports TensorFlow and trains one step. Prints a table;
`--write` writes it and its values to this folder. There is no threshold, since times depend on the
machine.
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
from dataclasses import asdict
from pathlib import Path

import first_step
from first_step import Round

from mnist_bench.measurement import machine

FOLDER = Path(__file__).parent
BARE = "python -c pass"
COMMANDS = {
    BARE: [sys.executable, "-c", "pass"],
    "mnist-bench --help": [sys.executable, "-m", "mnist_bench", "--help"],
    "mnist-bench scenarios": [sys.executable, "-m", "mnist_bench", "scenarios"],
}


def commands(count: int) -> dict[str, list[float]]:
    """Seconds of every start by command, after one discarded start of each."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(count + 1):
        for name, command in COMMANDS.items():
            begin = time.perf_counter()
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            if turn:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def rounds(count: int) -> list[Round]:
    """Rounds to the first step, after a discarded one that creates the database."""
    with tempfile.TemporaryDirectory() as folder:
        return [first_step.measure(turn, Path(folder)) for turn in range(count + 1)][1:]


def page(seconds: dict[str, list[float]], measured: Sequence[Round]) -> str:
    """The page in Markdown."""
    bare = statistics.median(seconds[BARE])
    arguments = f"-n {len(seconds[BARE])} --rounds {len(measured)} --write"
    starts = [
        _line(f"`{name}`", values, f"{statistics.median(values) / bare:.1f}")
        for name, values in seconds.items()
    ]
    smoke = [each.smoke_seconds for each in measured]
    lines = [_line("`mnist-bench run smoke`, on an existing database", smoke, "")]
    for name, alone, ratios in (
        ("as the suite imports it", [r.quick for r in measured], [r.by_quick for r in measured]),
        ("plainly", [r.plain for r in measured], [r.by_plain for r in measured]),
    ):
        whole, imports = [b.seconds for b in alone], [b.import_seconds for b in alone]
        lines += [
            _line(f"`import tensorflow` {name}, tracing and a step", whole, _ratio(ratios)),
            _line("of that, the import", imports, ""),
        ]
    return "\n".join(
        [
            "# How long the suite takes to start",
            "",
            f"Machine: {machine.describe().name}.",
            f"Made by `python benchmarks/start/start.py {arguments}`.",
            "",
            "Fresh processes, started in turn, their files in the system's cache:",
            "",
            "| seconds | n | median | smallest | largest | by a bare Python |",
            "|---|---:|---:|---:|---:|---:|",
            *starts,
            "",
            "From the start of the process until the first training step is done. The ratio is",
            "that of `run smoke` by the row, round by round: median (smallest to largest).",
            "",
            "| seconds | n | median | smallest | largest | `run smoke` by this |",
            "|---|---:|---:|---:|---:|---:|",
            *lines,
            "",
        ]
    )


def _line(name: str, values: Sequence[float], last: str) -> str:
    figures = (statistics.median(values), min(values), max(values))
    cells = (name, str(len(values)), *(f"{value:.3f}" for value in figures), last)
    return f"| {' | '.join(cells)} |"


def _ratio(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Measure, print, and write with `--write`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-n", type=int, default=20, help="starts of each command (20)")
    parser.add_argument("--rounds", type=int, default=6, help="rounds to the first step (6)")
    parser.add_argument(
        "--write", action="store_true", help="write table and values to this folder"
    )
    options = parser.parse_args()
    if min(options.n, options.rounds) < 1:
        parser.error("-n and --rounds must be at least 1")
    seconds, measured = commands(options.n), rounds(options.rounds)
    text = page(seconds, measured)
    print(text)
    if options.write:
        (FOLDER / "README.md").write_text(text, encoding="utf-8", newline="\n")
        figures = {"commands": seconds, "first_step": [asdict(each) for each in measured]}
        content = json.dumps(figures, indent=1) + "\n"
        (FOLDER / "figures.json").write_text(content, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
