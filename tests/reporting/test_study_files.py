"""A study's files, of hand-made documents: report, document, trials, winner and charts."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from factories import (
    LIMITED_GOAL,
    PAPER_VALUES,
    PARETO_GOAL,
    STUDY_SPACE,
    STUDY_TRIALS,
    TUNE_COMMAND,
    WINNER_VALUES,
    finished_trial,
    machine,
    pareto_study,
    study_confirmation,
    study_document,
)
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.analysis.statistics import Interval
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.reporting import study_charts
from mnist_bench.reporting.markdown import study_to_markdown
from mnist_bench.reporting.study import counts, headline, machines
from mnist_bench.reporting.study_files import trials_csv, winner_toml, write
from mnist_bench.scenarios import scenario
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.tuning.confirmation_stats import Confirmation, confirmation_in_words
from mnist_bench.tuning.document import EvaluationOnTest, StudyDocument
from mnist_bench.tuning.finalists import Finalist
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.space import Parameter, Space, Value

pytestmark = pytest.mark.usefixtures("folder")  # reports are written in the working directory

TIME_GOAL = Goal(objective="time-to-accuracy", target_accuracy=0.9)
NO_ANSWER = {"best": (), "candidate": None, "margin": None}
INFEASIBLE = study_document(trials=STUDY_TRIALS[2:], **NO_ANSWER)
IMPORTANCES = {"batch_size": 0.2, "learning_rate": 0.75, "optimizer": 0.05}
ACCURACY_NOISE = Interval(difference=0.0002, low=-0.0011, high=0.0015)
CHOSEN = r"learning\_rate 0.01235, batch\_size 64, optimizer momentum, schedule cosine"
"""Of the factories' trials, in a cell of a table."""
PAPERS = (
    r"learning\_rate 0.001, batch\_size 50, optimizer adam, schedule constant, average\_decay 0"
)
TIME_NOISE = Interval(difference=1.5, low=-0.25, high=3.25)


def looks(*found: tuple[int, Confirmation | None]) -> tuple[EvaluationOnTest, ...]:
    """Evaluations on the test split: candidate and comparison of each."""
    return tuple(
        EvaluationOnTest(number=number, candidate=candidate, first_seed=1_000 * number, proof=proof)
        for number, (candidate, proof) in enumerate(found, start=1)
    )


def report(document: StudyDocument, *pictures: str) -> str:
    return study_to_markdown(document, "2026-01-31", pictures)


def section(text: str, title: str) -> list[str]:
    """The lines of one section."""
    assert text.count(f"\n## {title}\n") == 1
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0].strip().splitlines()


# The report; contract/test_reports.py compares all sections with a golden file


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {"accuracy": ACCURACY_NOISE, "train_seconds": TIME_NOISE, "mcnemar": None,
             "payback_runs": None},
            [("- Difference in accuracy, winner less paper: +0.0002, 95% interval -0.0011 to "
              "+0.0015 (Welch); within noise"),
             ("- Difference in train time: +1.5 s, 95% interval -0.2 s to +3.2 s (Welch); within "
              "noise"),
             "- From validation in the search to test on fresh seeds: -0.0021",
             "- Whether the search pays for itself in time is not known: the difference is noise"],
        ),
        (
            {"train_seconds": Interval(difference=1.5, low=0.25, high=2.75), "payback_runs": None},
            ["- The search never pays for itself in time: the winner is no faster"],
        ),
        (
            {"target_seconds": Interval(difference=-30.0, low=-33.0, high=-27.0), "mcnemar": None},
            ["- Difference in time to the target: -30.0 s, 95% interval -33.0 s to -27.0 s (Welch)",
             "- From validation in the search to test on fresh seeds: -0.0021",
             "- The search has paid for itself after 1,234.6 runs"],
        ),
    ],
)  # fmt: skip
def test_notes_on_a_confirmation(changes: dict[str, Any], lines: list[str]) -> None:
    text = report(study_document(looks=looks((1, study_confirmation(**changes)))))
    assert section(text, "The looks at the test split")[-len(lines) :] == lines


