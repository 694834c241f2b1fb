"""A study's files, of hand-made documents: report, document, trials, winner and charts."""

from __future__ import annotations

import csv
import io
import json
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
    study_document,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mnist_bench.analysis.statistics import Interval
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.reporting import study_pictures
from mnist_bench.reporting.study import counts, headline, to_markdown
from mnist_bench.reporting.study_files import trials_csv, winner_toml, write
from mnist_bench.scenarios import scenario
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.tuning.confirmation_stats import Arm, Confirmation, McNemar, confirmation_in_words
from mnist_bench.tuning.document import EvaluationOnTest, StudyDocument
from mnist_bench.tuning.finalists import Finalist
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.space import Parameter, Space, Value


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, where reports are written."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


SECONDS = Goal(objective="time-to-accuracy", target_accuracy=0.9)


def study_without_answer() -> StudyDocument:
    return study_document(trials=STUDY_TRIALS[2:], best=(), candidate=None, margin=None)


def confirmation(**changes: Any) -> Confirmation:
    facts: dict[str, Any] = {
        "candidate": Arm(n=5, accuracy_mean=0.99123, accuracy_sd=0.00085, accuracy_low=0.99,
                         validation_mean=0.9925, train_seconds_mean=61.4,
                         peak_rss_bytes_max=900 * 2**20),
        "paper": Arm(n=5, accuracy_mean=0.98801, accuracy_sd=0.0012, accuracy_low=0.98,
                     validation_mean=0.9894, train_seconds_mean=100.0, peak_rss_bytes_max=None),
        "accuracy": Interval(difference=0.00322, low=0.00181, high=0.00463),
        "train_seconds": Interval(difference=-38.6, low=-41.0, high=-36.25),
        "shrinkage": 0.0021,
        "mcnemar": McNemar(only_candidate=41, only_paper=12, p_value=0.0000812),
        "payback_runs": 1_234.56,
    }  # fmt: skip
    return Confirmation(**(facts | changes))


def report(document: StudyDocument, *links: str) -> str:
    return to_markdown(document, "2026-01-31", links)


def section(text: str, title: str) -> list[str]:
    """The lines of one section."""
    assert text.count(f"\n## {title}\n") == 1
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0].strip().splitlines()


# The report

FULL_REPORT = r"""# Some parameters

Best on validation: trial 1; against the paper's own: +0.0122 in validation accuracy.

> **NOT COMPARABLE with the paper: trained on mnist-5k.**

Study mine, 2026-01-31, on Imaginary CPU, 2 cores, 16.0 GiB, Linux 6.1 x86\_64.

Made with:

```console
mnist-bench tune --trials 4
```

## The winner

Trial 1: validation accuracy 0.9834.

| Parameter | Winner | Paper's |
| --- | ---: | ---: |
| learning_rate | 0.01235 | 0.001 |
| batch_size | 64 | 50 |
| optimizer | momentum | adam |
| schedule | cosine | constant |
| average_decay | – | 0 |

## The trials

6 trials: 3 finished, 1 pruned, 1 failed, 1 waiting; the search took 1 min 15 s.

| Trial | Validation accuracy | Verdict | Trial took | Keeps the constraints | Run |
| --- | ---: | ---: | ---: | ---: | ---: |
| 2 | 0.9900 | – | 30.2 s | no | run-2 |
| 1 | 0.9834 | – | 20.5 s | yes | run-1 |
| 0 (paper) | 0.9712 | – | 12.0 s | yes | run-0 |

## What mattered

| Parameter | Share |
| --- | ---: |
| learning_rate | 75% |
| batch_size | 20% |
| optimizer | 5% |

![history](mine.history.png)

![slices](mine.slices.png)

## How this was found

Each trial trained on the training images of mnist-5k in a process of its own, and was scored on \
the validation images alone: no trial loaded the test images. The paper's configuration is the \
first trial.
"""


def test_full_report() -> None:
    document = study_document(
        importances={"batch_size": 0.2, "learning_rate": 0.75, "optimizer": 0.05}
    )
    text = report(document, "mine.history.png", "mine.slices.png")
    assert text.splitlines() == FULL_REPORT.replace("\\\n", "").splitlines()
    assert text.endswith("first trial.\n")


