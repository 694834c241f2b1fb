"""The shipped winners, `sprint` and `accurate`, compared with the paper's training on new seeds.

    python benchmarks/winners/winners.py --data DIR

They alternate, so that a slow hour of the machine affects all. Writes `winners.json` after each
training, and `README.md`; `--resume` continues that JSON, `--from FILE` makes the page from one.
`--keep DIR` writes MLflow's database there, for `mnist-bench report`. For sprint alone,
`--only paper-to-target,sprint` takes a third less time: the paper's trainings then stop when they
first reach the best of Table I on test.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "peers"))

import hardware
from proven import TARGET, Name, Trained, Winners, page

from mnist_bench.tracking.mlflow_store import MlflowStore

FOLDER = Path(__file__).resolve().parent
_SCENARIOS: Mapping[Name, str] = {
    "paper": "table-1",
    "paper-to-target": str(FOLDER / "paper.toml"),
    "sprint": "sprint",
    "accurate": "accurate",
}
"""Arguments of `mnist-bench run`."""
_TO_TARGET: Name = "paper-to-target"
"""Stopped when it reaches the target."""
_ALL: list[Name] = ["paper", "sprint", "accurate"]
_FIRST_SEED = 5_000_000
"""Larger than the seeds of trials and confirmations."""
_SPOOLS = Path("mlruns", ".runs")
"""Folder of the spools in a working folder."""
_POLL_SECONDS = 2.0


def order(seeds: Mapping[Name, int], first_seed: int) -> Iterator[tuple[Name, int]]:
    """Configurations and seeds in turn; more numerous ones are spread over all rounds."""
    rounds = min(seeds.values())
    for index in range(rounds):
        for name, count in seeds.items():
            begin, end = (count * i // rounds for i in (index, index + 1))
            for seed in range(begin, end):
                yield name, first_seed + seed


def trained(name: Name, seed: int, images: Path | None, folder: Path) -> Trained:
    """Run one training with the suite's command.

    Args:
        name: Of the configuration.
        seed: Of the training.
        images: Folder with MNIST's files; None for the default.
        folder: Working folder, possibly with earlier trainings.
    """
    arguments = [_SCENARIOS[name], "--seeds", "1", "--first-seed", str(seed), "--no-report"]
    arguments += ["--data", str(images.resolve())] if images else []
    uri = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
    removed = ("MNIST_BENCH_DATA",) if images else ()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "mnist_bench", "run", *arguments, "--json"],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key not in removed}
        | {"MLFLOW_TRACKING_URI": uri},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    was_stopped = name == _TO_TARGET and _stopped_at_target(process, folder / _SPOOLS)
    output, _ = process.communicate()
    if process.returncode and not was_stopped:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    run = json.loads(output)["runs"][-1]  # the longest of its training
    result = MlflowStore(uri, "mnist-bench").load(run["run_id"])
    if result is None:
        raise LookupError(f"MLflow has no result.json of the run {run['run_id']}")
    last = result.evaluations[-1]
    return Trained(
        name=name,
        seed=seed,
        steps=last.step,
        is_whole=result.status == "finished",
        final_test_accuracy=last.test_accuracy or 0.0,
        max_test_accuracy=run["max_test_accuracy"],
        train_seconds=run["train_seconds_total"],
        seconds_to_target=result.seconds_to_accuracy("test", TARGET),
        peak_rss_bytes=run["peak_rss_bytes"],
        verdict=run["verdict"],
    )


def _stopped_at_target(process: subprocess.Popen[bytes], spools: Path) -> bool:
    """Stop a command once its spool has an evaluation at the target; False if it ends first."""
    while process.poll() is None:
        if any(map(_reaches_target, _messages(spools))):
            process.terminate()
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _messages(spools: Path) -> Iterator[dict[str, Any]]:
    """Messages of the worker so far, from complete lines."""
    for path in spools.glob("*.jsonl"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            yield json.loads(line).get("message") or {}


def _reaches_target(message: dict[str, Any]) -> bool:
    scoring = message.get("evaluation") or {}
    return (scoring.get("test_accuracy") or 0.0) >= TARGET


def initial_session(options: argparse.Namespace) -> Winners:
    """The session to resume, or an empty one."""
    if options.resume:
        text = (options.out / "winners.json").read_text(encoding="utf-8")
        earlier = Winners.model_validate_json(text)
        if earlier.hardware != hardware.describe():
            raise SystemExit(f"winners.json is from another machine: {earlier.hardware.name}")
        commands = dict.fromkeys((*earlier.commands, _command(options)))
        return earlier.model_copy(update={"commands": tuple(commands)})
    return Winners(
        commands=(_command(options),),
        date=datetime.now(UTC).date().isoformat(),
        hardware=hardware.describe(),
        versions=hardware.versions("tensorflow", "numpy", "mlflow", "mnist-bench"),
        trainings=(),
    )


def measure(options: argparse.Namespace) -> Winners:
    """Run the missing trainings; write after each."""
    winners = initial_session(options)
    done = {(training.name, training.seed) for training in winners.trainings}
    with _folder(options.keep) as folder:
        for name, seed in order(_seeds(options), options.first_seed):
            if (name, seed) in done:
                continue
            training = trained(name, seed, options.data, folder)
            trainings = (*winners.trainings, training)
            winners = winners.model_copy(update={"trainings": trainings})
            text = winners.model_dump_json(indent=1) + "\n"
            (options.out / "winners.json").write_text(text, encoding="utf-8", newline="\n")
            print(training.in_words, flush=True)
    return winners


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Folder of the recorded trainings: the given one, or a temporary one."""
    if keep is None:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
    else:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()


