"""The plan of `mnist-bench run claims`: what is recorded, what remains, and its expected time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console

from mnist_bench.claims import experiments
from mnist_bench.claims.declared import TABLE_1, ClaimInput, inputs_of, shared
from mnist_bench.core import formatting
from mnist_bench.core.errors import BenchError
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import system
from mnist_bench.measurement.machine import id_file, machine_id, tensorflow_version
from mnist_bench.results.protocol import ExperimentRequest
from mnist_bench.runner import options, resume
from mnist_bench.runner.options import RunOptions
from mnist_bench.runner.plan import TrainingPlan
from mnist_bench.scenarios import paper
from mnist_bench.tracking import layer_maps, uri
from mnist_bench.tracking.mlflow_store import MlflowStore


@dataclass(frozen=True)
class ClaimOptions:
    """Options of `mnist-bench run claims`.

    Attributes:
        budget_seconds: Wall-clock time for all inputs.
        run_options: All other options. Its scenarios and seeds are ignored.
    """

    claims: tuple[int, ...]
    budget_seconds: float
    price: float | None
    reports: bool
    run_options: RunOptions


@dataclass(frozen=True)
class PlannedInput:
    """A claim input with its remaining work.

    Attributes:
        is_recorded: Whether all of it is recorded already.
        run_options: Of its trainings; None if it has none.
        plans: Remaining trainings.
        request: Of its experiment; None if it has none.
        fits: Whether the budget lasts until it is measured.
    """

    claim_input: ClaimInput
    is_recorded: bool
    run_options: RunOptions | None = None
    plans: tuple[TrainingPlan, ...] = ()
    request: ExperimentRequest | None = None
    fits: bool = True

    @property
    def known_seconds(self) -> float | None:
        """Expected time by earlier measurements here; None if there is nothing similar."""
        if self.run_options is None:
            return None
        return options.expected_seconds(self.plans, self.run_options)

    @property
    def seconds(self) -> float:
        """Expected time; 0 if recorded already."""
        if self.is_recorded:
            return 0.0
        known = self.known_seconds
        return self.claim_input.seconds if known is None else known


def plan_inputs(
    claim_options: ClaimOptions, console: Console
) -> tuple[tuple[PlannedInput, ...], Source | None]:
    """Plan the inputs of the claims, in their order; what does not fit the budget is left out.

    Nothing is started or written.

    Returns:
        The planned inputs, and the images; None if no input needs any.

    Raises:
        BenchError: The options are invalid, or the images or the store are unavailable.
    """
    run_options = claim_options.run_options
    if machine_id() is None:
        raise BenchError(
            f"{id_file()} can't be written; without a machine id, measurements of this machine "
            "can't be told from those of others",
            "make its folder writable",
        )
    uri.check_uri(run_options.tracking_uri, run_options.experiment)
    wanted = inputs_of(claim_options.claims)
    source = _images(run_options) if any(each.needs_images for each in wanted) else None
    # Recorded independent trainings also serve where one shared training would do.
    independent = {
        each: dataclasses.replace(each, independent=True)
        for each in wanted
        if each.scenario == TABLE_1
    }
    # And where independent trainings don't fit the budget, a shared one may.
    cheaper = {each: shared(each) for each in wanted if each.independent}
    trainings = dict.fromkeys([*wanted, *independent.values(), *cheaper.values()])
    trained = _planned_trainings(trainings, run_options, console)
    reader = MlflowStore.open_existing(run_options.tracking_uri, run_options.experiment)
    planned = []
    for each in wanted:
        if each in independent and trained[independent[each]].is_recorded:
            planned.append(PlannedInput(each, is_recorded=True))
        else:
            planned.append(
                trained.get(each)
                or _planned_experiment(each, reader, source, exclusive=run_options.exclusive)
            )
    remaining_seconds = claim_options.budget_seconds
    fitting = []
    for whole in planned:
        choice = whole
        if whole.seconds > remaining_seconds and whole.claim_input in cheaper:
            choice = trained[cheaper[whole.claim_input]]
        fits = choice.seconds <= remaining_seconds
        remaining_seconds -= choice.seconds if fits else 0.0
        fitting.append(dataclasses.replace(choice if fits else whole, fits=fits))
    return tuple(fitting), source


def _images(run_options: RunOptions) -> Source:
    """The full MNIST.

    Raises:
        BenchError: It is unavailable, or the options name other images.
    """
    source = mnist.find(run_options.dataset or "mnist", run_options.data_folder, log=lambda _: None)
    if not source.comparable:
        raise BenchError(
            f"the paper's claims are about the full MNIST, but these images are {source.name}",
            "leave --dataset out, or give --data a folder with MNIST's IDX files",
        )
    return source


def _planned_trainings(
    inputs: Iterable[ClaimInput], run_options: RunOptions, console: Console
) -> dict[ClaimInput, PlannedInput]:
    """Inputs that are trainings; those with the same execution settings are looked up together."""
    groups: dict[tuple[bool, bool], list[ClaimInput]] = {}
    for each in inputs:
        if each.scenario:
            groups.setdefault((each.independent, each.is_timed), []).append(each)
    found = {}
    for (independent, is_timed), group in groups.items():
        group_options = dataclasses.replace(
            run_options,
            scenarios=tuple(dict.fromkeys(each.scenario for each in group)),
            dataset="mnist",
            seeds=range(max(each.seed for each in group) + 1),
            independent=independent,
            resume=True,
            repeated_verdicts=("invalid",) if is_timed else (),
        )
        plans = resume.remaining_plans(options.make_plans(group_options, console), group_options)
        for each in group:
            own = tuple(
                dataclasses.replace(
                    plan, jobs=tuple(job for job in plan.jobs if job.seed == each.seed)
                )
                for plan in plans
                if plan.name == each.scenario
            )
            is_recorded = not any(plan.jobs for plan in own)
            found[each] = PlannedInput(each, is_recorded, group_options, own)
    return found


def _planned_experiment(
    claim_input: ClaimInput,
    reader: MlflowStore | None,
    source: Source | None,
    *,
    exclusive: bool,
) -> PlannedInput:
    """Layer maps or an experiment, which counts as recorded only with these execution settings."""
    if claim_input.measures is None:
        digests = [source.digest] if source else []
        maps = layer_maps.load_layer_maps(reader, digests, paper.FIGURES_IMAGE) if reader else None
        return PlannedInput(claim_input, is_recorded=maps is not None)
    request = experiments.experiment_request(
        claim_input.measures, source, threads=system.usable_threads()
    )
    digest = request.source.digest if request.source else None
    result = (
        experiments.load_experiment(reader, request.claim, machine_id(), digest) if reader else None
    )
    is_recorded = (
        result is not None
        and (result.execution, result.tensorflow) == (request.execution, tensorflow_version())
        and (result.exclusive or not exclusive)
    )
    return PlannedInput(claim_input, is_recorded, request=request)


def plan_as_text(planned: Sequence[PlannedInput], options: ClaimOptions) -> str:
    """The plan as text for the terminal."""
    needed = sum(each.seconds for each in planned if each.fits)
    budget = formatting.duration(options.budget_seconds)
    head = f"about {formatting.duration(needed)} of a budget of {budget}"
    if not needed:
        is_done = all(each.fits for each in planned)
        head = "all of it is recorded" if is_done else f"nothing fits a budget of {budget}"
    lines = [head]
    for each in planned:
        numbers = each.claim_input.claims
        time_ = "recorded already" if each.is_recorded else formatting.duration(each.seconds)
        if not each.is_recorded and each.known_seconds is None:
            time_ += ", as estimated on another machine"
        lines.append(
            f"  {each.claim_input} (claim{'s' if len(numbers) > 1 else ''} "
            f"{', '.join(map(str, numbers))}): {'' if each.fits else 'left out, '}{time_}"
        )
    return "\n".join(lines)


def plan_as_json(planned: Sequence[PlannedInput], options: ClaimOptions) -> str:
    """The plan as a JSON document."""
    parts = [
        {
            "part": str(each.claim_input),
            "claims": each.claim_input.claims,
            "expected_seconds": each.seconds,
            "measured_here_before": each.is_recorded or each.known_seconds is not None,
            "fits": each.fits,
        }
        for each in planned
    ]
    document = {"schema": 1, "budget_seconds": options.budget_seconds, "parts": parts}
    return json.dumps(document, indent=2)
