"""The table of faults: one line per kind, with its findings."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import common
from common import Document
from invariants import Findings

from mnist_bench.core.formatting import UNKNOWN
from mnist_bench.measurement import machine

_SHOWN = "figures that had been shown or spooled before"
_OF_TRIALS = ("figures or trials lost", "trials or figures twice")
_WORDS = {
    "table": (_SHOWN, "runs left RUNNING", "figures lost", "rows or figures twice"),
    "cluster": ("trainings of the plans", "runs left RUNNING", "trainings lost", "trainings twice"),
    "studies": (_SHOWN, "runs or trials left RUNNING", *_OF_TRIALS),
}
"""Of each page: what is counted, and the first columns of findings."""


@dataclass
class Line:
    """Results of one kind of fault, or of a batch of it.

    Attributes:
        kind: Description of the fault.
        tried: Number of injections.
        late: Kills that came after the victim's end; they do not count.
        hits: Kills that count, by stage and signal.
        findings: Faults found afterwards.
        skipped: Why it could not be injected.
        notes: Other observations.
        broken: Tracebacks of this program.
    """

    kind: str = ""
    tried: int = 0
    late: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    findings: Findings = field(default_factory=Findings)
    skipped: str = ""
    notes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    def __add__(self, other: Line) -> Line:
        """Merge two lines of one kind."""
        names = ("tried", "late", "hits", "findings", "notes", "broken")
        merged = {name: getattr(self, name) + getattr(other, name) for name in names}
        return Line(kind=self.kind, skipped=self.skipped or other.skipped, **merged)


def write(folder: Path, name: str, command: str, chance: int, lines: Iterable[Line]) -> None:
    """Write the JSON file, with the lines of a kind merged, and the page.

    Args:
        name: Key in `_WORDS`, and stem of the files.
        chance: Random seed.
    """
    by_kind: dict[str, Line] = {}
    for line in lines:
        by_kind[line.kind] = by_kind[line.kind] + line if line.kind in by_kind else line
    merged = sorted(by_kind.values(), key=lambda line: (-line.tried, line.kind))
    document = {
        "command": command,
        "machine": machine.describe().name,
        "chance": chance,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "lines": [dataclasses.asdict(line) | {"hits": dict(line.hits)} for line in merged],
    }
    common.save(folder / f"{name}.json", document)
    (folder / f"{name}.md").write_text(page(name, document), encoding="utf-8", newline="\n")


def page(name: str, document: Document) -> str:
    """The page of a JSON file; `name` as in `write`."""
    counted, *columns = _WORDS[name]
    lines = document["lines"]
    figures, runs = (sum(line["findings"][key] for line in lines) for key in ("figures", "runs"))
    last = ("wrongly ended", "database or report damaged", "left over")
    return common.blocks(
        "# What is lost when the suite is ended by force",
        f"Made by `{document['command']}`\non {document['machine']}, {document['measured'][:10]}. "
        f"[How it is done](README.md).\n{figures:,} {counted} were looked for, in {runs:,} runs.",
        common.table(("what happens", "tried", *columns, *last), map(_cells, lines)),
        *(_hits(line) for line in lines if line["hits"]),
    )


def _cells(line: Document) -> tuple[str, ...]:
    kind, skipped, found = line["kind"], line["skipped"], Findings(**line["findings"]).by_kind
    if skipped or not line["tried"]:
        return (f"{kind} ({skipped or 'could not be tried'})", *[UNKNOWN] * (1 + len(found)))
    return (kind, str(line["tried"]), *(str(len(each)) for each in found.values()))


def _hits(line: Document) -> str:
    """Sentence on the kills of a kind."""
    hits = ", ".join(f"{count} × {where}" for where, count in line["hits"].items())
    late = f"; {line['late']} more came too late" if line["late"] else ""
    return f"{line['kind'][0].upper()}{line['kind'][1:]}: {hits}{late}."