def test_headline() -> None:
    later = study_confirmation(accuracy=ACCURACY_NOISE)
    evaluations = looks((1, study_confirmation()), (1, later), (1, None))
    expected = f"Trial 1 on fresh seeds: {confirmation_in_words(later)}"
    assert headline(study_document(looks=evaluations)) == expected
    # A later candidate does not get an earlier one's result.
    other = headline(study_document(looks=looks((0, study_confirmation()), (1, None))))
    assert other.startswith("Best on validation: trial 1; ")
    interrupted = study_document(ended="it was interrupted", is_whole=False)
    assert headline(interrupted) == (
        "The study did not come to its end: it was interrupted. 6 trials: 3 finished, 1 pruned, "
        "1 failed, 1 waiting; the search took 1 min 15 s."
    )
    assert counts(study_document(trials=STUDY_TRIALS[:3], search_seconds=7_380.0)) == (
        "3 trials: 3 finished; the search took 2 h 03 min."
    )


def test_machines_of_the_trials() -> None:
    changes = [{"machine_id": "a"}, {"machine_id": "b", "machine": "Fast"}]
    one, *two = (finished_trial(n, 0.9, **changes[n > 0]) for n in range(3))
    assert machines(study_document(trials=tuple(two))) is None
    assert machines(study_document(trials=(one, *two))) == (
        "Trained on 2 machines: a machine (1 trial); Fast (2 trials). Their hours are added up."
    )


def test_study_without_feasible_trial() -> None:
    text = report(INFEASIBLE)
    assert (
        text.splitlines()[2] == "No trial is an answer: none that finished keeps every constraint."
    )
    assert "## The winner" not in text
    assert section(text, "The trials")[-1] == f"| 2 | 0.9900 | – | 30.2 s | no | {CHOSEN} | run-2 |"


def test_best_trials_include_the_papers_configuration() -> None:
    falling = [finished_trial(n, (99 - n) / 100) for n in range(1, 13)]
    papers = finished_trial(0, 0.5, chosen=PAPER_VALUES, is_papers=True)
    for trials in ((papers, *falling), (*falling, papers)):
        lines = section(report(study_document(trials=trials)), "The trials")[4:]
        numbers = [line.split(" | ")[0] for line in lines]
        assert numbers == [*(f"| {number}" for number in range(1, 11)), "| 0 (paper)"]
        assert lines[0] == f"| 1 | 0.9800 | – | 20.5 s | {CHOSEN} | run-1 |"


def test_trials_by_time() -> None:
    trials = tuple(finished_trial(n, seconds) for n, seconds in enumerate((61.25, 7.5, 30.0)))
    text = report(study_document(goal=TIME_GOAL, trials=trials))
    assert section(text, "The winner")[0] == "Trial 1: train seconds to the target 7.5 s."
    first, _, *lines = section(text, "The trials")[2:]
    assert (
        first
        == "| Trial | Train seconds to the target | Verdict | Trial took | Hyperparameters | Run |"
    )
    assert [line.split(" | ")[1] for line in lines] == ["7.5 s", "30.0 s", "1 min 01 s"]


def test_several_objectives_have_a_column_each_and_the_whole_front_is_listed() -> None:
    first, _, *lines = section(report(pareto_study()), "The trials")[2:]
    assert first == (
        "| Trial | Validation accuracy | Train seconds | Peak RSS | Verdict | Trial took | On the "
        "front | Hyperparameters | Run |"
    )
    assert lines == [
        f"| 3 | 0.9912 | 1 min 35 s | 500 MiB | – | 20.5 s | yes | {CHOSEN} | run-3 |",
        f"| 1 | 0.9834 | 20.5 s | 900 MiB | – | 20.5 s | yes | {CHOSEN} | run-1 |",
        f"| 0 (paper) | 0.9712 | 40.0 s | 1,000 MiB | – | 20.5 s | yes | {PAPERS} | run-0 |",
        f"| 2 | 0.9700 | 41.5 s | 1,000 MiB | – | 20.5 s | no | {CHOSEN} | run-2 |",
    ]
    cheap = finished_trial(20, 0.5, 1.0, 1e8)
    better = [finished_trial(number, 0.99, 50.0, 2e9) for number in range(5, 17)]
    document = pareto_study()
    more = {"trials": (*document.trials, *better, cheap), "best": (*document.best, 20)}
    lines = section(report(document.model_copy(update=more)), "The trials")
    assert any(line.startswith("| 20 | 0.5000 | 1.0 s | 95 MiB |") for line in lines)


