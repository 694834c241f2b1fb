"""`mnist-bench tune` with real databases and a fake worker.

The fake worker's accuracies follow from the hyperparameters, and it logs its requests, so that a
test knows the best trial and sees which requests use the test split. `test_search.py` and
`test_study.py` have what needs neither MLflow nor reports.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import json
import os
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import optuna
import psutil
import pytest
from factories import TWO_PARAMETERS_TOML
from fakes import TrialWorker, trial_worker
from program import Bench, Ended, patched_program

from mnist_bench.cluster import tasks
from mnist_bench.measurement import machine, system
from mnist_bench.reporting import study_charts
from mnist_bench.runner import executor
from mnist_bench.scenarios import scenario
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.tuning.study import Study

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


class RecordedStudy:
    """MLflow runs of a study."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        uri = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment = self.client.get_experiment_by_name("mnist-bench")
        runs: list[Any] = list(self.client.search_runs([experiment.experiment_id]))
        trials = [run for run in runs if "bench.trial" in run.data.tags]
        self.trials = sorted(trials, key=lambda run: int(run.data.tags["bench.trial"]))
        # Not the trainings of its confirmations.
        others = [run for run in runs if run not in trials and "bench.study" in run.data.tags]
        (self.study,) = others


def user_with_a_space(folder: Path) -> Bench:
    bench = Bench(folder)
    (bench.folder / "two.toml").write_text(TWO_PARAMETERS_TOML, encoding="utf-8")
    return bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A user whose studies have no pictures, which take half a second."""
    monkeypatch.setattr(study_charts, "pictures_of", lambda _document: {})
    return user_with_a_space(tmp_path)


def tune(bench: Bench, *arguments: str, fault: str = "pass") -> Ended:
    with mock.patch.object(executor, "WorkerProcess", functools.partial(TrialWorker, fault=fault)):
        return bench.call_with_store("tune", "--space", "two.toml", *arguments, "--json")


def searched(bench: Bench, *arguments: str, fault: str = "pass") -> Ended:
    """The same without a confirmation."""
    return tune(bench, "--confirm", "0", *arguments, fault=fault)


def requests_of(bench: Bench) -> list[dict[str, Any]]:
    """Requests sent to workers, in order."""
    lines = (bench.folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def states(document: dict[str, Any]) -> list[str]:
    return [trial["state"] for trial in document["trials"]]


def counted(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Trials that count toward the requested number."""
    return [t for t in document["trials"] if t["state"] in {"finished", "pruned"}
            and t["repeat_of"] is None]  # fmt: skip


def report_of(bench: Bench, suffix: str = ".md") -> str:
    return (bench.folder / "reports" / f"two-accuracy{suffix}").read_text(encoding="utf-8")


# A study from its space to its winner

TRIALS = 8


@dataclass(frozen=True)
class CompletedStudy:
    """A completed study, with its JSON document and standard error as one line."""

    bench: Bench
    document: dict[str, Any]
    stderr_line: str

    @property
    def winner(self) -> dict[str, Any]:
        chosen: dict[str, Any] = self.document["trials"][self.document["candidate"]]["chosen"]
        return chosen


@pytest.fixture(scope="module")
def completed(tmp_path_factory: pytest.TempPathFactory) -> CompletedStudy:
    bench = user_with_a_space(tmp_path_factory.mktemp("user"))
    ended = tune(bench, "--trials", f"{TRIALS}", "--confirm", "3")
    assert ended.status == 0, ended.stderr
    return CompletedStudy(bench, ended.document, ended.stderr_line)


def test_the_papers_configuration_is_first_and_the_best_on_validation_wins(
    completed: CompletedStudy,
) -> None:
    trials = completed.document["trials"]
    assert [trial["number"] for trial in trials] == list(range(TRIALS))
    assert [trial["is_papers"] for trial in trials] == [True] + [False] * (TRIALS - 1)
    assert (trials[0]["state"], trials[0]["values"]) == ("finished", [0.93])
    assert trials[0]["chosen"] == {"learning_rate": 0.001, "batch_size": 50}
    finished = [trial for trial in trials if trial["state"] == "finished"]
    best = max(finished, key=lambda trial: trial["values"][0])
    assert (completed.document["candidate"], completed.document["best"]) == (
        best["number"], [best["number"]],
    )  # fmt: skip
    assert best["values"][0] > 0.94
    assert (
        f"1 of {TRIALS}: trial 0: validation accuracy 0.9300 (learning_rate 0.001, batch_size 50); "
        "best so far: trial 0, validation accuracy 0.9300"
    ) in completed.stderr_line


