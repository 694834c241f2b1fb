"""Sentences that the screen and the Markdown share; not yet escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from mnist_bench.analysis.costs import Peak, Phases, total_cost
from mnist_bench.analysis.reference import pooled_interval, pooled_ratio
from mnist_bench.analysis.statistics import LEVEL
from mnist_bench.analysis.system_state import SystemState
from mnist_bench.analysis.table1 import ALPHA
from mnist_bench.core import formatting
from mnist_bench.measurement.machine import Machine
from mnist_bench.reporting.columns import status
from mnist_bench.results.document import ROW_VERDICTS, Document, Row, RowVerdict, Scaling, Standing
from mnist_bench.results.layer_maps import LayerMaps
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios import paper

THREE_ACCURACIES = (
    "Max is what the paper reports: the best of many looks at the test images. The other two do "
    "not choose by them: final is the state after the last step, selected the first step of the "
    "grid with the highest validation accuracy."
)
OTHER_IMAGES = "The figures below say what this machine costs, not whether Table I holds."
REACH = (
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
"""So many are told unfolded: on paper nobody can unfold them."""
OTHERS = (
    "Of each the row of its largest step count; those that compare first, then the newest. "
    "`--scenario NAME` makes a report with the sections and drawings of one."
)
MOST_TOLD = 20
"""So many runs that did not finish are named one by one, and so many seeds of a reason."""
RANKING = (
    "Of each machine the runs of the most threads, a seed once, without the invalid ones; relative "
    "is the speed by the fastest machine's at the same steps, done in the same way: precision, "
    "device, and what is not the paper's of images, hyperparameters and evaluation grid."
)
PAPER = (
    f'The paper: {paper.AUTHOR}, "{paper.TITLE}", {paper.YEAR}, {paper.TABLE_1_PLACE}. Figures '
    "that are not known read –."
)
_SAID: dict[RowVerdict, tuple[str, str]] = {
    "exceeds": ("exceeds it", "exceed it"),
    "indistinguishable": ("is indistinguishable from it", "are indistinguishable from it"),
    "below": ("is below it", "are below it"),
    "not comparable": ("is not comparable", "are not comparable"),
}


def headline(document: Document) -> str:
    """How Table I came out here and what it cost, in one sentence."""
    spent = total_cost(document.runs)
    trainings = formatting.counted(spent.trainings, "training")
    spoilt = f" ({spent.invalid_trainings} with invalid runs)" if spent.invalid_trainings else ""
    price = f"{formatting.duration(spent.train_seconds)} inside {trainings}{spoilt}, {_peak(spent.peak)}"
    ratio = pooled_ratio(document.standings)
    against = "" if ratio is None else f", {ratio:.2f} times the reference machine's train time"
    return f"{_outcome(document.table_1)}; cost: {price}{against}."


def _peak(peak: Peak) -> str:
    if peak.refusal:
        return f"no peak memory ({peak.refusal})"
    return f"peak memory {formatting.mebibytes(peak.rss_bytes)}"


def _outcome(table_1: Sequence[Row]) -> str:
    if not table_1:
        return "None of Table I's step counts was run, so nothing is held against the paper"
    counts = Counter(row.verdict for row in table_1)
    said = [f"{counts[v]} {_SAID[v][counts[v] > 1]}" for v in ROW_VERDICTS if counts[v]]
    number = "the 1 row" if len(table_1) == 1 else f"the {len(table_1)} rows"
    return f"Against the paper's Table I, of {number} run here: {', '.join(said)}"


def image_warning(runs: Sequence[RunSummary]) -> str | None:
    """A loud line where no run saw MNIST's own images; of a few, their rows tell."""
    others = sorted({run.dataset for run in runs})
    if not others or paper.DATASET in others:
        return None
    return f"NOT COMPARABLE with Table I: other images than the full MNIST ({', '.join(others)})"


def row_notes(rows: Sequence[Row]) -> list[str]:
    """What there is to know about single rows; rows of the same note share a line."""
    steps: dict[str, list[str]] = {}
    for row in rows:
        for note in _notes(row):
            steps.setdefault(note, []).append(formatting.count(row.steps))
    notes = [f"{formatting.steps(_listed(of))}: {note}" for note, of in steps.items()]
    if any(row.invalid for row in rows):
        notes.append(
            "Accuracies keep every finished run: what the machine did does not change them."
        )
    return notes