def test_finalists_that_miss_a_constraint() -> None:
    soon, late = (
        Finalist(trial=trial, repeats=(6, 7, 8), values=(value,), missed={"max seconds": missed})
        for trial, value, missed in ((1, 0.98, -0.5), (2, 0.9817, 0.5))
    )
    document = study_document(candidate=1, finalists=(soon, late))
    assert section(report(document), "The finalists")[-2:] == [
        "| 1 | 3 | 0.9800 | 0.9834 | yes |",
        "| 2 | 3 | 0.9817 | 0.9900 | no |",
    ]


def test_disturbed_trials_and_several_commands() -> None:
    verdicts = ("clean", "suspect", "invalid")
    trials = tuple(finished_trial(n, 0.9, verdict=verdict) for n, verdict in enumerate(verdicts))
    commands = (TUNE_COMMAND, f"{TUNE_COMMAND} --resume")
    text = report(study_document(trials=(*trials, *STUDY_TRIALS[5:]), commands=commands))
    assert (
        "\n> The machine was disturbed during 2 of 3 trials (column *Verdict*): mistrust their "
        "times.\n"
    ) in text
    assert section(text, "The trials")[5] == f"| 1 | 0.9000 | suspect | 20.5 s | {CHOSEN} | run-1 |"
    assert f"```console\n{TUNE_COMMAND}\n{TUNE_COMMAND} --resume\n```" in text
    clean = report(study_document(trials=trials[:1], best=(0,), candidate=0, dataset="mnist"))
    assert "disturbed" not in clean
    assert "NOT COMPARABLE" not in clean


EVIL = "a|b <script>x</script> & `c` *d* _e_ [f](http://g) \\ # h \x1b[31m \u202e ~~$i$"


def test_text_of_the_document_is_escaped() -> None:
    document = study_document(
        space=STUDY_SPACE.model_copy(update={"title": EVIL}),
        study=EVIL,
        dataset=EVIL,
        machine=machine(cpu=EVIL),
        commands=(f"mnist-bench tune --study '{EVIL}' ```",),
    )
    plain, code_blocks = re.subn(r"````console\n.*\n````\n", "", report(document))
    assert code_blocks == 1
    for bare in ("<script", "`c`", "[f](", "\x1b", "\u202e", " *d*", " _e_", "a|b", "$i$"):
        assert bare not in plain, bare


# The files


def test_written_files(folder: Path) -> None:
    document = study_document(importances={"learning_rate": 1.0})
    paths = write(document)
    assert paths[0] == Path("reports", "mine.md")
    names = {".md", ".json", ".csv", ".toml"}
    names |= {f".{name}.png" for name in ("history", "slices", "parallel", "importances")}
    found = {path.name.removeprefix("mine"): path.read_bytes() for path in paths}
    assert set(found) == names
    assert set((folder / "reports").iterdir()) == {folder / path for path in paths}
    assert found[".json"].decode() == document.model_dump_json(indent=2) + "\n"
    assert found[".csv"].decode() == trials_csv(document)
    assert found[".toml"].decode() == winner_toml(document, 1)
    pictures = study_charts.pictures_of(document)
    assert {name: found[f".{name}.png"] for name in pictures} == pictures, "reproducible"


