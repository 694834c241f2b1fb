"""Sentences with figures, shared by all report formats; not yet escaped.

Sentences without figures are in the templates.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mnist_bench.analysis import table1
from mnist_bench.analysis.costs import Phases, total_cost
from mnist_bench.analysis.reference import compare_with_reference, pooled_interval, pooled_ratio
from mnist_bench.analysis.statistics import LEVEL
from mnist_bench.analysis.system_state import SystemState
from mnist_bench.analysis.table1 import ALPHA
from mnist_bench.core import formatting
from mnist_bench.core.formatting import UNKNOWN, count, counted
from mnist_bench.measurement.machine import Machine
from mnist_bench.reporting.columns import (
    decision_interval,
    figure,
    is_marked,
    mean_with_sd,
    status,
    verdict_in_words,
)
from mnist_bench.reporting.model import Report, ReportSection
from mnist_bench.results.claims import ClaimLine, ClaimVerdict, Decision
from mnist_bench.results.document import Document, Row, RowVerdict, Scaling, Standing
from mnist_bench.results.layer_maps import LayerMaps
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios import paper
from mnist_bench.tuning.document import StudyDocument

MOST_LINES = 200
"""Limit of the tables of runs and of results; the CSV has all of them."""
MOST_LISTED = 20
"""Limit of unfinished runs listed one by one, and of seeds listed per reason."""


def headline(document: Document) -> str:
    """Outcome of Table I and its cost, in one sentence."""
    total = total_cost(document.own_runs)
    invalid = f" ({total.invalid_trainings} with invalid runs)" if total.invalid_trainings else ""
    peak = (
        f"no peak memory ({total.peak.refusal})"
        if total.peak.refusal
        else f"peak memory {formatting.mebibytes(total.peak.rss_bytes)}"
    )
    cost = (
        f"{formatting.duration(total.train_seconds)} inside "
        f"{counted(total.trainings, 'training')}{invalid}, {peak}"
    )
    machines = {run.trajectory: run.machine_id for run in document.runs}
    others = [each for each in machines.values() if each != document.machine.machine_id]
    elsewhere = ""
    if others:
        cost = cost if total.trainings else "none here"
        elsewhere = (
            f"; {counted(len(others), 'training')} on {counted(len(set(others)), 'other machine')}"
        )
    ratio = pooled_ratio(document.standings)
    vs_reference = (
        "" if ratio is None else f", {ratio:.2f} times the reference machine's train time"
    )
    rows = document.table_1
    held = "None of Table I's step counts was run, so nothing is compared with the paper"
    if rows:
        held = f"Table I: {verdicts(rows)}"
    return f"{held}; cost: {cost}{vs_reference}{elsewhere}."


def outcome(document: Document) -> str:
    """Outcome of Table I and its cost on the screen: `Table I: 4 of 4 reproduced; …`."""
    total = total_cost(document.own_runs)
    trained = formatting.duration(total.train_seconds)
    unfinished = sum(run.status != "finished" for run in document.runs)
    parts = [
        f"Table I: {verdicts(document.table_1)}" if document.table_1 else "",
        f"{counted(unfinished, 'run')} did not finish" if unfinished else "",
        f"{formatting.duration(total.worker_seconds)} in all, {trained} of it training",
    ]
    return f"{'; '.join(part for part in parts if part)}."


def verdicts(rows: Sequence[Row]) -> str:
    """How many rows of Table I have which verdict: `3 of 4 reproduced, 1 below`."""
    counts = Counter(row.verdict for row in rows)
    order: Sequence[RowVerdict] = ("indistinguishable", "exceeds", "below", "not comparable")
    in_words = [f"{counts[each]} {verdict_in_words(each)}" for each in order if counts[each]]
    return ", ".join(in_words).replace(" ", f" of {len(rows)} ", 1)


# The lead of the page


@dataclass(frozen=True)
class Tile:
    """A figure at the top of the page, with what it is, and what else to know of it."""

    label: str
    value: str
    note: str = ""


def title(sections: Sequence[ReportSection], studies: Sequence[StudyDocument], on: Machine) -> str:
    """What was found or run, and where: `Table I reproduced on AMD EPYC, 2 cores, 24 GiB`."""
    what = " and ".join(
        counted(len(things), noun) for things, noun in ((sections, "scenario"), (studies, "study"))
        if things
    )  # fmt: skip
    rows = sections[0].document.table_1 if sections else ()
    if sections and sections[0].is_comparable and rows:
        is_reproduced = all(row.verdict == "indistinguishable" for row in rows)
        what = "Table I reproduced" if is_reproduced else f"Table I, {verdicts(rows)},"
    elif len(sections) == 1:
        what = sections[0].title
    elif len(studies) == 1 and not sections:
        what = f"Study {studies[0].study}"
    return f"{what} on {on.kind}"


def tiles(report: Report) -> list[Tile]:
    """The figures that a reader wants first: of the first scenario, else of the first study."""
    if report.sections:
        return tiles_of_section(report.sections[0])
    return [
        tile
        for study in report.studies[:1]
        for tile in (
            Tile(
                study.goal.names[0],
                study.goal.texts(study.candidate_values)[0] if study.candidate_values else UNKNOWN,
                "" if study.candidate is None else f"trial {study.candidate}",
            ),
            Tile("Trials", count(len(study.trials))),
            Tile("Search", formatting.duration(study.search_seconds)),
        )
    ]


def tiles_of_section(section: ReportSection) -> list[Tile]:
    """Result, time and memory of a scenario, and its speed if it compares with the reference."""
    rows, total = section.document.table_1, total_cost(section.document.own_runs)
    longest = section.rows[-1] if section.rows else None
    found = []
    if section.is_comparable and rows:
        paper_value, here = rows[-1].paper_max_test_accuracy, (rows[-1].mean, rows[-1].sd)
        steps = counted(rows[-1].steps, "step")
        note = (
            f"{steps}: {mean_with_sd(*here)} here, {formatting.accuracy(paper_value)} in the paper"
        )
        found.append(Tile("Table I", verdicts(rows), note))
    elif longest:
        here = longest.final_test_accuracy_mean, longest.final_test_accuracy_sd
        seeds = f", {counted(longest.n, 'seed')}" if longest.n > 1 else ""
        note = f"{section.scenario}, {counted(longest.steps, 'step')}{seeds}"
        found.append(Tile("Final test accuracy", mean_with_sd(*here), note))
    trained = formatting.duration(total.train_seconds)
    found.append(
        Tile(
            "All in",
            formatting.duration(total.worker_seconds or total.train_seconds),
            f"{trained} of it training, {counted(total.trainings, 'training')}",
        )
    )
    peak = formatting.mebibytes(total.peak.rss_bytes)
    found.append(Tile("Peak memory", peak, total.peak.refusal or "of the training process"))
    standings = _standings(section)
    ratio = pooled_ratio(standings)
    if ratio:
        reference = standings[0].reference_machine.partition(", ")[0]
        found.append(Tile("Speed", f"{1 / ratio:.2f}×", f"that of the reference, {reference}"))
    return found


def _standings(section: ReportSection) -> Sequence[Standing]:
    return section.document.standings or compare_with_reference(
        section.rows, table1.reference_document()
    )


def score(section: ReportSection) -> str | None:
    """This machine's result in a sentence; None unless its whole Table I was timed undisturbed."""
    own, steps = section.document.own_runs, [row.steps for row in section.document.table_1]
    standings = _standings(section)
    ratio, ends = pooled_ratio(standings), pooled_interval(standings)
    if ratio is None or steps != [row.steps for row in paper.TABLE_1]:
        return None
    total = total_cost(own)
    seconds = total.worker_seconds or total.train_seconds
    if seconds is None:
        return None
    interval = f" ({1 / ends[1]:.2f} to {1 / ends[0]:.2f})" if ends else ""
    verdicts_here = Counter(run.verdict or "not assessed" for run in own)
    is_clean = set(verdicts_here) == {"clean"}
    runs = "clean" if is_clean else ", ".join(f"{n} {name}" for name, n in verdicts_here.items())
    duration = formatting.duration(seconds / total.trainings)
    peak = formatting.mebibytes(total.peak.rss_bytes)
    return (
        f"This machine: {1 / ratio:.2f} of the reference's speed{interval}, Table I in {duration} "
        f"a seed, peak {peak}, {runs}"
    )