def test_evaluation_on_the_test_split() -> None:
    evaluations = (
        EvaluationOnTest(number=1, candidate=4, first_seed=1_000),
        EvaluationOnTest(number=2, candidate=1, first_seed=1_010, proof=confirmation()),
    )
    text = report(study_document(looks=evaluations))
    assert text.splitlines()[2] == (
        "Trial 1 on fresh seeds: final test accuracy 0.9912 ± 0.00085 against the paper's "
        "0.9880 ± 0.00120 (n = 5 each), in 1 min 01 s against 1 min 40 s of training."
    )
    assert section(text, "The looks at the test split") == [
        "2 in all; the candidate was settled on validation before each.",
        "",
        "1. Trial 4: the trainings did not come to their end.",
        "",
        (
            "2. Trial 1: final test accuracy 0.9912 ± 0.00085 against the paper's 0.9880 ± 0.00120 "
            "(n = 5 each), in 1 min 01 s against 1 min 40 s of training."
        ),
        "",
        "|  | n | Final test accuracy | On validation | Train time | Peak RSS |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| Winner | 5 | 0.9912 ± 0.00085 | 0.9925 | 1 min 01 s | 900 MiB |",
        "| Paper's | 5 | 0.9880 ± 0.00120 | 0.9894 | 1 min 40 s | – |",
        "",
        (
            "- Difference in accuracy, winner less paper: +0.0032, 95% interval +0.0018 to +0.0046 "
            "(Welch)"
        ),
        "- Difference in train time: -38.6 s, 95% interval -41.0 s to -36.2 s (Welch)",
        "- From validation in the search to test on fresh seeds: -0.0021",
        (
            "- Of the seeds of median accuracy, 41 images only the winner read rightly and 12 only "
            "the paper's (exact McNemar test, p = 8.1e-05)"
        ),
        "- The search has paid for itself after 1,234.6 runs",
    ]


ACCURACY_NOISE = Interval(difference=0.0002, low=-0.0011, high=0.0015)
TIME_NOISE = Interval(difference=1.5, low=-0.25, high=3.25)


def test_differences_within_noise() -> None:
    unclear = confirmation(
        accuracy=ACCURACY_NOISE, train_seconds=TIME_NOISE, mcnemar=None, payback_runs=None
    )
    text = report(
        study_document(
            looks=(EvaluationOnTest(number=1, candidate=1, first_seed=7, proof=unclear),)
        )
    )
    assert section(text, "The looks at the test split")[-4:] == [
        (
            "- Difference in accuracy, winner less paper: +0.0002, 95% interval -0.0011 to +0.0015 "
            "(Welch); within noise"
        ),
        "- Difference in train time: +1.5 s, 95% interval -0.2 s to +3.2 s (Welch); within noise",
        "- From validation in the search to test on fresh seeds: -0.0021",
        "- Whether the search pays for itself in time is not known: the difference is noise",
    ]
    assert "McNemar" not in text


def test_slower_winner_never_pays_back() -> None:
    slower = Interval(difference=1.5, low=0.25, high=2.75)
    slower_winner = confirmation(train_seconds=slower, payback_runs=None)
    text = report(
        study_document(
            looks=(EvaluationOnTest(number=1, candidate=1, first_seed=7, proof=slower_winner),)
        )
    )
    last = section(text, "The looks at the test split")[-1]
    assert last == "- The search never pays for itself in time: the winner is no faster"


def test_time_to_target() -> None:
    plain = confirmation()
    with_target = plain.model_copy(
        update={
            "target_accuracy": 0.99,
            "target_seconds": Interval(difference=-30.0, low=-33.0, high=-27.0),
            "candidate": plain.candidate.model_copy(
                update={"target_seconds_mean": 20.0, "target_missed": 0}
            ),
            "paper": plain.paper.model_copy(
                update={"target_seconds_mean": 50.0, "target_missed": 2}
            ),
        }
    )
    assert confirmation_in_words(with_target).endswith(
        "of training; 0.9900 on test first after 20.0 s against 50.0 s (2 never did and count "
        "whole)."
    )
    text = report(
        study_document(
            looks=(EvaluationOnTest(number=1, candidate=1, first_seed=7, proof=with_target),)
        )
    )
    assert (
        "- Difference in time to the target: -30.0 s, 95% interval -33.0 s to -27.0 s (Welch)"
        in section(text, "The looks at the test split")
    )


def test_confirmation_line_marks_accuracy_within_noise() -> None:
    assert "(n = 5 each, within noise), in " in confirmation_in_words(
        confirmation(accuracy=ACCURACY_NOISE)
    )
    assert "(n = 5 each), in " in confirmation_in_words(confirmation(train_seconds=TIME_NOISE))


