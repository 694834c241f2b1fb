"""Cost of a search: `mnist-bench tune` compared with an Optuna loop over Keras `fit`.

    python benchmarks/tuning/search_cost.py --what trials --data DIR
    python benchmarks/tuning/search_cost.py --what searches --data DIR

Measures the same trials on both sides in turn, or complete searches. Writes `trials.json` or
`searches.json` after each of them, and `README.md` from both files; `--what page` only makes that.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import optuna
import tomli_w

sys.path.insert(0, str(Path(__file__).parents[1] / "peers"))

import hardware
from cost_page import page
from costs import CostSession, Pair, Search, Searched, Side, Trained, searched, turns
from keras_loop import KerasLoop, LoopedTrials, LoopTask
from keras_trial import SETTINGS
from measured import answer
from suite_trials import SuiteStudy

from mnist_bench.core import locks
from mnist_bench.core.limits import DATASET_CHOICES
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import system
from mnist_bench.tuning import space as spaces
from mnist_bench.tuning.document import StudyDocument
from mnist_bench.tuning.space import LEAST_GRID_POINTS, Space, Value
from mnist_bench.tuning.study import suggested

FOLDER = Path(__file__).parent
_SEED = 0
"""Random seed of the configurations that both sides train."""
_STEPS = 5_000
_MEASURED = ("trials", "searches")
"""Each has its own JSON file, since they take hours and are measured separately."""


def read_space(steps: int) -> Space:
    """This folder's search space with another step count and as many evaluations."""
    grid = {"steps": steps, "eval_every": steps // LEAST_GRID_POINTS}
    return spaces.read(FOLDER / "space.toml").model_copy(update=grid)


def configurations_of(space: Space, count: int) -> list[dict[str, Value]]:
    """The paper's configuration and reproducible random ones from the space."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=_SEED))
    configurations = [space.paper_values()]
    while len(configurations) < count:
        trial = study.ask()
        configurations.append(
            {name: suggested(trial, name, one) for name, one in space.parameters.items()}
        )
    return configurations[:count]


# The same trials


class Both:
    """Both sides, each with its own study of the same trials.

    Args:
        name: Of the suite's study.
        configurations: In order of training; the paper's comes first.
        exclusive: Whether other benchmarks of this user are locked out.
    """

    def __init__(
        self,
        name: str,
        space: Space,
        source: Source,
        configurations: list[dict[str, Value]],
        *,
        exclusive: bool,
    ) -> None:
        self._suite = SuiteStudy(name, space, source, exclusive=exclusive)
        self._loop = KerasLoop(space, source)
        for index, chosen in enumerate(configurations):
            self._loop.enqueue(chosen)
            if index:  # the suite's study starts with the paper's anyway
                self._suite.enqueue(chosen)

    def pair(self, order: tuple[Side, Side], chosen: Mapping[str, Value]) -> Pair:
        """Train the next trial on both sides.

        Raises:
            RuntimeError: One of them trained another configuration.
        """
        train: dict[Side, Callable[[], tuple[Mapping[str, Value], Trained]]] = {
            "ours": self._ours,
            "theirs": self._theirs,
        }
        results = {side: train[side]() for side in order}
        if any(dict(trained) != dict(chosen) for trained, _ in results.values()):
            raise RuntimeError(f"a side did not train the requested trial: {dict(chosen)}")
        return Pair(
            chosen=dict(chosen),
            first=order[0],
            ours=results["ours"][1],
            theirs=results["theirs"][1],
        )

    def _ours(self) -> tuple[Mapping[str, Value], Trained]:
        begin = time.perf_counter()
        trial = self._suite.train()
        seconds = time.perf_counter() - begin
        trained = Trained(
            seconds=seconds, validation_accuracy=trial.values[0], verdict=trial.verdict
        )
        return trial.chosen, trained

    def _theirs(self) -> tuple[Mapping[str, Value], Trained]:
        begin = time.perf_counter()
        self._loop.train(1)
        seconds = time.perf_counter() - begin
        trial = self._loop.trials[-1]
        return trial.chosen, Trained(seconds=seconds, validation_accuracy=trial.validation_accuracy)


def measure_pairs(space: Space, source: Source, count: int, save: Callable[[Pair], None]) -> None:
    """Train the same trials on both sides, after a short discarded one."""
    configurations = configurations_of(space, count)
    with (
        _empty_folder() as folder,
        contextlib.chdir(folder),
        locks.benchmark_lock(exclusive=True, warn=print) as exclusive,
    ):
        short = read_space(LEAST_GRID_POINTS)
        warm_up = Both("warm-up", short, source, configurations[:1], exclusive=exclusive)
        warm_up.pair(("ours", "theirs"), configurations[0])
        both = Both("pairs", space, source, configurations, exclusive=exclusive)
        for order, chosen in zip(turns(count), configurations, strict=True):
            save(both.pair(order, chosen))


# Whole searches


def measure_search(side: Side, space: Space, source: Source, options: argparse.Namespace) -> Search:
    """Measure one search in a new process."""
    begin = time.perf_counter()
    trials = _ours(space, options) if side == "ours" else _theirs(space, source, options)
    return Search(side=side, seconds=time.perf_counter() - begin, trials=trials)


def _ours(space: Space, options: argparse.Namespace) -> tuple[Searched, ...]:
    """Search with the suite's command in an empty folder, without the test split."""
    removed = ("MNIST_BENCH_DATA", "MLFLOW_EXPERIMENT_NAME")
    with _empty_folder() as folder:
        file = folder / "space.toml"
        text = tomli_w.dumps(space.model_dump(mode="json", exclude_defaults=True))
        file.write_text(text, encoding="utf-8")
        arguments = ["--space", str(file), "--trials", str(options.trials), "--confirm", "0"]
        arguments += ["--dataset", options.dataset]
        arguments += ["--data", str(options.data.resolve())] if options.data else []
        done = subprocess.run(
            [sys.executable, "-P", "-m", "mnist_bench", "tune", *arguments, "--json"],
            cwd=folder,
            env={key: value for key, value in os.environ.items() if key not in removed}
            | {"MLFLOW_TRACKING_URI": f"sqlite:///{(folder / 'mlflow.db').as_posix()}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
        )
    return searched(StudyDocument.model_validate_json(done.stdout))


def _theirs(space: Space, source: Source, options: argparse.Namespace) -> tuple[Searched, ...]:
    task = LoopTask(space=space, source=source, trials=options.their_trials or options.trials)
    result = LoopedTrials.model_validate_json(answer(str(FOLDER / "keras_loop.py"), task))
    return tuple(
        Searched(
            share_of_steps=1.0,
            seconds=trial.seconds,
            validation_accuracy=trial.validation_accuracy,
        )
        for trial in result.trials
    )


@contextlib.contextmanager
def _empty_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield Path(name)


# All of it


class SavedSession:
    """A session that is written to its JSON file after each measurement."""

    def __init__(self, session: CostSession, file: Path) -> None:
        self.session = session
        self._file = file

    def pair(self, pair: Pair) -> None:
        """Add a pair of identical trials."""
        self._save(self.session.model_copy(update={"pairs": (*self.session.pairs, pair)}))
        print(f"ours {pair.ours.seconds:.1f} s, theirs {pair.theirs.seconds:.1f} s: "
              f"{pair.ratio:.2f}", flush=True)  # fmt: skip

    def search(self, search: Search) -> None:
        """Add a complete search."""
        self._save(self.session.model_copy(update={"searches": (*self.session.searches, search)}))
        print(f"{search.side}: {len(search.trials)} trials, {search.pruned} of them pruned, in "
              f"{search.seconds:.1f} s", flush=True)  # fmt: skip

    def _save(self, session: CostSession) -> None:
        self.session = session
        text = session.model_dump_json(indent=1) + "\n"
        self._file.write_text(text, encoding="utf-8", newline="\n")


def measure(options: argparse.Namespace) -> None:
    """Measure, and write the JSON file."""
    source = mnist.find(options.dataset, options.data, log=print)
    space = read_space(options.steps)
    session = CostSession(
        command=_command(options),
        date=datetime.now(UTC).date().isoformat(),
        hardware=hardware.describe(),
        versions=hardware.versions(
            "tensorflow", "keras", "optuna", "mlflow", "numpy", "mnist-bench"
        ),
        dataset=source.name,
        validation_images=source.validation_images,
        threads=system.usable_threads(),
        steps=options.steps,
        scorings=LEAST_GRID_POINTS,
        settings=SETTINGS,
    )
    saved = SavedSession(session, options.out.resolve() / f"{options.what}.json")
    if options.what == "trials":
        measure_pairs(space, source, options.pairs, saved.pair)
        return
    for order in turns(options.rounds):
        for side in order:
            saved.search(measure_search(side, space, source, options))


def measured_in(folder: Path) -> list[CostSession]:
    """Measured sessions of a folder, trials first."""
    files = [folder / f"{what}.json" for what in _MEASURED]
    texts = [file.read_text(encoding="utf-8") for file in files if file.exists()]
    return list(map(CostSession.model_validate_json, texts))


def _command(options: argparse.Namespace) -> str:
    """Command line without local paths."""
    words = [f"python benchmarks/tuning/search_cost.py --what {options.what}"]
    words += ["--data DIR"] if options.data else []
    words += [f"--dataset {options.dataset}"] if options.dataset != "auto" else []
    if options.what == "trials":
        words += [f"--pairs {options.pairs}"]
    else:
        words += [f"--rounds {options.rounds} --trials {options.trials}"]
        words += [f"--their-trials {options.their_trials}"] if options.their_trials else []
    words += [f"--steps {options.steps}"] if options.steps != _STEPS else []
    return " ".join(words)


def _steps(text: str) -> int:
    steps = int(text)
    if steps < LEAST_GRID_POINTS or steps % LEAST_GRID_POINTS:
        raise argparse.ArgumentTypeError(f"{text} is not a multiple of {LEAST_GRID_POINTS}")
    return steps


def main() -> None:
    """Measure, or read earlier measurements; write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--what", choices=[*_MEASURED, "page"], required=True,
                        help="identical trials, complete searches, or the page")  # fmt: skip
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument("--dataset", choices=DATASET_CHOICES, default="auto", help="images (auto)")
    parser.add_argument("--steps", type=_steps, default=_STEPS, help="of a trial (5000)")
    parser.add_argument("--pairs", type=int, default=10, help="identical trials (10)")
    parser.add_argument("--rounds", type=int, default=1, help="searches on each side (1)")
    parser.add_argument("--trials", type=int, default=30, help="of a search (30)")
    parser.add_argument("--their-trials", type=int, metavar="N",
                        help="the loop's search ends after N: none is pruned there, so that its "
                        "trials an hour hardly change with their number")  # fmt: skip
    parser.add_argument("--out", type=Path, default=FOLDER, help="output folder")
    options = parser.parse_args()
    if options.what != "page":
        measure(options)
    text = page(measured_in(options.out))
    (options.out / "README.md").write_text(text, encoding="utf-8", newline="\n")
    print(text)


if __name__ == "__main__":
    main()
