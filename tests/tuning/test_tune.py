"""`mnist-bench tune` as a process, with real databases and a fake worker.

The fake worker's accuracies follow from the hyperparameters, and it logs its requests, so that a
test knows the best trial and sees which requests use the test split.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import optuna
import psutil
import pytest
from factories import TWO_PARAMETERS_TOML
from fakes import trial_worker as worker
from program import Bench, Ended, patched_program

from mnist_bench.measurement import machine, system
from mnist_bench.runner import process
from mnist_bench.scenarios import scenario
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters


class RecordedStudy:
    """MLflow runs of a study."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        uri = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment = self.client.get_experiment_by_name("mnist-bench")
        self.runs: list[Any] = list(self.client.search_runs([experiment.experiment_id]))

    def study(self) -> Any:
        (run,) = [
            run
            for run in self.runs
            if "bench.study" in run.data.tags and "bench.trial" not in run.data.tags
        ]
        return run

    def trials(self) -> list[Any]:
        found = [run for run in self.runs if "bench.trial" in run.data.tags]
        return sorted(found, key=lambda run: int(run.data.tags["bench.trial"]))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    created = Bench(tmp_path)
    (created.folder / "two.toml").write_text(TWO_PARAMETERS_TOML, encoding="utf-8")
    return created


def tune(bench: Bench, *arguments: str, fault: str = "pass", **variables: str) -> Ended:
    with mock.patch.object(process, "COMMAND", worker(fault)):
        return bench.call("tune", "--space", "two.toml", *arguments, **tracked(bench), **variables)


def tracked(bench: Bench) -> dict[str, str]:
    """Absolute URI: MLflow caches databases by URI within a process."""
    return {"MLFLOW_TRACKING_URI": f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}"}