def test_headline_has_the_last_confirmation() -> None:
    evaluations = tuple(
        EvaluationOnTest(number=number, candidate=1, first_seed=number, proof=headline_text)
        for number, headline_text in (
            (1, confirmation()),
            (2, confirmation(accuracy=ACCURACY_NOISE)),
            (3, None),
        )
    )
    headline_text = headline(study_document(looks=evaluations))
    assert (
        headline_text
        == f"Trial 1 on fresh seeds: {confirmation_in_words(confirmation(accuracy=ACCURACY_NOISE))}"
    )


def test_headline_does_not_mix_candidates() -> None:
    """A later candidate with an unfinished evaluation does not get an earlier one's result."""
    evaluations = (
        EvaluationOnTest(number=1, candidate=0, first_seed=1_000, proof=confirmation()),
        EvaluationOnTest(number=2, candidate=1, first_seed=1_010),
    )
    headline_text = headline(study_document(looks=evaluations))
    assert "0.9912" not in headline_text or "Trial 1 " not in headline_text


def test_without_evaluation_on_the_test_split() -> None:
    assert "The looks at the test split" not in report(study_document())
    assert confirmation_in_words(None) == "the trainings did not come to their end."


def test_study_without_feasible_trial() -> None:
    text = report(study_without_answer())
    lines = text.splitlines()
    assert lines[2] == "No trial is an answer: none that finished keeps every constraint."
    assert "## The winner" not in text
    assert section(text, "The trials") == [
        "4 trials: 1 finished, 1 pruned, 1 failed, 1 waiting; the search took 1 min 15 s.",
        "",
        "| Trial | Validation accuracy | Verdict | Trial took | Keeps the constraints | Run |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| 2 | 0.9900 | – | 30.2 s | no | run-2 |",
    ]


def test_trials_are_counted_by_state() -> None:
    assert counts(study_document(trials=STUDY_TRIALS[4:], search_seconds=4.25)) == (
        "2 trials: 1 failed, 1 waiting; the search took 4.2 s."
    )
    assert counts(study_document(trials=STUDY_TRIALS[:3], search_seconds=7_380.0)) == (
        "3 trials: 3 finished; the search took 2 h 03 min."
    )


def test_best_trials_include_the_papers_configuration() -> None:
    falling = [finished_trial(n, (99 - n) / 100) for n in range(1, 13)]
    paper_trial = finished_trial(0, 0.5, chosen=PAPER_VALUES, is_papers=True)
    for trials in ([paper_trial, *falling], [*falling, paper_trial]):
        lines = section(report(study_document(trials=tuple(trials))), "The trials")[4:]
        assert [line.split(" | ")[0] for line in lines] == [
            *(f"| {number}" for number in range(1, 11)),
            "| 0 (paper)",
        ]
    lines = section(report(study_document(trials=(*falling, paper_trial))), "The trials")
    assert lines[4] == "| 1 | 0.9800 | – | 20.5 s | run-1 |"
    assert lines[-1] == "| 0 (paper) | 0.5000 | – | 20.5 s | run-0 |"


def test_papers_configuration_is_listed_once() -> None:
    text = report(study_document())
    assert text.count("(paper)") == 1
    assert "(paper)" not in report(study_without_answer())


def test_fewest_seconds_are_first() -> None:
    trials = tuple(finished_trial(n, seconds) for n, seconds in enumerate((61.25, 7.5, 30.0)))
    document = study_document(goal=SECONDS, trials=trials)
    text = report(document)
    assert section(text, "The winner")[0] == "Trial 1: train seconds to the target 7.5 s."
    assert section(text, "The trials")[2:] == [
        "| Trial | Train seconds to the target | Verdict | Trial took | Run |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| 1 | 7.5 s | – | 20.5 s | run-1 |",
        "| 2 | 30.0 s | – | 20.5 s | run-2 |",
        "| 0 | 1 min 01 s | – | 20.5 s | run-0 |",
    ]


