"""Studies by `mnist-bench tune` in a folder of their own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import common

from mnist_bench.tuning.document import StudyDocument
from mnist_bench.tuning.space import Value
from mnist_bench.tuning.storage import JOURNAL

_STUDY = "benchmark"
_UNPRUNED = """
import optuna
from mnist_bench.tuning import study
study.pruner_of = lambda goal: optuna.pruners.NopPruner()
"""


def tune(
    folder: Path, space: Path, trials: int, *, data: Path | None, dataset: str,
    prunes: bool = True, resumes: bool = False,
) -> StudyDocument:  # fmt: skip
    """Start or resume the folder's study until it has some number of trials; no test image."""
    arguments = ("--space", str(space.resolve()), "--trials", str(trials), "--confirm", "0")
    document = common.suite(
        *(folder, "tune", *arguments, "--dataset", dataset, "--study", _STUDY, "--json"),
        *(["--resume"] if resumes else []),
        images=data,
        code="" if prunes else _UNPRUNED,
    )
    return StudyDocument.model_validate_json(json.dumps(document))


def enqueue(folder: Path, chosen: Mapping[str, Value]) -> None:
    """Let the folder's study train a configuration before those that its sampler suggests."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    optuna.load_study(study_name=_STUDY, storage=storage).enqueue_trial(dict(chosen))
