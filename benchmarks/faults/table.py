"""The table of faults: one line per kind, with its findings."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from invariants import Findings

_HEAD = """\
# What is lost when the suite is ended by force

Made by `{command}`
on {machine}, {day}.

{what}
{figures:,} {of} were looked for, in {runs:,} runs.

| what happens | tried | {left} left RUNNING | {lost} lost | {twice} twice | wrongly ended \
| database or report damaged | left over |
|---|--:|--:|--:|--:|--:|--:|--:|
"""


_WORDS = {
    "table": {
        "of": "figures that had been shown or journalled before",
        "what": """\
Every kill strikes at a moment drawn over the life of its victim, most of them while it trains.
After each batch of kills, and after each fault, another command opens the store; then the
database, the journals and the reports are looked at from outside.""",
        "left": "runs",
        "lost": "figures",
        "twice": "rows or figures",
    },
    "cluster": {
        "of": "trainings that a plan asks for",
        "what": """\
Machines of a Dask cluster train the jobs of one plan; the trainings are fakes that wait. At random
moments one thing after the other fails and is restored: a machine is killed, or stopped for longer
than its time to live; the scheduler is killed, the leader is killed, and both are started again
with `--resume`; MLflow's server is away for a while. When all jobs are done, MLflow's database is
read from outside: each training must have one finished run, none may be RUNNING, and no machine may
have printed a traceback. A finding can't be assigned to one fault: it stands with the first.""",
        "left": "runs",
        "lost": "trainings",
        "twice": "trainings",
    },
    "studies": {
        "of": "figures that had been shown or journalled before",
        "what": """\
Every kill strikes a command that continues a study, at a random moment of its life; with two
trainings at a time, at any time after their start. After each batch of kills another command
continues the study to its end; then Optuna's journal, MLflow's database and the spools are read
from outside: no trial may be lost, none may count twice, and each must have one run.""",
        "left": "runs or trials",
        "lost": "figures or trials",
        "twice": "trials or figures",
    },
}
"""Texts of each page, by its name."""


@dataclass(frozen=True)
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

    kind: str
    tried: int
    late: int = 0
    hits: dict[str, int] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)
    skipped: str = ""
    notes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    def __add__(self, other: Line) -> Line:
        """Merge two lines of one kind."""
        hits = {
            key: self.hits.get(key, 0) + other.hits.get(key, 0)
            for key in sorted({*self.hits, *other.hits})
        }
        return Line(
            kind=self.kind,
            tried=self.tried + other.tried,
            late=self.late + other.late,
            hits=hits,
            findings=self.findings + other.findings,
            skipped=self.skipped or other.skipped,
            notes=self.notes + other.notes,
            broken=self.broken + other.broken,
        )

    def words(self) -> str:
        """One line for the terminal."""
        faults = len(self.findings.faults)
        broken = f", broke: {self.broken[0][-200:]!r}" if self.broken else ""
        return f"{self.kind}: {self.skipped or f'{self.tried} tried, {faults} faults'}{broken}"

    def cells(self) -> list[str]:
        """Cells of the table."""
        if self.skipped or not self.tried:
            return [f"{self.kind} ({self.skipped or 'could not be tried'})", *["–"] * 7]
        found = self.findings
        counted = (
            *(found.running, found.lost, found.doubled),
            *(found.wrongly_ended, found.damaged, found.left_over),
        )
        return [self.kind, str(self.tried), *(str(len(each)) for each in counted)]


@dataclass
class Table:
    """All lines of a page.

    Attributes:
        name: Stem of its files.
        command: Command that generates it.
        machine: Hardware description.
        chance: Random seed.
    """

    name: str
    command: str
    machine: str
    chance: int
    _lines: dict[str, Line] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        """Add a line, or merge it with that of the same kind."""
        before = self._lines.get(line.kind)
        self._lines[line.kind] = before + line if before else line

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write the page and the JSON file."""
        text, document = folder / f"{self.name}.md", folder / f"{self.name}.json"
        text.write_text(self._to_markdown(), encoding="utf-8", newline="\n")
        content = {
            "command": self.command,
            "machine": self.machine,
            "chance": self.chance,
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "lines": [dataclasses.asdict(line) for line in self._ordered()],
        }
        words = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        document.write_text(words, encoding="utf-8", newline="\n")
        return text, document

    def _ordered(self) -> list[Line]:
        return sorted(self._lines.values(), key=lambda line: (-line.tried, line.kind))

    def _to_markdown(self) -> str:
        lines = self._ordered()
        head = _HEAD.format(
            command=self.command,
            machine=self.machine,
            day=datetime.now(UTC).date().isoformat(),
            figures=sum(line.findings.figures for line in lines),
            runs=sum(line.findings.runs for line in lines),
            **_WORDS[self.name],
        )
        rows = "".join(f"| {' | '.join(line.cells())} |\n" for line in lines)
        return head + rows + "".join(_hits(line) for line in lines if line.hits)


def _hits(line: Line) -> str:
    """Sentence on the kills of a kind."""
    hits = ", ".join(f"{count} × {where}" for where, count in line.hits.items())
    late = f"; {line.late} more came too late" if line.late else ""
    return f"\n{line.kind[0].upper()}{line.kind[1:]}: {hits}{late}.\n"