def test_several_objectives_have_a_column_each() -> None:
    document = pareto_study()
    assert PARETO_GOAL.in_words(document.trial(1).values) == (
        "validation accuracy 0.9834, train seconds 20.5 s, peak RSS 900 MiB"
    )
    header, _, *lines = section(report(document), "The trials")[2:]
    assert header.split(" | ")[:3] == ["| Trial", "Validation accuracy", "Train seconds"]
    assert "Peak RSS" in header
    assert lines == [
        "| 3 | 0.9912 | 1 min 35 s | 500 MiB | – | 20.5 s | yes | run-3 |",
        "| 1 | 0.9834 | 20.5 s | 900 MiB | – | 20.5 s | yes | run-1 |",
        "| 0 (paper) | 0.9712 | 40.0 s | 1,000 MiB | – | 20.5 s | yes | run-0 |",
        "| 2 | 0.9700 | 41.5 s | 1,000 MiB | – | 20.5 s | no | run-2 |",
    ]


EVIL = "a|b <script>x</script> & `c` *d* _e_ [f](http://g) \\ # h \x1b[31m \u202e ~~$i$"


def test_text_of_the_document_is_escaped() -> None:
    document = study_document(
        space=STUDY_SPACE.model_copy(update={"title": EVIL}),
        study=EVIL,
        dataset=EVIL,
        machine=machine(cpu=EVIL),
    )
    commands = (f"mnist-bench tune --study '{EVIL}' ```",)
    text = to_markdown(document.model_copy(update={"commands": commands}), "2026-01-31", [])
    plain = re.sub(r"````console\n.*\n````\n", "", text)
    assert plain != text
    for bare in ("<script", "`c`", "[f](", "\x1b", "\u202e", " *d*", " _e_", "a|b", "$i$"):
        assert bare not in plain, bare


# The files


def test_written_files(folder: Path) -> None:
    document = study_document(importances={"learning_rate": 1.0})
    paths = write(document)
    names = [path.as_posix() for path in paths]
    assert names[0] == "reports/mine.md"
    assert set(names) == {
        f"reports/mine{suffix}"
        for suffix in (
            ".md", ".json", ".csv", ".toml", ".history.png", ".slices.png", ".importances.png"
        )
    }  # fmt: skip
    assert {path.name for path in (folder / "reports").iterdir()} == {path.name for path in paths}
    found = {path.suffixes[0]: path.read_bytes() for path in paths}
    assert found[".json"].decode() == document.model_dump_json(indent=2) + "\n"
    assert found[".csv"].decode() == trials_csv(document)
    assert found[".toml"].decode() == winner_toml(document, 1)
    assert {suffix: found[f".{suffix}"] for suffix in study_pictures.pictures_of(document)} == (
        study_pictures.pictures_of(document)
    )


@pytest.mark.parametrize("study", ["mine", "my study", "mine (2)", "a.b"])
def test_report_links_its_charts(folder: Path, study: str) -> None:
    text = write(study_document(study=study))[0].read_text(encoding="utf-8")
    day = re.search(r"^Study [^,]+, (\S+), on Imaginary CPU", text, re.MULTILINE)
    assert day is not None
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", day[1])
    assert f"\n{TUNE_COMMAND}\n" in text
    # A link target ends at its first space, unless it is escaped or in angle brackets.
    links = re.findall(r"^!\[(\w+)\]\((?:<([^<>]+)>|([^\s()]+))\)$", text, re.MULTILINE)
    targets = {name: unquote(plain) or bracketed for name, bracketed, plain in links}
    assert targets == {name: f"{study}.{name}.png" for name in ("history", "slices")}
    assert all((folder / "reports" / target).is_file() for target in targets.values())


def test_no_winner_file_without_a_feasible_trial(folder: Path) -> None:
    names = {path.name for path in write(study_without_answer())}
    assert names == {
        "mine.md", "mine.json", "mine.csv", "mine.history.png", "mine.slices.png"
    }  # fmt: skip
    assert {path.name for path in (folder / "reports").iterdir()} == names


def test_no_charts_without_finished_trials() -> None:
    document = study_document(trials=STUDY_TRIALS[3:], best=(), candidate=None, margin=None)
    paths = write(document)
    assert [path.name for path in paths] == ["mine.md", "mine.json", "mine.csv"]
    assert "![" not in paths[0].read_text(encoding="utf-8")


def test_failed_write_leaves_no_partial_files(folder: Path) -> None:
    def found() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in Path("reports").iterdir()}

    write(study_document())
    (folder / "reports" / "mine.toml").unlink()
    before = found()
    changed = study_document(search_seconds=1.0)
    (folder / "reports" / "mine.toml").mkdir()
    with pytest.raises(BenchError, match=r"^can't write reports.mine\.toml: ") as caught:
        write(changed)
    assert caught.value.exit_status == EXIT_FAILURE
    (folder / "reports" / "mine.toml").rmdir()
    between = found()
    write(changed)
    after = found()
    assert after["mine.json"] != before["mine.json"]
    assert set(between) == set(before) == set(after) - {"mine.toml"}
    assert all(between[name] in {before[name], after[name]} for name in between)