@pytest.mark.parametrize("study", ["mine", "my study", "mine (2)", "a.b"])
def test_report_links_its_charts(folder: Path, monkeypatch: pytest.MonkeyPatch, study: str) -> None:
    pictures = {"history": b"1", "slices": b"2"}
    monkeypatch.setattr(study_charts, "pictures_of", lambda _: pictures)
    text = write(study_document(study=study))[0].read_text(encoding="utf-8")
    assert re.search(r"^Study [^,]+, 20\d\d-\d\d-\d\d, on Imaginary CPU", text, re.MULTILINE)
    links = re.findall(r"^!\[(\w+)\]\(([^\s()<>]+)\)$", text, re.MULTILINE)
    assert {name: unquote(target) for name, target in links} == {
        name: f"{study}.{name}.png" for name in pictures
    }
    assert all((folder / "reports" / unquote(target)).is_file() for _, target in links)


@pytest.mark.parametrize(
    ("document", "title"),
    [
        (INFEASIBLE, "How this was found"),
        (study_document(candidate=0, best=(0,)), "The best trial"),  # the paper's configuration
        (study_document(ended="it was interrupted", is_whole=False), "The best trial"),
        (study_document(trials=STUDY_TRIALS[3:], **NO_ANSWER), "The trials"),
    ],
    ids=["infeasible", "paper", "interrupted", "unfinished"],
)
def test_no_winner_file(document: StudyDocument, title: str) -> None:
    paths = write(document)
    pictures = [f"mine.{name}.png" for name in ("history", "slices", "parallel")
                if document.finished]  # fmt: skip
    assert [path.name for path in paths] == ["mine.md", "mine.json", "mine.csv", *pictures]
    text = paths[0].read_text(encoding="utf-8")
    assert f"\n## {title}\n" in text
    assert "## The winner" not in text
    assert text.count("![") == len(pictures)


def test_failed_write_leaves_no_partial_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_charts, "pictures_of", lambda _: {})

    def found() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (folder / "reports").glob("*")}

    write(study_document())
    winner = folder / "reports" / "mine.toml"
    winner.unlink()
    before = found()
    winner.mkdir()
    with pytest.raises(BenchError, match=r"^can't write reports.mine\.toml: ") as caught:
        write(study_document(search_seconds=1.0))
    assert caught.value.exit_status == EXIT_FAILURE
    winner.rmdir()
    between = found()
    write(study_document(search_seconds=1.0))
    after = found()
    assert after["mine.json"] != before["mine.json"]
    assert set(between) == set(before) == set(after) - {"mine.toml"}
    assert all(between[name] in {before[name], after[name]} for name in between)


# Trials as CSV

CSV = """\
trial,state,is_papers,retry_of,repeat_of,is_feasible,seconds,train_seconds,peak_rss_bytes,verdict,run_id,\
objective_validation_accuracy,learning_rate,batch_size,optimizer,schedule,average_decay,best_so_far
0,finished,True,,,True,12.0,,,,run-0,0.9712,0.001,50,adam,constant,0.0,0.9712
1,finished,False,,,True,20.5,,,,run-1,0.9834,0.0123456789,64,momentum,cosine,,0.9834
2,finished,False,,,False,30.25,,,,run-2,0.99,0.0123456789,64,momentum,cosine,,0.9834
3,pruned,False,,,False,8.0,,,,run-3,,0.001,50,momentum,constant,0.0,0.9834
4,failed,False,,,False,4.25,,,,,,0.0123456789,64,momentum,cosine,,0.9834
5,waiting,False,4,,False,,,,,,,,,,,,0.9834
"""


def test_trials_csv() -> None:
    assert trials_csv(study_document()) == CSV
    document = pareto_study().model_copy(
        update={"trials": (*pareto_study().trials, STUDY_TRIALS[4])}
    )
    lines = list(csv.DictReader(io.StringIO(trials_csv(document))))
    names = [f"objective_{of}" for of in ("validation_accuracy", "train_seconds", "peak_rss")]
    assert list(lines[0])[11:14] == names
    assert [lines[3][name] for name in names] == ["0.9912", "95.25", "524288000.0"]
    assert [lines[4][name] for name in names] == ["", "", ""]


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+1", "\t=1"])
def test_trials_csv_escapes_formulas(text: str) -> None:
    document = study_document(trials=(finished_trial(1, 0.9834, run_id=text),))
    (line,) = csv.DictReader(io.StringIO(trials_csv(document)))
    assert line["run_id"] == f"'{text.strip()}"


