"""The shipped winners, `sprint` and `accurate`, proven on fresh seeds beside the paper's training.

    python benchmarks/winners/winners.py --data DIR

All take turns, so that a slower hour of the machine slows each alike. Writes `winners.json`, anew
after each training, and `README.md`; `--resume` goes on with what is in that JSON, `--from FILE`
makes the page again from such a one. `--until-target` ends the paper's trainings where they first
reach the best of Table I on test: a third quicker, where nothing else is asked of them.
"""

from __future__ import annotations

import argparse
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

from mnist_bench.store import Store

FOLDER = Path(__file__).resolve().parent
_SCENARIOS: Mapping[Name, tuple[str, ...]] = {
    "paper": ("table-1", "--steps", "10000"),
    "sprint": ("sprint",),
    "accurate": ("accurate",),
}
"""What `mnist-bench run` is told."""
_UNTIL_TARGET = FOLDER / "paper.toml"
"""The same for a paper's training that is ended where it reaches the target."""
_FIRST_SEED = 5_000_000
"""Neither trials nor looks at the test split get so far."""
_JOURNALS = Path("mlruns", ".runs")
"""Where the suite keeps what a training process says, until MLflow has it."""
_LOOK_SECONDS = 2.0


def order(seeds: int, sprint_seeds: int, only: list[Name]) -> Iterator[tuple[Name, int]]:
    """Who trains from which seed, by turns: the sprint's more numerous ones spread over all."""
    for index in range(seeds):
        first, end = (sprint_seeds * i // seeds for i in (index, index + 1))
        turn: dict[Name, range] = {
            "paper": range(index, index + 1),
            "sprint": range(first, end),
            "accurate": range(index, index + 1),
        }
        for name in only:
            for seed in turn[name]:
                yield name, _FIRST_SEED + seed


def trained(
    name: Name, seed: int, images: Path | None, folder: Path, *, until_target: bool
) -> Trained:
    """One training by the suite's own command.

    Args:
        name: Of what is trained.
        seed: Of the training.
        images: Folder with MNIST's files; None for what can be had.
        folder: Empty, or with what earlier trainings left.
        until_target: Whether it is ended at its first scoring of `TARGET` on test.
    """
    scenario = (str(_UNTIL_TARGET),) if until_target else _SCENARIOS[name]
    arguments = [*scenario, "--seeds", "1", "--first-seed", str(seed), "--no-report"]
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
    was_ended = until_target and _ended_at_target(process, folder / _JOURNALS)
    told, _ = process.communicate()
    if process.returncode and not was_ended:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    (run,) = json.loads(told)["runs"]
    result = Store(uri, "mnist-bench").load(run["run_id"])
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
        return known
    return Winners(
        command=_command(options),
        date=datetime.now(UTC).date().isoformat(),
        hardware=hardware.describe(),
        versions=hardware.versions("tensorflow", "numpy", "mlflow", "mnist-bench"),
        trainings=(),
    )


def measure(options: argparse.Namespace) -> Winners:
    """All trainings that are not there yet; kept after each."""
    winners = begun(options)
    done = {(training.name, training.seed) for training in winners.trainings}
    with tempfile.TemporaryDirectory() as name:
        for who, seed in order(options.seeds, options.sprint_seeds, options.only):
            if (who, seed) in done:
                continue
            until = options.until_target and who == "paper"
            training = trained(who, seed, options.data, Path(name), until_target=until)
            trainings = (*winners.trainings, training)
            winners = winners.model_copy(update={"trainings": trainings})
            text = winners.model_dump_json(indent=1) + "\n"
            (options.out / "winners.json").write_text(text, encoding="utf-8", newline="\n")
            print(training.in_words, flush=True)
    return winners


def _command(options: argparse.Namespace) -> str:
    """What to type for this; no folder of anybody's in it."""
    words = ["python benchmarks/winners/winners.py"]
    words += ["--data DIR"] if options.data else []
    words += [f"--seeds {options.seeds} --sprint-seeds {options.sprint_seeds}"]
    words += [f"--only {','.join(options.only)}"] if options.only != list(_SCENARIOS) else []
    words += ["--until-target"] if options.until_target else []
    return " ".join(words)


def main() -> None:
    """Measure, or read what was measured; write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument("--seeds", type=int, default=10, help="of the paper's and accurate (10)")
    parser.add_argument("--sprint-seeds", type=int, default=20, help="of sprint (20)")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(_SCENARIOS),
                        help=f"some of {', '.join(_SCENARIOS)}")  # fmt: skip
    parser.add_argument("--until-target", action="store_true",
                        help="end the paper's trainings where they first reach it")  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on with winners.json")
    parser.add_argument("--from", dest="file", type=Path, metavar="FILE",
                        help="make the page from this JSON, measure nothing")  # fmt: skip
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
