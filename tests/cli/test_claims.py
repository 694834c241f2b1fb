"""`run claims`: what it measures and in which order; the claims in a report."""

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
    convolution_results,
    dataset_size_results,
    falling_error,
    run,
    training_on_curve,
    trainings_on_curve,
)
from program import Bench
from rich.console import Console

from mnist_bench.claims import evidence_loader, experiments, planning
from mnist_bench.claims.parts import ClaimInput, inputs_of
from mnist_bench.claims.planning import ClaimOptions, PlannedInput
from mnist_bench.cli import claims
from mnist_bench.cli.run_plans import CommandResult
from mnist_bench.core.errors import EXIT_FAILURE, EXIT_USAGE, BenchError
from mnist_bench.core.signals import Terminated
from mnist_bench.data.mnist import MNIST
from mnist_bench.results.claims import IMAGE_CLAIMS
from mnist_bench.results.experiments import FILE
from mnist_bench.results.run import RunResult
from mnist_bench.runner.options import RunOptions
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.tracking import schema
from mnist_bench.tracking.mlflow_store import MlflowStore

HERE = "a" * 32


# Which inputs are measured


def run_options(**changes: Any) -> RunOptions:
    values: dict[str, Any] = {
        "scenarios": ("claims",), "steps": None, "settings": (), "seeds": range(1),
        "repeats": None, "independent": False, "threads": None, "precision": "float32",
        "device": "cpu", "dataset": None, "data_folder": None, "tracking_uri": "sqlite:///mlflow.db",
        "experiment": "mnist-bench", "command": "mnist-bench run claims",
    }  # fmt: skip
    return RunOptions(**(values | changes))


def claim_options(budget_seconds: float = 100.0) -> ClaimOptions:
    return ClaimOptions((1,), budget_seconds, None, reports=True, run_options=run_options())


def planned_input(name: str, seconds: float, **changes: Any) -> PlannedInput:
    claim_input = ClaimInput((10,), seconds, name)
    return PlannedInput(claim_input, **({"is_recorded": False} | changes))


