"""Sentences shared by all report formats; not yet escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mnist_bench.analysis.costs import Peak, Phases, total_cost
from mnist_bench.analysis.reference import pooled_interval, pooled_ratio
from mnist_bench.analysis.statistics import LEVEL
from mnist_bench.analysis.system_state import SystemState
from mnist_bench.analysis.table1 import ALPHA
from mnist_bench.core import formatting
from mnist_bench.measurement.machine import Machine
from mnist_bench.reporting.columns import status
from mnist_bench.results.document import (
    ROW_VERDICTS,
    Document,
    Row,
    RowVerdict,
    Scaling,
    Standing,
)
from mnist_bench.results.layer_maps import LayerMaps
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios import paper

THREE_ACCURACIES = (
    "Max is what the paper reports: the best of many looks at the test images. The other two do "
    "not choose by them: final is the state after the last step, selected the first step of the "
    "grid with the highest validation accuracy."
)
OTHER_IMAGES = "The figures below say what this machine costs, not whether Table I holds."
TIME_TO_ACCURACY = (
    "Train time to an accuracy has two factors: the updates until the grid first reaches it on "
    "test, which are the training's own, and the time of an update, which is the machine's. Of the "
    "longest trainings; those that never got there are in no mean, and spoilt ones in none of "
    "time. ± is the standard deviation over those that are in it, of times as a share of the mean."
)
DIGITS = (
    "Readings of the test images by the longest trainings, after their last step; of each image as "
    "many as there are trainings."
)
FEW_RUNS = 20
"""Up to so many runs are shown unfolded, since a printed page can't be unfolded."""
OTHER_SCENARIOS = (
    "Of each the row of its largest step count; those that compare first, then the newest. "
    "`--scenario NAME` makes a report with the sections and drawings of one."
)
MOST_LISTED = 20
"""Limit of unfinished runs listed one by one, and of seeds listed per reason."""
MACHINE_RANKING = (
    "Of each machine the runs of the most threads, a seed once, without the invalid ones; relative "
    "is the speed by the fastest machine's at the same steps, done in the same way: precision, "
    "device, and what is not the paper's of images, hyperparameters and evaluation grid."
)
PAPER = (
    f'The paper: {paper.AUTHOR}, "{paper.TITLE}", {paper.YEAR}, {paper.TABLE_1_PLACE}. Figures '
    "that are not known read –."
)
_VERDICT_PHRASES: dict[RowVerdict, tuple[str, str]] = {
    "exceeds": ("exceeds it", "exceed it"),
    "indistinguishable": ("is indistinguishable from it", "are indistinguishable from it"),
    "below": ("is below it", "are below it"),
    "not comparable": ("is not comparable", "are not comparable"),
}


def headline(document: Document) -> str:
    """Outcome of Table I and its cost, in one sentence."""
    total = total_cost(document.own_runs)
    trainings = formatting.counted(total.trainings, "training")
    invalid = f" ({total.invalid_trainings} with invalid runs)" if total.invalid_trainings else ""
    seconds = formatting.duration(total.train_seconds)
    cost = f"{seconds} inside {trainings}{invalid}, {_peak(total.peak)}"
    machines = {run.trajectory: run.machine_id for run in document.runs}
    others = [each for each in machines.values() if each != document.machine.machine_id]
    elsewhere = ""
    if others:
        cost = cost if total.trainings else "none here"
        elsewhere = (
            f"; {formatting.counted(len(others), 'training')} on "
            f"{formatting.counted(len(set(others)), 'other machine')}"
        )
    ratio = pooled_ratio(document.standings)
    vs_reference = (
        "" if ratio is None else f", {ratio:.2f} times the reference machine's train time"
    )
    return f"{_outcome(document.table_1)}; cost: {cost}{vs_reference}{elsewhere}."


def _peak(peak: Peak) -> str:
    if peak.refusal:
        return f"no peak memory ({peak.refusal})"
    return f"peak memory {formatting.mebibytes(peak.rss_bytes)}"


def _outcome(table_1: Sequence[Row]) -> str:
    if not table_1:
        return "None of Table I's step counts was run, so nothing is held against the paper"
    counts = Counter(row.verdict for row in table_1)
    outcomes = [
        f"{counts[v]} {_VERDICT_PHRASES[v][counts[v] > 1]}" for v in ROW_VERDICTS if counts[v]
    ]
    number = "the 1 row" if len(table_1) == 1 else f"the {len(table_1)} rows"
    return f"Against the paper's Table I, of {number} run here: {', '.join(outcomes)}"


