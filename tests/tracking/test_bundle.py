"""Bundles: round trips, and rejection of invalid input."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mutants
import pytest
from factories import complete_bundle, machine, run
from mutants import zipped

from mnist_bench.core import escaping
from mnist_bench.core.errors import BenchError
from mnist_bench.reporting import csv, markdown
from mnist_bench.scenarios.scenario import Scenario, read
from mnist_bench.tracking import bundle
from mnist_bench.tracking.bundle import (
    Bundle,
    BundledRun,
    parse,
    to_bytes,
    without_private,
    without_title,
)

PATH = Path("received.zip")


def two_runs(**changes: Any) -> Bundle:
    """Two runs on one machine."""
    runs = tuple(
        BundledRun(result=without_private(run(seed=seed, **changes)), machine=0, begun_at_ms=5)
        for seed in (0, 1)
    )
    return Bundle(mnist_bench="0.1.0", machines=(machine(),), runs=runs)


def content(source: Bundle | None = None) -> bytes:
    return to_bytes(source or two_runs(), "seed\n0\n")


def altered(**changes: Any) -> bytes:
    """The bundle with other top-level values."""
    document = json.loads(two_runs().model_dump_json()) | changes
    return zipped({"bundle.json": json.dumps(document).encode()})


def rejection(data: bytes) -> str:
    with pytest.raises(BenchError) as caught:
        parse(data, PATH)
    text = str(caught.value)
    assert "received.zip" in text
    assert "\n" not in text
    assert all(c.isprintable() for c in text)
    return text


def test_round_trip() -> None:
    assert parse(content(), PATH) == two_runs()
    with zipfile.ZipFile(io.BytesIO(content())) as archive:
        assert archive.namelist() == ["bundle.json", "runs.csv"]


def with_scenario(**changes: Any) -> Bundle:
    """Two runs with their scenario."""
    scenario = Scenario(title="Secret", model="paper-cnn", steps=(10,), eval_every=5)
    untitled = without_title(scenario, "mine").model_copy(update=changes)
    runs = tuple(each.model_copy(update={"scenario": 0}) for each in two_runs().runs)
    return two_runs().model_copy(update={"runs": runs, "scenarios": (untitled,)})


def test_scenarios_round_trip_and_are_usable_files(tmp_path: Path) -> None:
    packed = content(with_scenario())
    assert parse(packed, PATH) == with_scenario()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extract("scenarios/0.toml", tmp_path)
    assert read(tmp_path / "scenarios/0.toml") == with_scenario().scenarios[0]
    assert b"Secret" not in packed


def test_missing_scenario_is_rejected() -> None:
    no_scenarios = with_scenario().model_copy(update={"scenarios": ()})
    data = zipped({"bundle.json": no_scenarios.model_dump_json().encode()})
    assert parse(content(), PATH).scenarios == ()
    # Index 0 without scenarios, and one after the last.
    assert "a scenario that is not in the bundle" in rejection(data)
    second = with_scenario().runs[0].model_copy(update={"scenario": 1})
    beyond = with_scenario().model_copy(update={"runs": (second,)})
    data = zipped({"bundle.json": beyond.model_dump_json().encode()})
    assert "a scenario that is not in the bundle" in rejection(data)


@pytest.mark.parametrize("digest", ["", "it's", "\\", "A" * 64, "0" * 63])
def test_invalid_digest_is_rejected(digest: str) -> None:
    assert "impossible values" in rejection(run_json(dataset_digest=digest))


@pytest.mark.parametrize("seconds", [(1e-308, 1e-308), (3.0, 2.0), (-1.0, 2.0)])
def test_impossible_times_are_rejected(seconds: tuple[float, float]) -> None:
    first, second = json.loads(two_runs().model_dump_json())["runs"][0]["result"]["evaluations"][:2]
    document = [first | {"train_seconds": seconds[0]}, second | {"train_seconds": seconds[1]}]
    assert "impossible values" in rejection(run_json(evaluations=document))


@pytest.mark.parametrize("filler", [b"[],", b"{},", b"1,"])
def test_too_many_values_are_rejected_before_parsing(filler: bytes) -> None:
    bomb = b"[" + filler * (60_000_000 // len(filler)) + b"0]"
    assert "too many values" in rejection(zipped({"bundle.json": bomb}))


def test_run_from_the_future_is_rejected() -> None:
    document = json.loads(two_runs().model_dump_json())
    document["runs"][0]["begun_at_ms"] = 10**15
    assert "starts in the future" in rejection(
        zipped({"bundle.json": json.dumps(document).encode()})
    )


def test_equal_bundles_have_equal_bytes() -> None:
    assert content() == content()


def test_private_fields_are_removed() -> None:
    private = two_runs(status="failed", failure="no such file: /home/somebody/secret")
    assert b"somebody" not in private.model_dump_json().encode()
    assert private.runs[0].result.run_id is None


def run_json(**changes: Any) -> bytes:
    """The bundle with other values in the record of its first run."""
    document = json.loads(two_runs().model_dump_json())
    document["runs"][0]["result"] |= changes
    return zipped({"bundle.json": json.dumps(document).encode()})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a complete ZIP file"),
        (b"PK\x03\x04 and no more", "not a complete ZIP file"),
        (content()[:-30], "not a complete ZIP file"),
        (zipped({}), "contains no bundle.json"),
        (zipped({"runs.csv": b""}), "contains no bundle.json"),
        (zipped({"bundle.json": b"{}", "../evil": b""}), "an unexpected file: '../evil'"),
        (zipped({"bundle.json": b"{}", "/etc/passwd": b""}), "an unexpected file"),
        (zipped({"bundle.json": b"{}", "result.pkl": b""}), "an unexpected file"),
        (zipped({"bundle.json": b"{}", "scenarios/../x.toml": b""}), "an unexpected file"),
        (zipped({"bundle.json": b"{}"}, compression=zipfile.ZIP_BZIP2), "unsupported compression"),
        (zipped({"bundle.json": b"\xff\xfe"}), "not UTF-8 text"),
        (zipped({"bundle.json": b"{"}), "is not JSON"),
        (zipped({"bundle.json": b"[" * 100_000}), "is not JSON"),
        (zipped({"bundle.json": b"[" * 50 + b"]" * 50}), "nested too deeply"),
        (zipped({"bundle.json": b"[NaN]"}), "it contains NaN"),
        (zipped({"bundle.json": b"[Infinity]"}), "it contains Infinity"),
        (zipped({"bundle.json": b"[1e400]"}), "a number that is too large"),
        (zipped({"bundle.json": b"[" + b"9" * 400 + b"]"}), "a number that is too large"),
        (zipped({"bundle.json": b"[" + b"9" * 5_000 + b"]"}), "is not JSON"),
        (zipped({"bundle.json": b"{}"}), "not a bundle of mnist-bench"),
        (altered(kind="a letter"), "not a bundle of mnist-bench: kind"),
        (altered(extra=1), "not a bundle of mnist-bench: extra"),
        (altered(schema=2), "of schema 2, and this version knows 1"),
        (altered(machines=[]), "a machine that is not in the bundle"),
        (run_json(scenario="x" * 501), "too long or not printable"),
        (run_json(scenario="\x1b[31mred"), "too long or not printable"),
        (run_json(scenario="\u202egnp"), "too long or not printable"),
        (run_json(steps="many"), "runs.0.result.steps"),
        (run_json(steps=1e16), "a number that is too large"),
        (run_json(hyperparameters={"batch_size": 0}), "batch_size"),
    ],
)
def test_invalid_bundle_is_rejected_in_one_line(data: bytes, words: str) -> None:
    assert words in rejection(data)


def test_duplicate_member() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the duplicate
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("bundle.json", b"{}")
            archive.writestr("bundle.json", b"{}")
    assert "a file twice" in rejection(stream.getvalue())


@pytest.mark.parametrize("members", [2_001, 70_000], ids=["zip", "zip64"])
def test_too_long_directory_is_rejected_before_reading(
    monkeypatch: pytest.MonkeyPatch, members: int
) -> None:
    """A file of the allowed size can have millions of entries."""
    data = zipped(dict.fromkeys(map(str, range(members)), b""))
    assert (b"PK\x06\x06" in data) == (members > 65_535)
    read: list[str] = []
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_, **__: read.append("opened"))
    assert "it contains too many files" in rejection(data)
    # Whatever entry count the end of the directory states.
    end = data.rindex(b"PK\x05\x06")
    assert "too many files" in rejection(data[: end + 8] + b"\x01\x00\x01\x00" + data[end + 12 :])
    assert read == []


def test_zip_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "_MAX_MEMBER_BYTES", 10_000)
    bomb = zipped({"bundle.json": b" " * 20_000}, compression=zipfile.ZIP_DEFLATED)
    assert "too large when decompressed" in rejection(bomb)
    # One with a forged size in the central directory.
    forged = bomb.replace((20_000).to_bytes(4, "little"), (5).to_bytes(4, "little"))
    assert forged != bomb
    rejection(forged)


def test_too_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "_MAX_FILE_BYTES", 10)
    path = tmp_path / "received.zip"
    path.write_bytes(content())
    with pytest.raises(BenchError, match="MiB"):
        bundle.read(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="can't read"):
        bundle.read(tmp_path / "received.zip")


def test_mutated_bundle_has_every_field(tmp_path: Path) -> None:
    name = complete_bundle(tmp_path, "one.zip")
    with zipfile.ZipFile(tmp_path / name) as archive:
        document = json.loads(archive.read("bundle.json"))
        assert "scenarios/0.toml" in archive.namelist()

    def empty(value: Any, place: str) -> Iterator[str]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from empty(inner, f"{place}.{key}")
        elif value in (None, []):
            yield place.removeprefix(".result.")

    private = {"failure", "trial", "run_id", "part", "train_seconds_limit"}
    assert set(empty(document["runs"][0], "")) == private
    (conditions,) = {json.dumps(each["result"]["conditions"]) for each in document["runs"]}
    assert list(empty(json.loads(conditions)["surroundings"][0], "")) == []
    assert list(empty(json.loads(conditions)["stretches"][0], "")) == []


def test_mutated_bundles_are_rejected_or_harmless(tmp_path: Path) -> None:
    """Hundreds here, thousands in `benchmarks/faults`."""
    packed = (tmp_path / complete_bundle(tmp_path, "one.zip")).read_bytes()
    found = mutants.run_mutants(packed, 400, seed=0)
    assert found.faults == []
    assert found.refused.total() + found.read.total() == 400
    assert found.refused["another file in it"] > 50
    assert found.read["a value"] > 0


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"scenario": "<script>"}, "Markdown that runs"),
        ({"scenario": "a\x1b[2J"}, "control characters"),
        ({"scenario": "=1+1"}, "a formula in the CSV"),
    ],
)
def test_missing_escapes_are_detected(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], fault: str
) -> None:
    """Without the escapes of the reports, each change is a fault."""
    monkeypatch.setattr(escaping, "one_line", str)
    monkeypatch.setattr(escaping, "csv_cell", str)
    monkeypatch.setattr(markdown, "markdown", escaping.EscapedText)
    monkeypatch.setattr(csv, "csv_cell", str)
    assert fault in list(mutants.unsafe_output(two_runs(**changes)))


def test_formula_after_a_comma_in_a_cell_is_harmless() -> None:
    reasons = ("other load", "@SUM(A1)")
    assert list(mutants.unsafe_output(two_runs(verdict="suspect", reasons=reasons))) == []