def test_only_the_confirmation_evaluates_the_test_split_on_fresh_seeds(
    completed: CompletedStudy,
) -> None:
    requests = requests_of(completed.bench)
    trials, confirmed = requests[:TRIALS], requests[TRIALS:]
    assert {request["with_test"] for request in trials} == {False}
    assert {request["with_test"] for request in confirmed} == {True}
    assert [request["training_seed"] for request in trials] == list(range(TRIALS))
    assert [
        (request["training_seed"], request["hyperparameters"]["learning_rate"])
        for request in confirmed
    ] == [
        (seed, rate)
        for seed in range(1_000_000, 1_000_003)
        for rate in (completed.winner["learning_rate"], 0.001)
    ]
    (evaluation,) = completed.document["looks"]
    proof = evaluation["proof"]
    assert (evaluation["number"], proof["candidate"]["n"], proof["paper"]["n"]) == (1, 3, 3)
    # Test lies 0.002 below validation, and the seeds 0.0004 apart.
    assert proof["paper"]["accuracy_mean"] == pytest.approx(0.93 - 0.002 + 0.0004)
    assert proof["accuracy"]["difference"] == pytest.approx(
        proof["candidate"]["accuracy_mean"] - proof["paper"]["accuracy_mean"]
    )
    assert proof["shrinkage"] == pytest.approx(0.002, abs=0.001)
    assert proof["mcnemar"]["only_paper"] == 0
    assert proof["mcnemar"]["only_candidate"] >= 5
    assert "confirmation 1 on the test split" in completed.stderr_line


def test_mlflow_has_a_child_run_per_trial_and_the_files(completed: CompletedStudy) -> None:
    recorded, trials = RecordedStudy(completed.bench.folder), completed.document["trials"]
    study = recorded.study
    assert (study.info.status, study.info.run_name) == ("FINISHED", "two-accuracy")
    for trial, run in zip(trials, recorded.trials, strict=True):
        assert run.info.run_id == trial["run_id"]
        assert run.data.tags["mlflow.parentRunId"] == study.info.run_id
        assert run.data.tags["bench.trial_state"] == trial["state"]
        assert run.info.status == ("FINISHED" if trial["state"] == "finished" else "KILLED")
        assert not [name for name in run.data.metrics if "test_" in name]
        values = {name: str(value) for name, value in trial["chosen"].items()}
        assert {name: run.data.params[name] for name in values} == values
    winner = trials[completed.document["candidate"]]
    best = {name: str(value) for name, value in winner["chosen"].items()}
    best["trial"] = str(winner["number"])
    assert {name: study.data.tags[f"best.{name}"] for name in best} == best
    assert study.data.metrics["best_value"] == winner["values"][0]
    history = recorded.client.get_metric_history(study.info.run_id, "best_value")
    best_so_far = [metric.value for metric in history]
    assert [metric.step for metric in history] == list(range(TRIALS + 1))
    assert best_so_far == sorted(best_so_far)
    assert best_so_far[0] == 0.93
    history = recorded.client.get_metric_history(trials[0]["run_id"], "validation_accuracy")
    assert [metric.step for metric in history] == list(range(5, 101, 5))
    artifacts = {f.path for f in recorded.client.list_artifacts(study.info.run_id)}
    assert artifacts == {path.name for path in (completed.bench.folder / "reports").iterdir()}
    assert {"two-accuracy.history.png", "two-accuracy.slices.png", "two-accuracy.md"} <= artifacts


def test_the_winner_is_a_scenario_with_its_own_name(completed: CompletedStudy) -> None:
    found = scenario.read(completed.bench.folder / "reports" / "two-accuracy.toml")
    assert (found.steps, found.dataset) == ((100,), "mnist-5k")
    assert found.hyperparameters == PaperCnnHyperparameters(**completed.winner)
    plans = completed.bench.call("run", "reports/two-accuracy.toml", "--dry-run", "--json")
    assert [plan["scenario"] for plan in plans.document["plans"]] == ["two-accuracy-winner"]