class FakeMeasurements:
    """Replaces the measurements: each input takes the given seconds of a fake clock, or fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **results: float | CommandResult) -> None:
        self.now, self.results, self.done = 0.0, results, []
        monkeypatch.setattr(claims.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(claims, "_measure", self.measure)
        monkeypatch.setattr(claims, "_decide_and_report", self.decide)

    def measure(self, each: PlannedInput, *_: object) -> CommandResult:
        self.done.append(each.claim_input.scenario)
        result = self.results[each.claim_input.scenario]
        if isinstance(result, CommandResult):
            return result
        self.now += result
        return CommandResult("", 0, None)

    def decide(
        self, _options: ClaimOptions, _stdout: Console, errors: Any, status: int
    ) -> CommandResult:
        return CommandResult("decided", status, errors[0] if errors else None)

    def run(
        self, *inputs: PlannedInput, budget_seconds: float = 100.0
    ) -> tuple[CommandResult, str]:
        output = io.StringIO()
        console = Console(file=output, width=200)
        done = claims.run_claims(claim_options(budget_seconds), inputs, None, console, console)
        return done, output.getvalue()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(("ending", "status"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_an_interruption_ends_an_experiment_as_it_ends_a_training(
    monkeypatch: pytest.MonkeyPatch, ending: type[BaseException], status: int
) -> None:
    def raise_ending(*_: object) -> None:
        raise ending

    measure = claims._measure
    measurements = FakeMeasurements(monkeypatch)
    monkeypatch.setattr(claims, "_measure", measure)
    monkeypatch.setattr(claims, "_measure_experiment", raise_ending)
    done, _ = measurements.run(planned_input("a", 5), planned_input("b", 5))
    assert (done.document_json, done.exit_status, done.error) == ("decided", status, None)


def plan_claims(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    claims: tuple[int, ...],
    budget_seconds: float = 1e6,
    recorded: Callable[[ClaimInput], bool] = lambda _: False,
) -> dict[str, PlannedInput]:
    """The planned inputs of the claims by name, where `recorded` says which are recorded."""

    def remaining(wanted: Sequence[ClaimInput], *_: object) -> dict[ClaimInput, PlannedInput]:
        return {each: PlannedInput(each, is_recorded=recorded(each)) for each in wanted}

    monkeypatch.setattr(planning, "_images", lambda _: None)
    monkeypatch.setattr(planning, "_remaining_trainings", remaining)
    monkeypatch.chdir(folder)
    request = ClaimOptions(claims, budget_seconds, None, reports=True, run_options=run_options())
    inputs, _ = planning.plan_inputs(request, Console(quiet=True))
    return {str(each.claim_input): each for each in inputs}


def test_the_small_svm_is_measured_if_the_large_one_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    large, small = "claim-6-svm, seed 0", "claim-6-svm-small, seed 0"
    large_budget = plan_claims(monkeypatch, tmp_path, (6,))
    assert large_budget[large].fits
    assert (large_budget[small].is_spare, large_budget[small].fits) == (True, False)
    small_budget = plan_claims(monkeypatch, tmp_path, (6,), budget_seconds=720)
    assert (small_budget[large].fits, small_budget[small].fits) == (False, True)
    tiny_budget = plan_claims(monkeypatch, tmp_path, (6,), budget_seconds=10)
    assert not any(each.fits for each in tiny_budget.values())


def test_the_small_svm_is_not_needed_if_the_large_one_is_recorded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = plan_claims(monkeypatch, tmp_path, (6,), 10, lambda each: each.scenario == "claim-6-svm")
    assert plan["claim-6-svm-small, seed 0"].is_spare


def test_a_spare_input_is_measured_only_if_the_other_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spare = PlannedInput(
        ClaimInput((6,), 5, "small", stands_in_for="large"),
        is_recorded=False,
        fits=False,
        is_spare=True,
    )
    inputs = (planned_input("slow", 10), planned_input("large", 50), spare)
    assert "small" not in planning.plan_as_text(inputs, claim_options())
    assert len(json.loads(planning.plan_as_json(inputs, claim_options()))["parts"]) == 2
    overrun = FakeMeasurements(monkeypatch, slow=60, large=50, small=5)
    overrun.run(*inputs)
    assert overrun.done == ["slow", "small"]
    in_time = FakeMeasurements(monkeypatch, slow=10, large=50, small=5)
    in_time.run(*inputs)
    assert in_time.done == ["slow", "large"]


@pytest.mark.usefixtures("home")
def test_an_input_that_fits_exactly_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measurements = FakeMeasurements(monkeypatch, a=1.5, b=99)
    measurements.run(planned_input("a", 1), planned_input("b", 99))
    assert measurements.done == ["a", "b"]


def test_claims_need_a_machine_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    monkeypatch.setattr(planning, "machine_id", lambda: None)
    ended = bench.call("run", "claim-10")
    assert ended.status == 2
    assert "without a machine id" in ended.error_line
    assert list(bench.folder.iterdir()) == []


def test_a_disturbed_experiment_is_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    store = MlflowStore(f"sqlite:///{(tmp_path / 'mlflow.db').as_posix()}", "mnist-bench")
    request = experiments.experiment_request(10, None, threads=1)
    recorded = convolution_results(equal=10)[10].model_copy(
        update={"execution": request.execution, "tensorflow": version("tensorflow")}
    )
    monkeypatch.setattr(planning.system, "usable_threads", lambda: 1)
    (ten,) = inputs_of([10])
    for disturbed, exclusive, is_recorded in (
        (False, True, True), (False, False, True), (True, True, False), (True, False, True),
    ):  # fmt: skip
        experiment = recorded.model_copy(update={"exclusive": not disturbed})
        monkeypatch.setattr(experiments, "load_experiment", lambda *_, found=experiment: found)
        planned = planning._planned_experiment(ten, store, None, exclusive=exclusive)
        assert planned.is_recorded == is_recorded


def test_shared_trainings_suffice_for_claims_not_about_learning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert list(plan_claims(monkeypatch, tmp_path, (1,))) == ["table-1, seed 0"]
    both = plan_claims(monkeypatch, tmp_path, (1, 4))
    assert [name for name in both if name.endswith("seed 0, each row from zero")]
    shared = plan_claims(monkeypatch, tmp_path, (1,), recorded=lambda each: not each.independent)
    assert shared["table-1, seed 0"].is_recorded
    learning = plan_claims(monkeypatch, tmp_path, (4,), recorded=lambda each: not each.independent)
    assert not any(each.is_recorded for each in learning.values())


def test_independent_trainings_suffice_for_every_claim(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = plan_claims(monkeypatch, tmp_path, (5,), 10, lambda each: each.independent)
    assert [(each.is_recorded, each.fits) for each in plan.values()] == [(True, True)]


@pytest.mark.usefixtures("home")
def test_inputs_that_fit_are_measured_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    measurements = FakeMeasurements(monkeypatch, a=10, b=10)
    done, _ = measurements.run(
        planned_input("a", 10),
        planned_input("recorded", 10, is_recorded=True),
        planned_input("too long", 200, fits=False),
        planned_input("b", 10),
    )
    assert measurements.done == ["a", "b"]
    assert (done.document_json, done.exit_status, done.error) == ("decided", 0, None)


@pytest.mark.usefixtures("home")
def test_no_input_is_started_that_would_exceed_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    measurements = FakeMeasurements(monkeypatch, slow=90, c=5)
    _, output = measurements.run(
        planned_input("slow", 10), planned_input("b", 20), planned_input("c", 5)
    )
    assert measurements.done == ["slow", "c"]
    assert "Left out, it does not fit into the remaining budget: b" in output


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("status", [EXIT_FAILURE, EXIT_USAGE])
def test_other_inputs_are_measured_after_a_failure(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    fault = BenchError("no memory for it", "buy some", exit_status=status)
    measurements = FakeMeasurements(monkeypatch, a=CommandResult("", status, fault), b=5)
    done, output = measurements.run(planned_input("a", 5), planned_input("b", 5))
    assert measurements.done == ["a", "b"]
    assert (done.exit_status, done.error) == (status, fault)
    assert "a, seed 0: no memory for it" in output


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("status", [130, 143])
def test_an_interruption_ends_all_inputs_and_the_claims_are_decided(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    measurements = FakeMeasurements(monkeypatch, a=CommandResult("", status, None), b=5)
    done, _ = measurements.run(planned_input("a", 5), planned_input("b", 5))
    assert measurements.done == ["a"]
    assert (done.document_json, done.exit_status) == ("decided", status)


def test_plan_as_text_and_json() -> None:
    inputs = [
        planned_input("a", 30),
        planned_input("b", 200, fits=False),
        planned_input("c", 5, is_recorded=True),
    ]
    assert planning.plan_as_text(inputs, claim_options()).splitlines() == [
        "about 30.0 s of a budget of 1 min 40 s",
        "  a, seed 0 (claim 10): 30.0 s, as estimated on another machine",
        "  b, seed 0 (claim 10): left out, 3 min 20 s, as estimated on another machine",
        "  c, seed 0 (claim 10): recorded already",
    ]
    document = json.loads(planning.plan_as_json(inputs, claim_options()))["parts"]
    assert [each["fits"] for each in document] == [True, False, True]
    assert [each["expected_seconds"] for each in document] == [30, 200, 0]


# Claims in a report


def import_runs(bench: Bench, runs: list[RunResult]) -> None:
    ended = bench.call_with_store("import", bundle(bench.folder, "runs.zip", runs))
    assert ended.status == 0, ended.stderr


def recorded(tmp_path: Path, price: float | None = 0.5) -> Bench:
    """A database with what claims 1 to 5, 10 and 11 are decided by."""
    bench = Bench(tmp_path)
    own = {"machine_id": HERE, "dataset_digest": MNIST.digest}
    runs = [each.model_copy(update=own) for each in trainings_on_curve(falling_error)]
    small = run(200, 0.91, scenario="smoke", dataset="mnist-5k", machine_id=HERE, trajectory="s")
    import_runs(bench, [*runs, small])
    store = MlflowStore(f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}", "mnist-bench")
    mark = {schema.CLAIMS_TAG: "true", schema.MACHINE_ID_TAG: HERE,
            schema.PRICE_TAG: "" if price is None else str(price)}  # fmt: skip
    store.save_files("claims", "", mark, {})
    for number, body in (
        convolution_results(equal=10) | dataset_size_results(47_040_000, 7_840_000)
    ).items():
        digest = MNIST.digest if number in IMAGE_CLAIMS else None
        result = body.model_copy(update={"machine_id": HERE, "dataset_digest": digest})
        tags = {schema.CLAIM_TAG: str(number), schema.MACHINE_ID_TAG: HERE}
        tags |= {schema.DIGEST_TAG: digest} if digest else {}
        store.save_files(f"claim {number}", "", tags, {FILE: result.to_json()})
    return bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return recorded(tmp_path_factory.mktemp("user"))


def claims_in_report(bench: Bench, *arguments: str) -> dict[int, dict[str, Any]]:
    ended = bench.call_with_store("report", "--json", *arguments)
    assert ended.status == 0, ended.stderr
    return {each["claim"]: each for each in json.loads(ended.stdout)["claims"]}


def test_a_report_alone_decides_the_claims(bench: Bench) -> None:
    claims = claims_in_report(bench)
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


@pytest.mark.parametrize("price", ["", "free", "nan", "inf", "-1"])
def test_an_invalid_price_is_ignored(tmp_path: Path, price: str) -> None:
    uri = f"sqlite:///{(tmp_path / 'mlflow.db').as_posix()}"
    store = MlflowStore(uri, "mnist-bench")
    mark = {schema.CLAIMS_TAG: "true", schema.MACHINE_ID_TAG: HERE, schema.PRICE_TAG: price}
    store.save_files("claims", "", mark, {})
    assert evidence_loader.last_request(store, HERE) == evidence_loader.ClaimRequest(None)
    store.save_files("claims", "", mark | {schema.PRICE_TAG: "0.25"}, {}, always_create=True)
    assert evidence_loader.last_request(store, HERE) == evidence_loader.ClaimRequest(0.25)
    assert evidence_loader.last_request(store, "b" * 32) is None
    store.save_files("claims", "", mark | {schema.PRICE_TAG: ""}, {}, always_create=True)
    assert evidence_loader.last_request(store, HERE) == evidence_loader.ClaimRequest(0.25), (
        "the last valid price is used"
    )


def test_report_filters_do_not_apply_to_claims(bench: Bench) -> None:
    assert claims_in_report(bench, "--scenario", "smoke") == claims_in_report(bench)


def test_no_claims_section_without_a_claims_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    import_runs(bench, [run(200, 0.91, scenario="smoke")])
    assert claims_in_report(bench) == {}


def test_evidence_uses_only_unchanged_packaged_scenarios(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    faster = PaperCnnHyperparameters(learning_rate=0.01)
    changed = [
        training_on_curve(500, threads, falling_error, scenario="threads", machine_id=HERE,
                       threads=threads, hyperparameters=faster)
        for threads in (1, 2)
    ]  # fmt: skip
    short = run(1_000, 0.9, scenario="marathon", machine_id=HERE, trajectory="short",
                eval_every=500)  # fmt: skip
    import_runs(bench, [*changed, short])
    reader = MlflowStore(
        f"sqlite:///{(bench.folder / 'mlflow.db').as_posix()}", "mnist-bench", create=False
    )
    found = evidence_loader.load_evidence(reader, HERE, evidence_loader.runs_on(reader, HERE))
    assert (found.marathon, found.scaling, found.trainings) == (None, (), ())


# The command


@pytest.mark.parametrize("number", [1, 6, 8, 9, 11, 12])
def test_claims_that_need_images(number: int) -> None:
    assert any(each.needs_images for each in inputs_of([number]))


def test_claims_reject_other_images(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    ended = bench.call("run", "claim-12", "--dataset", "mnist-5k", "--dry-run")
    assert ended.status == 2
    assert "the paper's claims are about the full MNIST" in ended.error_line
    assert list(bench.folder.iterdir()) == []
