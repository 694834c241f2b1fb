"""Configurations: runs of one scenario that were trained in the same way, and what each changed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from mnist_bench.analysis.grouping import task_of
from mnist_bench.core.errors import BenchError
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios.scenario import packaged_folder, packaged_names, read

_EXECUTION = {"precision": "float32", "device": "cpu", "environment": "plain environment"}
"""Execution settings of a run without options."""


@dataclass(frozen=True)
class Configuration:
    """The runs of a scenario with the same task, images, precision, kind of device and environment.

    Attributes:
        changes: What differs from the scenario, by name.
        runs: Oldest first; of any step count, number of threads and status.
    """

    scenario: str
    changes: Mapping[str, str]
    runs: tuple[RunSummary, ...]

    @property
    def changes_in_words(self) -> str | None:
        """What differs from the scenario: `learning_rate 0.003, bfloat16`; None if nothing does."""
        return in_words(self.changes) or None

    @property
    def name(self) -> str:
        """The scenario, and what differs from it: `table-1 with learning_rate 0.003`."""
        return " with ".join(filter(None, (self.scenario, self.changes_in_words)))


def configurations(runs: Sequence[RunSummary]) -> list[Configuration]:
    """The configurations of all scenarios, those with the newest runs first.

    Args:
        runs: Oldest first.
    """
    bases = base_settings(runs)
    found: dict[Hashable, list[RunSummary]] = {_key(run): [] for run in reversed(runs)}
    for run in runs:
        found[_key(run)].append(run)
    return [
        Configuration(each[0].scenario, changes(each[0], bases[each[0].scenario]), tuple(each))
        for each in found.values()
    ]


def base_settings(runs: Sequence[RunSummary]) -> dict[str, Mapping[str, str]]:
    """Settings by scenario: of the packaged scenario, or of the first run of a user's own file.

    Args:
        runs: Oldest first.
    """
    bases: dict[str, Mapping[str, str]] = {}
    for run in runs:
        if run.scenario not in bases:
            bases[run.scenario] = _packaged_settings(run.scenario) or settings_of(run)
    return bases


def settings_of(run: RunSummary) -> dict[str, str]:
    """What makes a run's configuration, by name."""
    settings = {
        "model": run.model,
        **{name: str(value) for name, value in run.hyperparameters},
        "dataset": run.dataset[: len("custom:") + 8],
        "precision": run.precision,
        "device": run.device,
        "environment": run.environment or _EXECUTION["environment"],
    }
    if run.eval_first is not None and run.eval_every is not None:
        settings |= {"eval_first": str(run.eval_first), "eval_every": str(run.eval_every)}
    return settings


def changes(run: RunSummary, base: Mapping[str, str]) -> dict[str, str]:
    """Settings of a run that differ from a scenario's, by name; those that one lacks don't."""
    return {
        name: value for name, value in settings_of(run).items() if base.get(name, value) != value
    }


def in_words(changed: Mapping[str, str]) -> str:
    """Changes as `learning_rate 0.003, bfloat16`: a precision, device or data set needs no name."""
    unnamed = {"precision", "dataset", "device", "model", "environment"}
    return ", ".join(
        value if name in unnamed else f"{name} {value}" for name, value in changed.items()
    )


@cache
def _packaged_settings(name: str) -> Mapping[str, str] | None:
    """Settings of a packaged scenario; None for other names, and for files that can't be read."""
    if name not in packaged_names():
        return None
    try:
        scenario = read(packaged_folder() / f"{name}.toml")
    except BenchError:
        return None
    return {
        "model": scenario.model,
        **{name: str(value) for name, value in scenario.hyperparameters},
        "dataset": "mnist" if scenario.dataset == "auto" else scenario.dataset,
        "eval_first": str(scenario.grid.first),
        "eval_every": str(scenario.grid.every),
        **_EXECUTION,
    }


def _key(run: RunSummary) -> Hashable:
    execution = run.precision, run.device, run.environment
    return run.scenario, task_of(run), run.dataset_digest, *execution
