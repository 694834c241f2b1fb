"""Bundles: round trips, and rejection of invalid input."""

from __future__ import annotations

import io
import json
import os
import re
import time
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


def two_runs(**changes: Any) -> Bundle:
    """Two runs on one machine, of one scenario."""
    runs = tuple(
        BundledRun(
            result=without_private(run(seed=seed, **changes)), machine=0, begun_at_ms=5, scenario=0
        )
        for seed in (0, 1)
    )
    scenario = Scenario(title="Secret", model="paper-cnn", steps=(10,), eval_every=5)
    scenarios = (without_title(scenario, "mine"),)
    return Bundle(mnist_bench="0.1.0", machines=(machine(),), runs=runs, scenarios=scenarios)


def content() -> bytes:
    return to_bytes(two_runs(), "seed\n0\n")


def of_text(text: str | bytes, **files: bytes) -> bytes:
    return zipped({"bundle.json": text.encode() if isinstance(text, str) else text, **files})


def altered(**changes: Any) -> bytes:
    """The bundle with other top-level values."""
    return of_text(json.dumps(json.loads(two_runs().model_dump_json()) | changes))


def first_run(**changes: Any) -> bytes:
    """The bundle with other values of its first run."""
    first, second = json.loads(two_runs().model_dump_json())["runs"]
    return altered(runs=[first | changes, second])


def record(**changes: Any) -> bytes:
    """The bundle with other values in the record of its first run."""
    result = json.loads(two_runs().model_dump_json())["runs"][0]["result"]
    return first_run(result=result | changes)


def scored(name: str, *values: float) -> bytes:
    """The bundle with other values in the first evaluations of its first run."""
    known = json.loads(two_runs().model_dump_json())["runs"][0]["result"]["evaluations"]
    pairs = zip(known[: len(values)], values, strict=True)
    return record(evaluations=[each | {name: value} for each, value in pairs])


def one_of_many(step: int) -> dict[str, float | None]:
    return {"step": step, "test_accuracy": 0.5, "validation_accuracy": 0.5, "train_loss": None,
            "train_seconds": float(step)}  # fmt: skip


def encrypted() -> bytes:
    """A ZIP file whose directory says that its member is encrypted."""
    data = bytearray(of_text("{}"))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def rejection(data: bytes) -> str:
    with pytest.raises(BenchError) as caught:
        parse(data, Path("received.zip"))
    text = str(caught.value)
    assert "received.zip" in text
    assert "\n" not in text
    assert all(c.isprintable() for c in text)
    return text


def test_round_trip(tmp_path: Path) -> None:
    (tmp_path / "received.zip").write_bytes(content())
    assert bundle.read(tmp_path / "received.zip") == two_runs()
    assert content() == content(), "equal bundles have equal bytes"
    with zipfile.ZipFile(io.BytesIO(content())) as archive:
        assert archive.namelist() == ["bundle.json", "runs.csv", "scenarios/0.toml"]
        archive.extract("scenarios/0.toml", tmp_path)
    assert read(tmp_path / "scenarios/0.toml") == two_runs().scenarios[0]
    assert b"Secret" not in content()