def image_warning(runs: Sequence[RunSummary]) -> str | None:
    """A warning if no run used the full MNIST; a mix is noted with the rows."""
    other_datasets = sorted({run.dataset for run in runs})
    if not other_datasets or paper.DATASET in other_datasets:
        return None
    names = ", ".join(other_datasets)
    return f"NOT COMPARABLE with Table I: other images than the full MNIST ({names})"


def row_notes(rows: Sequence[Row]) -> list[str]:
    """Notes on rows; rows with the same note share a line."""
    steps_by_note: dict[str, list[str]] = {}
    for row in rows:
        for note in _row_notes(row):
            steps_by_note.setdefault(note, []).append(formatting.count(row.steps))
    notes = [
        f"{formatting.steps(_joined(steps_of_note))}: {note}"
        for note, steps_of_note in steps_by_note.items()
    ]
    if any(row.invalid for row in rows):
        notes.append(
            "Accuracies keep every finished run: what the machine did does not change them."
        )
    return notes


EACH_MACHINE = "Each machine"
"""Title of the table of machines that share rows."""


def machine_notes(rows: Sequence[Row], document: Document) -> list[str]:
    """From how many machines the accuracies are, and notes on the costs of the other machines.

    Rows of as many machines share a line.
    """
    costs = document.machine_costs
    return [
        *_pooled(rows, Counter(line.steps for line in costs if line.pooled_n)),
        *(
            f"{formatting.counted(line.steps, 'step')} on {formatting.machine(line.machine_id)}: "
            f"{line.note}"
            for line in costs
            if line.note and line.machine_id != document.machine.machine_id
        ),
    ]


def _pooled(rows: Sequence[Row], machines: Mapping[int, int]) -> list[str]:
    """Number of machines by steps, in words."""
    steps_by_number: dict[int, list[str]] = {}
    for row in rows:
        of_number = steps_by_number.setdefault(machines.get(row.steps, 1), [])
        of_number.append(formatting.count(row.steps))
    if len(steps_by_number) == 1 and min(steps_by_number) > 1:
        return [f"Accuracies pooled over {min(steps_by_number)} machines."]
    return [
        f"{formatting.steps(_joined(steps_of_number))}: accuracies pooled over {number} machines."
        for number, steps_of_number in steps_by_number.items()
        if number > 1
    ]


def table_title(rows: Sequence[Row]) -> str:
    """Title of the table of step counts, which may include none of Table I's."""
    if any(row.paper_max_test_accuracy is not None for row in rows):
        return "Table I beside this machine"
    return "What was run"


def layers_note(layers: LayerMaps) -> str:
    """Description of Figures 1 to 4."""
    own_text = (
        "Below them is what a network of Table I makes of the same image, trained for "
        f"{formatting.count(layers.own_steps)} updates."
        if layers.own
        else "Table I's own trained network is not among them: when they were made none of the "
        "longest runs had kept its weights; a scenario with save_weights = true does."
    )
    return (
        f"Test image {layers.image} of {layers.dataset}, a {layers.label}, in the layers of the "
        "small network that the paper shows in its Figures 2 to 4. The paper's are of an untrained "
        "network: its author's program never trains it. Beside each stands the same network after "
        f"{formatting.count(layers.steps)} updates, with a test accuracy of "
        f"{formatting.accuracy(layers.test_accuracy)} (seed {layers.seed}). {own_text}"
    )


def contradictions(rows: Sequence[Row]) -> list[str]:
    """Note on the row whose value differs between the paper's table and its text."""
    steps = paper.RUNNING_TEXT_STEPS
    paper_row = paper.row_of(steps)
    if paper_row is None or all(row.steps != steps for row in rows):
        return []
    note = (
        f"{formatting.count(steps)} steps: the paper contradicts itself: its Table I says "
        f"{paper_row.max_test_accuracy}, its running text {paper.RUNNING_TEXT_ACCURACY}; "
        "the table's figure is used here"
    )
    return [note]


