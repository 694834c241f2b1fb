"""How long `mnist-bench --help` takes from a cold process, beside a Python that does nothing.

Both start in turn, so that a busy moment of the machine strikes both. Prints seconds; with
`--store` it also keeps them in `benchmarks/start/`. There is no threshold here: a figure depends
on the machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(__file__).parent / "start"
COMMANDS = {
    "mnist-bench --help": [sys.executable, "-m", "mnist_bench", "--help"],
    "python -c pass": [sys.executable, "-c", "pass"],
}


def seconds_of(command: list[str]) -> float:
    """Wall-clock seconds of one fresh process."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def measure(count: int) -> dict[str, list[float]]:
    """Seconds of every start, by command, after one start of each that is thrown away."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(count + 1):
        for name, command in COMMANDS.items():
            elapsed = seconds_of(command)
            if turn:
                seconds[name].append(elapsed)
    return seconds


def main() -> None:
    """Measure, print, and keep what was asked to be kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-n", type=int, default=20, help="starts of each command (20)")
    parser.add_argument("--store", action="store_true", help=f"keep the figures in {FOLDER.name}/")
    options = parser.parse_args()
    if options.n < 1:
        parser.error("-n must be at least 1")
    seconds = measure(options.n)
    for name, values in seconds.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:20} min {low:.3f} s  median {middle:.3f} s  max {high:.3f} s")
    suite, bare = (statistics.median(values) for values in seconds.values())
    print(f"ratio of medians {suite / bare:.1f}, n = {options.n}")
    if options.store:
        now = datetime.now(UTC)
        document = {
            "measured": now.isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "seconds": seconds,
        }
        FOLDER.mkdir(exist_ok=True)
        path = FOLDER / f"{now:%Y%m%dT%H%M%SZ}.json"
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