def test_private_fields_are_removed() -> None:
    private = two_runs(status="failed", failure="no such file: /home/somebody/secret")
    assert b"somebody" not in private.model_dump_json().encode()
    assert private.runs[0].result.run_id is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a complete ZIP file"),
        (b"PK\x03\x04 and no more", "not a complete ZIP file"),
        (content()[:-30], "not a complete ZIP file"),
        (zipped({}), "contains no bundle.json"),
        (zipped({"runs.csv": b""}), "contains no bundle.json"),
        (of_text("{}", **{"../evil": b""}), "an unexpected file: '../evil'"),
        (of_text("{}", **{"/etc/passwd": b""}), "an unexpected file"),
        (of_text("{}", **{"result.pkl": b""}), "an unexpected file"),
        (of_text("{}", **{"scenarios/../x.toml": b""}), "an unexpected file"),
        (zipped({"bundle.json": b"{}"}, compression=zipfile.ZIP_BZIP2), "unsupported compression"),
        (encrypted(), "unsupported compression or encryption"),
        (of_text(b"\xff\xfe"), "not UTF-8 text"),
        (of_text("{"), "is not JSON"),
        (of_text("[" * 100_000), "is not JSON"),
        (of_text("[" + "9" * 5_000 + "]"), "is not JSON"),
        (of_text("[" * 50 + "]" * 50), "nested too deeply"),
        (of_text("[NaN]"), "it contains NaN"),
        (of_text("[Infinity]"), "it contains Infinity"),
        (of_text("[1e400]"), "a number that is too large"),
        (of_text("[" + "9" * 400 + "]"), "a number that is too large"),
        (of_text("{}"), "not a bundle of mnist-bench: bundle.json has no mnist_bench"),
        (altered(kind="a letter"), "not a bundle of mnist-bench: kind"),
        (altered(extra=1), "not a bundle of mnist-bench: extra"),
        (altered(schema=2), "of schema 2, and this version knows 1"),
        (altered(machines=[]), "a machine that is not in the bundle"),
        (altered(scenarios=[]), "a scenario that is not in the bundle"),
        (first_run(scenario=1), "a scenario that is not in the bundle"),
        (first_run(begun_at_ms=round(time.time() + 90_000) * 1_000), "starts in the future"),
        (record(scenario="x" * 501), "too long or not printable"),
        (record(scenario="\x1b[31mred"), "too long or not printable"),
        (record(scenario="\u202egnp"), "too long or not printable"),
        (record(steps="many"), "runs.0.result.steps"),
        (record(steps=1e16), "a number that is too large"),
        (record(hyperparameters={"batch_size": 0}), "batch_size"),
        (record(dataset_digest=""), "impossible values"),
        (record(dataset_digest="it's"), "impossible values"),
        (record(dataset_digest="\\"), "impossible values"),
        (record(dataset_digest="A" * 64), "impossible values"),
        (record(dataset_digest="0" * 63), "impossible values"),
        (scored("train_seconds", 1e-308, 1e-308), "impossible values"),
        (scored("train_seconds", 3.0, 2.0), "impossible values"),
        (scored("train_seconds", -1.0, 2.0), "impossible values"),
        (scored("step", 101, 1), "impossible values"),
        (scored("step", 1, 1), "impossible values"),
        (record(evaluations=[one_of_many(step) for step in range(1, 20_002)]), "too many values"),
        (record(**dict.fromkeys(map(str, range(1_000)), 1)), "too many values"),
        (scored("test_accuracy", 1.5), "impossible values"),
        (record(threads=0), "impossible values"),
        (record(trajectory="a/b"), "impossible values"),
        (record(target_accuracies=[0.0]), "impossible values"),
    ],
)
def test_invalid_bundle_is_rejected_in_one_line(data: bytes, words: str) -> None:
    assert words in rejection(data)


@pytest.mark.parametrize("filler", [b"[],", b"{},", b"1,"])
def test_too_many_values_are_rejected_before_parsing(filler: bytes) -> None:
    bomb = b"[" + filler * (8_000_000 // len(filler)) + b"0]"
    assert "too many values" in rejection(of_text(bomb))


def test_duplicate_member() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the duplicate
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("bundle.json", b"{}")
            archive.writestr("bundle.json", b"{}")
    assert "a file twice" in rejection(stream.getvalue())


def test_too_long_directory_is_rejected_before_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the allowed size can have millions of entries."""
    data = zipped(dict.fromkeys(map(str, range(2_001)), b""))
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


def test_missing_or_too_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError, match="can't read"):
        bundle.read(tmp_path / "received.zip")
    monkeypatch.setattr(bundle, "_MAX_FILE_BYTES", 10)
    (tmp_path / "received.zip").write_bytes(content())
    with pytest.raises(BenchError, match=re.escape("received.zip is not a bundle") + ".* MiB"):
        bundle.read(tmp_path / "received.zip")


@pytest.mark.skipif(os.name != "posix", reason="needs special files")
@pytest.mark.parametrize("kind", ["FIFO", "device"])
def test_file_that_never_ends(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "received.zip"
    os.mkfifo(path) if kind == "FIFO" else path.symlink_to("/dev/zero")
    with pytest.raises(BenchError, match=r"can't read .*received.zip: it is not a regular file"):
        bundle.read(path)


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
    """Some here, thousands in `benchmarks/faults`. Seconds: some of the pages are drawn."""
    packed = (tmp_path / complete_bundle(tmp_path, "one.zip")).read_bytes()
    found = mutants.run_mutants(packed, 120, seed=0)
    assert found.faults == []
    assert found.refused.total() + found.read.total() == 120
    assert found.refused["another file in it"] > 15
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