def scaling_notes(lines: Sequence[Scaling]) -> list[str]:
    """Notes on the base of the speed-ups, and on single lines."""
    steps_by_base: dict[int, dict[str, None]] = {}
    for line in lines:
        steps_by_base.setdefault(line.base_threads, {})[formatting.count(line.steps)] = None
    return [
        f"{formatting.steps(_joined(steps_of_base))}: speed-up and efficiency are against "
        f"{formatting.threads(base)}"
        for base, steps_of_base in steps_by_base.items()
    ] + [
        f"{formatting.counted(line.steps, 'step')} at {formatting.threads(line.threads)}: "
        f"{line.note}"
        for line in lines
        if line.note
    ]


def _row_notes(row: Row) -> Iterator[str]:
    if row.reason:
        yield ("not comparable: " if row.verdict == "not comparable" else "") + row.reason
    if row.cost_note:
        yield row.cost_note


def disturbances(runs: Sequence[RunSummary]) -> list[str]:
    """Reasons why runs are not clean, one line each, with the runs concerned."""
    runs_by_reason: dict[str, list[RunSummary]] = {}
    for run in runs:
        for reason in run.reasons or ():
            runs_by_reason.setdefault(reason, []).append(run)
    return [
        f"not clean, {reason}: {_runs_in_words(disturbed_runs, runs)}"
        for reason, disturbed_runs in runs_by_reason.items()
    ]


def _runs_in_words(chosen: Sequence[RunSummary], runs: Sequence[RunSummary]) -> str:
    """Runs by seed and steps; seeds with the same steps are grouped."""
    if len(chosen) == len(runs) > 1:
        return "every run"
    several_counts = has_several_thread_counts(runs)
    steps_by_seed: dict[tuple[int, str], list[int]] = {}
    for run in sorted(
        chosen, key=lambda run: (run.threads if several_counts else 0, run.seed, run.steps)
    ):
        steps_by_seed.setdefault((run.seed, _at_threads(run) if several_counts else ""), []).append(
            run.steps
        )
    seeds_by_steps: dict[tuple[str, str], list[str]] = {}
    for (seed, threads), step_counts in steps_by_seed.items():
        seeds_by_steps.setdefault(
            (_joined(map(formatting.count, dict.fromkeys(step_counts))), threads), []
        ).append(str(seed))
    return ", ".join(
        f"{'seed' if len(seeds) == 1 else 'seeds'} {_joined(_first_seeds(seeds))} "
        f"({formatting.steps(step_counts)}{threads})"
        for (step_counts, threads), seeds in seeds_by_steps.items()
    )


def _first_seeds(seeds: Sequence[str]) -> Sequence[str]:
    """The first seeds, and how many more there are."""
    more = len(seeds) - MOST_LISTED
    return seeds if more <= 0 else [*seeds[:MOST_LISTED], f"{more:,} more"]


def has_several_thread_counts(runs: Sequence[RunSummary]) -> bool:
    """Whether runs differ in their threads, so that seed and steps don't identify a run."""
    return len({run.threads for run in runs}) > 1


def _at_threads(run: RunSummary) -> str:
    return f" at {formatting.threads(run.threads)}"


