"""Mutated bundles: each must be rejected in one line, or produce a harmless report."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import random
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import common

from mnist_bench.analysis import table1
from mnist_bench.analysis.curves import curves_of
from mnist_bench.analysis.system_state import system_state_of
from mnist_bench.core.errors import BenchError
from mnist_bench.reporting.csv import runs_csv
from mnist_bench.reporting.figures import charts_of_report
from mnist_bench.reporting.html import report_to_html
from mnist_bench.reporting.json import to_json
from mnist_bench.reporting.markdown import section_to_markdown
from mnist_bench.reporting.model import Report, ReportSection
from mnist_bench.results.run_summary import summarise
from mnist_bench.tracking.bundle import Bundle, parse
from mnist_bench.tracking.run_notes import run_description

_PATH = Path("theirs.zip")
HOSTILE_VALUES: tuple[Any, ...] = (
    *("<script>alert(1)</script>", "](javascript:alert(1))", "| a | b |", "`code`", "{{ 7*7 }}"),
    *('=HYPERLINK("http://evil")', "+1", "-1", "@SUM(A1)", "\t=1"),
    *("\x1b[2J", "\u202eright to left", "\u0000", "\ud800", "a\r\nb", "x" * 600),
    *("../../etc/passwd", "C:\\windows", "", " ", "NaN", "true"),
    *(0, -1, 1, 2**63, -(2**63), 10**400, 1e308, 1e-308, 0.5, float("nan"), float("inf")),
    *(True, None, [], {}, [[[[]]]], {"a": {"b": {"c": {}}}}),
)
"""Replacements for a value."""
_HOSTILE_FILES: tuple[tuple[str, bytes], ...] = (
    *(("../evil.toml", b""), ("/etc/passwd", b""), ("scenarios/../../x.toml", b"")),
    *(("C:\\x.toml", b""), ("bundle.json/", b""), ("evil.pkl", b"\x80\x04.")),
    *(("scenarios/1.toml", b"\0" * 10**6), ("runs.csv", b"=1+1\n")),
)
"""Additional files: paths that lead elsewhere, pickles, compressed zeros."""
_DRAWN_EVERY = 40
"""A page takes a second, so only one of this many accepted mutants is drawn."""


@dataclass
class Outcomes:
    """Outcomes of the mutants.

    Attributes:
        refused: Number rejected in one line, by kind.
        read: Number accepted and reported, by kind.
        faults: Descriptions of errors.
    """

    refused: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def run_mutants(packed: bytes, count: int, seed: int) -> Outcomes:
    """Mutate a bundle and read each mutant.

    Args:
        packed: A complete bundle.
        count: Number of mutants.
        seed: Random seed.
    """
    outcomes = Outcomes()
    for kind, data in mutants(packed, count, random.Random(seed)):  # noqa: S311  # not used for security
        try:
            try:
                bundle = parse(data, _PATH)
            except BenchError as error:
                outcomes.refused[kind] += 1
                faults = [f"said {str(error)!r}"] * (not str(error).isprintable())
            else:
                outcomes.read[kind] += 1
                faults = [*unsafe_output(bundle)]
                faults += unsafe_page(bundle) if outcomes.read.total() % _DRAWN_EVERY == 1 else []
        except Exception as error:  # noqa: BLE001  # every other exception is a fault
            faults = [f"{type(error).__name__}: {error}"[:300]]
        outcomes.faults += [f"{kind}: {fault}" for fault in faults]
    return outcomes


def mutants(packed: bytes, count: int, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Mutants with the kind of mutation."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    mutations: dict[str, Callable[[], bytes]] = {
        "bytes of the file": lambda: tampered(packed, rng),
        "bytes of its text": lambda: zipped({"bundle.json": tampered(members["bundle.json"], rng)}),
        "a value": lambda: zipped({"bundle.json": _with_other_value(members, rng)}),
        "another file in it": lambda: zipped(dict([*members.items(), rng.choice(_HOSTILE_FILES)])),
    }
    for kind in itertools.islice(itertools.cycle(mutations), count):
        yield kind, mutations[kind]()


def tampered(data: bytes, rng: random.Random) -> bytes:
    """Data with some bytes changed, deleted or inserted."""
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(data) + 1)
        dropped, added = rng.choice(((1, 1), (rng.randint(1, 40), 0), (0, rng.randint(1, 20))))
        data = data[:at] + rng.randbytes(added) + data[at + dropped :]
    return data


def zipped(members: dict[str, bytes], **options: Any) -> bytes:
    """A ZIP file with these members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _with_other_value(members: dict[str, bytes], rng: random.Random) -> bytes:
    """The bundle's JSON with one value or key replaced."""
    content = json.loads(members["bundle.json"])
    holder, key = rng.choice(list(places(content)))
    if isinstance(holder, dict) and rng.random() < 0.1:
        holder[str(rng.choice(HOSTILE_VALUES))] = holder.pop(key)
    else:
        holder[key] = rng.choice(HOSTILE_VALUES)
    return json.dumps(content).encode()


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """All values, each as its container and its key or index."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


def unsafe_output(bundle: Bundle) -> Iterator[str]:
    """Unsafe content in a report of a bundle."""
    if not bundle.machines or not bundle.runs:
        return
    report = _report(bundle)
    text, table = section_to_markdown(report), runs_csv(report.document.runs)
    if "<script" in text or re.search(r"(?<!\\)\]\(javascript", text):
        yield "Markdown that runs"
    if any(not c.isprintable() and c != "\n" for c in text + table):
        yield "control characters"
    cells = itertools.chain.from_iterable(csv.reader(io.StringIO(table, newline="")))
    if any(cell.lstrip().startswith(("=", "@")) for cell in cells):
        yield "a formula in the CSV"
    # NaN is an error.
    json.loads(to_json(report.document), parse_constant=lambda name: [][len(name)])


def _report(bundle: Bundle) -> ReportSection:
    runs = summarise([each.result for each in bundle.runs])
    rows = table1.rows(runs, table1.reference_for(runs))
    return ReportSection(
        title=runs[0].scenario,
        scenario=runs[0].scenario,
        command="",
        created="2026-01-31",
        document=table1.document_of(bundle.machines[0], runs, rows),
        rows=rows,
    )


def unsafe_page(bundle: Bundle) -> Iterator[str]:
    """Unsafe content in the page of a bundle and in the descriptions of its runs."""
    results = [each.result for each in bundle.runs]
    if not bundle.machines or not results:
        return
    report = dataclasses.replace(
        _report(bundle), curves=curves_of(results[:1]), system_state=system_state_of(results)
    )
    combined = Report(
        title=report.title,
        command="",
        created="2026-01-31",
        document=report.document,
        sections=(report,),
    )
    page = report_to_html(combined, charts_of_report(combined))
    if page.count("<script") != 1:  # its own
        yield "a script in the page"
    if any(not c.isprintable() and c != "\n" for c in page):
        yield "control characters in the page"
    if any(re.search(r"(?<!\\)\]\(", run_description(each, each.scenario)) for each in results):
        yield "a link in a note"


def page(outcomes: Outcomes, command: str, machine: str) -> str:
    """The outcomes as a page."""
    rows = []
    for kind in sorted({*outcomes.refused, *outcomes.read}):
        refused, read = outcomes.refused[kind], outcomes.read[kind]
        rows.append((kind, *(f"{number:,}" for number in (refused + read, refused, read))))
    return common.blocks(
        "# What becomes of bundles that were tampered with",
        f"Made by `{command}`\non {machine}, {datetime.now(UTC).date().isoformat()}. [How it is "
        "done](README.md).",
        common.table(("what was changed", "tried", "refused", "read and shown"), rows),
        f"Faults: {len(outcomes.faults)}.",
        *(f"- {fault}" for fault in outcomes.faults[:50]),
    )
