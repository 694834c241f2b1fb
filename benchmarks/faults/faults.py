"""Injects faults: kills commands, takes away their storage, and counts what is lost.

    python benchmarks/faults/faults.py --kills 100 --data DIR
    python benchmarks/faults/faults.py --what studies --kills 100 --data DIR
    python benchmarks/faults/faults.py --what cluster --faults 100 --plan 250
    python benchmarks/faults/faults.py --what bundles --mutants 10000

write `benchmarks/faults/table.md`, `studies.md` and `cluster.md`, each with a JSON file of all
findings, and `bundles.md`. Nothing is timed, so several jobs may run at once (`--jobs 2`).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# The tests' fakes and `Bench` are used here too.
sys.path[:0] = [str(FOLDER), str(FOLDER.parent.parent / "tests")]

import cluster  # noqa: E402
import kills  # noqa: E402
import mutants  # noqa: E402
import outages  # noqa: E402
import studies  # noqa: E402
from factories import complete_bundle  # noqa: E402
from kills import SIGNALS, Batch, KillResult, Victim  # noqa: E402
from place import NEXT_COMMANDS, Training  # noqa: E402
from studies import StudyBatch, StudyVictim  # noqa: E402
from table import Line, Table  # noqa: E402

from mnist_bench.measurement import machine  # noqa: E402

_IN_A_BATCH = 10
"""Kills in one folder, before one command checks the result."""
Job = Callable[[], Line]


def main() -> None:
    """Inject the faults and write the table."""
    options = _options()
    if options.what == "bundles":
        run_bundle_mutants(options)
        return
    command = f"python benchmarks/faults/faults.py {_command_line(options)}"
    table = Table(
        name="table" if options.what == "runs" else options.what,
        command=command,
        machine=machine.describe().name,
        chance=options.chance,
    )
    if options.what == "cluster":
        run_drills(options, table)
        return
    with (
        tempfile.TemporaryDirectory(prefix="mnist-bench-faults-") as folder,
        ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool,
    ):
        images = options.data.resolve() if options.data else None
        jobs = _jobs(options, Path(folder), images)
        lines: list[Future[Line]] = [pool.submit(job) for job in jobs]
        for count, line in enumerate(as_completed(lines), 1):
            table.add(line.result())
            table.write(
                options.out
            )  # after each line, so that an interrupted run keeps its results
            print(f"{count}/{len(jobs)} {line.result().words()}", flush=True)
    print(options.out / f"{table.name}.md")


def run_drills(options: argparse.Namespace, table: Table) -> None:
    """Let clusters train while faults are injected, and write the table."""
    with (
        tempfile.TemporaryDirectory(prefix="mnist-bench-faults-") as folder,
        ProcessPoolExecutor(options.drills, mp_context=get_context("spawn")) as pool,
    ):
        drills = [
            cluster.Drill(
                faults=options.faults // options.drills,
                jobs=options.plan // options.drills,
                machines=options.machines,
                seconds=options.seconds,
                seed=options.chance + number,
                folder=Path(folder, str(number)),
            )
            for number in range(options.drills)
        ]
        for lines in pool.map(cluster.run_drill, drills):
            for line in lines:
                table.add(line)
                print(line.words(), *line.findings.faults, sep="\n", flush=True)
    print(*table.write(options.out))


def run_bundle_mutants(options: argparse.Namespace) -> None:
    """Mutate a complete bundle, and write the outcomes."""
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder, complete_bundle(Path(folder), "one.zip")).read_bytes()
    found = mutants.run_mutants(packed, options.mutants, options.chance)
    command = f"python benchmarks/faults/faults.py --what bundles --mutants {options.mutants}"
    text = mutants.page(found, command, machine.describe().name)
    (options.out / "bundles.md").write_text(text, encoding="utf-8", newline="\n")
    print(text)


def _jobs(options: argparse.Namespace, folder: Path, images: Path | None) -> list[Job]:
    if options.what == "studies":
        return _study_jobs(options, folder, images)
    faults = [] if options.no_faults else _fault_jobs(folder, images)
    return [*_kill_jobs(options, folder, images), *faults]


def _study_jobs(options: argparse.Namespace, folder: Path, images: Path | None) -> list[Job]:
    jobs: list[Job] = []
    victims: tuple[StudyVictim, ...] = ("command", "parallel", "worker")
    for start in range(0, options.kills, _IN_A_BATCH):
        for victim in victims:
            batch = StudyBatch(
                victim=victim,
                workers="real",
                kills=min(_IN_A_BATCH, options.kills - start),
                seed=options.chance + start,
                folder=folder / f"{victim}-{start}",
                images=images,
                signals=SIGNALS["parent"] if victim == "command" else ("SIGKILL",),
            )
            jobs.append(functools.partial(run_study_kills, batch))
    return jobs


def _kill_jobs(options: argparse.Namespace, folder: Path, images: Path | None) -> list[Job]:
    # An evaluation on all of MNIST takes over a second: fewer evaluations allow more kills.
    training = Training(every=50 if images else 10, images=images)
    jobs: list[Job] = []
    victims: tuple[Victim, ...] = ("parent", "worker")
    names = tuple(NEXT_COMMANDS)
    for start in range(0, options.kills, _IN_A_BATCH):
        for victim in victims:
            next_command = names[len(jobs) % len(names)]
            batch = Batch(
                victim=victim,
                training=training,
                kills=min(_IN_A_BATCH, options.kills - start),
                seed=options.chance + start,
                folder=folder / f"{victim}-{start}",
                signals=SIGNALS[victim],
                next_command=next_command,
            )
            jobs.append(functools.partial(run_kills, batch))
    return jobs


def _fault_jobs(folder: Path, images: Path | None) -> list[Job]:
    names = enumerate(outages.FAULTS)
    return [functools.partial(run_outage, name, folder / f"fault-{i}", images) for i, name in names]


def run_kills(batch: Batch) -> Line:
    """Run one batch of kills; return its line of the table."""
    victim = "command" if batch.victim == "parent" else "training process"
    kind = f"the {victim} is killed; next: `{batch.next_command}`"
    return _line(kind, functools.partial(kills.run_batch, batch))


def run_study_kills(batch: StudyBatch) -> Line:
    """Run the kills of one study; return their line of the table."""
    kinds = {
        "command": "the command that searches is killed",
        "parallel": "the command that trains two trials at a time is killed",
        "worker": "one of two training processes is killed",
    }
    return _line(kinds[batch.victim], functools.partial(studies.run_batch, batch))


def _line(kind: str, run: Callable[[], KillResult]) -> Line:
    with _CaughtErrors() as broken:
        result = run()
        return Line(
            kind=kind,
            tried=result.hits.total(),
            late=result.late,
            hits=dict(result.hits),
            findings=result.findings,
        )
    return Line(kind=kind, tried=0, broken=tuple(broken))


def run_outage(name: str, folder: Path, images: Path | None) -> Line:
    """Run one outage; return its line of the table."""
    with _CaughtErrors() as broken:
        outage = outages.FAULTS[name](folder, images)
        return Line(
            kind=name,
            tried=0 if outage.skipped else 1,
            skipped=outage.skipped,
            findings=outage.findings,
            notes=tuple(outage.notes),
        )
    return Line(kind=name, tried=0, broken=tuple(broken))


class _CaughtErrors(contextlib.AbstractContextManager[list[str]]):
    """Collects tracebacks, so that an error in one batch does not stop the others."""

    def __enter__(self) -> list[str]:
        self._words: list[str] = []
        return self._words

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None or isinstance(error, KeyboardInterrupt | SystemExit):
            return False
        self._words.append("".join(traceback.format_exception(error))[-2_000:])
        return True


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--what", choices=("runs", "studies", "cluster", "bundles"), default="runs",
        help="what the faults are injected into (runs)",
    )  # fmt: skip
    parser.add_argument("--mutants", type=int, default=10_000, help="mutants of a bundle (10,000)")
    parser.add_argument(
        "--kills", type=int, default=100, help="kills of commands, and of workers (100)"
    )
    parser.add_argument("--faults", type=int, default=100, help="faults of clusters (100)")
    parser.add_argument("--plan", type=int, default=250, help="trainings of the plans (250)")
    parser.add_argument(
        "--seconds", type=float, default=6.0, help="seconds that each training waits (6)"
    )
    parser.add_argument(
        "--drills", type=int, default=2, help="concurrent clusters that share faults and plan (2)"
    )
    parser.add_argument("--machines", type=int, default=4, help="machines of each cluster (4)")
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("MNIST_BENCH_DATA"),
        help="folder with MNIST's IDX files (MNIST_BENCH_DATA); by default the packaged sample",
    )
    parser.add_argument("--jobs", type=int, default=2, help="concurrent jobs (2)")
    parser.add_argument("--chance", type=int, default=0, help="random seed (0)")
    parser.add_argument("--no-faults", action="store_true", help="only kills")
    parser.add_argument("--out", type=Path, default=FOLDER, help="output folder")
    return parser.parse_args()


def _command_line(options: argparse.Namespace) -> str:
    """The command line as shown in the table, without local paths."""
    words = ["--what", options.what] if options.what != "runs" else []
    if options.what == "cluster":
        values = (
            ("faults", options.faults),
            ("plan", options.plan),
            ("drills", options.drills),
            ("machines", options.machines),
            ("seconds", f"{options.seconds:g}"),
            ("chance", options.chance),
        )
        return shlex.join([*words, *(word for n, v in values for word in (f"--{n}", str(v)))])
    words += ["--kills", str(options.kills), "--jobs", str(options.jobs)]
    words += ["--data", "DIR"] if options.data else []
    words += ["--chance", str(options.chance)] + (["--no-faults"] if options.no_faults else [])
    return shlex.join(words)


if __name__ == "__main__":
    main()
