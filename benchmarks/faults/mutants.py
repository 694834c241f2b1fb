"""Bundles that were tampered with: each must be refused in a line, or shown harmlessly."""

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

from mnist_bench.analysis import table1
from mnist_bench.analysis.curves import curves_of
from mnist_bench.analysis.system_state import system_state_of
from mnist_bench.core.errors import BenchError
from mnist_bench.reporting.csv import runs_csv
from mnist_bench.reporting.figures import drawings_of
from mnist_bench.reporting.html import book_to_html
from mnist_bench.reporting.json import to_json
from mnist_bench.reporting.markdown import to_markdown
from mnist_bench.reporting.model import Report, ReportSection
from mnist_bench.results.run_summary import summarise
from mnist_bench.tracking.bundle import Bundle, parse
from mnist_bench.tracking.run_notes import run_description

_HERE = Path("theirs.zip")
_EVIL: tuple[Any, ...] = (
    *("<script>alert(1)</script>", "](javascript:alert(1))", "| a | b |", "`code`", "{{ 7*7 }}"),
    *('=HYPERLINK("http://evil")', "+1", "-1", "@SUM(A1)", "\t=1"),
    *("\x1b[2J", "\u202eright to left", "\u0000", "\ud800", "a\r\nb", "x" * 600),
    *("../../etc/passwd", "C:\\windows", "", " ", "NaN", "true"),
    *(0, -1, 1, 2**63, -(2**63), 10**400, 1e308, 1e-308, 0.5, float("nan"), float("inf")),
    *(True, None, [], {}, [[[[]]]], {"a": {"b": {"c": {}}}}),
)
"""What is put in the place of a value."""
_MEMBERS: tuple[tuple[str, bytes], ...] = (
    *(("../evil.toml", b""), ("/etc/passwd", b""), ("scenarios/../../x.toml", b"")),
    *(("C:\\x.toml", b""), ("bundle.json/", b""), ("evil.pkl", b"\x80\x04.")),
    *(("scenarios/1.toml", b"\0" * 10**6), ("runs.csv", b"=1+1\n")),
)
"""What is put beside: names that lead elsewhere, pickles, much from little."""
_DRAWN_EVERY = 40
"""A page takes a second: one in so many that are read is drawn."""
Kind = str


@dataclass
class Fates:
    """What became of the mutants.

    Attributes:
        refused: In one line, by kind.
        read: Taken for a bundle and shown, by kind.
        faults: What should not have happened, in words.
    """

    refused: Counter[Kind] = field(default_factory=Counter)
    read: Counter[Kind] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def fates(packed: bytes, count: int, seed: int) -> Fates:
    """Make so many mutants of a bundle, and see what becomes of each.

    Args:
        packed: A whole bundle.
        count: Of mutants.
        seed: Of the draws.
    """
    found = Fates()
    read = 0
    for kind, data in mutants(packed, count, random.Random(seed)):  # noqa: S311  # no secret
        try:
            told = _told(data)
            if told:
                found.refused[kind] += 1
                found.faults += [f"{kind}: said {told!r}"] if not told.isprintable() else []
            else:
                found.read[kind] += 1
                bundle, read = parse(data, _HERE), read + 1
                faults = [*shown_badly(bundle)]
                faults += drawn_badly(bundle) if read % _DRAWN_EVERY == 1 else []
                found.faults += [f"{kind}: {fault}" for fault in faults]
        except Exception as error:  # noqa: BLE001  # whatever it is, it should not be
            found.faults.append(f"{kind}: {type(error).__name__}: {error}"[:300])
    return found


