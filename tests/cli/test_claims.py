"""`run claims`: what it measures and in which order; the claims in a report."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import (
    convolution_results,
    dataset_size_results,
    falling_error,
    run,
    sqlite_url,
    training_on_curve,
    trainings_on_curve,
)
from program import Bench, import_runs
from rich.console import Console

from mnist_bench.claims import evidence_loader, experiments, planning
from mnist_bench.claims.declared import ClaimInput, inputs_of
from mnist_bench.claims.planning import ClaimOptions, PlannedInput
from mnist_bench.cli import claims
from mnist_bench.core.errors import EXIT_FAILURE, EXIT_USAGE, BenchError
from mnist_bench.core.signals import Terminated
from mnist_bench.data.mnist import MNIST
from mnist_bench.measurement.machine import tensorflow_version
from mnist_bench.results.claims import IMAGE_CLAIMS
from mnist_bench.results.experiments import FILE
from mnist_bench.run_plans import CommandResult, Output
from mnist_bench.runner.options import RunOptions
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.tracking import schema
from mnist_bench.tracking.mlflow_store import MlflowStore

HERE = "a" * 32


# Which inputs are measured


def claim_options(claims: tuple[int, ...] = (1,), budget_seconds: float = 100.0) -> ClaimOptions:
    run_options = RunOptions(
        scenarios=("claims",), steps=None, settings=(), seeds=range(1), repeats=None,
        independent=False, threads=None, precision="float32", device="cpu", dataset=None,
        data_folder=None, tracking_uri="sqlite:///mlflow.db", experiment="mnist-bench",
        command="mnist-bench run claims",
    )  # fmt: skip
    return ClaimOptions(claims, budget_seconds, None, reports=True, run_options=run_options)


def planned(name: str, seconds: float, **changes: Any) -> PlannedInput:
    return PlannedInput(ClaimInput((10,), seconds, name), **({"is_recorded": False} | changes))


def measured(
    monkeypatch: pytest.MonkeyPatch, *inputs: PlannedInput, **results: float | CommandResult
) -> tuple[CommandResult, list[str], str]:
    """The outcome, what was measured and the output: each takes the given seconds, or fails."""
    now, done, output = [0.0], [], io.StringIO()

    def measure(each: PlannedInput, *_: object, **__: object) -> CommandResult:
        done.append(each.claim_input.scenario)
        result = results.get(each.claim_input.scenario, each.claim_input.seconds)
        if isinstance(result, CommandResult):
            return result
        now[0] += result
        return CommandResult("", 0, None)

    def decide(*arguments: Any) -> CommandResult:
        *_, errors, status = arguments
        return CommandResult("decided", status, errors[0] if errors else None)

    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(claims, "_measure", measure)
    monkeypatch.setattr(claims, "_decide_and_report", decide)
    console = Console(file=output, width=200)
    result = claims.run_claims(claim_options(), inputs, None, console, console, output=Output())
    return result, done, output.getvalue()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("inputs", "results", "done", "left_out"),
    [
        ([planned("a", 10), planned("b", 10, is_recorded=True), planned("c", 10)], {}, "ac", None),
        ([planned("a", 1), planned("b", 99)], {"a": 1.5}, "ab", None),
        ([planned("a", 10), planned("b", 20), planned("c", 5)], {"a": 90}, "ac", "b"),
        ([planned("a", 10), planned("b", 105.1)], {"a": 0}, "a", "b"),
        ([planned("a", 80), planned("b", 60, fits=False)], {"a": 10}, "ab", None),
    ],
)
def test_inputs_that_fit_the_budget_are_measured_in_order(
    monkeypatch: pytest.MonkeyPatch,
    inputs: list[PlannedInput],
    results: dict[str, float],
    done: str,
    left_out: str | None,
) -> None:
    result, names, output = measured(monkeypatch, *inputs, **results)
    assert "".join(names) == done
    assert (result.document_json, result.exit_status, result.error) == ("decided", 0, None)
    words = f"Left out, it does not fit into the remaining budget: {left_out}, seed 0"
    assert (words in output) == (left_out is not None)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("status", "done"), [(EXIT_FAILURE, "ab"), (EXIT_USAGE, "ab"), (130, "a"), (143, "a")]
)
def test_a_failure_ends_an_input_and_an_interruption_all(
    monkeypatch: pytest.MonkeyPatch, status: int, done: str
) -> None:
    fault = BenchError("no memory for it", "buy some", exit_status=status) if status < 100 else None
    failed = CommandResult("", status, fault)
    inputs = planned("a", 5), planned("b", 5)
    result, names, output = measured(monkeypatch, *inputs, a=failed)
    assert "".join(names) == done
    assert (result.document_json, result.exit_status, result.error) == ("decided", status, fault)
    assert ("a, seed 0: no memory for it" in output) == (fault is not None)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("ending", "status"),
    [(KeyboardInterrupt, 130), (Terminated, 143), (BenchError("x", "y", exit_status=1), 1)],
)
def test_an_experiment_ends_as_a_training_does(
    monkeypatch: pytest.MonkeyPatch, ending: BaseException | type[BaseException], status: int
) -> None:
    def end(*_: object, **__: object) -> None:
        raise ending

    monkeypatch.setattr(claims, "MlflowStore", lambda *_: None)
    monkeypatch.setattr(claims.experiments, "run_experiment", end)
    request = experiments.experiment_request(10, None, threads=1)
    inputs = planned("", 5, request=request), claim_options(), None
    ended = claims._measure(*inputs, Console(), quiet=True)
    assert ended.exit_status == status


# The plan


Recorded = Callable[[ClaimInput], bool]


def nothing(_: ClaimInput) -> bool:
    return False


@pytest.fixture
def plan(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[tuple[int, ...], float, Recorded], dict[str, PlannedInput]]:
    """Plans the inputs of claims by name, with a budget, where some are recorded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(planning, "_images", lambda _: None)

    def plan_claims(
        wanted: tuple[int, ...], budget_seconds: float = 1e6, recorded: Recorded = nothing
    ) -> dict[str, PlannedInput]:
        monkeypatch.setattr(
            planning,
            "_planned_trainings",
            lambda inputs, *_: {each: PlannedInput(each, recorded(each)) for each in inputs},
        )
        options = claim_options(wanted, budget_seconds)
        inputs, _ = planning.plan_inputs(options, Console(quiet=True))
        return {str(each.claim_input): each for each in inputs}

    return plan_claims