def test_the_reports(completed: CompletedStudy) -> None:
    bench = completed.bench
    assert json.loads(report_of(bench, ".json")) == completed.document
    lines = list(csv.DictReader(io.StringIO(report_of(bench, ".csv"))))
    assert [line["trial"] for line in lines] == [str(number) for number in range(TRIALS)]
    assert lines[0]["objective_validation_accuracy"] == "0.93"
    text = report_of(bench)
    assert f"mnist-bench tune --space two.toml --trials {TRIALS} --confirm 3 --json" in text
    assert "> **NOT COMPARABLE with the paper: trained on mnist-5k.**" in text
    assert "NOT COMPARABLE with the paper: trained on mnist-5k" in completed.stderr_line
    assert "0 (paper)" in text
    assert str(bench.home.parent) not in text


def test_report_has_a_section_on_the_study(completed: CompletedStudy) -> None:
    ended = completed.bench.call_with_store(
        "report", "--format", "md,html", "--out", "book", "--json"
    )
    assert ended.status == 0, ended.stderr
    text = (completed.bench.folder / "book" / "report.md").read_text(encoding="utf-8")
    headline = report_of(completed.bench).splitlines()[2]
    assert headline.startswith("Trial ")
    assert re.search(rf"\n## Study two-accuracy: .*\n\n{re.escape(headline)} ", text)
    assert f"{TRIALS} trials: " in text
    page = (completed.bench.folder / "book" / "report.html").read_text(encoding="utf-8")
    assert "The search, trial by trial" in page
    (study,) = ended.document["studies"]
    finished = states(completed.document).count("finished")
    assert (study["study"], study["trials"], study["finished"]) == (
        "two-accuracy", TRIALS, finished,
    )  # fmt: skip
    assert study["value_names"] == ["validation accuracy"]
    (best,) = study["best"]
    assert len(best["run_id"]) == len(study["run_id"]) == 32
    assert best["values"] == study["candidate_values"]


def test_report_of_a_study_alone(bench: Bench) -> None:
    assert searched(bench, "--trials", "1").status == 0
    ended = bench.call_with_store("report", "--json")
    assert ended.document["runs"] == []
    assert "Study two-accuracy on " in ended.stderr_line
    refused = bench.call_with_store("report", "--image", "0")
    assert refused.status == 2
    assert "the images of these runs (none) are not available locally" in refused.error_line


def test_optuna_reads_the_journal(completed: CompletedStudy) -> None:
    """optuna-dashboard opens it the same way."""
    file = completed.bench.folder / "mlruns" / "optuna.log"
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    study = optuna.load_study(study_name="two-accuracy", storage=storage)
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert [trial.number for trial in study.trials] == list(range(TRIALS))
    assert study.trials[0].params == {"learning_rate": 0.001, "batch_size": 50}
    assert study.trials[0].value == 0.93


def test_a_study_in_a_database_continues_on_another_machine(bench: Bench) -> None:
    line = ("--storage", "sqlite:///studies.db")
    first = searched(bench, "--trials", "2", *line)
    assert first.status == 0, first.stderr
    with (
        mock.patch.object(machine, "_cpu_name", return_value="Another 9000"),
        mock.patch.object(machine, "machine_id", return_value="b" * 32),
    ):
        again = searched(bench, "--trials", "4", *line, "--resume")
    assert again.status == 0, again.stderr
    trials = again.document["trials"]
    assert trials[:2] == first.document["trials"]
    assert [trial["machine_id"] == "b" * 32 for trial in trials] == [False, False, True, True]
    assert not (bench.folder / "mlruns" / "optuna.log").exists()
    assert "Trained on 2 machines: " in report_of(bench)
    assert "Another 9000" in report_of(bench)


def test_second_study_gets_another_name(bench: Bench) -> None:
    steering = TWO_PARAMETERS_TOML.replace("Two parameters", "\\u001b[2J[bold red]Ours\\u202e")
    (bench.folder / "two.toml").write_text(steering, encoding="utf-8")
    first, second = (searched(bench, "--trials", "1") for _ in range(2))
    assert first.document["study"] == "two-accuracy"
    assert second.document["study"] == "two-accuracy-2"
    assert "two-accuracy already exists (--resume continues it)" in second.stderr_line
    # Titles may contain control characters, which terminals obey.
    assert "study two-accuracy: [2J[bold red]Ours" in first.stderr
    assert not {"\x1b", "\u202e"} & set(first.stderr)
    named = tune(bench, "--study", "two-accuracy")
    assert (named.status, "add --resume" in named.error_line) == (2, True)