def table_title(rows: Sequence[Row]) -> str:
    """Of the table of all step counts: none of them may be Table I's."""
    if any(row.paper_max_test_accuracy is not None for row in rows):
        return "Table I beside this machine"
    return "What was run"


def layers_note(layers: LayerMaps) -> str:
    """What the figures show, and of what they are."""
    own = (
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
        f"{formatting.accuracy(layers.test_accuracy)} (seed {layers.seed}). {own}"
    )


def contradictions(rows: Sequence[Row]) -> list[str]:
    """Where the paper contradicts itself about a row."""
    steps = paper.RUNNING_TEXT_STEPS
    theirs = paper.row_of(steps)
    if theirs is None or all(row.steps != steps for row in rows):
        return []
    note = (
        f"{formatting.count(steps)} steps: the paper contradicts itself: its Table I says "
        f"{theirs.max_test_accuracy}, its running text {paper.RUNNING_TEXT_ACCURACY}; "
        "the table's figure is used here"
    )
    return [note]


def scaling_notes(lines: Sequence[Scaling]) -> list[str]:
    """What the speed-ups are held against, and what there is to know about single ones."""
    steps: dict[int, dict[str, None]] = {}
    for line in lines:
        steps.setdefault(line.base_threads, {})[formatting.count(line.steps)] = None
    return [
        f"{formatting.steps(_listed(of))}: speed-up and efficiency are against {formatting.threads(base)}"
        for base, of in steps.items()
    ] + [
        f"{formatting.counted(line.steps, 'step')} at {formatting.threads(line.threads)}: {line.note}"
        for line in lines
        if line.note
    ]


def _notes(row: Row) -> Iterator[str]:
    if row.reason:
        yield ("not comparable: " if row.verdict == "not comparable" else "") + row.reason
    if row.cost_note:
        yield row.cost_note


def disturbances(runs: Sequence[RunSummary]) -> list[str]:
    """Why runs are not clean: a line a reason, with the runs that it concerns."""
    concerned: dict[str, list[RunSummary]] = {}
    for run in runs:
        for reason in run.reasons or ():
            concerned.setdefault(reason, []).append(run)
    return [f"not clean, {reason}: {_which(of, runs)}" for reason, of in concerned.items()]


def _which(chosen: Sequence[RunSummary], runs: Sequence[RunSummary]) -> str:
    """Runs by seed and steps; seeds of the same steps share a part."""
    if len(chosen) == len(runs) > 1:
        return "every run"
    several = has_several_thread_counts(runs)
    steps: dict[tuple[int, str], list[int]] = {}
    for run in sorted(chosen, key=lambda run: (run.threads if several else 0, run.seed, run.steps)):
        steps.setdefault((run.seed, _at(run) if several else ""), []).append(run.steps)
    seeds: dict[tuple[str, str], list[str]] = {}
    for (seed, at), of in steps.items():
        seeds.setdefault((_listed(map(formatting.count, dict.fromkeys(of))), at), []).append(
            str(seed)
        )
    return ", ".join(
        f"{'seed' if len(those) == 1 else 'seeds'} {_listed(_few(those))} ({formatting.steps(of)}{at})"
        for (of, at), those in seeds.items()
    )


def _few(seeds: Sequence[str]) -> Sequence[str]:
    """Seeds; of very many the first, and how many more there are."""
    more = len(seeds) - MOST_TOLD
    return seeds if more <= 0 else [*seeds[:MOST_TOLD], f"{more:,} more"]


def has_several_thread_counts(runs: Sequence[RunSummary]) -> bool:
    """Whether seed and steps do not name a run: its threads have to be told too."""
    return len({run.threads for run in runs}) > 1


def _at(run: RunSummary) -> str:
    return f" at {formatting.threads(run.threads)}"