def _joined(parts: Iterable[str]) -> str:
    """Join words as `a`, `a and b` or `a, b and c`."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def unfinished(runs: Sequence[RunSummary]) -> list[str]:
    """The newest unfinished runs with their reasons, and how many more there are."""
    several_counts = has_several_thread_counts(runs)
    unfinished_runs = [run for run in runs if run.status != "finished"]
    lines = [
        f"seed {run.seed}, {formatting.counted(run.steps, 'step')}"
        f"{_at_threads(run) if several_counts else ''}: "
        f"{status(run)} ({run.failure or 'no reason was recorded'})"
        for run in unfinished_runs[-MOST_LISTED:]
    ]
    more = len(unfinished_runs) - len(lines)
    return [*lines, f"and {more:,} more before these, which the .runs.csv has"] if more else lines


def settings(runs: Sequence[RunSummary]) -> list[str]:
    """Settings of the runs, one line per distinct set."""
    lines = [
        f"images {run.dataset}, model {run.model}, {run.precision}, {run.device}, "
        f"{formatting.threads(run.threads)}, " + run.hyperparameters.description
        for run in runs
    ]
    return list(dict.fromkeys(lines))


def memory_methods(runs: Sequence[RunSummary]) -> str:
    """Methods that measured peak memory."""
    methods = sorted({run.memory_method for run in runs if run.memory_method})
    return ", ".join(methods) or "not known"


def versions(machine: Machine) -> str:
    """Software versions on a machine."""
    scikit_learn = f"scikit-learn {machine.scikit_learn}, " if machine.scikit_learn else ""
    return (
        f"Python {machine.python}, TensorFlow {machine.tensorflow}, Keras {machine.keras}, NumPy "
        f"{machine.numpy}, {scikit_learn}MLflow {machine.mlflow}, Optuna {machine.optuna}, "
        f"mnist-bench {machine.mnist_bench}"
    )


def vs_reference_note(lines: Sequence[Standing]) -> str:
    """Comparison with the reference: this machine's speed, and separately the accuracies."""
    ratio = pooled_ratio(lines)
    smallest = min((line.p_value for line in lines if line.p_value is not None), default=None)
    speed = f"The reference is of {_reference_machine(lines[0])}. " if lines else ""
    if ratio is None:
        speed += "No time here is both trusted and of its arithmetic and device. "
    else:
        thread_counts = _joined(
            formatting.threads(n) for n in sorted({line.threads for line in lines})
        )
        interval = _interval_in_words(lines)
        speed += f"Training takes {ratio:.2f} times its time here{interval}, at {thread_counts}. "
    if smallest is None:
        return f"{speed}Nothing tells whether the training is the same one."
    finding = "Its accuracies differ from the reference's"
    if smallest >= ALPHA / len(lines):
        finding = "No difference of its accuracies from the reference's was found"
    return (
        f"{speed}{finding} (smallest p {smallest:.2g}; Welch's test of each row's mean, of one "
        f"seed by the reference's spread; Bonferroni's correction at {ALPHA:.0%}): that is about "
        "the training, not the machine."
    )


def _interval_in_words(lines: Sequence[Standing]) -> str:
    interval = pooled_interval(lines)
    if interval is None:
        return ""
    return (
        f" ({interval[0]:.2f} to {interval[1]:.2f}, Welch's {LEVEL:.0%} interval of the logarithm)"
    )


def _reference_machine(line: Standing) -> str:
    return f"{line.reference_machine}, {formatting.threads(line.reference_threads)}"


def phases_head(phases: Phases, *, threads: bool) -> str:
    """Trainings that the phases are averaged over."""
    trainings = formatting.counted(phases.trainings, "training")
    at_threads = f" at {formatting.threads(phases.threads)}" if threads else ""
    steps = formatting.count(phases.steps)
    return f"Mean over {trainings} up to step {steps}{at_threads}; peaks are the largest."


def surroundings(system_state: SystemState) -> list[str]:
    """System state in one line, and what is unknown in another."""
    facts: dict[str, str | None] = {
        "power source": _power(system_state),
        "frequency governor": f"governor {', '.join(system_state.governors)}"
        if system_state.governors
        else None,
        "usable cores": _cores(system_state),
        "clock": _clock(system_state),
        "temperature": _temperature(system_state),
    }
    unknown = [name for name, text in facts.items() if text is None]
    lines = [", ".join(text for text in facts.values() if text is not None)]
    lines += [f"not told by this system: {', '.join(unknown)}"] if unknown else []
    return [line for line in lines if line]


def _power(system_state: SystemState) -> str | None:
    if system_state.on_battery is None:
        return None
    return "on battery, at least for a time" if system_state.on_battery else "on mains power"


def _cores(system_state: SystemState) -> str | None:
    if system_state.usable_cores is None or system_state.logical_cores is None:
        return None
    quota = system_state.quota_cores
    limit = "" if quota is None else f", limit on processor time {quota:g} cores"
    return (
        f"{system_state.usable_cores:g} of {system_state.logical_cores} logical cores usable{limit}"
    )


def _clock(system_state: SystemState) -> str | None:
    low, high = system_state.clock_mhz_min, system_state.clock_mhz_max
    if low is None or high is None:
        return None
    same = f"{low:,.0f}" == f"{high:,.0f}"
    return f"clock {high:,.0f} MHz" if same else f"clock {low:,.0f} to {high:,.0f} MHz"


def _temperature(system_state: SystemState) -> str | None:
    celsius = system_state.temperature_celsius_max
    return None if celsius is None else f"up to {celsius:.0f} °C"
