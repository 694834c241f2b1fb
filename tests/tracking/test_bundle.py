"""Bundles: what comes out is what went in, and nothing else comes in."""

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
from factories import full_of_everything, machine, run
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

HERE = Path("theirs.zip")


def made(**changes: Any) -> Bundle:
    """Two runs on one machine."""
    runs = tuple(
        BundledRun(result=without_private(run(seed=seed, **changes)), machine=0, begun_at_ms=5)
        for seed in (0, 1)
    )
    return Bundle(mnist_bench="0.1.0", machines=(machine(),), runs=runs)


def content(of: Bundle | None = None) -> bytes:
    return to_bytes(of or made(), "seed\n0\n")


def altered(**changes: Any) -> bytes:
    """The bundle with other values at its top."""
    told = json.loads(made().model_dump_json()) | changes
    return zipped({"bundle.json": json.dumps(told).encode()})


def refused(data: bytes) -> str:
    with pytest.raises(BenchError) as caught:
        parse(data, HERE)
    text = str(caught.value)
    assert "theirs.zip" in text
    assert "\n" not in text
    assert all(c.isprintable() for c in text)
    return text


def test_what_comes_out_is_what_went_in() -> None:
    assert parse(content(), HERE) == made()
    with zipfile.ZipFile(io.BytesIO(content())) as archive:
        assert archive.namelist() == ["bundle.json", "runs.csv"]


def asked(**changes: Any) -> Bundle:
    """The same, with the scenario that they were asked with."""
    scenario = Scenario(title="Secret", model="paper-cnn", steps=(10,), eval_every=5)
    told = without_title(scenario, "mine").model_copy(update=changes)
    runs = tuple(each.model_copy(update={"scenario": 0}) for each in made().runs)
    return made().model_copy(update={"runs": runs, "scenarios": (told,)})


def test_scenarios_come_back_and_are_files_to_run(tmp_path: Path) -> None:
    packed = content(asked())
    assert parse(packed, HERE) == asked()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extract("scenarios/0.toml", tmp_path)
    assert read(tmp_path / "scenarios/0.toml") == asked().scenarios[0]
    assert b"Secret" not in packed


def test_a_scenario_that_is_not_there_is_refused() -> None:
    without = asked().model_copy(update={"scenarios": ()})
    data = zipped({"bundle.json": without.model_dump_json().encode()})
    assert parse(content(), HERE).scenarios == ()
    # The first place of none, and one after the last.
    assert "a scenario that is not there" in refused(data)
    second = asked().runs[0].model_copy(update={"scenario": 1})
    beyond = asked().model_copy(update={"runs": (second,)})
    data = zipped({"bundle.json": beyond.model_dump_json().encode()})
    assert "a scenario that is not there" in refused(data)


@pytest.mark.parametrize("digest", ["", "it's", "\\", "A" * 64, "0" * 63])
def test_a_digest_that_is_none_is_refused(digest: str) -> None:
    assert "make no sense" in refused(run_json(dataset_digest=digest))


@pytest.mark.parametrize("seconds", [(1e-308, 1e-308), (3.0, 2.0), (-1.0, 2.0)])
def test_times_that_no_machine_has_are_refused(seconds: tuple[float, float]) -> None:
    first, second = json.loads(made().model_dump_json())["runs"][0]["result"]["evaluations"][:2]
    told = [first | {"train_seconds": seconds[0]}, second | {"train_seconds": seconds[1]}]
    assert "make no sense" in refused(run_json(evaluations=told))


@pytest.mark.parametrize("filler", [b"[],", b"{},", b"1,"])
def test_what_would_fill_the_memory_is_refused_unread(filler: bytes) -> None:
    bomb = b"[" + filler * (60_000_000 // len(filler)) + b"0]"
    assert "more values than a bundle does" in refused(zipped({"bundle.json": bomb}))


def test_a_run_from_the_future_is_refused() -> None:
    told = json.loads(made().model_dump_json())
    told["runs"][0]["begun_at_ms"] = 10**15
    assert "begins in the future" in refused(zipped({"bundle.json": json.dumps(told).encode()}))


def test_the_same_runs_are_the_same_bytes() -> None:
    assert content() == content()


def test_no_free_text_leaves_the_house() -> None:
    private = made(status="failed", failure="no such file: /home/somebody/secret")
    assert b"somebody" not in private.model_dump_json().encode()
    assert private.runs[0].result.run_id is None


def run_json(**changes: Any) -> bytes:
    """The bundle with other values in its first run's record."""
    told = json.loads(made().model_dump_json())
    told["runs"][0]["result"] |= changes
    return zipped({"bundle.json": json.dumps(told).encode()})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no whole ZIP file"),
        (b"PK\x03\x04 and no more", "no whole ZIP file"),
        (content()[:-30], "no whole ZIP file"),
        (zipped({}), "holds no bundle.json"),
        (zipped({"runs.csv": b""}), "holds no bundle.json"),
        (zipped({"bundle.json": b"{}", "../evil": b""}), "a file that no bundle has: '../evil'"),
        (zipped({"bundle.json": b"{}", "/etc/passwd": b""}), "a file that no bundle has"),
        (zipped({"bundle.json": b"{}", "result.pkl": b""}), "a file that no bundle has"),
        (zipped({"bundle.json": b"{}", "scenarios/../x.toml": b""}), "a file that no bundle has"),
        (zipped({"bundle.json": b"{}"}, compression=zipfile.ZIP_BZIP2), "packed in a way"),
        (zipped({"bundle.json": b"\xff\xfe"}), "no text in UTF-8"),
        (zipped({"bundle.json": b"{"}), "is no JSON"),
        (zipped({"bundle.json": b"[" * 100_000}), "is no JSON"),
        (zipped({"bundle.json": b"[" * 50 + b"]" * 50}), "nested too deeply"),
        (zipped({"bundle.json": b"[NaN]"}), "it holds NaN"),
        (zipped({"bundle.json": b"[Infinity]"}), "it holds Infinity"),
        (zipped({"bundle.json": b"[1e400]"}), "a number that is too large"),
        (zipped({"bundle.json": b"[" + b"9" * 400 + b"]"}), "a number that is too large"),
        (zipped({"bundle.json": b"[" + b"9" * 5_000 + b"]"}), "is no JSON"),
        (zipped({"bundle.json": b"{}"}), "no bundle of mnist-bench"),
        (altered(kind="a letter"), "no bundle of mnist-bench: kind"),
        (altered(extra=1), "no bundle of mnist-bench: extra"),
        (altered(schema=2), "of schema 2, and this version knows 1"),
        (altered(machines=[]), "a machine that is not there"),
        (run_json(scenario="x" * 501), "too long or can't be seen"),
        (run_json(scenario="\x1b[31mred"), "too long or can't be seen"),
        (run_json(scenario="\u202egnp"), "too long or can't be seen"),
        (run_json(steps="many"), "runs.0.result.steps"),
        (run_json(steps=1e16), "a number that is too large"),
        (run_json(hyperparameters={"batch_size": 0}), "batch_size"),
    ],
)
def test_what_is_no_bundle_is_refused_in_one_line(data: bytes, words: str) -> None:
    assert words in refused(data)


