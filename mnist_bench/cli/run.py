"""`mnist-bench run`: its options."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from mnist_bench.cli import parameter_types
from mnist_bench.cli.console import make_console, print_result, warn
from mnist_bench.cli.options import (
    GroupedCommand,
    cluster_option,
    data_option,
    dataset_option,
    experiment_option,
    insecure_cluster_option,
    json_option,
    name_option,
    no_exclusive_option,
    tag_option,
    tracking_uri_option,
)
from mnist_bench.core.errors import EXIT_INTERRUPTED, EXIT_TERMINATED
from mnist_bench.core.limits import DEVICE_CHOICES, MAX_SEED, MAX_THREADS, PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from mnist_bench.claims.planning import ClaimOptions
    from mnist_bench.run_plans import CommandResult, Output
    from mnist_bench.runner.options import RunOptions
    from mnist_bench.runner.plan import TrainingPlan

# Modules that import heavy libraries are imported inside functions: `--help` must be fast.

_RUN_EXAMPLES = """\b
Examples:
  mnist-bench run                           Table I, one seed
  mnist-bench run --seeds 3 --data DIR      three seeds, on your own IDX files
  mnist-bench run --seeds auto --budget 1h  as many seeds as the precision needs
  mnist-bench run --steps 1000 --json       one step count, as JSON
  mnist-bench run --set learning_rate=0.003 another learning rate
  mnist-bench run ./mine.toml --dry-run     print the plan and its expected time
  mnist-bench run claims --budget 3h        test the claims of the paper
  mnist-bench run claim-12                  test one claim
  mnist-bench run --seeds 30 --cluster tls://HOST:8786
                                            on the machines that `mnist-bench join` there
