"""What `mnist-bench run claims` needs here: recorded already, or left, and what it takes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from rich.console import Console

from mnist_bench.claims import experiments
from mnist_bench.claims.parts import TABLE_1, ClaimInput, fitting, inputs_of
from mnist_bench.core import formatting
from mnist_bench.core.errors import BenchError
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import system
from mnist_bench.measurement.machine import id_file, machine_id
from mnist_bench.results.protocol import ExperimentRequest
from mnist_bench.runner import options, run
from mnist_bench.runner.options import RunOptions
from mnist_bench.runner.plan import TrainingPlan
from mnist_bench.scenarios import paper
from mnist_bench.tracking import layer_maps, uri
from mnist_bench.tracking.mlflow_reader import MlflowReader, existing_store


@dataclass(frozen=True)
class ClaimOptions:
    """What the user asked for.

    Attributes:
        claims: Their numbers.
        budget_seconds: Of wall-clock time for all parts.
        price: Of a kilowatt-hour; None where none was given.
        reports: Whether files are written.
        wish: Everything else, its scenarios and seeds left out.
    """

    claims: tuple[int, ...]
    budget_seconds: float
    price: float | None
    reports: bool
    wish: RunOptions


@dataclass(frozen=True)
class PlannedInput:
    """A part with what it will take.

    Attributes:
        part: Itself.
        is_recorded: Whether all of it is there already.
        wish: Of its trainings; None of a part that has none.
        plans: What of them is left.
        question: What is measured by itself; None of a part that does not.
        fits: Whether the budget has room for it.
        is_spare: Whether it is wanted only if that which it stands in for is left out after all.
    """

    part: ClaimInput
    is_recorded: bool
    wish: RunOptions | None = None
    plans: tuple[TrainingPlan, ...] = ()
    question: ExperimentRequest | None = None
    fits: bool = True
    is_spare: bool = False

    @property
    def known_seconds(self) -> float | None:
        """What it takes, as measured here before; None where nothing like it was."""
        return options.expected_seconds(self.plans, self.wish) if self.wish else None

    @property
    def seconds(self) -> float:
        """What it takes, as far as can be told by now; 0 where it is recorded."""
        if self.is_recorded:
            return 0.0
        known = self.known_seconds
        return self.part.usual_seconds if known is None else known


def plan_inputs(
    question: ClaimOptions, console: Console
) -> tuple[tuple[PlannedInput, ...], Source | None]:
    """Every part with what it will take, and the images; None where no part needs any.

    Raises:
        BenchError: Something of the question can't be; nothing was started or written.
    """
    wish = question.wish
    if machine_id() is None:
        raise BenchError(
            f"{id_file()} can't be kept, and without this machine's id nobody can tell what was "
            "measured here from what was measured elsewhere",
            "make its folder writable",
        )
    uri.check(wish.tracking_uri, wish.experiment)
    wanted = inputs_of(question.claims)
    source = _images(wish) if any(part.needs_images for part in wanted) else None
    trained = _trained(wanted, wish, console)
    archive = existing_store(wish.tracking_uri, wish.experiment)
    parts = [
        trained.get(part) or _untrained(part, archive, source, exclusive=wish.exclusive)
        for part in wanted
    ]
    return _with_spares(_fitted(parts, question), question), source


def _fitted(parts: Sequence[PlannedInput], question: ClaimOptions) -> tuple[PlannedInput, ...]:
    fits = fitting([part.seconds for part in parts], question.budget_seconds)
    return tuple(dataclasses.replace(part, fits=fit) for part, fit in zip(parts, fits, strict=True))


def _with_spares(parts: Sequence[PlannedInput], question: ClaimOptions) -> tuple[PlannedInput, ...]:
    """Those in whose place something better fits are spare, and the others may take their room."""
    fit = {part.part.scenario for part in parts if part.fits and part.part.scenario}
    spare = [part for part in parts if part.part.stands_in_for in fit]
    wanted = _fitted([part for part in parts if part not in spare], question)
    return *wanted, *(dataclasses.replace(part, fits=False, is_spare=True) for part in spare)


def _images(wish: RunOptions) -> Source:
    """The full MNIST.

    Raises:
        BenchError: It can't be had, or other images were asked for.
    """
    source = mnist.find(wish.dataset or "mnist", wish.folder, say=lambda _: None)
    if not source.comparable:
        raise BenchError(
            f"the paper's claims are about the full MNIST, and these images are {source.name}",
            "leave --dataset out, or give --data a folder with MNIST's IDX files",
        )
    return source


def _trained(
    wanted: Sequence[ClaimInput], wish: RunOptions, console: Console
) -> dict[ClaimInput, PlannedInput]:
    """What of each part's trainings is not recorded yet.

    Where rows that are cut from one training would do, rows that were each trained from zero do so
    all the more.
    """
    found = _looked_up(wanted, wish, console)
    independent = {
        part: dataclasses.replace(part, independent=True)
        for part in wanted
        if part.scenario == TABLE_1 and not (part.independent or found[part].is_recorded)
    }
    others = _looked_up(list(independent.values()), wish, console)
    recorded = (part for part, other in independent.items() if others[other].is_recorded)
    return found | {part: PlannedInput(part, is_recorded=True) for part in recorded}


def _looked_up(
    wanted: Sequence[ClaimInput], wish: RunOptions, console: Console
) -> dict[ClaimInput, PlannedInput]:
    """Those of one manner are looked up once."""
    manners: dict[tuple[bool, bool], list[ClaimInput]] = {}
    for part in wanted:
        if part.scenario:
            manners.setdefault((part.independent, part.is_timed), []).append(part)
    found = {}
    for (independent, is_timed), parts in manners.items():
        seeds = [part.seed for part in parts]
        asked = dataclasses.replace(
            wish,
            scenarios=tuple(dict.fromkeys(part.scenario for part in parts)),
            dataset="mnist",
            seeds=range(min(seeds), max(seeds) + 1),
            independent=independent,
            resume=True,
            spoilt_again=is_timed,
        )
        plans = run.remaining_plans(options.make_plans(asked, console), asked)
        for part in parts:
            own = tuple(_of_part(plan, part) for plan in plans if plan.name == part.scenario)
            is_recorded = not any(plan.trajectories for plan in own)
            found[part] = PlannedInput(part, is_recorded, asked, own)
    return found


def _of_part(plan: TrainingPlan, part: ClaimInput) -> TrainingPlan:
    trajectories = tuple(each for each in plan.trajectories if each.seed == part.seed)
    return dataclasses.replace(plan, trajectories=trajectories)


def _untrained(
    part: ClaimInput, archive: MlflowReader | None, source: Source | None, *, exclusive: bool
) -> PlannedInput:
    """Figures or a finding; a finding counts as recorded where it is of this very manner."""
    if part.measures is None:
        digests = [source.digest] if source else []
        seen = (
            layer_maps.load_layer_maps(archive, digests, paper.FIGURES_IMAGE) if archive else None
        )
        return PlannedInput(part, is_recorded=seen is not None)
    asked = experiments.experiment_request(part.measures, source, threads=system.usable_threads())
    digest = asked.source.digest if asked.source else None
    kept = (
        experiments.load_experiment(archive, asked.claim, machine_id(), digest) if archive else None
    )
    is_recorded = (
        kept is not None
        and (kept.execution, kept.tensorflow) == (asked.execution, version("tensorflow"))
        and (kept.exclusive or not exclusive)
    )
    return PlannedInput(part, is_recorded, question=asked)


def plan_as_text(parts: Sequence[PlannedInput], question: ClaimOptions) -> str:
    """What will be measured and what will not, for people."""
    needed = sum(part.seconds for part in parts if part.fits)
    budget = formatting.duration(question.budget_seconds)
    head = f"about {formatting.duration(needed)} of a budget of {budget}"
    if not needed:
        is_all_there = all(part.fits or part.is_spare for part in parts)
        head = "all of it is recorded" if is_all_there else f"nothing fits a budget of {budget}"
    return "\n".join([head, *(f"  {_told(part)}" for part in parts if not part.is_spare)])


def plan_as_json(parts: Sequence[PlannedInput], question: ClaimOptions) -> str:
    """The same as one JSON document."""
    told = [
        {
            "part": str(part.part),
            "claims": part.part.claims,
            "expected_seconds": part.seconds,
            "measured_here_before": part.is_recorded or part.known_seconds is not None,
            "fits": part.fits,
        }
        for part in parts
        if not part.is_spare
    ]
    facts = {"schema": 1, "budget_seconds": question.budget_seconds, "parts": told}
    return json.dumps(facts, indent=2)


def _told(costed: PlannedInput) -> str:
    numbers = costed.part.claims
    claims = f"claim{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
    time_ = "recorded already" if costed.is_recorded else formatting.duration(costed.seconds)
    if not costed.is_recorded and costed.known_seconds is None:
        time_ += ", by another machine's measure"
    return f"{costed.part} ({claims}): {'' if costed.fits else 'left out, '}{time_}"