def _seeds(options: argparse.Namespace) -> dict[Name, int]:
    counts: dict[Name, int] = {
        "paper": options.paper_seeds,
        "paper-to-target": options.paper_seeds,
        "sprint": options.sprint_seeds,
        "accurate": options.accurate_seeds,
    }
    return {name: counts[name] for name in options.only}


def _command(options: argparse.Namespace) -> str:
    """Command line without local paths."""
    words = ["python benchmarks/winners/winners.py"]
    words += ["--data DIR"] if options.data else []
    words += [f"--only {','.join(options.only)}"] if options.only != _ALL else []
    counts = {name.removesuffix("-to-target"): n for name, n in _seeds(options).items()}
    words += [f"--{name}-seeds {count}" for name, count in counts.items()]
    words += [f"--first-seed {options.first_seed}"] if options.first_seed != _FIRST_SEED else []
    return " ".join(words)


def main() -> None:
    """Measure, or read earlier measurements; write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument(
        "--paper-seeds", type=int, default=10, help="seeds of the paper's configuration (10)"
    )
    parser.add_argument("--sprint-seeds", type=int, default=20, help="seeds of sprint (20)")
    parser.add_argument("--accurate-seeds", type=int, default=10, help="seeds of accurate (10)")
    parser.add_argument("--first-seed", type=int, default=_FIRST_SEED, help="first seed of each")
    parser.add_argument("--only", type=lambda text: text.split(","), default=_ALL,
                        help=f"some of {', '.join(_SCENARIOS)}")  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="continue winners.json")
    parser.add_argument("--from", dest="file", type=Path, metavar="FILE",
                        help="make the page from this JSON without measuring")  # fmt: skip
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="write MLflow's database to this folder"
    )
    parser.add_argument("--out", type=Path, default=FOLDER, help="output folder")
    options = parser.parse_args()
    if options.file:
        winners = Winners.model_validate_json(options.file.read_text(encoding="utf-8"))
    else:
        winners = measure(options)
    (options.out / "README.md").write_text(page(winners), encoding="utf-8", newline="\n")
    print(page(winners))


if __name__ == "__main__":
    main()
