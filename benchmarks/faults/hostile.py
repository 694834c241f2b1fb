"""Gives the suite files and answers that others may have made, and counts what it does not bear.

    python benchmarks/faults/hostile.py --bundles 10000 --spools 1000 --scenarios 1000 --answers 300

writes `benchmarks/faults/hostile.md`. Most are mutations of good ones, by a seeded generator, and
each is read in this process. A fault is an error that is not one line (all but a `BenchError`),
more seconds than the limit, a spool that is in the way afterwards, a change outside the folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
# The tests' hostile server and spools are used here too.
sys.path.extend([str(FOLDER), str(FOLDER.parent), str(FOLDER.parents[1] / "tests")])

import common
import hostile_servers as server
import mutants
from factories import complete_bundle, dead_owner, write_spool

from mnist_bench.core.errors import BenchError
from mnist_bench.measurement import memory
from mnist_bench.runner import options as run_options
from mnist_bench.tracking import bundle, mlflow_store, recovery, spool, uri
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address

SECONDS = 5.0
"""Limit of one attempt; a call to a server has one second in this program."""
SCENARIO = (FOLDER.parent / "smoke.toml").read_text(encoding="utf-8")
CONTENTS = (
    *(b"", b"[" * 200_000, b"{}", b"\0" * 10_000, b"9" * 100_000, b"NaN\n", b"\xff\xfe"),
    *(b"[" + b"1," * 2_000_000 + b"1]\n", b"[" + b"[]," * 2_000_000 + b"1]\n"),
    *(b"a" + b".a" * 30_000 + b" = 1", b"a = " + b"[" * 30_000, b"a = " + b"9" * 60_000),
)
PLACES: dict[str, Callable[[Path, Path], Any]] = {
    "FIFO": lambda path, _: os.mkfifo(path),
    "folder": lambda path, _: path.mkdir(),
    "device": lambda path, _: path.symlink_to("/dev/zero"),
    "link": lambda path, outside: path.symlink_to(outside / "key"),
    "link to a folder": lambda path, outside: path.symlink_to(outside, target_is_directory=True),
}
RUN = {
    "info": {"run_id": "0" * 32, "status": "FINISHED", "start_time": 5,
             "lifecycle_stage": "active", "artifact_uri": "mlflow-artifacts:/1/0/artifacts",
             "experiment_id": "1"},
    "data": {"tags": [{"key": "bench.schema", "value": "1"},
                      {"key": "bench.owner", "value": "1-1-0"},
                      {"key": "bench.trajectory", "value": "t"}],
             "params": [{"key": "steps", "value": "5"}],
             "metrics": [{"key": "test_accuracy", "value": 0.5, "timestamp": 5, "step": 5}]},
}  # fmt: skip
EXPERIMENT = {"experiment_id": "1", "name": "e", "lifecycle_stage": "active",
              "artifact_location": "mlflow-artifacts:/1"}  # fmt: skip


@dataclass
class Kind:
    """What became of the attempts of a kind."""

    tried: int = 0
    refused: int = 0
    slowest: float = 0.0
    peak_mebibytes: float = 0.0
    faults: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def attempt(self, number: int = 1) -> Iterator[None]:
        """Measure an attempt, and list what is wrong with it.

        Args:
            number: Of the files that it reads.
        """
        memory.reset_peak_rss()
        before, begin = memory.rss_bytes() or 0, time.monotonic()
        try:
            yield
        except BenchError as error:
            self.refused += number
            if not str(error).isprintable():
                self.faults.append(f"said {str(error)[:100]!r}")
        except Exception as error:  # noqa: BLE001 - each is a fault
            self.faults.append("".join(traceback.format_exception(error))[-1_500:])
        seconds = time.monotonic() - begin
        self.tried += number
        self.slowest = max(self.slowest, seconds / number)
        peak = ((memory.peak_rss().bytes or 0) - before) / 2**20
        self.peak_mebibytes = max(self.peak_mebibytes, peak)
        if seconds / number > SECONDS:
            self.faults.append(f"took {seconds:.1f} s")


def altered(content: bytes, rng: random.Random) -> bytes:
    """A mutation of a good content, or another one."""
    lines = content.splitlines(keepends=True)
    match rng.randrange(6):
        case 0:
            return rng.choice(CONTENTS)
        case 1:
            rng.shuffle(lines)
            return b"".join(lines)
        case 2 | 3:
            with contextlib.suppress(ValueError, IndexError):
                index = rng.randrange(len(lines))
                document = json.loads(lines[index])
                holder, key = rng.choice(list(mutants.places(document)))
                holder[key] = rng.choice(mutants.HOSTILE_VALUES)
                lines[index] = json.dumps(document).encode() + b"\n"
                return b"".join(lines)
    return mutants.tampered(content, rng) if content else b"\0"


def put(path: Path, content: bytes, outside: Path, rng: random.Random, share: float) -> None:
    """Write a mutation to a path; with this probability, something that is no file."""
    if rng.random() < share:
        path.unlink(missing_ok=True)
        rng.choice(list(PLACES.values()))(path, outside)
    else:
        path.write_bytes(altered(content, rng))


def bundles(kind: Kind, count: int, rng: random.Random, folder: Path, outside: Path) -> None:
    """Read bundles."""
    good = (folder / complete_bundle(folder, "one.zip")).read_bytes()
    for number, (_, content) in enumerate(mutants.mutants(good, count, rng)):
        path = folder / "theirs.zip"
        if number % 20:
            path.write_bytes(content)
        elif number % 40:
            path.write_bytes(mutants.zipped({"bundle.json": rng.choice(CONTENTS)}, compression=8))
        else:
            put(path, content, outside, rng, 1.0)
        with kind.attempt():
            bundle.read(path)
        clear(path)


def spools(kind: Kind, count: int, rng: random.Random, folder: Path, outside: Path) -> None:
    """Recover spools, twenty in a folder."""
    address = Address(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", experiment="e")
    store = MlflowStore(address.tracking_uri, address.experiment)
    for _ in range(0, count, 20):
        for _ in range(20):
            path = write_spool(address, dead_owner(), trajectory=uuid.uuid4().hex).path
            files = [each for each in spool.files_of(path).rglob("*") if each.is_file()]
            own = [path, *files, spool.files_of(path) / "worker.log", files[0].parent / "id_rsa"]
            chosen = rng.choice([path, path, path, *own])
            put(chosen, path.read_bytes(), outside, rng, 0.3)
        with kind.attempt(20):
            said: list[str] = []
            recovery.recover(store, address, said.append)
            kind.refused += sum("can't be uploaded" in line for line in said)
        # What a later version may have written stays.
        if left := [path for path in spool.paths() if spool.read(path)]:
            kind.faults.append(f"{len(left)} spools in the way: {said[-1:]}")
        shutil.rmtree(spool.FOLDER, ignore_errors=True)


def scenarios(kind: Kind, count: int, rng: random.Random, folder: Path, outside: Path) -> None:
    """Read scenario files, and what lies beside them."""
    path = folder / "mine.toml"
    study = json.dumps({"schema": 1, "study": "a", "trials": [{"number": 1}]}).encode()
    for number in range(count):
        beside = path.with_suffix(".json")
        if number % 3:
            put(path, SCENARIO.encode(), outside, rng, 0.05)
        else:
            path.write_text(SCENARIO, encoding="utf-8")
            put(beside, study, outside, rng, 0.2)
        with kind.attempt():
            run_options.read_scenario(str(path))
        clear(path)
        clear(beside)


def answers(kind: Kind, count: int, rng: random.Random, _folder: Path, _outside: Path) -> None:
    """Ask servers for runs and their files."""
    endless = (server.drip, server.drip_headers, server.be_silent, server.flood, server.redirect)
    state: dict[str, Any] = {}

    def respond(handler: Any) -> None:
        good: Any = {"experiment": EXPERIMENT}
        if handler.path.endswith("runs/search"):
            good = {"runs": [RUN]}
        elif "artifact" in handler.path:
            good = {"files": [{"path": "../../result.json", "file_size": 5, "is_dir": False}]}
        content = json.dumps(good).encode()
        if state["part"] not in handler.path:
            server.send(handler, content)
        elif state["way"] < 0.05:
            rng.choice(endless)(handler)
        else:
            status = rng.choice((200, 200, 200, 200, 404, 500))
            server.send(handler, altered(content, rng), status)

    for module, name in ((uri, "_CONNECT_SECONDS"), (mlflow_store, "_CALL_SECONDS"),
                         (mlflow_store, "_FILE_SECONDS")):  # fmt: skip
        setattr(module, name, 1.0)
    for _ in range(count):
        state |= {
            "part": rng.choice(("", "experiments", "search", "artifact")),
            "way": rng.random(),
        }
        healthy = rng.random() < 0.95
        with server.hostile_server(respond, healthy=healthy) as address, kind.attempt():
            uri.check_uri(address, "e")
            store = MlflowStore(address, "e")
            list(store.recorded_runs(""))
            store.unfinished()
            store.load("0" * 32)


def clear(path: Path) -> None:
    """Remove what a name stands for."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def state_of(folder: Path) -> list[Any]:
    """Names, contents and times of a folder."""
    paths = sorted(folder.rglob("*"))
    return [(path, path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in paths]


def main(asked: argparse.Namespace) -> None:
    """Try all, and write the table."""
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "NO_PROXY": "127.0.0.1"}
    rows, faults = [], []
    work = {"bundles": bundles, "spools": spools, "scenarios": scenarios, "answers": answers}
    for name, attempt in work.items():
        with tempfile.TemporaryDirectory(prefix="mnist-bench-hostile-") as parent:
            folder, outside = Path(parent, "here"), Path(parent, "outside")
            folder.mkdir()
            outside.mkdir()
            (outside / "key").write_text("a private key", encoding="ascii")
            before, kind = state_of(outside), Kind()
            rng = random.Random(f"{asked.chance} {name}")  # noqa: S311 - not used for security
            with contextlib.chdir(folder):
                attempt(kind, getattr(asked, name), rng, folder, outside)
            touched = state_of(outside) != before
            kind.faults += ["a file outside was touched"] * touched
            strange = {path.name for path in Path(parent).iterdir()} - {"here", "outside"}
            kind.faults += [f"made outside: {strange}"] * bool(strange)
        rows.append((name, f"{kind.tried:,}", f"{kind.refused:,}", str(len(kind.faults)),
                     f"{kind.slowest:.1f}", f"{kind.peak_mebibytes:,.0f}"))  # fmt: skip
        faults += [f"{name}: {fault}" for fault in kind.faults]
    head = ("what", "tried", "refused or put aside", "faults", "slowest, s", "most memory, MiB")
    page = common.blocks(
        "# What becomes of files and answers that others made",
        common.origin(common.session()),
        f"Limit of an attempt: {SECONDS:g} s. [How it is done](README.md).",
        common.table(head, rows),
        *(f"```\n{fault}\n```" for fault in faults[:20]),
    )
    common.write_page(asked.out / "hostile.md", page)


if __name__ == "__main__":
    parser = common.parser(
        __doc__,
        bundles=(10_000, "bundles"),
        spools=(1_000, "spools"),
        scenarios=(1_000, "scenario files"),
        answers=(300, "servers"),
        chance=(0, "random seed"),
    )
    main(parser.parse_args())
