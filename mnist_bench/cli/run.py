"""`mnist-bench run`: its options, and what goes to which stream; no work of its own."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

import click

from mnist_bench.cli import console as terminal
from mnist_bench.cli import options as shared
from mnist_bench.cli import parameter_types
from mnist_bench.core.limits import DEVICE_CHOICES, MAX_SEED, MAX_THREADS, PRECISIONS
from mnist_bench.tracking import uri

if TYPE_CHECKING:
    from rich.console import Console

    from mnist_bench.claims.planning import ClaimOptions
    from mnist_bench.runner.options import RunOptions

# Rooms that import a library of weight are imported inside, so that `--help` answers at once.

_RUN_EXAMPLES = """\b
Examples:
  mnist-bench run                           Table I, one seed
  mnist-bench run --seeds 3 --data DIR      three seeds, on IDX files of your own
  mnist-bench run --seeds auto --budget 1h  as many as the precision asks for
  mnist-bench run --steps 1000 --json       one row, as JSON
  mnist-bench run --set learning_rate=0.003 another learning rate
  mnist-bench run ./mine.toml --dry-run     what would be done, and how long it takes
  mnist-bench run claims --budget 3h        what the paper says, each put to the test
  mnist-bench run claim-12                  one of its claims
  mnist-bench run --seeds 30 --storage URL  with other machines, which `mnist-bench join`