# Ends and beginnings


def test_resumed_study_takes_its_request_and_says_what_differs(bench: Bench) -> None:
    limits = ("--objective", "time-to-accuracy", "--max-seconds", "50")
    assert searched(bench, "--trials", "2", *limits).status == 0
    line = ("tune", "--study", "two-time-to-accuracy", "--resume", "--confirm", "0")
    with mock.patch.object(executor, "WorkerProcess", TrialWorker):
        again = bench.call_with_store(*line, "--trials", "3", "--tag", "k=v", "--json")
        longer = TWO_PARAMETERS_TOML.replace("steps = 100", "steps = 200").replace("0.1", "0.2")
        (bench.folder / "two.toml").write_text(longer, encoding="utf-8")
        refused = bench.call_with_store(*line, "--max-seconds", "40", "--space", "two.toml")
    assert again.status == 0, again.stderr
    assert "other than in the command before: trials 2, now 3" in again.stderr_line
    assert len(counted(again.document)) == 3
    goal = again.document["goal"]
    assert (goal["objective"], goal["max_seconds"]) == ("time-to-accuracy", 50.0)
    recorded = RecordedStudy(bench.folder)
    assert recorded.study.data.tags["k"] == "v"
    assert ["k" in run.data.tags for run in recorded.trials[:3]] == [False, False, True]
    assert refused.status == 2
    for words in (
        "steps 100, now 200",
        "max_seconds 50.0, now 40.0",
        "learning_rate 0.0001 to 0.1, log, now 0.0001 to 0.2, log",
    ):
        assert words in refused.error_line
    assert len(RecordedStudy(bench.folder).trials) == len(recorded.trials)


def assert_resumed(bench: Bench, cut_off: int) -> None:
    """Resume a study of five trials, of which the last ones were cut off."""
    again = searched(bench, "--trials", "5", "--resume")
    assert again.status == 0, again.stderr
    trials = again.document["trials"]
    assert len(counted(again.document)) == 5
    lost = [trial for trial in trials if trial["state"] == "failed"]
    assert len(lost) == cut_off
    for trial in lost:
        (retry,) = [each for each in trials if each["retry_of"] == trial["number"]]
        assert retry["chosen"] == trial["chosen"]
        assert retry["state"] in {"finished", "pruned"}
    recorded = RecordedStudy(bench.folder)
    assert recorded.study.info.status == "FINISHED"
    assert len(recorded.trials) == len(trials)
    assert {run.info.status for run in recorded.trials} <= {"FINISHED", "KILLED"}


@needs_signals
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_interrupted_study_is_resumed(bench: Bench, number: signal.Signals, status: int) -> None:
    fault = f'request["training_seed"] == 2 and __import__("os").kill({os.getpid()}, {number:d})'
    ended = searched(bench, "--trials", "5", fault=fault)
    assert ended.status == status
    assert "`--study two-accuracy --resume` to continue" in ended.stderr_line
    assert "The study did not come to its end" in report_of(bench)
    assert not (bench.folder / "reports" / "two-accuracy.toml").exists()
    assert RecordedStudy(bench.folder).study.info.status == "KILLED"
    assert_resumed(bench, 1)


@needs_signals
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)], ids=["Ctrl-C", "kill -9"]
)
def test_processes_of_an_interrupted_study_end(
    bench: Bench, number: signal.Signals, status: int
) -> None:
    """Slow: a real command with two real workers, which ignore a terminal's Ctrl-C."""
    ignore = '__import__("signal").signal(2, __import__("signal").SIG_IGN)'
    fault = f'request["training_seed"] and ({ignore}, time.sleep(600))'
    code = f"from mnist_bench.runner import process; process.COMMAND = {trial_worker(fault)!r}"
    uri = f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}"  # as of `call_with_store`
    with bench.started(
        *("tune", "--space", "two.toml", "--trials", "5", "--confirm", "0", "--workers", "2"),
        program=patched_program(code),
        MLFLOW_TRACKING_URI=uri,
    ) as running:
        file = bench.folder / "requests.jsonl"
        running.until(lambda: file.exists() and len(requests_of(bench)) == 3, 120)
        trainings = running.descendants()
        for each in (psutil.Process(running.process.pid), *trainings * (status == 130)):
            with contextlib.suppress(psutil.NoSuchProcess):  # another has ended it already
                each.send_signal(number)
        ended = running.ended(60)
        assert ended.status == status
        assert "Traceback" not in ended.stderr
        assert status < 0 or not any(each.is_running() for each in trainings)
        for each in trainings:  # those of a dead command
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    assert_resumed(bench, 2)


