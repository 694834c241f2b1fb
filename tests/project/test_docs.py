"""Documentation that can't lie: what it shows of the program is the program's own output."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from golden import assert_same_text, assert_section

from mnist_bench.analysis import board
from mnist_bench.claims import declared
from mnist_bench.claims.declared import ClaimInput, inputs_of
from mnist_bench.cli.main import cli
from mnist_bench.cli.records import entry_of_file
from mnist_bench.core import formatting
from mnist_bench.measurement import quality
from mnist_bench.measurement.quality import Threshold
from mnist_bench.reporting.columns import verdict_in_words
from mnist_bench.reporting.text import found
from mnist_bench.results.document import Document
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.hyperparameters import HYPERPARAMETERS as MODELS
from mnist_bench.scenarios.hyperparameters import ModelHyperparameters

ROOT = Path(__file__).parents[2]
MEASURING = ROOT / "docs" / "measuring.md"
CLAIMS_HEAD = """# The paper's claims

The paper's claims in our words, and the criteria that decide whether each holds on your machine.
`mnist-bench run claims` measures for them in a fixed order, leaves out what takes longer than what
is left of `--budget` (45 minutes by default), and reuses what is recorded;
`mnist-bench run claim-3` measures for one claim. The report then has a section on them.
[paper.md](paper.md#results) has the results on one machine.

A claim holds if all of its criteria hold, does not hold if one of them fails, and is otherwise not
decided here. Only float32 runs on the CPU count, with the thread count that most of them had; for
claims 2 to 4, the thread count that most independent trainings had. Criteria with their thresholds
are declared in `mnist_bench/claims/claims.toml`, and were before anything was measured; so is what
is measured, in its order. This page is generated from that file:
`MNIST_BENCH_RENEW_GOLDEN=1 pytest tests/project` renews it.
"""


HYPERPARAMETERS_HEAD = """# Hyperparameters

What `mnist-bench run --set NAME=VALUE` and a scenario's table `[hyperparameters]` accept, by the
scenario's `model`. A search space's table `[parameters]` accepts those of `paper-cnn`. Generated:
`MNIST_BENCH_RENEW_GOLDEN=1 pytest tests/project` renews it.

Editors with a TOML language server check and complete a file by its schema: the first line
`#:schema PATH` names [scenario.schema.json](scenario.schema.json) or, for a search space,
[space.schema.json](space.schema.json), as the packaged ones in [benchmarks](../benchmarks/) do.
"""
TABLE_HEAD = """
| Name | Default | May be | What it is |
| --- | ---: | --- | --- |
"""


def hyperparameters_page() -> str:
    return HYPERPARAMETERS_HEAD + "".join(
        f"\n## {model}\n\n{(kind.__doc__ or '').splitlines()[0]}\n{TABLE_HEAD}{table_of(kind)}"
        for model, kind in MODELS.items()
    )


def table_of(kind: type[ModelHyperparameters]) -> str:
    meanings = meanings_of(kind)
    return "".join(
        f"| `{name}` | {json.dumps(field['default'])} | {may_be(field)} | {meanings[name]} |\n"
        for name, field in kind.model_json_schema()["properties"].items()
    )


def meanings_of(kind: type[ModelHyperparameters]) -> dict[str, str]:
    """Descriptions of the fields, from docstrings; a class overrides its bases."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        docstring = re.sub(r"\n {8}", " ", inspect.cleandoc(each.__doc__ or ""))
        found |= dict(re.findall(r"^ {4}(\w+): (.*)$", docstring, re.MULTILINE))
    return found


def may_be(field: dict[str, Any]) -> str:
    """The values of a field of a JSON schema."""
    if field["type"] == "boolean":
        return "`true`, `false`"
    if "enum" in field:
        return ", ".join(f"`{choice}`" for choice in field["enum"])
    low = "above {exclusiveMinimum:g}" if "exclusiveMinimum" in field else "from {minimum:g}"
    high = "below {exclusiveMaximum:g}" if "exclusiveMaximum" in field else "to {maximum:,g}"
    kind = "whole, " if field["type"] == "integer" else ""
    return kind + f"{low} {high}".format(**field)


def test_hyperparameters_page_is_current():
    assert_same_text(ROOT / "docs" / "hyperparameters.md", hyperparameters_page())


def claims_page() -> str:
    parts = [CLAIMS_HEAD]
    for claim in declared.CLAIMS:
        parts.append(f"## {claim.number}. {claim.words}\n\nIn the paper: {claim.place}.\n")
        parts.append("| Question | Holds where |\n| --- | --- |")
        parts += [f"| {each.question} | {each.rule} |" for each in claim.criteria]
        measured = "; ".join(dict.fromkeys(map(_measured_by, inputs_of([claim.number]))))
        parts.append(f"\nMeasured by: {measured}.\n")
    return "\n".join(parts)


def outcome_of(document: Document) -> str:
    """Results of the sample report for each claim, in the report's words."""
    lines = ["| # | What the paper says | Here | Found |", "| ---: | --- | --- | --- |"]
    for claim in document.claims:
        parts = "; ".join(found(each) for each in claim.decisions if each.verdict)
        lines.append(f"| {claim.claim} | {claim.words} | {claim.verdict} | {parts} |")
    return "\n".join(lines)


def test_paper_page_has_the_sample_results() -> None:
    sample = ROOT / "reports" / "sample" / "report.json"
    outcome = outcome_of(Document.model_validate_json(sample.read_bytes()))
    assert_section(ROOT / "docs" / "paper.md", "claims", f"{outcome}\n")
    assert outcome.count("\n") > 10


def _measured_by(part: ClaimInput) -> str:
    """A part without its seed: all are trained alike."""
    return re.sub(r", seed \d+", "", str(part))


def test_claims_page_is_current():
    assert_same_text(ROOT / "docs" / "claims.md", claims_page())


def test_every_command_is_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert cli.commands
    for name in cli.commands:
        assert f"\nmnist-bench {name} " in readme


@pytest.mark.parametrize("page", ["README.md", "docs/measuring.md", "docs/paper.md"])
def test_flags_in_the_docs_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    options = {
        name
        for command in (cli, *cli.commands.values())
        for parameter in command.get_params(
            click.Context(command, help_option_names=["-h", "--help"])
        )
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    flags = {
        flag
        for line in re.findall(r"mnist-bench [^`\n#|]*", text)
        for flag in re.findall(r"--[a-z][a-z-]*", line)
    }
    assert flags <= options


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
    ],
)
def test_links_exist(page):
    path = ROOT / page
    targets = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert missing == []