# The finalists


def test_finalists_have_repeated_and_search_values() -> None:
    first = Finalist(trial=2, repeats=(6, 7, 8), values=(0.9817,), missed={})
    other = Finalist(trial=1, repeats=(9, 10, 11), values=(0.98,), missed={})
    document = study_document(candidate=2, finalists=(first, other))
    assert section(report(document), "The finalists")[-2:] == [
        "| 2 | 3 | 0.9817 | 0.9900 |",
        "| 1 | 3 | 0.9800 | 0.9834 |",
    ]
    assert "Trial 2: validation accuracy 0.9817." in section(report(document), "The winner")
    assert "## The finalists" not in report(study_document())
    late = first.model_copy(update={"missed": {"max seconds": 0.5}})
    soon = other.model_copy(update={"missed": {"max seconds": -0.5}})
    document = study_document(candidate=1, finalists=(soon, late))
    assert section(report(document), "The finalists")[-2:] == [
        "| 1 | 3 | 0.9800 | 0.9834 | yes |",
        "| 2 | 3 | 0.9817 | 0.9900 | no |",
    ]


def test_commands_of_a_study_are_listed() -> None:
    more = f"{TUNE_COMMAND} --resume"
    assert f"```console\n{TUNE_COMMAND}\n{more}\n```" in report(
        study_document(commands=(TUNE_COMMAND, more))
    )


def test_table_of_trials_has_the_whole_front() -> None:
    cheap = finished_trial(20, 0.5, 1.0, 1e8)
    better = [finished_trial(number, 0.99, 50.0, 2e9) for number in range(5, 17)]
    document = pareto_study()
    document = document.model_copy(
        update={"trials": (*document.trials, *better, cheap), "best": (*document.best, 20)}
    )
    lines = section(report(document), "The trials")
    assert any(line.startswith("| 20 | 0.5000 | 1.0 s | 95 MiB |") for line in lines)


# Trials as CSV

CSV = """\
trial,state,is_papers,retry_of,repeat_of,is_feasible,seconds,train_seconds,peak_rss_bytes,verdict,run_id,\
objective_validation_accuracy,learning_rate,batch_size,optimizer,schedule,average_decay
0,finished,True,,,True,12.0,,,,run-0,0.9712,0.001,50,adam,constant,0.0
1,finished,False,,,True,20.5,,,,run-1,0.9834,0.0123456789,64,momentum,cosine,
2,finished,False,,,False,30.25,,,,run-2,0.99,0.0123456789,64,momentum,cosine,
3,pruned,False,,,False,8.0,,,,run-3,,0.001,50,momentum,constant,0.0
4,failed,False,,,False,4.25,,,,,,0.0123456789,64,momentum,cosine,
5,waiting,False,4,,False,,,,,,,,,,,
"""


def test_trials_csv() -> None:
    assert trials_csv(study_document()) == CSV


def test_trials_csv_of_several_objectives() -> None:
    lines = list(csv.DictReader(io.StringIO(trials_csv(pareto_study()))))
    of = ("validation_accuracy", "train_seconds", "peak_rss")
    names = [f"objective_{name}" for name in of]
    assert list(lines[0])[11:14] == names
    assert [lines[3][name] for name in names] == ["0.9912", "95.25", "524288000.0"]
    document = study_document(goal=PARETO_GOAL, trials=STUDY_TRIALS[4:])
    assert [line[names[2]] for line in csv.DictReader(io.StringIO(trials_csv(document)))] == [
        "",
        "",
    ]


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


@given(chosen_values, st.floats(0, 1))
def test_trials_csv_keeps_full_precision(chosen: dict[str, Value], accuracy: float) -> None:
    document = study_document(trials=(finished_trial(1, accuracy, chosen=chosen),))
    (line,) = csv.DictReader(io.StringIO(trials_csv(document)))
    assert float(line["objective_validation_accuracy"]) == accuracy
    assert float(line["learning_rate"]) == chosen["learning_rate"]
    assert line["batch_size"] == str(chosen["batch_size"])
    assert line["average_decay"] == str(chosen.get("average_decay", ""))


# The winner as a scenario


def read_back(folder: Path, text: str) -> scenario.Scenario:
    path = folder / "winner.toml"
    path.write_text(text, encoding="utf-8", newline="")
    return scenario.read(path)


