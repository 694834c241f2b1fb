"""What `run claims` measures and in which order, and that a report alone decides the same."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from factories import (
    bundle,
    convolution_findings,
    data_size_findings,
    falling_error,
    run,
    training_along,
    trainings_along,
)
from program import Bench
from rich.console import Console

from mnist_bench.claims import evidence_loader, experiments, planning
from mnist_bench.claims.parts import ClaimInput, inputs_of
from mnist_bench.claims.planning import ClaimOptions, PlannedInput
from mnist_bench.cli import claims as claims_run
from mnist_bench.cli.run_plans import CommandResult
from mnist_bench.core.errors import EXIT_BROKE, EXIT_WRONG_REQUEST, BenchError
from mnist_bench.core.signals import Terminated
from mnist_bench.data.mnist import MNIST
from mnist_bench.results import experiments
from mnist_bench.results.claims import ON_IMAGES
from mnist_bench.results.run import RunResult
from mnist_bench.runner.options import RunOptions
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.tracking import schema
from mnist_bench.tracking.mlflow_reader import MlflowReader
from mnist_bench.tracking.mlflow_store import MlflowStore

HERE = "a" * 32


# Which parts are measured


def wish(**changes: Any) -> RunOptions:
    values: dict[str, Any] = {
        "scenarios": ("claims",), "steps": None, "settings": (), "seeds": range(1),
        "repeats": None, "independent": False, "threads": None, "precision": "float32",
        "device": "cpu", "dataset": None, "folder": None, "tracking_uri": "sqlite:///mlflow.db",
        "experiment": "mnist-bench", "command": "mnist-bench run claims",
    }  # fmt: skip
    return RunOptions(**(values | changes))


def question(budget_seconds: float = 100.0) -> ClaimOptions:
    return ClaimOptions((1,), budget_seconds, None, reports=True, wish=wish())


def part(name: str, seconds: float, **changes: Any) -> PlannedInput:
    """One that is called so."""
    made = ClaimInput((10,), seconds, name)
    return PlannedInput(made, **({"is_recorded": False} | changes))


class Measuring:
    """Stands in for the measuring: each part takes what it is told to, on a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **takes: float | CommandResult) -> None:
        self.now, self.takes, self.done = 0.0, takes, []
        monkeypatch.setattr(claims_run.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(claims_run, "_measured", self.measured)
        monkeypatch.setattr(claims_run, "_decided", self.decided)

    def measured(self, each: PlannedInput, *_: object) -> CommandResult:
        self.done.append(each.part.scenario)
        taken = self.takes[each.part.scenario]
        if isinstance(taken, CommandResult):
            return taken
        self.now += taken
        return CommandResult("", 0, None)

    def decided(
        self, _question: ClaimOptions, _people: Console, errors: Any, status: int
    ) -> CommandResult:
        return CommandResult("decided", status, errors[0] if errors else None)

    def carry_out(
        self, *parts: PlannedInput, budget_seconds: float = 100.0
    ) -> tuple[CommandResult, str]:
        said = io.StringIO()
        console = Console(file=said, width=200)
        done = claims_run.run_claims(question(budget_seconds), parts, None, console, console)
        return done, said.getvalue()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(("ending", "status"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_what_is_measured_by_itself_ends_with_the_user_as_a_training_does(
    monkeypatch: pytest.MonkeyPatch, ending: type[BaseException], status: int
) -> None:
    def ended(*_: object) -> None:
        raise ending

    measured = claims_run._measured
    measuring = Measuring(monkeypatch)
    monkeypatch.setattr(claims_run, "_measured", measured)
    monkeypatch.setattr(claims_run, "_measured_by_itself", ended)
    done, _ = measuring.carry_out(part("a", 5), part("b", 5))
    assert (done.document_json, done.exit_status, done.error) == ("decided", status, None)


def planned(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    claims: tuple[int, ...],
    budget_seconds: float = 1e6,
    recorded: Callable[[ClaimInput], bool] = lambda _: False,
) -> dict[str, PlannedInput]:
    """What would be measured of some claims, by its name, where these parts are recorded."""

    def looked_up(wanted: Sequence[ClaimInput], *_: object) -> dict[ClaimInput, PlannedInput]:
        return {each: PlannedInput(each, is_recorded=recorded(each)) for each in wanted}

    monkeypatch.setattr(planning, "_images", lambda _: None)
    monkeypatch.setattr(planning, "_looked_up", looked_up)
    monkeypatch.chdir(folder)
    asked = ClaimOptions(claims, budget_seconds, None, reports=True, wish=wish())
    parts, _ = planning.plan_inputs(asked, Console(quiet=True))
    return {str(each.part): each for each in parts}


def test_the_small_machine_is_measured_where_the_large_one_has_no_room(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    large, small = "claim-6-svm, seed 0", "claim-6-svm-small, seed 0"
    roomy = planned(monkeypatch, tmp_path, (6,))
    assert roomy[large].fits
    assert (roomy[small].is_spare, roomy[small].fits) == (True, False)
    narrow = planned(monkeypatch, tmp_path, (6,), budget_seconds=720)
    assert (narrow[large].fits, narrow[small].fits) == (False, True)
    none = planned(monkeypatch, tmp_path, (6,), budget_seconds=10)
    assert not any(each.fits for each in none.values())


def test_where_the_large_machine_is_recorded_nobody_wants_the_small_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = planned(monkeypatch, tmp_path, (6,), 10, lambda part: part.scenario == "claim-6-svm")
    assert plan["claim-6-svm-small, seed 0"].is_spare


def test_a_spare_part_is_not_in_the_plan_and_is_measured_where_it_is_needed_after_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spare = PlannedInput(
        ClaimInput((6,), 5, "small", stands_in_for="large"),
        is_recorded=False,
        fits=False,
        is_spare=True,
    )
    others = (part("slow", 10), part("large", 50), spare)
    assert "small" not in planning.plan_as_text(others, question())
    assert len(json.loads(planning.plan_as_json(others, question()))["parts"]) == 2
    overrun = Measuring(monkeypatch, slow=60, large=50, small=5)
    overrun.carry_out(*others)
    assert overrun.done == ["slow", "small"]
    in_time = Measuring(monkeypatch, slow=10, large=50, small=5)
    in_time.carry_out(*others)
    assert in_time.done == ["slow", "large"]


@pytest.mark.usefixtures("home")
def test_a_part_that_fits_exactly_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = Measuring(monkeypatch, a=1.5, b=99)
    measuring.carry_out(part("a", 1), part("b", 99))
    assert measuring.done == ["a", "b"]


def test_a_machine_that_has_no_id_measures_no_claims(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bench = Bench(tmp_path)
    monkeypatch.setattr(planning, "machine_id", lambda: None)
    ended = bench.call("run", "claim-10")
    assert ended.status == 2
    assert "without this machine's id nobody can tell what was measured here" in ended.complaint
    assert list(bench.folder.iterdir()) == []


def test_what_was_measured_in_company_is_measured_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    store = MlflowStore(f"sqlite:///{(tmp_path / 'mlflow.db').as_posix()}", "mnist-bench")
    asked = experiments.experiment_request(10, None, threads=1)
    kept = convolution_findings(equal=10)[10].model_copy(
        update={"execution": asked.execution, "tensorflow": version("tensorflow")}
    )
    monkeypatch.setattr(planning.sensing, "usable_threads", lambda: 1)
    (ten,) = inputs_of([10])
    for in_company, exclusive, is_recorded in (
        (False, True, True), (False, False, True), (True, True, False), (True, False, True),
    ):  # fmt: skip
        made = kept.model_copy(update={"exclusive": not in_company})
        monkeypatch.setattr(experiments, "load_experiment", lambda *_, made=made: made)
        found = planning._untrained(ten, store, None, exclusive=exclusive)
        assert found.is_recorded == is_recorded


def test_rows_of_one_training_do_where_no_claim_is_about_learning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert list(planned(monkeypatch, tmp_path, (1,))) == ["table-1, seed 0"]
    both = planned(monkeypatch, tmp_path, (1, 4))
    assert [name for name in both if name.endswith("seed 0, each row from zero")]
    shared = planned(monkeypatch, tmp_path, (1,), recorded=lambda part: not part.independent)
    assert shared["table-1, seed 0"].is_recorded
    learning = planned(monkeypatch, tmp_path, (4,), recorded=lambda part: not part.independent)
    assert not any(each.is_recorded for each in learning.values())


def test_rows_that_were_each_trained_from_zero_do_for_every_claim(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = planned(monkeypatch, tmp_path, (5,), 10, lambda part: part.independent)
    assert [(each.is_recorded, each.fits) for each in plan.values()] == [(True, True)]


@pytest.mark.usefixtures("home")
def test_what_fits_is_measured_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = Measuring(monkeypatch, a=10, b=10)
    done, _ = measuring.carry_out(
        part("a", 10), part("is there", 10, is_recorded=True), part("too long", 200, fits=False),
        part("b", 10),
    )  # fmt: skip
    assert measuring.done == ["a", "b"]
    assert (done.document_json, done.exit_status, done.error) == ("decided", 0, None)


@pytest.mark.usefixtures("home")
def test_no_part_is_begun_that_would_end_after_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = Measuring(monkeypatch, slow=90, c=5)
    _, said = measuring.carry_out(part("slow", 10), part("b", 20), part("c", 5))
    assert measuring.done == ["slow", "c"]
    assert "Left out, it does not fit into what is left of the budget: b" in said


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("status", [EXIT_BROKE, EXIT_WRONG_REQUEST])
def test_a_part_that_fails_ends_no_other(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    fault = BenchError("no memory for it", "buy some", exit_status=status)
    measuring = Measuring(monkeypatch, a=CommandResult("", status, fault), b=5)
    done, said = measuring.carry_out(part("a", 5), part("b", 5))
    assert measuring.done == ["a", "b"]
    assert (done.exit_status, done.error) == (status, fault)
    assert "a, seed 0: no memory for it" in said


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("status", [130, 143])
def test_what_the_user_ends_ends_all_and_is_decided(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    measuring = Measuring(monkeypatch, a=CommandResult("", status, None), b=5)
    done, _ = measuring.carry_out(part("a", 5), part("b", 5))
    assert measuring.done == ["a"]
    assert (done.document_json, done.exit_status) == ("decided", status)


def test_a_plan_is_told() -> None:
    parts = [part("a", 30), part("b", 200, fits=False), part("c", 5, is_recorded=True)]
    assert planning.plan_as_text(parts, question()).splitlines() == [
        "about 30.0 s of a budget of 1 min 40 s",
        "  a, seed 0 (claim 10): 30.0 s, by another machine's measure",
        "  b, seed 0 (claim 10): left out, 3 min 20 s, by another machine's measure",
        "  c, seed 0 (claim 10): recorded already",
    ]
    told = json.loads(planning.plan_as_json(parts, question()))["parts"]
    assert [each["fits"] for each in told] == [True, False, True]
    assert [each["expected_seconds"] for each in told] == [30, 200, 0]


# What a report decides


def taken_in(bench: Bench, runs: list[RunResult]) -> None:
    ended = bench.inside("import", bundle(bench.folder, "runs.zip", runs))
    assert ended.status == 0, ended.stderr


def recorded(tmp_path: Path, price: float | None = 0.5) -> Bench:
    """A database with what claims 1 to 5, 10 and 11 are decided by."""
    bench = Bench(tmp_path)
    own = {"machine_id": HERE, "dataset_digest": MNIST.digest}
    runs = [each.model_copy(update=own) for each in trainings_along(falling_error)]
    small = run(200, 0.91, scenario="smoke", dataset="mnist-5k", machine_id=HERE, trajectory="s")
    taken_in(bench, [*runs, small])
    store = MlflowStore(f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}", "mnist-bench")
    mark = {schema.CLAIMS_TAG: "true", schema.MACHINE_ID_TAG: HERE,
            schema.PRICE_TAG: "" if price is None else str(price)}  # fmt: skip
    store.keep("claims", "", mark, {})
    for number, body in (
        convolution_findings(equal=10) | data_size_findings(47_040_000, 7_840_000)
    ).items():
        digest = MNIST.digest if number in ON_IMAGES else None
        made = body.model_copy(update={"machine_id": HERE, "dataset_digest": digest})
        tags = {schema.CLAIM_TAG: str(number), schema.MACHINE_ID_TAG: HERE}
        tags |= {schema.DIGEST_TAG: digest} if digest else {}
        store.keep(f"claim {number}", "", tags, {experiments.FILE: made.to_json()})
    return bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return recorded(tmp_path_factory.mktemp("user"))


def told(bench: Bench, *arguments: str) -> dict[int, dict[str, Any]]:
    ended = bench.inside("report", "--json", *arguments)
    assert ended.status == 0, ended.stderr
    return {each["claim"]: each for each in json.loads(ended.stdout)["claims"]}


def test_a_report_alone_decides_the_claims(bench: Bench) -> None:
    claims = told(bench)
    verdicts = {number: each["verdict"] for number, each in claims.items()}
    assert {n: verdicts[n] for n in (3, 4, 5, 10, 11)} == {
        3: "does not hold", 4: "holds", 5: "holds", 10: "holds", 11: "does not hold",
    }  # fmt: skip
    assert {verdicts[n] for n in (6, 7, 8, 9, 12)} == {"not decided here"}
    trend = claims[3]["decisions"][0]
    assert (trend["criterion"], trend["verdict"], trend["n"]) == ("trend", "holds", 20)
    assert trend["value"] == pytest.approx(-0.5, abs=0.02)
    price = next(d for d in claims[5]["decisions"] if d["criterion"] == "price")
    energy = next(d for d in claims[5]["decisions"] if d["criterion"] == "energy")
    assert price["value"] == pytest.approx(energy["value"] * 0.5)
    page = (bench.folder / "reports" / "report.html").read_text(encoding="utf-8")
    assert "<h3>Claim 3: does not hold</h3>" in page


@pytest.mark.parametrize("told_price", ["", "free", "nan", "inf", "-1"])
def test_a_price_that_is_none_is_none(tmp_path: Path, told_price: str) -> None:
    uri = f"sqlite:///{(tmp_path / 'mlflow.db').as_posix()}"
    store = MlflowStore(uri, "mnist-bench")
    mark = {schema.CLAIMS_TAG: "true", schema.MACHINE_ID_TAG: HERE, schema.PRICE_TAG: told_price}
    store.keep("claims", "", mark, {})
    assert evidence_loader.last_request(store, HERE) == evidence_loader.ClaimRequest(None)
    store.keep("claims", "", mark | {schema.PRICE_TAG: "0.25"}, {}, anew=True)
    assert evidence_loader.last_request(store, HERE) == evidence_loader.ClaimRequest(0.25)
    assert evidence_loader.last_request(store, "b" * 32) is None
    store.keep("claims", "", mark | {schema.PRICE_TAG: ""}, {}, anew=True)
    assert evidence_loader.last_request(store, HERE) == evidence_loader.ClaimRequest(0.25), (
        "it was given once"
    )


def test_a_filter_of_the_report_is_none_of_the_claims(bench: Bench) -> None:
    assert told(bench, "--scenario", "smoke") == told(bench)


def test_without_a_measuring_of_claims_there_is_no_section(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    taken_in(bench, [run(200, 0.91, scenario="smoke")])
    assert told(bench) == {}


def test_what_is_gathered_is_of_the_packaged_scenarios_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    faster = PaperCnnHyperparameters(learning_rate=0.01)
    changed = [
        training_along(500, threads, falling_error, scenario="threads", machine_id=HERE,
                       threads=threads, hyperparameters=faster)
        for threads in (1, 2)
    ]  # fmt: skip
    short = run(1_000, 0.9, scenario="marathon", machine_id=HERE, trajectory="short",
                eval_every=500)  # fmt: skip
    taken_in(bench, [*changed, short])
    archive = MlflowReader(
        f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}", "mnist-bench", make=False
    )
    found = evidence_loader.load_evidence(archive, HERE, evidence_loader.runs_on(archive, HERE))
    assert (found.marathon, found.scaling, found.trainings) == (None, (), ())


# The command


@pytest.mark.parametrize("number", [1, 6, 8, 9, 11, 12])
def test_claims_about_images_are_about_the_papers(number: int) -> None:
    assert any(each.needs_images for each in inputs_of([number]))


def test_other_images_are_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    ended = bench.call("run", "claim-12", "--dataset", "mnist-5k", "--dry-run")
    assert ended.status == 2
    assert "the paper's claims are about the full MNIST" in ended.complaint
    assert list(bench.folder.iterdir()) == []