def test_trial_that_ended_before_its_command_died_counts(bench: Bench) -> None:
    """It died after the end of the MLflow run, before the study was updated."""
    record = Study.record

    def die(study: Study, trial: Any, run: Any) -> None:
        if trial.number == 2:
            raise SystemExit(9)
        record(study, trial, run)

    with mock.patch.object(Study, "record", die):
        assert searched(bench, "--trials", "4").status == 9
    again = searched(bench, "--trials", "4", "--resume")
    assert again.status == 0, again.stderr
    assert "trial 2 had ended before its process died: it counts" in again.stderr_line
    trials = again.document["trials"]
    assert states(again.document) == ["finished"] * 4
    assert [trial["retry_of"] for trial in trials] == [None] * 4
    runs = RecordedStudy(bench.folder).trials
    assert [trial["run_id"] for trial in trials] == [run.info.run_id for run in runs]
    assert trials[2]["values"] == [runs[2].data.metrics["validation_accuracy"]]
    # The fake worker's seconds, not the time until the study was updated.
    assert 0 < trials[2]["seconds"] < 60
    assert len(requests_of(bench)) == 4


def test_failed_trial_is_replaced_and_retried_once(bench: Bench) -> None:
    fault = 'request["training_seed"] in (0, 1) and sys.exit("no memory")'
    once = searched(bench, "--trials", "2", fault=fault)
    assert once.status == 0, once.stderr
    assert states(once.document) == ["failed", "failed", "finished", "finished"]
    assert once.document["candidate"] is not None
    assert "the paper's own trial did not finish" in once.document["margin"]["in_words"]
    assert once.document["margin"]["is_enough"] is False
    assert "no memory" in once.stderr
    run = RecordedStudy(bench.folder).trials[1]
    assert (run.info.status, run.data.tags["bench.trial_state"]) == ("FAILED", "failed")
    again = searched(bench, "--trials", "4", "--resume")
    assert "trial 0 failed; retrying it" in again.stderr_line
    assert [trial["retry_of"] for trial in again.document["trials"][4:]] == [0, 1]
    assert again.document["trials"][4]["is_papers"] is True


def test_failed_confirmation_is_kept_and_the_next_has_other_seeds(bench: Bench) -> None:
    line = ("--trials", "8", "--confirm", "2")
    failed = tune(bench, *line, fault='request["with_test"] and sys.exit("broken")')
    assert failed.status == 1
    (first,) = failed.document["looks"]
    assert (first["number"], first["first_seed"], first["proof"]) == (1, 1_000_000, None)
    assert "confirmation 1: the trainings did not come to their end" in failed.stderr_line
    again = tune(bench, *line, "--resume")
    assert again.status == 0, again.stderr
    repeated, second = again.document["looks"]
    assert repeated == first
    assert (second["number"], second["first_seed"]) == (2, 1_010_000)
    assert second["candidate"] == first["candidate"]
    assert second["proof"]["candidate"]["n"] == 2
    test_seeds = [r["training_seed"] for r in requests_of(bench) if r["with_test"]]
    assert test_seeds == [1_000_000, 1_010_000, 1_010_000, 1_010_001, 1_010_001]
    assert "2 in all; the candidate was settled on validation before each." in report_of(bench)


def test_no_feasible_trial(bench: Bench) -> None:
    ended = tune(bench, "--trials", "3", "--max-seconds", "0.5")
    assert ended.status == 1
    assert "none of 3 trials meets every constraint" in ended.error_line
    assert "finished trials violate max seconds by " in ended.error_line
    assert "relax max seconds, or increase" in ended.error_line
    assert (ended.document["candidate"], ended.document["looks"]) == (None, [])
    assert "No trial is an answer" in report_of(bench)
    assert not (bench.folder / "reports" / "two-accuracy.toml").exists()


