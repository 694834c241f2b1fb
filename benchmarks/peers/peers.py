"""Speed and memory of other implementations of the same training, in rounds.

    python benchmarks/peers/peers.py --data DIR

Writes `README.md` and `peers.json` to this folder. `--from FILE` makes the page from such a JSON
without measuring.
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime
from pathlib import Path

import hardware
import ratios
from measured import (
    CHUNK_STEPS,
    CONTENDERS,
    ContenderError,
    Products,
    Round,
    Session,
    Timed,
    TimedTask,
    answer,
)
from page import page

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import system
from mnist_bench.scenarios.execution import Execution

FOLDER = Path(__file__).parent
PRODUCTS = "products"
_WARM_UP_STEPS = 25


class Benchmark:
    """Rounds of the contenders that can run here.

    Args:
        names: Contenders, and `products`.
        source: The images.
        steps: Timed steps of each run.
    """

    def __init__(self, names: list[str], source: Source, steps: int) -> None:
        self.missing: dict[str, str] = {}
        self.threads = system.usable_threads()
        self._names = names
        self._source = source
        self._steps = steps
        for name in names:
            needed = CONTENDERS[name].needs if name in CONTENDERS else "tensorflow"
            if hardware.version_of(needed) is None:
                self._leave_out(name, f"{needed} is not installed")

    def warm_up(self) -> None:
        """Run a short round that is discarded: it fills file and compiler caches."""
        for name in self._names:
            self._measure(name, CHUNK_STEPS)

    def round(self, turn: int) -> Round:
        """Run each contender once; the order rotates with the turn."""
        names = [name for name in self._names if name not in self.missing]
        begin = turn % max(1, len(names))
        timed: dict[str, Timed] = {}
        products = None
        for name in names[begin:] + names[:begin]:
            result = self._measure(name, self._steps)
            if isinstance(result, Timed):
                timed[name] = result
            elif result is not None:
                products = result
        return Round(timed=timed, products=products)

    def _measure(self, name: str, steps: int) -> Timed | Products | None:
        """Result of a contender; None if it can't run here."""
        if name in self.missing:
            return None
        try:
            if name == PRODUCTS:
                text = answer("products.py", Execution(threads=self.threads))
                return Products.model_validate_json(text)
            return Timed.model_validate_json(answer("contender.py", self._task(name, steps)))
        except ContenderError as error:
            self._leave_out(name, f"it failed: {error}")
            return None

    def _task(self, name: str, steps: int) -> TimedTask:
        return TimedTask(
            name=name,
            source=self._source,
            threads=self.threads,
            steps=steps,
            warm_up_steps=_WARM_UP_STEPS,
            started_at=time.time(),
        )

    def _leave_out(self, name: str, why: str) -> None:
        self.missing[name] = why
        print(f"{name}: skipped, {why}", flush=True)


def measure(options: argparse.Namespace) -> Session:
    """Run all rounds after a discarded one."""
    source = mnist.find("auto", options.data, log=print)
    benchmark = Benchmark(options.only, source, options.steps)
    date = datetime.now(UTC).date().isoformat()
    benchmark.warm_up()
    rounds = []
    for turn in range(options.rounds):
        rounds.append(benchmark.round(turn))
        print(f"round {turn + 1} of {options.rounds}: {_line(rounds[-1])}", flush=True)
    return Session(
        command=_command(options),
        date=date,
        hardware=hardware.describe(),
        versions=hardware.versions("tensorflow", "keras", "torch", "numpy", "mnist-bench"),
        dataset=source.name,
        threads=benchmark.threads,
        steps=options.steps,
        warm_up_steps=_WARM_UP_STEPS,
        missing=benchmark.missing,
        rounds=tuple(rounds),
    )


def _command(options: argparse.Namespace) -> str:
    """Command line without local paths."""
    images = " --data DIR" if options.data else ""
    only = "" if options.only == _ALL else f" --only {','.join(options.only)}"
    return (
        f"python benchmarks/peers/peers.py{images} --rounds {options.rounds} "
        f"--steps {options.steps}{only}"
    )


def _line(one_round: Round) -> str:
    steps = [f"{name} {ratios.step_milliseconds(run):.1f}" for name, run in one_round.timed.items()]
    return ", ".join(steps) + " ms a step"


_ALL = [*CONTENDERS, PRODUCTS]


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in _ALL]:
        raise argparse.ArgumentTypeError(f"{unknown[0]} is unknown; choose from {', '.join(_ALL)}")
    return names


def main() -> None:
    """Measure, or read earlier measurements; write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, after a discarded one (5)")
    parser.add_argument("--steps", type=int, default=150, help="timed steps of each run (150)")
    parser.add_argument("--only", type=_names, default=_ALL, metavar="NAMES",
                        help=f"some of {', '.join(_ALL)}")  # fmt: skip
    parser.add_argument("--from", dest="file", type=Path, metavar="FILE",
                        help="make the page from this JSON without measuring")  # fmt: skip
    parser.add_argument("--out", type=Path, default=FOLDER, help="output folder")
    options = parser.parse_args()
    if options.file:
        session = Session.model_validate_json(options.file.read_text(encoding="utf-8"))
    else:
        session = measure(options)
        text = session.model_dump_json(indent=1) + "\n"
        (options.out / "peers.json").write_text(text, encoding="utf-8", newline="\n")
    (options.out / "README.md").write_text(page(session), encoding="utf-8", newline="\n")
    print(page(session))


if __name__ == "__main__":
    main()