def mutants(packed: bytes, count: int, chance: random.Random) -> Iterator[tuple[Kind, bytes]]:
    """Bundles that were tampered with, with how."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    ways: dict[Kind, Callable[[], bytes]] = {
        "bytes of the file": lambda: tampered(packed, chance),
        "bytes of its text": lambda: zipped(
            {"bundle.json": tampered(members["bundle.json"], chance)}
        ),
        "a value": lambda: zipped({"bundle.json": _with_other_value(members, chance)}),
        "another file in it": lambda: zipped(dict([*members.items(), chance.choice(_MEMBERS)])),
    }
    kinds = list(ways)
    for index in range(count):
        kind = kinds[index % len(kinds)]
        yield kind, ways[kind]()


def tampered(data: bytes, chance: random.Random) -> bytes:
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


def zipped(members: dict[str, bytes], **options: Any) -> bytes:
    """A ZIP file of these."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _with_other_value(members: dict[str, bytes], chance: random.Random) -> bytes:
    """The bundle's text with another value, or another key, somewhere."""
    told = json.loads(members["bundle.json"])
    places = list(_places(told))
    holder, key = chance.choice(places)
    if isinstance(holder, dict) and chance.random() < 0.1:
        holder[str(chance.choice(_EVIL))] = holder.pop(key)
    else:
        holder[key] = chance.choice(_EVIL)
    return json.dumps(told).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Where a value stands: its holder, and its key or index there."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _told(data: bytes) -> str:
    """What is said of a file that is refused; nothing where it is read."""
    try:
        parse(data, _HERE)
    except BenchError as error:
        return str(error)
    return ""


def shown_badly(bundle: Bundle) -> Iterator[str]:
    """What a report of a bundle would let through."""
    if not bundle.machines or not bundle.runs:
        return
    report = _report(bundle)
    text, table = to_markdown(report), runs_csv(report.document.runs)
    if "<script" in text or re.search(r"(?<!\\)\]\(javascript", text):
        yield "Markdown that runs"
    if any(not c.isprintable() and c != "\n" for c in text + table):
        yield "control characters"
    cells = itertools.chain.from_iterable(csv.reader(io.StringIO(table, newline="")))
    if any(cell.lstrip().startswith(("=", "@")) for cell in cells):
        yield "a formula in the CSV"
    json.loads(
        to_json(report.document), parse_constant=lambda name: [][len(name)]
    )  # NaN is an error


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


def drawn_badly(bundle: Bundle) -> Iterator[str]:
    """What the page of a bundle, and MLflow's notes of its runs, would let through."""
    results = [each.result for each in bundle.runs]
    if not bundle.machines or not results:
        return
    report = dataclasses.replace(
        _report(bundle), curves=curves_of(results[:1]), seen=system_state_of(results)
    )
    book = Report(
        title=report.title,
        command="",
        created="2026-01-31",
        document=report.document,
        reports=(report,),
    )
    page = book_to_html(book, drawings_of(book))
    if "<script" in page:
        yield "a script in the page"
    if any(not c.isprintable() and c != "\n" for c in page):
        yield "control characters in the page"
    if any(re.search(r"(?<!\\)\]\(", run_description(each, each.scenario)) for each in results):
        yield "a link in a note"


def page(found: Fates, command: str, machine: str) -> str:
    """What became of them, in words."""
    lines = [
        "# What becomes of bundles that were tampered with",
        f"Made by `{command}`\non {machine}, {datetime.now(UTC).date().isoformat()}.",
        (
            "Each is refused in one line, or read; what is read is put into a report, and nothing "
            "in that may run, steer a terminal or be a spreadsheet's formula; of one in "
            f"{_DRAWN_EVERY} that are read the page is drawn too."
        ),
    ]
    table = ["| what was changed | tried | refused | read and shown |", "|---|--:|--:|--:|"]
    for kind in sorted({*found.refused, *found.read}):
        refused, read = found.refused[kind], found.read[kind]
        table.append(f"| {kind} | {refused + read:,} | {refused:,} | {read:,} |")
    faults = [f"- {fault}" for fault in found.faults[:50]]
    outcome = f"Faults: {len(found.faults)}."
    return "\n\n".join([*lines, "\n".join(table), outcome, *faults]) + "\n"