def results(report: Report) -> list[Row]:
    """Rows of the table of all results: every step count, and the largest of unlisted scenarios."""
    shown = [
        row.model_copy(update={"scenario": section.scenario})
        for section in report.sections
        for row in section.rows
        if row.n
    ]
    return [*shown, *(section.summary for section in report.others)]


def results_notes(report: Report) -> list[str]:
    """Notes below the table of all results: its marks, and what was left out of the report."""
    every_section = (*report.sections, *report.others)
    rows = [row for section in every_section for row in section.rows]
    runs = [run for section in every_section for run in section.document.own_runs]
    without_results = [
        f"{section.scenario}, {line}"
        for section in report.sections
        if not section.has_results
        for line in unfinished(section.document.runs)
    ]
    more = len(results(report)) - MOST_LINES
    left_out = [f"and {more:,} more rows: the .csv beside this file has all"] if more > 0 else []
    return [*left_out, *disturbed_note(rows, runs), *without_results, *report.notes]


def has_time_to_accuracy(sections: Iterable[ReportSection]) -> bool:
    """Whether an accuracy was reached by a training of several steps: a fit has no pace."""
    return any(
        line.reached and section.rows and section.rows[-1].steps > 1
        for section in sections
        for line in section.document.reaches
    )


def image_warning(runs: Sequence[RunSummary]) -> str | None:
    """A warning if no run used the full MNIST; a mix is noted with the rows."""
    datasets = sorted({run.dataset for run in runs})
    if not datasets or paper.DATASET in datasets:
        return None
    return f"NOT COMPARABLE with Table I: other images than the full MNIST ({', '.join(datasets)})"