chosen_values = st.fixed_dictionaries(
    {
        "learning_rate": st.floats(0.0001, 0.1),
        "batch_size": st.integers(10, 100),
        "optimizer": st.sampled_from(["adam", "momentum"]),
        "schedule": st.sampled_from(["constant", "cosine"]),
    },
    optional={"average_decay": st.sampled_from([0.0, 0.9])},
)


@given(chosen=chosen_values, accuracy=st.floats(0, 1))
def test_csv_and_winner_keep_full_precision(
    tmp_path_factory: pytest.TempPathFactory, chosen: dict[str, Value], accuracy: float
) -> None:
    document = study_document(trials=(finished_trial(1, accuracy, chosen=chosen),))
    (line,) = csv.DictReader(io.StringIO(trials_csv(document)))
    assert float(line["objective_validation_accuracy"]) == accuracy
    assert float(line["learning_rate"]) == chosen["learning_rate"]
    assert line["batch_size"] == str(chosen["batch_size"])
    assert line["average_decay"] == str(chosen.get("average_decay", ""))
    winner = read_back(tmp_path_factory.getbasetemp(), winner_toml(document, 1))
    title = "Winner of the study mine: trial 1"
    assert winner == STUDY_SPACE.scenario(chosen).model_copy(update={"title": title})
    assert {name: getattr(winner.hyperparameters, name) for name in chosen} == chosen


# The winner as a scenario


def read_back(folder: Path, text: str) -> scenario.Scenario:
    path = folder / "winner.toml"
    path.write_text(text, encoding="utf-8", newline="")
    return scenario.read(path)


def test_the_winner_is_a_scenario(tmp_path: Path) -> None:
    winner = read_back(tmp_path, winner_toml(study_document(), 1))
    assert (winner.steps, winner.dataset) == ((100,), "mnist-5k")
    assert (winner.eval_first, winner.eval_every) == (5, 5)
    assert winner.hyperparameters == PaperCnnHyperparameters(
        learning_rate=0.0123456789, batch_size=64, optimizer="momentum", schedule="cosine"
    )
    papers = read_back(tmp_path, winner_toml(study_document(), 0))
    assert papers.hyperparameters == PaperCnnHyperparameters()
    limited = study_document(space=STUDY_SPACE.model_copy(update={"train_seconds": 30.0}))
    text = winner_toml(limited, 1)
    assert text.startswith("# The study ended each training at the first grid step past 30 s, ")
    assert read_back(tmp_path, text).steps == (100,)
    for dataset, written in (("mnist", "mnist"), ("custom:0123456789ab", "auto")):
        assert f'dataset = "{written}"' in winner_toml(study_document(dataset=dataset), 1)


@pytest.mark.parametrize(
    ("study", "title"),
    [
        ('a "b"\\\n\tc', 'Winner of the study a "b"\\\n\tc: trial 1'),
        ("é…\u202e", "Winner of the study é…\u202e: trial 1"),
        ("n" * 300, f"Winner of the study {'n' * 180}"),
    ],
    ids=["quotes", "letters", "long"],
)
def test_winner_of_a_study_of_any_name(tmp_path: Path, study: str, title: str) -> None:
    assert read_back(tmp_path, winner_toml(study_document(study=study), 1)).title == title


def test_chosen_steps_and_a_target(tmp_path: Path) -> None:
    space = Space(
        title="Steps too",
        model="paper-cnn",
        eval_every_images=5_000,
        target_accuracy=0.99,
        parameters={
            "steps": Parameter(low=100, high=5_000),
            "batch_size": Parameter(low=10, high=100),
        },
    )
    trial = finished_trial(1, 0.9834, chosen={"steps": 3_000, "batch_size": 40})
    winner = read_back(tmp_path, winner_toml(study_document(space=space, trials=(trial,)), 1))
    assert (winner.steps, winner.eval_every) == ((3_000,), 125)
    assert winner.target_accuracies == (0.99,)
    assert winner.hyperparameters == PaperCnnHyperparameters(batch_size=40)


