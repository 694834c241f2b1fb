"""The table of faults: one line per kind, with its findings."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import common
from invariants import Findings

from mnist_bench.measurement import machine

_JOURNALLED = "figures that had been shown or journalled before"
_ASKED = "trainings that a plan asks for"
_OF_TRIALS = ("figures or trials lost", "trials or figures twice")
_WORDS = {
    "table": (_JOURNALLED, "runs left RUNNING", "figures lost", "rows or figures twice"),
    "cluster": (_ASKED, "runs left RUNNING", "trainings lost", "trainings twice"),
    "studies": (_JOURNALLED, "runs or trials left RUNNING", *_OF_TRIALS),
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
    """Write the page and the JSON file, with the lines of a kind merged.

    Args:
        name: Key in `_WORDS`, and stem of the files.
        chance: Random seed.
    """
    by_kind: dict[str, Line] = {}
    for line in lines:
        by_kind[line.kind] = by_kind[line.kind] + line if line.kind in by_kind else line
    merged = sorted(by_kind.values(), key=lambda line: (-line.tried, line.kind))
    now, made_on = datetime.now(UTC), machine.describe().name
    content = {
        "command": command,
        "machine": made_on,
        "chance": chance,
        "measured": now.isoformat(timespec="seconds"),
        "lines": [dataclasses.asdict(line) | {"hits": dict(line.hits)} for line in merged],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8", newline="\n")
    counted, *columns = _WORDS[name]
    figures = sum(line.findings.figures for line in merged)
    runs = sum(line.findings.runs for line in merged)
    last = ("wrongly ended", "database or report damaged", "left over")
    page = common.blocks(
        "# What is lost when the suite is ended by force",
        f"Made by `{command}`\non {made_on}, {now.date().isoformat()}. [How it is "
        f"done](README.md).\n{figures:,} {counted} were looked for, in {runs:,} runs.",
        common.table(("what happens", "tried", *columns, *last), map(_cells, merged)),
        *(_hits(line) for line in merged if line.hits),
    )
    (folder / f"{name}.md").write_text(page, encoding="utf-8", newline="\n")


def _cells(line: Line) -> tuple[str, ...]:
    if line.skipped or not line.tried:
        return (f"{line.kind} ({line.skipped or 'could not be tried'})", *["–"] * 7)
    return (
        line.kind,
        str(line.tried),
        *(str(len(each)) for each in line.findings.by_kind.values()),
    )


def _hits(line: Line) -> str:
    """Sentence on the kills of a kind."""
    hits = ", ".join(f"{count} × {where}" for where, count in line.hits.items())
    late = f"; {line.late} more came too late" if line.late else ""
    return f"{line.kind[0].upper()}{line.kind[1:]}: {hits}{late}."