def requests_of(bench: Bench) -> list[dict[str, Any]]:
    """Requests sent to workers, in order."""
    lines = (bench.folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


# A study from its space to its winner


@dataclass(frozen=True)
class CompletedStudy:
    """A completed study, with its JSON document and standard error as one line."""

    bench: Bench
    document: dict[str, Any]
    stderr_line: str

    def report(self, suffix: str) -> str:
        path = self.bench.folder / "reports" / f"two-accuracy{suffix}"
        return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def completed(tmp_path_factory: pytest.TempPathFactory) -> CompletedStudy:
    bench = Bench(tmp_path_factory.mktemp("user"))
    (bench.folder / "two.toml").write_text(TWO_PARAMETERS_TOML, encoding="utf-8")
    ended = tune(bench, "--trials", "14", "--confirm", "3", "--json")
    assert ended.status == 0, ended.stderr
    return CompletedStudy(bench, ended.document, ended.stderr_line)


def test_report_has_a_section_on_the_study(completed: CompletedStudy) -> None:
    ended = completed.bench.call_with_store("report", "--format", "md,html", "--out", "book")
    assert ended.status == 0, ended.stderr
    text = (completed.bench.folder / "book" / "report.md").read_text(encoding="utf-8")
    headline = completed.report(".md").splitlines()[2]
    assert headline.startswith("Trial ")
    assert f"- Study two-accuracy: {headline}" in text
    assert "## Study two-accuracy: " in text
    assert "14 trials: " in text
    page = (completed.bench.folder / "book" / "report.html").read_text(encoding="utf-8")
    assert "The search, trial by trial" in page


def test_report_of_a_study_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (bench.folder / "two.toml").write_text(TWO_PARAMETERS_TOML, encoding="utf-8")
    assert tune(bench, "--trials", "2", "--confirm", "0").status == 0
    ended = bench.call_with_store("report", "--json")
    assert ended.status == 0, ended.stderr
    assert ended.document["runs"] == []
    assert "1 study of mnist-bench on " in ended.stderr_line
    (study,) = ended.document["studies"]
    assert (study["study"], study["trials"], study["finished"]) == ("two-accuracy", 2, 2)
    assert study["value_names"] == ["validation accuracy"]
    (best,) = study["best"]
    assert len(best["run_id"]) == len(study["run_id"]) == 32
    assert best["values"] == study["candidate_values"]
    refused = bench.call_with_store("report", "--image", "0")
    assert refused.status == 2
    assert "the images of these runs (none) are not available locally" in refused.error_line


def test_the_papers_configuration_is_the_first_trial(completed: CompletedStudy) -> None:
    first = completed.document["trials"][0]
    assert (first["number"], first["state"], first["is_papers"]) == (0, "finished", True)
    assert first["chosen"] == {"learning_rate": 0.001, "batch_size": 50}
    assert first["values"] == [0.93]
    assert [trial["number"] for trial in completed.document["trials"]] == list(range(14))
    assert not any(trial["is_papers"] for trial in completed.document["trials"][1:])


def test_best_on_validation_is_the_candidate(completed: CompletedStudy) -> None:
    finished = [t for t in completed.document["trials"] if t["state"] == "finished"]
    best = max(finished, key=lambda trial: trial["values"][0])
    assert completed.document["candidate"] == best["number"]
    assert completed.document["best"] == [best["number"]]
    assert best["values"][0] > 0.94


def test_no_trial_evaluates_the_test_split(completed: CompletedStudy) -> None:
    requests = requests_of(completed.bench)
    trials, test_requests = requests[:14], requests[14:]
    assert {request["with_test"] for request in trials} == {False}
    assert {request["with_test"] for request in test_requests} == {True}
    assert [request["training_seed"] for request in trials] == list(range(14))


def test_candidate_is_confirmed_on_fresh_seeds(completed: CompletedStudy) -> None:
    test_requests = requests_of(completed.bench)[14:]
    assert [request["training_seed"] for request in test_requests] == [
        seed for seed in range(1_000_000, 1_000_003) for _ in range(2)
    ]
    winner = completed.document["trials"][completed.document["candidate"]]["chosen"]
    for candidate_request, paper_request in zip(
        test_requests[::2], test_requests[1::2], strict=True
    ):
        assert candidate_request["hyperparameters"]["learning_rate"] == winner["learning_rate"]
        assert paper_request["hyperparameters"]["learning_rate"] == 0.001
    (evaluation,) = completed.document["looks"]
    confirmation = evaluation["proof"]
    assert (evaluation["number"], confirmation["candidate"]["n"], confirmation["paper"]["n"]) == (
        1,
        3,
        3,
    )
    # Test lies 0.002 below validation, and the seeds 0.0004 apart.
    assert confirmation["paper"]["accuracy_mean"] == pytest.approx(0.93 - 0.002 + 0.0004)
    assert confirmation["accuracy"]["difference"] == pytest.approx(
        confirmation["candidate"]["accuracy_mean"] - confirmation["paper"]["accuracy_mean"]
    )
    assert confirmation["shrinkage"] == pytest.approx(0.002, abs=0.001)
    assert confirmation["mcnemar"]["only_paper"] == 0
    assert confirmation["mcnemar"]["only_candidate"] >= 5
    assert "confirmation 1 on the test split" in completed.stderr_line


def test_mlflow_has_a_child_run_per_trial(completed: CompletedStudy) -> None:
    recorded = RecordedStudy(completed.bench.folder)
    study, trials = recorded.study(), recorded.trials()
    assert study.info.status == "FINISHED"
    assert study.info.run_name == "two-accuracy"
    assert len(trials) == 14
    states = {trial["number"]: trial["state"] for trial in completed.document["trials"]}
    for number, run in enumerate(trials):
        assert run.data.tags["mlflow.parentRunId"] == study.info.run_id
        assert run.data.tags["bench.trial"] == str(number)
        assert run.data.tags["bench.trial_state"] == states[number]
        assert run.info.status == ("FINISHED" if states[number] == "finished" else "KILLED")
        assert not [name for name in run.data.metrics if "test_" in name]
        assert run.info.run_id == completed.document["trials"][number]["run_id"]
        chosen = completed.document["trials"][number]["chosen"]
        assert {name: run.data.params[name] for name in chosen} == {
            name: str(value) for name, value in chosen.items()
        }
    history = recorded.client.get_metric_history(trials[0].info.run_id, "validation_accuracy")
    assert [metric.step for metric in history] == list(range(5, 101, 5))


def test_files_are_artifacts_of_the_studys_run(completed: CompletedStudy) -> None:
    recorded = RecordedStudy(completed.bench.folder)
    artifacts = {f.path for f in recorded.client.list_artifacts(recorded.study().info.run_id)}
    written = {path.name for path in (completed.bench.folder / "reports").iterdir()}
    assert artifacts == written
    assert {"two-accuracy.history.png", "two-accuracy.slices.png", "two-accuracy.md"} <= artifacts


def test_the_winner_is_a_scenario(completed: CompletedStudy) -> None:
    path = completed.bench.folder / "reports" / "two-accuracy.toml"
    winner = completed.document["trials"][completed.document["candidate"]]["chosen"]
    found = scenario.read(path)
    assert found.steps == (100,)
    assert found.dataset == "mnist-5k"
    assert found.hyperparameters == PaperCnnHyperparameters(**winner)


def test_scenario_of_the_winner_has_its_own_name(completed: CompletedStudy) -> None:
    plans = completed.bench.call("run", "reports/two-accuracy.toml", "--dry-run", "--json")
    assert [plan["scenario"] for plan in plans.document["plans"]] == ["two-accuracy-winner"]


def test_every_trial_is_printed_as_it_ends(completed: CompletedStudy) -> None:
    assert "1 of 14: trial 0: validation accuracy 0.9300; best: 0" in completed.stderr_line
    assert "NOT COMPARABLE with the paper: trained on mnist-5k" in completed.stderr_line
    assert "> **NOT COMPARABLE with the paper: trained on mnist-5k.**" in completed.report(".md")


def test_the_reports(completed: CompletedStudy) -> None:
    assert json.loads(completed.report(".json")) == completed.document
    lines = list(csv.DictReader(io.StringIO(completed.report(".csv"))))
    assert [line["trial"] for line in lines] == [str(number) for number in range(14)]
    assert lines[0]["objective_validation_accuracy"] == "0.93"
    text = completed.report(".md")
    assert "mnist-bench tune --space two.toml --trials 14 --confirm 3 --json" in text
    assert "0 (paper)" in text
    assert str(completed.bench.home.parent) not in text


def test_optuna_reads_the_journal(completed: CompletedStudy) -> None:
    """optuna-dashboard opens it the same way."""
    file = completed.bench.folder / "mlruns" / "optuna.log"
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    study = optuna.load_study(study_name="two-accuracy", storage=storage)
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert [trial.number for trial in study.trials] == list(range(14))
    assert study.trials[0].params == {"learning_rate": 0.001, "batch_size": 50}
    assert study.trials[0].value == 0.93
    states = {trial.state for trial in study.trials}
    assert states <= {optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED}


def test_a_study_in_a_database(bench: Bench) -> None:
    line = ("--confirm", "0", "--json", "--storage", "sqlite:///studies.db")
    first = tune(bench, "--trials", "2", *line)
    assert first.status == 0, first.stderr
    again = tune(bench, "--trials", "3", *line, "--resume")
    assert again.status == 0, again.stderr
    assert again.document["trials"][:2] == first.document["trials"]
    assert len(again.document["trials"]) == 3
    assert not (bench.folder / "mlruns" / "optuna.log").exists()


def test_times_are_compared_on_one_kind_of_machine_only(bench: Bench) -> None:
    line = ("--trials", "2", "--confirm", "0", "--json", "--study", "ours")
    seconds = ("--objective", "time-to-accuracy")
    assert tune(bench, *line, *seconds).status == 0
    with mock.patch.object(machine, "_cpu_name", return_value="Another 9000"):
        refused = tune(bench, *line, *seconds, "--resume")
    assert refused.status == 2
    assert "the study ours compares times and was started on " in refused.error_line
    assert "times of this machine, Another 9000" in refused.error_line


def test_accuracies_are_compared_across_machines(bench: Bench) -> None:
    line = ("--confirm", "0", "--json", "--storage", "sqlite:///studies.db")
    assert tune(bench, "--trials", "2", *line).status == 0
    with (
        mock.patch.object(machine, "_cpu_name", return_value="Another 9000"),
        mock.patch.object(machine, "machine_id", return_value="b" * 32),
    ):
        again = tune(bench, "--trials", "5", *line, "--resume")
    assert again.status == 0, again.stderr
    assert [trial["machine_id"] == "b" * 32 for trial in again.document["trials"]] == [
        *(False, False), *(True, True, True),
    ]  # fmt: skip
    text = (bench.folder / "reports" / "two-accuracy.md").read_text(encoding="utf-8")
    assert "Trained on 2 machines: " in text
    assert "Another 9000" in text


def test_title_with_control_characters_is_escaped(bench: Bench) -> None:
    title = 'title = "\\u001b[2J[bold red]Ours\\u202e"'
    steering = TWO_PARAMETERS_TOML.replace('title = "Two parameters"', title)
    (bench.folder / "two.toml").write_text(steering, encoding="utf-8")
    ended = tune(bench, "--trials", "1", "--confirm", "0")
    assert ended.status == 0, ended.stderr
    assert "study two-accuracy: [2J[bold red]Ours" in ended.stdout
    assert not {"\x1b", "\u202e"} & set(ended.stdout + ended.stderr)


# Ends and beginnings


def interrupted(bench: Bench, number: signal.Signals, *arguments: str, at: int = 2) -> Ended:
    """Send a signal to a study within a trial that never ends."""
    fault = f'request["training_seed"] == {at} and time.sleep(600)'
    with bench.started(
        "tune", "--space", "two.toml", "--trials", "5", "--confirm", "0", *arguments,
        program=patched_program(
            f"from mnist_bench.runner import process\nprocess.COMMAND = {worker(fault)!r}"
        ),
        **tracked(bench),
    ) as running:  # fmt: skip
        file = bench.folder / "requests.jsonl"
        running.until(lambda: file.exists() and len(requests_of(bench)) == at + 1, 120)
        running.process.send_signal(number)
        return running.ended(60)


def states(document: dict[str, Any]) -> list[str]:
    return [trial["state"] for trial in document["trials"]]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_interrupted_study_is_resumed(bench: Bench, number: signal.Signals, status: int) -> None:
    ended = interrupted(bench, number)
    assert ended.status == status
    if status > 0:
        assert "--resume" in ended.stderr_line + ended.stdout
        text = (bench.folder / "reports" / "two-accuracy.md").read_text(encoding="utf-8")
        assert "The study did not come to its end" in text
        assert not (bench.folder / "reports" / "two-accuracy.toml").exists()
    again = tune(bench, "--trials", "5", "--confirm", "0", "--resume", "--json")
    assert again.status == 0, again.stderr
    trials = again.document["trials"]
    counted = [trial for trial in trials if trial["state"] in {"finished", "pruned"}]
    assert len(counted) == 5
    assert trials[2]["state"] == "failed"
    (retry,) = [trial for trial in trials if trial["retry_of"] == 2]
    assert retry["chosen"] == trials[2]["chosen"]
    assert retry["state"] in {"finished", "pruned"}
    recorded = RecordedStudy(bench.folder)
    assert recorded.study().info.status == "FINISHED"
    assert len(recorded.trials()) == len(trials)
    assert {run.info.status for run in recorded.trials()} <= {"FINISHED", "KILLED"}


def test_trial_that_ended_before_its_command_was_killed_counts(bench: Bench) -> None:
    """Killed after the end of the MLflow run, before the study is updated."""
    killed = bench.run(
        "tune", "--space", "two.toml", "--trials", "4", "--confirm", "0",
        program=patched_program(
            "import os\nfrom mnist_bench.runner import process\n"
            "from mnist_bench.tuning.study import Study\n"
            f"process.COMMAND = {worker('pass')!r}\n"
            "record = Study.record\n"
            "Study.record = lambda study, trial, run: (\n"
            "    os._exit(9) if trial.number == 2 else record(study, trial, run)\n"
            ")"
        ),
        **tracked(bench),
    )  # fmt: skip
    assert killed.status == 9
    again = tune(bench, "--trials", "4", "--confirm", "0", "--resume", "--json")
    assert again.status == 0, again.stderr
    assert "trial 2 had ended before its process died: it counts" in again.stderr_line
    trials = again.document["trials"]
    assert [trial["state"] for trial in trials] == ["finished"] * 4
    assert [trial["retry_of"] for trial in trials] == [None] * 4
    runs = RecordedStudy(bench.folder).trials()
    assert [trial["run_id"] for trial in trials] == [run.info.run_id for run in runs]
    (last,) = [run for run in runs if run.data.tags["bench.trial"] == "2"]
    assert trials[2]["values"] == [last.data.metrics["validation_accuracy"]]
    # The fake worker's seconds, not the time until the study was updated.
    assert 0 < trials[2]["seconds"] < 60
    assert len(requests_of(bench)) == 4


def test_trials_that_all_fail_end_the_study(bench: Bench) -> None:
    ended = tune(bench, "--trials", "9", fault='sys.exit("no such thing")')
    assert ended.status == 1
    assert "3 trials failed one after the other" in ended.error_line
    assert len(requests_of(bench)) == 3


def test_first_of_many_failures_is_reported(bench: Bench) -> None:
    fault = 'sys.exit("first" if request["training_seed"] == 0 else "later")'
    ended = tune(bench, "--trials", "9", "--json", fault=fault)
    assert ended.status == 1
    runs = RecordedStudy(bench.folder).trials()
    messages = [run.data.tags["bench.failure"] for run in runs]
    assert f"the first: {messages[0]};" in ended.error_line


def test_failed_trial_is_retried_once(bench: Bench) -> None:
    once = tune(
        bench, "--trials", "2", "--confirm", "0", "--json",
        fault='request["training_seed"] in (0, 1) and sys.exit("no memory")',
    )  # fmt: skip
    assert states(once.document) == ["failed", "failed", "finished", "finished"]
    assert once.document["candidate"] is not None
    assert "the paper's own trial did not finish" in once.document["margin"]["in_words"]
    assert once.document["margin"]["is_enough"] is False
    again = tune(
        bench, "--trials", "3", "--confirm", "0", "--json", "--resume",
        fault='request["training_seed"] in (4, 5) and sys.exit("no memory")',
    )  # fmt: skip
    assert "trial 0 failed; retrying it" in again.stderr_line
    trials = again.document["trials"]
    assert [trial["retry_of"] for trial in trials] == [None] * 4 + [0, 1, None]
    assert [trial["state"] for trial in trials[4:]] == ["failed", "failed", "finished"]
    # The paper's trial is the reference: it alone gets a third attempt.
    last = tune(bench, "--trials", "4", "--confirm", "0", "--json", "--resume")
    assert [trial["retry_of"] for trial in last.document["trials"][7:]] == [4]
    assert last.document["trials"][7]["is_papers"] is True
    assert last.document["trials"][7]["state"] == "finished"


def test_failed_trial_does_not_count(bench: Bench) -> None:
    ended = tune(
        bench, "--trials", "4", "--confirm", "0", "--json",
        fault='request["training_seed"] == 1 and sys.exit("once")',
    )  # fmt: skip
    assert ended.status == 0, ended.stderr
    assert len(states(ended.document)) == 5
    assert states(ended.document)[1] == "failed"
    run = RecordedStudy(bench.folder).trials()[1]
    assert (run.info.status, run.data.tags["bench.trial_state"]) == ("FAILED", "failed")


def test_failed_confirmation_is_kept_and_the_next_has_other_seeds(bench: Bench) -> None:
    line = ("--trials", "8", "--confirm", "2", "--json")
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
    test_seeds = [
        request["training_seed"] for request in requests_of(bench) if request["with_test"]
    ]
    assert test_seeds == [1_000_000, *(1_010_000, 1_010_000, 1_010_001, 1_010_001)]
    text = (bench.folder / "reports" / "two-accuracy.md").read_text(encoding="utf-8")
    assert "2 in all; the candidate was settled on validation before each." in text


def test_no_feasible_trial(bench: Bench) -> None:
    ended = tune(bench, "--trials", "3", "--max-seconds", "0.5", "--json")
    assert ended.status == 1
    assert "none of 3 trials meets every constraint" in ended.error_line
    assert "finished trials violate max seconds by " in ended.error_line
    assert "relax max seconds, or increase" in ended.error_line
    assert ended.document["candidate"] is None
    assert ended.document["looks"] == []
    text = (bench.folder / "reports" / "two-accuracy.md").read_text(encoding="utf-8")
    assert "No trial is an answer" in text
    assert not (bench.folder / "reports" / "two-accuracy.toml").exists()


def test_trial_past_max_seconds_is_pruned(bench: Bench) -> None:
    ended = tune(bench, "--trials", "8", "--confirm", "0", "--max-seconds", "7", "--json")
    assert ended.status == 0, ended.stderr
    paper, *others = ended.document["trials"]
    assert (paper["state"], paper["missed"]["max seconds"]) == ("finished", pytest.approx(-2.0))
    late = [trial for trial in others if trial["chosen"]["batch_size"] > 72]
    assert 0 < len(late) < len(others)
    assert {trial["state"] for trial in late} == {"pruned"}
    for trial in late:
        assert 0 < trial["missed"]["max seconds"] < 0.6
    assert all(t["state"] != "finished" or t["missed"]["max seconds"] <= 0 for t in others)


def test_time_to_accuracy(bench: Bench) -> None:
    ended = tune(
        bench, "--trials", "12", "--confirm", "0", "--json", "--objective", "time-to-accuracy"
    )
    assert ended.status == 0, ended.stderr
    best = ended.document["trials"][ended.document["candidate"]]
    assert best["missed"]["target accuracy"] <= 0
    assert best["values"][0] == min(
        trial["values"][0]
        for trial in ended.document["trials"]
        if trial["state"] == "finished" and trial["missed"]["target accuracy"] <= 0
    )


def test_pareto_front_without_pruning(bench: Bench) -> None:
    ended = tune(bench, "--trials", "14", "--confirm", "0", "--json", "--objective", "pareto")
    assert ended.status == 0, ended.stderr
    document = ended.document
    assert set(states(document)) == {"finished"}
    values = {t["number"]: t["values"] for t in document["trials"]}

    def beats(one: Sequence[float], other: Sequence[float]) -> bool:
        signs = (1, -1, -1)
        better = [s * (a - b) for s, a, b in zip(signs, one, other, strict=True)]
        return min(better) >= 0 < max(better)

    front = [n for n in values if not any(beats(values[m], values[n]) for m in values)]
    assert sorted(document["best"]) == front
    assert (bench.folder / "reports" / "two-pareto.pareto.png").exists()


def test_second_study_gets_another_name(bench: Bench) -> None:
    first, second = (tune(bench, "--trials", "1", "--confirm", "0", "--json") for _ in range(2))
    assert first.document["study"] == "two-accuracy"
    assert second.document["study"] == "two-accuracy-2"
    assert "two-accuracy already exists (--resume continues it)" in second.stderr_line


def test_timeout_shorter_than_a_trial(bench: Bench) -> None:
    ended = tune(bench, "--trials", "50", "--timeout", "0.001s", "--json")
    assert ended.status == 1
    assert "--timeout expired after the first trial" in ended.error_line
    assert states(ended.document) == ["finished"]
    assert ended.document["looks"] == []


# The best trials, trained again


def test_finalists_are_repeated_and_their_means_decide(bench: Bench) -> None:
    ended = tune(bench, "--trials", "5", "--finalists", "2", "--confirm", "2", "--json")
    assert ended.status == 0, ended.stderr
    trials, requests = ended.document["trials"], requests_of(bench)
    search, again = trials[:5], trials[5:]
    best = sorted(search, key=lambda trial: -trial["values"][0])[:2]
    assert [trial["repeat_of"] for trial in search] == [None] * 5
    assert [trial["repeat_of"] for trial in again] == [best[0]["number"]] * 3 + [
        best[1]["number"]
    ] * 3
    for trial in again:
        assert (trial["state"], trial["chosen"]) == (
            "finished", search[trial["repeat_of"]]["chosen"],
        )  # fmt: skip
    assert [request["training_seed"] for request in requests[:11]] == list(range(11))
    assert {request["with_test"] for request in requests[:11]} == {False}
    means = {
        trial["number"]: sum(t["values"][0] for t in again if t["repeat_of"] == trial["number"]) / 3
        for trial in best
    }
    assert ended.document["candidate"] == max(means, key=lambda number: means[number])
    finalists = {each["trial"]: each["values"][0] for each in ended.document["finalists"]}
    assert finalists == pytest.approx(means)
    (evaluation,) = ended.document["looks"]
    shown = evaluation["proof"]
    search_mean = means[ended.document["candidate"]]
    assert search_mean - shown["candidate"]["accuracy_mean"] == pytest.approx(shown["shrinkage"])
    report = (bench.folder / "reports" / "two-accuracy.md").read_text(encoding="utf-8")
    assert "## The finalists" in report
    assert f"trial 6, as trial {best[0]['number']}: validation accuracy" in ended.stderr_line


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_repeat_is_retried(bench: Bench, number: signal.Signals) -> None:
    interrupted(bench, number, "--finalists", "1", at=6)
    again = tune(bench, "--trials", "5", "--finalists", "1", "--confirm", "0", "--resume", "--json")
    assert again.status == 0, again.stderr
    repeats = [trial for trial in again.document["trials"] if trial["repeat_of"] is not None]
    assert [trial["state"] for trial in repeats] == ["finished", "failed", "finished", "finished"]
    assert [trial["retry_of"] for trial in repeats] == [None, None, 6, None]
    assert len({trial["repeat_of"] for trial in repeats}) == 1
    assert len(again.document["finalists"][0]["repeats"]) == 3
    assert again.document["candidate"] == repeats[0]["repeat_of"]


def test_more_trials_after_finalists(bench: Bench) -> None:
    first = tune(bench, "--trials", "4", "--finalists", "1", "--confirm", "0", "--json")
    more = tune(bench, "--trials", "8", "--finalists", "1", "--confirm", "0", "--json", "--resume")
    assert first.status == more.status == 0
    counted = [
        trial for trial in more.document["trials"]
        if trial["state"] in {"finished", "pruned"} and trial["repeat_of"] is None
    ]  # fmt: skip
    assert len(counted) == 8
    best = max(counted, key=lambda trial: (trial["values"] or [0])[0])
    assert best["number"] in {each["trial"] for each in more.document["finalists"]}


def test_later_better_trial_beats_the_finalists(bench: Bench) -> None:
    """The fake worker makes later trials better."""
    fault = 'hyperparameters["learning_rate"] = 0.01 if request["training_seed"] == 8 else 0.0001'
    first = tune(
        bench, "--trials", "3", "--finalists", "1", "--confirm", "0", "--json", fault=fault
    )
    assert first.document["candidate"] in {0, 1, 2}
    more = tune(bench, "--trials", "6", "--confirm", "2", "--json", "--resume", fault=fault)
    assert more.status == 0, more.stderr
    assert more.document["candidate"] == 8
    assert "trial 8 is ahead of the finalists, in a single training" in more.stderr_line


def test_finalists_that_violate_a_constraint_when_repeated(bench: Bench) -> None:
    # The first training of each is within the seconds, every later one is slower.
    fault = 'hyperparameters["batch_size"] *= 1 if request["training_seed"] < 4 else 9'
    ended = tune(
        bench, "--trials", "4", "--finalists", "2", "--max-seconds", "11", "--json", fault=fault
    )
    assert ended.status == 1
    assert "none of the 2 finalists meets every constraint when repeated" in ended.error_line
    assert ended.document["candidate"] is None
    assert ended.document["looks"] == []


# Several trials at the same time


def tuned_in_parallel(bench: Bench, *arguments: str, fault: str = "pass") -> Ended:
    """Run a study with parallel workers, each with the fake training worker."""
    return tune(bench, "--confirm", "0", "--json", *arguments, fault=fault)


def test_two_workers_share_a_study(bench: Bench) -> None:
    # So that they are sure to meet, the first of either worker waits for the other's.
    all_requests = 'pathlib.Path("requests.jsonl").read_text().splitlines()'
    fault = (
        f'while request["training_seed"] in {{1, 2}} and len({all_requests}) < 3: time.sleep(0.01)'
    )
    ended = tuned_in_parallel(bench, "--trials", "7", "--workers", "2", fault=fault)
    assert ended.status == 0, ended.stderr
    trials = ended.document["trials"]
    assert set(states(ended.document)) <= {"finished", "pruned"}
    assert len({json.dumps(trial["chosen"]) for trial in trials[:7]}) == 7
    threads = [request["execution"]["threads"] for request in requests_of(bench)]
    assert set(threads[:7]) == {max(1, system.usable_threads() // 2)}
    # Concurrent trials: their times are suspect.
    for run in RecordedStudy(bench.folder).trials()[:7]:
        assert run.data.tags["bench.verdict"] != "clean"
    # The best is trained again alone, with every thread, and so is the paper's.
    best = max(trials[:7], key=lambda trial: (trial["values"] or [0])[0])["number"]
    assert [trial["repeat_of"] for trial in trials[7:]] == [best] * 3 + [0] * 3
    assert set(threads[7:]) == {system.usable_threads()}
    took = [trial["seconds"] for trial in trials]
    assert max(took) < ended.document["search_seconds"] < sum(took)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("number", "workers", "status"),
    [(signal.SIGINT, 2, 130), (signal.SIGINT, 3, 130), (signal.SIGTERM, 3, 143)],
)
def test_signal_ends_every_process_and_the_study_is_resumed(
    bench: Bench, number: signal.Signals, workers: int, status: int
) -> None:
    fault = (
        # The workers ignore Ctrl-C, which a terminal sends to all processes.
        'request["training_seed"] and (__import__("signal").signal(2, __import__("signal").SIG_IGN)'
        ", time.sleep(600))"
    )
    preamble = f"from mnist_bench.runner import process\nprocess.COMMAND = {worker(fault)!r}"
    line = ("--space", "two.toml", "--trials", "5", "--confirm", "0", "--workers", f"{workers}")
    with bench.started(
        "tune", *line, program=patched_program(preamble), **tracked(bench)
    ) as running:
        file = bench.folder / "requests.jsonl"
        running.until(lambda: file.exists() and len(requests_of(bench)) == 1 + workers, 120)
        trainings = running.descendants()
        for each in (psutil.Process(running.process.pid), *trainings * (status == 130)):
            with contextlib.suppress(psutil.NoSuchProcess):  # another has ended it already
                each.send_signal(number)
        ended = running.ended(60)
    assert ended.status == status
    assert "--resume" in ended.stderr_line + ended.stdout
    assert "Traceback" not in ended.stderr
    assert not any(each.is_running() for each in trainings)
    runs = RecordedStudy(bench.folder)
    assert [run.info.status for run in runs.trials()] == ["FINISHED", *["KILLED"] * workers]
    assert runs.study().info.status == "KILLED"
    again = tuned_in_parallel(bench, "--trials", "5", "--workers", "2", "--resume")
    assert again.status == 0, again.stderr
    trials = again.document["trials"]
    assert {trial["state"] for trial in trials[1 : 1 + workers]} == {"failed"}
    assert {trial["retry_of"] for trial in trials} >= set(range(1, 1 + workers))
    counted = [t for t in trials if t["state"] in {"finished", "pruned"} and t["repeat_of"] is None]
    assert len(counted) == 5


def test_timeout_before_parallel_workers_start(bench: Bench) -> None:
    ended = tuned_in_parallel(bench, "--trials", "9", "--workers", "2", "--timeout", "0.001s")
    assert ended.status == 1
    assert "--timeout expired after the first trial" in ended.error_line
    assert states(ended.document) == ["finished"]


def test_worker_whose_trials_all_fail(bench: Bench) -> None:
    ended = tuned_in_parallel(
        bench, "--trials", "9", "--workers", "2",
        fault='request["training_seed"] and sys.exit("no such thing")',
    )  # fmt: skip
    assert ended.status == 1
    assert states(ended.document)[0] == "finished"
    assert set(states(ended.document)[1:]) == {"failed"}


def test_more_workers_than_memory_allows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        psutil, "virtual_memory", lambda: SimpleNamespace(available=900_000_000, total=2**32)
    )
    ended = tuned_in_parallel(bench, "--trials", "9", "--workers", "2")
    assert ended.status == 2
    assert "--workers 2: so many trainings take" in ended.error_line
    assert "choose at most 1" in ended.error_line
    assert len(requests_of(bench)) == 1


# Refusals


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--storage", "postgresql://me:hunter2@db/optuna"), ("password", "~/.pgpass")),
        (("--resume",), ("there is no study two-accuracy", "no study yet")),
        (("--confirm", "1"), ("one seed has no spread",)),
        (("--max-memory", "much"), ("'much' is not a size",)),
        (("--max-seconds", "nan"), ("nan is not a number of seconds",)),
        (("--max-seconds", "inf"), ("inf is not a number of seconds",)),
        (("--study", "../up"), ("is not a valid name",)),
        (("--trials", "0"), ("--trials",)),
        (("--objective", "speed"), ("--objective",)),
        (("--finalists", "-1"), ("--finalists",)),
        (("--insecure-cluster",), ("works only with --cluster",)),
        (("--cluster", "local:2", "--workers", "3"), ("--workers 3 can't be used",)),
        (("--finalists", "2", "--objective", "pareto"), ("a Pareto front has no best trials",)),
    ],
)
def test_wrong_requests(bench: Bench, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    ended = bench.call("tune", "--space", "two.toml", *arguments)
    assert (ended.status, ended.stdout) == (2, "")
    for word in words:
        assert word in ended.error_line
    assert "hunter2" not in ended.stderr
    assert sorted(path.name for path in bench.folder.iterdir()) == ["two.toml"]


def test_missing_or_invalid_space(bench: Bench) -> None:
    assert "there is no file gone.toml" in bench.call("tune", "--space", "gone.toml").error_line
    wrong = TWO_PARAMETERS_TOML.replace("low = 10, high = 100", "low = 100, high = 10")
    (bench.folder / "two.toml").write_text(wrong, encoding="utf-8")
    ended = bench.call("tune", "--space", "two.toml")
    assert ended.status == 2
    assert "low is 100, not below high, 10" in ended.error_line


def test_existing_study_with_another_spec(bench: Bench) -> None:
    tune(bench, "--trials", "1", "--confirm", "0", "--study", "mine")
    again = tune(bench, "--trials", "1", "--study", "mine")
    assert (again.status, "--resume" in again.error_line) == (2, True)
    other = tune(bench, "--study", "mine", "--resume", "--objective", "pareto")
    assert other.status == 2
    assert "another objective" in other.error_line
    (bench.folder / "two.toml").write_text(
        TWO_PARAMETERS_TOML.replace("high = 100", "high = 90"), "utf-8"
    )
    other = tune(bench, "--study", "mine", "--resume")
    assert other.status == 2
    assert "another search space" in other.error_line