# Charts


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height from a PNG's first chunk."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def test_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are drawn even if Matplotlib is configured for a display that does not exist."""
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    monkeypatch.delenv("DISPLAY", raising=False)
    document = pareto_study().model_copy(update={"importances": IMPORTANCES})
    pictures = study_charts.pictures_of(document)
    # Two rows of slices for five parameters, three bars.
    assert {name: png_size(png) for name, png in pictures.items()} == {
        "history": (700, 400), "slices": (1_200, 520), "parallel": (700, 305),
        "importances": (600, 170), "pareto": (700, 450),
    }  # fmt: skip
    # Neither a date nor a version.
    assert not [name for name, png in pictures.items() if b"tEXt" in png]


@pytest.mark.parametrize("goal", [LIMITED_GOAL, PARETO_GOAL])
def test_no_charts_without_finished_trials(goal: Goal) -> None:
    document = study_document(goal=goal, trials=STUDY_TRIALS[3:], **NO_ANSWER)
    assert study_charts.pictures_of(document) == {}


def points_of(line: Any) -> list[tuple[Any, ...]]:
    return [tuple(point) for point in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def test_the_history() -> None:
    (axes,) = study_charts.history(study_document()).axes
    trials, best, papers, pruned = axes.lines
    assert points_of(trials) == [(0, 0.9712), (1, 0.9834), (2, 0.99)]
    # The third is infeasible, the others have not finished.
    assert points_of(best) == [(0, 0.9712), *((number, 0.9834) for number in range(1, 6))]
    assert points_of(pruned) == [(3, axes.get_ylim()[0])]  # it has no curve
    assert points_of(papers) == [(0, 0.9712)]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("trial", "validation accuracy")


def test_the_best_so_far() -> None:
    seconds = [(9.0, 1.0), (8.0, 0.0), (8.5, 0.0), (2.0, 0.5), (7.0, -1.0)]
    trials = tuple(
        finished_trial(n, value, missed={"target accuracy": missed})
        for n, (value, missed) in enumerate(seconds)
    )
    document = study_document(goal=TIME_GOAL, trials=trials)
    (axes,) = study_charts.history(document).axes
    # Nothing is feasible in the first trial.
    assert points_of(axes.lines[1]) == [(1, 8.0), (2, 8.0), (3, 8.0), (4, 7.0)]


def test_bad_trials_do_not_flatten_the_others() -> None:
    """The axis is cut to the better half and the paper's trial; pruned trials are at its edge."""
    papers = finished_trial(0, 0.94, chosen=PAPER_VALUES, is_papers=True)
    finished = [finished_trial(n, value) for n, value in enumerate((0.1, 0.95, 0.96, 0.2, 0.3), 1)]
    curves = [{10: 0.2}, {10: 0.5, 35: 0.95}]
    pruned = [finished_trial(6 + n, 0.0, state="pruned", values=(), curve=curve)
              for n, curve in enumerate(curves)]  # fmt: skip
    document = study_document(trials=(papers, *finished, *pruned))
    (axes,) = study_charts.history(document).axes
    low, high = axes.get_ylim()
    assert (low, high) == (pytest.approx(0.939), pytest.approx(0.961))
    assert points_of(axes.lines[-1]) == [(6, low), (7, 0.95)]
    few = study_document(trials=(papers, *finished[:4]))
    assert study_charts.history(few).axes[0].get_ylim()[0] < 0.1


def test_the_slices() -> None:
    # A value that the paper's configuration does not have.
    trials = (*STUDY_TRIALS, finished_trial(6, 0.98, chosen=WINNER_VALUES | {"average_decay": 0.9}))
    figure = study_charts.slices(study_document(trials=trials), columns=4)
    visible = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in visible] == list(STUDY_SPACE.parameters)
    assert [axes.get_xscale() for axes in visible] == ["log"] + 4 * ["linear"]
    labels = {label.get_text() for label in visible[0].get_xticklabels()}
    assert {"0.001", "0.01"} <= labels
    assert "0.002" not in labels  # powers of ten are enough
    rate, batch, optimizer, _, average = [axes.lines[:2] for axes in visible]
    # The pruned trial is below the cut, lighter, wherever it has a value.
    assert [points_of(axes.lines[2])[0][0] for axes in visible] == [
        *(0.001, 50, "momentum", "constant", "0.0"),
    ]
    assert {axes.lines[2].get_alpha() for axes in visible} == {0.5}
    assert points_of(rate[0])[:3] == [(0.001, 0.9712), (0.0123456789, 0.9834), (0.0123456789, 0.99)]
    assert points_of(batch[0])[:3] == [(50, 0.9712), (64, 0.9834), (64, 0.99)]
    assert points_of(optimizer[0])[:2] == [("adam", 0.9712), ("momentum", 0.9834)]
    assert points_of(average[0]) == [("0.0", 0.9712), ("0.9", 0.98)]  # of trials that have it
    assert all(points_of(lines[1]) == points_of(lines[0])[:1] for lines in (rate, batch, optimizer))