def test_what_fits_is_taken_in_order(plan: Any) -> None:
    names = [*plan((6,))]
    assert [name for name, each in plan((6,)).items() if each.fits] == names
    # 420 s of table-1, 60, 70 and 100 s are 650 s; the next takes 260 s, and the one after it 60 s.
    assert [name for name, each in plan((6,), 900).items() if each.fits] == [*names[:4], names[5]]
    assert [name for name, each in plan((6,), 910).items() if each.fits] == names[:5]
    last = plan((6,), 649, lambda each: each.scenario == "claim-6-svm")
    fitting = [*names[:3], names[5], "claim-6-svm, seed 0"]
    assert [name for name, each in last.items() if each.fits] == fitting
    assert not any(each.fits for each in plan((6,), 10).values())


@pytest.mark.parametrize(
    ("budget", "first"),
    [
        (760, "table-1, seed 0, each row from zero"),
        (759, "table-1, seed 0"),
        (419, "claim 10 by itself"),
    ],
)
def test_table_1_comes_first_from_one_training_where_several_do_not_fit(
    plan: Any, budget: float, first: str
) -> None:
    assert next(name for name, each in plan(range(1, 13), budget).items() if each.fits) == first


def test_independent_trainings_serve_every_claim_and_shared_ones_all_but_learning(
    plan: Any,
) -> None:
    assert [*plan((1,))] == ["table-1, seed 0"]
    assert "table-1, seed 0, each row from zero" in plan((1, 4))
    for wanted, is_independent, is_recorded in (
        ((1,), False, True), ((4,), False, False), ((5,), True, True), ((4,), True, True),
    ):  # fmt: skip
        inputs = plan(wanted, 1e6, lambda each, which=is_independent: each.independent == which)
        assert {each.is_recorded for each in inputs.values()} == {is_recorded}