def row_notes(rows: Sequence[Row]) -> list[str]:
    """Notes on rows; rows with the same note share a line."""
    steps_by_note = defaultdict[str, list[str]](list)
    for row in rows:
        if row.reason:
            kind = "not comparable: " if row.verdict == "not comparable" else ""
            steps_by_note[f"{kind}{row.reason}"].append(count(row.steps))
        if row.cost_note:
            steps_by_note[row.cost_note].append(count(row.steps))
    notes = [f"{formatting.steps(_joined(steps))}: {note}" for note, steps in steps_by_note.items()]
    late = [
        count(row.steps)
        for row in rows
        if row.paper_step
        and row.overall_max_test_accuracy_mean is not None
        and row.overall_max_test_accuracy_mean > (row.mean or 0)
    ]
    if late:
        notes.append(
            f"{formatting.steps(_joined(late))}: a final accuracy is above the max: the paper's "
            "grid does not include the last step"
        )
    if any(row.invalid for row in rows):
        notes.append(
            "Accuracies keep every finished run: what the machine did does not change them."
        )
    return notes


def disturbed_note(lines: Iterable[Row | RunSummary], runs: Sequence[RunSummary]) -> list[str]:
    """What `*` means and what to do, if a line has one."""
    if not any(map(is_marked, lines)):
        return []
    reasons = ", ".join(dict.fromkeys(reason for run in runs for reason in run.reasons or ()))
    by = f" by {reasons}" if reasons else ""
    return [f"* disturbed{by}; `--resume --repeat-disturbed` trains such runs again"]


def machine_notes(rows: Sequence[Row], document: Document) -> list[str]:
    """From how many machines the accuracies are, and notes on the costs of the other machines.

    Rows of as many machines share a line.
    """
    costs = document.machine_costs
    return [
        *_pooled(rows, Counter(line.steps for line in costs if line.pooled_n)),
        *(
            f"{counted(line.steps, 'step')} on {formatting.machine(line.machine_id)}: {line.note}"
            for line in costs
            if line.note and line.machine_id != document.machine.machine_id
        ),
    ]


def _pooled(rows: Sequence[Row], machines: Mapping[int, int]) -> list[str]:
    """Number of machines by steps, in words."""
    steps_by_number = defaultdict[int, list[str]](list)
    for row in rows:
        steps_by_number[machines.get(row.steps, 1)].append(count(row.steps))
    if len(steps_by_number) == 1 and min(steps_by_number) > 1:
        return [f"Accuracies pooled over {min(steps_by_number)} machines."]
    return [
        f"{formatting.steps(_joined(steps))}: accuracies pooled over {number} machines."
        for number, steps in steps_by_number.items()
        if number > 1
    ]


def contradictions(rows: Sequence[Row]) -> list[str]:
    """Note on the row whose value differs between the paper's table and its text."""
    steps = paper.RUNNING_TEXT_STEPS
    paper_row = paper.row_of(steps)
    if paper_row is None or all(row.steps != steps for row in rows):
        return []
    note = (
        f"{count(steps)} steps: the paper contradicts itself: its Table I says "
        f"{paper_row.max_test_accuracy}, its running text {paper.RUNNING_TEXT_ACCURACY}; "
        "the table's figure is used here"
    )
    return [note]