RECORDS_HEAD = f"""# Records

What two cores or more do with MNIST, by the suite's own means. A line is a file of runs in
`benchmarks/records/`, written by `mnist-bench export`; `mnist-bench records check FILE.zip` judges
another one by all rules but the last two. This page is generated:
`MNIST_BENCH_RENEW_GOLDEN=1 pytest tests/project` renews it.

## Rules

- **Time** is that of training alone, as in every report: no import, no tracing, no evaluation
  ([measuring.md](measuring.md)). Everything that trains counts, with several networks too.
- **Seconds of machines don't compare**, so a record is a share of the paper's time on the same
  machine: its file has {board.MIN_PAPER_RUNS} clean runs or more of `table-1` with
  {paper.TABLE_1[-1].steps:,} steps, trained by turns with its own. A paper's run that never reaches
  the accuracy counts with all of its time.
- **Fresh seeds**: they follow one another, begin at {board.FIRST_FRESH_SEED:,} or above, and every
  one of them is in the file. `sprint` needs {board.BOARDS[0].min_runs}, the others
  {board.BOARDS[1].min_runs}.
- **Accuracy** is the mean final test accuracy of all runs. Where it must exceed a figure, the p
  value of Student's test is below {board.MAX_P}.
- **Clean runs**: at least half are clean, whose times alone count; none is invalid.
- **Choices** of hyperparameters and methods are made on the validation split or the training file.
  Each look at the test split before the record is told in the scenario's first lines.
- **A new record** has a smaller share of the paper's time, or a better accuracy, than the one
  before, and stays ahead where both are trained by turns on one machine.

A file whose figures were changed in one place is found out; one that was made up consistently is
not, so a record needs someone who repeats it.
"""


def records_page() -> str:
    entries = [entry_of_file(path) for path in sorted((ROOT / "benchmarks/records").glob("*.zip"))]
    assert [entry.problems for entry in entries] == [()] * len(entries)
    head = f"| {' | '.join(board.COLUMNS)} |\n|{' --- |' * len(board.COLUMNS)}\n"
    text = RECORDS_HEAD
    for each in board.BOARDS:
        lines = [f"| {' | '.join(entry.cells)} |\n" for entry in entries if entry.board == each]
        table = head + "".join(lines) if lines else "No record yet.\n"
        text += f"\n## {each.name}\n\n{each.title}.\n\n{table}"
    return text


def test_records_page_is_current() -> None:
    assert_same_text(ROOT / "docs" / "records.md", records_page())


def result_table(document: Document) -> str:
    """README's table: the paper's figures, and those of the reference."""
    lines = [
        (
            "| steps | max test accuracy, paper | here, mean ± sd of 10 seeds | verdict "
            "| train time | peak memory |"
        ),
        "|---:|---:|---:|---|---:|---:|",
    ]
    for row in document.table_1:
        assert row.n == 10
        lines.append(
            f"| {row.steps:,} | {formatting.accuracy(row.paper_max_test_accuracy)} "
            f"| {formatting.accuracy(row.mean)} ± {formatting.spread(row.sd)} "
            f"| {verdict_in_words(row.verdict)} "
            f"| {formatting.duration(row.train_seconds_mean)} "
            f"| {formatting.mebibytes(row.peak_rss_bytes_max)} |"
        )
    return "\n".join(lines)


def test_readme_has_the_results_of_the_reference() -> None:
    reference = ROOT / "benchmarks" / "reference" / "table-1.json"
    table = result_table(Document.model_validate_json(reference.read_bytes()))
    assert_section(ROOT / "README.md", "sample-table", f"{table}\n")


# What docs/measuring.md says of the verdict


def line(limits: Threshold) -> str:
    invalid = "–" if limits.invalid is None else limits.shown(limits.invalid)
    return f"| {limits.words} | {limits.figure} | {limits.shown(limits.suspect)} | {invalid} |\n"


def test_documented_thresholds_are_current() -> None:
    head = "| reason | figure | suspect from | invalid from |\n|---|---|---|---|\n"
    assert_section(MEASURING, "thresholds", head + "".join(map(line, quality.THRESHOLDS)))
    page = MEASURING.read_text(encoding="utf-8")
    for reason in ("on battery", "limited cores", "not exclusive"):  # which have no threshold
        assert reason in page


def test_known_errors_match_the_tables() -> None:
    page = MEASURING.read_text(encoding="utf-8")
    section = page.partition("## Known errors\n")[2].partition("\n## ")[0]
    figures = re.findall(r"[+-]?\d+\.\d+%", section)
    tables = ("trust/rates.md", "trust/memory.md", "overhead/table.md")
    measured = "".join((ROOT / "benchmarks" / each).read_text(encoding="utf-8") for each in tables)
    assert len(figures) >= 12
    assert [figure for figure in figures if figure not in measured] == []