def _listed(parts: Iterable[str]) -> str:
    """Parts as `a`, `a and b` or `a, b and c`."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def unfinished(runs: Sequence[RunSummary]) -> list[str]:
    """The newest runs that did not finish, with the reason, and how many more there are."""
    several = has_several_thread_counts(runs)
    all_of_them = [run for run in runs if run.status != "finished"]
    lines = [
        f"seed {run.seed}, {formatting.counted(run.steps, 'step')}{_at(run) if several else ''}: "
        f"{status(run)} ({run.failure or 'no reason was recorded'})"
        for run in all_of_them[-MOST_TOLD:]
    ]
    more = len(all_of_them) - len(lines)
    return [*lines, f"and {more:,} more before these, which the .runs.csv has"] if more else lines


def settings(runs: Sequence[RunSummary]) -> list[str]:
    """What the runs were made with; one line for each different set."""
    lines = [
        f"images {run.dataset}, model {run.model}, {run.precision}, {run.device}, "
        f"{formatting.threads(run.threads)}, " + run.hyperparameters.in_words
        for run in runs
    ]
    return list(dict.fromkeys(lines))


def memory_methods(runs: Sequence[RunSummary]) -> str:
    """How peak memory was read."""
    methods = sorted({run.memory_method for run in runs if run.memory_method})
    return ", ".join(methods) or "not known"


def versions(machine: Machine) -> str:
    """What ran on a machine."""
    learner = f"scikit-learn {machine.scikit_learn}, " if machine.scikit_learn else ""
    return (
        f"Python {machine.python}, TensorFlow {machine.tensorflow}, Keras {machine.keras}, NumPy "
        f"{machine.numpy}, {learner}MLflow {machine.mlflow}, Optuna {machine.optuna}, mnist-bench "
        f"{machine.mnist_bench}"
    )


def standing_note(lines: Sequence[Standing]) -> str:
    """What the reference says of this machine's speed, and, apart from it, of its trainings."""
    ratio = pooled_ratio(lines)
    smallest = min((line.p_value for line in lines if line.p_value is not None), default=None)
    speed = f"The reference is of {_reference(lines[0])}. " if lines else ""
    if ratio is None:
        speed += "No time here is both trusted and of its arithmetic and device. "
    else:
        at = _listed(formatting.threads(n) for n in sorted({line.threads for line in lines}))
        speed += f"Training takes {ratio:.2f} times its time here{_between(lines)}, at {at}. "
    if smallest is None:
        return f"{speed}Nothing tells whether the training is the same one."
    told = "Its accuracies differ from the reference's"
    if smallest >= ALPHA / len(lines):
        told = "No difference of its accuracies from the reference's was found"
    return (
        f"{speed}{told} (smallest p {smallest:.2g}; Welch's test of each row's mean, of one seed "
        f"by the reference's spread; Bonferroni's correction at {ALPHA:.0%}): that is about the "
        "training, not the machine."
    )


def _between(lines: Sequence[Standing]) -> str:
    interval = pooled_interval(lines)
    if interval is None:
        return ""
    return (
        f" ({interval[0]:.2f} to {interval[1]:.2f}, Welch's {LEVEL:.0%} interval of the logarithm)"
    )


def _reference(line: Standing) -> str:
    return f"{line.reference_machine}, {formatting.threads(line.reference_threads)}"


def phases_head(phases: Phases, *, threads: bool) -> str:
    """Of which trainings the phases are."""
    trainings = formatting.counted(phases.trainings, "training")
    at = f" at {formatting.threads(phases.threads)}" if threads else ""
    return f"Mean over {trainings} up to step {formatting.count(phases.steps)}{at}; peaks are the largest."


def surroundings(seen: SystemState) -> list[str]:
    """The machine around the runs in a line, and in another what it did not tell."""
    told: dict[str, str | None] = {
        "power source": _power(seen),
        "frequency governor": f"governor {', '.join(seen.governors)}" if seen.governors else None,
        "usable cores": _cores(seen),
        "clock": _clock(seen),
        "temperature": _temperature(seen),
    }
    absent = [name for name, text in told.items() if text is None]
    lines = [", ".join(text for text in told.values() if text is not None)]
    lines += [f"not told by this system: {', '.join(absent)}"] if absent else []
    return [line for line in lines if line]


def _power(seen: SystemState) -> str | None:
    if seen.on_battery is None:
        return None
    return "on battery, at least for a time" if seen.on_battery else "on mains power"


def _cores(seen: SystemState) -> str | None:
    if seen.usable_cores is None or seen.logical_cores is None:
        return None
    quota = seen.quota_cores
    limit = "" if quota is None else f", limit on processor time {quota:g} cores"
    return f"{seen.usable_cores:g} of {seen.logical_cores} logical cores usable{limit}"


def _clock(seen: SystemState) -> str | None:
    low, high = seen.clock_mhz_min, seen.clock_mhz_max
    if low is None or high is None:
        return None
    same = f"{low:,.0f}" == f"{high:,.0f}"
    return f"clock {high:,.0f} MHz" if same else f"clock {low:,.0f} to {high:,.0f} MHz"


def _temperature(seen: SystemState) -> str | None:
    celsius = seen.temperature_celsius_max
    return None if celsius is None else f"up to {celsius:.0f} °C"