def layers_note(layers: LayerMaps) -> str:
    """Description of Figures 1 to 4."""
    own_text = (
        "Below them is what a network of Table I makes of the same image, trained for "
        f"{count(layers.own_steps)} updates."
        if layers.own
        else "Table I's own trained network is not among them: when they were made none of the "
        "longest runs had kept its weights; a scenario with save_weights = true does."
    )
    return (
        f"Test image {layers.image} of {layers.dataset}, {formatting.digit(layers.label)}, in the "
        "layers of the small network that the paper shows in its Figures 2 to 4. The paper's are "
        "of an untrained network: its author's program never trains it. Beside each stands the "
        "same network after "
        f"{count(layers.steps)} updates, with a test accuracy of "
        f"{formatting.accuracy(layers.test_accuracy)} (seed {layers.seed}). {own_text}"
    )


def scaling_notes(lines: Sequence[Scaling]) -> list[str]:
    """Notes on the base of the speed-ups, and on single lines."""
    steps_by_base = defaultdict[int, dict[str, None]](dict)
    for line in lines:
        steps_by_base[line.base_threads][count(line.steps)] = None
    return [
        f"{formatting.steps(_joined(steps))}: speed-up and efficiency are against "
        f"{formatting.threads(base)}"
        for base, steps in steps_by_base.items()
    ] + [
        f"{counted(line.steps, 'step')} at {formatting.threads(line.threads)}: {line.note}"
        for line in lines
        if line.note
    ]


def disturbances(runs: Sequence[RunSummary]) -> list[str]:
    """Reasons why runs are not clean, one line each, with the runs concerned."""
    runs_by_reason = defaultdict[str, list[RunSummary]](list)
    for run in runs:
        for reason in run.reasons or ():
            runs_by_reason[reason].append(run)
    return [
        f"not clean, {reason}: {_runs_in_words(disturbed_runs, runs)}"
        for reason, disturbed_runs in runs_by_reason.items()
    ]


def _runs_in_words(chosen: Sequence[RunSummary], runs: Sequence[RunSummary]) -> str:
    """Runs by seed and steps; seeds with the same steps are grouped."""
    if len(chosen) == len(runs) > 1:
        return "every run"
    by_threads = has_several_thread_counts(runs)
    steps_by_seed = defaultdict[tuple[int, str], dict[str, None]](dict)
    for run in sorted(chosen, key=lambda run: (by_threads and run.threads, run.seed, run.steps)):
        steps_by_seed[run.seed, _at_threads(run) if by_threads else ""][count(run.steps)] = None
    seeds_by_steps = defaultdict[tuple[str, str], list[str]](list)
    for (seed, threads), step_counts in steps_by_seed.items():
        seeds_by_steps[_joined(step_counts), threads].append(str(seed))
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
    by_threads = has_several_thread_counts(runs)
    unfinished_runs = [run for run in runs if run.status != "finished"]
    lines = [
        f"seed {run.seed}, {counted(run.steps, 'step')}{_at_threads(run) if by_threads else ''}: "
        f"{status(run)} ({run.failure or 'no reason was recorded'})"
        for run in unfinished_runs[-MOST_LISTED:]
    ]
    more = len(unfinished_runs) - len(lines)
    return [*lines, f"and {more:,} more before these, which the .runs.csv has"] if more else lines


