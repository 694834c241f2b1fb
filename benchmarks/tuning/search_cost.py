"""Cost of a search: `mnist-bench tune` compared with an Optuna loop over Keras `fit`.

    python benchmarks/tuning/search_cost.py --what trials --data DIR
    python benchmarks/tuning/search_cost.py --what searches --data DIR

Measures the same trials on both sides in turn, or complete searches. Writes `trials.json` or
`searches.json` after each of them, and `README.md` from both files; `--what page` only makes that.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import optuna
import pandas as pd
import tomli_w

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "peers")])

import common
from common import Document
from keras_search import PROGRAM, KerasTask, trained
from suite_study import enqueue, tune

from mnist_bench.core import formatting
from mnist_bench.core.limits import DATASET_CHOICES
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import system
from mnist_bench.tuning import space as spaces
from mnist_bench.tuning.document import StudyDocument
from mnist_bench.tuning.space import LEAST_GRID_POINTS, Space, Value
from mnist_bench.tuning.study import suggested

FOLDER = Path(__file__).parent
_MEASURED = ("trials", "searches")
"""Each has its own JSON file, since they take hours and are measured separately."""
_TITLES = {"ours": "`mnist-bench tune`", "theirs": "the loop over Keras `fit`"}


def read_space(steps: int) -> Space:
    """This folder's search space with another step count and as many evaluations."""
    grid = {"steps": steps, "eval_every": steps // LEAST_GRID_POINTS}
    return spaces.read(FOLDER / "space.toml").model_copy(update=grid)


def configurations_of(space: Space, count: int) -> list[dict[str, Value]]:
    """The paper's configuration and reproducible random ones from the space."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(count - 1)]
    return [space.paper_values()] + [
        {name: suggested(trial, name, of) for name, of in space.parameters.items()}
        for trial in trials
    ]


def measure(options: argparse.Namespace) -> None:
    """Measure trials or searches; write the JSON file after each."""
    source = mnist.find(options.dataset, options.data, log=print)
    space = read_space(options.steps)
    document = common.session(
        *("tensorflow", "keras", "optuna", "mlflow", "numpy", "mnist-bench"),
        dataset=source.name,
        threads=system.usable_threads(),
        steps=options.steps,
        pairs=[],
        searches=[],
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        file = Path(name) / "space.toml"
        text = tomli_w.dumps(space.model_dump(mode="json", exclude_defaults=True))
        file.write_text(text, encoding="utf-8")
        key = {"trials": "pairs", "searches": "searches"}[options.what]
        for each in {"pairs": _pairs, "searches": _searches}[key](file, space, source, options):
            document[key].append(each)
            common.save(options.out / f"{options.what}.json", document)
            print(f"{key}: {len(document[key])} done", flush=True)


def _pairs(
    file: Path, space: Space, source: Source, options: argparse.Namespace
) -> Iterator[Document]:
    """The same trials on both sides, in alternating order."""
    for index, chosen in enumerate(configurations_of(space, options.repeats)):
        sides = ("ours", "theirs", "ours")[index % 2 :][:2]
        pair: Document = {"chosen": chosen, "first": sides[0]}
        for side in sides:
            if side == "theirs":
                task = KerasTask(source=source, space=space, chosen=chosen, seed=index)
                pair[side] = trained(task) | {"verdict": None}
                continue
            if index:  # a new study begins with the paper's
                enqueue(file.parent, chosen)
            study = tune(file.parent, file, index + 1, data=options.data, dataset=options.dataset,
                         prunes=False, resumes=bool(index))  # fmt: skip
            trial = study.trials[-1]
            if trial.chosen != chosen or trial.state != "finished":
                raise RuntimeError(f"not trained as requested: {trial}")
            pair[side] = {"seconds": trial.seconds, "validation_accuracy": trial.values[0],
                          "verdict": trial.verdict}  # fmt: skip
        yield pair


def _searches(
    file: Path, space: Space, source: Source, options: argparse.Namespace
) -> Iterator[Document]:
    """Complete searches, each in a new process."""
    for turn, side in common.in_turn(("ours", "theirs"), options.repeats):
        begin = time.perf_counter()
        if side == "ours":
            own = file.parent / str(turn)
            own.mkdir()
            count, data = options.trials, options.data
            trials = searched(tune(own, file, count, data=data, dataset=options.dataset))
        else:
            count = options.their_trials or options.trials
            task = KerasTask(source=source, space=space, trials=count)
            trials = common.answer(PROGRAM, task.model_dump_json(), "loop")
        yield {"side": side, "seconds": time.perf_counter() - begin, "trials": trials}


def searched(study: StudyDocument) -> list[Document]:
    """Trials of a study by the suite whose objective is accuracy."""
    return [
        {
            "share_of_steps": 1.0 if each.state == "finished" else max(each.curve, default=0) / 100,
            "seconds": each.seconds,
            "validation_accuracy": each.values[0] if each.state == "finished" else None,
        }
        for each in study.trials
        if each.counts
    ]


def page(documents: Sequence[Document]) -> str:
    """Tables in Markdown of `trials.json`, of `searches.json`, or of both."""
    return common.blocks(
        *(part for each in documents if each["pairs"] for part in _pairs_section(each)),
        *(part for each in documents if each["searches"] for part in _searches_section(each)),
    )


def _origin(document: Document) -> str:
    threads = formatting.threads(document["threads"])
    steps = f"{document['steps']:,} steps"
    return f"{common.origin(document)}\nImages: {document['dataset']}, {steps}, {threads}."


def _pairs_section(document: Document) -> Iterator[str]:
    pairs = document["pairs"]
    names = [name.replace("_", " ") for name in pairs[0]["chosen"]]
    ratios = [pair["theirs"]["seconds"] / pair["ours"]["seconds"] for pair in pairs]
    yield "## The same trials"
    yield _origin(document)
    yield common.table(
        (*names, "ours, s", "theirs, s", "theirs by ours", "validation accuracy, ours", "theirs"),
        [
            (
                *(f"{value:.4g}" for value in pair["chosen"].values()),
                *(f"{pair[side]['seconds']:.1f}" for side in _TITLES),
                f"{ratio:.2f}",
                *(formatting.accuracy(pair[side]["validation_accuracy"]) for side in _TITLES),
            )
            for pair, ratio in zip(pairs, ratios, strict=True)
        ],
        left=(),
    )  # fmt: skip
    unclean = sum(pair["ours"]["verdict"] != "clean" for pair in pairs)
    yield (
        f"Theirs by ours: {_ratio(ratios)}, from {min(ratios):.2f} to {max(ratios):.2f}. Not clean "
        f"by the suite's own verdict: {unclean} of our {len(pairs)} trials."
    )


def _searches_section(document: Document) -> Iterator[str]:
    searches = document["searches"]
    yield "## Trials an hour"
    yield _origin(document)
    yield common.table(
        ("search by", "trials", "of them pruned", "share of all steps that were done",
         "seconds of a trial, median (and smallest to largest)", "seconds in all",
         "trials an hour", "best validation accuracy"),
        map(_search_row, searches),
    )  # fmt: skip
    rates = {
        side: [len(each["trials"]) / each["seconds"] for each in searches if each["side"] == side]
        for side in _TITLES
    }
    ratios = [ours / theirs for ours, theirs in zip(*rates.values(), strict=False)]
    yield f"Ours by theirs: {_ratio(ratios)}." * bool(ratios)


def _search_row(search: Document) -> tuple[str, ...]:
    trials = pd.DataFrame(search["trials"])
    accuracy = trials["validation_accuracy"]
    return (
        *(_TITLES[search["side"]], str(len(trials)), str(accuracy.isna().sum())),
        *(f"{trials['share_of_steps'].mean():.0%}", common.spread(trials["seconds"], ".1f")),
        *(f"{search['seconds']:,.0f}", f"{3_600 * len(trials) / search['seconds']:.1f}"),
        formatting.accuracy(accuracy.max()),
    )


def _ratio(ratios: Sequence[float]) -> str:
    found = common.ratio_of(ratios)
    if found is None:
        return "unknown"
    interval = f"95% interval of the mean {common.interval(found)} (Student's, on the logarithms)"
    return f"median {found.value:.2f}, {interval}, n = {found.n}"


def documents_in(folder: Path) -> list[Document]:
    """What was measured in a folder, trials first."""
    files = [folder / f"{what}.json" for what in _MEASURED]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]


if __name__ == "__main__":
    parser = common.parser(
        __doc__,
        repeats=(1, "identical trials, or searches on each side"),
        steps=(5_000, f"of a trial, a multiple of {LEAST_GRID_POINTS}"),
        trials=(30, "of a search"),
        their_trials=(0, "of the loop's; none is pruned there, so that fewer tell its rate"),
    )
    parser.add_argument("--what", choices=[*_MEASURED, "page"], required=True)
    parser.add_argument("--dataset", choices=DATASET_CHOICES, default="auto")
    given = parser.parse_args()
    if given.steps < 1 or given.steps % LEAST_GRID_POINTS:
        parser.error(f"--steps must be a multiple of {LEAST_GRID_POINTS}")
    if given.what != "page":
        measure(given)
    common.write_page(given.out / "README.md", page(documents_in(given.out)))