def test_numeric_choices_are_in_order() -> None:
    kernel = Parameter(choices=(5, 3, 7))
    space = STUDY_SPACE.model_copy(update={"parameters": {"conv1_kernel_size": kernel}})
    trials = tuple(
        finished_trial(n, 0.9, chosen={"conv1_kernel_size": size}) for n, size in enumerate((7, 5))
    )
    (axes,) = study_charts.slices(study_document(space=space, trials=trials), columns=4).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["3", "5", "7"]


def test_parallel_lines_go_through_the_values_of_each_trial() -> None:
    axes, colours = study_charts.parallel(study_document()).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(STUDY_SPACE.parameters)
    trials = [line for line in axes.lines if len(line.get_xdata()) == len(STUDY_SPACE.parameters)]
    pruned, *finished = trials
    assert pruned.get_color() == "gray"
    # The worst first: 0, 1, 2; of the paper's every value, from 0 to 1 of its range.
    papers = finished[0].get_xdata()
    assert papers == pytest.approx([1 / 3, 40 / 90, 0, 0, 0])
    assert math.isnan(finished[-1].get_xdata()[-1])  # this trial has no average_decay
    assert [line.get_linewidth() for line in finished] == [1, 1, 2]
    assert [label.get_text() for label in colours.get_yticklabels()] == ["worst", "best"]


def test_importances_ascend() -> None:
    (axes,) = study_charts.importances(study_document(importances=IMPORTANCES)).axes
    assert [bar.get_width() for bar in axes.patches] == [0.05, 0.2, 0.75]
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "learning_rate"
    assert axes.get_xlabel() == "share of what matters for validation accuracy"


def positions(dots: Any) -> list[tuple[float, float]]:
    """Positions of a scatter plot's dots."""
    return [(float(x), float(y)) for x, y in dots.get_offsets()]


def test_pareto_front_is_marked() -> None:
    axes, colours = study_charts.pareto(pareto_study()).axes
    trials, front, papers = axes.collections
    assert positions(trials) == [(40.0, 0.9712), (20.5, 0.9834), (41.5, 0.97), (95.25, 0.9912)]
    assert np.round(trials.get_array(), 1).tolist() == [1000.0, 900.0, 1000.0, 500.0]
    assert positions(front) == [(40.0, 0.9712), (20.5, 0.9834), (95.25, 0.9912)]
    assert positions(papers) == [(40.0, 0.9712)]
    assert colours.get_ylabel() == "peak RSS, MiB"
    assert (axes.get_xlabel(), axes.get_xscale()) == ("train seconds", "log")
    labels = {label.get_text() for label in axes.get_xticklabels()}
    assert {"20", "50", "100"} <= labels
