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

from mnist_bench.claims import declared
from mnist_bench.claims.declared import ClaimInput, inputs_of
from mnist_bench.cli.main import cli
from mnist_bench.core import formatting
from mnist_bench.measurement import quality
from mnist_bench.measurement.quality import Threshold
from mnist_bench.reporting.columns import verdict_in_words
from mnist_bench.reporting.text import found
from mnist_bench.results.document import Document
from mnist_bench.scenarios.hyperparameters import HYPERPARAMETERS as MODELS
from mnist_bench.scenarios.hyperparameters import ModelHyperparameters

ROOT = Path(__file__).parents[2]
MEASURING = ROOT / "docs" / "measuring.md"
CLAIMS_HEAD = """# The paper's claims

The paper's claims in our words, and the criteria that decide whether each holds on your machine.
`mnist-bench run claims` measures for them in a fixed order, until the next measurement would take
longer than what is left of `--budget` (45 minutes by default), and reuses what is recorded;
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


def result_table(document: Document) -> str:
    """README's table: the paper's figures, and those of the sample report."""
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


def test_readme_has_the_sample_results() -> None:
    sample = ROOT / "reports" / "sample" / "table-1.json"
    table = result_table(Document.model_validate_json(sample.read_bytes()))
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