@pytest.mark.parametrize(
    ("was_disturbed", "exclusive", "is_recorded"),
    [(False, True, True), (False, False, True), (True, True, False), (True, False, True)],
)
def test_a_disturbed_experiment_is_repeated(
    monkeypatch: pytest.MonkeyPatch, *, was_disturbed: bool, exclusive: bool, is_recorded: bool
) -> None:
    request = experiments.experiment_request(10, None, threads=1)
    same = {"execution": request.execution, "tensorflow": tensorflow_version()}
    recorded = convolution_results(equal=10)[10].model_copy(
        update=same | {"exclusive": not was_disturbed}
    )
    monkeypatch.setattr(planning.system, "usable_threads", lambda: 1)
    monkeypatch.setattr(experiments, "load_experiment", lambda *_: recorded)
    (ten,) = inputs_of([10])
    planned_input = planning._planned_experiment(ten, object(), None, exclusive=exclusive)
    assert planned_input.is_recorded == is_recorded


def test_plan_as_text_and_json() -> None:
    inputs = [planned("a", 30), planned("b", 200, fits=False), planned("c", 5, is_recorded=True)]
    assert planning.plan_as_text(inputs, claim_options()).splitlines() == [
        "about 30.0 s of a budget of 1 min 40 s",
        "  a, seed 0 (claim 10): 30.0 s, as estimated on another machine",
        "  b, seed 0 (claim 10): left out, 3 min 20 s, as estimated on another machine",
        "  c, seed 0 (claim 10): recorded already",
    ]
    for some, head in ((inputs[1:2], "nothing fits a budget"), (inputs[2:], "all of it is rec")):
        assert planning.plan_as_text(some, claim_options()).startswith(head)
    document = json.loads(planning.plan_as_json(inputs, claim_options()))
    assert (document["schema"], document["budget_seconds"]) == (1, 100)
    assert [list(each.values()) for each in document["parts"]] == [
        ["a, seed 0", [10], 30, False, True],
        ["b, seed 0", [10], 200, False, False],
        ["c, seed 0", [10], 0, True, True],
    ]