def settings(runs: Sequence[RunSummary]) -> list[str]:
    """Settings of the runs, one line per distinct set."""
    lines = [
        f"images {run.dataset}, model {run.model}, {run.precision}, {run.device}, "
        f"{formatting.threads(run.threads)}, {run.hyperparameters.description}"
        + (f", with {run.environment}" if run.environment else "")
        for run in runs
    ]
    return list(dict.fromkeys(lines))


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
    speed = (
        f"The reference is of {lines[0].reference_machine}, "
        f"{formatting.threads(lines[0].reference_threads)}. "
        if lines
        else ""
    )
    if ratio is None:
        speed += "No time here is both trusted and of its arithmetic and device. "
    else:
        thread_counts = _joined(
            formatting.threads(n) for n in sorted({line.threads for line in lines})
        )
        ends = pooled_interval(lines)
        interval = (
            f" ({ends[0]:.2f} to {ends[1]:.2f}, Welch's {LEVEL:.0%} interval of the logarithm)"
            if ends
            else ""
        )
        speed += f"Training takes {ratio:.2f} times its time here{interval}, at {thread_counts}. "
    if smallest is None:
        return f"{speed}Whether the training is the same one is unknown."
    finding = "Its accuracies differ from the reference's"
    if smallest >= ALPHA / len(lines):
        finding = "No difference of its accuracies from the reference's was found"
    return (
        f"{speed}{finding} (smallest p {smallest:.2g}; Welch's test of each row's mean, of one "
        f"seed by the reference's spread; Bonferroni's correction at {ALPHA:.0%}): that is about "
        "the training, not the machine."
    )


def phases_head(phases: Phases, *, threads: bool) -> str:
    """Trainings that the phases are averaged over."""
    at_threads = f" at {formatting.threads(phases.threads)}" if threads else ""
    return (
        f"Mean over {counted(phases.trainings, 'training')} up to step {count(phases.steps)}"
        f"{at_threads}; peaks are the largest."
    )


def surroundings(state: SystemState) -> list[str]:
    """System state in one line, and what is unknown in another."""
    facts = {
        "power source": _power(state),
        "frequency governor": f"governor {', '.join(state.governors)}" if state.governors else "",
        "usable cores": _cores(state),
        "clock": _clock(state),
        "temperature": f"up to {state.temperature_celsius_max:.0f} °C"
        if state.temperature_celsius_max is not None
        else "",
    }
    unknown = [name for name, text in facts.items() if not text]
    lines = [", ".join(text for text in facts.values() if text)]
    lines += [f"not available on this system: {', '.join(unknown)}"] if unknown else []
    return [line for line in lines if line]


def _power(state: SystemState) -> str:
    if state.on_battery is None:
        return ""
    return "on battery, at least for a time" if state.on_battery else "on mains power"


def _cores(state: SystemState) -> str:
    if state.usable_cores is None or state.logical_cores is None:
        return ""
    quota = state.quota_cores
    limit = "" if quota is None else f", limit on processor time {quota:g} cores"
    return f"{state.usable_cores:g} of {state.logical_cores} logical cores usable{limit}"


def _clock(state: SystemState) -> str:
    if state.clock_mhz_min is None or state.clock_mhz_max is None:
        return ""
    low, high = f"{state.clock_mhz_min:,.0f}", f"{state.clock_mhz_max:,.0f}"
    return f"clock {high} MHz" if low == high else f"clock {low} to {high} MHz"


# Claims


def claim_title(line: ClaimLine) -> str:
    """Title of a claim's section."""
    return f"Claim {line.claim}: {line.verdict}"


def claims_headline(lines: Sequence[ClaimLine]) -> str:
    """Number of claims by verdict: `Of 12 claims of the paper 8 hold, 4 do not hold`."""
    counts = Counter(line.verdict for line in lines)
    words: dict[ClaimVerdict, tuple[str, str]] = {
        "holds": ("holds", "hold"),
        "does not hold": ("does not hold", "do not hold"),
        "not decided here": ("is not decided here", "are not decided here"),
    }
    parts = [f"{counts[each]} {of[counts[each] > 1]}" for each, of in words.items() if counts[each]]
    return f"Of {counted(len(lines), 'claim')} of the paper {', '.join(parts)}"


def claim_notes(line: ClaimLine) -> Iterator[str]:
    """Rule and remark of each criterion."""
    for decision in line.decisions:
        parts = [f"it holds where {decision.rule}" if decision.rule else "", decision.note or ""]
        yield f"{decision.criterion}: {'; '.join(part for part in parts if part)}"


def found(decision: Decision) -> str:
    """A decision in one line: `trend: -0.42 (-0.5 to -0.35), n = 20: holds`."""
    if decision.value is None and decision.verdict == "not decided here":
        return f"{decision.criterion}: {decision.note or decision.verdict}"
    text = f"{decision.criterion}: {figure(decision.value, decision.unit)}"
    if decision.low is not None or decision.high is not None:
        text += f" ({decision_interval(decision)})"
    if decision.n is not None:
        text += f", n = {count(decision.n)}"
    end = decision.verdict or decision.note
    return f"{text}: {end}" if end else text