"""


_GROUPS = {
    "What to train": (
        *("seeds", "precision_target", "budget_seconds", "first_seed", "steps", "settings"),
        *("independent", "resume", "repeat_disturbed"),
    ),
    "How": ("threads", "precision", "device", "no_exclusive", "cluster", "insecure_cluster"),
    "Data": ("data_folder", "dataset"),
    "Recording": ("name", "tags", "save_models", "tracking_uri", "experiment"),
    "Output": ("dry_run", "reports", "opens_page", "price", "verbose", "quiet", "as_json"),
}


@click.command(cls=GroupedCommand, groups=_GROUPS, epilog=_RUN_EXAMPLES)
@click.argument(
    "scenarios", metavar="[SCENARIO]...", nargs=-1, shell_complete=parameter_types.names
)
@click.option(
    "--seeds",
    type=parameter_types.seeds,
    default="1",
    show_default=True,
    metavar="N|auto",
    help="Seeds per step count; auto: add seeds until --precision-target or --budget is reached.",
)
@click.option(
    "--precision-target",
    type=parameter_types.precision_target,
    metavar="X",
    help="With --seeds auto: stop when the 95% interval of each step count's mean max test "
    "accuracy is within ±X.  [default: 0.0005]",
)
@click.option(
    "--budget",
    "budget_seconds",
    type=parameter_types.duration_seconds,
    metavar="TIME",
    help="With --seeds auto: start no seed that would end after this time (90s, 30m, 2h) per "
    "scenario. With claims: the time for all measurements.  [default: 30m; claims: 45m]",
)
@click.option(
    "--price",
    type=parameter_types.price,
    metavar="X",
    help="With claims: price of a kilowatt-hour, to report the cost of energy.",
)
@click.option(
    "--first-seed",
    type=parameter_types.WholeNumber(0, MAX_SEED),
    default=0,
    show_default=True,
    metavar="K",
    help="First seed; the others follow it.",
)
@click.option(
    "--steps",
    type=parameter_types.step_counts,
    metavar="N[,N...]",
    help="Train these step counts instead of the scenario's.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    type=parameter_types.setting,
    metavar="NAME=VALUE",
    help="Set a hyperparameter of the scenario; repeatable.",
)
@click.option(
    "--independent",
    is_flag=True,
    help="Train each step count from step 0 instead of sharing one training per seed.",
)
@click.option(
    "--threads",
    type=parameter_types.WholeNumber(1, MAX_THREADS),
    metavar="N",
    help="Threads to train on.  [default: the scenario's counts, else every core]",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    show_default=True,
    help="Compute precision; weights stay float32.",
)
@click.option(
    "--device",
    type=click.Choice(DEVICE_CHOICES),
    default="cpu",
    show_default=True,
    help="Device to train on; auto: a GPU if TensorFlow finds one, else the CPU.",
)
@data_option
@dataset_option
@tracking_uri_option
@experiment_option
@name_option
@tag_option
@click.option(
    "--report/--no-report",
    "reports",
    default=True,
    show_default=True,
    help="Write reports/<scenario>.html, .md, .csv and .json.",
)
@click.option("--open", "opens_page", is_flag=True, help="Open the page in a browser at the end.")
@click.option(
    "--save-model",
    "save_models",
    is_flag=True,
    help="Save each run's trained network as an MLflow model, which `mlflow models serve` serves.",
)
@click.option("--verbose", is_flag=True, help="Print every table and note, and the files written.")
@click.option("--quiet", is_flag=True, help="Print no progress, with --json no tables either.")
@click.option(
    "--dry-run", is_flag=True, help="Print the plan and its expected time without training."
)
@click.option("--resume", is_flag=True, help="Skip the step counts that are recorded already.")
@click.option(
    "--repeat-disturbed",
    is_flag=True,
    help="With --resume: train suspect and invalid runs again.",
)
@no_exclusive_option
@cluster_option
@insecure_cluster_option
@json_option
def run(
    *,
    scenarios: tuple[str, ...],
    seeds: parameter_types.Seeds,
    first_seed: int,
    precision_target: float | None,
    budget_seconds: float | None,
    price: float | None,
    no_exclusive: bool,
    reports: bool,
    dry_run: bool,
    as_json: bool,
    opens_page: bool,
    verbose: bool,
    quiet: bool,
    repeat_disturbed: bool,
    name: str | None,
    tags: tuple[tuple[str, str], ...],
    **others: Any,
) -> int:
    """Train scenarios, record their runs in MLflow, and report on them.

    SCENARIO is the name of a packaged scenario (default: table-1) or the path of your own TOML
    file. Each step count and seed is one MLflow run; `mnist-bench ui` shows them. Give `claims`
    instead of scenarios to test all claims of the paper, or `claim-3` for one of them: what fits
    the budget is measured, and what is recorded already is reused.
    """
    from mnist_bench import run_plans
    from mnist_bench.core import locks
    from mnist_bench.results.run_summary import DISTURBED
    from mnist_bench.runner import environment
    from mnist_bench.runner.options import (
        RunOptions,
        check_folders,
        make_plans,
        plans_as_json,
        plans_as_text,
    )
    from mnist_bench.runner.resume import remaining_plans
    from mnist_bench.tracking import uri
    from mnist_bench.tracking.recovery import log_unsettled

    if opens_page and not reports:
        raise click.UsageError("--open can't be used with --no-report, which writes no page")
    if repeat_disturbed and not others["resume"]:
        raise click.UsageError("--repeat-disturbed works only with --resume")
    console = make_console(stderr=True)
    stdout = make_console(stderr=as_json)  # with --json, standard output has the document only
    stdout.quiet = quiet and as_json
    output = run_plans.Output(reports, opens_page, verbose, quiet)
    claims = _claim_numbers(scenarios)
    options = RunOptions(
        scenarios=scenarios or ("table-1",),
        seeds=parameter_types.seed_range(seeds, first_seed),
        repeats=None
        if claims
        else parameter_types.repeats(seeds, precision_target, budget_seconds),
        command=parameter_types.shown_command(sys.argv[1:]),
        exclusive=not no_exclusive,
        repeated_verdicts=DISTURBED if repeat_disturbed else (),
        tags=parameter_types.own_tags(name, tags),
        **others,
    )
    _check_cluster(options, claims)
    old_store = uri.note_of_file_store(options.tracking_uri)
    for note in filter(None, (*environment.of_process(options.device).lines, old_store)):
        warn(note)
    if dry_run:
        log_unsettled(options.tracking_uri, options.experiment, warn)
    else:
        check_folders()
    if claims:
        from mnist_bench.claims.declared import BUDGET_SECONDS
        from mnist_bench.claims.planning import ClaimOptions

        budget = budget_seconds or BUDGET_SECONDS
        claim_options = ClaimOptions(claims, budget, price, reports, options)
        return _run_claims(claim_options, console, stdout, output, dry_run=dry_run, as_json=as_json)
    if price is not None:
        raise click.UsageError("--price works only with `run claims`")
    plans = make_plans(options, console)
    if dry_run:
        remaining = remaining_plans(plans, options)
        if not options.is_remote:
            _calibrate(remaining, console, quiet=quiet)
        to_text = plans_as_json if as_json else plans_as_text
        click.echo(to_text(remaining, options))
        return 0
    lock = locks.benchmark_lock(exclusive=options.exclusive, warn=warn)
    # The machines of a cluster take their own locks; this one may be among them.
    with nullcontext(enter_result=True) if options.is_remote else lock as exclusive:
        options = dataclasses.replace(options, exclusive=exclusive)
        result = run_plans.run_plans(plans, options, console, stdout, output)
    if line := _next_line(options, result):
        stdout.print(line, soft_wrap=True, markup=False)
    document_json = result.document_json if as_json else None
    return print_result(document_json, result.error, result.exit_status)


def _calibrate(plans: Sequence[TrainingPlan], console: Console, *, quiet: bool) -> None:
    """Train briefly what was never trained here, so that its time can be estimated."""
    from mnist_bench.core import formatting, locks
    from mnist_bench.runner import calibration

    unknown = [
        (plan, execution) for plan in plans for execution in calibration.unknown_executions(plan)
    ]
    # Beside another benchmark it would disturb it, and measure too little speed.
    if not unknown or locks.running():
        return
    if not quiet:
        number = formatting.counted(len(unknown), "short training")
        line = f"{number} to estimate the time, not recorded: nothing similar was trained here"
        console.print(line, soft_wrap=True)
    with locks.benchmark_lock(exclusive=False, warn=lambda _: None):
        for plan, execution in unknown:
            calibration.calibrate(plan, execution)


def _next_line(options: RunOptions, result: CommandResult) -> str | None:
    """What to do after a run, as the last line; None after an error."""
    from mnist_bench.analysis.grouping import has_table_1_task

    arguments = iter(sys.argv[1:])
    kept = []
    for argument in arguments:
        if argument == "--seeds":
            next(arguments, None)
        elif argument not in _NOT_REPEATED and not argument.startswith("--seeds="):
            kept.append(argument)
    command = shlex.join(["mnist-bench", *kept])
    if result.exit_status in {EXIT_INTERRUPTED, EXIT_TERMINATED}:
        seeds = "auto" if options.repeats else len(options.seeds)
        return f"To go on: `{command} --seeds {seeds} --resume`"
    if result.exit_status or result.error:
        return None
    if not any(has_table_1_task(run) for run in result.runs):
        return "Next: `mnist-bench run` trains Table I; `mnist-bench ui` shows the runs"
    if options.repeats or len(options.seeds) >= _SEEDS_TO_ADVISE:
        return "Next: `mnist-bench ui` shows the runs, `mnist-bench report` all that is recorded"
    return (
        f"Next: `{command} --seeds {_SEEDS_TO_ADVISE} --resume` narrows the intervals; "
        "`mnist-bench ui` shows the runs"
    )


_SEEDS_TO_ADVISE = 5
_NOT_REPEATED = {"--resume", "--repeat-disturbed", "--open", "--json", "--verbose", "--quiet"}
"""Options that a proposed command does not repeat."""
_FIXED_BY_CLAIMS = (
    *("seeds", "first_seed", "precision_target", "steps", "settings", "independent"),
    *("threads", "precision", "device", "repeat_disturbed", "save_models"),
)
"""Options that the claims set themselves."""


def _claim_numbers(scenarios: tuple[str, ...]) -> tuple[int, ...] | None:
    """The requested claims; None for scenarios.

    Raises:
        UsageError: Claims are mixed with scenarios, or with options that they set themselves.
    """
    from mnist_bench.claims.declared import numbers

    try:
        claims = numbers(scenarios)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    context = click.get_current_context()
    for parameter in context.command.params if claims else ():
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in _FIXED_BY_CLAIMS and source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} can't be used with claims: they set it")
    return claims


def _check_cluster(options: RunOptions, claims: tuple[int, ...] | None) -> None:
    """Check that the request can be trained on its cluster, without connecting."""
    from mnist_bench.cluster.connect import check_where

    if options.cluster is None:
        if options.insecure_cluster:
            raise click.UsageError("--insecure-cluster works only with --cluster")
        return
    if claims:
        raise click.UsageError("--cluster can't be used with claims: they are about one machine")
    if options.repeats:
        raise click.UsageError("--cluster needs --seeds with a number: it trains them at once")
    check_where(options.cluster, insecure=options.insecure_cluster)


def _run_claims(
    options: ClaimOptions,
    console: Console,
    stdout: Console,
    output: Output,
    *,
    dry_run: bool,
    as_json: bool,
) -> int:
    from mnist_bench.claims import planning
    from mnist_bench.cli import claims

    planned, source = planning.plan_inputs(options, console)
    if dry_run:
        to_text = planning.plan_as_json if as_json else planning.plan_as_text
        click.echo(to_text(planned, options))
        return 0
    stdout.print(planning.plan_as_text(planned, options), soft_wrap=True, markup=False)
    result = claims.run_claims(options, planned, source, console, stdout, output=output)
    if result.exit_status in {EXIT_INTERRUPTED, EXIT_TERMINATED}:
        stdout.print("To go on, give the same command: what is recorded is not measured again")
    document_json = result.document_json if as_json else None
    return print_result(document_json, result.error, result.exit_status)