def test_a_file_twice() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("bundle.json", b"{}")
            archive.writestr("bundle.json", b"{}")
    assert "a file twice" in refused(stream.getvalue())


@pytest.mark.parametrize("members", [2_001, 70_000], ids=["zip", "zip64"])
def test_a_directory_that_is_too_long_is_not_even_read(
    monkeypatch: pytest.MonkeyPatch, members: int
) -> None:
    """Millions of entries fit into a file of the size that is read at all."""
    data = zipped(dict.fromkeys(map(str, range(members)), b""))
    assert (b"PK\x06\x06" in data) == (members > 65_535)
    read: list[str] = []
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_, **__: read.append("opened"))
    assert "it holds too many files" in refused(data)
    # Whatever the end of the directory says of it.
    end = data.rindex(b"PK\x05\x06")
    assert "too many files" in refused(data[: end + 8] + b"\x01\x00\x01\x00" + data[end + 12 :])
    assert read == []


def test_a_zip_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "_MAX_MEMBER_BYTES", 10_000)
    bomb = zipped({"bundle.json": b" " * 20_000}, compression=zipfile.ZIP_DEFLATED)
    assert "unpacks to more" in refused(bomb)
    # One that lies about its size: the figure stands in the central directory.
    lie = bomb.replace((20_000).to_bytes(4, "little"), (5).to_bytes(4, "little"))
    assert lie != bomb
    refused(lie)


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "_MAX_FILE_BYTES", 10)
    path = tmp_path / "theirs.zip"
    path.write_bytes(content())
    with pytest.raises(BenchError, match="MiB"):
        bundle.read(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="can't read"):
        bundle.read(tmp_path / "theirs.zip")


def test_nothing_that_a_bundle_may_tell_is_missing_in_what_is_mutated(tmp_path: Path) -> None:
    name = full_of_everything(tmp_path, "one.zip")
    with zipfile.ZipFile(tmp_path / name) as archive:
        told = json.loads(archive.read("bundle.json"))
        assert "scenarios/0.toml" in archive.namelist()

    def empty(value: Any, place: str) -> Iterator[str]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from empty(inner, f"{place}.{key}")
        elif value in (None, []):
            yield place.removeprefix(".result.")

    left_behind = {"failure", "trial", "run_id", "part", "train_seconds_limit"}
    assert set(empty(told["runs"][0], "")) == left_behind
    (conditions,) = {json.dumps(each["result"]["conditions"]) for each in told["runs"]}
    assert list(empty(json.loads(conditions)["surroundings"][0], "")) == []
    assert list(empty(json.loads(conditions)["stretches"][0], "")) == []


def test_mutated_bundles_are_refused_or_harmless(tmp_path: Path) -> None:
    """Some hundreds here, thousands in `faults`."""
    packed = (tmp_path / full_of_everything(tmp_path, "one.zip")).read_bytes()
    found = mutants.fates(packed, 400, seed=0)
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
def test_what_would_be_shown_badly_is_found(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], fault: str
) -> None:
    """With the reports' own escapes taken out, each is a fault."""
    monkeypatch.setattr(escaping, "one_line", str)
    monkeypatch.setattr(escaping, "csv_cell", str)
    monkeypatch.setattr(markdown, "markdown", escaping.EscapedText)
    monkeypatch.setattr(csv, "csv_cell", str)
    assert fault in list(mutants.shown_badly(made(**changes)))


def test_what_only_follows_a_comma_within_a_cell_is_no_formula() -> None:
    reasons = ("other load", "@SUM(A1)")
    assert list(mutants.shown_badly(made(verdict="suspect", reasons=reasons))) == []
