"""Injects faults: kills commands, takes away their storage, and counts what is lost.

    python benchmarks/faults/faults.py --kills 100 --data DIR
    python benchmarks/faults/faults.py --what studies --kills 20 --data DIR
    python benchmarks/faults/faults.py --what cluster --faults 100 --plan 250
    python benchmarks/faults/faults.py --what bundles --mutants 10000

write `benchmarks/faults/table.md`, `studies.md` and `cluster.md`, each with a JSON file of all
findings, and `bundles.md`. Nothing is timed, so several jobs may run at once (`--jobs 2`).
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# The tests' fakes and `Bench` are used here too.
sys.path.extend([str(FOLDER), str(FOLDER.parent), str(FOLDER.parents[1] / "tests")])

import cluster
import common
import kills
import mutants
import outages
import studies
import table
from factories import complete_bundle
from kills import SIGNALS, Batch, Victim
from place import NEXT_COMMANDS, Training
from studies import StudyBatch, StudyVictim
from table import Line

from mnist_bench.measurement import machine

_IN_A_BATCH = 10
"""Kills in one folder, before one command checks the result."""
_STUDY_KINDS: dict[StudyVictim, str] = {
    "command": "the command that searches is killed",
    "parallel": "the command that trains two trials at a time is killed",
    "worker": "one of two training processes is killed",
}
Job = Callable[[], list[Line] | Line]


def main(options: argparse.Namespace) -> None:
    """Inject the faults and write the table."""
    command = common.command_line(sys.argv)
    if options.what == "bundles":
        with tempfile.TemporaryDirectory() as folder:
            packed = Path(folder, complete_bundle(Path(folder), "one.zip")).read_bytes()
        found = mutants.run_mutants(packed, options.mutants, options.chance)
        text = mutants.page(found, command, machine.describe().name)
        common.write_page(options.out / "bundles.md", text)
        return
    name = "table" if options.what == "runs" else options.what
    at_once = options.drills if options.what == "cluster" else options.jobs
    with (
        tempfile.TemporaryDirectory(prefix="mnist-bench-faults-") as folder,
        ProcessPoolExecutor(at_once, mp_context=get_context("spawn")) as pool,
    ):
        images = options.data.resolve() if options.data else None
        make = {"runs": _jobs, "studies": _study_jobs, "cluster": _drills}[options.what]
        jobs = [pool.submit(attempt, *job) for job in make(options, Path(folder), images)]
        lines: list[Line] = []
        for count, job in enumerate(as_completed(jobs), 1):
            lines += job.result()
            # After each, so that an interrupted run keeps its results.
            table.write(options.out, name, command, options.chance, lines)
            for line in job.result():
                print(f"{count}/{len(jobs)} {line.kind}: {line.tried} tried {line.skipped}")
                print(*line.findings.faults, *line.broken, sep="\n", flush=True)
    print(options.out / f"{name}.md")


def attempt(kind: str, job: Job) -> list[Line]:
    """Lines of a job; an error in it becomes a line, and does not stop the others.

    Args:
        kind: Of its lines, unless they have their own.
    """
    try:
        found = job()
    except Exception as error:  # noqa: BLE001  # any
        found = Line(broken=("".join(traceback.format_exception(error))[-2_000:],))
    lines = [found] if isinstance(found, Line) else found
    for line in lines:
        line.kind = line.kind or kind
    return lines


def _jobs(
    options: argparse.Namespace, folder: Path, images: Path | None
) -> Iterator[tuple[str, Job]]:
    # An evaluation on all of MNIST takes over a second: fewer evaluations allow more kills.
    training = Training(every=50 if images else 10, images=images)
    victims: dict[Victim, str] = {"parent": "command", "worker": "training process"}
    next_commands = itertools.cycle(NEXT_COMMANDS)
    for start in range(0, options.kills, _IN_A_BATCH):
        count, seed = min(_IN_A_BATCH, options.kills - start), options.chance + start
        for victim, title in victims.items():
            own, after = folder / f"{victim}-{start}", next(next_commands)
            batch = Batch(victim, training, count, seed, own, SIGNALS[victim], after)
            kind = f"the {title} is killed; next: `{after}`"
            yield kind, functools.partial(kills.run_batch, batch)
    if not options.no_faults:
        for index, name in enumerate(outages.FAULTS):
            fault_folder = folder / f"fault-{index}"
            yield name, functools.partial(outages.FAULTS[name], fault_folder, images)


def _study_jobs(
    options: argparse.Namespace, folder: Path, images: Path | None
) -> Iterator[tuple[str, Job]]:
    for start in range(0, options.kills, _IN_A_BATCH):
        count, seed = min(_IN_A_BATCH, options.kills - start), options.chance + start
        for victim, kind in _STUDY_KINDS.items():
            signals = SIGNALS["parent"] if victim == "command" else ("SIGKILL",)
            own = folder / f"{victim}-{start}"
            batch = StudyBatch(victim, "real", count, seed, own, images, signals)
            yield kind, functools.partial(studies.run_batch, batch)


def _drills(
    options: argparse.Namespace, folder: Path, _images: Path | None
) -> Iterator[tuple[str, Job]]:
    faults, jobs = options.faults // options.drills, options.plan // options.drills
    for number in range(options.drills):
        seed, own = options.chance + number, folder / str(number)
        drill = cluster.Drill(faults, jobs, options.machines, options.seconds, seed, own)
        yield f"cluster {number}", functools.partial(cluster.run_drill, drill)


if __name__ == "__main__":
    parser = common.parser(
        __doc__,
        mutants=(10_000, "mutants of a bundle"),
        kills=(100, "kills of commands, and of workers"),
        faults=(100, "faults of clusters"),
        plan=(250, "trainings of the plans of clusters"),
        seconds=(6.0, "seconds that each of these trainings waits"),
        drills=(2, "concurrent clusters that share faults and plan"),
        machines=(4, "machines of each cluster"),
        jobs=(2, "concurrent jobs"),
        chance=(0, "random seed"),
    )
    parser.add_argument("--what", choices=("runs", "studies", "cluster", "bundles"), default="runs")
    parser.add_argument("--no-faults", action="store_true", help="only kills")
    main(parser.parse_args())