def test_the_winner_is_a_scenario(tmp_path: Path) -> None:
    winner = read_back(tmp_path, winner_toml(study_document(), 1))
    assert winner.title == "Winner of the study mine: trial 1"
    assert (winner.steps, winner.dataset) == ((100,), "mnist-5k")
    assert (winner.eval_first, winner.eval_every) == (5, 5)
    assert winner.hyperparameters == PaperCnnHyperparameters(
        learning_rate=0.0123456789, batch_size=64, optimizer="momentum", schedule="cosine"
    )


def test_winner_of_a_study_with_a_time_limit_has_a_comment(tmp_path: Path) -> None:
    document = study_document(space=STUDY_SPACE.model_copy(update={"train_seconds": 30.0}))
    text = winner_toml(document, 1)
    assert text.startswith("# The study ended each training at the first grid step past 30 s, ")
    assert read_back(tmp_path, text).steps == (100,)
    assert not winner_toml(study_document(), 1).startswith("#")


def test_papers_configuration_as_a_scenario(tmp_path: Path) -> None:
    winner = read_back(tmp_path, winner_toml(study_document(), 0))
    assert winner.hyperparameters == PaperCnnHyperparameters()


@given(chosen=chosen_values)
def test_winner_round_trip(
    tmp_path_factory: pytest.TempPathFactory, chosen: dict[str, Value]
) -> None:
    document = study_document(trials=(finished_trial(1, 0.9834, chosen=chosen),))
    winner = read_back(tmp_path_factory.getbasetemp(), winner_toml(document, 1))
    title = "Winner of the study mine: trial 1"
    assert winner == STUDY_SPACE.scenario(chosen).model_copy(update={"title": title})
    for name, value in chosen.items():
        assert getattr(winner.hyperparameters, name) == value


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


# The document


def test_document_round_trip() -> None:
    evaluations = (
        EvaluationOnTest(number=1, candidate=4, first_seed=1_000),
        EvaluationOnTest(number=2, candidate=1, first_seed=1_010, proof=confirmation()),
    )
    document = study_document(looks=evaluations, importances={"learning_rate": 0.75})
    text = document.model_dump_json(indent=2)
    assert StudyDocument.model_validate_json(text) == document
    assert StudyDocument.model_validate_json(pareto_study().model_dump_json()) == pareto_study()
    content = json.loads(text)
    # Fields may be added but never renamed, since other programs read them.
    assert list(content) == [
        "schema", "study", "dataset", "dataset_digest", "machine", "space", "goal",
        "trials", "best", "finalists", "candidate", "margin", "importances", "search_seconds",
        "looks", "commands", "ended", "is_whole",
    ]  # fmt: skip
    assert content["schema"] == 1
    assert list(content["trials"][0]) == [
        "number", "state", "chosen", "values", "missed", "curve", "seconds", "begun_at_ms",
        "run_id", "is_papers", "retry_of", "repeat_of", "train_seconds", "peak_rss_bytes",
        "verdict", "machine", "machine_id",
    ]  # fmt: skip
    assert content["trials"][3]["curve"] == {"5": 0.5}
    assert content["trials"][5]["retry_of"] == 4
    assert content["looks"][0]["proof"] is None
    assert content["looks"][1]["proof"]["mcnemar"]["only_candidate"] == 41
    assert (content["best"], content["candidate"], content["margin"]["is_enough"]) == ([1], 1, True)


def test_trials_of_the_document() -> None:
    document = study_without_answer()
    assert document.trial(4) == STUDY_TRIALS[4]
    assert [trial.number for trial in document.finished] == [2]
    assert [trial.number for trial in study_document().finished] == [0, 1, 2]
    with pytest.raises(StopIteration):
        document.trial(1)