# Claims in a report


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A database with what claims 1 to 5, 10 and 11 are decided by."""
    bench = Bench(tmp_path_factory.mktemp("user"))
    own = {"machine_id": HERE, "dataset_digest": MNIST.digest}
    runs = [each.model_copy(update=own) for each in trainings_on_curve(falling_error)]
    small = run(200, 0.91, scenario="smoke", dataset="mnist-5k", machine_id=HERE, trajectory="s")
    import_runs(bench, [*runs, small])
    store = MlflowStore(sqlite_url(bench.folder / "mlflow.db"), "mnist-bench")
    store.save_files("claims", "", request_tags("0.5"), {})
    experiments = convolution_results(equal=10) | dataset_size_results(47_040_000, 7_840_000)
    for number, body in experiments.items():
        digest = MNIST.digest if number in IMAGE_CLAIMS else None
        result = body.model_copy(update={"machine_id": HERE, "dataset_digest": digest})
        tags = {schema.CLAIM_TAG: str(number), schema.MACHINE_ID_TAG: HERE}
        tags |= {schema.DIGEST_TAG: digest} if digest else {}
        store.save_files(f"claim {number}", "", tags, {FILE: result.to_json()})
    return bench


def request_tags(price: str, machine_id: str = HERE) -> dict[str, str]:
    return {
        schema.CLAIMS_TAG: "true",
        schema.MACHINE_ID_TAG: machine_id,
        schema.PRICE_TAG: price,
    }


def claims_in_report(bench: Bench, *arguments: str) -> dict[int, dict[str, Any]]:
    ended = bench.call_with_store("report", "--json", *arguments)
    assert ended.status == 0, ended.stderr
    return {each["claim"]: each for each in ended.document["claims"]}


def test_a_report_alone_decides_the_claims(bench: Bench) -> None:
    claims = claims_in_report(bench, "--format", "html")
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
    # Filters do not apply to claims.
    assert claims_in_report(bench, "--format", "json", "--scenario", "smoke") == claims


def test_the_last_valid_price_is_used(mlflow_uri: str) -> None:
    store = MlflowStore(mlflow_uri, uuid.uuid4().hex)
    for invalid in ("", "free", "nan", "inf", "-1"):
        tags = request_tags(invalid, invalid)
        store.save_files("claims", "", tags, {}, always_create=True)
        assert evidence_loader.last_request(store, invalid) == evidence_loader.ClaimRequest(None)
    for price in ("0.25", ""):
        store.save_files("claims", "", request_tags(price), {}, always_create=True)
        assert evidence_loader.last_request(store, HERE) == evidence_loader.ClaimRequest(0.25)
    assert evidence_loader.last_request(store, "b" * 32) is None


def test_evidence_is_of_unchanged_packaged_scenarios(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    faster = PaperCnnHyperparameters(learning_rate=0.01)
    changed = [
        training_on_curve(500, threads, falling_error, scenario="threads", machine_id=HERE,
                          threads=threads, hyperparameters=faster)
        for threads in (1, 2)
    ]  # fmt: skip
    short = run(
        1_000, 0.9, scenario="marathon", machine_id=HERE, trajectory="short", eval_every=500
    )
    import_runs(bench, [*changed, short])
    reader = MlflowStore(sqlite_url(bench.folder / "mlflow.db"), "mnist-bench", create=False)
    found = evidence_loader.load_evidence(reader, HERE, evidence_loader.runs_on(reader, HERE))
    assert (found.marathon, found.scaling, found.trainings) == (None, (), ())
    assert claims_in_report(bench, "--format", "json") == {}


# The command


def test_wrong_requests_start_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    other_images = bench.call("run", "claim-12", "--dataset", "mnist-5k", "--dry-run")
    monkeypatch.setattr(planning, "machine_id", lambda: None)
    no_machine_id = bench.call("run", "claim-10")
    for ended, words in (
        (other_images, "the paper's claims are about the full MNIST"),
        (no_machine_id, "without a machine id"),
    ):
        assert ended.status == 2
        assert words in ended.error_line
    assert list(bench.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("claims", "--steps", "100"), "--steps can't be used with claims: they set it"),
        (("claim-3", "--seeds", "5"), "--seeds can't be used with claims"),
        (("claim-12", "--threads", "1"), "--threads can't be used with claims"),
        (("claims", "smoke"), "claims can't be combined"),
        (("claim-13",), "there is no claim 13"),
        (("smoke", "--price", "0.3"), "--price works only with `run claims`"),
        (("claims", "--price", "nan"), "'nan' is not a price of a kilowatt-hour, like 0.3"),
    ],
)
def test_options_that_claims_exclude(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    bench = Bench(tmp_path)
    ended = bench.call("run", *arguments)
    assert ended.status == 2
    assert words in ended.error_line
    assert list(bench.folder.iterdir()) == []


def test_claim_without_images_and_trainings(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    planned = bench.call_with_store("run", "claim-10", "--dry-run", "--json")
    assert [part["fits"] for part in planned.document["parts"]] == [True]
    assert not (bench.folder / "mlflow.db").exists(), "a dry run creates nothing"
    ended = bench.call_with_store("run", "claim-10", "--json")
    assert ended.status == 0, ended.stderr
    claims = {each["claim"]: each for each in ended.document["claims"]}
    assert claims[10]["verdict"] == "holds"
    assert claims[10]["decisions"][0]["value"] == 1.0
    assert claims[1]["verdict"] == "not decided here"
    again = bench.call_with_store("run", "claim-10")
    assert "all of it is recorded" in again.stdout
    assert "Claim 10: holds" in again.stdout