@pytest.mark.parametrize(
    ("objective", "directions"), [("time-to-accuracy", (-1,)), ("pareto", (1, -1, -1))]
)
def test_other_objectives(bench: Bench, objective: str, directions: tuple[int, ...]) -> None:
    ended = searched(bench, "--trials", "6", "--objective", objective)
    assert ended.status == 0, ended.stderr
    feasible = {
        trial["number"]: [
            sign * value for sign, value in zip(directions, trial["values"], strict=True)
        ]
        for trial in ended.document["trials"]
        if trial["state"] == "finished" and trial["missed"].get("target accuracy", 0) <= 0
    }

    def beats(one: list[float], other: list[float]) -> bool:
        return one != other and all(a >= b for a, b in zip(one, other, strict=True))

    front = [n for n in feasible if not any(beats(feasible[m], feasible[n]) for m in feasible)]
    assert sorted(ended.document["best"]) == front
    assert ended.document["candidate"] in front
    assert objective == "time-to-accuracy" or states(ended.document) == ["finished"] * 6


# The best trials, trained again


def test_finalists_are_repeated_and_their_means_decide(bench: Bench) -> None:
    ended = tune(bench, "--trials", "5", "--finalists", "2", "--confirm", "2")
    assert ended.status == 0, ended.stderr
    trials, requests = ended.document["trials"], requests_of(bench)
    search, again = trials[:5], trials[5:]
    best = [t["number"] for t in sorted(search, key=lambda trial: -trial["values"][0])[:2]]
    assert [trial["repeat_of"] for trial in search] == [None] * 5
    assert [trial["repeat_of"] for trial in again] == [best[0]] * 3 + [best[1]] * 3
    for trial in again:
        expected = ("finished", search[trial["repeat_of"]]["chosen"])
        assert (trial["state"], trial["chosen"]) == expected
    assert [request["training_seed"] for request in requests[:11]] == list(range(11))
    assert {request["with_test"] for request in requests[:11]} == {False}
    means = {
        number: sum(t["values"][0] for t in again if t["repeat_of"] == number) / 3
        for number in best
    }
    assert ended.document["candidate"] == max(means, key=lambda number: means[number])
    finalists = {each["trial"]: each["values"][0] for each in ended.document["finalists"]}
    assert finalists == pytest.approx(means)
    (evaluation,) = ended.document["looks"]
    proof = evaluation["proof"]
    search_mean = means[ended.document["candidate"]]
    assert search_mean - proof["candidate"]["accuracy_mean"] == pytest.approx(proof["shrinkage"])
    assert "## The finalists" in report_of(bench)
    assert f"trial 6, as trial {best[0]}: validation accuracy" in ended.stderr_line


def test_later_better_trial_beats_the_finalists(bench: Bench) -> None:
    fault = 'hyperparameters["learning_rate"] = 0.01 if request["training_seed"] == 8 else 0.0001'
    first = searched(bench, "--trials", "3", "--finalists", "1", fault=fault)
    assert first.document["candidate"] in {0, 1, 2}
    more = tune(bench, "--trials", "6", "--confirm", "2", "--resume", fault=fault)
    assert more.status == 0, more.stderr
    assert len(counted(more.document)) == 6
    assert more.document["candidate"] == 8
    assert "trial 8 is ahead of the finalists, in a single training" in more.stderr_line


def test_finalists_that_violate_a_constraint_when_repeated(bench: Bench) -> None:
    # The first training of each is within the seconds, every later one is slower.
    fault = 'hyperparameters["batch_size"] *= 1 if request["training_seed"] < 4 else 9'
    limits = ("--trials", "4", "--finalists", "2", "--max-seconds", "11")
    ended = tune(bench, *limits, fault=fault)
    assert ended.status == 1
    assert "none of the 2 finalists meets every constraint when repeated" in ended.error_line
    assert (ended.document["candidate"], ended.document["looks"]) == (None, [])


# The winner as a model


def test_confirmed_winner_is_a_registered_model(bench: Bench) -> None:
    line = ("--trials", "4", "--confirm", "2", "--save-model")
    for version in ("1", "2"):
        ended = tune(bench, *line, *(("--resume",) if version == "2" else ()))
        assert ended.status == 0, ended.stderr
        assert (
            f"model mnist-bench, version {version}: `mlflow models serve -m "
            f"models:/mnist-bench/{version} --env-manager local`"
        ) in ended.stderr_line
    # Only the winner's weights are kept.
    winners = ended.document["trials"][ended.document["candidate"]]["chosen"]
    for request in requests_of(bench):
        is_winner = request["hyperparameters"]["learning_rate"] == winners["learning_rate"]
        assert request["save_weights"] == (request["with_test"] and is_winner)
    client = RecordedStudy(bench.folder).client
    registered = client.get_model_version("mnist-bench", "2")
    assert registered.tags == {
        "bench.study": "two-accuracy",
        "bench.trial": str(ended.document["candidate"]),
    }
    run = client.get_run(registered.run_id)
    assert run.data.params["scenario"] == "two-accuracy-winner"
    assert run.data.params["learning_rate"] == str(winners["learning_rate"])


