"""Bundles: what comes out is what went in, and nothing else comes in."""

from __future__ import annotations

import io
import json
import random
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
from records import machine, run

from mnist_bench import bundle
from mnist_bench.bundle import Bundle, BundledRun, parse, to_bytes, without_private
from mnist_bench.errors import BenchError

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


def zipped(members: dict[str, bytes], **options: Any) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


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
    assert "one twice" in refused(stream.getvalue())


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


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The same with some bytes changed, cut out or put in."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(out))
        match chance.randrange(3):
            case 0:
                out[at] = chance.randrange(256)
            case 1:
                del out[at : at + chance.randint(1, 40)]
            case _:
                out[at:at] = chance.randbytes(chance.randint(1, 20))
    return bytes(out)


def test_mutated_bundles_are_refused_or_harmless() -> None:
    """Of the packed file, and of the text in it: some hundreds here, thousands in `faults`."""
    assert survivors(300, seed=0) < 100


def survivors(count: int, seed: int) -> int:
    """How many of so many mutated bundles are read; what else they do is an error here."""
    chance = random.Random(seed)
    packed, text = content(), made().model_dump_json().encode()
    return sum(
        is_read(
            mutated(packed, chance) if index % 2 else zipped({"bundle.json": mutated(text, chance)})
        )
        for index in range(count)
    )


def is_read(data: bytes) -> bool:
    """Whether it is taken for a bundle; else it must be refused in a line."""
    told = ""
    try:
        parse(data, HERE)
    except BenchError as error:
        told = str(error)
    assert told.isprintable()
    return not told