"""


@click.command(epilog=_RUN_EXAMPLES)
@click.argument(
    "scenarios", metavar="[SCENARIO]...", nargs=-1, shell_complete=parameter_types.names
)
@click.option(
    "--seeds",
    callback=parameter_types.seeds,
    default="1",
    show_default=True,
    metavar="N|auto",
    help="Trainings of each row, each from another seed; auto: as many as the next two ask for.",
)
@click.option(
    "--precision-target",
    type=float,
    callback=parameter_types.precision_target,
    metavar="X",
    help="With --seeds auto: until the 95% interval of each row's mean max test accuracy is within "
    "this much of it.  [default: 0.0005]",
)
@click.option(
    "--budget",
    "budget_seconds",
    callback=parameter_types.budget_seconds,
    metavar="TIME",
    help="With --seeds auto: no seed that would end after 90s, 30m or 2h of a scenario's training."
    "  With claims: no part that would.  [default: 30m, of claims 45m]",
)
@click.option(
    "--price",
    type=float,
    callback=parameter_types.price,
    metavar="X",
    help="With claims: of a kilowatt-hour, for what the energy costs.",
)
@click.option(
    "--first-seed",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    metavar="K",
    help="The first of the seeds.",
)
@click.option(
    "--steps",
    callback=parameter_types.step_counts,
    metavar="N[,N...]",
    help="Step counts instead of the scenario's own.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    callback=parameter_types.settings,
    metavar="NAME=VALUE",
    help="A hyperparameter instead of the scenario's own; repeatable.",
)
@click.option(
    "--independent",
    is_flag=True,
    help="Train each row from zero instead of cutting a seed's rows from one training.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, MAX_THREADS),
    metavar="N",
    help="Threads to train on.  [default: the scenario's counts, else every core]",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    show_default=True,
    help="Of the arithmetic; weights stay float32.",
)
@click.option(
    "--device",
    type=click.Choice(DEVICE_CHOICES),
    default="cpu",
    show_default=True,
    help="Where the training is done; auto: on a GPU if TensorFlow finds one.",
)
@shared.data
@shared.dataset
@shared.tracking_uri
@shared.experiment
@click.option(
    "--report/--no-report",
    "reports",
    default=True,
    show_default=True,
    help="Write reports/<scenario>.md, .csv and .json.",
)
@click.option(
    "--dry-run", is_flag=True, help="Print the plan and the time it takes; train nothing."
)
@click.option("--resume", is_flag=True, help="Train only what is not recorded yet.")
@shared.beside
@shared.storage(
    "Share the plan with machines that `join`: a database, as Optuna names it.  "
    "[env: MNIST_BENCH_STORAGE]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
def run(
    *,
    scenarios: tuple[str, ...],
    seeds: parameter_types.Seeds,
    first_seed: int,
    precision_target: float | None,
    budget_seconds: float | None,
    price: float | None,
    beside: bool,
    storage: str | None,
    reports: bool,
    dry_run: bool,
    as_json: bool,
    **wishes: Any,
) -> int:
    """Train scenarios, record their runs in MLflow, and report on them.

    SCENARIO is the name of a packaged scenario (default: table-1) or the path of a TOML file of
    your own. A trained row is one run in MLflow: `mnist-bench ui` shows them. In place of scenarios
    `claims` stands for all that the paper claims, `claim-3` for one of it: what of it fits the
    budget is measured, and what is recorded already is used again.
    """
    from mnist_bench.cli import run_plans
    from mnist_bench.core import locks
    from mnist_bench.measurement.machine import machine_id
    from mnist_bench.runner import options as wishing
    from mnist_bench.runner import run as running

    console = terminal.console(stderr=True)
    people = terminal.console(stderr=as_json)
    wanted = _claims(scenarios)
    wish = wishing.RunOptions(
        scenarios=scenarios or ("table-1",),
        seeds=parameter_types.seed_range(seeds, first_seed),
        repeats=None
        if wanted
        else parameter_types.repeats(seeds, precision_target, budget_seconds),
        command=parameter_types.shown_command(sys.argv[1:]),
        exclusive=not beside,
        storage=None if wanted else storage,  # claims are about one machine
        **wishes,
    )
    if wish.storage:
        _begin_to_share(wish, wish.storage, people, dry_run=dry_run)
    if not dry_run:
        wishing.check_folders()
    if wanted:
        question = _question(wanted, budget_seconds, price, wish, reports=reports)
        return _run_claims(question, console, people, dry_run=dry_run, as_json=as_json)
    if price is not None:
        raise click.UsageError("--price needs claims")
    plans = wishing.make_plans(wish, console)
    if dry_run:
        show = wishing.plans_as_json if as_json else wishing.plans_as_text
        click.echo(show(running.remaining_plans(plans, wish), wish))
        return 0
    with locks.benchmark_lock(machine_id(), exclusive=wish.exclusive, say=terminal.warn) as kept:
        wish = dataclasses.replace(wish, exclusive=kept)
        done = run_plans.run_plans(plans, wish, console, people, reports=reports)
    if as_json:
        click.echo(done.document_json, nl=False)
    return terminal.report_error(done.error, done.exit_status)


_SETTLED = (
    *("seeds", "first_seed", "precision_target", "steps", "settings", "independent"),
    *("threads", "precision", "device", "storage"),
)
"""What claims have of their own."""


def _claims(scenarios: tuple[str, ...]) -> tuple[int, ...] | None:
    """The claims that are asked for, with nothing beside them that they settle themselves."""
    from mnist_bench.claims import parts as claim_parts

    try:
        wanted = claim_parts.numbers(scenarios)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    context = click.get_current_context()
    for parameter in context.command.params if wanted else ():
        given = context.get_parameter_source(parameter.name or "")
        if parameter.name in _SETTLED and given is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} does not go with claims: they settle it")
    return wanted


def _begin_to_share(wish: RunOptions, storage: str, people: Console, *, dry_run: bool) -> None:
    """Say where a plan is shared, once it is sure that it can be."""
    from mnist_bench.tuning import storage as study_storage

    if wish.repeats:
        raise click.UsageError("--seeds auto is for one machine: a shared plan needs a number")
    if not dry_run:
        study_storage.names(storage)  # refuses what can't be used, before anything is begun
    where = uri.without_credentials(storage)
    people.print(f"a shared plan, in {where}", soft_wrap=True, markup=False)


def _question(
    wanted: tuple[int, ...],
    budget_seconds: float | None,
    price: float | None,
    wish: RunOptions,
    *,
    reports: bool,
) -> ClaimOptions:
    from mnist_bench.claims import parts as claim_parts
    from mnist_bench.claims import planning

    budget = claim_parts.BUDGET_SECONDS if budget_seconds is None else budget_seconds
    return planning.ClaimOptions(wanted, budget, price, reports, wish)


def _run_claims(
    question: ClaimOptions, console: Console, people: Console, *, dry_run: bool, as_json: bool
) -> int:
    from mnist_bench.claims import planning
    from mnist_bench.cli import claims

    parts, source = planning.plan_inputs(question, console)
    if dry_run:
        show = planning.plan_as_json if as_json else planning.plan_as_text
        click.echo(show(parts, question))
        return 0
    people.print(planning.plan_as_text(parts, question), soft_wrap=True, markup=False)
    done = claims.run_claims(question, parts, source, console, people)
    if as_json:
        click.echo(done.document_json, nl=False)
    return terminal.report_error(done.error, done.exit_status)
