"""Shared by the programs in this folder: options, processes, ratios, tables, the machine, files.

A program measures a document, which is its JSON file, and makes tables of it. In a page that has
text of its own, they stand between two marks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from mnist_bench.analysis.statistics import Estimate, mean_of
from mnist_bench.core.formatting import UNKNOWN
from mnist_bench.measurement import machine
from mnist_bench.tracking import spool

Kind = TypeVar("Kind")
Document = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16")
"""Those that determine the speed of matrix products, by Linux's names; the last two are Arm's."""
MEASURED = re.compile(r"(?<=<!-- measured:begin -->\n).*(?=<!-- measured:end -->)", re.DOTALL)
"""The part of a page that a program writes."""
_CPUINFO = Path("/proc/cpuinfo")


class ProgramError(Exception):
    """A process failed; the message is its last line of standard error."""


def parser(doc: str | None, **numbers: tuple[float, str]) -> argparse.ArgumentParser:
    """Options of all programs.

    Args:
        numbers: Default and help of each numeric option, by its name in Python.
    """
    options = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    images = os.environ.get("MNIST_BENCH_DATA")
    options.add_argument("--data", type=Path, default=Path(images) if images else None,
                         help="folder with MNIST's IDX files (MNIST_BENCH_DATA)")  # fmt: skip
    for name, (default, text) in numbers.items():
        option = f"--{name.replace('_', '-')}"
        options.add_argument(
            option, type=type(default), default=default, help=f"{text} ({default})"
        )
    own = Path(sys.argv[0]).resolve().parent
    options.add_argument("--out", type=Path, default=own, help="output folder (the program's own)")
    return options


def run(
    arguments: argparse.ArgumentParser,
    names: tuple[str, str],
    measure: Callable[[argparse.Namespace], Document],
    page: Callable[[Document], str],
) -> None:
    """Measure, or read `--from`; write the JSON file and the page.

    Args:
        names: Of the JSON file and of the page, in `--out`.
    """
    text = "make the page from this JSON file without measuring"
    arguments.add_argument("--from", dest="file", type=Path, metavar="FILE", help=text)
    options = arguments.parse_args()
    options.out = options.out.resolve()
    if options.file:
        document = json.loads(options.file.read_text(encoding="utf-8"))
    else:
        document = measure(options)
        save(options.out / names[0], document)
    write_page(options.out / names[1], page(document))


def save(file: Path, document: Document) -> None:
    """Write a document as JSON."""
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    file.write_text(text, encoding="utf-8", newline="\n")


def write_page(file: Path, text: str) -> None:
    """Print a page and write it; where a file has marks, only between them."""
    print(text)
    if file.exists() and MEASURED.search(before := file.read_text(encoding="utf-8")):
        text = MEASURED.sub(lambda _: text, before)
    file.write_text(text, encoding="utf-8", newline="\n")


def session(*distributions: str, **measured: Any) -> Document:
    """The beginning of a document: command, date, hardware and versions."""
    versions = {name: version_of(name) for name in distributions}
    return {
        "command": command_line(sys.argv),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(),
        "versions": {name: number for name, number in versions.items() if number},
        **measured,
    }


def command_line(arguments: Sequence[str]) -> str:
    """A command line without local paths, and without `--out`."""
    program = Path(arguments[0]).resolve().relative_to(ROOT).as_posix()
    words = [part for word in arguments[1:] for part in word.split("=", word.startswith("--"))]
    shown = shlex.join(["python", program, *words])
    shown = re.sub(r" --out ('.*?'|\S+)", "", shown)
    return re.sub(r"--data ('.*?'|\S+)", "--data DIR", shown)


def origin(document: Document) -> str:
    """Machine, versions, command and date of a document, in lines."""
    versions = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    lines = [f"Machine: {machine_line(document['hardware'])}"]
    lines += [f"Versions: {versions}."] * bool(versions)
    return "\n".join([*lines, f"Made by `{document['command']}` on {document['date']}."])


def hardware() -> Document:
    """This machine: its name, its instruction sets, whether it is virtual; null if unknown."""
    text = _CPUINFO.read_text(encoding="utf-8", errors="replace") if _CPUINFO.exists() else ""
    found = re.search(r"^(?:flags|features)\s*:(.*)$", text, re.IGNORECASE | re.MULTILINE)
    flags = found[1].split() if found else None
    return {
        "name": machine.describe().name,
        "instruction_sets": flags and [name for name in INSTRUCTION_SETS if name in flags],
        "virtual": None if flags is None else "hypervisor" in flags,
    }


def machine_line(described: Document) -> str:
    """Hardware in sentences."""
    virtual = " A virtual machine, not a laptop." if described["virtual"] else ""
    has = described["instruction_sets"]
    if has is None:
        return f"{described['name']}.{virtual}"
    missing = ", ".join(name for name in INSTRUCTION_SETS[:5] if name not in has)
    lacks = f" (without {missing})" if missing else ""
    return f"{described['name']}.{virtual} Instruction sets: {', '.join(has) or UNKNOWN}{lacks}."


def version_of(distribution: str) -> str | None:
    """Version of a distribution, or of its variant for processors; None if not installed."""
    for name in (distribution, f"{distribution}-cpu"):
        with contextlib.suppress(PackageNotFoundError):
            return version(name)
    return None


# Processes


def in_turn(kinds: Sequence[Kind], repeats: int) -> Iterator[tuple[int, Kind]]:
    """Each kind once in each round; the order moves on by one with each round."""
    for turn in range(repeats):
        for index in range(len(kinds)):
            yield turn, kinds[(turn + index) % len(kinds)]


def answer(program: Path, task: str, *arguments: str) -> Any:
    """Give a task to a Python program in a new process; parse its last line of output.

    Raises:
        ProgramError: Its exit status is not 0.
    """
    command = [sys.executable, str(program), *arguments]
    done = subprocess.run(command, input=f"{task}\n", capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ProgramError(lines[-1])
    return json.loads(done.stdout.splitlines()[-1])  # libraries may print before it


def suite(folder: Path, *arguments: str, images: Path | None = None, code: str = "") -> Any:
    """Run `mnist-bench` in a folder; parse its standard output, a JSON document."""
    process = start_suite(folder, *arguments, images=images, code=code)
    output, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return json.loads(output)


def start_suite(
    folder: Path, *arguments: str, images: Path | None = None, code: str = ""
) -> subprocess.Popen[bytes]:
    """Start `mnist-bench` in a folder, with its output in a pipe.

    Args:
        code: Python code that its process runs first.
    """
    program = f"{code}\nfrom mnist_bench.cli.main import main\nmain()\n"
    data = ("--data", str(images.resolve())) if images else ()
    command = [sys.executable, "-P", "-c", program, *arguments, *data]
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen(command, cwd=folder, env=clean_environment(), stdin=null, stdout=pipe)


def clean_environment() -> dict[str, str]:
    """The environment without variables that change the store, the images or the import."""
    removed = ("MLFLOW_", "MNIST_BENCH_", "TF_USE_LEGACY_KERAS")
    return {name: value for name, value in os.environ.items() if not name.startswith(removed)}


def spooled(folder: Path) -> Iterator[tuple[Document, int]]:
    """Worker messages of the spools in a working folder, with Unix times in milliseconds."""
    for path in (folder / spool.FOLDER).glob("*.jsonl"):
        for line in path.read_bytes().split(b"\n")[:-1]:  # the last one may be incomplete
            entry = json.loads(line)
            if entry.get("message"):
                yield entry["message"], entry["at_ms"]


# Figures and tables


def ratio_of(ratios: Iterable[float]) -> Estimate | None:
    """Median of ratios, and Student's 95% interval on their logarithms, NaN for a single one."""
    values = [value for value in ratios if math.isfinite(value)]
    if not values:
        return None
    median, low, high = statistics.median(values), math.nan, math.nan
    if len(values) > 1:
        mean = mean_of([math.log(value) for value in values])
        low, high = math.exp(mean.low), math.exp(mean.high)
    return Estimate(median, low, high, len(values))


def interval(estimate: Estimate, form: str = ".2f") -> str:
    """The ends of an interval."""
    if math.isnan(estimate.low):
        return UNKNOWN
    return f"{estimate.low:{form}} to {estimate.high:{form}}"


def spread(values: Iterable[float | None], form: str = ".2f") -> str:
    """Median of the known values, and the smallest and the largest."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    if not known:
        return UNKNOWN
    median = f"{statistics.median(known):{form}}"
    return f"{median} ({min(known):{form}} to {max(known):{form}})" if len(known) > 1 else median


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: Iterable[int] = (0,)) -> str:
    """A Markdown table.

    Args:
        left: Indices of the columns that are aligned to the left.
    """
    aligned = set(left)
    rule = "".join("---|" if index in aligned else "---:|" for index in range(len(head)))
    first, *others = (f"| {' | '.join(row)} |" for row in (head, *rows))
    return "\n".join((first, f"|{rule}", *others))


def blocks(*parts: str) -> str:
    """A Markdown page of its parts; empty ones are left out."""
    return "\n\n".join(part for part in parts if part) + "\n"