# Several trials at the same time


def test_two_workers_share_a_study(bench: Bench) -> None:
    # So that they are sure to meet, the first of either worker waits for the other's.
    all_requests = 'pathlib.Path("requests.jsonl").read_text().splitlines()'
    fault = (
        f'while request["training_seed"] in {{1, 2}} and len({all_requests}) < 3: time.sleep(0.01)'
    )
    ended = searched(bench, "--trials", "5", "--workers", "2", fault=fault)
    assert ended.status == 0, ended.stderr
    trials = ended.document["trials"]
    assert set(states(ended.document)) <= {"finished", "pruned"}
    assert len({json.dumps(trial["chosen"]) for trial in trials[:5]}) == 5
    threads = [request["execution"]["threads"] for request in requests_of(bench)]
    assert set(threads[:5]) == {max(1, system.usable_threads() // 2)}
    # Concurrent trials: their times are suspect.
    for run in RecordedStudy(bench.folder).trials[:5]:
        assert run.data.tags["bench.verdict"] != "clean"
    # The best is trained again alone, with every thread, and so is the paper's.
    best = max(trials[:5], key=lambda trial: (trial["values"] or [0])[0])["number"]
    assert [trial["repeat_of"] for trial in trials[5:]] == [best] * 3 + [0] * 3
    assert set(threads[5:]) == {system.usable_threads()}
    took = [trial["seconds"] for trial in trials]
    assert max(took) < ended.document["search_seconds"] < sum(took)


def test_a_cluster_of_two_on_this_machine(bench: Bench) -> None:
    """Its trials share the machine; the repeats are trained as without it."""
    with mock.patch.object(tasks, "WorkerProcess", TrialWorker):
        ended = searched(bench, "--trials", "3", "--cluster", "local:2")
    assert ended.status == 0, ended.stderr
    trials = ended.document["trials"]
    assert len(counted(ended.document)) == 3
    threads = [request["execution"]["threads"] for request in requests_of(bench)]
    assert set(threads[:3]) == {max(1, system.usable_threads() // 2)}
    assert set(threads[3:]) == {system.usable_threads()}
    runs = RecordedStudy(bench.folder).trials
    assert [trial["run_id"] for trial in trials] == [run.info.run_id for run in runs]


# Refusals


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--storage", "postgresql://me:hunter2@db/optuna"), ("password", "~/.pgpass")),
        (("--resume",), ("there is no study two-accuracy", "no study yet")),
        (("--confirm", "1"), ("one seed has no spread",)),
        (("--max-memory", "much"), ("'much' is not a size",)),
        (("--max-seconds", "nan"), ("'nan' is not a number of seconds",)),
        (("--max-seconds", "inf"), ("'inf' is not a number of seconds",)),
        (("--study", "../up"), ("is not a valid name",)),
        (("--trials", "0"), ("--trials",)),
        (("--save-model", "--confirm", "0"), ("--save-model can't be used with --confirm 0",)),
        (("--trials", "2", "--finalists", "3"), ("--finalists 3 of --trials 2",)),
        (("--max-memory", "10M"), ("less than TensorFlow alone takes",)),
        (("--workers", "1000"), ("--workers 1000: this process may use",)),
        (("--objective", "speed"), ("--objective",)),
        (("--finalists", "-1"), ("--finalists",)),
        (("--insecure-cluster",), ("works only with --cluster",)),
        (("--cluster", "local:2", "--workers", "3"), ("--workers 3 can't be used",)),
        (("--finalists", "2", "--objective", "pareto"), ("a Pareto front has no best trials",)),
        (("--space", "gone.toml"), ("there is no search space file gone.toml",)),
    ],
)
def test_wrong_requests(bench: Bench, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    ended = bench.call("tune", "--space", "two.toml", *arguments)
    assert (ended.status, ended.stdout) == (2, "")
    for word in words:
        assert word in ended.error_line
    assert "hunter2" not in ended.stderr
    assert sorted(path.name for path in bench.folder.iterdir()) == ["two.toml"]