@pytest.mark.parametrize(
    "change", [{"search_seconds": math.inf}, {"study": None}, {"best": [1]}, {"extra": 1}]
)
def test_invalid_documents_are_rejected(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        study_document(**change)


# Charts


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height from a PNG's first chunk."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert png[12:16] == b"IHDR"
    assert png[-8:-4] == b"IEND"
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


IMPORTANCES = {"batch_size": 0.25, "learning_rate": 0.5, "optimizer": 0.25}


@pytest.mark.parametrize(
    ("document", "names"),
    [
        (study_document(), {"history", "slices"}),
        (study_document(importances=IMPORTANCES), {"history", "slices", "importances"}),
        (pareto_study(), {"history", "slices", "pareto"}),
        (study_without_answer(), {"history", "slices"}),
        (study_document(trials=STUDY_TRIALS[3:], best=(), candidate=None, margin=None), set()),
        (
            study_document(
                goal=PARETO_GOAL, trials=STUDY_TRIALS[3:], best=(), candidate=None, margin=None
            ),
            set(),
        ),
        (study_document(trials=()), set()),
    ],
    ids=["plain", "importances", "pareto", "infeasible", "unfinished", "no front", "empty"],
)
def test_names_of_charts(document: StudyDocument, names: set[str]) -> None:
    assert set(study_pictures.pictures_of(document)) == names


def test_size_of_charts() -> None:
    pictures = study_pictures.pictures_of(
        pareto_study().model_copy(update={"importances": IMPORTANCES})
    )
    # Two rows of slices for five parameters, three bars.
    expected = {
        "history": (700, 400),
        "slices": (1_200, 520),
        "importances": (600, 170),
        "pareto": (700, 450),
    }
    assert set(pictures) == set(expected)
    for name, png in pictures.items():
        assert png_size(png) == pytest.approx(expected[name], abs=1)
        assert b"tEXt" not in png  # neither a date nor a version
        assert 2_000 < len(png) < 200_000


def test_charts_are_reproducible() -> None:
    first, second = (
        study_pictures.pictures_of(study_document()),
        study_pictures.pictures_of(study_document()),
    )
    assert first == second
    better = study_document(
        trials=(*STUDY_TRIALS[:1], finished_trial(1, 0.9934), *STUDY_TRIALS[2:])
    )
    other = study_pictures.pictures_of(better)
    assert all(other[name] != first[name] for name in first)


def test_charts_need_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts are drawn even if Matplotlib is configured for a display that does not exist."""
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    monkeypatch.delenv("DISPLAY", raising=False)
    assert png_size(study_pictures.pictures_of(study_document())["history"]) == (700, 400)


def points_of(line: Any) -> list[tuple[Any, ...]]:
    return [tuple(point) for point in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def test_the_history() -> None:
    (axes,) = study_pictures.history(study_document()).axes
    trials, best, paper_line = axes.lines
    assert points_of(trials) == [(0, 0.9712), (1, 0.9834), (2, 0.99)]
    assert points_of(best) == [(0, 0.9712), (1, 0.9834), (2, 0.9834)]  # the last is infeasible
    assert points_of(paper_line) == [(0, 0.9712)]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("trial", "validation accuracy")


def test_the_best_so_far() -> None:
    seconds = [(9.0, 1.0), (8.0, 0.0), (8.5, 0.0), (2.0, 0.5), (7.0, -1.0)]
    trials = tuple(
        finished_trial(n, value, missed={"target accuracy": missed})
        for n, (value, missed) in enumerate(seconds)
    )
    first, *rest = study_pictures._best_so_far(study_document(goal=SECONDS, trials=trials))
    assert math.isnan(first)  # nothing feasible yet
    assert rest == [8.0, 8.0, 8.0, 7.0]


def test_the_slices() -> None:
    figure = study_pictures.slices(study_document())
    visible = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in visible] == list(STUDY_SPACE.parameters)
    assert [axes.get_xscale() for axes in visible] == ["log"] + 4 * ["linear"]
    labels = [label.get_text() for label in visible[0].get_xticklabels()]
    assert {"0.001", "0.01"} <= set(labels)
    assert "0.002" not in labels  # powers of ten are enough
    rate, batch, optimizer, _, average = [axes.lines for axes in visible]
    assert points_of(rate[0]) == [(0.001, 0.9712), (0.0123456789, 0.9834), (0.0123456789, 0.99)]
    assert points_of(batch[0]) == [(50, 0.9712), (64, 0.9834), (64, 0.99)]
    assert points_of(optimizer[0]) == [("adam", 0.9712), ("momentum", 0.9834), ("momentum", 0.99)]
    assert points_of(average[0]) == [("0.0", 0.9712)]  # the other trials have no such parameter
    assert all(points_of(lines[1]) == points_of(lines[0])[:1] for lines in (rate, batch, optimizer))


def test_parameter_without_a_value_in_the_papers_configuration() -> None:
    parameters = STUDY_SPACE.parameters | {
        "average_decay": Parameter(choices=(0.9, 0.99), when={"schedule": ("cosine",)})
    }
    space = STUDY_SPACE.model_copy(update={"parameters": parameters})
    paper_values = {name: value for name, value in PAPER_VALUES.items() if name != "average_decay"}
    trials = (
        finished_trial(0, 0.9712, chosen=paper_values, is_papers=True),
        finished_trial(1, 0.9834, chosen=WINNER_VALUES | {"average_decay": 0.9}),
    )
    document = study_document(space=space, trials=trials)
    assert set(study_pictures.pictures_of(document)) == {"history", "slices"}
    lines = section(report(document), "The winner")
    assert lines[-1] == "| average_decay | 0.9 | – |"


def test_importances_ascend() -> None:
    (axes,) = study_pictures.importances(study_document(importances=IMPORTANCES)).axes
    assert [bar.get_width() for bar in axes.patches] == [0.25, 0.25, 0.5]
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "learning_rate"
    assert axes.get_xlabel() == "share of what matters for validation accuracy"


def positions(dots: Any) -> list[tuple[float, float]]:
    """Positions of a scatter plot's dots."""
    return [(float(x), float(y)) for x, y in dots.get_offsets()]


def test_pareto_front_is_marked() -> None:
    axes, colours = study_pictures.pareto(pareto_study()).axes
    trials, front, paper_dots = axes.collections
    assert positions(trials) == [(40.0, 0.9712), (20.5, 0.9834), (41.5, 0.97), (95.25, 0.9912)]
    assert np.round(trials.get_array(), 1).tolist() == [1000.0, 900.0, 1000.0, 500.0]
    assert positions(front) == [(40.0, 0.9712), (20.5, 0.9834), (95.25, 0.9912)]
    assert positions(paper_dots) == [(40.0, 0.9712)]
    assert colours.get_ylabel() == "peak RSS, MiB"
    assert (axes.get_xlabel(), axes.get_xscale()) == ("train seconds", "log")


# Incomplete studies and disturbed trials


def test_interrupted_study_has_no_winner(folder: Path) -> None:
    interrupted = study_document(ended="it was interrupted", is_whole=False)
    assert headline(interrupted) == (
        "The study did not come to its end: it was interrupted. 6 trials: 3 finished, 1 pruned, "
        "1 failed, 1 waiting; the search took 1 min 15 s."
    )
    assert "## The best trial" in report(interrupted)
    assert "## The winner" not in report(interrupted)
    assert not [path for path in write(interrupted) if path.suffix == ".toml"]


def test_papers_configuration_is_not_a_winner(folder: Path) -> None:
    document = study_document(candidate=0, best=(0,))
    assert "## The best trial" in report(document)
    assert not [path for path in write(document) if path.suffix == ".toml"]


def test_disturbed_trials_are_noted() -> None:
    verdicts = ("clean", "suspect", "invalid")
    trials = tuple(finished_trial(n, 0.9, verdict=verdict) for n, verdict in enumerate(verdicts))
    text = report(study_document(trials=(*trials, *STUDY_TRIALS[5:])))
    assert "> The machine was disturbed during 2 of 3 trials" in text
    assert section(text, "The trials")[5] == "| 1 | 0.9000 | suspect | 20.5 s | run-1 |"
    assert "disturbed" not in report(study_document(trials=trials[:1], best=(0,), candidate=0))


def test_full_mnist_is_comparable() -> None:
    assert "NOT COMPARABLE" not in report(study_document(dataset="mnist"))
    winner = winner_toml(study_document(dataset="mnist"), 1)
    assert 'dataset = "mnist"' in winner
    assert 'dataset = "auto"' in winner_toml(study_document(dataset="custom:0123456789ab"), 1)


def test_line_of_a_study() -> None:
    line = study_document().line("its-run")
    best = STUDY_TRIALS[1]
    assert (line.study, line.run_id, line.objective) == ("mine", "its-run", LIMITED_GOAL.objective)
    assert (line.trials, line.finished) == (len(STUDY_TRIALS), len(study_document().finished))
    assert line.value_names == LIMITED_GOAL.names
    assert [(each.number, each.run_id, each.values) for each in line.best] == [
        (1, best.run_id, best.values)
    ]
    assert (line.candidate, line.candidate_values, line.is_whole) == (1, best.values, True)
    infeasible = study_without_answer().line(None)
    assert (infeasible.run_id, infeasible.best, infeasible.candidate) == (None, (), None)
    assert infeasible.candidate_values == ()
    assert len(pareto_study().line(None).best) == 3
