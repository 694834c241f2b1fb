"""The shipped winners, `sprint` and `accurate`, proven on fresh seeds beside the paper's training.

    python benchmarks/winners/winners.py --data DIR

All take turns, so that a slower hour of the machine slows each alike. Writes `winners.json`, anew
after each training, and `README.md`; `--resume` goes on with what is in that JSON, `--from FILE`
makes the page again from such a one. `--keep DIR` leaves MLflow's database there, for
`mnist-bench report`. Where only the sprint is in question, `--only paper-to-target,sprint` is a
third quicker: the paper's trainings then end where they first reach the best of Table I on test.
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
"""What `mnist-bench run` is told."""
_TO_TARGET: Name = "paper-to-target"
"""Is ended where it reaches the target."""
_ALL: list[Name] = ["paper", "sprint", "accurate"]
_FIRST_SEED = 5_000_000
"""Neither trials nor looks at the test split get so far."""
_JOURNALS = Path("mlruns", ".runs")
"""Where the suite keeps what a training process says, until MLflow has it."""
_LOOK_SECONDS = 2.0


def order(seeds: Mapping[Name, int], first_seed: int) -> Iterator[tuple[Name, int]]:
    """Who trains from which seed, by turns: the more numerous ones spread over all rounds."""
    rounds = min(seeds.values())
    for index in range(rounds):
        for name, count in seeds.items():
            begin, end = (count * i // rounds for i in (index, index + 1))
            for seed in range(begin, end):
                yield name, first_seed + seed


def trained(name: Name, seed: int, images: Path | None, folder: Path) -> Trained:
    """One training by the suite's own command.

    Args:
        name: Of what is trained.
        seed: Of the training.
        images: Folder with MNIST's files; None for what can be had.
        folder: Empty, or with what earlier trainings left.
    """
    arguments = [_SCENARIOS[name], "--seeds", "1", "--first-seed", str(seed), "--no-report"]
    arguments += ["--data", str(images.resolve())] if images else []
    uri = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
    own = ("MNIST_BENCH_DATA",) if images else ()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "mnist_bench", "run", *arguments, "--json"],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key not in own}
        | {"MLFLOW_TRACKING_URI": uri},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    was_ended = name == _TO_TARGET and _ended_at_target(process, folder / _JOURNALS)
    told, _ = process.communicate()
    if process.returncode and not was_ended:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    run = json.loads(told)["runs"][-1]  # the longest of its training
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


def _ended_at_target(process: subprocess.Popen[bytes], journals: Path) -> bool:
    """End a command once its journal has a scoring of the target; False where it came to none."""
    while process.poll() is None:
        if any(map(_reaches_target, _said(journals))):
            process.terminate()
            return True
        time.sleep(_LOOK_SECONDS)
    return False


def _said(journals: Path) -> Iterator[dict[str, Any]]:
    """What the training process has said so far, line by whole line."""
    for path in journals.glob("*.jsonl"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            yield json.loads(line).get("message") or {}


def _reaches_target(message: dict[str, Any]) -> bool:
    scoring = message.get("evaluation") or {}
    return (scoring.get("test_accuracy") or 0.0) >= TARGET


def begun(options: argparse.Namespace) -> Winners:
    """What there is to go on with; else nothing yet."""
    if options.resume:
        text = (options.out / "winners.json").read_text(encoding="utf-8")
        known = Winners.model_validate_json(text)
        if known.hardware != hardware.describe():
            raise SystemExit(f"winners.json was begun on another machine: {known.hardware.name}")
        commands = dict.fromkeys((*known.commands, _command(options)))
        return known.model_copy(update={"commands": tuple(commands)})
    return Winners(
        commands=(_command(options),),
        date=datetime.now(UTC).date().isoformat(),
        hardware=hardware.describe(),
        versions=hardware.versions("tensorflow", "numpy", "mlflow", "mnist-bench"),
        trainings=(),
    )


def measure(options: argparse.Namespace) -> Winners:
    """All trainings that are not there yet; kept after each."""
    winners = begun(options)
    done = {(training.name, training.seed) for training in winners.trainings}
    with _folder(options.keep) as folder:
        for who, seed in order(_seeds(options), options.first_seed):
            if (who, seed) in done:
                continue
            training = trained(who, seed, options.data, folder)
            trainings = (*winners.trainings, training)
            winners = winners.model_copy(update={"trainings": trainings})
            text = winners.model_dump_json(indent=1) + "\n"
            (options.out / "winners.json").write_text(text, encoding="utf-8", newline="\n")
            print(training.in_words, flush=True)
    return winners


@contextlib.contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    """Where the trainings are recorded: the user's, or one that is gone afterwards."""
    if kept is None:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
    else:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()


def _seeds(options: argparse.Namespace) -> dict[Name, int]:
    counts: dict[Name, int] = {
        "paper": options.paper_seeds,
        "paper-to-target": options.paper_seeds,
        "sprint": options.sprint_seeds,
        "accurate": options.accurate_seeds,
    }
    return {name: counts[name] for name in options.only}


def _command(options: argparse.Namespace) -> str:
    """What to type for this; no folder of anybody's in it."""
    words = ["python benchmarks/winners/winners.py"]
    words += ["--data DIR"] if options.data else []
    words += [f"--only {','.join(options.only)}"] if options.only != _ALL else []
    counts = {name.removesuffix("-to-target"): n for name, n in _seeds(options).items()}
    words += [f"--{name}-seeds {count}" for name, count in counts.items()]
    words += [f"--first-seed {options.first_seed}"] if options.first_seed != _FIRST_SEED else []
    return " ".join(words)


def main() -> None:
    """Measure, or read what was measured; write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument("--paper-seeds", type=int, default=10, help="of the paper's (10)")
    parser.add_argument("--sprint-seeds", type=int, default=20, help="of sprint (20)")
    parser.add_argument("--accurate-seeds", type=int, default=10, help="of accurate (10)")
    parser.add_argument("--first-seed", type=int, default=_FIRST_SEED, help="of each")
    parser.add_argument("--only", type=lambda text: text.split(","), default=_ALL,
                        help=f"some of {', '.join(_SCENARIOS)}")  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on with winners.json")
    parser.add_argument("--from", dest="file", type=Path, metavar="FILE",
                        help="make the page from this JSON, measure nothing")  # fmt: skip
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave MLflow's database there")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for both files")
    options = parser.parse_args()
    if options.file:
        winners = Winners.model_validate_json(options.file.read_text(encoding="utf-8"))
    else:
        winners = measure(options)
    (options.out / "README.md").write_text(page(winners), encoding="utf-8", newline="\n")
    print(page(winners))


if __name__ == "__main__":
    main()
